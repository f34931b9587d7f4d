//! `mock-players`: plays what a seed has below its API server.
#![allow(clippy::print_stderr, reason = "a command talks to the person who started it")]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use clap::Parser as _;

    mock_players::main(mock_players::Cli::parse()).map_or_else(
        |error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("error: cannot play a seed on this system: its Pods need the namespaces of Linux");
    ExitCode::FAILURE
}
