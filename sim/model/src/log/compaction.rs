//! Keyed compaction of closed segments: of each key the latest record stays, and what it superseded goes.
//!
//! First the keys of the part that was not compacted yet are gathered with their latest offsets; then all segments up
//! to its end are copied, group by group, without what is superseded, and each group takes the place of the segments it
//! was made of. Never touched are the active segment, anything at or above the high watermark (KAFKA-13194: what may
//! still be truncated must supersede nothing), and what is not flushed yet. Offsets, order and batch headers stay as they are. A batch that has
//! lost all its records goes, but its header stays if it is the last batch of a producer that is remembered (its
//! sequence must be known), or ends its segment, or begins a leader epoch. (The last two are stricter than Kafka: so a
//! segment always ends where the next one begins, and every replica that copies the log learns the same epochs.)
//!
//! A tombstone that was copied once gets a delete horizon (KIP-534), and goes when that has passed.
//!
//! The copy is crash-safe at each step: it is written beside the log (`.cleaned`) and fsynced, renamed to `.swap` once
//! it is complete, and from then on it counts: recovery removes the segments it replaces and gives it their name, as
//! this does. Follows Kafka's `Cleaner`, `LogCleanerManager.cleanableOffsets`, `LocalLog.replaceSegments` and
//! `LogLoader`. There is no limit to the keys held (Kafka: `log.cleaner.dedupe.buffer.size`) and no throttle.

use super::scan::{Fed, Scanner, Visit};
use super::segment::{Segment, with_suffix};
use super::{Log, LogEvent, Phase, Purpose};
use crate::defects::Defect;
use crate::disk::{DiskOp, DiskReply, Path};
use crate::ids::*;
use crate::node::Outbox;
use crate::record::{self, BatchHeader, Record, records};
use crate::trace::TraceEvent;
use crate::units::{Now, Timestamp};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};

/// A copy that is not complete.
pub(super) const CLEANED: &str = ".cleaned";
/// A copy that is complete and counts.
pub(super) const SWAP: &str = ".swap";

/// What of a log may be compacted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cleanable {
    /// From here on it was not compacted yet.
    pub first_dirty: Offset,
    /// Up to here (exclusive) it may be.
    pub end: Offset,
    /// The share of it, in bytes, that was not compacted yet, in parts per million.
    pub dirty_ppm: u32,
}

/// A compaction under way.
#[derive(Debug)]
pub(super) struct Cleaning {
    what: Cleanable,
    wall: Timestamp,
    /// Tombstones that are copied from now on may go at this time.
    horizon: Timestamp,
    /// The latest offset of each key in the part not compacted before.
    latest: BTreeMap<Bytes, Offset>,
    /// The last data offset of each producer that is remembered.
    producers: BTreeMap<ProducerId, Offset>,
    /// Bases of segments to be copied into one.
    groups: VecDeque<Vec<Offset>>,
    stage: Stage,
    /// Operations asked for and not complete.
    steps: u32,
}

/// What is done next, once all operations asked for are complete.
#[derive(Debug)]
enum Stage {
    /// Keys are gathered.
    Map { at: usize, scanner: Scanner },
    /// The next group is begun.
    Begin,
    /// A group's segments are copied.
    Copy { group: Vec<Offset>, nth: usize, scanner: Scanner, copy: Box<Segment> },
    /// The copy is fsynced.
    Sync { group: Vec<Offset>, copy: Box<Segment> },
    /// Its names are made durable.
    Settle { group: Vec<Offset>, copy: Box<Segment> },
    /// It is renamed: from then on it counts.
    Swap { group: Vec<Offset>, copy: Box<Segment> },
    /// That is made durable.
    Commit { group: Vec<Offset>, copy: Box<Segment> },
    /// It takes the place of what it was made of.
    Replace { group: Vec<Offset>, copy: Box<Segment> },
    /// The removal of that is made durable.
    Removed { base: Offset },
    /// It gets its name.
    Name { base: Offset },
    /// That is made durable.
    Named,
}

impl Log {
    /// What may be compacted, if anything may. `first_dirty` is where the last compaction ended.
    pub fn cleanable(&self, first_dirty: Offset, high_watermark: Offset, wall: Timestamp) -> Option<Cleanable> {
        let config = self.config.compaction?;
        if !matches!(self.phase, Phase::Ready) || self.cleaning.is_some() || self.uncleanable {
            return None;
        }
        let first_dirty = if first_dirty > self.next_offset { self.log_start } else { first_dirty.max(self.log_start) };
        let active = self.segments.last()?.base;
        let limit = if self.defects.on(Defect::CleanerPastHw) { active } else { active.min(high_watermark) };
        let limit = limit.min(self.recovery_point);
        let youngest = wall.0.saturating_sub(i64::try_from(config.min_lag.as_millis()).unwrap_or(i64::MAX));
        let (mut clean, mut dirty, mut end) = (0, 0, first_dirty);
        for (at, segment) in self.segments.iter().enumerate() {
            let stop = self.segment_end(at);
            let is_dirty = stop > first_dirty;
            let too_young = is_dirty
                && config.min_lag.as_nanos() > 0
                && segment.max_timestamp.is_some_and(|(newest, _)| newest.0 > youngest);
            if stop > limit || too_young {
                break;
            }
            *if is_dirty { &mut dirty } else { &mut clean } += segment.size;
            end = stop.max(end);
        }
        let share = (u128::from(dirty) * 1_000_000).checked_div(u128::from(dirty + clean))?;
        (dirty > 0).then_some(Cleanable { first_dirty, end, dirty_ppm: share as u32 })
    }

    /// Begins to compact; [`LogEvent::Cleaned`] follows unless a truncation or the end of the process comes before.
    pub fn clean(&mut self, now: Now, what: Cleanable, out: &mut Outbox) {
        let Some(config) = self.config.compaction.filter(|_| self.cleaning.is_none()) else { return };
        let first = self.segment_of(what.first_dirty);
        let retention = i64::try_from(config.delete_retention.as_millis()).unwrap_or(i64::MAX);
        self.clean_generation += 1;
        let mut cleaning = Cleaning {
            what,
            wall: now.wall,
            horizon: Timestamp(now.wall.0.saturating_add(retention)),
            latest: BTreeMap::new(),
            producers: self.producers.inspect().map(|(id, p)| (id, p.last_offset)).collect(),
            groups: self.groups_of_segments(what.end),
            stage: Stage::Map { at: first, scanner: self.scan_segment(first) },
            steps: 0,
        };
        self.read_chunk(&mut cleaning, out);
        self.cleaning = Some(Box::new(cleaning));
    }

    /// Whether it is being compacted.
    pub fn is_cleaning(&self) -> bool {
        self.cleaning.is_some()
    }

    /// Closed segments, those together that fit into one (Kafka: `Cleaner.groupSegmentsBySize`).
    fn groups_of_segments(&self, end: Offset) -> VecDeque<Vec<Offset>> {
        let mut groups: VecDeque<Vec<Offset>> = VecDeque::new();
        let mut size = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let stop = self.segment_end(at);
            if stop > end {
                break;
            }
            size += segment.size;
            let fits = |base: Offset| stop.0 - base.0 <= i64::from(i32::MAX) && size <= self.config.segment_bytes;
            match groups.back_mut() {
                Some(group) if fits(group[0]) => group.push(segment.base),
                _ => {
                    size = segment.size;
                    groups.push_back(vec![segment.base]);
                }
            }
        }
        groups
    }

    fn scan_segment(&self, at: usize) -> Scanner {
        let segment = &self.segments[at];
        Scanner::new(segment.file.clone(), 0, segment.size)
    }

    fn ask_cleaning(&mut self, c: &mut Cleaning, op: DiskOp, out: &mut Outbox) {
        c.steps += 1;
        self.ask(op, Purpose::Clean(self.clean_generation), out);
    }

    fn read_chunk(&mut self, c: &mut Cleaning, out: &mut Outbox) {
        let (Stage::Map { scanner, .. } | Stage::Copy { scanner, .. }) = &c.stage else { return };
        let read = scanner.read();
        self.ask_cleaning(c, read, out);
    }

    /// One of its operations is complete.
    pub(super) fn cleaning_stepped(
        &mut self,
        now: Now,
        reply: DiskReply,
        out: &mut Outbox,
        events: &mut Vec<LogEvent>,
    ) {
        let Some(mut c) = self.cleaning.take() else { return };
        c.steps -= 1;
        if let DiskReply::Data(buffers) = reply
            && !self.take_chunk(&mut c, &buffers.into_iter().next().unwrap_or_default(), out)
        {
            // Damaged: it is left as it is, and not tried again (Kafka: `markPartitionUncleanable`).
            self.uncleanable = true;
            self.cleaning = Some(c);
            for path in self.abort_cleaning(out) {
                self.ask(DiskOp::Delete { path }, Purpose::Plain, out);
            }
            return;
        }
        while c.steps == 0 {
            if !self.next_stage(now, &mut c, out) {
                out.trace(TraceEvent::Mark { mark: "log-cleaned" });
                events.push(LogEvent::Cleaned { up_to: c.what.end });
                return;
            }
        }
        self.cleaning = Some(c);
    }

    /// Looks at a chunk of a segment; false if it is damaged.
    fn take_chunk(&mut self, c: &mut Cleaning, data: &Bytes, out: &mut Outbox) -> bool {
        let (what, wall, horizon) = (c.what, c.wall, c.horizon);
        match &mut c.stage {
            Stage::Map { scanner, .. } => {
                let latest = &mut c.latest;
                let fed = scanner.feed(data, |header, _, batch| {
                    if !record::verify_crc(batch) {
                        return Visit::Bad;
                    }
                    if !header.is_control() && header.last_offset() >= what.first_dirty {
                        let Ok(plain) = record::decompressed(batch) else { return Visit::Bad };
                        for record in records(&plain).map_while(Result::ok) {
                            if let Some(key) = record.key.filter(|_| record.offset >= what.first_dirty) {
                                match latest.get_mut(key) {
                                    Some(offset) => *offset = record.offset,
                                    None => _ = latest.insert(Bytes::copy_from_slice(key), record.offset),
                                }
                            }
                        }
                    }
                    Visit::Go
                });
                matches!(fed, Fed::More | Fed::End)
            }
            Stage::Copy { group, nth, scanner, copy } => {
                let last = *nth + 1 == group.len();
                let size = scanner.len();
                let (epochs, producers, latest) = (&self.epochs, &c.producers, &c.latest);
                let mut kept = BytesMut::new();
                let mut tombstones_gone = false;
                let start = copy.size;
                let interval = self.config.index_interval_bytes;
                let at_once = self.defects.on(Defect::TombstonesWithoutHorizon);
                let fed = scanner.feed(data, |header, pos, batch| {
                    if !record::verify_crc(batch) {
                        return Visit::Bad;
                    }
                    let old = Timestamp(header.max_timestamp.0.saturating_add(horizon.0 - wall.0));
                    let gone_from = header.delete_horizon().or(at_once.then_some(old));
                    let mut keep = |r: &Record<'_>| {
                        header.is_control() || retains(latest, gone_from, r, wall, &mut tombstones_gone)
                    };
                    let Ok(left) = record::retain(batch, horizon, &mut keep) else { return Visit::Bad };
                    let needed = left.kept > 0
                        || producers.get(&header.producer_id) == Some(&header.last_offset())
                        || epochs.begins_in(header.leader_epoch, header.base_offset, header.last_offset())
                        || (last && pos + header.size() == size);
                    if needed {
                        let bytes = left.changed.as_deref().unwrap_or(batch);
                        let header = BatchHeader::parse(bytes).expect("just made, or walked over");
                        copy.note(&header, start + kept.len() as u64, interval);
                        kept.extend_from_slice(bytes);
                    }
                    Visit::Go
                });
                if tombstones_gone {
                    out.trace(TraceEvent::Mark { mark: "tombstone-removed" });
                }
                copy.size += kept.len() as u64;
                if !kept.is_empty() {
                    let op = DiskOp::Append { file: copy.file.clone(), data: kept.freeze() };
                    self.ask_cleaning(c, op, out);
                }
                matches!(fed, Fed::More | Fed::End)
            }
            _ => true,
        }
    }

    /// What comes next; false if that was all.
    fn next_stage(&mut self, now: Now, c: &mut Cleaning, out: &mut Outbox) -> bool {
        c.stage = match std::mem::replace(&mut c.stage, Stage::Begin) {
            Stage::Map { at, scanner } if !scanner.at_end() => Stage::Map { at, scanner },
            Stage::Map { at, .. } if self.segment_end(at) < c.what.end => {
                Stage::Map { at: at + 1, scanner: self.scan_segment(at + 1) }
            }
            Stage::Map { .. } => Stage::Begin,
            Stage::Begin => {
                let Some(group) = c.groups.pop_front() else { return false };
                let mut copy = Box::new(Segment::new(&self.dir, group[0], c.wall));
                copy.add_suffix(CLEANED);
                self.ask_cleaning(c, super::segment::create_file(&copy), out);
                let scanner = self.scan_segment(self.segment_of(group[0]));
                Stage::Copy { group, nth: 0, scanner, copy }
            }
            Stage::Copy { group, nth, scanner, copy } if !scanner.at_end() => Stage::Copy { group, nth, scanner, copy },
            Stage::Copy { group, nth, copy, .. } if nth + 1 < group.len() => {
                let scanner = self.scan_segment(self.segment_of(group[nth + 1]));
                Stage::Copy { group, nth: nth + 1, scanner, copy }
            }
            Stage::Copy { group, mut copy, .. } => {
                copy.note_time();
                for op in [copy.offsets.write(), copy.times.write()].into_iter().flatten() {
                    self.ask_cleaning(c, op, out);
                }
                Stage::Sync { group, copy }
            }
            Stage::Sync { group, copy } => {
                for file in copy.present_files() {
                    self.ask_cleaning(c, DiskOp::Fsync { file }, out);
                }
                Stage::Settle { group, copy }
            }
            Stage::Settle { group, copy } => {
                self.ask_cleaning(c, DiskOp::FsyncDir { dir: self.dir.clone() }, out);
                Stage::Swap { group, copy }
            }
            Stage::Swap { group, mut copy } => {
                let before = copy.present_files();
                copy.remove_suffix();
                copy.add_suffix(SWAP);
                // The log last: it is the one that counts.
                for (from, to) in before.into_iter().zip(copy.present_files()) {
                    self.ask_cleaning(c, DiskOp::Rename { from, to }, out);
                }
                Stage::Commit { group, copy }
            }
            Stage::Commit { group, copy } => {
                if !self.defects.on(Defect::SwapNotSynced) {
                    self.ask_cleaning(c, DiskOp::FsyncDir { dir: self.dir.clone() }, out);
                }
                Stage::Replace { group, copy }
            }
            Stage::Replace { group, copy } => {
                self.replace(now, c, &group, *copy, out);
                Stage::Removed { base: group[0] }
            }
            Stage::Removed { base } => {
                self.ask_cleaning(c, DiskOp::FsyncDir { dir: self.dir.clone() }, out);
                Stage::Name { base }
            }
            Stage::Name { base } => {
                self.name_copy(c, base, out);
                Stage::Named
            }
            Stage::Named => {
                self.ask_cleaning(c, DiskOp::FsyncDir { dir: self.dir.clone() }, out);
                out.trace(TraceEvent::Mark { mark: "segment-cleaned" });
                Stage::Begin
            }
        };
        self.read_chunk(c, out);
        true
    }

    /// The copy stands in for the segments it was made of, from now on.
    fn replace(&mut self, now: Now, c: &mut Cleaning, group: &[Offset], mut copy: Segment, out: &mut Outbox) {
        let first = self.segment_of(group[0]);
        let end = self.segment_end(first + group.len() - 1);
        copy.named = true;
        self.layout += 1;
        let old: Vec<Segment> = self.segments.splice(first..first + group.len(), [copy]).collect();
        let purpose = Purpose::Clean(self.clean_generation);
        for segment in &old {
            c.steps += self.discard(now, segment, purpose.clone(), out);
            if segment.base != group[0] && self.snapshots.remove(&segment.base) {
                let path = self.snapshot_file(segment.base);
                self.ask_cleaning(c, DiskOp::Delete { path }, out);
            }
        }
        self.tail.forget_below(end);
    }

    /// The copy gets the name of a segment, if it is still there.
    fn name_copy(&mut self, c: &mut Cleaning, base: Offset, out: &mut Outbox) {
        let Some(segment) = self.segments.iter_mut().find(|s| s.base == base) else { return };
        let before = segment.present_files();
        segment.remove_suffix();
        // The log first: indexes without it are nothing.
        for (from, to) in before.into_iter().zip(segment.present_files()).rev() {
            self.ask_cleaning(c, DiskOp::Rename { from, to }, out);
        }
    }

    /// A truncation, or the end, comes before the compaction is through. A copy that does not count yet is removed; one
    /// that does gets its name. Returns the names to be removed.
    pub(super) fn abort_cleaning(&mut self, out: &mut Outbox) -> Vec<Path> {
        let Some(mut c) = self.cleaning.take() else { return Vec::new() };
        let mut gone = Vec::new();
        match std::mem::replace(&mut c.stage, Stage::Begin) {
            Stage::Map { .. } | Stage::Begin | Stage::Named => {}
            Stage::Copy { copy, .. }
            | Stage::Sync { copy, .. }
            | Stage::Settle { copy, .. }
            | Stage::Swap { copy, .. }
            | Stage::Commit { copy, .. }
            | Stage::Replace { copy, .. } => {
                for suffix in [SWAP, CLEANED] {
                    gone.extend(
                        Segment::new(&self.dir, copy.base, c.wall).files().map(|file| with_suffix(file, suffix)),
                    );
                }
            }
            Stage::Removed { base } | Stage::Name { base } => self.name_copy(&mut c, base, out),
        }
        // What is under way still concerns nobody.
        self.clean_generation += 1;
        out.trace(TraceEvent::Mark { mark: "cleaning-aborted" });
        gone
    }
}

/// Whether a record stays; a tombstone does until its batch's delete horizon (Kafka: `Cleaner.shouldRetainRecord`).
fn retains(
    latest: &BTreeMap<Bytes, Offset>,
    horizon: Option<Timestamp>,
    record: &Record<'_>,
    now: Timestamp,
    tombstone_gone: &mut bool,
) -> bool {
    // Leaders refuse records without a key; what has none all the same is superseded by nothing and named by nobody.
    let Some(key) = record.key else { return false };
    if latest.get(key).is_some_and(|latest| record.offset < *latest) {
        return false;
    }
    let expired = record.value.is_none() && horizon.is_some_and(|horizon| now >= horizon);
    *tombstone_gone |= expired;
    !expired
}
