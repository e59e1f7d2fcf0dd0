//! `junit.xml`, as CI systems read it: a suite for the run, a case for each scenario.

use crate::record::{RunRecord, ScenarioRecord, Verdict};
use crate::verdict::{sentence, unmet};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The report as XML.
///
/// # Errors
/// The XML writer's, in words.
pub fn to_xml(run: &RunRecord) -> Result<String, String> {
    let mut report = Report::new("klamm");
    let mut suite = TestSuite::new(run.suite.clone());
    suite.add_property(Property::new("verdict", run.verdict().word()));
    suite.add_property(Property::new("exit", crate::verdict::exit_code(run).to_string()));
    for defect in &run.defects {
        suite.add_property(Property::new("defect", defect.clone()));
    }
    for (i, s) in run.scenarios.iter().enumerate() {
        let mut case = TestCase::new(run.title(i), status(s, run.is_whole()));
        case.set_classname(run.suite.clone());
        case.set_time(Duration::from_nanos(s.wall_ns));
        case.add_property(Property::new("verdict", sentence(s)));
        suite.add_test_case(case);
    }
    report.add_test_suite(suite);
    report.to_string().map_err(|e| e.to_string())
}

fn status(s: &ScenarioRecord, whole: bool) -> TestCaseStatus {
    match s.verdict {
        Verdict::Held => TestCaseStatus::success(),
        Verdict::NotRun => {
            let mut status = TestCaseStatus::skipped();
            status.set_type(s.verdict.word());
            status.set_message(sentence(s));
            status
        }
        Verdict::Violated | Verdict::Nondeterministic | Verdict::NotShown => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(s.verdict.word());
            status.set_message(sentence(s));
            let failures = s.failures.iter().map(|f| format!("{}: {}\n  {}", f.check, f.message, f.replay));
            let unmet = if whole { unmet(s) } else { Vec::new() };
            let lines: Vec<String> = failures.chain(unmet).collect();
            if !lines.is_empty() {
                status.set_description(lines.join("\n"));
            }
            status
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_says_the_verdict_and_what_was_not_run_is_skipped() {
        let scenario = |name: &str, verdict| ScenarioRecord {
            name: name.into(),
            verdict,
            planned: 9,
            ..ScenarioRecord::default()
        };
        let run = RunRecord {
            suite: "smoke".into(),
            defects: vec!["no-dedup-window".into()],
            interrupted: Some(143),
            scenarios: vec![
                scenario("a", Verdict::Held),
                scenario("b", Verdict::NotRun),
                ScenarioRecord { required_marks: vec!["elected".into()], ..scenario("c", Verdict::NotShown) },
            ],
            ..RunRecord::default()
        };
        let xml = to_xml(&run).unwrap();
        assert!(xml.contains("tests=\"3\" skipped=\"1\" failures=\"1\""), "{xml}");
        assert!(xml.contains("<skipped message=\"not run: 0 of 9 seeds were run\" type=\"not run\"/>"), "{xml}");
        assert!(xml.contains("name=\"defect\" value=\"no-dedup-window\""), "{xml}");
        assert!(xml.contains("name=\"exit\" value=\"143\""), "{xml}");
        assert!(xml.contains("mark `elected` was seen in 0 of 0 seeds; raise --seeds"), "{xml}");
    }
}
