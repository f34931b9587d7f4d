//! gardenlet's requests for one object, and its waits.

use std::fmt;
use std::time::Duration;

use extension_contract::json::{annotate, get, merge_patch, set};
use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, OPERATION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION, kinds,
};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::report::Report;
use crate::rules;
use crate::stuck::Stuck;
use crate::target::{Target, from_value, to_value};
use crate::watched::{Context, Watched};

/// For how long errors of an object are tolerated if its kind is no extension kind: the value of most extension kinds.
const SEVERE: Duration = Duration::from_secs(30);

/// The stand-in for gardenlet.
#[derive(Clone)]
pub struct Gardenlet {
    pub(crate) context: Context,
}

impl Gardenlet {
    /// Creates a stand-in that sends its reports to `reports`, whose receiver may be dropped. Each wait ends after
    /// `patience` at the latest.
    #[must_use]
    pub fn new(client: Client, reports: UnboundedSender<Report>, patience: Duration) -> Self {
        let tolerance = |kind: &str| kinds::find(kind).map_or(SEVERE, |kind| kind.severe);
        Self { context: Context { client, reports, patience, tolerance } }
    }

    /// Changes for how long errors of an object are tolerated, by its kind. The default is gardenlet's.
    #[must_use]
    pub fn tolerating(mut self, tolerance: fn(&str) -> Duration) -> Self {
        self.context.tolerance = tolerance;
        self
    }

    /// Creates an object, or patches it if it exists (`pkg/controllerutils/patch.go`).
    ///
    /// The merge patch contains the differences in the spec, the labels and the annotations. With an `operation`, it
    /// also contains the operation annotation and the timestamp. As in Gardener, the operation annotation is missing in
    /// the patch if the object still had the same one when it was read.
    pub async fn deploy(&self, object: &Value, operation: Option<&str>) -> kube::Result<DynamicObject> {
        let target = self.target(object);
        let current = target.api.get_opt(&target.name).await?;
        let Some(current) = current else {
            let mut new = object.clone();
            request(&mut new, operation);
            return target.api.create(&PostParams::default(), &from_value(new)?).await;
        };
        let old = to_value(&current)?;
        let mut new = old.clone();
        for (field, value) in object.as_object().into_iter().flatten() {
            if !["apiVersion", "kind", "metadata", "status"].contains(&field.as_str()) {
                set(&mut new, field, value.clone());
            }
        }
        for map in ["labels", "annotations"] {
            let wanted = get(object, &format!("metadata.{map}")).and_then(Value::as_object);
            if let (Some(wanted), Some(metadata)) = (wanted, new.get_mut("metadata").and_then(Value::as_object_mut)) {
                let existing = metadata.entry(map).or_insert_with(|| json!({}));
                existing.as_object_mut().into_iter().for_each(|existing| existing.extend(wanted.clone()));
            }
        }
        request(&mut new, operation);
        match merge_patch(&old, &new) {
            Some(patch) => target.patch(&patch).await,
            None => Ok(current),
        }
    }

    /// Waits until an object that [`deploy`](Self::deploy) or [`restore`](Self::restore) wrote is ready, and returns
    /// it.
    pub async fn wait_ready(&self, written: &DynamicObject) -> Result<Value, Stuck> {
        let object = written_value(written)?;
        self.watch(&object).await.wait(|now| rules::ready(now, &object)).await
    }

    /// Waits until the extension has reported the machine deployments of a Worker that was just written. `before` is
    /// `status.machineDeploymentsLastUpdateTime` before the write. gardenlet waits for this before
    /// [`wait_ready`](Self::wait_ready), unless the Shoot is hibernated (`pkg/component/extensions/worker/worker.go`).
    pub async fn wait_machine_deployments(&self, written: &DynamicObject, before: Option<&str>) -> Result<(), Stuck> {
        let object = written_value(written)?;
        self.watch(&object).await.wait(|now| rules::machine_deployments(now, before)).await.map(drop)
    }

    /// Requests the migration of an object, if it exists (`pkg/extensions/customresources.go`).
    pub async fn migrate(&self, object: &Value) -> kube::Result<()> {
        let mut patch = json!({});
        request(&mut patch, Some(OperationAnnotation::Migrate.as_str()));
        if_exists(self.target(object).patch(&patch).await).map(drop)
    }

    /// Waits until an object is migrated or gone.
    pub async fn wait_migrated(&self, object: &Value) -> Result<(), Stuck> {
        self.watch(object).await.wait(rules::migrated).await.map(drop)
    }

    /// Restores an object that comes from another seed (`pkg/extensions/customresources.go`).
    ///
    /// Deploys it with `wait-for-state`, then writes its state unless it has one, and then requests the restoration.
    pub async fn restore(&self, object: &Value, state: Option<Value>) -> kube::Result<DynamicObject> {
        self.restore_saved(object, state.map(|state| json!({"state": state})).as_ref()).await
    }

    /// As [`restore`](Self::restore), with all saved fields of the status.
    pub(crate) async fn restore_saved(&self, object: &Value, saved: Option<&Value>) -> kube::Result<DynamicObject> {
        let target = self.target(object);
        let mut written = self.deploy(object, Some(OperationAnnotation::WaitForState.as_str())).await?;
        if let Some(saved) = saved.filter(|_| written.data.pointer("/status/state").is_none_or(Value::is_null)) {
            let patch = Patch::Merge(json!({"status": saved}));
            written = target.api.patch_status(&target.name, &PatchParams::default(), &patch).await?;
        }
        let old = to_value(&written)?;
        let mut new = old.clone();
        request(&mut new, Some(OperationAnnotation::Restore.as_str()));
        target.patch(&merge_patch(&old, &new).unwrap_or_default()).await
    }

    /// Confirms the deletion of an object and deletes it, if it exists (`pkg/extensions/customresources.go`).
    pub async fn delete(&self, object: &Value) -> kube::Result<()> {
        let target = self.target(object);
        let mut patch = json!({});
        annotate(&mut patch, DELETION_CONFIRMATION_ANNOTATION, "true");
        annotate(&mut patch, TIMESTAMP_ANNOTATION, now());
        if if_exists(target.patch(&patch).await)?.is_none() {
            return Ok(());
        }
        if_exists(target.api.delete(&target.name, &DeleteParams::default()).await).map(drop)
    }

    /// Waits until an object is gone.
    pub async fn wait_deleted(&self, object: &Value) -> Result<(), Stuck> {
        self.watch(object).await.wait_gone().await
    }

    fn target(&self, object: &Value) -> Target {
        Target::of(&self.context.client, object)
    }

    /// Watches an object without reports.
    pub(crate) async fn watch(&self, object: &Value) -> Watched<'_> {
        Watched::start(&self.context, None, object).await
    }
}

impl fmt::Debug for Gardenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gardenlet").field("patience", &self.context.patience).finish_non_exhaustive()
    }
}

fn written_value(written: &DynamicObject) -> Result<Value, Stuck> {
    to_value(written).map_err(|source| Stuck::Request {
        doing: "read",
        object: written.metadata.name.clone().unwrap_or_default(),
        source: Box::new(source),
    })
}

/// Sets the operation annotation and the current timestamp on an object or a patch.
fn request(object: &mut Value, operation: Option<&str>) {
    if let Some(operation) = operation {
        annotate(object, OPERATION_ANNOTATION, operation);
        annotate(object, TIMESTAMP_ANNOTATION, now());
    }
}

fn now() -> String {
    Timestamp::now().to_string()
}

/// Turns the error for an object that does not exist into `None`.
pub(crate) fn if_exists<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        result => result.map(Some),
    }
}
