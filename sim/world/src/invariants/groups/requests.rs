//! What members ask and coordinators answer: committed-offset, fencing of members, unique member ids, and answers
//! against the trace and the log.
//!
//! A request is judged by what was committed when its coordinator took it up. An OffsetFetch may be answered with any
//! value that counted between then and its answer. A coordinator that was deposed and does not know it may answer from
//! what it remembers: Kafka has no barrier for reads.

use super::reader::{assigned, subscription_topics};
use super::{Life, Source, Waits};
use crate::event::{ConnEnd, NodeRef, Ordinal};
use crate::invariants::Invariants;
use crate::invariants::cluster::PartIx;
use crate::invariants::finding::Ctx;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JoinGroupResponse, OffsetCommitRequest,
    OffsetFetchResponse, RequestKind, ResponseKind,
};
use klamm_model::ids::*;
use klamm_model::node::ConnId;
use klamm_model::units::{Duration, Instant};
use std::collections::VecDeque;

/// MEMBER_ID_REQUIRED.
const MEMBER_ID_REQUIRED: i16 = 79;
/// REBALANCE_IN_PROGRESS.
const REBALANCE_IN_PROGRESS: i16 = 27;

/// Why a request must not change anything.
#[derive(Clone, Debug)]
pub(super) struct Stale {
    why: String,
    because: Ordinal,
}

/// What of a request is needed to judge its answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    correlation: i32,
    taken: Ordinal,
    at: Instant,
    /// The member's last sign of life before, if this may be one.
    before: Option<Life>,
    client: NodeRef,
    group: String,
    member: String,
    generation: i32,
    /// The whole request is stale.
    stale: Option<Stale>,
    what: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Join {
        instance: Option<String>,
        topics: Vec<String>,
        session: Duration,
        rebalance: Duration,
    },
    Sync,
    Heartbeat,
    Commit {
        parts: Vec<(Source, i64, Option<Stale>)>,
    },
    /// Whether the node was the legitimate coordinator of each group.
    Fetch {
        legitimate: Vec<(String, bool)>,
    },
    /// What it says that it subscribes to, if it says so, and which static member it is.
    Consumer {
        topics: Option<Vec<String>>,
        instance: Option<String>,
    },
    Leave,
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// A request that came while an earlier one of its connection was in process.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    from: ConnEnd,
    to: ConnEnd,
    correlation: i32,
    version: i16,
    request: RequestKind,
}

impl Invariants {
    /// A broker gets a request of the group APIs. It takes up one at a time of each connection (Kafka mutes the channel):
    /// behind a commit that waits for replication even a heartbeat is not heard.
    pub(in crate::invariants) fn group_asked(
        &mut self,
        ctx: Ctx,
        from: &ConnEnd,
        to: &ConnEnd,
        correlation: i32,
        version: i16,
        request: &RequestKind,
    ) {
        let place = (to.node, to.conn);
        if self.groups.open.contains_key(&place) {
            let queued = Queued { from: *from, to: *to, correlation, version, request: request.clone() };
            self.groups.queued.entry(place).or_default().push_back(queued);
        } else {
            self.group_taken(ctx, from, to, correlation, version, request);
        }
    }

    fn next_taken(&mut self, ctx: Ctx, place: (NodeRef, ConnId)) {
        let Some(queue) = self.groups.queued.get_mut(&place) else { return };
        let next = queue.pop_front();
        if queue.is_empty() {
            self.groups.queued.remove(&place);
        }
        if let Some(q) = next {
            self.group_taken(ctx, &q.from, &q.to, q.correlation, q.version, &q.request);
        }
    }

    /// A broker takes up a request of the group APIs.
    fn group_taken(
        &mut self,
        ctx: Ctx,
        from: &ConnEnd,
        to: &ConnEnd,
        correlation: i32,
        version: i16,
        request: &RequestKind,
    ) {
        let node = to.node;
        let base = |group: &str, member: &str, generation: i32, what: Kind| Asked {
            correlation,
            taken: ctx.ordinal,
            at: ctx.at,
            before: None,
            client: from.node,
            group: group.to_owned(),
            member: member.to_owned(),
            generation,
            stale: None,
            what,
        };
        let mut asked = match request {
            RequestKind::JoinGroup(r) => {
                let topics = r.protocols.first().and_then(|p| subscription_topics(&p.metadata)).unwrap_or_default();
                self.join_cause(ctx, &r.group_id.0, &r.member_id, r.group_instance_id.as_deref(), &topics);
                let what = Kind::Join {
                    instance: r.group_instance_id.as_ref().map(|i| i.to_string()),
                    topics,
                    session: millis(r.session_timeout_ms),
                    rebalance: millis(if version == 0 { r.session_timeout_ms } else { r.rebalance_timeout_ms }),
                };
                base(&r.group_id.0, &r.member_id, -1, what)
            }
            RequestKind::SyncGroup(r) => base(&r.group_id.0, &r.member_id, r.generation_id, Kind::Sync),
            RequestKind::Heartbeat(r) => base(&r.group_id.0, &r.member_id, r.generation_id, Kind::Heartbeat),
            RequestKind::LeaveGroup(r) => {
                self.group_cause(ctx, &r.group_id.0, "a member leaves");
                let left = r.members.iter().map(|m| &m.member_id).chain([&r.member_id]);
                let left: Vec<String> = left.map(|m| m.to_string()).collect();
                let watched = self.groups.watched(&r.group_id.0);
                for member in &left {
                    watched.lives.remove(member);
                }
                self.forgive(from.node);
                base(&r.group_id.0, &r.member_id, -1, Kind::Leave)
            }
            RequestKind::OffsetCommit(r) => {
                let parts = self.commit_parts(node, r);
                base(&r.group_id.0, &r.member_id, r.generation_id_or_member_epoch, Kind::Commit { parts })
            }
            RequestKind::OffsetFetch(r) => {
                let groups: Vec<&str> = match r.groups.is_empty() {
                    true => vec![&r.group_id.0],
                    false => r.groups.iter().map(|g| &*g.group_id.0).collect(),
                };
                let legitimate =
                    groups.iter().map(|g| ((*g).to_owned(), self.coordinates(node, g).is_some())).collect();
                base(groups[0], "", -1, Kind::Fetch { legitimate })
            }
            RequestKind::ConsumerGroupHeartbeat(r) => {
                let topics = r.subscribed_topic_names.as_ref().map(|all| {
                    let mut names: Vec<String> = all.iter().map(|t| t.0.to_string()).collect();
                    names.sort();
                    names
                });
                self.beats(ctx, from.node, node, r, topics.as_deref());
                let instance = r.instance_id.as_ref().map(|i| i.to_string());
                base(&r.group_id.0, &r.member_id, r.member_epoch, Kind::Consumer { topics, instance })
            }
            _ => return,
        };
        match asked.what {
            Kind::Sync | Kind::Heartbeat | Kind::Consumer { .. } => asked.stale = self.stale(node, &asked),
            _ => {}
        }
        if !asked.member.is_empty() {
            // A commit prolongs the session of a classic member only, and whoever does not coordinate counts nothing.
            let alive = self.coordinates(node, &asked.group).is_some()
                && (!matches!(asked.what, Kind::Commit { .. }) || !self.beats_for_itself(&asked));
            if let Some(life) = self.groups.watched(&asked.group).lives.get_mut(&asked.member).filter(|_| alive) {
                life.latest = ctx.at;
                asked.before = Some(*life);
                (life.at, life.ordinal) = (ctx.at, ctx.ordinal);
                match asked.what {
                    Kind::Join { session, rebalance, .. } => {
                        (life.session, life.rebalance, life.waits) = (session, rebalance, Waits::Join);
                    }
                    Kind::Sync => life.waits = Waits::Sync,
                    _ => {}
                }
            }
            if let Kind::Join { .. } = asked.what {
                self.groups.watched(&asked.group).joined.insert(asked.member.clone(), ctx.ordinal);
            }
            if let Some(client) = self.groups.clients.get_mut(&from.node) {
                client.member.clone_from(&asked.member);
            }
        }
        self.groups.open.insert((node, to.conn), asked);
    }

    /// Whether the log knows the member as one of KIP-848.
    fn beats_for_itself(&self, asked: &Asked) -> bool {
        let state = self.replayed(&asked.group).and_then(|(_, log)| log.replayed.groups.get(&asked.group));
        state.is_some_and(|s| s.members.contains_key(&asked.member))
    }

    fn commit_parts(&self, node: NodeRef, r: &OffsetCommitRequest) -> Vec<(Source, i64, Option<Stale>)> {
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

    fn stale(&self, node: NodeRef, asked: &Asked) -> Option<Stale> {
        // A deposed coordinator that does not know it may go on for a while.
        self.coordinates(node, &asked.group)?;
        self.stale_member(node, &asked.group, &asked.member, asked.generation, false)
    }

    /// Whether a request bears an epoch that is over, or comes from somebody who is no member, by what is committed.
    fn stale_member(&self, node: NodeRef, group: &str, member: &str, generation: i32, commit: bool) -> Option<Stale> {
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
    fn stale_partition(&self, group: &str, member: &str, epoch: i32, topic: TopicId, partition: i32) -> Option<Stale> {
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

    fn judge_answer(&mut self, ctx: Ctx, from: &ConnEnd, asked: &Asked, response: &ResponseKind) {
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
    fn life_answered(&mut self, ctx: Ctx, asked: &Asked, response: &ResponseKind) {
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

    fn offsets_partition(&self, group: &str) -> Option<TopicIdPartition> {
        self.home(group).map(|ix| self.cluster.parts[ix.0].id)
    }

    pub(super) fn about_group(
        &mut self,
        ctx: Ctx,
        check: &'static str,
        group: &str,
        detail: String,
        because: &[Ordinal],
    ) {
        let mut finding = ctx.finding(check, format!("group `{group}`: {detail}")).because(because);
        finding.partition = self.offsets_partition(group);
        self.findings.report(finding);
    }
    fn refuse(&mut self, ctx: Ctx, asked: &Asked, api: &str) {
        if let Some(Stale { why, because }) = &asked.stale {
            let detail = format!("a {api} that is stale is answered without an error: {why}");
            self.about_group(ctx, "fencing", &asked.group, detail, &[*because, asked.taken]);
        }
    }

    fn issued(&mut self, ctx: Ctx, group: &str, member: &str, asked: Ordinal) {
        if member.is_empty() {
            return;
        }
        let key = (group.to_owned(), member.to_owned());
        if let Some(since) = self.groups.issued.insert(key, ctx.ordinal) {
            let detail = format!("member id {member} is issued twice");
            self.about_group(ctx, "unique-ids", group, detail, &[since, asked]);
        }
    }

    fn joined(&mut self, ctx: Ctx, node: NodeRef, asked: &Asked, r: &JoinGroupResponse) {
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
    fn synced(&mut self, ctx: Ctx, node: NodeRef, asked: &Asked, got: Vec<Source>) {
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
                self.about_group(ctx, "trace-contradicted", group, detail, &[traced.ordinal, asked.taken]);
            }
            Some(_) => {}
            None if silent => {}
            None => {
                let detail = format!(
                    "{member} is told {} in generation {generation}, of which the trace says nothing",
                    listed(&got)
                );
                self.about_group(ctx, "trace-contradicted", group, detail, &[asked.taken]);
            }
        }
        let Some((_, log)) = self.replayed(group) else { return };
        let state = log.replayed.groups.get(group.as_str());
        let classic = state.and_then(|s| s.classic.as_ref()).filter(|c| c.generation >= generation);
        let Some(classic) = classic else {
            let detail = format!("{member} is told its part of generation {generation}, which is not in the log");
            self.about_group(ctx, "replay-equals-live", group, detail, &[asked.taken]);
            return;
        };
        let (since, same) = (state.map_or(Ordinal(0), |s| s.classic_since), classic.generation == generation);
        let own = classic.members.iter().find(|m| m.id == *member).map(|m| m.assigned.clone());
        if let Some(own) = own.filter(|own| same && *own != got) {
            let detail = format!("{member} is told {}; the log has {}", listed(&got), listed(&own));
            self.about_group(ctx, "replay-equals-live", group, detail, &[since, asked.taken]);
        }
    }

    /// A client has the answer to a SyncGroup.
    pub(in crate::invariants) fn sync_heard(&mut self, client: NodeRef) {
        let Some(side) = self.groups.clients.get_mut(&client) else { return };
        let Some((member, generation)) = side.told.take() else { return };
        let group = side.facts.group.to_string();
        self.groups.watched(&group).synced.insert(member, generation);
    }

    fn commit_accepted(&mut self, ctx: Ctx, asked: &Asked, source: &Source, offset: i64, stale: Option<&Stale>) {
        let group = &asked.group;
        if let Some(Stale { why, because }) = stale {
            let detail =
                format!("a commit of {offset} for {}-{} is accepted though it is stale: {why}", source.0, source.1);
            self.about_group(ctx, "fencing", group, detail, &[*because, asked.taken]);
        }
        let Some((_, log)) = self.replayed(group) else { return };
        let committed = log.replayed.groups.get(group.as_str()).and_then(|g| g.offsets.get(source));
        let there = committed.is_some_and(|c| c.since(asked.taken).is_none_or(|all| all.contains(&Some(offset))));
        if !there {
            let detail = format!(
                "a commit of {offset} for {}-{} is acknowledged; no committed record of the offsets topic says so",
                source.0, source.1
            );
            self.about_group(ctx, "committed-offset", group, detail, &[asked.taken]);
        }
    }

    fn fetched_offsets(&mut self, ctx: Ctx, asked: &Asked, r: &OffsetFetchResponse) {
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
            self.about_group(ctx, "committed-offset", group, detail, &[asked.taken]);
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
            self.about_group(ctx, "trace-contradicted", group, detail, &[]);
        }
    }

    /// A tombstone of an offset: it may expire only when nobody can need it (KIP-211).
    pub(super) fn expiry_judged(&mut self, ctx: Ctx, ix: PartIx, offset: i64, said: &super::Said) {
        let super::Said::Offset { group, topic, offset: None, .. } = said else { return };
        let gone = !self.cluster.names.contains_key(topic.as_str());
        let Some(state) = self.groups.logs.get(&ix).and_then(|l| l.replayed.groups.get(group)) else { return };
        let classic = state.classic.as_ref().is_some_and(|c| c.members.iter().any(|m| m.topics.contains(topic)));
        let consumer = state.members.values().any(|m| m.topics.contains(topic));
        if !gone && (classic || consumer) {
            let detail = format!("an offset of {topic} is deleted while the group's members subscribe to it");
            let since = state.classic_since;
            let finding = ctx.finding("committed-offset", format!("group `{group}`: {detail}"));
            let id = self.cluster.parts[ix.0].id;
            self.findings.report(finding.about(id).offset(Offset(offset)).because(&[since]));
        }
    }

    fn beats(
        &mut self,
        ctx: Ctx,
        client: NodeRef,
        node: NodeRef,
        r: &ConsumerGroupHeartbeatRequest,
        topics: Option<&[String]>,
    ) {
        let (group, member) = (r.group_id.0.to_string(), r.member_id.to_string());
        match r.member_epoch {
            0 => self.join_cause(ctx, &group, &member, r.instance_id.as_deref(), topics.unwrap_or_default()),
            // A static member that means to come back does not leave (-2).
            -1 => self.group_cause(ctx, &group, "a member leaves"),
            _ => {
                let known = self.groups.watched.get(&group).and_then(|w| w.topics.get(&member));
                if topics.is_some_and(|t| known.is_some_and(|k| k != t)) {
                    self.group_cause(ctx, &group, "a member changes its subscription");
                }
            }
        }
        let session = self.groups.session;
        let coordinates = self.coordinates(node, &group).is_some();
        let watched = self.groups.watched(&group);
        if r.member_epoch < 0 {
            watched.lives.remove(&member);
            self.forgive(client);
            return;
        }
        if !member.is_empty() && coordinates {
            let life = watched.lives.entry(member).or_insert(Life {
                at: ctx.at,
                latest: ctx.at,
                ordinal: ctx.ordinal,
                session,
                rebalance: Duration::ZERO,
                waits: Waits::No,
            });
            if r.rebalance_timeout_ms > 0 {
                life.rebalance = millis(r.rebalance_timeout_ms);
            }
        }
    }

    fn beat_answered(&mut self, ctx: Ctx, node: NodeRef, asked: &Asked, r: &ConsumerGroupHeartbeatResponse) {
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
                ("trace-contradicted", t.ordinal, detail)
            }
            (None, Some((_, since))) if !got.is_empty() && self.was_there(node, &group, since) => {
                ("trace-contradicted", since, format!("{member} is told {told}, of which the trace says nothing"))
            }
            (_, Some((assigned, since))) if assigned != got && self.coordinates(node, &group).is_some() => {
                let log = listed(&assigned);
                ("replay-equals-live", since, format!("{member} is told {told} in epoch {epoch}; the log has {log}"))
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
