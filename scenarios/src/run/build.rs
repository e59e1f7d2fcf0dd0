//! Builds a world from a settled scenario: hosts, brokers, controllers, client applications.

use super::kinds::WorldKind;
use crate::interrupt::Interrupt;
use crate::schema::{ClientKind, ClientSpec, Draw, LoadSpec, Scenario, Settings, Size, Span, keyed};
use klamm_model::broker::{Broker, BrokerSpec, Truncation};
use klamm_model::client::admin::NewTopic;
use klamm_model::client::consumer::StartAt;
use klamm_model::config::{BrokerConfig, ConsumerConfig, ProducerConfig, Properties, TopicConfig};
use klamm_model::controller::{Controller, ControllerSpec};
use klamm_model::defects::Defects;
use klamm_model::history::{Processing, TopicPartition};
use klamm_model::ids::*;
use klamm_model::node::{Endpoint, Listener, Node};
use klamm_model::units::Duration;
use klamm_model::versions::VersionCaps;
use klamm_workloads::apps::*;
use klamm_workloads::load::{ArrivalKind, KeyChooser, Keys, ServiceTime, Sizes};
use klamm_world::des::{ClockSpec, CpuProfile, HostSpec, NetworkProfile, NodeKind, NodeSpec, SimConfig};
use klamm_world::event::{HostId, NodeRef};
use klamm_world::invariants::{CompactionSetup, NodeSetup, Role, Setup, TopicSetup};
use klamm_world::shell::planted::Planted;
use klamm_world::world::World;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Brokers' client port.
const CLIENT_PORT: u16 = 9092;
/// Brokers' port for each other.
const INTER_BROKER_PORT: u16 = 9091;
/// Controllers' port.
const CONTROLLER_PORT: u16 = 9093;
/// The first controller's node id; brokers count from 1.
const FIRST_CONTROLLER: i32 = 101;

/// Whether a client is part of the load, and not one of the harness's own applications.
pub fn is_load(client: ClientId) -> bool {
    client.0 < SETUP.0
}

/// Client numbers of the applications that belong to the harness.
const SETUP: ClientId = ClientId(1000);
const PROBE: ClientId = ClientId(1001);
const FINAL_READER: ClientId = ClientId(1002);
const GROWER: ClientId = ClientId(1003);

/// What one seed is run with, beyond its scenario.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The world it runs in.
    pub world: WorldKind,
    /// A bug planted in every shell: for tests, in the turmoil world.
    pub planted: Option<Planted>,
    /// Defects switched on.
    pub defects: Defects,
    /// Encode and decode every message.
    pub encode_messages: bool,
    /// Hash every message's encoded form.
    pub hash_messages: bool,
    /// Keep the history and the trace of every event. Dear: for failures only.
    pub record: bool,
    /// Keep what the chart of one seed over time shows.
    pub timeline: bool,
    /// Called at every virtual minute of hardship and at its end, with how far it is, in nanoseconds. Changes nothing.
    pub each_minute: Option<fn(u64)>,
    /// What may give the run up; without it a run goes on to its end.
    pub interrupt: Option<Arc<Interrupt>>,
}

/// A world, ready to be started.
pub struct Built {
    /// The world.
    pub sim: Box<dyn World>,
    /// Hosts of brokers and controllers.
    pub servers: Vec<HostId>,
    /// Brokers, by id.
    pub brokers: Vec<(NodeId, NodeRef, HostId)>,
    /// Hosts of load clients, and the nodes on them.
    pub load: Vec<HostId>,
    /// Producers of the load.
    pub producers: Vec<NodeRef>,
    /// Consumers of the load.
    pub consumers: Vec<NodeRef>,
    /// Group members of the load.
    pub members: Vec<NodeRef>,
    /// Whoever gives topics more partitions.
    pub growers: Vec<NodeRef>,
    /// Creates the topics.
    pub setup: (HostId, NodeRef),
    /// Probes the healed cluster.
    pub probe: (HostId, NodeRef),
    /// Reads everything at the end.
    pub final_reader: (HostId, NodeRef),
    /// What it shall read; to be filled before its host is started.
    pub final_partitions: Rc<RefCell<Vec<FinalPartition>>>,
    /// What the invariants must know beforehand.
    pub invariants: Setup,
    /// Every partition of the scenario's topics.
    pub partitions: Vec<TopicPartition>,
    /// Topics that are compacted.
    pub compacted: Vec<Arc<str>>,
    /// Instances of read models.
    pub models: Vec<NodeRef>,
    /// Replication factor and min.insync.replicas, by topic.
    pub durability: BTreeMap<String, (u32, u32)>,
}

impl Built {
    /// The nodes of the load.
    pub fn load_nodes(&self) -> Vec<NodeRef> {
        [&self.producers, &self.consumers, &self.members, &self.growers].into_iter().flatten().copied().collect()
    }
}

/// Settled settings as properties.
pub fn properties(settings: &Settings) -> Properties {
    settings.iter().map(|(k, v)| (k.clone(), v.get().0.clone())).collect()
}

/// Brokers' settings that were checked. A simulated run writes little, so segments may be smaller than Kafka lets them be.
pub fn broker_config(settings: &Settings) -> BrokerConfig {
    let (mut config, _) = BrokerConfig::read_scaled(&properties(settings)).expect("checked: broker settings");
    config.small_segments = true;
    config
}

/// Settings as properties, of what is to be drawn the first value.
pub fn properties_at(settings: &Settings) -> Properties {
    settings.iter().map(|(k, v)| (k.clone(), v.extremes()[0].0.clone())).collect()
}

fn uuid(seed: u64, purpose: &str) -> Uuid {
    Uuid::from_u64_pair(keyed(seed, purpose), keyed(seed, &format!("{purpose}'")))
}

struct Builder<'a> {
    scenario: &'a Scenario,
    seed: u64,
    options: &'a Options,
    sim: Box<dyn World>,
    hosts: BTreeMap<String, HostId>,
    nodes: Vec<NodeSetup>,
}

impl Builder<'_> {
    /// The host of that name, made if it is new.
    fn host(&mut self, name: &str) -> HostId {
        if let Some(host) = self.hosts.get(name) {
            return *host;
        }
        let cluster = &self.scenario.cluster;
        let either_way = |purpose: &str, most: i64| {
            let draw = keyed(self.seed, &format!("{purpose}.{name}"));
            if most == 0 { 0 } else { (draw % (2 * most as u64 + 1)) as i64 - most }
        };
        let clock = ClockSpec {
            monotonic_at_start: Duration::from_nanos(keyed(self.seed, &format!("uptime.{name}")) % 1_000_000_000_000),
            drift_ppm: either_way("drift", i64::from(*cluster.clock_drift_ppm.get())) as i32,
            wall_offset_ms: either_way("offset", cluster.clock_offset.get().0.as_millis() as i64),
        };
        let disk = cluster.disk.profile(false).expect("checked: a known disk");
        let spec = HostSpec { name: name.to_owned(), cpu: CpuProfile::default(), clock, disk };
        let host = self.sim.add_host(spec);
        self.hosts.insert(name.to_owned(), host);
        host
    }

    fn node(
        &mut self,
        name: &str,
        host: HostId,
        kind: NodeKind,
        listeners: Vec<(Listener, u16)>,
        make: impl FnMut(Incarnation) -> Box<dyn Node> + 'static,
    ) -> NodeRef {
        let role = match kind {
            NodeKind::Broker(id) => Role::Broker(id),
            NodeKind::Controller(id) => Role::Controller(id),
            NodeKind::Client(_) => Role::Client,
        };
        self.nodes.push(NodeSetup { name: name.to_owned(), host, role });
        let make = Box::new(make);
        self.sim.add_node(NodeSpec { name: name.to_owned(), host, kind, listeners, make })
    }

    fn client(
        &mut self,
        name: &str,
        client: ClientId,
        make: impl FnMut(Incarnation) -> Box<dyn Node> + 'static,
    ) -> (HostId, NodeRef) {
        let shared = self.scenario.cluster.clients_on_one_host && is_load(client);
        let host = self.host(if shared { "clients" } else { name });
        (host, self.node(name, host, NodeKind::Client(client), Vec::new(), make))
    }
}

/// Builds the world of a settled scenario.
pub fn build(scenario: &Scenario, seed: u64, options: &Options) -> Built {
    let cluster = &scenario.cluster;
    let figures = cluster.network.figures(false).expect("checked: a known network");
    let network = NetworkProfile {
        p50: figures.p50,
        p99: figures.p99,
        bandwidth: figures.bandwidth,
        ..NetworkProfile::default()
    };
    let config = SimConfig {
        network,
        encode_messages: options.encode_messages,
        hash_messages: options.hash_messages,
        ..SimConfig::new(seed)
    };
    let sim = options.world.build(config, options.planted);
    let mut b = Builder { scenario, seed, options, sim, hosts: BTreeMap::new(), nodes: Vec::new() };
    let broker_config = broker_config(&scenario.broker);
    let (brokers, mut servers) = add_servers(&mut b, &broker_config);
    servers.sort();
    servers.dedup();

    let reach = Reach {
        bootstrap: (1..=brokers.len()).map(|i| Endpoint::new(format!("b{i}"), CLIENT_PORT)).collect(),
        caps: VersionCaps::default(),
    };
    let mut topics = Vec::new();
    let mut partitions = Vec::new();
    let mut durability = BTreeMap::new();
    let mut compacted: Vec<Arc<str>> = Vec::new();
    let mut topic_setups = BTreeMap::new();
    for t in &scenario.topics {
        let name: Arc<str> = t.name.as_str().into();
        let configs = t.config.iter().map(|(k, v)| (k.clone(), v.get().0.clone())).collect();
        let replication = *t.replication.get();
        let count = *t.partitions.get() as i32;
        topics.push(NewTopic { name: name.clone(), partitions: count, replication: replication as i16, configs });
        partitions.extend((0..count).map(|partition| TopicPartition { topic: name.clone(), partition }));
        let own =
            TopicConfig::read_scaled(&properties(&t.config)).expect("checked: topic settings").0.over(&broker_config);
        durability.insert(t.name.clone(), (replication, own.min_insync_replicas));
        if own.has_policy("compact") {
            compacted.push(name);
        }
        topic_setups.insert(t.name.clone(), topic_setup(&own));
    }

    let setup_spec = SetupSpec { reach: reach.clone(), topics };
    let setup = b.client("setup", SETUP, move |_| Box::new(SetupApp::new(setup_spec.clone())));
    let mut load = add_load(&mut b, &reach, &partitions);
    let growing: Vec<(Arc<str>, i32, Duration)> = scenario
        .topics
        .iter()
        .filter_map(|t| Some((t.name.as_str().into(), *t.grow.as_ref()?.to.get() as i32, t.grow.as_ref()?.at.get().0)))
        .collect();
    if !growing.is_empty() {
        let spec = GrowerSpec { reach: reach.clone(), topics: growing };
        let (host, node) = b.client("grower", GROWER, move |_| Box::new(GrowerApp::new(spec.clone())));
        load.hosts.push(host);
        load.growers.push(node);
    }
    let groups = load.groups.clone();
    let probe_topic = NewTopic {
        name: "klamm-probe".into(),
        partitions: 1,
        replication: scenario.topics.iter().map(|t| *t.replication.get()).max().unwrap_or(1) as i16,
        configs: Vec::new(),
    };
    // It has the brokers' settings, like every topic of which nothing is said.
    if broker_config.has_policy("compact") {
        compacted.push(probe_topic.name.clone());
    }
    let probe_spec = ProbeSpec {
        client: PROBE,
        reach: reach.clone(),
        topic: probe_topic,
        keyed: compacted.clone(),
        partitions: partitions.clone(),
        with_group: !groups.is_empty(),
    };
    let probe = b.client("probe", PROBE, move |_| Box::new(ProbeApp::new(probe_spec.clone())));
    let final_partitions: Rc<RefCell<Vec<FinalPartition>>> = Rc::default();
    let shared = final_partitions.clone();
    let final_reader = b.client("final-reader", FINAL_READER, move |_| {
        Box::new(FinalReaderApp::new(FinalReaderSpec {
            client: FINAL_READER,
            reach: reach.clone(),
            isolation: klamm_model::history::IsolationLevel::ReadUncommitted,
            partitions: shared.borrow().clone(),
            groups: groups.clone(),
        }))
    });
    let invariants = Setup {
        nodes: std::mem::take(&mut b.nodes),
        topics: topic_setups,
        default_topic: topic_setup(&broker_config),
        elr: *cluster.elr.get(),
        consumer_session: broker_config.group_consumer_session,
        clocks_agree: cluster.clock_offset.get().0 == Duration::ZERO && *cluster.clock_drift_ppm.get() == 0,
    };
    Built {
        sim: b.sim,
        servers,
        brokers,
        load: load.hosts,
        producers: load.producers,
        consumers: load.consumers,
        members: load.members,
        growers: load.growers,
        setup,
        probe,
        final_reader,
        final_partitions,
        invariants,
        partitions,
        compacted,
        models: load.models,
        durability,
    }
}

fn topic_setup(config: &BrokerConfig) -> TopicSetup {
    TopicSetup {
        min_insync_replicas: config.min_insync_replicas,
        retention_bytes: config.retention_bytes,
        retention_ms: if config.retention == Duration::MAX { -1 } else { config.retention.as_millis() as i64 },
        compaction: config.has_policy("compact").then(|| CompactionSetup {
            delete_retention_ms: config.delete_retention.as_millis() as i64,
            min_lag_ms: config.min_compaction_lag.as_millis() as i64,
        }),
    }
}

type Brokers = Vec<(NodeId, NodeRef, HostId)>;

fn add_servers(b: &mut Builder<'_>, config: &BrokerConfig) -> (Brokers, Vec<HostId>) {
    let cluster = b.scenario.cluster.clone();
    let (seed, defects) = (b.seed, b.options.defects);
    let cluster_id = uuid(seed, "cluster");
    let colocate = *cluster.colocate.get();
    let controllers: Vec<(NodeId, Endpoint)> = (1..=*cluster.controllers.get())
        .map(|i| {
            let host = if colocate { format!("b{i}") } else { format!("c{i}") };
            (NodeId(FIRST_CONTROLLER + i as i32 - 1), Endpoint::new(host, CONTROLLER_PORT))
        })
        .collect();
    let mut servers = Vec::new();
    let mut brokers = Vec::new();
    for i in 1..=*cluster.brokers.get() {
        let name = format!("b{i}");
        let host = b.host(&name);
        let spec = BrokerSpec {
            id: NodeId(i as i32),
            config: config.clone(),
            client: Endpoint::new(&name, CLIENT_PORT),
            inter_broker: Endpoint::new(&name, INTER_BROKER_PORT),
            controllers: controllers.clone(),
            truncation: match cluster.truncation.get().as_str() {
                "fetch" => Truncation::Fetch,
                _ => Truncation::OffsetForLeaderEpoch,
            },
            defects,
            caps: VersionCaps::default(),
            cluster_id,
            dir_id: uuid(seed, &format!("dir.{name}")),
        };
        let listeners = vec![(Listener::Client, CLIENT_PORT), (Listener::InterBroker, INTER_BROKER_PORT)];
        let id = spec.id;
        let node = b.node(&name, host, NodeKind::Broker(id), listeners, move |_| Box::new(Broker::new(spec.clone())));
        servers.push(host);
        brokers.push((id, node, host));
    }
    for (i, (id, endpoint)) in controllers.iter().enumerate() {
        let host = b.host(&endpoint.host);
        let spec = ControllerSpec {
            id: *id,
            config: config.clone(),
            cluster_id,
            dir_id: uuid(seed, &format!("dir.c{}", i + 1)),
            shares_disk: colocate,
            voters: controllers.clone(),
            elr: *cluster.elr.get(),
            defects,
            caps: VersionCaps::default(),
        };
        let listeners = vec![(Listener::Controller, CONTROLLER_PORT)];
        let name = format!("c{}", i + 1);
        b.node(&name, host, NodeKind::Controller(*id), listeners, move |_| Box::new(Controller::new(spec.clone())));
        servers.push(host);
    }
    (brokers, servers)
}

#[derive(Default)]
struct Load {
    hosts: Vec<HostId>,
    producers: Vec<NodeRef>,
    consumers: Vec<NodeRef>,
    models: Vec<NodeRef>,
    members: Vec<NodeRef>,
    growers: Vec<NodeRef>,
    groups: Vec<Arc<str>>,
}

fn add_load(b: &mut Builder<'_>, reach: &Reach, partitions: &[TopicPartition]) -> Load {
    let mut load = Load::default();
    let (mut p, mut c, mut m, mut number) = (0, 0, 0, 0);
    let scenario = b.scenario;
    for spec in &scenario.clients {
        let topic = spec.topic.as_ref().unwrap_or(&scenario.topics[0].name);
        for _ in 0..*spec.count.get() {
            number += 1;
            let client = ClientId(number);
            let (host, node) = match spec.kind {
                ClientKind::Producer => {
                    p += 1;
                    let app = producer_spec(b, spec, client, topic, reach);
                    let added = b.client(&format!("p{p}"), client, move |_| Box::new(ProducerApp::new(app.clone())));
                    load.producers.push(added.1);
                    added
                }
                ClientKind::Consumer => {
                    c += 1;
                    let of_topic = partitions.iter().filter(|t| *t.topic == **topic);
                    let app = ConsumerAppSpec {
                        client,
                        seed: b.seed,
                        reach: reach.clone(),
                        config: ConsumerConfig::parse(&properties(&spec.config)).expect("checked: consumer settings").0,
                        defects: b.options.defects,
                        partitions: of_topic.map(|t| (t.clone(), StartAt::Earliest)).collect(),
                        read_model: spec.read_model,
                        list_offsets_every: spec.list_offsets_every.as_ref().map(|d| d.get().0),
                    };
                    let added = b.client(&format!("r{c}"), client, move |_| Box::new(ConsumerApp::new(app.clone())));
                    load.consumers.push(added.1);
                    if spec.read_model {
                        load.models.push(added.1);
                    }
                    added
                }
                ClientKind::Group => {
                    m += 1;
                    let name = format!("m{m}");
                    let app = member_spec(b, spec, client, &name, topic, reach);
                    let group: Arc<str> = app.config.group_id.as_deref().expect("checked: a `group.id`").into();
                    if !load.groups.contains(&group) {
                        load.groups.push(group);
                    }
                    let added = b.client(&name, client, move |_| Box::new(GroupMemberApp::new(app.clone())));
                    load.members.push(added.1);
                    added
                }
            };
            let _ = node;
            if !load.hosts.contains(&host) {
                load.hosts.push(host);
            }
        }
    }
    load
}

fn member_spec(
    b: &Builder<'_>,
    spec: &ClientSpec,
    client: ClientId,
    name: &str,
    topic: &str,
    reach: &Reach,
) -> GroupMemberSpec {
    let member = spec.member.clone().unwrap_or_default();
    let mut config = ConsumerConfig::parse(&properties(&spec.config)).expect("checked: consumer settings").0;
    if member.fixed {
        config.group_instance_id = Some(name.to_owned());
    }
    let mean = member.service_time.get().0;
    let time = |draw: &Draw<Span>, purpose: &str| draw.settle(keyed(b.seed, &format!("{purpose}.{name}"))).0;
    GroupMemberSpec {
        client,
        seed: b.seed,
        reach: reach.clone(),
        config,
        defects: b.options.defects,
        topics: vec![topic.into()],
        processing: match member.processing.get().as_str() {
            "commit-then-finish" => Processing::CommitThenFinish,
            "hand-off" => Processing::HandOff,
            _ => Processing::FinishThenCommit,
        },
        commit: if member.commit.get() == "async" { CommitStyle::Async } else { CommitStyle::Sync },
        service: match member.service_shape.get().as_str() {
            "constant" => ServiceTime::Constant(mean),
            "heavy-tailed" => ServiceTime::HeavyTailed(mean),
            _ => ServiceTime::Exponential(mean),
        },
        workers: *member.workers.get() as usize,
        effects: member.effects,
        forward: member.forward.as_ref().map(|f| ForwardSpec {
            to: f.to.iter().map(|t| t.as_str().into()).collect(),
            declines: f.declines.as_ref().map(|d| (u64::from(*d.per_mille.get()), d.to.as_str().into())),
            sizes: sizes(&f.value),
            config: ProducerConfig::parse(&properties(&f.config)).expect("checked: producer settings").0,
        }),
        stall: member.stall.map(|s| Stall { every: s.every.get().0, lasts: s.lasts.get().0 }),
        join_after: time(&member.join_after, "join"),
        leave_after: member.leave_after.as_ref().map(|draw| time(draw, "leave")),
    }
}

fn producer_spec(b: &Builder<'_>, spec: &ClientSpec, client: ClientId, topic: &str, reach: &Reach) -> ProducerAppSpec {
    let load = spec.load.as_ref().expect("checked: a producer has a load");
    ProducerAppSpec {
        client,
        seed: if b.scenario.canary { ambient() } else { b.seed },
        reach: reach.clone(),
        config: ProducerConfig::parse(&properties(&spec.config)).expect("checked: producer settings").0,
        defects: b.options.defects,
        topic: topic.into(),
        partition: spec
            .partition
            .as_ref()
            .map_or(PartitionChoice::Partitioner, |p| PartitionChoice::Fixed(*p.get() as i32)),
        pace: pace(load),
        keys: keys(load),
        sizes: sizes(&load.value),
        tombstones_per_mille: load.tombstones.as_ref().map_or(0, |t| u64::from(*t.get())),
        duration: b.scenario.duration.get().0,
        records: load.records.as_ref().map(|r| u64::from(*r.get())),
    }
}

/// What a canary scenario draws from the machine, for the determinism check to notice.
fn ambient() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("canary")
}

fn pace(load: &LoadSpec) -> Pace {
    let kind = match load.arrivals.get().as_str() {
        "constant" => ArrivalKind::Constant,
        "poisson" => ArrivalKind::Poisson,
        "bursts" => ArrivalKind::Bursts { factor: 5, period: Duration::from_secs(1) },
        _ => return Pace::Closed(*load.in_flight.get()),
    };
    let rate = load.rate.as_ref().map_or(1, |r| *r.get());
    Pace::Open { kind, per_second_milli: u64::from(rate) * 1000 }
}

fn keys(load: &LoadSpec) -> KeyChooser {
    let keys = match (load.key.uniform, load.key.zipf) {
        (Some(count), _) => Keys::Uniform { count: u64::from(count) },
        (None, Some(theta)) => Keys::Zipf { count: u64::from(load.key.of.unwrap_or(1000)), theta },
        (None, None) => Keys::None,
    };
    KeyChooser::new(keys).expect("checked: keys")
}

fn sizes(value: &Draw<Size>) -> Sizes {
    let ends: Vec<u32> = value.extremes().into_iter().map(|s| s.0 as u32).collect();
    match ends[..] {
        [one] => Sizes::Fixed(one),
        _ => Sizes::Uniform(ends[0], ends[ends.len() - 1]),
    }
}
