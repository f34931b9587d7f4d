//! How a process starts, serves and stops.

use std::fmt::Display;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use futures::{Stream, StreamExt, future, stream};
use kube::runtime::controller::{self, applier};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Ready};
use crate::args::Args;
use crate::behaviour::File;
use crate::client;
use crate::cluster::Clusters;
use crate::events::Events;
use crate::extension::{Extension, Scoped};
use crate::heartbeat::Heartbeat;
use crate::lease::{Election, Lost};
use crate::metrics::Metrics;
use crate::objects::{Key, Objects, key};
use crate::reconcile::{Context, reconcile, retry, set};
use crate::shutdown;
use crate::watched::Watched;

/// How long rounds that are under way may take to end after SIGTERM; a Pod is killed after 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// The whole of a controller's `main`: flags from the command line, one line and exit code 1 for what keeps it from
/// starting.
#[must_use]
pub fn main<K: Extension>() -> ExitCode {
    let name = format!("mock-{}", K::kind(&()).to_lowercase());

    let matches = Args::<K::Options>::command().name(name.clone()).get_matches();
    let result = Args::from_arg_matches(&matches).map_err(|error| error.to_string()).and_then(|args| {
        args.init_log()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(problem("cannot start the runtime", "look at the limits of processes and open files"))?;
        // As a task of its own: to wake what the runtime itself blocks on takes two system calls each time.
        let served = runtime.block_on(runtime.spawn(serve::<K>(name.clone(), args)));
        let result = served.unwrap_or_else(|failed| Err(failed.to_string()));
        // A name that is being resolved would else be waited for.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(code) => code,
        Err(message) => {
            #[expect(clippy::print_stderr, reason = "the log may not be set up yet")]
            {
                eprintln!("{name}: {message}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn serve<K: Extension>(name: String, args: Args<K::Options>) -> Result<ExitCode, String> {
    let script = args.script.as_deref().map(File::read).transpose()?;
    let config = client::config(args.kubeconfig.as_deref()).await?;
    let client = client::new(config.clone())?;
    let metrics = Metrics::new().map_err(problem("cannot set up metrics", "report this"))?;
    let ready = Ready::default();
    if let Some(address) = args.admin_address {
        let listener = admin::bind(address).await.map_err(problem(
            &format!("cannot listen on --admin-address {address}"),
            "choose a free port of this machine",
        ))?;
        tokio::spawn(admin::serve(listener, ready.clone(), metrics.clone()));
    }
    let stop = shutdown::on_signal().map_err(problem("cannot wait for signals", "report this"))?;
    let types = if args.types.is_empty() { K::TYPES.iter().map(ToString::to_string).collect() } else { args.types };
    tracing::info!(kind = %K::kind(&()), ?types, namespace = args.namespace, "serving");
    // Connections of their own: a renewal must not spend its few seconds on those that other requests found dead.
    let leases = client::new(config)?;
    let election = args.leader_elect.then(|| Election::new(leases.clone(), &name, metrics.clone()));
    let election = election.transpose().map_err(problem("cannot take part in leader election", "report this"))?;
    let interval = args.heartbeat_renew_interval_seconds;
    let heartbeat = args.heartbeat.then(|| Heartbeat::new(leases, &name, interval, metrics.clone()));
    let context = Arc::new(Context::<K> {
        events: Events::new(client.clone(), &name),
        client,
        types,
        options: args.kind,
        concurrency: args.concurrency,
        name,
        kind: K::kind(&()).into_owned(),
        script,
        clusters: Clusters::default(),
        objects: Objects::default(),
        metrics,
    });
    tokio::spawn({
        let context = context.clone();
        async move {
            if let Some(file) = &context.script {
                file.follow(|stale| context.metrics.script_stale.set(i64::from(stale))).await;
            }
        }
    });
    match Box::pin(run(context, args.namespace, ready, stop, election, heartbeat)).await {
        Ok(()) => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Err(lost) => {
            tracing::error!("lost the Lease, ending: {lost}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Serves until `stop`; returns when the rounds under way have ended, or after [`GRACE`], and the Lease is released.
/// Losing the Lease ends it at once.
async fn run<K: Extension>(
    context: Arc<Context<K>>,
    namespace: Option<String>,
    ready: Ready,
    stop: CancellationToken,
    mut election: Option<Election>,
    heartbeat: Option<Heartbeat>,
) -> Result<(), Lost> {
    let (store, writer) = reflector::store::<Watched<K>>();
    let api = K::Scope::api::<Watched<K>>(context.client.clone(), namespace.as_deref());
    // An object may hold all files of a machine: pages are small, so that a list does not need much memory at once.
    let events = watcher(api, watcher::Config::default().page_size(100)).default_backoff().modify(|object| {
        if let Ok(object) = &mut object.0 {
            object.forget();
        }
    });
    let listed = store.clone();
    let changes = object_changes(&context, reflector::reflector(writer, events), store.clone());
    // Before the first list of Clusters an absent one says nothing, so no decision may be made.
    let changes = after(clusters_listed(&context), changes);
    let clusters = stream::iter(K::WATCHES_CLUSTERS.then(|| cluster_changes(&context, namespace.as_deref()))).flatten();
    let mut queue = Box::pin(stream::select(changes, clusters).take_until(stop.clone().cancelled_owned()));
    let announce = async {
        if listed.wait_until_ready().await.is_ok() {
            tracing::info!(objects = listed.len(), "listed");
            clusters_listed(&context).await;
            ready.set();
            tracing::info!(objects = listed.len(), "ready");
        }
        std::future::pending::<()>().await;
    };
    let mut announce = pin!(announce);
    if let Some(election) = &mut election {
        let leads = tokio::select! {
            () = election.acquire() => true,
            () = stand_by(&context, &mut queue) => false,
            () = &mut announce => false,
        };
        if !leads {
            election.release().await;
            return Ok(());
        }
    }
    context.metrics.leader.set(1);
    // Of what was seen while standing by nothing was decided.
    let queue = stream::iter(everything(&context, &store)).chain(queue);
    let config = controller::Config::default().concurrency(context.concurrency);
    let rounds = applier(
        |object, context| Box::pin(reconcile(object, context)),
        retry,
        context.clone(),
        store,
        Box::pin(queue),
        config,
    );
    let rounds = rounds.for_each(async |outcome| match outcome {
        Err(controller::Error::QueueError(error)) => watch_failed(&context, &error),
        Err(controller::Error::ObjectNotFound(object)) => tracing::debug!(%object, "gone"),
        // Errors of rounds are reported where their retry is decided.
        Ok(_) | Err(_) => {}
    });
    // Not optional: the applier waits for a first list even when it is told to stop before one came. There is nothing
    // under way then, and nothing to wait for.
    let overdue = async {
        stop.cancelled().await;
        if ready.get() {
            tokio::time::sleep(GRACE).await;
            tracing::warn!("stopping although rounds are under way");
        }
    };
    tokio::select! {
        // The Lease comes first: a process that was suspended must not write before it knows that it still leads.
        biased;
        lost = or_never(election.as_mut().map(Election::hold)) => return Err(lost),
        () = pin!(rounds) => {}
        () = announce => {}
        () = overdue => {}
        () = or_never(heartbeat.as_ref().map(Heartbeat::beat)) => {}
    }
    if let Some(election) = &mut election {
        election.release().await;
    }
    Ok(())
}

/// Keeps store and memory up with the watch, and leaves what changes for when this process leads.
async fn stand_by<K: Extension>(context: &Context<K>, queue: &mut (impl Stream<Item = Changed<K>> + Unpin)) {
    while let Some(change) = queue.next().await {
        if let Err(error) = change {
            watch_failed(context, &error);
        }
    }
}

async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn watch_failed<K: Extension>(context: &Context<K>, error: &watcher::Error) {
    context.metrics.errors.with_label_values(&["watch"]).inc();
    tracing::warn!(error = error as &dyn std::error::Error, "cannot watch, trying again");
}

type Changed<K> = Result<ObjectRef<Watched<K>>, watcher::Error>;

/// Keeps the memory of objects up with the watch; yields what to look at.
fn changed<K: Extension>(
    context: &Context<K>,
    store: &Store<Watched<K>>,
    event: watcher::Result<watcher::Event<Watched<K>>>,
) -> Vec<Changed<K>> {
    let cluster = |object: &Watched<K>| object.0.as_ref().ok()?.cluster().map(str::to_owned);
    match event {
        Err(error) => vec![Err(error)],
        Ok(watcher::Event::Apply(object)) => {
            context.objects.seen(&object, cluster(&object).as_deref());
            vec![Ok(queued(context, &key(&object)))]
        }
        Ok(watcher::Event::Delete(object)) => {
            context.objects.gone(&object);
            Vec::new()
        }
        Ok(watcher::Event::Init) => {
            context.objects.list_began();
            Vec::new()
        }
        // The store shows listed objects only when the list is complete.
        Ok(watcher::Event::InitApply(object)) => {
            context.objects.listed(&object, cluster(&object).as_deref());
            Vec::new()
        }
        Ok(watcher::Event::InitDone) => {
            context.objects.list_ended();
            everything(context, store)
        }
    }
}

/// All objects of the store.
fn everything<K: Extension>(context: &Context<K>, store: &Store<Watched<K>>) -> Vec<Changed<K>> {
    store.state().iter().map(|object| Ok(queued(context, &key(object.as_ref())))).collect()
}

/// Notes that an object waits for its round; the reference by which the work queue knows it.
fn queued<K: Extension>(context: &Context<K>, key: &Key) -> ObjectRef<Watched<K>> {
    set(&context.metrics.queued, context.objects.queued(key));
    let reference = ObjectRef::new(&key.1);
    if key.0.is_empty() { reference } else { reference.within(&key.0) }
}

/// Returns when absent Clusters are known to be absent.
fn clusters_listed<K: Extension>(context: &Arc<Context<K>>) -> impl Future<Output = ()> + use<K> {
    let context = context.clone();
    async move {
        if K::WATCHES_CLUSTERS {
            context.clusters.listed().await;
        }
    }
}

/// The items of a stream that nobody looks at before `first` is through.
fn after<S: Stream>(first: impl Future<Output = ()>, items: S) -> impl Stream<Item = S::Item> {
    stream::once(first).map(|()| None).chain(items.map(Some)).filter_map(future::ready)
}

/// The objects that came, changed, or are all there is. They are followed from the very start, also while nobody asks
/// for them yet.
fn object_changes<K: Extension>(
    context: &Arc<Context<K>>,
    events: impl Stream<Item = watcher::Result<watcher::Event<Watched<K>>>> + Send + 'static,
    store: Store<Watched<K>>,
) -> impl Stream<Item = Changed<K>> {
    let context = context.clone();
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    tokio::spawn(async move {
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            for change in changed(&context, &store, event) {
                if sender.unbounded_send(change).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

/// The objects of the Clusters that changed.
fn cluster_changes<K: Extension>(context: &Arc<Context<K>>, only: Option<&str>) -> impl Stream<Item = Changed<K>> {
    let context = context.clone();
    let only = only.map(str::to_owned);
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    tokio::spawn(async move {
        let mut changes = pin!(context.clusters.follow(context.client.clone(), only.as_deref()));
        while let Some(names) = changes.next().await {
            let items: Vec<Changed<K>> = match names {
                Err(error) => vec![Err(error)],
                Ok(names) => {
                    let keys = names.iter().flat_map(|name| context.objects.of_cluster(name));
                    keys.map(|key| Ok(queued(&context, &key))).collect()
                }
            };
            for item in items {
                if sender.unbounded_send(item).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

/// One line for the reader: what was attempted, why it failed, what to do.
pub(crate) fn problem<E: Display>(what: &str, remedy: &str) -> impl FnOnce(E) -> String {
    let (what, remedy) = (what.to_owned(), remedy.to_owned());
    move |error| format!("{what}: {error}; {remedy}")
}
