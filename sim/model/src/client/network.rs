//! The connections of one client: one channel for each broker it has dealt with, and those to the bootstrap
//! addresses.
//!
//! Routes inputs by connection, picks the least loaded node, opens connections when they are first needed. It never
//! decides what is sent. Follows Kafka's `NetworkClient`; idle connections are not closed.

use crate::channel::{Channel, ChannelConfig, ChannelEvent, LostReason};
use crate::ids::{ApiKey, NodeId};
use crate::node::{ConnId, Endpoint, Input, Outbox};
use crate::units::{Duration, Instant, Now};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What came of a client's requests; see [`ChannelEvent`].
#[derive(Debug)]
pub enum NetworkEvent<T> {
    /// A connection can be used.
    Ready {
        /// To whom.
        node: NodeId,
    },
    /// An answer.
    Response {
        /// From whom.
        node: NodeId,
        /// What was attached to the request.
        tag: T,
        /// The version of both.
        version: i16,
        /// The answer.
        response: Box<ResponseKind>,
    },
    /// A connection is gone, and with it the answers to these requests.
    Lost {
        /// To whom.
        node: NodeId,
        /// What was attached to the requests, in order of sending.
        tags: Vec<T>,
        /// Why.
        reason: LostReason,
    },
}

#[derive(Debug)]
struct Link<T> {
    node: NodeId,
    channel: Channel<T>,
    /// When a connection was last asked for; the node that was left alone longest is tried first.
    tried: Instant,
    /// Named by the latest metadata (or a bootstrap address).
    current: bool,
}

/// A client's connections. `T` is attached to each request.
#[derive(Debug)]
pub struct Network<T> {
    links: Vec<Link<T>>,
    config: ChannelConfig,
    rng: ChaCha8Rng,
    max_in_flight: usize,
}

/// Bootstrap addresses have node ids that no broker has.
fn is_bootstrap(node: NodeId) -> bool {
    node < NodeId::NONE
}

impl<T> Network<T> {
    /// Connects to nobody yet.
    pub fn new(config: ChannelConfig, bootstrap: Vec<Endpoint>, max_in_flight: usize) -> Network<T> {
        let links = bootstrap
            .into_iter()
            .enumerate()
            .map(|(i, endpoint)| Link {
                node: NodeId(-2 - i as i32),
                channel: Channel::new(endpoint, config.clone()),
                tried: Instant::ZERO,
                current: true,
            })
            .collect();
        Network { links, config, rng: ChaCha8Rng::seed_from_u64(0), max_in_flight }
    }

    /// Gives it its own stream of randomness.
    pub fn start(&mut self, rng: ChaCha8Rng) {
        self.rng = rng;
    }
    /// The client's stream of randomness, for jitter and choices.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    fn link(&mut self, node: NodeId) -> Option<&mut Link<T>> {
        self.links.iter_mut().find(|l| l.node == node)
    }
    fn by_conn(&mut self, conn: ConnId) -> Option<&mut Link<T>> {
        self.links.iter_mut().find(|l| l.channel.conn() == Some(conn))
    }

    /// Whether `node` has an address.
    pub fn knows(&self, node: NodeId) -> bool {
        self.links.iter().any(|l| l.node == node)
    }

    /// Adds a broker, or follows it to a new address; requests under way to the old one are returned as lost.
    pub fn set_broker(
        &mut self,
        now: Instant,
        node: NodeId,
        endpoint: Endpoint,
        out: &mut Outbox,
    ) -> Option<NetworkEvent<T>> {
        let config = self.config.clone();
        let Some(link) = self.link(node) else {
            let channel = Channel::new(endpoint, config);
            self.links.push(Link { node, channel, tried: Instant::ZERO, current: true });
            return None;
        };
        link.current = true;
        if *link.channel.endpoint() == endpoint {
            return None;
        }
        let tags = link.channel.close(now, out);
        link.channel = Channel::new(endpoint, config);
        let reason = LostReason::Disconnected(crate::node::DisconnectReason::Closed);
        (!tags.is_empty()).then_some(NetworkEvent::Lost { node, tags, reason })
    }

    /// Adds or moves a connection that serves one purpose only: what any node can answer is not asked over it. Returns
    /// what was attached to requests under way to an old address.
    pub fn set_apart(&mut self, now: Instant, node: NodeId, endpoint: Endpoint, out: &mut Outbox) -> Vec<T> {
        let config = self.config.clone();
        match self.link(node) {
            Some(link) if *link.channel.endpoint() == endpoint => Vec::new(),
            Some(link) => {
                let tags = link.channel.close(now, out);
                link.channel = Channel::new(endpoint, config);
                tags
            }
            None => {
                let channel = Channel::new(endpoint, config);
                self.links.push(Link { node, channel, tried: Instant::ZERO, current: false });
                Vec::new()
            }
        }
    }

    /// Closes the connection to `node`; returns what was attached to the requests under way.
    pub fn disconnect(&mut self, now: Instant, node: NodeId, out: &mut Outbox) -> Vec<T> {
        self.link(node).map_or_else(Vec::new, |link| link.channel.close(now, out))
    }

    /// Before a full list of brokers is given by [`Network::set_broker`].
    pub fn forget_brokers(&mut self) {
        for link in &mut self.links {
            link.current = is_bootstrap(link.node);
        }
    }

    /// No address is to be tried any more, those of the bootstrap servers included.
    pub fn forget_addresses(&mut self) {
        self.links.iter_mut().for_each(|link| link.current = false);
    }

    /// The addresses at which any node may be asked: the brokers of the latest metadata, and the bootstrap servers.
    pub fn addresses(&self) -> impl Iterator<Item = &Endpoint> {
        self.links.iter().filter(|link| link.current).map(|link| link.channel.endpoint())
    }

    /// Opens a connection if there is none. Returns whether a request can be sent now, as far as the connection is
    /// concerned.
    pub fn connect(&mut self, now: Instant, node: NodeId, out: &mut Outbox) -> bool {
        let Some(link) = self.link(node) else { return false };
        if link.channel.is_idle() && link.channel.ensure_connected(now, out) {
            link.tried = now;
        }
        link.channel.is_ready()
    }

    /// Whether another request may be sent to `node` now: connected, and fewer than the allowed number under way.
    pub fn ready(&mut self, now: Instant, node: NodeId, out: &mut Outbox) -> bool {
        self.connect(now, node, out) && self.in_flight(node) < self.max_in_flight
    }

    /// Requests under way to `node`.
    pub fn in_flight(&self, node: NodeId) -> usize {
        self.links.iter().find(|l| l.node == node).map_or(0, |l| l.channel.in_flight())
    }

    /// The version to use, once connected.
    pub fn version(&self, node: NodeId, api: ApiKey) -> Option<i16> {
        self.links.iter().find(|l| l.node == node)?.channel.version(api)
    }

    /// When a closed connection to `node` may be opened again.
    pub fn retry_at(&self, node: NodeId) -> Option<Instant> {
        self.links.iter().find(|l| l.node == node)?.channel.retry_at()
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If `node` is not connected or does not know the API.
    pub fn send(&mut self, now: Instant, node: NodeId, request: impl Into<RequestKind>, tag: T, out: &mut Outbox) {
        self.link(node).expect("a known node").channel.send(now, request, tag, out);
    }

    /// Sends a request in a version not above the one settled on.
    ///
    /// # Panics
    /// As [`Network::send`].
    pub fn send_version(
        &mut self,
        now: Instant,
        node: NodeId,
        version: i16,
        request: impl Into<RequestKind>,
        tag: T,
        out: &mut Outbox,
    ) {
        self.link(node).expect("a known node").channel.send_version(now, version, request, tag, out);
    }

    /// Sends a request, with a timeout of its own.
    ///
    /// # Panics
    /// As [`Network::send`].
    pub fn send_with_timeout(
        &mut self,
        now: Instant,
        node: NodeId,
        timeout: Duration,
        request: impl Into<RequestKind>,
        tag: T,
        out: &mut Outbox,
    ) {
        self.link(node).expect("a known node").channel.send_with_timeout(now, timeout, request, tag, out);
    }

    /// Sends a request that has no answer.
    ///
    /// # Panics
    /// As [`Network::send`].
    pub fn send_oneway(&mut self, node: NodeId, request: impl Into<RequestKind>, out: &mut Outbox) {
        self.link(node).expect("a known node").channel.send_oneway(request, out);
    }

    /// The node to ask what any node can answer: a connected one with the fewest requests under way, else one that
    /// is being connected to, else the one not tried for longest. Brokers first; bootstrap addresses while no broker
    /// is known or none can be reached (KIP-899).
    pub fn least_loaded(&mut self, now: Instant) -> Option<NodeId> {
        let brokers = self.links.iter().any(|l| l.current && !is_bootstrap(l.node));
        let chosen = if brokers { self.least_loaded_of(now, false) } else { None };
        chosen.or_else(|| self.least_loaded_of(now, true))
    }

    fn least_loaded_of(&mut self, now: Instant, bootstrap: bool) -> Option<NodeId> {
        let n = self.links.len();
        let start = if n > 1 { self.rng.random_range(0..n) } else { 0 };
        let mut best: Option<((u8, u64), NodeId)> = None;
        for link in self.links[start..].iter().chain(&self.links[..start]) {
            let channel = &link.channel;
            if !link.current || is_bootstrap(link.node) != bootstrap || channel.in_flight() >= self.max_in_flight {
                continue;
            }
            let rank = if channel.is_ready() {
                (0, channel.in_flight() as u64)
            } else if !channel.is_idle() {
                (1, 0)
            } else if channel.retry_at().is_some_and(|at| at <= now) {
                (2, link.tried.as_nanos())
            } else {
                continue;
            };
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, link.node));
            }
        }
        best.map(|(_, node)| node)
    }

    /// The earliest time a closed connection may be opened again; `None` while there is none.
    pub fn next_retry(&self) -> Option<Instant> {
        self.links.iter().filter(|l| l.current).filter_map(|l| l.channel.retry_at()).min()
    }

    /// Takes an input if it belongs to one of the connections.
    ///
    /// # Errors
    /// The input, if it does not.
    pub fn on_input(&mut self, now: Now, input: Input, out: &mut Outbox) -> Result<Option<NetworkEvent<T>>, Input> {
        let conn = match &input {
            Input::Connected { conn } | Input::Disconnected { conn, .. } | Input::Response { conn, .. } => *conn,
            _ => return Err(input),
        };
        let Some(link) = self.by_conn(conn) else { return Err(input) };
        let node = link.node;
        let event = match input {
            Input::Connected { conn } => {
                link.channel.on_connected(now.mono, conn, out);
                None
            }
            Input::Disconnected { conn, reason } => link.channel.on_disconnected(now.mono, conn, reason),
            Input::Response { conn, correlation, version, response } => {
                link.channel.on_response(now.mono, conn, correlation, version, response, out)
            }
            other => return Err(other),
        };
        Ok(event.map(|event| self.event(now.mono, node, event)))
    }

    fn event(&mut self, now: Instant, node: NodeId, event: ChannelEvent<T>) -> NetworkEvent<T> {
        match event {
            ChannelEvent::Ready => NetworkEvent::Ready { node },
            ChannelEvent::Response { tag, version, response } => {
                NetworkEvent::Response { node, tag, version, response }
            }
            ChannelEvent::Lost { tags, reason } => {
                if let Some(link) = self.links.iter_mut().find(|l| l.node == node) {
                    link.channel.jitter_retry(now, &mut self.rng);
                }
                NetworkEvent::Lost { node, tags, reason }
            }
        }
    }

    /// Gives up one connection that has taken too long; call until it returns `None`. Says the next deadline.
    pub fn poll(&mut self, now: Instant, out: &mut Outbox) -> Option<NetworkEvent<T>> {
        let mut lost = None;
        for link in &mut self.links {
            if let Some(event) = link.channel.poll(now, out) {
                lost = Some((link.node, event));
                break;
            }
        }
        lost.map(|(node, event)| self.event(now, node, event))
    }

    /// Closes every connection; returns what was attached to the requests under way.
    pub fn close(&mut self, now: Instant, out: &mut Outbox) -> Vec<T> {
        self.links.iter_mut().flat_map(|l| l.channel.close(now, out)).collect()
    }
}
