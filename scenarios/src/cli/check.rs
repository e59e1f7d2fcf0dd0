//! `klamm check`.

use crate::artefacts::read_verdict;
use crate::run::{MAX_FINDINGS, RESOLVE_SLACK_NS};
use klamm_workloads::history::{HistoryError, Reader};
use klamm_workloads::oracles::{Judge, JudgeConfig};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A history (one operation per line of JSON), or a failure's folder that has one.
    history: PathBuf,
}

/// A history in a failure's folder must be as long as it was written: cut between two lines it would still be read.
fn uncut(history: &Path) -> miette::Result<()> {
    let Some(folder) = history.parent().filter(|f| f.join("verdict.json").is_file()) else { return Ok(()) };
    let name = history.file_name().unwrap_or_default().to_string_lossy();
    let Some(note) = read_verdict(folder)?.files.remove(&*name) else { return Ok(()) };
    let bytes = std::fs::metadata(history).map_err(|e| miette::miette!("{}: {e}", history.display()))?.len();
    if bytes < note.bytes {
        let place = history.display();
        return Err(miette::miette!("{place}: the file is cut short: {bytes} bytes of {}", note.bytes));
    }
    Ok(())
}

/// Judges a history.
///
/// # Errors
/// If it cannot be read, or is no history.
pub fn check(args: &Args) -> miette::Result<u8> {
    let path = if args.history.is_dir() { args.history.join("history.jsonl") } else { args.history.clone() };
    let name = path.display();
    let file = File::open(&path).map_err(|e| miette::miette!("{name}: {e}"))?;
    uncut(&path)?;
    let wrong = |e: HistoryError| {
        let hint = e.suggestion.map_or(String::new(), |s| format!("; did you mean `{s}`?"));
        miette::miette!("{name}:{}:{}: {}{hint}", e.line, e.column, e.kind)
    };
    let mut reader = Reader::new(BufReader::new(file)).map_err(wrong)?;
    let declared = reader.header().declared.clone();
    let mut judge = Judge::new(JudgeConfig { resolve_slack: RESOLVE_SLACK_NS, max_findings: MAX_FINDINGS });
    for compacted in &declared.compactions {
        judge.compacts(&compacted.source.topic);
        judge.compacted(&compacted.source, &compacted.removed);
    }
    let mut last = 0;
    for entry in reader.by_ref() {
        let entry = entry.map_err(wrong)?;
        last = entry.at;
        judge.entry(&entry);
    }
    let verdicts = judge.finish(last, &declared);
    let s = &verdicts.summary;
    println!(
        "{} sends, {} acknowledged, {} failed, {} unknown, {} reads",
        s.sends, s.acknowledged, s.failed, s.info, s.reads
    );
    for found in &verdicts.findings {
        let partition = format!("{}-{}", found.source.topic, found.source.partition);
        let permitted = found.permitted.map_or(String::new(), |c| format!("  (permitted: {})", c.meaning()));
        println!("{}  {partition}  {}{permitted}", found.check, found.detail);
        if found.permitted.is_none() {
            for entry in &found.witness {
                println!("    {}", serde_json::to_string(entry).map_err(|e| miette::miette!("{e}"))?);
            }
        }
    }
    let violations = verdicts.violations().count();
    println!("{violations} violations, {} permitted findings", verdicts.findings.len() - violations);
    Ok(if violations > 0 { super::VIOLATED } else { super::HELD })
}
