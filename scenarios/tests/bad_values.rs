//! Whatever stands where a value should: exit 2 with a place, or a run that ends. Never a panic, and never a run without end.
//!
//! Every key of every table gets every bad value, alone, in a list beside the right one, and as the ends of a range.

use klamm_scenarios::run::{Options, run_seed};
use klamm_scenarios::schema::{Scenario, json_schema, parse};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use toml::Value;

const WHOLE: &str = include_str!("common/whole.toml");

/// A way into a document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    Key(String),
    Item(usize),
}

fn leaves(value: &Value, way: &mut Vec<Step>, all: &mut Vec<Vec<Step>>) {
    match value {
        Value::Table(table) => {
            for (key, inner) in table {
                way.push(Step::Key(key.clone()));
                // The tables themselves are values, too: a number may stand for one.
                if matches!(inner, Value::Table(_) | Value::Array(_)) {
                    all.push(way.clone());
                }
                leaves(inner, way, all);
                way.pop();
            }
        }
        Value::Array(list) => {
            for (n, inner) in list.iter().enumerate() {
                way.push(Step::Item(n));
                leaves(inner, way, all);
                way.pop();
            }
        }
        _ => all.push(way.clone()),
    }
}

fn at<'a>(document: &'a mut Value, way: &[Step]) -> &'a mut Value {
    way.iter().fold(document, |value, step| match step {
        Step::Key(key) => value.get_mut(key).unwrap(),
        Step::Item(n) => value.get_mut(*n).unwrap(),
    })
}

fn shown(way: &[Step]) -> String {
    way.iter()
        .map(|step| match step {
            Step::Key(key) => format!(".{key}"),
            Step::Item(n) => format!("[{n}]"),
        })
        .collect()
}

/// What should not stand there, in the way of TOML.
fn bad() -> Vec<Value> {
    let text = |t: &str| Value::String(t.to_owned());
    vec![
        Value::Integer(0),
        Value::Integer(-1),
        Value::Integer(i64::MAX),
        Value::Integer(i64::MIN),
        Value::Float(0.5),
        Value::Float(1e300),
        Value::Float(f64::NAN),
        Value::Float(f64::INFINITY),
        Value::Boolean(true),
        text(""),
        text(" "),
        text("x"),
        text("0s"),
        text("99999999999h"),
        text("-1s"),
        text("0B"),
        text("99999999999GiB"),
        text("101%"),
        text("5..1"),
        text("0..4294967295"),
        text("-9223372036854775808..9223372036854775807"),
        text(".."),
        text("leader(orders-99)"),
        text("\u{0}\u{1b}[31m\u{fffd}é"),
        Value::Array(Vec::new()),
        Value::Array(vec![Value::Array(Vec::new())]),
        Value::Table(toml::Table::new()),
        Value::Datetime("1979-05-27".parse().unwrap()),
    ]
}

/// A document with one value in another's place.
struct Case {
    what: String,
    /// The key that it stands under.
    key: String,
    value: Value,
    how: How,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Alone,
    InAList,
    Twice,
}

fn cases() -> Vec<Case> {
    let whole: Value = toml::from_str(WHOLE).unwrap();
    let mut plain = whole.clone();
    for key in ["matrix", "variant"] {
        plain.as_table_mut().unwrap().remove(key);
    }
    let mut ways = Vec::new();
    leaves(&whole, &mut Vec::new(), &mut ways);
    let mut cases = Vec::new();
    for way in ways {
        // What does not concern variants is quicker to read without them.
        let document = if matches!(&way[0], Step::Key(k) if k == "matrix" || k == "variant") { &whole } else { &plain };
        let right = at(&mut document.clone(), &way).clone();
        let key = way.iter().rev().find_map(|s| if let Step::Key(k) = s { Some(k.clone()) } else { None }).unwrap();
        let mut put = |how: How, value: Value, put: Value| {
            let mut changed = document.clone();
            *at(&mut changed, &way) = put.clone();
            let text = toml::to_string(&changed).expect("it can be written");
            cases.push(Case { what: format!("{} = {put}", shown(&way)), key: key.clone(), value, how, text });
        };
        for (n, value) in bad().into_iter().enumerate() {
            if !right.is_table() && !right.is_array() && n % 3 == 1 {
                put(How::InAList, value.clone(), Value::Array(vec![right.clone(), value.clone()]));
            }
            put(How::Alone, value.clone(), value);
        }
        put(How::Twice, right.clone(), Value::Array(vec![right.clone(), right.clone()]));
    }
    cases
}

/// Reads it; no panic, and an error has its place.
fn read(case: &Case) -> Option<Scenario> {
    let begun = Instant::now();
    let read = catch_unwind(AssertUnwindSafe(|| parse("t.toml", &case.text)));
    let read = read.unwrap_or_else(|_| panic!("{}: a panic", case.what));
    assert!(begun.elapsed() < Duration::from_secs(5), "{}: took {:?}", case.what, begun.elapsed());
    match read {
        Ok(scenario) => Some(scenario),
        Err(report) => {
            let said = format!("{report:?}");
            assert!(said.contains("t.toml:"), "{}: no place in {said}", case.what);
            for word in ["struct ", "u32", "i64", "invalid type", "sequence", "variant of enum", "not settled"] {
                let said = said.lines().filter(|l| l.contains('×') || l.contains("help:")).collect::<String>();
                assert!(!said.contains(word), "{}: `{word}` is no word of a scenario file: {said}", case.what);
            }
            None
        }
    }
}

#[test]
fn the_whole_scenario_has_every_key_there_is() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    let mut known = BTreeSet::new();
    fn keys(schema: &serde_json::Value, known: &mut BTreeSet<String>) {
        match schema {
            serde_json::Value::Object(map) => {
                if let Some(properties) = map.get("properties").and_then(|p| p.as_object()) {
                    known.extend(properties.keys().cloned());
                }
                map.values().for_each(|inner| keys(inner, known));
            }
            serde_json::Value::Array(list) => list.iter().for_each(|inner| keys(inner, known)),
            _ => {}
        }
    }
    keys(&schema, &mut known);
    let document: Value = toml::from_str(WHOLE).unwrap();
    let mut said = BTreeSet::new();
    fn all(value: &Value, said: &mut BTreeSet<String>) {
        match value {
            Value::Table(table) => table.iter().for_each(|(key, inner)| {
                said.insert(key.clone());
                all(inner, said);
            }),
            Value::Array(list) => list.iter().for_each(|inner| all(inner, said)),
            _ => {}
        }
    }
    all(&document, &mut said);
    let missing: Vec<&String> = known.difference(&said).collect();
    assert!(missing.is_empty(), "{missing:?}");
    parse("whole.toml", WHOLE).unwrap_or_else(|e| panic!("{e:?}"));
}

#[test]
fn bad_values_are_refused_with_their_place_or_run_to_an_end() {
    let all = cases();
    let mut taken = 0;
    let mut wrong = Vec::new();
    for case in &all {
        let Some(scenario) = read(case) else { continue };
        taken += 1;
        if case.how != How::Twice && !has_a_meaning(&case.key, &case.value) {
            wrong.push(case.what.as_str());
        }
        if case.how != How::Alone || case.value.is_str() && case.value.as_str() != Some("0s") {
            continue;
        }
        // Whatever is taken runs to its end.
        let begun = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| run_seed(&scenario, 1, &Options::default())));
        assert!(done.is_ok(), "{}: a panic", case.what);
        assert!(begun.elapsed() < Duration::from_secs(15), "{}: took {:?}", case.what, begun.elapsed());
    }
    assert!(wrong.is_empty(), "these are taken:\n{}", wrong.join("\n"));
    assert!(all.len() > 5000 && taken * 8 < all.len(), "{taken} of {} are taken", all.len());
}

/// What looks bad and has a meaning all the same: by key, and nothing beside it.
fn has_a_meaning(key: &str, value: &Value) -> bool {
    const TEXTS: &[&str] = &["name", "summary", "promise", "tags", "group.id"];
    const EMPTY_TABLES: &[&str] =
        &["cluster", "broker", "config", "member", "key", "network", "latency", "disk", "expect", "matrix", "set"];
    const EMPTY_LISTS: &[&str] = &["forbid", "permits", "sometimes", "violations", "fault", "variant", "tags"];
    const NOTHING: &[&str] = &[
        "at",
        "warm-up",
        "clock-drift-ppm",
        "clock-offset",
        "fsync",
        "cluster.disk.fsync",
        "read",
        "write",
        "p50",
        "join-after",
        "service-time",
        "tombstones",
        "per-mille",
        "partition",
        "count",
        "by-ms",
        "ppm",
        "zipf",
        "acks",
        "linger.ms",
        "producer.linger.ms",
        "request.timeout.ms",
        "heartbeat.interval.ms",
        "retention.ms",
        "broker.heartbeat.interval.ms",
        "broker.session.timeout.ms",
        "min.cleanable.dirty.ratio",
    ];
    const BELOW: &[&str] =
        &["acks", "by-ms", "ppm", "retention.ms", "broker.heartbeat.interval.ms", "broker.session.timeout.ms"];
    const WITHOUT_END: &[&str] = &["replica.lag.time.max.ms", "retention.ms"];
    const FRACTIONS: &[&str] = &["zipf", "min.cleanable.dirty.ratio"];
    const FLAGS: &[&str] = &[
        "canary",
        "colocate",
        "clients-on-one-host",
        "elr",
        "none",
        "read-model",
        "effects",
        "static",
        "one-way",
        "responses",
        "strict",
        "beyond-budget",
        "unavailable",
        "enable.idempotence",
        "enable.auto.commit",
    ];
    let is = |keys: &[&str]| keys.contains(&key);
    match value {
        Value::String(text) => {
            let nothing = text == "0s" && is(NOTHING);
            // A topic's policy may be empty since Kafka 4.1, and a time may be drawn from anything above 0.
            let kafkas =
                key == "cleanup.policy" && text.trim().is_empty() || key == "retention.ms" && text == "0..4294967295";
            let text =
                text.chars().all(|c| !c.is_control()) && (is(TEXTS) && !text.trim().is_empty() || key == "promise");
            nothing || kafkas || text
        }
        Value::Integer(0) => is(NOTHING) || key == "group.id",
        Value::Integer(-1) => is(BELOW) || key == "group.id",
        Value::Integer(i64::MAX) => is(WITHOUT_END) || key == "group.id",
        Value::Integer(_) => is(&["group.id", "retention.ms"]),
        Value::Float(n) if *n == 0.5 => is(FRACTIONS) || key == "group.id",
        Value::Float(_) => key == "group.id",
        Value::Boolean(_) => is(FLAGS) || key == "group.id",
        Value::Array(list) => list.is_empty() && is(EMPTY_LISTS),
        Value::Table(_) => is(EMPTY_TABLES),
        Value::Datetime(_) => false,
    }
}
