//! Workers: inputs wait in one queue per host, and take effect when a worker finishes with them.
//!
//! A crash before that means that it never happened. Inputs of one connection are handled one after the other, in
//! order; disk completions all cost the same, so that they stay in order too. A pause stops the workers where they
//! are.

use super::connection::{ConnRef, Side};
use super::{CpuProfile, Ev, Sim};
use crate::event::{HostId, NodeRef, Ordinal};
use kafka_protocol::messages::RequestKind;
use klamm_model::Input;
use klamm_model::ids::Incarnation;
use klamm_model::units::{Duration, Instant};
use slab::Slab;
use std::collections::VecDeque;
use std::ops::Index;

/// Where an input is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkId(u32);

/// Inputs, from when their message is sent or they come about until they take effect or never will. What waits in
/// queues are their numbers: an input is put together once, and stays where it is.
#[derive(Debug)]
pub(super) struct Works(Slab<Work>);

impl Works {
    pub(super) fn new() -> Works {
        Works(Slab::with_capacity(256))
    }
    pub(super) fn add(&mut self, work: Work) -> WorkId {
        WorkId(self.0.insert(work) as u32)
    }
    fn remove(&mut self, work: WorkId) -> Work {
        self.0.remove(work.0 as usize)
    }
    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Index<WorkId> for Works {
    type Output = Work;
    fn index(&self, work: WorkId) -> &Work {
        &self.0[work.0 as usize]
    }
}

/// An input on its way, that waits for a worker, or has one.
#[derive(Debug)]
pub(super) struct Work {
    /// Whose it is.
    pub(super) node: NodeRef,
    pub(super) incarnation: Incarnation,
    /// The event that led to it.
    pub(super) cause: Ordinal,
    /// The end of the connection it came through.
    pub(super) lane: Option<(ConnRef, Side)>,
    /// Of its message, in bytes.
    pub(super) size: u32,
    pub(super) input: Input,
}

impl Work {
    fn cost(&self, profile: &CpuProfile) -> Duration {
        let base = match &self.input {
            Input::Start { .. } => profile.start,
            Input::Timer | Input::Shutdown => profile.timer,
            Input::Connected { .. } | Input::Accepted { .. } | Input::Disconnected { .. } => profile.connection,
            Input::Request { request, .. } => match **request {
                RequestKind::Produce(_) => profile.produce,
                RequestKind::Fetch(_) => profile.fetch,
                _ => profile.request,
            },
            Input::Response { .. } => profile.response,
            Input::Disk { .. } => profile.completion,
        };
        base.saturating_add(Duration::from_nanos(profile.per_kib.as_nanos() * u64::from(self.size) / 1024))
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.input, Input::Request { .. } | Input::Response { .. })
    }
}

#[derive(Debug)]
struct Worker {
    work: Option<WorkId>,
    finishes: Instant,
    /// When it was begun, as a count: what was begun first ends first among what ends at one moment.
    began: u64,
    /// Events of earlier generations mean nothing.
    generation: u32,
}

/// A host's workers.
#[derive(Debug)]
pub(super) struct Cpu {
    profile: CpuProfile,
    workers: Vec<Worker>,
    idle: Vec<u16>,
    ready: VecDeque<WorkId>,
    begun: u64,
    paused: Option<Instant>,
}

impl Cpu {
    pub(super) fn new(profile: CpuProfile) -> Cpu {
        let count = profile.workers.max(1);
        let worker = || Worker { work: None, finishes: Instant::ZERO, began: 0, generation: 0 };
        Cpu {
            workers: (0..count).map(|_| worker()).collect(),
            idle: (0..count).rev().collect(),
            ready: VecDeque::new(),
            begun: 0,
            paused: None,
            profile,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }
}

impl Sim {
    /// An input comes about here and now.
    pub(super) fn enqueue_new(&mut self, host: HostId, work: Work) {
        let work = self.works.add(work);
        self.enqueue(host, work);
    }

    /// An input is there. It waits for its connection's earlier ones, and for a worker.
    pub(super) fn enqueue(&mut self, host: HostId, id: WorkId) {
        let work = &self.works[id];
        let process = self.nodes[usize::from(work.node.0)].process.as_mut();
        let Some(process) = process.filter(|p| p.incarnation == work.incarnation) else { return self.drop_work(id) };
        if !process.started && !matches!(work.input, Input::Start { .. }) {
            process.before_start.push(id);
            return;
        }
        if let Some((conn, side)) = work.lane {
            let Some(conn) = self.conns.get_mut(conn) else { return self.drop_work(id) };
            let end = conn.end(side);
            if end.busy {
                end.waiting.push_back(id);
                return;
            }
            end.busy = true;
        }
        let cpu = &mut self.hosts[usize::from(host.0)].cpu;
        if cpu.paused.is_none() && cpu.ready.is_empty() && !cpu.idle.is_empty() {
            return self.employ(host, id);
        }
        cpu.ready.push_back(id);
        self.dispatch(host);
    }

    /// Gives idle workers what is ready.
    pub(super) fn dispatch(&mut self, host: HostId) {
        loop {
            let cpu = &mut self.hosts[usize::from(host.0)].cpu;
            if cpu.ready.is_empty() || cpu.is_paused() || cpu.idle.is_empty() {
                return;
            }
            if let Some(work) = cpu.ready.pop_front() {
                self.employ(host, work);
            }
        }
    }

    /// Gives an input to an idle worker, of which there must be one.
    fn employ(&mut self, host: HostId, work: WorkId) {
        let cpu = &mut self.hosts[usize::from(host.0)].cpu;
        let slot = cpu.idle.pop().expect("an idle worker");
        let worker = &mut cpu.workers[usize::from(slot)];
        worker.finishes = self.now + self.works[work].cost(&cpu.profile);
        cpu.begun += 1;
        worker.began = cpu.begun;
        worker.work = Some(work);
        let event = Ev::Work { host, slot, generation: worker.generation };
        self.queue.push_in_turn(self.now, worker.finishes, event);
    }

    /// A worker has finished: its input, to take effect now. The worker is idle again.
    pub(super) fn finish(&mut self, host: HostId, slot: u16, generation: u32) -> Option<Work> {
        let cpu = &mut self.hosts[usize::from(host.0)].cpu;
        let worker = &mut cpu.workers[usize::from(slot)];
        if worker.generation != generation {
            return None;
        }
        let work = worker.work.take()?;
        cpu.idle.push(slot);
        Some(self.works.remove(work))
    }

    /// A connection's input is over: its next one may have a worker.
    pub(super) fn next_in_lane(&mut self, host: HostId, lane: Option<(ConnRef, Side)>) {
        let Some((conn, side)) = lane else { return };
        let Some(conn) = self.conns.get_mut(conn) else { return };
        let end = conn.end(side);
        match end.waiting.pop_front() {
            Some(work) => self.hosts[usize::from(host.0)].cpu.ready.push_back(work),
            None => end.busy = false,
        }
    }

    /// Workers stop where they are.
    pub(super) fn pause_cpu(&mut self, host: HostId) {
        let cpu = &mut self.hosts[usize::from(host.0)].cpu;
        if cpu.paused.is_none() {
            cpu.paused = Some(self.now);
            cpu.workers.iter_mut().for_each(|w| w.generation = w.generation.wrapping_add(1));
        }
    }

    /// Workers go on where they were.
    pub(super) fn resume_cpu(&mut self, host: HostId) {
        let cpu = &mut self.hosts[usize::from(host.0)].cpu;
        let Some(since) = cpu.paused.take() else { return };
        let pause = self.now.since(since);
        let mut unfinished: Vec<u16> = (0..cpu.workers.len() as u16).collect();
        unfinished.retain(|&slot| cpu.workers[usize::from(slot)].work.is_some());
        unfinished.sort_by_key(|&slot| {
            let worker = &cpu.workers[usize::from(slot)];
            (worker.finishes, worker.began)
        });
        for slot in unfinished {
            let worker = &mut cpu.workers[usize::from(slot)];
            worker.finishes += pause;
            let event = Ev::Work { host, slot, generation: worker.generation };
            self.queue.push(self.now, worker.finishes, event);
        }
        self.dispatch(host);
    }

    /// Whatever a node had under way never happens.
    pub(super) fn drop_node_work(&mut self, host: HostId, node: NodeRef) {
        let cpu = &mut self.hosts[usize::from(host.0)].cpu;
        let works = &self.works;
        let theirs = |work: WorkId| works[work].node == node;
        let mut dropped: Vec<WorkId> = Vec::new();
        for (slot, worker) in cpu.workers.iter_mut().enumerate() {
            if let Some(work) = worker.work.take_if(|work| theirs(*work)) {
                worker.generation = worker.generation.wrapping_add(1);
                cpu.idle.push(slot as u16);
                dropped.push(work);
            }
        }
        for work in std::mem::take(&mut cpu.ready) {
            if theirs(work) { dropped.push(work) } else { cpu.ready.push_back(work) }
        }
        dropped.into_iter().for_each(|work| self.drop_work(work));
    }

    /// An input that nobody will handle.
    pub(super) fn drop_work(&mut self, work: WorkId) {
        let work = self.works.remove(work);
        if work.is_message() {
            self.budget.release(work.size);
        }
    }
}
