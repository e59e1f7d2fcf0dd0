//! Identities. One type each, so that an epoch is never compared with an offset.

use std::fmt;

pub use kafka_protocol::messages::{ApiKey, TopicName};
pub use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(/// A broker's or controller's `node.id`; -1 stands for "none" or "a client" in Kafka's messages.
    NodeId(i32));
id!(/// A partition leader's epoch (KIP-101); raised by each election.
    LeaderEpoch(i32));
id!(/// The version of a partition's state in the controller; raised by every change (AlterPartition).
    PartitionEpoch(i32));
id!(/// Issued at each broker registration (KIP-631): the offset of its record in the metadata log.
    BrokerEpoch(i64));
id!(/// A record's place in its partition's log.
    Offset(i64));
id!(/// An idempotent producer's identity (KIP-98).
    ProducerId(i64));
id!(/// A producer's epoch; a higher one fences a lower one.
    ProducerEpoch(i16));
id!(/// The position of a record in one producer's stream to one partition; 2^31-1 wraps to 0.
    Sequence(i32));
id!(/// How often a node's process has been started, from 1.
    Incarnation(u32));
id!(/// One client application of a run.
    ClientId(u32));

impl NodeId {
    /// "No node", as in Kafka's messages.
    pub const NONE: NodeId = NodeId(-1);
}
impl LeaderEpoch {
    /// "Unknown epoch" in Kafka's messages.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}
impl Offset {
    /// "No offset" in Kafka's messages.
    pub const NONE: Offset = Offset(-1);
    /// The offset `n` records on.
    #[must_use]
    pub const fn plus(self, n: i64) -> Offset {
        Offset(self.0 + n)
    }
}
impl ProducerId {
    /// "Not idempotent".
    pub const NONE: ProducerId = ProducerId(-1);
}
impl Sequence {
    /// The sequence `n` records on, wrapping past 2^31-1 to 0 as Kafka's `DefaultRecordBatch.incrementSequence`.
    #[must_use]
    pub const fn plus(self, n: i32) -> Sequence {
        if self.0 > i32::MAX - n { Sequence(n - (i32::MAX - self.0) - 1) } else { Sequence(self.0 + n) }
    }
}

/// A topic's id (KIP-516): a topic deleted and created again under its name is another topic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TopicId(pub Uuid);

// As its bytes, but compared as one number: partitions are looked up by it all the time.
impl Ord for TopicId {
    #[inline]
    fn cmp(&self, other: &TopicId) -> std::cmp::Ordering {
        self.0.as_u128().cmp(&other.0.as_u128())
    }
}
impl PartialOrd for TopicId {
    #[inline]
    fn partial_cmp(&self, other: &TopicId) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl TopicId {
    /// The id of `__cluster_metadata`, fixed by KIP-595.
    pub const METADATA: TopicId = TopicId(Uuid::from_u128(1));
    /// "No topic".
    pub const ZERO: TopicId = TopicId(Uuid::nil());
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

/// The name of the metadata log's topic.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// The name of the topic that keeps groups and their offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A partition by topic id: small, `Copy`, and safe against topics that are created again under one name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct TopicIdPartition {
    /// The topic's id.
    pub topic: TopicId,
    /// The partition's index, from 0.
    pub partition: i32,
}

impl TopicIdPartition {
    /// The metadata log.
    pub const METADATA: TopicIdPartition = TopicIdPartition { topic: TopicId::METADATA, partition: 0 };
}
