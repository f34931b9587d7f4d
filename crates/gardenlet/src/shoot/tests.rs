//! Plans of the repository's examples, and errors of files that are no manifests of a Shoot.

use std::fs;
use std::path::{Path, PathBuf};

use extension_contract::json::{get, set, text};
use gardener_testbed::workspace::root;
use serde_json::json;
use tempfile::TempDir;

use super::error::LandscapeError;
use super::landscape::Landscape;
use super::manifest::{GARDEN_API_VERSION, Manifests};
use super::plan::{Asks, ShootPlan};

/// An annotation of Shoots in these tests.
const OPAQUE: &str = "example.org/opaque";

fn examples() -> PathBuf {
    root().join("example")
}

fn example(file: &str) -> Landscape {
    Landscape::example(&examples().join(file)).unwrap()
}

/// Reads the example Shoot after replacing a part of its text.
fn changed(from: &str, to: &str) -> Result<Manifests, LandscapeError> {
    let folder = TempDir::new().unwrap();
    let text = fs::read_to_string(examples().join("55-shoot.yaml")).unwrap();
    assert!(text.contains(from), "the example must contain {from:?}");
    let shoot = folder.path().join("shoot.yaml");
    fs::write(&shoot, text.replacen(from, to, 1)).unwrap();
    Manifests::read(&shoot, None, None, Some(&examples()))
}

fn names(plan: &ShootPlan) -> Vec<String> {
    plan.objects().iter().map(|planned| format!("{} {}", planned.kind, planned.name)).collect()
}

#[test]
fn the_example_has_all_defaults() {
    let plan = example("55-shoot.yaml").plan(None);
    assert_eq!(plan.namespace, "shoot--dev--shoot");
    assert_eq!(text(&plan.shoot, "spec.kubernetes.version"), Some("1.36.3"));
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
    assert_eq!(text(&plan.cloudprovider().unwrap(), "metadata.name"), Some("cloudprovider"));
}

#[test]
fn an_index_is_appended_to_the_name() {
    let landscape = example("55-shoot.yaml");
    let (first, second) = (landscape.plan(Some(1)), landscape.plan(Some(2)));
    assert_eq!((first.name(), first.namespace.as_str()), ("shoot-1", "shoot--dev--shoot-1"));
    assert_ne!(get(&first.shoot, "status.uid"), get(&second.shoot, "status.uid"));
    let domain = example("58-shoot-extensions.yaml").plan(Some(1)).shoot;
    assert_eq!(text(&domain, "spec.dns.domain"), Some("full-1.dev.shoots.mock-backup.example"));
}

#[test]
fn a_hibernated_shoot_has_objects_and_a_workerless_shoot_has_none() {
    let asleep = example("56-shoot-hibernated.yaml");
    assert!(asleep.plan(None).is_hibernated() && !asleep.plan(None).objects().is_empty());
    let workerless = example("57-shoot-workerless.yaml");
    assert!(workerless.is_workerless());
    let plan = workerless.plan(None);
    assert!(plan.objects().is_empty() && plan.cloudprovider().is_none());
}

#[test]
fn shoot_has_records_backups_runtimes_and_extensions_with_gardenlets_names() {
    let landscape = example("58-shoot-extensions.yaml");
    let plan = landscape.plan(None);
    let uid = text(&plan.shoot, "status.uid").unwrap();
    let additions: Vec<_> =
        names(&plan).into_iter().filter(|name| !name.starts_with("OperatingSystemConfig")).collect();
    assert_eq!(
        additions,
        [
            "Infrastructure full",
            &format!("BackupEntry shoot--dev--full--{uid}"),
            "DNSRecord full-internal",
            "DNSRecord full-external",
            "Extension mock-before-kube-apiserver",
            "ControlPlane full",
            "ContainerRuntime mock-pool",
            "Extension mock",
            "Network full",
            "Worker full",
            "Extension mock-after-worker",
            "DNSRecord full-ingress",
        ]
    );
    let objects = plan.objects();
    let spec = |name: &str| {
        let planned = objects.iter().find(|planned| planned.name == name).unwrap();
        (planned.object["spec"].clone(), planned.secret.clone())
    };
    let (internal, secret) = spec("full-internal");
    let expected = json!({
        "type": "mock",
        "name": "api.full.dev.internal.mock-backup.example",
        "recordType": "A",
        "values": ["203.0.113.10"],
        "ttl": 120,
        "secretRef": {"name": "dnsrecord-full-internal", "namespace": "shoot--dev--full"},
    });
    assert_eq!(internal, expected);
    assert_eq!(secret.unwrap()["metadata"], expected["secretRef"]);
    let (ingress, _) = spec("full-ingress");
    assert_eq!(ingress["name"], "*.ingress.full.dev.shoots.mock-backup.example");
    assert_eq!(ingress["secretRef"]["name"], "dnsrecord-full-external");
    let (entry, _) = spec(&format!("shoot--dev--full--{uid}"));
    let bucket = landscape.seed(None).objects().remove(0);
    assert_eq!(entry["bucketName"], bucket.name);
    assert_eq!(entry["secretRef"], json!({"name": format!("entry-shoot--dev--full--{uid}"), "namespace": "garden"}));
    assert_eq!(bucket.object["spec"]["secretRef"]["name"], format!("bucket-{}", bucket.name));
    let (runtime, _) = spec("mock-pool");
    assert_eq!(runtime["binaryPath"], "/var/bin/containerruntimes");
    assert_eq!(spec("mock").0, json!({"type": "mock"}), "no class");
    let seed: Vec<_> = landscape.seed(None).objects().into_iter().map(|planned| planned.object).collect();
    assert_eq!(text(&seed[1], "metadata.name"), Some("seed-ingress"));
    assert_eq!(get(&seed[1], "spec.ttl"), None);
    assert_eq!(text(&seed[2], "spec.class"), Some("seed"));
}

#[test]
fn workerless_shoot_has_records_backups_and_extensions_but_none_after_workers() {
    let mut landscape = example("58-shoot-extensions.yaml");
    set(&mut landscape.shoot, "spec.provider.workers", json!([]));
    let names: Vec<_> =
        names(&landscape.plan(None)).into_iter().filter(|name| !name.starts_with("BackupEntry")).collect();
    let expected = [
        "DNSRecord full-internal",
        "DNSRecord full-external",
        "Extension mock-before-kube-apiserver",
        "Extension mock",
    ];
    assert_eq!(names, expected);
}

#[test]
fn chosen_kinds_restrict_the_plan_and_add_what_not_every_shoot_has() {
    let landscape = example("58-shoot-extensions.yaml");
    let chosen = |kinds: &[&'static str]| landscape.clone().of_kinds(kinds.iter().copied().collect());
    assert_eq!(names(&chosen(&["Network", "Bastion"]).plan(None)), ["Network full", "Bastion full-ssh"]);
    assert_eq!(names(&chosen(&["SelfHostedShootExposure"]).plan(None)), ["SelfHostedShootExposure full"]);
    let seed = chosen(&["DNSRecord"]).seed(None).objects();
    assert_eq!(seed.len(), 1, "{seed:?}");
}

#[test]
fn seed_is_the_one_that_the_shoot_names() {
    assert_eq!(text(&example("55-shoot.yaml").seed, "metadata.name"), Some("mock"));
    assert_eq!(text(&example("58-shoot-extensions.yaml").seed, "metadata.name"), Some("mock-backup"));
    assert_eq!(text(&example("67-shoot-no-bucket.yaml").seed, "metadata.name"), Some("mock-no-bucket"));
}

#[test]
fn each_pool_has_two_operating_system_configs_and_an_entry_in_the_worker() {
    let arm = json!({
        "name": "arm",
        "machine": {"type": "small-arm", "architecture": "arm64", "image": {"name": "mockos", "version": "1.1.0"}},
        "minimum": 0,
        "maximum": 3,
        "maxSurge": 1,
        "maxUnavailable": 0,
        "zones": ["nowhere-a", "nowhere-b"],
        "labels": {"a": "b"},
    });
    let kept = json!({
        "name": "kept",
        "machine": {"type": "large", "architecture": "amd64", "image": {"name": "mockos", "version": "1.0.0"}},
        "minimum": 1,
        "maximum": 1,
        "updateStrategy": "AutoInPlaceUpdate",
    });
    let mut landscape = example("55-shoot.yaml");
    let pool = get(&landscape.shoot, "spec.provider.workers[0]").cloned();
    set(&mut landscape.shoot, "spec.provider.workers", json!([arm, kept, pool]));
    let mut plan = landscape.plan(None);
    let names = names(&plan);
    assert_eq!(names.len(), 10);
    assert_eq!(
        names[4], "OperatingSystemConfig gardener-node-agent-kept-init",
        "a pool that is updated in place has no hash in its key"
    );
    assert_eq!(names[5], "OperatingSystemConfig gardener-node-agent-kept-original");
    let key = names[2].strip_prefix("OperatingSystemConfig ").unwrap().strip_suffix("-init").unwrap().to_owned();
    assert_eq!(key.strip_prefix("gardener-node-agent-arm-").map(str::len), Some(16));

    let objects = plan.objects();
    assert!(objects.iter().all(|planned| (planned.asks == Asks::Always) == (planned.kind != "Infrastructure")));
    assert_eq!(get(&objects[4].object, "spec.inPlaceUpdates"), None, "only the purpose reconcile has in-place updates");
    let version = text(&plan.shoot, "spec.kubernetes.version");
    assert!(version.is_some());
    let updates = json!({"operatingSystemVersion": "1.0.0", "kubelet": version});
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
}

#[test]
fn answer_of_an_example_is_kept_until_more_than_an_opaque_annotation_changes() {
    let same = changed("kind: Shoot", "kind: Shoot # the same").unwrap();
    assert_eq!(same.kept(OPAQUE).unwrap().plan(None).shoot, example("55-shoot.yaml").plan(None).shoot);
    let opaque = changed("  annotations:\n", &format!("  annotations:\n    {OPAQUE}: new\n")).unwrap();
    let plan = opaque.kept(OPAQUE).unwrap().plan(None);
    assert_eq!(get(&plan.shoot, "metadata.annotations").unwrap()[OPAQUE], "new");
    for (from, to) in [("skip-readiness", "other"), ("maximum: 2", "maximum: 3"), ("name: shoot", "name: other")] {
        assert!(changed(from, to).unwrap().kept(OPAQUE).is_none(), "{to}");
    }
}

#[test]
fn cloudprofile_and_seed_are_in_the_file_of_the_shoot_or_beside_it() {
    let folder = TempDir::new().unwrap();
    let shoot = folder.path().join("shoot.yaml");
    let read = |name: &str| fs::read_to_string(examples().join(name)).unwrap();
    let text = ["55-shoot.yaml", "20-cloudprofile.yaml", "40-seed.yaml"].map(read).join("\n---\n");
    fs::write(&shoot, &text).unwrap();
    assert!(Manifests::read(&shoot, None, None, None).unwrap().kept(OPAQUE).is_some());
    // The same file may be named for everything.
    assert!(Manifests::read(&shoot, Some(&shoot), Some(&shoot), None).unwrap().kept(OPAQUE).is_some());

    fs::write(&shoot, read("55-shoot.yaml")).unwrap();
    let missing = Manifests::read(&shoot, None, None, None).unwrap_err().to_string();
    assert!(missing.contains("20-cloudprofile.yaml") && missing.ends_with("or give --cloudprofile FILE"), "{missing}");
    let [profile, seed] = ["20-cloudprofile.yaml", "40-seed.yaml"].map(|name| examples().join(name));
    assert!(Manifests::read(&shoot, Some(&profile), Some(&seed), None).unwrap().kept(OPAQUE).is_some());
    let wrong = Manifests::read(&shoot, Some(&seed), Some(&seed), None).unwrap_err().to_string();
    assert!(wrong.contains("40-seed.yaml: must contain one CloudProfile"), "{wrong}");
}

#[test]
fn error_names_the_file_and_what_it_must_contain() {
    let cases = [
        ("namespace: garden-dev", "labels: {}", "Shoot shoot: metadata.namespace is missing; "),
        (
            "kind: Shoot",
            "kind: Seed",
            "must contain one Shoot of core.gardener.cloud/v1beta1, but contains Seed of core.gardener.cloud/v1beta1",
        ),
        ("v1beta1", "v1alpha1", "but contains Shoot of core.gardener.cloud/v1alpha1"),
        ("spec:\n", "---\napiVersion: core.gardener.cloud/v1beta1\nkind: Shoot\n---\n", "contains Shoot of"),
        ("kind: Shoot", "kind: [", "is not valid YAML"),
    ];
    for (from, to, expected) in cases {
        let message = changed(from, to).expect_err(to).to_string();
        assert!(message.contains(expected) && message.contains("shoot.yaml"), "{to:?}: {message}");
    }
    let missing = Manifests::read(Path::new("/nowhere/shoot.yaml"), None, None, None).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the Shoot in /nowhere/shoot.yaml"), "{missing}");
    let other = Landscape::example(&examples().join("40-seed.yaml")).unwrap_err().to_string();
    assert!(other.contains("40-seed.yaml"), "{other}");
}
