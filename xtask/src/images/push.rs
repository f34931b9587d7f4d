//! Pushes archives to a registry, by whichever of the usual tools is there.

use std::{fs::File, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{layout::Reference, platform::on_path};

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

    /// Pushes an archive; `flags` are the tool's own, such as those for a registry without TLS.
    pub(crate) fn push(self, archive: &Path, reference: &Reference, flags: &[String]) -> Result<()> {
        // crane takes an OCI layout only as a folder.
        let unpacked = tempfile::tempdir().context("cannot make a temporary folder")?;
        if self == Self::Crane {
            tar::Archive::new(File::open(archive)?).unpack(unpacked.path())?;
        }
        let mut command = Command::new(self.program());
        command.args(self.arguments(archive, unpacked.path(), reference)?).args(flags);
        let status = command.status().with_context(|| format!("cannot start {}", self.program()))?;
        ensure!(status.success(), "{} did not push {reference}: see above ({status})", self.program());
        Ok(())
    }

    fn arguments(self, archive: &Path, unpacked: &Path, reference: &Reference) -> Result<Vec<String>> {
        let text = |path: &Path| path.to_str().map(str::to_owned).context("the path of the archive is not UTF-8");
        let (archive, reference) = (text(archive)?, reference.to_string());
        let arguments = match self {
            // Without --all only the image of this machine's platform would go.
            Self::Skopeo => {
                let (from, to) = (format!("oci-archive:{archive}"), format!("docker://{reference}"));
                ["copy", "--all", "--preserve-digests"].map(str::to_owned).into_iter().chain([from, to]).collect()
            }
            Self::Crane => vec!["push".to_owned(), text(unpacked)?, reference],
            Self::Oras => vec!["cp".to_owned(), "--from-oci-layout".to_owned(), archive, reference],
        };
        Ok(arguments)
    }
}
