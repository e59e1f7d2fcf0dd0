//! Positions to the coordinator: by the application, at an interval, before partitions are given up, and when leaving.
//!
//! Which error is final, which calls for another attempt, and which says that the member is out, follows
//! `ConsumerCoordinator.OffsetCommitResponseHandler` and, for KIP-848, `CommitRequestManager`. Whether a commit that
//! failed may have been written all the same is a table of its own ([`is_definite`]): it is what histories say.

use super::group::{Group, GroupTag};
use super::requests::{Tag, topic_of};
use super::{Consumer, ConsumerEvent};
use crate::client::errors;
use crate::history::{CommitTrigger, Outcome, TopicPartition};
use crate::ids::{ApiKey, LeaderEpoch, Offset};
use crate::node::Outbox;
use crate::units::{Duration, Instant};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

/// Error of a commit by a consumer that is not in the group (Java: `CommitFailedException`).
pub const COMMIT_FAILED: &str = "COMMIT_FAILED";

/// The newest version spoken: later ones name topics by id.
const NEWEST: i16 = 9;

#[derive(Debug)]
struct Commit {
    id: u64,
    trigger: CommitTrigger,
    offsets: Vec<(TopicPartition, Offset, LeaderEpoch)>,
    /// No attempt after this.
    deadline: Instant,
    in_flight: bool,
    /// The member's identity when the attempt under way was sent.
    identity: u64,
    retry_at: Instant,
    failures: u32,
    /// An attempt may have been written without our knowing.
    ambiguous: bool,
}

/// How a commit ended, for whoever waits for it inside the consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    Ok,
    /// The same may succeed later.
    Retriable,
    Failed,
}

/// Commits that are not resolved.
#[derive(Debug)]
pub(super) struct Commits {
    pending: Vec<Commit>,
    last_id: u64,
    /// When positions are committed without being asked for.
    pub next_auto: Instant,
    /// What was committed last without being asked for, in this generation.
    pub last_auto: Vec<(TopicPartition, Offset, LeaderEpoch)>,
    ended: Option<(u64, Ended)>,
}

/// Intervals below this are shorter than a commit may take.
const AT_EVERY_POLL: Duration = Duration::from_millis(50);

impl Commits {
    pub fn new(next_auto: Instant) -> Commits {
        Commits { pending: Vec::new(), last_id: 0, next_auto, last_auto: Vec::new(), ended: None }
    }

    /// How many commits are not resolved.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }
    /// Whether every commit is resolved.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// How a commit ended; `None` while it has not. Of the last one that ended, only.
    pub fn ended(&self, id: u64) -> Option<Ended> {
        if self.pending.iter().any(|c| c.id == id) {
            return None;
        }
        Some(self.ended.filter(|(ended, _)| *ended == id).map_or(Ended::Failed, |(_, how)| how))
    }

    /// A commit in the background waits for none of another attempt.
    fn tries_again(trigger: CommitTrigger) -> bool {
        matches!(trigger, CommitTrigger::Sync | CommitTrigger::Revocation | CommitTrigger::Close)
    }
}

/// Whether an error says that nothing was written. Not so of `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE` and
/// `REQUEST_TIMED_OUT`: a coordinator also answers them when it has written and cannot tell whether that will stay.
fn is_definite(error: i16) -> bool {
    matches!(
        error,
        errors::UNKNOWN_TOPIC_OR_PARTITION
            | errors::COORDINATOR_LOAD_IN_PROGRESS
            | errors::OFFSET_METADATA_TOO_LARGE
            | errors::ILLEGAL_GENERATION
            | errors::INVALID_GROUP_ID
            | errors::UNKNOWN_MEMBER_ID
            | errors::REBALANCE_IN_PROGRESS
            | errors::INVALID_COMMIT_OFFSET_SIZE
            | errors::TOPIC_AUTHORIZATION_FAILED
            | errors::GROUP_AUTHORIZATION_FAILED
            | errors::UNSUPPORTED_VERSION
            | errors::INVALID_REQUEST
            | errors::GROUP_ID_NOT_FOUND
            | errors::FENCED_INSTANCE_ID
            | errors::FENCED_MEMBER_EPOCH
            | errors::STALE_MEMBER_EPOCH
    )
}

impl Consumer {
    /// Registers a commit and tells of it. `None` if there is nothing to commit.
    pub(super) fn begin_commit(
        &mut self,
        group: &mut Group,
        now: Instant,
        trigger: CommitTrigger,
        offsets: Vec<(TopicPartition, Offset, LeaderEpoch)>,
        deadline: Instant,
    ) -> Option<u64> {
        if offsets.is_empty() {
            return None;
        }
        group.commits.last_id += 1;
        let id = group.commits.last_id;
        let generation = group.membership.identity().map_or(-1, |(generation, _)| generation);
        let told = offsets.iter().map(|(source, offset, _)| (source.clone(), *offset)).collect();
        self.events.push_back(ConsumerEvent::CommitSent { id, trigger, generation, offsets: told });
        group.commits.pending.push(Commit {
            id,
            trigger,
            offsets,
            deadline,
            in_flight: false,
            identity: 0,
            retry_at: now,
            failures: 0,
            ambiguous: false,
        });
        self.dirty = true;
        Some(id)
    }

    /// Commits positions at the interval, from inside `poll` and outside rebalances. Returns when to come back.
    pub(super) fn auto_commit(&mut self, group: &mut Group, now: Instant) -> Instant {
        if !self.config.enable_auto_commit || !group.may_progress() || !group.membership.is_stable() {
            return Instant::MAX;
        }
        if now >= group.commits.next_auto {
            // An interval of 0 means a commit at every poll, and one of a few milliseconds comes to the same: a commit takes
            // longer. The next begins when the one under way is through, a millisecond later at least, which is as fine
            // as Kafka's clients count.
            let at_every_poll = self.config.auto_commit_interval < AT_EVERY_POLL;
            if at_every_poll && group.commits.pending.iter().any(|c| c.trigger == CommitTrigger::Auto) {
                return Instant::MAX;
            }
            group.commits.next_auto = now + self.config.auto_commit_interval.max(Duration::from_millis(1));
            let offsets = self.consumed(group);
            if at_every_poll {
                // What was said before is not said again: the group comes to rest when nothing is consumed.
                if offsets == group.commits.last_auto {
                    return Instant::MAX;
                }
                group.commits.last_auto.clone_from(&offsets);
            }
            self.begin_commit(group, now, CommitTrigger::Auto, offsets, now + self.config.default_api_timeout);
        }
        group.commits.next_auto
    }

    /// Sends what can be sent, in order. Returns when to come back.
    pub(super) fn send_commits(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        let mut next = Instant::MAX;
        let mut at = 0;
        while at < group.commits.pending.len() {
            let commit = &group.commits.pending[at];
            if commit.in_flight {
                at += 1;
                continue;
            }
            if now >= commit.deadline {
                self.end_commit(group, at, Ended::Retriable, errors::name(errors::REQUEST_TIMED_OUT), true);
                continue;
            }
            let due = commit.retry_at.min(commit.deadline);
            if now < due {
                next = next.min(due);
                at += 1;
                continue;
            }
            let Some((generation, member)) = group.membership.identity() else {
                // Java fails at once: there is no generation to commit in.
                let rebalancing = group.membership.is_rebalancing();
                let error = if rebalancing { errors::name(errors::REBALANCE_IN_PROGRESS) } else { COMMIT_FAILED };
                self.end_commit(group, at, Ended::Failed, error, true);
                continue;
            };
            next = next.min(group.commits.pending[at].deadline);
            let Some(node) = self.coordinator(group, now, out) else {
                at += 1;
                continue;
            };
            let Some(version) = self.net.version(node, ApiKey::OffsetCommit) else {
                self.end_commit(group, at, Ended::Failed, errors::name(errors::UNSUPPORTED_VERSION), true);
                continue;
            };
            let version = version.min(NEWEST);
            let commit = &mut group.commits.pending[at];
            let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
            for (source, offset, epoch) in &commit.offsets {
                let mut partition = OffsetCommitRequestPartition::default()
                    .with_partition_index(source.partition)
                    .with_committed_offset(offset.0)
                    .with_committed_metadata(Some(Default::default()));
                if version >= 6 {
                    partition.committed_leader_epoch = epoch.0;
                }
                let name = super::wire_name(&source.topic);
                topic_of(
                    &mut topics,
                    |t| t.name == name,
                    || OffsetCommitRequestTopic::default().with_name(name.clone()),
                )
                .partitions
                .push(partition);
            }
            let mut request = OffsetCommitRequest::default()
                .with_group_id(group.id.clone())
                .with_generation_id_or_member_epoch(generation)
                .with_member_id(member)
                .with_topics(topics);
            if version >= 7 {
                request.group_instance_id = group.instance.clone();
            }
            commit.in_flight = true;
            commit.identity = group.membership.counter();
            let tag = Tag::Group(GroupTag::Commit(commit.id));
            self.net.send_version(now, node, version, request, tag, out);
            at += 1;
        }
        next
    }

    /// The answer to an attempt will never come: it may have been written.
    pub(super) fn commit_lost(&mut self, group: &mut Group, now: Instant, id: u64) {
        if let Some(at) = group.commits.pending.iter().position(|c| c.id == id) {
            group.commits.pending[at].ambiguous = true;
            self.try_again(group, now, at, errors::name(errors::NETWORK_EXCEPTION), false);
        }
    }

    /// Another attempt after a pause, if the commit waits for one.
    fn try_again(&mut self, group: &mut Group, now: Instant, at: usize, error: &'static str, definite: bool) {
        let commit = &mut group.commits.pending[at];
        if Commits::tries_again(commit.trigger) && now < commit.deadline {
            commit.in_flight = false;
            commit.ambiguous |= !definite;
            commit.retry_at = now + self.retry.after(commit.failures, self.net.rng());
            commit.failures += 1;
        } else {
            self.end_commit(group, at, Ended::Retriable, error, definite);
        }
        self.dirty = true;
    }

    /// A commit failed for good.
    fn end_commit(&mut self, group: &mut Group, at: usize, how: Ended, error: &'static str, definite: bool) {
        let commit = group.commits.pending.remove(at);
        let outcome = if definite && !commit.ambiguous { Outcome::Fail } else { Outcome::Info };
        group.commits.ended = Some((commit.id, how));
        self.events.push_back(ConsumerEvent::Committed { id: commit.id, outcome, error: Some(error) });
        self.dirty = true;
    }

    pub(super) fn on_commit(
        &mut self,
        group: &mut Group,
        now: Instant,
        id: u64,
        answer: &OffsetCommitResponse,
        out: &mut Outbox,
    ) {
        let Some(at) = group.commits.pending.iter().position(|c| c.id == id && c.in_flight) else { return };
        self.dirty = true;
        let results = || answer.topics.iter().flat_map(|t| t.partitions.iter().map(|p| p.error_code));
        let Some(error) = results().find(|&e| e != errors::NONE) else {
            if results().count() == 0 {
                self.try_again(group, now, at, errors::name(errors::UNKNOWN_SERVER_ERROR), false);
                return;
            }
            let commit = group.commits.pending.remove(at);
            group.commits.ended = Some((commit.id, Ended::Ok));
            self.events.push_back(ConsumerEvent::Committed { id, outcome: Outcome::Ok, error: None });
            return;
        };
        // Some partitions may have been written where others were refused.
        let definite = results().all(is_definite);
        let (name, unchanged) = (errors::name(error), group.commits.pending[at].identity == group.membership.counter());
        match error {
            errors::COORDINATOR_LOAD_IN_PROGRESS | errors::UNKNOWN_TOPIC_OR_PARTITION => {
                self.try_again(group, now, at, name, definite);
            }
            errors::COORDINATOR_NOT_AVAILABLE | errors::NOT_COORDINATOR | errors::REQUEST_TIMED_OUT => {
                self.try_again(group, now, at, name, definite);
                self.forget_coordinator(group, now, out);
            }
            errors::STALE_MEMBER_EPOCH if group.membership.identity().is_some() => {
                // The member has got another epoch, or is about to.
                self.try_again(group, now, at, name, definite);
            }
            errors::REBALANCE_IN_PROGRESS => {
                group.membership.request_rejoin();
                self.end_commit(group, at, Ended::Failed, name, definite);
            }
            errors::UNKNOWN_MEMBER_ID | errors::ILLEGAL_GENERATION => {
                if unchanged {
                    group.membership.expelled(error == errors::ILLEGAL_GENERATION);
                }
                self.end_commit(group, at, Ended::Failed, name, definite);
            }
            errors::FENCED_INSTANCE_ID => {
                self.end_commit(group, at, Ended::Failed, name, definite);
                if unchanged {
                    self.give_up(group, name);
                }
            }
            _ => self.end_commit(group, at, Ended::Failed, name, definite),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_retry_of_a_different_kind_is_called_definite() {
        for error in [errors::NOT_COORDINATOR, errors::COORDINATOR_NOT_AVAILABLE, errors::REQUEST_TIMED_OUT, -1, 13] {
            assert!(!is_definite(error), "{error}");
        }
        for error in [errors::ILLEGAL_GENERATION, errors::UNKNOWN_MEMBER_ID, errors::FENCED_INSTANCE_ID] {
            assert!(is_definite(error), "{error}");
        }
    }
}
