//! Where scenarios come from: the embedded catalogue, by suite or name, or files and directories.

use crate::schema::{self, Scenario};
use crate::suggest;
use std::path::Path;

/// The services on trial. Each has a scenario of its name in which it holds, others named `<service>-<hazard>` in which it
/// breaks under a hazard that an audit names, and a comparison at `compare/<service>`.
pub const SERVICES: [&str; 8] = [
    "factory-line",
    "supply-chain",
    "fraud-detection",
    "security-telemetry",
    "edge-maintenance",
    "order-choreography",
    "model-inference",
    "read-models",
];

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/catalog.rs"));
}

/// Every scenario of the embedded catalogue: (place, scenario).
pub fn embedded() -> impl Iterator<Item = (&'static str, Scenario)> {
    embedded::FILES.iter().map(|(place, text)| {
        let scenario = schema::checked(place, text);
        (*place, scenario.unwrap_or_else(|e| panic!("the catalogue is checked by tests: {e:?}")))
    })
}

/// The scenarios that a word of the command line means: a suite (tag), a scenario's name, a file or a directory.
///
/// # Errors
/// A diagnostic with a suggestion.
pub fn find(word: &str) -> miette::Result<Vec<Scenario>> {
    let path = Path::new(word);
    if path.is_file() {
        return Ok(vec![schema::load(path)?]);
    }
    if path.is_dir() {
        let mut files = Vec::new();
        gather(path, &mut files).map_err(|e| miette::miette!("{word}: {e}"))?;
        files.sort();
        if files.is_empty() {
            return Err(miette::miette!("{word}: no scenario (*.toml) in this directory"));
        }
        return files.iter().map(|f| schema::load(f)).collect();
    }
    let all: Vec<(&str, Scenario)> = embedded().collect();
    let suite: Vec<Scenario> =
        all.iter().filter(|(_, s)| s.tags.iter().any(|t| t == word)).map(|x| x.1.clone()).collect();
    if !suite.is_empty() {
        return Ok(suite);
    }
    if let Some((_, s)) = all.iter().find(|(place, s)| s.name == word || *place == word.trim_end_matches(".toml")) {
        return Ok(vec![s.clone()]);
    }
    let tags = all.iter().flat_map(|(_, s)| s.tags.iter().map(String::as_str));
    let names = all.iter().flat_map(|(place, s)| [*place, s.name.as_str()]).chain(tags);
    let hint = suggest::nearest(word, names);
    Err(miette::miette!(
        help = "`klamm list` shows suites and scenarios",
        "there is no suite, scenario or file `{word}`{hint}"
    ))
}

fn gather(dir: &Path, files: &mut Vec<std::path::PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sound_and_names_are_unique() {
        let mut names = Vec::new();
        for (place, text) in embedded::FILES {
            let scenario = schema::parse(place, text).unwrap_or_else(|e| panic!("{place}: {e:?}"));
            assert!(!scenario.summary.is_empty(), "{place} says nothing");
            assert!(!names.contains(&scenario.name), "{} twice", scenario.name);
            names.push(scenario.name);
        }
    }

    #[test]
    fn a_slip_gets_a_suggestion() {
        let error = find("smoek").unwrap_err();
        assert!(format!("{error}").contains("did you mean `smoke`"), "{error}");
    }
}
