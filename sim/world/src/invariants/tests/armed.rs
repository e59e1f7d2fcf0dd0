//! How often checks could have judged: nothing before there is anything to judge, once for each thing that is judged.

use super::*;

fn count(w: &World, check: &str) -> u64 {
    w.judge.armed().find(|(name, _)| *name == check).map_or(0, |(_, n)| n)
}

#[test]
fn the_list_is_sorted_and_names_nothing_twice() {
    assert!(CHECKS.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn before_anything_happens_only_crashes_and_runaways_are_looked_out_for() {
    let w = World::bare();
    assert_eq!(w.judge.armed().collect::<Vec<_>>(), [("crash", 1), ("runaway", 1)]);
}

#[test]
fn a_cluster_that_has_begun_has_leaders_and_metadata_and_no_records() {
    let w = World::new();
    assert_eq!((count(&w, "single-leader-per-epoch"), count(&w, "leader-completeness")), (1, 1));
    assert_eq!((count(&w, "metadata-prefix"), count(&w, "quorum-safety"), count(&w, "unique-ids")), (8, 8, 3));
    assert_eq!(count(&w, "batch-integrity"), 7, "those of the metadata log");
    for none in ["ack-justified", "high-watermark", "committed-prefix", "fencing", "truncation-justified"] {
        assert_eq!(count(&w, none), 0, "{none}");
    }
}

#[test]
fn each_judgement_counts_once() {
    let mut w = World::new();
    let before = [count(&w, "batch-integrity"), count(&w, "log-matching")];
    let data = w.three_committed();
    // Three replicas hold one batch more.
    assert_eq!([count(&w, "batch-integrity"), count(&w, "log-matching")], before.map(|n| n + 3));
    // The leader's high watermark and one follower's.
    assert_eq!((count(&w, "high-watermark"), count(&w, "committed-prefix")), (2, 1));
    assert_eq!((count(&w, "fencing"), count(&w, "ack-justified")), (1, 1));
    // The same high watermark again is no change.
    w.watermark(1, 0, true, 3, 3);
    assert_eq!(count(&w, "high-watermark"), 2);
    // A consumer is shown what is committed; a fetch is answered as out of range.
    let fetch = w.fetch(-1, 1, 0, 0);
    w.fetched(1, fetch, 0, 3, Some(data));
    assert_eq!((count(&w, "fencing"), count(&w, "no-spurious-reset")), (2, 0));
    let fetch = w.fetch(-1, 1, 0, 99);
    w.fetched(1, fetch, 1, -1, None);
    assert_eq!(count(&w, "no-spurious-reset"), 1);
    assert_eq!((count(&w, "truncation-justified"), count(&w, "deletion-legal")), (0, 0));
    w.trace(2, TraceEvent::LogStart { partition: P, log_start: Offset(0), reason: LogStartReason::Leader });
    assert_eq!(count(&w, "deletion-legal"), 1);
    w.silent();
    // What is cut before it is committed is judged, and may go.
    let tail = batch(3, 1, 0, (5, 0, 3), b"tail");
    w.append(3, &tail);
    w.cut(3, 0);
    w.truncated(3, 4, 3, TruncationReason::Divergence);
    assert_eq!(count(&w, "truncation-justified"), 1);
}

#[test]
fn audits_and_convergence_count_what_they_look_at() {
    let mut w = World::new();
    w.three_committed();
    let accounts = w.accounts([3; 3]);
    assert_eq!((count(&w, "convergence"), count(&w, "disk-audit")), (0, 0));
    w.judge.unmet(&accounts, &[]);
    let once = count(&w, "convergence");
    assert!(once as usize >= accounts.len(), "{once}");
    w.judge.unmet(&accounts, &[]);
    assert_eq!(count(&w, "convergence"), once, "a second look at the same conditions is no second condition");
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &[], &accounts);
    assert_eq!(count(&w, "disk-audit"), 0, "no files");
    w.judge.judged_by_world(0);
    assert_eq!(count(&w, "shell-contract"), 0);
    w.judge.judged_by_world(7);
    assert_eq!(count(&w, "shell-contract"), 7);
}
