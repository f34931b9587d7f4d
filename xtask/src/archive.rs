//! Archives whose bytes depend on their content alone, not on times, owners or the order of files in a folder.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// A file, or a folder if the path ends in `/`.
pub(crate) struct Entry<'a> {
    pub(crate) path: &'a str,
    /// The permissions, such as `0o644`.
    pub(crate) mode: u32,
    pub(crate) content: &'a [u8],
}

/// Packs these entries into a tar, in this order. All of them belong to root and have the time 0.
pub(crate) fn tar<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for Entry { path, mode, content } in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len().try_into()?);
        tar.append_data(&mut header, path, content)?;
    }
    Ok(tar.into_inner()?)
}

/// Compresses with gzip's best level. The header has neither a time nor the operating system.
pub(crate) fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    Ok(gzip.finish()?)
}
