//! Black-box checks over a history: they read what client applications did and saw, and nothing else, so they judge a
//! history recorded against a real cluster as well.
//!
//! All of them are online: [`Judge`] takes one operation at a time and keeps state proportional to what is unresolved
//! or retained. What lies below a log start that was declared ([`Judge::log_start`]) leaves its memory.
//!
//! The rooms: [`judge`] leads each operation past the oracles, one file each; [`store`] with [`sends`] and [`slots`] is
//! the memory they share, [`groups`] with [`ranges`] that of the oracles of consumer groups, [`views`] that of those of compacted topics; [`report`] is where they put what they find, one piece of evidence at a time, [`finding`] and [`summary`] what comes out.
//! What permits a finding is not theirs to say: see [`crate::permission`].
//!
//! What a history must keep to: a send's value names its client; indices are dense per client; a value that could not
//! be decoded is read as [`UNDECODABLE`]; a reader tells of each change of its position that reading did not make; the
//! final reader of a partition begins with a position at the log start; a group member tells what was assigned to it
//! before it tells of positions and records.

mod armed;
mod blocks;
mod clean_handover;
mod commit_regression;
mod commit_too_far;
mod compacted_value;
mod double_effect;
mod duplicate;
mod failed_write_visible;
mod finding;
mod groups;
mod illegal_resume;
mod inconsistent_offsets;
mod judge;
mod key_affinity;
mod list_offsets_regression;
mod lost_write;
mod next_offset_divergence;
mod nonmonotonic_poll;
mod nonmonotonic_send;
mod passes;
mod places;
mod poll_skip;
mod ranges;
mod read_epoch_regression;
mod read_model;
mod realtime_order;
mod report;
mod send_resolves;
mod sends;
mod services;
mod skipped_record;
mod slots;
mod staircase;
mod store;
mod summary;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unknown_read;
mod views;

pub use finding::{Finding, Verdicts};
pub use judge::{Judge, JudgeConfig};
pub use summary::{Count, Summary};

use klamm_model::history::ValueId;

/// What a reader says it read where the bytes were none of ours.
pub const UNDECODABLE: ValueId = ValueId(u64::MAX);
