use std::collections::BTreeMap;
use std::convert::Infallible;

use futures::FutureExt;
use kube::client::Body;
use kube::core::WatchEvent;
use serde_json::{Value, json};

use super::*;
use crate::kind::{NoShoot, Undecoded};

impl ShootView for BTreeMap<String, Value> {
    fn add_seed(&mut self, seed: Undecoded<'_>) -> Result<(), Invalid> {
        self.insert("seed".to_owned(), seed.decode::<BTreeMap<String, u8>>().map(|seed| json!(seed))?);
        Ok(())
    }
}

fn cluster(shoot: &str) -> Cluster {
    cluster_at(7, shoot)
}

fn cluster_at(version: u64, shoot: &str) -> Cluster {
    let text = format!(
        r#"{{ "type": "MODIFIED", "object": {{
            "metadata": {{ "name": "shoot--t--a", "uid": "u", "resourceVersion": "{version}", "managedFields": 1 }},
            "spec": {{ "cloudProfile": {{ "large": [[{{}}]] }}, "shoot": {shoot}, "seed": {{}} }} }} }}"#
    );
    match serde_json::from_str(&text).unwrap() {
        WatchEvent::Modified(cluster) => cluster,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_the_used_facts_of_a_cluster_are_kept() {
    let minimal = cluster("{}");
    assert_eq!((minimal.name_any().as_str(), minimal.resource_version().as_deref()), ("shoot--t--a", Some("7")));
    let facts = ShootFacts { uid: "u".to_owned(), ..ShootFacts::default() };
    assert_eq!(minimal.facts(), Ok(facts));
    let failed = r#"{ "metadata": { "annotations": { "confirmation.gardener.cloud/force-deletion": "T" } },
        "status": { "technicalID": "t", "lastOperation": { "state": "Failed" } } }"#;
    let facts = cluster(failed).facts().unwrap();
    assert!(facts.failed && facts.force_deleted && facts.script.is_none() && facts.technical_id == "t");
    let scripted = r#"{ "metadata": { "annotations": { "mock.extensions.gardener.cloud/script": "no script" } } }"#;
    assert!(cluster(scripted).facts().unwrap().script.unwrap().is_err());
}

#[test]
fn a_shoot_is_read_as_gos_decoder_reads_it_and_unused_values_may_be_nested_at_any_depth() {
    let facts = ShootFacts { uid: "u".to_owned(), ..ShootFacts::default() };
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    for shoot in [
        r#"{ "metadata": null, "status": null }"#,
        r#"{ "metadata": { "annotations": null }, "status": { "technicalID": null, "lastOperation": null } }"#,
        r#"{ "metadata": { "annotations": { "a": null } }, "status": { "lastOperation": { "state": null } } }"#,
        &format!(r#"{{ "spec": {{ "provider": {deep} }}, "status": {{ "other": {deep} }} }}"#),
    ] {
        assert_eq!(cluster(shoot).facts().as_ref(), Ok(&facts), "{shoot}");
    }
}

#[test]
fn an_unreadable_cluster_counts_as_absent_until_it_is_corrected() {
    let clusters = Clusters::<NoShoot>::default();
    let good = cluster("{}");
    for shoot in [r#"{ "status": { "lastOperation": { "state": 1 } } }"#, r#"{ "metadata": 7 }"#, "7"] {
        assert_eq!(clusters.put(&good).as_deref(), Some("shoot--t--a"));
        assert_eq!(clusters.put(&cluster(shoot)).as_deref(), Some("shoot--t--a"), "its objects are queued");
        assert_eq!(clusters.get("shoot--t--a"), None, "{shoot}");
    }
}

#[test]
fn an_error_names_the_value_in_the_cluster() {
    let facts = |shoot: &str| cluster(shoot).facts().unwrap_err().field;
    assert_eq!(facts(r#"{ "status": { "lastOperation": { "state": 1 } } }"#), "spec.shoot.status.lastOperation.state");
    assert_eq!(facts("5"), "spec.shoot");
    let view = |shoot: &str| cluster(shoot).view::<BTreeMap<String, Value>>().unwrap_err().field;
    assert_eq!(view("[]"), "spec.shoot of the Cluster");
    let mut odd = cluster("{}");
    odd.spec.seed = serde_json::from_str(r#"{ "a": "b" }"#).unwrap();
    assert_eq!(odd.view::<BTreeMap<String, Value>>().unwrap_err().field, "spec.seed.a of the Cluster");
}

#[test]
fn what_a_kind_reads_of_the_seed_is_beside_the_shoot() {
    let mut cluster = cluster(r#"{ "spec": 1 }"#);
    let seed = |text: &str| serde_json::from_str(text).unwrap();
    cluster.spec.seed = seed(r#"{ "a": 7 }"#);
    let view: BTreeMap<String, Value> = cluster.view().unwrap();
    assert_eq!((&view["spec"], &view["seed"]), (&json!(1), &json!({ "a": 7 })));
    cluster.spec.seed = seed(r#"{ "a": "7" }"#);
    assert_eq!(cluster.view::<BTreeMap<String, Value>>().unwrap_err().field, "spec.seed.a of the Cluster");
    cluster.spec.seed = seed("null");
    assert!(!cluster.view::<BTreeMap<String, Value>>().unwrap().contains_key("seed"));
}

#[test]
fn a_shoot_is_returned_once_the_watch_has_reached_the_clusters_version() {
    type Fields = BTreeMap<String, Value>;
    let clusters = Clusters::<Fields>::default();
    let shoot = |version| {
        let shoot = clusters.since(version, "shoot--t--a").now_or_never()?;
        Some(shoot.map(|shoot| shoot.as_ref().clone().unwrap().get("spec").cloned()))
    };
    assert_eq!(shoot(7), None, "nothing was seen yet");
    clusters.put(&cluster_at(7, r#"{ "spec": 1 }"#));
    assert_eq!(shoot(7), Some(Some(Some(json!(1)))));
    assert_eq!(shoot(8), None, "the watch is behind");
    clusters.put(&cluster_at(9, r#"{ "spec": 2 }"#));
    assert_eq!(shoot(8), Some(Some(Some(json!(2)))), "a newer version is as good");
    clusters.remove("shoot--t--a", Some(10));
    assert_eq!(shoot(8), Some(None), "it is gone");
    clusters.put(&cluster_at(11, "{}"));
    clusters.list_began();
    clusters.replace(12);
    assert_eq!(shoot(12), Some(None), "a list shows that it is gone");
}

/// An API server that has the Cluster at version 9.
fn server() -> Client {
    let answer = |request: http::Request<Body>| async move {
        let accept = request.headers().get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let mut cluster = json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1",
            "kind": "Cluster",
            "metadata": { "name": "shoot--t--a", "uid": "u", "resourceVersion": "9" },
        });
        if accept.is_none_or(|accept| !accept.contains("PartialObjectMetadata")) {
            cluster["spec"] = json!({ "shoot": { "spec": "read" } });
        }
        Ok::<_, Infallible>(http::Response::new(Body::from(cluster.to_string().into_bytes())))
    };
    Client::new(tower::service_fn(answer), "default")
}

async fn fresh(clusters: &Clusters<BTreeMap<String, Value>>, lag: Duration) -> Value {
    let shoot = clusters.shoot_within(lag, &server(), "shoot--t--a", Effort::Prompt).await.unwrap().unwrap();
    shoot.as_ref().clone().unwrap()["spec"].clone()
}

#[tokio::test]
async fn a_watch_that_is_behind_is_awaited() {
    let clusters = Clusters::default();
    clusters.replace(0);
    clusters.put(&cluster_at(7, r#"{ "spec": "old" }"#));
    let mut fresh = Box::pin(fresh(&clusters, Duration::from_secs(60)));
    // More turns than the answer takes.
    for _ in 0..100 {
        assert_eq!(fresh.as_mut().now_or_never(), None);
        tokio::task::yield_now().await;
    }
    clusters.put(&cluster_at(9, r#"{ "spec": "watched" }"#));
    assert_eq!(fresh.await, "watched");
}

#[tokio::test]
async fn while_clusters_are_listed_again_a_read_does_not_wait_for_their_watch() {
    let clusters = Clusters::default();
    clusters.list(&cluster_at(7, "{}"));
    clusters.replace(7);
    clusters.list_began();
    assert!(clusters.listed().now_or_never().is_some(), "what was known is still known");
    assert_eq!(fresh(&clusters, Duration::from_secs(3600)).await, "read");
}

#[tokio::test]
async fn a_watch_that_lags_too_long_costs_a_read_of_the_whole_cluster() {
    let clusters = Clusters::default();
    clusters.put(&cluster_at(7, r#"{ "spec": "old" }"#));
    assert_eq!(fresh(&clusters, Duration::ZERO).await, "read");
}
