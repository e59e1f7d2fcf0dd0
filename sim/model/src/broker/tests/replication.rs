//! Elections, truncation in both eras, ISR changes, orderly and disorderly ends.

use super::*;
use crate::defects::Defect;
use crate::disk::{DiskOp, Path};
use crate::trace::{TraceEvent, TruncationReason};
use kafka_protocol::ResponseError;

fn write(c: &mut Cluster, acks: i16, text: &str) -> PartitionProduceResponse {
    let l = leader(c);
    produced(c.ask(l, 9, produce(acks, value(text))))
}

#[test]
fn what_is_produced_reaches_every_replica() {
    for truncation in [Truncation::Fetch, Truncation::OffsetForLeaderEpoch] {
        let mut c = cluster(truncation, Defects::NONE, 2, |_| {});
        for i in 0..5 {
            let answer = write(&mut c, -1, "v");
            assert_eq!((answer.error_code, answer.base_offset), (0, i));
        }
        c.run(1200);
        converged(&c);
    }
}

#[test]
fn a_dead_leader_is_followed_by_another_and_comes_back_as_a_follower() {
    for truncation in [Truncation::Fetch, Truncation::OffsetForLeaderEpoch] {
        let mut c = cluster(truncation, Defects::NONE, 2, |_| {});
        assert_eq!(write(&mut c, -1, "a").error_code, 0);
        let old = leader(&c);
        let others = followers(&c);
        // What only the old leader has is lost with its leadership, and cut from its log when it returns.
        c.cut = others.iter().map(|&f| (old, f)).collect();
        assert_eq!(write(&mut c, 1, "b").error_code, 0);
        c.kill(old);
        c.cut.clear();
        c.run(2000);
        assert_ne!(leader(&c), old);
        assert_eq!(write(&mut c, -1, "c").error_code, 0);
        assert_eq!(write(&mut c, -1, "d").error_code, 0);
        c.start(old);
        c.run(3000);
        converged(&c);
        let cuts: Vec<&TraceEvent> = c
            .traces
            .iter()
            .filter(|(h, t)| *h == old && matches!(t, TraceEvent::Truncated { .. }))
            .map(|(_, t)| t)
            .collect();
        assert!(
            matches!(
                cuts[..],
                [TraceEvent::Truncated { from: Offset(2), to: Offset(1), reason: TruncationReason::Divergence, .. }]
            ),
            "{truncation:?} {cuts:?}"
        );
        assert_eq!(c.marked(old, "diverging-epoch"), truncation == Truncation::Fetch);
        assert!(c.marked(old, "unclean-start") && c.marked(old, "follower-truncated"));
    }
}

#[test]
fn with_the_defect_a_new_follower_cuts_to_its_high_watermark() {
    let defects = Defects::NONE.with(Defect::HwTruncateOnFollow);
    let mut c = cluster(Truncation::OffsetForLeaderEpoch, defects, 1, |_| {});
    // The followers learn of the high watermark with their next fetch only.
    assert_eq!(write(&mut c, -1, "a").error_code, 0);
    let old = leader(&c);
    c.kill(old);
    c.run(2000);
    let cut = |t: &TraceEvent| matches!(t, TraceEvent::Truncated { reason: TruncationReason::HighWatermark, .. });
    assert!(c.traces.iter().any(|(_, t)| cut(t)));
}

#[test]
fn a_follower_that_is_cut_off_leaves_the_isr_and_comes_back() {
    let mut c = plain(2);
    let l = leader(&c);
    let f = followers(&c)[0];
    c.cut = vec![(l, f)];
    let conn = c.connect(l);
    let waiting = c.send(l, conn, 9, produce(-1, value("a")));
    c.run(300);
    assert!(c.answer(waiting).is_none(), "the follower is in sync still");
    c.run(1200);
    assert_eq!(produced(c.answer(waiting).unwrap()).error_code, 0);
    assert_eq!(c.replica(l).isr.len(), 2);
    assert!(c.marked(l, "isr-shrunk") && c.marked(l, "isr-shrunk-to-min"));
    c.cut.clear();
    c.run(35_000);
    assert!(c.marked(l, "isr-expanded"));
    converged(&c);
}

#[test]
fn a_late_answer_to_a_deposed_leader_does_not_answer_what_it_asks_as_a_leader_again() {
    let mut c = plain(2);
    let l = leader(&c);
    // The leader sleeps, is deposed, asks to be rid of followers it has not heard of, and does not get the answer.
    c.cut = followers(&c).iter().map(|&f| (l, f)).collect();
    assert_eq!(write(&mut c, 1, "a").error_code, 0);
    c.pause(l);
    c.run(2000);
    assert_ne!(leader(&c), l);
    let other = leader(&c);
    c.cut.clear();
    c.hold_isr_answers = Some(l);
    c.resume();
    c.run(3000);
    converged(&c);
    // It leads again, and wants the other one back in the ISR.
    c.kill(other);
    c.run(2000);
    assert_eq!(leader(&c), l);
    c.start(other);
    c.run(3000);
    assert_eq!(c.replica(l).isr.len(), 2, "one request is under way");
    assert_eq!(c.release(), 1);
    // A fetch of before is lost, and its connection is given up after half a minute only.
    c.run(35_000);
    converged(&c);
}

#[test]
fn nothing_is_appended_behind_a_cut_before_the_recovery_point_is_written_down() {
    let mut c = cluster(Truncation::Fetch, Defects::NONE, 2, |config| config.flush_messages = 1);
    assert_eq!(write(&mut c, -1, "a").error_code, 0);
    let old = leader(&c);
    c.cut = followers(&c).iter().map(|&f| (old, f)).collect();
    assert_eq!(write(&mut c, 1, "b").error_code, 0);
    assert_eq!(write(&mut c, 1, "b").error_code, 0);
    c.kill(old);
    c.cut.clear();
    c.run(2000);
    assert_eq!(write(&mut c, -1, "c").error_code, 0);
    c.disk(old).done.clear();
    c.start(old);
    c.run(3000);
    converged(&c);
    let done = &c.disk(old).done;
    let position = |from: usize, which: &dyn Fn(&DiskOp) -> bool| from + done[from..].iter().position(which).unwrap();
    let cut = position(0, &|op| matches!(op, DiskOp::Truncate { file, .. } if file.as_str().ends_with(".log")));
    let checkpoint = Path::new("recovery-point-offset-checkpoint");
    let renamed = position(cut, &|op| matches!(op, DiskOp::Rename { to, .. } if *to == checkpoint));
    let durable = position(renamed, &|op| *op == DiskOp::FsyncDir { dir: Path::new("") });
    let appended = position(cut, &|op| matches!(op, DiskOp::Append { file, .. } if file.as_str().ends_with(".log")));
    assert!(durable < appended, "{cut} {renamed} {durable} {appended}");
}

#[test]
fn too_few_replicas_refuse_acks_all() {
    let mut c = plain(2);
    let l = leader(&c);
    let fs = followers(&c);
    let conn = c.connect(l);
    fs.iter().for_each(|&f| c.kill(f));
    let waiting = c.send(l, conn, 9, produce(-1, value("a")));
    c.run(1600);
    assert_eq!(produced(c.answer(waiting).unwrap()).error_code, ResponseError::RequestTimedOut.code());
    c.run(500);
    assert_eq!(write(&mut c, -1, "b").error_code, ResponseError::NotEnoughReplicas.code());
    assert!(c.marked(l, "produce-rejected-min-isr"));
    assert_eq!(write(&mut c, 1, "c").error_code, 0, "acks=1 is taken all the same");
    assert_eq!(c.replica(l).high_watermark, Offset(0), "but nobody sees it");
    fs.iter().for_each(|&f| c.start(f));
    c.run(3000);
    converged(&c);
    assert_eq!(c.replica(l).log_end, Offset(2));
}

#[test]
fn an_orderly_shutdown_hands_over_and_leaves_the_marker() {
    let mut c = plain(2);
    assert_eq!(write(&mut c, -1, "a").error_code, 0);
    let l = leader(&c);
    c.shut_down(l);
    c.run(1000);
    assert_eq!(c.exited, vec![l]);
    assert_ne!(leader(&c), l);
    let marker = Path::new(".kafka_cleanshutdown");
    assert!(c.disk(l).files.contains_key(&marker));
    c.disk(l).done.clear();
    assert_eq!(write(&mut c, -1, "b").error_code, 0);
    c.start(l);
    c.run(2000);
    converged(&c);
    assert!(c.marked(l, "clean-start"));
    assert!(!c.disk(l).files.contains_key(&marker));
    // The marker went, durably, before any log was touched.
    let done = &c.disk(l).done;
    let gone = done.iter().position(|op| *op == DiskOp::Delete { path: marker.clone() }).unwrap();
    assert_eq!(done[gone + 1], DiskOp::FsyncDir { dir: Path::new("") });
    let touches_log =
        |op: &DiskOp| matches!(op, DiskOp::Read { ranges } if ranges[0].file.as_str().starts_with("orders-0/"));
    let first = done.iter().position(touches_log).unwrap();
    assert!(gone + 1 < first, "{gone} {first}");
    let registered = c.traces.iter().filter(|(h, _)| *h == l).rev().find_map(|(_, t)| match t {
        TraceEvent::BrokerRegistered { clean, .. } => Some(*clean),
        _ => None,
    });
    assert_eq!(registered, Some(true));
}

#[test]
fn with_the_defect_the_marker_goes_after_loading() {
    let mut c = cluster(Truncation::Fetch, Defects::NONE.with(Defect::CleanShutdownFlagLateDelete), 2, |_| {});
    assert_eq!(write(&mut c, -1, "a").error_code, 0);
    c.shut_down(3);
    c.run(1000);
    c.disk(3).done.clear();
    c.start(3);
    c.run(2000);
    let marker = Path::new(".kafka_cleanshutdown");
    let done = &c.disk(3).done;
    let gone = done.iter().position(|op| *op == DiskOp::Delete { path: marker.clone() }).unwrap();
    let touches_log =
        |op: &DiskOp| matches!(op, DiskOp::Read { ranges } if ranges[0].file.as_str().starts_with("orders-0/"));
    let first = done.iter().position(touches_log).unwrap();
    assert!(first < gone);
    converged(&c);
}

#[test]
fn the_whole_cluster_comes_back() {
    let mut c = cluster(Truncation::Fetch, Defects::NONE, 2, |config| {
        config.hw_checkpoint_interval = crate::units::Duration::from_millis(300);
        config.recovery_checkpoint_interval = crate::units::Duration::from_millis(300);
    });
    for _ in 0..3 {
        assert_eq!(write(&mut c, -1, "a").error_code, 0);
    }
    c.run(1000);
    (0..=3).for_each(|h| c.kill(h));
    (0..=3).for_each(|h| c.start(h));
    c.run(6000);
    assert_eq!(write(&mut c, -1, "b").base_offset, 3);
    c.run(1200);
    converged(&c);
}

#[test]
fn a_log_of_another_topic_is_removed() {
    let mut c = plain(2);
    c.kill(3);
    let stray = crate::log::checkpoint::format_partition_metadata(TopicId(Uuid::from_u128(5)));
    c.disk(3).files.insert(Path::new("gone-0/partition.metadata"), stray.to_vec());
    c.disk(3).files.insert(Path::new("gone-0/00000000000000000000.log"), Vec::new());
    // Somebody's directory that nothing was ever written to.
    c.disk(3).files.insert(Path::new("blank-1/00000000000000000000.log"), Vec::new());
    c.start(3);
    c.run(3000);
    converged(&c);
    assert!(c.traces.iter().any(|(h, t)| *h == 3 && matches!(t, TraceEvent::LogDeleted { .. })));
    let left = |dir: &str| c.log_bytes(3, dir).len();
    assert_eq!((left("gone-0"), left("blank-1")), (0, 0));
    assert_eq!(c.broker(3).partitions.len(), 1);
}

#[test]
fn nobody_waits_for_the_answer_of_a_leader_that_was_replaced() {
    let mut c = cluster(Truncation::Fetch, Defects::NONE, 2, |_| {});
    assert_eq!(write(&mut c, -1, "a").error_code, 0);
    let first = leader(&c);
    c.lose_power(first);
    c.run(2000);
    let second = leader(&c);
    assert_ne!(first, second);
    c.start(first);
    c.run(3000);
    converged(&c);
    // The third broker's fetch to the first leader was never answered, and its connection never reset.
    c.kill(second);
    c.run(2000);
    assert_eq!(leader(&c), first);
    assert_eq!(write(&mut c, -1, "b").error_code, 0);
}
