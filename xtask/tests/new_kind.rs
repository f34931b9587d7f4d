//! `cargo xtask new-kind`: a kind of Gardener and a made-up one are added to a copy of the workspace, and keep the
//! contract.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mock_fleet::cargo;
use tempfile::TempDir;

/// The only files outside of a kind's own folder and of `deploy` that name the kind, each in one line.
const LISTS: [&str; 2] = ["crates/fleet/src/kinds.rs", "crates/fleet/Cargo.toml"];

/// A copy of the workspace and of what is compiled of it.
struct Workspace {
    folder: TempDir,
}

impl Workspace {
    fn copy() -> Self {
        let target = cargo::target().unwrap();
        let copy = Self { folder: tempfile::tempdir_in(&target).unwrap() };
        fs::create_dir_all(copy.root()).unwrap();
        for entry in fs::read_dir(cargo::root()).unwrap() {
            let path = entry.unwrap().path();
            if path != target && path.file_name() != Some(OsStr::new(".git")) {
                copy_into(&path, &copy.root());
            }
        }
        let (from, to) = (target.join("debug"), copy.target().join("debug"));
        // The compiler replaces its files. cargo writes into those by which it knows what is compiled.
        for folder in ["deps", "build"] {
            link(&from.join(folder), &to.join(folder));
        }
        copy_into(&from.join(".fingerprint"), &to);
        copy
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    fn cargo(&self, arguments: &[&str]) {
        println!("$ cargo {}", arguments.join(" "));
        let mut cargo = cargo::command();
        cargo.args(arguments).current_dir(self.root()).env("CARGO_TARGET_DIR", self.target());
        assert!(cargo.status().unwrap().success(), "cargo {} failed: see above", arguments.join(" "));
    }

    /// The lines of the lists that have this word.
    fn lines_with(&self, word: &str) -> usize {
        let text = LISTS.map(|file| fs::read_to_string(self.root().join(file)).unwrap()).concat();
        text.lines().filter(|line| line.contains(word)).count()
    }

    /// Removes a kind: its folder, and one line in each list.
    fn remove(&self, name: &str) {
        fs::remove_dir_all(self.root().join("crates").join(name)).unwrap();
        assert_eq!(self.lines_with(&format!("\"{name}\")")) + self.lines_with(&format!("../{name}\"")), 2);
        for file in LISTS.map(|file| self.root().join(file)) {
            let text = fs::read_to_string(&file).unwrap();
            let kept = text.lines().filter(|line| !line.contains(&format!("{name}\""))).map(|line| format!("{line}\n"));
            fs::write(file, kept.collect::<String>()).unwrap();
        }
    }
}

/// Copies a file or a folder into a folder, with its times, by which cargo knows what it has compiled.
fn copy_into(from: &Path, folder: &Path) {
    assert!(Command::new("cp").arg("-pR").args([from, folder]).status().unwrap().success(), "{}", from.display());
}

/// Makes a folder with the same files as another one: a copy that costs no space.
fn link(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link(&entry.path(), &to);
        } else {
            fs::hard_link(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn new_kinds_compile_are_registered_and_keep_the_contract() {
    let workspace = Workspace::copy();
    // A kind of Gardener, as if it had no controller yet.
    workspace.cargo(&["clean", "--quiet", "--package", "mock-bastion"]);
    workspace.remove("bastion");
    workspace.cargo(&["xtask", "new-kind", "Bastion", "--type", "mock"]);
    let definition = workspace.folder.path().join("thing.yaml");
    fs::write(&definition, include_str!("thing.yaml")).unwrap();
    let definition = definition.to_str().unwrap();
    workspace.cargo(&["xtask", "new-kind", "Thing", "--type", "mock", "--crd", definition, "--reader", "watches"]);
    for kind in ["bastion", "thing"] {
        assert_eq!(workspace.lines_with(&format!("mock_{kind}")) + workspace.lines_with(&format!("mock-{kind}")), 2);
        for folder in ["controllerregistrations", "extensions"] {
            let file = workspace.root().join(format!("deploy/{folder}/mock-{kind}.yaml"));
            assert!(file.is_file(), "{}", file.display());
        }
    }
    workspace.cargo(&["xtask", "manifests", "--check"]);
    workspace.cargo(&["fmt", "--all", "--check"]);
    workspace.cargo(&[
        "clippy",
        "--package",
        "mock-bastion",
        "--package",
        "mock-thing",
        "--all-targets",
        "--",
        "-Dwarnings",
    ]);
    workspace.cargo(&["test", "--package", "mock-bastion", "--package", "mock-thing"]);
}
