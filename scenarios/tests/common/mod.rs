//! What the tests of the command share: a place to work in, small scenarios, and the built binary.

#![allow(dead_code, reason = "each test file takes what it needs")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Connections break while records are under way. Holds; with [`DEFECT`] it fails within a few seeds.
pub const TINY: &str = r#"
name = "tiny"
summary = "Connections break while records are under way."
duration = "6s"
converge-within = "30s"

[[topic]]
name = "orders"

[[clients]]
kind = "producer"
load = { rate = 60 }
config = { "delivery.timeout.ms" = 8000, "request.timeout.ms" = 1500, "enable.idempotence" = true }

[[clients]]
kind = "consumer"

[[fault]]
kind = "reset"
between = ["p1", "leader(orders-0)"]
at = "1s..5s"
times = 4
"#;

/// A producer with acks=1, and a leader that dies with records that only it has: they are lost, and a cause permits it. The
/// example that comes along, but for what it forbids.
pub fn lossy() -> &'static str {
    let (scenario, _) = FORBIDDEN.split_once("\n[expect]").expect("it forbids something");
    scenario
}

/// The example itself.
pub const FORBIDDEN: &str = include_str!("../../examples/forbidden-loss.toml");

/// The published bug that [`TINY`] finds fast.
pub const DEFECT: &str = "no-dedup-window";

/// A directory of its own for each test.
pub struct Place(tempfile::TempDir);

/// What a command left.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Asserts that it was refused as bad input, in words.
    pub fn refused(&self, words: &[&str]) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in:\n{}", self.err);
        }
    }
}

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }
    pub fn path(&self) -> &Path {
        self.0.path()
    }
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
        command.args(args).current_dir(self.path()).env_remove("KLAMM_LOG").stdin(Stdio::null());
        command
    }
    pub fn klamm(&self, args: &[&str]) -> Said {
        said(&mut self.command(args))
    }
    /// A run of a file over a few seeds, without the second run of some of them.
    pub fn run(&self, file: &str, seeds: u64, out: &str, more: &[&str]) -> Said {
        let seeds = seeds.to_string();
        self.klamm(&[&["run", file, "--seeds", &seeds, "--recheck", "0", "--out", out][..], more].concat())
    }
    /// A comparison, which must hold: its run's folder and what was said.
    pub fn compared(&self, what: &str, seeds: u64, out: &str) -> (PathBuf, Said) {
        let seeds = seeds.to_string();
        let said = self.klamm(&["compare", what, "--seeds", &seeds, "--recheck", "0", "--out", out]);
        assert_eq!(said.code, 0, "{said:?}");
        (self.run_folder(out), said)
    }
    /// The only run there is.
    pub fn run_folder(&self, out: &str) -> PathBuf {
        let runs = folders(&self.path().join(out));
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].clone()
    }
    /// Makes a failure, and says where it is, relative to this place.
    pub fn failure(&self) -> String {
        self.put("tiny.toml", TINY);
        let said = self.klamm(&["run", "tiny.toml", "--seeds", "20", "--defect", DEFECT, "--out", "out"]);
        assert_eq!(said.code, 1, "{said:?}");
        let folder = failures(&self.run_folder("out"))[0].clone();
        folder.strip_prefix(self.path()).unwrap().display().to_string()
    }
}

/// A file of JSON.
pub fn json(path: &Path) -> serde_json::Value {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A run's record.
pub fn record(run: &Path) -> serde_json::Value {
    json(&run.join("run.json"))
}

/// A list of JSON.
pub fn list(value: &serde_json::Value) -> &[serde_json::Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Folders without a dot, in order.
pub fn folders(of: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(of)
        .into_iter()
        .flatten()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir() && !p.file_name().unwrap().to_string_lossy().starts_with('.'))
        .collect();
    found.sort();
    found
}

/// The failures of a run.
pub fn failures(run: &Path) -> Vec<PathBuf> {
    folders(run).into_iter().filter(|p| !p.ends_with("charts")).collect()
}

/// Scenario, seed and digest of every seed of a run.
pub fn digests(run: &Path) -> Vec<(String, String, String)> {
    let record = record(run);
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    let mut all = Vec::new();
    for scenario in list(&record["scenarios"]) {
        for seed in list(&scenario["seeds"]) {
            all.push((text(&scenario["name"]), text(&seed["seed"]), text(&seed["digest"])));
        }
    }
    all
}

/// A file of a run without what honestly differs: time on the wall, threads, and where it lies.
pub fn content(run: &Path, name: &str, out: &str) -> String {
    let text = std::fs::read_to_string(run.join(name)).unwrap().replace(&format!("{out}/"), "OUT/");
    let cut = |text: String, from: &str, to: &str| {
        let mut parts = text.split(from);
        let mut kept = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            kept.push_str(from);
            kept.push_str(&part[part.find(to).unwrap_or(0)..]);
        }
        kept
    };
    let text = cut(text, "\"wall_seconds\": ", ",");
    let text = cut(text, "\"wall_ns\": ", ",");
    let text = cut(text, "\"jobs\": ", ",");
    let text = cut(text, "time=\"", "\"");
    match text.split_once(" s on the wall") {
        Some((before, after)) => {
            let before = before.rsplit_once(", ").unwrap().0;
            format!("{before}, - s on the wall{}", &after[after.find(['.', ',']).unwrap()..])
        }
        None => text,
    }
}
