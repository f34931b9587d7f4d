//! The stand-in for gardenlet against a real API server and an extension that these tests play.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

mod extension;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{self, Write as _};
use std::time::Duration;

use extension_contract::{GROUP, OPERATION_ANNOTATION, VERSION, kinds, whole_seconds};
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::workspace::root;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{Timestamp, ToSpan};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use mock_gardenlet::shoot::{Landscape, Planned, ShootPlan};
use mock_gardenlet::{Gardenlet, Phase, Progress, Report, Stuck};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use self::extension::{play_extension, reconcile};

const INFRASTRUCTURE: &str = kinds::INFRASTRUCTURE.name;
const CONTROL_PLANE: &str = kinds::CONTROL_PLANE.name;
const OPERATING_SYSTEM_CONFIG: &str = kinds::OPERATING_SYSTEM_CONFIG.name;
const NETWORK: &str = kinds::NETWORK.name;
const WORKER: &str = kinds::WORKER.name;
const BACKUP_BUCKET: &str = kinds::BACKUP_BUCKET.name;
const BACKUP_ENTRY: &str = kinds::BACKUP_ENTRY.name;

/// The example Shoot's objects, in an order in which they may become ready.
const OBJECTS: [&str; 6] =
    [INFRASTRUCTURE, CONTROL_PLANE, OPERATING_SYSTEM_CONFIG, OPERATING_SYSTEM_CONFIG, NETWORK, WORKER];
/// Which object becomes ready before which.
const READY: [(&str, &str); 4] = [
    (INFRASTRUCTURE, CONTROL_PLANE),
    (CONTROL_PLANE, OPERATING_SYSTEM_CONFIG),
    (OPERATING_SYSTEM_CONFIG, NETWORK),
    (OPERATING_SYSTEM_CONFIG, WORKER),
];
/// Which object is gone before which.
const GONE: [(&str, &str); 4] = [
    (WORKER, OPERATING_SYSTEM_CONFIG),
    (OPERATING_SYSTEM_CONFIG, CONTROL_PLANE),
    (NETWORK, CONTROL_PLANE),
    (CONTROL_PLANE, INFRASTRUCTURE),
];
/// The reports of a migration: each object is migrated and gone, except that gardenlet does not wait for the
/// migration of a ControlPlane.
const MIGRATED: usize = 2 * OBJECTS.len() - 1;

const BEFORE: &str = "Extension mock-before-kube-apiserver";

/// Which object of the Shoot with extensions becomes ready before which.
const READY_WITH_ALL: [(&str, &str); 11] = [
    ("Infrastructure full", "DNSRecord full-internal"),
    ("Infrastructure full", "DNSRecord full-external"),
    ("Infrastructure full", BEFORE),
    (BEFORE, "ControlPlane full"),
    (BEFORE, "ContainerRuntime mock-pool"),
    ("DNSRecord full-internal", "Extension mock"),
    ("Extension mock", "Network full"),
    ("ControlPlane full", "Worker full"),
    ("Worker full", "DNSRecord full-ingress"),
    ("Extension mock-after-worker", "DNSRecord full-ingress"),
    ("Worker full", "Bastion full-ssh"),
];
/// Which of its objects leaves the seed before which. The lifecycle of all its Extensions is the default.
const LEFT_WITH_ALL: [(&str, &str); 5] = [
    ("Bastion full-ssh", "Worker full"),
    ("ContainerRuntime mock-pool", "ControlPlane full"),
    ("Extension mock", "ControlPlane full"),
    ("ControlPlane full", "Infrastructure full"),
    ("ControlPlane full", "DNSRecord full-ingress"),
];
/// Which of its objects is gone before which.
const GONE_WITH_ALL: [(&str, &str); 8] = [
    ("Bastion full-ssh", "Worker full"),
    ("Worker full", "Extension mock"),
    ("ContainerRuntime mock-pool", "Infrastructure full"),
    ("Extension mock", "Infrastructure full"),
    ("ControlPlane full", BEFORE),
    ("DNSRecord full-ingress", "DNSRecord full-internal"),
    ("DNSRecord full-external", "DNSRecord full-internal"),
    ("Infrastructure full", "DNSRecord full-internal"),
];

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

fn landscape(file: &str) -> Landscape {
    Landscape::example(&root().join("example").join(file)).unwrap_or_else(|error| panic!("{error}"))
}

fn plan(file: &str) -> ShootPlan {
    landscape(file).plan(None)
}

fn entry_name(entry: &Planned) -> String {
    format!("{} {}", entry.kind, entry.name)
}

fn received(reports: &mut UnboundedReceiver<Report>) -> Vec<Report> {
    std::iter::from_fn(|| reports.try_recv().ok()).collect()
}

/// The reports that an object became ready or is gone.
fn is_end(report: &Report) -> bool {
    matches!(report.what, Progress::Ready(_) | Progress::Gone(_))
}

/// The kinds of the objects that became ready or are gone, in the order of the reports.
fn finished(reports: &[Report]) -> Vec<&'static str> {
    reports.iter().filter(|report| is_end(report)).map(|report| report.kind).collect()
}

/// Kind and name of the objects that became ready or are gone, in the order of the reports.
fn named(reports: &[Report]) -> Vec<String> {
    reports.iter().filter(|report| is_end(report)).map(|report| format!("{} {}", report.kind, report.name)).collect()
}

fn assert_order(finished: &[impl AsRef<str> + Debug], order: &[(&str, &str)], phase: Phase) {
    for (first, then) in order {
        let last = finished.iter().rposition(|object| object.as_ref() == *first);
        let next = finished.iter().position(|object| object.as_ref() == *then);
        assert!(last.is_some() && last < next, "{phase}: {first:?} comes before {then:?}, but {finished:?}");
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
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
        assert_eq!(sorted(finished(&reports)), sorted(OBJECTS.to_vec()), "{phase}");
        assert_order(&finished(&reports), &READY, phase);
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
            Phase::Restore => assert_order(&finished, &READY, phase),
            _ => {
                // gardenlet deploys the ControlPlane again, to clean up.
                assert_eq!(finished[0], CONTROL_PLANE);
                assert_order(&finished[1..], &GONE, phase);
            }
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
async fn a_shoot_with_dns_backups_runtimes_and_extensions_goes_through_all_phases_with_its_seed() {
    let bed = start_bed().await;
    let client = bed.client();
    let _extension = play_extension(&client);
    let (sender, mut reports) = unbounded_channel();
    let gardenlet = Gardenlet::new(client.clone(), sender, PATIENCE);
    let landscape = landscape("58-shoot-extensions.yaml").of_kinds(kinds::ALL.iter().map(|kind| kind.name).collect());
    let (seed, mut plan) = (landscape.seed(None), landscape.plan(None));
    gardenlet.play_seed(&seed, Phase::Create).await.unwrap_or_else(|stuck| panic!("{stuck}"));
    assert_eq!(finished(&received(&mut reports)).len(), 3);
    let entry = plan.objects().into_iter().find(|planned| planned.kind == BACKUP_ENTRY).unwrap();
    let names = |plan: &ShootPlan| sorted(plan.objects().iter().map(|o| format!("{} {}", o.kind, o.name)).collect());
    let is_dns = |name: &String| name.starts_with("DNSRecord");

    let mut go_through = async |plan: &mut ShootPlan, phase| {
        gardenlet.play(plan, phase).await.unwrap_or_else(|stuck| panic!("{phase}: {stuck}"));
        let reports = received(&mut reports);
        let of = |is_meant: fn(&Report) -> bool| {
            let meant = reports.iter().filter(|report| is_meant(report));
            meant.map(|report| format!("{} {}", report.kind, report.name)).collect::<BTreeSet<_>>()
        };
        assert_eq!(of(|_| true), of(is_end), "{phase}: what gardenlet leaves alone is not reported");
        named(&reports)
    };
    let created = go_through(&mut plan, Phase::Create).await;
    assert_eq!(sorted(created.clone()), names(&plan));
    assert_order(&created, &READY_WITH_ALL, Phase::Create);
    assert_order(&created, &[(entry_name(&entry).as_str(), "ControlPlane full")], Phase::Create);
    let extensions = api(&client, BACKUP_ENTRY, None).get(&entry.name).await.unwrap();
    assert_eq!(extensions.data["spec"]["backupBucketProviderStatus"], json!({"id": "bucket"}));
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "garden");
    let secret = secrets.get(&format!("entry-{}", entry.name)).await.unwrap();
    assert!(secret.data.unwrap().contains_key("key"), "a copy of the generated Secret");

    let untouched = |reports: &[String]| !reports.iter().any(|name| name.starts_with("BackupEntry"));
    let reconciled = go_through(&mut plan, Phase::Reconcile).await;
    assert!(untouched(&reconciled), "gardenlet takes the old success of a BackupEntry: {reconciled:?}");
    let hibernated = go_through(&mut plan, Phase::Hibernate).await;
    assert!(untouched(&hibernated));
    let last = hibernated.iter().rposition(|name| name == "Worker full").unwrap();
    for name in ["DNSRecord full-internal", "DNSRecord full-external", "DNSRecord full-ingress", BEFORE] {
        assert!(hibernated.iter().position(|other| other == name).unwrap() > last, "{name}: {hibernated:?}");
    }
    assert!(
        api(&client, "DNSRecord", Some(&plan.namespace)).list(&ListParams::default()).await.unwrap().items.is_empty()
    );
    let woken = go_through(&mut plan, Phase::Wake).await;
    assert_eq!(woken.iter().filter(|name| is_dns(name)).count(), 3, "{woken:?}");

    let left = go_through(&mut plan, Phase::Migrate).await;
    assert_order(&left, &LEFT_WITH_ALL, Phase::Migrate);
    assert_order(&left, &[("Infrastructure full", entry_name(&entry).as_str())], Phase::Migrate);
    // Each object is migrated and gone, except that a ControlPlane's migration is not awaited, and that a Bastion and an
    // exposure do not migrate.
    assert_eq!(left.len(), 2 * names(&plan).len() - 3, "{left:?}");
    assert_eq!(sorted(go_through(&mut plan, Phase::Restore).await), names(&plan));

    let gone = go_through(&mut plan, Phase::Delete).await;
    assert_order(&gone, &GONE_WITH_ALL, Phase::Delete);
    assert_eq!(gone.last(), Some(&entry_name(&entry)), "the backups outlive the Shoot");
    assert!(secrets.get_opt(&format!("entry-{}", entry.name)).await.unwrap().is_none());
    for kind in kinds::ALL {
        let left = api(&client, kind.name, None).list(&ListParams::default()).await.unwrap().items;
        let is_of_seed = |object: &DynamicObject| object.metadata.namespace.as_deref() == Some("garden");
        assert!(kind.name == BACKUP_BUCKET || left.iter().all(is_of_seed), "{left:?}");
    }

    gardenlet.play(&mut plan, Phase::Create).await.unwrap();
    gardenlet.play(&mut plan, Phase::ForceDelete).await.unwrap_or_else(|stuck| panic!("{stuck}"));
    gardenlet.play_seed(&seed, Phase::Delete).await.unwrap_or_else(|stuck| panic!("{stuck}"));
    for kind in kinds::ALL {
        assert!(api(&client, kind.name, None).list(&ListParams::default()).await.unwrap().items.is_empty(), "{kind:?}");
    }
    bed.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_gardenlet_does_not_notice_does_not_make_a_bucket_ready() {
    let bed = start_bed().await;
    let client = bed.client();
    let (sender, _) = unbounded_channel();
    let gardenlet = Gardenlet::new(client.clone(), sender, Duration::from_secs(10));
    let seed = landscape("58-shoot-extensions.yaml").of_kinds([BACKUP_BUCKET].into()).seed(None);
    let name = seed.objects().remove(0).name;
    let buckets = api(&client, BACKUP_BUCKET, None);
    // Succeeds while the annotation is there, and removes it afterwards.
    let wrong_order = async {
        let status = json!({"status": {"observedGeneration": 1, "lastOperation": {
            "type": "Create", "state": "Succeeded", "progress": 100, "description": "done",
            "lastUpdateTime": whole_seconds(Timestamp::now() + 5.second()).to_string(),
        }}});
        let params = PatchParams::default();
        while buckets.patch_status(&name, &params, &Patch::Merge(&status)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let done = json!({"metadata": {"annotations": {OPERATION_ANNOTATION: null}}});
        buckets.patch(&name, &params, &Patch::Merge(&done)).await.unwrap();
    };
    let (played, ()) = tokio::join!(gardenlet.play_seed(&seed, Phase::Create), wrong_order);
    let stuck = played.unwrap_err().to_string();
    assert!(stuck.contains("gardenlet must notice the result"), "{stuck}");
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
    reconcile(&client, &kinds::INFRASTRUCTURE, &serde_json::to_value(&written).unwrap()).await.unwrap();
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
