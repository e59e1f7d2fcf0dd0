//! Fires a schedule at a world: decides when each line's moment has come and whom it means, applies it, ends it,
//! and writes down what it became.
//!
//! A line fires at its time or, with a condition, right after the first event from then on at which it holds. A line
//! that means nobody yet (no leader, nobody killed so far) waits until it means somebody. What fired is a schedule
//! again, with hosts by name, the exact nanosecond and the ordinal of the event that matched; replaying it gives the
//! same run. A clock that drifted is right again afterwards; one that was stepped stays as it is.

use super::effects::{Application, AppliedId, Effects, Idle};
use super::facts::{Facts, offsets_of};
use super::when::{Condition, Since};
use super::who::Expr;
use super::{Action, Became, Fired, HostInfo, Planned, Schedule, ScheduleError, View, Who, api_named};
use crate::disk::DiskFault;
use crate::event::{Event, HostId, NodeRef, Observer, Phase, What};
use crate::world::{Driver, HostState, Meter, RuleId, World};
use bytes::Bytes;
use klamm_model::disk::Path;
use klamm_model::ids::Incarnation;
use klamm_model::ids::TopicIdPartition;
use klamm_model::trace::TraceEvent;
use klamm_model::units::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How often a host that is to restart after a controlled shutdown is looked at until its processes are gone.
const RESTART_POLL: Duration = Duration::from_millis(50);

/// A line whose time has come.
#[derive(Debug)]
struct Waiting {
    line: usize,
    condition: Option<Condition>,
    since: Since,
    /// The ordinal to wait for, in a fired schedule.
    after: Option<u64>,
}

/// A fault in force.
#[derive(Debug)]
struct InForce {
    id: u64,
    action: Action,
    undo: Undo,
    applied: AppliedId,
}

/// How a fault ends.
#[derive(Debug)]
enum Undo {
    Rule(RuleId),
    Disk(HostId, DiskFault),
    Resume(HostId),
    Resolve(HostId),
    Drift(HostId),
    Restart(Vec<HostId>),
}

#[derive(Clone, Copy, Debug)]
enum Todo {
    End(u64),
    Restart(HostId),
    Repair(HostId),
}

/// See the module. It watches, and acts between events.
#[derive(Debug)]
pub struct Injector {
    schedule: Schedule,
    seed: u64,
    view: View,
    facts: Facts,
    /// The beginning of hardship.
    origin: Option<Instant>,
    /// Lines whose time has not come, the next one last.
    unarmed: Vec<usize>,
    waiting: Vec<Waiting>,
    in_force: Vec<InForce>,
    agenda: BTreeMap<(Instant, u64), Todo>,
    /// Nodes that were told to shut down and still run.
    stopping: BTreeSet<NodeRef>,
    /// Rotten replicas that nothing can replace.
    beyond_repair: Vec<(HostId, TopicIdPartition)>,
    effects: Effects,
    numbers: u64,
    fired: Vec<Fired>,
    last: u64,
    seen: u64,
    act_now: bool,
}

impl Injector {
    /// For a world whose hosts and nodes have all been added. `min_insync_replicas` is the brokers' default.
    pub fn new(
        schedule: Schedule,
        sim: &dyn World,
        seed: u64,
        min_insync_replicas: usize,
    ) -> Result<Injector, ScheduleError> {
        let hosts = HostInfo::all(sim);
        schedule.check(&hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>())?;
        schedule.check_can(|action| sim.refuses(action))?;
        let mut view = View::new(hosts);
        let mut unarmed: Vec<usize> = (0..schedule.faults.len()).collect();
        unarmed.sort_by_key(|line| std::cmp::Reverse((schedule.faults[*line].at, *line)));
        let needs = |text: &String| condition(&view, text).is_some_and(|c| c.needs_appends());
        let follow = schedule.faults.iter().filter_map(|f| f.when.as_ref()).any(needs);
        view.follow_appends(follow);
        view.follow_groups(!schedule.groups(view.host_names()).is_empty());
        let effects = Effects::new(schedule.faults.len());
        Ok(Injector {
            schedule,
            seed,
            view,
            facts: Facts::new(min_insync_replicas),
            origin: None,
            unarmed,
            waiting: Vec::new(),
            in_force: Vec::new(),
            agenda: BTreeMap::new(),
            stopping: BTreeSet::new(),
            beyond_repair: Vec::new(),
            effects,
            numbers: 0,
            fired: Vec::new(),
            last: 0,
            seen: u64::MAX,
            act_now: false,
        })
    }
    /// What events have told so far.
    pub fn view(&self) -> &View {
        &self.view
    }
    /// What happened that may excuse a finding.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
    /// Whether a fault lasts: a network rule, a slow or failing disk, a pause and the like.
    pub fn is_under_way(&self) -> bool {
        !self.in_force.is_empty()
    }
    /// What fired, in order.
    pub fn fired(&self) -> &[Fired] {
        &self.fired
    }
    /// The lines that did not fire.
    pub fn unfired(&self) -> Vec<usize> {
        (0..self.schedule.faults.len()).filter(|line| self.fired.iter().all(|f| f.line != *line)).collect()
    }

    /// What became of each line so far, and whether it changed anything.
    pub fn became(&self, sim: &dyn World) -> Vec<Became> {
        self.effects.became(sim, &self.view)
    }

    fn time_of(&self, line: usize) -> Option<Instant> {
        self.origin.map(|origin| origin + Duration::from_nanos(self.schedule.faults[line].at))
    }

    /// Whether a waiting line may fire, as far as moment and condition go.
    fn is_ready(&self, w: &Waiting, now: Instant) -> bool {
        if let Some(after) = w.after {
            return self.last >= after || self.time_of(w.line).is_some_and(|at| now > at);
        }
        w.condition.as_ref().is_none_or(|c| c.holds(&self.view, &w.since))
    }

    /// Rotten replicas that could not be replaced for want of another in-sync copy: their partitions are lost.
    pub fn beyond_repair(&self) -> &[(HostId, TopicIdPartition)] {
        &self.beyond_repair
    }

    /// Ends all faults and restarts every host that is down. Nothing fires any more.
    ///
    /// A host with a rotten replica is stopped first and starts again with that replica emptied, once the cluster
    /// has taken it out of the ISR (as an operator would wait for). The injector must go on driving the world for that.
    pub fn heal(&mut self, sim: &mut dyn World) {
        self.unarmed.clear();
        self.waiting.clear();
        self.agenda.clear();
        self.act_now = false;
        for fault in std::mem::take(&mut self.in_force) {
            self.end(sim, fault);
        }
        let (now, hosts) = (sim.now(), sim.hosts().collect::<Vec<_>>());
        for host in hosts {
            sim.heal_disk(host);
            if sim.host_state(host) == HostState::Paused {
                sim.resume(host);
            }
            if self.facts.damages.iter().any(|d| d.host == host) {
                sim.kill(host);
                self.plan(now, Todo::Repair(host));
            } else {
                self.restart(sim, host);
            }
        }
    }

    /// Empties a stopped host's rotten replicas and starts it, or waits until that is safe.
    fn repair(&mut self, sim: &mut dyn World, host: HostId) {
        let mut rotten = BTreeMap::new();
        for damage in self.facts.damages.iter().filter(|d| d.host == host) {
            rotten.insert(damage.partition, (damage.broker, damage.range.file.parent()));
        }
        rotten.retain(|p, _| self.view.partition_by_id(*p).is_some());
        let isr = |p: &TopicIdPartition| self.view.partition_by_id(*p).map_or(&[][..], |p| &p.isr);
        let alone: Vec<_> = rotten.iter().filter(|(p, (broker, _))| isr(p) == [*broker]).map(|(p, _)| *p).collect();
        rotten.retain(|p, _| !alone.contains(p));
        if rotten.iter().any(|(p, (broker, _))| isr(p).contains(broker)) {
            self.plan(sim.now() + RESTART_POLL, Todo::Repair(host));
            return;
        }
        self.beyond_repair.extend(alone.into_iter().map(|p| (host, p)));
        for (_, dir) in rotten.values() {
            sim.erase(host, dir);
        }
        self.restart(sim, host);
    }

    /// Starts what does not run; what is still shutting down is started when it is gone, and what has never run
    /// is not for a fault to start.
    fn restart(&mut self, sim: &mut dyn World, host: HostId) {
        if !sim.nodes_on(host).into_iter().any(|node| sim.incarnation(node) > Incarnation(0)) {
            return;
        }
        if sim.nodes_on(host).into_iter().any(|node| self.stopping.contains(&node)) {
            self.plan(sim.now() + RESTART_POLL, Todo::Restart(host));
        } else if !sim.nodes_on(host).into_iter().all(|node| sim.is_running(node)) {
            sim.start(host);
        }
    }

    fn plan(&mut self, at: Instant, todo: Todo) {
        self.numbers += 1;
        self.agenda.insert((at, self.numbers), todo);
    }

    /// Fires a line if everybody it names can be found.
    fn fire(&mut self, sim: &mut dyn World, line: usize, after: Option<u64>) -> bool {
        let planned = self.schedule.faults[line].clone();
        let Some(actions) = self.resolve(line, &planned.action) else {
            self.effects.missed(line);
            return false;
        };
        let at = self.origin.map_or(0, |origin| sim.now().since(origin).as_nanos());
        for action in actions {
            let (lasts, of) = (planned.lasts, planned.of);
            let resolved = Planned { at, when: None, after, lasts, of, action: action.clone() };
            self.fired.push(Fired { line, planned: resolved });
            self.apply(sim, line, action, lasts);
        }
        true
    }

    /// The action with hosts by name: one for each host where it is done to one. `None` if somebody is missing.
    fn resolve(&self, line: usize, action: &Action) -> Option<Vec<Action>> {
        let mut action = action.clone();
        if let Some(who) = action.target_mut() {
            let hosts = self.hosts_of(line, 0, std::slice::from_ref(who), &[])?;
            let to = |host: HostId| {
                let mut one = action.clone();
                if let Some(who) = one.target_mut() {
                    *who = self.name(host);
                }
                one
            };
            return Some(hosts.into_iter().map(to).collect());
        }
        let mut sides = action.sides_mut();
        let expressions: Vec<Vec<Who>> = sides.iter().map(|side| (*side).clone()).collect();
        let mut hosts: Vec<Vec<HostId>> = vec![Vec::new(); sides.len()];
        // A side that means "the others" comes last.
        let mut order: Vec<usize> = (0..sides.len()).collect();
        order.sort_by_key(|side| expressions[*side].iter().any(|who| who.0.trim() == "others"));
        for side in order {
            let other = if sides.len() == 2 { hosts[1 - side].clone() } else { Vec::new() };
            hosts[side] = self.hosts_of(line, side as u64, &expressions[side], &other)?;
        }
        for (side, hosts) in sides.iter_mut().zip(hosts) {
            **side = hosts.into_iter().map(|host| self.name(host)).collect();
        }
        drop(sides);
        Some(vec![action])
    }

    fn hosts_of(&self, line: usize, side: u64, who: &[Who], other: &[HostId]) -> Option<Vec<HostId>> {
        let mut all = Vec::new();
        for (n, who) in who.iter().enumerate() {
            let names = self.view.host_names();
            let expr = Expr::parse(&who.0, names).ok()?;
            let mut key = [0u8; 24];
            for (place, part) in key.chunks_exact_mut(8).zip([line as u64, side, n as u64]) {
                place.copy_from_slice(&part.to_le_bytes());
            }
            let found = expr.resolve(&self.view, other, xxh3_64_with_seed(&key, self.seed));
            if found.is_empty() {
                return None;
            }
            all.extend(found);
        }
        all.sort_unstable();
        all.dedup();
        Some(all)
    }

    fn name(&self, host: HostId) -> Who {
        Who(self.view.host_name(host).to_owned())
    }

    fn hosts_named(&self, who: &[Who]) -> Vec<HostId> {
        who.iter().filter_map(|who| self.view.host_named(&who.0)).collect()
    }

    /// Does a resolved action to the world, and plans its end.
    fn apply(&mut self, sim: &mut dyn World, line: usize, mut action: Action, lasts: Option<u64>) {
        sim.announce_fault(action.clone(), false);
        let now = sim.now();
        let target = action.target_mut().map(|who| who.0.clone()).and_then(|name| self.view.host_named(&name));
        let host = target.unwrap_or(HostId(0));
        let disk = |sim: &mut dyn World, fault| {
            let otherwise = if fault == DiskFault::Slow(1) { Idle::NoChange } else { Idle::NoOperation };
            let applied = Application::to_meter(sim, host, Meter::Disk(host, fault), otherwise);
            sim.disk_fault(host, fault, true);
            (applied, Some(Undo::Disk(host, fault)))
        };
        let unless = |nothing: bool, otherwise: Idle| if nothing { Idle::NoChange } else { otherwise };
        let (applied, undo) = match &action {
            Action::Kill { .. } => {
                let applied = Application::to_processes(sim, host);
                sim.kill(host);
                (applied, Some(Undo::Restart(vec![host])))
            }
            Action::PowerLoss { who } => {
                let hosts = self.hosts_named(who);
                let applied = Application::to_power(sim, &hosts);
                sim.power_loss(&hosts);
                (applied, Some(Undo::Restart(hosts)))
            }
            Action::Restart { .. } => {
                let stopping = sim.nodes_on(host).iter().any(|node| self.stopping.contains(node));
                let applied = Application::to_start(sim, host, stopping);
                self.restart(sim, host);
                (applied, None)
            }
            Action::Shutdown { .. } => {
                let running: Vec<NodeRef> =
                    sim.nodes_on(host).into_iter().filter(|node| sim.is_running(*node)).collect();
                let asked = running.iter().all(|node| self.stopping.contains(node));
                let applied = Application::to_shut_down(sim, host, asked);
                self.stopping.extend(running);
                sim.shutdown(host);
                (applied, Some(Undo::Restart(vec![host])))
            }
            Action::Pause { .. } => {
                let applied = Application::to_pause(sim, host);
                sim.pause(host);
                (applied, Some(Undo::Resume(host)))
            }
            Action::Partition { a, b, one_way } => {
                let a = self.hosts_named(a);
                let rule = sim.partition(&a, &self.hosts_named(b), *one_way);
                (Application::to_messages(rule, a, Idle::NoMessage), Some(Undo::Rule(rule)))
            }
            Action::Latency { a, b, extra } => {
                let a = self.hosts_named(a);
                let rule = sim.add_latency(&a, &self.hosts_named(b), Duration::from_nanos(*extra));
                (Application::to_messages(rule, a, unless(*extra == 0, Idle::NoMessage)), Some(Undo::Rule(rule)))
            }
            Action::Loss { a, b, ppm } => {
                let a = self.hosts_named(a);
                let rule = sim.add_loss(&a, &self.hosts_named(b), *ppm);
                (Application::to_messages(rule, a, unless(*ppm == 0, Idle::NoLoss)), Some(Undo::Rule(rule)))
            }
            Action::Reset { a, b } => {
                let a = self.hosts_named(a);
                let hit = sim.reset(&a, &self.hosts_named(b));
                (Application::on(hit.into_iter().filter(|host| a.contains(host)), Idle::NoConnection), None)
            }
            Action::Hold { api, responses, from, to } => {
                let api = api_named(api).expect("checked: an API");
                let from = self.hosts_named(from);
                let rule = sim.hold(api, *responses, &from, &self.hosts_named(to));
                (Application::to_messages(rule, from, Idle::NoMessage), Some(Undo::Rule(rule)))
            }
            Action::Unresolvable { .. } => {
                let applied = Application::to_meter(sim, host, Meter::Lookups(host), Idle::NoLookup);
                sim.unresolvable(host, true);
                (applied, Some(Undo::Resolve(host)))
            }
            Action::DiskStall { .. } => disk(sim, DiskFault::Stall),
            Action::DiskSlow { factor, .. } => disk(sim, DiskFault::Slow(*factor)),
            Action::DiskError { on, .. } => disk(sim, DiskFault::Error(*on)),
            Action::LyingFsync { .. } => disk(sim, DiskFault::LyingFsync),
            Action::DiskFull { .. } => disk(sim, DiskFault::Full),
            Action::BitRot { log, .. } => {
                let damaged = self.rot(sim, host, log);
                (Application::on(damaged.then_some(host), Idle::NothingToDamage), None)
            }
            Action::Wipe { .. } => {
                let ran = matches!(sim.host_state(host), HostState::Running | HostState::Paused);
                sim.kill(host);
                let gone = sim.wipe(host);
                let applied = Application::on((ran || !gone.is_empty()).then_some(host), Idle::NothingToRemove);
                sim.announce_damage(host, gone);
                (applied, Some(Undo::Restart(vec![host])))
            }
            Action::ClockStep { by_ms, .. } => {
                let otherwise = unless(*by_ms == 0, Idle::ClockUnread);
                let applied = Application::to_meter(sim, host, Meter::Clock(host), otherwise);
                sim.step_wall_clock(host, *by_ms);
                (applied, None)
            }
            Action::ClockDrift { ppm, .. } => {
                let otherwise = unless(*ppm == 0, Idle::ClockUnread);
                let applied = Application::to_meter(sim, host, Meter::Clock(host), otherwise);
                sim.set_drift(host, *ppm);
                (applied, Some(Undo::Drift(host)))
            }
        };
        let applied = self.effects.applied(line, applied);
        if let Some(undo) = undo {
            self.numbers += 1;
            let id = self.numbers;
            self.in_force.push(InForce { id, action, undo, applied });
            if let Some(lasts) = lasts {
                self.plan(now + Duration::from_nanos(lasts), Todo::End(id));
            }
        }
    }

    /// Flips bits, and notes which batches they belong to, as they were; whether there were any.
    fn rot(&mut self, sim: &mut dyn World, host: HostId, log: &str) -> bool {
        let below = format!("{log}/");
        let before: Vec<(Path, Vec<Bytes>)> =
            sim.files(host).into_iter().filter(|(path, _)| path.as_str().starts_with(&below)).collect();
        let ranges = sim.bit_rot(host, log);
        for range in &ranges {
            let segment =
                before.iter().find(|(path, _)| *path == range.file).map(|(_, pieces)| Bytes::from(pieces.concat()));
            if let Some((from, to)) = segment.and_then(|segment| offsets_of(&segment, range)) {
                self.facts.rot(host, range.clone(), from, to);
            }
        }
        let damaged = !ranges.is_empty();
        if damaged {
            sim.announce_damage(host, ranges);
        }
        damaged
    }

    fn end(&mut self, sim: &mut dyn World, fault: InForce) {
        self.effects.ended(fault.applied, sim);
        sim.announce_fault(fault.action.clone(), true);
        // Several faults of one kind may hold a host; the last one to end lets it go.
        let others = &self.in_force;
        match fault.undo {
            Undo::Rule(rule) => sim.remove_rule(rule),
            Undo::Disk(host, fault) => sim.disk_fault(host, fault, false),
            Undo::Resume(host) => {
                if !others.iter().any(|o| matches!(o.undo, Undo::Resume(h) if h == host)) {
                    sim.resume(host);
                }
            }
            Undo::Resolve(host) => {
                if !others.iter().any(|o| matches!(o.undo, Undo::Resolve(h) if h == host)) {
                    sim.unresolvable(host, false);
                }
            }
            Undo::Drift(host) => sim.set_drift(host, 0),
            Undo::Restart(hosts) => {
                for host in hosts {
                    self.restart(sim, host);
                }
            }
        }
    }
}

fn condition(view: &View, text: &str) -> Option<Condition> {
    Condition::parse(text, view.host_names()).ok()
}

impl Observer for Injector {
    fn event(&mut self, event: &Event<'_>) {
        self.last = event.ordinal.0;
        // Nine events of ten are of no concern to faults, unless one waits for its ordinal.
        let tells = match &event.what {
            What::RequestSent { .. }
            | What::RequestTaken { .. }
            | What::ResponseSent { .. }
            | What::ResponseTaken { .. }
            | What::DiskAsked { .. }
            | What::TimerFired
            | What::Op(_) => self.view.wants_of_groups(event),
            What::Trace(trace) => !matches!(**trace, TraceEvent::AckDecided { .. }),
            What::DiskDone { .. } => self.view.follows_appends(),
            _ => true,
        };
        if !tells && self.waiting.is_empty() {
            return;
        }
        self.facts.event(event, &self.view);
        self.view.event(event);
        match event.what {
            What::Started { .. } | What::ShutdownAsked | What::PowerLost { .. } => self.effects.saw(event),
            What::Ended { .. } => {
                event.node.iter().for_each(|node| {
                    self.stopping.remove(node);
                });
            }
            What::Phase(Phase::Hardship) => self.origin = Some(event.at),
            What::Phase(Phase::Heal | Phase::FinalRead | Phase::Done) => {
                self.unarmed.clear();
                self.waiting.clear();
            }
            _ => {}
        }
        if self.facts.is_curious() {
            self.act_now = true;
        }
        if self.waiting.is_empty() || self.act_now {
            return;
        }
        let changed = self.seen != self.view.version();
        self.seen = self.view.version();
        self.act_now = self.waiting.iter().any(|w| (changed || w.after.is_some()) && self.is_ready(w, event.at));
    }
}

impl Driver for Injector {
    fn next_action_at(&self) -> Option<Instant> {
        if self.agenda.is_empty() && self.unarmed.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let ends = self.agenda.keys().next().map(|(at, _)| *at);
        let line = self.unarmed.last().and_then(|line| self.time_of(*line));
        // A line of a fired schedule whose event did not come.
        let missed = self.waiting.iter().filter(|w| w.after.is_some()).filter_map(|w| self.time_of(w.line)).min();
        ends.into_iter().chain(line).chain(missed.map(|at| at + Duration::from_nanos(1))).min()
    }
    fn wants_to_act(&self) -> bool {
        self.act_now
    }
    fn act(&mut self, sim: &mut dyn World) {
        let after = std::mem::take(&mut self.act_now).then_some(self.last);
        let now = sim.now();
        self.facts.look(sim);
        while let Some(entry) = self.agenda.first_entry().filter(|e| e.key().0 <= now) {
            match entry.remove() {
                Todo::End(id) => {
                    if let Some(i) = self.in_force.iter().position(|f| f.id == id) {
                        let fault = self.in_force.remove(i);
                        self.end(sim, fault);
                    }
                }
                Todo::Restart(host) => self.restart(sim, host),
                Todo::Repair(host) => self.repair(sim, host),
            }
        }
        while let Some(line) =
            self.unarmed.last().copied().filter(|line| self.time_of(*line).is_some_and(|at| at <= now))
        {
            self.unarmed.pop();
            self.effects.due(line);
            let planned = &self.schedule.faults[line];
            let condition = planned.when.as_ref().and_then(|text| condition(&self.view, text));
            let since = condition.as_ref().map(|c| c.since(&self.view)).unwrap_or_default();
            self.waiting.push(Waiting { line, condition, since, after: planned.after });
        }
        self.seen = self.view.version();
        let (mut i, mut fired) = (0, Vec::new());
        while i < self.waiting.len() {
            if self.is_ready(&self.waiting[i], now) {
                let w = self.waiting.remove(i);
                fired.push(w);
            } else {
                i += 1;
            }
        }
        for mut w in fired {
            if !self.fire(sim, w.line, after) {
                // Nobody is meant yet: the next change of the view may tell.
                w.after = None;
                self.waiting.push(w);
            }
        }
    }
}
