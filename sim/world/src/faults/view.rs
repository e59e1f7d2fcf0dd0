//! What can be known of a cluster from its events: leaders, in-sync replicas, high watermarks, who is up.
//!
//! Faults are aimed with it. It never asks the cluster anything.

use super::groups::GroupsView;
use super::parse::PartitionName;
use crate::des::NodeKind;
use crate::event::{Ending, Event, HostId, NodeRef, Observer, What};
use crate::world::World;
use bytes::Bytes;
use klamm_model::disk::DiskOp;
use klamm_model::ids::*;
use klamm_model::record::schema::{MetadataRecord, PartitionChangeRecord};
use klamm_model::trace::TraceEvent;
use std::collections::{BTreeMap, BTreeSet};

/// A host and what runs on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostInfo {
    /// Its place.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<(NodeRef, NodeKind)>,
}

impl HostInfo {
    /// Every host of a world.
    pub fn all(sim: &dyn World) -> Vec<HostInfo> {
        sim.hosts()
            .map(|id| HostInfo {
                id,
                name: sim.host_name(id).to_owned(),
                nodes: sim.nodes_on(id).into_iter().map(|node| (node, sim.node_kind(node))).collect(),
            })
            .collect()
    }
}

/// A partition's committed state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionView {
    /// Where it lives.
    pub replicas: Vec<NodeId>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// The leader, or `NodeId::NONE`.
    pub leader: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// Eligible leader replicas.
    pub elr: Vec<NodeId>,
    /// The last known ones.
    pub last_known_elr: Vec<NodeId>,
}

impl PartitionView {
    /// What a record makes of it.
    pub fn change(&mut self, r: &PartitionChangeRecord) {
        if let Some(isr) = &r.isr {
            self.isr.clone_from(isr);
        }
        if let Some(replicas) = &r.replicas {
            self.replicas.clone_from(replicas);
        }
        if let Some(elr) = &r.elr {
            self.elr.clone_from(elr);
        }
        if let Some(last) = &r.last_known_elr {
            self.last_known_elr.clone_from(last);
        }
        if let Some(leader) = r.leader {
            self.leader = leader;
            self.leader_epoch = LeaderEpoch(self.leader_epoch.0 + 1);
        }
    }
}

/// What a replica said of itself, or was seen to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplicaView {
    /// Its high watermark.
    pub high_watermark: Offset,
    /// One past its last record on disk, synced or not.
    pub log_end: Offset,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct View {
    hosts: Vec<HostInfo>,
    host_of: BTreeMap<NodeRef, HostId>,
    broker_of: BTreeMap<NodeRef, NodeId>,
    broker_hosts: BTreeMap<NodeId, HostId>,
    up: BTreeSet<NodeRef>,
    registered: BTreeSet<NodeRef>,
    topics: BTreeMap<String, TopicId>,
    partitions: BTreeMap<TopicIdPartition, PartitionView>,
    replicas: BTreeMap<(TopicIdPartition, NodeId), ReplicaView>,
    controller: Option<HostId>,
    last_killed: Option<HostId>,
    committed: Offset,
    follow_appends: bool,
    groups: GroupsView,
    follow_groups: bool,
    version: u64,
}

impl View {
    /// Of a cluster that has not begun.
    pub fn new(hosts: Vec<HostInfo>) -> View {
        let nodes = || hosts.iter().flat_map(|h| h.nodes.iter().map(move |(node, kind)| (h.id, *node, *kind)));
        let controllers: Vec<_> = nodes().filter(|(_, _, kind)| matches!(kind, NodeKind::Controller(_))).collect();
        let brokers = || {
            nodes().filter_map(|(host, node, kind)| match kind {
                NodeKind::Broker(id) => Some((host, node, id)),
                _ => None,
            })
        };
        View {
            host_of: nodes().map(|(host, node, _)| (node, host)).collect(),
            broker_of: brokers().map(|(_, node, id)| (node, id)).collect(),
            broker_hosts: brokers().map(|(host, _, id)| (id, host)).collect(),
            up: BTreeSet::new(),
            registered: BTreeSet::new(),
            topics: BTreeMap::new(),
            partitions: BTreeMap::new(),
            replicas: BTreeMap::new(),
            controller: if let [(host, ..)] = controllers[..] { Some(host) } else { None },
            last_killed: None,
            committed: Offset::NONE,
            follow_appends: false,
            groups: GroupsView::default(),
            follow_groups: false,
            version: 0,
            hosts,
        }
    }
    /// Whether log ends are followed append by append (some conditions need it; it costs time).
    pub fn follow_appends(&mut self, on: bool) {
        self.follow_appends = on;
    }
    pub(super) fn follows_appends(&self) -> bool {
        self.follow_appends
    }
    /// Whether groups are followed (only expressions that name one need it).
    pub fn follow_groups(&mut self, on: bool) {
        self.follow_groups = on;
    }
    /// Whether an event tells something of groups, and somebody wants to know.
    pub(super) fn wants_of_groups(&self, event: &Event<'_>) -> bool {
        self.follow_groups && GroupsView::wants(event)
    }
    pub(super) fn groups(&self) -> &GroupsView {
        &self.groups
    }
    pub(super) fn host_of(&self, node: NodeRef) -> Option<HostId> {
        self.host_of.get(&node).copied()
    }
    /// Rises with everything a condition could depend on.
    pub fn version(&self) -> u64 {
        self.version
    }
    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + '_ {
        self.hosts.iter().map(|h| h.id)
    }
    /// The names of all hosts.
    pub fn host_names(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|h| h.name.as_str())
    }
    /// The offset of the last metadata record seen committed.
    pub fn committed_offset(&self) -> Offset {
        self.committed
    }
    /// A host's name.
    pub fn host_name(&self, host: HostId) -> &str {
        self.hosts.iter().find(|h| h.id == host).map_or("", |h| &h.name)
    }
    /// A host by name.
    pub fn host_named(&self, name: &str) -> Option<HostId> {
        self.hosts.iter().find(|h| h.name == name).map(|h| h.id)
    }
    /// The hosts with a broker.
    pub fn brokers(&self) -> impl Iterator<Item = HostId> + '_ {
        self.broker_hosts.values().copied()
    }
    /// The hosts with a client and no server.
    pub fn clients(&self) -> impl Iterator<Item = HostId> + '_ {
        let only_clients =
            |h: &&HostInfo| !h.nodes.is_empty() && h.nodes.iter().all(|(_, kind)| matches!(kind, NodeKind::Client(_)));
        self.hosts.iter().filter(only_clients).map(|h| h.id)
    }
    /// A broker's host.
    pub fn broker_host(&self, broker: NodeId) -> Option<HostId> {
        self.broker_hosts.get(&broker).copied()
    }
    /// The broker a node is.
    pub fn broker_of(&self, node: NodeRef) -> Option<NodeId> {
        self.broker_of.get(&node).copied()
    }
    /// The brokers on a host.
    pub fn brokers_on(&self, host: HostId) -> impl Iterator<Item = NodeId> + '_ {
        self.broker_hosts.iter().filter(move |(_, h)| **h == host).map(|(broker, _)| *broker)
    }
    /// The active controller's host.
    pub fn controller(&self) -> Option<HostId> {
        self.controller
    }
    /// The host that died last.
    pub fn last_killed(&self) -> Option<HostId> {
        self.last_killed
    }
    /// Whether all of a host's processes run.
    pub fn is_up(&self, host: HostId) -> bool {
        self.nodes_on(host).all(|node| self.up.contains(&node))
    }
    /// Whether a broker on this host has started and is not registered yet.
    pub fn is_loading(&self, host: HostId) -> bool {
        self.nodes_on(host).any(|node| {
            self.broker_of.contains_key(&node) && self.up.contains(&node) && !self.registered.contains(&node)
        })
    }
    fn nodes_on(&self, host: HostId) -> impl Iterator<Item = NodeRef> + '_ {
        self.hosts.iter().filter(move |h| h.id == host).flat_map(|h| h.nodes.iter().map(|(node, _)| *node))
    }
    /// A partition's id, if its topic exists.
    pub fn id(&self, name: &PartitionName) -> Option<TopicIdPartition> {
        self.topics.get(&name.topic).map(|topic| TopicIdPartition { topic: *topic, partition: name.partition })
    }
    /// A partition's committed state.
    pub fn partition(&self, name: &PartitionName) -> Option<&PartitionView> {
        self.partitions.get(&self.id(name)?)
    }
    /// By id.
    pub fn partition_by_id(&self, id: TopicIdPartition) -> Option<&PartitionView> {
        self.partitions.get(&id)
    }
    /// Every partition.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicIdPartition, &PartitionView)> {
        self.partitions.iter().map(|(id, p)| (*id, p))
    }
    /// The topics' names.
    pub fn topics(&self) -> impl Iterator<Item = (&str, TopicId)> {
        self.topics.iter().map(|(name, id)| (name.as_str(), *id))
    }
    /// What is known of a replica.
    pub fn replica(&self, partition: TopicIdPartition, broker: NodeId) -> Option<ReplicaView> {
        self.replicas.get(&(partition, broker)).copied()
    }

    fn started(&mut self, node: NodeRef) {
        self.up.insert(node);
        self.registered.remove(&node);
    }
    fn ended(&mut self, node: NodeRef, how: &Ending) {
        self.up.remove(&node);
        self.registered.remove(&node);
        if matches!(how, Ending::Killed | Ending::PowerLost) {
            self.last_killed = self.host_of.get(&node).copied();
        }
    }

    fn committed(&mut self, offset: Offset, record: &MetadataRecord) {
        if offset <= self.committed {
            return;
        }
        self.committed = offset;
        match record {
            MetadataRecord::Topic { name, topic_id } => {
                self.topics.insert(name.clone(), *topic_id);
            }
            MetadataRecord::RemoveTopic { topic_id } => {
                self.topics.retain(|_, id| id != topic_id);
                self.partitions.retain(|id, _| id.topic != *topic_id);
                self.replicas.retain(|(id, _), _| id.topic != *topic_id);
            }
            MetadataRecord::Partition(r) => {
                let view = PartitionView {
                    replicas: r.replicas.clone(),
                    isr: r.isr.clone(),
                    leader: r.leader,
                    leader_epoch: r.leader_epoch,
                    elr: r.elr.clone(),
                    last_known_elr: r.last_known_elr.clone(),
                };
                self.partitions.insert(r.partition, view);
            }
            MetadataRecord::PartitionChange(r) => {
                if let Some(p) = self.partitions.get_mut(&r.partition) {
                    p.change(r);
                }
            }
            _ => return,
        }
        self.version += 1;
    }

    fn replica_is(&mut self, node: Option<NodeRef>, id: TopicIdPartition, change: impl FnOnce(&mut ReplicaView)) {
        let Some(broker) = node.and_then(|node| self.broker_of(node)) else { return };
        let replica = self.replicas.entry((id, broker)).or_default();
        let before = *replica;
        change(replica);
        if *replica != before {
            self.version += 1;
        }
    }

    fn traced(&mut self, host: Option<HostId>, node: Option<NodeRef>, event: &TraceEvent) {
        match event {
            TraceEvent::MetadataCommitted { offset, record, .. } => self.committed(*offset, record),
            TraceEvent::ControllerActive { .. } => {
                self.controller = host;
                self.version += 1;
            }
            TraceEvent::BrokerRegistered { .. } => {
                self.registered.extend(node);
                self.version += 1;
            }
            TraceEvent::HighWatermark { partition, high_watermark, log_end, .. } => {
                let followed = self.follow_appends;
                self.replica_is(node, *partition, |r| {
                    r.high_watermark = *high_watermark;
                    // The disk may be ahead of what the replica has heard of.
                    r.log_end = if followed { r.log_end.max(*log_end) } else { *log_end };
                });
            }
            TraceEvent::BecameLeader { partition, epoch_start, high_watermark, .. } => {
                self.replica_is(node, *partition, |r| {
                    *r = ReplicaView { high_watermark: *high_watermark, log_end: *epoch_start };
                });
            }
            TraceEvent::BecameFollower { partition, log_end, .. }
            | TraceEvent::LogLoaded { partition, log_end, .. } => {
                self.replica_is(node, *partition, |r| r.log_end = *log_end);
            }
            TraceEvent::Truncated { partition, to, .. } => self.replica_is(node, *partition, |r| r.log_end = *to),
            _ => {}
        }
    }

    /// A replica's log grew on disk.
    fn appended(&mut self, node: Option<NodeRef>, path: &str, data: &Bytes) {
        let Some((dir, "log")) = path.split_once('/').map(|(dir, file)| (dir, file.rsplit('.').next().unwrap_or("")))
        else {
            return;
        };
        let Some(id) = PartitionName::read(dir).and_then(|name| self.id(&name)) else { return };
        if let Some(end) = end_of_batches(data) {
            self.replica_is(node, id, |r| r.log_end = r.log_end.max(end));
        }
    }
}

/// One past the last offset of the whole batches in `data`.
pub(super) fn end_of_batches(data: &[u8]) -> Option<Offset> {
    let (mut rest, mut end) = (data, None);
    while let Some(batch) = BatchSpan::read(rest) {
        end = Some(batch.next);
        rest = &rest[batch.size..];
    }
    end
}

/// Where a batch lies, from its header: base offset, length, and last offset delta (bytes 0, 8 and 23).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BatchSpan {
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last.
    pub next: Offset,
    /// Its length, bytes.
    pub size: usize,
}

impl BatchSpan {
    /// The whole batch at the beginning of `data`.
    pub fn read(data: &[u8]) -> Option<BatchSpan> {
        let base = i64::from_be_bytes(data.get(..8)?.try_into().ok()?);
        let length = i32::from_be_bytes(data.get(8..12)?.try_into().ok()?);
        let delta = i32::from_be_bytes(data.get(23..27)?.try_into().ok()?);
        let size = usize::try_from(length).ok()?.checked_add(12)?;
        let next = base.checked_add(i64::from(delta))?.checked_add(1)?;
        (size >= 61 && data.len() >= size).then_some(BatchSpan { base: Offset(base), next: Offset(next), size })
    }
}

impl Observer for View {
    fn event(&mut self, event: &Event<'_>) {
        if self.follow_groups && self.groups.event(event) {
            self.version += 1;
        }
        match &event.what {
            What::Trace(trace) => self.traced(event.host, event.node, trace),
            What::Started { .. } => {
                event.node.into_iter().for_each(|node| self.started(node));
                self.version += 1;
            }
            What::Ended { how, .. } => {
                event.node.into_iter().for_each(|node| self.ended(node, how));
                self.version += 1;
            }
            What::DiskDone { op: DiskOp::Append { file, data }, result: Ok(_) } if self.follow_appends => {
                self.appended(event.node, file.as_str(), data);
            }
            _ => {}
        }
    }
}
