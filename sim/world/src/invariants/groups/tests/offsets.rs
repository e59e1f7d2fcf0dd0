//! Committed offsets.

use super::*;

#[test]
fn committed_offsets_are_what_the_log_says() {
    let mut w = World::settled(EAGER, "range");
    w.fetch(4, -1);
    w.commit(4, "m1", 1, 7);
    w.fetch(4, 7);
    w.moves();
    w.fetch(4, 7);
    w.commit(4, "m1", 1, 5);
    w.fetch(4, 5);
    w.silent();
    w.fetch(5, 7);
    let found = w.only(Check::CommittedOffset);
    assert_eq!((found.partition, found.topic.as_deref()), (Some(HOME), Some(OFFSETS_TOPIC)));

    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    w.fetch(4, -1);
    w.only(Check::CommittedOffset);
}

#[test]
fn an_answer_may_be_as_old_as_its_question() {
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    let ask = w.asks_fetch(5);
    w.commit(4, "m1", 1, 8);
    w.fetch_answered(5, ask, 7);
    w.silent();
}

#[test]
fn an_acknowledged_commit_is_in_the_committed_log() {
    let mut w = World::settled(EAGER, "range");
    let ask = w.asks_commit(4, "m1", 1, 7);
    w.appends(&[commit_record(0, Some(7))], false);
    w.commit_answered(4, ask, 0);
    w.only(Check::CommittedOffset);
    // Refused, it need not be.
    let mut w = World::settled(EAGER, "range");
    let ask = w.asks_commit(4, "m1", 1, 7);
    w.commit_answered(4, ask, 27);
    w.silent();
}

#[test]
fn offsets_in_use_do_not_expire() {
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    w.appends(&[commit_record(0, None)], true);
    w.only(Check::CommittedOffset);
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    w.appends(&[generation(2, "range", &[])], true);
    w.appends(&[commit_record(0, None)], true);
    w.fetch(4, -1);
    w.silent();
}

#[test]
fn what_the_trace_says_of_offsets_is_in_the_log() {
    let tell = |w: &mut World, offset: i64, at: i64| {
        let source = TopicPartition { topic: "orders".into(), partition: 0 };
        let (epoch, offset, at) = (LeaderEpoch(0), Some(Offset(offset)), Offset(at));
        w.trace(1, TraceEvent::OffsetCommitted { group: G.into(), partition: HOME, epoch, source, offset, at });
    };
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    let at = w.end - 1;
    tell(&mut w, 7, at);
    w.silent();
    tell(&mut w, 8, at);
    w.only(Check::TraceContradicted);
}

#[test]
fn a_log_that_lost_what_was_committed_proves_nothing() {
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    let end = w.end;
    w.end = end - 1;
    w.moves();
    let found = w.judge.findings().len();
    w.fetch(4, -1);
    assert_eq!(w.judge.findings().len(), found, "what was lost is for the checks of replication");
}
