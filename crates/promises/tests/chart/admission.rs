//! The admission policy of a kind: when it is rendered, what it refuses, and which objects it applies to.

use extension_contract::OPERATION_ANNOTATION;
use gardener_testbed::admission;
use gardener_testbed::manifests::{self, Mode};
use serde_json::{Value, json};

use crate::{NAMESPACE, bed, in_garden, kinds, kinds_with_policy, object, render, render_for, unusual_types};

pub(crate) const POLICY: &str = "MutatingAdmissionPolicy";
const BINDING: &str = "MutatingAdmissionPolicyBinding";

#[test]
fn admission_policy_applies_to_the_served_classes_only() {
    for (kind, values, listed) in [
        ("network", json!({}), r#"["","shoot"]"#),
        ("extension", json!({}), r#"["","shoot","seed"]"#),
        ("extension", json!({ "classes": ["seed"] }), r#"["seed"]"#),
        ("extension", json!({ "classes": ["garden", "shoot"] }), r#"["","garden","shoot"]"#),
        ("dnsrecord", in_garden(), r#"["garden"]"#),
    ] {
        let mut enabled = values.clone();
        enabled["admissionPolicy"] = json!({ "enabled": true });
        let objects = render(kind, &enabled).unwrap();
        let conditions = object(&objects, POLICY).unwrap()["spec"]["matchConditions"].clone();
        let condition = conditions.as_array().unwrap().iter().find(|one| one["name"] == "of-a-served-class").unwrap();
        let expected = format!("object.?spec.?class.orValue('') in {listed}");
        assert_eq!(condition["expression"], expected, "{kind}: {values}");
    }
}

#[test]
fn admission_policy_is_refused_for_a_kind_whose_annotation_gardenlet_needs() {
    for kind in kinds().into_iter().filter(|kind| !kinds_with_policy().contains(kind)) {
        let error = render(&kind, &json!({ "admissionPolicy": { "enabled": true } })).unwrap_err();
        assert!(error.contains(&format!("gardenlet needs the annotation of kind \"{kind}\"")), "{error}");
    }
}

#[test]
fn admission_policy_is_rendered_only_if_enabled_and_a_controller_runs() {
    for kind in kinds_with_policy() {
        for (values, expected) in [
            (json!({}), false),
            (json!({ "admissionPolicy": { "enabled": true } }), true),
            (json!({ "admissionPolicy": { "enabled": true }, "replicas": 0 }), false),
        ] {
            let objects = render(&kind, &values).unwrap();
            let found = [POLICY, BINDING].map(|kind| object(&objects, kind).is_some());
            assert_eq!(found, [expected; 2], "{kind}: {values}");
        }
    }
}

#[test]
fn admission_policy_without_support_is_refused() {
    let values = json!({ "admissionPolicy": { "enabled": true } });
    for version in ["v1.35.9", "v1.34.1-gke.100"] {
        let error = render_for(version, "network", &values).unwrap_err();
        assert!(error.contains("requires Kubernetes 1.36") && error.contains(version), "{error}");
    }
    for version in ["v1.36.0", "v1.36.2-gke.100", "v1.37.0-alpha.1", "v2.0.0"] {
        render_for(version, "network", &values).unwrap_or_else(|error| panic!("{version}: {error}"));
    }
    assert!(render_for("v1.30.0", "network", &json!({})).is_ok());
    for argument in ["--type=aws", "--class=seed", "--namespace=a"] {
        let values = json!({ "admissionPolicy": { "enabled": true }, "extraArgs": [argument] });
        let error = render("network", &values).unwrap_err();
        assert!(error.contains(argument), "{error}");
    }
}

#[tokio::test]
async fn admission_policy_applies_to_the_served_types_only() {
    let bed = bed().await;
    let of_type = |name: &str, provider: &Value| {
        json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1",
            "kind": "Network",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "annotations": { OPERATION_ANNOTATION: "reconcile" },
            },
            "spec": { "type": provider, "podCIDR": "10.20.0.0/16", "serviceCIDR": "10.30.0.0/16" },
        })
    };
    for types in [json!([]), unusual_types()] {
        let objects = render("network", &json!({ "admissionPolicy": { "enabled": true }, "types": types })).unwrap();
        let policies: Vec<_> = [POLICY, BINDING].map(|kind| object(&objects, kind).unwrap().clone()).into();
        let served = if types == json!([]) { json!(["mock"]) } else { types };
        let probes: Vec<_> = served.as_array().unwrap().iter().map(|provider| of_type("probe", provider)).collect();
        admission::install(&bed.client(), &policies, &probes).await.unwrap_or_else(|error| panic!("{served}: {error}"));
    }
    for foreign in ["mock", "yes,1", "n<&>", ""] {
        let created = manifests::apply(&bed.client(), &of_type("foreign", &json!(foreign)), Mode::DryRun).await;
        let created = json!(created.unwrap());
        assert_eq!(created["metadata"]["annotations"][OPERATION_ANNOTATION], "reconcile", "{foreign}");
        assert!(created["metadata"]["finalizers"].is_null(), "{foreign}");
    }
    bed.stop().await.unwrap();
}
