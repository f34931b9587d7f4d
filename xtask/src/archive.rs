//! Archives whose bytes follow from their content alone: no time, no owner, no order of a folder.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// A file or, with a path that ends in `/`, a folder.
pub(crate) struct Entry<'a> {
    pub(crate) path: &'a str,
    /// Its permissions, such as `0o644`.
    pub(crate) mode: u32,
    pub(crate) content: &'a [u8],
}

/// A tar of these entries, in this order, all of them root's and of the beginning of Unix time.
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

/// Compresses as well as gzip can, without the time and the system that it usually tells.
pub(crate) fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    Ok(gzip.finish()?)
}
