//! What a power loss brings back: truncations and removals of segments that no fsync has made durable may never have
//! happened, and the log then ends where it ended before.
//!
//! A device commits the truncations of a file in order, so that a power loss undoes the last few of them, with all that
//! was appended since. Which ones, nobody says: the log that is loaded afterwards reaches an offset that only a log of
//! that many undone holds.

use super::{Batch, Replica, Segment};
use std::collections::VecDeque;

/// A truncation that is not durable yet.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// Which one of its file, counted from 1.
    number: u64,
    /// The length it left.
    at: u64,
    /// What it cut off, in order.
    tail: Vec<Batch>,
}

/// The truncations of one file.
#[derive(Clone, Default, Debug)]
pub(super) struct Cuts {
    /// How many there were.
    made: u64,
    /// Those that may be undone, oldest first.
    undoable: Vec<Cut>,
}

impl Cuts {
    /// How many there were.
    pub(super) fn made(&self) -> u64 {
        self.made
    }
    /// One more, which left `at` bytes.
    pub(super) fn push(&mut self, at: u64, tail: Vec<Batch>) {
        self.made += 1;
        if !tail.is_empty() {
            self.undoable.push(Cut { number: self.made, at, tail });
        }
    }
    /// The first `made` are durable.
    pub(super) fn durable(&mut self, made: u64) {
        self.undoable.retain(|cut| cut.number > made);
    }
    /// All are durable.
    pub(super) fn all_durable(&mut self) {
        self.undoable.clear();
    }
}

/// Segments taken out of a log whose going is not durable yet: a fsync of the directory makes it so.
#[derive(Default, Debug)]
pub(super) struct Removed {
    segments: Vec<Segment>,
    /// For each fsync asked for, how many of these it covers.
    fsyncs: VecDeque<usize>,
}

impl Removed {
    pub(super) fn push(&mut self, segment: Segment) {
        self.segments.push(segment);
    }
    /// A fsync of the directory was asked for.
    pub(super) fn fsync_asked(&mut self) {
        self.fsyncs.push_back(self.segments.len());
    }
    /// It completed.
    pub(super) fn fsync_done(&mut self, ok: bool) {
        let Some(covered) = self.fsyncs.pop_front().filter(|_| ok) else { return };
        self.segments.drain(..covered);
        self.fsyncs.iter_mut().for_each(|n| *n -= covered);
    }
    /// The process died: no fsync completes any more.
    pub(super) fn stopped(&mut self) {
        self.fsyncs.clear();
    }
    /// All is durable.
    pub(super) fn all_durable(&mut self) {
        self.segments.clear();
    }
    /// The segment that continued at an offset.
    fn from(&self, offset: i64) -> Option<&Segment> {
        self.segments.iter().rev().find(|s| s.batches.first().is_some_and(|b| b.base == offset))
    }
}

impl Segment {
    /// One past its last offset.
    fn end(&self) -> i64 {
        self.batches.last().map_or(self.base, Batch::next)
    }
    fn holds(&self, end: i64) -> bool {
        self.batches.iter().any(|b| b.next() == end)
    }

    /// As it was before its last `undone` truncations; `None` if what the power loss took says that so many were not
    /// undone: all that reads saw beyond the place of an undone one is lost.
    fn before(&self, undone: usize, lost: &[(i64, u64)]) -> Option<Segment> {
        let mut segment = self.clone();
        let mut shared = self.len;
        for _ in 0..undone {
            let cut = segment.cuts.undoable.pop()?;
            shared = shared.min(cut.at);
            segment.cut_bytes(cut.at, &mut Vec::new());
            for batch in cut.tail {
                segment.push(batch);
            }
        }
        segment.all_durable();
        let told = shared == self.len || lost.iter().any(|(base, from)| *base == self.base && *from <= shared);
        told.then_some(segment)
    }
}

impl Replica {
    /// The log is loaded up to `log_end` after a power loss that took what `lost` says. If it reaches beyond what the
    /// power loss left of what was known, truncations and removals are taken back, as few as explain it. What is lost
    /// of these is explained, too.
    pub(super) fn bring_back(&mut self, lost: &mut Vec<(i64, u64)>, log_end: i64) {
        if log_end <= self.left_by(lost) {
            return;
        }
        for at in (0..self.segments.len()).rev() {
            for undone in 0..=self.segments[at].cuts.undoable.len() {
                let Some(first) = self.segments[at].before(undone, lost) else { continue };
                let changed = if undone > 0 { first.end_of_shared(&self.segments[at]) } else { first.end() };
                let mut back = vec![first];
                while let Some(next) =
                    back.last().filter(|s| s.end() < log_end).and_then(|s| self.removed.from(s.end()))
                {
                    back.push(next.clone());
                }
                if (undone == 0 && back.len() == 1) || !back.iter().any(|s| s.holds(log_end)) {
                    continue;
                }
                let base = self.segments[at].base;
                lost.retain(|(of, _)| *of < base);
                self.segments.truncate(at);
                self.segments.extend(back);
                self.forget_producers_from(changed);
                return;
            }
        }
        self.bring_back_whole(lost, log_end);
    }

    /// A log that was emptied is there again, or a part of it at its end.
    fn bring_back_whole(&mut self, lost: &mut Vec<(i64, u64)>, log_end: i64) {
        if self.last().is_some() {
            return;
        }
        let Some(last) = self.removed.segments.iter().rposition(|s| s.holds(log_end)) else { return };
        let mut back: Vec<Segment> = vec![self.removed.segments[last].clone()];
        while let Some(first) = back[0].batches.first().map(|b| b.base)
            && let Some(before) = self.removed.segments.iter().rfind(|s| !s.batches.is_empty() && s.end() == first)
        {
            back.insert(0, before.clone());
        }
        back.iter_mut().for_each(Segment::all_durable);
        lost.clear();
        self.forget_producers_from(back[0].base);
        self.segments = back;
    }

    /// How far the log can reach if nothing came back: up to what was lost, with the appends whose fate was unknown.
    fn left_by(&self, lost: &[(i64, u64)]) -> i64 {
        let mut end = self.end();
        for batch in &self.uncertain {
            if batch.base == end {
                end = batch.next();
            }
        }
        lost.iter().filter_map(|&at| self.first_from(at)).map(|b| b.base).fold(end, i64::min)
    }
}

impl Segment {
    /// Up to where it is as `other` was.
    fn end_of_shared(&self, other: &Segment) -> i64 {
        let same = self.batches.iter().zip(&other.batches).take_while(|(a, b)| a.same(b)).count();
        same.checked_sub(1).map_or(self.base, |last| self.batches[last].next())
    }
}
