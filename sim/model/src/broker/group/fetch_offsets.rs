//! OffsetFetch: what a group has committed. Only what is committed in the log is told; who wants to know what will stay
//! (`require_stable`, KIP-447) also waits for what is being written.

use super::super::Process;
use super::shard::Shard;
use super::{Task, What};
use crate::broker::connections::Caller;
use crate::ids::*;
use crate::node::Outbox;
use crate::record::schema::OffsetCommitValue;
use crate::trace::TraceEvent;
use crate::units::{Instant, Now};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::StrBytes;

/// From this version on several groups are asked for at once (KIP-709).
const BATCHED: i16 = 8;
/// No offset committed.
const NONE: i64 = -1;

/// A request that waits for writes.
#[derive(Debug)]
pub(super) struct Waiting {
    caller: Caller,
    request: OffsetFetchRequest,
    /// Shards, their incarnations, and up to where each must be committed.
    until: Vec<(u32, u64, Offset)>,
    deadline: Instant,
}

impl Process {
    pub(super) fn on_offset_fetch(&mut self, now: Now, caller: Caller, request: OffsetFetchRequest, out: &mut Outbox) {
        let mut until = Vec::new();
        if request.require_stable {
            for group in groups_asked(&request, caller.version) {
                let Ok(owner) = self.coordinator(&group.group_id, out) else { continue };
                let Some(shard) = self.groups.shards.get(&owner) else { continue };
                until.extend(shard.last_pending().map(|next| (owner, shard.number, next)));
            }
        }
        if until.is_empty() {
            let answer = self.offsets(caller.version, &request, out);
            return self.answer(caller, answer, out);
        }
        out.trace(TraceEvent::Mark { mark: "offset-fetch-waits-for-commit" });
        let deadline = now.mono + self.spec.config.offsets_commit_timeout;
        self.groups.timers.set(deadline, Task { owner: 0, number: 0, what: What::Fetches });
        self.groups.fetches.push(Waiting { caller, request, until, deadline });
    }

    /// Answers those that need not wait any longer.
    pub(super) fn answer_fetches(&mut self, out: &mut Outbox) {
        let shards = &self.groups.shards;
        let through = |&(owner, number, next): &(u32, u64, Offset)| {
            shards.get(&owner).is_none_or(|s: &Shard| s.number != number || s.committed >= next)
        };
        let ready: Vec<Waiting> = self.groups.fetches.extract_if(.., |w| w.until.iter().all(through)).collect();
        for w in ready {
            let answer = self.offsets(w.caller.version, &w.request, out);
            self.answer(w.caller, answer, out);
        }
    }

    /// Tells those that have waited for too long.
    pub(super) fn give_up_fetches(&mut self, now: Now, out: &mut Outbox) {
        let late: Vec<Waiting> = self.groups.fetches.extract_if(.., |w| w.deadline <= now.mono).collect();
        for w in late {
            let error = ResponseError::CoordinatorNotAvailable;
            let groups = groups_asked(&w.request, w.caller.version);
            let answers = groups.iter().map(|g| refused(g, error)).collect();
            self.answer(w.caller, fit(answers, &w.request, w.caller.version), out);
        }
    }

    fn offsets(&self, version: i16, request: &OffsetFetchRequest, out: &mut Outbox) -> OffsetFetchResponse {
        let groups = groups_asked(request, version);
        let answer = |g: &OffsetFetchRequestGroup| {
            let shard = self
                .coordinator(&g.group_id, out)
                .and_then(|owner| self.groups.shards.get(&owner).ok_or(ResponseError::NotCoordinator));
            shard.and_then(|s| s.offsets(g)).unwrap_or_else(|error| refused(g, error))
        };
        let answers = groups.iter().map(answer).collect();
        fit(answers, request, version)
    }
}

impl Shard {
    fn offsets(&self, asked: &OffsetFetchRequestGroup) -> Result<OffsetFetchResponseGroup, ResponseError> {
        let group = self.groups.get(asked.group_id.as_str());
        if let Some(group) = group {
            group.check_fetch(asked.member_id.as_deref(), asked.member_epoch)?;
        }
        let offset = |topic: &str, p: i32| answer(p, group.and_then(|g| g.offsets.get(topic, p)));
        let topics = match &asked.topics {
            Some(topics) => topics
                .iter()
                .map(|t| {
                    let partitions = t.partition_indexes.iter().map(|&p| offset(&t.name, p)).collect();
                    OffsetFetchResponseTopics::default().with_name(t.name.clone()).with_partitions(partitions)
                })
                .collect(),
            None => group
                .iter()
                .flat_map(|g| g.offsets.topics())
                .map(|(topic, partitions)| {
                    let partitions = partitions.iter().map(|(&p, v)| answer(p, Some(v))).collect();
                    let name = TopicName(StrBytes::from_string(topic.to_owned()));
                    OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions)
                })
                .collect(),
        };
        Ok(OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone()).with_topics(topics))
    }
}

impl super::shard::Group {
    /// Whether whoever says it is `member` may ask; only members of KIP-848 groups say so.
    fn check_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ResponseError> {
        self.consumer().map_or(Ok(()), |group| group.check_fetch(member, epoch))
    }
}

fn answer(partition: i32, value: Option<&OffsetCommitValue>) -> OffsetFetchResponsePartitions {
    let answer = OffsetFetchResponsePartitions::default().with_partition_index(partition);
    match value {
        Some(v) => answer
            .with_committed_offset(v.offset.0)
            .with_committed_leader_epoch(v.leader_epoch.0)
            .with_metadata(Some(StrBytes::from_string(v.metadata.clone()))),
        None => answer.with_committed_offset(NONE).with_metadata(Some(StrBytes::default())),
    }
}

fn refused(asked: &OffsetFetchRequestGroup, error: ResponseError) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone()).with_error_code(error.code())
}

/// The groups asked for, in one form for all versions.
fn groups_asked(request: &OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= BATCHED {
        return request.groups.clone();
    }
    let topics = request.topics.as_ref().map(|topics| {
        let topic = |t: &kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics::default()
                .with_name(t.name.clone())
                .with_partition_indexes(t.partition_indexes.clone())
        };
        topics.iter().map(topic).collect()
    });
    vec![OffsetFetchRequestGroup::default().with_group_id(request.group_id.clone()).with_topics(topics)]
}

/// Answers in the form of a version.
fn fit(answers: Vec<OffsetFetchResponseGroup>, request: &OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    if version >= BATCHED {
        return OffsetFetchResponse::default().with_groups(answers);
    }
    let Some(only) = answers.into_iter().next() else { return OffsetFetchResponse::default() };
    let mut response = OffsetFetchResponse::default();
    let old = |p: OffsetFetchResponsePartitions| {
        let leader_epoch = if version >= 5 { p.committed_leader_epoch } else { -1 };
        OffsetFetchResponsePartition::default()
            .with_partition_index(p.partition_index)
            .with_committed_offset(p.committed_offset)
            .with_committed_leader_epoch(leader_epoch)
            .with_metadata(p.metadata)
            .with_error_code(p.error_code)
    };
    if version >= 2 {
        response.error_code = only.error_code;
    } else if only.error_code != 0 {
        // Version 1 has no place for an error of the whole.
        for t in request.topics.iter().flatten() {
            let failed = |&p: &i32| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(p)
                    .with_committed_offset(NONE)
                    .with_error_code(only.error_code)
            };
            let partitions = t.partition_indexes.iter().map(failed).collect();
            response
                .topics
                .push(OffsetFetchResponseTopic::default().with_name(t.name.clone()).with_partitions(partitions));
        }
        return response;
    }
    for t in only.topics {
        let partitions = t.partitions.into_iter().map(old).collect();
        response.topics.push(OffsetFetchResponseTopic::default().with_name(t.name).with_partitions(partitions));
    }
    response
}
