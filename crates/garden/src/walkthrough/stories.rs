//! The stories of the examples under the real gardenlet: Shoots whose cloud fails, as the scripts in their annotations or in
//! their Seed say.

use std::convert::Infallible;
use std::time::Duration;

use extension_contract::TIMESTAMP_ANNOTATION;
use extension_contract::json::{annotation, get};
use gardener_testbed::manifests;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::Stage;
use crate::error::GardenError;
use crate::objects::{self, core};
use crate::shoot::Shoot;
use crate::{seed, wait};

/// Stories that need no nodes: their Shoots are created hibernated, which takes half of the time.
const QUOTA: &str = "60-shoot-quota-exceeded.yaml";
const SLOW: &str = "61-shoot-slow-hyperscaler.yaml";
const FLAPPING: &str = "62-shoot-flapping-network.yaml";
const ENDLESS: &str = "64-shoot-never-ending-deletion.yaml";
const MISBEHAVING: &str = "65-shoot-misbehaving-extension.yaml";
const NEVER_READY: &str = "68-shoot-extension-never-ready.yaml";

/// What an Event says of an attempt, in the stories that end well. The objects may have been reconciled again.
const ENOUGH: &str = "rule 2 (enough), attempt 3";
const SLOWED: &str = "rule 1 (slow), attempt 1";
const FLAPPED: &str = "rule 1 (flap), attempt 1";

/// All of them. Those in front succeed; the last one but one may not, see [`misbehaves`].
const CREATED: [&str; 6] = [QUOTA, SLOW, FLAPPING, ENDLESS, MISBEHAVING, NEVER_READY];
const ALL_WELL: usize = 4;

/// gardenlet's steps that wait for an Extension and for a Network (`pkg/gardenlet/controller/shoot/shoot/reconciler_reconcile.go`
/// and `pkg/gardenlet/operation/botanist/flow.go`).
const EXTENSION: &str = "Waiting until extension resources hibernated before kube-apiserver hibernation are ready";
const NETWORK: &str = "Waiting until shoot network plugin has been reconciled";

/// Limit for a misbehaving Network to lose its timestamp. Its Shoot has to be created before.
const STRIPPED_WITHIN: Duration = Duration::from_secs(600);

/// Gardener permits to force a deletion that has failed with this code (`pkg/api/core/validation/shoot.go`).
const IN_USE: &str = "ERR_INFRA_DEPENDENCIES";

/// The story of nodes that do not come, its error, and the condition that shows it.
const DEAD_POOL: &str = "63-shoot-dead-pool.yaml";
const NO_NODES: &str = "ERR_INFRA_RESOURCES_DEPLETED";
const NODES_READY: &str = "EveryNodeReady";

/// The story of a record that is refused. A hibernated Shoot has none.
const REFUSED_RECORD: &str = "66-shoot-refusing-zone.yaml";
const REFUSED: &str = "ERR_INFRA_UNAUTHORIZED";

/// The story of a Seed without a bucket, and what it says of the bucket.
const NO_BUCKET: &str = "67-shoot-no-bucket.yaml";
const BUCKET_IS_TAKEN: &str = "BucketAlreadyOwnedByOther";
const BUCKETS_READY: &str = "BackupBucketsReady";
/// gardener-controller-manager looks at the buckets of a Seed every 30 s, and forgives a minute.
const BUCKET_SEEN_WITHIN: Duration = Duration::from_secs(180);

/// Plays the stories.
pub(super) async fn told(stage: &Stage<'_>) -> Result<(), GardenError> {
    let created = async {
        let mut shoots = Vec::new();
        for file in CREATED {
            shoots.push(stage.apply_changed(file, &json!({"spec": {"hibernation": {"enabled": true}}})).await?);
        }
        for shoot in shoots.iter().take(ALL_WELL) {
            stage.succeeds(shoot).await?;
        }
        Ok(shoots)
    };
    let name = "an exceeded quota, a slow cloud and a flapping network end well";
    let shoots = stage.steps.run(name, created).await?;
    let [quota, slow, flapping, endless, misbehaving, never_ready] = shoots.as_slice() else {
        return Err(GardenError::Unusable("a story has no Shoot".to_owned()));
    };
    let shown = async {
        for (shoot, attempt) in [(quota, ENOUGH), (slow, SLOWED), (flapping, FLAPPED)] {
            has_event(stage, shoot, attempt).await?;
        }
        Ok(())
    };
    stage.steps.run("their Events show the attempts that their scripts tell", shown).await?;
    let waits = never_ready.waits_at(EXTENSION, stage.say);
    stage.steps.run("gardenlet waits for an Extension that never gets ready", waits).await?;
    stage.steps.run("gardenlet waits for a Network that misbehaves", misbehaves(stage, misbehaving)).await?;
    never_ending_deletion(stage, endless).await?;
    awake(stage).await?;
    no_bucket(stage).await
}

/// Fails unless an Event of an object of the Shoot contains `text`.
async fn has_event(stage: &Stage<'_>, shoot: &Shoot, text: &str) -> Result<(), GardenError> {
    let events: Api<Event> = Api::namespaced(stage.seed_of(shoot).await?.clone(), &shoot.technical_id().await?);
    let doing = GardenError::request(format!("list the Events of the Shoot {}", shoot.name));
    let events = events.list(&ListParams::default()).await.map_err(doing)?;
    let said: Vec<_> = events.into_iter().filter_map(|event| event.message).collect();
    if said.iter().any(|message| message.contains(text)) {
        return Ok(());
    }
    let of_script: Vec<_> = said.iter().filter(|message| message.contains("rule ")).collect();
    Err(GardenError::Unusable(format!("no Event of the Shoot {} says {text:?}: {of_script:?}", shoot.name)))
}

/// Returns when gardenlet waits for a Network that has lost its timestamp. The script is about reconciliations after the
/// first one, which gardenlet itself begins if something else in the creation fails.
async fn misbehaves(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    let stripped = async {
        let networks = objects::extension(stage.seed_of(shoot).await?, "Network", &shoot.technical_id().await?);
        let check = async || match objects::get(&networks, &shoot.name).await? {
            Some(network) if annotation(&network, TIMESTAMP_ANNOTATION).is_none() => Ok(()),
            _ => Err("it still has it, or does not exist".to_owned()),
        };
        let what = format!("the Network of the Shoot {} does not lose its timestamp", shoot.name);
        wait::until(STRIPPED_WITHIN, &what, check).await?;
        shoot.waits_at(NETWORK, stage.say).await
    };
    let requested = async {
        shoot.succeeds(&|_| {}).await?;
        shoot.request_reconciliation().await?;
        std::future::pending::<Result<Infallible, GardenError>>().await
    };
    tokio::select! {
        waits = stripped => waits,
        failed = requested => failed.map(|never| match never {}),
    }
}

/// A deletion fails until the Shoot's owner forces it.
async fn never_ending_deletion(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    let failed = async {
        shoot.delete().await?;
        shoot.fails_with(IN_USE, stage.say).await
    };
    stage.steps.run("gardenlet gives up a deletion that never ends", failed).await?;
    let forced = async {
        let force = json!({"metadata": {"annotations": {"confirmation.gardener.cloud/force-deletion": "true"}}});
        shoot.change(force).await?;
        shoot.is_gone(stage.say).await
    };
    stage.steps.run("the Shoot's owner ends it by force", forced).await
}

/// The stories of Shoots that are awake.
async fn awake(stage: &Stage<'_>) -> Result<(), GardenError> {
    let (dead, refused) = (stage.apply(DEAD_POOL).await?, stage.apply(REFUSED_RECORD).await?);
    let seen = async {
        dead.has_error(NO_NODES, stage.say).await?;
        dead.has_unmet(NODES_READY, NO_NODES).await
    };
    stage.steps.run("a Shoot without nodes shows the error of its Worker, also as a condition", seen).await?;
    let failed = refused.fails_with(REFUSED, stage.say);
    stage.steps.run("gardenlet gives up a Shoot whose record is refused", failed).await
}

/// The bucket of a Seed fails, as the script of the story says. Then it is there again.
async fn no_bucket(stage: &Stage<'_>) -> Result<(), GardenError> {
    let Some((name, _)) = stage.seeds.first() else { return Ok(()) };
    let story = manifests::read(&stage.examples().join(NO_BUCKET))?;
    let script = story.iter().find_map(|object| get(object, "spec.backup.providerConfig"));
    let script = script.ok_or_else(|| GardenError::Unusable(format!("the Seed of {NO_BUCKET} has no script")))?;
    let failed = async {
        set_script(&stage.garden, name, script).await?;
        let seeds = core(&stage.garden, "v1beta1", "Seed", None);
        let check = async || {
            let seed = objects::get(&seeds, name).await?.ok_or("it does not exist")?;
            match objects::unmet(&seed, &[BUCKETS_READY]) {
                Some(why) if why.contains(BUCKET_IS_TAKEN) => Ok(()),
                other => Err(other.unwrap_or_else(|| "its buckets are ready".to_owned())),
            }
        };
        wait::until(BUCKET_SEEN_WITHIN, &format!("the Seed {name} does not show that its bucket fails"), check).await
    };
    stage.steps.run("a Seed shows the error of its bucket", failed).await?;
    let mended = async {
        set_script(&stage.garden, name, &Value::Null).await?;
        seed::ready(&stage.garden, name).await
    };
    stage.steps.run("without the script, the Seed is ready again", mended).await
}

/// Gives the bucket of a Seed this script, or none.
async fn set_script(garden: &Client, seed: &str, script: &Value) -> Result<(), GardenError> {
    let change = json!({"spec": {"backup": {"providerConfig": script}}});
    objects::merge(&core(garden, "v1beta1", "Seed", None), seed, change).await
}
