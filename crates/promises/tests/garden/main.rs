//! `deploy/` and `example/` against the real gardener-apiserver with its admission plugins: it accepts the manifests in
//! their order, and refuses what it should refuse.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

mod admitted;
mod networks;
mod world;

use std::path::PathBuf;

use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{BedError, Options, TestBed};
use gardener_testbed::gardener_apiserver::GardenerApiserver;
use gardener_testbed::manifests::Mode;
use gardener_testbed::workspace::root;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use self::world::{RUNTIME, World, example, files, in_the_garden, is_of_a_further_kind, name, new, objects, progress};

const SHOOTS: [&str; 4] =
    ["55-shoot.yaml", "56-shoot-hibernated.yaml", "57-shoot-workerless.yaml", "58-shoot-extensions.yaml"];

/// The files of the registrations in `deploy`, each with the kind that it registers.
fn registrations() -> impl Iterator<Item = (PathBuf, String)> {
    files("deploy/controllerregistrations").into_iter().map(|file| {
        let registration = objects(&file).pop().unwrap();
        let kind = registration["spec"]["resources"][0]["kind"].as_str().unwrap().to_owned();
        (file, kind)
    })
}

/// The message for the example Shoots with workers if no extension is registered for this kind
/// (`plugin/pkg/global/extensionvalidation/admission.go`). Returns `None` if Gardener permits these Shoots without it.
fn not_registered(kind: &str) -> Option<&'static str> {
    match kind {
        "Infrastructure" | "ControlPlane" | "Worker" => {
            Some(r#"given Shoot uses non-registered provider type: spec.provider.type ("mock")"#)
        }
        "OperatingSystemConfig" => Some(
            r#"given Shoot uses non-registered operating system type: spec.provider.workers[0].machine.image.name ("mockos")"#,
        ),
        "Network" => Some(r#"given Shoot uses non-registered networking type: spec.networking.type ("mock")"#),
        _ => None,
    }
}

/// Asserts that everything in `expected` is in `found`, and names the first path that differs.
fn assert_holds(found: &Value, expected: &Value, path: &str) {
    match expected {
        Value::Object(fields) => {
            for (field, value) in fields {
                assert_holds(&found[field], value, &format!("{path}.{field}"));
            }
        }
        Value::Array(items) => {
            assert_eq!(found.as_array().map(Vec::len), Some(items.len()), "{path}: {found}");
            for (index, item) in items.iter().enumerate() {
                assert_holds(&found[index], item, &format!("{path}[{index}]"));
            }
        }
        value => assert_eq!(found, value, "{path}"),
    }
}

#[test]
fn garden_that_cannot_start_fails_with_the_log() {
    let error = RUNTIME.block_on(async {
        let assets = Assets::locate(&progress).unwrap();
        let bed = TestBed::start(&assets, Options::default()).await.unwrap();
        // kube-apiserver does not know all flags of gardener-apiserver.
        GardenerApiserver::start(&bed, &assets.kube_apiserver, &[]).await.unwrap_err()
    });
    assert!(matches!(error, BedError::Exited { server: "gardener-apiserver", .. }), "{error}");
    assert!(error.to_string().contains("unknown flag: --"), "{error}");
}

#[test]
fn all_manifests_are_accepted_in_their_order_and_a_second_time() {
    RUNTIME.block_on(async {
        // Other tests may have applied some manifests to the shared garden already.
        let world = World::start().await.unwrap();
        for file in files("deploy/controllerregistrations").into_iter().chain(files("example")) {
            for object in objects(&file) {
                let mut applied = world.accepted(&object).await;
                let mut again = world.accepted(&object).await;
                for metadata in ["resourceVersion", "managedFields"] {
                    for answer in [&mut applied, &mut again] {
                        answer["metadata"].as_object_mut().unwrap().remove(metadata);
                    }
                }
                assert_eq!(applied, again, "{}", file.display());
            }
        }
    });
}

#[test]
fn upgrade_changes_the_tag_and_keeps_patched_replicas() {
    in_the_garden(async |world| {
        let mut deployment = objects(&root().join("deploy/controllerregistrations/mock-worker.yaml")).remove(0);
        world.accepted(&deployment).await;
        let group = GroupVersionKind::gvk("core.gardener.cloud", "v1", "ControllerDeployment");
        let resource = ApiResource::from_gvk_with_plural(&group, "controllerdeployments");
        let api: Api<DynamicObject> = Api::all_with(world.bed.client(), &resource);
        let patch = json!({ "helm": { "values": { "replicas": 2 } } });
        api.patch("mock-worker", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();

        deployment["helm"]["values"]["image"]["tag"] = json!("next");
        let upgraded = world.accepted(&deployment).await;
        assert_eq!(upgraded["helm"]["values"]["image"]["tag"], "next");
        assert_eq!(upgraded["helm"]["values"]["replicas"], 2);
        // Other tests expect the manifest without these changes.
        world.delete(&deployment).await;
    });
}

#[test]
fn registrations_are_defaulted_to_primary_and_on_demand() {
    in_the_garden(async |world| {
        for file in files("deploy/controllerregistrations") {
            let objects = objects(&file);
            let [deployment, registration] = objects.as_slice() else { panic!("{}", file.display()) };
            let deployment = world.accepted(deployment).await;
            let registration = world.accepted(registration).await;
            let resources = registration["spec"]["resources"].as_array().map_or(0, Vec::len);
            let expected = json!({
                "resources": vec![json!({"primary": true}); resources],
                "deployment": {"policy": "OnDemand", "deploymentRefs": [{"name": deployment["metadata"]["name"]}]},
            });
            assert_holds(&registration["spec"], &expected, name(&registration));
        }
    });
}

#[test]
fn unknown_field_is_refused() {
    in_the_garden(async |world| {
        world.prepare().await;
        let folders = ["deploy/controllerregistrations", "deploy/extensions", "example"];
        for object in folders.into_iter().flat_map(files).flat_map(|file| objects(&file)) {
            let mut misspelt = object.clone();
            misspelt["specc"] = json!({});
            let error = world.apply(&misspelt, Mode::DryRun).await.expect_err("an unknown field");
            assert!(error.to_string().contains("specc"), "{} {}: {error}", object["kind"], name(&object));
        }
    });
}

#[test]
fn seed_is_refused_before_its_registrations() {
    const DNS: (&str, &str) =
        ("dnsrecord", r#"given Seed uses non-registered extension type: spec.dns.provider.type ("mock")"#);
    const PROVIDER: (&str, &str) =
        ("controlplane", r#"given Seed uses non-registered provider type: spec.provider.type ("mock")"#);
    const BUCKET: (&str, &str) =
        ("backupbucket", r#"given Seed uses non-registered backup provider type: spec.backup.provider ("mock")"#);
    in_the_garden(async |world| {
        world.prepare().await;
        for (file, registrations) in
            [("40-seed.yaml", &[DNS, PROVIDER][..]), ("45-seed-with-backup.yaml", &[DNS, PROVIDER, BUCKET])]
        {
            let seed = new(example(file, "Seed"));
            for secret in objects(&root().join("example").join(file)) {
                if secret["kind"] == "Secret" {
                    world.accepted(&secret).await;
                }
            }
            for (package, message) in registrations {
                for object in objects(&root().join(format!("deploy/controllerregistrations/mock-{package}.yaml"))) {
                    world.delete(&object).await;
                }
                world.refused(&seed, message).await;
                world.prepare().await;
            }
            world.acceptable(&seed).await;
        }
    });
}

/// The same for what only the Shoot with extensions has.
fn not_registered_of_extensions(kind: &str) -> Option<&'static str> {
    match kind {
        "ContainerRuntime" => Some(
            r#"given Shoot uses non-registered container runtime type: spec.provider.workers[0].cri.containerRuntimes[0].type ("mock")"#,
        ),
        "Extension" => Some("given Shoot uses non-registered extension type: spec.extensions[0].type (\"mock\")"),
        _ => None,
    }
}

#[test]
fn shoots_with_workers_need_every_registration() {
    in_the_garden(async |world| {
        world.prepare().await;
        for file in ["40-seed.yaml", "45-seed-with-backup.yaml"] {
            for object in objects(&root().join("example").join(file)) {
                world.accepted(&object).await;
            }
        }
        let [shoot, hibernated, workerless, full] = SHOOTS.map(|file| new(example(file, "Shoot")));
        for (file, kind) in registrations() {
            for object in objects(&file) {
                world.delete(&object).await;
            }
            for shoot in [&shoot, &hibernated] {
                match not_registered(&kind) {
                    Some(message) => world.refused_for(shoot, message).await,
                    None => drop(world.acceptable(shoot).await),
                }
            }
            match not_registered(&kind).or(not_registered_of_extensions(&kind)) {
                Some(message) => world.refused(&full, message).await,
                None => drop(world.acceptable(&full).await),
            }
            world.acceptable(&workerless).await;

            for object in objects(&file) {
                world.accepted(&object).await;
            }
            world.acceptable(&shoot).await;
            world.acceptable(&full).await;
        }
    });
}

#[test]
fn second_primary_registration_of_a_type_is_refused() {
    in_the_garden(async |world| {
        world.prepare().await;
        for (file, _) in registrations() {
            let mut second = new(objects(&file).pop().unwrap());
            // Of the existing types of a kind, the plugin knows only the last
            // (`plugin/pkg/controllerregistration/resources/admission.go`).
            let last = second["spec"]["resources"].as_array().unwrap().last().cloned();
            second["spec"]["resources"] = json!([last]);
            let resource = &second["spec"]["resources"][0];
            let (kind, extension_type) = (resource["kind"].as_str().unwrap(), resource["type"].as_str().unwrap());
            let message = format!(
                "another ControllerRegistration resource already exists that controls resource {kind}/{extension_type} primarily"
            );
            world.refused(&second, &message).await;
            for resource in second["spec"]["resources"].as_array_mut().unwrap() {
                resource["primary"] = json!(false);
            }
            world.acceptable(&second).await;
        }
    });
}

#[test]
fn combined_file_holds_the_same_registrations() {
    let combined = objects(&root().join("deploy/controllerregistrations.yaml"));
    // A ControllerDeployment, and the ControllerRegistration that refers to it.
    let known = combined.chunks(2).filter(|objects| !is_of_a_further_kind(objects));
    let mut combined: Vec<_> = known.flatten().cloned().collect();
    let mut single: Vec<_> = files("deploy/controllerregistrations").iter().flat_map(|file| objects(file)).collect();
    for objects in [&mut combined, &mut single] {
        objects.sort_by_key(|object| (object["kind"].to_string(), name(object).to_owned()));
    }
    assert_eq!(combined, single);
}

#[test]
fn extensions_of_gardener_operator_are_accepted() {
    in_the_garden(async |world| {
        for file in files("deploy/extensions") {
            let [extension] = objects(&file).try_into().unwrap();
            world.accepted(&extension).await;
        }
    });
}

/// `cargo xtask manifests --oci` renders the chart of a registry into both, and the Secrets that Gardener needs to pull it.
#[test]
fn charts_in_registries_are_accepted_with_their_secrets() {
    in_the_garden(async |world| {
        for file in files("deploy/extensions") {
            let [mut extension] = objects(&file).try_into().unwrap();
            let repository = &mut extension["spec"]["deployment"]["extension"]["helm"]["ociRepository"];
            repository["pullSecretRef"] = json!({ "name": "registry-pull" });
            repository["caBundleSecretRef"] = json!({ "name": "registry-ca" });
            let repository = repository.clone();
            world.acceptable(&extension).await;

            let registration = root().join("deploy/controllerregistrations").join(file.file_name().unwrap());
            let mut deployment = new(objects(&registration).remove(0));
            deployment["helm"].as_object_mut().unwrap().remove("rawChart");
            deployment["helm"]["ociRepository"] = repository.clone();
            let accepted = world.acceptable(&deployment).await;
            assert_eq!(accepted["helm"]["ociRepository"], repository);
        }
    });
}
