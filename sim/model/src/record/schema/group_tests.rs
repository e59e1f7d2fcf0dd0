use super::*;
use crate::ids::*;
use bytes::Bytes;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}
const ID: Uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
const ID_HEX: &str = "00112233445566778899aabbccddeeff";

fn commit(expire_timestamp: i64, topic_id: TopicId) -> GroupRecord {
    let value = OffsetCommitValue {
        offset: Offset(258),
        leader_epoch: if expire_timestamp < 0 { LeaderEpoch(7) } else { LeaderEpoch::NONE },
        metadata: "m".into(),
        commit_timestamp: 1,
        expire_timestamp,
        topic_id,
    };
    GroupRecord::OffsetCommit { group: "g".into(), topic: "t".into(), partition: 3, value: Some(value) }
}

fn topics() -> Vec<TopicPartitions> {
    vec![TopicPartitions { topic: TopicId(ID), partitions: vec![1, 2] }]
}

/// Bytes worked out by hand from the schemas.
#[test]
fn bytes_are_kafkas() {
    let topics_hex = format!("02 {ID_HEX} 03 00000001 00000002 00");
    let member = GroupMemberValue {
        member_id: "m1".into(),
        group_instance_id: Some("i".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout: 300_000,
        session_timeout: 45_000,
        subscription: Bytes::from_static(&[0xaa]),
        assignment: Bytes::from_static(&[0xbb, 0xcc]),
    };
    let classic = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: Some("range".into()),
        leader: None,
        current_state_timestamp: 9,
        members: vec![member],
    };
    let subscribed = ConsumerGroupMemberValue {
        instance_id: None,
        rack_id: Some("r".into()),
        client_id: "c".into(),
        client_host: "".into(),
        subscribed_topic_names: vec!["t".into()],
        rebalance_timeout: 300_000,
        server_assignor: Some("uniform".into()),
    };
    let current = CurrentMemberAssignmentValue {
        member_epoch: 4,
        previous_member_epoch: 3,
        state: 2,
        assigned: vec![],
        pending_revocation: topics(),
    };
    let (g, m) = (|| "g".to_owned(), || "m".to_owned());
    let fixtures = [
        (
            commit(-1, TopicId::ZERO),
            "0001 000167 000174 00000003".to_owned(),
            "0004 0000000000000102 00000007 026d 0000000000000001 00".to_owned(),
        ),
        (
            commit(-1, TopicId(ID)),
            "0001 000167 000174 00000003".into(),
            format!("0004 0000000000000102 00000007 026d 0000000000000001 01 00 10 {ID_HEX}"),
        ),
        (
            commit(2, TopicId::ZERO),
            "0001 000167 000174 00000003".into(),
            "0001 0000000000000102 00016d 0000000000000001 0000000000000002".into(),
        ),
        (
            GroupRecord::GroupMetadata { group: g(), value: Some(classic) },
            "0002 000167".into(),
            "0003 0008636f6e73756d6572 00000005 000572616e6765 ffff 0000000000000009 00000001 \
             00026d31 000169 000163 00022f68 000493e0 0000afc8 00000001aa 00000002bbcc"
                .into(),
        ),
        (
            GroupRecord::ConsumerGroupMetadata {
                group: g(),
                value: Some(ConsumerGroupMetadataValue { epoch: 6, metadata_hash: 1 }),
            },
            "0003 000167".into(),
            "0000 00000006 01 00 08 0000000000000001".into(),
        ),
        (
            GroupRecord::ConsumerGroupMember { group: g(), member: m(), value: Some(subscribed) },
            "0005 000167 00016d".into(),
            "0000 00 0272 0263 01 02 0274 00 000493e0 08756e69666f726d 00".into(),
        ),
        (
            GroupRecord::TargetAssignmentMetadata { group: g(), value: Some(6) },
            "0006 000167".into(),
            "0000 00000006 00".into(),
        ),
        (
            GroupRecord::TargetAssignmentMember { group: g(), member: m(), value: Some(topics()) },
            "0007 000167 00016d".into(),
            format!("0000 {topics_hex} 00"),
        ),
        (
            GroupRecord::CurrentMemberAssignment { group: g(), member: m(), value: Some(current) },
            "0008 000167 00016d".into(),
            format!("0000 00000004 00000003 02 01 {topics_hex} 00"),
        ),
    ];
    for (record, key, value) in fixtures {
        let (k, v) = record.encode().unwrap();
        assert_eq!(k[..], hex(&key)[..], "{record:?}");
        assert_eq!(v.as_deref(), Some(&hex(&value)[..]), "{record:?}");
        assert_eq!(GroupRecord::decode(&k, v.as_deref()), Ok(record));
    }
}

#[test]
fn older_versions_are_read() {
    let key = hex("0000 000167 000174 00000003");
    for value in [
        "0000 0000000000000102 00016d 0000000000000001",
        "0002 0000000000000102 00016d 0000000000000001",
        "0003 0000000000000102 ffffffff 00016d 0000000000000001",
    ] {
        let GroupRecord::OffsetCommit { value: Some(v), .. } = GroupRecord::decode(&key, Some(&hex(value))).unwrap()
        else {
            panic!()
        };
        assert_eq!(
            (v.offset, v.leader_epoch, &*v.metadata, v.commit_timestamp),
            (Offset(258), LeaderEpoch(-1), "m", 1)
        );
    }
    let key = hex("0002 000167");
    let old = hex("0000 0000 00000001 ffff ffff 00000001 00016d 0000 0000 00001770 00000000 00000000");
    let flexible = hex("0004 01 00000001 00 00 ffffffffffffffff 02 026d 00 01 01 ffffffff 00001770 01 01 00 00");
    let read = |value: &[u8]| GroupRecord::decode(&key, Some(value)).unwrap();
    assert_eq!(read(&old), read(&flexible));
}

#[test]
fn what_cannot_be_written_or_read_is_an_error() {
    let long = GroupRecord::GroupMetadata { group: "g".repeat(40_000), value: None };
    assert_eq!(long.encode(), Err(SchemaError::TooLong));
    // Partition metadata of KIP-848 groups before KIP-1101; share groups; markers of later times.
    assert_eq!(GroupRecord::decode(&hex("0004 000167"), None), Err(SchemaError::UnknownType(4)));
    let bad = GroupRecord::decode(&hex("0003 000167"), Some(&hex("0001 00000006 00")));
    assert_eq!(bad, Err(SchemaError::UnknownVersion { api_key: 3, version: 1 }));
    assert_eq!(GroupRecord::decode(&hex("0003 000167 00"), None), Err(SchemaError::Trailing(1)));
    // A count that the bytes cannot hold is refused before anything is set aside for it.
    let huge = hex("0003 0000 00000001 ffff ffff 0000000000000009 7fffffff 0000");
    assert_eq!(GroupRecord::decode(&hex("0002 000167"), Some(&huge)), Err(SchemaError::Truncated));
}

prop_compose! {
    fn some_topics()(lists in prop::collection::vec((any::<u128>(), prop::collection::vec(any::<i32>(), 0..4)), 0..4))
        -> Vec<TopicPartitions> {
        lists.into_iter().map(|(id, partitions)| TopicPartitions { topic: TopicId(Uuid::from_u128(id)), partitions }).collect()
    }
}

prop_compose! {
    fn classic_member()(
        member_id in ".{0,9}", group_instance_id in prop::option::of(".{0,9}"), client_id in ".{0,9}", client_host in ".{0,9}",
        rebalance_timeout in any::<i32>(), session_timeout in any::<i32>(),
        subscription in prop::collection::vec(any::<u8>(), 0..9), assignment in prop::collection::vec(any::<u8>(), 0..9),
    ) -> GroupMemberValue {
        GroupMemberValue {
            member_id, group_instance_id, client_id, client_host, rebalance_timeout, session_timeout,
            subscription: subscription.into(), assignment: assignment.into(),
        }
    }
}

fn records() -> impl Strategy<Value = GroupRecord> {
    let id = || ".{0,12}";
    let offset =
        (any::<i64>(), any::<i32>(), ".{0,9}", any::<i64>(), any::<u128>()).prop_map(|(o, e, metadata, t, id)| {
            OffsetCommitValue {
                offset: Offset(o),
                leader_epoch: LeaderEpoch(e),
                metadata,
                commit_timestamp: t,
                expire_timestamp: -1,
                topic_id: TopicId(Uuid::from_u128(id)),
            }
        });
    let classic = (".{0,9}", any::<i32>(), prop::option::of(".{0,9}"), prop::collection::vec(classic_member(), 0..3));
    let classic = classic.prop_map(|(protocol_type, generation, protocol, members)| GroupMetadataValue {
        protocol_type,
        generation,
        leader: protocol.clone(),
        protocol,
        current_state_timestamp: i64::from(generation),
        members,
    });
    let current = (any::<i32>(), any::<i32>(), any::<i8>(), some_topics(), some_topics());
    let current = current.prop_map(|(member_epoch, previous_member_epoch, state, assigned, pending_revocation)| {
        CurrentMemberAssignmentValue { member_epoch, previous_member_epoch, state, assigned, pending_revocation }
    });
    prop_oneof![
        (id(), id(), any::<i32>(), prop::option::of(offset))
            .prop_map(|(group, topic, partition, value)| GroupRecord::OffsetCommit { group, topic, partition, value }),
        (id(), prop::option::of(classic)).prop_map(|(group, value)| GroupRecord::GroupMetadata { group, value }),
        (id(), id(), prop::option::of(some_topics()))
            .prop_map(|(group, member, value)| GroupRecord::TargetAssignmentMember { group, member, value }),
        (id(), id(), prop::option::of(current))
            .prop_map(|(group, member, value)| GroupRecord::CurrentMemberAssignment { group, member, value }),
    ]
}

proptest! {
    #[test]
    fn every_record_comes_back(record in records()) {
        let (key, value) = record.encode().unwrap();
        prop_assert_eq!(GroupRecord::decode(&key, value.as_deref()), Ok(record));
    }

    /// Any bytes, and any damage to good ones, give a record or an error, never a panic.
    #[test]
    fn arbitrary_bytes_never_panic(
        record in records(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        version in -1i16..10, junk in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let (key, value) = record.encode().unwrap();
        let mut bad = value.map(|v| v.to_vec()).unwrap_or_default();
        if !bad.is_empty() {
            let at = at.index(bad.len());
            bad[at] = byte;
            let _ = GroupRecord::decode(&key, Some(&bad[..at]));
        }
        let _ = GroupRecord::decode(&key, Some(&bad));
        let mut any_key = version.to_be_bytes().to_vec();
        any_key.extend_from_slice(&junk);
        let _ = GroupRecord::decode(&any_key, Some(&junk));
        let _ = GroupRecord::decode(&key, Some(&junk));
        let _ = GroupRecord::decode(&junk, None);
    }
}
