//! `EtcdCopyBackupsTask`: stands for the part of etcd-druid that copies backups to another object store, when a Shoot
//! moves to another seed. Leaves out the Job that copies, and limits of age and number.

use std::sync::Arc;

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::backup_store::Backups;
use crate::container::now;
use crate::error::Error;
use crate::player::{RETRY, Seed, follow, name_of};

/// What the player needs.
struct Druid {
    seed: Arc<Seed>,
    resource: ApiResource,
}

/// Serves all tasks for ever.
pub(crate) async fn play(seed: Arc<Seed>) {
    let resource = seed.custom_resource("etcdcopybackupstasks.druid.gardener.cloud").await;
    let api = Api::all_with(seed.client.clone(), &resource);
    let controller: Controller<DynamicObject> = Controller::new_with(api, watcher::Config::default(), resource.clone());
    follow("copied backups", controller, Arc::new(Druid { seed, resource }), reconcile, |_| {}).await;
}

async fn reconcile(task: Arc<DynamicObject>, druid: Arc<Druid>) -> Result<Action, Error> {
    if task.metadata.deletion_timestamp.is_some() || is_done(&task) {
        return Ok(Action::await_change());
    }
    let root = druid.seed.args.backups();
    let places = (Backups::at(&root, &task, "/spec/sourceStore")?, Backups::at(&root, &task, "/spec/targetStore")?);
    let (namespace, name) = name_of(task.as_ref());
    let (Some(source), Some(target)) = places else {
        return Err(Error::Unusable(format!("EtcdCopyBackupsTask {namespace}/{name} has no stores")));
    };
    let copied = spawn_blocking(move || source.copy_to(&target)).await.map_err(std::io::Error::other).flatten();
    if !copied.map_err(Error::io("copy the backups of", format!("{namespace}/{name}")))? {
        // The other seed has not taken its final snapshot yet.
        return Ok(Action::requeue(RETRY));
    }
    let api: Api<DynamicObject> = Api::namespaced_with(druid.seed.client.clone(), &namespace, &druid.resource);
    let patch = Patch::Merge(json!({ "status": status(&task, &serde_json::to_value(now()).unwrap_or_default()) }));
    let written = api.patch_status(&name, &PatchParams::default(), &patch).await;
    written.map_err(Error::api(format!("write the status of EtcdCopyBackupsTask {namespace}/{name}")))?;
    Ok(Action::await_change())
}

/// The status of a task that has succeeded.
fn status(task: &DynamicObject, time: &Value) -> Value {
    json!({
        "observedGeneration": task.metadata.generation,
        "conditions": [{
            "type": "Succeeded", "status": "True", "reason": "Played", "message": "the backups are copied",
            "lastTransitionTime": time, "lastUpdateTime": time,
        }],
    })
}

/// Whether the status says that this generation of a task has succeeded.
fn is_done(task: &DynamicObject) -> bool {
    let seen = task.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    seen.is_some() && seen == task.metadata.generation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_is_done_once_its_status_has_been_written() {
        let mut task: DynamicObject =
            serde_json::from_value(json!({ "metadata": { "name": "a", "generation": 2 } })).unwrap();
        assert!(!is_done(&task));
        task.data["status"] = status(&task, &json!("2026-01-01T00:00:00Z"));
        assert!(is_done(&task));
        task.metadata.generation = Some(3);
        assert!(!is_done(&task));
    }
}
