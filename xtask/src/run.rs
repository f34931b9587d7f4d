//! `cargo xtask run`: the controllers in the foreground, against the current kubeconfig.

use std::{
    io::IsTerminal as _,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use crossterm::style::Stylize as _;
use futures::{StreamExt as _, stream::FuturesUnordered};
use mock_testbed::supervisor::Supervisor;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::{
    cargo,
    kinds::{self, Kind},
    signals::Interrupts,
};

/// Longer than a controller takes to end when the API server does not answer.
const GRACE: Duration = Duration::from_secs(40);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these kinds, separated by commas
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = Kind::parse)]
    only: Vec<Kind>,
    /// Build with optimisations
    #[arg(long)]
    release: bool,
    /// Arguments for each of the controllers, such as `-- --type local`
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// A child and the kind it is for.
struct Controller {
    kind: Kind,
    child: Child,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let kinds = if args.only.is_empty() { kinds::ALL } else { &args.only };
    let programs = cargo::build(kinds, args.release)?;
    let width = kinds.iter().map(|kind| kind.name.len()).max().unwrap_or_default();

    let mut interrupts = Interrupts::listen()?;
    // The children are in its process group: of Ctrl-C they hear from here, once, and they end with this process
    // however that one ends.
    let supervisor = Supervisor::start().context("cannot start the processes that watch the controllers")?;
    let (stop, stopping) = watch::channel(false);
    let mut controllers = FuturesUnordered::new();
    for (kind, program) in programs {
        let mut command = Command::new(program);
        command.args(&args.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A pipe is no terminal, and yet a person reads this.
        if !args.arguments.iter().any(|argument| argument.starts_with("--log-format")) {
            command.args(["--log-format", "text"]);
        }
        let child = supervisor.spawn(command).with_context(|| format!("cannot start {}", kind.package()))?;
        controllers.push(attend(Controller { kind, child }, width, stopping.clone()));
    }

    let mut code = ExitCode::SUCCESS;
    tokio::select! {
        () = interrupts.next() => {}
        Some((kind, status)) = controllers.next() => {
            eprintln!("{} ended by itself ({}): ending the others", kind.package(), text(status));
            code = ExitCode::FAILURE;
        }
    }
    stop.send_replace(true);
    let ended = async { while controllers.next().await.is_some() {} };
    tokio::select! {
        _ = timeout(GRACE, ended) => {}
        () = interrupts.next() => eprintln!("interrupted again: ending the controllers at once"),
    }
    supervisor.stop().await.context("cannot end the controllers")?;
    Ok(code)
}

/// Prints what a controller says until it ended, by itself or because it is time to stop.
async fn attend(
    controller: Controller,
    width: usize,
    mut stopping: watch::Receiver<bool>,
) -> (Kind, Option<ExitStatus>) {
    let Controller { kind, mut child } = controller;
    let prefix = format!("{:width$} |", kind.name);
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let prefix = if coloured { prefix.with(kind.colour).to_string() } else { prefix };
    let output = copy(child.stdout.take(), &prefix);
    let errors = copy(child.stderr.take(), &prefix);
    let end = async {
        let stop = tokio::select! {
            status = child.wait() => return status.ok(),
            // A closed channel means the same.
            _ = stopping.wait_for(|stop| *stop) => child.id(),
        };
        if let Some(id) = stop {
            terminate(id).await;
        }
        child.wait().await.ok()
    };
    let (status, (), ()) = tokio::join!(end, output, errors);
    (kind, status)
}

async fn copy(from: Option<impl AsyncRead + Unpin>, prefix: &str) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // Bytes, since a line that is no UTF-8 must not end the copying: the controller would block on a full pipe.
    while from.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        println!("{prefix} {}", String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// Sends SIGTERM with the shell's own `kill`, which is there when no program of that name is.
async fn terminate(id: u32) {
    // If it fails, the controller is gone already or the supervisor ends it.
    let _ = Command::new("sh").args(["-c", r#"kill -s TERM "$1" 2>/dev/null"#, "sh", &id.to_string()]).status().await;
}

fn text(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "for a reason unknown".to_owned(), |status| status.to_string())
}
