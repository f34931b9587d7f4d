//! Why a list or a watch failed.

use std::time::Duration;

use kube::core::Status;

/// Why a list or a watch failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A request failed.
    #[error("the request failed: {0}")]
    Request(#[source] kube::Error),
    /// The API server does not have the events of our version any more.
    #[error("the API server has no events since the last one that was seen: {}", .0.message)]
    Expired(Box<Status>),
    /// The answer did not come in time.
    #[error("no answer within {0} s")]
    NoAnswer(u64),
    /// The answer has no resource version.
    #[error(
        "the answer has no resourceVersion that is a number, so it is not from an API server: check what is between"
    )]
    NoVersion,
    /// The answer is another object than the requested one.
    #[error("the answer is not the requested object, so it is not from an API server: check what is between")]
    OddAnswer,
    /// The API server has accepted a watch and ended it.
    #[error("the watch ended as soon as it began")]
    EndedAtOnce,
    /// The connection of a watch broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] kube::Error),
    /// The watch outlasted its time: its connection is dead.
    #[error("the watch was silent after its end: its connection is replaced")]
    Silent,
    /// The API server was restored from a backup.
    #[error("the API server went back from version {from} to {to}, as after a restored backup: listing again")]
    WentBack {
        /// The last version that was seen.
        from: String,
        /// The version that the API server has now.
        to: String,
    },
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 410 => Self::Expired(status),
            error => Self::Request(error),
        }
    }
}

impl Trouble {
    /// How long the API server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request(error) => crate::error::retry_after(error),
            _ => None,
        }
    }

    /// Whether the API server, or the way to it, is down for all requests.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Request(kube::Error::Api(status)) => matches!(status.code, 401 | 429 | 500..),
            Self::Request(kube::Error::SerdeError(_)) => false,
            Self::Request(_) | Self::NoAnswer(_) => true,
            _ => false,
        }
    }

    /// Whether a new list is better than a watch from the same version.
    pub(crate) fn is_about_version(&self) -> bool {
        match self {
            Self::Request(kube::Error::Api(status)) => {
                !matches!(status.code, 401 | 403 | 404 | 408 | 429 | 502 | 503 | 504)
            }
            _ => false,
        }
    }
}
