//! A plain reader of the records of a batch (message format 2), the judge's own.
//!
//! Each record: length, attributes, timestamp delta, offset delta, key, value, headers; numbers are zig-zag varints,
//! keys and values have their length before them, -1 for none.

use super::batch::HEADER;
use xxhash_rust::xxh3::xxh3_64;

/// What the judge keeps of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rec {
    /// Offset less the batch's base offset.
    pub(crate) delta: u32,
    /// A hash of its key, if it has one.
    pub(crate) key: Option<u64>,
    /// A hash of its value and headers.
    pub(crate) body: u64,
    pub(crate) tombstone: bool,
    /// Milliseconds.
    pub(crate) timestamp: i64,
}

/// The records of a whole batch; `None` if they cannot be read.
pub(crate) fn records(batch: &[u8]) -> Option<Vec<Rec>> {
    // Of what compressors do nothing is judged.
    let batch = &*klamm_model::record::decompressed(batch).ok()?;
    let base_timestamp = i64::from_be_bytes(batch.get(27..35)?.try_into().ok()?);
    let count = i32::from_be_bytes(batch.get(57..61)?.try_into().ok()?);
    let mut rest = &batch[HEADER..];
    let mut all = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(number(&mut rest)?).ok()?;
        let (mut body, after) = rest.split_at_checked(length)?;
        rest = after;
        body = body.get(1..)?;
        let timestamp = base_timestamp.checked_add(number(&mut body)?)?;
        let delta = u32::try_from(number(&mut body)?).ok()?;
        let key = bytes(&mut body)?.map(xxh3_64);
        let value_on = body;
        let tombstone = bytes(&mut body)?.is_none();
        all.push(Rec { delta, key, body: xxh3_64(value_on), tombstone, timestamp });
    }
    Some(all)
}

/// The delete horizon in the place of the base timestamp (KIP-534), if there is one.
pub(crate) fn delete_horizon(batch: &[u8]) -> Option<i64> {
    let attributes = i16::from_be_bytes(batch.get(21..23)?.try_into().ok()?);
    let base = i64::from_be_bytes(batch.get(27..35)?.try_into().ok()?);
    (attributes & 0x40 != 0).then_some(base)
}

fn number(data: &mut &[u8]) -> Option<i64> {
    let mut value: u64 = 0;
    for (n, &byte) in data.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte < 0x80 {
            *data = &data[n + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn bytes<'a>(data: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = number(data)?;
    if length < 0 {
        return Some(None);
    }
    let (bytes, rest) = data.split_at_checked(usize::try_from(length).ok()?)?;
    *data = rest;
    Some(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::record::{BatchBuilder, BuilderConfig};
    use klamm_model::units::Timestamp;

    #[test]
    fn reads_what_was_written() {
        let mut b = BatchBuilder::new(BuilderConfig::PLAIN);
        b.append(Timestamp(7), Some(b"k"), Some(b"v"), &[]);
        b.append(Timestamp(5), Some(b"k"), None, &[]);
        b.append(Timestamp(9), None, Some(b"v"), &[]);
        let batch = b.build();
        let all = records(&batch).unwrap();
        assert_eq!(
            all.iter().map(|r| (r.delta, r.timestamp, r.tombstone)).collect::<Vec<_>>(),
            [(0, 7, false), (1, 5, true), (2, 9, false)]
        );
        assert_eq!(all[0].key, all[1].key);
        assert_eq!((all[2].key, all[2].body), (None, all[0].body));
        assert_eq!(delete_horizon(&batch), None);
        assert_eq!(records(&batch[..batch.len() - 1]), None);
    }
}
