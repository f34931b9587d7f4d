//! What the rules of one run share: a test bed, the subject, and the launcher of controllers.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gardener_testbed::bed::TestBed;
use gardener_testbed::manifests::{self, Mode};
use kube::Client;
use kube::core::ApiResource;
use libtest_mimic::Failed;

use crate::launcher::{Controller, Launcher};
use crate::subject::Subject;

/// What all rules of a run share.
pub struct Suite {
    bed: TestBed,
    client: Client,
    subject: Subject,
    resource: ApiResource,
    launcher: Arc<dyn Launcher>,
    /// How many controllers were started.
    started: AtomicUsize,
}

impl Suite {
    /// Judges `subject`, whose controllers `launcher` starts, in a test bed that is ready for them. Applies the objects
    /// that the subject's spec names.
    pub async fn new(bed: TestBed, subject: Subject, launcher: Arc<dyn Launcher>) -> Result<Self, Failed> {
        let client = bed.client();
        for object in &subject.given {
            manifests::apply(&client, object, Mode::Apply).await?;
        }
        let resource = subject.resource();
        Ok(Self { client, resource, bed, subject, launcher, started: AtomicUsize::new(0) })
    }

    /// The test bed.
    #[must_use]
    pub const fn bed(&self) -> &TestBed {
        &self.bed
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

    /// Starts the controller that serves the subject's type for all rules.
    pub fn start_shared(&self) -> Result<Controller, Failed> {
        self.launcher.shared(&self.bed, &self.new_log()?)
    }

    /// Starts one more controller, for another type.
    pub fn start_further(&self, type_: &str) -> Result<Controller, Failed> {
        self.launcher.further(&self.bed, &self.new_log()?, type_)
    }

    /// The path of a new log file.
    pub fn new_log(&self) -> Result<PathBuf, Failed> {
        let folder = self.bed.dir().join("logs");
        fs::create_dir_all(&folder)?;
        Ok(folder.join(format!("controller-{}.log", self.started.fetch_add(1, Ordering::Relaxed))))
    }
}
