//! The fault budget (`world.md`): between two moments of full ISR, fewer than `min.insync.replicas` replicas of a
//! partition may lose unsynced data; a disk whose data is damaged counts as lost.
//!
//! A loss is *beyond* what replication promises to survive (cause L of `oracles.md`) when, with eligible leader
//! replicas (KIP-966), at least `min.insync.replicas` replicas lost data since the last moment of full ISR; without
//! them, when every in-sync replica has lost data since it joined: then the last one did.

use klamm_model::ids::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
struct Held {
    /// Who lost data since the last moment of full ISR.
    lost: BTreeSet<NodeId>,
    /// Who lost data since it last joined the ISR.
    tainted: BTreeSet<NodeId>,
    /// The in-sync replicas.
    isr: Vec<NodeId>,
    replicas: usize,
    beyond: bool,
    breached: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Budget {
    default: usize,
    dynamic_default: Option<usize>,
    topics: BTreeMap<TopicId, usize>,
    eligible: bool,
    partitions: BTreeMap<TopicIdPartition, Held>,
}

impl Budget {
    /// `min_insync_replicas` is the brokers' default.
    pub fn new(min_insync_replicas: usize) -> Budget {
        Budget {
            default: min_insync_replicas,
            dynamic_default: None,
            topics: BTreeMap::new(),
            eligible: false,
            partitions: BTreeMap::new(),
        }
    }
    /// A topic's own `min.insync.replicas`.
    pub fn configure(&mut self, topic: TopicId, value: Option<usize>) {
        match value {
            Some(value) => drop(self.topics.insert(topic, value)),
            None => drop(self.topics.remove(&topic)),
        }
    }
    /// The cluster's dynamic default.
    pub fn configure_default(&mut self, value: Option<usize>) {
        self.dynamic_default = value;
    }
    /// Whether eligible leader replicas are on.
    pub fn eligible_leader_replicas(&mut self, on: bool) {
        self.eligible = on;
    }
    /// A topic's `min.insync.replicas`, at most the number of replicas.
    fn minimum(&self, partition: TopicIdPartition, replicas: usize) -> usize {
        let configured = self.topics.get(&partition.topic).copied().or(self.dynamic_default).unwrap_or(self.default);
        configured.min(replicas.max(1)).max(1)
    }

    /// The committed ISR (or set of replicas) changed.
    pub fn isr_changed(&mut self, p: TopicIdPartition, before: &[NodeId], after: &[NodeId], replicas: &[NodeId]) {
        let held = self.partitions.entry(p).or_default();
        held.isr = after.to_vec();
        held.replicas = replicas.len();
        held.tainted.retain(|b| before.contains(b) || !after.contains(b));
        if replicas.iter().all(|b| after.contains(b)) {
            held.lost.clear();
            held.beyond = false;
        }
        self.evaluate(p);
    }
    /// A replica lost data.
    pub fn lost(&mut self, p: TopicIdPartition, broker: NodeId, isr: &[NodeId]) {
        let held = self.partitions.entry(p).or_default();
        held.isr = isr.to_vec();
        held.lost.insert(broker);
        held.tainted.insert(broker);
        self.evaluate(p);
    }

    fn evaluate(&mut self, p: TopicIdPartition) {
        let replicas = self.partitions.get(&p).map_or(0, |h| h.replicas);
        let (minimum, eligible) = (self.minimum(p, replicas), self.eligible);
        let Some(held) = self.partitions.get_mut(&p) else { return };
        held.breached |= held.lost.len() >= minimum;
        held.beyond |= !held.lost.is_empty()
            && if eligible {
                held.lost.len() >= minimum
            } else {
                !held.isr.is_empty() && held.isr.iter().all(|b| held.tainted.contains(b))
            };
    }

    /// Whether a partition's losses since its last full ISR are more than replication promises to survive.
    pub fn is_beyond(&self, p: TopicIdPartition) -> bool {
        self.partitions.get(&p).is_some_and(|h| h.beyond)
    }
    /// Who lost data of a partition since its last full ISR.
    pub fn lost_since(&self, p: TopicIdPartition) -> BTreeSet<NodeId> {
        self.partitions.get(&p).map(|h| h.lost.clone()).unwrap_or_default()
    }
    /// Whether the whole run has stayed within the budget.
    pub fn is_within(&self) -> bool {
        self.partitions.values().all(|h| !h.breached)
    }
    /// The partitions whose budget was exceeded at some time.
    pub fn breached(&self) -> impl Iterator<Item = TopicIdPartition> + '_ {
        self.partitions.iter().filter(|(_, h)| h.breached).map(|(p, _)| *p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: TopicIdPartition = TopicIdPartition { topic: TopicId::METADATA, partition: 3 };
    fn ids(all: &[i32]) -> Vec<NodeId> {
        all.iter().map(|id| NodeId(*id)).collect()
    }
    fn cluster(eligible: bool) -> Budget {
        let mut budget = Budget::new(2);
        budget.eligible_leader_replicas(eligible);
        budget.isr_changed(P, &[], &ids(&[1, 2, 3]), &ids(&[1, 2, 3]));
        budget
    }

    #[test]
    fn one_loss_is_within_and_the_second_is_beyond_with_elr() {
        let mut budget = cluster(true);
        budget.lost(P, NodeId(1), &ids(&[1, 2, 3]));
        assert!(budget.is_within() && !budget.is_beyond(P));
        budget.lost(P, NodeId(1), &ids(&[2, 3]));
        assert!(budget.is_within());
        budget.lost(P, NodeId(2), &ids(&[2, 3]));
        assert!(!budget.is_within() && budget.is_beyond(P));
        assert_eq!(budget.breached().collect::<Vec<_>>(), [P]);
    }

    #[test]
    fn a_moment_of_full_isr_forgives() {
        let mut budget = cluster(true);
        for broker in [1, 2, 3] {
            budget.lost(P, NodeId(broker), &ids(&[1, 2, 3]));
            budget.isr_changed(P, &ids(&[1, 2, 3]), &ids(&[2, 3]), &ids(&[1, 2, 3]));
            budget.isr_changed(P, &ids(&[2, 3]), &ids(&[1, 2, 3]), &ids(&[1, 2, 3]));
        }
        assert!(budget.is_within() && !budget.is_beyond(P));
    }

    #[test]
    fn without_elr_the_last_in_sync_replica_counts() {
        let mut budget = cluster(false);
        budget.lost(P, NodeId(1), &ids(&[1, 2, 3]));
        budget.lost(P, NodeId(2), &ids(&[1, 2, 3]));
        assert!(!budget.is_beyond(P) && !budget.is_within());
        // The third, which lost nothing, leaves: what is left has lost something.
        budget.isr_changed(P, &ids(&[1, 2, 3]), &ids(&[1, 2]), &ids(&[1, 2, 3]));
        assert!(budget.is_beyond(P));
    }

    #[test]
    fn a_replica_that_joined_again_has_everything() {
        let mut budget = cluster(false);
        budget.lost(P, NodeId(1), &ids(&[1, 2, 3]));
        budget.isr_changed(P, &ids(&[1, 2, 3]), &ids(&[2]), &ids(&[1, 2, 3]));
        budget.isr_changed(P, &ids(&[2]), &ids(&[1, 2]), &ids(&[1, 2, 3]));
        budget.isr_changed(P, &ids(&[1, 2]), &ids(&[1]), &ids(&[1, 2, 3]));
        assert!(!budget.is_beyond(P));
        budget.lost(P, NodeId(1), &ids(&[1]));
        assert!(budget.is_beyond(P));
    }

    #[test]
    fn a_topic_may_have_its_own_minimum() {
        let mut budget = cluster(true);
        budget.configure(P.topic, Some(1));
        budget.lost(P, NodeId(1), &ids(&[1, 2, 3]));
        assert!(!budget.is_within() && budget.is_beyond(P));
    }
}
