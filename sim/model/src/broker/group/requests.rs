//! Requests about groups: whether this broker is the one to ask, and what it says if it is not.
//! Follows Kafka's `GroupCoordinatorService`.

use super::super::Process;
use super::consumer::heartbeat::refused as refused_heartbeat;
use super::offsets::refused_commit;
use super::{Shard, Then, Write, partition_of};
use crate::broker::connections::Caller;
use crate::defects::Defect;
use crate::ids::*;
use crate::node::Outbox;
use crate::record::schema::{GroupMetadataValue, GroupRecord};
use crate::trace::TraceEvent;
use crate::units::{Duration, Now};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, RequestKind, ResponseKind, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::sync::Arc;

impl Process {
    /// A request that may be about groups; of anybody who asks for anything else, the connection is closed.
    pub(in crate::broker) fn on_group_request(
        &mut self,
        now: Now,
        caller: Caller,
        request: RequestKind,
        out: &mut Outbox,
    ) {
        match request {
            RequestKind::FindCoordinator(r) => self.on_find_coordinator(now, caller, &r, out),
            RequestKind::JoinGroup(r) => self.on_join_group(now, caller, &r, out),
            RequestKind::SyncGroup(r) => self.on_sync_group(now, caller, &r, out),
            RequestKind::Heartbeat(r) => self.on_group_heartbeat(now, caller, &r, out),
            RequestKind::LeaveGroup(r) => self.on_leave_group(now, caller, &r, out),
            RequestKind::ConsumerGroupHeartbeat(r) => self.on_consumer_heartbeat(now, caller, &r, out),
            RequestKind::OffsetCommit(r) => self.on_offset_commit(now, caller, &r, out),
            RequestKind::OffsetFetch(r) => self.on_offset_fetch(now, caller, r, out),
            RequestKind::DescribeGroups(r) => self.on_describe_groups(caller, &r, out),
            RequestKind::DeleteGroups(r) => self.on_delete_groups(now, caller, &r, out),
            RequestKind::OffsetDelete(r) => self.on_offset_delete(now, caller, &r, out),
            RequestKind::ConsumerGroupDescribe(r) => self.on_consumer_group_describe(caller, &r, out),
            RequestKind::ListGroups(r) => self.on_list_groups(caller, &r, out),
            _ => {
                self.connections.disconnected(caller.conn);
                out.close(caller.conn);
            }
        }
    }

    /// The shard that coordinates a group, if this broker does and is ready to.
    ///
    /// # Errors
    /// `NOT_COORDINATOR`, `COORDINATOR_LOAD_IN_PROGRESS`.
    pub(super) fn coordinator(&self, group: &str, out: &mut Outbox) -> Result<u32, ResponseError> {
        let topic = self.metadata.image.topic_by_name(OFFSETS_TOPIC).ok_or(ResponseError::NotCoordinator)?;
        let partition = partition_of(group, topic.partitions.len());
        let owner = self.replicas.owner(TopicIdPartition { topic: topic.id, partition });
        let owner = owner.ok_or(ResponseError::NotCoordinator)?;
        let shard = self.groups.shards.get(&owner).ok_or(ResponseError::NotCoordinator)?;
        if !shard.is_active() && !self.spec.defects.on(Defect::ServeBeforeReplay) {
            out.trace(TraceEvent::Mark { mark: "load-in-progress-answered" });
            return Err(ResponseError::CoordinatorLoadInProgress);
        }
        Ok(owner)
    }

    /// As [`Process::coordinator`], for what only makes sense with a name.
    pub(super) fn coordinator_of_named(&self, group: &str, out: &mut Outbox) -> Result<u32, ResponseError> {
        if group.is_empty() { Err(ResponseError::InvalidGroupId) } else { self.coordinator(group, out) }
    }

    fn on_join_group(&mut self, now: Now, caller: Caller, request: &JoinGroupRequest, out: &mut Outbox) {
        let config = &self.spec.config;
        let session = Duration::from_millis(request.session_timeout_ms.max(0) as u64);
        let in_bounds = (config.group_min_session..=config.group_max_session).contains(&session);
        let owner = self.coordinator_of_named(&request.group_id, out);
        match owner.and_then(|o| if in_bounds { Ok(o) } else { Err(ResponseError::InvalidSessionTimeout) }) {
            Ok(owner) => {
                // An empty KIP-848 group gives way to a classic one.
                self.with_shard(now, owner, out, |shard, ctx| shard.clear_way(&request.group_id, ctx));
                self.with_shard(now, owner, out, |shard, ctx| shard.join(caller, request, ctx));
            }
            Err(error) => {
                let answer = super::classic::fit_join(refused_join(&request.member_id, error), caller.version);
                self.answer(caller, answer, out);
            }
        }
    }

    fn on_sync_group(&mut self, now: Now, caller: Caller, request: &SyncGroupRequest, out: &mut Outbox) {
        // KIP-559: from version 5 on the client says which protocol it believes in.
        let complete = caller.version < 5 || request.protocol_type.is_some() && request.protocol_name.is_some();
        let owner = self.coordinator_of_named(&request.group_id, out);
        match owner.and_then(|o| if complete { Ok(o) } else { Err(ResponseError::InconsistentGroupProtocol) }) {
            Ok(owner) => {
                self.with_shard(now, owner, out, |shard, ctx| {
                    match shard.groups.get_mut(request.group_id.as_str()).and_then(|g| g.classic_mut()) {
                        Some(group) => group.sync(caller, request, ctx),
                        None => ctx.refuse_sync(caller, ResponseError::UnknownMemberId),
                    }
                });
            }
            Err(error) => self.answer(caller, refused_sync(error), out),
        }
    }

    fn on_group_heartbeat(&mut self, now: Now, caller: Caller, request: &HeartbeatRequest, out: &mut Outbox) {
        let refused = |error: ResponseError| HeartbeatResponse::default().with_error_code(error.code());
        match self.coordinator_of_named(&request.group_id, out) {
            Ok(owner) => {
                self.with_shard(now, owner, out, |shard, ctx| {
                    match shard.groups.get_mut(request.group_id.as_str()).and_then(|g| g.classic_mut()) {
                        Some(group) => group.heartbeat(caller, request, ctx),
                        None => ctx.reply(caller, refused(ResponseError::UnknownMemberId)),
                    }
                });
            }
            // A member must not rejoin only because its coordinator still loads: its session has begun anew.
            Err(ResponseError::CoordinatorLoadInProgress) => self.answer(caller, HeartbeatResponse::default(), out),
            Err(error) => self.answer(caller, refused(error), out),
        }
    }

    fn on_leave_group(&mut self, now: Now, caller: Caller, request: &LeaveGroupRequest, out: &mut Outbox) {
        let refused = |error: ResponseError| LeaveGroupResponse::default().with_error_code(error.code());
        let single;
        let members = if caller.version < 3 {
            single = [MemberIdentity::default().with_member_id(request.member_id.clone())];
            &single[..]
        } else {
            &request.members[..]
        };
        match self.coordinator_of_named(&request.group_id, out) {
            Ok(owner) => {
                self.with_shard(now, owner, out, |shard, ctx| {
                    match shard.groups.get_mut(request.group_id.as_str()).and_then(|g| g.classic_mut()) {
                        Some(group) => group.leave(caller, members, ctx),
                        None => ctx.reply(caller, refused(ResponseError::UnknownMemberId)),
                    }
                });
            }
            Err(error) => self.answer(caller, refused(error), out),
        }
    }

    fn on_consumer_heartbeat(
        &mut self,
        now: Now,
        caller: Caller,
        request: &ConsumerGroupHeartbeatRequest,
        out: &mut Outbox,
    ) {
        match self.coordinator_of_named(&request.group_id, out) {
            Ok(owner) => {
                self.with_shard(now, owner, out, |shard, ctx| shard.consumer_heartbeat(caller, request, ctx));
            }
            Err(error) => self.answer(caller, refused_heartbeat(error), out),
        }
    }

    fn on_offset_commit(&mut self, now: Now, caller: Caller, request: &OffsetCommitRequest, out: &mut Outbox) {
        match self.coordinator(&request.group_id, out) {
            Ok(owner) => {
                self.with_shard(now, owner, out, |shard, ctx| shard.commit_offsets(caller, request, ctx));
            }
            Err(error) => self.answer(caller, refused_commit(request, error), out),
        }
    }
}

impl Shard {
    fn clear_way(&mut self, group: &str, ctx: &mut super::Ctx<'_>) {
        let Some(consumer) = self.groups.get(group).and_then(super::shard::Group::consumer) else { return };
        let records = consumer.tombstones();
        ctx.write(Write { why: "a classic member joins", ..Write::new(Arc::from(group), records, Then::Nothing) });
    }

    fn join(&mut self, caller: Caller, request: &JoinGroupRequest, ctx: &mut super::Ctx<'_>) {
        let id: Arc<str> = Arc::from(request.group_id.as_str());
        let is_new = !self.groups.contains_key(&id);
        if is_new && !request.member_id.is_empty() {
            return ctx.refuse_join(caller, &request.member_id, ResponseError::UnknownMemberId);
        }
        let group = self.groups.entry(id.clone()).or_insert_with(|| super::shard::Group::new(id.clone()));
        let Some(classic) = group.classic_mut() else {
            // An empty one could not be cleared away.
            let empty = group.consumer().is_some_and(|g| g.members.is_empty());
            let error =
                if empty { ResponseError::CoordinatorNotAvailable } else { ResponseError::InconsistentGroupProtocol };
            return ctx.refuse_join(caller, "", error);
        };
        classic.join(caller, request, ctx);
        if !is_new {
            return;
        }
        if group.is_vacant() {
            self.groups.remove(&id);
            return;
        }
        // A group is written down before its first generation, so that another coordinator knows of it.
        let value = GroupMetadataValue {
            protocol_type: String::new(),
            generation: 0,
            protocol: None,
            leader: None,
            current_state_timestamp: -1,
            members: Vec::new(),
        };
        let record = GroupRecord::GroupMetadata { group: id.to_string(), value: Some(value) };
        ctx.write(Write::new(id, vec![record], Then::NewGroup { caller }));
    }
}

pub(super) fn refused_join(member: &str, error: ResponseError) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_protocol_name(None)
        .with_member_id(StrBytes::from_string(member.to_owned()))
}

pub(super) fn refused_sync(error: ResponseError) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(error.code())
}

/// An answer that waited for records which are not committed.
pub(super) fn refused(response: ResponseKind, error: ResponseError) -> ResponseKind {
    match response {
        ResponseKind::OffsetCommit(mut r) => {
            // What was refused before stays refused for its own reason.
            let partitions = r.topics.iter_mut().flat_map(|t| &mut t.partitions);
            partitions.filter(|p| p.error_code == 0).for_each(|p| p.error_code = error.code());
            r.into()
        }
        ResponseKind::DeleteGroups(mut r) => {
            r.results.iter_mut().for_each(|g| g.error_code = error.code());
            r.into()
        }
        ResponseKind::OffsetDelete(mut r) => {
            r.topics.clear();
            r.error_code = error.code();
            r.into()
        }
        ResponseKind::ConsumerGroupHeartbeat(_) => refused_heartbeat(error).into(),
        other => other,
    }
}
