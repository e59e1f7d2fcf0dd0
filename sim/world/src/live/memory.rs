//! A disk that is memory: for clusters that leave nothing behind. Its files outlive the processes of their node, not those of
//! the cluster.

use super::board::lock;
use crate::disk::names::below;
use crate::disk::rope::Rope;
use crate::shell::disk::{Completion, Disk};
use klamm_model::disk::{DiskError, DiskOp, DiskReply, DiskResult, DiskToken, FileEntry, Path};
use klamm_model::units::Instant;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The files of one node.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(Arc<Mutex<BTreeMap<Path, Rope>>>);

/// The disk of one incarnation.
#[derive(Debug)]
pub struct MemoryDisk {
    files: MemoryFiles,
    done: Vec<Completion>,
}

impl MemoryDisk {
    /// Over a node's files.
    pub fn new(files: MemoryFiles) -> MemoryDisk {
        MemoryDisk { files, done: Vec::new() }
    }
}

impl MemoryFiles {
    /// Everything is gone.
    pub(super) fn wipe(&self) {
        lock(&self.0).clear();
    }

    fn perform(&self, op: DiskOp) -> DiskResult {
        let mut files = lock(&self.0);
        match op {
            DiskOp::Append { file, data } => files.entry(file).or_default().push(data),
            DiskOp::Write { file, data } => {
                let mut rope = Rope::default();
                rope.push(data);
                files.insert(file, rope);
            }
            DiskOp::Read { ranges } => {
                let read = |range: &klamm_model::disk::ReadRange| {
                    files.get(&range.file).map(|rope| rope.read(range.pos, range.len)).ok_or(DiskError::NotFound)
                };
                return ranges.iter().map(read).collect::<Result<_, _>>().map(DiskReply::Data);
            }
            DiskOp::Fsync { file } => return files.get(&file).map(|_| DiskReply::Done).ok_or(DiskError::NotFound),
            DiskOp::FsyncDir { .. } => {}
            DiskOp::Truncate { file, len } => {
                files.get_mut(&file).ok_or(DiskError::NotFound)?.cut(len);
            }
            DiskOp::Rename { from, to } => {
                let moved: Vec<Path> = files.keys().filter(|p| below(p, &from)).cloned().collect();
                if moved.is_empty() {
                    return Err(DiskError::NotFound);
                }
                files.retain(|p, _| !below(p, &to));
                for path in moved {
                    let rest = &path.as_str()[from.as_str().len()..];
                    let new = Path::new(format!("{to}{rest}"));
                    if let Some(rope) = files.remove(&path) {
                        files.insert(new, rope);
                    }
                }
            }
            DiskOp::Delete { path } => files.retain(|p, _| !below(p, &path)),
            DiskOp::List { dir } => {
                let found = files.iter().filter(|(p, _)| below(p, &dir));
                let entries = found.map(|(path, rope)| FileEntry { path: path.clone(), len: rope.len() });
                return Ok(DiskReply::Listing(entries.collect()));
            }
        }
        Ok(DiskReply::Done)
    }
}

impl Disk for MemoryDisk {
    fn submit(&mut self, _now: Instant, token: DiskToken, op: DiskOp) {
        self.done.push((token, self.files.perform(op)));
    }
    fn done(&mut self, _now: Instant, into: &mut Vec<Completion>) {
        into.append(&mut self.done);
    }
    fn due(&self) -> Option<Instant> {
        None
    }
    async fn woken(&mut self) {
        std::future::pending().await
    }
}
