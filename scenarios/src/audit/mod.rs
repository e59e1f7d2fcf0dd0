//! `klamm audit`: a team's own settings under every class of fault, and what the safest changes would cost.
//!
//! Each class is a scenario of the catalogue (tag `audit`) that sets nothing of what is audited. Seeds are the same for
//! the settings as they are and for every change of one of them, so the difference is the change's and nothing else's.

mod combinations;
mod hazards;
mod kinds;
pub(crate) mod properties;
mod subject;

pub use combinations::combinations;
pub use hazards::hazards;

pub use subject::{Place, Subject};
pub(crate) use subject::{read_file, take_out_unknowable};

use crate::catalog;
use crate::interrupt::Interrupt;
use crate::pool;
use crate::run::{Options, SeedOutcome, run_seed};
use crate::schema::Scenario;
use crate::seeds::Seed;
use klamm_model::checks::Check;
use klamm_reports::audit::{Cell, ChangeRecord, ClassRecord};
use klamm_reports::histogram::Latencies;
use klamm_reports::record::{FaultRecord, Judged};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Changes of one setting that make losses, repetitions or disorder less likely, and why.
const CHANGES: &[(Place, &str, &str, &str)] = &[
    (Place::Producer, "acks", "all", "a record counts only when every in-sync replica has it"),
    (Place::Topic, "min.insync.replicas", "2", "at least one replica besides the leader has every acknowledged record"),
    (Place::Topic, "unclean.leader.election.enable", "false", "a replica that is behind never leads"),
    (
        Place::Topic,
        "delete.retention.ms",
        "86400000",
        "an instance may be away for a day and still learns of deletions",
    ),
    (Place::Topic, "flush.messages", "1", "what is acknowledged is on the disk, not in the page cache"),
    (Place::Producer, "enable.idempotence", "true", "a repeated batch is recognised, and order survives retries"),
    (Place::Producer, "max.in.flight.requests.per.connection", "1", "a retry cannot be overtaken"),
    (Place::Consumer, "auto.offset.reset", "earliest", "a group that finds no commit reads from the beginning"),
    (Place::Consumer, "enable.auto.commit", "false", "the application says when a record is done"),
    (Place::Consumer, "max.poll.interval.ms", "300000", "a handler may hang for minutes before its partitions move on"),
    (Place::Broker, "offsets.topic.replication.factor", "3", "committed offsets outlive a broker"),
    (Place::Producer, "delivery.timeout.ms", "120000", "a send outlives the failures of a broker"),
];

/// How an audit is run.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// The classes of fault.
    pub classes: &'a [Scenario],
    /// The seed that all others derive from.
    pub master: Seed,
    /// Seeds of each class.
    pub seeds: u64,
    /// Threads.
    pub jobs: usize,
    /// What may end it early.
    pub interrupt: &'a Arc<Interrupt>,
}

/// The classes of fault.
pub fn classes() -> Vec<Scenario> {
    let mut classes = catalog::find("audit").expect("the catalogue has the tag");
    // What nothing happens to comes first: everything else is measured against it.
    let of_consumers = |c: &Scenario| c.tags.iter().any(|t| t == "consumers");
    classes.sort_by_key(|c| (c.name != "audit-quiet", is_habit(c), of_consumers(c), c.name.clone()));
    classes
}

/// Whether a class is about what an application does, which no setting changes.
fn is_habit(class: &Scenario) -> bool {
    class.tags.iter().any(|t| t == "habit")
}

/// What one class came to.
#[derive(Default)]
struct Tally {
    record: ClassRecord,
    response: Latencies,
}

impl Tally {
    fn add(&mut self, seed: Seed, outcome: &SeedOutcome) {
        let (r, s) = (&mut self.record, &outcome.summary);
        let add = |cell: &mut Cell, n: u64| {
            cell.count += n;
            if n > 0 {
                cell.seeds += 1;
                cell.seed.get_or_insert_with(|| seed.to_string());
            }
        };
        r.seeds += 1;
        r.judged.get_or_insert_with(Judged::default).add(&outcome.judged);
        r.faults.resize_with(r.faults.len().max(outcome.faults.len()), FaultRecord::default);
        r.faults.iter_mut().zip(&outcome.faults).for_each(|(all, seed)| all.add(seed));
        r.sends += s.sends;
        r.acknowledged += s.acknowledged;
        add(&mut r.lost, s.lost() + s.acks0_missing);
        add(&mut r.repeated, s.duplicates());
        // Not `realtime-order`: what was lost lets later records take its offsets, and is counted as lost.
        let of = |check| s.checks.get(&check).map_or(0, klamm_workloads::oracles::Count::total);
        add(&mut r.reordered, of(Check::NonmonotonicSend) + of(Check::IntNonmonotonicSend));
        add(&mut r.refused, s.failed);
        let stalled = outcome.findings.iter().filter(|f| f.check == Check::Convergence).count() as u64;
        add(&mut r.stalled, stalled + s.unresolved);
        add(&mut r.skipped, of(Check::SkippedRecord));
        add(&mut r.done_twice, of(Check::DoubleEffect));
        add(&mut r.stale, of(Check::ReadModel));
        let stops = outcome.groups.values().flat_map(|g| &g.rebalances).flat_map(|b| &b.stopped);
        r.longest_stop_ns = stops.copied().max().unwrap_or(0).max(r.longest_stop_ns);
        add(&mut r.outages, outcome.outages.count);
        if outcome.outages.longest > r.longest_outage_ns {
            r.longest_outage_ns = outcome.outages.longest;
            r.longest_outage_seed = Some(seed.to_string());
        }
        r.unavailable_ns += outcome.outages.unavailable;
        r.observed_ns += outcome.observed_ns;
        self.response.add_seed(&outcome.response);
    }
}

/// Every class under these settings. If it was interrupted, classes have fewer seeds than were planned. `done` is told of
/// each seed.
pub fn sweep(subject: &Subject, how: &Sweep<'_>, done: &(dyn Fn() + Sync)) -> Vec<ClassRecord> {
    let classes = how.classes;
    let scenarios: Vec<Scenario> = classes.iter().map(|c| subject.onto(c)).collect();
    let total = scenarios.len() * how.seeds as usize;
    let options = Options { interrupt: Some(how.interrupt.clone()), ..Options::default() };
    let work = |n: usize| {
        if n >= total || how.interrupt.stops() {
            return None;
        }
        let (class, index) = (n / how.seeds as usize, n as u64 % how.seeds);
        let seed = how.master.derive(&scenarios[class].name, index);
        let outcome = run_seed(&scenarios[class], seed.0, &options);
        (!outcome.given_up).then_some((seed, outcome))
    };
    let mut tallies: Vec<Tally> = classes.iter().map(|_| Tally::default()).collect();
    // In order of seeds, whatever thread was faster: which seed shows a cell is part of the answer.
    let _ = pool::ordered(how.jobs, work, |n, (seed, outcome)| {
        tallies[n / how.seeds as usize].add(seed, &outcome);
        done();
        ControlFlow::<()>::Continue(())
    });
    let record = |(class, t): (&Scenario, Tally)| ClassRecord {
        name: class.name.trim_start_matches("audit-").to_owned(),
        summary: class.summary.clone(),
        consumers: class.tags.iter().any(|t| t == "consumers"),
        habit: is_habit(class),
        planned: how.seeds,
        response: t.response.figures(),
        ..t.record
    };
    classes.iter().zip(tallies).map(record).collect()
}

/// The changes worth trying with these settings: each with what is set now.
pub fn changes(subject: &Subject) -> Vec<(ChangeRecord, Subject)> {
    let change = |&(place, key, value, why): &(Place, &str, &str, &str)| {
        let changed = subject.with(place, key, value)?;
        let record = ChangeRecord {
            setting: format!("{} {key} = {value}", place.name()),
            now: subject.current(place, key),
            why: why.to_owned(),
            classes: Vec::new(),
        };
        Some((record, changed))
    };
    CHANGES.iter().filter_map(change).collect()
}
