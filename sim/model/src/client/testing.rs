//! A pretended cluster for the clients' tests: connects, negotiates and answers Metadata by itself; hands every other
//! request to the test.

use crate::ids::{NodeId, TopicId};
use crate::node::{ConnId, DisconnectReason, Endpoint, Input, Listener, Outbox, Output};
use crate::units::{Duration, Instant, Now, Timestamp};
use crate::versions::{VersionCaps, api_of, api_versions_response};
use bytes::BytesMut;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataResponse, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

/// A client under test.
pub trait Client {
    fn on_input(&mut self, now: Now, input: Input, out: &mut Outbox) -> Option<Input>;
    fn poll(&mut self, now: Now, out: &mut Outbox);
}

macro_rules! client {
    ($($ty:ty)*) => {$(
        impl Client for $ty {
            fn on_input(&mut self, now: Now, input: Input, out: &mut Outbox) -> Option<Input> {
                <$ty>::on_input(self, now, input, out)
            }
            fn poll(&mut self, now: Now, out: &mut Outbox) {
                <$ty>::poll(self, now, out)
            }
        }
    )*};
}
client! { super::Producer super::Consumer super::Admin }

/// A request the test must answer.
#[derive(Debug)]
pub struct Asked {
    pub node: NodeId,
    pub conn: ConnId,
    pub correlation: i32,
    pub version: i16,
    pub request: RequestKind,
}

/// One topic, `t`, and brokers 1 to 3 at ports 9001 to 9003.
pub struct Cluster {
    pub now: Now,
    pub out: Outbox,
    pub asked: VecDeque<Asked>,
    pub topic_id: TopicId,
    /// Leader and epoch by partition.
    pub leaders: Vec<(i32, i32)>,
    pub caps: VersionCaps,
    /// Nobody listens anywhere.
    pub down: bool,
    pub metadata_requests: u32,
    conns: BTreeMap<ConnId, u16>,
    /// Unanswered requests of each connection, in order; those for metadata with their version.
    unanswered: BTreeMap<ConnId, VecDeque<(i32, Option<i16>)>>,
    deadline: Option<Instant>,
    pub traffic: Vec<Output>,
}

pub fn bootstrap() -> Vec<Endpoint> {
    vec![Endpoint::new("host1", 9001)]
}

impl Cluster {
    pub fn new(leaders: &[(i32, i32)]) -> Cluster {
        Cluster {
            now: Now { mono: Instant::from_nanos(1_000_000_000), wall: Timestamp(1_000_000) },
            out: Outbox::new(),
            asked: VecDeque::new(),
            topic_id: TopicId(Uuid::from_u128(77)),
            leaders: leaders.to_vec(),
            caps: VersionCaps::default(),
            down: false,
            metadata_requests: 0,
            conns: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            deadline: None,
            traffic: Vec::new(),
        }
    }

    fn metadata(&self, version: i16) -> MetadataResponse {
        let broker = |id: i32| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(StrBytes::from_string(format!("host{id}")))
                .with_port(9000 + id)
        };
        let partitions = self.leaders.iter().enumerate().map(|(i, &(leader, epoch))| {
            MetadataResponsePartition::default()
                .with_partition_index(i as i32)
                .with_leader_id(BrokerId(leader))
                .with_leader_epoch(if version >= 7 { epoch } else { -1 })
                .with_error_code(if leader < 0 { 5 } else { 0 })
        });
        let mut topic = MetadataResponseTopic::default()
            .with_name(Some(StrBytes::from_static_str("t").into()))
            .with_partitions(partitions.collect());
        if version >= 10 {
            topic.topic_id = self.topic_id.0;
        }
        MetadataResponse::default().with_brokers((1..=3).map(broker).collect()).with_topics(vec![topic])
    }

    /// Lets the client work until nothing more happens at this instant.
    pub fn settle(&mut self, client: &mut impl Client) {
        loop {
            client.poll(self.now, &mut self.out);
            let mut outputs = Vec::new();
            self.deadline = self.out.take(&mut outputs);
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                self.serve(client, output);
            }
        }
    }

    fn serve(&mut self, client: &mut impl Client, output: Output) {
        match output {
            Output::Connect { conn, to } => {
                let input = if self.down {
                    Input::Disconnected { conn, reason: DisconnectReason::Refused }
                } else {
                    self.conns.insert(conn, to.port);
                    Input::Connected { conn }
                };
                assert!(client.on_input(self.now, input, &mut self.out).is_none());
            }
            Output::Close { conn } => {
                self.conns.remove(&conn);
                self.unanswered.remove(&conn);
                self.asked.retain(|a| a.conn != conn);
            }
            Output::Request { version, ref request, .. } if !survives_the_wire(request, version) => {
                panic!("a field that version {version} does not have: {request:?}");
            }
            Output::Request { conn, correlation, version, request } => match *request {
                RequestKind::ApiVersions(_) => {
                    let response = api_versions_response(Listener::Client, &self.caps, version);
                    self.deliver(client, conn, correlation, version, response.into());
                }
                RequestKind::Metadata(_) => {
                    self.metadata_requests += 1;
                    self.unanswered.entry(conn).or_default().push_back((correlation, Some(version)));
                    self.answer_metadata(client, conn);
                }
                request => {
                    let node = NodeId(i32::from(self.conns[&conn]) - 9000);
                    self.unanswered.entry(conn).or_default().push_back((correlation, None));
                    self.asked.push_back(Asked { node, conn, correlation, version, request });
                }
            },
            other => self.traffic.push(other),
        }
    }

    fn deliver(
        &mut self,
        client: &mut impl Client,
        conn: ConnId,
        correlation: i32,
        version: i16,
        response: ResponseKind,
    ) {
        let input = Input::Response { conn, correlation, version, response: Box::new(response) };
        assert!(client.on_input(self.now, input, &mut self.out).is_none());
    }

    /// Answers come in order, so metadata waits for what was asked before it.
    fn answer_metadata(&mut self, client: &mut impl Client, conn: ConnId) {
        while let Some(&(correlation, Some(version))) = self.unanswered.get(&conn).and_then(VecDeque::front) {
            self.unanswered.entry(conn).or_default().pop_front();
            let response = self.metadata(version);
            self.deliver(client, conn, correlation, version, response.into());
        }
    }

    /// The next request for the test.
    pub fn next(&mut self) -> Asked {
        self.asked.pop_front().expect("a request")
    }

    pub fn answer(&mut self, client: &mut impl Client, to: &Asked, response: impl Into<ResponseKind>) {
        let Asked { conn, correlation, version, .. } = *to;
        let queue = self.unanswered.entry(conn).or_default();
        assert_eq!(queue.pop_front().map(|(c, _)| c), Some(correlation), "answers come in order");
        self.deliver(client, conn, correlation, version, response.into());
        self.answer_metadata(client, conn);
        self.settle(client);
    }

    /// Breaks the connection a request came on.
    pub fn disconnect(&mut self, client: &mut impl Client, conn: ConnId) {
        self.asked.retain(|a| a.conn != conn);
        self.unanswered.remove(&conn);
        let input = Input::Disconnected { conn, reason: DisconnectReason::Reset };
        assert!(client.on_input(self.now, input, &mut self.out).is_none());
        self.settle(client);
    }

    /// Lets time pass, waking the client exactly when it asked to be woken.
    pub fn advance(&mut self, client: &mut impl Client, by: Duration) {
        let end = self.now.mono + by;
        while let Some(at) = self.deadline.filter(|&at| at <= end) {
            assert!(at > self.now.mono, "a deadline in the past: {at} at {}", self.now.mono);
            self.set(at);
            self.settle(client);
        }
        self.set(end);
        self.settle(client);
    }

    fn set(&mut self, at: Instant) {
        let passed = at.since(self.now.mono);
        self.now.mono = at;
        self.now.wall.0 += passed.as_millis() as i64;
    }
}

/// A field that the version does not have would be lost, or refused, in encoding.
fn survives_the_wire(request: &RequestKind, version: i16) -> bool {
    let mut bytes = BytesMut::new();
    request.encode(&mut bytes, version).unwrap();
    let decoded = RequestKind::decode(api_of(request), &mut bytes.freeze(), version).unwrap();
    *request == decoded
}
