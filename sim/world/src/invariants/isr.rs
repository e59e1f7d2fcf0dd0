//! isr-legal: who may count as in sync (KIP-497, KIP-841, KIP-903, KIP-966), judged from committed records after each
//! whole batch of them; and what leaders make of it. Also the fencing of AlterPartition.

use super::cluster::{Committed, PartIx};
use super::finding::Ctx;
use super::requests::{Asked, MustRefuse, Request};
use super::{Check, Invariants};
use crate::event::{NodeRef, Ordinal};
use kafka_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use klamm_model::ids::*;
use klamm_model::node::ConnId;

fn ids(list: &[NodeId]) -> Vec<i32> {
    list.iter().map(|n| n.0).collect()
}

fn same_members(a: &[NodeId], b: &[NodeId]) -> bool {
    a.len() == b.len() && a.iter().all(|m| b.contains(m))
}

impl Invariants {
    /// The batch of records that touched a partition is complete.
    pub(super) fn check_isr(&mut self, ctx: Ctx, ix: PartIx, before: Option<&Committed>) {
        let part = &self.cluster.parts[ix.0];
        let Some(now) = part.committed.clone() else { return };
        if part.deleted {
            return;
        }
        self.armed.judged(Check::IsrLegal);
        let id = part.id;
        let min = self.cluster.effective_min_isr(part);
        let elr_on = self.cluster.elr;
        let mut broken: Vec<(String, Ordinal)> = Vec::new();
        let isr = ids(&now.isr);
        let all = ids(&now.replicas);
        if !now.isr.iter().all(|m| now.replicas.contains(m)) {
            broken.push((format!("ISR {isr:?} is not within the replicas {all:?}"), now.ordinal));
        }
        if (1..now.isr.len()).any(|n| now.isr[..n].contains(&now.isr[n])) {
            broken.push((format!("ISR {isr:?} names a member twice"), now.ordinal));
        }
        if now.isr.is_empty() && !elr_on {
            broken.push(("the ISR is empty without eligible leader replicas".to_owned(), now.ordinal));
        }
        if now.elr.iter().any(|m| now.isr.contains(m)) {
            let elr = ids(&now.elr);
            broken.push((format!("ELR {elr:?} and ISR {isr:?} overlap"), now.ordinal));
        }
        if !now.elr.is_empty() && now.isr.len() >= min {
            let elr = ids(&now.elr);
            broken.push((format!("ELR {elr:?} is kept though the ISR {isr:?} has {min} members"), now.ordinal));
        }
        if now.leader != NodeId::NONE && !now.isr.contains(&now.leader) {
            broken.push((format!("leader {} is not in its ISR {isr:?}", now.leader), now.ordinal));
        }
        for member in &now.isr {
            let registered = self.cluster.brokers.get(member);
            let fenced = registered.is_none_or(|b| b.fenced);
            let last_one = !elr_on && now.isr.len() == 1 && now.leader == NodeId::NONE;
            if fenced && !last_one {
                let since = registered.map_or(Ordinal(0), |b| b.ordinal);
                broken.push((format!("fenced broker {member} is in the ISR {isr:?}, leader {}", now.leader), since));
            }
        }
        let added: Vec<NodeId> = match before {
            // Elections put the leader into the ISR; the rule is for those who join.
            Some(before) => now.isr.iter().copied().filter(|m| !before.isr.contains(m) && *m != now.leader).collect(),
            None => Vec::new(),
        };
        for &member in &added {
            self.check_added(id, ix, &now, member, &mut broken);
        }
        for (detail, because) in broken {
            let finding = ctx.finding(Check::IsrLegal, detail).about(id).epoch(now.leader_epoch);
            self.findings.report(finding.because(&[because, now.ordinal]));
        }
    }

    fn check_added(
        &self,
        id: TopicIdPartition,
        ix: PartIx,
        now: &Committed,
        member: NodeId,
        broken: &mut Vec<(String, Ordinal)>,
    ) {
        let part = &self.cluster.parts[ix.0];
        if let Some(broker) = self.cluster.brokers.get(&member) {
            if broker.shutting_down {
                broken.push((format!("broker {member} joins the ISR while shutting down"), broker.ordinal));
            }
            let asked = part.asked_isr.iter().find(|(m, e)| *m == member && e.0 >= 0);
            if let Some((_, asked)) = asked.filter(|(_, e)| *e != broker.epoch) {
                let epoch = broker.epoch;
                let text = format!("broker {member} joins the ISR with broker epoch {asked}, registered is {epoch}");
                broken.push((text, part.asked_at));
            }
        }
        // What it must hold: everything below the high watermark and below the leader epoch's start.
        let Some((seat, leading)) = part.leader_in(now.leader_epoch) else { return };
        let (Some(rx), Some(high_watermark)) = (seat.replica, seat.high_watermark) else { return };
        let needed = high_watermark.max(leading.epoch_start).0;
        let log = self.replicas.get(rx);
        if needed <= seat.log_start.0 || log.damaged() {
            return;
        }
        let Some(last) = log.find(needed - 1) else { return };
        let theirs = self.cluster.broker(member).and_then(|n| part.seat(n)).and_then(|s| s.replica);
        if theirs.is_none_or(|rx| !self.replicas.get(rx).had(last.epoch, needed - 1)) {
            let end = theirs.map_or(0, |rx| self.replicas.get(rx).end());
            let topic = &part.topic;
            let text = format!(
                "broker {member} joins the ISR of {topic}-{} with a log that ends at {end}; the high watermark is \
                 {high_watermark} and epoch {} begins at {}",
                id.partition, leading.epoch, leading.epoch_start
            );
            broken.push((text, leading.since));
        }
    }

    /// What a leader works with must be what was committed at that version.
    pub(super) fn check_installed_isr(
        &mut self,
        ctx: Ctx,
        partition: TopicIdPartition,
        version: PartitionEpoch,
        isr: &[NodeId],
    ) {
        let ix = self.cluster.part(partition);
        let part = &self.cluster.parts[ix.0];
        let Some(newest) = part.versions.back() else { return };
        self.armed.judged(Check::IsrLegal);
        if version > newest.0 {
            let detail = format!("the leader works with partition epoch {version}, committed is {}", newest.0);
            let finding = ctx.finding(Check::IsrLegal, detail).about(partition);
            self.findings.report(finding.because(&[newest.2]));
            return;
        }
        if let Some((_, committed, since)) = part.versions.iter().rev().find(|(v, ..)| *v == version)
            && !same_members(committed, isr)
        {
            let detail = format!(
                "the leader works with ISR {:?} at partition epoch {version}, committed is {:?}",
                ids(isr),
                ids(committed)
            );
            let finding = ctx.finding(Check::IsrLegal, detail).about(partition);
            self.findings.report(finding.because(&[*since]));
        }
    }

    /// A leader asked for another ISR: from here on the union counts.
    pub(super) fn isr_proposed(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        partition: TopicIdPartition,
        epoch: LeaderEpoch,
        isr: &[NodeId],
    ) {
        let ix = self.cluster.part(partition);
        let Some(leading) = self.cluster.parts[ix.0].leading_mut(node).filter(|l| l.epoch == epoch) else { return };
        leading.maximal.clone_from(&leading.isr);
        for member in isr {
            if !leading.maximal.contains(member) {
                leading.maximal.push(*member);
            }
        }
        leading.isr_since = ctx.ordinal;
    }

    /// A leader works with another ISR.
    pub(super) fn isr_installed(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        partition: TopicIdPartition,
        epoch: LeaderEpoch,
        version: PartitionEpoch,
        isr: &[NodeId],
    ) {
        self.check_installed_isr(ctx, partition, version, isr);
        let ix = self.cluster.part(partition);
        let Some(leading) = self.cluster.parts[ix.0].leading_mut(node).filter(|l| l.epoch == epoch) else { return };
        leading.isr = isr.to_vec();
        leading.maximal = isr.to_vec();
        leading.isr_since = ctx.ordinal;
    }

    /// An AlterPartition reaches a controller. What was stale already by the committed log must be refused.
    pub(super) fn alter_partition_taken(
        &mut self,
        node: NodeRef,
        conn: ConnId,
        correlation: i32,
        at: Ordinal,
        request: &AlterPartitionRequest,
    ) {
        let mut refuse = Vec::new();
        let sender = NodeId(request.broker_id.0);
        if let Some(broker) = self.cluster.brokers.get(&sender)
            && request.broker_epoch < broker.epoch.0
        {
            let why = format!(
                "from broker {sender} in its earlier epoch {}, registered is {}",
                request.broker_epoch, broker.epoch
            );
            refuse.push(MustRefuse { partition: None, why, because: broker.ordinal });
        }
        for topic in &request.topics {
            for asked in &topic.partitions {
                let id = TopicIdPartition { topic: TopicId(topic.topic_id), partition: asked.partition_index };
                let Some(ix) = self.cluster.find(id) else { continue };
                let part = &mut self.cluster.parts[ix.0];
                part.asked_isr.clear();
                part.asked_isr.extend(
                    asked.new_isr_with_epochs.iter().map(|s| (NodeId(s.broker_id.0), BrokerEpoch(s.broker_epoch))),
                );
                part.asked_at = at;
                let Some(now) = &part.committed else { continue };
                if asked.leader_epoch < now.leader_epoch.0 || asked.partition_epoch < now.partition_epoch.0 {
                    let why = format!(
                        "with leader epoch {} and partition epoch {}, committed are {} and {}",
                        asked.leader_epoch, asked.partition_epoch, now.leader_epoch, now.partition_epoch
                    );
                    refuse.push(MustRefuse { partition: Some(id), why, because: now.ordinal });
                }
            }
        }
        if !refuse.is_empty() {
            let asked = Asked::AlterPartition { refuse };
            self.requests.taken(node, conn, Request { correlation, taken: at, asked });
        }
    }

    /// An AlterPartition is answered.
    pub(super) fn alter_partition_answered(&mut self, ctx: Ctx, request: &Request, response: &AlterPartitionResponse) {
        let Asked::AlterPartition { refuse } = &request.asked else { return };
        if response.error_code != 0 {
            return;
        }
        for must in refuse {
            let accepted = match must.partition {
                None => true,
                Some(id) => response
                    .topics
                    .iter()
                    .filter(|t| TopicId(t.topic_id) == id.topic)
                    .any(|t| t.partitions.iter().any(|p| p.partition_index == id.partition && p.error_code == 0)),
            };
            self.armed.judged(Check::Fencing);
            if accepted {
                let detail = format!("an AlterPartition {} is accepted", must.why);
                let mut finding = ctx.finding(Check::Fencing, detail).because(&[request.taken, must.because]);
                finding.partition = must.partition;
                self.findings.report(finding);
            }
        }
    }

    /// A leader hears of its AlterPartition. Refused: what it works with from here on is its own matter until it says so.
    pub(super) fn alter_partition_heard(&mut self, node: NodeRef, response: &AlterPartitionResponse) {
        if response.error_code != 0 {
            return;
        }
        for topic in &response.topics {
            for answer in topic.partitions.iter().filter(|p| p.error_code != 0) {
                let id = TopicIdPartition { topic: TopicId(topic.topic_id), partition: answer.partition_index };
                let Some(ix) = self.cluster.find(id) else { continue };
                if let Some(leading) = self.cluster.parts[ix.0].leading_mut(node) {
                    leading.maximal.clone_from(&leading.isr);
                }
            }
        }
    }
}
