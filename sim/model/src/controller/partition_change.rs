//! From a partition's state and what happened to it, the record that says what becomes of it: ISR, eligible leader
//! replicas and leader. It decides one partition and knows no other.
//!
//! Follows Kafka's `PartitionChangeBuilder` and KIP-966. Reassignments do not exist here.

use super::image::PartitionImage;
use crate::defects::{Defect, Defects};
use crate::ids::*;
use crate::record::schema::PartitionChangeRecord;

/// Where a new leader came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elected {
    /// The ISR: nothing acknowledged is lost.
    Isr,
    /// The eligible leader replicas, the ISR being empty: nothing committed is lost (KIP-966).
    Elr,
    /// The leader before the partition lost all of ISR and ELR, with whatever its disk kept.
    LastKnownLeader,
    /// Any living replica, as `unclean.leader.election.enable` allows.
    Unclean,
}

/// What becomes of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionChange {
    /// The record.
    pub record: PartitionChangeRecord,
    /// Where its leader comes from, if it names a new one.
    pub elected: Option<Elected>,
}

/// A partition about to change.
pub struct PartitionChangeBuilder<'a> {
    partition: &'a PartitionImage,
    id: TopicIdPartition,
    acceptable: &'a dyn Fn(NodeId) -> bool,
    min_isr: usize,
    elr_enabled: bool,
    unclean_allowed: bool,
    defects: Defects,
    target_isr: Vec<NodeId>,
    target_elr: Vec<NodeId>,
    target_recovery_state: i8,
    unclean_shutdown: Option<NodeId>,
}

/// What decides besides the partition's own state.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `min.insync.replicas`, at most the number of replicas.
    pub min_isr: usize,
    /// Whether eligible leader replicas are kept.
    pub elr_enabled: bool,
    /// `unclean.leader.election.enable`.
    pub unclean_allowed: bool,
    /// Defects switched on.
    pub defects: Defects,
}

impl<'a> PartitionChangeBuilder<'a> {
    /// Nothing is to change but, if the leader is not `acceptable`, the leader.
    pub fn new(
        id: TopicIdPartition,
        partition: &'a PartitionImage,
        acceptable: &'a dyn Fn(NodeId) -> bool,
        rules: Rules,
    ) -> PartitionChangeBuilder<'a> {
        PartitionChangeBuilder {
            partition,
            id,
            acceptable,
            min_isr: rules.min_isr,
            elr_enabled: rules.elr_enabled,
            unclean_allowed: rules.unclean_allowed,
            defects: rules.defects,
            target_isr: partition.isr.clone(),
            target_elr: partition.elr.clone(),
            target_recovery_state: partition.leader_recovery_state,
            unclean_shutdown: None,
        }
    }
    /// The ISR is to be this.
    #[must_use]
    pub fn target_isr(mut self, isr: Vec<NodeId>) -> Self {
        self.target_isr = isr;
        self
    }
    /// The leader says how far it has recovered.
    #[must_use]
    pub fn target_recovery_state(mut self, state: i8) -> Self {
        self.target_recovery_state = state;
        self
    }
    /// This replica's disk may have lost what it acknowledged: it is no longer eligible.
    #[must_use]
    pub fn unclean_shutdown(mut self, replica: Option<NodeId>) -> Self {
        self.unclean_shutdown = replica;
        self
    }

    /// The record, or `None` if nothing changes.
    pub fn build(mut self) -> Option<PartitionChange> {
        self.populate_elr();
        let mut record = PartitionChangeRecord::of(self.id);
        let (leader, elected) = self.elect();
        let mut unclean = false;
        if leader != self.partition.leader {
            if self.target_elr.contains(&leader) {
                if !self.defects.on(Defect::ElrLeaderNotInIsr) {
                    self.target_isr = vec![leader];
                }
                self.target_elr.retain(|&r| r != leader);
            }
            record.leader = Some(leader);
            unclean = matches!(elected, Some(Elected::LastKnownLeader | Elected::Unclean));
            if unclean {
                record.isr = Some(vec![leader]);
                if self.target_recovery_state == self.partition.leader_recovery_state {
                    self.target_recovery_state = 1;
                }
            }
        }
        if unclean || !self.elr_enabled {
            self.target_elr.clear();
        }
        if self.target_elr != self.partition.elr {
            record.elr = Some(self.target_elr.clone());
        }
        // Without ELR the ISR is never empty: its last member stays, since nobody else may lead.
        let isr_may_be_written = !self.target_isr.is_empty() || self.elr_enabled;
        if !unclean && isr_may_be_written && self.target_isr != self.partition.isr {
            record.isr = Some(self.target_isr.clone());
        }
        self.update_last_known_leader(&mut record);
        if self.target_recovery_state != self.partition.leader_recovery_state {
            record.leader_recovery_state = Some(self.target_recovery_state);
        }
        if record == PartitionChangeRecord::of(self.id) {
            return None;
        }
        let elected = elected.filter(|_| record.leader.is_some());
        Some(PartitionChange { record, elected })
    }

    /// Whoever leaves an ISR that is below the minimum stays eligible: nothing is committed without them.
    fn populate_elr(&mut self) {
        if !self.elr_enabled {
            return;
        }
        if self.target_isr.len() >= self.min_isr {
            self.target_elr.clear();
            return;
        }
        self.target_elr.extend_from_slice(&self.partition.isr);
        self.target_elr.retain(|r| !self.target_isr.contains(r) && self.unclean_shutdown != Some(*r));
        self.target_elr.sort_unstable();
        self.target_elr.dedup();
    }

    fn elect(&self) -> (NodeId, Option<Elected>) {
        let clean = |r: NodeId| {
            let eligible = self.target_isr.contains(&r) || self.target_isr.is_empty() && self.target_elr.contains(&r);
            eligible && (self.acceptable)(r)
        };
        let from = if self.target_isr.is_empty() { Elected::Elr } else { Elected::Isr };
        if clean(self.partition.leader) {
            return (self.partition.leader, Some(from));
        }
        let mut replicas = self.partition.replicas.iter().copied();
        if let Some(leader) = replicas.clone().find(|&r| clean(r)) {
            return (leader, Some(from));
        }
        if let Some(leader) = self.last_known_leader() {
            return (leader, Some(Elected::LastKnownLeader));
        }
        if self.unclean_allowed
            && let Some(leader) = replicas.find(|&r| (self.acceptable)(r))
        {
            return (leader, Some(Elected::Unclean));
        }
        (NodeId::NONE, None)
    }

    fn last_known_leader(&self) -> Option<NodeId> {
        let nobody_eligible = self.target_isr.is_empty() && self.target_elr.is_empty();
        let [leader] = self.partition.last_known_elr[..] else { return None };
        (self.elr_enabled && nobody_eligible && (self.acceptable)(leader)).then_some(leader)
    }

    /// The field `LastKnownElr` holds the last leader alone, while there is none (Kafka's balanced recovery).
    fn update_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.elr_enabled {
            return;
        }
        let leader_after = record.leader.unwrap_or(self.partition.leader);
        let emptied = record.isr.as_ref().is_some_and(Vec::is_empty);
        if emptied && self.partition.last_known_elr != [self.partition.leader] {
            record.last_known_elr = Some(vec![self.partition.leader]);
        } else if leader_after != NodeId::NONE && !self.partition.last_known_elr.is_empty() {
            record.last_known_elr = Some(vec![]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: TopicIdPartition = TopicIdPartition { topic: TopicId::ZERO, partition: 0 };

    fn list(text: &str) -> Vec<NodeId> {
        text.split(',').filter(|s| !s.is_empty()).map(|s| NodeId(s.parse().unwrap())).collect()
    }
    fn show(nodes: &[NodeId]) -> String {
        nodes.iter().map(|n| n.0.to_string()).collect::<Vec<_>>().join(",")
    }

    /// One case: `leader isr elr last-known | alive -> isr' [unclean shutdown] = what the record says`. Three
    /// replicas, `min.insync.replicas` 2.
    fn run(case: &str, elr_enabled: bool, unclean_allowed: bool) {
        let (input, expected) = case.split_once('=').unwrap();
        let (before, event) = input.split_once('|').unwrap();
        let before: Vec<&str> = before.split_whitespace().map(|w| w.trim_matches('-')).collect();
        let event: Vec<&str> = event.split_whitespace().map(|w| w.trim_matches('-')).collect();
        let partition = PartitionImage {
            replicas: list("1,2,3"),
            leader: list(before[0]).first().copied().unwrap_or(NodeId::NONE),
            isr: list(before[1]),
            elr: list(before[2]),
            last_known_elr: list(before[3]),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(6),
            leader_recovery_state: 0,
        };
        let alive = list(event[0]);
        let acceptable = |r: NodeId| alive.contains(&r);
        let rules = Rules { min_isr: 2, elr_enabled, unclean_allowed, defects: Defects::NONE };
        let change = PartitionChangeBuilder::new(P, &partition, &acceptable, rules)
            .target_isr(list(event[1]))
            .unclean_shutdown(event.get(2).and_then(|w| list(w).first().copied()))
            .build();
        let mut said = Vec::new();
        if let Some(PartitionChange { record, elected }) = change {
            let mut say = |name: &str, nodes: Option<&Vec<NodeId>>| {
                if let Some(nodes) = nodes {
                    said.push(format!("{name}:{}", show(nodes)));
                }
            };
            say("isr", record.isr.as_ref());
            say("elr", record.elr.as_ref());
            say("last", record.last_known_elr.as_ref());
            if let Some(leader) = record.leader {
                said.push(format!("leader:{}({})", leader, elected.map_or("-".into(), |e| format!("{e:?}"))));
            }
        }
        assert_eq!(said.join(" "), expected.trim(), "{case}");
    }

    #[test]
    fn without_eligible_leader_replicas() {
        for case in [
            // The leader goes: the first living member of the ISR in replica order leads.
            "1 3,2,1 - - | 2,3 3,2 = isr:3,2 leader:2(Isr)",
            // A follower goes: no election, and no new leader epoch.
            "1 1,2,3 - - | 1,3 1,3 = isr:1,3",
            // The last member of the ISR goes: it stays, alone and without leading.
            "1 1 - - | 2,3 - = leader:-1(-)",
            // It comes back: it leads again. Others that come back do not.
            "- 1 - - | 1,2 1 = leader:1(Isr)",
            "- 1 - - | 2,3 1 =",
            "1 1,2 - - | 1,2,3 1,2,3 = isr:1,2,3",
            "1 1,2 - - | 1,2 1,2 =",
        ] {
            run(case, false, false);
        }
    }

    #[test]
    fn with_eligible_leader_replicas() {
        for case in [
            // At or above the minimum nobody else is eligible.
            "1 1,2,3 - - | 1,2 1,2 = isr:1,2",
            // Below it, whoever leaves stays eligible.
            "1 1,2 - - | 1 1 = isr:1 elr:2",
            "1 1 2 - | 2,3 - = isr:2 elr:1 leader:2(Elr)",
            // Nobody eligible lives: no leader, an empty ISR, and the last leader is remembered.
            "1 1 2 - | 3 - = isr: elr:1,2 last:1 leader:-1(-)",
            // The last leader lost its tail: it is not eligible any more, and must wait for the other.
            "- - 1,2 1 | 1,3 - 1 = elr:2",
            "- - 2 1 | 1,3 - =",
            "- - 2 1 | 1,2,3 - = isr:2 elr: last: leader:2(Elr)",
            // All eligible replicas lost their tails: the last leader is the best guess, and unclean.
            "- - 1 1 | 1,2,3 - 1 = isr:1 elr: last: leader:1(LastKnownLeader)",
            "- - 1 1 | 2,3 - 1 = elr:",
            // Back at the minimum the eligible ones are forgotten.
            "2 2 1 - | 2,3 2,3 = isr:2,3 elr:",
            // A leader that shut down uncleanly leaves ISR and eligibility.
            "1 1,2 - - | 2,3 2 1 = isr:2 leader:2(Isr)",
        ] {
            run(case, true, false);
        }
    }

    #[test]
    fn unclean_elections() {
        for case in [
            "1 1 - - | 2,3 - = isr:2 leader:2(Unclean)",
            "1 1,2 - - | 2,3 2 = isr:2 leader:2(Isr)",
            "1 1 - - | - - = leader:-1(-)",
        ] {
            run(case, false, true);
        }
        for case in ["1 1 2 - | 3 - = isr:3 leader:3(Unclean) elr:", "1 1 2 - | 2,3 - = isr:2 elr:1 leader:2(Elr)"] {
            let case = case.replace("isr:3 leader:3(Unclean) elr:", "isr:3 elr: leader:3(Unclean)");
            // The emptied ELR was not empty before, so the record says so.
            run(&case, true, true);
        }
    }

    #[test]
    fn the_leader_recovers_after_an_unclean_election() {
        let partition = PartitionImage {
            replicas: list("1,2"),
            isr: list("1"),
            elr: vec![],
            last_known_elr: vec![],
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            leader_recovery_state: 0,
        };
        let rules = Rules { min_isr: 1, elr_enabled: false, unclean_allowed: true, defects: Defects::NONE };
        let change = PartitionChangeBuilder::new(P, &partition, &|r| r == NodeId(2), rules).target_isr(vec![]);
        assert_eq!(change.build().unwrap().record.leader_recovery_state, Some(1));
        let recovering = PartitionImage { leader_recovery_state: 1, ..partition };
        let change = PartitionChangeBuilder::new(P, &recovering, &|_| true, rules).target_recovery_state(0);
        let record = change.build().unwrap().record;
        assert_eq!((record.leader_recovery_state, record.leader), (Some(0), None));
    }
}
