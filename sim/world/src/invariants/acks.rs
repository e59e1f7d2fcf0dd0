//! ack-justified: an acknowledgement rests on what the replicas hold when it is decided.
//!
//! Kafka acknowledges without fsync: appended means in the page cache. Crashes and ISR changes after the decision are
//! legal, and so is a member that had appended the record and lost it before.

use super::cluster::PartIx;
use super::finding::Ctx;
use super::requests::{Asked, Decided, ProduceAsked, Request};
use super::{Check, Invariants};
use crate::event::{NodeRef, Ordinal};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use klamm_model::ids::*;
use klamm_model::node::ConnId;
use klamm_model::small_map::Few;

/// What a node says of a decision.
pub(super) struct Decision<'a> {
    pub(super) conn: ConnId,
    pub(super) correlation: i32,
    pub(super) partition: TopicIdPartition,
    pub(super) epoch: LeaderEpoch,
    pub(super) base: Offset,
    pub(super) last: Offset,
    pub(super) high_watermark: Offset,
    pub(super) maximal: &'a [NodeId],
    pub(super) duplicate: bool,
}

impl Invariants {
    /// A Produce is taken up.
    pub(super) fn produce_taken(
        &mut self,
        node: NodeRef,
        conn: ConnId,
        correlation: i32,
        at: Ordinal,
        request: &ProduceRequest,
    ) {
        let mut batches = Few::new();
        for topic in &request.topic_data {
            for data in &topic.partition_data {
                let Some(part) = self.cluster.named(&topic.name.0, topic.topic_id, data.index) else { continue };
                let Some(records) = &data.records else { continue };
                let all = super::batch::heads(records);
                batches.extend(all.map(|(head, _)| ProduceAsked { part, crc: head.crc, appended: false }));
            }
        }
        let asked = Asked::Produce { acks: request.acks, batches, decided: Few::new() };
        self.requests.taken(node, conn, Request { correlation, taken: at, asked });
    }

    /// A leader decided to acknowledge acks=all.
    pub(super) fn ack_decided(&mut self, ctx: Ctx, node: NodeRef, decision: &Decision<'_>) {
        let Decision { partition, epoch, base, last, duplicate, .. } = *decision;
        let ix = self.cluster.part(partition);
        if let Some(request) = self.requests.open(node, decision.conn, decision.correlation)
            && let Asked::Produce { decided, .. } = &mut request.asked
        {
            decided.push(Decided { part: ix, base });
        }
        let me = self.cluster.broker_id(node).unwrap_or(NodeId::NONE);
        let part = &self.cluster.parts[ix.0];
        let min = self.cluster.effective_min_isr(part);
        let Some(seat) = part.seat(node) else { return };
        self.armed.judged(Check::AckJustified);
        self.armed.judged(Check::TraceContradicted);
        let report = |check, detail: String, because: &[Ordinal]| {
            ctx.finding(check, detail).about(partition).offset(last).epoch(epoch).because(because)
        };
        if let Some(known) = seat.high_watermark
            && decision.high_watermark > known
        {
            let detail = format!("decides with high watermark {}, having said {known} before", decision.high_watermark);
            self.findings.report(report(Check::TraceContradicted, detail, &[]));
        }
        let high_watermark = seat.high_watermark.unwrap_or(decision.high_watermark).min(decision.high_watermark);
        if high_watermark <= last {
            let detail = format!("offsets {base}-{last} are acknowledged at high watermark {high_watermark}");
            self.findings.report(report(Check::AckJustified, detail, &[]));
        }
        let Some(leading) = part.leading(node).filter(|l| l.epoch == epoch) else {
            let detail = format!("acknowledges in epoch {epoch}, in which the node does not lead");
            self.findings.report(report(Check::AckJustified, detail, &[]));
            return;
        };
        if leading.maximal.len() < min || decision.maximal.len() < min {
            let size = leading.maximal.len().min(decision.maximal.len());
            let detail =
                format!("offsets {base}-{last} are acknowledged with a maximal ISR of {size}, {min} are needed");
            self.findings.report(report(Check::AckJustified, detail, &[leading.isr_since]));
        }
        if duplicate {
            return;
        }
        let Some(log) = seat.replica.map(|rx| self.replicas.get(rx)) else { return };
        let Some(batch) = log.find(last.0).copied() else {
            if last.0 >= seat.log_start.0 && !log.damaged() {
                let detail =
                    format!("offsets {base}-{last} are acknowledged, but the leader's disk ends at {}", log.end());
                self.findings.report(report(Check::AckJustified, detail, &[]));
            }
            return;
        };
        for &member in leading.maximal.iter().filter(|m| **m != me) {
            let theirs = self.cluster.broker(member).and_then(|n| part.seat(n)).and_then(|s| s.replica);
            if theirs.is_some_and(|rx| self.replicas.get(rx).had(batch.epoch, last.0)) {
                continue;
            }
            let detail = format!(
                "offsets {base}-{last} are acknowledged, but broker {member} of the maximal ISR never appended them"
            );
            let witness = [part.identities.seen(&batch), leading.isr_since];
            self.findings.report(report(Check::AckJustified, detail, &witness));
            break;
        }
    }

    /// A Produce is answered.
    pub(super) fn produce_answered(&mut self, ctx: Ctx, node: NodeRef, request: Request, response: &ProduceResponse) {
        let Asked::Produce { acks, decided, .. } = &request.asked else { return };
        for topic in &response.responses {
            for one in topic.partition_responses.iter().filter(|p| p.error_code == 0) {
                let Some(ix) = self.cluster.named(&topic.name.0, topic.topic_id, one.index) else { continue };
                self.acknowledged(ctx, node, ix, *acks, decided, Offset(one.base_offset), request.taken);
            }
        }
    }

    fn acknowledged(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        ix: PartIx,
        acks: i16,
        decided: &[Decided],
        base: Offset,
        taken: Ordinal,
    ) {
        let part = &self.cluster.parts[ix.0];
        // What is decided for acks=all was counted with the decision.
        self.armed.judged(if acks == -1 { Check::TraceContradicted } else { Check::AckJustified });
        if acks == -1 && !decided.iter().any(|d| d.part == ix && d.base == base) {
            let detail = format!("an acknowledgement with acks=all for offset {base} leaves without a decision for it");
            let finding = ctx.finding(Check::TraceContradicted, detail).about(part.id).offset(base);
            self.findings.report(finding.because(&[taken]));
        }
        let Some(log) = part.seat(node).and_then(|s| s.replica).map(|rx| self.replicas.get(rx)) else { return };
        if base.0 >= 0 && log.highest() <= base.0 && !log.damaged() {
            let detail = format!(
                "offset {base} is acknowledged, but the leader's disk never held it (it ends at {})",
                log.end()
            );
            let finding = ctx.finding(Check::AckJustified, detail).about(part.id).offset(base);
            self.findings.report(finding.because(&[taken]));
        }
    }
}
