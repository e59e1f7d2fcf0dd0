//! The broker's view of the cluster: an observer of `__cluster_metadata` that replays what is committed.
//!
//! Follows Kafka's `KafkaRaftClient` (as an observer) and `MetadataLoader`, with one liberty: the log is not kept on
//! the broker's disk. It is fetched anew from offset 0 by each incarnation; what a broker knows of metadata before
//! that is nothing, as in Kafka before its first publish. Fetched records wait in memory until the quorum's high
//! watermark covers them, so a truncation by the quorum never reaches the image.

use super::controller_link::{Asked, ControllerLink, Lane};
use super::spec::BrokerSpec;
use crate::controller::image::{Delta, Image, TopicImage};
use crate::ids::*;
use crate::log::checkpoint::uuid_text;
use crate::node::Outbox;
use crate::record::schema::MetadataRecord;
use crate::record::{batches, records};
use crate::trace::TraceEvent;
use crate::units::{Duration, Instant};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeSet, VecDeque};

/// How long the leader may hold an observer's fetch (Kafka: `MAX_FETCH_WAIT_MS`).
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Bytes asked for at once (Kafka: `MAX_FETCH_SIZE_BYTES`).
const MAX_BYTES: i32 = 8 * 1024 * 1024;

/// What a round of replay changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Partitions that came or changed.
    pub partitions: BTreeSet<TopicIdPartition>,
    /// Topics that went.
    pub removed: Vec<TopicImage>,
    /// Topics whose configuration changed.
    pub configured: BTreeSet<String>,
    /// Whether a broker came, changed or went.
    pub brokers: bool,
}

#[derive(Debug)]
struct Fetched {
    offset: Offset,
    epoch: LeaderEpoch,
    /// None for a control record.
    record: Option<MetadataRecord>,
}

/// What the leader of the quorum answered, as far as it concerns who leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leader {
    /// Nothing new.
    Same,
    /// Another node leads.
    Is(NodeId),
    /// Nobody is known to lead.
    Unknown,
}

/// The metadata log as far as fetched, and the image as far as applied.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    /// What the applied records add up to.
    pub image: Image,
    waiting: VecDeque<Fetched>,
    /// Epochs of what was fetched, each with its first offset.
    epochs: Vec<(LeaderEpoch, Offset)>,
    next_fetch: Offset,
    quorum_epoch: LeaderEpoch,
    in_flight: bool,
    retry_at: Instant,
}

impl Metadata {
    /// Nothing known.
    pub fn new() -> Metadata {
        Metadata { quorum_epoch: LeaderEpoch::NONE, ..Metadata::default() }
    }

    /// When [`Metadata::fetch`] has something to do.
    pub fn next_at(&self) -> Instant {
        if self.in_flight { Instant::MAX } else { self.retry_at }
    }

    /// Asks for what comes next, if nothing is asked yet.
    pub fn fetch(&mut self, now: Instant, spec: &BrokerSpec, link: &mut ControllerLink, out: &mut Outbox) {
        if self.in_flight || now < self.retry_at {
            return;
        }
        let lane = link.lane(Lane::Metadata);
        if !lane.is_ready() {
            lane.ensure_connected(now, out);
            self.retry_at = lane.retry_at().unwrap_or(Instant::MAX);
            return;
        }
        let Some(version) = lane.version(ApiKey::Fetch) else { return };
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(self.quorum_epoch.0)
            .with_fetch_offset(self.next_fetch.0)
            .with_last_fetched_epoch(self.epochs.last().map_or(-1, |(epoch, _)| epoch.0))
            .with_partition_max_bytes(MAX_BYTES);
        let mut topic = FetchTopic::default().with_partitions(vec![partition]);
        let mut request = FetchRequest::default()
            .with_cluster_id(Some(StrBytes::from_string(uuid_text(spec.cluster_id))))
            .with_max_wait_ms(MAX_WAIT.as_millis() as i32)
            .with_min_bytes(1)
            .with_max_bytes(MAX_BYTES);
        if version >= 13 {
            topic.topic_id = TopicId::METADATA.0;
        } else {
            topic.topic = TopicName(StrBytes::from_static_str(METADATA_TOPIC));
        }
        if version >= 15 {
            request.replica_state = ReplicaState::default().with_replica_id(BrokerId(spec.id.0));
        } else {
            request.replica_id = BrokerId(spec.id.0);
        }
        request.topics = vec![topic];
        lane.send_with_timeout(now, spec.config.quorum_request_timeout, request, Asked::Metadata, out);
        self.in_flight = true;
    }

    /// The connection opened.
    pub fn on_ready(&mut self, now: Instant) {
        self.retry_at = self.retry_at.min(now);
    }

    /// The request was lost.
    pub fn on_lost(&mut self, now: Instant, backoff: Duration) {
        self.in_flight = false;
        self.retry_at = now + backoff;
    }

    /// The leader answered. Committed records are replayed, and `changes` takes what they changed.
    pub fn on_answer(
        &mut self,
        now: Instant,
        answer: FetchResponse,
        backoff: Duration,
        changes: &mut Changes,
        out: &mut Outbox,
    ) -> Leader {
        self.in_flight = false;
        self.retry_at = now;
        let partition = answer.responses.into_iter().next().and_then(|t| t.partitions.into_iter().next());
        let Some(partition) = partition.filter(|_| answer.error_code == 0) else {
            self.retry_at = now + backoff;
            return Leader::Unknown;
        };
        let told = partition.current_leader.leader_epoch;
        let newer = told > self.quorum_epoch.0;
        if newer {
            self.quorum_epoch = LeaderEpoch(told);
        }
        if let Some(error) = ResponseError::try_from_code(partition.error_code) {
            return self.refused(now, error, newer, NodeId(partition.current_leader.leader_id.0), backoff);
        }
        if partition.diverging_epoch.end_offset >= 0 {
            self.diverge(LeaderEpoch(partition.diverging_epoch.epoch), Offset(partition.diverging_epoch.end_offset));
            return Leader::Same;
        }
        self.take(&partition);
        self.apply(Offset(partition.high_watermark), changes, out);
        Leader::Same
    }

    fn refused(
        &mut self,
        now: Instant,
        error: ResponseError,
        newer: bool,
        leader: NodeId,
        backoff: Duration,
    ) -> Leader {
        let known = leader != NodeId::NONE;
        // A newer epoch heard of is a reason to ask again at once; anything else might spin.
        if !(newer && known) {
            self.retry_at = now + backoff;
        }
        match error {
            ResponseError::NotLeaderOrFollower
            | ResponseError::FencedLeaderEpoch
            | ResponseError::UnknownLeaderEpoch
                if known =>
            {
                Leader::Is(leader)
            }
            ResponseError::NotLeaderOrFollower | ResponseError::BrokerNotAvailable => Leader::Unknown,
            _ => Leader::Same,
        }
    }

    /// What was fetched beyond the leader's end of the last common epoch is dropped.
    fn diverge(&mut self, epoch: LeaderEpoch, end: Offset) {
        let next = self.epochs.iter().find(|(e, _)| *e > epoch).map_or(self.next_fetch, |(_, start)| *start);
        let cut = end.min(next).max(self.image.next_offset());
        self.waiting.retain(|f| f.offset < cut);
        self.epochs.retain(|(_, start)| *start < cut);
        self.next_fetch = cut;
    }

    fn take(&mut self, partition: &PartitionData) {
        let Some(data) = &partition.records else { return };
        for batch in batches(data) {
            // The bytes came from the controller, not from a disk: a bad batch is as good as none, and is fetched again.
            let Ok((header, bytes)) = batch else { return };
            if header.last_offset() < self.next_fetch {
                continue;
            }
            if self.epochs.last().is_none_or(|(epoch, _)| *epoch < header.leader_epoch) {
                self.epochs.push((header.leader_epoch, header.base_offset));
            }
            let epoch = header.leader_epoch;
            if header.is_control() {
                self.waiting.push_back(Fetched { offset: header.last_offset(), epoch, record: None });
            } else {
                for record in records(&bytes) {
                    let Ok(record) = record else { return };
                    let decoded = record.value.and_then(|v| MetadataRecord::decode(v).ok());
                    self.waiting.push_back(Fetched { offset: record.offset, epoch, record: decoded });
                }
            }
            self.next_fetch = header.next_offset();
        }
    }

    fn apply(&mut self, high_watermark: Offset, changes: &mut Changes, out: &mut Outbox) {
        let before = self.image.next_offset();
        while let Some(f) = self.waiting.pop_front_if(|f| f.offset < high_watermark) {
            let Some(record) = f.record else {
                self.image.advance(f.offset, f.epoch);
                continue;
            };
            match self.image.replay(f.offset, f.epoch, &record) {
                Ok(Delta::Partition(p)) => {
                    changes.partitions.insert(p);
                }
                Ok(Delta::TopicRemoved(topic)) => changes.removed.push(topic),
                Ok(Delta::TopicConfig(name)) => {
                    changes.configured.insert(name);
                }
                Ok(Delta::Broker(_)) => changes.brokers = true,
                Ok(_) => {}
                // Passed over: a committed record that does not fit is for the judge to find.
                Err(_) => self.image.advance(f.offset, f.epoch),
            }
        }
        if self.image.next_offset() > before {
            out.trace(TraceEvent::MetadataApplied { offset: self.image.next_offset(), epoch: self.image.epoch() });
        }
    }
}
