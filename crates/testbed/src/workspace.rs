//! The folder of the sources, which holds `deploy` and `example`.

use std::path::Path;

/// The root of the workspace that this program was built from.
#[must_use]
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}
