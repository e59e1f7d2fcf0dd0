//! What a client knows of the cluster: brokers, topics by name, and who leads each partition since which epoch.
//!
//! Knowledge never goes back to an older leader epoch of the same topic (KIP-320). Refreshed when it is too old,
//! when an error or a lost connection casts doubt on it, and when a topic is first needed; never more often than
//! the backoff allows. Topics are never created by asking for them: brokers of the model do not do that.
//! Follows Kafka's `Metadata`.

use super::backoff::Backoff;
use super::errors;
use super::network::{Network, NetworkEvent};
use crate::defects::{Defect, Defects};
use crate::ids::{ApiKey, LeaderEpoch, NodeId, TopicId, TopicName};
use crate::node::{Endpoint, Outbox};
use crate::units::{Duration, Instant};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;
use std::sync::Arc;

/// A topic's place in [`Metadata`]; stays the same for the client's life.
pub type TopicIndex = usize;

/// What is known of a topic.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// The same, for messages.
    pub wire_name: TopicName,
    /// Its id; zero while unknown.
    pub id: TopicId,
    /// The error of the latest answer; [`errors::LEADER_NOT_AVAILABLE`] before there is one.
    pub error: i16,
    /// Empty while the topic is unknown.
    pub partitions: Vec<Partition>,
}

/// What is known of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// The leader's epoch; [`LeaderEpoch::NONE`] if brokers do not say.
    pub epoch: LeaderEpoch,
    /// The newest epoch heard of in any answer.
    pub last_seen: LeaderEpoch,
    /// All replicas.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
}

impl Partition {
    const UNKNOWN: Partition = Partition {
        leader: None,
        epoch: LeaderEpoch::NONE,
        last_seen: LeaderEpoch::NONE,
        replicas: Vec::new(),
        isr: Vec::new(),
    };
}

/// A client's knowledge of the cluster.
#[derive(Debug)]
pub struct Metadata {
    topics: Vec<Topic>,
    backoff: Backoff,
    max_age: Duration,
    /// An update was asked for.
    wanted: bool,
    /// How often topics were added; a request that left before does not satisfy the need.
    additions: u32,
    answered_additions: u32,
    /// The `additions` of the request under way.
    in_flight: Option<u32>,
    not_before: Instant,
    refreshed: Option<Instant>,
    failures: u32,
    /// Answers in a row that brought nothing new.
    unchanged: u32,
    updates: u64,
    defects: Defects,
}

impl Metadata {
    /// Knows nothing.
    pub fn new(backoff: Backoff, max_age: Duration, defects: Defects) -> Metadata {
        Metadata {
            topics: Vec::new(),
            backoff,
            // Kafka's `Metadata.timeToNextUpdate`: never sooner than the back-off allows.
            max_age: max_age.max(backoff.first).max(Duration::from_millis(1)),
            wanted: true,
            additions: 0,
            answered_additions: 0,
            in_flight: None,
            not_before: Instant::ZERO,
            refreshed: None,
            failures: 0,
            unchanged: 0,
            updates: 0,
            defects,
        }
    }

    /// A topic's index, adding it (and asking for it) if it is new.
    pub fn topic(&mut self, name: &str) -> TopicIndex {
        if let Some(found) = self.topics.iter().position(|t| &*t.name == name) {
            return found;
        }
        self.additions += 1;
        self.topics.push(Topic {
            name: Arc::from(name),
            wire_name: TopicName(StrBytes::from_string(name.to_owned())),
            id: TopicId::ZERO,
            error: errors::LEADER_NOT_AVAILABLE,
            partitions: Vec::new(),
        });
        self.topics.len() - 1
    }

    /// What is known of a topic.
    pub fn get(&self, topic: TopicIndex) -> &Topic {
        &self.topics[topic]
    }
    /// The topic of that id, or of that name if the id is zero.
    pub fn find(&self, id: TopicId, name: &TopicName) -> Option<TopicIndex> {
        if id == TopicId::ZERO {
            self.topics.iter().position(|t| t.wire_name == *name)
        } else {
            self.topics.iter().position(|t| t.id == id)
        }
    }
    /// What is known of a partition.
    pub fn partition(&self, topic: TopicIndex, partition: i32) -> Option<&Partition> {
        self.topics[topic].partitions.get(usize::try_from(partition).ok()?)
    }
    /// The current leader and its epoch. `None` also while a newer epoch has been heard of than the leader's.
    pub fn leader(&self, topic: TopicIndex, partition: i32) -> Option<(NodeId, LeaderEpoch)> {
        let p = self.partition(topic, partition)?;
        let outdated = p.epoch != LeaderEpoch::NONE && p.epoch < p.last_seen;
        if outdated { None } else { p.leader.map(|leader| (leader, p.epoch)) }
    }
    /// Rises whenever anything may have changed.
    pub fn updates(&self) -> u64 {
        self.updates
    }
    /// Whether every topic that was ever asked for has been answered for, if only with an error.
    pub fn knows_all(&self) -> bool {
        self.additions == self.answered_additions
    }
    /// Whether an update is needed, or under way, and has not come.
    pub fn is_awaited(&self) -> bool {
        !self.topics.is_empty() && (self.wanted || self.in_flight.is_some() || !self.knows_all())
    }
    /// Asks for an update as soon as the backoff allows.
    pub fn request_update(&mut self) {
        self.wanted = true;
    }

    /// An answer named this leader epoch; if it is newer than the leader known, that one is not to be used.
    pub fn saw_epoch(&mut self, topic: TopicIndex, partition: i32, epoch: LeaderEpoch) {
        let Some(p) = self.topics[topic].partitions.get_mut(partition as usize) else { return };
        if p.last_seen != LeaderEpoch::NONE && epoch > p.last_seen {
            p.last_seen = epoch;
            self.updates += 1;
            self.wanted = true;
        }
    }

    /// A broker said who leads instead of itself (KIP-951). Returns whether that was news.
    pub fn leader_hint(&mut self, topic: TopicIndex, partition: i32, leader: NodeId, epoch: LeaderEpoch) -> bool {
        let Some(p) = self.topics[topic].partitions.get_mut(partition as usize) else { return false };
        if leader.0 < 0 || epoch.0 < 0 || epoch <= p.last_seen.max(p.epoch) {
            return false;
        }
        p.leader = Some(leader);
        p.epoch = epoch;
        p.last_seen = epoch;
        self.updates += 1;
        true
    }

    fn due_at(&self) -> Instant {
        if self.topics.is_empty() {
            Instant::MAX
        } else if self.additions != self.answered_additions && self.failures == 0 {
            Instant::ZERO
        } else if self.wanted {
            self.not_before
        } else {
            self.refreshed.map_or(Instant::ZERO, |at| at + self.max_age).max(self.not_before)
        }
    }

    /// Sends a request if one is due and a node can be reached. Returns when to come back.
    pub fn poll<T>(
        &mut self,
        now: Instant,
        net: &mut Network<T>,
        tag: impl FnOnce() -> T,
        out: &mut Outbox,
    ) -> Instant {
        if self.in_flight.is_some() {
            return Instant::MAX;
        }
        let due = self.due_at();
        if due > now {
            return due;
        }
        let Some(node) = net.least_loaded(now) else {
            return net.next_retry().unwrap_or(Instant::MAX);
        };
        if !net.connect(now, node, out) {
            return net.retry_at(node).unwrap_or(Instant::MAX);
        }
        let Some(version) = net.version(node, ApiKey::Metadata) else {
            return self.failed(now, net);
        };
        let topics = self.topics.iter().map(|t| MetadataRequestTopic::default().with_name(Some(t.wire_name.clone())));
        let mut request = MetadataRequest::default().with_topics(Some(topics.collect()));
        if version >= 4 {
            request.allow_auto_topic_creation = false;
        }
        net.send(now, node, request, tag(), out);
        self.in_flight = Some(self.additions);
        Instant::MAX
    }

    /// The request under way was lost, or its answer was an error. Returns when to come back.
    pub fn failed<T>(&mut self, now: Instant, net: &mut Network<T>) -> Instant {
        self.in_flight = None;
        self.wanted = true;
        self.not_before = now + self.backoff.after(self.failures, net.rng());
        self.failures += 1;
        self.unchanged = 0;
        self.not_before
    }

    /// An answer. Returns connections that ended because a broker has a new address.
    pub fn on_response<T>(
        &mut self,
        now: Instant,
        version: i16,
        response: MetadataResponse,
        net: &mut Network<T>,
        out: &mut Outbox,
    ) -> Vec<NetworkEvent<T>> {
        if response.brokers.is_empty() {
            if self.defects.on(Defect::NoBrokersForgetsAddresses) {
                net.forget_addresses();
            }
            self.failed(now, net);
            return Vec::new();
        }
        let asked = self.in_flight.take();
        self.answered_additions = asked.unwrap_or(self.answered_additions);
        self.wanted = false;
        self.refreshed = Some(now);
        self.failures = 0;
        self.updates += 1;
        net.forget_brokers();
        let mut lost = Vec::new();
        for broker in &response.brokers {
            let endpoint = Endpoint::new(broker.host.as_str(), broker.port as u16);
            lost.extend(net.set_broker(now, NodeId(broker.node_id.0), endpoint, out));
        }
        let mut news = false;
        for theirs in &response.topics {
            let Some(ours) = self.topics.iter_mut().find(|t| Some(&t.wire_name) == theirs.name.as_ref()) else {
                continue;
            };
            ours.error = theirs.error_code;
            if theirs.error_code != errors::NONE {
                self.wanted |= errors::is_stale_metadata(theirs.error_code);
                // Kafka forgets the leaders and keeps the epochs.
                ours.partitions.iter_mut().for_each(|p| p.leader = None);
                continue;
            }
            let id = TopicId(theirs.topic_id);
            let another = id != TopicId::ZERO && ours.id != TopicId::ZERO && ours.id != id;
            if another {
                ours.partitions.clear();
            }
            if id != TopicId::ZERO {
                ours.id = id;
            }
            for p in &theirs.partitions {
                let (changed, stale) = update_partition(&mut ours.partitions, p, version);
                news |= changed;
                self.wanted |= stale;
            }
        }
        self.unchanged = if news { 0 } else { self.unchanged + 1 };
        self.not_before = now + self.backoff.after(self.unchanged.saturating_sub(1), net.rng());
        lost
    }
}

/// Takes over what is not older than what is known. Returns whether it was news, and whether it is known to be
/// out of date already.
fn update_partition(ours: &mut Vec<Partition>, theirs: &MetadataResponsePartition, version: i16) -> (bool, bool) {
    let Ok(index) = usize::try_from(theirs.partition_index) else { return (false, false) };
    // A bound against answers that name absurd partitions; Kafka's own clients have none.
    if index >= crate::limits::MAX_PARTITIONS_PER_TOPIC {
        return (false, false);
    }
    if ours.len() <= index {
        ours.resize(index + 1, Partition::UNKNOWN);
    }
    let p = &mut ours[index];
    let stale = errors::is_stale_metadata(theirs.error_code);
    // Before version 9 a broker could answer with epochs older than those it had already given (KAFKA-9212).
    let epoch = if version >= 9 { LeaderEpoch(theirs.leader_epoch) } else { LeaderEpoch::NONE };
    if epoch != LeaderEpoch::NONE && epoch < p.last_seen {
        return (false, stale);
    }
    let leader = (theirs.leader_id.0 >= 0).then_some(NodeId(theirs.leader_id.0));
    let nodes = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| NodeId(id.0)).collect();
    let news = epoch == LeaderEpoch::NONE || epoch > p.last_seen || leader != p.leader;
    *p = Partition {
        leader,
        epoch,
        last_seen: epoch,
        replicas: nodes(&theirs.replica_nodes),
        isr: nodes(&theirs.isr_nodes),
    };
    (news, stale)
}
