//! `klamm check`.

use crate::artefacts::read_verdict;
use crate::check::{self, Form, Options, input, report};
use klamm_model::checks::{Check, CheckKind};
use klamm_workloads::history::{HistoryError, plain};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A history (docs/history.md), `-` for standard input, or a failure's folder that has one. May be packed by gzip or
    /// zstd.
    #[arg(required_unless_present = "schema")]
    history: Option<PathBuf>,
    /// The form of the history.
    #[arg(long, value_enum, default_value = "klamm")]
    from: Form,
    /// What is permitted by its cause counts as violated.
    #[arg(long)]
    strict: bool,
    /// Tell every finding, not the first three of each kind.
    #[arg(long)]
    all: bool,
    /// How to print: for people, or as JSON (docs/check.schema.json).
    #[arg(long, default_value = "human", value_parser = ["human", "json"])]
    format: String,
    /// Print a JSON Schema instead: of histories' lines, or of the report.
    #[arg(long, value_parser = ["history", "report"], conflicts_with = "history")]
    schema: Option<String>,
}

/// The folder of the failure that a history belongs to.
fn failure(history: &Path) -> Option<&Path> {
    history.parent().filter(|folder| folder.join("verdict.json").is_file())
}

/// A history in a failure's folder must be as long as it was written: cut between two lines it would still be read.
fn uncut(history: &Path) -> miette::Result<()> {
    let Some(folder) = failure(history) else { return Ok(()) };
    let name = history.file_name().unwrap_or_default().to_string_lossy();
    let Some(note) = read_verdict(folder)?.files.remove(&*name) else { return Ok(()) };
    let place = shown(history);
    let bytes = std::fs::metadata(history).map_err(|e| miette::miette!("{place}: {e}"))?.len();
    if bytes < note.bytes {
        return Err(miette::miette!("{place}: the file is cut short: {bytes} bytes of {}", note.bytes));
    }
    Ok(())
}

/// What the failure violated that no client can see.
fn unseen_by_clients(history: &Path) -> miette::Result<Option<String>> {
    let Some(folder) = failure(history) else { return Ok(None) };
    let verdict = read_verdict(folder)?;
    let found = verdict.findings.iter().map(|f| f.check);
    let hidden: BTreeSet<Check> = found.filter(|check| check.kind() != CheckKind::Oracle).collect();
    let hidden: Vec<&str> = hidden.iter().map(|check| check.name()).collect();
    let words = || {
        format!(
            "this failure violates {}, which clients cannot see: a history tells only what clients did and saw; \
             `klamm replay {}` shows it",
            hidden.join(", "),
            shown(folder)
        )
    };
    Ok((!hidden.is_empty()).then(words))
}

fn shown(path: &Path) -> String {
    plain(&path.display().to_string()).into_owned()
}

/// Judges a history.
///
/// # Errors
/// If it cannot be read, or is no history.
pub fn check(args: &Args) -> miette::Result<u8> {
    match args.schema.as_deref() {
        Some("history") => {
            print!("{}", klamm_workloads::history::json_schema());
            return Ok(super::HELD);
        }
        Some(_) => {
            print!("{}", report::json_schema());
            return Ok(super::HELD);
        }
        None => {}
    }
    let given = args.history.clone().unwrap_or_default();
    let path = if given.is_dir() { given.join("history.jsonl") } else { given };
    let name = if path == Path::new("-") { "standard input".to_owned() } else { shown(&path) };
    let from = input::open(&path).map_err(|e| miette::miette!("{name}: {e}"))?;
    uncut(&path)?;
    let wrong = |e: HistoryError| {
        let hint = e.suggestion.map_or(String::new(), |s| format!("; did you mean `{s}`?"));
        miette::miette!("{name}:{}:{}: {}{hint}", e.line, e.column, plain(&e.kind.to_string()))
    };
    let options = Options { form: args.from, strict: args.strict, all: args.all };
    let mut report = check::check(from, options).map_err(wrong)?;
    report.notes.extend(unseen_by_clients(&path)?);
    if args.format == "json" {
        println!("{}", serde_json::to_string(&report).map_err(|e| miette::miette!("{e}"))?);
    } else {
        print!("{}", report.words());
    }
    Ok(report.exit)
}
