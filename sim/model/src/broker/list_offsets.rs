//! ListOffsets: where a log begins and ends, and where a time begins. Follows Kafka's `ReplicaManager.fetchOffset`
//! and `Partition.fetchOffsetForTimestamp`.
//!
//! While a new leader's high watermark lies below its epoch's start, it does not know where its predecessor's ended,
//! and says so instead of going back (KIP-207).

use super::connections::Caller;
use super::partition::Partition;
use super::{Process, SELF};
use crate::defects::Defect;
use crate::disk::{DiskOp, DiskReply, DiskResult, DiskToken};
use crate::ids::*;
use crate::log::{ReadPlan, first_at_or_after};
use crate::node::Outbox;
use crate::units::Timestamp;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use std::collections::BTreeMap;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
/// A debugger, which may ask any replica.
const DEBUGGING_REPLICA: i32 = -2;

/// An answer for a time that waits for the disk.
#[derive(Debug)]
struct Lookup {
    slot: (usize, usize),
    at: Timestamp,
    plan: ReadPlan,
    bound: Offset,
    /// What to say of an offset not below the bound.
    beyond: i16,
    owner: u32,
}

#[derive(Debug)]
struct Waiting {
    caller: Caller,
    response: ListOffsetsResponse,
    lookups: Vec<Lookup>,
}

/// Requests for times that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct TimestampLookups {
    reading: BTreeMap<u64, Waiting>,
}

impl TimestampLookups {
    /// Whether a completion is that of a lookup's read.
    pub fn is_reading(&self, token: DiskToken) -> bool {
        self.reading.contains_key(&token.seq)
    }
}

impl Process {
    pub(super) fn on_list_offsets(&mut self, caller: Caller, request: &ListOffsetsRequest, out: &mut Outbox) {
        let mut response = ListOffsetsResponse::default();
        let mut lookups = Vec::new();
        for (t, topic) in request.topics.iter().enumerate() {
            let id = self.topic_asked_for(&topic.name, Uuid::nil());
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (i, asked) in topic.partitions.iter().enumerate() {
                let mut answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
                let owner =
                    id.and_then(|topic| self.hosted(TopicIdPartition { topic, partition: asked.partition_index }));
                let place = owner.and_then(|o| self.replicas.get(o).ok_or(ResponseError::NotLeaderOrFollower));
                let found = place.and_then(|p| list(p, asked, request.replica_id.0, caller.version));
                match found {
                    Ok(Listed::Offset(offset, timestamp, epoch)) => {
                        answer.offset = offset.0;
                        answer.timestamp = timestamp;
                        if caller.version >= 4 {
                            answer.leader_epoch = epoch.map_or(-1, |e| e.0);
                        }
                    }
                    Ok(Listed::Nothing(error)) => answer.error_code = error,
                    Ok(Listed::Lookup { at, plan, bound, beyond }) => {
                        let owner = owner.unwrap_or(SELF);
                        lookups.push(Lookup { slot: (t, i), at, plan, bound, beyond, owner });
                    }
                    Err(error) => answer.error_code = error.code(),
                }
                partitions.push(answer);
            }
            let name = topic.name.clone();
            response.topics.push(ListOffsetsTopicResponse::default().with_name(name).with_partitions(partitions));
        }
        self.look_up(caller, response, lookups, out);
    }

    /// Asks the disk for what is to be looked through; answers if that is nothing.
    fn look_up(&mut self, caller: Caller, response: ListOffsetsResponse, lookups: Vec<Lookup>, out: &mut Outbox) {
        if lookups.is_empty() {
            return self.answer(caller, response, out);
        }
        let ranges = lookups.iter().map(|l| l.plan.range.clone()).collect();
        let token = out.disk(SELF, DiskOp::Read { ranges });
        self.lookups.reading.insert(token.seq, Waiting { caller, response, lookups });
    }

    /// The disk read what a lookup by time needs.
    pub(super) fn timestamps_read(&mut self, token: DiskToken, result: DiskResult, out: &mut Outbox) {
        let Some(Waiting { caller, mut response, lookups }) = self.lookups.reading.remove(&token.seq) else { return };
        let Ok(DiskReply::Data(buffers)) = result else { return self.disk_failed("a log could not be read", out) };
        let mut further = Vec::new();
        for (lookup, buffer) in lookups.into_iter().zip(buffers) {
            let answer = &mut response.topics[lookup.slot.0].partitions[lookup.slot.1];
            match first_at_or_after(&lookup.plan.trim(buffer), lookup.at) {
                Some((timestamp, offset)) if offset < lookup.bound => {
                    answer.offset = offset.0;
                    answer.timestamp = timestamp.0;
                    if caller.version >= 4 {
                        let epoch = self.replicas.get(lookup.owner).and_then(|p| p.log.epoch_for_offset(offset));
                        answer.leader_epoch = epoch.map_or(-1, |e| e.0);
                    }
                }
                Some(_) => answer.error_code = lookup.beyond,
                None => {
                    let log = self.replicas.get(lookup.owner).map(|p| &p.log);
                    let before = &lookup.plan.range;
                    match log.and_then(|log| log.plan_timestamp_after(before, lookup.at, log.log_end())) {
                        Some(plan) => further.push(Lookup { plan, ..lookup }),
                        None => answer.error_code = lookup.beyond,
                    }
                }
            }
        }
        self.look_up(caller, response, further, out);
    }
}

enum Listed {
    Offset(Offset, i64, Option<LeaderEpoch>),
    /// No such offset: not an error, unless it is not known yet.
    Nothing(i16),
    Lookup {
        at: Timestamp,
        plan: ReadPlan,
        bound: Offset,
        beyond: i16,
    },
}

fn list(p: &Partition, asked: &ListOffsetsPartition, replica: i32, version: i16) -> Result<Listed, ResponseError> {
    p.check(asked.current_leader_epoch, replica != DEBUGGING_REPLICA)?;
    let client = replica == -1;
    // A follower may see all there is.
    let bound = if client { p.high_watermark() } else { p.log.log_end() };
    let behind = client && p.leading().is_some_and(|l| l.epoch_start > p.high_watermark());
    let unknown = if version >= 5 { ResponseError::OffsetNotAvailable } else { ResponseError::LeaderNotAvailable };
    let beyond = if behind { unknown.code() } else { 0 };
    match asked.timestamp {
        LATEST if behind => Err(unknown),
        LATEST => {
            let latest = if p.defects.on(Defect::LatestIsLogEnd) { p.log.log_end() } else { bound };
            Ok(Listed::Offset(latest, -1, Some(p.leader_epoch)))
        }
        EARLIEST | EARLIEST_LOCAL => {
            let start = p.log.log_start();
            Ok(Listed::Offset(start, -1, p.log.epoch_for_offset(start)))
        }
        MAX_TIMESTAMP => match p.log.max_timestamp().filter(|(_, offset)| *offset < bound) {
            Some((timestamp, offset)) => Ok(Listed::Offset(offset, timestamp.0, p.log.epoch_for_offset(offset))),
            None => Ok(Listed::Nothing(beyond)),
        },
        at if at >= 0 => match p.log.plan_timestamp(Timestamp(at), p.log.log_end()) {
            Some(plan) => Ok(Listed::Lookup { at: Timestamp(at), plan, bound, beyond }),
            None => Ok(Listed::Nothing(beyond)),
        },
        _ => Err(ResponseError::UnsupportedVersion),
    }
}
