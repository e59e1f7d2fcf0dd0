//! Reads scenario files. Every error points at file, line and column, and names the nearest known name.

use super::{Scenario, check};
use crate::suggest;
use miette::{Diagnostic, LabeledSpan, NamedSource, Report, SourceCode};
use std::path::Path;

/// No scenario is larger; whatever is, is something else.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct ScenarioError {
    message: String,
    source_code: NamedSource<String>,
    span: Option<std::ops::Range<usize>>,
    help: Option<String>,
}

impl Diagnostic for ScenarioError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as Box<dyn std::fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source_code)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_owned()), span))))
    }
}

/// Reads and checks a scenario file.
///
/// # Errors
/// A diagnostic with place and suggestion, for a file that cannot be read, is no TOML, or says what cannot be.
pub fn load(path: &Path) -> miette::Result<Scenario> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|e| miette::miette!("{name}: {e}"))?.len();
    if size > MAX_FILE_BYTES {
        return Err(miette::miette!(
            help = "scenario files are TOML of a few dozen lines",
            "{name}: {size} bytes is too large for a scenario; the limit is {MAX_FILE_BYTES}"
        ));
    }
    let bytes = std::fs::read(path).map_err(|e| miette::miette!("{name}: {e}"))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        miette::miette!(
            help = "scenario files are TOML, in UTF-8",
            "{name}: not text: the byte at {} is not UTF-8",
            e.utf8_error().valid_up_to()
        )
    })?;
    parse(&name, &text)
}

/// Parses and checks a scenario.
///
/// # Errors
/// As [`load`].
pub fn parse(name: &str, text: &str) -> miette::Result<Scenario> {
    let fail = |message: String, span: Option<std::ops::Range<usize>>, help: Option<String>| {
        let source_code = NamedSource::new(name, text.to_owned());
        Report::new(ScenarioError { message, source_code, span, help })
    };
    let scenario: Scenario = toml::from_str(text).map_err(|e| {
        let message = e.message().to_owned();
        let help = unknown_name(&message);
        fail(message, e.span(), help)
    })?;
    let problems = check(&scenario).err().unwrap_or_default();
    let problem = problems.into_iter().next().or_else(|| super::variants(&scenario).err());
    if let Some(problem) = problem {
        return Err(fail(problem.message, place_of(text, &problem.near), problem.help));
    }
    Ok(scenario)
}

/// The scenario as a file.
pub fn to_toml(scenario: &Scenario) -> String {
    toml::to_string(scenario).expect("a scenario is TOML")
}

/// A suggestion for serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown_name(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown ") {
        return None;
    }
    let word = quoted.next()?;
    let hint = suggest::nearest(word, quoted);
    (!hint.is_empty()).then(|| hint.trim_start_matches("; ").to_owned())
}

/// Where a problem's words stand in the file: the last of them after the first, and so on.
fn place_of(text: &str, near: &[String]) -> Option<std::ops::Range<usize>> {
    let mut from = 0;
    // Defaults are not in the file: then what there is of the way to them is shown, at worst the first line.
    let mut found = Some(0..text.find('\n').unwrap_or(text.len()));
    for word in near {
        let Some(at) = text[from..].find(word.as_str()).map(|at| from + at) else { break };
        found = Some(at..at + word.len());
        from = at + word.len();
    }
    found
}
