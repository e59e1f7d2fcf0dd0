//! ConsumerGroupHeartbeat: the one request of a KIP-848 member. It joins, says what it subscribes to and what it uses,
//! and learns what it is to use.

use super::super::shard::{Group, Kind, Shard};
use super::super::{Ctx, Then, Write};
use super::reconcile::{Wanted, step};
use super::target::{Members, target_record};
use super::*;
use crate::broker::connections::Caller;
use crate::record::schema::{ConsumerGroupMetadataValue, GroupRecord};
use crate::trace::{RemovalReason, TraceEvent};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions as Given};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;

type Request = ConsumerGroupHeartbeatRequest;

/// What was decided.
struct Decided {
    records: Vec<GroupRecord>,
    events: Vec<TraceEvent>,
    response: ConsumerGroupHeartbeatResponse,
    /// It looked at its topics and found nothing new.
    nothing_new: bool,
}

impl Shard {
    /// A member's heartbeat.
    pub fn consumer_heartbeat(&mut self, caller: Caller, request: &Request, ctx: &mut Ctx<'_>) {
        let id: Arc<str> = Arc::from(request.group_id.as_str());
        let decided = check(request, caller.version, ctx).and_then(|()| match request.member_epoch {
            LEFT | LEFT_FOR_NOW => self.leaves(request, ctx),
            _ => self.beats(&id, request, ctx),
        });
        match decided {
            Ok(Decided { records, events, response, .. }) => {
                let then = Then::Reply { caller, response: Box::new(response.into()) };
                ctx.write(Write { events, why: "a member's heartbeat", ..Write::new(id, records, then) });
            }
            Err(error) => {
                match error {
                    ResponseError::FencedMemberEpoch => ctx.mark("member-epoch-fenced"),
                    ResponseError::UnreleasedInstanceId => ctx.mark("instance-id-unreleased"),
                    _ => {}
                }
                ctx.reply(caller, refused(error));
            }
        }
    }

    fn beats(&mut self, id: &Arc<str>, request: &Request, ctx: &mut Ctx<'_>) -> Result<Decided, ResponseError> {
        let joins = request.member_epoch == 0;
        let mut records = Vec::new();
        let fresh;
        let group = match self.groups.get(id).map(|g| &g.kind) {
            Some(Kind::Consumer(group)) => &**group,
            None if joins => {
                fresh = ConsumerGroup::new(id.clone());
                &fresh
            }
            // An empty classic group gives way; one with members does not (KIP-848's migration is switched off).
            Some(Kind::Classic(classic)) if joins && classic.is_empty() => {
                records.extend(self.groups.get(id).into_iter().flat_map(|g| g.tombstones(id)));
                fresh = ConsumerGroup::new(id.clone());
                &fresh
            }
            _ => return Err(ResponseError::GroupIdNotFound),
        };
        let mut decided = group.decide(request, records, ctx)?;
        // What is only in memory: the session, and which metadata was looked at.
        let seen = ctx.metadata_version;
        if let Some(group) = self.groups.get_mut(id).and_then(Group::consumer_mut) {
            if decided.nothing_new {
                group.seen_metadata = seen;
            }
            if let Some(member) = group.members.get_mut(&*request.member_id) {
                let (group, member_id) = (id.clone(), member.id.clone());
                ctx.watch(&mut member.session, group, member_id, ctx.config.group_consumer_session);
            }
        }
        decided.response.heartbeat_interval_ms =
            ctx.config.group_consumer_heartbeat.as_millis().min(i32::MAX as u64) as i32;
        Ok(decided)
    }
}

impl ConsumerGroup {
    fn decide(
        &self,
        request: &Request,
        records: Vec<GroupRecord>,
        ctx: &mut Ctx<'_>,
    ) -> Result<Decided, ResponseError> {
        if let Some(response) = self.all_is_well(request, ctx) {
            return Ok(Decided { records, events: Vec::new(), response, nothing_new: false });
        }
        let mut records = records;
        let mut events = Vec::new();
        let joins = request.member_epoch == 0;
        let asked = request.member_id.as_str();
        let max = ctx.config.group_consumer_max_size.max(0) as usize;
        if self.members.len() >= max && !self.members.contains_key(asked) {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        // Before version 1 the coordinator gives out ids.
        let id: Arc<str> = if asked.is_empty() { ctx.member_id("member") } else { Arc::from(asked) };
        let owned = request.topic_partitions.as_deref().map(owned_of);
        let (member, replaced) = self.find_member(&id, request, owned.as_ref())?;
        if let Some(old) = &replaced {
            ctx.mark("static-member-replaced");
            events.push(ctx.removed(&self.id, old, RemovalReason::Replaced));
            records.extend(removal(&self.id, old));
            records.push(said_record(&self.id, &member));
            let part = self.target.get(old).cloned().unwrap_or_default();
            records.push(target_record(&self.id, &id, &part));
            records.push(current_record(&self.id, &member));
        }
        let mut updated = member.clone();
        let subscription_changed = update(&mut updated.said, request);
        if updated.said != member.said || !self.members.contains_key(&id) && replaced.is_none() {
            records.push(said_record(&self.id, &updated));
        }

        let mut epoch = self.epoch;
        let mut nothing_new = false;
        let members = Members::of(self, Some(&updated), replaced.as_deref());
        if subscription_changed || self.seen_metadata != ctx.metadata_version {
            let hash = members.metadata_hash(ctx.image);
            if subscription_changed || hash != self.metadata_hash {
                if !subscription_changed {
                    ctx.mark("group-metadata-changed");
                }
                epoch += 1;
                records.push(epoch_record(&self.id, epoch, hash));
            } else {
                nothing_new = true;
            }
        }
        let (target_epoch, part) = if epoch > self.target_epoch {
            ctx.mark("rebalance-started");
            let (target, part) = members.assign(epoch, ctx);
            records.extend(target);
            (epoch, part)
        } else {
            let of = replaced.as_ref().unwrap_or(&id);
            (self.target_epoch, self.target.get(of).cloned().unwrap_or_default())
        };

        let wanted = Wanted { epoch: target_epoch, partitions: &part, owned: owned.as_ref() };
        // What the member that is being replaced holds is its successor's.
        let holder = replaced.as_ref().unwrap_or(&id);
        let after = if updated.is_reconciled_to(target_epoch) {
            updated.clone()
        } else {
            step(&updated, &wanted, |topic, p| self.is_taken(holder, topic, p))?
        };
        if after.current() != updated.current() {
            records.push(current_record(&self.id, &after));
        }

        let full = joins
            || request.rebalance_timeout_ms != -1
                && request.subscribed_topic_names.is_some()
                && request.topic_partitions.is_some();
        let mut response = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(StrBytes::from_string(id.to_string())))
            .with_member_epoch(after.epoch);
        if full || after.assigned != member.assigned {
            response.assignment = Some(given(&after.assigned));
        }
        Ok(Decided { records, events, response, nothing_new })
    }

    /// The heartbeat of a member that is where it should be and has nothing to say: all but a few of them.
    fn all_is_well(&self, request: &Request, ctx: &Ctx<'_>) -> Option<ConsumerGroupHeartbeatResponse> {
        let member = self.members.get(request.member_id.as_str())?;
        let says_nothing = request.rebalance_timeout_ms == -1 && request.subscribed_topic_names.is_none();
        let known = |said: &Option<StrBytes>, known: &Option<String>| {
            said.as_ref().is_none_or(|s| known.as_ref().is_some_and(|k| k.as_str() == s.as_str()))
        };
        let same = known(&request.rack_id, &member.said.rack_id)
            && known(&request.server_assignor, &member.said.server_assignor)
            && known(&request.instance_id, &member.said.instance_id);
        let settled = request.member_epoch == member.epoch
            && member.is_reconciled_to(self.target_epoch)
            && self.epoch == self.target_epoch
            && self.seen_metadata == ctx.metadata_version;
        (says_nothing && same && settled).then(|| {
            ConsumerGroupHeartbeatResponse::default()
                .with_member_id(Some(request.member_id.clone()))
                .with_member_epoch(member.epoch)
        })
    }

    /// The member as it is, or as it would be if it is new; and whose place it takes.
    fn find_member(
        &self,
        id: &Arc<str>,
        request: &Request,
        owned: Option<&Partitions>,
    ) -> Result<(Member, Option<Arc<str>>), ResponseError> {
        let joins = request.member_epoch == 0;
        let Some(instance) = request.instance_id.as_deref() else {
            return match self.members.get(id) {
                // Whoever joins again under its id has dropped everything, and goes on from there.
                Some(member) if joins => Ok((member.clone(), None)),
                Some(member) => {
                    check_epoch(member, request.member_epoch, owned)?;
                    Ok((member.clone(), None))
                }
                None if joins => Ok((Member::new(id.clone()), None)),
                None => Err(ResponseError::UnknownMemberId),
            };
        };
        let existing = self.statics.get(instance).and_then(|m| self.members.get(m));
        match existing {
            None if joins => Ok((Member::new(id.clone()), None)),
            None => Err(ResponseError::UnknownMemberId),
            Some(existing) if joins => {
                if existing.epoch != LEFT_FOR_NOW {
                    let same = existing.id == *id;
                    return if same { Ok((existing.clone(), None)) } else { Err(ResponseError::UnreleasedInstanceId) };
                }
                let successor = Member {
                    id: id.clone(),
                    epoch: 0,
                    previous_epoch: 0,
                    session: Session::default(),
                    rebalance: None,
                    ..existing.clone()
                };
                Ok((successor, Some(existing.id.clone())))
            }
            Some(existing) => {
                if existing.id != *id {
                    return Err(ResponseError::FencedInstanceId);
                }
                check_epoch(existing, request.member_epoch, owned)?;
                Ok((existing.clone(), None))
            }
        }
    }
}

/// A member may come with its epoch, or with the one before if it uses nothing it must not: then an answer was lost.
fn check_epoch(member: &Member, epoch: i32, owned: Option<&Partitions>) -> Result<(), ResponseError> {
    let within = |owned: &Partitions| {
        owned.iter().all(|(topic, partitions)| member.assigned.get(topic).is_some_and(|a| partitions.is_subset(a)))
    };
    if epoch == member.epoch || epoch == member.previous_epoch && epoch < member.epoch && owned.is_some_and(within) {
        return Ok(());
    }
    Err(ResponseError::FencedMemberEpoch)
}

fn check(request: &Request, version: i16, ctx: &Ctx<'_>) -> Result<(), ResponseError> {
    let invalid = Err(ResponseError::InvalidRequest);
    let empty = |s: &Option<StrBytes>| s.as_ref().is_some_and(|s| s.is_empty());
    if request.group_id.is_empty() || empty(&request.instance_id) || empty(&request.rack_id) {
        return invalid;
    }
    // Patterns are matched by coordinators from Kafka 4.0 on; not here.
    if request.subscribed_topic_regex.as_ref().is_some_and(|r| !r.is_empty()) {
        return Err(ResponseError::InvalidRegularExpression);
    }
    match request.member_epoch {
        0 => {
            let uses = request.topic_partitions.as_ref().is_none_or(|t| !t.is_empty());
            let subscribes = request.subscribed_topic_names.as_ref().is_some_and(|n| !n.is_empty());
            if request.rebalance_timeout_ms == -1 || uses || !subscribes {
                return invalid;
            }
            // KIP-1082: clients make up their ids themselves.
            if version >= 1 && request.member_id.is_empty() {
                return invalid;
            }
        }
        1.. | LEFT if request.member_id.is_empty() => return invalid,
        LEFT_FOR_NOW if request.member_id.is_empty() || request.instance_id.is_none() => return invalid,
        1.. | LEFT | LEFT_FOR_NOW => {}
        _ => return invalid,
    }
    if let Some(name) = &request.server_assignor
        && !ctx.config.group_consumer_assignors.split(',').any(|known| known.trim() == name.as_str())
    {
        return Err(ResponseError::UnsupportedAssignor);
    }
    Ok(())
}

/// Takes over what a member says; whether its subscription changed.
fn update(said: &mut ConsumerGroupMemberValue, request: &Request) -> bool {
    let owned = |s: &Option<StrBytes>| s.as_ref().map(ToString::to_string);
    said.instance_id = owned(&request.instance_id).or(said.instance_id.take());
    said.rack_id = owned(&request.rack_id).or(said.rack_id.take());
    said.server_assignor = owned(&request.server_assignor).or(said.server_assignor.take());
    if request.rebalance_timeout_ms != -1 {
        said.rebalance_timeout = request.rebalance_timeout_ms;
    }
    let Some(names) = &request.subscribed_topic_names else { return false };
    let names: BTreeSet<String> = names.iter().map(|n| n.to_string()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let changed = names != said.subscribed_topic_names;
    said.subscribed_topic_names = names;
    changed
}

fn owned_of(topics: &[Owned]) -> Partitions {
    let mut owned = Partitions::new();
    for t in topics.iter().filter(|t| !t.partitions.is_empty()) {
        owned.entry(TopicId(t.topic_id)).or_default().extend(t.partitions.iter().copied());
    }
    owned
}

fn given(assigned: &Partitions) -> Assignment {
    let topic = |(topic, partitions): (&TopicId, &BTreeSet<i32>)| {
        Given::default().with_topic_id(topic.0).with_partitions(partitions.iter().copied().collect())
    };
    Assignment::default().with_topic_partitions(assigned.iter().map(topic).collect())
}

/// An answer that is an error.
pub(in crate::broker::group) fn refused(error: ResponseError) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default().with_error_code(error.code())
}

fn said_record(group: &str, member: &Member) -> GroupRecord {
    GroupRecord::ConsumerGroupMember {
        group: group.to_owned(),
        member: member.id.to_string(),
        value: Some(member.said.clone()),
    }
}
fn current_record(group: &str, member: &Member) -> GroupRecord {
    GroupRecord::CurrentMemberAssignment {
        group: group.to_owned(),
        member: member.id.to_string(),
        value: Some(member.current()),
    }
}
fn epoch_record(group: &str, epoch: i32, metadata_hash: i64) -> GroupRecord {
    let value = Some(ConsumerGroupMetadataValue { epoch, metadata_hash });
    GroupRecord::ConsumerGroupMetadata { group: group.to_owned(), value }
}
/// The tombstones of a member.
fn removal(group: &str, member: &str) -> [GroupRecord; 3] {
    let (group, member) = (group.to_owned(), member.to_owned());
    [
        GroupRecord::CurrentMemberAssignment { group: group.clone(), member: member.clone(), value: None },
        GroupRecord::TargetAssignmentMember { group: group.clone(), member: member.clone(), value: None },
        GroupRecord::ConsumerGroupMember { group, member, value: None },
    ]
}

impl Shard {
    /// A member says that it goes: for good, or (a static one) for a while.
    fn leaves(&mut self, request: &Request, ctx: &mut Ctx<'_>) -> Result<Decided, ResponseError> {
        let group = self.groups.get(request.group_id.as_str()).and_then(Group::consumer);
        let group = group.ok_or(ResponseError::GroupIdNotFound)?;
        let id = request.member_id.as_str();
        let member = match request.instance_id.as_deref() {
            None => group.members.get(id).ok_or(ResponseError::UnknownMemberId)?,
            Some(instance) => {
                let known = group.statics.get(instance).and_then(|m| group.members.get(m));
                let member = known.ok_or(ResponseError::UnknownMemberId)?;
                if *member.id == *id { member } else { return Err(ResponseError::FencedInstanceId) }
            }
        };
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(request.member_id.clone()))
            .with_member_epoch(request.member_epoch);
        if request.member_epoch == LEFT_FOR_NOW {
            let away = Member { epoch: LEFT_FOR_NOW, pending: Partitions::new(), ..member.clone() };
            let records = vec![current_record(&group.id, &away)];
            return Ok(Decided { records, events: Vec::new(), response, nothing_new: false });
        }
        let events = vec![ctx.removed(&group.id, &member.id, RemovalReason::Left)];
        Ok(Decided { records: group.without(&member.id, ctx), events, response, nothing_new: false })
    }
}

impl ConsumerGroup {
    /// The records that take a member out: its tombstones, and a new epoch.
    pub(super) fn without(&self, member: &str, ctx: &Ctx<'_>) -> Vec<GroupRecord> {
        let hash = Members::of(self, None, Some(member)).metadata_hash(ctx.image);
        let mut records = removal(&self.id, member).to_vec();
        records.push(epoch_record(&self.id, self.epoch + 1, hash));
        records
    }
    /// The records that delete it, if it is empty.
    pub fn tombstones(&self) -> Vec<GroupRecord> {
        if !self.members.is_empty() {
            return Vec::new();
        }
        let group = || self.id.to_string();
        vec![
            GroupRecord::TargetAssignmentMetadata { group: group(), value: None },
            GroupRecord::ConsumerGroupMetadata { group: group(), value: None },
        ]
    }
}
