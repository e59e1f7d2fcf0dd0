//! Convergence: what must become true within a budget of virtual time once faults have ended.

use super::audit::{brokers, controllers};
use super::{Account, Invariants, Role, Unmet};
use klamm_model::ids::*;
use klamm_model::inspect::{BrokerInspection, ControllerPartition, Inspection, PartitionInspection};
use std::collections::BTreeMap;

/// Records by which a broker's image may be behind: the log moves on even when nothing happens.
const IMAGE_LAG: i64 = 2;

impl Invariants {
    pub(super) fn unmet_conditions(&self, accounts: &[Account], waived: &[TopicIdPartition]) -> Vec<Unmet> {
        let mut unmet = Vec::new();
        let mut say = |condition, detail| unmet.push(Unmet { condition, detail });
        for account in accounts {
            let name = self.cluster.name(account.node);
            match (&account.inspection, self.cluster.nodes.get(account.node.0 as usize).map(|n| n.role)) {
                (None, Some(Role::Broker(_) | Role::Controller(_))) => say("node-up", format!("{name} is down")),
                (Some(Inspection::Client(client)), _) if client.pending_sends > 0 => {
                    say("sends-resolved", format!("{name} has {} sends pending", client.pending_sends));
                }
                _ => {}
            }
        }
        let Some((_, controller)) = controllers(accounts).max_by_key(|(_, c)| c.epoch) else {
            say("controller-active", "no controller is active".to_owned());
            return unmet;
        };
        let mut by_id: BTreeMap<NodeId, &BrokerInspection> = BTreeMap::new();
        for (node, broker) in brokers(accounts) {
            by_id.insert(broker.id, broker);
            let name = self.cluster.name(node);
            let registered = controller.brokers.iter().find(|(id, ..)| *id == broker.id);
            if !broker.unfenced
                || registered
                    .is_none_or(|(_, epoch, fenced, leaving)| *fenced || *leaving || Some(*epoch) != broker.epoch)
            {
                say("broker-unfenced", format!("{name} is fenced"));
            }
            if broker.metadata_applied.0 + IMAGE_LAG < controller.committed.0 {
                let (has, of) = (broker.metadata_applied, controller.committed);
                say("metadata-applied", format!("{name} has applied metadata up to {has} of {of}"));
            } else if broker.metadata_applied == controller.committed && broker.image_digest != controller.image_digest
            {
                say(
                    "images-equal",
                    format!("{name}'s image differs from the controller's at offset {}", controller.committed),
                );
            }
        }
        for partition in controller.partitions.iter().filter(|p| !waived.contains(&p.partition)) {
            unmet.extend(partition_unmet(partition, &by_id));
        }
        unmet.extend(self.groups_unmet(accounts, waived));
        unmet
    }
}

fn partition_unmet(partition: &ControllerPartition, brokers: &BTreeMap<NodeId, &BrokerInspection>) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    let name = format!("{}-{}", partition.topic, partition.partition.partition);
    let mut say = |condition, detail| unmet.push(Unmet { condition, detail });
    let ids = |list: &[NodeId]| list.iter().map(|n| n.0).collect::<Vec<_>>();
    if partition.leader == NodeId::NONE {
        say("one-leader", format!("{name} has no leader"));
        return unmet;
    }
    if partition.isr.len() < partition.replicas.len() {
        say("isr-full", format!("{name} has ISR {:?} of {:?}", ids(&partition.isr), ids(&partition.replicas)));
    }
    let replica = |id: NodeId| -> Option<&PartitionInspection> {
        brokers.get(&id)?.partitions.iter().find(|p| p.partition == partition.partition)
    };
    let leading: Vec<NodeId> =
        brokers.keys().copied().filter(|&id| replica(id).is_some_and(|r| r.leader == id)).collect();
    if leading != [partition.leader] {
        let detail = format!(
            "{name} is led by {:?} by the brokers' account, by {} by the controller's",
            ids(&leading),
            partition.leader
        );
        say("one-leader", detail);
    }
    let Some(leader) = replica(partition.leader) else { return unmet };
    if leader.leader_epoch != partition.leader_epoch {
        say(
            "one-leader",
            format!("{name}: leader in epoch {}, controller in {}", leader.leader_epoch, partition.leader_epoch),
        );
    }
    if partition.topic == OFFSETS_TOPIC {
        // Members go on committing: it is never idle.
        return unmet;
    }
    if leader.high_watermark != leader.log_end {
        let (hw, end) = (leader.high_watermark, leader.log_end);
        say("high-watermark-at-end", format!("{name}: the leader's high watermark is {hw}, its log ends at {end}"));
    }
    for &id in partition.replicas.iter().filter(|id| **id != partition.leader) {
        match replica(id) {
            None => say("logs-equal", format!("{name} has no replica on broker {id}")),
            Some(r) if r.log_end != leader.log_end => {
                say(
                    "logs-equal",
                    format!("{name} ends at {} on broker {id}, at {} on its leader", r.log_end, leader.log_end),
                );
            }
            Some(r) if r.high_watermark != leader.high_watermark => {
                let detail = format!(
                    "{name}: high watermark {} on broker {id}, {} on its leader",
                    r.high_watermark, leader.high_watermark
                );
                say("high-watermark-at-end", detail);
            }
            Some(_) => {}
        }
    }
    unmet
}
