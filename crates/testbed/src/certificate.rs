//! Self-signed certificates for servers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::BedError;

/// A private key and its self-signed certificate, in files.
#[derive(Debug)]
pub(crate) struct Certificate {
    issued: rcgen::Certificate,
    /// The certificate, PEM. It is its own certificate authority.
    pub(crate) file: PathBuf,
    /// The private key, PEM.
    pub(crate) private_key_file: PathBuf,
}

impl Certificate {
    /// Creates a certificate for these DNS names and IP addresses, in the files `<file>.crt` and `<file>.key` of
    /// `folder`.
    pub(crate) fn create(folder: &Path, file: &str, names: &[&str]) -> Result<Self, BedError> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let created = rcgen::generate_simple_self_signed(names)
            .map_err(BedError::failed(format_args!("create the certificate {file:?}")))?;
        let write = |extension: &str, text: String| {
            let path = folder.join(format!("{file}.{extension}"));
            fs::write(&path, text).map_err(BedError::failed(format_args!("write {}", path.display())))?;
            Ok::<_, BedError>(path)
        };
        Ok(Self {
            file: write("crt", created.cert.pem())?,
            private_key_file: write("key", created.signing_key.serialize_pem())?,
            issued: created.cert,
        })
    }

    /// The certificate in PEM.
    pub(crate) fn pem(&self) -> String {
        self.issued.pem()
    }

    /// The certificate in DER.
    pub(crate) fn der(&self) -> Vec<u8> {
        self.issued.der().to_vec()
    }
}
