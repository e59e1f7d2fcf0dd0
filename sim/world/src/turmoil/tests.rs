//! Scripted nodes behind the real shell: what faults do to them, and whether bugs of the shell are noticed.

use super::*;
use crate::des::{ClockSpec, CpuProfile, HostSpec, NodeSpec};
use crate::disk::DiskProfile;
use crate::event::{Ending, What};
use crate::world::World;
use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiVersionsResponse, ProduceRequest, ProduceResponse, RequestKind};
use kafka_protocol::protocol::StrBytes;
use klamm_model::disk::{DiskOp, Path};
use klamm_model::ids::ClientId;
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Endpoint, Listener, Node as Machine, Outbox, Output};
use klamm_model::units::Now;
use klamm_model::{ConnId, DisconnectReason, Input};
use std::collections::VecDeque;

const PORT: u16 = 9092;
/// A version of Produce that names topics.
const VERSION: i16 = 9;

/// A node that is one function.
struct Script<F>(F);

impl<F: FnMut(Now, Input, &mut Outbox)> Machine for Script<F> {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        (self.0)(now, input, out);
    }
    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection::default())
    }
}

fn script(f: impl FnMut(Now, Input, &mut Outbox) + 'static) -> Box<dyn Machine> {
    Box::new(Script(f))
}

/// Answers each request after so many milliseconds, in order.
fn server(after_ms: u64) -> Box<dyn Machine> {
    let mut waiting: VecDeque<(Instant, ConnId, i32, i16, bool)> = VecDeque::new();
    script(move |now, input, out| {
        if let Input::Request { conn, correlation, version, request } = input {
            let produce = matches!(*request, RequestKind::Produce(_));
            waiting.push_back((now.mono + Duration::from_millis(after_ms), conn, correlation, version, produce));
        }
        while let Some((_, conn, correlation, version, produce)) = waiting.pop_front_if(|w| w.0 <= now.mono) {
            if produce {
                out.respond(conn, correlation, version, ProduceResponse::default());
            } else {
                out.respond(conn, correlation, version, ApiVersionsResponse::default());
            }
        }
        if let Some((at, ..)) = waiting.front() {
            out.wake_at(*at);
        }
    })
}

fn produce(bytes: usize) -> Box<RequestKind> {
    let partition = PartitionProduceData::default().with_records(Some(Bytes::from(vec![7; bytes])));
    let topic = TopicProduceData::default()
        .with_name(StrBytes::from_static_str("orders").into())
        .with_partition_data(vec![partition]);
    Box::new(RequestKind::Produce(ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic])))
}

/// Keeps `window` requests in flight, `total` in all, on one connection; connects again whenever it is over. With
/// `rash`, it closes the connection behind every tenth request without waiting for answers.
fn caller(window: i32, total: i32, rash: bool) -> Box<dyn Machine> {
    let (mut sent, mut open) = (0, None);
    script(move |now, input, out| {
        let mut send = |out: &mut Outbox, conn| {
            sent += 1;
            let request = produce(sent as usize * 997 % 70_000);
            out.push(Output::Request { conn, correlation: sent, version: VERSION, request });
            if rash && sent % 10 == 0 {
                out.close(conn);
                out.connect(Endpoint::new("s", PORT));
            }
            sent < total
        };
        match input {
            Input::Start { .. } => drop(out.connect(Endpoint::new("s", PORT))),
            Input::Connected { conn } => {
                open = Some(conn);
                for _ in 0..window {
                    if !send(out, conn) {
                        break;
                    }
                }
            }
            Input::Response { conn, .. } => drop(send(out, conn)),
            Input::Disconnected { .. } => open = None,
            Input::Timer if open.is_none() => drop(out.connect(Endpoint::new("s", PORT))),
            _ => {}
        }
        if open.is_none() {
            out.wake_at(now.mono + Duration::from_millis(50));
        }
    })
}

/// What was seen: when, on which node, what.
#[derive(Default)]
struct Log(Vec<(Instant, Option<NodeRef>, String)>);

impl Observer for Log {
    fn event(&mut self, event: &Event<'_>) {
        let what = match &event.what {
            What::RequestSent { .. } => "request-sent".to_owned(),
            What::RequestTaken { .. } => "request-taken".to_owned(),
            What::ResponseTaken { .. } => "response-taken".to_owned(),
            What::Disconnected { reason, .. } => format!("{reason:?}"),
            What::Ended { how, .. } => format!("{how:?}"),
            What::DiskDone { .. } => "disk-done".to_owned(),
            _ => return,
        };
        self.0.push((event.at, event.node, what));
    }
}

impl Log {
    fn count(&self, node: NodeRef, what: &str, from: u64, to: u64) -> usize {
        let when = ms(from)..ms(to);
        self.0.iter().filter(|(at, n, w)| *n == Some(node) && w == what && when.contains(at)).count()
    }
}

fn ms(n: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(n)
}

fn add(
    world: &mut Turmoil,
    name: &str,
    listens: bool,
    mut make: impl FnMut() -> Box<dyn Machine> + 'static,
) -> (HostId, NodeRef) {
    let clock = ClockSpec { monotonic_at_start: Duration::from_secs(77), ..ClockSpec::default() };
    let host = world.add_host(HostSpec {
        name: name.to_owned(),
        cpu: CpuProfile::default(),
        disk: DiskProfile::nvme(),
        clock,
    });
    let node = world.add_node(NodeSpec {
        name: name.to_owned(),
        host,
        kind: NodeKind::Client(ClientId(u32::from(host.0))),
        listeners: if listens { vec![(Listener::Client, PORT)] } else { Vec::new() },
        make: Box::new(move |_| make()),
    });
    (host, node)
}

/// A server and two callers, started.
struct Trio {
    world: Turmoil,
    log: Log,
    s: (HostId, NodeRef),
    c: [(HostId, NodeRef); 2],
}

impl Trio {
    fn new(seed: u64, after_ms: u64, rash: bool) -> Trio {
        Trio::with(seed, after_ms, rash, None)
    }

    fn with(seed: u64, after_ms: u64, rash: bool, bug: Option<Planted>) -> Trio {
        let mut world = Turmoil::new(&SimConfig::new(seed));
        world.plant(bug);
        let s = add(&mut world, "s", true, move || server(after_ms));
        let c = ["c1", "c2"].map(|name| add(&mut world, name, false, move || caller(3, 1_000_000, rash)));
        [s.0, c[0].0, c[1].0].into_iter().for_each(|host| world.start(host));
        Trio { world, log: Log::default(), s, c }
    }

    fn until(&mut self, n: u64) {
        assert_eq!(self.world.run_until(ms(n), &mut self.log), Stop::Reached);
        assert!(self.world.now() >= ms(n));
    }

    fn taken(&self, from: u64, to: u64) -> usize {
        self.log.count(self.s.1, "request-taken", from, to)
    }
    fn answered(&self, caller: usize, from: u64, to: u64) -> usize {
        self.log.count(self.c[caller].1, "response-taken", from, to)
    }
    fn sound(&self) {
        assert!(self.world.findings().is_empty(), "{}", self.world.findings()[0]);
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_another() {
    let digest = |seed| {
        let mut trio = Trio::new(seed, 2, true);
        trio.until(300);
        trio.world.kill(trio.s.0);
        trio.until(350);
        trio.world.start(trio.s.0);
        trio.until(600);
        trio.world.power_loss(&[trio.s.0]);
        trio.until(700);
        // Whoever waits for a machine that lost power waits for ever, without timeouts of its own.
        trio.c.iter().for_each(|(host, _)| trio.world.kill(*host));
        [trio.s.0, trio.c[0].0, trio.c[1].0].into_iter().for_each(|host| trio.world.start(host));
        trio.until(900);
        trio.sound();
        assert!(trio.taken(0, 300) > 20 && trio.taken(351, 600) > 20 && trio.taken(701, 900) > 20);
        (trio.world.digest(), trio.world.events())
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1).0, digest(2).0);
}

#[test]
fn frames_arrive_whole_and_in_order_though_they_travel_in_parts() {
    for seed in 0..5 {
        let mut trio = Trio::new(seed, 3, true);
        trio.until(1_000);
        assert!(trio.taken(0, 1_000) > 100 && trio.answered(0, 0, 1_000) > 50);
        trio.sound();
    }
}

#[test]
fn every_bug_planted_in_the_shell_is_noticed() {
    for bug in Planted::ALL {
        let noticed = (0..3).filter(|seed| {
            let mut trio = Trio::with(*seed, 3, true, Some(bug));
            trio.until(500);
            trio.world.findings().iter().any(|f| f.check == klamm_model::checks::Check::ShellContract)
        });
        assert_eq!(noticed.count(), 3, "{bug:?}");
    }
}

#[test]
fn a_killed_process_ends_its_connections_and_a_lost_machine_is_silent() {
    let mut trio = Trio::new(1, 2, false);
    trio.until(100);
    trio.world.kill(trio.s.0);
    trio.until(300);
    let gone = |trio: &Trio, from, to| {
        let count = |what| trio.log.count(trio.c[0].1, what, from, to);
        (count("Closed") + count("Reset"), count("Refused"))
    };
    let (ended, refused) = gone(&trio, 100, 300);
    assert!(ended == 1 && refused >= 2, "{ended} ended, {refused} refused");
    trio.world.start(trio.s.0);
    trio.until(500);
    assert!(trio.taken(350, 500) > 10);
    trio.world.power_loss(&[trio.s.0]);
    trio.until(1_500);
    assert_eq!(gone(&trio, 501, 1_500), (0, 0));
    assert_eq!((trio.taken(502, 1_500), trio.answered(0, 510, 1_500)), (0, 0));
    assert_eq!(trio.log.count(trio.s.1, &format!("{:?}", Ending::PowerLost), 0, 2_000), 1);
    trio.sound();
}

#[test]
fn a_partition_holds_back_and_loses_nothing() {
    let mut trio = Trio::new(1, 2, false);
    trio.until(200);
    let rule = trio.world.partition(&[trio.s.0], &[trio.c[0].0], false);
    trio.until(700);
    assert_eq!(trio.answered(0, 205, 700), 0);
    assert!(trio.answered(1, 205, 700) > 50, "the other caller is not concerned");
    trio.world.remove_rule(rule);
    trio.until(1_000);
    assert!(trio.answered(0, 700, 1_000) > 20);
    let over = trio.log.count(trio.c[0].1, "Reset", 0, 1_000) + trio.log.count(trio.c[0].1, "Closed", 0, 1_000);
    assert_eq!(over, 0);
    trio.sound();
}

#[test]
fn a_one_way_partition_lets_the_other_way_through() {
    let mut trio = Trio::new(1, 2, false);
    trio.until(200);
    let rule = trio.world.partition(&[trio.s.0], &[trio.c[0].0, trio.c[1].0], true);
    trio.until(300);
    // Answers stay away, requests do not: three of them, and then the window is full.
    trio.world.kill(trio.c[1].0);
    trio.world.start(trio.c[1].0);
    trio.until(700);
    assert_eq!(trio.answered(0, 205, 700) + trio.answered(1, 205, 700), 0);
    assert_eq!(trio.taken(300, 700), 3);
    trio.world.remove_rule(rule);
    trio.until(1_000);
    assert!(trio.answered(0, 700, 1_000) > 20);
    trio.sound();
}

#[test]
fn latency_is_added_and_taken_away() {
    let mut trio = Trio::new(1, 0, false);
    trio.until(1_000);
    let quick = trio.answered(0, 0, 1_000);
    let rule = trio.world.add_latency(&[trio.s.0], &[trio.c[0].0], Duration::from_millis(40));
    trio.until(2_000);
    let slow = trio.answered(0, 1_000, 2_000);
    assert!(slow > 0 && slow * 5 < quick, "{quick} and {slow}");
    trio.world.remove_rule(rule);
    trio.until(3_000);
    assert!(trio.answered(0, 2_200, 3_000) * 2 > quick);
    trio.sound();
}

#[test]
fn a_paused_process_takes_nothing_and_goes_on_where_it_was() {
    let mut trio = Trio::new(1, 2, false);
    trio.until(200);
    trio.world.pause(trio.s.0);
    // A connection that is opened meanwhile waits, too.
    trio.world.kill(trio.c[1].0);
    trio.until(250);
    trio.world.start(trio.c[1].0);
    trio.until(500);
    assert_eq!(trio.taken(201, 500), 0);
    assert!(trio.log.count(trio.c[1].1, "request-sent", 250, 500) > 0);
    trio.world.resume(trio.s.0);
    trio.until(800);
    assert!(trio.answered(0, 500, 800) > 20 && trio.answered(1, 500, 800) > 20);
    trio.sound();
}

#[test]
fn a_reset_ends_connections_between_two_sides_only() {
    let mut trio = Trio::new(1, 2, false);
    trio.until(200);
    trio.world.reset(&[trio.s.0], &[trio.c[0].0]);
    trio.until(400);
    let resets = |node| trio.log.count(node, &format!("{:?}", DisconnectReason::Reset), 200, 400);
    assert_eq!([resets(trio.c[0].1), resets(trio.s.1), resets(trio.c[1].1)], [1, 1, 0]);
    assert!(trio.answered(0, 260, 400) > 5);
}

#[test]
fn a_name_that_does_not_resolve_is_told() {
    let mut trio = Trio::new(1, 2, false);
    trio.world.unresolvable(trio.s.0, true);
    trio.until(200);
    assert!(trio.log.count(trio.c[0].1, "Unresolved", 0, 200) >= 2);
    trio.world.unresolvable(trio.s.0, false);
    trio.until(400);
    assert!(trio.taken(260, 400) > 5);
}

#[test]
fn a_killed_process_leaves_its_page_cache_and_a_lost_machine_what_was_synced() {
    let (synced, loose) = (Path::new("synced"), Path::new("loose"));
    let (a, b) = (synced.clone(), loose.clone());
    let writer = move || {
        let (a, b) = (a.clone(), b.clone());
        script(move |_, input, out| {
            if let Input::Start { .. } = input {
                let data = Bytes::from_static(&[5; 5_000]);
                out.disk(0, DiskOp::Append { file: a.clone(), data: data.clone() });
                out.disk(0, DiskOp::Append { file: b.clone(), data });
            }
            // The first append's completion: an fsync covers what completed before it.
            if let Input::Disk { token, .. } = input
                && token.seq == 2
            {
                out.disk(0, DiskOp::Fsync { file: a.clone() });
                out.disk(0, DiskOp::FsyncDir { dir: Path::new("") });
            }
        })
    };
    let mut lost = 0;
    for seed in 0..20 {
        let mut world = Turmoil::new(&SimConfig::new(seed));
        let (host, node) = add(&mut world, "w", false, writer.clone());
        let mut log = Log::default();
        world.start(host);
        world.run_until(ms(50), &mut log);
        assert_eq!(log.count(node, "disk-done", 0, 50), 4);
        world.kill(host);
        let length = |world: &Turmoil, path| world.file(host, path).map_or(0, |bytes| bytes.len());
        assert_eq!([length(&world, &synced), length(&world, &loose)], [5_000, 5_000]);
        world.power_loss(&[host]);
        assert_eq!(length(&world, &synced), 5_000);
        lost += usize::from(length(&world, &loose) < 5_000);
    }
    assert!(lost > 5, "{lost} of 20 lost unsynced data");
}

#[test]
fn a_panic_of_a_node_is_a_crash_of_the_run() {
    let mut world = Turmoil::new(&SimConfig::new(1));
    let (host, node) = add(&mut world, "w", false, || script(|_, _, _| panic!("on purpose")));
    world.start(host);
    let stop = world.run_until(ms(10), &mut Log::default());
    assert_eq!(stop, Stop::Crashed { node, message: "on purpose".into() });
}

/// On a disk that takes no time, each completion asks for the next operation.
#[test]
fn a_node_that_lets_no_time_pass_is_a_runaway_and_is_named() {
    let mut world = Turmoil::new(&SimConfig::new(1));
    let at_once = DiskProfile { write_nanos: 0, names_nanos: 0, copy_rate: u64::MAX, ..DiskProfile::nvme() };
    let host = world.add_host(HostSpec {
        name: "h".to_owned(),
        cpu: CpuProfile::default(),
        disk: at_once,
        clock: ClockSpec::default(),
    });
    let file = Path::new("log");
    let node = world.add_node(NodeSpec {
        name: "spinner".to_owned(),
        host,
        kind: NodeKind::Client(ClientId(1)),
        listeners: Vec::new(),
        make: Box::new(move |_| {
            let file = file.clone();
            script(move |_, input, out| {
                if matches!(input, Input::Start { .. } | Input::Disk { .. }) {
                    out.disk(0, DiskOp::Append { file: file.clone(), data: Bytes::new() });
                }
            })
        }),
    });
    world.start(host);
    let Stop::Runaway(runaway) = world.run_until(ms(1_000), &mut Log::default()) else { panic!("it ran on") };
    assert_eq!((runaway.budget, runaway.bound), ("events within a tick", 100_000));
    assert_eq!(runaway.hottest[0].0, Some(node));
}

/// A node whose timer is always due is made to wait: time goes on, and so does the run.
#[test]
fn a_timer_that_is_always_due_does_not_stop_time() {
    let mut world = Turmoil::new(&SimConfig::new(1));
    let (host, _) = add(&mut world, "w", false, || script(|now, _, out| out.wake_at(now.mono)));
    world.start(host);
    assert_eq!(world.run_until(ms(50), &mut Log::default()), Stop::Reached);
}
