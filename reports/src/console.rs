//! What the terminal shows of a run. Colour only where it is wanted; the words stand without it.

use crate::recap::Recap;
use crate::record::{RunRecord, ScenarioRecord, Verdict};
use crate::text::{count, time};
use crate::verdict::{self, in_words, permitted, unmet};
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

/// Causes that a recap tells of on a terminal; the page has all.
const CAUSES: usize = 12;

/// The verdict's word, padded so that names stand below each other.
fn word(verdict: Verdict, paint: Paint) -> String {
    let code = match verdict {
        Verdict::Held => "32",
        Verdict::NotShown | Verdict::NotRun => "33",
        Verdict::Violated | Verdict::Nondeterministic => "31;1",
    };
    paint.with(code, &format!("{:<9}", verdict.word()))
}

/// The lines of one scenario. Of a `whole` run what was not shown is told; a shard, or one seed again, is not blamed.
pub fn scenario(s: &ScenarioRecord, whole: bool, paint: Paint) -> String {
    let mut text = String::new();
    let word = word(s.verdict, paint);
    let seconds = s.wall_ns as f64 / 1e9;
    let factor = s.virtual_ns as f64 / s.wall_ns.max(1) as f64;
    let seen = s.required_marks.iter().filter(|m| s.marks.contains_key(*m)).count();
    let wanted = s.expected.iter().filter(|c| s.findings.contains_key(*c)).count();
    let _ = write!(
        text,
        "  {word} {:<38} {:>5} {:<5} {seconds:>6.1}s {factor:>6.0}x virtual   sometimes {seen}/{}",
        s.name,
        s.seeds.len(),
        if s.seeds.len() == 1 { "seed" } else { "seeds" },
        s.required_marks.len()
    );
    if !s.expected.is_empty() {
        let _ = write!(text, "   hazards {wanted}/{}", s.expected.len());
    }
    // What was lost stands in the line that says that it held.
    let permitted = permitted(s);
    if !permitted.is_empty() {
        let _ = write!(text, "   {}", in_words(&permitted));
    }
    text.push('\n');
    if let Some(groups) = s.groups.as_ref().filter(|g| g.rebalances > 0) {
        let _ = writeln!(text, "        {}", crate::groups::line(groups));
    }
    if let Some(services) = &s.services {
        let _ = writeln!(text, "        {}", crate::services::line(services));
    }
    if let Some(faults) = verdict::faults(s) {
        let _ = writeln!(text, "        {faults}");
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
    match s.verdict {
        Verdict::NotRun | Verdict::Nondeterministic => {
            let _ = writeln!(text, "        {}", verdict::sentence(s));
        }
        _ if whole => {
            for line in unmet(s) {
                let _ = writeln!(text, "        not shown: {line}");
            }
        }
        _ => {}
    }
    text
}

/// What went wrong, once, the worst first; nothing if nothing did. `folder` is where the run lies.
fn recap(run: &RunRecord, folder: &str, paint: Paint) -> String {
    let Some(recap) = Recap::of(run) else { return String::new() };
    let mut text = format!("\n  {}\n", paint.with("31;1", &recap.head()));
    for l in recap.lines.iter().take(CAUSES) {
        let seeds = count(l.seeds, "seed");
        let _ =
            writeln!(text, "    {}  in {seeds} of {} ({})", paint.with("31", &l.check), l.scenarios.join(", "), l.kind);
        let _ = writeln!(text, "        {}", l.example);
        if let Some(kept) = &l.folder {
            let _ = writeln!(text, "        kept: {folder}/{kept}");
        }
    }
    if recap.lines.len() > CAUSES {
        let _ = writeln!(text, "    and {} more: see the report", recap.lines.len() - CAUSES);
    }
    text.push('\n');
    text
}

/// The last lines of a run.
pub fn closing(run: &RunRecord, folder: &str, paint: Paint) -> String {
    let mut text = recap(run, folder, paint);
    if !run.defects.is_empty() {
        let _ = writeln!(text, "  defects switched on: {}", run.defects.join(", "));
    }
    if let Some((all, same)) = run.rechecked {
        let line = format!("determinism {same}/{all} rechecked in a fresh process");
        let _ = writeln!(text, "  {}", if same == all { line } else { paint.with("31;1", &line) });
    }
    let seeds: usize = run.scenarios.iter().map(|s| s.seeds.len()).sum();
    let events: u64 = run.scenarios.iter().map(|s| s.events).sum();
    let held = run.scenarios.iter().filter(|s| s.verdict == Verdict::Held).count();
    let others = Verdict::ALL[1..].iter().filter_map(|v| {
        let n = run.scenarios.iter().filter(|s| s.verdict == *v).count();
        (n > 0).then(|| format!(", {n} {}", v.word()))
    });
    let _ = writeln!(
        text,
        "  {held}/{} held{} · {} · {:.1} s · {:.0} seeds/s · {:.1} M events",
        count(run.scenarios.len() as u64, "scenario"),
        others.collect::<String>(),
        count(seeds as u64, "seed"),
        run.wall_seconds,
        seeds as f64 / run.wall_seconds.max(1e-9),
        events as f64 / 1e6
    );
    let _ = writeln!(text, "  report: {folder}/index.html");
    text
}
