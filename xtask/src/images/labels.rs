//! Labels that describe an image and name its source, with the keys that the OCI defines.

use std::collections::HashMap;
use std::process::Command;

use anyhow::{Context as _, Result};
use mock_fleet::cargo;
use oci_spec::image::{
    ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REVISION, ANNOTATION_SOURCE, ANNOTATION_TITLE,
    ANNOTATION_VERSION,
};
use serde_json::Value;

use crate::chart;

/// Annotations. They are also the labels of an image.
pub(crate) type Labels = HashMap<String, String>;

/// The common labels of all images of a build.
pub(crate) struct Workspace {
    packages: Vec<Value>,
    /// The commit, followed by `-dirty` if a file differs; `None` outside a git repository.
    revision: Option<String>,
    /// Web page of the source; `None` if neither a manifest nor git names one.
    source: Option<String>,
}

impl Workspace {
    pub(crate) fn read() -> Result<Self> {
        let packages = cargo::packages()?;
        let repository = packages.iter().find_map(|package| text(package, "repository"));
        Ok(Self {
            packages,
            revision: git(&["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]),
            source: repository.or_else(|| url(&git(&["remote", "get-url", "origin"])?)),
        })
    }

    /// A message for each label that is missing, with the remedy.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = &'static str> {
        let revision = self
            .revision
            .is_none()
            .then_some("the images do not name their revision: build in a clone of the repository");
        let source =
            "the images do not name their source: set `repository` in Cargo.toml, or clone from a public address";
        revision.into_iter().chain(self.source.is_none().then_some(source))
    }

    /// The labels of the image of a package's program.
    pub(crate) fn image(&self, name: &str) -> Result<Labels> {
        let package = self.packages.iter().find(|package| text(package, "name").as_deref() == Some(name));
        let package = package.with_context(|| format!("the workspace has no package {name}"))?;
        Ok(self.labels(&[
            (ANNOTATION_TITLE, Some(name.to_owned())),
            (ANNOTATION_DESCRIPTION, text(package, "description")),
            (ANNOTATION_VERSION, text(package, "version")),
            (ANNOTATION_LICENSES, text(package, "license")),
        ]))
    }

    /// The annotations of the chart.
    pub(crate) fn chart(&self, chart: &chart::Metadata) -> Labels {
        let license = self.packages.iter().find_map(|package| text(package, "license"));
        self.labels(&[
            (ANNOTATION_TITLE, Some(chart.name.clone())),
            (ANNOTATION_DESCRIPTION, Some(chart.description.clone())),
            (ANNOTATION_VERSION, Some(chart.version.clone())),
            (ANNOTATION_LICENSES, license),
        ])
    }

    fn labels(&self, own: &[(&str, Option<String>)]) -> Labels {
        let common = [(ANNOTATION_REVISION, self.revision.clone()), (ANNOTATION_SOURCE, self.source.clone())];
        let all = own.iter().cloned().chain(common);
        all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn text(package: &Value, field: &str) -> Option<String> {
    package.get(field)?.as_str().map(str::to_owned)
}

/// The output of git. Returns `None` if git is missing, fails or prints nothing.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(cargo::root()).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !answer.is_empty()).then_some(answer)
}

/// The web page of a remote, without user and password. Returns `None` if the remote is a folder of this machine. The
/// page does not depend on the protocol of the clone, because the digests of images must not.
fn url(remote: &str) -> Option<String> {
    let place = match remote.split_once("://") {
        Some(("https" | "http" | "ssh" | "git", place)) => place.to_owned(),
        Some(_) => return None,
        // git@host:path
        None => remote
            .split_once(':')
            .filter(|(host, _)| host.contains('@'))
            .map(|(host, path)| format!("{host}/{path}"))?,
    };
    let (host, path) = place.split_once('/')?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    Some(format!("https://{host}/{}", path.trim_end_matches('/').trim_end_matches(".git")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_gives_the_same_page_for_each_protocol_and_no_password() {
        for remote in [
            "https://git.example/group/mock.git",
            "https://user:secret@git.example/group/mock",
            "ssh://git@git.example/group/mock.git",
            "git@git.example:group/mock.git",
        ] {
            assert_eq!(url(remote).as_deref(), Some("https://git.example/group/mock"), "{remote}");
        }
        for remote in ["/srv/git/mock.git", "file:///srv/git/mock.git", "../mock"] {
            assert_eq!(url(remote), None, "{remote}");
        }
    }
}
