//! Small files kept as a whole, in Kafka's text formats, and how they are replaced: written aside, fsynced, renamed,
//! and the directory fsynced, so that a reader finds the old content or the new one.
//!
//! Follows Kafka's `CheckpointFile`, `OffsetCheckpointFile`, `LeaderEpochCheckpointFile`, `PartitionMetadataFile`,
//! `CleanShutdownFileHandler`.

use crate::disk::{DiskOp, DiskResult, Path};
use crate::ids::*;
use crate::node::Outbox;
use crate::{disk::DiskError, disk::DiskToken};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Flushed offsets by partition.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// High watermarks by partition.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// Log starts by partition.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// Where compaction goes on, by partition.
pub const CLEANER_OFFSET_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// Left behind by a clean shutdown.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// The node's identity.
pub const META_PROPERTIES: &str = "meta.properties";
/// The topic's id, in a partition's directory.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Leader epochs, in a partition's directory.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// A file whose content is replaced as a whole.
#[derive(Debug)]
pub struct Replace {
    path: Path,
    owner: u32,
    /// The latest content asked for and not yet begun.
    next: Option<Bytes>,
    step: Option<(DiskToken, Step)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Write,
    Fsync,
    Rename,
    FsyncDir,
}

/// What a completion meant to a [`Replace`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The token is another's.
    NotMine,
    /// Going on.
    Busy,
    /// The latest content is durable.
    Done,
    /// The disk failed; nothing more is tried with this content.
    Failed(DiskError),
}

impl Replace {
    /// For one file; completions come under `owner`.
    pub fn new(owner: u32, path: Path) -> Replace {
        Replace { path, owner, next: None, step: None }
    }
    /// Replaces the content. If an earlier replacement is under way, this one follows it (and replaces one that
    /// waits).
    pub fn replace(&mut self, content: Bytes, out: &mut Outbox) {
        self.next = Some(content);
        if self.step.is_none() {
            self.begin(out);
        }
    }
    /// Whether a replacement is under way or waits.
    pub fn busy(&self) -> bool {
        self.step.is_some()
    }
    fn begin(&mut self, out: &mut Outbox) {
        if let Some(data) = self.next.take() {
            self.ask(Step::Write, DiskOp::Write { file: self.aside(), data }, out);
        }
    }
    fn aside(&self) -> Path {
        Path::new(format!("{}.tmp", self.path))
    }
    fn ask(&mut self, step: Step, op: DiskOp, out: &mut Outbox) {
        self.step = Some((out.disk(self.owner, op), step));
    }
    /// Takes a completion, if it is this file's.
    pub fn on_disk(&mut self, token: DiskToken, result: &DiskResult, out: &mut Outbox) -> Progress {
        let Some((mine, step)) = self.step else { return Progress::NotMine };
        if mine != token {
            return Progress::NotMine;
        }
        if let Err(error) = result {
            self.step = None;
            self.begin(out);
            return Progress::Failed(*error);
        }
        match step {
            Step::Write => self.ask(Step::Fsync, DiskOp::Fsync { file: self.aside() }, out),
            Step::Fsync => self.ask(Step::Rename, DiskOp::Rename { from: self.aside(), to: self.path.clone() }, out),
            Step::Rename => self.ask(Step::FsyncDir, DiskOp::FsyncDir { dir: self.path.parent() }, out),
            Step::FsyncDir => {
                self.step = None;
                self.begin(out);
                return if self.step.is_none() { Progress::Done } else { Progress::Busy };
            }
        }
        Progress::Busy
    }
}

/// A checkpoint cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line} of the checkpoint: {why}")]
pub struct BadCheckpoint {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub why: &'static str,
}

/// Offsets by partition: version 0, the number of lines, then `topic partition offset`.
pub fn format_offsets<'a>(entries: impl IntoIterator<Item = (&'a str, i32, Offset)>) -> Bytes {
    let lines: Vec<String> = entries.into_iter().map(|(t, p, o)| format!("{t} {p} {o}")).collect();
    format_lines(&lines)
}

/// Reads what [`format_offsets`] writes.
///
/// # Errors
/// Anything else.
pub fn parse_offsets(data: &[u8]) -> Result<BTreeMap<(String, i32), Offset>, BadCheckpoint> {
    let mut offsets = BTreeMap::new();
    for (line, fields) in parse_lines(data)? {
        let [topic, partition, offset] = fields[..] else { return Err(bad(line, "three words are expected")) };
        let partition = partition.parse().map_err(|_| bad(line, "not a partition"))?;
        let offset = offset.parse().map_err(|_| bad(line, "not an offset"))?;
        offsets.insert((topic.to_owned(), partition), Offset(offset));
    }
    Ok(offsets)
}

/// Leader epochs: version 0, the number of lines, then `epoch start-offset`.
pub fn format_epochs(epochs: &[(LeaderEpoch, Offset)]) -> Bytes {
    let lines: Vec<String> = epochs.iter().map(|(e, o)| format!("{e} {o}")).collect();
    format_lines(&lines)
}

/// Reads what [`format_epochs`] writes.
///
/// # Errors
/// Anything else.
pub fn parse_epochs(data: &[u8]) -> Result<Vec<(LeaderEpoch, Offset)>, BadCheckpoint> {
    let parse = |(line, fields): (usize, Vec<&str>)| {
        let [epoch, start] = fields[..] else { return Err(bad(line, "two words are expected")) };
        let epoch = epoch.parse().ok().filter(|&e: &i32| e >= 0).ok_or(bad(line, "not an epoch"))?;
        let start = start.parse().ok().filter(|&o: &i64| o >= 0).ok_or(bad(line, "not an offset"))?;
        Ok((LeaderEpoch(epoch), Offset(start)))
    };
    parse_lines(data)?.into_iter().map(parse).collect()
}

fn format_lines(lines: &[String]) -> Bytes {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    Bytes::from(text)
}

fn parse_lines(data: &[u8]) -> Result<Vec<(usize, Vec<&str>)>, BadCheckpoint> {
    let text = std::str::from_utf8(data).map_err(|_| bad(1, "not text"))?;
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, l)| l.trim()) != Some("0") {
        return Err(bad(1, "not version 0"));
    }
    let count: Option<usize> = lines.next().and_then(|(_, l)| l.trim().parse().ok());
    let count = count.ok_or(bad(2, "not a number of lines"))?;
    let entries: Vec<_> = lines.map(|(n, l)| (n + 1, l.split_whitespace().collect::<Vec<_>>())).collect();
    if entries.len() != count {
        return Err(bad(2, "not the number of lines that follow"));
    }
    Ok(entries)
}

fn bad(line: usize, why: &'static str) -> BadCheckpoint {
    BadCheckpoint { line, why }
}

/// `partition.metadata`: version and topic id.
pub fn format_partition_metadata(topic: TopicId) -> Bytes {
    Bytes::from(format!("version: 0\ntopic_id: {}", uuid_text(topic.0)))
}

/// Reads what [`format_partition_metadata`] writes. `None`: anything else.
pub fn parse_partition_metadata(data: &[u8]) -> Option<TopicId> {
    let text = std::str::from_utf8(data).ok()?;
    let mut lines = text.lines();
    if lines.next()?.trim() != "version: 0" {
        return None;
    }
    parse_uuid(lines.next()?.strip_prefix("topic_id:")?.trim()).map(TopicId)
}

/// `.kafka_cleanshutdown` (KIP-966): the broker epoch under which it shut down.
pub fn format_clean_shutdown(epoch: BrokerEpoch) -> Bytes {
    Bytes::from(format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}"))
}

/// Reads what [`format_clean_shutdown`] writes. `None`: anything else.
pub fn parse_clean_shutdown(data: &[u8]) -> Option<BrokerEpoch> {
    let text = std::str::from_utf8(data).ok()?.trim();
    let fields = text.strip_prefix('{')?.strip_suffix('}')?;
    let epoch = fields.split(',').find_map(|f| f.trim().strip_prefix("\"brokerEpoch\":"))?;
    epoch.trim().parse().ok().map(BrokerEpoch)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A uuid as Kafka writes it: 22 characters of URL-safe base 64.
pub fn uuid_text(uuid: Uuid) -> String {
    let bits = uuid.as_u128();
    // 22 characters hold 132 bits: the last one has 4 bits of padding.
    let digit = |i: u32| if i < 21 { (bits >> (122 - 6 * i)) & 63 } else { (bits << 4) & 63 };
    (0..22).map(|i| BASE64[digit(i) as usize] as char).collect()
}

/// Reads what [`uuid_text`] writes. `None`: anything else.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    if text.len() != 22 {
        return None;
    }
    let mut bits = 0u128;
    for (i, c) in text.bytes().enumerate() {
        let digit = BASE64.iter().position(|&b| b == c)? as u128;
        bits = if i < 21 { bits << 6 | digit } else { bits << 2 | digit >> 4 };
    }
    Some(Uuid::from_u128(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskReply, FileEntry};
    use crate::node::Output;
    use proptest::prelude::*;

    #[test]
    fn texts_are_kafkas() {
        let offsets = format_offsets([("orders", 0, Offset(42)), ("a.b-c", 11, Offset(0))]);
        assert_eq!(offsets, "0\n2\norders 0 42\na.b-c 11 0\n");
        let read = parse_offsets(&offsets).unwrap();
        assert_eq!(read[&("orders".to_owned(), 0)], Offset(42));
        assert_eq!(read.len(), 2);
        let epochs = [(LeaderEpoch(0), Offset(0)), (LeaderEpoch(4), Offset(19))];
        assert_eq!(format_epochs(&epochs), "0\n2\n0 0\n4 19\n");
        assert_eq!(parse_epochs(&format_epochs(&epochs)).unwrap(), epochs);
        assert_eq!(parse_clean_shutdown(&format_clean_shutdown(BrokerEpoch(7))), Some(BrokerEpoch(7)));
        // Kafka's Uuid.toString of the metadata topic's id.
        assert_eq!(uuid_text(TopicId::METADATA.0), "AAAAAAAAAAAAAAAAAAAAAQ");
    }

    #[test]
    fn damage_is_told_with_its_place() {
        let place = |text: &str| parse_offsets(text.as_bytes()).unwrap_err().line;
        assert_eq!(place("1\n0\n"), 1);
        assert_eq!(place("0\nx\n"), 2);
        assert_eq!(place("0\n2\nt 0 1\n"), 2);
        assert_eq!(place("0\n1\nt 0\n"), 3);
        assert_eq!(place("0\n1\nt 0 x\n"), 3);
        assert!(parse_epochs(b"0\n1\n-1 0\n").is_err());
    }

    proptest! {
        #[test]
        fn uuids_round_trip(bits: u128) {
            let uuid = Uuid::from_u128(bits);
            prop_assert_eq!(parse_uuid(&uuid_text(uuid)), Some(uuid));
            prop_assert_eq!(parse_partition_metadata(&format_partition_metadata(TopicId(uuid))), Some(TopicId(uuid)));
        }
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[0-9 \\n{}:,a-z]{0,40}") {
            for data in [&bytes[..], text.as_bytes()] {
                let _ = (parse_offsets(data), parse_epochs(data), parse_partition_metadata(data));
                let _ = parse_clean_shutdown(data);
            }
        }
    }

    fn asked(out: &mut Outbox) -> (DiskToken, DiskOp) {
        let mut outputs = Vec::new();
        out.take(&mut outputs);
        let Some(Output::Disk { token, op }) = outputs.pop() else { panic!("one operation is expected") };
        assert!(outputs.is_empty());
        (token, op)
    }

    #[test]
    fn a_file_is_replaced_step_by_step() {
        let mut out = Outbox::new();
        let mut file = Replace::new(3, Path::new("d/f"));
        file.replace(Bytes::from_static(b"1"), &mut out);
        let mut steps = Vec::new();
        for last in [false, false, false, true] {
            let (token, op) = asked(&mut out);
            steps.push(op);
            if steps.len() == 2 {
                // Two more while one is under way: only the last of them counts.
                file.replace(Bytes::from_static(b"2"), &mut out);
                file.replace(Bytes::from_static(b"3"), &mut out);
            }
            assert_eq!(file.on_disk(token, &Ok(DiskReply::Done), &mut out), Progress::Busy, "{last}");
        }
        let aside = Path::new("d/f.tmp");
        let expected = [
            DiskOp::Write { file: aside.clone(), data: Bytes::from_static(b"1") },
            DiskOp::Fsync { file: aside.clone() },
            DiskOp::Rename { from: aside.clone(), to: Path::new("d/f") },
            DiskOp::FsyncDir { dir: Path::new("d") },
        ];
        assert_eq!(steps, expected);
        let (token, op) = asked(&mut out);
        assert_eq!(op, DiskOp::Write { file: aside, data: Bytes::from_static(b"3") });
        let other = DiskToken { owner: 3, seq: 999 };
        let listing = Ok(DiskReply::Listing(Vec::<FileEntry>::new()));
        assert_eq!(file.on_disk(other, &listing, &mut out), Progress::NotMine);
        assert_eq!(file.on_disk(token, &Err(DiskError::Io), &mut out), Progress::Failed(DiskError::Io));
        assert!(!file.busy());
    }
}
