//! Determinism, checked: seeds run again in a fresh process must give the same digest.
//!
//! A fresh process has other addresses, another hash randomisation, another environment: what differs there would
//! differ on another machine.

use crate::campaign::Plan;
use crate::run::{Options, WorldKind, run_seed};
use crate::schema;
use crate::seeds::Seed;
use klamm_model::defects::{Defect, Defects};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// The hidden subcommand of the fresh process.
pub const WORKER: &str = "recheck-worker";

#[derive(Serialize, Deserialize)]
struct Task {
    scenario: String,
    seed: u64,
    world: WorldKind,
    defects: Vec<String>,
}

/// For each (scenario, seed, digest): whether a fresh process gets the same digest.
///
/// # Errors
/// If the process cannot be started or breaks off.
pub fn compare(plan: &Plan, seeds: &[(usize, Seed, u64)]) -> miette::Result<Vec<bool>> {
    let failed = |e: std::io::Error| miette::miette!("rechecking in a fresh process: {e}");
    let program = std::env::current_exe().map_err(failed)?;
    let mut child =
        Command::new(program).arg(WORKER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut to = child.stdin.take().expect("piped");
    let mut from = BufReader::new(child.stdout.take().expect("piped"));
    let mut same = Vec::with_capacity(seeds.len());
    for (scenario, seed, digest) in seeds {
        let task = Task {
            scenario: schema::to_toml(&plan.scenarios[*scenario]),
            seed: seed.0,
            world: plan.world,
            defects: plan.defects.iter().map(|d| d.id().to_owned()).collect(),
        };
        let line = serde_json::to_string(&task).expect("a task is JSON");
        writeln!(to, "{line}").and_then(|()| to.flush()).map_err(failed)?;
        let mut answer = String::new();
        from.read_line(&mut answer).map_err(failed)?;
        same.push(answer.trim() == format!("{digest:016x}"));
    }
    drop(to);
    child.wait().map_err(failed)?;
    Ok(same)
}

/// The fresh process: reads tasks, answers digests.
///
/// # Errors
/// If a line is not a task.
pub fn work() -> miette::Result<()> {
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| miette::miette!("{e}"))?;
        let task: Task = serde_json::from_str(&line).map_err(|e| miette::miette!("not a task: {e}"))?;
        let scenario = schema::parse("the scenario to recheck", &task.scenario)?;
        let mut defects = Defects::NONE;
        for id in &task.defects {
            defects = defects.with(id.parse::<Defect>().map_err(|e| miette::miette!("{e}"))?);
        }
        let outcome = run_seed(&scenario, task.seed, &Options { world: task.world, defects, ..Options::default() });
        println!("{:016x}", outcome.digest);
    }
    Ok(())
}
