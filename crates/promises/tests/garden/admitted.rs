//! Shoots as gardener-apiserver admits them: the kept answers for the examples, and users' manifests.

use std::fs;

use gardener_testbed::assets::{self, Assets};
use mock_core::script::SCRIPT_ANNOTATION;
use mock_gardenlet::shoot::kept::{self, KEPT_FILE};
use mock_gardenlet::shoot::{Garden, Manifests, ShootPlan};
use serde_json::{Value, json};

use crate::world::{RUNTIME, files, progress, root};

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
fn manifests_of_users_are_defaulted_as_in_a_real_garden() {
    let filled = [VERSIONS, IMAGES, MACHINES].concat();
    let expired = "
  kubernetes:
    versions:
    - {version: 1.36.0, lifecycle: [{classification: preview}, {classification: supported, startTime: '2099-01-01T00:00:00Z'}]}
    - {version: 1.35.4, expirationDate: '2025-11-30T00:00:00Z'}
    - {version: 1.34.7}
  machineImages: [{name: os, versions: [{version: 3.0.0, expirationDate: '2025-01-01T00:00:00Z'}, {version: 1.5.0}]}]";
    let capable = "
  machineCapabilities: [{name: architecture, values: [amd64, arm64]}]
  machineImages:
  - name: os
    versions:
    - {version: 2.0.0, capabilityFlavors: [{architecture: [amd64]}]}
    - {version: 1.0.0, capabilityFlavors: [{architecture: [arm64]}]}
  machineTypes: [{name: small, cpu: '2', gpu: '0', memory: 8Gi, capabilities: {architecture: [arm64]}}]
  regions: [{name: nowhere}]";
    let namespaced = "
apiVersion: core.gardener.cloud/v1beta1
kind: NamespacedCloudProfile
metadata: {name: mine, namespace: garden-dev}
spec:
  parent: {kind: CloudProfile, name: namespaced}
  machineTypes: [{name: own, cpu: '3', gpu: '0', memory: 8Gi}]
---";
    let exported = "metadata: {uid: abc, resourceVersion: '7', finalizers: [gardener],";
    let profile = |name: &str| format!("  cloudProfile: {{name: {name}}}");
    let cases: Vec<(&str, String, String, Vec<(&str, Value)>)> = vec![
        (
            "old",
            shoot("old", "  cloudProfileName: old\n  kubernetes: {version: '1.33'}", WORKER),
            cloudprofile("old", &["\n  kubernetes: {versions: [{version: 1.33.11}]}", IMAGES, MACHINES].concat()),
            vec![("/spec/cloudProfile", json!({"kind": "CloudProfile", "name": "old"}))],
        ),
        (
            "zones",
            shoot("zones", &profile("zones"), WORKER),
            cloudprofile("zones", &filled),
            vec![("/spec/provider/workers/0/zones", Value::Null)],
        ),
        (
            "stages",
            shoot("stages", &profile("stages"), WORKER),
            cloudprofile("stages", &[expired, MACHINES].concat()),
            vec![
                ("/spec/kubernetes/version", json!("1.34.7")),
                ("/spec/provider/workers/0/machine/image/version", json!("1.5.0")),
            ],
        ),
        (
            "minor",
            shoot("minor", &profile("minor"), &WORKER.replace("{name: a,", "{name: a, kubernetes: {version: '1.34'},")),
            cloudprofile("minor", &filled),
            vec![("/spec/provider/workers/0/kubernetes/version", json!("1.34.7"))],
        ),
        (
            "six",
            shoot("six", &profile("six"), &WORKER.replace("nodes: 10.10.0.0/16", "ipFamilies: [IPv6]")),
            cloudprofile("six", &filled),
            vec![("/spec/networking", json!({"type": "mock", "ipFamilies": ["IPv6"]}))],
        ),
        (
            "capable",
            shoot("capable", &profile("capable"), WORKER),
            cloudprofile("capable", &[VERSIONS, capable].concat()),
            vec![(
                "/spec/provider/workers/0/machine",
                json!({"type": "small", "architecture": "arm64", "image": {"name": "os", "version": "1.0.0"}}),
            )],
        ),
        (
            "mine",
            shoot(
                "mine",
                "  cloudProfile: {kind: NamespacedCloudProfile, name: mine}",
                &WORKER.replace("type: small", "type: own"),
            ),
            cloudprofile("namespaced", &filled) + namespaced,
            vec![("/spec/provider/workers/0/machine/architecture", json!("amd64"))],
        ),
        (
            "exported",
            shoot("exported", &profile("exported"), WORKER).replacen("metadata: {", exported, 1),
            cloudprofile("exported", &filled).replacen("metadata: {", exported, 1),
            vec![("/metadata/finalizers", Value::Null)],
        ),
    ];
    RUNTIME.block_on(async {
        let mut garden = start(true).await;
        for (name, shoot, cloudprofile, expected) in cases {
            let plan = plan(&mut garden, &(shoot + &cloudprofile)).await.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(plan.namespace, format!("shoot--dev--{name}"));
            for (path, value) in expected {
                assert_eq!(*plan.shoot.pointer(path).unwrap_or(&Value::Null), value, "{name}: {path}");
            }
            if name == "mine" {
                assert_eq!(plan.cloudprofile["kind"], "CloudProfile");
                let machines = plan.cloudprofile["spec"]["machineTypes"].as_array().unwrap();
                assert_eq!(machines.len(), 2, "{machines:?}");
                let pool = &plan.objects().pop().unwrap().object["spec"]["pools"][0];
                assert_eq!(pool["nodeTemplate"]["capacity"]["cpu"], "3");
            }
        }
    });
}

#[test]
fn refusal_names_the_file_the_object_and_the_reason_of_gardener_apiserver() {
    let filled = cloudprofile("refused", &[VERSIONS, IMAGES, MACHINES].concat());
    let spec = |from: &str, to: &str| WORKER.replacen(from, to, 1);
    let head = "  cloudProfile: {name: refused}";
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
    RUNTIME.block_on(async {
        let mut garden = start(false).await;
        for (shoot, expected) in cases {
            let Err(error) = plan(&mut garden, &(shoot.clone() + &filled)).await else { panic!("accepted: {shoot}") };
            assert!(error.contains("shoot.yaml: ") && error.contains(expected), "{expected}: {error}");
        }
    });
}

async fn plan(garden: &mut Garden, manifests: &str) -> Result<ShootPlan, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shoot.yaml");
    fs::write(&file, manifests).unwrap();
    let seed = root().join("example/40-seed.yaml");
    let manifests = Manifests::read(&file, None, Some(&seed), None).map_err(|error| error.to_string())?;
    let admitted = garden.admit(&manifests, &progress).await.map_err(|error| error.to_string())?;
    Ok(admitted.plan(None))
}

fn shoot(name: &str, head: &str, rest: &str) -> String {
    SHOOT.replace("NAME", name).replace("SPEC", &[head, rest].concat())
}

fn cloudprofile(name: &str, spec: &str) -> String {
    CLOUDPROFILE.replace("NAME", name).replace("SPEC", spec)
}

async fn start(with_controller_manager: bool) -> Garden {
    let assets = Assets::locate(&progress).unwrap();
    let apiserver = assets::gardener_apiserver(&progress).unwrap();
    let manager = with_controller_manager.then(|| assets::gardener_controller_manager(&progress).unwrap());
    Garden::start(&assets, &apiserver, manager.as_deref()).await.unwrap()
}
