//! Keyed draws: what is drawn depends on what it is for, and on nothing that was drawn before.
//!
//! Removing a fault or a client then moves no other draw. Identities are made of names, never of places in lists.

use klamm_model::units::Duration;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What a draw is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(crate) enum Purpose {
    /// A message's way.
    Latency = 1,
    /// Whether a segment is lost.
    Loss,
    /// What a latency fault adds.
    ExtraLatency,
    /// A retransmission's way, after silence.
    Retransmission,
    /// A node incarnation's stream.
    NodeStream,
    /// A connection's identity.
    Connection,
    /// A host's disk.
    Disk,
    /// Where a write is cut into segments (turmoil).
    Segment,
}

/// The identity of what bears a name, in the run of a seed.
pub(crate) fn identity(seed: u64, name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), seed)
}

/// The `n`-th draw of an identity for a purpose.
pub(crate) fn draw(purpose: Purpose, identity: u64, n: u64) -> u64 {
    let mut input = [0; 24];
    input[..8].copy_from_slice(&(purpose as u64).to_le_bytes());
    input[8..16].copy_from_slice(&identity.to_le_bytes());
    input[16..].copy_from_slice(&n.to_le_bytes());
    xxh3_64(&input)
}

/// Maps a draw evenly to `0..below`.
pub(crate) fn below(draw: u64, below: u64) -> u64 {
    ((u128::from(draw) * u128::from(below)) >> 64) as u64
}

/// Whether something that happens `ppm` times in a million happens now.
pub(super) fn happens(draw: u64, ppm: u32) -> bool {
    below(draw, 1_000_000) < u64::from(ppm)
}

/// The stream of one node incarnation.
pub(crate) fn node_stream(node: u64, incarnation: u32) -> ChaCha8Rng {
    let mut seed = [0; 32];
    for (n, part) in seed.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&draw(Purpose::NodeStream, node, u64::from(incarnation) * 4 + n as u64).to_le_bytes());
    }
    ChaCha8Rng::from_seed(seed)
}

/// Parts of the inverse distribution function.
const PARTS: usize = 4096;

/// A long-tailed distribution of durations as a table of its inverse, in nanoseconds.
///
/// Straight lines between: 60 % of the median at the bottom, the median, a quarter of the way from there to the
/// 99th percentile at the 90th, the 99th percentile, twice that at 99.9 %, four times that at the top.
#[derive(Debug)]
pub(super) struct Latency(Box<[u64]>);

impl Latency {
    pub(super) fn new(p50: Duration, p99: Duration) -> Latency {
        let p50 = p50.as_nanos();
        let p99 = p99.as_nanos().max(p50);
        let points = [
            (0, p50 / 10 * 6),
            (500, p50),
            (900, p50 + (p99 - p50) / 4),
            (990, p99),
            (999, p99.saturating_mul(2)),
            (1000, p99.saturating_mul(4)),
        ];
        let value = |part: usize| {
            let at = (part as u64) * 1_000;
            let parts = PARTS as u64;
            let upper = points.iter().position(|&(q, _)| q * parts >= at).expect("the last point is the end");
            let Some(lower) = upper.checked_sub(1) else { return points[0].1 };
            let ((q0, v0), (q1, v1)) = (points[lower], points[upper]);
            v0 + (u128::from(v1 - v0) * u128::from(at - q0 * parts) / u128::from((q1 - q0) * parts)) as u64
        };
        Latency((0..=PARTS).map(value).collect())
    }

    /// The duration that a draw stands for.
    pub(super) fn of(&self, draw: u64) -> Duration {
        const SHIFT: u32 = 64 - PARTS.trailing_zeros();
        let part = (draw >> SHIFT) as usize;
        let (low, high) = (self.0[part], self.0[part + 1]);
        let rest = (draw << PARTS.trailing_zeros()) >> 32;
        Duration::from_nanos(low + ((u128::from(high - low) * u128::from(rest)) >> 32) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_percentiles_asked_for() {
        let latency = Latency::new(Duration::from_micros(250), Duration::from_millis(2));
        let mut drawn: Vec<u64> = (0..100_000).map(|n| latency.of(draw(Purpose::Latency, 7, n)).as_nanos()).collect();
        drawn.sort_unstable();
        let (p50, p99) = (drawn[50_000], drawn[99_000]);
        assert!((245_000..255_000).contains(&p50), "p50 {p50}");
        assert!((1_900_000..2_100_000).contains(&p99), "p99 {p99}");
        assert!(drawn[0] >= 150_000 && drawn[99_999] <= 8_000_000);
    }

    #[test]
    fn table_ends_are_in_bounds_and_rising() {
        let latency = Latency::new(Duration::from_nanos(10), Duration::from_nanos(5));
        assert!(latency.0.is_sorted());
        assert!(latency.of(0) <= latency.of(u64::MAX));
        assert_eq!(latency.of(1 << 63), Duration::from_nanos(10));
    }

    #[test]
    fn chances_are_even() {
        let hits = (0..100_000).filter(|&n| happens(draw(Purpose::Loss, 1, n), 20_000)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
        assert!(!happens(0, 0) && happens(u64::MAX, 1_000_000));
    }
}
