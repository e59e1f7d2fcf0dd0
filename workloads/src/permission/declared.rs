//! What was declared to have happened to a cluster: plain data, with times in nanoseconds of the history.
//!
//! Every line names its partition. Events that touched many partitions are as many lines: a finding is excused by what
//! happened to *its* partition, never by what happened next door.

use super::Facts;
use crate::planted::planted;
use klamm_model::history::TopicPartition;
use klamm_model::ids::{LeaderEpoch, Offset, ProducerId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What happened, and for recorded histories what was configured.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Declared {
    /// The history comes from a real cluster, where nobody knows what happened: its configuration counts instead.
    pub recorded: bool,
    /// What that configuration was. Read only if `recorded`.
    pub configured: Configured,
    /// `transaction.version`, if transactions were used. No check judges transactions yet.
    pub transaction_version: Option<u16>,
    /// Leader changes.
    pub leader_changes: Vec<LeaderChange>,
    /// Unclean and last-known-leader elections.
    pub uncleans: Vec<Unclean>,
    /// Losses of unsynced or whole data.
    pub losses: Vec<Loss>,
    /// Ranges damaged on disk.
    pub damages: Vec<Damage>,
    /// Deletions by retention or request.
    pub log_starts: Vec<LogStart>,
    /// Compactions.
    pub compactions: Vec<Compacted>,
    /// Producer state that expired.
    pub expiries: Vec<Expired>,
    /// Committed offsets of groups that are no longer what their members committed.
    pub offsets_altered: Vec<OffsetsAltered>,
    /// Topics that got more partitions.
    pub partition_changes: Vec<PartitionChange>,
}

/// What a recorded history's cluster was configured to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Configured {
    /// `unclean.leader.election.enable`.
    pub unclean_election: bool,
    /// `cleanup.policy` contains `compact`.
    pub compaction: bool,
    /// `cleanup.policy` contains `delete` with a limit that the run could reach, or records were deleted by request.
    pub deletion: bool,
}

/// A partition got a new leader epoch with another leader, or the same one after it was gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaderChange {
    /// When.
    pub at: u64,
    /// Which partition.
    pub source: TopicPartition,
    /// The new epoch.
    pub epoch: LeaderEpoch,
    /// When the last older leader ceased to accept records, if known: until then sends may go astray.
    #[serde(default)]
    pub deposed_by: Option<u64>,
}

/// A leader was elected that need not have everything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unclean {
    /// When.
    pub at: u64,
    /// Which partition.
    pub source: TopicPartition,
    /// The new leader's log end, if known: what is cut lies at or above it.
    #[serde(default)]
    pub from: Option<Offset>,
}

/// A replica lost data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// When.
    pub at: u64,
    /// Which partition.
    pub source: TopicPartition,
    /// The first offset lost, if known.
    #[serde(default)]
    pub from: Option<Offset>,
    /// Whether it was more than replication promises to survive: with eligible leader replicas at least
    /// min.insync.replicas holders of the records lost them, without them the last in-sync replica did.
    pub beyond_budget: bool,
}

/// A replica's data went bad in place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damage {
    /// When.
    pub at: u64,
    /// Which partition.
    pub source: TopicPartition,
    /// The first offset of the damaged batches.
    pub from: Offset,
    /// The end of the damaged batches, exclusive.
    pub to: Offset,
    /// As for [`Loss`]: no undamaged copy was in sync.
    pub beyond_budget: bool,
}

impl Damage {
    /// Whether an offset is in the range; an unknown one may be.
    pub fn covers(&self, offset: Option<Offset>) -> bool {
        offset.is_none_or(|o| self.from <= o && o < self.to)
    }
}

/// The log start moved up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogStart {
    /// When.
    pub at: u64,
    /// Which partition.
    pub source: TopicPartition,
    /// The new log start.
    pub offset: Offset,
}

/// A partition was compacted: records went that a later one of their key supersedes, or tombstones that were due.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compacted {
    /// When.
    pub at: u64,
    /// Which partition.
    pub source: TopicPartition,
    /// The offsets that went and may be missing from then on, ascending.
    pub removed: Vec<Offset>,
}

impl Compacted {
    /// Whether an offset is among them; an unknown one may be.
    pub fn covers(&self, offset: Option<Offset>) -> bool {
        offset.is_none_or(|o| self.removed.binary_search(&o).is_ok())
    }
}

/// A partition forgot a producer (`producer.id.expiration.ms`, judged by record timestamps), or its leader took a batch of a
/// producer that it knew nothing of, and that was not the producer's first: what is under way of earlier batches is overtaken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expired {
    /// When.
    pub at: u64,
    /// Which partition.
    pub source: TopicPartition,
    /// Which producer; none: any.
    #[serde(default)]
    pub producer_id: Option<ProducerId>,
}

impl Expired {
    /// Whether it is about the producer of a send, of which the id is known or not.
    pub fn is_of(&self, producer: Option<ProducerId>) -> bool {
        self.producer_id.is_none_or(|own| producer.is_none_or(|id| id == own))
    }
}

/// A group's committed offsets expired in order, were deleted or set by somebody else, or went with what the offsets
/// topic lost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetsAltered {
    /// When.
    pub at: u64,
    /// `group.id`.
    pub group: Arc<str>,
    /// Of which partition; none: of all that the group had committed.
    #[serde(default)]
    pub source: Option<TopicPartition>,
}

/// A topic got more partitions: producers learn of it one by one, and keys may go elsewhere from then on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionChange {
    /// When, at the earliest.
    pub at: u64,
    /// Which topic.
    pub topic: Arc<str>,
    /// How many partitions it has since.
    pub count: i32,
}

macro_rules! before {
    ($(#[$doc:meta])* $name:ident: $item:ty) => {
        $(#[$doc])*
        pub(super) fn $name<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a $item> {
            self.$name.iter().filter(|e| (e.at <= facts.at || planted(22)) && (e.source == facts.source || planted(23)))
        }
    };
}

/// What happened to the partition of a finding by the time of the finding.
impl Declared {
    before!(leader_changes: LeaderChange);
    before!(uncleans: Unclean);
    before!(losses: Loss);
    before!(damages: Damage);
    before!(log_starts: LogStart);
    before!(compactions: Compacted);
    before!(expiries: Expired);

    /// Whether the partitions of the topic of a finding had become more by the time of the finding.
    pub(crate) fn has_grown(&self, facts: &Facts) -> bool {
        self.partition_changes.iter().any(|change| change.at <= facts.at && change.topic == facts.source.topic)
    }

    /// What was done to the committed offsets of the group of a finding, in its partition, by the time of the finding.
    pub fn offsets_altered<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a OffsetsAltered> {
        let own = |e: &&OffsetsAltered| {
            e.at <= facts.at
                && facts.group.as_ref() == Some(&e.group)
                && e.source.as_ref().is_none_or(|source| *source == facts.source)
        };
        self.offsets_altered.iter().filter(own)
    }
}
