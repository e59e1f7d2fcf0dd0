//! What the records of one partition of `__consumer_offsets` add up to: replayed as they are committed, and again from
//! a replica's files by the audit. It judges nothing.

use super::reader::{Classic, Current, Parts, Said, Subscribed};
use crate::event::Ordinal;
use klamm_model::ids::TopicId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Values an offset had, kept to judge answers that took their time.
const HISTORY: usize = 64;

/// A committed offset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Committed {
    pub(crate) offset: Option<i64>,
    /// Where its record stands.
    pub(crate) at: i64,
    /// Since when which value counts, oldest first.
    pub(crate) history: VecDeque<(Ordinal, Option<i64>)>,
}

impl Committed {
    /// The values that counted at some time from an event on; `None` if that is not known any more.
    pub(crate) fn since(&self, from: Ordinal) -> Option<BTreeSet<Option<i64>>> {
        let later = self.history.partition_point(|(at, _)| *at <= from);
        let first = match later.checked_sub(1) {
            Some(before) => before,
            None if self.history.len() < HISTORY => return Some(self.all(0).chain([None]).collect()),
            None => return None,
        };
        Some(self.all(first).collect())
    }
    fn all(&self, from: usize) -> impl Iterator<Item = Option<i64>> + '_ {
        self.history.iter().skip(from).map(|(_, offset)| *offset)
    }
}

/// What a KIP-848 member has, and since which of its epochs it has each partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    pub(crate) current: Current,
    pub(crate) since: BTreeMap<(TopicId, i32), i32>,
    pub(crate) ordinal: Ordinal,
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupState {
    pub(crate) offsets: BTreeMap<(String, i32), Committed>,
    pub(crate) classic: Option<Classic>,
    /// The generation before that had members.
    pub(crate) classic_before: Option<Classic>,
    pub(crate) classic_since: Ordinal,
    pub(crate) epoch: Option<i32>,
    pub(crate) members: BTreeMap<String, Subscribed>,
    pub(crate) target_epoch: Option<i32>,
    pub(crate) target: BTreeMap<String, Parts>,
    pub(crate) current: BTreeMap<String, Holds>,
    /// Who has a partition, assigned or pending revocation.
    pub(crate) owners: BTreeMap<(TopicId, i32), BTreeSet<String>>,
}

impl GroupState {
    /// Whether somebody is a member, by either protocol.
    pub(crate) fn has(&self, member: &str) -> bool {
        self.members.contains_key(member)
            || self.classic.as_ref().is_some_and(|c| c.members.iter().any(|m| m.id == member))
    }
    fn take_away(&mut self, member: &str) -> Vec<(TopicId, i32)> {
        let Some(holds) = self.current.get(member) else { return Vec::new() };
        let parts: Vec<_> = holds.current.assigned.iter().chain(&holds.current.pending).copied().collect();
        for part in &parts {
            if let Some(owners) = self.owners.get_mut(part) {
                owners.remove(member);
                if owners.is_empty() {
                    self.owners.remove(part);
                }
            }
        }
        parts
    }
}

/// All groups of one partition of the offsets topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) groups: BTreeMap<String, GroupState>,
}

impl Replayed {
    /// The next record.
    pub(crate) fn apply(&mut self, offset: i64, said: &Said, ordinal: Ordinal) {
        let group = self.groups.entry(said.group().to_owned()).or_default();
        match said {
            Said::Offset { topic, partition, offset: value, .. } => {
                let committed = group.offsets.entry((topic.clone(), *partition)).or_default();
                (committed.offset, committed.at) = (*value, offset);
                committed.history.push_back((ordinal, *value));
                if committed.history.len() > HISTORY {
                    committed.history.pop_front();
                }
            }
            Said::Classic { value, .. } => {
                if let Some(before) = group.classic.take().filter(|c| !c.members.is_empty()) {
                    group.classic_before = Some(before);
                }
                group.classic.clone_from(value);
                group.classic_since = ordinal;
            }
            Said::Epoch { epoch, .. } => group.epoch = *epoch,
            Said::Member { member, value: Some(value), .. } => {
                group.members.insert(member.clone(), value.clone());
            }
            Said::Member { member, value: None, .. } => {
                group.members.remove(member);
            }
            Said::TargetEpoch { epoch, .. } => group.target_epoch = *epoch,
            Said::Target { member, parts: Some(parts), .. } => {
                group.target.insert(member.clone(), parts.clone());
            }
            Said::Target { member, parts: None, .. } => {
                group.target.remove(member);
            }
            Said::Current { member, value, .. } => {
                group.take_away(member);
                let before = group.current.remove(member).unwrap_or_default();
                let Some(current) = value else { return };
                let mut since = BTreeMap::new();
                for part in current.assigned.iter().chain(&current.pending) {
                    group.owners.entry(*part).or_default().insert(member.clone());
                    since.insert(*part, before.since.get(part).copied().unwrap_or(current.epoch));
                }
                group.current.insert(member.clone(), Holds { current: current.clone(), since, ordinal });
            }
        }
    }
}
