//! `klamm report`: draws a run again, or puts the shards of one together.

use super::output;
use crate::{artefacts, campaign};
use klamm_reports::folder::{read_run, write_run};
use klamm_reports::merge::{Part, merge};
use klamm_reports::record::RunRecord;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A run's folder, to be drawn again; or the folders of all shards of one run, to be put together.
    #[arg(required = true, value_name = "RUN DIR")]
    runs: Vec<PathBuf>,
    /// Where to leave the folder of shards put together.
    #[arg(long, value_name = "DIR", default_value = "target/klamm")]
    out: PathBuf,
    /// Also write JUnit here.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Draws, or puts together and draws. The exit code is that of the run.
///
/// # Errors
/// Folders that are no runs, or no shards of one run.
pub fn report(args: &Args) -> miette::Result<u8> {
    output::file("--junit", args.junit.as_deref())?;
    let mut parts = args.runs.iter().map(|run| read(run)).collect::<miette::Result<Vec<Part>>>()?;
    let alone = parts.len() == 1 && parts[0].record.shard.is_none();
    let (record, folder) = if alone {
        let part = parts.remove(0);
        (part.record.clone(), redraw(&args.runs[0], &part)?)
    } else {
        builds_differ(&parts);
        let merged = merge(parts)
            .map_err(|m| miette::miette!(help = "name the folders of all shards of one run, each once", "{m}"))?;
        output::folder("--out", &args.out)?;
        join(args, merged)?
    };
    for s in &record.scenarios {
        let s = artefacts::with_paths(s, &folder);
        print!("{}", klamm_reports::console::scenario(&s, record.is_whole(), super::paint()));
    }
    if !record.variants.is_empty() {
        println!("\n{}", klamm_reports::compare::console(&record));
    }
    print!("{}", klamm_reports::console::closing(&record, &campaign::shown(&folder), super::paint()));
    if let Some(path) = &args.junit {
        let xml = klamm_reports::junit::to_xml(&record).map_err(|e| miette::miette!("{e}"))?;
        output::write("--junit", path, &xml)?;
    }
    Ok(klamm_reports::verdict::exit_code(&record))
}

/// Reads a run's folder for reports and comparisons.
///
/// # Errors
/// If it is none, with a word on what it is instead.
pub(super) fn read(run: &Path) -> miette::Result<Part> {
    let name = run.display().to_string();
    if !run.is_dir() {
        return Err(miette::miette!("{name}: no such folder"));
    }
    if run.join("verdict.json").is_file() {
        return Err(miette::miette!(help = "name the folder it lies in", "{name}: a failure's folder, not a run's"));
    }
    if !run.join("run.json").is_file() {
        return Err(miette::miette!(
            help = "a run that was killed leaves its finished failures, but no record",
            "{name}: no run.json: not a run's folder, or of a run that did not end"
        ));
    }
    let (record, figures) = read_run(run).map_err(|e| miette::miette!("{e}"))?;
    Ok(Part { name, record, figures })
}

fn redraw(folder: &Path, part: &Part) -> miette::Result<PathBuf> {
    std::fs::create_dir_all(folder.join("charts")).map_err(|e| miette::miette!("{}: {e}", folder.display()))?;
    write_run(folder, &part.record, &part.figures, true).map_err(|e| miette::miette!("{e}"))?;
    Ok(folder.to_owned())
}

fn builds_differ(parts: &[Part]) {
    let Some(first) = parts.first() else { return };
    if let Some(other) = parts.iter().find(|p| p.record.build != first.record.build) {
        eprintln!(
            "warning: {} and {} were run by different builds of klamm {}: only the same sources give the same runs",
            first.name, other.name, first.record.klamm
        );
    }
}

/// Writes the merged run's folder, the shards' failures included.
fn join(args: &Args, mut merged: Part) -> miette::Result<(RunRecord, PathBuf)> {
    let failures = merged.record.scenarios.iter().flat_map(|s| &s.failures);
    for failure in failures.clone() {
        let found = args.runs.iter().any(|run| run.join(&failure.folder).join("verdict.json").is_file());
        if !found {
            return Err(miette::miette!(
                help = "keep a shard's folder whole",
                "the folder of failure {} is in none of the shards",
                failure.id
            ));
        }
    }
    let folder = artefacts::run_folder(&args.out, &merged.record)?;
    for failure in merged.record.scenarios.iter_mut().flat_map(|s| &mut s.failures) {
        let from = args.runs.iter().map(|run| run.join(&failure.folder)).find(|f| f.is_dir());
        if let Some(from) = from {
            artefacts::adopt(&from, &folder, failure)?;
        }
    }
    write_run(&folder, &merged.record, &merged.figures, true).map_err(|e| miette::miette!("{e}"))?;
    Ok((merged.record, folder))
}
