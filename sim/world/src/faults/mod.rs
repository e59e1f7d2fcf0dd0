//! Faults: what can be done to a cluster, to whom, and when; as data that is drawn, fired, replayed and shrunk.
//!
//! - [`Action`], [`Planned`], [`Schedule`]: the data; [`Fired`]: what a line became.
//! - [`View`]: what events tell of the cluster; [`who`] and [`when`]: expressions resolved on it.

mod action;
mod parse;
mod schedule;
mod view;
pub mod when;
pub mod who;

pub use action::*;
pub use parse::{ParseError, PartitionName};
pub use schedule::{Fired, Problem, Schedule, ScheduleError, api_named};
pub use view::{HostInfo, PartitionView, ReplicaView, View};
