//! A node's own account of its state, taken at the ends of phases and compared with what the world knows.

use crate::disk::Path;
use crate::ids::*;
use std::collections::BTreeMap;

/// What a node says its state is.
#[derive(Clone, PartialEq, Debug)]
pub enum Inspection {
    /// A broker.
    Broker(BrokerInspection),
    /// A controller.
    Controller(ControllerInspection),
    /// A client application.
    Client(ClientInspection),
}

/// A broker's account.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BrokerInspection {
    /// Its id.
    pub id: NodeId,
    /// Its epoch, once registered.
    pub epoch: Option<BrokerEpoch>,
    /// Whether it takes part.
    pub unfenced: bool,
    /// Its image holds everything below this offset.
    pub metadata_applied: Offset,
    /// A digest of its image; equal images at one offset have equal digests.
    pub image_digest: u64,
    /// Its replicas.
    pub partitions: Vec<PartitionInspection>,
}

/// A replica's account.
#[derive(Clone, PartialEq, Debug)]
pub struct PartitionInspection {
    /// The partition.
    pub partition: TopicIdPartition,
    /// Its topic's name.
    pub topic: String,
    /// Its directory.
    pub dir: Path,
    /// The leader it knows.
    pub leader: NodeId,
    /// The leader epoch it knows.
    pub leader_epoch: LeaderEpoch,
    /// The version of the partition's state it knows.
    pub partition_epoch: PartitionEpoch,
    /// The in-sync replicas it knows.
    pub isr: Vec<NodeId>,
    /// Its high watermark.
    pub high_watermark: Offset,
    /// First offset.
    pub log_start: Offset,
    /// One past the last.
    pub log_end: Offset,
    /// (epoch, start offset), ascending.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// Idempotent producers' state.
    pub producers: BTreeMap<ProducerId, ProducerInspection>,
}

/// One producer's state at one partition: the projection that replay must reproduce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerInspection {
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The last sequence appended, -1 if none.
    pub last_sequence: Sequence,
    /// The last offset appended.
    pub last_offset: Offset,
}

/// A controller's account.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ControllerInspection {
    /// Its id.
    pub id: NodeId,
    /// Whether it leads the quorum.
    pub active: bool,
    /// The quorum's epoch.
    pub epoch: LeaderEpoch,
    /// Committed and applied: everything below this offset.
    pub committed: Offset,
    /// A digest of its state, comparable with the brokers' `image_digest` at the same offset.
    pub image_digest: u64,
    /// Registered brokers: (id, epoch, fenced, in controlled shutdown).
    pub brokers: Vec<(NodeId, BrokerEpoch, bool, bool)>,
    /// Every partition as the controller has it.
    pub partitions: Vec<ControllerPartition>,
}

/// A partition as the controller has it.
#[derive(Clone, PartialEq, Debug)]
pub struct ControllerPartition {
    /// The partition.
    pub partition: TopicIdPartition,
    /// Its topic's name.
    pub topic: String,
    /// Where it lives.
    pub replicas: Vec<NodeId>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<NodeId>,
    /// The leader, or `NodeId::NONE`.
    pub leader: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// The version of this state.
    pub partition_epoch: PartitionEpoch,
}

/// A client application's account.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClientInspection {
    /// Sends handed over and not yet resolved.
    pub pending_sends: u64,
    /// Partitions read, with the next offset.
    pub positions: BTreeMap<(String, i32), Offset>,
    /// True once the application has done all it was asked to do.
    pub done: bool,
}
