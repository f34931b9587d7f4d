//! What a kind must provide: one trait, mostly constants; and the types that it uses, above all the object.

mod companion;
mod outcome;

use std::borrow::Cow;
use std::fmt::Debug;

pub use extension_contract::{Class, Force, HasCluster, Kind, Reader};
use extension_contract::{GROUP, Status, VERSION};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::{DynamicResourceScope, ObjectMeta};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub use self::companion::{Companion, Surroundings};
pub use self::outcome::{Leftover, Outcome, SecretKey, Wanted};
pub use crate::invalid::Invalid;
use crate::script::source::{Parsed, of_provider_config};
use crate::watch::decode::decode;

/// A mocked kind. The implementing type holds what the kind reads of `spec`, besides type and class.
///
/// It has few fields, and all of them are optional: an object that cannot be decoded cannot be reconciled.
pub trait MockKind: Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// What the kind reads of the status besides [`Status`], all optional; [`NoReport`] if
    /// nothing.
    type Reported: Clone + Debug + Default + DeserializeOwned + Send + Sync + 'static;
    /// What outcomes need of the Cluster's Shoot; [`NoShoot`] if nothing. Each process keeps it for every Cluster.
    type Shoot: ShootView;
    /// Flags of this kind; [`NoOptions`] if there are none.
    type Options: clap::Args + Debug + Send + Sync + 'static;

    /// The kind as Gardener knows it.
    const KIND: &'static Kind;
    /// Values of `spec.type` that are served if no `--type` is given.
    const TYPES: &'static [&'static str];
    /// Our finalizer. Gardener's own makes the mock replaceable by a real extension.
    const FINALIZER: &'static str = match Self::KIND.finalizer {
        Some(finalizer) => finalizer,
        None => "extensions.gardener.cloud/mock",
    };
    /// Annotations that [`outcome`](Self::outcome) and [`leftovers`](Self::leftovers) read. All others are not decoded.
    const ANNOTATIONS: &'static [&'static str] = &[];
    /// How the names of the Secrets begin that an outcome can hold. Empty if it holds none.
    const SECRET_PREFIXES: &'static [&'static str] = &[];
    /// Whether an outcome can depend on a Secret; see [`secret`](Self::secret).
    const READS_SECRETS: bool = false;
    /// Whether Secrets can be left over; see [`leftovers`](Self::leftovers).
    const DELETES_SECRETS: bool = false;
    /// Fields of the outcome that are reported as soon as an operation starts, before what it waits for is there. All
    /// others are reported once it has succeeded.
    const EARLY: &'static [&'static str] = &[];
    /// A task that runs beside the reconciler.
    const COMPANION: Option<Companion<Self>> = None;

    /// Name of the Shoot in the seed, if the object has no Cluster that says so. Scripts can match it.
    fn technical_id(object: &Object<Self>) -> &str {
        object.namespace()
    }

    /// The Secret that the outcome needs. An operation fails while it does not exist.
    fn secret(_object: &Object<Self>) -> Option<SecretKey> {
        None
    }

    /// The Secrets of earlier outcomes that no garbage collector removes. They are deleted with the object. Metadata
    /// has to suffice, because an object that cannot be decoded is deleted as well.
    #[must_use]
    fn leftovers(_meta: &ObjectMeta) -> Vec<Leftover> {
        Vec::new()
    }

    /// Purpose of the object, for kinds that have purposes. Scripts can match it.
    fn purpose(&self) -> Option<&str> {
        None
    }

    /// Names of the worker pools in the object, for kinds that have pools. Scripts can let some of them fail.
    fn pools(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Drops what no outcome of this object needs. A process keeps all objects of its kind in memory.
    fn forget(&mut self) {}

    /// Whether the outcome of this object depends on the Cluster's Shoot, which costs a read.
    fn reads_shoot(&self) -> bool {
        Self::Shoot::READ
    }

    /// What a provider would have reported after creating, reconciling or restoring the object.
    fn outcome(object: &Object<Self>, input: &Input<'_, Self>) -> Result<Outcome, Invalid>;

    /// What a ControllerRegistration says of this type, besides kind and type
    /// (`pkg/apis/core/v1beta1/types_controllerregistration.go`).
    #[must_use]
    fn registration(_provider: &str) -> Map<String, Value> {
        Map::new()
    }

    /// Fields of the status that change once the object is migrated away, as a merge patch.
    #[must_use]
    fn migrated() -> Map<String, Value> {
        Map::new()
    }
}

/// An extension object. It holds only the used parts of metadata, spec and status; see
/// [`decode`](crate::watch::decode).
#[derive(Clone, Debug)]
pub struct Object<K: MockKind> {
    /// Identity, version, deletion, finalizers and gardenlet's annotations.
    pub metadata: ObjectMeta,
    /// The fields of `spec` that all kinds share.
    pub base: Base,
    /// The fields of `spec` that the kind reads.
    pub spec: K,
    /// The fields of `status` that all kinds share; absent on a new object.
    pub status: Option<Status>,
    /// The fields of `status` that the kind reads.
    pub reported: K::Reported,
}

impl<K: MockKind> Object<K> {
    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Namespace of the object, empty for a cluster-scoped one.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
}

impl<K: MockKind> Resource for Object<K> {
    type DynamicType = ();
    // Whether the kind has namespaces is data.
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::KIND.name.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::KIND.plural.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What a kind reads of a Cluster's Shoot, and of the Seed that the Shoot is on: few fields, all of them optional.
pub trait ShootView: Debug + Default + DeserializeOwned + Send + Sync + 'static {
    /// Whether there is anything to read.
    const READ: bool = true;

    /// Adds what outcomes need of the Seed.
    fn add_seed(&mut self, _seed: Undecoded<'_>) -> Result<(), Invalid> {
        Ok(())
    }
}

/// A part of a Cluster that is decoded only if a kind needs it.
#[derive(Clone, Copy, Debug)]
pub struct Undecoded<'a>(&'a str);

impl<'a> Undecoded<'a> {
    /// A part with this JSON.
    #[must_use]
    pub const fn of(json: &'a str) -> Self {
        Self(json)
    }

    /// Decodes the part. The error names the field.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, Invalid> {
        decode(self.0)
    }
}

/// For kinds whose outcomes do not depend on the Shoot.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct NoShoot {}

impl ShootView for NoShoot {
    const READ: bool = false;
}

/// For kinds that read nothing but the shared fields of the status.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct NoReport {}

/// For kinds without flags.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct NoOptions {}

/// The fields of `spec` that all kinds share (`pkg/apis/extensions/v1alpha1/types_defaults.go`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Base {
    /// Which extension handles the object; compared exactly.
    #[serde(rename = "type")]
    pub provider: String,
    /// Absent or empty means `shoot`.
    pub class: Option<String>,
    /// The script in the providerConfig. Another provider's config is ignored.
    #[serde(rename = "providerConfig", deserialize_with = "script")]
    pub script: Option<Parsed>,
}

fn script<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Parsed>, D::Error> {
    Ok(Option::<Box<RawValue>>::deserialize(deserializer)?.as_deref().and_then(of_provider_config))
}

/// What an outcome may depend on, besides the object itself.
#[derive(Debug)]
pub struct Input<'a, K: MockKind> {
    /// The kind's flags.
    pub options: &'a K::Options,
    /// What `lastOperation.lastUpdateTime` will say: whole seconds, never before the request.
    pub time: Timestamp,
    /// The Shoot's name in the seed, the prefix of its machines' names.
    pub technical_id: &'a str,
    /// Report the previous time again (the fault `RepeatTime`).
    pub repeat_time: bool,
    /// Names of the pools that a script lets fail. Nothing new is reported of them.
    pub failed_pools: &'a [String],
    /// The current Shoot of the Cluster; empty unless [`MockKind::reads_shoot`].
    pub shoot: &'a K::Shoot,
    /// The Secret of [`MockKind::secret`].
    pub secret: Option<&'a Secret>,
}
