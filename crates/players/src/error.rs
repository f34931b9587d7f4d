//! What can go wrong.

use std::fmt::Display;
use std::io;

/// Why a player cannot do its part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a request, or did not answer.
    #[error("cannot {action}: {source}")]
    Api {
        /// What was to be done.
        action: String,
        /// What the API server answered.
        source: Box<kube::Error>,
    },
    /// A kubeconfig cannot be used.
    #[error("cannot use the kubeconfig {path}: {reason}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file, a socket or a process.
    #[error("cannot {action} {subject}: {source}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file or address.
        subject: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A tool of the system is missing.
    #[error("{0} is not on the PATH; install iproute2, util-linux and coreutils")]
    MissingTool(&'static str),
    /// A tool of the system failed.
    #[error("{tool} failed: {message}")]
    Tool {
        /// The command line.
        tool: String,
        /// What it printed.
        message: String,
    },
    /// An object refers to something that does not exist, or has no usable value.
    #[error("{0}")]
    Unusable(String),
    /// No address is left for a Pod.
    #[error("all addresses of Pods are taken; use a larger --pod-net")]
    NoAddress,
}

impl Error {
    /// Makes an error of the API server.
    pub(crate) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api { action, source: Box::new(source) }
    }

    /// Makes an error of the system.
    pub(crate) fn io(action: &'static str, subject: impl Display) -> impl FnOnce(io::Error) -> Self {
        let subject = subject.to_string();
        move |source| Self::Io { action, subject, source }
    }

    /// True if the API server says that the object does not exist, or is another one by now.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Api { source, .. }
            if matches!(source.as_ref(), kube::Error::Api(status) if matches!(status.code, 404 | 409)))
    }
}
