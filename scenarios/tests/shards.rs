//! Shards put together are the run that was never split: verdicts, coverage, histograms, bit for bit.

mod common;

use common::{DEFECT, Place, TINY, content, failures};
use std::fs;
use std::path::PathBuf;

/// A second scenario beside [`TINY`], with a group whose members forward, so that rebalances and what services do are put
/// together too.
const GROUP: &str = r#"
name = "tiny-group"
summary = "A member leaves and comes back."
duration = "8s"
deadline = "100ms"
converge-within = "40s"

[broker]
"offsets.topic.num.partitions" = 1
"group.initial.rebalance.delay.ms" = 200

[[topic]]
name = "orders"
partitions = 4

[[topic]]
name = "done"

[[clients]]
kind = "producer"
load = { rate = 60 }
config = { "delivery.timeout.ms" = 8000, "request.timeout.ms" = 1500 }

[[clients]]
kind = "group"
count = 2
member = { forward = { to = ["done"] } }
config = { "group.id" = "billing", "auto.offset.reset" = "earliest", "session.timeout.ms" = 6000, "heartbeat.interval.ms" = 500 }

[[fault]]
kind = "shutdown"
who = "m1"
at = "3s..4s"
for = "1s..2s"

[expect]
sometimes = ["leader-elected"]
"#;

fn run(place: &Place, out: &str, more: &[&str]) -> (i32, PathBuf) {
    let args = ["run", "all", "--seeds", "10", "--recheck", "0", "--defect", DEFECT, "--out", out];
    let said = place.klamm(&[&args, more].concat());
    assert!(said.code <= 1, "{said:?}");
    (said.code, place.run_folder(out))
}

#[test]
fn four_shards_are_the_whole_bit_for_bit() {
    let place = Place::new();
    place.put("all/tiny.toml", TINY);
    place.put("all/group.toml", GROUP);
    let (code, whole) = run(&place, "whole", &["-j", "2"]);
    assert_eq!(code, 1);
    let mut shards = Vec::new();
    for k in 1..=4 {
        let (_, folder) = run(&place, &format!("shard{k}"), &["-j", "1", "--shard", &format!("{k}/4")]);
        shards.push(folder.display().to_string());
    }
    // In whatever order they come.
    shards.swap(0, 3);
    let args: Vec<&str> = ["report", "--out", "merged", "--junit", "j.xml"]
        .into_iter()
        .chain(shards.iter().map(String::as_str))
        .collect();
    let said = place.klamm(&args);
    assert_eq!(said.code, code, "{said:?}");
    let merged = place.run_folder("merged");
    assert_eq!(merged.file_name(), whole.file_name(), "the same run, the same id");
    for name in ["run.json", "summary.md", "junit.xml"] {
        assert_eq!(content(&whole, name, "whole"), content(&merged, name, "merged"), "{name}");
    }
    let logs: Vec<PathBuf> = fs::read_dir(&whole)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "hlog"))
        .collect();
    assert_eq!(logs.len(), 7, "response and service of both, and what the services of one did");
    let charts: Vec<PathBuf> = fs::read_dir(whole.join("charts")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(charts.len() >= 10, "{charts:?}");
    for path in logs.iter().chain(&charts) {
        let other = merged.join(path.strip_prefix(&whole).unwrap());
        assert!(fs::read(path).unwrap() == fs::read(&other).unwrap(), "{}", other.display());
    }
    // The failures came along, and replay from where they are now.
    assert_eq!(failures(&merged).len(), failures(&whole).len());
    for failure in failures(&merged) {
        let page = fs::read_to_string(failure.join("index.html")).unwrap();
        assert!(page.contains("merged/") && !page.contains("shard"), "the story leads to the merged run");
        assert_eq!(place.klamm(&["replay", failure.to_str().unwrap()]).code, 1);
    }
    // Drawn again, nothing changes.
    let before = fs::read(merged.join("run.json")).unwrap();
    assert_eq!(place.klamm(&["report", merged.to_str().unwrap()]).code, code);
    assert_eq!(fs::read(merged.join("run.json")).unwrap(), before);
}

#[test]
fn what_is_no_set_of_shards_is_refused() {
    let place = Place::new();
    place.put("all/tiny.toml", TINY);
    let shard = |out: &str, more: &[&str]| {
        let said = place.klamm(&[&["run", "all", "--recheck", "0", "--out", out][..], more].concat());
        assert_eq!(said.code, 0, "{said:?}");
        place.run_folder(out).display().to_string()
    };
    let one = shard("a", &["--seeds", "4", "--shard", "1/2"]);
    let two = shard("b", &["--seeds", "4", "--shard", "2/2"]);
    let other_master = shard("c", &["--seeds", "4", "--shard", "2/2", "--master", "7"]);
    let other_count = shard("d", &["--seeds", "6", "--shard", "2/2"]);
    let whole = shard("e", &["--seeds", "4"]);
    let refused = |runs: &[&str], words: &[&str]| {
        place.klamm(&[&["report", "--out", "merged"][..], runs].concat()).refused(words);
        assert!(!place.path().join("merged").exists());
    };
    refused(&[&one], &["shard 2/2 is missing"]);
    refused(&[&one, &two, &two], &["shard 2/2 is there twice"]);
    refused(&[&one, &other_master], &["the master seed is `0x5eed`", "`0x7`"]);
    refused(&[&one, &other_count], &["the command line", "--seeds 4", "--seeds 6"]);
    refused(&[&one, &whole], &["is no shard, but a whole run"]);
    refused(&["nowhere"], &["nowhere: no such folder"]);
    refused(&["all"], &["no run.json"]);
    let record = place.path().join(&two).join("run.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"klamm\": \"", "\"klamm\": \"9")).unwrap();
    refused(&[&one, &two], &["klamm's version"]);
    fs::write(&record, &text[..text.len() / 2]).unwrap();
    refused(&[&one, &two], &["run.json"]);
    fs::write(&record, &text).unwrap();
    let log = place.path().join(&two).join("tiny.response.hlog");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() / 2]).unwrap();
    refused(&[&one, &two], &["tiny.response.hlog"]);
    fs::write(&log, &bytes).unwrap();
    assert_eq!(place.klamm(&["report", "--out", "merged", &one, &two]).code, 0);
}

#[test]
fn a_shard_alone_is_not_blamed_for_what_another_sees() {
    let place = Place::new();
    place.put("unseen.toml", format!("{TINY}\n[expect]\nsometimes = [\"tombstone-removed\"]\n"));
    let run = |shard: &str, out: &str| {
        let said =
            place.klamm(&["run", "unseen.toml", "--seeds", "2", "--recheck", "0", "--shard", shard, "--out", out]);
        assert_eq!(said.code, 0, "{said:?}");
        place.run_folder(out).display().to_string()
    };
    let (one, two) = (run("1/2", "a"), run("2/2", "b"));
    assert_eq!(place.klamm(&["report", "--out", "merged", &one, &two]).code, 4, "together they are");
}
