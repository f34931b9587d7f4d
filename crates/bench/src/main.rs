//! `mock-bench`: measures the controllers, the limit of the API server, and other controllers.
#![allow(clippy::print_stderr, reason = "a command talks to the person who started it")]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() -> ExitCode {
    use clap::Parser as _;

    mock_bench::bench(mock_bench::Args::parse()).await.unwrap_or_else(|error| {
        eprintln!("error: {}", gardener_testbed::causes(error.as_ref()));
        ExitCode::FAILURE
    })
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("error: cannot measure processes on this system: the benchmark reads /proc, which only Linux has");
    ExitCode::FAILURE
}
