//! What differs from kind to kind: force deletion, Failed Shoots, migrations, and the condition `Created`.

use extension_contract::HasCluster;
use extension_contract::kinds::{
    BACKUP_BUCKET, BACKUP_ENTRY, BASTION, DNS_RECORD, NETWORK, SELF_HOSTED_SHOOT_EXPOSURE,
};

use super::*;

fn at(now: &str, kind: &Kind, script: Option<&Parsed>, object: &Model, shoot: &ShootFacts) -> Step {
    let cluster = match kind.has_cluster {
        HasCluster::Never => ClusterView::Unneeded,
        _ => ClusterView::Known(shoot),
    };
    object.next_of(kind, &Ahead::default(), script, cluster, time(now))
}

fn next(kind: &Kind, object: &Model, shoot: &ShootFacts) -> Step {
    at(NOW, kind, None, object, shoot)
}

fn annotated(mut object: Model, key: &str, value: &str) -> Model {
    object.meta.annotations.as_mut().unwrap().insert(key.into(), value.into());
    object
}

fn release() -> Step {
    writes(OperationType::Delete, &[Write::Metadata(REMOVE)])
}

/// A deletion that a script lets hang: only force releases the object.
fn hanging() -> Parsed {
    parsed("hang: {}")
}

/// The script with this rule.
fn parsed(rule: &str) -> Parsed {
    let head = "apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script";
    crate::script::Script::parse(&format!("{head}\nrules: [{{{rule}}}]")).map(std::sync::Arc::new)
}

#[test]
fn each_kind_obeys_only_its_own_force_annotation() {
    let by_shoot = ShootFacts { force_deleted: true, ..ShootFacts::default() };
    let none = ShootFacts::default();
    let plain = Model::new(None, status("Create", "Succeeded")).held().deleted();
    let by_object = |value| annotated(plain.clone(), "confirmation.gardener.cloud/force-deletion", value);
    for (kind, object, shoot, forced) in [
        (NETWORK, plain.clone(), &by_shoot, true),
        (NETWORK, by_object("true"), &none, false),
        (SELF_HOSTED_SHOOT_EXPOSURE, plain.clone(), &by_shoot, true),
        (BASTION, by_object("true"), &none, true),
        (BASTION, by_object("1"), &none, false),
        (BASTION, plain.clone(), &by_shoot, false),
        (BACKUP_BUCKET, by_object("true"), &none, false),
        (BACKUP_ENTRY, by_object("true"), &none, false),
    ] {
        let step = at(NOW, &kind, Some(&hanging()), &object, shoot);
        assert_eq!(step == release(), forced, "{}: {step:?}", kind.name);
    }
}

#[test]
fn a_failed_shoot_stops_only_the_kinds_that_skip_it() {
    let failed = ShootFacts { failed: true, ..ShootFacts::default() };
    let asked = Model::new(Some("reconcile"), Value::Null);
    for (kind, skips) in [(NETWORK, true), (DNS_RECORD, true), (BASTION, false), (SELF_HOSTED_SHOOT_EXPOSURE, false)] {
        let step = next(&kind, &asked, &failed);
        assert_eq!(step == Step::Leave(Reason::ShootFailed), skips, "{}: {step:?}", kind.name);
    }
}

#[test]
fn a_kind_without_migrations_takes_their_annotations_for_no_request() {
    let facts = ShootFacts::default();
    for operation in ["migrate", "restore"] {
        let rested = Model::new(Some(operation), status("Create", "Succeeded")).held();
        assert_eq!(next(&BASTION, &rested, &facts), Step::Leave(Reason::Done), "{operation}");
        assert_ne!(next(&NETWORK, &rested, &facts), Step::Leave(Reason::Done), "{operation}");
    }
    // Somebody else's status does not stop the object's deletion.
    let deleted = Model::new(None, status("Migrate", "Succeeded")).held().deleted();
    assert_eq!(next(&BACKUP_BUCKET, &deleted, &facts), release());
}

#[test]
fn a_migration_that_gardenlet_watches_is_never_seen_in_progress() {
    let asked = Model::new(Some("migrate"), status("Create", "Succeeded")).held();
    let succeeded = Write::Status(Box::new(Report::plain(State::Succeeded)));
    let expected = writes(OperationType::Migrate, &[succeeded, Write::Metadata(DROP_REMOVE)]);
    assert_eq!(next(&BACKUP_ENTRY, &asked, &ShootFacts::default()), expected);
}

#[test]
fn an_object_that_was_never_created_is_released_whatever_its_script_says() {
    let created = |status: &str| {
        let mut object = Model::new(None, super::status("Create", "Error")).held().deleted();
        let condition = json!({ "type": "Created", "status": status });
        object.status.as_mut().unwrap().conditions = Some(vec![condition]);
        object
    };
    for (kind, said, released) in [(DNS_RECORD, "False", true), (DNS_RECORD, "True", false), (NETWORK, "False", false)]
    {
        let step = at(NOW, &kind, Some(&hanging()), &created(said), &ShootFacts::default());
        assert_eq!(step == release(), released, "{} {said}: {step:?}", kind.name);
    }
}

#[test]
fn a_newer_timestamp_does_not_restart_a_running_deletion() {
    for kind in [NETWORK, BACKUP_BUCKET] {
        let mut object = Model::new(None, status("Create", "Succeeded")).held().deleted().asked_at(NOW);
        let facts = ShootFacts::default();
        let step = at(NOW, &kind, Some(&hanging()), &object, &facts);
        object.apply(&step, time(NOW));
        let confirmed = object.asked_at("2026-08-20T10:15:35.7Z");
        let step = at("2026-08-20T10:15:35.8Z", &kind, Some(&hanging()), &confirmed, &facts);
        assert_eq!(step, Step::Leave(Reason::Hangs), "{}", kind.name);
    }
}

#[test]
fn a_failed_deletion_waits_for_its_retry_although_gardenlet_confirms_it_again() {
    let script = parsed("fail: {message: no, retryAfter: 60s}");
    let facts = ShootFacts::default();
    let mut object = Model::new(None, status("Create", "Succeeded")).held().deleted().asked_at(NOW);
    let step = at(NOW, &BACKUP_BUCKET, Some(&script), &object, &facts);
    object.apply(&step, time(NOW));
    let confirmed = object.asked_at("2026-08-20T10:15:35.7Z");
    let step = at("2026-08-20T10:15:35.8Z", &BACKUP_BUCKET, Some(&script), &confirmed, &facts);
    assert_eq!(step, Step::RetryAt(time("2026-08-20T10:16:30.7Z")));
}
