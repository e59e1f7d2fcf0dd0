//! Reads scenario files. All errors are reported at once, each with file, line and column, in the order of the file.

use super::notice::Notice;
use super::source::Node;
use super::{Scenario, check, grammar};
use miette::{Diagnostic, LabeledSpan, NamedSource, Report, SourceCode};
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// No scenario is larger; whatever is, is something else.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// So many errors of a file are shown.
const MAX_SHOWN: usize = 40;

/// With so many slips of its grammar a file is asked nothing more.
const ENOUGH: usize = 500;

/// One error, or the heading of several.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct ScenarioError {
    message: String,
    place: Option<(NamedSource<String>, Range<usize>)>,
    help: Option<String>,
    each: Vec<ScenarioError>,
}

impl Diagnostic for ScenarioError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as Box<dyn std::fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|(source, _)| source as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.place.as_ref()?.1.clone();
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_owned()), span))))
    }
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        (!self.each.is_empty()).then(|| Box::new(self.each.iter().map(|e| e as &dyn Diagnostic)) as Box<_>)
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
    let mut bytes = Vec::new();
    // What has no length, such as a device or a pipe, has a bound all the same.
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| miette::miette!("{name}: {e}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(miette::miette!("{name}: too large for a scenario; the limit is {MAX_FILE_BYTES} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        miette::miette!(
            help = "scenario files are TOML, in UTF-8",
            "{name}: not text: the byte at {} is not UTF-8",
            e.utf8_error().valid_up_to()
        )
    })?;
    parse(&name, &text)
}

/// An error with its place in the file.
struct Wrong {
    message: String,
    span: Range<usize>,
    help: Option<String>,
}

/// Parses and checks a scenario.
///
/// # Errors
/// As [`load`].
pub fn parse(name: &str, text: &str) -> miette::Result<Scenario> {
    read(text, false).map_err(|wrong| report(name, text, wrong))
}

/// As [`parse`], of a scenario that was drawn: a fault may aim at what another draw has, such as a second partition.
///
/// # Errors
/// As [`load`].
pub fn parse_drawn(name: &str, text: &str) -> miette::Result<Scenario> {
    read(text, true).map_err(|wrong| report(name, text, wrong))
}

/// Reads a scenario that was checked before: what this program wrote for itself, or what it carries.
///
/// # Errors
/// If it is none at all.
pub fn checked(name: &str, text: &str) -> miette::Result<Scenario> {
    toml::from_str(text).map_err(|e| miette::miette!("{name}: {e}"))
}

fn read(text: &str, drawn: bool) -> Result<Scenario, Vec<Wrong>> {
    let (mut root, syntax) = Node::read(text);
    let is_twice = |message: &str| message.contains("duplicate key");
    let broken = syntax.iter().any(|(message, _)| !is_twice(message));
    let mut wrong: Vec<Wrong> = syntax
        .into_iter()
        .map(|(message, span)| {
            let help = if is_twice(&message) { None } else { other_kind(text) };
            Wrong { message, span: span.unwrap_or(0..0), help }
        })
        .collect();
    if broken {
        // What follows from a broken line is no slip of its own.
        return Err(wrong);
    }
    let read = grammar::read(&mut root);
    wrong.extend(read.slips.into_iter().map(|s| Wrong { message: s.message, span: s.span, help: s.help }));
    if let Some(scenario) = read.scenario.as_ref().filter(|_| wrong.len() <= ENOUGH) {
        let mut problems = check(scenario).err().unwrap_or_default();
        problems.extend(of_variants(scenario, &problems));
        problems.retain(|p| !(p.follows_from(&read.mended) || drawn && p.in_no_draw));
        wrong.extend(problems.into_iter().map(|p| Wrong {
            span: p.place(text, &root),
            message: p.message,
            help: p.help,
        }));
    }
    match read.scenario {
        Some(scenario) if wrong.is_empty() => Ok(scenario),
        _ => Err(wrong),
    }
}

/// What is wrong with variants and not with the scenario itself.
fn of_variants(scenario: &Scenario, own: &[Notice]) -> Vec<Notice> {
    if scenario.matrix.is_empty() && scenario.variants.is_empty() {
        return Vec::new();
    }
    let mut problems = super::variants(scenario).err().unwrap_or_default();
    problems.retain(|p| !own.iter().any(|o| p.message.ends_with(&o.message)));
    problems
}

/// All of it as one diagnostic.
fn report(name: &str, text: &str, mut wrong: Vec<Wrong>) -> Report {
    wrong.sort_by_key(|w| (w.span.start, w.span.end));
    wrong.dedup_by(|a, b| a.message == b.message && a.span == b.span);
    let all = wrong.len();
    let mut each: Vec<ScenarioError> = wrong
        .into_iter()
        .take(MAX_SHOWN)
        .map(|w| ScenarioError {
            message: printable(&w.message),
            place: Some((NamedSource::new(name, text.to_owned()), whole_letters(text, w.span))),
            help: w.help.as_deref().map(printable),
            each: Vec::new(),
        })
        .collect();
    if each.len() == 1 {
        return Report::new(each.swap_remove(0));
    }
    let help = (all > MAX_SHOWN).then(|| format!("the first {MAX_SHOWN} are shown"));
    Report::new(ScenarioError { message: format!("{name}: {all} errors"), place: None, help, each })
}

/// A text from a file writes no control characters to a terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// A place that begins and ends between letters.
fn whole_letters(text: &str, span: Range<usize>) -> Range<usize> {
    let near = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    near(span.start)..near(span.end).max(near(span.start))
}

/// A file of another kind is recognised by its first line.
fn other_kind(text: &str) -> Option<String> {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let is_yaml =
        first == "---" || first.split_once(':').is_some_and(|(key, _)| !key.is_empty() && key.chars().all(word));
    if is_yaml {
        return Some("this looks like YAML; scenario files are TOML: name = \"my-scenario\"".to_owned());
    }
    first.starts_with('{').then(|| "this looks like JSON; scenario files are TOML: name = \"my-scenario\"".to_owned())
}

/// The scenario as a file.
pub fn to_toml(scenario: &Scenario) -> String {
    toml::to_string(scenario).expect("a scenario is TOML")
}
