//! Exit codes, and failures that can be run again.

mod common;

use common::{DEFECT, FORBIDDEN, Place, TINY, failures, json, list, lossy, record};
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

/// What no reader can know: the codes of causes in the table of permissions.
fn codes_in(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let codes = ["a0", "a1", "ND", "ND5", "NI", "RU", "V1", "AL", "CB", "NT"];
    words.filter(|w| codes.contains(w)).map(str::to_owned).collect()
}

#[test]
fn a_permitted_loss_is_told_in_words_and_can_be_forbidden() {
    let place = Place::new();
    let lossy = lossy();
    place.put("lossy.toml", lossy);
    let run = |file: &str, more: &[&str], out: &str| place.run(file, 6, out, more);
    let said = run("lossy.toml", &[], "plain");
    assert_eq!(said.code, 0, "{said:?}");
    let row = said.out.lines().find(|l| l.contains(" forbidden-loss ")).unwrap();
    assert!(row.starts_with("  held") && row.contains(" acknowledged records lost (acks=1"), "{row}");
    let folder = place.run_folder("plain");
    for name in ["summary.md", "index.html", "run.json", "junit.xml"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        assert!(text.contains("acknowledged records lost (acks=1"), "{name}: {text}");
        // Charts are drawn of numbers, and digests are no words.
        let words = text.split("<figure>").next().unwrap();
        let words: Vec<&str> = words.lines().filter(|l| !l.contains("digest") && !l.contains("\"seed\"")).collect();
        assert_eq!(codes_in(&words.join("\n")), Vec::<String>::new(), "{name}");
    }
    // The same seeds, and no loss is accepted: in the example as it comes along, or in the whole run.
    place.put("forbidden.toml", FORBIDDEN);
    let said = run("forbidden.toml", &[], "forbid");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("  violated  forbidden-loss"), "{}", said.out);
    assert!(!said.out.contains("acknowledged records lost (acks=1"), "no longer permitted: {}", said.out);
    let failure = failures(&place.run_folder("forbid"))[0].display().to_string();
    let replayed = place.klamm(&["replay", &failure]);
    assert_eq!(replayed.code, 1, "its folder knows that it is forbidden");
    let verdict = fs::read_to_string(place.path().join(&failure).join("verdict.json")).unwrap();
    for text in [&verdict, &replayed.out, &said.out] {
        assert!(text.contains("forbidden here, though it comes of acks=1"), "{text}");
        assert_eq!(codes_in(text), Vec::<String>::new());
    }
    let said = run("lossy.toml", &["--strict"], "strict");
    assert_eq!(said.code, 1, "{said:?}");
    let again = said.out.lines().find_map(|l| l.trim().strip_prefix("again: klamm ")).unwrap();
    assert!(again.contains(" --strict"), "{again}");
    // What a scenario names is no violation, strict or not.
    let names = "violations = [\"lost-write\"]\npermits = [\"unseen\", \"inconsistent-offsets\", \"realtime-order\", \"nonmonotonic-send\", \"int-nonmonotonic-send\", \"duplicate\"]";
    place.put("named.toml", format!("{lossy}\n[expect]\n{names}\n"));
    assert_eq!(run("named.toml", &["--strict"], "named").code, 0);
    place.put("slip.toml", format!("{lossy}\n[expect]\nforbid = [\"lost-writes\"]\n"));
    run("slip.toml", &[], "slip").refused(&[
        "there is no check `lost-writes`",
        "did you mean `lost-write`",
        "slip.toml:",
    ]);
}

#[test]
fn nothing_judged_is_nothing_green() {
    let place = Place::new();
    let refused = TINY.replace("\"enable.idempotence\" = true", "\"max.request.size\" = 10");
    place.put("refused.toml", &refused);
    let said = place.run("refused.toml", 2, "out", &[]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.out.contains("not shown: nothing was acknowledged in 2 seeds ("), "{}", said.out);
    assert!(said.out.contains("were refused or given up): nothing was judged"), "{}", said.out);
    // Alone a seed is a replay, and not blamed.
    assert_eq!(place.klamm(&["run", "refused.toml", "--seed", "1", "--recheck", "0", "--out", "one"]).code, 0);
    place.put("p", "max.request.size=100\n");
    let audit = ["audit", "--producer", "p", "--seeds", "1", "--no-changes", "--fault", "quiet", "--out", "audit"];
    let said = place.klamm(&audit);
    assert_eq!(said.code, 4, "{said:?}");
    let first = said.out.lines().map(str::trim).find(|l| l.ends_with('.')).unwrap();
    assert!(first.starts_with("Every send is refused while nothing is wrong: "), "{first}");
}

#[test]
fn what_was_not_shown_says_what_would_help() {
    let place = Place::new();
    place.put("unseen.toml", format!("{TINY}\n[expect]\nsometimes = [\"leader-elected\", \"broker-fenced\"]\n"));
    let said = place.run("unseen.toml", 1, "out", &[]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.out.contains("mark `broker-fenced` was seen in 0 of 1 seed; raise --seeds"), "{}", said.out);
    assert!(said.out.contains("  not shown tiny") && said.out.contains("    1 seed "), "{}", said.out);
}

#[test]
fn a_run_that_fails_ends_in_one_recap_and_names_its_defect_everywhere() {
    let place = Place::new();
    place.put("tiny.toml", TINY);
    let said = place.klamm(&["run", "tiny.toml", "--seeds", "20", "--defect", DEFECT, "--out", "out"]);
    assert_eq!(said.code, 1, "{said:?}");
    let run = place.run_folder("out");
    let at = said.out.find(" of 20 seeds failed, for ").expect("a recap");
    let recap = &said.out[at..];
    let kept: Vec<&str> = recap.lines().filter_map(|l| l.trim().strip_prefix("kept: ")).collect();
    assert!(!kept.is_empty() && kept.iter().all(|k| place.path().join(k).join("verdict.json").is_file()), "{recap}");
    // Every check that was violated in any seed is shown by a folder.
    let scenario = &record(&run)["scenarios"][0];
    let shown: Vec<&serde_json::Value> = list(&scenario["failures"]).iter().flat_map(|f| list(&f["checks"])).collect();
    for check in list(&scenario["seeds"]).iter().flat_map(|s| list(&s["violated"])) {
        assert!(shown.contains(&check), "{check}: {shown:?}");
    }
    // What was found stands there as it was found, and not with its numbers masked.
    let cause = &scenario["causes"][0];
    assert!(cause["cause"].as_str().unwrap().contains('#') && !recap.contains("offset #"), "{recap}");
    assert!(recap.contains(cause["example"].as_str().unwrap()), "{recap}");
    let failure = &failures(&run)[0];
    for file in [run.join("index.html"), run.join("summary.md"), run.join("junit.xml"), run.join("run.json")]
        .into_iter()
        .chain([failure.join("index.html"), failure.join("verdict.json")])
    {
        assert!(fs::read_to_string(&file).unwrap().contains(DEFECT), "{}", file.display());
    }
    assert!(said.out[..at].contains(&format!("defect: {DEFECT}")) && recap.contains(DEFECT), "{}", said.out);
    let told = place.run("tiny.toml", 2, "json", &["--defect", DEFECT, "--format", "json"]);
    let lines: Vec<serde_json::Value> = told.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0]["defects"][0], DEFECT);
    let last = lines.last().unwrap();
    assert_eq!(last["verdicts"][0]["scenario"], "tiny");
    assert_eq!(last["exit"], told.code);
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
    let verdict = json(&place.path().join(&folder).join("verdict.json"));
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
    let verdict = json(&place.path().join(&folder).join("verdict.json"));
    // Findings that rest on operations, not on events inside: those a history shows.
    let black_box: Vec<(&str, &str)> = list(&verdict["findings"])
        .iter()
        .filter(|f| list(&f["witness"]).iter().any(|w| w.get("operation").is_some()))
        .map(|f| (f["check"].as_str().unwrap(), f["detail"].as_str().unwrap()))
        .collect();
    assert!(!black_box.is_empty(), "a repeated batch is seen from outside: {verdict}");
    let said = place.klamm(&["check", "--all", &format!("{folder}/history.jsonl")]);
    assert_eq!(said.code, 1, "{said:?}");
    for (check, detail) in black_box {
        assert!(said.out.lines().any(|l| l.starts_with(check)), "{check}: {}", said.out);
        assert!(said.out.contains(detail), "{check} {detail}: {}", said.out);
    }
}
