//! Every history of `workloads/tests/cases/histories`, with its exit code and the words that must be said.

use super::*;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/tests/cases/histories"))
}

/// File, exit code and words, from the table beside the cases.
fn table() -> Vec<(String, u8, Vec<String>)> {
    let text = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(|c| c.trim_matches(['|', ' '])).collect();
        let [file, exit, words, ..] = cells[..] else { return None };
        let words = words.split(" & ").map(|w| w.trim_matches('`').to_owned()).filter(|w| !w.is_empty()).collect();
        Some((file.to_owned(), exit.parse().ok()?, words))
    };
    text.lines().filter(|line| line.starts_with("| ")).filter_map(row).collect()
}

/// What the command would print, and its exit code.
fn checked(file: &str) -> (u8, String) {
    let form = if file.ends_with(".edn") { Form::Jepsen } else { Form::Klamm };
    let from = input::open(&folder().join(file)).unwrap();
    match check(from, Options { form, ..Options::default() }) {
        Ok(report) => (report.exit, report.words()),
        Err(e) => (crate::cli::BAD_INPUT, e.to_string()),
    }
}

#[test]
fn every_case_gives_the_answer_beside_it() {
    let table = table();
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".md"))
        .collect();
    files.sort();
    let mut told: Vec<&String> = table.iter().map(|(file, ..)| file).collect();
    told.sort();
    assert_eq!(told, files.iter().collect::<Vec<_>>(), "the table has every file");
    let mut wrong = Vec::new();
    for (file, exit, words) in &table {
        let (got, said) = checked(file);
        let missing: Vec<&String> = words.iter().filter(|w| !said.contains(w.as_str())).collect();
        let steers = said.chars().any(|c| c.is_control() && c != '\n');
        if got != *exit || !missing.is_empty() || steers {
            wrong.push(format!("{file}: exit {got}, expected {exit}; lacks {missing:?}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_permitted_is_grouped_and_strict_forbids_it() {
    let mut lines = vec![
        r#"{"klamm-history":1,"declared":{"recorded":true}}"#.to_owned(),
        r#"{"at":0,"client":1,"incarnation":1,"op":"producer","facts":{"acks":"1","idempotent":false,"max_in_flight":1,"resolves_within":9}}"#.to_owned(),
    ];
    for i in 0..50 {
        lines.push(format!(
            r#"{{"at":{i},"client":1,"incarnation":1,"op":"send","value":"v{i}","topic":"t","partition":0}}"#
        ));
        lines.push(format!(r#"{{"at":{i},"client":1,"incarnation":1,"op":"sent","value":"v{i}","outcome":"ok","partition":0,"offset":{i}}}"#));
    }
    let source = r#""source":{"topic":"t","partition":0}"#;
    lines.push(format!(
        r#"{{"at":60,"client":2,"incarnation":1,"op":"position",{source},"offset":0,"reason":"assigned"}}"#
    ));
    let read = r#""isolation":"read_committed","records":[{"offset":49,"value":"v49"}]"#;
    lines.push(format!(r#"{{"at":60,"client":2,"incarnation":1,"op":"poll",{source},{read}}}"#));
    let text = lines.join("\n");
    let judged = |options| check(std::io::Cursor::new(text.as_bytes()), options).unwrap();
    let report = judged(Options::default());
    assert_eq!((report.exit, report.counts.permitted), (0, 49), "{}", report.words());
    assert_eq!((report.groups.len(), report.groups[0].count, report.groups[0].findings.len()), (1, 49, 3));
    let words = report.words();
    assert!(words.contains("lost-write  t-0  49 times  permitted: acks=1"), "{words}");
    assert!(words.contains("and 46 more; --all shows them") && words.contains("(value \"v0\")"), "{words}");
    assert!(words.ends_with("held, 49 acknowledged records lost (acks=1 and a change of leader)\n"), "{words}");
    let strict = judged(Options { strict: true, ..Options::default() });
    assert_eq!((strict.exit, strict.verdict), (1, Verdict::Violated));
    assert!(strict.words().contains("--strict forbids what is permitted"));
    let all = judged(Options { all: true, ..Options::default() });
    assert!(all.groups[0].findings.iter().all(|f| !f.detail.is_empty() && !f.witness.is_empty()));
    assert_eq!(all.groups[0].findings.len(), 49);
}

#[test]
fn what_our_own_clients_did_keeps_the_contract_and_is_judged_as_it_was() {
    use crate::run::{Options as RunOptions, run_seed};
    // One of each kind of client; `KLAMM_EVERY=1` runs all that the catalogue has in these suites.
    let every = std::env::var("KLAMM_EVERY").ok().and_then(|n| n.parse().ok()).unwrap_or(9);
    let suites = ["smoke", "groups", "services"];
    let of_suite = |tags: &[String]| suites.iter().any(|suite| tags.iter().any(|tag| tag == suite));
    let scenarios = crate::catalog::embedded().map(|(_, s)| s).filter(|s| of_suite(&s.tags)).step_by(every);
    let mut judged = 0;
    for scenario in scenarios {
        let outcome = run_seed(&scenario, 7, &RunOptions { record: true, ..RunOptions::default() });
        let header = klamm_workloads::history::Header::new(outcome.declared.clone(), BTreeMap::new());
        let history = outcome.recording.as_ref().expect("recording is on").history.iter();
        let text = klamm_workloads::history::write(Vec::new(), &header, history).unwrap();
        let report = check(std::io::Cursor::new(&text), Options::default());
        let report = report.unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
        // A history does not tell that a topic was given more partitions: there keys may go elsewhere.
        let told = report.groups.iter().any(|g| g.permitted_by.is_none() && g.check != "key-affinity");
        let seen = outcome.violations(&scenario).filter(|f| f.check.kind() == CheckKind::Oracle).count() as u64;
        assert_eq!(told, seen > 0, "{}: {}", scenario.name, report.words());
        judged += u64::from(report.counts.records_read > 0);
    }
    assert!(judged > 3, "only {judged} histories had reads");
}
