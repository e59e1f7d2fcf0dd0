//! The bytes of the records of `__consumer_offsets`.
//!
//! Key and value each begin with a version of two bytes; the key's version is the record's type. Written is what Kafka
//! 4.1 writes: offsets in version 4 (version 1 if they carry an expiry of their own, the only version that has a place
//! for it), classic groups in version 3, KIP-848 records in version 0. Read is every version Kafka reads. Follows
//! `GroupCoordinatorRecordSerde` and `GroupCoordinatorRecordHelpers`.

use super::group::*;
use super::wire::{Reader, SchemaError, Tags, Writer};
use crate::ids::*;
use bytes::{BufMut, Bytes};

const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
const CONSUMER_GROUP_METADATA: i16 = 3;
const CONSUMER_GROUP_MEMBER: i16 = 5;
const TARGET_ASSIGNMENT_METADATA: i16 = 6;
const TARGET_ASSIGNMENT_MEMBER: i16 = 7;
const CURRENT_MEMBER_ASSIGNMENT: i16 = 8;

/// Without a tagged field: what a group knows of its topics was written elsewhere before KIP-1101.
const NO_HASH: i64 = 0;

impl GroupRecord {
    /// The group it is about.
    pub fn group(&self) -> &str {
        match self {
            GroupRecord::OffsetCommit { group, .. }
            | GroupRecord::GroupMetadata { group, .. }
            | GroupRecord::ConsumerGroupMetadata { group, .. }
            | GroupRecord::ConsumerGroupMember { group, .. }
            | GroupRecord::TargetAssignmentMetadata { group, .. }
            | GroupRecord::TargetAssignmentMember { group, .. }
            | GroupRecord::CurrentMemberAssignment { group, .. } => group,
        }
    }

    /// Key and value of a record that says this; no value for a tombstone.
    ///
    /// # Errors
    /// [`SchemaError::TooLong`], for a string that Kafka's field has no room for.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), SchemaError> {
        Ok((self.encode_key()?, self.encode_value()?))
    }

    fn encode_key(&self) -> Result<Bytes, SchemaError> {
        let (version, member) = match self {
            GroupRecord::OffsetCommit { .. } => (OFFSET_COMMIT, None),
            GroupRecord::GroupMetadata { .. } => (GROUP_METADATA, None),
            GroupRecord::ConsumerGroupMetadata { .. } => (CONSUMER_GROUP_METADATA, None),
            GroupRecord::ConsumerGroupMember { member, .. } => (CONSUMER_GROUP_MEMBER, Some(member)),
            GroupRecord::TargetAssignmentMetadata { .. } => (TARGET_ASSIGNMENT_METADATA, None),
            GroupRecord::TargetAssignmentMember { member, .. } => (TARGET_ASSIGNMENT_MEMBER, Some(member)),
            GroupRecord::CurrentMemberAssignment { member, .. } => (CURRENT_MEMBER_ASSIGNMENT, Some(member)),
        };
        let mut w = Writer::default();
        w.buf.put_i16(version);
        w.old_string(self.group())?;
        if let Some(member) = member {
            w.old_string(member)?;
        }
        if let GroupRecord::OffsetCommit { topic, partition, .. } = self {
            w.old_string(topic)?;
            w.buf.put_i32(*partition);
        }
        Ok(w.buf.freeze())
    }

    fn encode_value(&self) -> Result<Option<Bytes>, SchemaError> {
        let mut w = Writer::default();
        match self {
            GroupRecord::OffsetCommit { value: Some(v), .. } => write_offset_commit(&mut w, v)?,
            GroupRecord::GroupMetadata { value: Some(v), .. } => write_group_metadata(&mut w, v)?,
            GroupRecord::ConsumerGroupMetadata { value: Some(v), .. } => {
                w.buf.put_i16(0);
                w.buf.put_i32(v.epoch);
                let mut tags = Tags::default();
                tags.put(0, (v.metadata_hash != NO_HASH).then_some(v.metadata_hash), |w, hash| w.buf.put_i64(hash));
                w.tags(tags);
            }
            GroupRecord::ConsumerGroupMember { value: Some(v), .. } => write_member(&mut w, v),
            GroupRecord::TargetAssignmentMetadata { value: Some(epoch), .. } => {
                w.buf.put_i16(0);
                w.buf.put_i32(*epoch);
                w.no_tags();
            }
            GroupRecord::TargetAssignmentMember { value: Some(v), .. } => {
                w.buf.put_i16(0);
                write_topics(&mut w, v);
                w.no_tags();
            }
            GroupRecord::CurrentMemberAssignment { value: Some(v), .. } => {
                w.buf.put_i16(0);
                w.buf.put_i32(v.member_epoch);
                w.buf.put_i32(v.previous_member_epoch);
                w.buf.put_i8(v.state);
                write_topics(&mut w, &v.assigned);
                write_topics(&mut w, &v.pending_revocation);
                w.no_tags();
            }
            _ => return Ok(None),
        }
        Ok(Some(w.buf.freeze()))
    }

    /// What a record says.
    ///
    /// # Errors
    /// [`SchemaError`], for bytes that Kafka's own reader would refuse, and [`SchemaError::UnknownType`] for types that
    /// no coordinator here replays: those are to be passed over.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<GroupRecord, SchemaError> {
        let mut k = Reader::new(key);
        let version = k.i16()?;
        let mut r = value.map(Reader::new);
        let record = match version {
            0 | OFFSET_COMMIT => GroupRecord::OffsetCommit {
                group: k.old_string()?,
                topic: k.old_string()?,
                partition: k.i32()?,
                value: read(&mut r, read_offset_commit)?,
            },
            GROUP_METADATA => {
                GroupRecord::GroupMetadata { group: k.old_string()?, value: read(&mut r, read_group_metadata)? }
            }
            CONSUMER_GROUP_METADATA => {
                GroupRecord::ConsumerGroupMetadata { group: k.old_string()?, value: read(&mut r, read_consumer_group)? }
            }
            CONSUMER_GROUP_MEMBER => GroupRecord::ConsumerGroupMember {
                group: k.old_string()?,
                member: k.old_string()?,
                value: read(&mut r, read_member)?,
            },
            TARGET_ASSIGNMENT_METADATA => GroupRecord::TargetAssignmentMetadata {
                group: k.old_string()?,
                value: read(&mut r, |r| {
                    version_of(r, version, 0)?;
                    let epoch = r.i32()?;
                    r.skip_tags()?;
                    Ok(epoch)
                })?,
            },
            TARGET_ASSIGNMENT_MEMBER => GroupRecord::TargetAssignmentMember {
                group: k.old_string()?,
                member: k.old_string()?,
                value: read(&mut r, |r| {
                    version_of(r, version, 0)?;
                    let topics = read_topics(r)?;
                    r.skip_tags()?;
                    Ok(topics)
                })?,
            },
            CURRENT_MEMBER_ASSIGNMENT => GroupRecord::CurrentMemberAssignment {
                group: k.old_string()?,
                member: k.old_string()?,
                value: read(&mut r, read_current_assignment)?,
            },
            other => return Err(SchemaError::UnknownType(other as u16 as u32)),
        };
        match (k.left(), r.map_or(0, |r| r.left())) {
            (0, 0) => Ok(record),
            (key, value) => Err(SchemaError::Trailing(key + value)),
        }
    }
}

fn read<T>(
    r: &mut Option<Reader<'_>>,
    f: impl FnOnce(&mut Reader<'_>) -> Result<T, SchemaError>,
) -> Result<Option<T>, SchemaError> {
    r.as_mut().map(f).transpose()
}

fn version_of(r: &mut Reader<'_>, key: i16, highest: i16) -> Result<i16, SchemaError> {
    let version = r.i16()?;
    if (0..=highest).contains(&version) {
        return Ok(version);
    }
    Err(SchemaError::UnknownVersion { api_key: key as u32, version: version as u16 as u32 })
}

fn write_offset_commit(w: &mut Writer, v: &OffsetCommitValue) -> Result<(), SchemaError> {
    if v.expire_timestamp >= 0 {
        w.buf.put_i16(1);
        w.buf.put_i64(v.offset.0);
        w.old_string(&v.metadata)?;
        w.buf.put_i64(v.commit_timestamp);
        w.buf.put_i64(v.expire_timestamp);
        return Ok(());
    }
    w.buf.put_i16(4);
    w.buf.put_i64(v.offset.0);
    w.buf.put_i32(v.leader_epoch.0);
    w.string(&v.metadata);
    w.buf.put_i64(v.commit_timestamp);
    let mut tags = Tags::default();
    tags.put(0, (v.topic_id != TopicId::ZERO).then_some(v.topic_id.0), |w, id| w.uuid(id));
    w.tags(tags);
    Ok(())
}

fn read_offset_commit(r: &mut Reader<'_>) -> Result<OffsetCommitValue, SchemaError> {
    let version = version_of(r, OFFSET_COMMIT, 4)?;
    let offset = Offset(r.i64()?);
    let leader_epoch = if version >= 3 { LeaderEpoch(r.i32()?) } else { LeaderEpoch::NONE };
    let metadata = if version >= 4 { r.string()? } else { r.old_string()? };
    let commit_timestamp = r.i64()?;
    let expire_timestamp = if version == 1 { r.i64()? } else { -1 };
    let mut topic_id = TopicId::ZERO;
    if version >= 4 {
        r.tags(|tag, r| {
            if tag == 0 {
                topic_id = TopicId(r.uuid()?);
            }
            Ok(())
        })?;
    }
    Ok(OffsetCommitValue { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp, topic_id })
}

fn write_group_metadata(w: &mut Writer, v: &GroupMetadataValue) -> Result<(), SchemaError> {
    w.buf.put_i16(3);
    w.old_string(&v.protocol_type)?;
    w.buf.put_i32(v.generation);
    w.old_nullable_string(v.protocol.as_deref())?;
    w.old_nullable_string(v.leader.as_deref())?;
    w.buf.put_i64(v.current_state_timestamp);
    w.buf.put_i32(v.members.len() as i32);
    for m in &v.members {
        w.old_string(&m.member_id)?;
        w.old_nullable_string(m.group_instance_id.as_deref())?;
        w.old_string(&m.client_id)?;
        w.old_string(&m.client_host)?;
        w.buf.put_i32(m.rebalance_timeout);
        w.buf.put_i32(m.session_timeout);
        w.old_bytes(&m.subscription)?;
        w.old_bytes(&m.assignment)?;
    }
    Ok(())
}

fn read_group_metadata(r: &mut Reader<'_>) -> Result<GroupMetadataValue, SchemaError> {
    let version = version_of(r, GROUP_METADATA, 4)?;
    let flexible = version >= 4;
    let string = |r: &mut Reader<'_>| if flexible { r.string() } else { r.old_string() };
    let nullable = |r: &mut Reader<'_>| if flexible { r.nullable_string() } else { r.old_nullable_string() };
    let bytes = |r: &mut Reader<'_>| {
        let bytes = if flexible { r.compact_bytes()? } else { r.old_bytes()? };
        Ok::<_, SchemaError>(Bytes::copy_from_slice(bytes))
    };
    let (protocol_type, generation) = (string(r)?, r.i32()?);
    let (protocol, leader) = (nullable(r)?, nullable(r)?);
    let current_state_timestamp = if version >= 2 { r.i64()? } else { -1 };
    let member = |r: &mut Reader<'_>| {
        let member = GroupMemberValue {
            member_id: string(r)?,
            group_instance_id: if version >= 3 { nullable(r)? } else { None },
            client_id: string(r)?,
            client_host: string(r)?,
            rebalance_timeout: if version >= 1 { r.i32()? } else { -1 },
            session_timeout: r.i32()?,
            subscription: bytes(r)?,
            assignment: bytes(r)?,
        };
        if flexible {
            r.skip_tags()?;
        }
        Ok(member)
    };
    // The least a member can take: three strings, a session and two lots of bytes, all of them empty.
    let members = if flexible { r.items(9, member)? } else { r.old_items(18, member)? };
    if flexible {
        r.skip_tags()?;
    }
    Ok(GroupMetadataValue { protocol_type, generation, protocol, leader, current_state_timestamp, members })
}

fn read_consumer_group(r: &mut Reader<'_>) -> Result<ConsumerGroupMetadataValue, SchemaError> {
    version_of(r, CONSUMER_GROUP_METADATA, 0)?;
    let epoch = r.i32()?;
    let mut metadata_hash = NO_HASH;
    r.tags(|tag, r| {
        if tag == 0 {
            metadata_hash = r.i64()?;
        }
        Ok(())
    })?;
    Ok(ConsumerGroupMetadataValue { epoch, metadata_hash })
}

fn write_member(w: &mut Writer, v: &ConsumerGroupMemberValue) {
    w.buf.put_i16(0);
    w.nullable_string(v.instance_id.as_deref());
    w.nullable_string(v.rack_id.as_deref());
    w.string(&v.client_id);
    w.string(&v.client_host);
    w.array_len(v.subscribed_topic_names.len());
    for name in &v.subscribed_topic_names {
        w.string(name);
    }
    w.nullable_string(None); // no pattern
    w.buf.put_i32(v.rebalance_timeout);
    w.nullable_string(v.server_assignor.as_deref());
    w.no_tags(); // no member of a classic protocol in a KIP-848 group
}

fn read_member(r: &mut Reader<'_>) -> Result<ConsumerGroupMemberValue, SchemaError> {
    version_of(r, CONSUMER_GROUP_MEMBER, 0)?;
    let (instance_id, rack_id) = (r.nullable_string()?, r.nullable_string()?);
    let (client_id, client_host) = (r.string()?, r.string()?);
    let subscribed_topic_names = r.items(1, Reader::string)?;
    r.nullable_string()?;
    let rebalance_timeout = r.i32()?;
    let server_assignor = r.nullable_string()?;
    r.skip_tags()?;
    Ok(ConsumerGroupMemberValue {
        instance_id,
        rack_id,
        client_id,
        client_host,
        subscribed_topic_names,
        rebalance_timeout,
        server_assignor,
    })
}

fn write_topics(w: &mut Writer, topics: &[TopicPartitions]) {
    w.array_len(topics.len());
    for t in topics {
        w.uuid(t.topic.0);
        w.array_len(t.partitions.len());
        for &p in &t.partitions {
            w.buf.put_i32(p);
        }
        w.no_tags();
    }
}

fn read_topics(r: &mut Reader<'_>) -> Result<Vec<TopicPartitions>, SchemaError> {
    r.items(18, |r| {
        let topic = TopicPartitions { topic: TopicId(r.uuid()?), partitions: r.items(4, Reader::i32)? };
        r.skip_tags()?;
        Ok(topic)
    })
}

fn read_current_assignment(r: &mut Reader<'_>) -> Result<CurrentMemberAssignmentValue, SchemaError> {
    version_of(r, CURRENT_MEMBER_ASSIGNMENT, 0)?;
    let value = CurrentMemberAssignmentValue {
        member_epoch: r.i32()?,
        previous_member_epoch: r.i32()?,
        state: r.i8()?,
        assigned: read_topics(r)?,
        pending_revocation: read_topics(r)?,
    };
    r.skip_tags()?;
    Ok(value)
}
