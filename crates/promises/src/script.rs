//! Scripts for tests, and the bookkeeping of scripts in a status.

use extension_conformance::{asking, merged, text};
use libtest_mimic::Failed;
use mock_core::script::{MOCK_API_VERSION, MOCK_SCRIPT, Record};
use serde_json::{Value, json};

use crate::scene::MockScene;

/// A script with these rules and a seed.
#[must_use]
pub fn script(rules: &Value) -> Value {
    json!({ "apiVersion": MOCK_API_VERSION, "kind": "Script", "seed": 7, "rules": rules })
}

/// Rules of a script: an ordinary deletion never ends.
pub(crate) fn endless_deletion() -> Value {
    json!([{ "match": { "operations": ["Delete"] }, "hang": {} }])
}

/// The bookkeeping in an object's status. `None` if no script applies.
#[must_use]
pub fn record(object: &Value) -> Option<Record> {
    Record::find(object.pointer("/status/conditions")?.as_array()?)
}

impl MockScene {
    /// Ends the running attempt of an object `a`: instead of waiting, moves its due time into the past. The state is in the
    /// object.
    pub(crate) async fn end_attempt(&self, object: &Value, record: &Record) -> Result<(), Failed> {
        let mut conditions = object.pointer("/status/conditions").cloned().unwrap_or_default();
        for condition in conditions.as_array_mut().into_iter().flatten().filter(|it| text(it, "/type") == MOCK_SCRIPT) {
            let past = Record { due: Some(record.start), ..record.clone() };
            *condition = merged(condition.take(), &json!({ "message": json!(past).to_string() }));
        }
        self.patch_status("a", json!({ "conditions": conditions })).await.map(drop)
    }

    /// Creates an annotated object with a script in its providerConfig.
    pub(crate) async fn create_scripted(&self, name: &str, rules: &Value) -> Result<(), Failed> {
        let patch = merged(asking("reconcile"), &json!({ "spec": { "providerConfig": script(rules) } }));
        self.create_object(name, &patch).await.map(drop)
    }
}
