//! How much a command line may ask for: what is beyond is a slip of the finger, and would only take all memory.

use crate::schema::Scenario;

/// Threads.
const MAX_JOBS: usize = 1_024;
/// Seeds of a command, over all its scenarios.
const MAX_SEEDS: u64 = 10_000_000;
/// Seeds of each class of an audit, which keeps what became of each until its end.
pub(super) const MAX_AUDIT_SEEDS: u64 = 10_000;

/// How many threads, as typed.
pub(super) fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs) if jobs <= MAX_JOBS => Ok(jobs),
        Ok(_) => Err(format!("at most {MAX_JOBS} threads")),
        Err(_) => Err("expected a number".to_owned()),
    }
}

/// Refuses more seeds than a command can keep account of.
///
/// # Errors
/// With the bound, and another way.
pub(super) fn seeds(scenarios: &[Scenario], seeds: u64) -> miette::Result<()> {
    let all = seeds.checked_mul(scenarios.len() as u64);
    if all.is_some_and(|all| all <= MAX_SEEDS) {
        return Ok(());
    }
    Err(miette::miette!(
        help = "`klamm run --for 8h` goes on for a time instead; further seeds come with another --master",
        "--seeds {seeds}: {} x {seeds} seeds are more than the {MAX_SEEDS} that one command may have",
        scenarios.len()
    ))
}
