//! Comparisons: paired, deterministic, and telling what a setting loses.

mod common;

use common::{Place, list, lossy, record};
use std::fs;

/// Who loses records when a leader dies with what only it has.
fn base() -> String {
    format!("{}\n[matrix]\n\"producer.acks\" = [\"0\", \"1\", \"all\"]\n", lossy())
}

fn figures(run: &std::path::Path) -> serde_json::Value {
    let pick = |s: &serde_json::Value| {
        let names = ["name", "operations", "response", "service", "availability", "seeds", "findings"];
        names.map(|n| s[n].clone()).into_iter().collect::<serde_json::Value>()
    };
    list(&record(run)["scenarios"]).iter().map(pick).collect()
}

#[test]
fn variants_are_paired_and_what_they_lose_is_told() {
    let place = Place::new();
    place.put("durability.toml", base());
    let compare = |out: &str| place.compared("durability.toml", 6, out);
    let (run, said) = compare("one");
    for label in ["acks=0", "acks=1", "acks=all"] {
        assert!(said.out.contains(label), "{}", said.out);
        assert!(fs::read_to_string(run.join("summary.md")).unwrap().contains(label));
    }
    for chart in ["compare-percentiles.svg", "compare-percentiles.png", "compare-tradeoff.svg", "compare-tradeoff.png"]
    {
        assert!(run.join("charts").join(chart).is_file(), "{chart}");
    }
    let record = record(&run);
    let [none, one, all] = [0, 1, 2].map(|i| record["scenarios"][i].clone());
    assert!(none["operations"]["silently_lost"].as_u64().unwrap() > 0);
    assert!(one["operations"]["lost"].as_u64().unwrap() > 0);
    assert_eq!(all["operations"]["lost"], 0);
    let seeds = |s: &serde_json::Value| list(&s["seeds"]).iter().map(|x| x["seed"].clone()).collect::<Vec<_>>();
    assert_eq!(seeds(&one), seeds(&all), "the same seeds");
    assert_eq!(one["operations"]["sends"], all["operations"]["sends"], "the same load");
    assert_eq!(figures(&run), figures(&compare("two").0), "the same figures again");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let place = Place::new();
    place.put("plain.toml", lossy());
    place.klamm(&["compare", "plain.toml"]).refused(&["nothing to compare", "[matrix]"]);
    place.klamm(&["compare", "smoke"]).refused(&["name one scenario"]);
    place.put("slip.toml", base().replace("producer.acks", "producer.ackz"));
    place.klamm(&["compare", "slip.toml"]).refused(&["ackz", "did you mean `acks`"]);
    assert!(!place.path().join("target").exists(), "nothing is left behind");
}

/// Nothing goes wrong: latencies are those of the settings and the machines.
const QUIET: &str = r#"
name = "quiet"
summary = "Nothing goes wrong."
duration = "6s"
warm-up = "2s"
converge-within = "60s"

[cluster]
network = "same-zone"

[[topic]]
name = "orders"

[[clients]]
kind = "producer"
load = { rate = 40, value = "200B" }
config = { "delivery.timeout.ms" = 30000, "request.timeout.ms" = 10000, "enable.idempotence" = false }
"#;

#[test]
fn a_slower_fsync_moves_those_who_wait_for_it_and_nobody_else() {
    let place = Place::new();
    let more = r#"
[[variant]]
name = "acks=all, flush"
set = { "producer.acks" = "all", "topic.flush.messages" = 1, "topic.min.insync.replicas" = 2 }

[[variant]]
name = "acks=1, no flush"
set = { "producer.acks" = "1" }

[matrix]
"cluster.disk.fsync" = ["4ms", "8ms"]
"#;
    place.put("quiet.toml", format!("{QUIET}{more}"));
    let compare = |out: &str| place.compared("quiet.toml", 6, out).0;
    let run = compare("one");
    let r = record(&run);
    let at = |i: usize, which: &str| r["scenarios"][i]["response"][which].as_u64().unwrap();
    for which in ["p50", "p99"] {
        let (flush, flush_slow) = (at(0, which), at(1, which));
        assert!(flush_slow > flush + 3_000_000, "{which} of acks=all with flush: {flush} then {flush_slow}");
        let (cache, cache_slow) = (at(2, which), at(3, which));
        assert!(cache.abs_diff(cache_slow) * 100 <= cache, "{which} of acks=1 without: {cache} then {cache_slow}");
        assert!(cache < flush, "{which}: {cache} {flush}");
    }
    assert_eq!(figures(&run), figures(&compare("two")), "the same figures again");
}

#[test]
fn what_crashes_lose_hangs_on_the_settings() {
    let place = Place::new();
    let r = record(&place.compared("acks", 20, "out").0);
    let lost = |name: &str| {
        let i = list(&r["variants"]).iter().position(|v| v == name).unwrap();
        let o = &r["scenarios"][i]["operations"];
        o["lost"].as_u64().unwrap() + o["silently_lost"].as_u64().unwrap()
    };
    assert!(lost("acks=0") > lost("acks=1"), "{} {}", lost("acks=0"), lost("acks=1"));
    assert!(lost("acks=1") > 0);
    for safe in ["acks=all, min ISR 2", "acks=all, min ISR 2, flush"] {
        assert_eq!(lost(safe), 0, "{safe}");
    }
}

#[test]
fn the_knee_is_where_the_cost_model_says_that_capacity_ends() {
    let place = Place::new();
    // Two networks, of which one carries twice as much; the model's answer is what the rates are placed around.
    for (bandwidth, rates) in
        [("5Mbit", "[60, 150, 210, 255, 285, 315, 345]"), ("10Mbit", "[120, 300, 420, 510, 570, 630, 690]")]
    {
        let text = QUIET
            .replace("\"same-zone\"", &format!("{{ profile = \"same-zone\", bandwidth = \"{bandwidth}\" }}"))
            .replace("duration = \"6s\"", "duration = \"12s\"")
            .replace("200B", "1KiB");
        place.put("load.toml", format!("{text}\n[matrix]\n\"load.rate\" = {rates}\n"));
        let (run, _) = place.compared("load.toml", 2, bandwidth);
        let r =
            klamm_reports::record::RunRecord::from_json(&fs::read_to_string(run.join("run.json")).unwrap()).unwrap();
        let knees = klamm_reports::compare::knees(&r);
        let [series] = &knees[..] else { panic!("{knees:?}") };
        let (capacity, by) = series.capacity.clone().unwrap();
        assert_eq!(by, "the leaders' network cards");
        // A copy for each follower goes through the leader's card: computed here once more, from bare figures.
        let bits: u64 = if bandwidth == "5Mbit" { 5_000_000 } else { 10_000_000 };
        assert!(capacity.abs_diff(bits / 8 / 2 / 1037) <= 3, "{capacity}");
        let (before, beyond) = series.knee().unwrap_or_else(|| panic!("no knee: {series:?}"));
        // Before it nothing queues without end; within a tenth of it the queue shows.
        assert!(
            before < capacity && capacity * 9 < beyond * 10,
            "{before} to {beyond}/s, capacity {capacity}/s: {series:?}"
        );
        assert!(run.join("charts/compare-load.svg").is_file());
    }
}

#[test]
fn every_shipped_comparison_shows_what_it_is_for() {
    let place = Place::new();
    let compare = |name: &str| {
        let (run, _) = place.compared(name, 6, name);
        assert!(run.join("index.html").is_file() && run.join("charts/compare-timeline.svg").is_file(), "{name}");
        record(&run)
    };
    let each = |r: &serde_json::Value, pick: &dyn Fn(&serde_json::Value) -> u64| -> Vec<u64> {
        list(&r["scenarios"]).iter().map(pick).collect()
    };
    let p50 = |s: &serde_json::Value| s["response"]["p50"].as_u64().unwrap();
    let lost = |s: &serde_json::Value| s["operations"]["lost"].as_u64().unwrap();
    let twice = |s: &serde_json::Value| s["operations"]["duplicates"].as_u64().unwrap();

    let disks = each(&compare("disks"), &p50);
    assert!(
        disks[..4].iter().all(|p| p.abs_diff(disks[0]) * 10 < disks[0]),
        "the page cache hides the disk: {disks:?}"
    );
    assert!(disks[4..].windows(2).all(|w| w[0] < w[1]), "each disk slower than the one before: {disks:?}");

    let linger = each(&compare("linger-batch"), &p50);
    // Small batches are full before the time is up; large ones wait for it.
    assert!(linger[5] > linger[3] + 10_000_000, "waiting 50 ms costs some of it: {linger:?}");
    assert!(linger[2] < linger[5], "{linger:?}");

    let failover = each(&compare("failover"), &|s| s["availability"]["longest_ns"].as_u64().unwrap());
    assert!(failover.windows(2).all(|w| w[0] + 500_000_000 < w[1]), "longer sessions, longer outages: {failover:?}");

    let r = compare("in-flight");
    let (twice, lost_in_flight) = (each(&r, &twice), each(&r, &lost));
    assert!(twice[0] > 0 && twice[2] > 0 && (twice[1], twice[3]) == (0, 0), "idempotence ends repetition: {twice:?}");
    assert_eq!(lost_in_flight, [0; 4]);

    let r = compare("replication");
    let unavailable = each(&r, &|s| s["availability"]["unavailable_ns"].as_u64().unwrap());
    let lost = each(&r, &lost);
    assert!(lost[0] > 0 && lost[1..] == [0; 3], "one replica loses: {lost:?}");
    assert!(
        unavailable[2] > unavailable[1],
        "with five in sync, every partition waits for the dead one: {unavailable:?}"
    );
}
