//! What runs leave on disk: the run's folder, and one folder for each failure that is all one needs to reproduce
//! it anywhere. Everything is written aside and renamed whole.

use crate::campaign::shown;
use crate::run::{Found, Options, Recording, SeedOutcome, TraceLine, Witness, WorldKind, run_resolved};
use crate::schema::{Scenario, to_toml};
use crate::seeds::Seed;
use crate::shrink::{Shrunk, shrink};
use klamm_model::checks::Check;
use klamm_model::defects::{Defect, Defects};
use klamm_reports::charts::svg;
use klamm_reports::html::{Story, failure_page};
use klamm_reports::record::{FailureRecord, RunRecord, ScenarioRecord};
use klamm_reports::{folder, text, write_whole};
use klamm_workloads::history::{Header, write as write_history};
use klamm_world::faults::{Planned, Schedule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// The version of a failure folder's files.
const SCHEMA: u32 = 1;

/// `verdict.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictFile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The failure's id.
    pub id: String,
    /// The scenario's name.
    pub scenario: String,
    /// The seed, in hexadecimal.
    pub seed: String,
    /// The world it ran in.
    #[serde(default)]
    pub world: WorldKind,
    /// Defects switched on.
    pub defects: Vec<String>,
    /// The run's digest, in hexadecimal.
    pub digest: String,
    /// The digest of the run under `fired.toml`, in hexadecimal.
    pub fired_digest: String,
    /// What the other files were when they were written, by name: a file that was cut or changed is told apart
    /// from a run that went another way.
    pub files: BTreeMap<String, FileNote>,
    /// Every finding that is not permitted; the first is the verdict.
    pub findings: Vec<Found>,
}

/// One file of a failure's folder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileNote {
    /// Its length.
    pub bytes: u64,
    /// Its XXH3 hash, in hexadecimal.
    pub xxh3: String,
}

impl FileNote {
    fn of(content: &[u8]) -> FileNote {
        FileNote { bytes: content.len() as u64, xxh3: format!("{:016x}", xxh3_64(content)) }
    }

    /// What happened to the file since, if anything did.
    pub fn difference(&self, content: &[u8]) -> Option<String> {
        let now = FileNote::of(content);
        if now == *self {
            return None;
        }
        let n = self.bytes;
        Some(match now.bytes {
            0 => format!("the file is empty; {n} bytes were written"),
            m if m < n => format!("the file is cut short or was changed: {m} bytes of {n}"),
            _ => "the file was changed since the failure was written".to_owned(),
        })
    }
}

/// Reads a failure folder's `verdict.json`.
///
/// # Errors
/// With the place, if it is missing, cut short, or of another version.
pub fn read_verdict(folder: &Path) -> miette::Result<VerdictFile> {
    let path = folder.join("verdict.json");
    let text = io(&path, std::fs::read_to_string(&path))?;
    let wrong = |e: serde_json::Error| {
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        miette::miette!(
            help = "`klamm run` writes the failure again, with the same seed",
            "{}:{}:{}: {message}",
            path.display(),
            e.line(),
            e.column()
        )
    };
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let version: Version = serde_json::from_str(&text).map_err(wrong)?;
    if version.schema != SCHEMA {
        return Err(miette::miette!(
            help = "replay it with the klamm that wrote it",
            "{}: schema {} where this klamm reads {SCHEMA}",
            path.display(),
            version.schema
        ));
    }
    let verdict: VerdictFile = serde_json::from_str(&text).map_err(wrong)?;
    if verdict.findings.is_empty() {
        return Err(miette::miette!("{}: no findings: nothing to show again", path.display()));
    }
    Ok(verdict)
}

impl VerdictFile {
    /// The defects, as a set.
    ///
    /// # Errors
    /// If one is unknown to this klamm.
    pub fn defects(&self) -> miette::Result<Defects> {
        self.defects.iter().try_fold(Defects::NONE, |set, id| {
            Ok(set.with(id.parse::<Defect>().map_err(|e| miette::miette!("verdict.json: {e}"))?))
        })
    }
}

fn io<T>(path: &Path, result: std::io::Result<T>) -> miette::Result<T> {
    result.map_err(|e| miette::miette!("{}: {e}", path.display()))
}

fn put(path: &Path, content: &[u8]) -> miette::Result<()> {
    write_whole(path, content).map_err(|e| miette::miette!("{e}"))
}

/// Eight letters and digits that no one confuses, from content.
pub fn short_id(content: &str) -> String {
    const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let hash = xxh3_64(content.as_bytes());
    let letter = |i: u32| char::from(LETTERS[(hash >> (5 * i)) as usize & 31]);
    let four = |from: u32| (from..from + 4).map(letter).collect::<String>();
    format!("{}-{}", four(0), four(4))
}

/// Makes the run's folder, empty.
///
/// # Errors
/// If it cannot be made.
pub fn run_folder(out: &Path, record: &RunRecord) -> miette::Result<PathBuf> {
    fresh_folder(out, &record.identity(), "charts")
}

/// Makes an empty folder with one folder in it, named by the content it is for.
///
/// # Errors
/// If it cannot be made.
pub fn fresh_folder(out: &Path, content: &str, within: &str) -> miette::Result<PathBuf> {
    let folder = out.join(short_id(content));
    discard(&folder)?;
    io(&folder, std::fs::create_dir_all(folder.join(within)))?;
    Ok(folder)
}

/// Removes a folder of an earlier run. It is moved out of sight whole before its files go one by one: a run that is
/// killed meanwhile leaves no half of a folder.
fn discard(folder: &Path) -> miette::Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let aside = folder.with_file_name(format!(".{name}.old"));
    let is_there = |path: &Path| std::fs::symlink_metadata(path).is_ok();
    for path in [&*aside, folder] {
        if is_there(path) && !std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            return Err(miette::miette!(
                help = "move it away, or name another --out",
                "{}: this is no folder, and a run's folder would take its place",
                path.display()
            ));
        }
    }
    if is_there(&aside) {
        io(&aside, std::fs::remove_dir_all(&aside))?;
    }
    if is_there(folder) {
        io(folder, std::fs::rename(folder, &aside))?;
        io(&aside, std::fs::remove_dir_all(&aside))?;
    }
    Ok(())
}

/// Runs a failing seed again with recording on, shrinks its schedule, and writes its folder. `None` if it was given up
/// on the way: then nothing is written.
///
/// # Errors
/// If it cannot be written, or if the seed does not fail in the same way again.
pub fn failure(
    run: &Path,
    scenario: &Scenario,
    index: u64,
    outcome: &SeedOutcome,
    options: &Options,
) -> miette::Result<Option<FailureRecord>> {
    let first = outcome.violations(scenario).next().expect("a failing seed").as_violation();
    let recording = Options { record: true, each_minute: None, ..options.clone() };
    let mut again = run_resolved(outcome.resolved.clone(), outcome.schedule.clone(), outcome.seed, &recording);
    if again.given_up {
        return Ok(None);
    }
    if again.digest != outcome.digest {
        return Err(miette::miette!(
            "{}: seed {} gave another digest when it was run again with recording on",
            scenario.name,
            Seed(outcome.seed)
        ));
    }
    let fired_run = run_resolved(outcome.resolved.clone(), outcome.fired.clone(), outcome.seed, options);
    let shrunk = shrink(scenario, &outcome.resolved, &outcome.fired, outcome.seed, first.check, options);
    if fired_run.given_up || options.interrupt.as_ref().is_some_and(|i| i.gives_up()) {
        return Ok(None);
    }
    let id = short_id(&format!("{} {} {} {}", to_toml(scenario), outcome.seed, first.check, outcome.digest));
    let folder = run.join(&id);
    let aside = run.join(format!(".{id}.part"));
    let _ = std::fs::remove_dir_all(&aside);
    io(&aside, std::fs::create_dir_all(&aside))?;
    let mut verdict = VerdictFile {
        schema: SCHEMA,
        id: id.clone(),
        scenario: scenario.name.clone(),
        seed: Seed(outcome.seed).to_string(),
        world: options.world,
        defects: options.defects.iter().map(|d| d.id().to_owned()).collect(),
        digest: format!("{:016x}", outcome.digest),
        fired_digest: format!("{:016x}", fired_run.digest),
        files: BTreeMap::new(),
        findings: again.violations(scenario).map(Found::as_violation).collect(),
    };
    let recorded = again.recording.take().expect("recording was on");
    let replay = format!("klamm replay {}", shown(&folder));
    write_failure(&aside, scenario, &again, &mut verdict, &recorded, shrunk.as_ref(), &replay)?;
    discard(&folder)?;
    io(&folder, std::fs::rename(&aside, &folder))?;
    let all = outcome.fired.len();
    let smaller = shrunk.as_ref().map(|s| &s.schedule).filter(|s| s.len() < all);
    let shrunk = smaller.map(|s| format!("{all} -> {} faults: {}", s.len(), in_words(s)));
    Ok(Some(FailureRecord {
        id: id.clone(),
        seed: verdict.seed,
        index: index + 1,
        check: first.check.to_string(),
        checks: outcome.violated(scenario).iter().map(Check::to_string).collect(),
        at_ns: first.at,
        message: first.detail,
        shrunk,
        faults: outcome.fired.len(),
        folder: id,
        replay,
    }))
}

/// Copies a failure's folder of another run into this one, and lets its words lead there.
///
/// # Errors
/// If it cannot be read or written.
pub fn adopt(from: &Path, run: &Path, failure: &mut FailureRecord) -> miette::Result<()> {
    let to = run.join(&failure.folder);
    let replay = format!("klamm replay {}", shown(&to));
    let aside = run.join(format!(".{}.part", failure.id));
    let _ = std::fs::remove_dir_all(&aside);
    io(&aside, std::fs::create_dir_all(&aside))?;
    for entry in io(from, std::fs::read_dir(from))? {
        let path = io(from, entry)?.path();
        let name = path.file_name().unwrap_or_default();
        let mut content = io(&path, std::fs::read(&path))?;
        if name == "index.html" {
            content = String::from_utf8_lossy(&content).replace(&failure.replay, &replay).into_bytes();
        }
        put(&aside.join(name), &content)?;
    }
    discard(&to)?;
    io(&to, std::fs::rename(&aside, &to))?;
    failure.replay = replay;
    Ok(())
}

/// The record with its failures' folders named from where the command was run.
pub fn with_paths(record: &ScenarioRecord, run: &Path) -> ScenarioRecord {
    let mut record = record.clone();
    for failure in &mut record.failures {
        failure.folder = format!("{}/{}", shown(run), failure.folder);
    }
    record
}

/// A schedule in a line.
pub fn in_words(schedule: &[Planned]) -> String {
    let list: Vec<String> = schedule.iter().map(|p| format!("{} at {}", fault_in_words(p), text::time(p.at))).collect();
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

/// A fault in words: its kind, whom it met, how long.
pub fn fault_in_words(planned: &Planned) -> String {
    let value = serde_json::to_value(&planned.action).expect("an action is JSON");
    let mut words = Vec::new();
    if let Some(object) = value.as_object() {
        words.extend(object.get("kind").and_then(|k| k.as_str()).map(str::to_owned));
        for (key, v) in object.iter().filter(|(k, _)| *k != "kind") {
            match v {
                serde_json::Value::String(s) if key == "who" => words.push(s.clone()),
                serde_json::Value::Array(list) => {
                    let names: Vec<&str> = list.iter().filter_map(|x| x.as_str()).collect();
                    words.push(names.join("+"));
                }
                serde_json::Value::Bool(false) => {}
                serde_json::Value::Bool(true) => words.push(key.clone()),
                serde_json::Value::String(s) => words.push(s.clone()),
                other => words.push(format!("{key} {other}")),
            }
        }
    }
    if let Some(lasts) = planned.lasts {
        words.push(format!("for {}", text::time(lasts)));
    }
    words.join(" ")
}

fn toml_of(schedule: &[Planned]) -> String {
    toml::to_string(&Schedule { faults: schedule.to_vec() }).expect("a schedule is TOML")
}

fn write_failure(
    folder: &Path,
    scenario: &Scenario,
    outcome: &SeedOutcome,
    verdict: &mut VerdictFile,
    recorded: &Recording,
    shrunk: Option<&Shrunk>,
    replay: &str,
) -> miette::Result<()> {
    let mut noted = |name: &str, content: &[u8]| {
        verdict.files.insert(name.to_owned(), FileNote::of(content));
        put(&folder.join(name), content)
    };
    noted("scenario.toml", to_toml(&outcome.resolved).as_bytes())?;
    noted("schedule.toml", toml_of(&outcome.schedule).as_bytes())?;
    noted("fired.toml", toml_of(&outcome.fired).as_bytes())?;
    if let Some(s) = shrunk {
        put(&folder.join("shrunk.toml"), toml_of(&s.schedule).as_bytes())?;
    }
    let header =
        Header::new(outcome.declared.clone(), BTreeMap::from([("scenario".to_owned(), scenario.name.clone())]));
    let history = write_history(Vec::new(), &header, &recorded.history);
    noted("history.jsonl", &io(folder, history)?)?;
    let mut lines = Vec::new();
    for line in &recorded.trace {
        serde_json::to_writer(&mut lines, line).map_err(|e| miette::miette!("{e}"))?;
        lines.push(b'\n');
    }
    noted("trace.jsonl.zst", &io(folder, zstd::encode_all(&lines[..], 3))?)?;
    let json = serde_json::to_string_pretty(&verdict).map_err(|e| miette::miette!("{e}"))?;
    put(&folder.join("verdict.json"), json.as_bytes())?;
    put(&folder.join("index.html"), failure_page(&story(scenario, outcome, verdict, recorded, replay)?).as_bytes())
}

fn story(
    scenario: &Scenario,
    outcome: &SeedOutcome,
    verdict: &VerdictFile,
    recorded: &Recording,
    replay: &str,
) -> miette::Result<Story> {
    let over_time = outcome.timeline.as_ref().expect("a recorded seed has one");
    let chart = svg(&folder::timeline(&scenario.name, &verdict.seed, over_time)).map_err(|e| miette::miette!("{e}"))?;
    let mut charts = vec![("Acknowledged records and response times around the faults (red).".to_owned(), chart)];
    for group in folder::groups_shown(over_time) {
        let (gantt, _) = folder::group_charts(&scenario.name, &verdict.seed, over_time, group);
        charts.push((folder::gantt_caption(group), svg(&gantt).map_err(|e| miette::miette!("{e}"))?));
    }
    let moment = |ns: u64| format!("{:.6}s", ns as f64 / 1e9);
    let witness = verdict.findings.first().map_or(Vec::new(), |f| witness_lines(&f.witness, &recorded.trace));
    Ok(Story {
        id: verdict.id.clone(),
        scenario: scenario.name.clone(),
        seed: verdict.seed.clone(),
        defects: verdict.defects.clone(),
        findings: verdict.findings.iter().map(|f| (f.check.to_string(), moment(f.at), f.detail.clone())).collect(),
        faults: outcome.fired.iter().map(|p| (text::time(p.at), fault_in_words(p))).collect(),
        witness: witness.into_iter().map(|(at, place, what)| (moment(at), place, what)).collect(),
        replay: replay.to_owned(),
        charts,
    })
}

/// A witness in words: events looked up in the trace, operations as they are.
pub fn witness_lines(witness: &[Witness], trace: &[TraceLine]) -> Vec<(u64, String, String)> {
    let line = |w: &Witness| match w {
        Witness::Event(ordinal) => match trace.binary_search_by_key(ordinal, |t| t.ordinal) {
            Ok(i) => (trace[i].at, trace[i].place.clone(), format!("#{ordinal} {} {}", trace[i].kind, trace[i].text)),
            Err(_) => (0, String::new(), format!("#{ordinal}")),
        },
        Witness::Operation(entry) => {
            (entry.at, format!("client {}", entry.client), serde_json::to_string(&entry.op).unwrap_or_default())
        }
    };
    witness.iter().map(line).collect()
}
