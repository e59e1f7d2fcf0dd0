//! Groups on a little cluster of three brokers, one offsets partition for all.

mod classic;
mod consumer;
mod deletion;
mod moves;
mod offsets;

use super::super::tests::cluster::Cluster;
use super::partition_of;
use crate::broker::Truncation;
use crate::config::BrokerConfig;
use crate::defects::Defects;
use crate::ids::*;
use crate::inspect::{CoordinatorInspection, GroupInspection};
use crate::node::ConnId;
use crate::trace::TraceEvent;
use crate::units::Duration;
use crate::versions::VersionCaps;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

const GROUP: &str = "billing";
const TOPIC: &str = "orders";

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}
fn group() -> GroupId {
    GroupId(text(GROUP))
}
fn code(error: ResponseError) -> i16 {
    error.code()
}

fn quick(config: &mut BrokerConfig) {
    config.offsets_topic_partitions = 1;
    config.min_insync_replicas = 2;
    config.group_initial_rebalance_delay = Duration::from_millis(50);
    config.group_min_session = Duration::from_millis(10);
    config.offsets_commit_timeout = Duration::from_millis(400);
    // A follower hears of a new partition only when its fetch under way comes back.
    config.replica_fetch_wait_max = Duration::from_millis(50);
}

/// A cluster with a topic of four partitions, and the host of the group's coordinator.
fn cluster_with(defects: Defects, tune: fn(&mut BrokerConfig)) -> (Cluster, usize) {
    let mut c = Cluster::new(3, Truncation::Fetch, defects, VersionCaps::default(), tune);
    c.run(500);
    let topic =
        CreatableTopic::default().with_name(TopicName(text(TOPIC))).with_num_partitions(4).with_replication_factor(3);
    c.ask(1, 7, CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000));
    let host = find(&mut c, 1);
    (c, host)
}
fn cluster() -> (Cluster, usize) {
    cluster_with(Defects::NONE, quick)
}

/// Asks until there is a coordinator that answers.
fn find(c: &mut Cluster, ask: usize) -> usize {
    for _ in 0..200 {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(GROUP)]);
        let ResponseKind::FindCoordinator(r) = c.ask(ask, 6, request) else { panic!() };
        let found = &r.coordinators[0];
        if found.error_code == 0 {
            let host = found.node_id.0 as usize;
            let ready = |c: &Cluster| c.is_up(host) && c.broker(host).coordinated.len() == 1;
            if ready(c) {
                return host;
            }
        }
        c.run(20);
    }
    panic!("no coordinator");
}

fn coordinated(c: &Cluster, host: usize) -> CoordinatorInspection {
    c.broker(host).coordinated.remove(0)
}
fn account(c: &Cluster, host: usize) -> GroupInspection {
    coordinated(c, host).groups.remove(GROUP).expect("the group is known")
}

/// A member of the group, on a connection of its own.
struct Member {
    conn: ConnId,
    host: usize,
    id: String,
    instance: Option<&'static str>,
    generation: i32,
}

fn subscription() -> Bytes {
    let mut b = BytesMut::new();
    b.put_i16(0);
    b.put_i32(1);
    b.put_i16(TOPIC.len() as i16);
    b.put_slice(TOPIC.as_bytes());
    b.put_i32(-1);
    b.freeze()
}
fn assignment(partitions: &[i32]) -> Bytes {
    let mut b = BytesMut::new();
    b.put_i16(0);
    b.put_i32(1);
    b.put_i16(TOPIC.len() as i16);
    b.put_slice(TOPIC.as_bytes());
    b.put_i32(partitions.len() as i32);
    partitions.iter().for_each(|&p| b.put_i32(p));
    b.put_i32(-1);
    b.freeze()
}

impl Member {
    fn new(c: &mut Cluster, host: usize) -> Member {
        Member { conn: c.connect(host), host, id: String::new(), instance: None, generation: -1 }
    }
    fn fixed(c: &mut Cluster, host: usize, instance: &'static str) -> Member {
        Member { instance: Some(instance), ..Member::new(c, host) }
    }
    fn instance(&self) -> Option<StrBytes> {
        self.instance.map(StrBytes::from_static_str)
    }
    fn send(&self, c: &mut Cluster, version: i16, request: impl Into<RequestKind>) -> i32 {
        c.send(self.host, self.conn, version, request)
    }
    fn ask(&self, c: &mut Cluster, version: i16, request: impl Into<RequestKind>) -> ResponseKind {
        let correlation = self.send(c, version, request);
        wait(c, correlation)
    }

    fn join_request(&self) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(subscription());
        JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(500)
            .with_rebalance_timeout_ms(1000)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }
    /// Asks for an id, if it has none yet, and sends its JoinGroup.
    fn begin_join(&mut self, c: &mut Cluster) -> i32 {
        if self.id.is_empty() && self.instance.is_none() {
            let ResponseKind::JoinGroup(r) = self.ask(c, 9, self.join_request()) else { panic!() };
            assert_eq!(r.error_code, code(ResponseError::MemberIdRequired));
            self.id = r.member_id.to_string();
        }
        self.send(c, 9, self.join_request())
    }
    fn end_join(&mut self, c: &mut Cluster, correlation: i32) -> JoinGroupResponse {
        let ResponseKind::JoinGroup(r) = wait(c, correlation) else { panic!() };
        if r.error_code == 0 {
            self.id = r.member_id.to_string();
            self.generation = r.generation_id;
        }
        r
    }
    fn sync_request(&self, assignments: &[(&str, Bytes)]) -> SyncGroupRequest {
        let one = |(member, bytes): &(&str, Bytes)| {
            SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(bytes.clone())
        };
        SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(assignments.iter().map(one).collect())
    }
    fn heartbeat(&self, c: &mut Cluster) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance());
        match self.ask(c, 4, request) {
            ResponseKind::Heartbeat(r) => r.error_code,
            other => panic!("{other:?}"),
        }
    }
    fn commit_request(&self, partition: i32, offset: i64) -> OffsetCommitRequest {
        let p = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(0)
            .with_committed_metadata(Some(text("note")));
        let topic = OffsetCommitRequestTopic::default().with_name(TopicName(text(TOPIC))).with_partitions(vec![p]);
        OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_topics(vec![topic])
    }
    fn commit(&self, c: &mut Cluster, partition: i32, offset: i64) -> i16 {
        committed(self.ask(c, 9, self.commit_request(partition, offset)))
    }
    fn leave(&self, c: &mut Cluster) -> i16 {
        let m = MemberIdentity::default().with_member_id(text(&self.id)).with_group_instance_id(self.instance());
        match self.ask(c, 5, LeaveGroupRequest::default().with_group_id(group()).with_members(vec![m])) {
            ResponseKind::LeaveGroup(r) => r.members.first().map_or(r.error_code, |m| m.error_code),
            other => panic!("{other:?}"),
        }
    }
}

fn committed(response: ResponseKind) -> i16 {
    match response {
        ResponseKind::OffsetCommit(r) => r.topics[0].partitions[0].error_code,
        other => panic!("{other:?}"),
    }
}

fn wait(c: &mut Cluster, correlation: i32) -> ResponseKind {
    for _ in 0..4000 {
        if let Some(answer) = c.answer(correlation) {
            return answer;
        }
        c.run(1);
    }
    panic!("no answer");
}

/// Everybody joins, and the leader gives each of them one partition, in order of `members`.
fn rebalance(c: &mut Cluster, members: &mut [&mut Member]) {
    let joins: Vec<i32> = members.iter_mut().map(|m| m.begin_join(c)).collect();
    let mut leader = 0;
    for (i, m) in members.iter_mut().enumerate() {
        let r = m.end_join(c, joins[i]);
        assert_eq!(r.error_code, 0, "{r:?}");
        if r.leader == r.member_id {
            leader = i;
            assert!(!r.members.is_empty() || r.skip_assignment);
        }
    }
    let ids: Vec<String> = members.iter().map(|m| m.id.clone()).collect();
    let given: Vec<(&str, Bytes)> = ids.iter().zip(0..).map(|(id, p)| (id.as_str(), assignment(&[p]))).collect();
    let syncs: Vec<i32> = members
        .iter()
        .enumerate()
        .map(|(i, m)| m.send(c, 5, m.sync_request(if i == leader { &given } else { &[] })))
        .collect();
    for (i, correlation) in syncs.into_iter().enumerate() {
        let ResponseKind::SyncGroup(r) = wait(c, correlation) else { panic!() };
        assert_eq!((r.error_code, r.assignment), (0, assignment(&[i as i32])));
    }
}

/// The committed offset of a partition; -1: none.
fn fetch_offset(c: &mut Cluster, host: usize, partition: i32, stable: bool) -> Result<i64, i16> {
    use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let t =
        OffsetFetchRequestTopics::default().with_name(TopicName(text(TOPIC))).with_partition_indexes(vec![partition]);
    let g = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![t]));
    match c.ask(host, 8, OffsetFetchRequest::default().with_groups(vec![g]).with_require_stable(stable)) {
        ResponseKind::OffsetFetch(r) if r.groups[0].error_code == 0 => {
            Ok(r.groups[0].topics[0].partitions[0].committed_offset)
        }
        ResponseKind::OffsetFetch(r) => Err(r.groups[0].error_code),
        other => panic!("{other:?}"),
    }
}

/// `partition_of` is Java's: these are known values of `String.hashCode`.
#[test]
fn groups_belong_to_the_partition_that_kafka_says() {
    assert_eq!(partition_of("foo", 50), 101_574 % 50);
    assert_eq!(partition_of("", 50), 0);
    // The hash of this one is the least of all numbers, whose absolute value does not exist.
    assert_eq!(partition_of("polygenelubricants", 50), 0);
    // Two UTF-16 units: 0xd83d * 31 + 0xde00.
    assert_eq!(partition_of("\u{1f600}", 50), (0xd83d * 31 + 0xde00) % 50);
}

#[test]
fn the_offsets_topic_is_made_when_somebody_asks_and_is_internal() {
    let (mut c, _) = cluster();
    let ResponseKind::Metadata(r) = c.ask(2, 9, MetadataRequest::default().with_topics(None)) else { panic!() };
    let topic = r.topics.iter().find(|t| t.name.as_ref().is_some_and(|n| n.as_str() == OFFSETS_TOPIC)).unwrap();
    assert!(topic.is_internal);
    assert_eq!((topic.partitions.len(), topic.partitions[0].replica_nodes.len()), (1, 3));
    // Old clients ask for one key.
    let ResponseKind::FindCoordinator(r) = c.ask(2, 2, FindCoordinatorRequest::default().with_key(text(GROUP))) else {
        panic!()
    };
    assert_eq!((r.error_code, r.port), (0, 9092));
}
