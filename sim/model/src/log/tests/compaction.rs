//! Laws of compaction: what stays, where it stays, and that no crash matters.

use super::*;
use crate::config::Ratio;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

/// A key and its value at an offset; none: a tombstone.
type Row = (i64, String, Option<String>);

fn compacted() -> LogConfig {
    let compaction = CompactionConfig {
        min_cleanable_ratio: Ratio(0),
        min_lag: Duration::ZERO,
        delete_retention: Duration::from_millis(1_000),
    };
    LogConfig { segment_bytes: 500, compaction: Some(compaction), ..small() }
}

fn keyed(producer: i64, sequence: i32, rows: &[(&str, Option<&str>)]) -> Bytes {
    let mut b = BatchBuilder::new(BuilderConfig {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(sequence),
        ..BuilderConfig::PLAIN
    });
    for (n, (key, value)) in rows.iter().enumerate() {
        let at = Timestamp(1_000 + i64::from(sequence) + n as i64);
        b.append(at, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    b.build()
}

impl Host {
    /// One record for each, in batches of one, each with another value; long enough for a few per segment.
    fn put(&mut self, producer: i64, from: i32, keys: &[&str]) {
        for (n, key) in (from..).zip(keys) {
            let value = format!("{n:060}");
            self.append(keyed(producer, n, &[(key, Some(&value))]), 0);
        }
        self.settle();
    }
    fn rows(&mut self) -> Vec<Row> {
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        let mut at = self.log.log_start();
        let mut rows = Vec::new();
        while at < self.log.log_end() {
            let data = self.read(at, 400, self.log.log_end(), true).expect("there is something below the log end");
            let before = at;
            for batch in record::batches(&data) {
                let (header, bytes) = batch.unwrap();
                assert!(record::verify_crc(&bytes) && header.last_offset() >= at, "{header:?} at {at}");
                for record in record::records(&bytes) {
                    let r = record.unwrap();
                    rows.push((r.offset.0, text(r.key.unwrap()), r.value.map(text)));
                }
                at = header.next_offset();
            }
            assert!(at > before, "stuck at {at}");
        }
        rows
    }
    fn clean(&mut self, high_watermark: i64) -> bool {
        let Some(what) = self.log.cleanable(Offset(0), Offset(high_watermark), self.now.wall) else { return false };
        self.log.clean(self.now, what, &mut self.out);
        self.submit();
        true
    }
    fn latest(&mut self) -> BTreeMap<String, Option<String>> {
        self.rows().into_iter().map(|(_, key, value)| (key, value)).collect()
    }
}

const KEYS: [&str; 12] = ["a", "b", "a", "c", "a", "b", "d", "a", "b", "c", "a", "e"];

#[test]
fn of_each_key_the_latest_record_stays_where_it_was() {
    let mut host = Host::created(compacted());
    host.put(1, 0, &KEYS);
    let (before, latest, bases) = (host.rows(), host.latest(), host.log.segments.len());
    assert!(bases >= 4, "{bases}");
    let active = host.log.segments.last().unwrap().base.0;
    assert!(host.clean(12));
    host.settle();
    assert_eq!(host.events.last(), Some(&LogEvent::Cleaned { up_to: Offset(active) }));
    let after = host.rows();
    assert_eq!(host.latest(), latest);
    assert!(after.len() < before.len() && after.iter().all(|row| before.contains(row)), "{after:?}");
    let superseded = |(at, key, _): &&Row| before.iter().any(|(o, k, _)| k == key && o > at && *o < active);
    assert!(!after.iter().any(|row| superseded(&row)));
    assert!(host.clean(12));
    host.settle();
    assert!(host.log.segments.len() < bases, "segments that became small are put together");
    assert_eq!(host.rows(), after);
    // Any offset can be read from, those that are gone too.
    for from in 0..12 {
        let data = host.read(Offset(from), 10, Offset(12), true).expect("there is something");
        let (header, _) = record::batches(&data).next().unwrap().unwrap();
        assert!(header.last_offset() >= Offset(from));
    }
    let mut again = host.restart(false, Offset(0));
    assert_eq!(again.rows(), after);
    again.assert_state();
    let mut clean = again.restart(true, Offset(12));
    assert_eq!(clean.rows(), after);
    clean.assert_state();
}

impl Host {
    /// Producers and epochs are what the records give.
    fn assert_state(&mut self) {
        let live: Vec<_> = self.log.producers().collect();
        let mut producers = Producers::default();
        let mut at = Offset(0);
        while at < self.log.log_end() {
            let data = self.read(at, 1 << 20, self.log.log_end(), true).unwrap();
            for batch in record::batches(&data) {
                let (header, bytes) = batch.unwrap();
                producers.update(&header, &bytes, Defects::NONE);
                at = header.next_offset();
            }
        }
        let replayed: Vec<_> = producers.inspect().collect();
        assert_eq!(live, replayed);
    }
}

#[test]
fn nothing_above_the_high_watermark_is_touched_nor_supersedes_anything() {
    let mut host = Host::created(compacted());
    host.put(1, 0, &KEYS);
    let second = host.log.segments[1].base.0;
    assert!(!host.clean(second - 1));
    let what = host.log.cleanable(Offset(0), Offset(second + 1), host.now.wall).unwrap();
    assert_eq!(what.end, Offset(second));
    let mut host = Host::new(compacted(), Defects::NONE.with(Defect::CleanerPastHw));
    host.log.create(host.now, TOPIC, &mut host.out);
    host.settle();
    host.put(1, 0, &KEYS);
    let active = host.log.segments.last().unwrap().base;
    let what = host.log.cleanable(Offset(0), Offset(0), host.now.wall).unwrap();
    assert_eq!(what.end, active, "with the defect it is not asked for");
}

#[test]
fn young_segments_wait() {
    let mut config = compacted();
    config.compaction.as_mut().unwrap().min_lag = Duration::from_millis(500);
    let mut host = Host::created(config);
    host.put(1, 0, &KEYS);
    host.now.wall = Timestamp(1_400);
    assert_eq!(host.log.cleanable(Offset(0), Offset(12), host.now.wall), None);
    let first_end = host.log.segments[1].base;
    host.now.wall = Timestamp(1_500 + first_end.0);
    assert_eq!(host.log.cleanable(Offset(0), Offset(12), host.now.wall).unwrap().end, first_end);
    // What was compacted before does not count as dirty.
    let what = host.log.cleanable(first_end, Offset(12), Timestamp(i64::MAX)).unwrap();
    assert!(what.dirty_ppm < 900_000 && what.first_dirty == first_end, "{what:?}");
}

#[test]
fn tombstones_go_after_their_time_and_not_before() {
    let mut host = Host::created(compacted());
    host.put(1, 0, &["a", "b"]);
    host.append(keyed(1, 2, &[("a", None)]), 0);
    host.put(1, 3, &["c", "c", "c", "c", "c", "c", "c"]);
    host.now.wall = Timestamp(5_000);
    assert!(host.clean(10));
    host.settle();
    assert_eq!(host.latest()["a"], None, "the value is gone, the tombstone is not");
    assert!(!host.rows().iter().any(|r| r.1 == "a" && r.2.is_some()));
    for (wall, there) in [(5_999, true), (6_000, false)] {
        host.now.wall = Timestamp(wall);
        assert!(host.clean(10));
        host.settle();
        assert_eq!(host.latest().contains_key("a"), there, "at {wall}");
    }
    let mut host = host.restart(false, Offset(0));
    assert!(!host.latest().contains_key("a"));
    host.assert_state();
}

#[test]
fn a_follower_copies_gaps_and_is_cut_in_them() {
    let mut leader = Host::created(compacted());
    leader.put(1, 0, &KEYS);
    assert!(leader.clean(12));
    leader.settle();
    let mut follower = Host::created(compacted());
    let mut at = Offset(0);
    while at < leader.log.log_end() {
        let data = leader.read(at, 200, leader.log.log_end(), true).unwrap();
        at = follower.log.append_as_follower(follower.now, data, &mut follower.out).unwrap().unwrap().last.plus(1);
        follower.settle();
    }
    assert_eq!(follower.rows(), leader.rows());
    assert_eq!(follower.log.epochs(), leader.log.epochs());
    let mut follower = follower.restart(false, Offset(0));
    assert_eq!(follower.rows(), leader.rows());
    // Where a topic is not compacted, a gap is damage.
    let mut other = Host::created(small());
    let gap = leader.read(Offset(3), 10, Offset(12), true).unwrap();
    assert!(other.log.append_as_follower(other.now, gap, &mut other.out).is_err());
    // In a gap: the log then ends where the gap begins.
    let rows = leader.rows();
    let gap = (0..12).find(|o| rows.iter().all(|r| r.0 != *o) && rows.iter().any(|r| r.0 < *o)).unwrap();
    follower.log.truncate_to(follower.now, Offset(gap), &mut follower.out);
    follower.settle();
    let end = follower.log.log_end();
    assert!(end <= Offset(gap) && end.0 > 0, "{end} of {gap}");
    assert!(follower.rows().iter().all(|r| r.0 < gap));
    let data = leader.read(end, 1 << 20, leader.log.log_end(), true).unwrap();
    follower.log.append_as_follower(follower.now, data, &mut follower.out).unwrap();
    follower.settle();
    assert_eq!(follower.rows().last(), rows[..].iter().rfind(|r| r.0 < follower.log.log_end().0));
}

#[test]
fn damage_is_not_given_a_new_checksum() {
    let mut host = Host::created(compacted());
    host.put(1, 0, &KEYS);
    let file = host.log.segments[0].file.clone();
    host.disk.content(file.as_str()).unwrap()[70] ^= 1;
    assert!(host.clean(12));
    host.settle();
    assert!(!host.log.is_cleaning() && !host.clean(12), "not tried again");
    assert!(!host.disk.paths().iter().any(|p| p.ends_with(".cleaned")));
}

#[test]
fn a_truncation_ends_it() {
    for steps in 0..40 {
        let mut host = Host::created(compacted());
        host.put(1, 0, &KEYS);
        let latest: BTreeMap<_, _> = host.rows().into_iter().filter(|r| r.0 < 10).map(|r| (r.1, r.2)).collect();
        assert!(host.clean(10));
        for _ in 0..steps {
            let next = host.disk.first();
            host.give(next);
        }
        host.log.truncate_to(host.now, Offset(10), &mut host.out);
        host.settle();
        assert!(!host.log.is_cleaning(), "after {steps} steps");
        let left = host.disk.paths().into_iter().filter(|p| p.contains(".cleaned") || p.contains(".swap"));
        assert_eq!(left.collect::<Vec<_>>(), [""; 0], "after {steps} steps");
        assert_eq!(host.latest(), latest, "after {steps} steps");
        host.put(1, 10, &["a", "z"]);
        let mut host = host.restart(false, Offset(0));
        assert_eq!(host.log.log_end(), Offset(12));
        assert_eq!(host.latest().len(), latest.len() + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// At whatever step the power goes or the process dies: what was flushed is there, but for what may be compacted.
    #[test]
    fn no_crash_matters(seed: u64, power: bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut host = Host::created(compacted());
        let mut sequence = 0;
        for _ in 0..rng.random_range(1..4) {
            for _ in 0..rng.random_range(5..40) {
                let key = ["a", "b", "c", "d"][rng.random_range(0..4)];
                let value = format!("{sequence:0width$}", width = rng.random_range(20..80));
                let value = (rng.random_range(0..5) > 0).then_some(value.as_str());
                host.append(keyed(1, sequence, &[(key, value)]), 0);
                sequence += 1;
            }
            host.settle();
            host.now.wall = Timestamp(host.now.wall.0 + 700);
            let end = host.log.log_end().0;
            host.clean(end);
            if rng.random() {
                host.settle();
            }
        }
        let durable = host.log.recovery_point();
        let _ = host.log.is_cleaning();
        for _ in 0..rng.random_range(0..60) {
            host.step(&mut rng);
        }
        let ever = host.ever.clone();
        if power { host.disk.power_loss(&mut rng) } else { host.disk.kill(&mut rng) }
        let checkpoint = Offset(if rng.random() { durable.0 } else { rng.random_range(0..=durable.0) });
        let mut host = host.restart(false, checkpoint);
        for again in 0..2 {
            let end = host.log.log_end();
            prop_assert!(end >= durable, "flushed up to {durable}, recovered up to {end}");
            let left = host.disk.paths().into_iter().filter(|p| p.contains(".cleaned") || p.contains(".swap"));
            prop_assert_eq!(left.count(), 0);
            let rows = host.rows();
            prop_assert!(rows.windows(2).all(|w| w[0].0 < w[1].0));
            let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
            let mut all = Vec::new();
            for batch in &ever {
                all.extend(record::records(batch).map(|r| r.unwrap()).map(|r| (r.offset.0, text(r.key.unwrap()), r.value.map(text))));
            }
            all.retain(|r| r.0 < end.0);
            prop_assert!(rows.iter().all(|r| all.contains(r)));
            let latest: BTreeMap<_, _> = all.iter().map(|r| (r.1.clone(), r.2.clone())).collect();
            let found: BTreeMap<_, _> = rows.iter().map(|r| (r.1.clone(), r.2.clone())).collect();
            for (key, value) in &latest {
                prop_assert_eq!(found.get(key).cloned().flatten(), value.clone(), "{}", key);
            }
            host.assert_state();
            if again == 0 {
                // And it goes on.
                let end = host.log.log_end().0;
                host.log.flush(host.now, &mut host.out);
                host.settle();
                host.clean(end);
                host.settle();
                host.events.clear();
                let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
                if power { host.disk.power_loss(&mut rng) }
                let point = host.log.recovery_point();
                host = host.restart(false, point);
            }
        }
    }
}
