//! What an oracle says.

use crate::permission::{Cause, Facts};
use klamm_model::checks::Check;
use klamm_model::history::{Entry, TopicPartition, ValueId};
use klamm_model::ids::{ClientId, Offset};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A guarantee that did not hold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// When the evidence was complete, nanoseconds.
    pub at: u64,
    /// Whose operation completed it.
    pub client: ClientId,
    /// Which partition.
    pub source: TopicPartition,
    /// The offset it is about.
    pub offset: Option<Offset>,
    /// The values it is about.
    pub values: Vec<ValueId>,
    /// In words.
    pub detail: String,
    /// The operations that prove it, in order.
    pub witness: Vec<Entry>,
    /// What permission depends on.
    pub facts: Facts,
    /// What permits it, if anything does.
    pub permitted: Option<Cause>,
}

/// Everything the oracles have to say about one history.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Verdicts {
    /// The findings, in the order they were made, permitted ones included.
    pub findings: Vec<Finding>,
    /// Counts.
    pub summary: super::Summary,
    /// How many operations each check could have judged; a check that is missing has judged nothing.
    #[serde(default)]
    pub armed: BTreeMap<Check, u64>,
}

impl Verdicts {
    /// The findings that nothing permits.
    pub fn violations(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.permitted.is_none())
    }
}
