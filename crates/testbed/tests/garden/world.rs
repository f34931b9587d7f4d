//! The garden that the tests share, and what they ask of it.

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
    bed::{Options, TestBed},
    garden::Garden,
    manifests::{self, ManifestsError, Mode},
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

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// One garden for all tests, which take turns. Nothing drops it: it ends with this process.
static GARDEN: LazyLock<Result<Mutex<World>, String>> =
    LazyLock::new(|| RUNTIME.block_on(World::start()).map(Mutex::new).map_err(|error| error.to_string()));

/// Runs a test whose turn it is.
pub(crate) fn in_the_garden(test: impl AsyncFnOnce(MutexGuard<World>)) {
    let garden = GARDEN.as_ref().unwrap_or_else(|error| panic!("{error}"));
    RUNTIME.block_on(async { test(garden.lock().await).await });
}

pub(crate) fn progress(step: &str) {
    let _ = writeln!(io::stderr(), "{step}");
}

pub(crate) struct World {
    pub(crate) bed: TestBed,
    _garden: Garden,
}

impl World {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
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
    pub(crate) async fn accepted(&self, object: &Value) -> Value {
        self.accepted_in(object, Mode::Apply).await
    }

    /// Returns when an object would be accepted.
    pub(crate) async fn acceptable(&self, object: &Value) -> Value {
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

    pub(crate) async fn apply(&self, object: &Value, mode: Mode) -> Result<Value, ManifestsError> {
        let applied = manifests::apply(&self.bed.client(), object, mode).await?;
        Ok(serde_json::to_value(applied).unwrap())
    }

    /// Returns when the `ExtensionValidator` would refuse an object for this reason alone.
    pub(crate) async fn refused_for(&self, object: &Value, reason: &str) {
        self.refused(object, &format!("1 error occurred:\n\t* {reason}\n")).await;
    }

    /// Returns when the admission plugins would refuse an object with this message.
    pub(crate) async fn refused(&self, object: &Value, message: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.apply(object, Mode::DryRun).await {
                Err(error) if forbidden(&error).is_some_and(|said| said.contains(message)) => return,
                _ if Instant::now() < deadline => sleep(POLL).await,
                answer => panic!("{} {} is not refused with {message:?}: {answer:?}", object["kind"], name(object)),
            }
        }
    }

    pub(crate) async fn delete(&self, object: &Value) {
        manifests::delete(&self.bed.client(), object).await.unwrap();
    }

    /// All that comes before the Seed.
    pub(crate) async fn prepare(&self) {
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

pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join(folder)).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
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

/// The object under a name that nothing has: what is there already may stay although it would be refused today.
pub(crate) fn new(mut object: Value) -> Value {
    object["metadata"]["name"] = json!("new");
    object
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}
