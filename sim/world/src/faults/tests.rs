//! Schedules fired at a world of scripted nodes: a controller that commits metadata, brokers that say and write
//! what the script wants.

use super::facts::LossKind;
use super::*;
use crate::des::{ClockSpec, CpuProfile, HostSpec, NodeKind, NodeSpec, Sim, SimConfig};
use crate::disk::DiskProfile;
use crate::event::{Event, HostId, Observer, Phase};
use crate::world::{Driver, HostState, Stop, World};
use bytes::Bytes;
use klamm_model::disk::{DiskOp, Path};
use klamm_model::ids::*;
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::node::{Input, Node, Outbox, Output};
use klamm_model::record::schema::{MetadataRecord, PartitionChangeRecord, PartitionRecord};
use klamm_model::trace::TraceEvent;
use klamm_model::units::{Duration, Instant, Now};
use std::sync::Arc;

#[derive(Clone)]
enum Say {
    Trace(TraceEvent),
    Disk(DiskOp),
    Op(klamm_model::history::Op),
}
type Script = Vec<(u64, Say)>;

/// Does what the script says at its milliseconds, once: a second incarnation is silent.
struct Scripted {
    script: Script,
    next: usize,
}

impl Node for Scripted {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        if matches!(input, Input::Shutdown) {
            out.push(Output::Exit);
            return;
        }
        while let Some((at, say)) = self.script.get(self.next) {
            let at = Instant::ZERO + Duration::from_millis(*at);
            if at > now.mono {
                out.wake_at(at);
                break;
            }
            self.next += 1;
            match say.clone() {
                Say::Trace(event) => out.trace(event),
                Say::Disk(op) => drop(out.disk(0, op)),
                Say::Op(op) => out.push(Output::Op(Box::new(op))),
            }
        }
    }
    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection::default())
    }
}

const TOPIC: TopicId = TopicId(Uuid::from_u128(77));
const P0: TopicIdPartition = TopicIdPartition { topic: TOPIC, partition: 0 };

fn ids(all: &[i32]) -> Vec<NodeId> {
    all.iter().map(|id| NodeId(*id)).collect()
}

fn committed(offset: i64, record: MetadataRecord) -> Say {
    let (offset, record) = (Offset(offset), Arc::new(record));
    Say::Trace(TraceEvent::MetadataCommitted { offset, epoch: LeaderEpoch(1), batch_end: true, record })
}

/// orders-0 on brokers 1 to 3, led by 1.
fn orders() -> Script {
    let topic = MetadataRecord::Topic { name: "orders".into(), topic_id: TOPIC };
    let partition = MetadataRecord::Partition(PartitionRecord {
        partition: P0,
        replicas: ids(&[1, 2, 3]),
        isr: ids(&[1, 2, 3]),
        leader: NodeId(1),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
    });
    vec![(1, committed(1, topic)), (1, committed(2, partition))]
}

fn change(at: u64, offset: i64, leader: Option<i32>, isr: Option<&[i32]>) -> (u64, Say) {
    let mut record = PartitionChangeRecord::of(P0);
    record.leader = leader.map(NodeId);
    record.isr = isr.map(ids);
    (at, committed(offset, MetadataRecord::PartitionChange(record)))
}

fn high_watermark(at: u64, leading: bool, high_watermark: i64, log_end: i64) -> (u64, Say) {
    let (high_watermark, log_end) = (Offset(high_watermark), Offset(log_end));
    let event = TraceEvent::HighWatermark { partition: P0, epoch: LeaderEpoch(0), leading, high_watermark, log_end };
    (at, Say::Trace(event))
}

/// Bytes that have a batch's header, and `size` bytes in all.
fn batch(base: i64, records: i32, size: usize) -> Bytes {
    let mut bytes = vec![0xAA; size];
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[8..12].copy_from_slice(&(size as i32 - 12).to_be_bytes());
    bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    bytes.into()
}

fn append(at: u64, base: i64, records: i32) -> (u64, Say) {
    let file = Path::new("orders-0/00000000000000000000.log");
    (at, Say::Disk(DiskOp::Append { file, data: batch(base, records, 100) }))
}

fn world(controller: Script, brokers: [Script; 3]) -> Sim {
    let mut sim = Sim::new(SimConfig::new(1));
    let add = |sim: &mut Sim, name: &str, kind, script: Script| {
        let host = sim.add_host(HostSpec {
            name: name.to_owned(),
            cpu: CpuProfile::default(),
            disk: DiskProfile::nvme(),
            clock: ClockSpec::default(),
        });
        let make = Box::new(move |incarnation: Incarnation| -> Box<dyn Node> {
            let script = if incarnation == Incarnation(1) { script.clone() } else { Vec::new() };
            Box::new(Scripted { script, next: 0 })
        });
        sim.add_node(NodeSpec { name: name.to_owned(), host, kind, listeners: Vec::new(), make });
    };
    add(&mut sim, "c1", NodeKind::Controller(NodeId(100)), controller);
    for (i, script) in brokers.into_iter().enumerate() {
        add(&mut sim, &format!("b{}", i + 1), NodeKind::Broker(NodeId(i as i32 + 1)), script);
    }
    add(&mut sim, "p1", NodeKind::Client(ClientId(1)), Vec::new());
    sim
}

/// Watches along with the injector.
struct Watch {
    injector: Injector,
    log: Vec<String>,
}

impl Observer for Watch {
    fn event(&mut self, event: &Event<'_>) {
        self.injector.event(event);
        let what = format!("{:?}", event.what);
        if ["Fault", "Started", "Ended", "PowerLost", "Damaged"].iter().any(|word| what.starts_with(word)) {
            let host = event.host.map_or("-".to_owned(), |h| h.0.to_string());
            self.log.push(format!("{} {host} {what}", event.at.as_nanos() / 1_000_000));
        }
    }
}
impl Driver for Watch {
    fn next_action_at(&self) -> Option<Instant> {
        self.injector.next_action_at()
    }
    fn wants_to_act(&self) -> bool {
        self.injector.wants_to_act()
    }
    fn act(&mut self, sim: &mut dyn World) {
        self.injector.act(sim);
    }
}

fn schedule(text: &str) -> Schedule {
    toml::from_str(text).unwrap()
}

/// Runs 100 ms of setup and 900 ms of hardship, then heals and runs 500 ms more.
fn run(mut sim: Sim, schedule: Schedule, seed: u64) -> (Sim, Watch) {
    let injector = Injector::new(schedule, &sim, seed, 2).unwrap();
    let mut watch = Watch { injector, log: Vec::new() };
    for host in sim.hosts().collect::<Vec<_>>() {
        sim.start(host);
    }
    let millis = |n| Instant::ZERO + Duration::from_millis(n);
    assert_eq!(sim.drive(millis(100), &mut watch), Stop::Reached);
    sim.begin_phase(Phase::Hardship);
    assert_eq!(sim.drive(millis(1000), &mut watch), Stop::Reached);
    sim.begin_phase(Phase::Heal);
    watch.injector.heal(&mut sim);
    assert_eq!(sim.drive(millis(1500), &mut watch), Stop::Reached);
    (sim, watch)
}

fn kills(watch: &Watch) -> Vec<(u64, String)> {
    let fired = watch.injector.fired().iter();
    fired
        .map(|f| (f.planned.at, f.planned.action.names().into_iter().map(|w| w.0).collect::<Vec<_>>().join(",")))
        .collect()
}

#[test]
fn a_line_fires_at_its_time_at_whom_it_means_then_and_ends() {
    let mut controller = orders();
    controller.push(change(200, 3, Some(2), Some(&[2, 3])));
    let text = r#"
        fault = [
            { kind = "kill", who = "leader(orders-0)", at = 50000000, for = 20000000 },
            { kind = "kill", who = "leader(orders-0)", at = 300000000 },
            { kind = "kill", who = "b9", at = 1 },
        ]"#;
    let mut plan = schedule(text);
    assert!(Injector::new(plan.clone(), &world(orders(), Default::default()), 1, 2).is_err());
    plan.faults.pop();
    let (sim, watch) = run(world(controller, Default::default()), plan, 1);
    assert_eq!(kills(&watch), [(50_000_000, "b1".to_owned()), (300_000_000, "b2".to_owned())]);
    assert!(watch.injector.unfired().is_empty());
    let of = |host: &str| {
        watch.log.iter().filter(|l| l.contains(&format!(" {host} "))).map(|l| l.as_str()).collect::<Vec<_>>()
    };
    let b1 = of("1");
    assert!(
        b1[1].starts_with("150 1 Ended") && b1[1].contains("Killed") && b1[2].starts_with("170 1 Started"),
        "{b1:?}"
    );
    let b2 = of("2");
    assert!(b2[1].starts_with("400 2 Ended") && b2[2].starts_with("1000 2 Started"), "{b2:?}");
    assert!(sim.hosts().all(|h| sim.host_state(h) == HostState::Running));
}

#[test]
fn a_condition_is_awaited_and_fires_right_after_the_event_that_meets_it() {
    let leader = vec![high_watermark(10, true, 5, 5), append(250, 5, 3), high_watermark(300, true, 8, 8)];
    let text = r#"fault = [{ kind = "kill", who = "leader(orders-0)", at = 0, when = "unreplicated(orders-0)" }]"#;
    let (_, watch) = run(world(orders(), [leader, Vec::new(), Vec::new()]), schedule(text), 1);
    let fired = &watch.injector.fired()[0].planned;
    assert!((150_000_000..152_000_000).contains(&fired.at), "{}", fired.at);
    assert!(fired.after.is_some() && fired.when.is_none());
    let silent = run(world(orders(), Default::default()), schedule(text), 1).1;
    assert!(silent.injector.fired().is_empty() && silent.injector.unfired() == [0]);
}

const MIXED: &str = r#"fault = [
    { kind = "kill", who = "leader(orders-0)", at = 0, when = "unreplicated(orders-0)", for = 100000000 },
    { kind = "partition", a = ["follower(orders-0)"], b = ["others"], at = 20000000, for = 300000000 },
    { kind = "pause", who = "broker", at = 30000000, for = 100000000 },
    { kind = "disk-stall", who = "brokers", at = 40000000, for = 10000000 },
    { kind = "power-loss", who = ["last-killed", "b3"], at = 0, when = "leader-changed(orders-0) and isr-size(orders-0) <= 2", for = 50000000 },
    { kind = "shutdown", who = "p1", at = 400000000, for = 30000000 },
    { kind = "clock-step", who = "b2", at = 410000000, by-ms = -5000 },
    { kind = "hold", api = "Fetch", from = ["b1"], to = ["b2"], at = 420000000 },
]"#;

fn mixed() -> Sim {
    let mut controller = orders();
    controller.push(change(500, 3, Some(2), Some(&[2, 3])));
    let leader = vec![high_watermark(10, true, 5, 5), append(250, 5, 3), append(251, 8, 2)];
    let follower = vec![append(300, 0, 9)];
    world(controller, [leader, follower.clone(), follower])
}

#[test]
fn what_fired_replays_to_the_same_run() {
    for seed in 0..6 {
        let (first, watch) = run(mixed(), schedule(MIXED), seed);
        assert_eq!(watch.injector.unfired(), [] as [usize; 0], "{:?}", watch.log);
        let text = toml::to_string(&Schedule::of_fired(watch.injector.fired())).unwrap();
        let (second, again) = run(mixed(), schedule(&text), 999);
        assert_eq!(watch.log, again.log);
        assert_eq!(first.digest(), second.digest());
        assert_eq!(first.events(), second.events());
        let planned = |w: &Watch| w.injector.fired().iter().map(|f| f.planned.clone()).collect::<Vec<_>>();
        assert_eq!(planned(&watch), planned(&again));
    }
}

#[test]
fn choices_are_drawn_by_seed_and_line() {
    let drawn = |seed| kills(&run(mixed(), schedule(MIXED), seed).1)[0].1[..2].to_owned();
    let all: std::collections::BTreeSet<_> = (0..12).map(drawn).collect();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["b2", "b3"]);
    assert_eq!(drawn(3), drawn(3));
}

#[test]
fn the_others_are_everybody_else() {
    let text = r#"fault = [{ kind = "partition", a = ["others"], b = ["leader(orders-0)"], at = 0 }]"#;
    let (_, watch) = run(world(orders(), Default::default()), schedule(text), 1);
    assert_eq!(kills(&watch)[0].1, "c1,b2,b3,p1,b1");
}

#[test]
fn a_rolling_restart_waits_until_the_process_is_gone() {
    let text = r#"fault = [{ kind = "shutdown", who = "b1", at = 0, for = 0 }]"#;
    let (_, watch) = run(world(orders(), Default::default()), schedule(text), 1);
    let b1: Vec<_> = watch.log.iter().filter(|l| l.contains(" 1 ")).collect();
    assert!(b1[1].contains("Exit") && b1[2].contains("Started"), "{b1:?}");
}

#[test]
fn losses_and_elections_become_facts() {
    let mut controller = orders();
    controller.push(change(400, 3, Some(2), Some(&[2, 3])));
    controller.push(change(600, 4, Some(-1), Some(&[2])));
    controller.push(change(700, 5, Some(3), Some(&[3])));
    let broker = vec![append(200, 0, 4), append(201, 4, 4)];
    let text = r#"fault = [{ kind = "power-loss", who = ["b1", "b2"], at = 200000000, for = 1000000 }]"#;
    let mut beyond = 0;
    for seed in 0..10 {
        let mut sim = world(controller.clone(), [broker.clone(), broker.clone(), broker.clone()]);
        // Another key of the disks' draws, by other draws before.
        for _ in 0..seed {
            let host = sim.host_named("b1").unwrap();
            sim.disk_mut(host).power_loss(Instant::ZERO);
        }
        let (_, watch) = run(sim, schedule(text), 1);
        let facts = watch.injector.facts();
        let epochs: Vec<_> = facts.leader_changes.iter().map(|c| (c.epoch.0, c.leader.0)).collect();
        assert_eq!(epochs, [(0, 1), (1, 2), (2, -1), (3, 3)]);
        assert_eq!(facts.uncleans.iter().map(|u| u.leader.0).collect::<Vec<_>>(), [3]);
        for loss in &facts.losses {
            assert_eq!((loss.partition, loss.how), (P0, LossKind::PowerLoss));
            assert!(matches!(loss.from, Some(Offset(0 | 4))), "{loss:?}");
        }
        let b2 = facts.losses.iter().find(|l| l.broker == NodeId(2));
        // Without eligible leader replicas the last in-sync replica decides: at 600 ms that is broker 2.
        assert!(b2.is_none_or(|loss| loss.beyond_budget));
        beyond += usize::from(b2.is_some());
        assert_eq!(facts.budget.is_within(), facts.losses.len() < 2);
    }
    assert!(beyond > 0);
}

#[test]
fn a_rotten_replica_is_emptied_once_it_is_out_of_the_isr() {
    let segment = |n: &str| Path::new(format!("orders-0/{n}.log"));
    let write = |at, n: &str, base| (at, Say::Disk(DiskOp::Append { file: segment(n), data: batch(base, 5, 100) }));
    let sync = Say::Disk(DiskOp::Fsync { file: segment("00000000000000000000") });
    let broker = vec![write(10, "00000000000000000000", 0), (12, sync), write(20, "00000000000000000010", 5)];
    let text = r#"fault = [{ kind = "bit-rot", who = "b1", log = "orders-0", at = 100000000 }]"#;
    for (isr, emptied) in [(&[2, 3][..], true), (&[1], false)] {
        let mut controller = orders();
        controller.push(change(1200, 3, Some(isr[0]), Some(isr)));
        let (sim, watch) = run(world(controller, [broker.clone(), Vec::new(), Vec::new()]), schedule(text), 1);
        assert_eq!(sim.disk(HostId(1)).contents().next().is_none(), emptied);
        assert_eq!(watch.injector.beyond_repair().is_empty(), emptied);
        let back = watch.log.last().unwrap();
        assert!(back.starts_with("12") && back.contains(" 1 Started"), "{back}");
    }
}

#[test]
fn damage_is_told_by_what_did_it() {
    let segment = |n: &str| Path::new(format!("orders-0/{n}.log"));
    let write = |at, n: &str, base| (at, Say::Disk(DiskOp::Append { file: segment(n), data: batch(base, 5, 100) }));
    let sync = |at, n: &str| (at, Say::Disk(DiskOp::Fsync { file: segment(n) }));
    let broker = || {
        vec![
            write(10, "00000000000000000000", 0),
            write(11, "00000000000000000000", 5),
            sync(12, "00000000000000000000"),
            write(20, "00000000000000000010", 10),
            sync(350, "00000000000000000010"),
        ]
    };
    let text = r#"fault = [
        { kind = "bit-rot", who = "b1", log = "orders-0", at = 100000000 },
        { kind = "disk-error", who = "b2", on = "fsync", at = 200000000, for = 300000000 },
        { kind = "wipe", who = "b3", at = 300000000, for = 1000000 },
    ]"#;
    let (sim, watch) = run(world(orders(), [broker(), broker(), broker()]), schedule(text), 1);
    let facts = watch.injector.facts();
    let told: Vec<_> = facts.losses.iter().map(|l| (l.broker.0, l.how)).collect();
    assert_eq!(told, [(1, LossKind::Rot), (2, LossKind::FailedFsync), (3, LossKind::Wipe)], "{:?}", watch.log);
    assert_eq!(facts.losses[1].from, Some(Offset(10)));
    assert_eq!(facts.losses[2].from, Some(Offset(0)));
    let [damage] = &facts.damages[..] else { panic!("{:?}", facts.damages) };
    assert!(
        (damage.from, damage.to) == (Offset(0), Offset(5)) || (damage.from, damage.to) == (Offset(5), Offset(10)),
        "{damage:?}"
    );
    assert!(!facts.budget.is_within());
    assert!(sim.disk(HostId(3)).contents().next().is_none());
}

// --- consumer groups ---

/// A world with the offsets topic (one partition, on brokers 2 and 3, led by 2), and a client that is a member.
fn group_world(broker: Script, member: Script) -> Sim {
    let id = TopicId(Uuid::from_u128(9));
    let topic = MetadataRecord::Topic { name: OFFSETS_TOPIC.into(), topic_id: id };
    let partition = MetadataRecord::Partition(PartitionRecord {
        partition: TopicIdPartition { topic: id, partition: 0 },
        replicas: ids(&[2, 3]),
        isr: ids(&[2, 3]),
        leader: NodeId(2),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
    });
    let mut controller = orders();
    controller.extend([(1, committed(3, topic)), (1, committed(4, partition))]);
    let mut sim = world(controller, [Vec::new(), broker, Vec::new()]);
    let host = sim.add_host(HostSpec {
        name: "m1".to_owned(),
        cpu: CpuProfile::default(),
        disk: DiskProfile::nvme(),
        clock: ClockSpec::default(),
    });
    let make = Box::new(move |_| -> Box<dyn Node> { Box::new(Scripted { script: member.clone(), next: 0 }) });
    let kind = NodeKind::Client(ClientId(2));
    sim.add_node(NodeSpec { name: "m1".to_owned(), host, kind, listeners: Vec::new(), make });
    sim
}

fn home() -> TopicIdPartition {
    TopicIdPartition { topic: TopicId(Uuid::from_u128(9)), partition: 0 }
}

fn group_state(at: u64, to: &'static str) -> (u64, Say) {
    let event = TraceEvent::GroupState {
        group: "billing".into(),
        epoch: LeaderEpoch(0),
        generation: 1,
        from: "Empty",
        to,
        members: 1,
        why: "a test",
    };
    (at, Say::Trace(event))
}

#[test]
fn group_expressions_mean_coordinators_and_members() {
    let facts = klamm_model::history::MemberFacts {
        group: "billing".into(),
        protocol: klamm_model::history::RebalanceProtocol::Eager,
        instance: None,
        auto_commit: true,
        processing: klamm_model::history::Processing::FinishThenCommit,
        effects: false,
        resets_to_latest: false,
        forwards_to: Vec::new(),
        declines_to: None,
    };
    let member = vec![(10, Say::Op(klamm_model::history::Op::Member { facts }))];
    let text = r#"
        fault = [
            { kind = "kill", who = "coordinator(billing)", at = 50000000, for = 20000000 },
            { kind = "kill", who = "coordinator-followers(billing)", at = 150000000, for = 20000000 },
            { kind = "kill", who = "member(billing)", at = 250000000 },
            { kind = "kill", who = "member(another)", at = 350000000 },
        ]"#;
    let (_, watch) = run(group_world(Vec::new(), member), schedule(text), 1);
    let who: Vec<String> = kills(&watch).into_iter().map(|(_, who)| who).collect();
    assert_eq!(who, ["b2", "b3", "m1"]);
}

#[test]
fn group_conditions_follow_the_coordinator() {
    let loaded =
        TraceEvent::CoordinatorLoaded { partition: home(), epoch: LeaderEpoch(0), log_end: Offset(0), groups: 0 };
    let broker =
        || vec![(200, Say::Trace(loaded.clone())), group_state(300, "PreparingRebalance"), group_state(400, "Stable")];
    let fired = |when: &str| {
        let text = format!(r#"fault = [{{ kind = "kill", who = "b1", at = 0, when = "{when}" }}]"#);
        let (_, watch) = run(group_world(broker(), Vec::new()), schedule(&text), 1);
        watch.injector.fired().first().map(|f| (f.planned.at / 1_000_000).div_ceil(100) * 100)
    };
    assert_eq!(fired("coordinator-loading(billing)"), Some(0));
    assert_eq!(fired("not coordinator-loading(billing)"), Some(100));
    assert_eq!(fired("rebalancing(billing)"), Some(200));
    assert_eq!(fired("rebalancing(another)"), None);
    assert_eq!(fired("commit-in-flight(billing)"), None);
}

#[test]
fn group_expressions_are_read_and_name_their_groups() {
    let text = r#"
        fault = [
            { kind = "kill", who = "leader-member(a)", at = 0, when = "rebalancing(b) and not up(member(c))" },
            { kind = "kill", who = "b1", at = 0, when = "coordinator-unreplicated(d) and commit-in-flight(a)" },
        ]"#;
    let groups: Vec<String> = schedule(text).groups(["b1"]).into_iter().collect();
    assert_eq!(groups, ["a", "b", "c", "d"]);
    let told = |text: &str| who::Expr::parse(text, ["b1"]).unwrap_err().to_string();
    assert!(told("coordinator()").contains("a group's id expected"));
    assert!(told("coordinator").contains("needs a group"));
    assert!(told("coordinater(g)").contains("did you mean `coordinator`"));
}
