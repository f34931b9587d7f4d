//! The I/O around the decision, against an API server whose answers a test chooses.

use std::sync::Mutex;

use extension_contract::kinds;
use futures::FutureExt;
use http::{Method, Request, Response};
use kube::client::Body;
use kube::{Client, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::events::Events;
use crate::kind::{Force, HasCluster, Input, Kind, NoOptions, NoReport, NoShoot, Wanted};
use crate::process::metrics::Metrics;
use crate::watch::ahead::Ahead;
use crate::watch::clusters::Clusters;
use crate::watch::memory::Memory;
use crate::watch::namespaces::Namespaces;
use crate::watch::queue::WorkQueue;
use crate::watch::reach::Reach;

#[derive(Clone, Debug, Deserialize)]
struct Test {
    /// Name of the Secret of the outcome.
    #[serde(default)]
    secret: Option<String>,
}

impl MockKind for Test {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind =
        &Kind { has_cluster: HasCluster::Never, skips_failed_shoots: false, force: Force::Never, ..kinds::NETWORK };
    const TYPES: &'static [&'static str] = &["mock"];

    fn outcome(object: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let secret = object.spec.secret.iter().map(|name| {
            let (name, namespace) = (Some(name.clone()), Some("ns".to_owned()));
            let metadata = ObjectMeta { name, namespace, ..ObjectMeta::default() };
            Wanted { secret: Secret { metadata, ..Secret::default() }, needs_namespace: false }
        });
        Ok(Outcome { secrets: secret.collect(), ..Outcome::default() })
    }
}

type Log = Arc<Mutex<Vec<String>>>;

/// A process whose API server answers each request by `answer` with a code and a body.
fn context(answer: impl Fn(&str, usize) -> (u16, Value) + Clone + Send + 'static) -> (Context<Test>, Log) {
    let log = Log::default();
    let service = {
        let log = log.clone();
        move |request: Request<Body>| {
            let line = match request.method() {
                &Method::GET => "get",
                _ if request.uri().path().contains("/secrets/") => "secret",
                _ if request.uri().path().ends_with("/status") => "status",
                _ => "metadata",
            };
            let mut log = log.lock().unwrap();
            log.push(line.to_owned());
            let (code, body) = answer(line, log.len());
            let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            async { Ok::<_, tower::BoxError>(response?) }
        }
    };
    let client = Client::new(tower::service_fn(service), "ns");
    let metrics = Metrics::new().unwrap();
    let context = Context {
        events: Events::new(client.clone(), "mock-test"),
        client,
        server: String::new(),
        types: vec!["mock".to_owned()],
        classes: Test::KIND.usual_classes().to_vec(),
        options: NoOptions {},
        concurrency: 1,
        name: "mock-test".to_owned(),
        script: None,
        clusters: Clusters::default(),
        namespaces: Namespaces::default(),
        memory: Memory::default(),
        reach: Reach::default(),
        ahead: Ahead::default(),
        queue: WorkQueue::new(metrics.queued.clone()),
        metrics,
    };
    (context, log)
}

fn object_at(version: usize) -> Value {
    json!({ "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Network", "spec": { "type": "mock" },
        "metadata": { "name": "a", "namespace": "ns", "uid": "u", "resourceVersion": version.to_string(), "generation": 1,
            "annotations": { "gardener.cloud/operation": "reconcile" } } })
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "refused for a test" });
    (code, status)
}

async fn reconcile_once(context: &Context<Test>) -> Result<Requeue, Error> {
    reconcile_with(context, None).await
}

async fn reconcile_with(context: &Context<Test>, secret: Option<&str>) -> Result<Requeue, Error> {
    let mut object = object_at(1);
    object["spec"]["secret"] = json!(secret);
    let object: Object<Test> = serde_json::from_value(object).unwrap();
    let key = Key::of(&object);
    context.memory.seen(&object, None);
    try_reconcile(&object, context, &key).await
}

fn requests(log: &Log) -> String {
    log.lock().unwrap().join(" ")
}

#[tokio::test]
async fn a_request_costs_a_status_write_and_then_a_metadata_write_and_nothing_is_requeued() {
    let (context, log) = context(|_, count| (200, object_at(count + 1)));
    assert!(matches!(reconcile_once(&context).await, Ok(None)));
    assert_eq!(requests(&log), "status metadata");
    assert_eq!(context.metrics.reconciles.with_label_values(&["Create", "Succeeded"]).get(), 1);
}

#[tokio::test]
async fn a_conflict_reads_the_object_again_and_decides_anew() {
    let (context, log) = context(|_, count| match count {
        1 => refusal(409, "Conflict"),
        _ => (200, object_at(count + 1)),
    });
    assert!(matches!(reconcile_once(&context).await, Ok(None)));
    assert_eq!(requests(&log), "status get status metadata");
    assert_eq!(context.metrics.writes.with_label_values(&["status", "conflict"]).get(), 1);
}

#[tokio::test]
async fn an_object_that_changes_before_each_write_fails_the_reconcile_after_five_conflicts() {
    let (context, log) = context(|line, count| match line {
        "get" => (200, object_at(count + 1)),
        _ => refusal(409, "Conflict"),
    });
    assert!(matches!(reconcile_once(&context).await, Err(Error::Conflicts)));
    assert_eq!(requests(&log), ["status get"; CONFLICTS as usize].join(" "));
}

#[tokio::test]
async fn a_refused_write_of_an_unchanged_object_is_an_error_with_the_reason() {
    for (code, reason) in [(409, "Conflict"), (422, "Invalid")] {
        let (context, log) = context(move |line, _| match line {
            "get" => (200, object_at(1)),
            _ => refusal(code, reason),
        });
        let error = whole(&reconcile_once(&context).await.unwrap_err());
        assert_eq!(error, "cannot patch the status: ApiError: refused for a test: Invalid".replace("Invalid", reason));
        assert_eq!(requests(&log), "status get");
    }
}

#[tokio::test]
async fn a_refused_secret_fails_the_operation_and_shows_in_the_status() {
    for (code, reason) in [(400, "BadRequest"), (403, "Forbidden"), (404, "NotFound"), (413, ""), (422, "Invalid")] {
        let (context, log) = context(move |line, count| match line {
            "secret" => refusal(code, reason),
            _ => (200, object_at(count + 1)),
        });
        assert!(matches!(reconcile_with(&context, Some("s")).await, Ok(None)), "{code}");
        assert_eq!(requests(&log), "secret status metadata", "{code}");
        assert_eq!(context.metrics.reconciles.with_label_values(&["Create", "Error"]).get(), 1);
    }
}

#[tokio::test]
async fn a_secret_that_may_be_accepted_later_is_retried_with_backoff() {
    for (code, reason) in [(409, "Conflict"), (429, "TooManyRequests"), (500, "InternalError"), (503, "")] {
        let (context, log) = context(move |_, _| refusal(code, reason));
        assert!(matches!(reconcile_with(&context, Some("s")).await, Err(Error::Request { target: "Secret", .. })));
        assert_eq!(requests(&log), "secret");
    }
}

#[tokio::test]
async fn a_secret_that_cannot_exist_fails_the_operation_without_a_request_for_it() {
    for name in ["", "a/../../configmaps/b", "a?dryRun=All", &"a".repeat(254)] {
        let (context, log) = context(|_, count| (200, object_at(count + 1)));
        assert!(matches!(reconcile_with(&context, Some(name)).await, Ok(None)));
        assert_eq!(requests(&log), "status metadata");
        assert_eq!(context.metrics.reconciles.with_label_values(&["Create", "Error"]).get(), 1);
    }
}

#[tokio::test]
async fn a_refused_metadata_write_is_compared_with_the_version_that_the_status_write_returned() {
    let (context, log) = context(|line, _| match line {
        "metadata" => refusal(422, "Invalid"),
        _ => (200, object_at(2)),
    });
    assert!(matches!(reconcile_once(&context).await, Err(Error::Request { target: "metadata", .. })));
    assert_eq!(requests(&log), "status metadata get");
}

#[tokio::test]
async fn an_object_that_is_not_found_is_looked_at_again_unless_its_deletion_is_seen() {
    for gone_at in [1, 2] {
        let (context, log) = context(move |_, count| match count {
            count if count == gone_at => refusal(404, "NotFound"),
            _ => (200, object_at(count + 1)),
        });
        assert!(matches!(reconcile_once(&context).await, Ok(Some(LOOK_AGAIN))));
        assert_eq!(log.lock().unwrap().len(), gone_at);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_the_object_is_an_error() {
    let status = json!({ "kind": "Status", "metadata": {}, "status": "Success" });
    let mut other = object_at(2);
    other["metadata"]["name"] = json!("b");
    for (code, answer) in [(200, status.clone()), (302, status), (200, other), (200, json!({ "metadata": {} }))] {
        let (context, log) = context(move |_, _| (code, answer.clone()));
        let error = whole(&reconcile_once(&context).await.unwrap_err());
        assert!(error.starts_with("cannot patch the status: the answer is another object"), "{error}");
        assert_eq!(requests(&log), "status");
    }
}

#[tokio::test]
async fn a_retry_waits_as_long_as_the_api_server_asks_for() {
    let (context, _) = context(|_, _| {
        let (code, mut status) = refusal(429, "TooManyRequests");
        status["details"] = json!({ "retryAfterSeconds": 7 });
        (code, status)
    });
    let error = reconcile_once(&context).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_deleted_object_that_cannot_be_decoded_is_let_go() {
    let (context, log) = context(|_, _| (200, object_at(2)));
    let context = Arc::new(context);
    let mut object = object_at(1);
    object["status"] = json!({ "observedGeneration": "new" });
    object["metadata"]["deletionTimestamp"] = json!("2026-08-20T10:15:30Z");
    for (finalizers, expected) in [(json!(["other"]), ""), (json!(["other", Test::FINALIZER]), "metadata")] {
        object["metadata"]["finalizers"] = finalizers;
        let object: Guarded<Test> = serde_json::from_value(object.clone()).unwrap();
        let key = Key::of(&object);
        context.memory.seen(&object, None);
        reconcile(Arc::new(object), context.clone(), key).await;
        assert_eq!(requests(&log), expected);
    }
}

#[tokio::test]
async fn a_failed_request_is_retried_with_backoff_that_the_event_of_our_own_write_does_not_shorten() {
    let (context, _) = context(|line, _| match line {
        "metadata" => refusal(500, "InternalError"),
        _ => (200, object_at(2)),
    });
    let context = Arc::new(context);
    let object =
        |version| -> Arc<Guarded<Test>> { Arc::new(Guarded(Ok(serde_json::from_value(object_at(version)).unwrap()))) };
    let key = Key::of(object(1).as_ref());
    context.memory.seen(object(1).as_ref(), None);
    context.queue.add(key.clone());
    assert_eq!(context.queue.next().await, key);
    reconcile(object(1), context.clone(), key.clone()).await;
    assert_eq!(context.metrics.errors.with_label_values(&["request"]).get(), 1);
    assert!(context.memory.is_stale(&key, object(1).meta()), "the event of our status write has not arrived yet");
    assert!(context.memory.pause(&key, object(2).meta()).is_some(), "our own write does not defeat the backoff");
    assert_eq!(context.queue.next().now_or_never(), None);
    assert_eq!(context.queue.next().await, key, "the requeue");
}

#[tokio::test]
async fn an_undecodable_object_costs_no_request() {
    let (context, log) = context(|_, _| (200, Value::Null));
    let context = Arc::new(context);
    let mut object = object_at(1);
    object["status"] = json!({ "observedGeneration": "new" });
    let object: Guarded<Test> = serde_json::from_value(object).unwrap();
    let key = Key::of(&object);
    reconcile(Arc::new(object), context.clone(), key).await;
    assert_eq!((requests(&log).as_str(), context.metrics.errors.with_label_values(&["undecodable"]).get()), ("", 1));
}
