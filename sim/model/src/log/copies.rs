//! What an interrupted compaction left in a log's directory, put in order before the log is loaded.
//!
//! A copy of which anything still bears the suffix `.cleaned` does not count and goes. One whose log bears `.swap` does:
//! the segments it replaces go, and its files get their names, over whatever bears them. Indexes that bear `.swap` while
//! their log does not are the last step of that. All of it is made durable before the log is used: a copy that a power
//! loss brought back later would undo what was appended since. Follows Kafka's `LogLoader.load`.

use super::compaction::{CLEANED, SWAP};
use super::load::{LoadArgs, Loading};
use super::segment::parse_name;
use super::{Log, Phase, Purpose};
use crate::disk::{DiskOp, FileEntry, Path, ReadRange};
use crate::ids::Offset;
use crate::node::Outbox;
use crate::record;
use crate::trace::TraceEvent;
use crate::units::Now;
use bytes::Bytes;
use std::collections::BTreeSet;

/// The base offset in a name like `00000000000000000042.log.swap`, and what is before the suffix.
fn copied<'a>(entry: &'a FileEntry, suffix: &str) -> Option<(Offset, &'a str)> {
    let name = entry.path.file_name().strip_suffix(suffix)?;
    Some((parse_name(name)?.0, name))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// They are read, to know what they replace.
    Read,
    /// That is removed.
    Remove,
    /// The removal is made durable.
    Sync,
}

/// Compacted copies that count, on the way to their places.
#[derive(Debug)]
pub(super) struct Copies {
    args: LoadArgs,
    counting: Vec<FileEntry>,
    stage: Stage,
}

impl Log {
    /// Removes copies that do not count, and begins to read those that do.
    pub(super) fn sort_copies_out(&mut self, now: Now, mut args: LoadArgs, mut l: Loading, out: &mut Outbox) {
        let dir = self.dir.clone();
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut args.files).into_iter().partition(|f| f.path.parent() == dir);
        let incomplete: BTreeSet<Offset> = own.iter().filter_map(|f| Some(copied(f, CLEANED)?.0)).collect();
        let names: BTreeSet<String> = own.iter().map(|f| f.path.file_name().to_owned()).collect();
        let has = |base: Offset, suffix: &str| names.contains(&format!("{}{suffix}", super::segment::stem(base)));
        let mut counting = Vec::new();
        args.files = others;
        for entry in own {
            let Some((base, name)) = copied(&entry, SWAP) else {
                args.files.push(entry);
                continue;
            };
            if incomplete.contains(&base) || !(has(base, ".log.swap") || has(base, ".log")) {
                self.step(&mut l, DiskOp::Delete { path: entry.path }, out);
            } else if has(base, ".log.swap") {
                counting.push(entry);
            } else {
                let to = dir.join(name);
                self.name_file(&mut l, &mut args, entry, to, out);
            }
            l.names = true;
        }
        l.names |= !incomplete.is_empty();
        if counting.is_empty() {
            return self.load_files(now, &args, l, out);
        }
        let logs = counting.iter().filter(|f| f.path.file_name().ends_with(".log.swap"));
        let ranges = logs.map(|f| ReadRange { file: f.path.clone(), pos: 0, len: f.len }).collect();
        l.copies = Some(Copies { args, counting, stage: Stage::Read });
        self.phase = Phase::Loading(Box::new(l));
        self.ask(DiskOp::Read { ranges }, Purpose::Scan(self.generation), out);
    }

    /// A file of a copy gets its name, over whatever bears it.
    fn name_file(&mut self, l: &mut Loading, args: &mut LoadArgs, file: FileEntry, to: Path, out: &mut Outbox) {
        args.files.retain(|f| f.path != to);
        self.step(l, DiskOp::Rename { from: file.path, to: to.clone() }, out);
        args.files.push(FileEntry { path: to, len: file.len });
    }

    /// The copies that count were read: the segments they replace go.
    pub(super) fn remove_replaced(&mut self, now: Now, contents: &[Bytes], out: &mut Outbox) {
        let Phase::Loading(mut l) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        let Some(mut copies) = l.copies.take() else { return };
        let logs = copies.counting.iter().filter(|f| f.path.file_name().ends_with(".log.swap"));
        // Each copy's end: where its last batch ends.
        let ends: Vec<(Offset, Offset)> = logs
            .filter_map(|f| Some(copied(f, SWAP)?.0))
            .zip(contents)
            .map(|(base, data)| {
                let last = record::batches(data).map_while(Result::ok).last();
                (base, last.map_or(base, |(header, _)| header.next_offset()))
            })
            .collect();
        let replaced = |f: &FileEntry| {
            let Some((base, suffix)) = parse_name(f.path.file_name()) else { return false };
            let within = ends.iter().any(|&(from, end)| base > from && base < end);
            f.path.parent() == self.dir && matches!(suffix, ".log" | ".index" | ".timeindex") && within
        };
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut copies.args.files).into_iter().partition(replaced);
        copies.args.files = kept;
        for entry in gone {
            self.step(&mut l, DiskOp::Delete { path: entry.path }, out);
        }
        copies.stage = Stage::Remove;
        l.copies = Some(copies);
        self.phase = Phase::Loading(l);
        self.copies_stepped(now, out);
    }

    /// What was asked for is complete, perhaps: the copies get their names, once no old segment can come back beside
    /// what replaced it.
    pub(super) fn copies_stepped(&mut self, now: Now, out: &mut Outbox) {
        let Phase::Loading(l) = &mut self.phase else { return };
        let Some(copies) = l.copies.as_mut().filter(|_| l.steps == 0) else { return };
        match copies.stage {
            Stage::Read => return,
            Stage::Remove => {
                (copies.stage, l.steps) = (Stage::Sync, 1);
                return self.ask(DiskOp::FsyncDir { dir: self.dir.clone() }, Purpose::Step, out);
            }
            Stage::Sync => {}
        }
        let Phase::Loading(mut l) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        let Some(Copies { mut args, counting, .. }) = l.copies.take() else { return };
        for entry in counting {
            let Some((_, name)) = copied(&entry, SWAP) else { continue };
            let to = self.dir.join(name);
            self.name_file(&mut l, &mut args, entry, to, out);
        }
        out.trace(TraceEvent::Mark { mark: "compaction-completed" });
        self.load_files(now, &args, *l, out);
    }
}
