//! gardenlet's requests for each Shoot, and the answers to them if the generator answers itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use extension_contract::json::{annotate, text};
use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, OPERATION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION, kinds,
};
use mock_gardenlet::shoot::{Landscape, Planned, ShootPlan};
use serde_json::{Value, json};

use super::baseline;
use super::client::{Body, Client, Meta, Place};
use super::error::LoadError;
use super::options::{Answer, Options, Phase};
use super::ready::{Awaited, Rule};
use super::resources::objects_of;

/// What the writers do to each Shoot.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// They send the requests of a phase.
    Phase(Phase),
    /// They delete the objects that a migration left.
    Destroy,
}

/// The part of a Shoot that is written.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Cluster,
    Objects,
}

/// Sends gardenlet's requests.
pub(super) struct Writers {
    pub(super) landscape: Landscape,
    pub(super) options: Options,
    pub(super) client: Arc<Client>,
    /// The client for writes that a controller would make. They do not count as the generator's own.
    pub(super) answers: Client,
    pub(super) awaited: Arc<Awaited>,
}

impl Writers {
    /// Writes Clusters, or the objects of one Shoot after the other, until none is left. `next` is the number of the
    /// next Shoot, shared by all writers.
    pub(super) async fn write(
        self: Arc<Self>,
        part: Part,
        task: Task,
        next: Arc<AtomicUsize>,
    ) -> Result<(), LoadError> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.options.shoots {
                return Ok(());
            }
            match part {
                Part::Cluster => self.cluster(index, task).await?,
                Part::Objects => self.objects(index, task).await?,
            }
        }
    }

    /// Writes what gardenlet writes before the objects of a Shoot.
    pub(super) async fn cluster(&self, index: usize, task: Task) -> Result<(), LoadError> {
        let Task::Phase(phase) = task else { return Ok(()) };
        let mut plan = self.plan(index);
        plan.set_last_operation(phase.operation().as_str(), "Processing", 0);
        let cluster = plan.cluster();
        if phase == Phase::Create {
            let namespace = plan.namespace_object();
            self.client.create(&Place::of(&namespace), &namespace).await?;
            self.client.create(&Place::of(&cluster), &cluster).await.map(drop)
        } else {
            let last = plan.shoot.pointer("/status/lastOperation");
            let change = json!({"spec": {"shoot": {"status": {"lastOperation": last}}}});
            self.client.patch(&Place::of(&cluster), "", Body::Merge(&change)).await.map(drop)
        }
    }

    /// Writes the objects of a Shoot.
    pub(super) async fn objects(&self, index: usize, task: Task) -> Result<(), LoadError> {
        let plan = self.plan(index);
        let mut objects = self.planned(index);
        if !matches!(task, Task::Phase(Phase::Create | Phase::Reconcile | Phase::Delete)) {
            objects.retain(|planned| kinds::find(planned.kind).is_some_and(|kind| kind.migrates));
        }
        let Task::Phase(phase) = task else {
            for object in &objects {
                self.delete(object, &Place::of(&object.object)).await?;
            }
            return Ok(());
        };
        if phase == Phase::Delete {
            objects.reverse();
        }
        for object in &objects {
            self.object(&plan, object, phase).await?;
        }
        Ok(())
    }

    /// The plan of a Shoot, counted from the first Shoot of the load.
    pub(super) fn plan(&self, index: usize) -> ShootPlan {
        self.landscape.plan(Some(self.options.first.saturating_add(index)))
    }

    /// The objects of a Shoot, counted from the first Shoot of the load.
    pub(super) fn planned(&self, index: usize) -> Vec<Planned> {
        objects_of(&self.landscape, self.options.first.saturating_add(index))
    }

    /// Sends gardenlet's request for one object, and the answer if the generator answers itself.
    pub(super) async fn object(&self, plan: &ShootPlan, planned: &Planned, phase: Phase) -> Result<(), LoadError> {
        let place = Place::of(&planned.object);
        let timestamp = now();
        let before = self.awaited.reported(&place);
        let rule = match phase {
            Phase::Create | Phase::Reconcile | Phase::Restore | Phase::Migrate
                if self.options.answer == Answer::None =>
            {
                Rule::Requested { timestamp: timestamp.clone() }
            }
            Phase::Create | Phase::Reconcile | Phase::Restore => {
                Rule::Ready { timestamp: timestamp.clone(), before: before.clone() }
            }
            Phase::Migrate => Rule::Migrated,
            Phase::Delete => Rule::Gone,
        };
        let meta = match phase {
            Phase::Create => {
                if let Some(secret) = &planned.secret {
                    self.client.patch(&Place::of(secret), "", Body::Apply(secret)).await?;
                }
                let mut object = planned.object.clone();
                request(&mut object, OperationAnnotation::Reconcile, &timestamp);
                self.awaited.expect(&place, rule);
                Some(self.client.create(&place, &object).await?)
            }
            Phase::Reconcile | Phase::Migrate => {
                let operation =
                    if phase == Phase::Migrate { OperationAnnotation::Migrate } else { OperationAnnotation::Reconcile };
                let mut patch = json!({});
                request(&mut patch, operation, &timestamp);
                self.awaited.expect(&place, rule);
                Some(self.client.patch(&place, "", Body::Merge(&patch)).await?)
            }
            Phase::Restore => {
                let mut object = planned.object.clone();
                request(&mut object, OperationAnnotation::WaitForState, &now());
                self.client.create(&place, &object).await?;
                let mut patch = json!({});
                request(&mut patch, OperationAnnotation::Restore, &timestamp);
                self.awaited.expect(&place, rule);
                Some(self.client.patch(&place, "", Body::Merge(&patch)).await?)
            }
            Phase::Delete => {
                self.awaited.expect(&place, rule);
                self.delete(planned, &place).await?;
                None
            }
        };
        self.awaited.acknowledged(&place, Instant::now());
        if self.options.answer == Answer::Baseline {
            let request = baseline::Request { phase, timestamp: &timestamp, before: before.as_deref() };
            self.answer(plan, planned, &place, meta.as_ref(), &request).await?;
        }
        Ok(())
    }

    /// Confirms the deletion and deletes (`pkg/extensions/customresources.go`).
    async fn delete(&self, planned: &Planned, place: &Place) -> Result<(), LoadError> {
        debug_assert_eq!(text(&planned.object, "metadata.name"), Some(planned.name.as_str()));
        let mut patch = json!({});
        annotate(&mut patch, DELETION_CONFIRMATION_ANNOTATION, "true");
        annotate(&mut patch, TIMESTAMP_ANNOTATION, now());
        self.client.patch(place, "", Body::Merge(&patch)).await?;
        self.client.delete(place).await
    }

    async fn answer(
        &self,
        plan: &ShootPlan,
        planned: &Planned,
        place: &Place,
        meta: Option<&Meta>,
        request: &baseline::Request<'_>,
    ) -> Result<(), LoadError> {
        let Some(meta) = meta else {
            return self.answers.patch(place, "", Body::Json(&baseline::release())).await.map(drop);
        };
        if let Some(secret) = baseline::secret(planned, meta, request) {
            self.answers.patch(&Place::of(&secret), "", Body::Apply(&secret)).await?;
        }
        let status = baseline::status(plan, planned, meta, request);
        self.answers.patch(place, "status", Body::Merge(&status)).await?;
        self.answers.patch(place, "", Body::Json(&baseline::metadata(planned, request))).await.map(drop)
    }
}

/// Puts the annotations of a request on an object or a patch.
fn request(object: &mut Value, operation: OperationAnnotation, timestamp: &str) {
    annotate(object, OPERATION_ANNOTATION, operation.as_str());
    annotate(object, TIMESTAMP_ANNOTATION, timestamp);
}

/// The current time with nine decimals, so that every request has the same size.
fn now() -> String {
    format!("{:.9}", k8s_openapi::jiff::Timestamp::now())
}
