//! JoinGroup, and the phase in which members come together.

use super::super::{Ctx, Session, Then, WRITE_RETRY, What, Write};
use super::{ClassicGroup, InitialDelay, Member, State, after, assignments, generation_of, millis, text};
use crate::broker::connections::Caller;
use crate::defects::Defect;
use crate::trace::{RemovalReason, TraceEvent};
use crate::units::Duration;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long a new member may wait for a rebalance to begin: its client's request has timed out by then
/// (Kafka: `CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);
/// From this version on a member without an id is given one and has to come back with it (KIP-394).
const REQUIRES_MEMBER_ID: i16 = 4;
/// From this version on a static leader that comes back is told not to assign (KIP-814).
const SKIPS_ASSIGNMENT: i16 = 9;

type Protocols = Vec<(String, Bytes)>;

impl ClassicGroup {
    /// A member wants to be part of the next generation.
    pub fn join(&mut self, caller: Caller, request: &JoinGroupRequest, ctx: &mut Ctx<'_>) {
        let member = request.member_id.as_str();
        if !self.has_room_for(member, ctx) {
            self.remove(member, RemovalReason::Evicted, ctx);
            ctx.mark("group-max-size-reached");
            return ctx.refuse_join(caller, "", ResponseError::GroupMaxSizeReached);
        }
        let names = request.protocols.iter().map(|p| p.name.as_str());
        if self.state == State::Dead {
            return ctx.refuse_join(caller, member, ResponseError::CoordinatorNotAvailable);
        }
        if !self.supports(request.protocol_type.as_str(), names) {
            return ctx.refuse_join(caller, member, ResponseError::InconsistentGroupProtocol);
        }
        if member.is_empty() { self.join_new(caller, request, ctx) } else { self.join_known(caller, request, ctx) }
    }

    /// `group.max.size` (KIP-389).
    fn has_room_for(&self, member: &str, ctx: &Ctx<'_>) -> bool {
        let max = ctx.config.group_max_size.max(0) as usize;
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                self.members.get(member).is_some_and(|m| m.joining.is_some()) || self.joining < max
            }
            State::CompletingRebalance | State::Stable => self.members.contains_key(member) || self.members.len() < max,
        }
    }

    fn join_new(&mut self, caller: Caller, request: &JoinGroupRequest, ctx: &mut Ctx<'_>) {
        if let Some(instance) = request.group_instance_id.as_deref() {
            let id = ctx.member_id(instance);
            return match self.statics.get(instance).cloned() {
                Some(old) => self.replace_static(caller, request, &old, id, ctx),
                None => self.add_joining(caller, request, id, ctx),
            };
        }
        let id = ctx.member_id("consumer");
        if caller.version < REQUIRES_MEMBER_ID {
            return self.add_joining(caller, request, id, ctx);
        }
        let mut session = Session::default();
        ctx.watch(&mut session, self.id.clone(), id.clone(), millis(request.session_timeout_ms));
        self.pending_join.insert(id.clone(), session);
        ctx.refuse_join(caller, &id, ResponseError::MemberIdRequired);
    }

    fn join_known(&mut self, caller: Caller, request: &JoinGroupRequest, ctx: &mut Ctx<'_>) {
        let id = request.member_id.as_str();
        let instance = request.group_instance_id.as_deref();
        if self.pending_join.contains_key(id) {
            // An id is only held back from members without an instance.
            if instance.is_some() {
                return ctx.refuse_join(caller, id, ResponseError::UnknownMemberId);
            }
            return self.add_joining(caller, request, Arc::from(id), ctx);
        }
        if let Err(error) = self.check_member(id, instance) {
            return ctx.refuse_join(caller, id, error);
        }
        let same = self.members[id].protocols == protocols(request);
        let why = match self.state {
            State::PreparingRebalance => "a member rejoins",
            State::CompletingRebalance if !same => "a member's subscription changed",
            State::Stable if self.is_leader(id) => "the leader rejoins",
            State::Stable if !same => "a member's subscription changed",
            State::CompletingRebalance | State::Stable => {
                // It did not get its answer: the same again.
                let members =
                    if self.state == State::CompletingRebalance && self.is_leader(id) { self.roster() } else { vec![] };
                let answer = self.joined(id, members);
                return ctx.reply(caller, answer);
            }
            State::Empty | State::Dead => return ctx.refuse_join(caller, id, ResponseError::UnknownMemberId),
        };
        self.update(id, request, Some(caller), ctx);
        self.rebalance_or_complete(why, ctx);
    }

    fn add_joining(&mut self, caller: Caller, request: &JoinGroupRequest, id: Arc<str>, ctx: &mut Ctx<'_>) {
        let member = Member {
            id: id.clone(),
            instance: request.group_instance_id.as_deref().map(Arc::from),
            rebalance_timeout: rebalance_timeout(request, caller.version),
            session_timeout: request.session_timeout_ms,
            protocols: protocols(request),
            assignment: Bytes::new(),
            joining: Some(caller),
            syncing: None,
            is_new: true,
            session: Session::default(),
        };
        if self.state == State::PreparingRebalance && self.previous == State::Empty {
            self.new_member_added = true;
        }
        self.add(member, request.protocol_type.as_str());
        self.watch(&id, NEW_MEMBER_JOIN_TIMEOUT, ctx);
        self.rebalance_or_complete("a member joins", ctx);
    }

    /// Takes over what a member says of itself, and that it waits (or does not).
    fn update(&mut self, id: &str, request: &JoinGroupRequest, joining: Option<Caller>, ctx: &mut Ctx<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let old = std::mem::replace(&mut member.protocols, protocols(request));
        let new = member.protocols.clone();
        member.rebalance_timeout = rebalance_timeout(request, joining.map_or(1, |c| c.version));
        member.session_timeout = request.session_timeout_ms;
        let before = std::mem::replace(&mut member.joining, joining);
        self.joining += usize::from(joining.is_some());
        self.joining -= usize::from(before.is_some());
        self.count_support(&old, false);
        self.count_support(&new, true);
        if let Some(superseded) = before {
            // Its client gave that request up, and its connection.
            ctx.refuse_join(superseded, id, ResponseError::RebalanceInProgress);
        }
    }

    /// A static member comes back without its id: it gets a new one, and whoever has the old one is fenced.
    fn replace_static(
        &mut self,
        caller: Caller,
        request: &JoinGroupRequest,
        old: &Arc<str>,
        new: Arc<str>,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(was) = self.members.remove(old) else { return };
        ctx.mark("static-member-replaced");
        let mut member =
            Member { id: new.clone(), joining: None, syncing: None, session: Session::default(), ..was.clone() };
        member.is_new = false;
        if let Some(waiting) = was.joining {
            self.joining -= 1;
            ctx.refuse_join(waiting, old, ResponseError::FencedInstanceId);
        }
        if let Some(waiting) = was.syncing {
            ctx.refuse_sync(waiting, ResponseError::FencedInstanceId);
        }
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), new.clone());
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(new.clone());
        }
        self.members.insert(new.clone(), member);
        self.heard_of(&new, ctx);
        self.update(&new, request, Some(caller), ctx);
        let replaced = ctx.removed(&self.id, old, RemovalReason::Replaced);
        if self.state == State::Stable && self.select_protocol() == self.protocol {
            // Nothing changes for anybody else: the new id is written down, and the member told.
            let assignment: BTreeMap<Arc<str>, Bytes> =
                self.members.values().map(|m| (m.id.clone(), m.assignment.clone())).collect();
            let mut records = vec![self.record(&assignment)];
            let mut events = generation_of(&records).map(|v| assignments(v, &self.id, ctx)).unwrap_or_default();
            events.retain(|e| matches!(e, TraceEvent::MemberAssignment { member, .. } if *member == new));
            events.insert(0, replaced);
            if ctx.defects.on(Defect::StaticMemberNotPersisted) {
                records.clear();
            }
            let was = Box::new(Member { joining: None, syncing: None, session: Session::default(), ..was });
            let then = Then::StaticReplaced { caller, new, was };
            return ctx.write(Write { events, ..Write::new(self.id.clone(), records, then) });
        }
        ctx.out.trace(replaced);
        match self.state {
            State::Stable => self.rebalance_or_complete("a static member's subscription changed", ctx),
            State::CompletingRebalance => self.prepare_rebalance("a static member was replaced", ctx),
            State::PreparingRebalance | State::Empty | State::Dead => self.maybe_complete_join(ctx),
        }
    }

    /// The new id of a static member is committed, or could not be written.
    pub fn static_replaced(
        &mut self,
        caller: Caller,
        new: &Arc<str>,
        was: Member,
        result: Result<(), (ResponseError, bool)>,
        ctx: &mut Ctx<'_>,
    ) {
        // Answered meanwhile, by a rebalance or because the member is gone.
        let waits = self.members.get(new).is_some_and(|m| m.joining == Some(caller));
        if !waits {
            return;
        }
        if let Some(member) = self.members.get_mut(new) {
            member.joining = None;
            self.joining -= 1;
        }
        match result {
            Ok(()) => {
                let leads = self.is_leader(new);
                let skips = caller.version >= SKIPS_ASSIGNMENT;
                let members = if leads && skips { self.roster() } else { vec![] };
                let mut answer = self.joined(new, members).with_skip_assignment(leads && skips);
                if leads && !skips {
                    // An old client would assign anew if it were told that it leads: it is told its former self does.
                    answer.leader = text(&was.id);
                }
                ctx.reply(caller, answer);
            }
            Err((error, appended)) => {
                if !appended {
                    self.put_back(new, was, ctx);
                }
                ctx.refuse_join(caller, "", error);
            }
        }
    }

    /// Nothing of the replacement reached the log: it never happened.
    fn put_back(&mut self, new: &Arc<str>, was: Member, ctx: &mut Ctx<'_>) {
        let Some(gone) = self.members.remove(new) else { return };
        self.count_support(&gone.protocols, false);
        self.count_support(&was.protocols.clone(), true);
        if self.is_leader(new) {
            self.leader = Some(was.id.clone());
        }
        if let Some(instance) = &was.instance {
            self.statics.insert(instance.clone(), was.id.clone());
        }
        if self.pending_sync.remove(new) {
            self.pending_sync.insert(was.id.clone());
        }
        let id = was.id.clone();
        self.members.insert(id.clone(), was);
        self.heard_of(&id, ctx);
    }

    pub(super) fn rebalance_or_complete(&mut self, why: &'static str, ctx: &mut Ctx<'_>) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(why, ctx),
            State::PreparingRebalance => self.maybe_complete_join(ctx),
            State::Dead => {}
        }
    }

    /// A new generation is due: everybody has to join.
    pub(super) fn prepare_rebalance(&mut self, why: &'static str, ctx: &mut Ctx<'_>) {
        if self.state == State::CompletingRebalance {
            self.give_up_assignment(ResponseError::RebalanceInProgress, ctx);
        }
        self.pending_sync.clear();
        if let Some(timer) = self.sync_timer.take() {
            ctx.cancel(timer);
        }
        let first = self.state == State::Empty;
        self.become_state(State::PreparingRebalance, why, ctx);
        ctx.mark("rebalance-started");
        if first {
            let delay = ctx.config.group_initial_rebalance_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            self.initial = Some(InitialDelay { delay, remaining });
            self.set_join_timer(delay, ctx);
        } else if self.all_joined() {
            self.complete_join(ctx);
        } else {
            self.set_join_timer(self.rebalance_timeout(), ctx);
        }
    }

    fn set_join_timer(&mut self, delay: Duration, ctx: &mut Ctx<'_>) {
        if let Some(timer) = self.join_timer.take() {
            ctx.cancel(timer);
        }
        self.join_timer = Some(ctx.timer(after(ctx, delay), What::Join { group: self.id.clone() }));
    }

    /// The time to join is over, or the first rebalance has waited for more members.
    pub fn join_time_over(&mut self, ctx: &mut Ctx<'_>) {
        self.join_timer = None;
        if self.state != State::PreparingRebalance {
            return;
        }
        if let Some(InitialDelay { delay, remaining }) = self.initial
            && self.new_member_added
            && remaining > Duration::ZERO
        {
            self.new_member_added = false;
            let next = ctx.config.group_initial_rebalance_delay.min(remaining);
            self.initial = Some(InitialDelay { delay: next, remaining: remaining.saturating_sub(delay) });
            return self.set_join_timer(next, ctx);
        }
        self.complete_join(ctx);
    }

    pub(super) fn maybe_complete_join(&mut self, ctx: &mut Ctx<'_>) {
        // The first rebalance waits its time even when all known members are there.
        if self.state == State::PreparingRebalance && self.initial.is_none() && self.all_joined() {
            self.complete_join(ctx);
        }
    }

    pub(super) fn complete_join(&mut self, ctx: &mut Ctx<'_>) {
        self.initial = None;
        self.new_member_added = false;
        if let Some(timer) = self.join_timer.take() {
            ctx.cancel(timer);
        }
        let missing = |m: &&Member| m.joining.is_none() && m.instance.is_none();
        let missing: Vec<Arc<str>> = self.members.values().filter(missing).map(|m| m.id.clone()).collect();
        for id in missing {
            ctx.mark("member-missed-rebalance");
            self.remove(&id, RemovalReason::RebalanceExpired, ctx);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Only static members are left, and none of them came: they have their sessions.
            return self.set_join_timer(self.rebalance_timeout(), ctx);
        }
        self.generation += 1;
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.subscribed = self.compute_subscribed();
            self.become_state(State::Empty, "the last member is gone", ctx);
            return self.write_emptied(ctx);
        }
        self.protocol = self.select_protocol();
        self.subscribed = self.compute_subscribed();
        self.become_state(State::CompletingRebalance, "all have joined", ctx);
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let members = if self.is_leader(&id) { self.roster() } else { vec![] };
            let answer = self.joined(&id, members);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.is_new = false;
            if let Some(caller) = member.joining.take() {
                self.joining -= 1;
                ctx.reply(caller, answer);
            }
            self.pending_sync.insert(id.clone());
            if !ctx.defects.on(Defect::SessionsNotRearmed) {
                self.heard_of(&id, ctx);
            }
        }
        let what = What::Sync { group: self.id.clone(), generation: self.generation };
        self.sync_timer = Some(ctx.timer(after(ctx, self.rebalance_timeout()), what));
    }

    /// That everybody is gone is written down; if it cannot be, it is tried again, or the next coordinator would wait for
    /// them.
    fn write_emptied(&mut self, ctx: &mut Ctx<'_>) {
        let record = self.record(&BTreeMap::new());
        let then = Then::Emptied { generation: self.generation };
        ctx.write(Write::new(self.id.clone(), vec![record], then));
    }
    /// It could not be written.
    pub fn not_emptied(&mut self, generation: i32, ctx: &mut Ctx<'_>) {
        let what = What::Emptied { group: self.id.clone(), generation };
        ctx.timer(after(ctx, WRITE_RETRY), what);
    }
    /// The time has come to try again.
    pub fn empty_again(&mut self, generation: i32, ctx: &mut Ctx<'_>) {
        if self.state == State::Empty && self.generation == generation {
            self.write_emptied(ctx);
        }
    }
}

fn protocols(request: &JoinGroupRequest) -> Protocols {
    request.protocols.iter().map(|p| (p.name.to_string(), p.metadata.clone())).collect()
}

/// Version 0 has one timeout for both.
fn rebalance_timeout(request: &JoinGroupRequest, version: i16) -> i32 {
    if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms }
}

/// Fields that a version does not have stay as they are by default.
pub(in crate::broker::group) fn fit_join(mut answer: JoinGroupResponse, version: i16) -> JoinGroupResponse {
    if version < 7 {
        answer.protocol_type = None;
        // It could not be null yet.
        answer.protocol_name = Some(answer.protocol_name.unwrap_or_default());
    }
    if version < 5 {
        answer.members.iter_mut().for_each(|m| m.group_instance_id = None);
    }
    answer
}
