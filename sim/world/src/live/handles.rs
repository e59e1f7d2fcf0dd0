//! File descriptors: how many there are, who may have them, and what becomes of work for which there is none at the moment.
//!
//! A file that cannot be opened for want of a descriptor is not a broken disk: it is closed files that are missing. The
//! operation waits, as on a slow disk, until some are closed. Kafka takes the same error for a failed log directory, and a
//! broker with one directory ends with it; here several nodes and their clients share one process's descriptors, so that one
//! client's crowd would end them all. New connections get what log files leave.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Files kept open, of one node, where there are descriptors enough.
const OPEN_FILES: usize = 256;
/// Least of files and of connections, however few descriptors there are.
const LEAST: usize = 4;
/// Descriptors of the process itself, and of each node: its poll, its ports, what it has open for a moment.
const OF_PROCESS: usize = 64;
const OF_NODE: usize = 16;
/// Descriptors of the connections between two nodes, of both ends.
const BETWEEN: usize = 4;
/// How long work for which there is no descriptor waits before it is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// How often it is said that work waits.
const SAID_EACH: Duration = Duration::from_secs(10);

/// The soft limit of open files is raised to the hard one.
pub fn raise_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files cannot be raised to {:?}: {error}", limit.maximum);
    }
}

/// What one node may have of the process's descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Share {
    /// Log files kept open.
    pub files: usize,
    /// Connections of clients.
    pub connections: usize,
}

/// Divides the process's descriptors among its nodes, so many of which are brokers.
pub(super) fn share(nodes: usize, brokers: usize) -> Share {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    divide(limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)), nodes, brokers)
}

fn divide(limit: usize, nodes: usize, brokers: usize) -> Share {
    let taken = OF_PROCESS + OF_NODE * nodes + BETWEEN * nodes * nodes;
    let free = limit.min(1 << 30).saturating_sub(taken);
    let files = (free / (2 * nodes.max(1))).clamp(LEAST, OPEN_FILES);
    // With each eight of a broker's clients goes one of a node's.
    let connections = (free.saturating_sub(files * nodes) * 8 / (8 * brokers + nodes)).max(LEAST);
    Share { files, connections }
}

/// Whether an operation failed for want of a descriptor, in this process (EMFILE) or on this machine (ENFILE).
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

/// Work that may have to wait for a descriptor, of one disk.
#[derive(Debug, Default)]
pub(super) struct Patience {
    over: AtomicBool,
    said: Mutex<Option<Instant>>,
}

impl Patience {
    /// Nothing is waited for any more.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Says that work waits, unless that was said a moment ago.
    pub(super) fn say(&self, error: &io::Error) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() >= SAID_EACH) {
            *said = Some(Instant::now());
            tracing::warn!("disk: operations wait for files to be closed: {error}; a higher `ulimit -n` helps");
        }
    }

    /// Does something on a thread that may wait, again and again while there is no descriptor for it.
    pub(super) fn with<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match work() {
                Err(error) if is_out_of_files(&error) && !self.over.load(Ordering::Relaxed) => {
                    self.say(&error);
                    std::thread::sleep(AGAIN);
                }
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_divided() {
        assert_eq!(divide(usize::MAX, 4, 3).files, OPEN_FILES);
        assert_eq!(divide(256, 2, 1), Share { files: 36, connections: 57 });
        assert_eq!(divide(20, 4, 3), Share { files: LEAST, connections: LEAST });
        for limit in [200, 1_024, 4_096, 20_000] {
            for brokers in [1, 3, 9] {
                let share = divide(limit, brokers + 1, brokers);
                let used = OF_PROCESS + OF_NODE * (brokers + 1) + BETWEEN * (brokers + 1) * (brokers + 1);
                let all = used + share.files * (brokers + 1) + share.connections * brokers;
                assert!(all <= limit || share.files == LEAST, "{limit} {brokers}: {all}");
            }
        }
    }

    #[test]
    fn work_waits_for_a_descriptor_and_not_longer_than_its_disk_lives() {
        let patience = Patience::default();
        let mut tries = 0;
        let done = patience.with(|| {
            tries += 1;
            if tries < 3 { Err(rustix::io::Errno::MFILE.into()) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap(), 3);
        assert!(patience.with(|| Err::<(), _>(io::Error::from(io::ErrorKind::NotFound))).is_err());
        patience.end();
        assert!(is_out_of_files(&patience.with(|| Err::<(), _>(rustix::io::Errno::NFILE.into())).unwrap_err()));
    }
}
