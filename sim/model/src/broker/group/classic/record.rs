//! A classic group as a record, and back.

use super::super::{Ctx, Session};
use super::{ClassicGroup, Member, State};
use crate::history::TopicPartition;
use crate::record::schema::{GroupMemberValue, GroupMetadataValue, GroupRecord, assigned_partitions};
use crate::trace::TraceEvent;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What stands for a client's id and address: a node is not told either.
const UNKNOWN_CLIENT: &str = "unknown";

impl ClassicGroup {
    /// The record of this generation with these assignments.
    pub(super) fn record(&self, assignment: &BTreeMap<Arc<str>, Bytes>) -> GroupRecord {
        let member = |m: &Member| GroupMemberValue {
            member_id: m.id.to_string(),
            group_instance_id: m.instance.as_deref().map(str::to_owned),
            client_id: UNKNOWN_CLIENT.to_owned(),
            client_host: UNKNOWN_CLIENT.to_owned(),
            rebalance_timeout: m.rebalance_timeout,
            session_timeout: m.session_timeout,
            subscription: m.metadata(self.protocol.as_deref()),
            assignment: assignment.get(&m.id).cloned().unwrap_or_default(),
        };
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.as_deref().map(str::to_owned),
            current_state_timestamp: self.state_timestamp.unwrap_or(-1),
            members: self.members.values().map(member).collect(),
        };
        GroupRecord::GroupMetadata { group: self.id.to_string(), value: Some(value) }
    }

    /// The group that a record left behind: stable, or empty.
    pub fn from_record(id: Arc<str>, value: &GroupMetadataValue) -> ClassicGroup {
        let mut group = ClassicGroup::new(id);
        for m in &value.members {
            let member = Member {
                id: Arc::from(m.member_id.as_str()),
                instance: m.group_instance_id.as_deref().map(Arc::from),
                // Kafka before 0.10.1 did not write it.
                rebalance_timeout: if m.rebalance_timeout < 0 { m.session_timeout } else { m.rebalance_timeout },
                session_timeout: m.session_timeout,
                protocols: vec![(value.protocol.clone().unwrap_or_default(), m.subscription.clone())],
                assignment: m.assignment.clone(),
                joining: None,
                syncing: None,
                is_new: false,
                session: Session::default(),
            };
            group.add(member, &value.protocol_type);
        }
        group.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        group.previous = group.state;
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type.clone()).filter(|t| !t.is_empty());
        group.protocol.clone_from(&value.protocol);
        group.leader = value.leader.as_deref().filter(|l| !l.is_empty()).map(Arc::from);
        group.state_timestamp = Some(value.current_state_timestamp).filter(|&t| t >= 0);
        group.subscribed = group.compute_subscribed();
        group
    }

    /// The log is replayed: every member gets a fresh session, and a group that is too big has to shrink.
    pub fn loaded(&mut self, ctx: &mut Ctx<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            self.heard_of(&id, ctx);
        }
        if self.members.len() > ctx.config.group_max_size.max(0) as usize {
            self.prepare_rebalance("loaded over capacity", ctx);
        }
    }
}

/// What each member of a generation was given, for the trace; of consumers only, whose assignments can be read.
pub(in crate::broker::group) fn assignments(
    value: &GroupMetadataValue,
    group: &Arc<str>,
    ctx: &Ctx<'_>,
) -> Vec<TraceEvent> {
    let event = |m: &GroupMemberValue| TraceEvent::MemberAssignment {
        group: group.clone(),
        epoch: ctx.epoch,
        member: Arc::from(m.member_id.as_str()),
        instance: m.group_instance_id.as_deref().map(Arc::from),
        generation: value.generation,
        assigned: partitions(&m.assignment),
        pending_revocation: Vec::new(),
    };
    value.members.iter().map(event).collect()
}

/// The partitions of an embedded consumer assignment, ascending; none if it cannot be read.
pub(in crate::broker::group) fn partitions(assignment: &[u8]) -> Vec<TopicPartition> {
    let mut all = Vec::new();
    for (topic, partitions) in assigned_partitions(assignment).unwrap_or_default() {
        let topic: Arc<str> = Arc::from(topic);
        all.extend(partitions.into_iter().map(|partition| TopicPartition { topic: topic.clone(), partition }));
    }
    all.sort_unstable();
    all
}
