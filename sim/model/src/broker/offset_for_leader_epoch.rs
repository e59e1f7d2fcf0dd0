//! OffsetForLeaderEpoch: where an epoch ends in a leader's log (KIP-101, KIP-279), for followers of the older era of
//! truncation and for consumers that check their position (KIP-320). Follows `Partition.lastOffsetForLeaderEpoch`.

use super::connections::Caller;
use super::{Process, code};
use crate::ids::*;
use crate::node::Outbox;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

impl Process {
    pub(super) fn on_offset_for_leader_epoch(
        &mut self,
        caller: Caller,
        request: &OffsetForLeaderEpochRequest,
        out: &mut Outbox,
    ) {
        let mut response = OffsetForLeaderEpochResponse::default();
        for topic in &request.topics {
            let id = self.topic_asked_for(&topic.topic, Uuid::nil());
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let mut answer = EpochEndOffset::default().with_partition(asked.partition);
                let owner = id.and_then(|topic| self.hosted(TopicIdPartition { topic, partition: asked.partition }));
                let place = owner.and_then(|o| self.replicas.get(o).ok_or(ResponseError::NotLeaderOrFollower));
                let checked = place.and_then(|p| p.check(asked.current_leader_epoch, true).map(|()| p));
                if let Ok(p) = checked {
                    let (epoch, end) = p.log.end_offset_for(LeaderEpoch(asked.leader_epoch));
                    answer.leader_epoch = epoch.0;
                    // Consumers are told of completed appends only; what is in flight may yet be refused.
                    answer.end_offset = end.min(p.log.log_end()).0;
                }
                answer.error_code = code(checked.map(|_| ()));
                partitions.push(answer);
            }
            let name = topic.topic.clone();
            response.topics.push(OffsetForLeaderTopicResult::default().with_topic(name).with_partitions(partitions));
        }
        self.answer(caller, response, out);
    }
}
