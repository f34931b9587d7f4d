//! A garden cluster that admits a Shoot: a real gardener-apiserver on a separate test bed.

use std::io;
use std::path::Path;
use std::time::Duration;

use extension_contract::json::{get, remove, set, set_default, text};
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::gardener_apiserver::GardenerApiserver;
use gardener_testbed::gardener_controller_manager::GardenerControllerManager;
use gardener_testbed::manifests::{self, ManifestsError, Mode};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::error::LandscapeError;
use super::landscape::Landscape;
use super::manifest::{GARDEN_API_VERSION, Manifest, Manifests};
use super::plan::is_workerless;

/// Limit for the caches of the admission plugins to see the objects that were created before. It also delays every
/// refusal, because a refusal does not say whether it follows from an old cache.
const CACHES: Duration = Duration::from_secs(3);
/// Limit for gardener-controller-manager to merge a `NamespacedCloudProfile` with its parent.
const MERGED: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// The controllers serve every type, so that no type needs a registration. The feature gates, which are off by default,
/// only permit fields that manifests of a garden with these features contain.
const FLAGS: [&str; 2] = [
    "--disable-admission-plugins=ExtensionValidator",
    "--feature-gates=InPlaceNodeUpdates=true,VersionClassificationLifecycle=true",
];

/// The namespace of Gardener's own objects.
const GARDEN: &str = "garden";

/// The API server's message for a group or version that it does not serve.
const NO_SUCH_PATH: &str = "page not found";

/// The name of the credentials of a Shoot that names none.
const CREDENTIALS: &str = "placeholder";

/// A running gardener-apiserver. It ends when it is dropped.
pub struct Garden {
    bed: TestBed,
    client: Client,
    _gardener_apiserver: GardenerApiserver,
    _controller_manager: Option<GardenerControllerManager>,
    /// The objects that exist already.
    created: Vec<Value>,
}

impl Garden {
    /// Starts the servers, which takes about 10 s. See [`Manifests::need_controller_manager`] for the last argument.
    ///
    /// # Errors
    /// A server does not start.
    pub async fn start(
        assets: &Assets,
        gardener_apiserver: &Path,
        controller_manager: Option<&Path>,
    ) -> Result<Self, LandscapeError> {
        let bed = TestBed::start(assets, Options { audit: false, janitor: false, ..Options::default() }).await?;
        let apiserver = GardenerApiserver::start(&bed, gardener_apiserver, &FLAGS).await?;
        let client = bed.client();
        let created = vec![namespace(GARDEN), issuer()];
        for object in &created {
            // The test bed has created the namespace.
            let answer = manifests::apply(&client, object, Mode::Apply).await;
            answer.map_err(|error| LandscapeError::Unanswered(source(error)))?;
        }
        let manager = match controller_manager {
            Some(program) => Some(GardenerControllerManager::start(&bed, program).await?),
            None => None,
        };
        Ok(Self { bed, client, _gardener_apiserver: apiserver, _controller_manager: manager, created })
    }

    /// Kills the servers. Returns when they are gone.
    ///
    /// # Errors
    /// The servers' folder cannot be removed.
    pub async fn stop(self) -> io::Result<()> {
        self.bed.stop().await
    }

    /// Admits a Shoot: creates what it needs, and lets gardener-apiserver answer a dry run of its creation.
    ///
    /// Completes the garden with what a Shoot needs in every garden, if the manifests do not contain it: namespaces,
    /// the Project, and credentials. `note` receives a line for each change of an object.
    ///
    /// # Errors
    /// gardener-apiserver refuses an object, with its own message.
    pub async fn admit(&mut self, manifests: &Manifests, note: &dyn Fn(&str)) -> Result<Landscape, LandscapeError> {
        let mut shoot = as_new(&manifests.shoot, note);
        let namespace = text(&shoot.object, "metadata.namespace").unwrap_or_default().to_owned();
        let mut others: Vec<&Manifest> = manifests.others.iter().collect();
        others.sort_by_key(|other| order(&other.object));

        let is_project =
            |other: &&Manifest| other.is_a(&["Project"]) && text(&other.object, "spec.namespace") == Some(&namespace);
        let project = others.iter().copied().find(is_project).map(|project| project.name().to_owned());
        for object in needed_before(&namespace, project.is_some(), &others) {
            self.complete(&shoot, object).await?;
        }
        for other in others {
            self.create(&as_new(other, note)).await?;
            if other.is_a(&["NamespacedCloudProfile"]) {
                self.merged(other).await?;
            }
        }
        if !is_workerless(&shoot.object) {
            name_credentials(&mut shoot.object, note);
            for object in missing_credentials(&shoot.object, &namespace, &manifests.others) {
                self.complete(&shoot, object).await?;
            }
        }
        set_default(&mut shoot.object, "spec.seedName", manifests.seed.as_str());

        let admitted = self.admitted(&shoot.object, Mode::DryRun).await.map_err(|error| refused(&shoot, error))?;
        let cloudprofile = self.cloudprofile(&admitted).await?;
        let seed = text(&admitted, "spec.seedName").unwrap_or_default();
        let seed = self.read(&format!("/apis/{GARDEN_API_VERSION}/seeds/{seed}")).await?;
        let project = project.unwrap_or_else(|| Landscape::project_of(&namespace).to_owned());
        let others = manifests.others.iter().map(|other| &other.object);
        Ok(Landscape::new(admitted, cloudprofile, seed).in_project(project).registering(others))
    }

    /// Creates an object of the manifests.
    async fn create(&mut self, manifest: &Manifest) -> Result<(), LandscapeError> {
        if !self.created.contains(&manifest.object) {
            self.admitted(&manifest.object, Mode::Apply).await.map_err(|error| refused(manifest, error))?;
            self.created.push(manifest.object.clone());
        }
        Ok(())
    }

    /// Creates an object that the manifests need and do not contain.
    async fn complete(&mut self, shoot: &Manifest, object: Value) -> Result<(), LandscapeError> {
        if self.created.contains(&object) {
            return Ok(());
        }
        if let Err(error) = self.admitted(&object, Mode::Apply).await {
            let object = describe(&object);
            return Err(match source(error) {
                kube::Error::Api(status) => LandscapeError::Incomplete {
                    file: shoot.file.clone(),
                    object,
                    namespace: text(&shoot.object, "metadata.namespace").unwrap_or_default().to_owned(),
                    message: status.message.clone(),
                },
                error => LandscapeError::Unanswered(error),
            });
        }
        self.created.push(object);
        Ok(())
    }

    /// Returns an object as gardener-apiserver answers it, once the caches of its admission plugins are up to date.
    async fn admitted(&self, object: &Value, mode: Mode) -> Result<Value, ManifestsError> {
        let deadline = Instant::now() + CACHES;
        loop {
            match manifests::create(&self.client, object, mode).await {
                Err(error) if may_be_late(&error) && Instant::now() < deadline => sleep(POLL).await,
                answer => return answer,
            }
        }
    }

    /// Returns when gardener-controller-manager has merged a `NamespacedCloudProfile` with its parent.
    async fn merged(&self, profile: &Manifest) -> Result<(), LandscapeError> {
        let deadline = Instant::now() + MERGED;
        let namespace = text(&profile.object, "metadata.namespace").unwrap_or_default();
        let path = namespaced_cloudprofile(namespace, profile.name());
        loop {
            let current = self.read(&path).await?;
            if get(&current, "status.observedGeneration") == get(&current, "metadata.generation") {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let (file, name) = (profile.file.clone(), profile.name().to_owned());
                return Err(LandscapeError::NotMerged { file, name, seconds: MERGED.as_secs() });
            }
            sleep(POLL).await;
        }
    }

    /// The `CloudProfile` of a Shoot, as extensions see it in the Cluster (`pkg/utils/gardener/cloudprofile.go`).
    async fn cloudprofile(&self, shoot: &Value) -> Result<Value, LandscapeError> {
        let name = text(shoot, "spec.cloudProfile.name").unwrap_or_default();
        if text(shoot, "spec.cloudProfile.kind") != Some("NamespacedCloudProfile") {
            return self.read(&format!("/apis/{GARDEN_API_VERSION}/cloudprofiles/{name}")).await;
        }
        let namespace = text(shoot, "metadata.namespace").unwrap_or_default();
        let profile = self.read(&namespaced_cloudprofile(namespace, name)).await?;
        Ok(json!({
            "apiVersion": GARDEN_API_VERSION,
            "kind": "CloudProfile",
            "metadata": {"name": name, "namespace": namespace},
            "spec": get(&profile, "status.cloudProfileSpec"),
        }))
    }

    async fn read(&self, path: &str) -> Result<Value, LandscapeError> {
        let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
        let answer = async { self.client.request(request?).await };
        answer.await.map_err(LandscapeError::Unanswered)
    }
}

/// The place of an object among those that are created before the Shoot: each admission plugin refuses objects whose
/// references do not exist.
fn order(object: &Value) -> usize {
    const ORDER: [&str; 6] =
        ["Namespace", "Project", "ControllerDeployment", "Secret", "CloudProfile", "NamespacedCloudProfile"];
    let kind = text(object, "kind").unwrap_or_default();
    ORDER.iter().position(|first| *first == kind).unwrap_or(ORDER.len())
}

/// The object as a new one: without metadata that no new object has, if it was read from a garden.
fn as_new(manifest: &Manifest, note: &dyn Fn(&str)) -> Manifest {
    const OF_THE_SERVER: [&str; 8] = [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "uid",
    ];
    let mut new = manifest.clone();
    let path = |field: &str| format!("metadata.{field}");
    let of_a_cluster: Vec<_> =
        OF_THE_SERVER.into_iter().filter(|field| get(&new.object, &path(field)).is_some()).collect();
    if !of_a_cluster.is_empty() {
        note(&format!("{} is taken as a new object, without {}", describe(&new.object), of_a_cluster.join(", ")));
        for field in of_a_cluster {
            remove(&mut new.object, &path(field));
        }
    }
    new
}

/// The namespaces and the Project that are missing.
fn needed_before(shoot: &str, has_project: bool, others: &[&Manifest]) -> Vec<Value> {
    let given = |name: &str| {
        let is_it = |other: &&Manifest| text(&other.object, "kind") == Some("Namespace") && other.name() == name;
        others.iter().any(is_it)
    };
    let mut names = vec![shoot];
    names.extend(others.iter().filter_map(|other| text(&other.object, "metadata.namespace")));
    names.sort_unstable();
    names.dedup();
    let mut needed: Vec<Value> =
        names.into_iter().filter(|name| *name != "default" && !given(name)).map(namespace).collect();
    if !has_project {
        needed.push(json!({
            "apiVersion": GARDEN_API_VERSION,
            "kind": "Project",
            "metadata": {"name": Landscape::project_of(shoot)},
            "spec": {"namespace": shoot},
        }));
    }
    needed
}

/// A namespace that a Project of any name may adopt.
fn namespace(name: &str) -> Value {
    let labels = json!({"gardener.cloud/role": "project", "project.gardener.cloud/name": Landscape::project_of(name)});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// What makes a garden support the managed issuer of ServiceAccount tokens, which Shoots of Gardener's own examples ask
/// for (`plugin/pkg/shoot/validator/admission.go`).
fn issuer() -> Value {
    let labels = json!({"gardener.cloud/role": "shoot-service-account-issuer"});
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "placeholder-issuer", "namespace": GARDEN, "labels": labels},
        "stringData": {"hostname": "issuer.example"},
    })
}

/// Names credentials for a Shoot that names none: gardener-apiserver requires some, the provider here needs none.
fn name_credentials(shoot: &mut Value, note: &dyn Fn(&str)) {
    let names = ["spec.credentialsBindingName", "spec.secretBindingName"];
    if names.iter().all(|name| get(shoot, name).is_none()) {
        note(&format!("the Shoot names no credentials: spec.credentialsBindingName is {CREDENTIALS} here"));
        set(shoot, "spec.credentialsBindingName", CREDENTIALS);
    }
}

/// The credentials that a Shoot names and the manifests do not contain, with a Secret that holds nothing.
fn missing_credentials(shoot: &Value, namespace: &str, others: &[Manifest]) -> Vec<Value> {
    let provider = json!({"type": get(shoot, "spec.provider.type")});
    let given = |kind: &str, name: &str| {
        others.iter().any(|other| {
            text(&other.object, "kind") == Some(kind)
                && other.name() == name
                && text(&other.object, "metadata.namespace") == Some(namespace)
        })
    };
    let bindings = [
        ("spec.credentialsBindingName", "CredentialsBinding", "security.gardener.cloud/v1alpha1"),
        ("spec.secretBindingName", "SecretBinding", GARDEN_API_VERSION),
    ];
    let mut missing = Vec::new();
    for (path, kind, version) in bindings {
        let Some(name) = text(shoot, path).filter(|name| !given(kind, name)) else { continue };
        let metadata = json!({"name": name, "namespace": namespace});
        if !given("Secret", name) {
            missing.push(
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"user": "nobody"}}),
            );
        }
        let mut binding = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "provider": provider});
        let reference = json!({"apiVersion": "v1", "kind": "Secret", "name": name, "namespace": namespace});
        if kind == "CredentialsBinding" {
            set(&mut binding, "credentialsRef", reference);
        } else {
            set(&mut binding, "secretRef", json!({"name": name, "namespace": namespace}));
        }
        missing.push(binding);
    }
    missing
}

fn namespaced_cloudprofile(namespace: &str, name: &str) -> String {
    format!("/apis/{GARDEN_API_VERSION}/namespaces/{namespace}/namespacedcloudprofiles/{name}")
}

fn describe(object: &Value) -> String {
    let field = |path| text(object, path).unwrap_or("without a name");
    format!("{} {}", field("kind"), field("metadata.name"))
}

/// Returns whether the refusal can follow from an old cache. That of a decoder cannot.
fn may_be_late(error: &ManifestsError) -> bool {
    const AT_ONCE: [&str; 3] = ["strict decoding error", "cannot be handled as", NO_SUCH_PATH];
    let ManifestsError::Refused { source: kube::Error::Api(status), .. } = error else { return false };
    !status.is_already_exists() && !AT_ONCE.iter().any(|text| status.message.contains(text))
}

fn refused(manifest: &Manifest, error: ManifestsError) -> LandscapeError {
    let status = match source(error) {
        kube::Error::Api(status) => status,
        error => return LandscapeError::Unanswered(error),
    };
    let remedy = if status.message.contains(NO_SUCH_PATH) {
        "; the garden serves no such kind: remove the object, or correct its apiVersion and kind"
    } else if ["not found", "could not find"].iter().any(|text| status.message.contains(text)) {
        "; the garden holds the objects of the given files alone: add what is missing to one of them"
    } else {
        ""
    };
    LandscapeError::Refused {
        file: manifest.file.clone(),
        object: describe(&manifest.object),
        message: status.message.clone(),
        remedy,
    }
}

/// The error of a request that [`manifests::create`] has sent.
fn source(error: ManifestsError) -> kube::Error {
    match error {
        ManifestsError::Refused { source, .. } => source,
        // Only reading files fails otherwise.
        error => kube::Error::Service(error.into()),
    }
}
