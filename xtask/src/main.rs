//! `cargo xtask`: the chores of this workspace, each a subcommand with a module of its own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person who started it")]

mod archive;
// What processes use is read from /proc.
#[cfg(target_os = "linux")]
mod bench;
mod cargo;
mod chart;
mod demo;
mod images;
mod kinds;
mod manifests;
mod run;
mod script;
mod signals;
mod test;
mod words;

use std::process::ExitCode;

use clap::Parser;

/// The chores of this workspace
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
enum Xtask {
    /// Measure the controllers on a real API server, beside its own limit and beside others
    #[cfg(target_os = "linux")]
    Bench(bench::Args),
    /// Play the life of mock shoots on a real API server, and watch every extension object succeed
    Demo(demo::Args),
    /// Build an image of each controller, and pack the chart beside them
    Images(images::Args),
    /// Render what registers the controllers with Gardener
    Manifests(manifests::Args),
    /// Run the controllers in the foreground against the current kubeconfig
    Run(run::Args),
    /// Look into scripts of delays and failures
    #[command(subcommand)]
    Script(script::Command),
    /// Everything that must pass
    Test(test::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Xtask::parse() {
        #[cfg(target_os = "linux")]
        Xtask::Bench(args) => bench::run(args).await,
        Xtask::Demo(args) => demo::run(args).await,
        Xtask::Images(args) => images::run(&args),
        Xtask::Manifests(args) => manifests::run(&args),
        Xtask::Run(args) => run::run(args).await,
        Xtask::Script(command) => script::run(command),
        Xtask::Test(args) => Ok(test::run(&args)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", text(&error));
        ExitCode::FAILURE
    })
}

/// The error with its causes. Most of the test bed's errors say themselves what their cause said.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let colon = if text.is_empty() { "" } else { ": " };
            text = text + colon + &cause;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn no_cause_is_told_twice() {
        let error = anyhow!("no room").context("cannot write: no room").context("cannot start");
        assert_eq!(super::text(&error), "cannot start: cannot write: no room");
    }
}
