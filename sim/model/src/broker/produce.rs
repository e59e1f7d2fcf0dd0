//! Produce: validation, append, and waiting for what the producer asked to wait for.
//!
//! acks=0 and acks=1 wait for the leader's own append to complete, acks=all for the high watermark. Nothing waits for
//! an fsync. Follows Kafka's `KafkaApis.handleProduceRequest`, `ReplicaManager.appendRecords`, `UnifiedLog.append`,
//! `LogValidator` and `DelayedProduce`.

use super::connections::Caller;
use super::partition::{Partition, ProduceWait};
use super::{Process, Task};
use crate::ids::*;
use crate::log::{AppendError, SequenceCheck};
use crate::node::Outbox;
use crate::record::{BatchError, BatchHeader, Compression, decompressed, records as records_of, validate};
use crate::timers::TimerKey;
use crate::trace::TraceEvent;
use crate::units::{Duration, Now};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// The first version of Produce that may carry zstd.
const ZSTD_SINCE: i16 = 7;

/// A request that waits.
#[derive(Debug)]
struct DelayedProduce {
    caller: Caller,
    acks: i16,
    response: ProduceResponse,
    pending: usize,
    timer: Option<TimerKey>,
    owners: Vec<u32>,
}

/// Produce requests that wait for appends or replicas.
#[derive(Debug, Default)]
pub(crate) struct Produces {
    waiting: BTreeMap<u64, DelayedProduce>,
    next: u64,
    decided: Vec<(ProduceWait, Option<ResponseError>)>,
}

/// An append, or a repetition of one, that can be waited for.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    owner: u32,
    base: Offset,
    last: Offset,
    log_start: Offset,
    duplicate: bool,
}

impl Process {
    pub(super) fn on_produce(&mut self, now: Now, caller: Caller, request: ProduceRequest, out: &mut Outbox) {
        let acks = request.acks;
        self.produces.next += 1;
        let number = self.produces.next;
        let mut delayed = DelayedProduce {
            caller,
            acks,
            response: ProduceResponse::default(),
            pending: 0,
            timer: None,
            owners: Vec::new(),
        };
        delayed.response.responses.reserve_exact(request.topic_data.len());
        for (t, topic) in request.topic_data.into_iter().enumerate() {
            let id = self.topic_asked_for(&topic.name, topic.topic_id);
            let mut answers = Vec::with_capacity(topic.partition_data.len());
            for (p, part) in topic.partition_data.into_iter().enumerate() {
                let index = part.index;
                let accepted = match &request.transactional_id {
                    // Transactions are not offered: no coordinator would give out such an id's producer.
                    Some(_) => Err(ResponseError::InvalidTxnState),
                    None => id.and_then(|topic| self.append_produced(now, topic, part, acks, caller.version, out)),
                };
                let mut answer = PartitionProduceResponse::default();
                answer.index = index;
                match accepted {
                    Ok(a) => {
                        answer.base_offset = a.base.0;
                        if caller.version >= 5 {
                            answer.log_start_offset = a.log_start.0;
                        }
                        let all = acks == -1;
                        let slot = (t as u32, p as u32);
                        let Accepted { owner, base, last, duplicate, .. } = a;
                        if let Some(partition) = self.replicas.get_mut(owner) {
                            partition.produce_waits.push(ProduceWait {
                                request: number,
                                slot,
                                base,
                                last,
                                all,
                                duplicate,
                            });
                            delayed.owners.push(owner);
                            delayed.pending += 1;
                        }
                    }
                    Err(error) => {
                        answer.error_code = error.code();
                        answer.base_offset = -1;
                        self.tell_leader(
                            caller.version,
                            id.ok(),
                            &mut answer,
                            error,
                            &mut delayed.response.node_endpoints,
                            caller,
                        );
                    }
                }
                answers.push(answer);
            }
            let mut response = TopicProduceResponse::default();
            response.partition_responses = answers;
            if caller.version >= 13 {
                response.topic_id = topic.topic_id;
            } else {
                response.name = topic.name;
            }
            delayed.response.responses.push(response);
        }
        if delayed.pending == 0 {
            return self.produced(delayed, out);
        }
        if acks == -1 {
            let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
            delayed.timer = Some(self.timers.set(now.mono + timeout, Task::Produce(number)));
        }
        // A repeated batch, or one that was not delayed by the disk, may be through already.
        let owners = delayed.owners.clone();
        self.produces.waiting.insert(number, delayed);
        for owner in owners {
            self.check_produces(owner, out);
        }
    }

    /// The topic a request names, by id if it has one.
    pub(super) fn topic_asked_for(&self, name: &TopicName, id: Uuid) -> Result<TopicId, ResponseError> {
        if id.is_nil() {
            self.metadata.image.topic_id(name).ok_or(ResponseError::UnknownTopicOrPartition)
        } else {
            let id = TopicId(id);
            self.metadata.image.topic(id).map(|t| t.id).ok_or(ResponseError::UnknownTopicId)
        }
    }

    /// The number of a replica, or why there is none (Kafka: `ReplicaManager.getPartitionOrError`).
    pub(super) fn hosted(&self, id: TopicIdPartition) -> Result<u32, ResponseError> {
        match self.replicas.owner(id) {
            Some(owner) => Ok(owner),
            None if self.metadata.image.partition(id).is_some() => Err(ResponseError::NotLeaderOrFollower),
            None => Err(ResponseError::UnknownTopicOrPartition),
        }
    }

    fn append_produced(
        &mut self,
        now: Now,
        topic: TopicId,
        part: PartitionProduceData,
        acks: i16,
        version: i16,
        out: &mut Outbox,
    ) -> Result<Accepted, ResponseError> {
        if !(-1..=1).contains(&acks) {
            return Err(ResponseError::InvalidRequiredAcks);
        }
        let owner = self.hosted(TopicIdPartition { topic, partition: part.index })?;
        let p = self.replicas.get_mut(owner).ok_or(ResponseError::NotLeaderOrFollower)?;
        p.check(-1, true)?;
        if acks == -1
            && let Err(error) = p.check_min_isr()
        {
            out.trace(TraceEvent::Mark { mark: "produce-rejected-min-isr" });
            return Err(error);
        }
        let records = part.records.unwrap_or_default();
        let header = check_batch(&records, p.message_max_bytes, version)?;
        // What no key names could never be superseded (Kafka: `LogValidator.validateKey`).
        if p.log.config().compaction.is_some() {
            let plain = decompressed(&records).map_err(batch_error)?;
            if records_of(&plain).any(|r| r.is_ok_and(|r| r.key.is_none())) {
                return Err(ResponseError::InvalidRecord);
            }
        }
        let log_start = p.log.log_start();
        if header.producer_id != ProducerId::NONE {
            let (id, epoch) = (header.producer_id, header.producer_epoch);
            match p.log.check_sequence(id, epoch, header.base_sequence, header.last_sequence()) {
                SequenceCheck::Ok => {}
                SequenceCheck::Duplicate { base, last, .. } => {
                    return Ok(Accepted { owner, base, last, log_start, duplicate: true });
                }
                SequenceCheck::OutOfOrder => {
                    out.trace(TraceEvent::Mark { mark: "out-of-order-sequence" });
                    return Err(ResponseError::OutOfOrderSequenceNumber);
                }
                SequenceCheck::InvalidEpoch => return Err(ResponseError::InvalidProducerEpoch),
            }
        }
        let epoch = p.leader_epoch;
        let info = p.log.append_as_leader(now, records, epoch, out).map_err(|e| match e {
            // Being cut from its time as a follower; it will lead in a moment.
            AppendError::NotReady | AppendError::NotContiguous { .. } => ResponseError::NotLeaderOrFollower,
            AppendError::Failed(_) => ResponseError::KafkaStorageError,
            AppendError::Batch(e) => batch_error(e),
        })?;
        self.replicas.note_deadline(owner);
        Ok(Accepted { owner, base: info.base, last: info.last, log_start, duplicate: false })
    }

    /// Answers what a partition's log end or high watermark has reached.
    pub(super) fn check_produces(&mut self, owner: u32, out: &mut Outbox) {
        let Some(p) = self.replicas.get_mut(owner) else { return };
        if p.produce_waits.is_empty() {
            return;
        }
        let (end, high_watermark) = (p.log.log_end(), p.high_watermark());
        let reached = |w: &ProduceWait| w.last < if w.all { high_watermark } else { end };
        if !p.produce_waits.iter().any(reached) {
            return;
        }
        let mut decided = std::mem::take(&mut self.produces.decided);
        let enough = p.check_min_isr_after_append().err();
        p.produce_waits.retain(|w| {
            let through = reached(w);
            if through {
                decided.push((*w, enough.filter(|_| w.all)));
            }
            !through
        });
        for &(wait, error) in &decided {
            self.decide(owner, wait, error, out);
        }
        decided.clear();
        self.produces.decided = decided;
    }

    /// Everything that waits for a partition fails: it is no leader any more.
    pub(super) fn fail_produces(&mut self, owner: u32, error: ResponseError, out: &mut Outbox) {
        let Some(p) = self.replicas.get_mut(owner) else { return };
        for wait in std::mem::take(&mut p.produce_waits) {
            self.decide(owner, wait, Some(error), out);
        }
    }

    /// Appends that the log forgot are answered as if nothing had happened to them.
    pub(super) fn forget_produces(&mut self, owner: u32, base: Offset, last: Offset, out: &mut Outbox) {
        let Some(p) = self.replicas.get_mut(owner) else { return };
        let (gone, kept) =
            std::mem::take(&mut p.produce_waits).into_iter().partition(|w| w.base <= last && w.last >= base);
        p.produce_waits = kept;
        let gone: Vec<ProduceWait> = gone;
        for wait in gone {
            self.decide(owner, wait, Some(ResponseError::KafkaStorageError), out);
        }
    }

    fn decide(&mut self, owner: u32, wait: ProduceWait, error: Option<ResponseError>, out: &mut Outbox) {
        let Some(delayed) = self.produces.waiting.get_mut(&wait.request) else { return };
        if let Some(error) = error {
            let (t, p) = wait.slot;
            let answer = &mut delayed.response.responses[t as usize].partition_responses[p as usize];
            answer.error_code = error.code();
            answer.base_offset = -1;
            if error == ResponseError::NotEnoughReplicasAfterAppend {
                out.trace(TraceEvent::Mark { mark: "not-enough-replicas-after-append" });
            }
        } else if let Some(p) = self.replicas.get(owner) {
            if wait.all {
                trace_ack(p, delayed.caller, wait, out);
            }
            if wait.duplicate {
                out.trace(TraceEvent::Mark { mark: "duplicate-batch-acknowledged" });
            }
        }
        delayed.pending -= 1;
        if delayed.pending == 0
            && let Some(delayed) = self.produces.waiting.remove(&wait.request)
        {
            self.produced(delayed, out);
        }
    }

    /// `timeout.ms` is over: what has not been decided is answered REQUEST_TIMED_OUT.
    pub(super) fn produce_timed_out(&mut self, number: u64, out: &mut Outbox) {
        let Some(delayed) = self.produces.waiting.get_mut(&number) else { return };
        delayed.timer = None;
        for owner in delayed.owners.clone() {
            let Some(p) = self.replicas.get_mut(owner) else { continue };
            let mine: Vec<ProduceWait> = p.produce_waits.iter().filter(|w| w.request == number).copied().collect();
            p.produce_waits.retain(|w| w.request != number);
            for wait in mine {
                self.decide(owner, wait, Some(ResponseError::RequestTimedOut), out);
            }
        }
    }

    fn produced(&mut self, delayed: DelayedProduce, out: &mut Outbox) {
        if let Some(timer) = delayed.timer {
            self.timers.cancel(timer);
        }
        if delayed.acks != 0 {
            return self.answer(delayed.caller, delayed.response, out);
        }
        // No answer is expected. An error can only be told by closing the connection.
        let conn = delayed.caller.conn;
        let failed = delayed.response.responses.iter().flat_map(|t| &t.partition_responses).any(|p| p.error_code != 0);
        if self.connections.done(conn) && failed {
            self.connections.disconnected(conn);
            out.close(conn);
        }
    }

    /// Whoever asked the wrong broker is told whom to ask (KIP-951).
    fn tell_leader(
        &self,
        version: i16,
        topic: Option<TopicId>,
        answer: &mut PartitionProduceResponse,
        error: ResponseError,
        endpoints: &mut Vec<NodeEndpoint>,
        caller: Caller,
    ) {
        if version < 10 || error != ResponseError::NotLeaderOrFollower {
            return;
        }
        let Some(topic) = topic else { return };
        let id = TopicIdPartition { topic, partition: answer.index };
        let Some((leader, epoch)) = self.known_leader(id) else { return };
        answer.current_leader =
            LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader.0)).with_leader_epoch(epoch.0);
        let listener = super::admin::listener_name(caller.listener);
        let Some(e) = self.metadata.image.broker(leader).and_then(|b| b.endpoint(listener)) else { return };
        if endpoints.iter().all(|known| known.node_id.0 != leader.0) {
            let endpoint = NodeEndpoint::default()
                .with_node_id(BrokerId(leader.0))
                .with_host(StrBytes::from_string(e.host.clone()))
                .with_port(i32::from(e.port))
                .with_rack(None);
            endpoints.push(endpoint);
        }
    }

    /// Who leads a partition, as far as this broker knows.
    pub(super) fn known_leader(&self, id: TopicIdPartition) -> Option<(NodeId, LeaderEpoch)> {
        match self.replicas.find(id) {
            Some(p) if p.leader != NodeId::NONE => Some((p.leader, p.leader_epoch)),
            Some(_) => None,
            None => {
                self.metadata.image.partition(id).map(|p| (p.leader, p.leader_epoch)).filter(|l| l.0 != NodeId::NONE)
            }
        }
    }
}

fn trace_ack(p: &Partition, caller: Caller, wait: ProduceWait, out: &mut Outbox) {
    out.trace(TraceEvent::AckDecided {
        conn: caller.conn,
        correlation: caller.correlation,
        partition: p.id,
        epoch: p.leader_epoch,
        base: wait.base,
        last: wait.last,
        high_watermark: p.high_watermark(),
        maximal: p.leading().map_or_else(Vec::new, |l| l.isr.maximal()),
        duplicate: wait.duplicate,
    });
}

/// What a leader checks of a client's records: one batch, whole, small enough, with the right checksum, and its
/// producer's fields in order.
fn check_batch(records: &Bytes, max_bytes: i32, version: i16) -> Result<BatchHeader, ResponseError> {
    if records.is_empty() {
        return Err(ResponseError::InvalidRecord);
    }
    let header = BatchHeader::parse(records).map_err(batch_error)?;
    if header.size() < records.len() as u64 {
        // More than one batch.
        return Err(ResponseError::InvalidRecord);
    }
    if header.size() > max_bytes.max(0) as u64 {
        return Err(ResponseError::MessageTooLarge);
    }
    // Clients of that time would not know it (KIP-110).
    if header.compression() == Compression::Zstd && version < ZSTD_SINCE {
        return Err(ResponseError::UnsupportedCompressionType);
    }
    let header = validate(records).map_err(batch_error)?;
    let idempotent = header.producer_id != ProducerId::NONE;
    let numbered = header.producer_epoch.0 >= 0 && header.base_sequence.0 >= 0;
    if header.is_control() || header.base_offset != Offset(0) || idempotent && !numbered {
        return Err(ResponseError::InvalidRecord);
    }
    if header.is_transactional() {
        return Err(ResponseError::InvalidTxnState);
    }
    Ok(header)
}

fn batch_error(e: BatchError) -> ResponseError {
    match e {
        BatchError::Short { .. } | BatchError::Length(_) | BatchError::Crc { .. } => ResponseError::CorruptMessage,
        BatchError::Magic(_) => ResponseError::UnsupportedForMessageFormat,
        BatchError::Decompression(_) => ResponseError::CorruptMessage,
        BatchError::Compressed(_)
        | BatchError::Expansion
        | BatchError::Offsets
        | BatchError::Count(_)
        | BatchError::Record(_)
        | BatchError::Control(_) => ResponseError::InvalidRecord,
    }
}
