//! Rules about Leases: leader election, and the heartbeat.

use std::io;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use mock_core::{heartbeat, lease};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::controller::Controller;
use super::restarts::{ask as ask_of, free_port, http_get, until_answered};
use super::{Ground, Rule, ensure, text};
use crate::{readiness, rules};

// The slow ones first: they mostly wait.
pub(super) const ALL: &[Rule] = rules![
    a_leader_that_is_gone_is_followed_when_its_lease_has_run_out,
    a_standby_is_ready_and_writes_nothing,
    sigterm_hands_the_lease_over,
    sigterm_lets_rounds_end_before_the_lease_is_released,
    a_stolen_lease_ends_the_process_with_exit_code_1,
    sigterm_ends_a_standby_whose_api_server_never_answered,
    the_heartbeat_is_renewed,
    a_failing_heartbeat_disturbs_nothing,
    without_the_flags_no_lease_is_requested,
];

/// Within about two seconds, on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

async fn a_leader_that_is_gone_is_followed_when_its_lease_has_run_out(ground: Ground) -> Result<(), Failed> {
    let other = Ground::new(ground.suite.clone(), "cut-off").await?;
    // At the same time, because both take the duration of a Lease.
    futures::try_join!(killed(&ground), cut_off(&other)).map(drop)
}

async fn killed(ground: &Ground) -> Result<(), Failed> {
    let kubeconfig = own_kubeconfig(ground, None)?;
    let leader = start(ground, &kubeconfig, &["--leader-elect"])?;
    ask(ground, "a").await?;
    ground.until_ready("a").await?;
    let _standby = start(ground, &kubeconfig, &["--leader-elect"])?;
    leader.kill().await?;
    is_followed(ground).await
}

async fn cut_off(ground: &Ground) -> Result<(), Failed> {
    let link = Link::open(ground).await?;
    let mut leader = start(ground, &own_kubeconfig(ground, Some(link.port))?, &["--leader-elect"])?;
    ask(ground, "a").await?;
    ground.until_ready("a").await?;
    let _standby = start(ground, &own_kubeconfig(ground, None)?, &["--leader-elect"])?;
    link.held_up.send(true)?;
    let ended = leader.ended().await?;
    ensure(ended.code() == Some(1), format!("{ended} instead of exit code 1"))?;
    let spec = spec(&election(ground).await?)?;
    ensure(spec.lease_transitions == Some(0), "another process leads before the leader has ended")?;
    is_followed(ground).await
}

/// Nobody leads now, but the Lease is still held.
async fn is_followed(ground: &Ground) -> Result<(), Failed> {
    ask(ground, "b").await?;
    let renewed = spec(&election(ground).await?)?.renew_time.ok_or("no renewTime")?.0;
    let followed = |spec: &LeaseSpec| spec.lease_transitions == Some(1);
    let spec = until(ground, &lease::name(&ground.suite.name), "a next leader", followed).await?;
    let waited = spec.acquire_time.ok_or("no acquireTime")?.0.duration_since(renewed);
    ensure(waited.as_secs() >= 15, format!("taken over after {waited:#}, before it had run out"))?;
    ground.until_ready("b").await.map(drop)
}

async fn a_standby_is_ready_and_writes_nothing(ground: Ground) -> Result<(), Failed> {
    hold(&ground, "somebody", 3600).await?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let kubeconfig = own_kubeconfig(&ground, None)?;
    let flags = ["--leader-elect", "--heartbeat", "--admin-address", &address, "--namespace", &ground.namespace];
    let _controller = start(&ground, &kubeconfig, &flags)?;
    until_answered(&address, "/readyz", "200 OK").await?;
    ask(&ground, "a").await?;
    until_answered(&address, "/metrics", "mock_queue_length 1").await?;
    ensure(http_get(&address, "/metrics").await?.contains("mock_leader 0"), "the metrics say that it leads")?;
    ensure(ground.writes("a")? == 0, "a standby has written")?;
    ensure(leases(&ground).get_opt(heartbeat::NAME).await?.is_none(), "a standby beats")?;

    hold(&ground, "", 1).await?;
    let freed = Instant::now();
    ground.until_ready("a").await?;
    ensure(freed.elapsed() < PROMPT, format!("served after {:?}", freed.elapsed()))?;
    until_answered(&address, "/metrics", "mock_leader 1").await?;
    until_answered(&address, "/metrics", "mock_queue_length 0").await?;
    until(&ground, heartbeat::NAME, "a heartbeat", |_| true).await.map(drop)
}

async fn sigterm_hands_the_lease_over(ground: Ground) -> Result<(), Failed> {
    let kubeconfig = own_kubeconfig(&ground, None)?;
    let mut leader = start(&ground, &kubeconfig, &["--leader-elect"])?;
    ask(&ground, "a").await?;
    ground.until_ready("a").await?;
    let first = spec(&election(&ground).await?)?;
    let holder = first.holder_identity.clone().unwrap_or_default();
    ensure(holder.rsplit_once('_').is_some_and(|(host, id)| !host.is_empty() && id.len() == 16), holder.clone())?;
    ensure(first.lease_duration_seconds == Some(15) && first.lease_transitions == Some(0), format!("{first:?}"))?;
    ensure(first.acquire_time.is_some() && first.renew_time.is_some(), format!("{first:?}"))?;

    let address = format!("127.0.0.1:{}", free_port()?);
    let _standby = start(&ground, &kubeconfig, &["--leader-elect", "--admin-address", &address])?;
    until_answered(&address, "/readyz", "200 OK").await?;
    ask(&ground, "b").await?;
    ensure(leader.terminate().await?.success(), "SIGTERM is no failure")?;
    let ended = Instant::now();
    ask(&ground, "c").await?;
    ground.until_ready("c").await?;
    ensure(ended.elapsed() < PROMPT, format!("served after {:?}", ended.elapsed()))?;
    ground.until_ready("b").await?;
    let second = spec(&election(&ground).await?)?;
    ensure(second.lease_transitions == Some(1) && second.holder_identity != Some(holder), format!("{second:?}"))
}

async fn sigterm_lets_rounds_end_before_the_lease_is_released(ground: Ground) -> Result<(), Failed> {
    let link = Link::open(&ground).await?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let kubeconfig = own_kubeconfig(&ground, Some(link.port))?;
    let mut leader = start(&ground, &kubeconfig, &["--leader-elect", "--admin-address", &address])?;
    ask(&ground, "a").await?;
    ground.until_ready("a").await?;
    // What made it ready is seen here before its answer is read there.
    until_answered(&address, "/metrics", "mock_reconciles_in_flight 0").await?;
    link.held_up.send(true)?;
    ask(&ground, "b").await?;
    until_answered(&address, "/metrics", "mock_reconciles_in_flight 1").await?;
    leader.ask_to_stop()?;
    http_get(&address, "/healthz").await.map_err(|_| "the process did not wait for its round")?;
    link.held_up.send(false)?;
    ensure(leader.ended().await?.success(), "SIGTERM is no failure")?;
    let object = ground.get("b").await?;
    ensure(readiness::check(&object, None).is_ok() && ground.holds(&object), format!("half done: {object:#}"))?;
    let lease = election(&ground).await?;
    ensure(spec(&lease)?.holder_identity.is_some_and(|holder| holder.is_empty()), format!("not released: {lease:?}"))?;
    // All objects share etcd's revisions.
    let version = |text: &str| text.parse::<u64>();
    let released = version(lease.metadata.resource_version.as_deref().unwrap_or_default())?;
    ensure(version(text(&object, "/metadata/resourceVersion"))? < released, "released before the last write")
}

async fn a_stolen_lease_ends_the_process_with_exit_code_1(ground: Ground) -> Result<(), Failed> {
    let mut leader = start(&ground, &own_kubeconfig(&ground, None)?, &["--leader-elect"])?;
    ask(&ground, "a").await?;
    ground.until_ready("a").await?;
    hold(&ground, "a-thief", 15).await?;
    let ended = leader.ended().await?;
    ensure(ended.code() == Some(1), format!("{ended} instead of exit code 1"))?;
    let held = spec(&election(&ground).await?)?;
    ensure(held.holder_identity.as_deref() == Some("a-thief"), "the process wrote a Lease that it had lost")?;
    let log = std::fs::read_to_string(ground.suite.log())?;
    let told = log.lines().any(|line| line.contains("lost the Lease") && line.contains("a-thief"));
    ensure(told, "the log does not say why")
}

async fn sigterm_ends_a_standby_whose_api_server_never_answered(ground: Ground) -> Result<(), Failed> {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let kubeconfig = ground.suite.kubeconfig_of(&format!("http://{}", silent.local_addr()?))?;
    let path = ground.suite.write_file("silent-leases", &kubeconfig)?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let flags = ["--kubeconfig", &path, "--leader-elect", "--heartbeat", "--admin-address", &address];
    let mut controller = Controller::bare(&ground.suite, &flags)?;
    until_answered(&address, "/healthz", "200 OK").await?;
    let told = Instant::now();
    ensure(controller.terminate().await?.success(), "SIGTERM is no failure")?;
    ensure(told.elapsed() < PROMPT, format!("ended after {:?}", told.elapsed()))
}

async fn the_heartbeat_is_renewed(ground: Ground) -> Result<(), Failed> {
    let kubeconfig = own_kubeconfig(&ground, None)?;
    let _controller = start(&ground, &kubeconfig, &["--heartbeat", "--heartbeat-renew-interval-seconds", "1"])?;
    let first = until(&ground, heartbeat::NAME, "a heartbeat", |_| true).await?;
    ensure(first.holder_identity.as_ref() == Some(&ground.suite.name), format!("{first:?}"))?;
    ensure(first.lease_duration_seconds == Some(1), format!("{first:?}"))?;
    let renewed = |spec: &LeaseSpec| spec.renew_time > first.renew_time;
    until(&ground, heartbeat::NAME, "a second heartbeat", renewed).await?;
    let election = leases(&ground).get_opt(&lease::name(&ground.suite.name)).await?;
    ensure(election.is_none(), "there was an election although there was no flag for it")
}

async fn a_failing_heartbeat_disturbs_nothing(ground: Ground) -> Result<(), Failed> {
    let nowhere = Ground { namespace: format!("{}-later", ground.namespace), ..ground.clone() };
    let _controller = start(&ground, &own_kubeconfig(&nowhere, None)?, &["--heartbeat"])?;
    ask(&ground, "a").await?;
    ground.until_ready("a").await?;
    let told = |log: &str| {
        let mut lines = log.lines();
        lines.any(|line| line.contains("cannot renew the heartbeat") && line.contains(&nowhere.namespace))
    };
    let deadline = Instant::now() + PROMPT;
    while !told(&std::fs::read_to_string(ground.suite.log())?) {
        ensure(Instant::now() < deadline, "the log does not tell of the failure")?;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    let namespace = json!({ "metadata": { "name": nowhere.namespace } });
    let namespaces = Api::<Namespace>::all(ground.suite.client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
    // Long before the interval of 30 s has passed.
    until(&nowhere, heartbeat::NAME, "a heartbeat", |_| true).await.map(drop)
}

async fn without_the_flags_no_lease_is_requested(ground: Ground) -> Result<(), Failed> {
    let _controller = start(&ground, &own_kubeconfig(&ground, None)?, &[])?;
    ask(&ground, "a").await?;
    ground.until_ready("a").await?;
    let audit = ground.suite.bed.audit().ok_or("there is no audit log")?;
    let made = audit.requests(|request| request.resource == "leases" && request.namespace == ground.namespace)?;
    ensure(made.is_empty(), format!("{made:?}"))
}

/// A controller for this ground alone.
fn start(ground: &Ground, kubeconfig: &str, flags: &[&str]) -> Result<Controller, Failed> {
    Controller::bare(&ground.suite, &[&["--kubeconfig", kubeconfig, "--type", &ground.namespace], flags].concat())
}

async fn ask(ground: &Ground, name: &str) -> Result<(), Failed> {
    ask_of(ground, name, &ground.namespace, "reconcile").await
}

/// A kubeconfig whose default namespace is the ground's, so that each ground has Leases of its own; to the API server
/// through a port, if one is given.
fn own_kubeconfig(ground: &Ground, port: Option<u16>) -> Result<String, Failed> {
    let (mut kubeconfig, name) = match port {
        None => (ground.suite.kubeconfig()?, ground.namespace.clone()),
        Some(port) => {
            (ground.suite.kubeconfig_of(&format!("https://127.0.0.1:{port}"))?, format!("link-{}", ground.namespace))
        }
    };
    let context = kubeconfig.pointer_mut("/contexts/0/context").ok_or("there is no context")?;
    context["namespace"] = json!(ground.namespace);
    ground.suite.write_file(&name, &kubeconfig)
}

fn leases(ground: &Ground) -> Api<Lease> {
    Api::namespaced(ground.suite.client.clone(), &ground.namespace)
}

async fn election(ground: &Ground) -> Result<Lease, Failed> {
    Ok(leases(ground).get(&lease::name(&ground.suite.name)).await?)
}

fn spec(lease: &Lease) -> Result<LeaseSpec, Failed> {
    Ok(lease.spec.clone().ok_or("the Lease is empty")?)
}

/// Gives the Lease of the election to somebody else.
async fn hold(ground: &Ground, holder: &str, seconds: i32) -> Result<(), Failed> {
    let name = lease::name(&ground.suite.name);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": name },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": seconds,
            "renewTime": format!("{:.6}", Timestamp::now()) },
    });
    let params = PatchParams::apply("thief").force();
    leases(ground).patch(&name, &params, &Patch::Apply(lease)).await?;
    Ok(())
}

/// Waits for a Lease, a little longer than one takes to run out.
async fn until(
    ground: &Ground,
    name: &str,
    what: &str,
    holds: impl Fn(&LeaseSpec) -> bool,
) -> Result<LeaseSpec, Failed> {
    let deadline = Instant::now() + Duration::from_secs(25);
    loop {
        let found = leases(ground).get_opt(name).await?.and_then(|lease| lease.spec);
        if let Some(spec) = found.as_ref().filter(|spec| holds(spec)) {
            return Ok(spec.clone());
        }
        ensure(Instant::now() < deadline, format!("{what} never came: {found:?}"))?;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// A way to the API server on which requests can be held up. What the API server sends still arrives, and nothing is
/// closed.
struct Link {
    port: u16,
    held_up: watch::Sender<bool>,
    _forwarding: AbortOnDropHandle<()>,
}

impl Link {
    async fn open(ground: &Ground) -> Result<Self, Failed> {
        let kubeconfig = ground.suite.kubeconfig()?;
        let server = text(&kubeconfig, "/clusters/0/cluster/server").trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (held_up, receiver) = watch::channel(false);
        let forwarding = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (server, held_up) = (server.clone(), receiver.clone());
                connections.spawn(async move {
                    let (mut requests, mut answers) = near.into_split();
                    let (mut far_answers, far_requests) = TcpStream::connect(server).await?.into_split();
                    tokio::select! {
                        ended = tokio::io::copy(&mut far_answers, &mut answers) => ended.map(drop),
                        ended = forward(&mut requests, far_requests, held_up) => ended,
                    }
                });
            }
        });
        Ok(Self { port, held_up, _forwarding: AbortOnDropHandle::new(forwarding) })
    }
}

async fn forward(
    from: &mut OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut held_up: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(1 << 14);
    while from.read_buf(&mut buffer).await? > 0 {
        held_up.wait_for(|held_up| !held_up).await.map_err(io::Error::other)?;
        to.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}
