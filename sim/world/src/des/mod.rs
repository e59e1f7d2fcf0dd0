//! The `des` world: discrete events in virtual time.

mod profile;
mod stop;

pub use profile::*;
pub use stop::*;

use crate::event::*;
use crate::faults::Action;
use klamm_model::ids::ApiKey;
use klamm_model::inspect::Inspection;
use klamm_model::units::{Duration, Instant, Now};

/// A network rule in force.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RuleId(pub u32);

/// Whether a host's processes run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostState {
    /// At least one process runs.
    Running,
    /// At least one process runs, and nothing is processed.
    Paused,
    /// No process runs; the machine answers for itself (connections are refused).
    Down,
    /// The machine is off: silence.
    Off,
}

/// A world. Deterministic: the same configuration, hosts, nodes and calls give the same events.
#[derive(Debug)]
pub struct Sim {
    now: Instant,
    ordinal: u64,
    hosts: Vec<HostSpec>,
    nodes: Vec<NodeSpec>,
}

#[allow(unused_variables)]
impl Sim {
    /// An empty world.
    pub fn new(config: SimConfig) -> Sim {
        Sim { now: Instant::ZERO, ordinal: 0, hosts: Vec::new(), nodes: Vec::new() }
    }
    /// Adds a host, without power to its nodes until [`Sim::start`].
    pub fn add_host(&mut self, spec: HostSpec) -> HostId {
        self.hosts.push(spec);
        HostId(self.hosts.len() as u16 - 1)
    }
    /// Adds a node to a host.
    pub fn add_node(&mut self, spec: NodeSpec) -> NodeRef {
        self.nodes.push(spec);
        NodeRef(self.nodes.len() as u16 - 1)
    }
    /// Starts every node of a host that does not run.
    pub fn start(&mut self, host: HostId) {}
    /// The next event, if it comes no later than `until`. False if there is none.
    pub fn step<O: Observer + ?Sized>(&mut self, until: Instant, observer: &mut O) -> Result<bool, Stop> {
        Ok(false)
    }
    /// Processes every event up to and including `until`.
    pub fn run_until<O: Observer + ?Sized>(&mut self, until: Instant, observer: &mut O) -> Stop {
        Stop::Reached
    }
    /// As [`Sim::run_until`], letting the driver act between events.
    pub fn drive<D: Driver + ?Sized>(&mut self, until: Instant, driver: &mut D) -> Stop {
        Stop::Reached
    }

    /// The world's time.
    pub fn now(&self) -> Instant {
        self.now
    }
    /// How many events have happened (the last ordinal given).
    pub fn events(&self) -> u64 {
        self.ordinal
    }
    /// Rolling hash over every event so far.
    pub fn digest(&self) -> u64 {
        0
    }
    /// Rolling hash over every message's encoded form, if [`SimConfig::hash_messages`] is on.
    pub fn message_digest(&self) -> u64 {
        0
    }
    /// A host by name.
    pub fn host_named(&self, name: &str) -> Option<HostId> {
        None
    }
    /// A node by name.
    pub fn node_named(&self, name: &str) -> Option<NodeRef> {
        None
    }
    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + '_ {
        (0..self.hosts.len() as u16).map(HostId)
    }
    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef> + '_ {
        (0..self.nodes.len() as u16).map(NodeRef)
    }
    /// A host's nodes.
    pub fn nodes_on(&self, host: HostId) -> impl Iterator<Item = NodeRef> + '_ {
        self.nodes().filter(move |n| self.nodes[n.0 as usize].host == host)
    }
    /// A host's name.
    pub fn host_name(&self, host: HostId) -> &str {
        ""
    }
    /// A node's name.
    pub fn node_name(&self, node: NodeRef) -> &str {
        ""
    }
    /// What a node is.
    pub fn node_kind(&self, node: NodeRef) -> NodeKind {
        self.nodes[node.0 as usize].kind
    }
    /// Where a node runs.
    pub fn node_host(&self, node: NodeRef) -> HostId {
        self.nodes[node.0 as usize].host
    }
    /// How a host fares.
    pub fn host_state(&self, host: HostId) -> HostState {
        HostState::Running
    }
    /// Whether a node's process runs (paused counts).
    pub fn is_running(&self, node: NodeRef) -> bool {
        false
    }
    /// A running node's account of itself.
    pub fn inspect(&self, node: NodeRef) -> Option<Inspection> {
        None
    }
    /// What a host's clocks read now.
    pub fn clocks(&self, host: HostId) -> Now {
        Now::default()
    }

    // --- what happens to it; each takes effect at once, and is observed before the next event ---

    /// A phase begins.
    pub fn begin_phase(&mut self, phase: Phase) -> Ordinal {
        Ordinal(0)
    }
    /// Announces a fault (or its end). Call it before the fault's own call: what follows has it as its cause.
    pub fn announce_fault(&mut self, action: Action, over: bool) -> Ordinal {
        Ordinal(0)
    }
    /// Announces what a disk fault damaged.
    pub fn announce_damage(&mut self, host: HostId, ranges: Vec<LostData>) -> Ordinal {
        Ordinal(0)
    }
    /// The host's processes vanish; their connections are reset; the page cache survives.
    pub fn kill(&mut self, host: HostId) {}
    /// Hosts lose power at one instant: silence, and unsynced data is at risk.
    pub fn power_loss(&mut self, hosts: &[HostId]) {}
    /// Starts the nodes of a host that do not run, each as a new incarnation. Power comes back, too.
    pub fn restart(&mut self, host: HostId) {}
    /// SIGTERM to the host's nodes.
    pub fn shutdown(&mut self, host: HostId) {}
    /// Nothing is processed on the host until [`Sim::resume`].
    pub fn pause(&mut self, host: HostId) {}
    /// Ends a pause.
    pub fn resume(&mut self, host: HostId) {}
    /// Messages between two sides vanish in silence.
    pub fn partition(&mut self, a: &[HostId], b: &[HostId], one_way: bool) -> RuleId {
        RuleId(0)
    }
    /// Messages between two sides take longer, by `extra` to twice that (drawn).
    pub fn add_latency(&mut self, a: &[HostId], b: &[HostId], extra: Duration) -> RuleId {
        RuleId(0)
    }
    /// Segments between two sides are lost, `ppm` of a million.
    pub fn add_loss(&mut self, a: &[HostId], b: &[HostId], ppm: u32) -> RuleId {
        RuleId(0)
    }
    /// Messages of one API in one direction are held back, and what is behind them on their connection.
    pub fn hold(&mut self, api: ApiKey, responses: bool, from: &[HostId], to: &[HostId]) -> RuleId {
        RuleId(0)
    }
    /// Ends a rule.
    pub fn remove_rule(&mut self, rule: RuleId) {}
    /// Resets every connection between two sides.
    pub fn reset(&mut self, a: &[HostId], b: &[HostId]) {}
    /// Whether a host's name fails to resolve.
    pub fn unresolvable(&mut self, host: HostId, on: bool) {}
    /// The wall clock jumps.
    pub fn step_wall_clock(&mut self, host: HostId, by_ms: i64) {}
    /// The monotonic clock (and with it the wall clock) runs fast or slow from now on.
    pub fn set_drift(&mut self, host: HostId, ppm: i32) {}
}
