//! Pushes archives to a registry, with the first of the usual tools that is installed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::packed::Packed;
use super::platform::on_path;

/// A tool that pushes an OCI archive without changing its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Skopeo,
    Crane,
    Oras,
}

impl Tool {
    /// The first tool that is on PATH.
    pub(crate) fn find() -> Result<Self> {
        let found = [Self::Skopeo, Self::Crane, Self::Oras].into_iter().find(|tool| on_path(tool.program()));
        found.context(
            "--push needs skopeo, crane or oras on PATH: run `apt-get install skopeo`, or install one of the others",
        )
    }

    fn program(self) -> &'static str {
        match self {
            Self::Skopeo => "skopeo",
            Self::Crane => "crane",
            Self::Oras => "oras",
        }
    }

    /// Pushes an archive in `folder`. `flags` are passed to the tool, such as those for a registry without TLS.
    pub(crate) fn push(self, folder: &Path, packed: &Packed, flags: &[String]) -> Result<()> {
        let Packed { file, reference, .. } = packed;
        let unpacked = tempfile::tempdir().context("cannot create a temporary folder")?;
        let mut command = Command::new(self.program());
        // The tools read a colon in a path as the start of a tag, so pass only the name of the file.
        command.current_dir(folder);
        match self {
            // Without --all, skopeo would push only the image for this machine's platform.
            Self::Skopeo => command
                .args(["copy", "--all", "--preserve-digests"])
                .args([format!("oci-archive:{file}"), format!("docker://{reference}")]),
            // crane takes an OCI layout only as a folder.
            Self::Crane => {
                tar::Archive::new(packed.tar.as_slice()).unpack(unpacked.path())?;
                command.arg("push").arg(unpacked.path()).arg(reference.to_string())
            }
            Self::Oras => command
                .args(["cp", "--from-oci-layout"])
                .args([format!("{file}:{}", reference.tag), reference.to_string()]),
        };
        let status = command.args(flags).status().with_context(|| format!("cannot start {}", self.program()))?;
        ensure!(status.success(), "{} failed to push {reference} ({status}): see its output above", self.program());
        Ok(())
    }
}
