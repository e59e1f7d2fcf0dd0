//! Every check by name, in one table: what a violation of it is, where the rule comes from, and what it counts.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

macro_rules! checks {
    ($($kind:ident {
        $($variant:ident = $name:literal, $violation:literal, $source:literal, $counts:literal;)*
    })*) => {
        /// One check.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Check {
            $($(#[doc = $violation] $variant,)*)*
        }

        impl Check {
            /// Every check: first what clients can see, then what only the world can.
            pub const ALL: &[Check] = &[$($(Check::$variant,)*)*];

            /// Its name in files and reports, kebab-case.
            pub const fn name(self) -> &'static str {
                match self { $($(Check::$variant => $name,)*)* }
            }
            /// Who makes it.
            pub const fn kind(self) -> CheckKind {
                match self { $($(Check::$variant => CheckKind::$kind,)*)* }
            }
            /// What a violation of it is.
            pub const fn violation(self) -> &'static str {
                match self { $($(Check::$variant => $violation,)*)* }
            }
            /// Where the rule comes from: a KIP, a class of Kafka's, a paper.
            pub const fn source(self) -> &'static str {
                match self { $($(Check::$variant => $source,)*)* }
            }
            /// What it counts each time that it can judge. One that counts nothing says nothing by its silence.
            pub const fn counts(self) -> &'static str {
                match self { $($(Check::$variant => $counts,)*)* }
            }
        }
    };
}

/// Who makes a check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CheckKind {
    /// Oracles, by nothing but what clients did and saw.
    Oracle,
    /// Invariants, by messages, disk operations and what nodes say of themselves.
    Invariant,
    /// The world, by how a seed ends.
    World,
}

checks! {
    Oracle {
        LostWrite = "lost-write",
            "an acknowledged record is missing although later ones of its partition were read",
            "Jepsen's Kafka workload",
            "Acknowledged sends that a reader came past, or the final read could have met.";
        Unseen = "unseen",
            "an acknowledged record was never read by the final full read",
            "Jepsen's Kafka workload",
            "Acknowledged sends that the final read could have met.";
        FailedWriteVisible = "failed-write-visible",
            "a send that definitely failed is read",
            "G1a of Adya's thesis, as Elle and Jepsen have it",
            "Failed sends.";
        SendResolves = "send-resolves",
            "a send has no outcome after delivery.timeout.ms and max.block.ms",
            "KIP-91",
            "Resolved sends of producers that promise a time.";
        KeyAffinity = "key-affinity",
            "one key went to two partitions, though their number did not change",
            "BuiltInPartitioner; DefaultPartitioner before KIP-794",
            "Sends under a key whose partition was known.";
        Duplicate = "duplicate",
            "one record stands at two offsets",
            "KIP-98; Jepsen's Kafka workload",
            "Records read whose send is known.";
        InconsistentOffsets = "inconsistent-offsets",
            "two records stand at one offset",
            "Jepsen's Kafka workload",
            "Reads and acknowledgements of offsets of which something was known.";
        UnknownRead = "unknown-read",
            "a record that was never sent, or elsewhere than it was sent to or acknowledged",
            "Jepsen's Kafka workload",
            "Records read.";
        NonmonotonicSend = "nonmonotonic-send",
            "a producer's later send lies at a lower offset; the earlier had ended before it began",
            "KIP-98; Jepsen's Kafka workload",
            "Sends that follow another of their producer and partition, which had ended.";
        IntNonmonotonicSend = "int-nonmonotonic-send",
            "the same of two sends that were under way together",
            "KIP-98; Jepsen's Kafka workload",
            "Sends that follow another of their producer and partition, under way together.";
        PollSkip = "poll-skip",
            "between two polls a consumer jumped over a record that another reader got",
            "Jepsen's Kafka workload",
            "Records that followed a position, or a record of an earlier poll.";
        IntPollSkip = "int-poll-skip",
            "the same within one poll",
            "Jepsen's Kafka workload",
            "Records that followed another one of their poll.";
        NonmonotonicPoll = "nonmonotonic-poll",
            "between two polls a consumer went back, though nothing moved its position",
            "Jepsen's Kafka workload",
            "Records that followed a position, or a record of an earlier poll.";
        IntNonmonotonicPoll = "int-nonmonotonic-poll",
            "the same within one poll",
            "Jepsen's Kafka workload",
            "Records that followed another one of their poll.";
        RealtimeOrder = "realtime-order",
            "an acknowledged send lies below an offset that was acknowledged before it began",
            "linearizability: Herlihy and Wing, 1990",
            "Acknowledged sends that began when something was acknowledged already.";
        NextOffsetDivergence = "next-offset-divergence",
            "two readers saw different records follow upon one offset",
            "one log, one order: UnifiedLog",
            "Records that followed one whose successor was known.";
        ReadEpochRegression = "read-epoch-regression",
            "along a partition the leader epochs of the records read fall",
            "KIP-101, KIP-320",
            "Records read under a leader epoch, of offsets with another above or below.";
        ListOffsetsRegression = "list-offsets-regression",
            "a later question for the latest offset got a lower answer at no lower epoch",
            "KIP-207",
            "Answers to a question that was asked after an earlier one had been answered.";
        IllegalResume = "illegal-resume",
            "a group member began elsewhere than at a commit, a reset or a truncation",
            "ConsumerCoordinator; KIP-320",
            "First records after an assignment.";
        SkippedRecord = "skipped-record",
            "in the end a record below a group's committed offset was finished by no member",
            "at least once: KafkaConsumer",
            "Records below a group's committed offset at the end.";
        CommitTooFar = "commit-too-far",
            "a commit covers a record that was delivered to no member",
            "at least once: KafkaConsumer",
            "Commits of partitions of which it is known where the group began.";
        CommitRegression = "commit-regression",
            "a member's auto-commits went back within one assignment",
            "ConsumerCoordinator's auto-commit",
            "Commits that a client made by itself.";
        CleanHandover = "clean-handover",
            "a clean handover delivered a record again that its commit covered",
            "KIP-429, KIP-848",
            "Records of partitions that had been handed over in order.";
        DoubleEffect = "double-effect",
            "a record had its effect outside Kafka twice",
            "at least once: KafkaConsumer",
            "External effects.";
        CompactedValue = "compacted-value",
            "in the end a compacted topic lacks the last acknowledged value of a key",
            "LogCleaner",
            "Keys of compacted topics at the end.";
        ReadModel = "read-model",
            "in the end an instance of a read model holds another value than its topic",
            "LogCleaner",
            "Keys that an instance of a read model holds at the end.";
        HalfDone = "half-done",
            "a service committed a record of which not everything followed",
            "at least once: KafkaConsumer",
            "Committed records of services.";
        OutOfStep = "out-of-step",
            "what follows from two records of one key stands in the wrong order",
            "one key, one order: KafkaProducer",
            "Records that follow from records of one key.";
    }
    Invariant {
        AckJustified = "ack-justified",
            "an acknowledgement rests on less than the replicas must hold",
            "Partition.checkEnoughReplicasReachOffset; KIP-966",
            "Acknowledgements of batches, acks=0 left out.";
        AssignmentLegal = "assignment-legal",
            "a group's partitions were shared out against its protocol",
            "AbstractStickyAssignor, KIP-429, KIP-848",
            "Generations and targets of groups that were committed.";
        BatchIntegrity = "batch-integrity",
            "the bytes of a batch are not those that its producer made",
            "KIP-98, message format 2",
            "Batches that a replica appends.";
        CommittedOffset = "committed-offset",
            "an acknowledged commit is not in the log, or an answer is not what was committed",
            "OffsetMetadataManager",
            "Commits acknowledged, offsets answered, offsets expired.";
        CommittedPrefix = "committed-prefix",
            "what was committed changed, or a leader's high watermark passed what is not",
            "State Machine Safety: Raft, Ongaro and Ousterhout, 2014",
            "Advances of a leader's high watermark.";
        CompactionLegal = "compaction-legal",
            "compaction removed a record that nothing supersedes",
            "LogCleaner, Cleaner.shouldRetainRecord",
            "Compacted copies that count.";
        DeletionLegal = "deletion-legal",
            "a log's start moved over what retention keeps",
            "UnifiedLog.deleteOldSegments",
            "Moves of a log's start.";
        DiskAudit = "disk-audit",
            "a replica's files are not what its log should be",
            "FileRecords, LogSegment.recover",
            "Replicas whose files were read again.";
        Fencing = "fencing",
            "something of an epoch that is over was accepted",
            "KIP-101, KIP-320, KIP-631, KIP-848",
            "Requests and batches that a leader or coordinator accepted.";
        HighWatermark = "high-watermark",
            "a high watermark went back, or beyond what it may say",
            "KIP-101, KIP-279",
            "Changes of a replica's high watermark.";
        IsrLegal = "isr-legal",
            "a replica counted as in sync that may not",
            "KIP-497, KIP-841, KIP-903, KIP-966",
            "States of partitions that were committed, and ISRs that leaders worked with.";
        LeaderCompleteness = "leader-completeness",
            "a new leader lacks a committed record",
            "Leader Completeness: Raft, 2014",
            "Leaders that took office.";
        LivenessVerdicts = "liveness-verdicts",
            "a living member was expelled, or a dead one kept",
            "KIP-62, KIP-345, KIP-848",
            "Members expelled, and members alive at the end of a phase.";
        LogMatching = "log-matching",
            "one offset and epoch name two batches",
            "Log Matching: Raft, 2014",
            "Batches held by one more replica.";
        MetadataPrefix = "metadata-prefix",
            "a node's metadata is no prefix of the controller's",
            "KIP-500, KIP-631",
            "Metadata records committed, and images that reached one.";
        NeedlessMove = "needless-move",
            "a sticky assignment moved a partition without need",
            "KIP-54, KIP-429",
            "Sticky generations that follow upon another.";
        NeedlessRebalance = "needless-rebalance",
            "a settled group rebalanced without a reason",
            "KIP-345",
            "Rebalances of groups that were stable.";
        NeedlessRevocation = "needless-revocation",
            "a cooperative member gave up a partition that it keeps",
            "KIP-429",
            "Partitions given up by members that keep what they can.";
        NoSpuriousReset = "no-spurious-reset",
            "an offset that the log has was answered as out of range",
            "KIP-320",
            "Fetches answered as out of range.";
        QuorumSafety = "quorum-safety",
            "two metadata records were committed at one offset",
            "KIP-595",
            "Metadata records committed.";
        ReplayEqualsLive = "replay-equals-live",
            "what a node holds is not what its own log adds up to",
            "GroupCoordinatorShard, MetadataImage: decide, then replay",
            "Logs loaded, replicas and images audited, generations told.";
        SequenceContiguous = "sequence-contiguous",
            "a producer's batches do not follow one another in a log",
            "KIP-98, ProducerAppendInfo",
            "Batches of known producers that a leader appends.";
        SingleLeader = "single-leader-per-epoch",
            "two leaders in one epoch",
            "Election Safety: Raft, 2014; KIP-595",
            "Leaders that took office, controllers included.";
        SingleOwner = "single-owner",
            "two members own one partition",
            "KIP-429, KIP-848",
            "Partitions that came to a member, by a committed record or by its own word.";
        TraceContradicted = "trace-contradicted",
            "a node says of itself what its messages or its disk contradict",
            "messages and disk are the evidence",
            "Words of a node that messages or disk can contradict.";
        TruncationJustified = "truncation-justified",
            "a log was cut where no leader asked for it",
            "KIP-101, KIP-279, KIP-595",
            "Truncations of what a log held.";
        UniqueIds = "unique-ids",
            "one id was given out twice",
            "KIP-730",
            "Ids given to producers, brokers and members.";
    }
    World {
        ClientRecovers = "client-recovers",
            "the faults are over, and a client that lived through them does not work",
            "librdkafka 5301",
            "Clients of the load that run when the faults are over.";
        Convergence = "convergence",
            "some time after the faults ended, something still had not settled",
            "liveness after safety, as TigerBeetle's VOPR has it",
            "Nodes and partitions waited for after the faults.";
        Crash = "crash",
            "a node panicked",
            "no input ends a process",
            "Seeds.";
        Runaway = "runaway",
            "a seed had far more events than its load explains",
            "a seed of virtual time ends",
            "Seeds.";
        ShellContract = "shell-contract",
            "a message was lost, doubled, changed or reordered between two living shells",
            "TCP: RFC 9293",
            "Messages that passed between two shells.";
    }
}

impl Check {
    /// Of a check of what happens within one poll, or of sends that are under way together: the check of the same between polls,
    /// or of sends one after the other. Any other is its own.
    pub const fn base(self) -> Check {
        match self {
            Check::IntNonmonotonicSend => Check::NonmonotonicSend,
            Check::IntPollSkip => Check::PollSkip,
            Check::IntNonmonotonicPoll => Check::NonmonotonicPoll,
            other => other,
        }
    }

    /// The checks of one kind.
    pub fn of_kind(kind: CheckKind) -> impl Iterator<Item = Check> {
        Check::ALL.iter().copied().filter(move |check| check.kind() == kind)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// By name, as reports list them.
impl Ord for Check {
    fn cmp(&self, other: &Check) -> Ordering {
        self.name().cmp(other.name())
    }
}

impl PartialOrd for Check {
    fn partial_cmp(&self, other: &Check) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// There is no check of this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no check `{0}`")]
pub struct UnknownCheck(pub String);

impl FromStr for Check {
    type Err = UnknownCheck;

    fn from_str(name: &str) -> Result<Check, UnknownCheck> {
        Check::ALL.iter().find(|check| check.name() == name).copied().ok_or_else(|| UnknownCheck(name.to_owned()))
    }
}

impl serde::Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Check {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Check, D::Error> {
        let name = <std::borrow::Cow<'_, str>>::deserialize(from)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_name_is_one_checks() {
        let names: BTreeSet<&str> = Check::ALL.iter().map(|check| check.name()).collect();
        assert_eq!(names.len(), Check::ALL.len());
        for check in Check::ALL {
            assert_eq!(check.name().parse(), Ok(*check));
            assert_eq!(Check::ALL[*check as usize], *check, "their order is their number");
            assert!([check.violation(), check.source(), check.counts()].iter().all(|text| text.len() > 5), "{check}");
        }
        assert_eq!("lost-wriet".parse::<Check>(), Err(UnknownCheck("lost-wriet".to_owned())));
    }
}
