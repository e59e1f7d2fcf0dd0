//! Settles every value of a scenario for one seed.
//!
//! Each draw is keyed by the place of the value in the file, so adding a fault or a client moves no other draw.

use super::*;
use klamm_world::faults::Planned;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// 64 uniform bits for a purpose.
pub fn keyed(seed: u64, purpose: &str) -> u64 {
    xxh3_64_with_seed(purpose.as_bytes(), seed)
}

struct Settler {
    seed: u64,
}

impl Settler {
    fn one<T: Atom>(&self, place: &str, draw: &Draw<T>) -> Draw<T> {
        Draw::Fixed(draw.settle(keyed(self.seed, place)))
    }
    fn maybe<T: Atom>(&self, place: &str, draw: &Option<Draw<T>>) -> Option<Draw<T>> {
        draw.as_ref().map(|d| self.one(place, d))
    }
    fn settings(&self, place: &str, settings: &Settings) -> Settings {
        settings.iter().map(|(k, v)| (k.clone(), self.one(&format!("{place}.{k}"), v))).collect()
    }
}

/// The scenario with every value settled, and the schedule that its faults amount to.
///
/// A range of value sizes stays as written: it is drawn for each record.
pub fn resolve(scenario: &Scenario, seed: u64) -> (Scenario, Vec<Planned>) {
    let s = Settler { seed };
    let mut settled = scenario.clone();
    settled.duration = s.one("duration", &scenario.duration);
    settled.warm_up = s.maybe("warm-up", &scenario.warm_up);
    settled.deadline = s.maybe("deadline", &scenario.deadline);
    settled.converge_within = s.one("converge-within", &scenario.converge_within);
    let c = &scenario.cluster;
    settled.cluster = Cluster {
        brokers: s.one("cluster.brokers", &c.brokers),
        controllers: s.one("cluster.controllers", &c.controllers),
        colocate: s.one("cluster.colocate", &c.colocate),
        clients_on_one_host: c.clients_on_one_host,
        network: settle_network(&s, c.network.table()),
        disk: settle_disk(&s, c.disk.table()),
        truncation: s.one("cluster.truncation", &c.truncation),
        elr: s.one("cluster.elr", &c.elr),
        clock_offset: s.one("cluster.clock-offset", &c.clock_offset),
        clock_drift_ppm: s.one("cluster.clock-drift-ppm", &c.clock_drift_ppm),
    };
    settled.broker = s.settings("broker", &scenario.broker);
    for topic in &mut settled.topics {
        let place = format!("topic.{}", topic.name);
        topic.partitions = s.one(&format!("{place}.partitions"), &topic.partitions);
        topic.replication = s.one(&format!("{place}.replication"), &topic.replication);
        topic.config = s.settings(&place, &topic.config);
        if let Some(grow) = &mut topic.grow {
            grow.to = s.one(&format!("{place}.grow.to"), &grow.to);
            grow.at = s.one(&format!("{place}.grow.at"), &grow.at);
        }
    }
    for (i, client) in settled.clients.iter_mut().enumerate() {
        let place = format!("clients.{i}");
        client.count = s.one(&format!("{place}.count"), &client.count);
        client.partition = s.maybe(&format!("{place}.partition"), &client.partition);
        client.list_offsets_every = s.maybe(&format!("{place}.list-offsets-every"), &client.list_offsets_every);
        client.config = s.settings(&place, &client.config);
        if let Some(member) = &mut client.member {
            settle_member(&s, &format!("{place}.member"), member);
        }
        if let Some(load) = &mut client.load {
            load.rate = s.maybe(&format!("{place}.rate"), &load.rate);
            load.arrivals = s.one(&format!("{place}.arrivals"), &load.arrivals);
            load.in_flight = s.one(&format!("{place}.in-flight"), &load.in_flight);
            load.tombstones = s.maybe(&format!("{place}.tombstones"), &load.tombstones);
            load.records = s.maybe(&format!("{place}.records"), &load.records);
            if !matches!(load.value, Draw::Range(..)) {
                load.value = s.one(&format!("{place}.value"), &load.value);
            }
        }
    }
    settled.faults = scenario.faults.iter().enumerate().flat_map(|(i, f)| settle_fault(&s, i, f)).collect();
    let planned = settled.faults.iter().enumerate().map(|(i, fault)| Planned { of: Some(i), ..fault.plan() });
    let mut schedule: Vec<Planned> = planned.collect();
    schedule.sort_by_key(|p| p.at);
    (settled, schedule)
}

fn settle_network(s: &Settler, n: &NetworkTable) -> Network {
    Network::of(NetworkTable {
        profile: s.one("cluster.network.profile", &n.profile),
        latency: n.latency.as_ref().map(|l| Latency {
            p50: s.one("cluster.network.latency.p50", &l.p50),
            p99: s.one("cluster.network.latency.p99", &l.p99),
        }),
        bandwidth: s.maybe("cluster.network.bandwidth", &n.bandwidth),
    })
}

fn settle_disk(s: &Settler, d: &DiskTable) -> Disk {
    Disk::of(DiskTable {
        profile: s.one("cluster.disk", &d.profile),
        fsync: s.maybe("cluster.disk.fsync", &d.fsync),
        read: s.maybe("cluster.disk.read", &d.read),
        write: s.maybe("cluster.disk.write", &d.write),
        bandwidth: s.maybe("cluster.disk.bandwidth", &d.bandwidth),
        queue: s.maybe("cluster.disk.queue", &d.queue),
    })
}

/// Times of joining and leaving that are ranges stay so: they are drawn for each member.
fn settle_member(s: &Settler, place: &str, member: &mut MemberSpec) {
    member.processing = s.one(&format!("{place}.processing"), &member.processing);
    member.commit = s.one(&format!("{place}.commit"), &member.commit);
    member.service_time = s.one(&format!("{place}.service-time"), &member.service_time);
    member.service_shape = s.one(&format!("{place}.service-shape"), &member.service_shape);
    member.workers = s.one(&format!("{place}.workers"), &member.workers);
    if let Some(forward) = &mut member.forward {
        forward.config = s.settings(&format!("{place}.forward"), &forward.config);
        if !matches!(forward.value, Draw::Range(..)) {
            forward.value = s.one(&format!("{place}.forward.value"), &forward.value);
        }
        if let Some(declines) = &mut forward.declines {
            declines.per_mille = s.one(&format!("{place}.forward.declines"), &declines.per_mille);
        }
    }
    if let Some(stall) = &mut member.stall {
        stall.every = s.one(&format!("{place}.stall.every"), &stall.every);
        stall.lasts = s.one(&format!("{place}.stall.for"), &stall.lasts);
    }
    if !matches!(member.join_after, Draw::Range(..)) {
        member.join_after = s.one(&format!("{place}.join-after"), &member.join_after);
    }
    if !matches!(member.leave_after, Some(Draw::Range(..))) {
        member.leave_after = s.maybe(&format!("{place}.leave-after"), &member.leave_after);
    }
}

/// What a `[[fault]]` became when it was settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// How many faults of the settled scenario, which follow upon those of the `[[fault]]` before.
    pub faults: usize,
    /// How often it might have happened, and was not drawn.
    pub not_drawn: u64,
}

/// What each `[[fault]]` becomes when [`resolve`] settles the scenario, in the order of the file.
pub fn settled_faults(scenario: &Scenario, seed: u64) -> Vec<Settled> {
    let s = Settler { seed };
    let each = scenario.faults.iter().enumerate().map(|(i, fault)| {
        let faults = settle_fault(&s, i, fault).len();
        // A fault that happens no time at all was one that might have.
        Settled { faults, not_drawn: u64::from(how_often(&s, i, fault).max(1)) - faults as u64 }
    });
    each.collect()
}

/// The schedule that faults alone amount to, drawn as [`resolve`] would draw it.
pub fn resolve_faults(faults: &[FaultSpec], seed: u64) -> Vec<Planned> {
    let s = Settler { seed };
    let settled = faults.iter().enumerate().flat_map(|(i, fault)| settle_fault(&s, i, fault));
    settled.map(|fault| fault.plan()).collect()
}

fn how_often(s: &Settler, index: usize, fault: &FaultSpec) -> u32 {
    fault.times.as_ref().map_or(1, |t| t.settle(keyed(s.seed, &format!("fault.{index}.times"))))
}

/// A fault with `times` and `chance` becomes as many faults as happen.
fn settle_fault(s: &Settler, index: usize, fault: &FaultSpec) -> Vec<FaultSpec> {
    let times = how_often(s, index, fault);
    let mut happening = Vec::new();
    for n in 0..times {
        let place = format!("fault.{index}.{n}");
        let chance = s.maybe(&format!("{place}.chance"), &fault.chance).map_or(1_000_000, |c| c.get().0);
        if keyed(s.seed, &format!("{place}.happens")) % 1_000_000 >= u64::from(chance) {
            continue;
        }
        let mut settled = fault.clone();
        settled.times = None;
        settled.chance = None;
        settled.at = s.one(&format!("{place}.at"), &fault.at);
        settled.lasts = s.maybe(&format!("{place}.for"), &fault.lasts);
        settled.extra = s.maybe(&format!("{place}.extra"), &fault.extra);
        settled.share = s.maybe(&format!("{place}.share"), &fault.share);
        settled.factor = s.maybe(&format!("{place}.factor"), &fault.factor);
        settled.by_ms = s.maybe(&format!("{place}.by-ms"), &fault.by_ms);
        settled.ppm = s.maybe(&format!("{place}.ppm"), &fault.ppm);
        happening.push(settled);
    }
    happening
}
