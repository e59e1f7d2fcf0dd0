//! What a node says of itself: events that have just become true inside it.
//!
//! Invariants use these only for what cannot be seen from outside (a role, a high watermark); what a node sent,
//! received or wrote the world sees for itself, and a contradiction between the two is a violation.

use crate::disk::Path;
use crate::history::TopicPartition;
use crate::ids::*;
use crate::log::Finding;
use crate::node::ConnId;
use crate::record::schema::MetadataRecord;
use std::sync::Arc;

/// One event. The world adds time, host and node.
#[derive(Clone, PartialEq, Debug)]
pub enum TraceEvent {
    // --- the controller ---
    /// A controller leads the quorum in this epoch.
    ControllerActive {
        /// The quorum's epoch.
        epoch: LeaderEpoch,
    },
    /// The quorum's high watermark passed a metadata record. In offset order, no gaps but control records. Each
    /// incarnation of a controller begins at the log's start again: its high watermark passes the old records too.
    MetadataCommitted {
        /// Its offset in the metadata log.
        offset: Offset,
        /// The quorum epoch of its batch.
        epoch: LeaderEpoch,
        /// True for the last record of its atomic batch; judge state only there.
        batch_end: bool,
        /// The record.
        record: Arc<MetadataRecord>,
    },

    // --- a broker's life ---
    /// A broker's image of the cluster now holds everything below `offset`.
    MetadataApplied {
        /// Exclusive.
        offset: Offset,
        /// The epoch of the last record applied.
        epoch: LeaderEpoch,
    },
    /// The controller accepted this incarnation's registration.
    BrokerRegistered {
        /// Its epoch.
        epoch: BrokerEpoch,
        /// Whether the last shutdown was clean, as the broker found it.
        clean: bool,
    },
    /// The broker was told that it is unfenced (or fenced again).
    BrokerFenced {
        /// The new state.
        fenced: bool,
    },

    // --- a partition on a broker ---
    /// A log was loaded (or created) and may be used.
    LogLoaded {
        /// The partition.
        partition: TopicIdPartition,
        /// Its directory.
        dir: Path,
        /// First offset.
        log_start: Offset,
        /// One past the last.
        log_end: Offset,
        /// Whether recovery had to scan (no clean-shutdown marker).
        recovered: bool,
    },
    /// A replica took up a role.
    BecameLeader {
        /// The partition.
        partition: TopicIdPartition,
        /// Its leader epoch.
        epoch: LeaderEpoch,
        /// The partition epoch of the record that said so.
        partition_epoch: PartitionEpoch,
        /// The log end when it took up the role: the start of this epoch.
        epoch_start: Offset,
        /// The in-sync replicas it starts with.
        isr: Vec<NodeId>,
        /// The high watermark it starts with.
        high_watermark: Offset,
    },
    /// A replica took up the other role.
    BecameFollower {
        /// The partition.
        partition: TopicIdPartition,
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// The leader, or `NodeId::NONE`.
        leader: NodeId,
        /// The follower's log end.
        log_end: Offset,
    },
    /// A high watermark changed (either role; `leading` tells).
    HighWatermark {
        /// The partition.
        partition: TopicIdPartition,
        /// The epoch in which the replica leads or follows.
        epoch: LeaderEpoch,
        /// True at the leader.
        leading: bool,
        /// The new value.
        high_watermark: Offset,
        /// The replica's log end at that moment.
        log_end: Offset,
    },
    /// A log lost its tail.
    Truncated {
        /// The partition.
        partition: TopicIdPartition,
        /// The log end before.
        from: Offset,
        /// The log end after.
        to: Offset,
        /// Why.
        reason: TruncationReason,
    },
    /// A log's start moved up, in memory: fetches are answered by it from now on, whatever the disk is at.
    LogStart {
        /// The partition.
        partition: TopicIdPartition,
        /// The new start.
        log_start: Offset,
        /// Why.
        reason: LogStartReason,
    },
    /// A leader asked the controller for another ISR; until it hears, `maximal` counts.
    IsrProposed {
        /// The partition.
        partition: TopicIdPartition,
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// The ISR it asked for.
        isr: Vec<NodeId>,
        /// The union of old and new.
        maximal: Vec<NodeId>,
    },
    /// A leader works with this ISR now.
    IsrInstalled {
        /// The partition.
        partition: TopicIdPartition,
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// The version of the partition's state.
        partition_epoch: PartitionEpoch,
        /// The ISR.
        isr: Vec<NodeId>,
    },
    /// A leader decided to acknowledge a produce request with acks=all (the answer may leave later).
    AckDecided {
        /// The client's connection.
        conn: ConnId,
        /// The request.
        correlation: i32,
        /// The partition.
        partition: TopicIdPartition,
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// The first offset acknowledged.
        base: Offset,
        /// The last offset acknowledged.
        last: Offset,
        /// The leader's high watermark at the decision.
        high_watermark: Offset,
        /// The maximal ISR at the decision.
        maximal: Vec<NodeId>,
        /// A repeated batch, answered from the five-batch window without appending.
        duplicate: bool,
    },
    /// A producer's state was dropped from a partition (expired, truncated or below the log start).
    ProducerStateRemoved {
        /// The partition.
        partition: TopicIdPartition,
        /// Whose.
        producer: ProducerId,
    },
    /// A partition's replica was removed from this broker.
    LogDeleted {
        /// The partition.
        partition: TopicIdPartition,
    },

    // --- a group coordinator ---
    /// A broker has replayed a partition of `__consumer_offsets` and answers for its groups.
    CoordinatorLoaded {
        /// The partition of the offsets topic.
        partition: TopicIdPartition,
        /// The leader epoch in which it coordinates.
        epoch: LeaderEpoch,
        /// It replayed everything below.
        log_end: Offset,
        /// Groups found.
        groups: u32,
    },
    /// A broker does not coordinate a partition's groups any more; what it knew of them is gone.
    CoordinatorUnloaded {
        /// The partition of the offsets topic.
        partition: TopicIdPartition,
        /// The epoch in which it coordinated.
        epoch: LeaderEpoch,
    },
    /// A group's state changed. Live changes only: none are told while a log is replayed.
    GroupState {
        /// `group.id`.
        group: Arc<str>,
        /// The coordinator's leader epoch.
        epoch: LeaderEpoch,
        /// Generation (classic) or group epoch (KIP-848).
        generation: i32,
        /// Kafka's name of the state before.
        from: &'static str,
        /// Kafka's name of the state after.
        to: &'static str,
        /// Members now.
        members: u32,
        /// Why, in a few words.
        why: &'static str,
    },
    /// What a member owns, as its coordinator has it: classic, once per generation and member when the assignment is
    /// committed; KIP-848, whenever the member's current assignment changes and is committed.
    MemberAssignment {
        /// `group.id`.
        group: Arc<str>,
        /// The coordinator's leader epoch.
        epoch: LeaderEpoch,
        /// Whom.
        member: Arc<str>,
        /// `group.instance.id` of a static member.
        instance: Option<Arc<str>>,
        /// Generation (classic) or member epoch (KIP-848).
        generation: i32,
        /// Assigned.
        assigned: Vec<TopicPartition>,
        /// Being given up, and nobody else's yet (KIP-848).
        pending_revocation: Vec<TopicPartition>,
    },
    /// A member is gone.
    MemberRemoved {
        /// `group.id`.
        group: Arc<str>,
        /// The coordinator's leader epoch.
        epoch: LeaderEpoch,
        /// Who.
        member: Arc<str>,
        /// Why.
        reason: RemovalReason,
    },
    /// A committed offset took effect: its record is committed in the offsets topic.
    OffsetCommitted {
        /// `group.id`.
        group: Arc<str>,
        /// The partition of the offsets topic.
        partition: TopicIdPartition,
        /// The coordinator's leader epoch.
        epoch: LeaderEpoch,
        /// Whose offset.
        source: TopicPartition,
        /// None: it was deleted or has expired.
        offset: Option<Offset>,
        /// Where its record stands in the offsets topic.
        at: Offset,
    },

    // --- anywhere ---
    /// A start found a place of its disk not as an orderly end leaves it.
    Found {
        /// A partition's directory, or a file of the data directory.
        path: Path,
        /// What is wrong with it, and what became of it.
        what: Finding,
    },
    /// A situation that suites can demand to have been seen (a `sometimes` mark), in kebab-case.
    Mark {
        /// Its name.
        mark: &'static str,
    },
}

/// Why a log was truncated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TruncationReason {
    /// The leader's history differs from here on (KIP-101, KIP-279, or a diverging epoch in a Fetch answer).
    Divergence,
    /// Recovery found a torn or corrupt tail.
    Recovery,
    /// The follower's log lies wholly outside the leader's: it starts anew at the leader's log start.
    OutOfRange,
    /// To the follower's own high watermark, for want of a leader epoch to ask with (message formats before
    /// KIP-101, and the defect `hw-truncate-on-follow`).
    HighWatermark,
}

/// Why a log's start moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogStartReason {
    /// Deleted by `retention.bytes` or `retention.ms`.
    Retention,
    /// A DeleteRecords request.
    DeleteRecords,
    /// The follower followed its leader's log start.
    Leader,
}

/// Why a member left its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemovalReason {
    /// It said so.
    Left,
    /// `session.timeout.ms` (or `group.consumer.session.timeout.ms`) passed without a heartbeat.
    SessionExpired,
    /// It did not come to a rebalance in time, or did not give partitions up in time.
    RebalanceExpired,
    /// A static member with the same instance id took its place (KIP-345).
    Replaced,
    /// An administrator, or the group's own rules (`group.max.size`).
    Evicted,
}
