//! `klamm defects`.

use super::{bounds, net};
use crate::catalog;
use crate::hunt::{self, Hunt, Hunted, Sighting};
use crate::schema::Scenario;
use crate::seeds::Seed;
use klamm_model::defects::{Defect, Kind};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Every defect, published bugs first: id, reference, the wrong rule, and the check that should fire.
    List,
    /// Search seeds of a suite until each defect is caught by a check that is named for it.
    Hunt(HuntArgs),
    /// Write down what the judge finds under each defect, over fixed seeds.
    Record(net::RecordArgs),
    /// Say what the judge finds otherwise than is written down; exit code 1 if anything.
    Compare(net::CompareArgs),
}

#[derive(clap::Args)]
struct HuntArgs {
    /// Which defects; all published ones, if none is named.
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
    /// Seeds to be caught in, each with a witness of its own.
    #[arg(long, value_name = "N", default_value_t = 2)]
    witnesses: usize,
    /// Threads.
    #[arg(short = 'j', long, value_name = "N", value_parser = bounds::jobs)]
    jobs: Option<usize>,
}

/// Lists or hunts defects.
///
/// # Errors
/// Bad input.
pub fn defects(args: &Args) -> miette::Result<u8> {
    match &args.what {
        What::List => {
            list("Published bugs", Kind::Published);
            println!();
            list("Single mistakes", Kind::Mistake);
            Ok(super::HELD)
        }
        What::Hunt(args) => hunt(args),
        What::Record(args) => net::write(args),
        What::Compare(args) => net::compare(args),
    }
}

fn list(title: &str, kind: Kind) {
    let of_kind: Vec<Defect> = Defect::ALL.iter().copied().filter(|d| d.kind() == kind).collect();
    println!("{title} ({}):", of_kind.len());
    for d in of_kind {
        println!("{:<34} {}", d.id(), d.reference());
        println!("    {}", d.wrong_rule());
        let caught_by: Vec<&str> = d.caught_by().iter().map(|check| check.name()).collect();
        println!("    caught by {}", caught_by.join(", "));
    }
}

fn hunt(args: &HuntArgs) -> miette::Result<u8> {
    let scenarios = catalog::find(&args.suite)?;
    let ids = super::run::defects(&args.ids)?;
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut missed = false;
    println!(
        "{:<30} {:>10} {:>6} {:>8}  {:<22} {:<34} {:<8} also named",
        "defect", "master", "seeds", "time", "caught by", "in", "faults"
    );
    let hunted = |d: &Defect| if ids.is_empty() { d.kind() == Kind::Published } else { ids.on(*d) };
    for defect in Defect::ALL.iter().copied().filter(hunted) {
        let mut after = Vec::new();
        for &master in &args.master {
            let hunt = Hunt { defect, master, limit: args.seeds, jobs, witnesses: args.witnesses };
            let hunted = hunt::hunt(&hunt, &scenarios);
            tell(&hunt, &hunted, &scenarios);
            missed |= hunted.witnesses.len() < args.witnesses.max(1);
            after.push(hunted.caught().map_or(u64::MAX, |c| c.seeds));
        }
        after.sort_unstable();
        if let [_, .., worst] = after[..] {
            let seeds = |n: u64| if n == u64::MAX { "never".to_owned() } else { n.to_string() };
            println!(
                "{:<30} over {}: median {}, worst {}",
                "",
                after.len(),
                seeds(after[after.len() / 2]),
                seeds(worst)
            );
        }
    }
    Ok(if missed { super::NOT_SHOWN } else { super::HELD })
}

/// A line for the catch, and one for each thing that proves it.
fn tell(hunt: &Hunt, hunted: &Hunted, scenarios: &[Scenario]) {
    let (id, master) = (hunt.defect.id(), hunt.master.to_string());
    let line = |s: &Sighting| {
        let (scenario, at) = (&scenarios[s.scenario].name, s.at as f64 / 1e9);
        format!(
            "{scenario} {} after {}: {} at {at:.3}s ({} pieces): {}",
            s.seed,
            klamm_reports::text::count(s.seeds, "seed"),
            s.check,
            s.evidence,
            s.detail
        )
    };
    match hunted.caught() {
        Some(c) => {
            let faults = hunt::shrunk(hunt.defect, &scenarios[c.scenario], c);
            let faults = faults.map_or("-".to_owned(), |(all, few)| format!("{all}->{few}"));
            let others = hunted.named.iter().filter(|(check, _)| !c.is_of(*check)).map(|(check, s)| {
                let after = s.as_ref().map_or(format!("not in {}", hunted.seeds), |s| format!("after {}", s.seeds));
                format!("{check} {after}")
            });
            let others = others.collect::<Vec<_>>().join(", ");
            println!(
                "{id:<30} {master:>10} {:>6} {:>7.1}s  {:<22} {:<34} {faults:<8} {others}",
                c.seeds, c.seconds, c.check, scenarios[c.scenario].name,
            );
        }
        None => println!("{id:<30} {master:>10} {:>6} {:>7.1}s  not caught", hunted.seeds, hunted.seconds),
    }
    if let Some(first) = hunted.first.as_ref().filter(|f| hunted.caught() != Some(f)) {
        println!("    first sign: {}", line(first));
    }
    for witness in &hunted.witnesses {
        println!("    witness: {}", line(witness));
    }
}
