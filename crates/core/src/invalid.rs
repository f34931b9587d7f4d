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
