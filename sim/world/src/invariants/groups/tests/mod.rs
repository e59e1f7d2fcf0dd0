//! Group checks on events made by hand. One partition of the offsets topic (so that every group lives there), replicas
//! on brokers 1 and 2, broker 1 leads and coordinates; two client nodes, 4 and 5.

mod audit;
mod consumer;
mod lives;
mod members;
mod needless;
mod offsets;
mod owners;
mod records;

use super::*;
use crate::event::{ConnEnd, Ending, Event, HostId, Observer, What};
use crate::invariants::Check;
use crate::invariants::batch::testing::batch;
use crate::invariants::tests::{only, silent};
use crate::invariants::{Account, AuditAt, Finding, NodeSetup, ReplicaFiles, Role, Setup, TopicSetup, Unmet};
use bytes::Bytes;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
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
use records::*;
use std::sync::Arc;

const OFFSETS: TopicId = TopicId(Uuid::from_u128(9));
const HOME: TopicIdPartition = TopicIdPartition { topic: OFFSETS, partition: 0 };
const ORDERS: TopicId = TopicId(Uuid::from_u128(7));
const G: &str = "billing";
const DIR: &str = "__consumer_offsets-0";

fn s(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn ids(list: &[i32]) -> Vec<NodeId> {
    list.iter().map(|n| NodeId(*n)).collect()
}

struct World {
    judge: Invariants,
    ordinal: u64,
    /// Of the next event, if not the event before it.
    cause: Option<Ordinal>,
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
        let topic = TopicSetup { min_insync_replicas: 1, retention_bytes: -1, retention_ms: -1, compaction: None };
        let consumer_session = Duration::from_secs(45);
        let setup = Setup {
            nodes,
            topics: BTreeMap::new(),
            default_topic: topic,
            elr: false,
            consumer_session,
            clocks_agree: true,
        };
        let judge = Invariants::new(setup);
        let (metadata, files) = (0, Vec::new());
        let mut w = World {
            judge,
            ordinal: 0,
            cause: None,
            at: 0,
            metadata,
            correlation: 0,
            end: 0,
            files,
            epoch: 0,
            leader: 1,
        };
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
            cause: self.cause.take().unwrap_or(Ordinal(self.ordinal - 1)),
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
        self.event(1, What::Ended { incarnation: Incarnation(1), how: &Ending::Killed });
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
        let ask = self.asks_join(client, member, instance, topic);
        let r = JoinGroupResponse::default().with_member_id(s(given)).with_generation_id(n);
        self.answers(client, ask, ResponseKind::JoinGroup(r));
    }
    fn asks_join(&mut self, client: u16, member: &str, instance: Option<&str>, topic: &str) -> i32 {
        let metadata = Bytes::from(subscription(&[topic]));
        let protocol = JoinGroupRequestProtocol::default().with_name(s("range")).with_metadata(metadata);
        let r = JoinGroupRequest::default()
            .with_group_id(GroupId(s(G)))
            .with_member_id(s(member))
            .with_group_instance_id(instance.map(s))
            .with_session_timeout_ms(45_000)
            .with_rebalance_timeout_ms(60_000)
            .with_protocols(vec![protocol]);
        self.asks(client, RequestKind::JoinGroup(r))
    }
    /// Somebody comes, and the stable group rebalances.
    fn rebalances(&mut self) {
        self.asks_join(5, "m3", None, "orders");
        self.state("Stable", "PreparingRebalance", 1);
    }
    /// A client joins a generation that it leads, and assigns.
    fn leads(&mut self, client: u16, member: &str, n: i32) {
        let ask = self.asks_join(client, member, None, "orders");
        let r = JoinGroupResponse::default().with_member_id(s(member)).with_leader(s(member)).with_generation_id(n);
        self.answers(client, ask, ResponseKind::JoinGroup(r));
        let request = RequestKind::SyncGroup(SyncGroupRequest::default().with_group_id(GroupId(s(G))));
        let (from, to, correlation) = (end(client, 1), end(self.leader, u64::from(client)), self.correlation);
        self.event(client, What::RequestSent { from, to, correlation, version: 5, request: &request });
    }
    /// A client hears how many partitions `orders` has.
    fn hears(&mut self, client: u16, partitions: usize) {
        let partitions = vec![MetadataResponsePartition::default(); partitions];
        let topic =
            MetadataResponseTopic::default().with_name(Some(TopicName(s("orders")))).with_partitions(partitions);
        let response = ResponseKind::Metadata(MetadataResponse::default().with_topics(vec![topic]));
        let (from, to, correlation) = (end(self.leader, u64::from(client)), end(client, 1), self.correlation);
        self.event(client, What::ResponseTaken { from, to, correlation, version: 13, response: &response });
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
            forwards_to: Vec::new(),
            declines_to: None,
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
                pending_commits: 0,
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
        silent(&self.judge);
    }
    #[track_caller]
    fn only(&self, check: Check) -> &Finding {
        only(&self.judge, check)
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
