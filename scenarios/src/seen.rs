//! How often the shipped scenarios were seen to show what they must: `scenarios/seen.toml`, measured by a run and
//! written by `klamm list --seen`. It only helps who has run too few seeds: no verdict depends on it.

use crate::schema::Scenario;
use klamm_reports::record::{RunRecord, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The file, as it was when this was built.
const FILE: &str = include_str!("../seen.toml");

/// What one scenario showed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    /// Seeds run.
    of: u64,
    /// By mark or check: the seeds that showed it.
    seen: BTreeMap<String, u64>,
}

fn measured() -> &'static BTreeMap<String, Measured> {
    static ALL: OnceLock<BTreeMap<String, Measured>> = OnceLock::new();
    ALL.get_or_init(|| toml::from_str(FILE).unwrap_or_default())
}

/// What of a scenario's demands is known to be seen how often.
pub fn before(scenario: &Scenario) -> BTreeMap<String, Seen> {
    let Some(known) = measured().get(&scenario.name) else { return BTreeMap::new() };
    let e = &scenario.expect;
    let seen = |name: &String| Some((name.clone(), Seen { seeds: *known.seen.get(name)?, of: known.of }));
    e.sometimes.iter().chain(&e.violations).filter_map(seen).collect()
}

/// The file anew: what is there already, and what these runs showed in its place.
pub fn with(runs: &[RunRecord]) -> String {
    let mut all = measured().clone();
    for s in runs.iter().flat_map(|r| &r.scenarios) {
        let marks = s.required_marks.iter().map(|m| (m.clone(), s.marks.get(m).copied().unwrap_or(0)));
        let hazards = s.expected.iter().map(|c| (c.clone(), s.findings.get(c).map_or(0, |n| n.seeds)));
        let seen: BTreeMap<String, u64> = marks.chain(hazards).collect();
        if !seen.is_empty() {
            all.insert(s.name.clone(), Measured { of: s.seeds.len() as u64, seen });
        }
    }
    let head = "# In how many seeds each shipped scenario showed what it must: measured, not decided.\n\
                # Written by `klamm list --seen <run dir>... > scenarios/seen.toml`.\n\n";
    format!("{head}{}", toml::to_string(&all).expect("figures are TOML"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use klamm_reports::record::{FindingCount, ScenarioRecord, SeedRecord};

    #[test]
    fn every_shipped_scenario_is_known_to_show_what_it_must() {
        assert!(toml::from_str::<BTreeMap<String, Measured>>(FILE).is_ok(), "{FILE}");
        for scenario in ["smoke", "groups", "services"].iter().flat_map(|suite| catalog::find(suite).unwrap()) {
            let known = before(&scenario);
            for name in scenario.expect.sometimes.iter().chain(&scenario.expect.violations) {
                let seen = known.get(name).unwrap_or_else(|| panic!("{}: `{name}` was not measured", scenario.name));
                assert!(seen.seeds > 0 && seen.seeds <= seen.of, "{}: {name} {seen:?}", scenario.name);
            }
        }
    }

    #[test]
    fn a_run_is_written_as_what_it_showed() {
        let s = ScenarioRecord {
            name: "made-up".into(),
            seeds: vec![SeedRecord::default(); 3],
            required_marks: vec!["elected".into()],
            expected: vec!["lost-write".into()],
            marks: BTreeMap::from([("elected".to_owned(), 2), ("other".to_owned(), 3)]),
            findings: BTreeMap::from([("lost-write".to_owned(), FindingCount { seeds: 1, ..FindingCount::default() })]),
            ..ScenarioRecord::default()
        };
        let text = with(&[RunRecord { scenarios: vec![s], ..RunRecord::default() }]);
        let read: BTreeMap<String, Measured> = toml::from_str(&text).unwrap();
        let seen = BTreeMap::from([("elected".to_owned(), 2), ("lost-write".to_owned(), 1)]);
        assert_eq!(read["made-up"], Measured { of: 3, seen });
    }
}
