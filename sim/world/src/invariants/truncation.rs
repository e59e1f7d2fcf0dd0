//! truncation-justified and deletion-legal: what may go from a log, at its end and at its start.

use super::cluster::Doing;
use super::finding::Ctx;
use super::{Check, Invariants};
use crate::event::NodeRef;
use kafka_protocol::messages::DeleteRecordsRequest;
use klamm_model::ids::*;
use klamm_model::trace::{LogStartReason, TruncationReason};

impl Invariants {
    /// A log lost its tail. The judge looks at what was cut: only what the leader's history does not contain may go.
    pub(super) fn truncated(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        partition: TopicIdPartition,
        from: Offset,
        to: Offset,
        reason: TruncationReason,
    ) {
        let ix = self.cluster.part(partition);
        let part = &mut self.cluster.parts[ix.0];
        // A log given up wholly, to begin where its leader's does.
        let anew = reason == TruncationReason::OutOfRange && to >= from;
        if let Some(seat) = part.seats.iter_mut().find(|s| s.node == node) {
            seat.log_start = if anew { to } else { seat.log_start.min(to) };
        }
        let seat = part.seat(node);
        let host = ctx.host;
        let Some(rx) = seat.and_then(|s| s.replica).or_else(|| {
            // Recovery comes before the log is loaded and has a seat.
            let name = format!("{}-{}", part.topic, partition.partition);
            host.and_then(|h| self.replicas.find(h, &name))
        }) else {
            return;
        };
        let replica = self.replicas.get_mut(rx);
        // Judged by its last batch: only if that is below the leader's log start, all is.
        let first = if anew { replica.last_or_cut() } else { replica.first_cut(to.0) };
        replica.last_cut.clear();
        replica.empty_at = if anew { to.0 } else { replica.empty_at.min(to.0) };
        if reason == TruncationReason::Recovery || (from <= to && !anew) {
            return;
        }
        let Some(first) = first.filter(|b| b.base < from.0) else { return };
        self.armed.judged(Check::TruncationJustified);
        let following = match seat.map(|s| &s.doing) {
            Some(Doing::Following { epoch }) => Some(*epoch),
            _ => None,
        };
        let epoch = following.unwrap_or(LeaderEpoch(first.epoch));
        let why = match reason {
            TruncationReason::Divergence => "for a divergence",
            TruncationReason::HighWatermark => "to its own high watermark",
            TruncationReason::OutOfRange => "as out of range",
            TruncationReason::Recovery => unreachable!("recovery was let pass above"),
        };
        let committed = part.ghost.find(first.base).is_some_and(|g| g.same(&first));
        if committed {
            let detail = format!(
                "the replica cut {to}-{from} {why}; the batch at offset {} (epoch {}) was committed: the true high \
                 watermark is {}",
                first.base,
                first.epoch,
                part.ghost.end()
            );
            let witness = [part.identities.seen(&first)];
            let finding = ctx.finding(Check::TruncationJustified, detail).about(partition).epoch(epoch);
            self.findings.report(finding.offset(Offset(first.base)).because(&witness));
            return;
        }
        // The leader's own log, if it leads still, tells whether there was a divergence.
        let Some((leader, leading)) = following.and_then(|epoch| part.leader_in(epoch)) else { return };
        let Some(log) = leader.replica.map(|rx| self.replicas.get(rx)) else { return };
        // Its files may hold for a while what it has deleted.
        let kept = first.last() >= leader.log_start.0;
        if kept && log.find(first.base).is_some_and(|t| t.same(&first)) {
            let detail = format!(
                "the replica cut {to}-{from} {why}, but the leader of epoch {epoch} holds the very batch at offset {} \
                 (epoch {})",
                first.base, first.epoch
            );
            let witness = [part.identities.seen(&first), leading.since];
            let finding = ctx.finding(Check::TruncationJustified, detail).about(partition).epoch(epoch);
            self.findings.report(finding.offset(Offset(first.base)).because(&witness));
        }
    }

    /// Somebody asks for records to be deleted; -1: all that are committed.
    pub(super) fn delete_records_taken(&mut self, node: NodeRef, request: &DeleteRecordsRequest) {
        for topic in &request.topics {
            for asked in &topic.partitions {
                let ix = self.cluster.named(&topic.name, Uuid::nil(), asked.partition_index);
                let Some(ix) = ix else { continue };
                let to = if asked.offset == -1 { i64::MAX } else { asked.offset };
                let seat = self.cluster.parts[ix.0].seat_mut(node);
                seat.asked_to_delete = seat.asked_to_delete.max(Some(Offset(to)));
            }
        }
    }

    /// A log's start moved up.
    pub(super) fn log_start(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        partition: TopicIdPartition,
        new: Offset,
        reason: LogStartReason,
    ) {
        let ix = self.cluster.part(partition);
        let topic = self.cluster.topic(&self.cluster.parts[ix.0].topic);
        let part = &mut self.cluster.parts[ix.0];
        let seat = part.seat_mut(node);
        let before = std::mem::replace(&mut seat.log_start, new);
        let asked = seat.asked_to_delete;
        let high_watermark = seat.high_watermark;
        if let Some(rx) = seat.replica {
            let replica = self.replicas.get_mut(rx);
            replica.last_cut.clear();
            // Files may go from here on; it is no cut of the tail if they are all there are.
            replica.empty_at = replica.empty_at.max(new.0);
        }
        let replica = seat.replica.map(|rx| self.replicas.get(rx));
        self.armed.judged(Check::DeletionLegal);
        let report = |check, detail: String| ctx.finding(check, detail).about(partition).offset(new);
        if new < before {
            self.findings
                .report(report(Check::DeletionLegal, format!("the log start went back from {before} to {new}")));
        }
        let leading = part.leading(node).is_some();
        let limit = if leading { high_watermark.unwrap_or(part.highest_watermark) } else { part.highest_watermark };
        if new > limit {
            let detail = format!("log start {new} above the high watermark {limit}");
            self.findings.report(report(Check::HighWatermark, detail));
        }
        match reason {
            LogStartReason::Retention if topic.retention_bytes < 0 && topic.retention_ms < 0 => {
                let detail = format!("offsets {before}-{new} were deleted by retention, which the topic has none of");
                self.findings.report(report(Check::DeletionLegal, detail));
            }
            LogStartReason::Retention if topic.retention_bytes >= 0 && topic.retention_ms < 0 => {
                let kept = replica.map_or(u64::MAX, |r| r.asked_bytes_from(new.0));
                if kept < topic.retention_bytes as u64 {
                    let detail = format!(
                        "offsets {before}-{new} were deleted by size, leaving {kept} bytes of the {} to be kept",
                        topic.retention_bytes
                    );
                    self.findings.report(report(Check::DeletionLegal, detail));
                }
            }
            LogStartReason::DeleteRecords if asked.is_none_or(|asked| new > asked) => {
                let asked = asked.map_or("nobody asked".to_owned(), |o| format!("nobody asked for more than {o}"));
                let detail = format!("offsets {before}-{new} were deleted as if somebody had asked; {asked}");
                self.findings.report(report(Check::DeletionLegal, detail));
            }
            LogStartReason::Leader if new > part.log_start && !leading => {
                let detail =
                    format!("a follower's log start moved to {new}; no leader's was ever above {}", part.log_start);
                self.findings.report(report(Check::DeletionLegal, detail));
            }
            _ => {}
        }
        if leading {
            part.log_start = part.log_start.max(new);
            part.trim(new);
        }
    }
}
