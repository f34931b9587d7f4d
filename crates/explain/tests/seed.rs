//! Every reason on a real API server, read by a user who has only the documented permissions.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use extension_contract::kinds::{self, Kind};
use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, GROUP, OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION, VERSION,
};
use futures::{Stream, StreamExt};
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::manifests::{Mode, apply};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use mock_explain::watch::Change;
use mock_explain::{History, ReadError, Reader, Seed, Watching, explain};
use serde_json::{Value, json};

const NAMESPACE: &str = "shoot--dev--a";
const USER: &str = "reader";
const NOBODY: &str = "nobody";

async fn start_bed() -> TestBed {
    let progress = |step: &str| {
        let _ = writeln!(io::stderr(), "{step}");
    };
    let assets = Assets::locate(&progress).unwrap_or_else(|error| panic!("{error}"));
    let users = vec![USER.to_owned(), NOBODY.to_owned()];
    TestBed::start(&assets, Options { audit: false, users, ..Options::default() }).await.unwrap()
}

/// The permissions in `cargo xtask explain --help`.
fn permissions() -> Vec<PolicyRule> {
    let strings = |strings: &[&str]| strings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| PolicyRule {
        api_groups: Some(strings(&[group])),
        resources: Some(strings(resources)),
        verbs: strings(verbs),
        ..PolicyRule::default()
    };
    vec![
        rule(GROUP, &["*"], &["list", "watch"]),
        rule("", &["namespaces"], &["list", "get"]),
        rule("", &["secrets"], &["get"]),
        rule("coordination.k8s.io", &["leases"], &["list"]),
        rule("apps", &["deployments"], &["list"]),
    ]
}

/// A spec that the kind's CRD accepts.
fn spec(kind: &Kind) -> Value {
    let secret = json!({ "name": "cloudprovider", "namespace": "garden" });
    match kind.name {
        "Network" => json!({ "type": "x", "podCIDR": "10.0.0.0/16", "serviceCIDR": "10.1.0.0/16" }),
        "Worker" => json!({ "type": "x", "region": "r", "secretRef": secret, "pools": [] }),
        "OperatingSystemConfig" => json!({ "type": "x", "purpose": "provision" }),
        "BackupBucket" => json!({ "type": "x", "region": "r", "secretRef": secret }),
        other => panic!("this test has no spec for {other}"),
    }
}

/// Objects on the test bed.
struct World {
    client: Client,
    requested: String,
}

impl World {
    /// The seed of a Shoot, with a Secret of credentials that is newer than any last operation.
    async fn create(client: Client) -> Self {
        let version = format!("{GROUP}/{VERSION}");
        let later = Timestamp::now().checked_add(Duration::from_secs(60)).unwrap().to_string();
        let shoot = json!({ "metadata": { "namespace": "garden-dev", "name": "a" } });
        for object in [
            json!({ "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": NAMESPACE, "labels": { "gardener.cloud/role": "shoot" } } }),
            json!({ "apiVersion": version, "kind": "Cluster", "metadata": { "name": NAMESPACE },
                "spec": { "cloudProfile": {}, "seed": {}, "shoot": shoot } }),
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "garden", "name": "cloudprovider",
                "annotations": { TIMESTAMP_ANNOTATION: later } } }),
        ] {
            apply(&client, &object, Mode::Apply).await.unwrap();
        }
        Self { client, requested: Timestamp::now().to_string() }
    }

    fn api(&self, kind: &Kind) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind.name));
        if kind.namespaced {
            Api::namespaced_with(self.client.clone(), NAMESPACE, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    /// Creates an object that is ready, and then patches its status. `annotations` come in addition to a timestamp.
    async fn put(&self, kind: &Kind, name: &str, annotations: &Value, status: &Value) {
        let mut metadata = json!({ "name": name, "annotations": { TIMESTAMP_ANNOTATION: self.requested },
            "finalizers": ["extensions.gardener.cloud/x"] });
        if kind.namespaced {
            metadata.as_object_mut().unwrap().insert("namespace".to_owned(), NAMESPACE.into());
        }
        let all = metadata.pointer_mut("/annotations").and_then(Value::as_object_mut).unwrap();
        all.extend(annotations.as_object().unwrap().clone());
        let version = format!("{GROUP}/{VERSION}");
        let object = json!({ "apiVersion": version, "kind": kind.name, "metadata": metadata, "spec": spec(kind) });
        apply(&self.client, &object, Mode::Apply).await.unwrap();
        let last = json!({ "type": "Create", "state": "Succeeded", "progress": 100, "description": "done",
            "lastUpdateTime": self.requested });
        for status in [&json!({ "observedGeneration": 1, "lastOperation": last }), status] {
            let patch = Patch::Merge(json!({ "status": status }));
            self.api(kind).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
        }
    }

    async fn patch(&self, kind: &Kind, name: &str, metadata: Value) {
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        self.api(kind).patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn delete(&self, kind: &Kind, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }
}

/// The unmet rule of each object, by kind and name. Empty if the object is ready.
fn rules(seed: &Seed) -> BTreeMap<String, &'static str> {
    let explained = seed.objects.iter().map(|found| explain(found, seed, &History::default(), &[], Timestamp::now()));
    let rule = |explained: mock_explain::Explanation| {
        (format!("{} {}", explained.kind, explained.name), explained.waits.map_or("", |waits| waits.rule))
    };
    explained.map(rule).collect()
}

/// One object for each reason that a single look can find.
async fn put_all(world: &World) {
    let (network, none, early) = (&kinds::NETWORK, json!({}), "2026-01-01T00:00:00Z");
    let asked = |operation: &str| json!({ OPERATION_ANNOTATION: operation });
    let reference = json!({ "cloudConfig": { "secretRef": { "namespace": NAMESPACE, "name": "gone" } } });
    let failed = json!({ "lastError": { "description": "no room", "codes": ["ERR_INFRA_QUOTA_EXCEEDED"] } });
    for (kind, name, annotations, status) in [
        (network, "ready", &none, &none),
        (network, "last-error", &none, &failed),
        (network, "observed-generation", &none, &json!({ "observedGeneration": 0 })),
        (network, "operation", &asked("reconcile"), &none),
        (network, "no-last-operation", &none, &json!({ "lastOperation": null })),
        (network, "state", &none, &json!({ "lastOperation": { "state": "Processing" } })),
        (network, "unreadable-timestamp", &json!({ TIMESTAMP_ANNOTATION: "today" }), &none),
        (network, "outdated", &none, &json!({ "lastOperation": { "lastUpdateTime": early } })),
        (network, "not-migrated", &asked("migrate"), &none),
        (network, "still-there", &none, &none),
        (&kinds::WORKER, "none", &none, &none),
        (&kinds::WORKER, "old", &none, &json!({ "machineDeploymentsLastUpdateTime": early })),
        (&kinds::OPERATING_SYSTEM_CONFIG, "no-user-data", &none, &none),
        (&kinds::OPERATING_SYSTEM_CONFIG, "no-secret", &none, &reference),
        (&kinds::BACKUP_BUCKET, "old", &none, &none),
    ] {
        world.put(kind, name, annotations, status).await;
    }
    world.delete(network, "still-there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_is_found_on_a_real_api_server_with_the_documented_permissions() {
    let bed = start_bed().await;
    let world = World::create(bed.client()).await;
    bed.grant(USER, permissions()).await.unwrap();
    let reader = Reader::new(bed.client_for(USER).await.unwrap(), None);
    put_all(&world).await;

    assert_eq!(reader.find("dev/a").await.unwrap(), NAMESPACE);
    let seed = reader.read(None).await.unwrap();
    assert_eq!(seed.unread, Vec::<String>::new());
    let expected = [
        ("BackupBucket old", "OlderThanCredentials"),
        ("Network last-error", "LastError"),
        ("Network no-last-operation", "NoLastOperation"),
        ("Network not-migrated", "NotMigrated"),
        ("Network observed-generation", "ObservedGeneration"),
        ("Network operation", "Operation"),
        ("Network outdated", "Outdated"),
        ("Network ready", ""),
        ("Network state", "State"),
        ("Network still-there", "StillThere"),
        ("Network unreadable-timestamp", "UnreadableTimestamp"),
        ("OperatingSystemConfig no-secret", "NoSecret"),
        ("OperatingSystemConfig no-user-data", "NoUserData"),
        ("Worker none", "NoMachineDeployments"),
        ("Worker old", "MachineDeployments"),
    ];
    assert_eq!(rules(&seed), expected.map(|(object, rule)| (object.to_owned(), rule)).into());
    let of_shoot = reader.read(Some(NAMESPACE)).await.unwrap();
    assert_eq!(rules(&of_shoot).len(), expected.len() - 1, "the bucket is of no BackupEntry of the Shoot");

    let unknown = reader.find("dev/b").await.unwrap_err().to_string();
    assert!(unknown.ends_with("did you mean dev/a?"), "{unknown}");
    let nobody = Reader::new(bed.client_for(NOBODY).await.unwrap(), None);
    assert!(matches!(nobody.read(None).await, Err(ReadError::Forbidden)));
    bed.stop().await.unwrap();
}

/// Returns when a cluster cannot be read for this reason.
async fn until_unread(reader: &Reader, expected: impl Fn(&ReadError) -> bool) {
    let mut last = String::new();
    let unread = async {
        loop {
            let (read, found) = (reader.read(None).await.err(), reader.find("dev/a").await.err());
            last = format!("{read:?}, {found:?}");
            if read.is_some_and(|error| expected(&error)) && found.is_some_and(|error| expected(&error)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), unread).await;
    assert!(ended.is_ok(), "the last errors are {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_without_extension_kinds_is_no_seed_or_a_garden_and_without_registrations_no_garden() {
    let bed = start_bed().await;
    let reader = Reader::new(bed.client(), Some(bed.client()));
    let seed = reader.read(None).await.unwrap();
    assert_eq!(seed.unread, ["the garden: this cluster has no such objects"]);

    let definitions: Api<CustomResourceDefinition> = Api::all(bed.client());
    definitions.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    // The API server serves the kinds a moment longer.
    until_unread(&reader, |error| matches!(error, ReadError::NoSeed)).await;

    let names = json!({ "kind": "Shoot", "plural": "shoots" });
    let schema = json!({ "openAPIV3Schema": { "type": "object" } });
    let version = json!({ "name": "v1beta1", "served": true, "storage": true, "schema": schema });
    let of_garden = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "shoots.core.gardener.cloud" },
        "spec": { "group": "core.gardener.cloud", "scope": "Namespaced", "names": names, "versions": [version] },
    });
    apply(&bed.client(), &of_garden, Mode::Apply).await.unwrap();
    until_unread(&reader, |error| matches!(error, ReadError::Garden)).await;
    bed.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_finds_the_reasons_that_need_a_past() {
    let bed = start_bed().await;
    let world = World::create(bed.client()).await;
    bed.grant(USER, permissions()).await.unwrap();
    let reader = Reader::new(bed.client_for(USER).await.unwrap(), None);
    let (network, bucket, none) = (&kinds::NETWORK, &kinds::BACKUP_BUCKET, json!({}));
    // Otherwise the bucket would have to be reconciled again.
    Api::<Secret>::namespaced(bed.client(), "garden").delete("cloudprovider", &DeleteParams::default()).await.unwrap();
    let (mut watching, mut changes) = (Watching::default(), reader.watch(None));
    for (kind, name) in [(network, "gone"), (network, "stripped"), (network, "deleted"), (bucket, "unnoticed")] {
        world.put(kind, name, &none, &none).await;
    }
    until(&mut watching, &mut changes, |watching| watching.objects(None).len() == 4).await;

    let request = json!({ OPERATION_ANNOTATION: "reconcile", TIMESTAMP_ANNOTATION: Timestamp::now().to_string() });
    let stripped = json!({ OPERATION_ANNOTATION: null, TIMESTAMP_ANNOTATION: null });
    world.patch(network, "stripped", json!({ "annotations": request })).await;
    world.patch(network, "stripped", json!({ "annotations": stripped })).await;
    // The status says Succeeded before and after the annotation goes, so nothing wakes gardenlet.
    world.patch(bucket, "unnoticed", json!({ "annotations": request })).await;
    world.patch(bucket, "unnoticed", json!({ "annotations": { OPERATION_ANNOTATION: null } })).await;
    world.patch(network, "gone", json!({ "finalizers": null })).await;
    world.delete(network, "gone").await;
    world.patch(network, "deleted", json!({ "annotations": { DELETION_CONFIRMATION_ANNOTATION: "true" } })).await;
    world.delete(network, "deleted").await;
    world.patch(network, "deleted", json!({ "finalizers": null })).await;

    let seed = reader.read(None).await.unwrap();
    let rules = |watching: &Watching| -> BTreeMap<_, _> {
        let seed = Seed { objects: watching.objects(None), ..seed.clone() };
        let explained = watching.explain(&seed, &[], Timestamp::now()).into_iter();
        explained.map(|explained| (explained.name, explained.waits.map_or("", |waits| waits.rule))).collect()
    };
    let expected = [("gone", "Absent"), ("stripped", "Timestamp"), ("unnoticed", "Unnoticed")];
    let expected = expected.map(|(name, rule)| (name.to_owned(), rule)).into();
    until(&mut watching, &mut changes, |watching| rules(watching) == expected).await;
    bed.stop().await.unwrap();
}

/// Notes events until a condition holds. Fails after 30 s.
async fn until(
    watching: &mut Watching,
    changes: &mut (impl Stream<Item = Change> + Unpin),
    holds: impl Fn(&Watching) -> bool,
) {
    let start = Instant::now();
    while !holds(watching) {
        let left = Duration::from_secs(30).saturating_sub(start.elapsed());
        let change = tokio::time::timeout(left, changes.next()).await;
        let Ok(Some((kind, event))) = change else { panic!("not in time: {watching:?}") };
        watching.apply(kind, event.unwrap());
    }
}
