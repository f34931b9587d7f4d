//! An unusable value, named by its field.

/// A value in an object, its Cluster or a script that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Path of the value.
    pub field: String,
    /// What is wrong with it, and what was expected.
    pub problem: String,
}

impl Invalid {
    /// The value in a document, from serde's path and its error. What serde buffers before it knows the type has no path.
    pub(crate) fn of(path: &serde_path_to_error::Path, error: &impl std::fmt::Display) -> Self {
        let path = path.to_string();
        Self { field: path.trim_end_matches(['.', '?']).to_owned(), problem: error.to_string() }
    }

    /// The same value in a document that has this one at `path`.
    pub(crate) fn within(self, path: &str) -> Self {
        let Self { field, problem } = self;
        let separator = if field.is_empty() || field.starts_with('[') { "" } else { "." };
        Self { field: format!("{path}{separator}{field}"), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_within_a_document_has_no_superfluous_separator() {
        for (field, expected) in [("", "spec"), ("a.b", "spec.a.b"), ("[0].a", "spec[0].a")] {
            let invalid = Invalid { field: field.to_owned(), problem: "p".to_owned() };
            assert_eq!(invalid.within("spec").field, expected);
        }
    }
}
