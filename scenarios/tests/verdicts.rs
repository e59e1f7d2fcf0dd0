//! Exit codes, and failures that can be run again.

mod common;

use common::{DEFECT, Place, TINY, failures};
use std::fs;

#[test]
fn the_exit_code_says_what_came_of_it() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    place.put("unseen.toml", format!("{TINY}\n[expect]\nsometimes = [\"tombstone-removed\"]\n"));
    let code = |args: &[&str]| {
        let said = place.klamm(&[&["run", "--out", "out"], args].concat());
        assert!(!said.err.contains("panicked"), "{said:?}");
        said.code
    };
    assert_eq!(code(&["tiny.toml", "--seeds", "4"]), 0);
    assert_eq!(code(&["tiny.toml", "--seeds", "20", "--defect", DEFECT]), 1);
    assert_eq!(code(&["tiny.toml", "--seeds", "many"]), 2);
    assert_eq!(code(&["canary", "--seeds", "2"]), 3);
    assert_eq!(code(&["unseen.toml", "--seeds", "2"]), 4);
}

#[test]
fn a_run_leaves_its_files_and_paths_that_lead_to_them() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    let said =
        place.klamm(&["run", "tiny.toml", "--seeds", "20", "--defect", DEFECT, "--out", "out", "--junit", "j.xml"]);
    let run = place.run_folder("out");
    for name in ["run.json", "junit.xml", "summary.md", "index.html", "tiny.response.hlog", "tiny.service.hlog"] {
        assert!(run.join(name).is_file(), "{name}");
    }
    assert!(run.join("charts/tiny-percentiles.svg").is_file() && run.join("charts/tiny-percentiles.png").is_file());
    assert_eq!(fs::read(place.path().join("j.xml")).unwrap(), fs::read(run.join("junit.xml")).unwrap());
    // Every path on the console leads somewhere from where the command was run.
    let after =
        |word: &str| said.out.lines().filter_map(|l| l.trim().strip_prefix(word)).map(str::trim).collect::<Vec<_>>();
    let stories = after("story:");
    assert_eq!(stories.len(), failures(&run).len());
    for path in stories.iter().chain(&after("report:")) {
        assert!(place.path().join(path).is_file(), "{path}");
    }
    // And every command line on it works.
    let again = after("again: klamm");
    assert_eq!(place.klamm(&again[0].split(' ').collect::<Vec<_>>()).code, 1);
    for replay in after("replay: klamm") {
        assert_eq!(place.klamm(&replay.split(' ').collect::<Vec<_>>()).code, 1, "{replay}");
    }
}

#[test]
fn a_failure_happens_again_to_the_nanosecond() {
    let place = Place::new();
    let folder = place.failure();
    let verdict = fs::read(place.path().join(&folder).join("verdict.json")).unwrap();
    let verdict: serde_json::Value = serde_json::from_slice(&verdict).unwrap();
    assert_eq!(verdict["digest"], verdict["fired_digest"], "as it was drawn and as it fired is one run");
    let at = verdict["findings"][0]["at"].as_u64().unwrap();
    for which in ["schedule", "fired"] {
        let said = place.klamm(&["replay", &folder, "--schedule", which]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains("at the same virtual nanosecond"), "{}", said.out);
        assert!(said.out.contains(&format!("at {:.9}s", at as f64 / 1e9)), "{}", said.out);
        assert!(said.out.contains(verdict["digest"].as_str().unwrap()), "{}", said.out);
    }
    let said = place.klamm(&["replay", &folder, "--trace", "--until", "0.5s"]);
    assert!(said.code == 1 && said.out.lines().count() > 100, "{}", said.out);
    // The folder is all that is needed: elsewhere it is the same.
    let elsewhere = Place::new();
    for entry in fs::read_dir(place.path().join(&folder)).unwrap() {
        let entry = entry.unwrap();
        elsewhere.put(&format!("f/{}", entry.file_name().to_str().unwrap()), fs::read(entry.path()).unwrap());
    }
    assert_eq!(elsewhere.klamm(&["replay", "f"]).code, 1);
}

#[test]
fn a_failure_is_shrunk_and_still_fails() {
    let place = Place::new();
    let folder = place.failure();
    let at = place.path().join(&folder);
    fs::remove_file(at.join("shrunk.toml")).unwrap();
    let said = place.klamm(&["shrink", &folder]);
    assert_eq!(said.code, 0, "{said:?}");
    let faults = |name: &str| fs::read_to_string(at.join(name)).unwrap().matches("[[fault]]").count();
    assert!(faults("shrunk.toml") <= faults("fired.toml"));
    let said = place.klamm(&["replay", &folder, "--schedule", "shrunk"]);
    assert!(said.code == 1 && said.out.contains("still fails: "), "{said:?}");
}

#[test]
fn the_history_of_a_failure_is_judged_alike() {
    let place = Place::new();
    let folder = place.failure();
    let verdict = fs::read(place.path().join(&folder).join("verdict.json")).unwrap();
    let verdict: serde_json::Value = serde_json::from_slice(&verdict).unwrap();
    // Findings that rest on operations, not on events inside: those a history shows.
    let black_box: Vec<(&str, &str)> = verdict["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["witness"].as_array().unwrap().iter().any(|w| w.get("operation").is_some()))
        .map(|f| (f["check"].as_str().unwrap(), f["detail"].as_str().unwrap()))
        .collect();
    assert!(!black_box.is_empty(), "a repeated batch is seen from outside: {verdict}");
    let said = place.klamm(&["check", &format!("{folder}/history.jsonl")]);
    assert_eq!(said.code, 1, "{said:?}");
    for (check, detail) in black_box {
        assert!(said.out.lines().any(|l| l.starts_with(check) && l.contains(detail)), "{check} {detail}: {}", said.out);
    }
}
