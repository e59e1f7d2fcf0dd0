//! What will happen, in order of (time, sequence): a heap for the future, and a first-in-first-out for this instant.
//!
//! An entry of the heap that is due now was put there before now began, so it goes before everything in the FIFO:
//! the order is that of one sequence, at the price of a FIFO for the many events that follow at once.
//!
//! What is taken out of the heap leaves its key at the top until something is added or taken: most events are followed
//! by another, whose key then sinks from the top, and the heap is put in order once instead of twice.

use klamm_model::units::Instant;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Bits of a key that say where the event is kept.
const SLOT: u32 = 24;
/// Bits of a key that say after how many others the event was added.
const SEQ: u32 = 40;

/// Events that wait. The heap moves keys about, not events: time above, then sequence, then where the event is kept,
/// which never decides, as no two sequences are equal.
#[derive(Debug)]
pub(super) struct Queue<E> {
    heap: BinaryHeap<Reverse<u128>>,
    /// The key at the top is of an event that has been taken out.
    spent: bool,
    events: Vec<E>,
    free: Vec<u32>,
    instant: VecDeque<E>,
    seq: u64,
}

fn time_of(key: u128) -> Instant {
    Instant::from_nanos((key >> (SEQ + SLOT)) as u64)
}

impl<E: Copy> Queue<E> {
    pub(super) fn new() -> Queue<E> {
        Queue {
            heap: BinaryHeap::with_capacity(1024),
            spent: false,
            events: Vec::with_capacity(1024),
            free: Vec::new(),
            instant: VecDeque::new(),
            seq: 0,
        }
    }

    /// Adds an event. One whose time has come, or has gone by, happens in this instant, after what waits already.
    ///
    /// # Panics
    /// Beyond 2^24 events that wait, or 2^40 ever added: the budgets of a run end it before.
    pub(super) fn push(&mut self, now: Instant, at: Instant, event: E) {
        if at <= now {
            self.instant.push_back(event);
            return;
        }
        let slot = if let Some(slot) = self.free.pop() {
            self.events[slot as usize] = event;
            slot
        } else {
            self.events.push(event);
            self.events.len() as u32 - 1
        };
        self.seq += 1;
        assert!(slot >> SLOT == 0 && self.seq >> SEQ == 0, "a queue within its bounds");
        let order = self.seq << SLOT | u64::from(slot);
        let key = Reverse(u128::from(at.as_nanos()) << (SEQ + SLOT) | u128::from(order));
        if std::mem::take(&mut self.spent) {
            *self.heap.peek_mut().expect("the spent key") = key;
        } else {
            self.heap.push(key);
        }
    }

    /// The first key of an event that waits.
    fn first(&mut self) -> Option<u128> {
        if std::mem::take(&mut self.spent) {
            self.heap.pop();
        }
        self.heap.peek().map(|first| first.0)
    }

    /// When the next event happens.
    pub(super) fn next_at(&mut self, now: Instant) -> Option<Instant> {
        if self.instant.is_empty() { self.first().map(time_of) } else { Some(now) }
    }

    /// The next event, if it happens no later than `until`.
    pub(super) fn pop(&mut self, now: Instant, until: Instant) -> Option<(Instant, E)> {
        if let Some(first) = self.first() {
            let at = time_of(first);
            if at <= now || (self.instant.is_empty() && at <= until) {
                self.spent = true;
                let slot = first as u32 & ((1 << SLOT) - 1);
                self.free.push(slot);
                return Some((at, self.events[slot as usize]));
            }
        }
        self.instant.pop_front().map(|event| (now, event))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.heap.len() - usize::from(self.spent) + self.instant.len()
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
