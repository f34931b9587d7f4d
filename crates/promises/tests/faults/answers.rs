//! Answers that the API server has not given, and watches that something in between ends or silences.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use extension_conformance::{asking, ensure, eventually, merged};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::header::ACCEPT;
use http::request::Parts;
use libtest_mimic::Failed;
use mock_promises::script;
use serde_json::json;
use tokio::time::sleep;

use crate::cost::{Cost, Meter};
use crate::http::{Action, Answer, is_watch, is_write};
use crate::world::{LIMIT, World};

/// A watch event of the API server for an expired version.
const EXPIRED: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 1 (2)","reason":"Expired","code":410}}
"#;

/// An error in a stream that says nothing about versions.
const INTERNAL: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"injected","reason":"InternalError","code":500}}
"#;

pub(crate) async fn watch_ends_at_once(world: Arc<World>) -> Result<Cost, Failed> {
    watches_end_after(world, "", Duration::from_secs(15)).await
}

pub(crate) async fn watch_expired(world: Arc<World>) -> Result<Cost, Failed> {
    watches_end_after(world, EXPIRED, Duration::from_secs(10)).await
}

pub(crate) async fn watch_reports_an_error(world: Arc<World>) -> Result<Cost, Failed> {
    watches_end_after(world, INTERNAL, Duration::from_secs(10)).await
}

pub(crate) async fn watch_event_is_no_json(world: Arc<World>) -> Result<Cost, Failed> {
    watches_end_after(world, "<html>\n", Duration::from_secs(10)).await
}

async fn watches_end_after(world: Arc<World>, text: &'static str, lasting: Duration) -> Result<Cost, Failed> {
    world.http.set(move |parts| if is_watch(parts) { Action::EndAfter(text.to_owned()) } else { Action::Forward });
    let controller = world.proxied(&[]).await?;
    let meter = Meter::begin(&world, &controller);
    world.ask("during").await?;
    sleep(lasting).await;
    world.http.forward();
    let over = meter.over();
    world.ask("after").await?;
    Ok(over.served(world.until_served(&["during", "after"]).await?))
}

/// The first watches stay silent. Later ones work.
pub(crate) async fn watch_is_silent(world: Arc<World>) -> Result<Cost, Failed> {
    let watches = Arc::new(AtomicUsize::new(0));
    let counted = watches.clone();
    world.http.set(move |parts| {
        // Of objects, and of Clusters.
        if is_watch(parts) && counted.fetch_add(1, Relaxed) < 2 { Action::Silence } else { Action::Forward }
    });
    let controller = world.proxied(&[]).await?;
    let meter = Meter::begin(&world, &controller);
    while watches.load(Relaxed) < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    let served = world.serves(&["a"]).await?;
    Ok(meter.over().served(served))
}

/// Each continue token has expired.
pub(crate) async fn continue_token_expired(world: Arc<World>) -> Result<Cost, Failed> {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    for name in NAMES {
        world.ask(name).await?;
    }
    let continued = Arc::new(AtomicUsize::new(0));
    let counted = continued.clone();
    world.http.set(move |parts| {
        let path = parts.uri.to_string();
        if path.contains("continue=") {
            counted.fetch_add(1, Relaxed);
            return Action::Answer(Answer::status(410, "Expired"));
        }
        if is_watch(parts) { Action::Forward } else { Action::ForwardTo(smaller_pages(&path)) }
    });
    let began = Instant::now();
    let controller = world.unready(&[])?;
    let meter = Meter::begin(&world, &controller);
    world.until_served(&NAMES).await?;
    ensure(continued.load(Relaxed) > 0, "the controller has read one page only")?;
    Ok(meter.over().served(began.elapsed()))
}

/// The watch has expired, and so has each continue token of the comparison that follows, which reads metadata alone.
pub(crate) async fn continue_token_of_a_comparison_expired(world: Arc<World>) -> Result<Cost, Failed> {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let compared = Arc::new(AtomicUsize::new(0));
    let (counted, mut watches) = (compared.clone(), 0);
    world.http.set(move |parts| {
        let path = parts.uri.to_string();
        if path.contains("continue=") {
            let accept = parts.headers.get(ACCEPT).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
            counted.fetch_add(accept.is_some_and(|kind| kind.contains("as=PartialObject")).into(), Relaxed);
            return Action::Answer(Answer::status(410, "Expired"));
        }
        if !is_watch(parts) {
            return Action::ForwardTo(smaller_pages(&path));
        }
        watches += 1;
        // The first watches, of objects and of Clusters, end soon.
        let short = with_number(&path, "timeoutSeconds=", 3);
        if watches <= 2 { Action::ForwardTo(short) } else { Action::EndAfter(EXPIRED.to_owned()) }
    });
    let controller = world.proxied(&[]).await?;
    let meter = Meter::begin(&world, &controller);
    world.serves(&NAMES).await?;
    eventually(LIMIT, async || ensure(compared.load(Relaxed) > 0, "no comparison has read a second page")).await?;
    world.ask("during").await?;
    world.http.forward();
    let over = meter.over();
    Ok(over.served(world.serves(&["during", "after"]).await?))
}

/// The path of a list with pages of two objects.
fn smaller_pages(path: &str) -> String {
    with_number(path, "limit=", 2)
}

/// The path and query with another number for a parameter that it has.
fn with_number(path: &str, parameter: &str, number: u8) -> String {
    let Some((before, after)) = path.split_once(parameter) else { return path.to_owned() };
    let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{before}{parameter}{number}{rest}")
}

/// Something in between answers the first write of every object with a code that is no failure, or no real one.
pub(crate) async fn first_write_answered(world: Arc<World>, answers: Vec<Answer>) -> Result<Cost, Failed> {
    let controller = world.proxied(&[]).await?;
    let meter = Meter::begin(&world, &controller);
    let mut slowest = Duration::ZERO;
    for (index, answer) in answers.into_iter().enumerate() {
        let mut answer = Some(answer);
        world.http.set(move |parts| match answer.take_if(|_| is_write(parts)) {
            Some(answer) => Action::Answer(answer),
            None => Action::Forward,
        });
        slowest = slowest.max(world.serves(&[&format!("a{index}")]).await?);
    }
    Ok(meter.over().served(slowest))
}

/// All requests are answered so for some seconds, one answer after the other.
pub(crate) async fn all_requests_answered(world: Arc<World>, answers: Vec<Answer>) -> Result<Cost, Failed> {
    let controller = world.proxied(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    let mut slowest = Duration::ZERO;
    for (index, answer) in answers.into_iter().enumerate() {
        world.http.set(move |_: &Parts| Action::Answer(answer.clone()));
        let name = format!("a{index}");
        world.ask(&name).await?;
        sleep(Duration::from_secs(4)).await;
        world.http.forward();
        slowest = slowest.max(world.until_served(&[&name]).await?);
    }
    Ok(meter.over().served(slowest))
}

/// Lists and watches work, but no write does. Hundreds of objects wait.
pub(crate) async fn writes_refused(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.proxied(&[]).await?;
    world.http.set(|parts| {
        let refused = Action::Answer(Answer::status(500, "InternalError"));
        if is_write(parts) { refused } else { Action::Forward }
    });
    let names: Vec<_> = (0..300).map(|index| format!("o{index}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    stream::iter(&names).map(|name| world.ask(name)).buffer_unordered(16).try_collect::<()>().await?;
    // Each has failed for the first time.
    sleep(Duration::from_secs(5)).await;
    let meter = Meter::begin(&world, &controller);
    sleep(Duration::from_secs(15)).await;
    let over = meter.over();
    world.http.forward();
    Ok(over.served(world.until_served(&names).await?))
}

/// Requests for Events hang. Each object's script has one.
pub(crate) async fn events_hang(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.proxied(&[]).await?;
    world.http.set(|parts| if parts.uri.path().contains("/events") { Action::Silence } else { Action::Forward });
    let meter = Meter::begin(&world, &controller);
    let names: Vec<_> = (0..60).map(|index| format!("o{index}")).collect();
    let scripted =
        merged(asking("reconcile"), &json!({ "spec": { "providerConfig": script(&json!([{ "succeed": {} }])) } }));
    for name in &names {
        world.scene.create_object(name, &scripted).await?;
    }
    let served = world.until_served(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok(meter.over().served(served))
}

/// The API server sheds load: plain text, and the pause in the header alone.
pub(crate) async fn retry_after(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.proxied(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = writes.clone();
    world.http.set(move |parts| {
        if is_write(parts) {
            counted.fetch_add(1, Relaxed);
            return Action::Answer(Answer::text(429, Some(8)));
        }
        Action::Forward
    });
    world.ask("during").await?;
    sleep(Duration::from_secs(7)).await;
    let early = writes.load(Relaxed);
    ensure(early == 1, format!("{early} writes within the pause that the API server asked for"))?;
    world.http.forward();
    let over = meter.over();
    Ok(over.served(world.until_served(&["during"]).await?))
}
