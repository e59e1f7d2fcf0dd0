//! The world with little nodes in it.

mod cpu;
mod determinism;
mod network;
mod processes;

use super::*;
use crate::disk::DiskProfile;
use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, RequestKind,
    ResponseKind,
};
use kafka_protocol::protocol::StrBytes;
use klamm_model::ids::ClientId;
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::{ConnId, Endpoint, Input, Listener, Node, Outbox, Output};

const PORT: u16 = 9092;

const fn ms(n: u64) -> Instant {
    Instant::from_nanos(n * 1_000_000)
}
const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A node that is one function.
struct Script<F>(F);

impl<F: FnMut(Now, Input, &mut Outbox)> Node for Script<F> {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        (self.0)(now, input, out);
    }
    fn inspect(&self) -> Inspection {
        Inspection::Client(ClientInspection::default())
    }
}

fn script(f: impl FnMut(Now, Input, &mut Outbox) + 'static) -> Box<dyn Node> {
    Box::new(Script(f))
}

/// Answers every request at once.
fn echo() -> Box<dyn Node> {
    script(|_, input, out| {
        if let Input::Request { conn, correlation, version, request } = input {
            out.respond(conn, correlation, version, answer(&request));
        }
    })
}

fn answer(request: &RequestKind) -> ResponseKind {
    match request {
        RequestKind::Produce(_) => ProduceResponse::default().into(),
        RequestKind::Fetch(_) => {
            let partition = PartitionData::default().with_records(Some(Bytes::from_static(&[1; 300])));
            let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
            FetchResponse::default().with_responses(vec![topic]).into()
        }
        _ => ApiVersionsResponse::default().into(),
    }
}

fn produce(bytes: usize) -> RequestKind {
    let partition = PartitionProduceData::default().with_records(Some(vec![7; bytes].into()));
    let topic = TopicProduceData::default()
        .with_name(StrBytes::from_static_str("orders").into())
        .with_partition_data(vec![partition]);
    ProduceRequest::default().with_topic_data(vec![topic]).into()
}

/// The `n`-th of a client's requests: three kinds in turn.
fn request(n: i32) -> (i16, RequestKind) {
    match n % 3 {
        0 => (3, ApiVersionsRequest::default().into()),
        1 => (9, produce(n as usize * 997 % 5_000)),
        _ => (12, FetchRequest::default().into()),
    }
}

fn send(out: &mut Outbox, conn: ConnId, correlation: i32, (version, request): (i16, RequestKind)) {
    out.push(Output::Request { conn, correlation, version, request: Box::new(request) });
}

/// Keeps `window` requests in flight on one connection, `total` in all, then closes it.
fn caller(to: &str, window: i32, total: i32) -> Box<dyn Node> {
    let to = Endpoint::new(to, PORT);
    let mut sent = 0;
    script(move |_, input, out| match input {
        Input::Start { .. } => {
            out.connect(to.clone());
        }
        Input::Connected { conn } => {
            while sent < window.min(total) {
                sent += 1;
                send(out, conn, sent, request(sent));
            }
        }
        Input::Response { conn, correlation, .. } => {
            if sent < total {
                sent += 1;
                send(out, conn, sent, request(sent));
            } else if correlation == total {
                out.close(conn);
            }
        }
        _ => {}
    })
}

fn host(sim: &mut Sim, name: &str) -> HostId {
    sim.add_host(HostSpec {
        name: name.to_owned(),
        cpu: CpuProfile::default(),
        disk: DiskProfile::nvme(),
        clock: ClockSpec::default(),
    })
}

/// A host called `name` with one node of that name.
fn node(sim: &mut Sim, name: &str, mut make: impl FnMut() -> Box<dyn Node> + 'static) -> HostId {
    let host = host(sim, name);
    node_on(sim, host, name, move |_| make());
    host
}

fn node_on(sim: &mut Sim, host: HostId, name: &str, make: impl FnMut(Incarnation) -> Box<dyn Node> + 'static) {
    sim.add_node(NodeSpec {
        name: name.to_owned(),
        host,
        kind: NodeKind::Client(ClientId(0)),
        listeners: vec![(Listener::Client, PORT)],
        make: Box::new(make),
    });
}

/// What happened, one line each, with time and ordinals.
#[derive(Default)]
struct Seen(Vec<Line>);

#[derive(Debug)]
struct Line {
    at: Instant,
    ordinal: u64,
    cause: u64,
    node: Option<NodeRef>,
    text: String,
}

impl Observer for Seen {
    fn event(&mut self, event: &Event<'_>) {
        let text = match &event.what {
            What::RequestSent { correlation, .. } => format!("request sent {correlation}"),
            What::RequestTaken { correlation, .. } => format!("request taken {correlation}"),
            What::ResponseSent { correlation, .. } => format!("response sent {correlation}"),
            What::ResponseTaken { correlation, .. } => format!("response taken {correlation}"),
            What::Connected { .. } => "connected".to_owned(),
            What::DiskAsked { .. } => "disk asked".to_owned(),
            What::DiskDone { .. } => "disk done".to_owned(),
            What::Disconnected { reason, .. } => format!("disconnected {reason:?}"),
            What::Ended { how, .. } => format!("ended {how:?}"),
            What::Trace(trace) => format!("{trace:?}"),
            other => format!("{other:?}"),
        };
        let last = self.0.last().map_or((Instant::ZERO, 0), |l| (l.at, l.ordinal));
        assert!(event.at >= last.0 && event.ordinal.0 == last.1 + 1, "events come in order, without gaps");
        assert!(event.cause < event.ordinal, "a cause comes first");
        let Event { at, ordinal, cause, node, .. } = *event;
        self.0.push(Line { at, ordinal: ordinal.0, cause: cause.0, node, text });
    }
}

impl Seen {
    /// When events whose text starts so happened.
    fn times(&self, start: &str) -> Vec<Instant> {
        self.0.iter().filter(|l| l.text.starts_with(start)).map(|l| l.at).collect()
    }
    fn count(&self, start: &str) -> usize {
        self.times(start).len()
    }
    /// The rest of the lines that start so, in order.
    fn after(&self, start: &str) -> Vec<&str> {
        self.0.iter().filter_map(|l| l.text.strip_prefix(start)).collect()
    }
}

/// An echo server `s` and a caller `c` in an otherwise empty world.
fn pair(config: SimConfig, window: i32, total: i32) -> (Sim, HostId, HostId) {
    let mut sim = Sim::new(config);
    let s = node(&mut sim, "s", echo);
    let c = node(&mut sim, "c", move || caller("s", window, total));
    sim.start(s);
    sim.start(c);
    (sim, s, c)
}
