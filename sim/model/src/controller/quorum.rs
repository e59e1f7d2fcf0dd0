//! The metadata log and this node's part in its quorum (KIP-595).
//!
//! One voter for now: it elects itself at every start, in an epoch above all it has seen, and what it has fsynced is
//! committed. How far it is fsynced is written down as it rises: a log that ends before that has lost what was committed,
//! and the start stops instead of forgetting topics. A torn tail beyond it is ordinary, and cut. Roles, the persisted vote and the rule that a leader commits nothing before a record of its own epoch
//! are those of a quorum of many. Follows Kafka's `KafkaRaftClient`, `QuorumState` and `FileQuorumStateStore`.

use super::spec::ControllerSpec;
use crate::disk::{DiskError, DiskOp, DiskReply, DiskResult, DiskToken, FileEntry, Path, ReadRange};
use crate::ids::*;
use crate::log::checkpoint::{Progress, RECOVERY_POINT_CHECKPOINT, Replace, format_offsets, parse_offsets};
use crate::log::{Finding, LoadArgs, Log, LogConfig, LogEvent, ReadPlan};
use crate::node::Outbox;
use crate::record::schema::MetadataRecord;
use crate::record::{
    BatchBuilder, BuilderConfig, ControlRecord, LeaderChange, batches, control_batch, records, verify_crc,
};
use crate::small_map::Few;
use crate::units::Now;
use bytes::Bytes;
use smallvec::smallvec;
use std::fmt::Write;
use std::sync::Arc;

/// The metadata log's directory.
pub const METADATA_DIR: &str = "__cluster_metadata-0";
/// The vote and the leader, in that directory.
pub const QUORUM_STATE: &str = "quorum-state";
/// Bytes read at once while the log is replayed.
const REPLAY_BYTES: u64 = 1 << 20;

/// Routes completions: the log's own.
pub const LOG: u32 = 1;
/// Routes completions: this room's.
pub const QUORUM: u32 = 2;

/// A voter's role.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Led this epoch and does not any more.
    Resigned,
    /// Knows an epoch, and nobody who leads it.
    Unattached,
    /// Has voted for another.
    Voted,
    /// Has voted for itself.
    Candidate,
    /// Leads.
    Leader,
    /// Follows.
    Follower,
}

/// Which role may follow on which (Kafka: `QuorumState`).
pub const TRANSITIONS: &[(Role, &[Role])] = &[
    (Role::Resigned, &[Role::Unattached, Role::Candidate, Role::Follower]),
    (Role::Unattached, &[Role::Unattached, Role::Voted, Role::Candidate, Role::Follower]),
    (Role::Voted, &[Role::Unattached, Role::Candidate, Role::Follower]),
    (Role::Candidate, &[Role::Unattached, Role::Candidate, Role::Leader, Role::Follower]),
    (Role::Leader, &[Role::Unattached, Role::Resigned]),
    (Role::Follower, &[Role::Unattached, Role::Candidate, Role::Follower]),
];

/// A record of the metadata log.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its offset.
    pub offset: Offset,
    /// The epoch it was appended in.
    pub epoch: LeaderEpoch,
    /// Whether it ends its batch.
    pub batch_end: bool,
    /// What it says; none: a control record.
    pub record: Option<Arc<MetadataRecord>>,
}

/// What happened in the quorum.
#[derive(Clone, PartialEq, Debug)]
pub enum QuorumEvent {
    /// The log holds this; whether it is committed is not known yet.
    Appended(Entry),
    /// Everything below is committed.
    HighWatermark(Offset),
    /// This node leads, and all records of earlier epochs are committed and told.
    Leading,
    /// The metadata log is loaded, and this came of it.
    Found(Finding),
    /// The node cannot go on.
    Failed(QuorumError),
}

/// Why a voter cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuorumError {
    /// The log takes no records.
    #[error("the metadata log takes no records: {0}")]
    Append(String),
    /// The disk failed.
    #[error("the metadata log's disk failed: {0}")]
    Disk(DiskError),
    /// The persisted vote is not one.
    #[error("`quorum-state` cannot be read")]
    State,
    /// The log lacks what was committed. Nothing was changed: no broker is told of a cluster without its topics.
    #[error(
        "the metadata log is damaged: everything below offset {flushed} was on disk, and {what}. Nothing was changed, and \
         no broker is told of a cluster without its topics. Bring the directory {METADATA_DIR} back from a copy; or remove \
         it together with every broker's data, to begin anew"
    )]
    Lost {
        /// Everything below was on disk.
        flushed: Offset,
        /// What was found.
        what: String,
    },
    /// A batch's checksum is wrong.
    #[error("the metadata batch at offset {0} is damaged")]
    Batch(Offset),
    /// What was read is no batch, no record, or no metadata record.
    #[error("{0}")]
    Content(String),
    /// A part that was asked for holds no whole batch.
    #[error("the metadata log cannot be read to its end")]
    CutShort,
}

/// How far a starting voter has come.
#[derive(Debug)]
enum Step {
    /// Has not begun.
    New,
    /// Waits for the listing of the disk.
    Listing(DiskToken),
    /// Reads the persisted vote, if there is one, and how far the log was flushed, if that was written down.
    ReadingState(DiskToken, Vec<FileEntry>, Vec<&'static str>),
    /// The log is being loaded.
    LoadingLog,
    /// The log is being read.
    Replaying(DiskToken, ReadPlan),
    /// The vote, then the leader, is being persisted.
    Persisting,
    /// Up.
    Running,
}

/// A voter.
#[derive(Debug)]
pub struct Quorum {
    id: NodeId,
    voters: Vec<NodeId>,
    step: Step,
    role: Role,
    epoch: LeaderEpoch,
    state_file: Replace,
    flushed_file: Replace,
    log: Log,
    log_events: Vec<LogEvent>,
    /// Of the log, when it is loaded.
    needed: Offset,
    flushing: bool,
    epoch_start: Offset,
    high_watermark: Offset,
}

impl Quorum {
    /// A voter that has not looked at its disk yet.
    pub fn new(spec: &ControllerSpec) -> Quorum {
        let dir = Path::new(METADATA_DIR);
        Quorum {
            id: spec.id,
            voters: spec.voters.iter().map(|(id, _)| *id).collect(),
            step: Step::New,
            role: Role::Unattached,
            epoch: LeaderEpoch(0),
            state_file: Replace::new(QUORUM, dir.join(QUORUM_STATE)),
            flushed_file: Replace::new(QUORUM, dir.join(RECOVERY_POINT_CHECKPOINT)),
            log: Log::new(LOG, dir, LogConfig::of(&spec.config), spec.defects),
            log_events: Vec::new(),
            needed: Offset(0),
            flushing: false,
            epoch_start: Offset::NONE,
            high_watermark: Offset(0),
        }
    }

    /// Looks at its disk.
    pub fn start(&mut self, out: &mut Outbox) {
        self.step = Step::Listing(out.disk(QUORUM, DiskOp::List { dir: Path::new(METADATA_DIR) }));
    }

    /// The epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }
    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> NodeId {
        if self.role == Role::Leader { self.id } else { NodeId::NONE }
    }
    /// The log, for reading.
    pub fn log(&self) -> &Log {
        &self.log
    }
    /// Everything below it is committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Appends records as one batch. The entries come back for the caller to replay.
    ///
    /// # Errors
    /// Why the node cannot go on.
    ///
    /// # Panics
    /// If this node does not lead, or there are no records.
    pub fn append(
        &mut self,
        now: Now,
        records: Vec<MetadataRecord>,
        out: &mut Outbox,
    ) -> Result<Vec<Entry>, QuorumError> {
        assert_eq!(self.role, Role::Leader, "only a leader appends");
        let mut builder = BatchBuilder::new(BuilderConfig { leader_epoch: self.epoch, ..BuilderConfig::PLAIN });
        for record in &records {
            builder.append(now.wall, None, Some(&record.encode()), &[]);
        }
        let base = self.append_batch(now, builder.build(), out)?;
        let last = records.len() as i64 - 1;
        let entry = |(i, record)| Entry {
            offset: base.plus(i),
            epoch: self.epoch,
            batch_end: i == last,
            record: Some(Arc::new(record)),
        };
        Ok((0..).zip(records).map(entry).collect())
    }

    fn append_batch(&mut self, now: Now, batch: Bytes, out: &mut Outbox) -> Result<Offset, QuorumError> {
        let info = self.log.append_as_leader(now, batch, self.epoch, out);
        info.map(|info| info.base).map_err(|e| QuorumError::Append(e.to_string()))
    }

    /// Leaves the leadership, before the process ends.
    pub fn resign(&mut self) {
        if self.role == Role::Leader {
            self.become_role(Role::Resigned);
        }
    }

    /// Does what has come due in the log.
    pub fn poll(&mut self, now: Now, out: &mut Outbox) {
        self.log.poll(now, out);
        if let Some(at) = self.log.deadline() {
            out.wake_at(at);
        }
    }

    /// Takes a completion whose token bears [`LOG`] or [`QUORUM`].
    pub fn on_disk(
        &mut self,
        now: Now,
        token: DiskToken,
        result: DiskResult,
        out: &mut Outbox,
        events: &mut Vec<QuorumEvent>,
    ) {
        let done = if token.owner == LOG {
            let mut log_events = std::mem::take(&mut self.log_events);
            self.log.on_disk(now, token, result, out, &mut log_events);
            let done = log_events.drain(..).try_for_each(|e| self.on_log_event(now, e, out, events));
            self.log_events = log_events;
            done
        } else {
            self.on_own_disk(now, token, result, out, events)
        };
        if let Err(reason) = done {
            events.push(QuorumEvent::Failed(reason));
        }
    }

    fn on_own_disk(
        &mut self,
        now: Now,
        token: DiskToken,
        result: DiskResult,
        out: &mut Outbox,
        events: &mut Vec<QuorumEvent>,
    ) -> Result<(), QuorumError> {
        match self.state_file.on_disk(token, &result, out) {
            Progress::NotMine => {}
            Progress::Busy => return Ok(()),
            Progress::Done => return self.on_persisted(now, out, events),
            Progress::Failed(error) => return Err(QuorumError::Disk(error)),
        }
        match self.flushed_file.on_disk(token, &result, out) {
            Progress::NotMine => {}
            Progress::Busy | Progress::Done => return Ok(()),
            Progress::Failed(error) => return Err(QuorumError::Disk(error)),
        }
        match std::mem::replace(&mut self.step, Step::Running) {
            Step::Listing(t) if t == token => {
                let files = match result {
                    Ok(DiskReply::Listing(files)) => files,
                    Ok(_) | Err(DiskError::NotFound) => Vec::new(),
                    Err(error) => return Err(QuorumError::Disk(error)),
                };
                self.on_listing(now, files, out)
            }
            Step::ReadingState(t, files, names) if t == token => {
                let DiskReply::Data(data) = result.map_err(QuorumError::Disk)? else { return Ok(()) };
                let mut flushed = Offset(0);
                for (name, content) in names.into_iter().zip(data) {
                    if name == QUORUM_STATE {
                        self.epoch = parse_quorum_state(&content).ok_or(QuorumError::State)?;
                    } else {
                        // One that cannot be read says nothing; it is written anew.
                        let offsets = parse_offsets(&content).unwrap_or_default();
                        flushed = offsets.get(&(METADATA_TOPIC.to_owned(), 0)).copied().unwrap_or(Offset(0));
                    }
                }
                self.open_log(now, files, flushed, out)
            }
            Step::Replaying(t, plan) if t == token => {
                let DiskReply::Data(data) = result.map_err(QuorumError::Disk)? else { return Ok(()) };
                let data = plan.trim(data.into_iter().next().unwrap_or_default());
                let next = read_entries(&data, events)?.ok_or(QuorumError::CutShort)?;
                self.replay_from(next, out)
            }
            step => {
                self.step = step;
                Ok(())
            }
        }
    }

    fn on_listing(&mut self, now: Now, files: Vec<FileEntry>, out: &mut Outbox) -> Result<(), QuorumError> {
        let (mut names, mut ranges) = (Vec::new(), Few::new());
        for name in [QUORUM_STATE, RECOVERY_POINT_CHECKPOINT] {
            if let Some(f) = files.iter().find(|f| f.path.file_name() == name) {
                names.push(name);
                ranges.push(ReadRange { file: f.path.clone(), pos: 0, len: f.len });
            }
        }
        if names.is_empty() {
            return self.open_log(now, files, Offset(0), out);
        }
        let token = out.disk(QUORUM, DiskOp::Read { ranges });
        self.step = Step::ReadingState(token, files, names);
        Ok(())
    }

    /// Everything below `flushed` must be in it.
    fn open_log(
        &mut self,
        now: Now,
        files: Vec<FileEntry>,
        flushed: Offset,
        out: &mut Outbox,
    ) -> Result<(), QuorumError> {
        if files.iter().any(|f| f.path.file_name().ends_with(".log")) {
            self.step = Step::LoadingLog;
            // Whatever is there is checked: the log is small, and a clean shutdown leaves no word of itself.
            self.needed = flushed;
            let args = LoadArgs {
                clean: false,
                recovery_point: Offset(0),
                log_start: Offset(0),
                gaps: false,
                needed: flushed,
                files,
            };
            self.log.load(now, args, out);
        } else if flushed > Offset(0) {
            return Err(lost(flushed, "its files are missing"));
        } else {
            self.log.create(now, TopicId::METADATA, out);
            self.run_for_leader(out);
        }
        Ok(())
    }

    fn on_log_event(
        &mut self,
        now: Now,
        event: LogEvent,
        out: &mut Outbox,
        events: &mut Vec<QuorumEvent>,
    ) -> Result<(), QuorumError> {
        match event {
            LogEvent::Loaded { recovery, .. } => {
                events.push(QuorumEvent::Found(Finding::Log(recovery)));
                let start = self.log.log_start();
                // There are no snapshots here: what a metadata log does not begin with is lost.
                if start > Offset(0) {
                    return Err(lost(
                        self.needed.max(start),
                        format!("the log begins at offset {start}, its first segments are missing"),
                    ));
                }
                self.replay_from(start, out)
            }
            LogEvent::Appended => {
                self.flush(now, out);
                Ok(())
            }
            LogEvent::Flushed { up_to } => {
                self.flushing = false;
                let line = (METADATA_TOPIC, 0, up_to);
                self.flushed_file.replace(format_offsets([line]), out);
                self.flush(now, out);
                self.on_flushed(up_to, events);
                Ok(())
            }
            LogEvent::Failed(error) => Err(QuorumError::Disk(error)),
            LogEvent::Damaged { segment, pos, end } => {
                let what = format!("{:020}.log holds no batch for offset {end} at byte {pos}", segment.0);
                Err(lost(self.needed, what))
            }
            // This log keeps no recovery point: it is fsynced before it counts, and scanned whole when it is loaded.
            LogEvent::Cut => {
                let mut events = Vec::new();
                self.log.cut_recorded(out, &mut events);
                Ok(())
            }
            LogEvent::Truncated
            | LogEvent::Cleaned { .. }
            | LogEvent::SegmentsDeleted
            | LogEvent::AppendForgotten { .. } => Ok(()),
        }
    }

    fn replay_from(&mut self, next: Offset, out: &mut Outbox) -> Result<(), QuorumError> {
        let plan = self.log.read(next, REPLAY_BYTES, self.log.log_end(), true).map_err(content)?;
        match plan {
            Some(plan) => {
                let token = out.disk(QUORUM, DiskOp::Read { ranges: smallvec![plan.range.clone()] });
                self.step = Step::Replaying(token, plan);
            }
            None => self.run_for_leader(out),
        }
        Ok(())
    }

    /// Every start is an election. A leader that came back in its old epoch could give one offset to two records:
    /// what it had not fsynced may have been fetched (KAFKA-10527).
    fn run_for_leader(&mut self, out: &mut Outbox) {
        let seen = self.log.latest_epoch().unwrap_or(LeaderEpoch(0)).max(self.epoch);
        self.epoch = LeaderEpoch(seen.0 + 1);
        self.become_role(Role::Candidate);
        self.persist(NodeId::NONE, self.id, out);
    }

    fn persist(&mut self, leader: NodeId, voted: NodeId, out: &mut Outbox) {
        self.step = Step::Persisting;
        self.state_file.replace(format_quorum_state(leader, self.epoch, voted, &self.voters), out);
    }

    fn on_persisted(&mut self, now: Now, out: &mut Outbox, events: &mut Vec<QuorumEvent>) -> Result<(), QuorumError> {
        if self.role == Role::Candidate {
            // The only vote there is.
            self.become_role(Role::Leader);
            self.persist(self.id, NodeId::NONE, out);
            return Ok(());
        }
        self.step = Step::Running;
        let change = LeaderChange { leader: self.id, voters: self.voters.clone(), granting: vec![self.id] };
        let config = BuilderConfig { leader_epoch: self.epoch, ..BuilderConfig::PLAIN };
        let batch = control_batch(config, now.wall, &ControlRecord::LeaderChange(change));
        let offset = self.append_batch(now, batch, out)?;
        self.epoch_start = offset;
        events.push(QuorumEvent::Appended(Entry { offset, epoch: self.epoch, batch_end: true, record: None }));
        Ok(())
    }

    fn flush(&mut self, now: Now, out: &mut Outbox) {
        if !self.flushing && self.epoch_start != Offset::NONE && self.log.log_end() > self.log.recovery_point() {
            self.flushing = self.log.flush(now, out);
        }
    }

    /// What the only voter holds durably, a majority holds. Nothing is committed by count before a record of this
    /// epoch is.
    fn on_flushed(&mut self, up_to: Offset, events: &mut Vec<QuorumEvent>) {
        let leads = matches!(self.role, Role::Leader | Role::Resigned) && self.epoch_start != Offset::NONE;
        if !leads || up_to <= self.epoch_start || up_to <= self.high_watermark {
            return;
        }
        let first = self.high_watermark <= self.epoch_start;
        self.high_watermark = up_to;
        events.push(QuorumEvent::HighWatermark(up_to));
        if first && self.role == Role::Leader {
            events.push(QuorumEvent::Leading);
        }
    }

    fn become_role(&mut self, next: Role) {
        let allowed = TRANSITIONS.iter().find(|(from, _)| *from == self.role).map_or(&[][..], |(_, to)| to);
        assert!(allowed.contains(&next), "{:?} does not become {next:?}", self.role);
        self.role = next;
    }
}

fn lost(flushed: Offset, what: impl Into<String>) -> QuorumError {
    QuorumError::Lost { flushed, what: what.into() }
}

/// Why bytes cannot be read.
fn content(error: impl std::fmt::Display) -> QuorumError {
    QuorumError::Content(error.to_string())
}

/// Tells what batches hold; returns the offset after them, `None` if there is no whole batch.
fn read_entries(data: &Bytes, events: &mut Vec<QuorumEvent>) -> Result<Option<Offset>, QuorumError> {
    let mut next = None;
    for batch in batches(data) {
        let (header, bytes) = batch.map_err(content)?;
        if !verify_crc(&bytes) {
            return Err(QuorumError::Batch(header.base_offset));
        }
        for record in records(&bytes) {
            let record = record.map_err(content)?;
            let content = match (header.is_control(), record.value) {
                (false, Some(value)) => {
                    let decoded = MetadataRecord::decode(value);
                    let named = |e| content(format!("metadata record at offset {}: {e}", record.offset));
                    Some(Arc::new(decoded.map_err(named)?))
                }
                _ => None,
            };
            events.push(QuorumEvent::Appended(Entry {
                offset: record.offset,
                epoch: header.leader_epoch,
                batch_end: record.offset == header.last_offset(),
                record: content,
            }));
        }
        next = Some(header.next_offset());
    }
    Ok(next)
}

/// The persisted vote, `data_version` 0: the version of a quorum whose voters are configured.
fn format_quorum_state(leader: NodeId, epoch: LeaderEpoch, voted: NodeId, voters: &[NodeId]) -> Bytes {
    let mut text = String::new();
    let _ = write!(
        text,
        "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\"appliedOffset\":0,\
         \"currentVoters\":["
    );
    for (i, voter) in voters.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{{\"voterId\":{voter}}}");
    }
    text.push_str("],\"data_version\":0}");
    Bytes::from(text)
}

/// The epoch in the persisted vote; the rest only matters among several voters. `None`: not such a file.
fn parse_quorum_state(data: &[u8]) -> Option<LeaderEpoch> {
    let text = std::str::from_utf8(data).ok()?.trim();
    let text = text.strip_prefix('{')?.strip_suffix('}')?;
    let (_, rest) = text.split_once("\"leaderEpoch\":")?;
    let digits = rest.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok().map(LeaderEpoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vote_is_kept_in_kafkas_format() {
        let bytes = format_quorum_state(NodeId(1), LeaderEpoch(7), NodeId::NONE, &[NodeId(1), NodeId(2)]);
        let expected = r#"{"clusterId":"","leaderId":1,"leaderEpoch":7,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#;
        assert_eq!(bytes, expected.as_bytes());
        assert_eq!(parse_quorum_state(&bytes), Some(LeaderEpoch(7)));
        let version_1 = br#"{"leaderId":-1,"leaderEpoch": 2,"votedId":1,"votedDirectoryId":"J8aAPcfLQt2bqs1JT_rMgQ","data_version":1}"#;
        assert_eq!(parse_quorum_state(version_1), Some(LeaderEpoch(2)));
        for bad in [&b""[..], b"{}", b"{\"leaderEpoch\":}", b"\xff", b"{\"leaderEpoch\":99999999999}"] {
            assert_eq!(parse_quorum_state(bad), None);
        }
    }

    #[test]
    fn every_role_has_a_row_and_only_a_candidate_becomes_leader() {
        let roles = [Role::Resigned, Role::Unattached, Role::Voted, Role::Candidate, Role::Leader, Role::Follower];
        for role in roles {
            let (_, to) = TRANSITIONS.iter().find(|(from, _)| *from == role).unwrap();
            assert_eq!(to.contains(&Role::Leader), role == Role::Candidate);
        }
    }
}
