//! One promise, two worlds: a scenario must hold in both, or show the same violations in both. Seeds are never compared one by
//! one: what the worlds draw differs.

use crate::refusals::refusals;
use crate::run::WorldKind;
use crate::schema::Scenario;
use klamm_reports::record::ScenarioRecord;
use std::collections::BTreeSet;

/// What a scenario came to in one world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Came {
    /// Seeds run.
    pub seeds: u64,
    /// Violations seen that nothing permits, by check; those that the scenario merely tolerates are left out.
    pub names: BTreeSet<String>,
}

impl Came {
    /// From a campaign's record of a scenario.
    pub fn of(scenario: &Scenario, record: &ScenarioRecord) -> Came {
        let seen = record.findings.iter().filter(|(_, count)| count.violations > 0).map(|(check, _)| check);
        let tolerated = |check: &&String| scenario.expect.permits.contains(check);
        Came { seeds: record.seeds.len() as u64, names: seen.filter(|c| !tolerated(c)).cloned().collect() }
    }

    /// In words.
    pub fn words(&self) -> String {
        if self.names.is_empty() {
            return "held".to_owned();
        }
        self.names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// Whether what came in two worlds is one promise kept: nothing beyond what the scenario expects, and the same of that.
pub fn agrees(scenario: &Scenario, a: &Came, b: &Came) -> bool {
    let expected = |name: &String| scenario.expect.violations.contains(name);
    a.names == b.names && a.names.iter().all(expected)
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

    fn came(names: &[&str]) -> Came {
        Came { seeds: 1, names: names.iter().map(|n| (*n).to_owned()).collect() }
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
