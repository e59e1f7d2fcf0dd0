//! Numbers beyond which a scenario is a slip of the finger, and would only hang, overflow or fill the memory.

use super::notice::{Demand, Notice};
use super::source::{Path, at};
use super::{Atom, Bandwidth, ClientKind, ClientSpec, Draw, LoadSpec, Scenario, Size, Span};
use klamm_model::units::Duration;
use klamm_workloads::load::keys::MAX_ZIPF_KEYS;

/// Records that the clients of one seed may send at most: the judge keeps each until the end.
pub const MAX_RECORDS: u64 = 20_000_000;
/// And bytes: what brokers store is in memory.
pub const MAX_BYTES: u64 = 8 << 30;

/// Clients of the load: from the next number on they are the harness's own.
pub const MAX_CLIENTS: u32 = 999;
/// Partitions of all topics.
pub const MAX_PARTITIONS: u64 = 10_000;

const MOMENT: Span = Span(Duration::from_nanos(1));
const MILLISECOND: Span = Span(Duration::from_millis(1));
const MINUTE: Span = Span(Duration::from_secs(60));
const DAY: Span = Span(Duration::from_secs(86_400));

fn most<T: Atom + Ord + Copy>(draw: &Draw<T>) -> T {
    *draw.extremes().into_iter().max().expect("a draw has values")
}

fn least<T: Atom + Ord + Copy>(draw: &Draw<T>) -> T {
    *draw.extremes().into_iter().min().expect("a draw has values")
}

/// Checks all of them but those of faults.
pub(super) fn check(s: &Scenario, problems: &mut Vec<Notice>) {
    times(s, problems);
    machines(s, problems);
    topics(s, problems);
    for (i, client) in s.clients.iter().enumerate() {
        clients(s, client, &at!["clients", i], problems);
    }
    amounts(s, problems);
}

fn times(s: &Scenario, problems: &mut Vec<Notice>) {
    let day = |v: &Span| (MOMENT..=DAY).contains(v);
    problems.demand(at!["duration"], &s.duration, day, "`duration` must lie above 0 and within a day");
    let within = "`converge-within` must lie above 0 and within a day";
    problems.demand(at!["converge-within"], &s.converge_within, day, within);
    if let Some(draw) = &s.warm_up {
        let shortest = least(&s.duration);
        let before = problems.len();
        problems.demand(at!["warm-up"], draw, |w| *w < shortest, "`warm-up` must be shorter than `duration`");
        problems[before..].iter_mut().for_each(|n| n.needs.push(at!["duration"]));
    }
    if let Some(draw) = &s.deadline {
        let one = matches!(draw, Draw::Fixed(_));
        let message = "`deadline` is one time, above 0 and within a day";
        problems.demand(at!["deadline"], draw, |d| one && day(d), message);
    }
    if s.seeds.is_some_and(|n| !(1..=1_000_000).contains(&n)) {
        problems.push(Notice::new("`seeds` must lie between 1 and 1000000", at!["seeds"]));
    }
}

fn machines(s: &Scenario, problems: &mut Vec<Notice>) {
    let c = &s.cluster;
    let at = at!["cluster"];
    problems.demand(at.to("brokers"), &c.brokers, |n| (1..=100).contains(n), "`brokers` must lie between 1 and 100");
    let before = problems.len();
    let one = "only one controller can be simulated so far";
    problems.demand(at.to("controllers"), &c.controllers, |n| *n == 1, one);
    problems[before..].iter_mut().for_each(|n| n.help = Some("controllers = 1".to_owned()));
    let drift = "`clock-drift-ppm` must be at most 100000, a tenth";
    problems.demand(at.to("clock-drift-ppm"), &c.clock_drift_ppm, |n| *n <= 100_000, drift);
    problems.demand(at.to("clock-offset"), &c.clock_offset, |t| *t <= DAY, "`clock-offset` is over a day");

    let (network, at) = (c.network.table(), at!["cluster", "network"]);
    if let Some(l) = &network.latency {
        let at = at.to("latency");
        let high = least(&l.p99);
        let before = problems.len();
        problems.demand(at.to("p50"), &l.p50, |t| *t <= high, "the latency's `p50` may not exceed its `p99`");
        problems[before..].iter_mut().for_each(|n| n.needs.push(at.to("p99")));
        problems.demand(at.to("p99"), &l.p99, |t| *t <= MINUTE, "a message takes at most a minute");
    }
    let slow = "`bandwidth` must lie between 1kbit and 1000Gbit";
    let card = |b: &Bandwidth| (1000..=1_000_000_000_000).contains(&b.0);
    problems.demand_some(at.to("bandwidth"), &network.bandwidth, card, slow);

    let (disk, at) = (c.disk.table(), at!["cluster", "disk"]);
    let queue = "a disk's `queue` must lie between 1 and 1024";
    problems.demand_some(at.to("queue"), &disk.queue, |q| (1..=1024).contains(q), queue);
    let bytes = "a disk's `bandwidth` must lie above 0, and is at most 1024GiB in a second";
    problems.demand_some(at.to("bandwidth"), &disk.bandwidth, |b| (1..=1 << 40).contains(&b.0), bytes);
    for (key, time) in [("fsync", &disk.fsync), ("read", &disk.read), ("write", &disk.write)] {
        problems.demand_some(at.to(key), time, |t| *t <= MINUTE, "a disk's operation takes at most a minute");
    }
}

fn topics(s: &Scenario, problems: &mut Vec<Notice>) {
    let brokers = least(&s.cluster.brokers);
    for (i, topic) in s.topics.iter().enumerate() {
        let at = at!["topic", i];
        for (n, replication) in topic.replication.extremes().into_iter().enumerate() {
            if *replication == 0 || *replication > brokers {
                let message = format!(
                    "topic `{}`: replication {replication} is impossible with {brokers} broker{}",
                    topic.name,
                    if brokers == 1 { "" } else { "s" }
                );
                let at = topic.replication.place(&at.to("replication"), n);
                problems.push(Notice::new(message, at).needs(at!["cluster", "brokers"]));
            }
        }
        let partitions = "`partitions` must lie between 1 and 10000";
        problems.demand(at.to("partitions"), &topic.partitions, |p| (1..=10_000).contains(p), partitions);
        let Some(grow) = &topic.grow else { continue };
        let at = at.to("grow");
        let now = most(&topic.partitions);
        let more = "a topic can only `grow` to more partitions than it has, and to 10000";
        problems.demand(at.to("to"), &grow.to, |to| now < *to && *to <= 10_000, more);
        let shortest = least(&s.duration);
        let before = problems.len();
        let late = "a topic must `grow` within the scenario's `duration`";
        problems.demand(at.to("at"), &grow.at, |t| *t <= shortest, late);
        problems[before..].iter_mut().for_each(|n| n.needs.push(at!["duration"]));
    }
}

fn clients(s: &Scenario, client: &ClientSpec, at: &Path, problems: &mut Vec<Notice>) {
    let count = format!("`count` must be at most {MAX_CLIENTS}");
    problems.demand(at.to("count"), &client.count, |n| *n <= MAX_CLIENTS, &count);
    let topic = client.topic.as_ref().map_or(s.topics.first(), |t| s.topics.iter().find(|x| x.name == *t));
    if let (Some(partition), Some(topic)) = (&client.partition, topic) {
        let fewest = least(&topic.partitions);
        let before = problems.len();
        let message = "`partition` is not one of the topic's (they count from 0)";
        problems.demand(at.to("partition"), partition, |p| *p < fewest, message);
        problems[before..].iter_mut().for_each(|n| n.needs.push(at!["topic"]));
    }
    let asks = "`list-offsets-every` must lie between 1ms and a day";
    let often = |t: &Span| (MILLISECOND..=DAY).contains(t);
    problems.demand_some(at.to("list-offsets-every"), &client.list_offsets_every, often, asks);
    if let Some(member) = &client.member {
        let at = at.to("member");
        problems.demand(at.to("service-time"), &member.service_time, |t| *t <= DAY, "`service-time` is over a day");
        let workers = "`workers` must lie between 1 and 1000";
        problems.demand(at.to("workers"), &member.workers, |n| (1..=1000).contains(n), workers);
        problems.demand(at.to("join-after"), &member.join_after, |t| *t <= DAY, "`join-after` is over a day");
        let leaves = "`leave-after` must lie above 0 and within a day";
        problems.demand_some(at.to("leave-after"), &member.leave_after, |t| (MOMENT..=DAY).contains(t), leaves);
        if let Some(stall) = &member.stall {
            let at = at.to("stall");
            problems.demand(at.to("every"), &stall.every, often, "`every` must lie between 1ms and a day");
            let lasts = "`for` must lie above 0 and within a day";
            problems.demand(at.to("for"), &stall.lasts, |t| (MOMENT..=DAY).contains(t), lasts);
        }
        if let Some(forward) = &member.forward {
            value(&at.to("forward").to("value"), &forward.value, problems);
            if let Some(declines) = &forward.declines {
                let at = at.to("forward").to("declines").to("per-mille");
                problems.demand(at, &declines.per_mille, |p| *p <= 1000, "`per-mille` must be at most 1000");
            }
        }
    }
    if let Some(one) = &client.load {
        load(one, &at.to("load"), problems);
    }
}

fn value(at: &Path, value: &Draw<Size>, problems: &mut Vec<Notice>) {
    let small = "a `value` has at least 16 bytes: it carries its own name";
    problems.demand(at.clone(), value, |v| v.0 >= 16, small);
    problems.demand(at.clone(), value, |v| v.0 <= 64 << 20, "a `value` has at most 64MiB");
}

fn load(load: &LoadSpec, at: &Path, problems: &mut Vec<Notice>) {
    let rate = "`rate` must lie between 1 and 10000000";
    problems.demand_some(at.to("rate"), &load.rate, |r| (1..=10_000_000).contains(r), rate);
    let under_way = "`in-flight` must lie between 1 and 1000000";
    problems.demand(at.to("in-flight"), &load.in_flight, |n| (1..=1_000_000).contains(n), under_way);
    problems.demand_some(at.to("records"), &load.records, |n| *n > 0, "`records` must lie above 0");
    value(&at.to("value"), &load.value, problems);
    let share = "`tombstones` counts in a thousand: at most 1000";
    problems.demand_some(at.to("tombstones"), &load.tombstones, |t| *t <= 1000, share);
    let at = at.to("key");
    for (name, count) in [("uniform", load.key.uniform), ("of", load.key.of)] {
        if count == Some(0) {
            problems.push(Notice::new("there must be at least one key", at.to(name)));
        }
    }
    if load.key.of.is_some_and(|n| u64::from(n) > MAX_ZIPF_KEYS) {
        problems.push(Notice::new(format!("`of` must be at most {MAX_ZIPF_KEYS}"), at.to("of")));
    }
    if load.key.zipf.is_some_and(|z| !(0.0..=8.0).contains(&z)) {
        problems.push(Notice::new("`zipf` must lie between 0 and 8", at.to("zipf")));
    }
}

/// What all tables of a kind come to: clients, partitions, and what open loads send in the longest seed.
fn amounts(s: &Scenario, problems: &mut Vec<Notice>) {
    let counts = s.clients.iter().map(|c| most(&c.count));
    let clients = counts.fold(0u32, u32::saturating_add);
    if clients > MAX_CLIENTS {
        let last = at!["clients", s.clients.len() - 1, "count"];
        let message = format!("all [[clients]] together are {clients}; at most {MAX_CLIENTS} can be simulated");
        problems.push(Notice::new(message, last).needs(at!["clients"]));
    }
    let partitions = s.topics.iter().map(|t| t.grow.as_ref().map_or(0, |g| most(&g.to)).max(most(&t.partitions)));
    let partitions: u64 = partitions.map(u64::from).sum();
    if partitions > MAX_PARTITIONS && s.topics.len() > 1 {
        let last = at!["topic", s.topics.len() - 1, "partitions"];
        let message =
            format!("all topics together have {partitions} partitions; at most {MAX_PARTITIONS} can be simulated");
        problems.push(Notice::new(message, last).needs(at!["topic"]));
    }
    let seconds = most(&s.duration).0.as_millis().div_ceil(1000);
    let (mut records, mut bytes, mut worst) = (0u64, 0u64, (0u64, None));
    for (i, client) in s.clients.iter().enumerate().filter(|(_, c)| c.kind == ClientKind::Producer) {
        let Some((load, rate)) = client.load.as_ref().and_then(|l| Some((l, most(l.rate.as_ref()?)))) else { continue };
        let mut each = u64::from(rate).saturating_mul(seconds);
        if let Some(limit) = &load.records {
            each = each.min(most(limit).into());
        }
        let all = each.saturating_mul(most(&client.count).into());
        records = records.saturating_add(all);
        bytes = bytes.saturating_add(all.saturating_mul(most(&load.value).0));
        worst = worst.max((all, Some(i)));
    }
    let Some(i) = worst.1 else { return };
    let at = at!["clients", i, "load", "rate"];
    let says = |message: String| {
        let help = "lower `rate`, `duration`, `count` or `value`, or set `records`, after which a producer stops";
        Notice::new(message, at.clone()).help(help).needs(at!["duration"]).needs(at!["clients", i])
    };
    if records > MAX_RECORDS {
        problems
            .push(says(format!("the producers send {records} records in one seed; at most {MAX_RECORDS} are judged")));
    } else if bytes > MAX_BYTES {
        let gib = bytes >> 30;
        problems.push(says(format!("the producers send {gib} GiB in one seed; at most {} are held", MAX_BYTES >> 30)));
    }
}
