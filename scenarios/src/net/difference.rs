//! What differs between what is recorded and what is found now, by switch and check.

use super::file::instant;
use super::{Entry, Finding, Switch};
use crate::seeds::Seed;
use klamm_model::checks::Check;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What became of a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// It is recorded, and not found any more.
    Lost,
    /// It is found, and not recorded.
    New,
    /// It is found at another instant or partition, under another permission, or more or less often.
    Changed,
}

/// The findings of a check in one scenario that went the same way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The switch.
    pub switch: Switch,
    /// The check.
    pub check: Check,
    /// The scenario.
    pub scenario: String,
    /// What became of the findings.
    pub change: Change,
    /// In which seeds, with what was and what is, in words.
    pub seeds: Vec<(Seed, String)>,
}

/// All that differs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Differences {
    /// Scenarios under a switch that only one side has, with a word on which.
    pub unmatched: Vec<(Switch, String, &'static str)>,
    /// Findings.
    pub findings: Vec<Difference>,
    /// Scenarios under a switch in which other things happened than are recorded: a reason why findings may differ, and no
    /// difference by itself.
    pub other_events: Vec<(Switch, String)>,
}

impl Differences {
    /// Whether both sides found the same.
    pub fn is_empty(&self) -> bool {
        self.unmatched.is_empty() && self.findings.is_empty()
    }
}

type BySeed<'a> = BTreeMap<(Check, Seed), Vec<&'a Finding>>;

fn by_seed<'a>(entry: &'a Entry, only: &BTreeSet<Seed>) -> BySeed<'a> {
    let mut by = BySeed::new();
    for f in entry.findings.iter().filter(|f| only.is_empty() || only.contains(&f.seed)) {
        by.entry((f.check, f.seed)).or_default().push(f);
    }
    by
}

/// Compares. `only` names the seeds that ran now; if it is empty, all of them did.
pub fn differences(recorded: &[Entry], now: &[Entry], only: &BTreeSet<Seed>) -> Differences {
    let mut all = Differences::default();
    let find =
        |entries: &[Entry], e: &Entry| entries.iter().position(|o| o.switch == e.switch && o.scenario == e.scenario);
    for before in recorded.iter().filter(|e| find(now, e).is_none()) {
        all.unmatched.push((before.switch, before.scenario.clone(), "recorded, but not run now"));
    }
    for after in now {
        let Some(before) = find(recorded, after).map(|at| &recorded[at]) else {
            all.unmatched.push((after.switch, after.scenario.clone(), "run now, but not recorded"));
            continue;
        };
        if before.seeds == after.seeds && before.events != after.events {
            all.other_events.push((after.switch, after.scenario.clone()));
        }
        all.findings.extend(between(before, after, only));
    }
    all.findings
        .sort_by(|a, b| (a.switch, &a.check, a.change, &a.scenario).cmp(&(b.switch, &b.check, b.change, &b.scenario)));
    all
}

fn between(before: &Entry, after: &Entry, only: &BTreeSet<Seed>) -> Vec<Difference> {
    let (old, new) = (by_seed(before, only), by_seed(after, &BTreeSet::new()));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut gathered: BTreeMap<(Check, Change), Vec<(Seed, String)>> = BTreeMap::new();
    for key in keys {
        let (was, is) = (old.get(key), new.get(key));
        let (change, words) = match (was, is) {
            (Some(was), None) => (Change::Lost, words(was)),
            (None, Some(is)) => (Change::New, words(is)),
            (Some(was), Some(is)) if was != is => (Change::Changed, format!("{} -> {}", words(was), words(is))),
            _ => continue,
        };
        gathered.entry((key.0, change)).or_default().push((key.1, words));
    }
    let difference = |((check, change), seeds): ((Check, Change), _)| Difference {
        switch: after.switch,
        check,
        scenario: after.scenario.clone(),
        change,
        seeds,
    };
    gathered.into_iter().map(difference).collect()
}

fn words(findings: &[&Finding]) -> String {
    let one = |f: &&Finding| {
        let place = f.partition.as_ref().map_or(String::new(), |p| format!(" on {p}"));
        let verdict = f.permission.as_ref().map_or("a violation".to_owned(), |p| format!("permitted by {p}"));
        let times = if f.count > 1 { format!(", {} times", f.count) } else { String::new() };
        format!("at {}s{place}, {verdict}{times}", instant(f.at))
    };
    findings.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Lost => "lost",
            Change::New => "new",
            Change::Changed => "changed",
        })
    }
}

/// Seeds that are shown of a difference.
const SHOWN: usize = 3;

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (switch, scenario, side) in &self.unmatched {
            writeln!(f, "{}: {scenario} is {side}", switch.id())?;
        }
        let mut under = None;
        for d in &self.findings {
            if under.replace((d.switch, &d.check)) != Some((d.switch, &d.check)) {
                writeln!(f, "{}: {}", d.switch.id(), d.check)?;
            }
            let seeds = if d.seeds.len() == 1 { "seed" } else { "seeds" };
            writeln!(f, "  {:<8} {}: {} {seeds}", d.change.to_string(), d.scenario, d.seeds.len())?;
            for (seed, words) in d.seeds.iter().take(SHOWN) {
                writeln!(f, "           {seed} {words}")?;
            }
        }
        if !self.other_events.is_empty() {
            let what = self.other_events.iter().map(|(switch, scenario)| format!("{} in {scenario}", switch.id()));
            writeln!(f, "Other events than are recorded, under {}.", what.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::defects::Defect;

    fn finding(seed: u64, check: &str, at: u64, permission: Option<&str>) -> Finding {
        let (check, permission) = (check.parse().unwrap(), permission.map(str::to_owned));
        Finding { seed: Seed(seed), check, at, partition: None, permission, count: 1 }
    }

    fn entry(findings: Vec<Finding>) -> Entry {
        let (switch, scenario) = (Switch::On(Defect::NoDedupWindow), "tiny".to_owned());
        Entry { switch, scenario, seeds: 2, events: 1, findings }
    }

    fn told(before: Entry, after: Entry) -> Vec<String> {
        let all = differences(&[before], &[after], &BTreeSet::new());
        all.findings.iter().map(|d| format!("{} {} {}", d.change, d.check, d.seeds.len())).collect()
    }

    #[test]
    fn what_is_lost_new_or_changed_is_told_by_check() {
        let before = entry(vec![
            finding(1, "duplicate", 5, None),
            finding(2, "duplicate", 5, None),
            finding(2, "lost-write", 6, None),
        ]);
        assert!(told(before.clone(), before.clone()).is_empty());
        let after = entry(vec![finding(1, "unseen", 7, None), finding(2, "lost-write", 6, Some("L"))]);
        assert_eq!(told(before, after), ["lost duplicate 2", "changed lost-write 1", "new unseen 1"]);
    }

    #[test]
    fn another_instant_count_or_partition_is_a_change() {
        let before = finding(1, "duplicate", 5, None);
        let others = [
            finding(1, "duplicate", 6, None),
            Finding { count: 2, ..before.clone() },
            Finding { partition: Some("orders-0".to_owned()), ..before.clone() },
        ];
        for after in others {
            assert_eq!(told(entry(vec![before.clone()]), entry(vec![after])), ["changed duplicate 1"]);
        }
    }

    #[test]
    fn only_what_ran_now_is_compared() {
        let before = entry(vec![finding(1, "duplicate", 5, None), finding(2, "duplicate", 5, None)]);
        let after = Entry { seeds: 1, ..entry(vec![finding(1, "duplicate", 5, None)]) };
        assert!(
            differences(std::slice::from_ref(&before), std::slice::from_ref(&after), &BTreeSet::from([Seed(1)]))
                .is_empty()
        );
        assert!(!differences(&[before], &[after], &BTreeSet::new()).is_empty());
    }

    #[test]
    fn a_scenario_that_one_side_lacks_is_a_difference_and_other_events_are_not() {
        let one = entry(vec![]);
        assert!(!differences(std::slice::from_ref(&one), &[], &BTreeSet::new()).is_empty());
        assert!(!differences(&[], std::slice::from_ref(&one), &BTreeSet::new()).is_empty());
        let other = Entry { events: 2, ..one.clone() };
        let all = differences(&[one], &[other], &BTreeSet::new());
        assert!(all.is_empty() && all.other_events.len() == 1);
    }
}
