//! How many operations each check could have judged. None means: whatever the cluster did, this check could not have
//! found anything in this history.

use std::borrow::Cow;
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
    pub(super) ends: BTreeMap<&'static str, u64>,
}

impl Armed {
    /// At the end.
    pub(super) fn end(&mut self, check: &'static str, many: u64) {
        *self.ends.entry(check).or_default() += many;
    }

    /// By check; those that could judge nothing are not there.
    pub(super) fn by_check(&self) -> BTreeMap<Cow<'static, str>, u64> {
        let counted = [
            ("duplicate", self.known),
            ("unknown-read", self.reads),
            ("inconsistent-offsets", self.claims),
            ("poll-skip", self.between),
            ("nonmonotonic-poll", self.between),
            ("int-poll-skip", self.within),
            ("int-nonmonotonic-poll", self.within),
            ("next-offset-divergence", self.successors),
            ("realtime-order", self.realtime),
            ("key-affinity", self.keys),
            ("send-resolves", self.promised),
            ("list-offsets-regression", self.latest),
            ("illegal-resume", self.resumes),
            ("commit-too-far", self.commits),
            ("commit-regression", self.auto_commits),
            ("clean-handover", self.handovers),
            ("double-effect", self.effects),
        ];
        let all = counted.into_iter().chain(self.ends.iter().map(|(check, many)| (*check, *many)));
        all.filter(|(_, many)| *many > 0).map(|(check, many)| (Cow::Borrowed(check), many)).collect()
    }
}
