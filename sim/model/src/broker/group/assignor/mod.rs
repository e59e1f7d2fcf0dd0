//! Assignors that a coordinator runs for KIP-848 groups: pure functions from members and topics to who gets what.
//!
//! They know no coordinator and no records; whatever they return is a target that members are brought to step by step.
//! Follows Kafka's `ConsumerGroupPartitionAssignor`.

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use crate::ids::TopicId;
use std::collections::{BTreeMap, BTreeSet};

/// Partitions by topic.
pub(in crate::broker) type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// What an assignor knows of a member.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Candidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// `group.instance.id`.
    pub instance: Option<&'a str>,
    /// The topics it subscribes to, as far as they exist.
    pub topics: BTreeSet<TopicId>,
    /// What it has been given last.
    pub current: &'a Partitions,
}

/// The assignors there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::broker) enum Assignor {
    /// Even, and moves no more than it must.
    Uniform,
    /// Neighbouring partitions of each topic to the same member.
    Range,
}

impl Assignor {
    /// By its name in requests and settings.
    pub fn named(name: &str) -> Option<Assignor> {
        match name {
            "uniform" => Some(Assignor::Uniform),
            "range" => Some(Assignor::Range),
            _ => None,
        }
    }
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }
    /// What each member gets, in order of `members`. `sizes` has the number of partitions of every topic named.
    pub fn assign(self, members: &[Candidate<'_>], sizes: &BTreeMap<TopicId, i32>) -> Vec<Partitions> {
        match self {
            Assignor::Uniform => uniform::assign(members, sizes),
            Assignor::Range => range::assign(members, sizes),
        }
    }
}
