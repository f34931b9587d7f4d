//! Why a controller does not start.

use std::fmt::Display;

/// Why a controller does not start: one line, printed at exit.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}: {cause}; {remedy}")]
pub struct StartError {
    attempt: String,
    cause: String,
    remedy: &'static str,
}

impl StartError {
    /// What was attempted and what the user can do. The returned function adds the cause, for `map_err`.
    pub fn because<E: Display>(attempt: impl Into<String>, remedy: &'static str) -> impl FnOnce(E) -> Self {
        let attempt = attempt.into();
        move |cause| Self { attempt, cause: cause.to_string(), remedy }
    }
}
