//! Brokers and a controller together, on a pretended network.

mod admin;
pub(super) mod cluster;
mod damage;
mod delete_records;
pub(crate) mod disk;
mod hostile;
mod matrix;
mod replication;
mod requests;
mod sessions;

use super::Truncation;
use crate::config::BrokerConfig;
use crate::defects::Defects;
use crate::ids::*;
use crate::record::{BatchBuilder, BuilderConfig};
use crate::units::Timestamp;
use crate::versions::VersionCaps;
use bytes::Bytes;
use cluster::Cluster;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, FetchResponse, ProduceRequest, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;

const TOPIC: &str = "orders";

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

fn value(text: &str) -> Bytes {
    batch(BuilderConfig::PLAIN, text)
}

/// The `sequence`-th record of an idempotent producer.
fn numbered(producer: i64, sequence: i32) -> Bytes {
    let config = BuilderConfig {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(sequence),
        ..BuilderConfig::PLAIN
    };
    batch(config, "x")
}

fn batch(config: BuilderConfig, text: &str) -> Bytes {
    let mut batch = BatchBuilder::new(config);
    batch.append(Timestamp(1000), None, Some(text.as_bytes()), &[]);
    batch.build()
}

fn produce(acks: i16, records: Bytes) -> ProduceRequest {
    let part = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![part]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1500).with_topic_data(vec![topic])
}

fn produced(response: ResponseKind) -> PartitionProduceResponse {
    match response {
        ResponseKind::Produce(mut p) => p.responses.remove(0).partition_responses.remove(0),
        other => panic!("{other:?}"),
    }
}

fn fetch(offset: i64, epoch: i32, max_wait: i32, min_bytes: i32) -> FetchRequest {
    let part = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(epoch)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![part]);
    FetchRequest::default().with_max_wait_ms(max_wait).with_min_bytes(min_bytes).with_topics(vec![topic])
}

fn fetched(response: ResponseKind) -> PartitionData {
    let whole: FetchResponse = match response {
        ResponseKind::Fetch(f) => f,
        other => panic!("{other:?}"),
    };
    assert_eq!((whole.error_code, whole.session_id), (0, 0));
    whole.responses.into_iter().next().unwrap().partitions.remove(0)
}

/// A cluster of three brokers with one partition on all of them.
fn cluster(truncation: Truncation, defects: Defects, min_isr: i32, tune: fn(&mut BrokerConfig)) -> Cluster {
    let mut c = Cluster::new(3, truncation, defects, VersionCaps::default(), tune);
    c.run(500);
    for host in 1..=3 {
        assert!(c.broker(host).unfenced, "broker {host}");
    }
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("min.insync.replicas"))
        .with_value(Some(StrBytes::from_string(min_isr.to_string())));
    let topic = CreatableTopic::default()
        .with_name(name())
        .with_num_partitions(1)
        .with_replication_factor(3)
        .with_configs(vec![config]);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
    match c.ask(2, 7, request) {
        ResponseKind::CreateTopics(r) => assert_eq!(r.topics[0].error_code, 0, "{r:?}"),
        other => panic!("{other:?}"),
    }
    c.run(200);
    c
}

fn plain(min_isr: i32) -> Cluster {
    cluster(Truncation::Fetch, Defects::NONE, min_isr, |_| {})
}

/// The host of the partition's leader, by the controller.
fn leader(c: &Cluster) -> usize {
    c.controller().partitions[0].leader.0 as usize
}

fn followers(c: &Cluster) -> Vec<usize> {
    let leader = leader(c);
    (1..=3).filter(|&h| h != leader).collect()
}

/// All replicas are in sync, have the same bytes, and know that everything is committed.
fn converged(c: &Cluster) {
    let l = leader(c);
    let lead = c.replica(l);
    assert_eq!(lead.isr.len(), 3, "{lead:?}");
    assert_eq!(lead.high_watermark, lead.log_end);
    for host in 1..=3 {
        let r = c.replica(host);
        assert_eq!((r.log_end, r.high_watermark, r.leader), (lead.log_end, lead.log_end, lead.leader), "broker {host}");
        assert!(c.log_bytes(host, "orders-0") == c.log_bytes(l, "orders-0"), "broker {host}'s bytes differ");
        // An epoch led without a record is known to its leader alone.
        let with_records = |epochs: &[(LeaderEpoch, Offset)]| -> Vec<_> {
            epochs.iter().copied().filter(|(_, start)| *start < lead.log_end).collect()
        };
        assert_eq!(with_records(&r.epochs), with_records(&lead.epochs), "broker {host}");
        assert_eq!(c.broker(host).image_digest, c.controller().image_digest);
    }
}
