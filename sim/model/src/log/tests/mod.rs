//! The log on a disk that crashes.

mod compaction;
mod crash;
mod disk;
mod shapes;
mod units;

use super::*;
use crate::node::Output;
use crate::record::{self, BatchBuilder, BatchHeader, BuilderConfig};
use crate::units::Duration;
use bytes::Bytes;
use disk::FakeDisk;
use rand_chacha::ChaCha8Rng;

const DIR: &str = "t-0";
const TOPIC: TopicId = TopicId(Uuid::from_u128(0x1234_5678_9abc_def0_1111_2222_3333_4444));

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 700,
        roll: Duration::MAX,
        index_interval_bytes: 200,
        retention_bytes: -1,
        retention: Duration::MAX,
        segment_delete_delay: Duration::from_secs(60),
        producer_id_expiration: Duration::MAX,
        flush_messages: i64::MAX,
        flush_interval: None,
        compaction: None,
    }
}

/// A log, its disk, and what was told.
struct Host {
    log: Log,
    out: Outbox,
    disk: FakeDisk,
    events: Vec<LogEvent>,
    now: Now,
    /// What stands in the checkpoint of recovery points since the last truncation.
    checkpoint: Offset,
    /// What the log must hold when it is loaded.
    needed: Offset,
    /// Every batch ever appended, as it lies on disk.
    ever: Vec<Bytes>,
}

impl Host {
    fn new(config: LogConfig, defects: Defects) -> Host {
        let log = Log::new(7, Path::new(DIR), config, defects);
        let (disk, events, now) = (FakeDisk::default(), Vec::new(), Now::default());
        Host { log, out: Outbox::new(), disk, events, now, checkpoint: Offset(0), needed: Offset(0), ever: Vec::new() }
    }
    fn created(config: LogConfig) -> Host {
        let mut host = Host::new(config, Defects::NONE);
        host.log.create(host.now, TOPIC, &mut host.out);
        host.settle();
        host
    }
    fn submit(&mut self) {
        let mut outputs = Vec::new();
        self.out.take(&mut outputs);
        for output in outputs {
            match output {
                Output::Disk { token, op } => {
                    assert_eq!(token.owner, 7);
                    self.disk.submit(token, op);
                }
                Output::Trace(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    fn give(&mut self, completion: Option<(DiskToken, DiskResult)>) -> bool {
        let Some((token, result)) = completion else { return false };
        let before = self.events.len();
        self.log.on_disk(self.now, token, result, &mut self.out, &mut self.events);
        if self.events[before..].contains(&LogEvent::Cut) {
            self.checkpoint = self.log.recovery_point();
            self.log.cut_recorded(&mut self.out, &mut self.events);
        }
        self.submit();
        true
    }
    fn settle(&mut self) {
        self.submit();
        loop {
            let next = self.disk.first();
            if !self.give(next) {
                break;
            }
        }
    }
    fn step(&mut self, rng: &mut ChaCha8Rng) -> bool {
        self.submit();
        let next = self.disk.any(rng);
        self.give(next)
    }
    fn append(&mut self, batch: Bytes, epoch: i32) -> AppendInfo {
        let info = self.log.append_as_leader(self.now, batch.clone(), LeaderEpoch(epoch), &mut self.out).unwrap();
        self.ever.push(record::stamp(batch, info.base, LeaderEpoch(epoch)));
        self.submit();
        info
    }
    /// A new incarnation on the same disk.
    fn restart(self, clean: bool, recovery_point: Offset) -> Host {
        let Host { log, disk, now, needed, .. } = self;
        let mut host = Host::new(log.config.clone(), log.defects);
        (host.disk, host.now, host.needed) = (disk, now, needed);
        let args = LoadArgs {
            clean,
            recovery_point,
            log_start: log.log_start(),
            gaps: log.config.compaction.is_some(),
            needed: host.needed,
            files: host.disk.files(),
        };
        host.log.load(now, args, &mut host.out);
        host.settle();
        host
    }
    fn loaded(&self) -> (bool, u64, Option<TopicId>) {
        match self.events[..] {
            [LogEvent::Loaded { recovery, topic_id }] => (recovery.scanned, recovery.cut_bytes, topic_id),
            ref other => panic!("{other:?}"),
        }
    }
    /// Everything from the log start, through plans as a fetch makes them.
    fn read_all(&mut self, max_bytes: u64) -> Vec<(BatchHeader, Bytes)> {
        let (mut at, end) = (self.log.log_start(), self.log.log_end());
        let mut all = Vec::new();
        while at < end {
            let data = self.read(at, max_bytes, end, true).expect("there is something below the log end");
            assert!(!data.is_empty(), "at {at} of {end}");
            for batch in record::batches(&data) {
                let (header, bytes) = batch.unwrap();
                assert!(header.last_offset() >= at && header.base_offset <= at, "{header:?} at {at}");
                at = header.next_offset();
                all.push((header, bytes));
            }
        }
        all
    }
    fn read(&mut self, from: Offset, max_bytes: u64, up_to: Offset, min_one: bool) -> Option<Bytes> {
        let mut plan = self.log.read(from, max_bytes, up_to, min_one).unwrap()?;
        loop {
            let whole = self.disk.content(plan.range.file.as_str()).expect("the planned file is there");
            let start = (plan.range.pos as usize).min(whole.len());
            let stop = (start + plan.range.len as usize).min(whole.len());
            let data = Bytes::copy_from_slice(&whole[start..stop]);
            match plan.look(data) {
                Found::Batches(batches) => return Some(batches),
                Found::Corrupt { pos, claims } => plan = self.log.read_past(&plan, pos, claims).ok().flatten()?,
                Found::Below { pos, need } => plan = self.log.read_on(&plan, pos, need).ok().flatten()?,
            }
        }
    }
    /// What producers' state and epochs must be, by the log's records alone.
    fn assert_replay_equals_live(&mut self) {
        let mut producers = Producers::default();
        let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for (header, bytes) in self.read_all(1 << 20) {
            assert!(record::verify_crc(&bytes));
            producers.update(&header, &bytes, Defects::NONE);
            if epochs.last().is_none_or(|e| e.0 < header.leader_epoch) {
                epochs.push((header.leader_epoch, header.base_offset));
            }
        }
        let live: Vec<_> = self.log.producers().collect();
        assert_eq!(live, producers.inspect().collect::<Vec<_>>());
        assert_eq!(self.log.epochs(), epochs);
    }
}

/// A producer's batch as it comes from a client.
fn batch(producer: i64, sequence: i32, records: i32, value_len: usize) -> Bytes {
    let idempotent = producer >= 0;
    let mut b = BatchBuilder::new(BuilderConfig {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(if idempotent { 0 } else { -1 }),
        base_sequence: Sequence(if idempotent { sequence } else { -1 }),
        ..BuilderConfig::PLAIN
    });
    for n in 0..records {
        let value = vec![(sequence + n) as u8; value_len];
        b.append(Timestamp(1_000 + i64::from(sequence + n)), Some(b"k"), Some(&value), &[]);
    }
    b.build()
}
