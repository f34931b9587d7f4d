//! Sets of `CustomResourceDefinition`s in Gardener's Go module, and how they are copied into the cache.

use std::path::{Path, PathBuf};
use std::{fs, io};

use extension_contract::GARDENER_VERSION;

use super::cache::Cache;
use super::environment::{Progress, Variables};
use super::error::AssetsError;
use super::go::Go;

/// A set of `CustomResourceDefinition`s in Gardener's Go module.
pub(super) struct Crds {
    /// The name of the cache entry, without the version.
    name: &'static str,
    /// A description for messages.
    what: &'static str,
    /// Files in the module, and folders of which all `*.yaml` files are copied.
    paths: &'static [&'static str],
    /// An alternative to the download, as the end of a remedy.
    otherwise: &'static str,
}

/// The extension kinds. gardenlet applies these definitions to each seed.
pub(super) const EXTENSION_CRDS: Crds = Crds {
    name: "crds",
    what: "the CRDs of Gardener's extension kinds",
    paths: &["pkg/component/extensions/crds/assets"],
    otherwise: ", or set GARDENER_CRDS to a folder with them",
};

/// Further kinds that our manifests use.
pub(super) const FURTHER_CRDS: Crds = Crds {
    name: "further-crds",
    what: "the CRDs of Gardener's operator, of Prometheus and of the vertical pod autoscaler",
    paths: &[
        "example/operator/10-crd-operator.gardener.cloud_extensions.yaml",
        "example/operator/10-crd-monitoring.coreos.com_servicemonitors.yaml",
        "pkg/component/autoscaling/vpa/templates/crd-autoscaling.k8s.io_verticalpodautoscalers.yaml",
    ],
    otherwise: "",
};

/// The kinds that Gardener's provider-local looks for at its start.
pub(super) const PROVIDER_LOCAL_CRDS: Crds = Crds {
    name: "provider-local-crds",
    what: "the CRDs that provider-local needs",
    paths: &[
        "example/seed-crds/10-crd-autoscaling.k8s.io_verticalpodautoscalers.yaml",
        "example/seed-crds/10-crd-machine.sapcloud.io_machineclasses.yaml",
        "example/seed-crds/10-crd-machine.sapcloud.io_machinedeployments.yaml",
        "example/seed-crds/10-crd-machine.sapcloud.io_machines.yaml",
        "example/seed-crds/10-crd-machine.sapcloud.io_machinesets.yaml",
        "example/seed-crds/10-crd-monitoring.coreos.com_prometheuses.yaml",
        "example/seed-crds/10-crd-monitoring.coreos.com_prometheusrules.yaml",
        "example/seed-crds/10-crd-monitoring.coreos.com_scrapeconfigs.yaml",
        "example/seed-crds/10-crd-monitoring.coreos.com_servicemonitors.yaml",
        "example/seed-crds/10-crd-monitoring.coreos.com_alertmanagers.yaml",
        "example/seed-crds/10-crd-resources.gardener.cloud_managedresources.yaml",
    ],
    otherwise: "",
};

impl Crds {
    /// Returns the folder in the cache. Downloads the definitions if it does not exist yet.
    pub(super) fn cached(&self, variable: Variables, progress: Progress) -> Result<PathBuf, AssetsError> {
        let entry = format!("{}-{GARDENER_VERSION}", self.name);
        Cache::open(variable)?.entry(&entry, progress, |folder| self.copy(folder, progress))
    }

    fn copy(&self, folder: &Path, progress: Progress) -> Result<(), AssetsError> {
        let Self { what, otherwise, .. } = *self;
        progress(&format!("downloading Gardener {GARDENER_VERSION} for {what}, once, about 1 min"));
        let module =
            Go::new(folder, what, otherwise).download(&format!("github.com/gardener/gardener@{GARDENER_VERSION}"))?;
        let unreadable = |cause: io::Error| {
            let problem = format!("cannot read {}: {cause}", module.dir.display());
            AssetsError::new(problem, format!("make Go's module cache readable{otherwise}"))
        };
        for path in self.paths {
            let path = module.dir.join(path);
            let files = if path.is_dir() { manifests(&path).map_err(unreadable)? } else { vec![path] };
            for file in files {
                // fs::copy would also copy the read-only mode of files in the module cache.
                let text = fs::read(&file).map_err(unreadable)?;
                fs::write(folder.join(file.file_name().unwrap_or_default()), text)
                    .map_err(AssetsError::not_writable(folder))?;
            }
        }
        Ok(())
    }
}

/// Returns the `*.yaml` files of a folder, sorted.
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
