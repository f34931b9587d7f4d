//! The report as JUnit's XML: one test suite per section.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::{Report, ReportError};
use crate::finding::{Failure, Finding, Verdict};

pub(super) fn text(report: &Report) -> Result<String, ReportError> {
    let mut junit = Junit::new(format!("extension-conformance: {}", report.subject));
    for of_section in report.findings.chunk_by(|one, other| one.rule.section == other.rule.section) {
        let section = of_section.first().map_or("", |finding| finding.rule.section);
        let mut suite = TestSuite::new(section);
        suite.add_test_cases(of_section.iter().map(case));
        junit.add_test_suite(suite);
    }
    junit.to_string().map_err(|error| ReportError::Format(error.to_string()))
}

fn case(Finding { rule, verdict, took }: &Finding) -> TestCase {
    let mut status = match verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Failed(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::NotJudged(_) => TestCaseStatus::non_success(NonSuccessKind::Error),
        Verdict::NotApplicable(_) | Verdict::NotSupported(_) => TestCaseStatus::skipped(),
    };
    if let Some(failure) = verdict.failure() {
        status.set_message(failure.seen.lines().next().unwrap_or_default()).set_type(rule.level.to_string());
        status.set_description(description(rule.sentence, rule.otherwise, failure));
    }
    if let Some(reason) = verdict.reason() {
        status.set_message(format!("{}: {reason}", verdict.word()));
    }
    let mut case = TestCase::new(rule.name, status);
    case.set_classname(format!("{}.{}", rule.level, rule.section)).set_time(*took);
    case
}

fn description(sentence: &str, otherwise: &str, Failure { seen, objects, requests }: &Failure) -> String {
    let mut text = format!("expected: {sentence}\notherwise: {otherwise}\nseen: {seen}");
    text.extend(objects.iter().map(|object| format!("\nobject: {object}")));
    text.extend(requests.iter().map(|request| format!("\nrequest: {request}")));
    text
}
