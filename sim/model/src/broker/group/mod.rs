//! The group coordinator: who is in which group, what it owns, and how far it has come (KIP-62, KIP-848, KIP-211).
//!
//! **Decide, then replay.** A group belongs to a partition of `__consumer_offsets`, and that partition's leader
//! coordinates it. A handler looks at the state and returns records and what is to follow; the records are appended to
//! the broker's own partition as a producer with acks=all would; what follows (an answer, a generation's assignment) waits
//! until the high watermark has passed them. Committed offsets change when their record is committed, KIP-848 groups when
//! it is appended, so that the next decision builds on it; an append that is refused changes neither, and a coordinator
//! that loses its partition forgets everything, so nothing uncommitted outlives it. Between two generations a classic
//! group lives in memory only, as in Kafka.
//!
//! **A new leader loads first.** It reads its log in chunks up to where its epoch begins, answers
//! COORDINATOR_LOAD_IN_PROGRESS meanwhile, and serves once its high watermark is there too. The last is stricter than
//! Kafka, which may serve the offsets below a high watermark that lags behind what its predecessor acknowledged.
//!
//! The rooms, in reading order:
//! - here: all partitions coordinated, and what a handler is given; [`runtime`]: appending, committing, timers, taking
//!   partitions up and giving them back; [`loading`]: reading a partition's log;
//! - [`shard`]: one partition's groups; [`offsets`]: committed offsets; [`classic`]: classic groups; [`consumer`]: KIP-848
//!   groups, and the [`assignor`]s they use;
//! - [`requests`], [`find`], [`fetch_offsets`], [`listing`], [`deletion`]: what clients ask.
//!
//! Kafka's classes: `CoordinatorRuntime`, `CoordinatorLoaderImpl`, `GroupCoordinatorService`, `GroupCoordinatorShard`,
//! `OffsetMetadataManager`, `GroupMetadataManager`. Absent: transactional commits, share and streams groups, and the
//! client's id and address, which a node is not told.

mod assignor;
mod classic;
mod consumer;
mod deletion;
mod fetch_offsets;
mod find;
mod listing;
mod loading;
mod offsets;
mod requests;
mod runtime;
mod shard;
#[cfg(test)]
mod tests;

use super::connections::Caller;
use crate::config::BrokerConfig;
use crate::controller::image::Image;
use crate::defects::Defects;
use crate::disk::DiskToken;
use crate::ids::*;
use crate::inspect::CoordinatorInspection;
use crate::node::Outbox;
use crate::record::schema::GroupRecord;
use crate::timers::{TimerKey, Timers};
use crate::trace::{RemovalReason, TraceEvent};
use crate::units::{Duration, Instant, Now};
use classic::Member;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ResponseKind;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use requests::{refused_join, refused_sync};
use shard::Shard;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// When a write that nobody waits for is tried again after it was refused (Kafka: `CoordinatorTimer`'s retry backoff).
const WRITE_RETRY: Duration = Duration::from_millis(500);

/// Every partition of the offsets topic that this broker coordinates.
#[derive(Debug)]
pub(crate) struct Groups {
    /// By the number of their replica.
    shards: BTreeMap<u32, Shard>,
    /// Those that load, or wait for a high watermark.
    busy: BTreeSet<u32>,
    /// Reads of logs being loaded.
    reading: BTreeMap<u64, u32>,
    timers: Timers<Task>,
    /// Replicas whose role has changed.
    roles_changed: Vec<u32>,
    fetches: Vec<fetch_offsets::Waiting>,
    deletions: Vec<deletion::Deletion>,
    /// Raised with every change of topics and partitions.
    metadata_version: u64,
    /// How many shards there have been: a timer of an earlier one means nothing to a later one.
    shards_begun: u64,
    rng: ChaCha8Rng,
}

/// What is to be done at some time, and for which incarnation of which shard.
#[derive(Clone, Debug)]
struct Task {
    owner: u32,
    number: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// A member may have been silent for too long. `at` is the time of this timer.
    Session { group: Arc<str>, member: Arc<str>, at: Instant },
    /// A member should have given up its partitions.
    Rebalance { group: Arc<str>, member: Arc<str>, epoch: i32 },
    /// The time to join is over.
    Join { group: Arc<str> },
    /// The time to sync is over.
    Sync { group: Arc<str>, generation: i32 },
    /// That a classic group is empty could not be written.
    Emptied { group: Arc<str>, generation: i32 },
    /// A write should have been committed by now.
    Write { base: Offset },
    /// Look for offsets that have expired.
    Expiry,
    /// OffsetFetch requests that have waited for long enough.
    Fetches,
}

/// How long somebody may still be silent.
#[derive(Clone, Copy, Debug, Default)]
struct Session {
    deadline: Instant,
    /// The time of the timer that looks after it. A heartbeat moves the deadline alone; the timer finds out.
    armed: Option<Instant>,
}

impl Session {
    /// Whether nobody looks after it.
    fn is_unset(&self) -> bool {
        self.armed.is_none()
    }
}

/// Records to be written, and what is to follow.
#[derive(Debug)]
struct Write {
    group: Arc<str>,
    records: Vec<GroupRecord>,
    then: Then,
    /// What becomes true when they are committed.
    events: Vec<TraceEvent>,
    /// In a few words.
    why: &'static str,
}

impl Write {
    fn new(group: Arc<str>, records: Vec<GroupRecord>, then: Then) -> Write {
        Write { group, records, then, events: Vec::new(), why: "" }
    }
}

/// What follows once records are committed.
#[derive(Debug)]
enum Then {
    Nothing,
    /// An answer.
    Reply {
        caller: Caller,
        response: Box<ResponseKind>,
    },
    /// A group's first record. Its first member has been answered, or waits in the group.
    NewGroup {
        caller: Caller,
    },
    /// A classic generation's assignment.
    Assigned {
        generation: i32,
    },
    /// A classic group that has become empty.
    Emptied {
        generation: i32,
    },
    /// A member of a KIP-848 group that is put out.
    PutOut {
        member: Arc<str>,
        reason: RemovalReason,
    },
    /// A static member's new id.
    StaticReplaced {
        caller: Caller,
        new: Arc<str>,
        was: Box<Member>,
    },
}

/// What a handler is given, and where it puts what it decides.
struct Ctx<'a> {
    now: Now,
    config: &'a BrokerConfig,
    defects: Defects,
    image: &'a Image,
    metadata_version: u64,
    /// The leader epoch in which it coordinates.
    epoch: LeaderEpoch,
    owner: u32,
    number: u64,
    rng: &'a mut ChaCha8Rng,
    timers: &'a mut Timers<Task>,
    out: &'a mut Outbox,
    replies: Vec<(Caller, ResponseKind)>,
    writes: Vec<Write>,
}

impl Ctx<'_> {
    fn reply(&mut self, caller: Caller, response: impl Into<ResponseKind>) {
        let response = match response.into() {
            ResponseKind::JoinGroup(r) => classic::fit_join(r, caller.version).into(),
            ResponseKind::SyncGroup(r) => classic::fit_sync(r, caller.version).into(),
            other => other,
        };
        self.replies.push((caller, response));
    }
    fn refuse_join(&mut self, caller: Caller, member: &str, error: ResponseError) {
        self.reply(caller, refused_join(member, error));
    }
    fn refuse_sync(&mut self, caller: Caller, error: ResponseError) {
        self.reply(caller, refused_sync(error));
    }
    fn write(&mut self, write: Write) {
        self.writes.push(write);
    }
    fn mark(&mut self, mark: &'static str) {
        self.out.trace(TraceEvent::Mark { mark });
    }
    fn timer(&mut self, at: Instant, what: What) -> TimerKey {
        self.timers.set(at, Task { owner: self.owner, number: self.number, what })
    }
    fn cancel(&mut self, timer: TimerKey) {
        self.timers.cancel(timer);
    }
    /// A member id as Kafka makes them.
    fn member_id(&mut self, prefix: &str) -> Arc<str> {
        let id = uuid::Builder::from_random_bytes(self.rng.random()).into_uuid();
        Arc::from(format!("{prefix}-{id}"))
    }
    fn removed(&self, group: &Arc<str>, member: &Arc<str>, reason: RemovalReason) -> TraceEvent {
        TraceEvent::MemberRemoved { group: group.clone(), epoch: self.epoch, member: member.clone(), reason }
    }

    /// Restarts a session. Costs no timer but for the first time, and when it gets shorter.
    fn watch(&mut self, session: &mut Session, group: Arc<str>, member: Arc<str>, timeout: Duration) {
        session.deadline = self.now.mono + timeout;
        if session.armed.is_none_or(|armed| session.deadline < armed) {
            self.arm(session, group, member);
        }
    }
    /// Whether a session is over, as the timer of time `at` wants to know.
    fn has_ended(&mut self, session: &mut Session, at: Instant, group: &Arc<str>, member: &Arc<str>) -> bool {
        if session.armed != Some(at) {
            return false;
        }
        session.armed = None;
        if session.deadline > self.now.mono {
            self.arm(session, group.clone(), member.clone());
            return false;
        }
        true
    }
    fn arm(&mut self, session: &mut Session, group: Arc<str>, member: Arc<str>) {
        let at = session.deadline;
        session.armed = Some(at);
        self.timer(at, What::Session { group, member, at });
    }
}

impl Groups {
    /// None yet.
    pub fn new(rng: ChaCha8Rng) -> Groups {
        Groups {
            shards: BTreeMap::new(),
            busy: BTreeSet::new(),
            reading: BTreeMap::new(),
            timers: Timers::default(),
            roles_changed: Vec::new(),
            fetches: Vec::new(),
            deletions: Vec::new(),
            metadata_version: 1,
            shards_begun: 0,
            rng,
        }
    }
    /// The process ends: nobody is answered any more.
    pub fn clear(&mut self) {
        self.shards.clear();
        self.busy.clear();
        self.reading.clear();
        self.roles_changed.clear();
        self.fetches.clear();
        self.deletions.clear();
        self.timers = Timers::default();
    }
    /// Topics or partitions came, changed or went: KIP-848 groups look at theirs again.
    pub fn metadata_changed(&mut self) {
        self.metadata_version += 1;
    }
    /// Says the next deadline.
    pub fn arm(&self, out: &mut Outbox) {
        self.timers.arm(out);
    }
    /// Whether a completion is that of a read for loading.
    pub fn is_reading(&self, token: DiskToken) -> bool {
        self.reading.contains_key(&token.seq)
    }
    /// The coordinators' account of themselves; those that load have none yet.
    pub fn inspect(&self, image: &Image) -> Vec<CoordinatorInspection> {
        self.shards.values().filter(|s| s.is_active()).map(|s| s.inspect(image)).collect()
    }
}

/// The partition of the offsets topic a group belongs to: Java's `String.hashCode`, made positive, modulo their number.
fn partition_of(group: &str, partitions: usize) -> i32 {
    let hash = group.encode_utf16().fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions.max(1) as i32
}
