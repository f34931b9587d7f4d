//! gardenlet's steps for one object: deploy, migrate, delete, each with its wait.

use extension_contract::json::{annotation, get, text};
use extension_contract::{OperationAnnotation, TIMESTAMP_ANNOTATION, kinds, readiness};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::gardenlet::Gardenlet;
use crate::phase::Phase;
use crate::rules;
use crate::shoot::{Asks, CLOUD_CONFIG, Planned};
use crate::stuck::Stuck;
use crate::target::to_value;
use crate::watched::Watched;

/// The steps of one phase.
#[derive(Clone, Copy)]
pub(crate) struct Steps<'a> {
    pub(crate) gardenlet: &'a Gardenlet,
    pub(crate) phase: Phase,
}

/// An object that gardenlet has written and that may not be ready.
pub(crate) struct Written<'a> {
    watched: Watched<'a>,
    /// The object as gardenlet wrote it.
    object: Value,
    /// Whether a person is told of the wait.
    is_reported: bool,
}

impl<'a> Steps<'a> {
    /// Writes an object. `saved` is the part of its status that the garden has kept since it left its previous seed.
    pub(crate) async fn write_object(&self, planned: &Planned, saved: Option<&Value>) -> Result<Written<'a>, Stuck> {
        let mut watched = self.watch(&planned.object).await.with_patience(planned.timeout);
        if let Some(secret) = &planned.secret {
            self.write(secret).await?;
        }
        let before = watched.object().cloned();
        // A kind that does not migrate knows no restore.
        if self.phase == Phase::Restore && kinds::find(planned.kind).is_some_and(|kind| kind.migrates) {
            let written = self.gardenlet.restore_saved(&planned.object, saved).await;
            let object = watched.request("write", written.and_then(|written| to_value(&written)))?;
            watched.report_requested();
            return Ok(Written { watched, object, is_reported: true });
        }
        let asks = must_ask(self.phase, planned, before.as_ref());
        if let (Asks::OnChange, Some(object), false) = (planned.asks, &before, asks) {
            return Ok(Written { watched, object: object.clone(), is_reported: false });
        }
        let operation = asks.then_some(OperationAnnotation::Reconcile.as_str());
        let written = self.gardenlet.deploy(&planned.object, operation).await;
        let object = watched.request("write", written.and_then(|written| to_value(&written)))?;
        watched.report_requested();
        Ok(Written { watched, object, is_reported: true })
    }

    /// Migrates an object, and waits until that is done, except for a ControlPlane.
    pub(crate) async fn migrate_one(&self, planned: &Planned) -> Result<(), Stuck> {
        if planned.asks == Asks::InRounds {
            return self.migrate_in_rounds(planned).await;
        }
        let mut watched = self.watch(&planned.object).await;
        watched.request("migrate", self.gardenlet.migrate(&planned.object).await)?;
        if planned.kind == kinds::CONTROL_PLANE.name {
            return Ok(());
        }
        watched.report_requested();
        let migrated = watched.wait(rules::migrated).await?;
        // gardenlet determines the Worker's state itself, and fails if the extension has written one
        // (`pkg/extensions/customresources.go`).
        if planned.kind == kinds::WORKER.name && get(&migrated, "status.state").is_some() {
            return Err(watched.violation("status.state of a migrated Worker must be absent"));
        }
        watched.report_ready();
        Ok(())
    }

    /// Deletes an object and waits until it is gone.
    pub(crate) async fn delete_one(&self, planned: &Planned) -> Result<(), Stuck> {
        let mut watched = self.watch(&planned.object).await;
        if watched.object().is_none() {
            return Ok(());
        }
        if planned.asks == Asks::InRounds {
            return self.delete_in_rounds(planned, watched).await;
        }
        if let Some(secret) = &planned.secret {
            self.write(secret).await?;
        }
        watched.request("delete", self.gardenlet.delete(&planned.object).await)?;
        watched.report_requested();
        watched.wait_gone().await?;
        watched.report_gone();
        Ok(())
    }

    /// Writes an object that no extension reconciles.
    pub(crate) async fn write(&self, object: &Value) -> Result<(), Stuck> {
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
    pub(crate) async fn watch(&self, object: &Value) -> Watched<'a> {
        Watched::start(&self.gardenlet.context, Some(self.phase), object).await
    }

    /// Reads a Secret that an extension has made. Returns `None` if it does not exist.
    pub(crate) async fn secret(
        &self,
        watched: &Watched<'_>,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Secret>, Stuck> {
        let secrets: Api<Secret> = Api::namespaced(self.gardenlet.context.client.clone(), namespace);
        watched.request("read the Secret of", secrets.get_opt(name).await)
    }

    /// Returns the name of the Secret with the user data. gardenlet reads it as soon as the OperatingSystemConfig is
    /// ready (`pkg/component/extensions/operatingsystemconfig/operatingsystemconfig.go`).
    async fn user_data_secret(&self, watched: &Watched<'_>, object: &Value) -> Result<String, Stuck> {
        let reported = readiness::check_user_data(object);
        let (namespace, name) = reported.map_err(|unmet| watched.violation(unmet.to_string()))?;
        let Some(secret) = self.secret(watched, namespace, name).await? else {
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
}

impl Written<'_> {
    /// Waits until a Worker's machine deployments are reported.
    pub(crate) async fn machine_deployments(&mut self) -> Result<(), Stuck> {
        let before = self.watched.before().and_then(|before| text(before, "status.machineDeploymentsLastUpdateTime"));
        let before = before.map(str::to_owned);
        self.watched.wait(|now| rules::machine_deployments(now, before.as_deref())).await.map(drop)
    }

    /// Waits until the object is ready. Returns it, and the name of the Secret with the user data if the object is an
    /// OperatingSystemConfig for the first boot.
    pub(crate) async fn ready(
        mut self,
        steps: &Steps<'_>,
        saved: Option<&Value>,
    ) -> Result<(Value, Option<String>), Stuck> {
        let object = self.watched.wait(|now| rules::ready(now, &self.object)).await?;
        let watched = &self.watched;
        let mut secret = None;
        match text(&object, "kind").unwrap_or_default() {
            kind if kind == kinds::OPERATING_SYSTEM_CONFIG.name => {
                if text(&object, "spec.purpose") == Some("provision") {
                    secret = Some(steps.user_data_secret(watched, &object).await?);
                }
            }
            kind if kind == kinds::WORKER.name => steps.clear_state(watched, &object).await?,
            _ => {
                let saved = saved.and_then(|saved| get(saved, "state"));
                if steps.phase == Phase::Restore && saved.is_some() && get(&object, "status.state") != saved {
                    return Err(
                        watched.violation("status.state must be the state that the Shoot had on the other seed")
                    );
                }
            }
        }
        if self.is_reported {
            watched.report_ready();
        }
        Ok((object, secret))
    }
}

/// Returns whether this phase requests a reconciliation of an object. `before` is the object before gardenlet's write.
fn must_ask(phase: Phase, planned: &Planned, before: Option<&Value>) -> bool {
    let is_requested = matches!(phase, Phase::Create | Phase::Reconcile);
    let has_failed = || before.is_some_and(has_failed);
    // An object that does not exist differs from every record.
    let changes = || {
        let differs = |path: &&str| before.and_then(|before| get(before, path)) != get(&planned.object, path);
        before.is_none() || ["spec.secretRef.name", "spec.zone", "spec.values", "spec.ttl"].iter().any(differs)
    };
    match planned.asks {
        Asks::Always | Asks::InRounds => true,
        Asks::OnRequest => is_requested || has_failed(),
        Asks::OnRequestOrChange => is_requested || changes() || has_failed(),
        Asks::OnChange => changes() || has_failed(),
    }
}

/// Returns whether the last operation of an object has not succeeded, or is older than the last request.
fn has_failed(before: &Value) -> bool {
    let Some(last) = get(before, "status.lastOperation") else { return false };
    let seconds = |time: &str| time.parse().ok().map(Timestamp::as_second);
    let updated = text(last, "lastUpdateTime").and_then(seconds);
    let is_outdated = annotation(before, TIMESTAMP_ANNOTATION)
        .is_some_and(|timestamp| seconds(timestamp).is_none_or(|requested| Some(requested) > updated));
    text(last, "state") != Some("Succeeded") || is_outdated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shoot::Landscape;
    use gardener_testbed::workspace::root;

    #[test]
    fn infrastructure_and_dns_are_asked_on_request_and_dns_also_for_a_change() {
        let landscape = Landscape::example(&root().join("example/58-shoot-extensions.yaml")).unwrap();
        let objects = landscape.plan(None).objects();
        let planned = |kind: &str| objects.iter().find(|planned| planned.kind == kind).unwrap();
        let status = json!({"lastOperation": {"state": "Succeeded", "lastUpdateTime": "2026-08-20T10:15:30Z"}});
        for kind in [&kinds::INFRASTRUCTURE, &kinds::DNS_RECORD, &kinds::NETWORK] {
            let planned = planned(kind.name);
            let mut same = planned.object.clone();
            same["status"] = status.clone();
            let is_network = kind.name == kinds::NETWORK.name;
            assert!(must_ask(Phase::Reconcile, planned, Some(&same)), "{}", kind.name);
            assert_eq!(must_ask(Phase::Hibernate, planned, Some(&same)), is_network, "{}", kind.name);
            let mut late = same.clone();
            extension_contract::json::annotate(&mut late, TIMESTAMP_ANNOTATION, "2026-08-20T10:15:31Z");
            assert!(must_ask(Phase::Hibernate, planned, Some(&late)), "{}", kind.name);
            let mut failed = same.clone();
            failed["status"]["lastOperation"]["state"] = json!("Error");
            assert!(must_ask(Phase::Hibernate, planned, Some(&failed)), "{}", kind.name);
        }
        let record = planned(kinds::DNS_RECORD.name);
        assert!(must_ask(Phase::Wake, record, None), "a new record");
        let mut other = record.object.clone();
        other["spec"]["values"] = json!(["192.0.2.1"]);
        assert!(must_ask(Phase::Wake, record, Some(&other)), "a changed record");
        assert!(!must_ask(Phase::Wake, planned(kinds::INFRASTRUCTURE.name), None), "a new Infrastructure");
    }
}
