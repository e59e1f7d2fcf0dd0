//! The consumer of assigned partitions.

use crate::config::ConsumerConfig;
use crate::history::{PositionReason, TopicPartition};
use crate::ids::{LeaderEpoch, Offset};
use crate::node::{Endpoint, Input, Outbox};
use crate::units::{Now, Timestamp};
use crate::versions::VersionCaps;
use rand_chacha::ChaCha8Rng;

/// Where a newly assigned partition is read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartAt {
    /// As `auto.offset.reset` says.
    Reset,
    /// The log start.
    Earliest,
    /// The high watermark (or last stable offset).
    Latest,
    /// A given offset.
    Offset(Offset),
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerRecord<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its batch's leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// Its time.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// What a consumer has to say besides records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConsumerEvent {
    /// A partition is read from `offset` on, for another reason than reading.
    Position {
        /// Which.
        source: TopicPartition,
        /// The next offset.
        offset: Offset,
        /// Why.
        reason: PositionReason,
    },
    /// Offset validation (KIP-320) found that what was read has been truncated. Unless the reset policy is
    /// `none`, a [`ConsumerEvent::Position`] with reason `Truncation` follows.
    Truncated {
        /// Which.
        source: TopicPartition,
        /// The position it had.
        position: Offset,
        /// Where the histories part, if the leader could say.
        diverged_at: Option<Offset>,
    },
    /// The partition cannot be read on; only a seek or a new assignment helps.
    Failed {
        /// Which.
        source: TopicPartition,
        /// Kafka's name of the error.
        error: &'static str,
    },
}

/// A consumer.
#[derive(Debug)]
pub struct Consumer {
    #[expect(dead_code)]
    config: ConsumerConfig,
}

impl Consumer {
    /// A consumer that has not been started.
    pub fn new(config: ConsumerConfig, _bootstrap: Vec<Endpoint>, _caps: VersionCaps) -> Consumer {
        Consumer { config }
    }
    /// Starts it; `rng` is for jitter.
    pub fn start(&mut self, _now: Now, _rng: ChaCha8Rng) {}
    /// Replaces the assignment. A partition that stays assigned keeps its position.
    pub fn assign(&mut self, _now: Now, _partitions: &[(TopicPartition, StartAt)]) {}
    /// Moves a position.
    pub fn seek(&mut self, _now: Now, _source: &TopicPartition, _to: StartAt) {}
    /// Takes an input if it is this consumer's; gives it back if it is not.
    pub fn on_input(&mut self, _now: Now, input: Input, _out: &mut Outbox) -> Option<Input> {
        Some(input)
    }
    /// Does what is due and says the next deadline. Call after every input of the node.
    pub fn poll(&mut self, _now: Now, _out: &mut Outbox) {}
    /// Hands out up to `max.poll.records` records, partition by partition, and moves the positions past them.
    /// Returns how many. Call [`Consumer::poll`] afterwards.
    pub fn poll_records(&mut self, _now: Now, _each: impl FnMut(&TopicPartition, ConsumerRecord<'_>)) -> usize {
        0
    }
    /// Whether [`Consumer::poll_records`] would hand out anything.
    pub fn has_records(&self) -> bool {
        false
    }
    /// The next event, in order of happening. Take them before polling records: a position event stands between
    /// the records before and after it.
    pub fn next_event(&mut self) -> Option<ConsumerEvent> {
        None
    }
    /// The next offset to be handed out, once known.
    pub fn position(&self, _source: &TopicPartition) -> Option<Offset> {
        None
    }
    /// The high watermark last heard of.
    pub fn high_watermark(&self, _source: &TopicPartition) -> Option<Offset> {
        None
    }
    /// Closes every connection.
    pub fn close(&mut self, _now: Now, _out: &mut Outbox) {}
}
