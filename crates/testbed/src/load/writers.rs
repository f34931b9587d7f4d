//! What the load generator asks for, Shoot by Shoot, as gardenlet would.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use mock_core::contract::{
    DELETION_CONFIRMATION_ANNOTATION, OPERATION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION,
};
use serde_json::{Value, json};

use super::{
    Answer, Inner, LoadError, Phase, raw,
    watched::Rule,
    wire::{Body, Meta, Place},
};
use crate::{
    json::{annotate, text},
    shoot::{Planned, ShootPlan},
};

/// What the writers do.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    Phase(Phase),
    /// What migration left behind goes.
    Destroy,
}

/// What of a Shoot is written.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Cluster,
    Objects,
}

impl Inner {
    /// Writes Clusters, or the objects of Shoot after Shoot, as long as there are some.
    pub(super) async fn write(
        self: Arc<Self>,
        part: Part,
        asked: Asked,
        next: Arc<AtomicUsize>,
    ) -> Result<(), LoadError> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.options.shoots {
                return Ok(());
            }
            match part {
                Part::Cluster => self.cluster(index, asked).await?,
                Part::Objects => self.shoot(index, asked).await?,
            }
        }
    }

    /// What gardenlet writes before the objects of a Shoot.
    pub(super) async fn cluster(&self, index: usize, asked: Asked) -> Result<(), LoadError> {
        let Asked::Phase(phase) = asked else { return Ok(()) };
        let mut plan = self.plan(index);
        plan.set_last_operation(phase.of_a_shoot().operation(), "Processing", 0);
        let cluster = plan.cluster();
        if phase == Phase::Create {
            let namespace = plan.namespace_object();
            self.wire.create(&Place::of(&namespace), &namespace).await?;
            self.wire.create(&Place::of(&cluster), &cluster).await.map(drop)
        } else {
            let last = plan.shoot.pointer("/status/lastOperation");
            let change = json!({"spec": {"shoot": {"status": {"lastOperation": last}}}});
            self.wire.patch(&Place::of(&cluster), "", Body::Merge(&change)).await.map(drop)
        }
    }

    pub(super) async fn shoot(&self, index: usize, asked: Asked) -> Result<(), LoadError> {
        let plan = self.plan(index);
        let mut objects = plan.objects();
        let Asked::Phase(phase) = asked else {
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

    fn plan(&self, index: usize) -> ShootPlan {
        self.landscape.plan(Some(self.options.first.saturating_add(index)))
    }

    /// One request of gardenlet's for one object, and the answer if it is ours to give.
    pub(super) async fn object(&self, plan: &ShootPlan, planned: &Planned, phase: Phase) -> Result<(), LoadError> {
        let place = Place::of(&planned.object);
        let timestamp = now();
        let before = self.watched.reported(&place);
        let rule = match phase {
            Phase::Create | Phase::Reconcile | Phase::Restore | Phase::Migrate
                if self.options.answer == Answer::Nobody =>
            {
                Rule::Asked { timestamp: timestamp.clone() }
            }
            Phase::Create | Phase::Reconcile | Phase::Restore => {
                Rule::Ready { timestamp: timestamp.clone(), before: before.clone() }
            }
            Phase::Migrate => Rule::Migrated,
            Phase::Delete => Rule::Gone,
        };
        let meta = match phase {
            Phase::Create => {
                let mut object = planned.object.clone();
                request(&mut object, OperationAnnotation::Reconcile, &timestamp);
                self.watched.expect(&place, rule);
                Some(self.wire.create(&place, &object).await?)
            }
            Phase::Reconcile | Phase::Migrate => {
                let operation =
                    if phase == Phase::Migrate { OperationAnnotation::Migrate } else { OperationAnnotation::Reconcile };
                let mut patch = json!({});
                request(&mut patch, operation, &timestamp);
                self.watched.expect(&place, rule);
                Some(self.wire.patch(&place, "", Body::Merge(&patch)).await?)
            }
            Phase::Restore => {
                let mut object = planned.object.clone();
                request(&mut object, OperationAnnotation::WaitForState, &now());
                self.wire.create(&place, &object).await?;
                let mut patch = json!({});
                request(&mut patch, OperationAnnotation::Restore, &timestamp);
                self.watched.expect(&place, rule);
                Some(self.wire.patch(&place, "", Body::Merge(&patch)).await?)
            }
            Phase::Delete => {
                self.watched.expect(&place, rule);
                self.delete(planned, &place).await?;
                None
            }
        };
        self.watched.acknowledged(&place, Instant::now());
        if self.options.answer == Answer::Raw {
            let request = raw::Request { phase, timestamp: &timestamp, before: before.as_deref() };
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
        self.wire.patch(place, "", Body::Merge(&patch)).await?;
        self.wire.delete(place).await
    }

    async fn answer(
        &self,
        plan: &ShootPlan,
        planned: &Planned,
        place: &Place,
        meta: Option<&Meta>,
        request: &raw::Request<'_>,
    ) -> Result<(), LoadError> {
        let Some(meta) = meta else {
            return self.answers.patch(place, "", Body::Json(&raw::release())).await.map(drop);
        };
        if let Some(secret) = raw::secret(planned, meta, request) {
            self.answers.patch(&Place::of(&secret), "", Body::Apply(&secret)).await?;
        }
        let status = raw::status(plan, planned, meta, request);
        self.answers.patch(place, "status", Body::Merge(&status)).await?;
        self.answers.patch(place, "", Body::Json(&raw::metadata(planned, request))).await.map(drop)
    }
}

/// Puts a request on an object or a patch.
fn request(object: &mut Value, operation: OperationAnnotation, timestamp: &str) {
    annotate(object, OPERATION_ANNOTATION, operation.as_str());
    annotate(object, TIMESTAMP_ANNOTATION, timestamp);
}

/// With all its digits, so that every request has the same size.
fn now() -> String {
    format!("{:.9}", k8s_openapi::jiff::Timestamp::now())
}
