//! One file: what reads see, and how much of it the device has.
//!
//! A file only ever grows at its end or is cut. Between cuts, what is durable is a prefix: `synced`. A cut that
//! the device has not committed may be undone by a power loss, so what it removed is kept until then.

use super::draw::{Draws, For, scale};
use super::rope::{PAGE, Rope};
use klamm_model::units::Instant;

/// How much is read at once from the device, bytes.
const READ_AHEAD: u64 = 128 * 1024;

/// A state of a file: after so many cuts, so long.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Mark {
    generation: u64,
    len: u64,
}

/// A truncation the device has not committed.
#[derive(Debug)]
struct Cut {
    /// The length it left.
    at: u64,
    /// What it removed.
    tail: Rope,
    /// How much of the file was durable before it.
    synced: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct File {
    live: Rope,
    /// How much of `live` is durable.
    synced: u64,
    /// Uncommitted cuts, oldest first.
    cuts: Vec<Cut>,
    /// Cuts ever made, minus those undone.
    generation: u64,
    /// The state after the last operation that completed.
    completed: Mark,
    /// The part that is not in the page cache, ascending.
    cold: Vec<(u64, u64)>,
    /// When the last operation on it completes.
    pub busy_until: Instant,
    /// Whether a write-back is due.
    pub write_back_due: bool,
    /// The draws of its write-backs so far.
    pub write_backs: u64,
}

impl File {
    /// An empty one; its operations complete no earlier than `busy_until`.
    pub fn new(busy_until: Instant) -> File {
        File { busy_until, ..File::default() }
    }
    /// The bytes reads see.
    pub fn live(&self) -> &Rope {
        &self.live
    }
    /// Adds bytes; returns where.
    pub fn append(&mut self, data: bytes::Bytes) -> u64 {
        let at = self.live.len();
        self.live.push(data);
        at
    }
    /// Cuts it to `at` bytes, which must not be more than it has.
    pub fn cut(&mut self, at: u64) {
        let tail = self.live.cut(at);
        self.cuts.push(Cut { at, tail, synced: self.synced });
        self.synced = self.synced.min(at);
        self.generation += 1;
    }
    /// Undoes the last cut, with everything that was added after it.
    pub fn uncut(&mut self) {
        if let Some(cut) = self.cuts.pop() {
            self.live.cut(cut.at);
            self.live.append(&cut.tail);
            self.synced = cut.synced;
            self.generation -= 1;
        }
    }
    /// Takes back bytes that were added in flight.
    pub fn take_back(&mut self, to: u64) {
        self.live.cut(to);
        self.synced = self.synced.min(to);
    }
    /// The present state.
    pub fn mark(&self) -> Mark {
        Mark { generation: self.generation, len: self.live.len() }
    }
    /// The state after the last completed operation.
    pub fn completed(&self) -> Mark {
        self.completed
    }
    /// An operation completed that left this state.
    pub fn complete(&mut self, mark: Mark) {
        self.completed = self.completed.max(mark);
    }
    /// Nothing is in flight any more.
    pub fn settle(&mut self) {
        self.completed = self.mark();
    }
    /// Whether the device lacks something of the present state.
    pub fn is_dirty(&self) -> bool {
        self.synced < self.live.len() || !self.cuts.is_empty()
    }
    /// Bytes the device lacks of a state.
    pub fn dirty_bytes(&self, mark: Mark) -> u64 {
        self.frame(mark).map_or(0, |frame| mark.len.saturating_sub(self.frame_synced(frame)))
    }

    /// Whether the device lacks bytes of a state, or a cut that led to it.
    pub fn lacks(&self, mark: Mark) -> bool {
        self.frame(mark).is_some_and(|frame| frame > 0) || self.dirty_bytes(mark) > 0
    }

    /// The place of a state's generation among the uncommitted ones; `None` if it is committed and gone.
    fn frame(&self, mark: Mark) -> Option<usize> {
        let base = self.generation - self.cuts.len() as u64;
        mark.generation.checked_sub(base).map(|i| i as usize).filter(|i| *i <= self.cuts.len())
    }
    fn frame_synced(&self, frame: usize) -> u64 {
        self.cuts.get(frame).map_or(self.synced, |cut| cut.synced)
    }

    /// The device has everything up to a state.
    pub fn sync_to(&mut self, mark: Mark) {
        let Some(frame) = self.frame(mark) else { return };
        self.cuts.drain(..frame);
        let mut known = self.frame_synced(0).max(mark.len);
        if let Some(first) = self.cuts.first_mut() {
            first.synced = known;
        } else {
            self.synced = known;
        }
        // What is durable below a later cut is durable after it, too.
        for i in 0..self.cuts.len() {
            known = known.min(self.cuts[i].at);
            let next = if i + 1 < self.cuts.len() { &mut self.cuts[i + 1].synced } else { &mut self.synced };
            *next = known.max(*next);
            known = *next;
        }
    }
    /// An fsync of a state failed: its dirty pages are dropped and count as clean, as in Linux. The length stays, so
    /// zeros stand where they were. Returns that range.
    pub fn drop_dirty(&mut self, mark: Mark) -> Option<(u64, u64)> {
        let frame = self.frame(mark)?;
        let from = self.frame_synced(frame);
        let mut to = mark.len;
        if from >= to {
            self.sync_to(mark);
            return None;
        }
        for cut in &mut self.cuts[frame..] {
            if to > cut.at {
                cut.tail.zero(from.saturating_sub(cut.at), to - cut.at);
                to = cut.at;
            }
        }
        let to = to.min(self.live.len());
        self.live.zero(from, to);
        self.sync_to(mark);
        (from < to).then_some((from, to))
    }

    /// Whether a read of the range needs the device, and then warms it.
    pub fn miss(&mut self, pos: u64, len: u64) -> bool {
        if self.cold.is_empty() {
            return false;
        }
        let (from, to) = (pos, pos.saturating_add(len).min(self.live.len()));
        if !self.cold.iter().any(|(a, b)| *a < to && from < *b) {
            return false;
        }
        let from = from - from % READ_AHEAD;
        let to = to.max(from + READ_AHEAD);
        let before = std::mem::take(&mut self.cold);
        for (a, b) in before {
            for (a, b) in [(a, b.min(from)), (a.max(to), b)] {
                if a < b {
                    self.cold.push((a, b));
                }
            }
        }
        true
    }

    /// Flips bits of durable bytes.
    pub fn rot(&mut self, at: u64, mask: u8) {
        if let Some(byte) = self.live.read(at, 1).first() {
            let flipped = bytes::Bytes::from(vec![byte ^ mask]);
            self.live.overwrite(at, flipped);
        }
    }
    /// How much is durable and cannot be undone.
    pub fn durable_len(&self) -> u64 {
        if self.cuts.is_empty() { self.synced } else { 0 }
    }
    /// What is durable: the state before the first uncommitted cut, as far as it was synced.
    pub fn durable(&self) -> Rope {
        let mut frame = self.live.clone();
        for cut in self.cuts.iter().rev() {
            frame.cut(cut.at);
            frame.append(&cut.tail);
        }
        frame.cut(self.frame_synced(0));
        frame
    }

    /// The power goes. `key` names this file and loss among the draws. Returns the ranges lost of what reads saw.
    pub fn lose_power(&mut self, draws: Draws, key: u64) -> Vec<(u64, u64)> {
        let seen = self.live.len();
        // Cuts are committed in order: the first few survive, the rest never happened.
        let kept_cuts = draws.below(For::Content, key, u64::MAX, self.cuts.len() as u64 + 1) as usize;
        // What stood beyond an undone cut is lost; what stood there before it is back.
        let mut shared = seen;
        while self.cuts.len() > kept_cuts {
            shared = self.cuts.last().map_or(shared, |cut| cut.at.min(shared));
            self.uncut();
        }
        let mut lost = Vec::new();
        let mut lose = |from: u64, to: u64| match lost.last_mut() {
            _ if from >= to => {}
            Some((_, end)) if *end == from => *end = to,
            _ => lost.push((from, to)),
        };
        let (from, to) = (self.synced, self.live.len());
        if from < to {
            let runs = surviving(draws, key, from, to);
            let len = runs.last().map_or(from, |run| run.to);
            let mut kept = Rope::default();
            kept.copy_range(&self.live, 0, from);
            for run in &runs {
                if run.survives {
                    kept.copy_range(&self.live, run.from, run.to);
                } else {
                    kept.push_zeros(run.to - run.from);
                    // Zeros that read as zeros are not lost.
                    let was = self.live.read(run.from, run.to - run.from);
                    let same = |b: &u8| *b == 0;
                    let head = was.iter().take_while(|b| same(b)).count() as u64;
                    let tail = was.iter().rev().take_while(|b| same(b)).count() as u64;
                    lose(run.from + head, run.to.saturating_sub(tail).min(shared));
                }
            }
            lose(len, to.min(shared));
            self.live = kept;
        }
        lose(shared, seen);
        self.after_power_loss();
        lost
    }

    fn after_power_loss(&mut self) {
        self.cuts.clear();
        self.synced = self.live.len();
        self.settle();
        self.cold = if self.live.len() > 0 { vec![(0, self.live.len())] } else { Vec::new() };
        self.write_back_due = false;
        self.busy_until = Instant::ZERO;
    }
}

/// A stretch of unsynced bytes that shares a fate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    from: u64,
    to: u64,
    /// Otherwise it reads as zeros.
    survives: bool,
}

/// What survives of unsynced bytes `[from, to)`: adjoining runs from `from` up to the length that is kept.
fn surviving(draws: Draws, key: u64, from: u64, to: u64) -> Vec<Run> {
    let shape = draws.bits(For::Content, key, u64::MAX - 1);
    let cut = |n: u64, span: u64| scale(draws.bits(For::Content, key, u64::MAX - 2 - n), span);
    match shape % 8 {
        0 => Vec::new(),
        1 => vec![Run { from, to, survives: true }],
        // Write-back reached so far.
        2 | 3 => match from + cut(0, to - from + 1) {
            end if end > from => vec![Run { from, to: end, survives: true }],
            _ => Vec::new(),
        },
        // Any pages, the last one possibly torn.
        how => {
            let mut runs: Vec<Run> = Vec::new();
            let mut at = from;
            while at < to {
                let end = ((at / PAGE + 1) * PAGE).min(to);
                let survives = draws.bits(For::Content, key, at / PAGE) & 1 == 1;
                match runs.last_mut() {
                    Some(last) if last.survives == survives => last.to = end,
                    _ => runs.push(Run { from: at, to: end, survives }),
                }
                at = end;
            }
            // The length was committed with the last page that survives, or (two shapes of four) with all of them.
            if how >= 6 {
                return runs;
            }
            if runs.last().is_some_and(|run| !run.survives) {
                runs.pop();
            }
            if how == 5
                && let Some(last) = runs.last_mut()
            {
                let page = ((last.to - 1) / PAGE * PAGE).max(last.from);
                last.to = page + 1 + cut(1, last.to - page);
                last.to = last.to.min(to);
            }
            runs
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn text(file: &File) -> String {
        String::from_utf8(file.live().read(0, 1 << 20).to_vec()).unwrap()
    }
    fn with(data: &'static str) -> File {
        let mut file = File::default();
        file.append(Bytes::from_static(data.as_bytes()));
        file.settle();
        file
    }

    #[test]
    fn synced_bytes_survive_and_a_cut_may_be_undone() {
        let mut undone = 0;
        for key in 0..64 {
            let mut file = with("abcdef");
            file.sync_to(file.completed());
            file.cut(2);
            file.append(Bytes::from_static(b"XY"));
            file.settle();
            let lost = file.lose_power(Draws(1), key);
            let left = text(&file);
            if left == "abcdef" {
                undone += 1;
                assert_eq!(lost, [(2, 4)]);
            } else {
                assert!(left.starts_with("ab") && left.len() <= 4, "{left}");
            }
        }
        assert!((10..54).contains(&undone), "{undone}");
    }

    #[test]
    fn an_fsync_of_an_earlier_state_does_not_cover_a_later_cut() {
        let mut file = with("abcdef");
        let before = file.completed();
        file.cut(3);
        file.append(Bytes::from_static(b"ZZ"));
        file.sync_to(before);
        assert_eq!(file.durable().read(0, 99).as_ref(), b"abcdef");
        file.settle();
        file.sync_to(file.completed());
        assert_eq!(file.durable().read(0, 99).as_ref(), b"abcZZ");
        assert!(!file.is_dirty());
    }

    #[test]
    fn a_failed_fsync_leaves_zeros_and_a_clean_file() {
        let mut file = with("abc");
        file.sync_to(file.completed());
        file.append(Bytes::from_static(b"def"));
        file.settle();
        assert_eq!(file.drop_dirty(file.completed()), Some((3, 6)));
        assert_eq!(file.live().read(0, 99).as_ref(), b"abc\0\0\0");
        assert!(!file.is_dirty());
    }

    #[test]
    fn every_shape_of_survival_is_drawn() {
        let (from, to) = (5000, 5000 + 6 * PAGE);
        let (mut none, mut all, mut holes, mut torn) = (0, 0, 0, 0);
        for key in 0..400 {
            let runs = surviving(Draws(3), key, from, to);
            let mut at = from;
            for run in &runs {
                assert!(run.from == at && run.to > at && run.to <= to);
                at = run.to;
            }
            none += usize::from(runs.is_empty());
            all += usize::from(runs == [Run { from, to, survives: true }]);
            holes += usize::from(runs.iter().any(|r| !r.survives));
            torn += usize::from(at % PAGE != 0 && at != to && at != from);
        }
        assert!(none > 20 && all > 20 && holes > 50 && torn > 50, "{none} {all} {holes} {torn}");
    }
}
