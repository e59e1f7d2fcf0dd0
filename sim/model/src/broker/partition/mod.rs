//! One replica of one partition: its role, its in-sync replicas, its high watermark.
//!
//! Decides nothing about requests and never answers one: it says whether a request may be served, and what moved.
//! Who waits for what is the matter of `produce` and `fetch`. Follows Kafka's `Partition`, `PartitionState` and
//! `Replica`.
//!
//! The rooms, in reading order: [`replica`], what a leader knows of a follower; [`isr`], the in-sync replicas and a
//! change of theirs under way; here, roles and the watermark.

mod isr;
mod leader;
mod replica;
#[cfg(test)]
mod tests;

pub(crate) use isr::{Isr, Proposal};
pub(crate) use leader::{FollowerFetch, IsrAnswer};
pub(crate) use replica::Replica;

use crate::config::BrokerConfig;
use crate::controller::image::{Image, PartitionImage};
use crate::defects::{Defect, Defects};
use crate::disk::Path;
use crate::ids::*;
use crate::log::Log;
use crate::node::Outbox;
use crate::trace::{LogStartReason, TraceEvent, TruncationReason};
use crate::units::{Duration, Instant, Now};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;

/// What a call moved. Whoever made the call wakes those who wait for it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[must_use]
pub(crate) struct Moved {
    /// The high watermark rose.
    pub high_watermark: bool,
    /// The leader wants another ISR; see [`Partition::proposal`].
    pub proposed: bool,
}

impl Moved {
    fn and(self, other: Moved) -> Moved {
        Moved { high_watermark: self.high_watermark || other.high_watermark, proposed: self.proposed || other.proposed }
    }
}

/// A request waiting for this partition: `produce` and `fetch` know them by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProduceWait {
    /// The request.
    pub request: u64,
    /// Where in the answer this partition's part is.
    pub slot: (u32, u32),
    /// First offset to acknowledge.
    pub base: Offset,
    /// Last offset to acknowledge.
    pub last: Offset,
    /// Whether the high watermark must pass it (acks=all), or the leader's own log end (acks 0 and 1).
    pub all: bool,
    /// Whether it repeats a batch appended before.
    pub duplicate: bool,
}

/// What a replica does.
#[derive(Debug)]
pub(crate) enum Role {
    /// Not told yet.
    None,
    /// It leads.
    Leader(Leading),
    /// It follows, or would if there were a leader.
    Follower,
}

/// What a leader keeps.
#[derive(Debug)]
pub(crate) struct Leading {
    /// Where its epoch starts.
    pub epoch_start: Offset,
    /// In-sync replicas.
    pub isr: Isr,
    /// The other replicas.
    pub remotes: Vec<Replica>,
}

/// One replica.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Which.
    pub id: TopicIdPartition,
    /// Its topic's name.
    pub topic: TopicName,
    /// Its directory.
    pub dir: Path,
    /// Its log.
    pub log: Log,
    /// Whether the log may be used.
    pub ready: bool,
    /// The leader it knows, or [`NodeId::NONE`].
    pub leader: NodeId,
    /// The leader epoch it knows.
    pub leader_epoch: LeaderEpoch,
    /// The version of the state it knows.
    pub partition_epoch: PartitionEpoch,
    /// What it does.
    pub role: Role,
    /// Produce requests that wait.
    pub produce_waits: Vec<ProduceWait>,
    /// Fetch requests that wait.
    pub fetch_waits: Vec<usize>,
    /// `max.message.bytes`.
    pub message_max_bytes: i32,
    /// Defects switched on.
    pub defects: Defects,
    me: NodeId,
    high_watermark: Offset,
    isr_known: Vec<NodeId>,
    replicas: Vec<NodeId>,
    min_insync_replicas: usize,
    lag_max: Duration,
    proposals: u64,
}

impl Partition {
    /// A replica whose log is not loaded yet.
    pub fn new(
        id: TopicIdPartition,
        topic: TopicName,
        dir: Path,
        log: Log,
        me: NodeId,
        config: &BrokerConfig,
        defects: Defects,
    ) -> Partition {
        Partition {
            id,
            topic,
            dir,
            log,
            ready: false,
            leader: NodeId::NONE,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: PartitionEpoch(-1),
            role: Role::None,
            produce_waits: Vec::new(),
            fetch_waits: Vec::new(),
            message_max_bytes: config.message_max_bytes,
            me,
            defects,
            high_watermark: Offset(0),
            isr_known: Vec::new(),
            replicas: Vec::new(),
            min_insync_replicas: config.min_insync_replicas as usize,
            lag_max: config.replica_lag_time_max,
            proposals: 0,
        }
    }

    /// Takes over changed settings.
    pub fn configure(&mut self, config: &BrokerConfig) {
        self.message_max_bytes = config.message_max_bytes;
        self.min_insync_replicas = config.min_insync_replicas as usize;
        self.lag_max = config.replica_lag_time_max;
    }

    /// The log is loaded or created: the high watermark starts from the checkpoint, within the log's bounds.
    pub fn loaded(&mut self, checkpoint: Offset) {
        self.ready = true;
        self.high_watermark = self.clamp(checkpoint);
    }

    /// The high watermark.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }
    /// Whether this replica leads.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }
    /// What it keeps as a leader.
    pub fn leading(&self) -> Option<&Leading> {
        match &self.role {
            Role::Leader(l) => Some(l),
            Role::None | Role::Follower => None,
        }
    }
    /// In-sync replicas: the leader's committed set, or what a follower last heard.
    pub fn isr(&self) -> &[NodeId] {
        self.leading().map_or(&self.isr_known, |l| l.isr.committed())
    }
    /// Whether no append and no truncation is under way.
    pub fn settled(&self) -> bool {
        self.log.is_ready() && self.log.log_end() == self.log.next_offset()
    }

    /// Whether a request that knows `epoch` (-1: none) may be served here (KIP-320).
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH`, `NOT_LEADER_OR_FOLLOWER`.
    pub fn check(&self, epoch: i32, leader_only: bool) -> Result<(), ResponseError> {
        if epoch >= 0 && epoch < self.leader_epoch.0 {
            return Err(ResponseError::FencedLeaderEpoch);
        }
        if epoch >= 0 && epoch > self.leader_epoch.0 {
            return Err(ResponseError::UnknownLeaderEpoch);
        }
        if !self.ready || matches!(self.role, Role::None) || leader_only && !self.is_leader() {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        Ok(())
    }

    /// As [`Partition::check`], for a follower's fetch.
    ///
    /// # Errors
    /// As [`Partition::check`].
    pub fn check_follower_fetch(&self, epoch: i32) -> Result<(), ResponseError> {
        let outdated = epoch >= 0 && epoch < self.leader_epoch.0;
        if outdated && self.defects.on(Defect::FetchUnfenced) {
            return self.check(-1, true);
        }
        self.check(epoch, true)
    }

    /// Takes up leadership, or what is new while leading. Nothing of an older state is taken over.
    pub fn become_leader(&mut self, now: Now, state: &PartitionImage, image: &Image, out: &mut Outbox) -> Moved {
        // An AlterPartition answer may have brought this state before the metadata log did. Then nothing is new, and
        // a change proposed since stays pending.
        let known = state.partition_epoch <= self.partition_epoch && state.leader_epoch == self.leader_epoch;
        if state.partition_epoch < self.partition_epoch || known && self.is_leader() {
            return Moved::default();
        }
        let new_epoch = state.leader_epoch > self.leader_epoch;
        let was = std::mem::replace(&mut self.role, Role::None);
        let (was_leader, isr_before, mut remotes, mut epoch_start) = match was {
            Role::Leader(l) => (true, l.isr.committed().len(), l.remotes, l.epoch_start),
            Role::None | Role::Follower => (false, state.isr.len(), Vec::new(), self.log.next_offset()),
        };
        remotes.retain(|r| state.replicas.contains(&r.id));
        for &id in state.replicas.iter().filter(|&&id| id != self.me) {
            if !remotes.iter().any(|r| r.id == id) {
                remotes.push(Replica::new(id));
            }
        }
        if new_epoch {
            // Assigned offsets count, completed or not: no entry of an older epoch may come to lie above the start.
            epoch_start = self.log.next_offset();
            self.log.assign_epoch_start(state.leader_epoch, epoch_start, out);
            for remote in &mut remotes {
                remote.reset(now.mono, epoch_start, !was_leader, state.isr.contains(&remote.id));
            }
        }
        self.replicas.clone_from(&state.replicas);
        self.leader = self.me;
        self.leader_epoch = state.leader_epoch;
        self.partition_epoch = state.partition_epoch;
        self.role = Role::Leader(Leading { epoch_start, isr: Isr::new(state.isr.clone()), remotes });
        if new_epoch {
            out.trace(TraceEvent::BecameLeader {
                partition: self.id,
                epoch: self.leader_epoch,
                partition_epoch: self.partition_epoch,
                epoch_start,
                isr: state.isr.clone(),
                high_watermark: self.high_watermark,
            });
            out.trace(TraceEvent::Mark { mark: "became-leader" });
        } else {
            self.trace_isr(out);
        }
        self.mark_isr(isr_before, state.isr.len(), out);
        // The ISR may be down to this replica.
        self.maybe_raise_high_watermark(now.mono, image, out)
    }

    /// Steps back, or takes over what is new while following. Says whether the leader epoch is a new one.
    pub fn become_follower(&mut self, state: &PartitionImage, out: &mut Outbox) -> bool {
        if state.partition_epoch < self.partition_epoch {
            return false;
        }
        let new_epoch = state.leader_epoch > self.leader_epoch;
        self.role = Role::Follower;
        self.replicas.clone_from(&state.replicas);
        self.isr_known.clone_from(&state.isr);
        self.leader = state.leader;
        self.leader_epoch = state.leader_epoch;
        self.partition_epoch = state.partition_epoch;
        if new_epoch {
            out.trace(TraceEvent::BecameFollower {
                partition: self.id,
                epoch: self.leader_epoch,
                leader: self.leader,
                log_end: self.log.log_end(),
            });
        }
        new_epoch
    }

    /// A follower heard of its leader's high watermark and log start. It may fall: a new leader's may be lower.
    pub fn follow_watermarks(&mut self, high_watermark: Offset, log_start: Offset, out: &mut Outbox) -> bool {
        let clamped = self.clamp(high_watermark);
        let moved = self.set_high_watermark(clamped, out);
        if log_start <= self.high_watermark && self.log.set_log_start(log_start, out) {
            self.trace_log_start(LogStartReason::Leader, out);
        }
        moved
    }

    /// Deletes what retention does not keep. The log start moves at once (Kafka: `UnifiedLog.deleteSegments`, under
    /// the log's lock): whoever fetches next is told of it, while the disk may be at the files still. Segments below a
    /// log start that a follower has from its leader go without moving it.
    pub fn apply_retention(&mut self, now: Now, out: &mut Outbox) {
        let before = self.log.log_start();
        self.log.delete_old_segments(now, self.high_watermark, out);
        if self.log.log_start() > before {
            self.trace_log_start(LogStartReason::Retention, out);
        }
    }

    /// Moves the log start up to an offset, or to the high watermark (-1); returns where every replica's has to be.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` beyond the high watermark.
    pub fn delete_records(&mut self, offset: i64, out: &mut Outbox) -> Result<Offset, ResponseError> {
        let offset = if offset == -1 { self.high_watermark } else { Offset(offset) };
        if offset < Offset(0) || offset > self.high_watermark {
            return Err(ResponseError::OffsetOutOfRange);
        }
        if self.log.set_log_start(offset, out) {
            self.trace_log_start(LogStartReason::DeleteRecords, out);
        }
        Ok(offset)
    }

    fn trace_log_start(&self, reason: LogStartReason, out: &mut Outbox) {
        out.trace(TraceEvent::LogStart { partition: self.id, log_start: self.log.log_start(), reason });
    }

    /// Cuts the log at `to`, if it is longer.
    pub fn truncate(&mut self, now: Now, to: Offset, reason: TruncationReason, out: &mut Outbox) {
        let from = self.log.next_offset();
        // Also when nothing is to be cut: an epoch this replica led without a record is forgotten.
        self.log.truncate_to(now, to, out);
        let to = self.log.next_offset();
        if to >= from {
            return;
        }
        out.trace(TraceEvent::Truncated { partition: self.id, from, to, reason });
        out.trace(TraceEvent::Mark { mark: "follower-truncated" });
        self.watermark_within_log(out);
    }

    /// The log may have become shorter than the high watermark.
    pub fn watermark_within_log(&mut self, out: &mut Outbox) {
        let clamped = self.clamp(self.high_watermark);
        self.set_high_watermark(clamped, out);
    }

    /// The change of the ISR just proposed could not even be asked for.
    pub fn revert_proposal(&mut self, out: &mut Outbox) {
        if let Role::Leader(leading) = &mut self.role {
            leading.isr.revert();
            self.trace_isr(out);
        }
    }

    /// Drops the whole log and starts anew at `start`.
    pub fn start_anew(&mut self, now: Now, start: Offset, out: &mut Outbox) {
        let from = self.log.next_offset();
        self.log.truncate_fully_and_start_at(now, start, out);
        let reason = TruncationReason::OutOfRange;
        out.trace(TraceEvent::Truncated { partition: self.id, from, to: start, reason });
        self.set_high_watermark(start, out);
    }

    /// Within the log: Kafka's `UnifiedLog.updateHighWatermark`.
    fn clamp(&self, offset: Offset) -> Offset {
        offset.min(self.log.log_end()).max(self.log.log_start())
    }

    fn set_high_watermark(&mut self, to: Offset, out: &mut Outbox) -> bool {
        if to == self.high_watermark {
            return false;
        }
        let rose = to > self.high_watermark;
        self.high_watermark = to;
        out.trace(TraceEvent::HighWatermark {
            partition: self.id,
            epoch: self.leader_epoch,
            leading: self.is_leader(),
            high_watermark: to,
            log_end: self.log.log_end(),
        });
        rose
    }

    /// `min.insync.replicas`, or all replicas if there are fewer.
    fn effective_min_isr(&self) -> usize {
        self.min_insync_replicas.min(self.replicas.len().max(1))
    }

    /// Raises the leader's high watermark to the lowest log end of those that count: the maximal ISR (KIP-497), and
    /// replicas that have caught up and may join. Held while the ISR is below the minimum, eligible leader replicas
    /// on or off, as in Kafka since 4.0 (KAFKA-15583).
    pub fn maybe_raise_high_watermark(&mut self, now: Instant, image: &Image, out: &mut Outbox) -> Moved {
        let Role::Leader(leading) = &self.role else { return Moved::default() };
        let wanted = self.defects.on(Defect::MinIsrCountsMaximalIsr);
        let in_sync = if wanted { leading.isr.maximal_len() } else { leading.isr.committed().len() };
        let too_few = in_sync < self.effective_min_isr();
        if too_few && !self.defects.on(Defect::HwAdvanceUnderMinIsr) {
            return Moved::default();
        }
        let log_end = self.log.log_end();
        let mut lowest = log_end;
        for r in &leading.remotes {
            if r.log_end >= lowest {
                continue;
            }
            let joins = || r.is_caught_up(log_end, now, self.lag_max) && r.may_join(image);
            let counts = leading.isr.maximal_contains(r.id) || joins();
            let forgotten = self.defects.on(Defect::HwIgnoresPendingIsr) && !leading.isr.committed().contains(&r.id);
            if counts && !forgotten {
                lowest = r.log_end;
            }
        }
        let rises = lowest > self.high_watermark;
        Moved { high_watermark: rises && self.set_high_watermark(lowest, out), proposed: false }
    }
}
