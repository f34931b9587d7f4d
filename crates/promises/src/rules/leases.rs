//! Leases: leader election, and the heartbeat.

use std::time::{Duration, Instant};

use extension_conformance::launcher::Controller;
use extension_conformance::{ensure, eventually, merged, text};
use extension_contract::readiness;
use gardener_testbed::{http, port};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use mock_core::process::{heartbeat, lease};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::answers::{until_metric, until_metrics, until_status};
use crate::link::Link;
use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;

pub(crate) const PROMISES: &[Promise] = promises![
    standby_takes_over_when_the_lease_of_a_lost_leader_expires,
    standby_is_ready_and_writes_nothing,
    sigterm_hands_the_lease_to_the_standby,
    sigterm_finishes_rounds_before_the_lease_is_released,
    stolen_lease_ends_the_process_with_exit_code_1,
    lease_with_an_unreadable_time_is_taken_over,
    sigterm_ends_a_standby_while_the_api_server_is_silent,
    heartbeat_is_renewed,
    failing_heartbeat_does_not_stop_the_controller,
    without_lease_flags_no_lease_is_requested,
];

/// Limit for what takes about two seconds on an idle machine.
const PROMPT: Duration = Duration::from_secs(5);
/// Limit of waits for a Lease, which expires a little earlier.
const LEASE_LIMIT: Duration = Duration::from_secs(25);

async fn standby_takes_over_when_the_lease_of_a_lost_leader_expires(scene: MockScene) -> Result<(), Failed> {
    let other = scene.beside("cut-off").await?;
    // At the same time, because each takes as long as a Lease.
    futures::try_join!(killed(&scene), cut_off(&other)).map(drop)
}

/// The leader is killed.
async fn killed(scene: &MockScene) -> Result<(), Failed> {
    let kubeconfig = own_kubeconfig(scene, None)?;
    let leader = start(scene, &kubeconfig, &["--leader-elect"])?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    let _standby = start(scene, &kubeconfig, &["--leader-elect"])?;
    leader.kill().await?;
    is_followed(scene).await
}

/// The leader loses its connection to the API server.
async fn cut_off(scene: &MockScene) -> Result<(), Failed> {
    let link = Link::open(scene).await?;
    let mut leader = start(scene, &own_kubeconfig(scene, Some(link.port))?, &["--leader-elect"])?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    let _standby = start(scene, &own_kubeconfig(scene, None)?, &["--leader-elect"])?;
    link.hold()?;
    let ended = leader.ended().await?;
    ensure(ended.code() == Some(1), format!("{ended} instead of exit code 1"))?;
    let spec = spec(&election(scene).await?)?;
    ensure(spec.lease_transitions == Some(0), "another process leads before the leader has ended")?;
    is_followed(scene).await
}

/// Fails unless the standby leads as soon as the Lease has expired, and serves. The leader has ended without releasing
/// the Lease.
async fn is_followed(scene: &MockScene) -> Result<(), Failed> {
    scene.ask_own("b", "reconcile").await?;
    let renewed = spec(&election(scene).await?)?.renew_time.ok_or("no renewTime")?.0;
    let followed = |spec: &LeaseSpec| spec.lease_transitions == Some(1);
    let spec = until(scene, &lease::name(&scene.mock().name), "a next leader", followed).await?;
    let waited = spec.acquire_time.ok_or("no acquireTime")?.0.duration_since(renewed);
    ensure(waited.as_secs() >= 15, format!("taken over after {waited:#}, before the Lease had expired"))?;
    scene.until_ready("b").await.map(drop)
}

async fn standby_is_ready_and_writes_nothing(scene: MockScene) -> Result<(), Failed> {
    hold(&scene, "another-process", 3600).await?;
    let address = port::free_address()?;
    let (kubeconfig, admin) = (own_kubeconfig(&scene, None)?, address.to_string());
    let namespaced = scene.suite().subject().kind.namespaced;
    let only = if namespaced { &["--namespace", scene.namespace()][..] } else { &[] };
    let flags = [&["--leader-elect", "--heartbeat", "--admin-address", &admin], only].concat();
    let _controller = start(&scene, &kubeconfig, &flags)?;
    until_status(address, "/readyz", 200).await?;
    scene.ask_own("a", "reconcile").await?;
    if namespaced {
        until_metric(address, "mock_queue_length 1").await?;
    } else {
        // The objects of other tests are in the queue as well.
        let is_queued =
            |metrics: &str| metrics.contains("mock_queue_length ") && !metrics.contains("mock_queue_length 0");
        until_metrics(address, "an object in the queue", is_queued).await?;
    }
    until_metric(address, "mock_leader 0").await?;
    ensure(scene.writes("a")? == 0, "a standby has written")?;
    ensure(leases(&scene).get_opt(heartbeat::NAME).await?.is_none(), "a standby renews the heartbeat")?;

    hold(&scene, "", 1).await?;
    let freed = Instant::now();
    scene.until_ready("a").await?;
    ensure(freed.elapsed() < PROMPT, format!("served after {:?}", freed.elapsed()))?;
    until_metric(address, "mock_leader 1").await?;
    until_metric(address, "mock_queue_length 0").await?;
    until(&scene, heartbeat::NAME, "a heartbeat", |_| true).await.map(drop)
}

async fn sigterm_hands_the_lease_to_the_standby(scene: MockScene) -> Result<(), Failed> {
    let kubeconfig = own_kubeconfig(&scene, None)?;
    let mut leader = start(&scene, &kubeconfig, &["--leader-elect"])?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    let first = spec(&election(&scene).await?)?;
    let holder = first.holder_identity.clone().unwrap_or_default();
    ensure(holder.rsplit_once('_').is_some_and(|(host, id)| !host.is_empty() && id.len() == 16), holder.clone())?;
    ensure(first.lease_duration_seconds == Some(15) && first.lease_transitions == Some(0), format!("{first:?}"))?;
    ensure(first.acquire_time.is_some() && first.renew_time.is_some(), format!("{first:?}"))?;

    let address = port::free_address()?;
    let _standby = start(&scene, &kubeconfig, &["--leader-elect", "--admin-address", &address.to_string()])?;
    until_status(address, "/readyz", 200).await?;
    scene.ask_own("b", "reconcile").await?;
    ensure(leader.terminate().await?.success(), "SIGTERM must end with success")?;
    let ended = Instant::now();
    scene.ask_own("c", "reconcile").await?;
    scene.until_ready("c").await?;
    ensure(ended.elapsed() < PROMPT, format!("served after {:?}", ended.elapsed()))?;
    scene.until_ready("b").await?;
    let second = spec(&election(&scene).await?)?;
    ensure(second.lease_transitions == Some(1) && second.holder_identity != Some(holder), format!("{second:?}"))
}

async fn sigterm_finishes_rounds_before_the_lease_is_released(scene: MockScene) -> Result<(), Failed> {
    let link = Link::open(&scene).await?;
    let address = port::free_address()?;
    let kubeconfig = own_kubeconfig(&scene, Some(link.port))?;
    let mut leader = start(&scene, &kubeconfig, &["--leader-elect", "--admin-address", &address.to_string()])?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    // The test sees the object ready before the controller has read the answer of its write.
    until_metric(address, "mock_reconciles_in_flight 0").await?;
    link.hold()?;
    scene.ask_own("b", "reconcile").await?;
    until_metric(address, "mock_reconciles_in_flight 1").await?;
    leader.ask_to_stop()?;
    http::get(address, "/healthz").await.map_err(|_| "the process did not wait for the reconcile in flight")?;
    link.release()?;
    ensure(leader.ended().await?.success(), "SIGTERM must end with success")?;
    let object = scene.get("b").await?;
    ensure(readiness::check(&object, None).is_ok() && scene.holds(&object), format!("half done: {object:#}"))?;
    let lease = election(&scene).await?;
    ensure(spec(&lease)?.holder_identity.is_some_and(|holder| holder.is_empty()), format!("not released: {lease:?}"))?;
    // Versions of all objects come from etcd's one counter, so they can be compared.
    let version = |text: &str| text.parse::<u64>();
    let released = version(lease.metadata.resource_version.as_deref().unwrap_or_default())?;
    ensure(version(text(&object, "/metadata/resourceVersion"))? < released, "released before the last write")
}

async fn stolen_lease_ends_the_process_with_exit_code_1(scene: MockScene) -> Result<(), Failed> {
    let mut leader = start(&scene, &own_kubeconfig(&scene, None)?, &["--leader-elect"])?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    hold(&scene, "a-thief", 15).await?;
    let ended = leader.ended().await?;
    ensure(ended.code() == Some(1), format!("{ended} instead of exit code 1"))?;
    let held = spec(&election(&scene).await?)?;
    ensure(held.holder_identity.as_deref() == Some("a-thief"), "the process wrote the Lease after losing it")?;
    let names_the_thief = |line: &Value| text(line, "/level") == "ERROR" && line.to_string().contains("a-thief");
    leader.log().until("an error that names the new holder", names_the_thief).await.map(drop)
}

async fn lease_with_an_unreadable_time_is_taken_over(scene: MockScene) -> Result<(), Failed> {
    // Go writes the last moment of the year 9999 with an offset as a year of five digits.
    let time = "9999-12-31T23:59:59.999999-05:00";
    let spec =
        json!({ "holderIdentity": "another", "leaseDurationSeconds": 2, "acquireTime": time, "renewTime": time });
    let lease = json!({ "metadata": { "name": lease::name(&scene.mock().name) }, "spec": spec });
    let resource = ApiResource::erase::<Lease>(&());
    let leases = Api::<DynamicObject>::namespaced_with(scene.client(), scene.namespace(), &resource);
    let created = leases.create(&PostParams::default(), &serde_json::from_value(lease)?).await?;
    ensure(text(&created.data, "/spec/renewTime").starts_with("10000-"), "the API server wrote another time")?;
    let controller = start(&scene, &own_kubeconfig(&scene, None)?, &["--leader-elect"])?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    let names_the_fields = |line: &Value| text(line, "/unreadable") == "acquireTime, renewTime";
    controller.log().until("the fields that cannot be read", names_the_fields).await.map(drop)
}

async fn sigterm_ends_a_standby_while_the_api_server_is_silent(scene: MockScene) -> Result<(), Failed> {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let kubeconfig = scene.mock().kubeconfig_for_server(&format!("http://{}", silent.local_addr()?))?;
    let path = scene.mock().write_file("silent-leases", &kubeconfig)?;
    let address = port::free_address()?;
    let admin = address.to_string();
    let flags = ["--kubeconfig", &path, "--leader-elect", "--heartbeat", "--admin-address", &admin];
    let mut controller = scene.start_bare(&flags)?;
    until_status(address, "/healthz", 200).await?;
    let asked = Instant::now();
    ensure(controller.terminate().await?.success(), "SIGTERM must end with success")?;
    ensure(asked.elapsed() < PROMPT, format!("ended after {:?}", asked.elapsed()))
}

async fn heartbeat_is_renewed(scene: MockScene) -> Result<(), Failed> {
    let kubeconfig = own_kubeconfig(&scene, None)?;
    let _controller = start(&scene, &kubeconfig, &["--heartbeat", "--heartbeat-renew-interval-seconds", "1"])?;
    let first = until(&scene, heartbeat::NAME, "a heartbeat", |_| true).await?;
    ensure(first.holder_identity.as_ref() == Some(&scene.mock().name), format!("{first:?}"))?;
    ensure(first.lease_duration_seconds == Some(1), format!("{first:?}"))?;
    let renewed = |spec: &LeaseSpec| spec.renew_time > first.renew_time;
    until(&scene, heartbeat::NAME, "a second heartbeat", renewed).await?;
    let election = leases(&scene).get_opt(&lease::name(&scene.mock().name)).await?;
    ensure(election.is_none(), "there was an election without --leader-elect")
}

async fn failing_heartbeat_does_not_stop_the_controller(scene: MockScene) -> Result<(), Failed> {
    let missing = scene.in_missing_namespace(format!("{}-later", scene.namespace()));
    let kubeconfig = own_kubeconfig(&missing, None)?;
    let controller = start(&scene, &kubeconfig, &["--heartbeat"])?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    let is_logged = |line: &Value| {
        text(line, "/level") == "WARN"
            && text(line, "/lease") == heartbeat::NAME
            && text(line, "/error").contains(missing.namespace())
    };
    controller.log().until("the failed heartbeat", is_logged).await?;
    let namespace = json!({ "metadata": { "name": missing.namespace() } });
    let namespaces = Api::<Namespace>::all(scene.client());
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
    // Long before the interval of 30 s ends.
    until(&missing, heartbeat::NAME, "a heartbeat", |_| true).await.map(drop)
}

async fn without_lease_flags_no_lease_is_requested(scene: MockScene) -> Result<(), Failed> {
    let _controller = start(&scene, &own_kubeconfig(&scene, None)?, &[])?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    let is_lease = |resource: &str, namespace: &str| resource == "leases" && namespace == scene.namespace();
    let made = scene.audit()?.requests(|request| is_lease(&request.resource, &request.namespace))?;
    ensure(made.is_empty(), format!("{made:?}"))
}

/// Starts a controller for this scene alone.
fn start(scene: &MockScene, kubeconfig: &str, flags: &[&str]) -> Result<Controller, Failed> {
    scene.start_bare(&[&["--kubeconfig", kubeconfig, "--type", scene.namespace()], flags].concat())
}

/// Writes a kubeconfig whose default namespace is the scene's, so that each scene has its own Leases. With a port, the
/// API server is reached through that port.
fn own_kubeconfig(scene: &MockScene, port: Option<u16>) -> Result<String, Failed> {
    let (kubeconfig, name) = match port {
        None => (scene.mock().kubeconfig()?, scene.namespace().to_owned()),
        Some(port) => {
            let server = format!("https://127.0.0.1:{port}");
            (scene.mock().kubeconfig_for_server(&server)?, format!("link-{}", scene.namespace()))
        }
    };
    let mut kubeconfig = kubeconfig;
    let context = kubeconfig.pointer_mut("/contexts/0/context").ok_or("the kubeconfig has no context")?;
    *context = merged(context.take(), &json!({ "namespace": scene.namespace() }));
    scene.mock().write_file(&name, &kubeconfig)
}

fn leases(scene: &MockScene) -> Api<Lease> {
    Api::namespaced(scene.client(), scene.namespace())
}

/// The Lease of the election.
async fn election(scene: &MockScene) -> Result<Lease, Failed> {
    Ok(leases(scene).get(&lease::name(&scene.mock().name)).await?)
}

fn spec(lease: &Lease) -> Result<LeaseSpec, Failed> {
    Ok(lease.spec.clone().ok_or("the Lease has no spec")?)
}

/// Gives the Lease of the election to another holder.
async fn hold(scene: &MockScene, holder: &str, seconds: i32) -> Result<(), Failed> {
    let name = lease::name(&scene.mock().name);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": name },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": seconds,
            "renewTime": format!("{:.6}", Timestamp::now()) },
    });
    let params = PatchParams::apply("thief").force();
    leases(scene).patch(&name, &params, &Patch::Apply(lease)).await?;
    Ok(())
}

/// Waits for a condition of a Lease.
async fn until(
    scene: &MockScene,
    name: &str,
    what: &str,
    holds: impl Fn(&LeaseSpec) -> bool,
) -> Result<LeaseSpec, Failed> {
    eventually(LEASE_LIMIT, || async {
        let found = leases(scene).get_opt(name).await?.and_then(|lease| lease.spec);
        match found {
            Some(spec) if holds(&spec) => Ok(spec),
            found => Err(format!("gave up waiting for {what}: {found:?}").into()),
        }
    })
    .await
}
