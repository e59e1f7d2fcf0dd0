//! `summary.md`: goes straight into a CI job summary.

use crate::recap::Recap;
use crate::record::{RunRecord, ScenarioRecord, Verdict};
use crate::text::{self, count, number, time};
use crate::verdict::{self, permitted, sentence, unmet};
use std::fmt::Write;

/// The summary.
pub fn summary(run: &RunRecord) -> String {
    let mut md = String::new();
    let seeds: u64 = run.scenarios.iter().map(|s| s.seeds.len() as u64).sum();
    let verdict = word(run.verdict());
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
        match run.interrupted {
            Some(_) => ", interrupted",
            None if run.cut_short => ", cut short",
            None => "",
        }
    );
    if let Some(recap) = Recap::of(run) {
        let _ = writeln!(md, "{}:\n", recap.head());
        for l in &recap.lines {
            let shown = l.replay.as_ref().map_or(String::new(), |r| format!(" `{r}`"));
            let _ = writeln!(
                md,
                "- **{}** in {} of {} ({}): {}{shown}",
                l.check,
                count(l.seeds, "seed"),
                l.scenarios.join(", "),
                l.kind,
                l.example
            );
        }
        md.push('\n');
    }
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
    md.push_str(&told(run));
    for s in run.scenarios.iter().filter(|s| s.verdict != Verdict::Held) {
        let _ = writeln!(md, "\n### {} · {}\n", s.name, s.verdict.word());
        if matches!(s.verdict, Verdict::NotRun | Verdict::Nondeterministic) {
            let _ = writeln!(md, "- {}", sentence(s));
        }
        for f in &s.failures {
            let _ =
                writeln!(md, "- seed {} of {}: **{}** {} `{}`", f.index, s.seeds.len(), f.check, f.message, f.replay);
        }
        if run.is_whole() && s.verdict != Verdict::NotRun {
            for line in unmet(s) {
                let _ = writeln!(md, "- not shown: {line}");
            }
        }
    }
    md
}

/// The word, in bold if it is nothing to be content with.
fn word(verdict: Verdict) -> String {
    match verdict {
        Verdict::Held => verdict.word().to_owned(),
        _ => format!("**{}**", verdict.word()),
    }
}

/// What was permitted, what became of faults, and how often checks could judge: folded, because it is long.
fn told(run: &RunRecord) -> String {
    let mut md = String::new();
    let fold = |md: &mut String, head: &str, body: &str| {
        let _ = writeln!(md, "\n<details><summary>{head}</summary>\n\n{body}\n</details>");
    };
    let mut lines = String::new();
    for (i, s) in run.scenarios.iter().enumerate() {
        let permitted = permitted(s);
        if !permitted.is_empty() {
            let _ = writeln!(lines, "- {}: {}", run.title(i), verdict::in_words(&permitted));
        }
    }
    if !lines.is_empty() {
        let _ = writeln!(md, "\nPermitted by what happened, and no violation:\n\n{lines}");
    }
    let faults = run.scenarios.iter().enumerate().flat_map(|(i, s)| fault_rows(run.title(i), s));
    let faults: Vec<Vec<String>> = faults.collect();
    if !faults.is_empty() {
        fold(&mut md, "What became of faults", &text::markdown(&FAULTS, 2, faults));
    }
    let total: Vec<Vec<String>> = verdict::armed_in_all(run)
        .into_iter()
        .map(|(check, n, scenarios)| vec![check, verdict::judged(n), format!("{scenarios} of {}", run.scenarios.len())])
        .collect();
    if !total.is_empty() {
        let mut body = text::markdown(&["check", "judged", "in scenarios"], 1, total);
        let named = |(i, s): (usize, &ScenarioRecord)| {
            let title = run.title(i).to_owned();
            let checks = verdict::armed(s).into_iter().filter(|(check, _)| verdict::names(s, check));
            checks.map(move |(check, n)| vec![title.clone(), check, verdict::judged(n)]).collect::<Vec<_>>()
        };
        let named: Vec<Vec<String>> = run.scenarios.iter().enumerate().flat_map(named).collect();
        if !named.is_empty() {
            body.push_str("\nChecks that scenarios name:\n\n");
            body.push_str(&text::markdown(&["scenario", "check", "judged"], 2, named));
        }
        fold(&mut md, "How often each check judged", &body);
    }
    md
}

/// The columns of what became of faults.
pub(crate) const FAULTS: [&str; 7] = ["scenario", "fault", "due", "fired", "in effect", "seeds", "why not"];

/// A scenario's faults as rows.
pub(crate) fn fault_rows(title: &str, s: &ScenarioRecord) -> Vec<Vec<String>> {
    let row = |f: &crate::record::FaultRecord| {
        let on: Vec<String> = f.on.iter().map(|(host, n)| format!("{host} {n}")).collect();
        let on = if on.is_empty() { String::new() } else { format!(" ({})", on.join(", ")) };
        vec![
            title.to_owned(),
            f.fault.clone(),
            number(f.due),
            number(f.fired),
            format!("{}{on}", number(f.in_effect)),
            format!("{} of {}", f.seeds, s.seeds.len()),
            verdict::reasons(f).unwrap_or_default(),
        ]
    };
    s.faults.iter().map(row).collect()
}

fn row(title: &str, s: &ScenarioRecord) -> Vec<String> {
    let latency = |pick: fn(&crate::record::Latency) -> u64| s.response.map_or("-".to_owned(), |l| time(pick(&l)));
    let seen = s.required_marks.iter().filter(|m| s.marks.contains_key(*m)).count();
    let o = &s.operations;
    vec![
        word(s.verdict),
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
