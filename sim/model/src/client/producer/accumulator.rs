//! Records gather into batches here, partition by partition, within `buffer.memory`.
//!
//! Decides when a partition has something to send; never sends. Follows Kafka's `RecordAccumulator` and
//! `BufferPool`. Batches are not split.

use super::ProducerRecord;
use super::batch::{Batch, BatchKey, Batches};
use super::idempotence::SequenceState;
use super::partitioner::{Sticky, partition_for_key, partition_for_key_among_led};
use crate::client::metadata::{Topic, TopicIndex};
use crate::config::ProducerConfig;
use crate::defects::{Defect, Defects};
use crate::record::{BATCH_HEADER_SIZE, Compressor, record_size_upper_bound};
use crate::units::{Duration, Instant, Timestamp};
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// One partition's batches.
#[derive(Debug)]
pub struct Queue {
    /// Its topic.
    pub topic: TopicIndex,
    /// Its index within the topic.
    pub index: i32,
    /// Batches to be sent, in order; only the last may be open.
    pub waiting: VecDeque<BatchKey>,
    /// Batches in requests under way, in order of sending.
    pub in_requests: Vec<BatchKey>,
    /// Nothing is sent while something is under way (`max.in.flight.requests.per.connection` = 1).
    pub muted: bool,
    /// The idempotent producer's numbers for it.
    pub sequences: SequenceState,
    /// How large its last batch became; the next is likely to become as large.
    last_size: usize,
}

#[derive(Debug, Default)]
struct TopicState {
    /// From a partition's index to its place in `queues`.
    queues: Vec<Option<u32>>,
    sticky: Sticky,
}

/// Whether a record could be taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Append {
    /// It is in a batch.
    Done {
        /// A batch has become ready or a new one was begun: somebody should look.
        look: bool,
    },
    /// Its topic or partition is not known.
    NoMetadata,
    /// `buffer.memory` is used up.
    BufferFull,
}

/// What a partition has to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// Nothing that could be sent, whatever time passes.
    Nothing,
    /// Something, from this time on.
    From(Instant),
    /// Something now.
    Now,
}

/// A producer's records that are not yet in their final state.
#[derive(Debug)]
pub struct Accumulator {
    /// Every live batch.
    pub batches: Batches,
    /// Every partition that ever had a record.
    pub queues: Vec<Queue>,
    topics: Vec<TopicState>,
    available: usize,
    born: u64,
    batch_size: usize,
    compressor: Compressor,
    linger: Duration,
    ignore_keys: bool,
    /// Batches born before need not linger.
    flush_before: u64,
    /// Defects switched on.
    pub defects: Defects,
}

impl Accumulator {
    /// An empty one.
    pub fn new(config: &ProducerConfig, defects: Defects) -> Accumulator {
        Accumulator {
            batches: Batches::default(),
            queues: Vec::new(),
            topics: Vec::new(),
            available: config.buffer_memory,
            born: 0,
            batch_size: config.batch_size,
            compressor: config.compressor(),
            linger: config.linger,
            ignore_keys: config.partitioner_ignore_keys,
            flush_before: 0,
            defects,
        }
    }

    /// Takes a record in, if its topic is known and there is room.
    pub fn append(
        &mut self,
        now: Instant,
        timestamp: Timestamp,
        record: &ProducerRecord<'_>,
        id: u64,
        topic_index: TopicIndex,
        topic: &Topic,
        rng: &mut ChaCha8Rng,
    ) -> Append {
        let count = topic.partitions.len();
        if self.topics.len() <= topic_index {
            self.topics.resize_with(topic_index + 1, TopicState::default);
        }
        let mut sticky = false;
        let partition = match record.partition {
            Some(partition) if (0..count as i64).contains(&i64::from(partition)) => partition,
            _ if count == 0 || record.partition.is_some() => return Append::NoMetadata,
            _ => match record.key {
                Some(key) if !self.ignore_keys && self.defects.on(Defect::KeyHashedOverLed) => {
                    partition_for_key_among_led(key, topic)
                }
                Some(key) if !self.ignore_keys => partition_for_key(key, count),
                _ => {
                    sticky = true;
                    self.topics[topic_index].sticky.current(topic, rng)
                }
            },
        };
        let queue = self.queue(topic_index, partition);
        let last = self.queues[queue].waiting.back().copied();
        let append = |batch: &mut Batch, limit: usize| {
            batch.try_append(limit, timestamp, record.key, record.value, record.headers, id)
        };
        let mut look = false;
        let mut bytes = last.and_then(|key| append(&mut self.batches[key], self.batch_size));
        if bytes.is_none() {
            if let Some(key) = last {
                self.batches[key].seal();
            }
            let upper = BATCH_HEADER_SIZE + record_size_upper_bound(record.key, record.value, record.headers);
            let memory = self.batch_size.max(upper);
            if memory > self.available {
                return Append::BufferFull;
            }
            self.available -= memory;
            self.born += 1;
            let ids = self.batches.list();
            let capacity = self.queues[queue].last_size.max(upper);
            let mut batch = Batch::new(queue, now, self.born, memory, capacity, ids, self.compressor);
            bytes = append(&mut batch, self.batch_size);
            let key = self.batches.insert(batch);
            self.queues[queue].waiting.push_back(key);
            look = true;
        }
        let last = *self.queues[queue].waiting.back().expect("it was just appended to");
        let full = self.batches[last].is_full(self.batch_size);
        if sticky {
            let bytes = bytes.expect("an empty batch takes any record");
            self.topics[topic_index].sticky.appended(bytes, self.batch_size, full, topic, rng);
        }
        Append::Done { look: look || full }
    }

    fn queue(&mut self, topic: TopicIndex, index: i32) -> usize {
        let places = &mut self.topics[topic].queues;
        if places.len() <= index as usize {
            places.resize(index as usize + 1, None);
        }
        if let Some(place) = places[index as usize] {
            return place as usize;
        }
        places[index as usize] = Some(self.queues.len() as u32);
        self.queues.push(Queue {
            topic,
            index,
            waiting: VecDeque::new(),
            in_requests: Vec::new(),
            muted: false,
            sequences: SequenceState::default(),
            last_size: 0,
        });
        self.queues.len() - 1
    }

    /// Whether a partition's first batch can be sent. `hurry`: nothing lingers (closing, or sends wait for room).
    pub fn readiness(&self, queue: usize, now: Instant, hurry: bool) -> Readiness {
        let q = &self.queues[queue];
        let Some(&first) = q.waiting.front() else { return Readiness::Nothing };
        if q.muted {
            return Readiness::Nothing;
        }
        let batch = &self.batches[first];
        if batch.backing_off(now) {
            return Readiness::From(batch.backoff_until);
        }
        let full = q.waiting.len() > 1 || batch.is_full(self.batch_size);
        let expires = batch.created + self.linger;
        if full || hurry || batch.born < self.flush_before || now >= expires {
            Readiness::Now
        } else {
            Readiness::From(expires)
        }
    }

    /// What has been accepted so far need not linger.
    pub fn flush(&mut self) {
        self.flush_before = self.born + 1;
    }

    /// Puts a batch back to be sent again.
    pub fn reenqueue(&mut self, key: BatchKey, idempotent: bool) {
        let batch = &self.batches[key];
        let q = &mut self.queues[batch.partition];
        if idempotent {
            // Sequences must leave in order: behind the batches with a sequence that precede it, before all others.
            let place = |k: BatchKey| q.sequences.tracked.iter().position(|&t| t == k);
            let own = place(key);
            let before = |k: &BatchKey| place(*k).is_some_and(|at| Some(at) < own);
            let at = q.waiting.iter().take_while(|k| before(k)).count();
            q.waiting.insert(at, key);
        } else if !self.defects.on(Defect::RetryOvertaken) {
            q.waiting.push_front(key);
        } else {
            q.waiting.push_back(key);
        }
    }

    /// A batch has left for the network.
    pub fn drained(&mut self, key: BatchKey) {
        let batch = &mut self.batches[key];
        batch.in_request = true;
        batch.attempts += 1;
        let q = &mut self.queues[batch.partition];
        q.in_requests.push(key);
        q.last_size = batch.size();
    }

    /// A batch's request is over.
    pub fn returned(&mut self, key: BatchKey) {
        let batch = &mut self.batches[key];
        batch.in_request = false;
        self.queues[batch.partition].in_requests.retain(|&k| k != key);
    }

    /// A batch has its outcome: its memory is free again, and it is forgotten once no request holds it.
    pub fn finish(&mut self, key: BatchKey) {
        let batch = &mut self.batches[key];
        if !batch.done {
            batch.done = true;
            self.available += std::mem::take(&mut batch.memory);
        }
        if !batch.in_request {
            self.batches.remove(key);
        }
    }

    /// Free bytes of `buffer.memory`.
    #[cfg(test)]
    pub fn available(&self) -> usize {
        self.available
    }
}
