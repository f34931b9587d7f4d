//! gardenlet's flows for a whole Shoot.

use std::collections::BTreeSet;

use extension_contract::json::{annotate, annotation, get, remove, set, text};
use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION, kinds,
    whole_seconds,
};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::gardenlet::Gardenlet;
use crate::networks;
use crate::phase::Phase;
use crate::rules;
use crate::shoot::{CLOUD_CONFIG, Planned, ShootPlan, ShootState};
use crate::stuck::Stuck;
use crate::target::to_value;
use crate::watched::Watched;

/// gardenlet deletes one kind after the other (`pkg/gardenlet/controller/shoot/shoot/reconciler_delete.go`).
const DELETION_ORDER: [&str; 5] = [
    kinds::NETWORK.name,
    kinds::WORKER.name,
    kinds::OPERATING_SYSTEM_CONFIG.name,
    kinds::CONTROL_PLANE.name,
    kinds::INFRASTRUCTURE.name,
];

/// gardenlet migrates these kinds first and at once (`pkg/gardenlet/operation/botanist/migration.go`).
const MIGRATED_FIRST: [&str; 3] = [kinds::NETWORK.name, kinds::OPERATING_SYSTEM_CONFIG.name, kinds::WORKER.name];

impl Gardenlet {
    /// Plays a whole Shoot through one phase, in gardenlet's order. Stores what gardenlet learns in the plan.
    ///
    /// A Shoot without workers has no extension objects of the plan's kinds. Only its namespace and its Cluster are
    /// written.
    pub async fn play(&self, plan: &mut ShootPlan, phase: Phase) -> Result<(), Stuck> {
        prepare(plan, phase);
        let mut flow = Flow { gardenlet: self, plan, phase };
        flow.plan.set_last_operation(phase.operation(), "Processing", 0);
        flow.write(&flow.plan.cluster()).await?;
        let result = match phase {
            Phase::Create | Phase::Reconcile | Phase::Hibernate | Phase::Wake | Phase::Restore => {
                flow.reconcile().await
            }
            Phase::Migrate => flow.migrate().await,
            Phase::Delete | Phase::ForceDelete => flow.delete().await,
        };
        if let Err(Stuck::GaveUp { shoot, .. }) = &result {
            flow.plan.set_last_operation(phase.operation(), shoot, 50);
            flow.write(&flow.plan.cluster()).await?;
        }
        result
    }
}

/// Changes the Shoot as its owner does at the start of a phase.
fn prepare(plan: &mut ShootPlan, phase: Phase) {
    match phase {
        Phase::Hibernate => plan.set_hibernated(true),
        Phase::Wake => plan.set_hibernated(false),
        Phase::Create => {
            remove(&mut plan.shoot, "metadata.deletionTimestamp");
            for annotation in [DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION] {
                let annotations = plan.shoot.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
                if let Some(annotations) = annotations {
                    annotations.remove(annotation);
                }
            }
        }
        Phase::Delete | Phase::ForceDelete => {
            set(&mut plan.shoot, "metadata.deletionTimestamp", whole_seconds(Timestamp::now()).to_string());
            annotate(&mut plan.shoot, DELETION_CONFIRMATION_ANNOTATION, "true");
            if phase == Phase::ForceDelete {
                annotate(&mut plan.shoot, FORCE_DELETION_ANNOTATION, "true");
            }
        }
        Phase::Reconcile | Phase::Migrate | Phase::Restore => {}
    }
}

struct Flow<'a> {
    gardenlet: &'a Gardenlet,
    plan: &'a mut ShootPlan,
    phase: Phase,
}

impl<'a> Flow<'a> {
    /// Creates or reconciles the Shoot (`pkg/gardenlet/controller/shoot/shoot/reconciler_reconcile.go`).
    async fn reconcile(&mut self) -> Result<(), Stuck> {
        self.write(&self.plan.namespace_object()).await?;
        for secret in self.plan.secrets() {
            self.write(&secret).await?;
        }
        let stages: BTreeSet<u8> = self.plan.objects().iter().map(|planned| planned.stage).collect();
        for stage in stages {
            // Plan the objects again: they contain what gardenlet learned in earlier stages.
            let planned = self.plan.objects().into_iter().filter(|planned| planned.stage == stage).collect::<Vec<_>>();
            let objects = try_join_all(planned.iter().map(|planned| self.deploy(planned))).await?;
            for (object, secret) in objects {
                if text(&object, "kind") == Some(kinds::INFRASTRUCTURE.name) {
                    self.learn_infrastructure(&object).await?;
                }
                if let Some(secret) = secret {
                    let name = text(&object, "metadata.name").unwrap_or_default().to_owned();
                    self.plan.user_data_secrets.insert(name, secret);
                }
            }
        }
        if self.phase == Phase::Restore {
            self.plan.state = ShootState::default();
        }
        let hibernated = self.plan.is_hibernated();
        set(&mut self.plan.shoot, "status.hibernated", hibernated);
        self.plan.set_last_operation(self.phase.operation(), "Succeeded", 100);
        self.write(&self.plan.cluster()).await
    }

    /// Deploys one object and waits until it is ready. Returns the ready object, and the name of the Secret with the
    /// user data if the object is an OperatingSystemConfig for the first boot.
    async fn deploy(&self, planned: &Planned) -> Result<(Value, Option<String>), Stuck> {
        let mut watched = self.watch(&planned.object).await;
        let before = watched.object().cloned().unwrap_or_default();
        let saved = self.plan.state.of(&planned.object);
        let written = if self.phase == Phase::Restore {
            self.gardenlet.restore_saved(&planned.object, saved).await
        } else {
            let operation = self.must_annotate(planned, &before).then_some(OperationAnnotation::Reconcile.as_str());
            self.gardenlet.deploy(&planned.object, operation).await
        };
        let written = watched.request("write", written.and_then(|written| to_value(&written)))?;
        watched.report_requested();
        if planned.kind == kinds::WORKER.name && !self.plan.is_hibernated() {
            let before = text(&before, "status.machineDeploymentsLastUpdateTime");
            watched.wait(|now| rules::machine_deployments(now, before)).await?;
        }
        let object = watched.wait(|now| rules::ready(now, &written)).await?;

        let mut secret = None;
        if planned.kind == kinds::OPERATING_SYSTEM_CONFIG.name && text(&object, "spec.purpose") == Some("provision") {
            secret = Some(self.user_data_secret(&watched, &object).await?);
        } else if planned.kind == kinds::WORKER.name {
            self.clear_state(&watched, &object).await?;
        } else if planned.kind == kinds::INFRASTRUCTURE.name && self.phase == Phase::Restore {
            let saved = saved.and_then(|saved| get(saved, "state"));
            if saved.is_some() && get(&object, "status.state") != saved {
                return Err(watched.violation("status.state must be the state that the Shoot had on the other seed"));
            }
        }
        watched.report_ready();
        Ok((object, secret))
    }

    /// Returns whether this reconciliation of the Shoot sets the operation annotation. It always does, except on the
    /// Infrastructure: there, the phase must request it, or the last operation must have failed or be outdated
    /// (`pkg/component/extensions/infrastructure/infrastructure.go`).
    fn must_annotate(&self, planned: &Planned, before: &Value) -> bool {
        let is_requested = matches!(self.phase, Phase::Create | Phase::Reconcile);
        if planned.operation_always || is_requested {
            return true;
        }
        let Some(last) = get(before, "status.lastOperation") else { return false };
        let seconds = |time: &str| time.parse().ok().map(Timestamp::as_second);
        let updated = text(last, "lastUpdateTime").and_then(seconds);
        let is_outdated = annotation(before, TIMESTAMP_ANNOTATION)
            .is_some_and(|timestamp| seconds(timestamp).is_none_or(|requested| Some(requested) > updated));
        text(last, "state") != Some("Succeeded") || is_outdated
    }

    /// Copies the Infrastructure's results into the Shoot (`pkg/gardenlet/operation/botanist/infrastructure.go`).
    async fn learn_infrastructure(&mut self, object: &Value) -> Result<(), Stuck> {
        self.plan.infrastructure_status = get(object, "status.providerStatus").cloned();
        if let Err(rule) = networks::learn(&mut self.plan.shoot, &self.plan.seed, object) {
            return Err(self.watch(object).await.violation(rule));
        }
        self.write(&self.plan.cluster()).await
    }

    /// Returns the name of the Secret with the user data. gardenlet reads it as soon as the OperatingSystemConfig is
    /// ready (`pkg/component/extensions/operatingsystemconfig/operatingsystemconfig.go`).
    async fn user_data_secret(&self, watched: &Watched<'_>, object: &Value) -> Result<String, Stuck> {
        let field = |field| text(object, &format!("status.cloudConfig.secretRef.{field}"));
        let (Some(name), Some(namespace)) = (field("name"), field("namespace")) else {
            return Err(watched.violation("status.cloudConfig.secretRef must have a name and a namespace"));
        };
        let secrets: Api<Secret> = Api::namespaced(self.gardenlet.context.client.clone(), namespace);
        let secret = watched.request("read the Secret of", secrets.get_opt(name).await)?;
        let Some(secret) = secret else {
            return Err(watched.violation(format!("the Secret {namespace}/{name} of status.cloudConfig must exist")));
        };
        if !secret.data.is_some_and(|data| data.contains_key(CLOUD_CONFIG)) {
            return Err(watched.violation(format!("the Secret {namespace}/{name} must have the key {CLOUD_CONFIG}")));
        }
        Ok(name.to_owned())
    }

    /// Removes the Worker's state. gardenlet does not need it any more once the Worker is restored
    /// (`pkg/component/extensions/worker/worker.go`).
    async fn clear_state(&self, watched: &Watched<'_>, object: &Value) -> Result<(), Stuck> {
        if get(object, "status.state").is_none() {
            return Ok(());
        }
        let version = get(object, "metadata.resourceVersion");
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "status": {"state": null}}));
        let target = &watched.target;
        let patched = target.api.patch_status(&target.name, &PatchParams::default(), &patch).await;
        watched.request("clear status.state of", patched).map(drop)
    }

    /// Migrates the Shoot away from this seed (`pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go`).
    async fn migrate(&mut self) -> Result<(), Stuck> {
        let objects = self.plan.objects();
        let of_kind = |kind: &'static str| objects.iter().filter(move |planned| planned.kind == kind);
        let first = || objects.iter().filter(|planned| MIGRATED_FIRST.contains(&planned.kind));

        try_join_all(first().map(|planned| self.migrate_one(&planned.object))).await?;
        // As in Gardener, state that the Infrastructure writes during its own migration is not saved.
        for planned in &objects {
            let watched = self.watch(&planned.object).await;
            let object = watched.object().filter(|object| get(object, "metadata.deletionTimestamp").is_none());
            if let Some(object) = object {
                self.plan.state.save(object);
            }
        }
        try_join_all(first().map(|planned| self.delete_one(&planned.object))).await?;
        for planned in of_kind(kinds::CONTROL_PLANE.name) {
            let watched = self.watch(&planned.object).await;
            watched.request("migrate", self.gardenlet.migrate(&planned.object).await)?;
            // gardenlet does not wait for the migration of this kind.
            self.delete_one(&planned.object).await?;
        }
        for planned in of_kind(kinds::INFRASTRUCTURE.name) {
            self.migrate_one(&planned.object).await?;
            self.delete_one(&planned.object).await?;
        }
        self.leave_seed().await
    }

    async fn migrate_one(&self, object: &Value) -> Result<(), Stuck> {
        let mut watched = self.watch(object).await;
        watched.request("migrate", self.gardenlet.migrate(object).await)?;
        watched.report_requested();
        let migrated = watched.wait(rules::migrated).await?;
        // gardenlet determines the Worker's state itself, and fails if the extension has written one
        // (`pkg/extensions/customresources.go`).
        if text(object, "kind") == Some(kinds::WORKER.name) && get(&migrated, "status.state").is_some() {
            return Err(watched.violation("status.state of a migrated Worker must be absent"));
        }
        watched.report_ready();
        Ok(())
    }

    async fn delete(&self) -> Result<(), Stuck> {
        let objects = self.plan.objects();
        if self.phase == Phase::ForceDelete {
            try_join_all(objects.iter().map(|planned| self.delete_one(&planned.object))).await?;
        } else {
            for kind in DELETION_ORDER {
                let of_kind = objects.iter().filter(|planned| planned.kind == kind);
                try_join_all(of_kind.map(|planned| self.delete_one(&planned.object))).await?;
            }
        }
        self.leave_seed().await
    }

    async fn delete_one(&self, object: &Value) -> Result<(), Stuck> {
        let mut watched = self.watch(object).await;
        watched.request("delete", self.gardenlet.delete(object).await)?;
        watched.report_requested();
        watched.wait_gone().await?;
        watched.report_gone();
        Ok(())
    }

    /// Deletes the Shoot's namespace, and then its Cluster.
    async fn leave_seed(&self) -> Result<(), Stuck> {
        for object in [self.plan.namespace_object(), self.plan.cluster()] {
            let mut watched = self.gardenlet.watch(&object).await;
            watched.request("delete", self.gardenlet.delete(&object).await)?;
            watched.wait_gone().await?;
        }
        Ok(())
    }

    /// Writes an object that no extension reconciles.
    async fn write(&self, object: &Value) -> Result<(), Stuck> {
        let written = self.gardenlet.deploy(object, None).await;
        written.map(drop).map_err(|source| Stuck::Request {
            doing: "write",
            object: format!(
                "{} {}",
                text(object, "kind").unwrap_or_default(),
                text(object, "metadata.name").unwrap_or_default()
            ),
            source: Box::new(source),
        })
    }

    /// Watches an object and reports its progress.
    async fn watch(&self, object: &Value) -> Watched<'a> {
        Watched::start(&self.gardenlet.context, Some(self.phase), object).await
    }
}
