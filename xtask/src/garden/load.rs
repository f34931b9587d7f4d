//! `cargo xtask garden load`: many Shoots at once, and what they cost.

mod analysis;
mod figures;
mod limit;
mod path;
mod picture;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use gardener_testbed::assets::KUBERNETES_VERSION;
use gardener_testbed::usage;
use k8s_openapi::jiff::Timestamp;
use mock_fleet::cargo;
use mock_garden::load::{records, steps};
use mock_garden::{Layout, Work};
use mock_view::{Files, Machine, say};

use self::figures::Report;
use super::Args;

#[derive(clap::Args)]
pub(crate) struct Load {
    #[command(flatten)]
    args: Args,
    /// How many Shoots
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(allow_negative_numbers = true)]
    shoots: u32,
    /// How many Shoots are created in a second
    #[arg(long, value_name = "SHOOTS", default_value_t = 1.0, value_parser = rate)]
    #[arg(allow_negative_numbers = true)]
    rate: f64,
    /// File for all figures [default: garden-load.json in cargo's target folder]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// File for the picture [default: garden-load.svg in cargo's target folder]
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(super) async fn run(args: Load) -> Result<ExitCode> {
    let Load { args, shoots, rate, json, svg } = args;
    // Fail now if the results cannot be written, not after everything is measured.
    let file = |given: Option<PathBuf>, name| given.map_or_else(|| Ok(cargo::target()?.join(name)), super::absolute);
    let files = Files::open(file(json, "garden-load.json")?, file(svg, "garden-load.svg")?)?;
    let report = Report { machine: machine()?, wanted: shoots, rate, ..Report::default() };
    super::session(&args, Vec::new(), Work::Load { shoots, rate }, |layout| show(report, layout, &files)).await
}

/// Shows what was measured, also after an error or an interruption.
fn show(report: Report, layout: &Layout, files: &Files) -> Result<()> {
    let (Ok(records), Ok(told)) = (records::read(layout), steps::read(layout)) else { return Ok(()) };
    let Some(report) = report.analysed(&records, &told) else { return Ok(()) };
    say!("\n{}", table::render(&report));
    files.write(&serde_json::to_string_pretty(&report)?, &picture::render(&report)?)?;
    say!("\nThe Shoots are not deleted: they end with the garden.");
    Ok(())
}

fn machine() -> Result<Machine> {
    let (cpu, cores, memory, system) = usage::machine().context("cannot read the facts of this machine")?;
    Ok(Machine {
        date: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        cpu,
        cores,
        memory,
        system,
        kube_apiserver: KUBERNETES_VERSION.to_owned(),
        etcd: String::new(),
    })
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if (0.001..=1000.0).contains(&rate) { Ok(rate) } else { Err("it must be a number from 0.001 to 1000".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_above_zero() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for bad in ["0", "-1", "inf", "NaN", "many", "1001"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
