//! What a rebalance did without need.
//!
//! - needless-rebalance: a settled group (stable, every member has its part) rebalances although nothing happened to it:
//!   nobody joined, left or was removed, no subscription and no topic of it changed (in a classic group: its leader has
//!   heard of no change since it assigned), no join was late (bytes of a closed connection: what a member said of itself
//!   before the last rebalance), no cooperative rebalance was to be followed up, and its coordinator was not
//!   away for a session. So a bouncing broker does not disturb a group, and
//!   neither does the restart of a static member with the same subscription.
//! - needless-revocation: a member of a cooperative group gives up what it keeps (found when it gets it back).
//! - needless-move: a sticky assignor moves more than the optimum, where all members subscribe to the same topics and
//!   everybody who stays had learned what it owned and came to say so.

use super::reader::Classic;
use super::{Invariants, Source};
use crate::event::{NodeRef, Ordinal};
use crate::invariants::Check;
use crate::invariants::cluster::PartIx;
use crate::invariants::finding::Ctx;
use kafka_protocol::messages::MetadataResponse;
use klamm_model::history::RebalanceProtocol;
use klamm_model::ids::Offset;
use klamm_model::units::{Duration, Instant};
use std::collections::BTreeSet;

/// Whether the next rebalance has a reason.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspicion {
    /// What happened last since the group became stable.
    cause: Option<(&'static str, Ordinal)>,
    /// When the last rebalance began.
    pub(super) begun: Ordinal,
    /// A rebalance began without a reason known; the removal that is it may be told a moment later.
    pending: Option<(Ctx, Ordinal)>,
}

/// A group's states in which nothing is under way.
const STABLE: &str = "Stable";

impl Invariants {
    /// Something happened to a group that may make it rebalance.
    pub(super) fn group_cause(&mut self, ctx: Ctx, group: &str, cause: &'static str) {
        let suspicion = &mut self.groups.watched(group).needless;
        suspicion.cause = Some((cause, ctx.ordinal));
        if suspicion.pending.is_some_and(|(begun, _)| begun.at == ctx.at) {
            suspicion.pending = None;
        }
    }

    /// Somebody joins, as it sent at `ctx.cause`.
    pub(super) fn join_cause(
        &mut self,
        ctx: Ctx,
        group: &str,
        member: &str,
        instance: Option<&str>,
        topics: &[String],
    ) {
        let watched = self.groups.watched(group);
        let known = watched.topics.get(member).filter(|_| !member.is_empty()).map(Vec::as_slice);
        let as_static = instance.and_then(|i| watched.instances.get(i)).map(|(topics, _)| topics.as_slice());
        let cause = match known.or(as_static) {
            None => Some("a member joins"),
            Some(before) if before != topics => Some("a member changes its subscription"),
            Some(_) if ctx.cause < watched.needless.begun => Some("a join of before the last rebalance arrives"),
            Some(_) => None,
        };
        if let Some(cause) = cause {
            self.group_cause(ctx, group, cause);
        }
    }

    /// The partitions of a topic changed, or it went: the coordinator of a KIP-848 group whose members subscribe to it
    /// sees that. In a classic group its leader has to hear of it.
    pub(in crate::invariants) fn topic_changed(&mut self, ctx: Ctx, topic: &str) {
        let subscribed = |w: &super::Watched| w.topics.values().any(|all| all.iter().any(|t| t == topic));
        let groups: Vec<String> = self
            .groups
            .watched
            .iter()
            .filter(|(g, w)| subscribed(w) && !self.is_classic(g))
            .map(|(g, _)| g.clone())
            .collect();
        for group in groups {
            self.group_cause(ctx, &group, "a topic changed");
        }
    }
    fn is_classic(&self, group: &str) -> bool {
        let state = self.replayed(group).and_then(|(_, log)| log.replayed.groups.get(group));
        state.is_some_and(|s| s.classic.is_some() && s.epoch.is_none())
    }

    /// A client is told how many partitions topics have.
    pub(in crate::invariants) fn metadata_heard(&mut self, client: NodeRef, answer: &MetadataResponse) {
        let Some(side) = self.groups.clients.get_mut(&client) else { return };
        for topic in answer.topics.iter().filter(|t| t.error_code == 0) {
            let Some(name) = &topic.name else { continue };
            side.heard.insert(name.0.to_string(), topic.partitions.len());
        }
    }
    /// A client asks for its part. If it leads, it has assigned by what it was told of topics until now, and comes again
    /// when it hears otherwise (Kafka: `ConsumerCoordinator.assignmentSnapshot`).
    pub(in crate::invariants) fn sync_asked(&mut self, client: NodeRef, group: &str) {
        let Some(side) = self.groups.clients.get(&client).filter(|side| side.leads) else { return };
        let knew = side.heard.clone();
        self.groups.watched(group).leader = Some((client, knew));
    }
    /// Whether who leads a group has heard of other partitions than those it assigned.
    fn leader_heard(&self, group: &str) -> bool {
        let Some(watched) = self.groups.watched.get(group) else { return false };
        let Some((client, knew)) = &watched.leader else { return false };
        let Some(side) = self.groups.clients.get(client) else { return false };
        let mut topics = watched.topics.values().flatten();
        topics.any(|t| side.heard.get(t) != knew.get(t))
    }

    /// A group's coordinator is another one, or has come back.
    pub(super) fn reloaded(&mut self, ctx: Ctx, group: &str, classic: bool, away: Option<Instant>) {
        let watched = self.groups.watched(group);
        let session = watched.lives.values().map(|l| l.session).min().unwrap_or(Duration::ZERO);
        let settled = watched.state == STABLE;
        let long = away.is_some_and(|since| ctx.at.since(since) >= session);
        if classic {
            // Loaded as a generation that has members: that is stable, whatever was under way.
            (watched.state, watched.since, watched.stable) = (STABLE, Some(ctx.at), ctx.ordinal);
        }
        if !settled || long {
            let why =
                if long { "its coordinator was away" } else { "a rebalance was running when its coordinator moved" };
            self.group_cause(ctx, group, why);
        }
    }

    /// A group's state changed.
    pub(super) fn group_state(
        &mut self,
        ctx: Ctx,
        node: NodeRef,
        group: &str,
        _generation: i32,
        from: &'static str,
        to: &'static str,
    ) {
        self.settle_suspicion(ctx, group);
        // A deposed coordinator may go on for a while with what it remembers.
        if self.coordinates(node, group).is_none() {
            return;
        }
        let settled = self.settled(group) && !self.leader_heard(group);
        let replayed = self.replayed(group).and_then(|(_, log)| log.replayed.groups.get(group));
        let consumer = replayed.is_some_and(|g| g.epoch.is_some());
        let watched = self.groups.watched(group);
        (watched.state, watched.since) = (to, Some(ctx.at));
        watched.sessions_begin(ctx, from, to);
        if to == STABLE {
            watched.stable = ctx.ordinal;
            // What came while a KIP-848 group was reconciled may be decided already, and committed after this.
            let later = watched.needless.cause.filter(|(_, at)| consumer && *at > watched.needless.begun);
            watched.needless = Suspicion { cause: later, begun: watched.needless.begun, pending: None };
            return;
        }
        if from == STABLE || from == "Empty" {
            watched.needless.begun = ctx.ordinal;
        }
        let begins = from == STABLE && matches!(to, "PreparingRebalance" | "Assigning" | "Reconciling");
        if begins {
            self.armed.judged(Check::NeedlessRebalance);
        }
        if begins && settled && watched.needless.cause.is_none() {
            watched.needless.pending = Some((ctx, watched.stable));
        }
    }

    /// Whether every member of a stable classic group has its part, and nothing is to be followed up.
    fn settled(&self, group: &str) -> bool {
        let Some(watched) = self.groups.watched.get(group) else { return false };
        let Some((_, log)) = self.replayed(group) else { return false };
        let Some(state) = log.replayed.groups.get(group) else { return false };
        let Some(classic) = &state.classic else { return state.epoch.is_some() };
        let all = classic.members.iter().all(|m| watched.synced.get(&m.id) == Some(&classic.generation));
        all && !to_be_followed_up(classic)
    }

    fn settle_suspicion(&mut self, ctx: Ctx, group: &str) {
        let Some(watched) = self.groups.watched.get_mut(group) else { return };
        let Some((begun, stable)) = watched.needless.pending.filter(|(begun, _)| begun.at < ctx.at) else { return };
        watched.needless.pending = None;
        let detail = "it rebalances although nothing happened to it since it became stable".to_owned();
        self.about_group(begun, Check::NeedlessRebalance, group, detail, &[stable]);
    }

    /// At the end of a phase.
    pub(super) fn settle_suspicions(&mut self, ctx: Ctx) {
        let groups: Vec<String> = self.groups.watched.keys().cloned().collect();
        for group in groups {
            self.settle_suspicion(ctx, &group);
        }
    }

    /// Whether a member of a cooperative group gives up what its coordinator has it keep.
    pub(super) fn was_to_keep(&self, node: NodeRef, group: &str, source: &Source) -> bool {
        let Some(side) = self.groups.clients.get(&node) else { return false };
        if side.facts.protocol == RebalanceProtocol::Eager || side.member.is_empty() {
            return false;
        }
        let Some((_, log)) = self.replayed(group) else { return false };
        let Some(state) = log.replayed.groups.get(group) else { return false };
        let classic = || {
            let own = state.classic.as_ref()?.members.iter().find(|m| m.id == side.member)?;
            Some(own.assigned.contains(source))
        };
        let consumer = || {
            let own = state.current.get(&side.member)?;
            Some(own.current.assigned.iter().any(|p| self.source_of(*p) == *source))
        };
        classic().or_else(consumer).unwrap_or(false)
    }

    /// A member leaves in order: what it gave up before was not in vain.
    pub(super) fn forgive(&mut self, node: NodeRef) {
        if let Some(side) = self.groups.clients.get_mut(&node) {
            side.gave_up.clear();
        }
    }

    /// A sticky generation is committed: does more move than must?
    pub(super) fn moves_judged(&mut self, ctx: Ctx, ix: PartIx, group: &str, offset: i64) {
        let Some(state) = self.groups.logs.get(&ix).and_then(|l| l.replayed.groups.get(group)) else { return };
        let (Some(now), Some(before)) = (&state.classic, &state.classic_before) else { return };
        if now.generation <= before.generation
            || !matches!(now.protocol.as_deref(), Some("sticky" | "cooperative-sticky"))
        {
            return;
        }
        let Some(watched) = self.groups.watched.get(group) else { return };
        // A static member that did not come to this rebalance is in it with what it said long ago (KIP-345).
        let came = |id: &str| watched.joined.get(id).is_some_and(|at| *at > watched.stable);
        let learned = |id: &str| watched.synced.get(id).is_some_and(|g| *g == before.generation) && came(id);
        let stay = before.members.iter().filter(|m| now.members.iter().any(|n| n.id == m.id));
        if before.protocol != now.protocol || !stay.clone().all(|m| learned(&m.id)) {
            return;
        }
        let Some((kept, most)) = kept_and_most(before, now) else { return };
        self.armed.judged(Check::NeedlessMove);
        if kept < most {
            let detail = format!("{kept} partitions stay with their owners, where {most} could");
            let id = self.cluster.parts[ix.0].id;
            let since = state.classic_since;
            let finding = ctx.finding(Check::NeedlessMove, format!("group `{group}`: {detail}")).about(id);
            self.findings.report(finding.offset(Offset(offset)).because(&[since]));
        }
    }
}

/// A cooperative generation took something from somebody who came to it with that: it gives it up and comes again
/// (KIP-429). What it came with may be from a generation long past, if it missed what came between.
fn to_be_followed_up(now: &Classic) -> bool {
    let taken = |m: &super::reader::ClassicMember| m.owned.iter().any(|p| !m.assigned.contains(p));
    now.protocol.as_deref() == Some("cooperative-sticky") && now.members.iter().any(taken)
}

/// How many partitions stay with who had them, and how many could in a balanced assignment. `None`: no comparison, for
/// want of uniform subscriptions or of a complete assignment (a cooperative one leaves out what must be given up first:
/// what it leaves out counts as moved, as it would be). Whoever was expelled and comes again has what it remembers; but
/// to `cooperative-sticky` a member has what it comes with, and one that was told that its generation or its id is
/// unknown has lost all (`ConsumerCoordinator`: `onPartitionsLost`).
fn kept_and_most(before: &Classic, now: &Classic) -> Option<(usize, usize)> {
    let topics = &now.members.first()?.topics;
    if now.members.iter().any(|m| m.topics != *topics) || before.members.iter().any(|m| m.topics != *topics) {
        return None;
    }
    let all = |c: &Classic| c.members.iter().flat_map(|m| m.assigned.iter().cloned()).collect::<BTreeSet<Source>>();
    let known: BTreeSet<Source> = all(before).union(&all(now)).cloned().collect();
    let (least, extra) = (known.len() / now.members.len(), known.len() % now.members.len());
    let sticky = now.protocol.as_deref() == Some("sticky");
    let (mut kept, mut most, mut above) = (0, 0, 0);
    let mut claimed: BTreeSet<&Source> = BTreeSet::new();
    for member in &now.members {
        let remembers =
            || member.claim.as_ref().filter(|(_, of)| sticky && *of == before.generation).map(|(had, _)| had);
        let had = before.members.iter().find(|m| m.id == member.id).map(|m| &m.assigned).or_else(remembers);
        let Some(had) = had else { continue };
        let had: Vec<&Source> = had.iter().filter(|p| sticky || member.owned.contains(p)).collect();
        if !had.iter().all(|p| claimed.insert(*p)) {
            return None;
        }
        kept += member.assigned.iter().filter(|p| had.contains(p)).count();
        most += had.len().min(least);
        above += usize::from(had.len() > least);
    }
    Some((kept, most + above.min(extra)))
}
