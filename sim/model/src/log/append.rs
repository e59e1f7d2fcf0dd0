//! Appending: a leader's records, which get their offsets here, and a follower's, which come with them. Several may
//! be in flight, over two files when a segment is full.

use super::flush::Snapshot;
use super::read::Place;
use super::segment::{self, Segment};
use super::{AppendError, AppendInfo, Log, LogEvent, Phase, Purpose};
use crate::disk::{DiskOp, DiskResult};
use crate::ids::*;
use crate::node::Outbox;
use crate::record::{self, BatchError, BatchHeader};
use crate::trace::TraceEvent;
use crate::units::{Now, Timestamp};
use bytes::Bytes;

/// An append in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) seq: u64,
    base: Offset,
    pub(super) end: Offset,
    /// The base of the segment it went to.
    segment: Offset,
    pos: u64,
    size: u64,
    done: bool,
}

/// What walking over the records told.
struct Walked {
    base: Offset,
    last: Offset,
    max_timestamp: Timestamp,
    size: usize,
}

impl Log {
    /// Appends a leader's records: assigns offsets (one copy), and asks the disk. Validate them first
    /// ([`crate::record::validate`]).
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
        self.check_usable()?;
        let have = records.len() as u64;
        let stamped = record::stamp(records, self.next_offset, epoch);
        if stamped.len() as u64 != have || stamped.is_empty() {
            return Err(BatchError::Short { need: have + 1, have }.into());
        }
        let walked = self.walk(&stamped, |_| Ok(()))?.expect("there is a whole batch");
        Ok(self.append(now, stamped, walked, out))
    }

    /// Appends what a follower fetched, unchanged and uncopied. `None`: there was no whole batch.
    ///
    /// # Errors
    /// See [`AppendError`]; batches before a bad one are not appended either.
    pub fn append_as_follower(
        &mut self,
        now: Now,
        records: Bytes,
        out: &mut Outbox,
    ) -> Result<Option<AppendInfo>, AppendError> {
        self.check_usable()?;
        let Some(walked) = self.walk(&records, |batch| record::check_crc(batch).map(|_| ()))? else { return Ok(None) };
        let records = records.slice(..walked.size);
        Ok(Some(self.append(now, records, walked, out)))
    }

    fn check_usable(&self) -> Result<(), AppendError> {
        match self.phase {
            Phase::Ready => Ok(()),
            Phase::Failed(error) => Err(AppendError::Failed(error)),
            _ => Err(AppendError::NotReady),
        }
    }

    /// Looks at whole batches, which must follow the log's end and each other. `None`: there is none.
    fn walk(
        &self,
        records: &[u8],
        check: impl Fn(&[u8]) -> Result<(), BatchError>,
    ) -> Result<Option<Walked>, AppendError> {
        let mut expected = self.next_offset;
        let mut walked: Option<Walked> = None;
        let mut rest = records;
        while rest.len() >= record::BATCH_HEADER_SIZE {
            let header = BatchHeader::parse(rest)?;
            let Some((batch, after)) = usize::try_from(header.size()).ok().and_then(|n| rest.split_at_checked(n))
            else {
                break;
            };
            // Compaction leaves gaps, and a follower copies them.
            let gap = header.base_offset > expected && self.config.compaction.is_none();
            if header.base_offset < expected || gap {
                return Err(AppendError::NotContiguous { first: header.base_offset, next: expected });
            }
            check(batch)?;
            let w = walked.get_or_insert(Walked {
                base: header.base_offset,
                last: header.last_offset(),
                max_timestamp: header.max_timestamp,
                size: 0,
            });
            w.last = header.last_offset();
            w.max_timestamp = w.max_timestamp.max(header.max_timestamp);
            w.size += batch.len();
            expected = header.next_offset();
            if expected.0 - w.base.0 > i64::from(i32::MAX) {
                return Err(BatchError::Offsets.into());
            }
            rest = after;
        }
        Ok(walked)
    }

    fn append(&mut self, now: Now, records: Bytes, walked: Walked, out: &mut Outbox) -> AppendInfo {
        let Walked { base, last, max_timestamp, .. } = walked;
        let size = records.len() as u64;
        let active = self.segments.last().expect("a usable log has a segment");
        if active.is_full(&self.config, size, last, max_timestamp, now.wall) {
            // Where the log ends, not where the records begin: a gap is within a segment.
            self.roll(now, self.next_offset, out);
        }
        let segment = self.segments.last_mut().expect("a usable log has a segment");
        let start = segment.size;
        let mut new_epoch = false;
        let mut at = 0;
        while at < records.len() {
            let header = BatchHeader::parse(&records[at..]).expect("walked over before");
            let (pos, end) = (start + at as u64, at + header.size() as usize);
            segment.note(&header, pos, self.config.index_interval_bytes);
            if header.leader_epoch.0 >= 0 {
                new_epoch |= self.epochs.put(header.leader_epoch, header.base_offset);
            }
            self.producers.update(&header, &records[at..end], self.defects);
            let place = Place { base: header.base_offset, end: header.next_offset(), segment: segment.base, pos };
            self.tail.push(place, header.size());
            at = end;
        }
        segment.size += size;
        let (file, in_segment) = (segment.file.clone(), segment.base);
        if new_epoch {
            self.epochs.write(out);
        }
        let token = out.disk(self.owner, DiskOp::Append { file, data: records });
        let end = last.plus(1);
        self.pending.push_back(Pending {
            seq: token.seq,
            base,
            end,
            segment: in_segment,
            pos: start,
            size,
            done: false,
        });
        self.next_offset = end;
        self.flush.note_append(now.mono);
        AppendInfo { base, last, max_timestamp, size }
    }

    /// Closes the active segment and begins one at `base`, the next offset. The old one is flushed in the background.
    pub(super) fn roll(&mut self, now: Now, base: Offset, out: &mut Outbox) {
        if let Some(old) = self.segments.last_mut() {
            old.note_time();
            out.trace(TraceEvent::Mark { mark: "segment-rolled" });
        }
        self.flush.snapshots.push(Snapshot { offset: base, content: self.producers.snapshot() });
        self.snapshots.insert(base);
        let segment = Segment::new(&self.dir, base, now.wall);
        self.ask(segment::create_file(&segment), Purpose::Plain, out);
        self.segments.push(segment);
        self.flush.goals.push(base);
        self.start_flush(out);
    }

    pub(super) fn append_completed(
        &mut self,
        at: usize,
        result: DiskResult,
        out: &mut Outbox,
        events: &mut Vec<LogEvent>,
    ) {
        match result {
            Ok(_) => self.pending[at].done = true,
            Err(_) if self.goes_on() => self.forget_append(at, out, events),
            Err(error) => return self.fail(error, events),
        }
        while let Some(first) = self.pending.front().filter(|p| p.done) {
            self.completed = self.completed.max(first.end);
            self.pending.pop_front();
        }
        self.advance(out, events);
    }

    /// Moves the log end to what is complete; with `flush.messages`, only to what is flushed as well, for Kafka's
    /// append returns only after the flush it causes.
    pub(super) fn advance(&mut self, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        let unflushed = self.completed.0 - self.recovery_point.0;
        let visible = if unflushed >= self.config.flush_messages {
            self.flush.goals.push(self.completed);
            self.recovery_point
        } else {
            self.completed
        };
        if visible > self.log_end {
            self.log_end = visible;
            events.push(LogEvent::Appended);
        }
        self.start_flush(out);
    }

    /// The defect `append-after-io-error`: a failed append is taken out of every account, and its offsets are given
    /// again. Later ones in flight keep theirs; if there are none, what was written of it goes too.
    fn forget_append(&mut self, at: usize, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        let failed = self.pending.remove(at).expect("just found");
        for batch in self.tail.forget(failed.base, failed.end, failed.size) {
            self.producers.forget_batch(batch.end);
        }
        let mut alone = true;
        for later in self.pending.iter_mut().filter(|p| p.segment == failed.segment && p.pos > failed.pos) {
            later.pos -= failed.size;
            alone = false;
        }
        let mut partial = None;
        if let Some(segment) = self.segments.iter_mut().find(|s| s.base == failed.segment) {
            segment.close_gap(failed.pos, failed.size);
            partial = alone.then(|| DiskOp::Truncate { file: segment.file.clone(), len: failed.pos });
        }
        if let Some(op) = partial {
            self.ask(op, Purpose::Plain, out);
        }
        self.next_offset = self.next_offset.min(failed.base);
        events.push(LogEvent::AppendForgotten { base: failed.base, last: Offset(failed.end.0 - 1) });
    }
}
