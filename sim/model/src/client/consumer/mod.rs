//! The consumer, of assigned partitions or as a member of a group. There are only full fetches without a session.
//!
//! The rooms: [`positions`] (where to read next, validation and reset), [`fetcher`] (records between arrival and
//! application), `requests` (what is asked of whom, and what the answers do); for members, `group` (the parts'
//! order), `coordinator`, `membership`, `commits`, `lookup`, [`assignor`] and [`embedded`]. This file holds the face
//! towards the application. Follows Kafka's `KafkaConsumer`, but fetches ahead whenever nothing is buffered, as a
//! broker's answer is awaited by `poll` there.

pub mod assignor;
mod commits;
mod coordinator;
pub mod embedded;
pub mod fetcher;
mod group;
mod lookup;
mod membership;
pub mod positions;
mod requests;
#[cfg(test)]
mod tests;

use super::backoff::Backoff;
use super::errors;
use super::metadata::Metadata;
use super::network::Network;
use crate::channel::ChannelConfig;
use crate::config::{AutoOffsetReset, ConsumerConfig};
use crate::defects::Defects;
use crate::history::{CommitTrigger, Outcome, PositionReason, TopicPartition};
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicName};
use crate::inspect::ReachInspection;
use crate::node::{Endpoint, Input, Outbox};
use crate::units::{Instant, Now, Timestamp};
use crate::versions::VersionCaps;
use fetcher::Handed;
use group::Group;
use kafka_protocol::protocol::StrBytes;
use positions::{Assigned, AssignmentId, Position, State};
use rand_chacha::ChaCha8Rng;
use requests::Tag;
use std::collections::VecDeque;

/// `ListOffsets`: the high watermark, or the last stable offset.
const LATEST: i64 = -1;
/// `ListOffsets`: the log start.
const EARLIEST: i64 = -2;

/// The most requests under way to one broker; `NetworkClient` of a consumer allows as good as any number.
const MAX_IN_FLIGHT: usize = 100;

/// Error of a partition whose records, once read, were truncated, with `auto.offset.reset` = `none`
/// (Java: `LogTruncationException`).
pub const LOG_TRUNCATION: &str = "LOG_TRUNCATION";

pub use commits::COMMIT_FAILED;

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
    /// Its headers.
    pub headers: crate::record::Headers<'a>,
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
        /// Kafka's name of the error, or [`LOG_TRUNCATION`].
        error: &'static str,
    },
    /// An answer that a Java application would see as an exception. Reading goes on.
    Error {
        /// Which.
        source: TopicPartition,
        /// Kafka's name of the error.
        error: &'static str,
    },

    // --- group members ---
    /// A rebalance is over: these partitions are new, others stay.
    Assigned {
        /// The generation or member epoch.
        generation: i32,
        /// The new ones; may be empty.
        partitions: Vec<TopicPartition>,
    },
    /// These partitions are to be given up: finish and commit what is theirs, then call
    /// [`Consumer::revocation_done`].
    Revoking {
        /// The generation or member epoch they were held in.
        generation: i32,
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// These partitions are gone, and may be somebody else's already.
    Lost {
        /// The generation or member epoch they were held in.
        generation: i32,
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// A commit begins, by the application's wish or the consumer's own.
    CommitSent {
        /// Its name.
        id: u64,
        /// What made it.
        trigger: CommitTrigger,
        /// The generation or member epoch it is for; -1 outside the group.
        generation: i32,
        /// What is committed.
        offsets: Vec<(TopicPartition, Offset)>,
    },
    /// A commit has ended.
    Committed {
        /// Its name.
        id: u64,
        /// How.
        outcome: Outcome,
        /// Kafka's name of the error, or [`COMMIT_FAILED`].
        error: Option<&'static str>,
    },
    /// The consumer cannot be a member any more (Java: an exception out of `poll`).
    GroupFailed {
        /// Kafka's name of the error.
        error: &'static str,
    },
    /// Leaving the group is done.
    Left,
}

/// A consumer.
#[derive(Debug)]
pub struct Consumer {
    config: ConsumerConfig,
    net: Network<Tag>,
    metadata: Metadata,
    retry: Backoff,
    /// In the order in which records are handed out and asked for; a partition that had its turn goes to the end.
    assigned: Vec<Assigned>,
    next_id: u64,
    /// Brokers with a fetch under way.
    fetching: Vec<NodeId>,
    events: VecDeque<ConsumerEvent>,
    dirty: bool,
    next_at: Instant,
    defects: Defects,
    /// Of a consumer that subscribes.
    group: Option<Box<Group>>,
}

impl Consumer {
    /// A consumer that has not been started.
    pub fn new(config: ConsumerConfig, bootstrap: Vec<Endpoint>, caps: VersionCaps, defects: Defects) -> Consumer {
        let channel = ChannelConfig {
            request_timeout: config.request_timeout,
            reconnect_backoff: config.reconnect_backoff,
            reconnect_backoff_max: config.reconnect_backoff_max,
            connection_setup_timeout: config.connection_setup_timeout,
            caps,
        };
        let retry = Backoff { first: config.retry_backoff, longest: config.retry_backoff_max };
        Consumer {
            net: Network::new(channel, bootstrap, MAX_IN_FLIGHT),
            metadata: Metadata::new(retry, config.metadata_max_age, defects),
            retry,
            assigned: Vec::new(),
            next_id: 0,
            fetching: Vec::new(),
            events: VecDeque::new(),
            dirty: true,
            next_at: Instant::MAX,
            defects,
            group: None,
            config,
        }
    }

    /// Starts it; `rng` is for jitter.
    pub fn start(&mut self, _now: Now, rng: ChaCha8Rng) {
        self.net.start(rng);
    }

    /// Replaces the assignment. A partition that stays assigned keeps its position.
    pub fn assign(&mut self, _now: Now, partitions: &[(TopicPartition, StartAt)]) {
        self.assigned.retain(|a| partitions.iter().any(|(source, _)| *source == a.source));
        for (source, start) in partitions {
            if self.find(source).is_some() {
                continue;
            }
            let topic = self.metadata.topic(&source.topic);
            self.next_id += 1;
            self.assigned.push(Assigned::new(AssignmentId(self.next_id), source.clone(), topic));
            self.begin(self.assigned.len() - 1, *start, PositionReason::Assigned);
        }
        self.dirty = true;
    }

    /// Reads nothing of these partitions until [`Consumer::resume_partitions`].
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, true);
    }

    /// Reads these partitions again.
    pub fn resume_partitions(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, false);
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for a in self.assigned.iter_mut().filter(|a| partitions.contains(&a.source)) {
            a.paused = paused;
        }
        self.dirty = true;
    }

    /// What is assigned, in the order of topics and partitions.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        let mut assignment: Vec<TopicPartition> = self.assigned.iter().map(|a| a.source.clone()).collect();
        assignment.sort();
        assignment
    }

    /// Moves a position. Does nothing to a partition that is not assigned.
    pub fn seek(&mut self, _now: Now, source: &TopicPartition, to: StartAt) {
        if let Some(at) = self.find(source) {
            self.begin(at, to, PositionReason::Seek);
            self.dirty = true;
        }
    }

    fn find(&self, source: &TopicPartition) -> Option<usize> {
        self.assigned.iter().position(|a| a.source == *source)
    }

    fn begin(&mut self, at: usize, start: StartAt, reason: PositionReason) {
        match start {
            StartAt::Offset(offset) => self.jump(at, offset, LeaderEpoch::NONE, reason),
            StartAt::Earliest => self.assigned[at].reset(EARLIEST, reason),
            StartAt::Latest => self.assigned[at].reset(LATEST, reason),
            StartAt::Reset => {
                self.reset(at, reason, "NO_OFFSET_FOR_PARTITION");
            }
        }
    }

    /// Goes to an offset and tells the application.
    fn jump(&mut self, at: usize, offset: Offset, offset_epoch: LeaderEpoch, reason: PositionReason) {
        let a = &mut self.assigned[at];
        let leader = self.metadata.leader(a.topic, a.source.partition);
        a.jump(Position { offset, offset_epoch, leader });
        self.events.push_back(ConsumerEvent::Position { source: a.source.clone(), offset, reason });
    }

    /// Does as `auto.offset.reset` says; with `none` the partition is stuck with `error`.
    fn reset(&mut self, at: usize, reason: PositionReason, error: &'static str) {
        let a = &mut self.assigned[at];
        match self.config.auto_offset_reset {
            AutoOffsetReset::Earliest => a.reset(EARLIEST, reason),
            AutoOffsetReset::Latest => a.reset(LATEST, reason),
            AutoOffsetReset::None => {
                a.stick();
                self.events.push_back(ConsumerEvent::Failed { source: a.source.clone(), error });
            }
        }
    }

    /// Takes an input if it is this consumer's; gives it back if it is not. Call [`Consumer::poll`] afterwards.
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

    /// Does what is due and says the next deadline. Call after every input of the node, after
    /// [`Consumer::poll_records`], [`Consumer::assign`] and [`Consumer::seek`].
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

    /// Hands out up to `max.poll.records` records, partition by partition, and moves the positions past them.
    /// Returns how many. Call [`Consumer::poll`] afterwards.
    pub fn poll_records(&mut self, now: Now, mut each: impl FnMut(&TopicPartition, ConsumerRecord<'_>)) -> usize {
        if self.withholds() {
            return 0;
        }
        let mut count = 0;
        let mut at = 0;
        let mut turns = self.assigned.len();
        while turns > 0 && count < self.config.max_poll_records {
            turns -= 1;
            let a = &mut self.assigned[at];
            let fetchable = a.is_fetchable();
            let (Some(buffered), Some(position), true) = (&mut a.buffered, &mut a.position, fetchable) else {
                at += 1;
                continue;
            };
            let limit = self.config.max_poll_records - count;
            let source = &a.source;
            let (n, end) = buffered.hand_out(position, limit, self.config.check_crcs, |record| each(source, record));
            count += n;
            match end {
                Handed::Limit => break,
                Handed::All => {
                    a.buffered = None;
                    let served = self.assigned.remove(at);
                    self.assigned.push(served);
                }
                Handed::Corrupt => {
                    a.stick();
                    let error = errors::name(errors::CORRUPT_MESSAGE);
                    self.events.push_back(ConsumerEvent::Failed { source: a.source.clone(), error });
                    at += 1;
                }
            }
            self.dirty = true;
        }
        if count > 0 {
            self.leave_poll(now.mono);
        }
        count
    }

    /// Whether [`Consumer::poll_records`] might hand out anything.
    pub fn has_records(&self) -> bool {
        !self.withholds() && self.assigned.iter().any(|a| a.buffered.is_some() && a.is_fetchable())
    }

    /// Whether [`Consumer::next_event`] has anything.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next event, in order of happening. Take them before polling records: a position event stands between
    /// the records before and after it.
    pub fn next_event(&mut self) -> Option<ConsumerEvent> {
        self.events.pop_front()
    }

    /// The next offset to be handed out, once known.
    pub fn position(&self, source: &TopicPartition) -> Option<Offset> {
        self.assigned[self.find(source)?].position.map(|p| p.offset)
    }

    /// The high watermark last heard of.
    pub fn high_watermark(&self, source: &TopicPartition) -> Option<Offset> {
        self.assigned[self.find(source)?].high_watermark
    }

    /// The log start last heard of.
    pub fn log_start(&self, source: &TopicPartition) -> Option<Offset> {
        self.assigned[self.find(source)?].log_start
    }

    /// How it stands to the cluster.
    pub fn reach(&self) -> ReachInspection {
        super::reach(&self.net, &self.metadata)
    }

    /// Closes every connection and gives the assignment up. A member is not heard of again: see [`Consumer::leave`].
    pub fn close(&mut self, now: Now, out: &mut Outbox) {
        self.net.close(now.mono, out);
        self.group = None;
        self.assigned.clear();
        self.fetching.clear();
        self.metadata = Metadata::new(self.retry, self.config.metadata_max_age, self.defects);
        self.next_at = Instant::MAX;
        self.dirty = false;
    }
}

fn wire_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
