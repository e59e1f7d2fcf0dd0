//! A stable hash of an image's content: equal content gives an equal digest, on every machine and in every process.

use super::{BrokerImage, Image, PartitionImage};
use crate::ids::NodeId;

/// FNV-1a over 64-bit words, with a final mix. Not for hostile input; nobody chooses metadata to collide.
struct Digest(u64);

impl Digest {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
    fn int(&mut self, n: impl Into<i64>) {
        self.word(n.into() as u64);
    }
    fn text(&mut self, text: &str) {
        self.word(text.len() as u64);
        for chunk in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }
    fn uuid(&mut self, id: uuid::Uuid) {
        let (high, low) = id.as_u64_pair();
        self.word(high);
        self.word(low);
    }
    fn nodes(&mut self, nodes: &[NodeId]) {
        self.word(nodes.len() as u64);
        for node in nodes {
            self.int(node.0);
        }
    }
    fn broker(&mut self, b: &BrokerImage) {
        self.int(b.epoch.0);
        self.uuid(b.incarnation);
        self.word(b.endpoints.len() as u64);
        for e in &b.endpoints {
            self.text(&e.name);
            self.text(&e.host);
            self.word(u64::from(e.port));
        }
        self.text(b.rack.as_deref().unwrap_or(""));
        self.word(u64::from(b.fenced) | u64::from(b.in_controlled_shutdown) << 1 | u64::from(b.rack.is_some()) << 2);
        self.word(b.log_dirs.len() as u64);
        for dir in &b.log_dirs {
            self.uuid(*dir);
        }
    }
    fn partition(&mut self, p: &PartitionImage) {
        self.nodes(&p.replicas);
        self.nodes(&p.isr);
        self.nodes(&p.elr);
        self.nodes(&p.last_known_elr);
        self.int(p.leader.0);
        self.int(p.leader_epoch.0);
        self.int(p.partition_epoch.0);
        self.int(p.leader_recovery_state);
    }
    fn finish(self) -> u64 {
        let h = (self.0 ^ self.0 >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h ^ h >> 29
    }
}

impl Image {
    /// A stable hash over the content. Offset and epoch do not count, so a record that changes nothing (a no-op, a
    /// leader change) leaves it as it was.
    pub fn digest(&self) -> u64 {
        let mut d = Digest(0xcbf2_9ce4_8422_2325);
        d.word(self.topics.len() as u64);
        for topic in self.topics.values() {
            d.uuid(topic.id.0);
            d.text(&topic.name);
            d.word(topic.partitions.len() as u64);
            for (&index, partition) in &topic.partitions {
                d.int(index);
                d.partition(partition);
            }
        }
        d.word(self.brokers.len() as u64);
        for (&id, broker) in &self.brokers {
            d.int(id.0);
            d.broker(broker);
        }
        d.word(self.configs.len() as u64);
        for ((kind, resource), set) in &self.configs {
            d.int(*kind);
            d.text(resource);
            d.word(set.len() as u64);
            for (key, value) in set {
                d.text(key);
                d.text(value);
            }
        }
        d.word(self.features.len() as u64);
        for (name, &level) in &self.features {
            d.text(name);
            d.int(level);
        }
        d.int(self.next_producer_id);
        d.finish()
    }
}
