//! When operations arrive, and what they carry.
