//! One promise, two worlds: a scenario must hold in both, or show the same violations in both. Seeds are never compared one by
//! one: what the worlds draw differs.

use crate::refusals::refusals;
use crate::run::WorldKind;
use crate::schema::Scenario;
use klamm_reports::record::{ScenarioRecord, Verdict};
use std::collections::BTreeSet;

/// What a scenario came to in one world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Came {
    /// Seeds run.
    pub seeds: u64,
    /// Its verdict there.
    pub verdict: Verdict,
    /// Violations seen, by check: those that the scenario expects, and those that nothing permits; what it merely
    /// tolerates is left out.
    pub names: BTreeSet<String>,
}

impl Came {
    /// From a campaign's record of a scenario.
    pub fn of(scenario: &Scenario, record: &ScenarioRecord) -> Came {
        let e = &scenario.expect;
        let counts = record.findings.iter().filter(|(check, count)| {
            // What a hazard is about may well be permitted by what happened, and is there all the same.
            e.violations.contains(check) || count.violations > 0 && !e.permits.contains(check)
        });
        Came {
            seeds: record.seeds.len() as u64,
            verdict: record.verdict,
            names: counts.map(|(check, _)| check.clone()).collect(),
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        let word = self.verdict.word();
        if self.names.is_empty() {
            return word.to_owned();
        }
        format!("{word}, {}", self.names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    }
}

/// Whether what came in two worlds is one promise kept: nothing beyond what the scenario expects, and the same of that.
/// A situation that one world did not meet in so few seeds is no other promise; the verdict says that it was not shown.
pub fn agrees(scenario: &Scenario, a: &Came, b: &Came) -> bool {
    let expected = |name: &String| scenario.expect.violations.contains(name);
    let short = |v: Verdict| if v == Verdict::NotShown { Verdict::Held } else { v };
    short(a.verdict) == short(b.verdict) && a.names == b.names && a.names.iter().all(expected)
}

/// The verdict of a comparison: a difference is a violation of the one promise, and nothing is better than its worlds.
pub fn verdict(scenario: &Scenario, a: &Came, b: &Came) -> Verdict {
    let same = if agrees(scenario, a, b) { Verdict::Held } else { Verdict::Violated };
    Verdict::worst([same, a.verdict, b.verdict])
}

/// Those that every world can run, and why the others cannot be.
pub fn expressible(scenarios: Vec<Scenario>) -> (Vec<Scenario>, Vec<(String, Vec<String>)>) {
    let mut refused = Vec::new();
    let all = scenarios.into_iter().filter(|scenario| {
        let why: Vec<String> = WorldKind::ALL.iter().flat_map(|world| refusals(scenario, *world)).collect();
        let can = why.is_empty();
        refused.extend((!can).then(|| (scenario.name.clone(), why)));
        can
    });
    (all.collect(), refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use klamm_reports::record::FindingCount;

    fn came(names: &[&str]) -> Came {
        Came { seeds: 1, verdict: Verdict::Held, names: names.iter().map(|n| (*n).to_owned()).collect() }
    }

    #[test]
    fn only_the_same_expected_violations_agree() {
        let mut scenario = catalog::find("leader-crash-acks-all").unwrap().remove(0);
        assert!(agrees(&scenario, &came(&[]), &came(&[])));
        assert!(!agrees(&scenario, &came(&["lost-write"]), &came(&["lost-write"])), "nobody expects it");
        scenario.expect.violations = vec!["lost-write".to_owned()];
        assert!(agrees(&scenario, &came(&["lost-write"]), &came(&["lost-write"])));
        assert!(!agrees(&scenario, &came(&["lost-write"]), &came(&[])));
        assert!(!agrees(&scenario, &came(&["lost-write", "duplicate"]), &came(&["lost-write", "duplicate"])));
        // What neither world has shown is the same in both, and shows nothing.
        let not_shown = Came { verdict: Verdict::NotShown, ..came(&[]) };
        assert!(agrees(&scenario, &not_shown, &not_shown));
        assert_eq!(verdict(&scenario, &not_shown, &not_shown), Verdict::NotShown);
        assert_eq!(verdict(&scenario, &not_shown, &came(&[])), Verdict::NotShown, "one world met too little");
        assert_eq!(not_shown.words(), "not shown");
    }

    #[test]
    fn a_hazard_counts_though_it_is_permitted_and_what_is_tolerated_does_not() {
        let mut scenario = catalog::find("min-isr-1").unwrap().remove(0);
        scenario.expect.permits = vec!["duplicate".to_owned()];
        let mut record = ScenarioRecord::default();
        let mut note = |check: &str, violations| {
            record.findings.insert(check.to_owned(), FindingCount { violations, ..FindingCount::default() });
        };
        note("lost-write", 0);
        note("unseen", 0);
        note("duplicate", 3);
        note("committed-offset", 1);
        assert_eq!(Came::of(&scenario, &record).names, came(&["lost-write", "committed-offset"]).names);
    }

    #[test]
    fn what_a_world_cannot_do_is_named() {
        let (can, refused) = expressible(catalog::find("smoke").unwrap());
        assert!(can.len() >= 20, "{}", can.len());
        let of = |name: &str| &refused.iter().find(|(n, _)| n == name).expect("refused").1;
        assert!(of("diverging-tails")[0].starts_with("fault `hold`: "), "{refused:?}");
        assert!(
            of("clock-step").iter().any(|why| why.starts_with("cluster setting `clock-drift-ppm`: ")),
            "{refused:?}"
        );
    }
}
