//! The requests that write, as data, so that what goes over the wire can be tested without a server.

use extension_contract::{LastOperation, OPERATION_ANNOTATION, OperationType, State, TIMESTAMP_ANNOTATION, annotation};
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, TestOperation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::decide::plan::{Change, Finalizer, LastError, Report};
use crate::kind::{Leftover, Wanted};
use crate::script::Fault;

/// One request that writes. Its body is complete once the version of the object is known, which the answer to the
/// previous request returns.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Server-side apply of a Secret.
    Secret(Box<Wanted>),
    /// Deletion of a Secret. It need not exist.
    DeleteSecret(Leftover),
    /// Merge patch of the status. The API server refuses it if the object has another version than the one that was
    /// decided on: otherwise a late writer would replace a newer status.
    Status(Map<String, Value>),
    /// JSON patch of the metadata.
    Metadata(MetadataPatch),
}

/// JSON patch of the metadata. It tests the request that was acted on, so that a newer one is never erased, while other
/// writers' labels, annotations and finalizers cause no conflict.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataPatch {
    operations: Vec<PatchOperation>,
    /// Whether the patch also tests the version.
    tests_version: bool,
}

/// Body of a merge patch of the status.
#[must_use]
pub fn status_body(fields: &Map<String, Value>, version: Option<&str>) -> Value {
    json!({ "metadata": { "resourceVersion": version }, "status": fields })
}

/// Longest description in a status, in characters. An error may quote a value of any length.
const LONGEST_DESCRIPTION: usize = 8192;

/// Adds the shared fields of a report to those of the kind.
///
/// `time` is in whole seconds, `description` is the text of `lastOperation`.
pub fn put_report(
    fields: &mut Map<String, Value>,
    meta: &ObjectMeta,
    operation: OperationType,
    report: &Report,
    description: &str,
    time: Timestamp,
) {
    let last_operation = LastOperation {
        description: shortened(description),
        last_update_time: Time(time),
        progress: report.progress.map_or_else(|| usual_progress(report.state), i32::from),
        state: report.state,
        operation,
    };
    fields.insert("lastOperation".to_owned(), json!(last_operation));
    // Processing does not say how the operation ends: generation and error stay
    // (`extensions/pkg/controller/status.go`).
    if report.state != State::Processing {
        let fault = report.fault().filter(|_| report.state == State::Succeeded);
        let stale = LastError { description: "left behind on purpose by a script".to_owned(), codes: Vec::new() };
        let stale = (fault == Some(Fault::StaleLastError)).then_some(&stale);
        let error = report.error.as_ref().or(stale).map(|error| last_error(error, time));
        fields.insert("lastError".to_owned(), json!(error));
        let behind = i64::from(fault == Some(Fault::OldObservedGeneration));
        let observed = meta.generation.map(|generation| generation.saturating_sub(behind));
        fields.insert("observedGeneration".to_owned(), json!(observed));
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_DESCRIPTION) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

fn usual_progress(state: State) -> i32 {
    match state {
        State::Succeeded => 100,
        State::Error => 50,
        _ => 1,
    }
}

/// A merge patch keeps what it does not name: an error without codes has to remove the previous codes.
fn last_error(error: &LastError, time: Timestamp) -> Value {
    let codes = Some(&error.codes).filter(|codes| !codes.is_empty());
    json!({ "description": shortened(&error.description), "codes": codes, "lastUpdateTime": Time(time) })
}

impl MetadataPatch {
    /// The patch for a change of an object with this metadata.
    #[must_use]
    pub fn new(meta: &ObjectMeta, change: Change, finalizer: &str) -> Self {
        let mut operations = vec![test(["metadata", "uid"], json!(meta.uid))];
        if change.drop_operation {
            for key in [OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION] {
                operations.extend(annotation(meta, key).map(|value| test(path_of(key), json!(value))));
            }
            operations.push(remove(path_of(OPERATION_ANNOTATION)));
        }
        if change.strip_timestamp
            && let Some(value) = annotation(meta, TIMESTAMP_ANNOTATION)
        {
            operations.push(test(path_of(TIMESTAMP_ANNOTATION), json!(value)));
            operations.push(remove(path_of(TIMESTAMP_ANNOTATION)));
        }
        let held = meta.finalizers.as_deref().unwrap_or_default();
        let mut tests_version = false;
        match change.finalizer {
            Finalizer::Keep => {}
            // A patch cannot append to an absent list, and a new list must not replace one of another writer.
            Finalizer::Add if held.is_empty() => {
                tests_version = true;
                operations.push(add(["metadata", "finalizers"], json!([finalizer])));
            }
            Finalizer::Add => {
                // The test of the request keeps two processes from both appending. Without a request the version has
                // to.
                tests_version = !change.drop_operation;
                operations.push(add(["metadata", "finalizers", "-"], json!(finalizer)));
            }
            Finalizer::Remove => {
                // The API server accepts a list that names a finalizer twice. Removal starts at the end, since it moves
                // what follows.
                for (index, _) in held.iter().enumerate().rev().filter(|(_, name)| *name == finalizer) {
                    let ours = ["metadata", "finalizers", &index.to_string()];
                    operations.push(test(ours, json!(finalizer)));
                    operations.push(remove(ours));
                }
            }
        }
        Self { operations, tests_version }
    }

    /// The patch for the object at this version.
    #[must_use]
    pub fn body(&self, version: Option<&str>) -> Patch {
        let version = self.tests_version.then(|| test(["metadata", "resourceVersion"], json!(version)));
        Patch(version.into_iter().chain(self.operations.iter().cloned()).collect())
    }
}

fn path_of(annotation: &str) -> [&str; 3] {
    ["metadata", "annotations", annotation]
}

fn test<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path: PointerBuf::from_tokens(path), value })
}

fn remove<const N: usize>(path: [&str; N]) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: PointerBuf::from_tokens(path) })
}

fn add<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value })
}
