//! What a record's bytes are.
//!
//! A value begins with its [`ValueId`] (8 bytes, big endian) and a check (4 bytes) over id and size, then filler. So a
//! value that was torn, cut or mixed up is recognised by whoever reads it.

use super::{Purpose, below, draw};
use bytes::Bytes;
use klamm_model::history::ValueId;
use klamm_model::ids::ClientId;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The smallest value: id and check.
pub const MIN_VALUE: usize = 12;

/// How large values are, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// All alike.
    Fixed(u32),
    /// Drawn, both ends included.
    Uniform(u32, u32),
}

impl Sizes {
    /// The size of a client's `index`-th value; never below [`MIN_VALUE`].
    pub fn size(self, seed: u64, client: ClientId, index: u64) -> usize {
        let size = match self {
            Sizes::Fixed(size) => size,
            Sizes::Uniform(a, b) => {
                let (low, high) = (a.min(b), a.max(b));
                low + below(draw(seed, Purpose::Size, client, index), u64::from(high - low) + 1) as u32
            }
        };
        (size as usize).max(MIN_VALUE)
    }
}

/// Why bytes are not a value of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PayloadError {
    /// Too short.
    #[error("a value of {0} bytes is too short to be one of ours ({MIN_VALUE} at least)")]
    Short(usize),
    /// The check does not fit.
    #[error("the value's check does not fit its id and size: it was damaged or is not one of ours")]
    Check,
}

fn check(id: ValueId, size: usize) -> [u8; 4] {
    (xxh3_64_with_seed(&id.0.to_be_bytes(), size as u64) as u32).to_be_bytes()
}

/// The bytes of a value. A size below [`MIN_VALUE`] counts as that.
pub fn encode_value(id: ValueId, size: usize) -> Bytes {
    let size = size.max(MIN_VALUE);
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&id.0.to_be_bytes());
    bytes.extend_from_slice(&check(id, size));
    bytes.resize(size, id.0 as u8);
    bytes.into()
}

/// Which value these bytes are.
pub fn decode_value(bytes: &[u8]) -> Result<ValueId, PayloadError> {
    let Some((head, _)) = bytes.split_first_chunk::<MIN_VALUE>() else {
        return Err(PayloadError::Short(bytes.len()));
    };
    let id = ValueId(u64::from_be_bytes(head[..8].try_into().expect("8 of 12 bytes")));
    if head[8..] == check(id, bytes.len()) { Ok(id) } else { Err(PayloadError::Check) }
}

/// The bytes of key number `key`: `k` and at least eight digits.
pub fn key_bytes(key: u64) -> Bytes {
    let mut bytes = [b'0'; 21];
    let (mut at, mut rest) = (bytes.len(), key);
    while rest > 0 {
        at -= 1;
        bytes[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let at = at.min(bytes.len() - 8) - 1;
    bytes[at] = b'k';
    Bytes::copy_from_slice(&bytes[at..])
}

/// The hash of a key's bytes, as histories hold it.
pub fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_back(id in any::<u64>(), size in 0usize..300) {
            let bytes = encode_value(ValueId(id), size);
            prop_assert_eq!(bytes.len(), size.max(MIN_VALUE));
            prop_assert_eq!(decode_value(&bytes), Ok(ValueId(id)));
        }

        #[test]
        fn anything_else_is_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(decode_value(&bytes).is_err());
        }
    }

    #[test]
    fn a_cut_value_is_recognised() {
        let bytes = encode_value(ValueId(5), 40);
        assert_eq!(decode_value(&bytes[..39]), Err(PayloadError::Check));
        assert_eq!(decode_value(&bytes[..11]), Err(PayloadError::Short(11)));
    }

    #[test]
    fn sizes_stay_within() {
        let sizes: Vec<usize> = (0..500).map(|i| Sizes::Uniform(20, 23).size(1, ClientId(1), i)).collect();
        assert!(sizes.iter().all(|s| (20..=23).contains(s)));
        assert!((20..=23).all(|s| sizes.contains(&s)));
        assert_eq!(Sizes::Fixed(1).size(1, ClientId(1), 0), MIN_VALUE);
    }

    #[test]
    fn keys_have_their_bytes() {
        for key in [0, 42, 99_999_999, 100_000_000, u64::MAX] {
            assert_eq!(key_bytes(key), format!("k{key:08}"));
        }
        assert_ne!(key_hash(&key_bytes(1)), key_hash(&key_bytes(2)));
    }
}
