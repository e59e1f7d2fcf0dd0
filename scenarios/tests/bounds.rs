//! Whatever Kafka accepts must run: each value of each setting that Kafka's own classes took (its default, both bounds, one
//! step within them), in a short run of its own. No run may go round in circles, crash, or take longer than 15 s.
//!
//! A sample by default. `KLAMM_BOUNDS=all cargo test --release -p klamm-scenarios --test bounds -- --nocapture` runs all.

use klamm_model::checks::Check;
use klamm_scenarios::audit::{Place, Subject};
use klamm_scenarios::interrupt::Interrupt;
use klamm_scenarios::run::{Options, run_seed};
use klamm_scenarios::schema::{self, Scenario};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What Kafka's classes answered, as the recorder of `sim/model/settings` printed it.
const ANSWERS: &str = include_str!("../../sim/model/settings/answers-4.4.0.tsv");
/// How long one run may take on the wall, the machine's other work included.
const LIMIT: Duration = Duration::from_secs(15);
/// Of so many values one is tried by default.
const SAMPLED: usize = 12;

/// One producer, one group of two, three brokers, and nothing goes wrong.
const QUIET: &str = r#"
name = "bounds"
summary = "Nothing goes wrong."
duration = "2s"
converge-within = "130s"

[[topic]]
name = "orders"
partitions = 2

[[clients]]
kind = "producer"
load = { rate = 20, key = { uniform = 10 }, value = "50B" }

[[clients]]
kind = "group"
count = 2
[clients.member]
service-time = "5ms"
[clients.config]
"group.id" = "billing"
"auto.offset.reset" = "earliest"
"#;

/// The place of a scope that runs have, and its settings that Kafka took together.
type Taken = (Place, Vec<(String, String)>);

fn taken() -> Vec<Taken> {
    let place = |scope| match scope {
        "broker" => Some(Place::Broker),
        "topic" => Some(Place::Topic),
        "producer" => Some(Place::Producer),
        "consumer" => Some(Place::Consumer),
        _ => None,
    };
    let lines = ANSWERS.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let took = lines.filter(|cells| cells[1] == "taken");
    took.filter_map(|cells| {
        let pairs = cells[3..].iter().filter_map(|cell| cell.split_once('=')).filter(|(_, value)| *value != "-");
        Some((place(cells[0])?, pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    })
    .collect()
}

/// Names that each member has of its own.
const OWN: [&str; 3] = ["client.id", "group.id", "group.instance.id"];

/// The run's settings with these; nothing if they change nothing that the model acts on.
fn changed((place, pairs): &Taken) -> Option<Subject> {
    if pairs.iter().any(|(key, _)| OWN.contains(&key.as_str())) {
        return None;
    }
    let mut subject = Subject::default();
    let (last, others) = pairs.split_last()?;
    let into = match place {
        Place::Broker => &mut subject.broker,
        Place::Topic => &mut subject.topic,
        Place::Producer => &mut subject.producer,
        Place::Consumer => &mut subject.consumer,
    };
    into.extend(others.iter().cloned());
    subject.with(*place, &last.0, &last.1)
}

/// Why a run is not as it must be.
fn wrong(scenario: &Scenario) -> Option<String> {
    let interrupt = Arc::new(Interrupt::default());
    let (over, waiting) = std::sync::mpsc::channel::<()>();
    let later = interrupt.clone();
    std::thread::spawn(move || {
        if waiting.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            later.signal(15);
        }
    });
    let began = Instant::now();
    let options = Options { interrupt: Some(interrupt), ..Options::default() };
    let ran = catch_unwind(AssertUnwindSafe(|| run_seed(scenario, 1, &options)));
    drop(over);
    let Ok(outcome) = ran else { return Some("it panics".to_owned()) };
    if outcome.given_up {
        return Some(format!("not over after {:.1?}", began.elapsed()));
    }
    let bad = outcome.findings.iter().find(|f| matches!(f.check, Check::Runaway | Check::Crash))?;
    Some(format!("{}: {}", bad.check, bad.detail))
}

#[test]
fn whatever_kafka_takes_runs() {
    let quiet = schema::parse("bounds.toml", QUIET).unwrap();
    let all: Vec<(Taken, Subject)> = taken().into_iter().filter_map(|t| changed(&t).map(|s| (t, s))).collect();
    assert!(all.len() > 300, "only {} values change anything", all.len());
    let every = if std::env::var("KLAMM_BOUNDS").is_ok_and(|v| v == "all") { 1 } else { SAMPLED };
    let (mut found, mut slowest, mut runs) = (Vec::new(), (Duration::ZERO, String::new()), 0);
    for ((place, pairs), subject) in all.iter().step_by(every) {
        let began = Instant::now();
        let named = || format!("{} {pairs:?}", place.name());
        if let Some(why) = wrong(&subject.onto(&quiet)) {
            found.push(format!("{}: {why}", named()));
        }
        runs += 1;
        if began.elapsed() > slowest.0 {
            slowest = (began.elapsed(), named());
        }
    }
    println!("{runs} of {} values that change something; the slowest took {:.1?}: {}", all.len(), slowest.0, slowest.1);
    assert!(found.is_empty(), "{} of {runs} do not run:\n{}", found.len(), found.join("\n"));
}
