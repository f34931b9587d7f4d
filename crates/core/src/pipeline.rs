//! From watch events to reconciles: the tasks that fill the work queue, and the workers that empty it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, future, stream};
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::kind::MockKind;
use crate::process::message::whole;
use crate::process::outage::{Ended, Outage};
use crate::reconcile::reconcile;
use crate::watch::clusters::Clusters;
use crate::watch::decode::Guarded;
use crate::watch::informer::{Event, Informer, Pages, Trouble};
use crate::watch::key::Key;
use crate::watch::memory::version;
use crate::watch::namespaces::Namespaces;

/// Watches are not perfect: every object is reconciled once an hour, one part of all objects per minute. For an object
/// at rest this costs no request.
const RESYNC_INTERVAL: Duration = Duration::from_secs(60);
const RESYNC_PARTS: usize = 60;

/// Keeps store, memory and work queue up to date with the watch of objects.
pub(crate) async fn follow_objects<K: MockKind>(
    context: Arc<Context<K>>,
    api: Api<Guarded<K>>,
    mut writer: Writer<Guarded<K>>,
) {
    let store = writer.as_reader();
    let known = {
        let store = store.clone();
        move || store.state().iter().map(|object| versioned(object.as_ref())).collect()
    };
    // Small pages: an object may contain all files of a machine, and a page has to fit into memory.
    let pages = Pages { objects: 100, metadata: Some(500) };
    let mut informer = Informer::new(api, None, pages, context.reach.clone(), known);
    let mut outage = Outage::default();
    let cluster = |object: &Guarded<K>| context.cluster_name(object.0.as_ref().ok()?).map(str::to_owned);
    loop {
        match informer.next().await {
            Event::ListBegan => {
                context.memory.list_began();
                writer.apply_watcher_event(&watcher::Event::Init);
            }
            Event::Listed(object) => {
                let object = slim(object);
                context.memory.listed(&object, cluster(&object).as_deref());
                writer.apply_watcher_event(&watcher::Event::InitApply(object));
            }
            // The store shows listed objects only once the list is complete.
            Event::ListEnded(_) => {
                writer.apply_watcher_event(&watcher::Event::InitDone);
                context.memory.list_ended();
                store.state().iter().for_each(|object| context.queue.add(Key::of(object.as_ref())));
            }
            Event::Changed(object) => {
                let object = slim(object);
                let key = Key::of(&object);
                context.memory.seen(&object, cluster(&object).as_deref());
                writer.apply_watcher_event(&watcher::Event::Apply(object));
                context.queue.add(key);
            }
            Event::Deleted(object) => forget(&context, &mut writer, object),
            Event::Gone(key) => {
                if let Some(object) = store.get(&key.object_ref()) {
                    forget(&context, &mut writer, object.as_ref().clone());
                }
            }
            Event::Reached(_) => {}
            Event::Failed(trouble) => {
                if trouble.is_outage() {
                    context.reach.lost();
                }
                watch_failed(&context, &mut outage, K::KIND.plural, &trouble);
            }
            Event::Answered => {
                context.reach.back();
                watch_works(&mut outage, K::KIND.plural);
                context.retry_failed();
            }
        }
    }
}

/// Keeps Clusters up to date with their watch. Queues the objects of changed Clusters.
pub(crate) async fn follow_clusters<K: MockKind>(context: Arc<Context<K>>, only: Option<String>) {
    let known = {
        let context = context.clone();
        move || context.clusters.versions()
    };
    let (client, reach) = (context.client.clone(), context.reach.clone());
    let informer = Clusters::<K::Shoot>::informer(client, only.as_deref(), reach, known);
    follow(&context, informer, "clusters", |event| context.clusters.apply(event)).await;
}

/// Keeps namespaces up to date with their watch. Queues the objects in changed namespaces.
pub(crate) async fn follow_namespaces<K: MockKind>(context: Arc<Context<K>>, only: Option<String>) {
    let known = {
        let context = context.clone();
        move || context.namespaces.versions()
    };
    let informer = Namespaces::informer(context.client.clone(), only.as_deref(), context.reach.clone(), known);
    follow(&context, informer, "namespaces", |event| context.namespaces.apply(event)).await;
}

/// Applies the events of an informer. `apply` returns the names of Clusters or their namespaces whose objects are to be
/// reconciled.
async fn follow<K: MockKind, T>(
    context: &Context<K>,
    mut informer: Informer<T>,
    resource: &str,
    apply: impl Fn(Event<T>) -> Vec<String>,
) where
    T: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut outage = Outage::default();
    loop {
        let event = informer.next().await;
        match &event {
            Event::Failed(trouble) => watch_failed(context, &mut outage, resource, trouble),
            Event::Answered => {
                context.reach.back();
                watch_works(&mut outage, resource);
            }
            _ => {}
        }
        let names = apply(event);
        let keys = names.iter().flat_map(|name| context.memory.of_cluster(name));
        keys.for_each(|key| context.queue.add(key));
    }
}

/// The object without what no outcome needs.
fn slim<K: MockKind>(mut object: Guarded<K>) -> Guarded<K> {
    if let Ok(object) = &mut object.0 {
        object.spec.forget();
    }
    object
}

fn versioned(object: &impl Resource) -> (Key, u64) {
    (Key::of(object), version(object.meta()).unwrap_or_default())
}

fn forget<K: MockKind>(context: &Context<K>, writer: &mut Writer<Guarded<K>>, object: Guarded<K>) {
    context.memory.gone(&object);
    context.queue.forget(&Key::of(&object));
    writer.apply_watcher_event(&watcher::Event::Delete(object));
}

/// Queues all objects once an hour, one part per minute.
pub(crate) async fn resync<K: MockKind>(context: &Context<K>, store: &Store<Guarded<K>>) {
    for part in (0..RESYNC_PARTS).cycle() {
        tokio::time::sleep(RESYNC_INTERVAL).await;
        let objects = store.state();
        let keys = objects.iter().skip(part).step_by(RESYNC_PARTS).map(|object| Key::of(object.as_ref()));
        keys.for_each(|key| context.queue.add(key));
    }
}

/// The reconciles of the queued objects, in the order of the queue.
pub(crate) fn reconciles<K: MockKind>(
    context: Arc<Context<K>>,
    store: Store<Guarded<K>>,
) -> impl Stream<Item = impl Future<Output = ()>> {
    let keys = stream::unfold(context.clone(), async |context| {
        let key = context.queue.next().await;
        // A request now would only fail, and cost the object a longer backoff.
        context.reach.until_back().await;
        Some((key, context))
    });
    keys.filter_map(move |key| {
        let object = store.get(&key.object_ref());
        if object.is_none() {
            context.queue.done(&key, None);
        }
        future::ready(object.map(|object| reconcile(object, context.clone(), key)))
    })
}

fn watch_failed<K: MockKind>(context: &Context<K>, outage: &mut Outage, resource: &str, trouble: &Trouble) {
    context.metrics.count_error("watch");
    if outage.failed(Instant::now()) {
        tracing::warn!(server = context.server, error = whole(trouble), "cannot watch {resource}, retrying");
    }
}

fn watch_works(outage: &mut Outage, resource: &str) {
    if let Some(Ended { lasted, failures }) = outage.ended(Instant::now()) {
        tracing::info!(failures, "watching {resource} again after {:.1} s", lasted.as_secs_f64());
    }
}
