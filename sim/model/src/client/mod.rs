//! The client library that applications embed: producer, consumer with assigned partitions, admin.
//!
//! Each of the three is a sans-IO part of a node, not a node: the application hands it every input, in turn, until
//! one says the input was its own; afterwards it calls `poll` of each, which does what has become due and says the
//! next deadline. Results come out as events. None of them reads a clock or blocks.
//!
//! The rooms: [`network`] (connections by node id), [`metadata`] (who leads what), [`errors`] (names and kinds of
//! error codes), [`backoff`]; then [`producer`], [`consumer`], [`admin`]. Follows Kafka's Java client.

pub mod admin;
pub mod backoff;
pub mod consumer;
pub mod errors;
pub mod metadata;
pub mod network;
pub mod producer;
use crate::inspect::ReachInspection;
use metadata::Metadata;
use network::Network;

/// How a client stands to the cluster, by its own account.
fn reach<T>(net: &Network<T>, metadata: &Metadata) -> ReachInspection {
    let mut addresses: Vec<_> = net.addresses().cloned().collect();
    addresses.sort();
    addresses.dedup();
    ReachInspection { addresses, awaits_metadata: metadata.is_awaited() }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use admin::{Admin, AdminConfig, AdminEvent, NewTopic, PartitionDescription, TopicDescription};
pub use consumer::{Consumer, ConsumerEvent, ConsumerRecord, StartAt};
pub use producer::{Producer, ProducerEvent, ProducerRecord, SendRejected};
