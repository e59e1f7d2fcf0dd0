//! Classic groups: members join, a leader among them assigns, and everybody fetches its part (KIP-62, KIP-345, KIP-394,
//! KIP-559). Follows Kafka's `ClassicGroup` and the classic part of `GroupMetadataManager`.
//!
//! A generation's assignment is a record before anybody gets it. What happens between two generations (who has joined,
//! who waits) is in memory only, as in Kafka: it is told anew to the next coordinator.
//!
//! The rooms, in reading order: [`state`], the table of states; [`member`]; here, a group and what may become of it;
//! [`record`], to and from the log; [`join`], [`sync`], [`stay`] (heartbeats, leaving, expiry): the requests.

mod join;
mod member;
mod record;
mod state;
mod stay;
mod sync;

pub(in crate::broker::group) use join::fit_join;
pub(in crate::broker::group) use member::Member;
pub(in crate::broker::group) use record::{assignments, partitions};
pub(in crate::broker::group) use state::State;
pub(in crate::broker::group) use sync::{fit_sync, generation_of};

use super::{Ctx, Session};
use crate::broker::connections::Caller;
use crate::broker::text;
use crate::defects::{Defect, Defects};
use crate::record::schema::subscription_topics;
use crate::timers::TimerKey;
use crate::trace::{RemovalReason, TraceEvent};
use crate::units::{Duration, Instant};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

/// How the first rebalance of an empty group waits for more members (KIP-134).
#[derive(Clone, Copy, Debug)]
struct InitialDelay {
    delay: Duration,
    remaining: Duration,
}

/// One classic group.
#[derive(Debug)]
pub(in crate::broker::group) struct ClassicGroup {
    /// `group.id`.
    pub id: Arc<str>,
    state: State,
    /// The state before.
    previous: State,
    /// Raised by each rebalance that comes to its end.
    pub generation: i32,
    /// `consumer`, `connect`, ...; none before somebody joins.
    pub protocol_type: Option<String>,
    /// The assignor of this generation.
    pub protocol: Option<String>,
    /// Who assigns.
    pub leader: Option<Arc<str>>,
    /// Members by id.
    pub members: BTreeMap<Arc<str>, Member>,
    /// Static members: instance id to member id.
    statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Given an id, and expected to come back with it.
    pending_join: BTreeMap<Arc<str>, Session>,
    /// Have not asked for their assignment yet.
    pending_sync: BTreeSet<Arc<str>>,
    /// How many members know each assignor.
    support: BTreeMap<String, usize>,
    /// How many members' JoinGroups wait.
    joining: usize,
    /// Somebody came while the first rebalance waits for more.
    new_member_added: bool,
    initial: Option<InitialDelay>,
    join_timer: Option<TimerKey>,
    sync_timer: Option<TimerKey>,
    /// When it took its state, broker time in milliseconds.
    pub state_timestamp: Option<i64>,
    /// What its members consume, as far as it can be told.
    subscribed: Option<BTreeSet<String>>,
}

impl ClassicGroup {
    /// A group without members: before the first one joins, or one that only commits offsets.
    pub fn new(id: Arc<str>) -> ClassicGroup {
        ClassicGroup {
            id,
            state: State::Empty,
            previous: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending_join: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            support: BTreeMap::new(),
            joining: 0,
            new_member_added: false,
            initial: None,
            join_timer: None,
            sync_timer: None,
            state_timestamp: None,
            subscribed: None,
        }
    }

    /// What it does.
    pub fn state(&self) -> State {
        self.state
    }
    /// Nobody ever joined, nobody is about to, and nothing of it is in the log.
    pub fn is_vacant(&self) -> bool {
        self.protocol_type.is_none() && self.generation == 0 && self.members.is_empty() && self.pending_join.is_empty()
    }
    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.state == State::Empty
    }
    /// Whether it is made of consumers.
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }
    /// Whether offsets of a topic are in use. A group of consumers whose subscriptions cannot be read uses them all.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().map_or(self.is_of_consumers(), |topics| topics.contains(topic))
    }
    /// Since when an offset committed at `committed` is out of use; `None`: it is in use (KIP-211).
    pub fn unused_since(&self, committed: i64) -> Option<i64> {
        match (&self.protocol_type, self.state) {
            (None, _) => Some(committed),
            (Some(_), State::Empty) => Some(self.state_timestamp.unwrap_or(committed)),
            (Some(_), State::Stable) if self.is_of_consumers() && self.subscribed.is_some() => Some(committed),
            _ => None,
        }
    }
    /// Every request that waits for it.
    pub fn waiting(&mut self) -> (Vec<Caller>, Vec<Caller>) {
        let joins = self.members.values_mut().filter_map(|m| m.joining.take()).collect();
        let syncs = self.members.values_mut().filter_map(|m| m.syncing.take()).collect();
        self.joining = 0;
        (joins, syncs)
    }

    /// Takes another state.
    ///
    /// # Panics
    /// If the table has no such change: a rule here is broken.
    fn become_state(&mut self, to: State, why: &'static str, ctx: &mut Ctx<'_>) {
        assert!(self.state.may_become(to), "a classic group cannot go from {:?} to {to:?}", self.state);
        let from = std::mem::replace(&mut self.state, to);
        self.previous = from;
        self.state_timestamp = Some(ctx.now.wall.0);
        ctx.out.trace(TraceEvent::GroupState {
            group: self.id.clone(),
            epoch: ctx.epoch,
            generation: self.generation,
            from: from.name(),
            to: to.name(),
            members: self.members.len() as u32,
            why,
        });
    }
    /// It is deleted.
    pub fn die(&mut self, ctx: &mut Ctx<'_>) {
        self.cancel_timers(ctx);
        self.become_state(State::Dead, "deleted", ctx);
    }
    fn cancel_timers(&mut self, ctx: &mut Ctx<'_>) {
        for timer in [self.join_timer.take(), self.sync_timer.take()].into_iter().flatten() {
            ctx.cancel(timer);
        }
    }

    /// Whether a request's member is who it says it is (KIP-345).
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`.
    pub fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(known) if **known != *member => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// Whether offsets may be committed by whoever says it is `member` in `generation`.
    ///
    /// # Errors
    /// As Kafka's `ClassicGroup.validateOffsetCommit`.
    pub fn check_commit(
        &self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
        defects: Defects,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation < 0 && member.is_empty() && instance.is_none() {
            // Somebody who assigns partitions by hand, under the name of a group that has members.
            return Err(ResponseError::UnknownMemberId);
        }
        self.check_member(member, instance)?;
        if generation != self.generation && !defects.on(Defect::CommitGenerationUnchecked) {
            return Err(ResponseError::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(())
    }

    /// The longest a member may take.
    fn rebalance_timeout(&self) -> Duration {
        millis(self.members.values().map(|m| m.rebalance_timeout).max().unwrap_or(0))
    }
    fn all_joined(&self) -> bool {
        self.members.len() == self.joining && self.pending_join.is_empty()
    }
    fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    fn supports(&self, protocol_type: &str, mut protocols: impl Iterator<Item = impl AsRef<str>>) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && protocols.next().is_some();
        }
        let by_all = |name: &str| self.support.get(name).copied() == Some(self.members.len());
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.any(|p| by_all(p.as_ref()))
    }
    fn count_support(&mut self, protocols: &[(String, bytes::Bytes)], more: bool) {
        for (name, _) in protocols {
            let count = self.support.entry(name.clone()).or_default();
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.support.remove(name);
            }
        }
    }
    /// The assignor that most members like best among those that all know; the first by name if several do.
    fn select_protocol(&self) -> Option<String> {
        let known_to_all = |name: &str| self.support.get(name).copied() == Some(self.members.len());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| known_to_all(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|&(name, n)| (n, std::cmp::Reverse(name))).map(|(name, _)| name.to_owned())
    }

    fn add(&mut self, member: Member, protocol_type: &str) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.joining += usize::from(member.joining.is_some());
        self.count_support(&member.protocols.clone(), true);
        self.pending_join.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }
    /// Takes a member out, and answers what it waits for.
    fn remove(&mut self, id: &str, reason: RemovalReason, ctx: &mut Ctx<'_>) {
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        let Some(member) = self.members.remove(id) else { return };
        self.count_support(&member.protocols, false);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        if let Some(caller) = member.joining {
            self.joining -= 1;
            ctx.refuse_join(caller, "", ResponseError::UnknownMemberId);
        }
        if let Some(caller) = member.syncing {
            ctx.refuse_sync(caller, ResponseError::UnknownMemberId);
        }
        ctx.out.trace(TraceEvent::MemberRemoved {
            group: self.id.clone(),
            epoch: ctx.epoch,
            member: member.id,
            reason,
        });
    }

    /// A leader that did not come is replaced by a member that did. False: nobody came.
    fn elect_leader(&mut self) -> bool {
        let came = |id: &Arc<str>| self.members.get(id).is_some_and(|m| m.joining.is_some());
        if self.leader.as_ref().is_none_or(came) {
            return self.leader.is_some();
        }
        let next = self.members.values().find(|m| m.joining.is_some()).map(|m| m.id.clone());
        let found = next.is_some();
        if found {
            self.leader = next;
        }
        found
    }

    fn compute_subscribed(&self) -> Option<BTreeSet<String>> {
        if !self.is_of_consumers() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription_topics(&member.metadata(Some(protocol))).ok()?);
        }
        Some(topics)
    }

    /// Restarts a member's session.
    fn watch(&mut self, id: &str, timeout: Duration, ctx: &mut Ctx<'_>) {
        let group = self.id.clone();
        if let Some(member) = self.members.get_mut(id) {
            let id = member.id.clone();
            ctx.watch(&mut member.session, group, id, timeout);
        }
    }
    /// Restarts a member's session as it asked for.
    pub fn heard_of(&mut self, id: &str, ctx: &mut Ctx<'_>) {
        if let Some(timeout) = self.members.get(id).map(|m| millis(m.session_timeout)) {
            self.watch(id, timeout, ctx);
        }
    }

    /// The members with their subscriptions, for the leader.
    fn roster(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.as_deref();
        let member = |m: &Member| {
            JoinGroupResponseMember::default()
                .with_member_id(text(&m.id))
                .with_group_instance_id(m.instance.as_deref().map(text))
                .with_metadata(m.metadata(protocol))
        };
        self.members.values().map(member).collect()
    }
    /// What a member is told of this generation.
    fn joined(&self, member: &str, members: Vec<JoinGroupResponseMember>) -> JoinGroupResponse {
        JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_type(self.protocol_type.as_deref().map(text))
            .with_protocol_name(self.protocol.as_deref().map(text))
            .with_leader(self.leader.as_deref().map(text).unwrap_or_default())
            .with_member_id(text(member))
            .with_members(members)
    }
    fn synced(&self, assignment: bytes::Bytes) -> SyncGroupResponse {
        SyncGroupResponse::default()
            .with_protocol_type(self.protocol_type.as_deref().map(text))
            .with_protocol_name(self.protocol.as_deref().map(text))
            .with_assignment(assignment)
    }
}

/// A setting in milliseconds; a negative one is none at all.
fn millis(ms: i32) -> Duration {
    Duration::from_millis(ms.max(0) as u64)
}

fn after(ctx: &Ctx<'_>, d: Duration) -> Instant {
    ctx.now.mono + d
}
