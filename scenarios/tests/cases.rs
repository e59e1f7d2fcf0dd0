//! Cases that were judged wrongly once, found by the names of their files in `cases/`. All are correct code.

use klamm_scenarios::run::{Options, run_seed};
use klamm_scenarios::schema;
use klamm_scenarios::seeds::Seed;
use std::path::Path;

/// Runs the seed that showed it, and so many others.
fn held(name: &str, seed: Option<u64>, others: u64) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(format!("{name}.toml"));
    let scenario = schema::load(&file).unwrap();
    let seeds = seed.into_iter().chain((0..others).map(|n| Seed(0x5eed).derive(&scenario.name, n).0));
    for seed in seeds {
        let outcome = run_seed(&scenario, seed, &Options::default());
        let found: Vec<_> = outcome.violations(&scenario).map(|f| (&f.check, &f.detail)).collect();
        assert!(found.is_empty(), "{name} {seed:#x}: {found:?}");
        assert!(outcome.summary.acknowledged > 0, "{name} {seed:#x}: nothing was acknowledged");
    }
}

/// The brokers' own topic settings hold for the probe's new topic, too: its records need keys.
#[test]
fn broker_compacts() {
    held("broker-compacts", None, 5);
}

/// What would justify the cut was deleted by retention: the leader deleted it while it still followed.
#[test]
fn false_alarms_retention_and_truncation() {
    held("false-alarms/retention-and-truncation", Some(0xaf737daf482c37d3), 10);
}

/// The truncation was not flushed, and a power loss undid it though it took nothing.
#[test]
fn false_alarms_power_loss_undoes_a_truncation() {
    held("false-alarms/power-loss-undoes-a-truncation", Some(0x1d066772bac189f4), 10);
}
