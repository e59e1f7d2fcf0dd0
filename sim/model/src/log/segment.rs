//! One segment: a `.log` file of batches, its sparse `.index` and `.timeindex`, and the names of them all.
//!
//! Entries of the indexes are Kafka's: offset relative to the segment's base and position, 4 bytes each, for the last
//! offset of a batch and where the batch begins; timestamp (8 bytes) and relative offset (4). Kafka maps these files
//! into memory; here entries gather in memory and are appended to their files when the segment is closed, which is
//! all that a clean start relies on. Follows Kafka's `LogSegment`, `OffsetIndex`, `TimeIndex`.

use super::LogConfig;
use crate::disk::{DiskOp, Path};
use crate::ids::Offset;
use crate::record::BatchHeader;
use crate::units::Timestamp;
use bytes::{BufMut, Bytes, BytesMut};

/// `<20 digits>`, the stem of a segment's files.
pub(super) fn stem(base: Offset) -> String {
    format!("{:020}", base.0)
}

/// The base offset and suffix in a file name such as `00000000000000000042.log`.
pub(super) fn parse_name(name: &str) -> Option<(Offset, &str)> {
    let (stem, suffix) = name.split_at_checked(20)?;
    if !stem.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Room for any offset relative to it.
    let base = stem.parse().ok().filter(|&b: &i64| b < i64::MAX >> 1)?;
    Some((Offset(base), suffix))
}

/// An entry of an index.
pub(super) trait IndexEntry: Copy {
    const SIZE: usize;
    fn put(self, out: &mut BytesMut);
    fn get(bytes: &[u8]) -> Self;
}

/// The last offset of a batch, relative, and where the batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OffsetEntry {
    pub(super) relative: u32,
    pub(super) pos: u32,
}

impl IndexEntry for OffsetEntry {
    const SIZE: usize = 8;
    fn put(self, out: &mut BytesMut) {
        out.put_u32(self.relative);
        out.put_u32(self.pos);
    }
    fn get(bytes: &[u8]) -> Self {
        OffsetEntry { relative: be32(bytes), pos: be32(&bytes[4..]) }
    }
}

/// Up to and including this offset, no record is younger than this time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimeEntry {
    pub(super) timestamp: Timestamp,
    pub(super) relative: u32,
}

impl IndexEntry for TimeEntry {
    const SIZE: usize = 12;
    fn put(self, out: &mut BytesMut) {
        out.put_i64(self.timestamp.0);
        out.put_u32(self.relative);
    }
    fn get(bytes: &[u8]) -> Self {
        let timestamp = i64::from_be_bytes(*bytes.first_chunk().expect("an entry's size"));
        TimeEntry { timestamp: Timestamp(timestamp), relative: be32(&bytes[8..]) }
    }
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().expect("an entry's size"))
}

/// An index in memory, and how much of it its file holds.
#[derive(Clone, Debug)]
pub(super) struct Index<E> {
    pub(super) file: Path,
    pub(super) entries: Vec<E>,
    written: usize,
    /// The file may hold anything: write it anew.
    rewrite: bool,
}

impl<E: IndexEntry> Index<E> {
    fn new(file: Path) -> Index<E> {
        Index { file, entries: Vec::new(), written: 0, rewrite: false }
    }

    /// From its file, as far as `sane` holds between an entry and the one before it; whether that was all. A file that
    /// was made longer than its entries beforehand, as Kafka makes them, ends in zeros.
    fn restore(&mut self, data: &[u8], sane: impl Fn(Option<&E>, &E) -> bool) -> bool {
        for bytes in data.chunks_exact(E::SIZE) {
            let entry = E::get(bytes);
            if !sane(self.entries.last(), &entry) {
                break;
            }
            self.entries.push(entry);
        }
        self.written = self.entries.len();
        self.rewrite = self.written * E::SIZE != data.len();
        !self.rewrite
    }

    fn reset(&mut self) {
        self.entries.clear();
        self.written = 0;
        self.rewrite = true;
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.rewrite || self.written < self.entries.len()
    }

    /// What brings the file up to date.
    pub(super) fn write(&mut self) -> Option<DiskOp> {
        if !self.is_dirty() {
            return None;
        }
        let from = if self.rewrite { 0 } else { self.written };
        let mut data = BytesMut::with_capacity((self.entries.len() - from) * E::SIZE);
        for &entry in &self.entries[from..] {
            entry.put(&mut data);
        }
        let (file, data) = (self.file.clone(), data.freeze());
        let op = if self.rewrite { DiskOp::Write { file, data } } else { DiskOp::Append { file, data } };
        self.rewrite = false;
        self.written = self.entries.len();
        Some(op)
    }

    fn truncate(&mut self, keep: usize) -> Option<DiskOp> {
        self.entries.truncate(keep);
        if self.written <= self.entries.len() {
            return None;
        }
        self.written = self.entries.len();
        // The cut is durable only once the file is fsynced, and nothing else may ever be added to it: without this a
        // power loss could bring back entries that lead astray in a segment that counts as flushed.
        self.rewrite = true;
        Some(DiskOp::Truncate { file: self.file.clone(), len: (self.written * E::SIZE) as u64 })
    }
}

/// One segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) base: Offset,
    pub(super) file: Path,
    /// Bytes, in flight ones included.
    pub(super) size: u64,
    pub(super) offsets: Index<OffsetEntry>,
    pub(super) times: Index<TimeEntry>,
    since_entry: u64,
    /// The largest timestamp so far and the last offset of its batch.
    pub(super) max_timestamp: Option<(Timestamp, Offset)>,
    /// The first batch's largest timestamp: the segment's age counts from there.
    pub(super) first_timestamp: Option<Timestamp>,
    created: Timestamp,
    /// Whether its name in the directory is known to be durable.
    pub(super) named: bool,
    /// Its file was cut, and not fsynced since: a power loss may bring back what was cut, in front of the next segment.
    pub(super) cut: bool,
    /// No batch in it ends beyond this offset. Learnt by reading: a segment may end before the next one begins.
    nothing_from: Offset,
}

impl Segment {
    pub(super) fn new(dir: &Path, base: Offset, created: Timestamp) -> Segment {
        let stem = stem(base);
        Segment {
            base,
            file: dir.join(&format!("{stem}.log")),
            size: 0,
            offsets: Index::new(dir.join(&format!("{stem}.index"))),
            times: Index::new(dir.join(&format!("{stem}.timeindex"))),
            since_entry: 0,
            max_timestamp: None,
            first_timestamp: None,
            created,
            named: false,
            cut: false,
            nothing_from: Offset(i64::MAX),
        }
    }

    /// Takes the content of its `.index`; nonsense in it, and all after, is dropped. Whether there was none.
    pub(super) fn restore_offsets(&mut self, data: &[u8]) -> bool {
        let size = self.size;
        self.offsets.restore(data, |before, e| {
            u64::from(e.pos) < size && before.is_none_or(|b| b.relative < e.relative && b.pos < e.pos)
        })
    }

    /// Takes the content of its `.timeindex`; nonsense in it, and all after, is dropped. Whether there was none.
    pub(super) fn restore_times(&mut self, data: &[u8]) -> bool {
        let whole = self
            .times
            .restore(data, |before, e| before.is_none_or(|b| b.relative <= e.relative && b.timestamp < e.timestamp));
        self.max_timestamp = self.last_time();
        whole
    }

    fn last_time(&self) -> Option<(Timestamp, Offset)> {
        self.times.entries.last().map(|e| (e.timestamp, self.base.plus(i64::from(e.relative))))
    }

    /// Forgets both indexes: they will be built anew from the log.
    pub(super) fn reset_indexes(&mut self) {
        self.offsets.reset();
        self.times.reset();
        self.since_entry = 0;
        self.max_timestamp = None;
        self.first_timestamp = None;
    }

    pub(super) fn indexes_dirty(&self) -> bool {
        self.offsets.is_dirty() || self.times.is_dirty()
    }

    fn relative(&self, offset: Offset) -> u32 {
        u32::try_from(offset.0 - self.base.0).expect("a segment spans fewer than 2^31 offsets")
    }

    /// It was read, and no batch in it ends beyond `offset`.
    pub(super) fn ends_at_most(&mut self, offset: Offset) {
        self.nothing_from = self.nothing_from.min(offset);
    }
    /// Whether it is known that no batch in it ends beyond `offset`.
    pub(super) fn is_below(&self, offset: Offset) -> bool {
        self.size == 0 || self.nothing_from <= offset
    }

    /// Accounts for a batch at `pos`.
    #[inline]
    pub(super) fn note(&mut self, header: &BatchHeader, pos: u64, index_interval: u64) {
        self.nothing_from = Offset(i64::MAX);
        if self.max_timestamp.is_none_or(|(t, _)| header.max_timestamp > t) {
            self.max_timestamp = Some((header.max_timestamp, header.last_offset()));
        }
        if pos == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if self.since_entry > index_interval {
            let relative = self.relative(header.last_offset());
            self.offsets.entries.push(OffsetEntry { relative, pos: pos as u32 });
            self.note_time();
            self.since_entry = 0;
        }
        self.since_entry += header.size();
    }

    /// While scanning: a batch that the index already reaches.
    pub(super) fn skip(&mut self, header: &BatchHeader) {
        self.since_entry = header.size();
    }

    /// Adds the largest timestamp to the time index, if it has grown; done once more when a segment is closed.
    pub(super) fn note_time(&mut self) {
        let Some((timestamp, offset)) = self.max_timestamp else { return };
        let relative = self.relative(offset);
        if self.times.entries.last().is_none_or(|e| timestamp > e.timestamp && relative >= e.relative) {
            self.times.entries.push(TimeEntry { timestamp, relative });
        }
    }

    /// Whether a new segment must be begun before `bytes` more with these offsets and times.
    pub(super) fn is_full(
        &self,
        config: &LogConfig,
        bytes: u64,
        last: Offset,
        timestamp: Timestamp,
        wall: Timestamp,
    ) -> bool {
        if last.0 - self.base.0 > i64::from(i32::MAX) {
            return true;
        }
        let after = self.size + bytes;
        let aged = match self.first_timestamp {
            Some(first) if first.0 >= 0 => timestamp.0.saturating_sub(first.0),
            _ => wall.0.saturating_sub(self.created.0),
        };
        let old = u64::try_from(aged).unwrap_or(0) > config.roll.as_millis();
        self.size > 0 && (after > config.segment_bytes || after > i32::MAX as u64 || old)
    }

    /// A place at or before the batch that holds `offset`.
    pub(super) fn floor(&self, offset: Offset) -> u64 {
        let relative = offset.0 - self.base.0;
        let after = self.offsets.entries.partition_point(|e| i64::from(e.relative) <= relative);
        after.checked_sub(1).map_or(0, |i| u64::from(self.offsets.entries[i].pos))
    }

    /// A place at or after the end of the batch that holds `offset`: the second entry from it on, for the first may
    /// be that very batch's.
    pub(super) fn ceiling(&self, offset: Offset) -> u64 {
        let relative = offset.0 - self.base.0;
        let at = self.offsets.entries.partition_point(|e| i64::from(e.relative) < relative);
        self.offsets.entries.get(at + 1).map_or(self.size, |e| u64::from(e.pos))
    }

    /// The bytes in which the first record at or after a time must lie, if there is one.
    pub(super) fn range_of_time(&self, at: Timestamp) -> (u64, u64) {
        let after = self.times.entries.partition_point(|e| e.timestamp < at);
        let from = after.checked_sub(1).map(|i| self.times.entries[i].relative);
        let from = from.map_or(0, |r| self.floor(self.base.plus(i64::from(r))));
        let to = self.times.entries.get(after).map(|e| self.base.plus(i64::from(e.relative)));
        (from, to.map_or(self.size, |offset| self.ceiling(offset)))
    }

    /// Cuts it to `pos`, where `offset` would be next.
    pub(super) fn truncate(&mut self, pos: u64, offset: Offset, wall: Timestamp, ops: &mut Vec<DiskOp>) {
        ops.push(DiskOp::Truncate { file: self.file.clone(), len: pos });
        (self.size, self.cut) = (pos, true);
        let relative = offset.0 - self.base.0;
        let keep = self.offsets.entries.partition_point(|e| i64::from(e.relative) < relative && u64::from(e.pos) < pos);
        ops.extend(self.offsets.truncate(keep));
        let keep = self.times.entries.partition_point(|e| i64::from(e.relative) < relative);
        ops.extend(self.times.truncate(keep));
        self.since_entry = 0;
        self.max_timestamp = self.last_time();
        if pos == 0 {
            self.first_timestamp = None;
            self.created = wall;
        }
    }

    /// Shifts what lies after a batch of `size` bytes at `pos` that was never written.
    pub(super) fn close_gap(&mut self, pos: u64, size: u64) {
        self.size -= size;
        self.offsets.entries.retain(|e| u64::from(e.pos) != pos);
        for entry in self.offsets.entries.iter_mut().filter(|e| u64::from(e.pos) > pos) {
            entry.pos -= size as u32;
        }
    }

    /// Its files are such beside the log, under this suffix.
    pub(super) fn add_suffix(&mut self, suffix: &str) {
        for file in [&mut self.file, &mut self.offsets.file, &mut self.times.file] {
            *file = with_suffix(file, suffix);
        }
    }
    /// Its files bear their own names again.
    pub(super) fn remove_suffix(&mut self) {
        for file in [&mut self.file, &mut self.offsets.file, &mut self.times.file] {
            let kept = file.as_str().rsplit_once('.').map(|(stem, _)| Path::new(stem));
            *file = kept.unwrap_or_else(|| file.clone());
        }
    }
    /// Those of its files that were written, the log last.
    pub(super) fn present_files(&self) -> Vec<Path> {
        let indexes = [(&self.offsets.file, self.offsets.written), (&self.times.file, self.times.written)];
        let written = indexes.into_iter().filter(|(_, entries)| *entries > 0).map(|(file, _)| file.clone());
        written.chain([self.file.clone()]).collect()
    }

    /// Its files.
    pub(super) fn files(&self) -> [&Path; 3] {
        [&self.file, &self.offsets.file, &self.times.file]
    }
}

/// A file's name while it stands beside the log.
pub(super) fn with_suffix(file: &Path, suffix: &str) -> Path {
    Path::new(format!("{file}{suffix}"))
}

/// An operation that creates an empty log file.
pub(super) fn create_file(segment: &Segment) -> DiskOp {
    DiskOp::Write { file: segment.file.clone(), data: Bytes::new() }
}
