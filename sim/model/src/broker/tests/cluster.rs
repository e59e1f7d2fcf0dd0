//! A little world for tests: nodes on a network that takes a millisecond per message, with disks that never fail and
//! take no time. Nodes can be killed and started again.

use super::disk::MemDisk;
use crate::broker::{Broker, BrokerSpec, Truncation};
use crate::config::BrokerConfig;
use crate::controller::{Controller, ControllerSpec};
use crate::defects::Defects;
use crate::disk::{DiskOp, DiskToken, Path};
use crate::ids::*;
use crate::inspect::{BrokerInspection, ControllerInspection, Inspection, PartitionInspection};
use crate::node::*;
use crate::trace::TraceEvent;
use crate::units::{Duration, Instant, Now, Timestamp};
use crate::versions::{VersionCaps, api_of};
use bytes::BytesMut;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;

const LATENCY: Duration = Duration::from_millis(1);
pub(crate) const CLUSTER: Uuid = Uuid::from_u128(77);

struct Host {
    name: &'static str,
    make: Box<dyn Fn() -> Box<dyn Node>>,
    node: Option<Box<dyn Node>>,
    out: Outbox,
    disk: MemDisk,
    incarnation: u32,
    deadline: Option<Instant>,
    accepted: u64,
    /// A connection as this host knows it, and as the other one does.
    peers: BTreeMap<ConnId, (usize, ConnId)>,
}

enum Event {
    Input(usize, u32, Input),
    Disk(usize, u32, DiskToken, DiskOp),
}

/// What the test itself hears as a client.
pub(crate) struct Answer {
    pub(crate) correlation: i32,
    pub(crate) response: ResponseKind,
}

pub(crate) struct Cluster {
    hosts: Vec<Host>,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    pub(crate) now: Instant,
    pub(crate) traces: Vec<(usize, TraceEvent)>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) exited: Vec<usize>,
    /// Connections of the test that the other side closed.
    pub(crate) closed: Vec<ConnId>,
    correlation: i32,
    next_conn: u64,
    /// Messages between these two are lost (both ways).
    pub(crate) cut: Vec<(usize, usize)>,
    /// Answers about the ISR to this host are held until [`Cluster::release`].
    pub(crate) hold_isr_answers: Option<usize>,
    held: Vec<(usize, Input)>,
    /// This host processes nothing until [`Cluster::resume`].
    paused: Option<usize>,
    backlog: Vec<Event>,
    /// Other clusters draw otherwise.
    salt: u64,
    /// Hosts that gave up, and why.
    pub(crate) halted: Vec<(usize, String)>,
    /// Whether they may.
    pub(crate) may_halt: bool,
}

/// The test is a client without a host.
const TEST: usize = usize::MAX;

impl Cluster {
    /// A controller (host 0) and brokers 1 to `n` (hosts 1 to `n`), started.
    pub(crate) fn new(
        n: i32,
        truncation: Truncation,
        defects: Defects,
        caps: VersionCaps,
        tune: fn(&mut BrokerConfig),
    ) -> Cluster {
        let mut cluster = Cluster::unstarted(n, truncation, defects, caps, tune, CLUSTER);
        (0..=n as usize).for_each(|h| cluster.start(h));
        cluster
    }

    /// The same, of the cluster with this id, and nothing is started: disks can be changed first.
    pub(crate) fn unstarted(
        n: i32,
        truncation: Truncation,
        defects: Defects,
        caps: VersionCaps,
        tune: fn(&mut BrokerConfig),
        cluster_id: Uuid,
    ) -> Cluster {
        let mut config = BrokerConfig::kafka_defaults();
        config.heartbeat_interval = Duration::from_millis(100);
        config.session_timeout = Duration::from_millis(900);
        config.replica_lag_time_max = Duration::from_millis(600);
        config.replica_fetch_backoff = Duration::from_millis(50);
        tune(&mut config);
        let names = ["c0", "b1", "b2", "b3", "b4"];
        let controller = ControllerSpec {
            id: NodeId(100),
            config: config.clone(),
            cluster_id,
            dir_id: Uuid::from_u128(cluster_id.as_u128() * 10_000),
            shares_disk: false,
            voters: vec![(NodeId(100), Endpoint::new("c0", 9093))],
            elr: true,
            defects,
            caps: caps.clone(),
        };
        let mut hosts = vec![Host::new("c0", Box::new(move || Box::new(Controller::new(controller.clone()))))];
        for id in 1..=n {
            let name = names[id as usize];
            let spec = BrokerSpec {
                id: NodeId(id),
                config: config.clone(),
                client: Endpoint::new(name, 9092),
                inter_broker: Endpoint::new(name, 9091),
                controllers: vec![(NodeId(100), Endpoint::new("c0", 9093))],
                truncation,
                defects,
                caps: caps.clone(),
                cluster_id,
                dir_id: Uuid::from_u128(cluster_id.as_u128() * 10_000 + id as u128),
            };
            hosts.push(Host::new(name, Box::new(move || Box::new(Broker::new(spec.clone())))));
        }
        Cluster {
            salt: cluster_id.as_u128() as u64 - CLUSTER.as_u128() as u64,
            halted: Vec::new(),
            may_halt: false,
            hosts,
            events: BTreeMap::new(),
            sequence: 0,
            now: Instant::ZERO,
            traces: Vec::new(),
            answers: Vec::new(),
            exited: Vec::new(),
            closed: Vec::new(),
            correlation: 0,
            next_conn: 0,
            cut: Vec::new(),
            hold_isr_answers: None,
            held: Vec::new(),
            paused: None,
            backlog: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        h.incarnation += 1;
        h.node = Some((h.make)());
        h.out = Outbox::new();
        h.accepted = 0;
        let rng =
            Box::new(ChaCha8Rng::seed_from_u64(self.salt * 1_000_000 + host as u64 * 100 + u64::from(h.incarnation)));
        let incarnation = Incarnation(h.incarnation);
        self.give(host, Input::Start { rng, incarnation });
    }

    /// What a host that has not started yet finds on its disk, after some earlier incarnations.
    pub(crate) fn set_disk(&mut self, host: usize, files: BTreeMap<Path, Vec<u8>>) {
        self.hosts[host].disk.files = files;
        self.hosts[host].incarnation = 10;
    }

    /// The process dies; its disk keeps everything.
    pub(crate) fn kill(&mut self, host: usize) {
        self.hosts[host].node = None;
        self.hosts[host].deadline = None;
        let peers = std::mem::take(&mut self.hosts[host].peers);
        for (to, conn) in peers.into_values() {
            self.drop_peer(to, conn, DisconnectReason::Reset);
        }
    }

    /// The machine is gone: its disk keeps everything, and nobody hears of it.
    pub(crate) fn lose_power(&mut self, host: usize) {
        self.hosts[host].node = None;
        self.hosts[host].deadline = None;
        self.hosts[host].peers.clear();
    }

    pub(crate) fn shut_down(&mut self, host: usize) {
        self.give(host, Input::Shutdown);
    }

    /// A host stops processing; peers see silence.
    pub(crate) fn pause(&mut self, host: usize) {
        self.paused = Some(host);
    }
    /// It goes on, with what has come due first, then with what has come in.
    pub(crate) fn resume(&mut self) {
        self.paused = None;
        for event in std::mem::take(&mut self.backlog) {
            self.push(self.now + LATENCY, event);
        }
    }

    /// What was held arrives. Says how much that was.
    pub(crate) fn release(&mut self) -> usize {
        self.hold_isr_answers = None;
        let held = std::mem::take(&mut self.held);
        let count = held.len();
        for (to, input) in held {
            self.later(LATENCY, to, input);
        }
        count
    }

    fn drop_peer(&mut self, to: usize, conn: ConnId, reason: DisconnectReason) {
        if to != TEST && self.hosts[to].peers.remove(&conn).is_some() {
            self.later(LATENCY, to, Input::Disconnected { conn, reason });
        }
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }
    fn later(&mut self, after: Duration, host: usize, input: Input) {
        let incarnation = self.hosts[host].incarnation;
        self.push(self.now + after, Event::Input(host, incarnation, input));
    }

    fn give(&mut self, host: usize, input: Input) {
        let now = Now { mono: self.now, wall: Timestamp(1_700_000_000_000 + self.now.as_nanos() as i64 / 1_000_000) };
        let h = &mut self.hosts[host];
        let Some(node) = &mut h.node else { return };
        node.handle(now, input, &mut h.out);
        let mut outputs = Vec::new();
        h.deadline = h.out.take(&mut outputs);
        for output in outputs {
            self.act(host, output);
        }
    }

    fn act(&mut self, host: usize, output: Output) {
        match output {
            Output::Connect { conn, to } => {
                let there = self.hosts.iter().position(|h| h.name == &*to.host && h.node.is_some());
                let cut = there.is_some_and(|t| self.is_cut(host, t));
                match there {
                    Some(_) if cut => {}
                    Some(t) => {
                        let listener = match to.port {
                            9092 => Listener::Client,
                            9091 => Listener::InterBroker,
                            _ => Listener::Controller,
                        };
                        self.hosts[t].accepted += 1;
                        let theirs = ConnId::incoming(self.hosts[t].accepted);
                        self.hosts[host].peers.insert(conn, (t, theirs));
                        self.hosts[t].peers.insert(theirs, (host, conn));
                        self.later(LATENCY, t, Input::Accepted { conn: theirs, listener });
                        self.later(LATENCY, host, Input::Connected { conn });
                    }
                    None => self.later(LATENCY, host, Input::Disconnected { conn, reason: DisconnectReason::Refused }),
                }
            }
            Output::Close { conn } => {
                if let Some((to, theirs)) = self.hosts[host].peers.remove(&conn) {
                    self.closed.extend((to == TEST).then_some(conn));
                    self.drop_peer(to, theirs, DisconnectReason::Closed);
                }
            }
            Output::Request { conn, correlation, version, request } => {
                let Some(&(to, theirs)) = self.hosts[host].peers.get(&conn) else { return };
                over_the_wire(&request, version);
                if !self.is_cut(host, to) {
                    self.later(LATENCY, to, Input::Request { conn: theirs, correlation, version, request });
                }
            }
            Output::Response { conn, correlation, version, response } => {
                answer_over_the_wire(&response, version);
                match self.hosts[host].peers.get(&conn).copied() {
                    Some((TEST, _)) => self.answers.push(Answer { correlation, response: *response }),
                    Some((to, theirs)) if !self.is_cut(host, to) => {
                        let about_isr = matches!(*response, ResponseKind::AlterPartition(_));
                        let input = Input::Response { conn: theirs, correlation, version, response };
                        if about_isr && self.hold_isr_answers == Some(to) {
                            self.held.push((to, input));
                        } else {
                            self.later(LATENCY, to, input);
                        }
                    }
                    _ => {}
                }
            }
            Output::Disk { token, op } => {
                let incarnation = self.hosts[host].incarnation;
                self.push(self.now + Duration::from_micros(10), Event::Disk(host, incarnation, token, op));
            }
            Output::Trace(event) => self.traces.push((host, *event)),
            Output::Op(_) => {}
            Output::Exit => {
                self.exited.push(host);
                self.kill(host);
            }
            Output::Halt { reason } => {
                assert!(self.may_halt, "{} halted: {reason}", self.hosts[host].name);
                self.halted.push((host, reason.to_string()));
                self.kill(host);
            }
        }
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.iter().any(|&(x, y)| (x, y) == (a, b) || (y, x) == (a, b))
    }

    /// Runs for a while.
    pub(crate) fn run(&mut self, ms: u64) {
        self.run_micros(ms * 1000);
    }
    /// Runs for a short while.
    pub(crate) fn run_micros(&mut self, us: u64) {
        let end = self.now + Duration::from_micros(us);
        for _ in 0..1_000_000 {
            let event = self.events.first_key_value().map(|(k, _)| k.0);
            let awake = (0..self.hosts.len()).filter(|h| self.paused != Some(*h));
            let timer = awake.filter_map(|h| self.hosts[h].deadline.map(|d| (d, h))).min();
            let (at, host) = match (event, timer) {
                (Some(e), Some((d, h))) if d < e => (d, Some(h)),
                (Some(e), _) => (e, None),
                (None, Some((d, h))) => (d, Some(h)),
                (None, None) => (Instant::MAX, None),
            };
            if at > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(at);
            if let Some(host) = host {
                self.hosts[host].deadline = None;
                self.give(host, Input::Timer);
                continue;
            }
            let Some((_, event)) = self.events.pop_first() else { return };
            match event {
                Event::Input(host, ..) | Event::Disk(host, ..) if self.paused == Some(host) => self.backlog.push(event),
                Event::Input(host, incarnation, input) if self.hosts[host].incarnation == incarnation => {
                    self.give(host, input);
                }
                Event::Disk(host, incarnation, token, op) if self.hosts[host].incarnation == incarnation => {
                    let result = self.hosts[host].disk.run(op);
                    self.give(host, Input::Disk { token, result });
                }
                _ => {}
            }
        }
        panic!("it never comes to rest");
    }

    /// Opens a connection from the test to a broker's client listener.
    pub(crate) fn connect(&mut self, host: usize) -> ConnId {
        self.connect_to(host, Listener::Client)
    }
    /// The same to any listener.
    pub(crate) fn connect_to(&mut self, host: usize, listener: Listener) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId::incoming(1_000_000 + self.next_conn);
        self.hosts[host].peers.insert(conn, (TEST, conn));
        self.give(host, Input::Accepted { conn, listener });
        conn
    }

    /// The test closes a connection.
    pub(crate) fn hang_up(&mut self, host: usize, conn: ConnId) {
        self.hosts[host].peers.remove(&conn);
        self.give(host, Input::Disconnected { conn, reason: DisconnectReason::Closed });
    }

    /// Sends a request and returns its correlation id.
    pub(crate) fn send(&mut self, host: usize, conn: ConnId, version: i16, request: impl Into<RequestKind>) -> i32 {
        self.correlation += 1;
        let correlation = self.correlation;
        self.give(host, Input::Request { conn, correlation, version, request: Box::new(request.into()) });
        correlation
    }

    /// Takes the answer to a request, if it came.
    pub(crate) fn answer(&mut self, correlation: i32) -> Option<ResponseKind> {
        let at = self.answers.iter().position(|a| a.correlation == correlation)?;
        Some(self.answers.remove(at).response)
    }

    /// Sends a request on a connection of its own and waits for the answer.
    pub(crate) fn ask(&mut self, host: usize, version: i16, request: impl Into<RequestKind>) -> ResponseKind {
        let conn = self.connect(host);
        let correlation = self.send(host, conn, version, request);
        for _ in 0..2000 {
            if let Some(answer) = self.answer(correlation) {
                return answer;
            }
            self.run(1);
        }
        panic!("no answer");
    }

    pub(crate) fn is_up(&self, host: usize) -> bool {
        self.hosts[host].node.is_some()
    }
    pub(crate) fn broker(&self, host: usize) -> BrokerInspection {
        match self.hosts[host].node.as_ref().unwrap().inspect() {
            Inspection::Broker(b) => b,
            other => panic!("{other:?}"),
        }
    }
    pub(crate) fn controller(&self) -> ControllerInspection {
        match self.hosts[0].node.as_ref().unwrap().inspect() {
            Inspection::Controller(c) => c,
            other => panic!("{other:?}"),
        }
    }
    /// The only partition of the only topic, on a broker.
    pub(crate) fn replica(&self, host: usize) -> PartitionInspection {
        self.broker(host).partitions.into_iter().next().unwrap()
    }
    /// The bytes of every log segment of a directory.
    pub(crate) fn log_bytes(&self, host: usize, dir: &str) -> Vec<u8> {
        let files = &self.hosts[host].disk.files;
        let logs = files.iter().filter(|(p, _)| p.parent().as_str() == dir && p.as_str().ends_with(".log"));
        logs.flat_map(|(_, data)| data.iter().copied()).collect()
    }
    pub(crate) fn disk(&mut self, host: usize) -> &mut MemDisk {
        &mut self.hosts[host].disk
    }
    pub(crate) fn marked(&self, host: usize, mark: &str) -> bool {
        self.traces.iter().any(|(h, t)| *h == host && matches!(t, TraceEvent::Mark { mark: m } if *m == mark))
    }
}

/// A field that does not exist at a version must have its default: nothing is lost by encoding.
fn over_the_wire(request: &RequestKind, version: i16) {
    let mut bytes = BytesMut::new();
    request.encode(&mut bytes, version).unwrap_or_else(|e| panic!("v{version} {request:?}: {e}"));
    let decoded = RequestKind::decode(api_of(request), &mut bytes.freeze(), version).unwrap();
    assert_eq!(decoded, *request, "version {version}");
}

fn answer_over_the_wire(response: &ResponseKind, version: i16) {
    let mut bytes = BytesMut::new();
    response.encode(&mut bytes, version).unwrap_or_else(|e| panic!("v{version} {response:?}: {e}"));
    let api = match response {
        ResponseKind::Produce(_) => ApiKey::Produce,
        ResponseKind::Fetch(_) => ApiKey::Fetch,
        ResponseKind::ListOffsets(_) => ApiKey::ListOffsets,
        ResponseKind::Metadata(_) => ApiKey::Metadata,
        ResponseKind::ApiVersions(_) => ApiKey::ApiVersions,
        ResponseKind::CreateTopics(_) => ApiKey::CreateTopics,
        ResponseKind::InitProducerId(_) => ApiKey::InitProducerId,
        ResponseKind::OffsetForLeaderEpoch(_) => ApiKey::OffsetForLeaderEpoch,
        ResponseKind::FindCoordinator(_) => ApiKey::FindCoordinator,
        ResponseKind::JoinGroup(_) => ApiKey::JoinGroup,
        ResponseKind::SyncGroup(_) => ApiKey::SyncGroup,
        ResponseKind::Heartbeat(_) => ApiKey::Heartbeat,
        ResponseKind::LeaveGroup(_) => ApiKey::LeaveGroup,
        ResponseKind::OffsetCommit(_) => ApiKey::OffsetCommit,
        ResponseKind::OffsetFetch(_) => ApiKey::OffsetFetch,
        ResponseKind::DescribeGroups(_) => ApiKey::DescribeGroups,
        ResponseKind::ListGroups(_) => ApiKey::ListGroups,
        ResponseKind::ConsumerGroupHeartbeat(_) => ApiKey::ConsumerGroupHeartbeat,
        ResponseKind::CreatePartitions(_) => ApiKey::CreatePartitions,
        _ => return,
    };
    let decoded = ResponseKind::decode(api, &mut bytes.freeze(), version).unwrap();
    assert_eq!(decoded, *response, "version {version}");
}

impl Host {
    fn new(name: &'static str, make: Box<dyn Fn() -> Box<dyn Node>>) -> Host {
        Host {
            name,
            make,
            node: None,
            out: Outbox::new(),
            disk: MemDisk::default(),
            incarnation: 0,
            deadline: None,
            accepted: 0,
            peers: BTreeMap::new(),
        }
    }
}
