//! A partition's log on disk. All I/O is asked of the [`Outbox`] and completes later.
#![allow(dead_code, unused_variables)]

pub mod checkpoint;
mod config;

pub use config::LogConfig;

use crate::defects::Defects;
use crate::disk::{DiskError, DiskResult, DiskToken, FileEntry, Path, ReadRange};
use crate::ids::*;
use crate::inspect::ProducerInspection;
use crate::node::Outbox;
use crate::record::BatchError;
use crate::units::{Instant, Now, Timestamp};
use bytes::Bytes;

/// How a log is found on disk.
#[derive(Clone, Debug)]
pub struct LoadArgs {
    /// Whether the last shutdown was clean: nothing is checked then.
    pub clean: bool,
    /// Everything below it was flushed (from `recovery-point-offset-checkpoint`).
    pub recovery_point: Offset,
    /// First offset (from `log-start-offset-checkpoint`).
    pub log_start: Offset,
    /// What the directory holds; files of other directories are passed over.
    pub files: Vec<FileEntry>,
}

/// What became of something asked of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogEvent {
    /// The log may be used.
    Loaded {
        /// Whether segments were scanned because the last shutdown was not clean.
        recovered: bool,
        /// Bytes that recovery cut off: torn, corrupt or beyond such.
        truncated_bytes: u64,
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
    /// A truncation is through: the log takes appends again.
    Truncated,
    /// Old segments are gone; `log_start()` moved.
    SegmentsDeleted {
        /// The new log start.
        log_start: Offset,
    },
    /// With `append-after-io-error` only: these offsets were forgotten, and will be given again.
    AppendForgotten {
        /// First offset.
        base: Offset,
        /// Last offset.
        last: Offset,
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

/// An offset is outside the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the log holds {log_start} to {log_end}")]
pub struct OutOfRange {
    /// First offset.
    pub log_start: Offset,
    /// One past the last.
    pub log_end: Offset,
}

/// What is to be read for a Fetch, and how to cut whole batches out of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadPlan {
    /// For [`crate::disk::DiskOp::Read`].
    pub range: ReadRange,
    from: Offset,
    up_to: Offset,
    max_bytes: u64,
    min_one: bool,
}

impl ReadPlan {
    /// The whole batches wanted: from the one that holds the first offset, below the bound.
    pub fn trim(&self, data: Bytes) -> Bytes {
        data
    }
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

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    owner: u32,
    dir: Path,
    config: LogConfig,
    defects: Defects,
}

impl Log {
    /// A log that must be created or loaded first. `owner` routes its completions.
    pub fn new(owner: u32, dir: Path, config: LogConfig, defects: Defects) -> Log {
        Log { owner, dir, config, defects }
    }
    /// Creates the directory with `partition.metadata` and an empty segment; usable at once.
    pub fn create(&mut self, now: Now, topic_id: TopicId, out: &mut Outbox) {}
    /// Loads what is there; [`LogEvent::Loaded`] follows.
    pub fn load(&mut self, now: Now, args: LoadArgs, out: &mut Outbox) {}
    /// Takes a completion whose token bears this log's owner.
    pub fn on_disk(
        &mut self,
        now: Now,
        token: DiskToken,
        result: DiskResult,
        out: &mut Outbox,
        events: &mut Vec<LogEvent>,
    ) {
    }
    /// Does what has come due (deleted segments' files, flushes by time).
    pub fn poll(&mut self, now: Now, out: &mut Outbox) {}
    /// When [`Log::poll`] is next needed.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
    /// Appends a leader's records: assigns offsets (one copy), and asks the disk. Validate them first.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_as_leader(
        &mut self,
        now: Now,
        records: Bytes,
        epoch: LeaderEpoch,
        out: &mut Outbox,
    ) -> Result<AppendInfo, AppendError> {
        Err(AppendError::NotReady)
    }
    /// Appends what a follower fetched, unchanged. `None`: no whole batch in it.
    ///
    /// # Errors
    /// See [`AppendError`]; batches before a bad one are not appended either.
    pub fn append_as_follower(
        &mut self,
        now: Now,
        records: Bytes,
        out: &mut Outbox,
    ) -> Result<Option<AppendInfo>, AppendError> {
        Err(AppendError::NotReady)
    }
    /// Plans a read within one segment. `None`: nothing there (yet).
    ///
    /// # Errors
    /// `from` is below the log start or beyond the log end.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: u64,
        up_to: Offset,
        min_one: bool,
    ) -> Result<Option<ReadPlan>, OutOfRange> {
        Ok(None)
    }
    /// About how many bytes lie between two offsets.
    pub fn available_bytes(&self, from: Offset, up_to: Offset) -> u64 {
        0
    }
    /// Cuts the log. True: [`LogEvent::Truncated`] follows, and until then nothing can be appended. False: there was
    /// nothing to cut.
    pub fn truncate_to(&mut self, now: Now, offset: Offset, out: &mut Outbox) -> bool {
        false
    }
    /// Empties the log, which then starts at `offset`. [`LogEvent::Truncated`] follows.
    pub fn truncate_fully_and_start_at(&mut self, now: Now, offset: Offset, out: &mut Outbox) {}
    /// Makes everything below the present log end durable; [`LogEvent::Flushed`] follows (at once in a later
    /// completion, or never if nothing is unflushed: then this returns false).
    pub fn flush(&mut self, now: Now, out: &mut Outbox) -> bool {
        false
    }
    /// As `flush`, but everything: indexes, producer snapshot, epochs; for a clean shutdown.
    pub fn close(&mut self, now: Now, out: &mut Outbox) -> bool {
        false
    }
    /// Everything below it is durable.
    pub fn recovery_point(&self) -> Offset {
        Offset(0)
    }
    /// First offset.
    pub fn log_start(&self) -> Offset {
        Offset(0)
    }
    /// One past the last offset that the disk completed, without a gap.
    pub fn log_end(&self) -> Offset {
        Offset(0)
    }
    /// The next offset to be assigned: `log_end()` and what is in flight.
    pub fn next_offset(&self) -> Offset {
        Offset(0)
    }
    /// Moves the log start up (DeleteRecords, or as the leader's). Whole segments below go with
    /// [`Log::delete_old_segments`].
    pub fn set_log_start(&mut self, offset: Offset, out: &mut Outbox) {}
    /// Applies retention by size and time, and drops segments below the log start; never at or above the high
    /// watermark. True: [`LogEvent::SegmentsDeleted`] follows.
    pub fn delete_old_segments(&mut self, now: Now, high_watermark: Offset, out: &mut Outbox) -> bool {
        false
    }
    /// Bytes in all segments.
    pub fn size(&self) -> u64 {
        0
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
        false
    }
    /// Changes settings.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }
    /// The latest leader epoch with records in the log, or assigned by [`Log::assign_epoch_start`].
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        None
    }
    /// Where an epoch ends (KIP-101, KIP-279): the largest epoch not above `epoch`, and the start of the next one
    /// or the log end; (-1, -1) if unknown.
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        (LeaderEpoch::NONE, Offset::NONE)
    }
    /// In which epoch an offset was (or would be) appended.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        None
    }
    /// A leader's epoch begins here.
    pub fn assign_epoch_start(&mut self, epoch: LeaderEpoch, offset: Offset, out: &mut Outbox) {}
    /// All epochs, ascending, each with its first offset.
    pub fn epochs(&self) -> &[(LeaderEpoch, Offset)] {
        &[]
    }
    /// Whether a batch of an idempotent producer may be appended.
    pub fn check_sequence(
        &self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base: Sequence,
        last: Sequence,
    ) -> SequenceCheck {
        SequenceCheck::Ok
    }
    /// Idempotent producers' state, by id.
    pub fn producers(&self) -> impl Iterator<Item = (ProducerId, ProducerInspection)> + '_ {
        std::iter::empty()
    }
    /// Drops producers idle for too long; returns them.
    pub fn remove_expired_producers(&mut self, now: Now) -> Vec<ProducerId> {
        Vec::new()
    }
    /// Where to look for the first record at or after a time: the reads in which to look with
    /// [`first_at_or_after`]. `None`: no segment has one.
    pub fn plan_timestamp(&self, at: Timestamp, up_to: Offset) -> Option<ReadPlan> {
        None
    }
    /// The largest timestamp in the log and the last offset of its batch.
    pub fn max_timestamp(&self) -> Option<(Timestamp, Offset)> {
        None
    }
}

/// The first record in whole batches at or after a time.
pub fn first_at_or_after(data: &Bytes, at: Timestamp) -> Option<(Timestamp, Offset)> {
    None
}
