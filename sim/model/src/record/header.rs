//! The header of a batch, seen in place; walking from batch to batch; CRC; what a leader and a producer rewrite.

use super::compression::decompressed;
use super::iter::records;
use crate::ids::*;
use crate::units::Timestamp;
use bytes::{Bytes, BytesMut};

/// Bytes before a batch's first record.
pub const BATCH_HEADER_SIZE: usize = 61;
/// Base offset and length, which `batch_length` does not count.
pub(crate) const LOG_OVERHEAD: usize = 12;
const LENGTH_AT: usize = 8;
pub(super) const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// The CRC covers everything from here on: neither the offset nor the leader epoch.
const ATTRIBUTES_AT: usize = 21;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
/// Length, attributes, timestamp, offset, key length, value length, header count: one byte each.
pub(super) const MIN_RECORD_SIZE: usize = 7;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;
/// The base timestamp is a delete horizon (KIP-534).
pub(super) const DELETE_HORIZON: i16 = 0x40;

/// What is wrong with a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the batch needs {need} bytes, {have} are there")]
    Short {
        /// Bytes needed.
        need: u64,
        /// Bytes there.
        have: u64,
    },
    /// The batch claims a length that no batch can have.
    #[error("a batch cannot be {0} bytes long")]
    Length(i32),
    /// Not message format 2.
    #[error("message format {0} is not supported")]
    Magic(i8),
    /// The content does not match its checksum.
    #[error("the checksum is {stored:#010x}, the content's is {computed:#010x}")]
    Crc {
        /// As the header says.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// Offsets are negative or overflow.
    #[error("the batch's offsets are impossible")]
    Offsets,
    /// The header's record count does not fit its offsets or its bytes.
    #[error("{0} records cannot be in this batch")]
    Count(i32),
    /// The batch is compressed: in a way nobody knows, or its records were asked for as they are.
    #[error("{0:?} compression cannot be read here")]
    Compressed(Compression),
    /// The records cannot be decompressed.
    #[error("{0:?}: the records cannot be decompressed")]
    Decompression(Compression),
    /// The records are larger than any batch's may be, once decompressed.
    #[error("the records have more than {} bytes decompressed", crate::limits::MAX_DECOMPRESSED_BATCH)]
    Expansion,
    /// A record cannot be read.
    #[error("bad record: {0}")]
    Record(&'static str),
    /// A control record cannot be read.
    #[error("bad control record: {0}")]
    Control(&'static str),
}

/// How a batch's records are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
    /// A number without a meaning.
    Unknown,
}

/// A batch's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// The offset of the first record (or of one that compaction removed).
    pub base_offset: Offset,
    /// Bytes after this field: the batch's size less 12.
    pub batch_length: i32,
    /// The leader epoch in which it was appended.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of what follows.
    pub crc: u32,
    /// Compression, timestamp type, transactional, control.
    pub attributes: i16,
    /// The last record's offset less the base offset.
    pub last_offset_delta: i32,
    /// From which records' timestamps are counted; after compaction it may be a delete horizon as well.
    pub base_timestamp: Timestamp,
    /// The largest timestamp.
    pub max_timestamp: Timestamp,
    /// Whose, or `ProducerId::NONE`.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record, -1 if none.
    pub base_sequence: Sequence,
    /// How many records there are.
    pub record_count: i32,
}

macro_rules! field {
    ($data:expr, $at:expr, $ty:ty) => {
        <$ty>::from_be_bytes(*$data[$at..].first_chunk().expect("the header's length was checked"))
    };
}

impl BatchHeader {
    /// Reads the header at the front of `data`, which need not hold the whole batch. The CRC is not looked at.
    ///
    /// # Errors
    /// Fewer than 61 bytes, another format, or numbers that no batch can have.
    #[inline]
    pub fn parse(data: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some(data) = data.first_chunk::<BATCH_HEADER_SIZE>() else {
            return Err(BatchError::Short { need: BATCH_HEADER_SIZE as u64, have: data.len() as u64 });
        };
        let header = BatchHeader {
            base_offset: Offset(field!(data, 0, i64)),
            batch_length: field!(data, LENGTH_AT, i32),
            leader_epoch: LeaderEpoch(field!(data, LEADER_EPOCH_AT, i32)),
            crc: field!(data, CRC_AT, u32),
            attributes: field!(data, ATTRIBUTES_AT, i16),
            last_offset_delta: field!(data, 23, i32),
            base_timestamp: Timestamp(field!(data, 27, i64)),
            max_timestamp: Timestamp(field!(data, 35, i64)),
            producer_id: ProducerId(field!(data, PRODUCER_ID_AT, i64)),
            producer_epoch: ProducerEpoch(field!(data, PRODUCER_EPOCH_AT, i16)),
            base_sequence: Sequence(field!(data, BASE_SEQUENCE_AT, i32)),
            record_count: field!(data, 57, i32),
        };
        let magic = data[MAGIC_AT] as i8;
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        if header.batch_length < (BATCH_HEADER_SIZE - LOG_OVERHEAD) as i32 {
            return Err(BatchError::Length(header.batch_length));
        }
        let last = header.base_offset.0.checked_add(i64::from(header.last_offset_delta));
        if header.base_offset.0 < 0 || header.last_offset_delta < 0 || last.is_none_or(|last| last == i64::MAX) {
            return Err(BatchError::Offsets);
        }
        if header.record_count < 0 || header.base_sequence.0 < -1 {
            return Err(BatchError::Count(header.record_count));
        }
        Ok(header)
    }

    /// The whole batch's bytes, header included.
    pub const fn size(&self) -> u64 {
        LOG_OVERHEAD as u64 + self.batch_length as u64
    }
    /// The offset of the last record.
    pub const fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0 + self.last_offset_delta as i64)
    }
    /// The offset after the last record.
    pub const fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0 + 1)
    }
    /// The sequence of the last record; -1 if there is none.
    pub const fn last_sequence(&self) -> Sequence {
        if self.base_sequence.0 < 0 { self.base_sequence } else { self.base_sequence.plus(self.last_offset_delta) }
    }
    /// Whether an idempotent producer wrote it.
    pub const fn has_producer(&self) -> bool {
        self.producer_id.0 >= 0
    }
    /// Whether it holds Kafka's own control records.
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
    /// Whether it belongs to a transaction.
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }
    /// Whether all its records bear the time of the append (`max_timestamp`), not their producer's.
    pub const fn log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }
    /// From when on its tombstones may go, if compaction has set that (KIP-534).
    pub const fn delete_horizon(&self) -> Option<Timestamp> {
        if self.attributes & DELETE_HORIZON != 0 { Some(self.base_timestamp) } else { None }
    }
    /// How its records are compressed.
    pub const fn compression(&self) -> Compression {
        match self.attributes & COMPRESSION_MASK {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => Compression::Unknown,
        }
    }
}

/// The batches in `data`, without copying. A partial batch at the end is left out, as in a Fetch response.
pub fn batches(data: &Bytes) -> Batches {
    Batches { rest: data.clone() }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// The bytes not yet walked over.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes), BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < BATCH_HEADER_SIZE {
            return None;
        }
        match BatchHeader::parse(&self.rest) {
            Ok(header) if header.size() > self.rest.len() as u64 => None,
            Ok(header) => Some(Ok((header, self.rest.split_to(header.size() as usize)))),
            Err(error) => {
                self.rest.clear();
                Some(Err(error))
            }
        }
    }
}

/// Whether the batch that `batch` begins with is whole and matches its checksum.
pub fn verify_crc(batch: &[u8]) -> bool {
    check_crc(batch).is_ok()
}

/// The header of the batch that `batch` begins with, if it is whole and matches its checksum.
pub(crate) fn check_crc(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    if header.size() > batch.len() as u64 {
        return Err(BatchError::Short { need: header.size(), have: batch.len() as u64 });
    }
    let computed = crc32c::crc32c(&batch[ATTRIBUTES_AT..header.size() as usize]);
    if computed != header.crc {
        return Err(BatchError::Crc { stored: header.crc, computed });
    }
    Ok(header)
}

/// Everything a leader checks of one batch from a client (Kafka's `LogValidator`): that nothing follows it, its
/// checksum, and that its records, decompressed if need be, are readable and numbered from 0 without a gap.
///
/// # Errors
/// What is wrong.
pub fn validate(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = check_crc(batch)?;
    if header.size() != batch.len() as u64 {
        return Err(BatchError::Length(header.batch_length));
    }
    if header.record_count == 0 || i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return Err(BatchError::Count(header.record_count));
    }
    let mut expected = header.base_offset;
    records(&decompressed(batch)?).try_for_each(|record| {
        let in_place = record?.offset == expected;
        expected = expected.plus(1);
        if in_place { Ok(()) } else { Err(BatchError::Offsets) }
    })?;
    Ok(header)
}

/// The same batches with offsets from `base_offset` on, and the leader's epoch; CRCs do not cover these fields. Copies
/// only if the bytes are shared. Bytes after the last whole batch are left out.
pub fn stamp(data: Bytes, base_offset: Offset, leader_epoch: LeaderEpoch) -> Bytes {
    let mut stamped = data.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let (mut at, mut next) = (0, base_offset);
    while let Ok(header) = BatchHeader::parse(&stamped[at..]) {
        if header.size() > (stamped.len() - at) as u64 {
            break;
        }
        stamped[at..at + 8].copy_from_slice(&next.0.to_be_bytes());
        let epoch_at = at + LEADER_EPOCH_AT;
        stamped[epoch_at..epoch_at + 4].copy_from_slice(&leader_epoch.0.to_be_bytes());
        next = next.plus(i64::from(header.last_offset_delta) + 1);
        at += header.size() as usize;
    }
    stamped.truncate(at);
    stamped.freeze()
}

/// The same batch under a producer's id, epoch and sequence, with a new CRC. Copies only if the bytes are shared.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn set_producer(batch: Bytes, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Bytes {
    let mut batch = batch.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    write_producer(&mut batch, id, epoch, base_sequence);
    write_crc(&mut batch);
    batch.freeze()
}

pub(super) fn write_producer(batch: &mut [u8], id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) {
    batch[PRODUCER_ID_AT..PRODUCER_ID_AT + 8].copy_from_slice(&id.0.to_be_bytes());
    batch[PRODUCER_EPOCH_AT..PRODUCER_EPOCH_AT + 2].copy_from_slice(&epoch.0.to_be_bytes());
    batch[BASE_SEQUENCE_AT..BASE_SEQUENCE_AT + 4].copy_from_slice(&base_sequence.0.to_be_bytes());
}

pub(super) fn write_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

/// Another number of bytes after it.
pub(super) fn write_length(batch: &mut [u8], length: i32) {
    batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
}

/// Another word about how the records are compressed.
pub(super) fn write_compression(batch: &mut [u8], compression: Compression) {
    let code = match compression {
        Compression::None => 0,
        Compression::Gzip => 1,
        Compression::Snappy => 2,
        Compression::Lz4 => 3,
        Compression::Zstd => 4,
        Compression::Unknown => 7,
    };
    batch[ATTRIBUTES_AT + 1] = batch[ATTRIBUTES_AT + 1] & !(COMPRESSION_MASK as u8) | code;
}

/// Writes every field but the CRC; `batch` is the whole batch.
pub(super) fn write_header(batch: &mut [u8], h: &BatchHeader) {
    batch[0..8].copy_from_slice(&h.base_offset.0.to_be_bytes());
    batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&h.batch_length.to_be_bytes());
    batch[LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4].copy_from_slice(&h.leader_epoch.0.to_be_bytes());
    batch[MAGIC_AT] = 2;
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&h.attributes.to_be_bytes());
    batch[23..27].copy_from_slice(&h.last_offset_delta.to_be_bytes());
    batch[27..35].copy_from_slice(&h.base_timestamp.0.to_be_bytes());
    batch[35..43].copy_from_slice(&h.max_timestamp.0.to_be_bytes());
    write_producer(batch, h.producer_id, h.producer_epoch, h.base_sequence);
    batch[57..61].copy_from_slice(&h.record_count.to_be_bytes());
}
