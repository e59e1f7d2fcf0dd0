//! The consumer, driven by hand.

use super::*;
use crate::client::testing::{Asked, Cluster, bootstrap};
use crate::config::Properties;
use crate::ids::ApiKey;
use crate::record::{BatchBuilder, BuilderConfig};
use crate::units::Duration;
use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    FetchResponse, ListOffsetsResponse, OffsetForLeaderEpochResponse, RequestKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use rand::SeedableRng;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn consumer(settings: &[(&str, &str)]) -> Consumer {
    let properties: Properties = settings.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let (config, _) = ConsumerConfig::parse(&properties).unwrap();
    let mut consumer = Consumer::new(config, bootstrap(), VersionCaps::default(), Defects::NONE);
    consumer.start(Now::default(), ChaCha8Rng::seed_from_u64(1));
    consumer
}

fn t(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("t"))
}

/// A batch of `count` records from `base` on, each bearing its offset.
fn batch(base: i64, count: i64, epoch: i32) -> Bytes {
    let mut builder = BatchBuilder::new(BuilderConfig {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(epoch),
        ..BuilderConfig::PLAIN
    });
    for offset in base..base + count {
        builder.append(Timestamp(5), None, Some(&offset.to_be_bytes()), &[]);
    }
    builder.build()
}

impl Cluster {
    fn assign(&mut self, consumer: &mut Consumer, partitions: &[(TopicPartition, StartAt)]) {
        consumer.assign(self.now, partitions);
        self.settle(consumer);
    }

    /// The next request: of which API, and what it says of partition `t-0`.
    fn next_fetch(&mut self) -> (Asked, i64, i32) {
        let asked = self.next();
        let RequestKind::Fetch(request) = &asked.request else { panic!("{asked:?}") };
        assert_eq!((request.session_id, request.session_epoch, request.topics.len()), (0, -1, 1));
        assert_eq!(request.topics[0].topic_id, self.topic_id.0);
        let p = &request.topics[0].partitions[0];
        let (offset, epoch) = (p.fetch_offset, p.current_leader_epoch);
        (asked, offset, epoch)
    }

    fn fetched(&mut self, consumer: &mut Consumer, to: &Asked, each: &[(i32, i16, Bytes)]) {
        let partitions = each.iter().map(|(index, error, records)| {
            PartitionData::default()
                .with_partition_index(*index)
                .with_error_code(*error)
                .with_high_watermark(100)
                .with_log_start_offset(0)
                .with_records(Some(records.clone()))
        });
        let topic =
            FetchableTopicResponse::default().with_topic_id(self.topic_id.0).with_partitions(partitions.collect());
        self.answer(consumer, to, FetchResponse::default().with_responses(vec![topic]));
    }

    fn listed(&mut self, consumer: &mut Consumer, query: i64, error: i16, offset: i64) {
        let asked = self.next();
        let RequestKind::ListOffsets(request) = &asked.request else { panic!("{asked:?}") };
        assert_eq!(request.topics[0].partitions[0].timestamp, query);
        assert_eq!(request.replica_id.0, -1);
        let partition =
            ListOffsetsPartitionResponse::default().with_error_code(error).with_offset(offset).with_leader_epoch(1);
        let topic = ListOffsetsTopicResponse::default().with_name(name()).with_partitions(vec![partition]);
        self.answer(consumer, &asked, ListOffsetsResponse::default().with_topics(vec![topic]));
    }

    /// Checks an OffsetForLeaderEpoch request and answers it.
    fn ended(&mut self, consumer: &mut Consumer, asked_epoch: i32, epoch: i32, end: i64) {
        let asked = self.next();
        let RequestKind::OffsetForLeaderEpoch(request) = &asked.request else { panic!("{asked:?}") };
        assert_eq!((request.topics[0].partitions[0].leader_epoch, request.replica_id.0), (asked_epoch, -1));
        let end = EpochEndOffset::default().with_leader_epoch(epoch).with_end_offset(end);
        let topic = OffsetForLeaderTopicResult::default().with_topic(name()).with_partitions(vec![end]);
        self.answer(consumer, &asked, OffsetForLeaderEpochResponse::default().with_topics(vec![topic]));
    }
}

fn polled(c: &mut Cluster, consumer: &mut Consumer) -> Vec<(i32, i64)> {
    let mut got = Vec::new();
    consumer.poll_records(c.now, |source, record| {
        assert_eq!(record.value, Some(&record.offset.0.to_be_bytes()[..]));
        got.push((source.partition, record.offset.0));
    });
    c.settle(consumer);
    got
}

fn position(offset: i64, reason: PositionReason) -> Option<ConsumerEvent> {
    Some(ConsumerEvent::Position { source: t(0), offset: Offset(offset), reason })
}

#[test]
fn records_come_in_polls_of_bounded_size() {
    let (mut c, mut k) = (Cluster::new(&[(1, 1)]), consumer(&[("max.poll.records", "4")]));
    c.assign(&mut k, &[(t(0), StartAt::Offset(Offset(2)))]);
    assert_eq!(k.next_event(), position(2, PositionReason::Assigned));
    let (asked, offset, epoch) = c.next_fetch();
    assert_eq!((offset, epoch), (2, 1));
    // The batch begins before the position, and the answer ends in a partial batch.
    let records = [&batch(0, 5, 1)[..], &batch(5, 3, 1), &batch(8, 3, 1)[..70]].concat();
    c.fetched(&mut k, &asked, &[(0, 0, records.into())]);
    assert!(k.has_records() && c.asked.is_empty(), "nothing is fetched while records are buffered");
    assert_eq!(polled(&mut c, &mut k), [(0, 2), (0, 3), (0, 4), (0, 5)]);
    assert_eq!(k.position(&t(0)), Some(Offset(6)));
    assert_eq!(polled(&mut c, &mut k), [(0, 6), (0, 7)]);
    assert_eq!(c.next_fetch().1, 8);
    assert_eq!(k.high_watermark(&t(0)), Some(Offset(100)));
}

#[test]
fn one_fetch_is_under_way_to_each_broker() {
    let (mut c, mut k) = (Cluster::new(&[(1, 0), (2, 0), (1, 0)]), consumer(&[]));
    let at = StartAt::Offset(Offset(0));
    c.assign(&mut k, &[(t(0), at), (t(1), at), (t(2), at)]);
    let mut asked = [c.next(), c.next()];
    asked.sort_by_key(|a| a.node);
    assert!(c.asked.is_empty());
    c.fetched(&mut k, &asked[0], &[(0, 0, batch(0, 1, 0)), (2, 0, Bytes::new())]);
    // Partition 2 is asked for again; partition 0 only once its record was handed out.
    let again = c.next();
    let RequestKind::Fetch(request) = &again.request else { panic!() };
    assert_eq!(request.topics[0].partitions.iter().map(|p| p.partition).collect::<Vec<_>>(), [2]);
    assert_eq!(polled(&mut c, &mut k), [(0, 0)]);
    assert!(c.asked.is_empty());
    c.fetched(&mut k, &again, &[(2, 0, Bytes::new())]);
    let RequestKind::Fetch(request) = &c.next().request else { panic!() };
    assert_eq!(request.topics[0].partitions.len(), 2);
}

#[test]
fn a_missing_position_is_reset_by_policy() {
    for (policy, query) in [("earliest", EARLIEST), ("latest", LATEST)] {
        let (mut c, mut k) = (Cluster::new(&[(1, 1)]), consumer(&[("auto.offset.reset", policy)]));
        c.assign(&mut k, &[(t(0), StartAt::Reset)]);
        c.listed(&mut k, query, 6, -1);
        assert!(c.asked.is_empty(), "after an error comes a pause");
        c.advance(&mut k, MS(150));
        c.listed(&mut k, query, 0, 42);
        assert_eq!(k.next_event(), position(42, PositionReason::Assigned));
        let (asked, offset, _) = c.next_fetch();
        assert_eq!(offset, 42);
        c.fetched(&mut k, &asked, &[(0, 1, Bytes::new())]);
        c.listed(&mut k, query, 0, 50);
        assert_eq!(k.next_event(), position(50, PositionReason::Reset));
        assert_eq!(c.next_fetch().1, 50);
    }
}

#[test]
fn without_a_policy_the_application_is_told() {
    let (mut c, mut k) = (Cluster::new(&[(1, 1)]), consumer(&[("auto.offset.reset", "none")]));
    c.assign(&mut k, &[(t(0), StartAt::Offset(Offset(9)))]);
    k.next_event();
    let (asked, ..) = c.next_fetch();
    c.fetched(&mut k, &asked, &[(0, 1, Bytes::new())]);
    assert_eq!(k.next_event(), Some(ConsumerEvent::Failed { source: t(0), error: "OFFSET_OUT_OF_RANGE" }));
    c.advance(&mut k, MS(5000));
    assert!(c.asked.is_empty());
    k.seek(c.now, &t(0), StartAt::Earliest);
    c.settle(&mut k);
    c.listed(&mut k, EARLIEST, 0, 3);
    assert_eq!(k.next_event(), position(3, PositionReason::Seek));
}

/// Reads offsets 0 to 9 of epoch 1 from broker 1, which then loses the lead to broker 2 in epoch 2.
fn failed_over(settings: &[(&str, &str)]) -> (Cluster, Consumer) {
    let (mut c, mut k) = (Cluster::new(&[(1, 1)]), consumer(settings));
    c.assign(&mut k, &[(t(0), StartAt::Offset(Offset(0)))]);
    k.next_event();
    let (asked, ..) = c.next_fetch();
    c.fetched(&mut k, &asked, &[(0, 0, batch(0, 10, 1))]);
    assert_eq!(polled(&mut c, &mut k).len(), 10);
    let (asked, offset, _) = c.next_fetch();
    assert_eq!(offset, 10);
    c.leaders[0] = (2, 2);
    c.fetched(&mut k, &asked, &[(0, 6, Bytes::new())]);
    // The old leader may be asked again before the metadata comes.
    loop {
        c.advance(&mut k, MS(10));
        match c.asked.front() {
            Some(Asked { request: RequestKind::Fetch(_), .. }) => {
                let asked = c.next();
                c.fetched(&mut k, &asked, &[(0, 6, Bytes::new())]);
            }
            Some(_) => break,
            None => {}
        }
    }
    (c, k)
}

#[test]
fn a_valid_position_survives_a_new_leader() {
    let (mut c, mut k) = failed_over(&[]);
    c.ended(&mut k, 1, 1, 10);
    let (asked, offset, epoch) = c.next_fetch();
    assert_eq!((asked.node, offset, epoch, k.next_event()), (NodeId(2), 10, 2, None));
}

#[test]
fn truncation_is_found_and_followed() {
    let (mut c, mut k) = failed_over(&[("auto.offset.reset", "latest")]);
    c.ended(&mut k, 1, 1, 7);
    let truncated = ConsumerEvent::Truncated { source: t(0), position: Offset(10), diverged_at: Some(Offset(7)) };
    assert_eq!(k.next_event(), Some(truncated));
    assert_eq!(k.next_event(), position(7, PositionReason::Truncation));
    let (asked, offset, _) = c.next_fetch();
    assert_eq!(offset, 7);
    c.fetched(&mut k, &asked, &[(0, 0, batch(7, 1, 2))]);
    assert_eq!(polled(&mut c, &mut k), [(0, 7)]);
}

#[test]
fn an_unknown_epoch_resets() {
    let (mut c, mut k) = failed_over(&[("auto.offset.reset", "earliest")]);
    c.ended(&mut k, 1, -1, -1);
    assert_eq!(
        k.next_event(),
        Some(ConsumerEvent::Truncated { source: t(0), position: Offset(10), diverged_at: None })
    );
    c.listed(&mut k, EARLIEST, 0, 0);
    assert_eq!(k.next_event(), position(0, PositionReason::Truncation));
}

#[test]
fn truncation_without_a_policy_stops_the_partition() {
    let (mut c, mut k) = failed_over(&[("auto.offset.reset", "none")]);
    c.ended(&mut k, 1, 1, 7);
    assert!(matches!(k.next_event(), Some(ConsumerEvent::Truncated { .. })));
    assert_eq!(k.next_event(), Some(ConsumerEvent::Failed { source: t(0), error: LOG_TRUNCATION }));
    c.advance(&mut k, MS(5000));
    assert!(c.asked.is_empty());
}

#[test]
fn records_of_an_abandoned_position_are_dropped() {
    let (mut c, mut k) = (Cluster::new(&[(1, 1)]), consumer(&[]));
    c.assign(&mut k, &[(t(0), StartAt::Offset(Offset(0)))]);
    let (asked, ..) = c.next_fetch();
    k.seek(c.now, &t(0), StartAt::Offset(Offset(50)));
    c.settle(&mut k);
    c.fetched(&mut k, &asked, &[(0, 0, batch(0, 5, 1))]);
    assert!(!k.has_records());
    let (asked, offset, _) = c.next_fetch();
    assert_eq!(offset, 50);
    c.fetched(&mut k, &asked, &[(0, 0, batch(50, 5, 1))]);
    k.seek(c.now, &t(0), StartAt::Offset(Offset(52)));
    c.settle(&mut k);
    assert!(!k.has_records());
    assert_eq!(c.next_fetch().1, 52);
}

#[test]
fn a_corrupt_batch_is_not_handed_out() {
    let (mut c, mut k) = (Cluster::new(&[(1, 1)]), consumer(&[]));
    c.assign(&mut k, &[(t(0), StartAt::Offset(Offset(0)))]);
    k.next_event();
    let (asked, ..) = c.next_fetch();
    let mut bad = batch(3, 3, 1).to_vec();
    *bad.last_mut().unwrap() ^= 1;
    bad[70] ^= 4;
    let records = [&batch(0, 3, 1)[..], &bad].concat();
    c.fetched(&mut k, &asked, &[(0, 0, records.into())]);
    assert_eq!(polled(&mut c, &mut k), [(0, 0), (0, 1), (0, 2)]);
    assert_eq!(k.next_event(), Some(ConsumerEvent::Failed { source: t(0), error: "CORRUPT_MESSAGE" }));
    assert_eq!(k.position(&t(0)), Some(Offset(3)));
    k.seek(c.now, &t(0), StartAt::Offset(Offset(3)));
    c.settle(&mut k);
    assert_eq!(c.next_fetch().1, 3);
}

#[test]
fn a_lost_connection_costs_a_fetch_and_nothing_else() {
    let (mut c, mut k) = (Cluster::new(&[(1, 1)]), consumer(&[]));
    c.assign(&mut k, &[(t(0), StartAt::Offset(Offset(4)))]);
    let (asked, ..) = c.next_fetch();
    c.disconnect(&mut k, asked.conn);
    assert!(c.asked.is_empty());
    c.advance(&mut k, MS(100));
    assert_eq!(c.next_fetch().1, 4);
}

#[test]
fn every_version_is_spoken() {
    for version in 4..=17 {
        let (mut c, mut k) = (Cluster::new(&[(1, 1)]), consumer(&[("auto.offset.reset", "earliest")]));
        c.caps = VersionCaps([(1, version), (2, version % 10), (3, 9 + version % 5), (23, 2 + version % 3)].into());
        c.assign(&mut k, &[(t(0), StartAt::Reset)]);
        c.listed(&mut k, EARLIEST, 0, 42);
        let asked = c.next();
        assert_eq!(asked.version, if 9 + version % 5 == 9 { version.min(12) } else { version });
        let topic = FetchableTopicResponse::default()
            .with_partitions(vec![PartitionData::default().with_high_watermark(9).with_records(Some(batch(42, 2, 1)))]);
        let topic = if asked.version >= 13 { topic.with_topic_id(c.topic_id.0) } else { topic.with_topic(name()) };
        c.answer(&mut k, &asked, FetchResponse::default().with_responses(vec![topic]));
        assert_eq!(polled(&mut c, &mut k), [(0, 42), (0, 43)]);
        c.leaders[0] = (2, 2);
        let asked = c.next();
        c.disconnect(&mut k, asked.conn);
        c.advance(&mut k, MS(3000));
        assert!(!c.asked.is_empty());
    }
}

#[test]
fn old_brokers_are_asked_in_their_own_versions() {
    let (mut c, mut k) = (Cluster::new(&[(1, 1)]), consumer(&[]));
    c.caps = VersionCaps([(ApiKey::Fetch as i16, 4), (ApiKey::OffsetForLeaderEpoch as i16, 2)].into());
    c.assign(&mut k, &[(t(0), StartAt::Offset(Offset(4)))]);
    let asked = c.next();
    let RequestKind::Fetch(request) = &asked.request else { panic!() };
    let p = &request.topics[0].partitions[0];
    assert_eq!((asked.version, &request.topics[0].topic, p.current_leader_epoch), (4, &name(), -1));
}

mod group;
mod members;
mod modern;
mod offsets;
