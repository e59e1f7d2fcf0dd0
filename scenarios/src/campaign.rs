//! Many seeds of many scenarios, on several threads: one seed, one thread, no shared state.
//!
//! Workers take the next (scenario, seed) and send back its outcome; the calling thread gathers. A failing seed is
//! run again with recording on, its schedule is shrunk, and its folder written before the next outcome is taken,
//! so a run that is killed leaves every finished failure folder complete.

use crate::aggregate::Aggregate;
use crate::artefacts;
use crate::recheck;
use crate::run::{Options, SeedOutcome, WorldKind, run_seed};
use crate::schema::Scenario;
use crate::seeds::Seed;
use klamm_model::defects::Defects;
use klamm_reports::figures::{self, RunFigures};
use klamm_reports::merge::FOLDERS_PER_SCENARIO;
use klamm_reports::record::{RunRecord, SCHEMA, ScenarioRecord, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
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
    fn failing(&mut self, scenario: &str, seed: Seed, check: &str);
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
        if self.world != WorldKind::default() {
            let _ = write!(line, " --world {}", self.world);
        }
        for defect in self.defects.iter() {
            let _ = write!(line, " --defect {defect}");
        }
        line
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
            shard: (self.shard.1 > 1).then_some(self.shard),
            build: build(),
            world: self.world.to_string(),
            jobs: self.jobs,
            defects: self.defects.iter().map(|d| d.id().to_owned()).collect(),
            wall_seconds: 0.0,
            rechecked: None,
            cut_short: false,
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
    /// Its place in the order of work.
    place: usize,
    scenario: usize,
    index: u64,
    seed: Seed,
    /// The scenario's first seed, which is drawn over time.
    first: bool,
}

struct Result {
    job: Job,
    outcome: SeedOutcome,
    wall: Duration,
}

fn jobs(plan: &Plan) -> Vec<Job> {
    let mut jobs = Vec::new();
    // With a time limit the list is long, and the limit ends it: seeds first, so that every scenario gets its share.
    let rounds =
        if plan.time.is_some() { plan.seeds.max(1_000_000 / plan.scenarios.len().max(1) as u64) } else { plan.seeds };
    let job = |scenario: usize, index: u64| {
        let name = plan.paired.as_ref().map_or(&plan.scenarios[scenario].name, |p| &p.name);
        let seed = plan.only.unwrap_or_else(|| plan.master.derive(name, index));
        Job { place: 0, scenario, index, seed, first: index == plan.shard.0 - 1 }
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
    jobs.iter_mut().enumerate().for_each(|(place, job)| job.place = place);
    jobs
}

/// Runs a campaign. `stop` may be raised from elsewhere (Ctrl-C): seeds in flight are finished.
///
/// # Errors
/// If the run's folder cannot be written.
pub fn run(plan: &Plan, stop: &AtomicBool, progress: &mut dyn Progress) -> miette::Result<Done> {
    let started = Instant::now();
    let mut aggregates: Vec<Aggregate> = plan.scenarios.iter().map(Aggregate::new).collect();
    let mut record = plan.record(&aggregates);
    let folder = artefacts::run_folder(&plan.out, &record)?;
    progress.begun(&folder);
    let all = jobs(plan);
    let total = all.len() as u64;
    debug!(suite = plan.suite, seeds = total, jobs = plan.jobs, folder = %folder.display(), "campaign begins");
    let options = Options {
        world: plan.world,
        defects: plan.defects,
        encode_messages: plan.encode_messages,
        each_minute: plan.each_minute,
        ..Options::default()
    };
    let next = AtomicUsize::new(0);
    let mut open: Vec<u64> =
        (0..plan.scenarios.len()).map(|s| all.iter().filter(|j| j.scenario == s).count() as u64).collect();
    let (mut done, mut failures, mut virtual_ns, mut taken) = (0, 0, 0, 0);
    let mut digests = Vec::new();
    std::thread::scope(|scope| -> miette::Result<()> {
        let (send, receive) = mpsc::sync_channel::<Result>(plan.jobs * 4);
        for _ in 0..plan.jobs {
            let (send, next, all, options) = (send.clone(), &next, &all, &options);
            scope.spawn(move || {
                loop {
                    let over = plan.time.is_some_and(|t| started.elapsed() >= t);
                    if stop.load(Ordering::Relaxed) || over {
                        break;
                    }
                    let Some(&job) = all.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    let begun = Instant::now();
                    let options = Options { timeline: job.first, ..options.clone() };
                    let outcome = run_seed(&plan.scenarios[job.scenario], job.seed.0, &options);
                    if send.send(Result { job, outcome, wall: begun.elapsed() }).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        // Taken into account in the order of work, whatever thread was faster: which failures get a folder is part of
        // the result.
        let mut early: BTreeMap<usize, Result> = BTreeMap::new();
        let in_order = receive.into_iter().flat_map(|result| {
            early.insert(result.job.place, result);
            let mut ready = Vec::new();
            while let Some(next) = early.remove(&(taken + ready.len())) {
                ready.push(next);
            }
            taken += ready.len();
            ready
        });
        for Result { job, mut outcome, wall } in in_order {
            let scenario = &plan.scenarios[job.scenario];
            trace!(scenario = scenario.name, seed = %job.seed, events = outcome.events, wall = ?wall, "seed done");
            let aggregate = &mut aggregates[job.scenario];
            aggregate.add(scenario, job.index, &mut outcome, wall.as_nanos() as u64);
            digests.push((job.scenario, job.seed, outcome.digest));
            done += 1;
            virtual_ns += outcome.virtual_ns;
            if let Some(first) = outcome.violations(scenario).next() {
                failures += 1;
                if aggregate.failures() < FOLDERS_PER_SCENARIO {
                    progress.failing(&scenario.name, job.seed, &first.check);
                    let failure = artefacts::failure(&folder, scenario, job.index, &outcome, &options)?;
                    aggregate.fail(failure);
                }
                if plan.fail_fast {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            progress.seed(done, total, failures, virtual_ns);
            open[job.scenario] -= 1;
            if open[job.scenario] == 0 {
                progress.scenario(&aggregate.record());
            }
        }
        Ok(())
    })?;
    debug!(done, failures, "every seed done");
    let rechecked = check_again(plan, &digests, &mut aggregates, stop)?;
    record.wall_seconds = started.elapsed().as_secs_f64();
    record.rechecked = rechecked;
    record.cut_short = done < total && plan.time.is_none();
    let (scenarios, drawn) = aggregates.iter().map(Aggregate::close).unzip();
    record.scenarios = scenarios;
    let figures = RunFigures { schema: figures::SCHEMA, scenarios: drawn };
    klamm_reports::folder::write_run(&folder, &record, &figures).map_err(|e| miette::miette!("{e}"))?;
    Ok(Done { record, folder })
}

/// Runs some seeds again in a fresh process and compares digests.
fn check_again(
    plan: &Plan,
    digests: &[(usize, Seed, u64)],
    aggregates: &mut [Aggregate],
    stop: &AtomicBool,
) -> miette::Result<Option<(u64, u64)>> {
    if plan.recheck_ppm == 0 || stop.load(Ordering::Relaxed) {
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
    let same = recheck::compare(plan, &chosen)?;
    for ((scenario, ..), same) in chosen.iter().zip(&same) {
        if !same {
            aggregates[*scenario].differed();
        }
    }
    Ok(Some((same.len() as u64, same.iter().filter(|s| **s).count() as u64)))
}

/// What a run's verdict means to a shell.
pub fn exit_code(record: &RunRecord) -> u8 {
    match record.verdict() {
        Verdict::Held => 0,
        Verdict::Violated => 1,
        Verdict::Nondeterministic => 3,
        // A run cut short, or a shard, has not had the chance to see everything.
        Verdict::Unseen if record.cut_short || record.shard.is_some() => 0,
        Verdict::Unseen => 4,
    }
}

/// Where a failure's folder lies, relative to where the command was run.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
