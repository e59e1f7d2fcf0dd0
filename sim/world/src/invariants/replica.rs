//! Each partition log as its disk operations built it: what the judge knows of a replica without asking it.
//!
//! A batch counts from the completion of its append. What was in flight when a process died may or may not have
//! reached the file; it is remembered apart until the log is loaded again. Content is not kept, only identities:
//! 24 bytes for each batch, for as long as its segment exists.

mod undo;

use super::batch::{Head, heads};
use super::contents::Copy;
use crate::event::{HostId, NodeRef, Ordinal};
use klamm_model::disk::{DiskOp, Path};
use klamm_model::ids::*;
use std::collections::{BTreeMap, VecDeque};
use undo::{Cuts, Removed};

/// A replica by its place in [`Replicas`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ReplicaIx(pub(crate) usize);

/// A batch on a replica's disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    pub(crate) base: i64,
    pub(crate) epoch: i32,
    pub(crate) crc: u32,
    /// Last offset less base offset.
    pub(crate) span: u32,
    /// Bytes; none if compaction took it out.
    pub(crate) size: u32,
}

impl Batch {
    pub(crate) fn of(head: &Head) -> Batch {
        Batch {
            base: head.base.0,
            epoch: head.epoch.0,
            crc: head.crc,
            span: (head.last.0 - head.base.0) as u32,
            size: head.size,
        }
    }
    pub(crate) fn last(&self) -> i64 {
        self.base + i64::from(self.span)
    }
    pub(crate) fn next(&self) -> i64 {
        self.last() + 1
    }
    /// The same batch, wherever it is stored.
    pub(crate) fn same(&self, other: &Batch) -> bool {
        (self.base, self.epoch, self.crc, self.span) == (other.base, other.epoch, other.crc, other.span)
    }
}

/// One `.log` file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) base: i64,
    pub(crate) batches: Vec<Batch>,
    /// Bytes of `batches`.
    len: u64,
    /// Bytes known to survive a power loss.
    durable: u64,
    /// Appends asked for and not completed: the number of batches of each, and the batches.
    appends: VecDeque<u32>,
    in_flight: VecDeque<Batch>,
    /// How many of these were asked for before an earlier append failed: whatever becomes of them, they continue
    /// nothing.
    void: usize,
    /// What each fsync asked for will make durable: bytes, and how many truncations.
    fsyncs: VecDeque<(u64, u64)>,
    cuts: Cuts,
}

impl Segment {
    pub(crate) fn new(base: i64) -> Segment {
        Segment { base, ..Segment::default() }
    }
    /// One more batch at its end.
    pub(crate) fn push(&mut self, batch: Batch) {
        self.len += u64::from(batch.size);
        self.batches.push(batch);
    }
    /// All of it was fsynced.
    pub(crate) fn all_durable(&mut self) {
        self.durable = self.len;
    }

    fn cut_bytes(&mut self, len: u64, into: &mut Vec<Batch>) {
        let before = into.len();
        while self.len > len
            && let Some(batch) = self.batches.pop()
        {
            self.len -= u64::from(batch.size);
            into.push(batch);
        }
        // A cut in the gap that compaction left is one at its beginning.
        while into.len() > before && self.batches.last().is_some_and(|b| b.size == 0) {
            into.extend(self.batches.pop());
        }
        self.durable = self.durable.min(self.len);
    }

    /// A truncation, which is not durable yet, nor is what an fsync that is under way covers beyond it. One by recovery
    /// cuts what a power loss has damaged: that cannot come back.
    fn truncate(&mut self, len: u64, into: &mut Vec<Batch>, recovery: bool) {
        let before = into.len();
        self.cut_bytes(len, into);
        for (upto, _) in &mut self.fsyncs {
            *upto = self.len.min(*upto);
        }
        if !recovery {
            self.cuts.push(self.len, into[before..].iter().rev().copied().collect());
        }
    }
}

/// A producer's last batch on a replica, in the order in which appends were asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Producer {
    pub(crate) epoch: ProducerEpoch,
    pub(crate) last_sequence: Sequence,
    pub(crate) last_offset: Offset,
    pub(crate) seen: Ordinal,
    /// False after something the judge cannot follow (a cut tail took the last batch): the next batch is taken as it is.
    pub(crate) known: bool,
}

/// One partition's log on one host.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) host: HostId,
    pub(crate) owner: NodeRef,
    /// Which partition, once its node has said so.
    pub(crate) partition: Option<TopicIdPartition>,
    pub(crate) segments: Vec<Segment>,
    /// Appends that were in flight when the process died.
    uncertain: Vec<Batch>,
    /// The process died, and has not said since where its log ends.
    unsettled: bool,
    /// For each leader epoch, the last offset of that epoch that was ever appended here.
    seen: Vec<(i32, i64)>,
    /// By id.
    pub(crate) producers: BTreeMap<ProducerId, Producer>,
    /// Power was lost since the log was last loaded.
    power_lost: bool,
    /// First byte lost by that, by segment.
    lost: Vec<(i64, u64)>,
    /// What a power loss may put back.
    removed: Removed,
    /// A fault changed bytes that had been written (by segment, from this byte on): what they hold is not the node's
    /// doing.
    damage: Vec<(i64, u64)>,
    /// Where an emptied log began anew, or what is left of it starts.
    pub(crate) empty_at: i64,
    /// Its topic is compacted.
    pub(crate) compacted: bool,
    /// What compaction left of batches, by base offset: the CRC of the bytes stored, 0 for nothing.
    pub(crate) stored: BTreeMap<i64, u32>,
    /// Compacted copies of segments that do not bear their names yet, by base offset.
    pub(crate) copies: BTreeMap<i64, Copy>,
    /// Batches cut off by operations whose reason the node has not told yet.
    pub(crate) last_cut: Vec<Batch>,
}

impl Replica {
    /// One past the last completed batch.
    pub(crate) fn end(&self) -> i64 {
        for segment in self.segments.iter().rev() {
            if let Some(batch) = segment.batches.last() {
                return batch.next();
            }
        }
        self.segments.first().map_or(0, |s| s.base)
    }
    /// The base offset of the first batch.
    pub(crate) fn start(&self) -> i64 {
        self.segments.iter().find_map(|s| s.batches.first()).map_or_else(|| self.end(), |b| b.base)
    }
    pub(crate) fn last(&self) -> Option<&Batch> {
        self.segments.iter().rev().find_map(|s| s.batches.last())
    }
    /// The batch that contains an offset.
    pub(crate) fn find(&self, offset: i64) -> Option<&Batch> {
        if let Some(last) = self.last()
            && last.base <= offset
        {
            return (offset <= last.last()).then_some(last);
        }
        let at = self.segments.partition_point(|s| s.base <= offset).checked_sub(1)?;
        let batches = &self.segments[at].batches;
        let batch = &batches[batches.partition_point(|b| b.base <= offset).checked_sub(1)?];
        (offset <= batch.last()).then_some(batch)
    }
    /// The batches from the one containing `offset` on.
    pub(crate) fn from(&self, offset: i64) -> impl Iterator<Item = &Batch> {
        let first = self.segments.partition_point(|s| s.base <= offset).saturating_sub(1);
        self.segments[first.min(self.segments.len())..].iter().flat_map(move |s| {
            let at = s.batches.partition_point(|b| b.last() < offset);
            s.batches[at..].iter()
        })
    }
    /// Bytes of batches whose base is at or above an offset, those whose append is under way included: a log counts
    /// a batch from when it was asked for, and may decide by it what to keep.
    pub(crate) fn asked_bytes_from(&self, offset: i64) -> u64 {
        self.segments
            .iter()
            .map(|s| {
                let above = |b: &&Batch| b.base >= offset;
                let size = |b: &Batch| u64::from(b.size);
                let held = if s.base >= offset { s.len } else { s.batches.iter().filter(above).map(size).sum() };
                held + s.in_flight.iter().filter(above).map(size).sum::<u64>()
            })
            .sum()
    }
    /// One past the last offset that a power loss now could not take.
    pub(crate) fn durable_end(&self) -> i64 {
        let Some(segment) = self.segments.iter().find(|s| s.durable < s.len) else { return self.end() };
        let mut at = segment.len;
        for batch in segment.batches.iter().rev() {
            if at <= segment.durable {
                return batch.next();
            }
            at -= u64::from(batch.size);
        }
        segment.base
    }
    /// What a node may claim as its log end: also where it has said that an emptied log begins anew.
    pub(crate) fn reach(&self) -> i64 {
        self.end().max(self.empty_at)
    }
    /// The first batch of a tail that was cut, or is about to be, from `to` on.
    pub(crate) fn first_cut(&self, to: i64) -> Option<Batch> {
        let gone = self.last_cut.iter().filter(|b| b.last() >= to).min_by_key(|b| b.base);
        let there = self.from(to).next();
        match (gone, there) {
            (Some(a), Some(b)) => Some(if a.base <= b.base { *a } else { *b }),
            (a, b) => a.or(b).copied(),
        }
    }
    /// Whether a batch of this epoch up to `last` was ever appended here.
    pub(crate) fn had(&self, epoch: i32, last: i64) -> bool {
        self.seen.iter().any(|&(e, l)| e == epoch && l >= last)
    }
    /// One past the highest offset ever appended here.
    pub(crate) fn highest(&self) -> i64 {
        self.seen.iter().map(|&(_, l)| l + 1).max().unwrap_or(0)
    }
    /// Whether a fault changed bytes of it.
    pub(crate) fn damaged(&self) -> bool {
        !self.damage.is_empty()
    }
    /// One past the last offset whose append was asked for.
    pub(crate) fn asked_end(&self) -> i64 {
        let in_flight = self.segments.iter().filter_map(|s| s.in_flight.back()).map(Batch::next).max();
        self.reach().max(in_flight.unwrap_or(0))
    }
    /// The last batch, cut off or not.
    pub(crate) fn last_or_cut(&self) -> Option<Batch> {
        self.last_cut.iter().chain(self.last()).max_by_key(|b| b.base).copied()
    }
    /// The batch at or after a place in a segment.
    fn first_from(&self, (base, from): (i64, u64)) -> Option<Batch> {
        let segment = self.segments.iter().find(|s| s.base == base)?;
        let mut at = 0;
        segment.batches.iter().copied().find(|batch| {
            at += u64::from(batch.size);
            at > from
        })
    }
    fn note_seen(&mut self, batch: &Batch) {
        match self.seen.last_mut() {
            Some((epoch, last)) if *epoch == batch.epoch => *last = batch.last().max(*last),
            _ => match self.seen.iter_mut().find(|(e, _)| *e == batch.epoch) {
                Some((_, last)) => *last = batch.last().max(*last),
                None => self.seen.push((batch.epoch, batch.last())),
            },
        }
    }
    fn segment(&mut self, base: i64) -> &mut Segment {
        if self.segments.last().is_some_and(|s| s.base == base) {
            return self.segments.last_mut().expect("just seen");
        }
        let at = self.segments.partition_point(|s| s.base < base);
        if self.segments.get(at).is_none_or(|s| s.base != base) {
            self.segments.insert(at, Segment { base, ..Segment::default() });
        }
        &mut self.segments[at]
    }
    /// Producers whose last batch is gone are known no longer.
    fn forget_producers_from(&mut self, end: i64) {
        for producer in self.producers.values_mut() {
            if producer.last_offset.0 >= end {
                producer.known = false;
            }
        }
    }
    /// The appends asked for last to a segment are these instead, given where the log ended before.
    pub(crate) fn asked_instead(&mut self, base: i64, instead: impl FnOnce(i64, &[Batch]) -> Vec<Batch>) {
        let segment = self.segment(base);
        let count = segment.appends.pop_back().unwrap_or(0) as usize;
        let at = segment.in_flight.len() - count;
        let asked: Vec<Batch> = segment.in_flight.drain(at..).collect();
        let expected = self.asked_end();
        let batches = instead(expected, &asked);
        let segment = self.segment(base);
        segment.appends.push_back(batches.len() as u32);
        segment.in_flight.extend(batches);
    }
    /// What is on its way to a segment.
    pub(crate) fn in_flight(&self, base: i64) -> impl Iterator<Item = &Batch> {
        self.segments.iter().filter(move |s| s.base == base).flat_map(|s| s.in_flight.iter())
    }
    /// A compacted copy is removed before it got its name: the log is as it was before.
    pub(crate) fn drop_copy(&mut self, base: i64) {
        let Some(copy) = self.copies.remove(&base) else { return };
        if let Some(before) = copy.before {
            self.segments.retain(|s| s.base != base);
            self.segments.extend(before);
            self.segments.sort_by_key(|s| s.base);
        }
    }
    /// Whether a segment of this base was replaced by a copy that has not got its name yet.
    fn is_replaced(&self, base: i64) -> bool {
        let within =
            |(from, copy): (&i64, &Copy)| copy.before.is_some() && (*from..copy.end.max(*from + 1)).contains(&base);
        self.copies.iter().any(within)
    }

    /// The tail is gone.
    fn cut(&mut self) {
        let end = self.end();
        self.forget_producers_from(end);
    }
    /// The process died: what was in flight is uncertain.
    fn stopped(&mut self) {
        self.unsettled = true;
        self.removed.stopped();
        for segment in &mut self.segments {
            self.uncertain.extend(segment.in_flight.drain(..));
            segment.appends.clear();
            segment.void = 0;
            segment.fsyncs.clear();
        }
        self.uncertain.sort_by_key(|b| b.base);
    }

    /// The node has loaded the log and says where it begins and ends. What reached the file of the appends that a
    /// crash cut short is settled by that. Returns the batches so accepted, and the first offset that power loss took
    /// although the node counts it in.
    pub(crate) fn loaded(
        &mut self,
        partition: TopicIdPartition,
        log_start: i64,
        log_end: i64,
    ) -> (Vec<Batch>, Option<i64>) {
        if self.partition.is_some_and(|p| p != partition) {
            self.segments.clear();
            self.uncertain.clear();
            self.seen.clear();
            self.producers.clear();
            self.lost.clear();
            self.removed.all_durable();
            self.damage.clear();
            self.stored.clear();
            self.empty_at = 0;
        }
        self.copies.clear();
        self.last_cut.clear();
        self.empty_at = self.empty_at.max(log_start);
        self.partition = Some(partition);
        self.unsettled = false;
        let mut phantom: Option<i64> = None;
        let mut lost = std::mem::take(&mut self.lost);
        let power_lost = std::mem::take(&mut self.power_lost);
        if power_lost {
            self.bring_back(&mut lost, log_end);
            // What a power loss left is durable.
            self.removed.all_durable();
            self.segments.iter_mut().for_each(|s| s.cuts.all_durable());
        }
        for at in lost {
            if let Some(batch) = self.first_from(at).filter(|b| b.last() < log_end && b.last() >= log_start) {
                phantom = Some(phantom.map_or(batch.base, |p| p.min(batch.base)));
            }
        }
        // Damage in what was cut is gone with it.
        let damage = std::mem::take(&mut self.damage);
        self.damage = damage.into_iter().filter(|&at| self.first_from(at).is_some_and(|b| b.base < log_end)).collect();
        // What is at or above the end is gone.
        for segment in self.segments.iter_mut().rev() {
            let mut gone = Vec::new();
            while let Some(batch) = segment.batches.last().copied()
                && batch.next() > log_end
            {
                segment.len -= u64::from(batch.size);
                segment.batches.pop();
                gone.push(batch);
            }
            segment.durable = segment.durable.min(segment.len);
            // A truncation whose process died before it completed may have been done, and may be undone.
            if !power_lost && !gone.is_empty() {
                gone.reverse();
                segment.cuts.push(segment.len, gone);
            }
        }
        let mut accepted = Vec::new();
        for batch in std::mem::take(&mut self.uncertain) {
            if batch.next() <= log_end && (batch.base == self.end() || self.last().is_none()) {
                let base = self.segments.iter().rev().find(|s| s.base <= batch.base).map_or(batch.base, |s| s.base);
                let segment = self.segment(base);
                segment.len += u64::from(batch.size);
                segment.batches.push(batch);
                accepted.push(batch);
            }
        }
        self.segments.retain(|s| !s.batches.is_empty() || s.base >= log_end || !s.in_flight.is_empty());
        for batch in &accepted {
            self.note_seen(batch);
        }
        self.forget_producers_from(log_end);
        for producer in self.producers.values_mut() {
            // Rebuilt from snapshots and the log: what lies below the log start may be gone.
            if producer.last_offset.0 < log_start {
                producer.known = false;
            }
        }
        (accepted, phantom)
    }
}

/// Batches whose append completed: the last `count` of segment `segment`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended {
    pub(crate) segment: usize,
    pub(crate) count: usize,
}

/// Every log of every host.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    list: Vec<Replica>,
    hosts: Vec<BTreeMap<Box<str>, ReplicaIx>>,
    /// The files written to last, by host: most operations are on one of a few.
    recent: Vec<Vec<(Path, ReplicaIx, i64)>>,
}

/// How many files of a host are remembered.
const RECENT: usize = 8;

/// `dir/00000000000000000042.log` -> (`dir`, 42).
pub(crate) fn log_file(path: &Path) -> Option<(&str, i64)> {
    let (dir, name) = path.as_str().rsplit_once('/')?;
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
    Some((dir, digits.parse().ok()?))
}

impl Replicas {
    pub(crate) fn get(&self, ix: ReplicaIx) -> &Replica {
        &self.list[ix.0]
    }
    pub(crate) fn get_mut(&mut self, ix: ReplicaIx) -> &mut Replica {
        &mut self.list[ix.0]
    }
    pub(crate) fn find(&self, host: HostId, dir: &str) -> Option<ReplicaIx> {
        self.hosts.get(host.0 as usize)?.get(dir).copied()
    }
    /// The log in a directory, made known if it is not.
    pub(crate) fn at(&mut self, host: HostId, owner: NodeRef, dir: &str) -> ReplicaIx {
        let h = host.0 as usize;
        if self.hosts.len() <= h {
            self.hosts.resize_with(h + 1, BTreeMap::new);
        }
        if let Some(&ix) = self.hosts[h].get(dir) {
            return ix;
        }
        let ix = ReplicaIx(self.list.len());
        let metadata = dir.rsplit('/').next() == Some("__cluster_metadata-0");
        self.list.push(Replica {
            host,
            owner,
            partition: metadata.then_some(TopicIdPartition::METADATA),
            segments: Vec::new(),
            uncertain: Vec::new(),
            unsettled: false,
            seen: Vec::new(),
            producers: BTreeMap::new(),
            power_lost: false,
            lost: Vec::new(),
            removed: Removed::default(),
            damage: Vec::new(),
            empty_at: 0,
            compacted: false,
            stored: BTreeMap::new(),
            copies: BTreeMap::new(),
            last_cut: Vec::new(),
        });
        self.hosts[h].insert(dir.into(), ix);
        ix
    }
    /// The log and segment of a file that was written to a moment ago.
    fn recent(&self, host: HostId, file: &Path) -> Option<(ReplicaIx, i64)> {
        let files = self.recent.get(host.0 as usize)?;
        files.iter().find(|(path, ..)| path == file).map(|&(_, ix, base)| (ix, base))
    }
    /// The log and segment of a file, made known if they are not.
    fn log_of(&mut self, host: HostId, owner: NodeRef, file: &Path) -> Option<(ReplicaIx, i64)> {
        if let Some(known) = self.recent(host, file) {
            return Some(known);
        }
        let (dir, base) = log_file(file)?;
        let ix = self.at(host, owner, dir);
        let h = host.0 as usize;
        if self.recent.len() <= h {
            self.recent.resize_with(h + 1, Vec::new);
        }
        let files = &mut self.recent[h];
        if files.len() == RECENT {
            files.remove(0);
        }
        files.push((file.clone(), ix, base));
        Some((ix, base))
    }
    /// The log and segment of a file, if it is known.
    fn known(&self, host: HostId, file: &Path) -> Option<(ReplicaIx, i64)> {
        self.recent(host, file).or_else(|| {
            let (dir, base) = log_file(file)?;
            Some((self.find(host, dir)?, base))
        })
    }
    /// Forgets a directory; a later one of the same name is another.
    fn remove_dir(&mut self, host: HostId, dir: &str) {
        if let Some(map) = self.hosts.get_mut(host.0 as usize)
            && let Some(ix) = map.remove(dir)
        {
            let replica = &mut self.list[ix.0];
            replica.segments = Vec::new();
            replica.uncertain = Vec::new();
            replica.producers = BTreeMap::new();
        }
    }

    /// An operation was asked for.
    pub(crate) fn asked(&mut self, host: HostId, node: NodeRef, op: &DiskOp) -> Option<ReplicaIx> {
        match op {
            DiskOp::Append { file, data } => {
                let (ix, base) = self.log_of(host, node, file)?;
                let replica = &mut self.list[ix.0];
                replica.owner = node;
                if replica.unsettled
                    && let Some(partition) = replica.partition
                    && let Some(head) = Head::read(data)
                {
                    // Nobody said where this log ends; where it goes on tells as well.
                    replica.loaded(partition, replica.start(), head.base.0);
                }
                let segment = replica.segment(base);
                let before = segment.in_flight.len();
                segment.in_flight.extend(heads(data).map(|(head, _)| Batch::of(&head)));
                let count = segment.in_flight.len() - before;
                segment.appends.push_back(count as u32);
                Some(ix)
            }
            DiskOp::Fsync { file } => {
                let (ix, base) = self.known(host, file)?;
                let segment = self.list[ix.0].segment(base);
                segment.fsyncs.push_back((segment.len, segment.cuts.made()));
                Some(ix)
            }
            DiskOp::FsyncDir { dir } => {
                let ix = self.find(host, dir.as_str())?;
                self.list[ix.0].removed.fsync_asked();
                None
            }
            _ => None,
        }
    }

    /// An operation completed.
    pub(crate) fn done(&mut self, host: HostId, op: &DiskOp, ok: bool) -> Option<(ReplicaIx, Appended)> {
        match op {
            DiskOp::Append { file, data } => {
                let (ix, base) = self.known(host, file)?;
                let replica = &mut self.list[ix.0];
                let at = replica.segments.partition_point(|s| s.base < base);
                let segment = replica.segments.get_mut(at).filter(|s| s.base == base)?;
                let Some(count) = segment.appends.pop_front() else {
                    // The process is dead, and the world says that this reached the file all the same.
                    return ok.then(|| self.late(ix, base, data)).flatten();
                };
                let void = segment.void > 0;
                segment.void = segment.void.saturating_sub(1);
                if !ok || void {
                    // A failed write may have left a part of itself, or all, and what was under way behind it lies
                    // behind a hole: the next load settles it.
                    let failed: Vec<Batch> = segment.in_flight.drain(..count as usize).collect();
                    replica.uncertain.extend(failed);
                    replica.uncertain.sort_by_key(|b| b.base);
                    if !ok {
                        replica.segments[at..].iter_mut().for_each(|s| s.void = s.appends.len());
                    }
                    let end = replica.end();
                    replica.forget_producers_from(end);
                    return None;
                }
                for _ in 0..count {
                    let batch = segment.in_flight.pop_front().expect("counted when asked");
                    segment.len += u64::from(batch.size);
                    segment.batches.push(batch);
                }
                let first = replica.segments[at].batches.len() - count as usize;
                for n in 0..count as usize {
                    let batch = replica.segments[at].batches[first + n];
                    replica.note_seen(&batch);
                }
                Some((ix, Appended { segment: at, count: count as usize }))
            }
            DiskOp::Fsync { file } => {
                let (dir, base) = log_file(file)?;
                let ix = self.find(host, dir)?;
                let segment = self.list[ix.0].segments.iter_mut().find(|s| s.base == base)?;
                let (upto, cuts) = segment.fsyncs.pop_front()?;
                if ok {
                    segment.durable = segment.durable.max(upto.min(segment.len));
                    segment.cuts.durable(cuts);
                }
                None
            }
            DiskOp::FsyncDir { dir } => {
                let ix = self.find(host, dir.as_str())?;
                self.list[ix.0].removed.fsync_done(ok);
                None
            }
            DiskOp::Truncate { file, len } if ok => {
                let (dir, base) = log_file(file)?;
                let ix = self.find(host, dir)?;
                let replica = &mut self.list[ix.0];
                let segment = replica.segments.iter_mut().find(|s| s.base == base)?;
                segment.truncate(*len, &mut replica.last_cut, replica.power_lost);
                replica.cut();
                None
            }
            // A log renamed away is deleted; one written aside and renamed into place is not Kafka's way.
            DiskOp::Delete { path: gone } | DiskOp::Rename { from: gone, .. } if ok => {
                self.removed(host, gone);
                None
            }
            _ => None,
        }
    }

    fn removed(&mut self, host: HostId, path: &Path) {
        if let Some(files) = self.recent.get_mut(host.0 as usize) {
            files.clear();
        }
        let Some((dir, base)) = log_file(path) else {
            self.remove_dir(host, path.as_str());
            return;
        };
        let Some(ix) = self.find(host, dir) else { return };
        let replica = &mut self.list[ix.0];
        if replica.is_replaced(base) {
            return;
        }
        let Some(at) = replica.segments.iter().position(|s| s.base == base) else { return };
        // The head of a log may go without touching its end; it may be all that was appended.
        let last = replica.segments[at].batches.last();
        let head = at == 0 && (replica.segments.len() > 1 || last.is_some_and(|b| b.next() <= replica.empty_at));
        let segment = &mut replica.segments[at];
        if !head {
            replica.last_cut.extend_from_slice(&segment.batches);
        }
        if segment.in_flight.is_empty() {
            let segment = replica.segments.remove(at);
            if !replica.power_lost {
                replica.removed.push(segment);
            }
        } else {
            segment.batches.clear();
            segment.len = 0;
            segment.durable = 0;
        }
        if !head {
            replica.cut();
        }
    }

    fn late(&mut self, ix: ReplicaIx, base: i64, data: &[u8]) -> Option<(ReplicaIx, Appended)> {
        let replica = &mut self.list[ix.0];
        // With gaps between them, what was in flight tells more than what these bytes are.
        if replica.compacted {
            return None;
        }
        let mut count = 0;
        for (head, _) in heads(data) {
            let batch = Batch::of(&head);
            if replica.last().is_some_and(|l| l.next() != batch.base) {
                break;
            }
            let segment = replica.segment(base);
            segment.len += u64::from(batch.size);
            segment.batches.push(batch);
            replica.note_seen(&batch);
            count += 1;
        }
        let at = replica.segments.partition_point(|s| s.base < base);
        (count > 0).then_some((ix, Appended { segment: at, count }))
    }

    /// A node's process ended.
    pub(crate) fn stopped(&mut self, node: NodeRef) {
        for replica in self.list.iter_mut().filter(|r| r.owner == node) {
            replica.stopped();
        }
    }

    /// A host lost power: what it did not lose is durable now.
    pub(crate) fn power_lost<'a>(&mut self, host: HostId, lost: impl Iterator<Item = (&'a Path, u64)>) {
        for replica in self.list.iter_mut().filter(|r| r.host == host) {
            replica.power_lost = true;
            for segment in &mut replica.segments {
                segment.durable = segment.len;
            }
        }
        for (file, from) in lost {
            let Some((dir, base)) = log_file(file) else { continue };
            if let Some(ix) = self.find(host, dir) {
                self.list[ix.0].lost.push((base, from));
            }
        }
    }

    /// A fault changed bytes of a file.
    pub(crate) fn damaged(&mut self, host: HostId, file: &Path, from: u64) {
        if let Some((dir, base)) = log_file(file)
            && let Some(ix) = self.find(host, dir)
        {
            self.list[ix.0].damage.push((base, from));
        }
    }
    /// Every log known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Replica> {
        self.list.iter()
    }
}
