use extension_contract::ErrorCode;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::decide::plan::{Change, Step};
use crate::kind::{SecretKey, Wanted};
use crate::script::record::RequestId;

const FINALIZER: &str = "extensions.gardener.cloud/test";

fn now() -> Timestamp {
    "2026-08-20T10:15:30.7Z".parse().unwrap()
}

fn meta() -> ObjectMeta {
    serde_json::from_value(json!({ "uid": "u", "resourceVersion": "7", "generation": 3, "finalizers": ["t.example.org/other"],
        "annotations": { "gardener.cloud/operation": "reconcile", "gardener.cloud/timestamp": "2026-08-20T10:15:31.9Z" } }))
    .unwrap()
}

fn compose_for(plan: &Plan, outcome: Result<Outcome, Invalid>) -> Composed {
    compose_with(plan, outcome, None)
}

/// `created`: the kind's condition.
fn compose_with(plan: &Plan, outcome: Result<Outcome, Invalid>, created: Option<&str>) -> Composed {
    let meta = meta();
    let status = serde_json::from_value(json!({ "conditions": [{ "type": "Theirs", "status": "True" }] })).unwrap();
    let target = Target {
        kind: "Test",
        finalizer: FINALIZER,
        meta: &meta,
        status: Some(&status),
        early: &["early"],
        created,
        leftovers: vec![leftover()],
    };
    compose(plan, &target, outcome, now())
}

fn leftover() -> Leftover {
    Leftover { key: SecretKey { namespace: "garden".to_owned(), name: "left".to_owned() }, unless_other: None }
}

fn plan(report: Report) -> Plan {
    let metadata = Write::Metadata(Change::new(true, Finalizer::Add));
    let Step::Write(plan) = Step::write(OperationType::Create, vec![Write::Status(Box::new(report)), metadata]) else {
        panic!()
    };
    plan
}

fn outcome() -> Outcome {
    let mut outcome =
        Outcome { secrets: vec![Wanted { secret: Secret::default(), needs_namespace: false }], ..Outcome::default() };
    outcome.report("zone", "z");
    outcome
}

fn invalid() -> Invalid {
    Invalid { field: "spec.zone".to_owned(), problem: "is unknown".to_owned() }
}

fn scripted() -> Report {
    let record = Record {
        phase: Phase::Done,
        operation: OperationType::Create,
        request: RequestId::default(),
        attempt: 2,
        seed: 7,
        rule: None,
        start: now(),
        due: None,
        conditions: Vec::new(),
        published: Vec::new(),
        inherited: Vec::new(),
    };
    Report {
        bookkeeping: Bookkeeping::Put { record: Box::new(record), is_first: true },
        ..Report::plain(State::Succeeded)
    }
}

fn status(composed: &Composed) -> Value {
    let status = composed.requests.iter().find_map(|request| match request {
        Request::Status(fields) => Some(fields.clone()),
        _ => None,
    });
    Value::Object(status.unwrap())
}

#[test]
fn a_success_sends_secrets_then_the_status_with_the_outcome_then_the_metadata() {
    let composed = compose_for(&plan(Report::plain(State::Succeeded)), Ok(outcome()));
    let [Request::Secret(_), Request::Status(_), Request::Metadata(patch)] = &composed.requests[..] else {
        panic!("{composed:#?}")
    };
    let expected = json!({
        "zone": "z", "lastError": null, "observedGeneration": 3,
        "lastOperation": { "type": "Create", "state": "Succeeded", "progress": 100, "lastUpdateTime": "2026-08-20T10:15:31Z",
            "description": "Test created: nothing was built, there is no cloud" },
    });
    assert_eq!(status(&composed), expected, "its time is not before the request");
    let operation = "/metadata/annotations/gardener.cloud~1operation";
    let timestamp = "/metadata/annotations/gardener.cloud~1timestamp";
    let expected = json!([
        { "op": "test", "path": "/metadata/uid", "value": "u" },
        { "op": "test", "path": operation, "value": "reconcile" },
        { "op": "test", "path": timestamp, "value": "2026-08-20T10:15:31.9Z" },
        { "op": "remove", "path": operation },
        { "op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER },
    ]);
    assert_eq!(json!(patch.body(Some("8"))), expected);
    assert_eq!((composed.ended, composed.is_answer, composed.refusal), (Some(State::Succeeded), true, None));
}

#[test]
fn the_condition_of_a_kind_stands_beside_those_of_others() {
    let composed = compose_with(&plan(Report::plain(State::Succeeded)), Ok(outcome()), Some("Created"));
    let conditions = &status(&composed)["conditions"];
    assert_eq!(conditions[0], json!({ "type": "Theirs", "status": "True" }));
    assert_eq!((&conditions[1]["type"], &conditions[1]["status"]), (&json!("Created"), &json!("True")));
    assert_eq!(conditions.as_array().unwrap().len(), 2);
}

#[test]
fn secrets_are_deleted_before_the_object_is_released_and_only_by_a_deletion() {
    let Step::Write(release) = Step::release() else { panic!() };
    let composed = compose_for(&release, Ok(Outcome::default()));
    assert!(
        matches!(&composed.requests[..], [Request::DeleteSecret(left), Request::Metadata(_)] if *left == leftover())
    );
    let migrated = Write::Metadata(Change::new(true, Finalizer::Remove));
    let Step::Write(migrate) = Step::write(OperationType::Migrate, vec![migrated]) else { panic!() };
    assert!(matches!(&compose_for(&migrate, Ok(Outcome::default())).requests[..], [Request::Metadata(_)]));
}

#[test]
fn a_refused_outcome_is_an_error_without_secrets_and_without_fields_of_the_kind() {
    let composed = compose_for(&plan(Report::plain(State::Succeeded)), Err(invalid()));
    let status = status(&composed);
    assert_eq!(composed.requests.len(), 2);
    assert_eq!(status["lastOperation"]["state"], "Error");
    assert_eq!(status["lastOperation"]["progress"], 50);
    assert_eq!(status["lastError"]["description"], "spec.zone: is unknown");
    assert_eq!(status["lastError"]["codes"], json!([ErrorCode::ConfigurationProblem]));
    assert_eq!(status["observedGeneration"], 3);
    assert_eq!((composed.ended, composed.refusal), (Some(State::Error), Some(invalid())));
}

#[test]
fn a_refused_outcome_lets_the_attempt_of_a_script_fail_and_retries_it() {
    let composed = compose_for(&plan(scripted()), Err(invalid()));
    let status = status(&composed);
    assert_eq!(
        status["lastOperation"]["description"],
        "Create failed: spec.zone: is unknown [script: no rule, attempt 2, seed 7]"
    );
    let conditions = status["conditions"].as_array().unwrap();
    assert_eq!(conditions[0]["type"], "Theirs", "conditions of other writers are kept");
    let record = Record::find(conditions).unwrap();
    // The request may come from a clock that is ahead.
    assert_eq!((record.phase, record.due), (Phase::Failed, Some(now() + SignedDuration::from_secs(10))));
    assert!(matches!(&composed.events[..], [Event::Fired(_)]), "the rule did fire");
}

#[test]
fn processing_keeps_generation_error_and_the_record_of_a_script() {
    let composed = compose_for(&plan(Report::plain(State::Processing)), Ok(Outcome::default()));
    let fields: Vec<String> = status(&composed).as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["lastOperation"]);
    assert_eq!(composed.ended, None);
}

#[test]
fn an_unusable_script_is_an_error_and_an_event_and_the_outcome_is_not_reported() {
    let report = Report::unusable_script(OperationType::Create, invalid());
    let composed = compose_for(&plan(report), Ok(outcome()));
    let status = status(&composed);
    assert_eq!((composed.requests.len(), status.get("zone")), (2, None));
    assert_eq!(status["lastError"]["description"], "spec.zone: is unknown");
    assert_eq!(composed.events, [Event::Unusable(invalid())]);
}

#[test]
fn only_a_finalizer_that_is_added_without_a_request_or_to_an_empty_list_depends_on_the_version() {
    let tests_version = |change, finalizers: &[&str]| {
        let held = (!finalizers.is_empty()).then(|| finalizers.iter().map(ToString::to_string).collect());
        let patch = MetadataPatch::new(&ObjectMeta { finalizers: held, ..meta() }, change, FINALIZER);
        json!(patch.body(Some("9"))).to_string().contains("resourceVersion")
    };
    assert!(tests_version(Change::new(false, Finalizer::Add), &["other"]));
    assert!(tests_version(Change::new(true, Finalizer::Add), &[]));
    assert!(!tests_version(Change::new(true, Finalizer::Add), &["other"]));
    assert!(!tests_version(Change::new(true, Finalizer::Keep), &[]));
    assert!(!tests_version(Change::new(false, Finalizer::Remove), &["other", FINALIZER]));
}

#[test]
fn a_finalizer_that_is_named_twice_is_removed_by_one_patch() {
    let meta = ObjectMeta {
        uid: Some("u".to_owned()),
        finalizers: Some(["a", FINALIZER, "b", FINALIZER].map(str::to_owned).to_vec()),
        ..ObjectMeta::default()
    };
    let patch = MetadataPatch::new(&meta, Change::new(false, Finalizer::Remove), FINALIZER).body(None);
    let mut object = json!({ "metadata": meta });
    json_patch::patch(&mut object, &patch).unwrap();
    assert_eq!(object["metadata"]["finalizers"], json!(["a", "b"]));
}

#[test]
fn metadata_alone_ends_an_operation_in_success() {
    let Step::Write(plan) = Step::release() else { panic!() };
    let composed = compose_for(&plan, Ok(Outcome::default()));
    assert_eq!(
        (composed.ended, composed.is_answer, report_with_outcome(&plan, true)),
        (Some(State::Succeeded), false, None)
    );
}

#[test]
fn early_fields_are_reported_at_the_start_of_an_operation_and_the_others_with_the_secrets_at_its_end() {
    let mut outcome = outcome();
    outcome.report("early", 1);
    for (fields, expected) in [
        (Fields::None, [false, false, false]),
        (Fields::Early, [true, false, false]),
        (Fields::Late, [false, true, true]),
        (Fields::All, [true, true, true]),
    ] {
        let plan = plan(Report { outcome: fields, ..Report::plain(State::Processing) });
        assert_eq!(report_with_outcome(&plan, true).is_some(), fields != Fields::None);
        assert_eq!(report_with_outcome(&plan, false).is_some(), matches!(fields, Fields::Late | Fields::All));
        let requests = compose_for(&plan, Ok(outcome.clone())).requests;
        let has =
            |field| requests.iter().any(|request| matches!(request, Request::Status(all) if all.contains_key(field)));
        let has_secret = requests.iter().any(|request| matches!(request, Request::Secret(_)));
        assert_eq!([has("early"), has("zone"), has_secret], expected, "{fields:?}");
    }
}

#[test]
fn a_description_that_quotes_a_long_value_is_shortened() {
    let long = Invalid { problem: "ü".repeat(2_000_000), ..invalid() };
    let composed = compose_for(&plan(Report::plain(State::Succeeded)), Err(long));
    let status = status(&composed);
    for text in [&status["lastError"]["description"], &status["lastOperation"]["description"]] {
        let text = text.as_str().unwrap();
        assert!(text.chars().count() == 8193 && text.ends_with("ü…"), "{}", text.chars().count());
    }
}
