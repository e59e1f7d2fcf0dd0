//! Counts over one history, from which configurations are compared.

use crate::permission::Cause;
use klamm_model::checks::Check;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often a check failed.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Count {
    /// With nothing to permit it.
    pub violations: u64,
    /// Permitted, by cause.
    pub permitted: BTreeMap<Cause, u64>,
}

impl Count {
    /// Both together.
    pub fn total(&self) -> u64 {
        self.violations + self.permitted.values().sum::<u64>()
    }
}

/// Counts over one history.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Sends invoked.
    pub sends: u64,
    /// Sends acknowledged (never those of acks=0).
    pub acknowledged: u64,
    /// Sends that definitely failed.
    pub failed: u64,
    /// Sends that may or may not have happened, those of acks=0 included.
    pub info: u64,
    /// Sends that never resolved.
    pub unresolved: u64,
    /// Of those that may or may not have happened: how many were read after all.
    pub info_read: u64,
    /// Sends of acks=0 that were handed over and never read.
    pub acks0_missing: u64,
    /// Polls that returned something.
    pub polls: u64,
    /// Records read, rereadings included.
    pub reads: u64,
    /// Findings that were made but not kept, because there were too many.
    pub dropped: u64,
    /// Findings by check.
    pub checks: BTreeMap<Check, Count>,
}

impl Summary {
    /// How often these checks failed, permitted or not.
    fn total(&self, checks: &[Check]) -> u64 {
        checks.iter().filter_map(|c| self.checks.get(c)).map(Count::total).sum()
    }
    /// Acknowledged sends that are gone.
    pub fn lost(&self) -> u64 {
        self.total(&[Check::LostWrite, Check::Unseen])
    }
    /// Repetitions.
    pub fn duplicates(&self) -> u64 {
        self.total(&[Check::Duplicate])
    }
    /// Sends out of order.
    pub fn reordered(&self) -> u64 {
        self.total(&[Check::NonmonotonicSend, Check::IntNonmonotonicSend, Check::RealtimeOrder])
    }
    /// Findings that nothing permits.
    pub fn violations(&self) -> u64 {
        self.checks.values().map(|c| c.violations).sum()
    }
    /// Adds another history's counts.
    pub fn merge(&mut self, other: &Summary) {
        for (mine, theirs) in [
            (&mut self.sends, other.sends),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.failed, other.failed),
            (&mut self.info, other.info),
            (&mut self.unresolved, other.unresolved),
            (&mut self.info_read, other.info_read),
            (&mut self.acks0_missing, other.acks0_missing),
            (&mut self.polls, other.polls),
            (&mut self.reads, other.reads),
            (&mut self.dropped, other.dropped),
        ] {
            *mine += theirs;
        }
        for (check, count) in &other.checks {
            let mine = self.checks.entry(*check).or_default();
            mine.violations += count.violations;
            for (cause, n) in &count.permitted {
                *mine.permitted.entry(*cause).or_default() += n;
            }
        }
    }
}
