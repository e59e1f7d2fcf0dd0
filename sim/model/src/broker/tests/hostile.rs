//! Peers that mean harm, or know no better: whatever bytes come, a node answers or refuses, and does not panic, run out of
//! memory, or stop serving others.
//!
//! Requests are made up field by field from values that hurt (impossible numbers, names, batches, ids that exist), half of
//! them are damaged after that, and all take the way of bytes from a socket: the guard, the codec, the node.

use super::cluster::CLUSTER;
use super::*;
use crate::guard::{check_request, compose};
use crate::ids::ApiKey;
use crate::log::checkpoint::uuid_text;
use crate::node::{ConnId, Listener};
use crate::units::Duration;
use crate::versions::offered;
use kafka_protocol::messages::{FindCoordinatorRequest, RequestKind};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

const GROUPS: [&str; 3] = ["billing", "audit", ""];
/// The most a request's waiting times say, so that the test sees every answer.
const LONGEST_WAIT: i64 = 20_000;
/// What taking up a request may allocate for each of its bytes, and beside.
const PER_BYTE: u64 = 600;
const BESIDE: u64 = 4 << 20;

/// Values that hurt.
struct Malice {
    rng: ChaCha8Rng,
    topic: Uuid,
    /// Member ids that coordinators gave out.
    members: Vec<String>,
    epochs: Vec<i64>,
}

impl Malice {
    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())].clone()
    }

    fn batch(&mut self) -> Vec<u8> {
        let mut batch = match self.rng.random_range(0..4) {
            0 => numbered(self.rng.random_range(0..3), self.rng.random_range(0..3)),
            _ => value("x"),
        }
        .to_vec();
        match self.rng.random_range(0..5) {
            // Somewhere in the header, with a checksum that is right.
            0 => {
                let at = self.rng.random_range(21..61);
                batch[at] = self.one(&[0, 1, 0x7f, 0x80, 0xff]);
                let crc = crc32c::crc32c(&batch[21..]);
                batch[17..21].copy_from_slice(&crc.to_be_bytes());
            }
            1 => {
                let at = self.rng.random_range(0..batch.len());
                batch[at] ^= 1 << self.rng.random_range(0..8);
            }
            2 => batch.truncate(self.rng.random_range(0..batch.len())),
            3 => batch.extend_from_within(..),
            _ => {}
        }
        batch
    }
}

impl compose::Source for Malice {
    fn int(&mut self, field: &'static str, bytes: u8) -> i64 {
        let limit = match bytes {
            1 => i64::from(i8::MAX),
            2 => i64::from(i16::MAX),
            4 => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        let value = match self.rng.random_range(0..8) {
            0..4 => self.rng.random_range(-2..5),
            4 => self.one(&[limit, limit - 1, -limit, -limit - 1]),
            5 => self.one(&[100, 1000, 10_000, 1_700_000_000_000]),
            6 => self.one(&self.epochs.clone()),
            _ => self.rng.random(),
        };
        match field {
            "acks" if self.rng.random() => return self.one(&[-1, 0, 1]),
            "broker_id" | "leader_id" if self.rng.random() => return 1,
            "current_leader_epoch" | "session_id" if self.rng.random() => return self.one(&[-1, 0]),
            "broker_epoch" | "replica_epoch" if self.rng.random() => return self.one(&self.epochs.clone()),
            // Ten thousand partitions are allowed, and would only make the test slow.
            "count" | "num_partitions" => return self.one(&[-1, 0, 1, 2, 3, limit, -limit - 1]),
            _ => {}
        }
        let waits = ["max_wait_ms", "timeout_ms", "session_timeout_ms", "rebalance_timeout_ms"].contains(&field);
        if waits { value.min(LONGEST_WAIT) } else { value.clamp(-limit - 1, limit) }
    }
    fn string(&mut self, field: &'static str) -> String {
        if field.contains("group") || field == "coordinator_keys" || field == "key" {
            return self.one(&GROUPS).to_owned();
        }
        if field.contains("member") {
            match self.rng.random_range(0..4) {
                0 => return String::new(),
                1 | 2 if !self.members.is_empty() => return self.one(&self.members.clone()),
                _ => {}
            }
        }
        match field {
            "protocol_type" if self.rng.random() => return "consumer".to_owned(),
            "cluster_id" if self.rng.random() => return uuid_text(CLUSTER),
            "server_assignor" if self.rng.random() => return "uniform".to_owned(),
            _ => {}
        }
        let long = "n".repeat(300);
        let words = [
            TOPIC,
            TOPIC,
            TOPIC,
            "",
            ".",
            "..",
            "a/b",
            "../../etc",
            "\u{0}",
            "new-topic",
            OFFSETS_TOPIC,
            METADATA_TOPIC,
            "range",
            "uniform",
            "min.insync.replicas",
            "retention.ms",
            "-1",
            "1",
            "2147483648",
            "[",
            &long,
            "1",
            "2",
        ];
        words[self.rng.random_range(0..words.len())].to_owned()
    }
    fn bytes(&mut self, field: &'static str) -> Vec<u8> {
        match (field, self.rng.random_range(0..4)) {
            ("records", 0..3) => self.batch(),
            ("request_data", 0..3) => {
                let (api, version) = self.one(&[(ApiKey::CreateTopics, 7), (ApiKey::CreatePartitions, 3)]);
                let mut data = vec![0, api as u8, 0, version as u8, 0, 0, 0, 1, 0xff, 0xff, 0];
                data.extend(compose::request(api, version, self).unwrap_or_default());
                data
            }
            ("metadata", 0..3) => vec![
                0, 1, 0, 0, 0, 1, 0, 6, b'o', b'r', b'd', b'e', b'r', b's', 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff,
                0xff,
            ],
            _ => (0..self.rng.random_range(0..40)).map(|_| self.rng.random()).collect(),
        }
    }
    fn uuid(&mut self, _: &'static str) -> [u8; 16] {
        match self.rng.random_range(0..4) {
            0 => [0; 16],
            1 => self.rng.random(),
            _ => self.topic.into_bytes(),
        }
    }
    fn count(&mut self, _: &'static str) -> usize {
        self.one(&[0, 1, 1, 1, 2, 3])
    }
    fn absent(&mut self, field: &'static str) -> bool {
        self.rng.random_range(0..3) == 0 || field == "transactional_id" && self.rng.random_range(0..5) > 0
    }
}

/// Damages bytes a little.
fn damage(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return bytes.push(rng.random());
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.random()),
            _ => {
                let end = bytes.len().min(at + 4);
                bytes[at..end].fill([0xff, 0x7f, 0][rng.random_range(0..3)]);
            }
        }
    }
}

/// Says what was sent last, if a node panics over it.
struct Last(String);

impl Drop for Last {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last request: {}", self.0);
        }
    }
}

fn quick(config: &mut BrokerConfig) {
    config.offsets_topic_partitions = 1;
    config.offsets_topic_replication = 1;
    config.group_initial_rebalance_delay = Duration::from_millis(5);
    config.group_min_session = Duration::from_millis(1);
    config.replica_fetch_wait_max = Duration::from_millis(50);
}

/// A cluster with a topic and a coordinator. Of one broker: it leads and coordinates all there is.
fn target(brokers: i32) -> Cluster {
    let mut c = Cluster::new(brokers, Truncation::Fetch, Defects::NONE, VersionCaps::default(), quick);
    c.run(500);
    let topic =
        CreatableTopic::default().with_name(name()).with_num_partitions(2).with_replication_factor(brokers as i16);
    c.ask(1, 7, CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000));
    c.ask(1, 0, FindCoordinatorRequest::default().with_key(StrBytes::from_static_str(GROUPS[0])));
    c.run(500);
    c
}

/// Sends `rounds` requests to the nodes of a cluster; returns how many the nodes saw.
fn storm(seed: u64, brokers: i32, doors: &[Listener], rounds: usize) -> usize {
    let mut c = target(brokers);
    let topic = c.controller().partitions[0].partition.topic.0;
    let epochs = (1..=brokers as usize).filter_map(|h| c.broker(h).epoch.map(|e| e.0)).collect();
    let mut malice = Malice { rng: ChaCha8Rng::seed_from_u64(seed), topic, members: Vec::new(), epochs };
    let mut conns: BTreeMap<ConnId, (usize, Listener)> = BTreeMap::new();
    let mut asked: BTreeMap<i32, (ConnId, String)> = BTreeMap::new();
    let mut last = Last(String::new());
    let mut seen = 0;
    for _ in 0..rounds {
        let broker = malice.rng.random_range(1..=brokers as usize);
        let listener = malice.one(doors);
        let host = if listener == Listener::Controller { 0 } else { broker };
        let open = conns.iter().find(|(_, at)| **at == (host, listener)).map(|(conn, _)| *conn);
        let conn = open.unwrap_or_else(|| c.connect_to(host, listener));
        conns.insert(conn, (host, listener));
        let (api, range) = malice.one(offered(listener));
        let version = malice.rng.random_range(range.min..=range.max);
        let mut bytes = compose::request(api, version, &mut malice).unwrap();
        if malice.rng.random() {
            damage(&mut bytes, &mut malice.rng);
        }
        let bound = |len: usize| BESIDE + PER_BYTE * len as u64;
        last.0 = format!("{api:?} {version} {bytes:?}");
        let mut decoded = None;
        let taken = allocation_counter::measure(|| {
            if check_request(api, version, &bytes).is_ok() {
                decoded = RequestKind::decode(api, &mut Bytes::copy_from_slice(&bytes), version).ok();
            }
        });
        assert!(taken.bytes_max <= bound(bytes.len()), "{taken:?}: {}", last.0);
        // What is refused closes the connection, and that is the shell's business.
        let Some(request) = decoded else { continue };
        last.0 = format!("{version} {request:?}");
        seen += 1;
        let mut correlation = 0;
        let taken = allocation_counter::measure(|| correlation = c.send(host, conn, version, request));
        assert!(taken.bytes_max <= bound(bytes.len()), "{taken:?}: {}", last.0);
        c.run(malice.rng.random_range(0..3));
        asked.insert(correlation, (conn, last.0.clone()));
        for answer in std::mem::take(&mut c.answers) {
            asked.remove(&answer.correlation);
            match answer.response {
                ResponseKind::JoinGroup(r) => malice.members.push(r.member_id.to_string()),
                ResponseKind::ConsumerGroupHeartbeat(r) => malice.members.extend(r.member_id.map(|m| m.to_string())),
                _ => {}
            }
        }
        // Whoever waits is hung up on now and then.
        if malice.rng.random_range(0..10) == 0 {
            c.hang_up(host, conn);
            c.closed.push(conn);
        }
        for conn in std::mem::take(&mut c.closed) {
            conns.remove(&conn);
            asked.retain(|_, (at, _)| *at != conn);
        }
    }
    c.run(3 * LONGEST_WAIT as u64);
    for answer in std::mem::take(&mut c.answers) {
        asked.remove(&answer.correlation);
    }
    asked.retain(|_, (conn, what)| !c.closed.contains(conn) && !is_silent(what));
    assert!(asked.is_empty(), "never answered: {asked:?}");
    last.0 = "none of them".to_owned();
    // Whoever reaches a controller may register as anybody, and fence a broker by it.
    if !doors.contains(&Listener::Controller) {
        still_serving(&mut c);
    }
    assert!((0..=brokers as usize).all(|host| c.is_up(host)));
    seen
}

/// Nobody answers a Produce request with acks=0.
fn is_silent(request: &str) -> bool {
    request.contains("ProduceRequest") && request.contains("acks: 0")
}

/// A client that means well is served.
fn still_serving(c: &mut Cluster) {
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("afterwards")))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let created = c.ask(1, 7, CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000));
    assert!(matches!(created, ResponseKind::CreateTopics(r) if r.topics[0].error_code == 0));
}

#[test]
fn a_storm_of_hostile_requests_is_answered_or_refused() {
    let doors = [Listener::Client, Listener::Client, Listener::InterBroker];
    let seen: usize = (0..6).map(|seed| storm(seed, if seed % 3 == 0 { 3 } else { 1 }, &doors, 400)).sum();
    assert!(seen > 1000, "only {seen} requests reached a node");
}

#[test]
fn a_controller_bears_it_too() {
    let doors = [Listener::Controller, Listener::Controller, Listener::Client];
    let seen: usize = (0..6).map(|seed| storm(seed, 1 + seed as i32 % 3, &doors, 200)).sum();
    assert!(seen > 500, "only {seen} requests reached a node");
}
