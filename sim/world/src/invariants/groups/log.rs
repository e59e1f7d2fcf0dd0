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

/// What a cooperative generation gives to nobody because a static member is to give it up first (KIP-429), and come again.
///
/// If that member is replaced before it comes, nobody comes: its successor is answered in the same generation, is given
/// what was assigned, and has nothing to give up. Kafka's coordinator does not rebalance for that
/// (`GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin`), so the partition waits for the next rebalance,
/// whatever brings it about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover {
    /// What is waited for, and of which instance.
    awaited: Vec<((String, i32), String)>,
    /// What is awaited of an instance that does not know.
    pub(crate) forgotten: BTreeSet<(String, i32)>,
}

impl Handover {
    fn goes_on(&mut self, before: Option<&Classic>, now: Option<&Classic>) {
        let (before, Some(now)) = (before, now) else { return *self = Handover::default() };
        let id_of = |c: &Classic, instance: &str| {
            c.members.iter().find(|m| m.instance.as_deref() == Some(instance)).map(|m| m.id.clone())
        };
        if let Some(before) = before.filter(|b| b.generation == now.generation) {
            let replaced = |i: &str| id_of(before, i).is_some_and(|id| id_of(now, i).is_some_and(|now| now != id));
            let forgotten =
                self.awaited.iter().filter(|(_, instance)| replaced(instance)).map(|(part, _)| part.clone());
            self.forgotten.extend(forgotten.collect::<Vec<_>>());
            return;
        }
        let given: BTreeSet<_> = now.members.iter().flat_map(|m| &m.assigned).collect();
        let owned = now.members.iter().filter_map(|m| Some((m.instance.clone()?, &m.owned)));
        let awaited =
            owned.flat_map(|(instance, owned)| owned.iter().map(move |part| (part.clone(), instance.clone())));
        *self = Handover {
            awaited: awaited.filter(|(part, _)| !given.contains(part)).collect(),
            forgotten: BTreeSet::new(),
        };
    }
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupState {
    pub(crate) offsets: BTreeMap<(String, i32), Committed>,
    pub(crate) classic: Option<Classic>,
    /// The generation before that had members.
    pub(crate) classic_before: Option<Classic>,
    pub(crate) classic_since: Ordinal,
    pub(crate) handover: Handover,
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
                let before = group.classic.take();
                group.handover.goes_on(before.as_ref(), value.as_ref());
                if let Some(before) = before.filter(|c| !c.members.is_empty()) {
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
