//! The modelled disk: a device in front of a page cache, by the rules of `world.md`.
//!
//! An operation takes effect in the page cache when it is submitted, so reads see every append submitted before
//! them; it is over when the device says so, and a node may rely on it only then. What a crash makes of operations
//! in flight and of unsynced data is drawn. The rooms:
//! - [`profile`]: what a device costs; [`device`]: queueing, and the faults in force;
//! - [`file`]: what reads see of a file and how much of it is durable; [`rope`]: its bytes; [`names`]: which file
//!   bears which name;
//! - [`perform`]: what each operation does; [`crash`]: kill, power loss, rot, wipe; [`draw`]: keyed draws.
//!
//! It never knows Kafka's rules; only [`Disk::bit_rot`] knows what a segment's name looks like. There is no limit on
//! the page cache and no throttling of writers: everything is cached until the power goes.

mod crash;
mod device;
mod draw;
mod file;
pub(crate) mod names;
mod perform;
mod profile;
pub(crate) mod rope;
#[cfg(test)]
mod tests;

pub use profile::DiskProfile;

use crate::event::{LostData, NodeRef, Ordinal};
use crate::faults::DiskErrorOn;
use bytes::Bytes;
use device::Device;
use draw::{Draws, For};
use file::File;
use klamm_model::disk::{DiskOp, DiskResult, DiskToken, Path};
use klamm_model::ids::Incarnation;
use klamm_model::units::{Duration, Instant};
use names::{FileId, Names};
use perform::{Effect, Order};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

/// Dirty pages are written back between one and 35 seconds after they became dirty: Linux's flusher wakes every
/// 5 s and takes what is older than 30 s, and earlier ones when memory asks for it.
const WRITE_BACK: (u64, u64) = (1_000_000_000, 34_000_000_000);
/// The journal commits within 5 s.
const JOURNAL: u64 = 5_000_000_000;

/// An operation that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The event that submitted it.
    pub cause: Ordinal,
    /// Who asked.
    pub node: NodeRef,
    /// In which incarnation.
    pub incarnation: Incarnation,
    /// Under which token.
    pub token: DiskToken,
    /// What was asked.
    pub op: DiskOp,
    /// How it went.
    pub result: DiskResult,
}

/// What can be wrong with a device for a while.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DiskFault {
    /// The device answers nothing; reads that the page cache can serve still are.
    Stall,
    /// Everything takes this many times as long. Of several, the greatest counts.
    Slow(u32),
    /// Operations of this kind fail with EIO. A failing write may have got through in part.
    Error(DiskErrorOn),
    /// Fsyncs report success and do nothing.
    LyingFsync,
    /// Appends and writes fail with ENOSPC; they may have got through in part.
    Full,
}

/// An operation that has not completed.
#[derive(Debug)]
struct InFlight {
    /// Submission order.
    seq: u64,
    effect: Effect,
    completion: Completion,
}

/// When an operation completes; of several at one moment, what was submitted first; and its place.
type Due = (Instant, u64, usize);

/// An operation that waits for a stalled device.
#[derive(Debug)]
struct Waiting {
    order: Order,
    cost: device::Cost,
    op: usize,
}

/// Something the kernel does on its own account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Background {
    WriteBack(FileId),
    Journal,
}

/// One host's disk.
#[derive(Debug)]
pub struct Disk {
    draws: Draws,
    device: Device,
    names: Names,
    /// By [`FileId`]; `None` once no name can lead there.
    files: Vec<Option<File>>,
    /// When the last operation on names completes.
    names_busy: Instant,
    /// Operations that have not completed.
    in_flight: Slab<InFlight>,
    /// Those whose end is known.
    due: BinaryHeap<Reverse<Due>>,
    /// Submitted while the device is stalled.
    waiting: Vec<Waiting>,
    stalled_since: Instant,
    /// Reads the page cache served, and when.
    ready: VecDeque<(Instant, Completion)>,
    background: BTreeSet<(Instant, Background)>,
    journal_due: bool,
    /// Names that went away since it was last looked for files beyond reach; the most there is: look at once.
    orphans: u32,
    damage: Vec<LostData>,
    submitted: u64,
    journals: u64,
    crashes: u64,
    rots: u64,
}

impl Disk {
    /// An empty disk. `key` is the key of its draws: a hash of seed and host.
    pub fn new(profile: DiskProfile, key: u64) -> Disk {
        let draws = Draws(key);
        Disk {
            draws,
            device: Device::new(profile, draws),
            names: Names::default(),
            files: Vec::new(),
            names_busy: Instant::ZERO,
            in_flight: Slab::new(),
            due: BinaryHeap::new(),
            waiting: Vec::new(),
            stalled_since: Instant::ZERO,
            ready: VecDeque::new(),
            background: BTreeSet::new(),
            journal_due: false,
            orphans: 0,
            damage: Vec::new(),
            submitted: 0,
            journals: 0,
            crashes: 0,
            rots: 0,
        }
    }

    /// Takes an operation. What it does is visible to reads at once; its completion comes from [`Disk::advance`].
    pub fn submit(
        &mut self,
        now: Instant,
        cause: Ordinal,
        node: NodeRef,
        incarnation: Incarnation,
        token: DiskToken,
        op: DiskOp,
    ) {
        self.catch_up(now);
        self.submitted += 1;
        let performed = self.perform(now, &op);
        let completion = Completion { cause, node, incarnation, token, op, result: performed.result };
        let Some(cost) = performed.cost else {
            self.ready.push_back((now, completion));
            return;
        };
        let op = self.in_flight.insert(InFlight { seq: self.submitted, effect: performed.effect, completion });
        if self.device.is_stalled() {
            self.device.meet(DiskFault::Stall);
            self.waiting.push(Waiting { order: performed.order, cost, op });
        } else {
            self.schedule(now, performed.order, cost, op);
        }
    }

    /// Operations on one file, and those on names, complete in the order they were submitted. Reads wait for nobody.
    fn schedule(&mut self, now: Instant, order: Order, cost: device::Cost, op: usize) {
        let mut finish = self.device.finish(now, cost);
        match &order {
            Order::Free => {}
            Order::File(id) => {
                if let Some(file) = self.files[id.0 as usize].as_mut() {
                    finish = finish.max(file.busy_until);
                    file.busy_until = finish;
                }
            }
            Order::Names(ids) => {
                finish = finish.max(self.names_busy);
                for id in ids {
                    finish = finish.max(self.file(*id).map_or(Instant::ZERO, |f| f.busy_until));
                }
                for id in ids {
                    if let Some(file) = self.files[id.0 as usize].as_mut() {
                        file.busy_until = finish;
                    }
                }
                self.names_busy = finish;
            }
        }
        self.due.push(Reverse((finish, self.in_flight[op].seq, op)));
    }

    /// When [`Disk::advance`] has something next: maybe the present instant (reads the page cache served).
    pub fn next_at(&self) -> Option<Instant> {
        if let Some((at, _)) = self.ready.front() {
            return Some(*at);
        }
        if self.device.is_stalled() {
            return None;
        }
        self.due.peek().map(|Reverse((finish, ..))| *finish)
    }

    /// Hands over what is over by `now`, in order.
    pub fn advance(&mut self, now: Instant, into: &mut Vec<Completion>) {
        into.extend(self.ready.drain(..).map(|(_, completion)| completion));
        if !self.device.is_stalled() {
            while self.due.peek().is_some_and(|Reverse((finish, ..))| *finish <= now) {
                let Some(Reverse((finish, _, op))) = self.due.pop() else { break };
                self.catch_up(finish);
                let op = self.in_flight.remove(op);
                self.complete(op.effect);
                into.push(op.completion);
            }
        }
        self.catch_up(now);
    }

    /// Does what the kernel did on its own since the last call.
    fn catch_up(&mut self, now: Instant) {
        while let Some((at, task)) = self.background.first().copied() {
            if at > now {
                break;
            }
            self.background.pop_first();
            match task {
                Background::WriteBack(id) => self.write_back(at, id),
                Background::Journal => {
                    self.journal_due = false;
                    if !self.device.is_stalled() {
                        let ids = self.names.completed(None);
                        self.commit(&ids);
                    }
                    self.plan_journal(at);
                }
            }
        }
    }

    fn write_back(&mut self, at: Instant, id: FileId) {
        let broken =
            [DiskFault::Stall, DiskFault::Error(DiskErrorOn::Fsync)].map(|fault| (fault, self.device.has(fault)));
        let Some(file) = self.files[id.0 as usize].as_mut() else { return };
        file.write_back_due = false;
        if broken.iter().any(|(_, on)| *on) {
            if file.dirty_bytes(file.completed()) > 0 {
                broken.into_iter().filter(|(_, on)| *on).for_each(|(fault, _)| self.device.meet(fault));
            }
        } else {
            let mark = file.completed();
            let bytes = file.dirty_bytes(mark);
            file.sync_to(mark);
            if bytes > 0 {
                self.device.write_back(at, bytes);
            }
        }
        self.plan_write_back(at, id);
    }

    /// Draws when a dirty file is written back, unless that is settled.
    fn plan_write_back(&mut self, now: Instant, id: FileId) {
        let draws = self.draws;
        let Some(file) = self.files[id.0 as usize].as_mut() else { return };
        if file.is_dirty() && !file.write_back_due {
            file.write_back_due = true;
            file.write_backs += 1;
            let wait = WRITE_BACK.0 + draws.below(For::WriteBack, u64::from(id.0), file.write_backs, WRITE_BACK.1);
            self.background.insert((now + Duration::from_nanos(wait), Background::WriteBack(id)));
        }
    }

    /// Draws when the journal commits next, if it has anything to.
    fn plan_journal(&mut self, now: Instant) {
        if self.names.is_dirty() && !self.journal_due {
            self.journal_due = true;
            self.journals += 1;
            let wait = 1 + self.draws.below(For::Journal, self.journals, 0, JOURNAL);
            self.background.insert((now + Duration::from_nanos(wait), Background::Journal));
        }
    }

    /// Makes changes of names durable, and forgets files no name can lead to any more.
    fn commit(&mut self, ids: &[names::ChangeId]) {
        if !ids.is_empty() {
            self.names.commit(ids);
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        // A look goes over all files: of many, it must be worth it.
        let worth_it = u32::try_from(self.names.len() / 64).unwrap_or(u32::MAX).max(1);
        if self.orphans < worth_it {
            return;
        }
        let referenced = self.names.referenced();
        for (id, file) in self.files.iter_mut().enumerate() {
            if file.is_some() && !referenced.contains(&FileId(id as u32)) {
                *file = None;
            }
        }
        // Names that are still to be undone or committed keep some alive: look again after the next commit.
        self.orphans = u32::from(self.names.is_dirty());
    }

    fn file(&self, id: FileId) -> Option<&File> {
        self.files.get(id.0 as usize).and_then(Option::as_ref)
    }

    /// A fault begins or ends. Equal faults nest.
    pub fn set_fault(&mut self, now: Instant, fault: DiskFault, on: bool) {
        self.catch_up(now);
        let before = self.device.is_stalled();
        self.device.set(fault, on);
        self.after_stall(now, before);
    }

    /// All faults end.
    pub fn heal(&mut self, now: Instant) {
        self.catch_up(now);
        let before = self.device.is_stalled();
        self.device.heal();
        self.after_stall(now, before);
    }

    fn after_stall(&mut self, now: Instant, stalled_before: bool) {
        match (stalled_before, self.device.is_stalled()) {
            (false, true) => self.stalled_since = now,
            (true, false) => {
                let by = now.since(self.stalled_since);
                if by > Duration::ZERO && !self.due.is_empty() {
                    self.device.meet(DiskFault::Stall);
                }
                self.device.shift(self.stalled_since, by);
                self.names_busy += by;
                for file in self.files.iter_mut().flatten() {
                    file.busy_until += by;
                }
                let due = std::mem::take(&mut self.due).into_iter();
                self.due = due.map(|Reverse((finish, seq, op))| Reverse((finish + by, seq, op))).collect();
                for w in std::mem::take(&mut self.waiting) {
                    self.schedule(now, w.order, w.cost, w.op);
                }
            }
            _ => {}
        }
    }

    /// How many operations such faults have altered so far.
    pub fn met(&self, fault: DiskFault) -> u64 {
        // What waits behind a stall that is not over is held up already.
        let waits = fault == DiskFault::Stall && self.device.is_stalled() && !self.due.is_empty();
        self.device.met(fault) + u64::from(waits)
    }

    /// Data dropped by failed fsyncs since this was last asked.
    pub fn take_damage(&mut self) -> Vec<LostData> {
        std::mem::take(&mut self.damage)
    }

    /// A file as reads see it.
    pub fn file_contents(&self, path: &Path) -> Option<Bytes> {
        let file = self.file(self.names.get(path)?)?;
        Some(file.live().read(0, u64::MAX))
    }

    /// Every file as reads see it, sorted by path. For audits. Copies files of more than one chunk; see
    /// [`Disk::pieces`].
    pub fn contents(&self) -> impl Iterator<Item = (Path, Bytes)> + '_ {
        self.names.all().filter_map(|(path, id)| Some((path.clone(), self.file(id)?.live().read(0, u64::MAX))))
    }

    /// As [`Disk::contents`], each file in the pieces it was written in, without copying.
    pub fn pieces(&self) -> impl Iterator<Item = (Path, Vec<Bytes>)> + '_ {
        self.names
            .all()
            .filter_map(|(path, id)| Some((path.clone(), self.file(id)?.live().pieces(0, u64::MAX).collect())))
    }

    /// Every file as far as it is durable: what a power loss now would leave at the least. For audits.
    pub fn durable_contents(&self) -> impl Iterator<Item = (Path, Bytes)> + '_ {
        self.names.durable().filter_map(|(path, id)| Some((path.clone(), self.file(id)?.durable().read(0, u64::MAX))))
    }

    /// Bytes held in files, deleted ones that may come back included.
    pub fn held_bytes(&self) -> u64 {
        self.files.iter().flatten().map(|f| f.live().len()).sum()
    }
}
