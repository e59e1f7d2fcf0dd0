//! KIP-848 groups: the coordinator assigns, and brings each member to its part step by step. Follows Kafka's
//! `ConsumerGroup` and the consumer part of `GroupMetadataManager`.
//!
//! Three epochs: the *group's* rises with every change of members, subscriptions or topics; the *target assignment* has
//! that of the group it was made for; a *member* takes over the target's when it has given up what it has to. A partition
//! is given to a member only after the one before it has said that it does not use it any more, whatever the targets in
//! between were.
//!
//! All state is the sum of its records. Timers are not: they begin anew with each coordinator. Groups are not turned into
//! classic ones or back while they have members (`group.consumer.migration.policy=disabled`).
//!
//! The rooms, in reading order: here, a group, its members and who holds what; [`replay`]: records; [`reconcile`]: a
//! member's next step; [`target`]: who should have what; [`heartbeat`]; [`leave`]: leaving, and being put out; [`describe`].

mod describe;
pub(super) mod heartbeat;
mod leave;
mod reconcile;
mod replay;
mod target;

use super::Session;
use super::assignor::Partitions;
use crate::controller::image::Image;
use crate::history::TopicPartition;
use crate::ids::*;
use crate::record::schema::{ConsumerGroupMemberValue, CurrentMemberAssignmentValue, TopicPartitions};
use crate::timers::TimerKey;
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A member that has left, or was put out.
pub(super) const LEFT: i32 = -1;
/// A static member that is away for a while.
pub(super) const LEFT_FOR_NOW: i32 = -2;

/// Kafka's `MemberState`.
pub(super) const STABLE: i8 = 1;
pub(super) const UNREVOKED: i8 = 2;
pub(super) const UNRELEASED: i8 = 3;

/// One member.
#[derive(Clone, Debug)]
pub(in crate::broker::group) struct Member {
    /// Its id.
    pub id: Arc<str>,
    /// What it said of itself.
    pub said: ConsumerGroupMemberValue,
    /// Its epoch.
    pub epoch: i32,
    /// The one before, with which it may come again if an answer was lost.
    pub previous_epoch: i32,
    /// Stable, unrevoked or unreleased.
    pub state: i8,
    /// Its partitions.
    pub assigned: Partitions,
    /// Those it has to give up first.
    pub pending: Partitions,
    /// When it has been silent for too long.
    pub session: Session,
    /// When it should have given up what it has to.
    pub rebalance: Option<TimerKey>,
}

impl Member {
    fn new(id: Arc<str>) -> Member {
        let said = ConsumerGroupMemberValue {
            instance_id: None,
            rack_id: None,
            client_id: UNKNOWN_CLIENT.to_owned(),
            client_host: UNKNOWN_CLIENT.to_owned(),
            subscribed_topic_names: Vec::new(),
            rebalance_timeout: -1,
            server_assignor: None,
        };
        Member {
            id,
            said,
            epoch: 0,
            previous_epoch: LEFT,
            state: STABLE,
            assigned: Partitions::new(),
            pending: Partitions::new(),
            session: Session::default(),
            rebalance: None,
        }
    }
    fn is_reconciled_to(&self, target: i32) -> bool {
        self.state == STABLE && self.epoch == target
    }
    fn holds(&self, topic: TopicId, partition: i32) -> bool {
        let has = |of: &Partitions| of.get(&topic).is_some_and(|p| p.contains(&partition));
        has(&self.assigned) || has(&self.pending)
    }
    fn held(&self) -> impl Iterator<Item = (TopicId, i32)> + '_ {
        let all = self.assigned.iter().chain(&self.pending);
        all.flat_map(|(&topic, partitions)| partitions.iter().map(move |&p| (topic, p)))
    }
    fn current(&self) -> CurrentMemberAssignmentValue {
        CurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state,
            assigned: to_record(&self.assigned),
            pending_revocation: to_record(&self.pending),
        }
    }
}

/// What stands for a client's id and address: a node is not told either.
const UNKNOWN_CLIENT: &str = "unknown";

/// One group.
#[derive(Debug)]
pub(in crate::broker::group) struct ConsumerGroup {
    /// `group.id`.
    pub id: Arc<str>,
    /// The group's epoch.
    pub epoch: i32,
    /// What it knew of its topics when it took that.
    pub metadata_hash: i64,
    /// The epoch of the target assignment.
    pub target_epoch: i32,
    /// Members by id.
    pub members: BTreeMap<Arc<str>, Member>,
    /// Static members: instance id to member id.
    statics: BTreeMap<String, Arc<str>>,
    /// Who should have what.
    target: BTreeMap<Arc<str>, Partitions>,
    /// Who has what, or has not given it up yet: each partition with its holder. Nobody else is given it.
    holders: BTreeMap<(TopicId, i32), Arc<str>>,
    /// Members that are not where the target wants them.
    unreconciled: BTreeSet<Arc<str>>,
    /// How many members subscribe to each topic.
    subscribers: BTreeMap<String, usize>,
    /// The metadata, by the broker's count of changes, in which it last looked at its topics.
    seen_metadata: u64,
}

impl ConsumerGroup {
    /// Without members.
    pub fn new(id: Arc<str>) -> ConsumerGroup {
        ConsumerGroup {
            id,
            epoch: 0,
            metadata_hash: 0,
            target_epoch: 0,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            target: BTreeMap::new(),
            holders: BTreeMap::new(),
            unreconciled: BTreeSet::new(),
            subscribers: BTreeMap::new(),
            seen_metadata: 0,
        }
    }
    /// Its topics are as they were at that count of the broker's changes of metadata.
    pub fn has_seen(&mut self, metadata_version: u64) {
        self.seen_metadata = metadata_version;
    }
    /// Kafka's name of its state.
    pub fn state(&self) -> &'static str {
        match () {
            () if self.members.is_empty() => "Empty",
            () if self.epoch > self.target_epoch => "Assigning",
            () if !self.unreconciled.is_empty() => "Reconciling",
            () => "Stable",
        }
    }
    /// Whether somebody subscribes to a topic.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribers.contains_key(topic)
    }

    /// Whether offsets may be committed by whoever says it is `member` in `epoch`.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`; `UNSUPPORTED_VERSION`, from clients that know no member epochs.
    pub fn check_commit(&self, knows_epochs: bool, member: &str, epoch: i32) -> Result<(), ResponseError> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member).ok_or(ResponseError::UnknownMemberId)?;
        if !knows_epochs {
            return Err(ResponseError::UnsupportedVersion);
        }
        if member.epoch == epoch { Ok(()) } else { Err(ResponseError::StaleMemberEpoch) }
    }
    /// Whether offsets may be fetched by whoever says it is `member` in `epoch`.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`.
    pub fn check_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ResponseError> {
        let Some(member) = member else {
            return if epoch < 0 { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        };
        let member = self.members.get(member).ok_or(ResponseError::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(ResponseError::StaleMemberEpoch) }
    }
}

/// By topic name and partition, ascending; topics that are gone have no name.
pub(super) fn named(partitions: &Partitions, image: &Image) -> Vec<TopicPartition> {
    let mut named = Vec::new();
    for (topic, partitions) in partitions {
        let Some(name) = image.topic_name(*topic) else { continue };
        let topic: Arc<str> = Arc::from(name);
        named.extend(partitions.iter().map(|&partition| TopicPartition { topic: topic.clone(), partition }));
    }
    named.sort_unstable();
    named
}

/// As records have them.
fn to_record(partitions: &Partitions) -> Vec<TopicPartitions> {
    let topic =
        |(&topic, p): (&TopicId, &BTreeSet<i32>)| TopicPartitions { topic, partitions: p.iter().copied().collect() };
    partitions.iter().map(topic).collect()
}

/// From a record.
fn from_record(topics: &[TopicPartitions]) -> Partitions {
    let mut partitions = Partitions::new();
    for t in topics.iter().filter(|t| !t.partitions.is_empty()) {
        partitions.entry(t.topic).or_default().extend(t.partitions.iter().copied());
    }
    partitions
}
