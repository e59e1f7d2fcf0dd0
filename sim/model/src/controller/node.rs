//! The controller as a node: connections, requests, and the order of things around the quorum.
//!
//! A request is decided at once, its records are appended, and its answer waits until they are committed. Per
//! connection one request is in process at a time, as Kafka mutes a channel.

use super::envelope::{self, Wish};
use super::fetch::{Answers, Caller, FETCH, Fetches};
use super::quorum::{Entry, METADATA_DIR, Quorum, QuorumEvent};
use super::spec::ControllerSpec;
use super::state::{Decided, State};
use crate::defects::Defect;
use crate::disk::{DiskError, DiskOp, DiskReply, DiskResult, DiskToken, Path, ReadRange};
use crate::ids::*;
use crate::inspect::{ControllerInspection, Inspection};
use crate::log::checkpoint::{META_PROPERTIES, Progress, Replace};
use crate::log::meta::identify;
use crate::log::{Finding, Recovered};
use crate::node::{ConnId, Input, Listener, Node, Outbox, Output};
use crate::trace::TraceEvent;
use crate::units::Now;
use crate::versions::api_versions_response;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    AllocateProducerIdsResponse, AlterPartitionResponse, BrokerHeartbeatResponse, BrokerRegistrationResponse,
    EnvelopeRequest, RequestKind, ResponseKind,
};
use rand_chacha::ChaCha8Rng;
use smallvec::smallvec;
use std::collections::{BTreeMap, VecDeque};

/// Routes completions: those of `meta.properties`.
const META: u32 = 4;
/// More of that file is not read.
const META_PROPERTIES_MAX: u64 = 64 << 10;

/// A controller node.
#[derive(Debug)]
pub struct Controller {
    spec: ControllerSpec,
    process: Option<Process>,
}

impl Controller {
    /// A process that has not started yet.
    pub fn new(spec: ControllerSpec) -> Controller {
        Controller { spec, process: None }
    }
}

/// One incarnation.
#[derive(Debug)]
struct Process {
    spec: ControllerSpec,
    rng: ChaCha8Rng,
    /// The read of `meta.properties`: nothing else is opened before it says whose directory this is.
    identity: Option<DiskToken>,
    meta_properties: Replace,
    recovered: Recovered,
    quorum: Quorum,
    state: State,
    /// Whether requests are decided: this node leads, and has replayed all that came before.
    active: bool,
    stopping: bool,
    ended: bool,
    /// Appended and not committed yet.
    uncommitted: VecDeque<Entry>,
    /// Answers, each with the offset below which everything must be committed first.
    replies: VecDeque<(Offset, Caller, ResponseKind)>,
    fetches: Fetches,
    conns: BTreeMap<ConnId, Connection>,
    /// Connections that may have a request to begin.
    ready: VecDeque<ConnId>,
}

/// A connection, with the requests that wait behind the one in process.
#[derive(Debug, Default)]
struct Connection {
    busy: bool,
    queue: VecDeque<(i32, i16, Box<RequestKind>)>,
}

impl Node for Controller {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        if let Input::Start { rng, .. } = input {
            self.process = Some(Process::start(self.spec.clone(), *rng, out));
        } else if let Some(process) = self.process.as_mut().filter(|p| !p.ended) {
            process.handle(now, input, out);
        }
    }

    fn inspect(&self) -> Inspection {
        let mut inspection = ControllerInspection { id: self.spec.id, ..ControllerInspection::default() };
        if let Some(p) = &self.process {
            inspection.active = p.active;
            inspection.epoch = p.quorum.epoch();
            inspection.committed = p.state.committed().next_offset();
            inspection.image_digest = p.state.committed().digest();
            inspection.brokers = p.state.inspect_brokers();
            inspection.partitions = p.state.inspect_partitions();
            inspection.recovered = p.recovered;
        }
        Inspection::Controller(inspection)
    }
}

impl Process {
    fn start(spec: ControllerSpec, rng: ChaCha8Rng, out: &mut Outbox) -> Process {
        let home = Path::new(if spec.shares_disk { METADATA_DIR } else { "" });
        let file = home.join(META_PROPERTIES);
        let ranges = smallvec![ReadRange { file: file.clone(), pos: 0, len: META_PROPERTIES_MAX }];
        Process {
            identity: Some(out.disk(META, DiskOp::Read { ranges })),
            meta_properties: Replace::new(META, file),
            recovered: Recovered::default(),
            quorum: Quorum::new(&spec),
            state: State::new(spec.clone()),
            spec,
            rng,
            active: false,
            stopping: false,
            ended: false,
            uncommitted: VecDeque::new(),
            replies: VecDeque::new(),
            fetches: Fetches::default(),
            conns: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Accepted { conn, .. } => {
                self.conns.insert(conn, Connection::default());
            }
            Input::Disconnected { conn, .. } => {
                self.conns.remove(&conn);
                self.fetches.disconnected(conn);
            }
            Input::Request { conn, correlation, version, request } => {
                if let Some(connection) = self.conns.get_mut(&conn) {
                    connection.queue.push_back((correlation, version, request));
                    self.ready.push_back(conn);
                }
            }
            Input::Disk { token, result } => self.on_disk(now, token, result, out),
            Input::Shutdown => {
                self.stopping = true;
                self.active = false;
                self.quorum.resign();
            }
            // A controller opens no connections while it is alone.
            Input::Timer | Input::Connected { .. } | Input::Response { .. } | Input::Start { .. } => {}
        }
        self.fence_silent(now, out);
        self.poll_fetches(now, out);
        self.begin_requests(now, out);
        self.quorum.poll(now, out);
        if self.stopping && self.uncommitted.is_empty() && !self.ended {
            self.ended = true;
            out.push(Output::Exit);
        }
        if let Some(at) = self.state.next_session_end().filter(|_| self.active) {
            out.wake_at(at);
        }
        if let Some(at) = self.fetches.next_deadline() {
            out.wake_at(at);
        }
    }

    fn on_disk(&mut self, now: Now, token: DiskToken, result: DiskResult, out: &mut Outbox) {
        if token.owner == FETCH {
            let mut answers = Answers::new();
            match self.fetches.on_disk(token, result, &self.quorum, &mut answers) {
                Ok(()) => self.send_fetched(answers, out),
                Err(reason) => self.halt(&reason.to_string(), out),
            }
            return;
        }
        if token.owner == META {
            return self.on_identity(token, result, out);
        }
        let mut events = Vec::new();
        self.quorum.on_disk(now, token, result, out, &mut events);
        for event in events {
            match event {
                QuorumEvent::Appended(entry) => self.appended(entry, out),
                QuorumEvent::HighWatermark(up_to) => self.commit(up_to, out),
                QuorumEvent::Leading => self.activate(now, out),
                QuorumEvent::Found(what) => {
                    self.recovered.add(&what);
                    if matches!(&what, Finding::Log(recovery) if recovery.found_something()) {
                        out.trace(TraceEvent::Found { path: Path::new(METADATA_DIR), what });
                    }
                }
                QuorumEvent::Failed(reason) => self.halt(&reason.to_string(), out),
            }
        }
    }

    /// `meta.properties` was read, or is being written.
    fn on_identity(&mut self, token: DiskToken, result: DiskResult, out: &mut Outbox) {
        if self.identity.take_if(|asked| *asked == token).is_none() {
            if let Progress::Failed(error) = self.meta_properties.on_disk(token, &result, out) {
                self.halt(&format!("meta.properties could not be written: {error}"), out);
            }
            return;
        }
        let found = match result {
            Ok(DiskReply::Data(data)) => data.into_iter().next(),
            Err(DiskError::NotFound) => None,
            _ => return self.halt("meta.properties could not be read", out),
        };
        match identify(found.as_deref(), self.spec.id, self.spec.cluster_id, self.spec.dir_id) {
            Ok(identity) => {
                if let Some(content) = identity.write {
                    self.meta_properties.replace(content, out);
                }
                self.quorum.start(out);
            }
            Err(what) => self.halt(&what.to_string(), out),
        }
    }

    /// A record is in the log, from now or from before.
    fn appended(&mut self, entry: Entry, out: &mut Outbox) {
        let replayed = match &entry.record {
            Some(record) => self.state.appended(entry.offset, entry.epoch, record),
            None => {
                self.state.appended_control(entry.offset, entry.epoch);
                Ok(())
            }
        };
        self.uncommitted.push_back(entry);
        if let Err(error) = replayed {
            self.halt(&error.to_string(), out);
        }
    }

    fn commit(&mut self, up_to: Offset, out: &mut Outbox) {
        while let Some(entry) = self.uncommitted.pop_front_if(|e| e.offset < up_to) {
            let Entry { offset, epoch, batch_end, record } = entry;
            let Some(record) = record else {
                self.state.commit_control(offset, epoch);
                continue;
            };
            if let Err(error) = self.state.commit(offset, epoch, &record) {
                return self.halt(&error.to_string(), out);
            }
            out.trace(TraceEvent::MetadataCommitted { offset, epoch, batch_end, record });
        }
        while let Some((_, caller, response)) = self.replies.pop_front_if(|(offset, ..)| *offset <= up_to) {
            self.respond(caller, response, out);
        }
    }

    fn activate(&mut self, now: Now, out: &mut Outbox) {
        self.active = true;
        out.trace(TraceEvent::ControllerActive { epoch: self.quorum.epoch() });
        let decided = self.state.activate(now.mono);
        self.apply(now, decided, out);
    }

    /// Appends what was decided. Returns the answer, and the offset below which everything must be committed before
    /// it may leave: one without records may still rest on records that are not.
    fn apply<T>(&mut self, now: Now, decided: Decided<T>, out: &mut Outbox) -> (Offset, T) {
        for mark in decided.marks {
            out.trace(TraceEvent::Mark { mark });
        }
        if !decided.records.is_empty() {
            match self.quorum.append(now, decided.records, out) {
                Ok(entries) => entries.into_iter().for_each(|e| self.appended(e, out)),
                Err(reason) => self.halt(&reason.to_string(), out),
            }
        }
        (self.state.working().next_offset(), decided.reply)
    }

    fn fence_silent(&mut self, now: Now, out: &mut Outbox) {
        while self.active
            && let Some(decided) = self.state.fence_silent(now.mono)
        {
            self.apply(now, decided, out);
        }
    }

    fn poll_fetches(&mut self, now: Now, out: &mut Outbox) {
        let mut answers = Answers::new();
        self.fetches.poll(now.mono, &self.quorum, out, &mut answers);
        self.send_fetched(answers, out);
    }

    fn send_fetched(&mut self, answers: Answers, out: &mut Outbox) {
        for (caller, response) in answers {
            self.respond(caller, ResponseKind::Fetch(response), out);
        }
    }

    fn respond(&mut self, caller: Caller, response: ResponseKind, out: &mut Outbox) {
        if let Some(connection) = self.conns.get_mut(&caller.conn) {
            connection.busy = false;
            self.ready.push_back(caller.conn);
            out.respond(caller.conn, caller.correlation, caller.version, response);
        }
    }

    fn begin_requests(&mut self, now: Now, out: &mut Outbox) {
        while let Some(conn) = self.ready.pop_front() {
            let Some(connection) = self.conns.get_mut(&conn).filter(|c| !c.busy && !self.ended) else { continue };
            let Some((correlation, version, request)) = connection.queue.pop_front() else { continue };
            connection.busy = true;
            self.on_request(now, Caller { conn, correlation, version }, *request, out);
        }
    }

    fn on_request(&mut self, now: Now, caller: Caller, request: RequestKind, out: &mut Outbox) {
        let next = self.quorum.log().next_offset();
        let decided: Decided<ResponseKind> = match request {
            RequestKind::ApiVersions(_) => {
                let response = api_versions_response(Listener::Controller, &self.spec.caps, caller.version);
                return self.respond(caller, ResponseKind::ApiVersions(response), out);
            }
            RequestKind::Fetch(r) => {
                let mut answers = Answers::new();
                let cluster = self.spec.cluster_id;
                self.fetches.on_request(now.mono, caller, &r, cluster, &self.quorum, out, &mut answers);
                return self.send_fetched(answers, out);
            }
            other if !self.active => return self.refuse(caller, &other, out),
            RequestKind::BrokerRegistration(r) => {
                self.state.register(now.mono, next, &r).map(ResponseKind::BrokerRegistration)
            }
            RequestKind::BrokerHeartbeat(r) => {
                self.state.heartbeat(now.mono, next, &r).map(ResponseKind::BrokerHeartbeat)
            }
            RequestKind::AlterPartition(r) => {
                self.state.alter_partition(caller.version, &r).map(ResponseKind::AlterPartition)
            }
            RequestKind::AllocateProducerIds(r) => {
                self.state.allocate_producer_ids(&r).map(ResponseKind::AllocateProducerIds)
            }
            RequestKind::Envelope(r) => self.forwarded(&r),
            // Not offered here: Kafka closes the connection.
            _ => {
                self.conns.remove(&caller.conn);
                return out.close(caller.conn);
            }
        };
        let (offset, response) = self.apply(now, decided, out);
        if offset <= self.quorum.high_watermark() || self.spec.defects.on(Defect::ControllerAnswersEarly) {
            self.respond(caller, response, out);
        } else {
            self.replies.push_back((offset, caller, response));
        }
    }

    fn forwarded(&mut self, request: &EnvelopeRequest) -> Decided<ResponseKind> {
        match envelope::open(request) {
            Ok(forwarded) => {
                let version = forwarded.header.request_api_version;
                let header = &forwarded.header;
                match &forwarded.request {
                    Wish::Topics(r) => {
                        let decided = self.state.create_topics(version, r, &mut self.rng);
                        decided.map(|response| ResponseKind::Envelope(envelope::seal(header, &response)))
                    }
                    Wish::Partitions(r) => {
                        let decided = self.state.create_partitions(r, &mut self.rng);
                        decided.map(|response| ResponseKind::Envelope(envelope::seal(header, &response)))
                    }
                    Wish::Deletion(r) => {
                        let decided = self.state.delete_topics(version, r);
                        decided.map(|response| ResponseKind::Envelope(envelope::seal(header, &response)))
                    }
                    Wish::Configs(r) => {
                        let decided = self.state.alter_configs(r);
                        decided.map(|response| ResponseKind::Envelope(envelope::seal(header, &response)))
                    }
                    Wish::AllConfigs(r) => {
                        let decided = self.state.replace_configs(r);
                        decided.map(|response| ResponseKind::Envelope(envelope::seal(header, &response)))
                    }
                }
            }
            Err(error) => Decided::nothing(ResponseKind::Envelope(envelope::refuse(error))),
        }
    }

    /// This controller does not lead (yet, or any more).
    fn refuse(&mut self, caller: Caller, request: &RequestKind, out: &mut Outbox) {
        let code = ResponseError::NotController.code();
        let response = match request {
            RequestKind::BrokerRegistration(_) => {
                BrokerRegistrationResponse::default().with_error_code(code).with_broker_epoch(-1).into()
            }
            RequestKind::BrokerHeartbeat(_) => BrokerHeartbeatResponse::default().with_error_code(code).into(),
            RequestKind::AlterPartition(_) => AlterPartitionResponse::default().with_error_code(code).into(),
            RequestKind::AllocateProducerIds(_) => AllocateProducerIdsResponse::default().with_error_code(code).into(),
            RequestKind::Envelope(_) => envelope::refuse(ResponseError::NotController).into(),
            _ => {
                self.conns.remove(&caller.conn);
                return out.close(caller.conn);
            }
        };
        self.respond(caller, response, out);
    }

    fn halt(&mut self, reason: &str, out: &mut Outbox) {
        if !self.ended {
            self.ended = true;
            out.push(Output::Halt { reason: reason.into() });
        }
    }
}
