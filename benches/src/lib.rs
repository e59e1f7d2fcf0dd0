//! Criterion benches and the turmoil baseline.
