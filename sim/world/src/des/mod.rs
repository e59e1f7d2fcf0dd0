//! The `des` world: discrete events in virtual time, by the rules that this module's parts state.
//!
//! It runs [`klamm_model::Node`]s: hands them inputs, carries out what they ask, and tells an [`Observer`] all that
//! happens. It knows no rule of Kafka's, reads no clock of the machine, and draws nothing that is not keyed by what
//! it is for. Faults are calls on [`Sim`] between events; which, when and to whom is the business of
//! [`crate::faults`].
//!
//! The parts, in reading order:
//! - [`profile`](SimConfig): what a world is made of; `queue`: what will happen; `random`: keyed draws; `clock`;
//! - `host`: processes, how they start and end; `cpu`: workers; `handling`: an input takes effect;
//! - `connection`, `network`, `rules`: segments on their way; `size`, `codec`: messages as bytes;
//! - `notice`: what faults do, as seen by those who watch; `digest`, `budget`: what a run amounts to, and its bounds.

pub(crate) mod budget;
mod clock;
mod codec;
mod connection;
mod cpu;
pub(crate) mod digest;
mod handling;
mod host;
mod network;
mod notice;
mod profile;
mod queue;
pub(crate) mod random;
mod rules;
mod size;
#[cfg(test)]
mod tests;
mod world;

pub use crate::world::{Driver, HostState, RuleId, Runaway, Stop};
pub(crate) use clock::EPOCH_MS;
pub use profile::*;

use crate::disk::{Completion, Disk};
use crate::event::*;
use budget::Budget;
use codec::Codec;
use connection::{ConnRef, Conns, Side};
use cpu::Works;
use digest::Digest;
use host::{Host, NodeSlot};
use klamm_model::DisconnectReason;
use klamm_model::Output;
use klamm_model::ids::{ApiKey, Incarnation};
use klamm_model::inspect::Inspection;
use klamm_model::units::{Duration, Instant, Now};
use network::Network;
use queue::Queue;
use random::{Purpose, draw, identity};
use rules::Effect;
use std::collections::BTreeMap;

/// What the main loop waits for.
#[derive(Clone, Copy, Debug)]
enum Ev {
    /// The first segment of a stream.
    Arrive { conn: ConnRef, side: Side },
    /// A worker finishes.
    Work { host: HostId, slot: u16, generation: u32 },
    /// A node's deadline.
    Timer { node: NodeRef, incarnation: u32 },
    /// A disk's next completion.
    Disk { host: HostId },
    /// A stream may have been silent for too long.
    GiveUp { conn: ConnRef, side: Side },
    /// A connection attempt may have gone unanswered for too long.
    ConnectLimit { conn: ConnRef },
    /// A name did not resolve.
    Unresolved { conn: ConnRef },
}

/// A world. Deterministic: the same configuration, hosts, nodes and calls give the same events.
#[derive(Debug)]
pub struct Sim {
    config: SimConfig,
    now: Instant,
    ordinal: u64,
    queue: Queue<Ev>,
    hosts: Vec<Host>,
    nodes: Vec<NodeSlot>,
    names: BTreeMap<String, HostId>,
    conns: Conns,
    works: Works,
    network: Network,
    codec: Codec,
    digest: Digest,
    budget: Budget,
    notices: Vec<notice::Pending>,
    /// What what happens now follows from.
    cause: Ordinal,
    /// A disk was handed out to be changed.
    disks_touched: bool,
    crashed: Option<(NodeRef, Box<str>)>,
    /// Kept for their capacity.
    outputs: Vec<Output>,
    completions: Vec<Completion>,
}

impl Sim {
    /// An empty world.
    pub fn new(config: SimConfig) -> Sim {
        Sim {
            now: Instant::ZERO,
            ordinal: 0,
            queue: Queue::new(),
            hosts: Vec::new(),
            nodes: Vec::new(),
            names: BTreeMap::new(),
            conns: Conns::default(),
            works: Works::new(),
            network: Network::new(config.network.clone()),
            codec: Codec::default(),
            digest: Digest::new(config.seed),
            budget: Budget::new(config.budgets),
            notices: Vec::new(),
            cause: Ordinal::default(),
            disks_touched: false,
            crashed: None,
            outputs: Vec::new(),
            completions: Vec::new(),
            config,
        }
    }

    /// Adds a host. Its nodes do not run until [`Sim::start`].
    ///
    /// # Panics
    /// If there is a host of that name.
    pub fn add_host(&mut self, spec: HostSpec) -> HostId {
        let host = HostId(u16::try_from(self.hosts.len()).expect("fewer hosts"));
        let key = identity(self.config.seed, &spec.name);
        let taken = self.names.insert(spec.name.clone(), host);
        assert!(taken.is_none(), "two hosts called {}", spec.name);
        self.hosts.push(Host::new(spec, key, draw(Purpose::Disk, key, 0)));
        self.network.rules.grow(self.hosts.len());
        host
    }

    /// Adds a node to a host.
    ///
    /// # Panics
    /// If there is a node of that name, or the host has a listener on that port.
    pub fn add_node(&mut self, spec: NodeSpec) -> NodeRef {
        let node = NodeRef(u16::try_from(self.nodes.len()).expect("fewer nodes"));
        assert!(self.node_named(&spec.name).is_none(), "two nodes called {}", spec.name);
        for other in self.nodes_on(spec.host) {
            let ports = &self.nodes[usize::from(other.0)].listeners;
            let clash = ports.iter().any(|(_, a)| spec.listeners.iter().any(|(_, b)| a == b));
            assert!(!clash, "{} and {} listen on one port", spec.name, self.node_name(other));
        }
        self.hosts[usize::from(spec.host.0)].nodes.push(node);
        self.nodes.push(NodeSlot {
            identity: identity(self.config.seed, &spec.name),
            name: spec.name,
            host: spec.host,
            kind: spec.kind,
            listeners: spec.listeners,
            make: spec.make,
            incarnations: 0,
            process: None,
        });
        node
    }

    // --- the main loop ---

    /// Processes the next event, if it comes no later than `until`; false if there is none. All is settled before and
    /// after. The error: the run is over for good, by a crash or a budget.
    fn step(&mut self, until: Instant, observer: &mut dyn Observer) -> Result<bool, Stop> {
        let Some((at, event)) = self.queue.pop(self.now, until) else { return Ok(false) };
        self.now = at;
        self.cause = Ordinal::default();
        self.budget.step(at, self.queue.len());
        match event {
            Ev::Arrive { conn, side } => self.arrive(conn, side, observer),
            Ev::Work { host, slot, generation } => {
                if let Some(work) = self.finish(host, slot, generation) {
                    let lane = work.lane;
                    self.take_up(host, work, observer);
                    self.next_in_lane(host, lane);
                    self.dispatch(host);
                }
            }
            Ev::Timer { node, incarnation } => self.timer_due(node, incarnation),
            Ev::Disk { host } => self.disk_done(host, observer),
            Ev::GiveUp { conn, side } => self.give_up(conn, side),
            Ev::ConnectLimit { conn } => self.attempt_failed(conn, DisconnectReason::Unreachable),
            Ev::Unresolved { conn } => self.attempt_failed(conn, DisconnectReason::Unresolved),
        }
        self.settle(observer);
        if self.is_over() { self.verdict().map_or(Ok(true), Err) } else { Ok(true) }
    }

    /// Whether there is a verdict.
    fn is_over(&self) -> bool {
        self.crashed.is_some() || self.budget.is_exceeded()
    }

    /// Processes every event up to and including `until`.
    pub fn run_until(&mut self, until: Instant, observer: &mut dyn Observer) -> Stop {
        self.settle(observer);
        loop {
            match self.step(until, observer) {
                Ok(true) => {}
                Ok(false) => break,
                Err(stop) => return stop,
            }
        }
        self.now = self.now.max(until);
        Stop::Reached
    }

    /// As [`Sim::run_until`], letting the driver act between events.
    pub fn drive(&mut self, until: Instant, driver: &mut dyn Driver) -> Stop {
        self.settle(driver);
        loop {
            if driver.gives_up() {
                return Stop::GivenUp;
            }
            let acts = if driver.wants_to_act() {
                Some(self.now)
            } else if let Some(at) = driver.next_action_at() {
                let at = at.max(self.now);
                let next = self.queue.next_at(self.now).filter(|&at| at <= until);
                (at <= until && next.is_none_or(|next| at <= next)).then_some(at)
            } else {
                None
            };
            if let Some(at) = acts {
                self.now = at;
                self.cause = Ordinal::default();
                self.budget.step(at, self.queue.len());
                driver.act(self);
                self.settle(driver);
                if let Some(stop) = self.verdict() {
                    return stop;
                }
                continue;
            }
            match self.step(until, driver) {
                Ok(true) => {}
                Ok(false) => break,
                Err(stop) => return stop,
            }
        }
        self.now = self.now.max(until);
        Stop::Reached
    }

    /// Tells what calls between events did, and plans what disks now owe.
    fn settle(&mut self, observer: &mut dyn Observer) {
        if !self.notices.is_empty() {
            self.tell_notices(observer);
        }
        if std::mem::take(&mut self.disks_touched) {
            for host in 0..self.hosts.len() as u16 {
                self.arm_disk(HostId(host));
            }
        }
    }

    fn verdict(&self) -> Option<Stop> {
        if let Some((node, message)) = &self.crashed {
            return Some(Stop::Crashed { node: *node, message: message.clone() });
        }
        if self.budget.is_exceeded() { self.budget.verdict(self.now).map(Stop::Runaway) } else { None }
    }

    /// Numbers an event and tells those who watch. In line wherever it is called, and `what` put together last: what kind
    /// of event it is is then known when this is compiled, and most of what the digest does depends on that alone.
    #[inline(always)]
    fn emit<'a>(
        &mut self,
        observer: &mut dyn Observer,
        cause: Ordinal,
        host: HostId,
        node: NodeRef,
        size: u32,
        what: impl FnOnce() -> What<'a>,
    ) -> Ordinal {
        if !self.notices.is_empty() {
            self.tell_notices(observer);
        }
        self.ordinal += 1;
        let ordinal = Ordinal(self.ordinal);
        self.tell(observer, ordinal, cause, Some(host), Some(node), what(), size);
        ordinal
    }

    #[inline(always)]
    fn tell(
        &mut self,
        observer: &mut dyn Observer,
        ordinal: Ordinal,
        cause: Ordinal,
        host: Option<HostId>,
        node: Option<NodeRef>,
        what: What<'_>,
        size: u32,
    ) {
        self.digest.parts(ordinal, cause, self.now, host, node, &what, size);
        self.budget.event(node, digest::kind(&what));
        observer.event(&Event { ordinal, cause, at: self.now, host, node, what });
    }

    // --- questions ---

    /// The world's time.
    pub fn now(&self) -> Instant {
        self.now
    }
    /// How many events have happened: the last ordinal given.
    pub fn events(&self) -> u64 {
        self.ordinal
    }
    /// Rolling hash over every event so far.
    pub fn digest(&self) -> u64 {
        self.digest.value()
    }
    /// Rolling hash over every message's encoded form; 0 unless messages are encoded or hashed.
    pub fn message_digest(&self) -> u64 {
        self.codec.digest()
    }
    /// A host by name.
    pub fn host_named(&self, name: &str) -> Option<HostId> {
        self.names.get(name).copied()
    }
    /// A node by name.
    pub fn node_named(&self, name: &str) -> Option<NodeRef> {
        self.nodes.iter().position(|n| n.name == name).map(|n| NodeRef(n as u16))
    }
    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len() as u16).map(HostId)
    }
    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef> + use<> {
        (0..self.nodes.len() as u16).map(NodeRef)
    }
    /// A host's nodes.
    pub fn nodes_on(&self, host: HostId) -> impl Iterator<Item = NodeRef> + '_ {
        self.hosts[usize::from(host.0)].nodes.iter().copied()
    }
    /// A host's name.
    pub fn host_name(&self, host: HostId) -> &str {
        &self.hosts[usize::from(host.0)].name
    }
    /// A node's name.
    pub fn node_name(&self, node: NodeRef) -> &str {
        &self.nodes[usize::from(node.0)].name
    }
    /// What a node is.
    pub fn node_kind(&self, node: NodeRef) -> NodeKind {
        self.nodes[usize::from(node.0)].kind
    }
    /// Where a node runs.
    pub fn node_host(&self, node: NodeRef) -> HostId {
        self.nodes[usize::from(node.0)].host
    }
    /// Whether a node's process runs (a paused one does).
    pub fn is_running(&self, node: NodeRef) -> bool {
        self.nodes[usize::from(node.0)].process.is_some()
    }
    /// A node's latest incarnation; 0 if it has never been started.
    pub fn incarnation(&self, node: NodeRef) -> Incarnation {
        Incarnation(self.nodes[usize::from(node.0)].incarnations)
    }
    /// A running node's account of itself.
    pub fn inspect(&self, node: NodeRef) -> Option<Inspection> {
        self.nodes[usize::from(node.0)].process.as_ref().map(|p| p.machine.inspect())
    }
    /// What a host's clocks read now.
    pub fn clocks(&self, host: HostId) -> Now {
        self.hosts[usize::from(host.0)].clock.read(self.now)
    }
    /// A host's disk.
    pub fn disk(&self, host: HostId) -> &Disk {
        &self.hosts[usize::from(host.0)].disk
    }

    // --- what faults do; each takes effect at once, and is observed before the next event ---

    /// A host's disk, to be changed by a fault.
    pub fn disk_mut(&mut self, host: HostId) -> &mut Disk {
        self.disks_touched = true;
        &mut self.host_mut(host).disk
    }
    /// Messages between two sides vanish in silence; TCP sends them again until it gives up.
    pub fn partition(&mut self, a: &[HostId], b: &[HostId], one_way: bool) -> RuleId {
        self.network.rules.add(a, b, !one_way, Effect::Cut)
    }
    /// Messages between two sides take longer, by `extra` to twice that (drawn).
    pub fn add_latency(&mut self, a: &[HostId], b: &[HostId], extra: Duration) -> RuleId {
        self.network.rules.add(a, b, true, Effect::Latency(extra))
    }
    /// Segments between two sides are lost, `ppm` of a million.
    pub fn add_loss(&mut self, a: &[HostId], b: &[HostId], ppm: u32) -> RuleId {
        self.network.rules.add(a, b, true, Effect::Loss(ppm))
    }
    /// Messages of one API in one direction are held back, and what is behind them on their connection.
    pub fn hold(&mut self, api: ApiKey, responses: bool, from: &[HostId], to: &[HostId]) -> RuleId {
        self.network.rules.add(from, to, false, Effect::Hold { api, responses })
    }
    /// Ends a rule; what it kept back goes on. No effect if it has ended.
    pub fn remove_rule(&mut self, rule: RuleId) {
        if self.network.rules.remove(rule) {
            self.release_stuck();
        }
    }
    /// Whether a host's name fails to resolve.
    pub fn unresolvable(&mut self, host: HostId, on: bool) {
        self.host_mut(host).unresolvable = on;
    }
    /// The wall clock jumps, and stays so.
    pub fn step_wall_clock(&mut self, host: HostId, by_ms: i64) {
        let host = self.host_mut(host);
        host.clock.step_wall(by_ms);
        host.clock_changed |= by_ms != 0;
    }
    /// The monotonic clock (and with it the wall clock) runs fast or slow from now on; timers follow it.
    pub fn set_drift(&mut self, host: HostId, ppm: i32) {
        let now = self.now;
        let state = self.host_mut(host);
        state.clock_changed |= state.clock.set_drift(now, ppm);
        for node in self.hosts[usize::from(host.0)].nodes.clone() {
            let Some(process) = self.nodes[usize::from(node.0)].process.as_mut() else { continue };
            process.timer.armed.clear();
            let (deadline, cause) = (process.timer.deadline, process.timer.cause);
            self.set_timer(node, deadline, cause);
        }
    }
}
