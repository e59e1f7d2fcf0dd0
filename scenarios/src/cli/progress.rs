//! How a campaign shows that it moves: a bar on a terminal, a line now and then elsewhere, or JSON.

use crate::artefacts::with_paths;
use crate::campaign::{Plan, Progress};
use crate::seeds::Seed;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use klamm_model::checks::Check;
use klamm_reports::console::{self, Paint};
use klamm_reports::record::ScenarioRecord;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two lines when the output is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The command line that runs the same seeds again.
pub(super) fn again(plan: &Plan) -> String {
    match plan.shard {
        (1, 1) => plan.again(),
        (k, n) => format!("{} --shard {k}/{n}", plan.again()),
    }
}

/// For people.
pub struct Console {
    bar: ProgressBar,
    paint: Paint,
    terminal: bool,
    started: Instant,
    last_line: Instant,
    folder: PathBuf,
    whole: bool,
}

impl Console {
    /// Prints the head of the run, repro line included.
    pub fn new(plan: &Plan, paint: Paint) -> Console {
        let plural = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let seeds = plan.time.map_or(plural(plan.seeds, "seed"), |t| format!("{} s", t.as_secs()));
        println!(
            "klamm {} · {} · {} x {seeds} · {} · {} · -j {}",
            env!("CARGO_PKG_VERSION"),
            plan.suite,
            plural(plan.scenarios.len() as u64, if plan.paired.is_some() { "variant" } else { "scenario" }),
            plan.only.map_or(format!("master {}", plan.master), |seed| format!("seed {seed}")),
            plan.world,
            plan.jobs
        );
        println!("  again: {}", again(plan));
        for defect in plan.defects.iter() {
            println!("  defect: {defect} ({}): {}", defect.reference(), defect.wrong_rule());
        }
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new(plan.seeds * plan.scenarios.len() as u64);
        if terminal {
            let style = ProgressStyle::with_template("  {bar:32} {pos}/{len} seeds  {per_sec}  eta {eta}  {msg}");
            bar.set_style(style.expect("a valid template"));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let now = Instant::now();
        Console { bar, paint, terminal, started: now, last_line: now, folder: PathBuf::new(), whole: plan.is_whole() }
    }

    fn line(&self, text: &str) {
        if self.terminal {
            self.bar.suspend(|| print!("{text}"));
        } else {
            print!("{text}");
        }
    }
}

impl Progress for Console {
    fn begun(&mut self, folder: &Path) {
        self.folder = folder.to_owned();
    }
    fn seed(&mut self, done: u64, total: u64, failures: u64, virtual_ns: u64) {
        let factor = virtual_ns as f64 / self.started.elapsed().as_nanos().max(1) as f64;
        if self.terminal {
            self.bar.set_length(total);
            self.bar.set_position(done);
            self.bar.set_message(format!("{failures} failed  {factor:.0}x virtual"));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            println!("  ... {done}/{total} seeds, {failures} failed, {factor:.0}x virtual");
        }
    }
    fn scenario(&mut self, record: &ScenarioRecord) {
        // The record names folders from the run's own; who reads a console stands where the command was run.
        let record = with_paths(record, &self.folder);
        self.line(&console::scenario(&record, self.whole, self.paint));
    }
    fn failing(&mut self, scenario: &str, seed: Seed, check: Check) {
        self.line(&format!("  ... {scenario}, seed {seed}: {check}; recording and shrinking\n"));
    }
    fn given_up(&mut self, scenario: &str, seed: Seed, check: Check) {
        self.line(&format!(
            "  {scenario}, seed {seed}: {check}; its folder could not be finished: the seed counts as not run\n"
        ));
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// For programs: one object per line.
pub struct Json(());

impl Json {
    /// Prints the head of the run.
    pub fn new(plan: &Plan) -> Json {
        let defects: Vec<&str> = plan.defects.iter().map(|d| d.id()).collect();
        println!("{}", serde_json::json!({ "again": again(plan), "defects": defects }));
        Json(())
    }
}

impl Progress for Json {
    fn begun(&mut self, folder: &Path) {
        println!("{}", serde_json::json!({ "folder": folder.display().to_string() }));
    }
    fn seed(&mut self, _done: u64, _total: u64, _failures: u64, _virtual_ns: u64) {}
    fn scenario(&mut self, record: &ScenarioRecord) {
        let sentence = klamm_reports::verdict::sentence(record);
        println!("{}", serde_json::json!({ "scenario": record, "sentence": sentence }));
    }
    fn failing(&mut self, scenario: &str, seed: Seed, check: Check) {
        println!("{}", serde_json::json!({ "failing": scenario, "seed": seed.to_string(), "check": check }));
    }
    fn given_up(&mut self, scenario: &str, seed: Seed, check: Check) {
        println!("{}", serde_json::json!({ "given-up": scenario, "seed": seed.to_string(), "check": check }));
    }
}
