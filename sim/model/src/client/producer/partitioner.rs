//! Which partition a record goes to: by key, or one after another by bytes.
//!
//! Follows Kafka's `BuiltInPartitioner`: murmur2 of the key; records without a key stay on one partition until a
//! batch's worth of bytes went there, then a random one follows, of those that have a leader. Weighting by queue
//! length (`partitioner.adaptive.partitioning.enable`) is not done.

use crate::client::metadata::{Partition, Topic};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Kafka's murmur2.
pub fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let (chunks, rest) = data.as_chunks::<4>();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(*chunk).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, &byte) in rest.iter().enumerate() {
            h ^= u32::from(byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    (h ^ (h >> 15)) as i32
}

/// The partition of a key among `partitions`, at least one.
pub fn partition_for_key(key: &[u8], partitions: usize) -> i32 {
    (murmur2(key) & i32::MAX) % partitions as i32
}

/// With `key-hashed-over-led`: the partition of a key among those that have a leader, if there are any.
pub fn partition_for_key_among_led(key: &[u8], topic: &Topic) -> i32 {
    let led = || (0i32..).zip(&topic.partitions).filter(|(_, p)| p.leader.is_some()).map(|(at, _)| at);
    match led().count() {
        0 => partition_for_key(key, topic.partitions.len()),
        n => led().nth(partition_for_key(key, n) as usize).expect("one of that many"),
    }
}

/// Where one topic's records without keys go at the moment.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sticky {
    current: Option<(i32, usize)>,
}

impl Sticky {
    /// The present choice, made now if there is none.
    pub fn current(&mut self, topic: &Topic, rng: &mut ChaCha8Rng) -> i32 {
        match self.current {
            Some((partition, _)) => partition,
            None => self.switch(topic, rng),
        }
    }

    /// `bytes` went to the present choice. After a batch's worth another is chosen if that splits no batch
    /// (`may_switch`), after two anyway.
    pub fn appended(&mut self, bytes: usize, batch_size: usize, may_switch: bool, topic: &Topic, rng: &mut ChaCha8Rng) {
        let Some((_, produced)) = &mut self.current else { return };
        *produced += bytes;
        if (*produced >= batch_size && may_switch) || *produced >= batch_size.saturating_mul(2) {
            self.switch(topic, rng);
        }
    }

    fn switch(&mut self, topic: &Topic, rng: &mut ChaCha8Rng) -> i32 {
        let led = |p: &Partition| p.leader.is_some();
        let available = topic.partitions.iter().filter(|p| led(p)).count();
        let partition = if available == 0 {
            rng.random_range(0..topic.partitions.len())
        } else {
            let nth = rng.random_range(0..available);
            let mut led = topic.partitions.iter().enumerate().filter(|(_, p)| led(p));
            led.nth(nth).expect("nth of that many").0
        };
        self.current = Some((partition as i32, 0));
        partition as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_hashes_as_kafka_does() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn keys_stay_within_the_topic() {
        for n in 1..20 {
            for key in 0..200u32 {
                assert!((0..n as i32).contains(&partition_for_key(&key.to_be_bytes(), n)));
            }
        }
    }
}
