//! The stand-in for gardenlet against a real API server; an extension for all kinds is played by hand.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests panic; .clippy.toml says so only of the functions that are marked as tests, not of their helpers"
)]

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::jiff::{Timestamp, ToSpan};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher},
};
use mock_core::contract::{GROUP, OPERATION_ANNOTATION, VERSION, whole_seconds};
use mock_testbed::{
    assets::Assets,
    bed::{Options, TestBed},
    gardenlet::{Gardenlet, Phase, Progress, Report, Stuck},
    shoot::{Landscape, ShootPlan},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinSet,
};

const KINDS: [&str; 5] = ["Infrastructure", "ControlPlane", "OperatingSystemConfig", "Network", "Worker"];
const FINALIZER: &str = "example.org/by-hand";
const PATIENCE: Duration = Duration::from_secs(20);

async fn bed() -> TestBed {
    let progress = |step: &str| {
        let _ = writeln!(io::stderr(), "{step}");
    };
    let assets = Assets::locate(&progress).unwrap_or_else(|error| panic!("{error}"));
    TestBed::start(&assets, Options { audit: false, ..Options::default() }).await.unwrap()
}

fn api(client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind));
    namespace.map_or_else(
        || Api::all_with(client.clone(), &resource),
        |namespace| Api::namespaced_with(client.clone(), namespace, &resource),
    )
}

fn plan(file: &str) -> ShootPlan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../example").join(file);
    Landscape::load(&file, None, None).unwrap_or_else(|error| panic!("{error}")).plan(None)
}

/// Serves all objects of a kind as a good extension does.
async fn serve(client: Client, kind: &'static str) {
    let events = watcher(api(&client, kind, None), watcher::Config::default()).default_backoff().applied_objects();
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        let Ok(object) = event else { continue };
        let _ = serve_one(&client, kind, &serde_json::to_value(&object).unwrap()).await;
    }
}

async fn serve_one(client: &Client, kind: &str, object: &Value) -> kube::Result<()> {
    let metadata = &object["metadata"];
    let (name, namespace) = (metadata["name"].as_str().unwrap(), metadata["namespace"].as_str().unwrap());
    let api = api(client, kind, Some(namespace));
    let patch = async |patch: Value| api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    let operation = metadata["annotations"][OPERATION_ANNOTATION].as_str();
    let kind_of_operation = match operation {
        Some("migrate") => "Migrate",
        Some("restore") => "Restore",
        Some("reconcile") => "Reconcile",
        _ if metadata["deletionTimestamp"].is_string() => {
            return patch(json!({"metadata": {"finalizers": null}})).await.map(drop);
        }
        _ => return Ok(()),
    };
    let now = Timestamp::now();
    let mut status = json!({
        "observedGeneration": metadata["generation"],
        "lastError": null,
        "lastOperation": {"type": kind_of_operation, "state": "Succeeded", "progress": 100, "description": "done", "lastUpdateTime": whole_seconds(now).to_string()},
    });
    if operation != Some("migrate") {
        match kind {
            "Infrastructure" => {
                status["nodesCIDR"] = json!("10.10.0.0/16");
                status["state"] = json!({"made": "once"});
                status["providerStatus"] = json!({"id": "x"});
            }
            "Worker" => {
                let last = object["status"]["machineDeploymentsLastUpdateTime"].as_str();
                let last = last.map(|last| last.parse::<Timestamp>().unwrap() + 1.second());
                let time = whole_seconds(last.map_or(now, |last| last.max(now)));
                status["machineDeployments"] = json!([]);
                status["machineDeploymentsLastUpdateTime"] = json!(time.to_string());
            }
            "OperatingSystemConfig" => {
                let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), namespace);
                let secret = json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("osc-{name}")},
                    "stringData": {"cloud_config": "#!/bin/sh"},
                });
                let params = PatchParams::apply("by-hand").force();
                secrets.patch(&format!("osc-{name}"), &params, &Patch::Apply(secret)).await?;
                status["cloudConfig"] = json!({"secretRef": {"name": format!("osc-{name}"), "namespace": namespace}});
            }
            _ => {}
        }
    }
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await?;
    let finalizers = if operation == Some("migrate") { Value::Null } else { json!([FINALIZER]) };
    let annotations = json!({OPERATION_ANNOTATION: null});
    patch(json!({"metadata": {"annotations": annotations, "finalizers": finalizers}})).await.map(drop)
}

fn extension(client: &Client) -> JoinSet<()> {
    KINDS.into_iter().map(|kind| serve(client.clone(), kind)).collect()
}

fn drain(reports: &mut UnboundedReceiver<Report>) -> Vec<Report> {
    std::iter::from_fn(|| reports.try_recv().ok()).collect()
}

fn finished(reports: &[Report]) -> Vec<&'static str> {
    let is_end = |report: &&Report| matches!(report.what, Progress::Ready(_) | Progress::Gone(_));
    reports.iter().filter(is_end).map(|report| report.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shoot_lives_moves_and_dies() {
    let bed = bed().await;
    let client = bed.client();
    let _extension = extension(&client);
    let (sender, mut reports) = unbounded_channel();
    let gardenlet = Gardenlet::new(client.clone(), sender, PATIENCE);
    let mut plan = plan("55-shoot.yaml");
    let created =
        ["Infrastructure", "ControlPlane", "OperatingSystemConfig", "OperatingSystemConfig", "Network", "Worker"];
    let deleted =
        ["Network", "Worker", "OperatingSystemConfig", "OperatingSystemConfig", "ControlPlane", "Infrastructure"];
    for (phase, order) in [
        (Phase::Create, created.as_slice()),
        (Phase::Reconcile, &created),
        (Phase::Hibernate, &created),
        (Phase::Wake, &created),
    ] {
        gardenlet.play(&mut plan, phase).await.unwrap_or_else(|stuck| panic!("{phase}: {stuck}"));
        let reports = drain(&mut reports);
        assert_eq!(finished(&reports), order, "{phase}");
        assert!(reports.iter().all(|report| report.phase == phase && report.namespace == plan.namespace));
    }
    let cluster = api(&client, "Cluster", None).get(&plan.namespace).await.unwrap();
    assert_eq!(cluster.data["spec"]["shoot"]["spec"]["hibernation"]["enabled"], false);
    assert_eq!(cluster.data["spec"]["shoot"]["status"]["networking"]["nodes"], json!(["10.10.0.0/16"]));
    let worker = api(&client, "Worker", Some(&plan.namespace)).get(plan.name()).await.unwrap();
    assert_eq!(worker.data["spec"]["infrastructureProviderStatus"], json!({"id": "x"}));
    let secret = worker.data["spec"]["pools"][0]["userDataSecretRef"]["name"].as_str().unwrap();
    assert!(secret.starts_with("osc-gardener-node-agent-pool-"), "{secret}");

    for phase in [Phase::Migrate, Phase::Restore, Phase::Delete] {
        gardenlet.play(&mut plan, phase).await.unwrap_or_else(|stuck| panic!("{phase}: {stuck}"));
        let reports = drain(&mut reports);
        match phase {
            Phase::Restore => assert_eq!(finished(&reports), created),
            Phase::Delete => assert_eq!(finished(&reports), deleted),
            _ => assert_eq!(finished(&reports).len(), 4 + 4 + 1 + 2),
        }
        let is_there = phase == Phase::Restore;
        assert_eq!(api(&client, "Cluster", None).get_opt(&plan.namespace).await.unwrap().is_some(), is_there);
    }

    plan.shoot["spec"]["provider"]["workers"][0]["updateStrategy"] = json!("AutoInPlaceUpdate");
    gardenlet.play(&mut plan, Phase::Create).await.unwrap_or_else(|stuck| panic!("{stuck}"));
    let configs = api(&client, "OperatingSystemConfig", Some(&plan.namespace));
    let original = configs.get("gardener-node-agent-pool-original").await.unwrap();
    assert_eq!(original.data["spec"]["inPlaceUpdates"]["operatingSystemVersion"], "1.1.0");
    gardenlet.play(&mut plan, Phase::ForceDelete).await.unwrap_or_else(|stuck| panic!("{stuck}"));
    bed.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_wait_for_ever_is_named() {
    let bed = bed().await;
    let client = bed.client();
    let (sender, mut reports) = unbounded_channel();
    let gardenlet = Gardenlet::new(client.clone(), sender, Duration::from_secs(1));
    let mut workerless = plan("57-shoot-workerless.yaml");
    gardenlet.play(&mut workerless, Phase::Create).await.unwrap();
    assert_eq!(drain(&mut reports).len(), 0);

    let mut plan = plan("55-shoot.yaml");
    let stuck = gardenlet.play(&mut plan, Phase::Create).await.unwrap_err();
    assert!(matches!(stuck, Stuck::Waiting { .. }), "{stuck}");
    let message = stuck.to_string();
    assert!(message.starts_with("Infrastructure shoot--dev--shoot/shoot: status.observedGeneration must"), "{message}");
    let reports = drain(&mut reports);
    assert!(matches!(
        reports.as_slice(),
        [Report { what: Progress::Requested, .. }, Report { what: Progress::Stuck(_), .. }]
    ));

    let object = &plan.objects()[0].object;
    let written = gardenlet.deploy(object, Some("reconcile")).await.unwrap();
    serve_one(&client, "Infrastructure", &serde_json::to_value(&written).unwrap()).await.unwrap();
    gardenlet.wait_ready(&written).await.unwrap();
    gardenlet.delete(object).await.unwrap();
    let stuck = gardenlet.wait_deleted(object).await.unwrap_err().to_string();
    assert!(stuck.contains(FINALIZER), "{stuck}");
    bed.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_lasts_ends_the_flow_and_its_codes_decide_about_the_shoot() {
    let bed = bed().await;
    let client = bed.client();
    let (sender, _) = unbounded_channel();
    let gardenlet = Gardenlet::new(client.clone(), sender, PATIENCE).tolerating(|_| Duration::from_millis(300));
    let plan = plan("55-shoot.yaml");
    for (code, state) in [("ERR_INFRA_QUOTA_EXCEEDED", "Failed"), ("ERR_INFRA_RESOURCES_DEPLETED", "Error")] {
        let mut playing = plan.clone();
        let infrastructures = api(&client, "Infrastructure", Some(&plan.namespace));
        let failing = async {
            let status = json!({"status": {"lastError": {"description": "no", "codes": [code]}}});
            let params = PatchParams::default();
            while infrastructures.patch_status(plan.name(), &params, &Patch::Merge(&status)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let (played, ()) = tokio::join!(gardenlet.play(&mut playing, Phase::Create), failing);
        let stuck = played.unwrap_err();
        assert!(matches!(stuck, Stuck::GaveUp { shoot, .. } if shoot == state), "{stuck}");
        let cluster = api(&client, "Cluster", None).get(&plan.namespace).await.unwrap();
        assert_eq!(cluster.data["spec"]["shoot"]["status"]["lastOperation"]["state"], state);
    }
    bed.stop().await.unwrap();
}
