//! Fetch sessions (KIP-227): a client says once which partitions it follows, then only what changes; it is answered only
//! about those with news. Follows Kafka's `FetchManager`, `FetchSessionCache` and `IncrementalFetchContext`.
//!
//! An incremental request is turned into the full one it stands for before it is looked at, and its answer is thinned out
//! before it leaves; in between nobody knows of sessions. A partition that had records goes to the end of its session, so
//! that a limit on bytes does not starve the others.

use crate::ids::*;
use crate::limits::{FETCH_SESSION_IDLE, FETCH_SESSIONS};
use crate::units::Instant;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use std::collections::BTreeMap;

/// The first version that knows sessions, and the first that names topics by id.
const SESSIONS: i16 = 7;
const TOPIC_IDS: i16 = 13;
/// A request outside any session, which ends the one it names.
const FINAL_EPOCH: i32 = -1;
/// A full request that would begin a session.
const INITIAL_EPOCH: i32 = 0;

/// A partition of a session: what is asked of it, and what was said of it last.
#[derive(Debug)]
struct Followed {
    asked: FetchPartition,
    high_watermark: i64,
    log_start: i64,
    /// Its place among the others: the smallest comes first.
    place: u64,
}

/// A topic, by name or id, and a partition.
type Key = (TopicName, Uuid, i32);

impl Followed {
    fn new(asked: &FetchPartition, place: u64) -> Followed {
        Followed { asked: asked.clone(), high_watermark: -1, log_start: -1, place }
    }
    /// Whether there is something new to say of it; remembers what is.
    fn has_news(&mut self, data: &PartitionData) -> bool {
        let records = data.records.as_ref().is_some_and(|r| !r.is_empty());
        let moved = self.high_watermark != data.high_watermark || self.log_start != data.log_start_offset;
        let failed = data.error_code != 0;
        // After an error everything is said again.
        self.high_watermark = if failed { -1 } else { data.high_watermark };
        self.log_start = data.log_start_offset;
        records || moved || failed || data.diverging_epoch.epoch >= 0 || data.preferred_read_replica.0 >= 0
    }
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    used: Instant,
    partitions: BTreeMap<Key, Followed>,
    places: u64,
}

/// All sessions of a broker.
#[derive(Debug, Default)]
pub(super) struct FetchSessions {
    open: BTreeMap<i32, Session>,
    begun: u64,
}

/// What an answer has to do with sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Nothing.
    None,
    /// It may begin one, asked for at that time.
    Begins(Instant),
    /// It goes on with one.
    Continues(i32),
}

impl FetchSessions {
    /// Makes a request a full one, if it is of a session.
    ///
    /// # Errors
    /// There is no such session, its epoch is another, or topics are suddenly named otherwise.
    pub fn take_up(&mut self, now: Instant, version: i16, request: &mut FetchRequest) -> Result<Role, ResponseError> {
        if version < SESSIONS {
            return Ok(Role::None);
        }
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            self.open.remove(&id);
            return Ok(if epoch == INITIAL_EPOCH { Role::Begins(now) } else { Role::None });
        }
        let session = self.open.get_mut(&id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != (version >= TOPIC_IDS) {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        session.used = now;
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.update(request);
        if session.partitions.is_empty() {
            self.open.remove(&id);
            return Ok(Role::None);
        }
        request.topics = session.as_topics();
        Ok(Role::Continues(id))
    }

    /// Puts into an answer what its session makes of it. `asked` is the full request, `broker` this incarnation's epoch.
    pub fn finish(
        &mut self,
        version: i16,
        role: Role,
        broker: BrokerEpoch,
        asked: &[FetchTopic],
        answer: &mut FetchResponse,
    ) {
        match role {
            Role::None => {}
            Role::Begins(now) => {
                let Some(id) = self.begin(now, version, broker, asked) else { return };
                answer.session_id = id;
                let Some(session) = self.open.get_mut(&id) else { return };
                for topic in &answer.responses {
                    for data in &topic.partitions {
                        let key = (topic.topic.clone(), topic.topic_id, data.partition_index);
                        session.partitions.get_mut(&key).map(|f| f.has_news(data));
                    }
                }
            }
            Role::Continues(id) => {
                answer.session_id = id;
                // It may have been ended meanwhile; the answer is complete without it.
                if let Some(session) = self.open.get_mut(&id) {
                    session.thin_out(answer);
                }
            }
        }
    }

    fn begin(&mut self, now: Instant, version: i16, broker: BrokerEpoch, asked: &[FetchTopic]) -> Option<i32> {
        let mut session =
            Session { epoch: 1, by_id: version >= TOPIC_IDS, used: now, partitions: BTreeMap::new(), places: 0 };
        session.follow(asked);
        if session.partitions.is_empty() {
            return None;
        }
        if self.open.len() >= FETCH_SESSIONS {
            // The one that was idle for longest gives way, if it was for long.
            let (&idle, session) = self.open.iter().min_by_key(|(_, s)| s.used)?;
            if now.since(session.used) < FETCH_SESSION_IDLE {
                return None;
            }
            self.open.remove(&idle);
        }
        let id = loop {
            self.begun += 1;
            let id = scatter(broker.0 as u64, self.begun);
            if !self.open.contains_key(&id) {
                break id;
            }
        };
        self.open.insert(id, session);
        Some(id)
    }
}

/// An id above 0 that another incarnation would hardly give out.
fn scatter(broker: u64, count: u64) -> i32 {
    let mut x = broker.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(count);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x >> 33) as i32).max(1)
}

impl Session {
    /// Takes over what a request adds and changes.
    fn follow(&mut self, topics: &[FetchTopic]) {
        for topic in topics {
            for asked in &topic.partitions {
                self.places += 1;
                let place = self.places;
                self.partitions
                    .entry((topic.topic.clone(), topic.topic_id, asked.partition))
                    .and_modify(|f| f.asked = asked.clone())
                    .or_insert_with(|| Followed::new(asked, place));
            }
        }
    }

    fn update(&mut self, request: &FetchRequest) {
        self.follow(&request.topics);
        for gone in &request.forgotten_topics_data {
            for &partition in &gone.partitions {
                self.partitions.remove(&(gone.topic.clone(), gone.topic_id, partition));
            }
        }
    }

    fn as_topics(&self) -> Vec<FetchTopic> {
        let mut followed: Vec<_> = self.partitions.iter().collect();
        followed.sort_unstable_by_key(|(_, f)| f.place);
        let mut topics: Vec<FetchTopic> = Vec::new();
        for ((name, id, _), f) in followed {
            match topics.last_mut() {
                Some(last) if last.topic == *name && last.topic_id == *id => last.partitions.push(f.asked.clone()),
                _ => {
                    let topic = FetchTopic::default().with_topic(name.clone()).with_topic_id(*id);
                    topics.push(topic.with_partitions(vec![f.asked.clone()]));
                }
            }
        }
        topics
    }

    /// Leaves only what is new.
    fn thin_out(&mut self, answer: &mut FetchResponse) {
        for topic in &mut answer.responses {
            let (name, id) = (topic.topic.clone(), topic.topic_id);
            topic.partitions.retain(|data| {
                let key = (name.clone(), id, data.partition_index);
                let Some(followed) = self.partitions.get_mut(&key) else { return false };
                if data.records.as_ref().is_some_and(|r| !r.is_empty()) {
                    self.places += 1;
                    followed.place = self.places;
                }
                followed.has_news(data)
            });
        }
        answer.responses.retain(|t| !t.partitions.is_empty());
    }
}
