//! The `CustomResourceDefinition`s that are taken from Gardener's module, as data, and how they get into the cache.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{AssetsError, GARDENER_VERSION, Progress, Variables, cache::Cache, go::Go};

/// Some of the `CustomResourceDefinition`s in Gardener's module.
pub(super) struct Crds {
    /// The name of their folder in the cache, which the version follows.
    name: &'static str,
    what: &'static str,
    /// Files, and folders all of whose manifests are meant, in Gardener's module.
    paths: &'static [&'static str],
    /// What makes getting them unnecessary, as the end of a sentence.
    otherwise: &'static str,
}

/// The extension kinds, which gardenlet applies to each seed.
pub(super) const EXTENSION_CRDS: Crds = Crds {
    name: "crds",
    what: "the CRDs of Gardener's extension kinds",
    paths: &["pkg/component/extensions/crds/assets"],
    otherwise: ", or set GARDENER_CRDS to a folder with them",
};

/// What a Gardener's clusters have besides that an extension's manifests are made of.
pub(super) const FURTHER_CRDS: Crds = Crds {
    name: "further-crds",
    what: "the CRDs of operator, monitoring and vertical pod autoscaler",
    paths: &[
        "example/operator/10-crd-operator.gardener.cloud_extensions.yaml",
        "example/operator/10-crd-monitoring.coreos.com_servicemonitors.yaml",
        "pkg/component/autoscaling/vpa/templates/crd-autoscaling.k8s.io_verticalpodautoscalers.yaml",
    ],
    otherwise: "",
};

impl Crds {
    /// The folder in the cache that holds them, filled if it is not there yet.
    pub(super) fn cached(&self, variable: Variables, progress: Progress) -> Result<PathBuf, AssetsError> {
        let entry = format!("{}-{GARDENER_VERSION}", self.name);
        Cache::open(variable)?.entry(&entry, progress, |folder| self.copy(folder, progress))
    }

    fn copy(&self, folder: &Path, progress: Progress) -> Result<(), AssetsError> {
        let Self { what, otherwise, .. } = *self;
        progress(&format!("downloading Gardener {GARDENER_VERSION} for {what}, once, about 1 min"));
        let module =
            Go::new(folder, what, otherwise).download(&format!("github.com/gardener/gardener@{GARDENER_VERSION}"))?;
        let unreadable = |error: io::Error| AssetsError::Go {
            command: "mod download".to_owned(),
            reason: format!("{}: {error}", module.dir.display()),
            otherwise,
        };
        for path in self.paths {
            let path = module.dir.join(path);
            let files = if path.is_dir() { manifests(&path).map_err(unreadable)? } else { vec![path] };
            for file in files {
                // Not fs::copy: it would also copy the module cache's read-only mode.
                let text = fs::read(&file).map_err(unreadable)?;
                fs::write(folder.join(file.file_name().unwrap_or_default()), text)
                    .map_err(|source| AssetsError::CacheNotWritable { folder: folder.to_owned(), source })?;
            }
        }
        Ok(())
    }
}

/// The `*.yaml` files of a folder, sorted.
pub(crate) fn manifests(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
