//! `klamm compare`: the variants of one scenario, run under the same seeds; or runs against each other.

use super::{bounds, run};
use crate::campaign::{Paired, Plan};
use crate::run::WorldKind;
use crate::{catalog, schema};
use klamm_model::defects::Defects;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A scenario with a [matrix] or [[variant]]s: a file, or a name of the catalogue (a service's name means its comparison). Or the folders of two or more
    /// runs of the same seeds: the first is what the others are compared with. Further runs of a build that is there
    /// already are repetitions of it: they count for time on the wall alone.
    #[arg(required = true, value_name = "SCENARIO | RUN DIR...")]
    what: Vec<String>,
    /// Of runs: how much worse figures may get, such as `p99=5%,lost=0`, `exact` or `wall=10%`. Exit code 5 beyond.
    #[arg(long, value_name = "LIMITS")]
    gate: Option<String>,
    /// Of runs: compare although their settings or their scenario files differ.
    #[arg(long)]
    force: bool,
    /// Seeds of each variant; if not said, what the scenario says, or 50.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The seed that all others derive from: a number, 0x..., a git hash, or `random` [default: 0x5eed].
    #[arg(long, value_name = "S")]
    master: Option<String>,
    /// Threads; as many as there are cores, if not said.
    #[arg(short = 'j', long, value_name = "N", value_parser = bounds::jobs)]
    jobs: Option<usize>,
    /// The k-th of n shards, written k/n; `klamm report` puts them together.
    #[arg(long, value_name = "k/n", default_value = "1/1")]
    shard: String,
    /// Go on with a comparison of this very command that was interrupted: its folder.
    #[arg(long, value_name = "RUN DIR")]
    resume: Option<PathBuf>,
    /// How many seeds in a million are run again in a fresh process; at least one per variant, unless 0.
    #[arg(long, value_name = "PPM", default_value_t = 20_000)]
    recheck: u32,
    /// Where to leave the run's folder.
    #[arg(long, value_name = "DIR", default_value = "target/klamm")]
    out: PathBuf,
}

/// Runs every variant and draws the comparison.
///
/// # Errors
/// Bad input, or a folder that cannot be written.
pub fn compare(args: &Args) -> miette::Result<u8> {
    let is_run = |word: &String| Path::new(word).join("run.json").is_file();
    let [what] = &args.what[..] else {
        return super::versus::compare(&args.what, args.gate.as_deref(), args.force, &args.out);
    };
    if is_run(what) {
        return Err(miette::miette!(
            help = "name a second run of the same seeds",
            "{what}: one run alone is no comparison"
        ));
    }
    if args.gate.is_some() || args.force {
        return Err(miette::miette!(
            help = "klamm compare <run dir> <run dir> --gate ...",
            "--gate and --force are for runs, not for the variants of a scenario"
        ));
    }
    let mut scenarios = catalog::find(what)?;
    // A service by its name: its comparison.
    if scenarios.iter().all(|s| s.matrix.is_empty() && s.variants.is_empty())
        && let Ok(comparison) = catalog::find(&format!("compare/{what}"))
    {
        scenarios = comparison;
    }
    let [scenario] = &scenarios[..] else {
        return Err(miette::miette!(
            help = "name one scenario; `klamm list compare` shows those made for it",
            "`{}` means {} scenarios",
            what,
            scenarios.len()
        ));
    };
    let variants = schema::variants(scenario).map_err(|all| miette::miette!("{}", all[0].message))?;
    if variants.len() < 2 {
        return Err(miette::miette!(
            help = "add [matrix] with a setting and a list of values, or two [[variant]]s",
            "{}: nothing to compare",
            scenario.name
        ));
    }
    let seeds = args.seeds.or(scenario.seeds.map(u64::from)).unwrap_or(50);
    if seeds == 0 {
        return Err(miette::miette!("--seeds 0 runs nothing"));
    }
    let (labels, scenarios): (_, Vec<_>) = variants.into_iter().map(|v| (v.label, v.scenario)).unzip();
    bounds::seeds(&scenarios, seeds)?;
    let plan = Plan {
        suite: what.clone(),
        scenarios,
        paired: Some(Paired { name: scenario.name.clone(), labels }),
        master: run::master(args.master.as_deref())?,
        only: None,
        seeds,
        time: None,
        jobs: run::threads(args.jobs),
        shard: run::shard(&args.shard)?,
        fail_fast: false,
        strict: false,
        resume: args.resume.clone(),
        recheck_ppm: args.recheck,
        world: WorldKind::Des,
        defects: Defects::NONE,
        encode_messages: false,
        each_minute: None,
        out: args.out.clone(),
    };
    let done = run::carry_out(&plan, false)?;
    println!("\n{}", klamm_reports::compare::console(&done.record));
    Ok(klamm_reports::verdict::exit_code(&done.record))
}
