//! What a start finds on a disk that is not as an orderly end leaves it, and the sum of it. Nothing here decides anything:
//! it is told to operators, and to the controller as far as Kafka's protocol has a word for it.

use crate::disk::Path;
use std::fmt;

/// What loading one log came upon.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovery {
    /// Segments were scanned because the last shutdown was not clean, or damage was met.
    pub scanned: bool,
    /// Bytes cut off: torn, corrupt or beyond such.
    pub cut_bytes: u64,
    /// Whole segments among them.
    pub segments_removed: u32,
    /// Segments whose indexes were missing or made no sense, and were made anew.
    pub indexes_rebuilt: u32,
    /// Small files in its directory that could not be read, or contradict the log.
    pub bad_files: u32,
    /// Records are missing that were known to be on disk: below the recovery point, or before the first segment.
    pub behind: bool,
}

impl Recovery {
    /// Whether there is something to report. That segments were scanned is none: every killed process causes it.
    pub fn found_something(&self) -> bool {
        *self != Recovery { scanned: self.scanned, ..Recovery::default() }
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut part = |n: u64, one: &str, many: &str| match n {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            n => parts.push(format!("{n} {many}")),
        };
        part(self.cut_bytes, "byte cut off", "bytes cut off");
        part(self.segments_removed.into(), "segment of them removed", "segments of them removed");
        part(self.indexes_rebuilt.into(), "segment's indexes made anew", "segments' indexes made anew");
        part(self.bad_files.into(), "small file not usable", "small files not usable");
        if self.behind {
            parts.push("records are missing that were known to be on disk".to_owned());
        }
        if parts.is_empty() {
            parts.push(if self.scanned { "scanned, nothing wrong" } else { "as it was left" }.to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

/// What was found at one place of a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// A log, as loading left it.
    Log(Recovery),
    /// A small file of the data directory that cannot be read; what it said counts as unknown.
    Unreadable,
    /// A directory of which no replica belongs to this broker; it was renamed, and is kept.
    Stray {
        /// Its new name.
        to: Path,
    },
    /// A log that does not say its topic; it is the replica of its directory's name, and says so again.
    Named,
    /// A replica whose log is not here any more. It does not lead while other replicas may have the records.
    Withheld,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Log(recovery) => recovery.fmt(f),
            Finding::Unreadable => f.write_str("it cannot be read, and counts as missing"),
            Finding::Stray { to } => write!(f, "no replica of this broker; kept as {to}"),
            Finding::Named => f.write_str("partition.metadata cannot be read, and was written anew for the topic of this name"),
            Finding::Withheld => f.write_str(
                "its log is not here any more, and other replicas may have the records: it is not made anew as long as it \
                 would lead. Bring the directory back, or set unclean.leader.election.enable=true for the topic",
            ),
        }
    }
}

/// The sum over one start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovered {
    /// Logs loaded.
    pub logs: u32,
    /// Logs of which segments were scanned.
    pub scanned: u32,
    /// Logs that were cut.
    pub cut: u32,
    /// Bytes cut off.
    pub cut_bytes: u64,
    /// Segments removed whole.
    pub segments_removed: u32,
    /// Segments whose indexes were made anew.
    pub indexes_rebuilt: u32,
    /// Small files that could not be used.
    pub bad_files: u32,
    /// Logs that lack what was known to be on disk.
    pub behind: u32,
    /// Directories kept as strays by this start.
    pub strays: u32,
    /// Logs that were given their topic's id again.
    pub named: u32,
    /// Replicas that do not lead for want of their log.
    pub withheld: u32,
}

impl Recovered {
    /// Adds what was found at one place.
    pub fn add(&mut self, found: &Finding) {
        match found {
            Finding::Log(r) => {
                self.logs += 1;
                self.scanned += u32::from(r.scanned);
                self.cut += u32::from(r.cut_bytes > 0);
                self.cut_bytes += r.cut_bytes;
                self.segments_removed += r.segments_removed;
                self.indexes_rebuilt += r.indexes_rebuilt;
                self.bad_files += r.bad_files;
                self.behind += u32::from(r.behind);
            }
            Finding::Unreadable => self.bad_files += 1,
            Finding::Stray { .. } => self.strays += 1,
            Finding::Named => {
                self.named += 1;
                self.bad_files += 1;
            }
            Finding::Withheld => self.withheld += 1,
        }
    }
    /// What was found beyond logs that were loaded, and scanned without a finding.
    pub fn found_something(&self) -> bool {
        *self != Recovered { logs: self.logs, scanned: self.scanned, ..Recovered::default() }
    }
    /// Adds another node's.
    pub fn merge(&mut self, other: Recovered) {
        self.logs += other.logs;
        self.scanned += other.scanned;
        self.cut += other.cut;
        self.cut_bytes += other.cut_bytes;
        self.segments_removed += other.segments_removed;
        self.indexes_rebuilt += other.indexes_rebuilt;
        self.bad_files += other.bad_files;
        self.behind += other.behind;
        self.strays += other.strays;
        self.named += other.named;
        self.withheld += other.withheld;
    }
    /// Every count with its name, in the order in which they are shown.
    pub fn counts(&self) -> [(&'static str, u64); 11] {
        [
            ("logs", self.logs.into()),
            ("scanned", self.scanned.into()),
            ("cut", self.cut.into()),
            ("cut-bytes", self.cut_bytes),
            ("segments-removed", self.segments_removed.into()),
            ("indexes-rebuilt", self.indexes_rebuilt.into()),
            ("bad-files", self.bad_files.into()),
            ("behind", self.behind.into()),
            ("strays", self.strays.into()),
            ("named", self.named.into()),
            ("withheld", self.withheld.into()),
        ]
    }
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.counts().into_iter().filter(|(_, n)| *n > 0);
        let parts: Vec<String> = counted.map(|(name, n)| format!("{n} {name}")).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_found() {
        let recovery =
            Recovery { scanned: true, cut_bytes: 120, segments_removed: 1, behind: true, ..Recovery::default() };
        let expected =
            "120 bytes cut off, 1 segment of them removed, records are missing that were known to be on disk";
        assert_eq!(Finding::Log(recovery).to_string(), expected);
        let quiet = Recovery { scanned: true, ..Recovery::default() };
        assert_eq!(quiet.to_string(), "scanned, nothing wrong");
        assert!(!quiet.found_something() && recovery.found_something());
    }

    #[test]
    fn the_sum_counts_each_place_once() {
        let mut sum = Recovered::default();
        for found in [
            Finding::Log(Recovery { cut_bytes: 3, bad_files: 1, ..Recovery::default() }),
            Finding::Log(Recovery { scanned: true, behind: true, ..Recovery::default() }),
            Finding::Unreadable,
            Finding::Stray { to: Path::new("x") },
            Finding::Named,
            Finding::Withheld,
        ] {
            sum.add(&found);
        }
        assert_eq!(sum.counts().map(|(_, n)| n), [2, 1, 1, 3, 0, 0, 3, 1, 1, 1, 1]);
        sum.merge(sum);
        assert_eq!(sum.counts().map(|(_, n)| n), [4, 2, 2, 6, 0, 0, 6, 2, 2, 2, 2]);
        let said = "4 logs, 2 scanned, 2 cut, 6 cut-bytes, 6 bad-files, 2 behind, 2 strays, 2 named, 2 withheld";
        assert!(sum.found_something() && sum.to_string() == said, "{sum}");
    }
}
