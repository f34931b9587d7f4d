//! Reads a manifest of the garden, and reports its errors.

use std::path::{Path, PathBuf};
use std::{fs, io};

use extension_contract::json::text;
use gardener_testbed::manifests::{self, ManifestsError};
use serde_json::Value;

/// API version of Shoot, `CloudProfile` and Seed.
pub(super) const GARDEN_API_VERSION: &str = "core.gardener.cloud/v1beta1";

/// Why the manifests of a [`Landscape`](super::Landscape) are not usable.
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
    /// A field is missing or invalid.
    #[error("{}: {object}: {field} {problem}; {remedy}", .file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// Kind and name.
        object: String,
        /// The path of the field.
        field: String,
        /// What is wrong with the field.
        problem: String,
        /// The remedy.
        remedy: String,
    },
}

/// An object, and the file that it comes from.
pub(super) struct Manifest {
    pub(super) file: PathBuf,
    pub(super) object: Value,
}

impl Manifest {
    /// Reads the only object of a kind in a file. The object must have a name.
    pub(super) fn read(file: &Path, kind: &'static str) -> Result<Self, LandscapeError> {
        let content =
            fs::read_to_string(file).map_err(|source| LandscapeError::Read { kind, file: file.to_owned(), source })?;
        let objects = manifests::parse(&content, &file.display().to_string())?;
        let describe = |object: &Value| {
            let field = |path| text(object, path).unwrap_or("?").to_owned();
            format!("{} of {}", field("kind"), field("apiVersion"))
        };
        let found = if objects.is_empty() {
            "nothing".to_owned()
        } else {
            objects.iter().map(describe).collect::<Vec<_>>().join(", ")
        };
        let mut of_kind = objects.into_iter().filter(|object| {
            text(object, "kind") == Some(kind) && text(object, "apiVersion") == Some(GARDEN_API_VERSION)
        });
        match (of_kind.next(), of_kind.next()) {
            (Some(object), None) => {
                let manifest = Self { file: file.to_owned(), object };
                manifest.required(&manifest.object, "metadata.name", "", "give the object a name")?;
                Ok(manifest)
            }
            _ => Err(LandscapeError::Kind { file: file.to_owned(), kind, found }),
        }
    }

    /// Returns the string at `path` in `part`, which is the part of the object at `prefix`. A prefix ends with a dot.
    pub(super) fn required<'a>(
        &self,
        part: &'a Value,
        path: &str,
        prefix: &str,
        remedy: impl Into<String>,
    ) -> Result<&'a str, LandscapeError> {
        text(part, path).ok_or_else(|| self.error(format!("{prefix}{path}"), "is missing", remedy))
    }

    /// An error about a field of the object.
    pub(super) fn error(
        &self,
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> LandscapeError {
        let name = text(&self.object, "metadata.name").unwrap_or("without a name");
        LandscapeError::Field {
            file: self.file.clone(),
            object: format!("{} {name}", text(&self.object, "kind").unwrap_or_default()),
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
