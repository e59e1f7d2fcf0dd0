//! Faults: what can be done to a cluster, to whom, and when; as data that is drawn, fired, replayed and shrunk.
//!
//! - [`Action`], [`Planned`], [`Schedule`]: the data; [`Fired`]: what a line became.
//! - [`View`]: what events tell of the cluster, its groups ([`GroupsView`]) included; [`who`] and [`when`]: expressions resolved on it.
//! - [`Injector`]: fires a schedule at a world, and ends what it fired; [`Became`]: whether that changed anything.
//! - [`Facts`]: what happened that may excuse a finding; [`Budget`]: how much a cluster must survive.

mod action;
mod budget;
mod effects;
pub mod facts;
mod groups;
mod inject;
mod parse;
mod schedule;
#[cfg(test)]
mod tests;
mod view;
pub mod when;
pub mod who;

pub use action::*;
pub use budget::Budget;
pub use effects::{Became, Idle};
pub use facts::Facts;
pub use groups::GroupsView;
pub use inject::Injector;
pub(crate) use parse::nearest;
pub use parse::{ParseError, PartitionName};
pub use schedule::{Fired, Mention, Problem, Schedule, ScheduleError, api_named};
pub use view::{HostInfo, PartitionView, ReplicaView, View};
