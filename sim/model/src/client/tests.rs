//! Metadata and admin, driven by hand.

use super::backoff::Backoff;
use super::metadata::Metadata;
use super::network::Network;
use super::testing::{Asked, Cluster, bootstrap};
use super::*;
use crate::channel::ChannelConfig;
use crate::defects::Defects;
use crate::history::{IsolationLevel, TopicPartition};
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicId};
use crate::node::Outbox;
use crate::units::{Duration, Instant, Now};
use crate::versions::VersionCaps;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{CreateTopicsResponse, ListOffsetsResponse, MetadataResponse, RequestKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("t"))
}

struct Image {
    metadata: Metadata,
    net: Network<()>,
    out: Outbox,
}

impl Image {
    fn new() -> Image {
        Image::with(Defects::NONE)
    }

    fn with(defects: Defects) -> Image {
        let config = ChannelConfig {
            request_timeout: MS(1000),
            reconnect_backoff: MS(50),
            reconnect_backoff_max: MS(1000),
            connection_setup_timeout: MS(1000),
            caps: VersionCaps::default(),
        };
        let mut metadata = Metadata::new(Backoff { first: MS(100), longest: MS(1000) }, MS(300_000), defects);
        assert_eq!(metadata.topic("t"), 0);
        Image { metadata, net: Network::new(config, bootstrap(), 5), out: Outbox::new() }
    }

    fn told(&mut self, version: i16, id: u128, leader: i32, epoch: i32) {
        let broker = MetadataResponseBroker::default().with_host(StrBytes::from_static_str("h")).with_port(1);
        let partition = MetadataResponsePartition::default().with_leader_id(leader.into()).with_leader_epoch(epoch);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(name()))
            .with_topic_id(Uuid::from_u128(id))
            .with_partitions(vec![partition]);
        let response = MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic]);
        self.metadata.on_response(Instant::ZERO, version, response, &mut self.net, &mut self.out);
    }

    fn leader(&self) -> Option<(i32, i32)> {
        self.metadata.leader(0, 0).map(|(node, epoch)| (node.0, epoch.0))
    }
}

#[test]
fn metadata_never_goes_back_to_an_older_epoch() {
    let mut image = Image::new();
    image.told(13, 7, 1, 5);
    image.told(13, 7, 2, 4);
    assert_eq!(image.leader(), Some((1, 5)));
    image.told(13, 7, 3, 6);
    assert_eq!(image.leader(), Some((3, 6)));
    // The same epoch may lose its leader.
    image.told(13, 7, -1, 6);
    assert_eq!(image.leader(), None);
    // A topic created anew starts over.
    image.told(13, 8, 1, 0);
    assert_eq!(image.leader(), Some((1, 0)));
    assert_eq!(image.metadata.find(TopicId(Uuid::from_u128(8)), &TopicName::default()), Some(0));
}

#[test]
fn brokers_without_reliable_epochs_are_believed() {
    let mut image = Image::new();
    image.told(8, 0, 1, 5);
    image.told(8, 0, 2, 4);
    assert_eq!(image.leader(), Some((2, -1)));
}

#[test]
fn a_newer_epoch_heard_elsewhere_disqualifies_the_leader() {
    let mut image = Image::new();
    image.told(13, 7, 1, 5);
    image.metadata.saw_epoch(0, 0, LeaderEpoch(6));
    assert_eq!(image.leader(), None);
    image.told(13, 7, 1, 5);
    assert_eq!(image.leader(), None);
    image.told(13, 7, 2, 6);
    assert_eq!(image.leader(), Some((2, 6)));
    assert!(!image.metadata.leader_hint(0, 0, NodeId(1), LeaderEpoch(6)));
    assert!(image.metadata.leader_hint(0, 0, NodeId(1), LeaderEpoch(7)));
    assert_eq!(image.leader(), Some((1, 7)));
}

fn admin() -> Admin {
    let mut admin = Admin::new(AdminConfig::kafka_defaults(), bootstrap(), VersionCaps::default());
    admin.start(Now::default(), ChaCha8Rng::seed_from_u64(1));
    admin
}

fn created(c: &mut Cluster, a: &mut Admin, asked: &Asked, error: i16) {
    let topic = CreatableTopicResult::default().with_name(name()).with_error_code(error);
    let response = CreateTopicsResponse::default().with_topics(vec![topic]);
    c.answer(a, asked, response);
}

#[test]
fn a_topic_is_created_in_spite_of_lost_answers() {
    let (mut c, mut a) = (Cluster::new(&[(1, 0)]), admin());
    let topic = NewTopic { name: "t".into(), partitions: 1, replication: 3, configs: Vec::new() };
    a.create_topic(c.now, topic.clone(), 1);
    c.settle(&mut a);
    let asked = c.next();
    created(&mut c, &mut a, &asked, 41);
    c.advance(&mut a, MS(200));
    let asked = c.next();
    c.disconnect(&mut a, asked.conn);
    c.advance(&mut a, MS(2000));
    let asked = c.next();
    created(&mut c, &mut a, &asked, 36);
    assert_eq!(a.next_event(), Some(AdminEvent::TopicCreated { id: 1, topic_id: None }));
    // Without a lost answer somebody else must have created it.
    a.create_topic(c.now, topic, 2);
    c.settle(&mut a);
    let asked = c.next();
    created(&mut c, &mut a, &asked, 36);
    assert_eq!(a.next_event(), Some(AdminEvent::Failed { id: 2, error: "TOPIC_ALREADY_EXISTS" }));
    assert_eq!(a.pending(), 0);
}

#[test]
fn offsets_are_asked_of_the_leader() {
    let (mut c, mut a) = (Cluster::new(&[(2, 3)]), admin());
    let source = TopicPartition { topic: "t".into(), partition: 0 };
    a.list_offsets(c.now, source.clone(), -1, IsolationLevel::ReadUncommitted, 1);
    c.settle(&mut a);
    for (error, leader) in [(6, 2), (0, 3)] {
        let asked = c.next();
        let RequestKind::ListOffsets(request) = &asked.request else { panic!("{asked:?}") };
        assert_eq!(asked.node, NodeId(leader));
        assert_eq!(request.topics[0].partitions[0].current_leader_epoch, if leader == 2 { 3 } else { 4 });
        c.leaders[0] = (3, 4);
        let partition =
            ListOffsetsPartitionResponse::default().with_error_code(error).with_offset(9).with_leader_epoch(4);
        let topic = ListOffsetsTopicResponse::default().with_name(name()).with_partitions(vec![partition]);
        c.answer(&mut a, &asked, ListOffsetsResponse::default().with_topics(vec![topic]));
        c.advance(&mut a, MS(300));
    }
    let (topic_id, leader_epoch) = (Some(c.topic_id), LeaderEpoch(4));
    let event = AdminEvent::Offset { id: 1, source, topic_id, offset: Some(Offset(9)), leader_epoch };
    assert_eq!(a.next_event(), Some(event));
}

#[test]
fn a_topic_is_described() {
    let (mut c, mut a) = (Cluster::new(&[(2, 3), (-1, 1)]), admin());
    a.describe_topic(c.now, "t".into(), 1);
    c.settle(&mut a);
    let Some(AdminEvent::Topic { id: 1, topic }) = a.next_event() else { panic!() };
    assert_eq!((topic.id, topic.partitions.len()), (c.topic_id, 2));
    assert_eq!((topic.partitions[0].leader, topic.partitions[1].leader), (Some(NodeId(2)), None));
}

#[test]
fn an_operation_ends_in_time() {
    let (mut c, mut a) = (Cluster::new(&[(2, 3)]), admin());
    c.down = true;
    a.describe_topic(c.now, "t".into(), 1);
    c.advance(&mut a, MS(60_000));
    assert_eq!(a.next_event(), Some(AdminEvent::Failed { id: 1, error: admin::API_TIMEOUT }));
}

/// A broker that knows of no unfenced one, itself included, answers so; it is asked again (librdkafka 5301).
#[test]
fn an_answer_without_brokers_takes_no_address_away() {
    let mut image = Image::new();
    image.told(12, 1, 1, 1);
    let known: Vec<_> = image.net.addresses().cloned().collect();
    assert!(known.len() > bootstrap().len(), "{known:?}");
    let none = MetadataResponse::default;
    image.metadata.on_response(Instant::ZERO, 12, none(), &mut image.net, &mut image.out);
    assert_eq!(image.net.addresses().cloned().collect::<Vec<_>>(), known);
    assert!(image.metadata.is_awaited() && image.net.least_loaded(Instant::ZERO).is_some());

    let mut image = Image::with(Defects::NONE.with(crate::defects::Defect::NoBrokersForgetsAddresses));
    image.told(12, 1, 1, 1);
    image.metadata.on_response(Instant::ZERO, 12, none(), &mut image.net, &mut image.out);
    assert_eq!((image.net.addresses().count(), image.net.least_loaded(Instant::ZERO)), (0, None));
}
