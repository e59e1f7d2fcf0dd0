//! A live cluster, used by a client that nobody here wrote: rskafka.

use klamm_model::config::{BrokerConfig, Properties};
use klamm_model::ids::NodeId;
use klamm_scenarios::serve::control::Control;
use klamm_world::faults::{Action, Who};
use klamm_world::live::cluster::{Cluster, ClusterSpec, Members};
use klamm_world::live::inject::{Deed, Injector};
use klamm_world::shell::limits::Limits;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const READY: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);

fn spec(brokers: u32, data: Option<PathBuf>) -> ClusterSpec {
    let few = brokers.min(3).to_string();
    let settings: Properties = [
        ("offsets.topic.replication.factor", few.as_str()),
        ("offsets.topic.num.partitions", "3"),
        ("broker.session.timeout.ms", "1500"),
        ("broker.heartbeat.interval.ms", "200"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    ClusterSpec {
        brokers,
        listen: "127.0.0.1:0".parse().unwrap(),
        data,
        config: BrokerConfig::parse(&settings).unwrap().0,
        limits: Limits::default(),
        members: Members::All,
    }
}

fn start(spec: &ClusterSpec) -> Cluster {
    let cluster = Cluster::start(spec).unwrap();
    assert!(cluster.await_ready(READY), "not ready within {READY:?}");
    cluster
}

fn record(text: String) -> Record {
    Record {
        key: Some(b"k".to_vec()),
        value: Some(text.into_bytes()),
        headers: BTreeMap::from([("h".to_owned(), b"x".to_vec())]),
        // Of now: retention deletes what is a week old.
        timestamp: std::time::SystemTime::now().into(),
    }
}

async fn client(cluster: &Cluster) -> Client {
    let bootstrap = cluster.bootstrap().split(',').map(str::to_owned).collect();
    ClientBuilder::new(bootstrap).build().await.unwrap()
}

async fn partition(client: &Client) -> PartitionClient {
    client.partition_client("orders", 0, UnknownTopicHandling::Retry).await.unwrap()
}

async fn produce(client: &PartitionClient, values: std::ops::Range<u32>) {
    for value in values {
        client.produce(vec![record(format!("v{value}"))], Compression::NoCompression).await.unwrap();
    }
}

async fn read_all(client: &PartitionClient) -> Vec<String> {
    let end = client.get_offset(OffsetAt::Latest).await.unwrap();
    let mut at = client.get_offset(OffsetAt::Earliest).await.unwrap();
    let mut values = Vec::new();
    while at < end {
        let (records, _) = client.fetch_records(at, 1..1_000_000, 1000).await.unwrap();
        for record in records {
            assert_eq!(record.offset, at);
            values.push(String::from_utf8(record.record.value.unwrap()).unwrap());
            at += 1;
        }
    }
    values
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("it takes too long") });
}

fn leader(cluster: &Cluster) -> NodeId {
    let account = cluster.controller().unwrap();
    account.partitions.iter().find(|p| p.topic == "orders").unwrap().leader
}

#[test]
fn what_was_acknowledged_survives_the_leaders_death() {
    run(async {
        let cluster = start(&spec(3, None));
        let client = client(&cluster).await;
        client.controller_client().unwrap().create_topic("orders", 1, 3, 10_000).await.unwrap();
        let orders = partition(&client).await;
        produce(&orders, 0..50).await;
        let dead = leader(&cluster);
        assert!(cluster.kill(&format!("b{dead}")));
        produce(&orders, 50..100).await;
        assert_ne!(leader(&cluster), dead);
        let values = read_all(&orders).await;
        let distinct: BTreeSet<&String> = values.iter().collect();
        // rskafka sends again what it had no answer to, and is not idempotent: twice is possible, never is not.
        assert!((0..100).all(|n| distinct.contains(&format!("v{n}"))), "{values:?}");
        cluster.restart(&format!("b{dead}")).unwrap();
        assert!(cluster.await_ready(READY));
        assert!(cluster.shut_down_all(Duration::from_secs(20)).is_empty());
    });
}

#[test]
fn data_survives_kills_and_orderly_ends_of_everything() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(1, Some(dir.path().to_owned()));
    run(async {
        let first = start(&spec);
        assert!(Cluster::start(&spec).is_err_and(|e| e.to_string().contains("by another process")));
        let client_of_first = client(&first).await;
        client_of_first.controller_client().unwrap().create_topic("orders", 1, 1, 10_000).await.unwrap();
        produce(&partition(&client_of_first).await, 0..20).await;
        drop(first); // A kill of every process.
        let second = start(&spec);
        produce(&partition(&client(&second).await).await, 20..40).await;
        assert!(second.shut_down_all(Duration::from_secs(20)).is_empty());
        drop(second);
        let third = start(&spec);
        let values = read_all(&partition(&client(&third).await).await).await;
        assert_eq!(values, (0..40).map(|n| format!("v{n}")).collect::<Vec<_>>());
    });
}

fn ask(at: std::net::SocketAddr, request: &str, body: &str) -> String {
    let length = body.len();
    let whole = format!("{request} HTTP/1.1\r\nHost: {at}\r\nContent-Length: {length}\r\n\r\n{body}");
    raw(at, &whole)
}

fn raw(at: std::net::SocketAddr, request: &str) -> String {
    let mut tcp = std::net::TcpStream::connect(at).unwrap();
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn faults_by_hand_are_done_told_and_lifted() {
    run(async {
        let cluster = Arc::new(start(&spec(1, None)));
        let injector = Arc::new(Injector::new(cluster.clone(), 1));
        let at = "127.0.0.1:0".parse().unwrap();
        let control = Control::start(at, cluster.clone(), injector.clone(), 1).unwrap().address;
        let client = client(&cluster).await;
        client.controller_client().unwrap().create_topic("orders", 1, 1, 10_000).await.unwrap();
        let orders = partition(&client).await;
        produce(&orders, 0..1).await;

        let state = ask(control, "GET /state", "");
        assert!(state.contains("\"topic\":\"orders\"") && state.contains("\"high-watermark\":1"), "{state}");
        // One answer in error: rskafka asks again, and gets through.
        let body =
            r#"{"kind": "answer", "who": "b1", "api": "Produce", "error": "NOT_LEADER_OR_FOLLOWER", "times": 1}"#;
        assert!(ask(control, "POST /faults", body).contains("200 OK"));
        produce(&orders, 1..2).await;
        assert!(injector.in_force().is_empty(), "it has been given once");

        // A stalled disk acknowledges nothing until it goes on.
        let stalled = ask(control, "POST /faults", r#"{"kind": "disk-stall", "who": "leader(orders-0)"}"#);
        assert!(stalled.contains("disk-stall b1"), "{stalled}");
        let produced = tokio::time::timeout(Duration::from_millis(300), produce(&orders, 2..3)).await;
        assert!(produced.is_err(), "the disk is stalled");
        assert!(ask(control, "DELETE /faults", "").contains("disk-stall b1"));
        produce(&orders, 3..4).await;

        let bomb = r#"{"kind": "kill", "who": "b1", "for": "1s", "times": 1000000000}"#;
        let refused = ask(control, "POST /faults", bomb);
        assert!(refused.contains("400") && refused.contains("`times` must be at most 1000"), "{refused}");
        let refused = ask(control, "POST /faults", r#"{"kind": "kill", "who": "leader(order-0)"}"#);
        assert!(
            refused.contains("400") && refused.contains("no topic `order` yet; did you mean `orders`"),
            "{refused}"
        );
        let refused = ask(control, "POST /faults", r#"{"kind": "kill", "who": "leader(orders-7)"}"#);
        assert!(refused.contains("400") && refused.contains("`orders` has no partition 7 yet"), "{refused}");
        let refused = ask(control, "POST /faults", r#"{"kind": "power-loss", "who": "b1"}"#);
        assert!(refused.contains("400") && refused.contains("`power-loss` cannot be done"), "{refused}");
        assert!(ask(control, "GET /state HTTP/1.1\r\nOrigin: http://x\r\nX:", "").contains("403"));
        let rebound = ask(control, "GET /state HTTP/1.1\r\nHost: rebound.example\r\nX:", "");
        assert!(rebound.contains("400"), "two hosts: {rebound}");
        let elsewhere = raw(control, "POST /faults HTTP/1.1\r\nHost: rebound.example\r\nContent-Length: 2\r\n\r\n{}");
        assert!(elsewhere.contains("421") && elsewhere.contains("this Host is not here"), "{elsewhere}");
        let large = raw(control, "POST /faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n");
        assert!(large.contains("413"), "{large}");
        assert!(ask(control, "GET /nothing", "").contains("404"));
    });
}

#[test]
fn a_delay_and_a_cut_reach_clients_and_are_over_when_lifted() {
    run(async {
        let cluster = Arc::new(start(&spec(1, None)));
        let injector = Injector::new(cluster.clone(), 1);
        let client = client(&cluster).await;
        client.controller_client().unwrap().create_topic("orders", 1, 1, 10_000).await.unwrap();
        let orders = partition(&client).await;
        produce(&orders, 0..1).await;
        let (a, b) = (vec![Who("b1".into())], vec![Who("clients".into())]);
        let slow = Action::Latency { a: a.clone(), b: b.clone(), extra: 50_000_000 };
        let slow = injector.inject(&Deed::Action(slow), None).unwrap().0.unwrap();
        let began = std::time::Instant::now();
        produce(&orders, 1..3).await;
        assert!(began.elapsed() >= Duration::from_millis(200), "two round trips of twice 50 ms: {:?}", began.elapsed());
        injector.lift(slow).unwrap();
        let cut = Action::Partition { a: a.clone(), b: b.clone(), one_way: false };
        let cut = injector.inject(&Deed::Action(cut), None).unwrap().0.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(300), produce(&orders, 3..4)).await.is_err());
        injector.lift(cut).unwrap();
        let orders = partition(&client).await;
        produce(&orders, 4..5).await;
        let reset = injector.inject(&Deed::Action(Action::Reset { a, b }), None).unwrap();
        assert!(reset.0.is_none() && !reset.1.contains("reset 0"), "{}", reset.1);
        produce(&orders, 5..6).await;
        let values = read_all(&orders).await;
        for value in ["v0", "v1", "v2", "v4", "v5"] {
            assert!(values.iter().any(|v| v == value), "{value} is not among {values:?}");
        }
    });
}

/// A kind of fault that happens to one host.
type Kind = fn(Who) -> Action;

fn deed(action: Kind, who: &str) -> Deed {
    Deed::Action(action(Who(who.into())))
}

fn state_of(injector: &Injector, host: &str) -> &'static str {
    injector.supervisor().account(host).unwrap().state
}

#[test]
fn overlapping_faults_of_one_host_end_each_at_its_time() {
    let cluster = Arc::new(start(&spec(3, None)));
    let injector = Injector::new(cluster.clone(), 1);
    let kill = |who| Action::Kill { who };
    let pause = |who| Action::Pause { who };
    let faults: &[(Kind, &str, u64)] = &[
        (kill, "b1", 3000),
        // Of hosts that are down, or paused, already.
        (kill, "b1", 1500),
        (|who| Action::Shutdown { who }, "b1", 1600),
        (pause, "b1", 1000),
        (pause, "b3", 1000),
        (pause, "b3", 2000),
        // Of others, at the same times.
        (|who| Action::DiskStall { who }, "b2", 1500),
        (|who| Action::DiskSlow { who, factor: 3 }, "b2", 1501),
        (|who| Action::DiskSlow { who, factor: 2 }, "c1", 2000),
    ];
    let mut due = std::collections::BTreeMap::new();
    let began = std::time::Instant::now();
    for (action, who, ms) in faults {
        let (id, what) = injector.inject(&deed(*action, who), Some(Duration::from_millis(*ms))).unwrap();
        assert_eq!(what.contains("already"), *who == "b1" && *ms < 3000, "{what}");
        due.insert(id.unwrap(), began.elapsed() + Duration::from_millis(*ms));
    }
    let late = Duration::from_millis(300);
    let mut up = None;
    while began.elapsed() < Duration::from_secs(5) {
        injector.lift_due();
        injector.supervisor().tick();
        let now = began.elapsed();
        let in_force: BTreeSet<u64> = injector.in_force().iter().map(|f| f.id).collect();
        for (id, at) in &due {
            assert!(
                now < *at + late || !in_force.contains(id),
                "fault {id} should have ended at {at:?}, it is {now:?}"
            );
            assert!(now >= *at || in_force.contains(id), "fault {id} should end at {at:?}, it is {now:?}");
        }
        if up.is_none() && cluster.host("b1").unwrap().is_up() {
            up = Some(now);
        }
        if (Duration::from_millis(1400)..Duration::from_millis(1900)).contains(&now) {
            assert_eq!((state_of(&injector, "b3"), state_of(&injector, "b1")), ("paused", "down"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let up = up.expect("b1 runs again");
    assert!(
        up >= Duration::from_secs(3) && up < Duration::from_secs(3) + late,
        "{up:?}: with the last that held it down"
    );
    assert_eq!((state_of(&injector, "b3"), state_of(&injector, "b1")), ("up", "up"));
    assert!(cluster.await_ready(READY));
}

#[test]
fn a_host_that_is_killed_again_and_again_comes_back_and_a_restart_ends_what_held_it_down() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(1, Some(dir.path().to_owned()));
    let cluster = Arc::new(start(&spec));
    let injector = Injector::new(cluster.clone(), 1);
    let kill =
        |ms: u64| injector.inject(&deed(|who| Action::Kill { who }, "b1"), Some(Duration::from_millis(ms))).unwrap();
    let ticks = |ms: u64| {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(ms) {
            injector.lift_due();
            injector.supervisor().tick();
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for round in 0..20 {
        // In the middle of a restart, and of another kill.
        kill(20 + round % 3 * 15);
        ticks(10 + round * 3);
    }
    ticks(1000);
    assert!(cluster.await_ready(READY));
    kill(3_600_000);
    ticks(100);
    assert_eq!((state_of(&injector, "b1"), injector.in_force().len()), ("down", 1));
    injector.inject(&deed(|who| Action::Restart { who }, "b1"), None).unwrap();
    ticks(100);
    assert_eq!((state_of(&injector, "b1"), injector.in_force().len()), ("up", 0));
    assert!(cluster.await_ready(READY));
    // What is wiped comes back empty, and the directory is still this process's.
    let checkpoint = dir.path().join("b1/meta.properties");
    assert!(checkpoint.exists());
    injector.inject(&deed(|who| Action::Wipe { who }, "b1"), Some(Duration::from_millis(500))).unwrap();
    ticks(300);
    assert!(!checkpoint.exists() && state_of(&injector, "b1") == "down");
    assert!(Cluster::start(&spec).is_err_and(|e| e.to_string().contains("by another process")));
    ticks(500);
    assert!(cluster.await_ready(READY) && checkpoint.exists());
}

#[test]
fn faults_in_force_are_bounded() {
    let cluster = Arc::new(start(&spec(1, None)));
    let injector = Injector::new(cluster, 1);
    let slow = deed(|who| Action::DiskSlow { who, factor: 1 }, "c1");
    for _ in 0..klamm_world::live::inject::MAX_IN_FORCE {
        injector.inject(&slow, None).unwrap();
    }
    assert!(injector.inject(&slow, None).unwrap_err().to_string().contains("1000 faults are in force"));
    injector.lift(1).unwrap();
    injector.inject(&slow, None).unwrap();
}

/// A Fetch of version 4 for all there is of `orders-0`.
fn fetch(correlation: i32) -> Vec<u8> {
    use kafka_protocol::messages::FetchRequest;
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    let part = FetchPartition::default().with_partition(0).with_fetch_offset(0).with_partition_max_bytes(50 << 20);
    let topic =
        FetchTopic::default().with_topic(StrBytes::from_static_str("orders").into()).with_partitions(vec![part]);
    let request = FetchRequest::default().with_max_bytes(50 << 20).with_min_bytes(1).with_topics(vec![topic]);
    let mut bytes = bytes::BytesMut::new();
    bytes.extend_from_slice(&1i16.to_be_bytes());
    bytes.extend_from_slice(&4i16.to_be_bytes());
    bytes.extend_from_slice(&correlation.to_be_bytes());
    bytes.extend_from_slice(&(-1i16).to_be_bytes());
    request.encode(&mut bytes, 4).unwrap();
    [&(bytes.len() as i32).to_be_bytes()[..], &bytes].concat()
}

#[test]
fn peers_that_read_no_answers_take_bounded_memory_and_stop_nobody() {
    run(async {
        let mut spec = spec(1, None);
        spec.limits.answer_bytes = 8 << 20;
        let cluster = start(&spec);
        let client = client(&cluster).await;
        client.controller_client().unwrap().create_topic("orders", 1, 1, 10_000).await.unwrap();
        let orders = partition(&client).await;
        for n in 0..3u8 {
            let record = Record { value: Some(vec![n; 900_000]), ..record(String::new()) };
            orders.produce(vec![record], Compression::NoCompression).await.unwrap();
        }
        let mut deaf = Vec::new();
        for _ in 0..30 {
            let mut tcp = std::net::TcpStream::connect(cluster.bootstrap()).unwrap();
            (0..8).for_each(|n| tcp.write_all(&fetch(n)).unwrap());
            deaf.push(tcp);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(read_all(&orders).await.len(), 3, "who reads is served");
        produce(&orders, 0..5).await;
        let whole = 8 * 2_700_000;
        let mut cut = 0;
        for mut tcp in deaf {
            tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let (mut got, mut chunk) = (0, vec![0; 1 << 20]);
            while got < whole
                && let Ok(n) = tcp.read(&mut chunk)
                && n > 0
            {
                got += n;
            }
            cut += usize::from(got < whole);
        }
        assert!(cut >= 20, "{cut} of 30 were closed: 8 MiB of answers may wait, and each has more than 21 MB to come");
    });
}
