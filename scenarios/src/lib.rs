//! Scenarios, campaigns over seeds, shrinking, and what a run leaves behind.

pub mod schema;
pub mod suggest;
