//! Rules about scripts: what is scripted is what happens, at the API server and for gardenlet.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use libtest_mimic::Failed;
use mock_core::behaviour::{Phase, Record};
use mock_core::contract::{ErrorCode, MOCK_API_VERSION, OPERATION_ANNOTATION, SCRIPT_ANNOTATION, TIMESTAMP_ANNOTATION};
use serde_json::{Value, json};

use super::controller::Controller;
use super::ground::{annotation, asking, json_patch_merge, last, text};
use super::restarts::{free_port, until_answered};
use super::{Ground, Rule, ensure};
use crate::readiness::{self, NotReady};
use crate::rules;

pub(super) const ALL: &[Rule] = rules![
    each_error_code_shows_on_the_object_and_decides_about_the_shoot,
    the_annotation_beats_the_provider_config_and_that_the_file,
    a_bad_script_is_told_on_the_object_and_in_an_event_until_it_is_corrected,
    rules_that_do_not_match_cost_no_further_request,
    a_delay_shows_as_processing_with_progress_rule_and_seed,
    the_first_two_attempts_are_counted_over_requests_and_the_error_goes_with_success,
    a_failed_shoot_rests_and_goes_on_counting_when_its_owner_retries,
    a_new_request_migration_or_deletion_ends_what_is_pending,
    force_deletion_ignores_every_script,
    a_hang_lasts_and_is_written_once,
    health_conditions_come_on_time_and_others_stay,
    a_killed_process_ends_what_it_began,
    a_script_file_is_read_again_and_a_bad_one_changes_nothing,
];

/// A script of these rules with a seed.
#[must_use]
pub fn script(rules: &Value) -> Value {
    json!({ "apiVersion": MOCK_API_VERSION, "kind": "Script", "seed": 7, "rules": rules })
}

/// The bookkeeping in an object's status.
#[must_use]
pub fn record(object: &Value) -> Option<Record> {
    Record::find(object.pointer("/status/conditions")?.as_array()?)
}

async fn each_error_code_shows_on_the_object_and_decides_about_the_shoot(ground: Ground) -> Result<(), Failed> {
    // Of the contract's section on codes, not of our own types.
    let hopeless = [
        "ERR_INFRA_UNAUTHENTICATED",
        "ERR_INFRA_UNAUTHORIZED",
        "ERR_INFRA_DEPENDENCIES",
        "ERR_INFRA_QUOTA_EXCEEDED",
        "ERR_INFRA_RATE_LIMITS_EXCEEDED",
        "ERR_CONFIGURATION_PROBLEM",
        "ERR_PROBLEMATIC_WEBHOOK",
    ];
    for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
        let fail = json!([{ "fail": { "message": "no luck", "codes": [code], "retryAfter": "1h" } }]);
        scripted(&ground, &format!("c{index}"), &fail).await?;
    }
    for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
        // An object that is worked on is held.
        let failed = |object: &Value| last(object) == "Create/Error" && ground.holds(object);
        let object = ground.until(&format!("c{index}"), "an error", failed).await?;
        ensure(object.pointer("/status/lastError/codes") == Some(&json!([code])), format!("{object:#}"))?;
        ensure(text(&object, "/status/lastError/description") == "no luck", "another description")?;
        let Err(NotReady::LastError { codes, .. }) = readiness::check(&object, None) else {
            return Err("gardenlet would not see the error".into());
        };
        let code = json!(code);
        let expected = if hopeless.iter().any(|hopeless| code == *hopeless) { "Failed" } else { "Error" };
        ensure(readiness::state_of_shoot(&codes) == expected, format!("{code} must make the Shoot {expected}"))?;
    }
    Ok(())
}

async fn the_annotation_beats_the_provider_config_and_that_the_file(ground: Ground) -> Result<(), Failed> {
    let own = &ground.namespace;
    let says = |place: &str| json!([{ "fail": { "message": place, "retryAfter": "1h" } }]);
    let file = ground.suite.write_file("placed.yaml", &script(&says("file")))?;
    let _controller = Controller::start(&ground.suite, &["--type", own, "--script", &file])?;
    let theirs = json!({ "apiVersion": "aws.provider.extensions.gardener.cloud/v1alpha1", "kind": "Any", "rules": 1 });
    let ours = script(&says("providerConfig"));
    for (name, config, place) in
        [("none", Value::Null, "file"), ("theirs", theirs, "file"), ("ours", ours, "providerConfig")]
    {
        let mut patch = asking("reconcile");
        json_patch_merge(&mut patch, &json!({ "spec": { "type": own, "providerConfig": config } }));
        ground.create(name, patch).await?;
        let object = ground.until(name, "an error", |object| last(object) == "Create/Error").await?;
        let said = text(&object, "/status/lastError/description");
        ensure(said == place, format!("{name}: {said} decides instead of {place}"))?;
    }
    let annotations = json!({ SCRIPT_ANNOTATION: script(&says("annotation")).to_string() });
    ground.write_cluster(json!({ "metadata": { "annotations": annotations } })).await?;
    // It is in force with the next request after our watch has seen it.
    let mut said = String::new();
    for _ in 0..20 {
        let asked = ground.ask("ours", "reconcile").await?;
        let timestamp = annotation(&asked, TIMESTAMP_ANNOTATION).map(str::to_owned);
        let served = |object: &Value| record(object).is_some_and(|record| record.request.timestamp == timestamp);
        let object = ground.until("ours", "an attempt", served).await?;
        text(&object, "/status/lastError/description").clone_into(&mut said);
        if said == "annotation" {
            break;
        }
    }
    ensure(said == "annotation", format!("{said} decides instead of the annotation"))
}

async fn a_bad_script_is_told_on_the_object_and_in_an_event_until_it_is_corrected(
    ground: Ground,
) -> Result<(), Failed> {
    scripted(&ground, "b", &json!([{ "succeed": { "after": "soon" } }])).await?;
    let object = ground.until("b", "an error", |object| last(object) == "Create/Error").await?;
    let description = text(&object, "/status/lastError/description");
    let expected = "spec.providerConfig, rule 1, succeed.after: \"soon\" is no duration";
    ensure(description.starts_with(expected), description)?;
    let rules = json!([{ "succeed": {} }, { "name": "quota", "fail": { "message": "m", "codes": ["ERR_QUOTA"] } }]);
    annotate_shoot(&ground, &script(&rules).to_string()).await?;
    ground.create_annotated("a", "reconcile").await?;
    let object = ground.until("a", "an error", |object| last(object) == "Create/Error").await?;
    let description = text(&object, "/status/lastError/description");
    for part in [SCRIPT_ANNOTATION, "rule 2 (quota), fail.codes[0]", "ERR_QUOTA", "expected one of"] {
        ensure(description.contains(part), format!("{part} is missing in {description}"))?;
    }
    ensure(object.pointer("/status/lastError/codes") == Some(&json!(["ERR_CONFIGURATION_PROBLEM"])), "wrong code")?;
    let event = until_event(&ground, "a", "ScriptInvalid").await?;
    ensure(event.type_.as_deref() == Some("Warning"), "no Warning")?;
    ensure(event.note.is_some_and(|note| note.contains("rule 2 (quota)")), "the Event does not name the rule")?;
    // It comes again: counted, not told anew.
    ground.ask("a", "reconcile").await?;
    let counted = async || Ok::<_, Failed>(until_event(&ground, "a", "ScriptInvalid").await?.series.is_some());
    for _ in 0..200 {
        if counted().await? {
            break;
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    ensure(counted().await?, "the second Event is not counted")?;
    ground.write_cluster(json!({})).await?;
    ground.until_ready("a").await.map(drop)
}

async fn rules_that_do_not_match_cost_no_further_request(ground: Ground) -> Result<(), Failed> {
    let rules = json!([{ "match": { "kinds": ["Another"] }, "hang": {} }, { "match": { "names": ["b"] }, "hang": {} }]);
    scripted(&ground, "a", &rules).await?;
    ground.until_ready("a").await?;
    ground.has_cost("a", 0, 1 + ground.metadata_writes() + ground.suite.subject.secrets).await?;
    ensure(events(&ground).await?.is_empty(), "there are Events")
}

async fn a_delay_shows_as_processing_with_progress_rule_and_seed(ground: Ground) -> Result<(), Failed> {
    let progress = json!([{ "percent": 40, "description": "making it" }]);
    let rules = json!([{ "name": "slow", "succeed": { "after": "1s" }, "progress": progress }]);
    scripted(&ground, "a", &rules).await?;
    let object = ground.until("a", "progress", |object| text(object, DESCRIPTION).starts_with("making it")).await?;
    ensure(last(&object) == "Create/Processing", last(&object))?;
    ensure(object.pointer("/status/lastOperation/progress") == Some(&json!(40)), "progress is not 40")?;
    ensure(annotation(&object, OPERATION_ANNOTATION).is_none() && ground.holds(&object), "not taken up")?;
    ensure(readiness::check(&object, None).is_err(), "ready too early")?;
    let object = ground.until_ready("a").await?;
    let label = "[script: rule 1 (slow), attempt 1, seed 7]";
    ensure(text(&object, DESCRIPTION).ends_with(label), text(&object, DESCRIPTION))?;
    let event = until_event(&ground, "a", "ScriptRule1").await?;
    ensure(event.note.is_some_and(|note| note.contains(label)), "the Event does not replay it")?;
    ground.unchanged("a", &object, "it is done").await?;
    // Begin and end of the status, one report on the way, and the metadata.
    ground.has_cost("a", 0, 3 + ground.metadata_writes() + ground.suite.subject.secrets).await
}

async fn the_first_two_attempts_are_counted_over_requests_and_the_error_goes_with_success(
    ground: Ground,
) -> Result<(), Failed> {
    let fail = json!({ "message": "quota", "codes": ["ERR_INFRA_QUOTA_EXCEEDED"], "retryAfter": "1h" });
    scripted(&ground, "a", &json!([{ "match": { "attempts": { "to": 2 } }, "fail": fail }])).await?;
    for attempt in 1..=2 {
        let reached = |object: &Value| record(object).is_some_and(|record| record.attempt == attempt);
        let object = ground.until("a", "an attempt", reached).await?;
        ensure(last(&object) == "Create/Error", last(&object))?;
        ensure(object.pointer("/status/lastError").is_some(), "the error is not visible")?;
        ground.ask("a", "reconcile").await?;
    }
    let object = ground.until_ready("a").await?;
    ensure(last(&object) == "Create/Succeeded", last(&object))?;
    // By itself as well, after the time that was asked for.
    let fail = json!({ "message": "quota", "retryAfter": "300ms" });
    scripted(&ground, "b", &json!([{ "match": { "attempts": { "to": 2 } }, "fail": fail }])).await?;
    let object = ground.until_ready("b").await?;
    ensure(record(&object).is_some_and(|record| record.attempt == 3), "it did not take three attempts")
}

async fn a_failed_shoot_rests_and_goes_on_counting_when_its_owner_retries(ground: Ground) -> Result<(), Failed> {
    let fail = json!({ "message": "no", "codes": ["ERR_INFRA_UNAUTHORIZED"], "retryAfter": "500ms" });
    scripted(&ground, "a", &json!([{ "match": { "attempts": { "to": 1 } }, "fail": fail }])).await?;
    ground.until("a", "an error", |object| last(object) == "Create/Error").await?;
    ground.write_cluster(json!({ "status": { "lastOperation": { "state": "Failed" } } })).await?;
    ground.barrier().await?;
    let before = ground.get("a").await?;
    let due = record(&before).and_then(|record| record.due);
    if last(&before) == "Create/Error" {
        // The next attempt is due, and does not come.
        ground.until("a", "the time", |_| due.is_none_or(|due| due < k8s_openapi::jiff::Timestamp::now())).await?;
        ground.unchanged("a", &before, "the Shoot is Failed").await?;
    }
    ground.write_cluster(json!({})).await?;
    let object = ground.until_ready("a").await?;
    ensure(record(&object).is_some_and(|record| record.attempt == 2), "it does not go on counting")
}

async fn a_new_request_migration_or_deletion_ends_what_is_pending(ground: Ground) -> Result<(), Failed> {
    let rules =
        json!([{ "match": { "operations": ["Create"], "attempts": { "to": 1 } }, "succeed": { "after": "1h" } }]);
    let pending = |object: &Value| last(object) == "Create/Processing" && ground.holds(object);
    for name in ["asked", "changed", "migrated", "deleted"] {
        scripted(&ground, name, &rules).await?;
        ground.until(name, "being pending", pending).await?;
    }
    ground.ask("asked", "reconcile").await?;
    ground.until_ready("asked").await?;
    ground.patch("changed", json!({ "spec": { "providerConfig": { "seed": 8 } } })).await?;
    ground.until_ready("changed").await?;
    ground.ask("migrated", "migrate").await?;
    ground.until("migrated", "being migrated", |object| readiness::check_migrated(object).is_ok()).await?;
    ground.delete("deleted").await?;
    ground.until_gone("deleted").await
}

async fn force_deletion_ignores_every_script(ground: Ground) -> Result<(), Failed> {
    scripted(&ground, "a", &json!([{ "match": { "operations": ["Delete"] }, "hang": {} }])).await?;
    ground.until_ready("a").await?;
    ground.delete("a").await?;
    let object = ground.until("a", "hanging", |object| last(object) == "Delete/Processing").await?;
    ground.unchanged("a", &object, "it hangs").await?;
    ground.force_delete_shoot().await?;
    ground.until_gone("a").await
}

async fn a_hang_lasts_and_is_written_once(ground: Ground) -> Result<(), Failed> {
    scripted(&ground, "a", &json!([{ "hang": {} }])).await?;
    let taken_up =
        |object: &Value| annotation(object, OPERATION_ANNOTATION).is_none() && last(object) == "Create/Processing";
    let object = ground.until("a", "being taken up", taken_up).await?;
    ground.unchanged("a", &object, "it hangs").await?;
    ground.has_cost("a", 0, 1 + ground.metadata_writes()).await
}

async fn health_conditions_come_on_time_and_others_stay(ground: Ground) -> Result<(), Failed> {
    let sick = |after: &str| {
        json!([{ "succeed": {}, "conditions": [{ "type": "EveryNodeReady", "status": "False", "reason": "NodesGone",
            "message": "none answers", "codes": ["ERR_INFRA_RESOURCES_DEPLETED"], "after": after }] }])
    };
    ground.create("a", json!({ "spec": { "type": "parked" } })).await?;
    let theirs = json!({ "type": "Theirs", "status": "True", "reason": "R", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z" });
    ground.patch_status("a", json!({ "conditions": [theirs] })).await?;
    let patch = json!({ "spec": { "type": ground.suite.default_type, "providerConfig": script(&sick("500ms")) } });
    ground.patch("a", patch).await?;
    let object = ground.until_ready("a").await?;
    ensure(condition(&object, "EveryNodeReady").is_null(), "too early")?;
    let object = ground.until("a", "sickness", |object| !condition(object, "EveryNodeReady").is_null()).await?;
    let sickness = condition(&object, "EveryNodeReady");
    ensure(text(&sickness, "/status") == "False" && text(&sickness, "/reason") == "NodesGone", sickness.to_string())?;
    ensure(sickness.pointer("/codes") == Some(&json!(["ERR_INFRA_RESOURCES_DEPLETED"])), sickness.to_string())?;
    ensure(condition(&object, "Theirs") == theirs, "another's condition was changed")?;
    ensure(readiness::check(&object, None).is_ok(), "a sick object is ready all the same")?;
    ground.unchanged("a", &object, "it is said once").await?;
    ground.patch("a", json!({ "spec": { "providerConfig": null } })).await?;
    let well = |object: &Value| object.pointer("/status/conditions") == Some(&json!([theirs]));
    ground.until("a", "health", well).await.map(drop)
}

async fn a_killed_process_ends_what_it_began(ground: Ground) -> Result<(), Failed> {
    let own = &ground.namespace;
    let controller = ground.controller()?;
    let rules = json!([{ "match": { "attempts": { "to": 1 } }, "fail": { "message": "m", "after": "1s", "retryAfter": "1s" } },
        { "succeed": { "after": { "uniform": { "from": "500ms", "to": "2s" } } } }]);
    let mut patch = asking("reconcile");
    json_patch_merge(&mut patch, &json!({ "spec": { "type": own, "providerConfig": script(&rules) } }));
    ground.create("a", patch).await?;
    let begun = ground.until("a", "a begin", |object| last(object) == "Create/Processing").await?;
    controller.kill().await?;
    let controller = ground.controller()?;
    ground.until("a", "an error", |object| last(object) == "Create/Error").await?;
    controller.kill().await?;
    let controller = ground.controller()?;
    let second = |object: &Value| record(object).is_some_and(|record| record.attempt == 2);
    let again = ground.until("a", "a second attempt", second).await?;
    controller.kill().await?;
    let _controller = ground.controller()?;
    let object = ground.until_ready("a").await?;
    let (begun, again, ended) = (record(&begun), record(&again), record(&object));
    let (Some(begun), Some(again), Some(ended)) = (begun, again, ended) else { return Err("no record".into()) };
    ensure(begun.attempt == 1 && ended.phase == Phase::Served, "another attempt")?;
    ensure((again.start, &again.rule) == (ended.start, &ended.rule), "drawn anew")
}

async fn a_script_file_is_read_again_and_a_bad_one_changes_nothing(ground: Ground) -> Result<(), Failed> {
    let own = &ground.namespace;
    // As the kubelet mounts a ConfigMap: the file is reached by a link that is turned around.
    let folder = ground.suite.folder().join("config-map");
    let mount = |version: usize, content: &str| -> Result<(), Failed> {
        let data = folder.join(format!("..{version}"));
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("script.yaml"), content)?;
        let link = folder.join("..new");
        std::os::unix::fs::symlink(&data, &link)?;
        std::fs::rename(&link, folder.join("..data"))?;
        Ok(())
    };
    let says = |place: &str| script(&json!([{ "fail": { "message": place, "retryAfter": "1h" } }])).to_string();
    mount(1, &says("first"))?;
    let file = folder.join("..data/script.yaml");
    let address = format!("127.0.0.1:{}", free_port()?);
    let file = file.to_str().ok_or("not UTF-8")?;
    let arguments = ["--type", own, "--script", file, "--admin-address", &address];
    let _controller = Controller::start(&ground.suite, &arguments)?;
    let said = async |name: &str| {
        let mut patch = asking("reconcile");
        json_patch_merge(&mut patch, &json!({ "spec": { "type": own } }));
        ground.create(name, patch).await?;
        let object = ground.until(name, "an error", |object| last(object) == "Create/Error").await?;
        Ok::<_, Failed>(text(&object, "/status/lastError/description").to_owned())
    };
    ensure(said("a").await? == "first", "the file is not in force")?;
    until_answered(&address, "/metrics", "\nmock_script_stale 0").await?;
    mount(2, "rules: [")?;
    until_answered(&address, "/metrics", "\nmock_script_stale 1").await?;
    ensure(said("b").await? == "first", "the last good script is not in force")?;
    let log = std::fs::read_to_string(ground.suite.log())?;
    ensure(log.contains("last good script stays in force"), "the log does not tell")?;
    mount(3, &says("third"))?;
    until_answered(&address, "/metrics", "\nmock_script_stale 0").await?;
    ensure(said("c").await? == "third", "the corrected file is not in force")
}

const DESCRIPTION: &str = "/status/lastOperation/description";

/// Creates an annotated object with a script in its providerConfig.
pub(super) async fn scripted(ground: &Ground, name: &str, rules: &Value) -> Result<(), Failed> {
    let mut patch = asking("reconcile");
    json_patch_merge(&mut patch, &json!({ "spec": { "providerConfig": script(rules) } }));
    ground.create(name, patch).await.map(drop)
}

/// Puts a script on the Shoot and waits until our watch of Clusters has seen it.
async fn annotate_shoot(ground: &Ground, script: &str) -> Result<(), Failed> {
    ground.write_cluster(json!({ "metadata": { "annotations": { SCRIPT_ANNOTATION: script } } })).await?;
    ground.barrier().await
}

fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|it| text(it, "/type") == type_).cloned().unwrap_or_default()
}

async fn events(ground: &Ground) -> Result<Vec<Event>, Failed> {
    let events = Api::<Event>::namespaced(ground.suite.client.clone(), &ground.namespace);
    Ok(events.list(&ListParams::default()).await?.items)
}

async fn until_event(ground: &Ground, name: &str, reason: &str) -> Result<Event, Failed> {
    for _ in 0..1000 {
        let is_it = |event: &Event| {
            event.reason.as_deref() == Some(reason)
                && event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(name))
        };
        if let Some(event) = events(ground).await?.into_iter().find(is_it) {
            return Ok(event);
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    Err(format!("there is no Event {reason} of {name}").into())
}
