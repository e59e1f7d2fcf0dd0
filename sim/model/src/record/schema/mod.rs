//! Records that Kafka writes for itself and the codec crate does not know, bytes exactly Kafka's.

mod metadata;
mod metadata_codec;
#[cfg(test)]
mod tests;
mod wire;

pub use metadata::*;
pub use wire::SchemaError;
