//! Why a reconcile failed. It is retried with backoff.

use std::time::Duration;

use crate::invalid::Invalid;

/// How long one reconcile may take, including all its requests.
pub const RECONCILE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often one reconcile reads the object again after a conflict.
pub const CONFLICTS: u32 = 5;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("cannot {verb} the {target}: {source}")]
    Request {
        /// What the request does.
        verb: &'static str,
        /// What the request is about.
        target: &'static str,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The object changed before each write.
    #[error("the object changed during each of {CONFLICTS} attempts")]
    Conflicts,
    /// The Cluster disappeared since the watch showed it.
    #[error("the Cluster is gone or unreadable")]
    ClusterGone,
    /// The answer to a request is not the object that was requested.
    #[error(
        "cannot {verb} the {target}: the answer is another object, so it is not from an API server: check what is \
        between"
    )]
    OddAnswer {
        /// What the request does.
        verb: &'static str,
        /// What the request is about.
        target: &'static str,
    },
    /// The API server is too slow or unavailable.
    #[error("not done within {} s", RECONCILE_TIMEOUT.as_secs())]
    TimedOut,
}

impl Error {
    /// How long the API server asks to wait before the next attempt.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request { source, .. } => retry_after(source),
            _ => None,
        }
    }

    /// What is wrong with an object that is too large for the API server or etcd. Returns `None` for any other error.
    #[must_use]
    pub fn too_large(&self) -> Option<Invalid> {
        let Self::Request { target: "status", source, .. } = self else { return None };
        let kube::Error::Api(status) = source.as_ref() else { return None };
        // etcd refuses 1.5 MiB, its client in the API server 2 MiB. Both are answered 500.
        let is_etcd = ["etcdserver: request is too large", "message larger than max"];
        if status.code != 413 && !is_etcd.iter().any(|text| status.message.contains(text)) {
            return None;
        }
        let answer = &status.message;
        let problem = format!(
            "the object is too large with it ({answer}): shorten the script or the spec, or split the object's content"
        );
        Some(Invalid { field: "status".to_owned(), problem })
    }
}

/// Adds to an error what was requested.
pub fn failed<T>(verb: &'static str, target: &'static str, result: kube::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Request { verb, target, source: Box::new(source) })
}

/// The longest pause that an API server asks for (`k8s.io/apiserver/pkg/util/flowcontrol/dropped_requests_tracker.go`).
/// Proxies ask for an hour.
const LONGEST_RETRY_AFTER: u32 = 32;

/// How long the API server asks to wait before the next attempt.
#[must_use]
pub fn retry_after(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST_RETRY_AFTER).into()))
}
