//! `junit.xml`, as CI systems read it: a suite for the run, a case for each scenario.

use crate::record::{RunRecord, Verdict};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The report as XML.
///
/// # Errors
/// The XML writer's, in words.
pub fn to_xml(run: &RunRecord) -> Result<String, String> {
    let mut report = Report::new("klamm");
    let mut suite = TestSuite::new(run.suite.clone());
    for s in &run.scenarios {
        let status = match s.verdict {
            Verdict::Held => TestCaseStatus::success(),
            Verdict::Violated | Verdict::Nondeterministic => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                if let Some(f) = s.failures.first() {
                    status.set_type(f.check.clone());
                    status.set_message(f.message.clone());
                    let lines = s.failures.iter().map(|f| format!("{}: {}\n  {}", f.check, f.message, f.replay));
                    status.set_description(lines.collect::<Vec<_>>().join("\n"));
                }
                status
            }
            Verdict::Unseen => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_type("unseen");
                status.set_message(format!("never seen: {}", missing(s).join(", ")));
                status
            }
        };
        let mut case = TestCase::new(s.name.clone(), status);
        case.set_classname(run.suite.clone());
        case.set_time(Duration::from_nanos(s.wall_ns));
        suite.add_test_case(case);
    }
    report.add_test_suite(suite);
    report.to_string().map_err(|e| e.to_string())
}

/// What a scenario had to show and did not.
pub fn missing(s: &crate::record::ScenarioRecord) -> Vec<String> {
    let marks = s.required_marks.iter().filter(|m| !s.marks.contains_key(*m)).cloned();
    let unseen = s.expected.iter().filter(|c| !s.findings.contains_key(*c)).map(|c| format!("violation {c}"));
    marks.chain(unseen).collect()
}
