//! What a partition's log is, apart from where it is stored: the committed log, and every batch ever written.
//!
//! The *ghost log* holds the batches below the highest high watermark of any legitimate leader. An unclean election
//! cuts it; the log start trims it. The *identities* hold every batch ever appended anywhere: by Raft's log matching,
//! which Kafka's leader epochs give (KIP-101, KIP-279), a (base offset, leader epoch) names one batch, and that batch
//! has one predecessor.

use super::replica::{Batch, Replica};
use crate::event::Ordinal;
use std::collections::BTreeMap;

/// A batch ever written.
#[derive(Clone, Copy, Debug)]
struct Identity {
    base: i64,
    crc: u32,
    span: u32,
    /// The epoch of the batch before it, `UNKNOWN` if there was none.
    previous: i32,
    /// Where it was first seen.
    seen: Ordinal,
}

const UNKNOWN: i32 = i32::MIN;

/// Every batch ever written to a partition, on any replica.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    epochs: BTreeMap<i32, Vec<Identity>>,
}

/// How two logs that should agree do not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mismatch {
    pub(crate) kind: MismatchKind,
    /// When the other was seen first.
    pub(crate) seen: Ordinal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MismatchKind {
    /// Another batch bears the same offset and epoch.
    Content { crc: u32, last: i64 },
    /// A batch of the same epoch begins elsewhere and overlaps.
    Overlap { base: i64, last: i64 },
    /// The same batch follows another one elsewhere.
    Prefix { epoch: i32 },
}

impl Identities {
    /// Takes note of a batch appended somewhere after one of epoch `previous`; says if that contradicts what is known.
    pub(crate) fn note(&mut self, batch: &Batch, previous: Option<i32>, now: Ordinal) -> Result<(), Mismatch> {
        let list = self.epochs.entry(batch.epoch).or_default();
        let new = Identity {
            base: batch.base,
            crc: batch.crc,
            span: batch.span,
            previous: previous.unwrap_or(UNKNOWN),
            seen: now,
        };
        let at = match list.last() {
            None => 0,
            Some(last) if last.base < batch.base => list.len(),
            Some(_) => list.partition_point(|i| i.base < batch.base),
        };
        if let Some(known) = list.get_mut(at)
            && known.base == batch.base
        {
            if (known.crc, known.span) != (batch.crc, batch.span) {
                let kind = MismatchKind::Content { crc: known.crc, last: known.base + i64::from(known.span) };
                return Err(Mismatch { kind, seen: known.seen });
            }
            if known.previous == UNKNOWN {
                known.previous = new.previous;
            } else if new.previous != UNKNOWN && known.previous != new.previous {
                return Err(Mismatch { kind: MismatchKind::Prefix { epoch: known.previous }, seen: known.seen });
            }
            return Ok(());
        }
        let before = at.checked_sub(1).map(|n| list[n]).filter(|i| i.base + i64::from(i.span) >= batch.base);
        let after = list.get(at).copied().filter(|i| i.base <= batch.last());
        if let Some(other) = before.or(after) {
            let kind = MismatchKind::Overlap { base: other.base, last: other.base + i64::from(other.span) };
            return Err(Mismatch { kind, seen: other.seen });
        }
        list.insert(at, new);
        Ok(())
    }

    /// When a batch was first seen.
    pub(crate) fn seen(&self, batch: &Batch) -> Ordinal {
        let Some(list) = self.epochs.get(&batch.epoch) else { return Ordinal(0) };
        list.binary_search_by_key(&batch.base, |i| i.base).map_or(Ordinal(0), |at| list[at].seen)
    }

    /// Forgets what lies wholly below an offset.
    pub(crate) fn trim(&mut self, below: i64) {
        for list in self.epochs.values_mut() {
            let n = list.partition_point(|i| i.base + i64::from(i.span) < below);
            list.drain(..n);
        }
        self.epochs.retain(|_, list| !list.is_empty());
    }
}

/// The committed log.
#[derive(Debug, Default)]
pub(crate) struct Ghost {
    batches: Vec<Batch>,
    /// One past the last committed offset; the log start while nothing is kept.
    end: i64,
    start: i64,
    /// In which leader epoch records were committed, as (first offset, epoch) where that changed. A record may be
    /// older than the epoch that committed it, and only later leaders must hold it.
    committed_in: Vec<(i64, i32)>,
}

impl Ghost {
    pub(crate) fn end(&self) -> i64 {
        self.end
    }
    pub(crate) fn find(&self, offset: i64) -> Option<&Batch> {
        let batch = &self.batches[self.batches.partition_point(|b| b.base <= offset).checked_sub(1)?];
        (offset <= batch.last()).then_some(batch)
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter()
    }

    /// A legitimate leader's high watermark moved from `from` to `to`: what it holds there is committed. Returns the
    /// first committed batch that its log contradicts, and whether its log, as seen on its disk, reaches `to` at all.
    pub(crate) fn advance(
        &mut self,
        log: &Replica,
        epoch: i32,
        from: i64,
        to: i64,
    ) -> (Option<(Batch, Option<Batch>)>, bool) {
        let mut contradiction = None;
        let overlap = from.max(self.start);
        if overlap < self.end.min(to) {
            let first = self.batches.partition_point(|b| b.last() < overlap);
            for known in self.batches[first..].iter().take_while(|b| b.base < to) {
                let theirs = log.find(known.base);
                if theirs.is_none_or(|t| !t.same(known)) && known.base >= log.start() {
                    contradiction = Some((*known, theirs.copied()));
                    break;
                }
            }
        }
        if to <= self.end {
            return (contradiction, true);
        }
        if self.committed_in.last().is_none_or(|(_, latest)| epoch > *latest) {
            self.committed_in.push((self.end, epoch));
        }
        let mut reached = self.end;
        for batch in log.from(self.end) {
            if batch.next() > to {
                break;
            }
            reached = batch.next();
            // A batch across the old end is there only after what was committed was lost: it is held, and adds
            // nothing to what is known to be committed.
            if batch.base >= self.end {
                self.batches.push(*batch);
            }
        }
        // A log that begins above: everything below was deleted before it was committed here.
        self.end = to;
        (contradiction, reached >= to || log.start() >= to)
    }

    /// The first batch committed in an epoch below `epoch` that a log does not hold, its log start considered. By log
    /// matching the last one tells whether there is any.
    pub(crate) fn missing_in(&self, log: &Replica, epoch: i32) -> Option<Batch> {
        let later = self.committed_in.iter().find(|(_, by)| *by >= epoch).map_or(i64::MAX, |(from, _)| *from);
        let below = &self.batches[..self.batches.partition_point(|b| b.epoch < epoch && b.last() < later)];
        let holds = |b: &Batch| b.last() < log.start() || log.find(b.base).is_some_and(|t| t.same(b));
        if below.last().is_none_or(holds) {
            return None;
        }
        below.iter().find(|b| !holds(b)).copied()
    }

    /// An unclean leader's log replaces what was committed. Returns the range lost.
    pub(crate) fn cut_to(&mut self, log: &Replica) -> Option<(i64, i64)> {
        let kept =
            self.batches.partition_point(|b| b.last() < log.start() || log.find(b.base).is_some_and(|t| t.same(b)));
        if kept == self.batches.len() {
            let end = self.end.min(log.end().max(self.start));
            let lost = (end < self.end).then_some((end, self.end));
            self.end = end;
            return lost;
        }
        let from = self.batches[kept].base;
        let lost = (from, self.end);
        self.batches.truncate(kept);
        self.end = from;
        Some(lost)
    }

    /// The log start moved up.
    pub(crate) fn trim(&mut self, below: i64) {
        if below > self.start {
            self.start = below;
            let n = self.batches.partition_point(|b| b.last() < below);
            self.batches.drain(..n);
            self.end = self.end.max(below);
        }
    }
}
