//! Errors of a garden.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use gardener_testbed::bed::BedError;
use gardener_testbed::manifests::ManifestsError;
use gardener_testbed::process::ProcessError;
use gardener_testbed::requests::MetricsError;
use gardener_testbed::said;

/// Why a garden cannot do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GardenError {
    /// A certificate, or another part that the test bed shares.
    #[error(transparent)]
    Bed(#[from] BedError),
    /// A program ended, or could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A manifest could not be read or applied.
    #[error(transparent)]
    Manifests(#[from] ManifestsError),
    /// The metrics of an API server could not be read.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The operating system refused an operation.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was attempted.
        doing: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// An API server refused a request, or could not be reached.
    #[error("cannot {doing}: {}", said(.source))]
    Request {
        /// What was attempted.
        doing: String,
        /// The error of the request.
        source: Box<kube::Error>,
    },
    /// A file has not the content that it should have.
    #[error("{}: {problem}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// What was awaited did not happen.
    #[error("{what} after {} s: {last}", .after.as_secs())]
    Late {
        /// What has not happened, as the start of a sentence.
        what: String,
        /// The limit of the wait.
        after: Duration,
        /// What was seen last.
        last: String,
    },
    /// Something is not as the caller demands; the text says what, and the remedy.
    #[error("{0}")]
    Unusable(String),
}

impl GardenError {
    /// The error of an operation of the operating system, for `map_err`. `doing` completes the sentence "cannot ...".
    pub(crate) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }

    /// The error of a request, for `map_err`. `doing` completes the sentence "cannot ...".
    pub(crate) fn request(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Request { doing, source: Box::new(source) }
    }
}
