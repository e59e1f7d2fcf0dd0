//! Open-loop arrivals: operations come when they come, whether or not earlier ones have finished, so that a stall
//! shows as response time instead of as a pause in the load.
//!
//! The gap before the n-th arrival is a keyed draw, so an arrival's time is the sum of gaps that each depend on seed,
//! client and index alone. The rate may be any ratio; rounding is carried along, so no rate drifts.

use super::{Purpose, draw};
use klamm_model::ids::ClientId;
use klamm_model::units::{Duration, Instant};
use std::sync::LazyLock;

/// The shape of the arrivals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArrivalKind {
    /// Evenly spaced. A client's first arrival is at a drawn place within the first gap, so that clients do not march
    /// in step.
    Constant,
    /// Independent of each other: gaps are exponentially distributed.
    Poisson,
    /// On and off: Poisson at `factor` times the rate during the first 1/`factor` of each period, silence for the
    /// rest, so the mean is the rate.
    Bursts {
        /// How much faster than the mean a burst is; at least 1.
        factor: u32,
        /// From burst to burst; at least 1 µs.
        period: Duration,
    },
}

/// One client's arrivals, in order, for ever.
#[derive(Clone, Debug)]
pub struct Arrivals {
    kind: ArrivalKind,
    seed: u64,
    client: ClientId,
    start: Instant,
    /// The mean gap while arrivals come, nanoseconds in 64.32 fixed point.
    gap: u128,
    /// The place of the last arrival, as `gap`, on a clock that stands still between bursts.
    place: u128,
    index: u64,
}

const FRACTION: u32 = 32;

impl Arrivals {
    /// `per_second_milli` arrivals per 1000 seconds (so that rates below one are possible), from `start` on.
    /// A rate of 0 never arrives.
    pub fn new(kind: ArrivalKind, per_second_milli: u64, seed: u64, client: ClientId, start: Instant) -> Arrivals {
        let factor = match kind {
            ArrivalKind::Bursts { factor, .. } => u128::from(factor.max(1)),
            _ => 1,
        };
        let gap = match u128::from(per_second_milli) {
            0 => u128::MAX,
            rate => (1_000_000_000_000 << FRACTION) / (rate * factor),
        };
        Arrivals { kind, seed, client, start, gap, place: 0, index: 0 }
    }

    /// The index of the next arrival, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The time of the next arrival; moves on.
    pub fn next_arrival(&mut self) -> Instant {
        if self.gap == u128::MAX {
            return Instant::MAX;
        }
        let random = draw(self.seed, Purpose::Arrival, self.client, self.index);
        self.place += match self.kind {
            ArrivalKind::Constant if self.index == 0 => (self.gap * u128::from(random >> 32)) >> 32,
            ArrivalKind::Constant => self.gap,
            ArrivalKind::Poisson | ArrivalKind::Bursts { .. } => (self.gap * u128::from(exponential(random))) >> 32,
        };
        self.index += 1;
        let place = self.place >> FRACTION;
        let since = match self.kind {
            ArrivalKind::Bursts { factor, period } => {
                let period = u128::from(period.as_nanos().max(1_000));
                let on = (period / u128::from(factor.max(1))).max(1);
                place / on * period + place % on
            }
            _ => place,
        };
        self.start + Duration::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// Steps of the table below over one octave.
const STEPS: usize = 1024;

/// ln(1 + i/STEPS) in 0.32 fixed point, from integers alone: ln m = 2 artanh((m-1)/(m+1)).
static LN: LazyLock<[u64; STEPS + 1]> = LazyLock::new(|| std::array::from_fn(|i| ln_1p(i as i128, STEPS as i128)));

/// ln(1 + a/b) for 0 <= a <= b, in 0.32 fixed point.
fn ln_1p(a: i128, b: i128) -> u64 {
    const ONE: i128 = 1 << 60;
    let z = a * ONE / (2 * b + a);
    let square = (z * z) >> 60;
    let (mut power, mut sum) = (z, 0);
    for odd in (1..60).step_by(2) {
        sum += power / odd;
        power = (power * square) >> 60;
    }
    ((2 * sum + (1 << 27)) >> 28) as u64
}

/// An exponentially distributed number with mean 1, in 32.32 fixed point: -ln(u) for the u in (0, 1] that the draw
/// stands for, by its leading zeros and a table of logarithms with straight lines in between.
pub(super) fn exponential(random: u64) -> u64 {
    let u = random | 1;
    let zeros = u.leading_zeros();
    // u = 2^-(zeros+1) (1 + rest / 2^64)
    let rest = if zeros == 63 { 0 } else { u << (zeros + 1) };
    let (step, within) = ((rest >> 54) as usize, (rest >> 22) & 0xffff_ffff);
    let ln = LN[step] + (((LN[step + 1] - LN[step]) * within) >> 32);
    u64::from(zeros + 1) * LN[STEPS] - ln
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(kind: ArrivalKind, rate: u64, client: u32, n: usize) -> Vec<u64> {
        let mut arrivals = Arrivals::new(kind, rate * 1_000, 7, ClientId(client), Instant::from_nanos(5));
        (0..n).map(|_| arrivals.next_arrival().as_nanos()).collect()
    }

    #[test]
    fn constant_arrivals_keep_their_distance_and_do_not_drift() {
        let t = times(ArrivalKind::Constant, 3, 1, 3_001);
        assert!(t.windows(2).all(|w| (333_333_333..=333_333_334).contains(&(w[1] - w[0]))));
        assert!((t[3_000] - t[0]).abs_diff(1_000_000_000_000) <= 2_000);
    }

    #[test]
    fn poisson_has_the_mean_and_the_spread_of_an_exponential() {
        let t = times(ArrivalKind::Poisson, 1_000, 1, 20_001);
        let gaps: Vec<u64> = t.windows(2).map(|w| w[1] - w[0]).collect();
        let mean = gaps.iter().sum::<u64>() / 20_000;
        assert!(mean.abs_diff(1_000_000) < 25_000, "{mean}");
        let beyond = gaps.iter().filter(|&&g| g > 3_000_000).count();
        assert!(beyond.abs_diff(996) < 120, "e^-3 of 20000 is 996, not {beyond}");
    }

    #[test]
    fn bursts_are_on_for_their_share_and_keep_the_mean() {
        let period = Duration::from_millis(100);
        let t = times(ArrivalKind::Bursts { factor: 10, period }, 1_000, 1, 20_001);
        assert!(t.iter().all(|t| (t - 5) % 100_000_000 < 10_000_000));
        assert!((t[20_000] - t[0]).abs_diff(20_000_000_000) < 600_000_000);
    }

    #[test]
    fn a_client_does_not_care_for_others_and_differs_from_them() {
        assert_eq!(times(ArrivalKind::Poisson, 10, 1, 9), times(ArrivalKind::Poisson, 10, 1, 9));
        assert_ne!(times(ArrivalKind::Poisson, 10, 1, 9), times(ArrivalKind::Poisson, 10, 2, 9));
        assert_eq!(times(ArrivalKind::Constant, 0, 1, 1), [u64::MAX]);
    }

    #[test]
    fn logarithms_are_right_to_the_last_places() {
        assert!(LN[STEPS].abs_diff(2_977_044_472) <= 1, "ln 2 is 0.693147180559945");
        assert!(exponential(u64::MAX) <= 1);
        assert!(exponential(1 << 63).abs_diff(2_977_044_472) <= 1);
        assert!(exponential(0) > 44 << 32, "the tail is not cut");
    }
}
