//! Small recorded histories, each with what the judge has to say about it. A case is found by its file's name.

use klamm_workloads::history::Reader;
use klamm_workloads::oracles::{Judge, JudgeConfig, Verdicts};
use klamm_workloads::permission::Cause;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

fn judge(case: &str) -> Verdicts {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/histories").join(format!("{case}.jsonl"));
    let file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = Reader::new(BufReader::new(file)).unwrap();
    let declared = reader.header().declared.clone();
    let mut judge = Judge::new(JudgeConfig { resolve_slack: 1_000_000_000, max_findings: 100 });
    let mut last = 0;
    for entry in reader.by_ref() {
        let entry = entry.unwrap();
        last = entry.at;
        judge.entry(&entry);
    }
    let verdicts = judge.finish(last, &declared);
    for finding in &verdicts.findings {
        assert!(!finding.witness.is_empty(), "no witness: {finding:#?}");
        assert!(finding.witness.is_sorted_by_key(|e| e.at), "witness out of order: {finding:#?}");
    }
    verdicts
}

/// The checks that fire without leave, each once, by name.
fn violated(verdicts: &Verdicts) -> Vec<&str> {
    let mut checks: Vec<&str> = verdicts.violations().map(|f| f.check.name()).collect();
    checks.sort_unstable();
    checks.dedup();
    checks
}

/// These checks fire, and nothing else does.
#[track_caller]
fn violates(case: &str, checks: &[&str]) -> Verdicts {
    let verdicts = judge(case);
    assert_eq!(violated(&verdicts), checks, "{case}: {:#?}", verdicts.findings);
    verdicts
}

#[test]
fn ni_dup_acked_long_before() {
    violates("NI-dup-acked-long-before", &["duplicate"]);
}

#[test]
fn ni_dup_read_before_info() {
    violates("NI-dup-read-before-info", &["duplicate"]);
}

#[test]
fn ni_reorder_acked_before() {
    violates("NI-reorder-acked-before", &["int-nonmonotonic-send"]);
}

#[test]
fn idempotent_infos_reordered() {
    violates("idempotent-infos-reordered", &["int-nonmonotonic-send"]);
}

#[test]
fn int_poll_skip_literal() {
    // One reader skips within a poll, another between two.
    violates("int-poll-skip-literal", &["int-poll-skip", "poll-skip"]);
}

#[test]
fn skip_at_start_then_final() {
    violates("skip-at-start-then-final", &["poll-skip"]);
}

#[test]
fn ack_after_read_start() {
    violates("ack-after-read-start", &["lost-write"]);
}

#[test]
fn read_elsewhere_is_not_unseen() {
    let verdicts = violates("read-elsewhere-is-not-unseen", &["unknown-read"]);
    assert_eq!(verdicts.findings.len(), 1);
}

#[test]
fn log_start_jump() {
    let verdicts = violates("log-start-jump", &["lost-write"]);
    assert_eq!(verdicts.summary.lost(), 8);
}

#[test]
fn acked_on_another_than_chosen() {
    violates("acked-on-another-than-chosen", &["unknown-read"]);
}

#[test]
fn deletion_excuses_a_hole() {
    violates("deletion-excuses-a-hole", &["lost-write"]);
}

#[test]
fn deletion_prefix() {
    let verdicts = violates("deletion-prefix", &[]);
    let permitted: Vec<_> = verdicts.findings.iter().map(|f| (f.check.name(), f.permitted)).collect();
    assert_eq!(permitted, [("lost-write", Some(Cause::Deletion))]);
}

#[test]
fn stuck_consumer_no_final() {
    let verdicts = violates("stuck-consumer-no-final", &[]);
    assert!(
        !verdicts.armed.contains_key(&klamm_model::checks::Check::Unseen),
        "without a final read nothing can be unseen"
    );
}

#[test]
fn misrecorded_fail() {
    violates("misrecorded-fail", &["failed-write-visible"]);
}

#[test]
fn ack_max_then_gap() {
    violates("ack-max-then-gap", &["unknown-read"]);
}

#[test]
fn value_read_from_another_topic() {
    violates("value-read-from-another-topic", &["unknown-read"]);
}
