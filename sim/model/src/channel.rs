//! An outgoing connection: opened, its versions negotiated, its requests matched with answers and timed out.
//!
//! Used by everything that asks something of another node: client applications, follower fetchers, and a
//! broker's link to its controller. Follows Kafka's `NetworkClient`: one ApiVersions exchange first; a request
//! that is not answered in time costs the whole connection, since answers come in order.

use crate::ids::ApiKey;
use crate::node::{ConnId, DisconnectReason, Endpoint, Outbox, Output};
use crate::units::{Duration, Instant};
use crate::versions::{Negotiated, VersionCaps, api_of};
use kafka_protocol::messages::{ApiVersionsRequest, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// `UNSUPPORTED_VERSION`.
const UNSUPPORTED_VERSION: i16 = 35;

/// How a channel behaves.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout: Duration,
    /// The highest versions this side admits to.
    pub caps: VersionCaps,
}

/// What came of a channel's requests. `T` is whatever the caller attached to a request.
#[derive(Debug)]
pub enum ChannelEvent<T> {
    /// Connected, and versions are known.
    Ready,
    /// An answer.
    Response {
        /// What the caller attached.
        tag: T,
        /// The version of both.
        version: i16,
        /// The answer.
        response: Box<ResponseKind>,
    },
    /// The connection is gone, or could not be made. Of each request under way it is unknown whether it was
    /// processed.
    Lost {
        /// What the caller attached to requests without an answer, in order of sending.
        tags: Vec<T>,
        /// Why.
        reason: LostReason,
    },
}

/// Why a connection was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LostReason {
    /// It ended, or never came up.
    Disconnected(DisconnectReason),
    /// A request was not answered within `request.timeout.ms`.
    RequestTimeout,
    /// It did not come up within `socket.connection.setup.timeout.ms`.
    SetupTimeout,
    /// The two sides share no version of ApiVersions.
    Unsupported,
}

#[derive(Debug)]
enum State {
    /// Not connected; not before `retry_at`.
    Idle,
    Connecting {
        conn: ConnId,
        since: Instant,
    },
    Negotiating {
        conn: ConnId,
        since: Instant,
    },
    Ready {
        conn: ConnId,
    },
}

#[derive(Debug)]
struct InFlight<T> {
    correlation: i32,
    deadline: Instant,
    tag: T,
}

/// One outgoing connection.
#[derive(Debug)]
pub struct Channel<T> {
    endpoint: Endpoint,
    config: ChannelConfig,
    state: State,
    versions: Negotiated,
    correlation: i32,
    failures: u32,
    retry_at: Instant,
    in_flight: VecDeque<InFlight<T>>,
    /// The earliest of their deadlines: this is asked for on every input.
    due: Instant,
}

impl<T> Channel<T> {
    /// A closed channel to `endpoint`.
    pub fn new(endpoint: Endpoint, config: ChannelConfig) -> Channel<T> {
        Channel {
            endpoint,
            config,
            state: State::Idle,
            versions: Negotiated::default(),
            correlation: 0,
            failures: 0,
            retry_at: Instant::ZERO,
            in_flight: VecDeque::new(),
            due: Instant::MAX,
        }
    }

    /// Where it leads.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
    /// Whether requests can be sent now.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }
    /// Whether it is neither open nor being opened.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }
    /// The connection, if there is one, in whatever state.
    pub fn conn(&self) -> Option<ConnId> {
        match self.state {
            State::Idle => None,
            State::Connecting { conn, .. } | State::Negotiating { conn, .. } | State::Ready { conn } => Some(conn),
        }
    }
    /// How many requests wait for an answer.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
    /// What the caller attached to the requests that wait for an answer, oldest first.
    pub fn tags(&self) -> impl Iterator<Item = &T> {
        self.in_flight.iter().map(|f| &f.tag)
    }
    /// The version both sides use for an API, once ready.
    pub fn version(&self, api: ApiKey) -> Option<i16> {
        self.versions.version(api)
    }

    /// Opens the connection if it is closed and its backoff is over. Returns whether it is open or being opened.
    pub fn ensure_connected(&mut self, now: Instant, out: &mut Outbox) -> bool {
        if self.is_idle() {
            if now < self.retry_at {
                return false;
            }
            let conn = out.connect(self.endpoint.clone());
            self.state = State::Connecting { conn, since: now };
        }
        true
    }

    /// Sends a request and remembers `tag` until it is answered.
    ///
    /// # Panics
    /// If the channel is not ready, or the other side does not know the API: ask [`Channel::version`] first.
    pub fn send(&mut self, now: Instant, request: impl Into<RequestKind>, tag: T, out: &mut Outbox) -> i32 {
        self.send_with_timeout(now, self.config.request_timeout, request, tag, out)
    }

    /// As [`Channel::send`], with a timeout of its own.
    ///
    /// # Panics
    /// As [`Channel::send`].
    pub fn send_with_timeout(
        &mut self,
        now: Instant,
        timeout: Duration,
        request: impl Into<RequestKind>,
        tag: T,
        out: &mut Outbox,
    ) -> i32 {
        let request = Box::new(request.into());
        let version = self.highest(&request);
        self.send_as(now, timeout, version, request, tag, out)
    }

    /// As [`Channel::send`], in a version not above the one settled on.
    ///
    /// # Panics
    /// As [`Channel::send`].
    pub fn send_version(
        &mut self,
        now: Instant,
        version: i16,
        request: impl Into<RequestKind>,
        tag: T,
        out: &mut Outbox,
    ) -> i32 {
        self.send_as(now, self.config.request_timeout, version, Box::new(request.into()), tag, out)
    }

    fn send_as(
        &mut self,
        now: Instant,
        timeout: Duration,
        version: i16,
        request: Box<RequestKind>,
        tag: T,
        out: &mut Outbox,
    ) -> i32 {
        let correlation = self.push(version, request, out);
        self.due = self.due.min(now + timeout);
        self.in_flight.push_back(InFlight { correlation, deadline: now + timeout, tag });
        correlation
    }

    /// Sends a request that has no answer: Produce with acks=0.
    ///
    /// # Panics
    /// As [`Channel::send`].
    pub fn send_oneway(&mut self, request: impl Into<RequestKind>, out: &mut Outbox) {
        let request = Box::new(request.into());
        let version = self.highest(&request);
        self.push(version, request, out);
    }

    fn highest(&self, request: &RequestKind) -> i16 {
        let api = api_of(request);
        self.versions.version(api).unwrap_or_else(|| panic!("{} does not know {api:?}", self.endpoint))
    }

    fn push(&mut self, version: i16, request: Box<RequestKind>, out: &mut Outbox) -> i32 {
        let State::Ready { conn } = self.state else { panic!("the channel to {} is not ready", self.endpoint) };
        self.correlation += 1;
        out.push(Output::Request { conn, correlation: self.correlation, version, request });
        self.correlation
    }

    /// The connection is up: asks for the other side's versions.
    pub fn on_connected(&mut self, now: Instant, conn: ConnId, out: &mut Outbox) {
        if self.conn() == Some(conn) && matches!(self.state, State::Connecting { .. }) {
            self.state = State::Negotiating { conn, since: now };
            self.ask_versions(conn, 4, out);
        }
    }

    fn ask_versions(&mut self, conn: ConnId, highest: i16, out: &mut Outbox) {
        let cap = self.config.caps.0.get(&(ApiKey::ApiVersions as i16)).copied().unwrap_or(highest);
        let version = highest.min(cap);
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request.client_software_name = StrBytes::from_static_str("klamm");
            request.client_software_version = StrBytes::from_static_str(env!("CARGO_PKG_VERSION"));
        }
        self.correlation += 1;
        out.push(Output::Request {
            conn,
            correlation: self.correlation,
            version,
            request: Box::new(RequestKind::ApiVersions(request)),
        });
    }

    /// An answer arrived. `None` if it is not for this channel, or only of interest to the channel.
    pub fn on_response(
        &mut self,
        now: Instant,
        conn: ConnId,
        correlation: i32,
        version: i16,
        response: Box<ResponseKind>,
        out: &mut Outbox,
    ) -> Option<ChannelEvent<T>> {
        if self.conn() != Some(conn) {
            return None;
        }
        if let State::Negotiating { .. } = self.state {
            let ResponseKind::ApiVersions(answer) = *response else {
                return Some(self.lose(now, LostReason::Unsupported, out));
            };
            if answer.error_code == UNSUPPORTED_VERSION && version > 0 {
                // KIP-511: the key list came along, but asking again at the version it names is simplest.
                let theirs = answer.api_keys.iter().find(|k| k.api_key == ApiKey::ApiVersions as i16);
                self.ask_versions(conn, theirs.map_or(0, |k| k.max_version.min(version - 1)), out);
                return None;
            }
            if answer.error_code != 0 {
                return Some(self.lose(now, LostReason::Unsupported, out));
            }
            self.versions = Negotiated::new(&answer, &self.config.caps);
            self.state = State::Ready { conn };
            self.failures = 0;
            return Some(ChannelEvent::Ready);
        }
        // Answers come in order; one that is not for the oldest request cannot be matched with anything.
        let front = self.in_flight.pop_front_if(|f| f.correlation == correlation)?;
        if front.deadline <= self.due {
            self.due = self.in_flight.iter().map(|f| f.deadline).min().unwrap_or(Instant::MAX);
        }
        Some(ChannelEvent::Response { tag: front.tag, version, response })
    }

    /// The connection ended. `None` if it was not this channel's.
    pub fn on_disconnected(&mut self, now: Instant, conn: ConnId, reason: DisconnectReason) -> Option<ChannelEvent<T>> {
        if self.conn() != Some(conn) {
            return None;
        }
        Some(self.lost(now, LostReason::Disconnected(reason)))
    }

    /// Gives up a connection that took too long. Call on every timer; says the next deadline to `out`.
    pub fn poll(&mut self, now: Instant, out: &mut Outbox) -> Option<ChannelEvent<T>> {
        if self.due() <= now {
            let reason = if self.is_ready() { LostReason::RequestTimeout } else { LostReason::SetupTimeout };
            return Some(self.lose(now, reason, out));
        }
        self.arm(out);
        None
    }

    /// Says the next deadline to `out`.
    #[inline]
    pub fn arm(&self, out: &mut Outbox) {
        out.wake_at(self.due());
    }

    /// The next deadline.
    #[inline]
    pub(crate) fn due(&self) -> Instant {
        match self.state {
            State::Idle => Instant::MAX,
            State::Connecting { since, .. } | State::Negotiating { since, .. } => {
                since + self.config.connection_setup_timeout
            }
            State::Ready { .. } => self.due,
        }
    }

    /// When a closed channel may be opened again; `None` while it is open or being opened.
    pub fn retry_at(&self) -> Option<Instant> {
        self.is_idle().then_some(self.retry_at)
    }

    /// Closes it now. Requests under way are lost.
    pub fn close(&mut self, now: Instant, out: &mut Outbox) -> Vec<T> {
        if let Some(conn) = self.conn() {
            out.close(conn);
        }
        self.state = State::Idle;
        self.due = Instant::MAX;
        self.retry_at = now;
        self.in_flight.drain(..).map(|f| f.tag).collect()
    }

    fn lose(&mut self, now: Instant, reason: LostReason, out: &mut Outbox) -> ChannelEvent<T> {
        if let Some(conn) = self.conn() {
            out.close(conn);
        }
        self.lost(now, reason)
    }

    fn lost(&mut self, now: Instant, reason: LostReason) -> ChannelEvent<T> {
        self.state = State::Idle;
        self.due = Instant::MAX;
        let shift = self.failures.min(20);
        let backoff = self.config.reconnect_backoff.saturating_mul(1 << shift).min(self.config.reconnect_backoff_max);
        self.failures += 1;
        self.retry_at = now + backoff;
        ChannelEvent::Lost { tags: self.in_flight.drain(..).map(|f| f.tag).collect(), reason }
    }

    /// Moves the next attempt by up to a fifth, so that clients that lost a broker together do not return together.
    pub fn jitter_retry(&mut self, now: Instant, rng: &mut ChaCha8Rng) {
        let wait = self.retry_at.since(now).as_nanos();
        if self.is_idle() && wait > 0 {
            self.retry_at = now + Duration::from_nanos(wait * rng.random_range(80..=120) / 100);
        }
    }
}
