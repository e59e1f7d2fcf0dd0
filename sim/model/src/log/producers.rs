//! What a partition remembers of idempotent producers (KIP-98): for each the epoch and its last five batches, so that
//! a repeated batch is recognised and a gap refused. Rebuilt from a snapshot file and the log behind it.
//!
//! Follows Kafka's `ProducerStateManager`, `ProducerStateEntry` and `ProducerAppendInfo`; the snapshot's bytes are
//! Kafka's (`ProducerSnapshot.json`, version 1). Transactions are kept only as far as the snapshot names them.

use super::SequenceCheck;
use crate::defects::{Defect, Defects};
use crate::ids::*;
use crate::inspect::ProducerInspection;
use crate::limits::BATCHES_REMEMBERED_PER_PRODUCER;
use crate::record::{BatchHeader, ControlRecord, records};
use crate::units::{Duration, Timestamp};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;

const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);
const NO_SEQUENCE: Sequence = Sequence(-1);

/// One remembered batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Remembered {
    last_sequence: Sequence,
    last_offset: Offset,
    /// Last offset less first, and last sequence less first.
    delta: i32,
    timestamp: Timestamp,
}

impl Remembered {
    fn first_sequence(&self) -> Sequence {
        let first = self.last_sequence.0.wrapping_sub(self.delta);
        // Sequences wrap from 2^31-1 to 0.
        Sequence(if self.last_sequence.0 < self.delta { first.wrapping_add(i32::MAX).wrapping_add(1) } else { first })
    }
    fn first_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.delta))
    }
}

/// One producer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    epoch: ProducerEpoch,
    coordinator_epoch: i32,
    timestamp: Timestamp,
    txn_first_offset: Option<Offset>,
    batches: [Option<Remembered>; BATCHES_REMEMBERED_PER_PRODUCER],
    /// The last offset that changed this entry, so that a truncation below it is noticed.
    touched: Offset,
}

impl Entry {
    const EMPTY: Entry = Entry {
        epoch: NO_EPOCH,
        coordinator_epoch: -1,
        timestamp: Timestamp(-1),
        txn_first_offset: None,
        batches: [None; BATCHES_REMEMBERED_PER_PRODUCER],
        touched: Offset::NONE,
    };

    /// The newest batch; `batches` is filled from the front, oldest first.
    fn last(&self) -> Option<&Remembered> {
        self.batches.iter().rev().flatten().next()
    }
    fn last_sequence(&self) -> Sequence {
        self.last().map_or(NO_SEQUENCE, |b| b.last_sequence)
    }
    fn set_epoch(&mut self, epoch: ProducerEpoch, defects: Defects) {
        if self.epoch != epoch {
            if !defects.on(Defect::WindowSurvivesEpochBump) {
                self.batches = [None; BATCHES_REMEMBERED_PER_PRODUCER];
            }
            self.epoch = epoch;
        }
    }
    fn push(&mut self, batch: Remembered) {
        match self.batches.iter_mut().find(|b| b.is_none()) {
            Some(free) => *free = Some(batch),
            None => {
                self.batches.rotate_left(1);
                self.batches[BATCHES_REMEMBERED_PER_PRODUCER - 1] = Some(batch);
            }
        }
    }
}

/// All producers of one partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Producers {
    entries: BTreeMap<ProducerId, Entry>,
}

impl Producers {
    /// Whether a batch may be appended by a leader, given what is remembered.
    pub(super) fn check(
        &self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base: Sequence,
        last: Sequence,
        defects: Defects,
    ) -> SequenceCheck {
        let Some(entry) = self.entries.get(&id) else { return SequenceCheck::Ok };
        if epoch == entry.epoch {
            let mut batches = entry.batches.iter().flatten();
            if let Some(b) = batches.find(|b| b.first_sequence() == base && b.last_sequence == last) {
                if defects.on(Defect::NoDedupWindow) {
                    return SequenceCheck::Ok;
                }
                return SequenceCheck::Duplicate {
                    base: b.first_offset(),
                    last: b.last_offset,
                    timestamp: b.timestamp,
                };
            }
        }
        if epoch < entry.epoch {
            return SequenceCheck::InvalidEpoch;
        }
        let in_sequence = if epoch == entry.epoch {
            follows(entry.last_sequence(), base)
        } else {
            base == Sequence(0) || entry.epoch == NO_EPOCH
        };
        if in_sequence { SequenceCheck::Ok } else { SequenceCheck::OutOfOrder }
    }

    /// A batch was appended (or is found in the log), with its offsets.
    pub(super) fn update(&mut self, header: &BatchHeader, batch: &[u8], defects: Defects) {
        if !header.has_producer() {
            return;
        }
        let entry = self.entries.entry(header.producer_id).or_insert(Entry::EMPTY);
        entry.touched = header.last_offset();
        if header.is_control() {
            let Some(Ok(record)) = records(batch).next() else { return };
            let marker = match ControlRecord::decode(&record) {
                Ok(ControlRecord::Abort(marker) | ControlRecord::Commit(marker)) => marker,
                _ => return,
            };
            entry.set_epoch(header.producer_epoch, defects);
            entry.coordinator_epoch = marker.coordinator_epoch;
            entry.txn_first_offset = None;
            entry.timestamp = record.timestamp;
            return;
        }
        entry.set_epoch(header.producer_epoch, defects);
        entry.push(Remembered {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        entry.timestamp = header.max_timestamp;
        if header.is_transactional() && entry.txn_first_offset.is_none() {
            entry.txn_first_offset = Some(header.base_offset);
        }
    }

    /// Forgets the batch that ends at `end` (exclusive), as if it had never been appended.
    pub(super) fn forget_batch(&mut self, end: Offset) {
        self.entries.retain(|_, entry| {
            let before = entry.last().is_some();
            let kept = entry.batches.into_iter().flatten().filter(|b| b.last_offset.plus(1) != end);
            let mut batches = [None; BATCHES_REMEMBERED_PER_PRODUCER];
            for (slot, batch) in batches.iter_mut().zip(kept) {
                *slot = Some(batch);
            }
            entry.batches = batches;
            !before || entry.last().is_some()
        });
    }

    /// Whether any entry tells of something at or beyond `offset`.
    pub(super) fn reaches(&self, offset: Offset) -> bool {
        self.entries.values().any(|e| e.touched >= offset)
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Removes what has been idle for `expiration`, open transactions excepted.
    pub(super) fn remove_expired(&mut self, wall: Timestamp, expiration: Duration) -> Vec<ProducerId> {
        let idle = i64::try_from(expiration.as_millis()).unwrap_or(i64::MAX);
        let mut removed = Vec::new();
        self.entries.retain(|&id, e| {
            let expired = e.txn_first_offset.is_none() && wall.0.saturating_sub(e.timestamp.0) >= idle;
            if expired {
                removed.push(id);
            }
            !expired
        });
        removed
    }

    pub(super) fn inspect(&self) -> impl Iterator<Item = (ProducerId, ProducerInspection)> + '_ {
        self.entries.iter().map(|(&id, e)| {
            let last_offset = e.last().map_or(Offset::NONE, |b| b.last_offset);
            (id, ProducerInspection { epoch: e.epoch, last_sequence: e.last_sequence(), last_offset })
        })
    }

    /// The content of a snapshot file.
    pub(super) fn snapshot(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(10 + self.entries.len() * ENTRY_SIZE);
        out.put_i16(1);
        out.put_u32(0);
        out.put_i32(i32::try_from(self.entries.len()).expect("fewer than 2^31 producers"));
        for (id, e) in &self.entries {
            out.put_i64(id.0);
            out.put_i16(e.epoch.0);
            out.put_i32(e.last_sequence().0);
            out.put_i64(e.last().map_or(-1, |b| b.last_offset.0));
            out.put_i32(e.last().map_or(0, |b| b.delta));
            out.put_i64(e.timestamp.0);
            out.put_i32(e.coordinator_epoch);
            out.put_i64(e.txn_first_offset.map_or(-1, |o| o.0));
        }
        let crc = crc32c::crc32c(&out[CRC_COVERS_FROM..]);
        out[2..6].copy_from_slice(&crc.to_be_bytes());
        out.freeze()
    }

    /// Reads a snapshot file taken at `offset`. `None`: it is damaged.
    pub(super) fn restore(data: &[u8], offset: Offset) -> Option<Producers> {
        let mut fields = Fields(data);
        let version = i16::from_be_bytes(fields.take()?);
        let crc = u32::from_be_bytes(fields.take()?);
        if version != 1 || crc != crc32c::crc32c(&data[CRC_COVERS_FROM..]) {
            return None;
        }
        let count = usize::try_from(i32::from_be_bytes(fields.take()?)).ok()?;
        if fields.0.len() != count.checked_mul(ENTRY_SIZE)? {
            return None;
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let id = ProducerId(i64::from_be_bytes(fields.take()?));
            let epoch = ProducerEpoch(i16::from_be_bytes(fields.take()?));
            let last_sequence = Sequence(i32::from_be_bytes(fields.take()?));
            let last_offset = Offset(i64::from_be_bytes(fields.take()?));
            let delta = i32::from_be_bytes(fields.take()?);
            let timestamp = Timestamp(i64::from_be_bytes(fields.take()?));
            let coordinator_epoch = i32::from_be_bytes(fields.take()?);
            let txn = i64::from_be_bytes(fields.take()?);
            let mut entry = Entry { epoch, coordinator_epoch, timestamp, ..Entry::EMPTY };
            entry.txn_first_offset = (txn >= 0).then_some(Offset(txn));
            entry.touched = Offset(offset.0 - 1);
            if last_offset.0 >= 0 && delta >= 0 {
                entry.push(Remembered { last_sequence, last_offset, delta, timestamp });
            }
            entries.insert(id, entry);
        }
        Some(Producers { entries })
    }
}

const CRC_COVERS_FROM: usize = 6;
const ENTRY_SIZE: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

fn follows(last: Sequence, next: Sequence) -> bool {
    i64::from(next.0) == i64::from(last.0) + 1 || (next == Sequence(0) && last == Sequence(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BuilderConfig};
    use proptest::prelude::*;

    fn append(p: &mut Producers, epoch: i16, base_sequence: i32, base_offset: i64, records: usize) {
        let mut b = BatchBuilder::new(BuilderConfig {
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: Sequence(base_sequence),
            base_offset: Offset(base_offset),
            ..BuilderConfig::PLAIN
        });
        for _ in 0..records {
            b.append(Timestamp(5), None, Some(b"v"), &[]);
        }
        let batch = b.build();
        p.update(&BatchHeader::parse(&batch).unwrap(), &batch, Defects::NONE);
    }
    fn check(p: &Producers, epoch: i16, base: i32, last: i32) -> SequenceCheck {
        p.check(ProducerId(9), ProducerEpoch(epoch), Sequence(base), Sequence(last), Defects::NONE)
    }
    fn duplicate(base: i64, last: i64) -> SequenceCheck {
        SequenceCheck::Duplicate { base: Offset(base), last: Offset(last), timestamp: Timestamp(5) }
    }

    #[test]
    fn the_window_holds_five() {
        let mut p = Producers::default();
        assert_eq!(check(&p, 0, 77, 80), SequenceCheck::Ok, "an unknown producer may begin anywhere");
        for n in 0..6 {
            append(&mut p, 0, n * 2, i64::from(n) * 2 + 100, 2);
        }
        assert_eq!(check(&p, 0, 12, 12), SequenceCheck::Ok);
        assert_eq!(check(&p, 0, 10, 11), duplicate(110, 111));
        assert_eq!(check(&p, 0, 2, 3), duplicate(102, 103));
        assert_eq!(check(&p, 0, 0, 1), SequenceCheck::OutOfOrder, "the sixth back is forgotten");
        assert_eq!(check(&p, 0, 10, 12), SequenceCheck::OutOfOrder, "not the same batch");
        assert_eq!(check(&p, 0, 13, 13), SequenceCheck::OutOfOrder, "a gap");
        let dedup_off = Defects::NONE.with(Defect::NoDedupWindow);
        let again = p.check(ProducerId(9), ProducerEpoch(0), Sequence(10), Sequence(11), dedup_off);
        assert_eq!(again, SequenceCheck::Ok);
    }

    #[test]
    fn epochs_and_wrap() {
        let mut p = Producers::default();
        append(&mut p, 3, i32::MAX - 1, 10, 4);
        assert_eq!(check(&p, 3, i32::MAX - 1, 1), duplicate(10, 13));
        assert_eq!(check(&p, 3, 2, 2), SequenceCheck::Ok);
        assert_eq!(check(&p, 2, 2, 2), SequenceCheck::InvalidEpoch);
        assert_eq!(check(&p, 4, 2, 2), SequenceCheck::OutOfOrder, "a new epoch begins at 0");
        assert_eq!(check(&p, 4, 0, 2), SequenceCheck::Ok);
        append(&mut p, 4, 0, 14, 1);
        assert_eq!(check(&p, 4, 0, 0), duplicate(14, 14));
        assert_eq!(check(&p, 3, i32::MAX - 1, 1), SequenceCheck::InvalidEpoch);
        append(&mut p, 4, i32::MAX, 15, 1);
        assert_eq!(check(&p, 4, 0, 0), duplicate(14, 14));
        assert_eq!(check(&p, 4, 0, 1), SequenceCheck::Ok, "2^31-1 is followed by 0");
    }

    #[test]
    fn expiry() {
        let mut p = Producers::default();
        append(&mut p, 0, 0, 0, 1);
        assert!(p.remove_expired(Timestamp(14), Duration::from_millis(10)).is_empty());
        assert_eq!(p.remove_expired(Timestamp(15), Duration::from_millis(10)), [ProducerId(9)]);
        assert_eq!(check(&p, 0, 5, 5), SequenceCheck::Ok);
    }

    #[test]
    fn forgetting() {
        let mut p = Producers::default();
        append(&mut p, 0, 0, 0, 1);
        append(&mut p, 0, 1, 1, 1);
        p.forget_batch(Offset(2));
        assert_eq!(check(&p, 0, 1, 1), SequenceCheck::Ok);
        p.forget_batch(Offset(1));
        assert_eq!(p, Producers::default());
    }

    #[test]
    fn snapshots_keep_the_last_batch() {
        let mut p = Producers::default();
        append(&mut p, 1, 0, 0, 3);
        append(&mut p, 1, 3, 3, 2);
        let bytes = p.snapshot();
        assert_eq!(bytes.len(), 10 + 46);
        let back = Producers::restore(&bytes, Offset(5)).unwrap();
        assert!(back.inspect().eq(p.inspect()));
        assert_eq!(check(&back, 1, 3, 4), duplicate(3, 4));
        assert_eq!(check(&back, 1, 0, 2), SequenceCheck::OutOfOrder);
        assert!(back.reaches(Offset(4)) && !back.reaches(Offset(5)));
        let mut bad = bytes.to_vec();
        bad[20] ^= 1;
        assert_eq!(Producers::restore(&bad, Offset(5)), None);
        assert_eq!(Producers::restore(&bytes[..30], Offset(5)), None);
    }

    proptest! {
        #[test]
        fn arbitrary_snapshots_do_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..160), fix: bool) {
            if fix && bytes.len() >= 6 {
                bytes[..2].copy_from_slice(&[0, 1]);
                let crc = crc32c::crc32c(&bytes[6..]);
                bytes[2..6].copy_from_slice(&crc.to_be_bytes());
            }
            if let Some(p) = Producers::restore(&bytes, Offset(5)) {
                let _ = p.inspect().count();
                let _ = p.snapshot();
                let _ = check(&p, 0, 0, 0);
            }
        }
    }
}
