//! Brokers on disks that somebody or something has been at.

use super::*;
use crate::disk::{DiskOp, Path};
use crate::record::batches;
use crate::trace::TraceEvent;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, MetadataRequest};

const FILE: &str = "orders-0/partition.metadata";

/// A cluster with records on three replicas, stopped in order.
fn stopped(records: usize) -> Cluster {
    stopped_with(records, 2, |_| {})
}

fn stopped_with(records: usize, min_isr: i32, tune: fn(&mut BrokerConfig)) -> Cluster {
    let mut c = cluster(Truncation::Fetch, Defects::NONE, min_isr, tune);
    for _ in 0..records {
        let l = leader(&c);
        assert_eq!(produced(c.ask(l, 9, produce(-1, value("x")))).error_code, 0);
    }
    c.run(1500);
    for host in 1..=3 {
        c.shut_down(host);
        c.run(500);
        assert!(!c.is_up(host), "broker {host}");
    }
    c
}

/// `disk/partition_metadata.sh`: whatever happened to one replica's file, all three keep their records, whoever leads.
#[test]
fn partition_metadata() {
    for damaged in 1..=3 {
        for damage in ["cut", "empty", "missing", "of another version"] {
            let mut c = stopped(5);
            let before = c.log_bytes(1, "orders-0");
            let files = &mut c.disk(damaged).files;
            let content = files.remove(&Path::new(FILE)).expect("it is there");
            match damage {
                "cut" => _ = files.insert(Path::new(FILE), content[..10].to_vec()),
                "empty" => _ = files.insert(Path::new(FILE), Vec::new()),
                "of another version" => _ = files.insert(Path::new(FILE), b"version: 9\n".to_vec()),
                _ => {}
            }
            // The damaged one first: it could lead.
            for host in (1..=3).map(|n| (damaged + n + 1) % 3 + 1) {
                c.start(host);
            }
            c.run(3000);
            converged(&c);
            for host in 1..=3 {
                assert_eq!(c.log_bytes(host, "orders-0"), before, "{damage} at broker {damaged}, on broker {host}");
            }
            assert!(c.marked(damaged, "topic-id-restored"));
            assert_eq!(c.disk(damaged).files[&Path::new(FILE)], content, "{damage}");
            assert_eq!(produced(c.ask(leader(&c), 9, produce(-1, value("y")))).base_offset, 5);
        }
    }
}

/// A directory whose topic the cluster does not know, or knows under another id, is renamed and stays as it is.
#[test]
fn strays_are_kept() {
    let mut c = stopped(3);
    let others: Vec<_> = c.disk(1).files.iter().map(|(p, b)| (p.to_string(), b.clone())).collect();
    let alien = crate::log::checkpoint::format_partition_metadata(TopicId(Uuid::from_u128(77))).to_vec();
    for (path, content) in others {
        if let Some(name) = path.strip_prefix("orders-0/") {
            let copied = if path == FILE { alien.clone() } else { content };
            c.disk(1).files.insert(Path::new(format!("gone-0/{name}")), copied);
        }
    }
    // The id of another topic, under the name of one that is known.
    c.disk(2).files.insert(Path::new(FILE), alien);
    let log = c.log_bytes(1, "orders-0");
    c.start(1);
    c.start(3);
    c.run(1500);
    c.start(2);
    c.run(3000);
    converged(&c);
    for (host, name) in [(1, "gone-0."), (2, "orders-0.")] {
        let kept = |(p, content): (&Path, &Vec<u8>)| {
            let (dir, file) = p.as_str().split_once('/')?;
            (dir.starts_with(name) && dir.ends_with("-stray") && file.ends_with("0.log")).then(|| content.clone())
        };
        let found: Vec<_> = c.disk(host).files.iter().filter_map(kept).collect();
        assert_eq!(found, std::slice::from_ref(&log), "broker {host}");
        assert!(c.marked(host, "stray-kept"));
        // The new name is durable: the directory above is fsynced after it.
        let done = &c.disk(host).done;
        let renamed = |op: &DiskOp| matches!(op, DiskOp::Rename { to, .. } if to.as_str().ends_with("-stray"));
        let at = done.iter().position(renamed).expect("it was renamed");
        assert!(done[at..].contains(&DiskOp::FsyncDir { dir: Path::new("") }), "broker {host}");
        assert_eq!(c.broker(host).recovered.strays, 1);
    }
    assert_eq!(c.log_bytes(2, "orders-0"), log, "it was fetched again");
}

/// Starts the brokers of a stopped cluster, this one first.
fn start_all(c: &mut Cluster, first: usize) {
    for host in (1..=3).map(|n| (first + n + 1) % 3 + 1) {
        c.start(host);
    }
    c.run(3000);
}

/// Records are gone that were on disk, and the end was clean: another replica leads, and fills this one.
#[test]
fn a_replica_that_lost_records_does_not_lead() {
    for damaged in 1..=3 {
        for damage in ["cut", "empty", "no segment", "no directory", "another topic's"] {
            let mut c = stopped(5);
            let before = c.log_bytes(1, "orders-0");
            let files = &mut c.disk(damaged).files;
            let log = files.keys().find(|p| p.as_str().ends_with("0.log")).cloned().expect("a segment");
            match damage {
                "cut" => files.get_mut(&log).unwrap().truncate(100),
                "empty" => files.get_mut(&log).unwrap().clear(),
                "no segment" => _ = files.remove(&log),
                "no directory" => files.retain(|p, _| p.parent().as_str() != "orders-0"),
                _ => {
                    let alien = crate::log::checkpoint::format_partition_metadata(TopicId(Uuid::from_u128(77)));
                    files.insert(Path::new(FILE), alien.to_vec());
                }
            }
            start_all(&mut c, damaged);
            converged(&c);
            for host in 1..=3 {
                assert_eq!(c.log_bytes(host, "orders-0"), before, "{damage} at broker {damaged}, on broker {host}");
            }
            let unclean = |(h, t): &(usize, TraceEvent)| {
                *h == damaged && matches!(t, TraceEvent::BrokerRegistered { clean: false, .. })
            };
            assert!(c.traces.iter().any(unclean), "{damage} at broker {damaged}");
            assert_eq!(produced(c.ask(leader(&c), 9, produce(-1, value("y")))).base_offset, 5);
        }
    }
}

/// The only replica that may lead has lost its log, and the others have theirs: it does not lead with an empty one, in this
/// process and the next, until the settings ask for it.
#[test]
fn an_empty_log_does_not_lead() {
    let mut c = stopped_with(5, 1, |_| {});
    let before = c.log_bytes(1, "orders-0");
    let alien = crate::log::checkpoint::format_partition_metadata(TopicId(Uuid::from_u128(77)));
    c.disk(3).files.insert(Path::new(FILE), alien.to_vec());
    start_all(&mut c, 3);
    for again in [false, true] {
        if again {
            c.kill(3);
            c.run(2000);
            c.start(3);
            c.run(3000);
        }
        assert_eq!(leader(&c), 3, "it is the last known leader");
        assert!(c.marked(3, "empty-log-withheld") && c.broker(3).recovered.withheld >= 1);
        assert!(c.broker(3).partitions.is_empty());
        assert_eq!(c.log_bytes(1, "orders-0"), before);
        assert_eq!(c.log_bytes(2, "orders-0"), before);
    }
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_static_str("unclean.leader.election.enable"))
        .with_config_operation(0)
        .with_value(Some(StrBytes::from_static_str("true")));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_static_str(TOPIC))
        .with_configs(vec![config]);
    c.ask(1, 1, IncrementalAlterConfigsRequest::default().with_resources(vec![resource]));
    c.run(3000);
    assert_eq!(c.replica(3).leader, NodeId(3), "what the settings ask for");
    assert_eq!(produced(c.ask(3, 9, produce(-1, value("y")))).error_code, 0);
}

/// In the middle of a log lies something that is no batch: records in front of it are read, and the answer behind them says
/// so. A batch that claims more than its segment has ends the segment.
#[test]
fn a_damaged_batch_is_answered_with_corrupt_message() {
    for damage in ["a length below every batch's", "an unknown magic", "a length beyond the file"] {
        let mut c = stopped_with(10, 2, |config| config.segment_bytes = 300);
        let behind = c.disk(1).files.keys().filter(|p| p.as_str().ends_with(".log")).nth(1).cloned().expect("segments");
        let behind: i64 = behind.file_name().trim_end_matches(".log").parse().unwrap();
        for host in 1..=3 {
            let files = &mut c.disk(host).files;
            let log = files.keys().find(|p| p.as_str().ends_with("0.log")).cloned().expect("a segment");
            let data = files.get_mut(&log).unwrap();
            let third = 2 * data.len() / behind as usize;
            match damage {
                "an unknown magic" => data[third + 16] = 9,
                "a length beyond the file" => data[third + 8] = 0x7f,
                _ => data[third + 8..third + 12].copy_from_slice(&7i32.to_be_bytes()),
            }
        }
        start_all(&mut c, 1);
        let l = leader(&c);
        // The end was clean, and a closed segment is not looked into.
        assert_eq!(c.replica(l).log_end, Offset(10), "{damage}");
        let data = fetched(c.ask(l, 12, fetch(0, -1, 10, 1)));
        let whole = batches(&data.records.unwrap()).map_while(Result::ok).count();
        assert_eq!((data.error_code, whole), (0, 2), "{damage}");
        let data = fetched(c.ask(l, 12, fetch(2, -1, 10, 1)));
        let records = data.records.unwrap_or_default();
        if damage == "a length beyond the file" {
            let (first, _) = batches(&records).next().expect("what lies behind").unwrap();
            assert_eq!((data.error_code, first.base_offset), (0, Offset(behind)));
        } else {
            assert_eq!(data.error_code, ResponseError::CorruptMessage.code(), "{damage}");
            assert!(records.is_empty() && c.marked(l, "corrupt-log-read"), "{damage}");
        }
    }
}

/// `sockets/no_brokers_after_a_kill.sh`: a request that waits from the first moment on is answered, and never with a
/// cluster of nobody.
#[test]
fn no_brokers_after_a_kill() {
    let mut c = plain(2);
    for all_at_once in [true, false] {
        for host in if all_at_once { 0..=3 } else { 1..=3 } {
            c.kill(host);
        }
        // Every session is over before they come back, or none is.
        c.run(if all_at_once { 10 } else { 2000 });
        for host in if all_at_once { 0..=3 } else { 1..=3 } {
            c.start(host);
        }
        let mut asked = Vec::new();
        for host in 1..=3 {
            let conn = c.connect(host);
            asked.push(c.send(host, conn, 9, MetadataRequest::default().with_topics(None)));
        }
        c.run(3000);
        for correlation in asked {
            match c.answer(correlation) {
                Some(ResponseKind::Metadata(m)) => assert!(!m.brokers.is_empty(), "{m:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
