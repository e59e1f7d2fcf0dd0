//! Faults: what can be done to a cluster, to whom, and when; as data that is drawn, fired, replayed and shrunk.

mod action;

pub use action::*;
