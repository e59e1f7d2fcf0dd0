//! Coordinators come and go: what they know of a group is what the log says.

use super::*;
use crate::defects::Defect;

fn other(host: usize) -> usize {
    if host == 1 { 2 } else { 1 }
}

#[test]
fn what_was_committed_survives_the_coordinator() {
    let (mut c, host) = cluster();
    let (mut a, mut b) = (Member::new(&mut c, host), Member::new(&mut c, host));
    rebalance(&mut c, &mut [&mut a, &mut b]);
    assert_eq!(a.commit(&mut c, 0, 42), 0);
    let before = account(&c, host);
    c.kill(host);
    let next = find(&mut c, other(host));
    assert_ne!(next, host);
    assert_eq!(account(&c, next), before, "replaying the log gives the state there was");
    assert_eq!(fetch_offset(&mut c, next, 0, true), Ok(42));
    // The members go on where they were, in the same generation.
    (a.host, b.host) = (next, next);
    (a.conn, b.conn) = (c.connect(next), c.connect(next));
    assert_eq!((a.heartbeat(&mut c), b.heartbeat(&mut c)), (0, 0));
    assert_eq!(a.commit(&mut c, 0, 43), 0);
    // Fresh sessions run out for whoever does not come.
    c.run(1000);
    assert_eq!(account(&c, next).members.len(), 0);
    let loaded = |t: &TraceEvent| matches!(t, TraceEvent::CoordinatorLoaded { groups: 1, .. });
    assert!(c.traces.iter().any(|(h, t)| *h == next && loaded(t)));
}

#[test]
fn whoever_waits_is_told_when_the_coordinator_resigns() {
    let (mut c, host) = cluster();
    let mut a = Member::new(&mut c, host);
    let join = a.begin_join(&mut c);
    let by_hand = Member::new(&mut c, host);
    // In between, it loses its followers, so that a commit hangs; then it hands its partition over.
    c.shut_down(host);
    let commit = by_hand.send(&mut c, 9, by_hand.commit_request(0, 1));
    c.run(30);
    let ResponseKind::JoinGroup(r) = wait(&mut c, join) else { panic!() };
    assert!([0, code(ResponseError::NotCoordinator)].contains(&r.error_code), "{r:?}");
    c.run(3000);
    let next = find(&mut c, other(host));
    if let Some(answer) = c.answer(commit)
        && committed(answer) == 0
    {
        assert_eq!(fetch_offset(&mut c, next, 0, true), Ok(1));
    }
    assert!(c.marked(host, "coordinator-unloaded"));
}

/// A log that takes nothing for a while: a group that has become empty meanwhile is empty for the next coordinator, too,
/// and a KIP-848 member that has gone silent is put out when it can be written.
#[test]
fn what_could_not_be_written_is_written_later() {
    let (mut c, host) = cluster_with(Defects::NONE, |config| {
        quick(config);
        config.group_consumer_session = Duration::from_millis(3000);
    });
    let mut a = Member::new(&mut c, host);
    rebalance(&mut c, &mut [&mut a]);
    let others: Vec<usize> = (1..=3).filter(|&h| h != host).collect();
    for &h in &others {
        c.kill(h);
    }
    for _ in 0..10 {
        c.run(200);
        a.heartbeat(&mut c);
    }
    assert_eq!(a.leave(&mut c), 0);
    c.run(100);
    assert!(c.marked(host, "group-write-refused"));
    assert_eq!((account(&c, host).state, account(&c, host).generation), ("Empty", 2));
    for &h in &others {
        c.start(h);
    }
    c.run(4000);
    assert!(coordinated(&c, host).quiet);
    c.kill(host);
    let next = find(&mut c, other(host));
    assert_eq!((account(&c, next).state, account(&c, next).generation), ("Empty", 2));
}

fn tiny_chunks(config: &mut BrokerConfig) {
    quick(config);
    config.offsets_load_buffer = 200;
}

#[test]
fn a_log_of_many_chunks_is_loaded_whole_and_requests_wait() {
    let (mut c, host) = cluster_with(Defects::NONE, tiny_chunks);
    let by_hand = Member::new(&mut c, host);
    for n in 0..40 {
        assert_eq!(by_hand.commit(&mut c, n % 4, i64::from(n)), 0);
    }
    let before = account(&c, host);
    c.kill(host);
    let next = find(&mut c, other(host));
    assert_eq!(account(&c, next), before);
    assert!(c.marked(next, "coordinator-loaded-many-chunks"));
    for p in 0..4 {
        assert_eq!(fetch_offset(&mut c, next, p, true), Ok(36 + i64::from(p)));
    }
    let _ = by_hand;
}

#[test]
fn the_defect_keeps_what_the_first_chunk_said() {
    let (mut c, host) = cluster_with(Defects::NONE.with(Defect::LoadKeepsFirstChunk), tiny_chunks);
    let by_hand = Member::new(&mut c, host);
    for n in 0..40 {
        assert_eq!(by_hand.commit(&mut c, 0, n), 0);
    }
    c.kill(host);
    let next = find(&mut c, other(host));
    let found = fetch_offset(&mut c, next, 0, true).unwrap();
    assert!((0..39).contains(&found), "an old offset: {found}");
}

/// A disk that is slow to read makes the time of loading visible.
fn load_slowly(defects: Defects) -> Vec<Result<i64, i16>> {
    let (mut c, host) = cluster_with(defects, |config| {
        quick(config);
        config.offsets_load_buffer = 1;
    });
    let by_hand = Member::new(&mut c, host);
    for n in 0..60 {
        assert_eq!(by_hand.commit(&mut c, 0, n), 0);
    }
    c.kill(host);
    let mut seen = Vec::new();
    let asked: Vec<usize> = (1..=3).filter(|&h| h != host).collect();
    let mut sent = Vec::new();
    for _ in 0..40_000 {
        for &h in &asked {
            let elected = c
                .traces
                .iter()
                .rev()
                .take(40)
                .any(|(at, t)| *at == h && matches!(t, TraceEvent::BecameLeader { epoch, .. } if epoch.0 > 0));
            if elected && sent.is_empty() {
                let conn = c.connect(h);
                let m = Member { conn, host: h, id: String::new(), instance: None, generation: -1 };
                let t = kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic::default()
                    .with_name(TopicName(text(TOPIC)))
                    .with_partition_indexes(vec![0]);
                let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![t]));
                sent.push(m.send(&mut c, 5, request));
            }
        }
        if let Some(&correlation) = sent.first()
            && let Some(ResponseKind::OffsetFetch(r)) = c.answer(correlation)
        {
            let offset = r.topics.first().map(|t| t.partitions[0].committed_offset);
            seen.push(offset.ok_or(r.error_code));
            break;
        }
        c.run_micros(50);
    }
    seen
}

#[test]
fn nobody_is_served_before_the_log_is_replayed() {
    let answer = load_slowly(Defects::NONE);
    let refused = [code(ResponseError::CoordinatorLoadInProgress), code(ResponseError::NotCoordinator)];
    assert!(matches!(&answer[..], [Err(e)] if refused.contains(e)) || answer == [Ok(59)], "{answer:?}");
    let wrong = load_slowly(Defects::NONE.with(Defect::ServeBeforeReplay));
    assert!(matches!(wrong[..], [Ok(offset)] if offset < 59), "{wrong:?}");
}
