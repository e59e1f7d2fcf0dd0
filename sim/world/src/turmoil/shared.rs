//! What the processes on turmoil's hosts share with the world that drives them. One thread; nobody keeps a borrow across a
//! call.

use super::disk::HostDisk;
use super::seen::{Seen, Sighting, Ticket};
use crate::des::EPOCH_MS;
use crate::event::{ConnEnd, Ending, HostId, NodeRef};
use crate::shell::planted::Planted;
use crate::shell::process::Control;
use crate::world::RuleId;
use klamm_model::ConnId;
use klamm_model::ids::Incarnation;
use klamm_model::node::{Listener, Node};
use klamm_model::units::{Duration, Instant, Timestamp};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::task::Waker;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A node's state machine, which the world may ask for its account.
pub(super) type Machine = Rc<RefCell<Box<dyn Node>>>;

/// A process that runs.
pub(super) struct Running {
    pub(super) incarnation: Incarnation,
    pub(super) machine: Machine,
    pub(super) control: UnboundedSender<Control>,
    /// Dropped, it kills.
    pub(super) _life: oneshot::Sender<()>,
}

/// One end of an open connection, as faults see it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) me: HostId,
    pub(super) peer: HostId,
    pub(super) reset: Cell<bool>,
    /// Those who wait to read and to write.
    pub(super) wakers: RefCell<[Option<Waker>; 2]>,
}

/// The two ends of a connection, as they become known.
#[derive(Debug, Default)]
struct Pair {
    opener: Option<ConnEnd>,
    acceptor: Option<(ConnEnd, Listener)>,
    /// Whether the opener and the acceptor have it no more.
    gone: [bool; 2],
    /// Requests on their way: correlation id and the event that sent them.
    requests: VecDeque<(i32, Ticket)>,
    /// Responses on their way.
    responses: VecDeque<(i32, Ticket)>,
}

impl Pair {
    fn is_over(&self) -> bool {
        self.gone[0] && (self.gone[1] || self.acceptor.is_none()) || self.gone[1] && self.opener.is_none()
    }
}

/// A host, as its processes see it.
pub(super) struct HostShared {
    pub(super) disk: Rc<HostDisk>,
    /// What the monotonic clock read when the world began.
    pub(super) uptime: Duration,
    pub(super) wall: Rc<WallClock>,
    pub(super) unresolvable: bool,
    /// How often its name was looked up while it did not resolve.
    pub(super) unresolved: u64,
}

/// A host's wall clock, as faults change it.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    /// By how many milliseconds it is off.
    off_ms: Cell<i64>,
    /// It was stepped, and no process has read it since.
    changed: Cell<bool>,
    /// Steps that a process has read.
    met: Cell<u64>,
}

impl WallClock {
    pub(super) fn off_by(ms: i64) -> WallClock {
        WallClock { off_ms: Cell::new(ms), ..WallClock::default() }
    }
    pub(super) fn step(&self, by_ms: i64) {
        self.off_ms.set(self.off_ms.get().saturating_add(by_ms));
        self.changed.set(self.changed.get() || by_ms != 0);
    }
    /// How many of its steps were read.
    pub(super) fn met(&self) -> u64 {
        self.met.get()
    }
    fn read(&self, now: Instant) -> Timestamp {
        if self.changed.take() {
            self.met.set(self.met.get() + 1);
        }
        Timestamp(EPOCH_MS + self.off_ms.get() + (now.as_nanos() / 1_000_000) as i64)
    }
}

/// See the module.
pub(super) struct Shared {
    pub(super) seed: u64,
    pub(super) planted: Cell<Option<Planted>>,
    /// Since it was last told.
    pub(super) sightings: RefCell<Vec<Sighting>>,
    /// The tick under way began here.
    pub(super) tick_began: Cell<Instant>,
    pub(super) tick: Duration,
    pub(super) most_in_a_tick: u64,
    /// More happened in a tick than that.
    pub(super) overrun: Cell<bool>,
    pub(super) hosts: RefCell<Vec<HostShared>>,
    /// By node.
    pub(super) running: RefCell<Vec<Option<Running>>>,
    pub(super) names: RefCell<BTreeMap<String, HostId>>,
    pub(super) addresses: RefCell<BTreeMap<IpAddr, HostId>>,
    /// Who listens, by host and port.
    pub(super) listening: RefCell<BTreeMap<(HostId, u16), NodeRef>>,
    /// Opener's and acceptor's address.
    pairs: RefCell<BTreeMap<(String, String), Pair>>,
    lines: RefCell<Vec<Weak<Line>>>,
    /// Network rules in force, by the way from one host to another.
    pub(super) ways: RefCell<BTreeMap<(HostId, HostId), Vec<RuleId>>>,
    /// Senders and receivers of what network rules have held up or delayed.
    met: RefCell<BTreeMap<RuleId, BTreeSet<HostId>>>,
    /// A node's code failed.
    pub(super) crashed: RefCell<Option<(NodeRef, Box<str>)>>,
    /// Over every byte that was read, in order.
    bytes: Cell<u64>,
}

impl Shared {
    pub(super) fn new(seed: u64, tick: Duration, most_in_a_tick: u64) -> Shared {
        Shared {
            seed,
            planted: Cell::new(None),
            sightings: RefCell::default(),
            tick_began: Cell::new(Instant::ZERO),
            tick,
            most_in_a_tick,
            overrun: Cell::new(false),
            hosts: RefCell::default(),
            running: RefCell::default(),
            names: RefCell::default(),
            addresses: RefCell::default(),
            listening: RefCell::default(),
            pairs: RefCell::default(),
            lines: RefCell::default(),
            ways: RefCell::default(),
            met: RefCell::default(),
            crashed: RefCell::default(),
            bytes: Cell::new(0),
        }
    }

    /// The world's time, on whatever host this is called; between ticks, that of the next tick's beginning.
    pub(super) fn now(&self) -> Instant {
        let began = self.tick_began.get();
        let Some(elapsed) = ::turmoil::sim_elapsed() else { return began };
        let now = Instant::from_nanos(elapsed.as_nanos() as u64);
        now.clamp(began, began + self.tick)
    }

    /// A host's wall clock; to be called on it.
    pub(super) fn wall(self: &Rc<Self>, host: HostId) -> impl Fn() -> Timestamp + use<> {
        let wall = self.hosts.borrow()[usize::from(host.0)].wall.clone();
        let shared = Rc::downgrade(self);
        move || {
            let now = shared.upgrade().map_or(Instant::ZERO, |shared| shared.now());
            wall.read(now)
        }
    }

    /// Something leaves one host for another: the rules on its way meet it.
    pub(super) fn leaves(&self, from: HostId, to: HostId) {
        let ways = self.ways.borrow();
        for rule in ways.get(&(from, to)).into_iter().flatten() {
            self.met.borrow_mut().entry(*rule).or_default().extend([from, to]);
        }
    }
    /// The hosts whose bytes a rule has met.
    pub(super) fn met_by(&self, rule: RuleId) -> Vec<HostId> {
        self.met.borrow().get(&rule).into_iter().flatten().copied().collect()
    }

    /// Notes what was seen, and returns the ticket under which it may be named as a cause.
    pub(super) fn see(
        &self,
        at: Instant,
        cause: &Ticket,
        host: Option<HostId>,
        node: Option<NodeRef>,
        seen: Seen,
        size: usize,
    ) -> Ticket {
        let ticket = Ticket::default();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let sighting = Sighting { at, ticket: ticket.clone(), cause: cause.clone(), host, node, size, seen };
        let mut sightings = self.sightings.borrow_mut();
        // A node that goes on and on without letting time pass would never let a tick end.
        let (most, node) = (self.most_in_a_tick, sighting.node);
        sightings.push(sighting);
        if sightings.len() as u64 > most && !self.overrun.replace(true) {
            // The only way out of a process that never waits. The verdict is of a runaway, not of a crash.
            panic!("more than {most} events within a tick, the last of {node:?}");
        }
        ticket
    }

    /// Whether this incarnation is the one that runs.
    pub(super) fn runs(&self, node: NodeRef, incarnation: Incarnation) -> bool {
        self.running.borrow()[usize::from(node.0)].as_ref().is_some_and(|r| r.incarnation == incarnation)
    }

    /// A process is over, if it was not before.
    pub(super) fn ended(&self, (host, node): (HostId, NodeRef), incarnation: Incarnation, how: Ending, cause: &Ticket) {
        if !self.runs(node, incarnation) {
            return;
        }
        let running = self.running.borrow_mut()[usize::from(node.0)].take();
        drop(running);
        let now = self.now();
        if how != Ending::PowerLost {
            let disk = self.hosts.borrow()[usize::from(host.0)].disk.clone();
            disk.kill(now, node);
        }
        self.see(now, cause, Some(host), Some(node), Seen::Ended { incarnation, how }, 0);
        let is_mine = |end: ConnEnd| end.node == node && end.incarnation == incarnation;
        for pair in self.pairs.borrow_mut().values_mut() {
            pair.gone[0] |= pair.opener.is_some_and(is_mine);
            pair.gone[1] |= pair.acceptor.is_some_and(|(end, _)| is_mine(end));
        }
        self.pairs.borrow_mut().retain(|_, pair| !pair.is_over());
    }

    /// A node's code failed.
    pub(super) fn crash(&self, node: NodeRef, message: &str) {
        self.crashed.borrow_mut().get_or_insert_with(|| (node, message.into()));
    }

    /// Takes bytes that were read into the digest.
    pub(super) fn read(&self, line: &Line, bytes: &[u8]) {
        let place = u64::from(line.me.0) << 16 | u64::from(line.peer.0);
        self.bytes.set(xxh3_64_with_seed(bytes, self.bytes.get().rotate_left(17) ^ place));
    }
    pub(super) fn bytes_digest(&self) -> u64 {
        self.bytes.get()
    }

    /// One end of an open connection.
    pub(super) fn line(&self, me: HostId, peer: HostId) -> Rc<Line> {
        let line = Rc::new(Line { me, peer, reset: Cell::new(false), wakers: RefCell::default() });
        let mut lines = self.lines.borrow_mut();
        if lines.len().is_power_of_two() {
            lines.retain(|line| line.strong_count() > 0);
        }
        lines.push(Rc::downgrade(&line));
        line
    }

    /// Every connection between two sides is reset. Returns the hosts that had one, in order.
    pub(super) fn reset(&self, a: &[HostId], b: &[HostId]) -> Vec<HostId> {
        let mut had = BTreeSet::new();
        let lines: Vec<Rc<Line>> = self.lines.borrow().iter().filter_map(Weak::upgrade).collect();
        let hit = |l: &&Rc<Line>| a.contains(&l.me) && b.contains(&l.peer) || b.contains(&l.me) && a.contains(&l.peer);
        for line in lines.iter().filter(hit) {
            if !line.reset.replace(true) {
                had.extend([line.me, line.peer]);
            }
            let wakers = std::mem::take(&mut *line.wakers.borrow_mut());
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
        had.into_iter().collect()
    }

    /// One end of a connection is known; `Some` with both once the other is, too.
    pub(super) fn pair(
        &self,
        (opener, acceptor): (&str, &str),
        end: ConnEnd,
        listener: Option<Listener>,
    ) -> Option<(ConnEnd, ConnEnd, Listener)> {
        let mut pairs = self.pairs.borrow_mut();
        let key = (opener.to_owned(), acceptor.to_owned());
        let pair = pairs.entry(key).or_default();
        match listener {
            // Either side may be told first: who accepts may be paused. Addresses of old connections come again.
            None if pair.opener.is_some() => *pair = Pair { opener: Some(end), ..Pair::default() },
            None => pair.opener = Some(end),
            Some(listener) if pair.acceptor.is_some() => {
                *pair = Pair { acceptor: Some((end, listener)), ..Pair::default() };
            }
            Some(listener) => pair.acceptor = Some((end, listener)),
        }
        let (acceptor, listener) = pair.acceptor?;
        Some((pair.opener?, acceptor, listener))
    }

    /// One end has the connection no more.
    pub(super) fn left(&self, key: &(String, String), is_opener: bool) {
        let mut pairs = self.pairs.borrow_mut();
        let Some(pair) = pairs.get_mut(key) else { return };
        pair.gone[usize::from(!is_opener)] = true;
        if pair.is_over() {
            pairs.remove(key);
        }
    }

    /// The other end of a connection. Of one that its acceptor, paused, has not been told of, only the node is known.
    pub(super) fn peer(&self, key: &(String, String), is_opener: bool) -> Option<ConnEnd> {
        let pairs = self.pairs.borrow();
        let pair = pairs.get(key)?;
        if !is_opener {
            return pair.opener;
        }
        pair.acceptor.map(|(end, _)| end).or_else(|| {
            let address: SocketAddr = key.1.parse().ok()?;
            let host = *self.addresses.borrow().get(&address.ip())?;
            let node = *self.listening.borrow().get(&(host, address.port()))?;
            let incarnation = self.running.borrow()[usize::from(node.0)].as_ref()?.incarnation;
            Some(ConnEnd { node, incarnation, conn: ConnId::incoming(0) })
        })
    }

    /// A message leaves.
    pub(super) fn sent(&self, key: &(String, String), is_request: bool, correlation: i32, ticket: Ticket) {
        if let Some(pair) = self.pairs.borrow_mut().get_mut(key) {
            let queue = if is_request { &mut pair.requests } else { &mut pair.responses };
            queue.push_back((correlation, ticket));
        }
    }

    /// A message has come: the event that sent it.
    pub(super) fn came(&self, key: &(String, String), is_request: bool, correlation: i32) -> Ticket {
        let mut pairs = self.pairs.borrow_mut();
        let found = pairs.get_mut(key).and_then(|pair| {
            let queue = if is_request { &mut pair.requests } else { &mut pair.responses };
            let at = queue.iter().position(|(c, _)| *c == correlation)?;
            queue.drain(..=at).next_back()
        });
        found.map_or_else(Ticket::default, |(_, ticket)| ticket)
    }
}
