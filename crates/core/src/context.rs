//! What all reconciles of a process share.

use kube::Client;

use crate::decide::Served;
use crate::events::Events;
use crate::kind::MockKind;
use crate::process::metrics::Metrics;
use crate::script::source::File;
use crate::watch::ahead::Ahead;
use crate::watch::clusters::{Clusters, Effort};
use crate::watch::key::Key;
use crate::watch::memory::Memory;
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

    /// Waits until a missing Cluster is known to be missing.
    pub async fn clusters_listed(&self) {
        if K::WATCHES_CLUSTERS {
            self.clusters.listed().await;
        }
    }

    /// What this process serves.
    #[must_use]
    pub fn served(&self) -> Served<'_> {
        Served { types: &self.types, classes: K::CLASSES, finalizer: K::FINALIZER, reader: K::KIND.reader }
    }
}
