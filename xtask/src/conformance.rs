//! `cargo xtask conformance`: builds and runs the package extension-conformance, which has the flags and their help.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Error, Result};
use mock_fleet::cargo;

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the kit; `--help` lists them
    // `--` among them is an argument of the kit too.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Replaces this process, so that a signal to it reaches the kit, and its exit code is that of the kit. The kit runs in
/// the caller's working directory.
pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    let mut command = cargo::command();
    command.args(["run", "--quiet", "--package", "extension-conformance", "--manifest-path"]);
    command.arg(cargo::root().join("Cargo.toml"));
    // Not those of clap, which drops a leading `--`.
    command.arg("--").args(env::args_os().skip(2)).current_dir(env::current_dir()?);
    Err(Error::new(command.exec()).context("cannot start cargo"))
}
