//! The oracles over a history in which nothing is wrong: what each send costs them, with its two reads.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use klamm_model::history::*;
use klamm_model::ids::*;
use klamm_workloads::oracles::{Judge, JudgeConfig};
use klamm_workloads::permission::Declared;
use std::time::Duration;

const ROUNDS: u64 = 2_000;
const BATCH: u64 = 100;
const PRODUCER: u32 = 1;
const READER: u32 = 10;
const FINAL_READER: u32 = 99;

fn source() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

fn reads(offsets: std::ops::Range<u64>) -> Op {
    let record = |n: u64| ReadRecord {
        offset: Offset(n as i64),
        leader_epoch: LeaderEpoch(1),
        value: ValueId::new(ClientId(PRODUCER), n),
        key: None,
        timestamp: 5,
    };
    Op::Poll { source: source(), isolation: IsolationLevel::ReadCommitted, records: offsets.map(record).collect() }
}

/// A producer sends in batches, a reader follows, and in the end everything is read once more.
fn history() -> Vec<Entry> {
    let facts = ProducerFacts { acks: Acks::All, idempotent: true, max_in_flight: 5, resolves_within: 1_000_000 };
    let mut ops = vec![(PRODUCER, Op::Producer { facts })];
    for round in 0..ROUNDS {
        let batch = round * BATCH..(round + 1) * BATCH;
        let value = |n| ValueId::new(ClientId(PRODUCER), n);
        let send = |n| Op::Send {
            value: value(n),
            topic: "t".into(),
            partition: Some(0),
            key: None,
            tombstone: false,
            late_by: 0,
            from: None,
        };
        let sent = |n| Op::Sent {
            value: value(n),
            outcome: Outcome::Ok,
            partition: Some(0),
            offset: Some(Offset(n as i64)),
            attempts: 1,
            producer_id: Some(ProducerId(1)),
            error: None,
        };
        ops.extend(batch.clone().map(|n| (PRODUCER, send(n))));
        ops.extend(batch.clone().map(|n| (PRODUCER, sent(n))));
        ops.push((READER, reads(batch)));
    }
    let begins = Op::Position { source: source(), offset: Offset(0), reason: PositionReason::Assigned };
    ops.push((FINAL_READER, begins));
    ops.extend((0..ROUNDS / 5).map(|n| (FINAL_READER, reads(n * BATCH * 5..(n + 1) * BATCH * 5))));
    let to = Offset((ROUNDS * BATCH) as i64);
    ops.push((FINAL_READER, Op::FinalRead { source: source(), from: Offset(0), to }));
    let entry = |(n, (client, op)): (usize, (u32, Op))| Entry {
        at: 10 * (n as u64 + 1),
        client: ClientId(client),
        incarnation: Incarnation(1),
        op,
    };
    ops.into_iter().enumerate().map(entry).collect()
}

fn judged(c: &mut Criterion) {
    let history = history();
    let end = history.last().map_or(0, |e| e.at);
    let declared = Declared::default();
    let mut group = c.benchmark_group("oracles");
    group.throughput(Throughput::Elements(ROUNDS * BATCH));
    group.bench_function("a send with its two reads", |b| {
        let fresh = || Judge::new(JudgeConfig { resolve_slack: 0, max_findings: 9 });
        let judge = |mut judge: Judge| {
            history.iter().for_each(|e| judge.entry(e));
            assert_eq!(judge.finish(end, &declared).findings, []);
        };
        b.iter_batched(fresh, judge, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .without_plots();
    targets = judged
}
criterion_main!(benches);
