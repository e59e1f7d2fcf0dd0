//! Histories from outside may hold any number. The judge neither breaks on them nor lets them set the size of its
//! memory: that follows how many operations there are. And its work grows with their number, not with its square: here
//! a million sends are late, and a square of that would never end.

use klamm_model::checks::Check;
use klamm_model::history::*;
use klamm_model::ids::*;
use klamm_workloads::oracles::{Judge, JudgeConfig, Verdicts};
use klamm_workloads::permission::Declared;

struct Case {
    judge: Judge,
    at: u64,
    ops: usize,
}

impl Case {
    fn new() -> Case {
        Case { judge: Judge::new(JudgeConfig { resolve_slack: 0, max_findings: 9 }), at: 0, ops: 0 }
    }
    fn op(&mut self, client: u32, op: Op) -> &mut Case {
        self.at += 1;
        self.at_once(client, op)
    }
    fn at_once(&mut self, client: u32, op: Op) -> &mut Case {
        self.ops += 1;
        let entry = Entry { at: self.at, client: ClientId(client), incarnation: Incarnation(1), op };
        self.judge.entry(&entry);
        self
    }
    fn end(&mut self) -> Verdicts {
        // A place of its own for what an operation tells, and some room to find it quickly.
        assert!(self.judge.remembered() <= 24 * self.ops, "{} of {}", self.judge.remembered(), self.ops);
        self.judge.finish(self.at, &Declared::default())
    }
}

fn source(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

fn send(value: ValueId, partition: i32) -> Op {
    let (topic, partition) = ("t".into(), Some(partition));
    Op::Send { value, topic, partition, key: None, tombstone: false, late_by: 0, from: None }
}

fn ack(value: ValueId, partition: i32, offset: i64) -> Op {
    let (outcome, producer_id, error) = (Outcome::Ok, Some(ProducerId(value.0 as i64 & 0xffff)), None);
    let (partition, offset) = (Some(partition), Some(Offset(offset)));
    Op::Sent { value, outcome, partition, offset, attempts: 1, producer_id, error }
}

fn poll(partition: i32, records: &[(i64, ValueId)]) -> Op {
    let record = |&(o, value): &(i64, ValueId)| ReadRecord {
        offset: Offset(o),
        leader_epoch: LeaderEpoch(1),
        value,
        key: None,
        timestamp: 0,
    };
    let records = records.iter().map(record).collect();
    Op::Poll { source: source(partition), isolation: IsolationLevel::ReadCommitted, records }
}

fn position(partition: i32, offset: i64) -> Op {
    Op::Position { source: source(partition), offset: Offset(offset), reason: PositionReason::Assigned }
}

fn final_read(partition: i32, from: i64, to: i64) -> Op {
    Op::FinalRead { source: source(partition), from: Offset(from), to: Offset(to) }
}

fn checks(verdicts: &Verdicts) -> Vec<&str> {
    verdicts.findings.iter().map(|f| f.check.name()).collect()
}

const MAX: i64 = i64::MAX;

#[test]
fn offsets_up_to_the_largest() {
    let value = |n| ValueId::new(ClientId(1), n);
    let all = [(0, value(0)), (MAX - 1, value(1)), (MAX, value(2))];
    let sent = |case: &mut Case| {
        for (offset, value) in all {
            case.op(1, send(value, 0)).op(1, ack(value, 0, offset));
        }
    };
    let mut case = Case::new();
    sent(&mut case);
    case.op(9, position(0, 0)).op(9, poll(0, &all)).op(9, final_read(0, 0, MAX));
    assert_eq!(checks(&case.end()), [""; 0]);
    // The last one is missing, and so is the one in front of it.
    let mut case = Case::new();
    sent(&mut case);
    case.op(9, position(0, 0)).op(9, poll(0, &all[..2])).op(9, final_read(0, 0, MAX));
    assert_eq!(checks(&case.end()), ["unseen"]);
    let mut case = Case::new();
    sent(&mut case);
    case.op(9, poll(0, &[all[0], all[2]])).op(9, position(0, MAX)).op(9, poll(0, &all[2..]));
    assert_eq!(checks(&case.end()), ["lost-write"]);
    // From the end back to the beginning, twice.
    let mut case = Case::new();
    sent(&mut case);
    case.op(9, poll(0, &all[2..])).op(9, poll(0, &all)).op(9, poll(0, &all));
    assert!(checks(&case.end()).contains(&"nonmonotonic-poll"));
}

#[test]
fn as_many_clients_as_values_can_name() {
    let mut case = Case::new();
    for client in 0..1 << 20 {
        let value = ValueId::new(ClientId(client), (1 << 44) - 1);
        case.op(client, send(value, 0)).op(client, ack(value, 0, i64::from(client)));
    }
    for client in 0..1 << 20 {
        let value = ValueId::new(ClientId(client), (1 << 44) - 1);
        case.op(client, poll(0, &[(i64::from(client), value)]));
    }
    let verdicts = case.end();
    assert_eq!(checks(&verdicts), [""; 0]);
    assert_eq!(verdicts.armed[&Check::LostWrite], (1 << 20) - 1);
    // A single client of the highest number.
    let value = ValueId::new(ClientId((1 << 20) - 1), 0);
    let mut case = Case::new();
    case.op(7, send(value, 0)).op(7, ack(value, 0, 0)).op(9, position(0, 0)).op(9, final_read(0, 0, 1));
    assert_eq!(checks(&case.end()), ["unseen"]);
}

#[test]
fn a_million_late_sends() {
    const MANY: u64 = 1_000_000;
    for (idempotent, reverse) in [(false, true), (true, false)] {
        let mut case = Case::new();
        let facts = ProducerFacts { acks: Acks::All, idempotent, max_in_flight: 5, resolves_within: 1 };
        case.op(1, Op::Producer { facts });
        let value = |n| ValueId::new(ClientId(1), n);
        (0..MANY).for_each(|n| {
            case.at_once(1, send(value(n), 0));
        });
        case.at += 100;
        for n in 0..MANY {
            let n = if reverse { MANY - 1 - n } else { n };
            case.op(1, ack(value(n), 0, n as i64));
        }
        let verdicts = case.end();
        assert_eq!(verdicts.summary.checks[&Check::SendResolves].violations, MANY);
    }
}

#[test]
fn many_sends_out_of_order() {
    const MANY: u64 = 200_000;
    // Each lies below all before it, and either something excuses that, or nothing does.
    for attempts in [2, 1] {
        let mut case = Case::new();
        let facts = ProducerFacts { acks: Acks::All, idempotent: false, max_in_flight: 5, resolves_within: 1 << 40 };
        case.op(1, Op::Producer { facts });
        let value = |n| ValueId::new(ClientId(1), n);
        (0..MANY).for_each(|n| {
            case.at_once(1, send(value(n), 0));
        });
        for n in 0..MANY {
            let mut ack = ack(value(n), 0, (MANY - n) as i64);
            if let Op::Sent { attempts: of, .. } = &mut ack {
                *of = attempts;
            }
            case.op(1, ack);
        }
        let verdicts = case.end();
        let count = &verdicts.summary.checks[&Check::IntNonmonotonicSend];
        // The first one is above all others: it is told once.
        let permitted: u64 = count.permitted.values().sum();
        assert_eq!((count.violations, permitted), if attempts == 2 { (0, 1) } else { (1, 0) });
    }
}

#[test]
fn numbers_far_apart() {
    let mut case = Case::new();
    for n in 0..20_000u64 {
        let value = ValueId::new(ClientId(1), n * 65_535);
        let (partition, offset) = (i32::MAX - (n % 3) as i32, (n * 65_535) as i64);
        case.op(1, send(value, partition)).op(1, ack(value, partition, offset));
        case.op(2, poll(partition, &[(offset, value)]));
    }
    assert_eq!(checks(&case.end()), [""; 0]);
}

#[test]
fn values_out_of_place() {
    let mut case = Case::new();
    for n in 0..20_000u64 {
        let value = ValueId::new(ClientId(1), n);
        let topic = "another".into();
        let sent = Op::Send { value, topic, partition: None, key: None, tombstone: false, late_by: 0, from: None };
        case.op(1, sent).op(2, poll(0, &[(n as i64, value)])).op(3, poll(i32::MAX, &[(n as i64, value)]));
    }
    let verdicts = case.end();
    assert_eq!(verdicts.summary.checks[&Check::UnknownRead].violations, 40_000);
}
