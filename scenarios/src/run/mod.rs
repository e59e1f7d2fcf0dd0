//! One seed: settle the scenario, build the world, run the phases, judge.
//!
//! Nothing here reads a clock or shares state: one seed, one thread, and the outcome is a function of scenario,
//! seed and options alone. A run may be given up from outside; what is left of it then says so, and counts nowhere.

mod build;
mod declare;
mod faults;
mod flows;
mod kinds;
mod marks;
mod measure;
mod moves;
mod rebalances;
mod story;
mod watch;

pub use build::{Built, Options, build, properties_at};
pub use flows::{BEHIND_NS, ServiceTimes};
pub use kinds::WorldKind;
pub use marks::{MARKS, MARKS_IN_WORDS};
pub use measure::{Measure, OUTAGE_NS, Outages, WINDOW_NS};
pub use rebalances::{GroupCost, Rebalance};
pub use watch::{Recording, TraceLine};

use crate::schema::{Scenario, resolve};

use hdrhistogram::Histogram;
use klamm_model::checks::Check;
use klamm_model::ids::ClientId;
use klamm_model::inspect::Inspection;
use klamm_model::units::{Duration, Instant};
use klamm_reports::figures::Timeline;
use klamm_reports::record::{FaultRecord, Judged};
use klamm_reports::severity::severity;
use klamm_workloads::apps::FinalPartition;
use klamm_workloads::oracles::{Judge, JudgeConfig, Summary};
use klamm_workloads::permission::{Cause, Declared};
use klamm_world::event::{NodeRef, Phase};
use klamm_world::faults::{Became, Injector, Planned, Schedule};
use klamm_world::invariants::{Account, AuditAt, Invariants, ReplicaFiles, Unmet};
use klamm_world::world::Stop;
use std::collections::BTreeMap;
use watch::Watch;

/// How often conditions are looked at while waiting for them. Not a round number: of members that commit every 100 or
/// 200 ms some commit is under way at every round moment (seed 0xcd63e5d20d072f45 of members-come-and-go).
const LOOK_EVERY: Duration = Duration::from_millis(97);
/// How often [`Options::each_minute`] is called.
const MINUTE: Duration = Duration::from_secs(60);
/// How long the cluster may take to come up, topics included.
const SETUP_WITHIN: Duration = Duration::from_secs(60);
/// How long clients have, after everything else, until each of them works. Their longest back-off is a second, their longest
/// request takes 30 s where settings do not say otherwise.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);
/// How long the final read may take.
const FINAL_READ_WITHIN: Duration = Duration::from_secs(120);
/// How much longer than promised a send may take: timers round up, clocks drift, clients pause.
pub const RESOLVE_SLACK_NS: u64 = 1_000_000_000;
/// Findings kept of one seed.
pub const MAX_FINDINGS: usize = 64;

/// One finding of a seed, permitted or not.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Found {
    /// The check.
    pub check: Check,
    /// Virtual nanoseconds.
    pub at: u64,
    /// The partition, as `topic-0`, if it concerns one.
    pub partition: Option<String>,
    /// In words.
    pub detail: String,
    /// What permits it, if anything does.
    pub permitted: Option<Cause>,
    /// The events that prove it.
    pub witness: Vec<Witness>,
}

impl Found {
    /// As it is told where it is a violation: a cause that would permit it elsewhere is named in words, and permits
    /// nothing here.
    pub fn as_violation(&self) -> Found {
        let mut found = self.clone();
        if let Some(cause) = found.permitted.take() {
            if !found.detail.is_empty() {
                found.detail.push_str("; ");
            }
            found.detail.push_str("forbidden here, though it comes of ");
            found.detail.push_str(cause.meaning());
        }
        found
    }
}

/// One piece of evidence: an event of the trace, or an operation of the history.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Witness {
    /// The event's ordinal.
    Event(u64),
    /// The operation.
    Operation(klamm_model::history::Entry),
}

/// What came of one seed.
#[derive(Debug)]
pub struct SeedOutcome {
    /// The seed.
    pub seed: u64,
    /// Over every event.
    pub digest: u64,
    /// Over every message's encoded form, if that was asked for.
    pub message_digest: u64,
    /// Events.
    pub events: u64,
    /// Virtual time, nanoseconds.
    pub virtual_ns: u64,
    /// The run was given up on the way: nothing else here counts.
    pub given_up: bool,
    /// Findings in order of time, permitted ones included.
    pub findings: Vec<Found>,
    /// What the load's clients gave the judge.
    pub judged: Judged,
    /// How many operations or events each check could have judged.
    pub armed: BTreeMap<String, u64>,
    /// What became of each `[[fault]]`, in the order of the scenario file: where a settled scenario was run, of its own.
    pub faults: Vec<FaultRecord>,
    /// What became of each line of the schedule.
    pub became: Vec<Became>,
    /// Marks seen, and how often.
    pub marks: BTreeMap<&'static str, u64>,
    /// What the faults became.
    pub fired: Vec<Planned>,
    /// Whether the faults stayed within the fault budget.
    pub within_budget: bool,
    /// Operations counted.
    pub summary: Summary,
    /// Response times, nanoseconds.
    pub response: Histogram<u64>,
    /// Service times, nanoseconds.
    pub service: Histogram<u64>,
    /// When nothing was acknowledged though something waited.
    pub outages: Outages,
    /// How much of hardship was measured, nanoseconds.
    pub observed_ns: u64,
    /// What happened, declared for the oracles.
    pub declared: Declared,
    /// The settled scenario.
    pub resolved: Scenario,
    /// The schedule before it was fired.
    pub schedule: Vec<Planned>,
    /// What rebalances cost, by group.
    pub groups: BTreeMap<String, GroupCost>,
    /// What became of records on their way through services, if there are any.
    pub services: Option<ServiceTimes>,
    /// If it was kept: the run over time.
    pub timeline: Option<Timeline>,
    /// If it was recorded: history and trace.
    pub recording: Option<Recording>,
}

impl SeedOutcome {
    /// The findings that nothing permits, or whose check the scenario forbids, and that it does not tolerate: the first
    /// is the verdict.
    pub fn violations<'a>(&'a self, scenario: &'a Scenario) -> impl Iterator<Item = &'a Found> {
        let e = &scenario.expect;
        self.findings.iter().filter(move |f| (f.permitted.is_none() || e.forbids(f.check)) && !e.tolerates(f.check))
    }

    /// The checks that were violated, each once, the worst first.
    pub fn violated(&self, scenario: &Scenario) -> Vec<Check> {
        let mut checks: Vec<Check> = self.violations(scenario).map(|f| f.check).collect();
        checks.sort_by_key(|check| (severity(check.name()), *check));
        checks.dedup();
        checks
    }
}

/// Runs one seed of a scenario.
pub fn run_seed(scenario: &Scenario, seed: u64, options: &Options) -> SeedOutcome {
    let (resolved, schedule) = resolve(scenario, seed);
    let mut outcome = run_resolved(resolved, schedule, seed, options);
    outcome.faults = faults::of_specs(scenario, seed, &outcome.faults);
    outcome
}

/// Runs a settled scenario under a given schedule: a replay, or an attempt to shrink.
pub fn run_resolved(resolved: Scenario, schedule: Vec<Planned>, seed: u64, options: &Options) -> SeedOutcome {
    let built = build(&resolved, seed, options);
    let min_insync = build::broker_config(&resolved.broker);
    let injector = Injector::new(
        Schedule { faults: schedule.clone() },
        &*built.sim,
        seed,
        min_insync.min_insync_replicas as usize,
    )
    .unwrap_or_else(|e| panic!("checked: {e}"));
    let mut judge = Judge::new(JudgeConfig { resolve_slack: RESOLVE_SLACK_NS, max_findings: MAX_FINDINGS });
    for topic in resolved.topics.iter().filter(|t| t.grow.is_some()) {
        judge.partitions_change(&topic.name.as_str().into());
    }
    for topic in &built.compacted {
        judge.compacts(topic);
    }
    let invariants = Invariants::new(built.invariants.clone());
    let watch = Watch::new(&*built.sim, &resolved, injector, invariants, judge, options);
    let each_minute = options.each_minute;
    let run = Run {
        each_minute,
        built,
        watch,
        scenario: &resolved,
        hardship: (Instant::ZERO, Instant::ZERO),
        broken: Vec::new(),
        given_up: false,
        converged: false,
    };
    let mut outcome = run.through(seed);
    outcome.faults = faults::records(&resolved, &schedule, &outcome.became);
    outcome.schedule = schedule;
    outcome.resolved = resolved;
    outcome
}

struct Run<'a> {
    each_minute: Option<fn(u64)>,
    built: Built,
    watch: Watch,
    scenario: &'a Scenario,
    /// When hardship began and ended.
    hardship: (Instant, Instant),
    /// Why the run could not go on, as findings.
    broken: Vec<Found>,
    /// It was given up on the way.
    given_up: bool,
    /// The healed cluster did all that was asked of it.
    converged: bool,
}

/// A run's end: what happens later is looked at, and is no part of the run.
struct Ended {
    at: Instant,
    digest: u64,
    message_digest: u64,
    events: u64,
}

impl Run<'_> {
    fn through(mut self, seed: u64) -> SeedOutcome {
        let went = self.setup() && self.hardship() && self.heal() && self.final_read();
        if went {
            self.built.sim.begin_phase(Phase::Done);
        }
        let sim = &self.built.sim;
        let ended =
            Ended { at: sim.now(), digest: sim.digest(), message_digest: sim.message_digest(), events: sim.events() };
        if went && !self.scenario.expect.unavailable {
            self.recovery();
        }
        self.outcome(seed, &ended)
    }

    /// Waits, after the end of the run, until every client that lived through it works.
    fn recovery(&mut self) {
        let last = self.watch.last;
        let mut unmet = Vec::new();
        let mut all_work = |run: &mut Self| {
            unmet = run.watch.invariants.unrecovered(&run.built.load_nodes(), &run.accounts(), run.converged);
            unmet.is_empty()
        };
        self.watch.over = true;
        if !all_work(self) && self.wait(RECOVERS_WITHIN, all_work) == Some(false) {
            self.watch.invariants.not_recovered(self.built.sim.now(), last, &unmet);
        }
    }

    /// Runs until `until`; false if the run is broken.
    fn until(&mut self, until: Instant) -> bool {
        match self.built.sim.drive(until, &mut self.watch) {
            Stop::Reached => true,
            Stop::GivenUp => {
                self.given_up = true;
                false
            }
            Stop::Crashed { node, message } => {
                let name = self.built.sim.node_name(node).to_owned();
                self.break_off(Check::Crash, format!("{name} panicked: {message}"));
                false
            }
            Stop::Runaway(r) => {
                let hottest: Vec<String> = r
                    .hottest
                    .iter()
                    .map(|(node, what, n)| {
                        let name = node.map_or("-", |n| self.built.sim.node_name(n));
                        format!("{name}: {what} x{n}")
                    })
                    .collect();
                self.break_off(Check::Runaway, format!("{} above {}: {}", r.budget, r.bound, hottest.join(", ")));
                false
            }
        }
    }

    fn break_off(&mut self, check: Check, detail: String) {
        self.broken.push(Found {
            check,
            at: self.built.sim.now().as_nanos(),
            partition: None,
            detail,
            permitted: None,
            witness: vec![Witness::Event(self.watch.last.0)],
        });
    }

    /// Runs until the condition holds; `Ok(false)` if it does not within the time.
    fn wait(&mut self, within: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> Option<bool> {
        let deadline = self.built.sim.now() + within;
        loop {
            let next = (self.built.sim.now() + LOOK_EVERY).min(deadline);
            if !self.until(next) {
                return None;
            }
            if holds(self) {
                return Some(true);
            }
            if next >= deadline {
                return Some(false);
            }
        }
    }

    fn is_done(&self, node: NodeRef) -> bool {
        matches!(self.built.sim.inspect(node), Some(Inspection::Client(c)) if c.done)
    }

    fn setup(&mut self) -> bool {
        self.built.sim.begin_phase(Phase::Setup);
        for host in self.built.servers.clone() {
            self.built.sim.start(host);
        }
        // Topics are placed on the brokers there are: all of them, so that leaders are spread.
        let brokers: Vec<NodeRef> = self.built.brokers.iter().map(|b| b.1).collect();
        let up = |run: &mut Self| {
            let unfenced = |b: &NodeRef| matches!(run.built.sim.inspect(*b), Some(Inspection::Broker(b)) if b.unfenced);
            brokers.iter().all(unfenced)
        };
        match self.wait(SETUP_WITHIN, up) {
            Some(true) => {}
            Some(false) => {
                self.break_off(Check::Convergence, "not every broker was unfenced within a minute".to_owned());
                return false;
            }
            None => return false,
        }
        self.built.sim.start(self.built.setup.0);
        let setup = self.built.setup.1;
        match self.wait(SETUP_WITHIN, |run| run.is_done(setup)) {
            Some(true) => true,
            Some(false) => {
                self.break_off(Check::Convergence, "the topics were not created and led within a minute".to_owned());
                false
            }
            None => false,
        }
    }

    fn hardship(&mut self) -> bool {
        self.built.sim.begin_phase(Phase::Hardship);
        let begin = self.built.sim.now();
        let end = begin + self.scenario.duration.get().0;
        self.hardship = (begin, end);
        let warm = self.scenario.warm_up.as_ref().map_or(Duration::ZERO, |w| w.get().0);
        self.watch.measure.between((begin + warm).as_nanos(), end.as_nanos());
        for host in self.built.load.clone() {
            self.built.sim.start(host);
        }
        if let Some(tell) = self.each_minute {
            let mut next = begin + MINUTE;
            while next < end {
                if !self.until(next) {
                    return false;
                }
                tell(next.since(begin).as_nanos());
                next += MINUTE;
            }
        }
        if !self.until(end) {
            return false;
        }
        if let Some(tell) = self.each_minute {
            tell(end.since(begin).as_nanos());
        }
        self.audit(AuditAt::Hardship);
        true
    }

    fn heal(&mut self) -> bool {
        self.built.sim.begin_phase(Phase::Heal);
        self.watch.injector.heal(&mut *self.built.sim);
        let within = self.scenario.converge_within.get().0;
        let deadline = self.built.sim.now() + within;
        let mut unmet = Vec::new();
        let Some(converged) = self.wait(within, |run| {
            unmet = run.unmet();
            unmet.is_empty()
        }) else {
            return false;
        };
        let mut works = converged;
        if converged {
            self.built.sim.start(self.built.probe.0);
            let probe = self.built.probe.1;
            // What a newcomer needs is counted into the same budget, but for a floor: convergence may come late.
            let left = deadline.since(self.built.sim.now()).max(Duration::from_secs(20));
            match self.wait(left, |run| run.is_done(probe)) {
                Some(true) => {}
                Some(false) => {
                    works = false;
                    let detail = "a new topic and a record to every partition were not acknowledged".to_owned();
                    unmet = vec![Unmet { condition: "new-producer", detail }];
                }
                None => return false,
            }
            // The probe's records must replicate too before replicas are compared.
            if works {
                match self.wait(within, |run| {
                    unmet = run.unmet();
                    unmet.is_empty()
                }) {
                    Some(settled) => works = settled,
                    None => return false,
                }
            }
        }
        self.converged = works;
        if works {
            self.audit(AuditAt::Convergence);
        } else if !self.scenario.expect.unavailable {
            self.watch.invariants.not_converged(self.built.sim.now(), self.watch.last, &unmet);
        }
        true
    }

    fn unmet(&mut self) -> Vec<Unmet> {
        let mut unmet = self.watch.invariants.unmet(&self.accounts(), &[]);
        for node in self.built.producers.clone() {
            if let Some(Inspection::Client(c)) = self.built.sim.inspect(node)
                && !c.done
            {
                let detail = format!("{}: {} sends unresolved", self.built.sim.node_name(node), c.pending_sends);
                unmet.push(Unmet { condition: "sends-resolved", detail });
            }
        }
        for node in self.built.models.clone() {
            let behind = self.behind(node);
            unmet.extend(behind.map(|detail| Unmet { condition: "read-model-behind", detail }));
        }
        for node in self.built.growers.clone() {
            if !self.is_done(node) {
                unmet.push(Unmet { condition: "topic-grown", detail: "a topic has not got its partitions".to_owned() });
            }
        }
        unmet
    }

    /// Where an instance of a read model has not read up to what its partitions' leaders have committed.
    fn behind(&self, node: NodeRef) -> Option<String> {
        let sim = &self.built.sim;
        let name = sim.node_name(node);
        let Some(Inspection::Client(c)) = sim.inspect(node) else { return Some(format!("{name} is down")) };
        for account in self.accounts() {
            let Some(Inspection::Broker(b)) = account.inspection else { continue };
            for p in b.partitions.iter().filter(|p| p.leader == b.id) {
                let at = c
                    .positions
                    .iter()
                    .find(|((topic, partition), _)| *topic == p.topic && *partition == p.partition.partition);
                if let Some((_, at)) = at.filter(|(_, at)| **at < p.high_watermark) {
                    return Some(format!(
                        "{name} is at {at} of {}-{}, committed is up to {}",
                        p.topic, p.partition.partition, p.high_watermark
                    ));
                }
            }
        }
        None
    }

    fn accounts(&self) -> Vec<Account> {
        let sim = &self.built.sim;
        sim.nodes().map(|node| Account { node, inspection: sim.inspect(node) }).collect()
    }

    fn audit(&mut self, when: AuditAt) {
        let files: Vec<ReplicaFiles> = self
            .built
            .brokers
            .iter()
            .map(|(_, node, host)| ReplicaFiles { node: *node, files: self.built.sim.files(*host) })
            .collect();
        let accounts = self.accounts();
        self.watch.invariants.audit(when, self.built.sim.now(), &files, &accounts);
    }

    fn final_read(&mut self) -> bool {
        self.built.sim.begin_phase(Phase::FinalRead);
        let mut partitions = Vec::new();
        for account in self.accounts() {
            let Some(Inspection::Broker(b)) = account.inspection else { continue };
            for p in b.partitions.iter().filter(|p| p.leader == b.id && !p.topic.starts_with("__")) {
                let source = klamm_model::history::TopicPartition {
                    topic: p.topic.as_str().into(),
                    partition: p.partition.partition,
                };
                partitions.push(FinalPartition { source, from: p.log_start, to: p.high_watermark });
            }
        }
        partitions.sort_by(|a, b| a.source.cmp(&b.source));
        partitions.dedup_by(|a, b| a.source == b.source);
        *self.built.final_partitions.borrow_mut() = partitions;
        self.built.sim.start(self.built.final_reader.0);
        let reader = self.built.final_reader.1;
        match self.wait(FINAL_READ_WITHIN, |run| run.is_done(reader)) {
            Some(true) => true,
            Some(false) => {
                self.break_off(Check::Convergence, "the final read did not reach every partition's end".to_owned());
                true
            }
            None => false,
        }
    }

    fn outcome(mut self, seed: u64, ended: &Ended) -> SeedOutcome {
        let now = ended.at;
        let partition_changes = declare::growth(self.scenario, self.hardship.0);
        let declared = Declared { partition_changes, ..declare::declare(&self.watch) };
        let verdicts = self.watch.judge.finish(now.as_nanos(), &declared);
        let mut armed: BTreeMap<String, u64> =
            verdicts.armed.into_iter().map(|(check, n)| (check.to_string(), n)).collect();
        self.watch.invariants.judged_by_world(self.built.sim.messages_judged());
        armed.extend(self.watch.invariants.armed().map(|(check, n)| (check.to_string(), n)));
        let mut findings = std::mem::take(&mut self.broken);
        findings.extend(verdicts.findings.into_iter().map(declare::from_oracle));
        let white_box = self.watch.invariants.findings().iter().chain(self.built.sim.findings());
        findings.extend(white_box.map(|f| declare::from_invariant(f, &declared)));
        findings.sort_by_key(|f| f.at);
        let (from, to) = (self.hardship.0.as_nanos(), now.as_nanos());
        let groups = self.watch.rebalances.finish();
        let names: BTreeMap<ClientId, String> = self.watch.client_names(&*self.built.sim);
        let name = |client: ClientId| names.get(&client).cloned().unwrap_or_default();
        let groups_over_time = self.watch.rebalances.over_time(from, to, name);
        let warm = self.scenario.warm_up.as_ref().map_or(Duration::ZERO, |w| w.get().0);
        let measured = ((self.hardship.0 + warm).as_nanos(), self.hardship.1.as_nanos());
        let mut services = self.watch.flows.finish(measured, (from, to), &name);
        let lag = services.as_mut().map(|s| std::mem::take(&mut s.lag)).unwrap_or_default();
        let timeline = self.watch.measure.timeline(from, to).map(|windows| Timeline {
            window_ns: WINDOW_NS,
            windows,
            bands: declare::bands(&self.watch),
            moments: declare::moments(&declared, from),
            groups: groups_over_time,
            services: lag,
        });
        let recording = self.watch.take_recording();
        let watch = self.watch;
        SeedOutcome {
            seed,
            digest: ended.digest,
            message_digest: ended.message_digest,
            events: ended.events,
            virtual_ns: now.as_nanos(),
            given_up: self.given_up,
            findings,
            judged: watch.judged,
            armed,
            faults: Vec::new(),
            became: watch.injector.became(&*self.built.sim),
            marks: watch.marks,
            fired: watch.injector.fired().iter().map(|f| f.planned.clone()).collect(),
            within_budget: watch.injector.facts().budget.is_within(),
            summary: verdicts.summary,
            response: watch.measure.response,
            service: watch.measure.service,
            outages: watch.measure.outages,
            observed_ns: self.scenario.duration.get().0.as_nanos()
                - self.scenario.warm_up.as_ref().map_or(0, |w| w.get().0.as_nanos()),
            declared,
            groups,
            services,
            resolved: self.scenario.clone(),
            schedule: Vec::new(),
            timeline,
            recording,
        }
    }
}
