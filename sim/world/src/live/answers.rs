//! Requests answered with an error that somebody chose, instead of being processed: as a broker under that error would, in
//! the response's own shape.

use super::board::Board;
use crate::shell::observer::Meddler;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::*;
use klamm_model::ids::ApiKey;
use klamm_model::node::Listener;
use klamm_model::versions::api_of;
use std::sync::Arc;

/// The APIs that can be answered so.
pub const APIS: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::InitProducerId,
    ApiKey::CreateTopics,
    ApiKey::ConsumerGroupHeartbeat,
];

/// The answer to a request, all of it in error; `None` for an API that is not among [`APIS`].
pub fn refusal(request: &RequestKind, version: i16, error: i16) -> Option<ResponseKind> {
    Some(match request {
        RequestKind::Produce(r) => {
            let topic = |t: &produce_request::TopicProduceData| {
                let part = |p: &produce_request::PartitionProduceData| {
                    let answer = PartitionProduceResponse::default().with_index(p.index);
                    answer.with_error_code(error).with_base_offset(-1)
                };
                TopicProduceResponse::default()
                    .with_name(t.name.clone())
                    .with_topic_id(t.topic_id)
                    .with_partition_responses(t.partition_data.iter().map(part).collect())
            };
            ProduceResponse::default().with_responses(r.topic_data.iter().map(topic).collect()).into()
        }
        RequestKind::Fetch(r) => {
            let topic = |t: &fetch_request::FetchTopic| {
                let part = |p: &fetch_request::FetchPartition| {
                    let answer = PartitionData::default().with_partition_index(p.partition);
                    answer.with_error_code(error).with_high_watermark(-1).with_records(None)
                };
                FetchableTopicResponse::default()
                    .with_topic(t.topic.clone())
                    .with_topic_id(t.topic_id)
                    .with_partitions(t.partitions.iter().map(part).collect())
            };
            FetchResponse::default().with_responses(r.topics.iter().map(topic).collect()).into()
        }
        RequestKind::ListOffsets(r) => {
            let topic = |t: &list_offsets_request::ListOffsetsTopic| {
                let part = |p: &list_offsets_request::ListOffsetsPartition| {
                    ListOffsetsPartitionResponse::default()
                        .with_partition_index(p.partition_index)
                        .with_error_code(error)
                };
                ListOffsetsTopicResponse::default()
                    .with_name(t.name.clone())
                    .with_partitions(t.partitions.iter().map(part).collect())
            };
            ListOffsetsResponse::default().with_topics(r.topics.iter().map(topic).collect()).into()
        }
        RequestKind::FindCoordinator(r) if version >= 4 => {
            let key = |k: &kafka_protocol::protocol::StrBytes| {
                let none = Coordinator::default().with_key(k.clone()).with_node_id(BrokerId(-1)).with_port(-1);
                none.with_error_code(error)
            };
            FindCoordinatorResponse::default().with_coordinators(r.coordinator_keys.iter().map(key).collect()).into()
        }
        RequestKind::FindCoordinator(_) => {
            let none = FindCoordinatorResponse::default().with_node_id(BrokerId(-1)).with_port(-1);
            none.with_error_code(error).into()
        }
        RequestKind::JoinGroup(r) => {
            let answer = JoinGroupResponse::default().with_generation_id(-1).with_member_id(r.member_id.clone());
            // The protocol's name may be missing from version 7 on.
            let name = (version < 7).then(Default::default);
            answer.with_protocol_name(name).with_error_code(error).into()
        }
        RequestKind::SyncGroup(_) => SyncGroupResponse::default().with_error_code(error).into(),
        RequestKind::Heartbeat(_) => HeartbeatResponse::default().with_error_code(error).into(),
        RequestKind::OffsetCommit(r) => {
            let topic = |t: &offset_commit_request::OffsetCommitRequestTopic| {
                let part = |p: &offset_commit_request::OffsetCommitRequestPartition| {
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(p.partition_index)
                        .with_error_code(error)
                };
                OffsetCommitResponseTopic::default()
                    .with_name(t.name.clone())
                    .with_topic_id(t.topic_id)
                    .with_partitions(t.partitions.iter().map(part).collect())
            };
            OffsetCommitResponse::default().with_topics(r.topics.iter().map(topic).collect()).into()
        }
        RequestKind::OffsetFetch(r) if version >= 8 => {
            let group = |g: &offset_fetch_request::OffsetFetchRequestGroup| {
                OffsetFetchResponseGroup::default().with_group_id(g.group_id.clone()).with_error_code(error)
            };
            OffsetFetchResponse::default().with_groups(r.groups.iter().map(group).collect()).into()
        }
        RequestKind::OffsetFetch(r) => {
            let topic = |t: &offset_fetch_request::OffsetFetchRequestTopic| {
                let part = |&index: &i32| {
                    let none = OffsetFetchResponsePartition::default().with_partition_index(index);
                    none.with_committed_offset(-1).with_error_code(error)
                };
                OffsetFetchResponseTopic::default()
                    .with_name(t.name.clone())
                    .with_partitions(t.partition_indexes.iter().map(part).collect())
            };
            let topics = r.topics.iter().flatten().map(topic).collect();
            // The error of the whole exists from version 2 on.
            let whole = if version >= 2 { error } else { 0 };
            OffsetFetchResponse::default().with_topics(topics).with_error_code(whole).into()
        }
        RequestKind::InitProducerId(_) => {
            let answer = InitProducerIdResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
            answer.with_error_code(error).into()
        }
        RequestKind::CreateTopics(r) => {
            let topic = |t: &create_topics_request::CreatableTopic| {
                CreatableTopicResult::default().with_name(t.name.clone()).with_error_code(error)
            };
            CreateTopicsResponse::default().with_topics(r.topics.iter().map(topic).collect()).into()
        }
        RequestKind::ConsumerGroupHeartbeat(_) => {
            ConsumerGroupHeartbeatResponse::default().with_error_code(error).into()
        }
        _ => return None,
    })
}

/// Answers for one host what its board says.
#[derive(Debug)]
pub struct Answers {
    host: Arc<str>,
    board: Arc<Board>,
    /// As of which generation of the board there is anything to answer.
    looked: (u64, bool),
}

impl Answers {
    /// Of a host.
    pub fn new(host: Arc<str>, board: Arc<Board>) -> Answers {
        Answers { host, board, looked: (u64::MAX, false) }
    }
}

impl Meddler for Answers {
    fn answer(&mut self, listener: Listener, version: i16, request: &RequestKind) -> Option<ResponseKind> {
        if listener != Listener::Client {
            return None;
        }
        let generation = self.board.generation();
        if self.looked.0 != generation {
            self.looked = (generation, self.board.has_answers());
        }
        if !self.looked.1 {
            return None;
        }
        let error = self.board.answer(&self.host, api_of(request))?;
        refusal(request, version, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::versions::offered;

    #[test]
    fn every_refusal_can_be_carried_by_every_version() {
        for &(api, range) in offered(Listener::Client).iter().filter(|(api, _)| APIS.contains(api)) {
            for version in range.min..=range.max {
                let mut empty = bytes::BytesMut::new();
                let request = default_request(api);
                request.encode(&mut empty, version).unwrap();
                let answer = refusal(&request, version, 7).unwrap_or_else(|| panic!("{api:?} is not answered"));
                let mut bytes = bytes::BytesMut::new();
                answer.encode(&mut bytes, version).unwrap_or_else(|e| panic!("{api:?} {version}: {e:#}"));
            }
        }
    }

    fn default_request(api: ApiKey) -> RequestKind {
        match api {
            ApiKey::Produce => ProduceRequest::default().into(),
            ApiKey::Fetch => FetchRequest::default().into(),
            ApiKey::ListOffsets => ListOffsetsRequest::default().into(),
            ApiKey::FindCoordinator => FindCoordinatorRequest::default().into(),
            ApiKey::JoinGroup => JoinGroupRequest::default().into(),
            ApiKey::SyncGroup => SyncGroupRequest::default().into(),
            ApiKey::Heartbeat => HeartbeatRequest::default().into(),
            ApiKey::OffsetCommit => OffsetCommitRequest::default().into(),
            ApiKey::OffsetFetch => OffsetFetchRequest::default().into(),
            ApiKey::InitProducerId => InitProducerIdRequest::default().into(),
            ApiKey::CreateTopics => CreateTopicsRequest::default().into(),
            ApiKey::ConsumerGroupHeartbeat => ConsumerGroupHeartbeatRequest::default().into(),
            other => panic!("{other:?} is not among those answered"),
        }
    }
}
