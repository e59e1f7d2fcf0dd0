//! DeleteGroups and OffsetDelete. Follows Kafka's `GroupCoordinatorService.deleteGroups`, `deleteOffsets` and
//! `OffsetMetadataManager.deleteAllOffsets`.
//!
//! A request may name groups of several partitions of the offsets topic. Each answers for its own, when its records are
//! committed; the whole answer leaves when all have.

use super::super::Process;
use super::shard::{Group, Kind, Shard};
use super::{Ctx, Then, Write};
use crate::broker::connections::Caller;
use crate::node::Outbox;
use crate::record::schema::GroupRecord;
use crate::units::Now;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, GroupId, OffsetDeleteRequest, OffsetDeleteResponse, ResponseKind,
};
use std::sync::Arc;

/// A DeleteGroups request of which some groups are not decided.
#[derive(Debug)]
pub(super) struct Deletion {
    caller: Caller,
    results: Vec<DeletableGroupResult>,
    expected: usize,
}

impl Process {
    pub(super) fn on_delete_groups(
        &mut self,
        now: Now,
        caller: Caller,
        request: &DeleteGroupsRequest,
        out: &mut Outbox,
    ) {
        let expected = request.groups_names.len();
        if expected == 0 {
            return self.answer(caller, DeleteGroupsResponse::default(), out);
        }
        self.groups.deletions.push(Deletion { caller, results: Vec::new(), expected });
        for id in &request.groups_names {
            match self.coordinator_of_named(id, out) {
                Ok(owner) => {
                    self.with_shard(now, owner, out, |shard, ctx| shard.delete_group(caller, id, ctx));
                }
                Err(error) => self.group_answer(caller, of_one(id, Some(error)).into(), out),
            }
        }
    }

    /// Answers a request about groups. What is a part of a DeleteGroups answer waits for the others.
    pub(super) fn group_answer(&mut self, caller: Caller, response: ResponseKind, out: &mut Outbox) {
        let ResponseKind::DeleteGroups(mut part) = response else { return self.answer(caller, response, out) };
        let Some(at) = self.groups.deletions.iter().position(|d| d.caller == caller) else { return };
        let deletion = &mut self.groups.deletions[at];
        deletion.results.append(&mut part.results);
        if deletion.results.len() >= deletion.expected {
            let whole = DeleteGroupsResponse::default().with_results(self.groups.deletions.swap_remove(at).results);
            self.answer(caller, whole, out);
        }
    }

    pub(super) fn on_offset_delete(
        &mut self,
        now: Now,
        caller: Caller,
        request: &OffsetDeleteRequest,
        out: &mut Outbox,
    ) {
        match self.coordinator_of_named(&request.group_id, out) {
            Ok(owner) => {
                self.with_shard(now, owner, out, |shard, ctx| shard.delete_offsets(caller, request, ctx));
            }
            Err(error) => self.answer(caller, OffsetDeleteResponse::default().with_error_code(error.code()), out),
        }
    }
}

impl Shard {
    fn delete_group(&mut self, caller: Caller, id: &GroupId, ctx: &mut Ctx<'_>) {
        let Some(group) = self.groups.get(id.as_str()) else {
            return ctx.reply(caller, of_one(id, Some(ResponseError::GroupIdNotFound)));
        };
        let empty = match &group.kind {
            Kind::Classic(g) => g.is_empty(),
            Kind::Consumer(g) => g.members.is_empty(),
        };
        if !empty {
            return ctx.reply(caller, of_one(id, Some(ResponseError::NonEmptyGroup)));
        }
        let mut records: Vec<GroupRecord> =
            group.offsets.iter().map(|(topic, partition, _)| tombstone(id, topic, partition)).collect();
        records.extend(group.tombstones(id));
        ctx.mark("group-deleted");
        let then = Then::Reply { caller, response: Box::new(of_one(id, None).into()) };
        ctx.write(Write::new(Arc::from(id.as_str()), records, then));
    }

    fn delete_offsets(&mut self, caller: Caller, request: &OffsetDeleteRequest, ctx: &mut Ctx<'_>) {
        let refused = |e: ResponseError| OffsetDeleteResponse::default().with_error_code(e.code());
        let Some(group) = self.groups.get(request.group_id.as_str()) else {
            return ctx.reply(caller, refused(ResponseError::GroupIdNotFound));
        };
        let foreign = |g: &super::classic::ClassicGroup| {
            !g.is_empty() && g.protocol_type.as_deref().is_some_and(|kind| kind != "consumer")
        };
        if group.classic().is_some_and(foreign) {
            return ctx.reply(caller, refused(ResponseError::NonEmptyGroup));
        }
        let mut records = Vec::new();
        let mut response = OffsetDeleteResponse::default();
        for topic in &request.topics {
            let known = ctx.image.topic_by_name(topic.name.as_str());
            let mut answers = Vec::with_capacity(topic.partitions.len());
            for p in &topic.partitions {
                let exists = known.is_some_and(|t| t.partitions.contains_key(&p.partition_index));
                let error = if !exists {
                    Some(ResponseError::UnknownTopicOrPartition)
                } else if group.is_subscribed_to(topic.name.as_str()) {
                    Some(ResponseError::GroupSubscribedToTopic)
                } else {
                    if group.offsets.get(topic.name.as_str(), p.partition_index).is_some() {
                        records.push(tombstone(&request.group_id, topic.name.as_str(), p.partition_index));
                    }
                    None
                };
                let answer = OffsetDeleteResponsePartition::default().with_partition_index(p.partition_index);
                answers.push(answer.with_error_code(error.map_or(0, |e| e.code())));
            }
            let topic = OffsetDeleteResponseTopic::default().with_name(topic.name.clone());
            response.topics.push(topic.with_partitions(answers));
        }
        let then = Then::Reply { caller, response: Box::new(response.into()) };
        ctx.write(Write::new(Arc::from(request.group_id.as_str()), records, then));
    }
}

impl Group {
    fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.kind {
            Kind::Classic(g) => g.is_subscribed_to(topic),
            Kind::Consumer(g) => g.is_subscribed_to(topic),
        }
    }
}

fn of_one(id: &GroupId, error: Option<ResponseError>) -> DeleteGroupsResponse {
    let result = DeletableGroupResult::default().with_group_id(id.clone());
    DeleteGroupsResponse::default().with_results(vec![result.with_error_code(error.map_or(0, |e| e.code()))])
}

fn tombstone(group: &str, topic: &str, partition: i32) -> GroupRecord {
    GroupRecord::OffsetCommit { group: group.to_owned(), topic: topic.to_owned(), partition, value: None }
}
