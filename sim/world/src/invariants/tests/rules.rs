//! In-sync replicas, fencing, producers, the metadata log, deletion, claims against the disk.

use super::*;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

#[test]
fn in_sync_replicas() {
    // A fenced member.
    let mut w = World::new();
    w.commit(vec![fence(3, 30, true)]);
    w.only(Check::IsrLegal);

    // Fencing with the shrink in one batch is legal, whatever the order.
    let mut w = World::new();
    let shrink = PartitionChangeRecord { isr: Some(ids(&[1, 2])), ..PartitionChangeRecord::of(P) };
    w.commit(vec![fence(3, 30, true), MetadataRecord::PartitionChange(shrink.clone())]);
    w.silent();

    // Joining below the leader epoch's start.
    let mut w = World::new();
    w.commit(vec![MetadataRecord::PartitionChange(shrink.clone())]);
    w.install(1, 1, &[1, 2]);
    let data = batch(0, 3, 0, (5, 0, 0), b"first");
    w.write(1, &data);
    w.append(2, &data);
    w.end_process(1, Ending::Killed);
    w.change(|c| (c.isr, c.leader) = (Some(ids(&[2])), Some(NodeId(2))));
    w.commit(vec![fence(1, 10, true)]);
    w.lead(2, 1, 2, 3, &[2], 0);
    w.silent();
    w.change(|c| c.isr = Some(ids(&[2, 3])));
    w.only(Check::IsrLegal);

    // With an old broker epoch.
    let mut w = World::new();
    w.commit(vec![MetadataRecord::PartitionChange(shrink)]);
    w.alter(&[(1, 10), (2, 20), (3, 29)], 1, 10, 0, 0);
    w.change(|c| c.isr = Some(ids(&ALL)));
    w.only(Check::IsrLegal);

    // The leader works with another one.
    let mut w = World::new();
    w.install(1, 0, &[1, 2]);
    w.only(Check::IsrLegal);
}

impl World {
    /// An AlterPartition by broker 1, answered with `error` for the partition.
    fn alter(&mut self, isr: &[(i32, i64)], version: i32, broker_epoch: i64, leader_epoch: i32, error: i16) {
        self.correlation += 1;
        let correlation = self.correlation;
        let state = |&(id, epoch): &(i32, i64)| {
            alter_partition_request::BrokerState::default().with_broker_id(BrokerId(id)).with_broker_epoch(epoch)
        };
        let partition = alter_partition_request::PartitionData::default()
            .with_partition_index(0)
            .with_leader_epoch(leader_epoch)
            .with_partition_epoch(version)
            .with_new_isr_with_epochs(isr.iter().map(state).collect());
        let topic =
            alter_partition_request::TopicData::default().with_topic_id(TOPIC.0).with_partitions(vec![partition]);
        let request = AlterPartitionRequest::default()
            .with_broker_id(BrokerId(1))
            .with_broker_epoch(broker_epoch)
            .with_topics(vec![topic]);
        let request = RequestKind::AlterPartition(request);
        let (from, to) = (end(NodeRef(1)), end(NodeRef(0)));
        self.event(0, What::RequestTaken { from, to, correlation, version: 3, request: &request });
        let partition =
            alter_partition_response::PartitionData::default().with_partition_index(0).with_error_code(error);
        let topic =
            alter_partition_response::TopicData::default().with_topic_id(TOPIC.0).with_partitions(vec![partition]);
        let response = ResponseKind::AlterPartition(AlterPartitionResponse::default().with_topics(vec![topic]));
        self.event(0, What::ResponseSent { from: to, to: from, correlation, version: 3, response: &response });
    }
}

#[test]
fn stale_epochs_are_refused() {
    let mut w = World::new();
    w.three_committed();
    w.fail_over(3, 3);
    let ask = w.fetch(3, 2, 0, 3);
    w.fetched(2, ask, 74, -1, None);
    w.silent();
    let ask = w.fetch(3, 2, 0, 3);
    w.fetched(2, ask, 0, 3, None);
    w.only(Check::Fencing);

    let mut w = World::new();
    w.three_committed();
    w.fail_over(3, 3);
    w.alter(&[(1, 10)], 0, 10, 0, 74);
    w.silent();
    w.alter(&[(1, 10)], 0, 10, 0, 0);
    w.only(Check::Fencing);

    let mut w = World::new();
    w.commit(vec![register(1, 44)]);
    let mut w2 = World::new();
    w2.alter(&[(1, 10), (2, 20), (3, 30)], 0, 10, 0, 0);
    w2.silent();
    w.alter(&[(1, 10), (2, 20), (3, 30)], 0, 10, 0, 0);
    w.fires(Check::Fencing);
}

#[test]
fn sequences() {
    let mut w = World::new();
    w.write(1, &batch(0, 2, 0, (5, 0, 0), b"a"));
    w.write(1, &batch(2, 2, 0, (5, 0, 2), b"b"));
    w.write(1, &batch(4, 1, 0, (5, 1, 0), b"c"));
    w.write(1, &batch(5, 1, 0, (6, 3, 17), b"d"));
    w.silent();
    let unknown: Vec<_> = w.judge.unknown_producers().iter().map(|u| (u.partition, u.producer)).collect();
    assert_eq!(unknown, [(P, ProducerId(6))], "a leader that knows nothing of a producer takes any batch");
    w.write(1, &batch(6, 1, 0, (5, 1, 0), b"repeated"));
    w.only(Check::SequenceContiguous);

    let mut w = World::new();
    w.write(1, &batch(0, 2, 0, (5, 1, 0), b"a"));
    w.write(1, &batch(2, 1, 0, (5, 0, 7), b"old epoch"));
    w.only(Check::Fencing);

    let mut w = World::new();
    w.write(1, &batch(0, 2, 0, (5, 0, i32::MAX - 1), b"a"));
    w.write(1, &batch(2, 1, 0, (5, 0, 0), b"wrapped"));
    w.silent();
    w.write(1, &batch(3, 1, 0, (5, 0, 2), b"gap"));
    w.only(Check::SequenceContiguous);
}

#[test]
fn a_batch_that_nobody_sent() {
    let mut w = World::new();
    w.append(1, &batch(0, 1, 0, (5, 0, 0), b"made up"));
    w.only(Check::BatchIntegrity);

    let mut w = World::new();
    let mut rotten = batch(0, 1, 0, (5, 0, 0), b"abc");
    *rotten.last_mut().expect("a body") ^= 1;
    w.append(2, &rotten);
    w.only(Check::BatchIntegrity);
}

#[test]
fn spurious_resets() {
    let mut w = World::new();
    w.three_committed();
    let ask = w.fetch(-1, 1, 0, 7);
    w.fetched(1, ask, 1, -1, None);
    w.silent();
    let ask = w.fetch(-1, 1, 0, 2);
    w.fetched(1, ask, 1, -1, None);
    w.only(Check::NoSpuriousReset);
}

#[test]
fn the_metadata_log() {
    let mut w = World::new();
    w.trace(1, TraceEvent::MetadataApplied { offset: Offset(w.metadata), epoch: LeaderEpoch(1) });
    w.silent();
    w.trace(1, TraceEvent::MetadataApplied { offset: Offset(w.metadata + 1), epoch: LeaderEpoch(1) });
    w.only(Check::MetadataPrefix);

    let mut w = World::new();
    let again = TraceEvent::MetadataCommitted {
        offset: Offset(0),
        epoch: LeaderEpoch(1),
        batch_end: true,
        record: Arc::new(MetadataRecord::NoOp),
    };
    w.trace(0, again);
    w.only(Check::MetadataPrefix);

    let mut w = World::new();
    w.commit_undurably(vec![MetadataRecord::NoOp], false);
    w.only(Check::QuorumSafety);
}

#[test]
fn ids_are_given_once() {
    let mut w = World::new();
    w.commit(vec![register(2, 10)]);
    w.fires(Check::UniqueIds);

    let mut w = World::new();
    let given = ResponseKind::InitProducerId(InitProducerIdResponse::default().with_producer_id(7.into()));
    let (from, to) = (end(NodeRef(1)), end(CLIENT));
    w.event(1, What::ResponseSent { from, to, correlation: 1, version: 4, response: &given });
    w.silent();
    w.event(1, What::ResponseSent { from, to, correlation: 2, version: 4, response: &given });
    w.only(Check::UniqueIds);
}

#[test]
fn deletions() {
    let mut w = World::new();
    w.three_committed();
    w.trace(1, TraceEvent::LogStart { partition: P, log_start: Offset(3), reason: LogStartReason::Retention });
    w.only(Check::DeletionLegal);
}

/// A leader with one batch of three records committed and one under way in a second segment; `spare` bytes more than
/// that one are to be kept.
fn with_retention(spare: usize) -> World {
    let mut w = World::new();
    w.three_committed();
    let second = batch(3, 1, 0, (5, 0, 3), b"second");
    let value = Some((second.len() + spare).to_string());
    let (resource_name, name) = ("t".to_owned(), "retention.bytes".to_owned());
    w.commit(vec![MetadataRecord::Config { resource_type: 2, resource_name, name, value }]);
    w.produce(1, -1, &second);
    w.asked(1, &DiskOp::Append { file: Path::new("t-0/00000000000000000003.log"), data: second.into() });
    w
}

fn start_moves(w: &mut World, node: u16, reason: LogStartReason) {
    w.trace(node, TraceEvent::LogStart { partition: P, log_start: Offset(3), reason });
}

#[test]
fn deletions_by_size_leave_what_is_to_be_kept() {
    let mut w = with_retention(0);
    start_moves(&mut w, 1, LogStartReason::Retention);
    w.silent();
    let mut w = with_retention(1);
    start_moves(&mut w, 1, LogStartReason::Retention);
    w.only(Check::DeletionLegal);
}

#[test]
fn records_are_deleted_as_far_as_somebody_asked() {
    let asked = |to: Option<i64>| {
        let mut w = with_retention(0);
        if let Some(to) = to {
            let part = DeleteRecordsPartition::default().with_partition_index(0).with_offset(to);
            let topic = DeleteRecordsTopic::default()
                .with_name(TopicName(StrBytes::from_static_str("t")))
                .with_partitions(vec![part]);
            w.request(1, 2, &DeleteRecordsRequest::default().with_topics(vec![topic]).into());
        }
        start_moves(&mut w, 1, LogStartReason::DeleteRecords);
        w
    };
    asked(Some(3)).silent();
    asked(Some(-1)).silent();
    asked(Some(2)).only(Check::DeletionLegal);
    asked(None).only(Check::DeletionLegal);
}

/// A follower deletes by itself, and may then lead: what it has no more, nobody can be held to (seed
/// 0xaf737daf482c37d3 of retention-and-truncation).
#[test]
fn a_follower_far_behind_gives_up_what_its_new_leader_deleted_while_it_followed() {
    let story = |deleted: bool| {
        let mut w = with_retention(0);
        let second = batch(3, 1, 0, (5, 0, 3), b"second");
        w.asked(2, &DiskOp::Append { file: Path::new("t-0/00000000000000000003.log"), data: second.into() });
        if deleted {
            start_moves(&mut w, 2, LogStartReason::Retention);
        }
        w.fail_over(3, 3);
        w.truncated(3, 3, 3, TruncationReason::OutOfRange);
        w
    };
    story(true).silent();
    story(false).only(Check::TruncationJustified);
}

#[test]
fn a_followers_log_start_moves_after_its_leaders() {
    let mut w = with_retention(0);
    start_moves(&mut w, 1, LogStartReason::Retention);
    start_moves(&mut w, 2, LogStartReason::Leader);
    w.silent();
    let mut w = with_retention(0);
    start_moves(&mut w, 2, LogStartReason::Leader);
    w.only(Check::DeletionLegal);
}

#[test]
fn a_log_that_lost_all_to_retention_still_ends_where_it_did() {
    let gone = DiskOp::Rename {
        from: Path::new("t-0/00000000000000000000.log"),
        to: Path::new("t-0/00000000000000000000.log.deleted"),
    };
    let mut w = with_retention(0);
    start_moves(&mut w, 1, LogStartReason::Retention);
    start_moves(&mut w, 2, LogStartReason::Leader);
    w.disk(2, gone.clone());
    w.watermark(2, 0, false, 3, 3);
    w.silent();
    // Without a log start it is a tail that went.
    let mut w = with_retention(0);
    w.disk(2, gone);
    w.watermark(2, 0, false, 3, 3);
    w.only(Check::TraceContradicted);
}

#[test]
fn claims_beyond_the_disk() {
    let mut w = World::new();
    w.load(2, 0, 9);
    w.only(Check::TraceContradicted);

    let mut w = World::new();
    w.watermark(1, 0, true, 0, 5);
    w.only(Check::TraceContradicted);
}

#[test]
fn appends_in_flight_at_a_crash_are_settled_by_the_load() {
    let data = batch(0, 2, 0, (5, 0, 0), b"a");
    let op = DiskOp::Append { file: Path::new("t-0/00000000000000000000.log"), data: data.clone().into() };
    for log_end in [0, 2] {
        let mut w = World::new();
        w.produce(1, -1, &data);
        w.asked(1, &op);
        w.end_process(1, Ending::Killed);
        w.load(1, 0, log_end);
        w.silent();
    }
    // A failed append is none.
    let mut w = World::new();
    w.produce(1, -1, &data);
    w.asked(1, &op);
    w.event(1, What::DiskDone { op: &op, result: &Err(DiskError::Io) });
    w.watermark(1, 0, true, 0, 2);
    w.only(Check::TraceContradicted);
}

#[test]
fn what_was_under_way_behind_a_failed_append_is_held_by_nobody() {
    let append = |data: &[u8]| DiskOp::Append {
        file: Path::new("t-0/00000000000000000000.log"),
        data: Bytes::copy_from_slice(data),
    };
    let (first, second) = (batch(0, 2, 0, (5, 0, 0), b"a"), batch(2, 1, 0, (6, 0, 0), b"b"));
    let both = || {
        let mut w = World::new();
        w.produce(1, -1, &first);
        w.produce(1, -1, &second);
        w.asked(1, &append(&first));
        w.asked(1, &append(&second));
        w.event(1, What::DiskDone { op: &append(&first), result: &Err(DiskError::Io) });
        w.event(1, What::DiskDone { op: &append(&second), result: &Ok(DiskReply::Done) });
        w
    };
    // The process ends; recovery finds nothing that continues the log.
    let mut w = both();
    w.end_process(1, Ending::Killed);
    w.load(1, 0, 0);
    w.silent();
    // Or it goes on as if it had them.
    let mut w = both();
    w.watermark(1, 0, true, 0, 3);
    w.only(Check::TraceContradicted);
    // What is asked for after the failure is judged as ever.
    let mut w = both();
    w.append(1, &batch(0, 1, 0, (7, 0, 0), b"c"));
    w.append(1, &batch(2, 1, 0, (7, 0, 1), b"d"));
    w.fires(Check::BatchIntegrity);
}

#[test]
fn a_panic_is_a_crash() {
    let mut w = World::new();
    w.end_process(2, Ending::Panicked { message: "broken".into() });
    w.only(Check::Crash);
}

#[test]
fn a_log_that_nobody_loads_is_settled_by_what_is_appended() {
    let file = Path::new("__cluster_metadata-0/00000000000000000000.log");
    let op = |base: i64, body: &[u8]| DiskOp::Append {
        file: file.clone(),
        data: batch(base, 1, 1, (-1, -1, -1), body).into(),
    };
    for survived in [false, true] {
        let mut w = World::new();
        let next = w.metadata;
        w.asked(0, &op(next, b"in flight"));
        w.end_process(0, Ending::Killed);
        let next = next + i64::from(survived);
        let data = batch(next, 1, 2, (-1, -1, -1), b"after");
        w.disk(0, DiskOp::Append { file: file.clone(), data: data.into() });
        w.silent();
    }
}

#[test]
fn a_withdrawn_proposal_binds_no_longer() {
    let mut w = World::new();
    w.propose(1, &[1, 2], &ALL);
    w.change(|c| c.isr = Some(ids(&[1, 2])));
    w.install(1, 1, &[1, 2]);
    w.propose(1, &ALL, &ALL);
    w.install(1, 1, &[1, 2]);
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    w.write(1, &data);
    w.append(2, &data);
    w.fetch(2, 1, 0, 1);
    w.watermark(1, 0, true, 1, 1);
    w.silent();
}

#[test]
fn leadership_may_begin_with_appends_in_flight() {
    let mut w = World::new();
    let data = w.three_committed();
    let tail = batch(3, 1, 0, (5, 0, 3), b"tail");
    w.asked(2, &DiskOp::Append { file: Path::new("t-0/00000000000000000000.log"), data: tail.into() });
    w.fail_over(4, 3);
    w.silent();
    assert!(!data.is_empty());
}

#[test]
fn a_log_given_up_wholly_holds_nothing_that_is_kept() {
    let mut w = World::new();
    w.three_committed();
    w.truncated(3, 3, 9, TruncationReason::OutOfRange);
    w.only(Check::TruncationJustified);
}
