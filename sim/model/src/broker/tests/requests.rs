//! Requests of clients.

use super::*;
use crate::record::{Compression, Compressor};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    ApiVersionsRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
};

fn write(c: &mut Cluster, acks: i16, records: Bytes) -> PartitionProduceResponse {
    let l = leader(c);
    produced(c.ask(l, 9, produce(acks, records)))
}

#[test]
fn acks_all_waits_for_the_replicas_and_acks_one_does_not() {
    let mut c = plain(2);
    let l = leader(&c);
    c.cut = followers(&c).iter().map(|&f| (l, f)).collect();
    let conn = c.connect(l);
    let one = c.send(l, conn, 9, produce(1, value("a")));
    c.run(5);
    assert_eq!(produced(c.answer(one).unwrap()).base_offset, 0);
    let all = c.send(l, conn, 9, produce(-1, value("b")));
    c.run(300);
    assert!(c.answer(all).is_none());
    c.run(1500);
    // The ISR shrank to the leader alone, below the minimum: the high watermark did not move.
    assert_eq!(produced(c.answer(all).unwrap()).error_code, ResponseError::RequestTimedOut.code());
}

#[test]
fn requests_of_one_connection_are_answered_one_after_the_other() {
    let mut c = plain(1);
    let l = leader(&c);
    let conn = c.connect(l);
    let slow = c.send(l, conn, 9, fetch_for_v9(0, 400));
    let quick = c.send(l, conn, 9, produce(1, value("a")));
    c.run(100);
    // The produce that would end the fetch's wait waits behind it.
    assert!(c.answer(slow).is_none() && c.answer(quick).is_none());
    c.run(400);
    assert_eq!(fetched(c.answer(slow).unwrap()).records.unwrap().len(), 0);
    assert_eq!(produced(c.answer(quick).unwrap()).error_code, 0);
    // acks=0 has no answer, and lets the next one in.
    c.send(l, conn, 9, produce(0, value("b")));
    let next = c.send(l, conn, 9, produce(1, value("c")));
    c.run(50);
    assert_eq!(produced(c.answer(next).unwrap()).base_offset, 2);
}

fn fetch_for_v9(offset: i64, wait: i32) -> FetchRequest {
    fetch(offset, -1, wait, 1)
}

#[test]
fn a_fetch_waits_for_the_high_watermark() {
    let mut c = plain(2);
    let l = leader(&c);
    let conn = c.connect(l);
    let waiting = c.send(l, conn, 11, fetch(0, 0, 5000, 1));
    c.run(100);
    assert!(c.answer(waiting).is_none());
    write(&mut c, -1, value("a"));
    c.run(50);
    let data = fetched(c.answer(waiting).unwrap());
    assert_eq!((data.error_code, data.high_watermark, data.log_start_offset), (0, 1, 0));
    assert!(!data.records.unwrap().is_empty());
}

#[test]
fn a_fetch_waits_for_as_many_bytes_as_it_wants_and_no_longer_than_it_wants() {
    let mut c = plain(2);
    write(&mut c, -1, value("a"));
    let l = leader(&c);
    let conn = c.connect(l);
    let waiting = c.send(l, conn, 11, fetch(0, 0, 300, 10_000));
    c.run(250);
    assert!(c.answer(waiting).is_none());
    c.run(60);
    assert!(!fetched(c.answer(waiting).unwrap()).records.unwrap().is_empty());
}

#[test]
fn fetches_are_fenced_and_bounded() {
    let mut c = plain(2);
    write(&mut c, -1, value("a"));
    let l = leader(&c);
    let f = followers(&c)[0];
    c.run(1200);
    let mut try_at = |host, offset, epoch, version| fetched(c.ask(host, version, fetch(offset, epoch, 0, 1)));
    assert_eq!(try_at(l, 0, 7, 12).error_code, ResponseError::UnknownLeaderEpoch.code());
    assert_eq!(try_at(l, 5, 0, 12).error_code, ResponseError::OffsetOutOfRange.code());
    assert_eq!(try_at(l, 1, 0, 12).error_code, 0);
    assert_eq!(try_at(f, 0, 0, 10).error_code, ResponseError::NotLeaderOrFollower.code(), "before KIP-392");
    let data = try_at(f, 0, 0, 12);
    assert_eq!((data.error_code, data.high_watermark), (0, 1));
    assert!(!data.records.unwrap().is_empty());
}

#[test]
fn a_repeated_batch_is_acknowledged_again_and_a_gap_is_refused() {
    let mut c = plain(2);
    assert_eq!(write(&mut c, -1, numbered(5, 0)).base_offset, 0);
    assert_eq!(write(&mut c, -1, numbered(5, 1)).base_offset, 1);
    let again = write(&mut c, -1, numbered(5, 0));
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    let gap = write(&mut c, -1, numbered(5, 9));
    assert_eq!(gap.error_code, ResponseError::OutOfOrderSequenceNumber.code());
    let l = leader(&c);
    assert!(c.marked(l, "duplicate-batch-acknowledged") && c.marked(l, "out-of-order-sequence"));
    assert_eq!(c.replica(l).log_end, Offset(2));
}

#[test]
fn bad_records_are_refused() {
    let mut c = plain(2);
    let mut refused = |records: Vec<u8>| write(&mut c, -1, Bytes::from(records)).error_code;
    let good = value("a").to_vec();
    let mut torn = good.clone();
    *torn.last_mut().unwrap() ^= 1;
    assert_eq!(refused(torn), ResponseError::CorruptMessage.code());
    assert_eq!(refused([good.clone(), good.clone()].concat()), ResponseError::InvalidRecord.code());
    assert_eq!(refused(good[..30].to_vec()), ResponseError::CorruptMessage.code());
    assert_eq!(refused(Vec::new()), ResponseError::InvalidRecord.code());
    assert_eq!(refused(value(&"x".repeat(2_000_000)).to_vec()), ResponseError::MessageTooLarge.code());
    assert_eq!(refused(good), 0);
    assert_eq!(write(&mut c, 5, value("a")).error_code, ResponseError::InvalidRequiredAcks.code());
}

#[test]
fn whoever_asks_a_follower_is_told_who_leads() {
    let mut c = plain(2);
    let f = followers(&c)[0];
    let answer = produced(c.ask(f, 10, produce(-1, value("a"))));
    assert_eq!(answer.error_code, ResponseError::NotLeaderOrFollower.code());
    assert_eq!(answer.current_leader.leader_id.0 as usize, leader(&c));
}

#[test]
fn metadata_by_name_by_id_and_of_everything_at_every_version() {
    let mut c = plain(2);
    let l = leader(&c);
    for version in 0..=13 {
        let topic = MetadataRequestTopic::default().with_name(Some(name()));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        let ResponseKind::Metadata(m) = c.ask(1, version, request) else { panic!() };
        assert_eq!(m.brokers.len(), 3);
        assert_eq!(m.topics[0].partitions[0].leader_id.0 as usize, l);
        assert_eq!(m.topics[0].partitions[0].isr_nodes.len(), 3);
    }
    let id = c.replica(1).partition.topic.0;
    let by_id = |id| {
        let topic = MetadataRequestTopic::default().with_topic_id(id).with_name(None);
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false)
    };
    let ResponseKind::Metadata(m) = c.ask(2, 12, by_id(id)) else { panic!() };
    assert_eq!(m.topics[0].name, Some(name()));
    let ResponseKind::Metadata(m) = c.ask(2, 12, by_id(Uuid::from_u128(3))) else { panic!() };
    assert_eq!(m.topics[0].error_code, ResponseError::UnknownTopicId.code());
    let ResponseKind::Metadata(m) = c.ask(2, 12, MetadataRequest::default().with_topics(None)) else { panic!() };
    assert_eq!(m.topics.len(), 1);
}

#[test]
fn a_topic_asked_for_is_created() {
    let mut c = plain(2);
    let ask = |c: &mut Cluster| {
        let topic = MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_static_str("fresh"))));
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
        let ResponseKind::Metadata(m) = c.ask(1, 9, request) else { panic!() };
        m.topics[0].error_code
    };
    assert_eq!(ask(&mut c), ResponseError::UnknownTopicOrPartition.code());
    c.run(300);
    assert_eq!(ask(&mut c), 0);
}

#[test]
fn producer_ids_are_given_out_once() {
    let mut c = plain(2);
    let mut ids = Vec::new();
    for host in [1, 2, 1, 2, 1, 2] {
        for _ in 0..3 {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_producer_id((-1).into())
                .with_producer_epoch(-1);
            let ResponseKind::InitProducerId(r) = c.ask(host, 4, request) else { panic!() };
            if r.error_code == 0 {
                ids.push(r.producer_id.0);
            } else {
                assert_eq!(r.error_code, ResponseError::CoordinatorLoadInProgress.code());
                c.run(100);
            }
        }
    }
    assert!(ids.len() >= 14);
    let given = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), given);
}

#[test]
fn offsets_are_listed() {
    let mut c = plain(2);
    write(&mut c, -1, value("a"));
    write(&mut c, -1, value("b"));
    let l = leader(&c);
    let mut list = |timestamp, version| {
        let part = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![part]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let ResponseKind::ListOffsets(mut r) = c.ask(l, version, request) else { panic!() };
        let p = r.topics.remove(0).partitions.remove(0);
        (p.error_code, p.offset)
    };
    for version in 1..=9 {
        assert_eq!(list(-1, version), (0, 2), "version {version}");
        assert_eq!(list(-2, version), (0, 0));
    }
    assert_eq!(list(1000, 7), (0, 0));
    assert_eq!(list(2000, 7), (0, -1));
    assert_eq!(list(-3, 7).0, 0);
}

#[test]
fn a_new_leader_does_not_say_where_the_log_ends_before_it_knows() {
    let mut c = plain(1);
    let old = leader(&c);
    write(&mut c, -1, value("a"));
    // Broker after broker dies, so that the last one's high watermark is behind its log end.
    let fs = followers(&c);
    c.kill(old);
    c.cut = vec![(fs[0], fs[1])];
    for _ in 0..40 {
        c.run(50);
        let l = leader(&c);
        if l == old || l == 0 || l > 3 {
            continue;
        }
        let r = c.replica(l);
        if r.leader_epoch.0 > 0 && r.high_watermark < r.log_end {
            let part = ListOffsetsPartition::default().with_timestamp(-1);
            let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![part]);
            let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
            let ResponseKind::ListOffsets(mut answer) = c.ask(l, 7, request) else { panic!() };
            let p = answer.topics.remove(0).partitions.remove(0);
            assert!(p.error_code == ResponseError::OffsetNotAvailable.code() || p.offset == 1, "{p:?}");
            return;
        }
    }
}

#[test]
fn ends_of_epochs_are_told() {
    let mut c = plain(2);
    write(&mut c, -1, value("a"));
    let l = leader(&c);
    let mut end = |current: i32, epoch: i32| {
        let part = OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default().with_topic(name()).with_partitions(vec![part]);
        let request = OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let ResponseKind::OffsetForLeaderEpoch(mut r) = c.ask(l, 4, request) else { panic!() };
        let p = r.topics.remove(0).partitions.remove(0);
        (p.error_code, p.leader_epoch, p.end_offset)
    };
    assert_eq!(end(0, 0), (0, 0, 1));
    assert_eq!(end(3, 0).0, ResponseError::UnknownLeaderEpoch.code());
}

#[test]
fn versions_that_are_too_new_are_answered_at_version_0() {
    let mut c = plain(2);
    let conn = c.connect(1);
    // The harness encodes at the version given, which must be 0.
    let asked = c.send(1, conn, 9, ApiVersionsRequest::default());
    let Some(ResponseKind::ApiVersions(r)) = c.answer(asked) else { panic!() };
    assert_eq!(r.error_code, ResponseError::UnsupportedVersion.code());
    assert!(r.api_keys.iter().any(|k| k.api_key == ApiKey::Produce as i16));
}

#[test]
fn old_and_new_versions_mix() {
    let mut caps = VersionCaps::default();
    for (api, cap) in [
        (ApiKey::Fetch, 12),
        (ApiKey::OffsetForLeaderEpoch, 2),
        (ApiKey::AlterPartition, 2),
        (ApiKey::BrokerRegistration, 1),
    ] {
        caps.0.insert(api as i16, cap);
    }
    for truncation in [Truncation::Fetch, Truncation::OffsetForLeaderEpoch] {
        let mut c = Cluster::new(3, truncation, Defects::NONE, caps.clone(), |_| {});
        c.run(500);
        let topic = CreatableTopic::default().with_name(name()).with_num_partitions(1).with_replication_factor(3);
        c.ask(1, 5, CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000));
        c.run(200);
        write(&mut c, -1, value("a"));
        c.run(1200);
        converged(&c);
    }
}

#[test]
fn a_topic_gains_partitions_and_never_loses_any() {
    use kafka_protocol::messages::CreatePartitionsRequest;
    use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
    let mut c = plain(2);
    let ask = |c: &mut Cluster, version: i16, topic: &'static str, count: i32| {
        let topic = CreatePartitionsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(topic)))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
        match c.ask(2, version, request) {
            ResponseKind::CreatePartitions(r) => r.results[0].error_code,
            other => panic!("{other:?}"),
        }
    };
    for version in 0..=3 {
        assert_eq!(ask(&mut c, version, TOPIC, 2 + i32::from(version)), 0);
    }
    assert_eq!(ask(&mut c, 3, TOPIC, 5), ResponseError::InvalidPartitions.code());
    assert_eq!(ask(&mut c, 3, TOPIC, 1), ResponseError::InvalidPartitions.code());
    assert_eq!(ask(&mut c, 3, "nothing", 5), ResponseError::UnknownTopicOrPartition.code());
    c.run(200);
    let partitions = c.controller().partitions;
    assert_eq!(partitions.len(), 5);
    assert!(partitions.iter().all(|p| p.replicas.len() == 3 && p.isr.len() == 3 && p.leader != NodeId::NONE));
    for host in 1..=3 {
        assert_eq!(c.broker(host).partitions.len(), 5, "broker {host}");
        assert_eq!(c.broker(host).image_digest, c.controller().image_digest);
    }
}

#[test]
fn compressed_batches_are_looked_into_and_kept_as_they_came() {
    let mut c = plain(1);
    let l = leader(&c);
    let compressed = |with| {
        let mut batch = BatchBuilder::new(BuilderConfig::PLAIN);
        (0..3).for_each(|_| batch.append(Timestamp(1000), None, Some(&[7; 100]), &[]));
        batch.build_with(Compressor { with, level: 1 })
    };
    for (n, with) in (0..).zip([Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]) {
        let sent = compressed(with);
        let answer = produced(c.ask(l, 9, produce(1, sent.clone())));
        assert_eq!((answer.error_code, answer.base_offset), (0, 3 * n), "{with:?}");
        c.run(100);
        let back = fetched(c.ask(l, 11, fetch(3 * n, -1, 0, 1))).records.unwrap();
        assert_eq!(back[61..], sent[61..], "{with:?}");
        // The same batch with a torn stream and a checksum that is right.
        let mut torn = sent.to_vec();
        let half = 61 + (torn.len() - 61) / 2;
        torn.truncate(half);
        torn[8..12].copy_from_slice(&(half as i32 - 12).to_be_bytes());
        let crc = crc32c::crc32c(&torn[21..]);
        torn[17..21].copy_from_slice(&crc.to_be_bytes());
        let refused = produced(c.ask(l, 9, produce(1, Bytes::from(torn)))).error_code;
        assert_ne!(refused, 0, "{with:?}");
    }
    let old = produced(c.ask(l, 6, produce(1, compressed(Compression::Zstd)))).error_code;
    assert_eq!(old, ResponseError::UnsupportedCompressionType.code(), "zstd is younger (KIP-110)");
}
