//! A Kafka broker of the KRaft era, broker role only (the controller is another node).
//!
//! It never reads a clock or touches a file; every append, read and fsync is asked of the disk and answered later.
//! A partition's log end moves only when its append completed, and what waits for it (an answer, the high watermark,
//! a follower's next fetch) waits for that. Data may be acknowledged without fsync, as in Kafka.
//!
//! The rooms, in reading order:
//! - [`spec`]: what a broker is told; here: routing of inputs, and the order of things within one;
//! - [`connections`]: one request of a connection at a time; [`startup`], [`shutdown`]: the two ends of a process;
//! - [`lifecycle`]: its standing with the controller; [`controller_link`]: the way there; [`metadata`]: its image;
//! - [`partition`]: one replica; [`replicas`]: all of them, and what metadata makes of them;
//!   [`alter_partition`]: asking for another ISR;
//! - [`produce`], [`fetch`] (with [`fetch_sessions`]), [`list_offsets`], [`offset_for_leader_epoch`], [`admin`]
//!   (with [`refusal`]), [`describe`]: the requests;
//! - [`group`]: the coordinator of consumer groups;
//! - [`fetcher`]: replication from other brokers; [`cleaner`]: which log is compacted next; [`checkpoints`]: what is
//!   written down now and then.
//!
//! Kafka's classes: `KafkaApis`, `ReplicaManager`, `BrokerServer`, `BrokerMetadataPublisher`, `LogManager`,
//! `LogCleanerManager`.

mod admin;
mod alter_partition;
mod checkpoints;
mod cleaner;
mod connections;
mod controller_link;
mod delete_records;
mod describe;
mod fetch;
mod fetch_sessions;
mod fetcher;
mod group;
mod lifecycle;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod partition;
mod produce;
mod refusal;
mod replicas;
mod shutdown;
mod spec;
mod startup;
#[cfg(test)]
mod tests;

pub use spec::{BrokerSpec, Truncation};

use crate::channel::ChannelEvent;
use crate::disk::{DiskResult, DiskToken, Path};
use crate::inspect::{BrokerInspection, Inspection};
use crate::log::{Finding, LogEvent, Recovered};
use crate::node::{ConnId, Input, Node, Outbox, Output};
use crate::timers::Timers;
use crate::trace::TraceEvent;
use crate::units::{Instant, Now};
use admin::Admin;
use alter_partition::AlterPartitions;
use checkpoints::Checkpoints;
use cleaner::Cleaner;
use connections::{Caller, Connections};
use controller_link::{Asked, ControllerLink, Lane};
use delete_records::Deletions;
use fetch::Fetches;
use fetch_sessions::FetchSessions;
use fetcher::Fetchers;
use group::Groups;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use lifecycle::{Lifecycle, Step};
use list_offsets::TimestampLookups;
use metadata::{Changes, Leader, Metadata};
use partition::Partition;
use produce::Produces;
use rand_chacha::ChaCha8Rng;
use replicas::Replicas;
use shutdown::Stopping;
use startup::Loading;

/// The disk owner number of the broker itself; logs have numbers from 1.
const SELF: u32 = 0;

/// A broker node.
#[derive(Debug)]
pub struct Broker {
    spec: BrokerSpec,
    process: Option<Box<Process>>,
}

impl Broker {
    /// A process that has not started yet.
    pub fn new(spec: BrokerSpec) -> Broker {
        Broker { spec, process: None }
    }
}

impl Node for Broker {
    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        if let Input::Start { rng, .. } = input {
            self.process = Some(Box::new(Process::start(self.spec.clone(), *rng, now, out)));
        } else if let Some(process) = &mut self.process {
            process.handle(now, input, out);
        }
    }

    fn inspect(&self) -> Inspection {
        let account = match &self.process {
            Some(process) => process.inspect(),
            None => BrokerInspection { id: self.spec.id, ..BrokerInspection::default() },
        };
        Inspection::Broker(account)
    }

    fn is_open(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.connections.is_held())
    }
}

/// What is to be done at some time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Task {
    /// Look for followers that lag.
    IsrExpiration,
    /// Write down high watermarks.
    HighWatermarks,
    /// Write down recovery points.
    RecoveryPoints,
    /// Write down log starts.
    LogStarts,
    /// Apply retention.
    Retention,
    /// Look for a log to compact.
    Clean,
    /// Forget idle producers.
    ProducerExpiration,
    /// Give up a registration that does not succeed.
    RegistrationTimeout,
    /// Give up a controlled shutdown that does not come to an end.
    ShutdownTimeout,
    /// Answer a produce request that waits for replicas.
    Produce(u64),
    /// Answer a fetch that waits for data.
    Fetch(usize),
    /// Answer a DeleteRecords request that waits for replicas.
    DeleteRecords(u64),
    /// Answer what was forwarded and not answered.
    Forwarded(u64),
}

/// Where the process is between its two ends.
#[derive(Debug)]
enum Phase {
    /// Reading what the disk kept.
    Loading(Loading),
    /// Logs are loaded; from here on the lifecycle tells.
    Serving,
    /// Putting everything on disk.
    Stopping(Stopping),
    /// Over.
    Ended,
}

/// One incarnation. Nothing in it survives but what it put on disk.
#[derive(Debug)]
struct Process {
    spec: BrokerSpec,
    phase: Phase,
    connections: Connections,
    link: ControllerLink,
    lifecycle: Lifecycle,
    metadata: Metadata,
    replicas: Replicas,
    fetchers: Fetchers,
    alter: AlterPartitions,
    produces: Produces,
    fetches: Fetches,
    fetch_sessions: FetchSessions,
    lookups: TimestampLookups,
    deletions: Deletions,
    admin: Admin,
    groups: Groups,
    checkpoints: Checkpoints,
    cleaner: Cleaner,
    timers: Timers<Task>,
    /// Whether partitions have been taken up (Kafka: the first publish).
    published: bool,
    recovered: Recovered,
    log_events: Vec<LogEvent>,
}

impl Process {
    fn start(spec: BrokerSpec, mut rng: ChaCha8Rng, now: Now, out: &mut Outbox) -> Process {
        let mut process = Process {
            phase: Phase::Loading(Loading::begin(out)),
            connections: Connections::held(),
            link: ControllerLink::new(&spec),
            lifecycle: Lifecycle::new(&mut rng),
            metadata: Metadata::new(),
            replicas: Replicas::new(),
            fetchers: Fetchers::new(&spec),
            alter: AlterPartitions::default(),
            produces: Produces::default(),
            fetches: Fetches::default(),
            fetch_sessions: FetchSessions::default(),
            lookups: TimestampLookups::default(),
            deletions: Deletions::default(),
            admin: Admin::default(),
            groups: Groups::new(rng),
            checkpoints: Checkpoints::new(),
            cleaner: Cleaner::default(),
            timers: Timers::default(),
            published: false,
            recovered: Recovered::default(),
            log_events: Vec::new(),
            spec,
        };
        process.timers.set(lifecycle::registration_deadline(now, &process.spec), Task::RegistrationTimeout);
        process.settle(now, out);
        process
    }

    fn handle(&mut self, now: Now, input: Input, out: &mut Outbox) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        match input {
            Input::Start { .. } => {}
            Input::Shutdown => self.on_shutdown(now, out),
            Input::Timer => self.on_timer(now, out),
            Input::Connected { conn } => self.on_connected(now, conn, out),
            Input::Accepted { conn, listener } => self.connections.accepted(conn, listener),
            Input::Disconnected { conn, .. } if conn.is_incoming() => self.connections.disconnected(conn),
            Input::Disconnected { conn, reason } => {
                if let Some(lane) = self.link.lane_of(conn) {
                    let event = self.link.lane(lane).on_disconnected(now.mono, conn, reason);
                    self.on_link(now, lane, event, out);
                } else {
                    self.fetchers.on_disconnected(now.mono, conn, reason);
                }
            }
            Input::Request { conn, correlation, version, request } => {
                if let Some((caller, request)) = self.connections.arrived(conn, correlation, version, request) {
                    self.on_request(now, caller, request, out);
                }
            }
            Input::Response { conn, correlation, version, response } => {
                if let Some(lane) = self.link.lane_of(conn) {
                    let channel = self.link.lane(lane);
                    let event = channel.on_response(now.mono, conn, correlation, version, response, out);
                    self.on_link(now, lane, event, out);
                } else {
                    self.on_fetcher_response(now, conn, correlation, version, response, out);
                }
            }
            Input::Disk { token, result } => self.on_disk(now, token, result, out),
        }
        self.settle(now, out);
    }

    /// After every input: requests whose turn has come, whatever is due to be sent, and the next deadline.
    fn settle(&mut self, now: Now, out: &mut Outbox) {
        self.settle_groups(now, out);
        if self.connections.is_held() && self.takes_part() {
            self.connections.release();
        }
        while let Some((caller, request)) = self.connections.next() {
            self.on_request(now, caller, request, out);
        }
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        if !matches!(self.phase, Phase::Stopping(_)) {
            let (spec, link) = (&self.spec, &mut self.link);
            self.metadata.fetch(now.mono, spec, link, out);
            self.lifecycle.communicate(now.mono, self.metadata.image.next_offset(), spec, link, out);
            if let Some(epoch) = self.lifecycle.epoch() {
                self.alter.send(now.mono, spec.id, epoch, link, out);
                self.admin.send(now.mono, spec.id, epoch, link, out);
            }
            self.run_fetchers(now, out);
        }
        self.arm(now, out);
    }

    /// Whether clients may ask this broker: it is unfenced, and its own image says so. An answer from before would name
    /// brokers as they stood before this one's start, or none at all, and a client that learns of no broker may never come
    /// back (Kafka: `BrokerServer` enables request processing once the broker is unfenced).
    fn takes_part(&self) -> bool {
        let unfenced = || self.metadata.image.broker(self.spec.id).is_some_and(|b| !b.fenced);
        self.published && self.lifecycle.is_unfenced() && unfenced()
    }

    /// Says the next deadline. Deadlines that have passed without being acted on wait for something else to happen.
    fn arm(&mut self, now: Now, out: &mut Outbox) {
        self.timers.arm(out);
        let parts = [
            self.metadata.next_at(),
            self.lifecycle.next_at(),
            self.alter.next_at(),
            self.admin.next_at(),
            self.fetchers.next_at(),
            self.replicas.next_poll(),
        ];
        for at in parts {
            if at > now.mono && at < Instant::MAX {
                out.wake_at(at);
            }
        }
        self.link.arm(out);
        self.fetchers.arm(out);
        self.groups.arm(out);
    }

    fn on_timer(&mut self, now: Now, out: &mut Outbox) {
        for lane in Lane::ALL {
            let event = self.link.lane(lane).poll(now.mono, out);
            self.on_link(now, lane, event, out);
        }
        self.fetchers.poll(now.mono, out);
        self.replicas.poll(now, out);
        self.run_group_timers(now, out);
        while let Some(task) = self.timers.pop_due(now.mono) {
            self.run_task(now, task, out);
            if matches!(self.phase, Phase::Ended) {
                return;
            }
        }
    }

    fn run_task(&mut self, now: Now, task: Task, out: &mut Outbox) {
        match task {
            Task::IsrExpiration => {
                // Kafka's scheduler runs a task once whose period is 0 ms.
                let half = self.spec.config.replica_lag_time_max.as_nanos() / 2;
                if half >= 1_000_000 {
                    self.timers.set(now.mono + crate::units::Duration::from_nanos(half), task);
                }
                self.shrink_isrs(now, out);
            }
            Task::HighWatermarks | Task::RecoveryPoints | Task::LogStarts => {
                let interval = self.checkpoint_interval(task);
                // Here too: once, if the interval is 0.
                if interval > crate::units::Duration::ZERO {
                    self.timers.set(now.mono + interval, task);
                }
                self.write_checkpoint(task, out);
            }
            Task::Retention => {
                self.timers.set(now.mono + self.spec.config.retention_check_interval, task);
                self.replicas.apply_retention(now, out);
            }
            Task::Clean => self.clean_next(now, out),
            Task::ProducerExpiration => {
                self.timers.set(now.mono + self.spec.config.producer_id_expiration_check, task);
                self.replicas.expire_producers(now, out);
            }
            Task::RegistrationTimeout => {
                if self.lifecycle.epoch().is_none() {
                    self.halt("the controller did not register this broker in time", out);
                }
            }
            Task::ShutdownTimeout => self.stop(now, out),
            Task::Produce(request) => self.produce_timed_out(request, out),
            Task::Fetch(request) => self.complete_fetch(request, out),
            Task::DeleteRecords(request) => self.delete_records_timed_out(request, out),
            Task::Forwarded(request) => self.forwarded_timed_out(request, out),
        }
    }

    fn on_connected(&mut self, now: Now, conn: ConnId, out: &mut Outbox) {
        match self.link.lane_of(conn) {
            Some(lane) => self.link.lane(lane).on_connected(now.mono, conn, out),
            None => self.fetchers.on_connected(now.mono, conn, out),
        }
    }

    fn on_request(&mut self, now: Now, caller: Caller, request: Box<RequestKind>, out: &mut Outbox) {
        let request = match fetch::Asked::new(request) {
            Ok(fetch) => return self.on_fetch(now, caller, fetch, out),
            Err(other) => *other,
        };
        match request {
            RequestKind::Produce(r) => self.on_produce(now, caller, r, out),
            RequestKind::ListOffsets(r) => self.on_list_offsets(caller, &r, out),
            RequestKind::DeleteRecords(r) => self.on_delete_records(now, caller, &r, out),
            RequestKind::OffsetForLeaderEpoch(r) => self.on_offset_for_leader_epoch(caller, &r, out),
            RequestKind::Metadata(r) => self.on_metadata_request(now, caller, &r, out),
            RequestKind::CreateTopics(_)
            | RequestKind::CreatePartitions(_)
            | RequestKind::DeleteTopics(_)
            | RequestKind::AlterConfigs(_)
            | RequestKind::IncrementalAlterConfigs(_) => self.forward(now, caller, &request, out),
            RequestKind::DescribeCluster(r) => self.on_describe_cluster(caller, &r, out),
            RequestKind::DescribeConfigs(r) => self.on_describe_configs(caller, &r, out),
            RequestKind::InitProducerId(r) => self.on_init_producer_id(caller, &r, out),
            RequestKind::ApiVersions(_) => self.on_api_versions(caller, out),
            // If it is not about groups, it is not offered; Kafka closes the connection of whoever asks all the same.
            other => self.on_group_request(now, caller, other, out),
        }
    }

    /// Answers a request, and lets the connection's next one in.
    fn answer(&mut self, caller: Caller, response: impl Into<ResponseKind>, out: &mut Outbox) {
        if self.connections.done(caller.conn) {
            out.respond(caller.conn, caller.correlation, caller.version, response);
        }
    }

    fn on_link(&mut self, now: Now, lane: Lane, event: Option<ChannelEvent<Asked>>, out: &mut Outbox) {
        match event {
            None => {}
            Some(ChannelEvent::Ready) => match lane {
                Lane::Metadata => self.metadata.on_ready(now.mono),
                Lane::Lifecycle => self.lifecycle.on_ready(now.mono),
                Lane::AlterPartition => self.alter.on_ready(now.mono),
                Lane::Forwarding => self.admin.on_ready(now.mono),
            },
            Some(ChannelEvent::Lost { tags, .. }) => {
                if tags.is_empty() {
                    // The connection could not be opened; whoever wants it asks again after its backoff.
                    self.link_closed(now, lane);
                }
                for asked in tags {
                    self.request_lost(now, asked);
                }
            }
            Some(ChannelEvent::Response { tag, response, .. }) => self.on_controller_answer(now, tag, *response, out),
        }
    }

    fn link_closed(&mut self, now: Now, lane: Lane) {
        let retry_at = self.link.lane(lane).retry_at().unwrap_or(now.mono);
        match lane {
            Lane::Metadata => self.metadata.on_lost(now.mono, retry_at.since(now.mono)),
            Lane::Lifecycle => self.lifecycle.failed_request(now.mono),
            Lane::AlterPartition => self.alter.on_lost(now.mono),
            Lane::Forwarding => self.admin.on_closed(now.mono),
        }
    }

    fn request_lost(&mut self, now: Now, asked: Asked) {
        match asked {
            Asked::Metadata => self.metadata.on_lost(now.mono, self.spec.config.quorum_retry_backoff),
            Asked::Registration | Asked::Heartbeat => self.lifecycle.failed_request(now.mono),
            Asked::AlterPartition => self.alter.on_lost(now.mono),
            Asked::ProducerIds => self.admin.producer_ids_lost(now.mono),
            Asked::Forwarded(request) => self.admin.forwarded_lost(now.mono, request),
        }
    }

    fn on_controller_answer(&mut self, now: Now, asked: Asked, response: ResponseKind, out: &mut Outbox) {
        match (asked, response) {
            (Asked::Metadata, ResponseKind::Fetch(answer)) => {
                let mut changes = Changes::default();
                let backoff = self.spec.config.quorum_retry_backoff;
                let leader = self.metadata.on_answer(now.mono, answer, backoff, &mut changes, out);
                let lost = match leader {
                    Leader::Same => None,
                    Leader::Is(node) => self.link.follow(node, now.mono, out),
                    Leader::Unknown => self.link.try_next(now.mono, out),
                };
                if let Some(lost) = lost {
                    Lane::ALL.into_iter().for_each(|lane| self.link_closed(now, lane));
                    lost.into_iter().for_each(|asked| self.request_lost(now, asked));
                }
                if self.published {
                    self.apply_changes(now, changes, out);
                }
            }
            (Asked::Registration, ResponseKind::BrokerRegistration(answer)) => {
                self.lifecycle.on_registration(now.mono, &answer, out);
            }
            (Asked::Heartbeat, ResponseKind::BrokerHeartbeat(answer)) => {
                let interval = self.spec.config.heartbeat_interval;
                match self.lifecycle.on_heartbeat(now.mono, &answer, interval, out) {
                    Step::None => {}
                    Step::CaughtUp => self.caught_up(now, out),
                    Step::ShutDown => self.stop(now, out),
                }
            }
            (Asked::AlterPartition, ResponseKind::AlterPartition(answer)) => {
                for (id, number, came_to) in self.alter.on_answer(now.mono, &answer) {
                    self.isr_answered(now, id, number, came_to, out);
                }
            }
            (Asked::ProducerIds, ResponseKind::AllocateProducerIds(answer)) => {
                self.admin.on_producer_ids(now.mono, &answer);
            }
            (Asked::Forwarded(request), ResponseKind::Envelope(answer)) => {
                self.on_envelope(now, request, &answer, out);
            }
            (asked, _) => self.request_lost(now, asked),
        }
    }

    fn on_disk(&mut self, now: Now, token: DiskToken, result: DiskResult, out: &mut Outbox) {
        if token.owner == SELF {
            return self.on_own_disk(now, token, result, out);
        }
        let mut events = std::mem::take(&mut self.log_events);
        if let Some(log) = self.log_mut(token.owner) {
            log.on_disk(now, token, result, out, &mut events);
        }
        for event in events.drain(..) {
            self.on_log_event(now, token.owner, event, out);
        }
        self.log_events = events;
        self.replicas.note_deadline(token.owner);
    }

    /// A completion of the broker's own: a read for a fetch, a checkpoint, a step of startup or shutdown.
    fn on_own_disk(&mut self, now: Now, token: DiskToken, result: DiskResult, out: &mut Outbox) {
        if self.fetches.is_reading(token) {
            return self.fetch_read(token, result, out);
        }
        if self.lookups.is_reading(token) {
            return self.timestamps_read(token, result, out);
        }
        if self.groups.is_reading(token) {
            return self.group_log_read(now, token, result, out);
        }
        if self.replicas.is_deleting(token) {
            return self.directory_deleted(now, token, result, out);
        }
        match self.checkpoints.on_disk(token, &result, out) {
            checkpoints::Outcome::NotMine => {}
            checkpoints::Outcome::Fine => return self.checkpoint_written(now, out),
            checkpoints::Outcome::RecoveryPoints => {
                self.recovery_points_written(now, out);
                return self.checkpoint_written(now, out);
            }
            checkpoints::Outcome::Failed => return self.halt("a checkpoint could not be written", out),
        }
        self.on_loading_disk(now, token, result, out);
    }

    /// The disk failed, or something else that a process does not survive (Kafka: `Exit.halt`).
    fn halt(&mut self, reason: &str, out: &mut Outbox) {
        self.phase = Phase::Ended;
        out.push(Output::Halt { reason: reason.into() });
    }

    fn disk_failed(&mut self, reason: &str, out: &mut Outbox) {
        out.trace(TraceEvent::Mark { mark: "halted-on-disk-error" });
        self.halt(reason, out);
    }

    /// Something on the disk is not as an orderly end leaves it.
    fn found(&mut self, path: Path, what: Finding, out: &mut Outbox) {
        self.recovered.add(&what);
        let ordinary = matches!(&what, Finding::Log(recovery) if !recovery.found_something());
        if !ordinary {
            out.trace(TraceEvent::Found { path, what });
        }
    }

    fn inspect(&self) -> BrokerInspection {
        BrokerInspection {
            id: self.spec.id,
            epoch: self.lifecycle.epoch(),
            unfenced: self.lifecycle.is_unfenced(),
            metadata_applied: self.metadata.image.next_offset(),
            image_digest: self.metadata.image.digest(),
            partitions: self.replicas.inspect(),
            coordinated: self.groups.inspect(&self.metadata.image),
            recovered: self.recovered,
        }
    }
}

/// Kafka's number for an error.
fn code(result: Result<(), ResponseError>) -> i16 {
    result.err().map_or(0, |e| e.code())
}

/// Text as messages bear it.
fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}
