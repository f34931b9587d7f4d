//! Plans of the repository's examples, and errors of invalid manifests.

use std::fs;
use std::path::{Path, PathBuf};

use extension_contract::json::{get, text};
use gardener_testbed::workspace::root;
use serde_json::json;
use tempfile::TempDir;

use super::landscape::{CLOUDPROFILE_FILE, Landscape, SEED_FILE};
use super::manifest::{GARDEN_API_VERSION, LandscapeError};
use super::plan::ShootPlan;

fn examples() -> PathBuf {
    root().join("example")
}

/// Loads the example Shoot after replacing a part of its text.
fn changed(from: &str, to: &str) -> Result<Landscape, LandscapeError> {
    let folder = TempDir::new().unwrap();
    let text = fs::read_to_string(examples().join("55-shoot.yaml")).unwrap();
    assert!(text.contains(from), "the example must contain {from:?}");
    let shoot = folder.path().join("shoot.yaml");
    fs::write(&shoot, text.replacen(from, to, 1)).unwrap();
    let [profile, seed] = [CLOUDPROFILE_FILE, SEED_FILE].map(|name| examples().join(name));
    Landscape::load(&shoot, Some(&profile), Some(&seed))
}

fn names(plan: &ShootPlan) -> Vec<(u8, String)> {
    plan.objects().iter().map(|planned| (planned.stage, format!("{} {}", planned.kind, planned.name))).collect()
}

#[test]
fn the_example_gets_all_defaults() {
    let plan = Landscape::load(&examples().join("55-shoot.yaml"), None, None).unwrap().plan(None);
    assert_eq!(plan.namespace, "shoot--dev--shoot");
    assert_eq!(text(&plan.shoot, "spec.kubernetes.version"), Some("1.35.4"));
    assert_eq!(text(&plan.shoot, "spec.networking.pods"), Some("10.96.0.0/11"));
    assert_eq!(text(&plan.shoot, "spec.networking.services"), Some("10.64.0.0/13"));
    assert_eq!(get(&plan.shoot, "spec.networking.ipFamilies"), Some(&json!(["IPv4"])));
    let worker = get(&plan.shoot, "spec.provider.workers[0]").unwrap();
    assert_eq!(text(worker, "machine.image.version"), Some("1.1.0"));
    assert_eq!(text(worker, "machine.architecture"), Some("amd64"));
    assert_eq!(text(worker, "cri.name"), Some("containerd"));
    assert_eq!(text(&plan.shoot, "status.uid").map(str::len), Some(36));
    assert_eq!(text(&plan.cluster(), "spec.shoot.status.technicalID"), Some("shoot--dev--shoot"));
    assert_eq!(text(&plan.cluster(), "spec.seed.apiVersion"), Some(GARDEN_API_VERSION));
    assert_eq!(text(&plan.secrets()[0], "metadata.name"), Some("cloudprovider"));
}

#[test]
fn an_index_is_appended_to_the_name() {
    let landscape = Landscape::load(&examples().join("55-shoot.yaml"), None, None).unwrap();
    let (first, second) = (landscape.plan(Some(1)), landscape.plan(Some(2)));
    assert_eq!((first.name(), first.namespace.as_str()), ("shoot-1", "shoot--dev--shoot-1"));
    assert_ne!(get(&first.shoot, "status.uid"), get(&second.shoot, "status.uid"));
}

#[test]
fn a_hibernated_shoot_has_objects_and_a_workerless_shoot_has_none() {
    let asleep = Landscape::load(&examples().join("56-shoot-hibernated.yaml"), None, None).unwrap();
    assert!(asleep.plan(None).is_hibernated() && !asleep.plan(None).objects().is_empty());
    let workerless = Landscape::load(&examples().join("57-shoot-workerless.yaml"), None, None).unwrap();
    assert!(workerless.is_workerless());
    let plan = workerless.plan(None);
    assert!(plan.objects().is_empty() && plan.secrets().is_empty());
    assert_eq!(get(&plan.shoot, "spec.networking"), None);
}

#[test]
fn each_pool_has_two_operating_system_configs_and_an_entry_in_the_worker() {
    let more = "    workers:
    - {name: arm, machine: {type: small-arm}, minimum: 0, maximum: 3, zones: [nowhere-a, nowhere-b], labels: {a: b}}
    - {name: kept, machine: {type: large, image: {name: mockos, version: 1.0.0}}, minimum: 1, maximum: 1, \
                updateStrategy: AutoInPlaceUpdate, zones: [nowhere-a, nowhere-b]}
";
    let mut plan = changed("    workers:\n", more).unwrap().plan(None);
    let names = names(&plan);
    let stages: Vec<u8> = names.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(stages, [0, 1, 2, 2, 2, 2, 2, 2, 3, 4]);
    assert_eq!(
        names[4].1, "OperatingSystemConfig gardener-node-agent-kept-init",
        "a pool that is updated in place has no hash in its key"
    );
    assert_eq!(names[5].1, "OperatingSystemConfig gardener-node-agent-kept-original");
    let key = names[2].1.strip_prefix("OperatingSystemConfig ").unwrap().strip_suffix("-init").unwrap().to_owned();
    assert_eq!(key.strip_prefix("gardener-node-agent-arm-").map(str::len), Some(16));

    let objects = plan.objects();
    assert!(objects.iter().all(|planned| planned.operation_always == (planned.kind != "Infrastructure")));
    assert_eq!(get(&objects[4].object, "spec.inPlaceUpdates"), None, "only the purpose reconcile has in-place updates");
    let updates = json!({"operatingSystemVersion": "1.0.0", "kubelet": "1.35.4"});
    assert_eq!(get(&objects[5].object, "spec.inPlaceUpdates"), Some(&updates));

    plan.user_data_secrets.insert(format!("{key}-init"), "result".to_owned());
    plan.infrastructure_status = Some(json!({"a": 1}));
    let worker = plan.objects().pop().unwrap().object;
    assert_eq!(get(&worker, "spec.infrastructureProviderStatus"), Some(&json!({"a": 1})));
    let arm = get(&worker, "spec.pools[0]").unwrap();
    assert_eq!(get(arm, "userDataSecretRef"), Some(&json!({"name": "result", "key": "cloud_config"})));
    assert_eq!(text(arm, "nodeAgentSecretName"), Some(key.as_str()));
    assert_eq!(text(arm, "architecture"), Some("arm64"));
    assert_eq!(get(arm, "zones"), Some(&json!(["nowhere-a", "nowhere-b"])));
    assert_eq!(get(arm, "nodeTemplate.capacity"), Some(&json!({"cpu": "2", "gpu": "0", "memory": "8Gi"})));
    assert_eq!(get(arm, "labels").unwrap()["a"], "b");
    assert_eq!(get(arm, "labels").unwrap()["worker.gardener.cloud/gardener-node-agent-secret-name"], key);
    assert_eq!((get(arm, "maxSurge"), get(arm, "maxUnavailable")), (Some(&json!(1)), Some(&json!(0))));
    let kept = get(&worker, "spec.pools[1]").unwrap();
    assert_eq!(text(kept, "updateStrategy"), Some("AutoInPlaceUpdate"));
    assert_eq!((get(kept, "maxSurge"), get(kept, "maxUnavailable")), (Some(&json!(0)), Some(&json!(1))));
}

#[test]
fn errors_contain_file_object_field_and_remedy() {
    let cases = [
        ("namespace: garden-dev", "labels: {}", "Shoot shoot: metadata.namespace is missing; "),
        (
            "name: mock\n  region",
            "name: other\n  region",
            "Shoot shoot: spec.cloudProfile.name is \"other\", but metadata.name of the CloudProfile is \"mock\"; ",
        ),
        ("region: nowhere", "region: here", "Shoot shoot: spec.region \"here\" is unknown; use one of spec.regions"),
        ("type: small", "size: small", "Shoot shoot: spec.provider.workers[0].machine.type is missing; "),
        (
            "type: small",
            "type: huge",
            "spec.provider.workers[0].machine.type \"huge\" is unknown; use one of spec.machineTypes",
        ),
        (
            "name: mockos",
            "name: other",
            "spec.provider.workers[0].machine.image.version is unknown: the CloudProfile has no machine image \"other\"; use",
        ),
        (
            "name: mockos",
            "{name: mockos, version: 9.9.9}",
            "spec.provider.workers[0].machine.image.version \"9.9.9\" is unknown",
        ),
        ("minimum: 2\n", "\n", "spec.provider.workers[0].minimum is missing"),
        ("nowhere-b", "elsewhere", "spec.provider.workers[0].zones[1] \"elsewhere\" is unknown"),
        ("type: mock\n    nodes", "nodes", "spec.networking.type is missing"),
        (
            "kind: Shoot",
            "kind: Seed",
            "must contain one Shoot of core.gardener.cloud/v1beta1, but contains Seed of core.gardener.cloud/v1beta1",
        ),
        ("kind: Shoot", "kind: [", "is not valid YAML"),
    ];
    for (from, to, expected) in cases {
        let message = changed(from, to).expect_err(to).to_string();
        assert!(message.contains(expected) && message.contains("shoot.yaml"), "{to:?}: {message}");
    }
    let missing = Landscape::load(Path::new("/nowhere/shoot.yaml"), None, None).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the Shoot in /nowhere/shoot.yaml"), "{missing}");
}
