//! Cutting the log's tail (a follower whose history differs from its leader's), or all of it.
//!
//! Offsets and epochs beyond the cut are forgotten at once, appends in flight included. Two things may need the disk:
//! where exactly to cut, if the place is not remembered; and what producers had done before, if their state tells of
//! something that was cut: then the nearest snapshot below is read, and the log behind it. Until that is done the log
//! takes no appends.
//!
//! Nor does it before its owner has written down where it is flushed to (Kafka: `LogManager.truncateTo` checkpoints
//! recovery points): what is appended after the cut may lie below a recovery point that stands in the checkpoint still.

use super::producers::Producers;
use super::scan::{Fed, Scanner, Visit};
use super::segment::{self, Segment};
use super::{Log, LogEvent, Phase, Purpose};
use crate::defects::Defect;
use crate::disk::{DiskOp, DiskReply, ReadRange};
use crate::ids::*;
use crate::node::Outbox;
use crate::units::{Now, Timestamp};
use bytes::Bytes;
use smallvec::smallvec;

/// A truncation under way.
#[derive(Debug)]
pub(super) struct Truncating {
    /// Changes asked of the disk and not complete.
    pub(super) steps: u32,
    /// Names were changed: the directory is to be fsynced once they are.
    names: bool,
    work: Work,
    wall: Timestamp,
}

#[derive(Debug)]
enum Work {
    /// Looking for the place to cut at; so far batches end at this offset, if one was met.
    Locate(Scanner, Option<Offset>),
    /// Reading a producer snapshot.
    Snapshot(Offset),
    /// Replaying producers' batches from this offset on.
    Replay {
        at: usize,
        from: Offset,
        scanner: Scanner,
    },
    None,
    /// All is done but for the owner to write down the recovery point.
    Recording,
}

impl Truncating {
    /// So many changes of names were asked for. They are made durable before the log goes on: a segment or a producer
    /// snapshot that a power loss brought back under its name would stand in for what was appended, and flushed,
    /// since. (Kafka does not fsync here: it leaves the order of these changes to the file system's journal.)
    fn change(&mut self, names: u32) {
        self.steps += names;
        self.names = true;
    }
}

impl Log {
    /// Cuts the log to end at `offset` (at the beginning of the batch that holds it, if it is within one). True:
    /// [`LogEvent::Cut`] follows, then [`LogEvent::Truncated`], and until then nothing can be appended. False: there
    /// was nothing to cut.
    pub fn truncate_to(&mut self, now: Now, offset: Offset, out: &mut Outbox) -> bool {
        let under_way = matches!(self.phase, Phase::Truncating(_));
        if !matches!(self.phase, Phase::Ready) && !under_way {
            return false;
        }
        let mut target = offset.max(Offset(0));
        if target >= self.next_offset {
            // An epoch may have been assigned here and then have got no record before another leader was elected.
            if self.epochs.truncate_from_end(self.next_offset) {
                self.epochs.write(out);
            }
            return under_way;
        }
        if target < self.segments[0].base {
            self.truncate_fully_and_start_at(now, target, out);
            return true;
        }
        // Behind a gap that compaction left, the batch before the gap is to be found.
        let place = self.tail.find(target).filter(|place| place.base <= target);
        if let Some(place) = place {
            target = place.base;
        }
        let mut truncating = self.begin_truncation(now.wall, out);
        self.lower_to(target, &mut truncating, out);
        while self.segments.last().is_some_and(|s| s.base > target) {
            let segment = self.segments.pop().expect("just seen");
            truncating.change(self.discard(now, &segment, Purpose::Step, out));
        }
        let active = self.segments.last().expect("the first segment begins at or before the target");
        let pos = match place {
            Some(place) => Some(place.pos),
            None => (active.base == target).then_some(0),
        };
        match pos {
            Some(pos) => self.cut_at(pos, &mut truncating, out),
            None => {
                let scanner = Scanner::new(active.file.clone(), active.floor(target), active.size);
                // At its beginning nothing is before the first batch.
                let end = (active.floor(target) == 0).then_some(active.base);
                self.ask(scanner.read(), Purpose::Scan(self.generation), out);
                truncating.work = Work::Locate(scanner, end);
            }
        }
        self.phase = Phase::Truncating(Box::new(truncating));
        true
    }

    /// Empties the log, which then starts at `offset`. [`LogEvent::Cut`] and [`LogEvent::Truncated`] follow.
    pub fn truncate_fully_and_start_at(&mut self, now: Now, offset: Offset, out: &mut Outbox) {
        if !matches!(self.phase, Phase::Ready | Phase::Truncating(_)) {
            return;
        }
        let mut truncating = self.begin_truncation(now.wall, out);
        for segment in std::mem::take(&mut self.segments) {
            truncating.change(self.discard(now, &segment, Purpose::Step, out));
        }
        for offset in std::mem::take(&mut self.snapshots) {
            let path = self.snapshot_file(offset);
            self.ask(DiskOp::Delete { path }, Purpose::Step, out);
            truncating.change(1);
        }
        self.flush.clear();
        self.pending.clear();
        self.tail.clear();
        self.epochs.clear();
        self.epochs.write(out);
        self.producers.clear();
        self.producers_stale = false;
        (self.log_start, self.log_end, self.completed, self.next_offset) = (offset, offset, offset, offset);
        self.recovery_point = self.recovery_point.min(offset);
        let segment = Segment::new(&self.dir, offset, now.wall);
        self.ask(segment::create_file(&segment), Purpose::Step, out);
        self.segments.push(segment);
        truncating.steps += 1;
        self.phase = Phase::Truncating(Box::new(truncating));
    }

    /// Makes scans of an earlier truncation void; its changes must still complete.
    fn begin_truncation(&mut self, wall: Timestamp, out: &mut Outbox) -> Truncating {
        self.generation += 1;
        self.layout += 1;
        let (steps, names) = if let Phase::Truncating(t) = &self.phase { (t.steps, t.names) } else { (0, false) };
        let mut truncating = Truncating { steps, names, work: Work::None, wall };
        // A compacted copy that a power loss brought back would bring back what is cut now.
        for path in self.abort_cleaning(out) {
            self.ask(DiskOp::Delete { path }, Purpose::Step, out);
            truncating.change(1);
        }
        truncating
    }

    /// Forgets whatever lies at or beyond `target`.
    fn lower_to(&mut self, target: Offset, t: &mut Truncating, out: &mut Outbox) {
        while self.pending.back().is_some_and(|p| p.end > target) {
            self.pending.pop_back();
        }
        self.next_offset = target;
        self.completed = self.completed.min(target);
        self.log_end = self.log_end.min(target);
        self.log_start = self.log_start.min(target);
        if !self.defects.on(Defect::TruncationKeepsRecoveryPoint) {
            self.recovery_point = self.recovery_point.min(target);
        }
        self.tail.truncate(target);
        self.flush.truncate(target);
        self.producers_stale |= self.producers.reaches(target);
        if self.epochs.truncate_from_end(target) {
            self.epochs.write(out);
        }
        for offset in self.snapshots.split_off(&target.plus(1)) {
            let path = self.snapshot_file(offset);
            self.ask(DiskOp::Delete { path }, Purpose::Step, out);
            t.change(1);
        }
    }

    fn cut_at(&mut self, pos: u64, t: &mut Truncating, out: &mut Outbox) {
        let mut ops = Vec::new();
        let end = self.next_offset;
        let active = self.segments.last_mut().expect("a usable log has a segment");
        active.truncate(pos, end, t.wall, &mut ops);
        for op in ops {
            t.steps += 1;
            self.ask(op, Purpose::Step, out);
        }
        if self.producers_stale {
            self.rebuild(t, out);
        }
    }

    /// Starts to restore the producers' state from the newest snapshot.
    fn rebuild(&mut self, t: &mut Truncating, out: &mut Outbox) {
        self.producers.clear();
        let Some(&offset) = self.snapshots.range(self.log_start.plus(1)..).next_back() else {
            return self.replay(self.log_start, t, out);
        };
        if let Some(content) = self.flush.snapshot(offset).cloned() {
            return self.restore_snapshot(offset, &content, t, out);
        }
        let range = ReadRange { file: self.snapshot_file(offset), pos: 0, len: u64::from(u32::MAX) };
        self.ask(DiskOp::Read { ranges: smallvec![range] }, Purpose::Scan(self.generation), out);
        t.work = Work::Snapshot(offset);
    }

    fn restore_snapshot(&mut self, offset: Offset, data: &[u8], t: &mut Truncating, out: &mut Outbox) {
        match Producers::restore(data, offset) {
            Some(producers) => {
                self.producers = producers;
                self.producers.remove_expired(t.wall, self.config.producer_id_expiration);
                self.replay(offset, t, out);
            }
            None => {
                self.snapshots.remove(&offset);
                self.rebuild(t, out);
            }
        }
    }

    fn replay(&mut self, from: Offset, t: &mut Truncating, out: &mut Outbox) {
        let at = self.segment_of(from);
        let segment = &self.segments[at];
        let scanner = Scanner::new(segment.file.clone(), segment.floor(from), segment.size);
        self.ask(scanner.read(), Purpose::Scan(self.generation), out);
        t.work = Work::Replay { at, from, scanner };
    }

    pub(super) fn truncate_scanned(&mut self, reply: DiskReply, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        let Phase::Truncating(mut t) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        let data = if let DiskReply::Data(mut buffers) = reply { buffers.pop() } else { None }.unwrap_or_default();
        match std::mem::replace(&mut t.work, Work::None) {
            Work::Locate(scanner, end) => self.located(scanner, end, &data, &mut t, out),
            Work::Snapshot(offset) => self.restore_snapshot(offset, &data, &mut t, out),
            Work::Replay { at, from, scanner } => self.replayed(at, from, scanner, &data, &mut t, out),
            Work::None => {}
            Work::Recording => t.work = Work::Recording,
        }
        self.phase = Phase::Truncating(t);
        self.truncate_progress(out, events);
    }

    fn located(
        &mut self,
        mut scanner: Scanner,
        mut end: Option<Offset>,
        data: &Bytes,
        t: &mut Truncating,
        out: &mut Outbox,
    ) {
        let target = self.next_offset;
        let mut base = None;
        let fed = scanner.feed(data, |header, _, _| {
            if header.last_offset() < target {
                end = Some(header.next_offset());
                return Visit::Go;
            }
            base = Some(header.base_offset);
            Visit::Stop
        });
        if fed == Fed::More {
            self.ask(scanner.read(), Purpose::Scan(self.generation), out);
            t.work = Work::Locate(scanner, end);
            return;
        }
        // The place may be within a batch, in a gap that compaction left, or (damaged) after less than there should be.
        let base = base.and_then(|b| if b < target { Some(b) } else { end });
        if let Some(base) = base.filter(|&b| b < target && b >= self.segments[self.segments.len() - 1].base) {
            self.lower_to(base, t, out);
        }
        self.cut_at(scanner.pos, t, out);
    }

    fn replayed(
        &mut self,
        at: usize,
        from: Offset,
        mut scanner: Scanner,
        data: &Bytes,
        t: &mut Truncating,
        out: &mut Outbox,
    ) {
        let defects = self.defects;
        let fed = scanner.feed(data, |header, _, batch| {
            if header.last_offset() >= from {
                self.producers.update(header, batch, defects);
            }
            Visit::Go
        });
        let (at, scanner) = match fed {
            Fed::More => (at, scanner),
            _ if at + 1 < self.segments.len() => {
                let next = &self.segments[at + 1];
                (at + 1, Scanner::new(next.file.clone(), 0, next.size))
            }
            _ => {
                self.producers_stale = false;
                return;
            }
        };
        self.ask(scanner.read(), Purpose::Scan(self.generation), out);
        t.work = Work::Replay { at, from, scanner };
    }

    pub(super) fn truncate_progress(&mut self, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        let Phase::Truncating(t) = &mut self.phase else { return };
        if t.steps > 0 || !matches!(t.work, Work::None) {
            return;
        }
        if std::mem::take(&mut t.names) {
            t.steps = 1;
            return self.ask(DiskOp::FsyncDir { dir: self.dir.clone() }, Purpose::Step, out);
        }
        t.work = Work::Recording;
        events.push(LogEvent::Cut);
    }

    /// Recovery points as they are after [`LogEvent::Cut`] are durable. Nothing happens if the log was cut anew since.
    pub fn cut_recorded(&mut self, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        if matches!(&self.phase, Phase::Truncating(t) if matches!(t.work, Work::Recording)) {
            self.phase = Phase::Ready;
            events.push(LogEvent::Truncated);
            self.start_flush(out);
        }
    }

    /// Takes a segment's files out of the way; they go for good after `file.delete.delay.ms`. Says how many changes
    /// of names that takes.
    pub(super) fn discard(&mut self, now: Now, segment: &Segment, purpose: Purpose, out: &mut Outbox) -> u32 {
        for path in [&segment.offsets.file, &segment.times.file] {
            self.ask(DiskOp::Delete { path: path.clone() }, purpose.clone(), out);
        }
        let doomed = crate::disk::Path::new(format!("{}.deleted", segment.file));
        let rename = DiskOp::Rename { from: segment.file.clone(), to: doomed.clone() };
        self.ask(rename, purpose, out);
        self.doomed.push_back((now.mono + self.config.segment_delete_delay, doomed));
        3
    }
}
