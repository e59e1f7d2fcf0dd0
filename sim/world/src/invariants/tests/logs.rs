//! Logs: who leads, what is committed, what may be acknowledged or cut.

use super::*;

#[test]
fn a_plain_history_is_silent() {
    let mut w = World::new();
    w.three_committed();
    let more = batch(3, 2, 0, (5, 0, 3), b"second");
    w.write(1, &more);
    w.append(2, &more);
    w.silent();
    assert_eq!(
        w.judge.committed().map(|(p, t, o)| (p, t.to_owned(), o)).collect::<Vec<_>>(),
        [(P, "t".to_owned(), Offset(3))]
    );
}

#[test]
fn a_failover_that_cuts_an_uncommitted_tail_is_silent() {
    let mut w = World::new();
    let data = w.three_committed();
    let tail = batch(3, 2, 0, (5, 0, 3), b"uncommitted");
    w.write(1, &tail);
    w.fail_over(3, 3);
    let other = batch(3, 1, 1, (5, 0, 3), b"instead");
    w.write(2, &other);
    w.append(3, &other);
    w.fetch(3, 2, 1, 4);
    w.watermark(2, 1, true, 4, 4);
    // Broker 1 returns with its tail, and cuts it.
    w.load(1, 0, 5);
    w.follow(1, 1, 2);
    w.cut(1, data.len());
    w.truncated(1, 5, 3, TruncationReason::Divergence);
    w.append(1, &other);
    w.silent();
}

#[test]
fn two_leaders_in_one_epoch() {
    let mut w = World::new();
    w.lead(2, 0, 0, 0, &ALL, 0);
    w.only(Check::SingleLeader);

    let mut w = World::new();
    w.trace(0, TraceEvent::ControllerActive { epoch: LeaderEpoch(1) });
    w.silent();
    w.trace(3, TraceEvent::ControllerActive { epoch: LeaderEpoch(1) });
    w.only(Check::SingleLeader);
}

#[test]
fn a_new_leader_lacks_what_was_committed() {
    let mut w = World::new();
    let data = batch(0, 3, 0, (5, 0, 0), b"first");
    w.write(1, &data);
    w.append(2, &data);
    w.append(3, &data);
    w.fetch(2, 1, 0, 3);
    w.fetch(3, 1, 0, 3);
    w.watermark(1, 0, true, 3, 3);
    w.cut(2, 0);
    w.fail_over(0, 0);
    let finding = w.only(Check::LeaderCompleteness);
    assert_eq!((finding.offset, finding.epoch), (Some(Offset(0)), Some(LeaderEpoch(1))));
}

#[test]
fn an_unclean_election_cuts_the_committed_log() {
    let mut w = World::new();
    let data = batch(0, 3, 0, (5, 0, 0), b"first");
    w.write(1, &data);
    w.append(2, &data);
    w.fetch(2, 1, 0, 3);
    w.propose(1, &[1, 2], &ALL);
    w.change(|c| c.isr = Some(ids(&[1, 2])));
    w.install(1, 1, &[1, 2]);
    w.watermark(1, 0, true, 3, 3);
    w.end_process(1, Ending::Killed);
    w.end_process(2, Ending::Killed);
    w.change(|c| (c.isr, c.leader, c.leader_recovery_state) = (Some(ids(&[3])), Some(NodeId(3)), Some(1)));
    w.lead(3, 1, 2, 0, &[3], 0);
    w.silent();
    let unclean = &w.judge.unclean_elections()[0];
    assert_eq!((unclean.epoch, unclean.lost), (LeaderEpoch(1), Some((Offset(0), Offset(3)))));
    // What the others held is divergent now, and may be cut.
    w.load(2, 0, 3);
    w.follow(2, 1, 3);
    w.cut(2, 0);
    w.truncated(2, 3, 0, TruncationReason::Divergence);
    w.silent();
}

#[test]
fn logs_that_should_match_do_not() {
    let mut w = World::new();
    w.write(1, &batch(0, 1, 0, (5, 0, 0), b"one"));
    w.append(2, &batch(0, 1, 0, (5, 0, 0), b"two"));
    w.only(Check::LogMatching);

    // The same batch behind another one: an epoch was missed.
    let story = |deleted: bool| {
        let mut w = World::new();
        w.three_committed();
        w.write(1, &batch(3, 1, 0, (5, 0, 3), b"uncommitted"));
        w.append(3, &batch(3, 1, 0, (5, 0, 3), b"uncommitted"));
        w.fail_over(3, 3);
        w.write(2, &batch(3, 1, 1, (5, 0, 3), b"x"));
        let next = batch(4, 1, 1, (5, 0, 4), b"y");
        w.write(2, &next);
        if deleted {
            w.fetch(3, 2, 1, 4);
            w.watermark(2, 1, true, 4, 5);
            w.trace(2, TraceEvent::LogStart { partition: P, log_start: Offset(4), reason: LogStartReason::Leader });
        }
        w.silent();
        w.append(3, &next);
        w
    };
    story(false).only(Check::LogMatching);
    // Where the leader's log begins with it, nothing is before it.
    story(true).silent();
}

#[test]
fn high_watermark_rules() {
    // Past a member that has not fetched.
    let mut w = World::new();
    w.write(1, &batch(0, 1, 0, (5, 0, 0), b"one"));
    w.fetch(2, 1, 0, 1);
    w.watermark(1, 0, true, 1, 1);
    w.only(Check::HighWatermark);

    // Back.
    let mut w = World::new();
    w.three_committed();
    w.watermark(1, 0, true, 2, 3);
    w.only(Check::HighWatermark);

    // Under the minimum.
    let mut w = World::new();
    w.write(1, &batch(0, 1, 0, (5, 0, 0), b"one"));
    w.change(|c| c.isr = Some(ids(&[1])));
    w.install(1, 1, &[1]);
    w.silent();
    w.watermark(1, 0, true, 1, 1);
    w.only(Check::HighWatermark);

    // A follower above every leader.
    let mut w = World::new();
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    w.write(1, &data);
    w.append(2, &data);
    w.watermark(2, 0, false, 1, 1);
    w.only(Check::HighWatermark);

    // A stale epoch's fetch, and an old leader's, count for nothing.
    let mut w = World::new();
    w.three_committed();
    w.fail_over(3, 3);
    w.write(2, &batch(3, 1, 1, (5, 0, 3), b"x"));
    w.fetch(3, 2, 0, 4);
    w.watermark(2, 1, true, 4, 4);
    w.only(Check::HighWatermark);
}

#[test]
fn exposed_reads() {
    let mut w = World::new();
    let data = w.three_committed();
    let ask = w.fetch(-1, 1, 0, 0);
    w.fetched(1, ask, 0, 3, Some(data.clone()));
    w.silent();
    let more = batch(3, 1, 0, (5, 0, 3), b"more");
    w.write(1, &more);
    let ask = w.fetch(-1, 1, 0, 3);
    w.fetched(1, ask, 0, 3, Some(more));
    w.only(Check::HighWatermark);

    let mut w = World::new();
    w.three_committed();
    let ask = w.fetch(-1, 1, 0, 0);
    w.fetched(1, ask, 0, 3, Some(batch(0, 3, 0, (5, 0, 0), b"forged")));
    w.only(Check::BatchIntegrity);

    let mut w = World::new();
    w.three_committed();
    let ask = w.fetch(-1, 1, 0, 3);
    w.fetched(1, ask, 0, 4, None);
    w.only(Check::TraceContradicted);
}

#[test]
fn acknowledgements() {
    // Before the high watermark.
    let mut w = World::new();
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    let ask = w.write(1, &data);
    w.append(2, &data);
    w.append(3, &data);
    w.ack(1, ask, 0, 0, 0, &ALL);
    w.only(Check::AckJustified);

    // While a joiner of a pending expansion lacks it.
    let mut w = World::new();
    w.propose(1, &[1, 2], &ALL);
    w.change(|c| c.isr = Some(ids(&[1, 2])));
    w.install(1, 1, &[1, 2]);
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    let ask = w.write(1, &data);
    w.append(2, &data);
    w.fetch(2, 1, 0, 1);
    w.propose(1, &ALL, &[1, 2]);
    w.watermark(1, 0, true, 1, 1);
    w.ack(1, ask, 0, 0, 1, &[1, 2]);
    w.fires(Check::AckJustified);
    w.fires(Check::HighWatermark);

    // With too small a maximal ISR.
    let mut w = World::new();
    w.three_committed();
    w.change(|c| c.isr = Some(ids(&[1])));
    w.install(1, 1, &[1]);
    w.ack(1, 99, 0, 2, 3, &[1]);
    w.only(Check::AckJustified);

    // Without a decision.
    let mut w = World::new();
    w.three_committed();
    let ask = w.write(1, &batch(3, 1, 0, (5, 0, 3), b"more"));
    w.produced(1, ask, 3);
    w.only(Check::TraceContradicted);

    // acks=1 before the append has completed.
    let mut w = World::new();
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    let ask = w.produce(1, 1, &data);
    w.asked(1, &DiskOp::Append { file: Path::new("t-0/00000000000000000000.log"), data: data.into() });
    w.produced(1, ask, 0);
    w.only(Check::AckJustified);
}

#[test]
fn a_member_that_had_it_and_died_justifies_an_acknowledgement() {
    let mut w = World::new();
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    let ask = w.write(1, &data);
    w.append(2, &data);
    w.append(3, &data);
    w.fetch(2, 1, 0, 1);
    w.fetch(3, 1, 0, 1);
    w.end_process(3, Ending::PowerLost);
    let lost = [LostData { file: Path::new("t-0/00000000000000000000.log"), from: 0, to: data.len() as u64 }];
    w.event(3, What::PowerLost { lost: &lost });
    w.watermark(1, 0, true, 1, 1);
    w.ack(1, ask, 0, 0, 1, &ALL);
    w.produced(1, ask, 0);
    w.silent();
    // Its log is loaded without what it lost: fine. With it: not.
    w.load(3, 0, 0);
    w.silent();

    let mut w = World::new();
    w.append(3, &data);
    w.end_process(3, Ending::PowerLost);
    w.event(3, What::PowerLost { lost: &lost });
    w.load(3, 0, 1);
    w.only(Check::ReplayEqualsLive);
}

/// A truncation that no fsync has made durable is undone by a power loss: what it had cut off is back, and what was
/// appended in its place is gone (seed 0x839604c5967d3ad3 of crash-while-loading).
#[test]
fn a_power_loss_brings_back_what_a_truncation_had_cut() {
    let file = || Path::new("t-0/00000000000000000000.log");
    let old = batch(0, 1, 0, (5, 0, 0), b"old");
    let new = batch(0, 1, 1, (5, 0, 0), b"newer");
    let lost = [LostData { file: file(), from: 0, to: new.len() as u64 }];
    let story = |synced_again: bool| {
        let mut w = World::new();
        w.append(3, &old);
        w.disk(3, DiskOp::Fsync { file: file() });
        w.cut(3, 0);
        if synced_again {
            w.disk(3, DiskOp::Fsync { file: file() });
        }
        w.append(3, &new);
        w.end_process(3, Ending::PowerLost);
        w.event(3, What::PowerLost { lost: &lost });
        w.load(3, 0, 1);
        w
    };
    story(false).silent();
    // Once the cut is durable, nothing comes back.
    story(true).only(Check::ReplayEqualsLive);
}

/// Nothing was appended since, so that nothing is missing of what reads saw (seed 0x1d066772bac189f4 of
/// power-loss-undoes-a-truncation).
#[test]
fn a_power_loss_that_takes_nothing_may_bring_something_back() {
    let file = || Path::new("t-0/00000000000000000000.log");
    let story = |flush: fn(&mut World, &DiskOp)| {
        let mut w = World::new();
        w.append(3, &batch(0, 1, 0, (5, 0, 0), b"old"));
        let fsync = DiskOp::Fsync { file: file() };
        w.disk(3, fsync.clone());
        flush(&mut w, &fsync);
        w.end_process(3, Ending::PowerLost);
        w.event(3, What::PowerLost { lost: &[] });
        w.load(3, 0, 1);
        w
    };
    story(|w, _| w.cut(3, 0)).silent();
    // An fsync covers what was there when it was asked for.
    story(|w, fsync| {
        w.asked(3, fsync);
        w.cut(3, 0);
        w.event(3, What::DiskDone { op: fsync, result: &Ok(DiskReply::Done) });
    })
    .silent();
    story(|w, fsync| {
        w.cut(3, 0);
        w.disk(3, fsync.clone());
    })
    .only(Check::TraceContradicted);
    // A process that died during the truncation does not say that it was done; the log it loads next does.
    let mut w = World::new();
    w.append(3, &batch(0, 1, 0, (5, 0, 0), b"old"));
    w.asked(3, &DiskOp::Truncate { file: file(), len: 0 });
    w.end_process(3, Ending::Killed);
    w.load(3, 0, 0);
    w.end_process(3, Ending::PowerLost);
    w.event(3, What::PowerLost { lost: &[] });
    w.load(3, 0, 1);
    w.silent();
}

#[test]
fn a_power_loss_may_undo_the_later_of_two_truncations() {
    let file = || Path::new("t-0/00000000000000000000.log");
    let (one, two) = (batch(0, 1, 0, (5, 0, 0), b"one"), batch(0, 2, 1, (5, 0, 0), b"twofold"));
    let mut w = World::new();
    w.append(3, &one);
    w.cut(3, 0);
    w.append(3, &two);
    w.cut(3, 0);
    w.end_process(3, Ending::PowerLost);
    w.event(3, What::PowerLost { lost: &[] });
    w.load(3, 0, 2);
    w.silent();
    // It goes on behind what came back; another batch there is another log.
    w.append(3, &batch(2, 1, 1, (5, 0, 2), b"next"));
    w.silent();
    // Of a truncation that took place before, nothing comes back beyond what was lost.
    let mut w = World::new();
    w.append(3, &two);
    w.cut(3, 0);
    w.append(3, &one);
    w.end_process(3, Ending::PowerLost);
    let lost = [LostData { file: file(), from: 7, to: one.len() as u64 }];
    w.event(3, What::PowerLost { lost: &lost });
    w.load(3, 0, 2);
    w.fires(Check::ReplayEqualsLive);
}

#[test]
fn a_segment_that_was_removed_is_back_until_its_directory_is_flushed() {
    let second = || Path::new("t-0/00000000000000000003.log");
    let story = |flushed: bool| {
        let mut w = World::new();
        let data = w.three_committed();
        assert!(!data.is_empty());
        let more = batch(3, 2, 0, (5, 0, 3), b"more");
        w.disk(3, DiskOp::Append { file: second(), data: more.into() });
        w.disk(3, DiskOp::Rename { from: second(), to: Path::new("t-0/00000000000000000003.log.deleted") });
        if flushed {
            w.disk(3, DiskOp::FsyncDir { dir: Path::new("t-0") });
        }
        w.end_process(3, Ending::PowerLost);
        w.event(3, What::PowerLost { lost: &[] });
        w.load(3, 0, 5);
        w
    };
    story(false).silent();
    story(true).only(Check::TraceContradicted);
}

#[test]
fn truncations() {
    // Of what the leader holds.
    let mut w = World::new();
    let data = w.three_committed();
    let more = batch(3, 1, 0, (5, 0, 3), b"more");
    w.write(1, &more);
    w.append(2, &more);
    w.cut(2, data.len());
    w.truncated(2, 4, 3, TruncationReason::HighWatermark);
    w.only(Check::TruncationJustified);

    // Of what is committed; told before the disk has done it.
    let mut w = World::new();
    w.three_committed();
    w.truncated(3, 3, 0, TruncationReason::HighWatermark);
    w.only(Check::TruncationJustified);

    // Recovery may.
    let mut w = World::new();
    w.three_committed();
    w.end_process(3, Ending::PowerLost);
    w.cut(3, 0);
    w.truncated(3, 3, 0, TruncationReason::Recovery);
    w.load(3, 0, 0);
    w.silent();
}
