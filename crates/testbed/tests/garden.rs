//! `deploy/` and `example/` against the real gardener-apiserver with its admission plugins: what an operator applies is
//! accepted as it is, in that order, and what should be refused is.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests panic; .clippy.toml says so only of the functions that are marked as tests, not of their helpers"
)]

use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use mock_testbed::{
    assets::{self, Assets},
    bed::{BedError, Options, TestBed},
    garden::Garden,
    installation::Installation,
    manifests::{self, ManifestsError, Mode},
    shoot::Landscape,
};
use serde_json::{Value, json};
use tokio::{
    runtime::Runtime,
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};

/// How far the caches of gardener-apiserver's admission plugins may be behind what was applied.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

const SHOOTS: [&str; 3] = ["55-shoot.yaml", "56-shoot-hibernated.yaml", "57-shoot-workerless.yaml"];

/// By registration, why a Shoot with workers cannot do without (plugin/pkg/global/extensionvalidation/admission.go).
const NOT_REGISTERED: [(&str, &str); 5] = [
    ("mock-infrastructure", r#"given Shoot uses non-registered provider type: spec.provider.type ("mock")"#),
    ("mock-controlplane", r#"given Shoot uses non-registered provider type: spec.provider.type ("mock")"#),
    (
        "mock-operatingsystemconfig",
        r#"given Shoot uses non-registered operating system type: spec.provider.workers[0].machine.image.name ("mockos")"#,
    ),
    ("mock-network", r#"given Shoot uses non-registered networking type: spec.networking.type ("mock")"#),
    ("mock-worker", r#"given Shoot uses non-registered provider type: spec.provider.type ("mock")"#),
];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// One garden for all tests, which take turns. Nothing drops it: it ends with this process.
static GARDEN: LazyLock<Result<Mutex<World>, String>> =
    LazyLock::new(|| RUNTIME.block_on(World::start()).map(Mutex::new).map_err(|error| error.to_string()));

/// Runs a test whose turn it is.
fn in_the_garden(test: impl AsyncFnOnce(MutexGuard<World>)) {
    let garden = GARDEN.as_ref().unwrap_or_else(|error| panic!("{error}"));
    RUNTIME.block_on(async { test(garden.lock().await).await });
}

fn progress(step: &str) {
    let _ = writeln!(io::stderr(), "{step}");
}

struct World {
    bed: TestBed,
    _garden: Garden,
}

impl World {
    async fn start() -> Result<Self, Box<dyn Error>> {
        let assets = Assets::locate(&progress)?;
        let program = assets::gardener_apiserver(&progress)?;
        let further_crds = assets::further_crds(&progress)?;
        let bed = TestBed::start(&assets, Options { audit: false, ..Options::default() }).await?;
        bed.install_crds(&further_crds).await?;
        let garden = Garden::start(&bed, &program).await?;
        let world = Self { bed, _garden: garden };
        // Whoever installs Gardener makes it. (A Project's namespace is made by gardener-controller-manager, or, as in
        // the example, is there before and adopted by it.)
        world.accepted(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "garden"}})).await;
        Ok(world)
    }

    /// Applies an object.
    async fn accepted(&self, object: &Value) -> Value {
        self.accepted_in(object, Mode::Apply).await
    }

    /// Returns when an object would be accepted.
    async fn acceptable(&self, object: &Value) -> Value {
        self.accepted_in(object, Mode::DryRun).await
    }

    async fn accepted_in(&self, object: &Value, mode: Mode) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.apply(object, mode).await {
                Ok(applied) => return applied,
                // The admission plugins may not have seen yet what was applied before.
                Err(error) if forbidden(&error).is_some() && Instant::now() < deadline => sleep(POLL).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn apply(&self, object: &Value, mode: Mode) -> Result<Value, ManifestsError> {
        let applied = manifests::apply(&self.bed.client(), object, mode).await?;
        Ok(serde_json::to_value(applied).unwrap())
    }

    /// Returns when the `ExtensionValidator` would refuse an object for this reason alone.
    async fn refused_for(&self, object: &Value, reason: &str) {
        self.refused(object, &format!("1 error occurred:\n\t* {reason}\n")).await;
    }

    /// Returns when the admission plugins would refuse an object with this message.
    async fn refused(&self, object: &Value, message: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.apply(object, Mode::DryRun).await {
                Err(error) if forbidden(&error).is_some_and(|said| said.contains(message)) => return,
                _ if Instant::now() < deadline => sleep(POLL).await,
                answer => panic!("{} {} is not refused with {message:?}: {answer:?}", object["kind"], name(object)),
            }
        }
    }

    async fn delete(&self, object: &Value) {
        manifests::delete(&self.bed.client(), object).await.unwrap();
    }

    /// All that comes before the Seed.
    async fn prepare(&self) {
        let before_the_seed = files("example").into_iter().filter(|file| file_name(file) < "40");
        for file in files("deploy/controllerregistrations").into_iter().chain(before_the_seed) {
            for object in objects(&file) {
                self.accepted(&object).await;
            }
        }
    }
}

/// What the admission plugins say, if it was they who refused something.
fn forbidden(error: &ManifestsError) -> Option<&str> {
    match error {
        ManifestsError::Refused { source: kube::Error::Api(status), .. } if status.is_forbidden() => {
            Some(&status.message)
        }
        _ => None,
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join(folder)).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn file_name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

fn objects(file: &Path) -> Vec<Value> {
    manifests::read(file).unwrap_or_else(|error| panic!("{error}"))
}

/// The object of a kind in a file of `example/`.
fn example(file: &str, kind: &str) -> Value {
    objects(&root().join("example").join(file)).into_iter().find(|object| object["kind"] == kind).unwrap()
}

/// The object under a name that nothing has: what is there already may stay although it would be refused today.
fn new(mut object: Value) -> Value {
    object["metadata"]["name"] = json!("new");
    object
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Asserts that everything in `expected` is in `found`, and says where it is not.
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
fn a_garden_that_cannot_start_says_why() {
    let error = RUNTIME.block_on(async {
        let assets = Assets::locate(&progress).unwrap();
        let bed = TestBed::start(&assets, Options::default()).await.unwrap();
        // A program that does not know all of gardener-apiserver's flags.
        Garden::start(&bed, &assets.kube_apiserver).await.unwrap_err()
    });
    assert!(matches!(error, BedError::Exited { server: "gardener-apiserver", .. }), "{error}");
    assert!(error.to_string().contains("unknown flag: --"), "{error}");
}

#[test]
fn everything_is_accepted_in_its_order_and_once_more() {
    in_the_garden(async |world| {
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
fn registrations_are_defaulted_to_primary_and_on_demand() {
    in_the_garden(async |world| {
        for file in
            files("deploy/controllerregistrations").into_iter().chain([root().join("example/35-dnsrecord.yaml")])
        {
            let objects = objects(&file);
            let [deployment, registration] = objects.as_slice() else { panic!("{}", file.display()) };
            let deployment = world.accepted(deployment).await;
            let registration = world.accepted(registration).await;
            let expected = json!({
                "resources": [{"primary": true}],
                "deployment": {"policy": "OnDemand", "deploymentRefs": [{"name": deployment["metadata"]["name"]}]},
            });
            assert_holds(&registration["spec"], &expected, file_name(&file));
        }
    });
}

/// What the stand-in for gardenlet assumes of a Shoot is what gardener-apiserver makes of it.
#[test]
fn shoots_get_the_defaults_that_the_stand_in_for_gardenlet_gives_them() {
    in_the_garden(async |world| {
        world.prepare().await;
        for object in objects(&root().join("example/40-seed.yaml")) {
            world.accepted(&object).await;
        }
        for file in SHOOTS {
            let mut shoot = example(file, "Shoot");
            // As gardener-scheduler would, which compares the networks of both.
            shoot["spec"]["seedName"] = json!("mock");
            let plan = Landscape::load(&root().join("example").join(file), None, None).unwrap().plan(None);
            let shoot = world.acceptable(&new(shoot)).await;
            assert_holds(&shoot["spec"], &plan.shoot["spec"], file);
            assert_eq!(shoot["spec"]["hibernation"]["enabled"] == true, file == "56-shoot-hibernated.yaml");
        }
    });
}

#[test]
fn a_field_that_gardener_does_not_know_is_refused() {
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
fn a_seed_is_refused_before_the_registrations() {
    in_the_garden(async |world| {
        world.prepare().await;
        let seed = new(example("40-seed.yaml", "Seed"));
        for (registration, message) in [
            (
                "example/35-dnsrecord.yaml",
                r#"given Seed uses non-registered extension type: spec.dns.provider.type ("mock")"#,
            ),
            (
                "deploy/controllerregistrations/mock-controlplane.yaml",
                r#"given Seed uses non-registered provider type: spec.provider.type ("mock")"#,
            ),
        ] {
            for object in objects(&root().join(registration)) {
                world.delete(&object).await;
            }
            world.refused_for(&seed, message).await;
            world.prepare().await;
        }
    });
}

#[test]
fn each_registration_stands_alone_and_shoots_with_workers_need_them_all() {
    in_the_garden(async |world| {
        world.prepare().await;
        let [shoot, hibernated, workerless] = SHOOTS.map(|file| new(example(file, "Shoot")));
        for (registration, message) in NOT_REGISTERED {
            let file = root().join(format!("deploy/controllerregistrations/{registration}.yaml"));
            for object in objects(&file) {
                assert_eq!(name(&object), registration);
                world.delete(&object).await;
            }
            world.refused_for(&shoot, message).await;
            world.refused_for(&hibernated, message).await;
            world.acceptable(&workerless).await;

            for object in objects(&file) {
                world.accepted(&object).await;
            }
            world.acceptable(&shoot).await;
        }
    });
}

#[test]
fn a_type_has_one_primary_registration() {
    in_the_garden(async |world| {
        world.prepare().await;
        for (registration, _) in NOT_REGISTERED {
            let file = root().join(format!("deploy/controllerregistrations/{registration}.yaml"));
            let mut second = new(objects(&file).pop().unwrap());
            let resource = &second["spec"]["resources"][0];
            let (kind, extension_type) = (resource["kind"].as_str().unwrap(), resource["type"].as_str().unwrap());
            let message = format!(
                "another ControllerRegistration resource already exists that controls resource {kind}/{extension_type} primarily"
            );
            world.refused(&second, &message).await;
            second["spec"]["resources"][0]["primary"] = json!(false);
            world.acceptable(&second).await;
        }
    });
}

#[test]
fn the_combined_file_holds_the_same_registrations() {
    let mut combined = objects(&root().join("deploy/controllerregistrations.yaml"));
    let mut single: Vec<_> = files("deploy/controllerregistrations").iter().flat_map(|file| objects(file)).collect();
    for objects in [&mut combined, &mut single] {
        objects.sort_by_key(|object| (object["kind"].to_string(), name(object).to_owned()));
    }
    assert_eq!(combined, single);
}

#[test]
fn gardeners_operator_accepts_the_extensions() {
    in_the_garden(async |world| {
        for file in files("deploy/extensions") {
            let [extension] = objects(&file).try_into().unwrap();
            world.accepted(&extension).await;
        }
    });
}

/// That is what makes the installation of a registration whose kind nobody serves a healthy one.
#[test]
fn the_chart_of_the_unserved_kind_renders_to_one_config_map() {
    let helm = assets::helm(&progress).unwrap_or_else(|error| panic!("{error}"));
    in_the_garden(async |world| {
        let file = root().join("example/35-dnsrecord.yaml");
        let seed = example("40-seed.yaml", "Seed");
        let installation = Installation::render(&file, &seed, &helm, world.bed.dir()).unwrap();
        let [config_map] = installation.objects.as_slice() else { panic!("{installation:?}") };
        assert_eq!(config_map["kind"], "ConfigMap");
        installation.apply(&world.bed.client()).await.unwrap();
    });
}
