//! DeleteRecords: where logs begin afterwards, and when whoever asked hears of it.

use super::*;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_records_response::DeleteRecordsPartitionResult;

fn delete_in(topic: &'static str, partition: i32, offset: i64) -> DeleteRecordsRequest {
    let part = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(TopicName(StrBytes::from_static_str(topic)));
    DeleteRecordsRequest::default().with_topics(vec![topic.with_partitions(vec![part])]).with_timeout_ms(1000)
}

fn delete(offset: i64) -> DeleteRecordsRequest {
    delete_in(TOPIC, 0, offset)
}

fn deleted(response: ResponseKind) -> DeleteRecordsPartitionResult {
    match response {
        ResponseKind::DeleteRecords(mut r) => r.topics.remove(0).partitions.remove(0),
        other => panic!("{other:?}"),
    }
}

/// A cluster whose partition has five records, committed everywhere.
fn with_five() -> (Cluster, usize) {
    let mut c = plain(1);
    let l = leader(&c);
    for text in ["a", "b", "c", "d", "e"] {
        assert_eq!(produced(c.ask(l, 9, produce(-1, value(text)))).error_code, 0);
    }
    c.run(1_000);
    (c, l)
}

fn starts(c: &Cluster) -> Vec<i64> {
    (1..=3).map(|host| c.replica(host).log_start.0).collect()
}

#[test]
fn every_replica_follows_before_it_is_answered() {
    let (mut c, l) = with_five();
    for version in 0..=2 {
        let to = i64::from(version) + 1;
        let result = deleted(c.ask(l, version, delete(to)));
        assert_eq!((result.error_code, result.low_watermark), (0, to));
        assert_eq!(starts(&c), [to; 3]);
    }
    // What is below is not read any more; what is not, is.
    assert_eq!(fetched(c.ask(l, 12, fetch(2, -1, 0, 0))).error_code, ResponseError::OffsetOutOfRange.code());
    assert_eq!(fetched(c.ask(l, 12, fetch(3, -1, 0, 0))).error_code, 0);
    // Less than is gone already: nothing moves back.
    let result = deleted(c.ask(l, 2, delete(1)));
    assert_eq!((result.error_code, result.low_watermark, starts(&c)), (0, 3, vec![3; 3]));
    // All there is, and what comes then is numbered on.
    assert_eq!(deleted(c.ask(l, 2, delete(-1))).low_watermark, 5);
    assert_eq!(produced(c.ask(l, 9, produce(-1, value("f")))).base_offset, 5);
    // It is still so after everybody's restart.
    c.run(61_000);
    for host in 1..=3 {
        c.kill(host);
        c.start(host);
    }
    c.run(3_000);
    assert_eq!(starts(&c), [5; 3]);
}

#[test]
fn a_follower_that_is_away_is_waited_for_until_it_is_fenced_or_time_is_up() {
    let (mut c, l) = with_five();
    let away = followers(&c)[0];
    c.cut = vec![(l, away)];
    let result = deleted(c.ask(l, 2, delete(2)));
    assert_eq!((result.error_code, result.low_watermark), (ResponseError::RequestTimedOut.code(), -1));
    // Its own log start moved all the same.
    assert_eq!(c.replica(l).log_start, Offset(2));
    assert_eq!(c.replica(away).log_start, Offset(0));
    c.cut.clear();
    c.run(40_000);
    assert_eq!(starts(&c), [2; 3]);
    // Whoever is fenced is not waited for.
    c.kill(away);
    c.run(20_000);
    assert_eq!(deleted(c.ask(l, 2, delete(4))).low_watermark, 4);
}

#[test]
fn a_leader_that_is_none_any_more_says_so_to_who_waits() {
    let (mut c, l) = with_five();
    c.cut = followers(&c).iter().map(|&f| (l, f)).collect();
    let conn = c.connect(l);
    let asked = c.send(l, conn, 2, delete(2).with_timeout_ms(60_000));
    c.run(100);
    assert!(c.answer(asked).is_none());
    c.shut_down(l);
    c.run(200);
    let result = deleted(c.answer(asked).expect("an answer before it goes"));
    assert_eq!((result.error_code, result.low_watermark), (ResponseError::NotLeaderOrFollower.code(), -1));
}

#[test]
fn what_cannot_be_deleted_is_refused() {
    let (mut c, l) = with_five();
    let mut error = |host: usize, request| deleted(c.ask(host, 2, request)).error_code;
    assert_eq!(error(l, delete(6)), ResponseError::OffsetOutOfRange.code());
    assert_eq!(error(l, delete(-2)), ResponseError::OffsetOutOfRange.code());
    assert_eq!(error(l, delete_in("nobody", 0, 1)), ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(error(l, delete_in(TOPIC, 7, 1)), ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(error(l % 3 + 1, delete(1)), ResponseError::NotLeaderOrFollower.code());
    assert_eq!(starts(&c), [0; 3]);
    let mut compacted = cluster(Truncation::Fetch, Defects::NONE, 1, |c| c.cleanup_policy = "compact".to_owned());
    let l = leader(&compacted);
    assert_eq!(deleted(compacted.ask(l, 2, delete(0))).error_code, ResponseError::PolicyViolation.code());
}
