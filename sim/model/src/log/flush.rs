//! Flushing: one job at a time makes everything below an offset durable, then the recovery point moves.
//!
//! An fsync covers what was complete when it was asked for, so a job begins only once its appends are. A closed
//! segment's indexes and the producer snapshot taken at its end are written and fsynced by the job that first covers
//! it; the epochs' file must be settled before the job counts.

use super::{Log, LogEvent, Phase, Purpose};
use crate::disk::{DiskOp, Path};
use crate::ids::Offset;
use crate::node::Outbox;
use crate::units::{Instant, Now};
use bytes::Bytes;

/// A producer snapshot not yet in its file.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) offset: Offset,
    pub(super) content: Bytes,
}

/// What is being flushed, and what is to be.
#[derive(Debug, Default)]
pub(super) struct Flush {
    /// Ends to be flushed up to, once they are complete.
    pub(super) goals: Vec<Offset>,
    pub(super) snapshots: Vec<Snapshot>,
    job: Option<Job>,
    /// The active segment's indexes and a last snapshot are to be written too.
    closing: bool,
    /// When something unflushed was first appended.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Job {
    up_to: Offset,
    /// Content being written, to be fsynced after.
    writes: u32,
    syncs: u32,
    /// The directory is to be fsynced, after the writes.
    dir: bool,
    /// Bases of the segments covered.
    covered: Vec<Offset>,
}

impl Flush {
    pub(super) fn note_append(&mut self, at: Instant) {
        self.since.get_or_insert(at);
    }

    /// Nothing at or beyond `offset` is there any more.
    pub(super) fn truncate(&mut self, offset: Offset) {
        self.goals.iter_mut().for_each(|g| *g = (*g).min(offset));
        self.snapshots.retain(|s| s.offset <= offset);
        if let Some(job) = &mut self.job {
            job.up_to = job.up_to.min(offset);
        }
    }

    /// Everything was deleted.
    pub(super) fn clear(&mut self) {
        self.goals.clear();
        self.snapshots.clear();
        self.since = None;
        if let Some(job) = &mut self.job {
            job.up_to = Offset(0);
            job.covered.clear();
        }
    }

    /// The content of the snapshot at `offset`, if it is still in memory.
    pub(super) fn snapshot(&self, offset: Offset) -> Option<&Bytes> {
        self.snapshots.iter().rfind(|s| s.offset == offset).map(|s| &s.content)
    }
}

impl Log {
    /// Makes everything complete by now durable; [`LogEvent::Flushed`] follows. False: everything is.
    pub fn flush(&mut self, _now: Now, out: &mut Outbox) -> bool {
        if !matches!(self.phase, Phase::Ready) || (self.completed <= self.recovery_point && self.flush.job.is_none()) {
            return false;
        }
        self.flush.goals.push(self.completed);
        self.start_flush(out);
        true
    }

    /// For a clean shutdown: makes everything durable, also what is in flight, the active segment's indexes and a
    /// producer snapshot at the end. [`LogEvent::Flushed`] up to `next_offset()` follows; append nothing after this.
    /// False: the log cannot be closed in order.
    pub fn close(&mut self, _now: Now, out: &mut Outbox) -> bool {
        if !matches!(self.phase, Phase::Ready) {
            return false;
        }
        for path in self.abort_cleaning(out) {
            self.ask(DiskOp::Delete { path }, Purpose::Plain, out);
        }
        self.flush.closing = true;
        if let Some(active) = self.segments.last_mut() {
            active.note_time();
        }
        if self.next_offset > self.log_start && self.snapshots.insert(self.next_offset) {
            let content = self.producers.snapshot();
            self.flush.snapshots.push(Snapshot { offset: self.next_offset, content });
        }
        self.flush.goals.push(self.next_offset);
        self.start_flush(out);
        true
    }

    pub(super) fn flush_due(&self) -> Option<Instant> {
        Some(self.flush.since? + self.config.flush_interval?)
    }

    pub(super) fn start_flush(&mut self, out: &mut Outbox) {
        if self.flush.job.is_some() || !matches!(self.phase, Phase::Ready) || self.flush.goals.is_empty() {
            return;
        }
        let Some(up_to) = self.flush.goals.iter().copied().filter(|&g| g <= self.completed).max() else { return };
        self.flush.goals.retain(|&g| g > up_to);
        let closing = self.flush.closing && up_to == self.next_offset;
        let mut job = Job { up_to, writes: 0, syncs: 0, dir: closing, covered: Vec::new() };
        let mut ops: Vec<(DiskOp, Purpose)> = Vec::new();
        let active = self.segments.len() - 1;
        for at in 0..self.segments.len() {
            let end = self.segment_end(at);
            let segment = &mut self.segments[at];
            let indexes = (at < active || closing) && segment.indexes_dirty();
            let settled = end <= self.recovery_point && !indexes && segment.named && !segment.cut;
            if segment.base >= up_to && !closing || settled {
                continue;
            }
            segment.cut = false;
            job.dir |= !segment.named;
            job.covered.push(segment.base);
            let file = segment.file.clone();
            ops.push((DiskOp::Fsync { file: file.clone() }, Purpose::Sync(file)));
            if indexes {
                let (offsets, times) = (segment.offsets.file.clone(), segment.times.file.clone());
                ops.extend(segment.offsets.write().map(|op| (op, Purpose::WriteThenSync(offsets))));
                ops.extend(segment.times.write().map(|op| (op, Purpose::WriteThenSync(times))));
            }
        }
        let (due, later) = std::mem::take(&mut self.flush.snapshots).into_iter().partition(|s| s.offset <= up_to);
        self.flush.snapshots = later;
        for Snapshot { offset, content: data } in due {
            let file = self.snapshot_file(offset);
            ops.push((DiskOp::Write { file: file.clone(), data }, Purpose::WriteThenSync(file)));
        }
        if ops.is_empty() && !job.dir {
            return;
        }
        for (op, purpose) in ops {
            let writes = matches!(purpose, Purpose::WriteThenSync(_));
            *if writes { &mut job.writes } else { &mut job.syncs } += 1;
            job.dir |= writes;
            self.ask(op, purpose, out);
        }
        self.flush.since = None;
        self.flush.job = Some(job);
        self.sync_dir(out);
    }

    /// Once every file is there under its name.
    fn sync_dir(&mut self, out: &mut Outbox) {
        let Some(job) = &mut self.flush.job else { return };
        if job.dir && job.writes == 0 {
            job.dir = false;
            job.syncs += 1;
            self.ask(DiskOp::FsyncDir { dir: self.dir.clone() }, Purpose::Sync(self.dir.clone()), out);
        }
    }

    pub(super) fn written(&mut self, file: Path, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        let Some(job) = &mut self.flush.job else { return };
        job.writes -= 1;
        job.syncs += 1;
        self.ask(DiskOp::Fsync { file: file.clone() }, Purpose::Sync(file), out);
        self.sync_dir(out);
        self.finish_flush(out, events);
    }

    pub(super) fn synced(&mut self, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        let Some(job) = &mut self.flush.job else { return };
        job.syncs -= 1;
        self.finish_flush(out, events);
    }

    pub(super) fn finish_flush(&mut self, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        let done = |job: &mut Job| job.writes == 0 && job.syncs == 0 && !job.dir;
        if self.epochs.file.busy() || self.metadata.busy() {
            return;
        }
        let Some(job) = self.flush.job.take_if(done) else { return };
        for segment in self.segments.iter_mut().filter(|s| job.covered.contains(&s.base)) {
            segment.named = true;
        }
        self.recovery_point = self.recovery_point.max(job.up_to);
        events.push(LogEvent::Flushed { up_to: job.up_to });
        self.advance(out, events);
    }

    /// After a failed fsync that was shrugged off.
    pub(super) fn abandon_flush(&mut self) {
        self.flush.job = None;
    }

    pub(super) fn snapshot_file(&self, offset: Offset) -> Path {
        self.dir.join(&format!("{}.snapshot", super::segment::stem(offset)))
    }
}
