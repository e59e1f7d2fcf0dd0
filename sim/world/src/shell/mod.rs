//! The shell: what stands between a node and real bytes. Frames, headers, versions, connections, the order of answers,
//! back-pressure; one [`process`] drives one incarnation of a node.
//!
//! The same shell runs on tokio's sockets (`live`) and on turmoil's: it is generic over [`net::Net`], and takes time from
//! `tokio::time`, which turmoil turns. It knows nothing of Kafka's rules beyond the envelope of a message. The determinism
//! law holds here: one thread, no unordered `select!`, no ambient randomness, no map without an order.
//!
//! The rooms: [`limits`], every bound by name; [`net`], the sockets it needs; [`frame`], length-prefixed frames.

pub mod frame;
pub mod limits;
pub mod net;

/// What looks at bytes before they are decoded; the model needs it itself, for messages within messages.
pub use klamm_model::guard;
