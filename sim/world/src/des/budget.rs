//! The bounds of one run. Going over one is the verdict `runaway`, with the hottest cycle as witness.

use super::digest::kind_name;
use super::{Budgets, Runaway};
use crate::event::NodeRef;
use klamm_model::units::Instant;
use std::collections::BTreeMap;

/// How many of the latest events are looked at for the hottest cycle.
const REMEMBERED: usize = 1024;
/// How many kinds of event a witness names.
const NAMED: usize = 6;

#[derive(Debug)]
pub(crate) struct Budget {
    bounds: Budgets,
    events: u64,
    steps: u64,
    instant: Instant,
    /// Events and steps before this instant.
    before_instant: u64,
    /// Bytes of messages that are on their way or wait for a worker, and how many there are.
    held_bytes: u64,
    held: u64,
    /// The latest events: kind in the low byte, node above it.
    latest: Box<[u32]>,
    exceeded: Option<(&'static str, u64)>,
}

impl Budget {
    pub(crate) fn new(bounds: Budgets) -> Budget {
        Budget {
            bounds,
            events: 0,
            steps: 0,
            instant: Instant::ZERO,
            before_instant: 0,
            held_bytes: 0,
            held: 0,
            latest: vec![0; REMEMBERED].into(),
            exceeded: None,
        }
    }

    /// One event.
    pub(crate) fn event(&mut self, node: Option<NodeRef>, kind: u8) {
        self.latest[self.events as usize % REMEMBERED] =
            u32::from(node.map_or(u16::MAX, |n| n.0)) << 8 | u32::from(kind);
        self.events += 1;
    }

    /// One step of the main loop, seen or not; what the steps before it amounted to is looked at.
    pub(crate) fn step(&mut self, now: Instant, queued: usize) {
        self.steps += 1;
        let happened = self.events + self.steps;
        if now != self.instant {
            self.instant = now;
            self.before_instant = happened;
        }
        if self.events > self.bounds.events {
            self.exceed("events", self.bounds.events);
        }
        if happened - self.before_instant > self.bounds.events_per_instant {
            self.exceed("events within one instant", self.bounds.events_per_instant);
        }
        if queued as u64 + self.held > self.bounds.queued {
            self.exceed("events that wait", self.bounds.queued);
        }
    }

    /// A message of `size` bytes is on its way.
    pub(super) fn hold(&mut self, size: u32) {
        self.held += 1;
        self.held_bytes += u64::from(size);
        if self.held_bytes > self.bounds.held_bytes {
            self.exceed("bytes of messages held", self.bounds.held_bytes);
        }
    }

    /// It was handled, or is gone.
    pub(super) fn release(&mut self, size: u32) {
        self.held -= 1;
        self.held_bytes -= u64::from(size);
    }

    /// How many messages are on their way or wait, and their bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> (u64, u64) {
        (self.held, self.held_bytes)
    }

    pub(crate) fn exceed(&mut self, budget: &'static str, bound: u64) {
        self.exceeded.get_or_insert((budget, bound));
    }

    /// The verdict, if there is one.
    pub(crate) fn verdict(&self, now: Instant) -> Option<Runaway> {
        let (budget, bound) = self.exceeded?;
        let mut counts = BTreeMap::new();
        for &latest in &self.latest[..REMEMBERED.min(self.events as usize)] {
            *counts.entry(latest).or_insert(0) += 1;
        }
        let mut hottest: Vec<(u32, u32)> = counts.into_iter().map(|(what, count)| (count, what)).collect();
        hottest.sort_by(|a, b| b.cmp(a));
        let name = |(count, what): (u32, u32)| {
            let node = (what >> 8) as u16;
            ((node != u16::MAX).then_some(NodeRef(node)), kind_name(what as u8), count)
        };
        Some(Runaway { budget, bound, at: now, hottest: hottest.into_iter().take(NAMED).map(name).collect() })
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded.is_some()
    }
}
