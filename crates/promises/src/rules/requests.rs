//! Requests, the times of their answers, and the classes of objects whose requests are served.

use extension_conformance::{annotation, asking, asking_at, ensure, merged, text};
use extension_contract::{TIMESTAMP_ANNOTATION, readiness};
use k8s_openapi::jiff::SignedDuration;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;
use crate::script::record;

pub(crate) const PROMISES: &[Promise] = promises![
    no_event_shows_readiness_before_the_request_is_served needs [PolledReader],
    timestamp_ahead_of_the_clock_is_answered_in_its_second,
    class_flag_limits_the_controller_to_objects_of_the_garden needs [GardenClass],
];

async fn no_event_shows_readiness_before_the_request_is_served(scene: MockScene) -> Result<(), Failed> {
    // The bookkeeping of a script names the request that the status answers.
    scene.create_scripted("a", &json!([{ "succeed": {} }])).await?;
    scene.until_ready("a").await?;
    let mut versions = scene.follow("a").await?;
    for (round, later) in [1000, 500, -1000, 2500, 0].into_iter().cycle().take(50).enumerate() {
        let asked = scene.ask_later("a", "reconcile", SignedDuration::from_millis(later)).await?;
        // Another writer interferes at any state of the request.
        scene.patch("a", json!({ "metadata": { "labels": { "round": round.to_string() } } })).await?;
        let timestamp = annotation(&asked, TIMESTAMP_ANNOTATION);
        let mut is_served = false;
        while !is_served {
            let object = versions.next().await?;
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

async fn timestamp_ahead_of_the_clock_is_answered_in_its_second(scene: MockScene) -> Result<(), Failed> {
    scene.create_object("a", &asking_at("reconcile", "2099-01-02T03:04:05.9Z")).await?;
    let object = scene.until_ready("a").await?;
    let time = text(&object, "/status/lastOperation/lastUpdateTime");
    ensure(time == "2099-01-02T03:04:05Z", format!("lastUpdateTime is {time}"))
}

/// As gardener-operator installs it in the garden's runtime cluster.
async fn class_flag_limits_the_controller_to_objects_of_the_garden(scene: MockScene) -> Result<(), Failed> {
    let own = scene.namespace();
    let place = scene.outside_of_shoots().await?;
    let of_class = |class: Value| merged(asking("reconcile"), &json!({ "spec": { "type": own, "class": class } }));
    let mut others = Vec::new();
    for (name, class) in [("none", Value::Null), ("shoot", json!("shoot")), ("seed", json!("seed"))] {
        others.push((name, place.create_object(name, &of_class(class)).await?));
    }
    let _controller = scene.start_own(&["--class", "garden"])?;
    place.create_object("a", &of_class(json!("garden"))).await?;
    place.until_ready("a").await?;
    for (name, before) in others {
        ensure(before == place.get(name).await?, format!("{name}: an object of another class was written"))?;
    }
    Ok(())
}
