//! The benchmark: how fast the controllers are, compared with the limit of the API server and with other controllers.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a command talks to the person who started it")]

mod args;
mod contestants;
mod cost;
mod figures;
mod format;
mod load;
mod measure;
mod plot;
mod run;
mod setup;
mod standing;
mod statistics;
mod table;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, ensure};
use mock_fleet::cargo;
use mock_fleet::signals::Interrupts;
use mock_view::{Files, say};

pub use self::args::Args;
use self::setup::Setup;

/// Measures what the arguments ask for, prints the tables and writes the files.
pub async fn bench(args: Args) -> Result<ExitCode> {
    if let Some(action) = args.cost {
        return cost::run(action).await;
    }
    let contestants = contestants::all(args.assisted, &args.against)?;
    ensure!(
        cfg!(not(debug_assertions)),
        "this program was built without optimisation, so the load generator would take CPU time from what it measures: \
         run `cargo xtask bench`"
    );
    // Fail now if the results cannot be written, not after everything is measured.
    let file = |given: &Option<PathBuf>, name: &str| -> Result<PathBuf> {
        given.clone().map_or_else(|| Ok(cargo::target()?.join(name)), Ok)
    };
    let files = Files::open(file(&args.json, "bench.json")?, file(&args.svg, "bench.svg")?)?;
    let setup = Setup::new(&args)?;
    let mut interrupts = Interrupts::listen()?;
    let mut report = measure::empty_report(&setup, &contestants)?;
    let ended = tokio::select! {
        ended = measure::all(&setup, &contestants, &args, &mut report) => ended,
        () = interrupts.next() => Err(anyhow!("interrupted")),
    };
    // Also after an error or an interruption, show what was measured, unless it is the raw limit alone.
    report.load.rounds = report.contestants.iter().map(|contestant| contestant.rounds.len()).max().unwrap_or_default();
    if report.contestants.iter().skip(1).any(|contestant| !contestant.rounds.is_empty()) {
        say!("{}", table::render(&report));
        files.write(&serde_json::to_string_pretty(&report)?, &plot::render(&report)?)?;
    }
    ended.map(|()| ExitCode::SUCCESS)
}
