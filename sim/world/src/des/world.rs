//! The `des` world behind the face that all worlds show.

use super::{HostSpec, NodeKind, NodeSpec, Sim};
use crate::disk::DiskFault;
use crate::event::{HostId, LostData, NodeRef, Observer, Phase};
use crate::faults::Action;
use crate::world::{Driver, HostState, Meter, RuleId, Stop, World};
use bytes::Bytes;
use klamm_model::disk::Path;
use klamm_model::ids::{ApiKey, Incarnation};
use klamm_model::inspect::Inspection;
use klamm_model::units::{Duration, Instant};

impl World for Sim {
    fn add_host(&mut self, spec: HostSpec) -> HostId {
        Sim::add_host(self, spec)
    }
    fn add_node(&mut self, spec: NodeSpec) -> NodeRef {
        Sim::add_node(self, spec)
    }
    fn drive(&mut self, until: Instant, driver: &mut dyn Driver) -> Stop {
        Sim::drive(self, until, driver)
    }
    fn run_until(&mut self, until: Instant, observer: &mut dyn Observer) -> Stop {
        Sim::run_until(self, until, observer)
    }

    fn now(&self) -> Instant {
        Sim::now(self)
    }
    fn events(&self) -> u64 {
        Sim::events(self)
    }
    fn digest(&self) -> u64 {
        Sim::digest(self)
    }
    fn message_digest(&self) -> u64 {
        Sim::message_digest(self)
    }
    fn host_count(&self) -> u16 {
        self.hosts.len() as u16
    }
    fn node_count(&self) -> u16 {
        self.nodes.len() as u16
    }
    fn host_name(&self, host: HostId) -> &str {
        Sim::host_name(self, host)
    }
    fn node_name(&self, node: NodeRef) -> &str {
        Sim::node_name(self, node)
    }
    fn node_kind(&self, node: NodeRef) -> NodeKind {
        Sim::node_kind(self, node)
    }
    fn nodes_on(&self, host: HostId) -> Vec<NodeRef> {
        Sim::nodes_on(self, host).collect()
    }
    fn is_running(&self, node: NodeRef) -> bool {
        Sim::is_running(self, node)
    }
    fn incarnation(&self, node: NodeRef) -> Incarnation {
        Sim::incarnation(self, node)
    }
    fn inspect(&self, node: NodeRef) -> Option<Inspection> {
        Sim::inspect(self, node)
    }
    fn host_state(&self, host: HostId) -> HostState {
        Sim::host_state(self, host)
    }
    fn files(&self, host: HostId) -> Vec<(Path, Vec<Bytes>)> {
        self.disk(host).pieces().collect()
    }
    fn file(&self, host: HostId, path: &Path) -> Option<Bytes> {
        self.disk(host).file_contents(path)
    }

    fn met(&self, meter: Meter) -> u64 {
        let host = |host: HostId| &self.hosts[usize::from(host.0)];
        match meter {
            Meter::Disk(at, fault) => host(at).disk.met(fault),
            Meter::Lookups(of) => host(of).unresolved,
            Meter::Clock(of) => host(of).clock_met,
        }
    }
    fn met_by(&self, rule: RuleId) -> Vec<HostId> {
        self.network.rules.met_by(rule)
    }

    fn begin_phase(&mut self, phase: Phase) {
        Sim::begin_phase(self, phase);
    }
    fn announce_fault(&mut self, action: Action, over: bool) {
        Sim::announce_fault(self, action, over);
    }
    fn announce_damage(&mut self, host: HostId, ranges: Vec<LostData>) {
        Sim::announce_damage(self, host, ranges);
    }
    fn start(&mut self, host: HostId) {
        Sim::start(self, host);
    }
    fn kill(&mut self, host: HostId) {
        Sim::kill(self, host);
    }
    fn power_loss(&mut self, hosts: &[HostId]) {
        Sim::power_loss(self, hosts);
    }
    fn shutdown(&mut self, host: HostId) {
        Sim::shutdown(self, host);
    }
    fn pause(&mut self, host: HostId) {
        Sim::pause(self, host);
    }
    fn resume(&mut self, host: HostId) {
        Sim::resume(self, host);
    }
    fn partition(&mut self, a: &[HostId], b: &[HostId], one_way: bool) -> RuleId {
        Sim::partition(self, a, b, one_way)
    }
    fn add_latency(&mut self, a: &[HostId], b: &[HostId], extra: Duration) -> RuleId {
        Sim::add_latency(self, a, b, extra)
    }
    fn add_loss(&mut self, a: &[HostId], b: &[HostId], ppm: u32) -> RuleId {
        Sim::add_loss(self, a, b, ppm)
    }
    fn hold(&mut self, api: ApiKey, responses: bool, from: &[HostId], to: &[HostId]) -> RuleId {
        Sim::hold(self, api, responses, from, to)
    }
    fn remove_rule(&mut self, rule: RuleId) {
        Sim::remove_rule(self, rule);
    }
    fn reset(&mut self, a: &[HostId], b: &[HostId]) -> Vec<HostId> {
        Sim::reset(self, a, b)
    }
    fn unresolvable(&mut self, host: HostId, on: bool) {
        Sim::unresolvable(self, host, on);
    }
    fn disk_fault(&mut self, host: HostId, fault: DiskFault, on: bool) {
        let now = self.now;
        self.disk_mut(host).set_fault(now, fault, on);
    }
    fn heal_disk(&mut self, host: HostId) {
        let now = self.now;
        self.disk_mut(host).heal(now);
    }
    fn erase(&mut self, host: HostId, dir: &Path) {
        let now = self.now;
        self.disk_mut(host).erase(now, dir);
    }
    fn bit_rot(&mut self, host: HostId, log: &str) -> Vec<LostData> {
        let now = self.now;
        self.disk_mut(host).bit_rot(now, log)
    }
    fn wipe(&mut self, host: HostId) -> Vec<LostData> {
        let now = self.now;
        self.disk_mut(host).wipe(now)
    }
    fn step_wall_clock(&mut self, host: HostId, by_ms: i64) {
        Sim::step_wall_clock(self, host, by_ms);
    }
    fn set_drift(&mut self, host: HostId, ppm: i32) {
        Sim::set_drift(self, host, ppm);
    }
}
