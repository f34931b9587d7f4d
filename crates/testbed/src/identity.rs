//! How a server shows who it is: a key, and a certificate that is its own authority.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::bed::BedError;

/// A private key and its self-signed certificate.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) certificate_file: PathBuf,
    pub(crate) private_key_file: PathBuf,
}

impl Identity {
    /// Makes one for these names, in the files `<file>.crt` and `<file>.key` of the folder.
    pub(crate) fn create(folder: &Path, file: &str, names: &[&str]) -> Result<Self, BedError> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names)?;
        let write = |extension: &str, text: String| {
            let path = folder.join(format!("{file}.{extension}"));
            fs::write(&path, text).map_err(BedError::system(format_args!("write {}", path.display())))?;
            Ok::<_, BedError>(path)
        };
        Ok(Self {
            certificate_file: write("crt", made.cert.pem())?,
            private_key_file: write("key", made.signing_key.serialize_pem())?,
            certificate: made.cert,
        })
    }
}
