//! The places that name every kind: the list in `fleet`, and the dependency that Rust needs for it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The list of kinds, the line before its first row, and the line after its last row.
const LIST: (&str, &str, &str) = ("crates/fleet/src/kinds.rs", "pub const ALL: &[Package] = &[", "];");
/// The dependencies on kinds, which are the last of the file.
const DEPENDENCIES: &str = "crates/fleet/Cargo.toml";

/// The files that change for a kind. Cargo writes the last one.
pub(super) const FILES: [&str; 3] = [LIST.0, DEPENDENCIES, "Cargo.lock"];

/// Adds a kind to both.
pub(super) fn add(root: &Path, kind: &str) -> Result<()> {
    let name = kind.to_lowercase();
    let (file, start, end) = LIST;
    change(&root.join(file), |text| {
        let (before, list) = text.split_once(start)?;
        let (rows, after) = list.split_once(&format!("\n{end}"))?;
        Some(format!("{before}{start}{rows}\n    Package::of::<mock_{name}::{kind}>(\"{name}\"),\n{end}{after}"))
    })?;
    change(&root.join(DEPENDENCIES), |text| {
        Some(format!("{}\nmock-{name} = {{ path = \"../{name}\" }}\n", text.trim_end()))
    })
}

fn change(file: &Path, change: impl FnOnce(&str) -> Option<String>) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let changed = change(&text).with_context(|| format!("cannot find the list of kinds in {}", file.display()))?;
    fs::write(file, changed).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_one_row_and_one_dependency() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("crates/fleet/src")).unwrap();
        let list = "a\npub const ALL: &[Package] = &[\n    Package::of::<mock_a::A>(\"a\"),\n];\nb\n];\n";
        let dependencies = "[dependencies]\nmock-a = { path = \"../a\" }\n";
        fs::write(root.join(LIST.0), list).unwrap();
        fs::write(root.join(DEPENDENCIES), dependencies).unwrap();
        let read = |file| fs::read_to_string(root.join(file)).unwrap();

        add(root, "Thing").unwrap();
        assert!(read(LIST.0).contains("(\"a\"),\n    Package::of::<mock_thing::Thing>(\"thing\"),\n];\nb"));
        assert_eq!(read(DEPENDENCIES), format!("{dependencies}mock-thing = {{ path = \"../thing\" }}\n"));
    }
}
