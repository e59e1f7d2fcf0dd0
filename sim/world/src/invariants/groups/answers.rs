//! What coordinators answer: against the trace, the log, and what was asked; unique member ids.

use super::reader::assigned;
use super::requests::{Asked, Kind, Queued};
use super::{Life, Source, Waits};
use crate::event::{ConnEnd, NodeRef, Ordinal};
use crate::invariants::finding::Ctx;
use crate::invariants::{Check, Invariants};
use kafka_protocol::messages::{ConsumerGroupHeartbeatResponse, JoinGroupResponse, ResponseKind};
use klamm_model::ids::*;
use klamm_model::units::Duration;
use std::collections::VecDeque;

/// MEMBER_ID_REQUIRED.
const MEMBER_ID_REQUIRED: i16 = 79;
/// REBALANCE_IN_PROGRESS.
const REBALANCE_IN_PROGRESS: i16 = 27;

impl Invariants {
    /// A broker answers a request of the group APIs.
    pub(in crate::invariants) fn group_answered(
        &mut self,
        ctx: Ctx,
        from: &ConnEnd,
        correlation: i32,
        response: &ResponseKind,
    ) {
        let place = (from.node, from.conn);
        // Answers come in order. One that is missing was not of the group APIs after all.
        let behind = |q: &VecDeque<Queued>| q.iter().any(|q| q.correlation == correlation);
        while self.groups.open.get(&place).is_some_and(|a| a.correlation != correlation)
            && self.groups.queued.get(&place).is_some_and(behind)
        {
            self.groups.open.remove(&place);
            self.next_taken(ctx, place);
        }
        if self.groups.open.get(&place).is_none_or(|a| a.correlation != correlation) {
            return;
        }
        let Some(asked) = self.groups.open.remove(&place) else { return };
        self.judge_answer(ctx, from, &asked, response);
        self.next_taken(ctx, place);
    }

    pub(super) fn judge_answer(&mut self, ctx: Ctx, from: &ConnEnd, asked: &Asked, response: &ResponseKind) {
        self.life_answered(ctx, asked, response);
        match response {
            ResponseKind::JoinGroup(r) => self.joined(ctx, from.node, asked, r),
            ResponseKind::SyncGroup(r) if r.error_code == 0 => {
                self.refuse(ctx, asked, "SyncGroup");
                if let Some(got) = assigned(&r.assignment) {
                    self.synced(ctx, from.node, asked, got);
                }
            }
            ResponseKind::Heartbeat(r) if r.error_code == 0 => self.refuse(ctx, asked, "Heartbeat"),
            ResponseKind::OffsetCommit(r) => {
                let Kind::Commit { parts } = &asked.what else { return };
                let answers = r.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| (t, p)));
                for ((source, offset, stale), (_, answer)) in parts.iter().zip(answers) {
                    if answer.error_code == 0 && answer.partition_index == source.1 {
                        self.commit_accepted(ctx, asked, source, *offset, stale.as_ref());
                    }
                }
            }
            ResponseKind::OffsetFetch(r) => self.fetched_offsets(ctx, asked, r),
            ResponseKind::ConsumerGroupHeartbeat(r) if r.error_code == 0 => {
                self.refuse(ctx, asked, "ConsumerGroupHeartbeat");
                self.beat_answered(ctx, from.node, asked, r);
            }
            _ => {}
        }
    }

    /// Whether what a member asked was a sign of life shows in its answer.
    pub(super) fn life_answered(&mut self, ctx: Ctx, asked: &Asked, response: &ResponseKind) {
        let watched = self.groups.watched(&asked.group);
        let together = watched.together;
        let Some(life) = watched.lives.get_mut(&asked.member).filter(|life| life.ordinal == asked.taken) else {
            return;
        };
        let Some(before) = asked.before else { return };
        let at_once = ctx.at == asked.at;
        let counts = match response {
            // A new generation, or the same answer again.
            ResponseKind::JoinGroup(r) => r.error_code == 0 && (!at_once || together == Some(ctx.at)),
            // At once: its part of what is stable already, which Kafka does not count.
            ResponseKind::SyncGroup(_) => !at_once,
            ResponseKind::Heartbeat(r) => matches!(r.error_code, 0 | REBALANCE_IN_PROGRESS),
            ResponseKind::ConsumerGroupHeartbeat(r) => r.error_code == 0,
            ResponseKind::OffsetCommit(r) => {
                !at_once || r.topics.iter().any(|t| t.partitions.iter().any(|p| p.error_code == 0))
            }
            _ => false,
        };
        if !counts {
            *life = Life { latest: life.latest, ..before };
        } else if life.waits != Waits::No {
            // Kafka counts the session from the answer on.
            (life.at, life.latest, life.ordinal) = (ctx.at, ctx.at, ctx.ordinal);
        }
        // A newer question may wait, but not this one.
        if matches!(asked.what, Kind::Join { .. } | Kind::Sync) {
            life.waits = Waits::No;
        }
    }

    pub(super) fn offsets_partition(&self, group: &str) -> Option<TopicIdPartition> {
        self.home(group).map(|ix| self.cluster.parts[ix.0].id)
    }

    pub(super) fn about_group(&mut self, ctx: Ctx, check: Check, group: &str, detail: String, because: &[Ordinal]) {
        let mut finding = ctx.finding(check, format!("group `{group}`: {detail}")).because(because);
        finding.partition = self.offsets_partition(group);
        self.findings.report(finding);
    }

    pub(super) fn issued(&mut self, ctx: Ctx, group: &str, member: &str, asked: Ordinal) {
        if member.is_empty() {
            return;
        }
        self.armed.judged(Check::UniqueIds);
        let key = (group.to_owned(), member.to_owned());
        if let Some(since) = self.groups.issued.insert(key, ctx.ordinal) {
            let detail = format!("member id {member} is issued twice");
            self.about_group(ctx, Check::UniqueIds, group, detail, &[since, asked]);
        }
    }

    pub(super) fn joined(&mut self, ctx: Ctx, node: NodeRef, asked: &Asked, r: &JoinGroupResponse) {
        let Kind::Join { instance, topics, session, rebalance } = &asked.what else { return };
        let member = r.member_id.to_string();
        let good = r.error_code == 0;
        if (good || r.error_code == MEMBER_ID_REQUIRED) && asked.member.is_empty() {
            self.issued(ctx, &asked.group, &member, asked.taken);
        }
        if !good && r.error_code != MEMBER_ID_REQUIRED {
            return;
        }
        let coordinator = self.coordinates(node, &asked.group);
        let watched = self.groups.watched(&asked.group);
        if asked.member.is_empty() {
            let (at, ordinal) = (ctx.at, ctx.ordinal);
            let (session, rebalance, waits) = (*session, *rebalance, Waits::No);
            watched.lives.insert(member.clone(), Life { at, latest: at, ordinal, session, rebalance, waits });
        }
        if good {
            watched.topics.insert(member.clone(), topics.clone());
            watched.joined.insert(member.clone(), asked.taken);
            if let Some(instance) = instance {
                let before = watched.instances.insert(instance.clone(), (topics.clone(), member.clone()));
                if let Some((_, old)) = before.filter(|(_, old)| *old != member) {
                    watched.lives.remove(&old);
                }
            }
            if let Some(c) = coordinator {
                watched.told = Some((c, r.generation_id, ctx.ordinal));
            }
        }
        if let Some(client) = self.groups.clients.get_mut(&asked.client) {
            client.leads = good && r.leader == r.member_id;
            client.member = member;
        }
    }

    /// A member is told its part of a generation.
    pub(super) fn synced(&mut self, ctx: Ctx, node: NodeRef, asked: &Asked, got: Vec<Source>) {
        self.armed.judged(Check::TraceContradicted);
        self.armed.judged(Check::ReplayEqualsLive);
        let (group, member, generation) = (&asked.group, &asked.member, asked.generation);
        if let Some(client) = self.groups.clients.get_mut(&asked.client) {
            client.told = Some((member.clone(), generation));
        }
        let traced = self.groups.watched.get(group).and_then(|w| w.traced.get(member)).cloned();
        let since = self.replayed(group).and_then(|(_, log)| log.replayed.groups.get(group.as_str()));
        let since = since.filter(|s| s.classic.as_ref().is_some_and(|c| c.generation == generation));
        let silent = since.is_none_or(|s| !self.was_there(node, group, s.classic_since));
        match traced.filter(|t| t.generation == generation && t.by == node) {
            Some(traced) if traced.assigned != got => {
                let detail = format!(
                    "{member} is told {} in generation {generation}; the coordinator's trace had it as {}",
                    listed(&got),
                    listed(&traced.assigned)
                );
                self.about_group(ctx, Check::TraceContradicted, group, detail, &[traced.ordinal, asked.taken]);
            }
            Some(_) => {}
            None if silent => {}
            None => {
                let detail = format!(
                    "{member} is told {} in generation {generation}, of which the trace says nothing",
                    listed(&got)
                );
                self.about_group(ctx, Check::TraceContradicted, group, detail, &[asked.taken]);
            }
        }
        let Some((_, log)) = self.replayed(group) else { return };
        let state = log.replayed.groups.get(group.as_str());
        let classic = state.and_then(|s| s.classic.as_ref()).filter(|c| c.generation >= generation);
        let Some(classic) = classic else {
            let detail = format!("{member} is told its part of generation {generation}, which is not in the log");
            self.about_group(ctx, Check::ReplayEqualsLive, group, detail, &[asked.taken]);
            return;
        };
        let (since, same) = (state.map_or(Ordinal(0), |s| s.classic_since), classic.generation == generation);
        let own = classic.members.iter().find(|m| m.id == *member).map(|m| m.assigned.clone());
        if let Some(own) = own.filter(|own| same && *own != got) {
            let detail = format!("{member} is told {}; the log has {}", listed(&got), listed(&own));
            self.about_group(ctx, Check::ReplayEqualsLive, group, detail, &[since, asked.taken]);
        }
    }

    /// A client has the answer to a SyncGroup.
    pub(in crate::invariants) fn sync_heard(&mut self, client: NodeRef) {
        let Some(side) = self.groups.clients.get_mut(&client) else { return };
        let Some((member, generation)) = side.told.take() else { return };
        let group = side.facts.group.to_string();
        self.groups.watched(&group).synced.insert(member, generation);
    }

    pub(super) fn beat_answered(&mut self, ctx: Ctx, node: NodeRef, asked: &Asked, r: &ConsumerGroupHeartbeatResponse) {
        let member = r.member_id.as_ref().map_or_else(|| asked.member.clone(), |m| m.to_string());
        if asked.member.is_empty() {
            self.issued(ctx, &asked.group, &member, asked.taken);
            let (at, ordinal, session) = (ctx.at, ctx.ordinal, self.groups.session);
            let (rebalance, waits) = (Duration::ZERO, Waits::No);
            let life = Life { at, latest: at, ordinal, session, rebalance, waits };
            self.groups.watched(&asked.group).lives.insert(member.clone(), life);
        }
        if let Some(client) = self.groups.clients.get_mut(&asked.client) {
            client.member.clone_from(&member);
        }
        // Only what was not refused: whoever was expelled and goes on beating comes anew.
        if let Kind::Consumer { topics: Some(topics), instance } = &asked.what {
            let watched = self.groups.watched(&asked.group);
            watched.topics.insert(member.clone(), topics.clone());
            if let Some(instance) = instance {
                watched.instances.insert(instance.clone(), (topics.clone(), member.clone()));
            }
        }
        let Some(assignment) = &r.assignment else { return };
        self.armed.judged(Check::TraceContradicted);
        self.armed.judged(Check::ReplayEqualsLive);
        let parts = assignment.topic_partitions.iter();
        let mut got: Vec<Source> =
            parts.flat_map(|t| t.partitions.iter().map(|p| self.source_of((TopicId(t.topic_id), *p)))).collect();
        got.sort();
        let (epoch, group) = (r.member_epoch, asked.group.clone());
        let traced = self.groups.watched.get(&group).and_then(|w| w.traced.get(&member)).cloned();
        let traced = traced.filter(|t| t.by == node);
        let holds = self.replayed(&group).and_then(|(_, log)| log.replayed.groups.get(&group)?.current.get(&member));
        let holds = holds.filter(|h| h.current.epoch == epoch).map(|h| {
            let mut assigned: Vec<Source> = h.current.assigned.iter().map(|p| self.source_of(*p)).collect();
            assigned.sort();
            (assigned, h.ordinal)
        });
        let told = listed(&got);
        let (check, since, detail) = match (&traced, holds) {
            (Some(t), _) if t.generation == epoch && t.assigned != got => {
                let traced = listed(&t.assigned);
                let detail =
                    format!("{member} is told {told} in epoch {epoch}; the coordinator's trace had it as {traced}");
                (Check::TraceContradicted, t.ordinal, detail)
            }
            (None, Some((_, since))) if !got.is_empty() && self.was_there(node, &group, since) => {
                (Check::TraceContradicted, since, format!("{member} is told {told}, of which the trace says nothing"))
            }
            (_, Some((assigned, since))) if assigned != got && self.coordinates(node, &group).is_some() => {
                let log = listed(&assigned);
                (Check::ReplayEqualsLive, since, format!("{member} is told {told} in epoch {epoch}; the log has {log}"))
            }
            _ => return,
        };
        self.about_group(ctx, check, &group, detail, &[since, asked.taken]);
    }
}

/// Partitions in words.
pub(super) fn listed(parts: &[Source]) -> String {
    let all: Vec<String> = parts.iter().take(12).map(|(t, p)| format!("{t}-{p}")).collect();
    let more = if parts.len() > 12 { format!(" and {} more", parts.len() - 12) } else { String::new() };
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") + &more }
}
