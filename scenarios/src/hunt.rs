//! Searches the seeds of a suite, round robin over its scenarios, until a defect is caught: by a check that is named
//! for it, with as many distinct witnesses as are wanted, and, where an oracle is named, by that one too.
//!
//! A finding does not stop a run: what fires first in a seed is its verdict, and may be a sharper check than the one
//! that is named, but only the named ones end a hunt. A crash is not a catch. Seeds are taken into account in order,
//! whatever thread was faster, so a hunt's result is a function of suite, defect and master seed.

use crate::pool;
use crate::run::{Found, Options, run_seed};
use crate::schema::Scenario;
use crate::seeds::Seed;
use crate::shrink;
use klamm_model::checks::{Check, CheckKind};
use klamm_model::defects::{Defect, Defects};
use std::ops::ControlFlow;
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
    /// Seeds to be caught in by a named check, each with a witness of its own.
    pub witnesses: usize,
}

/// A finding, and when the hunt came upon it.
#[derive(Clone, PartialEq, Debug)]
pub struct Sighting {
    /// Seeds run until then, this one included.
    pub seeds: u64,
    /// Time on the wall until then.
    pub seconds: f64,
    /// The check.
    pub check: Check,
    /// When, virtual nanoseconds.
    pub at: u64,
    /// What was found.
    pub detail: String,
    /// Events and operations that prove it.
    pub evidence: usize,
    /// The scenario's place in the suite.
    pub scenario: usize,
    /// The derived seed.
    pub seed: Seed,
}

/// What a hunt came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Hunted {
    /// Seeds run.
    pub seeds: u64,
    /// Time on the wall.
    pub seconds: f64,
    /// The first verdict that the defect brought about, named for it or not.
    pub first: Option<Sighting>,
    /// The checks named for the defect, each with the first finding of it.
    pub named: Vec<(Check, Option<Sighting>)>,
    /// Distinct findings of named checks, one a seed, as many as were wanted.
    pub witnesses: Vec<Sighting>,
    wanted: usize,
}

impl Hunted {
    /// The first finding of a named check.
    pub fn caught(&self) -> Option<&Sighting> {
        self.witnesses.first()
    }

    fn new(named: &[Check], wanted: usize) -> Hunted {
        let named = named.iter().map(|check| (*check, None)).collect();
        Hunted { seeds: 0, seconds: 0.0, first: None, named, witnesses: Vec::new(), wanted: wanted.max(1) }
    }

    fn take(&mut self, seen: &[Sighting]) {
        if self.first.is_none() {
            self.first = seen.first().cloned();
        }
        for (check, sighting) in &mut self.named {
            if sighting.is_none() {
                *sighting = seen.iter().find(|s| s.is_of(*check)).cloned();
            }
        }
        let named = |s: &&Sighting| self.named.iter().any(|(check, _)| s.is_of(*check));
        let new = |s: &&Sighting| self.witnesses.iter().all(|w| s.is_distinct(w));
        if self.witnesses.len() < self.wanted {
            self.witnesses.extend(seen.iter().find(|s| named(s) && new(s)).cloned());
        }
    }

    /// Whether nothing is left to look for.
    fn is_done(&self) -> bool {
        let oracles_fired = self.named.iter().all(|(check, s)| s.is_some() || check.kind() != CheckKind::Oracle);
        oracles_fired && self.witnesses.len() >= self.wanted
    }
}

impl Sighting {
    /// Of that check, within one poll or together with others included.
    pub fn is_of(&self, check: Check) -> bool {
        self.check == check || self.check.base() == check
    }
    /// Another seed that shows something else: in another scenario, by another check, or of other offsets.
    fn is_distinct(&self, other: &Sighting) -> bool {
        self.seed != other.seed
            && (self.scenario, &self.check, &self.detail) != (other.scenario, &other.check, &other.detail)
    }
}

/// The findings of the `n`-th seed, without crashes.
fn look(hunt: &Hunt, scenarios: &[Scenario], n: u64, options: &Options, started: Instant) -> Vec<Sighting> {
    let at = (n % scenarios.len() as u64) as usize;
    let scenario = &scenarios[at];
    let seed = hunt.master.derive(&scenario.name, n / scenarios.len() as u64);
    let outcome = run_seed(scenario, seed.0, options);
    let seconds = started.elapsed().as_secs_f64();
    let sighting = |f: &Found| Sighting {
        seeds: n + 1,
        seconds,
        check: f.check,
        at: f.at,
        detail: f.detail.clone(),
        evidence: f.witness.len(),
        scenario: at,
        seed,
    };
    outcome.violations(scenario).filter(|f| f.check != Check::Crash).map(sighting).collect()
}

/// Hunts one defect.
pub fn hunt(hunt: &Hunt, scenarios: &[Scenario]) -> Hunted {
    let started = Instant::now();
    let options = options(hunt.defect);
    let mut hunted = Hunted::new(hunt.defect.caught_by(), hunt.witnesses);
    let work = |n: usize| ((n as u64) < hunt.limit).then(|| look(hunt, scenarios, n as u64, &options, started));
    let _ = pool::ordered(hunt.jobs, work, |_, seen| {
        hunted.seeds += 1;
        hunted.take(&seen);
        if hunted.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    hunted.seconds = started.elapsed().as_secs_f64();
    hunted
}

fn options(defect: Defect) -> Options {
    Options { defects: Defects::NONE.with(defect), ..Options::default() }
}

/// How many faults fired in the seed of a finding, and how many of them it takes to find the same again.
pub fn shrunk(defect: Defect, scenario: &Scenario, sighting: &Sighting) -> Option<(usize, usize)> {
    let options = options(defect);
    let outcome = run_seed(scenario, sighting.seed.0, &options);
    let (resolved, fired) = (&outcome.resolved, &outcome.fired);
    let small = shrink::shrink(scenario, resolved, fired, sighting.seed.0, sighting.check, &options)?;
    Some((fired.len(), small.schedule.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(seed: u64, check: &str, detail: &str) -> Sighting {
        let (check, detail) = (check.parse().unwrap(), detail.to_owned());
        Sighting { seeds: seed, seconds: 0.0, check, at: 1, detail, evidence: 2, scenario: 0, seed: Seed(seed) }
    }

    #[test]
    fn a_hunt_goes_on_until_the_named_oracle_has_fired_too() {
        let mut hunted = Hunted::new(&[Check::LostWrite, Check::IsrLegal], 2);
        hunted.take(&[sighting(1, "high-watermark", "a")]);
        assert!(hunted.caught().is_none() && hunted.first.is_some() && !hunted.is_done());
        hunted.take(&[sighting(2, "high-watermark", "a"), sighting(2, "isr-legal", "b")]);
        assert_eq!(hunted.caught().unwrap().check, Check::IsrLegal);
        hunted.take(&[sighting(3, "isr-legal", "c")]);
        assert!(hunted.witnesses.len() == 2 && !hunted.is_done(), "lost-write is named, and an oracle");
        hunted.take(&[sighting(4, "isr-legal", "d"), sighting(4, "lost-write", "e")]);
        assert!(hunted.is_done() && hunted.witnesses.len() == 2);
        assert_eq!(hunted.first.unwrap().seeds, 1);
        assert_eq!(hunted.named[0].1.as_ref().unwrap().seeds, 4);
    }

    #[test]
    fn the_internal_form_of_a_check_is_that_check() {
        let mut hunted = Hunted::new(&[Check::NonmonotonicSend], 1);
        hunted.take(&[sighting(1, "int-nonmonotonic-send", "a")]);
        assert!(hunted.is_done());
    }

    #[test]
    fn the_same_again_is_no_second_witness() {
        let mut hunted = Hunted::new(&[Check::LostWrite, Check::IsrLegal], 2);
        hunted.take(&[sighting(1, "lost-write", "offset 3")]);
        hunted.take(&[sighting(2, "lost-write", "offset 3")]);
        assert_eq!(hunted.witnesses.len(), 1);
        hunted.take(&[sighting(3, "lost-write", "offset 4")]);
        assert_eq!(hunted.witnesses.len(), 2);
    }
}
