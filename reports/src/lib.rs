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
pub mod output;
pub mod recap;
pub mod record;
pub mod schemas;
pub mod services;
pub mod severity;
pub mod text;
pub mod verdict;
pub mod versus;

pub use output::write_whole;

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
    /// Nothing can be written there, or must not be.
    #[error("{path}: {why}")]
    Output {
        /// Which place.
        path: String,
        /// Why not.
        why: String,
        /// What to do.
        help: String,
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
