//! The admin client: creates, grows and describes topics, lists offsets, those of groups too.
//!
//! Every operation is one request for one thing, tried again until it succeeds, is refused for good, or
//! `default.api.timeout.ms` is over. Follows Kafka's `KafkaAdminClient`, which also tries again after errors that
//! newer metadata may cure.

use super::backoff::Backoff;
use super::errors;
use super::metadata::{Metadata, TopicIndex};
use super::network::{Network, NetworkEvent};
use crate::channel::ChannelConfig;
use crate::defects::Defects;
use crate::history::{IsolationLevel, TopicPartition};
use crate::ids::{ApiKey, LeaderEpoch, NodeId, Offset, TopicId, TopicName};
use crate::inspect::ReachInspection;
use crate::node::{Endpoint, Input, Outbox};
use crate::units::{Duration, Instant, Now};
use crate::versions::VersionCaps;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, FindCoordinatorRequest, GroupId, ListOffsetsRequest, MetadataRequest,
    OffsetFetchRequest, RequestKind, ResponseKind,
};
use kafka_protocol::protocol::StrBytes;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// `AdminClientConfig` of Kafka's Java client, as far as needed.
#[derive(Clone, PartialEq, Debug)]
pub struct AdminConfig {
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: how long one operation may take, retries included.
    pub api_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
}

impl AdminConfig {
    /// Kafka's defaults.
    pub const fn kafka_defaults() -> AdminConfig {
        AdminConfig {
            request_timeout: Duration::from_millis(30_000),
            api_timeout: Duration::from_millis(60_000),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_millis(1_000),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_millis(1_000),
            connection_setup_timeout: Duration::from_millis(10_000),
        }
    }
}

/// A topic to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication: i16,
    /// Topic settings.
    pub configs: Vec<(String, String)>,
}

/// A topic as a broker describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDescription {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as a broker describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionDescription {
    /// Its index.
    pub partition: i32,
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// All replicas, preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those in sync.
    pub isr: Vec<NodeId>,
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminEvent {
    /// A topic exists now (`TOPIC_ALREADY_EXISTS` after a repeated attempt included).
    TopicCreated {
        /// The application's name for the operation.
        id: u64,
        /// The topic's id, if the answer had it.
        topic_id: Option<TopicId>,
    },
    /// A topic has that many partitions now (or had them already, after a repeated attempt).
    PartitionsCreated {
        /// The application's name for the operation.
        id: u64,
    },
    /// What a group has committed.
    GroupOffsets {
        /// The application's name for the operation.
        id: u64,
        /// `group.id`.
        group: Arc<str>,
        /// By topic and partition.
        offsets: BTreeMap<TopicPartition, Offset>,
    },
    /// A topic's description.
    Topic {
        /// The application's name for the operation.
        id: u64,
        /// The description.
        topic: TopicDescription,
    },
    /// An offset.
    Offset {
        /// The application's name for the operation.
        id: u64,
        /// Topic and partition.
        source: TopicPartition,
        /// The topic's id, as metadata had it.
        topic_id: Option<TopicId>,
        /// The answer; none when no record is that young.
        offset: Option<Offset>,
        /// The leader epoch of the answer.
        leader_epoch: LeaderEpoch,
    },
    /// Given up.
    Failed {
        /// The application's name for the operation.
        id: u64,
        /// Kafka's name of the error.
        error: &'static str,
    },
}

/// Error of an operation that did not succeed within `default.api.timeout.ms` (Java: `TimeoutException`).
pub const API_TIMEOUT: &str = "API_TIMEOUT";

#[derive(Debug)]
enum Kind {
    Create(NewTopic),
    Describe(Arc<str>),
    ListOffsets {
        source: TopicPartition,
        topic: TopicIndex,
        query: i64,
        isolation: IsolationLevel,
    },
    Grow {
        topic: Arc<str>,
        count: i32,
    },
    /// First of all the coordinator is looked for.
    GroupOffsets {
        group: Arc<str>,
        coordinator: Option<NodeId>,
    },
}

#[derive(Debug)]
struct Operation {
    id: u64,
    kind: Kind,
    deadline: Instant,
    in_flight: bool,
    retry_at: Instant,
    failures: u32,
    /// An attempt may have succeeded without our knowing.
    ambiguous: bool,
    /// The metadata that misled the last attempt: not to be used again.
    misled_by: Option<u64>,
}

/// What a request was for.
#[derive(Debug)]
enum Tag {
    Metadata,
    Operation(u64),
}

/// An admin client.
#[derive(Debug)]
pub struct Admin {
    config: AdminConfig,
    net: Network<Tag>,
    metadata: Metadata,
    retry: Backoff,
    operations: Vec<Operation>,
    events: VecDeque<AdminEvent>,
    dirty: bool,
    next_at: Instant,
}

/// The most requests under way to one broker.
const MAX_IN_FLIGHT: usize = 100;
/// How old metadata may grow (`metadata.max.age.ms`).
const METADATA_MAX_AGE: Duration = Duration::from_millis(300_000);

impl Admin {
    /// An admin client that has not been started.
    pub fn new(config: AdminConfig, bootstrap: Vec<Endpoint>, caps: VersionCaps) -> Admin {
        let channel = ChannelConfig {
            request_timeout: config.request_timeout,
            reconnect_backoff: config.reconnect_backoff,
            reconnect_backoff_max: config.reconnect_backoff_max,
            connection_setup_timeout: config.connection_setup_timeout,
            caps,
        };
        let retry = Backoff { first: config.retry_backoff, longest: config.retry_backoff_max };
        Admin {
            net: Network::new(channel, bootstrap, MAX_IN_FLIGHT),
            metadata: Metadata::new(retry, METADATA_MAX_AGE, Defects::NONE),
            retry,
            operations: Vec::new(),
            events: VecDeque::new(),
            dirty: false,
            next_at: Instant::MAX,
            config,
        }
    }

    /// Starts it; `rng` is for jitter.
    pub fn start(&mut self, _now: Now, rng: ChaCha8Rng) {
        self.net.start(rng);
    }

    fn begin(&mut self, now: Now, id: u64, kind: Kind) {
        let deadline = now.mono + self.config.api_timeout;
        let retry_at = Instant::ZERO;
        self.operations.push(Operation {
            id,
            kind,
            deadline,
            in_flight: false,
            retry_at,
            failures: 0,
            ambiguous: false,
            misled_by: None,
        });
        self.dirty = true;
    }

    /// Creates a topic. `id` must differ from those of other operations under way, here and below.
    pub fn create_topic(&mut self, now: Now, topic: NewTopic, id: u64) {
        self.begin(now, id, Kind::Create(topic));
    }

    /// Describes a topic.
    pub fn describe_topic(&mut self, now: Now, topic: Arc<str>, id: u64) {
        self.begin(now, id, Kind::Describe(topic));
    }

    /// Gives a topic more partitions: `count` in all.
    pub fn create_partitions(&mut self, now: Now, topic: Arc<str>, count: i32, id: u64) {
        self.begin(now, id, Kind::Grow { topic, count });
    }

    /// Asks what a group has committed, for all partitions.
    pub fn group_offsets(&mut self, now: Now, group: Arc<str>, id: u64) {
        self.begin(now, id, Kind::GroupOffsets { group, coordinator: None });
    }

    /// Asks for an offset: `query` is -1 for latest, -2 for earliest, else a time in milliseconds.
    pub fn list_offsets(&mut self, now: Now, source: TopicPartition, query: i64, isolation: IsolationLevel, id: u64) {
        let topic = self.metadata.topic(&source.topic);
        self.begin(now, id, Kind::ListOffsets { source, topic, query, isolation });
    }

    /// How it stands to the cluster.
    pub fn reach(&self) -> ReachInspection {
        super::reach(&self.net, &self.metadata)
    }

    /// How many operations are under way.
    pub fn pending(&self) -> usize {
        self.operations.len()
    }

    /// Takes an input if it is this client's; gives it back if it is not. Call [`Admin::poll`] afterwards.
    pub fn on_input(&mut self, now: Now, input: Input, out: &mut Outbox) -> Option<Input> {
        match self.net.on_input(now, input, out) {
            Ok(Some(event)) => {
                self.on_network(now.mono, event, out);
                None
            }
            Ok(None) => None,
            Err(input) => Some(input),
        }
    }

    /// Does what is due and says the next deadline. Call after every input of the node, and after operations.
    pub fn poll(&mut self, now: Now, out: &mut Outbox) {
        loop {
            if self.dirty || now.mono >= self.next_at {
                self.run(now.mono, out);
            }
            match self.net.poll(now.mono, out) {
                Some(event) => self.on_network(now.mono, event, out),
                None => break,
            }
        }
        if self.next_at < Instant::MAX {
            out.wake_at(self.next_at);
        }
    }

    /// The next result.
    pub fn next_event(&mut self) -> Option<AdminEvent> {
        self.events.pop_front()
    }

    /// Closes every connection; operations under way are forgotten.
    pub fn close(&mut self, now: Now, out: &mut Outbox) {
        self.net.close(now.mono, out);
        self.operations.clear();
        self.metadata = Metadata::new(self.retry, METADATA_MAX_AGE, Defects::NONE);
        self.next_at = Instant::MAX;
        self.dirty = false;
    }

    fn run(&mut self, now: Instant, out: &mut Outbox) {
        self.dirty = false;
        let events = &mut self.events;
        self.operations.retain(|o| {
            if now >= o.deadline {
                events.push_back(AdminEvent::Failed { id: o.id, error: API_TIMEOUT });
            }
            now < o.deadline
        });
        let lists = |o: &Operation| matches!(o.kind, Kind::ListOffsets { .. });
        let mut next = Instant::MAX;
        for at in 0..self.operations.len() {
            next = next.min(self.operations[at].deadline);
            if !self.operations[at].in_flight {
                next = next.min(self.attempt(now, at, out));
            }
        }
        // Leaders are only looked up for offsets.
        if self.operations.iter().any(lists) {
            next = next.min(self.metadata.poll(now, &mut self.net, || Tag::Metadata, out));
        }
        self.next_at = next;
    }

    /// Sends an operation's request if it can be sent now. Returns when to come back.
    fn attempt(&mut self, now: Instant, at: usize, out: &mut Outbox) -> Instant {
        let operation = &self.operations[at];
        if now < operation.retry_at {
            return operation.retry_at;
        }
        let node = match &operation.kind {
            Kind::ListOffsets { source, topic, .. } => {
                let leader = self.metadata.leader(*topic, source.partition);
                let news = operation.misled_by != Some(self.metadata.updates());
                let Some((node, _)) = leader.filter(|(node, _)| news && self.net.knows(*node)) else {
                    self.metadata.request_update();
                    return Instant::MAX;
                };
                node
            }
            Kind::GroupOffsets { coordinator: Some(node), .. } => *node,
            _ => match self.net.least_loaded(now) {
                Some(node) => node,
                None => return self.net.next_retry().unwrap_or(Instant::MAX),
            },
        };
        if !self.net.connect(now, node, out) {
            return self.net.retry_at(node).unwrap_or(Instant::MAX);
        }
        let api = match operation.kind {
            Kind::Create(_) => ApiKey::CreateTopics,
            Kind::Describe(_) => ApiKey::Metadata,
            Kind::ListOffsets { .. } => ApiKey::ListOffsets,
            Kind::Grow { .. } => ApiKey::CreatePartitions,
            Kind::GroupOffsets { coordinator: None, .. } => ApiKey::FindCoordinator,
            Kind::GroupOffsets { .. } => ApiKey::OffsetFetch,
        };
        let Some(version) = self.net.version(node, api) else {
            return self.back_off(now, at);
        };
        // Later versions of OffsetFetch name topics by id.
        let version = if api == ApiKey::OffsetFetch { version.min(9) } else { version };
        let request = self.request(&self.operations[at].kind, version);
        let operation = &mut self.operations[at];
        operation.in_flight = true;
        self.net.send_version(now, node, version, request, Tag::Operation(operation.id), out);
        Instant::MAX
    }

    fn request(&self, kind: &Kind, version: i16) -> RequestKind {
        let timeout = self.config.request_timeout.as_millis().min(i32::MAX as u64) as i32;
        match kind {
            Kind::Create(topic) => {
                let configs = topic.configs.iter().map(|(name, value)| {
                    CreatableTopicConfig::default()
                        .with_name(StrBytes::from_string(name.clone()))
                        .with_value(Some(StrBytes::from_string(value.clone())))
                });
                let topic = CreatableTopic::default()
                    .with_name(wire_name(&topic.name))
                    .with_num_partitions(topic.partitions)
                    .with_replication_factor(topic.replication)
                    .with_configs(configs.collect());
                CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout).into()
            }
            Kind::Grow { topic, count } => {
                let topic = CreatePartitionsTopic::default().with_name(wire_name(topic)).with_count(*count);
                // The cluster places them.
                let topic = topic.with_assignments(None);
                CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout).into()
            }
            Kind::GroupOffsets { group, coordinator: None } => {
                let group = StrBytes::from_string(group.to_string());
                if version >= 4 {
                    FindCoordinatorRequest::default().with_coordinator_keys(vec![group]).into()
                } else {
                    FindCoordinatorRequest::default().with_key(group).into()
                }
            }
            Kind::GroupOffsets { group, .. } => {
                let group = GroupId(StrBytes::from_string(group.to_string()));
                let mut request = OffsetFetchRequest::default();
                if version >= 8 {
                    let all = OffsetFetchRequestGroup::default().with_group_id(group).with_topics(None);
                    request.groups = vec![all];
                } else {
                    request.group_id = group;
                    request.topics = None;
                }
                if version >= 7 {
                    request.require_stable = true;
                }
                request.into()
            }
            Kind::Describe(name) => {
                let topic = MetadataRequestTopic::default().with_name(Some(wire_name(name)));
                let mut request = MetadataRequest::default().with_topics(Some(vec![topic]));
                if version >= 4 {
                    request.allow_auto_topic_creation = false;
                }
                request.into()
            }
            Kind::ListOffsets { source, topic, query, isolation } => {
                let mut partition =
                    ListOffsetsPartition::default().with_partition_index(source.partition).with_timestamp(*query);
                if version >= 4 {
                    let leader = self.metadata.leader(*topic, source.partition);
                    partition.current_leader_epoch = leader.map_or(-1, |(_, epoch)| epoch.0);
                }
                let topic =
                    ListOffsetsTopic::default().with_name(wire_name(&source.topic)).with_partitions(vec![partition]);
                let mut request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
                if version >= 2 {
                    request.isolation_level = match isolation {
                        IsolationLevel::ReadUncommitted => 0,
                        IsolationLevel::ReadCommitted => 1,
                    };
                }
                if version >= 10 {
                    request.timeout_ms = timeout;
                }
                request.into()
            }
        }
    }

    fn back_off(&mut self, now: Instant, at: usize) -> Instant {
        let operation = &mut self.operations[at];
        operation.in_flight = false;
        operation.retry_at = now + self.retry.after(operation.failures, self.net.rng());
        operation.failures += 1;
        operation.retry_at
    }

    fn on_network(&mut self, now: Instant, event: NetworkEvent<Tag>, out: &mut Outbox) {
        self.dirty = true;
        match event {
            NetworkEvent::Ready { .. } => {}
            NetworkEvent::Response { tag: Tag::Metadata, version, response, .. } => {
                let ResponseKind::Metadata(response) = *response else {
                    self.metadata.failed(now, &mut self.net);
                    return;
                };
                for lost in self.metadata.on_response(now, version, response, &mut self.net, out) {
                    self.on_network(now, lost, out);
                }
            }
            NetworkEvent::Response { tag: Tag::Operation(id), response, .. } => {
                let Some(at) = self.operations.iter().position(|o| o.id == id && o.in_flight) else { return };
                if let Some(found) = self.found(now, at, &response, out) {
                    if let Err(error) = found {
                        self.ask_again(now, at, error);
                    }
                    return;
                }
                match self.judge(at, &response) {
                    Ok(event) => {
                        self.operations.remove(at);
                        self.events.push_back(event);
                    }
                    Err(error) if errors::is_retriable(error) => {
                        if let Kind::GroupOffsets { coordinator, .. } = &mut self.operations[at].kind {
                            *coordinator = None;
                        }
                        if errors::is_stale_metadata(error) {
                            self.metadata.request_update();
                            self.operations[at].misled_by = Some(self.metadata.updates());
                        }
                        self.operations[at].ambiguous |= error == errors::REQUEST_TIMED_OUT;
                        self.back_off(now, at);
                    }
                    Err(error) => {
                        self.operations.remove(at);
                        self.events.push_back(AdminEvent::Failed { id, error: errors::name(error) });
                    }
                }
            }
            NetworkEvent::Lost { tags, .. } => {
                self.metadata.request_update();
                for tag in tags {
                    match tag {
                        Tag::Metadata => {
                            self.metadata.failed(now, &mut self.net);
                        }
                        Tag::Operation(id) => {
                            if let Some(at) = self.operations.iter().position(|o| o.id == id && o.in_flight) {
                                self.operations[at].ambiguous = true;
                                if let Kind::GroupOffsets { coordinator, .. } = &mut self.operations[at].kind {
                                    *coordinator = None;
                                }
                                self.back_off(now, at);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The answer to where a group's coordinator is; `None` if it was something else that was asked.
    fn found(&mut self, now: Instant, at: usize, response: &ResponseKind, out: &mut Outbox) -> Option<Result<(), i16>> {
        let (Kind::GroupOffsets { coordinator, .. }, ResponseKind::FindCoordinator(answer)) =
            (&mut self.operations[at].kind, response)
        else {
            return None;
        };
        let (error, node, host, port) = match answer.coordinators.first() {
            Some(c) => (c.error_code, c.node_id.0, c.host.as_str(), c.port),
            None => (answer.error_code, answer.node_id.0, answer.host.as_str(), answer.port),
        };
        if error != errors::NONE || node < 0 {
            return Some(Err(if error == errors::NONE { errors::COORDINATOR_NOT_AVAILABLE } else { error }));
        }
        *coordinator = Some(NodeId(node));
        self.operations[at].in_flight = false;
        let lost = self.net.set_broker(now, NodeId(node), Endpoint::new(host, port as u16), out);
        lost.into_iter().for_each(|event| self.on_network(now, event, out));
        Some(Ok(()))
    }

    /// The attempt failed with an error that may pass.
    fn ask_again(&mut self, now: Instant, at: usize, error: i16) {
        if let Kind::GroupOffsets { coordinator, .. } = &mut self.operations[at].kind {
            *coordinator = None;
        }
        if errors::is_retriable(error) {
            self.back_off(now, at);
        } else {
            let Operation { id, .. } = self.operations.remove(at);
            self.events.push_back(AdminEvent::Failed { id, error: errors::name(error) });
        }
    }

    /// The result of an operation, or the error of this attempt.
    fn judge(&self, at: usize, response: &ResponseKind) -> Result<AdminEvent, i16> {
        let Operation { id, kind, ambiguous, .. } = &self.operations[at];
        let id = *id;
        match (kind, response) {
            (Kind::Create(topic), ResponseKind::CreateTopics(response)) => {
                let answer = response.topics.iter().find(|t| t.name.as_str() == &*topic.name);
                let answer = answer.ok_or(errors::UNKNOWN_SERVER_ERROR)?;
                let topic_id = TopicId(answer.topic_id);
                let topic_id = (topic_id != TopicId::ZERO).then_some(topic_id);
                match answer.error_code {
                    errors::NONE => Ok(AdminEvent::TopicCreated { id, topic_id }),
                    // An earlier attempt did it.
                    errors::TOPIC_ALREADY_EXISTS if *ambiguous => Ok(AdminEvent::TopicCreated { id, topic_id }),
                    error => Err(error),
                }
            }
            (Kind::Grow { topic, .. }, ResponseKind::CreatePartitions(response)) => {
                let answer = response.results.iter().find(|t| t.name.as_str() == &**topic);
                match answer.map_or(errors::UNKNOWN_SERVER_ERROR, |a| a.error_code) {
                    errors::NONE => Ok(AdminEvent::PartitionsCreated { id }),
                    // An earlier attempt did it: it has them, and no number but a larger one is accepted.
                    errors::INVALID_PARTITIONS if *ambiguous => Ok(AdminEvent::PartitionsCreated { id }),
                    error => Err(error),
                }
            }
            (Kind::GroupOffsets { group, .. }, ResponseKind::OffsetFetch(response)) => {
                let own = response.groups.first();
                let error = own.map_or(response.error_code, |g| g.error_code);
                if error != errors::NONE {
                    return Err(error);
                }
                let new = own.into_iter().flat_map(|g| &g.topics).flat_map(|t| {
                    t.partitions.iter().map(|p| (&t.name, p.partition_index, p.error_code, p.committed_offset))
                });
                let old = response.topics.iter().flat_map(|t| {
                    t.partitions.iter().map(|p| (&t.name, p.partition_index, p.error_code, p.committed_offset))
                });
                let mut offsets = BTreeMap::new();
                for (topic, partition, error, offset) in new.chain(old) {
                    if error != errors::NONE {
                        return Err(error);
                    }
                    if offset >= 0 {
                        let topic = Arc::from(topic.as_str());
                        offsets.insert(TopicPartition { topic, partition }, Offset(offset));
                    }
                }
                Ok(AdminEvent::GroupOffsets { id, group: group.clone(), offsets })
            }
            (Kind::Describe(name), ResponseKind::Metadata(response)) => {
                let is = |t: &&MetadataResponseTopic| t.name.as_ref().is_some_and(|n| n.as_str() == &**name);
                let answer = response.topics.iter().find(is).ok_or(errors::UNKNOWN_TOPIC_OR_PARTITION)?;
                if answer.error_code != errors::NONE {
                    return Err(answer.error_code);
                }
                Ok(AdminEvent::Topic { id, topic: describe(name, answer) })
            }
            (Kind::ListOffsets { source, topic, .. }, ResponseKind::ListOffsets(response)) => {
                let answer = response.topics.iter().find(|t| t.name.as_str() == &*source.topic);
                let answer = answer.and_then(|t| t.partitions.iter().find(|p| p.partition_index == source.partition));
                let answer = answer.ok_or(errors::UNKNOWN_SERVER_ERROR)?;
                if answer.error_code != errors::NONE {
                    return Err(answer.error_code);
                }
                let topic_id = self.metadata.get(*topic).id;
                Ok(AdminEvent::Offset {
                    id,
                    source: source.clone(),
                    topic_id: (topic_id != TopicId::ZERO).then_some(topic_id),
                    offset: (answer.offset >= 0).then_some(Offset(answer.offset)),
                    leader_epoch: LeaderEpoch(answer.leader_epoch),
                })
            }
            _ => Err(errors::UNKNOWN_SERVER_ERROR),
        }
    }
}

fn wire_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn describe(name: &Arc<str>, topic: &MetadataResponseTopic) -> TopicDescription {
    let nodes = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| NodeId(id.0)).collect();
    let mut partitions: Vec<PartitionDescription> = topic
        .partitions
        .iter()
        .map(|p| PartitionDescription {
            partition: p.partition_index,
            leader: (p.leader_id.0 >= 0).then_some(NodeId(p.leader_id.0)),
            leader_epoch: LeaderEpoch(p.leader_epoch),
            replicas: nodes(&p.replica_nodes),
            isr: nodes(&p.isr_nodes),
        })
        .collect();
    partitions.sort_by_key(|p| p.partition);
    TopicDescription { name: name.clone(), id: TopicId(topic.topic_id), partitions }
}
