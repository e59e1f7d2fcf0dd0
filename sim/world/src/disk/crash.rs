//! What goes wrong for good: processes killed in the middle of operations, power lost, bits rotten, disks wiped.

use super::draw::For;
use super::names::{FileId, related};
use super::perform::Effect;
use super::{Disk, InFlight};
use crate::event::{LostData, NodeRef};
use klamm_model::disk::{DiskOp, Path};
use klamm_model::units::Instant;
use std::cmp::Reverse;

/// How far an operation in flight got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Got {
    Through,
    /// With this much luck, of 2^32.
    PartOfTheWay(u64),
    Nowhere,
}

/// The paths an operation changes; none for reads and fsyncs, whose failing holds nobody up.
fn changes(op: &DiskOp) -> [Option<&Path>; 2] {
    match op {
        DiskOp::Append { file, .. } | DiskOp::Write { file, .. } | DiskOp::Truncate { file, .. } => [Some(file), None],
        DiskOp::Rename { from, to } => [Some(from), Some(to)],
        DiskOp::Delete { path } => [Some(path), None],
        DiskOp::Read { .. } | DiskOp::Fsync { .. } | DiskOp::FsyncDir { .. } | DiskOp::List { .. } => [None, None],
    }
}

impl Disk {
    /// A process vanished: of its operations in flight each is applied wholly, in part or not at all, and none
    /// completes. On one file they got through in order: after one that did not, none did. The page cache stays.
    pub fn kill(&mut self, now: Instant, node: NodeRef) {
        self.catch_up(now);
        self.crashes += 1;
        self.ready.retain(|(_, completion)| completion.node != node);
        let mine = self.take_in_flight(|op| op.completion.node == node);
        let mut stopped: Vec<Path> = Vec::new();
        let fates: Vec<Got> = mine
            .iter()
            .enumerate()
            .map(|(n, op)| {
                let own = changes(&op.completion.op);
                let blocked = own.iter().flatten().any(|path| stopped.iter().any(|s| related(s, path)));
                let bits = self.draws.bits(For::Kill, self.crashes, n as u64);
                let got = match bits % 3 {
                    _ if blocked => Got::Nowhere,
                    0 => Got::Through,
                    1 => Got::PartOfTheWay(bits >> 32),
                    _ => Got::Nowhere,
                };
                if got != Got::Through {
                    stopped.extend(own.into_iter().flatten().cloned());
                }
                got
            })
            .collect();
        let mut touched = Vec::new();
        for (op, got) in mine.iter().zip(&fates).rev() {
            self.take_back(&op.effect, *got, &mut touched);
        }
        for (op, got) in mine.into_iter().zip(fates) {
            if got == Got::Through {
                self.complete(op.effect);
            }
        }
        for id in touched {
            if let Some(file) = self.files[id.0 as usize].as_mut() {
                file.settle();
            }
        }
        self.orphans = self.orphans.saturating_add(1);
    }

    /// Removes operations that have not completed, in submission order.
    fn take_in_flight(&mut self, which: impl Fn(&InFlight) -> bool) -> Vec<InFlight> {
        let theirs: Vec<usize> = self.in_flight.iter().filter(|(_, op)| which(op)).map(|(at, _)| at).collect();
        let mut taken: Vec<InFlight> = theirs.into_iter().map(|at| self.in_flight.remove(at)).collect();
        self.due.retain(|Reverse((.., op))| self.in_flight.contains(*op));
        self.waiting.retain(|w| self.in_flight.contains(w.op));
        taken.sort_unstable_by_key(|op| op.seq);
        taken
    }

    fn take_back(&mut self, effect: &Effect, got: Got, touched: &mut Vec<FileId>) {
        match effect {
            Effect::Data { file: id, created, cut, at, len, .. } => {
                touched.push(*id);
                let kept = match got {
                    Got::Through => return,
                    Got::PartOfTheWay(luck) => (luck * (*len).min(1 << 31)) >> 32,
                    Got::Nowhere => 0,
                };
                let Some(file) = self.files[id.0 as usize].as_mut() else { return };
                file.take_back(at + kept);
                match (got, created) {
                    (Got::Nowhere, Some((change, before))) => self.names.undo(*change, before),
                    (Got::PartOfTheWay(_), Some((change, _))) => self.names.complete(*change),
                    (Got::Nowhere, None) if *cut => file.uncut(),
                    _ => {}
                }
            }
            Effect::Cut { file: id, .. } => {
                touched.push(*id);
                if let Some(file) = self.files[id.0 as usize].as_mut().filter(|_| got != Got::Through) {
                    file.uncut();
                }
            }
            Effect::Names { change, before } if got != Got::Through => self.names.undo(*change, before),
            Effect::Names { .. } | Effect::None | Effect::Fsync { .. } | Effect::FsyncDir { .. } => {}
        }
    }

    /// The host lost power. Returns what was lost of what reads would have seen, sorted by file.
    pub fn power_loss(&mut self, now: Instant) -> Vec<LostData> {
        self.catch_up(now);
        self.crashes += 1;
        let (crash, draws) = (self.crashes, self.draws);
        // An fsync in flight may have reached the medium; all else in flight is unsynced like the rest.
        for (n, op) in self.take_in_flight(|_| true).into_iter().enumerate() {
            let through = draws.bits(For::LastSync, crash, n as u64) & 1 == 1;
            if through && matches!(op.effect, Effect::Fsync { drop: false, .. } | Effect::FsyncDir { .. }) {
                self.complete(op.effect);
            }
        }
        self.ready.clear();
        self.background.clear();
        self.journal_due = false;
        self.device.clear();
        self.names_busy = Instant::ZERO;
        let lengths: Vec<u64> = self.files.iter().map(|f| f.as_ref().map_or(0, |f| f.live().len())).collect();
        let seen = self.names.lose_power(|dir, many| draws.below(For::Names, crash, dir, many + 1));
        self.orphans = u32::MAX;
        self.sweep();
        let mut lost = Vec::new();
        for (id, file) in self.files.iter_mut().enumerate().filter_map(|(i, f)| f.as_mut().map(|f| (i as u32, f))) {
            let ranges = file.lose_power(draws, (crash << 32) | u64::from(id));
            lost.push((FileId(id), ranges));
        }
        let mut report = Vec::new();
        for (path, id) in seen {
            if self.names.get(&path) != Some(id) {
                report.push(LostData { file: path, from: 0, to: lengths[id.0 as usize] });
            } else if let Ok(i) = lost.binary_search_by_key(&id, |(id, _)| *id) {
                report.extend(lost[i].1.iter().map(|(from, to)| LostData { file: path.clone(), from: *from, to: *to }));
            }
        }
        report
    }

    /// Flips bits in a durable, closed segment of a partition's log (`orders-0`), on the medium and, since the page
    /// cache is taken to have evicted it, for reads. Empty if there is no such segment.
    pub fn bit_rot(&mut self, now: Instant, log: &str) -> Vec<LostData> {
        self.catch_up(now);
        self.rots += 1;
        let segments: Vec<_> =
            self.names.below(&Path::new(log)).into_iter().filter(|(p, _)| p.as_str().ends_with(".log")).collect();
        let closed = &segments[..segments.len().saturating_sub(1)];
        let durable: Vec<_> = closed
            .iter()
            .map(|(p, id)| (p, *id, self.file(*id).map_or(0, |f| f.durable_len())))
            .filter(|c| c.2 > 0)
            .collect();
        let pick = |n: u64, of: u64| self.draws.below(For::Rot, self.rots, n, of);
        let Some((path, id, len)) = durable.get(pick(0, durable.len() as u64) as usize).copied() else {
            return Vec::new();
        };
        let from = pick(1, len);
        let to = (from + 1 + pick(2, 3)).min(len);
        let report = vec![LostData { file: path.clone(), from, to }];
        let masks: Vec<u8> = (from..to).map(|at| 1 << pick(3 + at - from, 8)).collect();
        if let Some(file) = self.files[id.0 as usize].as_mut() {
            for (at, mask) in (from..to).zip(masks) {
                file.rot(at, mask);
            }
        }
        report
    }

    /// An operator empties a directory of a host that is down; durable at once.
    pub fn erase(&mut self, now: Instant, dir: &Path) {
        self.catch_up(now);
        if let Some((change, _)) = self.names.delete(dir) {
            self.orphans = self.orphans.saturating_add(1);
            self.names.complete(change);
            self.commit(&[change]);
        }
    }

    /// Everything is gone, operations in flight included. Returns what was there.
    pub fn wipe(&mut self, now: Instant) -> Vec<LostData> {
        self.catch_up(now);
        self.take_in_flight(|_| true);
        self.ready.clear();
        self.background.clear();
        self.journal_due = false;
        let length = |id| self.file(id).map_or(0, |f| f.live().len());
        let lost = self.names.all().map(|(p, id)| LostData { file: p.clone(), from: 0, to: length(id) }).collect();
        self.names.wipe();
        self.files.iter_mut().for_each(|f| *f = None);
        lost
    }
}
