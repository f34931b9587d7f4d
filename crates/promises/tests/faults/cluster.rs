//! Permissions, definitions, namespaces and tokens that go and come back.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use extension_conformance::{Scene, ensure, eventually, text};
use http::header::AUTHORIZATION;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use libtest_mimic::Failed;
use serde_json::json;
use tokio::time::sleep;

use crate::cost::{Cost, Meter};
use crate::http::{Action, Answer};
use crate::world::{LIMIT, World};

pub(crate) async fn permissions_taken_away(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    world.bed().grant(&world.name(), Vec::new()).await?;
    world.ask("during").await?;
    sleep(Duration::from_secs(15)).await;
    world.grant().await?;
    let over = meter.over();
    world.ask("after").await?;
    Ok(over.served(world.until_served(&["before", "during", "after"]).await?))
}

/// The deletion of a CRD deletes its objects, for which it waits.
pub(crate) async fn definition_deleted(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    let definitions: Api<CustomResourceDefinition> = Api::all(world.scene.client());
    let resource = world.scene.suite().resource();
    let name = format!("{}.{}", resource.plural, resource.group);
    let old = definitions.get(&name).await?;
    definitions.delete(&name, &DeleteParams::default()).await?;
    eventually(LIMIT, || async {
        let found = definitions.get_opt(&name).await?;
        ensure(found.is_none(), format!("the definition is still there: {:?}", found.and_then(|found| found.status)))
    })
    .await?;
    sleep(Duration::from_secs(10)).await;
    let metadata = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
    let new = CustomResourceDefinition { metadata, spec: old.spec, status: None };
    definitions.create(&PostParams::default(), &new).await?;
    // The API server serves the objects once it has accepted the first.
    world.ask("before").await?;
    let over = meter.over();
    Ok(over.served(world.serves(&["before", "after"]).await?))
}

pub(crate) async fn namespace_deleted(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    let namespaces: Api<Namespace> = Api::all(world.scene.client());
    let name = world.scene.namespace();
    namespaces.delete(name, &DeleteParams::default()).await?;
    eventually(LIMIT, || async {
        let found = namespaces.get_opt(name).await?;
        ensure(found.is_none(), format!("the namespace is still there: {:?}", found.and_then(|found| found.status)))
    })
    .await?;
    world.scene.delete_cluster().await?;
    let fault = name.trim_start_matches("shoot--t--");
    Scene::create(world.scene.suite().clone(), fault).await?;
    let over = meter.over();
    Ok(over.served(world.serves(&["before", "after"]).await?))
}

/// The old token is refused for a while before the file has the new one.
pub(crate) async fn token_rotated(world: Arc<World>) -> Result<Cost, Failed> {
    let mut kubeconfig = world.kubeconfig(&format!("http://127.0.0.1:{}", world.http.port))?;
    let real = text(&kubeconfig, "/users/0/user/token").to_owned();
    let (file, path) = (world.bed().dir().join("token"), world.bed().dir().join("kubeconfig-of-file"));
    fs::write(&file, "old")?;
    let user = kubeconfig.pointer_mut("/users/0/user").ok_or("the kubeconfig has no user")?;
    *user = json!({ "tokenFile": file });
    fs::write(&path, kubeconfig.to_string())?;
    let rotated = Arc::new(AtomicBool::new(false));
    let is_rotated = rotated.clone();
    world.http.set(move |parts| {
        let valid = if is_rotated.load(Relaxed) { "Bearer new" } else { "Bearer old" };
        if parts.headers.get(AUTHORIZATION).is_some_and(|given| given == valid) {
            Action::ForwardAs(real.clone())
        } else {
            Action::Answer(Answer::status(401, "Unauthorized"))
        }
    });
    let controller = world.with_kubeconfig(&path, &[])?.ready().await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    rotated.store(true, Relaxed);
    world.ask("during").await?;
    sleep(Duration::from_secs(10)).await;
    fs::write(&file, "new")?;
    let over = meter.over();
    let began = Instant::now();
    world.ask("after").await?;
    world.until_served(&["during", "after"]).await?;
    Ok(over.served(began.elapsed()))
}
