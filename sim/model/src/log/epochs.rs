//! Which leader epoch began at which offset (KIP-101, KIP-279). Follows Kafka's `LeaderEpochFileCache`.

use super::checkpoint::{self, LEADER_EPOCH_CHECKPOINT, Replace};
use crate::disk::Path;
use crate::ids::{LeaderEpoch, Offset};
use crate::node::Outbox;

/// The cache, and its file `leader-epoch-checkpoint`.
#[derive(Debug)]
pub(super) struct Epochs {
    entries: Vec<(LeaderEpoch, Offset)>,
    pub(super) file: Replace,
}

impl Epochs {
    pub(super) fn new(owner: u32, dir: &Path) -> Epochs {
        Epochs { entries: Vec::new(), file: Replace::new(owner, dir.join(LEADER_EPOCH_CHECKPOINT)) }
    }

    pub(super) fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    pub(super) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|e| e.0)
    }

    /// Takes what the file held; entries that do not ascend are dropped as `assign` would drop them.
    pub(super) fn restore(&mut self, entries: &[(LeaderEpoch, Offset)]) {
        self.entries.clear();
        for &(epoch, start) in entries {
            self.put(epoch, start);
        }
    }

    /// An epoch begins at `start`. Entries that a later epoch, or an earlier start, contradicts go.
    pub(super) fn assign(&mut self, epoch: LeaderEpoch, start: Offset, out: &mut Outbox) {
        if self.put(epoch, start) {
            self.write(out);
        }
    }

    /// As `assign`, without writing.
    pub(super) fn put(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.entries.last().is_some_and(|&(e, s)| e == epoch && s <= start) {
            return false;
        }
        while self.entries.last().is_some_and(|&(e, s)| e >= epoch || s >= start) {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        true
    }

    pub(super) fn write(&mut self, out: &mut Outbox) {
        self.file.replace(checkpoint::format_epochs(&self.entries), out);
    }

    /// The log was cut to `end`: epochs that begin there or beyond are unknown again. Whether that changed anything.
    pub(super) fn truncate_from_end(&mut self, end: Offset) -> bool {
        let keep = self.entries.partition_point(|e| e.1 < end);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// The log now begins at `start`: the epoch that holds it begins there. Whether that changed anything.
    pub(super) fn truncate_from_start(&mut self, start: Offset) -> bool {
        let gone = self.entries.partition_point(|e| e.1 <= start);
        let Some(last) = gone.checked_sub(1) else { return false };
        if last == 0 && self.entries[0].1 == start {
            return false;
        }
        self.entries.drain(..last);
        self.entries[0].1 = start;
        true
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The largest epoch not above `epoch`, and where the next one starts (the log end, for the latest).
    pub(super) fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        const UNDEFINED: (LeaderEpoch, Offset) = (LeaderEpoch::NONE, Offset::NONE);
        if epoch == LeaderEpoch::NONE {
            return UNDEFINED;
        }
        if self.latest() == Some(epoch) {
            return (epoch, log_end);
        }
        let higher = self.entries.partition_point(|e| e.0 <= epoch);
        let Some(&(_, end)) = self.entries.get(higher) else { return UNDEFINED };
        match higher.checked_sub(1) {
            // Below the first known epoch: its records are gone from this log, so the first known start will do.
            None => (epoch, end),
            Some(floor) => (self.entries[floor].0, end),
        }
    }

    /// Whether this epoch begins within these offsets, both included.
    pub(super) fn begins_in(&self, epoch: LeaderEpoch, first: Offset, last: Offset) -> bool {
        self.entries.iter().any(|&(e, start)| e == epoch && first <= start && start <= last)
    }

    pub(super) fn for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|e| e.1 <= offset);
        after.checked_sub(1).map(|i| self.entries[i].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        let mut e = Epochs::new(1, &Path::new("t-0"));
        for &(epoch, start) in entries {
            e.put(LeaderEpoch(epoch), Offset(start));
        }
        e
    }
    fn pairs(e: &Epochs) -> Vec<(i32, i64)> {
        e.entries().iter().map(|&(e, o)| (e.0, o.0)).collect()
    }
    fn end(e: &Epochs, epoch: i32) -> (i32, i64) {
        let (e, o) = e.end_offset_for(LeaderEpoch(epoch), Offset(100));
        (e.0, o.0)
    }

    #[test]
    fn end_offsets() {
        let e = epochs(&[(2, 10), (4, 20), (7, 50)]);
        assert_eq!(end(&e, 7), (7, 100), "the latest epoch ends with the log");
        assert_eq!(end(&e, 4), (4, 50));
        assert_eq!(end(&e, 5), (4, 50), "an epoch never seen here: the largest below it (KIP-279)");
        assert_eq!(end(&e, 2), (2, 20));
        assert_eq!(end(&e, 1), (1, 10), "below the first: its start");
        assert_eq!(end(&e, 8), (-1, -1), "above the latest: unknown");
        assert_eq!(end(&e, -1), (-1, -1));
        assert_eq!(end(&epochs(&[]), 0), (-1, -1));
    }

    #[test]
    fn contradicted_entries_go() {
        assert_eq!(pairs(&epochs(&[(1, 0), (2, 10), (3, 20), (4, 15)])), [(1, 0), (2, 10), (4, 15)]);
        assert_eq!(pairs(&epochs(&[(1, 0), (5, 10), (3, 20)])), [(1, 0), (3, 20)]);
        assert_eq!(pairs(&epochs(&[(1, 5), (1, 9)])), [(1, 5)], "an epoch keeps its first start");
        assert_eq!(pairs(&epochs(&[(1, 5), (1, 3)])), [(1, 3)], "unless an earlier one is told");
    }

    #[test]
    fn truncation_at_both_ends() {
        let mut e = epochs(&[(1, 0), (2, 10), (3, 20)]);
        assert!(e.truncate_from_end(Offset(20)));
        assert!(!e.truncate_from_end(Offset(20)));
        assert_eq!(pairs(&e), [(1, 0), (2, 10)]);
        assert!(!e.truncate_from_start(Offset(0)));
        assert!(e.truncate_from_start(Offset(15)));
        assert_eq!(pairs(&e), [(2, 15)]);
        assert_eq!(e.for_offset(Offset(14)), None);
        assert_eq!(e.for_offset(Offset(99)), Some(LeaderEpoch(2)));
    }
}
