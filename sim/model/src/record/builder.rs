//! The encoder of batches.

use super::compression::Compressor;
use super::header::{self, BATCH_HEADER_SIZE, BatchHeader, LOG_OVERHEAD};
use super::varint::{Scratch, size_i32, size_i64};
use crate::ids::*;
use crate::units::Timestamp;
use bytes::Bytes;

/// What a new batch's header says before there are records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BuilderConfig {
    /// The first record's offset; 0 from a producer (the leader assigns).
    pub base_offset: Offset,
    /// -1 from a producer (the leader fills it in).
    pub leader_epoch: LeaderEpoch,
    /// Whose, or `ProducerId::NONE`.
    pub producer_id: ProducerId,
    /// -1 without a producer id.
    pub producer_epoch: ProducerEpoch,
    /// -1 without a producer id.
    pub base_sequence: Sequence,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
    /// Whether it holds control records.
    pub control: bool,
}

impl BuilderConfig {
    /// A batch of plain records, without an idempotent producer, as a producer sends it.
    pub const PLAIN: BuilderConfig = BuilderConfig {
        base_offset: Offset(0),
        leader_epoch: LeaderEpoch::NONE,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(-1),
        base_sequence: Sequence(-1),
        transactional: false,
        control: false,
    };
}

/// A record's header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Option<Bytes>,
}

/// A batch being filled. Offsets and sequences count up by one from the configured ones.
#[derive(Debug)]
pub struct BatchBuilder {
    config: BuilderConfig,
    buffer: Vec<u8>,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    count: i32,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(config: BuilderConfig) -> BatchBuilder {
        BatchBuilder::with_capacity(config, 512)
    }

    /// An empty batch with room for `capacity` bytes in all.
    pub fn with_capacity(config: BuilderConfig, capacity: usize) -> BatchBuilder {
        let mut buffer = Vec::with_capacity(capacity.max(BATCH_HEADER_SIZE));
        buffer.resize(BATCH_HEADER_SIZE, 0);
        BatchBuilder { config, buffer, base_timestamp: Timestamp(-1), max_timestamp: Timestamp(-1), count: 0 }
    }

    /// Adds a record.
    ///
    /// # Panics
    /// If a part is longer than 2 GiB, or timestamps are further apart than 64 bits tell.
    pub fn append(&mut self, timestamp: Timestamp, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[RecordHeader]) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        } else if timestamp > self.max_timestamp {
            self.max_timestamp = timestamp;
        }
        let time_delta = timestamp.0.checked_sub(self.base_timestamp.0).expect("timestamps within 64 bits");
        let body = 1
            + size_i64(time_delta)
            + size_i32(self.count)
            + bytes_size(key)
            + bytes_size(value)
            + headers_size(headers);
        let mut front = Scratch::new();
        front.int(length(body));
        self.buffer.reserve(front.as_slice().len() + body);
        front.byte(0);
        front.long(time_delta);
        front.int(self.count);
        if let Some(key) = key {
            front.int(length(key.len()));
            self.buffer.extend_from_slice(front.as_slice());
            self.buffer.extend_from_slice(key);
            front = Scratch::new();
        } else {
            front.int(-1);
        }
        // The value's length goes with what is gathered before it.
        front.int(value.map_or(-1, |v| length(v.len())));
        self.buffer.extend_from_slice(front.as_slice());
        self.buffer.extend_from_slice(value.unwrap_or_default());
        if headers.is_empty() {
            self.buffer.push(0);
        } else {
            self.put_headers(headers);
        }
        self.count += 1;
    }

    fn put_headers(&mut self, headers: &[RecordHeader]) {
        let mut count = Scratch::new();
        count.int(length(headers.len()));
        self.buffer.extend_from_slice(count.as_slice());
        for header in headers {
            self.put(Some(header.key.as_bytes()));
            self.put(header.value.as_deref());
        }
    }

    fn put(&mut self, bytes: Option<&[u8]>) {
        let mut front = Scratch::new();
        front.int(bytes.map_or(-1, |b| length(b.len())));
        self.buffer.extend_from_slice(front.as_slice());
        self.buffer.extend_from_slice(bytes.unwrap_or_default());
    }

    /// Bytes so far, header included.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }
    /// Records so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }
    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// The first record's timestamp.
    pub fn base_timestamp(&self) -> Timestamp {
        self.base_timestamp
    }
    /// Sets producer id, epoch and sequence, which a producer decides only when it sends the batch.
    pub fn set_producer(&mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) {
        self.config.producer_id = id;
        self.config.producer_epoch = epoch;
        self.config.base_sequence = base_sequence;
    }

    /// The finished batch.
    pub fn build(self) -> Bytes {
        self.build_with(Compressor::NONE)
    }

    /// The finished batch, its records compressed.
    pub fn build_with(mut self, compressor: Compressor) -> Bytes {
        let c = &self.config;
        let attributes =
            if c.transactional { header::TRANSACTIONAL } else { 0 } | if c.control { header::CONTROL } else { 0 };
        let header = BatchHeader {
            base_offset: c.base_offset,
            batch_length: length(self.buffer.len() - LOG_OVERHEAD),
            leader_epoch: c.leader_epoch,
            crc: 0,
            attributes,
            last_offset_delta: (self.count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: c.producer_id,
            producer_epoch: c.producer_epoch,
            base_sequence: c.base_sequence,
            record_count: self.count,
        };
        header::write_header(&mut self.buffer, &header);
        let mut batch = if self.count > 0 { compressor.apply(self.buffer) } else { self.buffer };
        header::write_crc(&mut batch);
        Bytes::from(batch)
    }
}

fn length(n: usize) -> i32 {
    i32::try_from(n).expect("batches are below 2 GiB")
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |b| size_i32(length(b.len())) + b.len())
}

fn headers_size(headers: &[RecordHeader]) -> usize {
    if headers.is_empty() {
        return 1;
    }
    let each = headers.iter().map(|h| bytes_size(Some(h.key.as_bytes())) + bytes_size(h.value.as_deref()));
    size_i32(length(headers.len())) + each.sum::<usize>()
}

/// The most bytes a record can take in a batch, whatever its place in it (Kafka: `DefaultRecord.recordSizeUpperBound`).
pub fn record_size_upper_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[RecordHeader]) -> usize {
    // Length 5, attributes 1, timestamp 10, offset 5.
    21 + bytes_size(key) + bytes_size(value) + headers_size(headers)
}
