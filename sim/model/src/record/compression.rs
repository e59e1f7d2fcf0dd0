//! What producers do to a batch's records before they send them: gzip, snappy, lz4, zstd (KIP-110). The header stays as
//! it is, so whoever assigns offsets never looks inside; a leader that validates and a consumer that reads do.
//!
//! Every direction is a pure function of its input, and nothing grows past a limit: a few bytes can claim gigabytes.
//! As written by Kafka's Java client: snappy in blocks behind the header of `SnappyOutputStream` (xerial), lz4 in frames of
//! independent blocks of 64 KiB. Read are other clients' ways, too: librdkafka's snappy has no blocks. Not there:
//! `compression.lz4.level`, and recompression by the broker (a topic's `compression.type` other than `producer`).

use super::header::{self, BATCH_HEADER_SIZE, BatchError, BatchHeader, Compression, LOG_OVERHEAD};
use crate::limits::MAX_DECOMPRESSED_BATCH;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use std::borrow::Cow;
use std::io::{Read, Write};

/// What begins a stream of xerial's snappy blocks: magic, version 1, compatible with version 1.
const XERIAL: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes in one of its blocks, uncompressed.
const XERIAL_BLOCK: usize = 32 * 1024;
/// Snappy's densest element is three bytes that stand for sixty-four.
const SNAPPY_AT_MOST: usize = 22;

/// How a producer compresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compressor {
    /// With what.
    pub with: Compression,
    /// How hard, for gzip (1 to 9, -1: its default) and zstd.
    pub level: i32,
}

impl Compressor {
    /// Not at all.
    pub const NONE: Compressor = Compressor { with: Compression::None, level: 0 };

    /// Compresses a batch's records.
    ///
    /// # Errors
    /// The codec's, or there is none by that name.
    fn compress(self, records: &[u8]) -> std::io::Result<Vec<u8>> {
        match self.with {
            Compression::None => Ok(records.to_vec()),
            Compression::Gzip => {
                let level =
                    u32::try_from(self.level).map_or_else(|_| flate2::Compression::default(), flate2::Compression::new);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(records)?;
                encoder.finish()
            }
            Compression::Snappy => {
                let mut out = XERIAL.to_vec();
                let mut encoder = snap::raw::Encoder::new();
                for block in records.chunks(XERIAL_BLOCK) {
                    let block = encoder.compress_vec(block)?;
                    out.extend_from_slice(&(block.len() as u32).to_be_bytes());
                    out.extend_from_slice(&block);
                }
                Ok(out)
            }
            Compression::Lz4 => {
                let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(records)?;
                Ok(encoder.finish()?)
            }
            Compression::Zstd => zstd::bulk::compress(records, self.level),
            Compression::Unknown => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }

    /// The batch with its records compressed. It stays as it is if that cannot be done.
    pub(super) fn apply(self, batch: Vec<u8>) -> Vec<u8> {
        if self.with == Compression::None {
            return batch;
        }
        let Ok(records) = self.compress(&batch[BATCH_HEADER_SIZE..]) else { return batch };
        let mut out = batch;
        out.truncate(BATCH_HEADER_SIZE);
        out.extend_from_slice(&records);
        let length = i32::try_from(out.len() - LOG_OVERHEAD).expect("batches are below 2 GiB");
        header::write_length(&mut out, length);
        header::write_compression(&mut out, self.with);
        out
    }
}

/// The batch that `batch` begins with, its records uncompressed: the same bytes if they are, else a copy whose header
/// says so. The copy's checksum is not its own.
///
/// # Errors
/// The records cannot be decompressed, or would be larger than `MAX_DECOMPRESSED_BATCH`.
pub fn decompressed(batch: &[u8]) -> Result<Cow<'_, [u8]>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let (need, have) = (header.size(), batch.len() as u64);
    let whole = usize::try_from(need).ok().and_then(|size| batch.get(..size));
    let batch = whole.ok_or(BatchError::Short { need, have })?;
    if header.compression() == Compression::None {
        return Ok(Cow::Borrowed(batch));
    }
    let (head, records) = batch.split_at(BATCH_HEADER_SIZE);
    let mut out = head.to_vec();
    expand(header.compression(), records, &mut out)?;
    let length = i32::try_from(out.len() - LOG_OVERHEAD).map_err(|_| BatchError::Expansion)?;
    header::write_length(&mut out, length);
    header::write_compression(&mut out, Compression::None);
    Ok(Cow::Owned(out))
}

fn expand(from: Compression, records: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
    let bad = |_: std::io::Error| BatchError::Decompression(from);
    match from {
        Compression::None => out.extend_from_slice(records),
        Compression::Gzip => bounded(flate2::read::MultiGzDecoder::new(records), from, out)?,
        Compression::Lz4 => bounded(FrameDecoder::new(records), from, out)?,
        Compression::Zstd => bounded(zstd::stream::read::Decoder::with_buffer(records).map_err(bad)?, from, out)?,
        Compression::Snappy => match records.strip_prefix(&XERIAL[..8]) {
            Some(rest) => {
                // The two versions are not looked at, as the Java client does not.
                let mut rest = rest.get(8..).ok_or(BatchError::Decompression(from))?;
                while let Some((length, after)) = rest.split_first_chunk() {
                    let length = u32::from_be_bytes(*length) as usize;
                    let (block, after) = after.split_at_checked(length).ok_or(BatchError::Decompression(from))?;
                    snappy(block, out)?;
                    rest = after;
                }
                if !rest.is_empty() {
                    return Err(BatchError::Decompression(from));
                }
            }
            None => snappy(records, out)?,
        },
        Compression::Unknown => return Err(BatchError::Compressed(from)),
    }
    Ok(())
}

/// Reads until the end, or until the limit is passed.
fn bounded(reader: impl Read, from: Compression, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let room = (MAX_DECOMPRESSED_BATCH + BATCH_HEADER_SIZE).saturating_sub(out.len());
    let read = reader.take(room as u64 + 1).read_to_end(out).map_err(|_| BatchError::Decompression(from))?;
    if read > room { Err(BatchError::Expansion) } else { Ok(()) }
}

/// One block of snappy, which says at its front how large it will be.
fn snappy(block: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
    let bad = BatchError::Decompression(Compression::Snappy);
    let size = snap::raw::decompress_len(block).map_err(|_| bad)?;
    if size > block.len() * SNAPPY_AT_MOST + 64 {
        return Err(bad);
    }
    if out.len() + size > MAX_DECOMPRESSED_BATCH + BATCH_HEADER_SIZE {
        return Err(BatchError::Expansion);
    }
    let at = out.len();
    out.resize(at + size, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[at..]).map_err(|_| bad)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::*;
    use crate::record::{BatchBuilder, BuilderConfig, records, set_producer, stamp, validate};
    use crate::units::Timestamp;
    use bytes::Bytes;
    use proptest::prelude::*;

    const ALL: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn batch(values: &[Vec<u8>], with: Compression, level: i32) -> Bytes {
        let mut builder = BatchBuilder::new(BuilderConfig::PLAIN);
        values.iter().for_each(|v| builder.append(Timestamp(5), Some(b"k"), Some(v), &[]));
        builder.build_with(Compressor { with, level })
    }

    fn values(batch: &[u8]) -> Vec<Vec<u8>> {
        records(&decompressed(batch).unwrap()).map(|r| r.unwrap().value.unwrap().to_vec()).collect()
    }

    /// A batch around records that somebody else compressed.
    fn around(with: Compression, records: &[u8], count: i32) -> Vec<u8> {
        let mut out = batch(&vec![vec![1]; count as usize], Compression::None, 0).to_vec();
        out.truncate(BATCH_HEADER_SIZE);
        out.extend_from_slice(records);
        let length = (out.len() - LOG_OVERHEAD) as i32;
        header::write_length(&mut out, length);
        header::write_compression(&mut out, with);
        header::write_crc(&mut out);
        out
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_read_back(
            all in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..3000), 1..40), level in 1..9,
        ) {
            for with in ALL {
                let sent = batch(&all, with, level);
                let header = validate(&sent).unwrap();
                prop_assert_eq!((header.compression(), header.record_count as usize), (with, all.len()));
                prop_assert_eq!(&values(&sent), &all);
                // A leader's and a producer's changes to the header leave the records alone.
                let moved = stamp(set_producer(sent.clone(), ProducerId(3), ProducerEpoch(0), Sequence(7)), Offset(90), LeaderEpoch(2));
                prop_assert_eq!(validate(&moved).unwrap().last_offset(), Offset(89 + all.len() as i64));
                prop_assert_eq!(records(&decompressed(&moved).unwrap()).next().unwrap().unwrap().offset, Offset(90));
                prop_assert_eq!(&values(&moved), &all);
                prop_assert_eq!(&sent, &batch(&all, with, level), "the same bytes every time");
            }
        }

        #[test]
        fn damaged_streams_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400, bit in 0u8..8) {
            for with in ALL {
                let _ = decompressed(&around(with, &bytes, 1));
                let mut framed = batch(&vec![bytes.clone(); 3], with, 1).to_vec();
                let at = BATCH_HEADER_SIZE + at % (framed.len() - BATCH_HEADER_SIZE);
                framed[at] ^= 1 << bit;
                if let Ok(plain) = decompressed(&framed) {
                    let _ = records(&plain).count();
                }
            }
        }
    }

    #[test]
    fn repetition_takes_little_room() {
        let all = vec![vec![7; 1000]; 50];
        let plain = batch(&all, Compression::None, 0).len();
        for with in ALL {
            assert!(batch(&all, with, 3).len() < plain / 5, "{with:?}");
        }
    }

    #[test]
    fn other_clients_streams_are_read() {
        let plain = batch(&[b"hello".to_vec()], Compression::None, 0);
        let records = &plain[BATCH_HEADER_SIZE..];
        // librdkafka: one block of snappy, bare.
        let bare = snap::raw::Encoder::new().compress_vec(records).unwrap();
        assert_eq!(values(&around(Compression::Snappy, &bare, 1)), [b"hello"]);
        // lz4 with linked blocks of 4 MiB and checksums.
        let info = FrameInfo::new().block_size(BlockSize::Max4MB).block_mode(BlockMode::Linked).content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(records).unwrap();
        assert_eq!(values(&around(Compression::Lz4, &encoder.finish().unwrap(), 1)), [b"hello"]);
        // zstd as a stream that does not know its size.
        let streamed = zstd::stream::encode_all(records, 19).unwrap();
        assert_eq!(values(&around(Compression::Zstd, &streamed, 1)), [b"hello"]);
    }

    #[test]
    fn what_would_grow_past_the_limit_is_refused() {
        let zeros = vec![0; MAX_DECOMPRESSED_BATCH + 1];
        for with in ALL {
            let records = Compressor { with, level: 1 }.compress(&zeros).unwrap();
            assert_eq!(decompressed(&around(with, &records, 1)), Err(BatchError::Expansion), "{with:?}");
        }
        // Four bytes that claim a gigabyte.
        let claims = decompressed(&around(Compression::Snappy, &[0x80, 0x80, 0x80, 0x80, 0x04, 0], 1)).map(|_| ());
        assert_eq!(claims, Err(BatchError::Decompression(Compression::Snappy)));
    }

    #[test]
    fn records_that_do_not_fit_the_header_are_refused_inside_too() {
        let two = batch(&[vec![1], vec![2]], Compression::None, 0);
        for with in ALL {
            let records = Compressor { with, level: 1 }.compress(&two[BATCH_HEADER_SIZE..]).unwrap();
            assert!(validate(&around(with, &records, 2)).is_ok(), "{with:?}");
            assert!(validate(&around(with, &records, 1)).is_err(), "{with:?}");
            assert!(validate(&around(with, &records, 3)).is_err(), "{with:?}");
        }
        assert_eq!(validate(&around(Compression::Unknown, b"x", 1)), Err(BatchError::Compressed(Compression::Unknown)));
    }
}
