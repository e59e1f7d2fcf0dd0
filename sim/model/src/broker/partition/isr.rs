//! The in-sync replicas, and a change of theirs that the controller has not confirmed yet. Follows Kafka's
//! `CommittedPartitionState`, `PendingExpandIsr` and `PendingShrinkIsr` (KIP-497).

use crate::ids::*;

/// A change asked for with AlterPartition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proposal {
    /// Tells this proposal from earlier ones of the partition.
    pub number: u64,
    /// In which epoch it was made.
    pub leader_epoch: LeaderEpoch,
    /// The state it is based on.
    pub partition_epoch: PartitionEpoch,
    /// The ISR asked for, with the broker epoch the leader knows of each (-1: none).
    pub isr: Vec<(NodeId, BrokerEpoch)>,
}

#[derive(Debug)]
enum Pending {
    Expand { number: u64, joining: NodeId },
    Shrink { number: u64, remaining: Vec<NodeId> },
}

/// The ISR of a leader.
#[derive(Debug)]
pub(crate) struct Isr {
    committed: Vec<NodeId>,
    pending: Option<Pending>,
}

impl Isr {
    /// As the controller committed it.
    pub fn new(committed: Vec<NodeId>) -> Isr {
        Isr { committed, pending: None }
    }
    /// The last set the controller confirmed.
    pub fn committed(&self) -> &[NodeId] {
        &self.committed
    }
    /// Whether a change is under way.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
    /// Whether the change under way is that one.
    pub fn awaits(&self, number: u64) -> bool {
        match self.pending {
            Some(Pending::Expand { number: n, .. } | Pending::Shrink { number: n, .. }) => n == number,
            None => false,
        }
    }
    /// Whether a replica belongs to the maximal ISR: the committed set and whoever may have joined it. A replica
    /// that may have left still counts, since the change may fail.
    pub fn maximal_contains(&self, id: NodeId) -> bool {
        self.committed.contains(&id) || matches!(self.pending, Some(Pending::Expand { joining, .. }) if joining == id)
    }
    /// How many the maximal ISR has.
    pub fn maximal_len(&self) -> usize {
        self.committed.len() + usize::from(matches!(self.pending, Some(Pending::Expand { .. })))
    }
    /// The maximal ISR.
    pub fn maximal(&self) -> Vec<NodeId> {
        let mut all = self.committed.clone();
        if let Some(Pending::Expand { joining, .. }) = self.pending {
            all.push(joining);
        }
        all
    }
    /// The set asked for, or the committed one.
    pub fn proposed(&self) -> Vec<NodeId> {
        match &self.pending {
            Some(Pending::Shrink { remaining, .. }) => remaining.clone(),
            Some(Pending::Expand { .. }) | None => self.maximal(),
        }
    }
    /// Begins an expansion.
    pub fn expand(&mut self, number: u64, joining: NodeId) {
        self.pending = Some(Pending::Expand { number, joining });
    }
    /// Begins a shrink.
    pub fn shrink(&mut self, number: u64, leaving: &[NodeId]) {
        let remaining = self.committed.iter().copied().filter(|id| !leaving.contains(id)).collect();
        self.pending = Some(Pending::Shrink { number, remaining });
    }
    /// Gives the change up: the controller said that it was not made.
    pub fn revert(&mut self) {
        self.pending = None;
    }
}
