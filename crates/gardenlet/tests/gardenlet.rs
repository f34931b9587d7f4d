//! The stand-in for gardenlet against a real API server and an extension that these tests play.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

use std::io::{self, Write as _};
use std::time::Duration;

use extension_contract::{GROUP, OPERATION_ANNOTATION, VERSION, kinds, whole_seconds};
use futures::StreamExt;
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::workspace::root;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{Timestamp, ToSpan};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use mock_gardenlet::shoot::{Landscape, ShootPlan};
use mock_gardenlet::{Gardenlet, Phase, Progress, Report, Stuck};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

const INFRASTRUCTURE: &str = kinds::INFRASTRUCTURE.name;
const CONTROL_PLANE: &str = kinds::CONTROL_PLANE.name;
const OPERATING_SYSTEM_CONFIG: &str = kinds::OPERATING_SYSTEM_CONFIG.name;
const NETWORK: &str = kinds::NETWORK.name;
const WORKER: &str = kinds::WORKER.name;

/// The order in which the example Shoot's objects become ready.
const READY: [&str; 6] =
    [INFRASTRUCTURE, CONTROL_PLANE, OPERATING_SYSTEM_CONFIG, OPERATING_SYSTEM_CONFIG, NETWORK, WORKER];
/// The order in which the example Shoot's objects are gone.
const GONE: [&str; 6] =
    [NETWORK, WORKER, OPERATING_SYSTEM_CONFIG, OPERATING_SYSTEM_CONFIG, CONTROL_PLANE, INFRASTRUCTURE];
/// The reports of a migration: each object is migrated and gone, except that gardenlet does not wait for the
/// migration of a ControlPlane.
const MIGRATED: usize = 2 * READY.len() - 1;

const FINALIZER: &str = "example.org/by-hand";
const PATIENCE: Duration = Duration::from_secs(20);

async fn start_bed() -> TestBed {
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
    let file = root().join("example").join(file);
    Landscape::example(&file).unwrap_or_else(|error| panic!("{error}")).plan(None)
}

/// Plays an extension that reconciles the objects of all kinds and follows the contract.
fn play_extension(client: &Client) -> JoinSet<()> {
    [INFRASTRUCTURE, CONTROL_PLANE, OPERATING_SYSTEM_CONFIG, NETWORK, WORKER]
        .into_iter()
        .map(|kind| reconcile_all(client.clone(), kind))
        .collect()
}

async fn reconcile_all(client: Client, kind: &'static str) {
    let events = watcher(api(&client, kind, None), watcher::Config::default()).default_backoff().applied_objects();
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        let Ok(object) = event else { continue };
        // A conflict is resolved by the next event.
        let _ = reconcile(&client, kind, &serde_json::to_value(&object).unwrap()).await;
    }
}

async fn reconcile(client: &Client, kind: &str, object: &Value) -> kube::Result<()> {
    let metadata = &object["metadata"];
    let (name, namespace) = (metadata["name"].as_str().unwrap(), metadata["namespace"].as_str().unwrap());
    let api = api(client, kind, Some(namespace));
    let patch = async |patch: Value| api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    let operation = match metadata["annotations"][OPERATION_ANNOTATION].as_str() {
        Some("reconcile") => "Reconcile",
        Some("restore") => "Restore",
        Some("migrate") => "Migrate",
        _ if metadata["deletionTimestamp"].is_string() => {
            return patch(json!({"metadata": {"finalizers": null}})).await.map(drop);
        }
        _ => return Ok(()),
    };
    let is_migration = operation == "Migrate";
    let mut status = json!({
        "observedGeneration": metadata["generation"],
        "lastError": null,
        "lastOperation": {
            "type": operation,
            "state": "Succeeded",
            "progress": 100,
            "description": "done",
            "lastUpdateTime": whole_seconds(Timestamp::now()).to_string(),
        },
    });
    if !is_migration {
        report_results(client, kind, object, &mut status).await?;
    }
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await?;
    let finalizers = if is_migration { Value::Null } else { json!([FINALIZER]) };
    let annotations = json!({OPERATION_ANNOTATION: null});
    patch(json!({"metadata": {"annotations": annotations, "finalizers": finalizers}})).await.map(drop)
}

/// Adds to a status what gardenlet reads from it, by kind.
async fn report_results(client: &Client, kind: &str, object: &Value, status: &mut Value) -> kube::Result<()> {
    match kind {
        INFRASTRUCTURE => {
            status["nodesCIDR"] = json!("10.10.0.0/16");
            status["state"] = json!({"made": "once"});
            status["providerStatus"] = json!({"id": "x"});
        }
        WORKER => {
            // The time must be in a later second than the previous one.
            let now = Timestamp::now();
            let previous = object["status"]["machineDeploymentsLastUpdateTime"].as_str();
            let earliest = previous.map(|previous| previous.parse::<Timestamp>().unwrap() + 1.second());
            let time = whole_seconds(earliest.map_or(now, |earliest| earliest.max(now)));
            status["machineDeployments"] = json!([]);
            status["machineDeploymentsLastUpdateTime"] = json!(time.to_string());
        }
        OPERATING_SYSTEM_CONFIG => {
            let namespace = object["metadata"]["namespace"].as_str().unwrap();
            let name = format!("osc-{}", object["metadata"]["name"].as_str().unwrap());
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
                "stringData": {"cloud_config": "#!/bin/sh"},
            });
            let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
            secrets.patch(&name, &PatchParams::apply("by-hand").force(), &Patch::Apply(secret)).await?;
            status["cloudConfig"] = json!({"secretRef": {"name": name, "namespace": namespace}});
        }
        _ => {}
    }
    Ok(())
}

fn received(reports: &mut UnboundedReceiver<Report>) -> Vec<Report> {
    std::iter::from_fn(|| reports.try_recv().ok()).collect()
}

/// The kinds of the objects that became ready or are gone, in the order of the reports.
fn finished(reports: &[Report]) -> Vec<&'static str> {
    let is_end = |report: &&Report| matches!(report.what, Progress::Ready(_) | Progress::Gone(_));
    reports.iter().filter(is_end).map(|report| report.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shoot_goes_through_all_phases_in_gardenlets_order() {
    let bed = start_bed().await;
    let client = bed.client();
    let _extension = play_extension(&client);
    let (sender, mut reports) = unbounded_channel();
    let gardenlet = Gardenlet::new(client.clone(), sender, PATIENCE);
    let mut plan = plan("55-shoot.yaml");

    for phase in [Phase::Create, Phase::Reconcile, Phase::Hibernate, Phase::Wake] {
        gardenlet.play(&mut plan, phase).await.unwrap_or_else(|stuck| panic!("{phase}: {stuck}"));
        let reports = received(&mut reports);
        assert_eq!(finished(&reports), READY, "{phase}");
        assert!(reports.iter().all(|report| report.phase == phase && report.namespace == plan.namespace));
    }
    let cluster = api(&client, "Cluster", None).get(&plan.namespace).await.unwrap();
    assert_eq!(cluster.data["spec"]["shoot"]["spec"]["hibernation"]["enabled"], false);
    assert_eq!(cluster.data["spec"]["shoot"]["status"]["networking"]["nodes"], json!(["10.10.0.0/16"]));
    let worker = api(&client, WORKER, Some(&plan.namespace)).get(plan.name()).await.unwrap();
    assert_eq!(worker.data["spec"]["infrastructureProviderStatus"], json!({"id": "x"}));
    let secret = worker.data["spec"]["pools"][0]["userDataSecretRef"]["name"].as_str().unwrap();
    assert!(secret.starts_with("osc-gardener-node-agent-pool-"), "{secret}");

    for phase in [Phase::Migrate, Phase::Restore, Phase::Delete] {
        gardenlet.play(&mut plan, phase).await.unwrap_or_else(|stuck| panic!("{phase}: {stuck}"));
        let finished = finished(&received(&mut reports));
        match phase {
            Phase::Migrate => assert_eq!(finished.len(), MIGRATED, "{finished:?}"),
            Phase::Restore => assert_eq!(finished, READY),
            _ => assert_eq!(finished, GONE),
        }
        let has_cluster = api(&client, "Cluster", None).get_opt(&plan.namespace).await.unwrap().is_some();
        assert_eq!(has_cluster, phase == Phase::Restore, "{phase}");
    }

    plan.shoot["spec"]["provider"]["workers"][0]["updateStrategy"] = json!("AutoInPlaceUpdate");
    gardenlet.play(&mut plan, Phase::Create).await.unwrap_or_else(|stuck| panic!("{stuck}"));
    let configs = api(&client, OPERATING_SYSTEM_CONFIG, Some(&plan.namespace));
    let original = configs.get("gardener-node-agent-pool-original").await.unwrap();
    assert_eq!(original.data["spec"]["inPlaceUpdates"]["operatingSystemVersion"], "1.1.0");
    gardenlet.play(&mut plan, Phase::ForceDelete).await.unwrap_or_else(|stuck| panic!("{stuck}"));
    bed.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_without_end_fails_with_the_rule_that_is_not_met() {
    let bed = start_bed().await;
    let client = bed.client();
    let (sender, mut reports) = unbounded_channel();
    let gardenlet = Gardenlet::new(client.clone(), sender, Duration::from_secs(1));
    let mut workerless = plan("57-shoot-workerless.yaml");
    gardenlet.play(&mut workerless, Phase::Create).await.unwrap();
    assert_eq!(received(&mut reports).len(), 0, "a Shoot without workers has no extension objects");

    let mut plan = plan("55-shoot.yaml");
    let stuck = gardenlet.play(&mut plan, Phase::Create).await.unwrap_err();
    assert!(matches!(stuck, Stuck::Waiting { .. }), "{stuck}");
    let message = stuck.to_string();
    assert!(message.starts_with("Infrastructure shoot--dev--shoot/shoot: status.observedGeneration must"), "{message}");
    let reports = received(&mut reports);
    assert!(
        matches!(
            reports.as_slice(),
            [Report { what: Progress::Requested, .. }, Report { what: Progress::Stuck(_), .. }]
        ),
        "{reports:?}"
    );

    let object = &plan.objects()[0].object;
    let written = gardenlet.deploy(object, Some("reconcile")).await.unwrap();
    reconcile(&client, INFRASTRUCTURE, &serde_json::to_value(&written).unwrap()).await.unwrap();
    gardenlet.wait_ready(&written).await.unwrap();
    gardenlet.delete(object).await.unwrap();
    let stuck = gardenlet.wait_deleted(object).await.unwrap_err().to_string();
    assert!(stuck.contains(FINALIZER), "{stuck}");
    bed.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_error_ends_the_flow_and_its_codes_decide_the_state_of_the_shoot() {
    let bed = start_bed().await;
    let client = bed.client();
    let (sender, _) = unbounded_channel();
    let gardenlet = Gardenlet::new(client.clone(), sender, PATIENCE).tolerating(|_| Duration::from_millis(300));
    let plan = plan("55-shoot.yaml");
    for (code, state) in [("ERR_INFRA_QUOTA_EXCEEDED", "Failed"), ("ERR_INFRA_RESOURCES_DEPLETED", "Error")] {
        let infrastructures = api(&client, INFRASTRUCTURE, Some(&plan.namespace));
        // Fails until the flow has created the Infrastructure.
        let report_error = async {
            let status = json!({"status": {"lastError": {"description": "no", "codes": [code]}}});
            let params = PatchParams::default();
            while infrastructures.patch_status(plan.name(), &params, &Patch::Merge(&status)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let mut playing = plan.clone();
        let (played, ()) = tokio::join!(gardenlet.play(&mut playing, Phase::Create), report_error);
        let stuck = played.unwrap_err();
        assert!(matches!(stuck, Stuck::GaveUp { shoot, .. } if shoot == state), "{stuck}");
        let cluster = api(&client, "Cluster", None).get(&plan.namespace).await.unwrap();
        assert_eq!(cluster.data["spec"]["shoot"]["status"]["lastOperation"]["state"], state);
    }
    bed.stop().await.unwrap();
}
