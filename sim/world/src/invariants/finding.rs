//! What the judge says: a verdict, with the facts that prove it.

use crate::event::{HostId, NodeRef, Ordinal};
use klamm_model::checks::Check;
use klamm_model::ids::{LeaderEpoch, Offset, TopicIdPartition};
use klamm_model::units::Instant;
use std::collections::BTreeMap;
use std::fmt;

/// Findings kept for one (check, partition); later ones are counted only.
const KEPT: u32 = 3;

/// One violation. Whether it was permitted is for others to say; the facts for it are here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// When.
    pub at: Instant,
    /// On which host, if on one.
    pub host: Option<HostId>,
    /// By which node, if by one.
    pub node: Option<NodeRef>,
    /// About which partition.
    pub partition: Option<TopicIdPartition>,
    /// That partition's topic, by name.
    pub topic: Option<String>,
    /// About which offset.
    pub offset: Option<Offset>,
    /// In which leader (or quorum) epoch.
    pub epoch: Option<LeaderEpoch>,
    /// A readable sentence with the facts.
    pub detail: String,
    /// The events that prove it, in order; never empty.
    pub witness: Vec<Ordinal>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.check, self.at)?;
        if let Some(p) = self.partition {
            write!(f, " {}-{}", self.topic.as_deref().unwrap_or("?"), p.partition)?;
        }
        if let Some(offset) = self.offset {
            write!(f, " offset {offset}")?;
        }
        if let Some(epoch) = self.epoch {
            write!(f, " epoch {epoch}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// The event under judgement: where findings about it belong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ctx {
    pub(crate) ordinal: Ordinal,
    pub(crate) cause: Ordinal,
    pub(crate) at: Instant,
    pub(crate) host: Option<HostId>,
    pub(crate) node: Option<NodeRef>,
}

impl Ctx {
    /// The beginning of a finding about this event.
    pub(crate) fn finding(&self, check: Check, detail: String) -> Finding {
        let mut witness = vec![self.cause, self.ordinal];
        witness.retain(|o| o.0 != 0);
        Finding {
            check,
            at: self.at,
            host: self.host,
            node: self.node,
            partition: None,
            topic: None,
            offset: None,
            epoch: None,
            detail,
            witness,
        }
    }
}

impl Finding {
    pub(crate) fn about(mut self, partition: TopicIdPartition) -> Finding {
        self.partition = Some(partition);
        self
    }
    pub(crate) fn offset(mut self, offset: Offset) -> Finding {
        self.offset = Some(offset);
        self
    }
    pub(crate) fn epoch(mut self, epoch: LeaderEpoch) -> Finding {
        self.epoch = Some(epoch);
        self
    }
    /// Adds earlier events that the verdict rests on.
    pub(crate) fn because(mut self, events: &[Ordinal]) -> Finding {
        self.witness.extend(events.iter().filter(|o| o.0 != 0));
        self.witness.sort();
        self.witness.dedup();
        self
    }
}

/// The findings so far.
#[derive(Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    counts: BTreeMap<(Check, Option<TopicIdPartition>), u32>,
}

impl Findings {
    pub(crate) fn report(&mut self, finding: Finding) {
        let n = self.counts.entry((finding.check, finding.partition)).or_default();
        *n += 1;
        if *n <= KEPT {
            assert!(!finding.witness.is_empty(), "a verdict without a witness: {finding}");
            self.list.push(finding);
        }
    }
    pub(crate) fn list(&self) -> &[Finding] {
        &self.list
    }
    /// Gives every finding about a partition its topic's name.
    pub(crate) fn name_topics(&mut self, from: usize, name: impl Fn(TopicIdPartition) -> Option<String>) {
        for finding in self.list.iter_mut().skip(from) {
            if finding.topic.is_none() {
                finding.topic = finding.partition.and_then(&name);
            }
        }
    }
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Check, Option<TopicIdPartition>, u32)> + '_ {
        self.counts.iter().map(|(&(check, partition), &n)| (check, partition, n))
    }
}
