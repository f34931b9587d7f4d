//! How a step is carried out: the thin shell around [`mod@decide`].

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::GetParams;
use kube::core::{ObjectMeta, Request};
use tokio::task::coop::consume_budget;

use crate::behaviour::{File, Record, Scripting, Subject, drawn_seed, strongest};
use crate::cluster::Clusters;
use crate::decide::{self, ClusterView, Object, Reason, Rules, ShootFacts, Step, decide};
use crate::events::Events;
use crate::extension::{Extension, Invalid};
use crate::metrics::Metrics;
use crate::objects::{Key, Objects};
use crate::problem::whole;
use crate::queue::Queue;
use crate::watched::Watched;

/// How long one round may take, all requests and their retries included.
const ROUND: Duration = Duration::from_secs(30);
/// How often a round looks again after a conflict before it leaves the object to backoff.
const TRIES: u32 = 5;
/// How many objects have to be worked on at the same time for a wait of one to cost the others nothing.
const MANY: u16 = 8;

/// What all rounds of a process share.
pub struct Context<K: Extension> {
    /// For writes.
    pub client: Client,
    /// The API server's address, for the log.
    pub server: String,
    /// Served types.
    pub types: Vec<String>,
    /// The kind's own flags.
    pub options: K::Options,
    /// How many objects are worked on at the same time.
    pub concurrency: u16,
    /// Who we are to the API server.
    pub name: String,
    /// The name of the kind.
    pub kind: String,
    /// The script of `--script`.
    pub script: Option<File>,
    /// Where scripts say what they did.
    pub events: Events,
    /// The seed's Clusters.
    pub clusters: Clusters<K::Shoot>,
    /// What is remembered.
    pub objects: Objects,
    /// What waits for its round.
    pub queue: Queue,
    /// What is counted.
    pub metrics: Metrics,
}

/// Why a round did not come to its end. It is tried again with backoff.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("cannot {verb} the {target}: {source}")]
    Request {
        /// What was to be done.
        verb: &'static str,
        /// What it was to be done to.
        target: &'static str,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// Somebody changed the object every time.
    #[error("the object changed under each of {TRIES} attempts")]
    Conflicts,
    /// It went away since the watch showed it.
    #[error("the Cluster is gone or cannot be read")]
    ClusterGone,
    /// The API server is too slow, or gone.
    #[error("not done within {} s", ROUND.as_secs())]
    TimedOut,
    /// A body could not be built.
    #[error("cannot build a request: {0}")]
    Body(#[from] serde_json::Error),
}

/// How one write ended.
enum Written {
    /// The object as the write left it.
    Done(Box<ObjectMeta>),
    /// The write does not fit the object as it is now: decide again, unless it is still the same object.
    Conflict {
        /// The version that the write was made for.
        version: Option<String>,
        /// What the API server said.
        refusal: Error,
    },
    /// The object is gone, and with it everything to do.
    Gone,
}

/// When an object needs another round though nothing happens to it.
type Again = Option<Duration>;

/// One round for one object; what happens to it from now on needs another. So many wait for theirs.
pub async fn reconcile<K: Extension>(object: Arc<Watched<K>>, context: Arc<Context<K>>, key: Key, waiting: usize) {
    // A round without a request would not let anything else go on: thousands of those are looked at at the start.
    consume_budget().await;
    let crowded = context.concurrency >= MANY && waiting > context.concurrency.into();
    let worked = work(&object, Round { context: &context, key: &key, crowded }).await;
    let again = worked.unwrap_or_else(|error| Some(retry(&error, &context, &key)));
    context.queue.ended(&key, again);
}

async fn work<K: Extension>(object: &Watched<K>, round: Round<'_, K>) -> Result<Again, Error> {
    let Round { context, key, .. } = round;
    let metrics = &context.metrics;
    let object = match &object.0 {
        Ok(object) => object,
        Err(undecodable) => {
            metrics.errors.with_label_values(&["undecodable"]).inc();
            let Invalid { field, problem } = &undecodable.invalid;
            tracing::warn!(
                namespace = key.0,
                name = key.1,
                field,
                error = problem,
                "this object cannot be read and is left alone: correct the field"
            );
            return Ok(None);
        }
    };
    if context.objects.is_outdated(key, object.meta()) {
        return Ok(None);
    }
    if let Some(pause) = context.objects.pause(key, object.meta()) {
        return Ok(Some(pause));
    }
    metrics.in_flight.inc();
    let ended = tokio::time::timeout(ROUND, round.run(object)).await;
    metrics.in_flight.dec();
    let again = ended.unwrap_or(Err(Error::TimedOut))?;
    context.objects.succeeded(key);
    Ok(again)
}

/// Tells of a failed round, and after how long there is another.
fn retry<K: Extension>(error: &Error, context: &Context<K>, key: &Key) -> Duration {
    let reason = if matches!(error, Error::TimedOut) { "timeout" } else { "request" };
    context.metrics.errors.with_label_values(&[reason]).inc();
    let pause = context.objects.failed(key);
    tracing::warn!(namespace = key.0, name = key.1, error = whole(error), "not done, tried again in {pause:?}");
    pause
}

struct Round<'a, K: Extension> {
    context: &'a Context<K>,
    key: &'a Key,
    /// Whether more objects wait than are worked on at the same time: how many are done in a second counts for more
    /// then than how long one takes.
    crowded: bool,
}

impl<K: Extension> Round<'_, K> {
    async fn run(&self, object: &K) -> Result<Again, Error> {
        let mut fresh = None;
        for _ in 0..TRIES {
            let object = fresh.as_ref().unwrap_or(object);
            let facts = object.cluster().map(|name| (name, self.context.clusters.get(name)));
            let (cluster, facts) = match &facts {
                None => (ClusterView::Unneeded, None),
                Some((_, None)) => (ClusterView::Missing, None),
                Some((_, Some(facts))) => (ClusterView::Known(facts), Some(facts)),
            };
            let rules = Rules { types: &self.context.types, finalizer: K::FINALIZER, reader: K::READER };
            let view = Object { meta: object.meta(), base: object.base(), status: object.status() };
            let scripting = self.scripting(object, facts);
            let (operation, writes) = match decide(view, cluster, &rules, &scripting, Timestamp::now()) {
                Step::Leave(reason) => {
                    self.leave(object, reason);
                    return Ok(None);
                }
                Step::RetryAt(due) => {
                    let pause = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
                    // A little later than due, so that the decision does not find itself early.
                    return Ok(Some(pause.saturating_add(Duration::from_millis(50))));
                }
                Step::Write { operation, writes } => (operation, writes),
            };
            match self.write(object, facts, operation, &writes).await? {
                Written::Done(_) | Written::Gone => return Ok(None),
                Written::Conflict { version, refusal } => match self.read().await? {
                    // Nobody was faster: the API server, or a webhook of its, does not want this write.
                    Some(object) if object.meta().resource_version == version => return Err(refusal),
                    Some(object) => fresh = Some(object),
                    None => return Ok(None),
                },
            }
        }
        Err(Error::Conflicts)
    }

    fn leave(&self, object: &K, reason: Reason) {
        let (namespace, name) = (&self.key.0, &self.key.1);
        if reason == Reason::WaitsForCluster {
            tracing::info!(namespace, name, "waits for its Cluster");
        } else {
            tracing::debug!(namespace, name, ?reason, "nothing to do");
        }
        if reason != Reason::Foreign
            && let Some(timestamp) = decide::unreadable_timestamp(object.meta())
        {
            tracing::warn!(
                namespace = self.key.0,
                name = self.key.1,
                timestamp,
                "annotation gardener.cloud/timestamp is no RFC 3339 time and is not taken for a request"
            );
        }
    }

    /// What the decision has to know of scripts.
    fn scripting<'a>(&'a self, object: &'a K, facts: Option<&'a ShootFacts>) -> Scripting<'a> {
        let conditions = object.status().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let file = self.context.script.as_ref().map(File::script);
        let uid = facts.map(|facts| facts.uid.as_str()).filter(|uid| !uid.is_empty());
        Scripting {
            script: strongest(facts.and_then(|facts| facts.script.as_ref()), object.base().script.as_ref(), file),
            subject: Subject {
                kind: self.context.kind.as_str(),
                namespace: &self.key.0,
                name: &self.key.1,
                shoot: write::technical_id(object, facts),
                purpose: object.purpose(),
                pools: object.pools(),
            },
            record: Record::find(conditions),
            drawn_seed: drawn_seed(uid.or(object.meta().uid.as_deref()).unwrap_or_default()),
            timeout: K::TIMEOUT,
        }
    }

    async fn read(&self) -> Result<Option<K>, Error> {
        let request = self.request().get(&self.key.1, &GetParams::default());
        let request = failed("read", "object", request.map_err(kube::Error::BuildRequest))?;
        match self.context.client.request::<K>(request).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            read => failed("read", "object", read).map(Some),
        }
    }

    fn request(&self) -> Request {
        let namespace = Some(self.key.0.as_str()).filter(|namespace| !namespace.is_empty());
        Request::new(K::url_path(&(), namespace))
    }
}

pub(crate) fn set(gauge: &prometheus::IntGauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn failed<T>(verb: &'static str, target: &'static str, result: kube::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Request { verb, target, source: Box::new(source) })
}

mod write;
