//! A batch on its way from the accumulator to its outcome, and the place where all of a producer's batches live.
//!
//! A batch is full by its uncompressed bytes; Kafka's guesses at how well they will compress. Follows Kafka's
//! `ProducerBatch`.

use crate::ids::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};
use crate::record::{BatchBuilder, BuilderConfig, Compressor, RecordHeader, record_size_upper_bound, set_producer};
use crate::units::{Instant, Timestamp};
use bytes::Bytes;

/// Names a batch within its producer while it lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BatchKey(u32);

/// Under which identity a batch is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerState {
    /// Producer id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The first record's sequence.
    pub base: Sequence,
}

#[derive(Debug)]
enum Body {
    Open(BatchBuilder),
    Closed(Bytes),
}

/// Records for one partition that are sent together.
#[derive(Debug)]
pub struct Batch {
    /// The accumulator's number of its partition.
    pub partition: usize,
    body: Option<Body>,
    compressor: Compressor,
    /// The application's names of its records, in order.
    pub ids: Vec<u64>,
    /// When its first record was accepted.
    pub created: Instant,
    /// Rises from batch to batch.
    pub born: u64,
    /// How often it was put into a request.
    pub attempts: u32,
    /// How often it was put back.
    pub retries: u32,
    /// Not to be sent again before.
    pub backoff_until: Instant,
    /// An attempt may have appended it.
    pub ambiguous: bool,
    /// It is in a request under way.
    pub in_request: bool,
    /// Its records have had their events. It lives on only while it is in a request.
    pub done: bool,
    /// The identity it has been given, if the producer is idempotent and it was drained.
    pub producer: Option<ProducerState>,
    /// Its sequence was rewritten after an epoch bump.
    pub sequence_reset: bool,
    /// The bytes bear another identity than `producer`.
    outdated: bool,
    /// Takes no more records.
    sealed: bool,
    /// What it takes of `buffer.memory`.
    pub memory: usize,
    leader_epoch: LeaderEpoch,
    leader_changed_at: u32,
}

impl Batch {
    /// An empty one.
    pub fn new(
        partition: usize,
        now: Instant,
        born: u64,
        memory: usize,
        capacity: usize,
        ids: Vec<u64>,
        compressor: Compressor,
    ) -> Batch {
        Batch {
            partition,
            body: Some(Body::Open(BatchBuilder::with_capacity(BuilderConfig::PLAIN, capacity))),
            ids,
            compressor,
            created: now,
            born,
            attempts: 0,
            retries: 0,
            backoff_until: Instant::ZERO,
            ambiguous: false,
            in_request: false,
            done: false,
            producer: None,
            sequence_reset: false,
            outdated: false,
            sealed: false,
            memory,
            leader_epoch: LeaderEpoch::NONE,
            leader_changed_at: 0,
        }
    }

    /// Adds a record if the batch is open and has room for it below `limit` bytes; an empty batch always has.
    /// Returns the bytes it took.
    pub fn try_append(
        &mut self,
        limit: usize,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader],
        id: u64,
    ) -> Option<usize> {
        let Some(Body::Open(builder)) = self.body.as_mut().filter(|_| !self.sealed) else { return None };
        let before = builder.size();
        if !builder.is_empty() && before + record_size_upper_bound(key, value, headers) > limit {
            return None;
        }
        builder.append(timestamp, key, value, headers);
        self.ids.push(id);
        Some(builder.size() - before)
    }

    /// How many records it has.
    pub fn records(&self) -> usize {
        self.ids.len()
    }
    /// Its size on the wire.
    pub fn size(&self) -> usize {
        match &self.body {
            Some(Body::Open(builder)) => builder.size(),
            Some(Body::Closed(bytes)) => bytes.len(),
            None => 0,
        }
    }
    /// Whether it takes no more records.
    pub fn is_full(&self, limit: usize) -> bool {
        match &self.body {
            Some(Body::Open(builder)) => self.sealed || (!builder.is_empty() && builder.size() >= limit),
            _ => true,
        }
    }
    /// Takes no more records.
    pub fn seal(&mut self) {
        self.sealed = true;
    }

    /// Gives it an identity. The bytes follow when they are next asked for.
    pub fn set_producer(&mut self, state: ProducerState) {
        self.producer = Some(state);
        self.outdated = true;
    }
    /// The sequence of its last record.
    pub fn last_sequence(&self) -> Option<Sequence> {
        self.producer.map(|p| p.base.plus(self.records() as i32 - 1))
    }

    /// The batch as it is to be sent.
    pub fn bytes(&mut self) -> Bytes {
        self.sealed = true;
        let bytes = match self.body.take().expect("a live batch has a body") {
            Body::Open(mut builder) => {
                if let Some(p) = self.producer {
                    builder.set_producer(p.id, p.epoch, p.base);
                }
                builder.build_with(self.compressor)
            }
            Body::Closed(bytes) => match self.producer {
                Some(p) if self.outdated => set_producer(bytes, p.id, p.epoch, p.base),
                _ => bytes,
            },
        };
        self.outdated = false;
        self.body = Some(Body::Closed(bytes.clone()));
        bytes
    }

    /// The partition's leader epoch is now this.
    pub fn saw_leader(&mut self, epoch: LeaderEpoch) {
        if epoch > self.leader_epoch {
            self.leader_epoch = epoch;
            self.leader_changed_at = self.retries;
        }
    }
    /// Whether it must wait before it is sent again. A new leader is tried at once (KIP-951).
    pub fn backing_off(&self, now: Instant) -> bool {
        self.retries > 0 && now < self.backoff_until && self.leader_changed_at != self.retries
    }
}

/// All batches of a producer.
#[derive(Debug, Default)]
pub struct Batches {
    slots: Vec<Option<Batch>>,
    free: Vec<u32>,
    /// Lists of names kept for reuse.
    lists: Vec<Vec<u64>>,
}

impl Batches {
    /// An empty list for a batch's names.
    pub fn list(&mut self) -> Vec<u64> {
        self.lists.pop().unwrap_or_default()
    }
    /// Keeps a batch.
    pub fn insert(&mut self, batch: Batch) -> BatchKey {
        match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = Some(batch);
                BatchKey(at)
            }
            None => {
                self.slots.push(Some(batch));
                BatchKey(self.slots.len() as u32 - 1)
            }
        }
    }
    /// Forgets a batch.
    pub fn remove(&mut self, key: BatchKey) {
        if let Some(mut batch) = self.slots[key.0 as usize].take() {
            self.free.push(key.0);
            batch.ids.clear();
            if self.lists.len() < 64 {
                self.lists.push(batch.ids);
            }
        }
    }
}

impl std::ops::Index<BatchKey> for Batches {
    type Output = Batch;
    fn index(&self, key: BatchKey) -> &Batch {
        self.slots[key.0 as usize].as_ref().expect("a live batch")
    }
}
impl std::ops::IndexMut<BatchKey> for Batches {
    fn index_mut(&mut self, key: BatchKey) -> &mut Batch {
        self.slots[key.0 as usize].as_mut().expect("a live batch")
    }
}
