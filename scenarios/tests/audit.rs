//! Audits of properties files: the verdict, the seeds behind it, and errors with file and line.

mod common;

use common::Place;
use std::fs;

fn audit(place: &Place, args: &[&str]) -> (i32, serde_json::Value) {
    let out = format!("out-{}", args.join("-").replace(['/', '.'], ""));
    let said = place.klamm(&[&["audit", "--seeds", "5", "--no-changes", "--out", &out], args].concat());
    assert!(said.code < 2, "{said:?}");
    let folder = place.run_folder(&out);
    for name in ["index.html", "summary.md", "scenarios/leader-crash.toml"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    (said.code, serde_json::from_slice(&fs::read(folder.join("audit.json")).unwrap()).unwrap())
}

fn class<'a>(record: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    record["classes"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap()
}

/// A set of settings by its files.
type Set = &'static [(&'static str, &'static str)];

const DEFAULTS: Set = &[];
const LOSSY: Set = &[
    ("producer", "acks=1\nmax.in.flight.requests.per.connection=5\n"),
    ("topic", "unclean.leader.election.enable=true\n"),
    ("broker", "offsets.topic.replication.factor=1\n"),
    ("consumer", "auto.offset.reset=latest\nmax.poll.interval.ms=20000\n"),
];
const NO_ACKS: Set = &[("producer", "acks=0\n")];
const SAFE: Set = &[
    ("topic", "min.insync.replicas=2\nflush.messages=1\n"),
    ("broker", "min.insync.replicas=2\nlog.flush.interval.messages=1\n"),
    ("consumer", "group.id=billing\nauto.offset.reset=earliest\nenable.auto.commit=false\n"),
];
const ALL_IN_SYNC: Set = &[("topic", "min.insync.replicas=3\ncleanup.policy=compact\ndelete.retention.ms=1000\n")];

fn audit_set(place: &Place, name: &str, set: Set) -> (i32, serde_json::Value) {
    let mut args = Vec::new();
    for (which, text) in set {
        place.put(&format!("{name}.{which}"), text);
        args.extend([format!("--{which}"), format!("{name}.{which}")]);
    }
    audit(place, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn every_hazard_that_is_tried_shows_where_it_must_and_nowhere_in_a_safe_set() {
    // Hazard, the set that has it, the class of fault, and where it shows.
    const HAZARDS: &[(&str, &str, &str, &str)] = &[
        ("acks=0", "no-acks", "leader-crash", "lost"),
        ("acks=1 with a leader change", "lossy", "leader-crash", "lost"),
        ("min.insync.replicas=1 with power loss", "defaults", "lagging-followers", "lost"),
        ("unclean election", "lossy", "lagging-followers", "lost"),
        ("in-sync replicas losing power unsynced", "defaults", "rack-power-loss", "lost"),
        ("internal topics with one replica", "lossy", "coordinator-power-loss", "skipped"),
        ("reset to latest on new partitions", "defaults", "new-partitions", "skipped"),
        ("hand-off processing with auto-commit", "defaults", "handed-off", "skipped"),
        ("commit before processing", "safe", "committed-first", "skipped"),
        ("more than one in flight without idempotence", "lossy", "flaky-network", "repeated"),
        ("poll interval exceeded", "lossy", "slow-handler", "done_twice"),
        ("at least once, and a member dies", "defaults", "member-killed", "done_twice"),
        ("min.insync.replicas equal to replication", "all-in-sync", "rolling-restart", "outages"),
        ("tombstones kept for less than an absence", "all-in-sync", "read-model-cut-off", "stale"),
    ];
    let place = Place::new();
    let sets =
        [("defaults", DEFAULTS), ("lossy", LOSSY), ("no-acks", NO_ACKS), ("safe", SAFE), ("all-in-sync", ALL_IN_SYNC)];
    let done = sets.map(|(name, set)| (name, audit_set(&place, name, set)));
    let of = |name: &str| &done.iter().find(|d| d.0 == name).unwrap().1;
    for (hazard, set, fault, cell) in HAZARDS {
        let cell = &class(&of(set).1, fault)[cell];
        assert!(cell["count"].as_u64().unwrap() > 0, "{hazard}: {set} under {fault}: {cell}");
        assert!(cell["seed"].is_string(), "{hazard}");
    }
    let codes = sets.map(|(name, _)| (name, of(name).0));
    assert_eq!(codes, [("defaults", 1), ("lossy", 1), ("no-acks", 1), ("safe", 0), ("all-in-sync", 1)]);
    // A safe set loses nothing but to habits of the application, which are told and not held against it.
    let safe = &of("safe").1;
    for class in safe["classes"].as_array().unwrap() {
        for cell in ["lost", "repeated", "reordered", "stalled", "skipped", "stale"] {
            let habit = class["habit"].as_bool().unwrap() && cell == "skipped";
            assert!(habit || class[cell]["count"] == 0, "{} {cell}: {:#}", class["name"], class[cell]);
        }
    }
    // Nothing happens where nothing goes wrong.
    for (name, (_, record)) in &done {
        for cell in ["lost", "repeated", "reordered", "refused", "stalled"] {
            let count = &class(record, "quiet")[cell]["count"];
            assert!(*count == 0 || (*name, cell) == ("no-acks", "lost"), "{name} {cell}: {count}");
        }
    }
    for name in ["defaults", "safe"] {
        assert_eq!(class(&of(name).1, "rolling-restart")["outages"]["count"], 0, "{name}: two of three are enough");
    }
    let said = |name: &str| of(name).1["combinations"].to_string();
    assert!(said("all-in-sync").contains("every broker must be there"), "{}", said("all-in-sync"));
    assert!(said("lossy").contains("offsets.topic.replication.factor=1"), "{}", said("lossy"));
    assert_eq!(said("safe"), "[]");
    let page = fs::read_to_string(
        place
            .run_folder("out---producer-lossyproducer---topic-lossytopic---broker-lossybroker---consumer-lossyconsumer")
            .join("summary.md"),
    )
    .unwrap();
    assert!(page.contains("Hazards that were not tried: transactions"), "{page}");
}

#[test]
fn combinations_that_stall_are_told_in_words() {
    let place = Place::new();
    let said = |which: &str, text: &str| {
        place.put("x.properties", text);
        let said = place.klamm(&[
            "audit",
            "--seeds",
            "1",
            "--no-changes",
            "--out",
            "w",
            &format!("--{which}"),
            "x.properties",
        ]);
        assert!(said.code < 2, "{said:?}");
        said.out
    };
    let out = said("topic", "min.insync.replicas=4\n");
    assert!(out.contains("min.insync.replicas=4, which counts as 3"), "{out}");
    let out = said("consumer", "session.timeout.ms=3000\nheartbeat.interval.ms=1000\n");
    assert!(out.contains("the coordinator refuses every member"), "{out}");
}

#[test]
fn the_seed_of_a_cell_shows_it_again() {
    let place = Place::new();
    place.put("p.properties", "# ours\nacks = 0\n");
    let (code, record) = audit(&place, &["--producer", "p.properties", "--fault", "leader-crash"]);
    assert_eq!(code, 1);
    let lost = &class(&record, "leader-crash")["lost"];
    let seed = lost["seed"].as_str().unwrap();
    let folder = place.run_folder("out---producer-pproperties---fault-leader-crash");
    let file = folder.join("scenarios/leader-crash.toml");
    assert!(fs::read_to_string(&file).unwrap().contains("acks"), "the file has the settings");
    assert_eq!(place.klamm(&["replay", file.to_str().unwrap(), "--seed", seed]).code, 0, "legal with acks=0");
}

#[test]
fn wrong_files_are_refused_with_file_and_line() {
    let place = Place::new();
    place.put("a.properties", "acks=all\n\nlinger.ms=-5\nretries=many\n");
    place.klamm(&["audit", "--producer", "a.properties"]).refused(&[
        "a.properties:3",
        "Value must be at least 0",
        "a.properties:4",
        "Not a number of type INT",
    ]);
    place.put("b.properties", "acks=\\u00zz\n");
    place.klamm(&["audit", "--producer", "b.properties"]).refused(&["b.properties:1"]);
    place.put("c.properties", [0xff, 0xfe, 0x00]);
    place.klamm(&["audit", "--topic", "c.properties"]).refused(&["c.properties", "UTF-16"]);
    place.klamm(&["audit", "--broker", "missing.properties"]).refused(&["missing.properties"]);
    place.put("d.properties", "min.insync.replicas=5\n");
    place.klamm(&["audit", "--fault", "leader-carsh"]).refused(&["did you mean `leader-crash`"]);
    place.klamm(&["audit", "--seeds", "0"]).refused(&["--seeds 0"]);
    assert!(!place.path().join("target").exists(), "nothing is left behind");
}
