//! The bytes of the records of `__cluster_metadata`.
//!
//! A value is framed as Kafka's `MetadataRecordSerde` does it: frame version, record type and version as unsigned
//! varints, then the body. Written are the versions of `metadata.version` 4.0; read is every version Kafka has. What
//! the model has no use for (features of a broker, directories and reassignments of a partition) is written as
//! Kafka writes it when there is none, and passed over when read.

use super::metadata::*;
use super::wire::{Reader, SchemaError, Tags, Writer};
use crate::ids::*;
use bytes::{BufMut, Bytes};

/// The frame version, the only one there is.
const FRAME_VERSION: u32 = 1;
/// "The leader did not change."
const NO_LEADER_CHANGE: i32 = -2;

/// A schema's number and the version written.
struct Schema {
    api_key: u32,
    version: u32,
}

const fn schema(api_key: u32, version: u32) -> Schema {
    Schema { api_key, version }
}

const REGISTER_BROKER: Schema = schema(0, 3);
const UNREGISTER_BROKER: Schema = schema(1, 0);
const TOPIC: Schema = schema(2, 0);
const PARTITION: Schema = schema(3, 2);
const CONFIG: Schema = schema(4, 0);
const PARTITION_CHANGE: Schema = schema(5, 2);
const REMOVE_TOPIC: Schema = schema(9, 0);
const FEATURE_LEVEL: Schema = schema(12, 0);
const PRODUCER_IDS: Schema = schema(15, 0);
const BROKER_REGISTRATION_CHANGE: Schema = schema(17, 2);
const NO_OP: Schema = schema(20, 0);

const SCHEMAS: [Schema; 11] = [
    REGISTER_BROKER,
    UNREGISTER_BROKER,
    TOPIC,
    PARTITION,
    CONFIG,
    PARTITION_CHANGE,
    REMOVE_TOPIC,
    FEATURE_LEVEL,
    PRODUCER_IDS,
    BROKER_REGISTRATION_CHANGE,
    NO_OP,
];

impl MetadataRecord {
    fn schema(&self) -> Schema {
        match self {
            MetadataRecord::RegisterBroker(_) => REGISTER_BROKER,
            MetadataRecord::UnregisterBroker { .. } => UNREGISTER_BROKER,
            MetadataRecord::Topic { .. } => TOPIC,
            MetadataRecord::Partition(_) => PARTITION,
            MetadataRecord::Config { .. } => CONFIG,
            MetadataRecord::PartitionChange(_) => PARTITION_CHANGE,
            MetadataRecord::RemoveTopic { .. } => REMOVE_TOPIC,
            MetadataRecord::FeatureLevel { .. } => FEATURE_LEVEL,
            MetadataRecord::ProducerIds { .. } => PRODUCER_IDS,
            MetadataRecord::BrokerRegistrationChange(_) => BROKER_REGISTRATION_CHANGE,
            MetadataRecord::NoOp => NO_OP,
        }
    }

    /// The value of a record that says this.
    pub fn encode(&self) -> Bytes {
        let Schema { api_key, version } = self.schema();
        let mut w = Writer::default();
        w.unsigned_varint(FRAME_VERSION);
        w.unsigned_varint(api_key);
        w.unsigned_varint(version);
        match self {
            MetadataRecord::RegisterBroker(r) => write_register_broker(&mut w, r),
            MetadataRecord::UnregisterBroker { broker_id, broker_epoch } => {
                w.buf.put_i32(broker_id.0);
                w.buf.put_i64(broker_epoch.0);
                w.no_tags();
            }
            MetadataRecord::Topic { name, topic_id } => {
                w.string(name);
                w.uuid(topic_id.0);
                w.no_tags();
            }
            MetadataRecord::Partition(r) => write_partition(&mut w, r),
            MetadataRecord::Config { resource_type, resource_name, name, value } => {
                w.buf.put_i8(*resource_type);
                w.string(resource_name);
                w.string(name);
                w.nullable_string(value.as_deref());
                w.no_tags();
            }
            MetadataRecord::PartitionChange(r) => write_partition_change(&mut w, r),
            MetadataRecord::RemoveTopic { topic_id } => {
                w.uuid(topic_id.0);
                w.no_tags();
            }
            MetadataRecord::FeatureLevel { name, level } => {
                w.string(name);
                w.buf.put_i16(*level);
                w.no_tags();
            }
            MetadataRecord::ProducerIds { broker_id, broker_epoch, next_producer_id } => {
                w.buf.put_i32(broker_id.0);
                w.buf.put_i64(broker_epoch.0);
                w.buf.put_i64(*next_producer_id);
                w.no_tags();
            }
            MetadataRecord::BrokerRegistrationChange(r) => write_registration_change(&mut w, r),
            MetadataRecord::NoOp => w.no_tags(),
        }
        w.buf.freeze()
    }

    /// What the value of a record says.
    ///
    /// # Errors
    /// [`SchemaError`], for bytes that Kafka's own reader would refuse, and for types that no node here replays.
    pub fn decode(bytes: &[u8]) -> Result<MetadataRecord, SchemaError> {
        let mut r = Reader::new(bytes);
        let frame = r.unsigned_varint()?;
        if frame != FRAME_VERSION {
            return Err(SchemaError::FrameVersion(frame));
        }
        let (api_key, version) = (r.unsigned_varint()?, r.unsigned_varint()?);
        let known = SCHEMAS.iter().find(|s| s.api_key == api_key).ok_or(SchemaError::UnknownType(api_key))?;
        if version > known.version {
            return Err(SchemaError::UnknownVersion { api_key, version });
        }
        let record = read_body(&mut r, known, version)?;
        if r.left() > 0 {
            return Err(SchemaError::Trailing(r.left()));
        }
        Ok(record)
    }
}

fn read_body(r: &mut Reader<'_>, schema: &Schema, version: u32) -> Result<MetadataRecord, SchemaError> {
    const KEY_REGISTER: u32 = REGISTER_BROKER.api_key;
    const KEY_PARTITION: u32 = PARTITION.api_key;
    const KEY_CHANGE: u32 = PARTITION_CHANGE.api_key;
    const KEY_REGISTRATION_CHANGE: u32 = BROKER_REGISTRATION_CHANGE.api_key;
    let record = match schema.api_key {
        // These have tagged fields of their own.
        KEY_REGISTER => return read_register_broker(r, version),
        KEY_PARTITION => return read_partition(r, version),
        KEY_CHANGE => return read_partition_change(r),
        KEY_REGISTRATION_CHANGE => return read_registration_change(r),
        1 => MetadataRecord::UnregisterBroker { broker_id: r.node()?, broker_epoch: BrokerEpoch(r.i64()?) },
        2 => MetadataRecord::Topic { name: r.string()?, topic_id: TopicId(r.uuid()?) },
        4 => MetadataRecord::Config {
            resource_type: r.i8()?,
            resource_name: r.string()?,
            name: r.string()?,
            value: r.nullable_string()?,
        },
        9 => MetadataRecord::RemoveTopic { topic_id: TopicId(r.uuid()?) },
        12 => MetadataRecord::FeatureLevel { name: r.string()?, level: r.i16()? },
        15 => MetadataRecord::ProducerIds {
            broker_id: r.node()?,
            broker_epoch: BrokerEpoch(r.i64()?),
            next_producer_id: r.i64()?,
        },
        20 => MetadataRecord::NoOp,
        other => unreachable!("schema {other} is in the table and not here"),
    };
    r.skip_tags()?;
    Ok(record)
}

fn write_register_broker(w: &mut Writer, r: &RegisterBrokerRecord) {
    w.buf.put_i32(r.broker_id.0);
    w.bool(false); // no broker migrates from ZooKeeper
    w.uuid(r.incarnation_id);
    w.buf.put_i64(r.broker_epoch.0);
    w.array_len(r.endpoints.len());
    for e in &r.endpoints {
        w.string(&e.name);
        w.string(&e.host);
        w.buf.put_u16(e.port);
        w.buf.put_i16(0); // PLAINTEXT
        w.no_tags();
    }
    w.array_len(0); // features
    w.nullable_string(r.rack.as_deref());
    w.bool(r.fenced);
    w.bool(r.in_controlled_shutdown);
    let mut tags = Tags::default();
    tags.put(0, (!r.log_dirs.is_empty()).then_some(&r.log_dirs), |w, dirs| w.uuids(dirs));
    w.tags(tags);
}

fn read_register_broker(r: &mut Reader<'_>, version: u32) -> Result<MetadataRecord, SchemaError> {
    let broker_id = r.node()?;
    if version >= 2 {
        r.bool()?;
    }
    let incarnation_id = r.uuid()?;
    let broker_epoch = BrokerEpoch(r.i64()?);
    let endpoints = r.items(7, |r| {
        let endpoint = BrokerEndpoint { name: r.string()?, host: r.string()?, port: r.u16()? };
        r.i16()?;
        r.skip_tags()?;
        Ok(endpoint)
    })?;
    r.items(6, |r| {
        r.string()?;
        r.i16()?;
        r.i16()?;
        r.skip_tags()
    })?;
    let rack = r.nullable_string()?;
    let fenced = r.bool()?;
    let in_controlled_shutdown = if version >= 1 { r.bool()? } else { false };
    let mut log_dirs = Vec::new();
    r.tags(|tag, r| {
        if tag == 0 && version >= 3 {
            log_dirs = r.uuids()?;
        }
        Ok(())
    })?;
    Ok(MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id,
        incarnation_id,
        broker_epoch,
        endpoints,
        rack,
        fenced,
        in_controlled_shutdown,
        log_dirs,
    }))
}

fn write_registration_change(w: &mut Writer, r: &BrokerRegistrationChangeRecord) {
    w.buf.put_i32(r.broker_id.0);
    w.buf.put_i64(r.broker_epoch.0);
    let mut tags = Tags::default();
    tags.put(0, r.fenced, |w, fenced| w.buf.put_i8(if fenced { 1 } else { -1 }));
    // Kafka has no way to say that a broker has left controlled shutdown but a new registration.
    debug_assert_ne!(r.in_controlled_shutdown, Some(false));
    tags.put(1, r.in_controlled_shutdown.filter(|&s| s), |w, _| w.buf.put_i8(1));
    w.tags(tags);
}

fn read_registration_change(r: &mut Reader<'_>) -> Result<MetadataRecord, SchemaError> {
    let (broker_id, broker_epoch) = (r.node()?, BrokerEpoch(r.i64()?));
    let (mut fenced, mut in_controlled_shutdown) = (None, None);
    r.tags(|tag, r| {
        match tag {
            0 => {
                fenced = match r.i8()? {
                    -1 => Some(false),
                    0 => None,
                    1 => Some(true),
                    _ => return Err(SchemaError::BadValue("Fenced")),
                }
            }
            1 => {
                in_controlled_shutdown = match r.i8()? {
                    0 => None,
                    1 => Some(true),
                    _ => return Err(SchemaError::BadValue("InControlledShutdown")),
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    let change = BrokerRegistrationChangeRecord { broker_id, broker_epoch, fenced, in_controlled_shutdown };
    Ok(MetadataRecord::BrokerRegistrationChange(change))
}

fn write_partition(w: &mut Writer, r: &PartitionRecord) {
    w.buf.put_i32(r.partition.partition);
    w.uuid(r.partition.topic.0);
    w.nodes(&r.replicas);
    w.nodes(&r.isr);
    w.nodes(&[]); // removing replicas
    w.nodes(&[]); // adding replicas
    w.buf.put_i32(r.leader.0);
    w.buf.put_i32(r.leader_epoch.0);
    w.buf.put_i32(r.partition_epoch.0);
    w.uuids(&vec![Uuid::nil(); r.replicas.len()]); // Kafka's `DirectoryId.UNASSIGNED` for each
    let mut tags = Tags::default();
    tags.put(1, (!r.elr.is_empty()).then_some(&r.elr), |w, elr| w.nodes(elr));
    tags.put(2, (!r.last_known_elr.is_empty()).then_some(&r.last_known_elr), |w, elr| w.nodes(elr));
    w.tags(tags);
}

fn read_partition(r: &mut Reader<'_>, version: u32) -> Result<MetadataRecord, SchemaError> {
    let partition = r.i32()?;
    let topic = TopicId(r.uuid()?);
    let (replicas, isr) = (r.nodes()?, r.nodes()?);
    r.nodes()?;
    r.nodes()?;
    let leader = r.node()?;
    let (leader_epoch, partition_epoch) = (LeaderEpoch(r.i32()?), PartitionEpoch(r.i32()?));
    if version >= 1 {
        r.uuids()?;
    }
    let (mut elr, mut last_known_elr) = (Vec::new(), Vec::new());
    r.tags(|tag, r| {
        match tag {
            1 if version >= 2 => elr = r.nullable_nodes()?.unwrap_or_default(),
            2 if version >= 2 => last_known_elr = r.nullable_nodes()?.unwrap_or_default(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(MetadataRecord::Partition(PartitionRecord {
        partition: TopicIdPartition { topic, partition },
        replicas,
        isr,
        leader,
        leader_epoch,
        partition_epoch,
        elr,
        last_known_elr,
    }))
}

fn write_partition_change(w: &mut Writer, r: &PartitionChangeRecord) {
    w.buf.put_i32(r.partition.partition);
    w.uuid(r.partition.topic.0);
    let mut tags = Tags::default();
    tags.put(0, r.isr.as_ref(), |w, isr| w.nodes(isr));
    tags.put(1, r.leader, |w, leader| w.buf.put_i32(leader.0));
    tags.put(2, r.replicas.as_ref(), |w, replicas| w.nodes(replicas));
    tags.put(5, r.leader_recovery_state, |w, state| w.buf.put_i8(state));
    tags.put(6, r.elr.as_ref(), |w, elr| w.nodes(elr));
    tags.put(7, r.last_known_elr.as_ref(), |w, elr| w.nodes(elr));
    w.tags(tags);
}

fn read_partition_change(r: &mut Reader<'_>) -> Result<MetadataRecord, SchemaError> {
    let partition = r.i32()?;
    let mut change = PartitionChangeRecord::of(TopicIdPartition { topic: TopicId(r.uuid()?), partition });
    r.tags(|tag, r| {
        match tag {
            0 => change.isr = r.nullable_nodes()?,
            1 => change.leader = Some(r.i32()?).filter(|&id| id != NO_LEADER_CHANGE).map(NodeId),
            2 => change.replicas = r.nullable_nodes()?,
            5 => change.leader_recovery_state = Some(r.i8()?).filter(|&state| state != -1),
            6 => change.elr = r.nullable_nodes()?,
            7 => change.last_known_elr = r.nullable_nodes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(MetadataRecord::PartitionChange(change))
}

#[cfg(test)]
mod tests {
    use super::*;
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
            (
                MetadataRecord::Topic { name: "foo".into(), topic_id: TopicId(ID) },
                format!("01 02 00 04666f6f {ID_HEX} 00"),
            ),
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
                MetadataRecord::ProducerIds {
                    broker_id: NodeId(1),
                    broker_epoch: BrokerEpoch(2),
                    next_producer_id: 1000,
                },
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
}
