//! What can be known of consumer groups from events: who coordinates, who is a member, what is under way. For aiming
//! faults only; followed only where a schedule speaks of groups.

use super::parse::PartitionName;
use super::view::{PartitionView, View};
use crate::event::{Event, HostId, NodeRef, What};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use klamm_model::history::Op;
use klamm_model::ids::*;
use klamm_model::node::ConnId;
use klamm_model::trace::TraceEvent;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct GroupsView {
    members: BTreeMap<String, BTreeSet<NodeRef>>,
    leaders: BTreeMap<String, NodeRef>,
    /// Commits that a broker works on.
    commits: BTreeMap<(NodeRef, ConnId), String>,
    /// States as their coordinators tell them; not those in which nothing is under way.
    rebalancing: BTreeSet<String>,
    /// Who has loaded which partition of the offsets topic, in which epoch.
    loaded: BTreeMap<TopicIdPartition, (NodeRef, LeaderEpoch)>,
}

impl GroupsView {
    /// Whether an event could change it.
    pub(super) fn wants(event: &Event<'_>) -> bool {
        match &event.what {
            What::RequestTaken { request, .. } => matches!(request, RequestKind::OffsetCommit(_)),
            What::ResponseSent { response, .. } => {
                matches!(response, ResponseKind::OffsetCommit(_) | ResponseKind::JoinGroup(_))
            }
            What::Op(op) => matches!(op, Op::Member { .. }),
            What::Trace(trace) => matches!(
                trace,
                TraceEvent::GroupState { .. }
                    | TraceEvent::CoordinatorLoaded { .. }
                    | TraceEvent::CoordinatorUnloaded { .. }
            ),
            What::Ended { .. } | What::Disconnected { .. } => true,
            _ => false,
        }
    }

    /// One event; whether it changed anything.
    pub(super) fn event(&mut self, event: &Event<'_>) -> bool {
        match &event.what {
            What::RequestTaken { to, request: RequestKind::OffsetCommit(commit), .. } => {
                self.commits.insert((to.node, to.conn), commit.group_id.0.to_string());
                true
            }
            What::ResponseSent { from, response: ResponseKind::OffsetCommit(_), .. } => {
                self.commits.remove(&(from.node, from.conn)).is_some()
            }
            What::ResponseSent { to, response: ResponseKind::JoinGroup(joined), .. } => {
                let leads = joined.error_code == 0 && joined.leader == joined.member_id;
                let group = self.members.iter().find(|(_, nodes)| leads && nodes.contains(&to.node));
                let Some(group) = group.map(|(group, _)| group.clone()) else { return false };
                self.leaders.insert(group, to.node);
                true
            }
            What::Op(Op::Member { facts }) => {
                let Some(node) = event.node else { return false };
                self.members.entry(facts.group.to_string()).or_default().insert(node)
            }
            What::Trace(TraceEvent::GroupState { group, to, .. }) => match *to {
                "Stable" | "Empty" | "Dead" => self.rebalancing.remove(&**group),
                _ => self.rebalancing.insert(group.to_string()),
            },
            What::Trace(TraceEvent::CoordinatorLoaded { partition, epoch, .. }) => {
                self.loaded.extend(event.node.map(|node| (*partition, (node, *epoch))));
                true
            }
            What::Trace(TraceEvent::CoordinatorUnloaded { partition, .. }) => {
                let own = self.loaded.get(partition).is_some_and(|(node, _)| Some(*node) == event.node);
                own && self.loaded.remove(partition).is_some()
            }
            What::Ended { .. } => {
                let Some(node) = event.node else { return false };
                self.commits.retain(|(broker, _), _| *broker != node);
                self.loaded.retain(|_, (broker, _)| *broker != node);
                self.members.values_mut().for_each(|nodes| {
                    nodes.remove(&node);
                });
                self.leaders.retain(|_, leader| *leader != node);
                true
            }
            What::Disconnected { conn, .. } => {
                event.node.is_some_and(|node| self.commits.remove(&(node, *conn)).is_some())
            }
            _ => false,
        }
    }
}

/// Where Kafka keeps a group: Java's `String.hashCode`, without its sign, over the partitions of the offsets topic.
fn home_of(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)));
    hash.checked_abs().unwrap_or(0) % partitions
}

impl View {
    /// The partition of the offsets topic that keeps a group, if that topic exists.
    pub fn group_home(&self, group: &str) -> Option<(TopicIdPartition, &PartitionView)> {
        let topic = self.topics().find(|(name, _)| *name == OFFSETS_TOPIC)?.1;
        let count = self.partitions().filter(|(id, _)| id.topic == topic).count() as i32;
        let partition = if count > 0 { home_of(group, count) } else { return None };
        let id = TopicIdPartition { topic, partition };
        Some((id, self.partition_by_id(id)?))
    }
    /// The same by name.
    pub(super) fn group_home_name(&self, group: &str) -> Option<PartitionName> {
        let (id, _) = self.group_home(group)?;
        Some(PartitionName { topic: OFFSETS_TOPIC.to_owned(), partition: id.partition })
    }
    /// The hosts of a group's members that run.
    pub fn group_members(&self, group: &str) -> Vec<HostId> {
        let nodes = self.groups().members.get(group).into_iter().flatten();
        nodes.filter_map(|node| self.host_of(*node)).collect()
    }
    /// The host of the member that assigns, in a classic group.
    pub fn group_leader(&self, group: &str) -> Option<HostId> {
        self.host_of(*self.groups().leaders.get(group)?)
    }
    /// Whether its coordinator works on a commit.
    pub fn is_committing(&self, group: &str) -> bool {
        self.groups().commits.values().any(|g| g == group)
    }
    /// Whether it rebalances, by its coordinator's word.
    pub fn is_rebalancing(&self, group: &str) -> bool {
        self.groups().rebalancing.contains(group)
    }
    /// Whether its coordinator has been elected and does not answer yet.
    pub fn is_coordinator_loading(&self, group: &str) -> bool {
        let Some((id, home)) = self.group_home(group) else { return false };
        let loaded = self.groups().loaded.get(&id);
        let by_leader = loaded
            .is_some_and(|(node, epoch)| self.broker_of(*node) == Some(home.leader) && *epoch == home.leader_epoch);
        home.leader != NodeId::NONE && !by_leader
    }
}
