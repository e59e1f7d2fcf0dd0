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
//! (each log as its disk operations built it), `records` and `contents` (what compacted logs held), `ghost` (the committed log), `cluster` (committed metadata and who
//! leads what); then the families of invariants, one file each (`groups` is a folder); `audit`, `convergence` and `recovery` judge the ends of phases.

mod acks;
mod armed;
mod audit;
mod batch;
mod cluster;
mod compaction;
mod contents;
mod convergence;
mod finding;
mod ghost;
mod groups;
mod high_watermark;
mod integrity;
mod isr;
mod leadership;
mod metadata;
mod producers;
mod reads;
mod records;
mod recovery;
mod replica;
mod requests;
#[cfg(test)]
mod tests;
mod truncation;

pub use contents::{Compaction, UnknownProducer};
pub use finding::Finding;
use finding::{Ctx, Findings};

use crate::event::{ConnEnd, Ending, Event, HostId, NodeRef, Observer, Ordinal, What};
use crate::faults::Action;
use armed::Armed;
use bytes::Bytes;
use cluster::{Cluster, Doing};
use kafka_protocol::messages::{RequestKind, ResponseKind};
pub(crate) use klamm_model::checks::Check;
use klamm_model::disk::{DiskOp, Path};
use klamm_model::history::Op;
use klamm_model::ids::*;
use klamm_model::inspect::Inspection;
use klamm_model::trace::TraceEvent;
use klamm_model::units::{Duration, Instant};
use replica::Replicas;
use requests::Requests;
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
    /// How it is compacted, if it is.
    pub compaction: Option<CompactionSetup>,
}

/// What the judge must know of a compacted topic's configuration.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CompactionSetup {
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_lag_ms: i64,
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
    /// `group.consumer.session.timeout.ms`.
    pub consumer_session: Duration,
    /// Whether all clocks show the same, as long as no fault moves them.
    pub clocks_agree: bool,
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
    /// Every file of its data directory, with its content in the pieces it is kept in.
    pub files: Vec<(Path, Vec<Bytes>)>,
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
    armed: Armed,
    cluster: Cluster,
    replicas: Replicas,
    requests: Requests,
    groups: groups::Groups,
    unclean: Vec<UncleanElection>,
    /// Some topic is compacted.
    compacting: bool,
    /// What compaction took out, and may.
    compactions: Vec<Compaction>,
    /// Producers that leaders knew nothing of, and whose first batch they did not get first.
    unknown_producers: Vec<UnknownProducer>,
    /// All clocks show the same.
    clocks_agree: bool,
    quorum_leaders: BTreeMap<LeaderEpoch, (NodeRef, Ordinal)>,
    broker_epochs: BTreeMap<BrokerEpoch, (NodeId, Uuid, Ordinal)>,
    producer_ids: BTreeMap<(ProducerId, ProducerEpoch), Ordinal>,
    /// One past the highest producer id given to a broker, and when.
    producer_blocks: (i64, Ordinal),
    /// Some disk lied about an fsync: what is durable is not known any more.
    lying: bool,
    /// The last event seen, for verdicts about no single one.
    last: Ctx,
}

impl std::fmt::Debug for Invariants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invariants").field("findings", &self.findings.list()).finish_non_exhaustive()
    }
}

impl Invariants {
    /// A judge of a run about to begin.
    pub fn new(setup: Setup) -> Invariants {
        let mut judge = Invariants {
            findings: Findings::default(),
            armed: Armed::default(),
            groups: groups::Groups::new(setup.consumer_session),
            clocks_agree: setup.clocks_agree,
            compacting: false,
            compactions: Vec::new(),
            unknown_producers: Vec::new(),
            cluster: Cluster::new(setup),
            replicas: Replicas::default(),
            requests: Requests::default(),
            unclean: Vec::new(),
            quorum_leaders: BTreeMap::new(),
            broker_epochs: BTreeMap::new(),
            producer_ids: BTreeMap::new(),
            producer_blocks: (0, Ordinal(0)),
            lying: false,
            last: Ctx { ordinal: Ordinal(1), cause: Ordinal(0), at: Instant::ZERO, host: None, node: None },
        };
        judge.compacting = judge.cluster.compacts();
        // Whatever happens, these are looked out for.
        judge.armed.judged(Check::Crash);
        judge.armed.judged(Check::Runaway);
        judge
    }

    /// The findings kept so far: the first few for each check and partition.
    pub fn findings(&self) -> &[Finding] {
        self.findings.list()
    }

    /// How many findings there were, kept or not, by check and partition.
    pub fn counts(&self) -> impl Iterator<Item = (Check, Option<TopicIdPartition>, u32)> + '_ {
        self.findings.counts()
    }

    /// How often each check could have judged so far; a check that is missing could not.
    pub fn armed(&self) -> impl Iterator<Item = (Check, u64)> + '_ {
        self.armed.counts()
    }

    /// So many messages were judged by the world itself (`shell-contract`).
    pub fn judged_by_world(&mut self, messages: u64) {
        self.armed.at_least(Check::ShellContract, messages);
    }

    /// The unclean elections so far, in order.
    pub fn unclean_elections(&self) -> &[UncleanElection] {
        &self.unclean
    }

    /// What compaction took out, in order.
    pub fn compactions(&self) -> &[Compaction] {
        &self.compactions
    }

    /// Producers that leaders knew nothing of, and whose first batch they did not get first, in order.
    pub fn unknown_producers(&self) -> &[UnknownProducer] {
        &self.unknown_producers
    }

    /// Every data partition known, with its topic's name and one past its last committed record.
    pub fn committed(&self) -> impl Iterator<Item = (TopicIdPartition, &str, Offset)> + '_ {
        let data = self.cluster.parts.iter().filter(|p| p.id != TopicIdPartition::METADATA && !p.deleted);
        data.map(|p| (p.id, &*p.topic, Offset(p.ghost.end())))
    }

    /// Re-reads replica files at the end of a phase and compares them with each other, with what was committed and
    /// with the nodes' accounts (`disk-audit`, `replay-equals-live`). Findings join the others.
    pub fn audit(&mut self, when: AuditAt, at: Instant, files: &[ReplicaFiles], accounts: &[Account]) {
        let ctx = Ctx { at, cause: Ordinal(0), host: None, node: None, ..self.last };
        let first = self.findings.list().len();
        self.audit_files(ctx, when, files, accounts);
        self.audit_groups(ctx, files, accounts);
        self.name_topics(first);
    }

    /// The conditions of convergence not met yet, in a fixed order; empty once the cluster has converged. Poll it
    /// until it is empty or the budget ends. `waived`: partitions declared lost, whose conditions do not count.
    pub fn unmet(&mut self, accounts: &[Account], waived: &[TopicIdPartition]) -> Vec<Unmet> {
        let partitions = audit::controllers(accounts).map(|(_, c)| c.partitions.len()).max().unwrap_or(0);
        self.armed.at_least(Check::Convergence, (accounts.len() + partitions) as u64);
        self.unmet_conditions(accounts, waived)
    }

    /// Makes findings of conditions that were not met within the budget (`convergence`).
    pub fn not_converged(&mut self, at: Instant, last: Ordinal, unmet: &[Unmet]) {
        for one in unmet {
            let ctx = Ctx { ordinal: last, cause: Ordinal(0), at, host: None, node: None };
            self.findings.report(ctx.finding(Check::Convergence, format!("{}: {}", one.condition, one.detail)));
        }
    }

    fn name_topics(&mut self, from: usize) {
        let cluster = &self.cluster;
        self.findings.name_topics(from, |id| cluster.topic_name(id.topic).map(str::to_owned));
    }

    fn ended(&mut self, ctx: Ctx, node: NodeRef, how: &Ending) {
        if let Ending::Panicked { message } = how {
            let detail = format!("{} panicked: {message}", self.cluster.name(node));
            self.findings.report(ctx.finding(Check::Crash, detail));
        }
        self.replicas.stopped(node);
        self.requests.stopped(node);
        self.group_node_ended(ctx, node);
        for part in &mut self.cluster.parts {
            if let Some(seat) = part.seats.iter_mut().find(|s| s.node == node) {
                seat.doing = Doing::Nothing;
                seat.high_watermark = None;
            }
        }
    }

    fn request_taken(
        &mut self,
        ctx: Ctx,
        from: &ConnEnd,
        to: &ConnEnd,
        correlation: i32,
        version: i16,
        request: &RequestKind,
    ) {
        let broker = self.cluster.broker_id(to.node).is_some();
        match request {
            RequestKind::Fetch(fetch) if broker => {
                self.fetch_taken(to.node, to.conn, correlation, version, ctx.ordinal, fetch);
            }
            RequestKind::Produce(produce) => self.produce_taken(to.node, to.conn, correlation, ctx.ordinal, produce),
            RequestKind::AlterPartition(alter) => {
                self.alter_partition_taken(to.node, to.conn, correlation, ctx.ordinal, alter);
            }
            RequestKind::DeleteRecords(delete) => self.delete_records_taken(to.node, delete),
            RequestKind::JoinGroup(_)
            | RequestKind::SyncGroup(_)
            | RequestKind::Heartbeat(_)
            | RequestKind::LeaveGroup(_)
            | RequestKind::OffsetCommit(_)
            | RequestKind::OffsetFetch(_)
            | RequestKind::ConsumerGroupHeartbeat(_) => {
                self.group_asked(ctx, from, to, correlation, version, request);
            }
            _ => {}
        }
    }

    fn response_sent(&mut self, ctx: Ctx, from: &ConnEnd, correlation: i32, response: &ResponseKind) {
        match response {
            ResponseKind::Fetch(_) | ResponseKind::Produce(_) | ResponseKind::AlterPartition(_) => {
                let Some(request) = self.requests.answered(from.node, from.conn, correlation) else { return };
                match response {
                    ResponseKind::Fetch(fetch) => self.fetch_answered(ctx, from.node, &request, fetch),
                    ResponseKind::Produce(produce) => self.produce_answered(ctx, from.node, request, produce),
                    ResponseKind::AlterPartition(alter) => self.alter_partition_answered(ctx, &request, alter),
                    _ => unreachable!("matched above"),
                }
            }
            ResponseKind::InitProducerId(init) => self.producer_id_given(ctx, init),
            ResponseKind::AllocateProducerIds(block) => self.producer_ids_allocated(ctx, block),
            ResponseKind::JoinGroup(_)
            | ResponseKind::SyncGroup(_)
            | ResponseKind::Heartbeat(_)
            | ResponseKind::LeaveGroup(_)
            | ResponseKind::OffsetCommit(_)
            | ResponseKind::OffsetFetch(_)
            | ResponseKind::ConsumerGroupHeartbeat(_) => self.group_answered(ctx, from, correlation, response),
            _ => {}
        }
    }

    fn trace(&mut self, ctx: Ctx, node: NodeRef, event: &TraceEvent) {
        match event {
            TraceEvent::ControllerActive { epoch } => self.controller_active(ctx, node, *epoch),
            TraceEvent::MetadataCommitted { offset, epoch, batch_end, record } => {
                self.metadata_committed(ctx, *offset, *epoch, *batch_end, record);
            }
            TraceEvent::MetadataApplied { offset, epoch } => self.metadata_applied(ctx, *offset, *epoch),
            TraceEvent::BrokerRegistered { epoch, .. } => self.broker_registered(ctx, node, *epoch),
            TraceEvent::LogLoaded { partition, dir, log_start, log_end, .. } => {
                self.log_loaded(ctx, node, *partition, dir, *log_start, *log_end);
            }
            TraceEvent::BecameLeader { partition, epoch, partition_epoch, epoch_start, isr, high_watermark } => {
                self.became_leader(ctx, node, *partition, *epoch, *partition_epoch, *epoch_start, isr, *high_watermark);
                if self.is_of_groups(*partition) {
                    self.offsets_led(*partition, *epoch, *epoch_start);
                }
            }
            TraceEvent::BecameFollower { partition, epoch, leader, .. } => {
                self.became_follower(ctx, node, *partition, *epoch, *leader);
            }
            TraceEvent::HighWatermark { partition, epoch, leading, high_watermark, log_end } => {
                self.high_watermark(ctx, node, *partition, *epoch, *leading, *high_watermark, *log_end);
                if *leading && self.is_of_groups(*partition) {
                    self.offsets_advanced(ctx, node, *partition, *high_watermark);
                }
            }
            TraceEvent::Truncated { partition, from, to, reason } => {
                self.truncated(ctx, node, *partition, *from, *to, *reason);
            }
            TraceEvent::LogStart { partition, log_start, reason } => {
                self.log_start(ctx, node, *partition, *log_start, *reason);
            }
            TraceEvent::IsrProposed { partition, epoch, isr, .. } => {
                self.isr_proposed(ctx, node, *partition, *epoch, isr);
            }
            TraceEvent::IsrInstalled { partition, epoch, partition_epoch, isr } => {
                self.isr_installed(ctx, node, *partition, *epoch, *partition_epoch, isr);
            }
            TraceEvent::AckDecided {
                conn,
                correlation,
                partition,
                epoch,
                base,
                last,
                high_watermark,
                maximal,
                duplicate,
            } => {
                let decision = acks::Decision {
                    conn: *conn,
                    correlation: *correlation,
                    partition: *partition,
                    epoch: *epoch,
                    base: *base,
                    last: *last,
                    high_watermark: *high_watermark,
                    maximal,
                    duplicate: *duplicate,
                };
                self.ack_decided(ctx, node, &decision);
            }
            TraceEvent::ProducerStateRemoved { partition, producer } => {
                let ix = self.cluster.part(*partition);
                if let Some(rx) = self.cluster.parts[ix.0].seat(node).and_then(|s| s.replica) {
                    self.replicas.get_mut(rx).producers.remove(producer);
                }
            }
            TraceEvent::LogDeleted { partition } => {
                let ix = self.cluster.part(*partition);
                self.cluster.parts[ix.0].seats.retain(|s| s.node != node);
            }
            TraceEvent::CoordinatorLoaded { .. }
            | TraceEvent::CoordinatorUnloaded { .. }
            | TraceEvent::GroupState { .. }
            | TraceEvent::MemberAssignment { .. }
            | TraceEvent::MemberRemoved { .. }
            | TraceEvent::OffsetCommitted { .. } => self.group_traced(ctx, node, event),
            _ => {}
        }
    }

    /// Whether a partition keeps groups and their offsets.
    fn is_of_groups(&self, id: TopicIdPartition) -> bool {
        self.cluster.topic_name(id.topic) == Some(OFFSETS_TOPIC)
    }

    /// A log was loaded: what a crash left of it is settled, and the judge learns whose it is.
    fn log_loaded(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        id: TopicIdPartition,
        dir: &Path,
        log_start: Offset,
        log_end: Offset,
    ) {
        let Some(host) = ctx.host.or_else(|| self.cluster.nodes.get(node.0 as usize).map(|n| n.host)) else { return };
        let rx = self.replicas.at(host, node, dir.as_str());
        let ix = self.cluster.part(id);
        self.armed.judged(Check::ReplayEqualsLive);
        self.armed.judged(Check::TraceContradicted);
        let (accepted, phantom) = self.replicas.get_mut(rx).loaded(id, log_start.0, log_end.0);
        if id != TopicIdPartition::METADATA {
            let seat = self.cluster.parts[ix.0].seat_mut(node);
            seat.replica = Some(rx);
            seat.log_start = log_start;
            seat.doing = Doing::Nothing;
            seat.high_watermark = None;
        }
        for batch in &accepted {
            let log = self.replicas.get(rx);
            let before = batch.base.checked_sub(1).and_then(|o| log.find(o)).map(|b| b.epoch);
            self.note_identity(ctx, ix, batch, before);
        }
        let log = self.replicas.get(rx);
        if let Some(lost) = phantom.filter(|_| !self.lying && !log.damaged()) {
            let detail =
                format!("the log is loaded up to {log_end}, though power loss took part of the batch at {lost}");
            let finding = ctx.finding(Check::ReplayEqualsLive, detail).about(id).offset(Offset(lost));
            self.findings.report(finding);
        } else if log_end > log_start && log.end() < log_end.0 && !log.damaged() {
            let detail = format!("the log is loaded up to {log_end}, but its disk holds only up to {}", log.end());
            let finding = ctx.finding(Check::TraceContradicted, detail).about(id).offset(Offset(log.end()));
            self.findings.report(finding);
        }
    }
}

impl Observer for Invariants {
    fn event(&mut self, event: &Event<'_>) {
        let ctx = Ctx { ordinal: event.ordinal, cause: event.cause, at: event.at, host: event.host, node: event.node };
        self.last = ctx;
        // Half of what happens concerns no invariant.
        match &event.what {
            What::TimerFired => return,
            What::RequestSent { request, .. } if !matches!(request, RequestKind::SyncGroup(_)) => return,
            What::Op(op) if !matches!(op, Op::Member { .. } | Op::Assigned { .. } | Op::Revoked { .. }) => return,
            What::ResponseTaken { response, .. }
                if !matches!(
                    response,
                    ResponseKind::AlterPartition(_) | ResponseKind::SyncGroup(_) | ResponseKind::Metadata(_)
                ) =>
            {
                return;
            }
            What::DiskAsked { op: DiskOp::Read { .. } } | What::DiskDone { op: DiskOp::Read { .. }, .. } => return,
            _ => {}
        }
        let first = self.findings.list().len();
        match (&event.what, event.node, event.host) {
            (What::RequestTaken { from, to, correlation, version, request }, ..) => {
                self.request_taken(ctx, from, to, *correlation, *version, request);
            }
            (What::ResponseSent { from, correlation, response, .. }, ..) => {
                self.response_sent(ctx, from, *correlation, response);
            }
            (What::ResponseTaken { to, response: ResponseKind::AlterPartition(alter), .. }, ..) => {
                self.alter_partition_heard(to.node, alter);
            }
            (What::ResponseTaken { to, response: ResponseKind::SyncGroup(sync), .. }, ..) if sync.error_code == 0 => {
                self.sync_heard(to.node);
            }
            (What::ResponseTaken { to, response: ResponseKind::Metadata(answer), .. }, ..) => {
                self.metadata_heard(to.node, answer);
            }
            (What::RequestSent { from, request: RequestKind::SyncGroup(sync), .. }, ..) => {
                self.sync_asked(from.node, &sync.group_id.0);
            }
            (What::Op(op), Some(node), _) => self.group_op(ctx, node, op),
            (What::DiskAsked { op }, Some(node), Some(host)) => self.disk_asked(ctx, host, node, op),
            (What::DiskDone { op, result }, _, Some(host)) => self.disk_done(ctx, host, op, result.is_ok()),
            (What::Trace(trace), Some(node), _) => self.trace(ctx, node, trace),
            (What::Ended { how, .. }, Some(node), _) => self.ended(ctx, node, how),
            (What::Disconnected { conn, .. }, Some(node), _) => {
                self.requests.disconnected(node, *conn);
                self.groups.disconnected(node, *conn);
            }
            (What::PowerLost { lost }, _, Some(host)) => {
                self.replicas.power_lost(host, lost.iter().map(|l| (&l.file, l.from)));
            }
            (What::Damaged { ranges }, _, Some(host)) => {
                for range in *ranges {
                    self.replicas.damaged(host, &range.file, range.from);
                }
            }
            (What::Fault { action: Action::LyingFsync { .. }, .. }, ..) => self.lying = true,
            (What::Fault { action: Action::ClockStep { .. } | Action::ClockDrift { .. }, .. }, ..) => {
                self.clocks_agree = false;
            }
            _ => {}
        }
        if self.findings.list().len() > first {
            self.name_topics(first);
        }
    }
}
