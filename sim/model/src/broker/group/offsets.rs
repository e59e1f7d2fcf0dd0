//! Committed offsets: committing them, and forgetting those that nobody uses any more (KIP-211).
//! Follows Kafka's `OffsetMetadataManager`.

use super::shard::{Group, Kind, Shard};
use super::{Ctx, Then, What, Write};
use crate::broker::connections::Caller;
use crate::defects::{Defect, Defects};
use crate::ids::*;
use crate::limits::TOMBSTONES_PER_WRITE;
use crate::record::schema::{GroupRecord, OffsetCommitValue};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// From this version on a member of a KIP-848 group may commit, and a group that is not there is called so.
const KNOWS_MEMBER_EPOCHS: i16 = 9;

/// A group's offsets, by topic and partition.
#[derive(Debug, Default)]
pub(super) struct Offsets(BTreeMap<String, BTreeMap<i32, OffsetCommitValue>>);

impl Offsets {
    /// Sets one, or takes it away.
    pub fn set(&mut self, topic: &str, partition: i32, value: Option<OffsetCommitValue>) {
        if let Some(value) = value {
            match self.0.get_mut(topic) {
                Some(partitions) => partitions.insert(partition, value),
                None => self.0.entry(topic.to_owned()).or_default().insert(partition, value),
            };
        } else if let Some(partitions) = self.0.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.0.remove(topic);
            }
        }
    }
    /// One of them.
    pub fn get(&self, topic: &str, partition: i32) -> Option<&OffsetCommitValue> {
        self.0.get(topic)?.get(&partition)
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// By topic.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &BTreeMap<i32, OffsetCommitValue>)> {
        self.0.iter().map(|(topic, partitions)| (topic.as_str(), partitions))
    }
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, &OffsetCommitValue)> {
        self.topics().flat_map(|(topic, partitions)| partitions.iter().map(move |(&p, v)| (topic, p, v)))
    }
}

impl Shard {
    /// OffsetCommit.
    pub fn commit_offsets(&mut self, caller: Caller, request: &OffsetCommitRequest, ctx: &mut Ctx<'_>) {
        if let Err(error) = self.check_commit(caller.version, request, ctx) {
            return ctx.reply(caller, refused_commit(request, error));
        }
        let mut records = Vec::new();
        let mut response = OffsetCommitResponse::default();
        for topic in &request.topics {
            let known = ctx.image.topic_by_name(topic.name.as_str());
            let mut answers = Vec::with_capacity(topic.partitions.len());
            for p in &topic.partitions {
                let exists = known.is_some_and(|t| t.partitions.contains_key(&p.partition_index));
                let error = match &p.committed_metadata {
                    _ if !exists => Some(ResponseError::UnknownTopicOrPartition),
                    Some(note) if note.len() > ctx.config.offset_metadata_max => {
                        Some(ResponseError::OffsetMetadataTooLarge)
                    }
                    _ => {
                        records.push(record(request, topic.name.as_str(), p, ctx));
                        None
                    }
                };
                let answer = OffsetCommitResponsePartition::default().with_partition_index(p.partition_index);
                answers.push(answer.with_error_code(error.map_or(0, |e| e.code())));
            }
            let topic = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
            response.topics.push(topic.with_partitions(answers));
        }
        let then = Then::Reply { caller, response: Box::new(response.into()) };
        ctx.write(Write::new(Arc::from(request.group_id.as_str()), records, then));
    }

    fn check_commit(
        &mut self,
        version: i16,
        request: &OffsetCommitRequest,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), ResponseError> {
        let (member, epoch) = (request.member_id.as_str(), request.generation_id_or_member_epoch);
        let instance = request.group_instance_id.as_deref();
        let Some(group) = self.groups.get_mut(request.group_id.as_str()) else {
            // Somebody who assigns partitions by hand needs no group before its first commit.
            return match version {
                _ if epoch < 0 => Ok(()),
                KNOWS_MEMBER_EPOCHS.. => Err(ResponseError::GroupIdNotFound),
                _ => Err(ResponseError::IllegalGeneration),
            };
        };
        group.check_commit(version, member, instance, epoch, ctx.defects).inspect_err(|error| {
            if matches!(error, ResponseError::IllegalGeneration | ResponseError::StaleMemberEpoch) {
                ctx.mark("commit-fenced");
            }
        })?;
        if let Some(classic) = group.classic_mut()
            && matches!(classic.state(), super::classic::State::Stable | super::classic::State::PreparingRebalance)
        {
            classic.heard_of(member, ctx);
        }
        Ok(())
    }

    /// The time has come to look for offsets that have been out of use for too long.
    pub fn expire_offsets(&mut self, ctx: &mut Ctx<'_>) {
        ctx.timer(ctx.now.mono + ctx.config.offsets_retention_check, What::Expiry);
        if !self.is_active() {
            return;
        }
        let retention = ctx.config.offsets_retention_minutes.saturating_mul(60_000).min(i64::MAX as u64) as i64;
        let pending: BTreeSet<(&str, &str, i32)> = self.pending_offsets().collect();
        let mut writes = Vec::new();
        for (id, group) in &self.groups {
            let mut tombstones = Vec::new();
            let mut all = true;
            for (topic, partition, value) in group.offsets.iter() {
                // A commit on its way is younger than what is looked at here.
                let written = pending.contains(&(&**id, topic, partition));
                if written || !has_expired(group, topic, value, retention, ctx) {
                    all = false;
                    continue;
                }
                tombstones.push(GroupRecord::OffsetCommit {
                    group: id.to_string(),
                    topic: topic.to_owned(),
                    partition,
                    value: None,
                });
            }
            let written = pending.range((&**id, "", i32::MIN)..).next().is_some_and(|(g, ..)| *g == &**id);
            if all && !written {
                tombstones.extend(group.tombstones(id));
            }
            writes.extend(
                tombstones.chunks(TOMBSTONES_PER_WRITE).map(|c| Write::new(id.clone(), c.to_vec(), Then::Nothing)),
            );
        }
        for write in writes {
            ctx.mark("offsets-expired");
            ctx.write(write);
        }
    }
}

/// Offsets expire after their group has been empty for long, or after nobody has been subscribed to their topic for
/// long: a group that is quiet keeps its offsets (KIP-211).
fn has_expired(group: &Group, topic: &str, value: &OffsetCommitValue, retention: i64, ctx: &Ctx<'_>) -> bool {
    let now = ctx.now.wall.0;
    let since = if ctx.defects.on(Defect::OffsetExpiryWrong) {
        Some(value.commit_timestamp)
    } else {
        group.unused_since(topic, value.commit_timestamp)
    };
    match since {
        None => false,
        Some(_) if value.expire_timestamp >= 0 => now >= value.expire_timestamp,
        Some(since) => now.saturating_sub(since) >= retention,
    }
}

impl Group {
    fn check_commit(
        &self,
        version: i16,
        member: &str,
        instance: Option<&str>,
        epoch: i32,
        defects: Defects,
    ) -> Result<(), ResponseError> {
        match &self.kind {
            Kind::Classic(group) => group.check_commit(member, instance, epoch, defects),
            Kind::Consumer(group) => group.check_commit(version >= KNOWS_MEMBER_EPOCHS, member, epoch),
        }
    }
    /// Since when an offset is out of use; `None`: it is in use.
    fn unused_since(&self, topic: &str, committed: i64) -> Option<i64> {
        match &self.kind {
            Kind::Classic(group) if group.is_subscribed_to(topic) => None,
            Kind::Classic(group) => group.unused_since(committed),
            Kind::Consumer(group) => (!group.is_subscribed_to(topic)).then_some(committed),
        }
    }
    /// The records that delete an empty group.
    pub fn tombstones(&self, id: &str) -> Vec<GroupRecord> {
        match &self.kind {
            Kind::Classic(g) if g.is_empty() && !g.is_vacant() => {
                vec![GroupRecord::GroupMetadata { group: id.to_owned(), value: None }]
            }
            Kind::Classic(_) => Vec::new(),
            Kind::Consumer(g) => g.tombstones(),
        }
    }
}

fn record(request: &OffsetCommitRequest, topic: &str, p: &OffsetCommitRequestPartition, ctx: &Ctx<'_>) -> GroupRecord {
    let now = ctx.now.wall.0;
    let expires = if request.retention_time_ms < 0 { -1 } else { now.saturating_add(request.retention_time_ms) };
    GroupRecord::OffsetCommit {
        group: request.group_id.to_string(),
        topic: topic.to_owned(),
        partition: p.partition_index,
        value: Some(OffsetCommitValue {
            offset: Offset(p.committed_offset),
            leader_epoch: LeaderEpoch(p.committed_leader_epoch),
            metadata: p.committed_metadata.as_deref().unwrap_or("").to_owned(),
            commit_timestamp: now,
            expire_timestamp: expires,
            topic_id: TopicId::ZERO,
        }),
    }
}

/// The same error for everything asked.
pub(super) fn refused_commit(request: &OffsetCommitRequest, error: ResponseError) -> OffsetCommitResponse {
    let partition = |p: &OffsetCommitRequestPartition| {
        OffsetCommitResponsePartition::default().with_partition_index(p.partition_index).with_error_code(error.code())
    };
    let topics = request.topics.iter().map(|t| {
        let partitions = t.partitions.iter().map(partition).collect();
        OffsetCommitResponseTopic::default().with_name(t.name.clone()).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
