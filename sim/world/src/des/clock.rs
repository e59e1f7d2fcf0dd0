//! A host's clocks against the world's time.
//!
//! Both run at the host's rate; the wall clock has an offset that faults move. Timers round up: at the moment
//! [`Clock::reaches`] gives, the monotonic clock reads the deadline or later, never less.

use super::ClockSpec;
use klamm_model::units::{Instant, Now, Timestamp};

/// The wall clock's reading when a world begins: 2024-01-01.
pub(crate) const EPOCH_MS: i64 = 1_704_067_200_000;
const MILLION: i128 = 1_000_000;
/// A clock further off than this would not be called a clock.
const MAX_DRIFT_PPM: i32 = 500_000;

#[derive(Debug)]
pub(super) struct Clock {
    /// Since when the present rate holds, on the world's clock and on this one.
    world: Instant,
    local: Instant,
    ppm: i32,
    /// What the wall clock shows when the monotonic clock reads zero, in milliseconds.
    wall: i64,
}

impl Clock {
    pub(super) fn new(spec: ClockSpec) -> Clock {
        Clock {
            world: Instant::ZERO,
            local: Instant::ZERO + spec.monotonic_at_start,
            ppm: spec.drift_ppm.clamp(-MAX_DRIFT_PPM, MAX_DRIFT_PPM),
            wall: EPOCH_MS + spec.wall_offset_ms - spec.monotonic_at_start.as_millis() as i64,
        }
    }

    /// The monotonic clock.
    pub(super) fn monotonic(&self, now: Instant) -> Instant {
        let passed = now.since(self.world).as_nanos();
        let passed = match self.ppm {
            0 => passed,
            ppm => (i128::from(passed) * (MILLION + i128::from(ppm)) / MILLION) as u64,
        };
        Instant::from_nanos(self.local.as_nanos().saturating_add(passed))
    }

    /// Both clocks.
    pub(super) fn read(&self, now: Instant) -> Now {
        let mono = self.monotonic(now);
        Now { mono, wall: Timestamp(self.wall + (mono.as_nanos() / 1_000_000) as i64) }
    }

    /// The first moment of the world at which the monotonic clock reads `deadline` or later.
    pub(super) fn reaches(&self, deadline: Instant) -> Instant {
        let wait = deadline.since(self.local).as_nanos();
        let wait = match self.ppm {
            0 => wait,
            ppm => {
                let rate = MILLION + i128::from(ppm);
                let wait = (i128::from(wait) * MILLION + rate - 1) / rate;
                u64::try_from(wait).unwrap_or(u64::MAX)
            }
        };
        Instant::from_nanos(self.world.as_nanos().saturating_add(wait))
    }

    /// Runs fast or slow from now on; whether that is a change.
    pub(super) fn set_drift(&mut self, now: Instant, ppm: i32) -> bool {
        self.local = self.monotonic(now);
        self.world = now;
        let before = std::mem::replace(&mut self.ppm, ppm.clamp(-MAX_DRIFT_PPM, MAX_DRIFT_PPM));
        before != self.ppm
    }

    /// The wall clock jumps.
    pub(super) fn step_wall(&mut self, by_ms: i64) {
        self.wall = self.wall.saturating_add(by_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wall_steps_and_the_monotonic_clock_does_not() {
        let mut clock = Clock::new(ClockSpec { wall_offset_ms: -5, ..ClockSpec::default() });
        let at = Instant::from_nanos(3_000_000);
        assert_eq!(clock.read(at), Now { mono: at, wall: Timestamp(EPOCH_MS - 2) });
        clock.step_wall(1_000);
        assert_eq!(clock.read(at), Now { mono: at, wall: Timestamp(EPOCH_MS + 998) });
    }

    proptest! {
        /// No timer is early, none later than needed, whatever the drift and its changes.
        #[test]
        fn timers_round_up(
            drift in -400_000i32..400_000, later in -400_000i32..400_000,
            change in 0u64..1_000_000_000, wait in 1u64..10_000_000_000,
        ) {
            let mut clock = Clock::new(ClockSpec { drift_ppm: drift, ..ClockSpec::default() });
            let now = Instant::from_nanos(change);
            let before = clock.monotonic(now);
            clock.set_drift(now, later);
            prop_assert_eq!(clock.monotonic(now), before);
            let deadline = Instant::from_nanos(before.as_nanos() + wait);
            let fires = clock.reaches(deadline);
            prop_assert!(clock.monotonic(fires) >= deadline);
            prop_assert!(clock.monotonic(Instant::from_nanos(fires.as_nanos() - 1)) < deadline);
        }
    }
}
