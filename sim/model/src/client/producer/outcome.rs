//! What an error says about the attempt it answers: whether the records certainly were not appended.
//!
//! A send counts as definitely failed only if every attempt was; anything else is ambiguous, and stays so whatever
//! later attempts bring. An answer to acks=all can come long after the append, so errors that a leader gives also to
//! requests already waiting for replication prove nothing there.

use crate::history::Acks;

/// What an attempt came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// Rejected before anything was appended.
    Rejected,
    /// Perhaps appended.
    Unknown,
}

/// Given before the append only, at every acks.
const REJECTED: &[i16] = &[
    2,  // CORRUPT_MESSAGE
    5,  // LEADER_NOT_AVAILABLE
    10, // MESSAGE_TOO_LARGE
    17, // INVALID_TOPIC_EXCEPTION
    18, // RECORD_LIST_TOO_LARGE
    19, // NOT_ENOUGH_REPLICAS
    21, // INVALID_REQUIRED_ACKS
    29, // TOPIC_AUTHORIZATION_FAILED
    31, // CLUSTER_AUTHORIZATION_FAILED
    32, // INVALID_TIMESTAMP
    35, // UNSUPPORTED_VERSION
    42, // INVALID_REQUEST
    43, // UNSUPPORTED_FOR_MESSAGE_FORMAT
    44, // POLICY_VIOLATION
    45, // OUT_OF_ORDER_SEQUENCE_NUMBER
    47, // INVALID_PRODUCER_EPOCH
    59, // UNKNOWN_PRODUCER_ID
    76, // UNSUPPORTED_COMPRESSION_TYPE
    87, // INVALID_RECORD
    89, // THROTTLING_QUOTA_EXCEEDED
];

/// Given before the append, but with acks=all also to a request that waits for replication when leadership or the
/// replica goes away (Kafka's `DelayedProduce`).
const REJECTED_UNLESS_WAITING: &[i16] = &[
    3,   // UNKNOWN_TOPIC_OR_PARTITION
    6,   // NOT_LEADER_OR_FOLLOWER
    74,  // FENCED_LEADER_EPOCH
    100, // UNKNOWN_TOPIC_ID
    103, // INCONSISTENT_TOPIC_ID
];

/// What the error `code`, in answer to a request with `acks`, says of that attempt.
pub fn attempt(code: i16, acks: Acks) -> Attempt {
    if REJECTED.contains(&code) || (acks != Acks::All && REJECTED_UNLESS_WAITING.contains(&code)) {
        Attempt::Rejected
    } else {
        Attempt::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_precedes_the_append_is_definite() {
        assert_eq!(attempt(19, Acks::All), Attempt::Rejected);
        assert_eq!(attempt(10, Acks::Leader), Attempt::Rejected);
        for ambiguous in [-1, 7, 13, 20, 56, 9999] {
            assert_eq!(attempt(ambiguous, Acks::All), Attempt::Unknown);
            assert_eq!(attempt(ambiguous, Acks::Leader), Attempt::Unknown);
        }
        assert_eq!(attempt(6, Acks::Leader), Attempt::Rejected);
        assert_eq!(attempt(6, Acks::All), Attempt::Unknown);
    }
}
