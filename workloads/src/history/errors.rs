//! What an error says about a send: whether nothing was appended, or whether that is unknown.
//!
//! A send has *failed* only if every attempt was rejected before it was appended. Kafka's clients report one error for
//! a send, and some of these errors say nothing about the append: the request may have been carried out, or carried out
//! later. Such a send is `info`.

/// What an error leaves open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Open {
    /// The error, by its names: Kafka's, librdkafka's, and those of the Java client's exceptions.
    names: &'static [&'static str],
    /// Why it does not mean that nothing was appended.
    why: &'static str,
}

const OPEN: &[Open] = &[
    Open {
        names: &["NOT_ENOUGH_REPLICAS_AFTER_APPEND", "NotEnoughReplicasAfterAppendException"],
        why: "the leader has appended the record; only its replication is in doubt",
    },
    Open {
        names: &[
            "REQUEST_TIMED_OUT",
            "_TIMED_OUT",
            "_MSG_TIMED_OUT",
            "_TIMED_OUT_QUEUE",
            "TimeoutException",
            "timeout",
        ],
        why: "a request that timed out may have been carried out, or may yet be",
    },
    Open {
        names: &[
            "NETWORK_EXCEPTION",
            "NetworkException",
            "_TRANSPORT",
            "_ALL_BROKERS_DOWN",
            "_FAIL",
            "DisconnectException",
        ],
        why: "the connection was lost before an answer came; the request may have arrived",
    },
    Open {
        names: &["UNKNOWN_SERVER_ERROR", "UNKNOWN", "UnknownServerException"],
        why: "the broker does not say how far the request got",
    },
    Open {
        names: &["KAFKA_STORAGE_ERROR", "KafkaStorageException"],
        why: "the disk failed; what it holds is not known",
    },
    Open {
        names: &["OUT_OF_ORDER_SEQUENCE_NUMBER", "OutOfOrderSequenceException"],
        why: "the sequence shows that an earlier attempt is in doubt",
    },
    Open {
        names: &["DUPLICATE_SEQUENCE_NUMBER", "DuplicateSequenceException"],
        why: "the broker has the record from an earlier attempt, or had it",
    },
    Open {
        names: &["UNKNOWN_PRODUCER_ID", "UnknownProducerIdException"],
        why: "the broker has forgotten the producer, and with it what came of earlier attempts",
    },
    Open {
        names: &[
            "INVALID_PRODUCER_EPOCH",
            "PRODUCER_FENCED",
            "InvalidProducerEpochException",
            "ProducerFencedException",
            "_FENCED",
        ],
        why: "the producer was fenced; an earlier attempt may stand",
    },
    Open {
        names: &["_PURGE_INFLIGHT", "_GAPLESS_GUARANTEE", "_FATAL", "_DESTROY"],
        why: "the client gave the record up while a request with it may have been under way",
    },
];

/// Why an error does not mean that a send failed; none, if it does, or if the error is unknown.
pub fn leaves_open(error: &str) -> Option<&'static str> {
    let last = error.rsplit(['.', '$']).next().unwrap_or(error);
    let same = |name: &&str| name.eq_ignore_ascii_case(error) || name.eq_ignore_ascii_case(last);
    OPEN.iter().find(|open| open.names.iter().any(same)).map(|open| open.why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::error::ResponseError;

    #[test]
    fn errors_that_leave_a_send_open_are_known_by_all_their_names() {
        for error in [
            "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            "org.apache.kafka.common.errors.TimeoutException",
            "_MSG_TIMED_OUT",
            "network_exception",
        ] {
            assert!(leaves_open(error).is_some(), "{error}");
        }
        for error in ["NOT_ENOUGH_REPLICAS", "MESSAGE_TOO_LARGE", "TOPIC_AUTHORIZATION_FAILED", "X", ""] {
            assert_eq!(leaves_open(error), None, "{error}");
        }
    }

    #[test]
    fn names_in_the_style_of_the_protocol_are_the_protocols() {
        let known: Vec<String> =
            (-1..200).filter_map(ResponseError::try_from_code).map(|e| e.to_string().to_lowercase()).collect();
        let alias = ["UNKNOWN"];
        let upper = |name: &&&str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        for name in OPEN.iter().flat_map(|open| open.names).filter(upper).filter(|n| !n.starts_with('_')) {
            let plain = name.replace('_', "").to_lowercase();
            assert!(alias.contains(name) || known.contains(&plain), "{name}");
        }
    }
}
