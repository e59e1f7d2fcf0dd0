//! How often each check could have judged: a check that was armed in no event of a run says nothing by its silence.

/// Declares the checks once: their names, and a number for each.
macro_rules! checks {
    ($($check:ident = $name:literal: $counts:literal,)*) => {
        /// A check of this module.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Check {
            $(#[doc = $counts] $check,)*
        }

        /// Every check that the white-box judge and the world make, by name.
        pub const CHECKS: &[&str] = &[$($name,)*];
    };
}

checks! {
    AckJustified = "ack-justified": "Acknowledgements of batches, acks=0 left out.",
    AssignmentLegal = "assignment-legal": "Generations and targets of groups that were committed.",
    BatchIntegrity = "batch-integrity": "Batches that a replica appends.",
    ClientRecovers = "client-recovers": "Clients of the load that run when the faults are over.",
    CommittedOffset = "committed-offset": "Commits acknowledged, offsets answered, offsets expired.",
    CommittedPrefix = "committed-prefix": "Advances of a leader's high watermark.",
    CompactionLegal = "compaction-legal": "Compacted copies that count.",
    Convergence = "convergence": "Nodes and partitions waited for after the faults.",
    Crash = "crash": "Seeds.",
    DeletionLegal = "deletion-legal": "Moves of a log's start.",
    DiskAudit = "disk-audit": "Replicas whose files were read again.",
    Fencing = "fencing": "Requests and batches that a leader or coordinator accepted.",
    HighWatermark = "high-watermark": "Changes of a replica's high watermark.",
    IsrLegal = "isr-legal": "States of partitions that were committed, and ISRs that leaders worked with.",
    LeaderCompleteness = "leader-completeness": "Leaders that took office.",
    LivenessVerdicts = "liveness-verdicts": "Members expelled, and members alive at the end of a phase.",
    LogMatching = "log-matching": "Batches held by one more replica.",
    MetadataPrefix = "metadata-prefix": "Metadata records committed, and images that reached one.",
    NeedlessMove = "needless-move": "Sticky generations that follow upon another.",
    NeedlessRebalance = "needless-rebalance": "Rebalances of groups that were stable.",
    NeedlessRevocation = "needless-revocation": "Partitions given up by members that keep what they can.",
    NoSpuriousReset = "no-spurious-reset": "Fetches answered as out of range.",
    QuorumSafety = "quorum-safety": "Metadata records committed.",
    ReplayEqualsLive = "replay-equals-live": "Logs loaded, replicas and images audited, generations told.",
    Runaway = "runaway": "Seeds.",
    SequenceContiguous = "sequence-contiguous": "Batches of known producers that a leader appends.",
    ShellContract = "shell-contract": "Messages that passed between two shells.",
    SingleLeader = "single-leader-per-epoch": "Leaders that took office, controllers included.",
    SingleOwner = "single-owner": "Partitions that came to a member, by a committed record or by its own word.",
    TraceContradicted = "trace-contradicted": "Words of a node that messages or disk can contradict.",
    TruncationJustified = "truncation-justified": "Truncations of what a log held.",
    UniqueIds = "unique-ids": "Ids given to producers, brokers and members.",
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Armed([u64; CHECKS.len()]);

impl Default for Armed {
    fn default() -> Armed {
        Armed([0; CHECKS.len()])
    }
}

impl Armed {
    /// A check can judge once more.
    #[inline]
    pub(crate) fn judged(&mut self, check: Check) {
        self.0[check as usize] += 1;
    }
    /// A check can judge so often in all, if that is more than before.
    pub(crate) fn at_least(&mut self, check: Check, times: u64) {
        self.0[check as usize] = self.0[check as usize].max(times);
    }
    /// The checks that could judge, and how often.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CHECKS.iter().copied().zip(self.0).filter(|(_, n)| *n > 0)
    }
}
