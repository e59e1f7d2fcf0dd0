//! When operations arrive, and what they carry.
//!
//! Everything here is a **keyed** draw: the n-th arrival, key and size of a client are functions of (seed, client, n)
//! and of nothing else ([`draw`]). Removing a client, or a fault, moves no other draw. Results are integers, and the
//! same on every platform; where a table is built from a real number ([`keys`]), that is said there.
//!
//! Closed loops are an application's matter: it sends the n-th record when an earlier one has resolved, and takes key
//! and size from here.

pub mod arrivals;
pub mod keys;
pub mod payload;
pub mod service;

pub use arrivals::{ArrivalKind, Arrivals};
pub use keys::{KeyChooser, KeyError, Keys};
pub use payload::{MIN_VALUE, PayloadError, Sizes, decode_value, encode_value, key_bytes, key_hash};
pub use service::ServiceTime;

use klamm_model::ids::ClientId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a draw is for. Draws for different purposes are independent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// The time between two arrivals.
    Arrival = 1,
    /// A record's key.
    Key = 2,
    /// A record's size.
    Size = 3,
    /// A record's partition, where the application chooses it.
    Partition = 4,
    /// Whatever else an application decides.
    Other = 5,
    /// How long a record takes to process.
    Service = 6,
    /// When a group member stays away from `poll`.
    Stall = 7,
    /// Whether a service declines what it is asked to do.
    Decline = 8,
    /// Whether a record deletes its key.
    Tombstone = 9,
}

/// A number uniform over `u64`, for this seed, purpose, client and index, always the same.
pub fn draw(seed: u64, purpose: Purpose, client: ClientId, index: u64) -> u64 {
    let mut bytes = [0; 13];
    bytes[0] = purpose as u8;
    bytes[1..5].copy_from_slice(&client.0.to_le_bytes());
    bytes[5..].copy_from_slice(&index.to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

/// Maps a draw to `0..n`. The bias is below n / 2^64.
pub fn below(draw: u64, n: u64) -> u64 {
    ((u128::from(draw) * u128::from(n)) >> 64) as u64
}

/// An exponentially distributed time with this mean.
pub fn exponential_gap(mean: klamm_model::units::Duration, draw: u64) -> klamm_model::units::Duration {
    let nanos = (u128::from(mean.as_nanos()) * u128::from(arrivals::exponential(draw))) >> 32;
    klamm_model::units::Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_everything_and_only_on_that() {
        let one = draw(1, Purpose::Key, ClientId(2), 3);
        assert_eq!(one, draw(1, Purpose::Key, ClientId(2), 3));
        assert_ne!(one, draw(2, Purpose::Key, ClientId(2), 3));
        assert_ne!(one, draw(1, Purpose::Size, ClientId(2), 3));
        assert_ne!(one, draw(1, Purpose::Key, ClientId(3), 3));
        assert_ne!(one, draw(1, Purpose::Key, ClientId(2), 4));
    }

    #[test]
    fn below_stays_below() {
        assert_eq!(below(u64::MAX, 10), 9);
        assert_eq!(below(0, 10), 0);
        assert_eq!(below(u64::MAX, 1), 0);
    }
}
