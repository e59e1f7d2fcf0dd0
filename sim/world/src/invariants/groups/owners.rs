//! single-owner and assignment-legal: what the offsets topic says of who has what, and what clients say.
//!
//! Classic: one record says the whole generation. KIP-848: a partition is assigned or pending revocation to one current
//! member, across all member epochs; judged after the whole batch. A client may go on with a partition that is another's
//! only if it was removed from the group, or its static id taken over, and has not heard of it; one that was removed may
//! also still take up what an answer on its way gave it. A classic static member that misses a rebalance is not removed
//! (KIP-345): it goes on with what it had until it hears.

use super::answers::listed;
use super::log::GroupState;
use super::reader::{Classic, Said};
use super::{Invariants, Source};
use crate::event::{NodeRef, Ordinal};
use crate::invariants::Check;
use crate::invariants::cluster::PartIx;
use crate::invariants::finding::Ctx;
use klamm_model::history::RebalanceProtocol;
use klamm_model::ids::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong with an assignment, by check.
fn faults_of(
    members: &[(&str, &[Source], &[String])],
    may_leave_out: impl Fn(&Source) -> bool,
) -> Vec<(Check, String)> {
    let mut wrong = Vec::new();
    let mut owner: BTreeMap<&Source, &str> = BTreeMap::new();
    let mut highest: BTreeMap<&str, i32> = BTreeMap::new();
    for (member, parts, topics) in members {
        for part in *parts {
            if let Some(other) = owner.insert(part, member) {
                wrong.push((Check::SingleOwner, format!("{}-{} is given to {other} and to {member}", part.0, part.1)));
            }
            if !topics.contains(&part.0) {
                let text = format!("{member} is given {}-{} and does not subscribe to {}", part.0, part.1, part.0);
                wrong.push((Check::AssignmentLegal, text));
            }
            let top = highest.entry(&part.0).or_default();
            *top = (*top).max(part.1);
        }
    }
    // A member that assigns may not know of new partitions yet, but what it knows it gives away.
    for (topic, top) in highest {
        let missing: Vec<Source> =
            (0..top).map(|p| (topic.to_owned(), p)).filter(|p| !owner.contains_key(p) && !may_leave_out(p)).collect();
        if !missing.is_empty() {
            wrong.push((Check::AssignmentLegal, format!("{} are given to nobody", listed(&missing))));
        }
    }
    wrong
}

impl Invariants {
    fn judged(&mut self, ctx: Ctx, ix: PartIx, group: &str, offset: i64, since: Ordinal, wrong: Vec<(Check, String)>) {
        let id = self.cluster.parts[ix.0].id;
        for (check, text) in wrong {
            let finding = ctx.finding(check, format!("group `{group}`: {text}")).about(id);
            self.findings.report(finding.offset(Offset(offset)).because(&[since]));
        }
    }

    /// A classic group's generation is committed.
    pub(super) fn generation_committed(&mut self, ctx: Ctx, ix: PartIx, group: &str, offset: i64) {
        let Some(state) = self.groups.logs.get(&ix).and_then(|l| l.replayed.groups.get(group)) else { return };
        let Some(classic) = &state.classic else { return };
        self.armed.judged(Check::AssignmentLegal);
        self.armed.judged(Check::SingleOwner);
        let wrong = classic_faults(classic, state.classic_before.as_ref());
        let since = state.classic_since;
        self.judged(ctx, ix, group, offset, since, wrong);
        self.moves_judged(ctx, ix, group, offset);
    }

    /// A KIP-848 group has a new target.
    pub(super) fn target_committed(&mut self, ctx: Ctx, ix: PartIx, group: &str, offset: i64) {
        let Some(state) = self.groups.logs.get(&ix).and_then(|l| l.replayed.groups.get(group)) else { return };
        let target: Vec<(String, Vec<Source>)> = state
            .target
            .iter()
            .map(|(m, parts)| (m.clone(), parts.iter().map(|p| self.source_of(*p)).collect()))
            .collect();
        let none: &[String] = &[];
        let members: Vec<_> = target
            .iter()
            .map(|(m, parts)| (m.as_str(), parts.as_slice(), state.members.get(m).map_or(none, |s| &s.topics)))
            .collect();
        self.armed.judged(Check::AssignmentLegal);
        let wrong = faults_of(&members, |_| false).into_iter();
        // A target gives nothing away yet: what it gives twice is an illegal assignment.
        let wrong = wrong.map(|(_, text)| (Check::AssignmentLegal, format!("target: {text}"))).collect();
        self.judged(ctx, ix, group, offset, Ordinal(0), wrong);
    }

    /// After a whole batch: whatever it gave to somebody has no other owner.
    pub(super) fn owned_once(&mut self, ctx: Ctx, ix: PartIx, records: &[(i64, Said)]) {
        let mut wrong = Vec::new();
        let Some(log) = self.groups.logs.get(&ix) else { return };
        let mut seen = BTreeSet::new();
        for (offset, said) in records {
            let Said::Current { group, value: Some(current), .. } = said else { continue };
            let Some(state) = log.replayed.groups.get(group) else { continue };
            for part in current.assigned.iter().chain(&current.pending) {
                self.armed.judged(Check::SingleOwner);
                if let Some(owners) = state.owners.get(part).filter(|o| o.len() > 1)
                    && seen.insert((group, *part))
                {
                    wrong.push((group.clone(), *offset, *part, owners.clone(), since(state, owners)));
                }
            }
        }
        for (group, offset, part, owners, since) in wrong {
            let (topic, partition) = self.source_of(part);
            let owners: Vec<String> = owners.into_iter().collect();
            let text = format!("{topic}-{partition} belongs to {} at once", owners.join(" and "));
            self.judged(ctx, ix, &group, offset, since, vec![(Check::SingleOwner, text)]);
        }
    }

    /// A client says that a partition came to it.
    pub(super) fn client_assigned(&mut self, ctx: Ctx, node: NodeRef, source: Source) {
        let Some(side) = self.groups.clients.get_mut(&node) else { return };
        let (group, member) = (side.facts.group.to_string(), side.member.clone());
        self.armed.judged(Check::SingleOwner);
        if let Some(since) = side.gave_up.remove(&source) {
            let detail = format!(
                "{member} gave {}-{} up in a rebalance in which it was to keep it, and got it back",
                source.0, source.1
            );
            self.about_group(ctx, Check::NeedlessRevocation, &group, detail, &[since]);
        }
        let others: Vec<(NodeRef, String, Ordinal)> = self
            .groups
            .watched(&group)
            .holders
            .get(&source)
            .map(|h| h.iter().filter(|(n, _)| **n != node).map(|(n, (m, o))| (*n, m.clone(), *o)).collect())
            .unwrap_or_default();
        for (other, as_member, since) in others {
            let replayed = self.replayed(&group).and_then(|(_, l)| l.replayed.groups.get(&group));
            let missed = self.missed_rebalance(other, &group, &as_member);
            let known = !as_member.is_empty() && as_member != member;
            if known && !missed && replayed.is_some_and(|g| g.has(&as_member) && g.has(&member)) {
                let name = self.cluster.name(other);
                let detail = format!(
                    "{}-{} comes to {member} while {name} has it, as {as_member}, which is still a member",
                    source.0, source.1
                );
                self.about_group(ctx, Check::SingleOwner, &group, detail, &[since]);
            }
        }
        let holders = self.groups.watched(&group).holders.entry(source).or_default();
        holders.insert(node, (member, ctx.ordinal));
    }

    /// Whether a static member of a classic group has not come to the last rebalance.
    fn missed_rebalance(&self, node: NodeRef, group: &str, member: &str) -> bool {
        let is_static = self.groups.clients.get(&node).is_some_and(|c| c.facts.instance.is_some());
        let missed = |w: &super::Watched| w.joined.get(member).is_none_or(|at| *at < w.needless.begun);
        is_static && self.groups.watched.get(group).is_some_and(missed)
    }

    /// A client says that it has a partition no more.
    pub(super) fn client_revoked(&mut self, ctx: Ctx, node: NodeRef, source: Source, lost: bool) {
        let Some(side) = self.groups.clients.get(&node) else { return };
        let group = side.facts.group.to_string();
        if !lost && side.facts.protocol != RebalanceProtocol::Eager {
            self.armed.judged(Check::NeedlessRevocation);
        }
        if let Some(holders) = self.groups.watched(&group).holders.get_mut(&source) {
            holders.remove(&node);
        }
        if !lost && self.was_to_keep(node, &group, &source) {
            let side = self.groups.clients.get_mut(&node).expect("seen above");
            side.gave_up.insert(source, ctx.ordinal);
        }
    }
}

fn since(state: &GroupState, owners: &BTreeSet<String>) -> Ordinal {
    owners.iter().filter_map(|m| state.current.get(m)).map(|h| h.ordinal).min().unwrap_or(Ordinal(0))
}

fn classic_faults(classic: &Classic, before: Option<&Classic>) -> Vec<(Check, String)> {
    let members: Vec<_> =
        classic.members.iter().map(|m| (m.id.as_str(), m.assigned.as_slice(), m.topics.as_slice())).collect();
    // A cooperative assignment leaves out what its owner has to give up first (KIP-429).
    let cooperative = classic.protocol.as_deref() == Some("cooperative-sticky");
    let had = |part: &Source| {
        let still = |id: &str| classic.members.iter().any(|m| m.id == id);
        classic.members.iter().any(|m| m.owned.contains(part))
            || before.is_some_and(|b| b.members.iter().any(|m| still(&m.id) && m.assigned.contains(part)))
    };
    faults_of(&members, |part| cooperative && had(part))
}
