//! What a kind reports: fields of the status, and Secrets.

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value};

use crate::invalid::Invalid;

/// What a provider would have reported.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Fields of the status besides the shared ones, as a merge patch: null removes, absent keeps.
    pub status: Map<String, Value>,
    /// Secrets, applied before the status: gardenlet reads them right after it.
    pub secrets: Vec<Wanted>,
}

impl Outcome {
    /// Reports a field of the status.
    pub fn report(&mut self, field: &str, value: impl Into<Value>) {
        self.status.insert(field.to_owned(), value.into());
    }
}

/// A Secret of an outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The Secret.
    pub secret: Secret,
    /// Whether the Secret is left out where its namespace does not exist or is being deleted. If not, the operation
    /// fails there.
    pub needs_namespace: bool,
}

/// Namespace and name of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl SecretKey {
    /// The error of an operation that needs the Secret, which does not exist.
    #[must_use]
    pub fn missing(&self) -> Invalid {
        let Self { namespace, name } = self;
        Invalid {
            field: "spec.secretRef".to_owned(),
            problem: format!("names Secret {namespace}/{name}, which does not exist: create it"),
        }
    }
}

/// A Secret that is deleted with the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The Secret.
    pub key: SecretKey,
    /// Name and value of an annotation. The controller keeps a Secret whose annotation has another value: another object
    /// owns it. It deletes a Secret without the annotation.
    pub unless_other: Option<(&'static str, String)>,
}
