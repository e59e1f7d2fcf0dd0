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
use std::collections::VecDeque;

/// An input that waits for a worker, or has one.
#[derive(Debug)]
pub(super) struct Work {
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

    fn is_message(&self) -> bool {
        matches!(self.input, Input::Request { .. } | Input::Response { .. })
    }
}

#[derive(Debug)]
struct Worker {
    work: Option<Work>,
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
    ready: VecDeque<Work>,
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
    /// An input is there. It waits for its connection's earlier ones, and for a worker.
    pub(super) fn enqueue(&mut self, host: HostId, work: Work) {
        let process = self.nodes[usize::from(work.node.0)].process.as_mut();
        let Some(process) = process.filter(|p| p.incarnation == work.incarnation) else { return self.drop_work(&work) };
        if !process.started && !matches!(work.input, Input::Start { .. }) {
            process.before_start.push(work);
            return;
        }
        if let Some((conn, side)) = work.lane {
            let Some(conn) = self.conns.get_mut(conn) else { return self.drop_work(&work) };
            let end = conn.end(side);
            if end.busy {
                end.waiting.push_back(work);
                return;
            }
            end.busy = true;
        }
        let cpu = &mut self.hosts[usize::from(host.0)].cpu;
        if cpu.paused.is_none() && cpu.ready.is_empty() && !cpu.idle.is_empty() {
            return self.employ(host, work);
        }
        cpu.ready.push_back(work);
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
    fn employ(&mut self, host: HostId, work: Work) {
        let cpu = &mut self.hosts[usize::from(host.0)].cpu;
        let slot = cpu.idle.pop().expect("an idle worker");
        let worker = &mut cpu.workers[usize::from(slot)];
        worker.finishes = self.now + work.cost(&cpu.profile);
        cpu.begun += 1;
        worker.began = cpu.begun;
        worker.work = Some(work);
        let event = Ev::Work { host, slot, generation: worker.generation };
        self.queue.push(self.now, worker.finishes, event);
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
        Some(work)
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
        let mut dropped: Vec<Work> = Vec::new();
        for (slot, worker) in cpu.workers.iter_mut().enumerate() {
            if let Some(work) = worker.work.take_if(|w| w.node == node) {
                worker.generation = worker.generation.wrapping_add(1);
                cpu.idle.push(slot as u16);
                dropped.push(work);
            }
        }
        for work in std::mem::take(&mut cpu.ready) {
            if work.node == node { dropped.push(work) } else { cpu.ready.push_back(work) }
        }
        dropped.iter().for_each(|work| self.drop_work(work));
    }

    /// An input that nobody will handle.
    pub(super) fn drop_work(&mut self, work: &Work) {
        if work.is_message() {
            self.budget.release(work.size);
        }
    }
}
