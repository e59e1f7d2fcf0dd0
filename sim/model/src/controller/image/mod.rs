//! The metadata image: what the records of `__cluster_metadata` add up to, on controllers and brokers alike.
//!
//! An image changes by [`Image::replay`] alone, so two images that replayed the same records are equal, and so are
//! their [digests](Image::digest). It never decides anything. Follows Kafka's `MetadataImage` and the `replay`
//! methods of its control managers.

mod digest;
#[cfg(test)]
mod tests;

use crate::ids::*;
use crate::record::schema::{BrokerEndpoint, MetadataRecord, PartitionChangeRecord};
use std::collections::BTreeMap;

/// The resource type of a topic's configuration (Kafka: `ConfigResource.Type.TOPIC`).
pub const TOPIC_RESOURCE: i8 = 2;
/// The resource type of a broker's configuration; an empty name stands for every broker.
pub const BROKER_RESOURCE: i8 = 4;
/// The feature that switches eligible leader replicas on (KIP-966).
pub const ELR_FEATURE: &str = "eligible.leader.replicas.version";
/// The feature that says which metadata records may be written.
pub const METADATA_VERSION_FEATURE: &str = "metadata.version";

/// A registered broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerImage {
    /// Issued at its registration.
    pub epoch: BrokerEpoch,
    /// The process's own id.
    pub incarnation: Uuid,
    /// Where it listens.
    pub endpoints: Vec<BrokerEndpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Whether it is kept out of leadership and ISRs.
    pub fenced: bool,
    /// Whether it is moving its leaderships away.
    pub in_controlled_shutdown: bool,
    /// Its log directories' ids.
    pub log_dirs: Vec<Uuid>,
}

impl BrokerImage {
    /// The listener of that name.
    pub fn endpoint(&self, name: &str) -> Option<&BrokerEndpoint> {
        self.endpoints.iter().find(|e| e.name == name)
    }
    /// Neither fenced nor shutting down: may lead and may join an ISR (KIP-841).
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicImage {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// Its partitions by index.
    pub partitions: BTreeMap<i32, PartitionImage>,
}

/// A partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionImage {
    /// Where it lives, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<NodeId>,
    /// Former members of the ELR; in practice the last leader alone.
    pub last_known_elr: Vec<NodeId>,
    /// The leader, or [`NodeId::NONE`].
    pub leader: NodeId,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The version of this state.
    pub partition_epoch: PartitionEpoch,
    /// 1 while the leader recovers from an unclean election, else 0.
    pub leader_recovery_state: i8,
}

impl PartitionImage {
    /// Applies a change, as Kafka's `PartitionRegistration.merge`: a leader given, even the same one, raises the
    /// leader epoch; the partition epoch rises always.
    pub fn merge(&mut self, change: &PartitionChangeRecord) {
        if let Some(leader) = change.leader {
            self.leader = leader;
            self.leader_epoch.0 += 1;
        }
        self.partition_epoch.0 += 1;
        let set = |field: &mut Vec<NodeId>, to: &Option<Vec<NodeId>>| {
            if let Some(to) = to {
                field.clone_from(to);
            }
        };
        set(&mut self.isr, &change.isr);
        set(&mut self.replicas, &change.replicas);
        set(&mut self.elr, &change.elr);
        set(&mut self.last_known_elr, &change.last_known_elr);
        if let Some(state) = change.leader_recovery_state {
            self.leader_recovery_state = state;
        }
    }
}

/// What a record changed, for those who must act on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delta {
    /// Nothing that is part of the image.
    Nothing,
    /// A broker was registered, fenced, unfenced, is shutting down, or is gone.
    Broker(NodeId),
    /// A topic came; its partitions follow.
    TopicCreated(TopicId),
    /// A topic went, with its partitions.
    TopicRemoved(TopicImage),
    /// A partition came or changed.
    Partition(TopicIdPartition),
    /// A topic's configuration changed.
    TopicConfig(String),
    /// A broker's configuration changed; `None`: that of all brokers.
    BrokerConfig(Option<NodeId>),
    /// A block of producer ids was given away.
    ProducerIds,
    /// A feature's level was set.
    Feature(String),
}

/// A record does not fit what came before it: the log is not one that a controller wrote.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("metadata record at offset {offset} does not fit: {why}")]
pub struct ReplayError {
    /// The record's offset.
    pub offset: Offset,
    /// What is missing or double.
    pub why: Misfit,
}

/// What a metadata record names, and the image has not, or has already.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misfit {
    /// A topic of this name or id is there.
    #[error("topic {0} exists")]
    TopicExists(String),
    /// No topic has this id.
    #[error("no topic {0:?}")]
    NoTopic(TopicId),
    /// There is no such partition.
    #[error("no partition {0:?}")]
    NoPartition(TopicIdPartition),
    /// A configuration of neither a topic nor a broker.
    #[error("resource type {0}")]
    ResourceType(i8),
    /// A block of producer ids begins below what was given away.
    #[error("producer ids from {0} were given away before")]
    ProducerIdsGiven(i64),
    /// No broker of this id is registered.
    #[error("no broker {0}")]
    NoBroker(NodeId),
    /// The broker is registered under another epoch.
    #[error("broker {id} has epoch {has}, not {named}")]
    BrokerEpoch {
        /// Which broker.
        id: NodeId,
        /// Its epoch.
        has: BrokerEpoch,
        /// The record's.
        named: BrokerEpoch,
    },
}

/// What the metadata log adds up to, up to an offset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    next_offset: Offset,
    epoch: LeaderEpoch,
    topics: BTreeMap<TopicId, TopicImage>,
    names: BTreeMap<String, TopicId>,
    brokers: BTreeMap<NodeId, BrokerImage>,
    configs: BTreeMap<(i8, String), BTreeMap<String, String>>,
    features: BTreeMap<String, i16>,
    next_producer_id: i64,
}

impl Image {
    /// An empty one: nothing replayed yet.
    pub fn new() -> Image {
        Image::default()
    }

    /// One past the last offset replayed or [passed](Image::advance).
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }
    /// The quorum epoch of the last record replayed or passed.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Topics in order of id.
    pub fn topics(&self) -> impl Iterator<Item = &TopicImage> {
        self.topics.values()
    }
    /// Topics in order of name.
    pub fn topics_by_name(&self) -> impl Iterator<Item = &TopicImage> {
        self.names.values().map(|id| &self.topics[id])
    }
    /// A topic.
    pub fn topic(&self, id: TopicId) -> Option<&TopicImage> {
        self.topics.get(&id)
    }
    /// A topic.
    pub fn topic_by_name(&self, name: &str) -> Option<&TopicImage> {
        self.names.get(name).map(|id| &self.topics[id])
    }
    /// A topic's id.
    pub fn topic_id(&self, name: &str) -> Option<TopicId> {
        self.names.get(name).copied()
    }
    /// A topic's name.
    pub fn topic_name(&self, id: TopicId) -> Option<&str> {
        self.topics.get(&id).map(|t| t.name.as_str())
    }
    /// A partition.
    pub fn partition(&self, p: TopicIdPartition) -> Option<&PartitionImage> {
        self.topics.get(&p.topic)?.partitions.get(&p.partition)
    }
    /// Every partition, in order of topic id and index.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicIdPartition, &PartitionImage)> {
        self.topics
            .values()
            .flat_map(|t| t.partitions.iter().map(|(&partition, p)| (TopicIdPartition { topic: t.id, partition }, p)))
    }

    /// Registered brokers in order of id.
    pub fn brokers(&self) -> impl Iterator<Item = (NodeId, &BrokerImage)> {
        self.brokers.iter().map(|(&id, b)| (id, b))
    }
    /// A registered broker.
    pub fn broker(&self, id: NodeId) -> Option<&BrokerImage> {
        self.brokers.get(&id)
    }
    /// Whether a broker is registered, unfenced and not shutting down.
    pub fn is_active(&self, id: NodeId) -> bool {
        self.broker(id).is_some_and(BrokerImage::is_active)
    }

    /// What was set for a topic.
    pub fn topic_config(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.configs.get(&(TOPIC_RESOURCE, name.to_owned()))
    }
    /// What was set for a broker, or for every broker (`None`).
    pub fn broker_config(&self, id: Option<NodeId>) -> Option<&BTreeMap<String, String>> {
        self.configs.get(&(BROKER_RESOURCE, id.map_or(String::new(), |id| id.to_string())))
    }
    /// A feature's level; 0 if it was never set.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }
    /// Whether eligible leader replicas are kept (KIP-966).
    pub fn elr_enabled(&self) -> bool {
        self.feature(ELR_FEATURE) >= 1
    }
    /// The first producer id not given away.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Passes a record that is no metadata record, such as a leader change.
    pub fn advance(&mut self, offset: Offset, epoch: LeaderEpoch) {
        self.next_offset = offset.plus(1);
        self.epoch = epoch;
    }

    /// Applies a record and says what changed.
    ///
    /// # Errors
    /// [`ReplayError`], with the image as it was, if the record names what is not there.
    pub fn replay(
        &mut self,
        offset: Offset,
        epoch: LeaderEpoch,
        record: &MetadataRecord,
    ) -> Result<Delta, ReplayError> {
        let delta = self.apply(record).map_err(|why| ReplayError { offset, why })?;
        self.advance(offset, epoch);
        Ok(delta)
    }

    fn apply(&mut self, record: &MetadataRecord) -> Result<Delta, Misfit> {
        match record {
            MetadataRecord::RegisterBroker(r) => {
                let broker = BrokerImage {
                    epoch: r.broker_epoch,
                    incarnation: r.incarnation_id,
                    endpoints: r.endpoints.clone(),
                    rack: r.rack.clone(),
                    fenced: r.fenced,
                    in_controlled_shutdown: r.in_controlled_shutdown,
                    log_dirs: r.log_dirs.clone(),
                };
                self.brokers.insert(r.broker_id, broker);
                Ok(Delta::Broker(r.broker_id))
            }
            MetadataRecord::UnregisterBroker { broker_id, broker_epoch } => {
                self.registered(*broker_id, *broker_epoch)?;
                self.brokers.remove(broker_id);
                Ok(Delta::Broker(*broker_id))
            }
            MetadataRecord::BrokerRegistrationChange(r) => {
                let broker = self.registered(r.broker_id, r.broker_epoch)?;
                broker.fenced = r.fenced.unwrap_or(broker.fenced);
                broker.in_controlled_shutdown = r.in_controlled_shutdown.unwrap_or(broker.in_controlled_shutdown);
                Ok(Delta::Broker(r.broker_id))
            }
            MetadataRecord::Topic { name, topic_id } => {
                if self.names.contains_key(name) || self.topics.contains_key(topic_id) {
                    return Err(Misfit::TopicExists(name.clone()));
                }
                self.names.insert(name.clone(), *topic_id);
                let topic = TopicImage { id: *topic_id, name: name.clone(), partitions: BTreeMap::new() };
                self.topics.insert(*topic_id, topic);
                Ok(Delta::TopicCreated(*topic_id))
            }
            MetadataRecord::RemoveTopic { topic_id } => {
                let topic = self.topics.remove(topic_id).ok_or(Misfit::NoTopic(*topic_id))?;
                self.names.remove(&topic.name);
                self.configs.remove(&(TOPIC_RESOURCE, topic.name.clone()));
                Ok(Delta::TopicRemoved(topic))
            }
            MetadataRecord::Partition(r) => {
                let topic = self.topics.get_mut(&r.partition.topic);
                let topic = topic.ok_or(Misfit::NoTopic(r.partition.topic))?;
                let partition = PartitionImage {
                    replicas: r.replicas.clone(),
                    isr: r.isr.clone(),
                    elr: r.elr.clone(),
                    last_known_elr: r.last_known_elr.clone(),
                    leader: r.leader,
                    leader_epoch: r.leader_epoch,
                    partition_epoch: r.partition_epoch,
                    leader_recovery_state: 0,
                };
                topic.partitions.insert(r.partition.partition, partition);
                Ok(Delta::Partition(r.partition))
            }
            MetadataRecord::PartitionChange(r) => {
                let topic = self.topics.get_mut(&r.partition.topic);
                let partition = topic.and_then(|t| t.partitions.get_mut(&r.partition.partition));
                partition.ok_or(Misfit::NoPartition(r.partition))?.merge(r);
                Ok(Delta::Partition(r.partition))
            }
            MetadataRecord::Config { resource_type, resource_name, name, value } => {
                let delta = match *resource_type {
                    TOPIC_RESOURCE => Delta::TopicConfig(resource_name.clone()),
                    BROKER_RESOURCE => Delta::BrokerConfig(resource_name.parse().ok().map(NodeId)),
                    other => return Err(Misfit::ResourceType(other)),
                };
                let key = (*resource_type, resource_name.clone());
                match value {
                    Some(value) => {
                        self.configs.entry(key).or_default().insert(name.clone(), value.clone());
                    }
                    None => {
                        if let Some(set) = self.configs.get_mut(&key) {
                            set.remove(name);
                            if set.is_empty() {
                                self.configs.remove(&key);
                            }
                        }
                    }
                }
                Ok(delta)
            }
            MetadataRecord::ProducerIds { next_producer_id, .. } => {
                if *next_producer_id < self.next_producer_id {
                    return Err(Misfit::ProducerIdsGiven(*next_producer_id));
                }
                self.next_producer_id = *next_producer_id;
                Ok(Delta::ProducerIds)
            }
            MetadataRecord::FeatureLevel { name, level } => {
                match *level {
                    0 => self.features.remove(name),
                    level => self.features.insert(name.clone(), level),
                };
                Ok(Delta::Feature(name.clone()))
            }
            MetadataRecord::NoOp => Ok(Delta::Nothing),
        }
    }

    fn registered(&mut self, id: NodeId, epoch: BrokerEpoch) -> Result<&mut BrokerImage, Misfit> {
        match self.brokers.get_mut(&id) {
            Some(broker) if broker.epoch == epoch => Ok(broker),
            Some(broker) => Err(Misfit::BrokerEpoch { id, has: broker.epoch, named: epoch }),
            None => Err(Misfit::NoBroker(id)),
        }
    }
}
