//! `cargo xtask run`: the controllers in the foreground, against the current kubeconfig.

use std::io::{self, IsTerminal as _};
use std::os::fd::OwnedFd;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossterm::style::Stylize as _;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use gardener_testbed::supervisor::Supervisor;
use mock_fleet::kinds::Package;
use mock_fleet::signals::Interrupts;
use mock_fleet::{Controller, cargo};
use mock_view::say;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::timeout;

/// More time than a controller needs to end when the API server does not answer.
const GRACE: Duration = Duration::from_secs(40);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the controllers of these kinds, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = Package::parse)]
    only: Vec<Package>,
    /// Build with optimisation
    #[arg(long)]
    release: bool,
    /// Arguments for each controller, such as `-- --type local`
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let packages = Package::only(&args.only);
    let programs = cargo::build(&packages, args.release, env!("CARGO_PKG_NAME"))?;
    let width = packages.iter().map(|package| package.name.len()).max().unwrap_or_default();
    let mut arguments = args.arguments;
    // Without a flag, a controller would log JSON, because its output is a pipe. But a person reads it.
    if !arguments.iter().any(|argument| argument.starts_with("--log-format")) {
        arguments.extend(["--log-format", "text"].map(str::to_owned));
    }

    let mut interrupts = Interrupts::listen()?;
    // The controllers are in the process group of the supervisor, so Ctrl-C does not reach them. They get one signal,
    // from here.
    let supervisor = Supervisor::start().context("cannot start the supervisor of the controllers")?;
    let (stop, stopping) = watch::channel(false);
    let mut controllers = FuturesUnordered::new();
    for (package, program) in programs {
        let (reader, writer) = io::pipe().context("cannot make a pipe")?;
        let errors = writer.try_clone().context("cannot make a pipe")?;
        let controller = Controller::start_into(&supervisor, package, &program, &arguments, writer, errors)?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).context("cannot read from a pipe")?;
        controllers.push(attend(package, controller, output, width, stopping.clone()));
    }

    let mut code = ExitCode::SUCCESS;
    tokio::select! {
        () = interrupts.next() => {}
        Some((package, status)) = controllers.next() => {
            eprintln!("{} ended ({}): stopping the others", package.full_name(), text(status));
            code = ExitCode::FAILURE;
        }
    }
    stop.send_replace(true);
    let ended = async { while controllers.next().await.is_some() {} };
    tokio::select! {
        _ = timeout(GRACE, ended) => {}
        () = interrupts.next() => eprintln!("interrupted again: killing the controllers"),
    }
    supervisor.stop().await.context("cannot end the controllers")?;
    Ok(code)
}

/// Prints the output of a controller until it has ended. Stops it as soon as `stopping` becomes true.
async fn attend(
    package: Package,
    mut controller: Controller,
    output: pipe::Receiver,
    width: usize,
    mut stopping: watch::Receiver<bool>,
) -> (Package, Option<ExitStatus>) {
    let prefix = format!("{:width$} |", package.name);
    let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let prefix = if coloured { prefix.with(package.colour()).to_string() } else { prefix };
    let end = async {
        tokio::select! {
            status = controller.ended() => return status.ok(),
            // It fails if the sender was dropped, which means the same.
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        controller.stop().await.ok()
    };
    let (status, ()) = tokio::join!(end, copy(output, &prefix));
    (package, status)
}

async fn copy(from: pipe::Receiver, prefix: &str) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // Bytes instead of text: a line that is not UTF-8 must not end the copying, or the controller would block on a full
    // pipe.
    while from.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        say!("{prefix} {}", String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

fn text(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "exit status unknown".to_owned(), |status| status.to_string())
}
