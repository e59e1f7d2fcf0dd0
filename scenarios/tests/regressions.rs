//! Seeds that once convicted correct code. Each found a bug of the model, the world or the judge; each must hold now.
//!
//! A seed keeps its history only while nothing it rests on changes, so the rule that was broken has a test of its own,
//! beside the rule. These are here because they cost little and once were right.

use klamm_scenarios::run::{Options, run_seed};
use klamm_scenarios::{catalog, seeds::Seed};

/// Scenario, derived seed, what was wrong.
const CONVICTED: &[(&str, &str, &str)] = &[
    (
        "isr-changes-in-flight",
        "0x6870ab09132de8eb",
        "an answer to a deposed leader's AlterPartition was taken for one to what it asked as a leader again",
    ),
    (
        "write-fails",
        "0xea950475fc09b102",
        "an append under way behind one that failed was held against the broker, which halted",
    ),
    (
        "crash-looping-member-kip-848",
        "0x7ad552d47cd58e78",
        "a KIP-848 member acknowledged an earlier target without what it had been promised since, which then had two owners",
    ),
    (
        "rebalance-storm-kip-848",
        "0xe22d39e26c6123ff",
        "a member that was expelled, and took up what an old answer gave it, was held to be one still",
    ),
    (
        "slow-offset-lookups",
        "0xa4fc2ef6b18ab1ac",
        "a join of a closed connection, arriving after the rebalance it was for, was no reason for another",
    ),
    (
        "hand-off-with-auto-commit",
        "0x9ae4cde118e192a6",
        "an answer to a client that was gone was not seen to leave, so that its member seemed to be waited for",
    ),
    (
        "edge-maintenance-several-in-flight",
        "0x8b9c2ac36afb1e98",
        "a batch that stood behind a later one, as Kafka's producer without idempotence leaves them, was held to its own time",
    ),
    (
        "edge-maintenance",
        "0x4acb7f118fdefb46",
        "a leader that knew nothing of the producer took its fifth batch before the first (KIP-360, KAFKA-15591), as Kafka's do",
    ),
];

#[test]
fn what_was_fixed_stays_fixed() {
    for (name, seed, wrong) in CONVICTED {
        let scenarios = catalog::find(name).unwrap();
        let seed: Seed = seed.parse().unwrap();
        let outcome = run_seed(&scenarios[0], seed.0, &Options::default());
        let found: Vec<_> = outcome.violations(&scenarios[0]).map(|f| (&f.check, &f.detail)).collect();
        assert!(found.is_empty(), "{name} {seed}: {found:?}; once: {wrong}");
    }
}
