//! The bodies of our writes: pure, so that what goes over the wire can be tested without a server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::contract::{ErrorCode, LastOperation, OPERATION_ANNOTATION, OperationType, State, TIMESTAMP_ANNOTATION};
use crate::decide::{Change, Finalizer, annotation};
use crate::extension::Invalid;

/// A report about one operation.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was done.
    pub operation: OperationType,
    /// How far it got.
    pub state: State,
    /// For people.
    pub description: String,
    /// Whole seconds.
    pub time: Timestamp,
    /// What was wrong.
    pub error: Option<&'a Invalid>,
}

/// Merge patch of the status. It fails with a conflict when the object is not the one that was decided on: a late
/// writer would else put an old generation over a new one.
#[must_use]
pub fn status(meta: &ObjectMeta, report: &Report<'_>, mut fields: Map<String, Value>) -> Value {
    let last_operation = LastOperation {
        description: report.description.clone(),
        last_update_time: Time(report.time),
        progress: match report.state {
            State::Succeeded => 100,
            State::Error => 50,
            _ => 1,
        },
        state: report.state,
        operation: report.operation,
    };
    fields.insert("lastOperation".to_owned(), json!(last_operation));
    // Processing says nothing of how it ends: generation and error stay [extensions/pkg/controller/status.go].
    if report.state != State::Processing {
        let last_error = report.error.map(|error| {
            json!({
                "description": error.to_string(),
                "codes": [ErrorCode::ConfigurationProblem],
                "lastUpdateTime": Time(report.time),
            })
        });
        fields.insert("lastError".to_owned(), json!(last_error));
        fields.insert("observedGeneration".to_owned(), json!(meta.generation));
    }
    json!({ "metadata": { "resourceVersion": meta.resource_version }, "status": fields })
}

/// JSON patch of the metadata. It tests exactly the request that was acted on, so that a newer one is never erased,
/// while others' labels, annotations and finalizers cost no conflict.
#[must_use]
pub fn metadata(meta: &ObjectMeta, change: Change, finalizer: &str) -> Value {
    let mut patch = vec![json!({ "op": "test", "path": "/metadata/uid", "value": meta.uid })];
    if change.drop_operation {
        for key in [OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION] {
            if let Some(value) = annotation(meta, key) {
                patch.push(json!({ "op": "test", "path": pointer(key), "value": value }));
            }
        }
        patch.push(json!({ "op": "remove", "path": pointer(OPERATION_ANNOTATION) }));
    }
    let unchanged = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version });
    let held = meta.finalizers.as_deref().unwrap_or_default();
    match change.finalizer {
        Finalizer::Keep => {}
        // A list cannot be appended to where there is none, and a new list must not replace one of somebody else's.
        Finalizer::Add if held.is_empty() => {
            patch.push(unchanged);
            patch.push(json!({ "op": "add", "path": "/metadata/finalizers", "value": [finalizer] }));
        }
        // The test of the request keeps two processes from both appending; without one the version has to.
        Finalizer::Add if !change.drop_operation => {
            patch.push(unchanged);
            patch.push(json!({ "op": "add", "path": "/metadata/finalizers/-", "value": finalizer }));
        }
        Finalizer::Add => patch.push(json!({ "op": "add", "path": "/metadata/finalizers/-", "value": finalizer })),
        Finalizer::Remove => {
            if let Some(index) = held.iter().position(|name| name == finalizer) {
                let ours = format!("/metadata/finalizers/{index}");
                patch.push(json!({ "op": "test", "path": ours, "value": finalizer }));
                patch.push(json!({ "op": "remove", "path": ours }));
            }
        }
    }
    Value::Array(patch)
}

fn pointer(annotation: &str) -> String {
    format!("/metadata/annotations/{}", annotation.replace('~', "~0").replace('/', "~1"))
}
