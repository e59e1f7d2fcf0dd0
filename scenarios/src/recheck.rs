//! Determinism, checked: seeds run again in a fresh process must give the same digest.
//!
//! A fresh process has other addresses, another hash randomisation, another environment: what differs there would
//! differ on another machine.

use crate::campaign::Plan;
use crate::interrupt::Interrupt;
use crate::run::{Options, WorldKind, run_seed};
use crate::schema;
use crate::seeds::Seed;
use klamm_model::defects::{Defect, Defects};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// The hidden subcommand of the fresh process.
pub const WORKER: &str = "recheck-worker";

#[derive(Serialize, Deserialize)]
struct Task {
    scenario: String,
    seed: u64,
    world: WorldKind,
    defects: Vec<String>,
}

/// How often is looked whether the run is to end, while the fresh process is at work.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// For each (scenario, seed, digest): whether a fresh process gets the same digest. `None` if it was interrupted.
///
/// # Errors
/// If the process cannot be started or breaks off.
pub fn compare(plan: &Plan, seeds: &[(usize, Seed, u64)], interrupt: &Interrupt) -> miette::Result<Option<Vec<bool>>> {
    let failed = |e: std::io::Error| miette::miette!("rechecking in a fresh process: {e}");
    let program = std::env::current_exe().map_err(failed)?;
    let mut child =
        Command::new(program).arg(WORKER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut to = child.stdin.take().expect("piped");
    let from = BufReader::new(child.stdout.take().expect("piped"));
    let (send, answers) = sync_channel(1);
    // It ends with the process, whose output it reads.
    std::thread::spawn(move || from.lines().try_for_each(|line| send.send(line).map_err(|_| ())));
    let mut same = Vec::with_capacity(seeds.len());
    for (scenario, seed, digest) in seeds {
        let task = Task {
            scenario: schema::to_toml(&plan.scenarios[*scenario]),
            seed: seed.0,
            world: plan.world,
            defects: plan.defects.iter().map(|d| d.id().to_owned()).collect(),
        };
        let line = serde_json::to_string(&task).expect("a task is JSON");
        let asked = writeln!(to, "{line}").and_then(|()| to.flush());
        match asked.map_or_else(|e| Err(Some(e)), |()| answer(&answers, interrupt)) {
            Ok(answer) => same.push(answer.trim() == format!("{digest:016x}")),
            Err(why) => {
                end(&mut child).map_err(failed)?;
                // A signal from a terminal ends the fresh process, too, and maybe before it is noticed here.
                std::thread::sleep(LOOK_EVERY);
                return match why {
                    _ if interrupt.stops() => Ok(None),
                    Some(e) => Err(failed(e)),
                    None => Err(miette::miette!("rechecking in a fresh process: it broke off at seed {seed}")),
                };
            }
        }
    }
    drop(to);
    child.wait().map_err(failed)?;
    Ok(Some(same))
}

/// The next line of the fresh process; an error if it broke off or the run is to end.
fn answer(
    answers: &Receiver<std::io::Result<String>>,
    interrupt: &Interrupt,
) -> std::result::Result<String, Option<std::io::Error>> {
    loop {
        match answers.recv_timeout(LOOK_EVERY) {
            Ok(line) => return line.map_err(Some),
            Err(RecvTimeoutError::Timeout) if interrupt.stops() => return Err(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(None),
        }
    }
}

fn end(child: &mut Child) -> std::io::Result<()> {
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().map(|_| ())
}

/// The fresh process: reads tasks, answers digests.
///
/// # Errors
/// If a line is not a task.
pub fn work() -> miette::Result<()> {
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| miette::miette!("{e}"))?;
        let task: Task = serde_json::from_str(&line).map_err(|e| miette::miette!("not a task: {e}"))?;
        let scenario = schema::checked("the scenario to recheck", &task.scenario)?;
        let mut defects = Defects::NONE;
        for id in &task.defects {
            defects = defects.with(id.parse::<Defect>().map_err(|e| miette::miette!("{e}"))?);
        }
        let outcome = run_seed(&scenario, task.seed, &Options { world: task.world, defects, ..Options::default() });
        println!("{:016x}", outcome.digest);
    }
    Ok(())
}
