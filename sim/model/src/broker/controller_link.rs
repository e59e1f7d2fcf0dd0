//! The connections to the active controller: one each for the metadata log, the broker's life, AlterPartition, and
//! what is forwarded. A controller answers one request of a connection at a time, so a heartbeat must not wait
//! behind a topic being created. Follows Kafka's `NodeToControllerChannelManager`, of which a broker has as many.

use super::spec::BrokerSpec;
use crate::channel::{Channel, ChannelConfig};
use crate::ids::*;
use crate::node::{ConnId, Endpoint, Outbox};
use crate::units::{Duration, Instant};

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lane {
    /// Fetching the metadata log.
    Metadata,
    /// BrokerRegistration and BrokerHeartbeat.
    Lifecycle,
    /// AlterPartition.
    AlterPartition,
    /// Envelope and AllocateProducerIds.
    Forwarding,
}

impl Lane {
    /// Each of them.
    pub const ALL: [Lane; 4] = [Lane::Metadata, Lane::Lifecycle, Lane::AlterPartition, Lane::Forwarding];
}

/// What a request to the controller was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// A Fetch of the metadata log.
    Metadata,
    /// BrokerRegistration.
    Registration,
    /// BrokerHeartbeat.
    Heartbeat,
    /// AlterPartition.
    AlterPartition,
    /// AllocateProducerIds.
    ProducerIds,
    /// An Envelope, by the number of what is forwarded.
    Forwarded(u64),
}

/// Kafka's constant reconnect backoff of a channel to the controller.
const RECONNECT_BACKOFF: Duration = Duration::from_millis(50);
/// `socket.connection.setup.timeout.ms`.
pub(crate) const CONNECTION_SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// All of them.
#[derive(Debug)]
pub(crate) struct ControllerLink {
    controllers: Vec<(NodeId, Endpoint)>,
    active: usize,
    lanes: [Channel<Asked>; 4],
    config: ChannelConfig,
    /// The earliest of the lanes' deadlines, unless one was handed out since it was found: it is asked for on every input.
    due: Option<Instant>,
}

impl ControllerLink {
    /// Closed, and pointed at the first controller.
    pub fn new(spec: &BrokerSpec) -> ControllerLink {
        let config = ChannelConfig {
            request_timeout: spec.config.controller_socket_timeout,
            reconnect_backoff: RECONNECT_BACKOFF,
            reconnect_backoff_max: RECONNECT_BACKOFF,
            connection_setup_timeout: CONNECTION_SETUP_TIMEOUT,
            caps: spec.caps.clone(),
        };
        let to = spec.controllers.first().map_or_else(|| Endpoint::new("", 0), |(_, e)| e.clone());
        let lanes = Lane::ALL.map(|_| Channel::new(to.clone(), config.clone()));
        ControllerLink { controllers: spec.controllers.clone(), active: 0, lanes, config, due: None }
    }

    /// The connection for a purpose.
    pub fn lane(&mut self, lane: Lane) -> &mut Channel<Asked> {
        self.due = None;
        &mut self.lanes[lane as usize]
    }
    /// Says the next deadline to `out`.
    pub fn arm(&mut self, out: &mut Outbox) {
        let earliest = || self.lanes.iter().map(Channel::due).min().unwrap_or(Instant::MAX);
        out.wake_at(*self.due.get_or_insert_with(earliest));
    }
    /// For what a connection is, if it is one of these.
    pub fn lane_of(&self, conn: ConnId) -> Option<Lane> {
        Lane::ALL.into_iter().find(|&l| self.lanes[l as usize].conn() == Some(conn))
    }
    /// Another controller leads now. Returns what was asked of the old one and not answered; `None` if it is the one
    /// the connections lead to.
    pub fn follow(&mut self, leader: NodeId, now: Instant, out: &mut Outbox) -> Option<Vec<Asked>> {
        let index = self.controllers.iter().position(|(id, _)| *id == leader)?;
        self.point_at(index, now, out)
    }
    /// Nobody knows who leads: tries the next voter.
    pub fn try_next(&mut self, now: Instant, out: &mut Outbox) -> Option<Vec<Asked>> {
        let next = (self.active + 1) % self.controllers.len().max(1);
        self.point_at(next, now, out)
    }
    fn point_at(&mut self, index: usize, now: Instant, out: &mut Outbox) -> Option<Vec<Asked>> {
        if index == self.active {
            return None;
        }
        self.active = index;
        self.due = None;
        let mut lost = Vec::new();
        for channel in &mut self.lanes {
            lost.append(&mut channel.close(now, out));
            *channel = Channel::new(self.controllers[index].1.clone(), self.config.clone());
        }
        Some(lost)
    }
}
