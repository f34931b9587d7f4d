//! `cargo xtask`: the commands of this workspace. Each is a module.
#![allow(clippy::print_stderr, reason = "a command talks to the person who started it")]

mod archive;
mod bench;
mod chart;
mod conformance;
mod demo;
mod explain;
mod fuzz;
mod garden;
mod images;
mod landscape;
mod manifests;
mod new_kind;
mod run;
mod script;
mod test;

use std::process::ExitCode;

use clap::Parser;
use gardener_testbed::causes;

/// The commands of this workspace
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
enum Xtask {
    /// Measure how fast the controllers are, compared with the limit of the API server and with other controllers
    Bench(bench::Args),
    /// Judge a controller, of any provider and in any language, by the rules of the extension contract
    Conformance(conformance::Args),
    /// Play the life of Shoots on a real API server, and watch the controllers reconcile every extension object
    Demo(demo::Args),
    Explain(explain::Args),
    /// Feed arbitrary objects to the controllers, for a bounded time
    ///
    /// Objects, Clusters and scripts are made from bytes until a controller panics, misleads its user or writes what the API
    /// server would refuse. The fuzz target is built first, with optimisation: that takes minutes the first time, and needs
    /// a C++ compiler. No nightly Rust is needed.
    Fuzz(fuzz::Args),
    /// Run a whole real Gardener on this machine, without containers
    #[command(subcommand)]
    Garden(garden::Command),
    /// Build an image of each controller, and pack the chart
    Images(images::Args),
    /// Render the manifests that register the controllers with Gardener
    Manifests(manifests::Args),
    /// Write the crate of a further kind, and register it in this workspace
    NewKind(new_kind::Args),
    /// Run the controllers in the foreground against the current kubeconfig
    Run(run::Args),
    /// Check or simulate a script of delays and failures
    #[command(subcommand)]
    Script(script::Command),
    /// Run all checks and tests
    Test(test::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Xtask::parse() {
        Xtask::Bench(args) => bench::run(&args),
        Xtask::Conformance(args) => conformance::run(&args),
        Xtask::Demo(args) => demo::run(args).await,
        Xtask::Explain(args) => explain::run(args).await,
        Xtask::Fuzz(args) => fuzz::run(&args),
        Xtask::Garden(command) => garden::run(command).await,
        Xtask::Images(args) => images::run(&args),
        Xtask::Manifests(args) => manifests::run(&args),
        Xtask::NewKind(args) => new_kind::run(&args),
        Xtask::Run(args) => run::run(args).await,
        Xtask::Script(command) => script::run(command).await,
        Xtask::Test(args) => Ok(test::run(&args)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", causes(error.as_ref()));
        ExitCode::FAILURE
    })
}
