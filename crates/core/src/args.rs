//! The flags of a controller.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tracing_subscriber::filter::{Directive, LevelFilter};

/// Flags that all controllers share, with those of one kind.
#[derive(Debug, Parser)]
#[command(version, about = "Succeeds extension objects of one kind and creates nothing", long_about = None)]
pub struct Args<O: clap::Args> {
    /// Kubeconfig of the seed [default: KUBECONFIG, else ~/.kube/config, else the Pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Value of spec.type that is served; may be repeated [default: the kind's mock type]
    #[arg(long = "type", value_name = "TYPE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub types: Vec<String>,
    /// How many objects are worked on at the same time
    // Five kinds share an API server. More of them keep a small one no busier, but its watches wait behind their requests.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Serve the objects of this namespace alone
    #[arg(long)]
    pub namespace: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,kube=debug
    // The libraries below say what we say better: which object, and that it is tried again.
    #[arg(long, env = "RUST_LOG", default_value = "info,kube_client=off,kube_runtime=off", value_name = "FILTER")]
    pub log_level: String,
    /// How it is logged [default: text on a terminal, json otherwise]
    #[arg(long)]
    pub log_format: Option<LogFormat>,
    /// Script of delays and failures, for objects without a script of their own; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Where /healthz, /readyz and /metrics are served, for example 0.0.0.0:8080 [default: nowhere]
    #[arg(long, value_name = "IP:PORT")]
    pub admin_address: Option<SocketAddr>,
    /// Write only while holding this controller's Lease in the Pod's namespace, so that several replicas may run
    #[arg(long)]
    pub leader_elect: bool,
    /// Renew the Lease gardener-extension-heartbeat in the Pod's namespace
    #[arg(long)]
    pub heartbeat: bool,
    /// How often the heartbeat is renewed
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(requires = "heartbeat")]
    pub heartbeat_renew_interval_seconds: u16,
    /// The kind's own flags
    #[command(flatten)]
    pub kind: O,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl<O: clap::Args> Args<O> {
    /// Sets up the log on standard error.
    pub fn init_log(&self) -> Result<(), String> {
        // A filter would take any word for the name of a target.
        let misspelt = |word: &&str| !word.contains(['=', '[', ':']) && word.parse::<LevelFilter>().is_err();
        if let Some(word) = self.log_level.split(',').map(str::trim).find(misspelt) {
            return Err(format!("--log-level {}: {word:?} is no level; try info or debug", self.log_level));
        }
        let directive: Directive = LevelFilter::INFO.into();
        let filter = tracing_subscriber::EnvFilter::builder()
            .with_default_directive(directive)
            .parse(&self.log_level)
            .map_err(|error| format!("--log-level {}: {error}; try info or debug", self.log_level))?;
        let terminal = std::io::stderr().is_terminal();
        let format = self.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
        // Told of on standard error, a failure to write to standard error would panic.
        let builder = tracing_subscriber::fmt().log_internal_errors(false);
        let builder = builder.with_env_filter(filter).with_writer(std::io::stderr);
        let result = match format {
            LogFormat::Text => builder.with_ansi(terminal).with_target(false).try_init(),
            LogFormat::Json => builder.json().flatten_event(true).with_target(false).try_init(),
        };
        result.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::extension::NoOptions;

    #[test]
    fn flags_are_consistent() {
        Args::<NoOptions>::command().debug_assert();
    }

    #[test]
    fn type_may_be_repeated() {
        let args = Args::<NoOptions>::parse_from(["mock", "--type", "local", "--type", "aws"]);
        assert_eq!(args.types, ["local", "aws"]);
    }
}
