//! The shell: what stands between a node and real bytes. Frames, headers, versions, connections, the order of answers,
//! back-pressure; one [`process`] drives one incarnation of a node.
//!
//! The same shell runs on tokio's sockets (`live`) and on turmoil's: it is generic over [`net::Net`], and takes time from
//! `tokio::time`, which turmoil turns. It knows nothing of Kafka's rules beyond the envelope of a message. The determinism
//! law holds here: one thread, no unordered `select!`, no ambient randomness, no map without an order.
//!
//! The rooms, in reading order:
//! - [`limits`]: every bound, by name; [`net`]: the sockets it needs;
//! - [`frame`]: length-prefixed frames; [`codec`]: headers and versions around the messages;
//! - `budget`: what peers may take of memory; `complaints`: what is said of them, and how often;
//! - `connection`: the tasks of a connection; [`process`]: a node's inputs and outputs;
//! - [`disk`]: the disk as the shell sees it; [`observer`]: who watches, and who meddles; [`planted`]: bugs, for tests.

mod budget;
pub mod codec;
mod complaints;
mod connection;
pub mod disk;
pub mod frame;
pub mod limits;
pub mod net;
pub mod observer;
pub mod planted;
pub mod process;
#[cfg(test)]
mod tests;

/// What looks at bytes before they are decoded; the model needs it itself, for messages within messages.
pub use klamm_model::guard;
