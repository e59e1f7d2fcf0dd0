//! What will happen, in order of (time, sequence): a heap for the future, and a first-in-first-out for this instant.
//!
//! An entry of the heap that is due now was put there before now began, so it goes before everything in the FIFO:
//! the order is that of one sequence, at the price of a FIFO for the many events that follow at once.
//!
//! Events of a kind that come due as they are added (workers that finish) stand in line beside the heap.
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
    /// Events with their keys, in order: see [`Queue::push_in_turn`].
    turns: VecDeque<(u128, E)>,
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
            turns: VecDeque::new(),
            instant: VecDeque::new(),
            seq: 0,
        }
    }

    /// Adds an event. One whose time has come, or has gone by, happens in this instant, after what waits already.
    ///
    /// # Panics
    /// Beyond 2^24 events that wait, or 2^40 ever added: the budgets of a run end it before.
    #[inline]
    pub(super) fn push(&mut self, now: Instant, at: Instant, event: E) {
        if at <= now {
            self.instant.push_back(event);
        } else {
            self.plan(at, event);
        }
    }

    /// As [`Queue::push`], for events of a kind of which most are due in the order in which they are added, soon: one
    /// that is due no earlier than the last such is put behind it, and the heap has no work with it.
    #[inline]
    pub(super) fn push_in_turn(&mut self, now: Instant, at: Instant, event: E) {
        if at > now && self.turns.back().is_none_or(|&(last, _)| time_of(last) <= at) {
            let key = self.key(at, 0);
            self.turns.push_back((key, event));
        } else {
            self.push(now, at, event);
        }
    }

    /// The key of an event that is added now; the slot is where the heap's events are kept.
    fn key(&mut self, at: Instant, slot: u32) -> u128 {
        self.seq += 1;
        assert!(slot >> SLOT == 0 && self.seq >> SEQ == 0, "a queue within its bounds");
        u128::from(at.as_nanos()) << (SEQ + SLOT) | u128::from(self.seq << SLOT | u64::from(slot))
    }

    fn plan(&mut self, at: Instant, event: E) {
        let slot = if let Some(slot) = self.free.pop() {
            self.events[slot as usize] = event;
            slot
        } else {
            self.events.push(event);
            self.events.len() as u32 - 1
        };
        let key = Reverse(self.key(at, slot));
        if std::mem::take(&mut self.spent) {
            *self.heap.peek_mut().expect("the spent key") = key;
        } else {
            self.heap.push(key);
        }
    }

    /// The first key of the heap's events: its top or, below a spent one, the first of the two next.
    #[inline]
    fn planned(&self) -> Option<u128> {
        let keys = self.heap.as_slice();
        if self.spent { keys.iter().skip(1).take(2).max() } else { keys.first() }.map(|first| first.0)
    }

    /// When the next event happens.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        if !self.instant.is_empty() {
            return Some(now);
        }
        let in_turn = self.turns.front().map(|&(key, _)| key);
        in_turn.into_iter().chain(self.planned()).min().map(time_of)
    }

    /// The next event, if it happens no later than `until`.
    #[inline]
    pub(super) fn pop(&mut self, now: Instant, until: Instant) -> Option<(Instant, E)> {
        let due = |key| {
            let at = time_of(key);
            (at <= now || (self.instant.is_empty() && at <= until)).then_some(at)
        };
        let (in_turn, planned) = (self.turns.front().map_or(u128::MAX, |t| t.0), self.planned().unwrap_or(u128::MAX));
        if in_turn < planned {
            if let Some(at) = due(in_turn) {
                return self.turns.pop_front().map(|(_, event)| (at, event));
            }
        } else if planned < u128::MAX
            && let Some(at) = due(planned)
        {
            if self.spent {
                self.heap.pop();
            }
            self.spent = true;
            let slot = planned as u32 & ((1 << SLOT) - 1);
            self.free.push(slot);
            return Some((at, self.events[slot as usize]));
        }
        self.instant.pop_front().map(|event| (now, event))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.heap.len() - usize::from(self.spent) + self.turns.len() + self.instant.len()
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
        /// Whatever is added, when and in whichever way, comes out in order of time and, within an instant, of adding.
        #[test]
        fn is_a_stable_sort(steps in prop::collection::vec(prop::option::of((0u64..6, any::<bool>())), 0..200)) {
            let (mut queue, mut waiting, mut now) = (Queue::new(), std::collections::BTreeSet::new(), Instant::ZERO);
            let pops = std::iter::repeat_n(&None, steps.len());
            for (n, step) in steps.iter().chain(pops).enumerate() {
                if let Some((delay, in_turn)) = *step {
                    let due = at(now.as_nanos() + delay);
                    if in_turn { queue.push_in_turn(now, due, n) } else { queue.push(now, due, n) }
                    waiting.insert((due, n));
                } else {
                    let first = waiting.pop_first();
                    prop_assert_eq!(queue.next_at(now), first.map(|(due, _)| due));
                    if let Some((due, n)) = first && due > now {
                        prop_assert_eq!(queue.pop(now, at(due.as_nanos() - 1)), None);
                        prop_assert_eq!(queue.pop(now, due), Some((due, n)));
                    } else {
                        prop_assert_eq!(queue.pop(now, Instant::MAX), first);
                    }
                    now = first.map_or(now, |(due, _)| due);
                }
                prop_assert_eq!(queue.len(), waiting.len());
            }
        }
    }
}
