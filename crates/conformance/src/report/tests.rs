//! Each format says of each verdict what a reader needs.

use std::time::Duration;

use extension_contract::kinds;
use serde_json::{Value, json};

use super::*;
use crate::rules;

/// A report with one finding of each sort.
fn report() -> Report {
    let failure = Failure {
        seen: "gave up waiting for readiness (a < b & c) of a:\n```json\n{}".to_owned(),
        objects: vec![json!({ "metadata": { "name": "a" } })],
        requests: Vec::new(),
    };
    let verdicts = [
        Verdict::Failed(Box::new(failure)),
        Verdict::Passed,
        Verdict::NotApplicable("its objects have no Cluster".to_owned()),
        Verdict::NotSupported("needs --features migrate".to_owned()),
        Verdict::NotJudged("cannot patch a: denied | refused".to_owned()),
    ];
    let musts = rules::all().into_iter().filter(|rule| rule.level == Level::Must);
    let finding = |(rule, verdict)| Finding { rule, verdict, took: Duration::from_millis(1500) };
    let subject = Subject::new(&kinds::WORKER, "aws", json!({}));
    Report::new(&subject, "a test".to_owned(), musts.zip(verdicts).map(finding).collect())
}

#[test]
fn summary_counts_each_verdict_and_names_the_level_of_failures() {
    let summary = report().summary();
    assert_eq!(summary, "1 passed, 1 FAILED (1 must), 1 not judged, 1 not supported, 1 not applicable");
    assert_eq!((report().not_judged(), report().failures(Level::Must).count()), (1, 1));
}

#[test]
fn terminal_shows_expected_seen_object_and_reasons() {
    let (report, text) = (report(), report().terminal());
    let failed = report.findings[0].rule;
    for part in
        [failed.name, failed.sentence, failed.otherwise, failed.source, "(a < b & c)", r#"{"metadata":{"name":"a"}}"#]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("not applicable: its objects have no Cluster\n    "), "{text}");
    assert!(text.ends_with(
        "Worker of type aws: 1 passed, 1 FAILED (1 must), 1 not judged, 1 not supported, 1 not applicable\n"
    ));
}

#[test]
fn markdown_escapes_html_cells_and_fences() {
    let text = report().markdown();
    assert!(text.contains("<summary>seen: gave up waiting for readiness (a &lt; b &amp; c) of a:</summary>"), "{text}");
    assert!(text.contains("````\ngave up waiting") && text.contains("denied \\| refused"), "{text}");
}

#[test]
fn json_has_one_entry_per_rule_with_its_failure() {
    let json: Value = serde_json::from_str(&report().json().unwrap()).unwrap();
    let expected = json!({
        "failed": 1, "passed": 1, "not applicable": 1, "not supported": 1, "not judged": 1,
    });
    assert_eq!(json["summary"], expected);
    assert_eq!((&json["rules"][0]["verdict"], &json["rules"][0]["level"]), (&json!("failed"), &json!("must")));
    assert_eq!(json["rules"][0]["objects"][0]["metadata"]["name"], "a");
    assert_eq!((&json["rules"][1]["seconds"], &json["rules"][1].get("seen")), (&json!(1.5), &None));
}

#[test]
fn junit_counts_failures_errors_and_skipped_rules() {
    let text = report().junit().unwrap();
    assert!(text.contains(r#"tests="5" failures="1" errors="1""#), "{text}");
    assert_eq!(text.matches("<skipped").count(), 2, "{text}");
    assert!(text.contains("(a &lt; b &amp; c)"), "{text}");
}

#[test]
fn format_follows_from_the_name_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for (name, start) in [("a.json", "{"), ("a.md", "## ")] {
        let file = folder.path().join(name);
        report().write(&file).unwrap();
        assert!(fs::read_to_string(file).unwrap().starts_with(start));
    }
    let error = report().write(&folder.path().join("a.txt")).unwrap_err().to_string();
    assert!(error.ends_with("name a file that ends with .json or .md"), "{error}");
    assert!(has_format(Path::new("report")).is_err());
}
