//! How many operations each check could have judged. None means: whatever the cluster did, this check could not have
//! found anything in this history.

use klamm_model::checks::Check;
use std::collections::BTreeMap;

/// Counts made on the way. What only the end can tell is counted there.
#[derive(Default)]
pub(super) struct Armed {
    /// Records read.
    pub(super) reads: u64,
    /// Records read whose send is known.
    pub(super) known: u64,
    /// Records that followed a position, or another record of an earlier poll.
    pub(super) between: u64,
    /// Records that followed another one of their poll.
    pub(super) within: u64,
    /// Reads and acknowledgements of offsets of which something was known.
    pub(super) claims: u64,
    /// Records that followed one whose successor was known.
    pub(super) successors: u64,
    /// Acknowledged sends that began when something was acknowledged already.
    pub(super) realtime: u64,
    /// Sends under a key whose partition was known.
    pub(super) keys: u64,
    /// Resolved sends, of producers that promised a time.
    pub(super) promised: u64,
    /// Answers to a question that was asked after an earlier one had been answered.
    pub(super) latest: u64,
    /// First records after an assignment.
    pub(super) resumes: u64,
    /// Commits of partitions of which it is known where the group began.
    pub(super) commits: u64,
    /// Commits that a client made by itself.
    pub(super) auto_commits: u64,
    /// Records of partitions that had been handed over in order.
    pub(super) handovers: u64,
    /// External effects.
    pub(super) effects: u64,
    /// What was counted at the end.
    pub(super) ends: BTreeMap<Check, u64>,
}

impl Armed {
    /// At the end.
    pub(super) fn end(&mut self, check: Check, many: u64) {
        *self.ends.entry(check).or_default() += many;
    }

    /// By check; those that could judge nothing are not there.
    pub(super) fn by_check(&self) -> BTreeMap<Check, u64> {
        let counted = [
            (Check::Duplicate, self.known),
            (Check::UnknownRead, self.reads),
            (Check::InconsistentOffsets, self.claims),
            (Check::PollSkip, self.between),
            (Check::NonmonotonicPoll, self.between),
            (Check::IntPollSkip, self.within),
            (Check::IntNonmonotonicPoll, self.within),
            (Check::NextOffsetDivergence, self.successors),
            (Check::RealtimeOrder, self.realtime),
            (Check::KeyAffinity, self.keys),
            (Check::SendResolves, self.promised),
            (Check::ListOffsetsRegression, self.latest),
            (Check::IllegalResume, self.resumes),
            (Check::CommitTooFar, self.commits),
            (Check::CommitRegression, self.auto_commits),
            (Check::CleanHandover, self.handovers),
            (Check::DoubleEffect, self.effects),
        ];
        let all = counted.into_iter().chain(self.ends.iter().map(|(check, many)| (*check, *many)));
        all.filter(|(_, many)| *many > 0).collect()
    }
}
