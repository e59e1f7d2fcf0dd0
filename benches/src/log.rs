//! A log on the modelled disk, driven by hand: every operation is handed its completion before the next is asked.

use bytes::Bytes;
use klamm_model::defects::Defects;
use klamm_model::disk::{DiskToken, FileEntry, Path};
use klamm_model::ids::{Incarnation, LeaderEpoch, Offset, TopicId, Uuid};
use klamm_model::log::{LoadArgs, Log, LogConfig};
use klamm_model::record::{BatchBuilder, BuilderConfig};
use klamm_model::units::{Duration, Now, Timestamp};
use klamm_model::{Outbox, Output};
use klamm_world::disk::{Disk, DiskProfile};
use klamm_world::event::{NodeRef, Ordinal};

/// A log and its disk.
#[derive(Debug)]
pub struct Host {
    log: Log,
    disk: Disk,
    out: Outbox,
    outputs: Vec<Output>,
    now: Now,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 30,
        roll: Duration::MAX,
        index_interval_bytes: 4096,
        retention_bytes: -1,
        retention: Duration::MAX,
        segment_delete_delay: Duration::from_secs(60),
        producer_id_expiration: Duration::MAX,
        flush_messages: i64::MAX,
        flush_interval: None,
        compaction: None,
    }
}

fn log() -> Log {
    Log::new(1, Path::new("orders-0"), config(), Defects::NONE)
}

impl Host {
    /// An empty log.
    pub fn new() -> Host {
        let disk = Disk::new(DiskProfile::nvme(), 1);
        let mut host = Host { log: log(), disk, out: Outbox::new(), outputs: Vec::new(), now: Now::default() };
        host.log.create(host.now, TopicId(Uuid::from_u128(1)), &mut host.out);
        host.settle();
        host
    }

    fn settle(&mut self) {
        let (mut done, mut events) = (Vec::new(), Vec::new());
        loop {
            self.out.take(&mut self.outputs);
            for output in self.outputs.drain(..) {
                if let Output::Disk { token, op } = output {
                    self.disk.submit(self.now.mono, Ordinal(0), NodeRef(0), Incarnation(1), token, op);
                }
            }
            let Some(at) = self.disk.next_at() else { break };
            self.now.mono = self.now.mono.max(at);
            self.disk.advance(self.now.mono, &mut done);
            for completion in done.drain(..) {
                let token: DiskToken = completion.token;
                self.log.on_disk(self.now, token, completion.result, &mut self.out, &mut events);
            }
            events.clear();
        }
    }

    /// Appends a batch as a leader, and waits for it to be written.
    pub fn append(&mut self, batch: &Bytes) {
        self.log.append_as_leader(self.now, batch.clone(), LeaderEpoch(0), &mut self.out).expect("a sound batch");
        self.settle();
    }

    /// Where the log ends.
    pub fn end(&self) -> Offset {
        self.log.log_end()
    }

    /// The log is loaded anew after its process was killed: all of it is read, verified and indexed again.
    pub fn recover(&mut self) {
        let file = |(path, content): (Path, Bytes)| FileEntry { path, len: content.len() as u64 };
        let files: Vec<FileEntry> = self.disk.contents().map(file).collect();
        self.log = log();
        let args = LoadArgs {
            clean: false,
            recovery_point: Offset(0),
            log_start: Offset(0),
            gaps: false,
            needed: Offset(0),
            files,
        };
        self.log.load(self.now, args, &mut self.out);
        self.settle();
    }
}

impl Default for Host {
    fn default() -> Self {
        Host::new()
    }
}

/// A batch of records with values of `bytes` bytes and no keys.
pub fn batch(records: usize, bytes: usize) -> Bytes {
    let value = vec![7; bytes];
    let mut builder = BatchBuilder::with_capacity(BuilderConfig::PLAIN, records * (bytes + 12) + 61);
    for n in 0..records {
        builder.append(Timestamp(1_000 + n as i64), None, Some(&value), &[]);
    }
    builder.build()
}
