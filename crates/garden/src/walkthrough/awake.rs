//! An awake Shoot, with nodes: it is created, looked at, hibernated, woken up and deleted. gardenlet skips none of its waits.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Stage, web_server};
use crate::error::GardenError;
use crate::shoot::Shoot;
use crate::{access, kubeconfigs, wait};

/// The Shoot with the five kinds that each Shoot has, and the one with all kinds, for a Seed with backups.
const PLAIN: &str = "55-shoot.yaml";
const EVERYTHING: &str = "58-shoot-extensions.yaml";

/// The nodes that the Shoot of the examples asks for.
const NODES: usize = 2;

/// They exist already when gardenlet has succeeded.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// Plays the life of an awake Shoot.
pub(super) async fn live(stage: &Stage<'_>) -> Result<(), GardenError> {
    let created = async {
        let shoot = if stage.full {
            stage.apply_changed(EVERYTHING, &as_the_garden_runs_it()).await?
        } else {
            stage.apply(PLAIN).await?
        };
        stage.succeeds(&shoot).await.map(|()| shoot)
    };
    let shoot = stage.steps.run("an awake Shoot is created, with all waits in force", created).await?;
    seen_by_its_owner(stage, &shoot).await?;
    let answered = web_server_answers(stage, &shoot);
    stage
        .steps
        .run("a web server in it answers through kubectl port-forward, and kubectl logs shows it", answered)
        .await?;
    if stage.full {
        sleep_and_wake(stage, &shoot).await?;
    }
    stage.delete(&shoot, "the awake Shoot is deleted").await
}

/// The Shoot with everything asks for an ingress controller, and hence for a version of Kubernetes that does not run here.
fn as_the_garden_runs_it() -> Value {
    json!({"spec": {"kubernetes": null, "addons": null}})
}

/// Hibernates the Shoot, and wakes it up.
async fn sleep_and_wake(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    for (hibernated, step) in [(true, "it is hibernated"), (false, "it is woken up")] {
        let changed = async {
            shoot.change(json!({"spec": {"hibernation": {"enabled": hibernated}}})).await?;
            stage.succeeds(shoot).await
        };
        stage.steps.run(step, changed).await?;
    }
    seen_by_its_owner(stage, shoot).await
}

/// Looks at the Shoot as its owner does: at its conditions, and at its nodes with a kubeconfig that Gardener hands out.
pub(super) async fn seen_by_its_owner(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    stage.steps.run("its nodes are ready", nodes_are_ready(stage, shoot)).await?;
    stage.steps.run("all of its conditions hold", shoot.is_healthy()).await
}

async fn nodes_are_ready(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    let nodes: Api<Node> = Api::all(access::client(&kubeconfig(stage, shoot).await?).await?);
    let check = async || {
        let nodes = nodes.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
        let unready: Vec<_> = nodes.iter().filter(|node| !is_ready(node)).map(ResourceExt::name_any).collect();
        match nodes.len() {
            NODES if unready.is_empty() => Ok(()),
            NODES => Err(format!("not ready: {}", unready.join(", "))),
            other => Err(format!("there are {other} nodes")),
        }
    };
    wait::until(SEEN_WITHIN, &format!("the Shoot {} has not {NODES} nodes that are ready", shoot.name), check).await
}

async fn web_server_answers(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    let kubeconfig = kubeconfig(stage, shoot).await?;
    let file = stage.layout.run().join("shoot.kubeconfig");
    access::write_kubeconfig(&file, &kubeconfig)?;
    web_server::answers(stage, &access::client(&kubeconfig).await?, &file).await
}

/// A kubeconfig of the Shoot, through the gateway of its Seed.
pub(super) async fn kubeconfig(stage: &Stage<'_>, shoot: &Shoot) -> Result<Value, GardenError> {
    let seed = stage.seed_of(shoot).await?;
    let kubeconfig = kubeconfigs::through(kubeconfigs::gateway(seed).await?, &shoot.admin_kubeconfig().await?);
    kubeconfig
        .ok_or_else(|| GardenError::Unusable(format!("the kubeconfig of the Shoot {} names no server", shoot.name)))
}

/// Whether `kubectl get nodes` shows a node as ready.
fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
