//! A controller is stopped and started as an operator does it: by the `ControllerDeployment` that installs it.

use std::time::Duration;

use extension_contract::json::{list, text};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::Stage;
use crate::error::GardenError;
use crate::objects::{self, core};
use crate::shoot::Shoot;
use crate::wait;

/// A controller that each reconciliation of the Shoot needs, and gardenlet's step that waits for it
/// (`pkg/gardenlet/operation/botanist/flow.go`). gardenlet does not reconcile an Infrastructure unless a
/// task demands it.
const CONTROLLER: (&str, &str) = ("mock-controlplane", "Waiting until shoot control plane has been reconciled");
/// gardener-resource-manager applies a changed chart within seconds. It looks once a minute whether a Deployment has been
/// rolled out, and gardenlet begins no operation before (`pkg/resourcemanager/controller/health/progressing`).
const SCALED_WITHIN: Duration = Duration::from_secs(180);

/// Stops a controller that a reconciliation of the Shoot needs, and starts it again.
pub(super) async fn stopped(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    let (controller, step) = CONTROLLER;
    let stopped = async {
        scale(stage, controller, 0).await?;
        shoot.request_reconciliation().await?;
        shoot.waits_at(step, stage.say).await
    };
    stage.steps.run(&format!("without {controller}, it waits at the step that needs it"), stopped).await?;

    let started = async {
        scale(stage, controller, 1).await?;
        stage.succeeds(shoot).await
    };
    stage.steps.run(&format!("with {controller}, it goes on"), started).await
}

/// Changes the number of a controller's replicas in its `ControllerDeployment`, as an operator does. Returns when that
/// many are ready in the seed, and gardenlet has been told that they have been rolled out.
async fn scale(stage: &Stage<'_>, controller: &str, replicas: i32) -> Result<(), GardenError> {
    let deployments = core(&stage.garden, "v1", "ControllerDeployment", None);
    objects::merge(&deployments, controller, json!({"helm": {"values": {"replicas": replicas}}})).await?;
    let installations = core(&stage.garden, "v1beta1", "ControllerInstallation", None);
    let deployments: Api<Deployment> = Api::all(stage.seed.clone());
    let named = ListParams::default().fields(&format!("metadata.name={controller}"));
    let check = async || {
        let found = deployments.list(&named).await.map_err(|error| error.to_string())?;
        let deployment = found.items.into_iter().next().ok_or("its Deployment does not exist")?;
        let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let status = deployment.status.unwrap_or_default();
        let (all, ready) = (status.replicas.unwrap_or_default(), status.ready_replicas.unwrap_or_default());
        if wanted != replicas || all != replicas || ready != replicas {
            return Err(format!("its Deployment wants {wanted} replicas, has {all}, and {ready} are ready"));
        }
        let installations = installations.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let mut installations = installations.iter().filter_map(|object| serde_json::to_value(object).ok());
        let installation = installations.find(|object| is_of(object, controller));
        if is_rolled_out(&installation.unwrap_or_default()) { Ok(()) } else { Err("it is not rolled out".to_owned()) }
    };
    wait::until(SCALED_WITHIN, &format!("{controller} is not scaled to {replicas}"), check).await
}

/// Whether a `ControllerInstallation` installs this registration.
fn is_of(installation: &Value, registration: &str) -> bool {
    text(installation, "spec.registrationRef.name") == Some(registration)
}

/// Whether gardenlet begins operations that need this `ControllerInstallation`.
fn is_rolled_out(installation: &Value) -> bool {
    let conditions = list(installation, "status.conditions");
    let holds = |name: &str, status: &str| {
        conditions
            .iter()
            .any(|condition| text(condition, "type") == Some(name) && text(condition, "status") == Some(status))
    };
    holds("Healthy", "True") && holds("Progressing", "False")
}
