//! A batch with some of its records taken out, as log compaction leaves it.
//!
//! Offsets, epochs and sequences stay as they are: the header keeps its base offset and last offset, and a batch may be
//! left without any record. A batch with tombstones gets a *delete horizon* (KIP-534): the time from which on they may
//! go, in the place of its base timestamp, so that every replica knows it. Follows Kafka's `MemoryRecords.filterTo`.

use super::compression::decompressed;
use super::header::{self, BATCH_HEADER_SIZE, BatchError, BatchHeader, DELETE_HORIZON, LOG_OVERHEAD};
use super::iter::{Record, records};
use super::varint::{Scratch, size_i32, size_i64};
use crate::units::Timestamp;
use bytes::Bytes;

/// What is left of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retained {
    /// The batch, which may have no records any more. None: nothing was taken out and nothing is to be changed.
    pub changed: Option<Bytes>,
    /// How many records are left.
    pub kept: usize,
    /// How many were taken out.
    pub removed: usize,
}

/// Takes out the records that `keep` does not want. If there is a tombstone among those kept, and the batch has no
/// delete horizon yet, it gets this one. What is changed is stored uncompressed.
///
/// # Errors
/// The batch cannot be read.
pub fn retain(
    batch: &[u8],
    horizon: Timestamp,
    mut keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<Retained, BatchError> {
    let plain = decompressed(batch)?;
    let header = BatchHeader::parse(&plain)?;
    let (mut kept, mut removed, mut tombstones) = (Vec::new(), 0, false);
    for record in records(&plain) {
        let record = record?;
        if keep(&record) {
            tombstones |= record.value.is_none();
            kept.push(record);
        } else {
            removed += 1;
        }
    }
    let horizon = (tombstones && !header.is_control() && header.delete_horizon().is_none()).then_some(horizon);
    if removed == 0 && horizon.is_none() {
        return Ok(Retained { changed: None, kept: kept.len(), removed });
    }
    let base_timestamp = horizon.unwrap_or(header.base_timestamp);
    let mut out = vec![0; BATCH_HEADER_SIZE];
    for record in &kept {
        put(&mut out, record, &header, base_timestamp)?;
    }
    let newest = kept.iter().map(|r| r.timestamp).max().filter(|_| !header.log_append_time());
    let count = i32::try_from(kept.len()).map_err(|_| BatchError::Count(i32::MAX))?;
    let header = BatchHeader {
        batch_length: i32::try_from(out.len() - LOG_OVERHEAD).map_err(|_| BatchError::Length(i32::MAX))?,
        attributes: header.attributes | if horizon.is_some() { DELETE_HORIZON } else { 0 },
        base_timestamp,
        max_timestamp: newest.unwrap_or(header.max_timestamp),
        record_count: count,
        ..header
    };
    header::write_header(&mut out, &header);
    header::write_crc(&mut out);
    Ok(Retained { changed: Some(Bytes::from(out)), kept: kept.len(), removed })
}

fn put(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    header: &BatchHeader,
    base_timestamp: Timestamp,
) -> Result<(), BatchError> {
    let time_delta = if header.log_append_time() { 0 } else { record.timestamp.0.wrapping_sub(base_timestamp.0) };
    let offset_delta = i32::try_from(record.offset.0 - header.base_offset.0).map_err(|_| BatchError::Offsets)?;
    let (headers, count) = record.headers.raw();
    let count = i32::try_from(count).map_err(|_| BatchError::Count(i32::MAX))?;
    let size = |bytes: Option<&[u8]>| bytes.map_or(1, |b| size_i32(b.len() as i32) + b.len());
    let body = 1
        + size_i64(time_delta)
        + size_i32(offset_delta)
        + size(record.key)
        + size(record.value)
        + size_i32(count)
        + headers.len();
    let mut front = Scratch::new();
    front.int(body as i32);
    front.byte(0);
    front.long(time_delta);
    front.int(offset_delta);
    out.extend_from_slice(front.as_slice());
    for part in [record.key, record.value] {
        let mut length = Scratch::new();
        length.int(part.map_or(-1, |b| b.len() as i32));
        out.extend_from_slice(length.as_slice());
        out.extend_from_slice(part.unwrap_or_default());
    }
    let mut front = Scratch::new();
    front.int(count);
    out.extend_from_slice(front.as_slice());
    out.extend_from_slice(headers);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::*;
    use crate::record::{BatchBuilder, BuilderConfig, RecordHeader, validate, verify_crc};

    const HORIZON: Timestamp = Timestamp(9_000);

    fn batch(records: &[(i64, &str, Option<&str>)]) -> Bytes {
        let mut b = BatchBuilder::new(BuilderConfig {
            producer_id: ProducerId(4),
            producer_epoch: ProducerEpoch(1),
            base_sequence: Sequence(7),
            base_offset: Offset(20),
            leader_epoch: LeaderEpoch(3),
            ..BuilderConfig::PLAIN
        });
        let extra = [RecordHeader { key: "h".into(), value: Some(Bytes::from_static(b"x")) }];
        for (at, key, value) in records {
            b.append(Timestamp(*at), Some(key.as_bytes()), value.map(str::as_bytes), &extra);
        }
        b.build()
    }
    /// Offset, time, key, value, and how many headers.
    type Row<'a> = (i64, i64, Option<&'a [u8]>, Option<&'a [u8]>, usize);

    fn all(batch: &[u8]) -> Vec<Row<'_>> {
        records(batch)
            .map(|r| r.unwrap())
            .map(|r| (r.offset.0, r.timestamp.0, r.key, r.value, r.headers.map(Result::unwrap).count()))
            .collect()
    }

    #[test]
    fn what_is_kept_is_kept_as_it_was() {
        let before = batch(&[(100, "a", Some("1")), (130, "b", Some("2")), (120, "c", Some("3"))]);
        let left = retain(&before, HORIZON, |r| r.key != Some(b"b")).unwrap();
        assert_eq!((left.kept, left.removed), (2, 1));
        let after = left.changed.unwrap();
        assert!(verify_crc(&after));
        let expected: Vec<_> = all(&before).into_iter().filter(|r| r.0 != 21).collect();
        assert_eq!(all(&after), expected);
        let (old, new) = (BatchHeader::parse(&before).unwrap(), BatchHeader::parse(&after).unwrap());
        let same = |h: &BatchHeader| {
            (h.base_offset, h.last_offset(), h.leader_epoch, h.producer_id, h.producer_epoch, h.base_sequence)
        };
        assert_eq!(same(&old), same(&new));
        assert_eq!((new.record_count, new.max_timestamp, new.delete_horizon()), (2, Timestamp(120), None));
        assert!(validate(&after).is_err(), "a producer must not send such a batch");
    }

    #[test]
    fn a_batch_may_be_left_empty_and_unchanged_ones_are_not_copied() {
        let before = batch(&[(100, "a", Some("1")), (130, "b", Some("2"))]);
        assert_eq!(retain(&before, HORIZON, |_| true).unwrap().changed, None);
        let after = retain(&before, HORIZON, |_| false).unwrap().changed.unwrap();
        assert_eq!((after.len(), all(&after).len()), (BATCH_HEADER_SIZE, 0));
        let header = BatchHeader::parse(&after).unwrap();
        assert_eq!((header.last_offset(), header.last_sequence()), (Offset(21), Sequence(8)));
        assert_eq!(header.max_timestamp, Timestamp(130));
    }

    #[test]
    fn tombstones_get_a_horizon_once_and_keep_their_times() {
        let before = batch(&[(100, "a", None), (130, "b", Some("2"))]);
        let marked = retain(&before, HORIZON, |_| true).unwrap().changed.unwrap();
        assert_eq!(BatchHeader::parse(&marked).unwrap().delete_horizon(), Some(HORIZON));
        assert_eq!(all(&marked), all(&before));
        assert_eq!(retain(&marked, Timestamp(1), |_| true).unwrap().changed, None);
        let after = retain(&marked, Timestamp(1), |r| r.key == Some(b"a")).unwrap().changed.unwrap();
        assert_eq!(BatchHeader::parse(&after).unwrap().delete_horizon(), Some(HORIZON));
        assert_eq!(all(&after), all(&before)[..1]);
    }
}
