//! Which key a record has.
//!
//! The zipf table is the one place of the load that computes with real numbers: once, from the configured theta. It
//! uses f64 addition, multiplication and division only, which IEEE 754 fixes to the last bit, and logarithm and
//! exponential functions made of these; the standard library's may differ between platforms. The table itself holds
//! integers.

use super::{Purpose, below, draw};
use klamm_model::ids::ClientId;
use std::f64::consts::LN_2;
use std::sync::Arc;

/// How keys are chosen, as configured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Keys {
    /// Records have no key.
    None,
    /// Each of `count` keys as likely.
    Uniform {
        /// How many keys.
        count: u64,
    },
    /// Key k (from 0) with a likelihood proportional to (k + 1)^-theta.
    Zipf {
        /// How many keys; at most [`MAX_ZIPF_KEYS`].
        count: u64,
        /// The skew; 0 is uniform, 0.99 is usual for caches. From 0 to 8.
        theta: f64,
    },
}

/// The most keys a zipf table is built for: it takes eight bytes for each.
pub const MAX_ZIPF_KEYS: u64 = 1 << 22;

/// A wrong choice of keys.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum KeyError {
    /// No keys to choose from.
    #[error("a record cannot choose among 0 keys; leave the keys out instead")]
    NoKeys,
    /// Too many for a table.
    #[error("{0} zipf keys are too many: at most {MAX_ZIPF_KEYS}")]
    TooMany(u64),
    /// Not a skew.
    #[error("zipf theta is {0}, expected a number from 0 to 8")]
    Theta(f64),
}

/// Chooses keys. Cheap to clone: the table is shared.
#[derive(Clone, Debug)]
pub enum KeyChooser {
    /// No key.
    None,
    /// Uniform over this many.
    Uniform(u64),
    /// By table: entry k is the chance, in units of 2^-64, that the key is k or lower.
    Zipf(Arc<[u64]>),
}

impl KeyChooser {
    /// Builds the table, if one is needed.
    pub fn new(keys: Keys) -> Result<KeyChooser, KeyError> {
        match keys {
            Keys::None => Ok(KeyChooser::None),
            Keys::Uniform { count: 0 } | Keys::Zipf { count: 0, .. } => Err(KeyError::NoKeys),
            Keys::Uniform { count } => Ok(KeyChooser::Uniform(count)),
            Keys::Zipf { count, .. } if count > MAX_ZIPF_KEYS => Err(KeyError::TooMany(count)),
            Keys::Zipf { theta, .. } if !(0.0..=8.0).contains(&theta) => Err(KeyError::Theta(theta)),
            Keys::Zipf { count, theta } => Ok(KeyChooser::Zipf(zipf_table(count, theta))),
        }
    }

    /// The key of a client's `index`-th record.
    pub fn key(&self, seed: u64, client: ClientId, index: u64) -> Option<u64> {
        let random = || draw(seed, Purpose::Key, client, index);
        match self {
            KeyChooser::None => None,
            KeyChooser::Uniform(count) => Some(below(random(), *count)),
            KeyChooser::Zipf(table) => {
                let random = random();
                let key = table.partition_point(|&upto| upto < random);
                Some(key.min(table.len() - 1) as u64)
            }
        }
    }
}

fn zipf_table(count: u64, theta: f64) -> Arc<[u64]> {
    // Weights in 2^-40: small enough for four million to be added up exactly, in integers.
    let weights: Vec<u64> =
        (1..=count).map(|k| ((exp(-theta * ln(k as f64)) * (1u64 << 40) as f64) as u64).max(1)).collect();
    let total: u128 = weights.iter().map(|&w| u128::from(w)).sum();
    let mut sum = 0u128;
    weights
        .iter()
        .map(|&w| {
            sum += u128::from(w);
            // Rounded down; the last entry is all of it.
            ((sum << 64) / total).min(u128::from(u64::MAX)) as u64
        })
        .collect()
}

/// The natural logarithm of a number of at least 1.
fn ln(x: f64) -> f64 {
    let (mut m, mut octaves) = (x, 0.0);
    while m >= 2.0 {
        m *= 0.5;
        octaves += 1.0;
    }
    let z = (m - 1.0) / (m + 1.0);
    let square = z * z;
    let (mut power, mut sum, mut odd) = (z, 0.0, 1.0);
    while odd < 40.0 {
        sum += power / odd;
        power *= square;
        odd += 2.0;
    }
    octaves * LN_2 + 2.0 * sum
}

/// e to the power of a number of at most 0.
fn exp(x: f64) -> f64 {
    let (mut rest, mut scale) = (x, 1.0);
    while rest < -LN_2 {
        rest += LN_2;
        scale *= 0.5;
    }
    let (mut term, mut sum, mut n) = (1.0, 1.0, 1.0);
    while n < 24.0 {
        term *= rest / n;
        sum += term;
        n += 1.0;
    }
    sum * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_functions_agree_with_the_usual_ones() {
        for x in [1.0, 1.5, 2.0, 10.0, 12_345.678, 4e6] {
            assert!((ln(x) - x.ln()).abs() < 1e-13 * x.ln().max(1.0), "ln {x}");
        }
        for x in [0.0, -0.5, -1.0, -10.0, -100.0] {
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-12, "exp {x}");
        }
    }

    #[test]
    fn zipf_favours_the_first_keys_as_it_should() {
        let keys = KeyChooser::new(Keys::Zipf { count: 100, theta: 1.0 }).unwrap();
        let mut seen = [0u32; 100];
        for index in 0..50_000 {
            seen[keys.key(1, ClientId(1), index).unwrap() as usize] += 1;
        }
        // The harmonic number of 100 is 5.187.
        assert!(seen[0].abs_diff(9_639) < 400, "{}", seen[0]);
        assert!(seen[1].abs_diff(4_819) < 300, "{}", seen[1]);
        assert!(seen[99] > 50, "{}", seen[99]);
    }

    #[test]
    fn the_table_is_the_same_everywhere() {
        let KeyChooser::Zipf(table) = KeyChooser::new(Keys::Zipf { count: 1_000, theta: 0.99 }).unwrap() else {
            panic!("zipf has a table");
        };
        let bytes: Vec<u8> = table.iter().flat_map(|e| e.to_le_bytes()).collect();
        assert_eq!(xxhash_rust::xxh3::xxh3_64(&bytes), FINGERPRINT);
        assert_eq!(table.last(), Some(&u64::MAX));
    }
    const FINGERPRINT: u64 = 440_680_405_330_727_902;

    #[test]
    fn uniform_keys_stay_within_and_use_everything() {
        let keys = KeyChooser::new(Keys::Uniform { count: 8 }).unwrap();
        let mut seen = [false; 8];
        (0..200).for_each(|index| seen[keys.key(1, ClientId(1), index).unwrap() as usize] = true);
        assert_eq!(seen, [true; 8]);
    }

    #[test]
    fn wrong_choices_are_refused() {
        assert_eq!(KeyChooser::new(Keys::Uniform { count: 0 }).unwrap_err(), KeyError::NoKeys);
        assert!(matches!(KeyChooser::new(Keys::Zipf { count: 9, theta: f64::NAN }), Err(KeyError::Theta(_))));
        assert!(matches!(KeyChooser::new(Keys::Zipf { count: u64::MAX, theta: 1.0 }), Err(KeyError::TooMany(_))));
    }
}
