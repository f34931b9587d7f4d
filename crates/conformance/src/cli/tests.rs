//! What the command line says of a controller, and what the exit code says of a run.

use std::fs;

use clap::CommandFactory as _;
use extension_contract::kinds;
use serde_json::json;

use super::*;
use crate::finding::{Failure, Verdict};
use crate::subject::Feature;

/// Parses flags, with a Worker whose spec has this text.
fn parsed(spec: &str, flags: &[&str]) -> Args {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), spec).unwrap();
    let (_, path) = file.keep().unwrap();
    let path = path.display().to_string();
    Args::parse_from([&["extension-conformance", "--kind", "Worker", "--spec", &path], flags].concat())
}

#[test]
fn command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn type_comes_from_the_spec_unless_a_flag_names_it() {
    let type_ = |spec, flags: &[&str]| parsed(spec, flags).subject().map(|subject| subject.type_).ok();
    assert_eq!(type_("{type: aws}", &[]).as_deref(), Some("aws"));
    assert_eq!(type_("{type: aws}", &["--type", "gcp"]).as_deref(), Some("gcp"));
    assert_eq!(type_("{region: b}", &[]), None);
}

#[test]
fn command_can_be_restarted_and_a_running_controller_cannot() {
    let features = |flags: &[&str]| parsed("{type: a}", flags).subject().unwrap().features;
    assert_eq!(
        features(&["--command", "c", "--features", "migrate,retry"]),
        [Feature::Migrate, Feature::Retry, Feature::Restart]
    );
    assert_eq!(features(&["--kubeconfig", "k"]), []);
    let several = parsed("{type: a}\n---\n{kind: Secret}", &["--kubeconfig", "k"]).subject();
    assert!(several.is_err_and(|failed| failed.message().unwrap_or_default().contains("--apply")));
}

#[test]
fn neither_command_nor_kubeconfig_is_an_error() {
    assert!(parsed("{type: a}", &[]).place().is_err());
}

#[test]
fn pattern_selects_rules_and_an_unknown_one_is_an_error() {
    let names = |patterns: &[&str]| {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        select::rules(&patterns).map(|rules| rules.iter().map(|rule| rule.name).collect::<Vec<_>>()).ok()
    };
    assert_eq!(
        names(&["timestamp_stays_*", "spec_is_never_written"]).unwrap(),
        ["timestamp_stays_byte_for_byte", "spec_is_never_written"]
    );
    assert_eq!(names(&["spec_is_never_written", "spec_was_*"]), None);
    assert_eq!(names(&[]).unwrap().len(), crate::rules::all().len());
}

#[test]
fn exit_code_follows_from_the_worst_finding() {
    let failed =
        || Verdict::Failed(Box::new(Failure { seen: String::new(), objects: Vec::new(), requests: Vec::new() }));
    let skipped = || Verdict::NotSupported("needs Migrate".to_owned());
    let unknown = || Verdict::NotJudged("interrupted".to_owned());
    let rule = |level| crate::rules::all().into_iter().find(|rule| rule.level == level).unwrap();
    for (level, verdicts, fail_on, expected) in [
        (Level::Must, vec![Verdict::Passed, skipped()], Level::Should, KEPT),
        (Level::Must, vec![Verdict::Passed, failed()], Level::Must, BROKEN),
        (Level::Should, vec![Verdict::Passed, failed()], Level::Should, BROKEN),
        (Level::Should, vec![Verdict::Passed, failed()], Level::Must, KEPT),
        (Level::May, vec![Verdict::Passed, failed()], Level::Should, KEPT),
        (Level::May, vec![Verdict::Passed, failed()], Level::May, BROKEN),
        (Level::Must, vec![failed(), unknown()], Level::Should, BROKEN),
        (Level::Must, vec![Verdict::Passed, unknown()], Level::Should, NOT_JUDGED),
        (Level::Must, vec![skipped()], Level::Should, NOT_JUDGED),
    ] {
        let finding = |verdict| Finding { rule: rule(level), verdict, took: std::time::Duration::ZERO };
        let subject = Subject::new(&kinds::WORKER, "a", json!({}));
        let report = Report::new(&subject, String::new(), verdicts.into_iter().map(finding).collect());
        assert_eq!(code(&report, fail_on), expected, "{level} {:?}", report.findings);
    }
}

#[test]
fn plan_names_what_a_run_creates_and_how_to_remove_it() {
    let subject = Subject::new(&kinds::WORKER, "aws", json!({}));
    let plan = cluster::plan("kit1", "https://seed.example", &subject, &crate::rules::all());
    for part in [
        "Worker of type aws on https://seed.example",
        "shoot--kit1--",
        "extension-conformance/run=kit1",
        "kubectl annotate workers.extensions.gardener.cloud --all-namespaces",
        "kubectl delete namespaces,clusters.extensions.gardener.cloud --selector",
    ] {
        assert!(plan.contains(part), "{part} in {plan}");
    }
    let bucket = Subject::new(&kinds::BACKUP_BUCKET, "aws", json!({}));
    let plan = cluster::plan("kit1", "https://seed.example", &bucket, &crate::rules::all());
    assert!(plan.contains("kubectl delete backupbuckets.extensions.gardener.cloud --selector"), "{plan}");
}

#[test]
fn readme_shows_the_plan_as_it_is() {
    let subject = Subject::new(&kinds::NETWORK, "mock", json!({}));
    let plan = cluster::plan("kit4f0a91", "https://seed.example/", &subject, &crate::rules::all());
    assert!(include_str!("../../README.md").contains(&plan), "write it to README.md:\n{plan}");
}
