//! A node's own deadlines, in order of time and then of setting.

use crate::node::Outbox;
use crate::small_map::SmallMap;
use crate::units::Instant;

/// A key to cancel a timer with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimerKey(Instant, u64);

/// Pending deadlines, each with what it is for.
#[derive(Debug)]
pub struct Timers<T> {
    pending: SmallMap<(Instant, u64), T>,
    next: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers { pending: SmallMap::new(), next: 0 }
    }
}

impl<T> Timers<T> {
    /// Sets one.
    pub fn set(&mut self, at: Instant, what: T) -> TimerKey {
        self.next += 1;
        self.pending.insert((at, self.next), what);
        TimerKey(at, self.next)
    }
    /// Cancels one; `None` if it has fired.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        self.pending.remove(&(key.0, key.1))
    }
    /// Takes the next one due at `now`, if there is any.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        let (key, _) = self.pending.first_key_value()?;
        if key.0 > now { None } else { self.pending.pop_first().map(|(_, what)| what) }
    }
    /// Says the earliest deadline to the outbox.
    pub fn arm(&self, out: &mut Outbox) {
        if let Some((&(at, _), _)) = self.pending.first_key_value() {
            out.wake_at(at);
        }
    }
    /// How many are pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }
    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}
