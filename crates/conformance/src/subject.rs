//! What the kit knows of the controller that it judges: plain data, no type or function of that controller.

use std::fmt;

use extension_contract::{Class, Kind};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// The objects that the controller serves, and the features that it supports.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The kind of the objects.
    pub kind: &'static Kind,
    /// The value of `spec.type` that the controller serves.
    pub type_: String,
    /// The class that the controller serves.
    pub class: Class,
    /// A valid spec of the kind. The kit sets its type.
    pub spec: Value,
    /// The finalizer that the controller puts on its objects.
    pub finalizer: String,
    /// What the controller supports. Rules that need another feature do not run.
    pub features: Vec<Feature>,
}

impl Subject {
    /// The resource of the kind.
    #[must_use]
    pub fn resource(&self) -> ApiResource {
        resource(self.kind)
    }

    /// An object of the type, without any annotation.
    #[must_use]
    pub fn object(&self, namespace: &str, name: &str) -> Value {
        let mut spec = self.spec.clone();
        json_patch::merge(&mut spec, &json!({ "type": self.type_ }));
        json!({
            "apiVersion": self.resource().api_version,
            "kind": self.kind.name,
            "metadata": { "name": name, "namespace": namespace, "annotations": {} },
            "spec": spec,
        })
    }

    /// Whether a rule with these needs applies to the controller.
    #[must_use]
    pub fn supports(&self, needs: &[Feature]) -> bool {
        needs.iter().all(|feature| self.features.contains(feature))
    }
}

/// The resource of one of Gardener's extension kinds.
#[must_use]
pub fn resource(kind: &Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(extension_contract::GROUP, extension_contract::VERSION, kind.name);
    ApiResource::from_gvk_with_plural(&gvk, kind.plural)
}

/// What a controller may support beyond the core of the contract. Gardener's own extension library lacks some of them.
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
    /// The controller takes part in the migration of a Shoot to another seed: migrate, wait-for-state and restore.
    Migrate,
    /// Without a request, the controller corrects a status that is not a success: it finishes, retries, or clears the
    /// error.
    Retry,
    /// The controller serves a new generation or a newer timestamp even without the operation annotation.
    Unannotated,
    /// The controller serves a request even if its timestamp is ahead of the controller's clock.
    ClockSkew,
    /// The kit can start and kill further controllers, each for another type.
    Restart,
}

impl Feature {
    /// All features.
    pub const ALL: [Self; 9] = [
        Self::Cluster,
        Self::MissingCluster,
        Self::FailedShoot,
        Self::ForceDeletion,
        Self::Migrate,
        Self::Retry,
        Self::Unannotated,
        Self::ClockSkew,
        Self::Restart,
    ];
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn list_of_all_features_is_complete() {
        assert_eq!(Feature::ALL, Feature::value_variants());
    }

    #[test]
    fn object_has_the_type_of_the_subject() {
        let subject = Subject {
            kind: &extension_contract::kinds::NETWORK,
            type_: "calico".to_owned(),
            class: Class::Shoot,
            spec: json!({ "type": "other", "podCIDR": "10.0.0.0/16" }),
            finalizer: "f".to_owned(),
            features: vec![Feature::Migrate],
        };
        let object = subject.object("n", "a");
        assert_eq!(object.pointer("/spec"), Some(&json!({ "type": "calico", "podCIDR": "10.0.0.0/16" })));
        assert_eq!(object.pointer("/apiVersion"), Some(&json!("extensions.gardener.cloud/v1alpha1")));
        assert!(subject.supports(&[Feature::Migrate]) && !subject.supports(&[Feature::Migrate, Feature::Retry]));
    }
}
