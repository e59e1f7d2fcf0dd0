//! A consumer that subscribes: what all its parts share, and how they take turns.
//!
//! The parts: `coordinator` (whom to ask), `membership` (being in the group, by the classic protocol or KIP-848),
//! `commits` and `lookup` (offsets to and from the coordinator). This file holds the application's side: Java's
//! consumer makes progress with rebalances, and calls back, only while the application is inside `poll`, whereas
//! heartbeats go out all the time. So the application says when it enters `poll`
//! ([`Consumer::enter_poll`]); it leaves when [`Consumer::poll_records`] hands records out. While it is asked to give
//! partitions up ([`ConsumerEvent::Revoking`]), nothing moves until it says so ([`Consumer::revocation_done`]).

use super::commits::Commits;
use super::coordinator::Coordinator;
use super::lookup::Lookup;
use super::membership::{self, Membership};
use super::{Consumer, ConsumerEvent};
use crate::client::metadata::TopicIndex;
use crate::config::GroupProtocol;
use crate::defects::{Defect, Defects};
use crate::history::{CommitTrigger, TopicPartition};
use crate::ids::{LeaderEpoch, Offset};
use crate::inspect::MembershipInspection;
use crate::node::Outbox;
use crate::units::{Duration, Instant, Now};
use kafka_protocol::messages::{GroupId, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long leaving in order may take (Java: `close()` without a timeout of its own).
const CLOSE_TIMEOUT: Duration = Duration::from_millis(30_000);

/// What a request to a coordinator was for.
#[derive(Debug)]
pub(super) enum GroupTag {
    /// Whom to ask.
    Find,
    /// Anything about being in the group.
    Member(membership::Tag),
    /// The committed offsets of these partitions.
    Lookup(Vec<super::requests::Question>),
    /// A commit's attempt.
    Commit(u64),
}

/// What goes on when the application has given the partitions up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// The member joins the next generation.
    Join,
    /// The new assignment takes effect.
    Assign,
    /// The member leaves.
    Leave,
}

/// The application is asked to give partitions up.
#[derive(Debug)]
pub(super) struct Callback {
    partitions: Vec<TopicPartition>,
    then: Then,
}

/// How far leaving has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    /// Positions are committed.
    Committing,
    /// Partitions are given up.
    Revoking,
    /// The coordinator is told.
    Telling,
    /// Done.
    Left,
}

/// Everything a consumer has only because it is in a group.
#[derive(Debug)]
pub(super) struct Group {
    pub id: GroupId,
    pub instance: Option<StrBytes>,
    /// What is subscribed to, in the order of names.
    pub topics: Vec<(Arc<str>, TopicIndex)>,
    pub coordinator: Coordinator,
    pub membership: Membership,
    pub commits: Commits,
    pub lookup: Lookup,
    /// The application is inside `poll`.
    pub polling: bool,
    /// Since when it is not, or is busy giving partitions up.
    away_since: Instant,
    pub callback: Option<Callback>,
    /// The generation or member epoch of the last assignment.
    pub owned_in: i32,
    leaving: Option<Leaving>,
    leave_by: Instant,
    /// Why there is no hope any more.
    pub failed: Option<&'static str>,
    /// With `commit-after-revoke`: positions that outlived their assignment.
    stored: BTreeMap<TopicPartition, Offset>,
}

impl Group {
    /// When the application will have been away from `poll` for too long.
    pub fn poll_by(&self, longest: Duration, defects: Defects) -> Instant {
        let may_stay_away = defects.on(Defect::PollIntervalNotEnforced);
        let there = self.polling && self.callback.is_none();
        if there || may_stay_away { Instant::MAX } else { self.away_since + longest }
    }

    /// Whether rebalancing may make progress now.
    pub fn may_progress(&self) -> bool {
        self.polling && self.callback.is_none() && self.leaving.is_none() && self.failed.is_none()
    }

    /// Whether it is on its way out.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }
}

impl Consumer {
    /// Subscribes: the group's protocol decides which partitions are read. To be called once, after
    /// [`Consumer::start`], instead of [`Consumer::assign`].
    ///
    /// # Panics
    /// If `group.id` is not set.
    pub fn subscribe(&mut self, now: Now, topics: &[Arc<str>]) {
        let id = self.config.group_id.clone().expect("a consumer that subscribes has a `group.id`");
        let mut list: Vec<(Arc<str>, TopicIndex)> =
            topics.iter().map(|topic| (topic.clone(), self.metadata.topic(topic))).collect();
        list.sort();
        list.dedup();
        let membership = match self.config.group_protocol {
            GroupProtocol::Classic => Membership::Classic(membership::Classic::new(now.mono)),
            GroupProtocol::Consumer => Membership::Consumer(membership::Modern::new(now.mono)),
        };
        self.group = Some(Box::new(Group {
            id: GroupId(StrBytes::from_string(id)),
            instance: self.config.group_instance_id.clone().map(StrBytes::from_string),
            topics: list,
            coordinator: Coordinator::default(),
            membership,
            commits: Commits::new(now.mono + self.config.auto_commit_interval),
            lookup: Lookup::default(),
            polling: false,
            away_since: now.mono,
            callback: None,
            owned_in: -1,
            leaving: None,
            leave_by: Instant::MAX,
            failed: None,
            stored: BTreeMap::new(),
        }));
        self.dirty = true;
    }

    /// The application waits in `poll` from now on. Call [`Consumer::poll`] afterwards.
    pub fn enter_poll(&mut self, _now: Now) {
        if let Some(group) = &mut self.group
            && !group.polling
        {
            group.polling = true;
            self.dirty = true;
        }
    }

    /// The application has left `poll` without records.
    pub fn exit_poll(&mut self, now: Now) {
        self.leave_poll(now.mono);
    }

    /// The application has done what it had to before giving up the partitions of the last
    /// [`ConsumerEvent::Revoking`]. Call [`Consumer::poll`] afterwards.
    pub fn revocation_done(&mut self, now: Now) {
        self.with_group(|consumer, group| {
            let Some(callback) = group.callback.take() else { return };
            group.away_since = now.mono;
            consumer.release(group, &callback.partitions);
            match callback.then {
                Then::Join => group.membership.revoked_before_join(),
                Then::Assign => group.membership.revoked_before_assignment(),
                Then::Leave => group.leaving = Some(Leaving::Telling),
            }
            consumer.dirty = true;
        });
    }

    /// Leaves the group in order: commits positions (with `enable.auto.commit`), gives the partitions up, says
    /// goodbye. [`ConsumerEvent::Left`] tells when that is done. Call [`Consumer::poll`] afterwards.
    pub fn leave(&mut self, now: Now) {
        self.with_group(|consumer, group| {
            if group.leaving.is_some() {
                return;
            }
            group.leaving = Some(Leaving::Committing);
            group.leave_by = now.mono + CLOSE_TIMEOUT;
            if consumer.config.enable_auto_commit && group.failed.is_none() {
                let offsets = consumer.consumed(group);
                consumer.begin_commit(group, now.mono, CommitTrigger::Close, offsets, group.leave_by);
            }
            consumer.dirty = true;
        });
    }

    /// Commits: these next offsets, or without any, all positions. `Sync`, `Revocation` and `Close` are tried again
    /// for up to `default.api.timeout.ms`, `Async` and `Auto` are not. `None` if there is nothing to commit. What
    /// comes of it is a [`ConsumerEvent::Committed`]. Call [`Consumer::poll`] afterwards.
    pub fn commit(
        &mut self,
        now: Now,
        trigger: CommitTrigger,
        offsets: Option<&[(TopicPartition, Offset)]>,
    ) -> Option<u64> {
        let mut id = None;
        self.with_group(|consumer, group| {
            let offsets = match offsets {
                Some(offsets) => offsets.iter().map(|(p, o)| (p.clone(), *o, consumer.epoch_before(p, *o))).collect(),
                None => consumer.consumed(group),
            };
            let by = now.mono + consumer.config.default_api_timeout;
            id = consumer.begin_commit(group, now.mono, trigger, offsets, by);
            consumer.dirty = true;
        });
        id
    }

    /// What the consumer knows of its membership.
    pub fn membership(&self) -> Option<MembershipInspection> {
        let group = self.group.as_ref()?;
        let mut owned: Vec<_> =
            self.assigned.iter().map(|a| (a.source.topic.to_string(), a.source.partition)).collect();
        owned.sort();
        Some(MembershipInspection {
            group: group.id.0.to_string(),
            member: group.membership.member_id().to_string(),
            generation: group.membership.generation(),
            owned,
            pending_commits: group.commits.pending(),
        })
    }

    /// Why the consumer cannot go on as a group member, if so (Java: an exception out of `poll`).
    pub fn group_failed(&self) -> Option<&'static str> {
        self.group.as_ref()?.failed
    }

    /// Nothing the application does, or waits for, may happen now: it is busy giving partitions up, or not in `poll`.
    pub(super) fn withholds(&self) -> bool {
        self.group.as_ref().is_some_and(|g| !g.polling || g.callback.is_some() || g.leaving.is_some())
    }

    /// The application takes records along, out of `poll`.
    pub(super) fn leave_poll(&mut self, now: Instant) {
        if let Some(group) = &mut self.group {
            group.polling = false;
            group.away_since = now;
        }
    }

    /// Works on the group beside the rest of the consumer.
    pub(super) fn with_group(&mut self, work: impl FnOnce(&mut Consumer, &mut Group)) {
        if let Some(mut group) = self.group.take() {
            work(self, &mut group);
            self.group = Some(group);
        }
    }

    /// One round. Returns when to come back.
    pub(super) fn run_group(&mut self, now: Instant, out: &mut Outbox) -> Instant {
        let mut next = Instant::MAX;
        self.with_group(|consumer, group| next = consumer.turn(group, now, out));
        next
    }

    fn turn(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        if group.leaving == Some(Leaving::Left) {
            return Instant::MAX;
        }
        let mut next = Instant::MAX;
        if group.failed.is_none() {
            next = next.min(self.keep_membership(group, now, out));
            next = next.min(self.auto_commit(group, now));
            next = next.min(self.look_up(group, now, out));
        }
        next = next.min(self.send_commits(group, now, out));
        next = next.min(self.go_on_leaving(group, now, out));
        next.min(self.find_if_unknown(group, now, out))
    }

    fn go_on_leaving(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        if group.leaving == Some(Leaving::Committing) {
            if !group.commits.is_idle() && now < group.leave_by {
                return group.leave_by;
            }
            group.leaving = Some(Leaving::Revoking);
            group.callback = None;
            let mut all: Vec<TopicPartition> = self.assigned.iter().map(|a| a.source.clone()).collect();
            all.sort();
            if all.is_empty() {
                group.leaving = Some(Leaving::Telling);
            } else if group.failed.is_some() || group.membership.identity().is_none() {
                self.lose(group);
                group.leaving = Some(Leaving::Telling);
            } else {
                self.call_back(group, now, all, Then::Leave);
            }
        }
        if group.leaving == Some(Leaving::Telling) {
            let told = group.failed.is_some() || self.say_goodbye(group, now, out);
            if told || now >= group.leave_by {
                group.leaving = Some(Leaving::Left);
                self.events.push_back(ConsumerEvent::Left);
                return Instant::MAX;
            }
            return group.leave_by;
        }
        Instant::MAX
    }

    /// Asks the application to give partitions up.
    pub(super) fn call_back(&mut self, group: &mut Group, now: Instant, partitions: Vec<TopicPartition>, then: Then) {
        group.away_since = now;
        self.events.push_back(ConsumerEvent::Revoking { generation: group.owned_in, partitions: partitions.clone() });
        group.callback = Some(Callback { partitions, then });
    }

    /// The partitions are gone already; nothing can be committed.
    pub(super) fn lose(&mut self, group: &mut Group) {
        let mut partitions: Vec<TopicPartition> = self.assigned.iter().map(|a| a.source.clone()).collect();
        if partitions.is_empty() {
            return;
        }
        partitions.sort();
        self.release(group, &partitions);
        self.events.push_back(ConsumerEvent::Lost { generation: group.owned_in, partitions });
    }

    /// Forgets partitions: what was fetched of them, and where they were read.
    fn release(&mut self, group: &mut Group, partitions: &[TopicPartition]) {
        if self.defects.on(Defect::CommitAfterRevoke) {
            group.stored.extend(self.positions_of(partitions));
        }
        let gone: std::collections::BTreeSet<&TopicPartition> = partitions.iter().collect();
        self.assigned.retain(|a| !gone.contains(&a.source));
    }

    fn positions_of(&self, partitions: &[TopicPartition]) -> Vec<(TopicPartition, Offset)> {
        partitions.iter().filter_map(|p| Some((p.clone(), self.position(p)?))).collect()
    }

    /// The new assignment is in force: `added` are new, whatever else is assigned stays.
    pub(super) fn take_up(&mut self, group: &mut Group, now: Instant, generation: i32, added: Vec<TopicPartition>) {
        for source in &added {
            self.add_uncommitted(source);
        }
        for a in &mut self.assigned {
            a.pending_revocation = false;
        }
        group.owned_in = generation;
        group.commits.next_auto = now + self.config.auto_commit_interval;
        group.commits.last_auto.clear();
        self.events.push_back(ConsumerEvent::Assigned { generation, partitions: added });
        self.dirty = true;
    }

    /// Nothing of these is handed out while the commit before their revocation is under way.
    pub(super) fn hold_back(&mut self, revoked: impl Fn(&TopicPartition) -> bool) {
        if self.defects.on(Defect::FetchDuringRevokeCommit) {
            return;
        }
        self.assigned.iter_mut().filter(|a| revoked(&a.source)).for_each(|a| a.pending_revocation = true);
    }

    /// All positions, as they are committed.
    pub(super) fn consumed(&mut self, group: &mut Group) -> Vec<(TopicPartition, Offset, LeaderEpoch)> {
        let mut consumed: Vec<_> = self
            .assigned
            .iter()
            .filter(|a| a.state == super::State::Fetching)
            .filter_map(|a| a.position.map(|p| (a.source.clone(), p.offset, p.offset_epoch)))
            .collect();
        consumed.sort();
        if !group.stored.is_empty() {
            // `commit-after-revoke`
            for (source, offset, epoch) in &mut consumed {
                if let Some(stored) = group.stored.remove(source) {
                    (*offset, *epoch) = (stored, LeaderEpoch::NONE);
                }
            }
        }
        consumed
    }

    /// The epoch of the record before an offset, if it is the one read last.
    fn epoch_before(&self, source: &TopicPartition, offset: Offset) -> LeaderEpoch {
        let position = self.find(source).and_then(|at| self.assigned[at].position);
        position.filter(|p| p.offset == offset).map_or(LeaderEpoch::NONE, |p| p.offset_epoch)
    }

    /// There is no way on: the application is told, and only leaving is left.
    pub(super) fn give_up(&mut self, group: &mut Group, error: &'static str) {
        if group.failed.is_none() {
            group.failed = Some(error);
            self.events.push_back(ConsumerEvent::GroupFailed { error });
        }
    }

    /// A coordinator's answer.
    pub(super) fn on_group_answer(
        &mut self,
        now: Instant,
        tag: GroupTag,
        version: i16,
        response: ResponseKind,
        out: &mut Outbox,
    ) {
        self.with_group(|consumer, group| match (tag, response) {
            (GroupTag::Find, ResponseKind::FindCoordinator(answer)) => {
                consumer.on_found(group, now, version, &answer, out);
            }
            (GroupTag::Lookup(asked), ResponseKind::OffsetFetch(answer)) => {
                consumer.on_looked_up(group, now, &asked, version, &answer, out);
            }
            (GroupTag::Commit(id), ResponseKind::OffsetCommit(answer)) => {
                consumer.on_commit(group, now, id, &answer, out);
            }
            (GroupTag::Member(tag), response) => consumer.on_member_answer(group, now, tag, response, out),
            (tag, _) => consumer.on_group_lost(group, now, tag),
        });
    }

    /// A request's answer will never come.
    pub(super) fn group_lost(&mut self, now: Instant, tag: GroupTag) {
        self.with_group(|consumer, group| consumer.on_group_lost(group, now, tag));
    }

    pub(super) fn on_group_lost(&mut self, group: &mut Group, now: Instant, tag: GroupTag) {
        match tag {
            GroupTag::Find => self.not_found(group, now),
            GroupTag::Lookup(asked) => self.lookup_failed(group, now, &asked),
            GroupTag::Commit(id) => self.commit_lost(group, now, id),
            GroupTag::Member(tag) => self.member_request_lost(group, now, tag),
        }
    }
}
