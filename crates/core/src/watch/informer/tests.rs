//! An API server whose answers a test chooses. What a real one does is tested with the controllers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;

/// One answer, and a part of the query of the request that it is for.
struct Answer {
    query: &'static str,
    code: u16,
    body: String,
}

fn object(name: &str, version: u64) -> Value {
    json!({ "metadata": { "namespace": "ns", "name": name, "uid": "u", "resourceVersion": version.to_string() } })
}

/// A page of a list with these objects.
fn page(query: &'static str, version: u64, items: &[Value], token: &str) -> Answer {
    let metadata = json!({ "resourceVersion": version.to_string(), "continue": token });
    let body = json!({ "apiVersion": "v1", "kind": "ConfigMapList", "metadata": metadata, "items": items });
    Answer { query, code: 200, body: body.to_string() }
}

/// A watch that shows these events and ends.
fn watch(from: &'static str, events: &[(&str, Value)]) -> Answer {
    let line = |(kind, object): &(&str, Value)| json!({ "type": kind, "object": object }).to_string() + "\n";
    Answer { query: from, code: 200, body: events.iter().map(line).collect() }
}

fn refused(query: &'static str, code: u16) -> Answer {
    let body = json!({ "kind": "Status", "status": "Failure", "code": code, "message": "refused", "reason": "Test" });
    Answer { query, code, body: body.to_string() }
}

fn bookmark(version: u64) -> (&'static str, Value) {
    let meta = json!({ "resourceVersion": version.to_string() });
    ("BOOKMARK", json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta }))
}

struct Scene {
    informer: Informer<ConfigMap>,
    known: Arc<Mutex<Versions>>,
    /// A request came that has no answer.
    over: Arc<Notify>,
}

impl Scene {
    fn new(answers: Vec<Answer>) -> Self {
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let over = Arc::new(Notify::new());
        let service = {
            let over = over.clone();
            tower::service_fn(move |request: Request<Body>| {
                let query = request.uri().query().unwrap_or_default().to_owned();
                let answer = answers.lock().unwrap().pop_front();
                let over = over.clone();
                async move {
                    let Some(Answer { query: expected, code, body }) = answer else {
                        over.notify_one();
                        return std::future::pending().await;
                    };
                    assert!(query.contains(expected), "{query} instead of {expected}");
                    Ok::<_, tower::BoxError>(Response::builder().status(code).body(Body::from(body.into_bytes()))?)
                }
            })
        };
        let known = Arc::new(Mutex::new(Versions::new()));
        let shown = known.clone();
        let api = Api::namespaced(Client::new(service, "ns"), "ns");
        let pages = Pages { objects: 2, metadata: None };
        let known_now = move || shown.lock().unwrap().clone();
        Self { informer: Informer::new(api, None, pages, Reach::default(), known_now), known, over }
    }

    /// The events until all answers are used, in short words.
    async fn story(mut self) -> Vec<String> {
        let mut story = Vec::new();
        let mut relisted = Versions::new();
        loop {
            let event = tokio::select! {
                event = self.informer.next() => event,
                () = self.over.notified() => return story,
            };
            let mut known = self.known.lock().unwrap();
            let entry = |object: &ConfigMap| (Key::of(object), memory::version(&object.metadata).unwrap());
            story.push(match event {
                Event::ListBegan => "list".to_owned(),
                Event::Listed(object) => {
                    relisted.extend([entry(&object)]);
                    object.name_any()
                }
                Event::ListEnded(version) => {
                    *known = std::mem::take(&mut relisted);
                    format!("listed {version}")
                }
                Event::Changed(object) => {
                    known.extend([entry(&object)]);
                    format!("{} changed", object.name_any())
                }
                Event::Deleted(object) => {
                    known.remove(&Key::of(&object));
                    format!("{} deleted", object.name_any())
                }
                Event::Gone(key) => {
                    known.remove(&key);
                    format!("{} gone", key.name)
                }
                Event::Reached(version) => format!("reached {version}"),
                Event::Failed(trouble) => {
                    let trouble = format!("{trouble:?}");
                    trouble.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
                }
                Event::Answered => "answered".to_owned(),
            });
        }
    }
}

#[tokio::test]
async fn pages_are_listed_and_a_watch_goes_on_from_there() {
    let (a, b, c) = (object("a", 1), object("b", 2), object("c", 3));
    let story = Scene::new(vec![
        page("limit=2", 5, &[a, b.clone()], "more"),
        page("continue=more", 5, &[c], ""),
        watch("resourceVersion=5", &[("MODIFIED", object("a", 6)), ("DELETED", object("b", 7)), bookmark(9)]),
        page("limit=1", 9, &[], ""),
        watch("resourceVersion=9", &[("ADDED", object("d", 10))]),
    ])
    .story();
    let listed = ["list", "a", "b", "c", "listed 5", "a changed", "b deleted", "reached 9", "d changed"];
    assert_eq!(story.await, listed);
}

#[tokio::test]
async fn an_expired_continue_token_is_followed_by_a_list_without_pages() {
    let story = Scene::new(vec![
        page("limit=2", 5, &[object("a", 1), object("b", 2)], "more"),
        refused("continue=more", 410),
        page("", 6, &[object("a", 1), object("b", 2), object("c", 3)], ""),
        watch("resourceVersion=6", &[bookmark(7)]),
    ])
    .story();
    assert_eq!(story.await, ["list", "a", "b", "list", "a", "b", "c", "listed 6", "reached 7"]);
}

#[tokio::test]
async fn a_refused_list_is_retried_until_the_api_server_answers() {
    let version = |version: &str| {
        let list = json!({ "metadata": { "resourceVersion": version }, "items": [] });
        Answer { query: "limit=2", code: 200, body: list.to_string() }
    };
    let story = Scene::new(vec![
        refused("limit=2", 503),
        refused("limit=2", 403),
        version(""),
        version("abc"),
        page("limit=2", 5, &[], ""),
        watch("resourceVersion=5", &[bookmark(6)]),
    ])
    .story();
    let expected = [
        "list",
        "Request",
        "list",
        "Request",
        "list",
        "NoVersion",
        "list",
        "NoVersion",
        "list",
        "answered",
        "listed 5",
        "reached 6",
    ];
    assert_eq!(story.await, expected);
}

#[tokio::test]
async fn after_an_expired_watch_only_what_differs_is_read() {
    let listed = [object("a", 1), object("b", 2)];
    let now = [object("a", 1), object("c", 8)];
    let story = Scene::new(vec![
        page("limit=2", 5, &listed, ""),
        watch("resourceVersion=5", &[bookmark(6)]),
        page("limit=1", 9, &[], ""),
        refused("resourceVersion=6", 410),
        page("", 9, &now, ""),
        Answer { query: "", code: 200, body: object("c", 8).to_string() },
        watch("resourceVersion=9", &[bookmark(10)]),
    ])
    .story();
    assert_eq!(
        story.await,
        ["list", "a", "b", "listed 5", "reached 6", "b gone", "c changed", "reached 9", "reached 10"]
    );
}

#[tokio::test]
async fn an_api_server_that_refuses_the_version_of_its_own_list_is_asked_again_after_a_pause() {
    let list = || page("limit=2", 5, &[], "");
    let story = Scene::new(vec![list(), refused("resourceVersion=5", 410), list()]).story();
    assert_eq!(story.await, ["list", "listed 5", "Expired", "list", "answered", "listed 5"]);
}

#[tokio::test]
async fn an_api_server_that_went_back_is_listed_again() {
    let story = Scene::new(vec![
        page("limit=2", 500, &[object("a", 400)], ""),
        watch("resourceVersion=500", &[bookmark(600)]),
        page("limit=1", 450, &[], ""),
        page("limit=2", 450, &[object("a", 300)], ""),
        watch("resourceVersion=450", &[bookmark(451)]),
    ])
    .story();
    let expected =
        ["list", "a", "listed 500", "reached 600", "WentBack", "list", "answered", "a", "listed 450", "reached 451"];
    assert_eq!(story.await, expected);
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_restarted_after_a_pause() {
    let started = Instant::now();
    let story = Scene::new(vec![
        page("limit=2", 5, &[], ""),
        watch("watch=true", &[]),
        page("limit=1", 5, &[], ""),
        watch("watch=true", &[]),
        page("limit=1", 5, &[], ""),
        watch("watch=true", &[bookmark(6)]),
    ])
    .story();
    assert_eq!(story.await, ["list", "listed 5", "EndedAtOnce", "answered", "EndedAtOnce", "answered", "reached 6"]);
    assert!(started.elapsed() >= 2 * PACE, "at most one watch a second");
}

#[tokio::test]
async fn an_event_that_stays_unusable_is_passed_by_a_list() {
    let error = json!({ "kind": "Status", "status": "Failure", "code": 500, "message": "cannot decode", "reason": "" });
    for unusable in [("ERROR", error), ("MODIFIED", json!({ "metadata": 7 })), ("MODIFIED", json!({ "metadata": {} }))]
    {
        let probe = || page("limit=1", 7, &[], "");
        let story = Scene::new(vec![
            page("limit=2", 5, &[], ""),
            watch("resourceVersion=5", &[("ADDED", object("a", 6)), unusable.clone()]),
            probe(),
            watch("resourceVersion=6", &[unusable]),
            page("limit=2", 8, &[object("a", 7)], ""),
            watch("resourceVersion=8", &[bookmark(9)]),
        ])
        .story()
        .await;
        let events: Vec<_> = story.iter().filter(|event| !["Request", "NoVersion"].contains(&event.as_str())).collect();
        assert_eq!(
            events,
            ["list", "listed 5", "a changed", "answered", "list", "answered", "a", "listed 8", "reached 9"]
        );
    }
}

#[tokio::test]
async fn pauses_double_up_to_a_limit_and_are_as_long_as_the_api_server_asks_for() {
    let mut informer = Scene::new(Vec::new()).informer;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        informer.failed(Trouble::EndedAtOnce);
        pauses.push(informer.pause.take().unwrap());
    }
    let within = |pause: Duration, most: Duration| pause <= most && pause >= most * 3 / 4;
    let expected = [1, 2, 4, 8, 16, 20, 20, 20].map(|times| FIRST_PAUSE * times);
    assert!(pauses.iter().zip(expected).all(|(pause, most)| within(*pause, most)), "{pauses:?}");
    let details = serde_json::from_value(json!({ "retryAfterSeconds": 9 })).unwrap();
    let status = kube::core::Status::failure("later", "TooManyRequests").with_code(429).with_details(details);
    informer.failed(kube::Error::Api(status.boxed()).into());
    assert_eq!(informer.pause.take(), Some(Duration::from_secs(9)));
}
