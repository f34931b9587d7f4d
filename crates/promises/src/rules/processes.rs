//! How a controller's process starts, serves, logs and ends.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use extension_conformance::{LIMIT, ensure, eventually, text};
use extension_contract::Reader;
use futures::future::try_join_all;
use gardener_testbed::{http, port};
use k8s_openapi::jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::answers::{until_metric, until_status};
use crate::promise::Promise;
use crate::promises;
use crate::refusal::Refusal;
use crate::scene::MockScene;
use crate::script::script;

pub(crate) const PROMISES: &[Promise] = promises![
    no_object_starves_under_sustained_load,
    refused_write_is_logged_and_retried_with_backoff,
    readyz_follows_the_first_list_and_sigterm_ends_the_process,
    sigterm_ends_a_process_while_the_api_server_is_silent,
    keeps_serving_when_stderr_is_closed,
    bad_start_prints_one_line_and_exits_with_code_1,
    namespace_flag_limits_the_controller_to_one_namespace needs [Namespace],
];

/// Its change of the CRD ends the watches of all other tests.
pub(crate) const DISTURBING: &[Promise] = promises![undecodable_object_is_logged_and_blocks_no_other];

async fn no_object_starves_under_sustained_load(scene: MockScene) -> Result<(), Failed> {
    // More objects than the controller has workers. Each sends its next request as soon as it is served.
    const CLIENTS: usize = 24;
    const ALL_ROUNDS: usize = 5 * CLIENTS;
    let rounds: [AtomicUsize; CLIENTS] = std::array::from_fn(|_| AtomicUsize::new(0));
    let sum = || rounds.iter().map(|rounds| rounds.load(Relaxed)).sum::<usize>();
    let (scene, sum) = (&scene, &sum);
    let _controller = scene.start_controller()?;
    let clients = rounds.iter().enumerate().map(|(index, rounds)| async move {
        let name = format!("a{index}");
        while sum() < ALL_ROUNDS {
            scene.ask_own(&name, "reconcile").await?;
            scene.until_ready(&name).await?;
            rounds.fetch_add(1, Relaxed);
        }
        Ok::<_, Failed>(rounds.load(Relaxed))
    });
    let rounds = try_join_all(clients).await?;
    ensure(rounds.iter().all(|rounds| *rounds > 2), format!("rounds of each client, {ALL_ROUNDS} in all: {rounds:?}"))
}

async fn refused_write_is_logged_and_retried_with_backoff(scene: MockScene) -> Result<(), Failed> {
    let controller = scene.start_controller()?;
    let refusal = Refusal::begin(&scene, &controller).await?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    scene.patch("a", Refusal::label()).await?;
    let (before, began) = (scene.writes("a")?, Instant::now());
    scene.ask_later("a", "reconcile", SignedDuration::ZERO).await?;
    // Where gardenlet polls, each round writes the status first. The event of that write must not start the next round
    // before its time: 200 ms, then 400 ms.
    let name = scene.full_name("a");
    let third = eventually(LIMIT, || async {
        let rounds = controller.log().lines()?.iter().filter(|line| Refusal::is_logged(line, &name)).count();
        ensure(rounds >= 3, format!("the log shows {rounds} refused rounds instead of three"))
    });
    third.await?;
    ensure(began.elapsed() >= Duration::from_millis(600), "three rounds without a pause")?;
    let is_polled = scene.suite().subject().kind.reader == Reader::Polls;
    let in_a_round = 1 + if is_polled { scene.outcome_writes() } else { 0 };
    let writes = scene.writes("a")? - before;
    ensure(writes >= 3 * in_a_round, format!("{writes} writes in three rounds"))?;
    refusal.end().await?;
    scene.until_ready("a").await.map(drop)
}

async fn readyz_follows_the_first_list_and_sigterm_ends_the_process(scene: MockScene) -> Result<(), Failed> {
    let address = port::free_address()?;
    let mut controller = scene.start_own(&["--admin-address", &address.to_string()])?;
    until_status(address, "/readyz", 200).await?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    until_metric(address, r#"mock_reconciles_total{operation="Create",outcome="Succeeded"} 1"#).await?;
    ensure(http::get(address, "/healthz").await?.0 == 200, "/healthz must answer 200")?;
    ensure(controller.terminate().await?.success(), "SIGTERM must end with success")
}

async fn sigterm_ends_a_process_while_the_api_server_is_silent(scene: MockScene) -> Result<(), Failed> {
    // Accepts connections and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let address = port::free_address()?;
    let kubeconfig = scene.mock().kubeconfig_for_server(&format!("http://{}", silent.local_addr()?))?;
    let path = scene.mock().write_file("silent", &kubeconfig)?;
    let mut controller = scene.start_bare(&["--kubeconfig", &path, "--admin-address", &address.to_string()])?;
    until_status(address, "/healthz", 200).await?;
    ensure(http::get(address, "/readyz").await?.0 == 503, "/readyz must answer 503 before the first list")?;
    controller.terminate().await.map(drop)
}

async fn keeps_serving_when_stderr_is_closed(scene: MockScene) -> Result<(), Failed> {
    let host = scene.mock().host();
    let arguments = host.with_kubeconfig(&["--type", scene.namespace()])?;
    let mut controller = host.start_unread(scene.suite().bed()?, &arguments)?;
    scene.ask_own("a", "reconcile").await?;
    scene.until_ready("a").await?;
    ensure(controller.terminate().await?.success(), "SIGTERM must end with success")
}

async fn bad_start_prints_one_line_and_exits_with_code_1(scene: MockScene) -> Result<(), Failed> {
    let taken = TcpListener::bind("127.0.0.1:0").await?;
    let taken = taken.local_addr()?.to_string();
    let good = scene.mock().host().kubeconfig_path()?;
    let rules = json!([{ "succeed": {} }, { "name": "typo", "fail": { "message": "m", "codes": ["ERR_INFRA"] } }]);
    let bad_script = scene.mock().write_file("bad-script.yaml", &script(&rules))?;
    for (arguments, named) in [
        (vec!["--kubeconfig", "/nowhere/kubeconfig"], "/nowhere/kubeconfig"),
        (vec![], "KUBECONFIG"),
        (vec!["--kubeconfig", good, "--admin-address", &taken], "--admin-address"),
        (vec!["--kubeconfig", good, "--log-level", "=!"], "--log-level"),
        (vec!["--kubeconfig", good, "--log-level", "loud"], "--log-level"),
        (vec!["--kubeconfig", good, "--script", "/nowhere/script"], "/nowhere/script"),
        (vec!["--kubeconfig", good, "--script", &bad_script], "rule 2 (typo), fail.codes[0]"),
    ] {
        let (status, message) = scene.mock().host().run(&arguments).await?;
        ensure(status.code() == Some(1), format!("{arguments:?}: {status}"))?;
        ensure(message.lines().count() == 1 && message.contains(named), format!("{arguments:?}: {message}"))?;
    }
    Ok(())
}

async fn namespace_flag_limits_the_controller_to_one_namespace(scene: MockScene) -> Result<(), Failed> {
    let own = scene.namespace();
    let _controller = scene.start_own(&["--namespace", own])?;
    let other = scene.beside("elsewhere").await?;
    other.ask_of_type("a", own, "reconcile").await?;
    let before = other.get("a").await?;
    for name in ["a", "b"] {
        scene.ask_own(name, "reconcile").await?;
        scene.until_ready(name).await?;
    }
    ensure(before == other.get("a").await?, "an object of another namespace was written")
}

async fn undecodable_object_is_logged_and_blocks_no_other(scene: MockScene) -> Result<(), Failed> {
    let names: Vec<_> = (0..12).map(|index| format!("o{index}")).collect();
    scene.ask_own("undecodable", "wait-for-state").await?;
    // Gardener's CRD rejects such a number. An older or newer CRD might accept it.
    let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/lastOperation/properties";
    let loosened = json!([{ "op": "replace", "path": format!("{fields}/progress/format"), "value": "int64" }]);
    let patch = Patch::Json::<()>(serde_json::from_value(loosened)?);
    scene.crds().patch(&scene.crd(), &PatchParams::default(), &patch).await?;
    let last = json!({ "type": "Create", "state": "Processing", "progress": 99_999_999_999_i64,
        "description": "x", "lastUpdateTime": "2026-01-01T00:00:00Z" });
    let written = || scene.patch_status("undecodable", json!({ "lastOperation": last }));
    let before = eventually(LIMIT, written).await?;
    for name in &names {
        scene.ask_own(name, "reconcile").await?;
    }
    let controller = scene.start_controller()?;
    for name in &names {
        scene.until_ready(name).await?;
    }
    scene.unchanged("undecodable", &before, "it cannot be decoded").await?;
    let is_named = |line: &Value| {
        text(line, "/level") == "WARN"
            && text(line, "/name") == scene.full_name("undecodable")
            && text(line, "/field").starts_with("status")
    };
    controller.log().until("the object and its field", is_named).await.map(drop)
}
