//! What the rules of one run share: an API server, the subject, and the launcher of controllers.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gardener_testbed::bed::TestBed;
use gardener_testbed::manifests::{self, Mode};
use kube::Client;
use kube::core::ApiResource;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::launcher::{Controller, Launcher};
use crate::subject::Subject;

/// The label of everything that a run creates on a cluster that is not its own. Its value is the run's ID.
pub const RUN_LABEL: &str = "extension-conformance/run";

/// What all rules of a run share.
pub struct Suite {
    client: Client,
    subject: Subject,
    resource: ApiResource,
    ground: Ground,
    /// How many controllers were started.
    started: AtomicUsize,
    /// The namespaces that the run has created, or was about to create.
    namespaces: Mutex<BTreeSet<String>>,
    /// The requests that create something.
    creations: TaskTracker,
}

/// Where the rules run.
enum Ground {
    /// A test bed for this run alone. The launcher starts the controllers, and the folder gets their logs.
    Own { bed: Arc<TestBed>, launcher: Arc<dyn Launcher>, logs: PathBuf },
    /// A cluster on which the controller runs already, and the ID of the run.
    Cluster { run: String },
}

impl Suite {
    /// Judges `subject`, whose controllers `launcher` starts, in a test bed that is ready for them. Applies the objects
    /// that the subject's spec names.
    pub async fn new(
        bed: impl Into<Arc<TestBed>>,
        subject: Subject,
        launcher: Arc<dyn Launcher>,
    ) -> Result<Self, Failed> {
        let bed = bed.into();
        let logs = bed.dir().join("logs");
        Self::logging_to(logs, bed, subject, launcher).await
    }

    /// Like [`new`](Self::new), with a folder for the controllers' logs.
    pub async fn logging_to(
        logs: PathBuf,
        bed: Arc<TestBed>,
        subject: Subject,
        launcher: Arc<dyn Launcher>,
    ) -> Result<Self, Failed> {
        let client = bed.client();
        for object in &subject.given {
            manifests::apply(&client, object, Mode::Apply).await?;
        }
        fs::create_dir_all(&logs)?;
        Ok(Self::on(client, subject, Ground::Own { bed, launcher, logs }))
    }

    /// Judges `subject`, whose controller runs already on the cluster of `client`. `run` tells this run from others: up to
    /// ten lower-case letters, digits and `-`.
    #[must_use]
    pub fn on_cluster(client: Client, subject: Subject, run: String) -> Self {
        Self::on(client, subject, Ground::Cluster { run })
    }

    fn on(client: Client, subject: Subject, ground: Ground) -> Self {
        let resource = subject.resource();
        let (started, namespaces, creations) = (AtomicUsize::new(0), Mutex::default(), TaskTracker::new());
        Self { client, subject, resource, ground, started, namespaces, creations }
    }

    /// The test bed. Fails on a cluster that is not the run's own.
    pub fn bed(&self) -> Result<&TestBed, Failed> {
        match &self.ground {
            Ground::Own { bed, .. } => Ok(bed),
            Ground::Cluster { .. } => Err("the cluster is not the kit's own: there is no test bed".into()),
        }
    }

    /// Whether the API server is the run's own, so that it may write everywhere.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        matches!(self.ground, Ground::Own { .. })
    }

    /// The part of all namespaces' names that tells this run from others.
    pub(crate) fn run(&self) -> &str {
        match &self.ground {
            Ground::Own { .. } => "t",
            Ground::Cluster { run } => run,
        }
    }

    /// The labels of everything that the run creates.
    pub(crate) fn labels(&self) -> Value {
        if self.is_own() { json!({}) } else { json!({ RUN_LABEL: self.run() }) }
    }

    /// Notes that the run is about to create a namespace.
    pub(crate) fn note_namespace(&self, namespace: &str) {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned());
    }

    /// The namespaces that the run has created, or was about to create.
    pub(crate) fn namespaces(&self) -> BTreeSet<String> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request that creates something. It is completed even if its rule is interrupted: the API server may carry
    /// out a request whose connection ends, and would create something after the clean-up.
    pub(crate) async fn create<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failed> {
        self.creations.spawn(request).await.map_err(|error| error.to_string().into())
    }

    /// Returns when all requests that create something have been completed.
    pub(crate) async fn all_created(&self) {
        self.creations.close();
        self.creations.wait().await;
    }

    /// A client that may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// What the controller serves.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The resource of the subject.
    #[must_use]
    pub const fn resource(&self) -> &ApiResource {
        &self.resource
    }

    /// Whether the launcher can start controllers for any type.
    #[must_use]
    pub fn serves_any_type(&self) -> bool {
        matches!(&self.ground, Ground::Own { launcher, .. } if launcher.serves_any_type())
    }

    /// Starts the controller that serves the subject's type for all rules.
    pub fn start_shared(&self) -> Result<Controller, Failed> {
        let (bed, launcher) = self.own()?;
        launcher.shared(bed, &self.new_log("shared")?)
    }

    /// Starts one more controller, for the rule of this namespace and maybe for another type.
    pub fn start_further(&self, namespace: &str, type_: &str) -> Result<Controller, Failed> {
        let (bed, launcher) = self.own()?;
        launcher.further(bed, &self.new_log(namespace)?, type_)
    }

    fn own(&self) -> Result<(&TestBed, &dyn Launcher), Failed> {
        match &self.ground {
            Ground::Own { bed, launcher, .. } => Ok((bed, &**launcher)),
            Ground::Cluster { .. } => Err("the kit does not start controllers on a cluster that is not its own".into()),
        }
    }

    /// The path of a new log file. Its name contains `of`, such as the namespace of the rule that starts the controller.
    pub fn new_log(&self, of: &str) -> Result<PathBuf, Failed> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        match &self.ground {
            Ground::Own { logs, .. } => Ok(logs.join(format!("controller-{number}-{of}.log"))),
            Ground::Cluster { .. } => Err("the kit starts no controller here, so there is no log".into()),
        }
    }
}
