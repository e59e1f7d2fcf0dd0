use super::*;
use crate::figures::RunFigures;
use crate::record::{Operations, SeedRecord};

fn run(name: &str, build: &str, p99: u64, digest: &str) -> Part {
    let latency = Latency { count: 10, p50: 1_000_000, p90: 2_000_000, p99, p999: p99, max: p99 };
    let seed =
        |n: u64| SeedRecord { seed: format!("{n:#x}"), digest: digest.to_owned(), events: 5, ..SeedRecord::default() };
    let scenario = ScenarioRecord {
        name: "orders".into(),
        setting: "acks=all\nnvme".into(),
        seeds: (0..3).map(seed).collect(),
        response: Some(latency),
        operations: Operations { sends: 100, acknowledged: 100, ..Operations::default() },
        ..ScenarioRecord::default()
    };
    let record =
        RunRecord { master: "0x1".into(), build: build.into(), scenarios: vec![scenario], ..RunRecord::default() };
    let figures = RunFigures { schema: 1, scenarios: vec![ScenarioFigures::default()] };
    Part { name: name.into(), record, figures }
}

fn against(a: Part, b: Part) -> Result<Versus, String> {
    versus(&Runs(vec![a]), &Runs(vec![b]), false)
}

#[test]
fn every_figure_that_differs_is_a_change_and_others_are_none() {
    let same = against(run("a", "1", 5_000_000, "d"), run("b", "2", 5_000_000, "d")).unwrap();
    assert!(!same.scenarios[0].differs());
    let v = against(run("a", "1", 5_000_000, "d"), run("b", "2", 6_000_000, "e")).unwrap();
    let changed: Vec<&str> = v.scenarios[0].changes.iter().filter(|c| c.differs()).map(|c| c.figure).collect();
    assert_eq!((changed, v.scenarios[0].same), (vec!["p99", "p99.9", "max"], 0));
    assert!(console(&v).contains("3 of 3 seeds went another way"));
    assert!(markdown(&v, &[]).contains("| p99 | 5.00ms | 6.00ms | +20.0% worse |"));
}

#[test]
fn a_worse_verdict_is_told_and_comes_before_a_gate() {
    let verdict = |base, other| {
        let (mut a, mut b) = (run("a", "1", 5, "d"), run("b", "2", 5, "d"));
        (a.record.scenarios[0].verdict, b.record.scenarios[0].verdict) = (base, other);
        against(a, b).unwrap()
    };
    let v = verdict(Verdict::Held, Verdict::NotShown);
    assert_eq!((v.exit_code(true), v.exit_code(false)), (4, 4));
    assert!(console(&v).contains("was held, is now not shown"), "{}", console(&v));
    let v = verdict(Verdict::Violated, Verdict::Held);
    assert_eq!((v.exit_code(true), v.exit_code(false)), (5, 0));
    assert!(markdown(&v, &[]).contains("was violated, is now held"));
    assert!(console(&verdict(Verdict::Held, Verdict::Held)).contains("held in both; all 3 seeds went the same way"));
}

#[test]
fn what_is_not_comparable_is_refused() {
    let a = || run("a", "1", 5, "d");
    let refused = |change: fn(&mut Part)| {
        let mut b = run("b", "2", 5, "d");
        change(&mut b);
        against(a(), b).unwrap_err()
    };
    assert!(refused(|b| b.record.master = "0x2".into()).contains("with the same --master"));
    assert!(refused(|b| b.record.shard = Some((1, 2))).contains("put the shards together first"));
    assert!(refused(|b| b.record.scenarios[0].setting = "acks=1".into()).contains("--force"));
    assert!(refused(|b| b.record.scenarios[0].digest = "x".into()).contains("its file was changed"));
    assert!(refused(|b| drop(b.record.scenarios[0].seeds.pop())).contains("with the same --seeds"));
    assert!(refused(|b| b.record.scenarios[0].name = "x".into()).contains("no scenario in common"));
    let mut b = run("b", "2", 5, "d");
    b.record.scenarios[0].setting = "acks=1".into();
    assert!(versus(&Runs(vec![a()]), &Runs(vec![b]), true).is_ok(), "forced");
}

#[test]
fn a_gate_falls_when_and_only_when_its_limit_is_exceeded() {
    let v = against(run("a", "1", 5_000_000, "d"), run("b", "2", 6_000_000, "e")).unwrap();
    let back = against(run("b", "2", 6_000_000, "e"), run("a", "1", 5_000_000, "d")).unwrap();
    let exceeded = |gate: &str, v: &Versus| Gate::parse(gate).unwrap().exceeded(v).unwrap();
    assert_eq!(exceeded("p99=20%", &v).len(), 0, "just within");
    assert_eq!(exceeded("p99=19%", &v), ["orders: p99 went from 5.00ms to 6.00ms, +20.0% worse; the limit is +19.0%"]);
    assert_eq!(exceeded("p99=0", &back).len(), 0, "better is not worse");
    assert_eq!(exceeded("exact", &back).len(), 1, "but it is not the same");
    assert_eq!(exceeded("lost=0, acknowledged=0", &v).len(), 0);
    let mut lossy = run("b", "2", 5_000_000, "e");
    lossy.record.scenarios[0].operations.lost = 1;
    lossy.record.scenarios[0].operations.acknowledged = 90;
    let v = against(run("a", "1", 5_000_000, "d"), lossy).unwrap();
    assert_eq!(exceeded("lost=50%,acknowledged=5%", &v).len(), 2, "from none, and fewer");
    assert!(Gate::parse("wall=5%").unwrap().exceeded(&v).is_err(), "a gate that cannot be judged does not pass");
}

#[test]
fn slips_in_a_gate_are_named() {
    let said = |gate: &str| Gate::parse(gate).unwrap_err();
    assert!(said("p98=5%").contains("`p98` is no figure"));
    assert!(said("p99").contains("such as p99=5%"));
    assert!(said("p99=5").contains("expected a share"));
    assert!(said("sends=5%").contains("no figure"));
    assert!(said("").contains("no limit"));
}

#[test]
fn repetitions_belong_to_their_build() {
    let parts = |builds: &[&str]| builds.iter().map(|b| run(b, b, 5, "d")).collect::<Vec<_>>();
    let sizes = |builds: &[&str]| by_build(parts(builds)).iter().map(|g| g.0.len()).collect::<Vec<_>>();
    assert_eq!(sizes(&["x", "y"]), [1, 1]);
    assert_eq!(sizes(&["x", "x", "y"]), [2, 1]);
    assert_eq!(sizes(&["x", "y", "x", "y", "z"]), [2, 2, 1]);
    assert_eq!(sizes(&["x", "x"]), [1, 1], "a run against itself");
    assert_eq!(sizes(&["x", "x", "x"]), [1, 2]);
    assert_eq!(sizes(&["", ""]), [1, 1], "builds unknown");
}
