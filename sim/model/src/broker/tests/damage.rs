//! Brokers on disks that somebody or something has been at.

use super::*;
use crate::disk::Path;
use kafka_protocol::messages::MetadataRequest;

const FILE: &str = "orders-0/partition.metadata";

/// A cluster with records on three replicas, stopped in order.
fn stopped(records: usize) -> Cluster {
    let mut c = plain(2);
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
    }
    assert_eq!(c.log_bytes(2, "orders-0"), log, "it was fetched again");
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
