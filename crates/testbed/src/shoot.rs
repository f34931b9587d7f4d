//! From manifests of a Shoot, its `CloudProfile` and its Seed to the objects that gardenlet would write to the seed.

mod defaults;
mod objects;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use mock_core::contract::{GROUP, VERSION, whole_seconds};
use serde_json::{Value, json};

pub(crate) use self::objects::CLOUD_CONFIG;
use crate::json::{get, list, set, text};

/// The file with the `CloudProfile`, beside that of the Shoot.
const CLOUDPROFILE_FILE: &str = "20-cloudprofile.yaml";
/// The file with the Seed, beside that of the Shoot.
const SEED_FILE: &str = "40-seed.yaml";

/// API version of Shoot, `CloudProfile` and Seed.
const GARDEN_API_VERSION: &str = "core.gardener.cloud/v1beta1";

/// Why manifests could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// A file could not be read.
    #[error("cannot read the {kind} in {}: {source}; put it there or give --{} FILE", .file.display(), .kind.to_lowercase())]
    Read {
        /// What was looked for.
        kind: &'static str,
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is no YAML.
    #[error("{}: is no YAML: {reason}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where, and why.
        reason: String,
    },
    /// A file does not hold the one object of the wanted kind.
    #[error("{}: must hold one {kind} of {GARDEN_API_VERSION}, but holds {found}", .file.display())]
    Kind {
        /// The file.
        file: PathBuf,
        /// The wanted kind.
        kind: &'static str,
        /// What it holds instead.
        found: String,
    },
    /// A field is missing or cannot be used.
    #[error("{}: {object}: {field} {problem}; {remedy}", .file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// Kind and name.
        object: String,
        /// The field's path.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
}

/// A Shoot with what it refers to, defaulted as gardener-apiserver would.
#[derive(Clone, Debug)]
pub struct Landscape {
    shoot: Value,
    cloudprofile: Value,
    seed: Value,
}

impl Landscape {
    /// Reads the manifests. Without their own paths, `CloudProfile` and Seed are looked for beside the Shoot, in
    /// `20-cloudprofile.yaml` and `40-seed.yaml`. A file may hold further objects of other kinds.
    pub fn load(shoot: &Path, cloudprofile: Option<&Path>, seed: Option<&Path>) -> Result<Self, ManifestError> {
        let beside =
            |given: Option<&Path>, name: &str| given.map_or_else(|| shoot.with_file_name(name), Path::to_owned);
        let shoot = Manifest::read(shoot, "Shoot")?;
        let cloudprofile = Manifest::read(&beside(cloudprofile, CLOUDPROFILE_FILE), "CloudProfile")?;
        let seed = Manifest::read(&beside(seed, SEED_FILE), "Seed")?;
        let defaulted = defaults::apply(&shoot, &cloudprofile, &seed)?;
        Ok(Self { shoot: defaulted, cloudprofile: cloudprofile.object, seed: seed.object })
    }

    /// Whether the Shoot has no workers. Gardener then creates none of our five kinds: there is nothing to wait for.
    #[must_use]
    pub fn is_workerless(&self) -> bool {
        is_workerless(&self.shoot)
    }

    /// The same with another `CloudProfile`.
    pub(crate) fn with_cloudprofile(&self, change: impl FnOnce(&mut Value)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.cloudprofile);
        changed
    }

    /// The plan of this Shoot, or of one of many like it: an index becomes the end of its name.
    #[must_use]
    pub fn plan(&self, index: Option<usize>) -> ShootPlan {
        let mut shoot = self.shoot.clone();
        if let Some(index) = index {
            let name = format!("{}-{index}", text(&shoot, "metadata.name").unwrap_or_default());
            set(&mut shoot, "metadata.name", name);
        }
        defaults::identify(&mut shoot);
        ShootPlan {
            namespace: text(&shoot, "status.technicalID").unwrap_or_default().to_owned(),
            shoot,
            cloudprofile: self.cloudprofile.clone(),
            seed: self.seed.clone(),
            infrastructure_status: None,
            user_data_secrets: BTreeMap::new(),
            state: ShootState::default(),
        }
    }
}

/// One object of a [`ShootPlan`].
#[derive(Clone, Debug)]
pub struct Planned {
    /// Objects of one stage are written together; the next stage begins when all are ready.
    pub stage: u8,
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The object without annotations.
    pub object: Value,
    /// Whether every reconciliation of the Shoot asks for one of the object. Of Infrastructure it does not
    /// (`pkg/component/extensions/infrastructure/infrastructure.go`).
    pub operation_always: bool,
}

/// What the garden keeps of a Shoot's extension objects while it moves to another seed: `status.state` and
/// `status.resources` by kind, name and purpose. The objects that `resources` refer to are not kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShootState(BTreeMap<(String, String, Option<String>), Value>);

impl ShootState {
    /// Keeps the state of an object, if it has any (`pkg/utils/gardener/shootstate/shootstate.go`).
    pub fn save(&mut self, object: &Value) {
        let mut saved = json!({});
        if let Some(state) = get(object, "status.state") {
            set(&mut saved, "state", state.clone());
        }
        if !list(object, "status.resources").is_empty() {
            set(&mut saved, "resources", list(object, "status.resources"));
        }
        if saved != json!({}) {
            self.0.insert(Self::key(object), saved);
        }
    }

    /// The fields `state` and `resources` that were kept of an object.
    #[must_use]
    pub fn of(&self, object: &Value) -> Option<&Value> {
        self.0.get(&Self::key(object))
    }

    fn key(object: &Value) -> (String, String, Option<String>) {
        let field = |path| text(object, path).map(str::to_owned);
        (field("kind").unwrap_or_default(), field("metadata.name").unwrap_or_default(), field("spec.purpose"))
    }
}

/// One Shoot as gardenlet plans it, with what it learns on the way.
#[derive(Clone, Debug)]
pub struct ShootPlan {
    /// The namespace of its control plane in the seed, and the name of its Cluster.
    pub namespace: String,
    /// The complete Shoot.
    pub shoot: Value,
    /// The complete `CloudProfile`.
    pub cloudprofile: Value,
    /// The complete Seed.
    pub seed: Value,
    /// `status.providerStatus` of the Infrastructure, for ControlPlane and Worker.
    pub(crate) infrastructure_status: Option<Value>,
    /// By name of an OperatingSystemConfig, the Secret that its status names.
    pub(crate) user_data_secrets: BTreeMap<String, String>,
    /// What was saved when the Shoot left its seed.
    pub(crate) state: ShootState,
}

impl ShootPlan {
    /// The Shoot's name, and that of its Infrastructure, ControlPlane, Network and Worker.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.shoot, "metadata.name").unwrap_or_default()
    }

    /// Whether the Shoot has no workers, and therefore no [`objects`](Self::objects).
    #[must_use]
    pub fn is_workerless(&self) -> bool {
        is_workerless(&self.shoot)
    }

    /// Whether the Shoot's owner wants it hibernated.
    #[must_use]
    pub fn is_hibernated(&self) -> bool {
        get(&self.shoot, "spec.hibernation.enabled") == Some(&Value::Bool(true))
    }

    /// Hibernates the Shoot or wakes it up; takes effect when the Cluster is written.
    pub fn set_hibernated(&mut self, hibernated: bool) {
        set(&mut self.shoot, "spec.hibernation.enabled", hibernated);
    }

    /// What was saved when the Shoot left its seed.
    #[must_use]
    pub fn state(&self) -> &ShootState {
        &self.state
    }

    /// The Cluster, which carries complete copies of Shoot, `CloudProfile` and Seed (`pkg/extensions/cluster.go`).
    #[must_use]
    pub fn cluster(&self) -> Value {
        json!({
            "apiVersion": api_version(),
            "kind": "Cluster",
            "metadata": {"name": self.namespace},
            "spec": {"cloudProfile": self.cloudprofile, "seed": self.seed, "shoot": self.shoot},
        })
    }

    /// The namespace of the Shoot's control plane, with the labels by which Gardener recognises it
    /// (`pkg/gardenlet/operation/botanist/namespaces.go`).
    #[must_use]
    pub fn namespace_object(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {
                    "gardener.cloud/role": "shoot",
                    "shoot.gardener.cloud/provider": text(&self.shoot, "spec.provider.type"),
                    "seed.gardener.cloud/provider": text(&self.seed, "spec.provider.type"),
                },
            },
        })
    }

    /// The Secrets that the objects refer to: the copy of the credentials. None without workers.
    #[must_use]
    pub fn secrets(&self) -> Vec<Value> {
        if self.is_workerless() {
            return Vec::new();
        }
        vec![json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": objects::CLOUDPROVIDER, "namespace": self.namespace},
            "type": "Opaque",
            "data": {"user": "bm9ib2R5"},
        })]
    }

    /// The extension objects in gardenlet's order and with its names; none without workers. What gardenlet knows only
    /// later (statuses of the Infrastructure and of the `OperatingSystemConfig`s) is in them as far as it is known.
    #[must_use]
    pub fn objects(&self) -> Vec<Planned> {
        objects::plan(self)
    }

    /// Notes in the Shoot's status what gardenlet is doing; extensions see it through the Cluster.
    pub(crate) fn set_last_operation(&mut self, operation: &str, state: &str, progress: u8) {
        let now = whole_seconds(k8s_openapi::jiff::Timestamp::now()).to_string();
        let last = json!({
            "type": operation,
            "state": state,
            "progress": progress,
            "description": format!("{operation} of the Shoot is {state}."),
            "lastUpdateTime": now,
        });
        set(&mut self.shoot, "status.lastOperation", last);
    }
}

/// API version of the extension objects.
pub(crate) fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

fn is_workerless(shoot: &Value) -> bool {
    list(shoot, "spec.provider.workers").is_empty()
}

/// An object and where it comes from.
struct Manifest {
    file: PathBuf,
    object: Value,
}

impl Manifest {
    fn read(file: &Path, kind: &'static str) -> Result<Self, ManifestError> {
        let content =
            fs::read_to_string(file).map_err(|source| ManifestError::Read { kind, file: file.to_owned(), source })?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&content)
            .map_err(|error| ManifestError::Syntax { file: file.to_owned(), reason: error.to_string() })?;
        let kinds = |document: &Value| {
            let field = |path| text(document, path).unwrap_or("?").to_owned();
            format!("{} of {}", field("kind"), field("apiVersion"))
        };
        let found = if documents.is_empty() {
            "nothing".to_owned()
        } else {
            documents.iter().map(kinds).collect::<Vec<_>>().join(", ")
        };
        let mut wanted = documents.into_iter().filter(|document| {
            text(document, "kind") == Some(kind) && text(document, "apiVersion") == Some(GARDEN_API_VERSION)
        });
        match (wanted.next(), wanted.next()) {
            (Some(object), None) => {
                let manifest = Self { file: file.to_owned(), object };
                manifest.required(&manifest.object, "metadata.name", "", "give the object a name")?;
                Ok(manifest)
            }
            _ => Err(ManifestError::Kind { file: file.to_owned(), kind, found }),
        }
    }

    /// The text at `path` of a part of the object that stands at `prefix` (with the dot at its end).
    fn required<'a>(
        &self,
        part: &'a Value,
        path: &str,
        prefix: &str,
        remedy: impl Into<String>,
    ) -> Result<&'a str, ManifestError> {
        text(part, path).ok_or_else(|| self.error(format!("{prefix}{path}"), "is missing", remedy))
    }

    fn error(&self, field: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> ManifestError {
        let name = text(&self.object, "metadata.name").unwrap_or("without a name");
        ManifestError::Field {
            file: self.file.clone(),
            object: format!("{} {name}", text(&self.object, "kind").unwrap_or_default()),
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

#[cfg(test)]
mod tests;
