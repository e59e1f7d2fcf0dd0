//! disk-audit and replay-equals-live: at the end of a phase every replica's files are read again by a plain reader of
//! the judge's own, and compared with each other, with the ghost log and with what the nodes say of themselves.

use super::batch::{crc_holds, heads};
use super::cluster::PartIx;
use super::compaction::copy_file;
use super::finding::{Ctx, Finding};
use super::replica::{Batch, Producer, log_file};
use super::{Account, AuditAt, Check, Invariants, ReplicaFiles};
use crate::event::NodeRef;
use bytes::{Bytes, BytesMut};
use klamm_model::ids::*;
use klamm_model::inspect::{BrokerInspection, ControllerInspection, Inspection, PartitionInspection};
use std::collections::BTreeMap;

/// One replica as its files say.
struct OnDisk {
    node: NodeRef,
    part: PartIx,
    batches: Vec<Batch>,
    /// The first batch whose CRC does not hold.
    rotten: Option<i64>,
    producers: BTreeMap<ProducerId, Producer>,
    damaged: bool,
}

impl OnDisk {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, Batch::next)
    }
    fn find(&self, base: i64) -> Option<&Batch> {
        self.batches.binary_search_by_key(&base, |b| b.base).ok().map(|at| &self.batches[at])
    }
}

impl Invariants {
    pub(super) fn audit_files(&mut self, ctx: Ctx, when: AuditAt, files: &[ReplicaFiles], accounts: &[Account]) {
        let mut replicas = Vec::new();
        for host in files {
            self.read_files(host, accounts, &mut replicas);
        }
        let mut found = Vec::new();
        for replica in &replicas {
            if !replica.damaged && !self.cluster.parts[replica.part.0].deleted {
                self.armed.judged(Check::DiskAudit);
                self.armed.judged(Check::ReplayEqualsLive);
            }
            self.audit_replica(ctx, when, replica, accounts, &mut found);
        }
        if when == AuditAt::Convergence {
            self.audit_equal(ctx, &replicas, &mut found);
        }
        for _ in controllers(accounts).filter(|(_, c)| c.committed >= self.cluster.log_end) {
            self.armed.judged(Check::ReplayEqualsLive);
        }
        self.audit_images(ctx, accounts, &mut found);
        for finding in found {
            self.findings.report(finding);
        }
    }

    fn read_files(&self, host: &ReplicaFiles, accounts: &[Account], into: &mut Vec<OnDisk>) {
        let mut dirs: BTreeMap<&str, Vec<(i64, &[Bytes])>> = BTreeMap::new();
        for (path, content) in &host.files {
            if let Some((dir, base)) = log_file(path) {
                dirs.entry(dir).or_default().push((base, content));
            }
        }
        if self.compacting {
            let copies = host.files.iter().filter_map(|(path, content)| Some((copy_file(path, ".swap")?, content)));
            for ((dir, base), content) in copies.filter(|((dir, base), _)| !half_copied(host, dir, *base)) {
                // Such a copy counts: what it replaces is as good as gone.
                let end = content.iter().flat_map(|c| heads(c)).last().map_or(base, |(head, _)| head.last.0 + 1);
                let segments = dirs.entry(dir).or_default();
                segments.retain(|(b, _)| *b != base && !(base..end).contains(b));
                segments.push((base, content));
            }
        }
        let Some(node) = self.cluster.nodes.get(host.node.0 as usize) else { return };
        for (dir, mut segments) in dirs {
            let Some(known) = self.replicas.find(node.host, dir).map(|rx| self.replicas.get(rx)) else { continue };
            let Some(part) = known.partition.and_then(|id| self.cluster.find(id)) else { continue };
            let account = replica_account(accounts, host.node, self.cluster.parts[part.0].id);
            let (end, account_start) = (account.map(|a| a.log_end.0), account.map_or(0, |a| a.log_start.0));
            segments.sort_by_key(|(base, _)| *base);
            let from = account_start.max(segments.first().map_or(0, |(base, _)| *base));
            let mut replica = OnDisk {
                node: host.node,
                part,
                batches: Vec::new(),
                rotten: None,
                producers: BTreeMap::new(),
                damaged: known.damaged(),
            };
            for (_, content) in segments {
                read_segment(content, end, &mut replica);
            }
            let part = &self.cluster.parts[part.0];
            if let Some(contents) = part.contents.as_ref() {
                let committed = |b: &Batch| part.ghost.find(b.base).is_some_and(|g| g.same(b));
                replica.batches = contents.restore(from, &replica.batches, committed);
            }
            into.push(replica);
        }
    }

    fn audit_replica(&self, ctx: Ctx, when: AuditAt, replica: &OnDisk, accounts: &[Account], found: &mut Vec<Finding>) {
        let part = &self.cluster.parts[replica.part.0];
        if replica.damaged || part.deleted {
            return;
        }
        let name = self.cluster.name(replica.node);
        let report = |check, offset: i64, text: String| {
            let mut finding = ctx.finding(check, format!("{name}: {text}")).about(part.id).offset(Offset(offset));
            finding.node = Some(replica.node);
            finding.host = self.cluster.nodes.get(replica.node.0 as usize).map(|n| n.host);
            finding
        };
        let account = replica_account(accounts, replica.node, part.id);
        if let Some(account) = account {
            self.audit_account(replica, account, found, &report);
        }
        let me = self.cluster.broker_id(replica.node).unwrap_or(NodeId::NONE);
        let in_sync = part.committed.as_ref().is_some_and(|c| c.isr.contains(&me));
        let start = account.map_or(0, |a| a.log_start.0).max(replica.batches.first().map_or(0, |b| b.base));
        // Both in order of their bases.
        let mut rest = replica.batches.iter().peekable();
        for committed in part.ghost.iter().filter(|g| g.base >= start) {
            while rest.next_if(|b| b.base < committed.base).is_some() {}
            let Some(theirs) = rest.next_if(|b| b.base == committed.base) else {
                let covered = replica.batches.iter().any(|b| b.base < committed.base && b.last() >= committed.base);
                if (in_sync && covered) || (when == AuditAt::Convergence && in_sync && account.is_some()) {
                    let text = format!(
                        "the committed batch at offset {} (epoch {}) is not on disk, which ends at {}",
                        committed.base,
                        committed.epoch,
                        replica.end()
                    );
                    let seen = part.identities.seen(committed);
                    found.push(report(Check::DiskAudit, committed.base, text).because(&[seen]));
                    break;
                }
                continue;
            };
            // A replica that is not in sync may hold a tail that it will cut; equal epochs must agree anywhere.
            if !theirs.same(committed) && (in_sync || theirs.epoch == committed.epoch) {
                let text = format!(
                    "at offset {} the disk holds a batch of epoch {} (CRC {:08x}); committed is one of epoch {} (CRC {:08x})",
                    committed.base, theirs.epoch, theirs.crc, committed.epoch, committed.crc
                );
                let seen = part.identities.seen(committed);
                found.push(report(Check::DiskAudit, committed.base, text).because(&[seen]));
                break;
            }
        }
    }

    /// What a node says of a replica against its files.
    fn audit_account(
        &self,
        replica: &OnDisk,
        account: &PartitionInspection,
        found: &mut Vec<Finding>,
        report: &dyn Fn(Check, i64, String) -> Finding,
    ) {
        let (start, end) = (account.log_start.0, account.log_end.0);
        if let Some(at) = replica.rotten.filter(|at| *at < end && *at >= start) {
            found.push(report(Check::DiskAudit, at, format!("the batch at offset {at} has a wrong CRC")));
        }
        if end > start {
            let mut next = None;
            for batch in replica.batches.iter().filter(|b| b.last() >= start && b.base < end) {
                if next.is_none_or(|n| n == batch.base) && (next.is_some() || batch.base <= start) {
                    next = Some(batch.next());
                    continue;
                }
                break;
            }
            if next.is_none_or(|n| n < end) {
                let next = next.unwrap_or(start);
                let text = format!(
                    "the node says its log runs from {start} to {end}; its files have no whole batch at {next}"
                );
                found.push(report(Check::DiskAudit, next, text));
            }
        }
        let mut epoch = None;
        for batch in replica.batches.iter().filter(|b| b.base >= start && b.base < end) {
            if epoch.is_some_and(|e| e != batch.epoch)
                && !account.epochs.contains(&(LeaderEpoch(batch.epoch), Offset(batch.base)))
            {
                let text = format!(
                    "epoch {} begins at offset {} on disk; the node's epochs are {:?}",
                    batch.epoch,
                    batch.base,
                    account.epochs.iter().map(|(e, o)| (e.0, o.0)).collect::<Vec<_>>()
                );
                found.push(report(Check::DiskAudit, batch.base, text));
                break;
            }
            epoch = Some(batch.epoch);
        }
        if start == 0 && replica.batches.first().is_some_and(|b| b.base == 0) {
            self.audit_producers(replica, account, found, report);
        }
    }

    /// Producer state as kept against producer state as the log gives it.
    fn audit_producers(
        &self,
        replica: &OnDisk,
        account: &PartitionInspection,
        found: &mut Vec<Finding>,
        report: &dyn Fn(Check, i64, String) -> Finding,
    ) {
        for (pid, live) in account.producers.iter().filter(|(_, p)| p.last_offset < account.log_end) {
            let Some(replayed) = replica.producers.get(pid) else {
                let text = format!("the node keeps state of producer {pid}, of which its log holds nothing");
                found.push(report(Check::ReplayEqualsLive, live.last_offset.0, text));
                continue;
            };
            let (a, b) = ((live.epoch, live.last_sequence), (replayed.epoch, replayed.last_sequence));
            if a != b || live.last_offset != replayed.last_offset {
                let text = format!(
                    "the node has producer {pid} at epoch {}, sequence {}, offset {}; its log says epoch {}, sequence {}, offset {}",
                    a.0, a.1, live.last_offset, b.0, b.1, replayed.last_offset
                );
                found.push(report(Check::ReplayEqualsLive, live.last_offset.0, text));
            }
        }
        let view = self.cluster.parts[replica.part.0].seat(replica.node).and_then(|s| s.replica);
        let Some(view) = view.map(|rx| self.replicas.get(rx)) else { return };
        for (pid, replayed) in &replica.producers {
            // Expired state was removed from the view, too.
            let kept = view.producers.get(pid).is_some_and(|p| p.known);
            if kept && !account.producers.contains_key(pid) {
                let text = format!("the node has no state of producer {pid}, which its log gives");
                found.push(report(Check::ReplayEqualsLive, replayed.last_offset.0, text));
            }
        }
    }

    /// After convergence replicas are equal wherever two of them hold an offset.
    fn audit_equal(&self, ctx: Ctx, replicas: &[OnDisk], found: &mut Vec<Finding>) {
        let mut first: BTreeMap<PartIx, &OnDisk> = BTreeMap::new();
        for replica in replicas.iter().filter(|r| !r.damaged && !self.cluster.parts[r.part.0].deleted) {
            let Some(other) = first.get(&replica.part) else {
                first.insert(replica.part, replica);
                continue;
            };
            let part = &self.cluster.parts[replica.part.0];
            if part.id == TopicIdPartition::METADATA {
                continue;
            }
            for batch in &replica.batches {
                if other.find(batch.base).is_some_and(|o| !o.same(batch)) {
                    let (a, b) = (self.cluster.name(other.node), self.cluster.name(replica.node));
                    let text = format!("{a} and {b} hold different batches at offset {} after convergence", batch.base);
                    let seen = part.identities.seen(batch);
                    let finding = ctx.finding(Check::DiskAudit, text).about(part.id).offset(Offset(batch.base));
                    found.push(finding.because(&[seen]));
                    break;
                }
            }
        }
    }

    /// The controller's and brokers' images against the committed records, replayed.
    fn audit_images(&self, ctx: Ctx, accounts: &[Account], found: &mut Vec<Finding>) {
        let active = controllers(accounts).filter(|(_, c)| c.committed >= self.cluster.log_end);
        for (node, controller) in active {
            let name = self.cluster.name(node);
            for theirs in &controller.partitions {
                let ours =
                    self.cluster.find(theirs.partition).and_then(|ix| self.cluster.parts[ix.0].committed.as_ref());
                let equal = ours.is_some_and(|o| {
                    (o.leader, o.leader_epoch, o.partition_epoch)
                        == (theirs.leader, theirs.leader_epoch, theirs.partition_epoch)
                        && (&o.isr, &o.elr, &o.replicas) == (&theirs.isr, &theirs.elr, &theirs.replicas)
                });
                if !equal {
                    let text = format!("{name} has {theirs:?}; its committed records give {ours:?}");
                    found.push(ctx.finding(Check::ReplayEqualsLive, text).about(theirs.partition));
                }
            }
            for &(id, epoch, fenced, leaving) in &controller.brokers {
                let ours = self.cluster.brokers.get(&id);
                if ours.is_none_or(|o| (o.epoch, o.fenced, o.shutting_down) != (epoch, fenced, leaving)) {
                    let text = format!(
                        "{name} has broker {id} at epoch {epoch}, fenced {fenced}, shutting down {leaving}; its committed \
                         records give {ours:?}"
                    );
                    found.push(ctx.finding(Check::ReplayEqualsLive, text));
                }
            }
            for (broker, theirs) in brokers(accounts) {
                if theirs.metadata_applied == controller.committed && theirs.image_digest != controller.image_digest {
                    let text = format!(
                        "{} and {name} have different images at offset {}",
                        self.cluster.name(broker),
                        controller.committed
                    );
                    found.push(ctx.finding(Check::ReplayEqualsLive, text));
                }
            }
        }
    }
}

/// Whether a copy has files that are not complete.
fn half_copied(host: &ReplicaFiles, dir: &str, base: i64) -> bool {
    let stem = format!("{dir}/{base:020}.");
    host.files.iter().any(|(path, _)| path.as_str().starts_with(&stem) && path.as_str().ends_with(".cleaned"))
}

/// Reads on where `into` ends; batches at or above `end` do not count for the producers.
/// Reads a segment in the pieces it was written in, which nearly always are whole batches. Where one is not, the rest
/// is joined.
fn read_segment(content: &[Bytes], end: Option<i64>, into: &mut OnDisk) {
    for (at, piece) in content.iter().enumerate() {
        let Some(read) = read_batches(piece, end, into) else { return };
        if read < piece.len() {
            let mut rest = BytesMut::from(&piece[read..]);
            content[at + 1..].iter().for_each(|p| rest.extend_from_slice(p));
            read_batches(&rest, end, into);
            return;
        }
    }
}

/// Returns how far whole batches reach, or nothing if what follows must not be read.
fn read_batches(content: &[u8], end: Option<i64>, into: &mut OnDisk) -> Option<usize> {
    let mut all = heads(content);
    for (head, bytes) in all.by_ref() {
        if into.batches.last().is_some_and(|b| head.base.0 <= b.last()) {
            return None;
        }
        if !crc_holds(&head, bytes) {
            into.rotten.get_or_insert(head.base.0);
            return None;
        }
        into.batches.push(Batch::of(&head));
        if head.producer.0 >= 0 && !head.control && end.is_none_or(|end| head.last.0 < end) {
            let producer = Producer {
                epoch: head.producer_epoch,
                last_sequence: head.last_sequence(),
                last_offset: head.last,
                seen: crate::event::Ordinal(0),
                known: true,
            };
            into.producers.insert(head.producer, producer);
        }
    }
    Some(all.position())
}

pub(super) fn brokers(accounts: &[Account]) -> impl Iterator<Item = (NodeRef, &BrokerInspection)> {
    accounts.iter().filter_map(|a| match &a.inspection {
        Some(Inspection::Broker(b)) => Some((a.node, b)),
        _ => None,
    })
}

pub(super) fn controllers(accounts: &[Account]) -> impl Iterator<Item = (NodeRef, &ControllerInspection)> {
    accounts.iter().filter_map(|a| match &a.inspection {
        Some(Inspection::Controller(c)) if c.active => Some((a.node, c)),
        _ => None,
    })
}

fn replica_account(accounts: &[Account], node: NodeRef, id: TopicIdPartition) -> Option<&PartitionInspection> {
    let (_, broker) = brokers(accounts).find(|(n, _)| *n == node)?;
    broker.partitions.iter().find(|p| p.partition == id)
}
