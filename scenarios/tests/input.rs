//! Wrong input: a clear message with place and suggestion, exit 2, and nothing begun.

mod common;

use common::{Place, TINY};
use std::fs::{self, File};

#[test]
fn wrong_scenarios_are_refused_with_place_and_suggestion() {
    let place = Place::new();
    // What is replaced, by what, and what must be said.
    let cases: &[(&str, &str, &[&str])] = &[
        ("duration =", "duraton =", &["wrong.toml:4:1", "no key `duraton`", "did you mean `duration`"]),
        ("rate = 60", "rat = 60", &["wrong.toml:12:10", "no key `rat`", "did you mean `rate`"]),
        ("\"6s\"", "\"6 parsecs\"", &["wrong.toml:4:12", "expected a duration such as `30s`"]),
        ("\"6s\"", "\"0s\"", &["wrong.toml:4:13", "above 0"]),
        ("rate = 60", "rate = \"9..3\"", &["wrong.toml:12:17", "the range `9..3` is empty"]),
        ("rate = 60", "rate = 0", &["wrong.toml:12:17", "between 1 and"]),
        ("rate = 60", "rate = []", &["empty list"]),
        ("\"orders\"", "\"orders\"\nreplication = 4", &["wrong.toml:9:15", "impossible with 3 brokers"]),
        ("\"orders\"", "\"orders\"\npartitions = \"0..3\"", &["wrong.toml:9:15", "between 1 and"]),
        ("delivery.timeout", "delivery.timeuot", &["wrong.toml:13:13", "did you mean `delivery.timeout.ms`"]),
        ("= 8000", "= \"soon\"", &["wrong.toml:13:37", "delivery.timeout.ms"]),
        ("\"30s\"", "\"7s\"", &["wrong.toml:5:20", "must exceed", "delivery.timeout.ms"]),
        ("\"reset\"", "\"rest\"", &["wrong.toml:19:9", "did you mean `reset`"]),
        ("\"reset\"", "\"kill\"", &["wrong.toml:19:9", "needs `who`"]),
        (
            "kind = \"reset\"\nbetween = [\"p1\", \"leader(orders-0)\"]",
            "kind = \"kill\"\nwho = [\"b1\", \"b2\"]",
            &["wrong.toml:20:7", "happens to one", "a [[fault]] of its own"],
        ),
        ("\"p1\"", "\"p7\"", &["wrong.toml:20:13", "there is no host `p7`", "did you mean `p1`"]),
        ("leader(", "leadr(", &["wrong.toml:20:19", "did you mean `leader`"]),
        ("leader(orders-0)", "leader(orders)", &["wrong.toml:20:26", "a partition expected here"]),
        ("times = 4", "when = \"unreplicatd(orders-0)\"", &["wrong.toml:22:9", "did you mean `unreplicated`"]),
        ("times = 4", "times = 4000000000", &["wrong.toml:22:9", "at most 1000"]),
        ("\"1s..5s\"", "\"1s..9s\"", &["wrong.toml:21:7", "after the scenario's `duration`"]),
        ("name = \"tiny\"", "name = \"Tiny One\"", &["wrong.toml:2:9", "kebab-case"]),
        ("summary", "# summary", &["needs `summary`"]),
        ("[[topic]]", "[[topic]", &["wrong.toml:7:"]),
        // Inside lists, and under another's name.
        ("rate = 60", "rate = [60, 0, 70]", &["wrong.toml:12:22", "between 1 and"]),
        ("rate = 60", "rate = [60, \"many\"]", &["wrong.toml:12:22", "a whole number", "the text \"many\""]),
        ("rate = 60", "rate = 60, key = 5", &["wrong.toml:12:27", "`key` is a table of `none`"]),
        ("\"6s\"", "6", &["wrong.toml:4:12", "expected a duration", "with its unit: \"6s\""]),
        ("= 8000", "= [8000, 9000, -1]", &["wrong.toml:13:49", "Invalid value -1"]),
        ("\"p1\", ", "[\"p1\", \"p9\"], ", &["wrong.toml:20:20", "there is no host `p9`"]),
        (
            "times = 4",
            "when = \"up(b1) and isr-size(order-0) > 1\"",
            &["wrong.toml:22:29", "there is no topic `order`"],
        ),
        ("[[topic]]", "[topic]", &["write `[[topic]]`"]),
        ("duration = \"6s\"", "duration: 6s", &["wrong.toml:4:"]),
        // Numbers are numbers: 9 is less than 10.
        ("= 8000", "= [10000, 9000, 300000]", &["wrong.toml:5:20", "`delivery.timeout.ms` (300000 ms)"]),
    ];
    for (what, by, words) in cases {
        assert!(TINY.contains(what), "{what}");
        place.put("wrong.toml", TINY.replacen(what, by, 1));
        place.klamm(&["run", "wrong.toml", "--out", "out"]).refused(words);
    }
    assert!(!place.path().join("out").exists());
}

#[test]
fn every_error_of_a_file_is_told_at_once_in_its_order() {
    let place = Place::new();
    place.put("wrong.toml", WRONG);
    let said = place.klamm(&["run", "wrong.toml", "--out", "out"]);
    said.refused(&["wrong.toml: 17 errors"]);
    let places: Vec<&str> = said
        .err
        .lines()
        .filter_map(|l| l.split_once("[wrong.toml:")?.1.split_once(']').map(|(place, _)| place))
        .collect();
    let expected = [
        "2:1", "3:12", "6:9", "9:2", "10:36", "13:1", "14:1", "18:9", "19:45", "19:60", "20:30", "24:10", "27:9",
        "28:15", "29:13", "31:28", "34:15",
    ];
    assert_eq!(places, expected, "{}", said.err);
    for word in ["struct", "enum", "variant", "sequence", "i64", "u32", "map", "expected one of"] {
        assert!(!said.err.contains(word), "`{word}` is no word of a scenario file: {}", said.err);
    }
    let meant =
        ["summary", "nvme", "min.insync.replicas", "name", "replication", "producer", "bursts", "orders", "kill"];
    for word in meant.into_iter().chain(["up", "leader-elected"]) {
        assert!(said.err.contains(&format!("did you mean `{word}`?")), "{word}: {}", said.err);
    }
}

/// A wrong word in each table.
const WRONG: &str = r#"name = "wrong"
sumary = "Words are wrong in every table."
duration = "20"
converge-within = "130s"
[cluster]
disk = "nvm"

[broker]
"min.insync.replica" = 2
"replica.lag.time.max.ms" = [1000, -5]

[[topic]]
nmae = "orders"
replicas = 3

[[clients]]
# A comment, so that lines are as the test counts them.
kind = "prodcer"
load = { rate = 20, arrivals = ["poisson", "burst"], key = 5, value = "100B" }
config = { "linger.ms" = [0, -5, 50] }

[[clients]]
kind = "consumer"
topic = "order"

[[fault]]
kind = "kil"
who = "leader(order-0)"
at = ["5s", "x"]
for = "2s"
when = "not up(b1) and not upp(b2)"

[expect]
sometimes = ["leader-electd"]
"#;

#[test]
fn another_kind_of_file_is_recognised() {
    let place = Place::new();
    place.put("y.toml", "name: tiny\nsummary: x\n");
    place.klamm(&["run", "y.toml"]).refused(&["y.toml:1:", "looks like YAML"]);
    place.put("j.toml", "{\"name\": \"tiny\"}\n");
    place.klamm(&["run", "j.toml"]).refused(&["j.toml:1:", "looks like JSON"]);
}

#[test]
fn wrong_services_are_refused_with_place_and_suggestion() {
    let place = Place::new();
    let service = format!(
        "{TINY}\n[[topic]]\nname = \"shipped\"\n\n[[clients]]\nkind = \"group\"\nmember.processing = \"finish-then-commit\"\n\
         config.\"group.id\" = \"shipping\"\nconfig.\"session.timeout.ms\" = 6000\n[clients.member.forward]\nto = [\"shipped\"]\n\
         declines = {{ per-mille = 5, to = \"shipped\" }}\nconfig.acks = \"all\"\n"
    );
    let cases: &[(&str, &str, &[&str])] = &[
        ("to = [\"shipped\"]", "to = [\"shiped\"]", &["there is no topic `shiped`", "did you mean `shipped`"]),
        ("to = [\"shipped\"]", "to = [\"orders\"]", &["cannot forward to its own topic `orders`"]),
        ("to = [\"shipped\"]", "to = []", &["at least one topic"]),
        ("per-mille = 5", "per-mille = 1001", &["at most 1000"]),
        ("acks = \"all\"", "acks = \"some\"", &["forward", "acks"]),
        ("finish-then-commit", "hand-off", &["does not forward", "finish-then-commit"]),
    ];
    for (what, by, words) in cases {
        assert!(service.contains(what), "{what}");
        place.put("wrong.toml", service.replacen(what, by, 1));
        place.klamm(&["run", "wrong.toml", "--out", "out"]).refused(words);
    }
    assert!(!place.path().join("out").exists());
    place.put("right.toml", service);
    let said = place.klamm(&["run", "right.toml", "--seeds", "1", "--recheck", "0", "--out", "out"]);
    assert_eq!(said.code, 0, "{said:?}");
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
fn wrong_arguments_are_refused() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    let run = |more: &[&str]| place.klamm(&[&["run", "tiny.toml", "--out", "out"], more].concat());
    run(&["--defect", "no-dedup-windw"]).refused(&["did you mean `no-dedup-window`"]);
    run(&["--seed", "seventeen"]).refused(&["`seventeen` is no seed"]);
    run(&["--master", "0xxyz"]).refused(&["--master", "no seed"]);
    run(&["--shard", "5/3"]).refused(&["--shard `5/3`", "such as 2/8"]);
    run(&["--seeds", "0"]).refused(&["--seeds 0"]);
    run(&["--for", "ever"]).refused(&["--for `ever`", "10m"]);
    run(&["--filter", "zzz"]).refused(&["--filter `zzz`"]);
    run(&["--world", "live"]).refused(&["no world `live`"]);
    run(&["--format", "xml"]).refused(&["`human` or `json`"]);
    run(&["--sedes", "3"]).refused(&["--seeds"]);
    place.klamm(&["list", "smoek"]).refused(&["did you mean `smoke`"]);
    place.klamm(&["replay", "tiny.toml"]).refused(&["--seed"]);
    place.klamm(&["replay", "nowhere/at/all"]).refused(&["nowhere/at/all"]);
    place.klamm(&["shrink", "nowhere"]).refused(&["nowhere"]);
    place.klamm(&["check", "nowhere.jsonl"]).refused(&["nowhere.jsonl"]);
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
