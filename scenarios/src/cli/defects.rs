//! `klamm defects`.

use crate::catalog;
use crate::hunt::{self, Hunt};
use crate::seeds::Seed;
use klamm_model::defects::Defect;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Every defect: id, reference, the wrong rule, and the check that should fire.
    List,
    /// Search seeds of a suite until each defect is caught.
    Hunt(HuntArgs),
}

#[derive(clap::Args)]
struct HuntArgs {
    /// Which defects; all, if none is named.
    ids: Vec<String>,
    /// The suite whose seeds are searched.
    #[arg(long, default_value = "smoke")]
    suite: String,
    /// The sweep's seed; several for several hunts.
    #[arg(long, default_value = "0x5eed")]
    master: Vec<Seed>,
    /// Give up after so many seeds, over the whole suite.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Threads.
    #[arg(short = 'j', long, value_name = "N")]
    jobs: Option<usize>,
}

/// Lists or hunts defects.
///
/// # Errors
/// Bad input.
pub fn defects(args: &Args) -> miette::Result<u8> {
    match &args.what {
        What::List => {
            for d in Defect::ALL {
                println!("{:<30} {}", d.id(), d.reference());
                println!("    {}", d.wrong_rule());
                println!("    caught by {}", d.caught_by());
            }
            Ok(super::HELD)
        }
        What::Hunt(args) => hunt(args),
    }
}

fn hunt(args: &HuntArgs) -> miette::Result<u8> {
    let scenarios = catalog::find(&args.suite)?;
    let ids = super::run::defects(&args.ids)?;
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut missed = false;
    println!(
        "{:<30} {:>18} {:>7} {:>8}  {:<24} {:<28} witness",
        "defect", "master", "seeds", "time", "caught by", "in"
    );
    for defect in Defect::ALL.iter().copied().filter(|d| ids.is_empty() || ids.on(*d)) {
        for master in &args.master {
            let found = hunt::hunt(&Hunt { defect, master: *master, limit: args.seeds, jobs }, &scenarios);
            match found {
                Some(c) => println!(
                    "{:<30} {:>18} {:>7} {:>7.1}s  {:<24} {:<28} {} at {:.3}s: {}",
                    defect.id(),
                    master.to_string(),
                    c.seeds,
                    c.seconds,
                    c.check,
                    c.scenario,
                    c.seed,
                    c.at as f64 / 1e9,
                    c.detail
                ),
                None => {
                    missed = true;
                    println!("{:<30} {:>18} {:>7} not caught", defect.id(), master.to_string(), args.seeds);
                }
            }
        }
    }
    Ok(if missed { super::UNSEEN } else { super::HELD })
}
