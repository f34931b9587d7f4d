//! gardenlet's flows for a whole Shoot, and for its Seed.

mod order;
mod rounds;
mod steps;

use std::sync::{Mutex, PoisonError};

use extension_contract::json::{annotate, get, remove, set, text};
use extension_contract::whole_seconds;
use extension_contract::{DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION, GROUP, VERSION, kinds};
use futures::future::try_join_all;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use self::order::Order;
use self::steps::Steps;
use crate::gardenlet::Gardenlet;
use crate::networks;
use crate::phase::Phase;
use crate::rules;
use crate::shoot::parts::{Asleep, Row, TABLE};
use crate::shoot::{Asks, Bucket, Part, Planned, SeedPlan, ShootPlan, ShootState};
use crate::stuck::Stuck;

impl Gardenlet {
    /// Plays a whole Shoot through one phase, in gardenlet's order. Stores what gardenlet learns in the plan.
    ///
    /// The backups of the Shoot need the bucket of its Seed: [`play_seed`](Self::play_seed) first.
    pub async fn play(&self, plan: &mut ShootPlan, phase: Phase) -> Result<(), Stuck> {
        prepare(plan, phase);
        plan.set_last_operation(phase.operation(), "Processing", 0);
        let steps = Steps { gardenlet: self, phase };
        steps.write(&plan.cluster()).await?;
        let flow = Flow { steps, plan: Mutex::new(plan) };
        let result = match phase {
            Phase::Create | Phase::Reconcile | Phase::Hibernate | Phase::Wake | Phase::Restore => {
                flow.reconcile().await
            }
            Phase::Migrate => flow.migrate().await,
            Phase::Delete | Phase::ForceDelete => flow.delete().await,
        };
        if let Err(Stuck::GaveUp { shoot, .. }) = &result {
            let cluster = flow.plan(|plan| {
                plan.set_last_operation(phase.operation(), shoot, 50);
                plan.cluster()
            });
            steps.write(&cluster).await?;
        }
        result
    }

    /// Plays the objects of a Seed through one phase: creates or reconciles them in [`Phase::Create`] and
    /// [`Phase::Reconcile`], and deletes them in [`Phase::Delete`] and [`Phase::ForceDelete`]. Other phases are those of
    /// Shoots alone.
    pub async fn play_seed(&self, plan: &SeedPlan, phase: Phase) -> Result<(), Stuck> {
        let steps = Steps { gardenlet: self, phase };
        let objects = plan.objects();
        match phase {
            Phase::Create | Phase::Reconcile if !objects.is_empty() => {
                steps.write(&plan.namespace_object()).await?;
                try_join_all(objects.iter().map(async |planned| steps.deploy(planned, None).await.map(drop))).await?;
            }
            Phase::Delete | Phase::ForceDelete => {
                try_join_all(objects.iter().map(|planned| steps.delete_one(planned))).await?;
            }
            _ => {}
        }
        Ok(())
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

impl Steps<'_> {
    /// Writes an object and waits until it is ready. Returns it, and the name of its Secret with user data.
    async fn deploy(&self, planned: &Planned, saved: Option<&Value>) -> Result<(Value, Option<String>), Stuck> {
        if planned.asks == Asks::InRounds {
            return Ok((self.deploy_in_rounds(planned, saved).await?, None));
        }
        self.write_object(planned, saved).await?.ready(self, saved).await
    }
}

struct Flow<'a> {
    steps: Steps<'a>,
    /// Locked only by [`Flow::plan`].
    plan: Mutex<&'a mut ShootPlan>,
}

impl Flow<'_> {
    /// Reads or changes the plan. No guard outlives the call, because a second lock in the same statement would block.
    fn plan<T>(&self, read: impl FnOnce(&mut ShootPlan) -> T) -> T {
        read(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The objects of which `with` is this part.
    fn objects(&self, part: Part, with: impl Fn(&Planned) -> Part) -> Vec<Planned> {
        self.plan(|plan| plan.objects()).into_iter().filter(|planned| with(planned) == part).collect()
    }

    /// Creates or reconciles the Shoot (`pkg/gardenlet/controller/shoot/shoot/reconciler_reconcile.go`).
    async fn reconcile(&self) -> Result<(), Stuck> {
        let (namespace, cloudprovider) = self.plan(|plan| (plan.namespace_object(), plan.cloudprovider()));
        self.steps.write(&namespace).await?;
        if let Some(secret) = cloudprovider {
            self.steps.write(&secret).await?;
        }
        let is_hibernated = self.plan(|plan| plan.is_hibernated());
        let asleep = |row: &Row| if is_hibernated { row.asleep } else { Asleep::Same };
        let order = Order::new();
        let deploy = async |row: &'static Row| match asleep(row) {
            Asleep::Same => self.deploy(row.part, &order).await,
            _ => Ok(()),
        };
        order.run(|row| row.deploy, deploy).await?;
        let at_last = TABLE.iter().map(async |row| match asleep(row) {
            Asleep::Same => Ok(()),
            Asleep::Last => self.deploy(row.part, &order).await,
            Asleep::Deleted => self.delete_part(row.part).await,
        });
        try_join_all(at_last).await?;

        let cluster = self.plan(|plan| {
            if self.steps.phase == Phase::Restore {
                plan.state = ShootState::default();
            }
            set(&mut plan.shoot, "status.hibernated", is_hibernated);
            plan.set_last_operation(self.steps.phase.operation(), "Succeeded", 100);
            plan.cluster()
        });
        self.steps.write(&cluster).await
    }

    /// Deploys the objects of a part, and waits until they are ready.
    async fn deploy(&self, part: Part, order: &Order) -> Result<(), Stuck> {
        if part == Part::BackupEntry {
            self.learn_bucket().await?;
        }
        // Plan the objects now: they contain what gardenlet has learned from other parts.
        let objects = self.objects(part, |planned| planned.part);
        let (state, is_hibernated) = self.plan(|plan| (plan.state.clone(), plan.is_hibernated()));
        let deploy = async |planned: &Planned| {
            let saved = state.of(&planned.object);
            if planned.kind != kinds::WORKER.name {
                return self.steps.deploy(planned, saved).await;
            }
            let mut written = self.steps.write_object(planned, saved).await?;
            if !is_hibernated {
                written.machine_deployments().await?;
            }
            order.note(Part::MachineDeployments, true);
            written.ready(&self.steps, saved).await
        };
        for (object, secret) in try_join_all(objects.iter().map(deploy)).await? {
            if text(&object, "kind") == Some(kinds::INFRASTRUCTURE.name) {
                self.learn_infrastructure(&object).await?;
            }
            if let Some(secret) = secret {
                let name = text(&object, "metadata.name").unwrap_or_default().to_owned();
                self.plan(|plan| plan.user_data_secrets.insert(name, secret));
            }
        }
        Ok(())
    }

    /// Copies the Infrastructure's results into the Shoot (`pkg/gardenlet/operation/botanist/infrastructure.go`).
    async fn learn_infrastructure(&self, object: &Value) -> Result<(), Stuck> {
        let learned = self.plan(|plan| {
            plan.infrastructure_status = get(object, "status.providerStatus").cloned();
            networks::learn(&mut plan.shoot, &plan.seed, object)
        });
        if let Err(rule) = learned {
            return Err(self.steps.watch(object).await.violation(rule));
        }
        let cluster = self.plan(|plan| plan.cluster());
        self.steps.write(&cluster).await
    }

    /// Waits until the Seed's bucket is ready, and learns its results. gardenlet writes no BackupEntry before
    /// (`pkg/gardenlet/controller/backupentry/reconciler.go`).
    async fn learn_bucket(&self) -> Result<(), Stuck> {
        let (has_bucket, name) = self.plan(|plan| (plan.has_bucket(), plan.bucket_name()));
        if !has_bucket {
            return Ok(());
        }
        let (version, kind) = (format!("{GROUP}/{VERSION}"), kinds::BACKUP_BUCKET.name);
        let bucket = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
        let mut watched = self.steps.gardenlet.watch(&bucket).await;
        let bucket = watched.wait(rules::succeeded).await?;
        let generated = |field| text(&bucket, &format!("status.generatedSecretRef.{field}"));
        let generated = match (generated("name"), generated("namespace")) {
            (Some(name), Some(namespace)) => self.steps.secret(&watched, namespace, name).await?,
            _ => None,
        };
        let provider_status = get(&bucket, "status.providerStatus").cloned();
        let bucket = Bucket { provider_status, generated: generated.map(|secret| json!(secret.data)) };
        self.plan(|plan| plan.bucket = bucket);
        Ok(())
    }

    /// Migrates the Shoot away from this seed (`pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go`).
    async fn migrate(&self) -> Result<(), Stuck> {
        let leave = |row: &Row| row.leave.filter(|_| row.kind.migrates);
        let is_before_saving = |row: &Row| leave(row).is_some_and(|leave| leave.before_saving);
        let stays = TABLE.iter().filter(|row| leave(row).is_none());
        try_join_all(stays.map(|row| self.delete_part(row.part))).await?;
        let first = TABLE.iter().filter(|row| is_before_saving(row));
        try_join_all(first.map(|row| self.migrate_part(row.part))).await?;
        self.save_state().await;
        let order = Order::new();
        let move_part = async |row: &'static Row| {
            let Some(leave) = leave(row) else { return Ok(()) };
            if !leave.before_saving {
                self.migrate_part(row.part).await?;
            }
            if !order.reached(leave.delete).await {
                // The failure of that part is the flow's.
                return Ok(());
            }
            let objects = self.objects(row.part, |planned| planned.leaves_with);
            try_join_all(objects.iter().map(|planned| self.steps.delete_one(planned))).await.map(drop)
        };
        order.run(|row| leave(row).map(|leave| leave.migrate).unwrap_or_default(), move_part).await?;
        self.leave_seed().await
    }

    async fn migrate_part(&self, part: Part) -> Result<(), Stuck> {
        let objects = self.objects(part, |planned| planned.leaves_with);
        try_join_all(objects.iter().map(|planned| self.steps.migrate_one(planned))).await.map(drop)
    }

    /// Saves the state of all objects. As in Gardener, state that an object writes during a later migration is lost, and
    /// so is that of objects without a namespace (`pkg/utils/gardener/shootstate/shootstate.go`).
    async fn save_state(&self) {
        let objects = self.plan(|plan| plan.objects());
        for planned in objects.iter().filter(|planned| get(&planned.object, "metadata.namespace").is_some()) {
            let watched = self.steps.watch(&planned.object).await;
            let object = watched.object().filter(|object| get(object, "metadata.deletionTimestamp").is_none());
            if let Some(object) = object {
                self.plan(|plan| plan.state.save(object));
            }
        }
    }

    /// Deletes the Shoot (`pkg/gardenlet/controller/shoot/shoot/reconciler_delete.go`). Given up infrastructure is
    /// deleted at once (`pkg/gardenlet/controller/shoot/shoot/reconciler_force_delete.go`).
    async fn delete(&self) -> Result<(), Stuck> {
        let is_forced = self.steps.phase == Phase::ForceDelete;
        if !is_forced {
            self.deploy_for_deletion().await?;
        }
        let after = |row: &Row| match row.delete.unwrap_or_default() {
            [] => &[][..],
            _ if is_forced => &[Part::Bastion],
            parts => parts,
        };
        let delete = async |row: &'static Row| match row.delete {
            Some(_) => self.delete_part(row.part).await,
            None => Ok(()),
        };
        Order::new().run(after, delete).await?;
        self.leave_seed().await?;
        // The backups outlive the Shoot.
        try_join_all(TABLE.iter().filter(|row| row.delete.is_none()).map(|row| self.delete_part(row.part)))
            .await
            .map(drop)
    }

    /// Deploys what gardenlet needs to clean up the Shoot: the internal DNSRecord if it is missing or has failed, and
    /// the ControlPlane if the Infrastructure has reported a `providerStatus`.
    async fn deploy_for_deletion(&self) -> Result<(), Stuck> {
        let has_status = self.plan(|plan| plan.infrastructure_status.is_some());
        let mut objects = self.objects(Part::InternalDns, |planned| planned.part);
        for planned in &mut objects {
            planned.asks = Asks::OnChange;
        }
        if has_status {
            objects.extend(self.objects(Part::ControlPlane, |planned| planned.part));
        }
        try_join_all(objects.iter().map(|planned| self.steps.deploy(planned, None))).await.map(drop)
    }

    async fn delete_part(&self, part: Part) -> Result<(), Stuck> {
        let objects = self.objects(part, |planned| planned.deleted_with);
        try_join_all(objects.iter().map(|planned| self.steps.delete_one(planned))).await.map(drop)
    }

    /// Deletes the Shoot's namespace, and then its Cluster.
    async fn leave_seed(&self) -> Result<(), Stuck> {
        let gardenlet = self.steps.gardenlet;
        let (namespace, cluster) = self.plan(|plan| (plan.namespace_object(), plan.cluster()));
        for object in [namespace, cluster] {
            let mut watched = gardenlet.watch(&object).await;
            watched.request("delete", gardenlet.delete(&object).await)?;
            watched.wait_gone().await?;
        }
        Ok(())
    }
}
