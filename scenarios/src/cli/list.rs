//! `klamm list`.

use crate::{catalog, glossary, seen, suggest};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Only this suite; or `faults`, `marks`, `checks`, `settings`: the words of scenario files, a line each; or `profiles`:
    /// the named disks and networks, each figure with where it comes from.
    suite: Option<String>,
    /// Print a JSON Schema instead: of scenario files, or of a record: `run`, `audit` or `compare`.
    #[arg(long, value_name = "OF", conflicts_with = "suite", num_args = 0..=1, default_missing_value = "scenario")]
    schema: Option<String>,
    /// Print how often the shipped scenarios showed what they must, as these runs found: what `scenarios/seen.toml` holds.
    #[arg(long, value_name = "RUN DIR", num_args = 1.., conflicts_with_all = ["suite", "schema"])]
    seen: Vec<PathBuf>,
    /// `human` or `json`: one object per line.
    #[arg(long, default_value = "human")]
    format: String,
}

/// Lists suites and scenarios, or the words of scenario files.
///
/// # Errors
/// If there is no such suite, or no such schema.
pub fn list(args: &Args) -> miette::Result<u8> {
    if !["human", "json"].contains(&args.format.as_str()) {
        return Err(miette::miette!("--format `{}`: expected `human` or `json`", args.format));
    }
    let json = args.format == "json";
    if let Some(of) = &args.schema {
        print!("{}", schema(of)?);
        return Ok(super::HELD);
    }
    if let Some(lines) = args.suite.as_deref().and_then(glossary::lines) {
        for line in &lines {
            println!("{}", if json { serde_json::json!(line).to_string() } else { in_words(line, &lines) });
        }
        return Ok(super::HELD);
    }
    if !args.seen.is_empty() {
        let runs = args.seen.iter().map(|run| super::report::read(run).map(|part| part.record));
        print!("{}", seen::with(&runs.collect::<miette::Result<Vec<_>>>()?));
        return Ok(super::HELD);
    }
    if args.suite.as_deref() == Some("profiles") {
        print!("{}", crate::profiles::in_words());
        return Ok(super::HELD);
    }
    let all: Vec<_> = catalog::embedded().collect();
    let mut tags: Vec<&str> = all.iter().flat_map(|(_, s)| s.tags.iter().map(String::as_str)).collect();
    tags.sort_unstable();
    tags.dedup();
    if let Some(suite) = &args.suite
        && !tags.contains(&suite.as_str())
    {
        let hint = suggest::nearest(suite, tags.iter().copied().chain(glossary::TOPICS).chain(["profiles"]));
        return Err(miette::miette!(
            help = format!("{} and profiles are listed, too", glossary::TOPICS.join(", ")),
            "there is no suite `{suite}`{hint}"
        ));
    }
    for (place, s) in &all {
        if args.suite.as_ref().is_some_and(|suite| !s.tags.contains(suite)) {
            continue;
        }
        if json {
            let violations = &s.expect.violations;
            let (name, summary, promise, tags) = (&s.name, &s.summary, &s.promise, &s.tags);
            let told = serde_json::json!({ "name": name, "summary": summary, "promise": promise, "tags": tags,
                "violations": violations, "file": format!("scenarios/catalog/{place}.toml") });
            println!("{told}");
            continue;
        }
        println!("{}  [{}]", s.name, s.tags.join(", "));
        println!("    {}", s.summary);
        if !s.promise.is_empty() {
            println!("    promise: {}", s.promise);
        }
        if !s.expect.violations.is_empty() {
            println!("    hazard:  {} expected", s.expect.violations.join(", "));
        }
        println!("    scenarios/catalog/{place}.toml");
    }
    if !json {
        println!("\nsuites: {}", tags.join(", "));
        println!("words of scenario files: klamm list {}", glossary::TOPICS.join(" | "));
    }
    Ok(super::HELD)
}

/// A published schema.
fn schema(of: &str) -> miette::Result<String> {
    if of == "scenario" {
        return Ok(crate::schema::json_schema());
    }
    klamm_reports::schemas::of(of).ok_or_else(|| {
        let known = || klamm_reports::schemas::NAMES.into_iter().chain(["scenario"]);
        let hint = suggest::nearest(of, known());
        miette::miette!("there is no schema `{of}`{hint}; there are {}", known().collect::<Vec<_>>().join(", "))
    })
}

/// A word, what it goes with, and what it means, in columns.
fn in_words(line: &glossary::Line, all: &[glossary::Line]) -> String {
    let width = |of: fn(&glossary::Line) -> usize| all.iter().map(of).max().unwrap_or(0);
    let (name, of) = (width(|l| l.name.len()).min(48), width(|l| l.of.len()));
    let gap = if of > 0 { "  " } else { "" };
    format!("{:<name$}{gap}{:<of$}  {}", line.name, line.of, line.about)
}
