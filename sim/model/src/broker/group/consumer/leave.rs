//! Being put out: members that are silent for too long, or that do not give up what they have to.

use super::super::shard::{Group, Shard};
use super::super::{Ctx, Then, WRITE_RETRY, What, Write};
use super::*;
use crate::trace::RemovalReason;
use crate::units::Instant;

impl Shard {
    /// A session may have ended; `at` tells which timer it is that says so.
    pub fn consumer_session_over(&mut self, group: &Arc<str>, id: &Arc<str>, at: Instant, ctx: &mut Ctx<'_>) {
        let Some(g) = self.groups.get_mut(group).and_then(Group::consumer_mut) else { return };
        let Some(member) = g.members.get_mut(id) else { return };
        if ctx.has_ended(&mut member.session, at, group, id) {
            ctx.mark("member-expired");
            g.put_out(id, RemovalReason::SessionExpired, "a member's session ended", ctx);
        }
    }

    /// A member should have given up its partitions by now.
    pub fn consumer_rebalance_over(&mut self, group: &Arc<str>, id: &Arc<str>, epoch: i32, ctx: &mut Ctx<'_>) {
        let Some(g) = self.groups.get_mut(group).and_then(Group::consumer_mut) else { return };
        let Some(member) = g.members.get_mut(id) else { return };
        member.rebalance = None;
        if member.epoch == epoch && member.state == UNREVOKED {
            ctx.mark("member-missed-rebalance");
            g.put_out(id, RemovalReason::RebalanceExpired, "a member did not give up its partitions", ctx);
        }
    }

    /// A removal could not be written: later, then.
    pub fn put_out_again(&mut self, group: &Arc<str>, id: &Arc<str>, reason: RemovalReason, ctx: &mut Ctx<'_>) {
        let Some(g) = self.groups.get_mut(group).and_then(Group::consumer_mut) else { return };
        let Some(member) = g.members.get_mut(id) else { return };
        if reason == RemovalReason::RebalanceExpired {
            let what = What::Rebalance { group: group.clone(), member: id.clone(), epoch: member.epoch };
            member.rebalance = Some(ctx.timer(ctx.now.mono + WRITE_RETRY, what));
        } else if member.session.is_unset() {
            ctx.watch(&mut member.session, group.clone(), id.clone(), WRITE_RETRY);
        }
    }
}

impl ConsumerGroup {
    fn put_out(&self, id: &Arc<str>, reason: RemovalReason, why: &'static str, ctx: &mut Ctx<'_>) {
        let events = vec![ctx.removed(&self.id, id, reason)];
        let then = Then::PutOut { member: id.clone(), reason };
        let write = Write::new(self.id.clone(), self.without(id, ctx), then);
        ctx.write(Write { events, why, ..write });
    }
}
