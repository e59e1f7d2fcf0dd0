//! How long it takes to process a record.
//!
//! A keyed draw like the others, by integer inverse distribution functions: the n-th record a client processes takes
//! the same time whatever else happens.

use super::{Purpose, draw, exponential_gap};
use klamm_model::ids::ClientId;
use klamm_model::units::Duration;

/// The longest a heavy-tailed draw may be, in means.
const LONGEST: u64 = 1_000;

/// The shape of service times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceTime {
    /// Always the same.
    Constant(Duration),
    /// Exponentially distributed, with this mean.
    Exponential(Duration),
    /// Pareto-distributed with exponent 2 and this mean: a record in a hundred takes five means, one in ten thousand
    /// fifty, and the variance has no bound (but for the longest draw, a thousand means).
    HeavyTailed(Duration),
}

impl ServiceTime {
    /// Takes no time.
    pub const NONE: ServiceTime = ServiceTime::Constant(Duration::ZERO);

    /// How long a client's `index`-th record takes.
    pub fn time(self, seed: u64, client: ClientId, index: u64) -> Duration {
        match self {
            ServiceTime::Constant(time) => time,
            ServiceTime::Exponential(mean) => exponential_gap(mean, draw(seed, Purpose::Service, client, index)),
            ServiceTime::HeavyTailed(mean) => {
                // The least time is half the mean; P(time > x) = (least / x)^2.
                let uniform = u128::from(draw(seed, Purpose::Service, client, index)) + 1;
                let root = ((1u128 << 126) / uniform).isqrt(); // sqrt(2^64 / uniform) in 31 bits below the point
                let time = (u128::from(mean.as_nanos() / 2) * root) >> 31;
                nanos(time).min(mean.saturating_mul(LONGEST))
            }
        }
    }

    /// Whether it never takes any time.
    pub fn is_none(self) -> bool {
        matches!(self, ServiceTime::Constant(Duration::ZERO))
    }
}

fn nanos(n: u128) -> Duration {
    Duration::from_nanos(u64::try_from(n).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: Duration = Duration::from_millis(10);

    fn drawn(kind: ServiceTime) -> Vec<u64> {
        let mut times: Vec<u64> = (0..40_000).map(|i| kind.time(1, ClientId(3), i).as_nanos()).collect();
        times.sort_unstable();
        times
    }

    #[test]
    fn shapes_are_what_they_are_called() {
        assert!(drawn(ServiceTime::Constant(MEAN)).iter().all(|&t| t == 10_000_000));
        let exponential = drawn(ServiceTime::Exponential(MEAN));
        let mean = exponential.iter().sum::<u64>() / 40_000;
        assert!(mean.abs_diff(10_000_000) < 200_000, "{mean}");
        assert!(exponential[20_000].abs_diff(6_931_471) < 200_000, "the median is ln 2 of the mean");
        let heavy = drawn(ServiceTime::HeavyTailed(MEAN));
        assert!(heavy[0] >= 5_000_000 - 1 && heavy[0] < 5_010_000, "{}", heavy[0]);
        assert!(heavy[20_000].abs_diff(7_071_067) < 100_000, "the median is sqrt(2) of the least: {}", heavy[20_000]);
        assert!(heavy[39_600].abs_diff(50_000_000) < 5_000_000, "one in a hundred is five means: {}", heavy[39_600]);
        assert!(heavy[39_999] > 30 * 10_000_000 && heavy[39_999] <= 1_000 * 10_000_000);
    }

    #[test]
    fn draws_are_keyed() {
        let time = |client, index| ServiceTime::HeavyTailed(MEAN).time(7, ClientId(client), index);
        assert_eq!(time(1, 5), time(1, 5));
        assert_ne!(time(1, 5), time(2, 5));
        assert!(ServiceTime::NONE.is_none() && !ServiceTime::Exponential(MEAN).is_none());
    }
}
