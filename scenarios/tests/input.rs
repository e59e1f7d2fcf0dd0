//! Wrong input: a clear message with place and suggestion, exit 2, and nothing begun.

mod common;

use common::{Place, TINY};
use std::fs::{self, File};

#[test]
fn another_kind_of_file_is_recognised() {
    let place = Place::new();
    place.put("y.toml", "name: tiny\nsummary: x\n");
    place.klamm(&["run", "y.toml"]).refused(&["y.toml:1:", "looks like YAML"]);
    place.put("j.toml", "{\"name\": \"tiny\"}\n");
    place.klamm(&["run", "j.toml"]).refused(&["j.toml:1:", "looks like JSON"]);
}

#[test]
fn what_is_no_scenario_at_all_is_refused() {
    let place = Place::new();
    let junk: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    place.put("junk.toml", junk);
    place.put("text.toml", "\u{1}\u{2}\u{3}");
    place.put("empty.toml", "");
    File::create(place.path().join("large.toml")).unwrap().set_len(100 << 20).unwrap();
    fs::create_dir(place.path().join("nothing")).unwrap();
    let run = |what: &str| place.klamm(&["run", what, "--out", "out"]);
    run("junk.toml").refused(&["junk.toml", "not UTF-8"]);
    run("text.toml").refused(&["text.toml:1:"]);
    run("empty.toml").refused(&["needs `name`", "needs `duration`", "needs `topic`"]);
    run("large.toml").refused(&["large.toml", "104857600 bytes is too large", "1048576"]);
    run("nothing").refused(&["no scenario (*.toml)"]);
    run("missing.toml").refused(&["missing.toml"]);
    run("smoek").refused(&["did you mean `smoke`"]);
    // One wrong file among good ones: none is begun.
    place.put("all/a.toml", TINY);
    place.put("all/b.toml", "name = 1");
    run("all").refused(&["all/b.toml:1:8"]);
    assert!(!place.path().join("out").exists());
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    let place = Place::new();
    let mut child = place
        .command(&["list"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let left = child.wait_with_output().unwrap();
    assert!(left.stderr.is_empty(), "{}", String::from_utf8_lossy(&left.stderr));
}

#[test]
fn a_setting_that_the_model_does_not_act_on_is_a_warning() {
    let place = Place::new();
    place.put("tiny.toml", TINY.replace("\"enable.idempotence\" = true", "\"compression.lz4.level\" = 9"));
    let said = place.klamm(&["run", "tiny.toml", "--seeds", "1", "--recheck", "0", "--out", "out"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.err.contains("warning: tiny: producer: Klamm does not act on `compression.lz4.level`"),
        "{}",
        said.err
    );
}

#[test]
fn wrong_histories_are_refused_with_place_and_suggestion() {
    let place = Place::new();
    let folder = place.failure();
    let history = fs::read_to_string(place.path().join(&folder).join("history.jsonl")).unwrap();
    let check = |content: &[u8]| {
        place.put("wrong.jsonl", content);
        place.klamm(&["check", "wrong.jsonl"])
    };
    let third = history.lines().nth(2).unwrap();
    let fourth = history.lines().nth(3).unwrap();
    check(b"\x01\x02 junk").refused(&["wrong.jsonl:1:", "binary data"]);
    check(b"\x28\xb5\x2f\xfd junk").refused(&["wrong.jsonl", "cannot read the history"]);
    check(b"").refused(&["wrong.jsonl:1:1", "empty"]);
    check(b"hello\n").refused(&["wrong.jsonl:1:1"]);
    check(&history.as_bytes()[..history.len() - 30]).refused(&["wrong.jsonl:", "not JSON"]);
    let slip = history.replacen("\"op\":\"send\"", "\"op\":\"sned\"", 1);
    check(slip.as_bytes()).refused(&["wrong.jsonl:", "unknown operation `sned`", "did you mean `send`"]);
    let early = history.replacen(third, &third.replacen("\"at\":", "\"at\":99", 1), 1);
    check(early.as_bytes()).refused(&["wrong.jsonl:4:7", "the order of time"]);
    let cut = history.replacen(fourth, &fourth[..fourth.len() / 2], 1);
    check(cut.as_bytes()).refused(&["wrong.jsonl:4:", "not JSON"]);
    place.klamm(&["check", "."]).refused(&["history.jsonl"]);
}

#[test]
fn histories_come_from_standard_input_packed_or_not_and_reports_as_json() {
    let place = Place::new();
    let folder = place.failure();
    let history = fs::read(place.path().join(&folder).join("history.jsonl")).unwrap();
    let direct = place.klamm(&["check", &folder, "--format", "json"]);
    assert_eq!(direct.code, 1, "{direct:?}");
    let report: serde_json::Value = serde_json::from_str(&direct.out).unwrap();
    assert_eq!((&report["verdict"], &report["exit"]), (&"violated".into(), &1.into()));
    assert!(report["groups"].as_array().unwrap().iter().any(|g| g["check"] == "duplicate"), "{report}");
    let packed = place.put("packed", zstd::encode_all(&history[..], 1).unwrap());
    let mut command = place.command(&["check", "-", "--format", "json"]);
    let piped = common::said(command.stdin(File::open(packed).unwrap()));
    let mut same: serde_json::Value = serde_json::from_str(&piped.out).unwrap();
    // Of what the failure's folder says besides, standard input knows nothing.
    same["notes"] = report["notes"].clone();
    assert_eq!((piped.code, same), (1, report));
    let schema = place.klamm(&["check", "--schema", "history"]);
    assert!(schema.code == 0 && schema.out.contains("json-schema.org"), "{schema:?}");
    place.klamm(&["check"]).refused(&["HISTORY"]);
}

#[test]
fn a_violation_that_clients_cannot_see_is_told_where_a_history_is_judged() {
    let place = Place::new();
    let folder = place.failure();
    let verdict = place.path().join(&folder).join("verdict.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&verdict).unwrap()).unwrap();
    json["findings"][0]["check"] = "high-watermark".into();
    fs::write(&verdict, json.to_string()).unwrap();
    let said = place.klamm(&["check", &folder]);
    let note = said.out.lines().find(|l| l.contains("which clients cannot see")).unwrap_or_else(|| panic!("{said:?}"));
    assert!(note.contains("this failure violates high-watermark"), "{note}");
    assert!(said.out.contains(&format!("klamm replay {folder}")), "{said:?}");
}

#[test]
fn damaged_failure_folders_are_refused_with_the_file_that_is_damaged() {
    let place = Place::new();
    let folder = place.failure();
    let at = place.path().join(&folder);
    let needed = ["scenario.toml", "schedule.toml", "fired.toml", "verdict.json"];
    let mut names: Vec<String> =
        fs::read_dir(&at).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 8, "{names:?}");
    for name in &names {
        let path = at.join(name);
        let whole = fs::read(&path).unwrap();
        let line = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let mut edited = whole.clone();
        edited[whole.len() / 2] = edited[whole.len() / 2].wrapping_add(1);
        for damage in [Some(&whole[..whole.len() / 2]), Some(&whole[..line]), Some(&[]), Some(&edited[..]), None] {
            match damage {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let edit = damage.is_some_and(|d| d.len() == whole.len());
            let (replay, shrink) = (place.klamm(&["replay", &folder]), place.klamm(&["shrink", &folder]));
            // An edited verdict may be any verdict; that nothing panics is all there is to ask.
            if name == "verdict.json" && edit {
                assert!((0..=3).contains(&replay.code) && (0..=3).contains(&shrink.code), "{replay:?} {shrink:?}");
            } else if needed.contains(&name.as_str()) {
                replay.refused(&[name]);
                shrink.refused(&[name]);
            } else {
                assert_eq!(replay.code, 1, "{name}: {replay:?}");
            }
            if name == "history.jsonl" && !edit {
                place.klamm(&["check", &folder]).refused(&["history.jsonl"]);
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    fs::remove_dir_all(&at).unwrap();
    place.klamm(&["replay", &folder]).refused(&[&folder, "no such folder"]);
    place.klamm(&["replay", place.run_folder("out").to_str().unwrap()]).refused(&["a run's folder"]);
}
