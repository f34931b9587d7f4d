//! No input makes a controller panic, mislead its user, or write what the API server refuses.

use std::fs;

use mock_fleet::kinds::ALL;
use mock_fuzz::{Crds, round};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

/// Inputs of each kind.
const CASES: u32 = 150;

#[test]
#[expect(clippy::print_stderr, reason = "a download takes a minute")]
fn every_object_is_served_or_named_in_an_error() {
    let crds = Crds::load(&|step| eprintln!("{step}")).unwrap();
    let findings = ALL.iter().filter_map(|package| {
        // A finding describes its object, which belongs into a test of its own. The bytes are of no use to a reader.
        let mut runner = TestRunner::new(Config {
            cases: CASES,
            max_shrink_iters: 200,
            failure_persistence: None,
            ..Config::default()
        });
        let input = prop::collection::vec(any::<u8>(), 0..3000);
        let holds = |data: Vec<u8>| {
            round(&data, &crds, Some(*package)).map_err(|finding| TestCaseError::fail(finding.to_string()))
        };
        match runner.run(&input, holds) {
            Ok(()) => None,
            Err(TestError::Fail(finding, _)) => Some(finding.to_string()),
            Err(other) => Some(other.to_string()),
        }
    });
    let findings: Vec<_> = findings.collect();
    assert!(findings.is_empty(), "{}", findings.join("\n\n"));
}

#[test]
#[expect(clippy::print_stderr, reason = "a download takes a minute")]
fn kept_inputs_of_the_fuzz_target_break_no_promise() {
    let crds = Crds::load(&|step| eprintln!("{step}")).unwrap();
    let corpus = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).unwrap();
    let mut count = 0;
    for file in corpus {
        let path = file.unwrap().path();
        round(&fs::read(&path).unwrap(), &crds, None).unwrap_or_else(|finding| panic!("{}: {finding}", path.display()));
        count += 1;
    }
    assert!(count > 100, "the corpus has {count} inputs");
}
