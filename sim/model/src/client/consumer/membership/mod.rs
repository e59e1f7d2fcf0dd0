//! Being a member of a group: by the classic protocol ([`classic`]) or by KIP-848's ([`modern`]). What both have in
//! common stands here: who the member is at the moment, and how the rest of the consumer speaks to either.

mod classic;
mod modern;

pub(super) use classic::Classic;
pub(super) use modern::Modern;

use super::Consumer;
use super::group::Group;
use crate::node::Outbox;
use crate::units::Instant;
use kafka_protocol::messages::ResponseKind;
use kafka_protocol::protocol::StrBytes;

/// What a member asked. Numbers tell questions of an earlier membership from those of the present one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::client::consumer) enum Tag {
    /// JoinGroup; which attempt.
    Join(u64),
    /// SyncGroup; of which attempt.
    Sync(u64),
    /// Heartbeat; under which identity.
    Heartbeat(u64),
    /// LeaveGroup.
    Leave,
    /// ConsumerGroupHeartbeat; under which identity.
    Report(u64),
    /// ConsumerGroupHeartbeat that says goodbye.
    Goodbye,
}

/// One of the two protocols.
#[derive(Debug)]
pub(in crate::client::consumer) enum Membership {
    /// JoinGroup, SyncGroup, Heartbeat.
    Classic(Classic),
    /// ConsumerGroupHeartbeat.
    Consumer(Modern),
}

macro_rules! either {
    ($self:ident, $m:ident => $e:expr) => {
        match $self {
            Membership::Classic($m) => $e,
            Membership::Consumer($m) => $e,
        }
    };
}

impl Membership {
    /// Generation or member epoch and member id, as a commit bears them; `None` while it is not in the group, or in
    /// the middle of a classic rebalance.
    pub fn identity(&self) -> Option<(i32, StrBytes)> {
        either!(self, m => m.identity())
    }
    /// Member epoch and id for OffsetFetch: KIP-848 only.
    pub fn lookup_identity(&self) -> Option<(i32, StrBytes)> {
        match self {
            Membership::Classic(_) => None,
            Membership::Consumer(m) => m.identity(),
        }
    }
    /// Changes whenever the identity does.
    pub fn counter(&self) -> u64 {
        either!(self, m => m.counter)
    }
    /// Generation or member epoch.
    pub fn generation(&self) -> i32 {
        match self {
            Membership::Classic(m) => m.generation,
            Membership::Consumer(m) => m.epoch,
        }
    }
    /// Empty while there is none.
    pub fn member_id(&self) -> &StrBytes {
        either!(self, m => &m.member_id)
    }
    /// In the group, and no rebalance is known of.
    pub fn is_stable(&self) -> bool {
        either!(self, m => m.is_stable())
    }
    /// Between JoinGroup and the answer to SyncGroup.
    pub fn is_rebalancing(&self) -> bool {
        match self {
            Membership::Classic(m) => m.is_rebalancing(),
            Membership::Consumer(_) => false,
        }
    }
    /// The group is rebalancing: the member must come, too.
    pub fn request_rejoin(&mut self) {
        if let Membership::Classic(m) = self {
            m.rejoin = true;
        }
    }
    /// A commit was refused because of who the member is. (With KIP-848 the next heartbeat will tell.)
    pub fn expelled(&mut self, keep_member_id: bool) {
        if let Membership::Classic(m) = self {
            m.reset(keep_member_id);
        }
    }
    /// A coordinator is known again.
    pub fn coordinator_found(&mut self, now: Instant) {
        if let Membership::Classic(m) = self {
            m.coordinator_found(now);
        }
    }
    /// The application has given up what had to be given up before joining.
    pub fn revoked_before_join(&mut self) {
        if let Membership::Classic(m) = self {
            m.revoked_before_join();
        }
    }
    /// The application has given up what the new assignment does not hold.
    pub fn revoked_before_assignment(&mut self) {
        either!(self, m => m.revoked_before_assignment())
    }
}

impl Consumer {
    /// Heartbeats, and rebalancing as far as it can go now. Returns when to come back.
    pub(super) fn keep_membership(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> Instant {
        match group.membership {
            Membership::Classic(_) => self.keep_classic(group, now, out),
            Membership::Consumer(_) => self.keep_modern(group, now, out),
        }
    }

    /// Tells the coordinator that the member leaves, once; returns whether that is done.
    pub(super) fn say_goodbye(&mut self, group: &mut Group, now: Instant, out: &mut Outbox) -> bool {
        match group.membership {
            Membership::Classic(_) => self.leave_classic_for_good(group, now, out),
            Membership::Consumer(_) => self.leave_modern_for_good(group, now, out),
        }
    }

    pub(super) fn on_member_answer(
        &mut self,
        group: &mut Group,
        now: Instant,
        tag: Tag,
        answer: ResponseKind,
        out: &mut Outbox,
    ) {
        self.dirty = true;
        match (tag, answer) {
            (Tag::Join(attempt), ResponseKind::JoinGroup(answer)) => group.classic().on_joined(attempt, answer),
            (Tag::Sync(attempt), ResponseKind::SyncGroup(answer)) => {
                self.on_synced(group, now, attempt, &answer, out);
            }
            (Tag::Heartbeat(counter), ResponseKind::Heartbeat(answer)) => {
                self.on_heartbeat(group, now, counter, answer.error_code, out);
            }
            (Tag::Leave, ResponseKind::LeaveGroup(_)) => group.classic().left(),
            (Tag::Report(counter), ResponseKind::ConsumerGroupHeartbeat(answer)) => {
                self.on_report(group, now, counter, &answer, out);
            }
            (Tag::Goodbye, ResponseKind::ConsumerGroupHeartbeat(_)) => group.modern().left(),
            (tag, _) => self.member_request_lost(group, now, tag),
        }
    }

    /// The answer will never come.
    pub(super) fn member_request_lost(&mut self, group: &mut Group, now: Instant, tag: Tag) {
        self.dirty = true;
        match tag {
            Tag::Join(attempt) | Tag::Sync(attempt) => {
                let pause = self.retry.after(group.classic().failures, self.net.rng());
                group.classic().lost(attempt, now + pause);
            }
            Tag::Heartbeat(_) => {
                let pause = self.config.retry_backoff;
                group.classic().heartbeat_failed(now + pause);
            }
            Tag::Leave => group.classic().left(),
            Tag::Report(_) => {
                let pause = self.retry.after(group.modern().failures, self.net.rng());
                group.modern().report_failed(now + pause);
            }
            Tag::Goodbye => group.modern().left(),
        }
    }
}

impl Group {
    fn classic(&mut self) -> &mut Classic {
        match &mut self.membership {
            Membership::Classic(m) => m,
            Membership::Consumer(_) => unreachable!("only a classic member asks this"),
        }
    }
    fn modern(&mut self) -> &mut Modern {
        match &mut self.membership {
            Membership::Consumer(m) => m,
            Membership::Classic(_) => unreachable!("only a KIP-848 member asks this"),
        }
    }
}
