use super::*;
use crate::ids::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}
fn n(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}
const ID: Uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
const P: TopicIdPartition = TopicIdPartition { topic: TopicId(ID), partition: 1 };
const ID_HEX: &str = "00112233445566778899aabbccddeeff";

/// Bytes worked out by hand from the schemas.
#[test]
fn bytes_are_kafkas() {
    let fixtures = [
        (MetadataRecord::Topic { name: "foo".into(), topic_id: TopicId(ID) }, format!("01 02 00 04666f6f {ID_HEX} 00")),
        (
            MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker_id: NodeId(3),
                incarnation_id: ID,
                broker_epoch: BrokerEpoch(258),
                endpoints: vec![BrokerEndpoint { name: "B".into(), host: "h3".into(), port: 9093 }],
                rack: None,
                fenced: true,
                in_controlled_shutdown: false,
                log_dirs: vec![ID],
            }),
            format!(
                "01 00 03 00000003 00 {ID_HEX} 0000000000000102 \
                 02 0242 036833 2385 0000 00 01 00 01 00 01 00 11 02 {ID_HEX}"
            ),
        ),
        (
            MetadataRecord::Partition(PartitionRecord {
                partition: P,
                replicas: n(&[1, 2]),
                isr: n(&[2]),
                leader: NodeId(2),
                leader_epoch: LeaderEpoch(0),
                partition_epoch: PartitionEpoch(0),
                elr: n(&[1]),
                last_known_elr: vec![],
            }),
            format!(
                "01 03 02 00000001 {ID_HEX} 03 00000001 00000002 02 00000002 01 01 00000002 00000000 00000000 \
                 03 {z} {z} 01 01 05 02 00000001",
                z = "00000000000000000000000000000000"
            ),
        ),
        (
            MetadataRecord::PartitionChange(PartitionChangeRecord {
                isr: Some(vec![]),
                leader: Some(NodeId::NONE),
                elr: Some(n(&[7])),
                last_known_elr: Some(n(&[7])),
                leader_recovery_state: Some(1),
                ..PartitionChangeRecord::of(P)
            }),
            format!(
                "01 05 02 00000001 {ID_HEX} 05 00 01 01 01 04 ffffffff 05 01 01 06 05 02 00000007 \
                 07 05 02 00000007"
            ),
        ),
        (
            MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                broker_id: NodeId(3),
                broker_epoch: BrokerEpoch(1),
                fenced: Some(false),
                in_controlled_shutdown: Some(true),
            }),
            "01 11 02 00000003 0000000000000001 02 00 01 ff 01 01 01".into(),
        ),
        (
            MetadataRecord::Config { resource_type: 2, resource_name: "foo".into(), name: "k".into(), value: None },
            "01 04 00 02 04666f6f 026b 00 00".into(),
        ),
        (
            MetadataRecord::ProducerIds { broker_id: NodeId(1), broker_epoch: BrokerEpoch(2), next_producer_id: 1000 },
            "01 0f 00 00000001 0000000000000002 00000000000003e8 00".into(),
        ),
        (MetadataRecord::FeatureLevel { name: "f".into(), level: 25 }, "01 0c 00 0266 0019 00".into()),
        (
            MetadataRecord::UnregisterBroker { broker_id: NodeId(1), broker_epoch: BrokerEpoch(2) },
            "01 01 00 00000001 0000000000000002 00".into(),
        ),
        (MetadataRecord::RemoveTopic { topic_id: TopicId(ID) }, format!("01 09 00 {ID_HEX} 00")),
        (MetadataRecord::NoOp, "01 14 00 00".into()),
    ];
    for (record, expected) in fixtures {
        let expected = hex(&expected);
        assert_eq!(record.encode().as_ref(), expected, "{record:?}");
        assert_eq!(MetadataRecord::decode(&expected).unwrap(), record);
    }
}

#[test]
fn older_versions_and_unknown_tags_are_read() {
    // RegisterBroker version 0: no migration flag, no controlled shutdown.
    let old = hex(&format!("01 00 00 00000003 {ID_HEX} 0000000000000102 01 01 00 01 00"));
    let MetadataRecord::RegisterBroker(r) = MetadataRecord::decode(&old).unwrap() else { panic!() };
    assert!(r.fenced && !r.in_controlled_shutdown && r.log_dirs.is_empty());
    // Directories (tag 8) are passed over.
    let with_dirs = hex(&format!("01 05 01 00000001 {ID_HEX} 01 08 11 02 {ID_HEX}"));
    let empty = MetadataRecord::PartitionChange(PartitionChangeRecord::of(P));
    assert_eq!(MetadataRecord::decode(&with_dirs).unwrap(), empty);
}

#[test]
fn what_is_wrong_is_said() {
    let err = |bytes: &str| MetadataRecord::decode(&hex(bytes)).unwrap_err();
    assert_eq!(err(""), SchemaError::Truncated);
    assert_eq!(err("02"), SchemaError::FrameVersion(2));
    assert_eq!(err("01 63 00"), SchemaError::UnknownType(0x63));
    assert_eq!(err("01 14 01"), SchemaError::UnknownVersion { api_key: 20, version: 1 });
    assert_eq!(err("01 14 00 00 00"), SchemaError::Trailing(1));
    assert_eq!(err("01 02 00 00"), SchemaError::BadValue("string"));
    // A count that no record could hold costs nothing.
    assert_eq!(err("01 03 02 00000001 00112233445566778899aabbccddeeff ffffffff0f"), SchemaError::Truncated);
    // Tags must rise.
    assert_eq!(err("01 14 00 02 05 00 05 00"), SchemaError::BadValue("tag"));
}

fn nodes() -> impl Strategy<Value = Vec<NodeId>> {
    proptest::collection::vec(any::<i32>().prop_map(NodeId), 0..5)
}
fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}
fn partition() -> impl Strategy<Value = TopicIdPartition> {
    (uuid(), any::<i32>()).prop_map(|(t, partition)| TopicIdPartition { topic: TopicId(t), partition })
}

fn record() -> impl Strategy<Value = MetadataRecord> {
    let endpoint =
        (".{0,6}", ".{0,6}", any::<u16>()).prop_map(|(name, host, port)| BrokerEndpoint { name, host, port });
    let register = (
        (any::<i32>(), uuid(), any::<i64>()),
        proptest::collection::vec(endpoint, 0..3),
        proptest::option::of(".{0,5}"),
        (any::<bool>(), any::<bool>()),
        proptest::collection::vec(uuid(), 0..3),
    )
        .prop_map(|((id, incarnation_id, epoch), endpoints, rack, (fenced, shutdown), log_dirs)| {
            MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker_id: NodeId(id),
                incarnation_id,
                broker_epoch: BrokerEpoch(epoch),
                endpoints,
                rack,
                fenced,
                in_controlled_shutdown: shutdown,
                log_dirs,
            })
        });
    let create = (partition(), nodes(), nodes(), nodes(), nodes(), any::<(i32, i32, i32)>()).prop_map(
        |(partition, replicas, isr, elr, last_known_elr, (leader, epoch, partition_epoch))| {
            MetadataRecord::Partition(PartitionRecord {
                partition,
                replicas,
                isr,
                leader: NodeId(leader),
                leader_epoch: LeaderEpoch(epoch),
                partition_epoch: PartitionEpoch(partition_epoch),
                elr,
                last_known_elr,
            })
        },
    );
    let some = || proptest::option::of(nodes());
    let change = (partition(), some(), proptest::option::of(-1..9i32), some(), 0..3i8, some(), some()).prop_map(
        |(partition, isr, leader, replicas, state, elr, last_known_elr)| {
            MetadataRecord::PartitionChange(PartitionChangeRecord {
                partition,
                isr,
                leader: leader.map(NodeId),
                replicas,
                leader_recovery_state: (state < 2).then_some(state),
                elr,
                last_known_elr,
            })
        },
    );
    let registration_change =
        (any::<(i32, i64)>(), any::<Option<bool>>(), any::<bool>()).prop_map(|((id, epoch), fenced, shutdown)| {
            MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                broker_id: NodeId(id),
                broker_epoch: BrokerEpoch(epoch),
                fenced,
                in_controlled_shutdown: shutdown.then_some(true),
            })
        });
    let config = (any::<i8>(), ".{0,9}", ".{0,200}", any::<Option<String>>()).prop_map(
        |(resource_type, resource_name, name, value)| MetadataRecord::Config {
            resource_type,
            resource_name,
            name,
            value,
        },
    );
    prop_oneof![register, create, change, registration_change, config]
}

proptest! {
    #[test]
    fn what_is_written_is_read(record in record()) {
        prop_assert_eq!(MetadataRecord::decode(&record.encode()).unwrap(), record);
    }
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = MetadataRecord::decode(&bytes);
    }
    #[test]
    fn damaged_records_never_panic(record in record(), at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
        let mut bytes = record.encode().to_vec();
        let len = bytes.len();
        bytes[at % len] = byte;
        let _ = MetadataRecord::decode(&bytes);
        prop_assert!(MetadataRecord::decode(&record.encode()[..cut % len]).is_err());
    }
}
