//! The CRDs of the extension kinds, from the test bed's cache and from this workspace.

use std::collections::BTreeMap;
use std::io;

use extension_contract::json::{get, text};
use gardener_testbed::assets::{self, AssetsError};
use gardener_testbed::manifests::{self, ManifestsError};
use gardener_testbed::workspace;
use serde_json::Value;

/// The CRDs, by kind.
#[derive(Debug)]
pub struct Crds(BTreeMap<String, Crd>);

/// A CRD, as far as objects depend on it.
#[derive(Debug)]
pub(crate) struct Crd {
    /// Whether objects have a namespace.
    pub(crate) namespaced: bool,
    /// Schema of `spec`.
    pub(crate) spec: Value,
    /// Schema of `status`.
    pub(crate) status: Value,
}

/// Why there are no CRDs.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    /// They cannot be located.
    #[error(transparent)]
    Located(#[from] AssetsError),
    /// A file is unreadable.
    #[error(transparent)]
    Read(#[from] ManifestsError),
    /// The folder is unreadable.
    #[error("cannot read the folder of the CRDs: {0}")]
    Folder(#[from] io::Error),
}

impl Crds {
    /// Reads the CRDs. If the test bed's cache lacks them, they are downloaded, which `progress` is told.
    pub fn load(progress: &dyn Fn(&str)) -> Result<Self, CrdsError> {
        let mut crds = BTreeMap::new();
        let folder = std::fs::read_dir(assets::extension_crds(progress)?)?;
        let mut files = folder.map(|file| Ok(file?.path())).collect::<io::Result<Vec<_>>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        for file in files.into_iter().chain(workspace::definitions()) {
            let definitions = manifests::read(&file)?;
            let named =
                definitions.iter().filter_map(|crd| Some((text(crd, "spec.names.kind")?.to_owned(), Crd::of(crd))));
            crds.extend(named);
        }
        Ok(Self(crds))
    }

    pub(crate) fn of(&self, kind: &str) -> Option<&Crd> {
        self.0.get(kind)
    }
}

impl Crd {
    fn of(definition: &Value) -> Self {
        let schema = |part: &str| {
            let path = format!("spec.versions[0].schema.openAPIV3Schema.properties.{part}");
            get(definition, &path).cloned().unwrap_or_default()
        };
        let namespaced = text(definition, "spec.scope") == Some("Namespaced");
        Self { namespaced, spec: schema("spec"), status: schema("status") }
    }
}
