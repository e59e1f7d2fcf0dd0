//! Seeds as people write them, and how one master seed becomes many.

use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A seed. Decimal, `0x...`, or a 40-digit git hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seed(pub u64);

/// Not a seed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no seed: write a number, 0x and hexadecimal digits, or a 40-digit git hash")]
pub struct BadSeed(String);

impl FromStr for Seed {
    type Err = BadSeed;
    fn from_str(text: &str) -> Result<Seed, BadSeed> {
        let bad = || BadSeed(text.to_owned());
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Seed(xxh3_64(text.to_ascii_lowercase().as_bytes())));
        }
        let parsed = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        parsed.map(Seed).map_err(|_| bad())
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Seed {
    /// The `index`-th seed of a scenario in the sweep that this master seed starts.
    pub fn derive(self, scenario: &str, index: u64) -> Seed {
        let mut bytes = Vec::with_capacity(scenario.len() + 9);
        bytes.extend_from_slice(scenario.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&index.to_le_bytes());
        Seed(xxh3_64_with_seed(&bytes, self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_in_three_ways() {
        assert_eq!("24301".parse(), Ok(Seed(24301)));
        assert_eq!("0x5eed".parse(), Ok(Seed(0x5eed)));
        assert!("55695c0aa0d0b5d1c0f8f6f0f1f2f3f4f5f6f7f8".parse::<Seed>().is_ok());
        assert!("x".parse::<Seed>().unwrap_err().to_string().contains("no seed"));
        assert!("-1".parse::<Seed>().is_err());
    }

    #[test]
    fn derived_seeds_differ_by_name_and_index() {
        let master = Seed(1);
        assert_ne!(master.derive("a", 0), master.derive("a", 1));
        assert_ne!(master.derive("a", 0), master.derive("b", 0));
        assert_eq!(master.derive("a", 0), Seed(1).derive("a", 0));
    }
}
