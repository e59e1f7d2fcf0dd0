//! What the batches of a compacted partition held when they were first appended, and what compaction left of them.
//!
//! Compaction changes neither what a log *is* nor who holds it: everywhere else in the judge a batch that was compacted
//! counts as the batch it was, and one that is gone counts as still there, with no bytes. So every invariant about logs
//! holds "modulo compaction" without knowing of it. This is where both are told apart.

use super::batch::Head;
use super::records::Rec;
use super::replica::Batch;
use klamm_model::ids::*;
use std::collections::BTreeMap;

/// What compaction left of a batch, by its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Variant {
    /// The records left, by their place among the original ones.
    pub(crate) kept: Vec<u32>,
    /// When its tombstones may go.
    pub(crate) horizon: Option<i64>,
}

/// One batch.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) head: Head,
    pub(crate) records: Vec<Rec>,
    /// By CRC.
    pub(crate) variants: BTreeMap<u32, Variant>,
    /// All of it may be missing from a log.
    pub(crate) gone: bool,
    /// Records that may be missing, by their delta.
    pub(crate) removed: Vec<u32>,
}

/// All batches of one partition, by base offset and epoch.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    batches: BTreeMap<(i64, i32), Content>,
}

impl Contents {
    pub(crate) fn get(&self, base: i64, epoch: i32) -> Option<&Content> {
        self.batches.get(&(base, epoch))
    }
    pub(crate) fn get_mut(&mut self, base: i64, epoch: i32) -> Option<&mut Content> {
        self.batches.get_mut(&(base, epoch))
    }
    /// Takes note of a batch as it is appended, unless one of its place is known.
    pub(crate) fn note(&mut self, head: &Head, records: impl FnOnce() -> Option<Vec<Rec>>) {
        self.batches.entry((head.base.0, head.epoch.0)).or_insert_with(|| Content {
            head: *head,
            records: records().unwrap_or_default(),
            variants: BTreeMap::new(),
            gone: false,
            removed: Vec::new(),
        });
    }
    /// The batch as it was, if these are the bytes of what compaction left of it.
    pub(crate) fn canonical(&self, batch: Batch) -> Batch {
        match self.get(batch.base, batch.epoch) {
            Some(known) if known.variants.contains_key(&batch.crc) => Batch { crc: known.head.crc, ..batch },
            _ => batch,
        }
    }
    /// Batches in the order of a log that begins at `expected`: as they were, and those that are gone between them.
    /// `committed`: which of several of one place is meant.
    pub(crate) fn restore(
        &self,
        mut expected: i64,
        batches: &[Batch],
        committed: impl Fn(&Batch) -> bool,
    ) -> Vec<Batch> {
        let mut all = Vec::with_capacity(batches.len());
        for batch in batches {
            if batch.base > expected {
                all.extend(self.missing(expected, batch.base, &committed));
            }
            all.push(self.canonical(*batch));
            expected = batch.next();
        }
        all
    }
    /// The batches that lay between two offsets and are gone.
    fn missing(&self, from: i64, to: i64, committed: &impl Fn(&Batch) -> bool) -> Vec<Batch> {
        let mut found: Vec<Batch> = Vec::new();
        for content in self.batches.range((from, i32::MIN)..(to, i32::MIN)).map(|(_, c)| c).filter(|c| c.gone) {
            let batch = Batch { size: 0, ..Batch::of(&content.head) };
            match found.last_mut() {
                Some(last) if last.base == batch.base => {
                    if committed(&batch) {
                        *last = batch;
                    }
                }
                Some(last) if last.next() > batch.base => {}
                _ => found.push(batch),
            }
        }
        found
    }
    /// Forgets what lies wholly below an offset.
    pub(crate) fn trim(&mut self, below: i64) {
        while let Some(first) = self.batches.first_entry()
            && first.get().head.last.0 < below
        {
            first.remove();
        }
    }
}

/// A copy that a compaction makes of segments.
#[derive(Debug, Default)]
pub(crate) struct Copy {
    /// Its batches with their records, as far as they could be read.
    pub(crate) batches: Vec<(Head, Option<Vec<Rec>>, Option<i64>)>,
    /// What it replaces, once it counts.
    pub(crate) before: Option<Vec<super::replica::Segment>>,
    /// Where that ends.
    pub(crate) end: i64,
}

/// A leader took a batch that was not its producer's first, and knew nothing of the producer. Kafka's brokers do (KIP-360; since
/// 4.5 no more where the log never held a record, KAFKA-15591): earlier batches under way to the leader before are overtaken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownProducer {
    /// When.
    pub at: klamm_model::units::Instant,
    /// Which partition.
    pub partition: TopicIdPartition,
    /// Which producer.
    pub producer: ProducerId,
}

/// Records that compaction took out of a partition, and was right to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compaction {
    /// Which partition.
    pub partition: TopicIdPartition,
    /// When, first.
    pub at: klamm_model::units::Instant,
    /// The records' offsets, ascending; only those not told before.
    pub offsets: Vec<Offset>,
}
