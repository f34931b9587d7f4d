//! Shoots as gardener-apiserver admits them: the kept answers for the examples, and users' manifests.

use std::fs;
use std::sync::LazyLock;

use gardener_testbed::assets::{self, Assets};
use gardener_testbed::workspace::root;
use mock_core::script::SCRIPT_ANNOTATION;
use mock_gardenlet::shoot::kept::{self, KEPT_FILE};
use mock_gardenlet::shoot::{Garden, Manifests, ShootPlan};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::world::{RUNTIME, files, progress};

/// Writes the answers instead of comparing them.
const KEEP: &str = "MOCK_KEEP";

/// A Shoot; `NAME` and `SPEC` are placeholders.
const SHOOT: &str = "
apiVersion: core.gardener.cloud/v1beta1
kind: Shoot
metadata: {name: NAME, namespace: garden-dev}
spec:
  region: nowhere
SPEC
---
";

/// A `CloudProfile`; `NAME` and `SPEC` are placeholders.
const CLOUDPROFILE: &str = "
apiVersion: core.gardener.cloud/v1beta1
kind: CloudProfile
metadata: {name: NAME}
spec:
  type: mock
SPEC
---
";

/// One garden for the tests of users' manifests. It ends with this process.
static GARDEN: LazyLock<Mutex<Garden>> = LazyLock::new(|| Mutex::new(RUNTIME.block_on(start(true))));

const WORKER: &str = "
  networking: {type: mock, nodes: 10.10.0.0/16}
  provider: {type: mock, workers: [{name: a, machine: {type: small}, minimum: 1, maximum: 1}]}";
const VERSIONS: &str = "
  kubernetes: {versions: [{version: 1.35.4}, {version: 1.34.7}]}";
const IMAGES: &str = "
  machineImages: [{name: os, versions: [{version: 1.0.0}]}]";
const MACHINES: &str = "
  machineTypes: [{name: small, cpu: '2', gpu: '0', memory: 8Gi}]
  regions: [{name: nowhere, zones: [{name: '1'}, {name: '2'}]}]";

const OLD: &str = "
  kubernetes: {versions: [{version: 1.33.11}]}";
const STAGES: &str = "
  kubernetes:
    versions:
    - {version: 1.36.0, lifecycle: [{classification: preview}, {classification: supported, startTime: '2099-01-01T00:00:00Z'}]}
    - {version: 1.35.4, expirationDate: '2025-11-30T00:00:00Z'}
    - {version: 1.34.7}
  machineImages: [{name: os, versions: [{version: 3.0.0, expirationDate: '2025-01-01T00:00:00Z'}, {version: 1.5.0}]}]";
const CAPABLE: &str = "
  machineCapabilities: [{name: architecture, values: [amd64, arm64]}]
  machineImages:
  - name: os
    versions:
    - {version: 2.0.0, capabilityFlavors: [{architecture: [amd64]}]}
    - {version: 1.0.0, capabilityFlavors: [{architecture: [arm64]}]}
  machineTypes: [{name: small, cpu: '2', gpu: '0', memory: 8Gi, capabilities: {architecture: [arm64]}}]
  regions: [{name: nowhere}]";
const MINE: &str = "
---
apiVersion: core.gardener.cloud/v1beta1
kind: NamespacedCloudProfile
metadata: {name: mine, namespace: garden-dev}
spec:
  parent: {kind: CloudProfile, name: parent}
  machineTypes: [{name: own, cpu: '3', gpu: '0', memory: 8Gi}]";

/// The demo, the benchmark and the tests play these answers.
#[test]
fn kept_answers_for_the_examples_are_those_of_gardener_apiserver() {
    let shoots = files("example").into_iter().filter(|file| file.to_string_lossy().contains("-shoot"));
    let answers = RUNTIME.block_on(async {
        // Without gardener-controller-manager, which writes into CloudProfile and Seed at any time.
        let mut garden = start(false).await;
        let mut answers = Vec::new();
        for file in shoots {
            let manifests = Manifests::read(&file, None, None, None).unwrap();
            let admitted = garden.admit(&manifests, &progress).await.unwrap();
            answers.push((manifests, admitted));
        }
        kept::render(&answers, SCRIPT_ANNOTATION)
    });
    let file = root().join("crates/gardenlet").join(KEPT_FILE);
    if std::env::var_os(KEEP).is_some() {
        fs::write(&file, &answers).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept == answers, "{} is stale: run this test with {KEEP}=1\n{answers}", file.display());
}

#[test]
fn cloud_profile_name_is_read_as_a_reference() {
    let plan =
        planned("old", "cloudProfileName: old\n  kubernetes: {version: '1.33'}", WORKER, &[OLD, IMAGES, MACHINES]);
    assert_eq!(plan.shoot["spec"]["cloudProfile"], json!({"kind": "CloudProfile", "name": "old"}));
    assert_eq!(plan.shoot["spec"]["kubernetes"]["version"], "1.33.11");
}

#[test]
fn pool_without_zones_has_none() {
    let plan = planned("zones", "cloudProfile: {name: zones}", WORKER, &[VERSIONS, IMAGES, MACHINES]);
    assert_eq!(plan.shoot["spec"]["provider"]["workers"][0]["zones"], Value::Null);
}

#[test]
fn preview_and_expired_versions_are_no_defaults() {
    let plan = planned("stages", "cloudProfile: {name: stages}", WORKER, &[STAGES, MACHINES]);
    assert_eq!(plan.shoot["spec"]["kubernetes"]["version"], "1.34.7");
    assert_eq!(plan.shoot["spec"]["provider"]["workers"][0]["machine"]["image"]["version"], "1.5.0");
}

#[test]
fn minor_version_of_a_pool_is_completed() {
    let worker = WORKER.replace("{name: a,", "{name: a, kubernetes: {version: '1.34'},");
    let plan = planned("minor", "cloudProfile: {name: minor}", &worker, &[VERSIONS, IMAGES, MACHINES]);
    assert_eq!(plan.objects().pop().unwrap().object["spec"]["pools"][0]["kubernetesVersion"], "1.34.7");
}

#[test]
fn shoot_gets_no_network_of_a_family_that_it_does_not_have() {
    let worker = WORKER.replace("nodes: 10.10.0.0/16", "ipFamilies: [IPv6]");
    let plan = planned("six", "cloudProfile: {name: six}", &worker, &[VERSIONS, IMAGES, MACHINES]);
    assert_eq!(plan.shoot["spec"]["networking"], json!({"type": "mock", "ipFamilies": ["IPv6"]}));
}

#[test]
fn image_and_architecture_follow_from_capabilities() {
    let plan = planned("capable", "cloudProfile: {name: capable}", WORKER, &[VERSIONS, CAPABLE]);
    let expected = json!({"type": "small", "architecture": "arm64", "image": {"name": "os", "version": "1.0.0"}});
    assert_eq!(plan.shoot["spec"]["provider"]["workers"][0]["machine"], expected);
}

#[test]
fn namespaced_cloud_profile_is_merged_with_its_parent() {
    let reference = "cloudProfile: {kind: NamespacedCloudProfile, name: mine}";
    let plan =
        planned("parent", reference, &WORKER.replace("type: small", "type: own"), &[VERSIONS, IMAGES, MACHINES, MINE]);
    assert_eq!(plan.cloudprofile["kind"], "CloudProfile");
    assert_eq!(plan.cloudprofile["spec"]["machineTypes"].as_array().unwrap().len(), 2);
    let pool = &plan.objects().pop().unwrap().object["spec"]["pools"][0];
    assert_eq!(pool["nodeTemplate"]["capacity"]["cpu"], "3");
}

#[test]
fn manifests_that_were_read_from_a_cluster_are_taken_as_new_objects() {
    let manifests = shoot("exported", "cloudProfile: {name: exported}", WORKER)
        + &cloudprofile("exported", &[VERSIONS, IMAGES, MACHINES]);
    let of_a_cluster = "metadata: {uid: abc, resourceVersion: '7', finalizers: [gardener],";
    let plan = plan(&manifests.replace("metadata: {", of_a_cluster)).unwrap();
    assert_eq!(plan.shoot["metadata"]["finalizers"], Value::Null);
}

#[test]
fn shoot_may_ask_for_the_managed_issuer_of_the_garden() {
    let managed = "metadata: {annotations: {authentication.gardener.cloud/issuer: managed},";
    let manifests = shoot("managed", "cloudProfile: {name: managed}", WORKER).replacen("metadata: {", managed, 1)
        + &cloudprofile("managed", &[VERSIONS, IMAGES, MACHINES]);
    plan(&manifests).unwrap();
}

#[test]
fn refusal_names_the_file_the_object_and_the_reason_of_gardener_apiserver() {
    let filled = cloudprofile("refused", &[VERSIONS, IMAGES, MACHINES]);
    let spec = |from: &str, to: &str| WORKER.replacen(from, to, 1);
    let head = "cloudProfile: {name: refused}";
    let cases = [
        (shoot("a", &format!("{head}\n  kubernetes: {{version: 1.30}}"), WORKER), "kubernetes.version of type string"),
        (shoot("a", head, &spec("1}", "1, zones: [1, 2]}")), "workers.zones of type string"),
        (shoot("a", head, &spec("1}", "1, zones: ['3']}")), r#"supported values: "1", "2""#),
        (shoot("a", head, &spec("small", "large")), r#"supported values: "small""#),
        (shoot("a", &format!("{head}\n  colour: red"), WORKER), r#"unknown field "spec.colour""#),
        (shoot("a", head, WORKER).replace("  region: nowhere", ""), "spec.region: Required value"),
        (shoot("a", &head.replace("refused", "nothing"), WORKER), "add what is missing to one of them"),
        (
            shoot("a", head, WORKER) + "{apiVersion: example.org/v1, kind: Thing, metadata: {name: a}}\n---\n",
            "serves no such kind",
        ),
        (shoot("a", head, WORKER).replace("garden-dev", "kube-dev"), "must start with garden-"),
    ];
    for (shoot, expected) in cases {
        let Err(error) = plan(&(shoot.clone() + &filled)) else { panic!("accepted: {shoot}") };
        assert!(error.contains("shoot.yaml: ") && error.contains(expected), "{expected}: {error}");
    }
}

/// The plan of a Shoot whose `CloudProfile` has this name, as the Shoot.
fn planned(name: &str, head: &str, rest: &str, profile: &[&str]) -> ShootPlan {
    let manifests = shoot(name, head, rest) + &cloudprofile(name, profile);
    let plan = plan(&manifests).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plan.namespace, format!("shoot--dev--{name}"));
    plan
}

/// The plan of a Shoot, with the Seed of the examples.
fn plan(manifests: &str) -> Result<ShootPlan, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shoot.yaml");
    fs::write(&file, manifests).unwrap();
    let seed = root().join("example/40-seed.yaml");
    let manifests = Manifests::read(&file, None, Some(&seed), None).map_err(|error| error.to_string())?;
    // The garden starts outside of the runtime.
    let garden = &*GARDEN;
    let admitted = RUNTIME.block_on(async { garden.lock().await.admit(&manifests, &progress).await });
    admitted.map(|admitted| admitted.plan(None)).map_err(|error| error.to_string())
}

fn shoot(name: &str, head: &str, rest: &str) -> String {
    SHOOT.replace("NAME", name).replace("SPEC", &format!("  {head}{rest}"))
}

fn cloudprofile(name: &str, spec: &[&str]) -> String {
    CLOUDPROFILE.replace("NAME", name).replace("SPEC", &spec.concat())
}

async fn start(with_controller_manager: bool) -> Garden {
    let assets = Assets::locate(&progress).unwrap();
    let apiserver = assets::gardener_apiserver(&progress).unwrap();
    let manager = with_controller_manager.then(|| assets::gardener_controller_manager(&progress).unwrap());
    Garden::start(&assets, &apiserver, manager.as_deref()).await.unwrap()
}
