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
