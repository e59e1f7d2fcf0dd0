//! Black-box checks over a history: they read what client applications did and saw, and nothing else, so they judge a
//! history recorded against a real cluster as well.
//!
//! All of them are online: [`Judge`] takes one operation at a time and keeps state proportional to what is unresolved
//! or retained.

mod finding;
mod summary;

pub use finding::{Finding, Verdicts};
pub use summary::{Count, Summary};

use crate::permission::Declared;
use klamm_model::history::{Entry, TopicPartition};
use klamm_model::ids::Offset;

/// Every check a [`Judge`] makes.
pub const CHECKS: &[&str] = &[
    "lost-write",
    "unseen",
    "failed-write-visible",
    "send-resolves",
    "key-affinity",
    "duplicate",
    "inconsistent-offsets",
    "unknown-read",
    "nonmonotonic-send",
    "int-nonmonotonic-send",
    "poll-skip",
    "int-poll-skip",
    "nonmonotonic-poll",
    "int-nonmonotonic-poll",
    "realtime-order",
    "next-offset-divergence",
    "read-epoch-regression",
    "list-offsets-regression",
];

/// What a judge cannot learn from the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JudgeConfig {
    /// How much longer than promised a send may take, in nanoseconds: timers round up, clocks drift, clients pause.
    pub resolve_slack: u64,
    /// How many findings are kept; more are only counted, as dropped.
    pub max_findings: usize,
}

/// All oracles over one history.
pub struct Judge {
    summary: Summary,
}

impl Judge {
    /// A judge who has seen nothing yet.
    pub fn new(_config: JudgeConfig) -> Judge {
        Judge { summary: Summary::default() }
    }
    /// Takes the next operation.
    pub fn entry(&mut self, _entry: &Entry) {}
    /// Retention or a request deleted everything below `offset`: what lay there leaves the judge's memory.
    pub fn log_start(&mut self, _source: &TopicPartition, _offset: Offset) {}
    /// The topic's number of partitions changed: keys may go elsewhere from now on.
    pub fn partitions_changed(&mut self, _topic: &str) {}
    /// The history ends at `at` (nanoseconds). Judges what only the end can tell, and what was permitted.
    pub fn finish(&mut self, _at: u64, _declared: &Declared) -> Verdicts {
        Verdicts { findings: Vec::new(), summary: self.summary.clone() }
    }
}
