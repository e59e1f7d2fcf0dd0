//! One partition of the offsets topic: its groups, and what of them is written and not yet committed.

use super::classic::{self, ClassicGroup};
use super::consumer::{self, ConsumerGroup};
use super::loading::{Loading, decode_chunk};
use super::offsets::Offsets;
use super::requests::{refused, refused_join, refused_sync};
use super::{Ctx, Then, What, Write};
use crate::broker::connections::Caller;
use crate::controller::image::Image;
use crate::defects::{Defect, Defects};
use crate::ids::*;
use crate::inspect::{CoordinatorInspection, GroupInspection, MemberInspection};
use crate::log::AppendInfo;
use crate::record::schema::GroupRecord;
use crate::timers::TimerKey;
use crate::trace::TraceEvent;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ResponseKind;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a group is, beside its offsets.
#[derive(Debug)]
pub(super) enum Kind {
    /// One of the classic protocol, or one that only commits offsets.
    Classic(Box<ClassicGroup>),
    /// One of KIP-848.
    Consumer(Box<ConsumerGroup>),
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// Committed offsets.
    pub offsets: Offsets,
    /// The rest.
    pub kind: Kind,
}

impl Group {
    pub fn new(id: Arc<str>) -> Group {
        Group { offsets: Offsets::default(), kind: Kind::Classic(Box::new(ClassicGroup::new(id))) }
    }
    /// Nothing is left of it.
    pub fn is_vacant(&self) -> bool {
        self.offsets.is_empty() && self.classic().is_some_and(ClassicGroup::is_vacant)
    }
    /// The classic group, if it is one.
    pub fn classic(&self) -> Option<&ClassicGroup> {
        if let Kind::Classic(group) = &self.kind { Some(group) } else { None }
    }
    /// The classic group, if it is one.
    pub fn classic_mut(&mut self) -> Option<&mut ClassicGroup> {
        if let Kind::Classic(group) = &mut self.kind { Some(group) } else { None }
    }
    /// The KIP-848 group, if it is one.
    pub fn consumer(&self) -> Option<&ConsumerGroup> {
        if let Kind::Consumer(group) = &self.kind { Some(group) } else { None }
    }
    /// The KIP-848 group, if it is one.
    pub fn consumer_mut(&mut self) -> Option<&mut ConsumerGroup> {
        if let Kind::Consumer(group) = &mut self.kind { Some(group) } else { None }
    }
    /// Kafka's name of its state, and its generation or epoch.
    pub fn state(&self) -> (&'static str, i32) {
        match &self.kind {
            Kind::Classic(group) => (group.state().name(), group.generation),
            Kind::Consumer(group) => (group.state(), group.epoch),
        }
    }
}

/// Where a shard is in its life.
#[derive(Debug)]
pub(super) enum State {
    /// Reading its log.
    Loading(Loading),
    /// Serving.
    Active,
}

/// Written and not yet committed.
#[derive(Debug)]
struct Pending {
    group: Arc<str>,
    base: Offset,
    /// The offset after its last record.
    next: Offset,
    records: Vec<GroupRecord>,
    then: Then,
    events: Vec<TraceEvent>,
    /// None for what needs no record.
    timer: Option<TimerKey>,
}

/// One partition's coordinator.
#[derive(Debug)]
pub(super) struct Shard {
    /// Which.
    pub partition: TopicIdPartition,
    /// The leader epoch in which it coordinates.
    pub epoch: LeaderEpoch,
    /// Unique among the shards of this process.
    pub number: u64,
    /// Where it is.
    pub state: State,
    /// Its groups by id.
    pub groups: BTreeMap<Arc<str>, Group>,
    pending: VecDeque<Pending>,
    /// Everything below is committed and part of the state.
    pub committed: Offset,
}

impl Shard {
    /// One that has to read its log up to `target` first.
    pub fn loading(partition: TopicIdPartition, epoch: LeaderEpoch, number: u64, target: Offset) -> Shard {
        Shard {
            partition,
            epoch,
            number,
            state: State::Loading(Loading::up_to(target)),
            groups: BTreeMap::new(),
            pending: VecDeque::new(),
            committed: Offset(0),
        }
    }
    /// Whether its log is replayed.
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Active)
    }
    /// The high watermark for which the oldest write waits.
    pub fn next_pending(&self) -> Option<Offset> {
        self.pending.front().map(|p| p.next)
    }
    /// The high watermark for which the latest write waits.
    pub fn last_pending(&self) -> Option<Offset> {
        self.pending.back().map(|p| p.next)
    }
    /// Whether a client's commit is written and not yet committed.
    pub fn has_pending_commit(&self) -> bool {
        self.pending
            .iter()
            .flat_map(|p| &p.records)
            .any(|r| matches!(r, GroupRecord::OffsetCommit { value: Some(_), .. }))
    }
    /// Offsets with a record on its way.
    pub fn pending_offsets(&self) -> impl Iterator<Item = (&str, &str, i32)> {
        self.pending.iter().flat_map(|p| &p.records).filter_map(|r| match r {
            GroupRecord::OffsetCommit { group, topic, partition, .. } => Some((&**group, &**topic, *partition)),
            _ => None,
        })
    }

    /// A chunk of the log.
    pub fn replay_chunk(&mut self, data: &Bytes, ctx: &mut Ctx<'_>) {
        let (records, next) = decode_chunk(data);
        let State::Loading(loading) = &mut self.state else { return };
        loading.position = next.unwrap_or(loading.position);
        loading.chunk += 1;
        let chunk = loading.chunk;
        if chunk == 2 {
            ctx.mark("coordinator-loaded-many-chunks");
        }
        for (_, record) in records {
            let State::Loading(loading) = &mut self.state else { return };
            let first = *loading.first_chunk.entry(Arc::from(record.group())).or_insert(chunk);
            if first < chunk && ctx.defects.on(Defect::LoadKeepsFirstChunk) {
                continue;
            }
            self.replay_group(&record, None, ctx.defects);
            self.replay_offset(&record);
        }
    }

    /// Everything is replayed and committed.
    pub fn loaded(&mut self, ctx: &mut Ctx<'_>) {
        let State::Loading(loading) = &self.state else { return };
        let log_end = loading.target;
        self.committed = self.committed.max(log_end);
        self.state = State::Active;
        self.groups.retain(|_, g| !g.is_vacant());
        ctx.out.trace(TraceEvent::CoordinatorLoaded {
            partition: self.partition,
            epoch: self.epoch,
            log_end,
            groups: self.groups.len() as u32,
        });
        ctx.mark("coordinator-loaded");
        for group in self.groups.values_mut() {
            match &mut group.kind {
                Kind::Classic(classic) => classic.loaded(ctx),
                Kind::Consumer(consumer) => consumer.loaded(ctx),
            }
        }
        ctx.timer(ctx.now.mono + ctx.config.offsets_retention_check, What::Expiry);
    }

    /// The part of a record that later decisions build on, as soon as it is written. `ctx` is there but for loading.
    fn replay_group(&mut self, record: &GroupRecord, ctx: Option<&mut Ctx<'_>>, defects: Defects) {
        let GroupRecord::GroupMetadata { group: id, value } = record else {
            return self.replay_consumer(record, ctx, defects);
        };
        match (value, ctx) {
            // A live group is ahead of the record of its generation.
            (Some(_), Some(_)) => {}
            (Some(value), None) => {
                let id: Arc<str> = Arc::from(id.as_str());
                let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
                group.kind = Kind::Classic(Box::new(ClassicGroup::from_record(id, value)));
            }
            (None, ctx) => {
                let Some((id, group)) = self.groups.get_key_value(id.as_str()).map(|(k, _)| k.clone()).and_then(|k| {
                    let group = self.groups.get_mut(&k)?;
                    Some((k, group))
                }) else {
                    return;
                };
                if let (Some(classic), Some(ctx)) = (group.classic_mut(), ctx) {
                    classic.die(ctx);
                }
                group.kind = Kind::Classic(Box::new(ClassicGroup::new(id)));
            }
        }
    }

    fn replay_consumer(&mut self, record: &GroupRecord, ctx: Option<&mut Ctx<'_>>, defects: Defects) {
        let creates = match record {
            GroupRecord::OffsetCommit { .. } | GroupRecord::GroupMetadata { .. } => return,
            GroupRecord::ConsumerGroupMetadata { value, .. } => value.is_some(),
            GroupRecord::ConsumerGroupMember { value, .. } => value.is_some(),
            GroupRecord::TargetAssignmentMetadata { value, .. } => value.is_some(),
            GroupRecord::TargetAssignmentMember { value, .. } => value.is_some(),
            GroupRecord::CurrentMemberAssignment { value, .. } => value.is_some(),
        };
        let known = self.groups.get(record.group()).is_some_and(|g| g.consumer().is_some());
        if !known && !creates {
            return;
        }
        let id: Arc<str> = Arc::from(record.group());
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
        if !known {
            group.kind = Kind::Consumer(Box::new(ConsumerGroup::new(id.clone())));
        }
        let Some(consumer) = group.consumer_mut() else { return };
        if consumer.replay(record, defects) {
            group.kind = Kind::Classic(Box::new(ClassicGroup::new(id)));
            return;
        }
        let Some(ctx) = ctx else { return };
        match record {
            GroupRecord::CurrentMemberAssignment { member, value: Some(_), .. } => consumer.set_timers(member, ctx),
            GroupRecord::ConsumerGroupMetadata { .. } => consumer.has_seen(ctx.metadata_version),
            _ => {}
        }
    }

    /// The part of a record that is true once it is committed.
    fn replay_offset(&mut self, record: &GroupRecord) {
        let GroupRecord::OffsetCommit { group: id, topic, partition, value } = record else { return };
        let group = match self.groups.get_mut(id.as_str()) {
            Some(group) => group,
            None => {
                let id: Arc<str> = Arc::from(id.as_str());
                self.groups.entry(id.clone()).or_insert_with(|| Group::new(id))
            }
        };
        group.offsets.set(topic, *partition, value.clone());
    }

    /// What was decided is in the log.
    pub fn appended(&mut self, write: Write, info: AppendInfo, ctx: &mut Ctx<'_>) {
        let Write { group, records, then, mut events, why } = write;
        let before = self.groups.get(&group).map(|g| (g.consumer().is_some(), g.state()));
        let defects = ctx.defects;
        for record in &records {
            self.replay_group(record, Some(ctx), defects);
        }
        self.note_changes(&group, before, &records, why, &mut events, ctx);
        let timer = ctx.timer(ctx.now.mono + ctx.config.offsets_commit_timeout, What::Write { base: info.base });
        let next = info.last.plus(1);
        self.pending.push_back(Pending { group, base: info.base, next, records, then, events, timer: Some(timer) });
    }

    /// What the records changed in a KIP-848 group, for when they are committed.
    fn note_changes(
        &self,
        id: &Arc<str>,
        before: Option<(bool, (&'static str, i32))>,
        records: &[GroupRecord],
        why: &'static str,
        events: &mut Vec<TraceEvent>,
        ctx: &Ctx<'_>,
    ) {
        let after = self.groups.get(id).and_then(Group::consumer);
        let was = before.filter(|(consumer, _)| *consumer).map(|(_, state)| state);
        let mut told = BTreeSet::new();
        for record in records.iter().rev() {
            // Of several records of a member the last counts.
            let GroupRecord::CurrentMemberAssignment { member, value: Some(v), .. } = record else { continue };
            let Some(m) = after.and_then(|g| g.members.get(member.as_str())).filter(|_| told.insert(member)) else {
                continue;
            };
            events.push(TraceEvent::MemberAssignment {
                group: id.clone(),
                epoch: ctx.epoch,
                member: m.id.clone(),
                instance: m.said.instance_id.as_deref().map(Arc::from),
                generation: v.member_epoch,
                assigned: consumer::named(&m.assigned, ctx.image),
                pending_revocation: consumer::named(&m.pending, ctx.image),
            });
        }
        let (from, to, generation, members) = match (was, after) {
            (None, None) => return,
            (Some((from, epoch)), None) => (from, "Dead", epoch, 0),
            (was, Some(g)) => (was.map_or("Empty", |w| w.0), g.state(), g.epoch, g.members.len() as u32),
        };
        if from != to {
            events.push(TraceEvent::GroupState {
                group: id.clone(),
                epoch: ctx.epoch,
                generation,
                from,
                to,
                members,
                why,
            });
        }
    }

    /// The high watermark moved.
    pub fn commit(&mut self, high_watermark: Offset, ctx: &mut Ctx<'_>) {
        while let Some(p) = self.pending.pop_front_if(|p| p.next <= high_watermark) {
            p.timer.into_iter().for_each(|timer| ctx.cancel(timer));
            for (at, record) in (p.base.0..).map(Offset).zip(&p.records) {
                self.replay_offset(record);
                self.trace_offset(record, at, ctx);
            }
            self.committed = p.next;
            for event in p.events {
                ctx.out.trace(event);
            }
            self.finish(&p.group, p.then, &p.records, ctx);
            if self.groups.get(&p.group).is_some_and(Group::is_vacant) {
                self.groups.remove(&p.group);
            }
        }
    }

    /// What needs no record. An answer waits nevertheless until all is committed that it may be based on (Kafka:
    /// `CoordinatorRuntime`, "the read needs to wait on the last write operation").
    pub fn committed_nothing(&mut self, write: Write, ctx: &mut Ctx<'_>) {
        if let (Then::Reply { .. }, Some(last)) = (&write.then, self.pending.back())
            && !ctx.defects.on(Defect::CoordinatorAnswersEarly)
        {
            let Write { group, records, then, events, .. } = write;
            let (base, next) = (last.next, last.next);
            self.pending.push_back(Pending { group, base, next, records, then, events, timer: None });
            return;
        }
        for event in write.events {
            ctx.out.trace(event);
        }
        self.finish(&write.group, write.then, &[], ctx);
    }

    fn trace_offset(&self, record: &GroupRecord, at: Offset, ctx: &mut Ctx<'_>) {
        let GroupRecord::OffsetCommit { group, topic, partition, value } = record else { return };
        ctx.out.trace(TraceEvent::OffsetCommitted {
            group: Arc::from(group.as_str()),
            partition: self.partition,
            epoch: self.epoch,
            source: crate::history::TopicPartition { topic: Arc::from(topic.as_str()), partition: *partition },
            offset: value.as_ref().map(|v| v.offset),
            at,
        });
    }

    fn finish(&mut self, id: &Arc<str>, then: Then, records: &[GroupRecord], ctx: &mut Ctx<'_>) {
        match then {
            Then::Nothing | Then::NewGroup { .. } | Then::PutOut { .. } | Then::Emptied { .. } => {}
            Then::Reply { caller, response } => ctx.reply(caller, *response),
            Then::Assigned { generation } => {
                if let Some(group) = self.groups.get_mut(id).and_then(Group::classic_mut) {
                    group.assigned(generation, Ok(classic::generation_of(records)), ctx);
                }
            }
            Then::StaticReplaced { caller, new, was } => {
                if let Some(group) = self.groups.get_mut(id).and_then(Group::classic_mut) {
                    group.static_replaced(caller, &new, *was, Ok(()), ctx);
                }
            }
        }
    }

    /// It could not be written, or (if `appended`) it is not known whether it will be committed.
    pub fn failed(&mut self, id: &Arc<str>, then: Then, error: ResponseError, appended: bool, ctx: &mut Ctx<'_>) {
        match then {
            Then::Nothing => {}
            Then::Reply { caller, response } => ctx.reply(caller, refused(*response, error)),
            Then::NewGroup { caller } if !appended => {
                let Some(mut group) = self.groups.remove(id) else { return };
                let waiting = group.classic_mut().map(|g| g.waiting().0).unwrap_or_default();
                if !waiting.contains(&caller) {
                    ctx.refuse_join(caller, "", error);
                }
                for caller in waiting {
                    ctx.refuse_join(caller, "", error);
                }
            }
            Then::PutOut { member, reason } if !appended => self.put_out_again(id, &member, reason, ctx),
            Then::Emptied { generation } if !appended => {
                if let Some(group) = self.groups.get_mut(id).and_then(Group::classic_mut) {
                    group.not_emptied(generation, ctx);
                }
            }
            Then::NewGroup { .. } | Then::PutOut { .. } | Then::Emptied { .. } => {}
            Then::Assigned { generation } => {
                if let Some(group) = self.groups.get_mut(id).and_then(Group::classic_mut) {
                    group.assigned(generation, Err(error), ctx);
                }
            }
            Then::StaticReplaced { caller, new, was } => {
                if let Some(group) = self.groups.get_mut(id).and_then(Group::classic_mut) {
                    group.static_replaced(caller, &new, *was, Err((error, appended)), ctx);
                }
            }
        }
    }

    /// A timer of this shard's.
    pub fn run(&mut self, what: What, ctx: &mut Ctx<'_>) {
        match what {
            What::Session { group, member, at } => match self.groups.get_mut(&group).map(|g| &mut g.kind) {
                None => {}
                Some(Kind::Classic(classic)) => {
                    classic.session_over(&member, at, ctx);
                    self.drop_if_vacant(&group);
                }
                Some(Kind::Consumer(_)) => self.consumer_session_over(&group, &member, at, ctx),
            },
            What::Rebalance { group, member, epoch } => self.consumer_rebalance_over(&group, &member, epoch, ctx),
            What::Join { group } => {
                if let Some(classic) = self.groups.get_mut(&group).and_then(Group::classic_mut) {
                    classic.join_time_over(ctx);
                }
            }
            What::Sync { group, generation } => {
                if let Some(classic) = self.groups.get_mut(&group).and_then(Group::classic_mut) {
                    classic.sync_time_over(generation, ctx);
                }
            }
            What::Emptied { group, generation } => {
                if let Some(classic) = self.groups.get_mut(&group).and_then(Group::classic_mut) {
                    classic.empty_again(generation, ctx);
                }
            }
            What::Write { base } => self.write_timed_out(base, ctx),
            What::Expiry => self.expire_offsets(ctx),
            What::Fetches => {}
        }
    }

    fn drop_if_vacant(&mut self, id: &Arc<str>) {
        let written = self.pending.iter().any(|p| p.group == *id);
        if !written && self.groups.get(id).is_some_and(Group::is_vacant) {
            self.groups.remove(id);
        }
    }

    /// `offsets.commit.timeout.ms` is over. The records stay where they are, and take effect if they are committed.
    fn write_timed_out(&mut self, base: Offset, ctx: &mut Ctx<'_>) {
        let Some(p) = self.pending.iter_mut().find(|p| p.base == base && p.timer.is_some()) else { return };
        let then = std::mem::replace(&mut p.then, Then::Nothing);
        let group = p.group.clone();
        ctx.mark("group-write-timed-out");
        let error = super::runtime::coordinator_error(ResponseError::RequestTimedOut);
        self.failed(&group, then, error, true, ctx);
    }

    /// Everybody who waits, and what they are told.
    pub fn give_up(self, error: ResponseError) -> Vec<(Caller, ResponseKind)> {
        let mut answers: Vec<(Caller, ResponseKind)> = Vec::new();
        for p in self.pending {
            if let Then::Reply { caller, response } = p.then {
                answers.push((caller, refused(*response, error)));
            }
        }
        for mut group in self.groups.into_values() {
            let Some(classic) = group.classic_mut() else { continue };
            let (joins, syncs) = classic.waiting();
            answers
                .extend(joins.into_iter().map(|c| (c, classic::fit_join(refused_join("", error), c.version).into())));
            answers.extend(syncs.into_iter().map(|c| (c, classic::fit_sync(refused_sync(error), c.version).into())));
        }
        answers
    }

    /// Its account of itself.
    pub fn inspect(&self, image: &Image) -> CoordinatorInspection {
        CoordinatorInspection {
            partition: self.partition,
            epoch: self.epoch,
            committed: self.committed,
            quiet: self.pending.is_empty(),
            groups: self
                .groups
                .iter()
                .filter(|(_, g)| !g.is_vacant())
                .map(|(id, g)| (id.to_string(), inspect_group(g, image)))
                .collect(),
        }
    }
}

fn inspect_group(group: &Group, image: &Image) -> GroupInspection {
    let offsets = group.offsets.iter().map(|(topic, p, v)| ((topic.to_owned(), p), v.offset)).collect();
    let g = match &group.kind {
        Kind::Classic(g) => g,
        Kind::Consumer(g) => {
            let member = |m: &consumer::Member| {
                let assigned = consumer::named(&m.assigned, image);
                let inspection = MemberInspection {
                    instance: m.said.instance_id.clone(),
                    epoch: m.epoch,
                    assigned: assigned.into_iter().map(|p| (p.topic.to_string(), p.partition)).collect(),
                };
                (m.id.to_string(), inspection)
            };
            return GroupInspection {
                state: g.state(),
                kind: "consumer",
                generation: g.epoch,
                members: g.members.values().map(member).collect(),
                offsets,
            };
        }
    };
    let member = |m: &classic::Member| {
        let assigned = classic::partitions(&m.assignment);
        let inspection = MemberInspection {
            instance: m.instance.as_deref().map(str::to_owned),
            epoch: g.generation,
            assigned: assigned.into_iter().map(|p| (p.topic.to_string(), p.partition)).collect(),
        };
        (m.id.to_string(), inspection)
    };
    let only_offsets = g.protocol_type.is_none() && g.generation == 0;
    GroupInspection {
        state: g.state().name(),
        kind: if only_offsets { "" } else { "classic" },
        generation: g.generation,
        members: g.members.values().map(member).collect(),
        offsets,
    }
}
