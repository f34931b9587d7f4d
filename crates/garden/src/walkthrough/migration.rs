//! A Shoot moves from one Seed to another: Gardener migrates its control plane
//! (`docs/operations/control_plane_migration.md`).

use extension_contract::json::get;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{Stage, awake};
use crate::error::GardenError;
use crate::shoot::Shoot;
use crate::{access, objects};

const FILE: &str = "55-shoot.yaml";
const NAME: &str = "moving";

/// The kind whose controller keeps a state. A new object would get another one.
const KEEPS_STATE: &str = "Infrastructure";

/// What the owner of the Shoot has written to it. It lives in the Shoot's etcd, whose backup moves.
const NOTE: &str = "note";

/// Creates an awake Shoot on the first Seed, and moves it to the second one.
pub(super) async fn moved(stage: &Stage<'_>) -> Result<(), GardenError> {
    let [(from, source), (to, target), ..] = stage.seeds.as_slice() else {
        return Err(GardenError::Unusable("a Shoot moves between two Seeds: use --seeds 2".to_owned()));
    };
    let created = async {
        let on_seed = json!({"metadata": {"name": NAME}, "spec": {"seedName": from}});
        let shoot = stage.apply_changed(FILE, &on_seed).await?;
        stage.succeeds(&shoot).await?;
        notes(stage, &shoot).await?.create(&PostParams::default(), &note()).await.map_err(noting())?;
        Ok(shoot)
    };
    let shoot = stage.steps.run(&format!("an awake Shoot is created on the Seed {from}"), created).await?;
    let namespace = shoot.technical_id().await?;
    let before = state(source, &namespace).await?;

    let moved = async {
        shoot.bind(to).await?;
        shoot.is_restored_on(to, stage.say).await
    };
    stage.steps.run(&format!("it moves to the Seed {to}"), moved).await?;
    let carried_over = async {
        let after = state(target, &namespace).await?;
        if before == after {
            return Ok(());
        }
        Err(GardenError::Unusable(format!("the state of its {KEEPS_STATE} was {before}, and is {after}")))
    };
    stage.steps.run(&format!("the state of its {KEEPS_STATE} is carried over"), carried_over).await?;
    let kept = async { notes(stage, &shoot).await?.get(NOTE).await.map(drop).map_err(noting()) };
    stage.steps.run("what its owner has written to it is there", kept).await?;
    stage.steps.run(&format!("nothing of it is left on the Seed {from}"), is_gone(source, &namespace)).await?;
    let reconciled = async {
        shoot.request_reconciliation().await?;
        stage.succeeds(&shoot).await
    };
    stage.steps.run(&format!("it is reconciled on the Seed {to}"), reconciled).await?;
    awake::seen_by_its_owner(stage, &shoot).await?;
    stage.delete(&shoot, "it is deleted there").await
}

/// The ConfigMaps in the Shoot.
async fn notes(stage: &Stage<'_>, shoot: &Shoot) -> Result<Api<ConfigMap>, GardenError> {
    Ok(Api::default_namespaced(access::client(&awake::kubeconfig(stage, shoot).await?).await?))
}

fn note() -> ConfigMap {
    ConfigMap { metadata: ObjectMeta { name: Some(NOTE.to_owned()), ..ObjectMeta::default() }, ..ConfigMap::default() }
}

fn noting() -> impl FnOnce(kube::Error) -> GardenError {
    GardenError::request(format!("write or read the ConfigMap {NOTE} of the Shoot {NAME}"))
}

/// The `status.state` of the Shoot's object that keeps one.
async fn state(seed: &Client, namespace: &str) -> Result<Value, GardenError> {
    let api = objects::extension(seed, KEEPS_STATE, namespace);
    let object = objects::get(&api, NAME).await.map_err(GardenError::Unusable)?;
    let state = object.as_ref().and_then(|object| get(object, "status.state")).cloned();
    state.ok_or_else(|| GardenError::Unusable(format!("the {KEEPS_STATE} {namespace}/{NAME} has no state")))
}

async fn is_gone(seed: &Client, namespace: &str) -> Result<(), GardenError> {
    let namespaces: Api<Namespace> = Api::all(seed.clone());
    match namespaces.get_opt(namespace).await.map_err(GardenError::request(format!("read Namespace {namespace}")))? {
        None => Ok(()),
        Some(_) => Err(GardenError::Unusable(format!("the Namespace {namespace} still exists"))),
    }
}
