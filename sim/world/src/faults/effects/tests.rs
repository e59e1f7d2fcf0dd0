//! Every kind of fault with something to change and with nothing to change, in both worlds.

use crate::des::{ClockSpec, CpuProfile, HostSpec, NodeKind, NodeSpec, Sim, SimConfig};
use crate::disk::DiskProfile;
use crate::event::{HostId, Phase};
use crate::faults::{Became, Idle, Injector, Schedule};
use crate::turmoil::Turmoil;
use crate::world::{Stop, World};
use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, RequestKind};
use klamm_model::disk::{DiskOp, Path, ReadRange};
use klamm_model::ids::{ClientId, NodeId};
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Endpoint, Input, Listener, Node, Outbox, Output};
use klamm_model::units::{Duration, Instant, Now};
use smallvec::smallvec;

const PORT: u16 = 9092;

/// A node that is one function.
struct Script<F>(F);

impl<F: FnMut(Now, Input, &mut Outbox)> Node for Script<F> {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        (self.0)(now, input, out);
    }
    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection::default())
    }
}

fn script(f: impl FnMut(Now, Input, &mut Outbox) + 'static) -> Box<dyn Node> {
    Box::new(Script(f))
}

/// Answers requests. Writes a segment that it makes durable, and then goes on appending to a second one, making that durable
/// and reading it, every few milliseconds.
fn busy() -> Box<dyn Node> {
    let segment = |n: u64| Path::new(format!("orders-0/{n:020}.log"));
    let append = move |n| DiskOp::Append { file: segment(n), data: Bytes::from_static(&[7; 100]) };
    let read = move || DiskOp::Read { ranges: smallvec![ReadRange { file: segment(10), pos: 0, len: 50 }] };
    let (mut step, mut next) = (0u64, None);
    script(move |now, input, out| {
        match input {
            Input::Request { conn, correlation, version, .. } => {
                out.respond(conn, correlation, version, ApiVersionsResponse::default());
            }
            Input::Shutdown => out.push(Output::Exit),
            Input::Disk { .. } => next = Some(now.mono + Duration::from_millis(5)),
            Input::Start { .. } => next = Some(now.mono),
            _ => {}
        }
        if next.is_some_and(|at| at <= now.mono) {
            let op = match step {
                0 => append(0),
                1 => DiskOp::Fsync { file: segment(0) },
                2 => DiskOp::FsyncDir { dir: Path::new("orders-0") },
                n if n % 3 == 0 => append(10),
                n if n % 3 == 1 => DiskOp::Fsync { file: segment(10) },
                _ => read(),
            };
            out.disk(0, op);
            (step, next) = (step + 1, None);
        }
        next.into_iter().for_each(|at| out.wake_at(at));
    })
}

/// Does nothing, unless it is asked to end.
fn silent() -> Box<dyn Node> {
    script(|_, input, out| {
        if matches!(input, Input::Shutdown) {
            out.push(Output::Exit);
        }
    })
}

/// Asks `b1` again and again on one connection, one request at a time, and connects again when it is over.
fn asking() -> Box<dyn Node> {
    let (mut open, mut waits, mut sent, mut next) = (None, false, 0, Instant::ZERO);
    script(move |now, input, out| {
        match input {
            Input::Connected { conn } => (open, waits) = (Some(conn), false),
            Input::Disconnected { .. } => (open, waits) = (None, false),
            Input::Response { .. } => waits = false,
            _ => {}
        }
        if next <= now.mono {
            next = now.mono + Duration::from_millis(10);
            match open {
                Some(conn) if !waits => {
                    (waits, sent) = (true, sent + 1);
                    let request = Box::new(RequestKind::ApiVersions(ApiVersionsRequest::default()));
                    out.push(Output::Request { conn, correlation: sent, version: 3, request });
                }
                // An attempt is under way, and waits.
                None if !waits => {
                    waits = true;
                    out.connect(Endpoint::new("b1", PORT));
                }
                _ => {}
            }
        }
        out.wake_at(next);
    })
}

fn add(world: &mut dyn World, name: &str, kind: NodeKind, make: fn() -> Box<dyn Node>) -> HostId {
    let (cpu, disk, clock) = (CpuProfile::default(), DiskProfile::nvme(), ClockSpec::default());
    let host = world.add_host(HostSpec { name: name.to_owned(), cpu, disk, clock });
    let listeners = vec![(Listener::Client, PORT)];
    world.add_node(NodeSpec { name: name.to_owned(), host, kind, listeners, make: Box::new(move |_| make()) });
    host
}

/// `b1` is busy and `p1` asks it; `b2` runs and does nothing; `b3` never runs. Faults begin after 100 ms, end after a second.
fn play(mut world: Box<dyn World>, faults: &str) -> Vec<Became> {
    let broker = |n| NodeKind::Broker(NodeId(n));
    let hosts = [
        add(&mut *world, "b1", broker(1), busy),
        add(&mut *world, "b2", broker(2), silent),
        add(&mut *world, "p1", NodeKind::Client(ClientId(1)), asking),
    ];
    add(&mut *world, "b3", broker(3), silent);
    let schedule: Schedule = toml::from_str(&format!("fault = [{faults}]")).unwrap();
    let mut injector = Injector::new(schedule, &*world, 1, 1).unwrap();
    hosts.into_iter().for_each(|host| world.start(host));
    let ms = |n| Instant::ZERO + Duration::from_millis(n);
    assert_eq!(world.drive(ms(100), &mut injector), Stop::Reached);
    world.begin_phase(Phase::Hardship);
    assert_eq!(world.drive(ms(1_000), &mut injector), Stop::Reached);
    world.begin_phase(Phase::Heal);
    injector.heal(&mut *world);
    assert_eq!(world.drive(ms(1_200), &mut injector), Stop::Reached);
    injector.became(&*world)
}

/// In each world that can do it, the last line's fate must be this: the hosts it changed something on, or why it did not.
fn comes_to(faults: &str, fate: Result<&[&str], Idle>) {
    let des = SimConfig::new(7);
    let worlds: [(&str, Box<dyn World>); 2] =
        [("des", Box::new(Sim::new(des.clone()))), ("turmoil", Box::new(Turmoil::new(&des)))];
    for (name, world) in worlds {
        let refused = ["\"loss\"", "\"hold\"", "\"clock-drift\""].iter().any(|kind| faults.contains(kind));
        if name == "turmoil" && refused {
            continue;
        }
        let became = play(world, faults).pop().unwrap();
        let on: Vec<&str> = became.on.keys().map(String::as_str).collect();
        match fate {
            Ok(hosts) => {
                assert_eq!((on.as_slice(), became.in_effect), (hosts, 1), "{name}: {faults}: {became:?}");
                assert!(became.due && became.idle.is_empty(), "{name}: {faults}: {became:?}");
            }
            Err(why) => {
                assert_eq!((on.len(), became.in_effect), (0, 0), "{name}: {faults}: {became:?}");
                assert_eq!(became.idle.into_iter().collect::<Vec<_>>(), [(why, 1)], "{name}: {faults}");
            }
        }
    }
}

/// A fault at 100 ms for 300 ms.
fn fault(fields: &str) -> String {
    format!("{{ at = 100000000, for = 300000000, {fields} }}")
}

#[test]
fn processes_are_stopped_only_where_they_run() {
    let killed = "{ at = 50000000, for = 500000000, kind = \"kill\", who = \"b1\" }";
    for (kind, who) in [("kill", "\"b1\""), ("power-loss", "[\"b1\"]"), ("shutdown", "\"b1\""), ("pause", "\"b1\"")] {
        let fields = format!("kind = \"{kind}\", who = {who}");
        comes_to(&fault(&fields), Ok(&["b1"]));
        if kind != "power-loss" {
            comes_to(&format!("{killed}, {}", fault(&fields)), Err(Idle::Down));
        }
    }
    comes_to(&fault("kind = \"power-loss\", who = [\"b1\", \"b2\", \"b3\"]"), Ok(&["b1", "b2"]));
    comes_to(&fault("kind = \"power-loss\", who = [\"b3\"]"), Err(Idle::Down));
    comes_to(&fault("kind = \"kill\", who = \"b3\""), Err(Idle::Down));
    let twice = fault("kind = \"shutdown\", who = \"b1\"");
    comes_to(&format!("{twice}, {twice}"), Err(Idle::ShuttingDown));
    let twice = fault("kind = \"pause\", who = \"b1\"");
    comes_to(&format!("{twice}, {twice}"), Err(Idle::Paused));
}

#[test]
fn a_machine_that_runs_nothing_may_still_lose_what_was_not_synced() {
    // Nothing makes the second segment's name durable so soon.
    let lose = |host: &str| {
        let kill = format!("{{ at = 100000000, kind = \"kill\", who = \"{host}\" }}");
        format!("{kill}, {{ at = 300000000, kind = \"power-loss\", who = [\"{host}\"] }}")
    };
    comes_to(&lose("b1"), Ok(&["b1"]));
    comes_to(&lose("b2"), Err(Idle::Down));
}

#[test]
fn a_restart_starts_what_had_run_and_is_down() {
    let restart = |who: &str| fault(&format!("kind = \"restart\", who = \"{who}\""));
    let killed = "{ at = 50000000, kind = \"kill\", who = \"b1\" }";
    comes_to(&format!("{killed}, {}", restart("b1")), Ok(&["b1"]));
    comes_to(&restart("b2"), Err(Idle::Up));
    comes_to(&restart("b3"), Err(Idle::NeverStarted));
    // It waits for a shutdown that is under way.
    let shutdown = "{ at = 100000000, kind = \"shutdown\", who = \"b1\" }";
    comes_to(&format!("{shutdown}, {}", restart("b1")), Ok(&["b1"]));
}

#[test]
fn a_pause_reaches_what_starts_while_it_lasts() {
    let faults = "{ at = 50000000, for = 100000000, kind = \"kill\", who = \"b1\" }, \
                  { at = 100000000, for = 300000000, kind = \"pause\", who = \"b1\" }";
    let became = play(Box::new(Sim::new(SimConfig::new(1))), faults).pop().unwrap();
    assert_eq!(became.on.keys().collect::<Vec<_>>(), ["b1"]);
    // The turmoil world pauses processes, not hosts.
    let became = play(Box::new(Turmoil::new(&SimConfig::new(1))), faults).pop().unwrap();
    assert_eq!(became.idle.keys().collect::<Vec<_>>(), [&Idle::Down]);
}

#[test]
fn rules_of_the_network_need_messages() {
    let between = |kind: &str, a: &str, b: &str, more: &str| {
        fault(&format!("kind = \"{kind}\", a = [\"{a}\"], b = [\"{b}\"]{more}"))
    };
    for (kind, more) in [("partition", ""), ("latency", ", extra = 3000000"), ("loss", ", ppm = 400000")] {
        comes_to(&between(kind, "p1", "b1", more), Ok(&["p1"]));
        comes_to(&between(kind, "b1", "p1", more), Ok(&["b1"]));
        let none = if kind == "loss" { Idle::NoLoss } else { Idle::NoMessage };
        comes_to(&between(kind, "p1", "b2", more), Err(none));
    }
    comes_to(&between("partition", "b1", "p1", ", one-way = true"), Ok(&["b1"]));
    comes_to(&between("latency", "p1", "b1", ", extra = 0"), Err(Idle::NoChange));
    comes_to(&between("loss", "p1", "b1", ", ppm = 0"), Err(Idle::NoChange));
    comes_to(&between("loss", "p1", "b1", ", ppm = 1"), Err(Idle::NoLoss));
    comes_to(&between("reset", "p1", "b1", ""), Ok(&["p1"]));
    comes_to(&between("reset", "p1", "b2", ""), Err(Idle::NoConnection));
    let hold = |api: &str, from: &str, to: &str, responses: bool| {
        let fields = format!("from = [\"{from}\"], to = [\"{to}\"], responses = {responses}");
        fault(&format!("kind = \"hold\", api = \"{api}\", {fields}"))
    };
    comes_to(&hold("ApiVersions", "p1", "b1", false), Ok(&["p1"]));
    comes_to(&hold("ApiVersions", "b1", "p1", true), Ok(&["b1"]));
    comes_to(&hold("ApiVersions", "p1", "b1", true), Err(Idle::NoMessage));
    comes_to(&hold("Fetch", "p1", "b1", false), Err(Idle::NoMessage));
}

#[test]
fn a_partition_meets_nothing_while_the_machine_behind_it_is_off() {
    let off = "{ at = 50000000, for = 600000000, kind = \"power-loss\", who = [\"b1\"] }";
    let cut =
        |lasts: u64| format!("{{ at = 100000000, for = {lasts}, kind = \"partition\", a = [\"p1\"], b = [\"b1\"] }}");
    comes_to(&format!("{off}, {}", cut(300_000_000)), Err(Idle::NoMessage));
    // What waits for the machine is kept from it when it is back.
    let became = play(Box::new(Sim::new(SimConfig::new(7))), &format!("{off}, {}", cut(800_000_000))).pop().unwrap();
    assert_eq!(became.on.keys().collect::<Vec<_>>(), ["p1"]);
}

#[test]
fn a_name_must_be_looked_up() {
    let reset = "{ at = 150000000, kind = \"reset\", a = [\"p1\"], b = [\"b1\"] }";
    comes_to(&format!("{reset}, {}", fault("kind = \"unresolvable\", who = \"b1\"")), Ok(&["b1"]));
    comes_to(&format!("{reset}, {}", fault("kind = \"unresolvable\", who = \"b2\"")), Err(Idle::NoLookup));
}

#[test]
fn faults_of_disks_need_operations_that_they_alter() {
    let kinds = [
        ("disk-stall", ""),
        ("disk-slow", ", factor = 20"),
        ("disk-error", ", on = \"write\""),
        ("disk-error", ", on = \"read\""),
        ("disk-error", ", on = \"fsync\""),
        ("lying-fsync", ""),
        ("disk-full", ""),
    ];
    for (kind, more) in kinds {
        comes_to(&fault(&format!("kind = \"{kind}\", who = \"b1\"{more}")), Ok(&["b1"]));
        comes_to(&fault(&format!("kind = \"{kind}\", who = \"b2\"{more}")), Err(Idle::NoOperation));
    }
    comes_to(&fault("kind = \"disk-slow\", who = \"b1\", factor = 1"), Err(Idle::NoChange));
}

#[test]
fn damage_needs_something_to_damage() {
    comes_to(&fault("kind = \"bit-rot\", who = \"b1\", log = \"orders-0\""), Ok(&["b1"]));
    comes_to(&fault("kind = \"bit-rot\", who = \"b1\", log = \"orders-1\""), Err(Idle::NothingToDamage));
    comes_to(&fault("kind = \"bit-rot\", who = \"b2\", log = \"orders-0\""), Err(Idle::NothingToDamage));
    comes_to(&fault("kind = \"wipe\", who = \"b1\""), Ok(&["b1"]));
    comes_to(&fault("kind = \"wipe\", who = \"b3\""), Err(Idle::NothingToRemove));
    let killed = "{ at = 50000000, kind = \"kill\", who = \"b1\" }";
    comes_to(&format!("{killed}, {}", fault("kind = \"wipe\", who = \"b1\"")), Ok(&["b1"]));
}

#[test]
fn clocks_must_be_read_afterwards() {
    comes_to(&fault("kind = \"clock-step\", who = \"b1\", by-ms = 5000"), Ok(&["b1"]));
    comes_to(&fault("kind = \"clock-step\", who = \"b1\", by-ms = 0"), Err(Idle::NoChange));
    comes_to(&fault("kind = \"clock-step\", who = \"b3\", by-ms = 5000"), Err(Idle::ClockUnread));
    comes_to(&fault("kind = \"clock-drift\", who = \"b1\", ppm = 5000"), Ok(&["b1"]));
    comes_to(&fault("kind = \"clock-drift\", who = \"b1\", ppm = 0"), Err(Idle::NoChange));
    comes_to(&fault("kind = \"clock-drift\", who = \"b3\", ppm = 5000"), Err(Idle::ClockUnread));
}

#[test]
fn lines_that_never_fire_say_why() {
    let late = "{ at = 5000000000, kind = \"kill\", who = \"b1\" }";
    comes_to(late, Err(Idle::AfterTheEnd));
    comes_to(&fault("kind = \"kill\", who = \"b1\", when = \"up(b3)\""), Err(Idle::ConditionNeverHeld));
    comes_to(&fault("kind = \"kill\", who = \"leader(orders-0)\""), Err(Idle::NoTarget));
    comes_to(&fault("kind = \"kill\", who = \"last-killed\", when = \"up(b1)\""), Err(Idle::NoTarget));
    let became = play(
        Box::new(Sim::new(SimConfig::new(1))),
        &format!("{late}, {}", fault("kind = \"kill\", who = \"brokers\"")),
    );
    assert_eq!((became[0].due, became[0].fired), (false, 0));
    // One line, three applications.
    assert_eq!((became[1].due, became[1].fired, became[1].in_effect), (true, 3, 2));
    assert_eq!(became[1].on.keys().collect::<Vec<_>>(), ["b1", "b2"]);
}

#[test]
fn the_words_are_all_different() {
    let words: std::collections::BTreeSet<&str> = Idle::ALL.iter().map(|idle| idle.words()).collect();
    assert_eq!(words.len(), Idle::ALL.len());
}
