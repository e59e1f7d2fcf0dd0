//! Records that Kafka writes for itself and the codec crate does not know, bytes exactly Kafka's.

mod metadata;

pub use metadata::*;
