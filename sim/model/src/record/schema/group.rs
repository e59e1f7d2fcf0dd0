//! The records of `__consumer_offsets` (Kafka's `group-coordinator/src/main/resources/common/message/*.json`).
//!
//! Each is a key and a value; a key without a value (a tombstone) takes back what earlier records under it said.

use crate::ids::*;
use bytes::Bytes;

/// A partition by topic id and index lists, as KIP-848 records have them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TopicPartitions {
    /// The topic.
    pub topic: TopicId,
    /// Its partitions, ascending.
    pub partitions: Vec<i32>,
}

/// One record: what is said under which key. `None` takes it back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupRecord {
    /// A group's offset of one partition (key version 1).
    OffsetCommit {
        /// `group.id`.
        group: String,
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// The commit.
        value: Option<OffsetCommitValue>,
    },
    /// A classic group (key version 2).
    GroupMetadata {
        /// `group.id`.
        group: String,
        /// Its generation.
        value: Option<GroupMetadataValue>,
    },
    /// A KIP-848 group's epoch (key version 3).
    ConsumerGroupMetadata {
        /// `group.id`.
        group: String,
        /// The epoch.
        value: Option<ConsumerGroupMetadataValue>,
    },
    /// A KIP-848 member (key version 5).
    ConsumerGroupMember {
        /// `group.id`.
        group: String,
        /// The member.
        member: String,
        /// What it said of itself.
        value: Option<ConsumerGroupMemberValue>,
    },
    /// The epoch of a KIP-848 group's target assignment (key version 6).
    TargetAssignmentMetadata {
        /// `group.id`.
        group: String,
        /// The epoch.
        value: Option<i32>,
    },
    /// One member's part of the target assignment (key version 7).
    TargetAssignmentMember {
        /// `group.id`.
        group: String,
        /// The member.
        member: String,
        /// Its part.
        value: Option<Vec<TopicPartitions>>,
    },
    /// What a KIP-848 member has now (key version 8).
    CurrentMemberAssignment {
        /// `group.id`.
        group: String,
        /// The member.
        member: String,
        /// What it has.
        value: Option<CurrentMemberAssignmentValue>,
    },
}

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommitValue {
    /// The next offset to be read.
    pub offset: Offset,
    /// The epoch of the record before, or none (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// The application's own note.
    pub metadata: String,
    /// Broker time at the commit, milliseconds.
    pub commit_timestamp: i64,
    /// When it expires, from clients that still send a retention time; -1: as `offsets.retention.minutes` says.
    pub expire_timestamp: i64,
    /// The topic's id, if the coordinator knew it (KIP-848 clients).
    pub topic_id: TopicId,
}

/// A classic group's generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupMetadataValue {
    /// `consumer`, `connect`, ...
    pub protocol_type: String,
    /// Its generation.
    pub generation: i32,
    /// The assignor all members know.
    pub protocol: Option<String>,
    /// The leader's member id.
    pub leader: Option<String>,
    /// When the group took its state, milliseconds; -1 unknown.
    pub current_state_timestamp: i64,
    /// Members.
    pub members: Vec<GroupMemberValue>,
}

/// A classic member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupMemberValue {
    /// Its id.
    pub member_id: String,
    /// `group.instance.id`.
    pub group_instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// Milliseconds.
    pub rebalance_timeout: i32,
    /// Milliseconds.
    pub session_timeout: i32,
    /// The embedded consumer protocol's subscription.
    pub subscription: Bytes,
    /// The embedded consumer protocol's assignment.
    pub assignment: Bytes,
}

/// A KIP-848 group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerGroupMetadataValue {
    /// The group epoch.
    pub epoch: i32,
    /// A hash of what the group knows of its topics (KIP-1101).
    pub metadata_hash: i64,
}

/// What a KIP-848 member said of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerGroupMemberValue {
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// `client.rack`.
    pub rack_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// Topic names, ascending.
    pub subscribed_topic_names: Vec<String>,
    /// Milliseconds.
    pub rebalance_timeout: i32,
    /// `group.remote.assignor`.
    pub server_assignor: Option<String>,
}

/// What a KIP-848 member has now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CurrentMemberAssignmentValue {
    /// Its member epoch.
    pub member_epoch: i32,
    /// The one before.
    pub previous_member_epoch: i32,
    /// 1 stable, 2 unrevoked partitions, 3 unreleased partitions (Kafka: `MemberState`).
    pub state: i8,
    /// Its partitions.
    pub assigned: Vec<TopicPartitions>,
    /// Those it has to give up first.
    pub pending_revocation: Vec<TopicPartitions>,
}
