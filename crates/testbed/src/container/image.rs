//! Unpacks the OCI archive of an image as a node does, and verifies the digest of each blob.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::read::GzDecoder;
use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Unpacks the image for this machine's platform to the folder `root`. Returns the image's configuration.
///
/// # Errors
/// The archive is invalid, or a file cannot be read or written.
pub(super) fn unpack(archive: &Path, root: &Path) -> io::Result<ImageConfiguration> {
    let archive = Archive::read(archive)?;
    let manifest = archive.manifest()?;
    let [layer] = manifest.layers().as_slice() else {
        return Err(invalid("it must have exactly one layer"));
    };
    if layer.media_type() != &MediaType::ImageLayerGzip {
        return Err(invalid(&format!("its layer must be gzip, but is {}", layer.media_type())));
    }
    fs::create_dir_all(root)?;
    // The image's user is not the user that unpacks it.
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    tar::Archive::new(GzDecoder::new(archive.blob(layer)?)).unpack(root)?;
    archive.document(manifest.config())
}

/// The content of an archive's files, by path.
struct Archive(BTreeMap<String, Vec<u8>>);

impl Archive {
    fn read(path: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for file in tar::Archive::new(File::open(path)?).entries()? {
            let mut file = file?;
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            files.insert(file.path()?.display().to_string(), content);
        }
        Ok(Self(files))
    }

    fn file(&self, path: &str) -> io::Result<&[u8]> {
        self.0.get(path).map(Vec::as_slice).ok_or_else(|| invalid(&format!("it contains no {path}")))
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<&[u8]> {
        let digest = descriptor.digest();
        let content = self.file(&format!("blobs/sha256/{}", digest.digest()))?;
        let actual =
            Sha256::digest(content).iter().fold("sha256:".to_owned(), |hex, byte| hex + &format!("{byte:02x}"));
        if actual == digest.as_ref() {
            Ok(content)
        } else {
            Err(invalid(&format!("the blob {digest} has the digest {actual}")))
        }
    }

    fn document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> io::Result<T> {
        Ok(serde_json::from_slice(self.blob(descriptor)?)?)
    }

    /// Returns the manifest for this machine's platform. An index lists several platforms.
    fn manifest(&self) -> io::Result<ImageManifest> {
        let index: ImageIndex = serde_json::from_slice(self.file("index.json")?)?;
        let [root] = index.manifests().as_slice() else {
            return Err(invalid("it must contain exactly one image"));
        };
        if root.media_type() != &MediaType::ImageIndex {
            return self.document(root);
        }
        let architecture = Arch::default();
        let platforms: ImageIndex = self.document(root)?;
        let fits = |manifest: &&Descriptor| {
            manifest.platform().as_ref().is_some_and(|platform| platform.architecture() == &architecture)
        };
        let manifest = platforms.manifests().iter().find(fits);
        self.document(manifest.ok_or_else(|| invalid(&format!("it contains no image for {architecture}")))?)
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
