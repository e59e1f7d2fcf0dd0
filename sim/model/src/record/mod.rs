//! Record batches (message format 2, KIP-98), and the records that Kafka keeps for itself.

pub mod schema;
