//! Registrations change as an operator changes them: one is removed and comes back, one gets other values, and one has
//! more and fewer replicas.

use extension_contract::json::text;
use gardener_testbed::manifests::{self, Mode};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{Stage, controllers};
use crate::error::GardenError;
use crate::news::News;
use crate::objects::{self, core};
use crate::shoot::Shoot;
use crate::wait;

/// A registration that only some Shoots need, the Shoot of the examples that does, and what Gardener then says
/// (`plugin/pkg/global/extensionvalidation`).
const REMOVED: (&str, &str) = ("mock-containerruntime", "58-shoot-extensions.yaml");
const REFUSAL: &str = "given Shoot uses non-registered container runtime type";
/// A controller that each reconciliation of a Shoot needs.
const UPGRADED: &str = "mock-controlplane";
const LOGS_MORE: &str = "--log-level=debug";

/// Changes registrations, and reconciles a Shoot with each change.
pub(super) async fn changed(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    let (removed, _) = REMOVED;
    stage.steps.run(&format!("without {removed}, a Shoot that needs it is refused"), refused(stage)).await?;
    stage.steps.run(&format!("with {removed}, it is accepted"), accepted(stage)).await?;

    let upgraded = async {
        controllers::change(stage, UPGRADED, json!({"logLevel": "debug"}), logs_more).await?;
        reconciled(stage, shoot).await
    };
    stage.steps.run(&format!("{UPGRADED} is replaced by one with another flag"), upgraded).await?;
    let as_before = async {
        controllers::change(stage, UPGRADED, json!({"logLevel": null}), |deployment| !logs_more(deployment)).await?;
        reconciled(stage, shoot).await
    };
    stage.steps.run("it is as before", as_before).await?;

    for replicas in [2, 1] {
        let scaled = async {
            controllers::scale(stage, UPGRADED, replicas).await?;
            reconciled(stage, shoot).await
        };
        stage.steps.run(&format!("{UPGRADED} has {replicas} replicas"), scaled).await?;
    }
    Ok(())
}

async fn reconciled(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    shoot.request_reconciliation().await?;
    stage.succeeds(shoot).await
}

/// Removes a registration. Returns when Gardener refuses a Shoot that needs it.
async fn refused(stage: &Stage<'_>) -> Result<(), GardenError> {
    let (name, _) = REMOVED;
    let registrations = core(&stage.garden, "v1beta1", "ControllerRegistration", None);
    let removed = registrations.delete(name, &DeleteParams::default()).await;
    removed.map_err(GardenError::request(format!("remove the registration {name}")))?;
    let check = async || match created(stage).await? {
        Err(refusal) if refusal.contains(REFUSAL) => {
            let said = refusal.lines().find_map(|line| line.get(line.find(REFUSAL)?..)).unwrap_or_default();
            (stage.say)(News::Line(format!("  {said}")));
            Ok(())
        }
        Err(other) => Err(other),
        Ok(()) => Err("it is accepted".to_owned()),
    };
    wait::until(objects::ACCEPTED_WITHIN, &format!("the Shoot is not refused with {REFUSAL:?}"), check).await
}

/// Applies the registration again. Returns when Gardener accepts the Shoot.
async fn accepted(stage: &Stage<'_>) -> Result<(), GardenError> {
    let (name, _) = REMOVED;
    let file = stage.sources.join("deploy/controllerregistrations").join(format!("{name}.yaml"));
    objects::apply_all(&stage.garden, &manifests::read(&file)?).await?;
    wait::until(objects::ACCEPTED_WITHIN, "the Shoot is not accepted", async || created(stage).await?).await
}

/// What Gardener says to the creation of the Shoot, which is not carried out.
async fn created(stage: &Stage<'_>) -> Result<Result<(), String>, String> {
    let (_, file) = REMOVED;
    let manifests = manifests::read(&stage.examples().join(file)).map_err(|error| error.to_string())?;
    let is_shoot = |manifest: &&Value| text(manifest, "kind") == Some("Shoot");
    let shoot = manifests.iter().find(is_shoot).ok_or_else(|| format!("{file} has no Shoot"))?;
    let answer = manifests::create(&stage.garden, shoot, Mode::DryRun).await;
    Ok(answer.map(drop).map_err(|error| gardener_testbed::causes(&error)))
}

/// Whether the controller of a Deployment has the flag.
fn logs_more(deployment: &Deployment) -> bool {
    let containers = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut arguments =
        containers.iter().flat_map(|pod| &pod.containers).flat_map(|container| container.args.iter().flatten());
    arguments.any(|argument| argument == LOGS_MORE)
}
