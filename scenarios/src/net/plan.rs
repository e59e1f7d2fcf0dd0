//! Which scenarios are run under which defect. The choice is data, in `scenarios/net/plan.toml`.

use super::Switch;
use crate::catalog;
use crate::schema::Scenario;
use crate::seeds::Seed;
use klamm_model::defects::Defect;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const TEXT: &str = include_str!("../../net/plan.toml");

/// What is run.
#[derive(Debug)]
pub struct Plan {
    /// The seed that all others derive from.
    pub master: Seed,
    /// Seeds of each scenario.
    pub seeds: u64,
    scenarios: BTreeMap<String, Scenario>,
    of: BTreeMap<Switch, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    master: String,
    seeds: u64,
    defect: BTreeMap<String, Choice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    /// Scenarios that show it.
    #[serde(default)]
    caught: Vec<String>,
    /// Scenarios whose subject it is, and that do not show it.
    #[serde(default)]
    should: Vec<String>,
}

impl Plan {
    /// The plan of this program.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn own() -> Plan {
        Plan::parse(TEXT).unwrap_or_else(|e| panic!("scenarios/net/plan.toml: {e}"))
    }

    fn parse(text: &str) -> Result<Plan, String> {
        let text: Text = toml::from_str(text).map_err(|e| e.to_string())?;
        let master = text.master.parse().map_err(|e| format!("master: {e}"))?;
        let known: BTreeMap<String, Scenario> = catalog::embedded().map(|(_, s)| (s.name.clone(), s)).collect();
        let mut of = BTreeMap::new();
        let mut all = BTreeSet::new();
        for (id, choice) in text.defect {
            let defect: Defect = id.parse().map_err(|e| format!("{e}"))?;
            let names: Vec<String> = choice.caught.into_iter().chain(choice.should).collect();
            if let Some(name) = names.iter().find(|name| !known.contains_key(*name)) {
                return Err(format!("{id}: there is no scenario `{name}`"));
            }
            if names.is_empty() || names.iter().collect::<BTreeSet<_>>().len() < names.len() {
                return Err(format!("{id}: needs scenarios, each once"));
            }
            all.extend(names.iter().cloned());
            of.insert(Switch::On(defect), names);
        }
        if let Some(defect) = Defect::ALL.iter().find(|d| !of.contains_key(&Switch::On(**d))) {
            return Err(format!("nothing is said of {defect}"));
        }
        let scenarios = known.into_iter().filter(|(name, _)| all.contains(name)).collect();
        of.insert(Switch::Off, all.into_iter().collect());
        Ok(Plan { master, seeds: text.seeds, scenarios, of })
    }

    /// The scenarios that are run under a switch; under none, every scenario of the plan.
    pub fn scenarios(&self, switch: Switch) -> Vec<&Scenario> {
        self.of[&switch].iter().map(|name| &self.scenarios[name]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defect_has_scenarios_and_the_correct_code_has_all_of_them() {
        let plan = Plan::own();
        let all = plan.scenarios(Switch::Off);
        for switch in Switch::all() {
            let scenarios = plan.scenarios(switch);
            assert!(!scenarios.is_empty() && scenarios.iter().all(|s| all.contains(s)), "{switch:?}");
        }
        assert!(plan.seeds > 0);
    }

    #[test]
    fn slips_are_named() {
        let slip = |change: fn(&str) -> String| Plan::parse(&change(TEXT)).unwrap_err();
        assert!(slip(|t| t.replace("[defect.no-dedup-window]", "[defect.dedup]")).contains("dedup"));
        assert!(slip(|t| t.replace("leader-crash-acks-all", "leader-crsh")).contains("no scenario `leader-crsh`"));
        assert!(slip(|t| t.replace("caught", "cought")).contains("cought"));
        assert!(slip(|t| t[..t.rfind("[defect.").unwrap()].to_owned()).contains("nothing is said of"));
    }
}
