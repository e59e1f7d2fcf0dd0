//! Hand-made records, and what is said of them.

use super::*;
use crate::record::{Judged, Operations, SeedRecord, Seen};
use std::collections::BTreeMap;

fn scenario(seeds: usize) -> ScenarioRecord {
    ScenarioRecord {
        name: "a".into(),
        seeds: vec![SeedRecord::default(); seeds],
        planned: seeds as u64,
        judged: Some(Judged { asks: true, acknowledged: 9, read: seeds as u64, ..Judged::default() }),
        ..ScenarioRecord::default()
    }
}

fn found(violations: u64, permitted: &[(&str, u64)]) -> FindingCount {
    let permitted = permitted.iter().map(|(cause, n)| ((*cause).to_owned(), *n)).collect();
    FindingCount { violations, permitted, seeds: 1 }
}

fn judge(mut s: ScenarioRecord, whole: bool) -> ScenarioRecord {
    s.verdict = Verdict::of(&s, false, s.seeds.iter().any(|s| !s.violated.is_empty()), whole);
    s
}

#[test]
fn a_permitted_loss_is_said_in_the_same_line_in_words_and_numbers() {
    let mut s = scenario(2);
    s.findings.insert("unseen".into(), found(0, &[("acks=1 and a change of leader", 600)]));
    s.findings.insert("lost-write".into(), found(0, &[("acks=1 and a change of leader", 5)]));
    s.findings.insert("duplicate".into(), found(0, &[("ambiguous retry", 1)]));
    let s = judge(s, true);
    assert_eq!(
        sentence(&s),
        "held, 605 acknowledged records lost (acks=1 and a change of leader), 1 record repeated (ambiguous retry)"
    );
    let line = crate::console::scenario(&s, true, crate::console::Paint { colour: false });
    let first = line.lines().next().unwrap();
    assert!(first.contains("held") && first.contains("605 acknowledged records lost (acks=1 and"), "{line}");
}

#[test]
fn acks_0_loses_in_words_too() {
    let mut s = scenario(1);
    s.judged = Some(Judged { read: 1, ..Judged::default() });
    s.operations = Operations { silently_lost: 7, ..Operations::default() };
    assert_eq!(sentence(&judge(s, true)), "held, 7 records sent and never seen again (acks=0)");
}

#[test]
fn a_hazard_that_shows_is_told_as_what_it_is() {
    let mut s = scenario(1);
    s.expected = vec!["half-done".into()];
    s.findings.insert("half-done".into(), found(3, &[]));
    assert_eq!(sentence(&judge(s, true)), "held, 3 records committed half done (the hazard of this scenario)");
}

#[test]
fn what_is_forbidden_is_no_permitted_finding() {
    let mut s = scenario(2);
    s.forbid = vec!["lost-write".into()];
    s.findings.insert("lost-write".into(), found(0, &[("acks=1", 3)]));
    s.seeds[1].violated = vec!["lost-write".into()];
    assert!(permitted(&s).is_empty());
    assert_eq!(sentence(&judge(s.clone(), true)), "violated: lost-write in 1 of 2 seeds");
    (s.forbid, s.strict, s.permits) = (Vec::new(), true, vec!["lost-write".into()]);
    assert_eq!(permitted(&s).len(), 1, "named, so tolerated even under --strict");
}

#[test]
fn what_was_never_seen_says_in_how_many_seeds_and_what_would_help() {
    let mut s = scenario(10);
    s.required_marks = vec!["fenced".into(), "elected".into(), "moved".into()];
    s.marks = BTreeMap::from([("elected".to_owned(), 3)]);
    s.expected = vec!["lost-write".into()];
    s.seen_before = BTreeMap::from([
        ("fenced".to_owned(), Seen { seeds: 12, of: 200 }),
        ("moved".to_owned(), Seen { seeds: 200, of: 200 }),
    ]);
    assert_eq!(
        unmet(&s),
        [
            "mark `fenced` was seen in 0 of 10 seeds; it was seen in 12 of 200 before: raise --seeds to 75",
            "mark `moved` was seen in 0 of 10 seeds; it was seen in 200 of 200 before: something has changed",
            "violation `lost-write` was seen in 0 of 10 seeds; raise --seeds",
        ]
    );
    assert_eq!(judge(s.clone(), true).verdict, Verdict::NotShown);
    assert_eq!(judge(s, false).verdict, Verdict::Held, "a shard or a replay is not blamed");
}

#[test]
fn a_fault_that_took_effect_in_no_seed_was_no_test() {
    let mut s = scenario(4);
    let idle = BTreeMap::from([("its condition was never true".to_owned(), 3), ("no such target".to_owned(), 1)]);
    s.faults = vec![
        FaultRecord {
            fault: "kill leader(orders-0)".into(),
            due: 4,
            fired: 4,
            in_effect: 4,
            seeds: 4,
            ..Default::default()
        },
        FaultRecord { fault: "pause b1".into(), due: 4, idle, ..Default::default() },
    ];
    let s = judge(s, true);
    assert_eq!(
        sentence(&s),
        "not shown: fault 2 (pause b1) took effect in 0 of 4 seeds: its condition was never true (3 times), no such \
         target (1 time)"
    );
    assert_eq!(
        faults(&s).unwrap(),
        "faults that took effect, by seeds: kill leader(orders-0) in 4 of 4 · pause b1 in 0 of 4"
    );
    let run = RunRecord { scenarios: vec![s], ..RunRecord::default() };
    assert_eq!(exit_code(&run), 4);
    let page = crate::html::run_page(&run, &Vec::new(), &[Vec::new()]);
    assert!(page.contains("not shown") && page.contains("its condition was never true"), "{page}");
    assert!(crate::markdown::summary(&run).contains("| a | pause b1 | 4 | 0 | 0 | 0 of 4 |"));
}

#[test]
fn nothing_judged_is_nothing_green() {
    let mut s = scenario(3);
    s.judged = Some(Judged { asks: true, sends: 40, refused: 40, acknowledged: 0, read: 3 });
    assert_eq!(
        sentence(&judge(s.clone(), true)),
        "not shown: nothing was acknowledged in 3 seeds (40 of 40 sends were refused or given up): nothing was judged"
    );
    s.judged = Some(Judged { asks: true, sends: 4, acknowledged: 4, ..Judged::default() });
    assert!(sentence(&judge(s.clone(), true)).contains("nothing that was sent was read in 3 seeds"));
    s.judged = Some(Judged { asks: true, sends: 4, acknowledged: 4, read: 1, refused: 0 });
    assert_eq!(judge(s.clone(), true).verdict, Verdict::Held);
    s.judged = None;
    assert_eq!(judge(s, true).verdict, Verdict::Held, "an old record does not know");
}

#[test]
fn what_did_not_run_is_not_held() {
    let mut s = scenario(3);
    s.planned = 100;
    assert_eq!(sentence(&judge(s.clone(), true)), "not run: 3 of 100 seeds were run");
    s.seeds[0].violated = vec!["duplicate".into()];
    assert_eq!(sentence(&judge(s, true)), "violated: duplicate in 1 of 3 seeds");
    let s = ScenarioRecord { planned: 0, seeds: Vec::new(), ..scenario(0) };
    assert_eq!(sentence(&judge(s, true)), "not run: no seed of it was run");
}

#[test]
fn exit_codes_have_one_order() {
    let run = |verdicts: &[Verdict], interrupted| RunRecord {
        scenarios: verdicts.iter().map(|v| ScenarioRecord { verdict: *v, ..scenario(1) }).collect(),
        interrupted,
        ..RunRecord::default()
    };
    use Verdict::*;
    assert_eq!(exit_code(&run(&[Held, Held], None)), 0);
    assert_eq!(exit_code(&run(&[Held, NotShown], None)), 4);
    assert_eq!(exit_code(&run(&[NotShown, Violated, Held], None)), 1);
    assert_eq!(exit_code(&run(&[Violated, Nondeterministic], None)), 3);
    assert_eq!(exit_code(&run(&[Nondeterministic, NotRun], Some(130))), 130);
    assert_eq!(exit_code(&run(&[Held, NotRun], None)), 4);
    assert_eq!(exit_code(&run(&[], None)), 4, "nothing was run");
    let shard = RunRecord { shard: Some((5, 8)), ..run(&[NotRun], None) };
    assert_eq!(exit_code(&shard), 0, "more shards than seeds");
    assert_eq!(
        [&[5, 4, 0][..], &[4, 1, 5], &[1, 3], &[3, 143, 1], &[0, 5], &[0]].map(worst_code),
        [4, 1, 3, 143, 5, 0]
    );
}

#[test]
fn every_output_says_the_same_word_and_json_lists_all() {
    for verdict in Verdict::ALL {
        let s = ScenarioRecord { verdict, ..scenario(1) };
        let run = RunRecord { suite: "s".into(), scenarios: vec![s], ..RunRecord::default() };
        let word = verdict.word();
        let paint = crate::console::Paint { colour: false };
        assert!(crate::console::scenario(&run.scenarios[0], true, paint).starts_with(&format!("  {word}")));
        assert!(crate::html::run_page(&run, &Vec::new(), &[Vec::new()]).contains(&format!("\">{word}</span>")));
        assert!(crate::markdown::summary(&run).contains(word));
        assert!(crate::junit::to_xml(&run).unwrap().contains(&format!("name=\"verdict\" value=\"{word}")));
        let json: serde_json::Value = serde_json::from_str(&run.to_json()).unwrap();
        assert!(json["verdicts"]["a"].as_str().unwrap().starts_with(word));
        assert_eq!(json["exit"], exit_code(&run));
        assert_eq!(json["verdict"], word.replace(' ', "-"));
    }
}

#[test]
fn checks_that_a_scenario_names_are_told_even_if_they_never_judged() {
    let mut s = scenario(1);
    s.expected = vec!["lost-write".into()];
    s.forbid = vec!["duplicate".into()];
    s.armed = BTreeMap::from([("duplicate".to_owned(), 1_234), ("unseen".to_owned(), 1)]);
    let told: Vec<String> = armed(&s).into_iter().map(|(check, n)| format!("{check}: {}", judged(n))).collect();
    assert_eq!(told, ["duplicate: 1,234 times", "lost-write: armed in none", "unseen: 1 time"]);
    let run = RunRecord { scenarios: vec![judge(s, false)], ..RunRecord::default() };
    assert!(crate::html::run_page(&run, &Vec::new(), &[Vec::new()]).contains("armed in none"));
    let summary = crate::markdown::summary(&run);
    assert!(summary.contains("| a | lost-write | armed in none |"), "{summary}");
    assert!(summary.contains("| duplicate | 1,234 times | 1 of 1 |"), "{summary}");
    assert!(summary.contains("| lost-write | armed in none | 0 of 1 |"), "{summary}");
}
