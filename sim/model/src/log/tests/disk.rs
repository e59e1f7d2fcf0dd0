//! A small disk for tests: operations complete when told to, files in any order among each other, and a power loss
//! keeps what was fsynced and an arbitrary part of the rest.

use crate::disk::*;
use crate::small_map::Few;
use bytes::Bytes;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const PAGE: usize = 64;

#[derive(Clone, Default, Debug)]
struct Inode {
    data: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Create(Path, usize),
    Rename(Path, Path),
    Delete(Path),
}

impl Change {
    fn dir(&self) -> Path {
        match self {
            Change::Create(path, _) | Change::Rename(_, path) | Change::Delete(path) => path.parent(),
        }
    }
    fn apply(&self, names: &mut BTreeMap<Path, usize>) {
        match self {
            Change::Create(path, id) => _ = names.insert(path.clone(), *id),
            Change::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Change::Delete(path) => {
                let below = format!("{path}/");
                names.retain(|p, _| p != path && !p.as_str().starts_with(&below));
            }
        }
    }
}

#[derive(Default, Debug)]
pub(super) struct FakeDisk {
    inodes: Vec<Inode>,
    names: BTreeMap<Path, usize>,
    durable_names: BTreeMap<Path, usize>,
    /// Changes of names that are not durable, in order.
    changes: Vec<Change>,
    queue: VecDeque<(DiskToken, DiskOp)>,
    /// Errors for the next operations that match.
    pub(super) fail: Option<fn(&DiskOp) -> bool>,
    pub(super) bytes_read: u64,
    pub(super) done: Vec<DiskOp>,
}

/// What an operation touches, for ordering.
fn touches(op: &DiskOp) -> Vec<Path> {
    match op {
        DiskOp::Append { file, .. } | DiskOp::Write { file, .. } | DiskOp::Fsync { file } => vec![file.clone()],
        DiskOp::Truncate { file, .. } => vec![file.clone()],
        DiskOp::Read { ranges } => ranges.iter().map(|r| r.file.clone()).collect(),
        DiskOp::FsyncDir { dir } | DiskOp::List { dir } => vec![dir.clone()],
        DiskOp::Rename { from, to } => vec![from.clone(), to.clone()],
        DiskOp::Delete { path } => vec![path.clone()],
    }
}

impl FakeDisk {
    pub(super) fn submit(&mut self, token: DiskToken, op: DiskOp) {
        self.queue.push_back((token, op));
    }
    pub(super) fn pending(&self) -> impl Iterator<Item = &DiskOp> {
        self.queue.iter().map(|(_, op)| op)
    }
    pub(super) fn first(&mut self) -> Option<(DiskToken, DiskResult)> {
        let (token, op) = self.queue.pop_front()?;
        Some((token, self.run(op)))
    }
    /// Completes one that may come next, any of them.
    pub(super) fn any(&mut self, rng: &mut ChaCha8Rng) -> Option<(DiskToken, DiskResult)> {
        let mut seen = BTreeSet::new();
        let mut free = Vec::new();
        for (i, (_, op)) in self.queue.iter().enumerate() {
            let paths = touches(op);
            if paths.iter().all(|p| !seen.contains(p)) {
                free.push(i);
            }
            seen.extend(paths);
        }
        let pick = *free.get(rng.random_range(0..free.len().max(1)))?;
        let (token, op) = self.queue.remove(pick).unwrap();
        Some((token, self.run(op)))
    }
    pub(super) fn matching(&mut self, which: impl Fn(&DiskOp) -> bool) -> Option<(DiskToken, DiskResult)> {
        let at = self.queue.iter().position(|(_, op)| which(op))?;
        let (token, op) = self.queue.remove(at).unwrap();
        Some((token, self.run(op)))
    }

    fn inode(&mut self, file: &Path) -> &mut Inode {
        let id = match self.names.get(file) {
            Some(id) => *id,
            None => {
                self.inodes.push(Inode::default());
                let id = self.inodes.len() - 1;
                self.change(Change::Create(file.clone(), id));
                id
            }
        };
        &mut self.inodes[id]
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn run(&mut self, op: DiskOp) -> DiskResult {
        if let Some(fails) = self.fail
            && fails(&op)
        {
            return Err(DiskError::Io);
        }
        self.done.push(op.clone());
        match op {
            DiskOp::Append { file, data } => self.inode(&file).data.extend_from_slice(&data),
            DiskOp::Write { file, data } => self.inode(&file).data = data.to_vec(),
            DiskOp::Read { ranges } => {
                let mut buffers = Few::new();
                for r in ranges {
                    let Some(&id) = self.names.get(&r.file) else { return Err(DiskError::NotFound) };
                    let data = &self.inodes[id].data;
                    let from = (r.pos as usize).min(data.len());
                    let to = r.pos.saturating_add(r.len).min(data.len() as u64) as usize;
                    self.bytes_read += (to - from) as u64;
                    buffers.push(Bytes::copy_from_slice(&data[from..to.max(from)]));
                }
                return Ok(DiskReply::Data(buffers));
            }
            DiskOp::Fsync { file } => {
                let Some(&id) = self.names.get(&file) else { return Err(DiskError::NotFound) };
                self.inodes[id].synced = self.inodes[id].data.clone();
            }
            DiskOp::FsyncDir { dir } => {
                self.changes.retain(|c| c.dir() != dir);
                self.durable_names.retain(|p, _| p.parent() != dir);
                let here = self.names.iter().filter(|(p, _)| p.parent() == dir);
                self.durable_names.extend(here.map(|(p, &i)| (p.clone(), i)));
            }
            DiskOp::Truncate { file, len } => self.inode(&file).data.truncate(len as usize),
            DiskOp::Rename { from, to } => {
                if !self.names.contains_key(&from) {
                    return Err(DiskError::NotFound);
                }
                self.change(Change::Rename(from, to));
            }
            DiskOp::Delete { path } => self.change(Change::Delete(path)),
            DiskOp::List { .. } => return Ok(DiskReply::Listing(self.files())),
        }
        Ok(DiskReply::Done)
    }

    pub(super) fn files(&self) -> Vec<FileEntry> {
        let entry = |(p, &i): (&Path, &usize)| FileEntry { path: p.clone(), len: self.inodes[i].data.len() as u64 };
        self.names.iter().map(entry).collect()
    }
    pub(super) fn content(&mut self, path: &str) -> Option<&mut Vec<u8>> {
        let id = *self.names.get(&Path::new(path))?;
        Some(&mut self.inodes[id].data)
    }
    pub(super) fn paths(&self) -> Vec<String> {
        self.names.keys().map(ToString::to_string).collect()
    }
    pub(super) fn put(&mut self, path: &str, data: Vec<u8>) {
        self.inode(&Path::new(path)).data = data;
    }

    /// The process dies: what is queued happens, in part or not at all, file by file in order.
    pub(super) fn kill(&mut self, rng: &mut ChaCha8Rng) {
        let mut stopped = BTreeSet::new();
        for (_, op) in std::mem::take(&mut self.queue) {
            let paths = touches(&op);
            if paths.iter().any(|p| stopped.contains(p)) {
                stopped.extend(paths);
                continue;
            }
            match rng.random_range(0..4) {
                0 => stopped.extend(paths),
                1 => {
                    stopped.extend(paths);
                    if let DiskOp::Append { file, data } = op {
                        let part = rng.random_range(0..=data.len());
                        let _ = self.run(DiskOp::Append { file, data: data.slice(..part) });
                    }
                }
                _ => _ = self.run(op),
            }
        }
    }

    /// The machine dies.
    pub(super) fn power_loss(&mut self, rng: &mut ChaCha8Rng) {
        self.kill(rng);
        // Any of the changes survive; each does as a whole.
        let mut names = self.durable_names.clone();
        for change in std::mem::take(&mut self.changes) {
            if rng.random() {
                change.apply(&mut names);
            }
        }
        for inode in &mut self.inodes {
            let (short, long) = (inode.synced.len().min(inode.data.len()), inode.synced.len().max(inode.data.len()));
            let mut after = vec![0; rng.random_range(short..=long)];
            if inode.data.starts_with(&inode.synced) || rng.random() {
                // Appended since: the synced part stays.
                let stays = inode.synced.len().min(after.len());
                after[..stays].copy_from_slice(&inode.synced[..stays]);
            }
            for (page, bytes) in after.chunks_mut(PAGE).enumerate() {
                let source = if rng.random() { &inode.data } else { &inode.synced };
                let had = if source.len() > page * PAGE { &source[page * PAGE..] } else { &[] };
                let n = had.len().min(bytes.len());
                bytes[..n].copy_from_slice(&had[..n]);
            }
            inode.data = after;
            inode.synced = inode.data.clone();
        }
        self.durable_names = names.clone();
        self.names = names;
    }
}
