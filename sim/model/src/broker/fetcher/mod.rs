//! Replication from other brokers: one fetcher for each leader, which asks for one thing at a time.
//!
//! A round is one request: where epochs end (only before fetching, in the older era), where the leader's log begins
//! or ends (after OFFSET_OUT_OF_RANGE), or records. The next round waits until everything the answer brought is
//! appended or cut. Followers name only offsets whose appends have completed. Follows Kafka's
//! `AbstractFetcherThread` and `ReplicaFetcherThread`.
//!
//! The rooms: [`requests`] builds them, [`answers`] acts on what comes back, [`truncation`] says where to cut.

mod answers;
mod requests;
mod truncation;

use super::Process;
use super::controller_link::CONNECTION_SETUP_TIMEOUT;
use super::partition::Partition;
use super::replicas::Replicas;
use super::spec::{BrokerSpec, Truncation};
use crate::channel::{Channel, ChannelConfig, ChannelEvent};
use crate::controller::image::Image;
use crate::defects::{Defect, Defects};
use crate::ids::*;
use crate::node::{ConnId, DisconnectReason, Endpoint, Outbox};
use crate::small_map::{Few, SmallMap};
use crate::units::{Duration, Instant, Now};
use kafka_protocol::messages::ResponseKind;
use std::collections::BTreeMap;

/// What a partition needs next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// To find out where to begin, once its log is at rest.
    Fresh,
    /// To find out where its log diverges from the leader's.
    Truncating,
    /// Records.
    Fetching,
    /// To learn where the leader's log ends: it asked for an offset the leader does not have.
    AskLatest,
    /// To learn where the leader's log begins.
    AskEarliest,
}

/// What follows once the log is at rest again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum After {
    /// Records were appended; the leader told its high watermark and log start.
    Append { high_watermark: Offset, log_start: Offset },
    /// The log was cut.
    Cut { next: Stage },
    /// Something from an earlier role was under way.
    Start,
}

#[derive(Debug)]
struct Following {
    /// The leader epoch, as requests name it.
    epoch: LeaderEpoch,
    stage: Stage,
    /// From where to fetch.
    offset: Offset,
    last_fetched: Option<LeaderEpoch>,
    delayed_until: Instant,
    busy: Option<After>,
}

/// What a partition's part of a request was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sent {
    owner: u32,
    epoch: LeaderEpoch,
    offset: Offset,
}

/// A request under way.
#[derive(Debug)]
enum Round {
    Epochs(Few<Sent>),
    Latest(Few<Sent>),
    Earliest(Few<Sent>),
    Records(Few<Sent>),
}

/// Everything fetched from one leader.
#[derive(Debug)]
struct Fetcher {
    channel: Channel<Round>,
    parts: SmallMap<u32, Following>,
    /// How many of them wait for their log to come to rest.
    busy: usize,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Fetchers {
    truncation: Truncation,
    defects: Defects,
    backoff: Duration,
    config: ChannelConfig,
    by_leader: SmallMap<NodeId, Fetcher>,
    /// From whom each partition is fetched.
    leader_of: BTreeMap<u32, NodeId>,
    next_at: Instant,
    /// The earliest deadline of a connection; `None` if something may have changed since it was found, and rounds may
    /// begin. Most inputs of a broker change nothing here.
    due: Option<Instant>,
}

impl Fetchers {
    /// None.
    pub fn new(spec: &BrokerSpec) -> Fetchers {
        Fetchers {
            truncation: spec.truncation,
            defects: spec.defects,
            backoff: spec.config.replica_fetch_backoff,
            config: ChannelConfig {
                request_timeout: spec.config.replica_socket_timeout,
                // A failure delays every partition by the fetch backoff; the connection needs none of its own.
                reconnect_backoff: Duration::ZERO,
                reconnect_backoff_max: Duration::ZERO,
                connection_setup_timeout: CONNECTION_SETUP_TIMEOUT,
                caps: spec.caps.clone(),
            },
            by_leader: SmallMap::new(),
            leader_of: BTreeMap::new(),
            next_at: Instant::MAX,
            due: None,
        }
    }

    /// Everything, to be changed.
    fn leaders(&mut self) -> &mut SmallMap<NodeId, Fetcher> {
        self.due = None;
        &mut self.by_leader
    }

    /// Fetches a partition from its leader in a new epoch.
    pub fn follow(&mut self, owner: u32, p: &Partition, same_leader: bool, image: &Image) {
        self.remove(owner);
        // A new epoch starts over whoever leads: the same leader may have come back with a shorter log, in an epoch
        // between that this follower never heard of (KAFKA-7164).
        let go_on = same_leader && self.defects.on(Defect::MissedEpochNoTruncate);
        let Some(to) = endpoint(p.leader, image) else { return };
        self.due = None;
        let config = &self.config;
        let new = || Fetcher { channel: Channel::new(to, config.clone()), parts: SmallMap::new(), busy: 0 };
        let fetcher = self.by_leader.get_or_insert_with(p.leader, new);
        let waits = !p.settled() && !self.defects.on(Defect::FollowBeforeAppendsSettle);
        let busy = waits.then_some(After::Start);
        fetcher.busy += usize::from(busy.is_some());
        let following = Following {
            epoch: p.leader_epoch,
            stage: if go_on { Stage::Fetching } else { Stage::Fresh },
            offset: p.log.log_end(),
            last_fetched: None,
            delayed_until: Instant::ZERO,
            busy,
        };
        fetcher.parts.insert(owner, following);
        self.leader_of.insert(owner, p.leader);
    }

    fn following(&mut self, owner: u32) -> Option<&mut Following> {
        let leader = *self.leader_of.get(&owner)?;
        self.leaders().get_mut(&leader)?.parts.get_mut(&owner)
    }

    /// Stops fetching a partition.
    pub fn remove(&mut self, owner: u32) {
        let Some(leader) = self.leader_of.remove(&owner) else { return };
        let Some(fetcher) = self.leaders().get_mut(&leader) else { return };
        if let Some(following) = fetcher.parts.remove(&owner) {
            fetcher.busy -= usize::from(following.busy.is_some());
        }
    }

    /// Hangs up on those that lead nothing any more. Otherwise a request to a leader that fell silent would be waited
    /// for until `replica.socket.timeout.ms`, even if that broker has long been back and leads again. (Kafka's
    /// `shutdownIdleFetcherThreads`, after every change of metadata.)
    pub fn close_idle(&mut self, now: Instant, out: &mut Outbox) {
        self.leaders().retain(|_, fetcher| {
            let idle = fetcher.parts.is_empty();
            if idle {
                fetcher.channel.close(now, out);
            }
            !idle
        });
    }

    /// Brokers may have moved.
    pub fn brokers_changed(&mut self, image: &Image) {
        self.due = None;
        for (&leader, fetcher) in &mut self.by_leader {
            if let Some(to) = endpoint(leader, image)
                && to != *fetcher.channel.endpoint()
                && fetcher.channel.is_idle()
            {
                fetcher.channel = Channel::new(to, self.config.clone());
            }
        }
    }

    /// A log came to rest, perhaps: the partition goes on. Says whether its high watermark rose.
    pub fn settled(&mut self, owner: u32, replicas: &mut Replicas, out: &mut Outbox) -> bool {
        let Some(p) = replicas.get_mut(owner).filter(|p| p.settled()) else { return false };
        let Some(leader) = self.leader_of.get(&owner).copied() else { return false };
        let Some(fetcher) = self.leaders().get_mut(&leader) else { return false };
        let Some(f) = fetcher.parts.get_mut(&owner) else { return false };
        let Some(after) = f.busy.take() else { return false };
        fetcher.busy -= 1;
        match after {
            After::Append { high_watermark, log_start } => {
                f.offset = p.log.log_end();
                f.last_fetched = p.log.latest_epoch();
                p.follow_watermarks(high_watermark, log_start, out)
            }
            After::Cut { next } => {
                f.offset = p.log.log_end();
                f.stage = next;
                f.last_fetched = p.log.latest_epoch();
                p.watermark_within_log(out);
                false
            }
            After::Start => {
                f.offset = p.log.log_end();
                false
            }
        }
    }

    /// When a round may begin that cannot begin now.
    pub fn next_at(&self) -> Instant {
        self.next_at
    }
    /// Says the connections' deadlines.
    pub fn arm(&mut self, out: &mut Outbox) {
        let earliest = || self.by_leader.values().map(|f| f.channel.due()).min().unwrap_or(Instant::MAX);
        out.wake_at(*self.due.get_or_insert_with(earliest));
    }
    /// Gives up what took too long.
    pub fn poll(&mut self, now: Instant, out: &mut Outbox) {
        let backoff = self.backoff;
        for fetcher in self.leaders().values_mut() {
            if fetcher.channel.poll(now, out).is_some() {
                fetcher.delay_all(now + backoff);
            }
        }
    }
    /// A connection opened.
    pub fn on_connected(&mut self, now: Instant, conn: ConnId, out: &mut Outbox) {
        if let Some(fetcher) = self.leaders().values_mut().find(|f| f.channel.conn() == Some(conn)) {
            fetcher.channel.on_connected(now, conn, out);
        }
    }
    /// A connection ended.
    pub fn on_disconnected(&mut self, now: Instant, conn: ConnId, reason: DisconnectReason) {
        let backoff = self.backoff;
        for fetcher in self.leaders().values_mut() {
            if fetcher.channel.on_disconnected(now, conn, reason).is_some() {
                fetcher.delay_all(now + backoff);
            }
        }
    }
    /// Closes everything.
    pub fn close(&mut self, now: Instant, out: &mut Outbox) {
        for fetcher in self.leaders().values_mut() {
            fetcher.channel.close(now, out);
        }
        self.leaders().clear();
        self.leader_of.clear();
        self.next_at = Instant::MAX;
    }
}

impl Fetcher {
    fn delay_all(&mut self, until: Instant) {
        for f in self.parts.values_mut() {
            f.delayed_until = f.delayed_until.max(until);
        }
    }
}

impl Process {
    /// An answer on an outgoing connection that is not to the controller.
    pub(super) fn on_fetcher_response(
        &mut self,
        now: Now,
        conn: ConnId,
        correlation: i32,
        version: i16,
        response: Box<ResponseKind>,
        out: &mut Outbox,
    ) {
        let backoff = self.fetchers.backoff;
        let mut by_leader = self.fetchers.leaders().iter_mut();
        let Some((&leader, fetcher)) = by_leader.find(|(_, f)| f.channel.conn() == Some(conn)) else { return };
        match fetcher.channel.on_response(now.mono, conn, correlation, version, response, out) {
            None | Some(ChannelEvent::Ready) => {}
            Some(ChannelEvent::Lost { .. }) => fetcher.delay_all(now.mono + backoff),
            Some(ChannelEvent::Response { tag, response, .. }) => {
                self.on_round(now, leader, tag, response, out);
            }
        }
    }
}

/// Where a broker listens for other brokers.
fn endpoint(id: NodeId, image: &Image) -> Option<Endpoint> {
    let e = image.broker(id)?.endpoint("BROKER")?;
    Some(Endpoint::new(&e.host, e.port))
}
