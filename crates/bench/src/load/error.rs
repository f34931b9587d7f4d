//! Why a load failed.

use std::time::Duration;

/// Why a load could not be written, or is never answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The API server refused a request of the generator.
    #[error("cannot {verb} {object}: {source}")]
    Request {
        /// The verb, such as `patch`.
        verb: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// Why the request failed.
        source: Box<kube::Error>,
    },
    /// A watch ended. Without it, the generator does not see which objects are ready.
    #[error("the watch of {kind} ended: {reason}")]
    Watch {
        /// The kind.
        kind: &'static str,
        /// Why it ended.
        reason: String,
    },
    /// No further object gets ready: gardenlet would wait for its whole timeout.
    #[error("{left} objects are not ready, and no further one got ready within {} s, such as {object}: {rule}", .after.as_secs())]
    Overdue {
        /// How many objects are not ready.
        left: usize,
        /// One of them.
        object: String,
        /// The part of gardenlet's rule that does not hold.
        rule: String,
        /// The limit of the wait.
        after: Duration,
    },
    /// A task of the generator panicked.
    #[error("a task of the load generator failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}
