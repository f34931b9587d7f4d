//! An image or a chart in an archive.

use super::layout::Reference;

/// An image or a chart in an archive.
pub(super) struct Packed {
    /// The name of the archive. It depends neither on the registry nor on the tag.
    pub(super) file: String,
    pub(super) reference: Reference,
    /// The digest of the image or chart in a registry.
    pub(super) digest: String,
    /// The compressed size of the image for each platform, in bytes.
    pub(super) sizes: Vec<u64>,
    /// The archive.
    pub(super) tar: Vec<u8>,
}

/// Formats a size in bytes as registries do: rounded up, with a factor of 1000 between units.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1_000_000 {
        return format!("{} kB", bytes.div_ceil(1_000));
    }
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
