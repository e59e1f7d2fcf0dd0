//! How often checks could have judged: nothing before there is anything to judge, once for each thing that is judged.

use super::*;

fn count(w: &World, check: Check) -> u64 {
    w.judge.armed().find(|(name, _)| *name == check).map_or(0, |(_, n)| n)
}

#[test]
fn before_anything_happens_only_crashes_and_runaways_are_looked_out_for() {
    let w = World::bare();
    assert_eq!(w.judge.armed().collect::<Vec<_>>(), [(Check::Crash, 1), (Check::Runaway, 1)]);
}

#[test]
fn a_cluster_that_has_begun_has_leaders_and_metadata_and_no_records() {
    let w = World::new();
    assert_eq!((count(&w, Check::SingleLeader), count(&w, Check::LeaderCompleteness)), (1, 1));
    assert_eq!(
        (count(&w, Check::MetadataPrefix), count(&w, Check::QuorumSafety), count(&w, Check::UniqueIds)),
        (8, 8, 3)
    );
    assert_eq!(count(&w, Check::BatchIntegrity), 7, "those of the metadata log");
    for none in
        [Check::AckJustified, Check::HighWatermark, Check::CommittedPrefix, Check::Fencing, Check::TruncationJustified]
    {
        assert_eq!(count(&w, none), 0, "{none}");
    }
}

#[test]
fn each_judgement_counts_once() {
    let mut w = World::new();
    let before = [count(&w, Check::BatchIntegrity), count(&w, Check::LogMatching)];
    let data = w.three_committed();
    // Three replicas hold one batch more.
    assert_eq!([count(&w, Check::BatchIntegrity), count(&w, Check::LogMatching)], before.map(|n| n + 3));
    // The leader's high watermark and one follower's.
    assert_eq!((count(&w, Check::HighWatermark), count(&w, Check::CommittedPrefix)), (2, 1));
    assert_eq!((count(&w, Check::Fencing), count(&w, Check::AckJustified)), (1, 1));
    // The same high watermark again is no change.
    w.watermark(1, 0, true, 3, 3);
    assert_eq!(count(&w, Check::HighWatermark), 2);
    // A consumer is shown what is committed; a fetch is answered as out of range.
    let fetch = w.fetch(-1, 1, 0, 0);
    w.fetched(1, fetch, 0, 3, Some(data));
    assert_eq!((count(&w, Check::Fencing), count(&w, Check::NoSpuriousReset)), (2, 0));
    let fetch = w.fetch(-1, 1, 0, 99);
    w.fetched(1, fetch, 1, -1, None);
    assert_eq!(count(&w, Check::NoSpuriousReset), 1);
    assert_eq!((count(&w, Check::TruncationJustified), count(&w, Check::DeletionLegal)), (0, 0));
    w.trace(2, TraceEvent::LogStart { partition: P, log_start: Offset(0), reason: LogStartReason::Leader });
    assert_eq!(count(&w, Check::DeletionLegal), 1);
    w.silent();
    // What is cut before it is committed is judged, and may go.
    let tail = batch(3, 1, 0, (5, 0, 3), b"tail");
    w.append(3, &tail);
    w.cut(3, 0);
    w.truncated(3, 4, 3, TruncationReason::Divergence);
    assert_eq!(count(&w, Check::TruncationJustified), 1);
}

#[test]
fn audits_and_convergence_count_what_they_look_at() {
    let mut w = World::new();
    w.three_committed();
    let accounts = w.accounts([3; 3]);
    assert_eq!((count(&w, Check::Convergence), count(&w, Check::DiskAudit)), (0, 0));
    w.judge.unmet(&accounts, &[]);
    let once = count(&w, Check::Convergence);
    assert!(once as usize >= accounts.len(), "{once}");
    w.judge.unmet(&accounts, &[]);
    assert_eq!(count(&w, Check::Convergence), once, "a second look at the same conditions is no second condition");
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &[], &accounts);
    assert_eq!(count(&w, Check::DiskAudit), 0, "no files");
    w.judge.judged_by_world(0);
    assert_eq!(count(&w, Check::ShellContract), 0);
    w.judge.judged_by_world(7);
    assert_eq!(count(&w, Check::ShellContract), 7);
}
