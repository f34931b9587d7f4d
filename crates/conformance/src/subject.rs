//! What the kit knows of the controller that it judges: plain data, no type or function of that controller.

use std::fmt::{self, Write as _};
use std::time::Duration;

use extension_contract::{Class, Force, HasCluster, Kind, Reader, json as fields};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::eventually::LIMIT;

/// The objects that the controller serves, and the features that it supports.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The kind of the objects.
    pub kind: &'static Kind,
    /// The value of `spec.type` that the controller serves.
    pub type_: String,
    /// The classes that the controller serves.
    pub classes: Vec<Class>,
    /// A valid spec of the kind. The kit sets its type.
    pub spec: Value,
    /// Other objects that the spec names, such as a Secret. They exist once, before the first object of the kind.
    pub given: Vec<Value>,
    /// Objects that every Shoot's namespace gets before its first object of the kind. The kit sets their namespace.
    pub in_each_namespace: Vec<Value>,
    /// A merge patch of the spec that the controller accepts: rules change objects with it.
    pub change: Value,
    /// The `status.state` that rules restore. `None` if the objects of the kind have none until a controller writes it.
    pub state: Option<Value>,
    /// A merge patch of an object after which an ordinary deletion does not succeed. `None` if none is known.
    pub undeletable: Option<Value>,
    /// The `shoot`, `cloudProfile` and `seed` of the Clusters, as far as the controller needs more than a minimal one.
    pub cluster: Value,
    /// The finalizer that the controller puts on its objects.
    pub finalizer: String,
    /// What the controller supports. Rules that need another feature do not run.
    pub features: Vec<Feature>,
    /// Limit of one wait for the controller.
    pub patience: Duration,
}

impl Subject {
    /// A controller on Gardener's extension library without any feature, which serves objects of class `shoot` with
    /// this spec.
    #[must_use]
    pub fn new(kind: &'static Kind, type_: impl Into<String>, spec: Value) -> Self {
        Self {
            kind,
            type_: type_.into(),
            classes: vec![Class::Shoot],
            spec,
            given: Vec::new(),
            in_each_namespace: Vec::new(),
            change: json!({ "providerConfig": { "new": true } }),
            state: None,
            undeletable: None,
            cluster: json!({}),
            finalizer: kind.finalizer.unwrap_or_default().to_owned(),
            features: Vec::new(),
            patience: LIMIT,
        }
    }

    /// The resource of the kind.
    #[must_use]
    pub fn resource(&self) -> ApiResource {
        resource(self.kind)
    }

    /// The name of an object in a namespace. Names of a cluster-scoped kind begin with the namespace, as gardenlet's
    /// names of backup entries do (`pkg/utils/gardener/backupentry.go`).
    #[must_use]
    pub fn name(&self, namespace: &str, name: &str) -> String {
        if self.kind.namespaced { name.to_owned() } else { format!("{namespace}--{name}") }
    }

    /// An object of the type, without any annotation.
    #[must_use]
    pub fn object(&self, namespace: &str, name: &str) -> Value {
        let mut spec = self.spec.clone();
        json_patch::merge(&mut spec, &json!({ "type": self.type_ }));
        let mut metadata = json!({ "name": self.name(namespace, name), "annotations": {} });
        if self.kind.namespaced {
            fields::set(&mut metadata, "namespace", namespace);
        }
        json!({
            "apiVersion": self.resource().api_version,
            "kind": self.kind.name,
            "metadata": metadata,
            "spec": spec,
        })
    }

    /// Whether objects of the kind are migrated, and the controller supports that.
    pub(crate) fn migrates(&self) -> bool {
        self.lacks(&[Feature::Migrate]).is_none()
    }

    /// Why a rule with these needs does not apply. `None` if it applies.
    #[must_use]
    pub fn lacks(&self, needs: &[Feature]) -> Option<Lack> {
        let missing = |feature: &Feature| {
            if let Some(reason) = feature.missing_in(self) {
                return Some(Lack::OfKind(self.kind.name, reason));
            }
            let is_supported = match feature {
                Feature::Undeletable => self.undeletable.is_some(),
                _ => feature.follows_from_the_kind() || self.features.contains(feature),
            };
            (!is_supported).then_some(Lack::OfController(*feature))
        };
        needs.iter().find_map(missing)
    }
}

/// Why a rule does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The kind lacks what the rule is about, whatever its controller does. Kind and reason.
    OfKind(&'static str, &'static str),
    /// The controller lacks a feature, or it is not known to have it.
    OfController(Feature),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfKind(kind, reason) => write!(f, "not applicable to {kind}: {reason}"),
            Self::OfController(feature) => write!(f, "not supported: the controller lacks {feature}"),
        }
    }
}

/// The resource of Clusters.
pub(crate) fn clusters() -> ApiResource {
    let gvk = GroupVersionKind::gvk(extension_contract::GROUP, extension_contract::VERSION, "Cluster");
    ApiResource::from_gvk_with_plural(&gvk, "clusters")
}

/// The resource of one of Gardener's extension kinds.
#[must_use]
pub fn resource(kind: &Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(extension_contract::GROUP, extension_contract::VERSION, kind.name);
    ApiResource::from_gvk_with_plural(&gvk, kind.plural)
}

/// What a rule may need. The kind may lack it, or the controller.
///
/// A controller may lack what goes beyond the core of the contract. Gardener's own extension library lacks some of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Feature {
    /// The controller waits for the object's Cluster, and serves the object when the Cluster comes.
    Cluster,
    /// The controller releases an object whose Cluster is missing.
    MissingCluster,
    /// The controller ignores the objects of a Failed Shoot, and serves them when the Shoot recovers.
    FailedShoot,
    /// The controller releases the objects of a force-deleted Shoot at once.
    ForceDeletion,
    /// The controller releases an object at once whose own annotation says so.
    OwnForceDeletion,
    /// The controller takes part in the migration of a Shoot to another seed: migrate and restore.
    Migrate,
    /// The controller reports a migration in one write, without Processing before it.
    InstantMigrate,
    /// Without a request, the controller corrects a status that is not a success: it finishes, retries, or clears the
    /// error.
    Retry,
    /// The controller serves a new generation or a newer timestamp even without the operation annotation.
    Unannotated,
    /// The controller serves a request even if its timestamp is ahead of the controller's clock.
    ClockSkew,
    /// After a restore, `status.state` is what gardenlet wrote. A controller may write another state of its own.
    KeepsState,
    /// The kit can start and kill controllers.
    #[value(skip)]
    Restart,
    /// The kit knows how to keep an ordinary deletion from success.
    #[value(skip)]
    Undeletable,
    /// Objects have a Cluster. Follows from the kind.
    #[value(skip)]
    HasCluster,
    /// A controller ignores the objects of a Failed Shoot. Follows from the kind.
    #[value(skip)]
    SkipsFailedShoots,
    /// gardenlet polls the objects. Follows from the kind.
    #[value(skip)]
    PolledReader,
    /// gardenlet watches the objects. Follows from the kind.
    #[value(skip)]
    WatchedReader,
    /// gardenlet watches the objects, and compares the times of an object and of the Secret in its spec. Follows from
    /// the kind and its spec.
    #[value(skip)]
    WatchedSecret,
    /// Some objects live outside of Shoots' namespaces, and have no Cluster there. Follows from the kind.
    #[value(skip)]
    OutsideOfShoots,
    /// A condition says whether what the object stands for was created. Follows from the kind.
    #[value(skip)]
    CreatedCondition,
    /// Objects have a namespace. Follows from the kind.
    #[value(skip)]
    Namespace,
    /// gardener-operator creates objects in the garden's runtime cluster. Follows from the kind.
    #[value(skip)]
    GardenClass,
}

impl Feature {
    /// All features.
    pub const ALL: [Self; 22] = [
        Self::Cluster,
        Self::MissingCluster,
        Self::FailedShoot,
        Self::ForceDeletion,
        Self::OwnForceDeletion,
        Self::Migrate,
        Self::InstantMigrate,
        Self::Retry,
        Self::Unannotated,
        Self::ClockSkew,
        Self::KeepsState,
        Self::Restart,
        Self::Undeletable,
        Self::HasCluster,
        Self::SkipsFailedShoots,
        Self::PolledReader,
        Self::WatchedReader,
        Self::WatchedSecret,
        Self::OutsideOfShoots,
        Self::CreatedCondition,
        Self::Namespace,
        Self::GardenClass,
    ];

    /// Whether no controller can lack it.
    const fn follows_from_the_kind(self) -> bool {
        matches!(
            self,
            Self::HasCluster
                | Self::SkipsFailedShoots
                | Self::PolledReader
                | Self::WatchedReader
                | Self::WatchedSecret
                | Self::OutsideOfShoots
                | Self::CreatedCondition
                | Self::Namespace
                | Self::GardenClass
        )
    }

    /// What gives it to a controller on the command line.
    pub(crate) fn remedy(self) -> String {
        match self {
            Self::Restart => "--command".to_owned(),
            Self::Undeletable => "--undeletable".to_owned(),
            _ => format!("--features {self}"),
        }
    }

    /// Why objects of the subject's kind lack it, whatever their controller does. `None` if they have it.
    fn missing_in(self, subject: &Subject) -> Option<&'static str> {
        let kind = subject.kind;
        let is_watched = kind.reader == Reader::Watches;
        let (has, otherwise) = match self {
            Self::HasCluster | Self::Cluster | Self::MissingCluster => {
                (kind.has_cluster != HasCluster::Never, "its objects have no Cluster")
            }
            Self::SkipsFailedShoots | Self::FailedShoot => {
                (kind.skips_failed_shoots, "it is served whatever the Shoot's state is")
            }
            Self::ForceDeletion => (kind.force == Force::OfShoot, "a Shoot's force deletion does not concern it"),
            Self::OwnForceDeletion => (kind.force == Force::OfObject, "no annotation of an object forces its deletion"),
            Self::Migrate | Self::KeepsState => (kind.migrates, "it is not migrated"),
            Self::InstantMigrate => (kind.migrates && is_watched, "no reader takes a migration in progress for done"),
            Self::PolledReader => (!is_watched, "gardenlet watches it"),
            Self::WatchedReader => (is_watched, "gardenlet polls it"),
            Self::WatchedSecret => {
                let has_secret = fields::get(&subject.spec, "secretRef").is_some();
                (is_watched && has_secret, "gardenlet compares no Secret with it")
            }
            Self::OutsideOfShoots => {
                (kind.has_cluster == HasCluster::InShootNamespaces, "no Cluster is optional for its objects")
            }
            Self::CreatedCondition => (kind.created.is_some(), "no condition says whether it was created"),
            Self::Namespace => (kind.namespaced, "its objects have no namespace"),
            Self::GardenClass => (kind.classes.contains(&Class::Garden), "gardener-operator creates no such objects"),
            Self::Retry | Self::Unannotated | Self::ClockSkew | Self::Restart | Self::Undeletable => (true, ""),
        };
        (!has).then_some(otherwise)
    }
}

/// The name as the command line spells it, such as `clock-skew`.
impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in format!("{self:?}").char_indices() {
            if letter.is_uppercase() && index > 0 {
                f.write_str("-")?;
            }
            f.write_char(letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    use extension_contract::kinds;

    fn subject(kind: &'static Kind) -> Subject {
        let spec = json!({ "type": "other", "podCIDR": "10.0.0.0/16" });
        Subject { features: vec![Feature::Migrate], ..Subject::new(kind, "calico", spec) }
    }

    #[test]
    fn command_line_has_all_features_that_neither_the_kind_nor_another_flag_gives() {
        let named: Vec<_> = Feature::ALL.into_iter().filter(|feature| feature.to_possible_value().is_some()).collect();
        assert_eq!(named, Feature::value_variants());
        for feature in &named {
            let value = feature.to_possible_value().unwrap();
            assert_eq!(value.get_name(), feature.to_string());
        }
        let is_given = |feature: &Feature| {
            feature.follows_from_the_kind() || matches!(feature, Feature::Restart | Feature::Undeletable)
        };
        assert!(Feature::ALL.iter().all(|feature| is_given(feature) != named.contains(feature)));
    }

    #[test]
    fn object_has_the_type_of_the_subject() {
        let object = subject(&kinds::NETWORK).object("n", "a");
        assert_eq!(object.pointer("/spec"), Some(&json!({ "type": "calico", "podCIDR": "10.0.0.0/16" })));
        assert_eq!(object.pointer("/apiVersion"), Some(&json!("extensions.gardener.cloud/v1alpha1")));
        assert_eq!(object.pointer("/metadata"), Some(&json!({ "name": "a", "namespace": "n", "annotations": {} })));
    }

    #[test]
    fn name_of_a_cluster_scoped_object_begins_with_the_namespace() {
        let object = subject(&kinds::BACKUP_ENTRY).object("shoot--a--b", "c");
        assert_eq!(object.pointer("/metadata"), Some(&json!({ "name": "shoot--a--b--c", "annotations": {} })));
    }

    #[test]
    fn needs_that_are_not_met_are_reported_in_words() {
        let lacks = |kind, need| subject(kind).lacks(&[need]).map(|lack| lack.to_string()).unwrap_or_default();
        assert_eq!(lacks(&kinds::NETWORK, Feature::Migrate), "");
        assert_eq!(lacks(&kinds::NETWORK, Feature::PolledReader), "");
        assert_eq!(lacks(&kinds::NETWORK, Feature::Retry), "not supported: the controller lacks retry");
        assert_eq!(lacks(&kinds::BASTION, Feature::Migrate), "not applicable to Bastion: it is not migrated");
        // The kind comes first: no controller can help.
        assert_eq!(
            lacks(&kinds::BACKUP_ENTRY, Feature::Cluster),
            "not applicable to BackupEntry: its objects have no Cluster"
        );
        assert_eq!(
            lacks(&kinds::BASTION, Feature::WatchedSecret),
            "not applicable to Bastion: gardenlet compares no Secret with it"
        );
        let mut bucket = subject(&kinds::BACKUP_BUCKET);
        bucket.spec = json!({ "secretRef": { "name": "a", "namespace": "garden" } });
        assert_eq!(bucket.lacks(&[Feature::WatchedSecret]), None);
    }

    #[test]
    fn controller_migrates_only_if_it_says_so_and_its_kind_is_migrated() {
        let without = Subject { features: Vec::new(), ..subject(&kinds::NETWORK) };
        assert!(subject(&kinds::NETWORK).migrates());
        assert!(!without.migrates() && !subject(&kinds::BASTION).migrates());
    }

    #[test]
    fn every_kind_of_gardener_is_polled_or_watched() {
        for kind in kinds::ALL {
            let lacks = |need| subject(kind).lacks(&[need]).is_some();
            assert!(lacks(Feature::PolledReader) != lacks(Feature::WatchedReader), "{}", kind.name);
        }
    }
}
