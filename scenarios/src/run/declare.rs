//! Translates what the world saw into what the oracles may excuse, and findings into one form.

use super::watch::Watch;
use super::{Found, Witness};
use crate::schema::{Scenario, TopicSpec};
use klamm_model::checks::Check;
use klamm_model::history::TopicPartition;
use klamm_model::ids::TopicIdPartition;
use klamm_model::units::Instant;
use klamm_reports::charts::{Band, Moment};
use klamm_workloads::oracles;
use klamm_workloads::permission::{
    Clause, Compacted, Damage, Declared, Expired, Facts, LeaderChange, LogStart, Loss, OffsetsAltered, PartitionChange,
    Unclean, permitted,
};
use klamm_world::invariants;
use std::collections::BTreeMap;

/// What happened, with partitions by name.
pub fn declare(watch: &Watch) -> Declared {
    let facts = watch.injector.facts();
    let names = &facts.topics;
    let source = |p: TopicIdPartition| TopicPartition {
        topic: names.get(&p.topic).map_or("", String::as_str).into(),
        partition: p.partition,
    };
    Declared {
        leader_changes: facts
            .leader_changes
            .iter()
            // The first leader of all deposes nobody.
            .filter(|c| c.epoch.0 > 0)
            .map(|c| LeaderChange {
                at: c.at.as_nanos(),
                source: source(c.partition),
                epoch: c.epoch,
                deposed_by: c.deposed.map(|d| d.as_nanos()),
            })
            .collect(),
        uncleans: facts
            .uncleans
            .iter()
            .map(|u| Unclean { at: u.at.as_nanos(), source: source(u.partition), from: u.log_end })
            .collect(),
        losses: facts
            .losses
            .iter()
            .map(|l| Loss {
                at: l.at.as_nanos(),
                source: source(l.partition),
                from: l.from,
                beyond_budget: l.beyond_budget,
            })
            .collect(),
        damages: facts
            .damages
            .iter()
            .map(|d| Damage {
                at: d.at.as_nanos(),
                source: source(d.partition),
                from: d.from,
                to: d.to,
                beyond_budget: d.beyond_budget,
            })
            .collect(),
        log_starts: facts
            .log_starts
            .iter()
            .map(|s| LogStart { at: s.at.as_nanos(), source: source(s.partition), offset: s.log_start })
            .collect(),
        compactions: watch
            .invariants
            .compactions()
            .iter()
            .map(|c| Compacted { at: c.at.as_nanos(), source: source(c.partition), removed: c.offsets.clone() })
            .collect(),
        expiries: watch
            .invariants
            .unknown_producers()
            .iter()
            .map(|u| Expired { at: u.at.as_nanos(), source: source(u.partition), producer_id: Some(u.producer) })
            .collect(),
        offsets_altered: offsets_altered(facts),
        ..Declared::default()
    }
}

/// Topics that grow, and when they do at the earliest.
pub fn growth(scenario: &Scenario, began: Instant) -> Vec<PartitionChange> {
    let change = |topic: &TopicSpec| {
        let grow = topic.grow.as_ref()?;
        let (at, count) = ((began + grow.at.get().0).as_nanos(), *grow.to.get() as i32);
        Some(PartitionChange { at, topic: topic.name.as_str().into(), count })
    };
    scenario.topics.iter().filter_map(change).collect()
}

/// Committed offsets that expired in order, or went with what the offsets topic lost.
fn offsets_altered(facts: &klamm_world::faults::Facts) -> Vec<OffsetsAltered> {
    let expired = facts.offsets_gone.iter().map(|gone| OffsetsAltered {
        at: gone.at.as_nanos(),
        group: gone.group.clone(),
        source: Some(gone.source.clone()),
    });
    let uncleans = facts.uncleans.iter().map(|u| (u.at, u.partition));
    let losses = facts.losses.iter().filter(|l| l.beyond_budget).map(|l| (l.at, l.partition));
    let damages = facts.damages.iter().filter(|d| d.beyond_budget).map(|d| (d.at, d.partition));
    let lost = uncleans.chain(losses).chain(damages).flat_map(|(at, partition)| {
        let here = facts.group_homes.iter().filter(move |(_, home)| **home == partition);
        here.map(move |(group, _)| OffsetsAltered { at: at.as_nanos(), group: group.clone(), source: None })
    });
    let mut all: Vec<OffsetsAltered> = expired.chain(lost).collect();
    all.sort_by_key(|a| a.at);
    all
}

/// An oracle's finding.
pub fn from_oracle(f: oracles::Finding) -> Found {
    Found {
        check: f.check,
        at: f.at,
        partition: Some(format!("{}-{}", f.source.topic, f.source.partition)),
        detail: f.detail,
        permitted: f.permitted,
        witness: f.witness.into_iter().map(Witness::Operation).collect(),
    }
}

/// An invariant's finding, judged by the same table.
pub fn from_invariant(f: &invariants::Finding, declared: &Declared) -> Found {
    let source =
        f.partition.map(|p| TopicPartition { topic: f.topic.as_deref().unwrap_or("").into(), partition: p.partition });
    let permitted = source.as_ref().and_then(|source| {
        // What is found of committed offsets is about their log, a partition of the offsets topic.
        let clause = (f.check == Check::CommittedOffset).then_some(Clause::OffsetsTopic);
        let facts = Facts { offset: f.offset, clause, ..Facts::new(f.at.as_nanos(), source.clone()) };
        permitted(f.check, &facts, declared)
    });
    Found {
        check: f.check,
        at: f.at.as_nanos(),
        partition: source.map(|s| format!("{}-{}", s.topic, s.partition)),
        detail: f.detail.clone(),
        permitted,
        witness: f.witness.iter().map(|o| Witness::Event(o.0)).collect(),
    }
}

/// Fired faults as bands of the timeline, from the beginning of hardship.
pub fn bands(watch: &Watch) -> Vec<Band> {
    watch
        .injector
        .fired()
        .iter()
        .map(|f| Band {
            from: f.planned.at,
            to: f.planned.at + f.planned.lasts.unwrap_or(0),
            label: crate::artefacts::fault_in_words(&klamm_world::faults::Planned { lasts: None, ..f.planned.clone() }),
        })
        .collect()
}

/// Elections as moments of the timeline, from the beginning of hardship.
pub fn moments(declared: &Declared, from: u64) -> Vec<Moment> {
    let mut by_time: BTreeMap<u64, u32> = BTreeMap::new();
    for change in declared.leader_changes.iter().filter(|c| c.at >= from) {
        *by_time.entry(change.at - from).or_default() += 1;
    }
    by_time.into_iter().map(|(at, n)| Moment { at, label: format!("{n} elected") }).collect()
}
