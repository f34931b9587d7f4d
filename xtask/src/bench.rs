//! `cargo xtask bench`: builds and runs the package mock-bench, which has the flags and their help.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Error, Result};
use mock_fleet::cargo;

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the benchmark; `--help` lists them
    // `--` among them is an argument of the benchmark too.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Replaces this process, so that a signal to it reaches the benchmark.
pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    // Not those of clap, which drops a leading `--`.
    let arguments: Vec<_> = env::args_os().skip(2).collect();
    Err(Error::new(command(&arguments)?.exec()).context("cannot start cargo"))
}

/// Runs the benchmark in the caller's working directory.
fn command(arguments: &[OsString]) -> Result<Command> {
    let mut command = cargo::command();
    command.arg("run").args(needs_optimisation(arguments).then_some("--release"));
    command.args(["--package", "mock-bench", "--manifest-path"]).arg(cargo::root().join("Cargo.toml"));
    command.arg("--").args(arguments).current_dir(env::current_dir()?);
    Ok(command)
}

/// A load generator that was built without optimisation would take CPU time from what it measures. Counting and help
/// need no optimisation, which takes minutes to build.
fn needs_optimisation(arguments: &[OsString]) -> bool {
    let own = arguments.iter().take_while(|argument| *argument != "--").filter_map(|argument| argument.to_str());
    !own.into_iter().any(|argument| matches!(argument, "--cost" | "--help" | "-h") || argument.starts_with("--cost="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_counting_and_help_run_without_optimisation() {
        let needed = |arguments: &str| {
            let arguments: Vec<_> = arguments.split_whitespace().map(OsString::from).collect();
            needs_optimisation(&arguments)
        };
        assert!(["", "--shoots 10", "--shoots 10 -- --help"].into_iter().all(needed));
        assert!(!["--help", "-h", "--cost check", "--cost=keep"].into_iter().any(needed));
    }
}
