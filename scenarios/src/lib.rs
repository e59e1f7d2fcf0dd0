//! Scenarios, campaigns over seeds, shrinking, what a run leaves behind, and the `klamm` command.
//!
//! In reading order: [`schema`] (what a file says), [`catalog`] (where files are), [`run`] (one seed),
//! [`campaign`] (many), [`profiles`] and [`capacity`] (what machines cost, and how much they bear),
//! [`audit`] (settings on trial), [`check`] (recorded histories), [`serve`] (faults and control of a live cluster), [`shrink`],
//! [`net`] (what each defect shows), [`artefacts`] (what is left on disk), [`cli`].

pub mod aggregate;
pub mod artefacts;
pub mod audit;
pub mod campaign;
pub mod capacity;
pub mod catalog;
pub mod check;
pub mod cli;
pub mod glossary;
pub mod hunt;
pub mod interrupt;
pub mod net;
pub mod parity;
pub mod pool;
pub mod profiles;
pub mod recheck;
pub mod refusals;
pub mod run;
pub mod schema;
pub mod seeds;
pub mod seen;
pub mod serve;
pub mod setting;
pub mod shrink;
pub mod suggest;
