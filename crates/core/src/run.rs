//! How a process starts, serves and stops.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use futures::{Stream, StreamExt, future, stream};
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
use crate::problem::{problem, whole};
use crate::queue::Queue;
use crate::reconcile::{Context, reconcile, set};
use crate::shutdown;
use crate::watched::Watched;

/// How long rounds that are under way may take to end after SIGTERM; a Pod is killed after 30 s.
const GRACE: Duration = Duration::from_secs(10);
/// Watches are not perfect: every object is looked at once in an hour, a part of all each minute. That costs no request.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const PARTS: usize = 60;

/// The whole of a controller's `main`: flags from the command line, one line and exit code 1 for what keeps it from
/// starting.
#[must_use]
pub fn main<K: Extension>() -> ExitCode {
    let name = format!("mock-{}", K::kind(&()).to_lowercase());

    let matches = Args::<K::Options>::command().name(name.clone()).get_matches();
    let result = Args::from_arg_matches(&matches).map_err(|error| error.to_string()).and_then(|args| {
        args.init_log()?;
        // There is no work for a second thread: with two, an object takes a tenth to a fifth more CPU time.
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
    let server = client::address(&config);
    tracing::info!(kind = %K::kind(&()), ?types, namespace = args.namespace, server, "serving");
    // Connections of their own: a renewal must not spend its few seconds on those that other requests found dead.
    let leases = client::new(config)?;
    let election = args.leader_elect.then(|| Election::new(leases.clone(), &name, metrics.clone()));
    let election = election.transpose().map_err(problem("cannot take part in leader election", "report this"))?;
    let interval = args.heartbeat_renew_interval_seconds;
    let heartbeat = args.heartbeat.then(|| Heartbeat::new(leases, &name, interval, metrics.clone()));
    let context = Arc::new(Context::<K> {
        events: Events::new(client.clone(), &name),
        client,
        server,
        types,
        options: args.kind,
        concurrency: args.concurrency,
        name,
        kind: K::kind(&()).into_owned(),
        script,
        clusters: Clusters::default(),
        objects: Objects::default(),
        queue: Queue::default(),
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
    // Both are followed from the very start, also while nobody asks for them yet.
    tokio::spawn(follow_objects(context.clone(), reflector::reflector(writer, events), store.clone()));
    if K::WATCHES_CLUSTERS {
        tokio::spawn(follow_clusters(context.clone(), namespace));
    }
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
            () = stop.cancelled() => false,
            () = &mut announce => false,
        };
        if !leads {
            election.release().await;
            return Ok(());
        }
    }
    context.metrics.leader.set(1);
    let rounds = async {
        // Before, absent Clusters are not known to be absent.
        tokio::select! {
            () = clusters_listed(&context) => {}
            () = stop.cancelled() => return,
        }
        let rounds = rounds(context.clone(), store.clone()).take_until(stop.cancelled());
        let rounds = rounds.buffer_unordered(context.concurrency.into());
        rounds.for_each(async |()| {}).await;
    };
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
        tracing::warn!("stopping although rounds are under way");
    };
    tokio::select! {
        // The Lease comes first: a process that was suspended must not write before it knows that it still leads.
        biased;
        lost = or_never(election.as_mut().map(Election::hold)) => return Err(lost),
        () = pin!(rounds) => {}
        () = announce => {}
        () = overdue => {}
        () = look_again(&context, &store) => {}
        () = or_never(heartbeat.as_ref().map(Heartbeat::beat)) => {}
    }
    if let Some(election) = &mut election {
        election.release().await;
    }
    Ok(())
}

async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn watch_failed<K: Extension>(context: &Context<K>, what: &str, error: &watcher::Error) {
    context.metrics.errors.with_label_values(&["watch"]).inc();
    tracing::warn!(server = context.server, error = whole(error), "cannot watch {what}, trying again");
}

/// Keeps the memory of objects, and the queue, up with the watch.
async fn follow_objects<K: Extension>(
    context: Arc<Context<K>>,
    events: impl Stream<Item = watcher::Result<watcher::Event<Watched<K>>>>,
    store: Store<Watched<K>>,
) {
    let cluster = |object: &Watched<K>| object.0.as_ref().ok()?.cluster().map(str::to_owned);
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Err(error) => watch_failed(&context, &K::plural(&()), &error),
            Ok(watcher::Event::Apply(object)) => {
                context.objects.seen(&object, cluster(&object).as_deref());
                waits(&context, key(&object));
            }
            Ok(watcher::Event::Delete(object)) => {
                context.objects.gone(&object);
                gone(&context, &key(&object));
            }
            Ok(watcher::Event::Init) => context.objects.list_began(),
            // The store shows listed objects only when the list is complete.
            Ok(watcher::Event::InitApply(object)) => context.objects.listed(&object, cluster(&object).as_deref()),
            Ok(watcher::Event::InitDone) => {
                context.objects.list_ended();
                store.state().iter().for_each(|object| waits(&context, key(object.as_ref())));
            }
        }
    }
}

/// Keeps what is known of Clusters up with their watch; the objects of those that changed are looked at.
async fn follow_clusters<K: Extension>(context: Arc<Context<K>>, only: Option<String>) {
    let mut changes = pin!(context.clusters.follow(context.client.clone(), only.as_deref()));
    while let Some(names) = changes.next().await {
        match names {
            Err(error) => watch_failed(&context, "clusters", &error),
            Ok(names) => {
                let keys = names.iter().flat_map(|name| context.objects.of_cluster(name));
                keys.for_each(|key| waits(&context, key));
            }
        }
    }
}

/// Lets one part of all objects after the other wait for a round.
async fn look_again<K: Extension>(context: &Context<K>, store: &Store<Watched<K>>) {
    for part in (0..PARTS).cycle() {
        tokio::time::sleep(LOOK_AGAIN).await;
        store.state().iter().skip(part).step_by(PARTS).for_each(|object| waits(context, key(object.as_ref())));
    }
}

fn waits<K: Extension>(context: &Context<K>, key: Key) {
    set(&context.metrics.queued, context.queue.push(key));
}

fn gone<K: Extension>(context: &Context<K>, key: &Key) {
    set(&context.metrics.queued, context.queue.gone(key));
}

/// The rounds of those whose turn it is, one after the other.
fn rounds<K: Extension>(
    context: Arc<Context<K>>,
    store: Store<Watched<K>>,
) -> impl Stream<Item = impl Future<Output = ()>> {
    let turns = stream::unfold(context.clone(), async |context| Some((context.queue.next().await, context)));
    turns.filter_map(move |(key, waiting)| future::ready(round(&context, &store, key, waiting)))
}

/// The round of an object as it is now; none if it is gone.
fn round<K: Extension>(
    context: &Arc<Context<K>>,
    store: &Store<Watched<K>>,
    key: Key,
    waiting: usize,
) -> Option<impl Future<Output = ()> + use<K>> {
    set(&context.metrics.queued, waiting);
    let object = ObjectRef::new(&key.1);
    let object = store.get(&if key.0.is_empty() { object } else { object.within(&key.0) });
    if object.is_none() {
        context.queue.ended(&key, None);
    }
    Some(reconcile(object?, context.clone(), key, waiting))
}

/// Returns when absent Clusters are known to be absent.
async fn clusters_listed<K: Extension>(context: &Context<K>) {
    if K::WATCHES_CLUSTERS {
        context.clusters.listed().await;
    }
}
