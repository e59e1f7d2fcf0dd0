//! How many bytes a message is on the wire. Always taken from the typed message, at its sender, so that it is the
//! same whether messages are encoded or not.
//!
//! Exact for what carries records (Produce requests, Fetch responses): the codec's own formula, headers and frame
//! length added. Elsewhere a plain table, near enough for the time a small message takes on the wire.

use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use kafka_protocol::protocol::{Encodable, HeaderVersion};

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
            R::OffsetForLeaderEpoch(r) => 8 + r.topics.iter().map(|t| 16 + 14 * t.partitions.len() as u32).sum::<u32>(),
            R::AlterPartition(r) => 20 + r.topics.iter().map(|t| 20 + 50 * t.partitions.len() as u32).sum::<u32>(),
            R::Envelope(r) => 24 + r.request_data.len() as u32,
            R::BrokerRegistration(_) => 220,
            R::ApiVersions(_) => 16,
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
                exact(r, version, records().map(|b| b.len() + 40).sum()) + flexible(header)
            }
            R::Produce(r) => 10 + r.responses.iter().map(|t| 16 + 36 * t.partition_responses.len() as u32).sum::<u32>(),
            R::Metadata(r) => {
                let topics = r.topics.iter().map(|t| 48 + 44 * t.partitions.len() as u32).sum::<u32>();
                40 + 28 * r.brokers.len() as u32 + topics
            }
            R::ListOffsets(r) => 8 + r.topics.iter().map(|t| 16 + 28 * t.partitions.len() as u32).sum::<u32>(),
            R::CreateTopics(r) => 8 + 60 * r.topics.len() as u32,
            R::OffsetForLeaderEpoch(r) => 8 + r.topics.iter().map(|t| 16 + 20 * t.partitions.len() as u32).sum::<u32>(),
            R::AlterPartition(r) => 12 + r.topics.iter().map(|t| 20 + 36 * t.partitions.len() as u32).sum::<u32>(),
            R::Envelope(r) => 10 + r.response_data.as_ref().map_or(0, |d| d.len() as u32),
            R::ApiVersions(r) => 16 + 7 * r.api_keys.len() as u32,
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
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{FetchResponse, ProduceRequest, RequestHeader, ResponseHeader};
    use kafka_protocol::protocol::StrBytes;

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
