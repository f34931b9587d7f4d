//! From watch events to reconciles: the tasks that fill the work queue, and the workers that empty it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, future, stream};
use kube::runtime::reflector::Store;
use kube::runtime::watcher;

use crate::context::Context;
use crate::kind::MockKind;
use crate::process::message::whole;
use crate::reconcile::reconcile;
use crate::watch::decode::Guarded;
use crate::watch::key::Key;

/// Watches are not perfect: every object is reconciled once an hour, one part of all objects per minute. For an object
/// at rest this costs no request.
const RESYNC_INTERVAL: Duration = Duration::from_secs(60);
const RESYNC_PARTS: usize = 60;

/// Keeps memory and work queue up to date with the watch of objects.
pub(crate) async fn follow_objects<K: MockKind>(
    context: Arc<Context<K>>,
    events: impl Stream<Item = watcher::Result<watcher::Event<Guarded<K>>>>,
    store: Store<Guarded<K>>,
) {
    let cluster = |object: &Guarded<K>| K::cluster(object.0.as_ref().ok()?).map(str::to_owned);
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Err(error) => watch_failed(&context, K::KIND.plural, &error),
            Ok(watcher::Event::Apply(object)) => {
                context.memory.seen(&object, cluster(&object).as_deref());
                context.queue.add(Key::of(&object));
            }
            Ok(watcher::Event::Delete(object)) => {
                context.memory.gone(&object);
                context.queue.forget(&Key::of(&object));
            }
            Ok(watcher::Event::Init) => context.memory.list_began(),
            // The store shows listed objects only once the list is complete.
            Ok(watcher::Event::InitApply(object)) => context.memory.listed(&object, cluster(&object).as_deref()),
            Ok(watcher::Event::InitDone) => {
                context.memory.list_ended();
                store.state().iter().for_each(|object| context.queue.add(Key::of(object.as_ref())));
            }
        }
    }
}

/// Keeps Clusters up to date with their watch. Queues the objects of changed Clusters.
pub(crate) async fn follow_clusters<K: MockKind>(context: Arc<Context<K>>, only: Option<String>) {
    let mut changes = pin!(context.clusters.follow(context.client.clone(), only.as_deref()));
    while let Some(names) = changes.next().await {
        match names {
            Err(error) => watch_failed(&context, "clusters", &error),
            Ok(names) => {
                let keys = names.iter().flat_map(|name| context.memory.of_cluster(name));
                keys.for_each(|key| context.queue.add(key));
            }
        }
    }
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
    let keys = stream::unfold(context.clone(), async |context| Some((context.queue.next().await, context)));
    keys.filter_map(move |key| {
        let object = store.get(&key.object_ref());
        if object.is_none() {
            context.queue.done(&key, None);
        }
        future::ready(object.map(|object| reconcile(object, context.clone(), key)))
    })
}

fn watch_failed<K: MockKind>(context: &Context<K>, resource: &str, error: &watcher::Error) {
    context.metrics.count_error("watch");
    tracing::warn!(server = context.server, error = whole(error), "cannot watch {resource}, retrying");
}
