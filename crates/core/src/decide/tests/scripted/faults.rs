//! Faults: each breaks the contract once, and is then left alone.

use super::*;

#[test]
fn a_fault_breaks_the_contract_once_and_is_then_left() {
    for (fault, expected) in [
        (Fault::OldObservedGeneration, "0 Create Succeeded 100% held"),
        (Fault::StaleLastError, "0 Create Succeeded 100% error held"),
        (Fault::KeepOperation, "0 Create Succeeded 100% annotated held"),
        (Fault::StripTimestamp, "0 Create Succeeded 100% held"),
        (Fault::RepeatTime, "0 Create Succeeded 100% held"),
        (Fault::KeepFinalizer, "0 Create Succeeded 100% held"),
    ] {
        let mut play = Play::new(create(), &format!("- misbehave: {{fault: {fault:?}}}"));
        assert_eq!(play.until(10_000).log, [expected], "{fault:?}");
        let observed = play.object.status.as_ref().unwrap().observed_generation;
        assert_eq!(observed, Some(i64::from(fault != Fault::OldObservedGeneration)));
        let stripped = annotation(&play.object.meta, TIMESTAMP_ANNOTATION).is_none();
        assert_eq!(stripped, fault == Fault::StripTimestamp);
    }
    // The timestamp goes before the success is visible: otherwise gardenlet would go on.
    let mut play = Play::new(create(), "- misbehave: {fault: StripTimestamp, after: 1s}");
    play.until(0);
    assert_eq!(annotation(&play.object.meta, TIMESTAMP_ANNOTATION), None);
    assert_eq!(play.until(100).log, ["0 Create Processing 1% held", "1 Create Succeeded 100% held"]);
    // Without an annotation that hides it, the success must not show for a moment either.
    let bare = Model::new(None, Value::Null).held().asked_at(NOW);
    let mut play = Play::new(bare, "- misbehave: {fault: StripTimestamp}");
    assert_eq!(play.until(100).log, ["0 Create Processing 1% held", "0 Create Succeeded 100% held"]);
    assert_eq!(annotation(&play.object.meta, TIMESTAMP_ANNOTATION), None);
    let mut play = Play::new(create(), "- misbehave: {fault: AnswerLate, after: 1s}");
    assert_eq!(play.until(10_000).log, ["0 Create Processing 1% held", "190 Create Succeeded 100% held"]);
    let gone = Model::new(None, status("Create", "Succeeded")).held().deleted();
    let mut play = Play::new(gone, "- misbehave: {fault: KeepFinalizer}");
    assert_eq!(play.until(10_000).log, ["0 Delete Succeeded 100% held"]);
    let away = Model::new(Some("migrate"), status("Create", "Succeeded")).held().asked_at(NOW);
    let mut play = Play::new(away, "- misbehave: {fault: KeepFinalizer}");
    assert_eq!(play.until(10_000).log, ["0 Migrate Succeeded 100% held"]);
}

fn annotate(play: &mut Play, operation: &str) {
    play.object.meta.annotations.get_or_insert_default().insert(OPERATION_ANNOTATION.into(), operation.into());
}

#[test]
fn after_a_stripped_timestamp_a_request_without_one_is_reconciled() {
    let mut play = Play::new(create(), "- misbehave: {fault: StripTimestamp}");
    play.until(0);
    play.script = None;
    play.now += SignedDuration::from_secs(100);
    annotate(&mut play, "reconcile");
    play.until(1000);
    assert!(play.log.last().unwrap().contains("Reconcile"), "{:?}", play.log);
}
