//! The judge on real nodes: a small cluster under faults, in both eras of truncation, must be found innocent; and with
//! a published bug switched on, guilty.

use super::super::*;
use crate::des::{ClockSpec, CpuProfile, HostSpec, NodeKind, NodeSpec, Sim, SimConfig, Stop};
use crate::disk::DiskProfile;
use klamm_model::broker::{Broker, BrokerSpec, Truncation};
use klamm_model::client::admin::{Admin, AdminConfig, NewTopic};
use klamm_model::client::consumer::{Consumer, StartAt};
use klamm_model::client::producer::{Producer, ProducerRecord};
use klamm_model::config::{BrokerConfig, ConsumerConfig, ProducerConfig, Properties};
use klamm_model::controller::{Controller, ControllerSpec};
use klamm_model::defects::Defects;
use klamm_model::history::TopicPartition;
use klamm_model::inspect::ClientInspection;
use klamm_model::node::{Endpoint, Input, Listener, Node, Outbox, Output};
use klamm_model::units::{Duration, Now};
use klamm_model::versions::VersionCaps;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::sync::Arc;

/// Creates the topic, sends a record every few milliseconds until `until`, and reads everything.
struct App {
    admin: Admin,
    producer: Producer,
    consumer: Consumer,
    next: u64,
    due: Instant,
    until: Instant,
}

impl Node for App {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        let mut input = Some(input);
        if let Some(Input::Start { rng, .. }) = &input {
            let mut rng = (**rng).clone();
            let mut one = || ChaCha8Rng::seed_from_u64(rng.random_range(0..u64::MAX));
            self.admin.start(now, one());
            self.producer.start(now, one());
            self.consumer.start(now, one());
            let configs = vec![("min.insync.replicas".to_owned(), "2".to_owned())];
            let topic = NewTopic { name: Arc::from("t"), partitions: 2, replication: 3, configs };
            self.admin.create_topic(now, topic, 1);
            let parts =
                (0..2).map(|partition| (TopicPartition { topic: Arc::from("t"), partition }, StartAt::Earliest));
            self.consumer.assign(now, &parts.collect::<Vec<_>>());
            self.due = now.mono + Duration::from_secs(1);
            input = None;
        }
        if let Some(Input::Shutdown) = input {
            out.push(Output::Exit);
            return;
        }
        input = input.and_then(|i| self.admin.on_input(now, i, out));
        input = input.and_then(|i| self.producer.on_input(now, i, out));
        let _ = input.and_then(|i| self.consumer.on_input(now, i, out));
        while self.due <= now.mono && self.due < self.until {
            let value = self.next.to_be_bytes();
            let record = ProducerRecord {
                topic: "t",
                partition: Some((self.next % 2) as i32),
                key: None,
                value: Some(&value),
                headers: &[],
                timestamp: None,
            };
            let _ = self.producer.send(now, record, self.next, out);
            self.next += 1;
            self.due += Duration::from_millis(7);
        }
        if self.due < self.until {
            out.wake_at(self.due);
        }
        while self.consumer.poll_records(now, |_, _| {}) > 0 {}
        self.admin.poll(now, out);
        self.producer.poll(now, out);
        self.consumer.poll(now, out);
        while self.admin.next_event().is_some() {}
        while self.producer.next_event().is_some() {}
        while self.consumer.next_event().is_some() {}
    }
    fn inspect(&self) -> Inspection {
        let pending_sends = self.producer.pending() as u64;
        Inspection::Client(ClientInspection { pending_sends, ..ClientInspection::default() })
    }
}

fn properties(list: &[(&str, &str)]) -> Properties {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

struct Run {
    judge: Invariants,
    unmet: Vec<Unmet>,
    stop: Stop,
}

/// Twelve seconds of faults drawn from the seed, then peace until the cluster has converged.
fn run(seed: u64, truncation: Truncation, elr: bool, defects: Defects) -> Run {
    let mut sim = Sim::new(SimConfig::new(seed));
    let host = |name: &str| HostSpec {
        name: name.to_owned(),
        cpu: CpuProfile::default(),
        disk: DiskProfile::ssd(),
        clock: ClockSpec::default(),
    };
    let broker_config = properties(&[
        ("min.insync.replicas", "2"),
        ("replica.lag.time.max.ms", "1500"),
        ("replica.fetch.wait.max.ms", "100"),
        ("replica.fetch.backoff.ms", "100"),
        ("broker.session.timeout.ms", "1000"),
        ("broker.heartbeat.interval.ms", "200"),
        ("replica.high.watermark.checkpoint.interval.ms", "500"),
        ("log.flush.offset.checkpoint.interval.ms", "1000"),
        ("log.segment.bytes", "16384"),
    ]);
    let (broker_config, _) = BrokerConfig::read_scaled(&broker_config).expect("a valid configuration");
    let cluster_id = Uuid::from_u128(1);
    let voters = vec![(NodeId(100), Endpoint::new("c1", 9093))];
    let caps = VersionCaps::default();
    let mut nodes = Vec::new();
    let c1 = sim.add_host(host("c1"));
    let spec = ControllerSpec {
        id: NodeId(100),
        config: broker_config.clone(),
        cluster_id,
        dir_id: Uuid::from_u128(1000),
        shares_disk: false,
        voters: voters.clone(),
        elr,
        defects,
        caps: caps.clone(),
    };
    nodes.push(NodeSetup { name: "c1".to_owned(), host: c1, role: Role::Controller(NodeId(100)) });
    sim.add_node(NodeSpec {
        name: "c1".to_owned(),
        host: c1,
        kind: NodeKind::Controller(NodeId(100)),
        listeners: vec![(Listener::Controller, 9093)],
        make: Box::new(move |_| Box::new(Controller::new(spec.clone()))),
    });
    let mut brokers = Vec::new();
    for id in 1..=3 {
        let name = format!("b{id}");
        let host = sim.add_host(host(&name));
        brokers.push(host);
        let spec = BrokerSpec {
            id: NodeId(id),
            config: broker_config.clone(),
            client: Endpoint::new(&name, 9092),
            inter_broker: Endpoint::new(&name, 9094),
            controllers: voters.clone(),
            truncation,
            defects,
            caps: caps.clone(),
            cluster_id,
            dir_id: Uuid::from_u128(1050 + id as u128),
        };
        nodes.push(NodeSetup { name: name.clone(), host, role: Role::Broker(NodeId(id)) });
        sim.add_node(NodeSpec {
            name,
            host,
            kind: NodeKind::Broker(NodeId(id)),
            listeners: vec![(Listener::Client, 9092), (Listener::InterBroker, 9094)],
            make: Box::new(move |_| Box::new(Broker::new(spec.clone()))),
        });
    }
    let p1 = sim.add_host(host("p1"));
    nodes.push(NodeSetup { name: "p1".to_owned(), host: p1, role: Role::Client });
    let end = Duration::from_secs(13);
    sim.add_node(NodeSpec {
        name: "p1".to_owned(),
        host: p1,
        kind: NodeKind::Client(ClientId(1)),
        listeners: vec![],
        make: Box::new(move |_| {
            let bootstrap: Vec<_> = (1..=3).map(|id| Endpoint::new(format!("b{id}"), 9092)).collect();
            let producer = properties(&[("delivery.timeout.ms", "5000"), ("request.timeout.ms", "2000")]);
            let (producer, _) = ProducerConfig::parse(&producer).expect("a valid configuration");
            let consumer = ConsumerConfig::kafka_defaults();
            Box::new(App {
                admin: Admin::new(AdminConfig::kafka_defaults(), bootstrap.clone(), VersionCaps::default()),
                producer: Producer::new(producer, bootstrap.clone(), VersionCaps::default(), defects),
                consumer: Consumer::new(consumer, bootstrap, VersionCaps::default(), Defects::NONE),
                next: 0,
                due: Instant::MAX,
                until: Instant::ZERO + end,
            })
        }),
    });
    let topic = TopicSetup { min_insync_replicas: 2, retention_bytes: -1, retention_ms: 604_800_000, compaction: None };
    let mut judge = Invariants::new(Setup {
        nodes,
        topics: BTreeMap::new(),
        default_topic: topic,
        elr,
        consumer_session: Duration::from_secs(45),
        clocks_agree: true,
    });
    for host in sim.hosts().filter(|h| *h != p1).collect::<Vec<_>>() {
        sim.start(host);
    }
    let at = |secs: u64| Instant::ZERO + Duration::from_millis(secs);
    // A topic of three replicas needs three registered brokers.
    let mut stop = sim.run_until(at(1_000), &mut judge);
    sim.start(p1);
    if stop == Stop::Reached {
        stop = sim.run_until(at(3_000), &mut judge);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut t = 3_000;
    while t < 12_000 && stop == Stop::Reached {
        let target = brokers[rng.random_range(0..3usize)];
        let others: Vec<_> = sim.hosts().filter(|h| *h != target).collect();
        let lasts = rng.random_range(50..2_500u64);
        t += lasts;
        match rng.random_range(0..5u32) {
            0 => {
                sim.kill(target);
                stop = sim.run_until(at(t), &mut judge);
                sim.start(target);
            }
            1 => {
                sim.power_loss(&[target]);
                stop = sim.run_until(at(t), &mut judge);
                sim.start(target);
            }
            2 => {
                sim.pause(target);
                stop = sim.run_until(at(t), &mut judge);
                sim.resume(target);
            }
            3 => {
                let rule = sim.partition(&[target], &others, rng.random_range(0..2u32) == 0);
                stop = sim.run_until(at(t), &mut judge);
                sim.remove_rule(rule);
            }
            _ => {
                sim.shutdown(target);
                stop = sim.run_until(at(t), &mut judge);
                sim.start(target);
            }
        }
        t += rng.random_range(50..3_000u64);
        if stop == Stop::Reached {
            stop = sim.run_until(at(t), &mut judge);
        }
    }
    let accounts = |sim: &Sim| -> Vec<Account> {
        sim.nodes().map(|node| Account { node, inspection: sim.inspect(node) }).collect()
    };
    let files = |sim: &Sim| -> Vec<ReplicaFiles> {
        let all = sim.nodes().filter(|n| matches!(sim.node_kind(*n), NodeKind::Broker(_)));
        all.map(|node| ReplicaFiles { node, files: sim.disk(sim.node_host(node)).pieces().collect() }).collect()
    };
    judge.audit(AuditAt::Hardship, sim.now(), &files(&sim), &accounts(&sim));
    let mut unmet = Vec::new();
    for _ in 0..60 {
        t += 500;
        // A shutdown may have ended after its host was to be restarted.
        brokers.iter().for_each(|host| sim.start(*host));
        stop = sim.run_until(at(t), &mut judge);
        unmet = judge.unmet(&accounts(&sim), &[]);
        if (unmet.is_empty() && t > 14_000) || stop != Stop::Reached {
            break;
        }
    }
    if unmet.is_empty() {
        judge.audit(AuditAt::Convergence, sim.now(), &files(&sim), &accounts(&sim));
    }
    Run { judge, unmet, stop }
}

/// As many as a quick test has time for; campaigns judge the rest.
fn seeds() -> std::ops::Range<u64> {
    1..5
}

fn era(seed: u64) -> Truncation {
    if seed.is_multiple_of(2) { Truncation::Fetch } else { Truncation::OffsetForLeaderEpoch }
}

#[test]
fn correct_nodes_are_innocent() {
    let mut committed = 0;
    let mut wrong = Vec::new();
    for seed in seeds() {
        let run = run(seed, era(seed), !seed.is_multiple_of(3), Defects::NONE);
        wrong.extend(run.judge.findings().iter().map(|f| format!("seed {seed}: {f} {:?}", f.witness)));
        wrong.extend(run.unmet.iter().map(|u| format!("seed {seed}: {} {}", u.condition, u.detail)));
        assert_eq!(run.stop, Stop::Reached, "seed {seed}");
        committed += run.judge.committed().map(|(_, _, end)| end.0).sum::<i64>();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(committed > 100 * seeds().count() as i64, "hardly anything was written: {committed}");
}
