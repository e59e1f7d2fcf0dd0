//! What charts are drawn from and shards are merged by, beside the record: `figures.json`. Versioned plain data.
//!
//! Whatever a table or a chart shows of many seeds is kept here in a form that adds up exactly; the latencies
//! themselves are in the histogram logs beside it.

use crate::charts::{Band, LagSeries, Lane, Moment, Window};
use crate::histogram::Latencies;
use serde::{Deserialize, Serialize};

/// The version of [`RunFigures`].
pub const SCHEMA: u32 = 1;

/// Figures of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunFigures {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Of each scenario, in the record's order.
    pub scenarios: Vec<ScenarioFigures>,
}

/// Figures of one scenario over its seeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScenarioFigures {
    /// Response times from the intended send time.
    pub response: Latencies,
    /// Service times from the actual send time.
    pub service: Latencies,
    /// How long each rebalance took, nanoseconds of virtual time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebalances: Vec<u64>,
    /// How long each member stood still at each rebalance, nanoseconds of virtual time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stopped: Vec<u64>,
    /// What became of records on their way through services, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ServiceLatencies>,
    /// Each seed's place in the sweep (from 0) and what it took on the wall, nanoseconds of one core; in order.
    pub walls: Vec<(u64, u64)>,
    /// The seed that is drawn over time.
    pub first: Option<FirstSeed>,
}

/// Records on their way through services, over all seeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServiceLatencies {
    /// From the origin's intended send time to the last effect.
    pub end_to_end: Latencies,
    /// From a record's acknowledgement to that of what one service made of it.
    pub steps: Latencies,
    /// Response times of origins alone.
    pub origins: Latencies,
    /// The same, while some service had no process.
    pub origins_down: Latencies,
    /// Of each seed, the most records that waited for one service at a time.
    pub lag_peaks: Vec<u64>,
    /// Of each seed, the longest that one service was behind, nanoseconds.
    pub behind: Vec<u64>,
}

impl ScenarioFigures {
    /// Each kind of latency that there is, by the name of its histogram log.
    pub fn latencies(&self) -> Vec<(&'static str, &Latencies)> {
        let mut all = vec![("response", &self.response), ("service", &self.service)];
        if let Some(s) = &self.services {
            all.extend([
                ("end-to-end", &s.end_to_end),
                ("steps", &s.steps),
                ("origins", &s.origins),
                ("origins-down", &s.origins_down),
            ]);
        }
        all
    }

    /// The same, to be filled; in the same order.
    pub fn latencies_mut(&mut self) -> Vec<&mut Latencies> {
        let mut all = vec![&mut self.response, &mut self.service];
        if let Some(s) = &mut self.services {
            all.extend([&mut s.end_to_end, &mut s.steps, &mut s.origins, &mut s.origins_down]);
        }
        all
    }
}

/// The seed that is drawn over time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FirstSeed {
    /// Its place in the sweep, from 0.
    pub index: u64,
    /// The seed, in hexadecimal.
    pub seed: String,
    /// What its faults became, in words.
    pub fired: String,
    /// What is drawn.
    pub timeline: Timeline,
}

/// One seed over time. Nanoseconds of virtual time.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Timeline {
    /// Length of a window.
    pub window_ns: u64,
    /// Windows of hardship and heal.
    pub windows: Vec<Window>,
    /// Faults in force.
    pub bands: Vec<Band>,
    /// Elections.
    pub moments: Vec<Moment>,
    /// Consumer groups.
    pub groups: Vec<GroupOverTime>,
    /// How many records waited for each service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<LagSeries>,
}

/// One group of one seed, to be drawn. Nanoseconds from the beginning of hardship.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupOverTime {
    /// `group.id`.
    pub group: String,
    /// Where it ends.
    pub end: u64,
    /// Its members.
    pub lanes: Vec<Lane>,
    /// Its rebalances.
    pub rebalances: Vec<(u64, u64)>,
    /// Its lag.
    pub lag: Vec<LagSeries>,
}
