//! Backups: etcd-druid's webhook refuses object stores that it does not know, and the type `mock` is none. So the Seeds use a
//! type that it knows, and the mock serves that one.

use extension_contract::json::text;
use serde_json::{Value, json};

/// A type that etcd-druid knows (`api/validation/etcd.go` of etcd-druid). The players do not look at it.
const TYPE: &str = "local";

/// The registrations whose controllers serve backups.
const REGISTRATIONS: [&str; 2] = ["mock-backupbucket", "mock-backupentry"];

/// What a Seed's manifest needs for its backups. gardener-apiserver asks for the region of a store of another provider.
pub(crate) fn of_seed(seed: &Value) -> Value {
    json!({"spec": {"backup": {"provider": TYPE, "region": text(seed, "spec.provider.region")}}})
}

/// A registration or its deployment, with the type of the Seeds' backups if it serves them.
pub(crate) fn served(mut object: Value) -> Value {
    let name = text(&object, "metadata.name").unwrap_or_default();
    if REGISTRATIONS.contains(&name) {
        if let Some(types) = object.pointer_mut("/helm/values/types") {
            *types = json!([TYPE]);
        }
        for resource in object.pointer_mut("/spec/resources").and_then(Value::as_array_mut).into_iter().flatten() {
            json_patch::merge(resource, &json!({"type": TYPE}));
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use gardener_testbed::{manifests, workspace};

    use super::*;

    #[test]
    fn mock_serves_the_type_of_the_seeds_backups_and_keeps_all_others() {
        let file = workspace::root().join("deploy/controllerregistrations.yaml");
        let mut changed = Vec::new();
        for object in manifests::read(&file).unwrap() {
            let served = served(object.clone());
            if served != object {
                changed.extend(
                    [&served["helm"]["values"]["types"][0], &served["spec"]["resources"][0]["type"]].map(Value::clone),
                );
            }
        }
        changed.retain(|value| !value.is_null());
        assert_eq!(changed, [TYPE; 4]);
    }
}
