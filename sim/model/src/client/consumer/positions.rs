//! Where each assigned partition is read next, and how that is found out.
//!
//! A position bears the leader epoch of the record before it. When the leader changes, the position is validated:
//! the new leader is asked where that epoch ends (KIP-320), and a position beyond has seen records that were
//! truncated. Positions that are missing or out of range are reset by ListOffsets. Follows Kafka's
//! `SubscriptionState`, `OffsetFetcher` and `OffsetsForLeaderEpochClient`.

use super::fetcher::Buffered;
use crate::client::metadata::TopicIndex;
use crate::history::{PositionReason, TopicPartition};
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::units::Instant;

/// Names an assigned partition in requests; a partition assigned again gets another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssignmentId(pub u64);

/// A leader as metadata names it.
pub type Leader = (NodeId, LeaderEpoch);

/// Where a partition is read next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The next offset.
    pub offset: Offset,
    /// The epoch of the record before; none after a seek or reset.
    pub offset_epoch: LeaderEpoch,
    /// Whom to ask, once known.
    pub leader: Option<Leader>,
}

/// What is being done with a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The position is asked for: `query` is -1 (latest) or -2 (earliest).
    Resetting {
        /// As in ListOffsets.
        query: i64,
        /// What to tell the application.
        reason: PositionReason,
    },
    /// The group's committed offset is asked for.
    Committed,
    /// The leader is asked whether the position is in its history.
    Validating,
    /// Records are read.
    Fetching,
    /// Nothing, until the application says where to go on.
    Stuck,
}

/// One assigned partition.
#[derive(Debug)]
pub struct Assigned {
    /// Its name in requests.
    pub id: AssignmentId,
    /// Topic and partition.
    pub source: TopicPartition,
    /// The topic in the client's metadata.
    pub topic: TopicIndex,
    /// What is being done.
    pub state: State,
    /// Where it is read next; `None` only before the first position is known.
    pub position: Option<Position>,
    /// Rises whenever the position is set otherwise than by reading or validating, so that answers to older
    /// questions are known.
    pub generation: u64,
    /// A reset or validation is under way.
    pub asked: bool,
    /// No request before.
    pub retry_at: Instant,
    /// Failed requests in a row.
    pub failures: u32,
    /// Records that were fetched and not yet handed out.
    pub buffered: Option<Buffered>,
    /// The application wants nothing of it for now.
    pub paused: bool,
    /// It is about to be given up: nothing more is handed out.
    pub pending_revocation: bool,
    /// The leader that metadata last named.
    pub leader: Option<Leader>,
    /// As last heard.
    pub high_watermark: Option<Offset>,
    /// As last heard.
    pub log_start: Option<Offset>,
}

impl Assigned {
    /// Newly assigned, stuck until told where to begin.
    pub fn new(id: AssignmentId, source: TopicPartition, topic: TopicIndex) -> Assigned {
        Assigned {
            id,
            source,
            topic,
            state: State::Stuck,
            position: None,
            generation: 0,
            asked: false,
            retry_at: Instant::ZERO,
            failures: 0,
            buffered: None,
            paused: false,
            pending_revocation: false,
            leader: None,
            high_watermark: None,
            log_start: None,
        }
    }

    /// Whether records may be fetched and handed out.
    pub fn is_fetchable(&self) -> bool {
        self.state == State::Fetching && !self.paused && !self.pending_revocation
    }

    fn changed(&mut self) {
        self.generation += 1;
        self.asked = false;
        self.retry_at = Instant::ZERO;
        self.failures = 0;
        self.buffered = None;
    }

    /// Reads on from a place that needs no validation (or cannot have any).
    pub fn jump(&mut self, position: Position) {
        self.changed();
        self.position = Some(position);
        self.state = State::Fetching;
    }

    /// Asks for a position.
    pub fn reset(&mut self, query: i64, reason: PositionReason) {
        self.changed();
        self.position = None;
        self.state = State::Resetting { query, reason };
    }

    /// Waits for the group's committed offset.
    pub fn await_committed(&mut self) {
        self.changed();
        self.position = None;
        self.state = State::Committed;
    }

    /// Stops until the application says where to go on.
    pub fn stick(&mut self) {
        self.changed();
        self.state = State::Stuck;
    }

    /// Whether [`Assigned::follow`] would change nothing.
    pub fn follows(&self, leader: Leader) -> bool {
        self.leader == Some(leader) && self.position.is_none_or(|p| p.leader == Some(leader))
    }

    /// The leader is now this. A position with an epoch must be validated with a new one, unless the leader cannot
    /// tell (`can_validate`).
    pub fn follow(&mut self, leader: Leader, can_validate: bool) {
        if self.leader.replace(leader) != Some(leader) {
            // Whatever is waited for, another leader may answer at once.
            self.retry_at = Instant::ZERO;
        }
        let Some(position) = self.position.as_mut().filter(|p| p.leader != Some(leader)) else { return };
        position.leader = Some(leader);
        if self.state == State::Stuck {
            return;
        }
        let known = position.offset_epoch != LeaderEpoch::NONE && leader.1 != LeaderEpoch::NONE;
        self.state = if known && can_validate { State::Validating } else { State::Fetching };
        self.asked = false;
        if self.state == State::Validating {
            self.buffered = None;
        }
    }

    /// A request failed; the next waits.
    pub fn failed(&mut self, retry_at: Instant) {
        self.asked = false;
        self.retry_at = retry_at;
        self.failures += 1;
    }
}

/// What the leader's answer says of a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validation {
    /// It lies within the leader's history.
    Valid,
    /// The leader knows nothing of the epoch: all that was read may be gone.
    Unknown,
    /// Records from here on were truncated.
    Diverged {
        /// The end of the largest epoch not above the asked one.
        at: Offset,
        /// That epoch.
        epoch: LeaderEpoch,
    },
}

/// Judges the end of the position's epoch at the leader.
pub fn validate(position: Position, epoch: LeaderEpoch, end: Offset) -> Validation {
    if epoch == LeaderEpoch::NONE || end == Offset::NONE {
        Validation::Unknown
    } else if end < position.offset {
        Validation::Diverged { at: end, epoch }
    } else {
        Validation::Valid
    }
}
