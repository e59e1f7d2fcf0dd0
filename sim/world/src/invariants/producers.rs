//! sequence-contiguous (KIP-98): a producer's batches follow one another in each partition's log; and unique producer
//! ids.
//!
//! Judged at the leader's append, in the order in which appends are asked for, for as long as the producer's state
//! lives on that replica; never by scanning a log.

use super::batch::Head;
use super::cluster::PartIx;
use super::finding::Ctx;
use super::replica::{Producer, ReplicaIx};
use super::{Check, Invariants, UnknownProducer};
use crate::event::Ordinal;
use kafka_protocol::messages::{AllocateProducerIdsResponse, InitProducerIdResponse};
use klamm_model::ids::*;

impl Invariants {
    /// A batch is being appended. `led_in`: the epoch in which its node leads, if it does.
    pub(super) fn producer_appends(&mut self, ctx: Ctx, rx: ReplicaIx, part: PartIx, head: &Head, leads: bool) {
        if head.producer.0 < 0 || head.control {
            return;
        }
        let producers = &mut self.replicas.get_mut(rx).producers;
        let new = Producer {
            epoch: head.producer_epoch,
            last_sequence: head.last_sequence(),
            last_offset: head.last,
            seen: ctx.ordinal,
            known: true,
        };
        let Some(state) = producers.get_mut(&head.producer) else {
            producers.insert(head.producer, new);
            if leads && head.base_sequence != Sequence(0) {
                let partition = self.cluster.parts[part.0].id;
                self.unknown_producers.push(UnknownProducer { at: ctx.at, partition, producer: head.producer });
            }
            return;
        };
        let before = std::mem::replace(state, new);
        if !leads || !before.known {
            return;
        }
        self.armed.judged(Check::SequenceContiguous);
        let (pid, first) = (head.producer, head.base_sequence);
        let (check, detail) = if head.producer_epoch < before.epoch {
            let detail = format!(
                "a batch of producer {pid} in epoch {} is appended after one in epoch {}",
                head.producer_epoch, before.epoch
            );
            (Check::Fencing, detail)
        } else if head.producer_epoch > before.epoch {
            if first == Sequence(0) {
                return;
            }
            let detail = format!("producer {pid} begins its epoch {} with sequence {first}", head.producer_epoch);
            (Check::SequenceContiguous, detail)
        } else {
            let next = before.last_sequence.plus(1);
            if first == next {
                return;
            }
            let detail = format!("a batch of producer {pid} with sequence {first} is appended, {next} is next");
            (Check::SequenceContiguous, detail)
        };
        let part = &self.cluster.parts[part.0];
        let finding = ctx.finding(check, detail).about(part.id).offset(head.base).epoch(head.epoch);
        self.findings.report(finding.because(&[before.seen]));
    }

    /// A broker gave a producer its id.
    pub(super) fn producer_id_given(&mut self, ctx: Ctx, response: &InitProducerIdResponse) {
        if response.error_code != 0 || response.producer_id.0 < 0 {
            return;
        }
        self.armed.judged(Check::UniqueIds);
        let key = (ProducerId(response.producer_id.0), ProducerEpoch(response.producer_epoch));
        if let Some(&since) = self.producer_ids.get(&key) {
            let detail = format!("producer id {} with epoch {} is issued twice", key.0, key.1);
            self.findings.report(ctx.finding(Check::UniqueIds, detail).because(&[since]));
            return;
        }
        self.producer_ids.insert(key, ctx.ordinal);
    }

    /// A controller gave a broker a block of producer ids.
    pub(super) fn producer_ids_allocated(&mut self, ctx: Ctx, response: &AllocateProducerIdsResponse) {
        if response.error_code != 0 || response.producer_id_len <= 0 {
            return;
        }
        self.armed.judged(Check::UniqueIds);
        let (from, to) =
            (response.producer_id_start.0, response.producer_id_start.0 + i64::from(response.producer_id_len));
        let (below, since): (i64, Ordinal) = self.producer_blocks;
        if from < below {
            let detail = format!("producer ids {from}-{to} are given away again: they went up to {below} before");
            self.findings.report(ctx.finding(Check::UniqueIds, detail).because(&[since]));
        }
        if to > below {
            self.producer_blocks = (to, ctx.ordinal);
        }
    }
}
