//! What each operation does to files and names, and what its completion makes true.

use super::device::Cost;
use super::draw::For;
use super::file::{File, Mark};
use super::names::{Before, ChangeId, FileId};
use super::{Disk, DiskFault};
use crate::event::LostData;
use crate::faults::DiskErrorOn;
use bytes::Bytes;
use klamm_model::disk::{DiskError, DiskOp, DiskReply, DiskResult, Path, ReadRange};
use klamm_model::small_map::Few;
use klamm_model::units::Instant;

/// What an operation did, so that a kill can take it back and its completion can count it.
#[derive(Debug)]
pub(super) enum Effect {
    /// Nothing that lasts.
    None,
    /// Bytes were added, maybe to a new file, maybe after a cut to nothing.
    Data {
        file: FileId,
        created: Option<(ChangeId, Before)>,
        /// The file was cut (to nothing) first.
        cut: bool,
        /// Where the bytes begin.
        at: u64,
        len: u64,
        after: Mark,
    },
    /// A file was cut.
    Cut { file: FileId, after: Mark },
    /// Names changed.
    Names { change: ChangeId, before: Before },
    /// A state of a file is to be made durable, or its dirty pages are to be dropped.
    Fsync { file: FileId, covers: Mark, drop: bool },
    /// Changes of names are to be made durable.
    FsyncDir { covers: Vec<ChangeId> },
}

/// Behind whom an operation completes.
#[derive(Debug)]
pub(super) enum Order {
    /// Nobody.
    Free,
    /// Earlier operations on a file.
    File(FileId),
    /// Earlier operations on names, and on these files.
    Names(Vec<FileId>),
}

/// An operation's effect is in place; how it will end is settled.
pub(super) struct Performed {
    pub effect: Effect,
    pub result: DiskResult,
    pub order: Order,
    /// `None`: the page cache serves it in the same instant.
    pub cost: Option<Cost>,
}

impl Performed {
    fn new(effect: Effect, result: DiskResult, order: Order, cost: Cost) -> Performed {
        Performed { effect, result, order, cost: Some(cost) }
    }
    fn failed(error: DiskError) -> Performed {
        Performed::new(Effect::None, Err(error), Order::Free, Cost::Names)
    }
}

impl Disk {
    pub(super) fn perform(&mut self, now: Instant, op: &DiskOp) -> Performed {
        match op {
            DiskOp::Append { file, data } => self.put(now, file, data, false),
            DiskOp::Write { file, data } => self.put(now, file, data, true),
            DiskOp::Read { ranges } => self.read(ranges),
            DiskOp::Fsync { file } => self.fsync(file),
            DiskOp::FsyncDir { dir } => self.fsync_dir(dir),
            DiskOp::Truncate { file, len } => self.truncate(now, file, *len),
            DiskOp::Rename { from, to } => self.rename(now, from, to),
            DiskOp::Delete { path } => self.delete(now, path),
            DiskOp::List { dir } => {
                let listing = self.names.list(dir, |id| self.file(id).map_or(0, |f| f.live().len()));
                let result = Ok(DiskReply::Listing(listing));
                Performed::new(Effect::None, result, Order::Names(Vec::new()), Cost::Names)
            }
        }
    }

    fn put(&mut self, now: Instant, path: &Path, data: &Bytes, replace: bool) -> Performed {
        let error = if self.device.fails(DiskErrorOn::Write) {
            Some(DiskError::Io)
        } else {
            self.device.has(DiskFault::Full).then_some(DiskError::NoSpace)
        };
        match error {
            Some(DiskError::NoSpace) => self.device.meet(DiskFault::Full),
            Some(_) => self.device.meet(DiskFault::Error(DiskErrorOn::Write)),
            None => {}
        }
        let data = match error {
            None => data.clone(),
            // Half of the failing writes did nothing, the others got some way.
            Some(_) => data.slice(
                ..self
                    .draws
                    .below(For::ShortWrite, self.submitted, 0, 2 * data.len() as u64 + 1)
                    .saturating_sub(data.len() as u64) as usize,
            ),
        };
        let (id, created) = match self.names.look_up(path) {
            Some(id) => (id, None),
            None => {
                let id = FileId(self.files.len() as u32);
                self.files.push(Some(File::new(self.names_busy)));
                let created = self.names.create(path, id);
                self.plan_journal(now);
                (id, Some(created))
            }
        };
        let file = self.files[id.0 as usize].as_mut().expect("a named file exists");
        let cut = replace && created.is_none();
        if cut {
            file.cut(0);
        }
        let len = data.len() as u64;
        let at = file.append(data);
        let after = file.mark();
        if !file.write_back_due {
            self.plan_write_back(now, id);
        }
        let effect = Effect::Data { file: id, created, cut, at, len, after };
        Performed::new(effect, error.map_or(Ok(DiskReply::Done), Err), Order::File(id), Cost::Cache(len))
    }

    fn read(&mut self, ranges: &[ReadRange]) -> Performed {
        let mut buffers = Few::with_capacity(ranges.len());
        let (mut bytes, mut miss) = (0, false);
        for range in ranges {
            let id = self.names.look_up(&range.file);
            let Some(file) = id.and_then(|id| self.files[id.0 as usize].as_mut()) else {
                return Performed::failed(DiskError::NotFound);
            };
            let buffer = file.live().read(range.pos, range.len);
            bytes += buffer.len() as u64;
            miss |= file.miss(range.pos, range.len);
            buffers.push(buffer);
        }
        let fails = self.device.fails(DiskErrorOn::Read);
        if fails {
            self.device.meet(DiskFault::Error(DiskErrorOn::Read));
        }
        let result = if fails { Err(DiskError::Io) } else { Ok(DiskReply::Data(buffers)) };
        let cost = (miss || fails).then_some(Cost::Read(bytes));
        Performed { effect: Effect::None, result, order: Order::Free, cost }
    }

    fn fsync(&mut self, path: &Path) -> Performed {
        let Some(id) = self.names.look_up(path) else { return Performed::failed(DiskError::NotFound) };
        let covers = self.file(id).map_or(Mark::default(), File::completed);
        let cost = Cost::Fsync(self.file(id).map_or(0, |f| f.dirty_bytes(covers)));
        let fails = self.device.fails(DiskErrorOn::Fsync);
        if fails {
            self.device.meet(DiskFault::Error(DiskErrorOn::Fsync));
        }
        let effect = if self.device.has(DiskFault::LyingFsync) && !fails {
            if self.file(id).is_some_and(|f| f.lacks(covers)) {
                self.device.meet(DiskFault::LyingFsync);
            }
            Effect::None
        } else {
            Effect::Fsync { file: id, covers, drop: fails }
        };
        let result = if fails { Err(DiskError::Io) } else { Ok(DiskReply::Done) };
        Performed::new(effect, result, Order::File(id), cost)
    }

    fn fsync_dir(&mut self, dir: &Path) -> Performed {
        let fails = self.device.fails(DiskErrorOn::Fsync);
        let lies = fails || self.device.has(DiskFault::LyingFsync);
        let mut covers = self.names.completed(Some(dir));
        if fails {
            self.device.meet(DiskFault::Error(DiskErrorOn::Fsync));
        } else if lies && !covers.is_empty() {
            self.device.meet(DiskFault::LyingFsync);
        }
        if lies {
            covers.clear();
        }
        let result = if fails { Err(DiskError::Io) } else { Ok(DiskReply::Done) };
        Performed::new(Effect::FsyncDir { covers }, result, Order::Names(Vec::new()), Cost::Fsync(0))
    }

    fn truncate(&mut self, now: Instant, path: &Path, len: u64) -> Performed {
        let Some(id) = self.names.look_up(path) else { return Performed::failed(DiskError::NotFound) };
        let Some(file) = self.files[id.0 as usize].as_mut() else { return Performed::failed(DiskError::NotFound) };
        let mut effect = Effect::None;
        if len < file.live().len() {
            file.cut(len);
            effect = Effect::Cut { file: id, after: file.mark() };
            self.plan_write_back(now, id);
        }
        Performed::new(effect, Ok(DiskReply::Done), Order::File(id), Cost::Names)
    }

    fn rename(&mut self, now: Instant, from: &Path, to: &Path) -> Performed {
        let ids = self.names.below(from).into_iter().chain(self.names.below(to)).map(|(_, id)| id).collect();
        let Some((change, before)) = self.names.rename(from, to) else {
            return Performed::failed(DiskError::NotFound);
        };
        self.renamed(now, change, before, ids)
    }

    fn delete(&mut self, now: Instant, path: &Path) -> Performed {
        let ids = self.names.below(path).into_iter().map(|(_, id)| id).collect();
        match self.names.delete(path) {
            Some((change, before)) => self.renamed(now, change, before, ids),
            None => Performed::new(Effect::None, Ok(DiskReply::Done), Order::Names(Vec::new()), Cost::Names),
        }
    }

    fn renamed(&mut self, now: Instant, change: ChangeId, before: Before, ids: Vec<FileId>) -> Performed {
        self.orphans = self.orphans.saturating_add(1);
        self.plan_journal(now);
        Performed::new(Effect::Names { change, before }, Ok(DiskReply::Done), Order::Names(ids), Cost::Names)
    }

    /// An operation is over: what it did counts for the fsyncs that follow, and fsyncs take effect.
    pub(super) fn complete(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Data { file, created, after, .. } => {
                if let Some(file) = self.files[file.0 as usize].as_mut() {
                    file.complete(after);
                }
                if let Some((change, _)) = created {
                    self.names.complete(change);
                }
            }
            Effect::Cut { file, after } => {
                if let Some(file) = self.files[file.0 as usize].as_mut() {
                    file.complete(after);
                }
            }
            Effect::Names { change, .. } => self.names.complete(change),
            Effect::Fsync { file: id, covers, drop } => {
                let Some(file) = self.files[id.0 as usize].as_mut() else { return };
                if !drop {
                    file.sync_to(covers);
                } else if let Some((from, to)) = file.drop_dirty(covers)
                    && let Some((path, _)) = self.names.all().find(|(_, other)| *other == id)
                {
                    self.damage.push(LostData { file: path.clone(), from, to });
                }
            }
            Effect::FsyncDir { covers } => self.commit(&covers),
        }
    }
}
