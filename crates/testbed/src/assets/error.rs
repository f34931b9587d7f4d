//! Errors of assets.

use std::io;
use std::path::Path;

/// Why an asset is not available. The message is one line: what is wrong, and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{problem}: {remedy}")]
pub struct AssetsError {
    problem: String,
    remedy: String,
}

impl AssetsError {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }

    /// The error for a cache folder that cannot be written, for `map_err`.
    pub(super) fn not_writable(folder: &Path) -> impl Fn(io::Error) -> Self {
        move |cause| {
            let problem = format!("cannot write the cache folder {}: {cause}", folder.display());
            Self::new(problem, "make it writable, or set XDG_CACHE_HOME to a folder that is")
        }
    }
}
