//! Where the two judges are known to part, and why. The list is to become empty; a kind that is not in it, or that became
//! twice as frequent, fails.

use super::compare::Kind;

pub struct Open {
    pub kind: Kind,
    pub of_100_000: u64,
    pub why: &'static str,
}

const fn open(check: &'static str, reference: Option<bool>, fast: Option<bool>, of_100_000: u64, why: &'static str) -> Open {
    Open { kind: (check, reference, fast), of_100_000, why }
}

const VIOLATION: Option<bool> = Some(false);
const PERMITTED: Option<bool> = Some(true);

pub const OPEN: &[Open] = &[
];
