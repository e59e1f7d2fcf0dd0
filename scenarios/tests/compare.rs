//! Comparisons: paired, deterministic, and telling what a setting loses.

mod common;

use common::Place;
use std::fs;

/// Records of a leader that nobody has fetched, and then the leader dies.
const BASE: &str = r#"
name = "durability"
summary = "The leader dies with records that only it has."
duration = "6s"
converge-within = "30s"

[broker]
"min.insync.replicas" = 2
"broker.session.timeout.ms" = 1500
"broker.heartbeat.interval.ms" = 300

[[topic]]
name = "orders"

[[clients]]
kind = "producer"
load = { rate = 60 }
config = { "delivery.timeout.ms" = 8000, "request.timeout.ms" = 1500, "enable.idempotence" = false }

[[fault]]
kind = "hold"
api = "Fetch"
responses = true
between = ["leader(orders-0)", "brokers"]
at = "1s..2s"
for = "800ms"

[[fault]]
kind = "kill"
who = "leader(orders-0)"
at = "2s..2500ms"
for = "2s"

[matrix]
"producer.acks" = ["0", "1", "all"]
"#;

fn figures(run: &std::path::Path) -> serde_json::Value {
    let record: serde_json::Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    let scenarios = record["scenarios"].as_array().unwrap();
    let pick = |s: &serde_json::Value| {
        let names = ["name", "operations", "response", "service", "availability", "seeds", "findings"];
        names.map(|n| s[n].clone()).into_iter().collect::<serde_json::Value>()
    };
    scenarios.iter().map(pick).collect()
}

#[test]
fn variants_are_paired_and_what_they_lose_is_told() {
    let place = Place::new();
    place.put("durability.toml", BASE);
    let compare = |out: &str| {
        let said = place.klamm(&["compare", "durability.toml", "--seeds", "6", "--out", out]);
        assert_eq!(said.code, 0, "{said:?}");
        said
    };
    let said = compare("one");
    let run = place.run_folder("one");
    for label in ["acks=0", "acks=1", "acks=all"] {
        assert!(said.out.contains(label), "{}", said.out);
        assert!(fs::read_to_string(run.join("summary.md")).unwrap().contains(label));
    }
    for chart in ["compare-percentiles.svg", "compare-percentiles.png", "compare-tradeoff.svg", "compare-tradeoff.png"]
    {
        assert!(run.join("charts").join(chart).is_file(), "{chart}");
    }
    let record: serde_json::Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    let [none, one, all] = [0, 1, 2].map(|i| record["scenarios"][i].clone());
    assert!(none["operations"]["silently_lost"].as_u64().unwrap() > 0);
    assert!(one["operations"]["lost"].as_u64().unwrap() > 0);
    assert_eq!(all["operations"]["lost"], 0);
    let seeds =
        |s: &serde_json::Value| s["seeds"].as_array().unwrap().iter().map(|x| x["seed"].clone()).collect::<Vec<_>>();
    assert_eq!(seeds(&one), seeds(&all), "the same seeds");
    assert_eq!(one["operations"]["sends"], all["operations"]["sends"], "the same load");
    compare("two");
    assert_eq!(figures(&run), figures(&place.run_folder("two")), "the same figures again");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let place = Place::new();
    place.put("plain.toml", BASE.split("[matrix]").next().unwrap());
    place.klamm(&["compare", "plain.toml"]).refused(&["nothing to compare", "[matrix]"]);
    place.klamm(&["compare", "smoke"]).refused(&["name one scenario"]);
    place.put("slip.toml", BASE.replace("producer.acks", "producer.ackz"));
    place.klamm(&["compare", "slip.toml"]).refused(&["ackz", "did you mean `acks`"]);
    assert!(!place.path().join("target").exists(), "nothing is left behind");
}
