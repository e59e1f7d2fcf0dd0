//! Whether faults changed anything. A fault that met nothing is no test: a kill of a host that was down, a partition that no
//! message met, a line whose condition never held.
//!
//! What shows at once (a live process stopped, bytes flipped, connections reset) is noted as the fault is applied. What
//! shows later is counted by the world while the fault is in force ([`Meter`], [`World::met_by`]) and looked at when the
//! fault ends, or told by an event. Nothing here changes a run.

#[cfg(test)]
mod tests;

use super::View;
use crate::event::{Event, HostId, What};
use crate::world::{HostState, Meter, RuleId, World};
use std::collections::{BTreeMap, BTreeSet};

/// Why a line, or one application of it, changed nothing. A closed set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Idle {
    /// Its time lies after the end of hardship, or the run broke off before.
    AfterTheEnd,
    /// It waited for a condition to the end.
    ConditionNeverHeld,
    /// Whatever it names was not there: no such partition, no leader, nothing killed before.
    NoTarget,
    /// What it was to stop was down already, or ended before it was reached.
    Down,
    /// What it was to start was up.
    Up,
    /// What it was to start had never been started.
    NeverStarted,
    /// What it was to shut down was shutting down already.
    ShuttingDown,
    /// What it was to pause was paused already.
    Paused,
    /// No message came its way.
    NoMessage,
    /// No segment that came its way was drawn to be lost.
    NoLoss,
    /// There was no connection to reset.
    NoConnection,
    /// The host's name was not looked up.
    NoLookup,
    /// No operation of the disk was of the kind that it alters.
    NoOperation,
    /// There was no closed, durable segment to damage.
    NothingToDamage,
    /// There was nothing to remove.
    NothingToRemove,
    /// No process read the clock afterwards.
    ClockUnread,
    /// It asks for no change: a factor of one, a step of nothing.
    NoChange,
}

impl Idle {
    /// All of them.
    pub const ALL: [Idle; 17] = [
        Idle::AfterTheEnd,
        Idle::ConditionNeverHeld,
        Idle::NoTarget,
        Idle::Down,
        Idle::Up,
        Idle::NeverStarted,
        Idle::ShuttingDown,
        Idle::Paused,
        Idle::NoMessage,
        Idle::NoLoss,
        Idle::NoConnection,
        Idle::NoLookup,
        Idle::NoOperation,
        Idle::NothingToDamage,
        Idle::NothingToRemove,
        Idle::ClockUnread,
        Idle::NoChange,
    ];

    /// In words, as reports have it.
    pub const fn words(self) -> &'static str {
        match self {
            Idle::AfterTheEnd => "its time came after the end",
            Idle::ConditionNeverHeld => "its condition was never true",
            Idle::NoTarget => "its target never existed",
            Idle::Down => "its target was down already",
            Idle::Up => "its target was up already",
            Idle::NeverStarted => "its target had never been started",
            Idle::ShuttingDown => "its target was shutting down already",
            Idle::Paused => "its target was paused already",
            Idle::NoMessage => "no message came its way",
            Idle::NoLoss => "no message was lost to it",
            Idle::NoConnection => "there was no connection to reset",
            Idle::NoLookup => "the name was not looked up",
            Idle::NoOperation => "the disk did nothing that it alters",
            Idle::NothingToDamage => "there was nothing to damage",
            Idle::NothingToRemove => "there was nothing to remove",
            Idle::ClockUnread => "the clock was not read afterwards",
            Idle::NoChange => "it asks for no change",
        }
    }
}

/// What became of one line of a schedule.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Became {
    /// Its time came.
    pub due: bool,
    /// How often it was applied to a target: once for each host where it is done to one.
    pub fired: u64,
    /// How many of these changed something.
    pub in_effect: u64,
    /// The hosts on which, and how often.
    pub on: BTreeMap<String, u64>,
    /// Why not, and how often.
    pub idle: BTreeMap<Idle, u64>,
}

/// Where it will show whether an application changed something.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Shows {
    /// It has shown.
    Already,
    /// By messages that a network rule meets.
    Rule(RuleId),
    /// By a meter of a host that stands higher than before.
    Above(HostId, Meter, u64),
    /// By the host being paused when the fault ends: its processes started in between.
    WhilePaused(HostId),
    /// By the next start of a process of the host.
    Start(HostId),
    /// By the next request to shut down that a process of the host takes up.
    ShutdownAsked(HostId),
    /// By unsynced data that the host lost with its power, though nothing ran.
    Loss(Vec<HostId>),
}

/// One application of a line, as it is being made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Application {
    /// The hosts that it is aimed at: of two sides, the first.
    aimed: Vec<HostId>,
    /// The hosts that it has changed something on.
    on: BTreeSet<HostId>,
    shows: Shows,
    otherwise: Idle,
}

impl Application {
    /// It has changed something on these hosts, and on no other; if they are none, this is why.
    pub fn on(hosts: impl IntoIterator<Item = HostId>, otherwise: Idle) -> Application {
        Application { aimed: Vec::new(), on: hosts.into_iter().collect(), shows: Shows::Already, otherwise }
    }
    fn later(shows: Shows, otherwise: Idle) -> Application {
        Application { aimed: Vec::new(), on: BTreeSet::new(), shows, otherwise }
    }
    /// Something will be done to the processes that run on a host. Call it before.
    pub fn to_processes(sim: &dyn World, host: HostId) -> Application {
        Application::on(is_live(sim, host).then_some(host), Idle::Down)
    }
    /// Hosts will lose power. Call it before.
    pub fn to_power(sim: &dyn World, hosts: &[HostId]) -> Application {
        let live: BTreeSet<HostId> = hosts.iter().copied().filter(|host| is_live(sim, *host)).collect();
        let idle = hosts.iter().copied().filter(|host| sim.host_state(*host) == HostState::Down).collect();
        Application { on: live, ..Application::later(Shows::Loss(idle), Idle::Down) }
    }
    /// A host will be started. `stopping`: some of its processes are still shutting down. Call it before.
    pub fn to_start(sim: &dyn World, host: HostId, stopping: bool) -> Application {
        let nodes = sim.nodes_on(host);
        if nodes.iter().all(|node| sim.incarnation(*node).0 == 0) {
            Application::on([], Idle::NeverStarted)
        } else if !stopping && nodes.iter().all(|node| sim.is_running(*node)) {
            Application::on([], Idle::Up)
        } else {
            Application::later(Shows::Start(host), Idle::AfterTheEnd)
        }
    }
    /// A host will be shut down. `asked`: all its processes that run have been asked before. Call it before.
    pub fn to_shut_down(sim: &dyn World, host: HostId, asked: bool) -> Application {
        match is_live(sim, host) {
            false => Application::on([], Idle::Down),
            true if asked => Application::on([], Idle::ShuttingDown),
            true => Application::later(Shows::ShutdownAsked(host), Idle::Down),
        }
    }
    /// A host will be paused. Call it before.
    pub fn to_pause(sim: &dyn World, host: HostId) -> Application {
        match sim.host_state(host) {
            HostState::Running => Application::on([host], Idle::Paused),
            HostState::Paused => Application::on([], Idle::Paused),
            HostState::Down | HostState::Off => Application::later(Shows::WhilePaused(host), Idle::Down),
        }
    }
    /// A rule of the network is in force; it is aimed at its first side.
    pub fn to_messages(rule: RuleId, aimed: Vec<HostId>, otherwise: Idle) -> Application {
        Application { aimed, ..Application::later(Shows::Rule(rule), otherwise) }
    }
    /// A host's meter will rise with what is changed. Call it before.
    pub fn to_meter(sim: &dyn World, host: HostId, meter: Meter, otherwise: Idle) -> Application {
        Application::later(Shows::Above(host, meter, sim.met(meter)), otherwise)
    }

    /// Looks whether it has shown by now.
    fn look(&mut self, sim: &dyn World) {
        match &self.shows {
            Shows::Rule(rule) => self.on.extend(sim.met_by(*rule).into_iter().filter(|host| self.aimed.contains(host))),
            Shows::Above(host, meter, before) if sim.met(*meter) > *before => drop(self.on.insert(*host)),
            Shows::WhilePaused(host) if sim.host_state(*host) == HostState::Paused => drop(self.on.insert(*host)),
            _ => {}
        }
    }
}

fn is_live(sim: &dyn World, host: HostId) -> bool {
    matches!(sim.host_state(host), HostState::Running | HostState::Paused)
}

/// What became of a line's time and target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Line {
    due: bool,
    /// It was to fire, and nothing was there.
    missed: bool,
}

/// All lines of a schedule, and every application of them.
#[derive(Debug, Default)]
pub(super) struct Effects {
    lines: Vec<Line>,
    applied: Vec<(usize, Application)>,
}

/// An application's number.
pub(super) type AppliedId = usize;

impl Effects {
    /// Of so many lines.
    pub fn new(lines: usize) -> Effects {
        Effects { lines: vec![Line::default(); lines], applied: Vec::new() }
    }
    /// A line's time has come.
    pub fn due(&mut self, line: usize) {
        self.lines[line].due = true;
    }
    /// A line was to fire, and nothing that it names was there.
    pub fn missed(&mut self, line: usize) {
        self.lines[line].missed = true;
    }
    /// A line was applied.
    pub fn applied(&mut self, line: usize, application: Application) -> AppliedId {
        self.applied.push((line, application));
        self.applied.len() - 1
    }
    /// A fault ends: what shows only while it is in force has shown by now. Call it before it is undone.
    pub fn ended(&mut self, id: AppliedId, sim: &dyn World) {
        let application = &mut self.applied[id].1;
        application.look(sim);
        application.shows = Shows::Already;
    }
    /// What events tell.
    pub fn saw(&mut self, event: &Event<'_>) {
        let Some(host) = event.host else { return };
        let tells = |shows: &Shows| match (&event.what, shows) {
            (What::Started { .. }, Shows::Start(of)) | (What::ShutdownAsked, Shows::ShutdownAsked(of)) => *of == host,
            (What::PowerLost { lost }, Shows::Loss(of)) => of.contains(&host) && !lost.is_empty(),
            _ => false,
        };
        for (_, application) in self.applied.iter_mut().filter(|(_, a)| tells(&a.shows)) {
            application.on.insert(host);
            if !matches!(application.shows, Shows::Loss(_)) {
                application.shows = Shows::Already;
            }
        }
    }

    /// What became of each line by now.
    pub fn became(&self, sim: &dyn World, view: &View) -> Vec<Became> {
        let mut all: Vec<Became> =
            self.lines.iter().map(|line| Became { due: line.due, ..Became::default() }).collect();
        for (line, application) in &self.applied {
            let mut application = application.clone();
            application.look(sim);
            let became = &mut all[*line];
            became.fired += 1;
            if application.on.is_empty() {
                *became.idle.entry(application.otherwise).or_default() += 1;
                continue;
            }
            became.in_effect += 1;
            for host in application.on {
                *became.on.entry(view.host_name(host).to_owned()).or_default() += 1;
            }
        }
        for (line, became) in self.lines.iter().zip(&mut all).filter(|(_, became)| became.fired == 0) {
            let why = match line {
                Line { due: false, .. } => Idle::AfterTheEnd,
                Line { missed: true, .. } => Idle::NoTarget,
                Line { .. } => Idle::ConditionNeverHeld,
            };
            became.idle.insert(why, 1);
        }
        all
    }
}
