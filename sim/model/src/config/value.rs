//! How values are written in properties files.

use crate::history::{Acks, IsolationLevel};
use crate::record::Compression;
use crate::units::Duration;

/// What would have been accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub &'static str);

/// A type a configuration value can have.
pub trait FromConfig: Sized {
    /// Parses a value.
    ///
    /// # Errors
    /// What would have been accepted, in words.
    fn from_config(text: &str) -> Result<Self, Expected>;
    /// Writes a value.
    fn to_config(&self) -> String;
}

/// Where Kafka's own bounds leave more room than the type here, the nearest value is taken.
macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl FromConfig for $ty {
            fn from_config(text: &str) -> Result<Self, Expected> {
                let number: i64 = text.trim().parse().map_err(|_| Expected("a whole number"))?;
                Ok(<$ty>::try_from(number).unwrap_or(if number < 0 { <$ty>::MIN } else { <$ty>::MAX }))
            }
            fn to_config(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

integers! { i64 i32 u64 u32 usize }

impl FromConfig for bool {
    fn from_config(text: &str) -> Result<Self, Expected> {
        match text.trim() {
            t if t.eq_ignore_ascii_case("true") => Ok(true),
            t if t.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(Expected("`true` or `false`")),
        }
    }
    fn to_config(&self) -> String {
        self.to_string()
    }
}

impl FromConfig for String {
    fn from_config(text: &str) -> Result<Self, Expected> {
        Ok(text.trim().to_owned())
    }
    fn to_config(&self) -> String {
        self.clone()
    }
}

/// Kafka's times are milliseconds; `Long.MAX_VALUE` means for ever, and what is negative is over at once.
impl FromConfig for Duration {
    fn from_config(text: &str) -> Result<Self, Expected> {
        match text.trim().parse::<i64>() {
            Ok(i64::MAX) => Ok(Duration::MAX),
            Ok(ms) => Ok(Duration::from_millis(ms.max(0) as u64)),
            Err(_) => Err(Expected("milliseconds, as a whole number")),
        }
    }
    fn to_config(&self) -> String {
        if *self == Duration::MAX { i64::MAX.to_string() } else { self.as_millis().to_string() }
    }
}

/// A share from 0 to 1, in parts per million: nothing is decided by floating point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ratio(pub u32);

impl FromConfig for Ratio {
    fn from_config(text: &str) -> Result<Self, Expected> {
        // `NaN`, which Kafka takes, is never exceeded.
        let ppm = |r: f64| if r.is_nan() { u32::MAX } else { (r * 1e6).round() as u32 };
        text.trim().parse::<f64>().map(|r| Ratio(ppm(r))).map_err(|_| Expected("a number from 0 to 1"))
    }
    fn to_config(&self) -> String {
        (f64::from(self.0) / 1e6).to_string()
    }
}

impl FromConfig for Acks {
    fn from_config(text: &str) -> Result<Self, Expected> {
        match text.trim() {
            "0" => Ok(Acks::None),
            "1" => Ok(Acks::Leader),
            "all" | "-1" => Ok(Acks::All),
            _ => Err(Expected("`all`, `-1`, `0` or `1`")),
        }
    }
    fn to_config(&self) -> String {
        let text = match self {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        };
        text.to_owned()
    }
}

impl FromConfig for Compression {
    fn from_config(text: &str) -> Result<Self, Expected> {
        match text.trim() {
            "none" => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip),
            "snappy" => Ok(Compression::Snappy),
            "lz4" => Ok(Compression::Lz4),
            "zstd" => Ok(Compression::Zstd),
            _ => Err(Expected("`none`, `gzip`, `snappy`, `lz4` or `zstd`")),
        }
    }
    fn to_config(&self) -> String {
        let text = match self {
            Compression::None | Compression::Unknown => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        };
        text.to_owned()
    }
}

impl FromConfig for IsolationLevel {
    fn from_config(text: &str) -> Result<Self, Expected> {
        match text.trim() {
            "read_uncommitted" => Ok(IsolationLevel::ReadUncommitted),
            "read_committed" => Ok(IsolationLevel::ReadCommitted),
            _ => Err(Expected("`read_uncommitted` or `read_committed`")),
        }
    }
    fn to_config(&self) -> String {
        let text = match self {
            IsolationLevel::ReadUncommitted => "read_uncommitted",
            IsolationLevel::ReadCommitted => "read_committed",
        };
        text.to_owned()
    }
}

/// A setting that may be left unset, by an empty value.
impl<T: FromConfig> FromConfig for Option<T> {
    fn from_config(text: &str) -> Result<Self, Expected> {
        if text.trim().is_empty() { Ok(None) } else { T::from_config(text).map(Some) }
    }
    fn to_config(&self) -> String {
        self.as_ref().map_or_else(String::new, T::to_config)
    }
}
