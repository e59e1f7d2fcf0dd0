//! The beginning of a process: what the disk kept is read, and every log is loaded, before the controller hears of
//! this incarnation. Follows Kafka's `KafkaServer` startup, `LogManager.loadLogs` and `CleanShutdownFileHandler`.
//!
//! The clean-shutdown file is removed, durably, before the first log is touched: a crash from then on must not find
//! it and trust logs that were never checked (KAFKA-10471).

use super::checkpoints::Checkpoints;
use super::replicas::Nameless;
use super::{Phase, Process, SELF};
use crate::defects::Defect;
use crate::disk::{DiskOp, DiskReply, DiskResult, DiskToken, FileEntry, Path, ReadRange};
use crate::ids::*;
use crate::log::checkpoint::{
    CLEAN_SHUTDOWN, CLEANER_OFFSET_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, META_PROPERTIES,
    RECOVERY_POINT_CHECKPOINT, parse_clean_shutdown, parse_offsets,
};
use crate::log::meta::identify;
use crate::log::{Finding, LoadArgs, Log, LogConfig, Recovery};
use crate::node::Outbox;
use crate::small_map::Few;
use crate::trace::TraceEvent;
use crate::units::Now;
use bytes::Bytes;
use std::collections::BTreeMap;

type Offsets = BTreeMap<(String, i32), Offset>;

/// The small files that are read first.
const SMALL_FILES: [&str; 6] = [
    META_PROPERTIES,
    CLEAN_SHUTDOWN,
    HIGH_WATERMARK_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    LOG_START_CHECKPOINT,
    CLEANER_OFFSET_CHECKPOINT,
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    List,
    Read,
    DeleteMarker,
    FsyncMarker,
    Logs,
}

#[derive(Debug)]
struct LoadingLog {
    log: Log,
    topic: String,
    partition: i32,
}

/// A log that came out of it.
#[derive(Debug)]
pub(crate) struct LoadedLog {
    /// Its number.
    pub owner: u32,
    /// Itself.
    pub log: Log,
    /// From its directory's name.
    pub topic: String,
    /// By its `partition.metadata`.
    pub id: TopicIdPartition,
    /// Whether it was scanned.
    pub recovered: bool,
}

/// How far it has come.
#[derive(Debug)]
pub(crate) struct Loading {
    step: Step,
    token: Option<DiskToken>,
    files: Vec<FileEntry>,
    small: Vec<String>,
    clean: bool,
    marker_kept: bool,
    high_watermarks: Offsets,
    recovery_points: Offsets,
    log_starts: Offsets,
    logs: BTreeMap<u32, LoadingLog>,
}

impl Loading {
    /// Asks what is there.
    pub fn begin(out: &mut Outbox) -> Loading {
        let token = out.disk(SELF, DiskOp::List { dir: Path::new("") });
        Loading {
            step: Step::List,
            token: Some(token),
            files: Vec::new(),
            small: Vec::new(),
            clean: false,
            marker_kept: false,
            high_watermarks: Offsets::new(),
            recovery_points: Offsets::new(),
            log_starts: Offsets::new(),
            logs: BTreeMap::new(),
        }
    }
    /// A log being loaded.
    pub fn log_mut(&mut self, owner: u32) -> Option<&mut Log> {
        self.logs.get_mut(&owner).map(|l| &mut l.log)
    }
    fn ask(&mut self, step: Step, op: DiskOp, out: &mut Outbox) {
        self.step = step;
        self.token = Some(out.disk(SELF, op));
    }
    /// A log cannot start beyond all that was ever on disk or committed: such a start is another log's, and would have
    /// this one's records deleted. Says whether there was one.
    fn disbelieve_log_starts(&mut self) -> bool {
        let known = self.log_starts.len();
        let (points, marks) = (&self.recovery_points, &self.high_watermarks);
        let end = |key: &(String, i32)| points.get(key).max(marks.get(key)).copied().unwrap_or(Offset(0));
        self.log_starts.retain(|key, start| *start <= end(key));
        self.log_starts.len() < known
    }
}

/// `orders-3` is partition 3 of `orders`.
fn parse_directory(dir: &str) -> Option<(String, i32)> {
    let (topic, partition) = dir.rsplit_once('-')?;
    let partition = partition.parse().ok().filter(|&n: &i32| n >= 0)?;
    // The controller's own log, where both nodes keep their data on one disk.
    (!topic.is_empty() && topic != METADATA_TOPIC).then(|| (topic.to_owned(), partition))
}

/// `orders-3.<anything>-stray` was partition 3 of `orders`.
fn parse_stray(dir: &str) -> Option<(String, i32)> {
    let (name, _) = dir.strip_suffix("-stray")?.rsplit_once('.')?;
    parse_directory(name)
}

impl Process {
    /// A completion of a startup step.
    pub(super) fn on_loading_disk(&mut self, now: Now, token: DiskToken, result: DiskResult, out: &mut Outbox) {
        let Phase::Loading(loading) = &mut self.phase else { return };
        if loading.token != Some(token) {
            return;
        }
        loading.token = None;
        let Ok(reply) = result else { return self.disk_failed("the data directory could not be read", out) };
        match (loading.step, reply) {
            (Step::List, DiskReply::Listing(files)) => {
                loading.small = SMALL_FILES
                    .iter()
                    .filter(|n| files.iter().any(|f| f.path.as_str() == **n))
                    .map(|n| (*n).to_owned())
                    .collect();
                let whole = |name: &String| {
                    let len = files.iter().find(|f| f.path.as_str() == name).map_or(0, |f| f.len);
                    ReadRange { file: Path::new(name), pos: 0, len }
                };
                let ranges: Few<ReadRange> = loading.small.iter().map(whole).collect();
                loading.files = files;
                if ranges.is_empty() {
                    self.small_files_read(now, Few::new(), out);
                } else {
                    loading.ask(Step::Read, DiskOp::Read { ranges }, out);
                }
            }
            (Step::Read, DiskReply::Data(contents)) => self.small_files_read(now, contents, out),
            // Too late, and left to the file system to make durable: the defect.
            (Step::DeleteMarker, _) if loading.marker_kept => self.loading_done(now),
            (Step::DeleteMarker, _) => loading.ask(Step::FsyncMarker, DiskOp::FsyncDir { dir: Path::new("") }, out),
            (Step::FsyncMarker, _) => self.load_logs(now, out),
            _ => self.halt("the disk answered something else than was asked", out),
        }
    }

    fn small_files_read(&mut self, now: Now, contents: Few<Bytes>, out: &mut Outbox) {
        let Phase::Loading(loading) = &mut self.phase else { return };
        let files: BTreeMap<String, Bytes> = std::mem::take(&mut loading.small).into_iter().zip(contents).collect();
        // Before anything else is looked at: whose directory this is.
        let found = files.get(META_PROPERTIES).map(|content| &content[..]);
        match identify(found, self.spec.id, self.spec.cluster_id, self.spec.dir_id) {
            Err(what) => return self.halt(&what.to_string(), out),
            Ok(identity) => {
                self.spec.dir_id = identity.directory;
                if let Some(content) = identity.write {
                    self.checkpoints.write_meta_properties(content, out);
                }
            }
        }
        // A checkpoint that cannot be read is as good as none: more is recovered than need be.
        let mut bad = Vec::new();
        let mut offsets = |name: &str| match files.get(name).map(|c| parse_offsets(c)) {
            Some(Ok(offsets)) => offsets,
            Some(Err(_)) => {
                bad.push(Path::new(name));
                Offsets::new()
            }
            None => Offsets::new(),
        };
        loading.high_watermarks = offsets(HIGH_WATERMARK_CHECKPOINT);
        loading.recovery_points = offsets(RECOVERY_POINT_CHECKPOINT);
        loading.log_starts = offsets(LOG_START_CHECKPOINT);
        self.cleaner.restore(offsets(CLEANER_OFFSET_CHECKPOINT));
        let there = |name: &str| files.contains_key(name) && !bad.iter().any(|path| path.as_str() == name);
        if there(HIGH_WATERMARK_CHECKPOINT) && there(RECOVERY_POINT_CHECKPOINT) {
            bad.extend(loading.disbelieve_log_starts().then(|| Path::new(LOG_START_CHECKPOINT)));
        }
        let marker = files.get(CLEAN_SHUTDOWN).map(|content| parse_clean_shutdown(content));
        bad.extend((marker == Some(None)).then(|| Path::new(CLEAN_SHUTDOWN)));
        loading.clean = marker.is_some();
        let clean = loading.clean;
        self.lifecycle.found_clean_shutdown(marker.map(|epoch| epoch.unwrap_or(BrokerEpoch(-1))));
        out.trace(TraceEvent::Mark { mark: if clean { "clean-start" } else { "unclean-start" } });
        for path in bad {
            self.found(path, Finding::Unreadable, out);
        }
        let Phase::Loading(loading) = &mut self.phase else { return };
        // With the defect, the marker goes only after the logs are loaded.
        loading.marker_kept = loading.clean && self.spec.defects.on(Defect::CleanShutdownFlagLateDelete);
        if loading.clean && !loading.marker_kept {
            loading.ask(Step::DeleteMarker, DiskOp::Delete { path: Path::new(CLEAN_SHUTDOWN) }, out);
        } else {
            self.load_logs(now, out);
        }
    }

    fn load_logs(&mut self, now: Now, out: &mut Outbox) {
        let Phase::Loading(loading) = &mut self.phase else { return };
        loading.step = Step::Logs;
        let mut directories: BTreeMap<String, Vec<FileEntry>> = BTreeMap::new();
        for file in std::mem::take(&mut loading.files) {
            if let Some((dir, _)) = file.path.as_str().split_once('/') {
                directories.entry(dir.to_owned()).or_default().push(file);
            }
        }
        // Replicas that were on this disk once: by the checkpoints, and by what was set aside.
        let strays = directories.keys().filter_map(|dir| parse_stray(dir));
        let held = loading.high_watermarks.iter().filter(|(_, offset)| offset.0 > 0).map(|(key, _)| key.clone());
        self.replicas.once_here.extend(held.chain(strays));
        for (dir, files) in directories {
            let Some((topic, partition)) = parse_directory(&dir) else { continue };
            let owner = self.replicas.reserve();
            let config = LogConfig::of(&self.spec.config);
            let mut log = Log::new(owner, Path::new(&dir), config, self.spec.defects);
            let key = (topic.clone(), partition);
            let of = |offsets: &Offsets| offsets.get(&key).copied().unwrap_or(Offset(0));
            let args = LoadArgs {
                clean: loading.clean,
                recovery_point: of(&loading.recovery_points),
                log_start: of(&loading.log_starts),
                gaps: self.cleaner.may_have_gaps(&key),
                needed: Offset(0),
                files,
            };
            log.load(now, args, out);
            loading.logs.insert(owner, LoadingLog { log, topic, partition });
        }
        self.maybe_loaded(now, out);
    }

    /// A log is loaded.
    pub(super) fn log_loaded(
        &mut self,
        now: Now,
        owner: u32,
        recovery: Recovery,
        topic_id: Option<TopicId>,
        out: &mut Outbox,
    ) {
        let Phase::Loading(loading) = &mut self.phase else { return };
        let Some(LoadingLog { log, topic, partition }) = loading.logs.remove(&owner) else { return };
        let high_watermark = loading.high_watermarks.get(&(topic.clone(), partition)).copied().unwrap_or(Offset(0));
        let recovered = recovery.scanned;
        if recovered {
            out.trace(TraceEvent::Mark { mark: "log-recovered" });
        }
        if recovery.cut_bytes > 0 {
            out.trace(TraceEvent::Mark { mark: "torn-tail-cut" });
        }
        if recovery.behind {
            self.lifecycle.disk_lost_data();
        }
        self.found(log.dir().clone(), Finding::Log(recovery), out);
        match topic_id {
            Some(topic_id) => {
                let id = TopicIdPartition { topic: topic_id, partition };
                self.adopt(LoadedLog { owner, log, topic, id, recovered }, high_watermark, out);
            }
            // `partition.metadata` is made durable before the first append: nothing was ever written here.
            None if log.next_offset() == Offset(0) => self.remove_empty_directory(log.dir().clone(), out),
            // There are records, and the file that says whose is missing or damaged.
            None => self.replicas.keep_nameless(owner, Nameless { log, topic, partition, recovered, high_watermark }),
        }
        self.maybe_loaded(now, out);
    }

    /// `meta.properties` is written, perhaps.
    pub(super) fn loading_file_written(&mut self, now: Now, out: &mut Outbox) {
        if matches!(&self.phase, Phase::Loading(l) if l.step == Step::Logs && l.token.is_none()) {
            self.maybe_loaded(now, out);
        }
    }

    fn maybe_loaded(&mut self, now: Now, out: &mut Outbox) {
        let Phase::Loading(loading) = &mut self.phase else { return };
        if !loading.logs.is_empty() || Checkpoints::busy(&mut self.checkpoints) || loading.token.is_some() {
            return;
        }
        if loading.marker_kept {
            return loading.ask(Step::DeleteMarker, DiskOp::Delete { path: Path::new(CLEAN_SHUTDOWN) }, out);
        }
        self.loading_done(now);
    }

    fn loading_done(&mut self, now: Now) {
        self.phase = Phase::Serving;
        self.lifecycle.start(now.mono);
    }
}
