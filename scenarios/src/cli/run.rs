//! `klamm run`.

use super::progress::{Console, Json};
use super::{bounds, memory, output};
use crate::campaign::{self, Done, Plan, Progress};
use crate::interrupt::interrupt;
use crate::refusals::refusals;
use crate::run::WorldKind;
use crate::schema::{Scenario, Span};
use crate::seeds::Seed;
use crate::{catalog, schema};
use klamm_model::defects::{Defect, Defects};
use klamm_reports::verdict;
use std::path::PathBuf;
use std::time::Duration;

/// The master seed if none is given. Fixed, so that a run that is not told otherwise is the same everywhere.
const DEFAULT_MASTER: Seed = Seed(0x5eed);

#[derive(clap::Args)]
pub struct Args {
    /// A suite such as `smoke`, a scenario's name, a scenario file, or a directory of them.
    #[arg(required = true)]
    what: Vec<String>,
    /// Seeds per scenario.
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// Go on for this long instead, such as 10m.
    #[arg(long = "for", value_name = "TIME", conflicts_with = "seeds")]
    time: Option<String>,
    /// The seed that all others derive from: a number, 0x..., a git hash, or `random` [default: 0x5eed].
    #[arg(long, value_name = "S")]
    master: Option<String>,
    /// One derived seed, as a repro line names it.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "time", "master"])]
    seed: Option<Seed>,
    /// Threads; as many as there are cores, if not said.
    #[arg(short = 'j', long, value_name = "N", value_parser = bounds::jobs)]
    jobs: Option<usize>,
    /// The k-th of n shards, written k/n; `klamm report` puts them together.
    #[arg(long, value_name = "k/n", default_value = "1/1")]
    shard: String,
    /// Only scenarios whose name or tags contain this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Stop at the first failure.
    #[arg(long)]
    fail_fast: bool,
    /// What a cause permits is a violation all the same, unless a scenario names it in `violations` or `permits`.
    #[arg(long)]
    strict: bool,
    /// Go on with a run of this very command that was interrupted: its folder.
    #[arg(long, value_name = "RUN DIR")]
    resume: Option<PathBuf>,
    /// How many seeds in a million are run again in a fresh process; at least one per scenario, unless 0.
    #[arg(long, value_name = "PPM", default_value_t = 20_000)]
    recheck: u32,
    /// Switch a defect on; may be given several times. `klamm defects list` names them.
    #[arg(long, value_name = "ID")]
    defect: Vec<String>,
    /// The world to run in: `des`, or `turmoil`, which has the real shell and fewer faults.
    #[arg(long, value_name = "WORLD", default_value_t = WorldKind::Des)]
    world: WorldKind,
    /// Leave out, and name, scenarios that the world cannot run.
    #[arg(long)]
    skip_refused: bool,
    /// Encode and decode every message. Slower; must not change any result.
    #[arg(long)]
    encode: bool,
    /// Say at every virtual minute of a seed what memory the process holds. For one seed at a time (Linux).
    #[arg(long)]
    memory: bool,
    /// Where to leave the run's folder.
    #[arg(long, value_name = "DIR", default_value = "target/klamm")]
    out: PathBuf,
    /// Also write JUnit here.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// `human` or `json`: one object per line.
    #[arg(long, default_value = "human")]
    format: String,
}

impl Args {
    /// What was asked for, as it is to be typed again.
    fn asked(&self) -> String {
        let mut words = self.what.join(" ");
        if let Some(filter) = &self.filter {
            words.push_str(" --filter ");
            words.push_str(filter);
        }
        words
    }

    fn plan(&self) -> miette::Result<(Plan, Vec<String>)> {
        if !["human", "json"].contains(&self.format.as_str()) {
            return Err(miette::miette!("--format `{}`: expected `human` or `json`", self.format));
        }
        let mut scenarios = scenarios(&self.what, self.filter.as_deref())?;
        let mut warnings = refuse(&mut scenarios, self.world, self.skip_refused)?;
        scenarios.iter_mut().for_each(|s| s.expect.strict |= self.strict);
        if self.encode && self.world != WorldKind::Des {
            return Err(miette::miette!("--encode is for the des world: in {} messages always are bytes", self.world));
        }
        let settings = scenarios
            .iter()
            .flat_map(|s| schema::check(s).unwrap_or_default().into_iter().map(move |w| format!("{}: {w}", s.name)));
        warnings.extend(settings);
        let time = match &self.time {
            None => None,
            Some(text) => {
                let span =
                    Span::parse(text).ok_or_else(|| miette::miette!("--for `{text}`: expected a time such as 10m"))?;
                Some(Duration::from_nanos(span.0.as_nanos()))
            }
        };
        let plan = Plan {
            suite: self.asked(),
            scenarios,
            paired: None,
            master: master(self.master.as_deref())?,
            only: self.seed,
            seeds: if self.seed.is_some() { 1 } else { self.seeds },
            time,
            jobs: threads(self.jobs),
            shard: shard(&self.shard)?,
            fail_fast: self.fail_fast,
            strict: self.strict,
            resume: self.resume.clone(),
            recheck_ppm: self.recheck,
            world: self.world,
            defects: defects(&self.defect)?,
            encode_messages: self.encode,
            each_minute: self.memory.then_some(memory::tell),
            out: self.out.clone(),
        };
        if self.memory && plan.jobs > 1 {
            return Err(miette::miette!(help = "add -j 1", "--memory tells of one seed at a time"));
        }
        if plan.seeds == 0 {
            return Err(miette::miette!("--seeds 0 runs nothing"));
        }
        bounds::seeds(&plan.scenarios, plan.seeds)?;
        Ok((plan, warnings))
    }
}

/// The scenarios that words of a command line mean, each once; of them those that a filter leaves.
///
/// # Errors
/// A word that means nothing, or a filter that leaves nothing.
pub(super) fn scenarios(words: &[String], filter: Option<&str>) -> miette::Result<Vec<Scenario>> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for word in words {
        for s in catalog::find(word)? {
            if !scenarios.iter().any(|have| have.name == s.name) {
                scenarios.push(s);
            }
        }
    }
    if let Some(filter) = filter {
        scenarios.retain(|s| s.name.contains(filter) || s.tags.iter().any(|t| t.contains(filter)));
        if scenarios.is_empty() {
            return Err(miette::miette!("--filter `{filter}` leaves no scenario"));
        }
    }
    Ok(scenarios)
}

/// Refuses scenarios that a world cannot run, by name; with `skip`, takes them out instead, and says so.
///
/// # Errors
/// If there are such scenarios, or if none is left.
pub(super) fn refuse(scenarios: &mut Vec<Scenario>, world: WorldKind, skip: bool) -> miette::Result<Vec<String>> {
    let mut refused = Vec::new();
    scenarios.retain(|scenario| {
        let why = refusals(scenario, world);
        refused.extend((!why.is_empty()).then(|| format!("{}: {}", scenario.name, why.join("; "))));
        why.is_empty()
    });
    if refused.is_empty() || skip && !scenarios.is_empty() {
        return Ok(refused.into_iter().map(|r| format!("left out of the {world} world: {r}")).collect());
    }
    let left = if scenarios.is_empty() { "--world des" } else { "--world des, or --skip-refused to run the others" };
    Err(miette::miette!(help = left, "the {world} world cannot run this:\n  {}", refused.join("\n  ")))
}

/// The master seed that a command line asks for.
pub(super) fn master(asked: Option<&str>) -> miette::Result<Seed> {
    match asked {
        None => Ok(DEFAULT_MASTER),
        Some("random") => Ok(fresh_seed()),
        Some(text) => text.parse().map_err(|e| miette::miette!("--master: {e}")),
    }
}

/// How many threads: as asked, or one for each core.
pub(super) fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// A seed nobody has used before.
fn fresh_seed() -> Seed {
    use std::hash::{BuildHasher, RandomState};
    Seed(RandomState::new().hash_one(std::process::id()))
}

/// The k-th of n.
pub(super) fn shard(text: &str) -> miette::Result<(u64, u64)> {
    let parsed = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((k, n)) if 1 <= k && k <= n => Ok((k, n)),
        _ => Err(miette::miette!("--shard `{text}`: expected k/n with 1 <= k <= n, such as 2/8")),
    }
}

/// The set of defects named.
///
/// # Errors
/// With a suggestion, if one is unknown.
pub fn defects(ids: &[String]) -> miette::Result<Defects> {
    ids.iter().try_fold(Defects::NONE, |set, id| match id.parse::<Defect>() {
        Ok(defect) => Ok(set.with(defect)),
        Err(e) => {
            let hint = crate::suggest::nearest(id, Defect::ALL.iter().map(|d| d.id()));
            Err(miette::miette!(help = "`klamm defects list`", "{e}{hint}"))
        }
    })
}

/// Runs the campaign.
///
/// # Errors
/// Bad input, or a folder that cannot be written.
pub fn run(args: &Args) -> miette::Result<u8> {
    let (plan, warnings) = args.plan()?;
    output::file("--junit", args.junit.as_deref())?;
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    let done = carry_out(&plan, args.format == "json")?;
    if let Some(path) = &args.junit {
        let xml = klamm_reports::junit::to_xml(&done.record).map_err(|e| miette::miette!("{e}"))?;
        output::write("--junit", path, &xml)?;
    }
    let code = verdict::exit_code(&done.record);
    if args.format == "json" {
        let run = &done.record;
        let each = run.scenarios.iter().map(|s| {
            serde_json::json!({ "scenario": s.name, "verdict": s.verdict.word(), "sentence": verdict::sentence(s) })
        });
        let told = serde_json::json!({
            "done": done.folder.display().to_string(),
            "exit": code,
            "verdict": run.verdict().word(),
            "verdicts": each.collect::<Vec<_>>(),
            "defects": run.defects,
        });
        println!("{told}");
    }
    Ok(code)
}

/// Carries a plan out and shows how it goes. A signal ends it in order: what is known is written.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn carry_out(plan: &Plan, json: bool) -> miette::Result<Done> {
    output::folder("--out", &plan.out)?;
    interrupt().cooperate();
    let mut progress: Box<dyn Progress> =
        if json { Box::new(Json::new(plan)) } else { Box::new(Console::new(plan, super::paint())) };
    let done = campaign::run(plan, interrupt(), progress.as_mut())?;
    drop(progress);
    if !json {
        let folder = campaign::shown(&done.folder);
        print!("{}", klamm_reports::console::closing(&done.record, &folder, super::paint()));
        if done.record.cut_short {
            println!("  cut short: what is known was written");
        }
        if done.record.interrupted.is_some() {
            println!("  interrupted: no charts were drawn; `klamm report {folder}` draws them");
            if plan.time.is_none() {
                println!("  go on: {} --resume {folder}", super::progress::again(plan));
            }
        }
    }
    Ok(done)
}
