//! `klamm list`.

use crate::{catalog, seen, suggest};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Only this suite; or `profiles`: the named disks and networks, each figure with where it comes from.
    suite: Option<String>,
    /// Print the JSON Schema of scenario files instead.
    #[arg(long, conflicts_with = "suite")]
    schema: bool,
    /// Print how often the shipped scenarios showed what they must, as these runs found: what `scenarios/seen.toml` holds.
    #[arg(long, value_name = "RUN DIR", num_args = 1.., conflicts_with_all = ["suite", "schema"])]
    seen: Vec<PathBuf>,
}

/// Lists suites and scenarios.
///
/// # Errors
/// If there is no such suite.
pub fn list(args: &Args) -> miette::Result<u8> {
    if args.schema {
        print!("{}", crate::schema::json_schema());
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
        let hint = suggest::nearest(suite, tags.iter().copied());
        return Err(miette::miette!("there is no suite `{suite}`{hint}"));
    }
    for (place, s) in &all {
        if args.suite.as_ref().is_some_and(|suite| !s.tags.contains(suite)) {
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
    println!("\nsuites: {}", tags.join(", "));
    Ok(super::HELD)
}
