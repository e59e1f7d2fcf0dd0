//! What compaction may leave of a log, and what the other invariants make of it.

use super::*;
use crate::des::EPOCH_MS;
use klamm_model::record::{BatchBuilder, BatchHeader, BuilderConfig, retain};
use klamm_model::units::Timestamp;

type Pair = (&'static str, Option<&'static str>);

/// A batch of one record for each pair, appended at `base`.
fn keyed(base: i64, pairs: &[Pair]) -> Vec<u8> {
    let mut b = BatchBuilder::new(BuilderConfig {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(0),
        ..BuilderConfig::PLAIN
    });
    for (key, value) in pairs {
        b.append(Timestamp(EPOCH_MS), Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    b.build().to_vec()
}

/// Of a batch only the records at these offsets.
fn only_at(batch: &[u8], offsets: &[i64], horizon: i64) -> Vec<u8> {
    let left = retain(batch, Timestamp(horizon), |r| offsets.contains(&r.offset.0)).unwrap();
    left.changed.map_or(batch.to_vec(), |b| b.to_vec())
}

fn file(base: i64, suffix: &str) -> Path {
    Path::new(format!("t-0/{base:020}.log{suffix}"))
}

impl World {
    fn compacted() -> World {
        let compaction = Some(CompactionSetup { delete_retention_ms: 0, min_lag_ms: 0 });
        World::of(TopicSetup { min_insync_replicas: 2, retention_bytes: -1, retention_ms: -1, compaction }).begun()
    }
    fn append_to(&mut self, node: u16, segment: i64, data: &[u8]) {
        self.disk(node, DiskOp::Append { file: file(segment, ""), data: Bytes::copy_from_slice(data) });
    }
    /// Appended on every replica; the last batch to a segment of its own, which is the active one. Committed up to there.
    fn filled(batches: &[Vec<u8>], committed: i64) -> World {
        let mut w = World::compacted();
        let (active, closed) = batches.split_last().unwrap();
        let base = BatchHeader::parse(active).unwrap().base_offset.0;
        for node in 1..=3 {
            for (segment, data) in closed.iter().map(|b| (0, b)).chain([(base, active)]) {
                if node == 1 {
                    w.produce(1, -1, data);
                }
                w.append_to(node, segment, data);
            }
        }
        for follower in [2, 3] {
            w.fetch(follower, 1, 0, committed);
        }
        w.watermark(1, 0, true, committed, base + 1);
        w
    }
    /// A copy of the segments from 0 on, as far as it counts.
    fn copied(&mut self, node: u16, batches: &[Vec<u8>]) {
        self.disk(node, DiskOp::Write { file: file(0, ".cleaned"), data: Bytes::new() });
        for data in batches {
            self.disk(node, DiskOp::Append { file: file(0, ".cleaned"), data: Bytes::copy_from_slice(data) });
        }
        self.disk(node, DiskOp::Fsync { file: file(0, ".cleaned") });
        self.disk(node, DiskOp::Rename { from: file(0, ".cleaned"), to: file(0, ".swap") });
    }
    fn swapped(&mut self, node: u16) {
        self.disk(node, DiskOp::Rename { from: file(0, ""), to: file(0, ".deleted") });
        self.disk(node, DiskOp::Rename { from: file(0, ".swap"), to: file(0, "") });
    }
}

fn rows() -> Vec<Vec<u8>> {
    vec![
        keyed(0, &[("a", Some("1")), ("b", Some("1"))]),
        keyed(2, &[("a", Some("2"))]),
        keyed(3, &[("b", Some("2"))]),
        keyed(4, &[("c", Some("1"))]),
    ]
}

#[test]
fn what_is_superseded_may_go() {
    let all = rows();
    let mut w = World::filled(&all, 5);
    w.copied(1, &all[1..3]);
    w.swapped(1);
    w.silent();
    let told: Vec<i64> = w.judge.compactions()[0].offsets.iter().map(|o| o.0).collect();
    assert_eq!(told, [0, 1]);
    // The other replicas hold what is gone there, or copy the gap; a restart changes nothing.
    w.end_process(1, Ending::Killed);
    w.load(1, 0, 5);
    w.fail_over(5, 5);
    w.silent();
    let mut w = World::filled(&all, 5);
    w.copied(1, &[only_at(&all[0], &[], 0), all[1].clone(), all[2].clone()]);
    w.silent();
}

#[test]
fn a_follower_that_copies_a_gap_holds_what_was_there() {
    let all = rows();
    let mut w = World::compacted();
    let (closed, active) = (&all[..3], &all[3]);
    for node in [1, 2] {
        for data in closed {
            if node == 1 {
                w.produce(1, -1, data);
            }
            w.append_to(node, 0, data);
        }
    }
    w.fetch(2, 1, 0, 4);
    w.change(|c| c.isr = Some(ids(&[1, 2])));
    w.install(1, 1, &[1, 2]);
    w.watermark(1, 0, true, 4, 4);
    w.produce(1, -1, active);
    w.append_to(1, 4, active);
    w.copied(1, &[only_at(&all[0], &[], 0), all[1].clone(), all[2].clone()]);
    w.swapped(1);
    // What it is given is what is left; then what it is not given at all.
    w.append_to(3, 0, &only_at(&all[0], &[], 0));
    w.append_to(3, 0, &all[1]);
    w.silent();
    let mut lossy = World::filled(&all, 5);
    lossy.disk(2, DiskOp::Truncate { file: file(0, ""), len: 0 });
    lossy.append_to(2, 0, &all[1]);
    assert!(!lossy.judge.findings().is_empty() || lossy.judge.compactions().is_empty());
}

#[test]
fn the_latest_of_a_key_may_not() {
    let all = rows();
    let mut w = World::filled(&all, 5);
    w.copied(1, &all[1..2]);
    assert_eq!(w.only(Check::CompactionLegal).offset, Some(Offset(3)));
    // Nor what only something uncommitted supersedes, nor beyond what is committed at all.
    let mut w = World::filled(&all, 3);
    w.copied(1, &all[1..3]);
    w.fires(Check::CompactionLegal);
    assert!(w.judge.findings().iter().any(|f| f.offset == Some(Offset(1))), "{:?}", w.judge.findings());
    assert!(w.judge.findings().iter().all(|f| f.offset != Some(Offset(0))), "{:?}", w.judge.findings());
}

#[test]
fn what_stays_stays_as_it_was() {
    let all = rows();
    for changed in [keyed(2, &[("a", Some("other"))]), keyed(2, &[("x", Some("2"))]), keyed(1, &[("a", Some("2"))])] {
        let mut w = World::filled(&all, 5);
        w.copied(1, &[changed, all[2].clone()]);
        w.fires(Check::CompactionLegal);
    }
    let mut w = World::filled(&all, 5);
    w.copied(1, &[all[2].clone(), all[1].clone()]);
    w.fires(Check::CompactionLegal);
}

#[test]
fn tombstones_wait_for_their_horizon() {
    let all = vec![
        keyed(0, &[("a", Some("1"))]),
        keyed(1, &[("a", None)]),
        keyed(2, &[("b", Some("1"))]),
        keyed(3, &[("c", Some("1"))]),
    ];
    // At once: it has no horizon.
    let mut w = World::filled(&all, 4);
    w.copied(1, &all[2..3]);
    w.only(Check::CompactionLegal);
    // First marked, then removed; too early if the horizon lies ahead.
    for (horizon, legal) in [(EPOCH_MS, true), (EPOCH_MS + 1_000_000, false)] {
        let mut w = World::filled(&all, 4);
        w.copied(1, &[only_at(&all[1], &[1], horizon), all[2].clone()]);
        w.swapped(1);
        w.copied(1, &all[2..3]);
        if legal {
            w.silent();
            let told: Vec<i64> = w.judge.compactions().iter().flat_map(|c| &c.offsets).map(|o| o.0).collect();
            assert_eq!(told, [0, 1]);
        } else {
            w.fires(Check::CompactionLegal);
        }
    }
    // A value that it had deleted must not come back.
    let mut w = World::filled(&all, 4);
    w.copied(1, &[all[0].clone(), only_at(&all[1], &[1], EPOCH_MS), all[2].clone()]);
    w.swapped(1);
    w.silent();
    w.copied(1, &[all[0].clone(), all[2].clone()]);
    w.only(Check::CompactionLegal);
}

#[test]
fn the_active_segment_may_not_be_touched() {
    let all = rows();
    let mut w = World::filled(&all, 5);
    w.copied(1, &all[1..4]);
    w.only(Check::CompactionLegal);
}

#[test]
fn a_copy_that_is_given_up_changes_nothing() {
    let all = rows();
    let mut w = World::filled(&all, 5);
    w.copied(1, &all[1..3]);
    w.disk(1, DiskOp::Delete { path: file(0, ".swap") });
    // The log is as long in bytes as it was.
    let bytes: usize = all[..2].iter().map(Vec::len).sum();
    w.disk(1, DiskOp::Delete { path: file(4, "") });
    w.disk(1, DiskOp::Truncate { file: file(0, ""), len: bytes as u64 });
    w.load(1, 0, 3);
    w.silent();
}
