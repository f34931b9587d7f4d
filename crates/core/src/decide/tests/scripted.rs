//! Operations under a script, simulated with a virtual clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::script::{Fault, Phase, Script};

fn script(rules: &str) -> Parsed {
    let head = "apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script\nseed: 7\nrules:\n";
    Script::parse(&format!("{head}{rules}")).map(Arc::new)
}

/// Steps an object until nothing is left to do, or until `until` seconds have passed. The log has a line per step:
/// second, last operation, and whether the object has an error, an operation annotation and our finalizer.
struct Play {
    object: Model,
    script: Option<Parsed>,
    reader: Reader,
    now: Timestamp,
    log: Vec<String>,
    /// The process dies after this many requests of a step.
    dies_after: usize,
    ahead: Ahead,
}

impl Play {
    fn new(object: Model, rules: &str) -> Self {
        let (now, log) = (time(NOW), Vec::new());
        Self {
            object,
            script: Some(script(rules)),
            reader: Reader::Polls,
            now,
            log,
            dies_after: usize::MAX,
            ahead: Ahead::default(),
        }
    }

    fn step(&self) -> Step {
        let facts = ShootFacts::default();
        self.object.next_knowing(&self.ahead, self.script.as_ref(), ClusterView::Known(&facts), self.reader, self.now)
    }

    fn until(&mut self, seconds: i64) -> &mut Self {
        let end = time(NOW) + SignedDuration::from_secs(seconds);
        for _ in 0..200 {
            match self.step() {
                Step::Leave(_) => return self,
                Step::RetryAt(due) if due > end => {
                    self.now = end;
                    return self;
                }
                Step::RetryAt(due) => {
                    assert!(due > self.now, "a step in the past: {due}");
                    self.now = due;
                }
                step @ Step::Write(_) => {
                    self.object.apply_first(&step, self.now, self.dies_after);
                    self.log();
                }
            }
        }
        panic!("it never comes to rest: {:#?}", self.log);
    }

    fn log(&mut self) {
        let since = self.now.duration_since(time(NOW)).as_secs();
        let status = self.object.status.clone().unwrap_or_default();
        let last = status.last_operation.map_or_else(String::new, |last| {
            format!("{} {:?} {}%", last.operation.as_str(), last.state, last.progress)
        });
        let error = if status.last_error.is_some_and(|error| !error.is_null()) { " error" } else { "" };
        let asked = if annotation(&self.object.meta, OPERATION_ANNOTATION).is_some() { " annotated" } else { "" };
        let held =
            if self.object.meta.finalizers.iter().flatten().any(|name| name == FINALIZER) { " held" } else { "" };
        self.log.push(format!("{since} {last}{error}{asked}{held}"));
    }

    fn record(&self) -> Record {
        self.object.record().unwrap()
    }

    /// gardenlet requests an operation.
    fn ask(&mut self, operation: &str) -> &mut Self {
        let annotations = self.object.meta.annotations.get_or_insert_default();
        annotations.insert(OPERATION_ANNOTATION.into(), operation.into());
        annotations.insert(TIMESTAMP_ANNOTATION.into(), self.now.to_string());
        self
    }
}

fn create() -> Model {
    Model::new(Some("reconcile"), Value::Null).asked_at(NOW)
}

const QUOTA: &str = "
- match: {operations: [Create], attempts: {to: 2}}
  fail: {message: quota, codes: [ERR_INFRA_QUOTA_EXCEEDED], after: 5s, retryAfter: 20s}
- succeed: {after: 20s}
  progress: [{percent: 50, description: half}]
";

#[test]
fn two_attempts_fail_and_the_third_succeeds() {
    let mut play = Play::new(create(), QUOTA);
    assert_eq!(
        play.until(1000).log,
        [
            "0 Create Processing 1% held",
            "5 Create Error 50% error held",
            "25 Create Processing 1% error held",
            "30 Create Error 50% error held",
            "50 Create Processing 1% error held",
            "60 Create Processing 50% error held",
            "70 Create Succeeded 100% held",
        ]
    );
    assert_eq!((play.record().attempt, play.record().seed), (3, 7));
    play.ask("reconcile").until(1000);
    assert_eq!((play.record().operation, play.record().attempt), (OperationType::Reconcile, 1));
}

#[test]
fn progress_within_a_second_of_the_report_before_is_skipped() {
    let steps: Vec<_> = (1..=20).map(|step| format!("{{percent: {}, description: d}}", step * 4)).collect();
    let mut play = Play::new(create(), &format!("- {{succeed: {{after: 5s}}, progress: [{}]}}", steps.join(", ")));
    let percents: Vec<_> = play.until(1000).log.iter().map(|line| line.split(' ').nth(3).unwrap().to_owned()).collect();
    assert_eq!(percents, ["1%", "4%", "24%", "44%", "64%", "100%"]);
}

#[test]
fn an_instant_attempt_costs_two_writes_and_its_retry_one() {
    let mut play = Play::new(create(), "- match: {attempts: {to: 1}}\n  fail: {message: m}\n- succeed: {}");
    let (first, metadata) = match play.step() {
        Step::Write(step) => (step.writes.len(), step.writes.last().cloned()),
        other => panic!("{other:?}"),
    };
    assert_eq!((first, metadata), (2, Some(Write::Metadata(DROP_ADD))));
    assert_eq!(play.until(1000).log, ["0 Create Error 50% error held", "5 Create Succeeded 100% held"]);
}

#[test]
fn watching_readers_see_processing_before_each_result() {
    let mut play = Play::new(create(), "- match: {attempts: {to: 1}}\n  fail: {message: m}\n- succeed: {}");
    play.reader = Reader::Watches;
    let states = |step| match step {
        Step::Write(step) => step
            .writes
            .iter()
            .filter_map(|write| match write {
                Write::Status(report) => Some(report.state),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    assert_eq!(states(play.step()), [State::Processing, State::Error]);
    play.until(4);
    play.now = time(NOW) + SignedDuration::from_secs(5);
    assert_eq!(states(play.step()), [State::Processing, State::Succeeded]);
}

#[test]
fn attempts_are_counted_across_new_requests() {
    let mut play = Play::new(create(), "- match: {attempts: {to: 2}}\n  hang: {}\n- succeed: {}");
    assert_eq!(play.until(100).step(), Step::Leave(Reason::Hangs));
    play.now += SignedDuration::from_secs(100);
    play.ask("reconcile").until(1000);
    assert_eq!((play.record().attempt, play.record().phase), (2, Phase::Running));
    play.now += SignedDuration::from_secs(100);
    play.ask("reconcile").until(1000);
    assert_eq!((play.record().attempt, play.record().phase), (3, Phase::Done));
    assert_eq!(play.log.last().unwrap(), "200 Create Succeeded 100% held");
}

#[test]
fn a_running_attempt_ends_at_a_migration_a_deletion_or_a_new_generation() {
    let pending = || {
        let mut play = Play::new(create(), "- match: {operations: [Create]}\n  succeed: {after: 1h}");
        play.until(3);
        play
    };
    let mut play = pending();
    play.ask("migrate").until(3);
    assert_eq!(play.log.last().unwrap(), "3 Migrate Succeeded 100%");
    let mut play = pending();
    play.object = play.object.deleted();
    assert!(play.until(3).log.last().unwrap().ends_with("1%"), "our finalizer is still there: {:?}", play.log);
    let mut play = pending();
    play.object.meta.generation = Some(2);
    play.until(3);
    assert_eq!((play.record().attempt, play.record().start), (2, play.now));
}

#[test]
fn a_deletion_is_scripted_and_force_deletion_ends_it() {
    let object = Model::new(None, status("Create", "Succeeded")).held().deleted();
    let mut play = Play::new(
        object,
        "- match: {attempts: {to: 1}}\n  fail: {message: m, after: 1s, retryAfter: 2s}\n- succeed: {after: 3s}",
    );
    assert_eq!(
        play.until(1000).log,
        [
            "0 Delete Processing 1% held",
            "1 Delete Error 50% error held",
            "3 Delete Processing 1% error held",
            "6 Delete Processing 1% error",
        ]
    );
    let object = Model::new(None, status("Create", "Succeeded")).held().deleted();
    let mut play = Play::new(object, "- hang: {}");
    assert_eq!(play.until(1000).log, ["0 Delete Processing 1% held"]);
    for (facts, expected) in [
        (ShootFacts { failed: true, ..ShootFacts::default() }, Step::Leave(Reason::ShootFailed)),
        (
            ShootFacts { force_deleted: true, failed: true, ..ShootFacts::default() },
            writes(OperationType::Delete, &[Write::Metadata(REMOVE)]),
        ),
    ] {
        let next = play.object.next_by(play.script.as_ref(), ClusterView::Known(&facts), Reader::Polls, play.now);
        assert_eq!(next, expected);
    }
}

#[test]
fn migrate_and_restore_stay_requested_until_they_succeed() {
    let mut play = Play::new(
        Model::new(Some("migrate"), status("Create", "Succeeded")).held().asked_at(NOW),
        "- succeed: {after: 5s}",
    );
    let expected = ["0 Migrate Processing 1% annotated held", "5 Migrate Succeeded 100%"];
    assert_eq!(play.until(1000).log, expected);
    let mut play = Play::new(Model::new(Some("restore"), Value::Null).asked_at(NOW), "- succeed: {after: 5s}");
    let expected = ["0 Restore Processing 1% annotated held", "5 Restore Succeeded 100% held"];
    assert_eq!(play.until(1000).log, expected);
}

#[test]
fn an_unusable_script_is_an_error_until_it_is_corrected() {
    let mut play = Play::new(create(), "- {}");
    assert_eq!(play.until(3).log, ["0 Create Error 50% error held"]);
    play.script = None;
    assert_eq!(play.until(1000).log.last().unwrap(), "9 Create Succeeded 100% held");
}

#[test]
fn a_script_that_becomes_unusable_after_a_failure_is_reported_every_ten_seconds() {
    let rules = "- match: {attempts: {to: 1}}\n  fail: {message: m, after: 2s, retryAfter: 3s}";
    for reader in [Reader::Polls, Reader::Watches] {
        let mut play = Play { reader, ..Play::new(create(), rules) };
        play.until(4);
        play.script = Some(script("- {}"));
        let before = play.log.len();
        play.until(35);
        let times: BTreeSet<_> = play.log[before..].iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(times, BTreeSet::from(["11", "21", "31"]), "{:#?}", play.log);
        play.script = Some(script(rules));
        assert!(play.until(100).log.last().unwrap().contains("Create Succeeded"), "{:#?}", play.log);
        assert_eq!(play.record().attempt, 2);
    }
}

#[test]
fn a_script_without_seed_records_the_drawn_seed() {
    let mut play = Play::new(create(), "- succeed: {after: 5s}");
    let head = "apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script\nrules:\n- succeed: {after: 5s}";
    play.script = Some(Script::parse(head).map(Arc::new));
    assert_eq!(play.until(3).record().seed, 77);
    assert_eq!(play.until(1000).record().seed, 77);
}

fn migrating() -> Model {
    Model::new(Some("migrate"), status("Create", "Succeeded")).held().asked_at(NOW)
}

#[test]
fn deleting_an_object_during_its_migration_starts_no_other_attempt() {
    let mut play =
        Play::new(migrating(), "- match: {attempts: {to: 1}}\n  fail: {message: m, after: 5s}\n- succeed: {after: 5s}");
    play.until(1);
    // With the deletion gardenlet changes the timestamp, and the API server the generation.
    play.object = play.object.clone().deleted();
    play.object.meta.generation = Some(2);
    play.until(2);
    assert_eq!(play.record().attempt, 1, "{:?}", play.log);
    play.until(1000);
    assert!(play.log.iter().any(|line| line.contains("Migrate Succeeded")), "{:?}", play.log);
}

#[test]
fn a_confirmed_deletion_starts_no_attempt_before_the_delete() {
    let mut play = Play::new(create(), "- succeed: {after: 2s}");
    play.until(1000);
    play.now = time(NOW) + SignedDuration::from_secs(10);
    play.object = play.object.clone().asked_at(&play.now.to_string()).confirmed("true");
    let at_rest = play.log.clone();
    assert_eq!(play.until(10).log, at_rest);
    play.object = play.object.clone().deleted();
    play.until(1000);
    let record = play.record();
    assert_eq!(
        (record.operation, record.attempt, record.start),
        (OperationType::Delete, 1, time(NOW) + SignedDuration::from_secs(10))
    );
    assert!(!play.object.held_by_us(), "{:?}", play.log);
}

#[test]
fn without_a_script_a_failed_deletion_is_released_immediately() {
    let mut play = Play::new(Model::new(None, status("Delete", "Error")).held().deleted(), "- succeed: {}");
    play.script = None;
    play.until(0);
    assert!(!play.object.held_by_us(), "{:?}", play.log);
}

impl Model {
    fn held_by_us(&self) -> bool {
        self.meta.finalizers.iter().flatten().any(|name| name == FINALIZER)
    }
}

mod conditions;
mod faults;
mod properties;
