//! A node's own account of its state, taken at the ends of phases and compared with what the world knows.

use crate::disk::Path;
use crate::ids::*;
use crate::log::Recovered;
use crate::node::Endpoint;
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

impl Inspection {
    /// What a broker's or a controller's start found on its disk.
    pub fn recovered(&self) -> Option<Recovered> {
        match self {
            Inspection::Broker(broker) => Some(broker.recovered),
            Inspection::Controller(controller) => Some(controller.recovered),
            Inspection::Client(_) => None,
        }
    }
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
    /// The partitions of `__consumer_offsets` it coordinates, and what it knows of their groups.
    pub coordinated: Vec<CoordinatorInspection>,
    /// What its start found on its disk.
    pub recovered: Recovered,
}

/// A group coordinator's account of one partition of the offsets topic.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CoordinatorInspection {
    /// The partition.
    pub partition: TopicIdPartition,
    /// The leader epoch in which it coordinates.
    pub epoch: LeaderEpoch,
    /// Every record below is committed and part of this account.
    pub committed: Offset,
    /// Nothing is being written: the account can be compared with a replay of the log up to `committed`.
    pub quiet: bool,
    /// Its groups, by id.
    pub groups: BTreeMap<String, GroupInspection>,
}

/// A group, as far as a replay of its records must reproduce it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupInspection {
    /// Kafka's name of its state: `Empty`, `PreparingRebalance`, `Assigning`, `Stable`, ...
    pub state: &'static str,
    /// `classic` or `consumer`; empty for a group that has only offsets.
    pub kind: &'static str,
    /// Generation or group epoch.
    pub generation: i32,
    /// Members by id.
    pub members: BTreeMap<String, MemberInspection>,
    /// Committed offsets by topic and partition.
    pub offsets: BTreeMap<(String, i32), Offset>,
}

/// A group member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemberInspection {
    /// `group.instance.id`.
    pub instance: Option<String>,
    /// Generation or member epoch.
    pub epoch: i32,
    /// What it owns, by topic and partition, ascending.
    pub assigned: Vec<(String, i32)>,
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
    /// What its start found on its disk.
    pub recovered: Recovered,
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
    /// Partitions read of which the next offset is not known (yet).
    pub unplaced: u64,
    /// True once the application has done all it was asked to do.
    pub done: bool,
    /// Its membership, if it is in a group.
    pub member: Option<MembershipInspection>,
    /// How each client library that it embeds stands to the cluster.
    pub reach: Vec<ReachInspection>,
}

/// What a client library knows of the way to the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReachInspection {
    /// The addresses that it may still try, each once, ascending.
    pub addresses: Vec<Endpoint>,
    /// It needs newer metadata than it has, and has not got it.
    pub awaits_metadata: bool,
}

/// What a client knows of its own membership.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MembershipInspection {
    /// `group.id`.
    pub group: String,
    /// Its member id, empty while it has none.
    pub member: String,
    /// Generation or member epoch.
    pub generation: i32,
    /// What it owns, ascending.
    pub owned: Vec<(String, i32)>,
    /// Commits under way.
    pub pending_commits: usize,
}
