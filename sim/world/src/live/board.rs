//! The faults in force. Whoever wants to know (a socket, a disk, a clock) looks here; whoever injects faults writes here.
//!
//! Parties are hosts by name (`b1`, `c1`), and `clients`: whoever connects from outside.

use crate::disk::DiskFault;
use klamm_model::ids::ApiKey;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::watch;

/// Whoever connects from outside.
pub const CLIENTS: &str = "clients";

/// Names a fault in force, to lift it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct FaultId(pub u64);

/// A fault that lasts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing passes from `a` to `b`, and back unless it is one-way.
    Cut {
        /// One side.
        a: Vec<String>,
        /// The other.
        b: Vec<String>,
        /// Only from `a` to `b`.
        one_way: bool,
    },
    /// What passes between two sides takes longer.
    Delay {
        /// One side.
        a: Vec<String>,
        /// The other.
        b: Vec<String>,
        /// In each direction.
        by: Duration,
    },
    /// Something is wrong with a host's disk.
    Disk {
        /// Whose.
        who: String,
        /// What.
        what: DiskFault,
    },
    /// Requests of clients are answered with an error, and do nothing.
    Answer {
        /// Of which host.
        who: String,
        /// Which.
        api: ApiKey,
        /// Kafka's code.
        error: i16,
        /// How many; the fault is over after that. `None`: until it is lifted.
        times: Option<u32>,
    },
}

/// What is done to what passes from one party to another.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Way {
    /// Nothing arrives.
    pub cut: bool,
    /// It arrives so much later.
    pub delay: Duration,
}

/// One end of an open connection, as faults see it.
#[derive(Debug)]
pub(super) struct Line {
    /// The party of this end.
    pub me: Arc<str>,
    /// The party of the other end, once known.
    pub peer: Mutex<Option<Arc<str>>>,
    /// It has been reset.
    pub reset: AtomicBool,
    /// Those who wait to read and to write.
    pub wakers: Mutex<[Option<Waker>; 2]>,
}

impl Line {
    /// Whoever waits looks again.
    fn wake(&self) {
        let mut wakers = lock(&self.wakers);
        wakers.iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }
}

#[derive(Debug, Default)]
struct State {
    faults: BTreeMap<FaultId, Fault>,
    next: u64,
    /// Who listens, by port.
    listening: BTreeMap<u16, Arc<str>>,
    /// Who opened a connection, by the port it comes from.
    openers: BTreeMap<u16, Arc<str>>,
    lines: Vec<Weak<Line>>,
}

/// All of it, shared by a cluster's threads.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// By how many milliseconds hosts' wall clocks are off.
    steps: Mutex<BTreeMap<String, Arc<AtomicI64>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole between two statements; a panic elsewhere does not harm it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Board {
    fn default() -> Board {
        Board { state: Mutex::default(), changed: watch::channel(0).0, steps: Mutex::default() }
    }
}

impl Board {
    /// A fault comes into force.
    pub fn add(&self, fault: Fault) -> FaultId {
        let mut state = lock(&self.state);
        state.next += 1;
        let id = FaultId(state.next);
        state.faults.insert(id, fault);
        self.change(state);
        id
    }
    /// A fault is over. False if it was not in force.
    pub fn lift(&self, id: FaultId) -> bool {
        let mut state = lock(&self.state);
        let lifted = state.faults.remove(&id).is_some();
        self.change(state);
        lifted
    }
    /// All faults are over, clocks are right again.
    pub fn lift_all(&self) {
        lock(&self.steps).values().for_each(|step| step.store(0, Ordering::Relaxed));
        let mut state = lock(&self.state);
        state.faults.clear();
        self.change(state);
    }
    /// What is in force.
    pub fn faults(&self) -> Vec<(FaultId, Fault)> {
        lock(&self.state).faults.iter().map(|(id, fault)| (*id, fault.clone())).collect()
    }
    /// Every connection between two sides is reset, now.
    pub fn reset(&self, a: &[String], b: &[String]) -> usize {
        let mut state = lock(&self.state);
        let mut count = 0;
        let is = |side: &[String], who: &str| side.iter().any(|s| s == who);
        for line in state.lines.iter().filter_map(Weak::upgrade) {
            let Some(peer) = lock(&line.peer).clone() else { continue };
            if is(a, &line.me) && is(b, &peer) || is(b, &line.me) && is(a, &peer) {
                line.reset.store(true, Ordering::Relaxed);
                count += 1;
            }
        }
        state.lines.retain(|line| line.strong_count() > 0);
        self.change(state);
        count
    }
    /// A host's wall clock jumps.
    pub fn step_clock(&self, who: &str, by_ms: i64) {
        self.clock(who).fetch_add(by_ms, Ordering::Relaxed);
    }
    /// By how much a host's wall clock is off.
    pub(super) fn clock(&self, who: &str) -> Arc<AtomicI64> {
        lock(&self.steps).entry(who.to_owned()).or_default().clone()
    }

    fn change(&self, state: MutexGuard<'_, State>) {
        let lines: Vec<Arc<Line>> = state.lines.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        lines.iter().for_each(|line| line.wake());
    }
    /// Changes with every fault that comes or goes.
    pub(super) fn generation(&self) -> u64 {
        *self.changed.borrow()
    }
    /// Tells of every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A host listens on a port.
    pub(super) fn listening(&self, port: u16, host: Arc<str>) {
        lock(&self.state).listening.insert(port, host);
    }
    /// Who listens on a port; somebody outside, if no host does.
    pub(super) fn listener(&self, port: u16) -> Arc<str> {
        lock(&self.state).listening.get(&port).cloned().unwrap_or_else(|| CLIENTS.into())
    }
    /// A connection that was opened, by the port it comes from.
    pub(super) fn opened(&self, port: u16, by: Arc<str>) {
        lock(&self.state).openers.insert(port, by);
    }
    /// It is closed.
    pub(super) fn closed(&self, port: u16) {
        lock(&self.state).openers.remove(&port);
    }
    /// Who opened the connection that comes from a port.
    pub(super) fn opener(&self, port: u16) -> Arc<str> {
        lock(&self.state).openers.get(&port).cloned().unwrap_or_else(|| CLIENTS.into())
    }
    /// One end of an open connection.
    pub(super) fn line(&self, me: Arc<str>, peer: Option<Arc<str>>) -> Arc<Line> {
        let line = Line { me, peer: Mutex::new(peer), reset: AtomicBool::new(false), wakers: Mutex::default() };
        let line = Arc::new(line);
        let mut state = lock(&self.state);
        if state.lines.len().is_power_of_two() {
            state.lines.retain(|line| line.strong_count() > 0);
        }
        state.lines.push(Arc::downgrade(&line));
        line
    }
    /// What is done to what passes from one party to another.
    pub(super) fn way(&self, from: &str, to: &str) -> Way {
        let mut way = Way::default();
        for fault in lock(&self.state).faults.values() {
            let passes = |a: &[String], b: &[String]| a.iter().any(|s| s == from) && b.iter().any(|s| s == to);
            match fault {
                Fault::Cut { a, b, one_way } => way.cut |= passes(a, b) || !one_way && passes(b, a),
                Fault::Delay { a, b, by } if passes(a, b) || passes(b, a) => way.delay += *by,
                _ => {}
            }
        }
        way
    }
    /// What is wrong with a host's disk.
    pub(super) fn disk(&self, who: &str) -> Vec<DiskFault> {
        let of = |fault: &Fault| match fault {
            Fault::Disk { who: whose, what } if whose == who => Some(*what),
            _ => None,
        };
        lock(&self.state).faults.values().filter_map(of).collect()
    }
    /// Whether any request is to be answered with an error.
    pub(super) fn has_answers(&self) -> bool {
        lock(&self.state).faults.values().any(|fault| matches!(fault, Fault::Answer { .. }))
    }
    /// With which error a host's next request of an API is to be answered, if with any.
    pub(super) fn answer(&self, who: &str, asked: ApiKey) -> Option<i16> {
        let mut state = lock(&self.state);
        let found = state.faults.iter_mut().find_map(|(id, fault)| match fault {
            Fault::Answer { who: whose, api, error, times } if whose == who && *api == asked => {
                let last = times.as_mut().is_some_and(|left| {
                    *left = left.saturating_sub(1);
                    *left == 0
                });
                Some((*error, last.then_some(*id)))
            }
            _ => None,
        });
        let (error, over) = found?;
        if let Some(id) = over {
            state.faults.remove(&id);
            self.change(state);
        }
        Some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn a_one_way_cut_leaves_the_way_back_and_delays_add_up() {
        let board = Board::default();
        let cut = board.add(Fault::Cut { a: names(&["b1"]), b: names(&["b2", "clients"]), one_way: true });
        for _ in 0..2 {
            board.add(Fault::Delay { a: names(&["b2"]), b: names(&["b1"]), by: Duration::from_millis(5) });
        }
        let delay = Duration::from_millis(10);
        assert_eq!(board.way("b1", "b2"), Way { cut: true, delay });
        assert_eq!(board.way("b2", "b1"), Way { cut: false, delay });
        assert_eq!(board.way("b1", CLIENTS), Way { cut: true, delay: Duration::ZERO });
        assert!(board.lift(cut) && !board.lift(cut));
        assert_eq!(board.way("b1", "b2"), Way { cut: false, delay });
    }

    #[test]
    fn an_answer_is_given_as_often_as_was_said() {
        let board = Board::default();
        board.add(Fault::Answer { who: "b1".into(), api: ApiKey::Produce, error: 6, times: Some(2) });
        let ask = |who, api| board.answer(who, api);
        assert_eq!(ask("b2", ApiKey::Produce), None);
        assert_eq!(ask("b1", ApiKey::Fetch), None);
        assert_eq!(ask("b1", ApiKey::Produce), Some(6));
        assert_eq!(ask("b1", ApiKey::Produce), Some(6));
        assert_eq!(ask("b1", ApiKey::Produce), None);
        assert!(board.faults().is_empty());
    }

    #[test]
    fn a_reset_reaches_the_connections_between_two_sides_only() {
        let board = Board::default();
        let line = |me: &str, peer: &str| board.line(me.into(), Some(peer.into()));
        let (hit, spared) = (line("b1", CLIENTS), line("b1", "b2"));
        assert_eq!(board.reset(&names(&["clients"]), &names(&["b1"])), 1);
        assert!(hit.reset.load(Ordering::Relaxed) && !spared.reset.load(Ordering::Relaxed));
    }
}
