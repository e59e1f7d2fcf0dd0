//! The classic protocol: members join a generation, one of them assigns, all learn their share and keep it alive by
//! heartbeats until the next rebalance.
//!
//! Eager assignors give everything up before joining; `cooperative-sticky` alone (KIP-429) keeps it, and gives up
//! afterwards what the new assignment no longer holds, which costs another rebalance. Static members (KIP-345) do
//! not say goodbye. Follows Kafka's `AbstractCoordinator` and `ConsumerCoordinator`; metadata of racks and pattern
//! subscriptions are not there.

use super::super::assignor::{self, GroupMember, Partitions};
use super::super::embedded::{self, Subscription};
use super::super::group::{Group, GroupTag, Then};
use super::super::requests::Tag as RequestTag;
use super::super::{Consumer, commits::Ended};
use super::Tag;
use crate::client::errors;
use crate::client::metadata::TopicIndex;
use crate::config::Assignor;
use crate::history::{CommitTrigger, TopicPartition};
use crate::ids::ApiKey;
use crate::node::Outbox;
use crate::units::{Duration, Instant};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How much longer than the rebalance a JoinGroup may take (Java: `JOIN_GROUP_TIMEOUT_LAPSE`).
const JOIN_LAPSE: Duration = Duration::from_millis(5_000);

const PROTOCOL_TYPE: StrBytes = StrBytes::from_static_str("consumer");

/// `AbstractCoordinator.MemberState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unjoined,
    /// JoinGroup is under way, or about to be.
    Preparing,
    /// In the generation, without an assignment.
    Completing,
    Stable,
}

/// What must be done before joining.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Prepare {
    Needed,
    /// Positions are being committed.
    Committing(Option<u64>),
    /// The application gives partitions up.
    Revoking,
    Done,
}

/// How far joining has come.
#[derive(Debug)]
enum Join {
    Idle,
    Asked,
    /// To be looked at when the application is in `poll`.
    Answered(JoinGroupResponse),
    /// This member assigns, once it knows the partitions of all topics.
    Leading(Vec<JoinGroupResponseMember>),
    Syncing,
    /// The share, and whether what it does not hold was given up.
    Synced(Vec<TopicPartition>, bool),
}

/// When to report, and when the coordinator was last heard.
#[derive(Debug)]
struct Heartbeat {
    next: Instant,
    in_flight: bool,
    answered: Instant,
}

/// Topics and their places in the client's metadata.
type Topics = Vec<(Arc<str>, TopicIndex)>;

/// A classic membership.
#[derive(Debug)]
pub(in crate::client::consumer) struct Classic {
    state: State,
    pub member_id: StrBytes,
    pub generation: i32,
    assignor: Option<Assignor>,
    pub counter: u64,
    pub rejoin: bool,
    prepare: Prepare,
    prepare_by: Instant,
    join: Join,
    attempt: u64,
    retry_at: Instant,
    pub failures: u32,
    /// What the leader assigned, by numbers: it watches for changes.
    watched: Option<(Topics, Partitions)>,
    /// The metadata that was last compared with it.
    compared: u64,
    /// What the assignor remembers of the last assignment, whatever has become of it.
    claim: (Vec<TopicPartition>, i32),
    heartbeat: Heartbeat,
    /// Whether leaving is done, once it has begun.
    goodbye: Option<bool>,
}

impl Classic {
    pub fn new(now: Instant) -> Classic {
        Classic {
            state: State::Unjoined,
            member_id: StrBytes::default(),
            generation: -1,
            assignor: None,
            counter: 0,
            rejoin: true,
            prepare: Prepare::Needed,
            prepare_by: Instant::MAX,
            join: Join::Idle,
            attempt: 0,
            retry_at: now,
            failures: 0,
            watched: None,
            compared: 0,
            claim: (Vec::new(), -1),
            heartbeat: Heartbeat { next: now, in_flight: false, answered: now },
            goodbye: None,
        }
    }

    pub fn identity(&self) -> Option<(i32, StrBytes)> {
        (self.state == State::Stable && self.generation >= 0).then(|| (self.generation, self.member_id.clone()))
    }

    pub fn is_stable(&self) -> bool {
        self.state == State::Stable && !self.rejoin && matches!(self.join, Join::Idle)
    }

    pub fn is_rebalancing(&self) -> bool {
        matches!(self.state, State::Preparing | State::Completing)
    }

    /// Out of the group: whatever was owned is lost when the application polls next. The member id may still be good
    /// for joining without a wait.
    pub fn reset(&mut self, keep_member_id: bool) {
        self.state = State::Unjoined;
        self.generation = -1;
        self.assignor = None;
        if !keep_member_id {
            self.member_id = StrBytes::default();
        }
        self.counter += 1;
        self.attempt += 1;
        self.join = Join::Idle;
        self.rejoin = true;
        self.prepare = Prepare::Needed;
    }

    pub fn coordinator_found(&mut self, now: Instant) {
        self.heartbeat.answered = now;
    }

    pub fn revoked_before_join(&mut self) {
        if self.prepare == Prepare::Revoking {
            self.prepare = Prepare::Done;
        }
    }

    pub fn revoked_before_assignment(&mut self) {
        if let Join::Synced(_, revoked) = &mut self.join {
            *revoked = true;
            // Others wait for what was given up.
            self.rejoin = true;
        }
    }

    /// Whatever came of joining, it must be tried again, no earlier than `at`.
    fn again(&mut self, at: Instant) {
        self.join = Join::Idle;
        self.rejoin = true;
        self.retry_at = at;
    }

    /// A JoinGroup or SyncGroup will not be answered.
    pub fn lost(&mut self, attempt: u64, retry_at: Instant) {
        if self.attempt == attempt && matches!(self.join, Join::Asked | Join::Syncing) {
            self.failures += 1;
            self.again(retry_at);
        }
    }

    pub fn on_joined(&mut self, attempt: u64, answer: JoinGroupResponse) {
        if self.attempt == attempt && matches!(self.join, Join::Asked) {
            self.join = Join::Answered(answer);
        }
    }

    pub fn heartbeat_failed(&mut self, next: Instant) {
        self.heartbeat.in_flight = false;
        self.heartbeat.next = self.heartbeat.next.min(next);
    }

    pub fn left(&mut self) {
        if self.goodbye.is_some() {
            self.goodbye = Some(true);
        }
    }
}

impl Consumer {
    pub(super) fn keep_classic(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        let next = self.beat(group, now, out);
        next.min(self.rebalance(group, now, out))
    }

    /// What Java's heartbeat thread does. Returns when to come back.
    fn beat(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        if !matches!(group.classic().state, State::Completing | State::Stable) || group.coordinator.node.is_none() {
            return Instant::MAX;
        }
        let session_by = group.classic().heartbeat.answered + self.config.session_timeout;
        let longest = self.config.max_poll_interval;
        let poll_by = if group.is_leaving() { Instant::MAX } else { group.poll_by(longest, self.defects) };
        if now >= session_by {
            // The coordinator is silent: perhaps it is somebody else by now.
            self.forget_coordinator(group, now, out);
            return Instant::MAX;
        }
        if now >= poll_by {
            self.leave_classic(group, now, "consumer poll timeout has expired.", out);
            return Instant::MAX;
        }
        let m = group.classic();
        let next = if m.heartbeat.in_flight { Instant::MAX } else { m.heartbeat.next };
        if now < next {
            return next.min(session_by).min(poll_by);
        }
        if let Some(node) = self.coordinator(group, now, out)
            && let Some(version) = self.net.version(node, ApiKey::Heartbeat)
        {
            let (id, instance) = (group.id.clone(), group.instance.clone());
            let m = group.classic();
            let mut request = HeartbeatRequest::default()
                .with_group_id(id)
                .with_generation_id(m.generation)
                .with_member_id(m.member_id.clone());
            if version >= 3 {
                request.group_instance_id = instance;
            }
            m.heartbeat.in_flight = true;
            m.heartbeat.next = now + self.config.heartbeat_interval.max(Duration::from_millis(1));
            let tag = RequestTag::Group(GroupTag::Member(Tag::Heartbeat(m.counter)));
            self.net.send(now, node, request, tag, out);
        }
        session_by.min(poll_by)
    }

    pub(super) fn on_heartbeat(&mut self, group: &mut Group, now: Instant, counter: u64, error: i16, out: &mut Outbox) {
        let retry_at = now + self.config.retry_backoff;
        let m = group.classic();
        m.heartbeat.in_flight = false;
        match error {
            errors::NONE => m.heartbeat.answered = now,
            errors::REBALANCE_IN_PROGRESS => {
                m.heartbeat.answered = now;
                m.rejoin |= m.state == State::Stable;
            }
            errors::COORDINATOR_NOT_AVAILABLE | errors::NOT_COORDINATOR => {
                m.heartbeat_failed(retry_at);
                self.forget_coordinator(group, now, out);
            }
            // About an earlier membership.
            errors::ILLEGAL_GENERATION | errors::UNKNOWN_MEMBER_ID | errors::FENCED_INSTANCE_ID
                if m.counter != counter => {}
            errors::ILLEGAL_GENERATION | errors::UNKNOWN_MEMBER_ID => m.reset(error == errors::ILLEGAL_GENERATION),
            errors::FENCED_INSTANCE_ID => {
                m.reset(false);
                self.give_up(group, errors::name(error));
            }
            error if errors::is_retriable(error) => m.heartbeat_failed(retry_at),
            error => self.give_up(group, errors::name(error)),
        }
    }

    /// Joins if the member must, as far as that can go now. Returns when to come back.
    fn rebalance(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        loop {
            if !group.may_progress() {
                return Instant::MAX;
            }
            self.watch_partitions(group);
            let m = group.classic();
            match std::mem::replace(&mut m.join, Join::Idle) {
                Join::Idle if !m.rejoin => return Instant::MAX,
                Join::Idle if now < m.retry_at => return m.retry_at,
                Join::Idle if m.prepare == Prepare::Done => {
                    if !self.send_join(group, now, out) {
                        return Instant::MAX;
                    }
                }
                Join::Idle => {
                    // Java looks for the coordinator first: without one, nothing is given up.
                    if self.coordinator(group, now, out).is_none() && group.classic().prepare == Prepare::Needed {
                        return Instant::MAX;
                    }
                    if !self.prepare_to_join(group, now) {
                        return group.classic().prepare_by;
                    }
                }
                Join::Answered(answer) => self.joined(group, now, answer, out),
                Join::Leading(members) => {
                    if !self.metadata.knows_all() {
                        m.join = Join::Leading(members);
                        return Instant::MAX;
                    }
                    self.lead(group, now, members, out);
                }
                Join::Synced(share, revoked) => {
                    if !self.complete(group, now, share, revoked) {
                        return Instant::MAX;
                    }
                }
                waiting @ (Join::Asked | Join::Syncing) => {
                    m.join = waiting;
                    return Instant::MAX;
                }
            }
        }
    }

    /// The leader rejoins when a topic of the group has other partitions than those it assigned.
    fn watch_partitions(&mut self, group: &mut Group) {
        let updates = self.metadata.updates();
        let m = group.classic();
        if m.compared != updates
            && let Some((topics, assigned)) = &m.watched
        {
            let changed = self.counts(topics) != *assigned;
            m.rejoin |= changed;
            m.compared = updates;
        }
    }

    fn counts(&self, topics: &[(Arc<str>, TopicIndex)]) -> Partitions {
        let count =
            |(name, at): &(Arc<str>, TopicIndex)| (name.clone(), self.metadata.get(*at).partitions.len() as i32);
        topics.iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    fn is_cooperative(&self) -> bool {
        self.config.assignors.iter().all(|a| a.is_cooperative())
    }

    /// Commits, and has partitions given up, before the member joins. Returns false while that takes time.
    fn prepare_to_join(&mut self, group: &mut Group, now: Instant) -> bool {
        let eager = !self.is_cooperative();
        match group.classic().prepare {
            Prepare::Needed => {
                let by = now + self.config.max_poll_interval;
                group.classic().prepare_by = by;
                let mut commit = None;
                if self.config.enable_auto_commit && group.classic().identity().is_some() {
                    if eager {
                        self.hold_back(|_| true);
                    }
                    let offsets = self.consumed(group);
                    // Nothing is given up yet where members keep what they have.
                    let trigger = if eager { CommitTrigger::Revocation } else { CommitTrigger::Auto };
                    commit = self.begin_commit(group, now, trigger, offsets, by);
                }
                group.classic().prepare = Prepare::Committing(commit);
                true
            }
            Prepare::Committing(commit) => {
                let ended: Option<Ended> = commit.map_or(Some(Ended::Ok), |id| group.commits.ended(id));
                if ended.is_none() && now < group.classic().prepare_by {
                    return false;
                }
                if group.classic().generation < 0 || group.classic().member_id.is_empty() {
                    self.lose(group);
                    group.classic().prepare = Prepare::Done;
                    return true;
                }
                let topics: BTreeSet<Arc<str>> = group.topics.iter().map(|t| t.0.clone()).collect();
                let given_up = |source: &TopicPartition| eager || !topics.contains(&source.topic);
                let mut revoked: Vec<TopicPartition> =
                    self.assigned.iter().map(|a| a.source.clone()).filter(given_up).collect();
                revoked.sort();
                if revoked.is_empty() {
                    group.classic().prepare = Prepare::Done;
                } else {
                    group.classic().prepare = Prepare::Revoking;
                    self.call_back(group, now, revoked, Then::Join);
                }
                true
            }
            Prepare::Revoking | Prepare::Done => true,
        }
    }

    /// Sends JoinGroup if the coordinator can be reached.
    fn send_join(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> bool {
        let Some(node) = self.coordinator(group, now, out) else { return false };
        let Some(version) = self.net.version(node, ApiKey::JoinGroup) else {
            self.give_up(group, errors::name(errors::UNSUPPORTED_VERSION));
            return false;
        };
        let mut owned: Vec<TopicPartition> = self.assigned.iter().map(|a| a.source.clone()).collect();
        owned.sort();
        let topics: Vec<Arc<str>> = group.topics.iter().map(|t| t.0.clone()).collect();
        let (id, instance) = (group.id.clone(), group.instance.clone());
        let m = group.classic();
        m.state = State::Preparing;
        m.watched = None;
        let protocols = self.config.assignors.iter().map(|assignor| {
            let user_data = match assignor {
                Assignor::Sticky if m.claim.1 >= 0 => Some(embedded::encode_sticky(&m.claim.0, m.claim.1)),
                Assignor::CooperativeSticky => Some(embedded::encode_cooperative_sticky(m.claim.1)),
                _ => None,
            };
            let (topics, owned, generation) = (topics.clone(), owned.clone(), m.generation);
            let subscription = Subscription { topics, user_data, owned, generation, rack: None };
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(subscription.encode(embedded::VERSION))
        });
        let millis = |d: Duration| d.as_millis().min(i32::MAX as u64) as i32;
        let mut request = JoinGroupRequest::default()
            .with_group_id(id)
            .with_session_timeout_ms(millis(self.config.session_timeout))
            .with_member_id(m.member_id.clone())
            .with_protocol_type(PROTOCOL_TYPE)
            .with_protocols(protocols.collect());
        if version >= 1 {
            request.rebalance_timeout_ms = millis(self.config.max_poll_interval);
        }
        if version >= 5 {
            request.group_instance_id = instance;
        }
        m.attempt += 1;
        m.join = Join::Asked;
        // It is answered when the rebalance is over.
        let timeout = self.config.request_timeout.max(self.config.max_poll_interval.saturating_add(JOIN_LAPSE));
        let tag = RequestTag::Group(GroupTag::Member(Tag::Join(m.attempt)));
        self.net.send_with_timeout(now, node, timeout, request, tag, out);
        true
    }

    /// The answer to JoinGroup.
    fn joined(&mut self, group: &mut Group, now: Instant, answer: JoinGroupResponse, out: &mut Outbox) {
        let pause = self.retry.after(group.classic().failures, self.net.rng());
        let m = group.classic();
        match answer.error_code {
            errors::NONE => {
                let name = answer.protocol_name.as_ref().map_or("", |n| n.as_str());
                let Some(assignor) = self.config.assignors.iter().copied().find(|a| a.name() == name) else {
                    self.give_up(group, errors::name(errors::INCONSISTENT_GROUP_PROTOCOL));
                    return;
                };
                m.state = State::Completing;
                m.generation = answer.generation_id;
                m.member_id = answer.member_id;
                m.assignor = Some(assignor);
                m.counter += 1;
                m.failures = 0;
                m.heartbeat = Heartbeat {
                    next: now + self.config.heartbeat_interval.max(Duration::from_millis(1)),
                    in_flight: false,
                    answered: now,
                };
                if answer.leader == m.member_id && answer.skip_assignment {
                    // A static leader is back: the others go on as they were (KIP-814), but it watches again.
                    let topics = group.topics.clone();
                    group.classic().watched = Some((topics.clone(), self.counts(&topics)));
                    self.sync(group, now, Vec::new(), out);
                } else if answer.leader == m.member_id {
                    for topic in answer.members.iter().flat_map(|m| subscription(m).topics) {
                        self.metadata.topic(&topic);
                    }
                    group.classic().join = Join::Leading(answer.members);
                    self.dirty = true;
                } else {
                    self.sync(group, now, Vec::new(), out);
                }
            }
            errors::MEMBER_ID_REQUIRED => {
                m.member_id = answer.member_id;
                m.generation = -1;
                m.counter += 1;
                m.again(now);
            }
            errors::UNKNOWN_MEMBER_ID => m.reset(false),
            errors::REBALANCE_IN_PROGRESS => m.again(now),
            errors::COORDINATOR_NOT_AVAILABLE | errors::NOT_COORDINATOR => {
                m.failures += 1;
                m.again(now + pause);
                self.forget_coordinator(group, now, out);
            }
            error if errors::is_retriable(error) => {
                m.failures += 1;
                m.again(now + pause);
            }
            error => self.give_up(group, errors::name(error)),
        }
    }

    /// The leader assigns.
    fn lead(&mut self, group: &mut Group, now: Instant, members: Vec<JoinGroupResponseMember>, out: &mut Outbox) {
        let assignor = group.classic().assignor.unwrap_or(Assignor::Range);
        let known: Vec<GroupMember> = members.iter().map(|m| claim(m, assignor)).collect();
        let names: BTreeSet<Arc<str>> = known.iter().flat_map(|m| m.topics.iter().cloned()).collect();
        let topics: Topics = names.into_iter().map(|name| (name.clone(), self.metadata.topic(&name))).collect();
        let partitions = self.counts(&topics);
        let shares = assignor::assign(assignor, &partitions, &known, self.defects);
        let assignments = members.into_iter().zip(&shares).map(|(member, share)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id)
                .with_assignment(embedded::encode_assignment(share))
        });
        let assignments = assignments.collect();
        group.classic().watched = Some((topics, partitions));
        self.sync(group, now, assignments, out);
    }

    fn sync(
        &mut self,
        group: &mut Group,
        now: Instant,
        assignments: Vec<SyncGroupRequestAssignment>,
        out: &mut Outbox,
    ) {
        let pause = self.retry.after(group.classic().failures, self.net.rng());
        let node = self.coordinator(group, now, out);
        let version = node.and_then(|node| self.net.version(node, ApiKey::SyncGroup));
        let (id, instance) = (group.id.clone(), group.instance.clone());
        let m = group.classic();
        let (Some(node), Some(version)) = (node, version) else {
            m.failures += 1;
            m.again(now + pause);
            return;
        };
        let mut request = SyncGroupRequest::default()
            .with_group_id(id)
            .with_generation_id(m.generation)
            .with_member_id(m.member_id.clone())
            .with_assignments(assignments);
        if version >= 3 {
            request.group_instance_id = instance;
        }
        if version >= 5 {
            request.protocol_type = Some(PROTOCOL_TYPE);
            request.protocol_name = m.assignor.map(|a| StrBytes::from_static_str(a.name()));
        }
        m.join = Join::Syncing;
        let tag = RequestTag::Group(GroupTag::Member(Tag::Sync(m.attempt)));
        self.net.send(now, node, request, tag, out);
    }

    /// The answer to SyncGroup: taken note of at once, acted upon when the application is in `poll`.
    pub(super) fn on_synced(
        &mut self,
        group: &mut Group,
        now: Instant,
        attempt: u64,
        answer: &SyncGroupResponse,
        out: &mut Outbox,
    ) {
        let pause = self.retry.after(group.classic().failures, self.net.rng());
        let m = group.classic();
        if m.attempt != attempt || !matches!(m.join, Join::Syncing) {
            return;
        }
        match answer.error_code {
            errors::NONE => {
                // A member that the leader has forgotten gets no bytes at all.
                let share = embedded::decode_assignment(&answer.assignment).unwrap_or_default();
                m.state = State::Stable;
                m.rejoin = false;
                m.failures = 0;
                m.join = Join::Synced(share, false);
            }
            errors::REBALANCE_IN_PROGRESS => m.again(now),
            errors::UNKNOWN_MEMBER_ID | errors::ILLEGAL_GENERATION => {
                m.reset(answer.error_code != errors::UNKNOWN_MEMBER_ID)
            }
            errors::COORDINATOR_NOT_AVAILABLE | errors::NOT_COORDINATOR => {
                m.failures += 1;
                m.again(now + pause);
                self.forget_coordinator(group, now, out);
            }
            error if errors::is_retriable(error) => {
                m.failures += 1;
                m.again(now + pause);
            }
            error => self.give_up(group, errors::name(error)),
        }
    }

    /// The share takes effect; first the application gives up what is no longer in it. Returns false while it does.
    fn complete(&mut self, group: &mut Group, now: Instant, share: Vec<TopicPartition>, revoked: bool) -> bool {
        if share.iter().any(|p| group.topics.binary_search_by(|t| t.0.cmp(&p.topic)).is_err()) {
            // Of topics that are not subscribed to: the leader went by something older.
            group.classic().again(now);
            group.classic().prepare = Prepare::Needed;
            return true;
        }
        let owned: BTreeSet<TopicPartition> = self.assigned.iter().map(|a| a.source.clone()).collect();
        let new: BTreeSet<TopicPartition> = share.iter().cloned().collect();
        let gone: Vec<TopicPartition> = owned.difference(&new).cloned().collect();
        if !gone.is_empty() && !revoked {
            group.classic().join = Join::Synced(share, false);
            self.call_back(group, now, gone, Then::Assign);
            return false;
        }
        let added: Vec<TopicPartition> = new.difference(&owned).cloned().collect();
        let m = group.classic();
        m.prepare = Prepare::Needed;
        m.claim = (share, m.generation);
        let generation = m.generation;
        self.take_up(group, now, generation, added);
        true
    }

    /// Says goodbye, if the member is one that does, and is out of the group. Returns whether a request went out.
    fn leave_classic(&mut self, group: &mut Group, now: Instant, reason: &'static str, out: &mut Outbox) -> bool {
        let joined = group.classic().state != State::Unjoined && !group.classic().member_id.is_empty();
        let mut sent = false;
        if group.instance.is_none()
            && joined
            && let Some(node) = self.coordinator(group, now, out)
            && let Some(version) = self.net.version(node, ApiKey::LeaveGroup)
        {
            let id = group.id.clone();
            let member_id = group.classic().member_id.clone();
            let mut request = LeaveGroupRequest::default().with_group_id(id);
            if version >= 3 {
                let mut member = MemberIdentity::default().with_member_id(member_id);
                if version >= 5 {
                    member.reason = Some(StrBytes::from_static_str(reason));
                }
                request.members = vec![member];
            } else {
                request.member_id = member_id;
            }
            self.net.send(now, node, request, RequestTag::Group(GroupTag::Member(Tag::Leave)), out);
            sent = true;
        }
        group.classic().reset(false);
        sent
    }

    pub(super) fn leave_classic_for_good(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> bool {
        if let Some(done) = group.classic().goodbye {
            return done;
        }
        let told =
            self.config.leave_group_on_close && self.leave_classic(group, now, "the consumer is being closed", out);
        group.classic().goodbye = Some(!told);
        !told
    }
}

/// A member's subscription; what cannot be read subscribes to nothing.
fn subscription(member: &JoinGroupResponseMember) -> Subscription {
    let nothing = Subscription { topics: Vec::new(), user_data: None, owned: Vec::new(), generation: -1, rack: None };
    Subscription::decode(&member.metadata).unwrap_or(nothing)
}

/// What a member says it owns, and since when. The eager sticky assignor goes by its own user data: its members have
/// given everything up by then.
fn claim(member: &JoinGroupResponseMember, assignor: Assignor) -> GroupMember {
    let s = subscription(member);
    let user_data = s.user_data.as_deref().unwrap_or_default();
    let (owned, generation) = match assignor {
        Assignor::Sticky => embedded::decode_sticky(user_data),
        Assignor::CooperativeSticky if s.generation < 0 => (s.owned, embedded::decode_cooperative_sticky(user_data)),
        _ => (s.owned, s.generation),
    };
    let instance = member.group_instance_id.as_ref().map(|i| i.to_string());
    GroupMember { id: member.member_id.to_string(), instance, topics: s.topics, owned, generation }
}
