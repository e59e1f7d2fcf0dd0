//! Keyed draws: each is a hash of the disk's key, what it is for, and which of its kind it is. Taking one away
//! moves no other.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a draw is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum For {
    /// How long an operation takes.
    Latency = 1,
    /// When dirty pages are written back.
    WriteBack,
    /// When the journal commits.
    Journal,
    /// How far an operation in flight got when its process was killed.
    Kill,
    /// Whether an fsync in flight got through before the power went.
    LastSync,
    /// How many of a directory's changes survive a power loss.
    Names,
    /// What of a file survives a power loss.
    Content,
    /// How much of a failing write got through.
    ShortWrite,
    /// Which bits rot.
    Rot,
}

/// The source of one disk's draws.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws(pub u64);

impl Draws {
    /// 64 bits for the (`a`, `b`)-th draw of a kind.
    pub fn bits(self, what: For, a: u64, b: u64) -> u64 {
        let mut input = [0u8; 17];
        input[0] = what as u8;
        input[1..9].copy_from_slice(&a.to_le_bytes());
        input[9..].copy_from_slice(&b.to_le_bytes());
        xxh3_64_with_seed(&input, self.0)
    }
    /// One of `0..n`; 0 if `n` is 0.
    pub fn below(self, what: For, a: u64, b: u64, n: u64) -> u64 {
        scale(self.bits(what, a, b), n)
    }
}

/// Spreads 64 bits over `0..n`.
pub(super) fn scale(bits: u64, n: u64) -> u64 {
    ((u128::from(bits) * u128::from(n)) >> 64) as u64
}
