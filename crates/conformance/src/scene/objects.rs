//! gardenlet's requests for the objects of a scene, and the waits for their results.

use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION, OPERATION_ANNOTATION, Reader, TIMESTAMP_ANNOTATION,
    readiness,
};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::{A_SECOND, Scene};
use crate::eventually::{LIMIT, eventually};
use crate::object::{annotation, asking, asking_at, ensure, finalizers, merged, status, text};

/// Each object has a short name, such as `a`, which is unique in the scene.
impl Scene {
    /// An object of the subject's type, without any annotation.
    #[must_use]
    pub fn object(&self, name: &str) -> Value {
        self.suite.subject().object(&self.namespace, name)
    }

    /// Creates an object with a merge patch over [`object`](Self::object).
    pub async fn create_object(&self, name: &str, patch: &Value) -> Result<Value, Failed> {
        let object: DynamicObject = serde_json::from_value(merged(self.object(name), patch))?;
        Ok(json!(self.api().create(&PostParams::default(), &object).await?))
    }

    /// Creates an object with gardenlet's annotation and timestamp.
    pub async fn create_annotated(&self, name: &str, operation: &str) -> Result<Value, Failed> {
        self.create_object(name, &asking(operation)).await
    }

    /// Creates an object `a` with gardenlet's annotation and returns it when it is ready.
    pub async fn create_ready(&self) -> Result<Value, Failed> {
        self.create_annotated("a", "reconcile").await?;
        self.until_ready("a").await
    }

    /// Creates an object with a status that another process might have left. The annotation `wait-for-state` keeps
    /// the controller away until the status is written.
    pub async fn create_with_status(&self, name: &str, operation: &str, state: &str) -> Result<(), Failed> {
        self.create_annotated(name, "wait-for-state").await?;
        self.patch_status(name, status(operation, state)).await?;
        self.patch(name, json!({ "metadata": { "annotations": { OPERATION_ANNOTATION: null } } })).await?;
        Ok(())
    }

    /// Confirms on the object itself that its deletion may leave things behind.
    pub async fn force_delete(&self, name: &str) -> Result<(), Failed> {
        let annotations = json!({ FORCE_DELETION_ANNOTATION: "true" });
        self.patch(name, json!({ "metadata": { "annotations": annotations } })).await.map(drop)
    }

    /// Sends one merge patch of the main resource.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<Value, Failed> {
        Ok(json!(self.api().patch(&self.full_name(name), &PatchParams::default(), &Patch::Merge(patch)).await?))
    }

    /// Sends one merge patch of the status.
    pub async fn patch_status(&self, name: &str, status: Value) -> Result<Value, Failed> {
        let patch = Patch::Merge(json!({ "status": status }));
        Ok(json!(self.api().patch_status(&self.full_name(name), &PatchParams::default(), &patch).await?))
    }

    /// Sends gardenlet's request: annotation and current timestamp in one patch.
    pub async fn ask(&self, name: &str, operation: &str) -> Result<Value, Failed> {
        self.patch(name, asking(operation)).await
    }

    /// Sends gardenlet's request in a later second than that of the last operation, as gardenlet usually does.
    pub async fn ask_next_second(&self, name: &str, operation: &str) -> Result<Value, Failed> {
        tokio::time::sleep(A_SECOND).await;
        self.ask(name, operation).await
    }

    /// Sends gardenlet's request with the timestamp `lastUpdateTime` plus `later`, which may be ahead of the clock.
    pub async fn ask_later(&self, name: &str, operation: &str, later: SignedDuration) -> Result<Value, Failed> {
        let object = self.get(name).await?;
        let last: Timestamp = text(&object, "/status/lastOperation/lastUpdateTime").parse()?;
        self.patch(name, asking_at(operation, &last.checked_add(later)?.to_string())).await
    }

    /// Sends gardenlet's request, and returns the object once gardenlet knows that the request is served. A reader that
    /// watches could mistake the result of the previous request for it, and waits for an event that wakes it.
    pub async fn ask_and_wait(&self, name: &str, operation: &str) -> Result<Value, Failed> {
        let mut versions = self.follow(name).await?;
        let asked = self.ask(name, operation).await?;
        if self.suite().subject().kind.reader == Reader::Watches {
            versions.until_woken("the result", &asked).await?;
        }
        self.until_served(name, annotation(&asked, TIMESTAMP_ANNOTATION)).await
    }

    /// Deletes an object as gardenlet does: it confirms the deletion with the current timestamp, then sends DELETE.
    pub async fn delete(&self, name: &str) -> Result<(), Failed> {
        self.confirm(name, Timestamp::now()).await?;
        self.delete_confirmed(name).await
    }

    /// Sends the first request of gardenlet's deletion: the confirmation.
    pub async fn confirm(&self, name: &str, timestamp: Timestamp) -> Result<Value, Failed> {
        let annotations = json!({
            DELETION_CONFIRMATION_ANNOTATION: "true",
            TIMESTAMP_ANNOTATION: timestamp.to_string(),
        });
        self.patch(name, json!({ "metadata": { "annotations": annotations } })).await
    }

    /// Sends the second request of gardenlet's deletion: DELETE.
    pub async fn delete_confirmed(&self, name: &str) -> Result<(), Failed> {
        self.api().delete(&self.full_name(name), &DeleteParams::default()).await?;
        Ok(())
    }

    /// Removes all finalizers, and waits until the object is gone.
    pub async fn drop_finalizers(&self, name: &str) -> Result<(), Failed> {
        self.patch(name, json!({ "metadata": { "finalizers": null } })).await?;
        self.until_gone(name).await
    }

    /// The object. Null if it does not exist.
    pub async fn get(&self, name: &str) -> Result<Value, Failed> {
        Ok(self.api().get_opt(&self.full_name(name)).await?.map_or(Value::Null, |object| json!(object)))
    }

    /// Waits for a condition of the object, and returns the object. After [`LIMIT`] it fails with the last object.
    /// `what` completes the sentence "gave up waiting for ...".
    pub async fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        eventually(LIMIT, || async {
            let object = self.get(name).await?;
            if holds(&object) {
                Ok(object)
            } else {
                Err(format!("gave up waiting for {what} of {name}:\n{object:#}").into())
            }
        })
        .await
    }

    /// Waits until gardenlet would consider the object ready and the controller's finalizer is there. On a new object
    /// without annotation, the status may come first.
    pub async fn until_ready(&self, name: &str) -> Result<Value, Failed> {
        let object = self.until_served(name, None).await?;
        if self.holds(&object) {
            return Ok(object);
        }
        self.until(name, "the controller's finalizer", |object| self.holds(object)).await
    }

    /// Waits until gardenlet would consider the object ready. With a timestamp, the object must still have it.
    pub async fn until_served(&self, name: &str, timestamp: Option<&str>) -> Result<Value, Failed> {
        self.until(name, "readiness", |object| readiness::check(object, timestamp).is_ok()).await
    }

    /// Waits until the object is gone.
    pub async fn until_gone(&self, name: &str) -> Result<(), Failed> {
        self.until(name, "the deletion", Value::is_null).await.map(drop)
    }

    /// Returns when the controller has seen all earlier changes: a later object is ready. Assumes that the controller
    /// serves objects in the order of their changes.
    pub async fn barrier(&self) -> Result<(), Failed> {
        let scene = self.in_namespace(format!("{}-b", self.namespace));
        if Api::<Namespace>::all(self.client()).get_opt(&scene.namespace).await?.is_none() {
            scene.create_namespace().await?;
        }
        let name = format!("sentinel-{}", Timestamp::now().as_nanosecond());
        scene.create_annotated(&name, "reconcile").await?;
        scene.until_ready(&name).await.map(drop)
    }

    /// Fails if the object was written since `before`. A [`barrier`](Self::barrier) comes first.
    pub async fn unchanged(&self, name: &str, before: &Value, why: &str) -> Result<(), Failed> {
        self.barrier().await?;
        let now = self.get(name).await?;
        let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
        ensure(version(before) == version(&now), format!("{why}, but it was written:\n{before:#}\n{now:#}"))
    }

    /// Whether the object has the controller's finalizer.
    #[must_use]
    pub fn holds(&self, object: &Value) -> bool {
        finalizers(object).contains(&self.suite.subject().finalizer.as_str())
    }

    /// Asks for an operation on an object whose type has the namespace's name. Creates the object if it is missing.
    pub async fn ask_own(&self, name: &str, operation: &str) -> Result<(), Failed> {
        self.ask_of_type(name, &self.namespace, operation).await
    }

    /// Asks for an operation on an object of a type. Creates the object if it is missing.
    pub async fn ask_of_type(&self, name: &str, type_: &str, operation: &str) -> Result<(), Failed> {
        if self.get(name).await?.is_null() {
            self.create_object(name, &merged(asking(operation), &json!({ "spec": { "type": type_ } }))).await?;
        } else {
            self.ask(name, operation).await?;
        }
        Ok(())
    }
}
