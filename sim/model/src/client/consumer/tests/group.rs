//! A group member and its coordinator, which is broker 2, played by hand.

use super::*;
use crate::client::consumer::embedded;
use crate::defects::Defect;
use crate::versions::api_of;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorResponse, GroupId, HeartbeatResponse, JoinGroupResponse, OffsetCommitResponse,
    OffsetFetchResponse, ResponseKind, SyncGroupResponse,
};

pub struct Played {
    pub c: Cluster,
    pub k: Consumer,
}

pub fn s(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn tps(list: &[i32]) -> Vec<TopicPartition> {
    list.iter().map(|&p| t(p)).collect()
}

/// A member of group `g` that has begun to poll, on two partitions led by broker 1 in epoch 1.
pub fn member(settings: &[(&str, &str)], defects: &[Defect]) -> Played {
    let mut all = vec![("group.id", "g"), ("auto.offset.reset", "earliest")];
    all.extend(settings);
    let properties: Properties = all.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let (config, _) = ConsumerConfig::parse(&properties).unwrap();
    let defects = defects.iter().fold(Defects::NONE, |all, d| all.with(*d));
    let mut k = Consumer::new(config, bootstrap(), VersionCaps::default(), defects);
    let c = Cluster::new(&[(1, 1), (1, 1)]);
    k.start(c.now, ChaCha8Rng::seed_from_u64(1));
    k.subscribe(c.now, &["t".into()]);
    let mut g = Played { c, k };
    g.poll();
    g.found();
    g
}

impl Played {
    pub fn poll(&mut self) {
        self.k.enter_poll(self.c.now);
        self.c.settle(&mut self.k);
    }
    pub fn pass(&mut self, ms: u64) {
        self.c.advance(&mut self.k, MS(ms));
    }
    pub fn settle(&mut self) {
        self.c.settle(&mut self.k);
    }
    /// The first unanswered request of this API. Heartbeats and fetches before it on its connection are answered first.
    pub fn take(&mut self, api: ApiKey) -> Asked {
        let wanted = self.c.asked.iter().find(|a| api_of(&a.request) == api).map(|a| (a.conn, a.correlation));
        let before = |a: &Asked| {
            let earlier = wanted.is_some_and(|(conn, n)| a.conn == conn && a.correlation < n);
            earlier && matches!(a.request, RequestKind::Heartbeat(_) | RequestKind::Fetch(_))
        };
        while let Some(at) = self.c.asked.iter().position(before) {
            let asked = self.c.asked.remove(at).unwrap();
            match asked.request {
                RequestKind::Fetch(_) => self.c.fetched(&mut self.k, &asked, &[]),
                _ => self.reply(&asked, HeartbeatResponse::default()),
            }
        }
        let at = self.c.asked.iter().position(|a| api_of(&a.request) == api);
        let at = at.unwrap_or_else(|| panic!("no {api:?} among {:?}", self.c.asked));
        self.c.asked.remove(at).unwrap()
    }
    pub fn asks(&self, api: ApiKey) -> bool {
        self.c.asked.iter().any(|a| api_of(&a.request) == api)
    }
    pub fn reply(&mut self, to: &Asked, answer: impl Into<ResponseKind>) {
        self.c.answer(&mut self.k, to, answer);
    }
    pub fn events(&mut self) -> Vec<ConsumerEvent> {
        std::iter::from_fn(|| self.k.next_event()).collect()
    }
    /// What is handed out: partition and offset.
    pub fn read(&mut self) -> Vec<(i32, i64)> {
        let mut got = Vec::new();
        self.k.poll_records(self.c.now, |source, record| got.push((source.partition, record.offset.0)));
        self.settle();
        got
    }

    pub fn found(&mut self) {
        let asked = self.take(ApiKey::FindCoordinator);
        let coordinator =
            Coordinator::default().with_key(s("g")).with_node_id(BrokerId(2)).with_host(s("host2")).with_port(9002);
        self.reply(&asked, FindCoordinatorResponse::default().with_coordinators(vec![coordinator]));
    }

    /// The next JoinGroup: member id, and the subscription under each assignor's name.
    pub fn join_asked(&mut self) -> (Asked, String, Vec<(String, embedded::Subscription)>) {
        let asked = self.take(ApiKey::JoinGroup);
        let RequestKind::JoinGroup(request) = &asked.request else { panic!() };
        assert_eq!(asked.node, NodeId(2));
        let each = request
            .protocols
            .iter()
            .map(|p| (p.name.to_string(), embedded::Subscription::decode(&p.metadata).unwrap()));
        let (member, each) = (request.member_id.to_string(), each.collect());
        (asked, member, each)
    }

    /// Lets the member in, as `m1`, alone and as the leader, or led by somebody else.
    pub fn joined(&mut self, generation: i32, leads: bool) {
        let (asked, _, each) = self.join_asked();
        let (name, subscription) = each[0].clone();
        let me = JoinGroupResponseMember::default()
            .with_member_id(s("m1"))
            .with_metadata(subscription.encode(embedded::VERSION));
        let answer = JoinGroupResponse::default()
            .with_generation_id(generation)
            .with_protocol_type(Some(s("consumer")))
            .with_protocol_name(Some(s(&name)))
            .with_leader(s(if leads { "m1" } else { "m2" }))
            .with_member_id(s("m1"))
            .with_members(if leads { vec![me] } else { vec![] });
        self.reply(&asked, answer);
    }

    pub fn join_refused(&mut self, error: i16, member: &str) {
        let (asked, ..) = self.join_asked();
        self.reply(&asked, JoinGroupResponse::default().with_error_code(error).with_member_id(s(member)));
    }

    /// Answers SyncGroup; returns what the member assigned, if it leads.
    pub fn synced(&mut self, error: i16, share: &[i32]) -> Vec<(String, Vec<TopicPartition>)> {
        let asked = self.take(ApiKey::SyncGroup);
        let RequestKind::SyncGroup(request) = &asked.request else { panic!() };
        let assigned = request
            .assignments
            .iter()
            .map(|a| (a.member_id.to_string(), embedded::decode_assignment(&a.assignment).unwrap()))
            .collect();
        let answer = SyncGroupResponse::default()
            .with_error_code(error)
            .with_assignment(embedded::encode_assignment(&tps(share)));
        self.reply(&asked, answer);
        assigned
    }

    /// In the group since generation `generation` with these partitions, read from offset 0.
    pub fn settled(&mut self, generation: i32, share: &[i32]) {
        self.joined(generation, false);
        self.synced(0, share);
        if self.asks(ApiKey::OffsetFetch) {
            let each: Vec<_> = share.iter().map(|&p| (p, 0, 0i64)).collect();
            self.looked_up(&each);
        }
        self.events();
    }

    /// Answers OffsetFetch: partition, error, offset.
    pub fn looked_up(&mut self, each: &[(i32, i16, i64)]) -> Vec<i32> {
        let asked = self.take(ApiKey::OffsetFetch);
        let RequestKind::OffsetFetch(request) = &asked.request else { panic!() };
        assert!(request.require_stable);
        let topics = request.groups[0].topics.as_ref().unwrap();
        let wanted = topics.iter().flat_map(|t| t.partition_indexes.iter().copied()).collect();
        let partitions = each.iter().map(|&(index, error, offset)| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_error_code(error)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(-1)
        });
        let topic = OffsetFetchResponseTopics::default().with_name(name()).with_partitions(partitions.collect());
        let group = OffsetFetchResponseGroup::default().with_group_id(GroupId(s("g"))).with_topics(vec![topic]);
        self.reply(&asked, OffsetFetchResponse::default().with_groups(vec![group]));
        wanted
    }

    pub fn lookup_refused(&mut self, error: i16) {
        let asked = self.take(ApiKey::OffsetFetch);
        let group = OffsetFetchResponseGroup::default().with_group_id(GroupId(s("g"))).with_error_code(error);
        self.reply(&asked, OffsetFetchResponse::default().with_groups(vec![group]));
    }

    /// Answers OffsetCommit; returns generation and offsets by partition.
    pub fn committed(&mut self, error: i16) -> (i32, Vec<(i32, i64)>) {
        let asked = self.take(ApiKey::OffsetCommit);
        let RequestKind::OffsetCommit(request) = &asked.request else { panic!() };
        let offsets: Vec<(i32, i64)> =
            request.topics[0].partitions.iter().map(|p| (p.partition_index, p.committed_offset)).collect();
        let generation = request.generation_id_or_member_epoch;
        let partitions = offsets.iter().map(|&(index, _)| {
            OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(error)
        });
        let topic = OffsetCommitResponseTopic::default().with_name(name()).with_partitions(partitions.collect());
        self.reply(&asked, OffsetCommitResponse::default().with_topics(vec![topic]));
        (generation, offsets)
    }

    pub fn beat(&mut self, error: i16) {
        let asked = self.take(ApiKey::Heartbeat);
        self.reply(&asked, HeartbeatResponse::default().with_error_code(error));
    }

    /// Answers the fetches under way with nothing: metadata may be waiting behind them.
    pub fn idle(&mut self) {
        while self.asks(ApiKey::Fetch) {
            let asked = self.take(ApiKey::Fetch);
            self.c.asked.retain(|a| !matches!(a.request, RequestKind::Fetch(_)) || a.conn != asked.conn);
            self.c.fetched(&mut self.k, &asked, &[]);
            if self.c.asked.iter().filter(|a| matches!(a.request, RequestKind::Fetch(_))).count() <= 1 {
                return;
            }
        }
    }

    /// Answers the fetch under way with so many records from `base` on, of one partition.
    pub fn records(&mut self, partition: i32, base: i64, count: i64) {
        let asked = self.take(ApiKey::Fetch);
        self.c.fetched(&mut self.k, &asked, &[(partition, 0, batch(base, count, 1))]);
    }
}
