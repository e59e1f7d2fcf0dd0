//! The cluster as its committed metadata and its nodes' roles make it.

use super::contents::Contents;
use super::ghost::{Ghost, Identities};
use super::replica::ReplicaIx;
use super::{NodeSetup, Role, Setup, TopicSetup};
use crate::event::{NodeRef, Ordinal};
use klamm_model::ids::*;
use klamm_model::record::schema::MetadataRecord;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Versions of a partition's state remembered, to compare with what leaders install late.
const VERSIONS: usize = 64;

/// A partition by its place in [`Cluster::parts`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PartIx(pub(crate) usize);

/// A partition's committed state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Committed {
    pub(crate) replicas: Vec<NodeId>,
    pub(crate) isr: Vec<NodeId>,
    pub(crate) elr: Vec<NodeId>,
    pub(crate) leader: NodeId,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: PartitionEpoch,
    /// The event that committed it.
    pub(crate) ordinal: Ordinal,
}

/// An election, as committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Election {
    pub(crate) leader: NodeId,
    pub(crate) clean: bool,
    pub(crate) ordinal: Ordinal,
}

/// What a node does for a partition.
#[derive(Debug, Default)]
pub(crate) enum Doing {
    /// Nothing that it has told of.
    #[default]
    Nothing,
    /// It leads.
    Leading(Box<Leading>),
    /// It follows.
    Following { epoch: LeaderEpoch },
}

/// A leader's state as seen from outside.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) epoch_start: Offset,
    pub(crate) isr: Vec<NodeId>,
    pub(crate) maximal: Vec<NodeId>,
    /// Where each follower last fetched from in this epoch.
    pub(crate) positions: Vec<(NodeId, Offset, Ordinal)>,
    /// When it took up the role.
    pub(crate) since: Ordinal,
    /// When its ISR last changed, or was asked to.
    pub(crate) isr_since: Ordinal,
}

/// One node's part in one partition.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) node: NodeRef,
    pub(crate) replica: Option<ReplicaIx>,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) log_start: Offset,
    /// Up to where it was asked to delete records.
    pub(crate) asked_to_delete: Option<Offset>,
    pub(crate) doing: Doing,
}

/// A partition.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) id: TopicIdPartition,
    pub(crate) topic: Arc<str>,
    pub(crate) committed: Option<Committed>,
    pub(crate) versions: VecDeque<(PartitionEpoch, Vec<NodeId>, Ordinal)>,
    pub(crate) elections: BTreeMap<LeaderEpoch, Election>,
    /// Who took up which epoch.
    pub(crate) leaders: BTreeMap<LeaderEpoch, (NodeRef, Ordinal)>,
    /// An unclean election (its place in the list) whose leader has not taken up its role yet.
    pub(crate) unclean: Option<usize>,
    /// Leaders of lower epochs were overruled by an unclean election: what they commit is lost already.
    pub(crate) floor: LeaderEpoch,
    pub(crate) identities: Identities,
    pub(crate) ghost: Ghost,
    /// What its batches held, if its topic is compacted.
    pub(crate) contents: Option<Box<Contents>>,
    /// The highest high watermark any leader ever had.
    pub(crate) highest_watermark: Offset,
    /// The highest log start any leader ever had.
    pub(crate) log_start: Offset,
    pub(crate) seats: Vec<Seat>,
    /// The last AlterPartition that reached a controller: the members' broker epochs as the leader saw them.
    pub(crate) asked_isr: Vec<(NodeId, BrokerEpoch)>,
    pub(crate) asked_at: Ordinal,
    pub(crate) deleted: bool,
}

impl Part {
    fn new(id: TopicIdPartition, topic: Arc<str>) -> Part {
        Part {
            id,
            topic,
            committed: None,
            versions: VecDeque::new(),
            elections: BTreeMap::new(),
            leaders: BTreeMap::new(),
            unclean: None,
            floor: LeaderEpoch(-1),
            identities: Identities::default(),
            ghost: Ghost::default(),
            contents: None,
            highest_watermark: Offset(0),
            log_start: Offset(0),
            seats: Vec::new(),
            asked_isr: Vec::new(),
            asked_at: Ordinal(0),
            deleted: false,
        }
    }
    pub(crate) fn seat(&self, node: NodeRef) -> Option<&Seat> {
        self.seats.iter().find(|s| s.node == node)
    }
    pub(crate) fn seat_mut(&mut self, node: NodeRef) -> &mut Seat {
        if let Some(at) = self.seats.iter().position(|s| s.node == node) {
            return &mut self.seats[at];
        }
        self.seats.push(Seat {
            node,
            replica: None,
            high_watermark: None,
            log_start: Offset(0),
            asked_to_delete: None,
            doing: Doing::Nothing,
        });
        self.seats.last_mut().expect("just pushed")
    }
    pub(crate) fn leading(&self, node: NodeRef) -> Option<&Leading> {
        match &self.seat(node)?.doing {
            Doing::Leading(leading) => Some(leading),
            _ => None,
        }
    }
    pub(crate) fn leading_mut(&mut self, node: NodeRef) -> Option<&mut Leading> {
        match &mut self.seats.iter_mut().find(|s| s.node == node)?.doing {
            Doing::Leading(leading) => Some(leading),
            _ => None,
        }
    }
    /// A leader's log starts here: what lies below is gone for good.
    pub(crate) fn trim(&mut self, below: Offset) {
        self.ghost.trim(below.0);
        self.identities.trim(below.0);
        if let Some(contents) = &mut self.contents {
            contents.trim(below.0);
        }
    }
    /// The node that leads in an epoch right now, by its own word and the controller's.
    pub(crate) fn leader_in(&self, epoch: LeaderEpoch) -> Option<(&Seat, &Leading)> {
        self.seats.iter().find_map(|s| match &s.doing {
            Doing::Leading(leading) if leading.epoch == epoch => Some((s, &**leading)),
            _ => None,
        })
    }
}

/// A broker as registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Registered {
    pub(crate) epoch: BrokerEpoch,
    pub(crate) incarnation: Uuid,
    pub(crate) fenced: bool,
    pub(crate) shutting_down: bool,
    pub(crate) ordinal: Ordinal,
}

/// The metadata log as committed, and what follows from it.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<NodeSetup>,
    topics: BTreeMap<String, TopicSetup>,
    default_topic: TopicSetup,
    pub(crate) elr: bool,
    pub(crate) parts: Vec<Part>,
    index: BTreeMap<TopicIdPartition, PartIx>,
    /// What was looked up last: events come in runs about one partition.
    recent: Option<(TopicIdPartition, PartIx)>,
    pub(crate) names: BTreeMap<Arc<str>, TopicId>,
    topic_names: BTreeMap<TopicId, Arc<str>>,
    pub(crate) brokers: BTreeMap<NodeId, Registered>,
    /// Committed records by offset.
    pub(crate) log: Vec<(Offset, LeaderEpoch, Arc<MetadataRecord>)>,
    /// One past the last committed offset.
    pub(crate) log_end: Offset,
    /// Changed since the last batch ended, with the state before.
    pub(crate) touched: Vec<(PartIx, Option<Committed>)>,
    /// Brokers whose registration changed since the last batch ended.
    pub(crate) brokers_touched: BTreeSet<NodeId>,
}

impl Cluster {
    pub(crate) fn new(setup: Setup) -> Cluster {
        let mut cluster = Cluster {
            nodes: setup.nodes,
            topics: setup.topics,
            default_topic: setup.default_topic,
            elr: setup.elr,
            parts: Vec::new(),
            index: BTreeMap::new(),
            recent: None,
            names: BTreeMap::new(),
            topic_names: BTreeMap::new(),
            brokers: BTreeMap::new(),
            log: Vec::new(),
            log_end: Offset(0),
            touched: Vec::new(),
            brokers_touched: BTreeSet::new(),
        };
        cluster.topic_names.insert(TopicId::METADATA, Arc::from(METADATA_TOPIC));
        cluster
    }
    pub(crate) fn find(&self, id: TopicIdPartition) -> Option<PartIx> {
        match self.recent {
            Some((recent, ix)) if recent == id => Some(ix),
            _ => self.index.get(&id).copied(),
        }
    }
    pub(crate) fn part(&mut self, id: TopicIdPartition) -> PartIx {
        let ix = self.find(id).unwrap_or_else(|| self.add(id));
        self.recent = Some((id, ix));
        ix
    }
    fn add(&mut self, id: TopicIdPartition) -> PartIx {
        let topic = self.topic_names.get(&id.topic).cloned().unwrap_or_else(|| Arc::from("?"));
        self.parts.push(Part::new(id, topic));
        let ix = PartIx(self.parts.len() - 1);
        self.index.insert(id, ix);
        ix
    }
    /// A partition as a message names it: by topic id, or before those by name.
    pub(crate) fn named(&self, name: &str, id: Uuid, partition: i32) -> Option<PartIx> {
        let topic = if id.is_nil() { *self.names.get(name)? } else { TopicId(id) };
        self.find(TopicIdPartition { topic, partition })
    }
    pub(crate) fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.topic_names.get(&topic).map(|n| &**n)
    }
    pub(crate) fn topic(&self, name: &str) -> TopicSetup {
        self.topics.get(name).copied().unwrap_or(self.default_topic)
    }
    /// Whether any topic is compacted.
    pub(crate) fn compacts(&self) -> bool {
        self.topics.values().chain([&self.default_topic]).any(|t| t.compaction.is_some())
    }
    /// How large the ISR must be: `min.insync.replicas`, but no more than there are replicas.
    pub(crate) fn effective_min_isr(&self, part: &Part) -> usize {
        let min = self.topic(&part.topic).min_insync_replicas as usize;
        part.committed.as_ref().map_or(min, |c| min.min(c.replicas.len()))
    }
    pub(crate) fn broker_id(&self, node: NodeRef) -> Option<NodeId> {
        match self.nodes.get(node.0 as usize)?.role {
            Role::Broker(id) => Some(id),
            _ => None,
        }
    }
    pub(crate) fn broker(&self, id: NodeId) -> Option<NodeRef> {
        self.nodes.iter().position(|n| n.role == Role::Broker(id)).map(|at| NodeRef(at as u16))
    }
    pub(crate) fn is_controller(&self, node: NodeRef) -> bool {
        self.nodes.get(node.0 as usize).is_some_and(|n| matches!(n.role, Role::Controller(_)))
    }
    pub(crate) fn name(&self, node: NodeRef) -> &str {
        self.nodes.get(node.0 as usize).map_or("?", |n| &n.name)
    }

    /// Replays one committed record. Partition states before it are kept in `touched` until the batch ends.
    pub(crate) fn replay(&mut self, record: &MetadataRecord, ordinal: Ordinal) {
        match record {
            MetadataRecord::Topic { name, topic_id } => {
                let name: Arc<str> = Arc::from(name.as_str());
                self.names.insert(name.clone(), *topic_id);
                self.topic_names.insert(*topic_id, name);
            }
            MetadataRecord::RemoveTopic { topic_id } => {
                self.names.retain(|_, id| id != topic_id);
                for part in self.parts.iter_mut().filter(|p| p.id.topic == *topic_id) {
                    part.deleted = true;
                }
            }
            MetadataRecord::Partition(r) => {
                let ix = self.part(r.partition);
                let new = Committed {
                    replicas: r.replicas.clone(),
                    isr: r.isr.clone(),
                    elr: r.elr.clone(),
                    leader: r.leader,
                    leader_epoch: r.leader_epoch,
                    partition_epoch: r.partition_epoch,
                    ordinal,
                };
                self.install(ix, new, true);
            }
            MetadataRecord::PartitionChange(r) => {
                let ix = self.part(r.partition);
                let Some(mut new) = self.parts[ix.0].committed.clone() else { return };
                let clean = match r.leader {
                    Some(leader) if leader != NodeId::NONE => {
                        r.leader_recovery_state != Some(1)
                            && (new.isr.contains(&leader) || new.elr.contains(&leader) || new.leader == leader)
                    }
                    _ => true,
                };
                if let Some(isr) = &r.isr {
                    new.isr.clone_from(isr);
                }
                if let Some(replicas) = &r.replicas {
                    new.replicas.clone_from(replicas);
                }
                if let Some(elr) = &r.elr {
                    new.elr.clone_from(elr);
                }
                if let Some(leader) = r.leader {
                    new.leader = leader;
                    new.leader_epoch.0 += 1;
                }
                new.partition_epoch.0 += 1;
                new.ordinal = ordinal;
                self.install(ix, new, clean);
            }
            MetadataRecord::RegisterBroker(r) => {
                let new = Registered {
                    epoch: r.broker_epoch,
                    incarnation: r.incarnation_id,
                    fenced: r.fenced,
                    shutting_down: r.in_controlled_shutdown,
                    ordinal,
                };
                self.brokers.insert(r.broker_id, new);
                self.brokers_touched.insert(r.broker_id);
            }
            MetadataRecord::UnregisterBroker { broker_id, .. } => {
                self.brokers.remove(broker_id);
                self.brokers_touched.insert(*broker_id);
            }
            MetadataRecord::BrokerRegistrationChange(r) => {
                if let Some(broker) = self.brokers.get_mut(&r.broker_id) {
                    broker.fenced = r.fenced.unwrap_or(broker.fenced);
                    broker.shutting_down = r.in_controlled_shutdown.unwrap_or(broker.shutting_down);
                    broker.ordinal = ordinal;
                    self.brokers_touched.insert(r.broker_id);
                }
            }
            MetadataRecord::Config { resource_type: 2, resource_name, name, value } => {
                let default = self.default_topic;
                let topic = self.topics.entry(resource_name.clone()).or_insert(default);
                match name.as_str() {
                    "min.insync.replicas" => {
                        let value = value.as_ref().and_then(|v| v.parse().ok());
                        topic.min_insync_replicas = value.unwrap_or(default.min_insync_replicas);
                    }
                    "retention.bytes" => {
                        let value = value.as_ref().and_then(|v| v.parse().ok());
                        topic.retention_bytes = value.unwrap_or(default.retention_bytes);
                    }
                    "retention.ms" => {
                        let value = value.as_ref().and_then(|v| v.parse().ok());
                        topic.retention_ms = value.unwrap_or(default.retention_ms);
                    }
                    _ => {}
                }
            }
            MetadataRecord::FeatureLevel { name, level } if name == "eligible.leader.replicas.version" => {
                self.elr = *level > 0;
            }
            MetadataRecord::Config { .. }
            | MetadataRecord::FeatureLevel { .. }
            | MetadataRecord::ProducerIds { .. }
            | MetadataRecord::NoOp => {}
        }
    }

    fn install(&mut self, ix: PartIx, new: Committed, clean: bool) {
        let part = &mut self.parts[ix.0];
        let before = part.committed.take();
        if before.as_ref().is_none_or(|b| b.leader_epoch != new.leader_epoch) {
            part.elections.insert(new.leader_epoch, Election { leader: new.leader, clean, ordinal: new.ordinal });
        }
        part.versions.push_back((new.partition_epoch, new.isr.clone(), new.ordinal));
        if part.versions.len() > VERSIONS {
            part.versions.pop_front();
        }
        part.committed = Some(new);
        if !self.touched.iter().any(|(t, _)| *t == ix) {
            self.touched.push((ix, before));
        }
    }
}
