//! The flags of a controller.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// The flags that all controllers share, and those of one kind.
#[derive(Debug, Parser)]
#[command(version, about = "Reports success for extension objects of one kind and creates nothing", long_about = None)]
pub struct Args<O: clap::Args> {
    /// Kubeconfig of the seed [default: KUBECONFIG, else ~/.kube/config, else the Pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Value of spec.type to serve; may be repeated [default: the kind's mock type]
    #[arg(long = "type", value_name = "TYPE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub types: Vec<String>,
    /// How many objects to reconcile at the same time
    // All kinds share an API server. More workers do not raise the throughput of a small one, but delay its watch
    // events.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Serve only objects of this namespace
    #[arg(long)]
    pub namespace: Option<String>,
    /// Log level: error, warn, info, debug, trace, or a filter such as info,kube=debug
    // kube's own logs are off: ours name the object and the retry.
    #[arg(long, env = "RUST_LOG", default_value = "info,kube_client=off,kube_runtime=off", value_name = "FILTER")]
    pub log_level: String,
    /// Log format [default: text on a terminal, json otherwise]
    #[arg(long)]
    pub log_format: Option<LogFormat>,
    /// Script of delays and failures for objects that have no other script; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Address for /healthz, /readyz and /metrics, for example 0.0.0.0:8080 [default: none]
    #[arg(long, value_name = "IP:PORT")]
    pub admin_address: Option<SocketAddr>,
    /// Run leader election with a Lease in the Pod's namespace, so that several replicas may run
    #[arg(long)]
    pub leader_elect: bool,
    /// Renew the Lease gardener-extension-heartbeat in the Pod's namespace
    #[arg(long)]
    pub heartbeat: bool,
    /// Interval between two renewals of the heartbeat
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(requires = "heartbeat")]
    pub heartbeat_renew_interval_seconds: u16,
    /// Flags of the kind
    #[command(flatten)]
    pub kind: O,
}

/// Log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::kind::NoOptions;

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
