//! What a scenario must satisfy beyond its grammar: nothing impossible is ever started.

use super::notice::{Demand, Notice};
use super::source::{Path, Step, at};
use super::*;
use crate::profiles::network_names;
use crate::suggest;
use klamm_model::config::{ConsumerConfig, ProducerConfig};
use klamm_model::units::Duration;
use klamm_world::disk::DiskProfile;

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
/// Everything that is wrong.
pub fn check(s: &Scenario) -> Result<Vec<String>, Vec<Notice>> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    texts(s, &mut problems);
    words(s, &mut problems);
    bounds::check(s, &mut problems);
    settings::check(s, &mut problems, &mut warnings);
    clients(s, &mut problems);
    faults(s, &mut problems);
    convergence(s, &mut problems);
    names::of_expectations(&s.expect, &mut problems);
    super::expect::check(s, &mut problems);
    if problems.is_empty() { Ok(warnings) } else { Err(problems) }
}

/// Names and sentences.
fn texts(s: &Scenario, problems: &mut Vec<Notice>) {
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if s.name.is_empty() || s.name.len() > 200 || !s.name.chars().all(kebab) {
        let message = format!("the name `{}` is not in kebab-case", s.name);
        problems.push(Notice::new(message, at!["name"]).help("lower-case letters, digits and `-`"));
    }
    if s.summary.trim().is_empty() {
        problems.push(Notice::new("the `summary` says nothing", at!["summary"]).help("what happens, in a sentence"));
    }
    for (i, _) in s.tags.iter().enumerate().filter(|(_, tag)| tag.trim().is_empty()) {
        problems.push(Notice::new("a tag without a name", at!["tags", i]));
    }
    let tags = s.tags.iter().enumerate().map(|(i, tag)| (tag, at!["tags", i]));
    let named = s.variants.iter().enumerate().map(|(i, v)| (&v.name, at!["variant", i, "name"]));
    for (text, at) in [(&s.summary, at!["summary"]), (&s.promise, at!["promise"])].into_iter().chain(tags).chain(named)
    {
        if text.chars().any(|c| c.is_control() && c != '\n') {
            problems.push(Notice::new("a text with control characters, which it would write to a terminal", at));
        }
    }
    if s.topics.is_empty() {
        problems.push(Notice::new("a scenario needs at least one [[topic]]", at!["topic"]));
    }
    for (i, topic) in s.topics.iter().enumerate() {
        let at = at!["topic", i, "name"];
        if s.topics[..i].iter().any(|t| t.name == topic.name) {
            problems.push(Notice::new(format!("the topic `{}` is named twice", topic.name), at.clone()));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let dots = matches!(topic.name.as_str(), "." | "..");
        if topic.name.is_empty() || topic.name.len() > 249 || dots || !topic.name.chars().all(legal) {
            let message = format!("`{}` is no topic name: Kafka takes letters, digits, `.`, `_` and `-`", topic.name);
            problems.push(Notice::new(message, at.clone()));
        }
        if topic.name == "klamm-probe" || topic.name.starts_with("__") {
            let message = format!("the topic name `{}` is taken: by the harness, or by Kafka itself", topic.name);
            problems.push(Notice::new(message, at));
        }
    }
}

/// Words of which only some are known.
fn words(s: &Scenario, problems: &mut Vec<Notice>) {
    let cluster = at!["cluster"];
    let profile = |key: &str, named: bool| if named { cluster.to(key) } else { cluster.to(key).to("profile") };
    let (disk, network) = (s.cluster.disk.table(), s.cluster.network.table());
    let disk_named = *disk == DiskTable { profile: disk.profile.clone(), ..DiskTable::default() };
    let network_named = *network == NetworkTable { profile: network.profile.clone(), ..NetworkTable::default() };
    one_of(profile("disk", disk_named), &disk.profile, &DiskProfile::NAMES, problems);
    one_of(profile("network", network_named), &network.profile, &network_names(), problems);
    one_of(cluster.to("truncation"), &s.cluster.truncation, TRUNCATIONS, problems);
}

fn one_of(at: Path, draw: &Draw<String>, known: &[&str], problems: &mut Vec<Notice>) {
    let key = at.steps().iter().rev().find_map(|s| if let Step::Key(k) = s { Some(k.clone()) } else { None });
    let key = key.unwrap_or_default();
    for (n, value) in draw.extremes().into_iter().enumerate() {
        if !known.contains(&value.as_str()) {
            let hint = suggest::nearest(value, known.iter().copied());
            let words = known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
            let help = hint.is_empty().then(|| format!("one of {words}"));
            let notice = Notice::new(format!("there is no `{key}` = `{value}`{hint}"), draw.place(&at, n));
            problems.push(Notice { help, ..notice });
        }
    }
}

/// There is no such topic.
pub(super) fn no_topic(s: &Scenario, name: &str, at: Path) -> Notice {
    let hint = suggest::nearest(name, s.topics.iter().map(|t| t.name.as_str()));
    Notice::new(format!("there is no topic `{name}`{hint}"), at).needs(at!["topic", Step::Any, "name"])
}

fn clients(s: &Scenario, problems: &mut Vec<Notice>) {
    for (i, client) in s.clients.iter().enumerate() {
        let at = at!["clients", i];
        // What a kind needs and does not have says nothing where the kind was not understood.
        let says = |message: &str, at: Path| Notice::new(message, at).needs(at!["clients", i, "kind"]);
        if let Some(topic) = &client.topic
            && !s.topics.iter().any(|t| t.name == *topic)
        {
            problems.push(no_topic(s, topic, at.to("topic")));
        }
        let kind = client.kind;
        match (kind, &client.load) {
            (ClientKind::Producer, None) => {
                let n = says("a producer needs `load`", at.clone()).needs(at.to("load"));
                problems.push(n.help("load = { rate = 50 }"));
            }
            (ClientKind::Producer, Some(load)) => load_spec(load, &at.to("load"), problems),
            (ClientKind::Consumer, Some(_)) => problems.push(says("a consumer has no `load`", at.to("load"))),
            (ClientKind::Group, Some(_)) => problems.push(says("a group member has no `load`", at.to("load"))),
            (ClientKind::Consumer | ClientKind::Group, None) => {}
        }
        if let (ClientKind::Consumer | ClientKind::Group, Some(_)) = (kind, &client.partition) {
            problems.push(says("only producers choose a `partition`", at.to("partition")));
        }
        if kind != ClientKind::Consumer && client.read_model {
            problems.push(says("only consumers are instances of a `read-model`", at.to("read-model")));
        }
        if kind != ClientKind::Consumer && client.list_offsets_every.is_some() {
            problems.push(says("only consumers ask for offsets", at.to("list-offsets-every")));
        }
        match (kind, &client.member) {
            (ClientKind::Group, member) => {
                group_member(client, member.as_ref(), &at, problems);
                if let Some(forward) = member.as_ref().and_then(|m| m.forward.as_ref()) {
                    forwards(s, client, forward, &at.to("member"), problems);
                }
            }
            (_, Some(_)) => {
                let n = says("only group members have a `member` table", at.to("member"));
                problems.push(n.help("kind = \"group\""));
            }
            (_, None) => {}
        }
    }
}

/// A group member needs a group, and cannot leave commits to the consumer that it wants to make itself.
fn group_member(client: &ClientSpec, member: Option<&MemberSpec>, at: &Path, problems: &mut Vec<Notice>) {
    let config = at.to("config");
    let example = "config = { \"group.id\" = \"orders-service\" }";
    match client.config.get("group.id") {
        None => {
            let n = Notice::new("a group member needs a `group.id`", config.to("group.id")).needs(config.clone());
            problems.push(n.needs(at.to("kind")).help(example));
        }
        Some(ids) => {
            let empty = "a group member needs a `group.id` that is not empty";
            let id = config.to("group.id");
            let before = problems.len();
            problems.demand(id.clone(), ids, |id| !id.0.trim().is_empty(), empty);
            problems[before..].iter_mut().for_each(|n| n.help = Some(example.to_owned()));
            let control = "a `group.id` with control characters, which it would write to a terminal";
            problems.demand(id, ids, |id| !id.0.chars().any(char::is_control), control);
        }
    }
    if client.config.contains_key("group.instance.id") {
        let at = config.to("group.instance.id");
        let n = Notice::of_key("one `group.instance.id` cannot serve several members", at);
        problems.push(n.help("member = { static = true } names each after its host"));
    }
    let Some(member) = member else { return };
    let at = at.to("member");
    one_of(at.to("processing"), &member.processing, PROCESSING, problems);
    one_of(at.to("commit"), &member.commit, COMMITS, problems);
    one_of(at.to("service-shape"), &member.service_shape, SHAPES, problems);
    let says_true = |v: &Setting| v.0.trim().eq_ignore_ascii_case("true");
    let by_itself = client.config.get("enable.auto.commit").is_none_or(|v| v.extremes().into_iter().any(says_true));
    for (n, _) in member.processing.extremes().into_iter().enumerate().filter(|(_, p)| *p == "commit-then-finish") {
        if by_itself {
            let at = member.processing.place(&at.to("processing"), n);
            let n = Notice::new("`commit-then-finish` commits by itself", at).needs(config.clone());
            problems.push(n.help("set \"enable.auto.commit\" = \"false\""));
        }
    }
}

/// A service sends to topics that exist, other than its own, and is through with a record before the next.
fn forwards(s: &Scenario, client: &ClientSpec, forward: &ForwardSpec, at: &Path, problems: &mut Vec<Notice>) {
    let own = client.topic.as_ref().or_else(|| Some(&s.topics.first()?.name));
    let place = at.to("forward");
    if forward.to.is_empty() {
        problems.push(Notice::new("`forward` needs at least one topic in `to`", place.to("to")));
    }
    let to = forward.to.iter().enumerate().map(|(n, topic)| (topic, place.to("to").to(n)));
    let declines = forward.declines.as_ref().map(|d| (&d.to, place.to("declines").to("to")));
    for (topic, at) in to.chain(declines) {
        if Some(topic) == own {
            problems.push(Notice::new(format!("a service cannot forward to its own topic `{topic}`"), at));
        } else if !s.topics.iter().any(|t| t.name == *topic) {
            problems.push(no_topic(s, topic, at));
        }
    }
    for (n, topic) in forward.to.iter().enumerate() {
        if forward.to[..n].contains(topic) {
            problems.push(Notice::new(format!("`to` names `{topic}` twice"), place.to("to").to(n)));
        }
    }
    if let Some(member) = &client.member {
        for (n, _) in member.processing.extremes().into_iter().enumerate().filter(|(_, p)| *p == "hand-off") {
            let at = member.processing.place(&at.to("processing"), n);
            let n = Notice::new("a member that hands its records off does not forward", at);
            problems.push(n.help("processing = \"finish-then-commit\""));
        }
    }
}

fn load_spec(load: &LoadSpec, at: &Path, problems: &mut Vec<Notice>) {
    one_of(at.to("arrivals"), &load.arrivals, ARRIVALS, problems);
    let open = load.arrivals.extremes().into_iter().any(|a| a != "closed");
    if open && load.rate.is_none() {
        let n = Notice::new("an open load needs a `rate` in records per second", at.to("rate"));
        problems.push(n.needs(at.to("rate")).needs(at.to("arrivals")).help("rate = 50"));
    }
    let key = at.to("key");
    let chosen = [load.key.none, load.key.uniform.is_some(), load.key.zipf.is_some()];
    if chosen.into_iter().filter(|c| *c).count() > 1 {
        problems.push(Notice::new("keys are one of `none`, `uniform` and `zipf`", key.clone()));
    }
    if load.key.of.is_some() && load.key.zipf.is_none() {
        problems.push(Notice::of_key("`of` goes with `zipf`", key.to("of")).needs(key.to("zipf")));
    }
    let keyless = load.key.uniform.is_none() && load.key.zipf.is_none();
    if load.tombstones.is_some() && keyless {
        let n = Notice::new("a tombstone deletes a key, and these records have none", at.to("tombstones"));
        problems.push(n.needs(key).help("key = { uniform = 100 }"));
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

fn faults(s: &Scenario, problems: &mut Vec<Notice>) {
    let names = hosts(s);
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let longest = s.duration.extremes().into_iter().max().copied();
    for (i, fault) in s.faults.iter().enumerate() {
        let at = at!["fault", i];
        fault.check(&at, problems);
        for (n, when) in fault.at.extremes().into_iter().enumerate() {
            if Some(*when) > longest {
                let message = format!("the fault `{}` comes after the scenario's `duration`", fault.kind);
                let at = fault.at.place(&at.to("at"), n);
                problems.push(Notice::new(message, at).needs(at!["duration"]));
                break;
            }
        }
        names::of_fault(s, fault, &at, &hosts, problems);
    }
}

/// Convergence must outlast whatever may still be pending when the faults end.
fn convergence(s: &Scenario, problems: &mut Vec<Notice>) {
    let within = s.converge_within.extremes().into_iter().min().map_or(0, |d| d.0.as_millis());
    let greatest = |client: &ClientSpec, key: &str, default: Duration| {
        let set = client.config.get(key).map(|draw| draw.extremes().into_iter().filter_map(Setting::number).max());
        set.flatten().map_or(default.as_millis(), |ms| u64::try_from(ms).unwrap_or(0))
    };
    let session = ConsumerConfig::kafka_defaults().session_timeout;
    let delivery = ProducerConfig::kafka_defaults().delivery_timeout;
    for (i, client) in s.clients.iter().enumerate() {
        let (key, whose, default, why) = match client.kind {
            ClientKind::Group => ("session.timeout.ms", "a group member's", session, ": a dead member is waited for"),
            ClientKind::Producer => ("delivery.timeout.ms", "a producer's", delivery, ""),
            ClientKind::Consumer => continue,
        };
        let pending = greatest(client, key, default);
        if pending >= within {
            let message = format!("`converge-within` ({within} ms) must exceed {whose} `{key}` ({pending} ms){why}");
            let n = Notice::new(message, at!["converge-within"]).needs(at!["clients", i, "config"]);
            problems.push(
                n.needs(at!["clients", i, "kind"]).help(format!("set \"{key}\" lower, or `converge-within` higher")),
            );
            return;
        }
    }
}
