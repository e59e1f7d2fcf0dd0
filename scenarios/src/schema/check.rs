//! What a scenario must satisfy beyond its grammar: nothing impossible is ever started.

use super::*;
use crate::suggest;
use klamm_model::config::{BrokerConfig, ConsumerConfig, ProducerConfig, Properties, TopicConfig, Warning};

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

fn notice(message: impl Into<String>, near: &[&str]) -> Notice {
    Notice { message: message.into(), near: near.iter().map(|s| (*s).to_owned()).collect(), help: None }
}

/// Kinds of arrival.
pub const ARRIVALS: &[&str] = &["constant", "poisson", "bursts", "closed"];
/// Named disks.
pub const DISKS: &[&str] = &["nvme", "ssd", "network", "spinning"];
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
    faults(s, &mut problems);
    convergence(s, &mut problems);
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
    one_of("disk", &s.cluster.disk, DISKS, problems);
    one_of("truncation", &s.cluster.truncation, TRUNCATIONS, problems);
    let l = &s.cluster.network.latency;
    let (low, high) = (l.p50.extremes().into_iter().max(), l.p99.extremes().into_iter().min());
    if low > high {
        problems.push(notice("the latency's `p50` may not exceed its `p99`", &["latency"]));
    }
    if s.cluster.network.bandwidth.extremes().into_iter().any(|b| b.0 < 1000) {
        problems.push(notice("`bandwidth` must be at least 1kbit", &["bandwidth"]));
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

/// Both extremes of every setting must be valid, in every combination that matters to Kafka's own cross-checks:
/// all first values together, and all last ones.
fn settings(s: &Scenario, problems: &mut Vec<Notice>, warnings: &mut Vec<String>) {
    let mut one = |place: &str, table: &Settings, parse: &dyn Fn(&Properties) -> Result<Vec<Warning>, String>| {
        for last in [false, true] {
            let take = |d: &Draw<Setting>| {
                let all = d.extremes();
                (if last { all.last() } else { all.first() }).map_or(String::new(), |v| v.0.clone())
            };
            let properties: Properties = table.iter().map(|(k, v)| (k.clone(), take(v))).collect();
            match parse(&properties) {
                Ok(unused) => {
                    for w in unused {
                        let text = format!("{place}: Klamm does not act on `{}`", w.key);
                        if !warnings.contains(&text) {
                            warnings.push(text);
                        }
                    }
                }
                Err(message) => {
                    let key = table.keys().find(|k| message.contains(k.as_str())).cloned().unwrap_or_default();
                    problems.push(notice(format!("{place}: {message}"), &[&key]));
                    return;
                }
            }
        }
    };
    one("[broker]", &s.broker, &|p| BrokerConfig::parse(p).map(|r| r.1).map_err(|e| e.to_string()));
    for topic in &s.topics {
        let place = format!("topic `{}`", topic.name);
        one(&place, &topic.config, &|p| TopicConfig::parse(p).map(|r| r.1).map_err(|e| e.to_string()));
    }
    for client in &s.clients {
        match client.kind {
            ClientKind::Producer => {
                one("producer", &client.config, &|p| ProducerConfig::parse(p).map(|r| r.1).map_err(|e| e.to_string()));
            }
            ClientKind::Consumer => {
                one("consumer", &client.config, &|p| ConsumerConfig::parse(p).map(|r| r.1).map_err(|e| e.to_string()));
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
            (ClientKind::Producer, Some(load)) => load_spec(load, problems),
            (ClientKind::Consumer, None) => {}
        }
    }
}

fn load_spec(load: &LoadSpec, problems: &mut Vec<Notice>) {
    one_of("arrivals", &load.arrivals, ARRIVALS, problems);
    let open = load.arrivals.extremes().into_iter().any(|a| a != "closed");
    if open && load.rate.is_none() {
        problems.push(notice("an open load needs a `rate` in records per second", &["load"]));
    }
    if load.rate.as_ref().is_some_and(|r| r.extremes().into_iter().any(|r| *r == 0)) {
        problems.push(notice("`rate` must be at least 1", &["load", "rate"]));
    }
    if load.value.extremes().into_iter().any(|v| v.0 < 16) {
        problems.push(notice("a `value` has at least 16 bytes: it carries its own name", &["load", "value"]));
    }
    if load.key.uniform.is_some() && load.key.zipf.is_some() {
        problems.push(notice("keys are either `uniform` or `zipf`", &["key"]));
    }
    if load.key.uniform == Some(0) || load.key.of == Some(0) {
        problems.push(notice("there must be at least one key", &["key"]));
    }
    if load.key.zipf.is_some_and(|z| !(0.0..=10.0).contains(&z)) {
        problems.push(notice("`zipf` must lie between 0 and 10", &["zipf"]));
    }
}

fn faults(s: &Scenario, problems: &mut Vec<Notice>) {
    let longest = s.duration.extremes().into_iter().max().copied();
    for fault in &s.faults {
        if let Some(message) = fault.problem() {
            problems.push(notice(message, &["[[fault]]", &fault.kind]));
            continue;
        }
        if fault.at.extremes().into_iter().any(|at| Some(*at) > longest) {
            let message = format!("the fault `{}` comes after the scenario's `duration`", fault.kind);
            problems.push(notice(message, &["[[fault]]", &fault.kind, "at"]));
        }
    }
}

/// Convergence must outlast whatever may still be pending when the faults end.
fn convergence(s: &Scenario, problems: &mut Vec<Notice>) {
    let within = s.converge_within.extremes().into_iter().min().map_or(0, |d| d.0.as_millis());
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
