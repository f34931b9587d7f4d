//! A timestamp that confirms a deletion.

use super::*;

const REQUESTED: &str = "2026-08-20T10:15:31.2Z";

/// An object at rest except for a newer timestamp that confirms a deletion.
fn confirmed() -> Model {
    Model::new(None, status("Reconcile", "Succeeded")).held().asked_at(REQUESTED).confirmed("true")
}

fn at(now: &str, object: &Model) -> Step {
    object.next(ClusterView::Known(&ShootFacts::default()), Reader::Polls, time(now))
}

#[test]
fn a_confirmation_waits_a_second_for_the_delete_and_is_served_then() {
    let wait = Step::RetryAt(time("2026-08-20T10:15:32.2Z"));
    let serve = writes(OperationType::Reconcile, &[succeeded()]);
    for (situation, now, expected) in [
        ("as soon as it is seen", "2026-08-20T10:15:31.3Z", &wait),
        ("no DELETE came", "2026-08-20T10:15:32.2Z", &serve),
        ("its clock is a second ahead of ours", "2026-08-20T10:15:30.2Z", &wait),
        ("its clock is further ahead", "2026-08-20T10:15:30.1Z", &serve),
        ("its clock is behind", "2026-08-20T10:15:40Z", &serve),
    ] {
        assert_eq!(at(now, &confirmed()), *expected, "{situation}");
    }
    let mut never_held = confirmed();
    never_held.meta.finalizers = None;
    assert_eq!(at("2026-08-20T10:15:31.3Z", &never_held), wait);
}

#[test]
fn any_other_request_is_served_immediately() {
    use OperationType::{Create, Delete, Reconcile};
    let with = |change: fn(&mut Model)| {
        let mut object = confirmed();
        change(&mut object);
        object
    };
    let annotate = |key: &'static str, value: &'static str| {
        let mut object = confirmed();
        object.meta.annotations.as_mut().unwrap().insert(key.into(), value.into());
        object
    };
    let reconciled = || writes(Reconcile, &[succeeded()]);
    for (situation, object, expected) in [
        ("not confirmed", confirmed().confirmed("yes"), reconciled()),
        (
            "annotated",
            annotate(OPERATION_ANNOTATION, "reconcile"),
            writes(Reconcile, &[succeeded(), Write::Metadata(DROP)]),
        ),
        ("of a new generation", with(|object| object.meta.generation = Some(2)), reconciled()),
        (
            "beside an error",
            with(|object| object.status.as_mut().unwrap().last_error = Some(json!({ "description": "old" }))),
            reconciled(),
        ),
        (
            "unfinished",
            with(|object| object.status = serde_json::from_value(status("Create", "Processing")).unwrap()),
            writes(Create, &[succeeded()]),
        ),
        ("never reconciled", with(|object| object.status = None), writes(Create, &[succeeded()])),
        ("answered", confirmed().asked_at(NOW), Step::Leave(Reason::Done)),
        ("deleted", confirmed().deleted(), writes(Delete, &[Write::Metadata(REMOVE)])),
    ] {
        assert_eq!(at("2026-08-20T10:15:31.3Z", &object), expected, "{situation}");
    }
}
