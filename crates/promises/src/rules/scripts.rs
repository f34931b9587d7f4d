//! Scripts: which script applies, and what its rules change on the object and for gardenlet.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::{fs, io};

use extension_conformance::{LIMIT, annotation, asking, ensure, eventually, last, merged, text};
use extension_contract::readiness::{self, NotReady};
use extension_contract::{ErrorCode, OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use gardener_testbed::port;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use libtest_mimic::Failed;
use mock_core::script::SCRIPT_ANNOTATION;
use serde_json::{Value, json};

use crate::answers::{until_metric, until_status};
use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;
use crate::script::{record, script};

pub(crate) const PROMISES: &[Promise] = promises![
    error_code_shows_on_the_object_and_decides_the_state_of_the_shoot,
    provider_config_overrides_the_file,
    annotation_of_the_shoot_overrides_provider_config needs [Cluster],
    bad_script_shows_in_status_and_event_until_it_is_corrected,
    bad_script_of_the_shoot_is_named_by_its_annotation needs [Cluster],
    rules_without_match_cost_no_further_request,
    delay_shows_as_processing_with_progress_rule_and_seed,
    hang_lasts_and_is_written_once,
    changed_script_file_is_reloaded_and_a_bad_one_is_ignored,
    status_that_the_server_cannot_store_is_an_error_until_it_is_smaller,
];

const DESCRIPTION: &str = "/status/lastOperation/description";
const ERROR: &str = "/status/lastError/description";
const CODES: &str = "/status/lastError/codes";

async fn error_code_shows_on_the_object_and_decides_the_state_of_the_shoot(scene: MockScene) -> Result<(), Failed> {
    // Spelled out, so that this test finds an error in our own types (`pkg/api/core/v1beta1/helper/errors.go`).
    let not_retryable = [
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
        scene.create_scripted(&format!("c{index}"), &fail).await?;
    }
    for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
        let failed = |object: &Value| last(object) == "Create/Error" && scene.holds(object);
        let object = scene.until(&format!("c{index}"), "the error with our finalizer", failed).await?;
        ensure(object.pointer(CODES) == Some(&json!([code])), format!("{object:#}"))?;
        ensure(text(&object, ERROR) == "no luck", "another description")?;
        let Err(NotReady::LastError { codes, .. }) = readiness::check(&object, None) else {
            return Err("gardenlet would not see the error".into());
        };
        let code = json!(code);
        let expected = if not_retryable.iter().any(|other| code == *other) { "Failed" } else { "Error" };
        ensure(readiness::state_of_shoot(&codes) == expected, format!("{code} must make the Shoot {expected}"))?;
    }
    Ok(())
}

async fn provider_config_overrides_the_file(scene: MockScene) -> Result<(), Failed> {
    let own = scene.namespace();
    let says = |place: &str| json!([{ "fail": { "message": place, "retryAfter": "1h" } }]);
    let file = scene.mock().write_file("placed.yaml", &script(&says("file")))?;
    let _controller = scene.start_own(&["--script", &file])?;
    let theirs = json!({ "apiVersion": "aws.provider.extensions.gardener.cloud/v1alpha1", "kind": "Any", "rules": 1 });
    let ours = script(&says("providerConfig"));
    for (name, config, place) in
        [("none", Value::Null, "file"), ("theirs", theirs, "file"), ("ours", ours, "providerConfig")]
    {
        let spec = json!({ "spec": { "type": own, "providerConfig": config } });
        scene.create_object(name, &merged(asking("reconcile"), &spec)).await?;
        let object = until_error(&scene, name).await?;
        let said = text(&object, ERROR);
        ensure(said == place, format!("{name}: {said} applies instead of {place}"))?;
    }
    Ok(())
}

async fn annotation_of_the_shoot_overrides_provider_config(scene: MockScene) -> Result<(), Failed> {
    let says = |place: &str| json!([{ "fail": { "message": place, "retryAfter": "1h" } }]);
    scene.create_scripted("ours", &says("providerConfig")).await?;
    until_error(&scene, "ours").await?;
    annotate_shoot(&scene, &script(&says("annotation")).to_string()).await?;
    // The script applies from the first request after the controller's watch has seen it.
    let mut said = String::new();
    for _ in 0..20 {
        let asked = scene.ask("ours", "reconcile").await?;
        let timestamp = annotation(&asked, TIMESTAMP_ANNOTATION).map(str::to_owned);
        let served = |object: &Value| record(object).is_some_and(|record| record.request.timestamp == timestamp);
        let object = scene.until("ours", "an attempt", served).await?;
        text(&object, ERROR).clone_into(&mut said);
        if said == "annotation" {
            break;
        }
    }
    ensure(said == "annotation", format!("{said} applies instead of the annotation"))
}

async fn bad_script_shows_in_status_and_event_until_it_is_corrected(scene: MockScene) -> Result<(), Failed> {
    scene.create_scripted("b", &json!([{ "succeed": { "after": "soon" } }])).await?;
    let object = until_error(&scene, "b").await?;
    let description = text(&object, ERROR);
    ensure(description.starts_with("spec.providerConfig, rule 1, succeed.after: \"soon\""), description)?;
    ensure(object.pointer(CODES) == Some(&json!(["ERR_CONFIGURATION_PROBLEM"])), "wrong code")?;
    let event = until_event(&scene, "b", "ScriptInvalid", |_| true).await?;
    ensure(event.type_.as_deref() == Some("Warning"), "no Warning")?;
    ensure(event.note.is_some_and(|note| note.contains("succeed.after")), "the Event does not name the field")?;
    // The same Event counts a repetition.
    scene.ask("b", "reconcile").await?;
    until_event(&scene, "b", "ScriptInvalid", |event| event.series.is_some()).await?;
    scene.patch("b", json!({ "spec": { "providerConfig": null } })).await?;
    scene.until_ready("b").await.map(drop)
}

async fn bad_script_of_the_shoot_is_named_by_its_annotation(scene: MockScene) -> Result<(), Failed> {
    let rules = json!([{ "succeed": {} }, { "name": "quota", "fail": { "message": "m", "codes": ["ERR_QUOTA"] } }]);
    annotate_shoot(&scene, &script(&rules).to_string()).await?;
    // The controller's watch of Clusters must have seen the annotation.
    scene.barrier().await?;
    scene.create_annotated("a", "reconcile").await?;
    let object = until_error(&scene, "a").await?;
    let description = text(&object, ERROR);
    for part in [SCRIPT_ANNOTATION, "rule 2 (quota), fail.codes[0]", "ERR_QUOTA", "expected one of"] {
        ensure(description.contains(part), format!("{part} is missing in {description}"))?;
    }
    let names_the_rule = |event: &Event| event.note.as_ref().is_some_and(|note| note.contains("rule 2 (quota)"));
    until_event(&scene, "a", "ScriptInvalid", names_the_rule).await?;
    scene.write_cluster(json!({})).await?;
    scene.until_ready("a").await.map(drop)
}

async fn rules_without_match_cost_no_further_request(scene: MockScene) -> Result<(), Failed> {
    let rules = json!([{ "match": { "kinds": ["Another"] }, "hang": {} }, { "match": { "names": ["b"] }, "hang": {} }]);
    scene.create_scripted("a", &rules).await?;
    scene.until_ready("a").await?;
    scene.has_cost("a", 0, scene.fewest_writes()).await?;
    ensure(events(&scene, "a").await?.is_empty(), "there are Events")
}

async fn delay_shows_as_processing_with_progress_rule_and_seed(scene: MockScene) -> Result<(), Failed> {
    let progress = json!([{ "percent": 40, "description": "making it" }]);
    let rules = json!([{ "name": "slow", "succeed": { "after": "1s" }, "progress": progress }]);
    let mut versions = scene.follow("a").await?;
    scene.create_scripted("a", &rules).await?;
    let object = versions.until("progress", |object| text(object, DESCRIPTION).starts_with("making it")).await?;
    ensure(last(&object) == "Create/Processing", last(&object))?;
    ensure(object.pointer("/status/lastOperation/progress") == Some(&json!(40)), "progress is not 40")?;
    ensure(annotation(&object, OPERATION_ANNOTATION).is_none() && scene.holds(&object), "not taken up")?;
    ensure(readiness::check(&object, None).is_err(), "ready too early")?;
    let object = scene.until_ready("a").await?;
    let label = "[script: rule 1 (slow), attempt 1, seed 7]";
    ensure(text(&object, DESCRIPTION).ends_with(label), text(&object, DESCRIPTION))?;
    let event = until_event(&scene, "a", "ScriptRule1", |_| true).await?;
    ensure(event.note.is_some_and(|note| note.contains(label)), "the Event lacks rule, attempt and seed")?;
    scene.unchanged("a", &object, "it is done").await?;
    // The status is written for Processing, the progress and the result.
    scene.has_cost("a", 0, 3 + scene.metadata_writes() + scene.secrets("a").len()).await
}

async fn hang_lasts_and_is_written_once(scene: MockScene) -> Result<(), Failed> {
    scene.create_scripted("a", &json!([{ "hang": {} }])).await?;
    let taken_up =
        |object: &Value| annotation(object, OPERATION_ANNOTATION).is_none() && last(object) == "Create/Processing";
    let object = scene.until("a", "the hang", taken_up).await?;
    scene.unchanged("a", &object, "it hangs").await?;
    scene.has_cost("a", 0, 1 + scene.metadata_writes()).await
}

async fn changed_script_file_is_reloaded_and_a_bad_one_is_ignored(scene: MockScene) -> Result<(), Failed> {
    let folder = scene.mock().folder().join("config-map");
    let says = |place: &str| script(&json!([{ "fail": { "message": place, "retryAfter": "1h" } }])).to_string();
    mount(&folder, 1, &says("first"))?;
    let file = folder.join("..data/script.yaml");
    let file = file.to_str().ok_or("the test bed's folder is not UTF-8")?;
    let address = port::free_address()?;
    let controller = scene.start_own(&["--script", file, "--admin-address", &address.to_string()])?;
    let said = async |name: &str| {
        scene.ask_own(name, "reconcile").await?;
        let object = until_error(&scene, name).await?;
        Ok::<_, Failed>(text(&object, ERROR).to_owned())
    };
    ensure(said("a").await? == "first", "the file does not apply")?;
    until_status(address, "/healthz", 200).await?;
    until_metric(address, "mock_script_stale 0").await?;
    mount(&folder, 2, "rules: [")?;
    until_metric(address, "mock_script_stale 1").await?;
    ensure(said("b").await? == "first", "the last good script does not apply")?;
    let names_the_file = |line: &Value| text(line, "/level") == "WARN" && text(line, "/error").contains(file);
    controller.log().until("a warning that names the file", names_the_file).await?;
    mount(&folder, 3, &says("third"))?;
    until_metric(address, "mock_script_stale 0").await?;
    ensure(said("c").await? == "third", "the corrected file does not apply")
}

/// Writes a script as the kubelet mounts a `ConfigMap`: the path contains a symbolic link, which is replaced.
fn mount(folder: &Path, version: usize, content: &str) -> io::Result<()> {
    let data = folder.join(format!("..{version}"));
    fs::create_dir_all(&data)?;
    fs::write(data.join("script.yaml"), content)?;
    let link = folder.join("..new");
    symlink(&data, &link)?;
    fs::rename(&link, folder.join("..data"))
}

/// Puts a script on the Shoot.
async fn annotate_shoot(scene: &MockScene, script: &str) -> Result<(), Failed> {
    scene.write_cluster(json!({ "metadata": { "annotations": { SCRIPT_ANNOTATION: script } } })).await
}

async fn until_error(scene: &MockScene, name: &str) -> Result<Value, Failed> {
    scene.until(name, "the error", |object| last(object) == "Create/Error").await
}

/// The Events of an object. Those of cluster-scoped objects are in the namespace `default`.
async fn events(scene: &MockScene, name: &str) -> Result<Vec<Event>, Failed> {
    let namespace = if scene.suite().subject().kind.namespaced { scene.namespace() } else { "default" };
    let events = Api::<Event>::namespaced(scene.client(), namespace).list(&ListParams::default()).await?.items;
    let name = Some(scene.full_name(name));
    Ok(events.into_iter().filter(|event| event.regarding.as_ref().is_some_and(|it| it.name == name)).collect())
}

/// Waits for an Event of an object.
async fn until_event(
    scene: &MockScene,
    name: &str,
    reason: &str,
    holds: impl Fn(&Event) -> bool,
) -> Result<Event, Failed> {
    eventually(LIMIT, || async {
        let is_it = |event: &Event| event.reason.as_deref() == Some(reason) && holds(event);
        let found = events(scene, name).await?.into_iter().find(is_it);
        found.ok_or_else(|| format!("gave up waiting for the Event {reason} of {name}").into())
    })
    .await
}

async fn status_that_the_server_cannot_store_is_an_error_until_it_is_smaller(scene: MockScene) -> Result<(), Failed> {
    // etcd stores 1.5 MiB. The status has the texts of the second rule twice.
    let (large, message) = ("x".repeat(1_440_000), "x".repeat(4096));
    let condition = |index| json!({ "type": format!("T{index}"), "status": "True", "reason": "R", "message": message });
    let conditions: Vec<Value> = (0..20).map(condition).collect();
    let other = json!({ "match": { "names": [large] }, "hang": {} });
    scene.create_scripted("a", &json!([other, { "succeed": {}, "conditions": conditions }])).await?;
    let object = scene.until("a", "the error", |object| last(object) == "Create/Error").await?;
    let description = text(&object, ERROR);
    ensure(description.starts_with("status: the object is too large") && description.contains("shorten"), description)?;
    ensure(object.pointer(CODES) == Some(&json!(["ERR_CONFIGURATION_PROBLEM"])), "no error code")?;
    scene.patch("a", json!({ "spec": { "providerConfig": null } })).await?;
    scene.until_ready("a").await.map(drop)
}
