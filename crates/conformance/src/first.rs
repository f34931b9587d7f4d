//! The first object of a run. If the controller does not serve it, no rule can hold, and each would wait until its limit.

use std::sync::Arc;

use extension_contract::{OPERATION_ANNOTATION, readiness};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::object::{annotation, excerpt, finalizers, text};
use crate::scene::Scene;
use crate::suite::Suite;

/// Waits until the controller has served a first object. Returns the condition of gardenlet's that the object does not
/// meet although the controller calls it a success: rules tell more about that. Otherwise fails with what the user can
/// do.
pub(crate) async fn object(suite: Arc<Suite>) -> Result<Option<String>, Failed> {
    let patience = suite.subject().patience;
    let scene = Scene::create(suite, "first_object").await?;
    if let Err(why) = scene.create_strictly("a").await {
        let why = why.message().unwrap_or_default();
        return Err(format!("{why}\ncorrect the first object in the file of --spec").into());
    }
    // Rules notice a missing finalizer.
    let Err(why) = scene.until_served("a", None).await else { return Ok(None) };
    let object = scene.get("a").await?;
    let unmet = match readiness::check(&object, None) {
        Err(unmet) => unmet.to_string(),
        Ok(()) => why.message().unwrap_or_default().to_owned(),
    };
    let is_success = text(&object, "/status/lastOperation/state") == "Succeeded";
    if is_success && object.pointer("/status/lastError").is_none() {
        return Ok(Some(unmet));
    }
    Err(format!(
        "the first object did not get ready within {} s: {unmet}\n{}\nthe object: {}",
        patience.as_secs(),
        remedy(&object),
        excerpt(&object)
    )
    .into())
}

/// What the user can do about a first object that does not get ready.
fn remedy(object: &Value) -> &'static str {
    let state = text(object, "/status/lastOperation/state");
    let has_error = object.pointer("/status/lastError").is_some() || matches!(state, "Error" | "Failed");
    let is_touched = !finalizers(object).is_empty() || annotation(object, OPERATION_ANNOTATION).is_none();
    if object.is_null() {
        "the object was deleted: find out by whom"
    } else if has_error {
        "the controller reports an error: give it what it needs with --spec, --cluster, --apply or --setup"
    } else if !state.is_empty() {
        "the controller is at work: give it more time with --patience"
    } else if is_touched {
        "the controller has changed the object, and reports nothing: its log may say why"
    } else {
        "the controller has not touched the object: check that it uses this API server, that it serves this type and \
         class, and that it is the leader if it elects one"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::{asking, merged};

    #[test]
    fn remedy_follows_from_what_the_controller_has_done() {
        let untouched = asking("reconcile");
        let with = |patch| merged(untouched.clone(), &patch);
        for (object, expected) in [
            (Value::Null, "was deleted"),
            (untouched.clone(), "has not touched"),
            (with(json!({ "metadata": { "finalizers": ["a"] } })), "reports nothing"),
            (with(json!({ "metadata": { "annotations": { OPERATION_ANNOTATION: null } } })), "reports nothing"),
            (with(json!({ "status": { "lastOperation": { "state": "Processing" } } })), "--patience"),
            (with(json!({ "status": { "lastOperation": { "state": "Error" } } })), "reports an error"),
            (with(json!({ "status": { "lastError": { "description": "no" } } })), "reports an error"),
        ] {
            assert!(remedy(&object).contains(expected), "{object}: {}", remedy(&object));
        }
    }
}
