//! What a broker is told before it starts.

use crate::config::BrokerConfig;
use crate::defects::Defects;
use crate::ids::*;
use crate::node::Endpoint;
use crate::versions::VersionCaps;

/// How followers find out where their log diverges from the leader's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truncation {
    /// By the diverging epoch in a Fetch answer (Kafka 2.7 and later, KIP-595).
    Fetch,
    /// By OffsetForLeaderEpoch requests before fetching (KIP-101, KIP-279).
    OffsetForLeaderEpoch,
}

/// A broker's identity and surroundings; survives its incarnations.
#[derive(Clone, Debug)]
pub struct BrokerSpec {
    /// `node.id`.
    pub id: NodeId,
    /// `server.properties`.
    pub config: BrokerConfig,
    /// Where it tells clients to connect (`advertised.listeners`).
    pub client: Endpoint,
    /// Where it tells other brokers to connect.
    pub inter_broker: Endpoint,
    /// `controller.quorum.voters`.
    pub controllers: Vec<(NodeId, Endpoint)>,
    /// The era of follower truncation.
    pub truncation: Truncation,
    /// Published bugs switched on.
    pub defects: Defects,
    /// The highest versions it admits to.
    pub caps: VersionCaps,
    /// The cluster's id.
    pub cluster_id: Uuid,
    /// The id of its log directory, written into `meta.properties` when that is missing.
    pub dir_id: Uuid,
}
