//! What a leader does with its followers: takes note of their fetches, lets them into the ISR and out of it.

use super::{Isr, Moved, Partition, Proposal, Role};
use crate::controller::image::Image;
use crate::defects::Defect;
use crate::ids::*;
use crate::node::Outbox;
use crate::trace::TraceEvent;
use crate::units::{Instant, Now};
use kafka_protocol::ResponseError;

/// What came of an AlterPartition request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum IsrAnswer {
    /// The partition's state as the controller has it.
    State {
        /// Its leader epoch.
        leader_epoch: LeaderEpoch,
        /// Its version.
        partition_epoch: PartitionEpoch,
        /// Its ISR.
        isr: Vec<NodeId>,
    },
    /// Refused.
    Error(ResponseError),
}

/// Who fetches, and from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowerFetch {
    /// The follower.
    pub replica: NodeId,
    /// Its broker epoch, -1 if it did not tell.
    pub broker_epoch: BrokerEpoch,
    /// It has everything below.
    pub offset: Offset,
    /// Its log start.
    pub log_start: Offset,
}

impl Partition {
    /// Whether `replica` is one of this partition's.
    ///
    /// # Errors
    /// As Kafka's `followerReplicaOrThrow`: a replica that is not known yet is told to try again.
    pub fn check_replica(&self, replica: NodeId, with_epoch: bool) -> Result<(), ResponseError> {
        match self.leading() {
            Some(l) if l.remotes.iter().any(|r| r.id == replica) => Ok(()),
            Some(_) if with_epoch => Err(ResponseError::UnknownLeaderEpoch),
            _ => Err(ResponseError::NotLeaderOrFollower),
        }
    }

    /// Whether a follower's fetch comes from the incarnation that is registered, or from one not known here yet
    /// (KIP-903).
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` for an older one.
    pub fn check_incarnation(&self, replica: NodeId, epoch: BrokerEpoch, image: &Image) -> Result<(), ResponseError> {
        let registered = image.broker(replica).map(|b| b.epoch);
        let stale = epoch.0 != -1 && registered.is_some_and(|registered| registered > epoch);
        if stale { Err(ResponseError::NotLeaderOrFollower) } else { Ok(()) }
    }

    /// A follower's fetch says what it has. `leader_end` is the log end before the read.
    ///
    /// # Errors
    /// As [`Partition::check_incarnation`].
    pub fn follower_fetched(
        &mut self,
        now: Instant,
        fetch: FollowerFetch,
        leader_end: Offset,
        image: &Image,
        out: &mut Outbox,
    ) -> Result<Moved, ResponseError> {
        self.check_incarnation(fetch.replica, fetch.broker_epoch, image)?;
        let Role::Leader(leading) = &mut self.role else { return Err(ResponseError::NotLeaderOrFollower) };
        let Some(remote) = leading.remotes.iter_mut().find(|r| r.id == fetch.replica) else {
            return Err(ResponseError::NotLeaderOrFollower);
        };
        let before = remote.log_end;
        remote.fetched(now, fetch.offset, fetch.log_start, leader_end, fetch.broker_epoch);
        let mut moved = self.maybe_expand_isr(fetch.replica, image, out);
        if before != fetch.offset {
            moved = moved.and(self.maybe_raise_high_watermark(now, image, out));
        }
        Ok(moved)
    }

    /// The lowest log start among the replicas whose brokers are alive, if this one leads (KIP-107).
    pub fn low_watermark(&self, image: &Image) -> Option<Offset> {
        let alive = |id: NodeId| image.broker(id).is_some_and(|b| !b.fenced);
        let remotes = self.leading()?.remotes.iter().filter(|r| alive(r.id)).map(|r| r.log_start);
        remotes.chain([self.log.log_start()]).min()
    }

    /// A follower joins the ISR when it has everything below the high watermark and has reached this epoch: below
    /// the epoch's start there may be committed records that the high watermark does not cover yet (KIP-320).
    fn maybe_expand_isr(&mut self, replica: NodeId, image: &Image, out: &mut Outbox) -> Moved {
        let Role::Leader(leading) = &mut self.role else { return Moved::default() };
        if leading.isr.is_pending() || leading.isr.committed().contains(&replica) {
            return Moved::default();
        }
        let Some(remote) = leading.remotes.iter().find(|r| r.id == replica) else { return Moved::default() };
        let reached = self.defects.on(Defect::IsrExpandBelowEpochStart) || remote.log_end >= leading.epoch_start;
        let below = remote.log_end < self.high_watermark && !self.defects.on(Defect::IsrExpandBelowHighWatermark);
        if below || !reached || !remote.may_join(image) {
            return Moved::default();
        }
        self.proposals += 1;
        leading.isr.expand(self.proposals, replica);
        self.trace_proposal(out);
        Moved { proposed: true, ..Moved::default() }
    }

    /// Followers that have not caught up for `replica.lag.time.max.ms` leave the ISR.
    pub fn maybe_shrink_isr(&mut self, now: Instant, out: &mut Outbox) -> Moved {
        let Role::Leader(leading) = &mut self.role else { return Moved::default() };
        if leading.isr.is_pending() {
            return Moved::default();
        }
        let (log_end, lag_max, me) = (self.log.log_end(), self.lag_max, self.me);
        let caught_up = |id| {
            let remote = leading.remotes.iter().find(|r| r.id == id);
            remote.is_some_and(|r| r.is_caught_up(log_end, now, lag_max))
        };
        let out_of_sync: Vec<NodeId> =
            leading.isr.committed().iter().copied().filter(|&id| id != me && !caught_up(id)).collect();
        if out_of_sync.is_empty() {
            return Moved::default();
        }
        self.proposals += 1;
        leading.isr.shrink(self.proposals, &out_of_sync);
        self.trace_proposal(out);
        Moved { proposed: true, ..Moved::default() }
    }

    /// The change to ask the controller for. Epochs of followers not heard of are -1: the controller would notice
    /// their restart by the partition epoch (Kafka: `addBrokerEpochToIsr`).
    pub fn proposal(&self, broker_epoch: BrokerEpoch) -> Option<Proposal> {
        let leading = self.leading()?;
        if !leading.isr.is_pending() {
            return None;
        }
        let epoch_of = |id: NodeId| {
            if id == self.me {
                return broker_epoch;
            }
            let remote = leading.remotes.iter().find(|r| r.id == id);
            remote.and_then(|r| r.broker_epoch).unwrap_or(BrokerEpoch(-1))
        };
        Some(Proposal {
            number: self.proposals,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            isr: leading.isr.proposed().into_iter().map(|id| (id, epoch_of(id))).collect(),
        })
    }

    /// The controller answered. Says whether to ask again, too.
    pub fn isr_answered(
        &mut self,
        now: Now,
        number: u64,
        answer: IsrAnswer,
        image: &Image,
        out: &mut Outbox,
    ) -> (Moved, bool) {
        let Role::Leader(leading) = &mut self.role else { return (Moved::default(), false) };
        if !leading.isr.awaits(number) {
            return (Moved::default(), false);
        }
        match answer {
            IsrAnswer::State { leader_epoch, partition_epoch, isr } => {
                // An older state than known, or another leader's epoch: the metadata log will tell.
                if leader_epoch != self.leader_epoch || partition_epoch < self.partition_epoch {
                    return (Moved::default(), false);
                }
                let (before, after) = (leading.isr.committed().len(), isr.len());
                leading.isr = Isr::new(isr);
                self.partition_epoch = partition_epoch;
                self.mark_isr(before, after, out);
                self.trace_isr(out);
                if self.defects.on(Defect::IsrCommitKeepsHighWatermark) {
                    return (Moved::default(), false);
                }
                (self.maybe_raise_high_watermark(now.mono, image, out), false)
            }
            // The controller says that the partition epoch is right and that nothing was changed.
            IsrAnswer::Error(ResponseError::OperationNotAttempted | ResponseError::IneligibleReplica) => {
                if !self.defects.on(Defect::RefusedIsrStaysPending) {
                    leading.isr.revert();
                }
                self.trace_isr(out);
                (Moved::default(), false)
            }
            // Whether anything was changed is not known; the change stays pending until metadata tells.
            IsrAnswer::Error(
                ResponseError::UnknownTopicOrPartition
                | ResponseError::UnknownTopicId
                | ResponseError::FencedLeaderEpoch
                | ResponseError::InvalidUpdateVersion
                | ResponseError::InvalidRequest
                | ResponseError::NewLeaderElected,
            ) => (Moved::default(), false),
            IsrAnswer::Error(_) => (Moved::default(), true),
        }
    }

    /// Whether a produce request with acks=all may be appended.
    ///
    /// # Errors
    /// `NOT_ENOUGH_REPLICAS`.
    pub fn check_min_isr(&self) -> Result<(), ResponseError> {
        let enough = self.leading().is_some_and(|l| l.isr.committed().len() >= self.effective_min_isr());
        if enough { Ok(()) } else { Err(ResponseError::NotEnoughReplicas) }
    }

    /// Whether a record below the high watermark may be acknowledged: the ISR may have shrunk since the append.
    ///
    /// # Errors
    /// `NOT_ENOUGH_REPLICAS_AFTER_APPEND`.
    pub fn check_min_isr_after_append(&self) -> Result<(), ResponseError> {
        let enough = self.leading().is_some_and(|l| l.isr.maximal_len() >= self.effective_min_isr());
        if enough { Ok(()) } else { Err(ResponseError::NotEnoughReplicasAfterAppend) }
    }

    fn trace_proposal(&self, out: &mut Outbox) {
        let Some(leading) = self.leading() else { return };
        out.trace(TraceEvent::IsrProposed {
            partition: self.id,
            epoch: self.leader_epoch,
            isr: leading.isr.proposed(),
            maximal: leading.isr.maximal(),
        });
    }

    pub(super) fn trace_isr(&self, out: &mut Outbox) {
        out.trace(TraceEvent::IsrInstalled {
            partition: self.id,
            epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            isr: self.isr().to_vec(),
        });
    }

    pub(super) fn mark_isr(&self, before: usize, after: usize, out: &mut Outbox) {
        if after < before {
            out.trace(TraceEvent::Mark { mark: "isr-shrunk" });
            if after == self.effective_min_isr() {
                out.trace(TraceEvent::Mark { mark: "isr-shrunk-to-min" });
            }
        } else if after > before {
            out.trace(TraceEvent::Mark { mark: "isr-expanded" });
        }
    }
}
