//! Stories of brokers and partitions, told in commands; and the law that the log is the state.

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
use proptest::prelude::*;
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
            .with_log_dirs(vec![Uuid::from_u128(id as u128)])
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

#[test]
fn a_new_cluster_gets_its_features() {
    let story = Story::new(true, Defects::NONE, &[]);
    assert!(story.state.working.elr_enabled());
    assert_eq!(story.state.working.feature(METADATA_VERSION_FEATURE), METADATA_VERSION);
    assert!(!Story::new(false, Defects::NONE, &[]).state.working.elr_enabled());
    // A second activation, as after a restart, changes nothing.
    let mut story = story;
    assert!(story.state.activate(story.now).records.is_empty());
}

#[test]
fn a_broker_takes_part_once_it_has_seen_its_registration() {
    let mut story = Story::new(false, Defects::NONE, &[]);
    assert_eq!(story.restart(1, true), 0);
    let epoch = story.epochs[&1];
    assert!(matches!(&story.log[epoch as usize], MetadataRecord::RegisterBroker(r) if r.broker_epoch.0 == epoch));
    let response = story.beat_with(1, epoch - 1, false);
    assert!(response.is_fenced && !response.is_caught_up);
    let response = story.beat_with(1, epoch, false);
    assert!(!response.is_fenced && response.is_caught_up);
    // Its old epoch counts no more once it is registered anew.
    story.silence_all_but(&[]);
    assert!(story.saw("broker-fenced") && !story.state.working.is_active(NodeId(1)));
    story.restart(1, true);
    story.epochs.insert(1, epoch);
    assert_eq!(story.beat(1).error_code, ResponseError::StaleBrokerEpoch.code());
}

#[test]
fn registration_is_refused_while_the_old_session_lasts() {
    let mut story = Story::with_topic(false, Defects::NONE);
    assert_eq!(story.restart(1, false), ResponseError::DuplicateBrokerRegistration.code());
    assert!(story.saw("duplicate-registration-refused"));
    story.silence_all_but(&[2, 3]);
    assert_eq!(story.restart(1, false), 0);
    assert!(story.saw("unclean-registration"));
    assert_eq!(story.show(), "2/1 2,3 []");
    // The same incarnation may register again, and keeps its epoch.
    let (incarnation, epoch) = (story.incarnations, story.epochs[&1]);
    story.beat(1);
    assert_eq!(story.register(1, incarnation, -1), 0);
    assert_eq!(story.epochs[&1], epoch);
    assert!(story.state.working.is_active(NodeId(1)));
}

#[test]
fn the_fast_restart_defect_keeps_the_isr() {
    let mut story = Story::with_topic(false, Defects::NONE.with(Defect::FastRestartStaysInIsr));
    assert_eq!(story.restart(2, false), 0);
    assert_eq!(story.show(), "1/0 1,2,3 []");
    story.beat(2);
    // Outside the session it does not show.
    story.silence_all_but(&[1, 3]);
    assert_eq!(story.restart(2, false), 0);
    assert_eq!(story.show(), "1/0 1,3 []");
}

#[test]
fn a_strange_cluster_or_directory_is_refused() {
    let mut story = Story::new(false, Defects::NONE, &[]);
    let strange = BrokerRegistrationRequest::default().with_cluster_id(StrBytes::from_static_str("x"));
    let decided = story.state.register(story.now, story.next(), &strange);
    assert_eq!(decided.reply.error_code, ResponseError::InconsistentClusterId.code());
    let reserved = strange.with_cluster_id(StrBytes::from_string(uuid_text(CLUSTER))).with_log_dirs(vec![Uuid::nil()]);
    let decided = story.state.register(story.now, story.next(), &reserved);
    assert_eq!(decided.reply.error_code, ResponseError::InvalidRegistration.code());
    assert!(decided.records.is_empty());
}

#[test]
fn fencing_without_elr_keeps_the_last_member() {
    let mut story = Story::with_topic(false, Defects::NONE);
    assert_eq!(story.show(), "1/0 1,2,3 []");
    story.silence_all_but(&[1, 2]);
    assert_eq!(story.show(), "1/0 1,2 []", "a follower's going is no election");
    story.silence_all_but(&[2]);
    assert_eq!(story.show(), "2/1 2 []");
    story.silence_all_but(&[]);
    assert_eq!(story.show(), "-1/2 2 []");
    story.restart(1, true);
    story.beat(1);
    assert_eq!(story.show(), "-1/2 2 []", "who was not in sync may not lead");
    story.restart(2, false);
    story.beat(2);
    assert_eq!(story.show(), "2/3 2 []");
    assert!(!story.saw("unclean-election"));
}

#[test]
fn the_last_replica_standing() {
    // B and C fall silent with their logs intact; A alone loses power, and returns first.
    let story = |defects| {
        let mut story = Story::with_topic(true, defects);
        story.silence_all_but(&[1]);
        story.silence_all_but(&[]);
        story.restart(1, false);
        story.beat(1);
        story
    };
    let mut correct = story(Defects::NONE);
    // B left while the ISR was at its minimum still: what came later was acknowledged without it.
    assert_eq!(correct.show(), "-1/1  [3]", "A lost its tail and waits for C");
    correct.beat(2);
    assert_eq!(correct.show(), "-1/1  [3]");
    correct.beat(3);
    assert_eq!(correct.show(), "3/2 3 []");
    assert!(correct.saw("elr-election") && !correct.saw("unclean-election"));
    let request = correct.isr_request(&[3, 2]);
    assert_eq!(correct.alter(&request), 0);
    assert_eq!(correct.show(), "3/2 3,2 []");
    let defective = story(Defects::NONE.with(Defect::LastReplicaStanding));
    assert_eq!(defective.show(), "1/2 1 []", "A leads again without its tail");
}

#[test]
fn a_clean_shutdown_keeps_eligibility() {
    let mut story = Story::with_topic(true, Defects::NONE);
    story.silence_all_but(&[1]);
    story.silence_all_but(&[]);
    assert_eq!(story.restart(1, true), 0);
    assert_eq!(story.show(), "-1/1  [1,3]");
    story.beat(1);
    assert_eq!(story.show(), "1/2 1 [3]");
    assert!(!story.saw("unclean-registration"));
}

#[test]
fn when_all_lost_their_tails_the_last_leader_is_elected_uncleanly() {
    let mut story = Story::with_topic(true, Defects::NONE);
    story.silence_all_but(&[1]);
    story.silence_all_but(&[]);
    for id in [3, 2, 1] {
        story.restart(id, false);
    }
    story.beat(2);
    assert_eq!(story.show(), "-1/1  []");
    story.beat(1);
    assert_eq!(story.show(), "1/2 1 []");
    assert!(story.saw("unclean-election"));
}

#[test]
fn unclean_election_is_a_setting_of_topic_or_cluster() {
    let unclean = [("unclean.leader.election.enable", "true")];
    let cluster: &[(&str, &str)] = &unclean;
    for (cluster, topic) in [(cluster, &[][..]), (&[][..], cluster)] {
        let mut story = Story::new(false, Defects::NONE, cluster);
        for id in 1..=2 {
            story.restart(id, true);
            story.beat(id);
        }
        story.create("orders", &[1, 2], topic);
        story.silence_all_but(&[1]);
        story.silence_all_but(&[]);
        story.beat(2);
        assert_eq!(story.show(), "2/2 2 []");
        assert!(story.saw("unclean-election"));
        let p = story.state.working.partition(story.orders()).unwrap();
        assert_eq!(p.leader_recovery_state, 1);
        let request = story.isr_request(&[2]);
        assert_eq!(story.alter(&request), 0, "the leader says that it has recovered");
        let p = story.state.working.partition(story.orders()).unwrap();
        assert_eq!(p.leader_recovery_state, 0);
    }
}

#[test]
fn a_leader_may_shrink_and_expand_its_isr() {
    let mut story = Story::with_topic(false, Defects::NONE);
    let before = story.state.working.partition(story.orders()).unwrap().partition_epoch;
    let request = story.isr_request(&[1, 2]);
    assert_eq!(story.alter(&request), 0);
    assert_eq!(story.show(), "1/0 1,2 []");
    let p = story.state.working.partition(story.orders()).unwrap();
    assert_eq!(p.partition_epoch.0, before.0 + 1);
    let request = story.isr_request(&[1, 2, 3]);
    assert_eq!(story.alter(&request), 0);
    assert_eq!(story.show(), "1/0 1,2,3 []");
    // Asking for what is there changes nothing, and is answered with what is there.
    let request = story.isr_request(&[1, 2, 3]);
    let decided = story.state.alter_partition(3, &request);
    assert!(decided.records.is_empty());
    assert_eq!(decided.reply.topics[0].partitions[0].isr.len(), 3);
}

#[test]
fn alterations_that_are_refused() {
    use ResponseError as E;
    fn partition(r: &mut AlterPartitionRequest) -> &mut PartitionData {
        &mut r.topics[0].partitions[0]
    }
    let mut story = Story::with_topic(false, Defects::NONE);
    let shrink = story.isr_request(&[1, 2]);
    story.alter(&shrink); // so that there is an older partition epoch
    let cases: &[(&str, E, fn(&mut AlterPartitionRequest))] = &[
        ("another broker epoch", E::StaleBrokerEpoch, |r| r.broker_epoch += 1),
        ("another topic", E::UnknownTopicId, |r| r.topics[0].topic_id = Uuid::from_u128(5)),
        ("another partition", E::UnknownTopicOrPartition, |r| partition(r).partition_index = 9),
        ("a leader epoch to come", E::NotController, |r| partition(r).leader_epoch += 1),
        ("a partition epoch to come", E::NotController, |r| partition(r).partition_epoch += 1),
        ("an old leader epoch", E::FencedLeaderEpoch, |r| partition(r).leader_epoch -= 1),
        ("an old partition epoch", E::InvalidUpdateVersion, |r| partition(r).partition_epoch -= 1),
        ("without itself", E::InvalidRequest, |r| drop(partition(r).new_isr_with_epochs.remove(0))),
        ("a stranger", E::InvalidRequest, |r| partition(r).new_isr_with_epochs[1].broker_id = BrokerId(9)),
        ("one twice", E::InvalidRequest, |r| partition(r).new_isr_with_epochs[1].broker_id = BrokerId(1)),
        ("recovering again", E::InvalidRequest, |r| partition(r).leader_recovery_state = 1),
        // KIP-903: the replica was restarted since it fetched.
        ("a stale replica", E::IneligibleReplica, |r| partition(r).new_isr_with_epochs[2].broker_epoch -= 1),
    ];
    for (what, error, change) in cases {
        let mut request = story.isr_request(&[1, 2, 3]);
        change(&mut request);
        story.marks.clear();
        assert_eq!(story.alter(&request), error.code(), "{what}");
        assert_eq!(story.show(), "1/0 1,2 []", "{what}");
        assert!(story.saw("alter-partition-rejected"));
    }
    let mut from_follower = story.isr_request(&[1, 2]);
    from_follower.broker_id = BrokerId(2);
    from_follower.broker_epoch = story.epochs[&2];
    assert_eq!(story.alter(&from_follower), E::InvalidRequest.code());
    // Fenced, or shutting down: KIP-841.
    let joining = |story: &mut Story| {
        let request = story.isr_request(&[1, 2, 3]);
        story.alter(&request)
    };
    story.silence_all_but(&[1, 2]);
    assert_eq!(joining(&mut story), E::IneligibleReplica.code());
    story.beat(3);
    assert_eq!(joining(&mut story), 0);
    let mut unchecked = story.isr_request(&[1, 2, 3]);
    partition(&mut unchecked).new_isr_with_epochs[2].broker_epoch = -1;
    assert_eq!(story.alter(&unchecked), 0, "an epoch of -1 is not checked");
}

#[test]
fn controlled_shutdown_moves_leaders_before_the_broker_may_stop() {
    let mut story = Story::with_topic(false, Defects::NONE);
    let applied = story.next().0 - 1;
    let response = story.beat_with(1, applied, true);
    assert!(!response.should_shut_down && !response.is_fenced);
    assert_eq!(story.show(), "2/1 2,3 []");
    // The others have not yet heard of the new leader.
    assert!(!story.beat_with(1, applied, true).should_shut_down);
    story.beat(2);
    assert!(!story.beat_with(1, applied, true).should_shut_down);
    story.beat(3);
    let response = story.beat_with(1, applied, true);
    assert!(response.should_shut_down && response.is_fenced);
    assert!(story.saw("controlled-shutdown-done"));
    // A broker that leads nothing may go at once.
    let applied = story.next().0 - 1;
    assert!(story.beat_with(3, applied, true).should_shut_down);
    assert_eq!(story.show(), "2/1 2 []");
}

#[test]
fn topics_are_created_or_refused() {
    use ResponseError as E;
    let mut story = Story::with_topic(false, Defects::NONE);
    let cases: &[(&str, &[i32], &[(&str, &str)], E)] = &[
        ("orders", &[], &[], E::TopicAlreadyExists),
        ("", &[], &[], E::InvalidTopicException),
        ("..", &[], &[], E::InvalidTopicException),
        ("a b", &[], &[], E::InvalidTopicException),
        ("x", &[1, 1], &[], E::InvalidReplicaAssignment),
        ("x", &[1, 9], &[], E::InvalidReplicaAssignment),
        ("x", &[], &[("min.insync.replicas", "0")], E::InvalidConfig),
        ("x", &[], &[("no.such.key", "1")], E::InvalidConfig),
    ];
    for (name, replicas, config, error) in cases {
        let before = story.next();
        let response = story.create(name, replicas, config);
        assert_eq!(response.topics[0].error_code, error.code(), "{name} {replicas:?} {config:?}");
        assert_eq!(story.next(), before);
    }
    assert_eq!(story.create("a.b", &[], &[]).topics[0].error_code, 0);
    assert_eq!(story.create("a_b", &[], &[]).topics[0].error_code, E::InvalidTopicException.code());
    let topic = |name: &'static str, partitions, replication| {
        CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(replication)
    };
    let wanted = vec![topic("p", 6, 3), topic("q", 1, 4), topic("r", 0, 1), topic("s", 1, 0), topic("p", 1, 1)];
    let only_one = vec![topic("p", 6, 3)];
    assert_eq!(story.create_all(only_one.clone(), true).topics[0].error_code, 0);
    assert!(story.state.working.topic_by_name("p").is_none(), "validated only");
    let codes: Vec<i16> = story.create_all(wanted, false).topics.iter().map(|t| t.error_code).collect();
    let expected = [E::InvalidRequest, E::InvalidReplicationFactor, E::InvalidPartitions, E::InvalidReplicationFactor];
    assert_eq!(codes, expected.map(|e| e.code()));
    let response = story.create_all(only_one, false);
    let result = &response.topics[0];
    assert_eq!((result.num_partitions, result.replication_factor), (6, 3));
    let created = story.state.working.topic_by_name("p").unwrap();
    assert_eq!(created.id.0, result.topic_id);
    assert!(created.partitions.values().all(|p| p.leader == p.replicas[0] && p.isr == p.replicas));
    // With a broker fenced it is a replica, but not in sync.
    story.silence_all_but(&[1, 2]);
    story.create("t", &[3, 2, 1], &[("min.insync.replicas", "1")]);
    let p = story.state.working.topic_by_name("t").unwrap().partitions[&0].clone();
    assert_eq!((p.leader, p.isr), (NodeId(2), vec![NodeId(2), NodeId(1)]));
    assert_eq!(story.create("u", &[3], &[]).topics[0].error_code, E::InvalidReplicationFactor.code());
}

#[test]
fn older_versions_get_only_their_fields() {
    let mut story = Story::with_topic(false, Defects::NONE);
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("v")))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    let response = story.state.create_topics(4, &request, &mut story.rng).reply;
    let expected = CreateTopicsResponse::default().topics;
    assert!(expected.is_empty());
    let result = &response.topics[0];
    let untouched = kafka_protocol::messages::create_topics_response::CreatableTopicResult::default();
    assert_eq!((result.topic_id, result.num_partitions), (untouched.topic_id, untouched.num_partitions));
    assert_eq!(result.configs, untouched.configs);
}

#[test]
fn producer_ids_are_given_once() {
    let mut story = Story::with_topic(false, Defects::NONE);
    let mut next = 0;
    for broker in [1, 2, 1] {
        let request = AllocateProducerIdsRequest::default()
            .with_broker_id(BrokerId(broker))
            .with_broker_epoch(story.epochs[&broker]);
        let decided = story.state.allocate_producer_ids(&request);
        let response = story.append(decided);
        assert_eq!((response.producer_id_start.0, response.producer_id_len), (next, PRODUCER_ID_BLOCK));
        next += i64::from(PRODUCER_ID_BLOCK);
    }
    let stale = AllocateProducerIdsRequest::default().with_broker_id(BrokerId(1)).with_broker_epoch(0);
    assert_eq!(story.state.allocate_producer_ids(&stale).reply.error_code, ResponseError::StaleBrokerEpoch.code());
}

#[derive(Clone, Debug)]
enum Step {
    Restart(i32, bool),
    Beat(i32),
    Shutdown(i32),
    Pass(u64, Vec<i32>),
    Alter(Vec<i32>),
    Create(u8, Vec<i32>),
    Ids(i32),
}

fn step() -> impl Strategy<Value = Step> {
    let broker = || 1..=4i32;
    let some = || proptest::sample::subsequence(vec![1, 2, 3, 4], 0..=4);
    prop_oneof![
        3 => (broker(), any::<bool>()).prop_map(|(id, clean)| Step::Restart(id, clean)),
        4 => broker().prop_map(Step::Beat),
        1 => broker().prop_map(Step::Shutdown),
        3 => (1..20u64, some()).prop_map(|(s, alive)| Step::Pass(s, alive)),
        3 => some().prop_map(Step::Alter),
        1 => (0..3u8, some()).prop_map(|(n, on)| Step::Create(n, on)),
        1 => broker().prop_map(Step::Ids),
    ]
}

impl Story {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Restart(id, clean) => drop(self.restart(*id, *clean)),
            Step::Beat(id) if self.epochs.contains_key(id) => drop(self.beat(*id)),
            Step::Shutdown(id) if self.epochs.contains_key(id) => {
                self.stopping.insert(*id);
                self.beat(*id);
            }
            Step::Pass(seconds, alive) => {
                let alive: Vec<i32> = alive.iter().copied().filter(|id| self.epochs.contains_key(id)).collect();
                self.pass(Duration::from_secs(*seconds), &alive);
            }
            Step::Alter(isr) => {
                let known: Vec<i32> = isr.iter().copied().filter(|id| self.epochs.contains_key(id)).collect();
                if self.state.working.topic_id("orders").is_some() {
                    let request = self.isr_request(&known);
                    self.alter(&request);
                }
            }
            Step::Create(n, on) => drop(self.create(["orders", "a", "b"][usize::from(*n)], on, &[])),
            Step::Ids(id) if self.epochs.contains_key(id) => {
                let request = AllocateProducerIdsRequest::default()
                    .with_broker_id(BrokerId(*id))
                    .with_broker_epoch(self.epochs[id]);
                let decided = self.state.allocate_producer_ids(&request);
                self.append(decided);
            }
            _ => {}
        }
    }

    fn check(&self, before: &Image) {
        let image = &self.state.working;
        for (id, p) in image.partitions() {
            assert!(p.isr.iter().chain(&p.elr).all(|r| p.replicas.contains(r)), "{id:?} {p:?}");
            assert!(p.elr.iter().all(|r| !p.isr.contains(r)), "{id:?} {p:?}");
            assert!(image.elr_enabled() || !p.isr.is_empty() && p.elr.is_empty(), "{id:?} {p:?}");
            if p.leader != NodeId::NONE {
                assert!(image.is_active(p.leader) && p.isr.contains(&p.leader), "{id:?} {p:?}");
                assert!(p.isr.iter().all(|&r| image.is_active(r)), "{id:?} {p:?}");
            }
            if let Some(old) = before.partition(id) {
                assert!(p.leader_epoch >= old.leader_epoch && p.partition_epoch >= old.partition_epoch);
                assert!(p.leader == old.leader || p.leader_epoch > old.leader_epoch);
            }
        }
        for (id, broker) in image.brokers() {
            let valid = self.state.sessions.is_valid(id, self.now);
            assert!(!valid || !broker.fenced, "a fenced broker has no valid session");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_log_is_the_state(
        elr in any::<bool>(),
        unclean in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let settings = [("min.insync.replicas", "2"), ("unclean.leader.election.enable", if unclean { "true" } else { "false" })];
        let mut story = Story::new(elr, Defects::NONE, &settings);
        for step in &steps {
            let before = story.state.working.clone();
            story.take(step);
            story.check(&before);
        }
        let mut replayed = Image::new();
        for (i, record) in story.log.iter().enumerate() {
            let record = MetadataRecord::decode(&record.encode()).unwrap();
            replayed.replay(Offset(i as i64), LeaderEpoch(1), &record).unwrap();
        }
        prop_assert_eq!(&replayed, story.state.committed());
        prop_assert_eq!(replayed.digest(), story.state.working().digest());
    }
}
