//! SyncGroup: the leader brings the assignment, which is written down before anybody gets its part.

use super::super::{Ctx, Then, Write};
use super::{ClassicGroup, State, assignments};
use crate::broker::connections::Caller;
use crate::record::schema::{GroupMetadataValue, GroupRecord};
use crate::trace::RemovalReason;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use std::collections::BTreeMap;
use std::sync::Arc;

impl ClassicGroup {
    /// A member wants its part of the assignment; the leader brings it.
    pub fn sync(&mut self, caller: Caller, request: &SyncGroupRequest, ctx: &mut Ctx<'_>) {
        let id = request.member_id.as_str();
        if let Err(error) = self.check_sync(request) {
            return ctx.refuse_sync(caller, error);
        }
        match self.state {
            State::PreparingRebalance => ctx.refuse_sync(caller, ResponseError::RebalanceInProgress),
            State::CompletingRebalance => {
                if let Some(member) = self.members.get_mut(id)
                    && let Some(superseded) = member.syncing.replace(caller)
                {
                    ctx.refuse_sync(superseded, ResponseError::RebalanceInProgress);
                }
                self.has_synced(id, ctx);
                if self.is_leader(id) {
                    let given: BTreeMap<Arc<str>, Bytes> = request
                        .assignments
                        .iter()
                        .map(|a| (Arc::from(a.member_id.as_str()), a.assignment.clone()))
                        .collect();
                    let records = vec![self.record(&given)];
                    let events = generation_of(&records).map(|v| assignments(v, &self.id, ctx)).unwrap_or_default();
                    let then = Then::Assigned { generation: self.generation };
                    ctx.write(Write { events, ..Write::new(self.id.clone(), records, then) });
                }
            }
            State::Stable => {
                self.has_synced(id, ctx);
                let assignment = self.members.get(id).map(|m| m.assignment.clone()).unwrap_or_default();
                let answer = self.synced(assignment);
                ctx.reply(caller, answer);
            }
            State::Empty | State::Dead => ctx.refuse_sync(caller, ResponseError::UnknownMemberId),
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |theirs: Option<&str>, ours: &Option<String>| {
            theirs.is_some_and(|t| ours.as_deref().is_some_and(|o| o != t))
        };
        let (name, kind) = (request.protocol_name.as_deref(), request.protocol_type.as_deref());
        if differs(kind, &self.protocol_type) || differs(name, &self.protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn has_synced(&mut self, id: &str, ctx: &mut Ctx<'_>) {
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty()
            && let Some(timer) = self.sync_timer.take()
        {
            ctx.cancel(timer);
        }
    }

    /// The assignment is committed, or is not going to be known to be.
    pub fn assigned(
        &mut self,
        generation: i32,
        result: Result<Option<&GroupMetadataValue>, ResponseError>,
        ctx: &mut Ctx<'_>,
    ) {
        // Another rebalance may have begun meanwhile.
        if self.state != State::CompletingRebalance || generation != self.generation {
            return;
        }
        match result {
            Ok(value) => {
                for m in value.iter().flat_map(|v| &v.members) {
                    if let Some(member) = self.members.get_mut(m.member_id.as_str()) {
                        member.assignment = m.assignment.clone();
                    }
                }
                self.become_state(State::Stable, "the leader assigned", ctx);
                let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
                for id in ids {
                    let Some(member) = self.members.get_mut(&id) else { continue };
                    let assignment = member.assignment.clone();
                    if let Some(caller) = member.syncing.take() {
                        let answer = self.synced(assignment);
                        ctx.reply(caller, answer);
                        self.heard_of(&id, ctx);
                    }
                }
            }
            Err(error) => {
                self.give_up_assignment(error, ctx);
                self.rebalance_or_complete("the assignment could not be stored", ctx);
            }
        }
    }

    /// Nobody gets anything in this generation.
    pub(super) fn give_up_assignment(&mut self, error: ResponseError, ctx: &mut Ctx<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = Bytes::new();
            if let Some(caller) = member.syncing.take() {
                ctx.refuse_sync(caller, error);
                self.heard_of(&id, ctx);
            }
        }
    }

    /// Members that joined and did not ask for their part in time are put out (KAFKA-12495).
    pub fn sync_time_over(&mut self, generation: i32, ctx: &mut Ctx<'_>) {
        if generation != self.generation {
            return;
        }
        self.sync_timer = None;
        if !matches!(self.state, State::CompletingRebalance | State::Stable) || self.pending_sync.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_sync) {
            self.remove(&id, RemovalReason::RebalanceExpired, ctx);
        }
        ctx.mark("member-missed-sync");
        self.prepare_rebalance("members did not sync in time", ctx);
    }
}

/// Fields that a version does not have stay as they are by default.
pub(in crate::broker::group) fn fit_sync(mut answer: SyncGroupResponse, version: i16) -> SyncGroupResponse {
    if version < 5 {
        answer.protocol_type = None;
        answer.protocol_name = None;
    }
    answer
}

/// The value in a record of a generation.
pub(in crate::broker::group) fn generation_of(records: &[GroupRecord]) -> Option<&GroupMetadataValue> {
    records.iter().find_map(|r| match r {
        GroupRecord::GroupMetadata { value, .. } => value.as_ref(),
        _ => None,
    })
}
