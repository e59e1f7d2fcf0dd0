//! Committed offsets from the coordinator: where a newly assigned partition is read on.
//!
//! Only a partition that truly has no committed offset is reset as `auto.offset.reset` says; whatever else an answer
//! may be, it is asked again. Offsets that may yet change (`UNSTABLE_OFFSET_COMMIT`, KIP-447) are waited for.
//! Follows `ConsumerCoordinator.OffsetFetchResponseHandler` and `OffsetsRequestManager`.

use super::group::{Group, GroupTag};
use super::positions::{Assigned, AssignmentId, Position, State};
use super::requests::{Question, Tag, topic_of};
use super::{Consumer, ConsumerEvent};
use crate::client::errors;
use crate::defects::Defect;
use crate::history::{PositionReason, TopicPartition};
use crate::ids::{ApiKey, LeaderEpoch, Offset};
use crate::node::Outbox;
use crate::units::Instant;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use std::collections::BTreeMap;

/// The newest version spoken: later ones name topics by id.
const NEWEST: i16 = 9;

/// A question under way, or when the next may be asked.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    in_flight: bool,
    retry_at: Instant,
    failures: u32,
}

impl Consumer {
    /// Assigns a partition whose committed offset is to be asked for.
    pub(super) fn add_uncommitted(&mut self, source: &TopicPartition) {
        if self.find(source).is_none() {
            let topic = self.metadata.topic(&source.topic);
            self.next_id += 1;
            let mut assigned = Assigned::new(AssignmentId(self.next_id), source.clone(), topic);
            assigned.await_committed();
            self.assigned.push(assigned);
        }
    }

    /// Asks for the committed offsets of all partitions that wait for them. Returns when to come back.
    pub(super) fn look_up(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        if group.lookup.in_flight || !group.may_progress() {
            return Instant::MAX;
        }
        if !self.assigned.iter().any(|a| a.state == State::Committed) {
            return Instant::MAX;
        }
        if now < group.lookup.retry_at {
            return group.lookup.retry_at;
        }
        let Some(node) = self.coordinator(group, now, out) else { return Instant::MAX };
        let Some(version) = self.net.version(node, ApiKey::OffsetFetch) else {
            self.give_up(group, errors::name(errors::UNSUPPORTED_VERSION));
            return Instant::MAX;
        };
        let version = version.min(NEWEST);
        let mut questions = Vec::new();
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for a in self.assigned.iter().filter(|a| a.state == State::Committed) {
            questions.push(Question { id: a.id, generation: a.generation });
            topics.entry(&a.source.topic).or_default().push(a.source.partition);
        }
        let mut request = OffsetFetchRequest::default();
        if version >= 8 {
            let each = topics.into_iter().map(|(name, partitions)| {
                OffsetFetchRequestTopics::default().with_name(super::wire_name(name)).with_partition_indexes(partitions)
            });
            let mut asked =
                OffsetFetchRequestGroup::default().with_group_id(group.id.clone()).with_topics(Some(each.collect()));
            if version >= 9
                && let Some((epoch, member)) = group.membership.lookup_identity()
            {
                asked.member_id = Some(member);
                asked.member_epoch = epoch;
            }
            request.groups = vec![asked];
        } else {
            let mut list: Vec<OffsetFetchRequestTopic> = Vec::new();
            for (name, partitions) in topics {
                let name = super::wire_name(name);
                topic_of(
                    &mut list,
                    |t| t.name == name,
                    || OffsetFetchRequestTopic::default().with_name(name.clone()),
                )
                .partition_indexes = partitions;
            }
            request.group_id = group.id.clone();
            request.topics = Some(list);
        }
        if version >= 7 {
            request.require_stable = true;
        }
        group.lookup.in_flight = true;
        self.net.send_version(now, node, version, request, Tag::Group(GroupTag::Lookup(questions)), out);
        Instant::MAX
    }

    /// There was no answer, or one that says to come again.
    pub(super) fn lookup_failed(&mut self, group: &mut Group, now: Instant, asked: &[Question]) {
        let lookup = &mut group.lookup;
        lookup.in_flight = false;
        lookup.retry_at = now + self.retry.after(lookup.failures, self.net.rng());
        lookup.failures += 1;
        if self.defects.on(Defect::ResetOnTransientError) {
            self.reset_asked(asked);
        }
        self.dirty = true;
    }

    fn reset_asked(&mut self, asked: &[Question]) {
        for question in asked {
            if let Some(at) = self.about(*question) {
                self.reset(at, PositionReason::Reset, "NO_OFFSET_FOR_PARTITION");
            }
        }
    }

    pub(super) fn on_looked_up(
        &mut self,
        group: &mut Group,
        now: Instant,
        asked: &[Question],
        version: i16,
        answer: &OffsetFetchResponse,
        out: &mut Outbox,
    ) {
        self.dirty = true;
        let of_group = answer.groups.iter().find(|g| g.group_id == group.id);
        let error = match of_group {
            _ if version < 8 => answer.error_code,
            Some(of_group) => of_group.error_code,
            None => errors::UNKNOWN_SERVER_ERROR,
        };
        if error != errors::NONE {
            self.lookup_failed(group, now, asked);
            match error {
                errors::COORDINATOR_NOT_AVAILABLE | errors::NOT_COORDINATOR => self.forget_coordinator(group, now, out),
                errors::GROUP_AUTHORIZATION_FAILED => self.give_up(group, errors::name(error)),
                _ => {}
            }
            return;
        }
        let mut found: BTreeMap<(&str, i32), (i16, i64, i32)> = BTreeMap::new();
        for t in &answer.topics {
            for p in &t.partitions {
                let what = (p.error_code, p.committed_offset, p.committed_leader_epoch);
                found.insert((t.name.as_str(), p.partition_index), what);
            }
        }
        for t in of_group.iter().flat_map(|g| &g.topics) {
            for p in &t.partitions {
                let what = (p.error_code, p.committed_offset, p.committed_leader_epoch);
                found.insert((t.name.as_str(), p.partition_index), what);
            }
        }
        // One that is not settled holds all of them up, as in Java.
        let errors_of = |c: &Consumer, q: &Question| {
            let a = &c.assigned[c.about(*q)?];
            Some(found.get(&(&*a.source.topic, a.source.partition)).map_or(errors::UNKNOWN_SERVER_ERROR, |f| f.0))
        };
        let error = asked.iter().filter_map(|q| errors_of(self, q)).find(|&e| e != errors::NONE);
        if let Some(error) = error {
            self.lookup_failed(group, now, asked);
            if error != errors::UNSTABLE_OFFSET_COMMIT
                && let Some(at) = asked.iter().find_map(|q| self.about(*q))
            {
                let (source, error) = (self.assigned[at].source.clone(), errors::name(error));
                self.events.push_back(ConsumerEvent::Error { source, error });
            }
            return;
        }
        group.lookup = Lookup::default();
        let mut waiting: Vec<Question> = asked.to_vec();
        if self.defects.on(Defect::NewPartitionResetRace) {
            waiting = self.all_waiting();
        }
        // -1 says that there is none.
        let lowest = i64::from(self.defects.on(Defect::CommittedZeroIsNone));
        for question in waiting {
            let Some(at) = self.about(question).filter(|&at| self.assigned[at].state == State::Committed) else {
                continue;
            };
            let a = &self.assigned[at];
            match found.get(&(&*a.source.topic, a.source.partition)) {
                Some(&(_, offset, epoch)) if offset >= lowest => {
                    let (topic, partition, epoch) = (a.topic, a.source.partition, LeaderEpoch(epoch));
                    self.metadata.saw_epoch(topic, partition, epoch);
                    self.resume(at, Offset(offset), epoch);
                }
                _ => self.reset(at, PositionReason::Reset, "NO_OFFSET_FOR_PARTITION"),
            }
        }
    }

    /// Every partition whose committed offset is not known.
    fn all_waiting(&self) -> Vec<Question> {
        let waiting = self.assigned.iter().filter(|a| a.state == State::Committed);
        waiting.map(|a| Question { id: a.id, generation: a.generation }).collect()
    }

    /// Reads on from a committed offset; if it has an epoch, that is validated first.
    fn resume(&mut self, at: usize, offset: Offset, offset_epoch: LeaderEpoch) {
        let a = &mut self.assigned[at];
        a.jump(Position { offset, offset_epoch, leader: None });
        let (source, reason) = (a.source.clone(), PositionReason::Assigned);
        self.events.push_back(ConsumerEvent::Position { source, offset, reason });
    }
}
