//! A comparison of variants that ran under the same seeds: what each lost, and what it cost.

use crate::record::{RunRecord, ScenarioRecord};
use crate::text::{self, number, time};
use maud::{Markup, html};
use std::fmt::Write;

/// The columns of the table, after the variant's number and name.
const COLUMNS: [&str; 10] =
    ["sends", "acknowledged", "lost", "twice", "p50", "p99", "p99.9", "max", "unavailable", "longest outage"];

fn figures(s: &ScenarioRecord) -> [String; 10] {
    let latency = |pick: fn(&crate::record::Latency) -> u64| s.response.map_or("-".to_owned(), |l| time(pick(&l)));
    let a = &s.availability;
    [
        number(s.operations.sends),
        number(s.operations.acknowledged),
        number(s.operations.lost + s.operations.silently_lost),
        number(s.operations.duplicates),
        latency(|l| l.p50),
        latency(|l| l.p99),
        latency(|l| l.p999),
        latency(|l| l.max),
        format!("{:.2}%", a.unavailable_ns as f64 * 100.0 / a.observed_ns.max(1) as f64),
        if a.outages == 0 { "none".to_owned() } else { time(a.longest_ns) },
    ]
}

const NOTE: &str = "Paired: every variant ran under the same seeds. Response time from the intended send time, virtual, \
                    in a modelled cluster; lost and twice count what the setting permits, too, and what acks=0 \
                    lost without having promised anything. Unavailable: stretches \
                    of half a second and more in which something waited and nothing was acknowledged, as a share of \
                    the hardship observed.";

/// The table as a page's part.
pub(crate) fn table(run: &RunRecord) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th { "#" } th { "variant" } @for c in COLUMNS { th { (c) } } } }
            tbody { @for (i, s) in run.scenarios.iter().enumerate() { tr {
                td { (i + 1) } td { a href={ "#" (s.name) } { (run.title(i)) } }
                @for value in figures(s) { td { (value) } }
            } } }
        } }
        p.small { (NOTE) }
    }
}

/// The table as Markdown.
pub(crate) fn markdown(run: &RunRecord) -> String {
    let mut md = String::new();
    let _ = writeln!(md, "| # | variant | {} |", COLUMNS.join(" | "));
    let _ = writeln!(md, "|--:|---|{}", "--:|".repeat(COLUMNS.len()));
    for (i, s) in run.scenarios.iter().enumerate() {
        let _ = writeln!(md, "| {} | {} | {} |", i + 1, run.title(i), figures(s).join(" | "));
    }
    let _ = writeln!(md, "\n{NOTE}");
    md
}

/// The table for a terminal.
pub fn console(run: &RunRecord) -> String {
    let row = |(i, s): (usize, &ScenarioRecord)| (run.title(i).to_owned(), figures(s));
    let rows: Vec<(String, [String; 10])> = run.scenarios.iter().enumerate().map(row).collect();
    text::table("variant", COLUMNS, &rows)
}
