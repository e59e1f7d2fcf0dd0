//! Connections: two ends, and a first-in-first-out stream of segments each way.
//!
//! A stream lives apart from its ends: bytes that left the sender may still arrive after it closed, and be
//! processed. A connection is forgotten when neither end has it any more. Held as a slab; a reference carries a
//! generation, so that one to a forgotten connection leads nowhere.

use super::cpu::WorkId;
use crate::event::{ConnEnd, HostId, NodeRef, Ordinal};
use klamm_model::ids::Incarnation;
use klamm_model::node::ConnId;
use klamm_model::units::Instant;
use std::collections::VecDeque;

/// A connection of the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ConnRef {
    index: u32,
    generation: u32,
}

/// One end: 0 is who opened it, 1 who accepted it. The stream that leaves an end has its number.
pub(super) type Side = u8;

/// The end that is not `side`.
pub(super) const fn other(side: Side) -> Side {
    1 - side
}

/// What travels.
#[derive(Debug)]
pub(super) enum Body {
    /// May I? To this port.
    Syn,
    /// You may.
    SynAck,
    /// I shall say nothing more.
    Fin,
    /// There is no such connection (any more).
    Rst,
    /// A request or a response: the input that it will be.
    Message(WorkId),
}

/// One thing that travels. A message is one segment, whatever its size.
#[derive(Debug)]
pub(super) struct Segment {
    /// When it is out of the sender's network card.
    pub(super) departs: Instant,
    /// When it is there.
    pub(super) arrives: Instant,
    /// The event that sent it.
    pub(super) cause: Ordinal,
    pub(super) body: Body,
}

/// Whether the first segment of a stream moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    /// There is none.
    Idle,
    /// An event will bring it.
    Scheduled,
    /// It was lost to a partition, or to a machine that is off, and is sent again and again.
    Stuck { since: Instant },
    /// A rule holds it.
    Held,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) queue: VecDeque<Segment>,
    pub(super) flow: Flow,
    /// How many segments were sent: the identity of each one's draws.
    pub(super) sent: u64,
    /// When the last one arrives: nothing overtakes it.
    pub(super) last_arrival: Instant,
    /// A Fin or Rst was sent: nothing more is taken.
    pub(super) ended: bool,
    /// Since when what was sent arrives but is not acknowledged, as the way back is cut.
    pub(super) unacknowledged: Option<Instant>,
}

impl Stream {
    const fn new() -> Stream {
        Stream {
            queue: VecDeque::new(),
            flow: Flow::Idle,
            sent: 0,
            last_arrival: Instant::ZERO,
            ended: false,
            unacknowledged: None,
        }
    }
    fn reset(&mut self) {
        debug_assert!(self.queue.is_empty());
        *self = Stream { queue: std::mem::take(&mut self.queue), ..Stream::new() };
    }
}

/// How an end stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EndState {
    /// Not asked yet (the accepting side of an attempt).
    Absent,
    /// Asked, not answered yet (the opening side).
    Opening,
    /// Up.
    Open,
    /// The node closed it, was told that it ended, or is no more.
    Gone,
}

/// One end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: HostId,
    /// For those who watch, too. An accepting side has none until it has accepted; then it never changes.
    pub(super) name: ConnEnd,
    pub(super) state: EndState,
    /// Its Disconnected is on its way to the node: nothing more comes in or goes out.
    pub(super) ended: bool,
    /// One of its inputs has or awaits a worker.
    pub(super) busy: bool,
    /// Further inputs, in order.
    pub(super) waiting: VecDeque<WorkId>,
}

impl End {
    /// Whether segments that arrive still mean something to the node.
    pub(super) fn listens(&self) -> bool {
        matches!(self.state, EndState::Opening | EndState::Open) && !self.ended
    }
    /// Whether the node may send.
    pub(super) fn sends(&self) -> bool {
        self.state == EndState::Open && !self.ended
    }
    fn is_gone(&self) -> bool {
        matches!(self.state, EndState::Gone | EndState::Absent)
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    generation: u32,
    live: bool,
    pub(super) ends: [End; 2],
    pub(super) streams: [Stream; 2],
    /// The port asked for.
    pub(super) port: u16,
    /// The identity of its draws.
    pub(super) identity: u64,
}

impl Conn {
    pub(super) fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[usize::from(side)]
    }
    pub(super) fn stream(&mut self, side: Side) -> &mut Stream {
        &mut self.streams[usize::from(side)]
    }
    /// From `side`'s host to the other's.
    pub(super) fn way(&self, side: Side) -> (HostId, HostId) {
        (self.ends[usize::from(side)].host, self.ends[usize::from(other(side))].host)
    }
    /// Whether neither end has it any more.
    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(End::is_gone)
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Conns {
    slots: Vec<Conn>,
    free: Vec<u32>,
}

impl Conns {
    /// A new attempt of `opener` to reach a port of `to`.
    pub(super) fn open(&mut self, opener: ConnEnd, from: HostId, to: HostId, port: u16, identity: u64) -> ConnRef {
        let end = |host, name, state| End { host, name, state, ended: false, busy: false, waiting: VecDeque::new() };
        let nobody = ConnEnd { node: NodeRef(u16::MAX), incarnation: Incarnation(0), conn: ConnId(0) };
        let ends = [end(from, opener, EndState::Opening), end(to, nobody, EndState::Absent)];
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Conn {
                generation: 0,
                live: false,
                ends: [0, 1].map(|_| end(from, nobody, EndState::Gone)),
                streams: [Stream::new(), Stream::new()],
                port,
                identity,
            });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.live = true;
        slot.ends = ends;
        slot.port = port;
        slot.identity = identity;
        ConnRef { index, generation: slot.generation }
    }

    pub(super) fn get(&self, conn: ConnRef) -> Option<&Conn> {
        self.slots.get(conn.index as usize).filter(|c| c.generation == conn.generation)
    }

    pub(super) fn get_mut(&mut self, conn: ConnRef) -> Option<&mut Conn> {
        self.slots.get_mut(conn.index as usize).filter(|c| c.generation == conn.generation)
    }

    /// Forgets a connection whose streams have been emptied.
    pub(super) fn forget(&mut self, conn: ConnRef) {
        let slot = &mut self.slots[conn.index as usize];
        assert!(slot.live && slot.generation == conn.generation, "a connection is forgotten once");
        slot.live = false;
        slot.generation = slot.generation.wrapping_add(1);
        slot.streams.iter_mut().for_each(Stream::reset);
        self.free.push(conn.index);
    }

    /// All there are, in an order that the run alone decides.
    pub(super) fn refs(&self) -> Vec<ConnRef> {
        let live = self.slots.iter().enumerate().filter(|(_, c)| c.live);
        live.map(|(n, c)| ConnRef { index: n as u32, generation: c.generation }).collect()
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// A node's connections by its own numbers. Numbers rise, so both lists stay sorted.
#[derive(Debug, Default)]
pub(super) struct NodeConns {
    outgoing: Vec<(ConnId, ConnRef)>,
    incoming: Vec<(ConnId, ConnRef)>,
}

impl NodeConns {
    fn list(&self, id: ConnId) -> &Vec<(ConnId, ConnRef)> {
        if id.is_incoming() { &self.incoming } else { &self.outgoing }
    }

    /// # Panics
    /// If a number is used twice: a broken outbox.
    pub(super) fn insert(&mut self, id: ConnId, conn: ConnRef) {
        let list = if id.is_incoming() { &mut self.incoming } else { &mut self.outgoing };
        assert!(list.last().is_none_or(|&(last, _)| last < id), "connection numbers rise");
        list.push((id, conn));
    }

    pub(super) fn get(&self, id: ConnId) -> Option<ConnRef> {
        let list = self.list(id);
        list.binary_search_by_key(&id, |e| e.0).ok().map(|n| list[n].1)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<ConnRef> {
        let n = self.list(id).binary_search_by_key(&id, |e| e.0).ok()?;
        let list = if id.is_incoming() { &mut self.incoming } else { &mut self.outgoing };
        Some(list.remove(n).1)
    }

    /// All, the opened ones first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, ConnRef)> + '_ {
        self.outgoing.iter().chain(&self.incoming).copied()
    }
}
