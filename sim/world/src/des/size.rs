//! How many bytes a message is on the wire. Always taken from the typed message, at its sender, so that it is the
//! same whether messages are encoded or not.
//!
//! Exact for what carries records (Produce requests, Fetch responses): the codec's own formula, headers and frame
//! length added. What carries subscriptions and assignments counts their bytes. Elsewhere a plain table, near enough for the time a small message takes on the wire.

use kafka_protocol::messages::{ApiKey, FetchResponse, RequestKind, ResponseKind};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};

/// The client id that requests bear on the modelled wire, in bytes.
const CLIENT_ID: u32 = 8;
/// Frame length, API key, version, correlation id, client id's length.
const REQUEST_HEADER: u32 = 4 + 2 + 2 + 4 + 2 + CLIENT_ID;
/// Frame length, correlation id.
const RESPONSE_HEADER: u32 = 4 + 4;
/// A control segment: TCP and IP headers.
pub(super) const CONTROL: u32 = 60;

fn exact<M: Encodable>(message: &M, version: i16, otherwise: usize) -> u32 {
    message.compute_size(version).unwrap_or(otherwise) as u32
}

/// A string with its length.
fn text(s: &StrBytes) -> u32 {
    2 + s.len() as u32
}

/// Length of an unsigned varint.
fn varint(n: usize) -> u32 {
    (usize::BITS - (n | 1).leading_zeros()).div_ceil(7)
}

/// What the codec says of a Fetch response with topic ids and without tagged fields or aborted transactions, which
/// most of them are. The codec compares every tagged field with its default, and there are many responses.
fn plain_fetch_response(response: &FetchResponse, version: i16) -> Option<u32> {
    let bare = response.node_endpoints.is_empty() && response.unknown_tagged_fields.is_empty();
    if !(13..=17).contains(&version) || !bare {
        return None;
    }
    let mut size = 4 + 2 + 4 + varint(response.responses.len() + 1) + 1;
    for topic in &response.responses {
        if !topic.unknown_tagged_fields.is_empty() {
            return None;
        }
        size += 16 + varint(topic.partitions.len() + 1) + 1;
        for p in &topic.partitions {
            let (end, leader, snapshot) = (&p.diverging_epoch, &p.current_leader, &p.snapshot_id);
            let untagged = (end.epoch, end.end_offset) == (-1, -1)
                && (leader.leader_id.0, leader.leader_epoch) == (-1, -1)
                && (snapshot.epoch, snapshot.end_offset) == (-1, -1)
                && end.unknown_tagged_fields.is_empty()
                && leader.unknown_tagged_fields.is_empty()
                && snapshot.unknown_tagged_fields.is_empty()
                && p.unknown_tagged_fields.is_empty();
            if !untagged || p.aborted_transactions.as_ref().is_some_and(|a| !a.is_empty()) {
                return None;
            }
            let records = p.records.as_ref().map_or(1, |r| varint(r.len() + 1) + r.len() as u32);
            size += 4 + 2 + 3 * 8 + 1 + 4 + records + 1;
        }
    }
    Some(size)
}

/// Of a request.
pub(super) fn of_request(request: &RequestKind, version: i16) -> u32 {
    use RequestKind as R;
    let flexible = |header_version: i16| u32::from(header_version >= 2);
    REQUEST_HEADER
        + match request {
            R::Produce(r) => {
                let records = || r.topic_data.iter().flat_map(|t| &t.partition_data).filter_map(|p| p.records.as_ref());
                let header = kafka_protocol::messages::ProduceRequest::header_version(version);
                exact(r, version, records().map(|b| b.len() + 8).sum()) + flexible(header)
            }
            R::Fetch(r) => 55 + r.topics.iter().map(|t| 20 + 42 * t.partitions.len() as u32).sum::<u32>(),
            R::Metadata(r) => 6 + r.topics.as_ref().map_or(0, |t| 30 * t.len() as u32),
            R::ListOffsets(r) => 12 + r.topics.iter().map(|t| 16 + 18 * t.partitions.len() as u32).sum::<u32>(),
            R::CreateTopics(r) => 12 + 60 * r.topics.len() as u32,
            R::CreatePartitions(r) => 12 + 30 * r.topics.len() as u32,
            R::OffsetForLeaderEpoch(r) => 8 + r.topics.iter().map(|t| 16 + 14 * t.partitions.len() as u32).sum::<u32>(),
            R::AlterPartition(r) => 20 + r.topics.iter().map(|t| 20 + 50 * t.partitions.len() as u32).sum::<u32>(),
            R::Envelope(r) => 24 + r.request_data.len() as u32,
            R::BrokerRegistration(_) => 220,
            R::ApiVersions(_) => 16,
            R::FindCoordinator(r) => 8 + r.key.len() as u32 + r.coordinator_keys.iter().map(text).sum::<u32>(),
            R::JoinGroup(r) => {
                let protocols = r.protocols.iter().map(|p| 4 + text(&p.name) + p.metadata.len() as u32).sum::<u32>();
                24 + text(&r.group_id) + text(&r.member_id) + text(&r.protocol_type) + protocols
            }
            R::SyncGroup(r) => {
                let given =
                    r.assignments.iter().map(|a| 4 + text(&a.member_id) + a.assignment.len() as u32).sum::<u32>();
                28 + text(&r.group_id) + text(&r.member_id) + given
            }
            R::Heartbeat(r) => 10 + text(&r.group_id) + text(&r.member_id),
            R::LeaveGroup(r) => 8 + text(&r.group_id) + 48 * r.members.len() as u32,
            R::OffsetCommit(r) => {
                let topics = r.topics.iter().map(|t| 4 + text(&t.name) + 20 * t.partitions.len() as u32).sum::<u32>();
                12 + text(&r.group_id) + text(&r.member_id) + topics
            }
            R::OffsetFetch(r) => {
                let old = r.topics.iter().flatten().map(|t| 20 + 4 * t.partition_indexes.len() as u32).sum::<u32>();
                let topics = r.groups.iter().flat_map(|g| g.topics.iter().flatten());
                20 + old + topics.map(|t| 4 + text(&t.name) + 4 * t.partition_indexes.len() as u32).sum::<u32>()
            }
            R::DescribeGroups(r) => 4 + r.groups.iter().map(|g| text(g)).sum::<u32>(),
            R::ConsumerGroupHeartbeat(r) => {
                let owned =
                    r.topic_partitions.iter().flatten().map(|t| 18 + 4 * t.partitions.len() as u32).sum::<u32>();
                let names = r.subscribed_topic_names.iter().flatten().map(|n| text(n)).sum::<u32>();
                20 + text(&r.group_id) + text(&r.member_id) + names + owned
            }
            _ => 48,
        }
}

/// Of a response.
pub(super) fn of_response(response: &ResponseKind, version: i16) -> u32 {
    use ResponseKind as R;
    let flexible = |header_version: i16| u32::from(header_version >= 1);
    RESPONSE_HEADER
        + match response {
            R::Fetch(r) => {
                let records = || r.responses.iter().flat_map(|t| &t.partitions).filter_map(|p| p.records.as_ref());
                let header = kafka_protocol::messages::FetchResponse::header_version(version);
                let codec = || exact(r, version, records().map(|b| b.len() + 40).sum());
                plain_fetch_response(r, version).unwrap_or_else(codec) + flexible(header)
            }
            R::Produce(r) => 10 + r.responses.iter().map(|t| 16 + 36 * t.partition_responses.len() as u32).sum::<u32>(),
            R::Metadata(r) => {
                let topics = r.topics.iter().map(|t| 48 + 44 * t.partitions.len() as u32).sum::<u32>();
                40 + 28 * r.brokers.len() as u32 + topics
            }
            R::ListOffsets(r) => 8 + r.topics.iter().map(|t| 16 + 28 * t.partitions.len() as u32).sum::<u32>(),
            R::CreateTopics(r) => 8 + 60 * r.topics.len() as u32,
            R::CreatePartitions(r) => 8 + 30 * r.results.len() as u32,
            R::OffsetForLeaderEpoch(r) => 8 + r.topics.iter().map(|t| 16 + 20 * t.partitions.len() as u32).sum::<u32>(),
            R::AlterPartition(r) => 12 + r.topics.iter().map(|t| 20 + 36 * t.partitions.len() as u32).sum::<u32>(),
            R::Envelope(r) => 10 + r.response_data.as_ref().map_or(0, |d| d.len() as u32),
            R::ApiVersions(r) => 16 + 7 * r.api_keys.len() as u32,
            R::FindCoordinator(r) => 24 + 32 * r.coordinators.len() as u32,
            R::JoinGroup(r) => {
                let roster = r.members.iter().map(|m| 4 + text(&m.member_id) + m.metadata.len() as u32).sum::<u32>();
                32 + text(&r.leader) + text(&r.member_id) + roster
            }
            R::SyncGroup(r) => 28 + r.assignment.len() as u32,
            R::Heartbeat(_) => 7,
            R::LeaveGroup(r) => 8 + 48 * r.members.len() as u32,
            R::OffsetCommit(r) => {
                6 + r.topics.iter().map(|t| 4 + text(&t.name) + 7 * t.partitions.len() as u32).sum::<u32>()
            }
            R::OffsetFetch(r) => {
                let old = r.topics.iter().map(|t| 4 + text(&t.name) + 20 * t.partitions.len() as u32).sum::<u32>();
                let topics = r.groups.iter().flat_map(|g| &g.topics);
                12 + old + topics.map(|t| 4 + text(&t.name) + 20 * t.partitions.len() as u32).sum::<u32>()
            }
            R::DescribeGroups(r) => {
                let member = |m: &kafka_protocol::messages::describe_groups_response::DescribedGroupMember| {
                    40 + text(&m.member_id) + (m.member_metadata.len() + m.member_assignment.len()) as u32
                };
                6 + r.groups.iter().map(|g| 40 + g.members.iter().map(member).sum::<u32>()).sum::<u32>()
            }
            R::ListGroups(r) => 8 + r.groups.iter().map(|g| 24 + text(&g.group_id)).sum::<u32>(),
            R::ConsumerGroupHeartbeat(r) => {
                let given = r.assignment.iter().flat_map(|a| &a.topic_partitions);
                48 + given.map(|t| 18 + 4 * t.partitions.len() as u32).sum::<u32>()
            }
            _ => 40,
        }
}

macro_rules! apis {
    ($kind:ident, $of:ident, $what:literal) => {
        #[doc = concat!("Which API a ", $what, " belongs to, as far as anybody here sends it.")]
        pub(super) fn $of(message: &$kind) -> Option<ApiKey> {
            apis!(@arms $kind, message, Produce Fetch ListOffsets Metadata ApiVersions CreateTopics InitProducerId
                OffsetForLeaderEpoch AlterPartition Envelope BrokerRegistration BrokerHeartbeat AllocateProducerIds
                DeleteTopics DeleteRecords OffsetCommit OffsetFetch FindCoordinator JoinGroup Heartbeat LeaveGroup
                SyncGroup DescribeGroups ListGroups AddPartitionsToTxn AddOffsetsToTxn EndTxn WriteTxnMarkers
                TxnOffsetCommit DescribeConfigs CreatePartitions Vote BeginQuorumEpoch EndQuorumEpoch FetchSnapshot
                DescribeCluster DescribeQuorum ConsumerGroupHeartbeat ControllerRegistration)
        }
    };
    (@arms $kind:ident, $message:ident, $($name:ident)*) => {
        match $message {
            $($kind::$name(_) => Some(ApiKey::$name),)*
            _ => None,
        }
    };
}

apis!(RequestKind, api_of_request, "request");
apis!(ResponseKind, api_of_response, "response");

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::fetch_response::{
        EpochEndOffset, FetchableTopicResponse, NodeEndpoint, PartitionData,
    };
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{ProduceRequest, RequestHeader, ResponseHeader};
    use proptest::prelude::*;

    proptest! {
        /// The short way gives the codec's figure, and leaves what it does not know to the codec.
        #[test]
        fn plain_fetch_responses_have_the_codecs_size(
            version in 12i16..=17,
            topics in prop::collection::vec(prop::collection::vec((0usize..20_000, 0u8..8), 0..4), 0..200),
            endpoints in 0usize..2,
        ) {
            let partition = |&(len, odd): &(usize, u8)| {
                let mut p = PartitionData::default();
                p.records = (odd != 1).then(|| Bytes::from(vec![0; len]));
                p.aborted_transactions = (odd == 2).then(Vec::new);
                if odd == 3 {
                    p.diverging_epoch = EpochEndOffset::default().with_epoch(3);
                }
                p
            };
            let topic = |t: &Vec<(usize, u8)>| {
                let t = FetchableTopicResponse::default().with_partitions(t.iter().map(partition).collect());
                if version < 13 { t.with_topic(StrBytes::from_static_str("orders").into()) } else { t }
            };
            let response = FetchResponse::default()
                .with_responses(topics.iter().map(topic).collect())
                .with_node_endpoints(vec![NodeEndpoint::default(); if version >= 16 { endpoints } else { 0 }]);
            let codec = response.compute_size(version).unwrap() as u32;
            let plain = plain_fetch_response(&response, version);
            prop_assert!(plain.is_none_or(|plain| plain == codec), "{plain:?} for {codec}");
            let odd = endpoints > 0 && version >= 16 || topics.iter().flatten().any(|p| p.1 == 3);
            prop_assert_eq!(plain.is_some(), version >= 13 && !odd);
        }
    }

    /// What carries records has the size that encoding it with its header and frame length gives.
    #[test]
    fn record_carriers_are_exact() {
        let records = Bytes::from(vec![7; 1234]);
        for version in 3..=11 {
            let partition = PartitionProduceData::default().with_records(Some(records.clone()));
            let topic = TopicProduceData::default()
                .with_name(StrBytes::from_static_str("orders").into())
                .with_partition_data(vec![partition]);
            let request = ProduceRequest::default().with_topic_data(vec![topic]);
            let mut encoded = BytesMut::new();
            RequestHeader::default()
                .with_client_id(Some(StrBytes::from_static_str("12345678")))
                .encode(&mut encoded, ProduceRequest::header_version(version))
                .unwrap();
            request.encode(&mut encoded, version).unwrap();
            assert_eq!(of_request(&request.into(), version) as usize, 4 + encoded.len(), "produce v{version}");
        }
        for version in 4..=12 {
            let partition = PartitionData::default().with_records(Some(records.clone()));
            let topic = FetchableTopicResponse::default()
                .with_topic(StrBytes::from_static_str("orders").into())
                .with_partitions(vec![partition]);
            let response = FetchResponse::default().with_responses(vec![topic]);
            let mut encoded = BytesMut::new();
            ResponseHeader::default().encode(&mut encoded, FetchResponse::header_version(version)).unwrap();
            response.encode(&mut encoded, version).unwrap();
            assert_eq!(of_response(&response.into(), version) as usize, 4 + encoded.len(), "fetch v{version}");
        }
    }
}
