//! KIP-848 groups: joining, giving up and taking over, epochs, static members.

use super::*;
use crate::defects::Defect;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeSet;

/// A client of the new protocol, as honest as can be: what it uses is what it says it uses.
#[derive(Clone, Debug)]
struct Modern {
    conn: ConnId,
    host: usize,
    id: String,
    instance: Option<&'static str>,
    epoch: i32,
    uses: BTreeSet<i32>,
    topic: Uuid,
    assignor: Option<&'static str>,
    /// It lost an answer: it says everything again.
    lost: bool,
}

impl Modern {
    fn new(c: &mut Cluster, host: usize, id: &str) -> Modern {
        let topic = c.controller().partitions.iter().find(|p| p.topic == TOPIC).unwrap().partition.topic.0;
        let conn = c.connect(host);
        Modern {
            conn,
            host,
            id: id.into(),
            instance: None,
            epoch: 0,
            uses: BTreeSet::new(),
            topic,
            assignor: None,
            lost: false,
        }
    }
    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let owned = if self.uses.is_empty() {
            vec![]
        } else {
            let partitions = self.uses.iter().copied().collect();
            vec![TopicPartitions::default().with_topic_id(self.topic).with_partitions(partitions)]
        };
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(text(&self.id))
            .with_member_epoch(self.epoch)
            .with_instance_id(self.instance.map(text))
            .with_server_assignor(self.assignor.map(text))
            .with_topic_partitions(Some(owned));
        if self.epoch != 0 && !self.lost {
            return request;
        }
        request.with_rebalance_timeout_ms(2000).with_subscribed_topic_names(Some(vec![TopicName(text(TOPIC))]))
    }
    fn ask(&self, c: &mut Cluster, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let correlation = c.send(self.host, self.conn, 1, request);
        match wait(c, correlation) {
            ResponseKind::ConsumerGroupHeartbeat(r) => r,
            other => panic!("{other:?}"),
        }
    }
    /// One heartbeat. What is taken away is dropped at once, what is given is used at once.
    fn beat(&mut self, c: &mut Cluster) -> i16 {
        let r = self.ask(c, self.request());
        self.hear(&r);
        r.error_code
    }
    fn hear(&mut self, r: &ConsumerGroupHeartbeatResponse) {
        if r.error_code == 0 {
            self.lost = false;
            self.epoch = r.member_epoch;
            if let Some(a) = &r.assignment {
                self.uses = a.topic_partitions.iter().flat_map(|t| t.partitions.iter().copied()).collect();
            }
        }
    }
    fn leave(&mut self, c: &mut Cluster, epoch: i32) -> i16 {
        let code = self.ask(c, self.request().with_member_epoch(epoch)).error_code;
        (self.epoch, self.uses) = (0, BTreeSet::new());
        code
    }
    fn commit(&self, c: &mut Cluster, epoch: i32) -> i16 {
        let m = Member {
            conn: c.connect(self.host),
            host: self.host,
            id: self.id.clone(),
            instance: None,
            generation: epoch,
        };
        m.commit(c, 0, 9)
    }
}

fn settle(c: &mut Cluster, members: &mut [&mut Modern]) {
    for _ in 0..6 {
        for m in members.iter_mut() {
            assert_eq!(m.beat(c), 0, "{m:?}");
        }
    }
}

fn counts(members: &[&Modern]) -> Vec<usize> {
    let all: Vec<i32> = members.iter().flat_map(|m| m.uses.iter().copied()).collect();
    assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len(), "nothing is used twice");
    members.iter().map(|m| m.uses.len()).collect()
}

#[test]
fn a_member_gives_up_before_another_one_gets() {
    let (mut c, host) = cluster();
    let (mut a, mut b) = (Modern::new(&mut c, host, "a"), Modern::new(&mut c, host, "b"));
    assert_eq!(a.beat(&mut c), 0);
    assert_eq!((a.epoch, a.uses.len()), (1, 4));
    let g = account(&c, host);
    assert_eq!((g.state, g.kind, g.generation, g.members["a"].epoch), ("Stable", "consumer", 1, 1));
    // The second one's arrival raises the epoch; its part is still in use.
    assert_eq!(b.beat(&mut c), 0);
    assert_eq!((b.epoch, b.uses.len()), (2, 0));
    assert_eq!(account(&c, host).state, "Reconciling");
    // The first one is told to give two up, and stays in its epoch until it says that it did.
    let told = a.ask(&mut c, a.request());
    let left: Vec<i32> = told.assignment.clone().unwrap().topic_partitions[0].partitions.clone();
    assert_eq!((told.member_epoch, left.len()), (1, 2));
    assert_eq!(b.beat(&mut c), 0);
    assert_eq!(b.uses.len(), 0, "not given up yet");
    let still = a.ask(&mut c, a.request());
    assert_eq!((still.error_code, still.member_epoch, still.assignment), (0, 1, None), "it still uses them");
    a.hear(&told);
    assert_eq!(a.beat(&mut c), 0);
    assert_eq!(a.epoch, 2);
    assert_eq!(b.beat(&mut c), 0);
    assert_eq!(counts(&[&a, &b]), [2, 2]);
    assert_eq!(account(&c, host).state, "Stable");
    // When one leaves, the other gets all.
    assert_eq!(b.leave(&mut c, -1), 0);
    settle(&mut c, &mut [&mut a]);
    assert_eq!((a.uses.len(), account(&c, host).members.len()), (4, 1));
    assert_eq!(b.beat(&mut c), 0, "and it may come again");
    let traced = c.traces.iter().any(
        |(_, t)| matches!(t, TraceEvent::MemberAssignment { pending_revocation, .. } if pending_revocation.len() == 2),
    );
    assert!(traced);
    let states: Vec<&str> = c
        .traces
        .iter()
        .filter_map(|(_, t)| match t {
            TraceEvent::GroupState { to, .. } => Some(*to),
            _ => None,
        })
        .collect();
    assert_eq!(states[..4], ["Stable", "Reconciling", "Stable", "Assigning"]);
}

#[test]
fn epochs_fence() {
    let (mut c, host) = cluster();
    let mut a = Modern::new(&mut c, host, "a");
    a.beat(&mut c);
    let with = |epoch: i32| Modern { epoch, ..a.clone() };
    assert_eq!(with(7).beat(&mut c), code(ResponseError::FencedMemberEpoch));
    assert_eq!(a.commit(&mut c, 1), 0);
    assert_eq!(a.commit(&mut c, 0), code(ResponseError::StaleMemberEpoch));
    let mut b = Modern::new(&mut c, host, "b");
    b.beat(&mut c);
    settle(&mut c, &mut [&mut a, &mut b]);
    assert_eq!(a.epoch, 2);
    // The epoch before is good if an answer was lost: with nothing in use that it must not use.
    let mut late = Modern { epoch: 1, ..a.clone() };
    assert_eq!(late.beat(&mut c), 0);
    assert_eq!(late.epoch, 2);
    let mut greedy = Modern { epoch: 1, uses: (0..4).collect(), ..a.clone() };
    assert_eq!(greedy.beat(&mut c), code(ResponseError::FencedMemberEpoch));
    assert_eq!(a.commit(&mut c, 1), code(ResponseError::StaleMemberEpoch));
    let mut nobody = Modern { id: "x".into(), epoch: 2, ..a.clone() };
    assert_eq!(nobody.beat(&mut c), code(ResponseError::UnknownMemberId));
    assert_eq!(nobody.commit(&mut c, 2), code(ResponseError::UnknownMemberId));
    // A fenced member begins anew under its id.
    let mut again = Modern { epoch: 0, uses: BTreeSet::new(), ..a.clone() };
    assert_eq!(again.beat(&mut c), 0);
    assert_eq!((again.epoch, again.uses.len()), (2, 2));
}

#[test]
fn bad_requests_are_refused() {
    let (mut c, host) = cluster();
    let a = Modern::new(&mut c, host, "a");
    let invalid = code(ResponseError::InvalidRequest);
    assert_eq!(a.ask(&mut c, a.request().with_member_id(text(""))).error_code, invalid, "version 1");
    assert_eq!(a.ask(&mut c, a.request().with_rebalance_timeout_ms(-1)).error_code, invalid);
    assert_eq!(a.ask(&mut c, a.request().with_topic_partitions(None)).error_code, invalid);
    assert_eq!(a.ask(&mut c, a.request().with_member_epoch(-3)).error_code, invalid);
    assert_eq!(a.ask(&mut c, a.request().with_member_epoch(-2)).error_code, invalid, "not static");
    let other = a.request().with_server_assignor(Some(text("best")));
    assert_eq!(a.ask(&mut c, other).error_code, code(ResponseError::UnsupportedAssignor));
    assert_eq!(a.ask(&mut c, a.request().with_member_epoch(3)).error_code, code(ResponseError::GroupIdNotFound));
    // Version 0 gives out the id.
    let correlation = c.send(host, a.conn, 0, a.request().with_member_id(text("")));
    let ResponseKind::ConsumerGroupHeartbeat(r) = wait(&mut c, correlation) else { panic!() };
    assert!(r.error_code == 0 && !r.member_id.unwrap().is_empty());
}

#[test]
fn static_members_go_and_come_without_moving_anything() {
    let (mut c, host) = cluster();
    let mut a = Modern { instance: Some("one"), ..Modern::new(&mut c, host, "a") };
    let mut b = Modern { instance: Some("two"), ..Modern::new(&mut c, host, "b") };
    a.beat(&mut c);
    b.beat(&mut c);
    settle(&mut c, &mut [&mut a, &mut b]);
    let (had, epoch) = (b.uses.clone(), account(&c, host).generation);
    let mut again = Modern { instance: Some("two"), ..Modern::new(&mut c, host, "b2") };
    assert_eq!(again.beat(&mut c), code(ResponseError::UnreleasedInstanceId), "its former self is still there");
    assert_eq!(b.leave(&mut c, -2), 0);
    settle(&mut c, &mut [&mut a]);
    assert_eq!(a.uses.len(), 2, "nobody takes what it will come back to");
    assert_eq!(again.beat(&mut c), 0);
    assert_eq!((again.uses.clone(), account(&c, host).generation), (had, epoch));
    let mut former = Modern { epoch: 2, ..b.clone() };
    assert_eq!(former.beat(&mut c), code(ResponseError::FencedInstanceId));
    // The next coordinator knows it all.
    let before = account(&c, host);
    c.kill(host);
    let next = find(&mut c, if host == 1 { 2 } else { 1 });
    assert_eq!(account(&c, next), before);
}

#[test]
fn a_member_that_cannot_be_put_out_now_is_put_out_later() {
    let (mut c, host) = cluster_with(Defects::NONE, short_sessions);
    let mut a = Modern::new(&mut c, host, "a");
    a.beat(&mut c);
    let others: Vec<usize> = (1..=3).filter(|&h| h != host).collect();
    for &h in &others {
        c.kill(h);
    }
    for _ in 0..10 {
        c.run(200);
        assert_eq!(a.beat(&mut c), 0);
    }
    c.run(2000);
    assert!(c.marked(host, "group-write-refused"));
    assert_eq!(account(&c, host).members.len(), 1);
    for &h in &others {
        c.start(h);
    }
    c.run(4000);
    assert_eq!(account(&c, host).members.len(), 0);
}

fn short_sessions(config: &mut BrokerConfig) {
    quick(config);
    config.group_consumer_session = Duration::from_millis(800);
    config.group_consumer_max_size = 2;
}

#[test]
fn silent_members_and_those_that_do_not_give_up_are_put_out() {
    let (mut c, host) = cluster_with(Defects::NONE, short_sessions);
    let (mut a, mut b) = (Modern::new(&mut c, host, "a"), Modern::new(&mut c, host, "b"));
    a.beat(&mut c);
    b.beat(&mut c);
    let mut d = Modern::new(&mut c, host, "d");
    assert_eq!(d.beat(&mut c), code(ResponseError::GroupMaxSizeReached));
    settle(&mut c, &mut [&mut a, &mut b]);
    for _ in 0..4 {
        c.run(300);
        assert_eq!(a.beat(&mut c), 0);
    }
    assert!(c.marked(host, "member-expired"));
    assert_eq!(a.beat(&mut c), 0);
    assert_eq!(a.uses.len(), 4);
    assert_eq!(b.beat(&mut c), code(ResponseError::UnknownMemberId));
    // Another comes; `a` goes on using what it should give up, beyond its rebalance timeout.
    assert_eq!(d.beat(&mut c), 0);
    for _ in 0..9 {
        c.run(300);
        a.ask(&mut c, a.request());
        d.beat(&mut c);
    }
    assert!(c.marked(host, "member-missed-rebalance"));
    assert_eq!(a.ask(&mut c, a.request()).error_code, code(ResponseError::UnknownMemberId));
    d.beat(&mut c);
    assert_eq!(d.uses.len(), 4);
    let reasons: Vec<_> = c
        .traces
        .iter()
        .filter_map(|(_, t)| match t {
            TraceEvent::MemberRemoved { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect();
    use crate::trace::RemovalReason::{RebalanceExpired, SessionExpired};
    assert_eq!(reasons, [SessionExpired, RebalanceExpired]);
}

#[test]
fn new_partitions_are_given_out() {
    let (mut c, host) = cluster();
    let mut a = Modern { assignor: Some("range"), ..Modern::new(&mut c, host, "a") };
    a.beat(&mut c);
    assert_eq!((a.epoch, a.uses.len()), (1, 4));
    let topic = CreatePartitionsTopic::default().with_name(TopicName(text(TOPIC))).with_count(7).with_assignments(None);
    c.ask(host, 3, CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000));
    c.run(100);
    settle(&mut c, &mut [&mut a]);
    assert_eq!((a.epoch, a.uses.len()), (2, 7));
    assert!(c.marked(host, "group-metadata-changed"));
}

#[test]
fn a_group_outlives_its_coordinator() {
    let (mut c, host) = cluster();
    let (mut a, mut b) = (Modern::new(&mut c, host, "a"), Modern::new(&mut c, host, "b"));
    a.beat(&mut c);
    b.beat(&mut c);
    // In the middle of a revocation.
    a.ask(&mut c, a.request());
    let before = account(&c, host);
    assert_eq!(before.state, "Reconciling");
    c.kill(host);
    let next = find(&mut c, if host == 1 { 2 } else { 1 });
    assert_eq!(account(&c, next), before);
    for m in [&mut a, &mut b] {
        (m.host, m.conn) = (next, c.connect(next));
    }
    a.uses.retain(|p| before.members["a"].assigned.contains(&(TOPIC.to_owned(), *p)));
    settle(&mut c, &mut [&mut a, &mut b]);
    assert_eq!(counts(&[&a, &b]), [2, 2]);
}

#[test]
fn protocols_do_not_mix_and_empty_groups_give_way() {
    let (mut c, host) = cluster();
    let mut classic = Member::new(&mut c, host);
    rebalance(&mut c, &mut [&mut classic]);
    assert_eq!(classic.commit(&mut c, 1, 5), 0);
    let mut modern = Modern::new(&mut c, host, "a");
    assert_eq!(modern.beat(&mut c), code(ResponseError::GroupIdNotFound));
    assert_eq!(classic.leave(&mut c), 0);
    c.run(50);
    assert_eq!(modern.beat(&mut c), 0);
    assert_eq!(fetch_offset(&mut c, host, 1, true), Ok(5), "offsets stay");
    let mut other = Member::new(&mut c, host);
    let ResponseKind::JoinGroup(r) = other.ask(&mut c, 9, other.join_request()) else { panic!() };
    assert_eq!(r.error_code, code(ResponseError::InconsistentGroupProtocol));
    assert_eq!(modern.leave(&mut c, -1), 0);
    rebalance(&mut c, &mut [&mut other]);
    assert_eq!((account(&c, host).kind, account(&c, host).offsets.len()), ("classic", 1));
    let before = account(&c, host);
    c.kill(host);
    let next = find(&mut c, if host == 1 { 2 } else { 1 });
    assert_eq!(account(&c, next), before);
}

/// Members come, go, stall and lose answers in any order; all of them are honest. Says whether two of them ever used a
/// partition at once.
fn walk(seed: u64, defects: Defects) -> bool {
    let (mut c, host) = cluster_with(defects, quick);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut members: Vec<Modern> = (0..4).map(|i| Modern::new(&mut c, host, &format!("m{i}"))).collect();
    for _ in 0..250 {
        let i = rng.random_range(0..members.len());
        let m = &mut members[i];
        match rng.random_range(0..20) {
            0 if m.epoch > 0 => {
                m.leave(&mut c, -1);
            }
            // The answer is lost, or the member is slow to act on it.
            1..=4 => {
                let r = m.ask(&mut c, m.request());
                m.lost = true;
                assert!([0, code(ResponseError::FencedMemberEpoch)].contains(&r.error_code), "{r:?}");
            }
            _ => {
                let error = m.beat(&mut c);
                if error != 0 {
                    (m.epoch, m.uses) = (0, BTreeSet::new());
                }
            }
        }
        let all: Vec<i32> = members.iter().flat_map(|m| m.uses.iter().copied()).collect();
        if all.len() != all.iter().collect::<BTreeSet<_>>().len() {
            return true;
        }
    }
    // At rest, everything is somebody's, and evenly so.
    for m in &mut members {
        if m.epoch == 0 {
            m.beat(&mut c);
        }
    }
    if !defects.is_empty() {
        return false;
    }
    let mut refs: Vec<&mut Modern> = members.iter_mut().collect();
    for m in refs.iter_mut() {
        if m.beat(&mut c) != 0 {
            (m.epoch, m.uses) = (0, BTreeSet::new());
        }
    }
    settle(&mut c, &mut refs);
    assert_eq!(members.iter().map(|m| m.uses.len()).collect::<Vec<_>>(), [1; 4]);
    let before = account(&c, host);
    c.kill(host);
    let next = find(&mut c, if host == 1 { 2 } else { 1 });
    assert_eq!(account(&c, next), before);
    false
}

#[test]
fn nothing_is_ever_used_twice() {
    for seed in 0..8 {
        assert!(!walk(seed, Defects::NONE), "seed {seed}");
    }
}

#[test]
fn the_defect_lets_two_members_have_one_partition() {
    let defects = Defects::NONE.with(Defect::Kip848PartitionEpochLost);
    assert!((0..40).any(|seed| walk(seed, defects)));
}

/// What is not committed is not told: a heartbeat that needs no record waits for those before it.
#[test]
fn an_answer_waits_for_what_it_is_based_on() {
    let (mut c, host) = cluster();
    let a = Modern::new(&mut c, host, "a");
    c.cut = (1..=3).filter(|&h| h != host).map(|h| (host, h)).collect();
    let first = c.send(a.host, a.conn, 1, a.request());
    c.run(20);
    assert!(c.answer(first).is_none());
    // Its client gave the first up and its connection with it, and asks again.
    let mut again = a.clone();
    again.conn = c.connect(host);
    let second = c.send(again.host, again.conn, 1, again.request());
    c.run(20);
    assert!(c.answer(second).is_none(), "what it would be told is not committed");
    c.cut.clear();
    c.run(35_000);
    let Some(ResponseKind::ConsumerGroupHeartbeat(r)) = c.answer(second) else { panic!("no answer") };
    assert_eq!((r.error_code, r.member_epoch), (0, 1));
    assert!(r.assignment.is_some());
}

#[test]
fn a_group_is_described() {
    let (mut c, host) = cluster();
    let (mut a, mut b) = (Modern::new(&mut c, host, "a"), Modern::new(&mut c, host, "b"));
    settle(&mut c, &mut [&mut a, &mut b]);
    let ids = [GROUP, "nobody", ""].iter().map(|g| GroupId(text(g))).collect();
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(ids);
    let ResponseKind::ConsumerGroupDescribe(r) = c.ask(host, 1, request.clone()) else { panic!() };
    let codes: Vec<i16> = r.groups.iter().map(|g| g.error_code).collect();
    assert_eq!(codes, [0, code(ResponseError::GroupIdNotFound), code(ResponseError::InvalidGroupId)]);
    let g = &r.groups[0];
    assert_eq!((g.group_state.as_str(), g.assignor_name.as_str(), g.members.len()), ("Stable", "uniform", 2));
    assert_eq!((g.group_epoch, g.assignment_epoch), (a.epoch, a.epoch));
    for (m, who) in g.members.iter().zip([&a, &b]) {
        let has = |a: &kafka_protocol::messages::consumer_group_describe_response::Assignment| -> BTreeSet<i32> {
            a.topic_partitions.iter().flat_map(|t| t.partitions.iter().copied()).collect()
        };
        assert_eq!((m.member_id.as_str(), m.member_epoch, m.member_type), (&*who.id, who.epoch, 1));
        assert_eq!((has(&m.assignment), has(&m.target_assignment)), (who.uses.clone(), who.uses.clone()));
        assert_eq!(m.assignment.topic_partitions[0].topic_name.as_str(), TOPIC);
    }
    let elsewhere = (1..=3).find(|&h| h != host).unwrap();
    let ResponseKind::ConsumerGroupDescribe(r) = c.ask(elsewhere, 0, request) else { panic!() };
    assert_eq!(r.groups[0].error_code, code(ResponseError::NotCoordinator));
}
