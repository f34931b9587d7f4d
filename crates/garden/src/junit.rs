//! The steps of a walkthrough as `JUnit`'s XML, which every CI system reads.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::steps::Step;

/// One test suite, with a test case for each step.
pub(crate) fn report(suite: &str, steps: &[Step]) -> Result<String, SerializeError> {
    let mut tests = TestSuite::new(suite);
    tests.add_test_cases(steps.iter().map(|step| case(suite, step)));
    let mut report = Report::new(suite);
    report.add_test_suite(tests).to_string()
}

fn case(suite: &str, Step { name, took, failure }: &Step) -> TestCase {
    let mut status = TestCaseStatus::success();
    if let Some(failure) = failure {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(failure.as_str());
    }
    let mut case = TestCase::new(name.as_str(), status);
    case.set_classname(suite).set_time(*took);
    case
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_step_is_a_test_case_and_a_failure_has_its_reason() {
        let step = |name: &str, failure: Option<&str>| Step {
            name: name.to_owned(),
            took: Duration::from_millis(1500),
            failure: failure.map(str::to_owned),
        };
        let xml = report("a garden", &[step("one", None), step("two <b>", Some("\"x\" & y"))]).unwrap();
        assert!(xml.contains(r#"<testsuite name="a garden" tests="2" disabled="0" errors="0" failures="1">"#), "{xml}");
        assert!(xml.contains(r#"<testcase name="one" classname="a garden" time="1.500">"#), "{xml}");
        assert!(xml.contains(r#"name="two &lt;b&gt;""#), "{xml}");
        assert!(xml.contains("message=\"&quot;x&quot; &amp; y\""), "{xml}");
    }
}
