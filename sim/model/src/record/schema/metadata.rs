//! The records of `__cluster_metadata` (KIP-631; Kafka's `metadata/src/main/resources/common/metadata/*.json`).

use crate::ids::*;

/// A broker's listener as registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerEndpoint {
    /// Listener name: `CLIENT` or `BROKER`.
    pub name: String,
    /// Host name.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A broker came up with a new incarnation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterBrokerRecord {
    /// Its id.
    pub broker_id: NodeId,
    /// The process's own id.
    pub incarnation_id: Uuid,
    /// The offset of this record.
    pub broker_epoch: BrokerEpoch,
    /// Where it listens.
    pub endpoints: Vec<BrokerEndpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Fenced until its heartbeats show that it has caught up.
    pub fenced: bool,
    /// In controlled shutdown.
    pub in_controlled_shutdown: bool,
    /// Its log directories' ids.
    pub log_dirs: Vec<Uuid>,
}

/// A broker's state changed. `None`: unchanged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerRegistrationChangeRecord {
    /// Its id.
    pub broker_id: NodeId,
    /// Its epoch.
    pub broker_epoch: BrokerEpoch,
    /// Fenced now, or unfenced now.
    pub fenced: Option<bool>,
    /// Has entered controlled shutdown.
    pub in_controlled_shutdown: Option<bool>,
}

/// A partition was created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionRecord {
    /// The partition.
    pub partition: TopicIdPartition,
    /// Where it lives, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// The leader.
    pub leader: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// The version of this state.
    pub partition_epoch: PartitionEpoch,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<NodeId>,
    /// The last known members of the former.
    pub last_known_elr: Vec<NodeId>,
}

/// A partition changed. `None`: unchanged. A leader given, even the same one, raises the leader epoch; every
/// change raises the partition epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionChangeRecord {
    /// The partition.
    pub partition: TopicIdPartition,
    /// In-sync replicas.
    pub isr: Option<Vec<NodeId>>,
    /// The leader, `NodeId::NONE` if there is none any more.
    pub leader: Option<NodeId>,
    /// Where it lives.
    pub replicas: Option<Vec<NodeId>>,
    /// 0: recovered, 1: recovering after an unclean election.
    pub leader_recovery_state: Option<i8>,
    /// Eligible leader replicas.
    pub elr: Option<Vec<NodeId>>,
    /// The last known members of the former.
    pub last_known_elr: Option<Vec<NodeId>>,
}

impl PartitionChangeRecord {
    /// One that changes nothing yet.
    pub fn of(partition: TopicIdPartition) -> PartitionChangeRecord {
        PartitionChangeRecord {
            partition,
            isr: None,
            leader: None,
            replicas: None,
            leader_recovery_state: None,
            elr: None,
            last_known_elr: None,
        }
    }
}

/// One record of the metadata log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataRecord {
    /// A broker came up.
    RegisterBroker(RegisterBrokerRecord),
    /// A broker is gone for good.
    UnregisterBroker {
        /// Its id.
        broker_id: NodeId,
        /// Its epoch.
        broker_epoch: BrokerEpoch,
    },
    /// A broker was fenced or unfenced, or is shutting down.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    /// A topic was created.
    Topic {
        /// Its name.
        name: String,
        /// Its id.
        topic_id: TopicId,
    },
    /// A topic was deleted.
    RemoveTopic {
        /// Its id.
        topic_id: TopicId,
    },
    /// A partition was created.
    Partition(PartitionRecord),
    /// A partition changed.
    PartitionChange(PartitionChangeRecord),
    /// A topic's or broker's configuration key changed; no value: removed.
    Config {
        /// 2: a topic, 4: a broker.
        resource_type: i8,
        /// Its name.
        resource_name: String,
        /// The key.
        name: String,
        /// The value.
        value: Option<String>,
    },
    /// Producer ids below `next_producer_id` are given away.
    ProducerIds {
        /// To whom the last block went.
        broker_id: NodeId,
        /// Its epoch.
        broker_epoch: BrokerEpoch,
        /// The first free one.
        next_producer_id: i64,
    },
    /// A feature's level was set (KIP-584), such as `metadata.version` or `eligible.leader.replicas.version`.
    FeatureLevel {
        /// Its name.
        name: String,
        /// Its level.
        level: i16,
    },
    /// Nothing; keeps the log moving.
    NoOp,
}
