//! high-watermark and committed-prefix: what may be called committed, and that it stays so.

use super::finding::Ctx;
use super::{Check, Invariants};
use crate::event::NodeRef;
use klamm_model::ids::*;

impl Invariants {
    /// A high watermark changed.
    pub(super) fn high_watermark(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        partition: TopicIdPartition,
        epoch: LeaderEpoch,
        leading: bool,
        new: Offset,
        log_end: Offset,
    ) {
        let ix = self.cluster.part(partition);
        let part = &mut self.cluster.parts[ix.0];
        let seat = part.seat_mut(node);
        let before = seat.high_watermark.replace(new);
        let replica = seat.replica;
        if before != Some(new) {
            self.armed.judged(Check::HighWatermark);
        }
        if let Some(rx) = replica {
            self.armed.judged(Check::TraceContradicted);
            let log = self.replicas.get(rx);
            if log_end.0 > log.reach() && !log.damaged() {
                let end = log.end();
                let detail = format!("the node says its log ends at {log_end}, but its disk holds only up to {end}");
                let finding = ctx.finding(Check::TraceContradicted, detail).about(partition).epoch(epoch);
                self.findings.report(finding.offset(Offset(end)));
            }
        }
        // An emptied log begins anew where its leader's does, before the disk has done it.
        let anew = replica.map_or(0, |rx| self.replicas.get(rx).empty_at);
        if new > log_end && new.0 > anew {
            let detail = format!("high watermark {new} above the replica's own log end {log_end}");
            let finding = ctx.finding(Check::HighWatermark, detail).about(partition).offset(new).epoch(epoch);
            self.findings.report(finding);
        }
        if leading {
            self.leader_high_watermark(ctx, node, partition, epoch, before, new);
        } else if new > self.cluster.parts[ix.0].highest_watermark {
            let highest = self.cluster.parts[ix.0].highest_watermark;
            let detail = format!("a follower's high watermark is {new}; no leader's was ever above {highest}");
            let finding = ctx.finding(Check::HighWatermark, detail).about(partition).offset(new).epoch(epoch);
            self.findings.report(finding);
        }
    }

    fn leader_high_watermark(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        partition: TopicIdPartition,
        epoch: LeaderEpoch,
        before: Option<Offset>,
        new: Offset,
    ) {
        let ix = self.cluster.part(partition);
        let me = self.cluster.broker_id(node).unwrap_or(NodeId::NONE);
        let min = self.cluster.effective_min_isr(&self.cluster.parts[ix.0]);
        let part = &mut self.cluster.parts[ix.0];
        let Some(leading) = part.leading(node).filter(|l| l.epoch == epoch) else { return };
        let since = leading.since;
        match before {
            Some(before) if new < before => {
                let detail = format!("the leader's high watermark fell from {before} to {new}");
                let finding = ctx.finding(Check::HighWatermark, detail).about(partition).offset(new).epoch(epoch);
                self.findings.report(finding.because(&[since]));
                return;
            }
            Some(before) if new == before => return,
            _ => {}
        }
        for &member in leading.maximal.iter().filter(|m| **m != me) {
            let position = leading.positions.iter().find(|(id, ..)| *id == member);
            if position.is_some_and(|(_, at, _)| *at >= new) {
                continue;
            }
            let (detail, because) = match position {
                Some((_, at, seen)) => (
                    format!(
                        "high watermark {new} passes broker {member} of the maximal ISR, which fetched from {at} only"
                    ),
                    *seen,
                ),
                None => (
                    format!(
                        "high watermark {new} passes broker {member} of the maximal ISR, which has not fetched in epoch {epoch}"
                    ),
                    since,
                ),
            };
            let finding = ctx.finding(Check::HighWatermark, detail).about(partition).offset(new).epoch(epoch);
            self.findings.report(finding.because(&[because, leading.isr_since]));
            break;
        }
        if leading.isr.len() < min {
            let isr: Vec<i32> = leading.isr.iter().map(|n| n.0).collect();
            let detail = format!("high watermark moved to {new} while the ISR {isr:?} was smaller than {min}");
            let finding = ctx.finding(Check::HighWatermark, detail).about(partition).offset(new).epoch(epoch);
            self.findings.report(finding.because(&[leading.isr_since]));
        }
        part.highest_watermark = part.highest_watermark.max(new);
        let legitimate = part.elections.get(&epoch).is_some_and(|e| e.leader == me) && epoch >= part.floor;
        if !legitimate {
            return;
        }
        let Some(rx) = part.seat(node).and_then(|s| s.replica) else { return };
        let log = self.replicas.get(rx);
        self.armed.judged(Check::CommittedPrefix);
        let (contradiction, reached) = part.ghost.advance(log, epoch.0, before.map_or(0, |b| b.0), new.0);
        if let Some((committed, theirs)) = contradiction {
            let theirs = theirs.map_or("nothing".to_owned(), |t| format!("a batch of epoch {}", t.epoch));
            let detail = format!(
                "the leader of epoch {epoch} commits {theirs} at offset {}, where a batch of epoch {} was committed before",
                committed.base, committed.epoch
            );
            let finding = ctx.finding(Check::CommittedPrefix, detail).about(partition).epoch(epoch);
            let witness = [part.identities.seen(&committed), since];
            self.findings.report(finding.offset(Offset(committed.base)).because(&witness));
        }
        if !reached && !log.damaged() {
            let end = log.end();
            let detail = format!("high watermark {new}, but the leader's disk holds only up to {end}");
            let finding = ctx.finding(Check::TraceContradicted, detail).about(partition).epoch(epoch);
            self.findings.report(finding.offset(Offset(end)));
        }
        self.check_deposed(ctx, node, partition, epoch);
    }

    /// What a deposed leader commits late, its successor must hold.
    fn check_deposed(&mut self, ctx: Ctx, node: NodeRef, partition: TopicIdPartition, epoch: LeaderEpoch) {
        let ix = self.cluster.part(partition);
        let part = &self.cluster.parts[ix.0];
        let Some((&later, &(successor, since))) = part.leaders.last_key_value() else { return };
        if later <= epoch || successor == node || part.unclean.is_some() {
            return;
        }
        if part.leading(successor).is_none_or(|l| l.epoch != later) {
            return;
        }
        let Some(rx) = part.seat(successor).and_then(|s| s.replica) else { return };
        let log = self.replicas.get(rx);
        if let Some(missing) = part.ghost.missing_in(log, later.0) {
            let detail = format!(
                "the deposed leader of epoch {epoch} committed the batch at offset {} (epoch {}), which the leader of \
                 epoch {later} does not hold",
                missing.base, missing.epoch
            );
            let finding = ctx.finding(Check::CommittedPrefix, detail).about(partition).epoch(epoch);
            let witness = [part.identities.seen(&missing), since];
            self.findings.report(finding.offset(Offset(missing.base)).because(&witness));
        }
    }
}
