//! Which file bears which name, as reads see it and as the device has it.
//!
//! Creations, renames and deletions take effect at once and become durable by an fsync of their directory or by
//! the journal's own commits. Until then a power loss may undo them: of each directory's changes the first few
//! survive. A change never survives without the earlier ones it builds on (names at, above or below its own).

use klamm_model::disk::{FileEntry, Path};
use std::collections::{BTreeMap, BTreeSet};

/// A file, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FileId(pub u32);

/// Names one change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ChangeId(u64);

#[derive(Clone, Debug)]
enum Change {
    Create(Path, FileId),
    Rename(Path, Path),
    Delete(Path),
}

#[derive(Clone, Debug)]
struct Pending {
    id: ChangeId,
    change: Change,
    /// The directory whose fsync makes it durable.
    dir: Path,
    completed: bool,
}

/// What names stood for before a change, in the order to be restored.
pub(super) type Before = Vec<(Path, Option<FileId>)>;

/// How many look-ups are remembered.
const RECENT: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<Path, FileId>,
    /// What was looked up last; emptied by every change.
    recent: Vec<(Path, FileId)>,
    durable: BTreeMap<Path, FileId>,
    pending: Vec<Pending>,
    changes: u64,
}

/// Whether two paths are the same, or one lies below the other.
pub(crate) fn related(a: &Path, b: &Path) -> bool {
    let (short, long) = if a.as_str().len() <= b.as_str().len() { (a, b) } else { (b, a) };
    below(long, short)
}

/// Whether `path` is `dir` or lies below it.
pub(crate) fn below(path: &Path, dir: &Path) -> bool {
    let (path, dir) = (path.as_str(), dir.as_str());
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The names at or below a path.
fn range(map: &BTreeMap<Path, FileId>, dir: &Path) -> Vec<Path> {
    // `a-b` sorts between `a` and `a/c`, so the range runs over some strangers.
    map.range(dir.clone()..)
        .map(|(path, _)| path)
        .take_while(|path| path.as_str().starts_with(dir.as_str()))
        .filter(|path| below(path, dir))
        .cloned()
        .collect()
}

fn moved(path: &Path, from: &Path, to: &Path) -> Path {
    match &path.as_str()[from.as_str().len()..] {
        "" => to.clone(),
        rest => to.join(&rest[1..]),
    }
}

fn apply(map: &mut BTreeMap<Path, FileId>, change: &Change) {
    match change {
        Change::Create(path, file) => {
            map.insert(path.clone(), *file);
        }
        Change::Delete(path) => {
            for path in range(map, path) {
                map.remove(&path);
            }
        }
        Change::Rename(from, to) => {
            let sources = range(map, from);
            if sources.is_empty() {
                return;
            }
            let files: Vec<_> = sources.iter().filter_map(|p| map.remove(p).map(|f| (moved(p, from, to), f))).collect();
            for path in range(map, to) {
                map.remove(&path);
            }
            map.extend(files);
        }
    }
}

impl Change {
    fn touches(&self, path: &Path) -> bool {
        match self {
            Change::Create(own, _) | Change::Delete(own) => related(own, path),
            Change::Rename(from, to) => related(from, path) || related(to, path),
        }
    }
    fn conflicts(&self, later: &Change) -> bool {
        match later {
            Change::Create(path, _) | Change::Delete(path) => self.touches(path),
            Change::Rename(from, to) => self.touches(from) || self.touches(to),
        }
    }
}

impl Names {
    /// The file of a name.
    pub fn get(&self, path: &Path) -> Option<FileId> {
        self.live.get(path).copied()
    }
    /// The same, remembering it: most operations are on one of a few files.
    pub fn look_up(&mut self, path: &Path) -> Option<FileId> {
        if let Some((_, file)) = self.recent.iter().find(|(recent, _)| recent == path) {
            return Some(*file);
        }
        let file = self.get(path)?;
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push((path.clone(), file));
        Some(file)
    }
    /// How many names there are.
    pub fn len(&self) -> usize {
        self.live.len()
    }
    /// All names, sorted.
    pub fn all(&self) -> impl Iterator<Item = (&Path, FileId)> {
        self.live.iter().map(|(path, file)| (path, *file))
    }
    /// The names the device has.
    pub fn durable(&self) -> impl Iterator<Item = (&Path, FileId)> {
        self.durable.iter().map(|(path, file)| (path, *file))
    }
    /// The files at or below a path.
    pub fn below(&self, dir: &Path) -> Vec<(Path, FileId)> {
        range(&self.live, dir).into_iter().filter_map(|p| self.get(&p).map(|f| (p, f))).collect()
    }
    /// The files below a directory, with a length for each.
    pub fn list(&self, dir: &Path, len: impl Fn(FileId) -> u64) -> Vec<FileEntry> {
        self.below(dir).into_iter().map(|(path, file)| FileEntry { path, len: len(file) }).collect()
    }
    /// A new file appears.
    pub fn create(&mut self, path: &Path, file: FileId) -> (ChangeId, Before) {
        self.change(Change::Create(path.clone(), file), path.parent(), &[path])
    }
    /// A file or directory is renamed; `None` if there is none.
    pub fn rename(&mut self, from: &Path, to: &Path) -> Option<(ChangeId, Before)> {
        if range(&self.live, from).is_empty() {
            return None;
        }
        Some(self.change(Change::Rename(from.clone(), to.clone()), to.parent(), &[from, to]))
    }
    /// A file or directory is deleted; `None` if there is none.
    pub fn delete(&mut self, path: &Path) -> Option<(ChangeId, Before)> {
        if range(&self.live, path).is_empty() {
            return None;
        }
        Some(self.change(Change::Delete(path.clone()), path.parent(), &[path]))
    }

    fn change(&mut self, change: Change, dir: Path, at: &[&Path]) -> (ChangeId, Before) {
        self.changes += 1;
        let id = ChangeId(self.changes);
        let mut before: Before = Vec::new();
        for at in at {
            before.extend(range(&self.live, at).into_iter().map(|path| (path.clone(), self.get(&path))));
        }
        match &change {
            Change::Create(path, _) => before.push((path.clone(), None)),
            Change::Rename(from, to) => {
                let new = range(&self.live, from).into_iter().map(|path| (moved(&path, from, to), None));
                before.splice(0..0, new);
            }
            Change::Delete(_) => {}
        }
        self.recent.clear();
        apply(&mut self.live, &change);
        self.pending.push(Pending { id, change, dir, completed: false });
        (id, before)
    }
    /// Takes a change back that was in flight. Later related ones must have been taken back before.
    pub fn undo(&mut self, id: ChangeId, before: &Before) {
        self.pending.retain(|p| p.id != id);
        self.recent.clear();
        for (path, file) in before {
            match file {
                Some(file) => self.live.insert(path.clone(), *file),
                None => self.live.remove(path),
            };
        }
    }
    /// A change completed: from here on an fsync of its directory covers it.
    pub fn complete(&mut self, id: ChangeId) {
        if let Some(p) = self.pending.iter_mut().rev().find(|p| p.id == id) {
            p.completed = true;
        }
    }
    /// The completed changes of a directory, or of all.
    pub fn completed(&self, dir: Option<&Path>) -> Vec<ChangeId> {
        self.pending.iter().filter(|p| p.completed && dir.is_none_or(|d| p.dir == *d)).map(|p| p.id).collect()
    }
    /// Whether anything is not durable.
    pub fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }
    /// The device has these changes (and what they build on).
    pub fn commit(&mut self, ids: &[ChangeId]) {
        let mut chosen: Vec<bool> = self.pending.iter().map(|p| ids.contains(&p.id)).collect();
        for later in (0..chosen.len()).rev() {
            if chosen[later] {
                let wanted = &self.pending[later].change;
                for (earlier, p) in chosen[..later].iter_mut().zip(&self.pending) {
                    *earlier |= p.change.conflicts(wanted);
                }
            }
        }
        let mut chosen = chosen.into_iter();
        let durable = &mut self.durable;
        self.pending.retain(|p| {
            let commit = chosen.next().unwrap_or(false);
            if commit {
                apply(durable, &p.change);
            }
            !commit
        });
    }
    /// The power goes: `survive(n-th directory, changes)` says how many of a directory's changes are kept. Returns
    /// the names reads saw.
    pub fn lose_power(&mut self, mut survive: impl FnMut(u64, u64) -> u64) -> BTreeMap<Path, FileId> {
        let mut by_dir: BTreeMap<Path, Vec<ChangeId>> = BTreeMap::new();
        for p in &self.pending {
            by_dir.entry(p.dir.clone()).or_default().push(p.id);
        }
        let mut kept = Vec::new();
        for (n, ids) in by_dir.into_values().enumerate() {
            let many = survive(n as u64, ids.len() as u64) as usize;
            kept.extend_from_slice(&ids[..many.min(ids.len())]);
        }
        self.commit(&kept);
        self.pending.clear();
        self.recent.clear();
        std::mem::replace(&mut self.live, self.durable.clone())
    }
    /// Everything is gone.
    pub fn wipe(&mut self) {
        self.live.clear();
        self.recent.clear();
        self.durable.clear();
        self.pending.clear();
    }
    /// The files that a name stands for, or may again.
    pub fn referenced(&self) -> BTreeSet<FileId> {
        let created = self.pending.iter().filter_map(|p| match &p.change {
            Change::Create(_, file) => Some(*file),
            _ => None,
        });
        self.live.values().chain(self.durable.values()).copied().chain(created).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(path: &str) -> Path {
        Path::new(path)
    }
    fn names(map: impl Iterator<Item = (Path, FileId)>) -> String {
        map.map(|(p, f)| format!("{p}={} ", f.0)).collect::<String>().trim_end().to_owned()
    }
    fn live(n: &Names) -> String {
        names(n.all().map(|(p, f)| (p.clone(), f)))
    }
    fn durable(n: &Names) -> String {
        names(n.durable().map(|(p, f)| (p.clone(), f)))
    }

    #[test]
    fn a_directory_moves_with_what_is_in_it_and_its_neighbour_stays() {
        let mut n = Names::default();
        for (i, path) in ["a/x", "a/y", "a-b/x"].iter().enumerate() {
            n.create(&p(path), FileId(i as u32));
        }
        let (id, before) = n.rename(&p("a"), &p("c")).unwrap();
        assert_eq!(live(&n), "a-b/x=2 c/x=0 c/y=1");
        n.undo(id, &before);
        assert_eq!(live(&n), "a-b/x=2 a/x=0 a/y=1");
        n.delete(&p("a")).unwrap();
        assert_eq!(live(&n), "a-b/x=2");
        assert!(n.delete(&p("a")).is_none() && n.rename(&p("a"), &p("b")).is_none());
    }

    #[test]
    fn an_undone_rename_restores_what_it_replaced() {
        let mut n = Names::default();
        n.create(&p("f"), FileId(1));
        n.create(&p("f.tmp"), FileId(2));
        let (id, before) = n.rename(&p("f.tmp"), &p("f")).unwrap();
        assert_eq!(live(&n), "f=2");
        n.undo(id, &before);
        assert_eq!(live(&n), "f=1 f.tmp=2");
    }

    #[test]
    fn a_directory_fsync_covers_its_completed_changes_only() {
        let mut n = Names::default();
        let (a, _) = n.create(&p("d/a"), FileId(1));
        n.create(&p("d/b"), FileId(2));
        let (c, _) = n.create(&p("e/c"), FileId(3));
        n.complete(a);
        n.complete(c);
        let ids = n.completed(Some(&p("d")));
        n.commit(&ids);
        assert_eq!(durable(&n), "d/a=1");
    }

    #[test]
    fn a_change_takes_with_it_what_it_builds_on() {
        let mut n = Names::default();
        n.create(&p("d/a"), FileId(1));
        n.create(&p("x/z"), FileId(9));
        let (id, _) = n.rename(&p("d"), &p("e")).unwrap();
        n.commit(&[id]);
        assert_eq!(durable(&n), "e/a=1");
    }

    #[test]
    fn power_loss_keeps_the_first_changes_of_each_directory() {
        let mut n = Names::default();
        n.create(&p("f"), FileId(1));
        n.create(&p("f.tmp"), FileId(2));
        n.rename(&p("f.tmp"), &p("f")).unwrap();
        n.create(&p("d/g"), FileId(3));
        let seen = n.lose_power(|dir, changes| if dir == 0 { changes - 1 } else { 0 });
        assert_eq!(seen.len(), 2);
        assert_eq!(live(&n), "f=1 f.tmp=2");
        assert!(!n.is_dirty());
    }
}
