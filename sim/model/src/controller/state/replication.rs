//! Leaders and in-sync replicas: what a broker's coming and going does to partitions, and what a leader may change.
//! Follows Kafka's `ReplicationControlManager` (KIP-497, KIP-903, KIP-966).

use super::super::image::{PartitionImage, TopicImage};
use super::super::partition_change::{Elected, PartitionChange, PartitionChangeBuilder, Rules};
use super::{Batch, Decided, State};
use crate::defects::Defect;
use crate::ids::*;
use crate::record::schema::MetadataRecord;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_partition_request::PartitionData as Wanted;
use kafka_protocol::messages::alter_partition_response::{PartitionData as Answer, TopicData};
use kafka_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse, BrokerId};

/// Why partitions change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// A broker leaves ISRs and leadership: fenced, shutting down, or replaced by a new incarnation.
    Gone(NodeId),
    /// A broker may lead again: partitions without a leader get another chance.
    Back(NodeId),
    /// A broker's disk may have lost what it acknowledged.
    UncleanShutdown(NodeId),
}

impl State {
    /// What an event does to every partition it concerns.
    pub(super) fn change_partitions(&self, why: Why, batch: &mut Batch) {
        // The image still holds the broker's old state: the event overrides it.
        let acceptable = |r: NodeId| match why {
            Why::Gone(id) | Why::UncleanShutdown(id) if r == id => false,
            Why::Back(id) if r == id => true,
            _ => self.working.is_active(r),
        };
        let leaves = match why {
            Why::Gone(id) | Why::UncleanShutdown(id) => Some(id),
            Why::Back(_) => None,
        };
        for topic in self.working.topics() {
            let mut rules = None;
            for (&partition, state) in &topic.partitions {
                let concerned = match why {
                    Why::Gone(id) => state.isr.contains(&id),
                    Why::Back(_) => state.leader == NodeId::NONE,
                    Why::UncleanShutdown(id) => state.isr.contains(&id) || state.elr.contains(&id),
                };
                if !concerned {
                    continue;
                }
                let rules = *rules.get_or_insert_with(|| self.rules(topic));
                let id = TopicIdPartition { topic: topic.id, partition };
                let isr = state.isr.iter().copied().filter(|&r| Some(r) != leaves).collect();
                let unclean_shutdown = leaves.filter(|_| matches!(why, Why::UncleanShutdown(_)));
                let change = PartitionChangeBuilder::new(id, state, &acceptable, rules)
                    .target_isr(isr)
                    .unclean_shutdown(unclean_shutdown)
                    .build();
                if let Some(change) = change {
                    mark_election(&change, batch);
                    batch.records.push(MetadataRecord::PartitionChange(change.record));
                }
            }
        }
    }

    fn rules(&self, topic: &TopicImage) -> Rules {
        let config = self.effective_config(&topic.name);
        let replication = topic.partitions.values().next().map_or(1, |p| p.replicas.len());
        Rules {
            min_isr: (config.min_insync_replicas as usize).min(replication),
            elr_enabled: !self.spec.defects.on(Defect::LastReplicaStanding) && self.working.elr_enabled(),
            unclean_allowed: config.unclean_leader_election,
            defects: self.spec.defects,
        }
    }

    /// AlterPartition: a leader wants another ISR.
    pub fn alter_partition(&self, version: i16, request: &AlterPartitionRequest) -> Decided<AlterPartitionResponse> {
        let mut batch = Batch::default();
        let mut response = AlterPartitionResponse::default();
        let leader = NodeId(request.broker_id.0);
        if let Err(error) = self.check_broker_epoch(leader, BrokerEpoch(request.broker_epoch)) {
            batch.mark("alter-partition-rejected");
            response.error_code = error.code();
            return batch.reply(response);
        }
        for wanted in &request.topics {
            let topic = self.working.topic(TopicId(wanted.topic_id));
            let answers = wanted.partitions.iter().map(|p| {
                let answer = match topic {
                    Some(topic) => self.alter_one(version, leader, topic, p, &mut batch),
                    None => Err(ResponseError::UnknownTopicId),
                };
                answer.unwrap_or_else(|error| {
                    batch.mark("alter-partition-rejected");
                    Answer::default().with_partition_index(p.partition_index).with_error_code(error.code())
                })
            });
            let answers = answers.collect();
            response.topics.push(TopicData::default().with_topic_id(wanted.topic_id).with_partitions(answers));
        }
        batch.reply(response)
    }

    fn alter_one(
        &self,
        version: i16,
        leader: NodeId,
        topic: &TopicImage,
        wanted: &Wanted,
        batch: &mut Batch,
    ) -> Result<Answer, ResponseError> {
        let id = TopicIdPartition { topic: topic.id, partition: wanted.partition_index };
        let state = topic.partitions.get(&id.partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let isr: Vec<(NodeId, BrokerEpoch)> = if version >= 3 {
            wanted.new_isr_with_epochs.iter().map(|m| (NodeId(m.broker_id.0), BrokerEpoch(m.broker_epoch))).collect()
        } else {
            wanted.new_isr.iter().map(|m| (NodeId(m.0), BrokerEpoch(-1))).collect()
        };
        self.check_alteration(leader, state, wanted, &isr)?;
        let acceptable = |r: NodeId| self.working.is_active(r);
        let change = PartitionChangeBuilder::new(id, state, &acceptable, self.rules(topic))
            .target_isr(isr.into_iter().map(|(id, _)| id).collect())
            .target_recovery_state(wanted.leader_recovery_state)
            .build();
        let mut after = state.clone();
        if let Some(change) = change {
            after.merge(&change.record);
            mark_election(&change, batch);
            let deposed = change.record.leader.is_some_and(|new| new != leader);
            batch.records.push(MetadataRecord::PartitionChange(change.record));
            if deposed {
                return Err(ResponseError::NewLeaderElected);
            }
        }
        Ok(Answer::default()
            .with_partition_index(id.partition)
            .with_leader_id(BrokerId(after.leader.0))
            .with_leader_epoch(after.leader_epoch.0)
            .with_isr(after.isr.iter().map(|r| BrokerId(r.0)).collect())
            .with_leader_recovery_state(after.leader_recovery_state)
            .with_partition_epoch(after.partition_epoch.0))
    }

    fn check_alteration(
        &self,
        leader: NodeId,
        state: &PartitionImage,
        wanted: &Wanted,
        isr: &[(NodeId, BrokerEpoch)],
    ) -> Result<(), ResponseError> {
        // A leader that knows more than this controller speaks to a deposed one.
        if wanted.leader_epoch > state.leader_epoch.0 || wanted.partition_epoch > state.partition_epoch.0 {
            return Err(ResponseError::NotController);
        }
        if wanted.leader_epoch < state.leader_epoch.0 {
            return Err(ResponseError::FencedLeaderEpoch);
        }
        if leader != state.leader {
            return Err(ResponseError::InvalidRequest);
        }
        if wanted.partition_epoch < state.partition_epoch.0 {
            return Err(ResponseError::InvalidUpdateVersion);
        }
        let distinct = isr.iter().enumerate().all(|(i, (r, _))| isr[..i].iter().all(|(earlier, _)| earlier != r));
        let replicas_only = isr.iter().all(|(r, _)| state.replicas.contains(r));
        if !distinct || !replicas_only || !isr.iter().any(|(r, _)| *r == leader) {
            return Err(ResponseError::InvalidRequest);
        }
        let recovering = wanted.leader_recovery_state == 1;
        if recovering && (isr.len() > 1 || state.leader_recovery_state == 0) {
            return Err(ResponseError::InvalidRequest);
        }
        // KIP-841 and KIP-903: nobody joins who is fenced, shutting down, or came back since the leader looked.
        let eligible = |&(id, epoch): &(NodeId, BrokerEpoch)| {
            self.working.broker(id).is_some_and(|b| b.is_active() && (epoch.0 == -1 || epoch == b.epoch))
        };
        if !isr.iter().all(eligible) {
            return Err(ResponseError::IneligibleReplica);
        }
        Ok(())
    }
}

fn mark_election(change: &PartitionChange, batch: &mut Batch) {
    let Some(elected) = change.elected else { return };
    batch.mark("leader-elected");
    match elected {
        Elected::Isr => {}
        Elected::Elr => batch.mark("elr-election"),
        Elected::LastKnownLeader | Elected::Unclean => batch.mark("unclean-election"),
    }
}
