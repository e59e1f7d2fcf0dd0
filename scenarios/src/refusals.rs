//! What a scenario asks for and the world it is to run in cannot do, by name. Looked at before anything runs: no world
//! leaves part of a scenario out.

use crate::run::WorldKind;
use crate::schema::Scenario;
use klamm_world::faults::{Action, Who};
use klamm_world::turmoil;
use std::collections::BTreeSet;

/// Why a world cannot have a fault; `None` if it can.
pub fn refuses(world: WorldKind, action: &Action) -> Option<&'static str> {
    match world {
        WorldKind::Des => None,
        WorldKind::Turmoil => turmoil::refusal(action),
    }
}

/// What of a scenario a world cannot do: each with the reason. Empty if it can do all of it.
pub fn refusals(scenario: &Scenario, world: WorldKind) -> Vec<String> {
    if world == WorldKind::Des {
        return Vec::new();
    }
    let mut found = BTreeSet::new();
    for fault in &scenario.faults {
        // What is refused is refused for its kind.
        if let Some(why) = refuses(world, &fault.at_its_first().plan().action) {
            found.insert(format!("fault `{}`: {why}", fault.kind));
        }
    }
    let cluster = &scenario.cluster;
    if cluster.clock_drift_ppm.extremes().iter().any(|ppm| **ppm != 0) {
        let why = turmoil::refusal(&Action::ClockDrift { who: Who(String::new()), ppm: 1 }).unwrap_or_default();
        found.insert(format!("cluster setting `clock-drift-ppm`: {why}"));
    }
    if cluster.network.table().bandwidth.is_some() {
        found.insert("cluster setting `network.bandwidth`: bytes cost nothing in the turmoil world".to_owned());
    }
    found.into_iter().collect()
}
