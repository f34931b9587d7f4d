//! gardenlet's requests for the objects of a scene, and the waits for their results.

use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION, OPERATION_ANNOTATION, Reader, TIMESTAMP_ANNOTATION,
    readiness,
};
use gardener_testbed::manifests::{self, Mode};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{A_SECOND, Scene};
use crate::eventually::eventually;
use crate::object::{
    annotation, apart_from_conditions, asking, asking_at, ensure, excerpt, finalizers, merged, reverse, status, text,
};

/// Each object has a short name, such as `a`, which is unique in the scene.
impl Scene {
    /// An object of the subject's type, without any annotation.
    #[must_use]
    pub fn object(&self, name: &str) -> Value {
        self.suite.subject().object(&self.namespace, name)
    }

    /// An object with the run's labels, and with a merge patch over [`object`](Self::object).
    fn labelled(&self, name: &str, patch: &Value) -> Value {
        let labels = json!({ "metadata": { "labels": self.suite.labels() } });
        merged(merged(self.object(name), &labels), patch)
    }

    /// Creates an object with gardenlet's annotation. Fields that its kind does not know are an error.
    pub(crate) async fn create_strictly(&self, name: &str) -> Result<(), Failed> {
        let (client, object) = (self.client(), self.labelled(name, &asking("reconcile")));
        let create = async move { manifests::create(&client, &object, Mode::Apply).await };
        Ok(self.suite.create(create).await?.map(drop)?)
    }

    /// Creates an object with a merge patch over [`object`](Self::object).
    pub async fn create_object(&self, name: &str, patch: &Value) -> Result<Value, Failed> {
        let object: DynamicObject = serde_json::from_value(self.labelled(name, patch))?;
        let api = self.api();
        let create = async move { api.create(&PostParams::default(), &object).await };
        Ok(json!(self.sent(&format!("create {name}"), self.suite.create(create).await?)?))
    }

    /// A merge patch of an object: a change of its spec that the controller accepts.
    #[must_use]
    pub fn change(&self) -> Value {
        json!({ "spec": self.suite.subject().change })
    }

    /// A merge patch of an object that reverts [`change`](Self::change).
    #[must_use]
    pub fn change_back(&self) -> Value {
        let subject = self.suite.subject();
        json!({ "spec": reverse(&subject.spec, &subject.change) })
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
        let patched = self.api().patch(&self.full_name(name), &PatchParams::default(), &Patch::Merge(patch)).await;
        Ok(json!(self.sent(&format!("patch {name}"), patched)?))
    }

    /// Sends one merge patch of the status.
    pub async fn patch_status(&self, name: &str, status: Value) -> Result<Value, Failed> {
        let patch = Patch::Merge(json!({ "status": status }));
        let patched = self.api().patch_status(&self.full_name(name), &PatchParams::default(), &patch).await;
        Ok(json!(self.sent(&format!("patch the status of {name}"), patched)?))
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
        let deleted = self.api().delete(&self.full_name(name), &DeleteParams::default()).await;
        self.sent(&format!("delete {name}"), deleted).map(drop)
    }

    /// Removes all finalizers, and waits until the object is gone.
    pub async fn drop_finalizers(&self, name: &str) -> Result<(), Failed> {
        self.patch(name, json!({ "metadata": { "finalizers": null } })).await?;
        self.until_gone(name).await
    }

    /// The object. Null if it does not exist.
    pub async fn get(&self, name: &str) -> Result<Value, Failed> {
        let read = self.sent(&format!("read {name}"), self.api().get_opt(&self.full_name(name)).await);
        Ok(read?.map_or(Value::Null, |object| json!(object)))
    }

    /// Waits for a condition of the object, and returns the object. After the subject's patience it fails with the last
    /// object.
    /// `what` completes the sentence "gave up waiting for ...".
    pub async fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        self.until_with(name, |object| if holds(object) { Ok(()) } else { Err(what.to_owned()) }).await
    }

    /// Waits until `check` accepts the object, and returns the object. Otherwise `check` says what is missing, as the end
    /// of the sentence "gave up waiting for ...".
    async fn until_with(&self, name: &str, check: impl Fn(&Value) -> Result<(), String>) -> Result<Value, Failed> {
        eventually(self.suite.subject().patience, || async {
            let object = self.get(name).await?;
            match check(&object) {
                Ok(()) => Ok(object),
                Err(what) => Err(format!("gave up waiting for {what} of {name}:\n{}", excerpt(&object)).into()),
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
        let finalizer = format!("the controller's finalizer {}", self.suite.subject().finalizer);
        self.until(name, &finalizer, |object| self.holds(object)).await
    }

    /// Waits until gardenlet would consider the object ready. With a timestamp, the object must still have it.
    pub async fn until_served(&self, name: &str, timestamp: Option<&str>) -> Result<Value, Failed> {
        let check =
            |object: &Value| readiness::check(object, timestamp).map_err(|unmet| format!("readiness ({unmet})"));
        self.until_with(name, check).await
    }

    /// Waits until the object is gone.
    pub async fn until_gone(&self, name: &str) -> Result<(), Failed> {
        self.until(name, "the deletion", Value::is_null).await.map(drop)
    }

    /// Returns when a later object is ready. A controller that serves objects in the order of their changes has then
    /// served all earlier ones.
    pub async fn barrier(&self) -> Result<(), Failed> {
        let scene = self.in_namespace(format!("{}-b", self.namespace));
        if Api::<Namespace>::all(self.client()).get_opt(&scene.namespace).await?.is_none() {
            scene.create_namespace().await?;
        }
        let name = format!("sentinel-{}", Timestamp::now().as_nanosecond());
        scene.create_annotated(&name, "reconcile").await?;
        if scene.until_served(&name, None).await.is_err() {
            // The controller may have seen it before its Cluster. gardenlet repeats its request as well.
            scene.ask(&name, "reconcile").await?;
            scene.until_served(&name, None).await?;
        }
        Ok(())
    }

    /// Returns when the controller has served all earlier changes: after a [`barrier`](Self::barrier), and after as long
    /// again as the barrier took. A controller with several workers may serve a later object first.
    pub async fn settled(&self) -> Result<(), Failed> {
        let started = Instant::now();
        self.barrier().await?;
        tokio::time::sleep(started.elapsed()).await;
        Ok(())
    }

    /// Fails if the object was written since `before`, when all earlier changes have [`settled`](Self::settled). Conditions
    /// may be written: health checks do so at any time (`extensions/pkg/controller/healthcheck/reconciler.go`).
    pub async fn unchanged(&self, name: &str, before: &Value, why: &str) -> Result<(), Failed> {
        self.settled().await?;
        for now in self.versions_since(name, before).await? {
            let versions = || format!("before: {}\nnow: {}", excerpt(before), excerpt(&now));
            let is_unchanged = apart_from_conditions(before) == apart_from_conditions(&now);
            ensure(is_unchanged, format!("{why}, but it was written\n{}", versions()))?;
        }
        Ok(())
    }

    /// Whether the object has the controller's finalizer.
    #[must_use]
    pub fn holds(&self, object: &Value) -> bool {
        finalizers(object).contains(&self.suite.subject().finalizer.as_str())
    }

    /// Asks for an operation on an object of the rule's [`own_type`](Self::own_type). Creates the object if it is missing.
    pub async fn ask_own(&self, name: &str, operation: &str) -> Result<(), Failed> {
        self.ask_of_type(name, &self.own_type(), operation).await
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
