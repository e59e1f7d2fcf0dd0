//! Classic members: joining, leading, rebalances, being expelled, staying away, leaving.

use super::group::{Played, member, tps};
use super::*;
use crate::client::errors;
use crate::defects::Defect;
use crate::history::Outcome;
use kafka_protocol::messages::LeaveGroupResponse;

const EAGER: (&str, &str) = ("partition.assignment.strategy", "range");
const COOPERATIVE: (&str, &str) = ("partition.assignment.strategy", "cooperative-sticky");
const MANUAL: (&str, &str) = ("enable.auto.commit", "false");

fn revoking(generation: i32, list: &[i32]) -> ConsumerEvent {
    ConsumerEvent::Revoking { generation, partitions: tps(list) }
}
fn assigned(generation: i32, list: &[i32]) -> ConsumerEvent {
    ConsumerEvent::Assigned { generation, partitions: tps(list) }
}
fn lost(generation: i32, list: &[i32]) -> ConsumerEvent {
    ConsumerEvent::Lost { generation, partitions: tps(list) }
}

impl Played {
    fn left(&mut self) -> bool {
        if !self.asks(ApiKey::LeaveGroup) {
            return false;
        }
        let asked = self.take(ApiKey::LeaveGroup);
        self.reply(&asked, LeaveGroupResponse::default());
        true
    }
}

#[test]
fn a_member_joins_assigns_and_reads_from_its_commits() {
    let mut g = member(&[], &[]);
    // Both default assignors are offered, with the subscription.
    let (asked, id, each) = g.join_asked();
    assert_eq!((id.as_str(), each[0].0.as_str(), each[1].0.as_str()), ("", "range", "cooperative-sticky"));
    assert_eq!((each[0].1.topics.len(), each[0].1.generation), (1, -1));
    g.c.asked.push_front(asked);
    g.join_refused(errors::MEMBER_ID_REQUIRED, "m1");
    let (asked, id, _) = g.join_asked();
    assert_eq!(id, "m1");
    g.c.asked.push_front(asked);
    g.joined(1, true);
    let shares = g.synced(0, &[0, 1]);
    assert_eq!(shares, [("m1".to_owned(), tps(&[0, 1]))], "the leader assigns what there is");
    assert_eq!(g.events(), [assigned(1, &[0, 1])]);
    assert_eq!(g.looked_up(&[(0, 0, 5), (1, 0, -1)]), [0, 1]);
    let at = |p, o| ConsumerEvent::Position { source: t(p), offset: Offset(o), reason: PositionReason::Assigned };
    assert_eq!(g.events(), [at(0, 5)]);
    // Only the partition without a commit is reset.
    let asked = g.take(ApiKey::ListOffsets);
    let RequestKind::ListOffsets(request) = &asked.request else { panic!() };
    assert_eq!((request.topics[0].partitions.len(), request.topics[0].partitions[0].partition_index), (1, 1));
    let m = g.k.membership().unwrap();
    assert_eq!((m.member.as_str(), m.generation, m.owned.len()), ("m1", 1, 2));
}

#[test]
fn heartbeats_go_on_without_poll_and_rebalances_wait_for_it() {
    let mut g = member(&[EAGER, MANUAL, ("heartbeat.interval.ms", "1000")], &[]);
    g.settled(3, &[0]);
    g.records(0, 0, 2);
    assert_eq!(g.read(), [(0, 0), (0, 1)], "and the application is out of poll");
    for _ in 0..3 {
        g.pass(1000);
        g.beat(errors::NONE);
    }
    g.pass(1000);
    g.beat(errors::REBALANCE_IN_PROGRESS);
    g.pass(1000);
    g.beat(errors::REBALANCE_IN_PROGRESS);
    assert!(g.events().is_empty() && !g.asks(ApiKey::JoinGroup), "nothing moves outside poll");
    g.poll();
    assert_eq!(g.events(), [revoking(3, &[0])]);
    g.pass(500);
    assert!(!g.asks(ApiKey::JoinGroup), "nor while the application is busy giving up");
    g.k.revocation_done(g.c.now);
    g.settle();
    let (_, id, each) = g.join_asked();
    assert_eq!((id.as_str(), each[0].1.owned.len()), ("m1", 0));
    assert!(g.k.assignment().is_empty());
}

#[test]
fn positions_are_committed_before_partitions_are_given_up() {
    let mut g = member(&[EAGER], &[]);
    g.settled(3, &[0]);
    g.records(0, 0, 2);
    assert_eq!(g.read().len(), 2);
    g.records(0, 2, 2);
    g.pass(3000);
    g.beat(errors::REBALANCE_IN_PROGRESS);
    g.poll();
    assert!(g.read().is_empty(), "nothing more is handed out while the commit is under way");
    let sent = ConsumerEvent::CommitSent {
        id: 1,
        trigger: CommitTrigger::Revocation,
        generation: 3,
        offsets: vec![(t(0), Offset(2))],
    };
    assert_eq!(g.events(), [sent]);
    // It is tried again for as long as the rebalance may take.
    assert_eq!(g.committed(errors::COORDINATOR_LOAD_IN_PROGRESS), (3, vec![(0, 2)]));
    g.pass(200);
    assert_eq!(g.committed(errors::NONE), (3, vec![(0, 2)]));
    let ok = ConsumerEvent::Committed { id: 1, outcome: Outcome::Ok, error: None };
    assert_eq!(g.events(), [ok, revoking(3, &[0])]);
}

#[test]
fn delivering_during_the_commit_is_a_defect() {
    let mut g = member(&[EAGER], &[Defect::FetchDuringRevokeCommit]);
    g.settled(3, &[0]);
    g.records(0, 0, 2);
    g.read();
    g.records(0, 2, 2);
    g.pass(3000);
    g.beat(errors::REBALANCE_IN_PROGRESS);
    g.poll();
    assert_eq!(g.read().len(), 2);
}

#[test]
fn an_expelled_member_has_lost_what_it_had() {
    for (error, id) in [(errors::UNKNOWN_MEMBER_ID, ""), (errors::ILLEGAL_GENERATION, "m1")] {
        let mut g = member(&[EAGER], &[]);
        g.settled(3, &[0, 1]);
        g.pass(3000);
        g.beat(error);
        assert_eq!(g.events(), [lost(3, &[0, 1])]);
        let (_, member, each) = g.join_asked();
        assert_eq!((member.as_str(), each[0].1.generation), (id, -1));
        assert!(g.k.commit(g.c.now, CommitTrigger::Sync, None).is_none(), "no position is left to commit");
    }
}

#[test]
fn who_stays_away_too_long_leaves_the_group() {
    for instance in [None, Some(("group.instance.id", "i"))] {
        let mut settings = vec![EAGER, ("max.poll.interval.ms", "10000"), ("session.timeout.ms", "6000")];
        settings.extend(instance);
        let mut g = member(&settings, &[]);
        g.settled(3, &[0]);
        g.records(0, 0, 2);
        g.read();
        for _ in 0..3 {
            g.pass(3000);
            g.beat(errors::NONE);
        }
        g.pass(1000);
        assert_eq!(g.left(), instance.is_none(), "static members do not say goodbye");
        g.pass(9000);
        assert!(!g.asks(ApiKey::Heartbeat) && g.events().is_empty());
        g.poll();
        assert_eq!(g.events(), [lost(3, &[0])]);
        assert_eq!(g.join_asked().1, "");
    }
}

#[test]
fn inside_poll_nobody_is_away() {
    let mut g = member(&[EAGER, MANUAL, ("max.poll.interval.ms", "10000"), ("session.timeout.ms", "6000")], &[]);
    g.settled(3, &[0]);
    for _ in 0..10 {
        g.pass(3000);
        g.beat(errors::NONE);
    }
    assert!(!g.asks(ApiKey::LeaveGroup));
}

#[test]
fn cooperative_members_keep_what_stays_theirs() {
    let mut g = member(&[COOPERATIVE, MANUAL], &[]);
    g.settled(3, &[0, 1]);
    g.pass(3000);
    g.beat(errors::REBALANCE_IN_PROGRESS);
    let (asked, _, each) = g.join_asked();
    assert_eq!((each[0].1.owned.clone(), each[0].1.generation), (tps(&[0, 1]), 3));
    g.c.asked.push_front(asked);
    assert!(g.events().is_empty() && g.asks(ApiKey::Fetch), "reading goes on");
    g.joined(4, false);
    g.synced(0, &[1]);
    assert_eq!(g.events(), [revoking(3, &[0])]);
    assert_eq!(g.k.assignment(), tps(&[0, 1]), "until the application has let go");
    g.k.revocation_done(g.c.now);
    g.settle();
    assert_eq!(g.events(), [assigned(4, &[])]);
    assert_eq!(g.k.assignment(), tps(&[1]));
    // And once more, for others to get it.
    let (_, _, each) = g.join_asked();
    assert_eq!((each[0].1.owned.clone(), each[0].1.generation), (tps(&[1]), 4));
}

#[test]
fn a_generation_that_was_missed_is_joined_anew() {
    let mut g = member(&[COOPERATIVE], &[]);
    g.settled(3, &[0]);
    g.pass(3000);
    g.beat(errors::REBALANCE_IN_PROGRESS);
    // Auto-commit first, though nothing is given up.
    assert_eq!(g.committed(errors::NONE), (3, vec![(0, 0)]));
    g.joined(4, false);
    g.synced(errors::REBALANCE_IN_PROGRESS, &[]);
    let (_, _, each) = g.join_asked();
    assert_eq!((each[0].1.owned.clone(), each[0].1.generation), (tps(&[0]), 4));
}

#[test]
fn the_leader_watches_for_new_partitions() {
    let mut g = member(&[EAGER, MANUAL, ("metadata.max.age.ms", "5000")], &[]);
    g.joined(1, true);
    g.synced(0, &[0, 1]);
    g.looked_up(&[(0, 0, 0), (1, 0, 0)]);
    g.events();
    g.c.leaders.push((3, 0));
    g.pass(3000);
    g.beat(errors::NONE);
    g.pass(2500);
    g.idle();
    assert_eq!(g.events(), [revoking(1, &[0, 1])]);
    g.k.revocation_done(g.c.now);
    g.settle();
    g.joined(2, true);
    assert_eq!(g.synced(0, &[0, 1, 2])[0].1, tps(&[0, 1, 2]));
    assert_eq!(g.events(), [assigned(2, &[0, 1, 2])]);
}

#[test]
fn the_coordinator_is_looked_for_when_it_is_gone() {
    let mut g = member(&[EAGER], &[]);
    g.settled(3, &[0]);
    g.pass(3000);
    let asked = g.take(ApiKey::Heartbeat);
    g.c.disconnect(&mut g.k, asked.conn);
    assert!(g.asks(ApiKey::FindCoordinator));
    g.found();
    g.pass(300);
    g.beat(errors::NOT_COORDINATOR);
    g.found();
    g.pass(300);
    g.beat(errors::NONE);
    assert!(g.events().is_empty(), "a stable member stays one");
}

#[test]
fn a_silent_coordinator_is_given_up_after_the_session() {
    let mut g = member(&[EAGER, ("session.timeout.ms", "6000"), ("request.timeout.ms", "60000")], &[]);
    g.settled(3, &[0]);
    g.pass(6100);
    assert!(g.asks(ApiKey::FindCoordinator));
    assert!(!g.asks(ApiKey::Heartbeat), "the connection was closed");
}

#[test]
fn leaving_commits_gives_up_and_says_goodbye() {
    let mut g = member(&[EAGER], &[]);
    g.settled(3, &[0]);
    g.records(0, 0, 2);
    g.read();
    g.k.leave(g.c.now);
    g.settle();
    assert_eq!(g.committed(errors::NONE), (3, vec![(0, 2)]));
    let events = g.events();
    assert!(matches!(events[0], ConsumerEvent::CommitSent { trigger: CommitTrigger::Close, .. }));
    assert_eq!(events[2], revoking(3, &[0]));
    g.k.revocation_done(g.c.now);
    g.settle();
    assert!(g.left());
    assert_eq!(g.events(), [ConsumerEvent::Left]);
    g.pass(60_000);
    assert!(!g.asks(ApiKey::JoinGroup) && !g.asks(ApiKey::Heartbeat));
}

#[test]
fn leaving_takes_no_longer_than_it_may() {
    let mut g = member(&[EAGER, ("request.timeout.ms", "60000")], &[]);
    g.settled(3, &[0]);
    g.k.leave(g.c.now);
    g.settle();
    g.events();
    g.pass(30_000);
    assert_eq!(g.events().last(), Some(&revoking(3, &[0])), "the commit was never answered");
    g.k.revocation_done(g.c.now);
    g.settle();
    g.pass(100);
    assert_eq!(g.events().last(), Some(&ConsumerEvent::Left));
}

#[test]
fn a_fenced_static_member_is_at_its_end() {
    let mut g = member(&[EAGER, ("group.instance.id", "i")], &[]);
    g.settled(3, &[0]);
    g.pass(3000);
    g.beat(errors::FENCED_INSTANCE_ID);
    assert_eq!(g.events(), [ConsumerEvent::GroupFailed { error: "FENCED_INSTANCE_ID" }]);
    assert_eq!(g.k.group_failed(), Some("FENCED_INSTANCE_ID"));
    g.pass(60_000);
    assert!(!g.asks(ApiKey::JoinGroup));
}

#[test]
fn sticky_members_remember_what_they_had() {
    let mut g = member(&[("partition.assignment.strategy", "sticky")], &[]);
    g.settled(3, &[0, 1]);
    g.pass(3000);
    g.beat(errors::UNKNOWN_MEMBER_ID);
    let (_, _, each) = g.join_asked();
    let claim = embedded::decode_sticky(each[0].1.user_data.as_ref().unwrap());
    assert_eq!(claim, (tps(&[0, 1]), 3), "though it was lost: the generation says how old the claim is");
    assert!(each[0].1.owned.is_empty());
}

#[test]
fn old_coordinators_are_spoken_to_in_their_own_versions() {
    for version in 0..=9 {
        let mut g = member(&[EAGER], &[]);
        let (asked, ..) = g.join_asked();
        g.c.disconnect(&mut g.k, asked.conn);
        let cap = |api: ApiKey, v: i16| (api as i16, v);
        g.c.caps = VersionCaps(
            [
                cap(ApiKey::JoinGroup, version),
                cap(ApiKey::SyncGroup, version.min(5)),
                cap(ApiKey::Heartbeat, version.min(4)),
                cap(ApiKey::LeaveGroup, version.min(5)),
                cap(ApiKey::OffsetCommit, version.max(2)),
                cap(ApiKey::OffsetFetch, version.max(8)),
            ]
            .into(),
        );
        g.found();
        g.pass(200);
        g.settled(3, &[0]);
        g.pass(3000);
        g.beat(errors::NONE);
        g.k.leave(g.c.now);
        g.settle();
        g.committed(errors::NONE);
        g.k.revocation_done(g.c.now);
        g.settle();
        assert!(g.left(), "version {version}");
    }
}
