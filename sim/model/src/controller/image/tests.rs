use super::*;
use crate::record::schema::{BrokerRegistrationChangeRecord, PartitionRecord, RegisterBrokerRecord};

fn n(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

const TOPIC: TopicId = TopicId(Uuid::from_u128(7));
const P0: TopicIdPartition = TopicIdPartition { topic: TOPIC, partition: 0 };

fn register(id: i32, epoch: i64) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: NodeId(id),
        incarnation_id: Uuid::from_u128(99),
        broker_epoch: BrokerEpoch(epoch),
        endpoints: vec![BrokerEndpoint { name: "CLIENT".into(), host: "b1".into(), port: 9092 }],
        rack: None,
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: vec![],
    })
}

fn history() -> Vec<MetadataRecord> {
    vec![
        MetadataRecord::FeatureLevel { name: ELR_FEATURE.into(), level: 1 },
        register(1, 1),
        MetadataRecord::Topic { name: "orders".into(), topic_id: TOPIC },
        MetadataRecord::Partition(PartitionRecord {
            partition: P0,
            replicas: n(&[1, 2, 3]),
            isr: n(&[1, 2, 3]),
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            elr: vec![],
            last_known_elr: vec![],
        }),
        MetadataRecord::Config {
            resource_type: TOPIC_RESOURCE,
            resource_name: "orders".into(),
            name: "min.insync.replicas".into(),
            value: Some("2".into()),
        },
        MetadataRecord::ProducerIds { broker_id: NodeId(1), broker_epoch: BrokerEpoch(1), next_producer_id: 1000 },
        MetadataRecord::NoOp,
    ]
}

fn replayed(records: &[MetadataRecord]) -> Image {
    let mut image = Image::new();
    for (i, record) in records.iter().enumerate() {
        image.replay(Offset(i as i64), LeaderEpoch(1), record).unwrap();
    }
    image
}

#[test]
fn lookups_find_what_was_replayed() {
    let image = replayed(&history());
    assert_eq!(image.next_offset(), Offset(7));
    assert!(image.elr_enabled());
    assert_eq!(image.topic_by_name("orders").unwrap().id, TOPIC);
    assert_eq!(image.topic_id("orders"), Some(TOPIC));
    assert_eq!(image.partition(P0).unwrap().leader, NodeId(1));
    assert_eq!(image.broker(NodeId(1)).unwrap().endpoint("CLIENT").unwrap().port, 9092);
    assert!(!image.is_active(NodeId(1)));
    assert_eq!(image.topic_config("orders").unwrap()["min.insync.replicas"], "2");
    assert_eq!(image.next_producer_id(), 1000);
}

#[test]
fn every_record_but_the_no_op_moves_the_digest() {
    let records = history();
    let digests: Vec<u64> = (0..=records.len()).map(|end| replayed(&records[..end]).digest()).collect();
    for (i, pair) in digests.windows(2).enumerate() {
        assert_eq!(pair[0] == pair[1], records[i] == MetadataRecord::NoOp, "{:?}", records[i]);
    }
}

#[test]
fn the_digest_is_of_the_content_alone() {
    let mut a = replayed(&history());
    let b = a.clone();
    a.advance(Offset(90), LeaderEpoch(4));
    assert_eq!(a.digest(), b.digest());
    // Pinned: the digest must not differ between builds.
    assert_eq!(Image::new().digest(), Image::default().digest());
}

#[test]
fn a_leader_given_raises_the_leader_epoch_and_every_change_the_partition_epoch() {
    let mut image = replayed(&history());
    let shrink = PartitionChangeRecord { isr: Some(n(&[1, 2])), ..PartitionChangeRecord::of(P0) };
    let delta = image.replay(Offset(7), LeaderEpoch(1), &MetadataRecord::PartitionChange(shrink)).unwrap();
    assert_eq!(delta, Delta::Partition(P0));
    let p = image.partition(P0).unwrap();
    assert_eq!((p.leader_epoch, p.partition_epoch), (LeaderEpoch(0), PartitionEpoch(1)));
    let same = PartitionChangeRecord { leader: Some(NodeId(1)), ..PartitionChangeRecord::of(P0) };
    image.replay(Offset(8), LeaderEpoch(1), &MetadataRecord::PartitionChange(same)).unwrap();
    let p = image.partition(P0).unwrap();
    assert_eq!((p.leader_epoch, p.partition_epoch), (LeaderEpoch(1), PartitionEpoch(2)));
    assert_eq!(p.isr, n(&[1, 2]));
}

#[test]
fn removing_a_topic_takes_its_name_and_configuration_along() {
    let mut image = replayed(&history());
    let delta = image.replay(Offset(7), LeaderEpoch(1), &MetadataRecord::RemoveTopic { topic_id: TOPIC }).unwrap();
    assert!(matches!(delta, Delta::TopicRemoved(t) if t.partitions.len() == 1));
    assert!(image.topic_by_name("orders").is_none() && image.topic_config("orders").is_none());
}

#[test]
fn a_record_that_does_not_fit_is_refused_and_changes_nothing() {
    let image = replayed(&history());
    let other_topic = TopicIdPartition { topic: TopicId(Uuid::from_u128(8)), partition: 0 };
    let stale = BrokerRegistrationChangeRecord {
        broker_id: NodeId(1),
        broker_epoch: BrokerEpoch(0),
        fenced: Some(false),
        in_controlled_shutdown: None,
    };
    for record in [
        MetadataRecord::PartitionChange(PartitionChangeRecord::of(other_topic)),
        MetadataRecord::BrokerRegistrationChange(stale),
        MetadataRecord::UnregisterBroker { broker_id: NodeId(5), broker_epoch: BrokerEpoch(1) },
        MetadataRecord::RemoveTopic { topic_id: other_topic.topic },
        MetadataRecord::Topic { name: "orders".into(), topic_id: other_topic.topic },
        MetadataRecord::ProducerIds { broker_id: NodeId(1), broker_epoch: BrokerEpoch(1), next_producer_id: 5 },
    ] {
        let mut tried = image.clone();
        assert!(tried.replay(Offset(7), LeaderEpoch(1), &record).is_err(), "{record:?}");
        assert_eq!(tried, image);
    }
}
