//! Seeds' outcomes gathered into a scenario's record. Order of arrival does not matter.

use crate::artefacts::in_words;
use crate::capacity::offered;
use crate::run::{Found, SeedOutcome, ServiceTimes};
use crate::schema::Scenario;
use crate::seeds::Seed;
use crate::setting::setting;
use klamm_model::checks::Check;
use klamm_reports::figures::{FirstSeed, ScenarioFigures, ServiceLatencies};
use klamm_reports::recap;
use klamm_reports::record::{
    CauseRecord, FailureRecord, FaultRecord, GroupFigures, Judged, ScenarioRecord, SeedRecord, ServiceFigures,
};
use std::collections::{BTreeMap, BTreeSet};

/// One scenario's seeds so far.
#[derive(Debug)]
pub struct Aggregate {
    record: ScenarioRecord,
    figures: ScenarioFigures,
    /// By place in the sweep: the seed, and what it took on the wall.
    seeds: BTreeMap<u64, (SeedRecord, u64)>,
    nondeterministic: bool,
    violated: bool,
    /// Whether they are all there will be: not a shard, and not one seed again.
    whole: bool,
}

impl Aggregate {
    /// No seeds yet of `planned` (0: as many as time allows). Of a `whole` run more is demanded than of a part.
    pub fn new(scenario: &Scenario, planned: u64, whole: bool) -> Aggregate {
        let text = crate::schema::to_toml(scenario);
        let record = ScenarioRecord {
            name: scenario.name.clone(),
            summary: scenario.summary.clone(),
            promise: scenario.promise.clone(),
            digest: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes())),
            setting: setting(scenario),
            offered: offered(scenario),
            required_marks: scenario.expect.sometimes.clone(),
            expected: scenario.expect.violations.clone(),
            permits: scenario.expect.permits.clone(),
            forbid: scenario.expect.forbid.clone(),
            strict: scenario.expect.strict,
            seen_before: crate::seen::before(scenario),
            planned,
            ..ScenarioRecord::default()
        };
        Aggregate {
            record,
            figures: ScenarioFigures::default(),
            seeds: BTreeMap::new(),
            nondeterministic: false,
            violated: false,
            whole,
        }
    }

    /// Adds one seed's outcome.
    pub fn add(&mut self, scenario: &Scenario, index: u64, outcome: &mut SeedOutcome, wall_ns: u64) {
        let r = &mut self.record;
        r.virtual_ns += outcome.virtual_ns;
        r.wall_ns += wall_ns;
        r.events += outcome.events;
        for mark in outcome.marks.keys() {
            *r.marks.entry((*mark).to_owned()).or_default() += 1;
        }
        let mut checks = BTreeSet::new();
        for found in &outcome.findings {
            let count = r.findings.entry(found.check.to_string()).or_default();
            match found.permitted {
                Some(cause) => *count.permitted.entry(cause.meaning().to_owned()).or_default() += 1,
                None => count.violations += 1,
            }
            if checks.insert(&found.check) {
                count.seeds += 1;
            }
        }
        r.judged.get_or_insert_with(Judged::default).add(&outcome.judged);
        recap::add(&mut r.causes, &causes(scenario, outcome, index));
        for (check, n) in &outcome.armed {
            *r.armed.entry(check.clone()).or_default() += n;
        }
        r.faults.resize_with(r.faults.len().max(outcome.faults.len()), FaultRecord::default);
        for (all, seed) in r.faults.iter_mut().zip(&outcome.faults) {
            all.add(seed);
        }
        let (o, s) = (&mut r.operations, &outcome.summary);
        o.sends += s.sends;
        o.acknowledged += s.acknowledged;
        o.failed += s.failed;
        o.unknown += s.info;
        o.reads += s.reads;
        o.lost += s.lost();
        o.silently_lost += s.acks0_missing;
        o.duplicates += s.duplicates();
        let (a, o) = (&mut r.availability, &outcome.outages);
        a.outages += o.count;
        a.unavailable_ns += o.unavailable;
        a.longest_ns = a.longest_ns.max(o.longest);
        a.observed_ns += outcome.observed_ns;
        a.hardship_ns += outcome.resolved.duration.get().0.as_nanos();
        for group in outcome.groups.values() {
            let g = r.groups.get_or_insert_with(GroupFigures::default);
            g.delivered += group.delivered;
            for rebalance in &group.rebalances {
                g.rebalances += 1;
                g.members += u64::from(rebalance.members);
                g.moved += rebalance.moved;
                g.redelivered += rebalance.redelivered;
                self.figures.rebalances.push(rebalance.to - rebalance.from);
                self.figures.stopped.extend(&rebalance.stopped);
            }
        }
        if let Some(s) = &outcome.services {
            self.services(s, outcome);
        }
        self.figures.response.add_seed(&outcome.response);
        self.figures.service.add_seed(&outcome.service);
        self.violated |= outcome.violations(scenario).next().is_some();
        let seed = SeedRecord {
            seed: Seed(outcome.seed).to_string(),
            digest: format!("{:016x}", outcome.digest),
            events: outcome.events,
            knobs: knobs(scenario, &outcome.resolved),
            violated: outcome.violated(scenario).iter().map(Check::to_string).collect(),
        };
        if let Some(timeline) = outcome.timeline.take() {
            let fired = in_words(&outcome.fired);
            self.figures.first = Some(FirstSeed { index, seed: seed.seed.clone(), fired, timeline });
        }
        self.seeds.insert(index, (seed, wall_ns));
    }

    fn services(&mut self, s: &ServiceTimes, outcome: &SeedOutcome) {
        let of_seed = ServiceFigures {
            records: s.records,
            unfinished: s.unfinished,
            deadline_ns: outcome.resolved.deadline.as_ref().map(|d| d.get().0.as_nanos()),
            late: s.late,
            twice: s.twice,
            down_ns: s.down,
            ..ServiceFigures::default()
        };
        self.record.services.get_or_insert_with(ServiceFigures::default).add(&of_seed);
        let all = self.figures.services.get_or_insert_with(ServiceLatencies::default);
        all.end_to_end.add_seed(&s.end_to_end);
        all.steps.add_seed(&s.steps);
        all.origins.add_seed(&s.origins);
        all.origins_down.add_seed(&s.origins_down);
        all.lag_peaks.push(s.lag_peak);
        all.behind.push(s.behind);
    }

    /// Adds a failure.
    pub fn fail(&mut self, failure: FailureRecord) {
        self.record.failures.push(failure);
    }

    /// Two runs of one seed differed.
    pub fn differed(&mut self) {
        self.nondeterministic = true;
    }

    /// The record of all seeds so far.
    pub fn record(&self) -> ScenarioRecord {
        self.close().0
    }

    /// The record of all seeds so far, and what charts of it are drawn from.
    pub fn close(&self) -> (ScenarioRecord, ScenarioFigures) {
        let (mut record, mut figures) = (self.record.clone(), self.figures.clone());
        record.seeds = self.seeds.values().map(|(seed, _)| seed.clone()).collect();
        record.failures.sort_by_key(|f| f.index);
        figures.walls = self.seeds.iter().map(|(index, (_, wall))| (*index, *wall)).collect();
        figures.complete(&mut record, self.nondeterministic, self.violated, self.whole);
        (record, figures)
    }
}

/// A seed's violations by check and cause.
fn causes(scenario: &Scenario, outcome: &SeedOutcome, index: u64) -> Vec<CauseRecord> {
    let mut causes: BTreeMap<(String, String), (u64, String)> = BTreeMap::new();
    // Of what is found over and over only the first has words.
    for found in outcome.violations(scenario).filter(|f| !f.detail.is_empty()).map(Found::as_violation) {
        let cause = recap::cause(&found.detail, found.partition.as_deref());
        // The first of them is the example. Where it was found belongs to it.
        let example = || match &found.partition {
            Some(p) if !found.detail.contains(p.as_str()) => format!("{p}: {}", found.detail),
            _ => found.detail.clone(),
        };
        causes.entry((found.check.to_string(), cause)).or_insert_with(|| (0, example())).0 += 1;
    }
    let one =
        |((check, cause), (times, example))| CauseRecord { check, cause, example, times, seeds: 1, first: index + 1 };
    causes.into_iter().map(one).collect()
}

/// The values that were drawn, by their place.
fn knobs(scenario: &Scenario, resolved: &Scenario) -> BTreeMap<String, String> {
    let mut knobs = BTreeMap::new();
    let as_value = |s: &Scenario| {
        let mut s = s.clone();
        // Faults are in the schedule; listing them again as knobs would say nothing new.
        s.faults.clear();
        toml::Value::try_from(s).expect("a scenario is TOML")
    };
    differences("", &as_value(scenario), &as_value(resolved), &mut knobs);
    knobs
}

fn differences(place: &str, before: &toml::Value, after: &toml::Value, into: &mut BTreeMap<String, String>) {
    use toml::Value::{Array, Table};
    let below = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match (before, after) {
        (Table(a), Table(b)) => {
            for (key, value) in b {
                if let Some(old) = a.get(key) {
                    differences(&below(key), old, value, into);
                }
            }
        }
        (Array(a), Array(b)) if a.len() == b.len() => {
            for (i, (old, new)) in a.iter().zip(b).enumerate() {
                differences(&below(&i.to_string()), old, new, into);
            }
        }
        (a, b) if a != b => {
            into.insert(place.to_owned(), b.as_str().map_or_else(|| b.to_string(), str::to_owned));
        }
        _ => {}
    }
}
