//! How a controller process starts, serves and stops.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use extension_contract::HasCluster;
use futures::StreamExt;
use kube::Api;
use kube::runtime::reflector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::context::Context;
use crate::events::Events;
use crate::kind::{MockKind, Surroundings};
use crate::pipeline::{follow_clusters, follow_namespaces, follow_objects, reconciles, resync};
use crate::process::admin::{self, Ready};
use crate::process::args::Args;
use crate::process::client::Clients;
use crate::process::heartbeat::Heartbeat;
use crate::process::lease::{Election, Lost};
use crate::process::metrics::Metrics;
use crate::process::{log, shutdown};
use crate::script::source::File;
use crate::start_error::StartError;
use crate::watch::ahead::Ahead;
use crate::watch::clusters::Clusters;
use crate::watch::decode::Guarded;
use crate::watch::memory::Memory;
use crate::watch::namespaces::Namespaces;
use crate::watch::queue::WorkQueue;
use crate::watch::reach::Reach;

/// How long reconciles in flight may take after SIGTERM. Kubernetes kills a Pod after 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// The whole `main` of a controller. Flags come from the command line. A controller that cannot start prints one line
/// and exits with code 1.
#[must_use]
pub fn main<K: MockKind>() -> ExitCode {
    let name = format!("mock-{}", K::KIND.name.to_lowercase());
    let matches = Args::<K::Options>::command().name(name.clone()).get_matches();
    let result = Args::from_arg_matches(&matches)
        .map_err(StartError::because("cannot read the flags", "see --help"))
        .and_then(|args| start::<K>(&name, args));
    match result {
        Ok(code) => code,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the log may not be set up yet")]
            {
                eprintln!("{name}: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn start<K: MockKind>(name: &str, args: Args<K::Options>) -> Result<ExitCode, StartError> {
    log::init(&args.log_level, args.log_format)?;
    let cannot_run = "cannot start the runtime";
    let limits = "check the limits of processes and open files";
    // There is no work for a second thread: with two, a reconcile takes 10 to 20 % more CPU time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(StartError::because(cannot_run, limits))?;
    // A separate task: waking the future that the runtime blocks on takes two system calls each time.
    let ended = runtime.block_on(runtime.spawn(serve::<K>(name.to_owned(), args)));
    // Otherwise shutdown would block on a pending DNS lookup.
    runtime.shutdown_background();
    ended.map_err(StartError::because("the controller panicked", "report this")).flatten()
}

async fn serve<K: MockKind>(name: String, args: Args<K::Options>) -> Result<ExitCode, StartError> {
    const REPORT: &str = "report this";
    if let (Some(namespace), false) = (&args.namespace, K::KIND.namespaced) {
        let problem = format!("objects of kind {} have no namespace", K::KIND.name);
        let attempt = format!("cannot serve only --namespace {namespace}");
        return Err(StartError::because(attempt, "leave the flag out")(problem));
    }
    let script = args.script.as_deref().map(File::read).transpose()?;
    let stop = shutdown::on_signal().map_err(StartError::because("cannot wait for signals", REPORT))?;
    let mut clients = tokio::select! {
        clients = Clients::find(args.kubeconfig.as_deref()) => clients?,
        // A credential plugin may hang. It ends with us.
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let client = clients.client();
    let metrics = Metrics::new().map_err(StartError::because("cannot set up metrics", REPORT))?;
    let ready = Ready::default();
    if let Some(address) = args.admin_address {
        let attempt = format!("cannot listen on --admin-address {address}");
        let bound = admin::bind(address).await;
        let listener = bound.map_err(StartError::because(attempt, "choose a free port of this machine"))?;
        tokio::spawn(admin::serve(listener, ready.clone(), metrics.clone()));
    }
    let types = if args.types.is_empty() { K::TYPES.iter().map(ToString::to_string).collect() } else { args.types };
    let classes = if args.classes.is_empty() { K::KIND.usual_classes().to_vec() } else { args.classes };
    let server = clients.address();
    tracing::info!(kind = K::KIND.name, ?types, ?classes, namespace = args.namespace, server, "serving");
    // Separate connections: a renewal must not spend its few seconds on connections that other requests found dead.
    let leases = clients.client();
    let election = args.leader_elect.then(|| Election::new(leases.clone(), &name, metrics.clone())).transpose();
    let election = election.map_err(StartError::because("cannot take part in leader election", REPORT))?;
    let interval = args.heartbeat_renew_interval_seconds;
    let heartbeat = args.heartbeat.then(|| Heartbeat::new(leases, &name, interval, metrics.clone()));
    let context = Arc::new(Context::<K> {
        events: Events::new(client.clone(), &name),
        client,
        server,
        types,
        classes,
        options: args.kind,
        concurrency: args.concurrency,
        name,
        script,
        clusters: Clusters::default(),
        namespaces: Namespaces::default(),
        memory: Memory::default(),
        reach: Reach::default(),
        ahead: Ahead::default(),
        queue: WorkQueue::new(metrics.queued.clone()),
        metrics,
    });
    tokio::spawn({
        let context = context.clone();
        async move {
            while clients.renewed().await {
                context.reach.try_now();
                context.retry_failed();
            }
        }
    });
    tokio::spawn({
        let context = context.clone();
        async move {
            if let Some(file) = &context.script {
                file.follow(|stale| context.metrics.script_stale.set(i64::from(stale))).await;
            }
        }
    });
    Ok(match Box::pin(run(context, args.namespace, ready, stop, election, heartbeat)).await {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(lost) => {
            tracing::error!("lost the Lease, exiting: {lost}");
            ExitCode::FAILURE
        }
    })
}

/// Serves until `stop`. Returns when the reconciles in flight have ended, or after [`GRACE`], and the Lease is
/// released. Losing the Lease ends it immediately.
async fn run<K: MockKind>(
    context: Arc<Context<K>>,
    namespace: Option<String>,
    ready: Ready,
    stop: CancellationToken,
    mut election: Option<Election>,
    mut heartbeat: Option<Heartbeat>,
) -> Result<(), Lost> {
    let (store, writer) = reflector::store::<Guarded<K>>();
    let api: Api<Guarded<K>> = match &namespace {
        Some(namespace) if K::KIND.namespaced => Api::namespaced_with(context.client.clone(), namespace, &()),
        _ => Api::all_with(context.client.clone(), &()),
    };
    let listed = store.clone();
    // Both watches are followed from the start, also while this process stands by.
    tokio::spawn(follow_objects(context.clone(), api, writer));
    if context.has_cluster() != HasCluster::Never {
        tokio::spawn(follow_clusters(context.clone(), namespace.clone()));
    }
    if context.has_cluster() == HasCluster::InShootNamespaces {
        tokio::spawn(follow_namespaces(context.clone(), namespace.clone()));
    }
    let announce = async {
        if listed.wait_until_ready().await.is_ok() {
            tracing::info!(objects = listed.len(), "listed");
            context.clusters_listed().await;
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
    let _companion = companion(&context, namespace).map(|task| AbortOnDropHandle::new(tokio::spawn(task)));
    let workers = async {
        tokio::select! {
            () = context.clusters_listed() => {}
            () = stop.cancelled() => return,
        }
        let reconciles = reconciles(context.clone(), store.clone()).take_until(stop.cancelled());
        reconciles.buffer_unordered(context.concurrency.into()).for_each(async |()| {}).await;
    };
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
        tracing::warn!("stopping although reconciles are in flight");
    };
    tokio::select! {
        // The Lease comes first: a suspended process must not write before it knows that it still leads.
        biased;
        lost = or_never(election.as_mut().map(Election::hold)) => return Err(lost),
        () = pin!(workers) => {}
        () = announce => {}
        () = overdue => {}
        () = resync(&context, &store) => {}
        () = or_never(heartbeat.as_mut().map(Heartbeat::beat)) => {}
    }
    if let Some(election) = &mut election {
        election.release().await;
    }
    context.events.published().await;
    Ok(())
}

/// The kind's companion, if its flags ask for it.
fn companion<K: MockKind>(
    context: &Context<K>,
    namespace: Option<String>,
) -> Option<impl Future<Output = ()> + Send + 'static> {
    let companion = K::COMPANION.filter(|companion| (companion.is_wanted)(&context.options))?;
    let (client, types) = (context.client.clone(), context.types.clone());
    Some((companion.run)(Surroundings { client, types, namespace }))
}

async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
