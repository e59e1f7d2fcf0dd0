//! Time and size, as integers that know their unit. Nothing here is a float: floats decide nothing.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A length of time in nanoseconds. Arithmetic saturates: a configured `Long.MAX_VALUE` means "never".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u64);

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);
    /// Longer than any run.
    pub const MAX: Duration = Duration(u64::MAX);

    /// From nanoseconds.
    pub const fn from_nanos(n: u64) -> Self {
        Duration(n)
    }
    /// From microseconds.
    pub const fn from_micros(n: u64) -> Self {
        Duration(n.saturating_mul(1_000))
    }
    /// From milliseconds, the unit of Kafka's configuration.
    pub const fn from_millis(n: u64) -> Self {
        Duration(n.saturating_mul(1_000_000))
    }
    /// From seconds.
    pub const fn from_secs(n: u64) -> Self {
        Duration(n.saturating_mul(1_000_000_000))
    }
    /// In nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
    /// In whole microseconds, rounded down.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }
    /// In whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
    /// The sum, or `MAX`.
    pub const fn saturating_add(self, other: Duration) -> Duration {
        Duration(self.0.saturating_add(other.0))
    }
    /// The difference, or zero.
    pub const fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }
    /// The product, or `MAX`.
    pub const fn saturating_mul(self, by: u64) -> Duration {
        Duration(self.0.saturating_mul(by))
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        match n {
            u64::MAX => write!(f, "forever"),
            0..1_000 => write!(f, "{n}ns"),
            1_000..1_000_000 => write!(f, "{}us", n as f64 / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{}ms", n as f64 / 1e6),
            _ => write!(f, "{}s", n as f64 / 1e9),
        }
    }
}

/// A reading of a monotonic clock in nanoseconds. Which clock (a host's, or the world's) is the holder's matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The clock's beginning.
    pub const ZERO: Instant = Instant(0);
    /// Never.
    pub const MAX: Instant = Instant(u64::MAX);

    /// From nanoseconds since the clock's beginning.
    pub const fn from_nanos(n: u64) -> Self {
        Instant(n)
    }
    /// Nanoseconds since the clock's beginning.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
    /// Time passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(d.0))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, d: Duration) -> Instant {
        Instant(self.0.saturating_sub(d.0))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, n) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        if n.is_multiple_of(1_000_000) { write!(f, "{s}.{:03}s", n / 1_000_000) } else { write!(f, "{s}.{n:09}s") }
    }
}

/// A reading of a host's wall clock in milliseconds since 1970, as Kafka's record timestamps are. It may step
/// and disagree between hosts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

/// Both clocks of the host, read once for each input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Monotonic; drives every timeout.
    pub mono: Instant,
    /// Wall; goes into records and metadata.
    pub wall: Timestamp,
}
