//! The log's rules, one by one.

use super::*;
use crate::limits::BATCHES_PLACED_EXACTLY;

fn append_many(host: &mut Host, batches: i32, records: i32, len: usize) {
    for n in 0..batches {
        host.append(batch(-1, n * records, records, len), 0);
    }
}

#[test]
fn files_are_kafkas() {
    let mut host = Host::created(small());
    append_many(&mut host, 8, 1, 100);
    host.settle();
    host.log.close(host.now, &mut host.out);
    host.settle();
    let mut paths = host.disk.paths();
    paths.retain(|p| !p.ends_with(".timeindex"));
    let expected = [
        "t-0/00000000000000000000.index",
        "t-0/00000000000000000000.log",
        "t-0/00000000000000000004.log",
        "t-0/00000000000000000004.snapshot",
        "t-0/00000000000000000008.snapshot",
        "t-0/leader-epoch-checkpoint",
        "t-0/partition.metadata",
    ];
    // Batches of 171 bytes: four to a segment; the third has more than 200 bytes before it.
    let with_index = [&expected[..3], &["t-0/00000000000000000004.index"], &expected[3..]].concat();
    let mut with_index: Vec<_> = with_index.into_iter().map(str::to_owned).collect();
    with_index.sort();
    assert_eq!(paths, with_index);
    let log = host.disk.content("t-0/00000000000000000000.log").unwrap().clone();
    let size = log.len() as u32 / 4;
    let index = host.disk.content("t-0/00000000000000000000.index").unwrap();
    assert_eq!(index[..], [2u32.to_be_bytes(), (2 * size).to_be_bytes()].concat()[..]);
    assert_eq!(host.disk.content("t-0/leader-epoch-checkpoint").unwrap()[..], b"0\n1\n0 0\n"[..]);
    assert_eq!(
        host.disk.content("t-0/partition.metadata").unwrap()[..],
        b"version: 0\ntopic_id: EjRWeJq83vARESIiMzNERA"[..]
    );
}

#[test]
fn a_batch_costs_one_operation() {
    let mut config = small();
    config.segment_bytes = 1 << 30;
    let mut host = Host::created(config);
    host.append(batch(1, 0, 3, 10), 0);
    host.settle();
    host.disk.done.clear();
    host.append(batch(1, 3, 3, 10), 0);
    host.settle();
    let [DiskOp::Append { data, .. }] = &host.disk.done[..] else { panic!("{:?}", host.disk.done) };
    assert_eq!(*data, record::stamp(batch(1, 3, 3, 10), Offset(3), LeaderEpoch(0)));
}

#[test]
fn the_log_end_waits_for_the_first_of_two_files() {
    let mut host = Host::created(small());
    append_many(&mut host, 5, 1, 100);
    assert_eq!((host.log.next_offset(), host.log.log_end()), (Offset(5), Offset(0)));
    let to_second = |op: &DiskOp| matches!(op, DiskOp::Append { file, .. } if file.as_str().contains("4.log"));
    let next = host.disk.matching(to_second);
    assert!(host.give(next));
    assert_eq!(host.log.log_end(), Offset(0), "offsets 0 to 3 are still in flight");
    assert_eq!(host.log.read(Offset(0), 1000, Offset(5), true), Ok(None));
    host.settle();
    assert_eq!(host.log.log_end(), Offset(5));
    assert!(host.events.contains(&LogEvent::Flushed { up_to: Offset(4) }), "a closed segment is flushed");
    assert_eq!(host.log.recovery_point(), Offset(4));
}

#[test]
fn reads_at_every_offset() {
    let mut host = Host::created(small());
    append_many(&mut host, 40, 3, 30);
    host.settle();
    let (_, mut sparse) = (0, {
        host.log.close(host.now, &mut host.out);
        host.settle();
        host.restart(true, Offset(0))
    });
    append_many(&mut sparse, 10, 3, 30);
    sparse.settle();
    let all = sparse.read_all(1 << 20);
    assert_eq!(all.len(), 50);
    for max in [0, 1, 160, 400, 10_000] {
        assert_eq!(sparse.read_all(max), all);
    }
    let end = Offset(150);
    for from in 0..150 {
        let holds = |h: &BatchHeader| h.base_offset.0 <= from && from <= h.last_offset().0;
        for up_to in [from + 1, from + 3, from + 7] {
            let data = sparse.read(Offset(from), 500, Offset(up_to), true).unwrap_or_default();
            for (n, b) in record::batches(&data).enumerate() {
                let (h, _) = b.unwrap();
                assert!(h.last_offset().0 < up_to && (n > 0 || holds(&h)));
            }
        }
        let size = all.iter().find(|(h, _)| holds(h)).unwrap().0.size();
        assert!(sparse.read(Offset(from), size - 1, end, false).is_none_or(|d| d.is_empty()));
        assert_eq!(sparse.read(Offset(from), size, end, false).unwrap().len() as u64, size);
        assert_eq!(sparse.read(Offset(from), 1, end, true).unwrap().len() as u64, size);
    }
    assert_eq!(sparse.log.read(end, 10, end, true), Ok(None));
    assert!(sparse.log.read(Offset(151), 10, end, true).is_err());
    let size = all[0].0.size();
    assert_eq!(sparse.log.available_bytes(Offset(147), end), size);
    assert_eq!(sparse.log.available_bytes(end, end), 0);
    assert_eq!(sparse.log.available_bytes(Offset(0), end), 50 * size);
}

#[test]
fn a_clean_start_reads_little() {
    let mut config = small();
    config.segment_bytes = 100_000;
    config.index_interval_bytes = 4096;
    let mut host = Host::created(config);
    append_many(&mut host, 400, 1, 400);
    host.settle();
    host.log.close(host.now, &mut host.out);
    host.settle();
    host.disk.bytes_read = 0;
    let host = host.restart(true, Offset(0));
    assert!(host.disk.bytes_read < 8192, "{}", host.disk.bytes_read);
    assert_eq!(host.log.max_timestamp(), Some((Timestamp(1_399), Offset(399))));
}

#[test]
fn a_failed_append_stops_the_log() {
    let mut host = Host::created(small());
    host.disk.fail = Some(|op| matches!(op, DiskOp::Append { .. }));
    host.append(batch(1, 0, 2, 10), 0);
    host.settle();
    assert_eq!(host.events, [LogEvent::Failed(DiskError::Io)]);
    assert_eq!((host.log.log_end(), host.log.failed()), (Offset(0), Some(DiskError::Io)));
    let refused = host.log.append_as_leader(host.now, batch(1, 0, 2, 10), LeaderEpoch(0), &mut host.out);
    assert_eq!(refused, Err(AppendError::Failed(DiskError::Io)));
}

#[test]
fn a_failed_fsync_stops_the_log() {
    let mut host = Host::created(small());
    host.append(batch(1, 0, 2, 10), 0);
    host.settle();
    host.disk.fail = Some(|op| matches!(op, DiskOp::Fsync { .. }));
    assert!(host.log.flush(host.now, &mut host.out));
    host.settle();
    assert_eq!(host.events.last(), Some(&LogEvent::Failed(DiskError::Io)));
    assert_eq!(host.log.recovery_point(), Offset(0));
}

#[test]
fn the_defect_gives_offsets_again() {
    let mut host = Host::new(small(), Defects::NONE.with(Defect::AppendAfterIoError));
    host.log.create(host.now, TOPIC, &mut host.out);
    host.append(batch(1, 0, 2, 10), 0);
    host.settle();
    host.append(batch(1, 2, 2, 10), 0);
    host.append(batch(2, 0, 3, 10), 0);
    host.disk.fail = Some(|op| matches!(op, DiskOp::Append { .. }));
    let next = host.disk.first();
    host.give(next);
    host.disk.fail = None;
    assert!(host.events.contains(&LogEvent::AppendForgotten { base: Offset(2), last: Offset(3) }));
    let again = host.log.check_sequence(ProducerId(1), ProducerEpoch(0), Sequence(2), Sequence(3));
    assert_eq!(again, SequenceCheck::Ok);
    host.settle();
    assert_eq!(host.append(batch(1, 2, 2, 10), 0).base, Offset(2));
    host.settle();
    assert!(host.log.failed().is_none());
}

#[test]
fn the_defect_survives_several_failures() {
    let mut host = Host::new(small(), Defects::NONE.with(Defect::AppendAfterIoError));
    host.log.create(host.now, TOPIC, &mut host.out);
    host.append(batch(1, 0, 2, 10), 0);
    host.settle();
    host.disk.fail = Some(|op| matches!(op, DiskOp::Append { .. }));
    for n in 1..4 {
        host.append(batch(1, n * 2, 2, 10), 0);
    }
    host.settle();
    host.disk.fail = None;
    assert_eq!((host.log.next_offset(), host.log.log_end()), (Offset(2), Offset(2)));
    host.append(batch(1, 2, 2, 10), 0);
    host.settle();
    assert_eq!(host.log.log_end(), Offset(4));
    assert_eq!(host.read_all(10).len(), 2);
    host.assert_replay_equals_live();
}

#[test]
fn followers_take_what_continues_their_log() {
    let mut leader = Host::created(small());
    append_many(&mut leader, 6, 2, 20);
    leader.settle();
    let data = leader.read(Offset(0), 10_000, Offset(12), true).unwrap();
    let mut host = Host::created(small());
    let append = |host: &mut Host, data: Bytes| host.log.append_as_follower(host.now, data, &mut host.out);
    let mut torn = data.to_vec();
    let size = data.len() / record::batches(&data).count();
    torn[size + 70] ^= 1;
    assert!(matches!(append(&mut host, torn.into()), Err(AppendError::Batch(BatchError::Crc { .. }))));
    assert_eq!(host.log.next_offset(), Offset(0), "nothing before the bad batch either");
    let hole = AppendError::NotContiguous { first: Offset(2), next: Offset(0) };
    assert_eq!(append(&mut host, data.slice(size..)), Err(hole));
    assert_eq!(append(&mut host, data.slice(..size - 1)), Ok(None), "a partial batch is not an error");
    let info = append(&mut host, data.slice(..size * 2 + 5)).unwrap().unwrap();
    assert_eq!((info.base, info.last), (Offset(0), Offset(3)));
    host.submit();
    let appends = host.disk.pending().filter(|op| matches!(op, DiskOp::Append { .. })).count();
    assert_eq!(appends, 1);
    host.settle();
    assert_eq!(host.read(Offset(0), 10_000, Offset(4), true).unwrap(), data.slice(..size * 2));
}

#[test]
fn truncation_below_what_is_placed_exactly() {
    let mut config = small();
    config.segment_bytes = 1 << 20;
    let mut host = Host::created(config);
    let count = BATCHES_PLACED_EXACTLY as i32 + 100;
    for n in 0..count {
        host.append(batch(1, n * 2, 2, 5), 0);
    }
    host.settle();
    assert!(host.log.truncate_to(host.now, Offset(21), &mut host.out));
    let refused = host.log.append_as_leader(host.now, batch(1, 0, 1, 1), LeaderEpoch(0), &mut host.out);
    assert_eq!(refused, Err(AppendError::NotReady));
    host.settle();
    assert_eq!(host.events[host.events.len() - 2..], [LogEvent::Cut, LogEvent::Truncated]);
    assert_eq!((host.log.log_end(), host.log.next_offset()), (Offset(20), Offset(20)), "not within a batch");
    host.assert_replay_equals_live();
    assert!(!host.log.truncate_to(host.now, Offset(20), &mut host.out));
}

#[test]
fn truncation_fully() {
    let mut host = Host::created(small());
    append_many(&mut host, 12, 1, 100);
    host.log.truncate_fully_and_start_at(host.now, Offset(500), &mut host.out);
    assert_eq!((host.log.log_start(), host.log.log_end(), host.log.size()), (Offset(500), Offset(500), 0));
    host.settle();
    assert!(host.log.is_ready() && host.log.epochs().is_empty());
    host.append(batch(1, 0, 1, 10), 9);
    host.settle();
    host.now.mono = Instant::from_nanos(u64::MAX / 2);
    assert!(host.log.deadline().is_some());
    host.log.poll(host.now, &mut host.out);
    host.settle();
    let logs = host.disk.paths().into_iter().filter(|p| p.contains(".log"));
    assert_eq!(logs.collect::<Vec<_>>(), ["t-0/00000000000000000500.log"]);
    let mut host = host.restart(false, Offset(500));
    assert_eq!(host.log.log_end(), Offset(501));
    host.assert_replay_equals_live();
}

/// Where the index names the very batch at which is to be cut, nothing before it is looked at, and nothing before it
/// goes (seed 0xae468a0b7d88ca7e of missed-epochs).
#[test]
fn a_cut_just_before_an_indexed_batch_takes_nothing_else() {
    let config = LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 1, ..small() };
    for to in 1..40 {
        let mut host = Host::created(config.clone());
        append_many(&mut host, 40, 1, 20);
        host.settle();
        host.log.flush(host.now, &mut host.out);
        host.settle();
        // A new incarnation remembers no exact places.
        let mut host = host.restart(false, Offset(0));
        host.log.truncate_to(host.now, Offset(to), &mut host.out);
        host.settle();
        assert_eq!(host.log.log_end(), Offset(to));
        host.assert_replay_equals_live();
    }
}

#[test]
fn retention_by_size_and_time() {
    let mut config = small();
    config.retention_bytes = 1500;
    let mut host = Host::created(config.clone());
    append_many(&mut host, 20, 1, 100);
    host.settle();
    assert!(!host.log.delete_old_segments(host.now, Offset(3), &mut host.out), "not above the high watermark");
    assert!(host.log.delete_old_segments(host.now, Offset(20), &mut host.out));
    host.settle();
    assert_eq!(host.events.last(), Some(&LogEvent::SegmentsDeleted));
    assert_eq!((host.log.log_start(), host.log.epochs()), (Offset(8), &[(LeaderEpoch(0), Offset(8))][..]));
    assert!(host.log.read(Offset(7), 10, Offset(20), true).is_err());
    assert_eq!(host.read_all(100).len(), 12);
    config.retention = Duration::from_millis(100);
    host.log.set_config(config);
    host.now.wall = Timestamp(1_115);
    assert!(host.log.delete_old_segments(host.now, Offset(20), &mut host.out));
    assert_eq!(host.log.log_start(), Offset(12), "offset 15 is 100 ms old, offset 11 is 104 ms old");
    host.now.wall = Timestamp(9_999);
    assert!(host.log.delete_old_segments(host.now, Offset(20), &mut host.out));
    assert_eq!(host.log.log_start(), Offset(20), "all of it: a new segment is begun");
    host.settle();
    let mut host = host.restart(false, Offset(0));
    assert_eq!((host.log.log_start(), host.log.log_end()), (Offset(20), Offset(20)));
    host.append(batch(1, 0, 1, 10), 1);
    host.settle();
    assert_eq!(host.log.log_end(), Offset(21));
}

#[test]
fn timestamps_are_found() {
    let mut host = Host::created(small());
    append_many(&mut host, 30, 2, 40);
    host.settle();
    for t in 1_000..1_060 {
        let plan = host.log.plan_timestamp(Timestamp(t), Offset(60)).unwrap();
        let whole = Bytes::copy_from_slice(host.disk.content(plan.range.file.as_str()).unwrap());
        let stop = ((plan.range.pos + plan.range.len) as usize).min(whole.len());
        let data = plan.trim(whole.slice(plan.range.pos as usize..stop));
        assert_eq!(first_at_or_after(&data, Timestamp(t)), Some((Timestamp(t), Offset(t - 1_000))));
    }
    assert_eq!(host.log.plan_timestamp(Timestamp(1_060), Offset(60)), None);
}

#[test]
fn flush_by_count_holds_the_log_end() {
    let mut config = small();
    config.flush_messages = 1;
    let mut host = Host::created(config);
    host.append(batch(1, 0, 2, 10), 0);
    let next = host.disk.matching(|op| matches!(op, DiskOp::Append { .. }));
    host.give(next);
    assert_eq!(host.log.log_end(), Offset(0), "written, not flushed");
    host.settle();
    assert_eq!((host.log.log_end(), host.log.recovery_point()), (Offset(2), Offset(2)));
}

#[test]
fn a_lost_epoch_checkpoint_is_rebuilt() {
    let mut host = Host::created(small());
    for n in 0..6 {
        host.append(batch(1, n, 1, 100), n / 2);
    }
    host.settle();
    host.log.close(host.now, &mut host.out);
    host.settle();
    *host.disk.content("t-0/leader-epoch-checkpoint").unwrap() = b"rot".to_vec();
    let mut host = host.restart(true, Offset(0));
    host.assert_replay_equals_live();
    assert_eq!(host.log.epochs().len(), 3);
}
