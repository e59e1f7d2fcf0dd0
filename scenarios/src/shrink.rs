//! The smallest schedule that still fails: delta debugging over the fired faults.
//!
//! Draws are keyed, so taking a fault away moves nothing else. Every attempt is a whole run; only a run that ends in
//! the same check counts, and the result is run once more before it is believed.

use crate::run::{Options, SeedOutcome, run_resolved};
use crate::schema::Scenario;
use klamm_model::checks::Check;
use klamm_world::faults::Planned;

/// Attempts at most: a bound on time, not on hope.
pub const MAX_ATTEMPTS: usize = 120;

/// What shrinking led to.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest schedule found.
    pub schedule: Vec<Planned>,
    /// Runs it took.
    pub attempts: usize,
    /// The run of that schedule.
    pub outcome: SeedOutcome,
    /// It was interrupted: a smaller one may exist.
    pub interrupted: bool,
}

/// Shrinks a schedule under which `check` was violated. `None` if even the whole schedule does not fail again. Once it is
/// interrupted the smallest schedule so far is what comes of it.
pub fn shrink(
    scenario: &Scenario,
    resolved: &Scenario,
    fired: &[Planned],
    seed: u64,
    check: Check,
    options: &Options,
) -> Option<Shrunk> {
    let mut attempts = 0;
    let mut fails = |schedule: &[Planned]| {
        attempts += 1;
        let outcome = run_resolved(resolved.clone(), schedule.to_vec(), seed, options);
        // What was given up proves nothing.
        let same = !outcome.given_up && outcome.violations(scenario).any(|f| f.check == check);
        tracing::debug!(attempts, faults = schedule.len(), same, "shrinking");
        (same && attempts <= MAX_ATTEMPTS).then_some(outcome)
    };
    let interrupted = || options.interrupt.as_ref().is_some_and(|i| i.gives_up());
    let mut best = fails(fired)?;
    let mut current = fired.to_vec();
    let mut chunk = current.len().div_ceil(2).max(1);
    while !current.is_empty() && !interrupted() {
        let mut shrunk = false;
        let mut from = 0;
        while from < current.len() && !interrupted() {
            let to = (from + chunk).min(current.len());
            let without: Vec<Planned> = current[..from].iter().chain(&current[to..]).cloned().collect();
            match fails(&without) {
                Some(outcome) => {
                    (current, best, shrunk) = (without, outcome, true);
                }
                None => from = to,
            }
        }
        if chunk == 1 && !shrunk {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    Some(Shrunk { schedule: current, attempts, outcome: best, interrupted: interrupted() })
}
