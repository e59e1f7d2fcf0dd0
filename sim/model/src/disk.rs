//! The disk as a correspondent: a node asks, and learns of it later.
//!
//! Operations on one file complete in the order they were asked; those on different files in any order. A read
//! sees every append asked for before it. What a crash leaves of unsynced data is the world's decision
//! (`world.md`); a node may rely only on what a completed [`DiskOp::Fsync`] covered.

use crate::small_map::Few;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// A path below the host's data directory, `/`-separated, such as `orders-0/00000000000000000000.log`.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Arc<str>);

impl Path {
    /// From text; no normalisation is done.
    pub fn new(path: impl AsRef<str>) -> Path {
        Path(Arc::from(path.as_ref()))
    }
    /// `self/name`.
    #[must_use]
    pub fn join(&self, name: &str) -> Path {
        if self.0.is_empty() { Path::new(name) } else { Path(Arc::from(format!("{}/{name}", self.0))) }
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The part after the last `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }
    /// The part before the last `/`; empty for a top-level name.
    pub fn parent(&self) -> Path {
        Path::new(self.0.rsplit_once('/').map_or("", |(dir, _)| dir))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one operation of one node incarnation. `owner` is the node's own routing number (say, which log asked).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DiskToken {
    /// Chosen by the node.
    pub owner: u32,
    /// Unique within the incarnation, rising.
    pub seq: u64,
}

/// A range of a file to read. Reading past the end yields what is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadRange {
    /// Which file.
    pub file: Path,
    /// First byte.
    pub pos: u64,
    /// How many bytes at most.
    pub len: u64,
}

/// What a node may ask of its disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskOp {
    /// Add bytes at the end; creates the file (and its directory) if it is missing.
    Append {
        /// Which file.
        file: Path,
        /// The bytes.
        data: Bytes,
    },
    /// Replace the whole content; creates the file if it is missing. Not atomic: write aside, fsync, rename.
    Write {
        /// Which file.
        file: Path,
        /// The new content.
        data: Bytes,
    },
    /// Read ranges, in one request to the device.
    Read {
        /// The ranges; the answer has one buffer for each.
        ranges: Few<ReadRange>,
    },
    /// Make the file's completed appends durable, and its length.
    Fsync {
        /// Which file.
        file: Path,
    },
    /// Make creations, renames and deletions within a directory durable.
    FsyncDir {
        /// Which directory.
        dir: Path,
    },
    /// Cut a file to `len` bytes.
    Truncate {
        /// Which file.
        file: Path,
        /// The new length, bytes.
        len: u64,
    },
    /// Move a file or a directory over whatever bore the new name.
    Rename {
        /// The old name.
        from: Path,
        /// The new name.
        to: Path,
    },
    /// Remove a file, or a directory with what is in it. Missing is not an error.
    Delete {
        /// Which file or directory.
        path: Path,
    },
    /// Every file below a directory (at any depth), sorted by path.
    List {
        /// Which directory; empty for the root.
        dir: Path,
    },
}

/// One file as [`DiskOp::List`] tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// Its full path.
    pub path: Path,
    /// Its length, bytes.
    pub len: u64,
}

/// What the disk answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskReply {
    /// Done.
    Done,
    /// One buffer for each range of a read.
    Data(Few<Bytes>),
    /// The files listed.
    Listing(Vec<FileEntry>),
}

/// Why the disk refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DiskError {
    /// EIO: the device failed. After a failed fsync the dirty pages are gone (Linux drops them).
    #[error("input/output error")]
    Io,
    /// ENOSPC.
    #[error("no space left on device")]
    NoSpace,
    /// ENOENT.
    #[error("no such file")]
    NotFound,
}

/// A completion.
pub type DiskResult = Result<DiskReply, DiskError>;
