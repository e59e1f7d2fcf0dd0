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

#[test]
fn a_lossy_set_and_a_safe_one_are_told_apart() {
    let place = Place::new();
    place.put("lossy.properties", "acks=1\nmax.in.flight.requests.per.connection=5\n");
    place.put("unclean.properties", "unclean.leader.election.enable=true\n");
    let (code, lossy) = audit(&place, &["--producer", "lossy.properties", "--topic", "unclean.properties"]);
    assert_eq!(code, 1);
    for name in ["leader-crash", "leader-power-loss", "lagging-followers"] {
        assert!(class(&lossy, name)["lost"]["count"].as_u64().unwrap() > 0, "{name}");
    }
    assert_eq!(class(&lossy, "quiet")["lost"]["count"], 0);

    place.put("safe.properties", "min.insync.replicas=2\nflush.messages=1\n");
    let (code, safe) = audit(&place, &["--topic", "safe.properties"]);
    assert_eq!(code, 0, "{safe:#}");
}

#[test]
fn the_seed_of_a_cell_shows_it_again() {
    let place = Place::new();
    place.put("p.properties", "# ours\nacks = 0\n");
    let (code, record) = audit(&place, &["--producer", "p.properties"]);
    assert_eq!(code, 1);
    let lost = &class(&record, "leader-crash")["lost"];
    let seed = lost["seed"].as_str().unwrap();
    let folder = place.run_folder("out---producer-pproperties");
    let file = folder.join("scenarios/leader-crash.toml");
    assert!(fs::read_to_string(&file).unwrap().contains("acks"), "the file has the settings");
    assert_eq!(place.klamm(&["replay", file.to_str().unwrap(), "--seed", seed]).code, 0, "legal with acks=0");
}

#[test]
fn wrong_files_are_refused_with_file_and_line() {
    let place = Place::new();
    place.put("a.properties", "acks=all\n\nlinger.sm=5\n");
    place.klamm(&["audit", "--producer", "a.properties"]).refused(&["a.properties:3", "did you mean `linger.ms`"]);
    place.put("b.properties", "acks=\\u00zz\n");
    place.klamm(&["audit", "--producer", "b.properties"]).refused(&["b.properties:1"]);
    place.put("c.properties", [0xff, 0xfe, 0x00]);
    place.klamm(&["audit", "--topic", "c.properties"]).refused(&["c.properties", "UTF-8"]);
    place.klamm(&["audit", "--broker", "missing.properties"]).refused(&["missing.properties"]);
    place.put("d.properties", "min.insync.replicas=5\n");
    place.klamm(&["audit", "--seeds", "0"]).refused(&["--seeds 0"]);
    assert!(!place.path().join("target").exists(), "nothing is left behind");
}
