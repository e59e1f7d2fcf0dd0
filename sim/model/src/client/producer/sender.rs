//! Batches into requests, answers into outcomes; retries, timeouts, leader changes. Follows Kafka's `Sender`.

use super::accumulator::Readiness;
use super::batch::BatchKey;
use super::idempotence::Idempotence;
use super::outcome::{Attempt, attempt};
use super::{DELIVERY_TIMEOUT, Init, PRODUCER_CLOSED, Producer, ProducerEvent};
use crate::channel::LostReason;
use crate::client::errors;
use crate::client::network::NetworkEvent;
use crate::defects::Defect;
use crate::history::Acks;
use crate::ids::{ApiKey, LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, TopicId};
use crate::node::{Endpoint, Outbox};
use crate::small_map::Few;
use crate::units::Instant;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse, ResponseKind};
use smallvec::SmallVec;

/// What a request was for.
#[derive(Debug)]
pub(super) enum Tag {
    Metadata,
    InitProducerId,
    /// The batches of a produce request, and the topic id each was sent under (zero: by name).
    Produce(Few<(BatchKey, TopicId)>),
}

/// What a broker answered about one batch.
#[derive(Clone, Copy)]
struct Answer {
    error: i16,
    base_offset: Option<Offset>,
    log_start: Option<Offset>,
}

impl Answer {
    const fn error(error: i16) -> Answer {
        Answer { error, base_offset: None, log_start: None }
    }
}

fn known(offset: i64) -> Option<Offset> {
    (offset >= 0).then_some(Offset(offset))
}

impl Producer {
    /// One round: metadata, timeouts, waiting sends, identity, then as many requests as may leave.
    pub(super) fn run(&mut self, now: Instant, out: &mut Outbox) {
        self.dirty = false;
        self.next_at = Instant::MAX;
        if self.closed {
            return;
        }
        if let Some(deadline) = self.closing {
            if self.pending == 0 || now >= deadline {
                return self.finish_close(now, out);
            }
            self.next_at = deadline;
        }
        if let Init::Refused(error) = self.init {
            self.abort(error);
        }
        let mut next = self.metadata.poll(now, &mut self.net, || Tag::Metadata, out);
        next = next.min(self.expire(now));
        next = next.min(self.admit(now));
        next = next.min(self.identify(now, out));
        next = next.min(self.drain(now, out));
        // Draining may have found a leader missing, and waiting sends may have named a topic for the first time.
        next = next.min(self.metadata.poll(now, &mut self.net, || Tag::Metadata, out));
        self.next_at = self.next_at.min(next);
    }

    /// Gives up batches older than `delivery.timeout.ms`. Returns when the next one will be.
    fn expire(&mut self, now: Instant) -> Instant {
        let mut next = Instant::MAX;
        for queue in 0..self.accumulator.queues.len() {
            while let Some(&key) = self.accumulator.queues[queue].waiting.front() {
                let at = self.accumulator.batches[key].created + self.config.delivery_timeout;
                if now < at {
                    next = next.min(at);
                    break;
                }
                self.accumulator.queues[queue].waiting.pop_front();
                self.give_up(key);
            }
            for at in 0..self.accumulator.queues[queue].in_requests.len() {
                let key = self.accumulator.queues[queue].in_requests[at];
                let batch = &self.accumulator.batches[key];
                let due = batch.created + self.config.delivery_timeout;
                if batch.done {
                    continue;
                }
                if now < due {
                    next = next.min(due);
                } else {
                    self.give_up(key);
                }
            }
        }
        next
    }

    fn give_up(&mut self, key: BatchKey) {
        let batch = &mut self.accumulator.batches[key];
        // What is on its way may still arrive.
        batch.ambiguous |= batch.in_request;
        let retried = batch.retries > 0;
        let (partition, last) = (batch.partition, batch.last_sequence());
        self.fail(key, errors::REQUEST_TIMED_OUT, DELIVERY_TIMEOUT, false);
        if let (true, Some(last)) = (retried, last) {
            Idempotence::mark_unresolved(&mut self.accumulator.queues[partition].sequences, last.plus(1));
        }
    }

    /// Sees to the producer's identity. Returns when to come back.
    fn identify(&mut self, now: Instant, out: &mut Outbox) -> Instant {
        let Some(idempotence) = &mut self.idempotence else { return Instant::MAX };
        if !idempotence.settle(&mut self.accumulator.queues, &mut self.accumulator.batches) {
            return Instant::MAX;
        }
        match self.init {
            Init::From(at) if now >= at => {}
            Init::From(at) => return at,
            Init::InFlight | Init::Refused(_) => return Instant::MAX,
        }
        let Some(node) = self.net.least_loaded(now) else {
            return self.net.next_retry().unwrap_or(Instant::MAX);
        };
        if !self.net.connect(now, node, out) {
            return self.net.retry_at(node).unwrap_or(Instant::MAX);
        }
        let Some(version) = self.net.version(node, ApiKey::InitProducerId) else {
            self.init = Init::Refused(errors::name(errors::UNSUPPORTED_VERSION));
            self.dirty = true;
            return now;
        };
        let mut request =
            InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(i32::MAX);
        if version >= 3 {
            request.producer_id = (-1).into();
            request.producer_epoch = -1;
        }
        self.net.send(now, node, request, Tag::InitProducerId, out);
        self.init = Init::InFlight;
        Instant::MAX
    }

    fn init_failed(&mut self, now: Instant) {
        self.init = Init::From(now + self.retry.after(self.init_failures, self.net.rng()));
        self.init_failures += 1;
    }

    /// Sends whatever may be sent. Returns when there may be more.
    fn drain(&mut self, now: Instant, out: &mut Outbox) -> Instant {
        let hurry = self.closing.is_some() || self.exhausted;
        loop {
            let mut next = Instant::MAX;
            let mut ready: SmallVec<[NodeId; 4]> = SmallVec::new();
            for queue in 0..self.accumulator.queues.len() {
                let q = &self.accumulator.queues[queue];
                let Some(&first) = q.waiting.front() else { continue };
                let leader = self.metadata.leader(q.topic, q.index).filter(|(node, _)| self.net.knows(*node));
                let Some((node, epoch)) = leader else {
                    self.metadata.request_update();
                    continue;
                };
                self.accumulator.batches[first].saw_leader(epoch);
                if ready.contains(&node) {
                    continue;
                }
                match self.accumulator.readiness(queue, now, hurry) {
                    Readiness::Nothing => {}
                    Readiness::From(at) => next = next.min(at),
                    Readiness::Now => ready.push(node),
                }
            }
            let mut progress = false;
            for node in ready {
                if !self.net.ready(now, node, out) {
                    next = next.min(self.net.retry_at(node).unwrap_or(Instant::MAX));
                    continue;
                }
                let batches = self.drain_node(now, node);
                if !batches.is_empty() {
                    progress = true;
                    self.send_request(now, node, batches, out);
                }
            }
            if !progress {
                return next;
            }
        }
    }

    /// Takes at most one batch from each of a node's partitions, up to `max.request.size`. Each round begins with
    /// another partition, so that none starves. Batches that still linger go along.
    fn drain_node(&mut self, now: Instant, node: NodeId) -> SmallVec<[BatchKey; 4]> {
        let count = self.accumulator.queues.len();
        let start = self.drain_index.get(&node).copied().unwrap_or(0) % count.max(1);
        let (mut size, mut taken) = (0, SmallVec::new());
        for at in (start..count).chain(0..start) {
            let q = &mut self.accumulator.queues[at];
            let Some(&first) = q.waiting.front() else { continue };
            let led = self.metadata.leader(q.topic, q.index);
            let Some((_, epoch)) = led.filter(|(leader, _)| *leader == node && !q.muted) else { continue };
            let batch = &mut self.accumulator.batches[first];
            batch.saw_leader(epoch);
            if batch.backing_off(now) {
                continue;
            }
            if size + batch.size() > self.config.max_request_size && !taken.is_empty() {
                self.drain_index.insert(node, at);
                return taken;
            }
            size += batch.size();
            if let Some(idempotence) = &self.idempotence {
                if !idempotence.may_drain(&q.sequences, first, &self.accumulator.batches) {
                    continue;
                }
                idempotence.assign(&mut q.sequences, first, &mut self.accumulator.batches);
            }
            q.waiting.pop_front();
            // With one request in flight, order is kept by sending nothing until the outcome is known.
            q.muted = self.config.max_in_flight == 1;
            self.accumulator.drained(first);
            taken.push(first);
        }
        self.drain_index.insert(node, (start + 1) % count.max(1));
        taken
    }

    fn send_request(&mut self, now: Instant, node: NodeId, batches: SmallVec<[BatchKey; 4]>, out: &mut Outbox) {
        let Some(version) = self.net.version(node, ApiKey::Produce) else {
            for key in batches {
                self.accumulator.returned(key);
                self.complete(now, key, Answer::error(errors::UNSUPPORTED_VERSION));
            }
            return;
        };
        // Topics can be named by id only if every id is known, which a broker with old Metadata does not tell.
        let nameless = |key: &BatchKey| {
            let q = &self.accumulator.queues[self.accumulator.batches[*key].partition];
            self.metadata.get(q.topic).id == TopicId::ZERO
        };
        let by_name = version >= 13 && self.config.acks != Acks::None && batches.iter().any(nameless);
        let version = if by_name { 12 } else { version };
        let count = batches.len();
        let mut topics: Vec<TopicProduceData> = Vec::with_capacity(1);
        let mut sent = Few::with_capacity(count);
        let mut of_topic: SmallVec<[_; 4]> = SmallVec::new();
        for key in batches {
            let batch = &mut self.accumulator.batches[key];
            let records = batch.bytes();
            let q = &self.accumulator.queues[batch.partition];
            let topic = self.metadata.get(q.topic);
            let at = of_topic.iter().position(|&t| t == q.topic).unwrap_or_else(|| {
                of_topic.push(q.topic);
                // Field by field, here and below: these messages are large, and each `with_` moves them.
                let new = topics.push_mut(TopicProduceData::default());
                if version >= 13 {
                    new.topic_id = topic.id.0;
                } else {
                    new.name = topic.wire_name.clone();
                }
                new.partition_data = Vec::with_capacity(count);
                topics.len() - 1
            });
            let data = topics[at].partition_data.push_mut(PartitionProduceData::default());
            data.index = q.index;
            data.records = Some(records);
            sent.push((key, if version >= 13 { topic.id } else { TopicId::ZERO }));
        }
        let acks = match self.config.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let timeout = self.config.request_timeout.as_millis().min(i32::MAX as u64) as i32;
        let mut request = ProduceRequest::default();
        request.acks = acks;
        request.timeout_ms = timeout;
        request.topic_data = topics;
        if self.config.acks == Acks::None {
            self.net.send_oneway(node, request, out);
            for (key, _) in sent {
                self.accumulator.returned(key);
                self.complete(now, key, Answer::error(errors::NONE));
            }
        } else {
            self.net.send_version(now, node, version, request, Tag::Produce(sent), out);
        }
    }

    /// Something came of a request or a connection.
    pub(super) fn on_network(&mut self, now: Instant, event: NetworkEvent<Tag>, out: &mut Outbox) {
        self.dirty = true;
        match event {
            NetworkEvent::Ready { .. } => {}
            NetworkEvent::Response { tag, version, response, .. } => match (tag, *response) {
                (Tag::Metadata, ResponseKind::Metadata(response)) => {
                    for lost in self.metadata.on_response(now, version, response, &mut self.net, out) {
                        self.on_network(now, lost, out);
                    }
                }
                (Tag::InitProducerId, ResponseKind::InitProducerId(response)) => {
                    if response.error_code == errors::NONE {
                        let identity = (ProducerId(response.producer_id.0), ProducerEpoch(response.producer_epoch));
                        self.init = Init::From(now);
                        self.init_failures = 0;
                        if let Some(idempotence) = &mut self.idempotence {
                            idempotence.set_identity(identity);
                            let accumulator = &mut self.accumulator;
                            idempotence.rewrite_waiting(&mut accumulator.queues, &mut accumulator.batches);
                        }
                    } else if errors::is_retriable(response.error_code) {
                        self.init_failed(now);
                    } else {
                        self.init = Init::Refused(errors::name(response.error_code));
                    }
                }
                (Tag::Produce(batches), ResponseKind::Produce(response)) => {
                    self.on_produced(now, batches, response, out);
                }
                (tag, _) => self.lost(now, tag, errors::UNKNOWN_SERVER_ERROR),
            },
            NetworkEvent::Lost { tags, reason, .. } => {
                self.metadata.request_update();
                let error = match reason {
                    LostReason::RequestTimeout => errors::REQUEST_TIMED_OUT,
                    _ => errors::NETWORK_EXCEPTION,
                };
                // Oldest first, as Kafka does: each is put back at the front, so without idempotence several requests in
                // flight change places here.
                for tag in tags {
                    self.lost(now, tag, error);
                }
            }
        }
    }

    fn lost(&mut self, now: Instant, tag: Tag, error: i16) {
        match tag {
            Tag::Metadata => {
                self.metadata.failed(now, &mut self.net);
            }
            Tag::InitProducerId => self.init_failed(now),
            Tag::Produce(batches) => {
                for (key, _) in batches {
                    self.accumulator.returned(key);
                    self.complete(now, key, Answer::error(error));
                }
            }
        }
    }

    fn on_produced(
        &mut self,
        now: Instant,
        batches: Few<(BatchKey, TopicId)>,
        response: ProduceResponse,
        out: &mut Outbox,
    ) {
        for node in &response.node_endpoints {
            let endpoint = Endpoint::new(node.host.as_str(), node.port as u16);
            let lost = self.net.set_broker(now, NodeId(node.node_id.0), endpoint, out);
            lost.into_iter().for_each(|lost| self.on_network(now, lost, out));
        }
        for (key, sent_id) in batches {
            let q = &self.accumulator.queues[self.accumulator.batches[key].partition];
            let (topic, index) = (q.topic, q.index);
            let name = &self.metadata.get(topic).wire_name;
            let theirs = response
                .responses
                .iter()
                .find(|r| if sent_id == TopicId::ZERO { r.name == *name } else { TopicId(r.topic_id) == sent_id });
            let theirs = theirs.and_then(|t| t.partition_responses.iter().find(|p| p.index == index));
            let answer = theirs.map_or(Answer::error(errors::UNKNOWN_SERVER_ERROR), |p| Answer {
                error: p.error_code,
                base_offset: known(p.base_offset),
                log_start: known(p.log_start_offset),
            });
            if let Some(p) = theirs {
                let leader = NodeId(p.current_leader.leader_id.0);
                if self.net.knows(leader) {
                    let epoch = LeaderEpoch(p.current_leader.leader_epoch);
                    self.metadata.leader_hint(topic, index, leader, epoch);
                }
            }
            self.accumulator.returned(key);
            self.complete(now, key, answer);
        }
    }

    /// A batch is back from the network, with this answer.
    fn complete(&mut self, now: Instant, key: BatchKey, answer: Answer) {
        let batch = &mut self.accumulator.batches[key];
        let (partition, done) = (batch.partition, batch.done);
        let error = answer.error;
        let stays = error != errors::NONE && self.accumulator.defects.on(Defect::PartitionStaysMuted);
        self.accumulator.queues[partition].muted &= stays;
        if error == errors::NONE || error == errors::DUPLICATE_SEQUENCE_NUMBER {
            // A duplicate older than the broker remembers was appended, but nobody knows where.
            if let Some(idempotence) = &self.idempotence {
                let state = &mut self.accumulator.queues[partition].sequences;
                idempotence.completed(state, key, answer.base_offset, &self.accumulator.batches);
            }
            if !done {
                let offset = answer.base_offset.filter(|_| error == errors::NONE);
                self.deliver(key, offset);
            }
            self.accumulator.finish(key);
            return;
        }
        if errors::is_stale_metadata(error) {
            self.metadata.request_update();
        }
        if done {
            self.accumulator.finish(key);
            return;
        }
        batch.ambiguous |= attempt(error, self.config.acks) == Attempt::Unknown;
        let in_time = now < batch.created + self.config.delivery_timeout;
        let left = batch.retries < self.config.retries;
        let retry = in_time && left && {
            let for_sequence = self.idempotence.as_mut().is_some_and(|idempotence| {
                let state = &self.accumulator.queues[partition].sequences;
                idempotence.retry_for_sequence(state, key, error, answer.log_start, &self.accumulator.batches)
            });
            for_sequence || errors::is_retriable(error)
        };
        if retry {
            let batch = &mut self.accumulator.batches[key];
            batch.backoff_until = now + self.retry.after(batch.retries, self.net.rng());
            batch.retries += 1;
            self.accumulator.reenqueue(key, self.idempotence.is_some());
        } else {
            // If retries ran out, a broker may yet have the numbers: only a final word frees them.
            self.fail(key, error, errors::name(error), left);
        }
    }

    fn deliver(&mut self, key: BatchKey, base: Option<Offset>) {
        let batch = &self.accumulator.batches[key];
        let partition = self.accumulator.queues[batch.partition].index;
        let acknowledged = self.config.acks != Acks::None;
        self.pending -= batch.records();
        self.events.extend(batch.ids.iter().enumerate().map(|(i, &id)| ProducerEvent::Delivered {
            id,
            partition,
            offset: base.map(|base| base.plus(i as i64)),
            attempts: batch.attempts,
            producer_id: batch.producer.map(|p| p.id),
            acknowledged,
        }));
    }

    /// Gives a batch up. It is not in a waiting queue any more.
    fn fail(&mut self, key: BatchKey, code: i16, error: &'static str, renumber: bool) {
        let batch = &self.accumulator.batches[key];
        let (queue, definite) = (batch.partition, !batch.ambiguous);
        let partition = Some(self.accumulator.queues[queue].index);
        self.pending -= batch.records();
        let (attempts, producer_id) = (batch.attempts, batch.producer.map(|p| p.id));
        let failed = |&id: &u64| ProducerEvent::Failed { id, error, definite, partition, attempts, producer_id };
        self.events.extend(batch.ids.iter().map(failed));
        if let Some(idempotence) = &mut self.idempotence {
            let state = &mut self.accumulator.queues[queue].sequences;
            idempotence.failed(state, key, code, renumber, &self.accumulator.batches);
        }
        self.accumulator.finish(key);
    }

    /// Gives up everything that has not resolved.
    fn abort(&mut self, error: &'static str) {
        for send in std::mem::take(&mut self.waiting) {
            self.fail_waiting(&send, error);
        }
        for queue in 0..self.accumulator.queues.len() {
            let in_requests = self.accumulator.queues[queue].in_requests.clone();
            for key in in_requests {
                if !self.accumulator.batches[key].done {
                    self.accumulator.batches[key].ambiguous = true;
                    self.fail(key, errors::UNKNOWN_SERVER_ERROR, error, false);
                }
            }
            while let Some(key) = self.accumulator.queues[queue].waiting.pop_front() {
                self.fail(key, errors::UNKNOWN_SERVER_ERROR, error, false);
            }
        }
    }

    fn finish_close(&mut self, now: Instant, out: &mut Outbox) {
        self.abort(PRODUCER_CLOSED);
        self.net.close(now, out);
        self.closed = true;
    }
}
