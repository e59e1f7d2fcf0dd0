//! The table row by row, against the words of the design; and what each cause takes to be true.

use super::*;
use klamm_model::history::ValueId;
use klamm_model::ids::LeaderEpoch;

/// Checks, the clause of them if the row is of one, and causes.
const WORDS: &[(&str, Option<Clause>, &str)] = &[
    ("lost-write unseen", None, "a0 a1 U L C D S V1"),
    ("failed-write-visible", None, "U L"),
    ("duplicate", None, "ND NI U L"),
    ("inconsistent-offsets", None, "U L"),
    ("inconsistent-offsets", Some(Clause::Acknowledgement), "U L a1"),
    ("unknown-read", None, ""),
    ("unknown-read", Some(Clause::OtherOffset), "ND NI U L"),
    ("nonmonotonic-send int-nonmonotonic-send", None, "ND5 NI a1 U L"),
    ("poll-skip", None, "R S C D U L"),
    ("nonmonotonic-poll", None, "R S U L"),
    ("int-poll-skip", None, "C"),
    ("int-nonmonotonic-poll", None, ""),
    ("realtime-order", None, "a0 a1 U L"),
    ("next-offset-divergence", None, "C D U L"),
    ("read-epoch-regression list-offsets-regression", None, "U L"),
    ("g1a", None, "RU V1 U L"),
    ("precommitted-read", None, "RU"),
    ("torn-transaction", None, "RU V1 U L C D"),
    ("g1c", None, "RU U L"),
    ("illegal-resume", None, "S X U L"),
    ("skipped-record", None, "CB S X C D U L"),
    ("half-done", None, "CB a0 a1 S X C D U L"),
    ("out-of-step", None, "CB ND5 NI a1 U L"),
    ("commit-too-far", None, "S U L"),
    ("commit-regression", None, "S"),
    ("double-effect", Some(Clause::UncleanHandover), "AL"),
    ("double-effect", None, ""),
    ("exactly-once-output", None, "NT RU V1 U L D S"),
    ("conserved-sum", None, "NT RU V1 U L"),
    ("compacted-value", None, "a0 a1 U L D"),
    ("read-model", None, "C D U L"),
    (
        "log-matching leader-completeness committed-prefix truncation-justified disk-audit stable-offset \
         sequence-contiguous",
        None,
        "U L",
    ),
    ("one-outcome", None, "U L D"),
    ("committed-offset", None, "X"),
    ("committed-offset", Some(Clause::OffsetsTopic), "X U L"),
    ("single-leader-per-epoch metadata-prefix quorum-safety", Some(Clause::VoterMajority), "L"),
    ("single-leader-per-epoch metadata-prefix quorum-safety", None, ""),
    ("send-resolves key-affinity timestamp-lookup clean-handover", None, ""),
    ("high-watermark ack-justified isr-legal fencing single-owner assignment-legal replay-equals-live", None, ""),
    ("unique-ids no-spurious-reset batch-integrity deletion-legal compaction-legal liveness-verdicts", None, ""),
    ("trace-contradicted bounded runaway crash", None, ""),
];

fn source() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

fn send() -> SendFacts {
    SendFacts {
        value: ValueId(1),
        invoked: 10,
        acks: Acks::All,
        idempotent: true,
        max_in_flight: 5,
        attempts: 3,
        acknowledged: true,
        renewed: false,
    }
}

/// Facts and declarations of which nothing permits anything.
fn innocent() -> (Facts, Declared) {
    let mut facts = Facts::new(100, source());
    facts.offset = Some(Offset(7));
    facts.sends = vec![send()];
    facts.isolation = Some(IsolationLevel::ReadCommitted);
    facts.boundary = Some(PositionReason::Truncation);
    (facts, Declared { transaction_version: Some(2), ..Declared::default() })
}

/// The same, with one cause made true.
fn with(cause: Cause) -> (Facts, Declared) {
    let (mut facts, mut declared) = innocent();
    let (at, source) = (50, source());
    let own = &mut facts.sends[0];
    match cause {
        Cause::A0 => own.acks = Acks::None,
        Cause::A1 => {
            own.acks = Acks::Leader;
            declared.leader_changes.push(LeaderChange { at, source, epoch: LeaderEpoch(2), deposed_by: None });
        }
        Cause::U => declared.uncleans.push(Unclean { at, source, from: Some(Offset(5)) }),
        Cause::L => declared.losses.push(Loss { at, source, from: Some(Offset(5)), beyond_budget: true }),
        Cause::ND => (own.idempotent, own.max_in_flight) = (false, 1),
        Cause::ND5 => own.idempotent = false,
        Cause::NI => own.renewed = true,
        Cause::C => declared.compactions.push(Compacted { at, source, removed: vec![Offset(7)] }),
        Cause::D => declared.log_starts.push(LogStart { at, source, offset: Offset(8) }),
        Cause::RU => facts.isolation = Some(IsolationLevel::ReadUncommitted),
        Cause::V1 => declared.transaction_version = Some(1),
        Cause::R => facts.boundary = Some(PositionReason::Assigned),
        Cause::S => facts.boundary = Some(PositionReason::Seek),
        Cause::X => facts.app.offsets_altered = true,
        Cause::AL => facts.app.at_least_once = true,
        Cause::CB => facts.app.commits_before_finishing = true,
        Cause::NT => facts.app.no_transactions = true,
    }
    (facts, declared)
}

#[test]
fn compaction_permits_what_it_took_away() {
    let (mut facts, declared) = with(Cause::C);
    for (offset, permits) in [(Some(Offset(7)), true), (Some(Offset(6)), false), (None, true)] {
        facts.offset = offset;
        let by = permitted("unseen", &facts, &declared);
        assert_eq!(by, permits.then_some(Cause::C), "{offset:?}");
    }
    // Of a recorded history only what its keys tell is known.
    let configured = Configured { compaction: true, ..Configured::default() };
    let recorded = Declared { recorded: true, configured, ..Declared::default() };
    for (superseded, permits) in [(None, true), (Some(true), true), (Some(false), false)] {
        facts.superseded = superseded;
        assert_eq!(permitted("unseen", &facts, &recorded).is_some(), permits, "{superseded:?}");
    }
}

#[test]
fn every_row_permits_its_causes_and_nothing_else() {
    for (checks, clause, causes) in WORDS {
        for check in checks.split_whitespace() {
            let (mut facts, declared) = innocent();
            facts.clause = *clause;
            assert_eq!(permitted(check, &facts, &declared), None, "{check} of an innocent history");
            for cause in Cause::ALL {
                let (mut facts, declared) = with(cause);
                facts.clause = *clause;
                let mut named: Vec<&str> = causes.split_whitespace().collect();
                // Where several requests are in flight, an ambiguous retry is one all the more.
                if cause == Cause::ND5 && named.contains(&"ND") {
                    named.push("ND5");
                }
                let got = permitted(check, &facts, &declared);
                assert_eq!(got.is_some(), named.contains(&cause.name()), "{check} {clause:?} {cause:?}: {got:?}");
                if cause != Cause::ND5 {
                    assert!(got.is_none_or(|got| got == cause), "{check} by {cause:?}, not {got:?}");
                }
            }
        }
    }
}

#[test]
fn the_words_hold_every_row() {
    let named = |check: &str, clause| WORDS.iter().any(|(c, k, _)| *k == clause && c.split(' ').any(|c| c == check));
    for row in TABLE {
        for check in row.checks {
            assert!(named(check, row.clause), "{check} {:?}", row.clause);
        }
    }
    for check in crate::oracles::CHECKS {
        assert!(named(check, None), "{check}");
    }
}

/// Whether a cause still permits after this change.
fn still(check: &str, cause: Cause, change: impl FnOnce(&mut Facts, &mut Declared)) -> bool {
    let (mut facts, mut declared) = with(cause);
    assert_eq!(permitted(check, &facts, &declared), Some(cause));
    change(&mut facts, &mut declared);
    permitted(check, &facts, &declared).is_some()
}

#[test]
fn what_comes_later_or_happens_elsewhere_permits_nothing() {
    let other = TopicPartition { topic: "t".into(), partition: 1 };
    for cause in [Cause::A1, Cause::U, Cause::L, Cause::C, Cause::D] {
        assert!(!still("lost-write", cause, |facts, _| facts.at = 49), "{cause:?} later");
        assert!(!still("lost-write", cause, |facts, _| facts.source = other.clone()), "{cause:?} elsewhere");
        assert!(still("lost-write", cause, |facts, _| facts.at = 50), "{cause:?} at the same moment");
    }
}

#[test]
fn only_what_was_lost_is_excused() {
    for cause in [Cause::U, Cause::L] {
        assert!(!still("lost-write", cause, |facts, _| facts.offset = Some(Offset(4))));
        assert!(!still("unseen", cause, |facts, _| facts.offset = Some(Offset(4))));
        assert!(still("lost-write", cause, |facts, _| facts.offset = None));
        assert!(still("duplicate", cause, |facts, _| facts.offset = Some(Offset(4))), "disorder has no bound");
    }
    assert!(!still("lost-write", Cause::D, |facts, _| facts.offset = Some(Offset(8))));
    assert!(!still("lost-write", Cause::L, |_, declared| declared.losses[0].beyond_budget = false));
    let (facts, mut declared) = innocent();
    let damage =
        |to, beyond_budget| Damage { at: 50, source: source(), from: Offset(6), to: Offset(to), beyond_budget };
    declared.damages = vec![damage(7, true), damage(9, false)];
    assert_eq!(permitted("lost-write", &facts, &declared), None);
    declared.damages.push(damage(8, true));
    assert_eq!(permitted("lost-write", &facts, &declared), Some(Cause::L));
}

#[test]
fn acks_1_needs_a_leader_change_that_concerns_the_send_or_a_loss() {
    assert!(!still("lost-write", Cause::A1, |_, declared| declared.leader_changes.clear()));
    assert!(!still("lost-write", Cause::A1, |_, declared| declared.leader_changes[0].deposed_by = Some(9)));
    assert!(still("lost-write", Cause::A1, |_, declared| declared.leader_changes[0].deposed_by = Some(10)));
    assert!(!still("lost-write", Cause::A1, |facts, _| facts.sends[0].acks = Acks::All));
    assert!(still("lost-write", Cause::A1, |_, declared| {
        declared.leader_changes.clear();
        // One replica's loss is enough, however many others survive.
        declared.losses.push(Loss { at: 60, source: source(), from: None, beyond_budget: false });
    }));
    assert!(still("realtime-order", Cause::A1, |facts, _| facts.sends.insert(0, send())), "either send");
}

#[test]
fn one_attempt_is_no_retry() {
    assert!(!still("duplicate", Cause::ND, |facts, _| facts.sends[0].attempts = 1));
    assert!(!still("nonmonotonic-send", Cause::ND5, |facts, _| facts.sends[0].attempts = 1));
    assert!(!still("nonmonotonic-send", Cause::ND5, |facts, _| facts.sends[0].max_in_flight = 1));
    assert!(still("nonmonotonic-send", Cause::ND5, |facts, _| {
        facts.sends[0].attempts = 1;
        facts.sends.push(SendFacts { idempotent: false, ..send() });
    }));
}

#[test]
fn expired_producer_state_is_a_new_identity() {
    let (facts, mut declared) = innocent();
    declared.expiries.push(Expired { at: 50, source: source() });
    assert_eq!(permitted("duplicate", &facts, &declared), Some(Cause::NI));
}

#[test]
fn configuration_counts_for_recorded_histories_only() {
    let configured = Configured { unclean_election: true, compaction: true, deletion: true };
    let (mut facts, mut declared) = innocent();
    declared.configured = configured;
    facts.sends = vec![SendFacts { acks: Acks::Leader, idempotent: false, attempts: 1, ..send() }];
    for check in ["lost-write", "duplicate", "nonmonotonic-send", "int-poll-skip", "next-offset-divergence"] {
        assert_eq!(permitted(check, &facts, &declared), None, "{check} simulated");
        assert!(permitted(check, &facts, &Declared { recorded: true, ..declared.clone() }).is_some(), "{check}");
    }
    // And there it is the configured value.
    declared.recorded = true;
    declared.configured = Configured::default();
    facts.sends = vec![send()];
    for check in ["lost-write", "duplicate", "nonmonotonic-send", "int-poll-skip", "next-offset-divergence"] {
        assert_eq!(permitted(check, &facts, &declared), None, "{check} of a safe configuration");
    }
}

#[test]
fn declarations_survive_being_written() {
    for cause in Cause::ALL {
        let (facts, declared) = with(cause);
        assert_eq!(serde_json::from_str::<Declared>(&serde_json::to_string(&declared).unwrap()).unwrap(), declared);
        assert_eq!(serde_json::from_str::<Facts>(&serde_json::to_string(&facts).unwrap()).unwrap(), facts);
        assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{}\"", cause.name()));
    }
}
