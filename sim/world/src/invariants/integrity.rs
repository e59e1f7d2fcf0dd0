//! batch-integrity and log-matching: the bytes of a batch stay what its producer made them, and one (offset, epoch)
//! names one batch after one predecessor, on every replica.

use super::batch::{crc_holds, heads};
use super::cluster::PartIx;
use super::finding::Ctx;
use super::ghost::MismatchKind;
use super::replica::{Batch, ReplicaIx, log_file};
use super::{Check, Invariants};
use crate::event::{HostId, NodeRef};
use klamm_model::disk::DiskOp;
use klamm_model::ids::*;

impl Invariants {
    /// A node asked its disk.
    pub(super) fn disk_asked(&mut self, ctx: Ctx, host: HostId, node: NodeRef, op: &DiskOp) {
        if self.compacting {
            self.copy_asked(ctx, host, op);
        }
        let Some(rx) = self.replicas.asked(host, node, op) else { return };
        let DiskOp::Append { file, data } = op else { return };
        let Some(id) = self.replicas.get(rx).partition else { return };
        let ix = self.cluster.part(id);
        if self.is_compacted(ix)
            && let Some((_, base)) = log_file(file)
        {
            self.contents_appended(rx, ix, base, data);
        }
        let led_in = self.cluster.parts[ix.0].leading(node).map(|l| (l.epoch, l.since));
        // Coordinators write there themselves.
        let of_groups = &*self.cluster.parts[ix.0].topic == OFFSETS_TOPIC;
        let mut all = heads(data);
        for (head, bytes) in all.by_ref() {
            self.armed.judged(Check::BatchIntegrity);
            if !crc_holds(&head, bytes) {
                let detail = format!("a batch with a wrong CRC is appended to {file}");
                let finding = ctx.finding(Check::BatchIntegrity, detail).about(id);
                self.findings.report(finding.offset(head.base).epoch(head.epoch));
            }
            if id == TopicIdPartition::METADATA {
                continue;
            }
            if of_groups && led_in.is_some() {
                self.offsets_appended(ctx, ix, &head, bytes);
            }
            self.producer_appends(ctx, rx, ix, &head, led_in.is_some());
            let Some((epoch, since)) = led_in else { continue };
            self.armed.judged(Check::Fencing);
            if head.epoch != epoch {
                let detail = format!(
                    "the leader of epoch {epoch} appends a batch of epoch {}: a late answer of the leader before?",
                    head.epoch
                );
                let finding = ctx.finding(Check::Fencing, detail).about(id).offset(head.base);
                self.findings.report(finding.epoch(epoch).because(&[since]));
            } else if !head.control && !head.append_time && !of_groups && !self.requests.appended(node, ix, head.crc) {
                let detail =
                    format!("the leader appends a batch (CRC {:08x}) that no producer's request brought", head.crc);
                let finding = ctx.finding(Check::BatchIntegrity, detail).about(id).offset(head.base);
                self.findings.report(finding.epoch(epoch));
            }
        }
        if all.position() != data.len() {
            let (at, len) = (all.position(), data.len());
            let detail = format!("an append of {len} bytes to {file} holds whole batches only up to byte {at}");
            self.findings.report(ctx.finding(Check::BatchIntegrity, detail).about(id));
        }
    }

    /// A disk operation completed.
    pub(super) fn disk_done(&mut self, ctx: Ctx, host: HostId, op: &DiskOp, ok: bool) {
        let done = self.replicas.done(host, op, ok);
        if self.compacting && ok {
            self.copy_done(host, op);
        }
        let Some((rx, new)) = done else { return };
        let log = self.replicas.get(rx);
        let Some(id) = log.partition else { return };
        let ix = self.cluster.part(id);
        let held = log.segments[new.segment].batches.len();
        for at in held - new.count..held {
            let batch = self.replicas.get(rx).segments[new.segment].batches[at];
            self.appended(ctx, rx, ix, new.segment, at, &batch);
        }
    }

    fn appended(&mut self, ctx: Ctx, rx: ReplicaIx, ix: PartIx, segment: usize, at: usize, batch: &Batch) {
        let log = self.replicas.get(rx);
        let before = match at.checked_sub(1) {
            Some(at) => log.segments[segment].batches.get(at),
            None => log.segments[..segment].iter().rev().find_map(|s| s.batches.last()),
        };
        let part = &mut self.cluster.parts[ix.0];
        if let Some(before) = before.filter(|b| at > 0 && b.next() != batch.base)
            && !log.damaged()
        {
            let detail =
                format!("a batch at offset {} is appended behind one that ends at {}", batch.base, before.last());
            let finding = ctx.finding(Check::BatchIntegrity, detail).about(part.id).epoch(LeaderEpoch(batch.epoch));
            self.findings.report(finding.offset(Offset(batch.base)));
        }
        let previous = before.filter(|b| b.next() == batch.base).map(|b| b.epoch);
        self.note_identity(ctx, ix, batch, previous);
    }

    /// One more replica holds a batch.
    pub(super) fn note_identity(&mut self, ctx: Ctx, ix: PartIx, batch: &Batch, previous: Option<i32>) {
        let part = &mut self.cluster.parts[ix.0];
        if batch.last() < part.log_start.0 {
            return;
        }
        self.armed.judged(Check::LogMatching);
        // What stands before the log's start is no part of it: a replica may still hold there what diverged.
        let previous = previous.filter(|_| batch.base > part.log_start.0);
        let Err(mismatch) = part.identities.note(batch, previous, ctx.ordinal) else { return };
        let (base, epoch, crc) = (batch.base, batch.epoch, batch.crc);
        let detail = match mismatch.kind {
            MismatchKind::Content { crc: other, last } => format!(
                "two batches of epoch {epoch} at offset {base}: CRC {crc:08x} up to {}, and CRC {other:08x} up to {last}",
                batch.last()
            ),
            MismatchKind::Overlap { base: other, last } => {
                format!("batches {base}-{} and {other}-{last}, both of epoch {epoch}, overlap", batch.last())
            }
            MismatchKind::Prefix { epoch: other } => format!(
                "the batch of epoch {epoch} at offset {base} follows one of epoch {} here and one of epoch {other} elsewhere",
                previous.unwrap_or(-1)
            ),
        };
        let finding = ctx.finding(Check::LogMatching, detail).about(part.id).offset(Offset(base));
        self.findings.report(finding.epoch(LeaderEpoch(epoch)).because(&[mismatch.seen]));
    }
}
