//! What worlds have in common: how they are filled, what faults do to them, what can be asked of them, and who acts between
//! events. The injector of faults and the phases of a run know this much of a world and no more.

use crate::des::{HostSpec, NodeKind, NodeSpec};
use crate::disk::DiskFault;
use crate::event::{Event, HostId, LostData, NodeRef, Observer, Phase};
use crate::faults::Action;
use crate::invariants::Finding;
use bytes::Bytes;
use klamm_model::disk::Path;
use klamm_model::ids::{ApiKey, Incarnation};
use klamm_model::inspect::Inspection;
use klamm_model::units::{Duration, Instant};

/// A network rule in force.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RuleId(pub u32);

/// Where a world counts what faults change on a host. A fault that ends leaves its count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Meter {
    /// Operations that a fault of the disk held up, slowed, failed, or acknowledged falsely.
    Disk(HostId, DiskFault),
    /// Look-ups of the host's name that failed for a fault.
    Lookups(HostId),
    /// Changes of the clocks that a process has read since.
    Clock(HostId),
}

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

/// Why a world's main loop came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The moment asked for has come.
    Reached,
    /// A node panicked: the verdict `crash`. The run must not go on.
    Crashed {
        /// Whose code.
        node: NodeRef,
        /// The panic's message.
        message: Box<str>,
    },
    /// A budget was exceeded: the verdict `runaway`. The run must not go on.
    Runaway(Runaway),
    /// The driver gave the run up. Nothing can be said of it.
    GivenUp,
}

/// A budget that was exceeded, with what happened most of late.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Runaway {
    /// Which budget, in words.
    pub budget: &'static str,
    /// Its bound.
    pub bound: u64,
    /// When.
    pub at: Instant,
    /// The hottest kinds of event among the latest: (where, what, how many).
    pub hottest: Vec<(Option<NodeRef>, &'static str, u32)>,
}

/// Somebody who watches and acts between events: the injector of faults.
pub trait Driver: Observer {
    /// When it next wants to act for the time alone. It then acts before any event of that instant that has not
    /// happened yet. Acting must move this on.
    fn next_action_at(&self) -> Option<Instant>;
    /// Whether what it has just seen makes it act at once, before the next event. Acting must clear this.
    fn wants_to_act(&self) -> bool;
    /// Acts on the world. What follows is observed before the next event.
    fn act(&mut self, world: &mut dyn World);
    /// Whether the run is to be given up here and now. Asked at each step, so the answer must be cheap; what it depends
    /// on is outside of the world, and nothing that a run given up leaves may count.
    fn gives_up(&mut self) -> bool {
        false
    }
}

/// Somebody who only watches.
struct Watching<'a>(&'a mut dyn Observer);

impl Observer for Watching<'_> {
    fn event(&mut self, event: &Event<'_>) {
        self.0.event(event);
    }
}

impl Driver for Watching<'_> {
    fn next_action_at(&self) -> Option<Instant> {
        None
    }
    fn wants_to_act(&self) -> bool {
        false
    }
    fn act(&mut self, _: &mut dyn World) {}
}

/// A world: hosts with disks and clocks, nodes on them, a network between them.
pub trait World {
    // --- how it is filled, before it begins ---

    /// Adds a host. Its nodes do not run until [`World::start`].
    fn add_host(&mut self, spec: HostSpec) -> HostId;
    /// Adds a node to a host.
    fn add_node(&mut self, spec: NodeSpec) -> NodeRef;

    /// Goes on until `until`, telling the driver what happens, and letting it act between events.
    fn drive(&mut self, until: Instant, driver: &mut dyn Driver) -> Stop;
    /// As [`World::drive`], with nobody who acts.
    fn run_until(&mut self, until: Instant, observer: &mut dyn Observer) -> Stop {
        self.drive(until, &mut Watching(observer))
    }

    // --- questions ---

    /// The world's time.
    fn now(&self) -> Instant;
    /// How many events have happened: the last ordinal given.
    fn events(&self) -> u64;
    /// Rolling hash over everything that happened so far.
    fn digest(&self) -> u64;
    /// Rolling hash over every message's encoded form, where that was asked for.
    fn message_digest(&self) -> u64 {
        0
    }
    /// How many hosts there are.
    fn host_count(&self) -> u16;
    /// How many nodes there are.
    fn node_count(&self) -> u16;
    /// A host's name.
    fn host_name(&self, host: HostId) -> &str;
    /// A node's name.
    fn node_name(&self, node: NodeRef) -> &str;
    /// What a node is.
    fn node_kind(&self, node: NodeRef) -> NodeKind;
    /// A host's nodes.
    fn nodes_on(&self, host: HostId) -> Vec<NodeRef>;
    /// Whether a node's process runs (a paused one does).
    fn is_running(&self, node: NodeRef) -> bool;
    /// A node's latest incarnation; 0 if it has never been started.
    fn incarnation(&self, node: NodeRef) -> Incarnation;
    /// A running node's account of itself.
    fn inspect(&self, node: NodeRef) -> Option<Inspection>;
    /// How a host fares.
    fn host_state(&self, host: HostId) -> HostState;
    /// Every file of a host as reads see it, in the pieces in which it was written, sorted by path.
    fn files(&self, host: HostId) -> Vec<(Path, Vec<Bytes>)>;
    /// One file of a host as reads see it.
    fn file(&self, host: HostId, path: &Path) -> Option<Bytes>;
    /// What the world itself found wrong with what stands between nodes and network.
    fn findings(&self) -> &[Finding] {
        &[]
    }
    /// How many messages the world itself has judged (`shell-contract`).
    fn messages_judged(&self) -> u64 {
        0
    }
    /// How much faults have changed so far, by a meter that only rises.
    fn met(&self, meter: Meter) -> u64;
    /// Senders and receivers of the messages that a rule in force has held up, delayed or lost, in order.
    fn met_by(&self, rule: RuleId) -> Vec<HostId>;
    /// Why a fault cannot be had in this world; `None` if it can.
    fn refuses(&self, _action: &Action) -> Option<&'static str> {
        None
    }

    // --- what happens to it; each takes effect at once, and is observed before the next event ---

    /// A phase begins.
    fn begin_phase(&mut self, phase: Phase);
    /// Announces a fault, or its end. Call it before the fault's own call: what follows has it as its cause.
    fn announce_fault(&mut self, action: Action, over: bool);
    /// Announces what a disk fault damaged.
    fn announce_damage(&mut self, host: HostId, ranges: Vec<LostData>);
    /// Starts every node of a host that does not run, each as a new incarnation; power comes back if it was off.
    fn start(&mut self, host: HostId);
    /// The host's processes vanish; the page cache survives.
    fn kill(&mut self, host: HostId);
    /// Hosts lose power at one instant: silence, and unsynced data is at risk.
    fn power_loss(&mut self, hosts: &[HostId]);
    /// SIGTERM to the host's nodes. Those that do not run, or were asked before, are left alone.
    fn shutdown(&mut self, host: HostId);
    /// Nothing is processed on the host until [`World::resume`].
    fn pause(&mut self, host: HostId);
    /// Ends a pause.
    fn resume(&mut self, host: HostId);
    /// Messages between two sides vanish in silence, as TCP sees it: they arrive once the rule has ended.
    fn partition(&mut self, a: &[HostId], b: &[HostId], one_way: bool) -> RuleId;
    /// Messages between two sides take longer, by `extra` to twice that (drawn).
    fn add_latency(&mut self, a: &[HostId], b: &[HostId], extra: Duration) -> RuleId;
    /// Segments between two sides are lost, `ppm` of a million.
    fn add_loss(&mut self, a: &[HostId], b: &[HostId], ppm: u32) -> RuleId;
    /// Messages of one API in one direction are held back, and what is behind them on their connection.
    fn hold(&mut self, api: ApiKey, responses: bool, from: &[HostId], to: &[HostId]) -> RuleId;
    /// Ends a rule; what it kept back goes on. No effect if it has ended.
    fn remove_rule(&mut self, rule: RuleId);
    /// Every connection between two sides is reset: both ends learn it now, and what was on its way is lost. Returns the
    /// hosts that had one, in order.
    fn reset(&mut self, a: &[HostId], b: &[HostId]) -> Vec<HostId>;
    /// Whether a host's name fails to resolve.
    fn unresolvable(&mut self, host: HostId, on: bool);
    /// A fault of a host's disk begins or ends. Equal faults nest.
    fn disk_fault(&mut self, host: HostId, fault: DiskFault, on: bool);
    /// All faults of a host's disk end.
    fn heal_disk(&mut self, host: HostId);
    /// A directory of a host is gone, durably: what an operator does to a bad replica.
    fn erase(&mut self, host: HostId, dir: &Path);
    /// Bits of a closed part of a partition's log flip. Returns where.
    fn bit_rot(&mut self, host: HostId, log: &str) -> Vec<LostData>;
    /// Everything on a host's disk is gone. Returns what that was.
    fn wipe(&mut self, host: HostId) -> Vec<LostData>;
    /// The wall clock jumps, and stays so.
    fn step_wall_clock(&mut self, host: HostId, by_ms: i64);
    /// The monotonic clock (and with it the wall clock) runs fast or slow from now on; timers follow it.
    fn set_drift(&mut self, host: HostId, ppm: i32);
}

impl dyn World + '_ {
    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.host_count()).map(HostId)
    }
    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef> + use<> {
        (0..self.node_count()).map(NodeRef)
    }
}
