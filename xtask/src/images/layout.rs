//! A tar that is both an OCI archive (image layout) and a `docker save` archive, with the same blobs.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, Digest, ImageIndexBuilder, MediaType, Sha256Digest};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::archive::{self, Entry};

/// The annotation in which containerd, and so kind, looks for the full name. The OCI's own annotation has the tag only.
const ANNOTATION_NAME: &str = "io.containerd.image.name";

/// The fully qualified name of an image or a chart.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// The repository with its registry, such as `docker.io/library/mock-network`.
    pub(crate) repository: String,
    pub(crate) tag: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

/// An image for `docker load`, which is always for one platform.
pub(crate) struct DockerImage {
    pub(crate) config: Descriptor,
    pub(crate) layer: Descriptor,
}

/// The blobs of an archive under construction.
#[derive(Default)]
pub(crate) struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Layout {
    /// Adds a blob.
    pub(crate) fn add(&mut self, media_type: MediaType, content: Vec<u8>) -> Result<Descriptor> {
        let descriptor = Descriptor::new(media_type, content.len().try_into()?, digest(&content)?);
        self.blobs.insert(path(&descriptor), content);
        Ok(descriptor)
    }

    /// Adds a blob with a JSON document.
    pub(crate) fn add_json(&mut self, media_type: MediaType, document: &impl Serialize) -> Result<Descriptor> {
        self.add(media_type, json(document)?)
    }

    /// Makes the archive of the image, index or artifact that `root` describes.
    pub(crate) fn tar(self, root: &Descriptor, name: &Reference, docker: Option<&DockerImage>) -> Result<Vec<u8>> {
        let annotations =
            [(ANNOTATION_NAME.to_owned(), name.to_string()), (ANNOTATION_REF_NAME.to_owned(), name.tag.clone())];
        let mut root = root.clone();
        root.set_annotations(Some(annotations.into()));
        let index = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex)
            .manifests([root])
            .build()?;

        let mut files = self.blobs;
        files.extend([("blobs/".to_owned(), Vec::new()), ("blobs/sha256/".to_owned(), Vec::new())]);
        files.insert("oci-layout".to_owned(), json(&json!({ "imageLayoutVersion": "1.0.0" }))?);
        files.insert("index.json".to_owned(), json(&index)?);
        if let Some(DockerImage { config, layer }) = docker {
            let image = json!({ "Config": path(config), "RepoTags": [name.to_string()], "Layers": [path(layer)] });
            files.insert("manifest.json".to_owned(), json(&[image])?);
        }
        archive::tar(files.iter().map(|(path, content)| {
            let mode = if path.ends_with('/') { 0o755 } else { 0o644 };
            Entry { path, mode, content }
        }))
    }
}

/// The digest of a blob or of an uncompressed layer.
pub(crate) fn digest(content: &[u8]) -> Result<Digest> {
    let hex = Sha256::digest(content).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    Ok(hex.parse::<Sha256Digest>()?.into())
}

/// Serialises with sorted keys, because annotations are in hash maps, whose order is random.
fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&serde_json::to_value(document)?)?)
}

fn path(descriptor: &Descriptor) -> String {
    format!("blobs/{}/{}", descriptor.digest().algorithm(), descriptor.digest().digest())
}
