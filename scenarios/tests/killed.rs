//! A run that is killed leaves whole failure folders only.

mod common;

use common::{DEFECT, Place, TINY, failures, folders};
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_killed_run_leaves_only_whole_failures() {
    const FILES: [&str; 8] = [
        "fired.toml",
        "history.jsonl",
        "index.html",
        "scenario.toml",
        "schedule.toml",
        "shrunk.toml",
        "trace.jsonl.zst",
        "verdict.json",
    ];
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.put(&format!("all/{name}.toml"), TINY.replace("\"tiny\"", &format!("\"tiny-{name}\"")));
    }
    let (mut seen, mut replayed) = (0, 0);
    // The same run again and again, so that it is also killed while it clears away the one before.
    for round in 0..24u64 {
        let args = ["run", "all", "--seeds", "20", "-j", "1", "--defect", DEFECT, "--out", "out"];
        let mut child = place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(5 + round * 53 % 900));
        child.kill().unwrap();
        child.wait().unwrap();
        for run in folders(&place.path().join("out")) {
            for failure in failures(&run) {
                let mut names: Vec<String> = std::fs::read_dir(&failure)
                    .unwrap()
                    .map(|e| e.unwrap().file_name().into_string().unwrap())
                    .collect();
                names.sort();
                assert_eq!(names, FILES, "{}", failure.display());
                seen += 1;
                if seen % 4 == 1 {
                    assert_eq!(place.klamm(&["replay", failure.to_str().unwrap()]).code, 1, "{}", failure.display());
                    replayed += 1;
                }
            }
        }
    }
    assert!(seen > 4 && replayed > 1, "{seen} failures seen, {replayed} replayed: kill later");
    // And the next run is not disturbed by what was left.
    let said = place.klamm(&["run", "all", "--seeds", "20", "--defect", DEFECT, "--out", "out"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(place.run_folder("out").join("run.json").is_file());
}
