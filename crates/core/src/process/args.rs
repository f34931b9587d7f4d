//! The flags of a controller.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use extension_contract::Class;

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
    /// Class of the objects to serve: shoot, seed or garden; may be repeated [default: shoot, and seed if the kind has
    /// more classes]
    #[arg(long = "class", value_name = "CLASS", value_parser = class)]
    pub classes: Vec<Class>,
    /// How many objects to reconcile at the same time
    // All kinds share an API server. More workers do not raise the throughput of a small one, but delay its watch
    // events.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Serve only objects of this namespace
    #[arg(long, value_parser = namespace)]
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

/// Parses a class on the command line.
fn class(text: &str) -> Result<Class, String> {
    Class::parse(text).ok_or_else(|| {
        let known = Class::ALL.map(Class::as_str).join(", ");
        format!("there is no such class; use one of {known}")
    })
}

/// Log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Parses the name of a namespace. Any other text would end up in the paths of requests, and an empty one would stand for
/// all namespaces.
fn namespace(text: &str) -> Result<String, String> {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty() && text.len() <= 63 && text.trim_matches('-') == text && text.bytes().all(is_known) {
        return Ok(text.to_owned());
    }
    Err("no name of a namespace: use up to 63 lower-case letters, digits and `-`, such as shoot--dev--a".to_owned())
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
    fn namespace_that_cannot_exist_is_refused() {
        for good in ["a", "shoot--dev--a", "0"] {
            assert_eq!(namespace(good).as_deref(), Ok(good));
        }
        for bad in ["", "A", "a b", "a/b", "..", "-a", "a-", &"a".repeat(64)] {
            assert!(Args::<NoOptions>::try_parse_from(["mock", "--namespace", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn type_may_be_repeated() {
        let args = Args::<NoOptions>::parse_from(["mock", "--type", "local", "--type", "aws"]);
        assert_eq!(args.types, ["local", "aws"]);
    }
}
