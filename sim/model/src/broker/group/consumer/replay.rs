//! A KIP-848 group as the sum of its records. Records that do not fit (of members that are not there) are passed over, as
//! a compacted log may hold them.

use super::super::{Ctx, What};
use super::*;
use crate::defects::{Defect, Defects};
use crate::record::schema::GroupRecord;
use crate::units::Duration;

impl ConsumerGroup {
    /// One record. True if it took the group away.
    pub fn replay(&mut self, record: &GroupRecord, defects: Defects) -> bool {
        match record {
            GroupRecord::ConsumerGroupMetadata { value: Some(v), .. } => {
                (self.epoch, self.metadata_hash) = (v.epoch, v.metadata_hash);
            }
            GroupRecord::ConsumerGroupMetadata { value: None, .. } => return true,
            GroupRecord::ConsumerGroupMember { member, value: Some(said), .. } => {
                self.member_said(member, said.clone())
            }
            GroupRecord::ConsumerGroupMember { member, value: None, .. } => self.forget_member(member),
            GroupRecord::TargetAssignmentMetadata { value, .. } => {
                self.target_epoch = value.unwrap_or(LEFT);
                self.unreconciled.clear();
                let away = self.members.values().filter(|m| !m.is_reconciled_to(self.target_epoch));
                self.unreconciled.extend(away.map(|m| m.id.clone()));
            }
            GroupRecord::TargetAssignmentMember { member, value: Some(topics), .. } => {
                self.target.insert(Arc::from(member.as_str()), from_record(topics));
            }
            GroupRecord::TargetAssignmentMember { member, value: None, .. } => {
                self.target.remove(member.as_str());
            }
            GroupRecord::CurrentMemberAssignment { member, value, .. } => match value {
                Some(v) => self.assign(member, v, defects),
                None => {
                    if let Some(m) = self.members.get_mut(member.as_str()) {
                        let held: Vec<(TopicId, i32)> = m.held().collect();
                        (m.epoch, m.previous_epoch) = (LEFT, LEFT);
                        m.assigned.clear();
                        m.pending.clear();
                        if !defects.on(Defect::RemovedMemberKeepsPartitions) {
                            held.into_iter().for_each(|p| self.release(member, p));
                        }
                    }
                }
            },
            GroupRecord::OffsetCommit { .. } | GroupRecord::GroupMetadata { .. } => {}
        }
        false
    }

    fn member_mut(&mut self, id: &str) -> &mut Member {
        if !self.members.contains_key(id) {
            let id: Arc<str> = Arc::from(id);
            self.members.insert(id.clone(), Member::new(id.clone()));
            self.unreconciled.insert(id);
        }
        self.members.get_mut(id).expect("just put there")
    }

    fn member_said(&mut self, id: &str, said: ConsumerGroupMemberValue) {
        let member = self.member_mut(id);
        let id = member.id.clone();
        let before = std::mem::replace(&mut member.said, said.clone());
        self.count_subscriptions(&before.subscribed_topic_names, false);
        self.count_subscriptions(&said.subscribed_topic_names, true);
        if let Some(instance) = said.instance_id {
            self.statics.insert(instance, id);
        }
    }

    fn forget_member(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        self.unreconciled.remove(id);
        self.count_subscriptions(&member.said.subscribed_topic_names, false);
        if let Some(instance) = &member.said.instance_id
            && self.statics.get(instance).is_some_and(|m| **m == *id)
        {
            self.statics.remove(instance);
        }
        let held: Vec<(TopicId, i32)> = member.held().collect();
        held.into_iter().for_each(|p| self.release(id, p));
    }

    fn count_subscriptions(&mut self, topics: &[String], more: bool) {
        for topic in topics {
            if more {
                *self.subscribers.entry(topic.clone()).or_default() += 1;
            } else if let Some(count) = self.subscribers.get_mut(topic) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.subscribers.remove(topic);
                }
            }
        }
    }

    /// What a member has now. What it had and has no more is free for others.
    fn assign(&mut self, id: &str, v: &CurrentMemberAssignmentValue, defects: Defects) {
        let target_epoch = self.target_epoch;
        let member = self.member_mut(id);
        let id = member.id.clone();
        let was = member.clone();
        (member.epoch, member.previous_epoch, member.state) = (v.member_epoch, v.previous_member_epoch, v.state);
        member.assigned = from_record(&v.assigned);
        member.pending = from_record(&v.pending_revocation);
        let now = member.clone();
        if now.is_reconciled_to(target_epoch) {
            self.unreconciled.remove(&id);
        } else {
            self.unreconciled.insert(id.clone());
        }
        for p in now.held() {
            self.holders.insert(p, id.clone());
        }
        for (topic, p) in was.held() {
            let given_back = was.pending.get(&topic).is_some_and(|pending| pending.contains(&p));
            let lost = given_back && defects.on(Defect::Kip848PartitionEpochLost);
            if lost || !now.holds(topic, p) {
                self.release(&id, (topic, p));
            }
        }
    }

    fn release(&mut self, id: &str, partition: (TopicId, i32)) {
        if self.holders.get(&partition).is_some_and(|holder| **holder == *id) {
            self.holders.remove(&partition);
        }
    }

    /// Whether somebody else holds a partition, or has not said yet that it does not.
    pub(super) fn is_taken(&self, from: &str, topic: TopicId, partition: i32) -> bool {
        self.holders.get(&(topic, partition)).is_some_and(|holder| **holder != *from)
    }

    /// A member's timers, after a record of its was written or loaded.
    pub fn set_timers(&mut self, id: &str, ctx: &mut Ctx<'_>) {
        let group = self.id.clone();
        let Some(member) = self.members.get_mut(id) else { return };
        let id = member.id.clone();
        if member.session.is_unset() {
            ctx.watch(&mut member.session, group.clone(), id.clone(), ctx.config.group_consumer_session);
        }
        if let Some(timer) = member.rebalance.take() {
            ctx.cancel(timer);
        }
        if member.state == UNREVOKED {
            let at = ctx.now.mono + Duration::from_millis(member.said.rebalance_timeout.max(0) as u64);
            member.rebalance = Some(ctx.timer(at, What::Rebalance { group, member: id, epoch: member.epoch }));
        }
    }
    /// The log is replayed: every member gets a fresh session.
    pub fn loaded(&mut self, ctx: &mut Ctx<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.set_timers(id, ctx));
    }
}
