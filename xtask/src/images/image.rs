//! The image of one controller. It holds one static program and nothing else.

use anyhow::{Result, bail};
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType, Os,
    PlatformBuilder, RootFsBuilder,
};

use super::labels::Labels;
use super::layout::{self, DockerImage, Layout, Reference};
use super::packed::{Packed, size};
use super::platform::Platform;
use crate::archive::{self, Entry};

/// User and group, as numbers: the image has no list of names, and Kubernetes' `runAsNonRoot` accepts only a number.
/// Distroless images have the same user and call it `nonroot`.
const USER: &str = "65532:65532";

/// Limit of the compressed size of an image, in bytes. Every node that starts a controller pulls the image.
const LIMIT: u64 = 5_000_000;

/// Packs a program that was built for these platforms: an image for each platform, and an index if there are several.
pub(crate) fn pack(
    reference: Reference,
    program: &str,
    labels: &Labels,
    builds: &[(Platform, Vec<u8>)],
) -> Result<Packed> {
    let mut layout = Layout::default();
    let mut manifests = Vec::new();
    let mut sizes = Vec::new();
    let mut docker = None;
    for (platform, executable) in builds {
        let image = add(&mut layout, program, labels, *platform, executable)?;
        let bytes = image.docker.config.size() + image.docker.layer.size();
        if bytes > LIMIT {
            let (bytes, limit) = (size(bytes), size(LIMIT));
            bail!(
                "{reference} for {platform} has {bytes} compressed, above the limit of {limit}: look for large dependencies of \
                 {program}"
            );
        }
        sizes.push(bytes);
        manifests.push(image.manifest);
        // `docker load` takes one image per name.
        docker.get_or_insert(image.docker);
    }
    let root = match <[Descriptor; 1]>::try_from(manifests) {
        Ok([manifest]) => manifest,
        Err(manifests) => {
            let index = ImageIndexBuilder::default()
                .schema_version(2_u32)
                .media_type(MediaType::ImageIndex)
                .manifests(manifests)
                .annotations(labels.clone())
                .build()?;
            layout.add_json(MediaType::ImageIndex, &index)?
        }
    };
    let tar = layout.tar(&root, &reference, docker.as_ref())?;
    Ok(Packed { file: format!("{program}.tar"), reference, digest: root.digest().to_string(), sizes, tar })
}

struct Image {
    manifest: Descriptor,
    docker: DockerImage,
}

fn add(layout: &mut Layout, program: &str, labels: &Labels, platform: Platform, executable: &[u8]) -> Result<Image> {
    let tar = archive::tar([Entry { path: program, mode: 0o755, content: executable }])?;
    let process = ConfigBuilder::default()
        .user(USER)
        .entrypoint([format!("/{program}")])
        .working_dir("/")
        .labels(labels.clone())
        .build()?;
    // No time of creation, so that the bytes depend on the source alone.
    let config = ImageConfigurationBuilder::default()
        .architecture(Arch::from(platform.architecture))
        .os(Os::Linux)
        .config(process)
        .rootfs(RootFsBuilder::default().typ("layers").diff_ids([layout::digest(&tar)?.to_string()]).build()?)
        .build()?;
    let layer = layout.add(MediaType::ImageLayerGzip, archive::gzip(&tar)?)?;
    let config = layout.add_json(MediaType::ImageConfig, &config)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config.clone())
        .layers([layer.clone()])
        .annotations(labels.clone())
        .build()?;
    let mut manifest = layout.add_json(MediaType::ImageManifest, &manifest)?;
    let platform = PlatformBuilder::default().architecture(Arch::from(platform.architecture)).os(Os::Linux).build()?;
    manifest.set_platform(Some(platform));
    Ok(Image { manifest, docker: DockerImage { config, layer } })
}
