//! The metadata log: metadata-prefix, quorum-safety, and unique broker epochs.

use super::finding::Ctx;
use super::{Check, Invariants};
use crate::event::NodeRef;
use klamm_model::ids::*;
use klamm_model::record::schema::MetadataRecord;
use std::sync::Arc;

impl Invariants {
    /// A controller's high watermark passed a record.
    pub(super) fn metadata_committed(
        &mut self,
        ctx: Ctx,
        offset: Offset,
        epoch: LeaderEpoch,
        batch_end: bool,
        record: &Arc<MetadataRecord>,
    ) {
        self.armed.judged(Check::MetadataPrefix);
        if offset < self.cluster.log_end {
            // Another controller, or another incarnation, passes what was committed before.
            let known =
                self.cluster.log.binary_search_by_key(&offset, |(o, ..)| *o).ok().map(|at| &self.cluster.log[at]);
            if known.is_none_or(|(_, e, r)| *e != epoch || r != record) {
                let known = known.map_or("a control record".to_owned(), |(_, e, r)| format!("{r:?} of epoch {e}"));
                let detail = format!("{record:?} of epoch {epoch} is committed where {known} was");
                let finding = ctx.finding(Check::MetadataPrefix, detail).about(TopicIdPartition::METADATA);
                self.findings.report(finding.offset(offset).epoch(epoch));
            }
            return;
        }
        if let Some((_, last, _)) = self.cluster.log.last()
            && *last > epoch
        {
            let detail = format!("a record of quorum epoch {epoch} is committed after one of epoch {last}");
            let finding = ctx.finding(Check::MetadataPrefix, detail).about(TopicIdPartition::METADATA);
            self.findings.report(finding.offset(offset).epoch(epoch));
        }
        self.check_durable(ctx, offset, epoch);
        self.check_broker_epoch(ctx, record);
        self.cluster.log.push((offset, epoch, record.clone()));
        self.cluster.log_end = offset.plus(1);
        self.cluster.replay(record, ctx.ordinal);
        match &**record {
            MetadataRecord::Partition(r) => self.subscribers_of(ctx, r.partition.topic),
            MetadataRecord::RemoveTopic { topic_id } => self.subscribers_of(ctx, *topic_id),
            _ => {}
        }
        if batch_end {
            self.batch_committed(ctx);
        }
    }

    /// A topic has other partitions than before: groups that subscribe to it rebalance.
    fn subscribers_of(&mut self, ctx: Ctx, topic: TopicId) {
        if let Some(name) = self.cluster.topic_name(topic).map(str::to_owned) {
            self.topic_changed(ctx, &name);
        }
    }

    fn batch_committed(&mut self, ctx: Ctx) {
        let mut touched = std::mem::take(&mut self.cluster.touched);
        for broker in std::mem::take(&mut self.cluster.brokers_touched) {
            // A broker's state is part of the rules of every ISR it is in.
            for (at, part) in self.cluster.parts.iter().enumerate() {
                let ix = super::cluster::PartIx(at);
                let member = part.committed.as_ref().is_some_and(|c| c.isr.contains(&broker));
                if member && !touched.iter().any(|(t, _)| *t == ix) {
                    touched.push((ix, part.committed.clone()));
                }
            }
        }
        for (ix, before) in &touched {
            self.check_isr(ctx, *ix, before.as_ref());
            self.note_unclean(ctx, *ix);
        }
        touched.clear();
        self.cluster.touched = touched;
    }

    /// Committed means: on the durable logs of a majority of voters.
    fn check_durable(&mut self, ctx: Ctx, offset: Offset, epoch: LeaderEpoch) {
        let controllers = self.cluster.nodes.iter().enumerate();
        let (mut voters, mut durable, mut furthest) = (0, 0, 0);
        for (at, node) in controllers {
            if !self.cluster.is_controller(NodeRef(at as u16)) {
                continue;
            }
            voters += 1;
            if let Some(rx) = self.replicas.find(node.host, "__cluster_metadata-0") {
                let end = self.replicas.get(rx).durable_end();
                furthest = furthest.max(end);
                durable += usize::from(end > offset.0);
            }
        }
        if voters > 0 {
            self.armed.judged(Check::QuorumSafety);
        }
        if voters > 0 && durable <= voters / 2 {
            let detail = format!(
                "offset {offset} is committed with {durable} of {voters} voters holding it durably (the furthest up to {furthest})"
            );
            let finding = ctx.finding(Check::QuorumSafety, detail).about(TopicIdPartition::METADATA);
            self.findings.report(finding.offset(offset).epoch(epoch));
        }
    }

    fn check_broker_epoch(&mut self, ctx: Ctx, record: &MetadataRecord) {
        let MetadataRecord::RegisterBroker(r) = record else { return };
        self.armed.judged(Check::UniqueIds);
        if let Some((id, incarnation, since)) = self.broker_epochs.get(&r.broker_epoch).copied() {
            if (id, incarnation) != (r.broker_id, r.incarnation_id) {
                let detail = format!("broker epoch {} is given to brokers {id} and {}", r.broker_epoch, r.broker_id);
                self.findings.report(ctx.finding(Check::UniqueIds, detail).because(&[since]));
            }
            return;
        }
        self.broker_epochs.insert(r.broker_epoch, (r.broker_id, r.incarnation_id, ctx.ordinal));
    }

    /// A broker's image reached a point of the metadata log.
    pub(super) fn metadata_applied(&mut self, ctx: Ctx, offset: Offset, epoch: LeaderEpoch) {
        let last = Offset(offset.0 - 1);
        if last.0 < 0 {
            return;
        }
        self.armed.judged(Check::MetadataPrefix);
        let committed =
            self.cluster.log.binary_search_by_key(&last, |(o, ..)| *o).ok().map(|at| self.cluster.log[at].1);
        let there = committed.map(|e| e.0).or_else(|| {
            // No record of the state machine: a control record, if anything.
            let logs = self.replicas.iter().filter(|r| r.partition == Some(TopicIdPartition::METADATA));
            let controllers = &self.cluster;
            let logs = logs.filter(|r| controllers.is_controller(r.owner));
            logs.filter_map(|r| r.find(last.0)).map(|b| b.epoch).max()
        });
        let wrong = match there {
            None => Some(format!("metadata up to {offset} is applied; committed is up to {}", self.cluster.log_end)),
            // An image may not count a control record's epoch as its own.
            Some(known) if epoch.0 > known || (committed.is_some() && epoch.0 != known) => Some(format!(
                "metadata up to {offset} is applied with epoch {epoch}, committed has epoch {known} there"
            )),
            Some(_) => None,
        };
        if let Some(detail) = wrong {
            let finding = ctx.finding(Check::MetadataPrefix, detail).about(TopicIdPartition::METADATA);
            self.findings.report(finding.offset(last).epoch(epoch));
        }
    }

    /// A broker heard that it is registered.
    pub(super) fn broker_registered(&mut self, ctx: Ctx, node: NodeRef, epoch: BrokerEpoch) {
        let Some(id) = self.cluster.broker_id(node) else { return };
        self.armed.judged(Check::TraceContradicted);
        let committed = self.broker_epochs.get(&epoch).is_some_and(|(other, ..)| *other == id);
        if !committed {
            let detail =
                format!("broker {id} says it is registered with epoch {epoch}, which was never committed for it");
            self.findings.report(ctx.finding(Check::TraceContradicted, detail));
        }
    }
}
