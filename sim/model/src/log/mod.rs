//! A partition's log on disk: segments of batches, what is remembered about them, and how it survives crashes.
//!
//! The log asks the disk for everything through the [`Outbox`] and learns of it later: offsets are assigned when
//! records are handed over, but [`Log::log_end`] moves only over what the disk has completed without a gap, and
//! [`Log::recovery_point`] only over what an fsync has covered. It never waits, never reads what it has just written
//! to know its state, and never decides who may append: sequences are checked by the leader
//! ([`Log::check_sequence`]), epochs by the broker.
//!
//! The rooms, in reading order: `segment` (files and indexes), `epochs`, `producers` (what is remembered), `append`,
//! `read`, `flush`, `truncate`, `retention`, `compaction`, `scan`, `load` and `copies` (recovery), `recovery` (what it came
//! upon), [`checkpoint`] and [`meta`] (small text files).
//! Follows Kafka's `UnifiedLog`, `LocalLog` and `LogLoader`; two things are stricter here. Recovery also cuts where a
//! segment does not begin where the one before it ends, which Kafka would keep as a hole. And a truncation into the
//! middle of a batch leaves the log end at that batch's beginning; one into a gap that compaction left, at the gap's.

mod append;
pub mod checkpoint;
mod compaction;
mod config;
mod copies;
mod epochs;
mod flush;
mod load;
pub mod meta;
mod producers;
mod read;
mod recovery;
mod retention;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod truncate;

pub use compaction::Cleanable;
pub use config::{CompactionConfig, LogConfig};
pub use load::LoadArgs;
pub use read::{Corrupt, Found, OutOfRange, ReadPlan, first_at_or_after};
pub use recovery::{Finding, Recovered, Recovery};

use crate::defects::{Defect, Defects};
use crate::disk::{DiskError, DiskOp, DiskReply, DiskResult, DiskToken, Path};
use crate::ids::*;
use crate::inspect::ProducerInspection;
use crate::node::Outbox;
use crate::record::BatchError;
use crate::units::{Instant, Now, Timestamp};
use checkpoint::{PARTITION_METADATA, Progress, Replace};
use epochs::Epochs;
use producers::Producers;
use segment::Segment;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What became of something asked of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogEvent {
    /// The log may be used.
    Loaded {
        /// What loading it came upon.
        recovery: Recovery,
        /// The topic's id in `partition.metadata`, if that was there and readable.
        topic_id: Option<TopicId>,
    },
    /// `log_end()` moved.
    Appended,
    /// Everything below is durable; `recovery_point()` moved.
    Flushed {
        /// Exclusive.
        up_to: Offset,
    },
    /// A truncation's changes are made, and `recovery_point()` may have fallen. Whoever keeps recovery points writes
    /// them down, then calls [`Log::cut_recorded`].
    Cut,
    /// A truncation is through: the log takes appends again.
    Truncated,
    /// Files of old segments are gone. [`Log::log_start`] moved when that was asked for, not now.
    SegmentsDeleted,
    /// The log is compacted up to here (exclusive), but for what came since.
    Cleaned {
        /// The first offset that is not.
        up_to: Offset,
    },
    /// With `append-after-io-error` only: these offsets were forgotten, and will be given again.
    AppendForgotten {
        /// First offset.
        base: Offset,
        /// Last offset.
        last: Offset,
    },
    /// What was known to be flushed is not there. Nothing was cut; the log refuses all use.
    Damaged {
        /// The base offset of the segment in which batches stop.
        segment: Offset,
        /// The place in it, bytes.
        pos: u64,
        /// The offset that should follow there.
        end: Offset,
    },
    /// The disk failed; the log refuses all further use, and its broker should halt.
    Failed(DiskError),
}

/// Where appended records came to lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendInfo {
    /// The first offset.
    pub base: Offset,
    /// The last offset.
    pub last: Offset,
    /// The largest timestamp.
    pub max_timestamp: Timestamp,
    /// Bytes.
    pub size: u64,
}

/// Why an append was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// The log is being loaded or truncated, or has not been created.
    #[error("the log is not ready")]
    NotReady,
    /// The disk failed earlier.
    #[error("the log's disk failed: {0}")]
    Failed(DiskError),
    /// The records cannot be read.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A follower's records do not follow its log's end.
    #[error("records begin at {first}, the log ends at {next}")]
    NotContiguous {
        /// The first offset given.
        first: Offset,
        /// The log's next offset.
        next: Offset,
    },
}

/// What a leader finds out about an idempotent producer's batch before it appends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SequenceCheck {
    /// It follows what is known.
    Ok,
    /// One of the producer's last five batches again. It may not be complete on disk or replicated yet.
    Duplicate {
        /// Its first offset.
        base: Offset,
        /// Its last offset.
        last: Offset,
        /// Its largest timestamp.
        timestamp: Timestamp,
    },
    /// A gap, or an old batch out of the window.
    OutOfOrder,
    /// An older epoch than the one known.
    InvalidEpoch,
}

/// What the log is doing.
#[derive(Debug)]
enum Phase {
    /// Neither created nor loaded.
    New,
    Loading(Box<load::Loading>),
    Ready,
    Truncating(Box<truncate::Truncating>),
    Failed(DiskError),
}

/// Why an operation was asked for. Appends are in `pending`, replaced files know their own.
#[derive(Clone, Debug)]
enum Purpose {
    /// It only has to succeed.
    Plain,
    /// A new partition's first file; then the directory's own name is made durable.
    Created,
    /// Part of the flush job: an fsync of this file or directory.
    Sync(Path),
    /// Part of the flush job: content that is then fsynced.
    WriteThenSync(Path),
    /// Part of loading or truncating: a read; void if the generation has passed.
    Scan(u32),
    /// Part of loading or truncating: a change.
    Step,
    /// The last operation of a deletion of segments.
    SegmentsDeleted,
    /// Part of a compaction; void if the generation has passed.
    Clean(u32),
}

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    owner: u32,
    dir: Path,
    config: LogConfig,
    defects: Defects,
    phase: Phase,
    /// Ascending; not empty once created or loaded. The last one is active.
    segments: Vec<Segment>,
    tail: read::Tail,
    /// Appends in flight, in order.
    pending: VecDeque<append::Pending>,
    log_start: Offset,
    log_end: Offset,
    /// As `log_end`, but not held back by `flush.messages`.
    completed: Offset,
    next_offset: Offset,
    recovery_point: Offset,
    epochs: Epochs,
    metadata: Replace,
    producers: Producers,
    /// The producers' state tells of what was cut off.
    producers_stale: bool,
    /// Producer snapshots, written or due.
    snapshots: BTreeSet<Offset>,
    flush: flush::Flush,
    /// Files of deleted segments, and when they go.
    doomed: VecDeque<(Instant, Path)>,
    ops: BTreeMap<u64, Purpose>,
    /// Raised when scans under way become void.
    generation: u32,
    /// Raised when places in files become void.
    layout: u32,
    cleaning: Option<Box<compaction::Cleaning>>,
    /// Raised when operations of a compaction become void.
    clean_generation: u32,
    /// It was found damaged while it was compacted.
    uncleanable: bool,
}

impl Log {
    /// A log that must be created or loaded first. `owner` routes its completions.
    pub fn new(owner: u32, dir: Path, config: LogConfig, defects: Defects) -> Log {
        Log {
            owner,
            config,
            defects,
            phase: Phase::New,
            segments: Vec::new(),
            tail: read::Tail::default(),
            pending: VecDeque::new(),
            log_start: Offset(0),
            log_end: Offset(0),
            completed: Offset(0),
            next_offset: Offset(0),
            recovery_point: Offset(0),
            epochs: Epochs::new(owner, &dir),
            metadata: Replace::new(owner, dir.join(PARTITION_METADATA)),
            producers: Producers::default(),
            producers_stale: false,
            snapshots: BTreeSet::new(),
            flush: flush::Flush::default(),
            doomed: VecDeque::new(),
            ops: BTreeMap::new(),
            generation: 0,
            layout: 0,
            cleaning: None,
            clean_generation: 0,
            uncleanable: false,
            dir,
        }
    }

    /// Creates the directory with `partition.metadata` and an empty segment; usable at once.
    pub fn create(&mut self, now: Now, topic_id: TopicId, out: &mut Outbox) {
        let segment = Segment::new(&self.dir, Offset(0), now.wall);
        self.ask(segment::create_file(&segment), Purpose::Created, out);
        self.segments = vec![segment];
        self.metadata.replace(checkpoint::format_partition_metadata(topic_id), out);
        self.phase = Phase::Ready;
    }

    /// Writes down, anew, to which topic it belongs.
    pub fn name(&mut self, topic_id: TopicId, out: &mut Outbox) {
        self.metadata.replace(checkpoint::format_partition_metadata(topic_id), out);
    }

    /// Removes the directory and forgets everything.
    pub fn delete(&mut self, out: &mut Outbox) {
        out.disk(self.owner, DiskOp::Delete { path: self.dir.clone() });
        *self = Log::new(self.owner, self.dir.clone(), self.config.clone(), self.defects);
    }

    /// Takes a completion whose token bears this log's owner.
    pub fn on_disk(
        &mut self,
        now: Now,
        token: DiskToken,
        result: DiskResult,
        out: &mut Outbox,
        events: &mut Vec<LogEvent>,
    ) {
        if matches!(self.phase, Phase::Failed(_) | Phase::New) {
            return;
        }
        if let Ok(at) = self.pending.binary_search_by_key(&token.seq, |p| p.seq) {
            self.append_completed(at, result, out, events);
            return;
        }
        let mut progress = self.epochs.file.on_disk(token, &result, out);
        if progress == Progress::NotMine {
            progress = self.metadata.on_disk(token, &result, out);
        }
        match progress {
            Progress::NotMine => {}
            Progress::Busy => return,
            Progress::Done => return self.finish_flush(out, events),
            Progress::Failed(error) => return self.fail(error, events),
        }
        let purpose = self.ops.remove(&token.seq);
        let reply = match result {
            Ok(reply) => reply,
            // A truncation or retention overtook the flush job.
            Err(DiskError::NotFound) if self.is_gone(&purpose) => DiskReply::Done,
            Err(error) => {
                let flushing = matches!(purpose, Some(Purpose::Sync(_) | Purpose::WriteThenSync(_)));
                if !flushing || !self.goes_on() {
                    self.fail(error, events);
                } else {
                    self.abandon_flush();
                }
                return;
            }
        };
        match purpose {
            // An append that a truncation made void.
            None | Some(Purpose::Plain) => {}
            Some(Purpose::Created) => {
                self.ask(DiskOp::FsyncDir { dir: self.dir.parent() }, Purpose::Plain, out);
            }
            Some(Purpose::Sync(_)) => self.synced(out, events),
            Some(Purpose::WriteThenSync(file)) => self.written(file, out, events),
            Some(Purpose::Scan(generation)) if generation == self.generation => {
                self.scanned(now, reply, out, events);
            }
            Some(Purpose::Scan(_)) => {}
            Some(Purpose::Clean(generation)) if generation == self.clean_generation => {
                self.cleaning_stepped(now, reply, out, events);
            }
            Some(Purpose::Clean(_)) => {}
            Some(Purpose::Step) => self.stepped(now, out, events),
            Some(Purpose::SegmentsDeleted) => events.push(LogEvent::SegmentsDeleted),
        }
    }

    /// Does what has come due: files of deleted segments, flushes by time.
    pub fn poll(&mut self, now: Now, out: &mut Outbox) {
        while self.doomed.front().is_some_and(|(at, _)| *at <= now.mono) {
            let (_, path) = self.doomed.pop_front().expect("just seen");
            self.ask(DiskOp::Delete { path }, Purpose::Plain, out);
        }
        if self.flush_due().is_some_and(|at| at <= now.mono) {
            self.flush(now, out);
        }
    }

    /// When [`Log::poll`] is next needed.
    pub fn deadline(&self) -> Option<Instant> {
        let doomed = self.doomed.front().map(|(at, _)| *at);
        doomed.into_iter().chain(self.flush_due()).min()
    }

    fn ask(&mut self, op: DiskOp, purpose: Purpose, out: &mut Outbox) {
        let token = out.disk(self.owner, op);
        self.ops.insert(token.seq, purpose);
    }

    /// Whether a failed append or fsync is shrugged off. What is on disk is no longer known then, so it must not be.
    fn goes_on(&self) -> bool {
        self.defects.on(Defect::AppendAfterIoError)
    }

    /// Whether what was to be fsynced is no part of the log any more. An index or snapshot may also have been deleted
    /// and be due again under its old name.
    fn is_gone(&self, purpose: &Option<Purpose>) -> bool {
        if let Some(Purpose::Clean(generation)) = purpose {
            return *generation != self.clean_generation;
        }
        let Some(Purpose::Sync(path)) = purpose else { return false };
        *path != self.dir && !self.segments.iter().any(|s| s.file == *path)
    }

    fn fail(&mut self, error: DiskError, events: &mut Vec<LogEvent>) {
        self.phase = Phase::Failed(error);
        self.pending.clear();
        self.ops.clear();
        self.cleaning = None;
        events.push(LogEvent::Failed(error));
    }

    /// Everything below it is durable.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }
    /// First offset.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }
    /// One past the last offset that the disk completed, without a gap.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }
    /// The next offset to be assigned: `log_end()` and what is in flight.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }
    /// Bytes in all segments.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|s| s.size).sum()
    }
    /// The log's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// The number that routes its completions.
    pub fn owner(&self) -> u32 {
        self.owner
    }
    /// Whether it takes appends.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }
    /// Why it refuses all use.
    pub fn failed(&self) -> Option<DiskError> {
        if let Phase::Failed(error) = self.phase { Some(error) } else { None }
    }
    /// The settings.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }
    /// Changes settings.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }
    /// The latest leader epoch with records in the log, or assigned by [`Log::assign_epoch_start`].
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }
    /// Where an epoch ends (KIP-101, KIP-279): the largest epoch not above `epoch`, and the start of the next one
    /// or the log end; (-1, -1) if unknown.
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        self.epochs.end_offset_for(epoch, self.log_end)
    }
    /// In which epoch an offset was (or would be) appended.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.for_offset(offset)
    }
    /// A leader's epoch begins here.
    pub fn assign_epoch_start(&mut self, epoch: LeaderEpoch, offset: Offset, out: &mut Outbox) {
        if epoch.0 >= 0 {
            self.epochs.assign(epoch, offset, out);
        }
    }
    /// All epochs, ascending, each with its first offset.
    pub fn epochs(&self) -> &[(LeaderEpoch, Offset)] {
        self.epochs.entries()
    }
    /// Whether a batch of an idempotent producer may be appended, given what was appended (or is in flight) before.
    pub fn check_sequence(
        &self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base: Sequence,
        last: Sequence,
    ) -> SequenceCheck {
        self.producers.check(id, epoch, base, last, self.defects)
    }
    /// Idempotent producers' state, by id.
    pub fn producers(&self) -> impl Iterator<Item = (ProducerId, ProducerInspection)> + '_ {
        self.producers.inspect()
    }
    /// Drops producers idle for too long; returns them.
    pub fn remove_expired_producers(&mut self, now: Now) -> Vec<ProducerId> {
        self.producers.remove_expired(now.wall, self.config.producer_id_expiration)
    }
    /// The largest timestamp in the log and the last offset of its batch.
    pub fn max_timestamp(&self) -> Option<(Timestamp, Offset)> {
        self.segments.iter().filter_map(|s| s.max_timestamp).max_by_key(|&(t, o)| (t, std::cmp::Reverse(o)))
    }

    /// Where a segment ends: where the next one begins, or the next offset.
    fn segment_end(&self, at: usize) -> Offset {
        self.segments.get(at + 1).map_or(self.next_offset, |s| s.base)
    }
    /// The segment that holds `offset` (or would: the first one, for anything below).
    fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|s| s.base <= offset).saturating_sub(1)
    }
}
