//! The producer: takes records, and delivers each or says why not.
//!
//! The rooms, in the order a record passes through them: [`partitioner`], [`accumulator`] (batches within
//! `buffer.memory`), [`batch`], [`sender`] (requests, retries, timeouts), [`idempotence`] (sequence numbers),
//! [`outcome`] (what an error proves). This file holds the face towards the application, and the sends that wait for
//! metadata or room as a blocked `send` does in Java. There are no transactions and no compression, batches are not
//! split. Follows Kafka's `KafkaProducer`.

pub mod accumulator;
pub mod batch;
pub mod idempotence;
pub mod outcome;
pub mod partitioner;
mod sender;
#[cfg(test)]
mod tests;

use super::backoff::Backoff;
use super::metadata::{Metadata, TopicIndex};
use super::network::Network;
use crate::channel::ChannelConfig;
use crate::config::ProducerConfig;
use crate::defects::Defects;
use crate::ids::{NodeId, Offset, ProducerId};
use crate::inspect::ReachInspection;
use crate::limits::MAX_WAITING_SENDS;
use crate::node::{Endpoint, Input, Outbox};
use crate::record::{BATCH_HEADER_SIZE, RecordHeader, record_size_upper_bound};
use crate::units::{Instant, Now, Timestamp};
use crate::versions::VersionCaps;
use accumulator::{Accumulator, Append};
use idempotence::Idempotence;
use rand_chacha::ChaCha8Rng;
use sender::Tag;
use std::collections::{BTreeMap, VecDeque};

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
    pub headers: &'a [RecordHeader],
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

/// Error of a send that was not delivered within `delivery.timeout.ms` (Java: `TimeoutException`).
pub const DELIVERY_TIMEOUT: &str = "DELIVERY_TIMEOUT";
/// Error of a send that found neither metadata nor room within `max.block.ms` (Java: `TimeoutException`).
pub const MAX_BLOCK_TIMEOUT: &str = "MAX_BLOCK_TIMEOUT";
/// Error of a send that was not resolved when the producer closed.
pub const PRODUCER_CLOSED: &str = "PRODUCER_CLOSED";

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
        /// Kafka's name of the error, or [`DELIVERY_TIMEOUT`], [`MAX_BLOCK_TIMEOUT`], [`PRODUCER_CLOSED`].
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

/// A send that waits for metadata or room.
#[derive(Debug)]
struct Waiting {
    id: u64,
    deadline: Instant,
    topic: TopicIndex,
    partition: Option<i32>,
    key: Option<Box<[u8]>>,
    value: Option<Box<[u8]>>,
    headers: Box<[RecordHeader]>,
    timestamp: Timestamp,
}

/// When a producer without an identity may ask for one.
#[derive(Debug)]
enum Init {
    From(Instant),
    InFlight,
    /// A broker refused for good.
    Refused(&'static str),
}

/// A producer.
#[derive(Debug)]
pub struct Producer {
    config: ProducerConfig,
    net: Network<Tag>,
    metadata: Metadata,
    accumulator: Accumulator,
    idempotence: Option<Idempotence>,
    init: Init,
    init_failures: u32,
    retry: Backoff,
    /// Sends that wait, in order of acceptance: an application has one thread, and it would be blocked.
    waiting: VecDeque<Waiting>,
    /// The first of them waits for room, so nothing lingers.
    exhausted: bool,
    events: VecDeque<ProducerEvent>,
    pending: usize,
    drain_index: BTreeMap<NodeId, usize>,
    /// Set by `close`: when to give up what is left.
    closing: Option<Instant>,
    closed: bool,
    /// Something happened that the sender has not looked at.
    dirty: bool,
    /// When the sender must look again.
    next_at: Instant,
}

impl Producer {
    /// A producer that has not been started.
    pub fn new(config: ProducerConfig, bootstrap: Vec<Endpoint>, caps: VersionCaps, defects: Defects) -> Producer {
        let channel = ChannelConfig {
            request_timeout: config.request_timeout,
            reconnect_backoff: config.reconnect_backoff,
            reconnect_backoff_max: config.reconnect_backoff_max,
            connection_setup_timeout: config.connection_setup_timeout,
            caps,
        };
        let retry = Backoff { first: config.retry_backoff, longest: config.retry_backoff_max };
        Producer {
            net: Network::new(channel, bootstrap, config.max_in_flight as usize),
            metadata: Metadata::new(retry, config.metadata_max_age, defects),
            accumulator: Accumulator::new(&config, defects),
            idempotence: config.enable_idempotence.then(Idempotence::default),
            init: Init::From(Instant::ZERO),
            init_failures: 0,
            retry,
            waiting: VecDeque::new(),
            exhausted: false,
            events: VecDeque::new(),
            pending: 0,
            drain_index: BTreeMap::new(),
            closing: None,
            closed: false,
            dirty: true,
            next_at: Instant::MAX,
            config,
        }
    }

    /// Starts it; `rng` is for jitter and the sticky partitioner.
    pub fn start(&mut self, _now: Now, rng: ChaCha8Rng) {
        self.net.start(rng);
        self.dirty = true;
    }

    /// Takes a record over. It may wait for metadata or for a place in the buffer, up to `max.block.ms`. Sends
    /// nothing by itself: call [`Producer::poll`] afterwards, once for any number of sends.
    ///
    /// # Errors
    /// [`SendRejected`]; then the record was not taken over.
    pub fn send(
        &mut self,
        now: Now,
        record: ProducerRecord<'_>,
        id: u64,
        _out: &mut Outbox,
    ) -> Result<(), SendRejected> {
        if self.closed || self.closing.is_some() {
            return Err(SendRejected::Closed);
        }
        let size = BATCH_HEADER_SIZE + record_size_upper_bound(record.key, record.value, record.headers);
        if size > self.config.max_request_size || size > self.config.buffer_memory {
            return Err(SendRejected::RecordTooLarge);
        }
        let topic = self.metadata.topic(record.topic);
        let timestamp = record.timestamp.unwrap_or(now.wall);
        if self.waiting.is_empty() {
            match self.append(now.mono, timestamp, &record, id, topic) {
                Append::Done { look } => {
                    self.dirty |= look;
                    self.pending += 1;
                    return Ok(());
                }
                blocked => self.exhausted = blocked == Append::BufferFull,
            }
        }
        if self.waiting.len() >= MAX_WAITING_SENDS {
            return Err(SendRejected::TooManyWaiting);
        }
        self.waiting.push_back(Waiting {
            id,
            deadline: now.mono + self.config.max_block,
            topic,
            partition: record.partition,
            key: record.key.map(Box::from),
            value: record.value.map(Box::from),
            headers: Box::from(record.headers),
            timestamp,
        });
        self.pending += 1;
        self.dirty = true;
        Ok(())
    }

    fn append(
        &mut self,
        now: Instant,
        timestamp: Timestamp,
        record: &ProducerRecord<'_>,
        id: u64,
        topic: TopicIndex,
    ) -> Append {
        let known = self.metadata.get(topic);
        self.accumulator.append(now, timestamp, record, id, topic, known, self.net.rng())
    }

    /// Lets waiting sends in, in order, as far as there is room; gives up those that waited too long. Returns when
    /// to come back.
    fn admit(&mut self, now: Instant) -> Instant {
        while let Some(first) = self.waiting.pop_front() {
            if now >= first.deadline {
                self.fail_waiting(&first, MAX_BLOCK_TIMEOUT);
                continue;
            }
            let record = ProducerRecord {
                topic: "",
                partition: first.partition,
                key: first.key.as_deref(),
                value: first.value.as_deref(),
                headers: &first.headers,
                timestamp: None,
            };
            match self.append(now, first.timestamp, &record, first.id, first.topic) {
                Append::Done { .. } => {}
                blocked => {
                    self.exhausted = blocked == Append::BufferFull;
                    if !self.exhausted {
                        self.metadata.request_update();
                    }
                    let deadline = first.deadline;
                    self.waiting.push_front(first);
                    return deadline;
                }
            }
        }
        self.exhausted = false;
        Instant::MAX
    }

    fn fail_waiting(&mut self, send: &Waiting, error: &'static str) {
        self.pending -= 1;
        self.events.push_back(ProducerEvent::Failed {
            id: send.id,
            error,
            definite: true,
            partition: send.partition,
            attempts: 0,
            producer_id: None,
        });
    }

    /// Takes an input if it is this producer's; gives it back if it is not. Call [`Producer::poll`] afterwards.
    pub fn on_input(&mut self, now: Now, input: Input, out: &mut Outbox) -> Option<Input> {
        match self.net.on_input(now, input, out) {
            Ok(Some(event)) => {
                self.on_network(now.mono, event, out);
                None
            }
            Ok(None) => None,
            Err(input) => Some(input),
        }
    }

    /// Does what is due and says the next deadline. Call after every input of the node, and after sends.
    pub fn poll(&mut self, now: Now, out: &mut Outbox) {
        loop {
            if self.dirty || now.mono >= self.next_at {
                self.run(now.mono, out);
            }
            match self.net.poll(now.mono, out) {
                Some(event) => self.on_network(now.mono, event, out),
                None => break,
            }
        }
        if self.next_at < Instant::MAX {
            out.wake_at(self.next_at);
        }
    }

    /// How it stands to the cluster.
    pub fn reach(&self) -> ReachInspection {
        super::reach(&self.net, &self.metadata)
    }

    /// The next result, in order of happening.
    pub fn next_event(&mut self) -> Option<ProducerEvent> {
        self.events.pop_front()
    }

    /// Sends what has been accepted so far without waiting for `linger.ms`.
    pub fn flush(&mut self) {
        self.accumulator.flush();
        self.dirty = true;
    }

    /// Takes no more sends and flushes; all that has not resolved by `deadline` fails then.
    pub fn close(&mut self, deadline: Instant) {
        self.closing = Some(deadline);
        self.dirty = true;
    }

    /// Whether [`Producer::close`] has come to its end: everything has its event, no connection is open.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many accepted sends have not resolved.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// The producer id in use, if the producer is idempotent and has one.
    pub fn producer_id(&self) -> Option<ProducerId> {
        self.idempotence.as_ref().and_then(Idempotence::identity).map(|(id, _)| id)
    }
}
