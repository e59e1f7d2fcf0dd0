//! Signals: every command that takes long obeys SIGTERM within two seconds, says what it knows, and a run that is gone
//! on with comes out as if it had never been interrupted.

mod common;

use common::{DEFECT, Place, TINY, content, digests, failures};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take to end after a signal. The promise is two seconds; a busy machine starts threads late.
const OBEYED: Duration = Duration::from_secs(3);

/// One seed of it takes minutes.
fn endless() -> String {
    TINY.replace("duration = \"6s\"", "duration = \"4000s\"").replace("\"tiny\"", "\"endless\"")
}

/// Starts a command, lets it work, sends a signal, and says what it left: exit code, output, and how long it took.
fn signalled(place: &Place, args: &[&str], after: Duration, signal: &str) -> (i32, String, Duration) {
    let mut command = place.command(args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let sent = Instant::now();
    let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(kill.success(), "{args:?} had ended by itself");
    let output = child.wait_with_output().unwrap();
    let code = {
        use std::os::unix::process::ExitStatusExt;
        // Ended by the signal itself is what a shell shows as 128 and its number.
        output.status.code().or(output.status.signal().map(|s| 128 + s)).unwrap_or(-1)
    };
    (code, String::from_utf8_lossy(&output.stdout).into_owned(), sent.elapsed())
}

#[test]
fn a_run_gone_on_with_comes_out_as_if_never_interrupted() {
    let place = Place::new();
    place.put("all/tiny.toml", TINY);
    place.put(
        "all/unseen.toml",
        format!("{}\n[expect]\nsometimes = [\"tombstone-removed\"]\n", TINY.replace("\"tiny\"", "\"other\"")),
    );
    let args = |out: &'static str| {
        vec!["run", "all", "--seeds", "300", "--recheck", "1", "--defect", DEFECT, "-j", "2", "--out", out]
    };
    let said = place.klamm(&args("whole"));
    assert_eq!(said.code, 1, "{said:?}");
    let whole = place.run_folder("whole");
    // Early enough to be in the middle, however fast the machine is.
    let (code, out, took) = signalled(&place, &args("cut"), Duration::from_millis(700), "TERM");
    assert_eq!(code, 143, "{out}");
    assert!(took < OBEYED, "{took:?}");
    let cut = place.run_folder("cut");
    assert_eq!(whole.file_name(), cut.file_name(), "the same run");
    let record: serde_json::Value = serde_json::from_slice(&fs::read(cut.join("run.json")).unwrap()).unwrap();
    assert_eq!(record["exit"], 143);
    assert!(digests(&cut).len() < digests(&whole).len(), "it was cut short");
    let again =
        out.lines().find_map(|l| l.trim().strip_prefix("go on: klamm ")).expect("it says how to go on").to_owned();
    // What did not run is not run, in JUnit too.
    assert!(out.contains("  not run   ") && out.contains("of 300 seeds were run"), "{out}");
    assert!(fs::read_to_string(cut.join("junit.xml")).unwrap().contains("type=\"not run\""));
    let said = place.klamm(&[&again.split(' ').collect::<Vec<_>>()[..], &["--recheck", "1"]].concat());
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(digests(&whole), digests(&cut));
    for name in ["run.json", "summary.md", "junit.xml"] {
        assert_eq!(content(&whole, name, "whole"), content(&cut, name, "cut"), "{name}");
    }
    let names = |of: &std::path::Path| -> Vec<String> {
        failures(of).iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(&whole), names(&cut));
    // There is nothing left to go on with, and another command is another run.
    let folder = cut.display().to_string();
    place.klamm(&[&args("cut")[..], &["--resume", &folder]].concat()).refused(&["every seed of it was run"]);
    place.klamm(&["run", "all", "--seeds", "301", "--resume", &folder]).refused(&[
        "not of one run",
        "the command line is",
        "--seeds 300",
        "--seeds 301",
    ]);
    place.klamm(&["run", "all", "--resume", "all"]).refused(&["no run.json"]);
}

#[test]
fn sigterm_is_obeyed_in_the_middle_of_a_seed_by_every_command() {
    let place = Place::new();
    place.put("endless.toml", endless());
    place.put(
        "two.toml",
        format!(
            "{}\n[matrix]\n\"producer.acks\" = [\"1\", \"all\"]\n",
            endless().replace("\"enable.idempotence\" = true", "\"linger.ms\" = 0")
        ),
    );
    let commands: [&[&str]; 6] = [
        &["run", "endless.toml", "--seeds", "3", "--out", "run"],
        &["compare", "two.toml", "--seeds", "2", "--out", "compare"],
        &["parity", "endless.toml", "--seeds", "2", "--out", "parity"],
        &["replay", "endless.toml", "--seed", "1"],
        &["defects", "hunt", DEFECT, "--seeds", "100000", "--witnesses", "1000"],
        &["audit", "--seeds", "2000", "--no-changes", "--out", "audit"],
    ];
    for args in commands {
        let (code, out, took) = signalled(&place, args, Duration::from_millis(800), "TERM");
        assert_eq!(code, 143, "{args:?}: {out}");
        assert!(took < OBEYED, "{args:?}: {took:?}");
    }
    // What is known was written, and nothing is called held.
    let record = fs::read_to_string(place.run_folder("run").join("run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["verdicts"]["endless"], "not run: 0 of 3 seeds were run");
    let audit = fs::read_to_string(place.run_folder("audit").join("audit.json")).unwrap();
    assert!(audit.contains("\"interrupted\": 143"), "{audit}");
}

#[test]
fn ctrl_c_ends_in_130() {
    let place = Place::new();
    place.put("endless.toml", endless());
    let args = ["run", "endless.toml", "--seeds", "3", "--out", "out"];
    let (code, out, took) = signalled(&place, &args, Duration::from_millis(500), "INT");
    assert_eq!(code, 130, "{out}");
    assert!(took < OBEYED, "{took:?}");
    assert!(out.contains("0/1 scenario held, 1 not run"), "{out}");
}

#[test]
fn a_shrink_that_is_interrupted_keeps_the_smallest_so_far_or_says_that_there_is_none() {
    let place = Place::new();
    // Long enough that shrinking takes a while: many faults, each run of them half a minute of virtual time.
    let text = TINY.replace("duration = \"6s\"", "duration = \"120s\"").replace("at = \"1s..5s\"", "at = \"1s..100s\"");
    place.put("tiny.toml", text.replace("times = 4", "times = 60"));
    let said = place.klamm(&["run", "tiny.toml", "--seeds", "1", "--recheck", "0", "--defect", DEFECT, "--out", "out"]);
    assert_eq!(said.code, 1, "{said:?}");
    let folder = failures(&place.run_folder("out"))[0].display().to_string();
    let (code, out, took) = signalled(&place, &["shrink", &folder], Duration::from_millis(150), "TERM");
    assert_eq!(code, 143, "{out}");
    assert!(took < OBEYED, "{took:?}");
    assert!(
        out.contains("a smaller schedule may exist") || out.contains("nothing was saved") || out.is_empty(),
        "{out}"
    );
}
