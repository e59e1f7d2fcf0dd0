//! What faults do to the turmoil world.
//!
//! A kill drops the process within its running host, so that the host's kernel, turmoil, ends its connections and refuses
//! new ones. A loss of power is turmoil's crash, with every link cut before, so that nobody is told; the way back is its
//! bounce.

use super::disk::HostDisk;
use super::links::Effect;
use super::process::{Boot, supervise};
use super::seen::{Seen, Ticket};
use super::shared::{HostShared, Running, WallClock};
use super::{Host, Node, Turmoil, refusal};
use crate::des::random::{Purpose, draw, identity};
use crate::des::{HostSpec, NodeKind, NodeSpec};
use crate::disk::{Disk, DiskFault};
use crate::event::{Ending, HostId, LostData, NodeRef, Phase};
use crate::faults::Action;
use crate::invariants::Finding;
use crate::shell::process::Control;
use crate::world::{Driver, HostState, Meter, RuleId, Stop, World};
use bytes::Bytes;
use klamm_model::disk::Path;
use klamm_model::ids::{ApiKey, Incarnation};
use klamm_model::inspect::Inspection;
use klamm_model::units::{Duration, Instant};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What is refused before a run begins never comes this far.
const REFUSED: &str = "refused by `refusal`";

impl Turmoil {
    fn host(&self, host: HostId) -> &Host {
        &self.hosts[usize::from(host.0)]
    }
    fn disk(&self, host: HostId) -> Rc<HostDisk> {
        self.shared.hosts.borrow()[usize::from(host.0)].disk.clone()
    }
    fn tell_node(&self, node: NodeRef, control: Control) {
        if let Some(running) = &self.shared.running.borrow()[usize::from(node.0)] {
            let _ = running.control.send(control);
        }
    }

    /// Network rules, or the hosts they concern, are others than before. `fresh` as in [`super::links::Links::apply`].
    fn rules_changed(&mut self, fresh: &[HostId]) {
        self.links.apply(&self.sim, fresh);
        *self.shared.ways.borrow_mut() = self.links.ways();
    }

    /// Makes a host known to turmoil, or gives it power again.
    fn power(&mut self, host: HostId) {
        let name = self.host(host).name.clone();
        let was_off = self.links.off.remove(&host);
        if !self.links.knows(host) {
            let (shared, boots) = (self.shared.clone(), self.host(host).boots.clone());
            self.sim.host(name.as_str(), move || {
                let (to, from) = unbounded_channel();
                *boots.borrow_mut() = Some(to);
                supervise(shared.clone(), from)
            });
            let address = self.sim.lookup(name.as_str());
            self.links.known(host, address);
            self.shared.addresses.borrow_mut().insert(address, host);
            self.rules_changed(&[host]);
        } else if was_off {
            self.sim.bounce(name.as_str());
            self.rules_changed(&[]);
        }
    }

    fn start_node(&mut self, host: HostId, node: NodeRef) {
        let slot = &mut self.nodes[usize::from(node.0)];
        slot.incarnations += 1;
        let incarnation = Incarnation(slot.incarnations);
        let machine = Rc::new(RefCell::new((slot.make)(incarnation)));
        let (name, listeners) = (Rc::from(slot.name.as_str()), slot.listeners.clone());
        let (control, controlled) = unbounded_channel();
        let (life, killed) = oneshot::channel();
        self.shared.running.borrow_mut()[usize::from(node.0)] =
            Some(Running { incarnation, machine: machine.clone(), control, _life: life });
        let started = self.notice(Some(host), Some(node), Seen::Started { incarnation });
        let boot = Boot { name, host, node, incarnation, machine, listeners, control: controlled, killed, started };
        if let Some(boots) = &*self.host(host).boots.borrow() {
            let _ = boots.send(boot);
        }
    }

    fn end_nodes(&mut self, host: HostId, how: &Ending) {
        for node in self.host(host).nodes.clone() {
            let incarnation = World::incarnation(self, node);
            self.shared.ended((host, node), incarnation, how.clone(), &self.cause);
        }
        self.hosts[usize::from(host.0)].paused = false;
    }
}

impl World for Turmoil {
    fn add_host(&mut self, spec: HostSpec) -> HostId {
        let host = HostId(u16::try_from(self.hosts.len()).expect("fewer hosts"));
        let key = identity(self.shared.seed, &spec.name);
        let taken = self.shared.names.borrow_mut().insert(spec.name.clone(), host);
        assert!(taken.is_none(), "two hosts called {}", spec.name);
        assert!(spec.clock.drift_ppm == 0, "clocks that drift are refused before a world is built");
        self.shared.hosts.borrow_mut().push(HostShared {
            disk: Rc::new(HostDisk::new(Disk::new(spec.disk, draw(Purpose::Disk, key, 0)))),
            uptime: spec.clock.monotonic_at_start,
            wall: Rc::new(WallClock::off_by(spec.clock.wall_offset_ms)),
            unresolvable: false,
            unresolved: 0,
        });
        self.hosts.push(Host { name: spec.name, nodes: Vec::new(), boots: Rc::default(), paused: false });
        host
    }

    fn add_node(&mut self, spec: NodeSpec) -> NodeRef {
        let node = NodeRef(u16::try_from(self.nodes.len()).expect("fewer nodes"));
        let NodeSpec { name, host, kind, listeners, make } = spec;
        self.hosts[usize::from(host.0)].nodes.push(node);
        let mut listening = self.shared.listening.borrow_mut();
        listening.extend(listeners.iter().map(|(_, port)| ((host, *port), node)));
        drop(listening);
        self.shared.running.borrow_mut().push(None);
        self.nodes.push(Node { name, kind, listeners, make, incarnations: 0 });
        node
    }

    /// By ticks; who acts does so between them.
    fn drive(&mut self, until: Instant, driver: &mut dyn Driver) -> Stop {
        loop {
            self.tell(driver);
            if let Some(stop) = self.verdict() {
                return stop;
            }
            if driver.gives_up() {
                return Stop::GivenUp;
            }
            let now = self.time();
            if driver.wants_to_act() || driver.next_action_at().is_some_and(|at| at <= now) {
                self.cause = Ticket::default();
                self.budget.step(now, 0);
                driver.act(self);
                continue;
            }
            if now >= until {
                return Stop::Reached;
            }
            self.tick();
        }
    }

    fn now(&self) -> Instant {
        self.time()
    }
    fn events(&self) -> u64 {
        self.ordinal
    }
    /// Over every event and every byte that was read from a socket.
    fn digest(&self) -> u64 {
        xxh3_64_with_seed(&self.shared.bytes_digest().to_le_bytes(), self.digest.value())
    }
    fn host_count(&self) -> u16 {
        self.hosts.len() as u16
    }
    fn node_count(&self) -> u16 {
        self.nodes.len() as u16
    }
    fn host_name(&self, host: HostId) -> &str {
        &self.host(host).name
    }
    fn node_name(&self, node: NodeRef) -> &str {
        &self.nodes[usize::from(node.0)].name
    }
    fn node_kind(&self, node: NodeRef) -> NodeKind {
        self.nodes[usize::from(node.0)].kind
    }
    fn nodes_on(&self, host: HostId) -> Vec<NodeRef> {
        self.host(host).nodes.clone()
    }
    fn is_running(&self, node: NodeRef) -> bool {
        self.shared.running.borrow()[usize::from(node.0)].is_some()
    }
    fn incarnation(&self, node: NodeRef) -> Incarnation {
        Incarnation(self.nodes[usize::from(node.0)].incarnations)
    }
    fn inspect(&self, node: NodeRef) -> Option<Inspection> {
        let machine = self.shared.running.borrow()[usize::from(node.0)].as_ref()?.machine.clone();
        let account = machine.borrow().inspect();
        Some(account)
    }
    fn host_state(&self, host: HostId) -> HostState {
        let state = self.host(host);
        let runs = state.nodes.iter().any(|node| self.is_running(*node));
        match (self.links.off.contains(&host), runs) {
            (true, _) => HostState::Off,
            (false, false) => HostState::Down,
            (false, true) if state.paused => HostState::Paused,
            (false, true) => HostState::Running,
        }
    }
    fn files(&self, host: HostId) -> Vec<(Path, Vec<Bytes>)> {
        self.disk(host).look(|disk| disk.pieces().collect())
    }
    fn file(&self, host: HostId, path: &Path) -> Option<Bytes> {
        self.disk(host).look(|disk| disk.file_contents(path))
    }
    fn findings(&self) -> &[Finding] {
        self.contract.breaches()
    }
    fn met(&self, meter: Meter) -> u64 {
        match meter {
            Meter::Disk(host, fault) => self.disk(host).look(|disk| disk.met(fault)),
            Meter::Lookups(host) => self.shared.hosts.borrow()[usize::from(host.0)].unresolved,
            Meter::Clock(host) => self.shared.hosts.borrow()[usize::from(host.0)].wall.met(),
        }
    }
    fn met_by(&self, rule: RuleId) -> Vec<HostId> {
        self.shared.met_by(rule)
    }
    fn messages_judged(&self) -> u64 {
        self.contract.judged()
    }
    fn refuses(&self, action: &Action) -> Option<&'static str> {
        refusal(action)
    }

    fn begin_phase(&mut self, phase: Phase) {
        self.cause = Ticket::default();
        self.notice(None, None, Seen::Phase(phase));
    }
    fn announce_fault(&mut self, action: Action, over: bool) {
        self.cause = Ticket::default();
        self.cause = self.notice(None, None, Seen::Fault { action, over });
    }
    fn announce_damage(&mut self, host: HostId, ranges: Vec<LostData>) {
        self.notice(Some(host), None, Seen::Damaged { ranges });
    }
    fn start(&mut self, host: HostId) {
        self.power(host);
        for node in self.host(host).nodes.clone() {
            if !self.is_running(node) {
                self.start_node(host, node);
            }
        }
    }
    fn kill(&mut self, host: HostId) {
        self.end_nodes(host, &Ending::Killed);
    }
    fn power_loss(&mut self, hosts: &[HostId]) {
        for &host in hosts {
            let Some(address) = self.links.address(host) else { continue };
            let others: Vec<_> = self.links.others(host).collect();
            for other in others {
                self.sim.partition(address, other);
            }
        }
        for &host in hosts {
            self.end_nodes(host, &Ending::PowerLost);
            if self.links.knows(host) {
                self.sim.crash(self.hosts[usize::from(host.0)].name.as_str());
            }
            self.links.off.insert(host);
            let now = self.time();
            let lost = self.disk(host).with(|disk| disk.power_loss(now));
            self.notice(Some(host), None, Seen::PowerLost { lost });
        }
        self.rules_changed(hosts);
    }
    fn shutdown(&mut self, host: HostId) {
        self.host(host).nodes.iter().for_each(|node| self.tell_node(*node, Control::Shutdown));
    }
    fn pause(&mut self, host: HostId) {
        self.host(host).nodes.iter().for_each(|node| self.tell_node(*node, Control::Pause));
        let runs = self.host(host).nodes.iter().any(|node| self.is_running(*node));
        // Of a host whose processes are all down nothing is paused: those that start later run.
        self.hosts[usize::from(host.0)].paused |= runs;
    }
    fn resume(&mut self, host: HostId) {
        self.host(host).nodes.iter().for_each(|node| self.tell_node(*node, Control::Resume));
        self.hosts[usize::from(host.0)].paused = false;
    }
    fn partition(&mut self, a: &[HostId], b: &[HostId], one_way: bool) -> RuleId {
        let rule = self.links.add(a, b, one_way, Effect::Cut);
        self.rules_changed(&[]);
        rule
    }
    fn add_latency(&mut self, a: &[HostId], b: &[HostId], extra: Duration) -> RuleId {
        let rule = self.links.add(a, b, false, Effect::Latency(extra));
        self.rules_changed(&[]);
        rule
    }
    fn add_loss(&mut self, _: &[HostId], _: &[HostId], _: u32) -> RuleId {
        unreachable!("{REFUSED}")
    }
    fn hold(&mut self, _: ApiKey, _: bool, _: &[HostId], _: &[HostId]) -> RuleId {
        unreachable!("{REFUSED}")
    }
    fn remove_rule(&mut self, rule: RuleId) {
        if self.links.remove(rule) {
            self.rules_changed(&[]);
        }
    }
    fn reset(&mut self, a: &[HostId], b: &[HostId]) -> Vec<HostId> {
        self.contract.all_broken();
        self.shared.reset(a, b)
    }
    fn unresolvable(&mut self, host: HostId, on: bool) {
        self.shared.hosts.borrow_mut()[usize::from(host.0)].unresolvable = on;
    }
    fn disk_fault(&mut self, host: HostId, fault: DiskFault, on: bool) {
        let now = self.time();
        self.disk(host).with(|disk| disk.set_fault(now, fault, on));
    }
    fn heal_disk(&mut self, host: HostId) {
        let now = self.time();
        self.disk(host).with(|disk| disk.heal(now));
    }
    fn erase(&mut self, host: HostId, dir: &Path) {
        let now = self.time();
        self.disk(host).with(|disk| disk.erase(now, dir));
    }
    fn bit_rot(&mut self, host: HostId, log: &str) -> Vec<LostData> {
        let now = self.time();
        self.disk(host).with(|disk| disk.bit_rot(now, log))
    }
    fn wipe(&mut self, host: HostId) -> Vec<LostData> {
        let now = self.time();
        self.disk(host).with(|disk| disk.wipe(now))
    }
    fn step_wall_clock(&mut self, host: HostId, by_ms: i64) {
        self.shared.hosts.borrow()[usize::from(host.0)].wall.step(by_ms);
    }
    fn set_drift(&mut self, _: HostId, ppm: i32) {
        assert!(ppm == 0, "{REFUSED}");
    }
}
