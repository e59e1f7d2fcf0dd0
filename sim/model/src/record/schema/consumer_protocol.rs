//! The embedded consumer protocol, as far as a coordinator looks into it: which topics a member subscribes to, and
//! which partitions it was given (Kafka's `ConsumerProtocolSubscription.json` and `ConsumerProtocolAssignment.json`).
//!
//! Later versions only add fields behind these, so what follows is passed over.

use super::wire::{Reader, SchemaError};

/// The topics of a subscription.
///
/// # Errors
/// [`SchemaError`], for bytes that are none.
pub fn subscription_topics(bytes: &[u8]) -> Result<Vec<String>, SchemaError> {
    let mut r = Reader::new(bytes);
    version(&mut r)?;
    r.old_items(2, Reader::old_string)
}

/// The partitions of an assignment, by topic. No bytes at all are an empty assignment.
///
/// # Errors
/// [`SchemaError`], for bytes that are none.
pub fn assigned_partitions(bytes: &[u8]) -> Result<Vec<(String, Vec<i32>)>, SchemaError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader::new(bytes);
    version(&mut r)?;
    r.old_items(6, |r| Ok((r.old_string()?, r.old_items(4, Reader::i32)?)))
}

fn version(r: &mut Reader<'_>) -> Result<(), SchemaError> {
    match r.i16()? {
        0.. => Ok(()),
        _ => Err(SchemaError::BadValue("version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
    use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
    use kafka_protocol::protocol::{Encodable, StrBytes};

    fn versioned(version: i16, message: &impl Encodable) -> Vec<u8> {
        let mut body = BytesMut::from(&version.to_be_bytes()[..]);
        message.encode(&mut body, version).unwrap();
        body.to_vec()
    }

    #[test]
    fn every_version_gives_its_topics_and_partitions() {
        for v in 0..=3 {
            let topics = vec![StrBytes::from_static_str("a"), StrBytes::from_static_str("b")];
            let s = ConsumerProtocolSubscription::default().with_topics(topics);
            assert_eq!(subscription_topics(&versioned(v, &s)).unwrap(), ["a", "b"]);
            let t =
                TopicPartition::default().with_topic(StrBytes::from_static_str("a").into()).with_partitions(vec![2, 0]);
            let a = ConsumerProtocolAssignment::default().with_assigned_partitions(vec![t]);
            assert_eq!(assigned_partitions(&versioned(v, &a)).unwrap(), [("a".to_owned(), vec![2, 0])]);
        }
        assert_eq!(assigned_partitions(&[]), Ok(Vec::new()));
    }

    #[test]
    fn anything_else_is_an_error() {
        assert!(subscription_topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]).is_err());
        assert!(assigned_partitions(&[0, 0, 0, 0, 0, 1, 0, 1, b'a', 0x7f, 0, 0, 0]).is_err());
        assert!(subscription_topics(&[]).is_err());
    }
}
