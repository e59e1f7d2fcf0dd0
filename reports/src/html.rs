//! `index.html`: one self-contained file, no network, readable at phone width.

use crate::markdown::{FAULTS, fault_rows};
use crate::recap::Recap;
use crate::record::{RunRecord, ScenarioRecord, Verdict};
use crate::text::{count, number, time};
use crate::verdict::{self, in_words, permitted, sentence, unmet};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Charts of one scenario as SVG text, with a caption each.
pub type Charts = Vec<(String, String)>;

const STYLE: &str = "
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem;color:#282c34;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem;border-top:1px solid #e1e4e8;padding-top:1.2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #e1e4e8}td:first-child,th:first-child,
td:nth-child(2),th:nth-child(2){text-align:left}td:nth-child(2){min-width:8rem}.scroll{overflow-x:auto}.wide{font-size:.82rem}.wide td,.wide th{padding:.25rem .35rem}
.named td:first-child{min-width:11rem}.named td:nth-child(2),.named th:nth-child(2){min-width:0;text-align:right}
.story td{vertical-align:top}.story td:nth-child(2){min-width:0}.story td:nth-child(3){min-width:16rem;overflow-wrap:anywhere}
.hazards td,.hazards th{text-align:left;vertical-align:top;min-width:8rem}.hazards td:nth-child(n+3){min-width:16rem;overflow-wrap:anywhere}
.ok{color:#116329}.bad{color:#b3261e;font-weight:600}
.warn{color:#8a5a00;font-weight:600}figure{margin:1rem 0}figure svg{max-width:100%;height:auto}
figcaption,.small{color:#57606a;font-size:.85rem}code,pre{font:13px/1.5 ui-monospace,monospace;background:#f6f8fa;
border-radius:4px;padding:.1rem .3rem}pre{padding:.7rem;overflow-x:auto;white-space:pre-wrap}
figure svg{background:#fff}
@media (prefers-color-scheme:dark){body{color:#d7dae0;background:#16181d}a{color:#79b8ff}h2,td,th{border-color:#333842}
code,pre{background:#22262e}.ok{color:#56d364}.bad{color:#ff7b72}.warn{color:#e3b341}figcaption,.small{color:#9aa4b2}
figure svg{border-radius:6px}}
@media (max-width:720px){figure{overflow-x:auto}figure svg{max-width:none;width:46rem}}
@media print{body{max-width:none;padding:0}figure,tr{break-inside:avoid}h2{break-after:avoid}a{color:inherit}
.scroll{overflow:visible;font-size:.72rem}.wide{font-size:.57rem}td,th,.wide td,.wide th{padding:.15rem .2rem}
td:nth-child(2),.named td:first-child{min-width:6rem}}
";

pub(crate) fn page(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
    .into_string()
}

pub(crate) fn word(v: Verdict) -> Markup {
    let class = match v {
        Verdict::Held => "ok",
        Verdict::NotShown | Verdict::NotRun => "warn",
        Verdict::Violated | Verdict::Nondeterministic => "bad",
    };
    html! { span class=(class) { (v.word()) } }
}

/// What went wrong, once, the worst first.
fn recap(run: &RunRecord) -> Markup {
    let Some(recap) = Recap::of(run) else { return html! {} };
    html! {
        p.bad { (recap.head()) }
        div.scroll.hazards { table {
            thead { tr { th { "check" } th { "scenarios" } th { "found" } th { "seeds" } th { "kept" } } }
            tbody { @for l in &recap.lines { tr {
                td { (l.check) } td { (l.scenarios.join(", ")) } td { (l.example) " (" (l.kind) ")" } td { (l.seeds) }
                td { @if let Some(folder) = &l.folder { a href={ (folder) "/index.html" } { (folder) } } }
            } } }
        } }
    }
}

/// The page of a run. `charts` has an entry for each scenario, in order; `comparison` belongs to all of them.
pub fn run_page(run: &RunRecord, comparison: &Charts, charts: &[Charts]) -> String {
    let seeds: usize = run.scenarios.iter().map(|s| s.seeds.len()).sum();
    let body = html! {
        h1 { "klamm · " (run.suite) " · " (word(run.verdict())) }
        p {
            (count(run.scenarios.len() as u64, if run.variants.is_empty() { "scenario" } else { "variant" })) ", "
            (count(seeds as u64, "seed")) ", master " code { (run.master) }
            ", world " code { (run.world) } ", " (format!("{:.1}", run.wall_seconds)) " s on the wall, -j " (run.jobs)
            @if run.interrupted.is_some() { ", interrupted" } @else if run.cut_short { ", cut short" } "."
            @if let Some((all, same)) = run.rechecked { " Determinism: " (same) "/" (all) " rechecked in a fresh process." }
        }
        @if !run.defects.is_empty() { p.warn { "Defects switched on: " (run.defects.join(", ")) } }
        (recap(run))
        @if !run.variants.is_empty() { (crate::compare::table(run)) }
        (figures(comparison))
        div.scroll { table {
            thead { tr {
                th {} th { "scenario" } th { "seeds" } th { "sends" } th { "acknowledged" } th { "lost" }
                th { "twice" } th { "p50" } th { "p99" } th { "max" } th { "marks" }
            } }
            tbody { @for (i, s) in run.scenarios.iter().enumerate() { (row(run.title(i), s)) } }
        } }
        p.small {
            "All times are virtual, in a modelled cluster: response time from the intended send time, open loop, all \
             seeds together. Lost and twice count what the setting permits, too."
        }
        @let total = verdict::armed_in_all(run);
        @if !total.is_empty() {
            details {
                summary { "How often each check judged, in all scenarios together" }
                div.scroll.named { table {
                    thead { tr { th { "check" } th { "judged" } th { "in scenarios" } } }
                    tbody { @for (check, n, scenarios) in &total { tr {
                        td { (check) } td { (verdict::judged(*n)) } td { (scenarios) " of " (run.scenarios.len()) }
                    } } }
                } }
            }
        }
        (crate::groups::table(run))
        @if run.variants.is_empty() { (crate::services::table(run)) }
        @for (i, (s, charts)) in run.scenarios.iter().zip(charts).enumerate() { (scenario(run.title(i), s, run.is_whole(), charts)) }
    };
    page(&format!("klamm {}", run.suite), &body)
}

fn figures(charts: &Charts) -> Markup {
    html! { @for (caption, svg) in charts { figure { (PreEscaped(svg)) figcaption { (caption) } } } }
}

fn row(title: &str, s: &ScenarioRecord) -> Markup {
    let latency = |pick: fn(&crate::record::Latency) -> u64| s.response.map_or("-".to_owned(), |l| time(pick(&l)));
    let seen = s.required_marks.iter().filter(|m| s.marks.contains_key(*m)).count();
    html! { tr {
        td { (word(s.verdict)) }
        td { a href={ "#" (s.name) } { (title) } }
        td { (s.seeds.len()) } td { (number(s.operations.sends)) } td { (number(s.operations.acknowledged)) }
        td { (number(s.operations.lost)) } td { (number(s.operations.duplicates)) }
        td { (latency(|l| l.p50)) } td { (latency(|l| l.p99)) } td { (latency(|l| l.max)) }
        td { (seen) "/" (s.required_marks.len()) }
    } }
}

fn scenario(title: &str, s: &ScenarioRecord, whole: bool, charts: &Charts) -> Markup {
    html! {
        h2 id=(s.name) { (title) " · " (word(s.verdict)) }
        p { (s.summary) }
        @if !s.promise.is_empty() { p { b { "Promise: " } (s.promise) } }
        @let permitted = permitted(s);
        @if !permitted.is_empty() { p.warn { (in_words(&permitted)) } }
        @if s.verdict == Verdict::NotRun || s.verdict == Verdict::Nondeterministic { p.warn { (sentence(s)) } }
        @for f in &s.failures {
            p.bad { (f.check) ": " (f.message) }
            @if let Some(shrunk) = &f.shrunk { p { "Shrunk " (shrunk) } }
            pre { (f.replay) }
            p { a href={ (f.folder) "/index.html" } { "the story of " (f.id) } }
        }
        @if whole && s.verdict != Verdict::NotRun { @for line in unmet(s) { p.warn { "Not shown: " (line) } } }
        @if !s.findings.is_empty() {
            div.scroll { table {
                thead { tr { th { "found" } th { "permitted by" } th { "times" } th { "violations" } th { "seeds" } } }
                tbody { @for (check, n) in &s.findings { tr {
                    td { (check) }
                    td { (n.permitted.keys().cloned().collect::<Vec<_>>().join(", ")) }
                    td { (number(n.permitted.values().sum::<u64>())) }
                    td { (number(n.violations)) }
                    td { (n.seeds) }
                } } }
            } }
        }
        @if !s.faults.is_empty() {
            div.scroll.hazards { table {
                thead { tr { @for head in &FAULTS[1..] { th { (head) } } } }
                tbody { @for row in fault_rows(title, s) { tr { @for cell in &row[1..] { td { (cell) } } } } }
            } }
        }
        @let armed = verdict::armed(s);
        @if !armed.is_empty() {
            details {
                summary { "How often each check judged: " (count(armed.iter().filter(|a| a.1 > 0).count() as u64, "check"))
                    " did, " (number(armed.iter().map(|a| a.1).sum::<u64>())) " times in all" }
                div.scroll.named { table {
                    thead { tr { th { "check" } th { "judged" } } }
                    tbody { @for (check, n) in &armed { tr { td { (check) } td { (verdict::judged(*n)) } } } }
                } }
            }
        }
        p.small { "Marks: " (s.marks.iter().map(|(mark, n)| format!("{mark} {n}")).collect::<Vec<_>>().join(" · ")) }
        (figures(charts))
    }
}

/// What a failure's page says.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The failure's id.
    pub id: String,
    /// Its scenario.
    pub scenario: String,
    /// Its seed, in hexadecimal.
    pub seed: String,
    /// Defects switched on.
    pub defects: Vec<String>,
    /// The findings, the first being the verdict: (check, when, sentence).
    pub findings: Vec<(String, String, String)>,
    /// The faults that were fired: (when, what).
    pub faults: Vec<(String, String)>,
    /// The witness: (when, where, what), in order.
    pub witness: Vec<(String, String, String)>,
    /// How to see it again.
    pub replay: String,
    /// Charts.
    pub charts: Charts,
}

/// The page of a failure.
pub fn failure_page(story: &Story) -> String {
    let table = |head: [&str; 3], rows: &[(String, String, String)]| {
        html! { div.scroll.story { table {
            thead { tr { @for h in head { th style="text-align:left" { (h) } } } }
            tbody { @for r in rows { tr {
                td style="white-space:nowrap" { (r.0) } td { (r.1) } td style="text-align:left" { (r.2) }
            } } }
        } } }
    };
    let body = html! {
        h1 { (story.id) " · " (story.scenario) }
        p { "seed " code { (story.seed) } }
        @if !story.defects.is_empty() { p.warn { "Defects switched on: " (story.defects.join(", ")) } }
        pre { (story.replay) }
        h2 { "What was found" }
        (table(["check", "when", ""], &story.findings))
        h2 { "What was done to the cluster" }
        div.scroll { table { tbody { @for (at, what) in &story.faults { tr { td { (at) } td { (what) } } } } } }
        h2 { "The witness" }
        (table(["when", "where", "what"], &story.witness))
        (figures(&story.charts))
    };
    page(&format!("klamm {}", story.id), &body)
}
