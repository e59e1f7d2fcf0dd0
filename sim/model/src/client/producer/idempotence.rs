//! The idempotent producer's identity and sequence numbers (KIP-98, KIP-360).
//!
//! Each partition's batches are numbered when they first leave. A batch sent again keeps its numbers, so that the
//! broker recognises it. When the producer cannot know any more which number the broker expects, it raises its own
//! epoch and numbers what is under way anew from 0; only when epochs are used up does it ask for a new producer id.
//! Follows the part of Kafka's `TransactionManager` that concerns producers without transactions.

use super::batch::{BatchKey, Batches, ProducerState};
use crate::client::errors;
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence};
use std::collections::BTreeSet;

/// A producer id and its epoch.
pub type Identity = (ProducerId, ProducerEpoch);

/// One partition's numbers.
#[derive(Debug, Default)]
pub struct SequenceState {
    /// The identity its batches are numbered under; none before the first.
    identity: Option<Identity>,
    /// The next batch's first sequence.
    next: Sequence,
    /// The last sequence acknowledged.
    last_acked: Option<Sequence>,
    /// The last offset acknowledged.
    last_acked_offset: Option<Offset>,
    /// Numbered batches without an outcome, by sequence; in requests or waiting to be sent again.
    pub tracked: Vec<BatchKey>,
    /// A numbered batch was given up without an answer: the sequence after it. Until it is clear whether the broker
    /// has it, no new batch is numbered.
    unresolved: Option<Sequence>,
}

impl SequenceState {
    fn is_next(&self, sequence: Sequence) -> bool {
        sequence == self.last_acked.map_or(Sequence(0), |acked| acked.plus(1))
    }

    /// Numbers everything tracked from 0 under a new identity.
    fn start_at_beginning(&mut self, identity: Identity, batches: &mut Batches) {
        let mut next = Sequence(0);
        for &key in &self.tracked {
            let batch = &mut batches[key];
            batch.set_producer(ProducerState { id: identity.0, epoch: identity.1, base: next });
            batch.sequence_reset = true;
            next = next.plus(batch.records() as i32);
        }
        self.identity = Some(identity);
        self.next = next;
        self.last_acked = None;
    }
}

/// A producer's identity, and what is to become of it.
#[derive(Debug, Default)]
pub struct Idempotence {
    identity: Option<Identity>,
    bump: bool,
    /// The partitions whose tracked batches are numbered anew at the bump.
    rewrite: BTreeSet<usize>,
}

impl Idempotence {
    /// The identity, once there is one.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }
    /// A fresh one from a broker.
    pub fn set_identity(&mut self, identity: Identity) {
        self.identity = Some(identity);
    }

    /// Whether the first waiting batch of a partition may leave.
    pub fn may_drain(&self, state: &SequenceState, first: BatchKey, batches: &Batches) -> bool {
        let Some(identity) = self.identity else { return false };
        if batches[first].producer.is_none() {
            let stale = state.identity != Some(identity);
            // Under a new identity sequence 0 could overtake what is under way; and nothing is numbered while a
            // predecessor's fate is open.
            return (!stale || state.tracked.is_empty()) && state.unresolved.is_none();
        }
        // A batch that is sent again waits until all before it have their outcome.
        state.tracked.first().is_none_or(|&oldest| oldest == first)
    }

    /// Numbers a batch that leaves for the first time.
    pub fn assign(&self, state: &mut SequenceState, key: BatchKey, batches: &mut Batches) {
        let Some(identity) = self.identity else { return };
        if batches[key].producer.is_some() {
            return;
        }
        if state.identity != Some(identity) && state.tracked.is_empty() {
            state.start_at_beginning(identity, batches);
        }
        let batch = &mut batches[key];
        batch.set_producer(ProducerState { id: identity.0, epoch: identity.1, base: state.next });
        state.next = state.next.plus(batch.records() as i32);
        state.tracked.push(key);
    }

    /// A batch was acknowledged.
    pub fn completed(&self, state: &mut SequenceState, key: BatchKey, base_offset: Option<Offset>, batches: &Batches) {
        let batch = &batches[key];
        if let Some(last) = batch.last_sequence() {
            state.last_acked = state.last_acked.max(Some(last));
        }
        if let Some(base) = base_offset {
            state.last_acked_offset = state.last_acked_offset.max(Some(base.plus(batch.records() as i64 - 1)));
        }
        state.tracked.retain(|&k| k != key);
    }

    /// A batch was given up. `renumber`: by a broker's word, so its numbers are a gap that later ones must close.
    pub fn failed(&mut self, state: &mut SequenceState, key: BatchKey, code: i16, renumber: bool, batches: &Batches) {
        state.tracked.retain(|&k| k != key);
        let batch = &batches[key];
        if batch.producer.is_none() {
            return;
        }
        if code == errors::OUT_OF_ORDER_SEQUENCE_NUMBER {
            self.request_bump(batch.partition);
        } else if code == errors::UNKNOWN_PRODUCER_ID {
            let tracked = std::mem::take(&mut state.tracked);
            *state = SequenceState { tracked, ..SequenceState::default() };
        } else if renumber {
            self.request_bump(batch.partition);
        }
    }

    /// A batch that had been sent again was given up for want of time.
    pub fn mark_unresolved(state: &mut SequenceState, next: Sequence) {
        state.unresolved = state.unresolved.max(Some(next));
    }

    /// Whether a rejected batch can be sent again, for reasons of sequence; `None` leaves it to the error's kind.
    /// May ask for a new epoch.
    pub fn retry_for_sequence(
        &mut self,
        state: &SequenceState,
        key: BatchKey,
        code: i16,
        log_start: Option<Offset>,
        batches: &Batches,
    ) -> bool {
        let batch = &batches[key];
        let base = batch.producer.map_or(Sequence(-1), |p| p.base);
        if code == errors::UNKNOWN_PRODUCER_ID {
            // Without a log start the answer proves nothing; a renumbered batch will fit once it is sent again.
            if log_start.is_some() && !batch.sequence_reset {
                self.request_bump(batch.partition);
            }
            return true;
        }
        if code == errors::OUT_OF_ORDER_SEQUENCE_NUMBER {
            let waits_for_others = batch.sequence_reset || !state.is_next(base);
            match state.unresolved {
                None if waits_for_others => {}
                // A gap: the broker expects a number that no batch bears.
                None => self.request_bump(batch.partition),
                Some(next) if next == base => self.request_bump(batch.partition),
                Some(_) => {}
            }
            return true;
        }
        false
    }

    fn request_bump(&mut self, partition: usize) {
        self.bump = true;
        self.rewrite.insert(partition);
    }

    /// Looks whether unresolved partitions have become clear; bumps the epoch if that was asked for. Returns whether
    /// an identity must be asked of a broker.
    pub fn settle(&mut self, queues: &mut [super::accumulator::Queue], batches: &mut Batches) -> bool {
        for (partition, queue) in queues.iter_mut().enumerate() {
            let state = &mut queue.sequences;
            if state.unresolved.is_some() && state.tracked.is_empty() {
                state.unresolved = None;
                if !state.is_next(state.next) {
                    self.request_bump(partition);
                }
            }
        }
        if self.bump {
            self.identity =
                self.identity.and_then(|(id, epoch)| epoch.0.checked_add(1).map(|epoch| (id, ProducerEpoch(epoch))));
            // With the epochs used up there is no identity to number under; that follows when a new id arrives, as
            // partitions whose identity is stale start at the beginning once nothing of theirs is under way.
            if let Some(identity) = self.identity {
                for partition in std::mem::take(&mut self.rewrite) {
                    let state = &mut queues[partition].sequences;
                    state.start_at_beginning(identity, batches);
                    state.unresolved = None;
                }
                self.bump = false;
            }
        }
        self.identity.is_none()
    }

    /// After [`Idempotence::set_identity`]: numbers anew what waited for it.
    pub fn rewrite_waiting(&mut self, queues: &mut [super::accumulator::Queue], batches: &mut Batches) {
        let Some(identity) = self.identity else { return };
        for partition in std::mem::take(&mut self.rewrite) {
            let state = &mut queues[partition].sequences;
            state.start_at_beginning(identity, batches);
            state.unresolved = None;
        }
        self.bump = false;
    }
}
