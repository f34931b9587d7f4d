//! What all reconciles of a process share.

use extension_contract::{Class, HasCluster};
use kube::Client;

use crate::decide::{ClusterView, Served, ShootFacts};
use crate::events::Events;
use crate::kind::{MockKind, Object};
use crate::process::metrics::Metrics;
use crate::script::source::File;
use crate::watch::ahead::Ahead;
use crate::watch::clusters::{Clusters, Effort};
use crate::watch::key::Key;
use crate::watch::memory::Memory;
use crate::watch::namespaces::Namespaces;
use crate::watch::queue::WorkQueue;
use crate::watch::reach::Reach;

/// With at least this many workers, one may block on a read without lowering throughput.
const MANY_WORKERS: u16 = 8;

/// What all reconciles of a process share.
pub struct Context<K: MockKind> {
    /// Client for requests.
    pub client: Client,
    /// Address of the API server, for the log.
    pub server: String,
    /// Served types.
    pub types: Vec<String>,
    /// Served classes.
    pub classes: Vec<Class>,
    /// The kind's flags.
    pub options: K::Options,
    /// How many objects are reconciled at the same time.
    pub concurrency: u16,
    /// Name of the controller, its identity at the API server.
    pub name: String,
    /// The script of `--script`.
    pub script: Option<File>,
    /// Publishes Events.
    pub events: Events,
    /// The Clusters of the seed.
    pub clusters: Clusters<K::Shoot>,
    /// Which namespaces are those of Shoots.
    pub namespaces: Namespaces,
    /// What the process remembers of each object.
    pub memory: Memory,
    /// Whether the API server can be reached.
    pub reach: Reach,
    /// Times in objects that lie ahead of our clock.
    pub ahead: Ahead,
    /// Keys of objects that wait for a reconcile.
    pub queue: WorkQueue,
    /// Metrics of the process.
    pub metrics: Metrics,
}

/// Which objects of these classes belong to a Cluster. Objects of class garden do not: in the garden's runtime cluster,
/// there may be no Clusters at all (`pkg/operator/controller/garden/garden/components.go`).
#[must_use]
pub fn has_cluster<K: MockKind>(classes: &[Class]) -> HasCluster {
    if classes == [Class::Garden] { HasCluster::Never } else { K::KIND.has_cluster }
}

/// The Cluster of an object.
#[derive(Clone, Debug)]
pub enum ClusterOf<'a> {
    /// The object belongs to none.
    None,
    /// The Cluster does not exist (yet), or is unreadable; or it is not known yet whether there is one.
    Missing,
    /// The Cluster's name, and what decisions need of its Shoot.
    Known(&'a str, ShootFacts),
}

impl ClusterOf<'_> {
    /// What decisions look at.
    #[must_use]
    pub const fn view(&self) -> ClusterView<'_> {
        match self {
            Self::None => ClusterView::Unneeded,
            Self::Missing => ClusterView::Missing,
            Self::Known(_, facts) => ClusterView::Known(facts),
        }
    }

    /// What is known of the Cluster's Shoot.
    #[must_use]
    pub const fn facts(&self) -> Option<&ShootFacts> {
        match self {
            Self::Known(_, facts) => Some(facts),
            Self::None | Self::Missing => None,
        }
    }
}

impl<K: MockKind> Context<K> {
    /// How to read Clusters now. While more objects wait than there are workers, throughput counts more than latency.
    #[must_use]
    pub fn effort(&self) -> Effort {
        let is_crowded = self.concurrency >= MANY_WORKERS && self.queue.len() > self.concurrency.into();
        if is_crowded { Effort::Cheap } else { Effort::Prompt }
    }

    /// Reconciles the objects now whose last reconcile failed: the reason may be gone.
    pub fn retry_failed(&self) {
        self.memory.release().into_iter().for_each(|key| self.queue.add(key));
    }

    /// Notes a successful reconcile.
    pub fn succeeded(&self, key: &Key) {
        self.memory.succeeded(key).into_iter().for_each(|key| self.queue.add(key));
    }

    /// Waits until a missing Cluster is known to be missing, and an unknown namespace is new.
    pub async fn clusters_listed(&self) {
        match self.has_cluster() {
            HasCluster::Never => {}
            HasCluster::Always => self.clusters.listed().await,
            HasCluster::InShootNamespaces => {
                self.clusters.listed().await;
                self.namespaces.listed().await;
            }
        }
    }

    /// Which of the served objects belong to a Cluster.
    #[must_use]
    pub fn has_cluster(&self) -> HasCluster {
        has_cluster::<K>(&self.classes)
    }

    /// Name of the Cluster that an object belongs to, if its namespace is that of a Shoot.
    #[must_use]
    pub fn cluster_name<'a>(&self, object: &'a Object<K>) -> Option<&'a str> {
        let has_none = self.has_cluster() == HasCluster::Never || Class::Garden.is(object.base.class.as_deref());
        object.metadata.namespace.as_deref().filter(|_| !has_none)
    }

    /// The Cluster of an object.
    #[must_use]
    pub fn cluster<'a>(&self, object: &'a Object<K>) -> ClusterOf<'a> {
        let Some(name) = self.cluster_name(object) else { return ClusterOf::None };
        let is_shoots = match self.has_cluster() {
            HasCluster::InShootNamespaces => self.namespaces.is_shoots(name),
            HasCluster::Always | HasCluster::Never => Some(true),
        };
        match is_shoots {
            Some(false) => ClusterOf::None,
            None => ClusterOf::Missing,
            Some(true) => self.clusters.get(name).map_or(ClusterOf::Missing, |facts| ClusterOf::Known(name, facts)),
        }
    }

    /// What this process serves.
    #[must_use]
    pub fn served(&self) -> Served<'_> {
        Served { types: &self.types, classes: &self.classes, finalizer: K::FINALIZER, kind: K::KIND }
    }
}
