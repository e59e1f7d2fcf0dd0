//! Remote calls in the `des` world: through its network, CPU and digest, with a watcher that only counts.

use bytes::Bytes;
use kafka_protocol::messages::{EnvelopeRequest, EnvelopeResponse, RequestKind, ResponseKind};
use klamm_model::ids::ClientId;
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::units::{Duration, Instant, Now};
use klamm_model::{ConnId, Endpoint, Input, Listener, Node, Outbox, Output};
use klamm_world::des::{ClockSpec, CpuProfile, HostSpec, NetworkProfile, NodeKind, NodeSpec, Sim, SimConfig};
use klamm_world::disk::DiskProfile;
use klamm_world::event::{Event, HostId, Observer, What};

const PORT: u16 = 9092;

/// Counts what happens, and judges nothing.
#[derive(Default, Debug)]
pub struct Counter {
    /// Events of any kind.
    pub events: u64,
    /// Answers that reached who had asked: finished calls.
    pub calls: u64,
    /// Produce responses that left a broker.
    pub produced: u64,
    /// Heartbeats of group members that a broker took up.
    pub heartbeats: u64,
}

impl Observer for Counter {
    fn event(&mut self, event: &Event<'_>) {
        self.events += 1;
        match &event.what {
            What::ResponseTaken { .. } => self.calls += 1,
            What::ResponseSent { response: ResponseKind::Produce(_), .. } => self.produced += 1,
            What::RequestTaken {
                request: RequestKind::Heartbeat(_) | RequestKind::ConsumerGroupHeartbeat(_), ..
            } => {
                self.heartbeats += 1;
            }
            _ => {}
        }
    }
}

/// Answers every request with as many bytes.
struct Echo;

impl Node for Echo {
    fn handle(&mut self, _: Now, input: Input, out: &mut Outbox) {
        if let Input::Request { conn, correlation, version, request } = input {
            let RequestKind::Envelope(request) = *request else { panic!("only envelopes are sent") };
            out.respond(
                conn,
                correlation,
                version,
                EnvelopeResponse::default().with_response_data(Some(request.request_data)),
            );
        }
    }
    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection::default())
    }
}

/// How a caller paces itself.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many calls under way at any time.
    InFlight(u32),
    /// One call each so often, the first after the given share of it (parts per thousand).
    Every(Duration, u64),
}

/// Calls an echo for ever.
struct Caller {
    to: Endpoint,
    pace: Pace,
    payload: Bytes,
    conn: Option<ConnId>,
    sent: i32,
    next: Instant,
}

impl Caller {
    fn call(&mut self, out: &mut Outbox) {
        let Some(conn) = self.conn else { return };
        self.sent = self.sent.wrapping_add(1);
        let request = Box::new(EnvelopeRequest::default().with_request_data(self.payload.clone()).into());
        out.push(Output::Request { conn, correlation: self.sent, version: 0, request });
    }
}

impl Node for Caller {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match (input, self.pace) {
            (Input::Start { .. }, pace) => {
                out.connect(self.to.clone());
                if let Pace::Every(period, share) = pace {
                    self.next = now.mono + Duration::from_nanos(period.as_nanos() / 1_000 * share);
                }
            }
            (Input::Connected { conn }, pace) => {
                self.conn = Some(conn);
                if let Pace::InFlight(n) = pace {
                    (0..n).for_each(|_| self.call(out));
                }
            }
            (Input::Response { .. }, Pace::InFlight(_)) => self.call(out),
            (Input::Timer, Pace::Every(period, _)) if self.next <= now.mono => {
                self.next += period;
                self.call(out);
            }
            _ => {}
        }
        if let Pace::Every(..) = self.pace {
            out.wake_at(self.next);
        }
    }
    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection::default())
    }
}

fn add(sim: &mut Sim, name: &str, mut make: impl FnMut() -> Box<dyn Node> + 'static) -> HostId {
    let host = sim.add_host(HostSpec {
        name: name.to_owned(),
        cpu: CpuProfile::default(),
        disk: DiskProfile::nvme(),
        clock: ClockSpec::default(),
    });
    sim.add_node(NodeSpec {
        name: name.to_owned(),
        host,
        kind: NodeKind::Client(ClientId(0)),
        listeners: vec![(Listener::Client, PORT)],
        make: Box::new(move |_| make()),
    });
    host
}

fn caller(sim: &mut Sim, name: &str, to: &str, pace: Pace, bytes: usize) -> HostId {
    let (to, payload) = (Endpoint::new(to, PORT), Bytes::from(vec![7; bytes]));
    let fresh =
        move || Caller { to: to.clone(), pace, payload: payload.clone(), conn: None, sent: 0, next: Instant::ZERO };
    add(sim, name, move || Box::new(fresh()))
}

fn world() -> Sim {
    let mut config = SimConfig { network: NetworkProfile::lan(), ..SimConfig::new(1) };
    config.budgets.events = u64::MAX;
    Sim::new(config)
}

/// A world of pairs of hosts, one of which keeps `in_flight` calls of `bytes` bytes under way to the other.
pub fn echo_pairs(pairs: usize, in_flight: u32, bytes: usize) -> Sim {
    let mut sim = world();
    let mut hosts = Vec::new();
    for n in 0..pairs {
        let server = format!("s{n}");
        hosts.push(add(&mut sim, &server, || Box::new(Echo)));
        hosts.push(caller(&mut sim, &format!("c{n}"), &server, Pace::InFlight(in_flight), bytes));
    }
    hosts.into_iter().for_each(|h| sim.start(h));
    sim
}

/// A world of hosts each of which calls one more host once every `period`.
pub fn heartbeats(hosts: u64, period: Duration, bytes: usize) -> Sim {
    let mut sim = world();
    let mut all = vec![add(&mut sim, "s", || Box::new(Echo))];
    for n in 0..hosts {
        let pace = Pace::Every(period, 1_000 * n / hosts);
        all.push(caller(&mut sim, &format!("c{n}"), "s", pace, bytes));
    }
    all.into_iter().for_each(|h| sim.start(h));
    sim
}
