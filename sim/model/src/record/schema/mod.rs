//! Records that Kafka writes for itself and the codec crate does not know, bytes exactly Kafka's.

mod consumer_protocol;
mod group;
mod group_codec;
#[cfg(test)]
mod group_tests;
mod metadata;
mod metadata_codec;
#[cfg(test)]
mod tests;
mod wire;

pub use consumer_protocol::{assigned_partitions, subscription_topics};
pub use group::*;
pub use metadata::*;
pub use wire::SchemaError;
