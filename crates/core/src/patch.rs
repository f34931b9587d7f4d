//! The bodies of our writes: pure, so that what goes over the wire can be tested without a server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::behaviour::Fault;
use crate::contract::{ErrorCode, LastOperation, OPERATION_ANNOTATION, OperationType, State, TIMESTAMP_ANNOTATION};
use crate::decide::{Change, Finalizer, annotation};
use crate::extension::Invalid;

/// A report about one operation.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was done.
    pub operation: OperationType,
    /// How far it got.
    pub state: State,
    /// For people.
    pub description: String,
    /// Whole seconds.
    pub time: Timestamp,
    /// Percent; what is usual for the state, if absent.
    pub progress: Option<u8>,
    /// What was wrong.
    pub error: Option<Problem>,
    /// What is written wrongly on purpose.
    pub fault: Option<Fault>,
}

impl Report {
    /// A report without particulars.
    #[must_use]
    pub const fn new(operation: OperationType, state: State, time: Timestamp) -> Self {
        Self { operation, state, description: String::new(), time, progress: None, error: None, fault: None }
    }
}

/// What `lastError` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// For people.
    pub description: String,
    /// For Gardener.
    pub codes: Vec<ErrorCode>,
}

impl From<&Invalid> for Problem {
    fn from(invalid: &Invalid) -> Self {
        Self { description: invalid.to_string(), codes: vec![ErrorCode::ConfigurationProblem] }
    }
}

/// Merge patch of the status. It fails with a conflict when the object is not the one that was decided on: a late
/// writer would else put an old generation over a new one.
#[must_use]
pub fn status(meta: &ObjectMeta, report: &Report, mut fields: Map<String, Value>) -> Value {
    let last_operation = LastOperation {
        description: report.description.clone(),
        last_update_time: Time(report.time),
        progress: report.progress.map_or_else(|| usual_progress(report.state), i32::from),
        state: report.state,
        operation: report.operation,
    };
    fields.insert("lastOperation".to_owned(), json!(last_operation));
    // Processing says nothing of how it ends: generation and error stay [extensions/pkg/controller/status.go].
    if report.state != State::Processing {
        let stale = Problem { description: "left behind on purpose by a script".to_owned(), codes: Vec::new() };
        let stale = (report.fault == Some(Fault::StaleLastError)).then_some(&stale);
        let last_error = report.error.as_ref().or(stale).map(|error| last_error(error, report.time));
        fields.insert("lastError".to_owned(), json!(last_error));
        let behind = i64::from(report.fault == Some(Fault::OldObservedGeneration));
        let observed = meta.generation.map(|generation| generation.saturating_sub(behind));
        fields.insert("observedGeneration".to_owned(), json!(observed));
    }
    fields_only(meta, &fields)
}

/// Merge patch of fields of the status that say nothing of the operation.
#[must_use]
pub fn fields_only(meta: &ObjectMeta, fields: &Map<String, Value>) -> Value {
    json!({ "metadata": { "resourceVersion": meta.resource_version }, "status": fields })
}

fn usual_progress(state: State) -> i32 {
    match state {
        State::Succeeded => 100,
        State::Error => 50,
        _ => 1,
    }
}

/// A merge patch keeps what it does not name: an error without codes has to take away those of the one before.
fn last_error(error: &Problem, time: Timestamp) -> Value {
    let codes = Some(&error.codes).filter(|codes| !codes.is_empty());
    json!({ "description": error.description, "codes": codes, "lastUpdateTime": Time(time) })
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
    if change.strip_timestamp
        && let Some(value) = annotation(meta, TIMESTAMP_ANNOTATION)
    {
        patch.push(json!({ "op": "test", "path": pointer(TIMESTAMP_ANNOTATION), "value": value }));
        patch.push(json!({ "op": "remove", "path": pointer(TIMESTAMP_ANNOTATION) }));
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
