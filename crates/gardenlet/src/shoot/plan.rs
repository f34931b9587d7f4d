//! The plan of one Shoot: what gardenlet knows about it.

use std::collections::BTreeMap;

use extension_contract::json::{get, list, set, text};
use extension_contract::{GROUP, VERSION, whole_seconds};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::hash::sha256_hex;

/// The Secret with the copy of the Shoot's credentials.
pub(super) const CLOUDPROVIDER: &str = "cloudprovider";

/// One extension object of a [`ShootPlan`].
#[derive(Clone, Debug)]
pub struct Planned {
    /// gardenlet writes all objects of a stage at once. The next stage starts when they are ready.
    pub stage: u8,
    /// The object's kind.
    pub kind: &'static str,
    /// The object's name.
    pub name: String,
    /// The object, without annotations.
    pub object: Value,
    /// Whether every reconciliation of the Shoot also requests one of this object. It does not for Infrastructure
    /// (`pkg/component/extensions/infrastructure/infrastructure.go`).
    pub operation_always: bool,
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
    /// `status.providerStatus` of the Infrastructure, for ControlPlane and Worker.
    pub(crate) infrastructure_status: Option<Value>,
    /// The Secret in the status of each OperatingSystemConfig, by the object's name.
    pub(crate) user_data_secrets: BTreeMap<String, String>,
    /// The state that was saved when the Shoot left its previous seed.
    pub(crate) state: ShootState,
}

impl ShootPlan {
    pub(super) fn new(shoot: Value, cloudprofile: Value, seed: Value) -> Self {
        Self {
            namespace: text(&shoot, "status.technicalID").unwrap_or_default().to_owned(),
            shoot,
            cloudprofile,
            seed,
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

    /// Returns whether the Shoot has no workers, and therefore no [`objects`](Self::objects).
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

    /// The Secrets that the extension objects refer to: a copy of the credentials. A Shoot without workers has none.
    #[must_use]
    pub fn secrets(&self) -> Vec<Value> {
        if self.is_workerless() {
            return Vec::new();
        }
        vec![json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": CLOUDPROVIDER, "namespace": self.namespace},
            "type": "Opaque",
            "data": {"user": "bm9ib2R5"},
        })]
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

/// Sets the identifiers that depend on the names of project and Shoot. The technical ID is the name of the control
/// plane's namespace in the seed (`pkg/utils/gardener/shoot.go`). The uid is a hash of it, so that every run has the
/// same uid.
pub(super) fn identify(shoot: &mut Value, project: &str) {
    let technical_id = format!("shoot--{project}--{}", text(shoot, "metadata.name").unwrap_or_default());
    let hash = sha256_hex(&technical_id);
    let digits = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    // The digits 4 and 8 mark version 4 and variant 1 of a UUID.
    let uid = format!("{}-{}-4{}-8{}-{}", digits(0, 8), digits(8, 12), digits(12, 15), digits(15, 18), digits(18, 30));
    set(shoot, "metadata.uid", uid.clone());
    set(shoot, "status.uid", uid);
    set(shoot, "status.technicalID", technical_id);
}

/// API version of the extension objects.
pub(super) fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

/// Returns whether a Shoot has no workers.
pub(super) fn is_workerless(shoot: &Value) -> bool {
    list(shoot, "spec.provider.workers").is_empty()
}
