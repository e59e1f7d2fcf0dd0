//! How the members of a classic group share out its partitions: pure functions of who is there and what there is.
//!
//! One member, the leader, is told everybody's subscription by the coordinator, assigns, and sends the result back.
//! The rooms: [`range`], [`round_robin`], [`sticky`] (which also serves `cooperative-sticky`). None of them knows of
//! requests, time or generations but as numbers in claims. Follows `RangeAssignor`, `RoundRobinAssignor`,
//! `AbstractStickyAssignor` and `CooperativeStickyAssignor` of Kafka's Java client, rule by rule where a result can
//! tell; where Java leaves the order to a hash table, members go by id. Racks (KIP-881) are not considered.

pub mod range;
pub mod round_robin;
pub mod sticky;
#[cfg(test)]
mod tests;

use crate::config::Assignor;
use crate::defects::Defects;
use crate::history::TopicPartition;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many partitions each topic has. Topics that nobody knows are left out.
pub type Partitions = BTreeMap<Arc<str>, i32>;

/// What the leader knows of a member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// What it subscribes to.
    pub topics: Vec<Arc<str>>,
    /// What it claims to own.
    pub owned: Vec<TopicPartition>,
    /// The generation of that claim; -1 if it does not say.
    pub generation: i32,
}

/// Whose turn comes first: static members by instance id, then dynamic ones by member id.
fn by_name(a: &GroupMember, b: &GroupMember) -> Ordering {
    match (&a.instance, &b.instance) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.id.cmp(&b.id),
    }
}

/// Assigns `partitions` to `members`; the result stands in the members' order, each list by topic and partition.
///
/// Every partition of a topic that somebody subscribes to goes to exactly one of its subscribers, but for those
/// that [`Assignor::CooperativeSticky`] withholds until their present owner has given them up.
pub fn assign(
    assignor: Assignor,
    partitions: &Partitions,
    members: &[GroupMember],
    defects: Defects,
) -> Vec<Vec<TopicPartition>> {
    let mut assignment = match assignor {
        Assignor::Range => range::assign(partitions, members, defects),
        Assignor::RoundRobin => round_robin::assign(partitions, members),
        Assignor::Sticky => sticky::assign(partitions, members, false, defects),
        Assignor::CooperativeSticky => sticky::assign(partitions, members, true, defects),
    };
    assignment.iter_mut().for_each(|list| list.sort_unstable());
    assignment
}
