//! A data directory belongs to one process, or to the processes of one cluster's nodes, for as long as they serve it.
//!
//! `.lock` in the data directory is held by all of them: alone by a process that runs every node, shared by processes of one
//! node each. `.lock` in a node's own directory is held by one process alone, as Kafka does in each of its log directories; a
//! Kafka that runs on such a directory is seen, too. Directories within one another are one directory here: locks are looked
//! for above and below. A lock ends with its process, however that ends.

use rustix::fs::{FlockOperation, fcntl_lock};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file that is locked.
pub(super) const LOCK: &str = ".lock";
/// Files that a served directory has: the cluster's, and those of a node or of Kafka.
const MARKS: [&str; 2] = ["cluster.properties", "meta.properties"];
/// How deep below a directory another may be served, and how many folders are looked into.
const DEPTH: usize = 12;
const FOLDERS: usize = 100_000;

/// Why a directory cannot be had.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another process is at it, or above or below it: at that directory.
    Served(PathBuf),
    /// The file system.
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Io(error)
    }
}

/// Directories that are this process's until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    _files: Vec<File>,
}

fn open(dir: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK))
}

fn lock(dir: &Path, shared: bool) -> Result<File, Refused> {
    let file = open(dir)?;
    match if shared { file.try_lock_shared() } else { file.try_lock() } {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Refused::Served(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Java's locks are of another kind, which the first kind does not see.
fn lock_against_kafka(dir: &Path, file: &File) -> Result<(), Refused> {
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Err(Refused::Served(dir.to_owned())),
        Err(error) => Err(Refused::Io(error.into())),
    }
}

/// Whether any process holds a directory's lock at this moment.
fn is_served(dir: &Path) -> bool {
    let path = dir.join(LOCK);
    let plain = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    // What cannot be opened cannot be this user's, and is not looked at further.
    plain && File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Where a directory that is missing will be.
fn will_be(dir: &Path) -> io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    let there = dir.ancestors().find(|at| at.exists()).unwrap_or(Path::new("/"));
    Ok(fs::canonicalize(there)?.join(dir.strip_prefix(there).unwrap_or(&dir)))
}

/// A directory above that is being served.
fn above(dir: &Path) -> Option<PathBuf> {
    let marked = |dir: &&Path| MARKS.iter().any(|mark| dir.join(mark).is_file());
    dir.ancestors().skip(1).filter(marked).find(|dir| is_served(dir)).map(Path::to_owned)
}

/// A directory below that is being served, beside those in `ours`.
fn below(dir: &Path, ours: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let (mut open, mut seen) = (vec![(dir.to_owned(), 0)], 0);
    while let Some((at, depth)) = open.pop() {
        let Ok(entries) = fs::read_dir(&at) else { continue };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if !ours(&path) && is_served(&path) {
                return Some(path);
            }
            seen += 1;
            if depth < DEPTH && seen < FOLDERS {
                open.push((path, depth + 1));
            }
        }
    }
    None
}

/// Takes a data directory, with the directories of the nodes that run here. With `whole` no other process may run any node
/// of it. The directories are made where they are missing.
pub(super) fn claim(dir: &Path, nodes: &[String], whole: bool) -> Result<Claim, Refused> {
    // Nothing is made in a directory that is another's.
    let place = match fs::canonicalize(dir) {
        Ok(there) => there,
        Err(_) => will_be(dir)?,
    };
    if let Some(served) = above(&place) {
        return Err(Refused::Served(served));
    }
    fs::create_dir_all(dir)?;
    let dir = fs::canonicalize(dir)?;
    let mut files = vec![lock(&dir, !whole)?];
    // Of two that begin at once, each has its own lock by now: at least one sees the other.
    if let Some(served) = above(&dir) {
        return Err(Refused::Served(served));
    }
    // Other nodes of one cluster have their directories beside this one's.
    let is_node = |name: &str| name == "c1" || name.strip_prefix('b').is_some_and(|n| n.parse::<u32>().is_ok());
    let ours = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !whole && path.parent() == Some(&dir) && is_node(name)
    };
    if let Some(served) = below(&dir, &ours) {
        return Err(Refused::Served(served));
    }
    for node in nodes {
        let own = dir.join(node);
        fs::create_dir_all(&own)?;
        let file = lock(&own, false)?;
        lock_against_kafka(&own, &file)?;
        files.push(file);
    }
    Ok(Claim { _files: files })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn all(dir: &Path) -> Result<Claim, Refused> {
        claim(dir, &nodes(&["c1", "b1", "b2"]), true)
    }

    fn one(dir: &Path, node: &str) -> Result<Claim, Refused> {
        claim(dir, &nodes(&[node]), false)
    }

    fn is_taken(refused: Result<Claim, Refused>) -> bool {
        matches!(refused, Err(Refused::Served(_)))
    }

    #[test]
    fn one_process_or_one_for_each_node() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path();
        let whole = all(dir).unwrap();
        assert!(is_taken(all(dir)) && is_taken(one(dir, "b1")) && is_taken(one(dir, "b7")));
        drop(whole);
        let (_c1, b1) = (one(dir, "c1").unwrap(), one(dir, "b1").unwrap());
        let _b2 = one(dir, "b2").unwrap();
        assert!(is_taken(one(dir, "b1")) && is_taken(all(dir)), "b1 runs, and three nodes run");
        drop(b1);
        let _again = one(dir, "b1").unwrap();
    }

    #[test]
    fn directories_within_one_another_are_one() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("data");
        let serve = |dir: &Path| {
            let claim = all(dir)?;
            // As the cluster does once it has the directory.
            fs::write(dir.join("cluster.properties"), "cluster.id=x\n")?;
            Ok::<_, Refused>(claim)
        };
        for within in ["b1", "b1/orders-0", "elsewhere", "a/b/c"] {
            let inner = dir.join(within);
            let outer = serve(&dir).unwrap();
            let there = inner.exists();
            assert!(is_taken(all(&inner)), "{within} while the whole is served");
            assert_eq!(inner.exists(), there, "nothing is made where another serves");
            assert!(is_taken(one(&inner, "b1")), "a node of {within} while the whole is served");
            drop(outer);
            let node = one(&dir, "b2").unwrap();
            assert!(is_taken(all(&inner)), "{within} while a node is served");
            drop(node);
            let inner_first = serve(&inner).unwrap();
            assert!(is_taken(all(&dir)), "the whole while {within} is served");
            if !within.starts_with('b') {
                assert!(is_taken(one(&dir, "b1")), "a node while {within} is served");
            }
            drop(inner_first);
            for mark in ["cluster.properties", ".lock"] {
                let _ = fs::remove_file(inner.join(mark));
            }
        }
    }

    #[test]
    fn a_link_is_the_directory_it_leads_to() {
        let place = tempfile::tempdir().unwrap();
        let (real, link) = (place.path().join("real"), place.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let _whole = all(&link).unwrap();
        assert!(is_taken(all(&real)) && is_taken(one(&link, "b1")));
    }
}
