//! Pushes archives to a registry, by whichever of the usual tools is there.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{Packed, platform::on_path};

/// A tool that pushes an OCI archive as it is, with the same digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Skopeo,
    Crane,
    Oras,
}

impl Tool {
    /// The first of them that is on PATH.
    pub(crate) fn find() -> Result<Self> {
        let found = [Self::Skopeo, Self::Crane, Self::Oras].into_iter().find(|tool| on_path(tool.program()));
        found.context("--push needs skopeo, crane or oras on PATH: `apt-get install skopeo`, or get one of the others")
    }

    fn program(self) -> &'static str {
        match self {
            Self::Skopeo => "skopeo",
            Self::Crane => "crane",
            Self::Oras => "oras",
        }
    }

    /// Pushes an archive of this folder; `flags` are the tool's own, such as those for a registry without TLS.
    pub(crate) fn push(self, folder: &Path, packed: &Packed, flags: &[String]) -> Result<()> {
        let Packed { file, reference, .. } = packed;
        let unpacked = tempfile::tempdir().context("cannot make a temporary folder")?;
        let mut command = Command::new(self.program());
        // The tools read a colon in a path as the beginning of a tag: no path, no colon.
        command.current_dir(folder);
        match self {
            // Without --all only the image of this machine's platform would go.
            Self::Skopeo => command
                .args(["copy", "--all", "--preserve-digests"])
                .args([format!("oci-archive:{file}"), format!("docker://{reference}")]),
            // It takes an OCI layout as a folder only.
            Self::Crane => {
                tar::Archive::new(packed.tar.as_slice()).unpack(unpacked.path())?;
                command.arg("push").arg(unpacked.path()).arg(reference.to_string())
            }
            Self::Oras => command
                .args(["cp", "--from-oci-layout"])
                .args([format!("{file}:{}", reference.tag), reference.to_string()]),
        };
        let status = command.args(flags).status().with_context(|| format!("cannot start {}", self.program()))?;
        ensure!(status.success(), "{} did not push {reference}: see above ({status})", self.program());
        Ok(())
    }
}
