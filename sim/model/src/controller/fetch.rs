//! Serving the metadata log to observers: which brokers fetch, and wait for, what is committed.
//!
//! Follows the leader's side of Fetch in Kafka's `KafkaRaftClient`. An observer is given committed records only;
//! Kafka gives it all and lets it wait, which shows the same image at the same offset.

use super::quorum::Quorum;
use crate::disk::{DiskOp, DiskReply, DiskResult, DiskToken};
use crate::ids::*;
use crate::log::ReadPlan;
use crate::log::checkpoint::uuid_text;
use crate::node::{ConnId, Outbox};
use crate::units::{Duration, Instant};
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use smallvec::smallvec;

/// Routes completions: reads for fetches.
pub const FETCH: u32 = 0;

/// Where an answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The connection.
    pub conn: ConnId,
    /// The request.
    pub correlation: i32,
    /// Its version.
    pub version: i16,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    caller: Caller,
    epoch: i32,
    offset: Offset,
    last_epoch: i32,
    max_bytes: u64,
}

#[derive(Debug)]
struct Waiting {
    wanted: Wanted,
    until: Instant,
}

#[derive(Debug)]
struct Reading {
    wanted: Wanted,
    token: DiskToken,
    plan: ReadPlan,
}

enum Look {
    Answer(PartitionData),
    Read(ReadPlan),
    Nothing,
}

/// Fetches that wait for records or for the disk.
#[derive(Debug, Default)]
pub struct Fetches {
    waiting: Vec<Waiting>,
    reading: Vec<Reading>,
}

/// Answers to send, each with where to.
pub type Answers = Vec<(Caller, FetchResponse)>;

impl Fetches {
    /// A Fetch arrived.
    pub fn on_request(
        &mut self,
        now: Instant,
        caller: Caller,
        request: &FetchRequest,
        cluster_id: Uuid,
        quorum: &Quorum,
        out: &mut Outbox,
        answers: &mut Answers,
    ) {
        let refuse = |error: ResponseError| FetchResponse::default().with_error_code(error.code());
        if request.cluster_id.as_ref().is_some_and(|id| id.as_str() != uuid_text(cluster_id)) {
            return answers.push((caller, refuse(ResponseError::InconsistentClusterId)));
        }
        let [topic] = &request.topics[..] else {
            return answers.push((caller, refuse(ResponseError::InvalidRequest)));
        };
        let metadata = if caller.version >= 13 {
            topic.topic_id == TopicId::METADATA.0
        } else {
            topic.topic.as_str() == METADATA_TOPIC
        };
        let partition = match &topic.partitions[..] {
            [partition] if metadata && partition.partition == 0 => partition,
            _ => return answers.push((caller, refuse(ResponseError::InvalidRequest))),
        };
        let wanted = Wanted {
            caller,
            epoch: partition.current_leader_epoch,
            offset: Offset(partition.fetch_offset),
            last_epoch: partition.last_fetched_epoch,
            max_bytes: partition.partition_max_bytes.min(request.max_bytes).max(0) as u64,
        };
        if request.max_wait_ms < 0 || wanted.offset.0 < 0 {
            let data = PartitionData::default().with_error_code(ResponseError::InvalidRequest.code());
            return answers.push((caller, answer(quorum, caller, data)));
        }
        let until = now + Duration::from_millis(request.max_wait_ms as u64);
        self.serve(now, wanted, until, quorum, out, answers);
    }

    fn serve(
        &mut self,
        now: Instant,
        wanted: Wanted,
        until: Instant,
        quorum: &Quorum,
        out: &mut Outbox,
        answers: &mut Answers,
    ) {
        match look(wanted, quorum) {
            Look::Answer(data) => answers.push((wanted.caller, answer(quorum, wanted.caller, data))),
            Look::Read(plan) => {
                let token = out.disk(FETCH, DiskOp::Read { ranges: smallvec![plan.range.clone()] });
                self.reading.push(Reading { wanted, token, plan });
            }
            Look::Nothing if until <= now => {
                answers.push((wanted.caller, answer(quorum, wanted.caller, PartitionData::default())));
            }
            Look::Nothing => self.waiting.push(Waiting { wanted, until }),
        }
    }

    /// The high watermark moved, or time passed.
    pub fn poll(&mut self, now: Instant, quorum: &Quorum, out: &mut Outbox, answers: &mut Answers) {
        let waits = |w: &Waiting| w.until > now && w.wanted.offset >= quorum.high_watermark();
        if self.waiting.iter().all(waits) {
            return;
        }
        for Waiting { wanted, until } in std::mem::take(&mut self.waiting) {
            self.serve(now, wanted, until, quorum, out, answers);
        }
    }

    /// When [`Fetches::poll`] is next needed.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|w| w.until).min()
    }

    /// A read completed.
    ///
    /// # Errors
    /// The disk failed.
    pub fn on_disk(
        &mut self,
        token: DiskToken,
        result: DiskResult,
        quorum: &Quorum,
        answers: &mut Answers,
    ) -> Result<(), String> {
        let Some(at) = self.reading.iter().position(|r| r.token == token) else { return Ok(()) };
        let Reading { wanted, plan, .. } = self.reading.remove(at);
        let reply = result.map_err(|error| format!("the metadata log's disk failed: {error}"))?;
        let data = match reply {
            DiskReply::Data(mut data) if !data.is_empty() => plan.trim(data.swap_remove(0)),
            _ => Bytes::new(),
        };
        let data = PartitionData::default().with_records(Some(data));
        answers.push((wanted.caller, answer(quorum, wanted.caller, data)));
        Ok(())
    }

    /// Forgets a connection.
    pub fn disconnected(&mut self, conn: ConnId) {
        self.waiting.retain(|w| w.wanted.caller.conn != conn);
        self.reading.retain(|r| r.wanted.caller.conn != conn);
    }
}

fn look(wanted: Wanted, quorum: &Quorum) -> Look {
    let refuse = |error: ResponseError| Look::Answer(PartitionData::default().with_error_code(error.code()));
    if quorum.leader() == NodeId::NONE {
        return refuse(ResponseError::NotLeaderOrFollower);
    }
    // -1: the observer does not know the epoch yet, and takes whatever it is told.
    if wanted.epoch != -1 && wanted.epoch < quorum.epoch().0 {
        return refuse(ResponseError::FencedLeaderEpoch);
    }
    if wanted.epoch > quorum.epoch().0 {
        return refuse(ResponseError::UnknownLeaderEpoch);
    }
    let log = quorum.log();
    if wanted.offset > Offset(0) {
        let (epoch, end) = log.end_offset_for(LeaderEpoch(wanted.last_epoch));
        if epoch.0 != wanted.last_epoch || end < wanted.offset {
            let diverging = EpochEndOffset::default().with_epoch(epoch.0).with_end_offset(end.0.max(0));
            return Look::Answer(PartitionData::default().with_diverging_epoch(diverging));
        }
    }
    if wanted.offset >= quorum.high_watermark() {
        return Look::Nothing;
    }
    match log.read(wanted.offset, wanted.max_bytes, quorum.high_watermark(), true) {
        Ok(Some(plan)) => Look::Read(plan),
        Ok(None) => Look::Nothing,
        Err(_) => refuse(ResponseError::OffsetOutOfRange),
    }
}

fn answer(quorum: &Quorum, caller: Caller, data: PartitionData) -> FetchResponse {
    let leader =
        LeaderIdAndEpoch::default().with_leader_id(BrokerId(quorum.leader().0)).with_leader_epoch(quorum.epoch().0);
    let mut data = data.with_partition_index(0).with_current_leader(leader);
    if data.records.is_none() {
        data.records = Some(Bytes::new());
    }
    let known = quorum.leader() != NodeId::NONE && data.error_code == 0;
    data.high_watermark = if known { quorum.high_watermark().0 } else { -1 };
    data.last_stable_offset = data.high_watermark;
    data.log_start_offset = quorum.log().log_start().0;
    let mut topic = FetchableTopicResponse::default().with_partitions(vec![data]);
    if caller.version >= 13 {
        topic.topic_id = TopicId::METADATA.0;
    } else {
        topic.topic = TopicName(StrBytes::from_static_str(METADATA_TOPIC));
    }
    FetchResponse::default().with_responses(vec![topic])
}
