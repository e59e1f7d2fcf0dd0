//! Consumer groups: who owns what, what is committed, who is expelled, and which rebalances had no reason.
//!
//! The offsets topic's log is the truth. What its leader appends is read off its disk operations by a [`reader`] of the
//! judge's own, and counts from the moment the leader's high watermark passes it ([`log`]). Requests and answers are
//! taken off the wire. From the trace comes only what nobody can see: who coordinates, a group's state, why a member was
//! removed; and where the trace repeats what was seen, it must agree.
//!
//! A partition of the offsets topic whose log lost what was committed (an unclean election, or a leader that lacks it)
//! is judged no further by what was replayed: what went with it is for the checks of replication.
//!
//! Rooms: [`reader`] and [`log`]; [`requests`], [`fencing`] and [`answers`]: what is asked, what of it is stale, what is
//! answered, with unique member ids; [`offsets`]: committed-offset; [`owners`]: single-owner, assignment-legal; [`lives`]: liveness-verdicts; [`needless`]: rebalances,
//! revocations and moves without need; [`audit`]: accounts against the log, and convergence.

mod answers;
mod audit;
mod fencing;
mod lives;
mod log;
mod needless;
mod offsets;
mod owners;
mod reader;
mod requests;
#[cfg(test)]
mod tests;

pub(in crate::invariants) use audit::committed_end;

use super::Invariants;
use super::batch::Head;
use super::cluster::PartIx;
use super::finding::Ctx;
use crate::event::{NodeRef, Ordinal};
use klamm_model::history::{MemberFacts, Op};
use klamm_model::ids::*;
use klamm_model::node::ConnId;
use klamm_model::trace::TraceEvent;
use klamm_model::units::{Duration, Instant};
use log::Replayed;
use reader::Said;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A topic's partition by name.
pub(crate) type Source = (String, i32);

/// What a batch says, record by record with its offset; `None` if it cannot be read.
type Appended = Option<Vec<(i64, Said)>>;

/// One partition of the offsets topic.
#[derive(Debug, Default)]
struct GroupLog {
    /// What leaders appended and no high watermark has passed, by base offset and epoch.
    appended: BTreeMap<(i64, i32), Appended>,
    /// Everything below is replayed.
    end: i64,
    replayed: Replayed,
    /// It lost what was committed: what was replayed proves nothing any more.
    lost: bool,
    /// Who coordinates, by its own word, and since when.
    coordinator: Option<Coordinator>,
    /// Since when nobody does.
    away: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Coordinator {
    node: NodeRef,
    epoch: LeaderEpoch,
    at: Instant,
    ordinal: Ordinal,
}

/// A member's last sign of life, as its coordinator got it.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// The last that certainly counted.
    at: Instant,
    /// The last that may have counted.
    latest: Instant,
    ordinal: Ordinal,
    session: Duration,
    rebalance: Duration,
    waits: Waits,
}

/// What a classic member has asked for and waits for, which no session's end is held against. It may wait in vain: its
/// coordinator does not notice that whoever asked is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    No,
    /// For everybody to join.
    Join,
    /// For the leader to assign.
    Sync,
}

/// What a coordinator's trace said a member has.
#[derive(Clone, Debug)]
struct Traced {
    by: NodeRef,
    generation: i32,
    assigned: Vec<Source>,
    ordinal: Ordinal,
}

/// One group, beside what its log says.
#[derive(Debug, Default)]
struct Watched {
    state: &'static str,
    since: Option<Instant>,
    /// When the classic members of this generation had come together: they have the time of a rebalance to sync.
    together: Option<Instant>,
    stable: Ordinal,
    lives: BTreeMap<String, Life>,
    traced: BTreeMap<String, Traced>,
    /// The last generation that a coordinator told in an answer.
    told: Option<(Coordinator, i32, Ordinal)>,
    /// Which generation each member has its assignment of.
    synced: BTreeMap<String, i32>,
    /// When each member last asked to join.
    joined: BTreeMap<String, Ordinal>,
    /// Static members: topics, and their member id.
    instances: BTreeMap<String, (Vec<String>, String)>,
    /// What each member subscribes to.
    topics: BTreeMap<String, Vec<String>>,
    /// The client that assigned, and how many partitions it knew each topic to have.
    leader: Option<(NodeRef, BTreeMap<String, usize>)>,
    /// Since when a KIP-848 member has been asked to give up partitions, and when it was put out.
    revoking: BTreeMap<String, (Instant, Option<Instant>)>,
    /// When it was last written that a KIP-848 member is out, and the last sign of life before that.
    put_out: BTreeMap<String, (Instant, Option<Life>)>,
    needless: needless::Suspicion,
    /// Clients who have a partition by their own account, and as which member.
    holders: BTreeMap<Source, BTreeMap<NodeRef, (String, Ordinal)>>,
}

/// A client application that is a member.
#[derive(Clone, Debug)]
struct ClientSide {
    facts: MemberFacts,
    /// Its member id, empty while it has none.
    member: String,
    /// The answer to a SyncGroup that is on its way to it: as which member, of which generation.
    told: Option<(String, i32)>,
    /// What it gave up although its coordinator had it keep it.
    gave_up: BTreeMap<Source, Ordinal>,
    /// It was told that it leads the generation it joined.
    leads: bool,
    /// How many partitions it was last told that each topic has.
    heard: BTreeMap<String, usize>,
}

/// Everything known of groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    logs: BTreeMap<PartIx, GroupLog>,
    /// Partitions of the offsets topic.
    count: i32,
    watched: BTreeMap<String, Watched>,
    clients: BTreeMap<NodeRef, ClientSide>,
    open: BTreeMap<(NodeRef, ConnId), requests::Asked>,
    /// What came behind those, in order.
    queued: BTreeMap<(NodeRef, ConnId), VecDeque<requests::Queued>>,
    issued: BTreeMap<(String, String), Ordinal>,
    /// `group.consumer.session.timeout.ms`.
    session: Duration,
}

impl Groups {
    pub(crate) fn new(session: Duration) -> Groups {
        Groups { session, ..Groups::default() }
    }
    fn watched(&mut self, group: &str) -> &mut Watched {
        if !self.watched.contains_key(group) {
            self.watched.insert(group.to_owned(), Watched::default());
        }
        self.watched.get_mut(group).expect("just made")
    }
    /// Nobody waits for an answer on that connection any more. A coordinator that has the question goes on with it.
    pub(crate) fn disconnected(&mut self, node: NodeRef, conn: ConnId) {
        self.open.remove(&(node, conn));
        self.queued.remove(&(node, conn));
    }
}

/// Java's `String.hashCode`, without its sign as `Utils.abs` takes it: where a group lives.
fn home_of(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)));
    hash.checked_abs().unwrap_or(0) % partitions
}

impl Invariants {
    /// A group's partition of the offsets topic.
    fn home(&self, group: &str) -> Option<PartIx> {
        if self.groups.count == 0 {
            return None;
        }
        let topic = *self.cluster.names.get(OFFSETS_TOPIC)?;
        let partition = home_of(group, self.groups.count);
        self.cluster.find(TopicIdPartition { topic, partition })
    }
    /// What a group's log says, if that can be relied on.
    fn replayed(&self, group: &str) -> Option<(PartIx, &GroupLog)> {
        let ix = self.home(group)?;
        self.groups.logs.get(&ix).filter(|log| !log.lost).map(|log| (ix, log))
    }
    /// Whether a node coordinates a group, by its own word and the controller's.
    fn coordinates(&self, node: NodeRef, group: &str) -> Option<Coordinator> {
        let ix = self.home(group)?;
        let coordinator = self.groups.logs.get(&ix)?.coordinator.filter(|c| c.node == node)?;
        let committed = self.cluster.parts[ix.0].committed.as_ref()?;
        (self.cluster.broker_id(node) == Some(committed.leader) && committed.leader_epoch == coordinator.epoch)
            .then_some(coordinator)
    }
    fn source_of(&self, (topic, partition): (TopicId, i32)) -> Source {
        (self.cluster.topic_name(topic).unwrap_or("?").to_owned(), partition)
    }

    /// A leader appends to the offsets topic.
    pub(super) fn offsets_appended(&mut self, ctx: Ctx, ix: PartIx, head: &Head, batch: &[u8]) {
        let said = reader::said(batch);
        for (_, record) in said.iter().flatten() {
            if let Said::Current { group, member, value } = record {
                self.groups.watched(group).reconciles(ctx.at, member, value.as_ref());
            }
        }
        let log = self.groups.logs.entry(ix).or_default();
        log.appended.insert((head.base.0, head.epoch.0), said);
    }

    /// The high watermark of a leader of the offsets topic rose.
    pub(super) fn offsets_advanced(&mut self, ctx: Ctx, node: NodeRef, id: TopicIdPartition, to: Offset) {
        let Some(ix) = self.cluster.find(id) else { return };
        let Some(rx) = self.cluster.parts[ix.0].seat(node).and_then(|s| s.replica) else { return };
        while let Some(log) = self.groups.logs.get_mut(&ix).filter(|log| !log.lost && log.end < to.0) {
            let Some(batch) = self.replicas.get(rx).find(log.end).copied() else { break };
            if batch.next() > to.0 {
                break;
            }
            log.end = batch.next();
            match log.appended.remove(&(batch.base, batch.epoch)) {
                Some(Some(records)) => self.offsets_committed(ctx, ix, records),
                // Nobody was seen to write it, or it cannot be read: what the log adds up to is not known.
                _ => log.lost = true,
            }
        }
        if let Some(log) = self.groups.logs.get_mut(&ix) {
            let end = log.end;
            log.appended.retain(|(base, _), _| *base >= end);
        }
    }

    /// A batch of the offsets topic is committed: it counts as a whole.
    fn offsets_committed(&mut self, ctx: Ctx, ix: PartIx, records: Vec<(i64, Said)>) {
        for (offset, said) in &records {
            self.expiry_judged(ctx, ix, *offset, said);
            let log = self.groups.logs.get_mut(&ix).expect("has records");
            log.replayed.apply(*offset, said, ctx.ordinal);
        }
        let mut groups: BTreeSet<&str> = BTreeSet::new();
        for (offset, said) in &records {
            groups.insert(said.group());
            match said {
                Said::Classic { group, value: Some(_) } => {
                    self.generation_committed(ctx, ix, group, *offset);
                }
                Said::TargetEpoch { group, epoch: Some(_) } => self.target_committed(ctx, ix, group, *offset),
                _ => {}
            }
        }
        self.owned_once(ctx, ix, &records);
    }

    /// A broker leads a partition of the offsets topic.
    pub(super) fn offsets_led(&mut self, id: TopicIdPartition, epoch: LeaderEpoch, start: Offset) {
        let Some(ix) = self.cluster.find(id) else { return };
        self.groups.count = self.cluster.parts.iter().filter(|p| p.id.topic == id.topic && !p.deleted).count() as i32;
        let clean = self.cluster.parts[ix.0].elections.get(&epoch).is_none_or(|e| e.clean);
        let log = self.groups.logs.entry(ix).or_default();
        log.lost |= !clean || start.0 < log.end;
    }

    /// What nodes say of groups.
    pub(super) fn group_traced(&mut self, ctx: Ctx, node: NodeRef, event: &TraceEvent) {
        match event {
            TraceEvent::CoordinatorLoaded { partition, epoch, .. } => {
                let Some(ix) = self.cluster.find(*partition) else { return };
                self.coordinator_loaded(ctx, ix, node, *epoch);
            }
            TraceEvent::CoordinatorUnloaded { partition, .. } => {
                if let Some(ix) = self.cluster.find(*partition) {
                    self.coordinator_gone(ctx, ix, node);
                }
            }
            TraceEvent::GroupState { group, generation, from, to, .. } => {
                self.group_state(ctx, node, group, *generation, from, to);
            }
            TraceEvent::MemberAssignment { group, member, generation, assigned, .. } => {
                let mut assigned: Vec<Source> = assigned.iter().map(|p| (p.topic.to_string(), p.partition)).collect();
                assigned.sort();
                let traced = Traced { by: node, generation: *generation, assigned, ordinal: ctx.ordinal };
                self.groups.watched(group).traced.insert(member.to_string(), traced);
            }
            TraceEvent::MemberRemoved { group, member, reason, .. } => {
                self.member_removed(ctx, node, group, member, *reason);
            }
            TraceEvent::OffsetCommitted { group, partition, source, offset, at, .. } => {
                self.offset_traced(ctx, *partition, group, (&source.topic, source.partition), *offset, *at);
            }
            _ => {}
        }
    }

    fn coordinator_loaded(&mut self, ctx: Ctx, ix: PartIx, node: NodeRef, epoch: LeaderEpoch) {
        let log = self.groups.logs.entry(ix).or_default();
        log.coordinator = Some(Coordinator { node, epoch, at: ctx.at, ordinal: ctx.ordinal });
        let away = log.away.take();
        let stable: Vec<(String, bool)> = log
            .replayed
            .groups
            .iter()
            .map(|(name, g)| (name.clone(), g.classic.as_ref().is_some_and(|c| !c.members.is_empty())))
            .collect();
        for (name, members) in stable {
            self.reloaded(ctx, &name, members, away);
        }
        let (count, partition) = (self.groups.count, self.cluster.parts[ix.0].id.partition);
        for (_, watched) in self.groups.watched.iter_mut().filter(|(g, _)| count > 0 && home_of(g, count) == partition)
        {
            // Whoever waited was answered by its old coordinator, or by nobody.
            watched.lives.values_mut().for_each(|l| l.waits = Waits::No);
            // What was said by who coordinated before binds the new one no more: it has read the log.
            watched.traced.clear();
        }
    }
    /// Whether a coordinator was there already when something was committed: then its trace says it, too.
    fn was_there(&self, node: NodeRef, group: &str, since: Ordinal) -> bool {
        self.coordinates(node, group).is_some_and(|c| c.ordinal < since)
    }
    fn coordinator_gone(&mut self, ctx: Ctx, ix: PartIx, node: NodeRef) {
        let Some(log) = self.groups.logs.get_mut(&ix) else { return };
        if log.coordinator.is_some_and(|c| c.node == node) {
            log.coordinator = None;
            log.away = Some(ctx.at);
        }
    }

    /// A process ended: a broker coordinates nothing any more, a client has nothing.
    pub(super) fn group_node_ended(&mut self, ctx: Ctx, node: NodeRef) {
        let led: Vec<PartIx> = self.groups.logs.keys().copied().collect();
        for ix in led {
            self.coordinator_gone(ctx, ix, node);
        }
        let gone: Vec<(NodeRef, ConnId)> = self.groups.open.keys().filter(|(n, _)| *n == node).copied().collect();
        gone.into_iter().for_each(|(node, conn)| self.groups.disconnected(node, conn));
        if let Some(client) = self.groups.clients.remove(&node) {
            let watched = self.groups.watched(&client.facts.group);
            for holders in watched.holders.values_mut() {
                holders.remove(&node);
            }
        }
    }

    /// What client applications say.
    pub(super) fn group_op(&mut self, ctx: Ctx, node: NodeRef, op: &Op) {
        match op {
            Op::Member { facts } => {
                let side = ClientSide {
                    facts: facts.clone(),
                    member: String::new(),
                    told: None,
                    gave_up: BTreeMap::new(),
                    leads: false,
                    heard: BTreeMap::new(),
                };
                self.groups.clients.insert(node, side);
            }
            Op::Assigned { partitions, .. } => {
                for p in partitions {
                    self.client_assigned(ctx, node, (p.topic.to_string(), p.partition));
                }
            }
            Op::Revoked { partitions, lost, .. } => {
                for p in partitions {
                    self.client_revoked(ctx, node, (p.topic.to_string(), p.partition), *lost);
                }
            }
            _ => {}
        }
    }
}
