//! Hashes as Gardener writes them.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a text, in lower-case hexadecimal digits.
pub(super) fn sha256_hex(data: &str) -> String {
    Sha256::digest(data).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
