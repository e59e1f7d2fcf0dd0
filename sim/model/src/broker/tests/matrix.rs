//! The matrix of damage: every file that a node writes, damaged in every way, on one replica or on all, after an orderly end
//! or a kill. What comes of it stands in `docs/damage.md`, and is compared here; what Kafka 4.4 makes of the same damage to a
//! node of its own is in `kafka-4.4.tsv`, as `.ci/damage/kafka.py` found it. `docs/disk.md` is read row by row.
//!
//! `KLAMM_DAMAGE=write` writes the file anew.

use super::*;
use crate::disk::Path;
use crate::record::{batches, records};
use crate::trace::TraceEvent;
use cluster::CLUSTER;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

type Files = BTreeMap<Path, Vec<u8>>;

const OTHER: Uuid = Uuid::from_u128(78);
const ACKNOWLEDGED: usize = 40;
const ENDS: [&str; 2] = ["stopped", "killed"];
const DAMAGES: [&str; 6] = ["missing", "empty", "cut", "garbage", "bit", "other"];
/// `first.log` is the directory's first segment.
const BROKER_FILES: [&str; 16] = [
    "meta.properties",
    ".kafka_cleanshutdown",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "log-start-offset-checkpoint",
    "cleaner-offset-checkpoint",
    "orders-0/partition.metadata",
    "orders-0/leader-epoch-checkpoint",
    "orders-0/first.log",
    "orders-0/middle.log",
    "orders-0/last.log",
    "orders-0/first.index",
    "orders-0/first.timeindex",
    "orders-0/last.index",
    "orders-0/last.snapshot",
    "orders-0",
];
const CONTROLLER_FILES: [&str; 6] = [
    "meta.properties",
    "__cluster_metadata-0/first.log",
    "__cluster_metadata-0/quorum-state",
    "__cluster_metadata-0/recovery-point-offset-checkpoint",
    "__cluster_metadata-0/leader-epoch-checkpoint",
    "__cluster_metadata-0/partition.metadata",
];

fn tune(config: &mut BrokerConfig) {
    config.segment_bytes = 2200;
    config.index_interval_bytes = 200;
    config.min_insync_replicas = 2;
}
fn tune_alone(config: &mut BrokerConfig) {
    tune(config);
    config.min_insync_replicas = 1;
}

fn unstarted(brokers: usize, id: Uuid) -> Cluster {
    let tune = if brokers == 1 { tune_alone } else { tune };
    let mut c = Cluster::unstarted(brokers as i32, Truncation::Fetch, Defects::NONE, VersionCaps::default(), tune, id);
    c.may_halt = true;
    c
}

fn write(c: &mut Cluster, word: &str, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let text = format!("{word} {n} {}", "x".repeat(60));
        assert_eq!(produced(c.ask(leader(c), 9, produce(-1, value(&text)))).error_code, 0);
    }
    c.run(1500);
}

fn stop(c: &mut Cluster, brokers: usize) {
    for host in (1..=brokers).chain([0]) {
        c.shut_down(host);
        c.run(800);
        assert!(!c.is_up(host), "host {host} ends in order");
    }
}

/// The disks of a cluster that wrote half of its records, was stopped in order, wrote the rest, and ended. The controller's
/// is the first.
fn base(brokers: usize, id: Uuid, word: &str, count: usize, end: &str) -> Vec<Files> {
    let mut c = unstarted(brokers, id);
    (0..=brokers).for_each(|h| c.start(h));
    c.run(500);
    let topic =
        CreatableTopic::default().with_name(name()).with_num_partitions(1).with_replication_factor(brokers as i16);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
    c.ask(1, 7, request);
    c.run(200);
    write(&mut c, word, 0..count / 2);
    stop(&mut c, brokers);
    (0..=brokers).for_each(|h| c.start(h));
    c.run(3000);
    write(&mut c, word, count / 2..count);
    if end == "stopped" {
        stop(&mut c, brokers);
    } else {
        (0..=brokers).for_each(|h| c.kill(h));
    }
    let mut disks: Vec<Files> = (0..=brokers).map(|h| c.disk(h).files.clone()).collect();
    // What a compacted topic leaves, and DeleteRecords in another cluster.
    let lines: [(&str, &[u8]); 2] = match word {
        "record" => [("cleaner-offset-checkpoint", b"0\n1\norders 0 7\n"), ("log-start-offset-checkpoint", b"0\n0\n")],
        _ => [
            ("cleaner-offset-checkpoint", b"0\n1\norders 0 9000\n"),
            ("log-start-offset-checkpoint", b"0\n1\norders 0 5000\n"),
        ],
    };
    for disk in &mut disks[1..] {
        disk.extend(lines.map(|(file, content)| (Path::new(file), content.to_vec())));
    }
    disks
}

/// `orders-0/last.log` as the path it is on this disk.
fn resolve(files: &Files, file: &str) -> Option<Path> {
    let (dir, name) = file.rsplit_once('/').unwrap_or(("", file));
    let (which, suffix) = name.split_once('.').unwrap_or((name, ""));
    let suffix = format!(".{suffix}");
    let mut all = files.keys().filter(|p| p.parent().as_str() == dir && p.as_str().ends_with(&suffix));
    match which {
        "first" => all.next().cloned(),
        "middle" => all.nth(1).cloned(),
        "last" => all.next_back().cloned(),
        _ => Some(Path::new(file)).filter(|p| files.contains_key(p)),
    }
}

/// Damages a file of a disk. False: there is no such file, or nothing of it to damage so.
fn damage(files: &mut Files, file: &str, how: &str, other: &Files) -> bool {
    if file == "orders-0" {
        let before = files.len();
        files.retain(|p, _| how != "missing" || p.parent().as_str() != file);
        return files.len() < before;
    }
    let Some(path) = resolve(files, file) else { return false };
    let content = files[&path].clone();
    let damaged = match how {
        "missing" => {
            files.remove(&path);
            return true;
        }
        "other" => resolve(other, file).map(|p| other[&p].clone()),
        _ if content.is_empty() => None,
        "empty" => Some(Vec::new()),
        "cut" => Some(content[..content.len() / 2].to_vec()),
        "garbage" => Some((0..content.len().max(8)).map(|i| ((i * 37 + 11) % 251) as u8).collect()),
        _ => {
            let mut flipped = content.clone();
            flipped[content.len() / 2] ^= 1;
            Some(flipped)
        }
    };
    let Some(damaged) = damaged.filter(|d| *d != content) else { return false };
    files.insert(path, damaged);
    true
}

/// What came of a start on damaged disks.
struct Outcome {
    readable: usize,
    /// Segments that held something and are nowhere any more.
    deleted: usize,
    refused: bool,
    said: String,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match (self.readable, self.refused) {
            (ACKNOWLEDGED, _) => "all",
            (_, true) => "refuses",
            (0, false) => "none",
            _ => "part",
        }
    }
}

/// Reads from the beginning.
fn read(c: &mut Cluster) -> Result<BTreeSet<usize>, String> {
    let mut found = BTreeSet::new();
    if !c.is_up(0) {
        return Err("no controller".to_owned());
    }
    let Some(leads) = c.controller().partitions.first().map(|p| p.leader) else { return Err("no topic".to_owned()) };
    if leads == NodeId::NONE || !c.is_up(leads.0 as usize) {
        return Err("no leader".to_owned());
    }
    let host = leads.0 as usize;
    let account = c.broker(host).partitions.into_iter().next();
    let Some(account) = account else { return Err("the leader's log is withheld".to_owned()) };
    let mut at = account.log_start;
    while at < account.high_watermark {
        let data = fetched(c.ask(host, 9, fetch(at.0, -1, 10, 1)));
        let bytes = data.records.unwrap_or_default();
        if data.error_code != 0 || bytes.is_empty() {
            break;
        }
        // Checksums are not looked at, as librdkafka's consumers do not unless they are told to.
        for batch in batches(&bytes) {
            let Ok((header, batch)) = batch else { return Ok(found) };
            at = header.next_offset();
            for record in records(&batch).map_while(Result::ok) {
                let text = record.value.map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default();
                let mut words = text.split(' ');
                if words.next() == Some("record") {
                    found.extend(words.next().and_then(|n| n.parse::<usize>().ok()));
                }
            }
        }
    }
    Ok(found)
}

fn start_on(brokers: usize, disks: Vec<Files>) -> Outcome {
    let mut c = unstarted(brokers, CLUSTER);
    // By topic, so that a directory's new name is no deletion.
    let segments = |disk: &Files, also_empty: bool| -> BTreeSet<String> {
        let held = disk.iter().filter(|(p, data)| p.as_str().ends_with(".log") && (also_empty || !data.is_empty()));
        held.map(|(p, _)| format!("{}/{}", p.as_str().split(['.', '/']).next().unwrap_or(""), p.file_name())).collect()
    };
    let before: Vec<_> = disks.iter().map(|disk| segments(disk, false)).collect();
    for (host, disk) in disks.into_iter().enumerate() {
        c.set_disk(host, disk);
    }
    (0..=brokers).for_each(|h| c.start(h));
    c.run(6000);
    let mut said: Vec<String> = c.halted.iter().map(|(_, why)| format!("stops: {why}")).collect();
    for (_, event) in &c.traces {
        if let TraceEvent::Found { path, what } = event {
            // What a stray is called differs from start to start.
            let what = what.to_string();
            let what = what.split("; kept as").next().unwrap_or_default();
            said.push(format!("{path}: {what}"));
        }
    }
    let mut unique = BTreeSet::new();
    said.retain(|line| unique.insert(line.clone()));
    let readable = match read(&mut c) {
        Ok(found) => found.len(),
        Err(why) => {
            said.push(why);
            0
        }
    };
    let mut deleted = 0;
    for (host, before) in before.iter().enumerate() {
        deleted += before.difference(&segments(&c.disk(host).files, true)).count();
    }
    Outcome { readable, deleted, refused: !c.halted.is_empty(), said: said.join("; ") }
}

/// One cell; `None` if there is nothing to damage so.
fn cell(bases: &[Vec<Files>; 2], other: &[Files], end: &str, place: &str, file: &str, how: &str) -> Option<Outcome> {
    let mut disks = bases[usize::from(end == "killed")].clone();
    let brokers = disks.len() - 1;
    let (controllers, name) = file.split_once(':')?;
    let hosts = match (controllers, place) {
        ("c", _) => 0..=0,
        // The one that ended last: it may lead.
        (_, "one") => brokers..=brokers,
        _ => 1..=brokers,
    };
    let mut done = false;
    for host in hosts {
        done |= damage(&mut disks[host], name, how, &other[host]);
    }
    done.then(|| start_on(brokers, disks))
}

fn bases(brokers: usize) -> ([Vec<Files>; 2], Vec<Files>) {
    let of = |end| base(brokers, CLUSTER, "record", ACKNOWLEDGED, end);
    ([of("stopped"), of("killed")], base(brokers, OTHER, "alien", 6, "stopped"))
}

/// A file of the repository, below this crate; read and not included, so that it can be mended without compiling.
fn text_of(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

const DOCS: &str = "../../docs";
const HEAD: &str =
    "| end | replicas | file | damage | readable | deleted | what was said |\n|---|---|---|---|---|---|---|\n";

#[test]
#[expect(clippy::disallowed_methods, reason = "whether the file is written anew is no part of what is tried")]
fn damage_matrix() {
    let rewrite = std::env::var("KLAMM_DAMAGE").is_ok_and(|mode| mode == "write");
    let (bases, other) = bases(3);
    assert_eq!(start_on(3, bases[0].clone()).readable, ACKNOWLEDGED);
    let broker = BROKER_FILES.iter().map(|f| (format!("b:{f}"), &["one", "all"][..]));
    let files: Vec<_> = broker.chain(CONTROLLER_FILES.iter().map(|f| (format!("c:{f}"), &["one"][..]))).collect();
    let known = text_of(&format!("{DOCS}/damage.md"));
    let (mut table, mut cells, mut wrong) = (String::new(), 0, Vec::new());
    for (file, places) in &files {
        for (end, place, how) in product(&ENDS, places, &DAMAGES) {
            let Some(outcome) = cell(&bases, &other, end, place, file, how) else { continue };
            cells += 1;
            let key = format!("| {end} | {place} | {} | {how} |", file.replace(':', "/"));
            let row = format!("{key} {} | {} | {} |", outcome.readable, outcome.deleted, outcome.said);
            // Kafka, too, deletes what lies behind a batch that is not whole, where nothing says that it was on disk.
            let torn = end == "killed" && file.ends_with(".log") && !file.starts_with("c:");
            if outcome.deleted > 0 && !torn {
                wrong.push(format!("deleted: {row}"));
            }
            if place == "one" && end == "stopped" && file.starts_with("b:") && outcome.readable < ACKNOWLEDGED {
                wrong.push(format!("the others keep theirs: {row}"));
            }
            if rewrite {
                let _ = writeln!(table, "{row}");
            } else {
                let kept = known.lines().find(|line| line.starts_with(&key));
                if kept != Some(row.as_str()) {
                    wrong.push(format!("the file has {kept:?}, and this is {row}"));
                }
            }
        }
    }
    assert!(cells > 300, "{cells} cells");
    if rewrite {
        let text = known.split(HEAD).next().unwrap_or_default();
        let path = format!("{}/{DOCS}/damage.md", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, format!("{text}{HEAD}{table}")).unwrap();
    }
    assert!(wrong.is_empty(), "KLAMM_DAMAGE=write writes docs/damage.md anew:\n{}", wrong.join("\n"));
}

fn product<'a>(
    ends: &'a [&'a str],
    places: &'a [&'a str],
    damages: &'a [&'a str],
) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    let pairs = ends.iter().flat_map(move |end| places.iter().map(move |place| (*end, *place)));
    pairs.flat_map(move |(end, place)| damages.iter().map(move |how| (end, place, *how)))
}

/// What Kafka 4.4 did: `all`, `part` or `none` of the records readable, or `refuses`.
fn kafkas(all: &str, end: &str, file: &str, how: &str) -> Option<String> {
    let mut rows = all.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    rows.find(|f| f.len() > 3 && f[..3] == [end, file, how]).map(|f| f[3].to_owned())
}

/// Every row of the table in `docs/disk.md` is a case: a node of one broker, its only replica damaged.
#[test]
fn the_table_of_small_files_is_true() {
    let (bases, other) = bases(1);
    let kafkas_own = text_of("src/broker/tests/kafka-4.4.tsv");
    let (mut rows, mut wrong) = (0, Vec::new());
    for line in text_of(&format!("{DOCS}/disk.md")).lines().filter(|l| l.starts_with("| `b/") || l.starts_with("| `c/"))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [file, ends, damages, kafka, klamm, why] = cells[..] else { panic!("six columns: {line}") };
        let file = file.trim_matches('`');
        let first = |text: &str| text.split([':', ' ', '✓']).next().unwrap_or_default().to_owned();
        let (kafka_word, klamm_word) = (first(kafka), first(klamm));
        if kafka_word != klamm_word {
            assert!(!why.is_empty(), "the two differ, and the row does not say why: {line}");
        }
        for end in ends.split(", ") {
            for how in damages.split(", ") {
                rows += 1;
                let case = format!("{file}, {end}, {how}");
                let mut expect = |what: String, right: bool| wrong.extend((!right).then(|| format!("{case}: {what}")));
                if kafka.contains('✓') {
                    let was = kafkas(&kafkas_own, end, file, how);
                    expect(format!("Kafka: {was:?}"), was.as_deref() == Some(kafka_word.as_str()));
                }
                let Some(outcome) = cell(&bases, &other, end, "all", &file.replacen('/', ":", 1), how) else {
                    expect("there is nothing to damage".to_owned(), false);
                    continue;
                };
                let Outcome { readable, said, .. } = &outcome;
                let told = format!("Klamm: {} ({readable} of {ACKNOWLEDGED}), {said}", outcome.word());
                expect(told.clone(), outcome.word() == klamm_word);
                // To refuse keeps everything, and the row says why.
                let fewer = kafka_word == "all" && klamm_word != "all" && klamm_word != "refuses";
                expect(format!("fewer than Kafka keeps; {told}"), !fewer);
            }
        }
    }
    assert!(wrong.is_empty(), "docs/disk.md is not true:\n{}", wrong.join("\n"));
    assert!(rows >= 60, "{rows} cases");
}

/// A directory beside the replica's, as a kill leaves it: it stays, and disturbs nothing.
#[test]
fn directories_that_a_kill_leaves_stay() {
    let (bases, _) = bases(1);
    for dir in [
        "orders-0.0123456789abcdef0123456789abcdef-delete",
        "orders-0.0123456789abcdef0123456789abcdef-stray",
        "orders-0.0123456789abcdef0123456789abcdef-future",
        "strange",
        "gone-0",
    ] {
        let mut disks = bases[0].clone();
        let copied = disks[1].iter().filter(|(p, _)| p.parent().as_str() == "orders-0");
        let copied: Files =
            copied.map(|(p, data)| (Path::new(format!("{dir}/{}", p.file_name())), data.clone())).collect();
        disks[1].extend(copied.clone());
        let outcome = start_on(1, disks);
        assert_eq!((outcome.readable, outcome.deleted), (ACKNOWLEDGED, 0), "{dir}: {}", outcome.said);
    }
}
