//! A disk that is a directory of real files.
//!
//! What only touches the page cache (append, write, read, truncate) is done at once, on the node's own thread, as Kafka does
//! on its request threads. What waits for the device or walks directories (fsync, rename, delete, list) goes to a few blocking
//! threads. Operations on one file never pass one another: one that would waits for the earlier to be over. So does one for
//! which there is no file descriptor at the moment.

use super::handles::{Patience, is_out_of_files};
use crate::disk::names::{below, related};
use crate::shell::disk::{Completion, Disk};
use bytes::Bytes;
use klamm_model::disk::{DiskError, DiskOp, DiskReply, DiskResult, DiskToken, FileEntry, Path, ReadRange};
use klamm_model::units::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// An operation that could not be done at once.
#[derive(Debug)]
struct Job {
    token: DiskToken,
    op: DiskOp,
    started: bool,
}

/// The disk of one incarnation.
#[derive(Debug)]
pub struct FilesDisk {
    root: PathBuf,
    /// Files kept open at most.
    files: usize,
    /// Operations that wait for a descriptor.
    patience: Arc<Patience>,
    open: BTreeMap<Path, Arc<File>>,
    /// The open files, the one opened longest ago first.
    opened: VecDeque<Path>,
    jobs: VecDeque<Job>,
    done: Vec<Completion>,
    finished: UnboundedReceiver<Completion>,
    finish: UnboundedSender<Completion>,
}

/// What an operation touches.
fn touched(op: &DiskOp) -> Vec<&Path> {
    match op {
        DiskOp::Append { file, .. }
        | DiskOp::Write { file, .. }
        | DiskOp::Fsync { file }
        | DiskOp::Truncate { file, .. } => vec![file],
        DiskOp::Read { ranges } => ranges.iter().map(|r| &r.file).collect(),
        DiskOp::Rename { from, to } => vec![from, to],
        DiskOp::Delete { path } => vec![path],
        DiskOp::List { dir } => vec![dir],
        // It covers what is over; nothing need wait for it.
        DiskOp::FsyncDir { .. } => Vec::new(),
    }
}

/// Whether one operation must wait for the other.
fn collide(a: &DiskOp, b: &DiskOp) -> bool {
    let b = touched(b);
    touched(a).iter().any(|a| b.iter().any(|b| related(a, b)))
}

fn is_quick(op: &DiskOp) -> bool {
    matches!(op, DiskOp::Append { .. } | DiskOp::Write { .. } | DiskOp::Read { .. } | DiskOp::Truncate { .. })
}

fn refused(error: &io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::NotFound => DiskError::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::NoSpace,
        _ => {
            tracing::error!("disk: {error}");
            DiskError::Io
        }
    }
}

impl FilesDisk {
    /// Over a directory, which is created if it is missing. So many files are kept open at most.
    pub fn new(root: PathBuf, files: usize) -> io::Result<FilesDisk> {
        fs::create_dir_all(&root)?;
        let (finish, finished) = unbounded_channel();
        Ok(FilesDisk {
            root,
            files,
            patience: Arc::default(),
            open: BTreeMap::new(),
            opened: VecDeque::new(),
            jobs: VecDeque::new(),
            done: Vec::new(),
            finished,
            finish,
        })
    }

    /// An open file; `create` makes it, and its directory, where it is missing.
    fn file(&mut self, path: &Path, create: bool) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.get(path) {
            return Ok(file.clone());
        }
        while self.opened.len() >= self.files
            && let Some(oldest) = self.opened.pop_front()
        {
            self.open.remove(&oldest);
        }
        let file = match open_file(&self.root, path, create) {
            Err(error) if is_out_of_files(&error) && !self.opened.is_empty() => {
                self.opened.clear();
                self.open.clear();
                open_file(&self.root, path, create)?
            }
            file => file?,
        };
        self.opened.push_back(path.clone());
        self.open.insert(path.clone(), file.clone());
        Ok(file)
    }

    /// Names are about to change: what is open under them is not looked for there again.
    fn close(&mut self, tree: &Path) {
        self.open.retain(|path, _| !below(path, tree));
        self.opened.retain(|path| !below(path, tree));
    }

    /// What is done at once; `None` if there is no descriptor for it now.
    fn quick(&mut self, op: &DiskOp) -> Option<DiskResult> {
        match perform(op, |path, create| self.file(path, create)) {
            Err(error) if is_out_of_files(&error) => {
                self.patience.say(&error);
                None
            }
            result => Some(result.map_err(|e| refused(&e))),
        }
    }

    fn start(&mut self, token: DiskToken, op: &DiskOp) {
        match op {
            DiskOp::Rename { from, to } => [from, to].into_iter().for_each(|path| self.close(path)),
            DiskOp::Delete { path } => self.close(path),
            _ => {}
        }
        let file = match op {
            DiskOp::Fsync { file } => self.file(file, false).ok(),
            _ => None,
        };
        let (root, op, finish, patience) = (self.root.clone(), op.clone(), self.finish.clone(), self.patience.clone());
        tokio::task::spawn_blocking(move || {
            let work = || match file {
                Some(file) => file.sync_data().map(|()| DiskReply::Done),
                None => patience.with(|| slow(&root, &op)),
            };
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
                Err(io::Error::other(format!("a defect of klamm's: {}", crate::panic_text(panic.as_ref()))))
            });
            let _ = finish.send((token, result.map_err(|e| refused(&e))));
        });
    }

    /// An operation on a blocking thread is over: what waited for it goes on.
    fn finish(&mut self, completion: Completion) {
        self.jobs.retain(|job| job.token != completion.0);
        self.done.push(completion);
        let mut at = 0;
        while at < self.jobs.len() {
            let job = &self.jobs[at];
            if job.started || self.jobs.iter().take(at).any(|earlier| collide(&earlier.op, &job.op)) {
                at += 1;
                continue;
            }
            let (token, op) = (job.token, job.op.clone());
            if is_quick(&op)
                && let Some(result) = self.quick(&op)
            {
                self.jobs.remove(at);
                self.done.push((token, result));
                // It may have been what an operation behind it waited for; those in front are as they were.
            } else {
                self.jobs[at].started = true;
                self.start(token, &op);
                at += 1;
            }
        }
    }
}

/// Where a path leads; never out of the directory.
fn place(root: &std::path::Path, path: &Path) -> io::Result<PathBuf> {
    let tame = path.as_str().split('/').all(|part| part != ".." && part != ".");
    if !tame || path.as_str().starts_with('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{path}` leads out of the data directory")));
    }
    Ok(root.join(path.as_str()))
}

fn open_file(root: &std::path::Path, path: &Path, create: bool) -> io::Result<Arc<File>> {
    let place = place(root, path)?;
    let open = || OpenOptions::new().read(true).append(true).create(create).open(&place);
    let file = match open() {
        Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
            place.parent().map_or(Ok(()), fs::create_dir_all)?;
            open()?
        }
        file => file?,
    };
    Ok(Arc::new(file))
}

/// What only touches the page cache, on files that `file` opens.
fn perform(op: &DiskOp, mut file: impl FnMut(&Path, bool) -> io::Result<Arc<File>>) -> io::Result<DiskReply> {
    match op {
        DiskOp::Append { file: path, data } => (&*file(path, true)?).write_all(data)?,
        DiskOp::Write { file: path, data } => {
            let file = file(path, true)?;
            file.set_len(0)?;
            (&*file).write_all(data)?;
        }
        DiskOp::Truncate { file: path, len } => {
            let file = file(path, false)?;
            if *len < file.metadata()?.len() {
                file.set_len(*len)?;
            }
        }
        DiskOp::Read { ranges } => {
            let mut read = |range: &ReadRange| read(&*file(&range.file, false)?, range);
            return Ok(DiskReply::Data(ranges.iter().map(&mut read).collect::<io::Result<_>>()?));
        }
        _ => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(DiskReply::Done)
}

fn read(file: &File, range: &ReadRange) -> io::Result<Bytes> {
    // Never more room than there are bytes: a range may be as long as an index entry claims.
    let there = file.metadata()?.len().saturating_sub(range.pos).min(range.len);
    let mut buffer = vec![0; usize::try_from(there).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], range.pos + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

/// What waits for the device, or for a descriptor.
fn slow(root: &std::path::Path, op: &DiskOp) -> io::Result<DiskReply> {
    match op {
        DiskOp::FsyncDir { dir } => File::open(place(root, dir)?)?.sync_all()?,
        DiskOp::Rename { from, to } => {
            let (from, to) = (place(root, from)?, place(root, to)?);
            if to.is_dir() {
                fs::remove_dir_all(&to)?;
            }
            fs::rename(from, to)?;
        }
        DiskOp::Delete { path } => {
            let place = place(root, path)?;
            let removed = if place.is_dir() { fs::remove_dir_all(&place) } else { fs::remove_file(&place) };
            match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        DiskOp::List { dir } => {
            let mut files = Vec::new();
            list(root, &place(root, dir)?, &mut files)?;
            files.sort_by(|a: &FileEntry, b| a.path.cmp(&b.path));
            return Ok(DiskReply::Listing(files));
        }
        DiskOp::Fsync { file } => open_file(root, file, false)?.sync_data()?,
        quick => return perform(quick, |path, create| open_file(root, path, create)),
    }
    Ok(DiskReply::Done)
}

fn list(root: &std::path::Path, dir: &std::path::Path, into: &mut Vec<FileEntry>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            list(root, &path, into)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(|p| p.to_str())
            // Of its process, and no business of the node's.
            && name != super::claim::LOCK
        {
            into.push(FileEntry { path: Path::new(name), len: entry.metadata()?.len() });
        }
    }
    Ok(())
}

impl Drop for FilesDisk {
    fn drop(&mut self) {
        self.patience.end();
    }
}

impl Disk for FilesDisk {
    fn submit(&mut self, _now: Instant, token: DiskToken, op: DiskOp) {
        let waits = self.jobs.iter().any(|job| collide(&job.op, &op));
        if waits {
            self.jobs.push_back(Job { token, op, started: false });
        } else if is_quick(&op)
            && let Some(result) = self.quick(&op)
        {
            self.done.push((token, result));
        } else {
            self.start(token, &op);
            self.jobs.push_back(Job { token, op, started: true });
        }
    }

    fn done(&mut self, _now: Instant, into: &mut Vec<Completion>) {
        while let Ok(completion) = self.finished.try_recv() {
            self.finish(completion);
        }
        into.append(&mut self.done);
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    async fn woken(&mut self) {
        // The sender is here as well, so it never ends.
        if let Some(completion) = self.finished.recv().await {
            self.finish(completion);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::disk::DiskOp as Op;
    use smallvec::smallvec;

    fn token(seq: u64) -> DiskToken {
        DiskToken { owner: 0, seq }
    }

    async fn all(disk: &mut FilesDisk, count: usize) -> Vec<Completion> {
        let mut done = Vec::new();
        loop {
            disk.done(Instant::ZERO, &mut done);
            if done.len() >= count {
                return done;
            }
            disk.woken().await;
        }
    }

    fn disk() -> (tempfile::TempDir, FilesDisk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = FilesDisk::new(dir.path().join("b1"), 4).unwrap();
        (dir, disk)
    }

    fn submit(disk: &mut FilesDisk, ops: Vec<Op>) -> usize {
        let count = ops.len();
        for (n, op) in ops.into_iter().enumerate() {
            disk.submit(Instant::ZERO, token(n as u64), op);
        }
        count
    }

    #[tokio::test]
    async fn operations_on_one_file_complete_in_order_and_reads_see_every_append() {
        let (_dir, mut disk) = disk();
        let file = Path::new("orders-0/0.log");
        let append = |text: &'static str| Op::Append { file: file.clone(), data: Bytes::from_static(text.as_bytes()) };
        let read = || Op::Read { ranges: smallvec![ReadRange { file: file.clone(), pos: 1, len: 100 }] };
        let ops = vec![append("one"), Op::Fsync { file: file.clone() }, append("two"), read(), append("three"), read()];
        let count = submit(&mut disk, ops);
        let done = all(&mut disk, count).await;
        assert_eq!(done.iter().map(|(t, _)| t.seq).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(done[3].1, Ok(DiskReply::Data(smallvec![Bytes::from_static(b"netwo")])));
        assert_eq!(done[5].1, Ok(DiskReply::Data(smallvec![Bytes::from_static(b"netwothree")])));
    }

    #[tokio::test]
    async fn a_renamed_file_is_found_under_its_new_name_only_and_deleting_what_is_missing_is_no_error() {
        let (_dir, mut disk) = disk();
        let (old, new) = (Path::new("a/x.tmp"), Path::new("a/x"));
        let read = |file: &Path| Op::Read { ranges: smallvec![ReadRange { file: file.clone(), pos: 0, len: 9 }] };
        let ops = vec![
            Op::Write { file: new.clone(), data: Bytes::from_static(b"before") },
            Op::Write { file: old.clone(), data: Bytes::from_static(b"after") },
            Op::Rename { from: old.clone(), to: new.clone() },
            read(&new),
            read(&old),
            Op::Delete { path: Path::new("nowhere") },
            Op::List { dir: Path::new("") },
            Op::Truncate { file: new.clone(), len: 2 },
            read(&new),
        ];
        let count = submit(&mut disk, ops);
        let mut done = all(&mut disk, count).await;
        done.sort_by_key(|(t, _)| t.seq);
        let data = |text: &'static [u8]| Ok(DiskReply::Data(smallvec![Bytes::from_static(text)]));
        assert_eq!(done[3].1, data(b"after"));
        assert_eq!(done[4].1, Err(DiskError::NotFound));
        assert_eq!(done[5].1, Ok(DiskReply::Done));
        assert_eq!(done[6].1, Ok(DiskReply::Listing(vec![FileEntry { path: new.clone(), len: 5 }])));
        assert_eq!(done[8].1, data(b"af"));
    }

    #[tokio::test]
    async fn no_path_leads_out_of_the_directory() {
        let (_dir, mut disk) = disk();
        let ops = ["../x", "a/../../x", "/etc/x"].map(|p| Op::Write { file: Path::new(p), data: Bytes::new() });
        let count = submit(&mut disk, ops.to_vec());
        assert!(all(&mut disk, count).await.iter().all(|(_, result)| *result == Err(DiskError::Io)));
    }
}
