//! Every service of the catalogue: it holds, it breaks under a hazard, the audit names that hazard, and there is a
//! comparison that a team which runs it would argue about.

use klamm_model::config::Properties;
use klamm_scenarios::audit::{Subject, hazards};
use klamm_scenarios::catalog::{self, SERVICES};
use klamm_scenarios::run::{Options, properties_at, run_seed};
use klamm_scenarios::schema::{Scenario, Settings, variants};
use klamm_scenarios::seeds::Seed;

fn scenario(name: &str) -> Scenario {
    let mut found = catalog::find(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(found.len(), 1, "{name}");
    found.remove(0)
}

/// The scenarios in which a service breaks, each with the hazard it is named for.
fn broken(service: &str) -> Vec<(String, Scenario)> {
    let of = |s: &Scenario| s.name.strip_prefix(&format!("{service}-")).map(str::to_owned);
    let all = catalog::embedded().map(|(_, s)| s).filter(|s| s.tags.iter().any(|t| t == "services"));
    all.filter_map(|s| Some((of(&s)?, s))).collect()
}

/// The settings of a scenario as an audit would be given them: for each of its producers, with each of its consumers.
fn subjects(s: &Scenario) -> Vec<Subject> {
    let forwards = |c: &klamm_scenarios::schema::ClientSpec| Some(c.member.as_ref()?.forward.as_ref()?.config.clone());
    let own = s.clients.iter().filter(|c| c.load.is_some()).map(|c| c.config.clone());
    let producers: Vec<Settings> = own.chain(s.clients.iter().filter_map(forwards)).collect();
    let mut consumers: Vec<Settings> =
        s.clients.iter().filter(|c| c.load.is_none()).map(|c| c.config.clone()).collect();
    consumers.push(Settings::new());
    let topic = properties_at(&s.topics[0].config);
    let subject = |producer: &Settings, consumer: &Settings| Subject {
        producer: properties_at(producer),
        consumer: properties_at(consumer),
        topic: topic.clone(),
        broker: Properties::new(),
        ..Subject::default()
    };
    producers.iter().flat_map(|p| consumers.iter().map(move |c| subject(p, c))).collect()
}

#[test]
fn every_service_holds_breaks_and_is_compared() {
    for service in SERVICES {
        let safe = scenario(service);
        assert!(safe.expect.violations.is_empty() && safe.expect.permits.is_empty(), "{service} must hold");
        assert!(!safe.promise.is_empty() && safe.deadline.is_some(), "{service} promises something, by some time");
        let broken = broken(service);
        assert!(!broken.is_empty(), "{service} breaks under no hazard");
        for (hazard, s) in &broken {
            assert!(!s.expect.violations.is_empty(), "{}: a hazard demands its violation", s.name);
            let named = subjects(s).iter().flat_map(|subject| hazards(subject, &[])).find(|h| h.name == *hazard);
            let named = named.unwrap_or_else(|| panic!("the audit does not name `{hazard}` of {}", s.name));
            assert!(named.hurts.iter().any(|h| h == service), "`{hazard}` is not said to hurt {service}");
            assert!(named.scenarios.contains(&s.name), "{:?}", named.scenarios);
        }
        let compared = scenario(&format!("compare/{service}"));
        assert!(compared.tags.iter().any(|t| t == "compare") && compared.deadline.is_some(), "{service}");
        assert!(variants(&compared).unwrap().len() >= 3, "{service}: nothing to argue about");
    }
    for (place, s) in catalog::embedded().filter(|(_, s)| s.tags.iter().any(|t| t == "services")) {
        let of = |service: &&&str| s.name == ***service || s.name.starts_with(&format!("{service}-"));
        assert!(SERVICES.iter().any(|service| of(&service)), "{place} belongs to no service");
    }
}

#[test]
fn what_services_do_is_measured_end_to_end_and_the_same_each_time() {
    let scenario = scenario("supply-chain");
    let seed = Seed(0x5eed).derive(&scenario.name, 0);
    let run = || run_seed(&scenario, seed.0, &Options { timeline: true, ..Options::default() });
    let (one, two) = (run(), run());
    let (a, b) = (one.services.unwrap(), two.services.unwrap());
    assert_eq!((&a.end_to_end, &a.steps, &a.origins), (&b.end_to_end, &b.steps, &b.origins));
    assert_eq!((a.records, a.late, a.twice, a.lag_peak, a.behind), (b.records, b.late, b.twice, b.lag_peak, b.behind));
    assert!(a.records > 100 && a.unfinished == 0, "{a:?}");
    assert_eq!(a.end_to_end.len(), a.records);
    // Nothing ends before its origin was answered, and what is behind has waited.
    assert!(a.end_to_end.value_at_quantile(0.5) > a.origins.value_at_quantile(0.5), "{a:?}");
    assert!(a.lag_peak > 0 && !one.timeline.unwrap().services.is_empty());
}

#[test]
fn a_line_that_commits_first_skips_steps_and_origins_do_not_notice_who_is_missing() {
    let compared = scenario("compare/factory-line");
    let label = |word: &str| {
        let all = variants(&compared).unwrap();
        all.into_iter().find(|v| v.label == word).unwrap_or_else(|| panic!("there is no variant `{word}`")).scenario
    };
    let run = |scenario: &Scenario| {
        let outcomes = (0..2).map(|n| Seed(0x5eed).derive(&compared.name, n));
        outcomes.map(|seed| run_seed(scenario, seed.0, &Options::default())).collect::<Vec<_>>()
    };
    let half_done = |outcome: &klamm_scenarios::run::SeedOutcome| {
        outcome.findings.iter().filter(|f| f.check == klamm_model::checks::Check::HalfDone).count()
    };
    let (safe, first) = (run(&label("two to a station")), run(&label("commits first")));
    assert!(safe.iter().all(|o| half_done(o) == 0) && first.iter().any(|o| half_done(o) > 0));
    for outcome in &safe {
        let services = outcome.services.as_ref().unwrap();
        assert!(services.down > 3_000_000_000 && services.origins_down.len() > 50, "{services:?}");
        // Nobody welds for four seconds: bodies wait, and whoever sends them does not.
        assert!(services.origins_down.value_at_quantile(0.99) < 100_000_000, "{services:?}");
        assert!(services.lag_peak > 50 && services.behind > 2_000_000_000, "{services:?}");
    }
    let unfinished = |outcomes: &[klamm_scenarios::run::SeedOutcome]| -> u64 {
        outcomes.iter().map(|o| o.services.as_ref().unwrap().unfinished).sum()
    };
    assert!(unfinished(&safe) == 0 && unfinished(&first) > 0, "what was ticked off and not done goes no further");
}
