//! What stands between bytes and the codec crate, which trusts array lengths: a count of 2^31 in a message of twenty
//! bytes makes it ask for gigabytes, and the process dies.
//!
//! A message from a socket, or one within another message, is walked along its layout first: every length and count is
//! held against the bytes that are left, nothing may be null that cannot be, tags rise, and nothing follows the end.
//! What passes makes the codec allocate no more than a small multiple of its bytes, and no more than
//! `MAX_MESSAGE_ELEMENTS` elements. Text is not looked at: the codec refuses what is not UTF-8. Opaque bytes are
//! not looked into: record batches, subscriptions and envelopes are read by readers of their own, which are bounded.
//!
//! The layouts say what Kafka's message definitions (`clients/src/main/resources/common/message/*.json`) say, and the
//! tests hold them against the codec crate in every version.
//!
//! The rooms, in reading order: `layout` (how one is written down), `data`, `groups`, `admin`, `control` (the layouts),
//! `walk`, and [`compose`] (bytes that a layout allows, for tests).

mod admin;
pub mod compose;
mod control;
mod data;
mod groups;
mod layout;
#[cfg(test)]
mod tests;
mod walk;

use crate::ids::ApiKey;
use layout::Layout;
use std::fmt;
use walk::{Stop, walk};

/// The deepest nesting of fields in any layout.
const PATH: usize = 5;

/// Where bytes are not the message they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Of which API.
    pub api: ApiKey,
    /// At which version.
    pub version: i16,
    /// How far the bytes made sense.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
    path: [&'static str; PATH],
}

/// What is wrong with bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// No node here takes this API.
    #[error("this API is not taken here")]
    Api,
    /// The API has no such version here.
    #[error("this version is not taken here")]
    Version,
    /// The bytes end before a field does.
    #[error("{need} bytes are needed, {have} are there")]
    Short {
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// More elements than there are bytes.
    #[error("{count} elements cannot be in {have} bytes")]
    Count {
        /// Elements announced.
        count: usize,
        /// Bytes there.
        have: usize,
    },
    /// More elements than any sensible message has.
    #[error("there are more than {} elements", crate::limits::MAX_MESSAGE_ELEMENTS)]
    TooMany,
    /// A length below -1.
    #[error("a length of {0}")]
    Negative(i64),
    /// Null where there must be something.
    #[error("it must not be null")]
    Null,
    /// Neither null (-1) nor there (1).
    #[error("{0} marks neither a structure nor its absence")]
    Marker(i8),
    /// A variable-length integer of more than 32 bits.
    #[error("a variable-length integer has more than 32 bits")]
    Varint,
    /// Tags must rise.
    #[error("tag {0} is out of order")]
    TagOrder(u32),
    /// A tagged field is shorter than it says.
    #[error("the tagged field says it has {0} bytes more")]
    TagSize(usize),
    /// The whole message is well formed, and bytes are left over behind it.
    #[error("{0} bytes are left over")]
    Trailing(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} version {}", self.api, self.version)?;
        for (depth, name) in self.path.iter().take_while(|name| !name.is_empty()).enumerate() {
            f.write_str(if depth == 0 { ", " } else { "." })?;
            f.write_str(name)?;
        }
        write!(f, " at byte {}: {}", self.offset, self.fault)
    }
}

impl std::error::Error for Malformed {}

/// Whether `body`, what follows a request's header, is a request of this API and version, whole and nothing else.
///
/// # Errors
/// Where it is not.
pub fn check_request(api: ApiKey, version: i16, body: &[u8]) -> Result<(), Malformed> {
    check(api, version, layouts(api).map(|l| l.0), body)
}

/// Whether `body`, what follows a response's header, is a response of this API and version, whole and nothing else.
///
/// # Errors
/// Where it is not.
pub fn check_response(api: ApiKey, version: i16, body: &[u8]) -> Result<(), Malformed> {
    check(api, version, layouts(api).map(|l| l.1), body)
}

fn check(api: ApiKey, version: i16, layout: Option<&Layout>, body: &[u8]) -> Result<(), Malformed> {
    let stop = |fault| Err(Malformed { api, version, offset: 0, fault, path: [""; PATH] });
    let Some(layout) = layout else { return stop(Fault::Api) };
    if !(layout.min..=layout.max).contains(&version) {
        return stop(Fault::Version);
    }
    walk(layout, version, body).map_err(|Stop { fault, at, path }| Malformed { api, version, offset: at, fault, path })
}

/// Request and response of an API.
fn layouts(api: ApiKey) -> Option<(&'static Layout, &'static Layout)> {
    Some(match api {
        ApiKey::Produce => (&data::PRODUCE_REQUEST, &data::PRODUCE_RESPONSE),
        ApiKey::Fetch => (&data::FETCH_REQUEST, &data::FETCH_RESPONSE),
        ApiKey::ListOffsets => (&data::LIST_OFFSETS_REQUEST, &data::LIST_OFFSETS_RESPONSE),
        ApiKey::OffsetForLeaderEpoch => {
            (&data::OFFSET_FOR_LEADER_EPOCH_REQUEST, &data::OFFSET_FOR_LEADER_EPOCH_RESPONSE)
        }
        ApiKey::Metadata => (&data::METADATA_REQUEST, &data::METADATA_RESPONSE),
        ApiKey::InitProducerId => (&data::INIT_PRODUCER_ID_REQUEST, &data::INIT_PRODUCER_ID_RESPONSE),
        ApiKey::ApiVersions => (&data::API_VERSIONS_REQUEST, &data::API_VERSIONS_RESPONSE),
        ApiKey::DescribeCluster => (&data::DESCRIBE_CLUSTER_REQUEST, &data::DESCRIBE_CLUSTER_RESPONSE),
        ApiKey::FindCoordinator => (&groups::FIND_COORDINATOR_REQUEST, &groups::FIND_COORDINATOR_RESPONSE),
        ApiKey::JoinGroup => (&groups::JOIN_GROUP_REQUEST, &groups::JOIN_GROUP_RESPONSE),
        ApiKey::SyncGroup => (&groups::SYNC_GROUP_REQUEST, &groups::SYNC_GROUP_RESPONSE),
        ApiKey::Heartbeat => (&groups::HEARTBEAT_REQUEST, &groups::HEARTBEAT_RESPONSE),
        ApiKey::LeaveGroup => (&groups::LEAVE_GROUP_REQUEST, &groups::LEAVE_GROUP_RESPONSE),
        ApiKey::OffsetCommit => (&groups::OFFSET_COMMIT_REQUEST, &groups::OFFSET_COMMIT_RESPONSE),
        ApiKey::OffsetFetch => (&groups::OFFSET_FETCH_REQUEST, &groups::OFFSET_FETCH_RESPONSE),
        ApiKey::OffsetDelete => (&groups::OFFSET_DELETE_REQUEST, &groups::OFFSET_DELETE_RESPONSE),
        ApiKey::DescribeGroups => (&groups::DESCRIBE_GROUPS_REQUEST, &groups::DESCRIBE_GROUPS_RESPONSE),
        ApiKey::ListGroups => (&groups::LIST_GROUPS_REQUEST, &groups::LIST_GROUPS_RESPONSE),
        ApiKey::DeleteGroups => (&groups::DELETE_GROUPS_REQUEST, &groups::DELETE_GROUPS_RESPONSE),
        ApiKey::ConsumerGroupHeartbeat => {
            (&groups::CONSUMER_GROUP_HEARTBEAT_REQUEST, &groups::CONSUMER_GROUP_HEARTBEAT_RESPONSE)
        }
        ApiKey::ConsumerGroupDescribe => {
            (&groups::CONSUMER_GROUP_DESCRIBE_REQUEST, &groups::CONSUMER_GROUP_DESCRIBE_RESPONSE)
        }
        ApiKey::CreateTopics => (&admin::CREATE_TOPICS_REQUEST, &admin::CREATE_TOPICS_RESPONSE),
        ApiKey::DeleteTopics => (&admin::DELETE_TOPICS_REQUEST, &admin::DELETE_TOPICS_RESPONSE),
        ApiKey::DeleteRecords => (&admin::DELETE_RECORDS_REQUEST, &admin::DELETE_RECORDS_RESPONSE),
        ApiKey::CreatePartitions => (&admin::CREATE_PARTITIONS_REQUEST, &admin::CREATE_PARTITIONS_RESPONSE),
        ApiKey::DescribeConfigs => (&admin::DESCRIBE_CONFIGS_REQUEST, &admin::DESCRIBE_CONFIGS_RESPONSE),
        ApiKey::AlterConfigs => (&admin::ALTER_CONFIGS_REQUEST, &admin::ALTER_CONFIGS_RESPONSE),
        ApiKey::IncrementalAlterConfigs => {
            (&admin::INCREMENTAL_ALTER_CONFIGS_REQUEST, &admin::INCREMENTAL_ALTER_CONFIGS_RESPONSE)
        }
        ApiKey::AlterPartition => (&control::ALTER_PARTITION_REQUEST, &control::ALTER_PARTITION_RESPONSE),
        ApiKey::Envelope => (&control::ENVELOPE_REQUEST, &control::ENVELOPE_RESPONSE),
        ApiKey::BrokerRegistration => (&control::BROKER_REGISTRATION_REQUEST, &control::BROKER_REGISTRATION_RESPONSE),
        ApiKey::BrokerHeartbeat => (&control::BROKER_HEARTBEAT_REQUEST, &control::BROKER_HEARTBEAT_RESPONSE),
        ApiKey::AllocateProducerIds => {
            (&control::ALLOCATE_PRODUCER_IDS_REQUEST, &control::ALLOCATE_PRODUCER_IDS_RESPONSE)
        }
        _ => return None,
    })
}
