//! Begins rounds: decides what a fetcher asks for next, and builds the request.

use super::{After, Fetcher, Round, Sent, Stage};
use crate::broker::Process;
use crate::broker::partition::Partition;
use crate::broker::replicas::Replicas;
use crate::broker::spec::Truncation;
use crate::defects::Defect;
use crate::ids::*;
use crate::node::Outbox;
use crate::small_map::Few;
use crate::trace::TruncationReason;
use crate::units::{Instant, Now};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest};

/// `ListOffsetsRequest.LATEST_TIMESTAMP`.
pub(super) const LATEST: i64 = -1;
/// `ListOffsetsRequest.EARLIEST_TIMESTAMP`.
pub(super) const EARLIEST: i64 = -2;

impl Process {
    /// Begins every round that can begin.
    pub(in crate::broker) fn run_fetchers(&mut self, now: Now, out: &mut Outbox) {
        if self.fetchers.due.is_some() && now.mono < self.fetchers.next_at {
            return;
        }
        let mut next_at = Instant::MAX;
        let leaders = self.fetchers.leaders();
        if leaders.values().any(|f| f.parts.is_empty() && f.channel.in_flight() == 0) {
            leaders.retain(|_, f| {
                let keep = !f.parts.is_empty() || f.channel.in_flight() > 0;
                if !keep {
                    f.channel.close(now.mono, out);
                }
                keep
            });
        }
        let (truncation, defects) = (self.fetchers.truncation, self.fetchers.defects);
        let epoch = self.lifecycle.epoch().unwrap_or(BrokerEpoch(-1));
        for fetcher in self.fetchers.leaders().values_mut() {
            if fetcher.channel.in_flight() > 0 || fetcher.busy > 0 {
                continue;
            }
            fetcher.prepare(now, truncation, defects, &mut self.replicas, out);
            if fetcher.busy > 0 {
                continue;
            }
            let due = fetcher.parts.values().filter(|f| f.delayed_until <= now.mono).count();
            if due == 0 {
                let soonest = fetcher.parts.values().map(|f| f.delayed_until).min();
                next_at = next_at.min(soonest.unwrap_or(Instant::MAX));
                continue;
            }
            if !fetcher.channel.is_ready() {
                fetcher.channel.ensure_connected(now.mono, out);
                continue;
            }
            fetcher.ask(now.mono, &self.spec, epoch, truncation, &self.replicas, out);
            if due < fetcher.parts.len() && fetcher.channel.in_flight() == 0 {
                next_at = next_at.min(fetcher.parts.values().map(|f| f.delayed_until).min().unwrap_or(Instant::MAX));
            }
        }
        self.fetchers.next_at = next_at;
    }
}

impl Fetcher {
    /// Where fresh partitions begin, and the truncation that needs no question.
    fn prepare(
        &mut self,
        now: Now,
        truncation: Truncation,
        defects: crate::defects::Defects,
        replicas: &mut Replicas,
        out: &mut Outbox,
    ) {
        for (&owner, f) in &mut self.parts {
            if !matches!(f.stage, Stage::Fresh | Stage::Truncating) || f.delayed_until > now.mono {
                continue;
            }
            let Some(p) = replicas.get_mut(owner) else { continue };
            let latest = p.log.latest_epoch();
            if f.stage == Stage::Fresh {
                f.last_fetched = latest;
                let by_fetch = truncation == Truncation::Fetch && latest.is_some();
                f.stage = if by_fetch { Stage::Fetching } else { Stage::Truncating };
                f.offset = if by_fetch { p.log.log_end() } else { p.high_watermark() };
            }
            let ask = latest.is_some() && !defects.on(Defect::HwTruncateOnFollow);
            if f.stage == Stage::Truncating && !ask {
                // Without an epoch to ask with, everything above the high watermark is in doubt.
                let to = p.high_watermark();
                p.truncate(now, to, TruncationReason::HighWatermark, out);
                f.offset = p.log.next_offset();
                f.stage = Stage::Fetching;
                f.last_fetched = p.log.latest_epoch();
                if !p.settled() {
                    f.busy = Some(After::Cut { next: Stage::Fetching });
                    self.busy += 1;
                }
            }
        }
    }

    fn pick(&self, now: Instant, stage: Stage) -> Few<Sent> {
        let due = self.parts.iter().filter(|(_, f)| f.stage == stage && f.delayed_until <= now);
        due.map(|(&owner, f)| Sent { owner, epoch: f.epoch, offset: f.offset }).collect()
    }

    /// One request: questions before records.
    fn ask(
        &mut self,
        now: Instant,
        spec: &crate::broker::BrokerSpec,
        epoch: BrokerEpoch,
        truncation: Truncation,
        replicas: &Replicas,
        out: &mut Outbox,
    ) {
        let me = BrokerId(spec.id.0);
        for (stage, timestamp) in [(Stage::AskLatest, LATEST), (Stage::AskEarliest, EARLIEST)] {
            let sent = self.pick(now, stage);
            let Some(version) = self.channel.version(ApiKey::ListOffsets) else { return };
            if !sent.is_empty() {
                let request = list_offsets(me, timestamp, version, &sent, replicas);
                let round = if stage == Stage::AskLatest { Round::Latest(sent) } else { Round::Earliest(sent) };
                self.channel.send(now, request, round, out);
                return;
            }
        }
        let sent = self.pick(now, Stage::Truncating);
        if !sent.is_empty() {
            let Some(version) = self.channel.version(ApiKey::OffsetForLeaderEpoch) else { return };
            let request = end_offsets(me, version, &sent, replicas);
            self.channel.send(now, request, Round::Epochs(sent), out);
            return;
        }
        let sent = self.pick(now, Stage::Fetching);
        if !sent.is_empty() {
            let Some(version) = self.channel.version(ApiKey::Fetch) else { return };
            // Field by field: these messages are large, and each `with_` moves them.
            let mut request = FetchRequest::default();
            request.max_wait_ms = spec.config.replica_fetch_wait_max.as_millis().min(i32::MAX as u64) as i32;
            request.min_bytes = spec.config.replica_fetch_min_bytes;
            request.max_bytes = spec.config.replica_fetch_response_max_bytes;
            request.topics = self.fetch_topics(version, truncation, spec, &sent, replicas);
            if version >= 15 {
                request.replica_state = ReplicaState::default().with_replica_id(me).with_replica_epoch(epoch.0);
            } else {
                request.replica_id = me;
            }
            self.channel.send(now, request, Round::Records(sent), out);
        }
    }

    fn fetch_topics(
        &self,
        version: i16,
        truncation: Truncation,
        spec: &crate::broker::BrokerSpec,
        sent: &[Sent],
        replicas: &Replicas,
    ) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::with_capacity(1);
        let mut last: Option<TopicId> = None;
        for s in sent {
            let Some(p) = replicas.get(s.owner) else { continue };
            let mut partition = FetchPartition::default();
            partition.partition = p.id.partition;
            partition.fetch_offset = s.offset.0;
            partition.log_start_offset = p.log.log_start().0;
            partition.partition_max_bytes = spec.config.replica_fetch_max_bytes;
            if version >= 9 {
                partition.current_leader_epoch = s.epoch.0;
            }
            if version >= 12 && truncation == Truncation::Fetch {
                let last_fetched = self.parts.get(&s.owner).and_then(|f| f.last_fetched);
                partition.last_fetched_epoch = last_fetched.map_or(-1, |e| e.0);
            }
            if last != Some(p.id.topic) {
                let mut topic = FetchTopic::default();
                topic.partitions = Vec::with_capacity(sent.len());
                if version >= 13 {
                    topic.topic_id = p.id.topic.0;
                } else {
                    topic.topic = p.topic.clone();
                }
                topics.push(topic);
                last = Some(p.id.topic);
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(partition);
            }
        }
        topics
    }
}

/// Calls `add` for each partition, with a new topic begun where the topic changes.
fn by_topic<T>(
    sent: &[Sent],
    replicas: &Replicas,
    new: impl Fn(&Partition) -> T,
    mut add: impl FnMut(&mut T, &Sent, &Partition),
) -> Vec<T> {
    let mut topics: Vec<(TopicId, T)> = Vec::new();
    for s in sent {
        let Some(p) = replicas.get(s.owner) else { continue };
        if topics.last().is_none_or(|(id, _)| *id != p.id.topic) {
            topics.push((p.id.topic, new(p)));
        }
        if let Some((_, topic)) = topics.last_mut() {
            add(topic, s, p);
        }
    }
    topics.into_iter().map(|(_, t)| t).collect()
}

fn list_offsets(me: BrokerId, timestamp: i64, version: i16, sent: &[Sent], replicas: &Replicas) -> ListOffsetsRequest {
    let topics = by_topic(
        sent,
        replicas,
        |p| ListOffsetsTopic::default().with_name(p.topic.clone()),
        |topic, s, p| {
            let mut partition =
                ListOffsetsPartition::default().with_partition_index(p.id.partition).with_timestamp(timestamp);
            if version >= 4 {
                partition.current_leader_epoch = s.epoch.0;
            }
            topic.partitions.push(partition);
        },
    );
    ListOffsetsRequest::default().with_replica_id(me).with_topics(topics)
}

fn end_offsets(me: BrokerId, version: i16, sent: &[Sent], replicas: &Replicas) -> OffsetForLeaderEpochRequest {
    let topics = by_topic(
        sent,
        replicas,
        |p| OffsetForLeaderTopic::default().with_topic(p.topic.clone()),
        |topic, s, p| {
            let partition = OffsetForLeaderPartition::default()
                .with_partition(p.id.partition)
                .with_current_leader_epoch(s.epoch.0)
                .with_leader_epoch(p.log.latest_epoch().map_or(-1, |e| e.0));
            topic.partitions.push(partition);
        },
    );
    let mut request = OffsetForLeaderEpochRequest::default().with_topics(topics);
    if version >= 3 {
        request.replica_id = me;
    }
    request
}
