//! What an image says of itself and its source, by the annotations that the OCI has names for.

use std::{collections::HashMap, process::Command};

use anyhow::{Context as _, Result};
use oci_spec::image::{
    ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REVISION, ANNOTATION_SOURCE, ANNOTATION_TITLE,
    ANNOTATION_VERSION,
};
use serde_json::Value;

use crate::{cargo, chart, kinds::Kind};

/// Annotations, which are an image's labels too.
pub(crate) type Labels = HashMap<String, String>;

/// What all images of one build have in common.
pub(crate) struct Workspace {
    packages: Vec<Value>,
    /// The commit, with `-dirty` behind it if a file differs; unknown outside of a git repository.
    revision: Option<String>,
    /// Where the source is to be had; unknown if git does not know it and no manifest names it.
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

    /// What images and chart will not say, and the remedy.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = &'static str> {
        let revision = self.revision.is_none().then_some("no revision is named: build in a clone of the repository");
        let source = "no source is named: set `repository` in Cargo.toml, or clone from where others can";
        revision.into_iter().chain(self.source.is_none().then_some(source))
    }

    /// The labels of a controller's image.
    pub(crate) fn image(&self, kind: Kind) -> Result<Labels> {
        let name = kind.package();
        let package = self.packages.iter().find(|package| text(package, "name").as_deref() == Some(&name));
        let package = package.with_context(|| format!("the workspace has no package {name}"))?;
        Ok(self.labels(&[
            (ANNOTATION_TITLE, Some(name)),
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

/// What git answers, if there is a git and it has an answer.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(cargo::root()).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !answer.is_empty()).then_some(answer)
}

/// The page of a remote that others can reach, without a user or a password; a folder of this machine is none. However
/// it was cloned, it is the same: the digest must not depend on that.
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
    fn a_remote_gives_the_same_page_however_it_was_cloned_and_no_secret() {
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
