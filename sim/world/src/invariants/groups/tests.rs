//! Group checks on events made by hand. One partition of the offsets topic (so that every group lives there), replicas
//! on brokers 1 and 2, broker 1 leads and coordinates; two client nodes, 4 and 5.

use super::*;
use crate::event::{ConnEnd, Ending, Event, HostId, Observer, What};
use crate::invariants::batch::testing::batch;
use crate::invariants::{Account, AuditAt, Finding, NodeSetup, ReplicaFiles, Role, Setup, TopicSetup, Unmet};
use bytes::Bytes;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use klamm_model::disk::{DiskOp, DiskReply, Path};
use klamm_model::history::{Processing, RebalanceProtocol, TopicPartition};
use klamm_model::inspect::{
    BrokerInspection, ClientInspection, CoordinatorInspection, GroupInspection, Inspection, MemberInspection,
    MembershipInspection, PartitionInspection,
};
use klamm_model::node::DisconnectReason;
use klamm_model::record::schema::{MetadataRecord, PartitionRecord};
use klamm_model::trace::RemovalReason;
use std::sync::Arc;

const OFFSETS: TopicId = TopicId(Uuid::from_u128(9));
const HOME: TopicIdPartition = TopicIdPartition { topic: OFFSETS, partition: 0 };
const ORDERS: TopicId = TopicId(Uuid::from_u128(7));
const G: &str = "billing";
const DIR: &str = "__consumer_offsets-0";

fn s(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

// --- the bytes of records, written here as the schemas say ---

fn old(text: &str) -> Vec<u8> {
    let mut b = (text.len() as i16).to_be_bytes().to_vec();
    b.extend_from_slice(text.as_bytes());
    b
}
fn compact(text: &str) -> Vec<u8> {
    let mut b = vec![text.len() as u8 + 1];
    b.extend_from_slice(text.as_bytes());
    b
}
fn key(kind: i16, parts: &[Vec<u8>]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), old(G)].concat().into_iter().chain(parts.concat()).collect()
}

type Record = (Vec<u8>, Option<Vec<u8>>);

fn commit_record(partition: i32, offset: Option<i64>) -> Record {
    let key = key(1, &[old("orders"), partition.to_be_bytes().to_vec()]);
    let value = offset.map(|offset| {
        let mut v = 4i16.to_be_bytes().to_vec();
        v.extend(offset.to_be_bytes());
        v.extend(1i32.to_be_bytes());
        v.extend(compact(""));
        v.extend(5i64.to_be_bytes());
        v.push(0);
        v
    });
    (key, value)
}

fn embedded(partitions: &[i32]) -> Vec<u8> {
    let mut b = 1i16.to_be_bytes().to_vec();
    b.extend(1i32.to_be_bytes());
    b.extend(old("orders"));
    b.extend((partitions.len() as i32).to_be_bytes());
    partitions.iter().for_each(|p| b.extend(p.to_be_bytes()));
    b.extend((-1i32).to_be_bytes());
    b
}
fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut b = 1i16.to_be_bytes().to_vec();
    b.extend((topics.len() as i32).to_be_bytes());
    topics.iter().for_each(|t| b.extend(old(t)));
    b.extend((-1i32).to_be_bytes());
    b
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [(bytes.len() as i32).to_be_bytes().to_vec(), bytes.to_vec()].concat()
}

/// A generation: members with what they are given of `orders`.
fn generation(n: i32, protocol: &str, members: &[(&str, &[i32])]) -> Record {
    let mut v = 3i16.to_be_bytes().to_vec();
    v.extend(old("consumer"));
    v.extend(n.to_be_bytes());
    v.extend(old(protocol));
    v.extend(old(members.first().map_or("", |m| m.0)));
    v.extend(5i64.to_be_bytes());
    v.extend((members.len() as i32).to_be_bytes());
    for (id, parts) in members {
        v.extend(old(id));
        v.extend((-1i16).to_be_bytes());
        v.extend([old("c"), old("/h")].concat());
        v.extend(300_000i32.to_be_bytes());
        v.extend(45_000i32.to_be_bytes());
        v.extend(sized(&subscription(&["orders"])));
        v.extend(sized(&embedded(parts)));
    }
    (key(2, &[]), Some(v))
}

fn topic_list(parts: &[i32]) -> Vec<u8> {
    if parts.is_empty() {
        return vec![1];
    }
    let mut v = vec![2];
    v.extend(ORDERS.0.as_bytes());
    v.push(parts.len() as u8 + 1);
    parts.iter().for_each(|p| v.extend(p.to_be_bytes()));
    v.push(0);
    v
}
fn epoch_record(kind: i16, epoch: i32) -> Record {
    let mut v = vec![0, 0];
    v.extend(epoch.to_be_bytes());
    v.push(0);
    (key(kind, &[]), Some(v))
}
fn member_record(member: &str) -> Record {
    let mut v = vec![0, 0, 0, 0];
    v.extend([compact("c"), compact("/h")].concat());
    v.push(2);
    v.extend(compact("orders"));
    v.push(0);
    v.extend(300_000i32.to_be_bytes());
    v.extend([0, 0]);
    (key(5, &[old(member)]), Some(v))
}
fn target_record(member: &str, parts: &[i32]) -> Record {
    let v = [vec![0, 0], topic_list(parts), vec![0]].concat();
    (key(7, &[old(member)]), Some(v))
}
fn current_record(member: &str, epoch: i32, assigned: &[i32], pending: &[i32]) -> Record {
    let mut v = vec![0, 0];
    v.extend(epoch.to_be_bytes());
    v.extend((epoch - 1).to_be_bytes());
    v.push(1);
    v.extend([topic_list(assigned), topic_list(pending), vec![0]].concat());
    (key(8, &[old(member)]), Some(v))
}

fn zigzag(n: i64) -> Vec<u8> {
    let (mut n, mut b) = (((n << 1) ^ (n >> 63)) as u64, Vec::new());
    while n >= 0x80 {
        b.push(n as u8 | 0x80);
        n >>= 7;
    }
    b.push(n as u8);
    b
}
fn body(records: &[Record]) -> Vec<u8> {
    let mut b = Vec::new();
    for (i, (key, value)) in records.iter().enumerate() {
        let mut r = vec![0];
        r.extend([zigzag(0), zigzag(i as i64), zigzag(key.len() as i64), key.clone()].concat());
        match value {
            Some(v) => r.extend([zigzag(v.len() as i64), v.clone()].concat()),
            None => r.extend(zigzag(-1)),
        }
        r.extend(zigzag(0));
        b.extend([zigzag(r.len() as i64), r].concat());
    }
    b
}

fn ids(list: &[i32]) -> Vec<NodeId> {
    list.iter().map(|n| NodeId(*n)).collect()
}

struct World {
    judge: Invariants,
    ordinal: u64,
    at: u64,
    metadata: i64,
    correlation: i32,
    end: i64,
    files: Vec<u8>,
    epoch: i32,
    /// Who leads.
    leader: u16,
}

impl World {
    fn new() -> World {
        let node = |name: &str, n: u16, role| NodeSetup { name: name.to_owned(), host: HostId(n), role };
        let mut nodes = vec![node("c1", 0, Role::Controller(NodeId(9)))];
        nodes.extend((1..=3).map(|n| node(&format!("b{n}"), n, Role::Broker(NodeId(i32::from(n))))));
        nodes.extend([node("g1", 4, Role::Client), node("g2", 5, Role::Client)]);
        let topic = TopicSetup { min_insync_replicas: 1, retention_bytes: -1, retention_ms: -1 };
        let consumer_session = Duration::from_secs(45);
        let setup = Setup { nodes, topics: BTreeMap::new(), default_topic: topic, elr: false, consumer_session };
        let judge = Invariants::new(setup);
        let (metadata, files) = (0, Vec::new());
        let mut w = World { judge, ordinal: 0, at: 0, metadata, correlation: 0, end: 0, files, epoch: 0, leader: 1 };
        let partition = |topic, partition, replicas: &[i32]| {
            MetadataRecord::Partition(PartitionRecord {
                partition: TopicIdPartition { topic, partition },
                replicas: ids(replicas),
                isr: ids(replicas),
                leader: NodeId(replicas[0]),
                leader_epoch: LeaderEpoch(0),
                partition_epoch: PartitionEpoch(0),
                elr: vec![],
                last_known_elr: vec![],
            })
        };
        for n in 1..=2 {
            w.metadata(vec![
                crate::invariants::tests::register(n, i64::from(n) * 10),
                crate::invariants::tests::fence(n, i64::from(n) * 10, false),
            ]);
        }
        let named = |name: &str, topic_id| MetadataRecord::Topic { name: name.to_owned(), topic_id };
        w.metadata(vec![named(OFFSETS_TOPIC, OFFSETS), partition(OFFSETS, 0, &[1, 2])]);
        w.metadata(vec![named("orders", ORDERS), partition(ORDERS, 0, &[2]), partition(ORDERS, 1, &[2])]);
        for n in 1..=2 {
            w.load(n, 0);
        }
        w.lead(1, 0, 0, 0);
        w.trace(
            2,
            TraceEvent::BecameFollower {
                partition: HOME,
                epoch: LeaderEpoch(0),
                leader: NodeId(1),
                log_end: Offset(0),
            },
        );
        w.coordinate(1);
        w
    }

    fn event(&mut self, node: u16, what: What<'_>) {
        self.ordinal += 1;
        self.at += 1_000;
        self.judge.event(&Event {
            ordinal: Ordinal(self.ordinal),
            cause: Ordinal(self.ordinal - 1),
            at: Instant::from_nanos(self.at),
            host: Some(HostId(node)),
            node: Some(NodeRef(node)),
            what,
        });
    }
    fn trace(&mut self, node: u16, event: TraceEvent) {
        self.event(node, What::Trace(&event));
    }
    fn passes(&mut self, secs: u64) {
        self.at += secs * 1_000_000_000;
    }
    fn disk(&mut self, node: u16, op: DiskOp) {
        self.event(node, What::DiskAsked { op: &op });
        self.event(node, What::DiskDone { op: &op, result: &Ok(DiskReply::Done) });
    }
    fn metadata(&mut self, records: Vec<MetadataRecord>) {
        let file = Path::new("__cluster_metadata-0/00000000000000000000.log");
        let data = batch(self.metadata, records.len() as i32, 1, (-1, -1, -1), &self.metadata.to_be_bytes());
        self.disk(0, DiskOp::Append { file: file.clone(), data: data.into() });
        self.disk(0, DiskOp::Fsync { file });
        let n = records.len();
        for (i, record) in records.into_iter().enumerate() {
            let (offset, epoch, batch_end) = (Offset(self.metadata), LeaderEpoch(1), i + 1 == n);
            self.metadata += 1;
            self.trace(0, TraceEvent::MetadataCommitted { offset, epoch, batch_end, record: Arc::new(record) });
        }
    }
    fn load(&mut self, node: u16, log_end: i64) {
        let (log_start, log_end) = (Offset(0), Offset(log_end));
        let dir = Path::new(DIR);
        self.trace(node, TraceEvent::LogLoaded { partition: HOME, dir, log_start, log_end, recovered: false });
    }
    fn lead(&mut self, node: u16, epoch: i32, version: i32, start: i64) {
        self.trace(
            node,
            TraceEvent::BecameLeader {
                partition: HOME,
                epoch: LeaderEpoch(epoch),
                partition_epoch: PartitionEpoch(version),
                epoch_start: Offset(start),
                isr: ids(if epoch == 0 { &[1, 2] } else { &[2] }),
                high_watermark: Offset(start),
            },
        );
    }
    fn coordinate(&mut self, node: u16) {
        let (epoch, log_end) = (LeaderEpoch(self.epoch), Offset(self.end));
        self.trace(node, TraceEvent::CoordinatorLoaded { partition: HOME, epoch, log_end, groups: 0 });
    }

    /// The coordinator appends a batch; `to_end`: and it is committed.
    fn appends(&mut self, records: &[Record], committed: bool) {
        let data = batch(self.end, records.len() as i32, self.epoch, (-1, -1, -1), &body(records));
        self.end += records.len() as i64;
        self.files.extend_from_slice(&data);
        let file = Path::new("__consumer_offsets-0/00000000000000000000.log");
        let leader = self.leader;
        self.disk(leader, DiskOp::Append { file: file.clone(), data: data.clone().into() });
        if leader == 1 {
            self.disk(2, DiskOp::Append { file, data: data.into() });
        }
        if committed {
            self.advances();
        }
    }
    fn advances(&mut self) {
        if self.leader == 1 {
            self.correlation += 1;
            let partition = FetchPartition::default()
                .with_current_leader_epoch(self.epoch)
                .with_fetch_offset(self.end)
                .with_last_fetched_epoch(-1);
            let topic = FetchTopic::default().with_topic_id(OFFSETS.0).with_partitions(vec![partition]);
            let replica = ReplicaState::default().with_replica_id(BrokerId(2));
            let request = FetchRequest::default().with_replica_state(replica).with_topics(vec![topic]);
            let (from, to, correlation) = (end(2, 1), end(1, 2), self.correlation);
            self.event(
                1,
                What::RequestTaken { from, to, correlation, version: 17, request: &RequestKind::Fetch(request) },
            );
        }
        let (leader, epoch, high_watermark) = (self.leader, LeaderEpoch(self.epoch), Offset(self.end));
        let log_end = high_watermark;
        self.trace(
            leader,
            TraceEvent::HighWatermark { partition: HOME, epoch, leading: true, high_watermark, log_end },
        );
    }
    /// Broker 2 leads and coordinates.
    fn moves(&mut self) {
        self.event(1, What::Ended { incarnation: Incarnation(1), how: Ending::Killed });
        self.metadata(vec![
            crate::invariants::tests::fence(1, 10, true),
            MetadataRecord::PartitionChange(klamm_model::record::schema::PartitionChangeRecord {
                isr: Some(ids(&[2])),
                leader: Some(NodeId(2)),
                ..klamm_model::record::schema::PartitionChangeRecord::of(HOME)
            }),
        ]);
        (self.leader, self.epoch) = (2, 1);
        let end = self.end;
        self.lead(2, 1, 1, end);
        self.coordinate(2);
    }

    /// A request of a client is taken up by the leader.
    fn asks(&mut self, client: u16, request: RequestKind) -> i32 {
        self.correlation += 1;
        let (leader, correlation) = (self.leader, self.correlation);
        let (from, to) = (end(client, 1), end(leader, u64::from(client)));
        self.event(leader, What::RequestTaken { from, to, correlation, version: 9, request: &request });
        correlation
    }
    fn answers(&mut self, client: u16, correlation: i32, response: ResponseKind) {
        let leader = self.leader;
        let (from, to) = (end(leader, u64::from(client)), end(client, 1));
        self.event(leader, What::ResponseSent { from, to, correlation, version: 9, response: &response });
        self.event(client, What::ResponseTaken { from, to, correlation, version: 9, response: &response });
    }

    fn join(&mut self, client: u16, member: &str, given: &str, generation: i32) {
        self.join_as(client, member, given, generation, None, "orders");
    }
    fn join_as(&mut self, client: u16, member: &str, given: &str, n: i32, instance: Option<&str>, topic: &str) {
        let metadata = Bytes::from(subscription(&[topic]));
        let protocol = JoinGroupRequestProtocol::default().with_name(s("range")).with_metadata(metadata);
        let r = JoinGroupRequest::default()
            .with_group_id(GroupId(s(G)))
            .with_member_id(s(member))
            .with_group_instance_id(instance.map(s))
            .with_session_timeout_ms(45_000)
            .with_rebalance_timeout_ms(60_000)
            .with_protocols(vec![protocol]);
        let ask = self.asks(client, RequestKind::JoinGroup(r));
        let r = JoinGroupResponse::default().with_member_id(s(given)).with_generation_id(n);
        self.answers(client, ask, ResponseKind::JoinGroup(r));
    }
    fn traced(&mut self, member: &str, generation: i32, parts: &[i32]) {
        let assigned = parts.iter().map(|p| TopicPartition { topic: "orders".into(), partition: *p }).collect();
        let (leader, epoch) = (self.leader, LeaderEpoch(self.epoch));
        let event = TraceEvent::MemberAssignment {
            group: G.into(),
            epoch,
            member: member.into(),
            instance: None,
            generation,
            assigned,
            pending_revocation: vec![],
        };
        self.trace(leader, event);
    }
    fn sync(&mut self, client: u16, member: &str, n: i32, parts: &[i32]) {
        let r =
            SyncGroupRequest::default().with_group_id(GroupId(s(G))).with_member_id(s(member)).with_generation_id(n);
        let ask = self.asks(client, RequestKind::SyncGroup(r));
        let r = SyncGroupResponse::default().with_assignment(embedded(parts).into());
        self.answers(client, ask, ResponseKind::SyncGroup(r));
    }
    fn heartbeat(&mut self, client: u16, member: &str, n: i32, error: i16) {
        let r =
            HeartbeatRequest::default().with_group_id(GroupId(s(G))).with_member_id(s(member)).with_generation_id(n);
        let ask = self.asks(client, RequestKind::Heartbeat(r));
        self.answers(client, ask, ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(error)));
    }
    fn asks_commit(&mut self, client: u16, member: &str, n: i32, offset: i64) -> i32 {
        let p = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
        let t = OffsetCommitRequestTopic::default().with_name(TopicName(s("orders"))).with_partitions(vec![p]);
        let r = OffsetCommitRequest::default()
            .with_group_id(GroupId(s(G)))
            .with_member_id(s(member))
            .with_generation_id_or_member_epoch(n)
            .with_topics(vec![t]);
        self.asks(client, RequestKind::OffsetCommit(r))
    }
    fn commit_answered(&mut self, client: u16, ask: i32, error: i16) {
        let p = OffsetCommitResponsePartition::default().with_partition_index(0).with_error_code(error);
        let t = OffsetCommitResponseTopic::default().with_name(TopicName(s("orders"))).with_partitions(vec![p]);
        let r = OffsetCommitResponse::default().with_topics(vec![t]);
        self.answers(client, ask, ResponseKind::OffsetCommit(r));
    }
    fn commit(&mut self, client: u16, member: &str, n: i32, offset: i64) {
        let ask = self.asks_commit(client, member, n, offset);
        self.appends(&[commit_record(0, Some(offset))], true);
        self.commit_answered(client, ask, 0);
    }
    fn asks_fetch(&mut self, client: u16) -> i32 {
        let t = OffsetFetchRequestTopics::default().with_name(TopicName(s("orders"))).with_partition_indexes(vec![0]);
        let g = OffsetFetchRequestGroup::default().with_group_id(GroupId(s(G))).with_topics(Some(vec![t]));
        self.asks(client, RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![g])))
    }
    fn fetch_answered(&mut self, client: u16, ask: i32, offset: i64) {
        let p = OffsetFetchResponsePartitions::default().with_partition_index(0).with_committed_offset(offset);
        let t = OffsetFetchResponseTopics::default().with_name(TopicName(s("orders"))).with_partitions(vec![p]);
        let g = OffsetFetchResponseGroup::default().with_group_id(GroupId(s(G))).with_topics(vec![t]);
        self.answers(client, ask, ResponseKind::OffsetFetch(OffsetFetchResponse::default().with_groups(vec![g])));
    }
    fn fetch(&mut self, client: u16, offset: i64) {
        let ask = self.asks_fetch(client);
        self.fetch_answered(client, ask, offset);
    }
    fn state(&mut self, from: &'static str, to: &'static str, generation: i32) {
        let (leader, epoch, group) = (self.leader, LeaderEpoch(self.epoch), G.into());
        self.trace(leader, TraceEvent::GroupState { group, epoch, generation, from, to, members: 2, why: "a test" });
    }
    fn removed(&mut self, member: &str, reason: RemovalReason) {
        let (leader, epoch) = (self.leader, LeaderEpoch(self.epoch));
        self.trace(leader, TraceEvent::MemberRemoved { group: G.into(), epoch, member: member.into(), reason });
    }
    fn op(&mut self, client: u16, op: Op) {
        self.event(client, What::Op(&op));
    }
    fn comes_up(&mut self, client: u16, protocol: RebalanceProtocol) {
        let facts = MemberFacts {
            group: G.into(),
            protocol,
            instance: None,
            auto_commit: true,
            processing: Processing::FinishThenCommit,
            effects: false,
            resets_to_latest: false,
        };
        self.op(client, Op::Member { facts });
    }
    fn comes(&mut self, client: u16, generation: i32, parts: &[i32]) {
        let partitions = parts.iter().map(|p| TopicPartition { topic: "orders".into(), partition: *p }).collect();
        self.op(client, Op::Assigned { generation, partitions });
    }
    fn goes(&mut self, client: u16, generation: i32, parts: &[i32], lost: bool) {
        let partitions = parts.iter().map(|p| TopicPartition { topic: "orders".into(), partition: *p }).collect();
        self.op(client, Op::Revoked { generation, partitions, lost });
    }

    /// Two members in generation 1, of one partition each, both settled.
    fn settled(protocol: RebalanceProtocol, assignor: &str) -> World {
        let mut w = World::new();
        w.comes_up(4, protocol);
        w.comes_up(5, protocol);
        w.state("Empty", "PreparingRebalance", 0);
        w.join(4, "", "m1", 1);
        w.join(5, "", "m2", 1);
        w.state("PreparingRebalance", "CompletingRebalance", 1);
        w.rebalanced(assignor, 1, &[("m1", &[0]), ("m2", &[1])]);
        w.comes(4, 1, &[0]);
        w.comes(5, 1, &[1]);
        w
    }
    /// A generation takes effect, for clients 4 and 5 in the order of members.
    fn rebalanced(&mut self, assignor: &str, n: i32, members: &[(&str, &[i32])]) {
        self.appends(&[generation(n, assignor, members)], true);
        self.state("CompletingRebalance", "Stable", n);
        for (client, (member, parts)) in (4..).zip(members) {
            self.traced(member, n, parts);
            self.sync(client, member, n, parts);
        }
    }

    fn accounts(&self, group: GroupInspection, clients: [&[i32]; 2]) -> Vec<Account> {
        let partition = PartitionInspection {
            partition: HOME,
            topic: OFFSETS_TOPIC.to_owned(),
            dir: Path::new(DIR),
            leader: NodeId(i32::from(self.leader)),
            leader_epoch: LeaderEpoch(self.epoch),
            partition_epoch: PartitionEpoch(0),
            isr: ids(&[1, 2]),
            high_watermark: Offset(self.end),
            log_start: Offset(0),
            log_end: Offset(self.end),
            epochs: vec![(LeaderEpoch(0), Offset(0))],
            producers: BTreeMap::new(),
        };
        let coordinated = CoordinatorInspection {
            partition: HOME,
            epoch: LeaderEpoch(self.epoch),
            committed: Offset(self.end),
            quiet: true,
            groups: [(G.to_owned(), group)].into(),
        };
        let broker = BrokerInspection {
            id: NodeId(i32::from(self.leader)),
            partitions: vec![partition],
            coordinated: vec![coordinated],
            ..BrokerInspection::default()
        };
        let mut accounts = vec![Account { node: NodeRef(self.leader), inspection: Some(Inspection::Broker(broker)) }];
        for (n, owned) in clients.iter().enumerate() {
            let member = MembershipInspection {
                group: G.to_owned(),
                member: format!("m{}", n + 1),
                generation: 1,
                owned: owned.iter().map(|p| ("orders".to_owned(), *p)).collect(),
            };
            let client = ClientInspection { member: Some(member), ..ClientInspection::default() };
            accounts.push(Account { node: NodeRef(4 + n as u16), inspection: Some(Inspection::Client(client)) });
        }
        accounts
    }
    fn audit(&mut self, accounts: &[Account]) {
        let file = Path::new("__consumer_offsets-0/00000000000000000000.log");
        let files = vec![(file, vec![Bytes::copy_from_slice(&self.files)])];
        let files = ReplicaFiles { node: NodeRef(self.leader), files };
        self.judge.audit(AuditAt::Hardship, Instant::from_nanos(self.at), &[files], accounts);
    }
    fn groups_unmet(&self, accounts: &[Account]) -> Vec<Unmet> {
        self.judge.groups_unmet(accounts, &[])
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
        let first = &self.judge.findings()[0];
        assert!(!first.witness.is_empty());
        first
    }
}

fn end(node: u16, n: u64) -> ConnEnd {
    let conn = if node >= 4 { ConnId::outgoing(n) } else { ConnId::incoming(n) };
    ConnEnd { node: NodeRef(node), incarnation: Incarnation(1), conn }
}

fn group_of(state: &'static str, n: i32, members: &[(&str, &[i32])], offset: Option<i64>) -> GroupInspection {
    let member = |(id, parts): &(&str, &[i32])| {
        let assigned = parts.iter().map(|p| ("orders".to_owned(), *p)).collect();
        ((*id).to_owned(), MemberInspection { instance: None, epoch: n, assigned })
    };
    GroupInspection {
        state,
        kind: "classic",
        generation: n,
        members: members.iter().map(member).collect(),
        offsets: offset.into_iter().map(|o| (("orders".to_owned(), 0), Offset(o))).collect(),
    }
}

const EAGER: RebalanceProtocol = RebalanceProtocol::Eager;
const COOPERATIVE: RebalanceProtocol = RebalanceProtocol::Cooperative;

#[test]
fn groups_live_where_kafka_puts_them() {
    // Java's hashes of these are 97, 96354 and 99162322.
    assert_eq!([home_of("a", 50), home_of("abc", 50), home_of("hello", 50)], [47, 4, 22]);
    // "polygenelubricants" has the one hash that has no positive counterpart; "klamm-probe" has a negative one.
    assert_eq!([home_of("polygenelubricants", 50), home_of("klamm-probe", 3)], [0, 2]);
}

#[test]
fn committed_offsets_are_what_the_log_says() {
    let mut w = World::settled(EAGER, "range");
    w.fetch(4, -1);
    w.commit(4, "m1", 1, 7);
    w.fetch(4, 7);
    w.moves();
    w.fetch(4, 7);
    w.commit(4, "m1", 1, 5);
    w.fetch(4, 5);
    w.silent();
    w.fetch(5, 7);
    let found = w.only("committed-offset");
    assert_eq!((found.partition, found.topic.as_deref()), (Some(HOME), Some(OFFSETS_TOPIC)));

    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    w.fetch(4, -1);
    w.only("committed-offset");
}

#[test]
fn an_answer_may_be_as_old_as_its_question() {
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    let ask = w.asks_fetch(5);
    w.commit(4, "m1", 1, 8);
    w.fetch_answered(5, ask, 7);
    w.silent();
}

#[test]
fn an_acknowledged_commit_is_in_the_committed_log() {
    let mut w = World::settled(EAGER, "range");
    let ask = w.asks_commit(4, "m1", 1, 7);
    w.appends(&[commit_record(0, Some(7))], false);
    w.commit_answered(4, ask, 0);
    w.only("committed-offset");
    // Refused, it need not be.
    let mut w = World::settled(EAGER, "range");
    let ask = w.asks_commit(4, "m1", 1, 7);
    w.commit_answered(4, ask, 27);
    w.silent();
}

#[test]
fn offsets_in_use_do_not_expire() {
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    w.appends(&[commit_record(0, None)], true);
    w.only("committed-offset");
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    w.appends(&[generation(2, "range", &[])], true);
    w.appends(&[commit_record(0, None)], true);
    w.fetch(4, -1);
    w.silent();
}

#[test]
fn what_the_trace_says_of_offsets_is_in_the_log() {
    let tell = |w: &mut World, offset: i64, at: i64| {
        let source = TopicPartition { topic: "orders".into(), partition: 0 };
        let (epoch, offset, at) = (LeaderEpoch(0), Some(Offset(offset)), Offset(at));
        w.trace(1, TraceEvent::OffsetCommitted { group: G.into(), partition: HOME, epoch, source, offset, at });
    };
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    let at = w.end - 1;
    tell(&mut w, 7, at);
    w.silent();
    tell(&mut w, 8, at);
    w.only("trace-contradicted");
}

#[test]
fn stale_requests_of_classic_members_change_nothing() {
    let mut w = World::settled(EAGER, "range");
    w.heartbeat(4, "m1", 1, 0);
    w.state("Stable", "PreparingRebalance", 1);
    w.join(4, "m1", "m1", 2);
    w.heartbeat(5, "m2", 1, 22);
    let silent = w.judge.findings().len();
    w.heartbeat(5, "m2", 1, 0);
    assert!(w.judge.findings()[silent..].iter().all(|f| f.check == "fencing") && w.judge.findings().len() > silent);

    // A generation that was told by a coordinator that is gone, and never written, binds nobody.
    let mut w = World::settled(EAGER, "range");
    w.join(4, "m1", "m1", 2);
    w.moves();
    w.commit(5, "m2", 1, 7);
    w.silent();

    // Committed by a member that was replaced.
    let mut w = World::settled(EAGER, "range");
    w.appends(&[generation(1, "range", &[("m1b", &[0]), ("m2", &[1])])], true);
    w.commit(4, "m1", 1, 7);
    w.only("fencing");
}

#[test]
fn member_ids_are_issued_once() {
    let mut w = World::settled(EAGER, "range");
    w.join(5, "", "m1", 2);
    w.only("unique-ids");
}

#[test]
fn generations_give_each_partition_to_one_member_that_wants_it() {
    let mut w = World::settled(EAGER, "range");
    w.appends(&[generation(2, "range", &[("m1", &[0, 1]), ("m2", &[1])])], true);
    w.only("single-owner");
    let mut w = World::settled(EAGER, "range");
    w.appends(&[generation(2, "range", &[("m1", &[1]), ("m2", &[])])], true);
    w.only("assignment-legal");
    // A cooperative one may leave out what its owner has to give up first.
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.appends(&[generation(2, "cooperative-sticky", &[("m2", &[1]), ("m1", &[])])], true);
    assert!(w.judge.findings().iter().all(|f| f.check == "needless-move"));
    let mut w = World::new();
    w.appends(&[generation(1, "cooperative-sticky", &[("m1", &[1])])], true);
    w.only("assignment-legal");
}

#[test]
fn answers_agree_with_trace_and_log() {
    let mut w = World::settled(EAGER, "range");
    w.traced("m1", 1, &[0]);
    w.sync(4, "m1", 1, &[0]);
    w.silent();
    w.sync(4, "m1", 1, &[0, 1]);
    let checks: BTreeSet<&str> = w.judge.findings().iter().map(|f| f.check).collect();
    assert_eq!(checks, BTreeSet::from(["replay-equals-live", "trace-contradicted"]));
}

#[test]
fn clients_do_not_overlap() {
    // Still a member, and it still has the partition.
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.comes(5, 2, &[0]);
    w.only("single-owner");
    // Given up, or removed without knowing it.
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.appends(&[generation(2, "range", &[("m2", &[0, 1])])], true);
    w.comes(5, 2, &[0]);
    w.silent();
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.goes(4, 1, &[0], true);
    w.comes(5, 2, &[0]);
    w.silent();
}

#[test]
fn a_static_member_that_misses_a_rebalance_is_not_removed() {
    let overlap = |came: bool| {
        let mut w = World::settled(EAGER, "range");
        let facts = MemberFacts {
            group: G.into(),
            protocol: EAGER,
            instance: Some("i".into()),
            auto_commit: true,
            processing: Processing::FinishThenCommit,
            effects: false,
            resets_to_latest: false,
        };
        w.judge.groups.clients.get_mut(&NodeRef(4)).expect("is a member").facts = facts;
        w.join(5, "", "m3", 2);
        w.state("Stable", "PreparingRebalance", 1);
        if came {
            w.join(4, "m1", "m1", 2);
        }
        w.appends(&[generation(2, "range", &[("m1", &[]), ("m3", &[0, 1])])], true);
        w.comes(5, 2, &[0]);
        w
    };
    overlap(false).silent();
    overlap(true).only("single-owner");
}

fn consumer_group() -> World {
    let mut w = World::new();
    w.appends(
        &[
            member_record("m1"),
            member_record("m2"),
            epoch_record(3, 2),
            target_record("m1", &[0]),
            target_record("m2", &[1]),
            epoch_record(6, 2),
            current_record("m1", 2, &[0], &[]),
            current_record("m2", 2, &[1], &[]),
        ],
        true,
    );
    w
}

#[test]
fn kip_848_partitions_have_one_owner_across_epochs() {
    let mut w = consumer_group();
    w.appends(&[current_record("m1", 2, &[], &[0]), current_record("m2", 3, &[1], &[])], true);
    w.silent();
    w.appends(&[current_record("m2", 3, &[0, 1], &[])], true);
    w.only("single-owner");
    // Released in the same batch is early enough.
    let mut w = consumer_group();
    w.appends(&[current_record("m2", 3, &[0, 1], &[]), current_record("m1", 3, &[], &[])], true);
    w.silent();
    // Targets: everything, once.
    let mut w = consumer_group();
    w.appends(&[target_record("m1", &[1]), target_record("m2", &[]), epoch_record(6, 3)], true);
    w.only("assignment-legal");
    let mut w = consumer_group();
    w.appends(&[target_record("m1", &[0, 1]), epoch_record(6, 3)], true);
    w.only("assignment-legal");
}

#[test]
fn kip_848_epochs_fence_within_their_bounds() {
    let beat = |w: &mut World, member: &str, epoch: i32, error: i16| {
        let r = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(s(G)))
            .with_member_id(s(member))
            .with_member_epoch(epoch);
        let ask = w.asks(4, RequestKind::ConsumerGroupHeartbeat(r));
        let r = ConsumerGroupHeartbeatResponse::default().with_error_code(error).with_member_epoch(epoch);
        w.answers(4, ask, ResponseKind::ConsumerGroupHeartbeat(r));
    };
    let mut w = consumer_group();
    w.appends(&[current_record("m1", 5, &[0, 1], &[]), current_record("m2", 5, &[], &[])], true);
    beat(&mut w, "m1", 5, 0);
    beat(&mut w, "m1", 4, 0);
    beat(&mut w, "m1", 2, 110);
    beat(&mut w, "gone", 5, 25);
    // KIP-1251: assigned in epoch 2, so a commit with epoch 3 is good.
    w.commit(4, "m1", 3, 7);
    w.silent();
    beat(&mut w, "m1", 2, 0);
    w.only("fencing");
    let mut w = consumer_group();
    w.appends(&[current_record("m1", 5, &[], &[])], true);
    w.commit(4, "m1", 3, 7);
    w.only("fencing");
    let mut w = consumer_group();
    beat(&mut w, "gone", 2, 0);
    w.only("fencing");
}

#[test]
fn kip_848_answers_agree_with_the_trace() {
    let tell = |w: &mut World, parts: &[i32]| {
        let r = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(s(G)))
            .with_member_id(s("m1"))
            .with_member_epoch(2);
        let ask = w.asks(4, RequestKind::ConsumerGroupHeartbeat(r));
        let t = TopicPartitions::default().with_topic_id(ORDERS.0).with_partitions(parts.to_vec());
        let assignment = Assignment::default().with_topic_partitions(vec![t]);
        let r = ConsumerGroupHeartbeatResponse::default().with_member_epoch(2).with_assignment(Some(assignment));
        w.answers(4, ask, ResponseKind::ConsumerGroupHeartbeat(r));
    };
    let mut w = consumer_group();
    w.traced("m1", 2, &[0]);
    tell(&mut w, &[0]);
    w.silent();
    tell(&mut w, &[1]);
    w.only("trace-contradicted");
}

#[test]
fn living_members_are_not_expelled() {
    let mut w = World::settled(EAGER, "range");
    w.passes(30);
    w.heartbeat(4, "m1", 1, 0);
    w.passes(46);
    w.removed("m1", RemovalReason::SessionExpired);
    w.silent();
    let mut w = World::settled(EAGER, "range");
    w.passes(30);
    w.heartbeat(4, "m1", 1, 0);
    w.passes(30);
    w.removed("m2", RemovalReason::SessionExpired);
    w.silent();
    w.removed("m1", RemovalReason::SessionExpired);
    w.only("liveness-verdicts");
    // A static member that comes back after its expulsion comes anew; one that was cut off while it waited for an
    // answer is silent from then on.
    let mut w = World::settled(EAGER, "range");
    let r = SyncGroupRequest::default().with_group_id(GroupId(s(G))).with_member_id(s("m1")).with_generation_id(1);
    w.asks(4, RequestKind::SyncGroup(r));
    w.passes(50);
    w.event(1, What::Disconnected { conn: ConnId::incoming(4), reason: DisconnectReason::Reset });
    w.removed("m1", RemovalReason::SessionExpired);
    w.silent();
    // A new coordinator gives a whole session.
    let mut w = World::settled(EAGER, "range");
    w.passes(44);
    w.moves();
    w.passes(2);
    w.removed("m1", RemovalReason::SessionExpired);
    w.only("liveness-verdicts");
}

#[test]
fn dead_members_are_expelled_in_time() {
    let members: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
    let mut w = World::settled(EAGER, "range");
    w.passes(40);
    w.heartbeat(4, "m1", 1, 0);
    let accounts = w.accounts(group_of("Stable", 1, members, None), [&[0], &[1]]);
    w.audit(&accounts);
    w.silent();
    w.passes(20);
    w.audit(&accounts);
    let found = w.only("liveness-verdicts");
    assert!(found.detail.contains("m2"), "{found}");
}

#[test]
fn accounts_agree_with_the_log() {
    let members: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
    let audited = |live: GroupInspection| {
        let mut w = World::settled(EAGER, "range");
        w.commit(4, "m1", 1, 7);
        let accounts = w.accounts(live, [&[0], &[1]]);
        w.audit(&accounts);
        w
    };
    audited(group_of("Stable", 1, members, Some(7))).silent();
    audited(group_of("Stable", 1, members, Some(6))).only("replay-equals-live");
    audited(group_of("Stable", 1, members, None)).only("replay-equals-live");
    audited(group_of("Stable", 2, members, Some(7))).only("replay-equals-live");
    audited(group_of("Stable", 1, &[("m1", &[0])], Some(7))).only("replay-equals-live");
    audited(group_of("Stable", 1, &[("m1", &[1]), ("m2", &[1])], Some(7))).only("replay-equals-live");
    audited(group_of("Stable", 1, &[("m1", &[0]), ("m3", &[1])], Some(7))).only("replay-equals-live");
    // Between two generations memory may be ahead, but not with offsets.
    audited(group_of("PreparingRebalance", 2, &[("m1", &[])], Some(7))).silent();
    audited(group_of("PreparingRebalance", 2, &[("m1", &[])], Some(6))).only("replay-equals-live");
}

#[test]
fn a_kip_848_account_agrees_with_the_log() {
    let member = |epoch: i32, parts: &[i32]| MemberInspection {
        instance: None,
        epoch,
        assigned: parts.iter().map(|p| ("orders".to_owned(), *p)).collect(),
    };
    let audited = |epoch: i32, first: MemberInspection| {
        let mut w = consumer_group();
        let members = [("m1".to_owned(), first), ("m2".to_owned(), member(2, &[1]))].into();
        let group =
            GroupInspection { state: "Stable", kind: "consumer", generation: epoch, members, offsets: BTreeMap::new() };
        let accounts = w.accounts(group, [&[0], &[1]]);
        w.audit(&accounts);
        w
    };
    audited(2, member(2, &[0])).silent();
    audited(3, member(2, &[0])).only("replay-equals-live");
    audited(2, member(1, &[0])).only("replay-equals-live");
    audited(2, member(2, &[])).only("replay-equals-live");
}

#[test]
fn convergence_wants_every_partition_owned_and_known() {
    let members: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1])];
    let unmet = |live: GroupInspection, clients: [&[i32]; 2]| {
        let w = World::settled(EAGER, "range");
        let accounts = w.accounts(live, clients);
        w.groups_unmet(&accounts).into_iter().map(|u| u.condition).collect::<Vec<_>>()
    };
    assert_eq!(unmet(group_of("Stable", 1, members, None), [&[0], &[1]]), [""; 0]);
    assert_eq!(unmet(group_of("PreparingRebalance", 1, members, None), [&[0], &[1]]), ["group-stable"]);
    assert_eq!(unmet(group_of("Stable", 1, members, None), [&[], &[1]]), ["group-agreed"]);
    assert_eq!(unmet(group_of("Stable", 1, &members[..1], None), [&[0], &[]]), ["group-agreed", "group-owned"]);
    let three: &[(&str, &[i32])] = &[("m1", &[0]), ("m2", &[1]), ("ghost", &[])];
    assert_eq!(unmet(group_of("Stable", 1, three, None), [&[0], &[1]]), ["group-stable"]);
}

#[test]
fn a_settled_group_does_not_rebalance_for_nothing() {
    let begins = |w: &mut World| {
        w.state("Stable", "PreparingRebalance", 1);
        w.passes(1);
        w.state("PreparingRebalance", "CompletingRebalance", 2);
    };
    let mut w = World::settled(EAGER, "range");
    begins(&mut w);
    w.only("needless-rebalance");
    // A bouncing coordinator is no reason, if it is away for less than the session.
    let mut w = World::settled(EAGER, "range");
    w.moves();
    begins(&mut w);
    w.only("needless-rebalance");
    let mut w = World::settled(EAGER, "range");
    w.event(1, What::Ended { incarnation: Incarnation(1), how: Ending::Killed });
    w.passes(60);
    w.moves();
    begins(&mut w);
    w.silent();
    // Reasons: somebody joins, leaves, is removed (which may be told a moment later), subscribes to something else.
    let mut w = World::settled(EAGER, "range");
    w.join(5, "", "m3", 2);
    begins(&mut w);
    w.silent();
    let mut w = World::settled(EAGER, "range");
    w.join_as(5, "m2", "m2", 2, None, "payments");
    begins(&mut w);
    w.silent();
    let mut w = World::settled(EAGER, "range");
    w.passes(60);
    w.removed("m1", RemovalReason::SessionExpired);
    begins(&mut w);
    w.silent();
    // A rebalance that was running when the coordinator moved.
    let mut w = World::settled(EAGER, "range");
    w.join(5, "", "m3", 2);
    w.state("Stable", "PreparingRebalance", 1);
    w.moves();
    begins(&mut w);
    w.silent();
    // A member that has not heard of its part.
    let mut w = World::new();
    w.state("Empty", "PreparingRebalance", 0);
    w.join(4, "", "m1", 1);
    w.appends(&[generation(1, "range", &[("m1", &[0, 1])])], true);
    w.state("CompletingRebalance", "Stable", 1);
    begins(&mut w);
    w.silent();
}

#[test]
fn a_static_member_comes_back_unnoticed() {
    let begun = |topic: &str| {
        let mut w = World::new();
        w.comes_up(4, EAGER);
        w.state("Empty", "PreparingRebalance", 0);
        w.join_as(4, "", "s-1", 1, Some("s"), "orders");
        w.rebalanced("range", 1, &[("s-1", &[0, 1])]);
        w.event(4, What::Ended { incarnation: Incarnation(1), how: Ending::Killed });
        w.comes_up(4, EAGER);
        w.join_as(4, "", "s-2", 1, Some("s"), topic);
        w.state("Stable", "PreparingRebalance", 1);
        w.passes(1);
        w.state("PreparingRebalance", "CompletingRebalance", 2);
        w
    };
    begun("orders").only("needless-rebalance");
    begun("payments").silent();
    // But not after its session.
    let mut w = World::new();
    w.comes_up(4, EAGER);
    w.state("Empty", "PreparingRebalance", 0);
    w.join_as(4, "", "s-1", 1, Some("s"), "orders");
    w.rebalanced("range", 1, &[("s-1", &[0, 1])]);
    w.passes(60);
    w.removed("s-1", RemovalReason::SessionExpired);
    w.state("Stable", "PreparingRebalance", 1);
    w.state("PreparingRebalance", "Stable", 2);
    w.join_as(4, "", "s-2", 3, Some("s"), "orders");
    w.state("Stable", "PreparingRebalance", 2);
    w.passes(1);
    w.state("PreparingRebalance", "CompletingRebalance", 3);
    w.silent();
}

#[test]
fn cooperative_members_give_up_nothing_that_stays() {
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.goes(4, 1, &[0], false);
    w.silent();
    w.comes(4, 2, &[0]);
    w.only("needless-revocation");
    // Leaving gives everything up; so does what the next generation takes away.
    let mut w = World::settled(COOPERATIVE, "cooperative-sticky");
    w.goes(4, 1, &[0], false);
    let r = LeaveGroupRequest::default().with_group_id(GroupId(s(G))).with_member_id(s("m1"));
    w.asks(4, RequestKind::LeaveGroup(r));
    w.comes(4, 2, &[0]);
    w.silent();
    let mut w = World::settled(EAGER, "range");
    w.goes(4, 1, &[0], false);
    w.comes(4, 2, &[0]);
    w.silent();
}

#[test]
fn sticky_assignors_move_no_more_than_they_must() {
    let mut w = World::settled(EAGER, "sticky");
    w.appends(&[generation(2, "sticky", &[("m1", &[0]), ("m2", &[1])])], true);
    w.silent();
    w.sync(4, "m1", 2, &[0]);
    let mut w = World::settled(EAGER, "sticky");
    w.join(4, "m1", "m1", 2);
    w.join(5, "m2", "m2", 2);
    w.appends(&[generation(2, "sticky", &[("m1", &[1]), ("m2", &[0])])], true);
    w.only("needless-move");
    // Whoever did not come cannot say what it has.
    let mut w = World::settled(EAGER, "sticky");
    w.join(4, "m1", "m1", 2);
    w.appends(&[generation(2, "sticky", &[("m1", &[1]), ("m2", &[0])])], true);
    w.silent();
    // Somebody goes: the rest keep what they had.
    let mut w = World::settled(EAGER, "sticky");
    w.appends(&[generation(2, "sticky", &[("m2", &[0, 1])])], true);
    w.silent();
    // Other assignors promise nothing.
    let mut w = World::settled(EAGER, "range");
    w.appends(&[generation(2, "range", &[("m1", &[1]), ("m2", &[0])])], true);
    w.silent();
}

#[test]
fn a_log_that_lost_what_was_committed_proves_nothing() {
    let mut w = World::settled(EAGER, "range");
    w.commit(4, "m1", 1, 7);
    let end = w.end;
    w.end = end - 1;
    w.moves();
    let found = w.judge.findings().len();
    w.fetch(4, -1);
    assert_eq!(w.judge.findings().len(), found, "what was lost is for the checks of replication");
}
