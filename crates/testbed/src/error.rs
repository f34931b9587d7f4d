//! Errors of a test bed and of the servers in it.

use std::error::Error;
use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a test bed did not start, or could not serve a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BedError {
    /// The name of a user is already in use, or cannot be part of a file name and of an RBAC subject.
    #[error("invalid user {0:?}: use an unused name of [A-Za-z0-9-_.:@], starting with a letter or digit")]
    UserName(String),
    /// The user is not one of [`Options::users`](crate::bed::Options::users).
    #[error("the test bed has no user {0:?}: name it in Options::users")]
    NoSuchUser(String),
    /// A server exited while it was starting.
    #[error("{server} exited while it was starting ({status}); the end of its log:\n{log}")]
    Exited {
        /// The name of the server's program.
        server: &'static str,
        /// How the process exited.
        status: ExitStatus,
        /// The last lines of the server's log.
        log: String,
    },
    /// A server runs but does not become ready.
    #[error("{server} is not ready after {} s ({reason}); the end of its log:\n{log}", .after.as_secs())]
    NotReady {
        /// The name of the server's program.
        server: &'static str,
        /// How long the test bed waited.
        after: Duration,
        /// The server's last answer.
        reason: String,
        /// The last lines of the server's log.
        log: String,
    },
    /// A change that the API server accepted did not take effect.
    #[error("{what} {} s after the API server accepted it", .after.as_secs())]
    NoEffect {
        /// What has no effect, as the start of a sentence.
        what: String,
        /// How long the test bed waited.
        after: Duration,
    },
    /// An operation failed.
    #[error("cannot {doing}: {cause}")]
    Failed {
        /// What was attempted, and on which object or file.
        doing: String,
        /// Why it failed.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
}

impl BedError {
    /// Wraps the error of an operation, for `map_err`. `doing` completes the sentence "cannot ...".
    pub(crate) fn failed<E: Into<Box<dyn Error + Send + Sync>>>(doing: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |cause| Self::Failed { doing: doing.to_string(), cause: cause.into() }
    }

    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Exited { log, .. } if log.contains("address already in use"))
    }
}
