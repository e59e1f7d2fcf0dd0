//! What members of a classic group tell each other through the coordinator, which passes it on unread: subscriptions
//! and assignments, each with a version of its own in front.
//!
//! Follows `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment` (versions 0 to 3), and the user data of
//! the sticky assignors. Decoding believes no length it reads: what comes here was written by somebody else.

use crate::history::TopicPartition;
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// The version that is written.
pub const VERSION: i16 = 3;

/// A member's subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// The topics, in the member's order.
    pub topics: Vec<Arc<str>>,
    /// What the assignor wants to know; none of the built-in ones but the sticky two want anything.
    pub user_data: Option<Bytes>,
    /// What the member owns (version 1).
    pub owned: Vec<TopicPartition>,
    /// Since which generation (version 2); -1 if it does not say.
    pub generation: i32,
    /// Its rack (version 3).
    pub rack: Option<String>,
}

/// What is no subscription, assignment or user data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an embedded message of the consumer protocol: it ends early, or names impossible lengths")]
pub struct Malformed;

fn put_str(to: &mut BytesMut, text: &str) {
    to.put_i16(i16::try_from(text.len()).expect("a name of Kafka's is short"));
    to.put_slice(text.as_bytes());
}

fn put_bytes(to: &mut BytesMut, bytes: Option<&Bytes>) {
    match bytes {
        None => to.put_i32(-1),
        Some(bytes) => {
            to.put_i32(i32::try_from(bytes.len()).expect("user data is short"));
            to.put_slice(bytes);
        }
    }
}

/// Partitions, grouped by topic in the order of first appearance.
fn put_partitions(to: &mut BytesMut, partitions: &[TopicPartition]) {
    let mut topics: Vec<(&Arc<str>, Vec<i32>)> = Vec::new();
    for p in partitions {
        match topics.last_mut() {
            Some((topic, list)) if **topic == p.topic => list.push(p.partition),
            _ => match topics.iter_mut().find(|(topic, _)| **topic == p.topic) {
                Some((_, list)) => list.push(p.partition),
                None => topics.push((&p.topic, vec![p.partition])),
            },
        }
    }
    to.put_i32(topics.len() as i32);
    for (topic, list) in topics {
        put_str(to, topic);
        to.put_i32(list.len() as i32);
        list.into_iter().for_each(|p| to.put_i32(p));
    }
}

/// Reads from the front of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }
    fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into().expect("two bytes")))
    }
    fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().expect("four bytes")))
    }
    fn str(&mut self) -> Result<&'a str, Malformed> {
        let n = usize::try_from(self.i16()?).map_err(|_| Malformed)?;
        std::str::from_utf8(self.take(n)?).map_err(|_| Malformed)
    }
    fn nullable_str(&mut self) -> Result<Option<&'a str>, Malformed> {
        if self.0.starts_with(&[0xff, 0xff]) {
            self.take(2)?;
            return Ok(None);
        }
        self.str().map(Some)
    }
    fn bytes(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            n => Ok(Some(Bytes::copy_from_slice(self.take(usize::try_from(n).map_err(|_| Malformed)?)?))),
        }
    }
    /// The length of a list whose entries have at least so many bytes each.
    fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        let n = usize::try_from(self.i32()?).map_err(|_| Malformed)?;
        if n > self.0.len() / least { Err(Malformed) } else { Ok(n) }
    }
    fn partitions(&mut self) -> Result<Vec<TopicPartition>, Malformed> {
        let mut all = Vec::new();
        for _ in 0..self.count(6)? {
            let topic: Arc<str> = self.str()?.into();
            for _ in 0..self.count(4)? {
                all.push(TopicPartition { topic: topic.clone(), partition: self.i32()? });
            }
        }
        Ok(all)
    }
    /// The version in front. One newer than we know is read as the newest we know: fields are only ever added.
    fn version(&mut self) -> Result<i16, Malformed> {
        let version = self.i16()?;
        if version < 0 { Err(Malformed) } else { Ok(version.min(VERSION)) }
    }
}

impl Subscription {
    /// As bytes of this version.
    pub fn encode(&self, version: i16) -> Bytes {
        let mut to = BytesMut::new();
        to.put_i16(version);
        to.put_i32(self.topics.len() as i32);
        self.topics.iter().for_each(|topic| put_str(&mut to, topic));
        put_bytes(&mut to, self.user_data.as_ref());
        if version >= 1 {
            put_partitions(&mut to, &self.owned);
        }
        if version >= 2 {
            to.put_i32(self.generation);
        }
        if version >= 3 {
            match &self.rack {
                Some(rack) => put_str(&mut to, rack),
                None => to.put_i16(-1),
            }
        }
        to.freeze()
    }

    /// From bytes of any version.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &[u8]) -> Result<Subscription, Malformed> {
        let mut from = Reader(bytes);
        let version = from.version()?;
        let mut topics = Vec::new();
        for _ in 0..from.count(2)? {
            topics.push(from.str()?.into());
        }
        let user_data = from.bytes()?;
        let owned = if version >= 1 { from.partitions()? } else { Vec::new() };
        let generation = if version >= 2 { from.i32()? } else { -1 };
        let rack = if version >= 3 { from.nullable_str()?.map(str::to_owned) } else { None };
        Ok(Subscription { topics, user_data, owned, generation, rack })
    }
}

/// An assignment, as bytes.
pub fn encode_assignment(partitions: &[TopicPartition]) -> Bytes {
    let mut to = BytesMut::new();
    to.put_i16(VERSION);
    put_partitions(&mut to, partitions);
    put_bytes(&mut to, None);
    to.freeze()
}

/// An assignment's partitions.
///
/// # Errors
/// If the bytes are no assignment.
pub fn decode_assignment(bytes: &[u8]) -> Result<Vec<TopicPartition>, Malformed> {
    let mut from = Reader(bytes);
    from.version()?;
    let partitions = from.partitions()?;
    from.bytes()?;
    Ok(partitions)
}

/// What `StickyAssignor` tells: what the member had last, and since which generation (version 1).
pub fn encode_sticky(owned: &[TopicPartition], generation: i32) -> Bytes {
    let mut to = BytesMut::new();
    put_partitions(&mut to, owned);
    to.put_i32(generation);
    to.freeze()
}

/// The claim in `StickyAssignor`'s user data, of version 1 or 0. What cannot be read claims nothing.
pub fn decode_sticky(bytes: &[u8]) -> (Vec<TopicPartition>, i32) {
    let mut from = Reader(bytes);
    match from.partitions() {
        Ok(owned) => (owned, from.i32().unwrap_or(-1)),
        Err(Malformed) => (Vec::new(), -1),
    }
}

/// What `CooperativeStickyAssignor` tells: the generation, for leaders that read no newer subscription than version 1.
pub fn encode_cooperative_sticky(generation: i32) -> Bytes {
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

/// The generation in `CooperativeStickyAssignor`'s user data.
pub fn decode_cooperative_sticky(bytes: &[u8]) -> i32 {
    Reader(bytes).i32().unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
    use kafka_protocol::messages::{
        consumer_protocol_assignment as theirs_a, consumer_protocol_subscription as theirs_s,
    };
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
    use proptest::prelude::*;

    fn tp(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }

    fn sample() -> Subscription {
        Subscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(b"xy")),
            owned: vec![tp("a", 2), tp("a", 0), tp("b", 7)],
            generation: 9,
            rack: Some("r1".to_owned()),
        }
    }

    fn name(text: &str) -> TopicName {
        TopicName(StrBytes::from_string(text.to_owned()))
    }

    #[test]
    fn subscriptions_are_kafkas() {
        let ours = sample();
        let owned = [("a", vec![2, 0]), ("b", vec![7])].map(|(topic, partitions)| {
            theirs_s::TopicPartition::default().with_topic(name(topic)).with_partitions(partitions)
        });
        let theirs = ConsumerProtocolSubscription::default()
            .with_topics(vec![StrBytes::from_static_str("a"), StrBytes::from_static_str("b")])
            .with_user_data(ours.user_data.clone())
            .with_owned_partitions(owned.into())
            .with_generation_id(9)
            .with_rack_id(Some(StrBytes::from_static_str("r1")));
        for version in 0..=3 {
            let mut bytes = BytesMut::new();
            bytes.put_i16(version);
            theirs.encode(&mut bytes, version).unwrap();
            assert_eq!(ours.encode(version), bytes.freeze());
            let mut ours = ours.clone();
            if version < 3 {
                ours.rack = None;
            }
            if version < 2 {
                ours.generation = -1;
            }
            if version < 1 {
                ours.owned.clear();
            }
            assert_eq!(Subscription::decode(&ours.encode(version)), Ok(ours));
        }
    }

    #[test]
    fn assignments_are_kafkas() {
        let ours = [tp("a", 2), tp("b", 7), tp("a", 0)];
        let bytes = encode_assignment(&ours);
        let theirs = ConsumerProtocolAssignment::decode(&mut bytes.slice(2..), VERSION).unwrap();
        let expected = [("a", vec![2, 0]), ("b", vec![7])].map(|(topic, partitions)| {
            theirs_a::TopicPartition::default().with_topic(name(topic)).with_partitions(partitions)
        });
        assert_eq!(theirs.assigned_partitions, expected);
        assert_eq!(decode_assignment(&bytes), Ok(vec![tp("a", 2), tp("a", 0), tp("b", 7)]));
    }

    #[test]
    fn newer_versions_are_read_as_far_as_known() {
        let mut bytes = BytesMut::from(&sample().encode(3)[..]);
        bytes[1] = 9;
        bytes.put_slice(b"something new");
        assert_eq!(Subscription::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn sticky_claims_come_back() {
        let owned = vec![tp("a", 1), tp("b", 0)];
        let bytes = encode_sticky(&owned, 12);
        assert_eq!(decode_sticky(&bytes), (owned.clone(), 12));
        assert_eq!(decode_sticky(&bytes[..bytes.len() - 4]), (owned, -1), "version 0 says no generation");
        assert_eq!(decode_sticky(b"nonsense"), (Vec::new(), -1));
        assert_eq!(decode_cooperative_sticky(&encode_cooperative_sticky(3)), 3);
    }

    #[test]
    fn impossible_lengths_are_refused_without_being_believed() {
        let mut bytes = BytesMut::new();
        bytes.put_i16(3);
        bytes.put_i32(i32::MAX);
        bytes.put_slice(&[0; 64]);
        assert_eq!(decode_assignment(&bytes), Err(Malformed));
        assert_eq!(Subscription::decode(&bytes), Err(Malformed));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Subscription::decode(&bytes);
            let _ = decode_assignment(&bytes);
            decode_sticky(&bytes);
        }

        #[test]
        fn a_cut_message_is_refused(at in 0usize..40) {
            let bytes = sample().encode(3);
            if at < bytes.len() {
                prop_assert_eq!(Subscription::decode(&bytes[..at]), Err(Malformed));
            }
        }
    }
}
