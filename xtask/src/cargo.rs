//! Runs cargo, the very one that started this program, in the root of the workspace.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::kinds::Kind;

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// A cargo command.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // `cargo run` describes this package in variables. Some build scripts, ring's among them, run again whenever one
    // of these changes: inherited, each chore would compile half of the dependencies anew.
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

/// Builds the controllers of these kinds; cargo shows its progress. Returns their programs, in the order of `kinds`.
pub(crate) fn build(kinds: &[Kind], release: bool) -> Result<Vec<(Kind, PathBuf)>> {
    let mut arguments = Vec::from_iter(release.then_some("--release"));
    // Together with this package where that is built already: by themselves they would want a few features less of what
    // both depend on, and kube would be compiled a second time for that.
    if release != cfg!(debug_assertions) {
        arguments.extend(["--package", env!("CARGO_PKG_NAME")]);
    }
    build_with(kinds, &arguments, &[])
}

/// The same with further arguments and variables for cargo.
pub(crate) fn build_with(
    kinds: &[Kind],
    arguments: &[&str],
    variables: &[(String, String)],
) -> Result<Vec<(Kind, PathBuf)>> {
    let mut command = command();
    command.args(["build", "--bins", "--message-format=json-render-diagnostics"]);
    command.args(arguments).envs(variables.iter().cloned());
    for kind in kinds {
        command.args(["--package", &kind.package()]);
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
        bail!("the controllers do not build: see above");
    }
    let program = |kind: &Kind| {
        let package = kind.package();
        let found = programs.iter().find(|(name, _)| *name == package);
        found.map(|(_, program)| (*kind, program.clone())).with_context(|| format!("{package} has no binary"))
    };
    kinds.iter().map(program).collect()
}

/// What the manifests of the workspace's packages say, as `cargo metadata` tells it.
pub(crate) fn packages() -> Result<Vec<Value>> {
    let mut command = command();
    command.args(["metadata", "--no-deps", "--format-version=1"]).stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata fails: see above");
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is no JSON")?;
    Ok(metadata.get("packages").and_then(Value::as_array).cloned().unwrap_or_default())
}
