//! What will happen, in order of (time, sequence): a heap for the future, and a first-in-first-out for this instant.
//!
//! An entry of the heap that is due now was put there before now began, so it goes before everything in the FIFO:
//! the order is that of one sequence, at the price of a FIFO for the many events that follow at once.

use klamm_model::units::Instant;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

#[derive(Debug)]
struct Entry<E> {
    /// Time above, sequence below: one comparison.
    key: u128,
    event: E,
}

impl<E> Entry<E> {
    fn at(&self) -> Instant {
        Instant::from_nanos((self.key >> 64) as u64)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    /// Reversed: the standard heap yields the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

/// Events that wait.
#[derive(Debug)]
pub(super) struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    instant: VecDeque<E>,
    seq: u64,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Queue<E> {
        Queue { heap: BinaryHeap::with_capacity(1024), instant: VecDeque::new(), seq: 0 }
    }

    /// Adds an event. One whose time has come, or has gone by, happens in this instant, after what waits already.
    pub(super) fn push(&mut self, now: Instant, at: Instant, event: E) {
        if at <= now {
            self.instant.push_back(event);
        } else {
            self.seq += 1;
            let key = u128::from(at.as_nanos()) << 64 | u128::from(self.seq);
            self.heap.push(Entry { key, event });
        }
    }

    /// When the next event happens.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        if self.instant.is_empty() { self.heap.peek().map(Entry::at) } else { Some(now) }
    }

    /// The next event, if it happens no later than `until`.
    pub(super) fn pop(&mut self, now: Instant, until: Instant) -> Option<(Instant, E)> {
        match self.heap.peek() {
            Some(first) if first.at() <= now || (self.instant.is_empty() && first.at() <= until) => {
                self.heap.pop().map(|e| (e.at(), e.event))
            }
            _ => self.instant.pop_front().map(|event| (now, event)),
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.heap.len() + self.instant.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(n: u64) -> Instant {
        Instant::from_nanos(n)
    }

    #[test]
    fn what_was_planned_for_this_instant_goes_before_what_follows_in_it() {
        let mut queue = Queue::new();
        queue.push(at(0), at(5), "planned");
        queue.push(at(0), at(5), "planned later");
        queue.push(at(0), at(9), "future");
        assert_eq!(queue.pop(at(0), at(100)), Some((at(5), "planned")));
        queue.push(at(5), at(5), "follows");
        assert_eq!(queue.pop(at(5), at(100)), Some((at(5), "planned later")));
        assert_eq!(queue.pop(at(5), at(100)), Some((at(5), "follows")));
        assert_eq!(queue.pop(at(5), at(8)), None);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.pop(at(5), at(9)), Some((at(9), "future")));
    }

    proptest! {
        /// Whatever is pushed comes out in order of time and, within an instant, of pushing.
        #[test]
        fn is_a_stable_sort(times in prop::collection::vec(0u64..20, 0..60)) {
            let mut queue = Queue::new();
            let mut expected: Vec<(u64, usize)> = times.iter().copied().zip(0..).collect();
            for &(time, n) in &expected {
                queue.push(Instant::ZERO, at(time), (time, n));
            }
            expected.sort();
            let (mut now, mut got) = (Instant::ZERO, Vec::new());
            while let Some((next, event)) = queue.pop(now, Instant::MAX) {
                prop_assert!(next >= now);
                now = next;
                got.push(event);
            }
            prop_assert_eq!(got, expected);
        }
    }
}
