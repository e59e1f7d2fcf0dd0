//! `klamm defects record` and `klamm defects compare`.

use super::{bounds, output};
use crate::net::plan::Plan;
use crate::net::{Entry, Switch, difference, file, record};
use crate::suggest;
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct RecordArgs {
    /// Where to write it.
    #[arg(long, value_name = "FILE", default_value = "scenarios/net/findings.tsv")]
    out: PathBuf,
    /// Threads; as many as there are cores, if not said.
    #[arg(short = 'j', long, value_name = "N", value_parser = bounds::jobs)]
    jobs: Option<usize>,
}

#[derive(clap::Args)]
pub struct CompareArgs {
    /// What `klamm defects record` wrote.
    file: PathBuf,
    /// Which defects, or `correct-code`; all, if none is named.
    ids: Vec<String>,
    /// Only the first so many seeds of each scenario.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    seeds: u64,
    /// Threads; as many as there are cores, if not said.
    #[arg(short = 'j', long, value_name = "N", value_parser = bounds::jobs)]
    jobs: Option<usize>,
}

/// Runs what the plan says, with a bar on a terminal.
fn run(plan: &Plan, switches: &[Switch], seeds: u64, jobs: Option<usize>) -> Vec<Entry> {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let entries = record(plan, switches, seeds, super::run::threads(jobs), |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    entries
}

/// Writes the file.
///
/// # Errors
/// If it cannot be written.
pub fn write(args: &RecordArgs) -> miette::Result<u8> {
    output::file("--out", Some(&args.out))?;
    let plan = Plan::own();
    let switches: Vec<Switch> = Switch::all().collect();
    let entries = run(&plan, &switches, plan.seeds, args.jobs);
    let text = file::write(&entries);
    output::write("--out", &args.out, &text)?;
    let findings: usize = entries.iter().map(|e| e.findings.len()).sum();
    println!(
        "{}: {} switches, {} scenarios under one, {} seeds each, {findings} findings",
        args.out.display(),
        switches.len(),
        entries.len(),
        plan.seeds
    );
    Ok(super::HELD)
}

/// Compares with the file.
///
/// # Errors
/// If it cannot be read, or a defect is unknown.
pub fn compare(args: &CompareArgs) -> miette::Result<u8> {
    let shown = args.file.display();
    if args.seeds == 0 {
        return Err(miette::miette!("--seeds 0 compares nothing"));
    }
    let text = std::fs::read_to_string(&args.file).map_err(|e| miette::miette!("{shown}: {e}"))?;
    let mut recorded = file::read(&text).map_err(|e| miette::miette!("{shown}: not understood: {e}"))?;
    let named = args.ids.iter().map(|id| {
        Switch::of(id).ok_or_else(|| {
            let hint = suggest::nearest(id, Switch::all().map(Switch::id));
            miette::miette!(help = "`klamm defects list`", "no defect is called `{id}`{hint}")
        })
    });
    let named: BTreeSet<Switch> = named.collect::<miette::Result<_>>()?;
    let switches: Vec<Switch> = Switch::all().filter(|s| named.is_empty() || named.contains(s)).collect();
    recorded.retain(|e| switches.contains(&e.switch));
    let plan = Plan::own();
    let now = run(&plan, &switches, args.seeds, args.jobs);
    let mut only = BTreeSet::new();
    if args.seeds < plan.seeds {
        let seeds = |e: &Entry| (0..e.seeds).map(|n| plan.master.derive(&e.scenario, n)).collect::<Vec<_>>();
        only.extend(now.iter().flat_map(seeds));
    }
    let all = difference::differences(&recorded, &now, &only);
    print!("{all}");
    if all.is_empty() {
        println!("As recorded: {} switches, {} scenarios under one.", switches.len(), now.len());
    }
    Ok(if all.is_empty() { super::HELD } else { super::VIOLATED })
}
