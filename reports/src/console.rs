//! What the terminal shows of a run. Colour only where it is wanted; the words stand without it.

use crate::junit::missing;
use crate::record::{RunRecord, ScenarioRecord, Verdict};
use crate::text::{count, time};
use std::fmt::Write;

/// How to paint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paint {
    /// Whether ANSI colours are wanted.
    pub colour: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The lines of one scenario.
pub fn scenario(s: &ScenarioRecord, paint: Paint) -> String {
    let mut text = String::new();
    let word = match s.verdict {
        Verdict::Held => paint.with("32", "ok   "),
        Verdict::Unseen => paint.with("33", "UNSEEN"),
        Verdict::Violated => paint.with("31;1", "FAIL "),
        Verdict::Nondeterministic => paint.with("31;1", "NONDET"),
    };
    let seconds = s.wall_ns as f64 / 1e9;
    let factor = s.virtual_ns as f64 / s.wall_ns.max(1) as f64;
    let seen = s.required_marks.iter().filter(|m| s.marks.contains_key(*m)).count();
    let wanted = s.expected.iter().filter(|c| s.findings.contains_key(*c)).count();
    let _ = write!(
        text,
        "  {word} {:<38} {:>5} seeds {seconds:>6.1}s {factor:>6.0}x virtual   sometimes {seen}/{}",
        s.name,
        s.seeds.len(),
        s.required_marks.len()
    );
    if !s.expected.is_empty() {
        let _ = write!(text, "   hazards {wanted}/{}", s.expected.len());
    }
    text.push('\n');
    if let Some(groups) = s.groups.as_ref().filter(|g| g.rebalances > 0) {
        let _ = writeln!(text, "        {}", crate::groups::line(groups));
    }
    if let Some(services) = &s.services {
        let _ = writeln!(text, "        {}", crate::services::line(services));
    }
    for f in &s.failures {
        let _ = writeln!(text, "        seed {} of {}  ({})", f.index, s.seeds.len(), f.seed);
        let _ = writeln!(text, "        {}  {}  at {}", paint.with("31", &f.check), f.message, time(f.at_ns));
        if let Some(shrunk) = &f.shrunk {
            let _ = writeln!(text, "        shrunk {shrunk}");
        }
        let _ = writeln!(text, "        replay: {}", f.replay);
        let _ = writeln!(text, "        story:  {}/index.html", f.folder);
    }
    let missing = missing(s);
    if !missing.is_empty() {
        let _ = writeln!(text, "        never seen: {}", missing.join(", "));
    }
    text
}

/// The last lines of a run.
pub fn closing(run: &RunRecord, folder: &str, paint: Paint) -> String {
    let mut text = String::new();
    if let Some((all, same)) = run.rechecked {
        let line = format!("determinism {same}/{all} rechecked in a fresh process");
        let _ = writeln!(text, "  {}", if same == all { line } else { paint.with("31;1", &line) });
    }
    let seeds: usize = run.scenarios.iter().map(|s| s.seeds.len()).sum();
    let events: u64 = run.scenarios.iter().map(|s| s.events).sum();
    let held = run.scenarios.iter().filter(|s| s.verdict == Verdict::Held).count();
    let _ = writeln!(
        text,
        "  {held}/{} held · {} · {:.1} s · {:.0} seeds/s · {:.1} M events",
        count(run.scenarios.len() as u64, "scenario"),
        count(seeds as u64, "seed"),
        run.wall_seconds,
        seeds as f64 / run.wall_seconds.max(1e-9),
        events as f64 / 1e6
    );
    let _ = writeln!(text, "  report: {folder}/index.html");
    text
}
