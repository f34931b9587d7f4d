//! Why a controller does not start.

use std::borrow::Cow;
use std::fmt::Display;

/// Why a controller does not start: one line, printed at exit.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}: {cause}; {remedy}")]
pub struct StartError {
    attempt: String,
    cause: String,
    remedy: Cow<'static, str>,
}

impl StartError {
    /// What was attempted and what the user can do. The returned function adds the cause, for `map_err`.
    pub fn because<E: Display>(
        attempt: impl Into<String>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> impl FnOnce(E) -> Self {
        let (attempt, remedy) = (attempt.into(), remedy.into());
        move |cause| Self { attempt, cause: cause.to_string(), remedy }
    }
}
