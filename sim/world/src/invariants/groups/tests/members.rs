//! What classic members ask: fencing, member ids, answers.

use super::*;

#[test]
fn groups_live_where_kafka_puts_them() {
    // Java's hashes of these are 97, 96354 and 99162322.
    assert_eq!([home_of("a", 50), home_of("abc", 50), home_of("hello", 50)], [47, 4, 22]);
    // "polygenelubricants" has the one hash that has no positive counterpart; "klamm-probe" has a negative one.
    assert_eq!([home_of("polygenelubricants", 50), home_of("klamm-probe", 3)], [0, 2]);
}

#[test]
fn stale_requests_of_classic_members_change_nothing() {
    let mut w = World::settled(EAGER, "range");
    w.heartbeat(4, "m1", 1, 0);
    w.state("Stable", "PreparingRebalance", 1);
    w.join(4, "m1", "m1", 2);
    w.heartbeat(5, "m2", 1, 22);
    let silent = w.judge.findings().len();
    w.heartbeat(5, "m2", 1, 0);
    assert!(
        w.judge.findings()[silent..].iter().all(|f| f.check == Check::Fencing) && w.judge.findings().len() > silent
    );

    // A generation that was told by a coordinator that is gone, and never written, binds nobody.
    let mut w = World::settled(EAGER, "range");
    w.join(4, "m1", "m1", 2);
    w.moves();
    w.commit(5, "m2", 1, 7);
    w.silent();

    // Committed by a member that was replaced.
    let mut w = World::settled(EAGER, "range");
    w.appends(&[generation(1, "range", &[("m1b", &[0]), ("m2", &[1])])], true);
    w.commit(4, "m1", 1, 7);
    w.only(Check::Fencing);
}

#[test]
fn member_ids_are_issued_once() {
    let mut w = World::settled(EAGER, "range");
    w.join(5, "", "m1", 2);
    w.only(Check::UniqueIds);
}

#[test]
fn answers_agree_with_trace_and_log() {
    let mut w = World::settled(EAGER, "range");
    w.traced("m1", 1, &[0]);
    w.sync(4, "m1", 1, &[0]);
    w.silent();
    w.sync(4, "m1", 1, &[0, 1]);
    let checks: BTreeSet<Check> = w.judge.findings().iter().map(|f| f.check).collect();
    assert_eq!(checks, BTreeSet::from([Check::ReplayEqualsLive, Check::TraceContradicted]));
}
