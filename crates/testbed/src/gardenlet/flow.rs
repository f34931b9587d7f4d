//! A whole Shoot in gardenlet's order.

use futures::future::try_join_all;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::Api;
use mock_core::contract::{
    DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION,
    whole_seconds,
};
use serde_json::{Value, json};

use super::{Gardenlet, Phase, Stuck, machine_deployments, migrated, ready, step::Step, to_value};
use crate::{
    json::{annotate, annotation, get, list, remove, set, text},
    shoot::{CLOUD_CONFIG, Planned, ShootPlan},
};

pub(super) async fn play(gardenlet: &Gardenlet, plan: &mut ShootPlan, phase: Phase) -> Result<(), Stuck> {
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
    let mut flow = Flow { gardenlet, plan, phase };
    flow.plan.set_last_operation(phase.operation(), "Processing", 0);
    flow.write(&flow.plan.cluster()).await?;
    let result = match phase {
        Phase::Create | Phase::Reconcile | Phase::Hibernate | Phase::Wake | Phase::Restore => flow.reconcile().await,
        Phase::Migrate => flow.migrate().await,
        Phase::Delete => flow.delete(&DELETION_ORDER).await,
        Phase::ForceDelete => flow.delete(&[ALL]).await,
    };
    if let Err(Stuck::GaveUp { shoot, .. }) = &result {
        flow.plan.set_last_operation(phase.operation(), shoot, 50);
        flow.write(&flow.plan.cluster()).await?;
    }
    result
}

const ALL: &[&str] = &["Infrastructure", "ControlPlane", "OperatingSystemConfig", "Network", "Worker"];

// One after the other [pkg/gardenlet/controller/shoot/shoot/reconciler_delete.go].
const DELETION_ORDER: [&[&str]; 5] =
    [&["Network"], &["Worker"], &["OperatingSystemConfig"], &["ControlPlane"], &["Infrastructure"]];

/// What is migrated first, and all at once (`pkg/gardenlet/operation/botanist/migration.go`).
const MIGRATED_FIRST: &[&str] = &["Network", "OperatingSystemConfig", "Worker"];

struct Flow<'a> {
    gardenlet: &'a Gardenlet,
    plan: &'a mut ShootPlan,
    phase: Phase,
}

impl<'a> Flow<'a> {
    // [pkg/gardenlet/controller/shoot/shoot/reconciler_reconcile.go]
    async fn reconcile(&mut self) -> Result<(), Stuck> {
        self.write(&self.plan.namespace_object()).await?;
        for secret in self.plan.secrets() {
            self.write(&secret).await?;
        }
        for stage in self.plan.objects().iter().map(|planned| planned.stage).max().map_or(0..0, |last| 0..last + 1) {
            // Planned anew: what a stage learned stands in the objects of the next.
            let planned = self.plan.objects().into_iter().filter(|planned| planned.stage == stage).collect::<Vec<_>>();
            let objects = try_join_all(planned.iter().map(|planned| self.deploy(planned))).await?;
            for (object, secret) in objects {
                if text(&object, "kind") == Some("Infrastructure") {
                    self.learn_infrastructure(&object).await?;
                }
                if let Some(secret) = secret {
                    let name = text(&object, "metadata.name").unwrap_or_default().to_owned();
                    self.plan.user_data_secrets.insert(name, secret);
                }
            }
        }
        if self.phase == Phase::Restore {
            self.plan.state = crate::shoot::ShootState::default();
        }
        let hibernated = self.plan.is_hibernated();
        set(&mut self.plan.shoot, "status.hibernated", hibernated);
        self.plan.set_last_operation(self.phase.operation(), "Succeeded", 100);
        self.write(&self.plan.cluster()).await
    }

    /// Brings one object to its spec; returns it as it is then, and the Secret that its status names.
    async fn deploy(&self, planned: &Planned) -> Result<(Value, Option<String>), Stuck> {
        let mut step = self.step(&planned.object).await;
        let before = step.object().cloned().unwrap_or_default();
        let saved = self.plan.state.of(&planned.object);
        let written = if self.phase == Phase::Restore {
            self.gardenlet.restore_saved(&planned.object, saved).await
        } else {
            let operation = self.must_annotate(planned, &before).then_some(OperationAnnotation::Reconcile.as_str());
            self.gardenlet.deploy(&planned.object, operation).await
        };
        let written = step.request("write", written.and_then(|written| to_value(&written)))?;
        step.requested();
        if planned.kind == "Worker" && !self.plan.is_hibernated() {
            let before = text(&before, "status.machineDeploymentsLastUpdateTime");
            step.wait(|now| machine_deployments(now, before)).await?;
        }
        let object = step.wait(|now| ready(now, &written)).await?;
        let secret = match planned.kind {
            "OperatingSystemConfig" if text(&object, "spec.purpose") == Some("provision") => {
                Some(self.user_data_secret(&step, &object).await?)
            }
            "Worker" => {
                self.clear_state(&step, &object).await?;
                None
            }
            "Infrastructure" if self.phase == Phase::Restore => {
                let saved = saved.and_then(|saved| get(saved, "state"));
                if saved.is_some() && get(&object, "status.state") != saved {
                    return Err(step.broken("status.state must be what was saved when the Shoot left the other seed"));
                }
                None
            }
            _ => None,
        };
        step.ready();
        Ok((object, secret))
    }

    /// Of all kinds but Infrastructure every reconciliation asks; of Infrastructure the Shoot's tasks decide, or a last
    /// operation that is no good (`pkg/component/extensions/infrastructure/infrastructure.go`).
    fn must_annotate(&self, planned: &Planned, before: &Value) -> bool {
        let is_task = matches!(self.phase, Phase::Create | Phase::Reconcile);
        if planned.operation_always || is_task {
            return true;
        }
        let Some(last) = get(before, "status.lastOperation") else { return false };
        let updated = text(last, "lastUpdateTime").and_then(|time| time.parse::<Timestamp>().ok());
        let is_outdated = annotation(before, TIMESTAMP_ANNOTATION).is_some_and(|timestamp| {
            timestamp.parse().map_or(true, |requested| Some(whole_seconds(requested)) > updated)
        });
        text(last, "state") != Some("Succeeded") || is_outdated
    }

    /// What gardenlet takes over from the Infrastructure (`pkg/gardenlet/operation/botanist/infrastructure.go`).
    async fn learn_infrastructure(&mut self, object: &Value) -> Result<(), Stuck> {
        self.plan.infrastructure_status = get(object, "status.providerStatus").cloned();
        let shoot = &mut self.plan.shoot;
        let mut networking = json!({});
        for family in ["pods", "services", "nodes"] {
            let reported = list(object, &format!("status.networking.{family}"));
            if !reported.is_empty() {
                set(&mut networking, family, reported);
            }
        }
        let nodes = text(object, "status.networking.nodes[0]").or_else(|| text(object, "status.nodesCIDR"));
        if get(&networking, "nodes").is_none()
            && let Some(nodes) = nodes
        {
            set(&mut networking, "nodes", json!([nodes]));
        }
        if get(object, "status.egressCIDRs").is_some() {
            set(&mut networking, "egressCIDRs", list(object, "status.egressCIDRs"));
        }
        set(shoot, "status.networking", networking);
        if text(shoot, "spec.networking.nodes").is_none() {
            let is_ipv4 = list(shoot, "spec.networking.ipFamilies").contains(&json!("IPv4"));
            match nodes {
                Some(nodes) => set(shoot, "spec.networking.nodes", nodes),
                None if is_ipv4 => {
                    // [pkg/gardenlet/operation/shoot/shoot.go]
                    let rule = "status.networking.nodes or status.nodesCIDR must be present, as the Shoot names none";
                    return Err(self.step(object).await.broken(rule));
                }
                None => {}
            }
        }
        self.write(&self.plan.cluster()).await
    }

    /// The Secret with the user data, which gardenlet reads right after the OperatingSystemConfig is ready
    // [pkg/component/extensions/operatingsystemconfig/operatingsystemconfig.go].
    async fn user_data_secret(&self, step: &Step<'_>, object: &Value) -> Result<String, Stuck> {
        let field = |field| text(object, &format!("status.cloudConfig.secretRef.{field}"));
        let (Some(name), Some(namespace)) = (field("name"), field("namespace")) else {
            return Err(step.broken("status.cloudConfig.secretRef must name a Secret and its namespace"));
        };
        let secrets: Api<Secret> = Api::namespaced(self.gardenlet.client.clone(), namespace);
        let secret = step.request("read the Secret of", secrets.get_opt(name).await)?;
        let Some(secret) = secret else {
            return Err(step.broken(format!("the Secret {namespace}/{name} of status.cloudConfig must exist")));
        };
        if !secret.data.is_some_and(|data| data.contains_key(CLOUD_CONFIG)) {
            return Err(step.broken(format!("the Secret {namespace}/{name} must have the key {CLOUD_CONFIG}")));
        }
        Ok(name.to_owned())
    }

    /// After a restore the state has served (`pkg/component/extensions/worker/worker.go`).
    async fn clear_state(&self, step: &Step<'_>, object: &Value) -> Result<(), Stuck> {
        if get(object, "status.state").is_none() {
            return Ok(());
        }
        let version = get(object, "metadata.resourceVersion");
        let patch =
            kube::api::Patch::Merge(json!({"metadata": {"resourceVersion": version}, "status": {"state": null}}));
        let target = &step.target;
        let patched = target.api.patch_status(&target.name, &kube::api::PatchParams::default(), &patch).await;
        step.request("clear status.state of", patched).map(drop)
    }

    // [pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go]
    async fn migrate(&mut self) -> Result<(), Stuck> {
        let objects = self.plan.objects();
        let of = |kinds: &'static [&str]| objects.iter().filter(move |planned| kinds.contains(&planned.kind));

        try_join_all(of(MIGRATED_FIRST).map(|planned| self.migrate_one(&planned.object))).await?;
        // Saved only here: what an Infrastructure writes into its state while it migrates is lost, as in Gardener.
        for planned in &objects {
            let step = self.step(&planned.object).await;
            if let Some(object) = step.object().filter(|object| get(object, "metadata.deletionTimestamp").is_none()) {
                self.plan.state.save(object);
            }
        }
        try_join_all(of(MIGRATED_FIRST).map(|planned| self.delete_one(&planned.object))).await?;
        for planned in of(&["ControlPlane"]) {
            let step = self.step(&planned.object).await;
            step.request("migrate", self.gardenlet.migrate(&planned.object).await)?;
            // At once: gardenlet does not wait for the migration of this kind.
            self.delete_one(&planned.object).await?;
        }
        for planned in of(&["Infrastructure"]) {
            self.migrate_one(&planned.object).await?;
            self.delete_one(&planned.object).await?;
        }
        self.end().await
    }

    async fn migrate_one(&self, object: &Value) -> Result<(), Stuck> {
        let mut step = self.step(object).await;
        step.request("migrate", self.gardenlet.migrate(object).await)?;
        step.requested();
        let migrated = step.wait(migrated).await?;
        // gardenlet has a state of its own for the Worker and fails if there is another
        // [pkg/extensions/customresources.go].
        if text(object, "kind") == Some("Worker") && get(&migrated, "status.state").is_some() {
            return Err(step.broken("status.state of a Worker must be absent when it is migrated"));
        }
        step.ready();
        Ok(())
    }

    async fn delete(&mut self, order: &[&[&str]]) -> Result<(), Stuck> {
        let objects = self.plan.objects();
        for kinds in order {
            let planned = objects.iter().filter(|planned| kinds.contains(&planned.kind));
            try_join_all(planned.map(|planned| self.delete_one(&planned.object))).await?;
        }
        self.end().await
    }

    async fn delete_one(&self, object: &Value) -> Result<(), Stuck> {
        let mut step = self.step(object).await;
        step.request("delete", self.gardenlet.delete(object).await)?;
        step.requested();
        step.wait_gone().await?;
        step.gone();
        Ok(())
    }

    /// The Shoot has left the seed: the Cluster goes last.
    async fn end(&self) -> Result<(), Stuck> {
        for object in [self.plan.namespace_object(), self.plan.cluster()] {
            let mut step = Step::start(self.gardenlet, None, &object).await;
            step.request("delete", self.gardenlet.delete(&object).await)?;
            step.wait_gone().await?;
        }
        Ok(())
    }

    /// Writes an object that no extension answers for.
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

    async fn step(&self, object: &Value) -> Step<'a> {
        Step::start(self.gardenlet, Some(self.phase), object).await
    }
}
