//! A plain reader of record batch headers (message format 2, KIP-98), the judge's own.
//!
//! Layout, big-endian: base offset 8, length 4, leader epoch 4, magic 1, CRC-32C 4 (of all that follows), attributes
//! 2, last offset delta 4, base timestamp 8, max timestamp 8, producer id 8, producer epoch 2, base sequence 4,
//! record count 4, records.

use klamm_model::ids::*;

/// Bytes of a batch before its records.
pub(crate) const HEADER: usize = 61;
/// Bytes before the part that the length field counts.
const PREFIX: usize = 12;

/// What the judge reads of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) base: Offset,
    pub(crate) last: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) crc: u32,
    pub(crate) control: bool,
    pub(crate) append_time: bool,
    pub(crate) producer: ProducerId,
    pub(crate) producer_epoch: ProducerEpoch,
    pub(crate) base_sequence: Sequence,
    pub(crate) size: u32,
}

impl Head {
    /// The header at the beginning of `bytes`; `None` if that is not a whole batch of this format.
    pub(crate) fn read(bytes: &[u8]) -> Option<Head> {
        if bytes.len() < HEADER {
            return None;
        }
        let length = i32_at(bytes, 8);
        let size = usize::try_from(length).ok()?.checked_add(PREFIX)?;
        if size < HEADER || size > bytes.len() || bytes[16] != 2 {
            return None;
        }
        let attributes = i16_at(bytes, 21);
        let base = i64_at(bytes, 0);
        let delta = i32_at(bytes, 23);
        if delta < 0 {
            return None;
        }
        Some(Head {
            base: Offset(base),
            last: Offset(base.checked_add(i64::from(delta))?),
            epoch: LeaderEpoch(i32_at(bytes, 12)),
            crc: i32_at(bytes, 17) as u32,
            control: attributes & 0x20 != 0,
            append_time: attributes & 0x08 != 0,
            producer: ProducerId(i64_at(bytes, 43)),
            producer_epoch: ProducerEpoch(i16_at(bytes, 51)),
            base_sequence: Sequence(i32_at(bytes, 53)),
            size: size as u32,
        })
    }

    /// The sequence of its last record.
    pub(crate) fn last_sequence(&self) -> Sequence {
        self.base_sequence.plus((self.last.0 - self.base.0) as i32)
    }
}

/// Whether the CRC of the batch at the beginning of `bytes` is right.
pub(crate) fn crc_holds(head: &Head, bytes: &[u8]) -> bool {
    crc32c::crc32c(&bytes[21..head.size as usize]) == head.crc
}

/// The whole batches of a buffer, with their places; ends at the first thing that is none.
pub(crate) fn heads(bytes: &[u8]) -> Heads<'_> {
    Heads { bytes, at: 0 }
}

/// See [`heads`].
pub(crate) struct Heads<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Heads<'_> {
    /// Where the next batch would begin.
    pub(crate) fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Heads<'a> {
    type Item = (Head, &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.at..];
        let head = Head::read(rest)?;
        self.at += head.size as usize;
        Some((head, &rest[..head.size as usize]))
    }
}

fn i16_at(b: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(b[at..at + 2].try_into().expect("two bytes"))
}
fn i32_at(b: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(b[at..at + 4].try_into().expect("four bytes"))
}
fn i64_at(b: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(b[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A batch of `count` records with an arbitrary body.
    pub(crate) fn batch(base: i64, count: i32, epoch: i32, producer: (i64, i16, i32), body: &[u8]) -> Vec<u8> {
        let mut b = Vec::new();
        b.extend(base.to_be_bytes());
        b.extend(((HEADER - PREFIX + body.len()) as i32).to_be_bytes());
        b.extend(epoch.to_be_bytes());
        b.push(2);
        b.extend([0; 4]);
        b.extend(0i16.to_be_bytes());
        b.extend((count - 1).to_be_bytes());
        b.extend(0i64.to_be_bytes());
        b.extend(0i64.to_be_bytes());
        b.extend(producer.0.to_be_bytes());
        b.extend(producer.1.to_be_bytes());
        b.extend(producer.2.to_be_bytes());
        b.extend(count.to_be_bytes());
        b.extend(body);
        let crc = crc32c::crc32c(&b[21..]);
        b[17..21].copy_from_slice(&crc.to_be_bytes());
        b
    }
}

#[cfg(test)]
mod tests {
    use super::testing::batch;
    use super::*;

    #[test]
    fn reads_what_was_written() {
        let mut bytes = batch(7, 3, 2, (9, 1, 5), b"abc");
        bytes.extend(batch(10, 1, 2, (-1, -1, -1), b"d"));
        bytes.extend([0; 30]);
        let all: Vec<_> = heads(&bytes).collect();
        assert_eq!(all.len(), 2);
        let (head, body) = &all[0];
        assert_eq!((head.base, head.last, head.epoch), (Offset(7), Offset(9), LeaderEpoch(2)));
        assert_eq!(
            (head.producer, head.producer_epoch, head.last_sequence()),
            (ProducerId(9), ProducerEpoch(1), Sequence(7))
        );
        assert!(crc_holds(head, body));
        let mut rotten = body.to_vec();
        *rotten.last_mut().expect("a body") ^= 1;
        assert!(!crc_holds(head, &rotten));
    }

    #[test]
    fn refuses_nonsense() {
        assert!(Head::read(&[0xff; 80]).is_none());
        assert!(Head::read(&[]).is_none());
    }
}
