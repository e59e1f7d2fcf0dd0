//! The producer, driven by hand.

use super::*;
use crate::client::testing::{Asked, Cluster, bootstrap};
use crate::config::Properties;
use crate::defects::Defect;
use crate::record::{BatchHeader, records, validate};
use crate::units::Duration;
use bytes::Bytes;
use kafka_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use kafka_protocol::messages::produce_response::{LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceResponse, RequestKind};
use rand::SeedableRng;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn producer(settings: &[(&str, &str)], defects: &[Defect]) -> Producer {
    let properties: Properties = settings.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let (config, warnings) = ProducerConfig::parse(&properties).unwrap();
    assert!(warnings.is_empty());
    let defects = defects.iter().fold(Defects::NONE, |all, &d| all.with(d));
    let mut producer = Producer::new(config, bootstrap(), VersionCaps::default(), defects);
    producer.start(Now::default(), ChaCha8Rng::seed_from_u64(1));
    producer
}

fn plain(settings: &[(&str, &str)]) -> Producer {
    producer(&[settings, &[("enable.idempotence", "false")]].concat(), &[])
}

fn record<'a>(partition: i32, value: &'a [u8]) -> ProducerRecord<'a> {
    let partition = Some(partition);
    ProducerRecord { topic: "t", partition, key: None, value: Some(value), headers: &[], timestamp: None }
}

impl Cluster {
    fn send(&mut self, p: &mut Producer, partition: i32, id: u64) {
        p.send(self.now, record(partition, &id.to_be_bytes()), id, &mut self.out).unwrap();
        self.settle(p);
    }

    fn grant(&mut self, p: &mut Producer, id: i64) {
        let asked = self.next();
        assert!(matches!(asked.request, RequestKind::InitProducerId(_)), "{asked:?}");
        self.answer(p, &asked, InitProducerIdResponse::default().with_producer_id(id.into()).with_producer_epoch(0));
    }

    fn respond(&mut self, p: &mut Producer, asked: &Asked, error: i16, base: i64) {
        self.respond_with(p, asked, |r| r.with_error_code(error).with_base_offset(base).with_log_start_offset(0));
    }

    fn respond_with(
        &mut self,
        p: &mut Producer,
        asked: &Asked,
        each: impl Fn(PartitionProduceResponse) -> PartitionProduceResponse,
    ) {
        let RequestKind::Produce(request) = &asked.request else { panic!("{asked:?}") };
        let topics = request.topic_data.iter().map(|t| {
            let partitions = t.partition_data.iter();
            let partitions = partitions.map(|d| each(PartitionProduceResponse::default().with_index(d.index)));
            TopicProduceResponse::default()
                .with_topic_id(t.topic_id)
                .with_name(t.name.clone())
                .with_partition_responses(partitions.collect())
        });
        let response = ProduceResponse::default().with_responses(topics.collect());
        self.answer(p, asked, response);
    }
}

/// Each batch of a produce request: partition and bytes.
fn sent(asked: &Asked) -> Vec<(i32, Bytes)> {
    let RequestKind::Produce(request) = &asked.request else { panic!("{asked:?}") };
    let data = request.topic_data.iter().flat_map(|t| &t.partition_data);
    data.map(|d| (d.index, d.records.clone().unwrap())).collect()
}

fn ids(batch: &Bytes) -> Vec<u64> {
    validate(batch).unwrap();
    records(batch).map(|r| u64::from_be_bytes(r.unwrap().value.unwrap().try_into().unwrap())).collect()
}

fn one(asked: &Asked) -> (Vec<u64>, BatchHeader) {
    let batches = sent(asked);
    assert_eq!(batches.len(), 1);
    (ids(&batches[0].1), BatchHeader::parse(&batches[0].1).unwrap())
}

fn delivered(p: &mut Producer) -> Vec<(u64, Option<i64>)> {
    std::iter::from_fn(|| p.next_event())
        .map(|e| match e {
            ProducerEvent::Delivered { id, offset, .. } => (id, offset.map(|o| o.0)),
            failed => panic!("{failed:?}"),
        })
        .collect()
}

fn failed(p: &mut Producer) -> Vec<(u64, &'static str, bool)> {
    std::iter::from_fn(|| p.next_event())
        .map(|e| match e {
            ProducerEvent::Failed { id, error, definite, .. } => (id, error, definite),
            delivered => panic!("{delivered:?}"),
        })
        .collect()
}

#[test]
fn records_linger_and_leave_together() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), plain(&[("linger.ms", "10")]));
    c.send(&mut p, 0, 1);
    c.advance(&mut p, MS(4));
    c.send(&mut p, 0, 2);
    c.advance(&mut p, MS(5));
    assert!(c.asked.is_empty());
    c.advance(&mut p, MS(1));
    let asked = c.next();
    assert_eq!(one(&asked).0, [1, 2]);
    assert_eq!(one(&asked).1.producer_id, ProducerId::NONE);
    c.respond(&mut p, &asked, 0, 40);
    assert_eq!(delivered(&mut p), [(1, Some(40)), (2, Some(41))]);
    assert_eq!(p.pending(), 0);
}

#[test]
fn a_full_batch_does_not_linger() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), plain(&[("linger.ms", "1000"), ("batch.size", "120")]));
    for id in 0..4 {
        c.send(&mut p, 0, id);
    }
    // The second batch goes along only once it is due or full.
    assert_eq!(one(&c.next()).0, [0, 1]);
    assert!(c.asked.is_empty());
    p.flush();
    c.settle(&mut p);
    assert_eq!(one(&c.next()).0, [2, 3]);
}

#[test]
fn one_request_carries_a_batch_of_each_partition_of_its_leader() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0), (2, 0), (1, 0)]), plain(&[("linger.ms", "10")]));
    for id in 0..6 {
        c.send(&mut p, id as i32 % 3, id);
    }
    c.advance(&mut p, MS(10));
    let mut asked = [c.next(), c.next()];
    asked.sort_by_key(|a| a.node);
    assert_eq!(
        sent(&asked[0]).iter().map(|(i, b)| (*i, ids(b))).collect::<Vec<_>>(),
        [(0, vec![0, 3]), (2, vec![2, 5])]
    );
    assert_eq!(one(&asked[1]).0, [1, 4]);
}

fn two_in_line(defects: &[Defect]) -> Vec<u64> {
    let settings =
        [("enable.idempotence", "false"), ("max.in.flight.requests.per.connection", "1"), ("linger.ms", "0")];
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), producer(&settings, defects));
    c.send(&mut p, 0, 1);
    let first = c.next();
    c.send(&mut p, 0, 2);
    assert!(c.asked.is_empty(), "one at a time");
    c.respond(&mut p, &first, 19, -1);
    let mut order = Vec::new();
    while order.len() < 2 {
        c.advance(&mut p, MS(2000));
        let asked = c.next();
        order.extend(one(&asked).0);
        c.respond(&mut p, &asked, 0, 0);
    }
    order
}

#[test]
fn a_retry_keeps_its_place_with_one_request_in_flight() {
    assert_eq!(two_in_line(&[]), [1, 2]);
    assert_eq!(two_in_line(&[Defect::RetryOvertaken]), [2, 1]);
}

#[test]
fn a_retried_batch_keeps_its_sequence() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), producer(&[("linger.ms", "0")], &[]));
    c.send(&mut p, 0, 1);
    c.grant(&mut p, 500);
    let first = c.next();
    c.send(&mut p, 0, 2);
    c.send(&mut p, 0, 3);
    let (second, third) = (c.next(), c.next());
    let sequences = [&first, &second, &third].map(|a| one(a).1.base_sequence.0);
    assert_eq!((sequences, one(&first).1.producer_id.0), ([0, 1, 2], 500));
    // All three may have arrived. They are sent again one by one, in order.
    c.disconnect(&mut p, first.conn);
    for n in 0..3 {
        c.advance(&mut p, MS(1500));
        let again = c.next();
        assert_eq!(one(&again).1.base_sequence.0, n);
        assert!(c.asked.is_empty());
        c.respond(&mut p, &again, 0, 10 + i64::from(n));
    }
    assert_eq!(delivered(&mut p), [(1, Some(10)), (2, Some(11)), (3, Some(12))]);
}

#[test]
fn a_gap_bumps_the_epoch_and_numbers_anew() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), producer(&[("linger.ms", "0")], &[]));
    c.send(&mut p, 0, 1);
    c.grant(&mut p, 500);
    let first = c.next();
    c.respond(&mut p, &first, 0, 0);
    c.send(&mut p, 0, 2);
    let second = c.next();
    c.send(&mut p, 0, 3);
    let third = c.next();
    assert_eq!(one(&third).1.base_sequence.0, 2);
    // The broker has lost record 1: the batch next in line does not fit.
    c.respond(&mut p, &second, 45, -1);
    c.respond(&mut p, &third, 45, -1);
    let mut again = Vec::new();
    for _ in 0..2 {
        c.advance(&mut p, MS(1500));
        let asked = c.next();
        let header = one(&asked).1;
        again.push((one(&asked).0[0], header.producer_epoch.0, header.base_sequence.0));
        c.respond(&mut p, &asked, 0, 5);
    }
    assert_eq!(again, [(2, 1, 0), (3, 1, 1)]);
    assert_eq!(delivered(&mut p).len(), 3);
    c.send(&mut p, 0, 4);
    let header = one(&c.next()).1;
    assert_eq!((header.producer_epoch.0, header.base_sequence.0), (1, 2));
}

#[test]
fn an_unresolved_batch_holds_up_its_partition_until_the_epoch_is_bumped() {
    let settings = [("linger.ms", "0"), ("request.timeout.ms", "400"), ("delivery.timeout.ms", "1000")];
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), producer(&settings, &[]));
    c.send(&mut p, 0, 1);
    c.grant(&mut p, 500);
    c.advance(&mut p, MS(950));
    c.send(&mut p, 0, 2);
    c.advance(&mut p, MS(60));
    assert_eq!(failed(&mut p), [(1, DELIVERY_TIMEOUT, false)]);
    c.advance(&mut p, MS(300));
    let asked = c.asked.pop_back().unwrap();
    let header = one(&asked).1;
    assert_eq!((one(&asked).0, header.producer_epoch.0, header.base_sequence.0), (vec![2], 1, 0));
}

#[test]
fn a_duplicate_is_a_success_without_an_offset() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), producer(&[("linger.ms", "0")], &[]));
    c.send(&mut p, 0, 1);
    c.grant(&mut p, 500);
    let asked = c.next();
    c.respond(&mut p, &asked, 46, -1);
    assert_eq!(delivered(&mut p), [(1, None)]);
}

#[test]
fn what_was_never_sent_fails_definitely() {
    let settings = [("linger.ms", "0"), ("request.timeout.ms", "400"), ("delivery.timeout.ms", "1000")];
    let (mut c, mut p) = (Cluster::new(&[(-1, 3)]), plain(&settings));
    c.send(&mut p, 0, 1);
    c.advance(&mut p, MS(999));
    assert_eq!(p.next_event(), None);
    c.advance(&mut p, MS(1));
    assert_eq!(failed(&mut p), [(1, DELIVERY_TIMEOUT, true)]);
}

#[test]
fn ambiguity_survives_later_rejections() {
    let settings = [("linger.ms", "0"), ("request.timeout.ms", "400"), ("delivery.timeout.ms", "1000")];
    // Rejected every time: certain.
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), plain(&settings));
    c.send(&mut p, 0, 1);
    for _ in 0..20 {
        while let Some(asked) = c.asked.pop_front() {
            c.respond(&mut p, &asked, 19, -1);
        }
        c.advance(&mut p, MS(50));
    }
    assert_eq!(failed(&mut p), [(1, DELIVERY_TIMEOUT, true)]);
    // The first answer lost, then rejected every time: who knows.
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), plain(&settings));
    c.send(&mut p, 0, 1);
    let first = c.next();
    c.disconnect(&mut p, first.conn);
    for _ in 0..20 {
        while let Some(asked) = c.asked.pop_front() {
            c.respond(&mut p, &asked, 19, -1);
        }
        c.advance(&mut p, MS(50));
    }
    assert_eq!(failed(&mut p), [(1, DELIVERY_TIMEOUT, false)]);
    // A rejection for good, at the first attempt.
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), plain(&settings));
    c.send(&mut p, 0, 1);
    let first = c.next();
    c.respond(&mut p, &first, 10, -1);
    assert_eq!(failed(&mut p), [(1, "MESSAGE_TOO_LARGE", true)]);
}

#[test]
fn an_answer_after_the_delivery_timeout_changes_nothing() {
    let settings = [("linger.ms", "600"), ("request.timeout.ms", "400"), ("delivery.timeout.ms", "1000")];
    let (mut c, mut p) = (Cluster::new(&[(-1, 0)]), plain(&settings));
    c.send(&mut p, 0, 1);
    c.advance(&mut p, MS(700));
    c.leaders[0] = (1, 1);
    c.advance(&mut p, MS(299));
    let asked = c.next();
    c.advance(&mut p, MS(1));
    assert_eq!(failed(&mut p), [(1, DELIVERY_TIMEOUT, false)]);
    c.respond(&mut p, &asked, 0, 7);
    assert_eq!((p.next_event(), p.pending()), (None, 0));
    assert_eq!(p.accumulator.available(), p.config.buffer_memory);
}

#[test]
fn a_send_waits_for_metadata_no_longer_than_max_block() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), plain(&[("max.block.ms", "300"), ("linger.ms", "0")]));
    c.down = true;
    c.send(&mut p, 0, 1);
    c.advance(&mut p, MS(200));
    c.send(&mut p, 0, 2);
    c.advance(&mut p, MS(100));
    assert_eq!(failed(&mut p), [(1, MAX_BLOCK_TIMEOUT, true)]);
    c.down = false;
    c.advance(&mut p, MS(199));
    assert_eq!(one(&c.next()).0, [2]);
}

#[test]
fn a_send_waits_for_room_in_the_buffer() {
    let settings = [("buffer.memory", "400"), ("batch.size", "200"), ("linger.ms", "0"), ("max.block.ms", "500")];
    let (mut c, mut p) = (Cluster::new(&[(1, 0), (1, 0), (1, 0)]), plain(&settings));
    for id in 0..3 {
        c.send(&mut p, id as i32, id);
    }
    let (first, second) = (c.next(), c.next());
    assert_eq!((one(&first).0, one(&second).0), (vec![0], vec![1]));
    assert!(c.asked.is_empty());
    c.respond(&mut p, &first, 0, 0);
    assert_eq!(one(&c.next()).0, [2]);
    let big = vec![0; 500];
    assert_eq!(p.send(c.now, record(0, &big), 9, &mut c.out), Err(SendRejected::RecordTooLarge));
    c.send(&mut p, 0, 10);
    c.advance(&mut p, MS(500));
    assert!(std::iter::from_fn(|| p.next_event()).any(|e| matches!(
        e,
        ProducerEvent::Failed { id: 10, error: MAX_BLOCK_TIMEOUT, definite: true, attempts: 0, .. }
    )));
}

#[test]
fn nobody_acknowledges_acks_0() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), producer(&[("acks", "0"), ("linger.ms", "0")], &[]));
    c.send(&mut p, 0, 1);
    assert_eq!(one(&c.next()).0, [1]);
    let event = p.next_event();
    assert!(matches!(event, Some(ProducerEvent::Delivered { id: 1, offset: None, acknowledged: false, .. })));
}

#[test]
fn a_new_leader_is_tried_at_once() {
    let (mut c, mut p) = (Cluster::new(&[(1, 4)]), plain(&[("linger.ms", "0"), ("retry.backoff.ms", "1000")]));
    c.send(&mut p, 0, 1);
    let asked = c.next();
    let current = LeaderIdAndEpoch::default().with_leader_id(2.into()).with_leader_epoch(5);
    c.respond_with(&mut p, &asked, |r| r.with_error_code(6).with_base_offset(-1).with_current_leader(current.clone()));
    assert_eq!(c.next().node, NodeId(2));
}

#[test]
fn a_request_times_out_and_is_sent_again_on_a_new_connection() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), plain(&[("linger.ms", "0"), ("request.timeout.ms", "1000")]));
    c.send(&mut p, 0, 1);
    let first = c.next();
    c.advance(&mut p, MS(1500));
    let again = c.next();
    assert_ne!(again.conn, first.conn);
    assert!(again.correlation > 0);
    c.respond(&mut p, &again, 0, 3);
    let event = p.next_event();
    assert!(matches!(event, Some(ProducerEvent::Delivered { attempts: 2, acknowledged: true, .. })));
}

#[test]
fn closing_flushes_and_then_gives_up() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0)]), plain(&[("linger.ms", "10000")]));
    c.send(&mut p, 0, 1);
    p.close(c.now.mono + MS(100));
    c.settle(&mut p);
    let asked = c.next();
    assert_eq!(one(&asked).0, [1]);
    assert_eq!(p.send(c.now, record(0, b"x"), 2, &mut c.out), Err(SendRejected::Closed));
    c.advance(&mut p, MS(100));
    assert_eq!(failed(&mut p), [(1, PRODUCER_CLOSED, false)]);
    assert!(p.is_closed());
}

#[test]
fn keyless_records_stay_on_a_partition_for_a_batch() {
    let (mut c, mut p) = (Cluster::new(&[(1, 0), (1, 0), (-1, 0)]), plain(&[("batch.size", "300")]));
    let mut runs: Vec<i32> = Vec::new();
    for id in 0..200u64 {
        let value = id.to_be_bytes();
        let record = ProducerRecord { partition: None, ..record(0, &value) };
        p.send(c.now, record, id, &mut c.out).unwrap();
        c.settle(&mut p);
        while let Some(asked) = c.asked.pop_front() {
            c.respond(&mut p, &asked, 0, 0);
        }
    }
    c.advance(&mut p, MS(10));
    while let Some(asked) = c.asked.pop_front() {
        c.respond(&mut p, &asked, 0, 0);
    }
    let mut partitions = [0; 3];
    while let Some(event) = p.next_event() {
        let ProducerEvent::Delivered { partition, .. } = event else { panic!() };
        partitions[partition as usize] += 1;
        if runs.last() != Some(&partition) {
            runs.push(partition);
        }
    }
    assert_eq!(partitions.iter().sum::<i32>(), 200);
    assert_eq!(partitions[2], 0, "a partition without a leader is not chosen");
    assert!(partitions[0] > 0 && partitions[1] > 0 && runs.len() < 60);
}

#[test]
fn every_version_is_spoken() {
    for version in 3..=13 {
        let (mut c, mut p) = (Cluster::new(&[(1, 0)]), producer(&[("linger.ms", "0")], &[]));
        let metadata = i16::min(version, 9);
        c.caps = VersionCaps([(0, version), (3, metadata), (22, (version - 3).min(5)), (18, version % 5)].into());
        c.send(&mut p, 0, 1);
        c.grant(&mut p, 1);
        let asked = c.next();
        // Without ids from Metadata, topics can only be named.
        assert_eq!(asked.version, version.min(12));
        c.respond(&mut p, &asked, 0, 3);
        assert_eq!(delivered(&mut p), [(1, Some(3))]);
    }
}
