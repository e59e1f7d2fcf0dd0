//! Asks the controller for ISR changes: one request at a time, holding every change that waits. Follows Kafka's
//! `AlterPartitionManager`; what an answer means to a partition is the partition's matter.

use super::controller_link::{Asked, ControllerLink, Lane};
use super::partition::{IsrAnswer, Proposal};
use crate::ids::*;
use crate::node::Outbox;
use crate::units::{Duration, Instant};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use kafka_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse, ApiKey, BrokerId};
use std::collections::BTreeMap;

/// Pause after a request that failed as a whole.
const RETRY: Duration = Duration::from_millis(50);

/// Changes asked for and not answered.
#[derive(Debug, Default)]
pub(crate) struct AlterPartitions {
    waiting: BTreeMap<TopicIdPartition, Proposal>,
    /// What the request under way holds.
    sent: Vec<TopicIdPartition>,
    in_flight: bool,
    retry_at: Instant,
}

impl AlterPartitions {
    /// Puts a change in line. False if one of that partition is in line already: then the new one is not attempted.
    ///
    /// What is in line stays there until the controller has answered it, even if its leader was deposed since: were
    /// another put in its place, the answer under way would be taken for an answer to that one.
    pub fn submit(&mut self, partition: TopicIdPartition, proposal: Proposal) -> bool {
        if self.waiting.contains_key(&partition) {
            return false;
        }
        self.waiting.insert(partition, proposal);
        true
    }
    /// When [`AlterPartitions::send`] has something to do.
    pub fn next_at(&self) -> Instant {
        if self.in_flight || self.waiting.is_empty() { Instant::MAX } else { self.retry_at }
    }

    /// Sends what waits, unless a request is under way.
    pub fn send(&mut self, now: Instant, me: NodeId, epoch: BrokerEpoch, link: &mut ControllerLink, out: &mut Outbox) {
        if self.in_flight || self.waiting.is_empty() || now < self.retry_at {
            return;
        }
        let lane = link.lane(Lane::AlterPartition);
        if !lane.is_ready() {
            lane.ensure_connected(now, out);
            self.retry_at = lane.retry_at().unwrap_or(Instant::MAX);
            return;
        }
        let Some(version) = lane.version(ApiKey::AlterPartition) else { return };
        let mut topics: Vec<TopicData> = Vec::new();
        self.sent.clear();
        for (&id, proposal) in &self.waiting {
            self.sent.push(id);
            let mut partition = PartitionData::default()
                .with_partition_index(id.partition)
                .with_leader_epoch(proposal.leader_epoch.0)
                .with_partition_epoch(proposal.partition_epoch.0);
            if version >= 3 {
                let member = |&(id, epoch): &(NodeId, BrokerEpoch)| {
                    BrokerState::default().with_broker_id(BrokerId(id.0)).with_broker_epoch(epoch.0)
                };
                partition.new_isr_with_epochs = proposal.isr.iter().map(member).collect();
            } else {
                partition.new_isr = proposal.isr.iter().map(|(id, _)| BrokerId(id.0)).collect();
            }
            match topics.last_mut().filter(|t| t.topic_id == id.topic.0) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(TopicData::default().with_topic_id(id.topic.0).with_partitions(vec![partition])),
            }
        }
        let request = AlterPartitionRequest::default()
            .with_broker_id(BrokerId(me.0))
            .with_broker_epoch(epoch.0)
            .with_topics(topics);
        lane.send(now, request, Asked::AlterPartition, out);
        self.in_flight = true;
    }

    /// The connection opened.
    pub fn on_ready(&mut self, now: Instant) {
        self.retry_at = self.retry_at.min(now);
    }
    /// The request was lost: asked again until there is an answer, or until metadata makes the answer worthless.
    pub fn on_lost(&mut self, now: Instant) {
        self.in_flight = false;
        self.retry_at = now + RETRY;
    }

    /// The controller answered: which change of which partition came to what.
    pub fn on_answer(
        &mut self,
        now: Instant,
        answer: &AlterPartitionResponse,
    ) -> Vec<(TopicIdPartition, u64, IsrAnswer)> {
        self.in_flight = false;
        if answer.error_code != 0 {
            self.retry_at = now + RETRY;
            return Vec::new();
        }
        self.retry_at = now;
        let mut answers = Vec::new();
        for topic in &answer.topics {
            for p in &topic.partitions {
                let id = TopicIdPartition { topic: TopicId(topic.topic_id), partition: p.partition_index };
                if !self.sent.contains(&id) {
                    continue;
                }
                // Out of the line first: the partition may want another change at once.
                let Some(proposal) = self.waiting.remove(&id) else { continue };
                let came_to = match ResponseError::try_from_code(p.error_code) {
                    Some(error) => IsrAnswer::Error(error),
                    None => IsrAnswer::State {
                        leader_epoch: LeaderEpoch(p.leader_epoch),
                        partition_epoch: PartitionEpoch(p.partition_epoch),
                        isr: p.isr.iter().map(|id| NodeId(id.0)).collect(),
                    },
                };
                answers.push((id, proposal.number, came_to));
            }
        }
        answers
    }
}
