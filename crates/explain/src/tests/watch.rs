//! What only a watch can see: the object before and after a request.

use kube::api::DynamicObject;
use kube::runtime::watcher::Event;

use super::*;
use crate::Watching;

/// Plays events and explains the object after them.
fn watched(kind: &'static Kind, objects: &[Value], is_gone: bool) -> Vec<Explanation> {
    let mut watching = Watching::default();
    let dynamic = |object: &Value| serde_json::from_value::<DynamicObject>(object.clone()).unwrap();
    for object in objects {
        watching.apply(kind, Event::Apply(dynamic(object)));
    }
    if is_gone {
        watching.apply(kind, Event::Delete(dynamic(objects.last().unwrap())));
    }
    let seed = Seed { objects: watching.objects(None), ..seed() };
    watching.explain(&seed, &[], now())
}

fn rule(explanations: &[Explanation]) -> &str {
    let [explanation] = explanations else { panic!("{explanations:?}") };
    explanation.waits.as_ref().map_or("", |waits| waits.rule)
}

#[test]
fn watch_sees_a_timestamp_that_is_not_gardenlets() {
    let asked = annotated(ready(&kinds::NETWORK), OPERATION_ANNOTATION, "reconcile");
    let rewritten = annotated(ready(&kinds::NETWORK), TIMESTAMP_ANNOTATION, "2026-08-20T10:15:30Z");
    assert_eq!(rule(&watched(&kinds::NETWORK, &[asked.clone(), rewritten.clone()], false)), "Timestamp");
    assert_eq!(rule(&watched(&kinds::NETWORK, &[rewritten], false)), "");
    assert_eq!(rule(&watched(&kinds::NETWORK, &[asked.clone(), ready(&kinds::NETWORK)], false)), "");
    // gardenlet writes another timestamp right before it deletes.
    let confirmed = annotated(ready(&kinds::NETWORK), TIMESTAMP_ANNOTATION, "2026-08-20T10:15:30.9Z");
    let confirmed = annotated(confirmed, DELETION_CONFIRMATION_ANNOTATION, "true");
    assert_eq!(rule(&watched(&kinds::NETWORK, &[asked, confirmed], false)), "");
}

#[test]
fn watch_sees_a_result_that_wakes_nobody() {
    let kind = &kinds::BACKUP_BUCKET;
    let asked = annotated(ready(kind), OPERATION_ANNOTATION, "reconcile");
    let processing = with(ready(kind), "status.lastOperation.state", "Processing");
    assert_eq!(rule(&watched(kind, &[asked.clone(), ready(kind)], false)), "Unnoticed");
    assert_eq!(rule(&watched(kind, &[asked, processing, ready(kind)], false)), "");
}

#[test]
fn watch_knows_the_time_before_the_request_of_a_worker() {
    let kind = &kinds::WORKER;
    let before = annotated(ready(kind), TIMESTAMP_ANNOTATION, "2026-08-20T10:00:00Z");
    let asked = annotated(ready(kind), OPERATION_ANNOTATION, "reconcile");
    assert_eq!(rule(&watched(kind, &[before, asked, ready(kind)], false)), "MachineDeployments");
}

#[test]
fn watch_sees_that_an_object_is_gone_unless_gardenlet_deleted_it() {
    let kind = &kinds::NETWORK;
    assert_eq!(rule(&watched(kind, &[ready(kind)], true)), "Absent");
    let deleted = with(ready(kind), "metadata.deletionTimestamp", "2026-08-20T10:15:40Z");
    assert_eq!(watched(kind, &[ready(kind), deleted], true), []);
    let confirmed = annotated(ready(kind), DELETION_CONFIRMATION_ANNOTATION, "true");
    assert_eq!(watched(kind, &[confirmed], true), []);
}
