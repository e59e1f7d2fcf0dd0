//! Shards of one run, put together again: verdicts, coverage and histograms come out bit for bit as if it had never
//! been split. What cannot belong together is refused, in words.

use crate::figures::{RunFigures, SCHEMA as FIGURES, ScenarioFigures, ServiceLatencies};
use crate::recap::{self, CAUSES_PER_SCENARIO, Folders};
use crate::record::{
    Availability, FaultRecord, FindingCount, GroupFigures, Judged, Operations, RunRecord, ScenarioRecord,
    ServiceFigures, Spread, Verdict,
};
use std::collections::BTreeMap;

/// A shard, as it was read.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where from, for messages.
    pub name: String,
    /// Its record.
    pub record: RunRecord,
    /// Its figures.
    pub figures: RunFigures,
}

/// Puts shards together, in whatever order they come.
///
/// # Errors
/// In words: which shard is missing or there twice, or in what two differ that must not.
pub fn merge(mut parts: Vec<Part>) -> Result<Part, String> {
    parts.sort_by_key(|p| p.record.shard);
    belong_together(&parts)?;
    together(&parts, "the shards together", true)
}

/// Puts a run that was cut short and what was run later of it together. The record's head is the latter's.
///
/// # Errors
/// In words, if they are not of one run.
pub fn go_on(before: Part, later: Part) -> Result<Part, String> {
    same_run(&before, &later)?;
    let whole = later.record.is_whole();
    let (rechecked, cut_short, interrupted) =
        (later.record.rechecked, later.record.cut_short, later.record.interrupted);
    let (seconds, head) = (before.record.wall_seconds + later.record.wall_seconds, later.record.clone());
    let mut all = together(&[before, later], "the run, gone on with", whole)?;
    all.record =
        RunRecord { rechecked, cut_short, interrupted, wall_seconds: seconds, scenarios: all.record.scenarios, ..head };
    Ok(all)
}

/// Whether two records are of the same scenarios, seeds and program.
///
/// # Errors
/// In words: in what they differ.
pub fn same_run(a: &Part, b: &Part) -> Result<(), String> {
    let differ = |what: &str, one: &str, other: &str| {
        Err(format!("not of one run: {what} is {one} in {} and {other} in {}", a.name, b.name))
    };
    let (x, y) = (&a.record, &b.record);
    let shard = |r: &RunRecord| r.shard.map_or("the whole".to_owned(), |(k, n)| format!("{k}/{n}"));
    let texts = [
        ("the command line", format!("`{}`", x.again), format!("`{}`", y.again)),
        ("the shard", shard(x), shard(y)),
        ("klamm's version", format!("`{}`", x.klamm), format!("`{}`", y.klamm)),
        ("the build", x.build.clone(), y.build.clone()),
    ];
    for (what, one, other) in texts {
        if one != other {
            return differ(what, &one, &other);
        }
    }
    let names = |r: &RunRecord| r.scenarios.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    if names(x) != names(y) {
        return differ("the list of scenarios", "one", "another");
    }
    match x.scenarios.iter().zip(&y.scenarios).find(|(p, q)| p.digest != q.digest) {
        Some((p, q)) => differ(&format!("the file of `{}`", p.name), &p.digest, &q.digest),
        None => Ok(()),
    }
}

fn together(parts: &[Part], name: &str, whole: bool) -> Result<Part, String> {
    let first = parts.first().ok_or("no shards")?;
    let mut record = RunRecord { shard: None, ..first.record.clone() };
    record.jobs = parts.iter().map(|p| p.record.jobs).max().unwrap_or(1);
    record.wall_seconds = parts.iter().map(|p| p.record.wall_seconds).fold(0.0, f64::max);
    record.cut_short = parts.iter().any(|p| p.record.cut_short);
    record.interrupted = parts.iter().filter_map(|p| p.record.interrupted).max();
    record.rechecked = parts.iter().try_fold((0, 0), |sum: (u64, u64), p| {
        let (all, same) = p.record.rechecked?;
        Some((sum.0 + all, sum.1 + same))
    });
    let mut figures = Vec::with_capacity(record.scenarios.len());
    for (i, of_all) in record.scenarios.iter_mut().enumerate() {
        let each: Vec<(&ScenarioRecord, &ScenarioFigures)> =
            parts.iter().map(|p| (&p.record.scenarios[i], &p.figures.scenarios[i])).collect();
        let (merged, drawn) = scenario(&each, whole);
        *of_all = merged;
        figures.push(drawn);
    }
    let figures = RunFigures { schema: FIGURES, scenarios: figures };
    Ok(Part { name: name.to_owned(), record, figures })
}

/// Whether these are all the shards of one run, each once. They are in order.
fn belong_together(parts: &[Part]) -> Result<(), String> {
    let Some(first) = parts.first() else { return Err("no shards to put together".to_owned()) };
    for part in parts {
        let (a, b) = (&first.record, &part.record);
        let differ = |what: &str, one: &str, other: &str| {
            Err(format!("not of one run: {what} is {one} in {} and {other} in {}", first.name, part.name))
        };
        let Some((_, n)) = b.shard else {
            return Err(format!(
                "{} is no shard, but a whole run; shards come from `klamm run ... --shard k/n`",
                part.name
            ));
        };
        let texts = [
            ("klamm's version", &a.klamm, &b.klamm),
            ("the suite", &a.suite, &b.suite),
            ("the master seed", &a.master, &b.master),
            ("the command line", &a.again, &b.again),
            ("the world", &a.world, &b.world),
        ];
        for (what, one, other) in texts {
            if one != other {
                return differ(what, &format!("`{one}`"), &format!("`{other}`"));
            }
        }
        if a.defects != b.defects {
            return differ("the set of defects", &format!("{:?}", a.defects), &format!("{:?}", b.defects));
        }
        let of = a.shard.map_or(0, |s| s.1);
        if of != n {
            return differ("the number of shards", &of.to_string(), &n.to_string());
        }
        let names = |r: &RunRecord| r.scenarios.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        if names(a) != names(b) || a.variants != b.variants {
            return differ("the list of scenarios", "one", "another");
        }
        for (x, y) in a.scenarios.iter().zip(&b.scenarios) {
            if x.digest != y.digest {
                return differ(&format!("the file of `{}`", x.name), &x.digest, &y.digest);
            }
        }
        if part.figures.scenarios.len() != b.scenarios.len() {
            return Err(format!("{}: figures.json and run.json are not of one run", part.name));
        }
    }
    let n = first.record.shard.map_or(0, |s| s.1);
    for k in 1..=n {
        let those: Vec<&str> =
            parts.iter().filter(|p| p.record.shard == Some((k, n))).map(|p| p.name.as_str()).collect();
        match those[..] {
            [] => return Err(format!("shard {k}/{n} is missing")),
            [_] => {}
            [one, other, ..] => return Err(format!("shard {k}/{n} is there twice: {one} and {other}")),
        }
    }
    Ok(())
}

/// Puts parts of one scenario's seeds together. Of a `whole` run more is demanded than of a shard.
pub fn scenario(parts: &[(&ScenarioRecord, &ScenarioFigures)], whole: bool) -> (ScenarioRecord, ScenarioFigures) {
    let mut figures = ScenarioFigures::default();
    let mut seeds = BTreeMap::new();
    let mut walls = BTreeMap::new();
    let mut r = ScenarioRecord {
        // Sums begin at nothing; what is the same in all stays.
        virtual_ns: 0,
        wall_ns: 0,
        events: 0,
        marks: BTreeMap::new(),
        findings: BTreeMap::new(),
        causes: Vec::new(),
        planned: 0,
        judged: None,
        armed: BTreeMap::new(),
        faults: Vec::new(),
        operations: Operations::default(),
        availability: Availability::default(),
        groups: None,
        services: None,
        failures: Vec::new(),
        ..parts[0].0.clone()
    };
    for (part, drawn) in parts {
        r.virtual_ns += part.virtual_ns;
        r.wall_ns += part.wall_ns;
        r.events += part.events;
        r.planned += part.planned;
        if let Some(judged) = &part.judged {
            r.judged.get_or_insert_with(Judged::default).add(judged);
        }
        recap::add(&mut r.causes, &part.causes);
        for (mark, n) in &part.marks {
            *r.marks.entry(mark.clone()).or_default() += n;
        }
        for (check, n) in &part.findings {
            r.findings.entry(check.clone()).or_default().add(n);
        }
        for (check, n) in &part.armed {
            *r.armed.entry(check.clone()).or_default() += n;
        }
        r.faults.resize_with(r.faults.len().max(part.faults.len()), FaultRecord::default);
        for (all, some) in r.faults.iter_mut().zip(&part.faults) {
            all.add(some);
        }
        r.operations.add(&part.operations);
        r.availability.add(&part.availability);
        if let Some(g) = &part.groups {
            r.groups.get_or_insert_with(GroupFigures::default).add(g);
        }
        if let Some(s) = &part.services {
            r.services.get_or_insert_with(ServiceFigures::default).add(s);
        }
        r.failures.extend(part.failures.iter().cloned());
        figures.response.merge(&drawn.response);
        figures.service.merge(&drawn.service);
        if let Some(s) = &drawn.services {
            figures.services.get_or_insert_with(ServiceLatencies::default).merge(s);
        }
        figures.rebalances.extend(&drawn.rebalances);
        figures.stopped.extend(&drawn.stopped);
        for ((index, wall), seed) in drawn.walls.iter().zip(&part.seeds) {
            walls.insert(*index, *wall);
            seeds.insert(*index, seed.clone());
        }
        if let Some(first) = &drawn.first
            && figures.first.as_ref().is_none_or(|have| first.index < have.index)
        {
            figures.first = Some(first.clone());
        }
    }
    r.seeds = seeds.into_values().collect();
    figures.walls = walls.into_iter().collect();
    r.failures.sort_by_key(|f| f.index);
    r.failures = Folders::choose(r.failures);
    let has = |verdict| parts.iter().any(|(p, _)| p.verdict == verdict);
    // What differed may have been violated, too.
    let violated = has(Verdict::Violated) || r.seeds.iter().any(|s| !s.violated.is_empty());
    figures.complete(&mut r, has(Verdict::Nondeterministic), violated, whole);
    (r, figures)
}

impl ScenarioFigures {
    /// Writes into a record whose sums are there what follows from them: percentiles, spreads, the verdict. Of a `whole`
    /// run more is demanded than of a shard.
    pub fn complete(&mut self, record: &mut ScenarioRecord, nondeterministic: bool, violated: bool, whole: bool) {
        record.response = self.response.figures();
        record.service = self.service.figures();
        // Sorted, so that they are the same in whatever order they came.
        self.rebalances.sort_unstable();
        self.stopped.sort_unstable();
        if let Some(groups) = &mut record.groups {
            groups.duration = Spread::of(&mut self.rebalances);
            groups.stopped = Spread::of(&mut self.stopped);
        }
        if let (Some(record), Some(all)) = (&mut record.services, &mut self.services) {
            record.end_to_end = all.end_to_end.figures();
            record.steps = all.steps.figures();
            record.origins = all.origins.figures();
            record.origins_down = all.origins_down.figures();
            record.lag_peak = Spread::of(&mut all.lag_peaks);
            record.behind = Spread::of(&mut all.behind);
        }
        recap::order(&mut record.causes);
        record.causes.truncate(CAUSES_PER_SCENARIO);
        record.verdict = Verdict::of(record, nondeterministic, violated, whole);
    }
}

impl FindingCount {
    /// Adds other seeds' findings.
    pub fn add(&mut self, other: &FindingCount) {
        self.violations += other.violations;
        self.seeds += other.seeds;
        for (cause, n) in &other.permitted {
            *self.permitted.entry(cause.clone()).or_default() += n;
        }
    }
}

impl Operations {
    /// Adds other seeds' operations.
    pub fn add(&mut self, other: &Operations) {
        self.sends += other.sends;
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.reads += other.reads;
        self.lost += other.lost;
        self.silently_lost += other.silently_lost;
        self.duplicates += other.duplicates;
    }
}

impl Availability {
    /// Adds other seeds' outages.
    pub fn add(&mut self, other: &Availability) {
        self.outages += other.outages;
        self.unavailable_ns += other.unavailable_ns;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        self.observed_ns += other.observed_ns;
        self.hardship_ns += other.hardship_ns;
    }
}

impl ServiceFigures {
    /// Adds other seeds' records; latencies and spreads are made of all values at the end.
    pub fn add(&mut self, other: &ServiceFigures) {
        self.records += other.records;
        self.unfinished += other.unfinished;
        self.twice += other.twice;
        self.down_ns += other.down_ns;
        self.deadline_ns = self.deadline_ns.max(other.deadline_ns);
        if let Some(late) = other.late {
            *self.late.get_or_insert(0) += late;
        }
    }
}

impl ServiceLatencies {
    /// Adds other seeds' latencies.
    pub fn merge(&mut self, other: &ServiceLatencies) {
        self.end_to_end.merge(&other.end_to_end);
        self.steps.merge(&other.steps);
        self.origins.merge(&other.origins);
        self.origins_down.merge(&other.origins_down);
        self.lag_peaks.extend(&other.lag_peaks);
        self.behind.extend(&other.behind);
    }
}

impl GroupFigures {
    /// Adds other seeds' rebalances; spreads are made of all values at the end.
    pub fn add(&mut self, other: &GroupFigures) {
        self.rebalances += other.rebalances;
        self.members += other.members;
        self.moved += other.moved;
        self.delivered += other.delivered;
        self.redelivered += other.redelivered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SeedRecord;

    fn shard(k: u64, n: u64) -> Part {
        let seeds = vec![SeedRecord::default()];
        let scenario =
            ScenarioRecord { name: "a".into(), digest: "d".into(), planned: 1, seeds, ..ScenarioRecord::default() };
        let record =
            RunRecord { master: "0x1".into(), shard: Some((k, n)), scenarios: vec![scenario], ..RunRecord::default() };
        let figures = RunFigures {
            schema: FIGURES,
            scenarios: vec![ScenarioFigures { walls: vec![(k, 1)], ..ScenarioFigures::default() }],
        };
        Part { name: format!("dir{k}"), record, figures }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let said = |parts: Vec<Part>| merge(parts).map(|_| ()).unwrap_err();
        assert!(merge(vec![shard(2, 2), shard(1, 2)]).is_ok(), "any order");
        assert_eq!(said(vec![shard(1, 3), shard(3, 3)]), "shard 2/3 is missing");
        assert_eq!(said(vec![shard(1, 2), shard(2, 2), shard(2, 2)]), "shard 2/2 is there twice: dir2 and dir2");
        assert!(said(vec![shard(1, 2), shard(2, 3)]).contains("the number of shards is 2 in dir1 and 3 in dir2"));
        let changed = |change: fn(&mut Part)| {
            let mut other = shard(2, 2);
            change(&mut other);
            said(vec![shard(1, 2), other])
        };
        assert!(changed(|p| p.record.master = "0x2".into()).contains("the master seed is `0x1` in dir1 and `0x2`"));
        assert!(changed(|p| p.record.klamm = "9".into()).contains("klamm's version"));
        assert!(changed(|p| p.record.defects = vec!["x".into()]).contains("the set of defects"));
        assert!(changed(|p| p.record.scenarios[0].digest = "e".into()).contains("the file of `a` is d in dir1 and e"));
        assert!(changed(|p| p.record.scenarios[0].name = "b".into()).contains("the list of scenarios"));
        assert!(changed(|p| p.record.shard = None).contains("dir2 is no shard, but a whole run"));
        assert!(changed(|p| p.figures.scenarios.clear()).contains("figures.json and run.json"));
    }

    #[test]
    fn what_one_shard_has_seen_is_seen_and_what_one_violated_is_violated() {
        let (mut one, mut other) = (shard(1, 2), shard(2, 2));
        for (part, mark) in [(&mut one, "elected"), (&mut other, "fenced")] {
            let s = &mut part.record.scenarios[0];
            s.required_marks = vec!["elected".into(), "fenced".into()];
            s.marks = BTreeMap::from([(mark.to_owned(), 2)]);
        }
        let merged = merge(vec![one.clone(), other.clone()]).unwrap();
        assert_eq!(merged.record.verdict(), Verdict::Held);
        other.record.scenarios[0].verdict = Verdict::Violated;
        assert_eq!(merge(vec![one.clone(), other.clone()]).unwrap().record.verdict(), Verdict::Violated);
        // A mark that no shard has seen was not shown; a shard that was cut short was not run.
        other.record.scenarios[0].verdict = Verdict::Held;
        other.record.scenarios[0].marks.clear();
        assert_eq!(merge(vec![one.clone(), other.clone()]).unwrap().record.verdict(), Verdict::NotShown);
        other.record.scenarios[0].planned = 2;
        (other.record.cut_short, other.record.interrupted) = (true, Some(143));
        let merged = merge(vec![one, other]).unwrap().record;
        assert_eq!((merged.verdict(), crate::verdict::exit_code(&merged)), (Verdict::NotRun, 143));
    }

    #[test]
    fn a_fault_without_effect_in_any_shard_was_not_shown() {
        let (mut one, mut other) = (shard(1, 2), shard(2, 2));
        for (part, seeds) in [(&mut one, 0), (&mut other, 1)] {
            let idle = BTreeMap::from([("no such target".to_owned(), 1 - seeds)]);
            let fault = FaultRecord { fault: "kill b1".into(), due: 1, seeds, idle, ..FaultRecord::default() };
            part.record.scenarios[0].faults = vec![fault];
        }
        assert_eq!(merge(vec![one.clone(), other.clone()]).unwrap().record.verdict(), Verdict::Held);
        other.record.scenarios[0].faults = one.record.scenarios[0].faults.clone();
        let merged = merge(vec![one, other]).unwrap().record;
        assert_eq!(merged.verdict(), Verdict::NotShown);
        assert_eq!(
            crate::verdict::sentence(&merged.scenarios[0]),
            "not shown: fault 1 (kill b1) took effect in 0 of 2 seeds: no such target (2 times)"
        );
    }
}
