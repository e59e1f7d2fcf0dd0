//! Event sequences made by hand: each invariant fires on its violation, and stays silent on what is legal.

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
use klamm_model::inspect::{BrokerInspection, ControllerInspection, ControllerPartition, PartitionInspection};
use klamm_model::node::ConnId;
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
        let node = |name: &str, n: u16, role| NodeSetup { name: name.to_owned(), host: HostId(n), role };
        let mut nodes = vec![node("c1", 0, Role::Controller(NodeId(9)))];
        nodes.extend((1..=3).map(|n| node(&format!("b{n}"), n, Role::Broker(NodeId(i32::from(n))))));
        nodes.push(node("p1", 4, Role::Client));
        let topic = TopicSetup { min_insync_replicas: 2, retention_bytes: -1, retention_ms: -1 };
        let setup = Setup { nodes, topics: BTreeMap::new(), default_topic: topic, elr: false };
        World { judge: Invariants::new(setup), ordinal: 0, metadata: 0, correlation: 0 }
    }

    /// Brokers registered, the topic created, broker 1 leading in epoch 0.
    fn new() -> World {
        let mut w = World::bare();
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
    fn produce(&mut self, node: u16, acks: i16, data: &[u8]) -> i32 {
        self.correlation += 1;
        let partition = PartitionProduceData::default().with_index(0).with_records(Some(Bytes::copy_from_slice(data)));
        let topic = TopicProduceData::default().with_topic_id(TOPIC.0).with_partition_data(vec![partition]);
        let request = RequestKind::Produce(ProduceRequest::default().with_acks(acks).with_topic_data(vec![topic]));
        let (from, to) = (end(CLIENT), end(NodeRef(node)));
        let correlation = self.correlation;
        self.event(node, What::RequestTaken { from, to, correlation, version: 13, request: &request });
        correlation
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
        self.event(node, What::Ended { incarnation: Incarnation(1), how });
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
        let found: Vec<String> = self.judge.findings().iter().map(|f| f.to_string()).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
    #[track_caller]
    fn only(&self, check: &str) -> &Finding {
        let found: Vec<String> = self.judge.findings().iter().map(|f| f.to_string()).collect();
        assert!(!found.is_empty() && self.judge.findings().iter().all(|f| f.check == check), "{check}: {found:#?}");
        let finding = &self.judge.findings()[0];
        assert!(!finding.witness.is_empty());
        finding
    }
    #[track_caller]
    fn fires(&self, check: &str) {
        let found: Vec<String> = self.judge.findings().iter().map(|f| f.to_string()).collect();
        assert!(self.judge.findings().iter().any(|f| f.check == check), "{check}: {found:#?}");
    }
}

fn end(node: NodeRef) -> ConnEnd {
    let conn = if node == CLIENT { ConnId::outgoing(1) } else { ConnId::incoming(1) };
    ConnEnd { node, incarnation: Incarnation(1), conn }
}

fn register(id: i32, epoch: i64) -> MetadataRecord {
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

fn fence(id: i32, epoch: i64, fenced: bool) -> MetadataRecord {
    MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: NodeId(id),
        broker_epoch: BrokerEpoch(epoch),
        fenced: Some(fenced),
        in_controlled_shutdown: None,
    })
}

#[test]
fn a_plain_history_is_silent() {
    let mut w = World::new();
    w.three_committed();
    let more = batch(3, 2, 0, (5, 0, 3), b"second");
    w.write(1, &more);
    w.append(2, &more);
    w.silent();
    assert_eq!(
        w.judge.committed().map(|(p, t, o)| (p, t.to_owned(), o)).collect::<Vec<_>>(),
        [(P, "t".to_owned(), Offset(3))]
    );
}

#[test]
fn a_failover_that_cuts_an_uncommitted_tail_is_silent() {
    let mut w = World::new();
    let data = w.three_committed();
    let tail = batch(3, 2, 0, (5, 0, 3), b"uncommitted");
    w.write(1, &tail);
    w.fail_over(3, 3);
    let other = batch(3, 1, 1, (5, 0, 3), b"instead");
    w.write(2, &other);
    w.append(3, &other);
    w.fetch(3, 2, 1, 4);
    w.watermark(2, 1, true, 4, 4);
    // Broker 1 returns with its tail, and cuts it.
    w.load(1, 0, 5);
    w.follow(1, 1, 2);
    w.cut(1, data.len());
    w.truncated(1, 5, 3, TruncationReason::Divergence);
    w.append(1, &other);
    w.silent();
}

#[test]
fn two_leaders_in_one_epoch() {
    let mut w = World::new();
    w.lead(2, 0, 0, 0, &ALL, 0);
    w.only("single-leader-per-epoch");

    let mut w = World::new();
    w.trace(0, TraceEvent::ControllerActive { epoch: LeaderEpoch(1) });
    w.silent();
    w.trace(3, TraceEvent::ControllerActive { epoch: LeaderEpoch(1) });
    w.only("single-leader-per-epoch");
}

#[test]
fn a_new_leader_lacks_what_was_committed() {
    let mut w = World::new();
    let data = batch(0, 3, 0, (5, 0, 0), b"first");
    w.write(1, &data);
    w.append(2, &data);
    w.append(3, &data);
    w.fetch(2, 1, 0, 3);
    w.fetch(3, 1, 0, 3);
    w.watermark(1, 0, true, 3, 3);
    w.cut(2, 0);
    w.fail_over(0, 0);
    let finding = w.only("leader-completeness");
    assert_eq!((finding.offset, finding.epoch), (Some(Offset(0)), Some(LeaderEpoch(1))));
}

#[test]
fn an_unclean_election_cuts_the_committed_log() {
    let mut w = World::new();
    let data = batch(0, 3, 0, (5, 0, 0), b"first");
    w.write(1, &data);
    w.append(2, &data);
    w.fetch(2, 1, 0, 3);
    w.propose(1, &[1, 2], &ALL);
    w.change(|c| c.isr = Some(ids(&[1, 2])));
    w.install(1, 1, &[1, 2]);
    w.watermark(1, 0, true, 3, 3);
    w.end_process(1, Ending::Killed);
    w.end_process(2, Ending::Killed);
    w.change(|c| (c.isr, c.leader, c.leader_recovery_state) = (Some(ids(&[3])), Some(NodeId(3)), Some(1)));
    w.lead(3, 1, 2, 0, &[3], 0);
    w.silent();
    let unclean = &w.judge.unclean_elections()[0];
    assert_eq!((unclean.epoch, unclean.lost), (LeaderEpoch(1), Some((Offset(0), Offset(3)))));
    // What the others held is divergent now, and may be cut.
    w.load(2, 0, 3);
    w.follow(2, 1, 3);
    w.cut(2, 0);
    w.truncated(2, 3, 0, TruncationReason::Divergence);
    w.silent();
}

#[test]
fn logs_that_should_match_do_not() {
    let mut w = World::new();
    w.write(1, &batch(0, 1, 0, (5, 0, 0), b"one"));
    w.append(2, &batch(0, 1, 0, (5, 0, 0), b"two"));
    w.only("log-matching");

    // The same batch behind another one: an epoch was missed.
    let mut w = World::new();
    let data = w.three_committed();
    w.write(1, &batch(3, 1, 0, (5, 0, 3), b"uncommitted"));
    w.append(3, &batch(3, 1, 0, (5, 0, 3), b"uncommitted"));
    w.fail_over(3, 3);
    w.write(2, &batch(3, 1, 1, (5, 0, 3), b"x"));
    let next = batch(4, 1, 1, (5, 0, 4), b"y");
    w.write(2, &next);
    w.silent();
    w.append(3, &next);
    w.only("log-matching");
    assert!(!data.is_empty());
}

#[test]
fn high_watermark_rules() {
    // Past a member that has not fetched.
    let mut w = World::new();
    w.write(1, &batch(0, 1, 0, (5, 0, 0), b"one"));
    w.fetch(2, 1, 0, 1);
    w.watermark(1, 0, true, 1, 1);
    w.only("high-watermark");

    // Back.
    let mut w = World::new();
    w.three_committed();
    w.watermark(1, 0, true, 2, 3);
    w.only("high-watermark");

    // Under the minimum.
    let mut w = World::new();
    w.write(1, &batch(0, 1, 0, (5, 0, 0), b"one"));
    w.change(|c| c.isr = Some(ids(&[1])));
    w.install(1, 1, &[1]);
    w.silent();
    w.watermark(1, 0, true, 1, 1);
    w.only("high-watermark");

    // A follower above every leader.
    let mut w = World::new();
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    w.write(1, &data);
    w.append(2, &data);
    w.watermark(2, 0, false, 1, 1);
    w.only("high-watermark");

    // A stale epoch's fetch, and an old leader's, count for nothing.
    let mut w = World::new();
    w.three_committed();
    w.fail_over(3, 3);
    w.write(2, &batch(3, 1, 1, (5, 0, 3), b"x"));
    w.fetch(3, 2, 0, 4);
    w.watermark(2, 1, true, 4, 4);
    w.only("high-watermark");
}

#[test]
fn exposed_reads() {
    let mut w = World::new();
    let data = w.three_committed();
    let ask = w.fetch(-1, 1, 0, 0);
    w.fetched(1, ask, 0, 3, Some(data.clone()));
    w.silent();
    let more = batch(3, 1, 0, (5, 0, 3), b"more");
    w.write(1, &more);
    let ask = w.fetch(-1, 1, 0, 3);
    w.fetched(1, ask, 0, 3, Some(more));
    w.only("high-watermark");

    let mut w = World::new();
    w.three_committed();
    let ask = w.fetch(-1, 1, 0, 0);
    w.fetched(1, ask, 0, 3, Some(batch(0, 3, 0, (5, 0, 0), b"forged")));
    w.only("batch-integrity");

    let mut w = World::new();
    w.three_committed();
    let ask = w.fetch(-1, 1, 0, 3);
    w.fetched(1, ask, 0, 4, None);
    w.only("trace-contradicted");
}

#[test]
fn acknowledgements() {
    // Before the high watermark.
    let mut w = World::new();
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    let ask = w.write(1, &data);
    w.append(2, &data);
    w.append(3, &data);
    w.ack(1, ask, 0, 0, 0, &ALL);
    w.only("ack-justified");

    // While a joiner of a pending expansion lacks it.
    let mut w = World::new();
    w.propose(1, &[1, 2], &ALL);
    w.change(|c| c.isr = Some(ids(&[1, 2])));
    w.install(1, 1, &[1, 2]);
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    let ask = w.write(1, &data);
    w.append(2, &data);
    w.fetch(2, 1, 0, 1);
    w.propose(1, &ALL, &[1, 2]);
    w.watermark(1, 0, true, 1, 1);
    w.ack(1, ask, 0, 0, 1, &[1, 2]);
    w.fires("ack-justified");
    w.fires("high-watermark");

    // With too small a maximal ISR.
    let mut w = World::new();
    w.three_committed();
    w.change(|c| c.isr = Some(ids(&[1])));
    w.install(1, 1, &[1]);
    w.ack(1, 99, 0, 2, 3, &[1]);
    w.only("ack-justified");

    // Without a decision.
    let mut w = World::new();
    w.three_committed();
    let ask = w.write(1, &batch(3, 1, 0, (5, 0, 3), b"more"));
    w.produced(1, ask, 3);
    w.only("trace-contradicted");

    // acks=1 before the append has completed.
    let mut w = World::new();
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    let ask = w.produce(1, 1, &data);
    w.asked(1, &DiskOp::Append { file: Path::new("t-0/00000000000000000000.log"), data: data.into() });
    w.produced(1, ask, 0);
    w.only("ack-justified");
}

#[test]
fn a_member_that_had_it_and_died_justifies_an_acknowledgement() {
    let mut w = World::new();
    let data = batch(0, 1, 0, (5, 0, 0), b"one");
    let ask = w.write(1, &data);
    w.append(2, &data);
    w.append(3, &data);
    w.fetch(2, 1, 0, 1);
    w.fetch(3, 1, 0, 1);
    w.end_process(3, Ending::PowerLost);
    let lost = [LostData { file: Path::new("t-0/00000000000000000000.log"), from: 0, to: data.len() as u64 }];
    w.event(3, What::PowerLost { lost: &lost });
    w.watermark(1, 0, true, 1, 1);
    w.ack(1, ask, 0, 0, 1, &ALL);
    w.produced(1, ask, 0);
    w.silent();
    // Its log is loaded without what it lost: fine. With it: not.
    w.load(3, 0, 0);
    w.silent();

    let mut w = World::new();
    w.append(3, &data);
    w.end_process(3, Ending::PowerLost);
    w.event(3, What::PowerLost { lost: &lost });
    w.load(3, 0, 1);
    w.only("replay-equals-live");
}

#[test]
fn truncations() {
    // Of what the leader holds.
    let mut w = World::new();
    let data = w.three_committed();
    let more = batch(3, 1, 0, (5, 0, 3), b"more");
    w.write(1, &more);
    w.append(2, &more);
    w.cut(2, data.len());
    w.truncated(2, 4, 3, TruncationReason::HighWatermark);
    w.only("truncation-justified");

    // Of what is committed; told before the disk has done it.
    let mut w = World::new();
    w.three_committed();
    w.truncated(3, 3, 0, TruncationReason::HighWatermark);
    w.only("truncation-justified");

    // Recovery may.
    let mut w = World::new();
    w.three_committed();
    w.end_process(3, Ending::PowerLost);
    w.cut(3, 0);
    w.truncated(3, 3, 0, TruncationReason::Recovery);
    w.load(3, 0, 0);
    w.silent();
}

#[test]
fn in_sync_replicas() {
    // A fenced member.
    let mut w = World::new();
    w.commit(vec![fence(3, 30, true)]);
    w.only("isr-legal");

    // Fencing with the shrink in one batch is legal, whatever the order.
    let mut w = World::new();
    let shrink = PartitionChangeRecord { isr: Some(ids(&[1, 2])), ..PartitionChangeRecord::of(P) };
    w.commit(vec![fence(3, 30, true), MetadataRecord::PartitionChange(shrink.clone())]);
    w.silent();

    // Joining below the leader epoch's start.
    let mut w = World::new();
    w.commit(vec![MetadataRecord::PartitionChange(shrink.clone())]);
    w.install(1, 1, &[1, 2]);
    let data = batch(0, 3, 0, (5, 0, 0), b"first");
    w.write(1, &data);
    w.append(2, &data);
    w.end_process(1, Ending::Killed);
    w.change(|c| (c.isr, c.leader) = (Some(ids(&[2])), Some(NodeId(2))));
    w.commit(vec![fence(1, 10, true)]);
    w.lead(2, 1, 2, 3, &[2], 0);
    w.silent();
    w.change(|c| c.isr = Some(ids(&[2, 3])));
    w.only("isr-legal");

    // With an old broker epoch.
    let mut w = World::new();
    w.commit(vec![MetadataRecord::PartitionChange(shrink)]);
    w.alter(&[(1, 10), (2, 20), (3, 29)], 1, 10, 0, 0);
    w.change(|c| c.isr = Some(ids(&ALL)));
    w.only("isr-legal");

    // The leader works with another one.
    let mut w = World::new();
    w.install(1, 0, &[1, 2]);
    w.only("isr-legal");
}

impl World {
    /// An AlterPartition by broker 1, answered with `error` for the partition.
    fn alter(&mut self, isr: &[(i32, i64)], version: i32, broker_epoch: i64, leader_epoch: i32, error: i16) {
        self.correlation += 1;
        let correlation = self.correlation;
        let state = |&(id, epoch): &(i32, i64)| {
            alter_partition_request::BrokerState::default().with_broker_id(BrokerId(id)).with_broker_epoch(epoch)
        };
        let partition = alter_partition_request::PartitionData::default()
            .with_partition_index(0)
            .with_leader_epoch(leader_epoch)
            .with_partition_epoch(version)
            .with_new_isr_with_epochs(isr.iter().map(state).collect());
        let topic =
            alter_partition_request::TopicData::default().with_topic_id(TOPIC.0).with_partitions(vec![partition]);
        let request = AlterPartitionRequest::default()
            .with_broker_id(BrokerId(1))
            .with_broker_epoch(broker_epoch)
            .with_topics(vec![topic]);
        let request = RequestKind::AlterPartition(request);
        let (from, to) = (end(NodeRef(1)), end(NodeRef(0)));
        self.event(0, What::RequestTaken { from, to, correlation, version: 3, request: &request });
        let partition =
            alter_partition_response::PartitionData::default().with_partition_index(0).with_error_code(error);
        let topic =
            alter_partition_response::TopicData::default().with_topic_id(TOPIC.0).with_partitions(vec![partition]);
        let response = ResponseKind::AlterPartition(AlterPartitionResponse::default().with_topics(vec![topic]));
        self.event(0, What::ResponseSent { from: to, to: from, correlation, version: 3, response: &response });
    }
}

#[test]
fn stale_epochs_are_refused() {
    let mut w = World::new();
    w.three_committed();
    w.fail_over(3, 3);
    let ask = w.fetch(3, 2, 0, 3);
    w.fetched(2, ask, 74, -1, None);
    w.silent();
    let ask = w.fetch(3, 2, 0, 3);
    w.fetched(2, ask, 0, 3, None);
    w.only("fencing");

    let mut w = World::new();
    w.three_committed();
    w.fail_over(3, 3);
    w.alter(&[(1, 10)], 0, 10, 0, 74);
    w.silent();
    w.alter(&[(1, 10)], 0, 10, 0, 0);
    w.only("fencing");

    let mut w = World::new();
    w.commit(vec![register(1, 44)]);
    let mut w2 = World::new();
    w2.alter(&[(1, 10), (2, 20), (3, 30)], 0, 10, 0, 0);
    w2.silent();
    w.alter(&[(1, 10), (2, 20), (3, 30)], 0, 10, 0, 0);
    w.fires("fencing");
}

#[test]
fn sequences() {
    let mut w = World::new();
    w.write(1, &batch(0, 2, 0, (5, 0, 0), b"a"));
    w.write(1, &batch(2, 2, 0, (5, 0, 2), b"b"));
    w.write(1, &batch(4, 1, 0, (5, 1, 0), b"c"));
    w.write(1, &batch(5, 1, 0, (6, 3, 17), b"d"));
    w.silent();
    w.write(1, &batch(6, 1, 0, (5, 1, 0), b"repeated"));
    w.only("sequence-contiguous");

    let mut w = World::new();
    w.write(1, &batch(0, 2, 0, (5, 1, 0), b"a"));
    w.write(1, &batch(2, 1, 0, (5, 0, 7), b"old epoch"));
    w.only("fencing");

    let mut w = World::new();
    w.write(1, &batch(0, 2, 0, (5, 0, i32::MAX - 1), b"a"));
    w.write(1, &batch(2, 1, 0, (5, 0, 0), b"wrapped"));
    w.silent();
    w.write(1, &batch(3, 1, 0, (5, 0, 2), b"gap"));
    w.only("sequence-contiguous");
}

#[test]
fn a_batch_that_nobody_sent() {
    let mut w = World::new();
    w.append(1, &batch(0, 1, 0, (5, 0, 0), b"made up"));
    w.only("batch-integrity");

    let mut w = World::new();
    let mut rotten = batch(0, 1, 0, (5, 0, 0), b"abc");
    *rotten.last_mut().expect("a body") ^= 1;
    w.append(2, &rotten);
    w.only("batch-integrity");
}

#[test]
fn spurious_resets() {
    let mut w = World::new();
    w.three_committed();
    let ask = w.fetch(-1, 1, 0, 7);
    w.fetched(1, ask, 1, -1, None);
    w.silent();
    let ask = w.fetch(-1, 1, 0, 2);
    w.fetched(1, ask, 1, -1, None);
    w.only("no-spurious-reset");
}

#[test]
fn the_metadata_log() {
    let mut w = World::new();
    w.trace(1, TraceEvent::MetadataApplied { offset: Offset(w.metadata), epoch: LeaderEpoch(1) });
    w.silent();
    w.trace(1, TraceEvent::MetadataApplied { offset: Offset(w.metadata + 1), epoch: LeaderEpoch(1) });
    w.only("metadata-prefix");

    let mut w = World::new();
    let again = TraceEvent::MetadataCommitted {
        offset: Offset(0),
        epoch: LeaderEpoch(1),
        batch_end: true,
        record: Arc::new(MetadataRecord::NoOp),
    };
    w.trace(0, again);
    w.only("metadata-prefix");

    let mut w = World::new();
    w.commit_undurably(vec![MetadataRecord::NoOp], false);
    w.only("quorum-safety");
}

#[test]
fn ids_are_given_once() {
    let mut w = World::new();
    w.commit(vec![register(2, 10)]);
    w.fires("unique-ids");

    let mut w = World::new();
    let given = ResponseKind::InitProducerId(InitProducerIdResponse::default().with_producer_id(7.into()));
    let (from, to) = (end(NodeRef(1)), end(CLIENT));
    w.event(1, What::ResponseSent { from, to, correlation: 1, version: 4, response: &given });
    w.silent();
    w.event(1, What::ResponseSent { from, to, correlation: 2, version: 4, response: &given });
    w.only("unique-ids");
}

#[test]
fn deletions() {
    let mut w = World::new();
    w.three_committed();
    w.trace(1, TraceEvent::LogStart { partition: P, log_start: Offset(3), reason: LogStartReason::Retention });
    w.only("deletion-legal");
}

#[test]
fn claims_beyond_the_disk() {
    let mut w = World::new();
    w.load(2, 0, 9);
    w.only("trace-contradicted");

    let mut w = World::new();
    w.watermark(1, 0, true, 0, 5);
    w.only("trace-contradicted");
}

#[test]
fn appends_in_flight_at_a_crash_are_settled_by_the_load() {
    let data = batch(0, 2, 0, (5, 0, 0), b"a");
    let op = DiskOp::Append { file: Path::new("t-0/00000000000000000000.log"), data: data.clone().into() };
    for log_end in [0, 2] {
        let mut w = World::new();
        w.produce(1, -1, &data);
        w.asked(1, &op);
        w.end_process(1, Ending::Killed);
        w.load(1, 0, log_end);
        w.silent();
    }
    // A failed append is none.
    let mut w = World::new();
    w.produce(1, -1, &data);
    w.asked(1, &op);
    w.event(1, What::DiskDone { op: &op, result: &Err(DiskError::Io) });
    w.watermark(1, 0, true, 0, 2);
    w.only("trace-contradicted");
}

#[test]
fn a_panic_is_a_crash() {
    let mut w = World::new();
    w.end_process(2, Ending::Panicked { message: "broken".into() });
    w.only("crash");
}

fn account(log_end: i64, high_watermark: i64, leader: i32) -> PartitionInspection {
    PartitionInspection {
        partition: P,
        topic: "t".to_owned(),
        dir: Path::new("t-0"),
        leader: NodeId(leader),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        isr: ids(&ALL),
        high_watermark: Offset(high_watermark),
        log_start: Offset(0),
        log_end: Offset(log_end),
        epochs: vec![(LeaderEpoch(0), Offset(0))],
        producers: BTreeMap::new(),
    }
}

impl World {
    fn accounts(&self, ends: [i64; 3]) -> Vec<Account> {
        let broker = |n: usize| {
            let inspection = BrokerInspection {
                id: NodeId(n as i32),
                epoch: Some(BrokerEpoch(n as i64 * 10)),
                unfenced: true,
                metadata_applied: Offset(self.metadata),
                image_digest: 1,
                partitions: vec![account(ends[n - 1], 3, 1)],
            };
            Account { node: NodeRef(n as u16), inspection: Some(Inspection::Broker(inspection)) }
        };
        let controller = ControllerInspection {
            id: NodeId(9),
            active: true,
            epoch: LeaderEpoch(1),
            committed: Offset(self.metadata),
            image_digest: 1,
            brokers: ALL.iter().map(|n| (NodeId(*n), BrokerEpoch(i64::from(*n) * 10), false, false)).collect(),
            partitions: vec![ControllerPartition {
                partition: P,
                topic: "t".to_owned(),
                replicas: ids(&ALL),
                isr: ids(&ALL),
                elr: vec![],
                leader: NodeId(1),
                leader_epoch: LeaderEpoch(0),
                partition_epoch: PartitionEpoch(0),
            }],
        };
        let mut all: Vec<_> = (1..=3).map(broker).collect();
        all.push(Account { node: NodeRef(0), inspection: Some(Inspection::Controller(controller)) });
        all
    }
}

#[test]
fn audits() {
    let file = |data: &[u8]| vec![(Path::new("t-0/00000000000000000000.log"), Bytes::copy_from_slice(data))];
    let mut w = World::new();
    let data = w.three_committed();
    let with_state = |w: &World, last_sequence| {
        let mut accounts = w.accounts([3; 3]);
        for account in &mut accounts {
            if let Some(Inspection::Broker(b)) = &mut account.inspection {
                let state = klamm_model::inspect::ProducerInspection {
                    epoch: ProducerEpoch(0),
                    last_sequence: Sequence(last_sequence),
                    last_offset: Offset(2),
                };
                b.partitions[0].producers.insert(ProducerId(5), state);
            }
        }
        accounts
    };
    let files: Vec<_> = (1..=3).map(|n| ReplicaFiles { node: NodeRef(n), files: file(&data) }).collect();
    let accounts = with_state(&w, 2);
    assert_eq!(w.judge.unmet(&accounts, &[]), []);
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &files, &accounts);
    w.judge.audit(AuditAt::Convergence, Instant::ZERO, &files, &accounts);
    w.silent();

    // A replica's file holds something else.
    let mut wrong = files.clone();
    wrong[2].files = file(&batch(0, 3, 0, (5, 0, 0), b"other"));
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &wrong, &accounts);
    w.only("disk-audit");

    // A file that ends early.
    let mut w = World::new();
    w.three_committed();
    let mut short = files.clone();
    short[1].files = file(b"");
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &short, &accounts);
    w.only("disk-audit");

    // Producer state that the log does not give.
    let mut w = World::new();
    w.three_committed();
    let accounts = with_state(&w, 9);
    w.judge.audit(AuditAt::Hardship, Instant::ZERO, &files, &accounts);
    w.only("replay-equals-live");
}

#[test]
fn unmet_conditions_have_names() {
    let mut w = World::new();
    w.three_committed();
    let mut accounts = w.accounts([3, 3, 2]);
    accounts[1].inspection = None;
    let names: Vec<_> = w.judge.unmet(&accounts, &[]).iter().map(|u| u.condition).collect();
    assert_eq!(names, ["node-up", "logs-equal", "logs-equal"]);
    assert!(w.judge.unmet(&accounts, &[P]).iter().all(|u| u.condition == "node-up"));
    let unmet = w.judge.unmet(&accounts, &[]);
    w.judge.not_converged(Instant::ZERO, Ordinal(1), &unmet);
    w.fires("convergence");
}
