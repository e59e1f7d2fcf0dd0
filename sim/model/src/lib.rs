//! Kafka nodes as sans-IO state machines: brokers, controllers, and the client library that applications embed.
//!
//! A [`Node`] never reads a clock, opens a socket, touches a file, spawns a task or draws ambient randomness. It
//! is handed inputs and returns outputs; `klamm-world` decides what becomes of them. The Kafka messages
//! (`kafka_protocol`) are the vocabulary: there is no parallel set of internal request types.
//!
//! The rooms, in reading order:
//! - [`node`]: inputs and outputs; [`disk`]: the disk as a correspondent; [`trace`], [`history`], [`inspect`]: what a
//!   node says of itself, what a client application did, and the account a node gives at the end of a phase;
//! - [`timers`], [`small_map`]: a node's own deadlines, and what it holds a dozen of;
//! - [`guard`]: bytes from outside, looked at before they are decoded;
//! - [`record`]: record batches and the records Kafka keeps for itself; [`log`]: a partition's log on disk;
//! - [`broker`], [`controller`], [`client`]: the three kinds of node;
//! - [`defects`]: published bugs, as switches.

pub mod broker;
pub mod channel;
pub mod checks;
pub mod client;
pub mod config;
pub mod controller;
pub mod defects;
pub mod disk;
pub mod guard;
pub mod history;
pub mod ids;
pub mod inspect;
pub mod limits;
pub mod log;
pub mod node;
pub mod record;
pub mod small_map;
pub mod timers;
pub mod trace;
pub mod units;
pub mod versions;

pub use node::{ConnId, DisconnectReason, Endpoint, Input, Listener, Node, Outbox, Output};
