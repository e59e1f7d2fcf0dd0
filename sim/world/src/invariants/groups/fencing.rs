//! Fencing: what bears an epoch that is over, or comes from somebody who is no member, changes nothing.

use super::Source;
use super::requests::Asked;
use crate::event::{NodeRef, Ordinal};
use crate::invariants::finding::Ctx;
use crate::invariants::{Check, Invariants};
use kafka_protocol::messages::OffsetCommitRequest;
use klamm_model::ids::*;

/// Why a request must not change anything.
#[derive(Clone, Debug)]
pub(super) struct Stale {
    pub(super) why: String,
    pub(super) because: Ordinal,
}

impl Invariants {
    pub(super) fn commit_parts(&self, node: NodeRef, r: &OffsetCommitRequest) -> Vec<(Source, i64, Option<Stale>)> {
        let (group, member) = (&*r.group_id.0, &*r.member_id);
        let generation = r.generation_id_or_member_epoch;
        let whole = self.stale_member(node, group, member, generation, true);
        let mut parts = Vec::new();
        for topic in &r.topics {
            let id = if topic.topic_id.is_nil() {
                self.cluster.names.get(&*topic.name.0).copied()
            } else {
                Some(TopicId(topic.topic_id))
            };
            let name = id.and_then(|id| self.cluster.topic_name(id)).unwrap_or(&topic.name.0);
            for p in &topic.partitions {
                let stale =
                    whole.clone().or_else(|| self.stale_partition(group, member, generation, id?, p.partition_index));
                parts.push(((name.to_owned(), p.partition_index), p.committed_offset, stale));
            }
        }
        parts
    }

    pub(super) fn stale(&self, node: NodeRef, asked: &Asked) -> Option<Stale> {
        // A deposed coordinator that does not know it may go on for a while.
        self.coordinates(node, &asked.group)?;
        self.stale_member(node, &asked.group, &asked.member, asked.generation, false)
    }

    /// Whether a request bears an epoch that is over, or comes from somebody who is no member, by what is committed.
    pub(super) fn stale_member(
        &self,
        node: NodeRef,
        group: &str,
        member: &str,
        generation: i32,
        commit: bool,
    ) -> Option<Stale> {
        if generation <= 0 || member.is_empty() {
            return None;
        }
        let (ix, log) = self.replayed(group)?;
        let state = log.replayed.groups.get(group)?;
        if let Some(holds) = state.current.get(member) {
            let (current, previous) = (holds.current.epoch, holds.current.previous);
            // KIP-848: the epoch before is good for a heartbeat whose answer was lost; commits are judged one by one.
            if generation >= current || generation == previous || commit {
                return None;
            }
            let why = format!("member {member} is at epoch {current}, the request at {generation}");
            return Some(Stale { why, because: holds.ordinal });
        }
        if state.epoch.is_some() {
            let why = format!("{member} is no member of the group");
            return Some(Stale { why, because: self.groups.logs.get(&ix)?.coordinator?.ordinal });
        }
        let told = self.groups.watched.get(group).and_then(|w| w.told);
        if let Some((_, newest, because)) =
            told.filter(|(c, newest, _)| c.node == node && log.coordinator == Some(*c) && generation < *newest)
        {
            let why = format!("generation {newest} was told before, the request bears {generation}");
            return Some(Stale { why, because });
        }
        let classic = state.classic.as_ref()?;
        let because = state.classic_since;
        if generation < classic.generation {
            let why = format!("the group is in generation {}, the request bears {generation}", classic.generation);
            return Some(Stale { why, because });
        }
        let gone = generation == classic.generation && !classic.members.iter().any(|m| m.id == member);
        gone.then(|| Stale { why: format!("generation {generation} has no member {member}"), because })
    }

    /// KIP-1251: a commit with an earlier epoch is good for partitions assigned no later than that.
    pub(super) fn stale_partition(
        &self,
        group: &str,
        member: &str,
        epoch: i32,
        topic: TopicId,
        partition: i32,
    ) -> Option<Stale> {
        let (_, log) = self.replayed(group)?;
        let holds = log.replayed.groups.get(group)?.current.get(member)?;
        let current = holds.current.epoch;
        if epoch <= 0 || epoch >= current {
            return None;
        }
        match holds.since.get(&(topic, partition)) {
            Some(since) if *since <= epoch => None,
            _ => {
                let why = format!("member {member} is at epoch {current}, the commit of {partition} bears {epoch}");
                Some(Stale { why, because: holds.ordinal })
            }
        }
    }

    pub(super) fn refuse(&mut self, ctx: Ctx, asked: &Asked, api: &str) {
        self.armed.judged(Check::Fencing);
        if let Some(Stale { why, because }) = &asked.stale {
            let detail = format!("a {api} that is stale is answered without an error: {why}");
            self.about_group(ctx, Check::Fencing, &asked.group, detail, &[*because, asked.taken]);
        }
    }
}
