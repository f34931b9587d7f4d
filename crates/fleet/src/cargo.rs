//! Runs cargo in the root of the workspace.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
pub use gardener_testbed::workspace::root;
use serde_json::Value;

use crate::kinds::Package;

/// A command that runs cargo in the root of the workspace: the cargo that started this program, if one did.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // `cargo run` describes the program's package in variables. Some build scripts, such as that of ring, run again
    // whenever one of them changes: if cargo inherited them, it would compile half of the dependencies anew.
    for (name, _) in env::vars_os() {
        let described = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || matches!(name, "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE")
        });
        if described {
            command.env_remove(name);
        }
    }
    command
}

/// Builds controllers, while cargo shows its progress. Returns their programs in the order of `packages`.
///
/// `caller` is the package of the running program, `env!("CARGO_PKG_NAME")`. If it was built with the same profile,
/// cargo builds it together with the controllers: then both share one set of features of each dependency, and no
/// dependency is compiled twice.
pub fn build(packages: &[Package], release: bool, caller: &str) -> Result<Vec<(Package, PathBuf)>> {
    let mut arguments = Vec::from_iter(release.then_some("--release".to_owned()));
    if release != cfg!(debug_assertions) {
        arguments.extend(["--package", caller].map(str::to_owned));
    }
    let names: Vec<_> = packages.iter().map(|package| package.full_name()).collect();
    let programs = build_named(&names, &arguments, &[])?;
    Ok(packages.iter().copied().zip(programs).collect())
}

/// Builds packages that have a binary of their own name, with these arguments and environment variables for cargo, while
/// cargo shows its progress. Returns the programs in the order of the names.
pub fn build_named(names: &[String], arguments: &[String], variables: &[(String, String)]) -> Result<Vec<PathBuf>> {
    let mut command = command();
    command.args(["build", "--bins", "--message-format=json-render-diagnostics"]);
    command.args(arguments).envs(variables.iter().cloned());
    for name in names {
        command.args(["--package", name]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut programs = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        let message: Value = serde_json::from_str(&line?).unwrap_or_default();
        let program = message.get("executable").and_then(Value::as_str);
        let name = message.pointer("/target/name").and_then(Value::as_str);
        if let (Some(name), Some(program)) = (name, program) {
            programs.push((name.to_owned(), PathBuf::from(program)));
        }
    }
    if !child.wait()?.success() {
        bail!("cannot build {}: see the errors above", names.join(", "));
    }
    let program = |name: &String| {
        let found = programs.iter().find(|(built, _)| built == name);
        found.map(|(_, program)| program.clone()).with_context(|| format!("{name} has no binary"))
    };
    names.iter().map(program).collect()
}

/// The packages of the workspace, as `cargo metadata` describes them.
pub fn packages() -> Result<Vec<Value>> {
    Ok(metadata(command())?.get("packages").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// The folder of everything that is built: `target` in the workspace, unless a variable or a configuration file of
/// cargo names another. It may not exist yet.
pub fn target() -> Result<PathBuf> {
    target_of(command())
}

fn target_of(cargo: Command) -> Result<PathBuf> {
    let metadata = metadata(cargo)?;
    let folder = metadata.get("target_directory").and_then(Value::as_str);
    folder.map(PathBuf::from).context("the output of cargo metadata has no target_directory")
}

/// The folder of cargo's downloads.
#[must_use]
pub fn home() -> PathBuf {
    let usual = || env::home_dir().unwrap_or_default().join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(usual, PathBuf::from)
}

/// What `cargo metadata` says of the workspace, without its dependencies.
fn metadata(mut cargo: Command) -> Result<Value> {
    cargo.args(["metadata", "--no-deps", "--format-version=1"]).stderr(Stdio::inherit());
    let output = cargo.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata failed: see the errors above");
    serde_json::from_slice(&output.stdout).context("cannot parse the output of cargo metadata")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_folder_may_be_anywhere() {
        let mut cargo = command();
        cargo.env("CARGO_TARGET_DIR", "/elsewhere/built");
        assert_eq!(target_of(cargo).unwrap(), PathBuf::from("/elsewhere/built"));
    }
}
