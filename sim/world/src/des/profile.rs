//! What a world is made of: its seed, its network and CPU cost tables, its hosts and nodes.
//!
//! Every figure here is **modelled**: chosen to have the shape of a real machine, measured on none.

use crate::disk::DiskProfile;
use crate::event::HostId;
use klamm_model::ids::{ClientId, Incarnation, NodeId};
use klamm_model::node::{Listener, Node};
use klamm_model::units::Duration;
use std::fmt;

/// What a world is started with.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Decides everything that is drawn.
    pub seed: u64,
    /// Between hosts.
    pub network: NetworkProfile,
    /// Every message is encoded at its version and decoded again before it is delivered. Must not change the digest.
    pub encode_messages: bool,
    /// Every message's encoded form goes into [`super::Sim::message_digest`]. Costs an encoding per message.
    pub hash_messages: bool,
    /// Bounds beyond which a run is a runaway.
    pub budgets: Budgets,
}

impl SimConfig {
    /// A seed in the default network, typed messages, default budgets.
    pub fn new(seed: u64) -> SimConfig {
        SimConfig {
            seed,
            network: NetworkProfile::default(),
            encode_messages: false,
            hash_messages: false,
            budgets: Budgets::default(),
        }
    }
}

/// A network, modelled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkProfile {
    /// The median of a message's way from host to host.
    pub p50: Duration,
    /// One message in a hundred takes longer.
    pub p99: Duration,
    /// Of each host's network card, bits per second; messages queue where they leave.
    pub bandwidth: u64,
    /// Between nodes on one host.
    pub loopback: Duration,
    /// Segments lost, parts per million, before any fault.
    pub loss_ppm: u32,
    /// TCP's first retransmission timeout; it doubles with every loss of one segment.
    pub rto: Duration,
    /// Where the doubling ends (Linux: 120 s).
    pub rto_max: Duration,
    /// The first retransmission of a connection attempt (Linux: 1 s); doubles too.
    pub connect_rto: Duration,
    /// When a connection attempt that nobody answers is given up.
    pub connect_limit: Duration,
    /// When a connection whose data nobody acknowledges is given up (as `TCP_USER_TIMEOUT`).
    pub silence_limit: Duration,
}

impl Default for NetworkProfile {
    /// A busy data centre, modelled: p50 250 us, p99 2 ms, 1 Gbit/s.
    fn default() -> Self {
        NetworkProfile {
            p50: Duration::from_micros(250),
            p99: Duration::from_millis(2),
            bandwidth: 1_000_000_000,
            loopback: Duration::from_micros(20),
            loss_ppm: 0,
            rto: Duration::from_millis(200),
            rto_max: Duration::from_secs(120),
            connect_rto: Duration::from_secs(1),
            connect_limit: Duration::from_secs(60),
            silence_limit: Duration::from_secs(60),
        }
    }
}

impl NetworkProfile {
    /// A quiet local network, modelled: p50 100 us, p99 400 us, 10 Gbit/s.
    pub fn lan() -> NetworkProfile {
        NetworkProfile {
            p50: Duration::from_micros(100),
            p99: Duration::from_micros(400),
            bandwidth: 10_000_000_000,
            ..NetworkProfile::default()
        }
    }
    /// Two data centres, modelled: p50 8 ms, p99 25 ms, 1 Gbit/s.
    pub fn wan() -> NetworkProfile {
        NetworkProfile { p50: Duration::from_millis(8), p99: Duration::from_millis(25), ..NetworkProfile::default() }
    }
    /// By name: `default`, `lan`, `wan`.
    pub fn named(name: &str) -> Option<NetworkProfile> {
        match name {
            "default" => Some(NetworkProfile::default()),
            "lan" => Some(NetworkProfile::lan()),
            "wan" => Some(NetworkProfile::wan()),
            _ => None,
        }
    }
}

/// What handling costs, modelled. Kept small and plain: a base for each kind of input, and a price for bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuProfile {
    /// How many inputs are handled at the same time.
    pub workers: u16,
    /// A Produce request.
    pub produce: Duration,
    /// A Fetch request.
    pub fetch: Duration,
    /// Any other request.
    pub request: Duration,
    /// A response.
    pub response: Duration,
    /// For each KiB of a message that is taken up.
    pub per_kib: Duration,
    /// A disk completion. Does not depend on bytes, so that completions stay in order.
    pub completion: Duration,
    /// A timer.
    pub timer: Duration,
    /// A connection that came up or ended.
    pub connection: Duration,
    /// From the process's start to its first step.
    pub start: Duration,
}

impl Default for CpuProfile {
    /// Four workers; produce 15 us and fetch 10 us, 400 ns per KiB. Modelled.
    fn default() -> Self {
        CpuProfile {
            workers: 4,
            produce: Duration::from_micros(15),
            fetch: Duration::from_micros(10),
            request: Duration::from_micros(20),
            response: Duration::from_micros(5),
            per_kib: Duration::from_nanos(400),
            completion: Duration::from_micros(2),
            timer: Duration::from_micros(2),
            connection: Duration::from_micros(20),
            start: Duration::from_millis(1),
        }
    }
}

impl CpuProfile {
    /// By name: `default` (four workers), `small` (one worker, twice the cost), `large` (sixteen workers).
    pub fn named(name: &str) -> Option<CpuProfile> {
        let default = CpuProfile::default();
        match name {
            "default" => Some(default),
            "large" => Some(CpuProfile { workers: 16, ..default }),
            "small" => Some(CpuProfile {
                workers: 1,
                produce: default.produce.saturating_mul(2),
                fetch: default.fetch.saturating_mul(2),
                request: default.request.saturating_mul(2),
                response: default.response.saturating_mul(2),
                per_kib: default.per_kib.saturating_mul(2),
                ..default
            }),
            _ => None,
        }
    }
}

/// How a host's clocks differ from the world's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockSpec {
    /// The monotonic clock's reading when the world begins.
    pub monotonic_at_start: Duration,
    /// How many parts per million it runs fast (or, negative, slow).
    pub drift_ppm: i32,
    /// How far the wall clock is ahead, milliseconds.
    pub wall_offset_ms: i64,
}

/// A host.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// Its name, which is its address too. Also the identity of its draws.
    pub name: String,
    /// What handling costs there.
    pub cpu: CpuProfile,
    /// Its disk.
    pub disk: DiskProfile,
    /// Its clocks.
    pub clock: ClockSpec,
}

/// What a node is to those who watch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NodeKind {
    /// A broker.
    Broker(NodeId),
    /// A controller.
    Controller(NodeId),
    /// A client application.
    Client(ClientId),
}

/// Makes a node's state machine anew for each incarnation; what it needs from an earlier one is on the disk.
pub type MakeNode = Box<dyn FnMut(Incarnation) -> Box<dyn Node>>;

/// A node.
pub struct NodeSpec {
    /// Its name. Also the identity of its draws.
    pub name: String,
    /// Where it runs.
    pub host: HostId,
    /// What it is.
    pub kind: NodeKind,
    /// Its doors: listener and port.
    pub listeners: Vec<(Listener, u16)>,
    /// Makes it.
    pub make: MakeNode,
}

impl fmt::Debug for NodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}) on {:?}", self.name, self.kind, self.host)
    }
}

/// Bounds of one seed. Wall time never decides anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budgets {
    /// Events in all.
    pub events: u64,
    /// Events within one instant.
    pub events_per_instant: u64,
    /// Events and messages that wait.
    pub queued: u64,
    /// Bytes of messages under way or waiting for a worker.
    pub held_bytes: u64,
}

impl Default for Budgets {
    fn default() -> Self {
        Budgets { events: 50_000_000, events_per_instant: 100_000, queued: 1_000_000, held_bytes: 1 << 30 }
    }
}
