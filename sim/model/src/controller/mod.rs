//! The controller: the node that owns the cluster's metadata (KIP-500, KIP-595, KIP-631).
//!
//! The rooms, in reading order:
//! - [`image`]: what the metadata log says, shared with the brokers.

pub mod image;

pub use image::Image;
