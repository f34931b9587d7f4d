//! Rules about requests in a row: each is served, and none is ready by the success of the one before.

use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::jiff::SignedDuration;
use kube::runtime::{WatchStreamExt, watcher};
use libtest_mimic::Failed;
use mock_core::contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use serde_json::json;

use super::ground::annotation;
use super::rules::ready;
use super::scripts::{record, scripted};
use super::{Ground, Rule, ensure};
use crate::{readiness, rules};

pub(super) const ALL: &[Rule] = rules![
    a_request_in_the_second_of_the_last_success_costs_two_writes,
    no_event_shows_readiness_before_the_request_is_served,
];

async fn a_request_in_the_second_of_the_last_success_costs_two_writes(ground: Ground) -> Result<(), Failed> {
    ready(&ground).await?;
    ground.barrier().await?;
    let before = ground.writes("a")?;
    let asked = ground.ask_later("a", "reconcile", SignedDuration::from_millis(500)).await?;
    ensure(annotation(&asked, OPERATION_ANNOTATION) == Some("reconcile"), "nothing tells it from a request of before")?;
    ground.until_ready("a").await?;
    ground.has_cost("a", before, 2 + ground.suite.subject.secrets).await
}

async fn no_event_shows_readiness_before_the_request_is_served(ground: Ground) -> Result<(), Failed> {
    // A script's bookkeeping says which request the status answers.
    scripted(&ground, "a", &json!([{ "succeed": {} }])).await?;
    ground.until_ready("a").await?;
    // It goes on where it was when the API server ends it, which a change of the kind's schema makes it do.
    let events = watcher(ground.api(), watcher::Config::default().fields("metadata.name=a")).default_backoff();
    let mut events = pin!(events.applied_objects().filter_map(async |event| event.ok()));
    events.next().await.ok_or("the watch has ended")?;
    for (round, later) in [1000, 500, -1000, 2500, 0].into_iter().cycle().take(50).enumerate() {
        let asked = ground.ask_later("a", "reconcile", SignedDuration::from_millis(later)).await?;
        // Somebody else writes as well, whatever state the request is in.
        ground.patch("a", json!({ "metadata": { "labels": { "round": round.to_string() } } })).await?;
        let timestamp = annotation(&asked, TIMESTAMP_ANNOTATION);
        let mut is_served = false;
        while !is_served {
            let object = json!(events.next().await.ok_or("the watch has ended")?);
            if readiness::check(&object, None).is_ok() {
                let answered = record(&object).and_then(|record| record.request.timestamp);
                let of_object = annotation(&object, TIMESTAMP_ANNOTATION);
                ensure(answered.as_deref() == of_object, format!("round {round}: ready too early: {object:#}"))?;
                is_served = of_object == timestamp;
            }
        }
    }
    Ok(())
}
