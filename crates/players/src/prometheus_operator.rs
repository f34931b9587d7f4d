//! Monitoring: stands for prometheus-operator. Each Prometheus and each Alertmanager is available at once. Leaves out
//! the programs, their configuration and their rules.

use std::sync::Arc;

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use serde_json::{Value, json};

use crate::container::now;
use crate::error::Error;
use crate::player::{Seed, follow, name_of};

/// What the player needs for one kind.
struct Operator {
    seed: Arc<Seed>,
    resource: ApiResource,
}

/// Serves all objects of a CustomResourceDefinition for ever.
pub(crate) async fn play(seed: Arc<Seed>, definition: &'static str) {
    let resource = seed.custom_resource(definition).await;
    let api = Api::all_with(seed.client.clone(), &resource);
    let controller = Controller::new_with(api, watcher::Config::default(), resource.clone());
    let operator = Arc::new(Operator { seed, resource });
    follow("prometheus-operator", controller, operator, reconcile, |_| {}).await;
}

async fn reconcile(object: Arc<DynamicObject>, operator: Arc<Operator>) -> Result<Action, Error> {
    let generation = object.metadata.generation.unwrap_or_default();
    let replicas = object.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    if !is_reported(&object.data, replicas, generation) {
        let (namespace, name) = name_of(object.as_ref());
        let api: Api<DynamicObject> =
            Api::namespaced_with(operator.seed.client.clone(), &namespace, &operator.resource);
        let time = serde_json::to_value(now()).unwrap_or_default();
        let patch = Patch::Merge(json!({ "status": status(replicas, generation, &time) }));
        let written = api.patch_status(&name, &PatchParams::default(), &patch).await;
        let kind = &operator.resource.kind;
        written.map_err(Error::api(format!("write the status of {kind} {namespace}/{name}")))?;
    }
    Ok(Action::await_change())
}

/// True if the status says what it should.
fn is_reported(object: &Value, replicas: i64, generation: i64) -> bool {
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
    number("/status/availableReplicas") == Some(replicas)
        && number("/status/conditions/0/observedGeneration") == Some(generation)
}

fn status(replicas: i64, generation: i64, time: &Value) -> Value {
    let condition = |type_: &str| {
        json!({
            "type": type_, "status": "True", "reason": "Played", "message": "",
            "lastTransitionTime": time, "observedGeneration": generation,
        })
    };
    json!({
        "paused": false,
        "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas, "unavailableReplicas": 0,
        "conditions": [condition("Available"), condition("Reconciled")],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_written_again_for_a_new_generation_or_size() {
        let object = json!({ "status": status(2, 5, &json!("2026-01-01T00:00:00Z")) });
        assert!(is_reported(&object, 2, 5));
        assert!(!is_reported(&object, 2, 6));
        assert!(!is_reported(&object, 1, 5));
        assert!(!is_reported(&json!({}), 1, 5));
    }
}
