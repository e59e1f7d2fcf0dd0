//! Laws over many histories: what a correct log and its clients do is never a finding, and what is taken from such a
//! history is always one.

use super::testing::*;
use super::*;
use klamm_model::checks::Check;
use klamm_model::history::{IsolationLevel, Op, Outcome, PositionReason};
use klamm_model::ids::Offset;
use proptest::prelude::*;

/// One step of a small world with one partition.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A send that is appended at once; acknowledged some steps later, or never (info).
    Send { ack_after: u8, info: bool },
    /// A send that fails.
    Fail,
    /// A marker takes an offset.
    Gap,
    /// A reader polls up to so many records.
    Poll { reader: u32, max: usize },
    /// A reader goes somewhere.
    Seek { reader: u32, to: u8 },
    /// Retention.
    Delete { part: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..6, prop::bool::weighted(0.1)).prop_map(|(ack_after, info)| Step::Send { ack_after, info }),
        1 => Just(Step::Fail),
        1 => Just(Step::Gap),
        6 => (10u32..13, 1usize..5).prop_map(|(reader, max)| Step::Poll { reader, max }),
        1 => (10u32..13, 0u8..200).prop_map(|(reader, to)| Step::Seek { reader, to }),
        1 => (0u8..4).prop_map(|part| Step::Delete { part }),
    ]
}

/// What the world did.
struct Played {
    history: History,
    /// Log starts, each in front of the entry of this number.
    starts: Vec<(usize, i64)>,
    /// The log at the end.
    log: Vec<(i64, u64)>,
    acked: Vec<u64>,
    log_start: i64,
}

fn play(steps: &[Step]) -> Played {
    let mut h = History::new();
    let (mut log, mut end, mut log_start): (Vec<(i64, u64)>, i64, i64) = (Vec::new(), 0, 0);
    let (mut due, mut next, mut acked, mut starts) = (Vec::new(), 0u64, Vec::new(), Vec::new());
    let mut positions = [0i64; 3];
    for reader in 10..13 {
        h.assigned(reader, 0);
    }
    for (now, step) in steps.iter().copied().enumerate() {
        match step {
            Step::Send { ack_after, info } => {
                h.send(next);
                log.push((end, next));
                due.push((now + usize::from(ack_after), next, end, info));
                (next, end) = (next + 1, end + 1);
            }
            Step::Fail => {
                h.send(next).resolve(next, Outcome::Fail, None, 1);
                next += 1;
            }
            Step::Gap => end += 1,
            Step::Poll { reader, max } => {
                let position = &mut positions[reader as usize - 10];
                if *position < log_start {
                    *position = log_start;
                    h.position(reader, log_start, PositionReason::Reset);
                }
                let batch: Vec<_> = log.iter().copied().filter(|(o, _)| o >= position).take(max).collect();
                if let Some((last, _)) = batch.last() {
                    *position = last + 1;
                    h.poll(reader, &batch);
                }
            }
            Step::Seek { reader, to } => {
                let to = log_start + i64::from(to) * (end - log_start) / 200;
                positions[reader as usize - 10] = to;
                h.position(reader, to, PositionReason::Seek);
            }
            Step::Delete { part } => {
                log_start += i64::from(part) * (end - log_start) / 8;
                log.retain(|(o, _)| *o >= log_start);
                starts.push((h.entries.len(), log_start));
            }
        }
        due.retain(|&(at, value, offset, info)| {
            if at > now {
                return true;
            }
            if info {
                h.resolve(value, Outcome::Info, None, 1);
            } else {
                h.ack(value, offset);
                acked.push(value);
            }
            false
        });
    }
    Played { history: h, starts, log, acked, log_start }
}

fn judge(played: &Played, tail: &History) -> Verdicts {
    let mut judge = Judge::new(JudgeConfig { resolve_slack: 0, max_findings: 9 });
    let mut starts = played.starts.iter().peekable();
    for (i, entry) in played.history.entries.iter().enumerate() {
        while let Some((_, offset)) = starts.next_if(|(at, _)| *at <= i) {
            judge.log_start(&source(0), Offset(*offset));
        }
        judge.entry(entry);
    }
    starts.for_each(|(_, offset)| judge.log_start(&source(0), Offset(*offset)));
    tail.entries.iter().for_each(|e| judge.entry(e));
    judge.finish(tail.clock, &tail.declared)
}

/// The final read of such a log.
fn final_read(played: &Played, log: &[(i64, u64)]) -> History {
    let mut tail = History::new();
    tail.entries.clear();
    tail.clock = played.history.clock;
    tail.assigned(99, played.log_start);
    if !log.is_empty() {
        tail.poll(99, log);
    }
    let end = log.last().map_or(played.log_start, |(o, _)| o + 1);
    tail.final_read(99, played.log_start, end);
    tail
}

proptest! {
    #[test]
    fn a_correct_log_is_never_accused(steps in prop::collection::vec(step(), 1..80)) {
        let played = play(&steps);
        let verdicts = judge(&played, &final_read(&played, &played.log));
        prop_assert_eq!(verdicts.findings, vec![]);
    }

    #[test]
    fn whatever_acknowledged_is_taken_from_the_log_is_missed(
        steps in prop::collection::vec(step(), 1..80),
        which: prop::sample::Index,
    ) {
        let played = play(&steps);
        let durable: Vec<_> = played.log.iter().filter(|(_, v)| played.acked.contains(v)).collect();
        prop_assume!(!durable.is_empty());
        let taken = *durable[which.index(durable.len())];
        let rest: Vec<_> = played.log.iter().copied().filter(|r| *r != taken).collect();
        let verdicts = judge(&played, &final_read(&played, &rest));
        let lost: Vec<_> = verdicts.findings.iter().filter(|f| [Check::LostWrite, Check::Unseen].contains(&f.check)).collect();
        prop_assert_eq!(lost.len(), 1);
        prop_assert_eq!(&lost[0].values, &vec![value(taken.1)]);
        let acknowledged = lost[0].witness.iter().any(|e| matches!(e.op, Op::Sent { .. }));
        prop_assert!(acknowledged);
        prop_assert_eq!(verdicts.summary.lost(), 1);
    }

    #[test]
    fn two_records_that_change_places_are_noticed(
        steps in prop::collection::vec(step(), 1..80),
        which: prop::sample::Index,
    ) {
        let played = play(&steps);
        let durable = |v: &u64| played.acked.contains(v);
        prop_assume!(played.log.len() >= 2);
        let i = which.index(played.log.len() - 1);
        prop_assume!(durable(&played.log[i].1) && durable(&played.log[i + 1].1));
        let mut log = played.log.clone();
        (log[i].1, log[i + 1].1) = (log[i + 1].1, log[i].1);
        let verdicts = judge(&played, &final_read(&played, &log));
        let found = |check: Check| verdicts.findings.iter().any(|f| f.check == check);
        // What was read at its own place before is there twice now, and beside another value. What never was is read
        // elsewhere than it was acknowledged; that refutes the acknowledgement, which then claims no offset.
        prop_assert!(found(Check::UnknownRead) || found(Check::Duplicate));
        prop_assert_eq!(found(Check::InconsistentOffsets), found(Check::Duplicate));
        prop_assert_eq!(verdicts.summary.lost(), 0);
    }
}

/// What one client does, in its order.
fn lanes() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let outcome = prop_oneof![
        4 => (0i64..7).prop_map(|o| (Outcome::Ok, Some(o))),
        1 => Just((Outcome::Info, None)),
        1 => Just((Outcome::Fail, None)),
    ];
    let acks = prop::collection::vec(outcome, 6).prop_map(|all| {
        let h = History::new();
        all.into_iter().enumerate().map(|(n, (outcome, offset))| h.sent_op(n as u64, outcome, offset, 1)).collect()
    });
    let reader = |last: bool| {
        let record = (0i64..7, 0u64..7, 0i32..3);
        // Most records are where they belong.
        let record = record.prop_map(|(o, v, e)| if e > 0 { (o, o as u64, e) } else { (o, v, e) });
        let polls = prop::collection::vec(prop::collection::vec(record, 1..4), 0..4);
        (polls, prop::option::of(0i64..5), any::<bool>()).prop_map(move |(polls, begin, committed)| {
            let h = History::new();
            let isolation = if committed { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted };
            let position = |o| Op::Position { source: source(0), offset: Offset(o), reason: PositionReason::Assigned };
            let begin = begin.map(position).into_iter();
            let end = Op::FinalRead { source: source(0), from: Offset(0), to: Offset(9) };
            begin.chain(polls.iter().map(|p| h.poll_op(p, isolation))).chain(last.then_some(end)).collect()
        })
    };
    (acks, reader(false), reader(false), reader(true)).prop_map(|(acks, a, b, c)| vec![acks, a, b, c])
}

/// Six sends, and then these operations in some order. (Without a place for each check's finding: what a check says of
/// several readers it may say of any of them.)
fn verdict_of(lanes: &[Vec<Op>], order: &[usize]) -> Vec<(String, Option<Offset>)> {
    let mut h = History::new();
    h.sends(0..6);
    let mut left: Vec<_> = lanes.iter().map(|lane| lane.iter().cloned()).collect();
    let clients = [1, 10, 11, 99];
    let turns = order.iter().copied().chain(0..lanes.len()).map(|lane| lane % lanes.len());
    for (n, lane) in turns.enumerate() {
        // In the end each does what it has left.
        let many = if n < order.len() { 1 } else { usize::MAX };
        for op in left[lane].by_ref().take(many) {
            h.push(clients[lane], op);
        }
    }
    let verdicts = h.judge();
    let mut found: Vec<_> = verdicts.findings.iter().map(|f| (f.check.to_string(), f.offset)).collect();
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn the_order_of_reading_decides_nothing(
        lanes in lanes(),
        one in prop::collection::vec(0usize..4, 0..24),
        other in prop::collection::vec(0usize..4, 0..24),
    ) {
        prop_assert_eq!(verdict_of(&lanes, &one), verdict_of(&lanes, &other));
    }
}

#[test]
fn memory_follows_what_is_retained() {
    let mut judge = Judge::new(JudgeConfig { resolve_slack: 0, max_findings: 9 });
    for round in 0..50i64 {
        let mut h = History::new();
        let (from, to) = (round * 100, round * 100 + 100);
        h.acked(from as u64..to as u64).assigned(10, from).reads(10, from..to);
        h.entries.iter().for_each(|e| judge.entry(e));
        judge.log_start(&source(0), Offset(from));
        assert!(judge.remembered() <= 400, "{}", judge.remembered());
    }
    assert_eq!(judge.found(), 0);
}

#[test]
fn findings_beyond_the_told_ones_are_judged_and_counted() {
    let mut h = History::with(klamm_model::history::Acks::All, false, 1);
    for i in 0..200 {
        h.send(i).resolve(i, Outcome::Ok, Some(2 * i as i64), 2);
    }
    let twice: Vec<_> = (0..400).map(|o| (o, o as u64 / 2)).collect();
    let verdicts = h.assigned(10, 0).poll(10, &twice).judge();
    assert_eq!(verdicts.summary.duplicates(), 200);
    assert_eq!(verdicts.summary.violations(), 0);
    assert_eq!(verdicts.findings.iter().filter(|f| f.witness.is_empty()).count(), 100);
}
