//! Measures how the code of the workspace is divided, so that a change of structure can be judged by figures.
//!
//! `cargo run --manifest-path benches/structure/Cargo.toml -- [ROOT]` prints Markdown tables. Files under `tests` folders,
//! `tests.rs` and `testing.rs` are test code, as are modules under `#[cfg(test)]`.

mod files;
mod graph;
mod scan;

use files::Source;
use scan::Scan;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

/// Crates of the workspace: name and folder.
const CRATES: [(&str, &str); 6] = [
    ("model", "sim/model"),
    ("world", "sim/world"),
    ("workloads", "workloads"),
    ("reports", "reports"),
    ("scenarios", "scenarios"),
    ("benches", "benches"),
];

/// A repeated block is at least so many lines, none of them trivial.
const BLOCK: usize = 6;

fn main() -> ExitCode {
    let root = std::env::args().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    match report(&root) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn report(root: &std::path::Path) -> Result<String, String> {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    let mut scans: BTreeMap<&str, Vec<(Source, Scan)>> = BTreeMap::new();
    for (name, folder) in CRATES {
        let sources = files::rust(&root.join(folder))?;
        let scanned = sources
            .into_iter()
            .map(|source| Ok((scan::file(&source)?, source)).map(|(scan, source)| (source, scan)))
            .collect::<Result<_, String>>()?;
        scans.insert(name, scanned);
    }
    let all = || scans.values().flatten();

    line("| crate | files | lines | tests | proptest | snapshots |\n|---|--:|--:|--:|--:|--:|".into());
    for (name, _) in CRATES {
        let of = &scans[name];
        let sum = |f: fn(&Scan) -> usize| of.iter().map(|(_, s)| f(s)).sum::<usize>();
        let lines: usize = of.iter().map(|(s, _)| s.text.lines().count()).sum();
        line(format!(
            "| {name} | {} | {lines} | {} | {} | {} |",
            of.len(),
            sum(|s| s.tests),
            sum(|s| s.properties),
            sum(|s| s.snapshots)
        ));
    }
    let lines: usize = all().map(|(s, _)| s.text.lines().count()).sum();
    line(format!("| all | {} | {lines} | | | |", all().count()));

    line("\n| type | methods | files |\n|---|--:|--:|".into());
    for (ty, (methods, files)) in largest(&scans).into_iter().take(10) {
        line(format!("| {ty} | {methods} | {files} |"));
    }

    line(
        "\n| crate | modules in import cycles | largest | with parent and child | largest |\n|---|--:|--:|--:|--:|"
            .into(),
    );
    for (name, _) in CRATES {
        let graph = graph::of(&scans[name]);
        let (plain, family) = (graph.cycles(false), graph.cycles(true));
        let in_cycles = |c: &[Vec<String>]| c.iter().map(Vec::len).sum::<usize>();
        let most = |c: &[Vec<String>]| c.iter().map(Vec::len).max().unwrap_or(0);
        line(format!(
            "| {name} | {} | {} | {} | {} |",
            in_cycles(&plain),
            most(&plain),
            in_cycles(&family),
            most(&family)
        ));
    }

    let functions: Vec<_> = all().flat_map(|(source, scan)| scan.functions.iter().map(move |f| (source, f))).collect();
    let code: Vec<_> = functions.iter().filter(|(_, f)| !f.test).collect();
    line("\n| functions outside tests | |\n|---|--:|".into());
    line(format!("| all | {} |", code.len()));
    for (what, limit) in [("more than 70 lines", 70), ("more than 50 lines", 50)] {
        line(format!("| {what} | {} |", code.iter().filter(|(_, f)| f.lines > limit).count()));
    }
    line(format!(
        "| more than 7 parameters, self included | {} |",
        code.iter().filter(|(_, f)| f.parameters > 7).count()
    ));
    line(format!("| `Result<_, String>` | {} |", code.iter().filter(|(_, f)| f.string_error).count()));
    let mut longest = code.clone();
    longest.sort_by_key(|(_, f)| std::cmp::Reverse(f.lines));
    for (source, f) in longest.iter().take(5) {
        line(format!("| {} `{}` | {} |", source.shown, f.name, f.lines));
    }

    line("\n| raw scalars outside tests | |\n|---|--:|".into());
    let mut scalars: BTreeMap<String, usize> = BTreeMap::new();
    for (what, n) in all().flat_map(|(_, s)| &s.scalars) {
        *scalars.entry(what.clone()).or_default() += n;
    }
    for (what, n) in scalars {
        line(format!("| `{what}` | {n} |"));
    }

    let (total, distinct, common) = catalogue(&root.join("scenarios"))?;
    line("\n| catalogue | lines |\n|---|--:|".into());
    line(format!(
        "| all, without comments | {total} |\n| distinct | {distinct} |\n| that stand in ten or more files | {common} |"
    ));

    line(format!("\nRepeated blocks of {BLOCK} lines or more outside tests: {}", repeated(all().map(|(s, _)| s))));
    Ok(out)
}

/// Methods and files of each type, by crate and folder; the largest first.
fn largest(scans: &BTreeMap<&str, Vec<(Source, Scan)>>) -> Vec<(String, (usize, usize))> {
    let mut types: BTreeMap<String, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for (name, of) in scans {
        for (source, scan) in of {
            for (ty, n) in &scan.methods {
                let entry = types.entry(format!("{name}::{}::{ty}", source.area)).or_default();
                entry.0 += n;
                entry.1.insert(&source.shown);
            }
        }
    }
    let mut all: Vec<_> = types.into_iter().map(|(ty, (n, files))| (ty, (n, files.len()))).collect();
    all.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    all
}

/// Lines of all scenario files: all, distinct, and those that stand in ten or more files.
fn catalogue(root: &std::path::Path) -> Result<(usize, usize, usize), String> {
    let mut by_line: BTreeMap<String, (usize, BTreeSet<PathBuf>)> = BTreeMap::new();
    for path in files::with_ending(root, "toml")? {
        let text = files::read(&path)?;
        if path.ends_with("Cargo.toml") || !text.contains("promise =") {
            continue;
        }
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let entry = by_line.entry(line.to_owned()).or_default();
            entry.0 += 1;
            entry.1.insert(path.clone());
        }
    }
    let total = by_line.values().map(|(n, _)| n).sum();
    let common = by_line.values().filter(|(_, files)| files.len() >= 10).map(|(n, _)| n).sum();
    Ok((total, by_line.len(), common))
}

/// How many blocks of lines stand a second time: windows that overlap count once.
fn repeated<'a>(sources: impl Iterator<Item = &'a Source>) -> usize {
    let telling = |line: &str| line.len() > 12 && !line.starts_with("//") && !line.starts_with("use ");
    let mut seen: BTreeSet<Vec<&str>> = BTreeSet::new();
    let mut blocks = 0;
    for source in sources.filter(|s| !s.test) {
        let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = code.lines().map(str::trim).filter(|l| telling(l)).collect();
        let mut in_block = false;
        for window in lines.windows(BLOCK) {
            let again = !seen.insert(window.to_vec());
            blocks += usize::from(again && !in_block);
            in_block = again;
        }
    }
    blocks
}
