//! What the rules of one run share: a test bed, and the controller with everything that is known of it.

use std::path::{Path, PathBuf};

use k8s_openapi::jiff::SignedDuration;
use kube::Client;
use kube::core::ApiResource;
use libtest_mimic::Failed;
use mock_core::extension::Extension;
use serde_json::{Value, json};

use super::controller::{self, Host};
use super::ground::{asking, json_patch_merge, namespace};
use super::{Rule, Subject};
use crate::admission;
use crate::assets::Assets;
use crate::bed::{Options, TestBed};

/// What all rules share.
pub(super) struct Suite {
    pub(super) bed: TestBed,
    pub(super) client: Client,
    /// The controller's name.
    pub(super) name: String,
    /// Who it is to the API server.
    pub(super) user: String,
    /// The kubeconfig of that user.
    pub(super) kubeconfig: PathBuf,
    pub(super) host: Host,
    pub(super) subject: Subject,
    pub(super) resource: ApiResource,
    pub(super) finalizer: &'static str,
    pub(super) default_type: String,
    pub(super) timeout: SignedDuration,
    pub(super) schema: fn(&Value, &Value) -> Result<(), Failed>,
    /// Whether the kind's admission policy is in force.
    pub(super) is_assisted: bool,
}

impl Suite {
    /// Starts a bed, and gets the controller ready to be run in it: in the image of the folder `images`, if there is
    /// one.
    pub(super) async fn start<K: Extension>(
        assets: &Assets,
        subject: Subject,
        images: Option<&Path>,
    ) -> Result<Self, Failed> {
        let name = format!("mock-{}", K::kind(&()).to_lowercase());
        let bed = TestBed::start(assets, Options { users: vec![name.clone()], ..Options::default() }).await?;
        let folder = folder(&bed);
        std::fs::create_dir(&folder)?;
        let (host, user, kubeconfig) = if let Some(images) = images {
            controller::install::<K>(&bed, &name, images, &folder).await?
        } else {
            bed.grant(&name, super::schema::rules::<K>(&name)).await?;
            (Host::Program(subject.binary), name.clone(), bed.kubeconfig_for(&name)?)
        };
        Ok(Self {
            client: bed.client(),
            bed,
            name,
            user,
            kubeconfig,
            host,
            subject,
            resource: ApiResource::erase::<K>(&()),
            finalizer: K::FINALIZER,
            default_type: (*K::TYPES.first().ok_or("the kind serves no type")?).to_owned(),
            timeout: K::TIMEOUT,
            schema: super::schema::written_paths_exist::<K>,
            is_assisted: false,
        })
    }

    /// Puts the kind's admission policy in force, for the type that all rules share and for those that they have of
    /// their own.
    pub(super) async fn assist<K: Extension>(&mut self, rules: &[Rule]) -> Result<(), Failed> {
        let own = rules.iter().map(|rule| namespace(rule.name));
        let types: Vec<_> = [self.default_type.clone()].into_iter().chain(own).collect();
        let policies =
            mock_core::admission::objects::<K>(&self.name, &types).ok_or("its readers need the annotation")?;
        let mut probe = self.object("default", "probe");
        json_patch_merge(&mut probe, &asking("reconcile"));
        admission::install(&self.client, &policies, &[probe]).await?;
        self.is_assisted = true;
        Ok(())
    }

    /// An object of the default type without any annotation.
    pub(super) fn object(&self, namespace: &str, name: &str) -> Value {
        let mut spec = (self.subject.spec)();
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("type".to_owned(), json!(self.default_type));
        }
        json!({
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": { "name": name, "namespace": namespace, "annotations": {} },
            "spec": spec,
        })
    }

    pub(super) fn crd(&self) -> String {
        format!("{}.{}", self.resource.plural, self.resource.group)
    }

    /// Where the controllers of this suite log to.
    pub(super) fn log(&self) -> PathBuf {
        self.bed.dir().join(format!("{}.log", self.name))
    }

    /// What the controllers can read of the bed's folder, wherever they run.
    pub(super) fn folder(&self) -> PathBuf {
        folder(&self.bed)
    }

    /// The suite's kubeconfig.
    pub(super) fn kubeconfig(&self) -> Result<Value, Failed> {
        Ok(serde_json::from_slice(&std::fs::read(&self.kubeconfig)?)?)
    }

    /// The same for another server.
    pub(super) fn kubeconfig_of(&self, server: &str) -> Result<Value, Failed> {
        let mut kubeconfig = self.kubeconfig()?;
        let old = kubeconfig.pointer_mut("/clusters/0/cluster/server").ok_or("the kubeconfig has no server")?;
        *old = json!(server);
        Ok(kubeconfig)
    }

    /// Writes a file where controllers can read it, and returns its path.
    pub(super) fn write_file(&self, name: &str, content: &Value) -> Result<String, Failed> {
        let path = self.folder().join(name);
        std::fs::write(&path, content.to_string())?;
        Ok(path.to_str().ok_or("the test bed's folder is not UTF-8")?.to_owned())
    }
}

fn folder(bed: &TestBed) -> PathBuf {
    bed.dir().join("controllers")
}
