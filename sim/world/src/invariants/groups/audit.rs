//! replay-equals-live for groups, dead members, and when a group has converged.
//!
//! A coordinator's account is compared with its own replica of the offsets topic, read again from its files up to where
//! the account says it was committed. Left out: what is in memory only by design (timers, pending writes, classic groups
//! between two generations).

use super::answers::listed;
use super::lives::at_most;
use super::log::{GroupState, Replayed};
use super::reader::said;
use super::{Invariants, Source, Waits};
use crate::event::Ordinal;
use crate::invariants::batch::heads;
use crate::invariants::finding::Ctx;
use crate::invariants::replica::log_file;
use crate::invariants::{Account, Check, ReplicaFiles, Unmet};
use bytes::{Bytes, BytesMut};
use klamm_model::ids::*;
use klamm_model::inspect::{
    CoordinatorInspection, GroupInspection, Inspection, MembershipInspection, PartitionInspection,
};
use std::collections::{BTreeMap, BTreeSet};

/// States of a classic group in which its log says all there is.
const SETTLED: [&str; 2] = ["Stable", "Empty"];

impl Invariants {
    /// At the end of a phase.
    pub(in crate::invariants) fn audit_groups(&mut self, ctx: Ctx, files: &[ReplicaFiles], accounts: &[Account]) {
        self.settle_suspicions(ctx);
        for account in accounts {
            let Some(Inspection::Broker(broker)) = &account.inspection else { continue };
            for coordinated in &broker.coordinated {
                let dir = broker.partitions.iter().find(|p| p.partition == coordinated.partition).map(|p| &p.dir);
                let own = files.iter().find(|f| f.node == account.node);
                if let (Some(dir), Some(own)) = (dir, own)
                    && coordinated.quiet
                    && let Some(replayed) = replay(own, dir.as_str(), coordinated.committed.0)
                {
                    self.compare(ctx, account, coordinated, &replayed);
                }
                self.dead_members(ctx, account, coordinated);
            }
        }
    }

    fn compare(&mut self, ctx: Ctx, account: &Account, live: &CoordinatorInspection, replayed: &Replayed) {
        let empty = GroupState::default();
        let names: BTreeSet<&String> = live.groups.keys().chain(replayed.groups.keys()).collect();
        for name in names {
            let log = replayed.groups.get(name).unwrap_or(&empty);
            let none = GroupInspection::default();
            self.armed.judged(Check::ReplayEqualsLive);
            let differs = self.difference(live.groups.get(name).unwrap_or(&none), log);
            if let Some(differs) = differs {
                let who = self.cluster.name(account.node);
                let detail = format!("{who}, group `{name}`: {differs}");
                let finding = ctx.finding(Check::ReplayEqualsLive, detail).about(live.partition);
                self.findings.report(finding.offset(live.committed).epoch(live.epoch));
            }
        }
    }

    fn difference(&self, live: &GroupInspection, log: &GroupState) -> Option<String> {
        let offsets: BTreeMap<Source, Offset> =
            log.offsets.iter().filter_map(|(s, c)| Some((s.clone(), Offset(c.offset?)))).collect();
        if let Some((topic, partition)) =
            live.offsets.keys().chain(offsets.keys()).find(|s| live.offsets.get(*s) != offsets.get(*s))
        {
            let of = |map: &BTreeMap<Source, Offset>| {
                map.get(&(topic.clone(), *partition)).map_or("none".to_owned(), |o| o.to_string())
            };
            return Some(format!(
                "the committed offset of {topic}-{partition} is {} in memory, {} by its log",
                of(&live.offsets),
                of(&offsets)
            ));
        }
        let consumer = log.epoch.is_some();
        if !consumer && !live.kind.is_empty() && !SETTLED.contains(&live.state) {
            return None;
        }
        let generation = log.epoch.or(log.classic.as_ref().map(|c| c.generation));
        if let Some(generation) = generation.filter(|g| *g != live.generation) {
            return Some(format!("it is at {} in memory, at {generation} by its log", live.generation));
        }
        let mut members: BTreeMap<&str, (Option<&str>, i32, Vec<Source>)> = BTreeMap::new();
        for m in log.classic.iter().flat_map(|c| &c.members) {
            members.insert(&m.id, (m.instance.as_deref(), generation.unwrap_or(0), m.assigned.clone()));
        }
        for (id, said) in &log.members {
            let current = log.current.get(id);
            let mut assigned: Vec<Source> =
                current.map_or_else(Vec::new, |h| h.current.assigned.iter().map(|p| self.source_of(*p)).collect());
            assigned.sort();
            members.insert(id, (said.instance.as_deref(), current.map_or(0, |h| h.current.epoch), assigned));
        }
        for id in live.members.keys().map(String::as_str).chain(members.keys().copied()) {
            match (live.members.get(id), members.get(id)) {
                (Some(_), None) => return Some(format!("{id} is a member in memory, and not by its log")),
                (None, _) => return Some(format!("{id} is a member by its log, and not in memory")),
                (Some(live), Some((instance, epoch, assigned))) => {
                    if live.instance.as_deref() != *instance {
                        return Some(format!(
                            "{id} is static as {:?} in memory, as {instance:?} by its log",
                            live.instance
                        ));
                    }
                    if live.epoch != *epoch {
                        return Some(format!("{id} is at {} in memory, at {epoch} by its log", live.epoch));
                    }
                    if live.assigned != *assigned {
                        let (a, b) = (listed(&live.assigned), listed(assigned));
                        return Some(format!("{id} has {a} in memory, {b} by its log"));
                    }
                }
            }
        }
        None
    }

    /// liveness-verdicts: who has not been heard of for longer than its session is a member no more.
    fn dead_members(&mut self, ctx: Ctx, account: &Account, live: &CoordinatorInspection) {
        let mut dead = Vec::new();
        for (name, group) in &live.groups {
            let Some(coordinator) = self.coordinates(account.node, name) else { continue };
            let Some(watched) = self.groups.watched.get(name) else { continue };
            for member in group.members.keys() {
                let Some(life) = watched.lives.get(member) else { continue };
                let Some((heard, limit)) = watched.heard(member, coordinator.at) else { continue };
                self.armed.judged(Check::LivenessVerdicts);
                let silent = ctx.at.since(heard);
                if silent > at_most(limit) {
                    dead.push((name.clone(), member.clone(), silent, *life));
                }
            }
        }
        for (group, member, silent, life) in dead {
            let (what, limit) = match life.waits {
                Waits::No => ("session", life.session),
                _ => ("rebalance timeout", life.rebalance),
            };
            let detail = format!(
                "{member} is still a member {} ms after its last sign of life; its {what} is {} ms",
                silent.as_millis(),
                limit.as_millis()
            );
            self.about_group(ctx, Check::LivenessVerdicts, &group, detail, &[life.ordinal]);
        }
    }

    /// Groups that are not stable, whose partitions are not each owned by one live member that knows of it, or whose
    /// members have not been given all there is.
    pub(in crate::invariants) fn groups_unmet(&self, accounts: &[Account], waived: &[TopicIdPartition]) -> Vec<Unmet> {
        let mut unmet = Vec::new();
        let mut say = |condition, detail: String| unmet.push(Unmet { condition, detail });
        let mut clients: BTreeMap<&str, Vec<&MembershipInspection>> = BTreeMap::new();
        for account in accounts {
            let Some(Inspection::Client(client)) = &account.inspection else { continue };
            let Some(member) = &client.member else { continue };
            clients.entry(&member.group).or_default().push(member);
            for source in &member.owned {
                // Nobody writes transactions: what is committed is visible.
                let Some(end) = committed_end(accounts, source) else { continue };
                let next = client.positions.get(source).copied();
                if next.is_none_or(|next| next < end) {
                    let next = next.map_or("nowhere".to_owned(), |o| o.to_string());
                    let (topic, partition) = source;
                    let detail = format!("group `{}`: {topic}-{partition} is read up to {next} of {end}", member.group);
                    say("group-caught-up", detail);
                }
            }
            if member.pending_commits > 0 {
                let (name, n) = (self.cluster.name(account.node), member.pending_commits);
                say("commits-resolved", format!("{name} has {n} commits pending"));
            }
        }
        for (name, members) in clients {
            let Some(ix) = self.home(name) else {
                say("group-coordinated", format!("group `{name}` has no partition of the offsets topic"));
                continue;
            };
            let part = &self.cluster.parts[ix.0];
            if waived.contains(&part.id) {
                continue;
            }
            let leader = part.committed.as_ref().map(|c| c.leader);
            let coordinated = accounts.iter().find_map(|a| match &a.inspection {
                Some(Inspection::Broker(b)) if Some(b.id) == leader => {
                    b.coordinated.iter().find(|c| c.partition == part.id)
                }
                _ => None,
            });
            let Some(coordinated) = coordinated else {
                say("group-coordinated", format!("group `{name}` has no coordinator"));
                continue;
            };
            let Some(group) = coordinated.groups.get(name) else {
                say("group-stable", format!("group `{name}` is unknown to its coordinator"));
                continue;
            };
            if group.state != "Stable" {
                say("group-stable", format!("group `{name}` is {}", group.state));
                continue;
            }
            let known: BTreeSet<&str> = members.iter().map(|m| m.member.as_str()).collect();
            for id in group.members.keys().filter(|id| !known.contains(id.as_str())) {
                say("group-stable", format!("group `{name}` has a member {id} that is no client's"));
            }
            let mut owned: BTreeSet<&Source> = BTreeSet::new();
            for member in members {
                match group.members.get(&member.member) {
                    Some(m) if m.assigned == member.owned => owned.extend(&member.owned),
                    Some(m) => {
                        let (a, b) = (listed(&member.owned), listed(&m.assigned));
                        say(
                            "group-agreed",
                            format!(
                                "group `{name}`: {} has {a} by its own account, {b} by its coordinator's",
                                member.member
                            ),
                        );
                        owned.extend(&m.assigned);
                    }
                    None => say("group-agreed", format!("group `{name}`: `{}` is no member", member.member)),
                }
            }
            let forgotten = self.replayed(name).and_then(|(_, log)| log.replayed.groups.get(name));
            let forgotten = |p: &Source| forgotten.is_some_and(|g| g.handover.forgotten.contains(p));
            for missing in self.subscribed(name).filter(|p| !owned.contains(p) && !forgotten(p)) {
                say("group-owned", format!("group `{name}`: nobody owns {}-{}", missing.0, missing.1));
            }
        }
        unmet
    }

    /// Every partition there is of the topics that a group subscribes to.
    fn subscribed(&self, group: &str) -> impl Iterator<Item = Source> {
        let state = self.replayed(group).and_then(|(_, log)| log.replayed.groups.get(group));
        let mut topics: BTreeSet<&str> = BTreeSet::new();
        if let Some(state) = state {
            topics.extend(state.classic.iter().flat_map(|c| &c.members).flat_map(|m| &m.topics).map(String::as_str));
            topics.extend(state.members.values().flat_map(|m| &m.topics).map(String::as_str));
        }
        let parts = self.cluster.parts.iter().filter(|p| !p.deleted && p.committed.is_some());
        let parts: Vec<Source> = parts
            .filter(|p| topics.contains(&*p.topic) && self.cluster.names.get(&p.topic) == Some(&p.id.topic))
            .map(|p| (p.topic.to_string(), p.id.partition))
            .collect();
        parts.into_iter()
    }
}

/// Where what is committed of a partition ends, by its leader's account.
pub(in crate::invariants) fn committed_end(accounts: &[Account], (topic, partition): &Source) -> Option<Offset> {
    accounts.iter().find_map(|a| {
        let Some(Inspection::Broker(broker)) = &a.inspection else { return None };
        let of = |p: &&PartitionInspection| p.topic == *topic && p.partition.partition == *partition;
        broker.partitions.iter().find(|p| of(p) && p.leader == broker.id).map(|p| p.high_watermark)
    })
}

/// What a replica's files say below an offset; nothing if they cannot be read.
fn replay(files: &ReplicaFiles, dir: &str, to: i64) -> Option<Replayed> {
    let mut segments: Vec<(i64, &[Bytes])> = files
        .files
        .iter()
        .filter_map(|(path, content)| log_file(path).filter(|(d, _)| *d == dir).map(|(_, base)| (base, &**content)))
        .collect();
    segments.sort_by_key(|(base, _)| *base);
    let mut replayed = Replayed::default();
    for (_, content) in segments {
        let mut whole = BytesMut::new();
        content.iter().for_each(|piece| whole.extend_from_slice(piece));
        for (head, batch) in heads(&whole) {
            if head.base.0 >= to {
                return Some(replayed);
            }
            for (offset, record) in said(batch)? {
                replayed.apply(offset, &record, Ordinal(0));
            }
        }
    }
    Some(replayed)
}
