//! What a controller is told before it starts.

use crate::config::BrokerConfig;
use crate::defects::Defects;
use crate::ids::*;
use crate::node::Endpoint;
use crate::versions::VersionCaps;

/// A controller's identity and surroundings; survives its incarnations.
#[derive(Clone, Debug)]
pub struct ControllerSpec {
    /// `node.id`.
    pub id: NodeId,
    /// `server.properties`; topics without settings of their own follow it.
    pub config: BrokerConfig,
    /// The cluster's id.
    pub cluster_id: Uuid,
    /// The id of its directory, written into `meta.properties` when that has none.
    pub dir_id: Uuid,
    /// Whether a broker keeps its data on the same disk: this node's `meta.properties` then lies with the metadata log (as
    /// with Kafka's `metadata.log.dir`), and otherwise at the top.
    pub shares_disk: bool,
    /// `controller.quorum.voters`, this node among them.
    pub voters: Vec<(NodeId, Endpoint)>,
    /// Whether a new cluster keeps eligible leader replicas (KIP-966). An old one keeps what it has.
    pub elr: bool,
    /// Published bugs switched on.
    pub defects: Defects,
    /// The highest versions it admits to.
    pub caps: VersionCaps,
}
