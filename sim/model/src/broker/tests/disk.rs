//! A disk that does everything at once and never fails; what was not fsynced survives, as with a killed process.

use crate::disk::{DiskError, DiskOp, DiskReply, DiskResult, FileEntry, Path, ReadRange};
use bytes::Bytes;
use std::collections::BTreeMap;

#[derive(Debug, Default, Clone)]
pub(crate) struct MemDisk {
    pub(crate) files: BTreeMap<Path, Vec<u8>>,
    /// Operations, in order.
    pub(crate) done: Vec<DiskOp>,
}

fn below(path: &Path, dir: &Path) -> bool {
    dir.as_str().is_empty() || path.as_str().strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

impl MemDisk {
    pub(crate) fn run(&mut self, op: DiskOp) -> DiskResult {
        self.done.push(op.clone());
        match op {
            DiskOp::Append { file, data } => self.files.entry(file).or_default().extend_from_slice(&data),
            DiskOp::Write { file, data } => {
                self.files.insert(file, data.to_vec());
            }
            DiskOp::Read { ranges } => {
                let read = |r: ReadRange| {
                    let data = self.files.get(&r.file).ok_or(DiskError::NotFound)?;
                    let from = (r.pos as usize).min(data.len());
                    let to = (r.pos.saturating_add(r.len)).min(data.len() as u64) as usize;
                    Ok(Bytes::copy_from_slice(&data[from..to]))
                };
                return ranges.into_iter().map(read).collect::<Result<_, _>>().map(DiskReply::Data);
            }
            DiskOp::Fsync { .. } | DiskOp::FsyncDir { .. } => {}
            DiskOp::Truncate { file, len } => self.files.entry(file).or_default().truncate(len as usize),
            DiskOp::Rename { from, to } => {
                let moved: Vec<Path> = self.files.keys().filter(|p| **p == from || below(p, &from)).cloned().collect();
                for path in moved {
                    let rest = path.as_str()[from.as_str().len()..].to_owned();
                    if let Some(data) = self.files.remove(&path) {
                        self.files.insert(Path::new(format!("{to}{rest}")), data);
                    }
                }
            }
            DiskOp::Delete { path } => self.files.retain(|p, _| *p != path && !below(p, &path)),
            DiskOp::List { dir } => {
                let listed = self.files.iter().filter(|(p, _)| below(p, &dir));
                let entry = |(p, data): (&Path, &Vec<u8>)| FileEntry { path: p.clone(), len: data.len() as u64 };
                return Ok(DiskReply::Listing(listed.map(entry).collect()));
            }
        }
        Ok(DiskReply::Done)
    }
}
