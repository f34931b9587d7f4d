//! Why a reconcile failed. It is retried with backoff.

use std::time::Duration;

use extension_contract::ErrorCode;
use kube::core::Status;

use crate::decide::plan::LastError;
use crate::invalid::Invalid;
use crate::kind::SecretKey;

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
    /// The API server does not accept a Secret of the outcome.
    #[error("the API server does not accept Secret {}/{}: {status}", key.namespace, key.name)]
    Secret {
        /// The Secret.
        key: SecretKey,
        /// The API server's answer.
        status: Box<Status>,
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

    /// What the object's status tells about a request that fails in the same way each time. Returns `None` for all other
    /// errors: the next reconcile may succeed.
    #[must_use]
    pub fn as_last_error(&self) -> Option<LastError> {
        match self {
            Self::Secret { key, status } => {
                let SecretKey { namespace, name } = key;
                let answer = &status.message;
                let description = format!(
                    "the API server does not accept Secret {namespace}/{name} ({answer}): rename the object, or allow the \
                    Secret"
                );
                // Unlike a value of the object, what refuses the Secret may change without its owner.
                Some(LastError { description, codes: vec![ErrorCode::RetryableConfigurationProblem] })
            }
            Self::Request { target: "status", source, .. } => {
                let kube::Error::Api(status) = source.as_ref() else { return None };
                is_too_large(status).then(|| LastError::from(&too_large(status)))
            }
            _ => None,
        }
    }
}

/// What is wrong with an object that is too large for the API server or etcd.
fn too_large(status: &Status) -> Invalid {
    let answer = &status.message;
    let problem = format!(
        "the object is too large with it ({answer}): shorten the script or the spec, or split the object's content"
    );
    Invalid { field: "status".to_owned(), problem }
}

/// Whether an object is too large for the API server or etcd. etcd refuses 1.5 MiB, its client in the API server 2 MiB.
/// Both are answered 500.
fn is_too_large(status: &Status) -> bool {
    let is_etcd = ["etcdserver: request is too large", "message larger than max"];
    status.code == 413 || is_etcd.iter().any(|text| status.message.contains(text))
}

/// Whether the same Secret would be refused again: it is invalid or too large, or not allowed.
#[must_use]
pub(crate) fn is_refused(status: &Status) -> bool {
    matches!(status.code, 400 | 403 | 404 | 422) || is_too_large(status)
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
