//! A stand-in for gardenlet: writes a Shoot's extension objects in gardenlet's order and waits for them by its rules.
//!
//! Where gardenlet would wait for ever, this fails with the name of the rule that is not met. It waits on watches, not
//! by polls, so that what is measured is the extension.

mod flow;
mod step;

use std::{fmt, time::Duration};

use kube::{
    Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use mock_core::behaviour::Record;
use mock_core::contract::{
    DELETION_CONFIRMATION_ANNOTATION, OPERATION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use self::step::{Step, Target};
use crate::{
    json::{annotate, get, merge_patch, set},
    patience,
    readiness::{self, NotReady},
    shoot::ShootPlan,
};

/// What happens to a whole Shoot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its owner created it.
    Create,
    /// Its owner asked for a reconciliation, of the Infrastructure as well.
    Reconcile,
    /// Its owner sent it to sleep.
    Hibernate,
    /// Its owner woke it up.
    Wake,
    /// It leaves this seed.
    Migrate,
    /// It arrives from another seed with the state that [`Phase::Migrate`] saved in its plan.
    Restore,
    /// Its owner deleted it.
    Delete,
    /// Its owner gave the infrastructure up and deleted it.
    ForceDelete,
}

impl Phase {
    /// Its name, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Reconcile => "reconcile",
            Self::Hibernate => "hibernate",
            Self::Wake => "wake",
            Self::Migrate => "migrate",
            Self::Restore => "restore",
            Self::Delete => "delete",
            Self::ForceDelete => "force-delete",
        }
    }

    /// `status.lastOperation.type` of the Shoot meanwhile.
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Reconcile | Self::Hibernate | Self::Wake => "Reconcile",
            Self::Migrate => "Migrate",
            Self::Restore => "Restore",
            Self::Delete | Self::ForceDelete => "Delete",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one extension object of a Shoot gets on.
#[derive(Clone, Debug)]
pub struct Report {
    /// What happens to the Shoot.
    pub phase: Phase,
    /// The object's namespace.
    pub namespace: String,
    /// The object's kind.
    pub kind: &'static str,
    /// The object's name.
    pub name: String,
    /// The object's `spec.type`.
    pub spec_type: String,
    /// The bookkeeping of the script that it is under, if any.
    pub script: Option<Record>,
    /// What is new.
    pub what: Progress,
}

/// What is new about an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// gardenlet wrote its request and waits from now on.
    Requested,
    /// The extension wrote another `status.lastOperation`: its type, state and percentage.
    State(String),
    /// gardenlet goes on; the time from the acknowledged request to the event on which the rule held.
    Ready(Duration),
    /// The object is gone; the time since the acknowledged request to delete it.
    Gone(Duration),
    /// gardenlet would wait for ever; the rule that is not met.
    Stuck(String),
}

/// Why a Shoot does not get on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stuck {
    /// gardenlet would wait for ever.
    #[error("{object}: {rule} (given up after {} s; {status})", .after.as_secs_f32())]
    Waiting {
        /// Kind, namespace and name.
        object: String,
        /// The rule that is not met.
        rule: String,
        /// Its lastOperation and lastError, and why it could not be watched, if so.
        status: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// gardenlet would fail.
    #[error("{object}: {rule} ({status})")]
    Rule {
        /// Kind, namespace and name.
        object: String,
        /// The rule that is not met.
        rule: String,
        /// Its lastOperation and lastError.
        status: String,
    },
    /// gardenlet gives up: the error lasts too long.
    #[error("{object}: gardenlet gives up after {} s and the Shoot goes to {shoot}: {error}", .after.as_secs_f32())]
    GaveUp {
        /// Kind, namespace and name.
        object: String,
        /// The object's error.
        error: NotReady,
        /// `status.lastOperation.state` of the Shoot now.
        shoot: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The API server refused a request.
    #[error("cannot {doing} {object}: {source}")]
    Request {
        /// What was attempted.
        doing: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
}

impl Stuck {
    /// The rule that is not met, or what the API server said.
    #[must_use]
    pub fn rule(&self) -> String {
        match self {
            Self::Waiting { rule, .. } | Self::Rule { rule, .. } => rule.clone(),
            Self::GaveUp { error, shoot, .. } => format!("the Shoot goes to {shoot}: {error}"),
            Self::Request { doing, source, .. } => format!("cannot {doing}: {source}"),
        }
    }
}

/// The stand-in for gardenlet.
#[derive(Clone)]
pub struct Gardenlet {
    client: Client,
    reports: UnboundedSender<Report>,
    patience: Duration,
    tolerance: fn(&str) -> Duration,
}

impl Gardenlet {
    /// Reports go to `reports`; nobody needs to receive them. A wait ends after `patience`.
    #[must_use]
    pub fn new(client: Client, reports: UnboundedSender<Report>, patience: Duration) -> Self {
        Self { client, reports, patience, tolerance: |kind| patience::Wait::of(kind).severe }
    }

    /// Tolerates errors of an object for this long, by its kind, instead of as long as gardenlet does.
    #[must_use]
    pub fn tolerating(self, tolerance: fn(&str) -> Duration) -> Self {
        Self { tolerance, ..self }
    }

    /// Plays a whole Shoot through one phase, in gardenlet's order. What is learned on the way stays in the plan.
    ///
    /// A Shoot without workers has no objects of ours: there is only its namespace and its Cluster.
    pub async fn play(&self, plan: &mut ShootPlan, phase: Phase) -> Result<(), Stuck> {
        flow::play(self, plan, phase).await
    }

    /// Reads the object and creates it, or changes it by one merge patch of what differs: spec, labels, and with an
    /// operation its annotation and the timestamp (`pkg/controllerutils/patch.go`). As in Gardener, a patch that was
    /// computed while the same request was still standing does not hold the operation.
    pub async fn deploy(&self, object: &Value, operation: Option<&str>) -> kube::Result<DynamicObject> {
        let target = Target::of(&self.client, object);
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
                let there = metadata.entry(map).or_insert_with(|| json!({}));
                there.as_object_mut().into_iter().for_each(|there| there.extend(wanted.clone()));
            }
        }
        request(&mut new, operation);
        match merge_patch(&old, &new) {
            Some(patch) => target.patch(&patch).await,
            None => Ok(current),
        }
    }

    /// Waits until what [`deploy`](Self::deploy) or [`restore`](Self::restore) wrote is ready, and returns it.
    pub async fn wait_ready(&self, written: &DynamicObject) -> Result<Value, Stuck> {
        let object = written_value(written)?;
        let mut step = Step::start(self, None, &object).await;
        step.wait(|now| ready(now, &object)).await
    }

    /// Waits until a Worker that was just written has reported its machine deployments; `before` is
    /// `status.machineDeploymentsLastUpdateTime` as it was before. gardenlet does so before
    /// [`wait_ready`](Self::wait_ready), unless the Shoot is hibernated (`pkg/component/extensions/worker/worker.go`).
    pub async fn wait_machine_deployments(&self, written: &DynamicObject, before: Option<&str>) -> Result<(), Stuck> {
        let object = written_value(written)?;
        let mut step = Step::start(self, None, &object).await;
        step.wait(|now| machine_deployments(now, before)).await.map(drop)
    }

    /// Asks for an object to be let go; one that is not there is fine (`pkg/extensions/customresources.go`).
    pub async fn migrate(&self, object: &Value) -> kube::Result<()> {
        let target = Target::of(&self.client, object);
        let mut patch = json!({});
        request(&mut patch, Some(OperationAnnotation::Migrate.as_str()));
        unless_absent(target.patch(&patch).await).map(drop)
    }

    /// Waits until an object is migrated or gone.
    pub async fn wait_migrated(&self, object: &Value) -> Result<(), Stuck> {
        Step::start(self, None, object).await.wait(migrated).await.map(drop)
    }

    /// Deploys an object that came from another seed: first with `wait-for-state`, then its state, unless there is
    /// some, then the request itself (`pkg/extensions/customresources.go`).
    pub async fn restore(&self, object: &Value, state: Option<Value>) -> kube::Result<DynamicObject> {
        self.restore_saved(object, state.map(|state| json!({"state": state})).as_ref()).await
    }

    /// As [`restore`](Self::restore), with the fields of the status as they were saved.
    async fn restore_saved(&self, object: &Value, saved: Option<&Value>) -> kube::Result<DynamicObject> {
        let target = Target::of(&self.client, object);
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

    /// Confirms the deletion of an object and deletes it; one that is not there is fine
    /// (`pkg/extensions/customresources.go`).
    pub async fn delete(&self, object: &Value) -> kube::Result<()> {
        let target = Target::of(&self.client, object);
        let mut patch = json!({});
        annotate(&mut patch, DELETION_CONFIRMATION_ANNOTATION, "true");
        annotate(&mut patch, TIMESTAMP_ANNOTATION, now());
        if unless_absent(target.patch(&patch).await)?.is_none() {
            return Ok(());
        }
        unless_absent(target.api.delete(&target.name, &DeleteParams::default()).await).map(drop)
    }

    /// Waits until an object is gone.
    pub async fn wait_deleted(&self, object: &Value) -> Result<(), Stuck> {
        Step::start(self, None, object).await.wait_gone().await.map(drop)
    }
}

impl fmt::Debug for Gardenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gardenlet").field("patience", &self.patience).finish_non_exhaustive()
    }
}

fn written_value(written: &DynamicObject) -> Result<Value, Stuck> {
    to_value(written).map_err(|source| Stuck::Request {
        doing: "read",
        object: written.metadata.name.clone().unwrap_or_default(),
        source: Box::new(source),
    })
}

/// Whether the object is ready as it was written, or as it was changed since.
fn ready(now: Option<&Value>, written: &Value) -> Result<(), NotReady> {
    let now = now.ok_or(NotReady::Absent)?;
    let generation = |object| get(object, "metadata.generation").and_then(Value::as_i64).unwrap_or_default();
    // An event from before a write that changed the spec without asking for anything shows the old object.
    if generation(now) < generation(written) {
        let (observed, generation) = (generation(now), generation(written));
        return Err(NotReady::ObservedGeneration { observed, generation });
    }
    readiness::check(now, crate::json::annotation(written, TIMESTAMP_ANNOTATION))
}

fn machine_deployments(now: Option<&Value>, before: Option<&str>) -> Result<(), NotReady> {
    readiness::check_machine_deployments(now.ok_or(NotReady::Absent)?, before)
}

fn migrated(now: Option<&Value>) -> Result<(), NotReady> {
    now.map_or(Ok(()), readiness::check_migrated)
}

/// Puts a request with the time of now on an object or a patch.
fn request(object: &mut Value, operation: Option<&str>) {
    if let Some(operation) = operation {
        annotate(object, OPERATION_ANNOTATION, operation);
        annotate(object, TIMESTAMP_ANNOTATION, now());
    }
}

fn now() -> String {
    k8s_openapi::jiff::Timestamp::now().to_string()
}

fn unless_absent<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        result => result.map(Some),
    }
}

fn to_value(object: &DynamicObject) -> kube::Result<Value> {
    serde_json::to_value(object).map_err(kube::Error::SerdeError)
}

fn from_value(object: Value) -> kube::Result<DynamicObject> {
    serde_json::from_value(object).map_err(kube::Error::SerdeError)
}
