//! A comparison of variants that ran under the same seeds: what each lost, and what it cost.

use crate::charts::{KneePoint, KneeSeries};
use crate::record::{RunRecord, ScenarioRecord};
use crate::text::{self, number, time};
use maud::{Markup, html};

/// The columns of the table, after the variant's number and name.
const COLUMNS: [&str; 14] = [
    "verdict",
    "sends",
    "acknowledged",
    "goodput/s",
    "lost",
    "twice",
    "disorder",
    "p50",
    "p99",
    "p99.9",
    "max",
    "unavailable",
    "recovery",
    "longest outage",
];

fn figures(s: &ScenarioRecord) -> [String; 14] {
    let latency = |pick: fn(&crate::record::Latency) -> u64| s.response.map_or("-".to_owned(), |l| time(pick(&l)));
    let (a, o) = (&s.availability, &s.operations);
    [
        s.verdict.word().to_owned(),
        number(o.sends),
        number(o.acknowledged),
        // acks=0 is acknowledged by nobody.
        if o.acknowledged == 0 { "-".to_owned() } else { number(goodput(s)) },
        number(o.lost + o.silently_lost),
        number(o.duplicates),
        number(disorder(s)),
        latency(|l| l.p50),
        latency(|l| l.p99),
        latency(|l| l.p999),
        latency(|l| l.max),
        format!("{:.2}%", a.unavailable_ns as f64 * 100.0 / a.observed_ns.max(1) as f64),
        a.unavailable_ns.checked_div(a.outages).map_or("-".to_owned(), time),
        if a.outages == 0 { "none".to_owned() } else { time(a.longest_ns) },
    ]
}

/// Records of one producer that stand in another order than they were sent, permitted or not.
pub fn disorder(s: &ScenarioRecord) -> u64 {
    found(s, &["nonmonotonic-send", "int-nonmonotonic-send"])
}

/// Findings of some checks, permitted or not.
pub(crate) fn found(s: &ScenarioRecord, checks: &[&str]) -> u64 {
    let found = checks.iter().filter_map(|check| s.findings.get(*check));
    found.map(|n| n.violations + n.permitted.values().sum::<u64>()).sum()
}

/// Records acknowledged for each second of hardship.
pub fn goodput(s: &ScenarioRecord) -> u64 {
    let seconds = s.availability.hardship_ns as f64 / 1e9;
    if seconds > 0.0 { (s.operations.acknowledged as f64 / seconds).round() as u64 } else { 0 }
}

const NOTE: &str = "Paired: every variant ran under the same seeds. Response time from the intended send time, virtual, \
                    in a modelled cluster; lost, twice and disorder count what the setting permits, too, and what acks=0 \
                    lost without having promised anything. Unavailable: stretches of half a second and more in which something waited and nothing was acknowledged, as a share of \
                    the hardship observed; recovery: how long one lasted on average. Goodput: acknowledged for each \
                    second of hardship, those acknowledged after it included.";

/// The table as a page's part.
pub(crate) fn table(run: &RunRecord) -> Markup {
    html! {
        div.scroll.wide { table {
            thead { tr { th { "#" } th { "variant" } @for c in COLUMNS { th { (c) } } } }
            tbody { @for (i, s) in run.scenarios.iter().enumerate() { tr {
                td { (i + 1) } td { a href={ "#" (s.name) } { (run.title(i)) } }
                @for value in figures(s) { td { (value) } }
            } } }
        } }
        p.small { (NOTE) }
        (crate::services::table(run))
    }
}

/// The table as Markdown.
pub(crate) fn markdown(run: &RunRecord) -> String {
    let head: Vec<&str> = ["#", "variant"].into_iter().chain(COLUMNS).collect();
    let row = |(i, s): (usize, &ScenarioRecord)| {
        [(i + 1).to_string(), run.title(i).to_owned()].into_iter().chain(figures(s)).collect()
    };
    let mut md = text::markdown(&head, 2, run.scenarios.iter().enumerate().map(row));
    md.push_str(&format!("\n{NOTE}\n"));
    for series in knees(run) {
        md.push_str(&format!("\nLoad: {}\n", series.in_words()));
    }
    md.push_str(&crate::services::markdown(run));
    md
}

/// The variants as curves of latency against offered load: those that differ in their load alone are one. Nothing if
/// the load does not vary.
pub fn knees(run: &RunRecord) -> Vec<KneeSeries> {
    let mut series: Vec<KneeSeries> = Vec::new();
    for (i, s) in run.scenarios.iter().enumerate() {
        let (Some(offered), Some(l)) = (&s.offered, &s.response) else { continue };
        let words = run.title(i).split(' ').filter(|w| !w.starts_with("rate="));
        let label = words.collect::<Vec<_>>().join(" ");
        let point = KneePoint { per_second: offered.per_second, p50: l.p50, p99: l.p99 };
        match series.iter_mut().find(|x| x.label == label) {
            Some(x) => x.points.push(point),
            None => {
                let capacity = Some((offered.capacity, offered.limited_by.clone()));
                series.push(KneeSeries { label, points: vec![point], capacity });
            }
        }
    }
    series.iter_mut().for_each(|s| s.points.sort_by_key(|p| p.per_second));
    series.retain(|s| s.points.len() > 2 && s.points[0].per_second < s.points[s.points.len() - 1].per_second);
    series
}

/// The table for a terminal.
pub fn console(run: &RunRecord) -> String {
    let row = |(i, s): (usize, &ScenarioRecord)| (run.title(i).to_owned(), figures(s));
    let rows: Vec<(String, [String; 14])> = run.scenarios.iter().enumerate().map(row).collect();
    let mut out = text::table("variant", &COLUMNS, &rows);
    for (i, s) in run.scenarios.iter().enumerate() {
        if let Some(remark) = crate::verdict::remark(s) {
            out.push_str(&format!("  {}: {}, {remark}\n", run.title(i), s.verdict.word()));
        }
    }
    out.push_str(&crate::services::console(run));
    for series in knees(run) {
        out.push_str(&format!("  load: {}\n", series.in_words()));
    }
    out
}
