//! Commits and committed offsets of classic members.

use super::group::{Played, member};
use super::*;
use crate::client::errors;
use crate::defects::Defect;
use crate::history::Outcome::{self, Fail, Info, Ok};

const MANUAL: (&str, &str) = ("enable.auto.commit", "false");
const EAGER: (&str, &str) = ("partition.assignment.strategy", "range");

fn reader(settings: &[(&str, &str)], defects: &[Defect]) -> Played {
    let mut all = vec![EAGER];
    all.extend(settings);
    let mut g = member(&all, defects);
    g.settled(3, &[0]);
    g.records(0, 0, 4);
    assert_eq!(g.read().len(), 4);
    g
}

impl Played {
    fn outcomes(&mut self) -> Vec<(u64, Outcome, Option<&'static str>)> {
        let ended = |e| match e {
            ConsumerEvent::Committed { id, outcome, error } => Some((id, outcome, error)),
            _ => None,
        };
        self.events().into_iter().filter_map(ended).collect()
    }
    fn commit(&mut self, trigger: CommitTrigger) -> u64 {
        let id = self.k.commit(self.c.now, trigger, None).unwrap();
        self.settle();
        id
    }
}

#[test]
fn a_commit_that_waits_is_tried_until_it_succeeds() {
    let mut g = reader(&[MANUAL], &[]);
    let id = g.commit(CommitTrigger::Sync);
    assert_eq!(g.committed(errors::COORDINATOR_LOAD_IN_PROGRESS), (3, vec![(0, 4)]));
    g.pass(200);
    g.committed(errors::NOT_COORDINATOR);
    g.found();
    g.pass(400);
    assert!(g.outcomes().is_empty());
    g.committed(errors::NONE);
    assert_eq!(g.outcomes(), [(id, Ok, None)]);
}

#[test]
fn a_commit_that_does_not_wait_is_not_tried_again() {
    for (error, outcome, name) in [
        (errors::COORDINATOR_LOAD_IN_PROGRESS, Fail, "COORDINATOR_LOAD_IN_PROGRESS"),
        (errors::NOT_COORDINATOR, Info, "NOT_COORDINATOR"),
        (errors::COORDINATOR_NOT_AVAILABLE, Info, "COORDINATOR_NOT_AVAILABLE"),
        (errors::REQUEST_TIMED_OUT, Info, "REQUEST_TIMED_OUT"),
        (errors::REBALANCE_IN_PROGRESS, Fail, "REBALANCE_IN_PROGRESS"),
        (errors::UNKNOWN_SERVER_ERROR, Info, "UNKNOWN_SERVER_ERROR"),
    ] {
        let mut g = reader(&[MANUAL], &[]);
        let id = g.commit(CommitTrigger::Async);
        g.committed(error);
        assert_eq!(g.outcomes(), [(id, outcome, Some(name))]);
        g.pass(5000);
        assert!(!g.asks(ApiKey::OffsetCommit));
    }
}

#[test]
fn doubt_about_one_attempt_is_not_lifted_by_the_next_ones_refusal() {
    let mut g = reader(&[MANUAL], &[]);
    let id = g.commit(CommitTrigger::Sync);
    let asked = g.take(ApiKey::OffsetCommit);
    g.c.disconnect(&mut g.k, asked.conn);
    g.found();
    g.pass(300);
    g.committed(errors::ILLEGAL_GENERATION);
    assert_eq!(g.outcomes(), [(id, Info, Some("ILLEGAL_GENERATION"))]);
    // And the member knows that it is out.
    g.poll();
    assert!(matches!(g.events()[0], ConsumerEvent::Lost { generation: 3, .. }));
}

#[test]
fn a_commit_in_a_rebalance_fails_without_being_sent() {
    let mut g = reader(&[MANUAL], &[]);
    g.pass(3000);
    g.beat(errors::UNKNOWN_MEMBER_ID);
    let id = g.commit(CommitTrigger::Sync);
    assert!(!g.asks(ApiKey::OffsetCommit));
    assert_eq!(g.outcomes(), [(id, Fail, Some(COMMIT_FAILED))]);
}

#[test]
fn positions_are_committed_at_intervals_from_inside_poll() {
    let mut g = reader(&[("auto.commit.interval.ms", "1000")], &[]);
    g.pass(2500);
    assert!(!g.asks(ApiKey::OffsetCommit), "the application is at work on the last records");
    g.poll();
    assert_eq!(g.committed(errors::NONE), (3, vec![(0, 4)]), "which are finished when it polls again");
    g.pass(1000);
    g.committed(errors::NONE);
}

#[test]
fn only_what_has_no_commit_is_reset() {
    let mut g = member(&[EAGER, MANUAL, ("auto.offset.reset", "latest")], &[]);
    g.joined(3, false);
    g.synced(0, &[0, 1]);
    g.events();
    for error in [errors::COORDINATOR_LOAD_IN_PROGRESS, errors::UNKNOWN_SERVER_ERROR, errors::REQUEST_TIMED_OUT] {
        g.lookup_refused(error);
        assert!(!g.asks(ApiKey::ListOffsets));
        g.pass(1200);
    }
    g.lookup_refused(errors::NOT_COORDINATOR);
    g.found();
    g.pass(1200);
    g.looked_up(&[(0, errors::UNSTABLE_OFFSET_COMMIT, -1), (1, 0, 7)]);
    assert!(!g.asks(ApiKey::ListOffsets), "an offset that may change is waited for");
    g.pass(1200);
    let asked = g.take(ApiKey::OffsetFetch);
    g.c.disconnect(&mut g.k, asked.conn);
    g.found();
    g.pass(1200);
    assert!(g.events().is_empty());
    g.looked_up(&[(0, 0, -1), (1, 0, 7)]);
    assert!(matches!(g.events()[..], [ConsumerEvent::Position { offset: Offset(7), .. }]));
    assert!(g.asks(ApiKey::ListOffsets));
}

#[test]
fn resetting_for_want_of_an_answer_is_a_defect() {
    let mut g = member(&[EAGER, MANUAL], &[Defect::ResetOnTransientError]);
    g.joined(3, false);
    g.synced(0, &[0]);
    g.lookup_refused(errors::COORDINATOR_LOAD_IN_PROGRESS);
    assert!(g.asks(ApiKey::ListOffsets));
}

/// While the offset of partition 0 is asked for, partition 1 is added.
fn added_meanwhile(defects: &[Defect]) -> Played {
    let cooperative = ("partition.assignment.strategy", "cooperative-sticky");
    let mut g = member(&[cooperative, MANUAL], defects);
    g.joined(3, false);
    g.synced(0, &[0]);
    g.pass(3000);
    // The lookup is slow; its connection is the heartbeat's too, so both wait.
    let lookup = g.take(ApiKey::OffsetFetch);
    g.c.asked.push_front(lookup);
    g.looked_up_late();
    g
}

impl Played {
    /// A rebalance adds partition 1 before the lookup is answered.
    fn looked_up_late(&mut self) {
        let lookup = self.take(ApiKey::OffsetFetch);
        self.k.with_group(|consumer, group| {
            consumer.add_uncommitted(&t(1));
            group.owned_in = 4;
        });
        self.c.asked.push_front(lookup);
        assert_eq!(self.looked_up(&[(0, 0, 5)]), [0]);
    }
}

#[test]
fn an_added_partition_is_asked_for_by_itself() {
    let mut g = added_meanwhile(&[]);
    assert!(!g.asks(ApiKey::ListOffsets));
    assert_eq!(g.looked_up(&[(1, 0, 9)]), [1]);
    assert_eq!(g.k.position(&t(1)), Some(Offset(9)));
    let mut g = added_meanwhile(&[Defect::NewPartitionResetRace]);
    assert!(g.asks(ApiKey::ListOffsets), "its commit is never asked for");
    assert!(!g.asks(ApiKey::OffsetFetch));
    g.pass(10);
}

/// Reads four records, loses the partition and gets it back where others have left it: at 50.
fn returned(defects: &[Defect]) -> Played {
    let mut g = reader(&[("auto.commit.interval.ms", "1000"), ("heartbeat.interval.ms", "500")], defects);
    g.poll();
    g.pass(500);
    g.beat(errors::REBALANCE_IN_PROGRESS);
    g.committed(errors::NONE);
    g.k.revocation_done(g.c.now);
    g.settle();
    g.joined(4, false);
    g.synced(0, &[0]);
    g.looked_up(&[(0, 0, 50)]);
    g.pass(500);
    g.beat(errors::NONE);
    g.pass(500);
    g
}

#[test]
fn a_position_goes_with_its_partition() {
    assert_eq!(returned(&[]).committed(errors::NONE), (4, vec![(0, 50)]));
    assert_eq!(returned(&[Defect::CommitAfterRevoke]).committed(errors::NONE), (4, vec![(0, 4)]));
}
