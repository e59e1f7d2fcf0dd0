//! Staying in a group, and leaving it: Heartbeat, LeaveGroup, and sessions that end.

use super::super::Ctx;
use super::{ClassicGroup, State};
use crate::broker::connections::Caller;
use crate::trace::RemovalReason;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse, LeaveGroupResponse};
use std::sync::Arc;

impl ClassicGroup {
    /// A member is alive, and learns whether it has to join again.
    pub fn heartbeat(&mut self, caller: Caller, request: &HeartbeatRequest, ctx: &mut Ctx<'_>) {
        let code = self.heartbeat_answer(request, ctx).err().map_or(0, |e| e.code());
        ctx.reply(caller, HeartbeatResponse::default().with_error_code(code));
    }

    fn heartbeat_answer(&mut self, request: &HeartbeatRequest, ctx: &mut Ctx<'_>) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        match self.state {
            State::Empty | State::Dead => Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => {
                self.heard_of(&request.member_id, ctx);
                Err(ResponseError::RebalanceInProgress)
            }
            State::CompletingRebalance | State::Stable => {
                self.heard_of(&request.member_id, ctx);
                Ok(())
            }
        }
    }

    /// Members leave, or an administrator removes them by instance (KIP-345).
    pub fn leave(&mut self, caller: Caller, members: &[MemberIdentity], ctx: &mut Ctx<'_>) {
        let mut left = false;
        let mut answers = Vec::with_capacity(members.len());
        for m in members {
            let result = self.leave_one(m, ctx);
            left |= result.is_ok();
            let answer = MemberResponse::default()
                .with_member_id(m.member_id.clone())
                .with_group_instance_id(m.group_instance_id.clone())
                .with_error_code(result.err().map_or(0, |e| e.code()));
            answers.push(answer);
        }
        ctx.reply(caller, fit_leave(LeaveGroupResponse::default().with_members(answers), caller.version));
        if !left {
            return;
        }
        match self.state {
            State::Stable | State::CompletingRebalance => self.rebalance_or_complete("a member left", ctx),
            State::PreparingRebalance => self.maybe_complete_join(ctx),
            State::Empty | State::Dead => {}
        }
    }

    fn leave_one(&mut self, m: &MemberIdentity, ctx: &mut Ctx<'_>) -> Result<(), ResponseError> {
        let (id, instance) = (m.member_id.as_str(), m.group_instance_id.as_deref());
        let id: Arc<str> = if id.is_empty() {
            instance.and_then(|i| self.statics.get(i)).cloned().ok_or(ResponseError::UnknownMemberId)?
        } else {
            if !self.pending_join.contains_key(id) {
                self.check_member(id, instance)?;
            }
            Arc::from(id)
        };
        self.remove(&id, RemovalReason::Left, ctx);
        Ok(())
    }

    /// A session may have ended; `at` tells which timer it is that says so.
    pub fn session_over(&mut self, id: &Arc<str>, at: crate::units::Instant, ctx: &mut Ctx<'_>) {
        if let Some(session) = self.pending_join.get_mut(id) {
            if !ctx.has_ended(session, at, &self.id, id) {
                return;
            }
            self.pending_join.remove(id);
            return self.maybe_complete_join(ctx);
        }
        let Some(member) = self.members.get_mut(id) else { return };
        if !ctx.has_ended(&mut member.session, at, &self.id, id) || member.is_excused() {
            return;
        }
        ctx.mark("member-expired");
        self.remove(id, RemovalReason::SessionExpired, ctx);
        match self.state {
            State::Stable | State::CompletingRebalance => self.rebalance_or_complete("a member's session ended", ctx),
            State::PreparingRebalance => self.maybe_complete_join(ctx),
            State::Empty | State::Dead => {}
        }
    }
}

/// Before version 3 there is one member, and its error is the answer's.
pub(in crate::broker::group) fn fit_leave(mut answer: LeaveGroupResponse, version: i16) -> LeaveGroupResponse {
    if version < 3 {
        let first = answer.members.first().map_or(0, |m| m.error_code);
        answer.error_code = if answer.error_code == 0 { first } else { answer.error_code };
        answer.members.clear();
    }
    answer
}
