//! Stories of brokers and partitions, told in commands; and the law that the log is the state.

mod brokers;
mod law;
mod partitions;
mod topics;

use super::*;
use crate::config::Properties;
use crate::defects::{Defect, Defects};
use crate::log::checkpoint::uuid_text;
use crate::node::Endpoint;
use crate::units::Duration;
use crate::versions::VersionCaps;
use kafka_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use kafka_protocol::messages::broker_registration_request::Listener;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::{
    AlterPartitionRequest, BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest, CreateTopicsRequest,
    CreateTopicsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeSet;

const CLUSTER: Uuid = Uuid::from_u128(0xc1);
const SESSION: Duration = Duration::from_millis(9_000);

/// A controller whose log commits at once, three brokers to be, and a clock.
struct Story {
    state: State,
    log: Vec<MetadataRecord>,
    now: Instant,
    rng: ChaCha8Rng,
    incarnations: u128,
    /// What each broker's last process remembers of its epoch.
    epochs: BTreeMap<i32, i64>,
    /// Who wants to stop; it says so until it has.
    stopping: BTreeSet<i32>,
    marks: Vec<&'static str>,
}

impl Story {
    fn new(elr: bool, defects: Defects, settings: &[(&str, &str)]) -> Story {
        let settings: Properties = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let spec = ControllerSpec {
            id: NodeId(100),
            config: BrokerConfig::parse(&settings).unwrap().0,
            cluster_id: CLUSTER,
            dir_id: Uuid::from_u128(1000),
            shares_disk: false,
            voters: vec![(NodeId(100), Endpoint::new("c", 9093))],
            elr,
            defects,
            caps: VersionCaps::default(),
        };
        let mut story = Story {
            state: State::new(spec),
            log: Vec::new(),
            now: Instant::ZERO,
            rng: ChaCha8Rng::seed_from_u64(1),
            incarnations: 0,
            epochs: BTreeMap::new(),
            stopping: BTreeSet::new(),
            marks: Vec::new(),
        };
        let decided = story.state.activate(story.now);
        story.append(decided);
        story
    }
    /// Three unfenced brokers, and `orders-0` on 1, 2, 3 with `min.insync.replicas` 2.
    fn with_topic(elr: bool, defects: Defects) -> Story {
        let mut story = Story::new(elr, defects, &[("min.insync.replicas", "2")]);
        for id in 1..=3 {
            story.restart(id, true);
            story.beat(id);
        }
        assert_eq!(story.create("orders", &[1, 2, 3], &[]).topics[0].error_code, 0);
        story
    }

    fn next(&self) -> Offset {
        Offset(self.log.len() as i64)
    }
    fn append<T>(&mut self, decided: Decided<T>) -> T {
        for record in decided.records {
            let offset = self.next();
            self.state.appended(offset, LeaderEpoch(1), &record).unwrap();
            self.state.commit(offset, LeaderEpoch(1), &record).unwrap();
            self.log.push(record);
        }
        self.marks.extend(decided.marks);
        decided.reply
    }

    /// A broker's process starts, and registers. Returns the error code.
    fn restart(&mut self, id: i32, clean: bool) -> i16 {
        self.incarnations += 1;
        self.register(id, self.incarnations, if clean { self.epochs.get(&id).copied().unwrap_or(-1) } else { -1 })
    }
    fn register(&mut self, id: i32, incarnation: u128, previous: i64) -> i16 {
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(id))
            .with_cluster_id(StrBytes::from_string(uuid_text(CLUSTER)))
            .with_incarnation_id(Uuid::from_u128(incarnation))
            .with_listeners(vec![Listener::default().with_name(StrBytes::from_static_str("CLIENT")).with_port(9092)])
            .with_log_dirs(vec![Uuid::from_u128(1000 + id as u128)])
            .with_previous_broker_epoch(previous);
        let decided = self.state.register(self.now, self.next(), &request);
        let response = self.append(decided);
        if response.error_code == 0 {
            self.epochs.insert(id, response.broker_epoch);
            self.stopping.remove(&id);
        }
        response.error_code
    }
    /// A heartbeat of a broker that has applied everything.
    fn beat(&mut self, id: i32) -> kafka_protocol::messages::BrokerHeartbeatResponse {
        let applied = self.next().0 - 1;
        self.beat_with(id, applied, self.stopping.contains(&id))
    }
    fn beat_with(
        &mut self,
        id: i32,
        applied: i64,
        want_shut_down: bool,
    ) -> kafka_protocol::messages::BrokerHeartbeatResponse {
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(id))
            .with_broker_epoch(self.epochs[&id])
            .with_current_metadata_offset(applied)
            .with_want_shut_down(want_shut_down);
        let decided = self.state.heartbeat(self.now, self.next(), &request);
        self.append(decided)
    }
    /// Time passes; only these brokers send heartbeats.
    fn pass(&mut self, time: Duration, alive: &[i32]) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(1_000));
            for &id in alive {
                self.beat(id);
            }
            while let Some(decided) = self.state.fence_silent(self.now) {
                self.append(decided);
            }
        }
    }
    /// All but these fall silent until they are fenced.
    fn silence_all_but(&mut self, alive: &[i32]) {
        self.pass(SESSION.saturating_add(Duration::from_millis(1)), alive);
    }
    fn create(&mut self, name: &str, replicas: &[i32], configs: &[(&str, &str)]) -> CreateTopicsResponse {
        let config = |(k, v): &(&str, &str)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(k.to_string()))
                .with_value(Some(StrBytes::from_string(v.to_string())))
        };
        let mut topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.to_owned())))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(configs.iter().map(config).collect());
        if !replicas.is_empty() {
            let ids = replicas.iter().map(|&id| BrokerId(id)).collect();
            topic.assignments = vec![CreatableReplicaAssignment::default().with_broker_ids(ids)];
        }
        self.create_all(vec![topic], false)
    }
    fn create_all(&mut self, topics: Vec<CreatableTopic>, validate_only: bool) -> CreateTopicsResponse {
        let request = CreateTopicsRequest::default().with_topics(topics).with_validate_only(validate_only);
        let decided = self.state.create_topics(7, &request, &mut self.rng);
        self.append(decided)
    }
    fn orders(&self) -> TopicIdPartition {
        TopicIdPartition { topic: self.state.working.topic_id("orders").unwrap(), partition: 0 }
    }
    /// The partition as `leader/epoch isr [elr]`.
    fn show(&self) -> String {
        let p = self.state.working.partition(self.orders()).unwrap();
        let list = |nodes: &[NodeId]| nodes.iter().map(|n| n.0.to_string()).collect::<Vec<_>>().join(",");
        format!("{}/{} {} [{}]", p.leader, p.leader_epoch, list(&p.isr), list(&p.elr))
    }
    /// The leader's request for another ISR, every member with its current epoch.
    fn isr_request(&self, isr: &[i32]) -> AlterPartitionRequest {
        let id = self.orders();
        let p = self.state.working.partition(id).unwrap();
        let member =
            |&id: &i32| BrokerState::default().with_broker_id(BrokerId(id)).with_broker_epoch(self.epochs[&id]);
        let partition = PartitionData::default()
            .with_leader_epoch(p.leader_epoch.0)
            .with_partition_epoch(p.partition_epoch.0)
            .with_new_isr_with_epochs(isr.iter().map(member).collect());
        AlterPartitionRequest::default()
            .with_broker_id(BrokerId(p.leader.0))
            .with_broker_epoch(self.epochs.get(&p.leader.0).copied().unwrap_or(-1))
            .with_topics(vec![TopicData::default().with_topic_id(id.topic.0).with_partitions(vec![partition])])
    }
    fn alter(&mut self, request: &AlterPartitionRequest) -> i16 {
        let decided = self.state.alter_partition(3, request);
        let response = self.append(decided);
        let inner = response.topics.first().and_then(|t| t.partitions.first()).map_or(0, |p| p.error_code);
        if response.error_code != 0 { response.error_code } else { inner }
    }
    fn saw(&self, mark: &str) -> bool {
        self.marks.contains(&mark)
    }
}
