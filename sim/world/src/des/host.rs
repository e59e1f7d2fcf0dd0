//! Hosts, and the processes that run on them: how they start, and all the ways in which they end.

use super::clock::Clock;
use super::connection::{Body, Conn, ConnRef, EndState, Flow, NodeConns, Side};
use super::cpu::{Cpu, Work, WorkId};
use super::notice::Notice;
use super::random::node_stream;
use super::{Ev, HostSpec, HostState, MakeNode, NodeKind, Sim};
use crate::disk::Disk;
use crate::event::{ConnEnd, Ending, HostId, NodeRef, Ordinal};
use klamm_model::ids::Incarnation;
use klamm_model::node::{Listener, Node, Outbox};
use klamm_model::units::Instant;
use klamm_model::{ConnId, DisconnectReason, Input};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    /// The identity of its draws.
    pub(super) identity: u64,
    pub(super) clock: Clock,
    pub(super) cpu: Cpu,
    pub(super) disk: Disk,
    /// When the disk's next completion is planned for.
    pub(super) disk_armed: Option<Instant>,
    /// When its network card has sent what it was given.
    pub(super) card_free: Instant,
    /// It has no power.
    pub(super) off: bool,
    /// Its name does not resolve.
    pub(super) unresolvable: bool,
    /// How often it was looked up while it did not.
    pub(super) unresolved: u64,
    /// Its clocks were changed, and no process has read them since.
    pub(super) clock_changed: bool,
    /// Changes of its clocks that a process has read.
    pub(super) clock_met: u64,
    pub(super) nodes: Vec<NodeRef>,
}

impl Host {
    pub(super) fn new(spec: HostSpec, identity: u64, disk_key: u64) -> Host {
        Host {
            identity,
            clock: Clock::new(spec.clock),
            cpu: Cpu::new(spec.cpu),
            disk: Disk::new(spec.disk, disk_key),
            disk_armed: None,
            card_free: Instant::ZERO,
            off: false,
            unresolvable: false,
            unresolved: 0,
            clock_changed: false,
            clock_met: 0,
            nodes: Vec::new(),
            name: spec.name,
        }
    }
}

/// A node over all its incarnations.
pub(super) struct NodeSlot {
    pub(super) name: String,
    /// The identity of its draws.
    pub(super) identity: u64,
    pub(super) host: HostId,
    pub(super) kind: NodeKind,
    pub(super) listeners: Vec<(Listener, u16)>,
    pub(super) make: MakeNode,
    pub(super) incarnations: u32,
    pub(super) process: Option<Process>,
}

impl fmt::Debug for NodeSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}), incarnation {}", self.name, self.kind, self.incarnations)
    }
}

/// One incarnation of a node.
pub(super) struct Process {
    pub(super) incarnation: Incarnation,
    pub(super) machine: Box<dyn Node>,
    pub(super) outbox: Outbox,
    /// It has handled its Start.
    pub(super) started: bool,
    /// What came before that.
    pub(super) before_start: Vec<WorkId>,
    pub(super) conns: NodeConns,
    /// How many connections it accepted.
    pub(super) accepted: u64,
    pub(super) timer: NodeTimer,
}

/// A node's one deadline.
#[derive(Default)]
pub(super) struct NodeTimer {
    /// As the node gave it, on its host's clock.
    pub(super) deadline: Option<Instant>,
    /// The event in answer to which it was first given.
    pub(super) cause: Ordinal,
    /// The events that will look at it, the earliest last: a later one serves again when an earlier one is over.
    pub(super) armed: Vec<Instant>,
    /// It has come, and waits for a worker.
    pub(super) queued: bool,
}

/// How a process's connections end with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Farewell {
    /// Closed in order.
    Fin,
    /// Reset by the machine's kernel.
    Rst,
    /// Nobody is left to say anything.
    Silence,
}

impl Sim {
    pub(super) fn host_mut(&mut self, host: HostId) -> &mut Host {
        &mut self.hosts[usize::from(host.0)]
    }

    /// How a host fares.
    pub fn host_state(&self, host: HostId) -> HostState {
        let state = &self.hosts[usize::from(host.0)];
        let runs = state.nodes.iter().any(|&n| self.is_running(n));
        match (state.off, runs) {
            (true, _) => HostState::Off,
            (false, false) => HostState::Down,
            (false, true) if state.cpu.is_paused() => HostState::Paused,
            (false, true) => HostState::Running,
        }
    }

    /// Starts every node of a host that does not run, each as a new incarnation; power comes back if it was off.
    pub fn start(&mut self, host: HostId) {
        if std::mem::take(&mut self.host_mut(host).off) {
            self.release_stuck();
        }
        for node in self.hosts[usize::from(host.0)].nodes.clone() {
            if self.nodes[usize::from(node.0)].process.is_none() {
                self.start_node(host, node);
            }
        }
    }

    fn start_node(&mut self, host: HostId, node: NodeRef) {
        let slot = &mut self.nodes[usize::from(node.0)];
        slot.incarnations += 1;
        let incarnation = Incarnation(slot.incarnations);
        slot.process = Some(Process {
            incarnation,
            machine: (slot.make)(incarnation),
            outbox: Outbox::new(),
            started: false,
            before_start: Vec::new(),
            conns: NodeConns::default(),
            accepted: 0,
            timer: NodeTimer::default(),
        });
        let rng = Box::new(node_stream(slot.identity, incarnation.0));
        let cause = self.notice(Some(host), Some(node), Notice::Started { incarnation });
        let input = Input::Start { rng, incarnation };
        self.enqueue_new(host, Work { node, incarnation, cause, lane: None, size: 0, input });
    }

    /// The host's processes vanish; the kernel resets their connections; the page cache survives.
    pub fn kill(&mut self, host: HostId) {
        for node in self.hosts[usize::from(host.0)].nodes.clone() {
            self.end_node(node, Ending::Killed);
        }
        self.resume_cpu(host);
    }

    /// Hosts lose power at one instant: silence, and unsynced data is at risk.
    pub fn power_loss(&mut self, hosts: &[HostId]) {
        for &host in hosts {
            self.host_mut(host).off = true;
        }
        for &host in hosts {
            for node in self.hosts[usize::from(host.0)].nodes.clone() {
                self.end_node(node, Ending::PowerLost);
            }
            self.resume_cpu(host);
            let now = self.now;
            let host_state = self.host_mut(host);
            host_state.card_free = now;
            let lost = host_state.disk.power_loss(now);
            self.notice(Some(host), None, Notice::PowerLost { lost });
            self.arm_disk(host);
        }
    }

    /// SIGTERM to the host's nodes. Those that do not run, or were asked before, are left alone.
    pub fn shutdown(&mut self, host: HostId) {
        for node in self.hosts[usize::from(host.0)].nodes.clone() {
            if let Some(process) = &self.nodes[usize::from(node.0)].process {
                let incarnation = process.incarnation;
                let input = Input::Shutdown;
                self.enqueue_new(host, Work { node, incarnation, cause: self.cause, lane: None, size: 0, input });
            }
        }
    }

    /// Nothing is processed on the host until [`Sim::resume`].
    pub fn pause(&mut self, host: HostId) {
        self.pause_cpu(host);
    }

    /// Ends a pause.
    pub fn resume(&mut self, host: HostId) {
        self.resume_cpu(host);
    }

    /// A process ends, however it does.
    pub(super) fn end_node(&mut self, node: NodeRef, how: Ending) {
        let slot = &mut self.nodes[usize::from(node.0)];
        let host = slot.host;
        let Some(mut process) = slot.process.take() else { return };
        let farewell = match how {
            Ending::Exit => Farewell::Fin,
            Ending::PowerLost => Farewell::Silence,
            Ending::Halt { .. } | Ending::Killed | Ending::Panicked { .. } => Farewell::Rst,
        };
        let incarnation = process.incarnation;
        let cause = self.notice(Some(host), Some(node), Notice::Ended { incarnation, how });
        self.drop_node_work(host, node);
        std::mem::take(&mut process.before_start).into_iter().for_each(|work| self.drop_work(work));
        let conns: Vec<(ConnId, _)> = process.conns.iter().collect();
        // A node that panicked may panic again when it is dropped; what it holds is of no use to anybody.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(process)));
        for (id, conn) in conns {
            let side = Side::from(id.is_incoming());
            self.leave(conn, side);
            match farewell {
                Farewell::Fin => self.send_control(conn, side, Body::Fin, cause),
                Farewell::Rst => self.send_control(conn, side, Body::Rst, cause),
                Farewell::Silence => self.drop_unsent(conn, side),
            }
            self.forget_if_over(conn);
        }
        let now = self.now;
        if farewell != Farewell::Silence {
            self.host_mut(host).disk.kill(now, node);
            self.arm_disk(host);
        }
        self.dispatch(host);
    }

    /// What a machine that lost power had not sent yet, or would have had to send again, is gone.
    fn drop_unsent(&mut self, conn: ConnRef, side: Side) {
        let now = self.now;
        let Some(state) = self.conns.get_mut(conn) else { return };
        let stream = state.stream(side);
        let stuck = matches!(stream.flow, Flow::Stuck { .. });
        let mut freed = Vec::new();
        stream.queue.retain(|segment| {
            let left = segment.departs <= now && !stuck;
            if let (false, Body::Message(work)) = (left, &segment.body) {
                freed.push(*work);
            }
            left
        });
        if stuck {
            stream.flow = Flow::Idle;
        }
        freed.into_iter().for_each(|work| self.drop_work(work));
    }

    /// A pending disconnect as seen by `side`: told through the ordinary queue, after what arrived before it.
    pub(super) fn tell_end(&mut self, conn: ConnRef, side: Side, reason: DisconnectReason, cause: Ordinal) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let end = state.end(side);
        if !end.listens() {
            return;
        }
        end.ended = true;
        let (host, ConnEnd { node, incarnation, conn: id }) = (end.host, end.name);
        let input = Input::Disconnected { conn: id, reason };
        self.enqueue_new(host, Work { node, incarnation, cause, lane: Some((conn, side)), size: 0, input });
    }

    /// The node at `side` has this connection no more.
    pub(super) fn leave(&mut self, conn: ConnRef, side: Side) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let end = state.end(side);
        end.state = EndState::Gone;
        let waiting = std::mem::take(&mut end.waiting);
        let name = end.name;
        waiting.into_iter().for_each(|work| self.drop_work(work));
        if let Some(process) = self.nodes[usize::from(name.node.0)].process.as_mut() {
            process.conns.remove(name.conn);
        }
    }

    /// Forgets a connection that neither end has.
    pub(super) fn forget_if_over(&mut self, conn: ConnRef) {
        if self.conns.get(conn).is_some_and(Conn::is_over) {
            self.clear_stream(conn, 0);
            self.clear_stream(conn, 1);
            self.conns.forget(conn);
        }
    }

    /// Plans the disk's next completion.
    pub(super) fn arm_disk(&mut self, host: HostId) {
        let now = self.now;
        let state = &mut self.hosts[usize::from(host.0)];
        let Some(at) = state.disk.next_at() else { return };
        let at = at.max(now);
        if state.disk_armed.is_none_or(|armed| at < armed) {
            state.disk_armed = Some(at);
            self.queue.push(now, at, Ev::Disk { host });
        }
    }
}
