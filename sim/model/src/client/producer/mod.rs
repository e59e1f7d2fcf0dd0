//! The producer.

use crate::config::ProducerConfig;
use crate::defects::Defects;
use crate::ids::{Offset, ProducerId};
use crate::node::{Endpoint, Input, Outbox};
use crate::units::{Instant, Now, Timestamp};
use crate::versions::VersionCaps;
use rand_chacha::ChaCha8Rng;

/// A record to send. Borrowed: `send` copies it into its batch.
#[derive(Clone, Copy, Debug)]
pub struct ProducerRecord<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition, or the partitioner's choice.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Its time, or the wall clock's at `send`.
    pub timestamp: Option<Timestamp>,
}

/// Why a send was refused at once. It will have no event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendRejected {
    /// Larger than `max.request.size` or `buffer.memory`.
    #[error("RECORD_TOO_LARGE")]
    RecordTooLarge,
    /// The producer is closed.
    #[error("the producer is closed")]
    Closed,
    /// Too many sends wait for metadata or for a place in the buffer.
    #[error("too many sends wait")]
    TooManyWaiting,
}

/// How a send ended. Every accepted send gets exactly one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProducerEvent {
    /// Sent, and acknowledged unless acks=0.
    Delivered {
        /// The application's name for the send.
        id: u64,
        /// Where it went.
        partition: i32,
        /// Its offset, if the answer had one.
        offset: Option<Offset>,
        /// How often it was put into a request.
        attempts: u32,
        /// The producer id it last went out under.
        producer_id: Option<ProducerId>,
        /// Whether anybody said so; false with acks=0.
        acknowledged: bool,
    },
    /// Given up.
    Failed {
        /// The application's name for the send.
        id: u64,
        /// Kafka's name of the error.
        error: &'static str,
        /// Whether it certainly was not and never will be appended.
        definite: bool,
        /// Where it was to go, if that was known.
        partition: Option<i32>,
        /// How often it was put into a request.
        attempts: u32,
        /// The producer id it last went out under.
        producer_id: Option<ProducerId>,
    },
}

/// A producer.
#[derive(Debug)]
pub struct Producer {
    #[expect(dead_code)]
    config: ProducerConfig,
    closed: bool,
}

impl Producer {
    /// A producer that has not been started.
    pub fn new(config: ProducerConfig, _bootstrap: Vec<Endpoint>, _caps: VersionCaps, _defects: Defects) -> Producer {
        Producer { config, closed: false }
    }
    /// Starts it; `rng` is for jitter and the sticky partitioner.
    pub fn start(&mut self, _now: Now, _rng: ChaCha8Rng) {}
    /// Takes a record over. It may wait for metadata or for a place in the buffer, up to `max.block.ms`.
    ///
    /// # Errors
    /// [`SendRejected`]; then the record was not taken over.
    pub fn send(
        &mut self,
        _now: Now,
        _record: ProducerRecord<'_>,
        _id: u64,
        _out: &mut Outbox,
    ) -> Result<(), SendRejected> {
        if self.closed { Err(SendRejected::Closed) } else { Ok(()) }
    }
    /// Takes an input if it is this producer's; gives it back if it is not.
    pub fn on_input(&mut self, _now: Now, input: Input, _out: &mut Outbox) -> Option<Input> {
        Some(input)
    }
    /// Does what is due and says the next deadline. Call after every input of the node, and after sends.
    pub fn poll(&mut self, _now: Now, _out: &mut Outbox) {}
    /// The next result, in order of happening.
    pub fn next_event(&mut self) -> Option<ProducerEvent> {
        None
    }
    /// Sends what has been accepted so far without waiting for `linger.ms`.
    pub fn flush(&mut self) {}
    /// Takes no more sends and flushes; all that has not resolved by `deadline` fails then.
    pub fn close(&mut self, _deadline: Instant) {
        self.closed = true;
    }
    /// How many accepted sends have not resolved.
    pub fn pending(&self) -> usize {
        0
    }
}
