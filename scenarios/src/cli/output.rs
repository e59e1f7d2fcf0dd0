//! Where commands write, looked at before anything runs: an hour of work is not lost to a slip in a path.

use klamm_reports::{ReportError, output};
use std::path::Path;

/// What a report's error is on the command line.
pub(super) fn told(option: &str, error: &ReportError) -> miette::Report {
    let option = if option.is_empty() { String::new() } else { format!("{option} ") };
    match error {
        ReportError::Output { help, .. } => miette::miette!(help = help.clone(), "{option}{error}"),
        other => miette::miette!("{option}{other}"),
    }
}

/// A command's file, if it is to write one.
///
/// # Errors
/// If it cannot be written, with what to do.
pub(super) fn file(option: &str, path: Option<&Path>) -> miette::Result<()> {
    path.map_or(Ok(()), output::check_file).map_err(|e| told(option, &e))
}

/// A command's folder.
///
/// # Errors
/// If it is none and cannot be made, with what to do.
pub(super) fn folder(option: &str, path: &Path) -> miette::Result<()> {
    output::check_folder(path).map_err(|e| told(option, &e))
}

/// Writes a command's file.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write(option: &str, path: &Path, content: &str) -> miette::Result<()> {
    output::write_whole(path, content.as_bytes()).map_err(|e| told(option, &e))
}
