//! The chart as an OCI artifact, as `helm push` makes it, in a tar.

use anyhow::Result;
use oci_spec::image::{ImageManifestBuilder, MediaType};

use super::labels::Labels;
use super::layout::{Layout, Reference};
use super::packed::Packed;
use crate::chart::Metadata;

/// Media type of the chart's metadata as JSON: Helm's `registry.ConfigMediaType`.
const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
/// Media type of the packed chart: Helm's `registry.ChartLayerMediaType`.
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// Puts the chart of a program, packed for Helm, into an OCI archive.
pub(crate) fn pack(
    reference: Reference,
    program: &str,
    metadata: &Metadata,
    labels: Labels,
    chart: Vec<u8>,
) -> Result<Packed> {
    let mut layout = Layout::default();
    let config = layout.add_json(CONFIG.into(), metadata)?;
    let chart = layout.add(CHART.into(), chart)?;
    let sizes = vec![config.size() + chart.size()];
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers([chart])
        .annotations(labels)
        .build()?;
    let manifest = layout.add_json(MediaType::ImageManifest, &manifest)?;
    let tar = layout.tar(&manifest, &reference, None)?;
    let file = format!("{program}-chart.tar");
    Ok(Packed { file, reference, digest: manifest.digest().to_string(), sizes, tar })
}
