//! The `turmoil` world: the same nodes and the same modelled disks, behind the real shell, on turmoil's deterministic TCP.
//!
//! Here the shell is on trial: frames that come in parts, codecs, the order of answers, reconnects, what a closed connection
//! still owes. Everything is a function of seed and calls, as in `des`: one thread, hosts run in an order that turmoil draws
//! from the seed, every time is virtual. What is coarser than in `des`: time moves in ticks of a millisecond, faults act
//! between ticks, and neither handling nor bytes cost anything.
//!
//! What this world cannot do is refused by name ([`refusal`]): nothing of a schedule is ever left out in silence.
//!
//! The rooms, in reading order:
//! - `seen`: what happens, gathered within a tick; `shared`: what processes and world share;
//! - `net`: turmoil's TCP as the shell's sockets; `disk`: the modelled disk as the shell's;
//! - `watcher`: what a shell shows; `process`: what runs on a host;
//! - `links`: network faults; `contract`: what shells owe each other; `world`: what faults do.

mod contract;
mod disk;
mod links;
mod net;
mod process;
mod seen;
mod shared;
#[cfg(test)]
mod tests;
mod watcher;
mod world;

use crate::des::budget::Budget;
use crate::des::digest::{self, Digest};
use crate::des::{MakeNode, NodeKind, SimConfig};
use crate::event::{Event, HostId, NodeRef, Observer};
use crate::faults::Action;
use crate::shell::planted::Planted;
use crate::world::Stop;
use contract::Contract;
use klamm_model::node::Listener;
use klamm_model::units::{Duration, Instant};
use links::Links;
use process::Boot;
use seen::{Seen, Ticket};
use shared::Shared;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration as Span;
use tokio::sync::mpsc::UnboundedSender;

/// How far time moves at once: as fine as tokio's timers are.
const TICK: Duration = Duration::from_millis(1);
/// Segments under way in one direction of a connection; more, and whoever writes waits. Also connections not accepted yet.
const SEGMENTS_UNDER_WAY: usize = 1024;

/// Why this world cannot have a fault; `None` if it can.
pub fn refusal(action: &Action) -> Option<&'static str> {
    match action {
        Action::ClockDrift { .. } => Some("every clock of the turmoil world runs at the same rate"),
        Action::Loss { .. } => Some("turmoil's TCP does not send lost segments again"),
        Action::Hold { .. } => Some("the turmoil world cannot tell messages apart on their way"),
        Action::Kill { .. }
        | Action::PowerLoss { .. }
        | Action::Restart { .. }
        | Action::Shutdown { .. }
        | Action::Pause { .. }
        | Action::Partition { .. }
        | Action::Latency { .. }
        | Action::Reset { .. }
        | Action::Unresolvable { .. }
        | Action::DiskStall { .. }
        | Action::DiskSlow { .. }
        | Action::DiskError { .. }
        | Action::LyingFsync { .. }
        | Action::BitRot { .. }
        | Action::DiskFull { .. }
        | Action::Wipe { .. }
        | Action::ClockStep { .. } => None,
    }
}

struct Host {
    name: String,
    nodes: Vec<NodeRef>,
    /// To its supervisor, once turmoil knows it; there is a new one after each loss of power.
    boots: Rc<RefCell<Option<UnboundedSender<Boot>>>>,
    paused: bool,
}

struct Node {
    name: String,
    kind: NodeKind,
    listeners: Vec<(Listener, u16)>,
    make: MakeNode,
    incarnations: u32,
}

/// A world. Deterministic: the same configuration, hosts, nodes and calls give the same run.
pub struct Turmoil {
    sim: ::turmoil::Sim<'static>,
    shared: Rc<Shared>,
    hosts: Vec<Host>,
    nodes: Vec<Node>,
    links: Links,
    contract: Contract,
    digest: Digest,
    budget: Budget,
    ordinal: u64,
    /// What what happens between ticks follows from.
    cause: Ticket,
}

impl Turmoil {
    /// An empty world. Of the network only the latencies count.
    #[expect(clippy::disallowed_types, reason = "a constant, where turmoil would take the machine's time")]
    pub fn new(config: &SimConfig) -> Turmoil {
        let latency = |d: Duration| Span::from_nanos(d.as_nanos());
        // Turmoil draws between the two with a long tail upwards, and rounds up to its tick.
        let least = latency(config.network.p50);
        let most = latency(config.network.p99).max(least);
        let sim = ::turmoil::Builder::new()
            .epoch(std::time::SystemTime::UNIX_EPOCH)
            .simulation_duration(Span::from_secs(1 << 40))
            .tick_duration(latency(TICK))
            .min_message_latency(least)
            .max_message_latency(most)
            .tcp_capacity(SEGMENTS_UNDER_WAY)
            .enable_random_order()
            .rng_seed(config.seed)
            .build();
        Turmoil {
            sim,
            shared: Rc::new(Shared::new(config.seed, TICK, config.budgets.events_per_instant)),
            hosts: Vec::new(),
            nodes: Vec::new(),
            links: Links::new((least, most)),
            contract: Contract::default(),
            digest: Digest::new(config.seed),
            budget: Budget::new(config.budgets),
            ordinal: 0,
            cause: Ticket::default(),
        }
    }

    /// Plants a bug in every shell started from now on: for tests of those who are to notice.
    pub fn plant(&mut self, bug: Option<Planted>) {
        self.shared.planted.set(bug);
    }

    fn time(&self) -> Instant {
        self.shared.tick_began.get()
    }

    fn tick(&mut self) {
        self.budget.step(self.time(), 0);
        self.links.let_through(&self.sim);
        // Supervisors never end, and nothing else is turmoil's to fail.
        if let Err(error) = self.sim.step() {
            self.shared.crash(NodeRef(0), &format!("turmoil: {error}"));
        }
        self.shared.tick_began.set(Instant::from_nanos(self.sim.elapsed().as_nanos() as u64));
    }

    /// Tells what was seen, in the order of time.
    fn tell(&mut self, observer: &mut dyn Observer) {
        let mut seen = std::mem::take(&mut *self.shared.sightings.borrow_mut());
        // Each host's own order stays.
        seen.sort_by_key(|sighting| sighting.at);
        for sighting in &seen {
            self.ordinal += 1;
            sighting.ticket.number(self.ordinal);
            if let Some(what) = sighting.seen.what() {
                let event = Event {
                    ordinal: sighting.ticket.ordinal(),
                    cause: sighting.cause.ordinal(),
                    at: sighting.at,
                    host: sighting.host,
                    node: sighting.node,
                    what,
                };
                self.digest.event(&event, sighting.size);
                self.budget.event(event.node, digest::kind(&event.what));
                observer.event(&event);
            }
            self.contract.sighting(sighting);
        }
    }

    fn verdict(&mut self) -> Option<Stop> {
        if self.shared.overrun.get() {
            self.budget.exceed("events within a tick", self.shared.most_in_a_tick);
            return self.budget.verdict(self.time()).map(Stop::Runaway);
        }
        if let Some((node, message)) = &*self.shared.crashed.borrow() {
            return Some(Stop::Crashed { node: *node, message: message.clone() });
        }
        if self.budget.is_exceeded() { self.budget.verdict(self.time()).map(Stop::Runaway) } else { None }
    }

    /// Something happens between ticks, by a fault's hand.
    fn notice(&mut self, host: Option<HostId>, node: Option<NodeRef>, seen: Seen) -> Ticket {
        self.shared.see(self.time(), &self.cause, host, node, seen, 0)
    }
}
