//! What went wrong in a run, once, at its end: how many seeds failed, for how many distinct causes, the worst first, and
//! a folder that shows each check. Where many seeds fail of one cause, it is told once.

use crate::record::{CauseRecord, FailureRecord, RunRecord};
use crate::severity::{kind, severity};
use crate::text::count;
use std::collections::BTreeMap;

/// Folders kept for each check that fires first in its seed; more are only counted.
pub const FOLDERS_PER_CHECK: usize = 3;
/// Causes told of one scenario; of more only the worst.
pub const CAUSES_PER_SCENARIO: usize = 64;

/// Which failing seeds get a folder: of each check the first few, and whichever seed is the first to show a check.
/// Asked in the order of seeds, it answers the same for a run and for its shards put together.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    first: BTreeMap<String, usize>,
    shown: BTreeMap<String, usize>,
}

impl Folders {
    /// Whether the next failing seed gets one. `first` is the check that fired first, `all` are those that fired.
    pub fn keeps<'a>(&self, first: &str, mut all: impl Iterator<Item = &'a str>) -> bool {
        self.first.get(first).is_none_or(|n| *n < FOLDERS_PER_CHECK) || all.any(|c| !self.shown.contains_key(c))
    }
    /// A folder was made.
    pub fn kept<'a>(&mut self, first: &str, all: impl Iterator<Item = &'a str>) {
        *self.first.entry(first.to_owned()).or_default() += 1;
        all.for_each(|c| *self.shown.entry(c.to_owned()).or_default() += 1);
    }
    /// Of failures in the order of seeds, those that a run over all of them would have kept.
    pub fn choose(failures: Vec<FailureRecord>) -> Vec<FailureRecord> {
        let mut folders = Folders::default();
        let keep = |f: &FailureRecord| {
            let keeps = folders.keeps(&f.check, f.every_check());
            if keeps {
                folders.kept(&f.check, f.every_check());
            }
            keeps
        };
        failures.into_iter().filter(keep).collect()
    }
}

impl FailureRecord {
    /// Every check that was violated; an old record knows only the first.
    pub fn every_check(&self) -> impl Iterator<Item = &str> {
        let first = self.checks.is_empty().then_some(self.check.as_str());
        self.checks.iter().map(String::as_str).chain(first)
    }
}

/// What was found, without the partition and without numbers: two findings of one cause read the same.
pub fn cause(detail: &str, partition: Option<&str>) -> String {
    let mut text = partition.filter(|p| !p.is_empty()).map_or(detail.to_owned(), |p| detail.replace(p, "PARTITION"));
    // A witness may name another partition of the same topic.
    if let Some((topic, _)) = partition.and_then(|p| p.rsplit_once('-')).filter(|(topic, _)| !topic.is_empty()) {
        text = text.replace(topic, "TOPIC");
    }
    let mut said = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(from) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, word) = rest.split_at(from);
        let (word, after) = word.split_at(word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len()));
        said.push_str(before);
        said.push_str(&without_numbers(word));
        rest = after;
    }
    said.push_str(rest);
    // 1.25 and 3 are both a number.
    while said.contains("#.#") {
        said = said.replace("#.#", "#");
    }
    said.replace("PARTITION", "the partition").replace("TOPIC", "the topic")
}

/// A word with `#` for each number in it. A value or a checksum is one number, though it has letters.
fn without_numbers(word: &str) -> String {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let hexadecimal = digits.chars().all(|c| c.is_ascii_hexdigit());
    if hexadecimal && word.contains(|c: char| c.is_ascii_digit()) && (digits.len() > 3 || digits.len() < word.len()) {
        return "#".to_owned();
    }
    let mut said = String::with_capacity(word.len());
    for c in word.chars() {
        match c {
            '0'..='9' if said.ends_with('#') => {}
            '0'..='9' => said.push('#'),
            c => said.push(c),
        }
    }
    said
}

/// Adds causes to others, those of one check and sentence together.
pub fn add(all: &mut Vec<CauseRecord>, more: &[CauseRecord]) {
    for c in more {
        match all.iter_mut().find(|have| have.check == c.check && have.cause == c.cause) {
            Some(have) => {
                have.times += c.times;
                have.seeds += c.seeds;
                if c.first < have.first {
                    (have.first, have.example) = (c.first, c.example.clone());
                }
            }
            None => all.push(c.clone()),
        }
    }
}

/// Puts causes in order, the worst and most frequent first.
pub fn order(all: &mut [CauseRecord]) {
    all.sort_by(|a, b| {
        let key = |c: &CauseRecord| (severity(&c.check), std::cmp::Reverse(c.seeds), std::cmp::Reverse(c.times));
        key(a).cmp(&key(b)).then_with(|| (&a.check, &a.cause).cmp(&(&b.check, &b.cause)))
    });
}

/// One line of a recap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The check.
    pub check: String,
    /// What kind of violation it is, in words.
    pub kind: &'static str,
    /// What was found, as one of the seeds shows it; others differ in partitions and numbers.
    pub example: String,
    /// Seeds that showed it.
    pub seeds: u64,
    /// Of these scenarios.
    pub scenarios: Vec<String>,
    /// A folder that shows the check, relative to the run's.
    pub folder: Option<String>,
    /// The command that shows it again.
    pub replay: Option<String>,
}

/// What went wrong in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recap {
    /// Seeds with a violation.
    pub failing: u64,
    /// Seeds run.
    pub seeds: u64,
    /// Distinct causes, the worst first.
    pub lines: Vec<Line>,
}

impl Recap {
    /// Of a run; `None` if nothing was violated.
    pub fn of(run: &RunRecord) -> Option<Recap> {
        let seeds = run.scenarios.iter().flat_map(|s| &s.seeds);
        let failing = seeds.clone().filter(|s| !s.violated.is_empty()).count() as u64;
        if failing == 0 {
            return None;
        }
        let mut all: Vec<CauseRecord> = Vec::new();
        for s in &run.scenarios {
            add(&mut all, &s.causes);
        }
        order(&mut all);
        let line = |c: CauseRecord| {
            let shows = |s: &&crate::record::ScenarioRecord| {
                s.causes.iter().any(|have| have.check == c.check && have.cause == c.cause)
            };
            let showing: Vec<_> = run.scenarios.iter().filter(shows).collect();
            // The folder of a seed with this very cause, or else one that shows the check.
            let failures = || showing.iter().flat_map(|s| s.failures.iter().map(move |f| (s, f)));
            let of_check = |f: &FailureRecord| f.every_check().any(|check| check == c.check);
            let very = failures().find(|(s, f)| {
                of_check(f) && s.causes.iter().any(|have| have.cause == c.cause && have.first == f.index)
            });
            let folder = very.or_else(|| failures().find(|(_, f)| of_check(f))).map(|(_, f)| f);
            Line {
                kind: kind(&c.check),
                scenarios: showing.iter().map(|s| s.name.clone()).collect(),
                folder: folder.map(|f| f.folder.clone()),
                replay: folder.map(|f| f.replay.clone()),
                // An old record has no example.
                example: if c.example.is_empty() { c.cause } else { c.example },
                check: c.check,
                seeds: c.seeds,
            }
        };
        Some(Recap { failing, seeds: seeds.count() as u64, lines: all.into_iter().map(line).collect() })
    }

    /// Its heading.
    pub fn head(&self) -> String {
        format!(
            "{} of {} failed, for {}; the worst first",
            crate::text::number(self.failing),
            count(self.seeds, "seed"),
            count(self.lines.len() as u64, "distinct cause")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ScenarioRecord, SeedRecord};

    fn failure(index: u64, checks: &[&str]) -> FailureRecord {
        FailureRecord {
            id: format!("F{index}"),
            seed: format!("{index:#x}"),
            index,
            check: checks[0].to_owned(),
            checks: checks.iter().map(|c| (*c).to_owned()).collect(),
            at_ns: 1,
            message: String::new(),
            shrunk: None,
            faults: 0,
            folder: format!("F{index}"),
            replay: format!("klamm replay F{index}"),
        }
    }

    #[test]
    fn each_check_has_a_folder_however_many_seeds_fail_and_shards_agree() {
        let mut all: Vec<FailureRecord> = (1..=40).map(|i| failure(i, &["duplicate"])).collect();
        all[20] = failure(21, &["duplicate", "lost-write"]);
        all[30] = failure(31, &["high-watermark"]);
        let whole: Vec<u64> = Folders::choose(all.clone()).iter().map(|f| f.index).collect();
        assert_eq!(whole, [1, 2, 3, 21, 31]);
        for n in [2, 3, 7] {
            let shard = |k: u64| Folders::choose(all.iter().filter(|f| f.index % n == k).cloned().collect());
            let mut together: Vec<FailureRecord> = (0..n).flat_map(shard).collect();
            together.sort_by_key(|f| f.index);
            let chosen: Vec<u64> = Folders::choose(together).iter().map(|f| f.index).collect();
            assert_eq!(chosen, whole, "{n} shards");
        }
    }

    #[test]
    fn a_cause_has_no_partition_and_no_numbers() {
        let one = cause("orders-0 offset 1042: acknowledged at 12.301s by broker 2, absent", Some("orders-0"));
        let other = cause("orders-11 offset 7: acknowledged at 3s by broker 1, absent", Some("orders-11"));
        assert_eq!(one, other);
        assert_eq!(one, "the partition offset #: acknowledged at #s by broker #, absent");
        assert_eq!(cause("b1 panicked", None), "b# panicked");
        let said = cause("offset 7 holds 0x10000000af; the CRC is 3cf2d, added at 1.5s", None);
        assert_eq!(said, "offset # holds #; the CRC is #, added at #s");
    }

    #[test]
    fn a_recap_tells_each_cause_once_and_the_loss_first() {
        let of = |check: &str, seeds: u64, first: u64| CauseRecord {
            check: check.to_owned(),
            cause: format!("{check} happened at #"),
            example: format!("{check} happened at {first}"),
            times: seeds,
            seeds,
            first,
        };
        let seed = |violated: &[&str]| SeedRecord {
            violated: violated.iter().map(|c| (*c).to_owned()).collect(),
            ..SeedRecord::default()
        };
        let scenario = ScenarioRecord {
            name: "a".into(),
            seeds: vec![seed(&["high-watermark"]), seed(&["high-watermark", "lost-write"]), seed(&[])],
            causes: vec![of("high-watermark", 2, 1), of("lost-write", 1, 2)],
            failures: vec![failure(1, &["high-watermark"]), failure(2, &["high-watermark", "lost-write"])],
            ..ScenarioRecord::default()
        };
        let other = ScenarioRecord {
            name: "b".into(),
            seeds: vec![seed(&["high-watermark"])],
            causes: vec![of("high-watermark", 1, 1)],
            ..ScenarioRecord::default()
        };
        let run = RunRecord { scenarios: vec![scenario, other], ..RunRecord::default() };
        let recap = Recap::of(&run).unwrap();
        assert_eq!(recap.head(), "3 of 4 seeds failed, for 2 distinct causes; the worst first");
        let told: Vec<(&str, u64, Option<&str>)> =
            recap.lines.iter().map(|l| (l.check.as_str(), l.seeds, l.folder.as_deref())).collect();
        assert_eq!(told, [("lost-write", 1, Some("F2")), ("high-watermark", 3, Some("F1"))]);
        assert_eq!(recap.lines[1].scenarios, ["a", "b"]);
        // One that was found, and not what all have in common.
        assert_eq!(recap.lines[0].example, "lost-write happened at 2");
        let mut causes = vec![of("duplicate", 1, 5)];
        add(&mut causes, &[of("duplicate", 2, 3), of("duplicate", 1, 9)]);
        assert_eq!((causes[0].seeds, causes[0].first, causes[0].example.as_str()), (4, 3, "duplicate happened at 3"));
        assert!(Recap::of(&RunRecord::default()).is_none());
    }
}
