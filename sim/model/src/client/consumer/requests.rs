//! What a consumer asks of brokers: end of an epoch, offsets, records; and what the answers do to its positions.
//!
//! Unlike the Java client, which asks again as fast as it is polled, a partition waits out the backoff after an
//! error, unless its leader changes.

use super::fetcher::Buffered;
use super::group::GroupTag;
use super::positions::{Assigned, AssignmentId, Position, State, Validation, validate};
use super::{Consumer, ConsumerEvent, LOG_TRUNCATION};
use crate::client::errors;
use crate::client::network::NetworkEvent;
use crate::config::AutoOffsetReset;
use crate::defects::Defect;
use crate::history::{IsolationLevel, PositionReason};
use crate::ids::{ApiKey, LeaderEpoch, NodeId, Offset, TopicId};
use crate::node::{Endpoint, Outbox};
use crate::small_map::Few;
use crate::units::Instant;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ResponseKind,
};
use smallvec::SmallVec;

/// A question about a partition, as it stood when it was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub id: AssignmentId,
    pub generation: u64,
}

/// What a request was for.
#[derive(Debug)]
pub(super) enum Tag {
    Metadata,
    Reset(Vec<Question>),
    Validate(Vec<(Question, Position)>),
    Fetch {
        node: NodeId,
        asked: Few<(AssignmentId, Offset, TopicId)>,
    },
    /// Anything of [`super::group`].
    Group(GroupTag),
}

/// -1 for "a consumer" (replica ids are brokers').
const CONSUMER: i32 = -1;

impl Consumer {
    /// One round: metadata, leaders, then whatever must be asked.
    pub(super) fn run(&mut self, now: Instant, out: &mut Outbox) {
        self.dirty = false;
        let mut next = self.metadata.poll(now, &mut self.net, || Tag::Metadata, out);
        if self.group.is_some() {
            next = next.min(self.run_group(now, out));
        }
        self.follow_leaders();
        next = next.min(self.ask(now, out));
        next = next.min(self.metadata.poll(now, &mut self.net, || Tag::Metadata, out));
        self.next_at = next;
    }

    fn follow_leaders(&mut self) {
        for a in &mut self.assigned {
            let Some(leader) = self.metadata.leader(a.topic, a.source.partition) else { continue };
            if a.follows(leader) {
                continue;
            }
            // Before version 3 brokers without KIP-320 answer for any epoch; while nothing is known, hope.
            let version = self.net.version(leader.0, ApiKey::OffsetForLeaderEpoch);
            a.follow(leader, version.is_none_or(|v| v >= 3));
        }
    }

    /// Asks what can be asked now. Returns when there is more.
    fn ask(&mut self, now: Instant, out: &mut Outbox) -> Instant {
        let mut next = Instant::MAX;
        let mut nodes: SmallVec<[NodeId; 4]> = SmallVec::new();
        let mut questions = false;
        for a in &self.assigned {
            let idle = match a.state {
                State::Resetting { .. } | State::Validating => !a.asked,
                State::Fetching => a.buffered.is_none() && a.is_fetchable(),
                State::Committed | State::Stuck => false,
            };
            if !idle {
                continue;
            }
            if now < a.retry_at {
                next = next.min(a.retry_at);
                continue;
            }
            let fetches = a.state == State::Fetching;
            questions |= !fetches;
            match self.leader(a) {
                // Its turn comes with the next fetch.
                Some(node) if fetches && self.fetching.contains(&node) => {}
                Some(node) if !nodes.contains(&node) => nodes.push(node),
                Some(_) => {}
                None => self.metadata.request_update(),
            }
        }
        for node in nodes {
            if !self.net.ready(now, node, out) {
                next = next.min(self.net.retry_at(node).unwrap_or(Instant::MAX));
                continue;
            }
            if questions {
                self.ask_offsets(now, node, out);
                self.ask_epochs(now, node, out);
            }
            self.fetch(now, node, out);
        }
        next
    }

    fn leader(&self, a: &Assigned) -> Option<NodeId> {
        let leader = match a.position {
            Some(position) => position.leader,
            None => self.metadata.leader(a.topic, a.source.partition),
        };
        leader.map(|(node, _)| node).filter(|node| self.net.knows(*node))
    }

    fn due(&self, node: NodeId, now: Instant, wanted: impl Fn(&Assigned) -> bool) -> SmallVec<[usize; 4]> {
        let due = |a: &Assigned| wanted(a) && now >= a.retry_at && self.leader(a) == Some(node);
        (0..self.assigned.len()).filter(|&at| due(&self.assigned[at])).collect()
    }

    fn ask_offsets(&mut self, now: Instant, node: NodeId, out: &mut Outbox) {
        let due = self.due(node, now, |a| matches!(a.state, State::Resetting { .. }) && !a.asked);
        let Some(version) = self.net.version(node, ApiKey::ListOffsets).filter(|_| !due.is_empty()) else { return };
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        let mut questions = Vec::with_capacity(due.len());
        for at in due {
            let a = &mut self.assigned[at];
            let State::Resetting { query, .. } = a.state else { continue };
            a.asked = true;
            questions.push(Question { id: a.id, generation: a.generation });
            let mut partition =
                ListOffsetsPartition::default().with_partition_index(a.source.partition).with_timestamp(query);
            if version >= 4 {
                let epoch = self.metadata.leader(a.topic, a.source.partition).map_or(LeaderEpoch::NONE, |l| l.1);
                partition.current_leader_epoch = epoch.0;
            }
            let name = &self.metadata.get(a.topic).wire_name;
            topic_of(&mut topics, |t| t.name == *name, || ListOffsetsTopic::default().with_name(name.clone()))
                .partitions
                .push(partition);
        }
        let mut request = ListOffsetsRequest::default().with_replica_id(CONSUMER.into()).with_topics(topics);
        if version >= 2 {
            request.isolation_level = isolation(self.config.isolation);
        }
        if version >= 10 {
            request.timeout_ms = self.config.request_timeout.as_millis().min(i32::MAX as u64) as i32;
        }
        self.net.send(now, node, request, Tag::Reset(questions), out);
    }

    fn ask_epochs(&mut self, now: Instant, node: NodeId, out: &mut Outbox) {
        let due = self.due(node, now, |a| a.state == State::Validating && !a.asked);
        if due.is_empty() {
            return;
        }
        let version = self.net.version(node, ApiKey::OffsetForLeaderEpoch);
        if version.is_none_or(|v| v < 3) {
            // The leader cannot tell; read on and hope, as Kafka does.
            due.into_iter().for_each(|at| self.assigned[at].state = State::Fetching);
            self.dirty = true;
            return;
        }
        let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
        let mut questions = Vec::with_capacity(due.len());
        for at in due {
            let a = &mut self.assigned[at];
            let Some(position) = a.position else { continue };
            a.asked = true;
            questions.push((Question { id: a.id, generation: a.generation }, position));
            let partition = OffsetForLeaderPartition::default()
                .with_partition(a.source.partition)
                .with_current_leader_epoch(position.leader.map_or(-1, |l| l.1.0))
                .with_leader_epoch(position.offset_epoch.0);
            let name = &self.metadata.get(a.topic).wire_name;
            topic_of(&mut topics, |t| t.topic == *name, || OffsetForLeaderTopic::default().with_topic(name.clone()))
                .partitions
                .push(partition);
        }
        let request = OffsetForLeaderEpochRequest::default().with_replica_id(CONSUMER.into()).with_topics(topics);
        self.net.send(now, node, request, Tag::Validate(questions), out);
    }

    fn fetch(&mut self, now: Instant, node: NodeId, out: &mut Outbox) {
        if self.fetching.contains(&node) {
            return;
        }
        let due = self.due(node, now, |a| a.is_fetchable() && a.buffered.is_none());
        let Some(version) = self.net.version(node, ApiKey::Fetch).filter(|_| !due.is_empty()) else { return };
        // Topics can be named by id only if every id is known, which a broker with old Metadata does not tell.
        let nameless = |&at: &usize| self.metadata.get(self.assigned[at].topic).id == TopicId::ZERO;
        let version = if version >= 13 && due.iter().any(nameless) { 12 } else { version };
        let count = due.len();
        let with_room = || FetchTopic::default().with_partitions(Vec::with_capacity(count));
        let mut topics: Vec<FetchTopic> = Vec::with_capacity(1);
        let mut asked = Few::with_capacity(count);
        for at in due {
            let a = &self.assigned[at];
            let Some(position) = a.position else { continue };
            let topic = self.metadata.get(a.topic);
            asked.push((a.id, position.offset, if version >= 13 { topic.id } else { TopicId::ZERO }));
            let mut partition = FetchPartition::default();
            partition.partition = a.source.partition;
            partition.fetch_offset = position.offset.0;
            partition.partition_max_bytes = self.config.max_partition_fetch_bytes;
            if version >= 9 {
                partition.current_leader_epoch = position.leader.map_or(-1, |l| l.1.0);
            }
            let list = if version >= 13 {
                let id = topic.id.0;
                topic_of(&mut topics, |t| t.topic_id == id, || with_room().with_topic_id(id))
            } else {
                let name = &topic.wire_name;
                topic_of(&mut topics, |t| t.topic == *name, || with_room().with_topic(name.clone()))
            };
            list.partitions.push(partition);
        }
        // Field by field: these messages are large, and each `with_` moves them.
        let mut request = FetchRequest::default();
        request.max_wait_ms = self.config.fetch_max_wait.as_millis().min(i32::MAX as u64) as i32;
        request.min_bytes = self.config.fetch_min_bytes;
        request.max_bytes = self.config.fetch_max_bytes;
        request.isolation_level = isolation(self.config.isolation);
        request.topics = topics;
        if version >= 7 {
            request.session_id = 0;
            request.session_epoch = -1;
        }
        if version <= 14 {
            request.replica_id = CONSUMER.into();
        }
        self.fetching.push(node);
        self.net.send_version(now, node, version, request, Tag::Fetch { node, asked }, out);
    }

    /// Something came of a request or a connection.
    pub(super) fn on_network(&mut self, now: Instant, event: NetworkEvent<Tag>, out: &mut Outbox) {
        self.dirty = true;
        match event {
            NetworkEvent::Ready { .. } => {}
            NetworkEvent::Response { tag: Tag::Fetch { node, asked }, mut response, .. } => {
                self.fetching.retain(|&n| n != node);
                // Looked at where it is: it is large.
                if let ResponseKind::Fetch(response) = &mut *response {
                    self.on_fetched(now, &asked, response, out);
                }
            }
            NetworkEvent::Response { tag, version, response, .. } => match (tag, *response) {
                (Tag::Metadata, ResponseKind::Metadata(response)) => {
                    for lost in self.metadata.on_response(now, version, response, &mut self.net, out) {
                        self.on_network(now, lost, out);
                    }
                }
                (Tag::Reset(questions), ResponseKind::ListOffsets(response)) => {
                    self.on_offsets(now, &questions, &response);
                }
                (Tag::Validate(questions), ResponseKind::OffsetForLeaderEpoch(response)) => {
                    self.on_epochs(now, &questions, &response);
                }
                (Tag::Group(tag), response) => self.on_group_answer(now, tag, version, response, out),
                (tag, _) => self.lost(now, tag),
            },
            NetworkEvent::Lost { node, tags, .. } => {
                self.metadata.request_update();
                self.connection_lost(node);
                tags.into_iter().for_each(|tag| self.lost(now, tag));
            }
        }
    }

    fn lost(&mut self, now: Instant, tag: Tag) {
        match tag {
            Tag::Metadata => {
                self.metadata.failed(now, &mut self.net);
            }
            Tag::Reset(questions) => questions.iter().for_each(|q| self.retry(now, *q)),
            Tag::Validate(questions) => questions.iter().for_each(|(q, _)| self.retry(now, *q)),
            // The reconnect backoff is pause enough.
            Tag::Fetch { node, .. } => self.fetching.retain(|&n| n != node),
            Tag::Group(tag) => self.group_lost(now, tag),
        }
    }

    /// The partition a question was about, if nothing has happened to its position since.
    pub(super) fn about(&self, question: Question) -> Option<usize> {
        let at = self.assigned.iter().position(|a| a.id == question.id)?;
        (self.assigned[at].generation == question.generation).then_some(at)
    }

    fn retry(&mut self, now: Instant, question: Question) {
        if let Some(at) = self.about(question) {
            self.back_off(now, at);
        }
    }

    fn back_off(&mut self, now: Instant, at: usize) {
        let pause = self.retry.after(self.assigned[at].failures, self.net.rng());
        self.assigned[at].failed(now + pause);
    }

    fn on_offsets(&mut self, now: Instant, questions: &[Question], response: &ListOffsetsResponse) {
        for &question in questions {
            let Some(at) = self.about(question) else { continue };
            let a = &self.assigned[at];
            let State::Resetting { reason, .. } = a.state else { continue };
            let name = &self.metadata.get(a.topic).wire_name;
            let topic = response.topics.iter().find(|t| t.name == *name);
            let answer = topic.and_then(|t| t.partitions.iter().find(|p| p.partition_index == a.source.partition));
            match answer.map_or(errors::UNKNOWN_SERVER_ERROR, |p| p.error_code) {
                errors::NONE => {
                    let Some(answer) = answer.filter(|p| p.offset >= 0) else {
                        self.back_off(now, at);
                        continue;
                    };
                    let (topic, partition) = (a.topic, a.source.partition);
                    self.metadata.saw_epoch(topic, partition, LeaderEpoch(answer.leader_epoch));
                    self.jump(at, Offset(answer.offset), LeaderEpoch::NONE, reason);
                }
                error => {
                    if errors::is_stale_metadata(error) || errors::is_retriable(error) {
                        self.metadata.request_update();
                    } else {
                        let (source, error) = (a.source.clone(), errors::name(error));
                        self.events.push_back(ConsumerEvent::Error { source, error });
                    }
                    self.back_off(now, at);
                }
            }
        }
    }

    fn on_epochs(&mut self, now: Instant, questions: &[(Question, Position)], response: &OffsetForLeaderEpochResponse) {
        for &(question, asked) in questions {
            let Some(at) = self.about(question) else { continue };
            let a = &mut self.assigned[at];
            if a.state != State::Validating || a.position != Some(asked) {
                continue;
            }
            let name = &self.metadata.get(a.topic).wire_name;
            let topic = response.topics.iter().find(|t| t.topic == *name);
            let answer = topic.and_then(|t| t.partitions.iter().find(|p| p.partition == a.source.partition));
            let Some(answer) = answer.filter(|p| p.error_code == errors::NONE) else {
                self.metadata.request_update();
                self.back_off(now, at);
                continue;
            };
            let verdict = validate(asked, LeaderEpoch(answer.leader_epoch), Offset(answer.end_offset));
            let diverged_at = match verdict {
                Validation::Valid => {
                    a.state = State::Fetching;
                    a.asked = false;
                    a.failures = 0;
                    continue;
                }
                Validation::Unknown => None,
                Validation::Diverged { at, .. } => Some(at),
            };
            let source = a.source.clone();
            self.events.push_back(ConsumerEvent::Truncated { source, position: asked.offset, diverged_at });
            match verdict {
                Validation::Diverged { at: offset, epoch }
                    if self.config.auto_offset_reset != AutoOffsetReset::None =>
                {
                    self.jump(at, offset, epoch, PositionReason::Truncation);
                }
                _ => self.reset(at, PositionReason::Truncation, LOG_TRUNCATION),
            }
        }
    }

    fn on_fetched(
        &mut self,
        now: Instant,
        asked: &[(AssignmentId, Offset, TopicId)],
        response: &mut FetchResponse,
        out: &mut Outbox,
    ) {
        for node in &response.node_endpoints {
            let endpoint = Endpoint::new(node.host.as_str(), node.port as u16);
            let lost = self.net.set_broker(now, NodeId(node.node_id.0), endpoint, out);
            lost.into_iter().for_each(|lost| self.on_network(now, lost, out));
        }
        if response.error_code != errors::NONE {
            self.metadata.request_update();
            for (id, ..) in asked {
                if let Some(at) = self.assigned.iter().position(|a| a.id == *id) {
                    self.back_off(now, at);
                }
            }
            return;
        }
        for topic in &mut response.responses {
            let id = TopicId(topic.topic_id);
            for data in &mut topic.partitions {
                let at = self.assigned.iter().position(|a| {
                    let same = if id == TopicId::ZERO {
                        self.metadata.get(a.topic).wire_name == topic.topic
                    } else {
                        asked.iter().any(|&(asked, _, sent)| asked == a.id && sent == id)
                    };
                    same && a.source.partition == data.partition_index
                });
                let Some(at) = at else { continue };
                let from = asked.iter().find(|(asked, ..)| *asked == self.assigned[at].id).map(|&(_, from, _)| from);
                // Records of another place than the present one are of no use.
                let here = self.assigned[at].position.map(|p| p.offset) == from;
                if from.is_some() && (here || self.defects.on(Defect::LateFetchAnswerTaken)) {
                    self.on_partition(now, at, data);
                }
            }
        }
    }

    fn on_partition(&mut self, now: Instant, at: usize, data: &mut PartitionData) {
        let a = &mut self.assigned[at];
        if a.state != State::Fetching {
            return;
        }
        let (topic, partition) = (a.topic, a.source.partition);
        match data.error_code {
            errors::NONE => {
                a.failures = 0;
                if data.high_watermark >= 0 {
                    a.high_watermark = Some(Offset(data.high_watermark));
                }
                if data.log_start_offset >= 0 {
                    a.log_start = Some(Offset(data.log_start_offset));
                }
                a.buffered = data.records.take().filter(|r| !r.is_empty()).map(Buffered::new);
            }
            errors::OFFSET_OUT_OF_RANGE => {
                self.reset(at, PositionReason::Reset, errors::name(errors::OFFSET_OUT_OF_RANGE));
            }
            error => {
                let fatal = !errors::is_retriable(error) && error != errors::UNKNOWN_SERVER_ERROR;
                if fatal || error == errors::CORRUPT_MESSAGE {
                    let (source, error) = (a.source.clone(), errors::name(error));
                    self.events.push_back(ConsumerEvent::Error { source, error });
                }
                if errors::is_stale_metadata(error) || error == errors::OFFSET_NOT_AVAILABLE {
                    self.metadata.request_update();
                }
                self.back_off(now, at);
            }
        }
        let hint = (NodeId(data.current_leader.leader_id.0), LeaderEpoch(data.current_leader.leader_epoch));
        if self.net.knows(hint.0) {
            self.metadata.leader_hint(topic, partition, hint.0, hint.1);
        }
    }
}

fn isolation(level: IsolationLevel) -> i8 {
    match level {
        IsolationLevel::ReadUncommitted => 0,
        IsolationLevel::ReadCommitted => 1,
    }
}

/// The entry of a topic in a request's list, added if it is not there.
pub(super) fn topic_of<T>(topics: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let at = topics.iter().position(is).unwrap_or_else(|| {
        topics.push(new());
        topics.len() - 1
    });
    &mut topics[at]
}
