//! Reading: where batches lie, and how to cut whole ones out of what the disk returns.
//!
//! The places of the latest batches are remembered exactly, so that reads at the log's end take no byte too many;
//! further back the sparse index gives bounds, and [`ReadPlan::look`] cuts. Compaction leaves segments that are empty or end
//! before the next one begins, and an index may be missing: if all that was read lies below the offset wanted,
//! [`Log::read_on`] says where to look next. Follows Kafka's `LocalLog.read`, which goes on to the next segment likewise.

use super::Log;
use crate::disk::ReadRange;
use crate::ids::*;
use crate::limits::{BATCHES_PLACED_EXACTLY, SCAN_CHUNK_BYTES, SEARCH_BYTES};
use crate::record::{self, BATCH_HEADER_SIZE, BatchHeader};
use crate::units::Timestamp;
use bytes::Bytes;
use std::collections::VecDeque;

/// An offset is outside the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the log holds {log_start} to {log_end}")]
pub struct OutOfRange {
    /// First offset.
    pub log_start: Offset,
    /// One past the last.
    pub log_end: Offset,
}

/// What lies in a log where a batch should be is none (Kafka: `CorruptRecordException`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the log is damaged")]
pub struct Corrupt;

/// Less than a record of the oldest format is no batch to Kafka (`LegacyRecord.RECORD_OVERHEAD_V0`).
const LEAST_CLAIM: u64 = 14;

/// What is to be read for a Fetch, and how to cut whole batches out of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadPlan {
    /// For [`crate::disk::DiskOp::Read`].
    pub range: ReadRange,
    from: Offset,
    up_to: Offset,
    max_bytes: u64,
    min_one: bool,
    from_where: Source,
    /// Of the log's segments when this was planned.
    layout: u32,
}

/// What a plan's range rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// The range holds just the batches wanted.
    Exact,
    /// A batch begins there if the index is right.
    Index,
    /// A batch ends where the range begins, or the file begins there.
    Walk,
}

/// What a plan's bytes hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// The batches wanted; none if they do not fit or are not below the bound.
    Batches(Bytes),
    /// Whole batches, all of them below the offset wanted: [`Log::read_on`] says where to look next.
    Below {
        /// Where in the file they end.
        pos: u64,
        /// Bytes that are needed from there to see the next batch.
        need: u64,
    },
    /// Where the batch wanted should be lies something that is no batch: [`Log::read_past`] says what follows.
    Corrupt {
        /// Where in the file.
        pos: u64,
        /// The length that it claims, after the first 12 bytes.
        claims: i32,
    },
}

impl ReadPlan {
    /// As [`ReadPlan::look`], where nothing is to be looked for further on.
    pub fn trim(&self, data: Bytes) -> Bytes {
        if let Found::Batches(batches) = self.look(data) { batches } else { Bytes::new() }
    }

    /// The whole batches wanted: from the one that holds the first offset, below the bound, within the bytes asked
    /// for. Cuts before anything that is no batch.
    pub fn look(&self, data: Bytes) -> Found {
        let whole = data.len() as u64 == self.range.len;
        if self.from_where == Source::Exact && whole {
            return Found::Batches(data);
        }
        let (mut start, mut end) = (0, 0);
        let mut begun = false;
        loop {
            let rest = &data[end..];
            // The file may be longer than what was read of it.
            let cut = |need: u64| {
                let pos = self.range.pos + end as u64;
                if begun || !whole { Found::Batches(data.slice(start..end)) } else { Found::Below { pos, need } }
            };
            if rest.len() < BATCH_HEADER_SIZE {
                return cut(BATCH_HEADER_SIZE as u64);
            }
            let Ok(header) = BatchHeader::parse(rest) else {
                if end == 0 && self.from_where == Source::Index && self.range.pos > 0 {
                    // The index leads astray: from the segment's beginning, then.
                    return Found::Below { pos: 0, need: 0 };
                }
                if !begun && whole {
                    let claims = i32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]);
                    return Found::Corrupt { pos: self.range.pos + end as u64, claims };
                }
                break;
            };
            if header.last_offset() >= self.up_to {
                break;
            }
            if header.size() > rest.len() as u64 {
                return cut(header.size());
            }
            let after = end + header.size() as usize;
            if header.last_offset() < self.from && !begun {
                (start, end) = (after, after);
                continue;
            }
            let fits = (after - start) as u64 <= self.max_bytes;
            if !fits && (begun || !self.min_one) {
                break;
            }
            begun = true;
            end = after;
        }
        Found::Batches(data.slice(start..end))
    }
}

/// Where a batch lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) base: Offset,
    pub(super) end: Offset,
    /// The segment's base.
    pub(super) segment: Offset,
    pub(super) pos: u64,
}

/// The latest batches, in order, without a gap, up to the next offset; with their sizes.
#[derive(Debug, Default)]
pub(super) struct Tail {
    places: VecDeque<(Place, u64)>,
}

impl Tail {
    #[inline]
    pub(super) fn push(&mut self, place: Place, size: u64) {
        if self.places.len() == BATCHES_PLACED_EXACTLY {
            self.places.pop_front();
        }
        self.places.push_back((place, size));
    }

    fn index_of(&self, offset: Offset) -> Option<usize> {
        if self.places.front().is_none_or(|(p, _)| offset < p.base) {
            return None;
        }
        // Reads at the end are the rule.
        let last = self.places.len() - 1;
        if self.places[last].0.base <= offset {
            return (offset < self.places[last].0.end).then_some(last);
        }
        Some(self.places.partition_point(|(p, _)| p.end <= offset))
    }

    /// The batch that holds `offset`.
    pub(super) fn find(&self, offset: Offset) -> Option<Place> {
        self.index_of(offset).map(|i| self.places[i].0)
    }

    pub(super) fn truncate(&mut self, offset: Offset) {
        while self.places.back().is_some_and(|(p, _)| p.end > offset) {
            self.places.pop_back();
        }
    }

    pub(super) fn forget_below(&mut self, offset: Offset) {
        while self.places.front().is_some_and(|(p, _)| p.base < offset) {
            self.places.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
    }

    /// Takes out the batches of one append that was never written; what lies behind them moves up.
    pub(super) fn forget(&mut self, base: Offset, end: Offset, size: u64) -> Vec<Place> {
        let gone: Vec<Place> = self.places.iter().map(|(p, _)| *p).filter(|p| p.base >= base && p.end <= end).collect();
        self.places.retain(|(p, _)| p.base < base || p.end > end);
        if let Some(first) = gone.first() {
            let behind = |p: &Place| p.segment == first.segment && p.pos > first.pos;
            self.places.iter_mut().filter(|(p, _)| behind(p)).for_each(|(p, _)| p.pos -= size);
        }
        gone
    }
}

impl Log {
    /// Plans a read of batches below `up_to` (exclusive) and the log end, within one segment. `None`: there is
    /// nothing (yet). With `min_one` the first batch comes even if it is larger than `max_bytes`.
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
        if from < self.log_start || from > self.log_end {
            return Err(OutOfRange { log_start: self.log_start, log_end: self.log_end });
        }
        let up_to = up_to.min(self.log_end);
        if from >= up_to || (max_bytes == 0 && !min_one) {
            return Ok(None);
        }
        let layout = self.layout;
        let plan = |file, pos, len, from_where| ReadPlan {
            range: ReadRange { file, pos, len },
            from,
            up_to,
            max_bytes,
            min_one,
            from_where,
            layout,
        };
        if let Some(first) = self.tail.index_of(from) {
            let (start, _) = self.tail.places[first];
            let mut len = 0;
            for (place, size) in self.tail.places.range(first..) {
                let fits = len + size <= max_bytes || (len == 0 && min_one);
                if place.segment != start.segment || place.end > up_to || !fits {
                    break;
                }
                len += size;
            }
            let segment = self.segments.iter().rfind(|s| s.base == start.segment);
            let file = segment.expect("a placed batch's segment is there").file.clone();
            return Ok((len > 0).then(|| plan(file, start.pos, len, Source::Exact)));
        }
        let at = self.segment_with(from);
        let segment = &self.segments[at];
        if segment.is_below(from) {
            return Ok(None);
        }
        let pos = segment.floor(from);
        let bound = if up_to < self.segment_end(at) { segment.ceiling(Offset(up_to.0 - 1)) } else { segment.size };
        // An index that says nothing is no reason to read a whole segment at once.
        let ceiling = segment.ceiling(from).min(pos.saturating_add(SEARCH_BYTES));
        let end = ceiling.max(pos.saturating_add(max_bytes)).min(bound);
        Ok((end > pos).then(|| plan(segment.file.clone(), pos, end - pos, Source::Index)))
    }

    /// The plan's bytes held nothing but batches below its offset, up to `pos` of their file: what is to be read next,
    /// `need` bytes at least. `Ok(None)`: nothing is there.
    ///
    /// # Errors
    /// Less than a batch is left of the log's last file. Of an earlier one that is its end, as in Kafka.
    pub fn read_on(&mut self, plan: &ReadPlan, pos: u64, need: u64) -> Result<Option<ReadPlan>, Corrupt> {
        let at = self.segments.iter().position(|s| s.file == plan.range.file);
        if let Some(segment) = at.map(|at| &mut self.segments[at]).filter(|_| plan.layout == self.layout) {
            let left = segment.size.saturating_sub(pos);
            if left > 0 {
                let len = need.max(plan.max_bytes).max(SCAN_CHUNK_BYTES).min(left);
                let range = ReadRange { file: segment.file.clone(), pos, len };
                let next = ReadPlan { range, from_where: Source::Walk, ..plan.clone() };
                if need <= left {
                    return Ok(Some(next));
                }
                if at == Some(self.segments.len() - 1) {
                    return Err(Corrupt);
                }
            }
            if let Some(at) = at {
                self.segments[at].ends_at_most(plan.from);
            }
        }
        Ok(self.read(plan.from, plan.max_bytes, plan.up_to, plan.min_one).ok().flatten())
    }

    /// At `pos` lies no batch. One that claims more bytes than its file has ends that file, and what follows is read, as Kafka
    /// does; anything else is damage in the middle.
    ///
    /// # Errors
    /// Where the damage ends within the file is not known.
    pub fn read_past(&mut self, plan: &ReadPlan, pos: u64, claims: i32) -> Result<Option<ReadPlan>, Corrupt> {
        let at = self.segments.iter().position(|s| s.file == plan.range.file);
        let Some(at) = at.filter(|_| plan.layout == self.layout) else { return Ok(None) };
        let ends = u64::try_from(claims).is_ok_and(|n| n >= LEAST_CLAIM && pos + 12 + n > self.segments[at].size);
        if !ends || at + 1 == self.segments.len() {
            return Err(Corrupt);
        }
        self.segments[at].ends_at_most(plan.from);
        Ok(self.read(plan.from, plan.max_bytes, plan.up_to, plan.min_one).ok().flatten())
    }

    /// The segment with the first batch that ends beyond `offset`, as far as is known: not those that are known to end
    /// before.
    fn segment_with(&self, offset: Offset) -> usize {
        let mut at = self.segment_of(offset);
        while at + 1 < self.segments.len() && self.segments[at].is_below(offset) {
            at += 1;
        }
        at
    }

    /// About how many bytes lie between two offsets; exact among the latest batches.
    pub fn available_bytes(&self, from: Offset, up_to: Offset) -> u64 {
        let up_to = up_to.min(self.log_end);
        if from >= up_to || self.segments.is_empty() {
            return 0;
        }
        let (first, start) = self.about(from.max(self.log_start));
        let (last, end) = self.about(up_to);
        if start >= self.segments[first].size {
            return 0;
        }
        if first == last {
            // Both may lie behind the same entry of the index; there is something, though.
            return end.saturating_sub(start).max(1);
        }
        let between: u64 = self.segments[first + 1..last].iter().map(|s| s.size).sum();
        self.segments[first].size - start + between + end
    }

    /// Segment and position at which an offset's batch begins, or a place before it.
    fn about(&self, offset: Offset) -> (usize, u64) {
        if let Some(place) = self.tail.find(offset) {
            return (self.segment_of(place.segment), place.pos);
        }
        let at = self.segment_with(offset);
        let segment = &self.segments[at];
        let behind = offset >= self.next_offset || segment.is_below(offset);
        if behind { (at, segment.size) } else { (at, segment.floor(offset)) }
    }

    /// Where to look, with [`first_at_or_after`], for the first record at or after a time and below `up_to`.
    /// `None`: there is none.
    pub fn plan_timestamp(&self, at: Timestamp, up_to: Offset) -> Option<ReadPlan> {
        self.plan_timestamp_from(0, at, up_to)
    }

    /// Where to look after a range held no such record: a batch that compaction emptied keeps its timestamp. First the
    /// rest of the same segment, then those behind it.
    pub fn plan_timestamp_after(&self, before: &ReadRange, at: Timestamp, up_to: Offset) -> Option<ReadPlan> {
        let nth = self.segments.iter().position(|s| s.file == before.file)?;
        let segment = &self.segments[nth];
        let pos = before.pos.saturating_add(before.len);
        if pos >= segment.size {
            return self.plan_timestamp_from(nth + 1, at, up_to);
        }
        Some(ReadPlan {
            range: ReadRange { file: segment.file.clone(), pos, len: segment.size - pos },
            from: self.log_start,
            up_to: up_to.min(self.log_end),
            max_bytes: u64::MAX,
            min_one: true,
            from_where: Source::Walk,
            layout: self.layout,
        })
    }

    fn plan_timestamp_from(&self, first: usize, at: Timestamp, up_to: Offset) -> Option<ReadPlan> {
        let up_to = up_to.min(self.log_end);
        let young = |s: &&super::Segment| s.max_timestamp.is_some_and(|(t, _)| t >= at);
        let segment = self.segments.get(first..)?.iter().find(young)?;
        let (pos, end) = segment.range_of_time(at);
        (end > pos && segment.base < up_to).then(|| ReadPlan {
            range: ReadRange { file: segment.file.clone(), pos, len: end - pos },
            from: self.log_start,
            up_to,
            max_bytes: u64::MAX,
            min_one: true,
            from_where: Source::Index,
            layout: self.layout,
        })
    }
}

/// The first record in whole batches at or after a time, and its offset.
pub fn first_at_or_after(data: &Bytes, at: Timestamp) -> Option<(Timestamp, Offset)> {
    for batch in record::batches(data) {
        let (header, bytes) = batch.ok()?;
        if header.max_timestamp < at {
            continue;
        }
        let plain = record::decompressed(&bytes).ok()?;
        let mut records = record::records(&plain).map_while(Result::ok);
        if let Some(found) = records.find(|r| r.timestamp >= at) {
            return Some((found.timestamp, found.offset));
        }
    }
    None
}
