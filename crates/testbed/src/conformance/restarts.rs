//! Rules about processes: killed at any moment, started again, and run twice beside each other.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use libtest_mimic::Failed;
use mock_core::contract::OPERATION_ANNOTATION;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::controller::Controller;
use super::ground::{annotation, asking, json_patch_merge, last};
use super::{Ground, Rule, ensure, script};
use crate::readiness;
use crate::rules;

pub(super) const ALL: &[Rule] = rules![
    a_killed_process_loses_nothing,
    a_second_process_does_no_harm,
    a_request_from_before_the_start_is_served,
    nobody_is_left_behind_while_there_is_always_somebody_who_waits,
    an_undecodable_sibling_stops_nobody_and_is_named_in_the_log,
    readiness_follows_the_first_list_and_sigterm_ends_the_process,
    sigterm_ends_a_process_whose_api_server_never_answered,
    a_log_that_nobody_reads_any_more_stops_nobody,
    a_bad_start_is_one_line_and_exit_code_1,
    one_namespace_can_be_served_alone,
    a_refused_write_is_told_and_tried_again_with_backoff,
];

const OBJECTS: usize = 12;

async fn a_killed_process_loses_nothing(ground: Ground) -> Result<(), Failed> {
    let own = &ground.namespace;
    let mut controller = ground.controller()?;
    for operation in ["reconcile", "reconcile", "migrate", "restore"] {
        let (done, names) = (done(operation), names());
        for name in &names {
            ask(&ground, name, own, operation).await?;
        }
        // Killed somewhere in the middle of each operation, again and again.
        for killed_at in 0..OBJECTS / 2 {
            let reached = |object: &Value| !object.is_null() && last(object).ends_with("/Succeeded");
            if let Some(name) = names.get(killed_at * 2) {
                ground.until(name, "a first success", reached).await?;
            }
            controller.kill().await?;
            controller = ground.controller()?;
        }
        for name in &names {
            ground.until(name, operation, |object| done(&ground, object)).await?;
        }
    }
    for name in names() {
        ground.delete(&name).await?;
        controller.kill().await?;
        controller = ground.controller()?;
    }
    for name in names() {
        ground.until_gone(&name).await?;
    }
    Ok(())
}

async fn a_second_process_does_no_harm(ground: Ground) -> Result<(), Failed> {
    let own = &ground.namespace;
    let _controllers = [ground.controller()?, ground.controller()?];
    for operation in ["reconcile", "reconcile", "migrate", "restore"] {
        let done = done(operation);
        for name in names() {
            ask(&ground, &name, own, operation).await?;
        }
        for name in names() {
            ground.until(&name, operation, |object| done(&ground, object)).await?;
        }
    }
    Ok(())
}

async fn a_request_from_before_the_start_is_served(ground: Ground) -> Result<(), Failed> {
    let own = &ground.namespace;
    for name in names() {
        ask(&ground, &name, own, "reconcile").await?;
    }
    let _controller = ground.controller()?;
    for name in names() {
        let object = ground.until_ready(&name).await?;
        ensure(last(&object) == "Create/Succeeded", last(&object))?;
    }
    Ok(())
}

async fn nobody_is_left_behind_while_there_is_always_somebody_who_waits(ground: Ground) -> Result<(), Failed> {
    // More than are worked on at the same time, and each asks again as soon as it is served.
    const WAITING: usize = 24;
    let rounds: [AtomicUsize; WAITING] = std::array::from_fn(|_| AtomicUsize::new(0));
    let sum = || rounds.iter().map(|rounds| rounds.load(Relaxed)).sum::<usize>();
    let (ground, sum) = (&ground, &sum);
    let _controller = ground.controller()?;
    let clients = rounds.iter().enumerate().map(|(index, rounds)| async move {
        let name = format!("a{index}");
        while sum() < 5 * WAITING {
            ask(ground, &name, &ground.namespace, "reconcile").await?;
            ground.until_ready(&name).await?;
            rounds.fetch_add(1, Relaxed);
        }
        Ok::<_, Failed>(rounds.load(Relaxed))
    });
    let rounds = try_join_all(clients).await?;
    ensure(rounds.iter().all(|rounds| *rounds > 2), format!("all together had 120 rounds, each {rounds:?}"))
}

async fn an_undecodable_sibling_stops_nobody_and_is_named_in_the_log(ground: Ground) -> Result<(), Failed> {
    let own = &ground.namespace;
    ask(&ground, "undecodable", own, "wait-for-state").await?;
    // Gardener's CRD would not let it in: an older or newer one might.
    ground.loosen_progress().await?;
    let last = json!({ "type": "Create", "state": "Processing", "progress": 99_999_999_999_i64,
        "description": "x", "lastUpdateTime": "2026-01-01T00:00:00Z" });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let before = loop {
        match ground.patch_status("undecodable", json!({ "lastOperation": last })).await {
            Ok(object) => break object,
            Err(failed) if tokio::time::Instant::now() > deadline => return Err(failed),
            Err(_) => tokio::time::sleep(Duration::from_millis(15)).await,
        }
    };
    for name in names() {
        ask(&ground, &name, own, "reconcile").await?;
    }
    let _controller = ground.controller()?;
    for name in names() {
        ground.until_ready(&name).await?;
    }
    ground.unchanged("undecodable", &before, "it cannot be read").await?;
    let log = std::fs::read_to_string(ground.suite.log())?;
    let named = log.lines().any(|line| line.contains("undecodable") && line.contains(r#""field":"status"#));
    ensure(named, "the log names neither the object nor the field")
}

async fn readiness_follows_the_first_list_and_sigterm_ends_the_process(ground: Ground) -> Result<(), Failed> {
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut controller = Controller::start(&ground.suite, &["--type", &ground.namespace, "--admin-address", &address])?;
    until_answered(&address, "/readyz", "200 OK").await?;
    ask(&ground, "a", &ground.namespace, "reconcile").await?;
    ground.until_ready("a").await?;
    let counted = r#"mock_reconciles_total{operation="Create",outcome="Succeeded"} 1"#;
    until_answered(&address, "/metrics", counted).await?;
    ensure(http_get(&address, "/healthz").await?.contains("200 OK"), "not healthy")?;
    ensure(controller.terminate().await?.success(), "SIGTERM is no failure")
}

async fn sigterm_ends_a_process_whose_api_server_never_answered(ground: Ground) -> Result<(), Failed> {
    // Accepts connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let kubeconfig = ground.suite.kubeconfig_of(&format!("http://{}", silent.local_addr()?))?;
    let path = ground.suite.write_file("silent", &kubeconfig)?;
    let mut controller = Controller::bare(&ground.suite, &["--kubeconfig", &path, "--admin-address", &address])?;
    until_answered(&address, "/healthz", "200 OK").await?;
    ensure(http_get(&address, "/readyz").await?.contains("503"), "ready without a list")?;
    controller.terminate().await.map(drop)
}

async fn a_log_that_nobody_reads_any_more_stops_nobody(ground: Ground) -> Result<(), Failed> {
    let mut controller = Controller::unheard(&ground.suite, &["--type", &ground.namespace])?;
    ask(&ground, "a", &ground.namespace, "reconcile").await?;
    ground.until_ready("a").await?;
    ensure(controller.terminate().await?.success(), "SIGTERM is no failure")
}

async fn a_bad_start_is_one_line_and_exit_code_1(ground: Ground) -> Result<(), Failed> {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let taken = taken.local_addr()?.to_string();
    let good = ground.suite.kubeconfig.to_str().ok_or("not UTF-8")?;
    let rules = json!([{ "succeed": {} }, { "name": "typo", "fail": { "message": "m", "codes": ["ERR_INFRA"] } }]);
    let bad_script = ground.suite.write_file("bad-script.yaml", &script(&rules))?;
    for (arguments, named) in [
        (vec!["--kubeconfig", "/nowhere/kubeconfig"], "/nowhere/kubeconfig"),
        (vec![], "KUBECONFIG"),
        (vec!["--kubeconfig", good, "--admin-address", &taken], "--admin-address"),
        (vec!["--kubeconfig", good, "--log-level", "=!"], "--log-level"),
        (vec!["--kubeconfig", good, "--log-level", "loud"], "--log-level"),
        (vec!["--kubeconfig", good, "--script", "/nowhere/script"], "/nowhere/script"),
        (vec!["--kubeconfig", good, "--script", &bad_script], "rule 2 (typo), fail.codes[0]"),
    ] {
        let (status, message) = Controller::run(&ground.suite, &arguments).await?;
        ensure(status.code() == Some(1), format!("{arguments:?}: {status}"))?;
        ensure(message.lines().count() == 1 && message.contains(named), format!("{arguments:?}: {message}"))?;
    }
    Ok(())
}

async fn one_namespace_can_be_served_alone(ground: Ground) -> Result<(), Failed> {
    let own = &ground.namespace;
    let _controller = Controller::start(&ground.suite, &["--type", own, "--namespace", &ground.namespace])?;
    let other = Ground::new(ground.suite.clone(), "elsewhere").await?;
    ask(&other, "a", own, "reconcile").await?;
    let before = other.get("a").await?;
    ask(&ground, "a", own, "reconcile").await?;
    ground.until_ready("a").await?;
    ask(&ground, "b", own, "reconcile").await?;
    ground.until_ready("b").await?;
    ensure(before == other.get("a").await?, "an object of another namespace was written")
}

async fn a_refused_write_is_told_and_tried_again_with_backoff(ground: Ground) -> Result<(), Failed> {
    let refusal = Refusal::begin(&ground).await?;
    let began = tokio::time::Instant::now();
    // Its metadata has to be written whatever else sees to requests.
    let mut patch = asking("restore");
    json_patch_merge(&mut patch, &json!({ "metadata": { "labels": { "refused": "yes" } } }));
    ground.create("a", patch).await?;
    // Each round writes the status and is refused the metadata. The event of our own status write must not start the
    // next round before its time: 200 ms, then 400 ms.
    let rounds = |_: &Value| ground.writes("a").is_ok_and(|writes| writes >= 6 + 3 * ground.suite.subject.secrets);
    ground.until("a", "a third round", rounds).await?;
    ensure(began.elapsed() >= Duration::from_millis(600), "three rounds without a pause")?;
    let log = std::fs::read_to_string(ground.suite.log())?;
    ensure(log.contains("refused for a test"), "the log does not give the reason")?;
    refusal.end().await?;
    ground.until("a", "our finalizer", |object| ground.holds(object)).await.map(drop)
}

/// An admission policy that refuses our updates of labelled objects, but not of their status.
struct Refusal {
    policies: Api<ValidatingAdmissionPolicy>,
    bindings: Api<ValidatingAdmissionPolicyBinding>,
}

impl Refusal {
    const NAME: &str = "refused";

    async fn begin(ground: &Ground) -> Result<Self, Failed> {
        let client = &ground.suite.client;
        let refusal = Self { policies: Api::all(client.clone()), bindings: Api::all(client.clone()) };
        let resource = &ground.suite.resource;
        let policy = json!({
            "metadata": { "name": Self::NAME },
            "spec": {
                "matchConstraints": { "resourceRules": [{ "apiGroups": [resource.group],
                    "apiVersions": [resource.version], "operations": ["UPDATE"], "resources": [resource.plural] }] },
                "validations": [{ "message": "refused for a test", "reason": "Invalid",
                    "expression": format!("!('refused' in object.metadata.?labels.orValue({{}})) || \
                        request.userInfo.username != '{}'", ground.suite.user) }],
            },
        });
        let binding = json!({
            "metadata": { "name": Self::NAME },
            "spec": { "policyName": Self::NAME, "validationActions": ["Deny"] },
        });
        refusal.policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
        refusal.bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
        // A policy comes into force a moment after it was made.
        ground.create("probe", json!({ "metadata": { "labels": { "refused": "yes" } } })).await?;
        let mut probed = 0;
        while !std::fs::read_to_string(ground.suite.log())?.contains("refused for a test") {
            ensure(probed < 1000, "the policy never came into force")?;
            probed += 1;
            ground.ask("probe", "restore").await?;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(refusal)
    }

    async fn end(self) -> Result<(), Failed> {
        self.bindings.delete(Self::NAME, &DeleteParams::default()).await?;
        self.policies.delete(Self::NAME, &DeleteParams::default()).await?;
        Ok(())
    }
}

fn names() -> Vec<String> {
    (0..OBJECTS).map(|index| format!("o{index}")).collect()
}

pub(super) async fn ask(ground: &Ground, name: &str, own: &str, operation: &str) -> Result<(), Failed> {
    if ground.get(name).await?.is_null() {
        let mut patch = asking(operation);
        json_patch_merge(&mut patch, &json!({ "spec": { "type": own } }));
        ground.create(name, patch).await?;
    } else {
        ground.ask(name, operation).await?;
    }
    Ok(())
}

fn done(operation: &'static str) -> impl Fn(&Ground, &Value) -> bool {
    move |ground, object| match operation {
        "migrate" => {
            readiness::check_migrated(object).is_ok()
                && !ground.holds(object)
                && annotation(object, OPERATION_ANNOTATION).is_none()
        }
        _ => readiness::check(object, None).is_ok() && ground.holds(object),
    }
}

/// A port that nobody listens on, and that nobody gets but who asks for it: one of those that the kernel gives to
/// connections could be taken before the controller listens.
pub(super) fn free_port() -> Result<u16, Failed> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let first = usize::try_from(std::process::id())?;
    let port = || u16::try_from(10_000 + (first + NEXT.fetch_add(1, Relaxed)) % 20_000);
    loop {
        let port = port()?;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}

pub(super) async fn until_answered(address: &str, path: &str, expected: &str) -> Result<(), Failed> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !http_get(address, path).await.is_ok_and(|answer| answer.contains(expected)) {
        ensure(tokio::time::Instant::now() < deadline, format!("{path} never said {expected}"))?;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    Ok(())
}

pub(super) async fn http_get(address: &str, path: &str) -> Result<String, Failed> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
