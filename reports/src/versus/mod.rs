//! One run against another: what a change of the program, or of anything else, did to the figures.
//!
//! In virtual time the comparison is exact: under the same master and seeds, every figure that differs is a change.
//! Time on the wall is another matter ([`wall`]): intervals, and no verdict where the base differs from itself.

mod gate;
mod show;
pub mod wall;

pub use gate::{Gate, Limit};
pub use show::{console, markdown, page};

use crate::compare::{disorder, goodput};
use crate::figures::ScenarioFigures;
use crate::merge::Part;
use crate::record::{Latency, RunRecord, ScenarioRecord, Verdict};
use schemars::JsonSchema;
use serde::Serialize;
use wall::Wall;

/// What a figure is measured in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Nanoseconds of virtual time.
    Time,
    /// A number of something.
    Count,
}

/// Which way a figure gets worse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Worse {
    /// When it grows.
    More,
    /// When it shrinks.
    Less,
    /// Neither way: it only tells that something is different.
    Neither,
}

struct Figure {
    name: &'static str,
    unit: Unit,
    worse: Worse,
    of: fn(&ScenarioRecord) -> Option<u64>,
}

const fn figure(name: &'static str, unit: Unit, worse: Worse, of: fn(&ScenarioRecord) -> Option<u64>) -> Figure {
    Figure { name, unit, worse, of }
}

fn response(s: &ScenarioRecord, pick: fn(&Latency) -> u64) -> Option<u64> {
    s.response.as_ref().map(pick)
}

/// Every figure that is compared, and may be gated.
const FIGURES: [Figure; 19] = [
    figure("p50", Unit::Time, Worse::More, |s| response(s, |l| l.p50)),
    figure("p90", Unit::Time, Worse::More, |s| response(s, |l| l.p90)),
    figure("p99", Unit::Time, Worse::More, |s| response(s, |l| l.p99)),
    figure("p99.9", Unit::Time, Worse::More, |s| response(s, |l| l.p999)),
    figure("max", Unit::Time, Worse::More, |s| response(s, |l| l.max)),
    figure("service-p99", Unit::Time, Worse::More, |s| s.service.map(|l| l.p99)),
    figure("sends", Unit::Count, Worse::Neither, |s| Some(s.operations.sends)),
    figure("acknowledged", Unit::Count, Worse::Less, |s| Some(s.operations.acknowledged)),
    figure("goodput", Unit::Count, Worse::Less, |s| Some(goodput(s))),
    figure("lost", Unit::Count, Worse::More, |s| Some(s.operations.lost + s.operations.silently_lost)),
    figure("twice", Unit::Count, Worse::More, |s| Some(s.operations.duplicates)),
    figure("disorder", Unit::Count, Worse::More, |s| Some(disorder(s))),
    figure("failed", Unit::Count, Worse::More, |s| Some(s.operations.failed)),
    figure("end-to-end-p99", Unit::Time, Worse::More, |s| s.services?.end_to_end.map(|l| l.p99)),
    figure("beyond-deadline", Unit::Count, Worse::More, |s| s.services?.late),
    figure("handled-twice", Unit::Count, Worse::More, |s| Some(s.services?.twice)),
    figure("unavailable", Unit::Time, Worse::More, |s| Some(s.availability.unavailable_ns)),
    figure("longest-outage", Unit::Time, Worse::More, |s| Some(s.availability.longest_ns)),
    figure("events", Unit::Count, Worse::Neither, |s| Some(s.events)),
];

/// The names of the figures that get better or worse.
pub fn gated() -> impl Iterator<Item = &'static str> {
    FIGURES.iter().filter(|f| f.worse != Worse::Neither).map(|f| f.name)
}

/// One figure in two runs.
#[derive(Clone, PartialEq, Debug, JsonSchema, Serialize)]
pub struct Change {
    /// Its name.
    pub figure: &'static str,
    /// In what it is measured.
    pub unit: Unit,
    /// Which way it gets worse.
    pub worse: Worse,
    /// In the base; `None` if there was nothing to measure.
    pub base: Option<u64>,
    /// In the other.
    pub other: Option<u64>,
}

impl Change {
    /// How much worse it got, as a share of the base: below 0 if it got better, infinite if there was none before.
    pub fn worsened(&self) -> f64 {
        let (base, other) = (self.base.unwrap_or(0) as f64, self.other.unwrap_or(0) as f64);
        let grown = match (base, other) {
            (b, o) if b == o => 0.0,
            (0.0, _) => f64::INFINITY,
            (b, o) => (o - b) / b,
        };
        match self.worse {
            Worse::More => grown,
            Worse::Less => -grown,
            Worse::Neither => 0.0,
        }
    }
    /// Whether it differs at all.
    pub fn differs(&self) -> bool {
        self.base != self.other
    }
}

/// One scenario in two runs.
#[derive(Clone, PartialEq, Debug, JsonSchema, Serialize)]
pub struct Scenario {
    /// Its name, or its variant's.
    pub title: String,
    /// What its figures depend on.
    pub setting: String,
    /// Seeds.
    pub seeds: usize,
    /// How many of them went exactly the same way, event for event.
    pub same: usize,
    /// What it came to in the base, and in the other.
    pub verdicts: (Verdict, Verdict),
    /// The other's verdict as a sentence.
    pub sentence: String,
    /// Every figure.
    pub changes: Vec<Change>,
    /// Time on the wall, if both runs tell of it.
    pub wall: Option<Wall>,
}

impl Scenario {
    /// Whether any figure differs.
    pub fn differs(&self) -> bool {
        self.same < self.seeds || self.verdicts.0 != self.verdicts.1 || self.changes.iter().any(Change::differs)
    }
    /// The other's verdict, if it is worse than the base's.
    pub fn worse(&self) -> Option<Verdict> {
        (self.verdicts.1 > self.verdicts.0).then_some(self.verdicts.1)
    }
}

/// Which run.
#[derive(Clone, PartialEq, Eq, Debug, JsonSchema, Serialize)]
pub struct Which {
    /// Its folders; more than one if it was repeated.
    pub folders: Vec<String>,
    /// Klamm's version.
    pub klamm: String,
    /// A hash of the program.
    pub build: String,
}

/// A run against another.
#[derive(Clone, PartialEq, Debug, JsonSchema, Serialize)]
pub struct Versus {
    /// What was run.
    pub again: String,
    /// What is compared with.
    pub base: Which,
    /// What is compared.
    pub other: Which,
    /// Scenarios that are in both.
    pub scenarios: Vec<Scenario>,
    /// Scenarios that are in one of them only, and in which.
    pub alone: Vec<String>,
}

impl Versus {
    /// What the comparison means to a shell: what the worst scenario that got a worse verdict means, and then the gate.
    pub fn exit_code(&self, exceeded: bool) -> u8 {
        match self.scenarios.iter().filter_map(Scenario::worse).max() {
            Some(worse) => worse.code(),
            None if exceeded => crate::verdict::GATE,
            None => Verdict::Held.code(),
        }
    }
}

/// Runs of one build: the first, and repetitions of it, for time on the wall.
#[derive(Clone, Debug)]
pub struct Runs(pub Vec<Part>);

impl Runs {
    fn first(&self) -> &Part {
        &self.0[0]
    }
    fn which(&self) -> Which {
        let record = &self.first().record;
        Which {
            folders: self.0.iter().map(|p| p.name.clone()).collect(),
            klamm: record.klamm.clone(),
            build: record.build.clone(),
        }
    }
}

/// Puts runs of one build together, in the order in which builds appear. Two runs of one and the same build are a run
/// against itself.
pub fn by_build(parts: Vec<Part>) -> Vec<Runs> {
    let mut groups: Vec<Runs> = Vec::new();
    let alone = parts.iter().all(|p| p.record.build == parts[0].record.build);
    for part in parts {
        let build = &part.record.build;
        let known = groups.iter().position(|g| !build.is_empty() && g.first().record.build == *build);
        match known {
            // Of one build only: the first run is the base, all others are its repetition.
            Some(_) if alone && groups.len() > 1 => groups[1].0.push(part),
            Some(place) if !alone => groups[place].0.push(part),
            _ => groups.push(Runs(vec![part])),
        }
    }
    groups
}

/// Compares.
///
/// # Errors
/// In words, if the two cannot be compared: other seeds, other scenarios, or (unless `force`) other settings.
pub fn versus(base: &Runs, other: &Runs, force: bool) -> Result<Versus, String> {
    for repeated in base.0[1..].iter().chain(&other.0) {
        comparable(base.first(), repeated)?;
    }
    let (a, b) = (base.first(), other.first());
    let mut scenarios = Vec::new();
    for (i, s) in a.record.scenarios.iter().enumerate() {
        let Some(j) = b.record.scenarios.iter().position(|x| x.name == s.name) else { continue };
        scenarios.push(scenario(base, other, (i, j), force)?);
    }
    if scenarios.is_empty() {
        return Err(format!("{} and {} have no scenario in common", a.name, b.name));
    }
    let names = |r: &RunRecord| r.scenarios.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    let only = |mine: &Part, theirs: &Part| {
        let theirs = names(&theirs.record);
        let alone = names(&mine.record).into_iter().filter(|n| !theirs.contains(n)).collect::<Vec<_>>();
        alone.into_iter().map(|n| format!("{n} (in {} only)", mine.name)).collect::<Vec<_>>()
    };
    Ok(Versus {
        again: a.record.again.clone(),
        base: base.which(),
        other: other.which(),
        scenarios,
        alone: [only(a, b), only(b, a)].concat(),
    })
}

/// Whether two runs are of the same seeds at all.
fn comparable(a: &Part, b: &Part) -> Result<(), String> {
    let (x, y) = (&a.record, &b.record);
    if x.master != y.master {
        return Err(format!(
            "not comparable: {} was run with master seed {} and {} with {}; run both with the same --master",
            a.name, x.master, b.name, y.master
        ));
    }
    for (part, record) in [(a, x), (b, y)] {
        if let Some((k, n)) = record.shard {
            return Err(format!("{} is shard {k}/{n}: put the shards together first, with `klamm report`", part.name));
        }
    }
    if x.defects != y.defects {
        return Err(format!("not comparable: other defects are switched on in {} than in {}", a.name, b.name));
    }
    Ok(())
}

fn scenario(base: &Runs, other: &Runs, (i, j): (usize, usize), force: bool) -> Result<Scenario, String> {
    let (a, b) = (&base.first().record, &other.first().record);
    let (x, y) = (&a.scenarios[i], &b.scenarios[j]);
    let name = &x.name;
    if x.setting != y.setting && !force {
        return Err(format!(
            "`{name}`: the settings differ, and with them what the figures mean; --force compares them all the same\n  \
             {}: {}\n  {}: {}",
            base.first().name,
            x.setting.replace('\n', " · "),
            other.first().name,
            y.setting.replace('\n', " · ")
        ));
    }
    if x.digest != y.digest && !force {
        return Err(format!("`{name}`: its file was changed between the two runs; --force compares them all the same"));
    }
    if x.seeds.len() != y.seeds.len() || x.seeds.iter().zip(&y.seeds).any(|(p, q)| p.seed != q.seed) {
        return Err(format!(
            "`{name}`: {} seeds in {} and {} in {}, not the same ones: run both with the same --seeds",
            x.seeds.len(),
            base.first().name,
            y.seeds.len(),
            other.first().name
        ));
    }
    let change =
        |f: &Figure| Change { figure: f.name, unit: f.unit, worse: f.worse, base: (f.of)(x), other: (f.of)(y) };
    fn walls(runs: &Runs, i: usize) -> Vec<&ScenarioFigures> {
        runs.0.iter().filter_map(|p| p.figures.scenarios.get(i)).collect()
    }
    Ok(Scenario {
        title: a.title(i).to_owned(),
        setting: x.setting.clone(),
        seeds: x.seeds.len(),
        same: x.seeds.iter().zip(&y.seeds).filter(|(p, q)| p.digest == q.digest).count(),
        verdicts: (x.verdict, y.verdict),
        sentence: crate::verdict::sentence(y),
        changes: FIGURES.iter().map(change).collect(),
        wall: wall::compare(&walls(base, i), &walls(other, j)),
    })
}

#[cfg(test)]
mod tests;
