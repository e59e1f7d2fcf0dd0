//! `klamm check`.

use klamm_workloads::history::Reader;
use klamm_workloads::oracles::{Judge, JudgeConfig};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// A history: one operation per line of JSON, as a failure's folder has it.
    history: PathBuf,
}

/// Judges a history.
///
/// # Errors
/// If it cannot be read, or is no history.
pub fn check(args: &Args) -> miette::Result<u8> {
    let name = args.history.display();
    let file = File::open(&args.history).map_err(|e| miette::miette!("{name}: {e}"))?;
    let mut reader = Reader::new(BufReader::new(file)).map_err(|e| miette::miette!("{name}: {e}"))?;
    let declared = reader.header().declared.clone();
    let mut judge = Judge::new(JudgeConfig { resolve_slack: 1_000_000_000, max_findings: 64 });
    let mut last = 0;
    for entry in reader.by_ref() {
        let entry = entry.map_err(|e| miette::miette!("{name}: {e}"))?;
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
