//! Kafka's error codes as a client needs them: names, and which of them call for another try or newer metadata.
//!
//! Follows `Errors` and the exception classes of Kafka's Java client (`RetriableException`,
//! `InvalidMetadataException`). What an error says about an append is the producer's matter
//! ([`producer::outcome`](super::producer)).

/// No error.
pub const NONE: i16 = 0;
/// The requested offset is outside the log.
pub const OFFSET_OUT_OF_RANGE: i16 = 1;
/// A batch does not match its checksum.
pub const CORRUPT_MESSAGE: i16 = 2;
/// Unknown topic or partition.
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// No leader at the moment.
pub const LEADER_NOT_AVAILABLE: i16 = 5;
/// The broker does not lead the partition.
pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
/// A request timed out, at the broker or here.
pub const REQUEST_TIMED_OUT: i16 = 7;
/// The connection was lost before an answer came.
pub const NETWORK_EXCEPTION: i16 = 13;
/// Not a topic's name.
pub const INVALID_TOPIC_EXCEPTION: i16 = 17;
/// A commit's metadata is too long.
pub const OFFSET_METADATA_TOO_LARGE: i16 = 12;
/// The coordinator is still reading its log.
pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
/// The coordinator is not there, or cannot write.
pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
/// Another broker coordinates the group.
pub const NOT_COORDINATOR: i16 = 16;
/// Of another generation than the group's.
pub const ILLEGAL_GENERATION: i16 = 22;
/// No protocol that all members know.
pub const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
/// Not a group's name.
pub const INVALID_GROUP_ID: i16 = 24;
/// The group has no such member.
pub const UNKNOWN_MEMBER_ID: i16 = 25;
/// The group is rebalancing.
pub const REBALANCE_IN_PROGRESS: i16 = 27;
/// Commits of this size cannot be written.
pub const INVALID_COMMIT_OFFSET_SIZE: i16 = 28;
/// Not allowed to touch the topic.
pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// Not allowed to touch the group.
pub const GROUP_AUTHORIZATION_FAILED: i16 = 30;
/// No common version.
pub const UNSUPPORTED_VERSION: i16 = 35;
/// The topic cannot have that many partitions.
pub const INVALID_PARTITIONS: i16 = 37;
/// The request makes no sense.
pub const INVALID_REQUEST: i16 = 42;
/// The topic exists.
pub const TOPIC_ALREADY_EXISTS: i16 = 36;
/// A gap in a producer's sequence numbers.
pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
/// A batch older than the remembered ones.
pub const DUPLICATE_SEQUENCE_NUMBER: i16 = 46;
/// The partition knows nothing of the producer.
pub const UNKNOWN_PRODUCER_ID: i16 = 59;
/// The request's leader epoch is older than the broker's.
pub const FENCED_LEADER_EPOCH: i16 = 74;
/// The request's leader epoch is newer than the broker's.
pub const UNKNOWN_LEADER_EPOCH: i16 = 75;
/// The leader's high watermark has not caught up since its election.
pub const OFFSET_NOT_AVAILABLE: i16 = 78;
/// The group does not exist.
pub const GROUP_ID_NOT_FOUND: i16 = 69;
/// The member must join under the id that comes with this.
pub const MEMBER_ID_REQUIRED: i16 = 79;
/// Another process has taken the static member's place.
pub const FENCED_INSTANCE_ID: i16 = 82;
/// The offset may yet change.
pub const UNSTABLE_OFFSET_COMMIT: i16 = 88;
/// The member was expelled.
pub const FENCED_MEMBER_EPOCH: i16 = 110;
/// The member has another epoch by now.
pub const STALE_MEMBER_EPOCH: i16 = 113;
/// Anything the broker cannot name.
pub const UNKNOWN_SERVER_ERROR: i16 = -1;

/// What a client does about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Nothing helps.
    Fatal,
    /// Another try may help.
    Retriable,
    /// Another try may help, with newer metadata.
    Stale,
}

use Kind::{Fatal, Retriable, Stale};

const TABLE: &[(i16, &str, Kind)] = &[
    (-1, "UNKNOWN_SERVER_ERROR", Fatal),
    (1, "OFFSET_OUT_OF_RANGE", Fatal),
    (2, "CORRUPT_MESSAGE", Retriable),
    (3, "UNKNOWN_TOPIC_OR_PARTITION", Stale),
    (5, "LEADER_NOT_AVAILABLE", Stale),
    (6, "NOT_LEADER_OR_FOLLOWER", Stale),
    (7, "REQUEST_TIMED_OUT", Retriable),
    (8, "BROKER_NOT_AVAILABLE", Fatal),
    (9, "REPLICA_NOT_AVAILABLE", Stale),
    (10, "MESSAGE_TOO_LARGE", Fatal),
    (12, "OFFSET_METADATA_TOO_LARGE", Fatal),
    (13, "NETWORK_EXCEPTION", Stale),
    (14, "COORDINATOR_LOAD_IN_PROGRESS", Retriable),
    (15, "COORDINATOR_NOT_AVAILABLE", Retriable),
    (16, "NOT_COORDINATOR", Retriable),
    (17, "INVALID_TOPIC_EXCEPTION", Fatal),
    (18, "RECORD_LIST_TOO_LARGE", Fatal),
    (19, "NOT_ENOUGH_REPLICAS", Retriable),
    (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Retriable),
    (21, "INVALID_REQUIRED_ACKS", Fatal),
    (22, "ILLEGAL_GENERATION", Fatal),
    (23, "INCONSISTENT_GROUP_PROTOCOL", Fatal),
    (24, "INVALID_GROUP_ID", Fatal),
    (25, "UNKNOWN_MEMBER_ID", Fatal),
    (26, "INVALID_SESSION_TIMEOUT", Fatal),
    (27, "REBALANCE_IN_PROGRESS", Fatal),
    (28, "INVALID_COMMIT_OFFSET_SIZE", Fatal),
    (29, "TOPIC_AUTHORIZATION_FAILED", Fatal),
    (30, "GROUP_AUTHORIZATION_FAILED", Fatal),
    (31, "CLUSTER_AUTHORIZATION_FAILED", Fatal),
    (32, "INVALID_TIMESTAMP", Fatal),
    (35, "UNSUPPORTED_VERSION", Fatal),
    (36, "TOPIC_ALREADY_EXISTS", Fatal),
    (37, "INVALID_PARTITIONS", Fatal),
    (38, "INVALID_REPLICATION_FACTOR", Fatal),
    (39, "INVALID_REPLICA_ASSIGNMENT", Fatal),
    (40, "INVALID_CONFIG", Fatal),
    (41, "NOT_CONTROLLER", Retriable),
    (42, "INVALID_REQUEST", Fatal),
    (43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Fatal),
    (44, "POLICY_VIOLATION", Fatal),
    (45, "OUT_OF_ORDER_SEQUENCE_NUMBER", Fatal),
    (46, "DUPLICATE_SEQUENCE_NUMBER", Fatal),
    (47, "INVALID_PRODUCER_EPOCH", Fatal),
    (56, "KAFKA_STORAGE_ERROR", Stale),
    (59, "UNKNOWN_PRODUCER_ID", Fatal),
    (68, "NON_EMPTY_GROUP", Fatal),
    (69, "GROUP_ID_NOT_FOUND", Fatal),
    (70, "FETCH_SESSION_ID_NOT_FOUND", Retriable),
    (71, "INVALID_FETCH_SESSION_EPOCH", Retriable),
    (72, "LISTENER_NOT_FOUND", Stale),
    (74, "FENCED_LEADER_EPOCH", Stale),
    (75, "UNKNOWN_LEADER_EPOCH", Retriable),
    (76, "UNSUPPORTED_COMPRESSION_TYPE", Fatal),
    (78, "OFFSET_NOT_AVAILABLE", Retriable),
    (79, "MEMBER_ID_REQUIRED", Fatal),
    (81, "GROUP_MAX_SIZE_REACHED", Fatal),
    (82, "FENCED_INSTANCE_ID", Fatal),
    (87, "INVALID_RECORD", Fatal),
    (88, "UNSTABLE_OFFSET_COMMIT", Retriable),
    (89, "THROTTLING_QUOTA_EXCEEDED", Retriable),
    (100, "UNKNOWN_TOPIC_ID", Stale),
    (103, "INCONSISTENT_TOPIC_ID", Stale),
    (110, "FENCED_MEMBER_EPOCH", Fatal),
    (111, "UNRELEASED_INSTANCE_ID", Fatal),
    (112, "UNSUPPORTED_ASSIGNOR", Fatal),
    (113, "STALE_MEMBER_EPOCH", Fatal),
];

fn row(code: i16) -> Option<&'static (i16, &'static str, Kind)> {
    TABLE.binary_search_by_key(&code, |row| row.0).ok().map(|at| &TABLE[at])
}

/// Kafka's name of a code; of one that is not in the table, `UNKNOWN_SERVER_ERROR`, as Kafka's clients have it.
pub fn name(code: i16) -> &'static str {
    if code == NONE { "NONE" } else { row(code).map_or("UNKNOWN_SERVER_ERROR", |row| row.1) }
}

/// Whether the same request may succeed later.
pub fn is_retriable(code: i16) -> bool {
    row(code).is_some_and(|row| row.2 != Fatal)
}

/// Whether the error shows that the client's metadata is out of date.
pub fn is_stale_metadata(code: i16) -> bool {
    row(code).is_some_and(|row| row.2 == Stale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::error::ResponseError;

    #[test]
    fn the_table_is_sorted_and_agrees_with_the_protocol() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for &(code, name, kind) in TABLE {
            let theirs = ResponseError::try_from_code(code).unwrap();
            let camel: String = name.split('_').map(|w| format!("{}{}", &w[..1], w[1..].to_lowercase())).collect();
            assert_eq!(theirs.to_string(), camel);
            assert_eq!(theirs.is_retriable(), kind != Fatal, "{name}");
        }
        assert_eq!(name(-1), "UNKNOWN_SERVER_ERROR");
        assert_eq!(name(9999), "UNKNOWN_SERVER_ERROR");
        assert!(!is_retriable(NONE) && !is_stale_metadata(NONE));
    }
}
