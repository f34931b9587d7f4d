//! The garden that the tests share.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use extension_contract::kinds;
use gardener_testbed::assets::{self, Assets};
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::gardener_apiserver::GardenerApiserver;
use gardener_testbed::manifests::{self, ManifestsError, Mode};
use gardener_testbed::workspace::root;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

/// Limit for the caches of gardener-apiserver's admission plugins to see an applied object.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// One garden for all tests, which run one after the other. It ends with this process.
static GARDEN: LazyLock<Result<Mutex<World>, String>> =
    LazyLock::new(|| RUNTIME.block_on(World::start()).map(Mutex::new).map_err(|error| error.to_string()));

/// Runs a test when no other test uses the garden.
pub(crate) fn in_the_garden(test: impl AsyncFnOnce(MutexGuard<World>)) {
    let garden = GARDEN.as_ref().unwrap_or_else(|error| panic!("{error}"));
    RUNTIME.block_on(async { test(garden.lock().await).await });
}

pub(crate) fn progress(step: &str) {
    let _ = writeln!(io::stderr(), "{step}");
}

pub(crate) struct World {
    pub(crate) bed: TestBed,
    _gardener_apiserver: GardenerApiserver,
}

impl World {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let assets = Assets::locate(&progress)?;
        let program = assets::gardener_apiserver(&progress)?;
        let further_crds = assets::further_crds(&progress)?;
        let bed = TestBed::start(&assets, Options { audit: false, ..Options::default() }).await?;
        bed.install_crds(&further_crds).await?;
        let gardener_apiserver = GardenerApiserver::start(&bed, &program, &[]).await?;
        let world = Self { bed, _gardener_apiserver: gardener_apiserver };
        // The installation of Gardener creates this namespace. gardener-controller-manager creates those of Projects,
        // or adopts an existing one, as in the example.
        world.accepted(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "garden"}})).await;
        Ok(world)
    }

    /// Applies an object.
    pub(crate) async fn accepted(&self, object: &Value) -> Value {
        self.accepted_in(object, Mode::Apply).await
    }

    /// Returns the object as it would be stored, once it would be accepted.
    pub(crate) async fn acceptable(&self, object: &Value) -> Value {
        self.accepted_in(object, Mode::DryRun).await
    }

    async fn accepted_in(&self, object: &Value, mode: Mode) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.apply(object, mode).await {
                Ok(applied) => return applied,
                // The admission plugins may not have seen the objects that were applied before.
                Err(error) if forbidden(&error).is_some() && Instant::now() < deadline => sleep(POLL).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) async fn apply(&self, object: &Value, mode: Mode) -> Result<Value, ManifestsError> {
        let applied = manifests::apply(&self.bed.client(), object, mode).await?;
        Ok(serde_json::to_value(applied).unwrap())
    }

    /// Returns once the `ExtensionValidator` would refuse an object for this reason alone.
    pub(crate) async fn refused_for(&self, object: &Value, reason: &str) {
        self.refused(object, &format!("1 error occurred:\n\t* {reason}\n")).await;
    }

    /// Returns once the admission plugins would refuse an object with this message.
    pub(crate) async fn refused(&self, object: &Value, message: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.apply(object, Mode::DryRun).await {
                Err(error) if forbidden(&error).is_some_and(|text| text.contains(message)) => return,
                _ if Instant::now() < deadline => sleep(POLL).await,
                answer => panic!("{} {} is not refused with {message:?}: {answer:?}", object["kind"], name(object)),
            }
        }
    }

    pub(crate) async fn delete(&self, object: &Value) {
        manifests::delete(&self.bed.client(), object).await.unwrap();
    }

    /// Applies all manifests that come before the Seed.
    pub(crate) async fn prepare(&self) {
        let before_the_seed = files("example").into_iter().filter(|file| file_name(file) < "40");
        for file in files("deploy/controllerregistrations").into_iter().chain(before_the_seed) {
            for object in objects(&file) {
                self.accepted(&object).await;
            }
        }
    }
}

/// The message of the admission plugins. `None` if the error is another one.
fn forbidden(error: &ManifestsError) -> Option<&str> {
    match error {
        ManifestsError::Refused { source: kube::Error::Api(status), .. } if status.is_forbidden() => {
            Some(&status.message)
        }
        _ => None,
    }
}

pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join(folder)).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml")).collect();
    files.retain(|file| !is_of_a_further_kind(&objects(file)));
    files.sort();
    files
}

/// Whether objects register a kind that this version of Gardener does not know: gardener-apiserver refuses them
/// (`pkg/api/core/validation/controllerregistration.go`).
pub(crate) fn is_of_a_further_kind(objects: &[Value]) -> bool {
    let registration = objects.iter().find(|object| object["kind"] == "ControllerRegistration");
    let kind = registration.and_then(|registration| registration["spec"]["resources"][0]["kind"].as_str());
    kind.is_some_and(|kind| kinds::find(kind).is_none())
}

fn file_name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

pub(crate) fn objects(file: &Path) -> Vec<Value> {
    manifests::read(file).unwrap_or_else(|error| panic!("{error}"))
}

/// The object of a kind in a file of `example/`.
pub(crate) fn example(file: &str, kind: &str) -> Value {
    objects(&root().join("example").join(file)).into_iter().find(|object| object["kind"] == kind).unwrap()
}

/// The object under an unused name. An existing object may stay although it would be refused now.
pub(crate) fn new(mut object: Value) -> Value {
    object["metadata"]["name"] = json!("new");
    object
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}
