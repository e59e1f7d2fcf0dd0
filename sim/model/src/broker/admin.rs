//! What clients ask of the cluster: Metadata, ApiVersions, what only the controller decides (forwarded to it in an
//! Envelope, KIP-590), and producer ids, of which the controller gives out blocks (KIP-730). Follows Kafka's `KafkaApis`,
//! `ForwardingManager`, `AutoTopicCreationManager` and `RPCProducerIdManager`.

use super::connections::Caller;
use super::controller_link::{Asked, ControllerLink, Lane};
use super::{Process, Task, refusal};
use crate::config::BrokerConfig;
use crate::controller::image::{Image, PartitionImage, TopicImage};
use crate::guard;
use crate::ids::*;
use crate::log::checkpoint::uuid_text;
use crate::node::{Listener, Outbox};
use crate::units::{Duration, Instant, Now};
use crate::versions::api_versions_response;
use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, ApiKey, ApiVersionsResponse, BrokerId,
    CreateTopicsRequest, EnvelopeRequest, EnvelopeResponse, InitProducerIdRequest, InitProducerIdResponse,
    MetadataRequest, MetadataResponse, RequestHeader, RequestKind, ResponseHeader, ResponseKind, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use std::collections::{BTreeMap, BTreeSet};

/// How long a forwarded request may take (Kafka: the forwarding channel's retry timeout).
const FORWARDING_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after a request to the controller failed.
const RETRY: Duration = Duration::from_millis(50);
/// The version in which topics are created that nobody created (only brokers see it).
const AUTO_CREATE_VERSION: i16 = 7;

/// The name of a listener in broker registrations.
pub(crate) fn listener_name(listener: Listener) -> &'static str {
    match listener {
        Listener::Client => "CLIENT",
        Listener::InterBroker | Listener::Controller => "BROKER",
    }
}

#[derive(Debug)]
struct Forwarded {
    api: ApiKey,
    /// None: this broker's own wish, to create topics that clients asked about.
    /// Who asked, and what to answer if the controller cannot be asked.
    caller: Option<(Caller, ResponseKind)>,
    version: i16,
    names: Vec<TopicName>,
    data: Bytes,
    sent: bool,
}

/// Forwarded requests, and the block of producer ids.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    forwarded: BTreeMap<u64, Forwarded>,
    next: u64,
    /// Topics being created because somebody asked about them.
    creating: BTreeSet<TopicName>,
    /// Producer ids not given out yet.
    block: std::ops::Range<i64>,
    next_block: Option<std::ops::Range<i64>>,
    block_wanted: bool,
    block_asked: bool,
    retry_at: Instant,
}

impl Admin {
    /// When [`Admin::send`] has something to do.
    pub fn next_at(&self) -> Instant {
        let unsent = self.block_wanted && !self.block_asked || self.forwarded.values().any(|f| !f.sent);
        if unsent { self.retry_at } else { Instant::MAX }
    }

    /// Sends what waits.
    pub fn send(&mut self, now: Instant, me: NodeId, epoch: BrokerEpoch, link: &mut ControllerLink, out: &mut Outbox) {
        if self.next_at() > now {
            return;
        }
        let lane = link.lane(Lane::Forwarding);
        if !lane.is_ready() {
            lane.ensure_connected(now, out);
            self.retry_at = lane.retry_at().unwrap_or(Instant::MAX);
            return;
        }
        if self.block_wanted && !self.block_asked && lane.version(ApiKey::AllocateProducerIds).is_some() {
            self.block_asked = true;
            let request =
                AllocateProducerIdsRequest::default().with_broker_id(BrokerId(me.0)).with_broker_epoch(epoch.0);
            lane.send(now, request, Asked::ProducerIds, out);
        }
        for (&number, f) in self.forwarded.iter_mut().filter(|(_, f)| !f.sent) {
            f.sent = true;
            // The principal and the client's address are those of an anonymous client on a plaintext listener.
            let request = EnvelopeRequest::default()
                .with_request_data(f.data.clone())
                .with_request_principal(Some(Bytes::from_static(b"User:ANONYMOUS")))
                .with_client_host_address(Bytes::from_static(&[127, 0, 0, 1]));
            lane.send(now, request, Asked::Forwarded(number), out);
        }
    }

    /// The connection opened.
    pub fn on_ready(&mut self, now: Instant) {
        self.retry_at = self.retry_at.min(now);
    }
    /// The connection could not be opened.
    pub fn on_closed(&mut self, now: Instant) {
        self.retry_at = now + RETRY;
    }
    /// A request for producer ids was lost.
    pub fn producer_ids_lost(&mut self, now: Instant) {
        self.block_asked = false;
        self.retry_at = now + RETRY;
    }
    /// A forwarded request was lost: sent again until its time is up.
    pub fn forwarded_lost(&mut self, now: Instant, number: u64) {
        if let Some(f) = self.forwarded.get_mut(&number) {
            f.sent = false;
        }
        self.retry_at = now + RETRY;
    }

    /// The controller gave out a block of producer ids.
    pub fn on_producer_ids(&mut self, now: Instant, answer: &AllocateProducerIdsResponse) {
        self.block_asked = false;
        if answer.error_code != 0 {
            self.retry_at = now + RETRY;
            return;
        }
        self.block_wanted = false;
        let first = answer.producer_id_start.0;
        self.next_block = Some(first..first + i64::from(answer.producer_id_len));
    }

    /// A producer id, if there is one. A new block is asked for when nine tenths of one are gone.
    fn take_producer_id(&mut self) -> Option<i64> {
        if self.block.is_empty()
            && let Some(next) = self.next_block.take()
        {
            self.block = next;
        }
        let id = self.block.next();
        let left = self.block.end - self.block.start;
        if left <= i64::from(crate::limits::PRODUCER_ID_BLOCK) / 10 && self.next_block.is_none() {
            self.block_wanted = true;
        }
        id
    }

    fn forward(&mut self, f: Forwarded) -> u64 {
        self.next += 1;
        self.forwarded.insert(self.next, f);
        self.next
    }
}

impl Process {
    pub(super) fn on_api_versions(&mut self, caller: Caller, out: &mut Outbox) {
        let range = crate::versions::VersionRange { min: 0, max: 4 };
        let supported = self.spec.caps.apply(ApiKey::ApiVersions, range).max;
        if caller.version > supported {
            // KIP-511: a version 0 body that names the versions there are.
            let mut answer: ApiVersionsResponse = api_versions_response(caller.listener, &self.spec.caps, 0);
            answer.error_code = ResponseError::UnsupportedVersion.code();
            return self.answer(Caller { version: 0, ..caller }, answer, out);
        }
        let answer = api_versions_response(caller.listener, &self.spec.caps, caller.version);
        self.answer(caller, answer, out);
    }

    pub(super) fn on_init_producer_id(&mut self, caller: Caller, request: &InitProducerIdRequest, out: &mut Outbox) {
        let mut answer = InitProducerIdResponse::default();
        let id = self.admin.take_producer_id();
        match id {
            // There is no transaction coordinator here.
            _ if request.transactional_id.is_some() => answer.error_code = ResponseError::InvalidRequest.code(),
            Some(id) => answer.producer_id = id.into(),
            // The block is on its way: the producer tries again.
            None => answer.error_code = ResponseError::CoordinatorLoadInProgress.code(),
        }
        if answer.error_code != 0 {
            answer.producer_epoch = -1;
        }
        self.answer(caller, answer, out);
    }

    /// What only the controller decides.
    pub(super) fn forward(&mut self, now: Now, caller: Caller, request: &RequestKind, out: &mut Outbox) {
        let api = crate::versions::api_of(request);
        let names = match request {
            RequestKind::CreateTopics(r) => r.topics.iter().map(|t| t.name.clone()).collect(),
            RequestKind::CreatePartitions(r) => r.topics.iter().map(|t| t.name.clone()).collect(),
            _ => Vec::new(),
        };
        let Some(refusal) = refusal::of(request, caller.version) else { return };
        let version = caller.version;
        match envelope(caller.correlation, version, request) {
            Some(data) => {
                let caller = Some((caller, refusal));
                let number = self.admin.forward(Forwarded { api, caller, version, names, data, sent: false });
                self.timers.set(now.mono + FORWARDING_TIMEOUT, Task::Forwarded(number));
            }
            None => self.answer(caller, refusal::put(refusal, ResponseError::InvalidRequest), out),
        }
    }

    /// The controller answered what was forwarded.
    pub(super) fn on_envelope(&mut self, now: Now, number: u64, answer: &EnvelopeResponse, out: &mut Outbox) {
        let error = ResponseError::try_from_code(answer.error_code);
        if error == Some(ResponseError::NotController) {
            return self.admin.forwarded_lost(now.mono, number);
        }
        let Some(f) = self.admin.forwarded.remove(&number) else { return };
        for name in &f.names {
            self.admin.creating.remove(name);
        }
        let Some((caller, refusal)) = f.caller else { return };
        let decoded = answer.response_data.as_ref().and_then(|data| open_envelope(data, f.api, f.version));
        let response = match (error, decoded) {
            (None, Some(response)) => response,
            (error, _) => refusal::put(refusal, error.unwrap_or(ResponseError::UnknownServerError)),
        };
        self.answer(caller, response, out);
    }

    /// What was forwarded is not answered in time.
    pub(super) fn forwarded_timed_out(&mut self, number: u64, out: &mut Outbox) {
        let Some(f) = self.admin.forwarded.remove(&number) else { return };
        for name in &f.names {
            self.admin.creating.remove(name);
        }
        if let Some((caller, refusal)) = f.caller {
            self.answer(caller, refusal::put(refusal, ResponseError::RequestTimedOut), out);
        }
    }

    pub(super) fn on_metadata_request(
        &mut self,
        now: Now,
        caller: Caller,
        request: &MetadataRequest,
        out: &mut Outbox,
    ) {
        let image = &self.metadata.image;
        let (version, listener) = (caller.version, listener_name(caller.listener));
        let mut answer = MetadataResponse::default();
        for (id, broker) in image.brokers().filter(|(_, b)| !b.fenced) {
            let Some(e) = broker.endpoint(listener) else { continue };
            let mut b = MetadataResponseBroker::default()
                .with_node_id(BrokerId(id.0))
                .with_host(StrBytes::from_string(e.host.clone()))
                .with_port(i32::from(e.port));
            if version >= 1 {
                b.rack = broker.rack.clone().map(StrBytes::from_string);
            }
            answer.brokers.push(b);
        }
        if version >= 1 {
            // Any broker forwards to the controller; Kafka names a random one, this one names itself.
            answer.controller_id = BrokerId(self.spec.id.0);
        }
        if version >= 2 {
            answer.cluster_id = Some(StrBytes::from_string(uuid_text(self.spec.cluster_id)));
        }
        let mut missing = Vec::new();
        match &request.topics {
            // Version 0 asks for all topics by naming none.
            Some(topics) if !(version == 0 && topics.is_empty()) => {
                for asked in topics {
                    let (found, by_id) = match &asked.name {
                        Some(name) if asked.topic_id.is_nil() => (image.topic_by_name(name), false),
                        _ => (image.topic(TopicId(asked.topic_id)), true),
                    };
                    let topic = match found {
                        Some(topic) => describe(topic, image, listener, version),
                        None if by_id => {
                            // A name may be missing from version 12 on; before that, none could be asked for so.
                            let name = (version < 12).then(TopicName::default);
                            unknown(asked.topic_id, name, ResponseError::UnknownTopicId)
                        }
                        None => {
                            missing.extend(asked.name.clone());
                            unknown(Uuid::nil(), asked.name.clone(), ResponseError::UnknownTopicOrPartition)
                        }
                    };
                    answer.topics.push(topic);
                }
            }
            Some(_) | None => {
                answer.topics = image.topics_by_name().map(|t| describe(t, image, listener, version)).collect();
            }
        }
        let allowed = version < 4 || request.allow_auto_topic_creation;
        if allowed && self.spec.config.auto_create_topics && !missing.is_empty() {
            self.create_automatically(now, missing);
        }
        self.answer(caller, answer, out);
    }

    pub(super) fn create_automatically(&mut self, now: Now, names: Vec<TopicName>) {
        let names: Vec<TopicName> = names.into_iter().filter(|n| self.admin.creating.insert(n.clone())).collect();
        if names.is_empty() {
            return;
        }
        let config = &self.spec.config;
        let topic = |name: &TopicName| {
            let topic = CreatableTopic::default().with_name(name.clone());
            if name.as_str() == OFFSETS_TOPIC {
                return offsets_topic(topic, config);
            }
            topic
                .with_num_partitions(config.num_partitions)
                .with_replication_factor(config.default_replication_factor as i16)
        };
        let request = CreateTopicsRequest::default()
            .with_topics(names.iter().map(topic).collect())
            .with_timeout_ms(config.controller_socket_timeout.as_millis().min(i32::MAX as u64) as i32);
        let Some(data) = envelope(0, AUTO_CREATE_VERSION, &request.into()) else { return };
        let api = ApiKey::CreateTopics;
        let f = Forwarded { api, caller: None, version: AUTO_CREATE_VERSION, names, data, sent: false };
        let number = self.admin.forward(f);
        self.timers.set(now.mono + FORWARDING_TIMEOUT, Task::Forwarded(number));
    }
}

/// The topic of groups and their offsets, with the settings it must have (Kafka: `offsetsTopicConfigs`).
fn offsets_topic(topic: CreatableTopic, config: &BrokerConfig) -> CreatableTopic {
    let set = |name: &'static str, value: String| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_string(value)))
    };
    topic
        .with_num_partitions(config.offsets_topic_partitions)
        .with_replication_factor(config.offsets_topic_replication as i16)
        .with_configs(vec![
            set("cleanup.policy", "compact".to_owned()),
            set("compression.type", "producer".to_owned()),
            set("segment.bytes", config.offsets_topic_segment_bytes.to_string()),
        ])
}

fn describe(topic: &TopicImage, image: &Image, listener: &str, version: i16) -> MetadataResponseTopic {
    let partition = |(&index, p): (&i32, &PartitionImage)| describe_partition(index, p, image, listener, version);
    let mut answer = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
        .with_partitions(topic.partitions.iter().map(partition).collect());
    if version >= 1 {
        answer.is_internal = topic.name == OFFSETS_TOPIC;
    }
    if version >= 10 {
        answer.topic_id = topic.id.0;
    }
    answer
}

fn describe_partition(
    index: i32,
    p: &PartitionImage,
    image: &Image,
    listener: &str,
    version: i16,
) -> MetadataResponsePartition {
    let alive = |id: NodeId| image.broker(id).is_some_and(|b| !b.fenced);
    let ids = |nodes: &[NodeId]| nodes.iter().map(|id| BrokerId(id.0)).collect::<Vec<_>>();
    let led = alive(p.leader) && image.broker(p.leader).is_some_and(|b| b.endpoint(listener).is_some());
    let mut answer = MetadataResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(if led { p.leader.0 } else { -1 }))
        .with_replica_nodes(ids(&p.replicas))
        .with_isr_nodes(ids(&p.isr));
    if !led {
        answer.error_code = ResponseError::LeaderNotAvailable.code();
    }
    if version >= 5 {
        answer.offline_replicas = p.replicas.iter().filter(|&&id| !alive(id)).map(|id| BrokerId(id.0)).collect();
    }
    if version >= 7 {
        answer.leader_epoch = p.leader_epoch.0;
    }
    answer
}

fn unknown(id: Uuid, name: Option<TopicName>, error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(error.code()).with_topic_id(id).with_name(name)
}

/// A request as it would go over the wire, header first.
fn envelope(correlation: i32, version: i16, request: &RequestKind) -> Option<Bytes> {
    let api = crate::versions::api_of(request);
    let mut data = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation);
    header.encode(&mut data, api.request_header_version(version)).ok()?;
    request.encode(&mut data, version).ok()?;
    Some(data.freeze())
}

fn open_envelope(data: &Bytes, api: ApiKey, version: i16) -> Option<ResponseKind> {
    let mut data = data.clone();
    ResponseHeader::decode(&mut data, api.response_header_version(version)).ok()?;
    guard::check_response(api, version, &data).ok()?;
    ResponseKind::decode(api, &mut data, version).ok()
}
