//! What a rule stands on: a shoot's namespace of its own, and the few things that gardenlet does to an object.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use libtest_mimic::Failed;
use mock_core::contract::{DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION, GROUP, VERSION};
use mock_core::contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use serde_json::{Value, json};

use super::controller::Controller;
use super::suite::Suite;
use crate::audit::Request;
use crate::readiness;

/// Fails the rule with a sentence unless the condition holds.
pub fn ensure(condition: bool, otherwise: impl Into<String>) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(Failed::from(otherwise.into())) }
}

/// The namespace of a rule; also the type that controllers serve which it has for itself.
pub(super) fn namespace(rule: &str) -> String {
    let name: String = rule.replace('_', "-").chars().take(50).collect();
    format!("shoot--t--{}", name.trim_end_matches('-'))
}

/// A shoot's namespace with its Cluster, for one rule.
#[derive(Clone)]
pub struct Ground {
    pub(super) suite: Arc<Suite>,
    /// The namespace.
    pub namespace: String,
}

impl Ground {
    pub(super) async fn new(suite: Arc<Suite>, rule: &str) -> Result<Self, Failed> {
        let ground = Self { suite, namespace: namespace(rule) };
        let labels = json!({ "gardener.cloud/role": "shoot" });
        let namespace = json!({ "metadata": { "name": ground.namespace, "labels": labels } });
        let api = Api::<Namespace>::all(ground.suite.client.clone());
        api.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        ground.write_cluster(json!({})).await?;
        Ok(ground)
    }

    pub(super) fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.suite.client.clone(), &self.namespace, &self.suite.resource)
    }

    fn clusters(&self) -> Api<DynamicObject> {
        let gvk = kube::core::GroupVersionKind::gvk(GROUP, VERSION, "Cluster");
        Api::all_with(self.suite.client.clone(), &ApiResource::from_gvk_with_plural(&gvk, "clusters"))
    }

    /// Writes the namespace's Cluster; `shoot` is merged over a minimal one.
    pub async fn write_cluster(&self, shoot: Value) -> Result<(), Failed> {
        let mut base = json!({
            "apiVersion": "core.gardener.cloud/v1beta1",
            "kind": "Shoot",
            "metadata": { "name": "a", "namespace": "garden-t", "annotations": {} },
            "spec": { "networking": { "nodes": "10.10.0.0/16", "pods": "10.20.0.0/16", "services": "10.30.0.0/16" } },
            "status": { "technicalID": self.namespace, "lastOperation": { "type": "Reconcile", "state": "Processing" } },
        });
        json_patch_merge(&mut base, &shoot);
        let cluster = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Cluster",
            "metadata": { "name": self.namespace },
            "spec": { "shoot": base, "cloudProfile": { "kind": "CloudProfile" }, "seed": { "kind": "Seed" } },
        });
        let params = PatchParams::apply("gardenlet").force();
        self.clusters().patch(&self.namespace, &params, &Patch::Apply(cluster)).await?;
        Ok(())
    }

    /// Takes the Cluster away.
    pub async fn delete_cluster(&self) -> Result<(), Failed> {
        self.clusters().delete(&self.namespace, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Marks the Shoot as force-deleted.
    pub async fn force_delete_shoot(&self) -> Result<(), Failed> {
        self.write_cluster(json!({ "metadata": { "annotations": { FORCE_DELETION_ANNOTATION: "true" } } })).await
    }

    /// An object of the default type without any annotation.
    #[must_use]
    pub fn object(&self, name: &str) -> Value {
        self.suite.object(&self.namespace, name)
    }

    /// Creates an object with a patch over [`object`](Self::object).
    pub async fn create(&self, name: &str, patch: Value) -> Result<Value, Failed> {
        let mut object = self.object(name);
        json_patch_merge(&mut object, &patch);
        let object: DynamicObject = serde_json::from_value(object)?;
        Ok(json!(self.api().create(&PostParams::default(), &object).await?))
    }

    /// Creates an object with gardenlet's annotation and timestamp.
    pub async fn create_annotated(&self, name: &str, operation: &str) -> Result<Value, Failed> {
        self.create(name, asking(operation)).await
    }

    /// One merge patch of the main resource.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<Value, Failed> {
        Ok(json!(self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?))
    }

    /// gardenlet's request: annotation and a fresh timestamp in one patch.
    pub async fn ask(&self, name: &str, operation: &str) -> Result<Value, Failed> {
        self.patch(name, asking(operation)).await
    }

    /// gardenlet's request, made that long after the second of the last success.
    pub(super) async fn ask_later(&self, name: &str, operation: &str, later: SignedDuration) -> Result<Value, Failed> {
        let object = self.get(name).await?;
        let last: Timestamp = text(&object, "/status/lastOperation/lastUpdateTime").parse()?;
        self.patch(name, asking_at(operation, &last.checked_add(later)?.to_string())).await
    }

    /// One merge patch of the status.
    pub async fn patch_status(&self, name: &str, status: Value) -> Result<Value, Failed> {
        let patch = Patch::Merge(json!({ "status": status }));
        Ok(json!(self.api().patch_status(name, &PatchParams::default(), &patch).await?))
    }

    /// Lets numbers into `lastOperation.progress` that neither Gardener's types nor ours can hold.
    pub(super) async fn loosen_progress(&self) -> Result<(), Failed> {
        let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/lastOperation/properties";
        let operation = json!({ "op": "replace", "path": format!("{fields}/progress/format"), "value": "int64" });
        let patch = Patch::Json::<()>(serde_json::from_value(json!([operation]))?);
        let crds = Api::<CustomResourceDefinition>::all(self.suite.client.clone());
        crds.patch(&self.suite.crd(), &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// The schema of the kind's status.
    pub(super) async fn status_schema(&self) -> Result<Value, Failed> {
        let crds = Api::<CustomResourceDefinition>::all(self.suite.client.clone());
        let crd = json!(crds.get(&self.suite.crd()).await?);
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status";
        Ok(crd.pointer(path).cloned().ok_or("the CRD has no status")?)
    }

    /// gardenlet's deletion: confirmed, with a fresh timestamp, then asked for.
    pub async fn delete(&self, name: &str) -> Result<(), Failed> {
        self.confirm(name, Timestamp::now()).await?;
        self.delete_confirmed(name).await
    }

    /// The first of the two requests of gardenlet's deletion.
    pub async fn confirm(&self, name: &str, timestamp: Timestamp) -> Result<Value, Failed> {
        let annotations = json!({
            DELETION_CONFIRMATION_ANNOTATION: "true",
            TIMESTAMP_ANNOTATION: timestamp.to_string(),
        });
        self.patch(name, json!({ "metadata": { "annotations": annotations } })).await
    }

    /// The second of them.
    pub async fn delete_confirmed(&self, name: &str) -> Result<(), Failed> {
        self.api().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// The object; null if there is none.
    pub async fn get(&self, name: &str) -> Result<Value, Failed> {
        Ok(self.api().get_opt(name).await?.map_or(Value::Null, |object| json!(object)))
    }

    /// A Secret of the namespace.
    pub async fn secret(&self, name: &str) -> Result<Option<Secret>, Failed> {
        Ok(Api::<Secret>::namespaced(self.suite.client.clone(), &self.namespace).get_opt(name).await?)
    }

    /// Waits for a condition; fails with the object as it is then.
    pub async fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let object = self.get(name).await?;
            if holds(&object) {
                return Ok(object);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(format!("{what} never came true of {name}:\n{object:#}").into());
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Waits until gardenlet would go on.
    pub async fn until_ready(&self, name: &str) -> Result<Value, Failed> {
        let object = self.until(name, "readiness", |object| readiness::check(object, None).is_ok()).await?;
        self.until_held(name, object).await
    }

    /// A first success without annotation is ready before our finalizer is in.
    async fn until_held(&self, name: &str, object: Value) -> Result<Value, Failed> {
        if self.holds(&object) {
            return Ok(object);
        }
        self.until(name, "our finalizer", |object| self.holds(object)).await
    }

    /// Waits until the object is gone.
    pub async fn until_gone(&self, name: &str) -> Result<(), Failed> {
        self.until(name, "being gone", Value::is_null).await.map(drop)
    }

    /// Returns when everything that happened before has been looked at: an object that came later is done.
    pub async fn barrier(&self) -> Result<(), Failed> {
        let ground = Self { suite: self.suite.clone(), namespace: format!("{}-b", self.namespace) };
        let api = Api::<Namespace>::all(self.suite.client.clone());
        if api.get_opt(&ground.namespace).await?.is_none() {
            let namespace = json!({ "metadata": { "name": ground.namespace } });
            api.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
            ground.write_cluster(json!({})).await?;
        }
        let name = format!("sentinel-{}", Timestamp::now().as_nanosecond());
        ground.create_annotated(&name, "reconcile").await?;
        ground.until_ready(&name).await.map(drop)
    }

    /// Fails if the object has changed since; the barrier comes first.
    pub async fn unchanged(&self, name: &str, before: &Value, why: &str) -> Result<(), Failed> {
        self.barrier().await?;
        let now = self.get(name).await?;
        let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
        ensure(version(before) == version(&now), format!("{why}, but it was written:\n{before:#}\n{now:#}"))
    }

    /// Whether our finalizer is there.
    #[must_use]
    pub fn holds(&self, object: &Value) -> bool {
        finalizers(object).contains(&self.suite.finalizer)
    }

    /// How many write requests of ours were about the object and its Secrets so far.
    pub fn writes(&self, name: &str) -> Result<usize, Failed> {
        Ok(self.requests(name)?.len())
    }

    /// The write requests of ours about the object and its Secrets so far, each with its answer's code.
    pub(super) fn requests(&self, name: &str) -> Result<Vec<String>, Failed> {
        let audit = self.suite.bed.audit().ok_or("there is no audit log")?;
        let ours = audit.requests(|request| {
            request.user == self.suite.user
                && request.namespace == self.namespace
                && (request.name == name || request.name == format!("osc-result-{name}"))
                && !matches!(request.verb.as_str(), "get" | "list" | "watch")
        })?;
        let line = |request: Request| {
            format!("{} {}/{}: {}", request.verb, request.resource, request.subresource, request.code)
        };
        Ok(ours.into_iter().map(line).collect())
    }

    /// How often we asked for the namespace's Cluster as it is now in a way that may take a moment.
    pub fn patient_reads(&self) -> Result<usize, Failed> {
        let audit = self.suite.bed.audit().ok_or("there is no audit log")?;
        let lists = audit.requests(|request| {
            request.user == self.suite.user
                && (request.verb.as_str(), request.resource.as_str()) == ("list", "clusters")
                && request.name == self.namespace
                && !request.uri.contains("limit=")
                && request.code == 200
        })?;
        Ok(lists.len())
    }

    /// Fails unless exactly that many write requests have come since `before`, also after everything is at rest.
    pub async fn has_cost(&self, name: &str, before: usize, expected: usize) -> Result<(), Failed> {
        self.barrier().await?;
        let writes = self.writes(name)?.saturating_sub(before);
        ensure(writes == expected, format!("{writes} writes instead of {expected}: {:#?}", self.requests(name)?))
    }

    /// How many writes of the metadata a request of gardenlet's costs that its timestamp tells from the one before.
    pub(super) fn metadata_writes(&self) -> usize {
        usize::from(!self.suite.is_assisted)
    }

    /// A further controller, for the type that has the namespace's name.
    pub fn controller(&self) -> Result<Controller, Failed> {
        Controller::start(&self.suite, &["--type", &self.namespace])
    }
}

/// gardenlet's request as a merge patch.
#[must_use]
pub fn asking(operation: &str) -> Value {
    asking_at(operation, &Timestamp::now().to_string())
}

/// The same, made at a given time.
pub(super) fn asking_at(operation: &str, timestamp: &str) -> Value {
    let annotations = json!({ OPERATION_ANNOTATION: operation, TIMESTAMP_ANNOTATION: timestamp });
    json!({ "metadata": { "annotations": annotations } })
}

/// The object's finalizers.
#[must_use]
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The text at a JSON pointer, empty if there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `type/state` of the last operation.
#[must_use]
pub fn last(object: &Value) -> String {
    format!("{}/{}", text(object, "/status/lastOperation/type"), text(object, "/status/lastOperation/state"))
}

/// The annotation's value.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// JSON merge patch.
pub(super) fn json_patch_merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            json_patch_merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}
