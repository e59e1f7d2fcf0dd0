//! A broker's standing with the controller: registration, heartbeats, fencing, controlled shutdown (KIP-631).
//! Follows Kafka's `BrokerLifecycleManager`. It decides what to say to the controller and when; it never touches a
//! log: what must be on disk before the process ends is the matter of `shutdown`.

use super::controller_link::{Asked, ControllerLink, Lane};
use super::spec::BrokerSpec;
use crate::ids::*;
use crate::log::checkpoint::uuid_text;
use crate::node::Outbox;
use crate::trace::TraceEvent;
use crate::units::{Duration, Instant, Now};
use kafka_protocol::messages::broker_registration_request::{Feature, Listener};
use kafka_protocol::messages::{
    ApiKey, BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerId, BrokerRegistrationRequest,
    BrokerRegistrationResponse,
};
use kafka_protocol::protocol::StrBytes;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Where a broker is in its life (Kafka: `BrokerState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BrokerState {
    /// Loading its logs; not in touch with the controller.
    Loading,
    /// Registering, and catching up with the metadata log.
    Starting,
    /// Caught up; not unfenced yet.
    Recovery,
    /// Takes part.
    Running,
    /// Hands its leaderships over before it ends.
    PendingControlledShutdown,
    /// Ending.
    ShuttingDown,
}

/// What the controller's answer means for the rest of the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Nothing new.
    None,
    /// The image holds this registration: partitions may be taken up.
    CaughtUp,
    /// Time to end.
    ShutDown,
}

/// The first resend backoff (Kafka: `resendExponentialBackoff`, 100 ms doubling up to the session's half).
const RESEND_BACKOFF: Duration = Duration::from_millis(100);

/// The state of it.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    state: BrokerState,
    incarnation_id: Uuid,
    epoch: Option<BrokerEpoch>,
    previous_epoch: BrokerEpoch,
    clean: bool,
    fenced: bool,
    ready_to_unfence: bool,
    in_flight: bool,
    immediately: bool,
    failures: u32,
    told_to_wait: bool,
    next_at: Instant,
}

impl Lifecycle {
    /// Of a process that has just started.
    pub fn new(rng: &mut ChaCha8Rng) -> Lifecycle {
        Lifecycle {
            state: BrokerState::Loading,
            incarnation_id: uuid::Builder::from_random_bytes(rng.random()).into_uuid(),
            epoch: None,
            previous_epoch: BrokerEpoch(-1),
            clean: false,
            fenced: true,
            ready_to_unfence: false,
            in_flight: false,
            immediately: false,
            failures: 0,
            told_to_wait: false,
            next_at: Instant::MAX,
        }
    }

    /// This process, among all that ever were.
    pub fn incarnation(&self) -> Uuid {
        self.incarnation_id
    }
    /// Where it is.
    pub fn state(&self) -> BrokerState {
        self.state
    }
    /// Its epoch, once registered.
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        self.epoch
    }
    /// Whether the controller lets it take part, as far as it knows.
    pub fn is_unfenced(&self) -> bool {
        !self.fenced
    }

    /// What the clean-shutdown file said; `None`: there was none.
    pub fn found_clean_shutdown(&mut self, epoch: Option<BrokerEpoch>) {
        self.clean = epoch.is_some();
        self.previous_epoch = epoch.unwrap_or(BrokerEpoch(-1));
    }

    /// Whether the last end was clean, and all is there that was there then.
    pub fn is_clean(&self) -> bool {
        self.clean
    }
    /// The disk lacks what was on it at the last end, clean as that may have been: the controller hears of an unclean one,
    /// and takes this broker out of ISRs and eligible replicas as long as others are in them (KIP-966).
    pub fn disk_lost_data(&mut self) {
        self.clean = false;
        self.previous_epoch = BrokerEpoch(-1);
    }
    /// As [`Lifecycle::disk_lost_data`], found out after registration: this process registers again, as another.
    pub fn register_again(&mut self, now: Instant) {
        self.disk_lost_data();
        // Another id, and still a function of the seed.
        self.incarnation_id = Uuid::from_u128(self.incarnation_id.as_u128() ^ 1);
        self.epoch = None;
        self.start(now);
    }

    /// Logs are loaded: registers.
    pub fn start(&mut self, now: Instant) {
        self.state = BrokerState::Starting;
        self.next_at = now;
    }
    /// Partitions are taken up; the next heartbeat asks to be unfenced.
    pub fn set_ready_to_unfence(&mut self, now: Instant) {
        self.ready_to_unfence = true;
        self.schedule(now, Duration::ZERO);
    }
    /// SIGTERM. Says whether the broker may end at once.
    pub fn begin_controlled_shutdown(&mut self, now: Instant) -> bool {
        match self.state {
            BrokerState::Running => {
                self.state = BrokerState::PendingControlledShutdown;
                if self.in_flight {
                    self.immediately = true;
                } else {
                    self.schedule(now, Duration::ZERO);
                }
                false
            }
            BrokerState::PendingControlledShutdown => false,
            _ => true,
        }
    }
    /// No more heartbeats.
    pub fn stop(&mut self) {
        self.state = BrokerState::ShuttingDown;
        self.next_at = Instant::MAX;
    }

    /// When [`Lifecycle::communicate`] has something to say.
    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Sends what is due. `applied` is the offset up to which metadata is applied, exclusive.
    pub fn communicate(
        &mut self,
        now: Instant,
        applied: Offset,
        spec: &BrokerSpec,
        link: &mut ControllerLink,
        out: &mut Outbox,
    ) {
        if now < self.next_at {
            return;
        }
        if self.in_flight {
            self.immediately = true;
            self.next_at = Instant::MAX;
            return;
        }
        let lane = link.lane(Lane::Lifecycle);
        if !lane.is_ready() {
            // Sent when it opens, or tried again after the connection's own backoff.
            lane.ensure_connected(now, out);
            self.next_at = lane.retry_at().map_or(Instant::MAX, |at| at.max(now + Duration::from_nanos(1)));
            return;
        }
        // Half a session: an answer that comes later is of no use (Kafka: the heartbeat channel's retry timeout).
        let half_session = Duration::from_nanos(spec.config.session_timeout.as_nanos() / 2);
        let timeout = spec.config.controller_socket_timeout.min(half_session);
        self.next_at = Instant::MAX;
        let Some(epoch) = self.epoch else {
            let Some(version) = lane.version(ApiKey::BrokerRegistration) else { return };
            let request = self.registration(spec, version);
            lane.send_with_timeout(now, timeout, request, Asked::Registration, out);
            self.in_flight = true;
            return;
        };
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(spec.id.0))
            .with_broker_epoch(epoch.0)
            .with_current_metadata_offset(applied.0 - 1)
            .with_want_fence(!self.ready_to_unfence)
            .with_want_shut_down(self.state == BrokerState::PendingControlledShutdown);
        lane.send_with_timeout(now, timeout, request, Asked::Heartbeat, out);
        self.in_flight = true;
    }

    fn registration(&self, spec: &BrokerSpec, version: i16) -> BrokerRegistrationRequest {
        let listener = |name: &'static str, to: &crate::node::Endpoint| {
            Listener::default()
                .with_name(StrBytes::from_static_str(name))
                .with_host(StrBytes::from_string(to.host.to_string()))
                .with_port(to.port)
        };
        let feature = |name: &'static str, min, max| {
            Feature::default()
                .with_name(StrBytes::from_static_str(name))
                .with_min_supported_version(min)
                .with_max_supported_version(max)
        };
        let mut request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(spec.id.0))
            .with_cluster_id(StrBytes::from_string(uuid_text(spec.cluster_id)))
            .with_incarnation_id(self.incarnation_id)
            .with_listeners(vec![listener("CLIENT", &spec.client), listener("BROKER", &spec.inter_broker)])
            .with_features(vec![feature("metadata.version", 1, 25), feature("eligible.leader.replicas.version", 0, 1)])
            .with_rack(spec.config.rack.clone().map(StrBytes::from_string));
        if version >= 2 {
            request.log_dirs = vec![spec.dir_id];
        }
        if version >= 3 {
            request.previous_broker_epoch = self.previous_epoch.0;
        }
        request
    }

    /// The connection opened.
    pub fn on_ready(&mut self, now: Instant) {
        if self.state != BrokerState::Loading && self.state != BrokerState::ShuttingDown && !self.in_flight {
            self.next_at = now;
        }
    }

    /// The controller answered a registration.
    pub fn on_registration(&mut self, now: Instant, answer: &BrokerRegistrationResponse, out: &mut Outbox) {
        self.in_flight = false;
        if answer.error_code != 0 {
            return self.failed(now);
        }
        self.failures = 0;
        let epoch = BrokerEpoch(answer.broker_epoch);
        self.epoch = Some(epoch);
        out.trace(TraceEvent::BrokerRegistered { epoch, clean: self.clean });
        self.schedule(now, Duration::ZERO);
    }

    /// The controller answered a heartbeat.
    pub fn on_heartbeat(
        &mut self,
        now: Instant,
        answer: &BrokerHeartbeatResponse,
        interval: Duration,
        out: &mut Outbox,
    ) -> Step {
        self.in_flight = false;
        if answer.error_code != 0 {
            self.failed(now);
            return Step::None;
        }
        self.failures = 0;
        if self.fenced != answer.is_fenced {
            self.fenced = answer.is_fenced;
            out.trace(TraceEvent::BrokerFenced { fenced: self.fenced });
        }
        match self.state {
            BrokerState::Starting => {
                // Soon again, so that a start without much to do is quick.
                self.schedule(now, Duration::from_millis(10));
                if answer.is_caught_up {
                    self.state = BrokerState::Recovery;
                    return Step::CaughtUp;
                }
            }
            BrokerState::Recovery => {
                if !answer.is_fenced {
                    self.state = BrokerState::Running;
                }
                self.schedule(now, interval);
            }
            BrokerState::PendingControlledShutdown => {
                if answer.should_shut_down {
                    self.stop();
                    return Step::ShutDown;
                }
                let first = !std::mem::replace(&mut self.told_to_wait, true);
                self.schedule(now, if first { Duration::from_millis(50) } else { interval });
            }
            BrokerState::Running => self.schedule(now, interval),
            BrokerState::Loading | BrokerState::ShuttingDown => {}
        }
        Step::None
    }

    /// A request was lost or refused.
    pub fn failed_request(&mut self, now: Instant) {
        self.in_flight = false;
        self.failed(now);
    }

    fn failed(&mut self, now: Instant) {
        let backoff = RESEND_BACKOFF.saturating_mul(1 << self.failures.min(5));
        self.failures += 1;
        self.immediately = false;
        self.schedule(now, backoff);
    }

    fn schedule(&mut self, now: Instant, after: Duration) {
        if matches!(self.state, BrokerState::Loading | BrokerState::ShuttingDown) {
            return;
        }
        let soon = std::mem::replace(&mut self.immediately, false);
        self.next_at = if soon { now } else { now + after };
    }
}

/// A registration that never succeeds ends the process (`initial.broker.registration.timeout.ms`).
pub(crate) fn registration_deadline(now: Now, spec: &BrokerSpec) -> Instant {
    now.mono + spec.config.registration_timeout
}
