//! What people read of a run, whole: console, Markdown, JUnit and pages, drawn from recorded runs in `runs/`.
//!
//! A change of a text shows here as a difference; `INSTA_UPDATE=always cargo test -p klamm-reports --test snapshots` takes it over.

use klamm_reports::audit::{self, AuditRecord};
use klamm_reports::console::{self, Paint};
use klamm_reports::figures::RunFigures;
use klamm_reports::merge::Part;
use klamm_reports::record::{RunRecord, ScenarioRecord};
use klamm_reports::verdict::Verdict;
use klamm_reports::{compare, folder, html, junit, markdown, versus};
use std::path::{Path, PathBuf};

fn runs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runs")
}

fn run(name: &str) -> (RunRecord, RunFigures) {
    folder::read_run(&runs().join(name)).unwrap()
}

fn on_console(run: &RunRecord) -> String {
    let plain = Paint { colour: false };
    let rows: String = run.scenarios.iter().map(|s| console::scenario(s, true, plain)).collect();
    format!("{rows}{}", console::closing(run, "out/RUN", plain))
}

/// A page without its style and its charts, a tag to a line.
fn outline(page: &str) -> String {
    let mut text = page.to_owned();
    for (from, to) in [("<style", "</style>"), ("<svg", "</svg>"), ("<script", "</script>")] {
        while let Some(start) = text.find(from) {
            let end = text[start..].find(to).map_or(text.len(), |n| start + n + to.len());
            text.replace_range(start..end, &format!("({})", &from[1..]));
        }
    }
    for block in
        ["h1", "h2", "p", "tr", "table", "details", "summary", "pre", "thead", "tbody", "figure", "body", "div"]
    {
        text = text.replace(&format!("<{block}>"), &format!("\n<{block}>"));
        text = text.replace(&format!("<{block} "), &format!("\n<{block} "));
    }
    text
}

macro_rules! snapshots {
    ($of:expr; $($name:expr => $text:expr),* $(,)?) => {
        $(insta::assert_snapshot!(format!("{}-{}", $of, $name), $text);)*
    };
}

/// A violation that a file asked for, a permitted loss, a fault that never took effect, and a scenario that held; a defect on.
#[test]
fn mixed() {
    let (record, _) = run("mixed");
    snapshots!("mixed";
        "console" => on_console(&record),
        "markdown" => markdown::summary(&record),
        "junit" => junit::to_xml(&record).unwrap(),
        "page" => outline(&html::run_page(&record, &vec![], &vec![vec![]; record.scenarios.len()])),
    );
}

/// What was not run is told everywhere.
#[test]
fn interrupted() {
    let (mut record, _) = run("mixed");
    record.interrupted = Some(130);
    record.cut_short = true;
    let last = record.scenarios.last_mut().unwrap();
    let (name, planned) = (last.name.clone(), last.planned);
    *last = ScenarioRecord { name, planned, verdict: Verdict::NotRun, ..ScenarioRecord::default() };
    snapshots!("interrupted";
        "console" => on_console(&record),
        "markdown" => markdown::summary(&record),
        "junit" => junit::to_xml(&record).unwrap(),
    );
}

/// A service with its latencies, its hazards and its groups.
#[test]
fn service() {
    let (record, _) = run("service");
    snapshots!("service";
        "console" => on_console(&record),
        "markdown" => markdown::summary(&record),
        "page" => outline(&html::run_page(&record, &vec![], &vec![vec![]; record.scenarios.len()])),
    );
}

/// The variants of one scenario, and two runs against each other.
#[test]
fn compared() {
    let (record, figures) = run("variants");
    snapshots!("variants"; "console" => compare::console(&record), "markdown" => markdown::summary(&record));
    let mut later = (record.clone(), figures.clone());
    later.0.build = "0123456789abcdef".to_owned();
    for s in &mut later.0.scenarios {
        s.operations.acknowledged -= 30;
    }
    let parts = vec![
        Part { name: "base".to_owned(), record, figures },
        Part { name: "other".to_owned(), record: later.0, figures: later.1 },
    ];
    let builds = versus::by_build(parts);
    let v = versus::versus(&builds[0], &builds[1], true).unwrap();
    snapshots!("versus";
        "console" => versus::console(&v),
        "markdown" => versus::markdown(&v, &["lost: 3 more".to_owned()]),
    );
}

#[test]
fn audited() {
    let record: AuditRecord =
        serde_json::from_str(&std::fs::read_to_string(runs().join("audit.json")).unwrap()).unwrap();
    snapshots!("audit";
        "console" => audit::console(&record),
        "markdown" => audit::markdown(&record),
        "page" => outline(&audit::page(&record)),
    );
}
