//! Names that a scenario uses, and whether they can exist: what can never be met is refused before anything runs. A fault
//! aimed at a topic that nobody creates would do nothing, and the scenario would hold.

use super::notice::Notice;
use super::source::{Path, Step, at};
use super::{ClientKind, Draw, Expect, FaultSpec, Scenario, Setting};
use crate::run::MARKS;
use crate::suggest;
use klamm_model::checks::Check;
use klamm_model::config::BrokerConfig;
use klamm_model::ids::{ApiKey, OFFSETS_TOPIC};
use klamm_model::node::Listener;
use klamm_model::versions::offered;
use klamm_world::faults::when::Condition;
use klamm_world::faults::who::Expr;
use klamm_world::faults::{ParseError, PartitionName};
use std::collections::BTreeSet;
use std::ops::Range;

/// The names under `[expect]`.
pub(super) fn of_expectations(expect: &Expect, problems: &mut Vec<Notice>) {
    for (n, mark) in expect.sometimes.iter().enumerate().filter(|(_, mark)| !MARKS.contains(&mark.as_str())) {
        let hint = suggest::nearest(mark, MARKS.iter().copied());
        let notice = Notice::new(format!("there is no mark `{mark}`{hint}"), at!["expect", "sometimes", n]);
        problems.push(notice.help("`klamm list marks`"));
    }
    let known = || Check::ALL.iter().map(|check| check.name());
    let lists = [("violations", &expect.violations), ("permits", &expect.permits), ("forbid", &expect.forbid)];
    for (key, names) in lists {
        for (n, check) in names.iter().enumerate().filter(|(_, check)| check.parse::<Check>().is_err()) {
            let hint = suggest::nearest(check, known());
            let notice = Notice::new(format!("there is no check `{check}`{hint}"), at!["expect", key, n]);
            problems.push(notice.help("`klamm list checks`"));
        }
    }
}

/// The names in a fault's expressions, on these hosts.
pub(super) fn of_fault(s: &Scenario, fault: &FaultSpec, at: &Path, hosts: &[&str], problems: &mut Vec<Notice>) {
    let kind = fault.kind.as_str();
    let says = |message: String, at: Path| Notice::new(format!("fault `{kind}`: {message}"), at);
    // Which hosts there are is said elsewhere in the file.
    let unread = |e: &ParseError, at: Path| {
        let end = e.text[e.at..]
            .find(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)))
            .map_or(e.text.len(), |n| e.at + n);
        let notice = says(e.message.clone(), at).within(e.at..end.max(e.at + 1).min(e.text.len()).max(e.at));
        if !e.message.starts_with("there is no host") {
            return notice;
        }
        let counts = ["count", "kind"].map(|key| at!["clients", Step::Any, key]);
        counts.into_iter().fold(notice.needs(at!["cluster", "brokers"]), Notice::needs)
    };
    let part = |text: &str, word: &str| -> Range<usize> {
        text.find(word).map_or(0..text.len(), |from| from..from + word.len())
    };
    if let Some(message) = fault.api.as_deref().and_then(wrong_api) {
        problems.push(says(message, at.to("api")));
    }
    let ids = groups(s);
    let group = |text: &str, group: &str, at: &Path| {
        (!ids.contains(group)).then(|| {
            let hint = suggest::nearest(group, ids.iter().map(String::as_str));
            let notice = says(format!("no client is of a group `{group}`{hint}"), at.clone()).within(part(text, group));
            let notice = notice.needs(at!["clients", Step::Any, "config"]).needs(at!["clients", Step::Any, "kind"]);
            notice.in_no_draw(true).help("groups are named by their members' \"group.id\"")
        })
    };
    let partition = |text: &str, name: &PartitionName, follower: Option<usize>, at: &Path| {
        wrong_partition(s, name, follower).map(|message| {
            let written = format!("{}-{}", name.topic, name.partition);
            let known = name.topic == OFFSETS_TOPIC || s.topics.iter().any(|t| t.name == name.topic);
            says(message, at.clone()).within(part(text, &written)).needs(at!["topic"]).in_no_draw(known)
        })
    };
    for (at, text) in fault.expressions(at) {
        match Expr::parse(text, hosts.iter().copied()) {
            Err(e) => problems.push(unread(&e, at)),
            Ok(expr) => {
                problems.extend(expr.group().and_then(|name| group(text, name, &at)));
                problems.extend(expr.partition().and_then(|(name, nth)| partition(text, name, nth, &at)));
            }
        }
    }
    if let Some(text) = &fault.when {
        let at = at.to("when");
        match Condition::parse(text, hosts.iter().copied()) {
            Err(e) => problems.push(unread(&e, at)),
            Ok(condition) => {
                problems.extend(condition.groups().into_iter().filter_map(|name| group(text, name, &at)));
                let all = condition.partitions().into_iter();
                problems.extend(all.filter_map(|(name, nth)| partition(text, name, nth, &at)));
            }
        }
    }
    if let Some(log) = &fault.log {
        let at = at.to("log");
        match PartitionName::read(log) {
            Some(name) => problems.extend(partition(log, &name, None, &at)),
            None => {
                let first = s.topics.first().map_or("", |t| t.name.as_str());
                let help = format!("logs are named by topic and partition, such as `{first}-0`");
                problems.push(says(format!("there is no log `{log}`"), at).help(help));
            }
        }
    }
}

/// Why no message of an API can be held, if none can.
fn wrong_api(api: &str) -> Option<String> {
    let listeners = [Listener::Client, Listener::InterBroker, Listener::Controller];
    let known: BTreeSet<String> =
        listeners.iter().flat_map(|l| offered(*l)).map(|(api, _)| format!("{api:?}")).collect();
    if known.contains(api) {
        return None;
    }
    let all = (0..128i16).filter_map(|key| ApiKey::try_from(key).ok());
    Some(if all.into_iter().any(|key| format!("{key:?}") == api) {
        format!("no node sends `{api}` here")
    } else {
        format!("Kafka has no API `{api}`{}", suggest::nearest(api, known.iter().map(String::as_str)))
    })
}

/// Why a partition, or a follower of one, exists in no draw, if it exists in none.
fn wrong_partition(s: &Scenario, name: &PartitionName, follower: Option<usize>) -> Option<String> {
    let PartitionName { topic, partition } = name;
    let most = |draw: &Draw<u32>| draw.extremes().into_iter().copied().max().unwrap_or(0);
    let (partitions, replicas) = match s.topics.iter().find(|t| t.name == *topic) {
        Some(t) => (most(&t.partitions).max(t.grow.as_ref().map_or(0, |g| most(&g.to))), most(&t.replication)),
        None if topic == OFFSETS_TOPIC && !groups(s).is_empty() => offsets_topic(s),
        None => {
            let internal = (!groups(s).is_empty()).then_some(OFFSETS_TOPIC);
            let hint = suggest::nearest(topic, s.topics.iter().map(|t| t.name.as_str()).chain(internal));
            return Some(format!("there is no topic `{topic}`{hint}"));
        }
    };
    if *partition as u32 >= partitions {
        let last = partitions.saturating_sub(1);
        return Some(format!("`{topic}` never has a partition {partition}; its last is {last} at most"));
    }
    let follower = follower?;
    (follower >= (replicas as usize).saturating_sub(1)).then(|| {
        let followers = replicas.saturating_sub(1);
        format!("`{topic}` never has a follower {follower}; it has {followers} at most, counted from 0")
    })
}

/// The most partitions and replicas that the topic of groups' offsets may have.
fn offsets_topic(s: &Scenario) -> (u32, u32) {
    let defaults = BrokerConfig::kafka_defaults();
    let most = |key: &str, otherwise: u32| {
        let set = s.broker.get(key).map(|draw| draw.extremes().into_iter().filter_map(Setting::number).max());
        set.flatten().and_then(|n| u32::try_from(n).ok()).unwrap_or(otherwise)
    };
    (
        most("offsets.topic.num.partitions", defaults.offsets_topic_partitions as u32),
        most("offsets.topic.replication.factor", defaults.offsets_topic_replication as u32),
    )
}

/// The groups that have a member in some draw.
fn groups(s: &Scenario) -> BTreeSet<String> {
    let has_members = |count: &Draw<u32>| count.extremes().into_iter().any(|n| *n > 0);
    let members = s.clients.iter().filter(|c| c.kind == ClientKind::Group && has_members(&c.count));
    let ids = |setting: &Draw<Setting>| setting.extremes().into_iter().map(|v| v.0.clone()).collect::<Vec<_>>();
    members.filter_map(|c| c.config.get("group.id")).flat_map(ids).map(|id| id.trim().to_owned()).collect()
}
