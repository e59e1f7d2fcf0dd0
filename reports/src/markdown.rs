//! `summary.md`: goes straight into a CI job summary.

use crate::junit::missing;
use crate::record::{RunRecord, ScenarioRecord, Verdict};
use crate::text::{self, count, number, time};
use std::fmt::Write;

/// The summary.
pub fn summary(run: &RunRecord) -> String {
    let mut md = String::new();
    let seeds: u64 = run.scenarios.iter().map(|s| s.seeds.len() as u64).sum();
    let verdict = match run.verdict() {
        Verdict::Held => "held",
        Verdict::Violated => "**violated**",
        Verdict::Nondeterministic => "**nondeterministic**",
        Verdict::Unseen => "held, but not everything that must be seen was",
    };
    let _ = writeln!(md, "## klamm {} · {} · {verdict}\n", run.klamm, run.suite);
    let _ = writeln!(
        md,
        "{}, {}, master `{}`, world `{}`, {:.1} s on the wall with -j {}{}.\n",
        count(run.scenarios.len() as u64, "scenario"),
        count(seeds, "seed"),
        run.master,
        run.world,
        run.wall_seconds,
        run.jobs,
        if run.cut_short { ", cut short" } else { "" }
    );
    if !run.defects.is_empty() {
        let _ = writeln!(md, "Defects switched on: {}.\n", run.defects.join(", "));
    }
    if !run.variants.is_empty() {
        md.push_str(&crate::compare::markdown(run));
        md.push('\n');
    }
    let head = ["", "scenario", "seeds", "sends", "acknowledged", "lost", "twice", "p50", "p99", "marks"];
    let rows = run.scenarios.iter().enumerate().map(|(i, s)| row(run.title(i), s));
    md.push_str(&text::markdown(&head, 2, rows));
    md.push_str(
        "\nTimes are virtual: response from the intended send time, all seeds together, in a modelled \
                 cluster. Lost and twice count permitted findings too.\n",
    );
    md.push_str(&crate::groups::markdown(run));
    if run.variants.is_empty() {
        md.push_str(&crate::services::markdown(run));
    }
    for s in run.scenarios.iter().filter(|s| s.verdict != Verdict::Held) {
        let _ = writeln!(md, "\n### {}\n", s.name);
        for f in &s.failures {
            let _ =
                writeln!(md, "- seed {} of {}: **{}** {} `{}`", f.index, s.seeds.len(), f.check, f.message, f.replay);
        }
        let missing = missing(s);
        if !missing.is_empty() {
            let _ = writeln!(md, "- never seen: {}", missing.join(", "));
        }
    }
    md
}

fn row(title: &str, s: &ScenarioRecord) -> Vec<String> {
    let mark = match s.verdict {
        Verdict::Held => "ok",
        Verdict::Unseen => "unseen",
        Verdict::Violated | Verdict::Nondeterministic => "**FAIL**",
    };
    let latency = |pick: fn(&crate::record::Latency) -> u64| s.response.map_or("-".to_owned(), |l| time(pick(&l)));
    let seen = s.required_marks.iter().filter(|m| s.marks.contains_key(*m)).count();
    let o = &s.operations;
    vec![
        mark.to_owned(),
        title.to_owned(),
        s.seeds.len().to_string(),
        number(o.sends),
        number(o.acknowledged),
        number(o.lost),
        number(o.duplicates),
        latency(|l| l.p50),
        latency(|l| l.p99),
        format!("{seen}/{}", s.required_marks.len()),
    ]
}
