//! What a kind reports: fields of the status, and Secrets.

use extension_contract::OperationType;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

use super::MockKind;
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
    /// The outcome of an operation that does not depend on what the kind reports. Returns `None` for all others.
    #[must_use]
    pub(crate) fn without_kind<K: MockKind>(operation: OperationType) -> Option<Self> {
        match operation {
            OperationType::Delete => Some(Self::default()),
            OperationType::Migrate => Some(Self { status: K::migrated(), secrets: Vec::new() }),
            _ => None,
        }
    }

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

/// The longest name of a Secret or namespace.
const LONGEST_NAME: usize = 253;

impl SecretKey {
    /// Namespace and name of a Secret with this metadata.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        let [namespace, name] = [&meta.namespace, &meta.name].map(|part| part.clone().unwrap_or_default());
        Self { namespace, name }
    }

    /// The error of an operation that needs the Secret, which does not exist.
    #[must_use]
    pub fn missing(&self) -> Invalid {
        let Self { namespace, name } = self;
        Invalid {
            field: "spec.secretRef".to_owned(),
            problem: format!("names Secret {namespace}/{name}, which does not exist: create it"),
        }
    }

    /// Whether an API server can have this Secret. Other names must not get into the path of a request.
    pub fn check(&self) -> Result<(), Invalid> {
        let Self { namespace, name } = self;
        let field = format!("Secret {namespace}/{name}");
        for (what, text) in [("namespace", namespace), ("name", name)] {
            let length = text.len();
            let problem = if length > LONGEST_NAME {
                format!(
                    "the {what} has {length} characters, expected at most {LONGEST_NAME}: shorten the object's name"
                )
            } else if is_subdomain(text) {
                continue;
            } else {
                format!("{text:?} is no {what}, expected lower-case letters, digits, `-` and `.`: correct it")
            };
            return Err(Invalid { field, problem });
        }
        Ok(())
    }
}

/// Whether a text has the form of a name (`k8s.io/apimachinery/pkg/util/validation`, `IsDNS1123Subdomain`).
fn is_subdomain(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.split('.')
        .all(|part| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(is_inner))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_an_api_server_accepts_are_names_of_a_secret() {
        let check = |namespace: &str, name: &str| {
            let key = SecretKey { namespace: namespace.to_owned(), name: name.to_owned() };
            key.check().map_err(|invalid| invalid.to_string())
        };
        assert_eq!(check("shoot--a--b", "osc-result-a.b-1"), Ok(()));
        for odd in ["", "A", "a/b", "../a", "a?b", "a b", "-a", "a-", "a..b", "ä", "a%2fb"] {
            assert!(check("a", odd).is_err_and(|error| error.contains("is no name")), "{odd}");
            assert!(check(odd, "a").is_err_and(|error| error.contains("is no namespace")), "{odd}");
        }
        let error = check("a", &"b".repeat(254)).unwrap_err();
        assert!(
            error.ends_with("the name has 254 characters, expected at most 253: shorten the object's name"),
            "{error}"
        );
    }
}
