//! What Kafka's own classes answered to every setting of the table, and whether the model answers the same.
//!
//! `sim/model/settings/answers-*.tsv` was printed by the recorder beside it: each setting with its default, at each bound, one
//! step beyond, of a wrong type and empty, and every rule between settings.

use klamm_model::config::table::{self, Type};
use klamm_model::config::{ConfigError, Properties, Scope, examine_whole};
use std::collections::BTreeMap;

const ANSWERS: &str = include_str!("../settings/answers-4.4.0.tsv");

/// A line of the recording.
struct Answer<'a> {
    line: usize,
    scope: Scope,
    verdict: &'a str,
    reason: String,
    tried: Vec<(&'a str, String)>,
}

fn plain(cell: &str) -> String {
    let mut out = String::new();
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                other => out.extend(other),
            },
            c => out.push(c),
        }
    }
    out
}

fn answers() -> impl Iterator<Item = Answer<'static>> {
    ANSWERS.lines().enumerate().map(|(i, line)| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().expect("a line has three cells at least");
        let (first, second, third) = (next(), next(), next());
        // A base's line begins with the word, then its scope.
        let (scope, verdict) = if first == "base" { (second, first) } else { (first, second) };
        let pair = |cell: &'static str| cell.split_once('=').map(|(k, v)| (k, plain(v))).expect("key=value");
        Answer {
            line: i + 1,
            scope: Scope::named(scope).expect("a known scope"),
            verdict,
            reason: plain(third),
            tried: cells.map(pair).collect(),
        }
    })
}

/// What cannot be known without Java: whether a class exists, and what it is.
fn needs_java(answer: &Answer<'_>) -> bool {
    let loads = |key: &str| {
        table::find(answer.scope, key).is_some_and(|row| row.kind == Type::Class) || key.ends_with(".assignors")
    };
    answer.reason.contains("Class") && answer.tried.iter().any(|(key, value)| loads(key) && !value.trim().is_empty())
}

#[test]
fn every_answer_is_kafkas() {
    let mut bases: BTreeMap<Scope, Properties> = BTreeMap::new();
    let mut wrong = Vec::new();
    let (mut taken, mut refused) = (0, 0);
    for answer in answers() {
        let owned = |(key, value): &(&str, String)| ((*key).to_owned(), value.clone());
        if answer.verdict == "base" {
            bases.insert(answer.scope, answer.tried.iter().map(owned).collect());
            continue;
        }
        if needs_java(&answer) {
            continue;
        }
        let mut all = bases[&answer.scope].clone();
        for (key, value) in &answer.tried {
            // A dash takes the base's setting away.
            if value == "-" {
                all.remove(*key);
            } else {
                all.insert((*key).to_owned(), value.clone());
            }
        }
        let ours: Vec<String> = examine_whole(answer.scope, &all).refused.iter().map(ConfigError::to_string).collect();
        // Kafka makes `broker.id` of `node.id` before it parses either.
        let id = answer.reason.starts_with("Invalid value") && answer.tried[0].0 == "node.id";
        let reason = if id { answer.reason.replace("broker.id", "node.id") } else { answer.reason.clone() };
        let same = match answer.verdict {
            "taken" => ours.is_empty(),
            // A suggestion may follow Kafka's words.
            _ => ours.iter().any(|o| o.starts_with(&reason)),
        };
        if answer.verdict == "taken" {
            taken += 1
        } else {
            refused += 1
        }
        if !same {
            let theirs = if answer.reason.is_empty() { "taken" } else { &answer.reason };
            wrong.push(format!("line {} {:?}: Kafka: {theirs}; here: {ours:?}", answer.line, answer.tried));
        }
    }
    assert!(taken > 3_000 && refused > 3_000, "{taken} taken and {refused} refused: the recording is whole");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_setting_was_tried() {
    let tried: std::collections::BTreeSet<(Scope, &str)> = answers()
        .filter(|a| a.verdict != "base")
        .flat_map(|a| a.tried.into_iter().map(move |(key, _)| (a.scope, key)))
        .collect();
    for scope in Scope::ALL {
        for row in table::rows(scope) {
            assert!(tried.contains(&(scope, row.name)), "{scope:?} {}", row.name);
        }
    }
}

#[test]
fn a_default_that_the_model_has_is_kafkas() {
    use klamm_model::config::{BrokerConfig, ConsumerConfig, FromConfig, ProducerConfig};
    // Kafka says these in hours or through another setting, and the client's ids are made up.
    let elsewhere =
        ["log.retention.ms", "log.roll.ms", "internal.leave.group.on.close", "partition.assignment.strategy"];
    let check = |scope: Scope, keys: &[(&str, &str)]| {
        for (key, default) in keys.iter().filter(|(key, _)| !elsewhere.contains(key)) {
            let row = table::find(scope, key).unwrap_or_else(|| panic!("{scope:?} `{key}` is not Kafka's"));
            let theirs = match row.default.as_ref().expect("a default") {
                table::Value::Null => String::new(),
                table::Value::Bool(b) => b.to_string(),
                table::Value::Int(n) => n.to_string(),
                table::Value::Double(d) => d.to_string(),
                table::Value::Text(t) => t.clone(),
                table::Value::List(l) => l.join(","),
            };
            assert_eq!(String::from_config(default).unwrap(), theirs, "{scope:?} `{key}`");
        }
    };
    check(Scope::Broker, BrokerConfig::KEYS);
    check(Scope::Producer, ProducerConfig::KEYS);
    check(Scope::Consumer, ConsumerConfig::KEYS);
}
