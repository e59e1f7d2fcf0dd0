//! Searches the seeds of a suite, round robin over its scenarios, until a defect is caught.

use crate::run::{Options, run_seed};
use crate::schema::Scenario;
use crate::seeds::Seed;
use klamm_model::defects::{Defect, Defects};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What to hunt, and how far.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    /// The defect switched on.
    pub defect: Defect,
    /// The sweep's seed.
    pub master: Seed,
    /// Seeds at most, over the whole suite.
    pub limit: u64,
    /// Threads.
    pub jobs: usize,
}

/// A defect, caught.
#[derive(Clone, PartialEq, Debug)]
pub struct Caught {
    /// Seeds run until then, this one included.
    pub seeds: u64,
    /// Time on the wall.
    pub seconds: f64,
    /// The check that fired first.
    pub check: String,
    /// When, virtual nanoseconds.
    pub at: u64,
    /// What was found.
    pub detail: String,
    /// The scenario.
    pub scenario: String,
    /// The derived seed.
    pub seed: Seed,
}

/// Hunts one defect. The seed found is the first in order, whatever thread was faster. A crash is not a catch.
pub fn hunt(hunt: &Hunt, scenarios: &[Scenario]) -> Option<Caught> {
    let started = Instant::now();
    let options = Options { defects: Defects::NONE.with(hunt.defect), ..Options::default() };
    let next = AtomicU64::new(0);
    let best: Mutex<Option<(u64, Caught)>> = Mutex::new(None);
    let found_at = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..hunt.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= hunt.limit || n > found_at.load(Ordering::Relaxed) {
                        break;
                    }
                    let scenario = &scenarios[(n % scenarios.len() as u64) as usize];
                    let seed = hunt.master.derive(&scenario.name, n / scenarios.len() as u64);
                    let outcome = run_seed(scenario, seed.0, &options);
                    let Some(first) = outcome.violations(scenario).find(|f| f.check != "crash") else { continue };
                    let caught = Caught {
                        seeds: n + 1,
                        seconds: started.elapsed().as_secs_f64(),
                        check: first.check.clone(),
                        at: first.at,
                        detail: first.detail.clone(),
                        scenario: scenario.name.clone(),
                        seed,
                    };
                    let mut best = best.lock().expect("no thread panics while it holds this");
                    if best.as_ref().is_none_or(|(m, _)| n < *m) {
                        *best = Some((n, caught));
                        found_at.store(n, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    best.into_inner().expect("no thread panics while it holds this").map(|(_, caught)| caught)
}
