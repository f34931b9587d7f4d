//! A controller is stopped and started as an operator does it: by the `ControllerDeployment` that installs it.

use std::time::Duration;

use extension_contract::json::text;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, Client};
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
const CHANGED_WITHIN: Duration = Duration::from_secs(180);

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

/// Changes the number of a controller's replicas, as an operator does.
pub(super) async fn scale(stage: &Stage<'_>, controller: &str, replicas: i32) -> Result<(), GardenError> {
    let scaled = |deployment: &Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(replicas);
    change(stage, controller, json!({"replicas": replicas}), scaled).await
}

/// Changes values of a controller's chart in its `ControllerDeployment`. Returns when its Deployment in each seed is as
/// `is_changed` says and rolled out, and gardenlet has been told so.
pub(super) async fn change(
    stage: &Stage<'_>,
    controller: &str,
    values: Value,
    is_changed: impl Fn(&Deployment) -> bool,
) -> Result<(), GardenError> {
    let deployments = core(&stage.garden, "v1", "ControllerDeployment", None);
    objects::merge(&deployments, controller, json!({"helm": {"values": values}})).await?;
    let installations = core(&stage.garden, "v1beta1", "ControllerInstallation", None);
    let named = ListParams::default().fields(&format!("metadata.name={controller}"));
    let rolled_out = async |(seed, client): &(String, Client)| {
        let found = Api::<Deployment>::all(client.clone()).list(&named).await.map_err(|error| error.to_string())?;
        let deployment = found.items.into_iter().next().ok_or("its Deployment does not exist")?;
        if !is_changed(&deployment) {
            return Err("its Deployment is as before".to_owned());
        }
        pending(&deployment).map_or(Ok(()), Err)?;
        let installations = installations.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let mut installations = installations.iter().filter_map(|object| serde_json::to_value(object).ok());
        let installation = installations.find(|object| is_of(object, controller, seed));
        if is_rolled_out(&installation.unwrap_or_default()) { Ok(()) } else { Err("it is not rolled out".to_owned()) }
    };
    for seed in &stage.seeds {
        let late = format!("the change of {controller} has not reached the Seed {}", seed.0);
        wait::until(CHANGED_WITHIN, &late, async || rolled_out(seed).await).await?;
    }
    Ok(())
}

/// Which Pods of a Deployment are missing, old or not ready. Returns `None` if none is.
fn pending(deployment: &Deployment) -> Option<String> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let [all, new, ready] =
        [status.replicas, status.updated_replicas, status.ready_replicas].map(Option::unwrap_or_default);
    let seen = status.observed_generation == deployment.metadata.generation;
    let done = seen && [all, new, ready] == [wanted; 3];
    (!done).then(|| format!("its Deployment wants {wanted} Pods, has {all}, {new} of them new, and {ready} are ready"))
}

/// Whether a `ControllerInstallation` installs this registration in the cluster of this Seed.
fn is_of(installation: &Value, registration: &str, seed: &str) -> bool {
    text(installation, "spec.registrationRef.name") == Some(registration)
        && text(installation, "spec.seedRef.name") == Some(seed)
}

/// Whether gardenlet begins operations that need this `ControllerInstallation`.
fn is_rolled_out(installation: &Value) -> bool {
    let holds = |name: &str, status: &str| {
        objects::condition(installation, name).is_some_and(|condition| text(condition, "status") == Some(status))
    };
    holds("Healthy", "True") && holds("Progressing", "False")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployment_is_rolled_out_once_all_pods_are_new_and_ready() {
        let deployment = |observed: i64, status: [i32; 3]| -> Deployment {
            let [all, new, ready] = status;
            serde_json::from_value(json!({
                "metadata": {"generation": 2},
                "spec": {"replicas": 2, "selector": {}, "template": {}},
                "status": {
                    "observedGeneration": observed, "replicas": all, "updatedReplicas": new, "readyReplicas": ready,
                },
            }))
            .unwrap()
        };
        assert_eq!(pending(&deployment(2, [2, 2, 2])), None);
        for (observed, status) in [(1, [2, 2, 2]), (2, [3, 2, 2]), (2, [2, 1, 2]), (2, [2, 2, 1])] {
            assert!(pending(&deployment(observed, status)).is_some(), "{observed} {status:?}");
        }
    }
}
