//! liveness-verdicts: a heartbeating, polling member is not expelled; a dead one is, within its session.
//!
//! What a member asks of its coordinator and is not refused is a sign of life. A classic member that waits for an answer
//! to JoinGroup or SyncGroup is excused, and has a whole session from when everybody has joined, or the assignment is
//! there. Its coordinator cannot see that it died while it waited: then it stays until the rebalance gets on, and for a
//! session more (Kafka: `ClassicGroupMember.hasSatisfiedHeartbeat`; KAFKA-7610 for new members). A new coordinator gives
//! everybody a whole session. Clocks drift: a tenth of a session either way is nobody's fault.

use super::reader::Current;
use super::{Invariants, Waits, Watched};
use crate::event::NodeRef;
use crate::invariants::Check;
use crate::invariants::finding::Ctx;
use klamm_model::trace::RemovalReason;
use klamm_model::units::{Duration, Instant};

/// How long a new member may wait for its first rebalance (Kafka: `CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);

/// What a clock that runs a tenth too fast makes of a time.
fn at_least(time: Duration) -> Duration {
    Duration::from_nanos(time.as_nanos() / 10 * 9)
}

/// What a clock that runs a tenth too slow makes of it, timers and queues included.
pub(super) fn at_most(time: Duration) -> Duration {
    Duration::from_nanos(time.as_nanos() / 10 * 11).saturating_add(Duration::from_secs(5))
}

impl Watched {
    /// The last that a coordinator, there since `loaded`, may have heard of a member, and how long it may be silent.
    pub(super) fn heard(&self, member: &str, loaded: Instant) -> Option<(Instant, Duration)> {
        let life = self.lives.get(member)?;
        let slowest = self.lives.values().map(|l| l.rebalance).max().unwrap_or(Duration::ZERO);
        // What it waits for comes within the time of a rebalance. From then on its session counts.
        let limit = if life.waits == Waits::No { life.session } else { slowest };
        Some((life.latest.max(loaded), limit))
    }

    /// Members have joined, or the assignment they waited for came or is given up: everybody has a whole session, also
    /// those who have gone meanwhile.
    pub(super) fn sessions_begin(&mut self, ctx: Ctx, from: &str, to: &str) {
        let joined = to == "CompletingRebalance";
        for life in self.lives.values_mut() {
            if joined || from == "CompletingRebalance" && life.waits == Waits::Sync {
                (life.at, life.latest, life.ordinal, life.waits) = (ctx.at, ctx.at, ctx.ordinal, Waits::No);
            }
        }
        if joined {
            self.together = Some(ctx.at);
        }
    }

    /// A coordinator writes down what a KIP-848 member has: its time to give up partitions begins with that (Kafka:
    /// `scheduleConsumerGroupRebalanceTimeout`). `None`: it is put out.
    pub(super) fn reconciles(&mut self, at: Instant, member: &str, current: Option<&Current>) {
        match (current, self.revoking.get_mut(member)) {
            (Some(current), _) if !current.pending.is_empty() => {
                self.revoking.insert(member.to_owned(), (at, None));
            }
            (Some(_), _) => {
                self.revoking.remove(member);
            }
            (None, Some((_, out))) => *out = Some(at),
            (None, None) => {}
        }
        if current.is_none() {
            self.put_out.insert(member.to_owned(), (at, self.lives.get(member).copied()));
        }
    }

    /// When the rebalance began that a member did not come to the end of, and when it was put out.
    fn rebalance_of(&self, member: &str, now: Instant) -> (Option<Instant>, Instant) {
        match self.revoking.get(member) {
            Some((began, out)) => (Some(*began), out.unwrap_or(now)),
            // To join, or to ask for what the leader assigned.
            None if self.state == "PreparingRebalance" => (self.since, now),
            None => (self.together, now),
        }
    }
}

impl Invariants {
    /// A coordinator removed a member.
    pub(super) fn member_removed(&mut self, ctx: Ctx, node: NodeRef, group: &str, member: &str, reason: RemovalReason) {
        self.group_cause(ctx, group, "a member was removed");
        let coordinator = self.coordinates(node, group);
        let Some(watched) = self.groups.watched.get_mut(group) else { return };
        // A KIP-848 member is out from when that is written. It is told when that is committed, and may be back by then.
        let written = watched.put_out.remove(member).filter(|_| reason == RemovalReason::SessionExpired);
        let expelled = written.as_ref().map_or(ctx.at, |(at, _)| *at);
        let back = watched.lives.get(member).is_some_and(|life| life.at > expelled);
        let life = if back { written.and_then(|(_, life)| life) } else { watched.lives.remove(member) };
        watched.synced.remove(member);
        if reason != RemovalReason::Replaced {
            // Whoever comes with its instance id or member id comes anew.
            watched.instances.retain(|_, (_, id)| id != member);
            watched.topics.remove(member);
        }
        let (began, out) = watched.rebalance_of(member, ctx.at);
        watched.revoking.remove(member);
        let (Some(life), Some(coordinator)) = (life, coordinator) else { return };
        let (early, detail) = match reason {
            RemovalReason::SessionExpired => {
                let silent = expelled.since(life.at.max(coordinator.at));
                // Whoever waits is excused, at most for as long as a new member may wait.
                let limit = if life.waits == Waits::No { life.session } else { NEW_MEMBER_JOIN_TIMEOUT };
                let detail = format!(
                    "{member} is expelled {} ms after its last sign of life; its session is {} ms",
                    silent.as_millis(),
                    life.session.as_millis()
                );
                (silent < at_least(limit), detail)
            }
            RemovalReason::RebalanceExpired => {
                // Which of its members' timers ran out is the group's affair; the shortest it may have is its own.
                let waited = out.since(began.unwrap_or(coordinator.at).max(coordinator.at));
                let detail = format!(
                    "{member} is expelled from a rebalance {} ms after it began; it had {} ms",
                    waited.as_millis(),
                    life.rebalance.as_millis()
                );
                (waited < at_least(life.rebalance), detail)
            }
            RemovalReason::Left | RemovalReason::Replaced | RemovalReason::Evicted => return,
        };
        self.armed.judged(Check::LivenessVerdicts);
        if early {
            self.about_group(ctx, Check::LivenessVerdicts, group, detail, &[life.ordinal]);
        }
    }
}
