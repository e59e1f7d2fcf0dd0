//! Records between their arrival and the application.
//!
//! One answer per partition is held at a time; while it is, nothing more is fetched for that partition. Checksums
//! are verified once per batch, when its first record is handed out. Follows Kafka's `CompletedFetch`.
//!
//! Transactions do not exist yet: `read_committed` is asked of the broker, but there is nothing here that filters
//! aborted data, and control batches are stepped over unread.

use super::ConsumerRecord;
use super::positions::Position;
use crate::ids::Offset;
use crate::record::{BatchHeader, Compression, decompressed, records, verify_crc};
use bytes::{Buf, Bytes};

/// One answer's records of one partition.
#[derive(Debug)]
pub struct Buffered {
    data: Bytes,
    /// Batches that end at or before this offset were verified.
    verified: Offset,
    /// The first batch, decompressed, once it was looked into.
    plain: Option<Vec<u8>>,
}

/// How a round of handing out ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handed {
    /// There may be more.
    Limit,
    /// Everything was handed out.
    All,
    /// The next batch cannot be read.
    Corrupt,
}

impl Buffered {
    /// The records of an answer.
    pub fn new(data: Bytes) -> Buffered {
        Buffered { data, verified: Offset(0), plain: None }
    }

    /// Hands out records from `position` on, at most `limit`, and moves the position past them. Returns how many.
    pub fn hand_out(
        &mut self,
        position: &mut Position,
        limit: usize,
        check_crcs: bool,
        mut each: impl FnMut(ConsumerRecord<'_>),
    ) -> (usize, Handed) {
        let mut count = 0;
        loop {
            let header = match BatchHeader::parse(&self.data) {
                Ok(header) if header.size() <= self.data.len() as u64 => header,
                // A partial batch at the end is usual.
                Ok(_) => return (count, Handed::All),
                Err(crate::record::BatchError::Short { .. }) => return (count, Handed::All),
                Err(_) => return (count, Handed::Corrupt),
            };
            let batch = &self.data[..header.size() as usize];
            if header.next_offset() > position.offset && !header.is_control() {
                if header.next_offset() > self.verified {
                    if check_crcs && !verify_crc(batch) {
                        return (count, Handed::Corrupt);
                    }
                    self.verified = header.next_offset();
                }
                if header.compression() != Compression::None && self.plain.is_none() {
                    let Ok(plain) = decompressed(batch) else { return (count, Handed::Corrupt) };
                    self.plain = Some(plain.into_owned());
                }
                for record in records(self.plain.as_deref().unwrap_or(batch)) {
                    let Ok(record) = record else { return (count, Handed::Corrupt) };
                    if record.offset < position.offset {
                        continue;
                    }
                    if count == limit {
                        return (count, Handed::Limit);
                    }
                    each(ConsumerRecord {
                        offset: record.offset,
                        leader_epoch: header.leader_epoch,
                        timestamp: record.timestamp,
                        key: record.key,
                        value: record.value,
                        headers: record.headers,
                    });
                    count += 1;
                    position.offset = record.offset.plus(1);
                    position.offset_epoch = header.leader_epoch;
                }
            }
            if header.next_offset() > position.offset {
                // Control batches, and offsets that compaction emptied.
                position.offset = header.next_offset();
                position.offset_epoch = header.leader_epoch;
            }
            self.data.advance(header.size() as usize);
            self.plain = None;
        }
    }
}
