//! A disk under faults. What is slow or stalled has been done, and is told later; what fails has not been done.

use super::board::Board;
use crate::disk::DiskFault;
use crate::faults::DiskErrorOn;
use crate::shell::disk::{Completion, Disk};
use klamm_model::disk::{DiskError, DiskOp, DiskToken};
use klamm_model::units::{Duration, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

/// What a slow disk takes at least for an operation, before it is multiplied.
const LEAST: Duration = Duration::from_micros(100);

/// A disk, and what is wrong with it.
#[derive(Debug)]
pub struct FaultyDisk<D> {
    inner: D,
    host: Arc<str>,
    board: Arc<Board>,
    changed: watch::Receiver<u64>,
    faults: Vec<DiskFault>,
    /// When operations were asked for, and whether they are reads: those a stalled device's cache can still serve.
    asked: BTreeMap<DiskToken, (Instant, bool)>,
    /// Over, but not to be told before their time; in order.
    held: VecDeque<(Instant, Completion)>,
    refused: Vec<Completion>,
}

impl<D: Disk> FaultyDisk<D> {
    /// A host's disk.
    pub fn new(inner: D, host: Arc<str>, board: Arc<Board>) -> FaultyDisk<D> {
        let changed = board.subscribe();
        let faults = board.disk(&host);
        let (asked, held) = (BTreeMap::new(), VecDeque::new());
        FaultyDisk { inner, host, board, changed, faults, asked, held, refused: Vec::new() }
    }

    fn look(&mut self) {
        if self.changed.has_changed().unwrap_or(false) {
            self.changed.mark_unchanged();
            self.faults = self.board.disk(&self.host);
        }
    }
    fn stalled(&self) -> bool {
        self.faults.contains(&DiskFault::Stall)
    }
    fn factor(&self) -> u64 {
        let slow = |f: &DiskFault| if let DiskFault::Slow(factor) = f { u64::from(*factor) } else { 1 };
        self.faults.iter().map(slow).max().unwrap_or(1)
    }
    fn error(&self, op: &DiskOp) -> Option<DiskError> {
        let writes = matches!(op, DiskOp::Append { .. } | DiskOp::Write { .. });
        let fails = |f: &DiskFault| match f {
            DiskFault::Error(DiskErrorOn::Write) if writes => Some(DiskError::Io),
            DiskFault::Error(DiskErrorOn::Read) if matches!(op, DiskOp::Read { .. }) => Some(DiskError::Io),
            DiskFault::Error(DiskErrorOn::Fsync) if matches!(op, DiskOp::Fsync { .. } | DiskOp::FsyncDir { .. }) => {
                Some(DiskError::Io)
            }
            DiskFault::Full if writes => Some(DiskError::NoSpace),
            _ => None,
        };
        self.faults.iter().find_map(fails)
    }
}

impl<D: Disk> Disk for FaultyDisk<D> {
    fn submit(&mut self, now: Instant, token: DiskToken, op: DiskOp) {
        self.look();
        if self.faults.is_empty() && self.held.is_empty() {
            return self.inner.submit(now, token, op);
        }
        self.asked.insert(token, (now, matches!(op, DiskOp::Read { .. })));
        match self.error(&op) {
            Some(error) => self.refused.push((token, Err(error))),
            None => self.inner.submit(now, token, op),
        }
    }

    fn done(&mut self, now: Instant, into: &mut Vec<Completion>) {
        self.look();
        if self.faults.is_empty() && self.held.is_empty() && self.refused.is_empty() {
            self.asked.clear();
            return self.inner.done(now, into);
        }
        let mut over = std::mem::take(&mut self.refused);
        self.inner.done(now, &mut over);
        let (factor, stalled) = (self.factor(), self.stalled());
        for completion in over {
            let (asked, read) = self.asked.remove(&completion.0).unwrap_or((now, false));
            if read && stalled {
                into.push(completion);
                continue;
            }
            let took = now.since(asked).as_nanos().max(LEAST.as_nanos());
            let extra = Duration::from_nanos(took.saturating_mul(factor - 1));
            let last = self.held.back().map_or(Instant::ZERO, |(at, _)| *at);
            self.held.push_back(((now + extra).max(last), completion));
        }
        while !stalled && let Some((_, completion)) = self.held.pop_front_if(|(at, _)| *at <= now) {
            into.push(completion);
        }
    }

    fn due(&self) -> Option<Instant> {
        let held = self.held.front().filter(|_| !self.stalled()).map(|(at, _)| *at);
        [held, self.inner.due()].into_iter().flatten().min()
    }

    async fn woken(&mut self) {
        tokio::select! {
            biased;
            changed = self.changed.changed() => match changed {
                Ok(()) => self.faults = self.board.disk(&self.host),
                Err(_) => std::future::pending().await,
            },
            () = self.inner.woken() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::Fault;
    use super::super::memory::{MemoryDisk, MemoryFiles};
    use super::*;
    use bytes::Bytes;
    use klamm_model::disk::{DiskReply, Path};

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn append(disk: &mut impl Disk, seq: u64, now: Instant) {
        let op = DiskOp::Append { file: Path::new("f"), data: Bytes::from_static(b"x") };
        disk.submit(now, DiskToken { owner: 0, seq }, op);
    }

    fn done(disk: &mut impl Disk, now: Instant) -> Vec<(u64, bool)> {
        let mut into = Vec::new();
        disk.done(now, &mut into);
        into.iter().map(|(t, r)| (t.seq, *r == Ok(DiskReply::Done))).collect()
    }

    fn faulty() -> (Arc<Board>, FaultyDisk<MemoryDisk>) {
        let board = Arc::new(Board::default());
        let disk = FaultyDisk::new(MemoryDisk::new(MemoryFiles::default()), "b1".into(), board.clone());
        (board, disk)
    }

    #[test]
    fn a_stalled_disk_tells_everything_in_order_when_it_goes_on() {
        let (board, mut disk) = faulty();
        let stall = board.add(Fault::Disk { who: "b1".into(), what: DiskFault::Stall });
        append(&mut disk, 1, at(0));
        append(&mut disk, 2, at(1));
        assert!(done(&mut disk, at(5000)).is_empty());
        assert_eq!(disk.due(), None);
        board.lift(stall);
        append(&mut disk, 3, at(5001));
        assert_eq!(done(&mut disk, at(5001)), [(1, true), (2, true), (3, true)]);
    }

    #[test]
    fn a_slow_disk_is_so_many_times_slower() {
        let (board, mut disk) = faulty();
        board.add(Fault::Disk { who: "b1".into(), what: DiskFault::Slow(101) });
        append(&mut disk, 1, at(0));
        assert!(done(&mut disk, at(0)).is_empty());
        assert_eq!(disk.due(), Some(at(10)));
        assert_eq!(done(&mut disk, at(10)), [(1, true)]);
    }

    #[test]
    fn another_hosts_fault_and_one_that_is_over_change_nothing() {
        let (board, mut disk) = faulty();
        board.add(Fault::Disk { who: "b2".into(), what: DiskFault::Full });
        let full = board.add(Fault::Disk { who: "b1".into(), what: DiskFault::Full });
        append(&mut disk, 1, at(0));
        assert_eq!(done(&mut disk, at(0)), [(1, false)]);
        board.lift(full);
        append(&mut disk, 2, at(1));
        assert_eq!(done(&mut disk, at(1)), [(2, true)]);
    }
}
