//! What happened to each partition that may excuse a finding: leader changes, unclean elections, losses, damage.
//!
//! The raw material of the oracles' permissions (`oracles.md`), taken from committed metadata and from what disks
//! report, never from what a node claims about its data. [`Budget`] says which losses were more than replication
//! promises to survive.

use super::budget::Budget;
use super::parse::PartitionName;
use super::view::{BatchSpan, View};
use super::{Action, PartitionView};
use crate::event::{Event, HostId, LostData, Ordinal, What};
use crate::world::World;
use bytes::Bytes;
use klamm_model::disk::Path;
use klamm_model::history::TopicPartition;
use klamm_model::ids::*;
use klamm_model::record::schema::{MetadataRecord, PartitionChangeRecord};
use klamm_model::trace::{LogStartReason, TraceEvent};
use klamm_model::units::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A partition got a leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderChange {
    /// When the record was committed.
    pub at: Instant,
    /// Which partition.
    pub partition: TopicIdPartition,
    /// The new epoch.
    pub epoch: LeaderEpoch,
    /// The new leader, or `NodeId::NONE`.
    pub leader: NodeId,
    /// The one before.
    pub before: NodeId,
    /// When the last replica that led in an older epoch had ceased to; `None` while one may still lead.
    pub deposed: Option<Instant>,
}

/// A leader was elected from outside the in-sync and eligible replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unclean {
    /// When the record was committed.
    pub at: Instant,
    /// Which partition.
    pub partition: TopicIdPartition,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// Who.
    pub leader: NodeId,
    /// The new leader's log end when it took up the role, once it did.
    pub log_end: Option<Offset>,
}

/// How data was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LossKind {
    /// The power went before it was synced.
    PowerLoss,
    /// An fsync failed and its pages were dropped.
    FailedFsync,
    /// The disk was wiped.
    Wipe,
    /// Bits rotted; see also [`Facts::damages`].
    Rot,
}

/// A replica lost data of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss {
    /// When.
    pub at: Instant,
    /// Where.
    pub host: HostId,
    /// Whose replica.
    pub broker: NodeId,
    /// Of which partition.
    pub partition: TopicIdPartition,
    /// How.
    pub how: LossKind,
    /// The first offset lost, if known.
    pub from: Option<Offset>,
    /// Whether it was more than replication promises to survive (cause L of `oracles.md`).
    pub beyond_budget: bool,
}

/// A replica's data went bad in place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// When.
    pub at: Instant,
    /// Where.
    pub host: HostId,
    /// Whose replica.
    pub broker: NodeId,
    /// Of which partition.
    pub partition: TopicIdPartition,
    /// The range in the file.
    pub range: LostData,
    /// The first offset of the damaged batches.
    pub from: Offset,
    /// One past their last.
    pub to: Offset,
    /// As for [`Loss`].
    pub beyond_budget: bool,
}

/// A log's start moved up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogStartMoved {
    /// When.
    pub at: Instant,
    /// Which partition.
    pub partition: TopicIdPartition,
    /// The new start.
    pub log_start: Offset,
    /// Why.
    pub reason: LogStartReason,
}

/// A loss whose first offset must still be read from the disk.
#[derive(Debug)]
struct Open {
    loss: usize,
    ranges: Vec<LostData>,
}

/// See the module. It must see each event before the [`View`] it is given does: it compares with the state before.
#[derive(Debug)]
pub struct Facts {
    /// Every leader of every partition, the first ones included.
    pub leader_changes: Vec<LeaderChange>,
    /// Unclean and last-known-leader elections.
    pub uncleans: Vec<Unclean>,
    /// Losses of data, damage included.
    pub losses: Vec<Loss>,
    /// Damage in place.
    pub damages: Vec<Damage>,
    /// Log starts, where they rose above all before.
    pub log_starts: Vec<LogStartMoved>,
    /// The names of all topics there ever were.
    pub topics: BTreeMap<TopicId, String>,
    /// Committed offsets that went while their group had no members: by expiry or request.
    pub offsets_gone: Vec<OffsetGone>,
    /// Which partition of the offsets topic keeps a group's offsets.
    pub group_homes: BTreeMap<Arc<str>, TopicIdPartition>,
    /// Groups with members.
    inhabited: BTreeSet<Arc<str>>,
    /// Who may lose what.
    pub budget: Budget,
    /// Replicas that believe to lead, with their epochs.
    acting: BTreeMap<(TopicIdPartition, NodeId), LeaderEpoch>,
    /// Leader changes without `deposed`, unclean elections without log end.
    open_changes: Vec<usize>,
    open_uncleans: Vec<usize>,
    open_losses: Vec<Open>,
    starts: BTreeMap<TopicIdPartition, Offset>,
    /// The last fault that damages a disk, for telling its damage from a failed fsync's.
    damaging: Option<(Ordinal, LossKind)>,
    /// Damaged batches by host and file, told by whoever damaged them.
    rotten: Vec<(HostId, LostData, Offset, Offset)>,
}

/// A committed offset that is no more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetGone {
    /// When.
    pub at: Instant,
    /// `group.id`.
    pub group: Arc<str>,
    /// Of which partition.
    pub source: TopicPartition,
}

impl Facts {
    /// At the beginning. `min_insync_replicas` is the brokers' default.
    pub fn new(min_insync_replicas: usize) -> Facts {
        Facts {
            leader_changes: Vec::new(),
            uncleans: Vec::new(),
            losses: Vec::new(),
            damages: Vec::new(),
            log_starts: Vec::new(),
            topics: BTreeMap::new(),
            offsets_gone: Vec::new(),
            group_homes: BTreeMap::new(),
            inhabited: BTreeSet::new(),
            budget: Budget::new(min_insync_replicas),
            acting: BTreeMap::new(),
            open_changes: Vec::new(),
            open_uncleans: Vec::new(),
            open_losses: Vec::new(),
            starts: BTreeMap::new(),
            damaging: None,
            rotten: Vec::new(),
        }
    }

    /// One event; `view` has not seen it yet.
    pub fn event(&mut self, event: &Event<'_>, view: &View) {
        match &event.what {
            What::Trace(trace) => {
                let broker = event.node.and_then(|node| view.broker_of(node));
                self.traced(event.at, broker, trace, view);
            }
            What::Ended { .. } => {
                let Some(broker) = event.node.and_then(|node| view.broker_of(node)) else { return };
                self.acting.retain(|(_, b), _| *b != broker);
                self.close_changes(event.at);
            }
            What::Fault { action, over: false } => match action {
                Action::BitRot { .. } => self.damaging = Some((event.ordinal, LossKind::Rot)),
                Action::Wipe { .. } => self.damaging = Some((event.ordinal, LossKind::Wipe)),
                _ => self.damaging = None,
            },
            What::PowerLost { lost } => self.lost(event, view, lost, LossKind::PowerLoss),
            What::Damaged { ranges } => {
                let how = match self.damaging {
                    Some((ordinal, how)) if event.cause == ordinal => how,
                    _ => LossKind::FailedFsync,
                };
                self.lost(event, view, ranges, how);
            }
            _ => {}
        }
    }

    fn traced(&mut self, at: Instant, broker: Option<NodeId>, trace: &TraceEvent, view: &View) {
        match trace {
            TraceEvent::MetadataCommitted { offset, record, .. } if *offset > view.committed_offset() => {
                self.committed(at, record, view);
            }
            TraceEvent::BecameLeader { partition, epoch, epoch_start, .. } => {
                let Some(broker) = broker else { return };
                self.acting.insert((*partition, broker), *epoch);
                self.close_changes(at);
                let uncleans = &mut self.uncleans;
                self.open_uncleans.retain(|i| {
                    let u = &mut uncleans[*i];
                    let same = u.partition == *partition && u.leader == broker && u.epoch <= *epoch;
                    if same {
                        u.log_end = Some(*epoch_start);
                    }
                    !same
                });
            }
            TraceEvent::BecameFollower { partition, .. } | TraceEvent::LogDeleted { partition } => {
                let led = broker.and_then(|broker| self.acting.remove(&(*partition, broker)));
                led.into_iter().for_each(|_| self.close_changes(at));
            }
            TraceEvent::LogStart { partition, log_start, reason } => {
                let known = self.starts.entry(*partition).or_default();
                if *log_start > *known {
                    *known = *log_start;
                    let (partition, log_start, reason) = (*partition, *log_start, *reason);
                    self.log_starts.push(LogStartMoved { at, partition, log_start, reason });
                }
            }
            TraceEvent::GroupState { group, to, .. } => {
                if matches!(*to, "Empty" | "Dead") {
                    self.inhabited.remove(group);
                } else {
                    self.inhabited.insert(group.clone());
                }
            }
            TraceEvent::OffsetCommitted { group, partition, source, offset, .. } => {
                if !self.group_homes.contains_key(group) {
                    self.group_homes.insert(group.clone(), *partition);
                }
                // An offset that expires under a group's hands is nobody's excuse.
                if offset.is_none() && !self.inhabited.contains(group) {
                    self.offsets_gone.push(OffsetGone { at, group: group.clone(), source: source.clone() });
                }
            }
            _ => {}
        }
    }

    fn committed(&mut self, at: Instant, record: &MetadataRecord, view: &View) {
        match record {
            MetadataRecord::Topic { name, topic_id } => {
                self.topics.insert(*topic_id, name.clone());
            }
            MetadataRecord::Partition(r) => {
                self.budget.isr_changed(r.partition, &[], &r.isr, &r.replicas);
                self.led(at, r.partition, r.leader_epoch, r.leader, NodeId::NONE);
            }
            MetadataRecord::PartitionChange(r) => {
                if let Some(before) = view.partition_by_id(r.partition) {
                    self.partition_changed(at, r, before);
                }
            }
            MetadataRecord::Config { resource_type, resource_name, name, value } if name == "min.insync.replicas" => {
                let value = value.as_ref().and_then(|v| v.parse().ok());
                match resource_type {
                    2 => {
                        let topic = self.topics.iter().find(|(_, n)| *n == resource_name).map(|(id, _)| *id);
                        topic.into_iter().for_each(|topic| self.budget.configure(topic, value));
                    }
                    4 if resource_name.is_empty() => self.budget.configure_default(value),
                    _ => {}
                }
            }
            MetadataRecord::FeatureLevel { name, level } if name == "eligible.leader.replicas.version" => {
                self.budget.eligible_leader_replicas(*level > 0);
            }
            _ => {}
        }
    }

    fn partition_changed(&mut self, at: Instant, r: &PartitionChangeRecord, before: &PartitionView) {
        let mut after = before.clone();
        after.change(r);
        if before.isr != after.isr || before.replicas != after.replicas {
            self.budget.isr_changed(r.partition, &before.isr, &after.isr, &after.replicas);
            self.excuse(r.partition);
        }
        let Some(leader) = r.leader else { return };
        let (epoch, known) = (after.leader_epoch, |b: &NodeId| before.isr.contains(b) || before.elr.contains(b));
        if leader != NodeId::NONE && (!known(&leader) || r.leader_recovery_state == Some(1)) {
            self.open_uncleans.push(self.uncleans.len());
            self.uncleans.push(Unclean { at, partition: r.partition, epoch, leader, log_end: None });
        }
        self.led(at, r.partition, epoch, leader, before.leader);
    }

    fn led(&mut self, at: Instant, partition: TopicIdPartition, epoch: LeaderEpoch, leader: NodeId, before: NodeId) {
        self.open_changes.push(self.leader_changes.len());
        self.leader_changes.push(LeaderChange { at, partition, epoch, leader, before, deposed: None });
        self.close_changes(at);
    }

    /// Leader changes whose older leaders are all gone by now.
    fn close_changes(&mut self, at: Instant) {
        let (changes, acting) = (&mut self.leader_changes, &self.acting);
        self.open_changes.retain(|i| {
            let change = &mut changes[*i];
            let replicas = acting.range((change.partition, NodeId(i32::MIN))..=(change.partition, NodeId(i32::MAX)));
            let open = replicas.into_iter().any(|(_, epoch)| *epoch < change.epoch);
            if !open {
                change.deposed = Some(at);
            }
            open
        });
    }

    fn lost(&mut self, event: &Event<'_>, view: &View, ranges: &[LostData], how: LossKind) {
        let Some(host) = event.host else { return };
        let Some(broker) = view.brokers_on(host).next() else { return };
        let mut by_log: BTreeMap<TopicIdPartition, Vec<LostData>> = BTreeMap::new();
        for range in ranges {
            if let Some(id) = partition_of(&range.file).and_then(|name| view.id(&name)) {
                by_log.entry(id).or_default().push(range.clone());
            }
        }
        for (partition, ranges) in by_log {
            let isr = view.partition_by_id(partition).map_or(&[][..], |p| &p.isr);
            self.budget.lost(partition, broker, isr);
            let beyond_budget = self.budget.is_beyond(partition);
            if how == LossKind::Rot {
                for range in &ranges {
                    let known = self.rotten.iter().position(|(h, r, ..)| *h == host && r == range);
                    let (from, to) = known.map_or((Offset(0), Offset(i64::MAX)), |i| {
                        let (_, _, from, to) = self.rotten.swap_remove(i);
                        (from, to)
                    });
                    let range = range.clone();
                    self.damages.push(Damage { at: event.at, host, broker, partition, range, from, to, beyond_budget });
                }
            }
            self.open_losses.push(Open { loss: self.losses.len(), ranges });
            self.losses.push(Loss { at: event.at, host, broker, partition, how, from: None, beyond_budget });
            self.excuse(partition);
        }
    }

    /// The budget of a partition is exceeded: all who lost something since then share in it.
    fn excuse(&mut self, partition: TopicIdPartition) {
        if self.budget.is_beyond(partition) {
            let since = self.budget.lost_since(partition);
            for loss in self.losses.iter_mut().filter(|l| l.partition == partition && since.contains(&l.broker)) {
                loss.beyond_budget = true;
            }
            for damage in self.damages.iter_mut().filter(|d| d.partition == partition && since.contains(&d.broker)) {
                damage.beyond_budget = true;
            }
        }
    }

    /// Tells which batches a rotten range lies in. Call it before the damage is announced.
    pub(super) fn rot(&mut self, host: HostId, range: LostData, from: Offset, to: Offset) {
        self.rotten.push((host, range, from, to));
    }

    /// Whether a loss's first offset should be read from the disk now.
    pub(super) fn is_curious(&self) -> bool {
        !self.open_losses.is_empty()
    }

    /// Reads it.
    pub(super) fn look(&mut self, sim: &dyn World) {
        for open in std::mem::take(&mut self.open_losses) {
            let loss = &mut self.losses[open.loss];
            let first = |range: &LostData| first_offset_lost(sim.file(loss.host, &range.file), range);
            loss.from = open.ranges.iter().filter_map(first).min();
        }
    }
}

/// The partition of a segment's path, `orders-0/00000000000000000000.log`.
fn partition_of(path: &Path) -> Option<PartitionName> {
    let (dir, file) = path.as_str().split_once('/')?;
    file.ends_with(".log").then(|| PartitionName::read(dir)).flatten()
}

/// A segment's base offset, from its name.
fn base_offset(path: &Path) -> Option<Offset> {
    path.file_name().strip_suffix(".log")?.parse().ok().map(Offset)
}

/// The first offset in a lost range: that of the batch in which it begins, all before it being whole.
fn first_offset_lost(file: Option<Bytes>, range: &LostData) -> Option<Offset> {
    let base = base_offset(&range.file)?;
    let Some(content) = file else { return Some(base) };
    Some(offset_at(&content, range.from, base))
}

/// The first offset of the batch that a byte of a segment belongs to.
pub(super) fn offset_at(segment: &Bytes, byte: u64, base: Offset) -> Offset {
    batches_until(segment, byte, base).0
}

/// The offset at which the batch with a byte begins, and the one at which it ends.
fn batches_until(segment: &Bytes, byte: u64, base: Offset) -> (Offset, Offset) {
    let (mut at, mut next) = (0usize, base);
    while let Some(batch) = BatchSpan::read(&segment[at..]) {
        if (at + batch.size) as u64 > byte {
            return (batch.base, batch.next);
        }
        at += batch.size;
        next = batch.next;
    }
    (next, Offset(i64::MAX))
}

/// The offsets of the batches that a range of a segment touches.
pub(super) fn offsets_of(segment: &Bytes, range: &LostData) -> Option<(Offset, Offset)> {
    let base = base_offset(&range.file)?;
    let (from, _) = batches_until(segment, range.from, base);
    let (_, to) = batches_until(segment, range.to.saturating_sub(1).max(range.from), base);
    Some((from, to))
}
