//! What a history does not tell, and what can therefore not be judged.

use super::report::{Counts, NotJudged};
use klamm_model::history::{Acks, Entry, Op, Outcome, TopicPartition};
use klamm_model::ids::{ClientId, Incarnation};
use klamm_workloads::history::errors::leaves_open;
use klamm_workloads::history::{Names, plain};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the lines so far have and lack.
#[derive(Default)]
pub(super) struct Coverage {
    operations: u64,
    records: u64,
    polls: u64,
    unresolved: i64,
    senders: BTreeSet<(ClientId, Incarnation)>,
    producers: BTreeSet<(ClientId, Incarnation)>,
    /// Readers and where: whether a position was told before the first record.
    readers: BTreeMap<(ClientId, Incarnation, TopicPartition), bool>,
    acknowledged: BTreeSet<TopicPartition>,
    /// Topics with acknowledged sends whose partition is not told.
    somewhere: u64,
    topics: BTreeMap<Arc<str>, ()>,
    finals: BTreeSet<TopicPartition>,
    /// A producer said that it asks for no acknowledgement.
    pub(super) acks_0: bool,
    without_offset: u64,
    without_epoch: u64,
    members: bool,
    commits: u64,
    answers: u64,
    keyed: bool,
    models: bool,
    /// Errors that do not mean that a send failed, recorded as if they did.
    misnamed: BTreeMap<Arc<str>, u64>,
}

impl Coverage {
    pub(super) fn see(&mut self, entry: &Entry) {
        self.operations += 1;
        let who = (entry.client, entry.incarnation);
        let reader = |source: &TopicPartition| (entry.client, entry.incarnation, source.clone());
        match &entry.op {
            Op::Producer { facts } => {
                self.acks_0 |= facts.acks == Acks::None;
                self.producers.insert(who);
            }
            Op::Send { key, topic, .. } => {
                self.senders.insert(who);
                self.unresolved += 1;
                self.keyed |= key.is_some();
                if !self.topics.contains_key(topic) {
                    self.topics.insert(topic.clone(), ());
                }
            }
            Op::Sent { outcome, offset, error, attempts, partition, .. } => {
                self.unresolved -= 1;
                if *outcome == Outcome::Ok {
                    self.without_offset += u64::from(offset.is_none());
                    self.somewhere += u64::from(partition.is_none());
                }
                if let (Outcome::Fail, Some(error)) = (outcome, error)
                    && *attempts > 0
                    && leaves_open(error).is_some()
                {
                    *self.misnamed.entry(error.clone()).or_default() += 1;
                }
            }
            Op::Poll { source, records, .. } => {
                if records.is_empty() {
                    return;
                }
                self.polls += 1;
                self.records += records.len() as u64;
                self.without_epoch += u64::from(records[0].leader_epoch.0 < 0);
                self.readers.entry(reader(source)).or_insert(false);
            }
            Op::Position { source, .. } => {
                self.readers.entry(reader(source)).or_insert(true);
            }
            Op::Assigned { partitions, .. } => {
                for source in partitions {
                    self.readers.entry(reader(source)).or_insert(true);
                }
            }
            Op::FinalRead { source, .. } => {
                self.finals.insert(source.clone());
            }
            Op::Member { .. } => self.members = true,
            Op::Commit { .. } => self.commits += 1,
            Op::ListOffsets { .. } => self.answers += 1,
            Op::ReadModel { .. } => self.models = true,
            _ => {}
        }
    }

    /// An acknowledgement's partition; apart from [`Coverage::see`] because the topic stands in the send.
    pub(super) fn acknowledged(&mut self, topic: &Arc<str>, partition: i32) {
        let source = TopicPartition { topic: topic.clone(), partition };
        if !self.acknowledged.contains(&source) {
            self.acknowledged.insert(source);
        }
    }

    /// Counts, of what was told.
    pub(super) fn counts(&self, names: &Names) -> Counts {
        Counts {
            operations: self.operations,
            acknowledged: names.acknowledged(),
            unresolved: u64::try_from(self.unresolved).unwrap_or(0),
            records_read: self.records,
            acknowledged_never_read: names.unread(),
            ..Counts::default()
        }
    }

    /// Errors that were recorded as failures and are none.
    pub(super) fn hints(&self) -> Vec<String> {
        let told = |(error, count): (&Arc<str>, &u64)| {
            let (sends, are) = if *count == 1 { ("send", "is") } else { ("sends", "are") };
            let why = leaves_open(error).unwrap_or_default();
            format!(
                "{count} {sends} {are} recorded as `fail` with {}, which does not mean that nothing was appended: {why}; \
                 `info` is right, unless every attempt is known to have been rejected",
                plain(error)
            )
        };
        self.misnamed.iter().map(told).collect()
    }

    /// What was not judged, why, and what would let it be judged.
    pub(super) fn not_judged(&self, names: &Names) -> Vec<NotJudged> {
        let mut all = Vec::new();
        let mut add = |what: String, why: String, remedy: &str| {
            all.push(NotJudged { what, why, remedy: remedy.to_owned() });
        };
        let open: Vec<&TopicPartition> = self.acknowledged.difference(&self.finals).collect();
        let unread = names.unread();
        if unread > 0 && (!open.is_empty() || self.finals.is_empty()) {
            let first: Vec<String> = names.first_unread(3).iter().map(ToString::to_string).collect();
            let (values, were) = if unread == 1 { ("value", "was") } else { ("values", "were") };
            add(
                format!("{unread} acknowledged {values} that {were} never read ({})", few(&first, unread)),
                "they may be lost, or no reader came so far".to_owned(),
                "a final read of each partition, from its start to its end (`final_read`), would tell",
            );
        } else if !open.is_empty() {
            let first: Vec<String> =
                open.iter().take(3).map(|s| format!("{}-{}", plain(&s.topic), s.partition)).collect();
            add(
                format!("unseen, in {}", few(&first, open.len() as u64)),
                "there is no final read of it".to_owned(),
                "a final read from start to end (`final_read`) would tell whether all that was acknowledged is there",
            );
        }
        let blind = self.readers.values().filter(|placed| !**placed).count();
        if blind > 0 {
            add(
                format!("what {blind} of {} readers passed before their first record", self.readers.len()),
                "no position is told before the first read".to_owned(),
                "a `position` line, before the first poll of a partition and whenever the reader goes on elsewhere",
            );
        }
        let silent = self.senders.difference(&self.producers).count();
        if silent > 0 {
            add(
                format!("send-resolves for {silent} of {} producers", self.senders.len()),
                "no facts of the producer are told: it is taken for acks=all with idempotence".to_owned(),
                "a `producer` line before its first send",
            );
        }
        if self.without_offset > 0 {
            add(
                format!("whether {} acknowledged records lie where they were acknowledged", self.without_offset),
                "their acknowledgements have no offset".to_owned(),
                "`offset` of `sent`",
            );
        }
        if self.without_epoch > 0 {
            add(
                format!("read-epoch-regression, in {} of {} polls", self.without_epoch, self.polls),
                "no leader epoch is told".to_owned(),
                "`leader_epoch` of each record, where the client tells it",
            );
        }
        if !self.members {
            let why = if self.commits > 0 {
                "commits are told, but no facts of the group"
            } else {
                "no group member is told"
            };
            add(
                "illegal-resume, skipped-record, commit-too-far, commit-regression, clean-handover, double-effect"
                    .to_owned(),
                why.to_owned(),
                "a `member` line first, then `assigned`, `revoked`, `commit` and `committed`",
            );
        }
        if self.answers == 0 {
            add(
                "list-offsets-regression".to_owned(),
                "no offset was asked for".to_owned(),
                "`ask_offset`, `list_offsets`",
            );
        }
        if !self.keyed {
            add(
                "key-affinity, compacted-value".to_owned(),
                "no send has a key".to_owned(),
                "`key` of `send` and of records",
            );
        }
        if !self.models {
            add("read-model".to_owned(), "no read model is told".to_owned(), "`read_model`");
        }
        all
    }
}

/// The first few of many.
fn few(first: &[String], all: u64) -> String {
    let more = all.saturating_sub(first.len() as u64);
    let list = first.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}
