//! The controller: the node that owns the cluster's metadata (KIP-500, KIP-595, KIP-631).
//!
//! The rooms, in reading order:
//! - [`image`]: what the metadata log says, shared with the brokers;
//! - [`partition_change`]: what becomes of one partition; [`placement`]: where a new one lives; [`sessions`]: which
//!   brokers are heard of.

pub mod image;
pub mod partition_change;
pub mod placement;
pub mod sessions;
mod spec;
pub mod state;

pub use image::Image;
pub use spec::ControllerSpec;
