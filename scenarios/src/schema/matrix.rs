//! Variants of one scenario, for comparisons: `[matrix]` (every combination of some settings) and `[[variant]]` (named
//! sets of settings). All variants run under the same seeds, and draws are keyed by what they are for, so that two
//! variants differ in what was varied and in nothing else.
//!
//! A setting is named by where it belongs: `producer.acks`, `consumer.group.protocol` (consumers and group members),
//! `broker.min.insync.replicas`, `topic.segment.bytes`, `topic.replication`, `topic.partitions`, `cluster.disk`,
//! `cluster.disk.fsync`, `cluster.network`, `load.rate` (every client with a load), `member.service-time` (every group
//! member), `member.count` (how many each group has). `producer.` is every producer; `origin.` those with a load alone, and
//! `forward.` those of services alone.

use super::check::check;
use super::notice::Notice;
use super::source::{Path, Step, at};
use super::{ClientKind, Draw, Scenario, Setting, Settings};
use crate::suggest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most variants of one scenario.
pub const MAX_VARIANTS: usize = 64;

/// A named set of settings.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VariantSpec {
    /// What tables and charts call it.
    pub name: String,
    /// Settings, each named by where it belongs, in place of the scenario's own.
    #[serde(default)]
    pub set: Settings,
}

/// One variant, ready to run.
#[derive(Clone, PartialEq, Debug)]
pub struct Variant {
    /// What tables and charts call it.
    pub label: String,
    /// The scenario with the variant's settings; its name ends in the variant's number.
    pub scenario: Scenario,
}

/// The variants of a scenario, in the order of its file: named ones, each in every combination of the matrix.
///
/// # Errors
/// Everything that is wrong: a setting whose place is not known, a variant that is not a sound scenario.
pub fn variants(scenario: &Scenario) -> Result<Vec<Variant>, Vec<Notice>> {
    let mut problems = shape(scenario);
    let mut sets: Vec<Named> = vec![Named::default()];
    if !scenario.variants.is_empty() {
        let named = |(n, v): (usize, &VariantSpec)| Named {
            label: vec![v.name.clone()],
            set: v.set.iter().map(|(k, d)| (k.clone(), d.clone(), at!["variant", n, "set", k])).collect(),
        };
        sets = scenario.variants.iter().enumerate().map(named).collect();
    }
    for (key, draw) in &scenario.matrix {
        let Draw::Choice(values) = draw else {
            let message = format!("[matrix]: `{key}` needs a list of values to compare");
            problems.push(Notice::new(message, at!["matrix", key]));
            continue;
        };
        let short = key.split_once('.').map_or(key.as_str(), |(_, rest)| rest);
        sets = sets.iter().flat_map(|one| (0..values.len()).map(|n| one.with(key, short, n, &values[n]))).collect();
        if sets.len() > MAX_VARIANTS {
            problems.push(Notice::of_key(format!("more than {MAX_VARIANTS} combinations to compare"), at!["matrix"]));
            return Err(problems);
        }
    }
    let mut variants = Vec::with_capacity(sets.len());
    for (n, Named { label, set }) in sets.into_iter().enumerate() {
        let mut one = scenario.clone();
        (one.matrix, one.variants) = (BTreeMap::new(), Vec::new());
        one.name = format!("{}-{}", scenario.name, n + 1);
        let mut sound = true;
        for (key, value, at) in &set {
            if let Err(problem) = apply(&mut one, key, value) {
                sound = false;
                let at = if problem.on_key { at.key() } else { at.clone() };
                let problem = Notice { at, ..problem };
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        let label = label.join(" ");
        let wrong = if sound { check(&one).err().unwrap_or_default() } else { Vec::new() };
        for problem in wrong {
            // Said where it was set; what is wrong with the scenario itself is said without its variants.
            let at = blamed(&problem, &set);
            let at = if problem.on_key { at.key() } else { at };
            let message = format!("variant `{label}`: {}", problem.message);
            let same = problems.iter().any(|p| p.at == at && p.message.ends_with(&problem.message));
            if !same {
                problems.push(Notice { message, within: None, at, ..problem });
            }
        }
        variants.push(Variant { label, scenario: one });
    }
    if problems.is_empty() { Ok(variants) } else { Err(problems) }
}

/// A set of settings on its way to a variant: what it is called, and its settings with their places.
#[derive(Clone, Default)]
struct Named {
    label: Vec<String>,
    set: Vec<(String, Draw<Setting>, Path)>,
}

impl Named {
    /// With the n-th value of a key of the matrix, in place of a named set's own.
    fn with(&self, key: &str, short: &str, n: usize, value: &Setting) -> Named {
        let mut one = self.clone();
        one.label.push(format!("{short}={}", value.0));
        one.set.retain(|(k, ..)| k != key);
        one.set.push((key.to_owned(), Draw::Fixed(value.clone()), at!["matrix", key, n]));
        one.set.sort_by(|a, b| a.0.cmp(&b.0));
        one
    }
}

/// What of names and lists is wrong whatever they set.
fn shape(scenario: &Scenario) -> Vec<Notice> {
    let mut problems = Vec::new();
    for (n, v) in scenario.variants.iter().enumerate() {
        let at = at!["variant", n, "name"];
        if v.name.trim().is_empty() {
            problems.push(Notice::new("a variant without a name", at));
        } else if scenario.variants[..n].iter().any(|other| other.name == v.name) {
            problems.push(Notice::new(format!("two variants are called `{}`", v.name), at));
        }
    }
    for (key, draw) in &scenario.matrix {
        let Draw::Choice(values) = draw else { continue };
        for (n, value) in values.iter().enumerate().filter(|(n, value)| values[..*n].contains(value)) {
            let message = format!("[matrix]: `{key}` has `{}` twice", value.0);
            problems.push(Notice::new(message, at!["matrix", key, n]));
        }
    }
    problems
}

/// Which of a variant's settings a problem of it comes from: one whose key it names, or the last.
fn blamed(problem: &Notice, set: &[(String, Draw<Setting>, Path)]) -> Path {
    let last = problem.at.steps().iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        _ => None,
    });
    let named = set.iter().find(|(key, ..)| last.is_some_and(|last| key == last || key.ends_with(&format!(".{last}"))));
    named.or(set.last()).map_or_else(|| problem.at.clone(), |(.., at)| at.clone())
}

/// What is wrong with a key, wherever it stands.
fn wrong(message: String) -> Notice {
    Notice::of_key(message, Path::root())
}

/// What is wrong with a value, wherever it stands.
fn bad(message: String) -> Notice {
    Notice::new(message, Path::root())
}

/// Puts one setting in its place.
fn apply(scenario: &mut Scenario, key: &str, value: &Draw<Setting>) -> Result<(), Notice> {
    const PLACES: [&str; 9] =
        ["producer", "origin", "forward", "consumer", "broker", "topic", "cluster", "load", "member"];
    let (place, rest) = key.split_once('.').unwrap_or((key, ""));
    let clients = |scenario: &mut Scenario, place: &str| {
        let mut any = false;
        for client in &mut scenario.clients {
            let is_origin = client.kind == ClientKind::Producer;
            // A service has a producer of its own.
            let forward = client.member.as_mut().and_then(|m| m.forward.as_mut());
            let forward = forward.filter(|_| matches!(place, "producer" | "forward"));
            let is_meant = if is_origin { matches!(place, "producer" | "origin") } else { place == "consumer" };
            let own = is_meant.then_some(&mut client.config);
            for config in own.into_iter().chain(forward.map(|f| &mut f.config)) {
                config.insert(rest.to_owned(), value.clone());
                any = true;
            }
        }
        any
    };
    match place {
        "producer" | "origin" | "forward" | "consumer" => {
            if !clients(scenario, place) {
                let what = if place == "forward" { "service that forwards" } else { place };
                return Err(wrong(format!("`{key}`: the scenario has no {what}")));
            }
        }
        "broker" => {
            scenario.broker.insert(rest.to_owned(), value.clone());
        }
        "topic" if matches!(rest, "replication" | "partitions") => {
            let n: u32 = one(key, value)?.parse().map_err(|_| bad(format!("`{key}`: expected a whole number")))?;
            for topic in &mut scenario.topics {
                *(if rest == "replication" { &mut topic.replication } else { &mut topic.partitions }) = Draw::Fixed(n);
            }
        }
        "topic" => {
            for topic in &mut scenario.topics {
                topic.config.insert(rest.to_owned(), value.clone());
            }
        }
        "load" => {
            let loads = scenario.clients.iter_mut().filter_map(|c| c.load.as_mut());
            return every(loads, "a load", key, rest, one(key, value)?);
        }
        "member" if rest == "count" => {
            let n: u32 = one(key, value)?.parse().map_err(|_| bad(format!("`{key}`: expected a whole number")))?;
            let groups = scenario.clients.iter_mut().filter(|c| c.kind == ClientKind::Group);
            if groups.map(|c| c.count = Draw::Fixed(n)).count() == 0 {
                return Err(wrong(format!("`{key}`: the scenario has no group")));
            }
        }
        "member" => {
            let groups = scenario.clients.iter_mut().filter(|c| c.kind == ClientKind::Group);
            let members = groups.map(|c| c.member.get_or_insert_default());
            return every(members, "a group member", key, rest, one(key, value)?);
        }
        "cluster" => return cluster(scenario, key, rest, one(key, value)?),
        _ => {
            let hint = suggest::nearest(place, PLACES.into_iter());
            let n = wrong(format!("`{key}`: a setting is named by where it belongs{hint}"));
            return Err(n.help(format!("one of {}, then a dot and Kafka's key", PLACES.join(", "))));
        }
    }
    Ok(())
}

/// The one value of a place where nothing is drawn.
fn one<'a>(key: &str, value: &'a Draw<Setting>) -> Result<&'a str, Notice> {
    match value {
        Draw::Fixed(v) => Ok(&v.0),
        _ => Err(bad(format!("`{key}` takes one value in a variant"))),
    }
}

/// A key of `[cluster]`, through the grammar of scenario files.
fn cluster(scenario: &mut Scenario, key: &str, rest: &str, text: &str) -> Result<(), Notice> {
    let table = put_in(&scenario.cluster, "[cluster]", key, rest, text)?;
    scenario.cluster = table.try_into().map_err(|e: toml::de::Error| bad(format!("`{key}`: {}", e.message())))?;
    Ok(())
}

/// A key of every load, or of every member, through the grammar of scenario files.
fn every<'a, T: serde::Serialize + serde::de::DeserializeOwned + 'a>(
    parts: impl Iterator<Item = &'a mut T>,
    name: &str,
    key: &str,
    rest: &str,
    text: &str,
) -> Result<(), Notice> {
    let mut any = false;
    for part in parts {
        let table = put_in(part, name, key, rest, text)?;
        *part = table.try_into().map_err(|e: toml::de::Error| bad(format!("`{key}`: {}", e.message())))?;
        any = true;
    }
    if any { Ok(()) } else { Err(wrong(format!("`{key}`: there is not {name}"))) }
}

/// What is TOML with one value replaced.
fn put_in(what: &impl serde::Serialize, name: &str, key: &str, rest: &str, text: &str) -> Result<toml::Value, Notice> {
    let mut table = toml::Value::try_from(what).expect("a part of a scenario is TOML");
    let read = text.parse::<i64>().map(toml::Value::Integer).or_else(|_| text.parse().map(toml::Value::Boolean));
    let value = read.unwrap_or_else(|_| toml::Value::String(text.to_owned()));
    let mut at = &mut table;
    let mut steps = rest.split('.').peekable();
    while let Some(step) = steps.next() {
        let unknown = |near: Option<&str>| {
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            wrong(format!("`{key}`: {name} has no `{rest}`{hint}"))
        };
        if let toml::Value::String(profile) = at {
            // A profile by its name becomes a table of which one figure differs.
            let profile = toml::Value::String(profile.clone());
            *at = toml::Value::Table([("profile".to_owned(), profile)].into_iter().collect());
        }
        // A figure that is left to its profile, or to a default, is not there yet; the grammar knows whether it may be.
        const ABSENT: [&str; 8] = ["fsync", "read", "write", "bandwidth", "queue", "latency", "rate", "records"];
        let inner = at.as_table_mut().ok_or_else(|| unknown(None))?;
        if !inner.contains_key(step) && !ABSENT.contains(&step) {
            return Err(unknown(suggest::near(step, inner.keys().map(String::as_str).chain(ABSENT))));
        }
        let empty = if steps.peek().is_some() { toml::Value::Table(toml::Table::new()) } else { value.clone() };
        at = inner.entry(step).or_insert(empty);
    }
    *at = value;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use crate::catalog;
    use crate::schema::{parse, to_toml, variants};

    fn with(more: &str) -> miette::Result<crate::schema::Scenario> {
        let base = to_toml(&catalog::find("leader-crash-acks-all").unwrap()[0]);
        parse("test.toml", &format!("{base}\n{more}"))
    }

    #[test]
    fn a_matrix_is_every_combination_in_order() {
        let s = with("[matrix]\n\"broker.min.insync.replicas\" = [1, 2]\n\"producer.linger.ms\" = [0, 9]\n").unwrap();
        let labels: Vec<String> = variants(&s).unwrap().into_iter().map(|v| v.label).collect();
        let expected = [
            "min.insync.replicas=1 linger.ms=0",
            "min.insync.replicas=1 linger.ms=9",
            "min.insync.replicas=2 linger.ms=0",
            "min.insync.replicas=2 linger.ms=9",
        ];
        assert!(labels == expected, "{labels:?}");
    }

    #[test]
    fn named_variants_set_what_they_name_and_nothing_else() {
        let s = with(
            "[[variant]]\nname = \"slow\"\nset = { \"cluster.disk\" = \"spinning\", \"topic.replication\" = 2 }\n",
        );
        let variants = variants(&s.unwrap()).unwrap();
        assert_eq!(variants.len(), 1);
        let v = &variants[0];
        assert_eq!((v.label.as_str(), v.scenario.cluster.disk.table().profile.get().as_str()), ("slow", "spinning"));
        assert_eq!(*v.scenario.topics[0].replication.get(), 2);
        assert!(v.scenario.variants.is_empty() && v.scenario.name.ends_with("-1"));
    }

    #[test]
    fn slips_are_named() {
        let said = |more: &str| with(more).unwrap_err().to_string();
        assert!(said("[matrix]\n\"prodcuer.acks\" = [\"1\", \"all\"]\n").contains("did you mean `producer`"));
        assert!(said("[matrix]\n\"producer.ack\" = [\"1\", \"all\"]\n").contains("did you mean `acks`"));
        assert!(said("[matrix]\n\"producer.acks\" = \"all\"\n").contains("needs a list"));
        assert!(said("[matrix]\n\"cluster.dsik\" = [\"ssd\", \"nvme\"]\n").contains("no `dsik`"));
        assert!(said("[matrix]\n\"topic.replication\" = [3, 5]\n").contains("impossible with 3 brokers"));
        assert!(said("[matrix]\n\"member.count\" = [2, 4]\n").contains("has no group"));
        assert!(said("[matrix]\n\"forward.acks\" = [\"1\", \"all\"]\n").contains("no service that forwards"));
    }

    #[test]
    fn origins_and_services_are_set_apart_and_groups_sized() {
        let base = to_toml(&catalog::find("factory-line").unwrap()[0]);
        let more = "[[variant]]\nname = \"v\"\n[variant.set]\n\"origin.acks\" = \"1\"\n\"origin.enable.idempotence\" = false\n\
                    \"forward.linger.ms\" = 9\n\"producer.request.timeout.ms\" = 1234\n\"member.count\" = 4\n";
        let scenario = parse("test.toml", &format!("{base}\n{more}")).unwrap();
        let v = variants(&scenario).unwrap().remove(0).scenario;
        let (origin, press) = (&v.clients[0], &v.clients[1]);
        let forward = &press.member.as_ref().unwrap().forward.as_ref().unwrap().config;
        let is = |settings: &crate::schema::Settings, key: &str, value: &str| {
            settings.get(key).is_some_and(|d| d.extremes().iter().all(|v| v.0 == value))
        };
        assert!(is(&origin.config, "acks", "1") && is(forward, "acks", "all"));
        assert!(is(forward, "linger.ms", "9") && !is(&origin.config, "linger.ms", "9"));
        assert!([&origin.config, forward].iter().all(|c| is(c, "request.timeout.ms", "1234")));
        assert_eq!((*origin.count.get(), *press.count.get()), (1, 4));
    }
}
