//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mock_fleet::kinds::Package;

use crate::contestants::Contestant;

/// Measure how fast the controllers are, compared with the limit of the API server and with other controllers
#[derive(Debug, Parser)]
#[command(name = "mock-bench", bin_name = "cargo xtask bench")]
pub struct Args {
    /// How many Shoots, with six objects each unless --kinds says otherwise
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(allow_negative_numbers = true)]
    pub(crate) shoots: u32,
    /// Kinds to measure, separated by commas [default: infrastructure, controlplane, operatingsystemconfig, network,
    /// worker]
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = Package::parse)]
    pub(crate) kinds: Vec<Package>,
    /// Also migrate and restore
    #[arg(long)]
    pub(crate) full: bool,
    /// Request this many objects per second, even if earlier ones are not ready [default: all in a burst]
    #[arg(long, value_name = "OBJECTS", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) rate: Option<f64>,
    /// Write each Cluster this many seconds before its objects, as gardenlet does; this time is part of CPU times only
    /// [default: 0 in a burst, 1 at a rate]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) lead: Option<Duration>,
    /// How many requests of the load generator are in flight at the same time, in a burst
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(allow_negative_numbers = true)]
    pub(crate) writers: u16,
    /// How often each contestant is measured; figures are medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(allow_negative_numbers = true)]
    pub(crate) rounds: u16,
    /// Also measure our controllers assisted by admission policies
    #[arg(long)]
    pub(crate) assisted: bool,
    /// Also measure other controllers: those that a shell command runs against KUBECONFIG until it is killed; may be
    /// repeated. NAME is one word in lower case [default: the command]
    #[arg(long, value_name = "[NAME=]COMMAND", value_parser = Contestant::parse)]
    pub(crate) against: Vec<Contestant>,
    /// Also start the controllers when the objects of this many Shoots exist already. With 10000 Shoots, the API server
    /// alone takes 30 GB, or 17 GB with GOGC=40 in the environment
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(allow_negative_numbers = true)]
    pub(crate) standing: Option<u32>,
    /// Measure nothing: count the requests and bytes of each operation, which needs no clock, and compare them with the
    /// expected counts or keep them as such
    #[arg(long, exclusive = true, value_name = "ACTION")]
    pub(crate) cost: Option<Action>,
    /// File for all figures [default: bench.json in cargo's target folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// File for the picture [default: bench.svg in cargo's target folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// A further flag for kube-apiserver; may be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) apiserver_flag: Vec<String>,
    /// Arguments for each of our controllers, such as `-- --concurrency 8`
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<String>,
}

/// The use of the counted requests and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    /// Compare with the expected counts
    Check,
    /// Keep as the expected counts
    Keep,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("it must be a finite number above 0".to_owned()) }
}

/// At most an hour.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if (0.0..=3600.0).contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err("it must be a number from 0 to 3600".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn rate_must_be_above_zero() {
        assert_eq!(positive("0.5"), Ok(0.5));
        for rate in ["0", "-1", "inf", "many"] {
            assert!(positive(rate).is_err(), "{rate}");
        }
    }

    #[test]
    fn lead_must_not_exceed_an_hour() {
        assert_eq!(["0", "0.5"].map(seconds), [0, 500].map(|millis| Ok(Duration::from_millis(millis))));
        for lead in ["-1", "3601", "NaN", "inf", "many"] {
            assert!(seconds(lead).is_err(), "{lead}");
        }
    }
}
