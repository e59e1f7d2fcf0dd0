//! The client library that applications embed: producer, consumer with assigned partitions, admin.
//!
//! Each of the three is a sans-IO part of a node, not a node: the application hands it every input, in turn, until
//! one says the input was its own; afterwards it calls `poll` of each, which does what has become due and says the
//! next deadline. Results come out as events. None of them reads a clock or blocks.
//!
//! Follows Kafka's Java client.

pub mod admin;
pub mod consumer;
pub mod producer;

pub use admin::{Admin, AdminConfig, AdminEvent, NewTopic, PartitionDescription, TopicDescription};
pub use consumer::{Consumer, ConsumerEvent, ConsumerRecord, StartAt};
pub use producer::{Producer, ProducerEvent, ProducerRecord, SendRejected};
