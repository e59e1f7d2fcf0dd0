//! Pauses that double, with jitter (Kafka's `ExponentialBackoff`: factor 2, a fifth up or down).

use crate::units::Duration;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How long to wait before trying again.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Backoff {
    /// The pause after `failures` earlier failures, from 0.
    pub fn after(self, failures: u32, rng: &mut ChaCha8Rng) -> Duration {
        let first = self.first.min(self.longest);
        if first == self.longest {
            return first;
        }
        let plain = first.saturating_mul(1 << failures.min(32)).min(self.longest);
        let jittered = plain.as_nanos() / 100 * rng.random_range(80..=120);
        Duration::from_nanos(jittered).min(self.longest)
    }
}
