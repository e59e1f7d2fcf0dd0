//! `klamm parity`.

use super::{bounds, run};
use crate::campaign::Plan;
use crate::parity::{Came, agrees, expressible, verdict};
use crate::run::WorldKind;
use crate::schema::Scenario;
use klamm_model::defects::Defects;
use klamm_reports::verdict::Verdict;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// A suite such as `smoke`, a scenario's name, a scenario file, or a directory of them.
    #[arg(required = true)]
    what: Vec<String>,
    /// Seeds per scenario and world.
    #[arg(long, value_name = "N", default_value_t = 50)]
    seeds: u64,
    /// The seed that all others derive from: a number, 0x..., a git hash, or `random` [default: 0x5eed].
    #[arg(long, value_name = "S")]
    master: Option<String>,
    /// Threads; as many as there are cores, if not said.
    #[arg(short = 'j', long, value_name = "N", value_parser = bounds::jobs)]
    jobs: Option<usize>,
    /// Only scenarios whose name or tags contain this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Where to leave the runs' folders.
    #[arg(long, value_name = "DIR", default_value = "target/klamm")]
    out: PathBuf,
}

/// Runs scenarios in both worlds, and compares what they came to.
///
/// # Errors
/// Bad input, or a folder that cannot be written.
pub fn parity(args: &Args) -> miette::Result<u8> {
    let (scenarios, refused) = expressible(run::scenarios(&args.what, args.filter.as_deref())?);
    for (name, why) in &refused {
        eprintln!("not in every world: {name}: {}", why.join("; "));
    }
    if scenarios.is_empty() {
        return Err(miette::miette!("no scenario of these can be run in every world"));
    }
    if args.seeds == 0 {
        return Err(miette::miette!("--seeds 0 runs nothing"));
    }
    bounds::seeds(&scenarios, args.seeds)?;
    let mut came: Vec<Vec<Came>> = Vec::new();
    for world in WorldKind::ALL {
        let plan = Plan {
            suite: args.what.join(" "),
            scenarios: scenarios.clone(),
            paired: None,
            master: run::master(args.master.as_deref())?,
            only: None,
            seeds: args.seeds,
            time: None,
            jobs: run::threads(args.jobs),
            shard: (1, 1),
            fail_fast: false,
            strict: false,
            resume: None,
            recheck_ppm: 1,
            world,
            defects: Defects::NONE,
            encode_messages: false,
            each_minute: None,
            out: args.out.clone(),
        };
        let done = run::carry_out(&plan, false)?;
        if let Some(code) = done.record.interrupted {
            println!("  interrupted: nothing to compare");
            return Ok(code);
        }
        came.push(scenarios.iter().zip(&done.record.scenarios).map(|(s, r)| Came::of(s, r)).collect());
    }
    let agreed = table(&scenarios, &came[0], &came[1]);
    println!("  {agreed}/{} scenarios promise the same in both worlds", scenarios.len());
    let each = scenarios.iter().zip(came[0].iter().zip(&came[1]));
    Ok(Verdict::worst(each.map(|(scenario, (a, b))| verdict(scenario, a, b))).code())
}

/// Prints a line for each scenario; returns how many agree.
fn table(scenarios: &[Scenario], des: &[Came], turmoil: &[Came]) -> usize {
    println!("\n  {:<40} {:>5}  {:<28} {:<28}", "parity", "seeds", "des", "turmoil");
    let mut agreed = 0;
    for ((scenario, a), b) in scenarios.iter().zip(des).zip(turmoil) {
        let same = agrees(scenario, a, b);
        agreed += usize::from(same);
        let mark = if same { "" } else { "  DIFFERS" };
        println!("  {:<40} {:>5}  {:<28} {:<28}{mark}", scenario.name, a.seeds, a.words(), b.words());
    }
    agreed
}
