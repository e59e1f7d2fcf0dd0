//! KIP-848: the coordinator assigns; the member reports, and reconciles what it has with what it should have.
//!
//! Reports (ConsumerGroupHeartbeat) go out in the background. A new target is reconciled in `poll`: positions are
//! committed (with `enable.auto.commit`), what is to go is given up, what is new is taken up, and a report
//! acknowledges that. A member that is fenced loses everything and joins anew under its old id. Follows Kafka's
//! `AbstractMembershipManager`, `ConsumerMembershipManager` and `ConsumerHeartbeatRequestManager`; unlike there,
//! reports in a hurry keep to the backoff after an error, and what was promised is claimed as owned (`Modern::claims`).

use super::super::group::{Group, GroupTag, Then};
use super::super::requests::Tag as RequestTag;
use super::super::{Consumer, wire_name};
use super::Tag;
use crate::client::errors;
use crate::history::{CommitTrigger, TopicPartition};
use crate::ids::{ApiKey, Uuid};
use crate::node::Outbox;
use crate::units::{Duration, Instant};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The member epoch of a report that joins.
const JOINING: i32 = 0;
/// That says goodbye.
const LEAVING: i32 = -1;
/// That says goodbye for a static member, whose place is kept.
const LEAVING_STATIC: i32 = -2;

/// `MemberState`, without those that last no time here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Until the application polls for the first time.
    Unsubscribed,
    Joining,
    Reconciling,
    /// The next report acknowledges what was reconciled.
    Acknowledging,
    Stable,
    /// Expelled; what it had is lost when the application polls next.
    Fenced,
    /// Gone of its own accord: the application stayed away for too long.
    Stale,
    Left,
}

type Topics = BTreeMap<Uuid, BTreeSet<i32>>;

/// Partitions by topic id, and which of the member's targets they were.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Target {
    version: u64,
    topics: Topics,
}

/// How far a reconciliation has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Committing(Option<u64>),
    Revoking,
    Assigning,
}

/// A reconciliation under way.
#[derive(Debug)]
struct Work {
    stage: Stage,
    to: Target,
    revoked: Vec<TopicPartition>,
    added: Vec<TopicPartition>,
    by: Instant,
}

/// What the coordinator was told last; only what differs is told again.
#[derive(Default, Debug)]
struct Told {
    everything: bool,
    owned: Option<Target>,
}

/// A KIP-848 membership.
#[derive(Debug)]
pub(in crate::client::consumer) struct Modern {
    state: State,
    pub member_id: StrBytes,
    pub epoch: i32,
    pub counter: u64,
    target: Target,
    /// What was reconciled last; `None` after joining.
    current: Option<Target>,
    /// The names of topics that were ever assigned: a topic may be forgotten before its partitions are given up.
    names: BTreeMap<Uuid, Arc<str>>,
    work: Option<Work>,
    told: Told,
    interval: Duration,
    next: Instant,
    not_before: Instant,
    in_flight: bool,
    pub failures: u32,
    goodbye: Option<bool>,
}

impl Modern {
    pub fn new(now: Instant) -> Modern {
        Modern {
            state: State::Unsubscribed,
            member_id: StrBytes::default(),
            epoch: JOINING,
            counter: 0,
            target: Target::default(),
            current: None,
            names: BTreeMap::new(),
            work: None,
            told: Told::default(),
            interval: Duration::ZERO,
            next: now,
            not_before: now,
            in_flight: false,
            failures: 0,
            goodbye: None,
        }
    }

    pub fn identity(&self) -> Option<(i32, StrBytes)> {
        (self.epoch > 0).then(|| (self.epoch, self.member_id.clone()))
    }

    pub fn is_stable(&self) -> bool {
        self.epoch > 0 && self.work.is_none()
    }

    pub fn revoked_before_assignment(&mut self) {
        if let Some(work) = &mut self.work {
            work.stage = Stage::Assigning;
        }
    }

    pub fn report_failed(&mut self, retry_at: Instant) {
        self.in_flight = false;
        self.failures += 1;
        self.next = retry_at;
        self.not_before = retry_at;
        self.told = Told::default();
    }

    pub fn left(&mut self) {
        if self.goodbye.is_some() {
            self.goodbye = Some(true);
        }
    }

    /// Out of the group.
    fn out(&mut self, state: State) {
        self.state = state;
        self.epoch = JOINING;
        self.counter += 1;
        self.work = None;
        self.told = Told::default();
    }

    fn join(&mut self, now: Instant) {
        self.state = State::Joining;
        self.epoch = JOINING;
        self.target = Target::default();
        self.current = None;
        self.told = Told::default();
        self.next = now;
        self.not_before = now;
    }

    fn is_reconciled(&self) -> bool {
        self.current.as_ref() == Some(&self.target)
    }

    /// What a report says is owned: what was reconciled last, what is being taken up, and what the newest target
    /// promises. A list without what was promised, sent to acknowledge an earlier target, would read as giving it up if
    /// the coordinator wants it back by then; it would hand it on while this member takes it up.
    fn claims(&self) -> Target {
        let mut owned = self.current.clone().unwrap_or_default();
        for promised in self.work.iter().map(|w| &w.to).chain([&self.target]) {
            for (id, partitions) in &promised.topics {
                owned.topics.entry(*id).or_default().extend(partitions);
            }
        }
        owned
    }

    fn receive(&mut self, topics: Topics) {
        if topics != self.target.topics || self.target.version == 0 {
            self.target = Target { version: self.target.version + 1, topics };
        }
        let settled = self.is_reconciled();
        match self.state {
            State::Joining | State::Reconciling | State::Acknowledging | State::Stable if !settled => {
                self.state = State::Reconciling;
            }
            State::Joining | State::Reconciling => self.state = State::Stable,
            _ => {}
        }
    }
}

impl Consumer {
    pub(super) fn keep_modern(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        let longest = self.config.max_poll_interval;
        let poll_by = if group.is_leaving() { Instant::MAX } else { group.poll_by(longest, self.defects) };
        let may_progress = group.may_progress();
        let mut next = Instant::MAX;
        match group.modern().state {
            State::Unsubscribed | State::Fenced | State::Stale if may_progress => {
                self.lose(group);
                group.modern().join(now);
            }
            State::Unsubscribed | State::Fenced | State::Stale | State::Left => return Instant::MAX,
            _ if now >= poll_by => {
                self.send_goodbye(group, now, out);
                group.modern().out(State::Stale);
                return Instant::MAX;
            }
            _ => next = next.min(poll_by),
        }
        if may_progress && group.modern().state == State::Reconciling {
            next = next.min(self.reconcile(group, now));
        }
        next.min(self.report(group, now, out))
    }

    /// One step after the other, until one takes time. Returns when to come back.
    fn reconcile(&mut self, group: &mut Group, now: Instant) -> Instant {
        loop {
            let Some(work) = &mut group.modern().work else {
                if group.modern().is_reconciled() {
                    return Instant::MAX;
                }
                if !self.begin_to_reconcile(group, now) {
                    return Instant::MAX;
                }
                continue;
            };
            match work.stage {
                Stage::Committing(commit) => {
                    let by = work.by;
                    if let Some(id) = commit
                        && group.commits.ended(id).is_none()
                        && now < by
                    {
                        return by;
                    }
                    let Some(work) = &mut group.modern().work else { continue };
                    let revoked = work.revoked.clone();
                    if revoked.is_empty() {
                        work.stage = Stage::Assigning;
                    } else {
                        work.stage = Stage::Revoking;
                        self.call_back(group, now, revoked, Then::Assign);
                        return Instant::MAX;
                    }
                }
                Stage::Revoking => return Instant::MAX,
                Stage::Assigning => {
                    let m = group.modern();
                    let Some(work) = m.work.take() else { continue };
                    m.current = Some(work.to);
                    m.state = State::Acknowledging;
                    let epoch = m.epoch;
                    self.take_up(group, now, epoch, work.added);
                    return Instant::MAX;
                }
            }
        }
    }

    /// Finds out what is to go and what is new, as far as the topics are known. Returns whether there is anything.
    fn begin_to_reconcile(&mut self, group: &mut Group, now: Instant) -> bool {
        for (name, at) in group.topics.clone() {
            let id = self.metadata.get(at).id.0;
            if !id.is_nil() {
                group.modern().names.insert(id, name);
            }
        }
        let m = group.modern();
        let mut to = Target { version: m.target.version, topics: Topics::new() };
        let mut assigned: BTreeSet<TopicPartition> = BTreeSet::new();
        for (id, partitions) in &m.target.topics {
            let Some(name) = m.names.get(id) else {
                self.metadata.request_update();
                continue;
            };
            to.topics.insert(*id, partitions.clone());
            assigned.extend(partitions.iter().map(|&p| TopicPartition { topic: name.clone(), partition: p }));
        }
        if m.current.as_ref().is_some_and(|c| c.topics == to.topics) {
            // Nothing that is known has changed; what is not known yet will come with metadata.
            let news = m.current.as_ref() != Some(&to);
            if news {
                m.current = Some(to);
                m.state = State::Acknowledging;
            }
            return false;
        }
        let owned: BTreeSet<TopicPartition> = self.assigned.iter().map(|a| a.source.clone()).collect();
        let revoked: Vec<TopicPartition> = owned.difference(&assigned).cloned().collect();
        let added = assigned.difference(&owned).cloned().collect();
        let by = now + self.config.max_poll_interval;
        let mut commit = None;
        if self.config.enable_auto_commit {
            self.hold_back(|source| revoked.binary_search(source).is_ok());
            let offsets = self.consumed(group);
            let trigger = if revoked.is_empty() { CommitTrigger::Auto } else { CommitTrigger::Revocation };
            commit = self.begin_commit(group, now, trigger, offsets, by);
        }
        group.modern().work = Some(Work { stage: Stage::Committing(commit), to, revoked, added, by });
        true
    }

    /// Sends a report if one is due. Returns when to come back.
    fn report(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        let m = group.modern();
        if m.in_flight {
            return Instant::MAX;
        }
        let hurry = matches!(m.state, State::Joining | State::Acknowledging);
        let due = if hurry { m.not_before } else { m.next };
        if now < due {
            return due;
        }
        let Some(node) = self.coordinator(group, now, out) else { return Instant::MAX };
        let Some(version) = self.net.version(node, ApiKey::ConsumerGroupHeartbeat) else {
            self.give_up(group, errors::name(errors::UNSUPPORTED_VERSION));
            return Instant::MAX;
        };
        if version >= 1 && group.modern().member_id.is_empty() {
            // Since KIP-1082 members name themselves.
            let (a, b) = (self.net.rng().random(), self.net.rng().random());
            group.modern().member_id = StrBytes::from_string(Uuid::from_u64_pair(a, b).to_string());
        }
        let mut request = ConsumerGroupHeartbeatRequest::default().with_group_id(group.id.clone());
        request.instance_id = group.instance.clone();
        request.rebalance_timeout_ms = -1;
        let names = group.topics.iter().map(|(name, _)| wire_name(name)).collect();
        let m = group.modern();
        request.member_id = m.member_id.clone();
        request.member_epoch = m.epoch;
        if m.state == State::Joining || !m.told.everything {
            let timeout = self.config.max_poll_interval.as_millis();
            request.rebalance_timeout_ms = timeout.min(i32::MAX as u64) as i32;
            request.subscribed_topic_names = Some(names);
            request.server_assignor = self.config.group_remote_assignor.clone().map(StrBytes::from_string);
        }
        let owned = m.claims();
        if m.state == State::Joining || m.told.owned.as_ref() != Some(&owned) {
            let each = owned.topics.iter().map(|(id, partitions)| {
                let partitions = partitions.iter().copied().collect();
                TopicPartitions::default().with_topic_id(*id).with_partitions(partitions)
            });
            request.topic_partitions = Some(each.collect());
        }
        m.told = Told { everything: true, owned: Some(owned) };
        m.in_flight = true;
        m.next = now + m.interval;
        if m.state == State::Acknowledging {
            m.state = if m.is_reconciled() { State::Stable } else { State::Reconciling };
            self.dirty |= m.state == State::Reconciling;
        }
        let tag = RequestTag::Group(GroupTag::Member(Tag::Report(m.counter)));
        self.net.send(now, node, request, tag, out);
        Instant::MAX
    }

    pub(super) fn on_report(
        &mut self,
        group: &mut Group,
        now: Instant,
        counter: u64,
        answer: &ConsumerGroupHeartbeatResponse,
        out: &mut Outbox,
    ) {
        let pause = self.retry.after(group.modern().failures, self.net.rng());
        let m = group.modern();
        if m.counter != counter {
            // About an earlier membership.
            m.in_flight = false;
            return;
        }
        let error = answer.error_code;
        if error == errors::NONE {
            m.in_flight = false;
            m.failures = 0;
            m.interval = Duration::from_millis(answer.heartbeat_interval_ms.max(1) as u64);
            m.next = now + m.interval;
            if let Some(id) = answer.member_id.as_ref().filter(|id| !id.is_empty()) {
                m.member_id = id.clone();
            }
            m.epoch = answer.member_epoch;
            match &answer.assignment {
                Some(assignment) => {
                    let mut topics = Topics::new();
                    for t in &assignment.topic_partitions {
                        topics.entry(t.topic_id).or_default().extend(t.partitions.iter().copied());
                    }
                    m.receive(topics);
                }
                None if m.state == State::Joining => m.state = State::Stable,
                None => {}
            }
            return;
        }
        m.report_failed(now + pause);
        match error {
            errors::NOT_COORDINATOR | errors::COORDINATOR_NOT_AVAILABLE => {
                // As soon as there is another.
                m.next = now;
                m.not_before = now;
                self.forget_coordinator(group, now, out);
                group.coordinator_after(now + pause);
            }
            errors::FENCED_MEMBER_EPOCH | errors::UNKNOWN_MEMBER_ID => m.out(State::Fenced),
            error if errors::is_retriable(error) => {}
            error => {
                m.out(State::Left);
                self.give_up(group, errors::name(error));
            }
        }
    }

    /// Says goodbye, if the coordinator can be told.
    fn send_goodbye(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> bool {
        let Some(node) = self.coordinator(group, now, out) else { return false };
        if group.modern().epoch <= 0 || self.net.version(node, ApiKey::ConsumerGroupHeartbeat).is_none() {
            return false;
        }
        let mut request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group.id.clone())
            .with_member_id(group.modern().member_id.clone())
            .with_member_epoch(if group.instance.is_some() { LEAVING_STATIC } else { LEAVING });
        request.rebalance_timeout_ms = -1;
        request.instance_id = group.instance.clone();
        self.net.send(now, node, request, RequestTag::Group(GroupTag::Member(Tag::Goodbye)), out);
        true
    }

    pub(super) fn leave_modern_for_good(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> bool {
        if let Some(done) = group.modern().goodbye {
            return done;
        }
        let told = self.send_goodbye(group, now, out);
        group.modern().out(State::Left);
        group.modern().goodbye = Some(!told);
        !told
    }
}
