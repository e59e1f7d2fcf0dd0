//! liveness-verdicts: a heartbeating, polling member is not expelled; a dead one is, within its session.
//!
//! Whatever a member asks of its coordinator is a sign of life, and so is waiting for its answer. A new coordinator
//! gives everybody a whole session. Clocks drift: a tenth of a session either way is nobody's fault.

use super::{Invariants, Watched};
use crate::event::NodeRef;
use crate::invariants::finding::Ctx;
use klamm_model::trace::RemovalReason;
use klamm_model::units::{Duration, Instant};

/// What a clock that runs a tenth too fast makes of a time.
fn at_least(time: Duration) -> Duration {
    Duration::from_nanos(time.as_nanos() / 10 * 9)
}

/// What a clock that runs a tenth too slow makes of it, timers and queues included.
pub(super) fn at_most(time: Duration) -> Duration {
    Duration::from_nanos(time.as_nanos() / 10 * 11).saturating_add(Duration::from_secs(5))
}

impl Watched {
    /// When a member was last heard of by a coordinator that is there since `loaded`.
    pub(super) fn heard(&self, member: &str, loaded: Instant) -> Option<Instant> {
        self.lives.get(member).map(|life| life.at.max(loaded))
    }
}

impl Invariants {
    /// A coordinator removed a member.
    pub(super) fn member_removed(&mut self, ctx: Ctx, node: NodeRef, group: &str, member: &str, reason: RemovalReason) {
        self.group_cause(ctx, group, "a member was removed");
        let coordinator = self.coordinates(node, group);
        let Some(watched) = self.groups.watched.get_mut(group) else { return };
        let life = watched.lives.remove(member);
        watched.synced.remove(member);
        if reason != RemovalReason::Replaced {
            // Whoever comes with its instance id or member id comes anew.
            watched.instances.retain(|_, (_, id)| id != member);
            watched.topics.remove(member);
        }
        let (Some(life), Some(coordinator)) = (life, coordinator) else { return };
        let since = life.at.max(coordinator.at);
        let (limit, what) = match reason {
            RemovalReason::SessionExpired => (life.session, "session"),
            RemovalReason::RebalanceExpired => {
                let began = watched.since.unwrap_or(ctx.at);
                let slowest = watched.lives.values().map(|l| l.rebalance).max().unwrap_or(Duration::ZERO);
                let limit = life.rebalance.max(slowest);
                let waited = ctx.at.since(began.max(coordinator.at));
                // Which of its timers ran out is its own affair; the shortest it may have is its own.
                if life.rebalance > Duration::ZERO && waited < at_least(life.rebalance) {
                    let detail = format!(
                        "{member} is expelled from a rebalance {} ms after it began; it had {} ms",
                        waited.as_millis(),
                        limit.as_millis()
                    );
                    self.about_group(ctx, "liveness-verdicts", group, detail, &[life.ordinal]);
                }
                return;
            }
            RemovalReason::Left | RemovalReason::Replaced | RemovalReason::Evicted => return,
        };
        let silent = ctx.at.since(since);
        if limit > Duration::ZERO && (silent < at_least(limit) || life.waits) {
            let detail = format!(
                "{member} is expelled {} ms after its last sign of life; its {what} is {} ms",
                silent.as_millis(),
                limit.as_millis()
            );
            self.about_group(ctx, "liveness-verdicts", group, detail, &[life.ordinal]);
        }
    }
}
