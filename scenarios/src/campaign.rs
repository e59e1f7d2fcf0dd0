//! Many seeds of many scenarios, on several threads: one seed, one thread, no shared state.
//!
//! Workers take the next (scenario, seed) and send back its outcome; the calling thread gathers. A failing seed is
//! run again with recording on, its schedule is shrunk, and its folder written before the next outcome is taken,
//! so a run that is killed leaves every finished failure folder complete.
//!
//! A run that is interrupted has done a beginning of its work, in the order of work: what came after a seed that was
//! given up does not count. Gone on with ([`Plan::resume`]), it is put together as shards are, and comes out as if it had
//! never been interrupted.

use crate::aggregate::Aggregate;
use crate::artefacts;
use crate::interrupt::Interrupt;
use crate::pool;
use crate::recheck;
use crate::run::{Options, WorldKind, run_seed};
use crate::schema::Scenario;
use crate::seeds::Seed;
use klamm_model::checks::Check;
use klamm_model::defects::Defects;
use klamm_reports::figures::{self, RunFigures};
use klamm_reports::folder::{read_run, write_run};
use klamm_reports::merge::{self, Part};
use klamm_reports::recap::Folders;
use klamm_reports::record::{RunRecord, SCHEMA, ScenarioRecord};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, trace};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was asked for, for the record.
    pub suite: String,
    /// Scenarios, in order.
    pub scenarios: Vec<Scenario>,
    /// Where the scenarios are variants of one: how they are paired.
    pub paired: Option<Paired>,
    /// The sweep's seed.
    pub master: Seed,
    /// One derived seed instead of a sweep.
    pub only: Option<Seed>,
    /// Seeds per scenario.
    pub seeds: u64,
    /// Stop taking up seeds after this long, and go on past `seeds` until then.
    pub time: Option<Duration>,
    /// Threads.
    pub jobs: usize,
    /// The k-th of n shards (from 1).
    pub shard: (u64, u64),
    /// Stop at the first failure.
    pub fail_fast: bool,
    /// Every permitted finding that a scenario does not name is a violation.
    pub strict: bool,
    /// The folder of this very run, to be gone on with where it was interrupted.
    pub resume: Option<PathBuf>,
    /// Seeds run again in a fresh process, parts per million; at least the first of each scenario, unless 0.
    pub recheck_ppm: u32,
    /// The world that seeds run in.
    pub world: WorldKind,
    /// Defects switched on.
    pub defects: Defects,
    /// Encode and decode every message.
    pub encode_messages: bool,
    /// Called at every virtual minute of a seed's hardship; see [`Options::each_minute`].
    pub each_minute: Option<fn(u64)>,
    /// Where runs leave their folders.
    pub out: PathBuf,
}

/// Variants of one scenario: all run under the same seeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paired {
    /// The name under which seeds are derived.
    pub name: String,
    /// What each variant is called, in order.
    pub labels: Vec<String>,
}

/// What happens while a campaign runs, for whoever shows it.
pub trait Progress {
    /// The run begins, and leaves its files here.
    fn begun(&mut self, folder: &Path);
    /// A seed is done.
    fn seed(&mut self, done: u64, total: u64, failures: u64, virtual_ns: u64);
    /// A scenario has all its seeds.
    fn scenario(&mut self, record: &ScenarioRecord);
    /// A failure's folder is being made.
    fn failing(&mut self, scenario: &str, seed: Seed, check: Check);
    /// A failure's folder could not be finished before the run had to end: the seed counts as not run.
    fn given_up(&mut self, scenario: &str, seed: Seed, check: Check);
}

/// What a campaign leaves.
pub struct Done {
    /// The record.
    pub record: RunRecord,
    /// The run's folder.
    pub folder: PathBuf,
}

impl Plan {
    /// The command line that runs all of it again, whatever part of it this shard is.
    pub fn again(&self) -> String {
        let command = if self.paired.is_some() { "compare" } else { "run" };
        let mut line = format!("klamm {command} {}", self.suite);
        let _ = match (self.only, self.time) {
            (Some(seed), _) => write!(line, " --seed {seed}"),
            (None, Some(time)) => write!(line, " --for {}s --master {}", time.as_secs(), self.master),
            (None, None) => write!(line, " --seeds {} --master {}", self.seeds, self.master),
        };
        if self.strict {
            line.push_str(" --strict");
        }
        if self.world != WorldKind::default() {
            let _ = write!(line, " --world {}", self.world);
        }
        for defect in self.defects.iter() {
            let _ = write!(line, " --defect {defect}");
        }
        line
    }

    /// Whether it is a whole run: not a shard, and not one seed again.
    pub fn is_whole(&self) -> bool {
        self.shard.1 == 1 && self.only.is_none()
    }

    /// The record of a run of which nothing has been done yet.
    fn record(&self, aggregates: &[Aggregate]) -> RunRecord {
        RunRecord {
            schema: SCHEMA,
            klamm: env!("CARGO_PKG_VERSION").to_owned(),
            suite: self.suite.clone(),
            master: self.master.to_string(),
            again: self.again(),
            seeds: if self.time.is_some() { 0 } else { self.seeds },
            only: self.only.map(|seed| seed.to_string()),
            strict: self.strict,
            shard: (self.shard.1 > 1).then_some(self.shard),
            build: build(),
            world: self.world.to_string(),
            jobs: self.jobs,
            defects: self.defects.iter().map(|d| d.id().to_owned()).collect(),
            wall_seconds: 0.0,
            rechecked: None,
            cut_short: false,
            interrupted: None,
            variants: self.paired.as_ref().map_or_else(Vec::new, |p| p.labels.clone()),
            scenarios: aggregates.iter().map(Aggregate::record).collect(),
        }
    }
}

/// A hash of this very program: two runs of one build differ in nothing but what they were told.
/// Read piece by piece: with its debug information it is larger than all that a seed needs.
fn build() -> String {
    let hash = || -> std::io::Result<u64> {
        let mut program = std::fs::File::open(std::env::current_exe()?)?;
        let (mut hash, mut piece) = (xxhash_rust::xxh3::Xxh3::new(), vec![0; 1 << 16]);
        loop {
            match program.read(&mut piece)? {
                0 => return Ok(hash.digest()),
                n => hash.update(&piece[..n]),
            }
        }
    };
    hash().map_or_else(|_| String::new(), |hash| format!("{hash:016x}"))
}

#[derive(Clone, Copy)]
struct Job {
    scenario: usize,
    index: u64,
    seed: Seed,
    /// The scenario's first seed, which is drawn over time.
    first: bool,
}

fn jobs(plan: &Plan) -> Vec<Job> {
    let mut jobs = Vec::new();
    // With a time limit the list is long, and the limit ends it: seeds first, so that every scenario gets its share.
    let rounds =
        if plan.time.is_some() { plan.seeds.max(1_000_000 / plan.scenarios.len().max(1) as u64) } else { plan.seeds };
    let job = |scenario: usize, index: u64| {
        let name = plan.paired.as_ref().map_or(&plan.scenarios[scenario].name, |p| &p.name);
        let seed = plan.only.unwrap_or_else(|| plan.master.derive(name, index));
        Job { scenario, index, seed, first: index == plan.shard.0 - 1 }
    };
    let mine = |index: u64| index % plan.shard.1 == plan.shard.0 - 1;
    if plan.time.is_some() {
        for index in (0..rounds).filter(|i| mine(*i)) {
            jobs.extend((0..plan.scenarios.len()).map(|s| job(s, index)));
        }
    } else {
        for s in 0..plan.scenarios.len() {
            jobs.extend((0..rounds).filter(|i| mine(*i)).map(|index| job(s, index)));
        }
    }
    jobs
}

/// What of a run was done before it was interrupted.
struct Before {
    part: Part,
    /// By scenario: the places in the sweep of the seeds that were run.
    done: Vec<BTreeSet<u64>>,
}

/// Reads the folder of a run that is to be gone on with.
///
/// # Errors
/// If it is none, or not of this plan and this program: in words, what differs.
fn before(plan: &Plan, folder: &Path, record: &RunRecord) -> miette::Result<Before> {
    let name = folder.display().to_string();
    if plan.time.is_some() {
        return Err(miette::miette!("--resume: a run that goes by time (`--for`) has no rest to go on with"));
    }
    if !folder.join("run.json").is_file() {
        return Err(miette::miette!(
            help = "a run that was killed at once leaves its finished failures, but no record: run it anew",
            "--resume {name}: no run.json: not the folder of a run that was interrupted"
        ));
    }
    let (old, figures) = read_run(folder).map_err(|e| miette::miette!("--resume: {e}"))?;
    let mut part = Part { name, record: old, figures };
    let asked = Part { name: "this command".to_owned(), record: record.clone(), figures: RunFigures::default() };
    merge::same_run(&part, &asked).map_err(|m| {
        miette::miette!(help = format!("{} --resume {}", part.record.again, part.name), "--resume: {m}")
    })?;
    if !part.record.cut_short && part.record.interrupted.is_none() {
        return Err(miette::miette!("--resume {}: every seed of it was run", part.name));
    }
    for s in &mut part.record.scenarios {
        // What is still to be run is counted by those who run it.
        s.planned = s.seeds.len() as u64;
    }
    let done = part.figures.scenarios.iter().map(|f| f.walls.iter().map(|(index, _)| *index).collect()).collect();
    Ok(Before { part, done })
}

/// Runs a campaign. Once `interrupt` says so no seed is taken up; seeds in flight end, or are given up.
///
/// # Errors
/// If the run's folder cannot be written, or the one to go on with is not of this run.
pub fn run(plan: &Plan, interrupt: &Arc<Interrupt>, progress: &mut dyn Progress) -> miette::Result<Done> {
    let started = Instant::now();
    let mut all = jobs(plan);
    let of = |jobs: &[Job], s: usize| jobs.iter().filter(|j| j.scenario == s).count() as u64;
    let aggregates = |jobs: &[Job]| -> Vec<Aggregate> {
        let planned = |s: usize| if plan.time.is_some() { 0 } else { of(jobs, s) };
        let new = |(s, scenario)| Aggregate::new(scenario, planned(s), plan.is_whole());
        plan.scenarios.iter().enumerate().map(new).collect()
    };
    let mut record = plan.record(&aggregates(&all));
    let before = plan.resume.as_ref().map(|folder| before(plan, folder, &record)).transpose()?;
    let folder = match &plan.resume {
        Some(folder) => folder.clone(),
        None => artefacts::run_folder(&plan.out, &record)?,
    };
    progress.begun(&folder);
    let total = all.len() as u64;
    if let Some(before) = &before {
        all.retain(|job| !before.done[job.scenario].contains(&job.index));
    }
    let mut aggregates = aggregates(&all);
    let so_far = |s: usize, aggregate: &Aggregate| match &before {
        None => aggregate.close(),
        Some(b) => {
            let (record, figures) = aggregate.close();
            let parts = [(&b.part.record.scenarios[s], &b.part.figures.scenarios[s]), (&record, &figures)];
            merge::scenario(&parts, plan.is_whole())
        }
    };
    debug!(suite = plan.suite, seeds = all.len(), jobs = plan.jobs, folder = %folder.display(), "campaign begins");
    let options = Options {
        world: plan.world,
        defects: plan.defects,
        encode_messages: plan.encode_messages,
        each_minute: plan.each_minute,
        interrupt: Some(interrupt.clone()),
        ..Options::default()
    };
    let mut folders: Vec<Folders> = vec![Folders::default(); plan.scenarios.len()];
    let mut open: Vec<u64> = (0..plan.scenarios.len()).map(|s| of(&all, s)).collect();
    let (mut failures, mut virtual_ns) = (0, 0);
    let mut done = total - all.len() as u64;
    if let Some(b) = &before {
        for (s, scenario) in b.part.record.scenarios.iter().enumerate() {
            scenario.failures.iter().for_each(|f| folders[s].kept(&f.check, f.every_check()));
            failures += scenario.seeds.iter().filter(|s| !s.violated.is_empty()).count() as u64;
            virtual_ns += scenario.virtual_ns;
            if open[s] == 0 {
                progress.scenario(&so_far(s, &aggregates[s]).0);
            }
        }
    }
    let mut digests = Vec::new();
    let work = |n: usize| {
        let over = plan.time.is_some_and(|t| started.elapsed() >= t);
        let job = *all.get(n).filter(|_| !over && !interrupt.stops())?;
        let begun = Instant::now();
        let options = Options { timeline: job.first, ..options.clone() };
        let outcome = run_seed(&plan.scenarios[job.scenario], job.seed.0, &options);
        (!outcome.given_up).then(|| (job, outcome, begun.elapsed()))
    };
    // Taken into account in the order of work: which failures get a folder is part of the result.
    let ended = pool::ordered(plan.jobs, work, |_, (job, mut outcome, wall)| {
        let scenario = &plan.scenarios[job.scenario];
        trace!(scenario = scenario.name, seed = %job.seed, events = outcome.events, wall = ?wall, "seed done");
        let aggregate = &mut aggregates[job.scenario];
        if let Some(first) = outcome.violations(scenario).next() {
            failures += 1;
            let checks = outcome.violated(scenario);
            let every = || checks.iter().map(|check| check.name());
            if folders[job.scenario].keeps(first.check.name(), every()) {
                progress.failing(&scenario.name, job.seed, first.check);
                let failure = match artefacts::failure(&folder, scenario, job.index, &outcome, &options) {
                    Ok(Some(failure)) => failure,
                    Ok(None) => {
                        progress.given_up(&scenario.name, job.seed, first.check);
                        return ControlFlow::Break(Ok(()));
                    }
                    Err(error) => return ControlFlow::Break(Err(error)),
                };
                folders[job.scenario].kept(first.check.name(), every());
                aggregate.fail(failure);
            }
            if plan.fail_fast {
                interrupt.stop();
            }
        }
        aggregate.add(scenario, job.index, &mut outcome, wall.as_nanos() as u64);
        digests.push((job.scenario, job.seed, outcome.digest));
        done += 1;
        virtual_ns += outcome.virtual_ns;
        progress.seed(done, total, failures, virtual_ns);
        open[job.scenario] -= 1;
        if open[job.scenario] == 0 {
            progress.scenario(&so_far(job.scenario, aggregate).0);
        }
        ControlFlow::Continue(())
    });
    if let ControlFlow::Break(result) = ended {
        result?;
    }
    debug!(done, failures, "every seed done");
    if let Some(b) = &before {
        for (s, scenario) in b.part.record.scenarios.iter().enumerate() {
            for seed in &scenario.seeds {
                let digest = u64::from_str_radix(&seed.digest, 16);
                if let (Ok(name), Ok(digest)) = (seed.seed.parse(), digest) {
                    digests.push((s, name, digest));
                }
            }
        }
    }
    let rechecked = check_again(plan, &digests, &mut aggregates, interrupt)?;
    record.wall_seconds = started.elapsed().as_secs_f64();
    record.rechecked = rechecked;
    record.cut_short = done < total && plan.time.is_none();
    record.interrupted = interrupt.code();
    let (scenarios, drawn) = aggregates.iter().map(Aggregate::close).unzip();
    record.scenarios = scenarios;
    let mut all =
        Part { name: String::new(), record, figures: RunFigures { schema: figures::SCHEMA, scenarios: drawn } };
    if let Some(b) = before {
        all = merge::go_on(b.part, all).map_err(|m| miette::miette!("{m}"))?;
    }
    for (s, scenario) in all.record.scenarios.iter().enumerate() {
        // Whoever watched was told of the others as they ended.
        if open[s] > 0 {
            progress.scenario(scenario);
        }
    }
    // Charts take longer than a signal leaves; `klamm report` draws them.
    let draw = all.record.interrupted.is_none();
    write_run(&folder, &all.record, &all.figures, draw).map_err(|e| miette::miette!("{e}"))?;
    Ok(Done { record: all.record, folder })
}

/// Runs some seeds again in a fresh process and compares digests.
fn check_again(
    plan: &Plan,
    digests: &[(usize, Seed, u64)],
    aggregates: &mut [Aggregate],
    interrupt: &Interrupt,
) -> miette::Result<Option<(u64, u64)>> {
    if plan.recheck_ppm == 0 || interrupt.stops() {
        return Ok(None);
    }
    let mut seen = vec![false; plan.scenarios.len()];
    let mut chosen: Vec<_> = digests.to_vec();
    // By seed, so that the choice does not depend on which thread was faster.
    chosen.sort_by_key(|(s, seed, _)| (*s, *seed));
    chosen.retain(|(s, seed, _)| {
        let first = !std::mem::replace(&mut seen[*s], true);
        first || seed.0 % 1_000_000 < u64::from(plan.recheck_ppm)
    });
    let Some(same) = recheck::compare(plan, &chosen, interrupt)? else { return Ok(None) };
    for ((scenario, ..), same) in chosen.iter().zip(&same) {
        if !same {
            aggregates[*scenario].differed();
        }
    }
    Ok(Some((same.len() as u64, same.iter().filter(|s| **s).count() as u64)))
}

/// Where a failure's folder lies, relative to where the command was run.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
