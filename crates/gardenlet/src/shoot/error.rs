//! Why a Shoot cannot be planned.

use std::io;
use std::path::PathBuf;

use extension_contract::GARDENER_VERSION;
use gardener_testbed::bed::BedError;
use gardener_testbed::manifests::ManifestsError;

use super::manifest::GARDEN_API_VERSION;

/// Why there is no [`Landscape`](super::Landscape).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LandscapeError {
    /// A file could not be read.
    #[error("cannot read the {kind} in {}: {source}; create the file or give --{} FILE", .file.display(), .kind.to_lowercase())]
    Read {
        /// The kind of the object in the file.
        kind: &'static str,
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file is not YAML.
    #[error(transparent)]
    Syntax(#[from] ManifestsError),
    /// A file does not contain exactly one object of the required kind.
    #[error("{}: must contain one {kind} of {GARDEN_API_VERSION}, but contains {found}", .file.display())]
    Kind {
        /// The file.
        file: PathBuf,
        /// The required kind.
        kind: &'static str,
        /// The objects in the file.
        found: String,
    },
    /// The Shoot has no namespace.
    #[error("{}: Shoot {shoot}: metadata.namespace is missing; set it to the namespace of the project, such as garden-dev", .file.display())]
    NoNamespace {
        /// The Shoot's file.
        file: PathBuf,
        /// The Shoot's name.
        shoot: String,
    },
    /// The garden refuses an object of the manifests.
    #[error("{}: {object}: gardener-apiserver {GARDENER_VERSION} refuses it: {message}{remedy}", .file.display())]
    Refused {
        /// The object's file.
        file: PathBuf,
        /// Kind and name.
        object: String,
        /// The message of the API server.
        message: String,
        /// A remedy that the message does not contain, with a separator before it, or nothing.
        remedy: &'static str,
    },
    /// The garden refuses an object that is no part of the manifests, but that they need.
    #[error("{}: cannot complete the garden with {object}, which the Shoot needs in namespace {namespace}: {message}; add one to the file, or use the namespace of a project, such as garden-dev", .file.display())]
    Incomplete {
        /// The Shoot's file.
        file: PathBuf,
        /// Kind and name.
        object: String,
        /// The Shoot's namespace.
        namespace: String,
        /// The message of the API server.
        message: String,
    },
    /// gardener-controller-manager does not merge a `NamespacedCloudProfile` with its parent.
    #[error("{}: NamespacedCloudProfile {name} is not merged with its parent after {seconds} s; check spec.parent", .file.display())]
    NotMerged {
        /// The file of the `NamespacedCloudProfile`.
        file: PathBuf,
        /// Its name.
        name: String,
        /// How long the merge was awaited.
        seconds: u64,
    },
    /// A server of the garden failed.
    #[error("cannot ask gardener-apiserver {GARDENER_VERSION}: {0}")]
    Garden(#[from] BedError),
    /// A request to the garden failed without an answer.
    #[error("cannot ask gardener-apiserver {GARDENER_VERSION}: {0}")]
    Unanswered(kube::Error),
    /// An example has changed since gardener-apiserver's answer was kept.
    #[error("the kept answer of gardener-apiserver does not belong to {}; {}", .file.display(), super::kept::REMEDY)]
    Stale {
        /// The file of the example.
        file: PathBuf,
    },
}
