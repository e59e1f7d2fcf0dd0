//! Published Kafka bugs as switches, so that the judge can be shown to work. All are off unless asked for.
//!
//! Each switch is read in exactly one place, beside the correct rule it disables.

use std::fmt;
use std::str::FromStr;

macro_rules! defects {
    ($($variant:ident = $id:literal, $reference:literal, $caught_by:literal, $era:ident, $wrong:literal;)*) => {
        /// One published bug.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Defect {
            $(#[doc = $wrong] $variant,)*
        }

        impl Defect {
            /// Every defect that can be switched on.
            pub const ALL: &[Defect] = &[$(Defect::$variant),*];

            /// Its name on the command line.
            pub const fn id(self) -> &'static str {
                match self { $(Defect::$variant => $id),* }
            }
            /// Where it was published.
            pub const fn reference(self) -> &'static str {
                match self { $(Defect::$variant => $reference),* }
            }
            /// The wrong rule, in a sentence.
            pub const fn wrong_rule(self) -> &'static str {
                match self { $(Defect::$variant => $wrong),* }
            }
            /// The checks that should fire, by name, separated by commas.
            pub const fn caught_by(self) -> &'static str {
                match self { $(Defect::$variant => $caught_by),* }
            }
            /// The era of truncation in which it can be seen.
            pub const fn era(self) -> Era {
                match self { $(Defect::$variant => Era::$era),* }
            }
        }
    };
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
    HwTruncateOnFollow = "hw-truncate-on-follow", "KIP-101", "lost-write, truncation-justified", OffsetForLeaderEpoch,
        "a new follower truncates to its own high watermark instead of asking for the epoch's end";
    EpochLookupSingleHop = "epoch-lookup-single-hop", "KIP-279, KAFKA-6361", "log-matching", OffsetForLeaderEpoch,
        "the epoch in the end-offset answer is ignored; no second lookup";
    FetchUnfenced = "fetch-unfenced", "KIP-320, KAFKA-7395", "lost-write", OffsetForLeaderEpoch,
        "a fetch with an old leader epoch still advances the high watermark";
    MissedEpochNoTruncate = "missed-epoch-no-truncate", "KAFKA-7164", "log-matching", OffsetForLeaderEpoch,
        "same leader as before means no truncation, though an epoch in between was missed";
    IsrExpandBelowEpochStart = "isr-expand-below-epoch-start", "KIP-320", "isr-legal, leader-completeness", Any,
        "a follower joins the ISR at the local high watermark, below the leader epoch's start";
    HwIgnoresPendingIsr = "hw-ignores-pending-isr", "AlterPartition design", "ack-justified, lost-write", Any,
        "the high watermark is computed over the old ISR while an expansion is pending";
    HwAdvanceUnderMinIsr = "hw-advance-under-min-isr", "KAFKA-15583", "high-watermark, committed-prefix", Any,
        "the high watermark moves while the ISR is below min.insync.replicas";
    LastReplicaStanding = "last-replica-standing", "KIP-966", "lost-write, leader-completeness", Any,
        "the eligible-leader set is ignored: the last ISR member is re-elected after losing its tail";
    FastRestartStaysInIsr = "fast-restart-stays-in-isr", "Fluss 662", "lost-write", Any,
        "registration inside the old session is accepted and ISR membership kept, page cache lost or not";
    CleanShutdownFlagLateDelete = "clean-shutdown-flag-late-delete", "KAFKA-10471", "replay-equals-live, lost-write", Any,
        "the clean-shutdown marker is removed after loading, not before";
    CleanerPastHw = "cleaner-past-hw", "KAFKA-13194", "compacted-value, compaction-legal", Any,
        "the compactor cleans beyond the high watermark";
    AppendAfterIoError = "append-after-io-error", "KAFKA-7866, KAFKA-10778", "inconsistent-offsets", Any,
        "appends continue after a failed one; offsets are reused";
    NoDedupWindow = "no-dedup-window", "Redpanda 3039", "duplicate", Any,
        "a repeated batch is appended again instead of acknowledged from the five-batch window";
    RetryOvertaken = "retry-overtaken", "librdkafka 1092, KAFKA-3197", "nonmonotonic-send", Any,
        "a retry is queued behind younger batches";
    StickyStaleOwnership = "sticky-stale-ownership", "KAFKA-12984", "single-owner, convergence", Any,
        "the sticky assignors believe ownership claims of an old generation";
    NewPartitionResetRace = "new-partition-reset-race", "KAFKA-17674", "illegal-resume", Any,
        "the answer to an offset lookup resets partitions that were assigned while it was under way";
    ResetOnTransientError = "reset-on-transient-error", "librdkafka 1.8.0", "illegal-resume", Any,
        "an offset lookup that times out or fails for the moment triggers auto.offset.reset";
    CommitAfterRevoke = "commit-after-revoke", "librdkafka 1.9.0", "commit-regression", Any,
        "a stored offset outlives the revocation of its partition and is committed in a later assignment";
    FetchDuringRevokeCommit = "fetch-during-revoke-commit", "KAFKA-14196", "clean-handover", Any,
        "records are delivered while the commit before a revocation is in flight";
    LoadKeepsFirstChunk = "load-keeps-first-chunk", "KAFKA-5600", "committed-offset", Any,
        "group state is installed per chunk of the log, and the first one wins";
    ServeBeforeReplay = "serve-before-replay", "Redpanda b54ff1dea7", "illegal-resume", Any,
        "a new coordinator answers before it has loaded its log";
    OffsetExpiryWrong = "offset-expiry-wrong", "KAFKA-4682, KIP-211", "illegal-resume", Any,
        "offsets of a live group expire by their age";
    StaticMemberNotPersisted = "static-member-not-persisted", "KAFKA-10284", "replay-equals-live", Any,
        "a static member's new id lives only in memory";
    Kip848PartitionEpochLost = "kip848-partition-epoch-lost", "KAFKA-16147", "single-owner", Any,
        "what a member has given up loses its epoch, even if the member was given it again at once";
}

/// The set of defects switched on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Defects(u64);

impl Defects {
    /// Correct code.
    pub const NONE: Defects = Defects(0);

    /// This set and one more.
    #[must_use]
    pub const fn with(self, defect: Defect) -> Defects {
        Defects(self.0 | 1 << defect as u64)
    }
    /// Whether a defect is switched on.
    pub const fn on(self, defect: Defect) -> bool {
        self.0 & 1 << defect as u64 != 0
    }
    /// Whether all code is correct.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
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
