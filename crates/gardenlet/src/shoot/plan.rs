//! The plan of one Shoot: what gardenlet knows about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use extension_contract::json::{get, list, set, text, without_nulls};
use extension_contract::kinds::Kind;
use extension_contract::{GROUP, VERSION, whole_seconds};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::hash::sha256_hex;
use super::landscape::Landscape;
use super::parts::Part;
use super::registrations::Registrations;

/// The Secret with the copy of the Shoot's credentials.
pub(super) const CLOUDPROVIDER: &str = "cloudprovider";

/// The namespace of Gardener's own objects in a seed.
pub(super) const GARDEN: &str = "garden";

/// The data of all Secrets with credentials. No provider here needs some.
pub(super) fn credentials() -> Value {
    json!({"user": "bm9ib2R5"})
}

/// One extension object of a [`ShootPlan`] or a [`SeedPlan`](super::SeedPlan).
#[derive(Clone, Debug)]
pub struct Planned {
    /// The part of the Shoot or Seed that the object belongs to.
    pub part: Part,
    /// The object's kind.
    pub kind: &'static str,
    /// The object's name.
    pub name: String,
    /// The object, without gardenlet's requests.
    pub object: Value,
    /// When gardenlet requests a reconciliation of the object.
    pub asks: Asks,
    /// The Secret in `spec.secretRef` that gardenlet writes before the object, and again before it deletes the object.
    pub secret: Option<Value>,
    /// The part that the object is deleted with. It differs for Extensions.
    pub(crate) deleted_with: Part,
    /// The part that the object is migrated with. It differs for Extensions.
    pub(crate) leaves_with: Part,
    /// How long gardenlet waits until the object is ready.
    pub(crate) timeout: Duration,
}

impl Planned {
    pub(super) fn new(part: Part, kind: &'static Kind, name: String, namespace: Option<&str>, spec: Value) -> Self {
        let mut metadata = json!({"name": name});
        if let Some(namespace) = namespace {
            set(&mut metadata, "namespace", namespace);
        }
        let object = json!({
            "apiVersion": api_version(),
            "kind": kind.name,
            "metadata": metadata,
            "spec": without_nulls(spec),
        });
        Self {
            part,
            kind: kind.name,
            name,
            object,
            asks: Asks::Always,
            secret: None,
            deleted_with: part,
            leaves_with: part,
            timeout: kind.timeout,
        }
    }

    pub(super) fn asking(self, asks: Asks) -> Self {
        Self { asks, ..self }
    }

    /// Sets the Secret that `spec.secretRef` refers to.
    pub(super) fn with_secret(mut self, name: &str, namespace: &str, data: &Value) -> Self {
        let metadata = json!({"name": name, "namespace": namespace});
        set(&mut self.object, "spec.secretRef", metadata.clone());
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data});
        Self { secret: Some(secret), ..self }
    }
}

/// When gardenlet requests a reconciliation of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// In each reconciliation of the Shoot.
    Always,
    /// If the Shoot's owner requests it, or if the last operation has failed or is outdated
    /// (`pkg/component/extensions/infrastructure/infrastructure.go`).
    OnRequest,
    /// As [`OnRequest`](Self::OnRequest), and if the object is new or its record changes
    /// (`pkg/component/extensions/dnsrecord/dnsrecord.go`).
    OnRequestOrChange,
    /// If the object is new, its record changes, or the last operation has failed or is outdated.
    OnChange,
    /// As gardenlet's own controllers for kinds that it watches
    /// (`pkg/gardenlet/controller/{backupbucket,backupentry,bastion}/reconciler.go`).
    InRounds,
}

/// The state that the garden keeps while a Shoot moves to another seed: `status.state` and `status.resources` of the
/// extension objects, by kind, name and purpose. The objects that `status.resources` refers to are not kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShootState(BTreeMap<(String, String, Option<String>), Value>);

impl ShootState {
    /// Saves the state of an object, if it has one (`pkg/utils/gardener/shootstate/shootstate.go`).
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

    /// Returns the saved fields `state` and `resources` of an object, or `None` if it had neither.
    #[must_use]
    pub fn of(&self, object: &Value) -> Option<&Value> {
        self.0.get(&Self::key(object))
    }

    fn key(object: &Value) -> (String, String, Option<String>) {
        let field = |path| text(object, path).map(str::to_owned);
        (field("kind").unwrap_or_default(), field("metadata.name").unwrap_or_default(), field("spec.purpose"))
    }
}

/// One Shoot as gardenlet plans it, with what gardenlet learns from its extension objects.
#[derive(Clone, Debug)]
pub struct ShootPlan {
    /// The namespace of the Shoot's control plane in the seed, and the name of its Cluster.
    pub namespace: String,
    /// The complete Shoot.
    pub shoot: Value,
    /// The complete `CloudProfile`.
    pub cloudprofile: Value,
    /// The complete Seed.
    pub seed: Value,
    pub(super) project: String,
    pub(super) registrations: Registrations,
    /// The kinds of the objects in the plan; `None` means those that every Shoot has.
    pub(super) kinds: Option<BTreeSet<&'static str>>,
    /// What gardenlet knows of the Seed's bucket.
    pub(crate) bucket: Bucket,
    /// `status.providerStatus` of the Infrastructure, for ControlPlane and Worker.
    pub(crate) infrastructure_status: Option<Value>,
    /// The Secret in the status of each OperatingSystemConfig, by the object's name.
    pub(crate) user_data_secrets: BTreeMap<String, String>,
    /// The state that was saved when the Shoot left its previous seed.
    pub(crate) state: ShootState,
}

impl ShootPlan {
    pub(super) fn new(shoot: Value, landscape: &Landscape) -> Self {
        Self {
            namespace: text(&shoot, "status.technicalID").unwrap_or_default().to_owned(),
            shoot,
            cloudprofile: landscape.cloudprofile.clone(),
            seed: landscape.seed.clone(),
            project: landscape.project.clone(),
            registrations: landscape.registrations.clone(),
            kinds: landscape.kinds.clone(),
            bucket: Bucket::default(),
            infrastructure_status: None,
            user_data_secrets: BTreeMap::new(),
            state: ShootState::default(),
        }
    }

    /// The name of the Shoot, and of its Infrastructure, ControlPlane, Network and Worker.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.shoot, "metadata.name").unwrap_or_default()
    }

    /// Returns whether the Shoot has no workers. It then has [`objects`](Self::objects) only of DNS, of backups and of
    /// Extensions.
    #[must_use]
    pub fn is_workerless(&self) -> bool {
        is_workerless(&self.shoot)
    }

    /// Returns whether the Shoot's owner wants it hibernated.
    #[must_use]
    pub fn is_hibernated(&self) -> bool {
        get(&self.shoot, "spec.hibernation.enabled") == Some(&Value::Bool(true))
    }

    /// Hibernates the Shoot or wakes it up. Extensions see the change in the next [`cluster`](Self::cluster).
    pub fn set_hibernated(&mut self, hibernated: bool) {
        set(&mut self.shoot, "spec.hibernation.enabled", hibernated);
    }

    /// The state that was saved when the Shoot left its previous seed.
    #[must_use]
    pub fn state(&self) -> &ShootState {
        &self.state
    }

    /// The Cluster, with complete copies of Shoot, `CloudProfile` and Seed (`pkg/extensions/cluster.go`).
    #[must_use]
    pub fn cluster(&self) -> Value {
        json!({
            "apiVersion": api_version(),
            "kind": "Cluster",
            "metadata": {"name": self.namespace},
            "spec": {"cloudProfile": self.cloudprofile, "seed": self.seed, "shoot": self.shoot},
        })
    }

    /// The namespace of the Shoot's control plane, with Gardener's labels
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

    /// The Secret that most extension objects refer to: a copy of the credentials. A Shoot without workers has none.
    #[must_use]
    pub fn cloudprovider(&self) -> Option<Value> {
        (!self.is_workerless()).then(|| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": CLOUDPROVIDER, "namespace": self.namespace},
                "type": "Opaque",
                "data": credentials(),
            })
        })
    }

    /// Returns whether the objects of a kind are part of the plan. `on_demand` means that not every Shoot has some.
    pub(super) fn has(&self, kind: &Kind, on_demand: bool) -> bool {
        self.kinds.as_ref().map_or(!on_demand, |kinds| kinds.contains(kind.name))
    }

    /// Writes an operation and its progress into the Shoot's status, which extensions see through the Cluster.
    pub fn set_last_operation(&mut self, operation: &str, state: &str, progress: u8) {
        let now = whole_seconds(Timestamp::now()).to_string();
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

/// What gardenlet knows of the Seed's BackupBucket when it writes a BackupEntry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    /// `status.providerStatus`.
    pub(crate) provider_status: Option<Value>,
    /// The data of the Secret in `status.generatedSecretRef`. gardenlet then uses it instead of the Seed's credentials.
    pub(crate) generated: Option<Value>,
}

/// Sets the identifiers that depend on the names of project and Shoot. The technical ID is the name of the control
/// plane's namespace in the seed (`pkg/utils/gardener/shoot.go`). The uid is a hash of it, so that every run has the
/// same uid.
pub(super) fn identify(shoot: &mut Value, project: &str) {
    let technical_id = format!("shoot--{project}--{}", text(shoot, "metadata.name").unwrap_or_default());
    let uid = uid_of(&technical_id);
    set(shoot, "metadata.uid", uid.clone());
    set(shoot, "status.uid", uid);
    set(shoot, "status.technicalID", technical_id);
}

/// A UUID that follows from a text.
pub(super) fn uid_of(text: &str) -> String {
    let hash = sha256_hex(text);
    let digits = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    // The digits 4 and 8 mark version 4 and variant 1 of a UUID.
    format!("{}-{}-4{}-8{}-{}", digits(0, 8), digits(8, 12), digits(12, 15), digits(15, 18), digits(18, 30))
}

/// API version of the extension objects.
pub(super) fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

/// Returns whether a Shoot has no workers.
pub(super) fn is_workerless(shoot: &Value) -> bool {
    list(shoot, "spec.provider.workers").is_empty()
}
