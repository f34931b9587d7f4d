//! What must be written to add a kind: one trait, mostly constants.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::behaviour::ours;
use crate::contract::Status;

/// A kind of extension object: what is read of it, and what a provider would have reported.
///
/// Implementors are the types that `#[derive(kube::CustomResource)]` makes. They hold the few fields that are read,
/// every one optional: an object that cannot be decoded cannot be served. Of an object's metadata they get what
/// [`watched`](crate::watched) keeps.
pub trait Extension:
    Resource<DynamicType = (), Scope: Scoped> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Flags of this kind alone; [`NoOptions`] where there are none.
    type Options: clap::Args + Debug + Send + Sync + 'static;
    /// What outcomes are made of in a Cluster's Shoot, kept of each Cluster: every field optional, and few of them;
    /// [`NoShoot`] where there is none.
    type Shoot: DeserializeOwned + Debug + Default + Send + Sync + 'static;

    /// Ours among the object's finalizers.
    const FINALIZER: &'static str;
    /// Values of `spec.type` that are served when no `--type` is given.
    const TYPES: &'static [&'static str];
    /// How gardenlet learns of the result.
    const READER: Reader = Reader::Polls;
    /// Whether objects of this kind can belong to a Cluster. Without, Clusters are not watched.
    const WATCHES_CLUSTERS: bool = true;
    /// Whether any outcome of this kind is made of the Cluster's Shoot.
    const READS_SHOOT: bool = false;
    /// Whether an outcome can hold Secrets.
    const WRITES_SECRETS: bool = false;
    /// How long gardenlet waits for an object to be ready, the timeout of its component
    /// (`pkg/component/extensions/<kind>`).
    const TIMEOUT: SignedDuration = SignedDuration::from_mins(3);

    /// `spec.type` and `spec.class`.
    fn base(&self) -> &Base;

    /// The shared part of the status, absent on a new object.
    fn status(&self) -> Option<&Status>;

    /// Name of the Cluster that the object belongs to and waits for; none for an object outside of shoot namespaces.
    fn cluster(&self) -> Option<&str> {
        self.meta().namespace.as_deref()
    }

    /// What the object is for, where the kind knows purposes; scripts can ask for it.
    fn purpose(&self) -> Option<&str> {
        None
    }

    /// Names of the worker pools in the object, where the kind has some; scripts can let some of them fail.
    fn pools(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Drops what no outcome of this object needs, which may be much: a process holds all objects of its kind.
    fn forget(&mut self) {}

    /// Whether the [`outcome`](Self::outcome) of this object is made of the Cluster's Shoot, which costs a read.
    fn reads_shoot(&self) -> bool {
        Self::READS_SHOOT
    }

    /// What a provider would have reported after creating, reconciling or restoring the object.
    fn outcome(&self, input: &Input<'_, Self>) -> Result<Outcome, Invalid>;

    /// What the status says differently once the object is migrated away; the rest of it stays.
    fn migrated(&self) -> Map<String, Value> {
        Map::new()
    }
}

/// How gardenlet learns that an object is done, which decides the order of our writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// It reads the object every few seconds and wants the annotation gone and the status right at the same time:
    /// the status goes first, so that no moment shows an old success without a request.
    Polls,
    /// It watches, ignores the object while it is annotated and notices only a change of `lastOperation`: the
    /// annotation goes first, then Processing, then Succeeded (`pkg/controllerutils/predicate/predicate.go`).
    Watches,
}

/// The fields of `spec` that decide whether an object is ours (`pkg/apis/extensions/v1alpha1/types_defaults.go`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct Base {
    /// Which extension handles the object; compared exactly.
    #[serde(rename = "type")]
    pub provider: String,
    /// Absent or empty means `shoot`.
    pub class: Option<String>,
    /// The providerConfig, if it is a script; what it is to other providers is no concern of a mock's.
    #[serde(rename = "providerConfig", deserialize_with = "script", skip_serializing_if = "Option::is_none")]
    pub script: Option<Value>,
}

fn script<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Ok(Option::<Value>::deserialize(deserializer)?.and_then(ours))
}

/// What an outcome may be made of, besides the object itself.
#[derive(Debug)]
pub struct Input<'a, K: Extension> {
    /// The kind's own flags.
    pub options: &'a K::Options,
    /// What `lastOperation.lastUpdateTime` will say: whole seconds, never before the request.
    pub time: Timestamp,
    /// The shoot's name in the seed, the prefix of its machines' names.
    pub technical_id: &'a str,
    /// Whether a time that the kind reports of its own has to be the one of before, a fault that a script asks for.
    pub repeat_time: bool,
    /// Names of the pools that a script makes fail: of them nothing new is reported.
    pub failed_pools: &'a [String],
    /// The Cluster's Shoot as it is now; empty unless [`Extension::reads_shoot`] asks for it.
    pub shoot: &'a K::Shoot,
}

/// What a provider would have reported.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Fields of the status beside the shared ones, as a merge patch: null removes, absent keeps.
    pub status: Map<String, Value>,
    /// Applied before the status, since gardenlet reads them right after it.
    pub secrets: Vec<Secret>,
}

/// A value in the object or its Cluster that no provider could use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Path of the value.
    pub field: String,
    /// What is wrong with it and what was expected.
    pub problem: String,
}

/// For kinds that need no flags of their own.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct NoOptions {}

/// For kinds whose outcomes need nothing of the Shoot.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct NoShoot {}

/// Lets one generic function make the `Api` of kinds of either scope.
pub trait Scoped {
    /// All objects of `K`, or those of one namespace where the kind has namespaces.
    fn api<K>(client: Client, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = Self>;
}

impl Scoped for NamespaceResourceScope {
    fn api<K>(client: Client, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = Self>,
    {
        match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

impl Scoped for ClusterResourceScope {
    fn api<K>(client: Client, _namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = Self>,
    {
        Api::all(client)
    }
}
