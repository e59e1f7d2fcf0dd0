//! Event sequences made by hand: each invariant fires on its violation, and stays silent on what is legal.

mod armed;
mod compaction;
mod ends;
mod live;
mod logs;
mod rules;

use super::batch::testing::batch;
use super::*;
use crate::event::{LostData, What};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    AlterPartitionRequest, AlterPartitionResponse, BrokerId, FetchRequest, FetchResponse, InitProducerIdResponse,
    ProduceRequest, ProduceResponse, alter_partition_request, alter_partition_response,
};
use klamm_model::disk::{DiskError, DiskOp, DiskReply};
use klamm_model::inspect::{
    BrokerInspection, ClientInspection, ControllerInspection, ControllerPartition, PartitionInspection, ReachInspection,
};
use klamm_model::node::{ConnId, Endpoint};
use klamm_model::record::schema::{
    BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord,
};
use klamm_model::trace::{LogStartReason, TruncationReason};
use klamm_model::units::Duration;
use std::sync::Arc;

const TOPIC: TopicId = TopicId(Uuid::from_u128(77));
const P: TopicIdPartition = TopicIdPartition { topic: TOPIC, partition: 0 };
const CLIENT: NodeRef = NodeRef(4);
const ALL: [i32; 3] = [1, 2, 3];

fn ids(list: &[i32]) -> Vec<NodeId> {
    list.iter().map(|n| NodeId(*n)).collect()
}

/// One controller (node 0), three brokers (nodes and ids 1 to 3), a client (node 4), one topic `t` of one partition
/// with three replicas, `min.insync.replicas` 2.
struct World {
    judge: Invariants,
    ordinal: u64,
    metadata: i64,
    correlation: i32,
}

impl World {
    fn bare() -> World {
        World::of(TopicSetup { min_insync_replicas: 2, retention_bytes: -1, retention_ms: -1, compaction: None })
    }
    fn of(topic: TopicSetup) -> World {
        let node = |name: &str, n: u16, role| NodeSetup { name: name.to_owned(), host: HostId(n), role };
        let mut nodes = vec![node("c1", 0, Role::Controller(NodeId(9)))];
        nodes.extend((1..=3).map(|n| node(&format!("b{n}"), n, Role::Broker(NodeId(i32::from(n))))));
        nodes.push(node("p1", 4, Role::Client));
        let setup = Setup {
            nodes,
            topics: BTreeMap::new(),
            default_topic: topic,
            elr: false,
            consumer_session: Duration::from_secs(45),
            clocks_agree: true,
        };
        World { judge: Invariants::new(setup), ordinal: 0, metadata: 0, correlation: 0 }
    }

    /// Brokers registered, the topic created, broker 1 leading in epoch 0.
    fn new() -> World {
        World::bare().begun()
    }
    fn begun(self) -> World {
        let mut w = self;
        for n in ALL {
            w.commit(vec![register(n, i64::from(n) * 10)]);
            w.commit(vec![fence(n, i64::from(n) * 10, false)]);
        }
        let partition = PartitionRecord {
            partition: P,
            replicas: ids(&ALL),
            isr: ids(&ALL),
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            elr: vec![],
            last_known_elr: vec![],
        };
        let topic = MetadataRecord::Topic { name: "t".to_owned(), topic_id: TOPIC };
        w.commit(vec![topic, MetadataRecord::Partition(partition)]);
        for n in 1..=3 {
            w.load(n, 0, 0);
        }
        w.lead(1, 0, 0, 0, &ALL, 0);
        w.follow(2, 0, 1);
        w.follow(3, 0, 1);
        w
    }

    fn event(&mut self, node: u16, what: What<'_>) {
        self.ordinal += 1;
        let at = Instant::ZERO + Duration::from_micros(self.ordinal);
        let (host, node) = (Some(HostId(node)), Some(NodeRef(node)));
        self.judge.event(&Event {
            ordinal: Ordinal(self.ordinal),
            cause: Ordinal(self.ordinal - 1),
            at,
            host,
            node,
            what,
        });
    }
    fn trace(&mut self, node: u16, event: TraceEvent) {
        self.event(node, What::Trace(&event));
    }
    fn asked(&mut self, node: u16, op: &DiskOp) {
        self.event(node, What::DiskAsked { op });
    }
    fn disk(&mut self, node: u16, op: DiskOp) {
        self.asked(node, &op);
        self.event(node, What::DiskDone { op: &op, result: &Ok(DiskReply::Done) });
    }

    fn commit_undurably(&mut self, records: Vec<MetadataRecord>, fsync: bool) {
        let file = Path::new("__cluster_metadata-0/00000000000000000000.log");
        let data = batch(self.metadata, records.len() as i32, 1, (-1, -1, -1), &self.metadata.to_be_bytes());
        self.disk(0, DiskOp::Append { file: file.clone(), data: data.into() });
        if fsync {
            self.disk(0, DiskOp::Fsync { file });
        }
        let n = records.len();
        for (at, record) in records.into_iter().enumerate() {
            let offset = Offset(self.metadata);
            self.metadata += 1;
            let record = Arc::new(record);
            self.trace(
                0,
                TraceEvent::MetadataCommitted { offset, epoch: LeaderEpoch(1), batch_end: at + 1 == n, record },
            );
        }
    }
    fn commit(&mut self, records: Vec<MetadataRecord>) {
        self.commit_undurably(records, true);
    }
    fn change(&mut self, change: impl FnOnce(&mut PartitionChangeRecord)) {
        let mut record = PartitionChangeRecord::of(P);
        change(&mut record);
        self.commit(vec![MetadataRecord::PartitionChange(record)]);
    }
    fn load(&mut self, node: u16, log_start: i64, log_end: i64) {
        let (log_start, log_end) = (Offset(log_start), Offset(log_end));
        self.trace(
            node,
            TraceEvent::LogLoaded { partition: P, dir: Path::new("t-0"), log_start, log_end, recovered: false },
        );
    }
    fn lead(&mut self, node: u16, epoch: i32, version: i32, start: i64, isr: &[i32], high_watermark: i64) {
        let event = TraceEvent::BecameLeader {
            partition: P,
            epoch: LeaderEpoch(epoch),
            partition_epoch: PartitionEpoch(version),
            epoch_start: Offset(start),
            isr: ids(isr),
            high_watermark: Offset(high_watermark),
        };
        self.trace(node, event);
    }
    fn follow(&mut self, node: u16, epoch: i32, leader: i32) {
        let (epoch, leader) = (LeaderEpoch(epoch), NodeId(leader));
        self.trace(node, TraceEvent::BecameFollower { partition: P, epoch, leader, log_end: Offset(0) });
    }
    fn request(&mut self, node: u16, version: i16, request: &RequestKind) -> i32 {
        self.correlation += 1;
        let (from, to, correlation) = (end(CLIENT), end(NodeRef(node)), self.correlation);
        self.event(node, What::RequestTaken { from, to, correlation, version, request });
        correlation
    }
    fn produce(&mut self, node: u16, acks: i16, data: &[u8]) -> i32 {
        let partition = PartitionProduceData::default().with_index(0).with_records(Some(Bytes::copy_from_slice(data)));
        let topic = TopicProduceData::default().with_topic_id(TOPIC.0).with_partition_data(vec![partition]);
        let request = ProduceRequest::default().with_acks(acks).with_topic_data(vec![topic]);
        self.request(node, 13, &request.into())
    }
    fn produced(&mut self, node: u16, correlation: i32, base: i64) {
        let partition = PartitionProduceResponse::default().with_index(0).with_base_offset(base);
        let topic = TopicProduceResponse::default().with_topic_id(TOPIC.0).with_partition_responses(vec![partition]);
        let response = ResponseKind::Produce(ProduceResponse::default().with_responses(vec![topic]));
        let (from, to) = (end(NodeRef(node)), end(CLIENT));
        self.event(node, What::ResponseSent { from, to, correlation, version: 13, response: &response });
    }
    fn append(&mut self, node: u16, data: &[u8]) {
        let file = Path::new("t-0/00000000000000000000.log");
        self.disk(node, DiskOp::Append { file, data: Bytes::copy_from_slice(data) });
    }
    fn cut(&mut self, node: u16, len: usize) {
        self.disk(node, DiskOp::Truncate { file: Path::new("t-0/00000000000000000000.log"), len: len as u64 });
    }
    /// A batch produced at a leader and appended there.
    fn write(&mut self, node: u16, data: &[u8]) -> i32 {
        let correlation = self.produce(node, -1, data);
        self.append(node, data);
        correlation
    }
    fn fetch(&mut self, from: i32, node: u16, epoch: i32, position: i64) -> i32 {
        self.correlation += 1;
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(epoch)
            .with_fetch_offset(position)
            .with_last_fetched_epoch(-1);
        let topic = FetchTopic::default().with_topic_id(TOPIC.0).with_partitions(vec![partition]);
        let replica = ReplicaState::default().with_replica_id(BrokerId(from));
        let request = RequestKind::Fetch(FetchRequest::default().with_replica_state(replica).with_topics(vec![topic]));
        let sender = if from < 0 { CLIENT } else { NodeRef(from as u16) };
        let correlation = self.correlation;
        let to = end(NodeRef(node));
        self.event(node, What::RequestTaken { from: end(sender), to, correlation, version: 17, request: &request });
        correlation
    }
    fn fetched(&mut self, node: u16, correlation: i32, error: i16, high_watermark: i64, records: Option<Vec<u8>>) {
        let partition = PartitionData::default()
            .with_partition_index(0)
            .with_error_code(error)
            .with_high_watermark(high_watermark)
            .with_records(records.map(Bytes::from));
        let topic = FetchableTopicResponse::default().with_topic_id(TOPIC.0).with_partitions(vec![partition]);
        let response = ResponseKind::Fetch(FetchResponse::default().with_responses(vec![topic]));
        let (from, to) = (end(NodeRef(node)), end(CLIENT));
        self.event(node, What::ResponseSent { from, to, correlation, version: 17, response: &response });
    }
    fn watermark(&mut self, node: u16, epoch: i32, leading: bool, high_watermark: i64, log_end: i64) {
        let event = TraceEvent::HighWatermark {
            partition: P,
            epoch: LeaderEpoch(epoch),
            leading,
            high_watermark: Offset(high_watermark),
            log_end: Offset(log_end),
        };
        self.trace(node, event);
    }
    fn ack(&mut self, node: u16, correlation: i32, base: i64, last: i64, high_watermark: i64, maximal: &[i32]) {
        let event = TraceEvent::AckDecided {
            conn: ConnId::incoming(1),
            correlation,
            partition: P,
            epoch: LeaderEpoch(0),
            base: Offset(base),
            last: Offset(last),
            high_watermark: Offset(high_watermark),
            maximal: ids(maximal),
            duplicate: false,
        };
        self.trace(node, event);
    }
    fn truncated(&mut self, node: u16, from: i64, to: i64, reason: TruncationReason) {
        self.trace(node, TraceEvent::Truncated { partition: P, from: Offset(from), to: Offset(to), reason });
    }
    fn end_process(&mut self, node: u16, how: Ending) {
        self.event(node, What::Ended { incarnation: Incarnation(1), how: &how });
    }
    fn propose(&mut self, node: u16, isr: &[i32], maximal: &[i32]) {
        let (isr, maximal) = (ids(isr), ids(maximal));
        self.trace(node, TraceEvent::IsrProposed { partition: P, epoch: LeaderEpoch(0), isr, maximal });
    }
    fn install(&mut self, node: u16, version: i32, isr: &[i32]) {
        let partition_epoch = PartitionEpoch(version);
        self.trace(
            node,
            TraceEvent::IsrInstalled { partition: P, epoch: LeaderEpoch(0), partition_epoch, isr: ids(isr) },
        );
    }

    /// Offsets 0 to 2 on every replica, committed and acknowledged.
    fn three_committed(&mut self) -> Vec<u8> {
        let data = batch(0, 3, 0, (5, 0, 0), b"first");
        let correlation = self.write(1, &data);
        self.append(2, &data);
        self.append(3, &data);
        self.fetch(2, 1, 0, 3);
        self.fetch(3, 1, 0, 3);
        self.watermark(1, 0, true, 3, 3);
        self.ack(1, correlation, 0, 2, 3, &ALL);
        self.produced(1, correlation, 0);
        self.watermark(2, 0, false, 3, 3);
        data
    }

    /// Broker 1 leaves the ISR and broker 2 leads in epoch 1.
    fn fail_over(&mut self, start: i64, high_watermark: i64) {
        self.end_process(1, Ending::Killed);
        self.commit(vec![
            fence(1, 10, true),
            MetadataRecord::PartitionChange(PartitionChangeRecord {
                isr: Some(ids(&[2, 3])),
                leader: Some(NodeId(2)),
                ..PartitionChangeRecord::of(P)
            }),
        ]);
        self.lead(2, 1, 1, start, &[2, 3], high_watermark);
        self.follow(3, 1, 2);
    }

    #[track_caller]
    fn silent(&self) {
        silent(&self.judge);
    }
    #[track_caller]
    fn only(&self, check: Check) -> &Finding {
        only(&self.judge, check)
    }
    #[track_caller]
    fn fires(&self, check: Check) {
        let found: Vec<String> = self.judge.findings().iter().map(|f| f.to_string()).collect();
        assert!(self.judge.findings().iter().any(|f| f.check == check), "{check}: {found:#?}");
        armed(&self.judge, check);
    }
}

fn end(node: NodeRef) -> ConnEnd {
    let conn = if node == CLIENT { ConnId::outgoing(1) } else { ConnId::incoming(1) };
    ConnEnd { node, incarnation: Incarnation(1), conn }
}

pub(crate) fn register(id: i32, epoch: i64) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: NodeId(id),
        incarnation_id: Uuid::from_u128(id as u128 * 1000 + epoch as u128),
        broker_epoch: BrokerEpoch(epoch),
        endpoints: vec![],
        rack: None,
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: vec![],
    })
}

pub(crate) fn fence(id: i32, epoch: i64, fenced: bool) -> MetadataRecord {
    MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: NodeId(id),
        broker_epoch: BrokerEpoch(epoch),
        fenced: Some(fenced),
        in_controlled_shutdown: None,
    })
}

/// Nothing was found.
#[track_caller]
pub(in crate::invariants) fn silent(judge: &Invariants) {
    let found: Vec<String> = judge.findings().iter().map(|f| f.to_string()).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// What finds something was able to.
#[track_caller]
fn armed(judge: &Invariants, check: Check) {
    assert!(judge.armed().any(|(name, n)| name == check && n > 0), "{check} found something and was not armed");
}

/// This check found something, with a witness, and no other did.
#[track_caller]
pub(in crate::invariants) fn only(judge: &Invariants, check: Check) -> &Finding {
    let found: Vec<String> = judge.findings().iter().map(|f| f.to_string()).collect();
    assert!(!found.is_empty() && judge.findings().iter().all(|f| f.check == check), "{check}: {found:#?}");
    let first = &judge.findings()[0];
    assert!(!first.witness.is_empty());
    armed(judge, check);
    first
}
