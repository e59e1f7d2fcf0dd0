//! The world that a seed runs in: one of two, behind one face.

use klamm_world::des::{Sim, SimConfig};
use klamm_world::shell::planted::Planted;
use klamm_world::turmoil::Turmoil;
use klamm_world::world::World;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorldKind {
    /// Discrete events and typed messages: the default.
    #[default]
    Des,
    /// The real shell, on turmoil's network.
    Turmoil,
}

impl WorldKind {
    /// All of them.
    pub const ALL: [WorldKind; 2] = [WorldKind::Des, WorldKind::Turmoil];
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            WorldKind::Des => "des",
            WorldKind::Turmoil => "turmoil",
        }
    }
}

impl fmt::Display for WorldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WorldKind {
    type Err = String;
    fn from_str(name: &str) -> Result<WorldKind, String> {
        WorldKind::ALL.into_iter().find(|w| w.name() == name).ok_or_else(|| {
            let hint = crate::suggest::nearest(name, WorldKind::ALL.iter().map(|w| w.name()));
            format!("there is no world `{name}`{hint}")
        })
    }
}

impl WorldKind {
    /// An empty world of this kind. `planted` is for the one that has a shell.
    pub(super) fn build(self, config: SimConfig, planted: Option<Planted>) -> Box<dyn World> {
        match self {
            WorldKind::Des => Box::new(Sim::new(config)),
            WorldKind::Turmoil => {
                let mut world = Turmoil::new(&config);
                world.plant(planted);
                Box::new(world)
            }
        }
    }
}
