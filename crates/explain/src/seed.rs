//! What was read of a seed.

use std::collections::{BTreeMap, BTreeSet};

use extension_contract::json::{get, text};
use extension_contract::kinds::{Class, HasCluster, Kind};
use serde_json::Value;

use crate::deployments::Deployments;
use crate::garden::Garden;
use crate::heartbeat::Heartbeats;
use crate::secrets::Secrets;

/// An extension object and its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The kind.
    pub kind: &'static Kind,
    /// The object.
    pub object: Value,
}

/// What was read of a seed at one moment.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    /// The extension objects.
    pub objects: Vec<Found>,
    /// The Clusters, by name.
    pub clusters: BTreeMap<String, Value>,
    /// The namespaces with the label of Shoots.
    pub shoot_namespaces: BTreeSet<String>,
    /// The Secrets that objects name.
    pub secrets: Secrets,
    /// The heartbeats of extensions.
    pub heartbeats: Heartbeats,
    /// The Deployments of extensions that have no ready Pod.
    pub deployments: Deployments,
    /// What the garden knows of extensions. `None` without a kubeconfig of the garden.
    pub garden: Option<Garden>,
    /// What could not be read, for people.
    pub unread: Vec<String>,
}

impl Found {
    /// Kind, namespace and name.
    #[must_use]
    pub fn key(&self) -> (&'static str, String, String) {
        (self.kind.name, self.namespace().to_owned(), self.name().to_owned())
    }

    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.object, "metadata.name").unwrap_or_default()
    }

    /// Namespace of the object, empty for a cluster-scoped one.
    #[must_use]
    pub fn namespace(&self) -> &str {
        text(&self.object, "metadata.namespace").unwrap_or_default()
    }

    /// Returns whether gardener-operator waits for the object instead of gardenlet
    /// (`pkg/operator/controller/garden/garden/reconciler_reconcile.go`).
    #[must_use]
    pub fn is_of_garden(&self) -> bool {
        Class::Garden.is(text(&self.object, "spec.class"))
    }

    /// The namespace of the Shoot that the object belongs to, or `None` if it belongs to a Seed or garden. The name of a
    /// BackupEntry contains it (`extensions/pkg/controller/backupentry/util.go`).
    #[must_use]
    pub fn shoot_namespace(&self) -> Option<&str> {
        if self.kind == &extension_contract::kinds::BACKUP_ENTRY {
            let (namespace, _) = self.name().rsplit_once("--")?;
            return Some(namespace.strip_prefix("source-").unwrap_or(namespace));
        }
        self.kind.namespaced.then(|| self.namespace())
    }
}

/// The Cluster of an object.
#[derive(Clone, Copy, Debug)]
pub enum ClusterOf<'a> {
    /// The object belongs to none.
    Unneeded,
    /// It does not exist, and the object waits for it.
    Missing,
    /// It exists.
    Known(&'a Value),
}

impl Seed {
    /// The Cluster of an object.
    #[must_use]
    pub fn cluster_of(&self, found: &Found) -> ClusterOf<'_> {
        let namespace = found.namespace();
        let belongs = !found.is_of_garden()
            && match found.kind.has_cluster {
                HasCluster::Never => false,
                HasCluster::Always => true,
                HasCluster::InShootNamespaces => {
                    self.clusters.contains_key(namespace) || self.shoot_namespaces.contains(namespace)
                }
            };
        match self.clusters.get(namespace) {
            _ if !belongs => ClusterOf::Unneeded,
            None => ClusterOf::Missing,
            Some(cluster) => ClusterOf::Known(cluster),
        }
    }

    /// The name of the seed, as any Cluster has it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.clusters.values().find_map(|cluster| text(cluster, "spec.seed.metadata.name"))
    }
}

impl<'a> ClusterOf<'a> {
    /// The Shoot.
    #[must_use]
    pub fn shoot(self) -> Option<&'a Value> {
        match self {
            Self::Known(cluster) => get(cluster, "spec.shoot"),
            Self::Unneeded | Self::Missing => None,
        }
    }
}
