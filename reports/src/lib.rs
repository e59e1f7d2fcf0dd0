//! What a run leaves for people and for other programs: the run record, histograms, charts, pages, JUnit.
//!
//! Nothing here knows of the simulator: everything is drawn from plain, versioned records, so old runs can be
//! drawn again.

pub mod audit;
pub mod charts;
pub mod compare;
pub mod console;
pub mod figures;
pub mod folder;
mod groups;
pub mod histogram;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod merge;
pub mod recap;
pub mod record;
pub mod schemas;
pub mod services;
pub mod severity;
pub mod text;
pub mod verdict;
pub mod versus;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A chart could not be drawn.
    #[error("drawing {chart}: {message}")]
    Chart {
        /// Which.
        chart: String,
        /// Why.
        message: String,
    },
    /// A record could not be read.
    #[error("{path}: {message}")]
    Record {
        /// Which file.
        path: String,
        /// What is wrong.
        message: String,
    },
}

/// Writes a file whole: aside first, then renamed, so that nothing half-written ever bears its name.
///
/// # Errors
/// [`ReportError::Io`].
pub fn write_whole(path: &std::path::Path, content: &[u8]) -> Result<(), ReportError> {
    let aside = path.with_extension("part");
    let io = |source| ReportError::Io { path: path.display().to_string(), source };
    std::fs::write(&aside, content).map_err(io)?;
    std::fs::rename(&aside, path).map_err(io)
}
