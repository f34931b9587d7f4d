//! What the garden says of an object's extension, and which Shoot a person means.

use super::*;
use crate::deployments::Idle;
use crate::explanation::Waits;
use crate::find::namespace;

fn garden(seed: &str, conditions: &Value) -> Garden {
    Garden {
        registrations: vec![json!({
            "metadata": { "name": "provider-x" },
            "spec": { "resources": [
                { "kind": "Network", "type": "mock" },
                { "kind": "Extension", "type": "mock", "reconcileTimeout": "10m0s" },
            ] },
        })],
        installations: vec![json!({
            "metadata": { "name": "provider-x-abc" },
            "spec": { "registrationRef": { "name": "provider-x" }, "seedRef": { "name": seed } },
            "status": { "conditions": conditions },
        })],
    }
}

/// The notes of the extension of a Network with an open request.
fn notes(type_: &str, garden: Garden, renewed: Option<&str>) -> (Option<String>, Vec<String>) {
    let extension = waits(type_, garden, renewed, Vec::new()).extension;
    (extension.installation.map(|installation| installation.namespace), extension.notes)
}

/// Why a Network with an open request waits.
fn waits(type_: &str, garden: Garden, renewed: Option<&str>, idle: Vec<Idle>) -> Waits {
    let namespace = || "extension-provider-x-abc".to_owned();
    let heartbeat = Heartbeat { holder: "provider-x".to_owned(), renewed: renewed.map(time) };
    let seed = Seed {
        garden: Some(garden),
        heartbeats: [(namespace(), heartbeat)].into(),
        deployments: [(namespace(), idle)].into(),
        ..seed()
    };
    let object = annotated(ready(&kinds::NETWORK), OPERATION_ANNOTATION, "reconcile");
    explained(&kinds::NETWORK, with(object, "spec.type", type_), &seed).waits.unwrap()
}

#[test]
fn operator_acts_where_the_extension_does_not_run() {
    let healthy = || garden("seed", &json!([{ "type": "Healthy", "status": "True" }]));
    let alive = Some("2026-08-20T10:16:00Z");
    let deployment = |wanted: i32, ready: i32| {
        let of = json!({ "metadata": { "name": "x" }, "spec": { "replicas": wanted, "selector": {}, "template": {} },
            "status": { "readyReplicas": ready } });
        Idle::of(&serde_json::from_value(of).unwrap())
    };
    assert_eq!(deployment(2, 1), None);
    for (type_, garden, idle, how) in [
        ("mock", healthy(), deployment(0, 0), "scale x up, in the ControllerDeployment that installs it"),
        ("mock", healthy(), deployment(1, 0), "look why no Pod of x is ready"),
        (
            "mock",
            garden("seed", &json!([{ "type": "Healthy", "status": "False" }])),
            None,
            "look why ControllerInstallation provider-x-abc is not healthy",
        ),
        ("other", healthy(), None, "register an extension for this kind and type"),
        ("mock", garden("other", &json!([])), None, "install provider-x: look at its spec.deployment and at gardenlet"),
    ] {
        let act = waits(type_, garden, alive, Vec::from_iter(idle)).act;
        assert_eq!((act.who, act.how.as_str()), (Who::Operator, how));
    }
    assert_eq!(waits("mock", healthy(), alive, Vec::new()).act.who, Who::Extension);
}

#[test]
fn registration_installation_and_heartbeat_of_an_extension_are_told() {
    let healthy = || json!([{ "type": "Healthy", "status": "True" }, { "type": "Progressing", "status": "False" }]);
    let broken = json!([{ "type": "Healthy", "status": "False", "message": "no Pod" }]);
    let installed = Some("extension-provider-x-abc".to_owned());
    let alive = Some("2026-08-20T10:16:00Z");
    let said = |notes: &[String], words: &str| notes.len() == 1 && notes[0].contains(words);

    assert_eq!(notes("mock", garden("seed", &healthy()), alive), (installed.clone(), Vec::new()));
    let (_, unregistered) = notes("other", garden("seed", &healthy()), alive);
    assert!(said(&unregistered, "no ControllerRegistration has kind Network and type other"), "{unregistered:?}");
    let (_, elsewhere) = notes("mock", garden("other", &healthy()), alive);
    assert!(said(&elsewhere, "provider-x is not installed on this seed"), "{elsewhere:?}");
    let (_, sick) = notes("mock", garden("seed", &broken), alive);
    assert!(said(&sick, "Healthy is False: no Pod"), "{sick:?}");
    let (_, unreported) = notes("mock", garden("seed", &json!([])), alive);
    assert!(said(&unreported, "has not reported"), "{unreported:?}");
    let (_, stale) = notes("mock", garden("seed", &healthy()), Some("2026-08-20T10:11:00Z"));
    assert!(said(&stale, "stale: renewed 5 min 30 s ago"), "{stale:?}");
    let (_, never) = notes("mock", garden("seed", &healthy()), None);
    assert!(said(&never, "never renewed"), "{never:?}");
}

#[test]
fn registration_says_how_long_gardenlet_waits_for_an_extension() {
    let garden = garden("seed", &json!([]));
    let until = |garden| {
        let object = annotated(ready(&kinds::EXTENSION), OPERATION_ANNOTATION, "reconcile");
        explained(&kinds::EXTENSION, object, &Seed { garden, ..seed() }).waits.unwrap().patience.until
    };
    assert_eq!(until(None), Some(time("2026-08-20T10:18:30.5Z")));
    assert_eq!(until(Some(garden)), Some(time("2026-08-20T10:25:30.5Z")));
}

#[test]
fn shoot_is_found_by_project_and_name_and_an_unknown_one_lists_names_like_it() {
    let clusters = seed().clusters;
    for wanted in ["dev/a", "garden-dev/a", NAMESPACE] {
        assert_eq!(namespace(wanted, &clusters, &[]).as_deref(), Ok(NAMESPACE), "{wanted}");
    }
    assert_eq!(namespace("garden", &clusters, &["garden".to_owned()]).as_deref(), Ok("garden"));
    let error = |wanted| namespace(wanted, &clusters, &[]).unwrap_err().to_string();
    assert!(error("dev/b").ends_with("did you mean dev/a?"), "{}", error("dev/b"));
    assert!(error("shoot--dev--b").ends_with("did you mean shoot--dev--a?"), "{}", error("shoot--dev--b"));
    let empty = namespace("dev/a", &std::collections::BTreeMap::new(), &[]).unwrap_err().to_string();
    assert!(empty.contains("has no Shoot"), "{empty}");
}
