//! committed-offset: what is acknowledged is in the log, what is answered is what counts, what expires nobody needs.
//!
//! An OffsetFetch may be answered with any value that counted between being taken up and its answer. A coordinator that
//! was deposed and does not know it may answer from what it remembers: Kafka has no barrier for reads.

use super::Source;
use super::fencing::Stale;
use super::requests::{Asked, Kind};
use crate::invariants::cluster::PartIx;
use crate::invariants::finding::Ctx;
use crate::invariants::{Check, Invariants};
use kafka_protocol::messages::OffsetFetchResponse;
use klamm_model::ids::*;

impl Invariants {
    pub(super) fn commit_accepted(
        &mut self,
        ctx: Ctx,
        asked: &Asked,
        source: &Source,
        offset: i64,
        stale: Option<&Stale>,
    ) {
        let group = &asked.group;
        self.armed.judged(Check::Fencing);
        self.armed.judged(Check::CommittedOffset);
        if let Some(Stale { why, because }) = stale {
            let detail =
                format!("a commit of {offset} for {}-{} is accepted though it is stale: {why}", source.0, source.1);
            self.about_group(ctx, Check::Fencing, group, detail, &[*because, asked.taken]);
        }
        let Some((_, log)) = self.replayed(group) else { return };
        let committed = log.replayed.groups.get(group.as_str()).and_then(|g| g.offsets.get(source));
        let there = committed.is_some_and(|c| c.since(asked.taken).is_none_or(|all| all.contains(&Some(offset))));
        if !there {
            let detail = format!(
                "a commit of {offset} for {}-{} is acknowledged; no committed record of the offsets topic says so",
                source.0, source.1
            );
            self.about_group(ctx, Check::CommittedOffset, group, detail, &[asked.taken]);
        }
    }

    pub(super) fn fetched_offsets(&mut self, ctx: Ctx, asked: &Asked, r: &OffsetFetchResponse) {
        let Kind::Fetch { legitimate } = &asked.what else { return };
        let mut answers: Vec<(&str, Source, i64)> = Vec::new();
        for topic in r.topics.iter().filter(|_| r.error_code == 0) {
            for p in topic.partitions.iter().filter(|p| p.error_code == 0) {
                answers.push((&asked.group, (topic.name.0.to_string(), p.partition_index), p.committed_offset));
            }
        }
        for group in r.groups.iter().filter(|g| g.error_code == 0) {
            for topic in &group.topics {
                let name = if topic.topic_id.is_nil() {
                    Some(&*topic.name.0)
                } else {
                    self.cluster.topic_name(TopicId(topic.topic_id))
                };
                let name = name.unwrap_or("?").to_owned();
                for p in topic.partitions.iter().filter(|p| p.error_code == 0) {
                    answers.push((&group.group_id.0, (name.clone(), p.partition_index), p.committed_offset));
                }
            }
        }
        for (group, source, offset) in answers {
            if !legitimate.iter().any(|(g, good)| g == group && *good) {
                continue;
            }
            if self.replayed(group).is_some() {
                self.armed.judged(Check::CommittedOffset);
            }
            let Some((_, log)) = self.replayed(group) else { continue };
            let answer = (offset >= 0).then_some(offset);
            let committed = log.replayed.groups.get(group).and_then(|g| g.offsets.get(&source));
            let (right, at) = match committed {
                Some(c) => (c.since(asked.taken).is_none_or(|all| all.contains(&answer)), Some((c.offset, c.at))),
                None => (answer.is_none(), None),
            };
            if right {
                continue;
            }
            let answer = answer.map_or("none".to_owned(), |o| o.to_string());
            let truth = match at {
                Some((Some(o), at)) => format!("{o} (record {at} of the offsets topic)"),
                _ => "none".to_owned(),
            };
            let detail =
                format!("the committed offset of {}-{} is answered as {answer}; it is {truth}", source.0, source.1);
            self.about_group(ctx, Check::CommittedOffset, group, detail, &[asked.taken]);
        }
    }

    /// The trace says that a committed offset took effect.
    pub(super) fn offset_traced(
        &mut self,
        ctx: Ctx,
        partition: TopicIdPartition,
        group: &str,
        source: (&str, i32),
        offset: Option<Offset>,
        at: Offset,
    ) {
        let Some(ix) = self.cluster.find(partition) else { return };
        let Some(log) = self.groups.logs.get(&ix).filter(|log| !log.lost) else { return };
        self.armed.judged(Check::TraceContradicted);
        let key = (source.0.to_owned(), source.1);
        let committed = log.replayed.groups.get(group).and_then(|g| g.offsets.get(&key));
        let known = committed.is_some_and(|c| c.at > at.0 || (c.at == at.0 && c.offset == offset.map(|o| o.0)));
        if !known {
            let truth = committed.map_or("nothing".to_owned(), |c| format!("{:?} at {}", c.offset, c.at));
            let detail = format!(
                "offset {:?} of {}-{} took effect at record {at} by the trace; the committed log has {truth}",
                offset.map(|o| o.0),
                source.0,
                source.1
            );
            self.about_group(ctx, Check::TraceContradicted, group, detail, &[]);
        }
    }

    /// A tombstone of an offset: it may expire only when nobody can need it (KIP-211).
    pub(super) fn expiry_judged(&mut self, ctx: Ctx, ix: PartIx, offset: i64, said: &super::Said) {
        let super::Said::Offset { group, topic, offset: None, .. } = said else { return };
        self.armed.judged(Check::CommittedOffset);
        let gone = !self.cluster.names.contains_key(topic.as_str());
        let Some(state) = self.groups.logs.get(&ix).and_then(|l| l.replayed.groups.get(group)) else { return };
        let classic = state.classic.as_ref().is_some_and(|c| c.members.iter().any(|m| m.topics.contains(topic)));
        let consumer = state.members.values().any(|m| m.topics.contains(topic));
        if !gone && (classic || consumer) {
            let detail = format!("an offset of {topic} is deleted while the group's members subscribe to it");
            let since = state.classic_since;
            let finding = ctx.finding(Check::CommittedOffset, format!("group `{group}`: {detail}"));
            let id = self.cluster.parts[ix.0].id;
            self.findings.report(finding.about(id).offset(Offset(offset)).because(&[since]));
        }
    }
}
