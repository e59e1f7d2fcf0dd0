//! Names that a scenario uses, and whether they can exist: what can never be met is refused before anything runs. A fault
//! aimed at a topic that nobody creates would do nothing, and the scenario would hold.

use super::check::{Notice, notice};
use super::{ClientKind, Draw, Expect, FaultSpec, Scenario, Setting};
use crate::run::MARKS;
use crate::suggest;
use klamm_model::config::{BrokerConfig, Properties};
use klamm_model::ids::{ApiKey, OFFSETS_TOPIC};
use klamm_model::node::Listener;
use klamm_model::versions::offered;
use klamm_workloads::oracles;
use klamm_world::faults::{Mention, PartitionName, Problem, Schedule};
use klamm_world::invariants;
use std::collections::BTreeSet;

/// Every check that a seed is put to, by name: what `expect` may name.
pub fn checks() -> Vec<&'static str> {
    oracles::CHECKS.iter().chain(invariants::CHECKS).copied().collect()
}

/// The names under `[expect]`.
pub(super) fn of_expectations(expect: &Expect, problems: &mut Vec<Notice>) {
    for mark in expect.sometimes.iter().filter(|mark| !MARKS.contains(&mark.as_str())) {
        let hint = suggest::nearest(mark, MARKS.iter().copied());
        problems.push(notice(format!("there is no mark `{mark}`{hint}"), &["[expect]", "sometimes", mark]));
    }
    let known = checks();
    for (key, names) in [("violations", &expect.violations), ("permits", &expect.permits)] {
        for check in names.iter().filter(|check| !known.contains(&check.as_str())) {
            let hint = suggest::nearest(check, known.iter().copied());
            problems.push(notice(format!("there is no check `{check}`{hint}"), &["[expect]", key, check]));
        }
    }
}

/// The names in a fault's expressions, on these hosts.
pub(super) fn of_fault(s: &Scenario, fault: &FaultSpec, hosts: &[&str], problems: &mut Vec<Notice>) {
    let kind = fault.kind.as_str();
    if let Some(message) = fault.api.as_deref().and_then(wrong_api) {
        let api = fault.api.as_deref().unwrap_or_default();
        problems.push(notice(format!("fault `{kind}`: {message}"), &["[[fault]]", kind, api]));
        return;
    }
    let schedule = Schedule { faults: vec![fault.at_its_first().plan()] };
    if let Err(e) = schedule.check(hosts) {
        let word = match &e.problem {
            Problem::Who(e) | Problem::When(e) => &e.text,
            Problem::Api(api) => api,
            Problem::Refused(_) => kind,
        };
        problems.push(notice(format!("fault `{kind}`: {}", e.problem), &["[[fault]]", kind, word]));
        return;
    }
    let ids = groups(s);
    for group in schedule.groups(hosts.iter().copied()).into_iter().filter(|group| !ids.contains(group)) {
        let hint = suggest::nearest(&group, ids.iter().map(String::as_str));
        let message = format!("fault `{kind}`: no client is of a group `{group}`{hint}");
        let mut n = notice(message, &["[[fault]]", kind, &group]);
        n.help = Some("groups are named by their members' \"group.id\"".to_owned());
        problems.push(n);
    }
    if let Some(log) = fault.log.as_ref().filter(|log| PartitionName::read(log).is_none()) {
        let first = s.topics.first().map_or("", |t| t.name.as_str());
        let mut n = notice(format!("fault `{kind}`: there is no log `{log}`"), &["[[fault]]", "log", log]);
        n.help = Some(format!("logs are named by topic and partition, such as `{first}-0`"));
        problems.push(n);
    }
    let mentions = schedule.partitions(hosts.iter().copied());
    if let Some((mention, message)) = mentions.iter().find_map(|m| Some((m, wrong_partition(s, m)?))) {
        problems.push(notice(format!("fault `{kind}`: {message}"), &["[[fault]]", kind, &mention.text]));
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
fn wrong_partition(s: &Scenario, mention: &Mention) -> Option<String> {
    let PartitionName { topic, partition } = &mention.name;
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
    let follower = mention.follower?;
    (follower + 1 >= replicas as usize).then(|| {
        let followers = replicas.saturating_sub(1);
        format!("`{topic}` never has a follower {follower}; it has {followers} at most, counted from 0")
    })
}

/// The most partitions and replicas that the topic of groups' offsets may have.
fn offsets_topic(s: &Scenario) -> (u32, u32) {
    let defaults = BrokerConfig::parse(&Properties::default()).expect("no settings are right").0;
    let most = |key: &str, otherwise: u32| {
        let set = s.broker.get(key).map(|draw| draw.extremes().into_iter().filter_map(|v| v.0.parse().ok()).max());
        set.flatten().unwrap_or(otherwise)
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
    members.filter_map(|c| c.config.get("group.id")).flat_map(ids).collect()
}
