//! Fetch: for consumers and for followers.
//!
//! A fetch that finds less than it asks for waits in purgatory, in all its partitions at once. When it is to be
//! answered, everything is planned at that moment, and read from the disk with one request. Of sessions
//! ([`fetch_sessions`](super::fetch_sessions)) only the two ends know. Follows Kafka's `ReplicaManager.fetchMessages`,
//! `Partition.fetchRecords` and `DelayedFetch`.

use super::connections::Caller;
use super::fetch_sessions::Role;
use super::partition::{FollowerFetch, Partition};
use super::{Process, SELF, Task};
use crate::controller::image::Image;
use crate::defects::Defect;
use crate::disk::{DiskOp, DiskReply, DiskResult, DiskToken};
use crate::ids::*;
use crate::log::{Corrupt, Found, ReadPlan};
use crate::node::Outbox;
use crate::small_map::Few;
use crate::timers::TimerKey;
use crate::trace::TraceEvent;
use crate::units::{Duration, Now};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, RequestKind};
use kafka_protocol::protocol::StrBytes;
use slab::Slab;
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut};

/// Who fetches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    /// A consumer: below the high watermark.
    Consumer {
        /// Only of a leader (before KIP-392).
        leader_only: bool,
        read_committed: bool,
    },
    /// A follower: below the leader's log end.
    Follower { id: NodeId, epoch: BrokerEpoch },
}

/// A request in the box it came in, where it stays while it waits: it is large.
#[derive(Debug)]
pub(super) struct Asked(Box<RequestKind>);

impl Asked {
    /// `Err`: it is a request of another kind.
    pub(super) fn new(request: Box<RequestKind>) -> Result<Asked, Box<RequestKind>> {
        if matches!(*request, RequestKind::Fetch(_)) { Ok(Asked(request)) } else { Err(request) }
    }
}

impl Deref for Asked {
    type Target = FetchRequest;
    fn deref(&self) -> &FetchRequest {
        let RequestKind::Fetch(request) = &*self.0 else { unreachable!("looked at when it was made") };
        request
    }
}

impl DerefMut for Asked {
    fn deref_mut(&mut self) -> &mut FetchRequest {
        let RequestKind::Fetch(request) = &mut *self.0 else { unreachable!("looked at when it was made") };
        request
    }
}

/// A request and where its partitions are.
#[derive(Debug)]
struct Fetching {
    caller: Caller,
    reader: Reader,
    request: Asked,
    session: Role,
    /// In the order of the request's partitions.
    places: SmallVec<[Result<u32, ResponseError>; 2]>,
    stage: Stage,
}

impl Fetching {
    /// Where a partition of the request is.
    fn place(&self, topic: usize, partition: usize) -> Option<u32> {
        let before: usize = self.request.topics[..topic].iter().map(|t| t.partitions.len()).sum();
        self.places.get(before + partition)?.ok()
    }
}

/// How far a fetch is.
#[derive(Debug)]
enum Stage {
    /// It is being looked at.
    Taken,
    /// It waits for data, up to a time.
    Waits(TimerKey),
    /// It waits for the disk, with what it will be answered.
    Reads(Look),
}

/// Fetches that wait, for data or for the disk, each in a place of its own.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    under_way: Slab<Fetching>,
    /// Those that wait for the disk, by the numbers of their reads, which rise.
    reading: Vec<(u64, usize)>,
}

impl Fetches {
    /// Whether a completion is that of a fetch's read.
    pub fn is_reading(&self, token: DiskToken) -> bool {
        self.read_of(token).is_ok()
    }
    fn read_of(&self, token: DiskToken) -> Result<usize, usize> {
        self.reading.binary_search_by_key(&token.seq, |(seq, _)| *seq)
    }
}

/// What one look at a fetch's partitions found.
#[derive(Debug)]
struct Look {
    response: FetchResponse,
    plans: Few<(usize, usize, ReadPlan)>,
    bytes: u64,
    /// An error or a diverging epoch: answered at once.
    urgent: bool,
}

impl Process {
    pub(super) fn on_fetch(&mut self, now: Now, caller: Caller, mut request: Asked, out: &mut Outbox) {
        let session = match self.fetch_sessions.take_up(now.mono, caller.version, &mut request) {
            Ok(session) => session,
            Err(error) => return self.answer(caller, FetchResponse::default().with_error_code(error.code()), out),
        };
        let replica = if caller.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
        let reader = if replica.0 >= 0 {
            Reader::Follower { id: NodeId(replica.0), epoch: BrokerEpoch(request.replica_state.replica_epoch) }
        } else {
            Reader::Consumer { leader_only: caller.version < 11, read_committed: request.isolation_level == 1 }
        };
        let mut places = SmallVec::new();
        for topic in &request.topics {
            let id = self.topic_asked_for(&topic.topic, topic.topic_id);
            for p in &topic.partitions {
                places.push(id.and_then(|topic| self.hosted(TopicIdPartition { topic, partition: p.partition })));
            }
        }
        let fetching = Fetching { caller, reader, request, session, places, stage: Stage::Taken };
        let (wait, least) = (fetching.request.max_wait_ms, fetching.request.min_bytes);
        // Most fetches come too early: those need no answer built.
        if wait > 0 && least > 0 && !fetching.places.is_empty() && self.nothing_there(&fetching) {
            if let Reader::Follower { id, epoch } = reader {
                self.followers_news(now, id, epoch, &fetching, None, out);
            }
            return self.wait_for_data(now, fetching);
        }
        let look = self.look(&fetching, out);
        if let Reader::Follower { id, epoch } = reader {
            self.followers_news(now, id, epoch, &fetching, Some(&look), out);
        }
        let enough = look.bytes >= least.max(0) as u64;
        if wait <= 0 || fetching.places.is_empty() || enough || look.urgent {
            let number = self.fetches.under_way.insert(fetching);
            return self.begin_read(number, look, out);
        }
        self.wait_for_data(now, fetching);
    }

    fn wait_for_data(&mut self, now: Now, fetching: Fetching) {
        let wait = Duration::from_millis(fetching.request.max_wait_ms.max(0) as u64);
        let number = self.fetches.under_way.insert(fetching);
        let fetching = &mut self.fetches.under_way[number];
        fetching.stage = Stage::Waits(self.timers.set(now.mono + wait, Task::Fetch(number)));
        for &owner in fetching.places.iter().flatten() {
            if let Some(p) = self.replicas.get_mut(owner) {
                p.fetch_waits.push(number);
            }
        }
    }

    /// Whether a look would find neither an error nor a byte, anywhere.
    fn nothing_there(&self, fetching: &Fetching) -> bool {
        let asked = fetching.request.topics.iter().flat_map(|t| &t.partitions);
        fetching.places.iter().zip(asked).all(|(place, asked)| {
            let Some(p) = place.ok().and_then(|owner| self.replicas.get(owner)) else { return false };
            check_access(p, asked, fetching.reader, &self.metadata.image).is_ok()
                && Offset(asked.fetch_offset) == bound(p, fetching.reader)
                && Offset(asked.fetch_offset) >= p.log.log_start()
                && (asked.last_fetched_epoch < 0 || diverges(p, asked) == Some(None))
        })
    }

    /// Looks at every partition: errors, watermarks, and what could be read. Changes nothing.
    fn look(&self, fetching: &Fetching, out: &mut Outbox) -> Look {
        let request = &*fetching.request;
        let mut look = Look { response: FetchResponse::default(), plans: Few::new(), bytes: 0, urgent: false };
        let limit = match fetching.reader {
            Reader::Consumer { .. } => request.max_bytes.min(self.spec.config.fetch_max_bytes),
            Reader::Follower { .. } => request.max_bytes,
        };
        let committed_only = matches!(fetching.reader, Reader::Consumer { read_committed: true, .. });
        let mut left = limit.max(0) as u64;
        let mut places = fetching.places.iter();
        let FetchResponse { responses, node_endpoints, .. } = &mut look.response;
        *responses = Vec::with_capacity(request.topics.len());
        for (t, topic) in request.topics.iter().enumerate() {
            // Put in place first and filled there: these messages are large.
            let answer = responses.push_mut(FetchableTopicResponse::default());
            if fetching.caller.version >= 13 {
                answer.topic_id = topic.topic_id;
            } else {
                answer.topic = topic.topic.clone();
            }
            answer.partitions = Vec::with_capacity(topic.partitions.len());
            for (i, asked) in topic.partitions.iter().enumerate() {
                let place = places.next().copied().unwrap_or(Err(ResponseError::UnknownTopicOrPartition));
                let replica =
                    place.and_then(|owner| self.replicas.get(owner).ok_or(ResponseError::NotLeaderOrFollower));
                let data = answer.partitions.push_mut(PartitionData::default());
                data.partition_index = asked.partition;
                data.aborted_transactions = committed_only.then(Vec::new);
                let min_one = look.bytes == 0;
                let found =
                    replica.and_then(|p| look_at(p, asked, fetching, left, min_one, &self.metadata.image, data));
                match found {
                    Ok(plan) => {
                        look.urgent |= data.diverging_epoch.epoch >= 0;
                        if let Some(plan) = plan {
                            look.bytes += plan.range.len;
                            left = left.saturating_sub(plan.range.len);
                            look.plans.push((t, i, plan));
                        }
                    }
                    Err(error) => {
                        look.urgent = true;
                        data.error_code = error.code();
                        data.high_watermark = -1;
                        self.explain(fetching, replica.ok(), error, data, node_endpoints, out);
                    }
                }
            }
        }
        look
    }

    /// Marks of a refusal, and whom to ask instead (KIP-951).
    fn explain(
        &self,
        fetching: &Fetching,
        p: Option<&Partition>,
        error: ResponseError,
        data: &mut PartitionData,
        endpoints: &mut Vec<NodeEndpoint>,
        out: &mut Outbox,
    ) {
        match error {
            ResponseError::OffsetOutOfRange => out.trace(TraceEvent::Mark { mark: "offset-out-of-range" }),
            ResponseError::FencedLeaderEpoch => out.trace(TraceEvent::Mark { mark: "fetch-fenced" }),
            _ => {}
        }
        let moved = matches!(error, ResponseError::NotLeaderOrFollower | ResponseError::FencedLeaderEpoch);
        let Some(p) = p.filter(|p| moved && fetching.caller.version >= 16 && p.leader != NodeId::NONE) else { return };
        data.current_leader =
            LeaderIdAndEpoch::default().with_leader_id(BrokerId(p.leader.0)).with_leader_epoch(p.leader_epoch.0);
        let listener = super::admin::listener_name(fetching.caller.listener);
        let Some(e) = self.metadata.image.broker(p.leader).and_then(|b| b.endpoint(listener)) else { return };
        if endpoints.iter().all(|known| known.node_id.0 != p.leader.0) {
            let endpoint = NodeEndpoint::default()
                .with_node_id(BrokerId(p.leader.0))
                .with_host(StrBytes::from_string(e.host.clone()))
                .with_port(i32::from(e.port))
                .with_rack(None);
            endpoints.push(endpoint);
        }
    }

    /// A follower's fetch tells what it has. One whose log diverges tells nothing (KAFKA-13141). `None`: a look would
    /// find nothing, nothing wrong either.
    fn followers_news(
        &mut self,
        now: Now,
        replica: NodeId,
        epoch: BrokerEpoch,
        fetching: &Fetching,
        look: Option<&Look>,
        out: &mut Outbox,
    ) {
        let asked = fetching.request.topics.iter().flat_map(|t| &t.partitions);
        let mut found = look.into_iter().flat_map(|l| &l.response.responses).flat_map(|t| &t.partitions);
        for (place, asked) in fetching.places.iter().zip(asked) {
            if found.next().is_some_and(|f| f.error_code != 0 || f.diverging_epoch.epoch >= 0) {
                continue;
            }
            let Ok(owner) = *place else { continue };
            let Some(p) = self.replicas.get_mut(owner) else { continue };
            let news = FollowerFetch {
                replica,
                broker_epoch: epoch,
                offset: Offset(asked.fetch_offset),
                log_start: Offset(asked.log_start_offset),
            };
            let log_end = p.log.log_end();
            if let Ok(moved) = p.follower_fetched(now.mono, news, log_end, &self.metadata.image, out) {
                self.after_move(owner, moved, out);
                self.check_deletions(owner, out);
            }
        }
    }

    /// A partition's log end or high watermark moved, or its role changed: fetches that wait for it may go on.
    pub(super) fn check_fetches(&mut self, owner: u32, out: &mut Outbox) {
        let Some(p) = self.replicas.get(owner) else { return };
        if p.fetch_waits.is_empty() {
            return;
        }
        let ready: SmallVec<[usize; 4]> = p.fetch_waits.iter().copied().filter(|&n| self.can_complete(n)).collect();
        for number in ready {
            self.complete_fetch(number, out);
        }
    }

    fn can_complete(&self, number: usize) -> bool {
        let Some(fetching) = self.fetches.under_way.get(number) else { return false };
        let asked = fetching.request.topics.iter().flat_map(|t| &t.partitions);
        let mut bytes = 0;
        for (place, asked) in fetching.places.iter().zip(asked) {
            let Some(p) = place.ok().and_then(|owner| self.replicas.get(owner)) else { return true };
            if check_access(p, asked, fetching.reader, &self.metadata.image).is_err() {
                return true;
            }
            let from = Offset(asked.fetch_offset);
            let bound = bound(p, fetching.reader);
            if from > bound || asked.last_fetched_epoch >= 0 && diverges(p, asked).is_none_or(|d| d.is_some()) {
                return true;
            }
            if from < bound {
                bytes += p.log.available_bytes(from, bound).min(asked.partition_max_bytes.max(0) as u64);
            }
        }
        bytes >= fetching.request.min_bytes.max(0) as u64
    }

    /// It has what it asked for, or `max.wait.ms` is over, or a partition changed its role.
    pub(super) fn complete_fetch(&mut self, number: usize, out: &mut Outbox) {
        let Some(fetching) = self.fetches.under_way.get(number) else { return };
        let Stage::Waits(timer) = fetching.stage else { return };
        self.timers.cancel(timer);
        for &owner in fetching.places.iter().flatten() {
            if let Some(p) = self.replicas.get_mut(owner) {
                p.fetch_waits.retain(|&n| n != number);
            }
        }
        let look = self.look(&self.fetches.under_way[number], out);
        self.begin_read(number, look, out);
    }

    fn begin_read(&mut self, number: usize, look: Look, out: &mut Outbox) {
        if look.plans.is_empty() {
            let fetching = self.fetches.under_way.remove(number);
            return self.fetched(&fetching, look.response, out);
        }
        let ranges = look.plans.iter().map(|(_, _, plan)| plan.range.clone()).collect();
        let token = out.disk(SELF, DiskOp::Read { ranges });
        self.fetches.under_way[number].stage = Stage::Reads(look);
        self.fetches.reading.push((token.seq, number));
    }

    fn fetched(&mut self, fetching: &Fetching, mut response: FetchResponse, out: &mut Outbox) {
        let Fetching { caller, session, request, .. } = fetching;
        let incarnation = self.lifecycle.epoch().unwrap_or(BrokerEpoch(-1));
        self.fetch_sessions.finish(caller.version, *session, incarnation, &request.topics, &mut response);
        self.answer(*caller, response, out);
    }

    /// The disk read what was planned.
    pub(super) fn fetch_read(&mut self, token: DiskToken, result: DiskResult, out: &mut Outbox) {
        let Ok(at) = self.fetches.read_of(token) else { return };
        let (_, number) = self.fetches.reading.remove(at);
        let mut fetching = self.fetches.under_way.remove(number);
        let Stage::Reads(look) = std::mem::replace(&mut fetching.stage, Stage::Taken) else { return };
        let Look { mut response, plans, bytes, urgent } = look;
        let Ok(DiskReply::Data(buffers)) = result else {
            // A segment may have been deleted by retention since it was planned; anything else is a broken disk.
            if result == Err(crate::disk::DiskError::NotFound) {
                for (t, p, _) in plans {
                    let data = &mut response.responses[t].partitions[p];
                    data.error_code = ResponseError::OffsetOutOfRange.code();
                }
                return self.fetched(&fetching, response, out);
            }
            return self.disk_failed("a log could not be read", out);
        };
        let mut further = Few::new();
        for ((t, p, plan), buffer) in plans.into_iter().zip(buffers) {
            let next = match plan.look(buffer) {
                Found::Batches(records) => {
                    response.responses[t].partitions[p].records = Some(records);
                    continue;
                }
                Found::Below { pos, need } => {
                    let place = fetching.place(t, p).and_then(|owner| self.replicas.get_mut(owner));
                    place.map_or(Ok(None), |replica| replica.log.read_on(&plan, pos, need))
                }
                Found::Corrupt { pos, claims } => {
                    let place = fetching.place(t, p).and_then(|owner| self.replicas.get_mut(owner));
                    place.map_or(Ok(None), |replica| replica.log.read_past(&plan, pos, claims))
                }
            };
            match next {
                Ok(Some(next)) => further.push((t, p, next)),
                Ok(None) => {}
                Err(Corrupt) => {
                    // Not an empty answer: the reader would ask for the same for ever, without a sign of the damage.
                    out.trace(TraceEvent::Mark { mark: "corrupt-log-read" });
                    let data = &mut response.responses[t].partitions[p];
                    data.error_code = ResponseError::CorruptMessage.code();
                    data.high_watermark = -1;
                    data.last_stable_offset = -1;
                }
            }
        }
        if further.is_empty() {
            return self.fetched(&fetching, response, out);
        }
        let number = self.fetches.under_way.insert(fetching);
        self.begin_read(number, Look { response, plans: further, bytes, urgent }, out);
    }
}

/// Up to where a reader may read.
fn bound(p: &Partition, reader: Reader) -> Offset {
    match reader {
        // Without transactions the last stable offset is the high watermark.
        Reader::Consumer { .. } => p.high_watermark(),
        Reader::Follower { .. } => p.log.log_end(),
    }
}

fn check_access(p: &Partition, asked: &FetchPartition, reader: Reader, image: &Image) -> Result<(), ResponseError> {
    match reader {
        Reader::Consumer { leader_only, .. } => p.check(asked.current_leader_epoch, leader_only),
        Reader::Follower { id, epoch } => {
            p.check_follower_fetch(asked.current_leader_epoch)?;
            p.check_replica(id, asked.current_leader_epoch >= 0)?;
            p.check_incarnation(id, epoch, image)
        }
    }
}

/// Where the reader's log differs from this one, if it does; `None` if nothing is known of its last epoch.
fn diverges(p: &Partition, asked: &FetchPartition) -> Option<Option<EpochEndOffset>> {
    let (epoch, end) = p.log.end_offset_for(LeaderEpoch(asked.last_fetched_epoch));
    if epoch == LeaderEpoch::NONE || end == Offset::NONE {
        return None;
    }
    let unnoticed = i64::from(p.defects.on(Defect::DivergenceMissesOneRecord));
    let differs = epoch.0 < asked.last_fetched_epoch || end.0 + unnoticed < asked.fetch_offset;
    Some(differs.then(|| EpochEndOffset::default().with_epoch(epoch.0).with_end_offset(end.0)))
}

/// What to read for one partition; `data` is filled with all else.
fn look_at(
    p: &Partition,
    asked: &FetchPartition,
    fetching: &Fetching,
    left: u64,
    min_one: bool,
    image: &Image,
    data: &mut PartitionData,
) -> Result<Option<ReadPlan>, ResponseError> {
    check_access(p, asked, fetching.reader, image)?;
    let from = Offset(asked.fetch_offset);
    let mut divergence = None;
    if asked.last_fetched_epoch >= 0 {
        divergence = diverges(p, asked).ok_or(ResponseError::OffsetOutOfRange)?;
        if from < p.log.log_start() {
            return Err(ResponseError::OffsetOutOfRange);
        }
    }
    let plan = if divergence.is_none() {
        let max = left.min(asked.partition_max_bytes.max(0) as u64);
        p.log.read(from, max, bound(p, fetching.reader), min_one).map_err(|_| ResponseError::OffsetOutOfRange)?
    } else {
        None
    };
    let high_watermark = p.high_watermark();
    data.high_watermark = high_watermark.0;
    data.last_stable_offset = high_watermark.0;
    data.records = Some(Bytes::new());
    if fetching.caller.version >= 5 {
        data.log_start_offset = p.log.log_start().0;
    }
    if let Some(end) = divergence {
        data.diverging_epoch = end;
    }
    Ok(plan)
}
