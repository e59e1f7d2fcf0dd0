//! Committed offsets: what is told of them, and when they are forgotten.

use super::*;

#[test]
fn commits_wait_for_the_replicas_and_stable_readers_wait_for_commits() {
    let (mut c, host) = cluster();
    let by_hand = Member::new(&mut c, host);
    assert_eq!(by_hand.commit(&mut c, 0, 7), 0);
    assert_eq!(fetch_offset(&mut c, host, 0, false), Ok(7));
    assert_eq!(fetch_offset(&mut c, host, 1, false), Ok(-1));
    // Cut off from its followers, the coordinator can write and not commit.
    c.cut = (1..=3).filter(|&h| h != host).map(|h| (host, h)).collect();
    let late = by_hand.send(&mut c, 9, by_hand.commit_request(0, 9));
    c.run(20);
    assert_eq!(fetch_offset(&mut c, host, 0, false), Ok(7), "what is not committed is not told");
    assert!(c.answer(late).is_none());
    assert_eq!(fetch_offset(&mut c, host, 0, true), Err(code(ResponseError::CoordinatorNotAvailable)));
    assert_eq!(committed(wait(&mut c, late)), code(ResponseError::CoordinatorNotAvailable));
    assert!(c.marked(host, "group-write-timed-out"));
    // It was not taken back, though: it takes effect when it is committed after all.
    c.cut.clear();
    c.run(35_000);
    assert_eq!(fetch_offset(&mut c, host, 0, true), Ok(9));
}

#[test]
fn too_few_replicas_refuse_a_commit_and_nothing_of_it_remains() {
    let (mut c, host) = cluster();
    let by_hand = Member::new(&mut c, host);
    assert_eq!(by_hand.commit(&mut c, 0, 7), 0);
    for h in (1..=3).filter(|&h| h != host) {
        c.kill(h);
    }
    c.run(2500);
    assert_eq!(by_hand.commit(&mut c, 0, 8), code(ResponseError::CoordinatorNotAvailable));
    // Nor does a group begin.
    let a = Member::new(&mut c, host);
    let mut join = a.join_request();
    join.group_id = GroupId(text("another"));
    let ResponseKind::JoinGroup(r) = a.ask(&mut c, 9, join) else { panic!() };
    assert_eq!(r.error_code, code(ResponseError::CoordinatorNotAvailable));
    assert!(!coordinated(&c, host).groups.contains_key("another"));
    assert_eq!(fetch_offset(&mut c, host, 0, false), Ok(7));
}

#[test]
fn every_version_fetches() {
    let (mut c, host) = cluster();
    let by_hand = Member::new(&mut c, host);
    assert_eq!(by_hand.commit(&mut c, 2, 11), 0);
    for version in 1..=7 {
        use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
        let t = OffsetFetchRequestTopic::default().with_name(TopicName(text(TOPIC))).with_partition_indexes(vec![2]);
        let topics = if version == 1 || version == 6 { Some(vec![t]) } else { None };
        let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(topics);
        let ResponseKind::OffsetFetch(r) = c.ask(host, version, request) else { panic!() };
        let p = &r.topics[0].partitions[0];
        assert_eq!((p.partition_index, p.committed_offset, p.metadata.as_deref()), (2, 11, Some("note")));
    }
    let elsewhere = (1..=3).find(|&h| h != host).unwrap();
    assert_eq!(fetch_offset(&mut c, elsewhere, 2, false), Err(code(ResponseError::NotCoordinator)));
    let mut unknown = by_hand.commit_request(0, 1);
    unknown.topics[0].name = TopicName(text("nothing"));
    assert_eq!(committed(by_hand.ask(&mut c, 9, unknown)), code(ResponseError::UnknownTopicOrPartition));
    let mut long = by_hand.commit_request(0, 1);
    long.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(5000)));
    assert_eq!(committed(by_hand.ask(&mut c, 9, long)), code(ResponseError::OffsetMetadataTooLarge));
}

fn short_retention(config: &mut BrokerConfig) {
    quick(config);
    config.offsets_retention_minutes = 1;
    config.offsets_retention_check = Duration::from_secs(5);
    config.group_max_session = Duration::from_secs(3600);
}

/// A quiet group: one member with a long session commits once, and then only its session keeps it.
fn quiet_group(c: &mut Cluster, host: usize) -> Member {
    let mut a = Member::new(c, host);
    let mut request = a.join_request().with_session_timeout_ms(3_000_000);
    let ResponseKind::JoinGroup(r) = a.ask(c, 9, request.clone()) else { panic!() };
    a.id = r.member_id.to_string();
    request.member_id = text(&a.id);
    let join = a.send(c, 9, request);
    a.end_join(c, join);
    let given = [(a.id.as_str(), assignment(&[0]))];
    let ResponseKind::SyncGroup(r) = a.ask(c, 5, a.sync_request(&given)) else { panic!() };
    assert_eq!(r.error_code, 0);
    assert_eq!(a.commit(c, 0, 5), 0);
    a
}

#[test]
fn offsets_expire_after_their_group_has_been_empty_for_long_and_not_before() {
    let (mut c, host) = cluster_with(Defects::NONE, short_retention);
    let a = quiet_group(&mut c, host);
    c.run(120_000);
    assert_eq!(fetch_offset(&mut c, host, 0, true), Ok(5), "a live group keeps its offsets, however old");
    assert_eq!(a.leave(&mut c), 0);
    c.run(50_000);
    assert_eq!(fetch_offset(&mut c, host, 0, true), Ok(5), "not a minute yet");
    c.run(20_000);
    assert_eq!(fetch_offset(&mut c, host, 0, true), Ok(-1));
    assert!(coordinated(&c, host).groups.is_empty(), "the group went with them");
    let gone = |t: &TraceEvent| matches!(t, TraceEvent::OffsetCommitted { offset: None, .. });
    assert!(c.traces.iter().any(|(_, t)| gone(t)));
    // Nor does another coordinator find it.
    c.kill(host);
    let host = find(&mut c, if host == 1 { 2 } else { 1 });
    assert_eq!(fetch_offset(&mut c, host, 0, true), Ok(-1));
}

#[test]
fn the_defect_lets_offsets_of_a_live_group_expire() {
    let defects = Defects::NONE.with(crate::defects::Defect::OffsetExpiryWrong);
    let (mut c, host) = cluster_with(defects, short_retention);
    quiet_group(&mut c, host);
    c.run(70_000);
    assert_eq!(fetch_offset(&mut c, host, 0, true), Ok(-1));
}
