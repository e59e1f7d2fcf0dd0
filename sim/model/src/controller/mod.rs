//! The controller: the node that owns the cluster's metadata (KIP-500, KIP-595, KIP-631).
//!
//! The rooms, in reading order:
//! - [`image`]: what the metadata log says, shared with the brokers;
//! - `node`: the node, its connections and the order of things; `spec`: what it is told before it starts;
//! - `quorum`: the metadata log, its leader and its high watermark; `fetch`: serving it to observers;
//! - `state`: what is known and decided, with `partition_change` (what becomes of one partition), `placement` (where
//!   a new one lives) and `sessions` (which brokers are heard of);
//! - `envelope`: what brokers forward.
//!
//! Deliberately absent: elections among several voters, snapshots, reassignments, preferred-leader elections,
//! quotas and authorisation.

mod envelope;
mod fetch;
pub mod image;
mod node;
mod partition_change;
mod placement;
mod quorum;
mod sessions;
mod spec;
mod state;
#[cfg(test)]
mod tests;

pub use image::Image;
pub use node::Controller;
pub use spec::ControllerSpec;
pub(crate) use state::named_for_deletion;
