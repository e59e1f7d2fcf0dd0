//! What a scenario must satisfy beyond its grammar: nothing impossible is ever started.

use super::*;
use crate::profiles::network_names;
use crate::suggest;
use klamm_model::config::{
    BrokerConfig, ConfigError, ConsumerConfig, ProducerConfig, Properties, TopicConfig, Unheeded, Warning,
};
use klamm_model::units::Duration;
use klamm_world::disk::DiskProfile;

/// Something wrong with a scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// What is wrong.
    pub message: String,
    /// Words to look for in the file, each after the one before: where it stands.
    pub near: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

pub(super) fn notice(message: impl Into<String>, near: &[&str]) -> Notice {
    Notice { message: message.into(), near: near.iter().map(|s| (*s).to_owned()).collect(), help: None }
}

/// Kinds of arrival.
pub const ARRIVALS: &[&str] = &["constant", "poisson", "bursts", "closed"];
/// Orders of processing and committing.
pub const PROCESSING: &[&str] = &["finish-then-commit", "commit-then-finish", "hand-off"];
/// Ways to commit.
pub const COMMITS: &[&str] = &["sync", "async"];
/// Distributions of service times.
pub const SHAPES: &[&str] = &["constant", "exponential", "heavy-tailed"];
/// Eras of truncation.
pub const TRUNCATIONS: &[&str] = &["fetch", "offset-for-leader-epoch"];

/// Checks a scenario. Returns the warnings: Kafka settings that the model does not implement.
///
/// # Errors
/// Everything that is wrong, in the order of the file.
pub fn check(s: &Scenario) -> Result<Vec<String>, Vec<Notice>> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    names(s, &mut problems);
    cluster(s, &mut problems);
    settings(s, &mut problems, &mut warnings);
    clients(s, &mut problems);
    sizes(s, &mut problems);
    faults(s, &mut problems);
    convergence(s, &mut problems);
    names::of_expectations(&s.expect, &mut problems);
    super::expect::check(s, &mut problems);
    if problems.is_empty() { Ok(warnings) } else { Err(problems) }
}

fn names(s: &Scenario, problems: &mut Vec<Notice>) {
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if s.name.is_empty() || !s.name.chars().all(kebab) {
        problems.push(notice(format!("the name `{}` is not in kebab-case", s.name), &["name", "="]));
    }
    if s.topics.is_empty() {
        problems.push(notice("a scenario needs at least one [[topic]]", &["name"]));
    }
    for (i, topic) in s.topics.iter().enumerate() {
        if s.topics[..i].iter().any(|t| t.name == topic.name) {
            problems.push(notice(format!("the topic `{}` is named twice", topic.name), &["[[topic]]", &topic.name]));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if topic.name.is_empty() || topic.name.len() > 249 || !topic.name.chars().all(legal) {
            let message = format!("`{}` is no topic name: Kafka takes letters, digits, `.`, `_` and `-`", topic.name);
            problems.push(notice(message, &["[[topic]]", "name"]));
        }
    }
}

fn cluster(s: &Scenario, problems: &mut Vec<Notice>) {
    let brokers = s.cluster.brokers.extremes().into_iter().copied().min().unwrap_or(0);
    let most = s.cluster.brokers.extremes().into_iter().copied().max().unwrap_or(0);
    if brokers == 0 || most > 100 {
        problems.push(notice("`brokers` must lie between 1 and 100", &["brokers"]));
    }
    if s.cluster.controllers.extremes().into_iter().any(|n| *n != 1) {
        let mut n = notice("only one controller can be simulated so far", &["controllers"]);
        n.help = Some("controllers = 1".to_owned());
        problems.push(n);
    }
    for topic in &s.topics {
        for replication in topic.replication.extremes() {
            if *replication == 0 || *replication > brokers {
                let message = format!(
                    "topic `{}`: replication {replication} is impossible with {brokers} broker{}",
                    topic.name,
                    if brokers == 1 { "" } else { "s" }
                );
                problems.push(notice(message, &["[[topic]]", &topic.name, "replication"]));
            }
        }
        if topic.partitions.extremes().into_iter().any(|p| *p == 0 || *p > 10_000) {
            problems
                .push(notice("`partitions` must lie between 1 and 10000", &["[[topic]]", &topic.name, "partitions"]));
        }
    }
    one_of("disk", &s.cluster.disk.table().profile, &DiskProfile::NAMES, problems);
    one_of("network", &s.cluster.network.table().profile, &network_names(), problems);
    one_of("truncation", &s.cluster.truncation, TRUNCATIONS, problems);
    let network = s.cluster.network.table();
    if let Some(l) = &network.latency {
        let (low, high) = (l.p50.extremes().into_iter().max(), l.p99.extremes().into_iter().min());
        if low > high {
            problems.push(notice("the latency's `p50` may not exceed its `p99`", &["latency"]));
        }
    }
    if network.bandwidth.iter().flat_map(Draw::extremes).any(|b| b.0 < 1000) {
        problems.push(notice("`bandwidth` must be at least 1kbit", &["bandwidth"]));
    }
    let disk = s.cluster.disk.table();
    if disk.queue.iter().flat_map(Draw::extremes).any(|q| *q == 0 || *q > 1024) {
        problems.push(notice("a disk's `queue` must lie between 1 and 1024", &["disk", "queue"]));
    }
    if disk.bandwidth.iter().flat_map(Draw::extremes).any(|b| b.0 == 0) {
        problems.push(notice("a disk's `bandwidth` must lie above 0", &["disk", "bandwidth"]));
    }
    let minute = Span(Duration::from_secs(60));
    if [&disk.fsync, &disk.read, &disk.write].into_iter().flatten().flat_map(Draw::extremes).any(|t| *t > minute) {
        problems.push(notice("a disk's operation takes at most a minute", &["disk"]));
    }
}

fn one_of(key: &str, draw: &Draw<String>, known: &[&str], problems: &mut Vec<Notice>) {
    for value in draw.extremes() {
        if !known.contains(&value.as_str()) {
            let hint = suggest::nearest(value, known.iter().copied());
            let message = format!("`{key}` = `{value}`: expected one of {known:?}{hint}");
            problems.push(notice(message, &[key, value]));
        }
    }
}

/// Reads one table of settings: what has no effect, or everything that is wrong.
type Parse<'a> = &'a dyn Fn(&Properties) -> Result<Vec<Warning>, Vec<ConfigError>>;

/// Both extremes of every setting must be valid, in every combination that matters to Kafka's own cross-checks:
/// all first values together, and all last ones.
fn settings(s: &Scenario, problems: &mut Vec<Notice>, warnings: &mut Vec<String>) {
    let mut one = |place: &str, table: &Settings, parse: Parse<'_>| {
        for last in [false, true] {
            let take = |d: &Draw<Setting>| {
                let all = d.extremes();
                (if last { all.last() } else { all.first() }).map_or(String::new(), |v| v.0.clone())
            };
            let properties: Properties = table.iter().map(|(k, v)| (k.clone(), take(v))).collect();
            match parse(&properties) {
                Ok(unused) => {
                    for w in unused {
                        if let Unheeded::Unknown { .. } = w.why {
                            problems.push(notice(format!("{place}: {w}"), &[&w.key]));
                            continue;
                        }
                        let text = match w.why {
                            Unheeded::Value(_) => format!("{place}: {w}"),
                            _ => format!("{place}: Klamm does not act on `{}`", w.key),
                        };
                        if !warnings.contains(&text) {
                            warnings.push(text);
                        }
                    }
                }
                Err(errors) => {
                    problems.extend(errors.iter().map(|e| notice(format!("{place}: {e}"), &[e.key()])));
                    return;
                }
            }
        }
    };
    one("[broker]", &s.broker, &|p| BrokerConfig::read_scaled(p).map(|r| r.1));
    for topic in &s.topics {
        let place = format!("topic `{}`", topic.name);
        one(&place, &topic.config, &|p| TopicConfig::read_scaled(p).map(|r| r.1));
    }
    for client in &s.clients {
        match client.kind {
            ClientKind::Producer => {
                one("producer", &client.config, &|p| ProducerConfig::read(p).map(|r| r.1));
            }
            ClientKind::Consumer | ClientKind::Group => {
                one("consumer", &client.config, &|p| ConsumerConfig::read(p).map(|r| r.1));
                if let Some(forward) = client.member.as_ref().and_then(|m| m.forward.as_ref()) {
                    let parse = |p: &_| ProducerConfig::read(p).map(|r| r.1);
                    one("forward", &forward.config, &parse);
                }
            }
        }
    }
}

fn clients(s: &Scenario, problems: &mut Vec<Notice>) {
    for client in &s.clients {
        if let Some(topic) = &client.topic
            && !s.topics.iter().any(|t| t.name == *topic)
        {
            let hint = suggest::nearest(topic, s.topics.iter().map(|t| t.name.as_str()));
            problems.push(notice(format!("there is no topic `{topic}`{hint}"), &["[[clients]]", topic]));
        }
        match (client.kind, &client.load) {
            (ClientKind::Producer, None) => problems.push(notice("a producer needs `load`", &["[[clients]]"])),
            (ClientKind::Consumer, Some(_)) => {
                problems.push(notice("a consumer has no `load`", &["\"consumer\"", "load"]));
            }
            (ClientKind::Group, Some(_)) => {
                problems.push(notice("a group member has no `load`", &["\"group\"", "load"]));
            }
            (ClientKind::Producer, Some(load)) => load_spec(load, problems),
            (ClientKind::Consumer | ClientKind::Group, None) => {}
        }
        match (client.kind, &client.member) {
            (ClientKind::Group, member) => {
                group_member(client, member.as_ref(), problems);
                if let Some(forward) = member.as_ref().and_then(|m| m.forward.as_ref()) {
                    forwards(s, client, forward, problems);
                }
            }
            (_, Some(_)) => {
                let mut n = notice("only group members have a `member` table", &["[[clients]]", "member"]);
                n.help = Some("kind = \"group\"".to_owned());
                problems.push(n);
            }
            (_, None) => {}
        }
    }
}

/// A group member needs a group, and cannot leave commits to the consumer that it wants to make itself.
fn group_member(client: &ClientSpec, member: Option<&MemberSpec>, problems: &mut Vec<Notice>) {
    let says =
        |key: &str, word: &str| client.config.get(key).is_some_and(|v| v.extremes().into_iter().any(|v| v.0 == word));
    if !client.config.contains_key("group.id") {
        let mut n = notice("a group member needs a `group.id`", &["\"group\"", "config"]);
        n.help = Some("config = { \"group.id\" = \"orders-service\" }".to_owned());
        problems.push(n);
    }
    if client.config.contains_key("group.instance.id") {
        let mut n = notice("one `group.instance.id` cannot serve several members", &["group.instance.id"]);
        n.help = Some("member = { static = true } names each after its host".to_owned());
        problems.push(n);
    }
    let Some(member) = member else { return };
    one_of("processing", &member.processing, PROCESSING, problems);
    one_of("commit", &member.commit, COMMITS, problems);
    one_of("service-shape", &member.service_shape, SHAPES, problems);
    let at_most_once = member.processing.extremes().into_iter().any(|p| p == "commit-then-finish");
    if at_most_once && (!client.config.contains_key("enable.auto.commit") || says("enable.auto.commit", "true")) {
        let mut n = notice("`commit-then-finish` commits by itself", &["\"group\"", "processing"]);
        n.help = Some("set \"enable.auto.commit\" = \"false\"".to_owned());
        problems.push(n);
    }
}

/// A service sends to topics that exist, other than its own, and is through with a record before the next.
fn forwards(s: &Scenario, client: &ClientSpec, forward: &ForwardSpec, problems: &mut Vec<Notice>) {
    let own = client.topic.as_ref().or_else(|| Some(&s.topics.first()?.name));
    if forward.to.is_empty() {
        problems.push(notice("`forward` needs at least one topic in `to`", &["forward", "to"]));
    }
    for topic in forward.to.iter().chain(forward.declines.as_ref().map(|d| &d.to)) {
        if Some(topic) == own {
            problems.push(notice(format!("a service cannot forward to its own topic `{topic}`"), &["forward", topic]));
        } else if !s.topics.iter().any(|t| t.name == *topic) {
            let hint = suggest::nearest(topic, s.topics.iter().map(|t| t.name.as_str()));
            problems.push(notice(format!("there is no topic `{topic}`{hint}"), &["forward", topic]));
        }
    }
    if forward.declines.as_ref().is_some_and(|d| d.per_mille.extremes().into_iter().any(|p| *p > 1000)) {
        problems.push(notice("`per-mille` must be at most 1000", &["declines", "per-mille"]));
    }
    if forward.value.extremes().into_iter().any(|v| v.0 < 16) {
        problems.push(notice("a `value` has at least 16 bytes: it carries its own name", &["forward", "value"]));
    }
    let member = client.member.as_ref();
    if member.is_some_and(|m| m.processing.extremes().into_iter().any(|p| p == "hand-off")) {
        let mut n = notice("a member that hands its records off does not forward", &["processing", "hand-off"]);
        n.help = Some("processing = \"finish-then-commit\"".to_owned());
        problems.push(n);
    }
}

fn load_spec(load: &LoadSpec, problems: &mut Vec<Notice>) {
    one_of("arrivals", &load.arrivals, ARRIVALS, problems);
    let open = load.arrivals.extremes().into_iter().any(|a| a != "closed");
    if open && load.rate.is_none() {
        problems.push(notice("an open load needs a `rate` in records per second", &["load"]));
    }
    if load.value.extremes().into_iter().any(|v| v.0 < 16) {
        problems.push(notice("a `value` has at least 16 bytes: it carries its own name", &["load", "value"]));
    }
    if load.key.uniform.is_some() && load.key.zipf.is_some() {
        problems.push(notice("keys are either `uniform` or `zipf`", &["key"]));
    }
    let keyless = load.key.uniform.is_none() && load.key.zipf.is_none();
    if load.tombstones.is_some() && keyless {
        let mut n = notice("a tombstone deletes a key, and these records have none", &["load", "tombstones"]);
        n.help = Some("key = { uniform = 100 }".to_owned());
        problems.push(n);
    }
    if load.tombstones.iter().flat_map(|t| t.extremes()).any(|t| *t > 1000) {
        problems.push(notice("`tombstones` counts in a thousand: at most 1000", &["tombstones"]));
    }
    if load.key.uniform == Some(0) || load.key.of == Some(0) {
        problems.push(notice("there must be at least one key", &["key"]));
    }
    if load.key.zipf.is_some_and(|z| !(0.0..=10.0).contains(&z)) {
        problems.push(notice("`zipf` must lie between 0 and 10", &["zipf"]));
    }
}

/// The hosts that exist in every seed: of a number that is drawn, the fewest.
pub fn hosts(s: &Scenario) -> Vec<String> {
    let least = |draw: &Draw<u32>| draw.extremes().into_iter().copied().min().unwrap_or(0).min(1000);
    let mut names: Vec<String> = (1..=least(&s.cluster.brokers)).map(|i| format!("b{i}")).collect();
    if s.cluster.colocate.extremes().into_iter().all(|colocated| !colocated) {
        names.extend((1..=least(&s.cluster.controllers)).map(|i| format!("c{i}")));
    }
    if s.cluster.clients_on_one_host {
        names.push("clients".to_owned());
    } else {
        for (kind, letter) in [(ClientKind::Producer, 'p'), (ClientKind::Consumer, 'r'), (ClientKind::Group, 'm')] {
            let count: u32 = s.clients.iter().filter(|c| c.kind == kind).map(|c| least(&c.count)).sum();
            names.extend((1..=count).map(|i| format!("{letter}{i}")));
        }
    }
    names.extend(["setup", "probe", "final-reader"].map(str::to_owned));
    names
}

/// Numbers beyond which a scenario is a slip of the finger, and would only hang or overflow.
fn sizes(s: &Scenario, problems: &mut Vec<Notice>) {
    fn within<T: Atom + PartialOrd>(draw: &Draw<T>, least: T, most: T) -> bool {
        draw.extremes().into_iter().all(|v| least <= *v && *v <= most)
    }
    let mut demand = |holds: bool, message: &str, near: &[&str]| {
        if !holds {
            problems.push(notice(message, near));
        }
    };
    let day = Span(Duration::from_secs(86_400));
    let moment = Span(Duration::from_nanos(1));
    demand(within(&s.duration, moment, day), "`duration` must lie above 0 and within a day", &["duration"]);
    demand(s.seeds.is_none_or(|n| n > 0), "`seeds` must lie above 0", &["seeds"]);
    let shortest = s.duration.extremes().into_iter().min().copied().unwrap_or(moment);
    let warm = s.warm_up.as_ref().is_none_or(|w| w.extremes().into_iter().all(|w| *w < shortest));
    demand(warm, "`warm-up` must be shorter than `duration`", &["warm-up"]);
    let deadline = s.deadline.as_ref().is_none_or(|d| matches!(d, Draw::Fixed(_)) && within(d, moment, day));
    demand(deadline, "`deadline` is one time, above 0 and within a day", &["deadline"]);
    let converge = within(&s.converge_within, moment, day);
    demand(converge, "`converge-within` must lie above 0 and within a day", &["converge-within"]);
    let drift = within(&s.cluster.clock_drift_ppm, 0, 100_000);
    demand(drift, "`clock-drift-ppm` must be at most 100000, a tenth", &["clock-drift-ppm"]);
    demand(
        within(&s.cluster.clock_offset, Span(Duration::ZERO), day),
        "`clock-offset` is over a day",
        &["clock-offset"],
    );
    for topic in &s.topics {
        let Some(grow) = &topic.grow else { continue };
        let near = ["[[topic]]", topic.name.as_str(), "grow"];
        let most = topic.partitions.extremes().into_iter().max().copied().unwrap_or(0);
        let more = within(&grow.to, most + 1, 10_000);
        demand(more, "a topic can only `grow` to more partitions than it has, and to 10000", &near);
        let late = grow.at.extremes().into_iter().max() > s.duration.extremes().into_iter().min();
        demand(!late, "a topic must `grow` within the scenario's `duration`", &near);
    }
    for client in &s.clients {
        demand(within(&client.count, 0, 1000), "`count` must be at most 1000", &["[[clients]]", "count"]);
        let topic = client.topic.as_ref().map_or(s.topics.first(), |t| s.topics.iter().find(|x| x.name == *t));
        let fewest = topic.and_then(|t| t.partitions.extremes().into_iter().min().copied()).unwrap_or(0);
        if let Some(partition) = &client.partition {
            let exists = partition.extremes().into_iter().all(|p| *p < fewest);
            demand(exists, "`partition` is not one of the topic's (they count from 0)", &["[[clients]]", "partition"]);
        }
        let every = client.list_offsets_every.as_ref();
        let asks = every.is_none_or(|e| within(e, Span(Duration::from_millis(1)), day));
        demand(asks, "`list-offsets-every` must be at least 1ms", &["[[clients]]", "list-offsets-every"]);
        if let Some(member) = &client.member {
            let zero = Span(Duration::ZERO);
            let near = |key: &'static str| ["[[clients]]", "member", key];
            demand(within(&member.service_time, zero, day), "`service-time` is over a day", &near("service-time"));
            let workers = within(&member.workers, 1, 1000);
            demand(workers, "`workers` must lie between 1 and 1000", &near("workers"));
            demand(within(&member.join_after, zero, day), "`join-after` is over a day", &near("join-after"));
            let leaves = member.leave_after.as_ref().is_none_or(|l| within(l, moment, day));
            demand(leaves, "`leave-after` must lie above 0 and within a day", &near("leave-after"));
            if let Some(stall) = &member.stall {
                let ms = Span(Duration::from_millis(1));
                demand(within(&stall.every, ms, day), "`every` must be at least 1ms", &near("every"));
                demand(within(&stall.lasts, moment, day), "`for` must lie above 0 and within a day", &near("for"));
            }
        }
        if let Some(load) = &client.load {
            let rate = load.rate.as_ref().is_none_or(|r| within(r, 1, 10_000_000));
            demand(rate, "`rate` must lie between 1 and 10000000", &["load", "rate"]);
            let under_way = within(&load.in_flight, 1, 1_000_000);
            demand(under_way, "`in-flight` must lie between 1 and 1000000", &["load", "in-flight"]);
            demand(within(&load.value, Size(0), Size(64 << 20)), "a `value` has at most 64MiB", &["load", "value"]);
        }
    }
}

fn faults(s: &Scenario, problems: &mut Vec<Notice>) {
    let names = hosts(s);
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let longest = s.duration.extremes().into_iter().max().copied();
    for fault in &s.faults {
        if let Some((message, key)) = fault.problem() {
            let near = ["[[fault]]", fault.kind.as_str(), key];
            problems.push(notice(message, if key.is_empty() { &near[..2] } else { &near }));
            continue;
        }
        if fault.at.extremes().into_iter().any(|at| Some(*at) > longest) {
            let message = format!("the fault `{}` comes after the scenario's `duration`", fault.kind);
            problems.push(notice(message, &["[[fault]]", &fault.kind, "at"]));
        }
        names::of_fault(s, fault, &hosts, problems);
    }
}

/// Convergence must outlast whatever may still be pending when the faults end.
fn convergence(s: &Scenario, problems: &mut Vec<Notice>) {
    let within = s.converge_within.extremes().into_iter().min().map_or(0, |d| d.0.as_millis());
    for client in s.clients.iter().filter(|c| c.kind == ClientKind::Group) {
        let longest = |(k, v): (&String, &Draw<Setting>)| {
            // Of spelled-out numbers the longest text is the largest.
            let most = v.extremes().into_iter().max_by_key(|v| (v.0.len(), v.0.clone()));
            (k.clone(), most.map_or(String::new(), |v| v.0.clone()))
        };
        let properties: Properties = client.config.iter().map(longest).collect();
        let Ok((config, _)) = ConsumerConfig::parse(&properties) else { continue };
        let silent = config.session_timeout.as_millis();
        if silent >= within {
            let message = format!(
                "`converge-within` ({within} ms) must exceed a group member's `session.timeout.ms` ({silent} ms): a \
                 dead member is waited for"
            );
            let mut n = notice(message, &["converge-within"]);
            n.help = Some("set \"session.timeout.ms\" lower, or `converge-within` higher".to_owned());
            problems.push(n);
            return;
        }
    }
    for client in s.clients.iter().filter(|c| c.kind == ClientKind::Producer) {
        let properties: Properties = client
            .config
            .iter()
            .map(|(k, v)| (k.clone(), v.extremes().into_iter().max().map_or(String::new(), |v| v.0.clone())))
            .collect();
        let Ok((config, _)) = ProducerConfig::parse(&properties) else { continue };
        let pending = config.delivery_timeout.as_millis();
        if pending >= within {
            let mut n = notice(
                format!(
                    "`converge-within` ({within} ms) must exceed a producer's `delivery.timeout.ms` ({pending} ms)"
                ),
                &["converge-within"],
            );
            n.help = Some("set \"delivery.timeout.ms\" lower, or `converge-within` higher".to_owned());
            problems.push(n);
            return;
        }
    }
}
