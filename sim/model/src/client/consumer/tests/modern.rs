//! KIP-848 members.

use super::group::{Played, member, s, tps};
use super::*;
use crate::client::errors;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

const CONSUMER: (&str, &str) = ("group.protocol", "consumer");
const MANUAL: (&str, &str) = ("enable.auto.commit", "false");

impl Played {
    fn report(&mut self) -> (Asked, ConsumerGroupHeartbeatRequest) {
        let asked = self.take(ApiKey::ConsumerGroupHeartbeat);
        let RequestKind::ConsumerGroupHeartbeat(request) = asked.request.clone() else { panic!() };
        (asked, request)
    }

    /// Answers a report; returns its member epoch and, if it says so, what the member owns.
    fn told(&mut self, epoch: i32, target: Option<&[i32]>) -> (i32, Option<Vec<i32>>) {
        let (asked, request) = self.report();
        let topic = |partitions: &[i32]| {
            TopicPartitions::default().with_topic_id(self.c.topic_id.0).with_partitions(partitions.to_vec())
        };
        let assignment = target.map(|list| {
            let topics = if list.is_empty() { vec![] } else { vec![topic(list)] };
            Assignment::default().with_topic_partitions(topics)
        });
        let answer = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(request.member_id.clone()))
            .with_member_epoch(epoch)
            .with_heartbeat_interval_ms(1000)
            .with_assignment(assignment);
        self.reply(&asked, answer);
        let owned = request.topic_partitions.map(|t| t.iter().flat_map(|t| t.partitions.clone()).collect());
        (request.member_epoch, owned)
    }

    fn refused(&mut self, error: i16) {
        let (asked, _) = self.report();
        self.reply(&asked, ConsumerGroupHeartbeatResponse::default().with_error_code(error));
    }
}

fn joined(settings: &[(&str, &str)]) -> Played {
    let mut all = vec![CONSUMER, MANUAL];
    all.extend(settings);
    let mut g = member(&all, &[]);
    let (_, owned) = g.told(5, Some(&[0, 1]));
    assert_eq!(owned, Some(vec![]));
    assert_eq!(g.events(), [ConsumerEvent::Assigned { generation: 5, partitions: tps(&[0, 1]) }]);
    // What was reconciled is acknowledged at once.
    assert_eq!(g.told(5, None), (5, Some(vec![0, 1])));
    g.looked_up(&[(0, 0, 3), (1, 0, 4)]);
    g.events();
    g
}

#[test]
fn a_member_names_itself_and_takes_up_what_it_is_given() {
    let mut g = member(&[CONSUMER, MANUAL], &[]);
    let (asked, request) = g.report();
    assert_eq!((request.member_epoch, request.member_id.len()), (0, 36));
    assert_eq!(request.subscribed_topic_names.as_ref().map(Vec::len), Some(1));
    assert_eq!(request.rebalance_timeout_ms, 300_000);
    g.c.asked.push_front(asked);
    g.told(5, Some(&[0, 1]));
    assert_eq!(g.told(5, None), (5, Some(vec![0, 1])));
    let asked = g.take(ApiKey::OffsetFetch);
    let RequestKind::OffsetFetch(fetch) = &asked.request else { panic!() };
    assert_eq!((fetch.groups[0].member_epoch, fetch.groups[0].member_id.is_some()), (5, true));
    // From then on a report says nothing that has been said.
    g.pass(1000);
    let (_, request) = g.report();
    let silent = request.subscribed_topic_names.is_none() && request.topic_partitions.is_none();
    assert!(silent && request.rebalance_timeout_ms == -1);
}

#[test]
fn what_is_to_go_is_given_up_before_it_is_acknowledged() {
    let mut g = joined(&[]);
    g.pass(1000);
    g.told(6, Some(&[1]));
    assert_eq!(g.events(), [ConsumerEvent::Revoking { generation: 5, partitions: tps(&[0]) }]);
    // Reports go on meanwhile, and still claim everything.
    g.pass(1000);
    assert_eq!(g.told(6, None), (6, None));
    g.k.revocation_done(g.c.now);
    g.settle();
    assert_eq!(g.events(), [ConsumerEvent::Assigned { generation: 6, partitions: vec![] }]);
    assert_eq!(g.told(7, None), (6, Some(vec![1])));
    assert_eq!(g.k.membership().unwrap().generation, 7);
}

/// Seed 0x7ad552d47cd58e78 of crash-looping-member-kip-848: a list that acknowledges an earlier target, without what a
/// later one has promised meanwhile, lets the coordinator hand that on while it is being taken up.
#[test]
fn what_is_promised_is_claimed_by_the_acknowledgement_of_an_earlier_target() {
    let mut g = joined(&[]);
    g.pass(1000);
    g.told(6, Some(&[1]));
    g.pass(1000);
    g.told(6, Some(&[1, 2]));
    g.k.revocation_done(g.c.now);
    g.settle();
    let (_, request) = g.report();
    let listed: Vec<i32> = request.topic_partitions.unwrap().iter().flat_map(|t| t.partitions.clone()).collect();
    assert_eq!(listed, [1, 2], "without the one given up, with the one promised");
    // It is being taken up when the coordinator wants it back: until it is given up again, it is claimed.
    let mut g = joined(&[]);
    g.pass(1000);
    g.told(6, Some(&[1, 2]));
    g.pass(1000);
    assert_eq!(g.told(6, Some(&[1])), (6, Some(vec![0, 1, 2])), "while another is being given up");
    g.pass(1000);
    assert_eq!(g.told(6, None), (6, None), "nothing else");
}

#[test]
fn nothing_is_reconciled_outside_poll() {
    let mut g = joined(&[]);
    g.records(0, 3, 1);
    assert_eq!(g.read().len(), 1);
    g.pass(1000);
    g.told(6, Some(&[1]));
    assert!(g.events().is_empty());
    g.poll();
    assert!(matches!(g.events()[..], [ConsumerEvent::Revoking { .. }]));
}

#[test]
fn positions_are_committed_before_a_reconciliation() {
    let mut g = member(&[CONSUMER], &[]);
    g.told(5, Some(&[0, 1]));
    g.told(5, None);
    g.looked_up(&[(0, 0, 3), (1, 0, 4)]);
    g.events();
    g.pass(1000);
    g.told(6, Some(&[1]));
    assert_eq!(g.committed(errors::STALE_MEMBER_EPOCH), (6, vec![(0, 3), (1, 4)]));
    g.pass(150);
    assert_eq!(g.committed(errors::NONE), (6, vec![(0, 3), (1, 4)]));
    let events = g.events();
    assert!(matches!(events[0], ConsumerEvent::CommitSent { trigger: CommitTrigger::Revocation, .. }));
    assert!(matches!(events[2], ConsumerEvent::Revoking { .. }));
}

#[test]
fn a_fenced_member_loses_everything_and_joins_anew() {
    for error in [errors::FENCED_MEMBER_EPOCH, errors::UNKNOWN_MEMBER_ID] {
        let mut g = joined(&[]);
        let before = g.k.membership().unwrap().member;
        g.pass(1000);
        g.refused(error);
        assert_eq!(g.events(), [ConsumerEvent::Lost { generation: 5, partitions: tps(&[0, 1]) }]);
        let (_, request) = g.report();
        assert_eq!((request.member_epoch, request.member_id.as_str()), (0, before.as_str()));
        assert_eq!(request.topic_partitions, Some(vec![]));
    }
}

#[test]
fn who_stays_away_too_long_goes_and_comes_back() {
    for (instance, epoch) in [(None, -1), (Some(("group.instance.id", "i")), -2)] {
        let mut settings = vec![("max.poll.interval.ms", "5000")];
        settings.extend(instance);
        let mut g = joined(&settings);
        g.records(0, 3, 1);
        g.read();
        for _ in 0..4 {
            g.pass(1000);
            g.told(5, None);
        }
        g.pass(1000);
        // A report and the goodbye may fall on one instant.
        let last = std::iter::from_fn(|| g.asks(ApiKey::ConsumerGroupHeartbeat).then(|| g.report())).last().unwrap();
        assert_eq!(last.1.member_epoch, epoch);
        g.poll();
        assert!(matches!(g.events()[..], [ConsumerEvent::Lost { .. }]));
    }
}

#[test]
fn a_busy_coordinator_is_asked_again_after_a_pause() {
    let mut g = member(&[CONSUMER, MANUAL], &[]);
    g.refused(errors::COORDINATOR_LOAD_IN_PROGRESS);
    assert!(!g.asks(ApiKey::ConsumerGroupHeartbeat));
    g.pass(150);
    g.refused(errors::NOT_COORDINATOR);
    g.pass(1200);
    g.found();
    assert_eq!(g.told(5, Some(&[0])).0, 0);
}

#[test]
fn leaving_says_goodbye() {
    let mut g = joined(&[]);
    g.k.leave(g.c.now);
    g.settle();
    assert_eq!(g.events(), [ConsumerEvent::Revoking { generation: 5, partitions: tps(&[0, 1]) }]);
    g.k.revocation_done(g.c.now);
    g.settle();
    let (asked, request) = g.report();
    assert_eq!(request.member_epoch, -1);
    g.reply(&asked, ConsumerGroupHeartbeatResponse::default().with_member_epoch(-1));
    assert_eq!(g.events(), [ConsumerEvent::Left]);
}

#[test]
fn an_unknown_assignor_is_the_end() {
    let mut g = member(&[CONSUMER, ("group.remote.assignor", "unheard-of")], &[]);
    let (asked, request) = g.report();
    assert_eq!(request.server_assignor, Some(s("unheard-of")));
    g.c.asked.push_front(asked);
    g.refused(112);
    assert_eq!(g.events(), [ConsumerEvent::GroupFailed { error: "UNSUPPORTED_ASSIGNOR" }]);
}
