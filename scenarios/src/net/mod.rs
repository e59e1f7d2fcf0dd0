//! The net: what the judge finds under each defect, as a file that later changes are compared with.
//!
//! Digests cover events, and say nothing of a judge that has gone blind: a check that no longer fires, or a permission
//! that excuses more than it did, leaves every digest as it was. So each defect is run over fixed seeds of the scenarios
//! that show it, and of those that ought to, and the correct code over the same seeds; each finding is a line of the
//! file, permitted or not. [`plan`] says which scenarios those are, [`file`] is the file's form, [`difference`] compares.

pub mod difference;
pub mod file;
pub mod plan;

use crate::pool;
use crate::run::{Options, SeedOutcome, run_seed};
use crate::schema::Scenario;
use crate::seeds::Seed;
use klamm_model::checks::Check;
use klamm_model::defects::{Defect, Defects};
use plan::Plan;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What is switched on: a defect, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Switch {
    /// The correct code, whose findings say what a defect's are not.
    Off,
    /// One defect.
    On(Defect),
}

/// The name of [`Switch::Off`].
const OFF: &str = "correct-code";

impl Switch {
    /// Its name in the file and on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Switch::Off => OFF,
            Switch::On(defect) => defect.id(),
        }
    }
    /// The switch of that name.
    pub fn of(id: &str) -> Option<Switch> {
        if id == OFF { Some(Switch::Off) } else { id.parse().ok().map(Switch::On) }
    }
    /// Every switch, the correct code first.
    pub fn all() -> impl Iterator<Item = Switch> {
        std::iter::once(Switch::Off).chain(Defect::ALL.iter().copied().map(Switch::On))
    }
    fn defects(self) -> Defects {
        match self {
            Switch::Off => Defects::NONE,
            Switch::On(defect) => Defects::NONE.with(defect),
        }
    }
}

/// A scenario under a switch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The switch.
    pub switch: Switch,
    /// The scenario's name.
    pub scenario: String,
    /// Seeds run.
    pub seeds: u64,
    /// Over the digests of all seeds: whether the runs are the same, whatever the judge makes of them.
    pub events: u64,
    /// What was found, by seed in the order in which they ran.
    pub findings: Vec<Finding>,
}

/// The findings of one check in one seed that have the same permission.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The derived seed.
    pub seed: Seed,
    /// The check.
    pub check: Check,
    /// When the first came, virtual nanoseconds.
    pub at: u64,
    /// The partition of the first, if it concerns one.
    pub partition: Option<String>,
    /// What permits them; `None` is a violation.
    pub permission: Option<String>,
    /// How many there are.
    pub count: u64,
}

fn findings(outcome: &SeedOutcome) -> Vec<Finding> {
    let mut by_check: BTreeMap<(Check, Option<&str>), Finding> = BTreeMap::new();
    // In order of time: the first of a kind makes the entry.
    for f in &outcome.findings {
        let permission = f.permitted.map(|cause| cause.name());
        let finding = by_check.entry((f.check, permission)).or_insert_with(|| Finding {
            seed: Seed(outcome.seed),
            check: f.check,
            at: f.at,
            partition: f.partition.clone(),
            permission: permission.map(str::to_owned),
            count: 0,
        });
        finding.count += 1;
    }
    by_check.into_values().collect()
}

/// Runs what the plan says of these switches, the first `seeds` of each scenario at most. `tell` gets the number of
/// seeds done and of all, from time to time. The result does not depend on the number of threads.
pub fn record(plan: &Plan, switches: &[Switch], seeds: u64, jobs: usize, tell: impl Fn(usize, usize)) -> Vec<Entry> {
    let seeds = plan.seeds.min(seeds);
    let pairs: Vec<(Switch, &Scenario)> =
        switches.iter().flat_map(|s| plan.scenarios(*s).into_iter().map(move |scenario| (*s, scenario))).collect();
    let total = pairs.len() * seeds as usize;
    let work = |n: usize| {
        let (switch, scenario) = (n < total).then(|| pairs[n / seeds as usize])?;
        let seed = plan.master.derive(&scenario.name, n as u64 % seeds);
        let outcome = run_seed(scenario, seed.0, &Options { defects: switch.defects(), ..Options::default() });
        Some((outcome.digest, findings(&outcome)))
    };
    let mut results = Vec::with_capacity(total);
    let _ = pool::ordered(jobs, work, |n, result| {
        results.push(result);
        tell(n + 1, total);
        ControlFlow::<()>::Continue(())
    });
    let mut results = results.into_iter();
    let entry = |(switch, scenario): &(Switch, &Scenario)| {
        let (mut events, mut findings) = (0, Vec::new());
        for (digest, found) in results.by_ref().take(seeds as usize) {
            events = xxh3_64_with_seed(&digest.to_le_bytes(), events);
            findings.extend(found);
        }
        Entry { switch: *switch, scenario: scenario.name.clone(), seeds, events, findings }
    };
    pairs.iter().map(entry).collect()
}
