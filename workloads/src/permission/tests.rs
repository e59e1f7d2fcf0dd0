//! The table row by row, against the words of the design; and what each cause takes to be true.

use super::*;
use klamm_model::checks::{Check, CheckKind};
use klamm_model::history::ValueId;
use klamm_model::ids::LeaderEpoch;

/// Checks, the clause of them if the row is of one, and causes.
const WORDS: &[(&str, Option<Clause>, &str)] = &[
    ("lost-write unseen", None, "acks-1-leader-change unclean-election data-loss compaction deletion"),
    ("failed-write-visible", None, "unclean-election data-loss"),
    ("duplicate", None, "ambiguous-retry new-producer-identity unclean-election data-loss"),
    ("inconsistent-offsets", None, "unclean-election data-loss"),
    ("inconsistent-offsets", Some(Clause::Acknowledgement), "unclean-election data-loss acks-1-leader-change"),
    ("unknown-read", None, ""),
    ("unknown-read", Some(Clause::OtherOffset), "ambiguous-retry new-producer-identity unclean-election data-loss"),
    (
        "nonmonotonic-send int-nonmonotonic-send",
        None,
        "ambiguous-retry-in-flight new-producer-identity acks-1-leader-change unclean-election data-loss",
    ),
    ("poll-skip", None, "compaction deletion unclean-election data-loss"),
    ("nonmonotonic-poll", None, "unclean-election data-loss"),
    ("int-poll-skip", None, "compaction"),
    ("int-nonmonotonic-poll", None, ""),
    ("realtime-order", None, "acks-1-leader-change unclean-election data-loss"),
    ("next-offset-divergence", None, "compaction deletion unclean-election data-loss"),
    ("read-epoch-regression list-offsets-regression", None, "unclean-election data-loss"),
    ("illegal-resume", None, "offsets-altered unclean-election data-loss"),
    (
        "skipped-record",
        None,
        "commits-before-finishing position-moved offsets-altered compaction deletion unclean-election data-loss",
    ),
    (
        "half-done",
        None,
        "commits-before-finishing acks-0 acks-1-leader-change position-moved offsets-altered compaction deletion \
         unclean-election data-loss",
    ),
    (
        "out-of-step",
        None,
        "commits-before-finishing ambiguous-retry-in-flight new-producer-identity acks-1-leader-change \
         unclean-election data-loss",
    ),
    ("commit-too-far", None, "position-moved unclean-election data-loss"),
    ("commit-regression", None, ""),
    ("double-effect", Some(Clause::UncleanHandover), "at-least-once"),
    ("double-effect", None, ""),
    ("compacted-value", None, "acks-1-leader-change unclean-election data-loss deletion"),
    ("read-model", None, "compaction deletion unclean-election data-loss"),
    (
        "log-matching leader-completeness committed-prefix truncation-justified disk-audit sequence-contiguous",
        None,
        "unclean-election data-loss",
    ),
    ("committed-offset", None, ""),
    ("committed-offset", Some(Clause::OffsetsTopic), "unclean-election data-loss"),
    ("single-leader-per-epoch metadata-prefix quorum-safety", None, ""),
    ("send-resolves key-affinity clean-handover", None, ""),
    ("high-watermark ack-justified isr-legal fencing single-owner assignment-legal replay-equals-live", None, ""),
    ("unique-ids no-spurious-reset batch-integrity deletion-legal compaction-legal liveness-verdicts", None, ""),
    ("trace-contradicted runaway crash", None, ""),
];

fn source() -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: 0 }
}

fn send() -> SendFacts {
    SendFacts {
        value: ValueId(1),
        invoked: 10,
        completed: Some(40),
        acks: Acks::All,
        idempotent: true,
        max_in_flight: 5,
        attempts: 3,
        acknowledged: true,
        read: false,
        renewed_at: None,
        unfenced_at: None,
        producer_id: Some(ProducerId(7)),
    }
}

/// Facts and declarations of which nothing permits anything.
fn innocent() -> (Facts, Declared) {
    let mut facts = Facts::new(100, source());
    facts.offset = Some(Offset(7));
    facts.sends = vec![send()];
    facts.boundary = Some(PositionReason::Truncation);
    (facts, Declared::default())
}

/// The same, with one cause made true.
fn with(cause: Cause) -> (Facts, Declared) {
    let (mut facts, mut declared) = innocent();
    let (at, source) = (50, source());
    let own = &mut facts.sends[0];
    match cause {
        Cause::Acks0 => own.acks = Acks::None,
        Cause::Acks1LeaderChange => {
            own.acks = Acks::Leader;
            declared.leader_changes.push(LeaderChange { at, source, epoch: LeaderEpoch(2), deposed_by: None });
        }
        Cause::UncleanElection => declared.uncleans.push(Unclean { at, source, from: Some(Offset(5)) }),
        Cause::DataLoss => {
            declared.losses.push(Loss { at, source, from: Some(Offset(5)), beyond_budget: true });
        }
        Cause::AmbiguousRetry => (own.idempotent, own.max_in_flight) = (false, 1),
        Cause::AmbiguousRetryInFlight => own.idempotent = false,
        Cause::NewProducerIdentity => (own.renewed_at, own.unfenced_at) = (Some(own.invoked), Some(own.invoked)),
        Cause::Compaction => declared.compactions.push(Compacted { at, source, removed: vec![Offset(7)] }),
        Cause::Deletion => declared.log_starts.push(LogStart { at, source, offset: Offset(8) }),
        Cause::PositionMoved => facts.boundary = Some(PositionReason::Seek),
        Cause::OffsetsAltered => facts.app.offsets_altered = true,
        Cause::AtLeastOnce => facts.app.at_least_once = true,
        Cause::CommitsBeforeFinishing => facts.app.commits_before_finishing = true,
    }
    (facts, declared)
}

#[test]
fn compaction_permits_what_it_took_away() {
    let (mut facts, declared) = with(Cause::Compaction);
    for (offset, permits) in [(Some(Offset(7)), true), (Some(Offset(6)), false), (None, true)] {
        facts.offset = offset;
        let by = permitted(Check::Unseen, &facts, &declared);
        assert_eq!(by, permits.then_some(Cause::Compaction), "{offset:?}");
    }
    // Of a recorded history only what its keys tell is known.
    let configured = Configured { compaction: true, ..Configured::default() };
    let recorded = Declared { recorded: true, configured, ..Declared::default() };
    for (superseded, permits) in [(None, true), (Some(true), true), (Some(false), false)] {
        facts.superseded = superseded;
        assert_eq!(permitted(Check::Unseen, &facts, &recorded).is_some(), permits, "{superseded:?}");
    }
}

#[test]
fn every_row_permits_its_causes_and_nothing_else() {
    for (checks, clause, causes) in WORDS {
        for check in checks.split_whitespace().map(|name| name.parse::<Check>().unwrap()) {
            let (mut facts, declared) = innocent();
            facts.clause = *clause;
            assert_eq!(permitted(check, &facts, &declared), None, "{check} of an innocent history");
            for cause in Cause::ALL {
                let (mut facts, declared) = with(cause);
                facts.clause = *clause;
                let mut named: Vec<&str> = causes.split_whitespace().collect();
                // Where several requests are in flight, an ambiguous retry is one all the more.
                if cause == Cause::AmbiguousRetryInFlight && named.contains(&"ambiguous-retry") {
                    named.push(cause.name());
                }
                let got = permitted(check, &facts, &declared);
                assert_eq!(got.is_some(), named.contains(&cause.name()), "{check} {clause:?} {cause:?}: {got:?}");
                if cause != Cause::AmbiguousRetryInFlight {
                    assert!(got.is_none_or(|got| got == cause), "{check} by {cause:?}, not {got:?}");
                }
            }
        }
    }
}

#[test]
fn the_words_hold_every_row() {
    let named =
        |check: Check, clause| WORDS.iter().any(|(c, k, _)| *k == clause && c.split(' ').any(|c| c == check.name()));
    for row in TABLE {
        for &check in row.checks {
            assert!(named(check, row.clause), "{check} {:?}", row.clause);
        }
    }
    for check in Check::of_kind(CheckKind::Oracle) {
        assert!(named(check, None), "{check}");
    }
}

/// Whether a cause still permits after this change.
fn still(check: Check, cause: Cause, change: impl FnOnce(&mut Facts, &mut Declared)) -> bool {
    let (mut facts, mut declared) = with(cause);
    assert_eq!(permitted(check, &facts, &declared), Some(cause));
    change(&mut facts, &mut declared);
    permitted(check, &facts, &declared).is_some()
}

#[test]
fn what_comes_later_or_happens_elsewhere_permits_nothing() {
    let other = TopicPartition { topic: "t".into(), partition: 1 };
    for cause in [Cause::Acks1LeaderChange, Cause::UncleanElection, Cause::DataLoss, Cause::Compaction, Cause::Deletion]
    {
        assert!(!still(Check::LostWrite, cause, |facts, _| facts.at = 49), "{cause:?} later");
        assert!(!still(Check::LostWrite, cause, |facts, _| facts.source = other.clone()), "{cause:?} elsewhere");
        assert!(still(Check::LostWrite, cause, |facts, _| facts.at = 50), "{cause:?} at the same moment");
    }
}

#[test]
fn only_what_was_lost_is_excused() {
    for cause in [Cause::UncleanElection, Cause::DataLoss] {
        for check in [Check::LostWrite, Check::Unseen, Check::Duplicate, Check::PollSkip, Check::IntNonmonotonicSend] {
            assert!(!still(check, cause, |facts, _| facts.offset = Some(Offset(4))), "{check} below the cut");
            assert!(still(check, cause, |facts, _| facts.offset = None), "{check} nobody knows where");
        }
        assert!(still(Check::ReadModel, cause, |facts, _| facts.offset = Some(Offset(4))), "what follows has no bound");
    }
    assert!(!still(Check::LostWrite, Cause::Deletion, |facts, _| facts.offset = Some(Offset(8))));
    assert!(!still(Check::LostWrite, Cause::DataLoss, |_, declared| declared.losses[0].beyond_budget = false));
    let (facts, mut declared) = innocent();
    let damage =
        |to, beyond_budget| Damage { at: 50, source: source(), from: Offset(6), to: Offset(to), beyond_budget };
    declared.damages = vec![damage(7, true), damage(9, false)];
    assert_eq!(permitted(Check::LostWrite, &facts, &declared), None);
    declared.damages.push(damage(8, true));
    assert_eq!(permitted(Check::LostWrite, &facts, &declared), Some(Cause::DataLoss));
}

#[test]
fn deletion_takes_a_prefix() {
    for check in [Check::LostWrite, Check::Unseen, Check::PollSkip, Check::NextOffsetDivergence] {
        assert!(!still(check, Cause::Deletion, |facts, _| facts.older_survives = true), "{check} declared");
        let configured = Configured { deletion: true, ..Configured::default() };
        let recorded = Declared { recorded: true, configured, ..Declared::default() };
        let (mut facts, _) = innocent();
        assert_eq!(permitted(check, &facts, &recorded), Some(Cause::Deletion));
        facts.older_survives = true;
        assert_eq!(permitted(check, &facts, &recorded), None, "{check} recorded");
    }
}

#[test]
fn what_takes_a_suffix_leaves_nothing_of_that_leadership_above() {
    for cause in [Cause::Acks1LeaderChange, Cause::UncleanElection, Cause::DataLoss] {
        for check in [Check::LostWrite, Check::Unseen] {
            assert!(!still(check, cause, |facts, _| facts.within_a_leadership = true), "{check} by {cause:?}");
        }
    }
    // Damage takes what lies in it, and nothing else.
    let (mut facts, mut declared) = innocent();
    facts.within_a_leadership = true;
    declared.damages = vec![Damage { at: 50, source: source(), from: Offset(6), to: Offset(9), beyond_budget: true }];
    assert_eq!(permitted(Check::LostWrite, &facts, &declared), Some(Cause::DataLoss));
}

#[test]
fn acks_1_needs_a_leader_change_that_concerns_the_send_or_a_loss() {
    let cause = Cause::Acks1LeaderChange;
    let deposed = |by| move |_: &mut Facts, declared: &mut Declared| declared.leader_changes[0].deposed_by = Some(by);
    assert!(!still(Check::LostWrite, cause, |_, declared| declared.leader_changes.clear()));
    assert!(!still(Check::LostWrite, cause, deposed(9)));
    assert!(still(Check::LostWrite, cause, deposed(10)));
    assert!(!still(Check::LostWrite, cause, |facts, _| facts.sends[0].acks = Acks::All));
    assert!(still(Check::LostWrite, cause, |_, declared| {
        declared.leader_changes.clear();
        // One replica's loss is enough, however many others survive.
        declared.losses.push(Loss { at: 60, source: source(), from: None, beyond_budget: false });
    }));
    for check in [Check::RealtimeOrder, Check::NonmonotonicSend, Check::LostWrite] {
        assert!(!still(check, cause, |facts, _| facts.sends[0].read = true), "{check}: what was read was replicated");
        assert!(!still(check, cause, |facts, _| facts.sends[0].acknowledged = false), "{check}: it was owed nothing");
    }
    assert!(still(Check::RealtimeOrder, cause, |facts, _| facts.sends.insert(0, send())), "either send");
}

#[test]
fn a_retry_excuses_what_was_sent_again() {
    let one_attempt = |facts: &mut Facts, _: &mut Declared| facts.sends[0].attempts = 1;
    assert!(!still(Check::Duplicate, Cause::AmbiguousRetry, one_attempt));
    let cause = Cause::AmbiguousRetryInFlight;
    assert!(!still(Check::NonmonotonicSend, cause, one_attempt));
    assert!(!still(Check::NonmonotonicSend, cause, |facts, _| facts.sends[0].max_in_flight = 1));
    assert!(!still(Check::NonmonotonicSend, cause, |facts, _| {
        // The later one comes later still.
        facts.sends[0].attempts = 1;
        facts.sends.push(SendFacts { idempotent: false, ..send() });
    }));
    // And of a recorded history it is what the recorder says.
    let (mut facts, _) = with(Cause::AmbiguousRetry);
    facts.sends[0].attempts = 1;
    assert_eq!(permitted(Check::Duplicate, &facts, &Declared { recorded: true, ..Declared::default() }), None);
}

#[test]
fn a_new_epoch_repeats_and_a_new_id_reorders() {
    let cause = Cause::NewProducerIdentity;
    let fenced = |facts: &mut Facts, _: &mut Declared| facts.sends[0].unfenced_at = None;
    assert!(still(Check::Duplicate, cause, fenced));
    let two = |facts: &mut Facts, _: &mut Declared| facts.sends.push(send());
    assert!(still(Check::IntNonmonotonicSend, cause, two));
    assert!(!still(Check::IntNonmonotonicSend, cause, |facts, declared| {
        two(facts, declared);
        fenced(facts, declared);
    }));
    // Of the earlier one: the later one was sent behind it.
    assert!(!still(Check::IntNonmonotonicSend, cause, |facts, _| facts.sends.insert(0, send())));
}

#[test]
fn expired_producer_state_is_a_new_identity_for_what_was_open() {
    for (at, permits) in [(9, false), (10, true), (40, true), (41, false)] {
        let (facts, mut declared) = innocent();
        declared.expiries.push(Expired { at, source: source(), producer_id: None });
        let by = permitted(Check::Duplicate, &facts, &declared);
        assert_eq!(by, permits.then_some(Cause::NewProducerIdentity), "{at}");
    }
    for (id, permits) in [(7, true), (8, false)] {
        let (facts, mut declared) = innocent();
        declared.expiries.push(Expired { at: 10, source: source(), producer_id: Some(ProducerId(id)) });
        assert_eq!(permitted(Check::Duplicate, &facts, &declared).is_some(), permits, "producer {id}");
    }
    let (mut facts, mut declared) = innocent();
    facts.sends[0].completed = None;
    declared.expiries.push(Expired { at: 90, source: source(), producer_id: None });
    assert_eq!(permitted(Check::Duplicate, &facts, &declared), Some(Cause::NewProducerIdentity));
}

#[test]
fn acks_0_excuses_what_is_missing_only() {
    assert!(!still(Check::HalfDone, Cause::Acks0, |facts, _| facts.sends[0].read = true));
}

#[test]
fn configuration_counts_for_recorded_histories_only() {
    let configured = Configured { unclean_election: true, compaction: true, deletion: true };
    let (mut facts, mut declared) = innocent();
    declared.configured = configured;
    facts.sends = vec![SendFacts { acks: Acks::Leader, ..send() }];
    let checks =
        [Check::LostWrite, Check::Duplicate, Check::NonmonotonicSend, Check::IntPollSkip, Check::NextOffsetDivergence];
    for check in checks {
        assert_eq!(permitted(check, &facts, &declared), None, "{check} simulated");
        assert!(permitted(check, &facts, &Declared { recorded: true, ..declared.clone() }).is_some(), "{check}");
    }
    // And there it is the configured value.
    declared.recorded = true;
    declared.configured = Configured::default();
    facts.sends = vec![send()];
    for check in checks {
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
