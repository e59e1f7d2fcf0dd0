//! What a node says of itself: events that have just become true inside it.
//!
//! Invariants use these only for what cannot be seen from outside (a role, a high watermark); what a node sent,
//! received or wrote the world sees for itself, and a contradiction between the two is a violation.

use crate::disk::Path;
use crate::ids::*;
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
    /// A log's start moved up.
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

    // --- anywhere ---
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
