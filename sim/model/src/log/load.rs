//! Loading a log that an earlier incarnation left, and recovering it.
//!
//! After a clean shutdown indexes and the newest producer snapshot are taken as they are, and only what lies behind
//! them is read. Otherwise every segment from the recovery point on is read whole: checksums, structure and
//! order are verified, the log is cut at the first bad byte, later segments are deleted, and indexes, leader
//! epochs and producers' state are built anew. Nothing recovered counts as durable: the recovery point moves with the
//! next flush only (KAFKA-10101). A closed segment whose index is missing or makes no sense is read, and gets a new one.
//!
//! Below the recovery point a gap between batches, or between segments, is what compaction left, of this log or of the
//! leader it was copied from: what lies behind it is kept. Above, it is a write that did not come through. Follows Kafka's
//! `LogLoader` and `LogSegment.recover`.

use super::checkpoint::{self, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA};
use super::compaction::CLEANED;
use super::copies::Copies;
use super::flush::Snapshot;
use super::producers::Producers;
use super::recovery::Recovery;
use super::scan::{Fed, Scanner, Visit};
use super::segment::{self, Segment, parse_name};
use super::{Log, LogEvent, Phase, Purpose};
use crate::defects::Defect;
use crate::disk::{DiskError, DiskOp, DiskReply, FileEntry, ReadRange};
use crate::ids::*;
use crate::limits::{SCAN_CHUNK_BYTES, SNAPSHOTS_TRIED};
use crate::node::Outbox;
use crate::record::{self, BATCH_HEADER_SIZE, BatchHeader};
use crate::small_map::Few;
use crate::units::Now;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// How a log is found on disk.
#[derive(Clone, Debug)]
pub struct LoadArgs {
    /// Whether the last shutdown was clean: nothing is checked then.
    pub clean: bool,
    /// Everything below it was flushed (from `recovery-point-offset-checkpoint`).
    pub recovery_point: Offset,
    /// First offset (from `log-start-offset-checkpoint`).
    pub log_start: Offset,
    /// Whether compaction may have left gaps between batches; elsewhere they are damage.
    pub gaps: bool,
    /// A log that must hold everything below this offset is not cut to less: [`LogEvent::Damaged`] comes instead.
    pub needed: Offset,
    /// What the directory holds; files of other directories are passed over.
    pub files: Vec<FileEntry>,
}

/// A load under way.
#[derive(Debug)]
pub(super) struct Loading {
    clean: bool,
    gaps: bool,
    needed: Offset,
    /// Too little of it is left: the segment, the place in it, and the offset that should follow there.
    damaged: Option<(Offset, u64, Offset)>,
    recovery_point: Offset,
    log_start: Offset,
    /// Segments from this one on are verified.
    verify_from: usize,
    /// Segments before those that get new indexes.
    reindex: BTreeSet<usize>,
    /// What was asked for in the first read; empty once it came.
    parts: Vec<Part>,
    topic_id: Option<TopicId>,
    /// Epochs are built anew from all that is scanned.
    epochs_lost: bool,
    epochs_changed: bool,
    /// Producers' state is known up to here; batches beyond add to it.
    producers_at: Offset,
    snapshot_useless: bool,
    /// Segments from this one on are read.
    read_from: usize,
    at: usize,
    scanner: Option<Scanner>,
    /// How far the index of the segment being scanned reaches.
    indexed: Option<u64>,
    /// Where the scan of that segment began: an entry of its index said that a batch begins there.
    began_at: u64,
    /// A batch whose epoch the file of epochs does not know there.
    contradicted: Option<Offset>,
    expected: Option<Offset>,
    found: Recovery,
    scanned: bool,
    /// Changes asked of the disk and not complete.
    pub(super) steps: u32,
    /// Names of compacted copies were changed: the directory is to be fsynced before the log is used.
    pub(super) names: bool,
    /// What an interrupted compaction left.
    pub(super) copies: Option<Copies>,
}

impl Loading {
    /// Whether what comes before `base` may be missing.
    fn may_be_a_gap(&self, base: Offset) -> bool {
        self.gaps || self.clean || base <= self.recovery_point
    }
}

/// One buffer of the first read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Epochs,
    Metadata,
    Offsets(usize),
    Times(usize),
    FirstHeader(usize),
    Snapshot(Offset),
}

impl Log {
    /// Loads what is there; [`LogEvent::Loaded`] follows.
    pub fn load(&mut self, now: Now, args: LoadArgs, out: &mut Outbox) {
        let loading = Loading {
            clean: args.clean,
            gaps: args.gaps,
            needed: args.needed,
            damaged: None,
            recovery_point: args.recovery_point.max(Offset(0)),
            log_start: args.log_start.max(Offset(0)),
            verify_from: usize::MAX,
            reindex: BTreeSet::new(),
            parts: Vec::new(),
            topic_id: None,
            epochs_lost: false,
            epochs_changed: false,
            producers_at: Offset(0),
            snapshot_useless: false,
            read_from: 0,
            at: 0,
            scanner: None,
            indexed: None,
            began_at: 0,
            contradicted: None,
            expected: None,
            found: Recovery::default(),
            scanned: false,
            steps: 0,
            names: false,
            copies: None,
        };
        self.sort_copies_out(now, args, loading, out);
    }

    /// Loads what the files are, copies of a compaction apart.
    pub(super) fn load_files(&mut self, now: Now, args: &LoadArgs, mut loading: Loading, out: &mut Outbox) {
        let mut files: BTreeMap<(Offset, &str), u64> = BTreeMap::new();
        let mut small: BTreeMap<&str, u64> = BTreeMap::new();
        let dir = self.dir.clone();
        for entry in args.files.iter().filter(|f| f.path.parent() == dir) {
            let name = entry.path.file_name();
            let stray = [".deleted", CLEANED, ".tmp"].iter().any(|s| name.ends_with(s));
            match parse_name(name) {
                _ if stray => self.step(&mut loading, DiskOp::Delete { path: entry.path.clone() }, out),
                Some((base, suffix)) => _ = files.insert((base, suffix), entry.len),
                None => _ = small.insert(name, entry.len),
            }
        }
        for &(base, suffix) in files.keys() {
            if suffix == ".log" {
                let mut segment = Segment::new(&self.dir, base, now.wall);
                segment.size = files[&(base, suffix)];
                self.segments.push(segment);
            } else if [".index", ".timeindex", ".txnindex"].contains(&suffix) && !files.contains_key(&(base, ".log")) {
                let path = self.dir.join(&format!("{}{suffix}", segment::stem(base)));
                self.step(&mut loading, DiskOp::Delete { path }, out);
            }
        }
        if !loading.clean && !self.segments.is_empty() {
            loading.verify_from = self.segment_of(loading.recovery_point);
        }
        self.snapshots = files.keys().filter(|(_, suffix)| *suffix == ".snapshot").map(|&(base, _)| base).collect();
        let newest_usable = self.segments.get(loading.verify_from).map_or(Offset(i64::MAX), |s| s.base);
        self.drop_snapshots(&mut loading, newest_usable, out);

        let mut ranges = Few::new();
        let mut want = |part, path, len| {
            loading.parts.push(part);
            ranges.push(ReadRange { file: path, pos: 0, len });
        };
        for (name, part) in [(LEADER_EPOCH_CHECKPOINT, Part::Epochs), (PARTITION_METADATA, Part::Metadata)] {
            if let Some(&len) = small.get(name) {
                want(part, self.dir.join(name), len);
            }
        }
        // The first batch and the last segment's tell whether the file of epochs is this log's. A read of every segment
        // would cost a start as many seeks, and bring the whole log into the page cache.
        let first = self.segments.iter().position(|segment| segment.size > 0);
        for (at, segment) in self.segments.iter().enumerate().take(loading.verify_from) {
            match files.get(&(segment.base, ".index")) {
                Some(&len) => want(Part::Offsets(at), segment.offsets.file.clone(), len),
                // A short segment has none.
                None if segment.size > self.config.index_interval_bytes.saturating_add(SCAN_CHUNK_BYTES) => {
                    loading.reindex.insert(at);
                }
                None => {}
            }
            match files.get(&(segment.base, ".timeindex")) {
                Some(&len) if len > 0 => want(Part::Times(at), segment.times.file.clone(), len),
                // Every segment has at least one entry here when it is closed.
                _ if segment.size > 0 => _ = loading.reindex.insert(at),
                _ => {}
            }
            if segment.size > 0 && (Some(at) == first || at + 1 == self.segments.len()) {
                want(Part::FirstHeader(at), segment.file.clone(), BATCH_HEADER_SIZE as u64);
            }
        }
        for &offset in self.snapshots.iter().rev().take(SNAPSHOTS_TRIED) {
            want(Part::Snapshot(offset), self.snapshot_file(offset), files[&(offset, ".snapshot")]);
        }
        loading.epochs_lost = !small.contains_key(LEADER_EPOCH_CHECKPOINT);
        self.phase = Phase::Loading(Box::new(loading));
        self.ask(DiskOp::Read { ranges }, Purpose::Scan(self.generation), out);
    }

    pub(super) fn step(&mut self, loading: &mut Loading, op: DiskOp, out: &mut Outbox) {
        loading.steps += 1;
        self.ask(op, Purpose::Step, out);
    }

    /// Snapshots beyond `newest` tell of what may be gone; those not beyond the log start, of nothing.
    fn drop_snapshots(&mut self, loading: &mut Loading, newest: Offset, out: &mut Outbox) {
        let keep = |o: &Offset| *o <= newest && *o > loading.log_start;
        let useless: Vec<Offset> = self.snapshots.iter().copied().filter(|o| !keep(o)).collect();
        for offset in useless {
            self.snapshots.remove(&offset);
            let path = self.snapshot_file(offset);
            self.step(loading, DiskOp::Delete { path }, out);
        }
    }

    pub(super) fn load_scanned(&mut self, now: Now, reply: DiskReply, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        if let (Phase::Loading(l), DiskReply::Data(contents)) = (&self.phase, &reply)
            && l.copies.is_some()
        {
            return self.remove_replaced(now, contents, out);
        }
        let Phase::Loading(mut loading) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        let buffers = if let DiskReply::Data(buffers) = reply { buffers } else { Few::new() };
        let l = &mut *loading;
        if l.scanner.is_none() {
            self.take_parts(now, l, &buffers);
            self.begin_scan(now, l, out);
        } else {
            self.scan_chunk(l, buffers.first().unwrap_or(&Bytes::new()), out);
        }
        while !l.scanned && l.scanner.is_none() {
            self.next_segment(now, l, out);
        }
        if let Some(scanner) = &l.scanner {
            let read = scanner.read();
            self.ask(read, Purpose::Scan(self.generation), out);
        }
        self.phase = Phase::Loading(loading);
        self.load_stepped(out, events);
    }

    fn take_parts(&mut self, now: Now, l: &mut Loading, buffers: &[Bytes]) {
        let mut snapshot = None;
        for (part, data) in std::mem::take(&mut l.parts).into_iter().zip(buffers) {
            match part {
                Part::Epochs => match checkpoint::parse_epochs(data) {
                    Ok(entries) => self.epochs.restore(&entries),
                    Err(_) => {
                        l.epochs_lost = true;
                        l.found.bad_files += 1;
                    }
                },
                // Whether it counts as bad is known when its topic is.
                Part::Metadata => l.topic_id = checkpoint::parse_partition_metadata(data),
                Part::Offsets(at) => {
                    if !self.segments[at].restore_offsets(data) {
                        l.reindex.insert(at);
                    }
                }
                Part::Times(at) => {
                    if !self.segments[at].restore_times(data) {
                        l.reindex.insert(at);
                    }
                }
                Part::FirstHeader(at) => {
                    let header = BatchHeader::parse(data).ok();
                    self.segments[at].first_timestamp = header.map(|h| h.max_timestamp);
                    // A file of epochs that contradicts the batches is another log's, or an older one.
                    let told = header.filter(|h| h.leader_epoch.0 >= 0 && !l.epochs_lost);
                    if let Some(h) = told.filter(|h| self.epochs.for_offset(h.base_offset) != Some(h.leader_epoch)) {
                        l.contradicted.get_or_insert(h.base_offset);
                    }
                }
                Part::Snapshot(offset) if snapshot.is_none() => {
                    snapshot = Producers::restore(data, offset).map(|p| (offset, p));
                    l.found.bad_files += u32::from(snapshot.is_none());
                }
                Part::Snapshot(_) => {}
            }
        }
        if l.contradicted.is_some() {
            l.epochs_lost = true;
            l.found.bad_files += 1;
            self.epochs.clear();
        }
        l.found.indexes_rebuilt = l.reindex.len() as u32;
        for (at, segment) in self.segments.iter_mut().enumerate() {
            segment.named = at < l.verify_from;
            if at >= l.verify_from || l.reindex.contains(&at) {
                segment.reset_indexes();
            }
        }
        if let Some(first) = self.segments.get(l.verify_from) {
            // The file may be older than the last truncation; what is verified tells anew.
            l.epochs_changed |= self.epochs.truncate_from_end(first.base);
        }
        l.producers_at = l.log_start;
        if let Some((offset, producers)) = snapshot {
            self.producers = producers;
            self.producers.remove_expired(now.wall, self.config.producer_id_expiration);
            l.producers_at = offset;
        }
    }

    /// From where the producers' state needs it, or the first segment to be verified, or (without epochs) everywhere.
    fn begin_scan(&mut self, now: Now, l: &mut Loading, out: &mut Outbox) {
        if self.segments.is_empty() {
            l.epochs_lost = false;
            self.end_scan(now, Offset(0), l, out);
            return;
        }
        l.read_from = self.segment_of(l.producers_at).min(l.verify_from);
        if l.epochs_lost {
            l.read_from = 0;
        }
        l.at = l.reindex.first().map_or(l.read_from, |&first| first.min(l.read_from));
        l.expected = None;
        self.open_segment(l);
    }

    fn open_segment(&mut self, l: &mut Loading) {
        let segment = &self.segments[l.at];
        l.indexed = None;
        let mut pos = 0;
        if l.at < l.verify_from {
            l.indexed = segment.offsets.entries.last().map(|e| u64::from(e.pos));
            let needed = if l.epochs_lost { Offset(0) } else { l.producers_at };
            pos = if l.reindex.contains(&l.at) { 0 } else { segment.floor(needed) };
        }
        if pos == 0 {
            l.expected = Some(segment.base);
        }
        l.began_at = pos;
        l.scanner = Some(Scanner::new(segment.file.clone(), pos, segment.size));
    }

    fn scan_chunk(&mut self, l: &mut Loading, data: &Bytes, out: &mut Outbox) {
        let mut scanner = l.scanner.take().expect("a scan is under way");
        let verify = l.at >= l.verify_from;
        let (interval, defects) = (self.config.index_interval_bytes, self.defects);
        let segment = &mut self.segments[l.at];
        let (epochs, producers) = (&mut self.epochs, &mut self.producers);
        let fed = scanner.feed(data, |header, pos, batch| {
            let in_reach = header.last_offset().0 - segment.base.0 <= i64::from(i32::MAX);
            let follows =
                |e: Offset| e == header.base_offset || e < header.base_offset && l.may_be_a_gap(header.base_offset);
            let in_place = l.expected.is_none_or(follows) && header.base_offset >= segment.base;
            if !in_reach || !in_place || (verify && !record::verify_crc(batch)) {
                return Visit::Bad;
            }
            if l.indexed.is_some_and(|reach| pos <= reach) {
                segment.skip(header);
            } else {
                segment.note(header, pos, interval);
            }
            // An earlier one, too: then what the file says of a later one is wrong.
            let other = epochs.latest() != Some(header.leader_epoch);
            if (verify || l.epochs_lost) && header.leader_epoch.0 >= 0 && other {
                l.epochs_changed |= epochs.put(header.leader_epoch, header.base_offset);
            }
            let skipped = defects.on(Defect::LoadSkipsBatchAtSnapshot) && header.base_offset == l.producers_at;
            if header.last_offset() >= l.producers_at && !skipped {
                producers.update(header, batch, defects);
            }
            l.expected = Some(header.next_offset());
            Visit::Go
        });
        match fed {
            Fed::More => l.scanner = Some(scanner),
            Fed::End => {}
            // Nothing was read: it is the index that leads astray, not the log that is damaged.
            Fed::Bad if !verify && l.began_at > 0 && scanner.pos == l.began_at => {
                l.reindex.insert(l.at);
                l.found.indexes_rebuilt += 1;
                self.segments[l.at].reset_indexes();
                l.expected = None;
                self.open_segment(l);
            }
            // Nothing asked for this segment to be checked: it stays as it is.
            Fed::Stopped | Fed::Bad if !verify && l.at + 1 < self.segments.len() => l.expected = None,
            Fed::Stopped | Fed::Bad => self.cut(scanner.pos, l, out),
        }
    }

    /// Cuts the segment being scanned at `pos`, and deletes those after it.
    fn cut(&mut self, pos: u64, l: &mut Loading, out: &mut Outbox) {
        let at = l.at;
        let end = l.expected.unwrap_or(self.segments[at].base);
        if end < l.needed {
            l.damaged = Some((self.segments[at].base, pos, end));
            l.scanned = true;
            return;
        }
        l.found.scanned = true;
        for segment in self.segments.split_off(at + 1) {
            l.found.cut_bytes += segment.size;
            l.found.segments_removed += 1;
            for path in segment.files() {
                self.step(l, DiskOp::Delete { path: path.clone() }, out);
            }
        }
        let segment = &mut self.segments[at];
        if pos < segment.size {
            l.found.cut_bytes += segment.size - pos;
            segment.note_time();
            let mut ops = Vec::new();
            let created = segment.max_timestamp.unwrap_or_default().0;
            segment.truncate(pos, end, created, &mut ops);
            for op in ops {
                self.step(l, op, out);
            }
        }
    }

    /// After one segment: the next, or the end.
    fn next_segment(&mut self, now: Now, l: &mut Loading, out: &mut Outbox) {
        let end = l.expected.unwrap_or(self.segments[l.at].base);
        if let (Some(next), Some(expected)) = (self.segments.get(l.at + 1), l.expected)
            && (next.base < expected || next.base > expected && !l.may_be_a_gap(next.base))
        {
            let size = self.segments[l.at].size;
            self.cut(size, l, out);
            if l.scanned {
                return;
            }
        }
        if l.at + 1 < self.segments.len() {
            let next = l.at + 1;
            if l.reindex.contains(&l.at) {
                self.segments[l.at].note_time();
            }
            // Before the first that is read anyway, only those are that get new indexes.
            let reindexed = l.reindex.range(next..).next().map_or(l.read_from, |&at| at.min(l.read_from));
            l.at = next.max(reindexed);
            if l.at == next && l.at >= l.verify_from && end > l.producers_at {
                self.segments[l.at - 1].note_time();
                self.flush.snapshots.push(Snapshot { offset: end, content: self.producers.snapshot() });
                self.snapshots.insert(end);
            }
            self.open_segment(l);
            return;
        }
        if end < l.producers_at && !l.snapshot_useless && l.producers_at > l.log_start {
            // The snapshot tells of more than the log holds.
            l.snapshot_useless = true;
            self.producers.clear();
            self.drop_snapshots(l, Offset(-1), out);
            l.producers_at = l.log_start;
            l.at = self.segment_of(l.producers_at);
            l.read_from = l.at;
            l.verify_from = usize::MAX;
            l.expected = None;
            self.open_segment(l);
            return;
        }
        if end < l.log_start {
            // As Kafka does: what is there cannot be of the log that begins there.
            let files: Vec<_> = self.segments.drain(..).flat_map(|s| s.files().map(Clone::clone)).collect();
            for path in files {
                self.step(l, DiskOp::Delete { path }, out);
            }
            self.epochs.clear();
            self.producers.clear();
        }
        self.end_scan(now, end, l, out);
    }

    fn end_scan(&mut self, now: Now, end: Offset, l: &mut Loading, out: &mut Outbox) {
        l.scanned = true;
        if end < l.needed {
            let (base, size) = self.segments.last().map_or((end, 0), |s| (s.base, s.size));
            l.damaged = Some((base, size, end));
            return;
        }
        let mut end = end;
        if self.segments.is_empty() {
            end = l.log_start;
            let segment = Segment::new(&self.dir, end, now.wall);
            self.step(l, segment::create_file(&segment), out);
            self.segments.push(segment);
        }
        self.drop_snapshots(l, end, out);
        self.flush.snapshots.retain(|s| s.offset <= end);
        self.log_start = l.log_start.max(self.segments[0].base);
        self.next_offset = end;
        self.completed = end;
        self.log_end = end;
        let untouched = l.clean && !l.found.scanned;
        self.recovery_point = if untouched { end } else { l.recovery_point.min(end) };
        l.found.scanned |= !l.clean;
        // An epoch that begins before the first segment tells of segments that are gone: retention moves both.
        let before_first = self.epochs.entries().first().is_some_and(|(_, start)| *start < self.segments[0].base);
        l.found.behind = end < l.recovery_point || before_first;
        let cut = self.epochs.truncate_from_end(end) | self.epochs.truncate_from_start(self.log_start);
        if cut || l.epochs_changed {
            self.epochs.write(out);
        }
    }

    /// Done, if everything asked for is.
    pub(super) fn load_stepped(&mut self, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        let Phase::Loading(l) = &mut self.phase else { return };
        if let Some((segment, pos, end)) = l.damaged.filter(|_| l.steps == 0) {
            self.phase = Phase::Failed(DiskError::Io);
            return events.push(LogEvent::Damaged { segment, pos, end });
        }
        if l.scanned && l.steps == 0 {
            if std::mem::take(&mut l.names) {
                l.steps = 1;
                return self.ask(DiskOp::FsyncDir { dir: self.dir.clone() }, Purpose::Step, out);
            }
            let (recovery, topic_id) = (l.found, l.topic_id);
            self.phase = Phase::Ready;
            events.push(LogEvent::Loaded { recovery, topic_id });
        }
    }

    pub(super) fn stepped(&mut self, now: Now, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        match &mut self.phase {
            Phase::Loading(l) => {
                l.steps -= 1;
                self.copies_stepped(now, out);
                self.load_stepped(out, events);
            }
            Phase::Truncating(t) => {
                t.steps -= 1;
                self.truncate_progress(out, events);
            }
            _ => {}
        }
    }

    pub(super) fn scanned(&mut self, now: Now, reply: DiskReply, out: &mut Outbox, events: &mut Vec<LogEvent>) {
        match self.phase {
            Phase::Loading(_) => self.load_scanned(now, reply, out, events),
            Phase::Truncating(_) => self.truncate_scanned(reply, out, events),
            _ => {}
        }
    }
}
