//! A script has the same outcome in every run: for a thousand Shoots, at any concurrency, in any order, with a second
//! replica, and with controllers that are killed in between.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use extension_contract::{GROUP, OPERATION_ANNOTATION, OperationType, TIMESTAMP_ANNOTATION, VERSION};
use futures::{StreamExt, TryStreamExt, stream};
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::process::Process;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use mock_core::kind::MockKind;
use mock_core::script::simulate::simulate;
use mock_core::script::{Phase, Record, Script, Subject};
use mock_network::Network;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::watch;

const SHOOTS: usize = 1000;
/// How many requests are in flight at a time.
const AT_ONCE: usize = 32;

const SCRIPT: &str = "
apiVersion: mock.extensions.gardener.cloud/v1alpha1
kind: Script
seed: 2026
rules:
- name: flap
  match: {operations: [Create], percent: 30}
  fail:
    message: no luck
    codes: [ERR_RETRYABLE_INFRA_DEPENDENCIES]
    after: {uniform: {from: 0s, to: 300ms}}
    retryAfter: 200ms
- name: stuck
  match: {operations: [Create], percent: 1}
  hang: {}
";

#[derive(Debug)]
struct Run {
    concurrency: u16,
    replicas: usize,
    shuffled: bool,
    killed: bool,
}

/// An undisturbed run, and one with every disturbance.
const RUNS: [Run; 2] = [
    Run { concurrency: 1, replicas: 1, shuffled: false, killed: false },
    Run { concurrency: 32, replicas: 2, shuffled: true, killed: true },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_script_has_the_same_outcome_at_any_concurrency_order_and_after_kills() {
    let assets = Assets::locate(&|_| {}).unwrap();
    let bed = TestBed::start(&assets, Options { audit: false, ..Options::default() }).await.unwrap();
    let client = bed.client();
    let script = bed.dir().join("script.yaml");
    std::fs::write(&script, SCRIPT).unwrap();
    for_each(0..SHOOTS, async |shoot| make_shoot(&client, &namespace(shoot)).await).await;

    let mut outcomes = follow(client.clone());
    let expected = simulated();
    assert!(expected.contains("attempt 4 by no rule Create/Succeeded") && expected.contains("Processing"));
    for run in RUNS {
        let outcome = play(&bed, &client, &mut outcomes, &script, &run).await;
        assert!(outcome == expected, "{run:?}:\n{}", difference(&expected, &outcome));
    }
    bed.stop().await.unwrap();
}

/// Deletes the objects of the previous run, creates new ones, and waits until all of them are at rest.
async fn play(
    bed: &TestBed,
    client: &Client,
    outcomes: &mut watch::Receiver<Outcomes>,
    script: &Path,
    run: &Run,
) -> String {
    let controllers = || (0..run.replicas).map(|_| start(bed, script, run.concurrency)).collect::<Vec<_>>();
    let mut running = controllers();
    if !outcomes.borrow().is_empty() {
        for_each(0..SHOOTS, async |shoot| {
            networks(client, Some(&namespace(shoot))).delete("net", &DeleteParams::default()).await.map(drop)
        })
        .await;
        until(outcomes, Outcomes::is_empty).await;
    }
    // Another order: 7 and 1000 have no common divisor.
    let order = (0..SHOOTS).map(|index| if run.shuffled { (index * 7 + 3) % SHOOTS } else { index });
    let creating = for_each(order, async |shoot| {
        networks(client, Some(&namespace(shoot))).create(&PostParams::default(), &object()).await.map(drop)
    });
    let mut watched = outcomes.clone();
    let killing = async {
        for share in if run.killed { &[3, 2][..] } else { &[] } {
            until(&mut watched, |outcomes| outcomes.values().flatten().count() > SHOOTS / share).await;
            for mut controller in running.drain(..) {
                controller.kill().await.unwrap();
            }
            running = controllers();
        }
    };
    tokio::join!(creating, killing);
    let table = until(outcomes, |outcomes| outcomes.values().flatten().count() == SHOOTS).await;
    for mut controller in running {
        controller.kill().await.unwrap();
    }
    table.into_values().flatten().collect()
}

/// The table of outcomes that the script leads to.
fn simulated() -> String {
    let script = Script::parse(SCRIPT).unwrap();
    let timeout = Network::KIND.timeout.try_into().unwrap();
    let mut rows: Vec<String> = (0..SHOOTS)
        .map(|shoot| {
            let namespace = namespace(shoot);
            let shoot = namespace.as_str();
            let subject =
                Subject { kind: "Network", namespace: shoot, name: "net", shoot, purpose: None, pools: Vec::new() };
            let simulated = simulate(&script, 2026, &subject, OperationType::Create, timeout);
            let rule = simulated.rule.and_then(|rule| rule.name).unwrap_or("no rule".to_owned());
            let state = if simulated.takes.is_some() { "Succeeded" } else { "Processing" };
            format!("{namespace} attempt {} by {rule} Create/{state}\n", simulated.attempts)
        })
        .collect();
    rows.sort();
    rows.concat()
}

/// The row of an object in the table. Returns `None` until the object is at rest.
fn row(namespace: &str, object: &Value) -> Option<String> {
    let record = Record::find(object["status"]["conditions"].as_array()?)?;
    let ended = record.phase == Phase::Done || record.due.is_none();
    let taken_up = object["metadata"]["annotations"][OPERATION_ANNOTATION].is_null();
    let held = object["metadata"]["finalizers"][0] == Network::FINALIZER;
    let rule = record.rule.and_then(|rule| rule.name).unwrap_or("no rule".to_owned());
    let last = &object["status"]["lastOperation"];
    let (operation, state) = (last["type"].as_str()?, last["state"].as_str()?);
    let row = format!("{namespace} attempt {} by {rule} {operation}/{state}\n", record.attempt);
    (ended && taken_up && held).then_some(row)
}

fn start(bed: &TestBed, script: &Path, concurrency: u16) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mock-network"));
    command.arg("--kubeconfig").arg(bed.kubeconfig()).arg("--script").arg(script);
    command.args(["--concurrency", &concurrency.to_string(), "--log-level", "error"]);
    Process::start(bed.supervisor(), "mock-network", command, bed.dir().join("mock-network.log")).unwrap()
}

/// The row of each object by namespace, `None` until the object is at rest. A watch keeps it up to date: listing again
/// and again would cost more than serving the objects.
type Outcomes = BTreeMap<String, Option<String>>;

fn follow(client: Client) -> watch::Receiver<Outcomes> {
    let (sender, receiver) = watch::channel(Outcomes::new());
    tokio::spawn(async move {
        let events = watcher(networks(&client, None), watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let namespace = |object: &DynamicObject| object.metadata.namespace.clone().unwrap();
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => {
                    let outcome = row(&namespace(&object), &json!(object));
                    sender.send_modify(|outcomes| drop(outcomes.insert(namespace(&object), outcome)));
                }
                Ok(Event::Delete(object)) => sender.send_modify(|outcomes| drop(outcomes.remove(&namespace(&object)))),
                Ok(Event::Init) => sender.send_modify(Outcomes::clear),
                // After an error the watcher lists again.
                Ok(Event::InitDone) | Err(_) => {}
            }
        }
    });
    receiver
}

async fn until(outcomes: &mut watch::Receiver<Outcomes>, holds: impl FnMut(&Outcomes) -> bool) -> Outcomes {
    let waited =
        tokio::time::timeout(Duration::from_secs(180), outcomes.wait_for(holds)).await.map(|o| o.unwrap().clone());
    let now = outcomes.borrow();
    let waiting = now.iter().find(|(_, outcome)| outcome.is_none());
    waited.unwrap_or_else(|_| panic!("{} objects, and one of them never came to rest: {waiting:?}", now.len()))
}

async fn make_shoot(client: &Client, name: &str) -> kube::Result<()> {
    let object = json!({ "metadata": { "name": name } });
    let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
    let shoot = json!({ "status": { "technicalID": name } });
    let cluster = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "Cluster", "metadata": { "name": name },
        "spec": { "shoot": shoot, "cloudProfile": {}, "seed": {} },
    });
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, "Cluster"));
    let cluster = serde_json::from_value(cluster).map_err(kube::Error::SerdeError)?;
    Api::<DynamicObject>::all_with(client.clone(), &resource).create(&PostParams::default(), &cluster).await.map(drop)
}

fn object() -> DynamicObject {
    let timestamp = k8s_openapi::jiff::Timestamp::now().to_string();
    let annotations = json!({ OPERATION_ANNOTATION: "reconcile", TIMESTAMP_ANNOTATION: timestamp });
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "Network",
        "metadata": { "name": "net", "annotations": annotations },
        "spec": { "type": "mock", "podCIDR": "10.20.0.0/16", "serviceCIDR": "10.30.0.0/16" },
    });
    serde_json::from_value(object).unwrap()
}

fn networks(client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, "Network"));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn namespace(shoot: usize) -> String {
    format!("shoot--dev--s{shoot:03}")
}

async fn for_each(shoots: impl Iterator<Item = usize>, request: impl AsyncFn(usize) -> kube::Result<()>) {
    let requests = stream::iter(shoots).map(|shoot| request(shoot));
    requests.buffer_unordered(AT_ONCE).try_collect::<()>().await.unwrap();
}

fn difference(expected: &str, outcome: &str) -> String {
    let rows = expected.lines().zip(outcome.lines()).filter(|(expected, outcome)| expected != outcome);
    let lines = rows.take(5).map(|(expected, outcome)| format!("expected {expected}\n   found {outcome}"));
    lines.collect::<Vec<_>>().join("\n")
}
