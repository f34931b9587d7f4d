//! What the Pods of a controller get: a script, nodes, and permissions for their Leases.

use k8s_openapi::api::rbac::v1::PolicyRule;
use mock_core::deploy::rbac;
use mock_core::process::lease;
use serde_json::{Value, json};

use crate::{arguments, object, pod, render};

#[test]
fn script_is_mounted_unchanged_where_the_flag_points() {
    let script = "a: |\n  {{ .Values }} \"'\n\t# ü\n\n";
    let objects = render("network", &json!({ "script": script })).unwrap();
    assert_eq!(object(&objects, "ConfigMap").unwrap()["data"]["script.yaml"], script);
    let spec = &pod(&objects)["spec"];
    let mounted = spec["containers"][0]["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert!(arguments(&objects).contains(&format!("--script={mounted}/script.yaml")));
    assert_eq!(spec["volumes"][0]["configMap"]["name"], object(&objects, "ConfigMap").unwrap()["metadata"]["name"]);
    assert!(object(&render("network", &json!({})).unwrap(), "ConfigMap").is_none());
}

#[test]
fn pods_are_scheduled_as_the_values_say() {
    let values = json!({
        "nodeSelector": { "kubernetes.io/arch": "amd64" },
        "tolerations": [{ "key": "control-plane-only", "operator": "Exists" }],
        "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [] } },
    });
    let (given, default) = (render("network", &values).unwrap(), render("network", &json!({})).unwrap());
    for (field, value) in values.as_object().unwrap() {
        assert_eq!(&pod(&given)["spec"][field], value);
        assert_eq!(pod(&default)["spec"][field], Value::Null, "{field}");
    }
}

#[test]
fn several_replicas_have_a_leader_and_a_budget_unless_switched_off() {
    for (values, elects, budget) in [
        (json!({}), false, false),
        (json!({ "replicas": 2 }), true, true),
        (json!({ "leaderElection": { "enabled": true } }), true, false),
        (json!({ "replicas": 2, "leaderElection": { "enabled": false } }), false, true),
    ] {
        let objects = render("network", &values).unwrap();
        assert_eq!(arguments(&objects).contains(&"--leader-elect".to_owned()), elects, "{values}");
        assert_eq!(object(&objects, "PodDisruptionBudget").is_some(), budget, "{values}");
        let rules: Vec<PolicyRule> =
            serde_json::from_value(object(&objects, "Role").unwrap()["rules"].clone()).unwrap();
        let of_election = |rule: &PolicyRule| rule.resource_names == Some(vec![lease::name("mock-network")]);
        let mut expected = rbac::lease_rules("mock-network");
        expected.retain(|rule| elects || !of_election(rule));
        assert_eq!(rules, expected, "{values}");
    }
    let nothing = json!({ "heartbeat": { "enabled": false } });
    assert!(object(&render("network", &nothing).unwrap(), "Role").is_none(), "a Role without a Lease");
}
