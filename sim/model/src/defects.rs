//! Wrong rules as switches, so that the judge can be shown to work: published Kafka bugs, and single mistakes of the kind
//! that a code review might miss. All are off unless asked for.
//!
//! Each switch is read in exactly one place, beside the correct rule it disables.

use crate::checks::Check;
use std::fmt;
use std::str::FromStr;

macro_rules! defects {
    ($($kind:ident {
        $($variant:ident = $id:literal, $reference:literal, [$($caught_by:ident),*], $era:ident, $wrong:literal;)*
    })*) => {
        /// One wrong rule.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Defect {
            $($(#[doc = $wrong] $variant,)*)*
        }

        impl Defect {
            /// Every defect that can be switched on.
            pub const ALL: &[Defect] = &[$($(Defect::$variant,)*)*];

            /// Its name on the command line.
            pub const fn id(self) -> &'static str {
                match self { $($(Defect::$variant => $id,)*)* }
            }
            /// What sort of wrong rule it is.
            pub const fn kind(self) -> Kind {
                match self { $($(Defect::$variant => Kind::$kind,)*)* }
            }
            /// Where it was published; of a mistake, its number in the list of mistakes.
            pub const fn reference(self) -> &'static str {
                match self { $($(Defect::$variant => $reference,)*)* }
            }
            /// The wrong rule, in a sentence.
            pub const fn wrong_rule(self) -> &'static str {
                match self { $($(Defect::$variant => $wrong,)*)* }
            }
            /// The checks that should fire.
            pub const fn caught_by(self) -> &'static [Check] {
                match self { $($(Defect::$variant => &[$(Check::$caught_by),*],)*)* }
            }
            /// The era of truncation in which it can be seen.
            pub const fn era(self) -> Era {
                match self { $($(Defect::$variant => Era::$era,)*)* }
            }
        }
    };
}

/// What sort of wrong rule a defect is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A bug that was published, of Kafka or a relative.
    Published,
    /// A line of these nodes, changed as a tired engineer might change it.
    Mistake,
}

/// In which era of follower truncation a defect can be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Era {
    /// In both.
    Any,
    /// Only while followers truncate by OffsetsForLeaderEpoch (before Kafka 2.7).
    OffsetForLeaderEpoch,
    /// Only while diverging epochs come in Fetch answers (since Kafka 2.7).
    Fetch,
}

defects! {
    Published {
        HwTruncateOnFollow = "hw-truncate-on-follow", "KIP-101", [LostWrite, TruncationJustified], OffsetForLeaderEpoch,
            "a new follower truncates to its own high watermark instead of asking for the epoch's end";
        EpochLookupSingleHop = "epoch-lookup-single-hop", "KIP-279, KAFKA-6361", [LogMatching], OffsetForLeaderEpoch,
            "the epoch in the end-offset answer is ignored; no second lookup";
        FetchUnfenced = "fetch-unfenced", "KIP-320, KAFKA-7395", [LostWrite], OffsetForLeaderEpoch,
            "a fetch with an old leader epoch still advances the high watermark";
        MissedEpochNoTruncate = "missed-epoch-no-truncate", "KAFKA-7164", [LogMatching], OffsetForLeaderEpoch,
            "same leader as before means no truncation, though an epoch in between was missed";
        IsrExpandBelowEpochStart = "isr-expand-below-epoch-start", "KIP-320", [IsrLegal, LeaderCompleteness], Any,
            "a follower joins the ISR at the local high watermark, below the leader epoch's start";
        HwIgnoresPendingIsr = "hw-ignores-pending-isr", "AlterPartition design", [AckJustified, LostWrite], Any,
            "the high watermark is computed over the old ISR while an expansion is pending";
        HwAdvanceUnderMinIsr = "hw-advance-under-min-isr", "KAFKA-15583", [HighWatermark, CommittedPrefix], Any,
            "the high watermark moves while the ISR is below min.insync.replicas";
        LastReplicaStanding = "last-replica-standing", "KIP-966", [LostWrite, LeaderCompleteness], Any,
            "the eligible-leader set is ignored: the last ISR member is re-elected after losing its tail";
        FastRestartStaysInIsr = "fast-restart-stays-in-isr", "Fluss 662", [LostWrite], Any,
            "registration inside the old session is accepted and ISR membership kept, page cache lost or not";
        CleanShutdownFlagLateDelete = "clean-shutdown-flag-late-delete", "KAFKA-10471", [ReplayEqualsLive, LostWrite], Any,
            "the clean-shutdown marker is removed after loading, not before";
        CleanerPastHw = "cleaner-past-hw", "KAFKA-13194", [CompactedValue, CompactionLegal], Any,
            "the compactor cleans beyond the high watermark";
        AppendAfterIoError = "append-after-io-error", "KAFKA-7866, KAFKA-10778", [InconsistentOffsets], Any,
            "appends continue after a failed one; offsets are reused";
        NoDedupWindow = "no-dedup-window", "Redpanda 3039", [Duplicate], Any,
            "a repeated batch is appended again instead of acknowledged from the five-batch window";
        RetryOvertaken = "retry-overtaken", "librdkafka 1092, KAFKA-3197", [NonmonotonicSend], Any,
            "a retry is queued behind younger batches";
        StickyStaleOwnership = "sticky-stale-ownership", "KAFKA-12984", [SingleOwner, Convergence], Any,
            "the sticky assignors believe ownership claims of an old generation";
        NewPartitionResetRace = "new-partition-reset-race", "KAFKA-17674", [IllegalResume], Any,
            "the answer to an offset lookup resets partitions that were assigned while it was under way";
        ResetOnTransientError = "reset-on-transient-error", "librdkafka 1.8.0", [IllegalResume], Any,
            "an offset lookup that times out or fails for the moment triggers auto.offset.reset";
        CommitAfterRevoke = "commit-after-revoke", "librdkafka 1.9.0", [CommitRegression], Any,
            "a stored offset outlives the revocation of its partition and is committed in a later assignment";
        FetchDuringRevokeCommit = "fetch-during-revoke-commit", "KAFKA-14196", [CleanHandover], Any,
            "records are delivered while the commit before a revocation is in flight";
        LoadKeepsFirstChunk = "load-keeps-first-chunk", "KAFKA-5600", [CommittedOffset], Any,
            "group state is installed per chunk of the log, and the first one wins";
        ServeBeforeReplay = "serve-before-replay", "Redpanda b54ff1dea7", [IllegalResume], Any,
            "a new coordinator answers before it has loaded its log";
        OffsetExpiryWrong = "offset-expiry-wrong", "KAFKA-4682, KIP-211", [IllegalResume], Any,
            "offsets of a live group expire by their age";
        StaticMemberNotPersisted = "static-member-not-persisted", "KAFKA-10284", [ReplayEqualsLive], Any,
            "a static member's new id lives only in memory";
        Kip848PartitionEpochLost = "kip848-partition-epoch-lost", "KAFKA-16147", [SingleOwner], Any,
            "what a member has given up loses its epoch, even if the member was given it again at once";
        NoBrokersForgetsAddresses = "no-brokers-forgets-addresses", "librdkafka 5301", [ClientRecovers], Any,
            "a client that is answered with no brokers forgets every address, those of bootstrap.servers too";
    }
    Mistake {
        IsrCommitKeepsHighWatermark = "isr-commit-keeps-high-watermark", "m1", [Convergence, SendResolves], Any,
            "a committed ISR does not move the high watermark, though it may be all that held it";
        IsrExpandBelowHighWatermark = "isr-expand-below-high-watermark", "m3", [IsrLegal, LeaderCompleteness], Any,
            "a follower joins the ISR at the epoch's start, below the high watermark";
        RefusedIsrStaysPending = "refused-isr-stays-pending", "m5", [Convergence], Any,
            "an ISR that the controller refused stays pending, so that the ISR never changes again";
        FollowBeforeAppendsSettle = "follow-before-appends-settle", "m7", [Convergence], Any,
            "a new follower does not wait for its appends in flight, and asks for what it is about to have";
        DivergenceMissesOneRecord = "divergence-misses-one-record", "m9", [LogMatching, TruncationJustified], Fetch,
            "a follower's log that is one record too long is taken for the leader's";
        MinIsrCountsMaximalIsr = "min-isr-counts-maximal-isr", "m11", [HighWatermark], Any,
            "the minimum is compared with the ISR that is asked for, not with the committed one";
        LatestIsLogEnd = "latest-is-log-end", "m13", [ListOffsetsRegression], Any,
            "a consumer that asks for the latest offset gets the log end, not the high watermark";
        UnknownEpochEndsFetching = "unknown-epoch-ends-fetching", "m15", [Convergence], Any,
            "a follower that knows an epoch before its leader stops fetching, as if it were fenced";
        TruncationKeepsRecoveryPoint = "truncation-keeps-recovery-point", "m17", [DiskAudit, BatchIntegrity], Any,
            "a truncation leaves the recovery point above the log's end, so that what follows is not verified after a power loss";
        LoadSkipsBatchAtSnapshot = "load-skips-batch-at-snapshot", "m19", [ReplayEqualsLive, SequenceContiguous, Duplicate], Any,
            "the first batch behind a producer snapshot is not replayed when a log is loaded";
        CleanMarkerBeforeFlushes = "clean-marker-before-flushes", "m21", [LostWrite, DiskAudit], Any,
            "the clean-shutdown marker is written while logs are still being flushed";
        RetentionBelowBytes = "retention-below-bytes", "m23", [DeletionLegal], Any,
            "a segment is deleted though less than retention.bytes is left without it";
        TombstonesWithoutHorizon = "tombstones-without-horizon", "m25", [CompactionLegal, ReadModel], Any,
            "a tombstone that is old goes in the first compaction, not delete.retention.ms after it";
        SwapNotSynced = "swap-not-synced", "m27", [LostWrite, CompactionLegal], Any,
            "old segments are deleted before the rename of their compacted copy is flushed";
        WindowSurvivesEpochBump = "window-survives-epoch-bump", "m29", [InconsistentOffsets, RealtimeOrder], Any,
            "the five-batch window outlives the producer epoch, and takes new batches for old ones";
        NoElectionOnReturn = "no-election-on-return", "m31", [Convergence], Any,
            "partitions without a leader are not looked at when a broker returns";
        ControllerAnswersEarly = "controller-answers-early", "m33", [IsrLegal, TraceContradicted], Any,
            "the controller answers before the records that the answer rests on are committed";
        SessionsStartFenced = "sessions-start-fenced", "m35", [Convergence], Any,
            "a new active controller holds every broker to be fenced, and never fences the dead ones";
        ElrLeaderNotInIsr = "elr-leader-not-in-isr", "m37", [IsrLegal], Any,
            "a leader elected from the eligible leader replicas is not put into the ISR";
        CommitGenerationUnchecked = "commit-generation-unchecked", "m39", [Fencing], Any,
            "the generation of an offset commit is not compared with the group's";
        CoordinatorAnswersEarly = "coordinator-answers-early", "m41", [Fencing, Convergence], Any,
            "a group's answer does not wait for the records that it rests on";
        SessionsNotRearmed = "sessions-not-rearmed", "m43", [LivenessVerdicts], Any,
            "members' sessions are not started again when a rebalance completes";
        RemovedMemberKeepsPartitions = "removed-member-keeps-partitions", "m45", [Convergence], Any,
            "the partitions of a removed KIP-848 member are never free again";
        GroupsMissNewPartitions = "groups-miss-new-partitions", "m47", [Convergence], Any,
            "a KIP-848 group does not notice new partitions until a member comes or goes";
        LateFetchAnswerTaken = "late-fetch-answer-taken", "m49", [NonmonotonicPoll, PollSkip], Any,
            "a consumer takes a fetch answer for another position than its present one";
        CommittedZeroIsNone = "committed-zero-is-none", "m51", [IllegalResume], Any,
            "a committed offset of 0 is taken for none";
        RangeDividesByAllMembers = "range-divides-by-all-members", "m53", [Convergence], Any,
            "the range assignor divides a topic by all members, not by its subscribers";
        PollIntervalNotEnforced = "poll-interval-not-enforced", "m55", [LivenessVerdicts], Any,
            "a member that stays away from poll for longer than max.poll.interval.ms keeps its partitions";
        PartitionStaysMuted = "partition-stays-muted", "m57", [SendResolves, Convergence], Any,
            "with one request in flight, a partition whose batch failed is sent nothing any more";
        KeyHashedOverLed = "key-hashed-over-led", "m59", [KeyAffinity], Any,
            "a key is hashed over the partitions that have a leader, not over all";
    }
}

/// Words of 64 switches in a set.
const WORDS: usize = 4;
const _: () = assert!(Defect::ALL.len() <= WORDS * 64, "a set of defects is too small");

/// The set of defects switched on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Defects([u64; WORDS]);

impl Defects {
    /// Correct code.
    pub const NONE: Defects = Defects([0; WORDS]);

    /// This set and one more.
    #[must_use]
    pub const fn with(mut self, defect: Defect) -> Defects {
        self.0[defect as usize / 64] |= 1 << (defect as usize % 64);
        self
    }
    /// Whether a defect is switched on.
    #[inline]
    pub const fn on(self, defect: Defect) -> bool {
        self.0[defect as usize / 64] & 1 << (defect as usize % 64) != 0
    }
    /// Whether all code is correct.
    pub fn is_empty(self) -> bool {
        self == Defects::NONE
    }
    /// Those switched on.
    pub fn iter(self) -> impl Iterator<Item = Defect> {
        Defect::ALL.iter().copied().filter(move |d| self.on(*d))
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// No defect has that name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no defect is called `{0}`")]
pub struct UnknownDefect(pub String);

impl FromStr for Defect {
    type Err = UnknownDefect;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Defect::ALL.iter().copied().find(|d| d.id() == s).ok_or_else(|| UnknownDefect(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        let mut set = Defects::NONE;
        for (n, &defect) in Defect::ALL.iter().enumerate() {
            assert!(!set.on(defect));
            set = set.with(defect);
            assert!(set.iter().eq(Defect::ALL[..=n].iter().copied()));
        }
    }

    #[test]
    fn ids_are_unique_and_understood() {
        for &defect in Defect::ALL {
            assert_eq!(defect.id().parse(), Ok(defect));
        }
    }

    /// Adds what the files below hold, without tests and without this file.
    fn gather(at: &Path, code: &mut String) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "tests" {
                gather(&path, code);
            } else if name.ends_with(".rs") && !["tests.rs", "defects.rs"].contains(&name) {
                let text = std::fs::read_to_string(&path).unwrap();
                code.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
            }
        }
    }

    #[test]
    fn each_switch_is_read_in_one_place() {
        let mut code = String::new();
        gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
        for defect in Defect::ALL {
            let read = format!("on(Defect::{defect:?})");
            assert_eq!(code.matches(&read).count(), 1, "{defect}");
        }
    }
}
