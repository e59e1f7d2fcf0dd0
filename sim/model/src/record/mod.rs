//! Record batches (message format 2, KIP-98), and the records that Kafka keeps for itself.
//!
//! A batch is a header of 61 bytes and its records. Batches are stored, replicated and read as the bytes they came
//! in: nothing here copies a batch but [`stamp`], which a leader needs once. Bytes may come from a client, another
//! broker or a damaged disk: counts and lengths are checked against the bytes that are there before anything is
//! allocated, arithmetic is checked, and no input panics. Compressed
//! records are decompressed within a limit.
//!
//! The rooms, in reading order: `header` (the header's view, walking batches, CRC), `iter` (lazy records),
//! `builder` (the encoder), `compression`, `retain` (what compaction leaves), `control` (markers and leader changes),
//! `varint`, [`schema`] (the metadata records).
//! Follows Kafka's `DefaultRecordBatch` and `DefaultRecord`.

mod builder;
mod compression;
mod control;
mod header;
mod iter;
mod retain;
pub mod schema;
#[cfg(test)]
mod tests;
mod varint;

pub use builder::{BatchBuilder, BuilderConfig, RecordHeader, record_size_upper_bound};
pub use compression::{Compressor, decompressed};
pub use control::{ControlRecord, EndTxnMarker, LeaderChange, control_batch};
pub(crate) use header::check_crc;
pub use header::{
    BATCH_HEADER_SIZE, BatchError, BatchHeader, Batches, Compression, batches, set_producer, stamp, validate,
    verify_crc,
};
pub use iter::{Headers, Record, RecordIter, records};
pub use retain::{Retained, retain};
