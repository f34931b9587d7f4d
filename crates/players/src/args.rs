//! The flags of `mock-players`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use ipnet::Ipv4Net;
use tracing_subscriber::EnvFilter;

/// Plays what a seed has below its API server
#[derive(Debug, Parser)]
#[command(name = "mock-players", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play the kubelets, Services, DNS, volumes, load balancers and operators of a seed, until SIGTERM
    Seed(Box<SeedArgs>),
    /// Hold the namespaces of one Pod; `seed` starts this
    #[command(hide = true)]
    Pause,
}

/// The flags of `mock-players seed`.
#[derive(Debug, Clone, clap::Args)]
pub struct SeedArgs {
    /// Kubeconfig of the seed's API server; its user needs all permissions
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// Folder for the roots of Pods, the data of PersistentVolumes and the logs of containers
    #[arg(long, value_name = "FOLDER")]
    pub root: PathBuf,
    /// Folder for the backups of etcds; seeds that share it can restore each other's [default: `backups` below --root]
    #[arg(long, value_name = "FOLDER")]
    pub backups: Option<PathBuf>,
    /// Folder of static programs: each container with the name of a program here really runs
    #[arg(long, value_name = "FOLDER")]
    pub bin: PathBuf,
    /// Number of nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=200))]
    pub nodes: u8,
    /// Zone of the nodes, in turn; may be repeated
    #[arg(long = "zone", default_value = "nowhere-a")]
    pub zones: Vec<String>,
    /// Region of the nodes
    #[arg(long, default_value = "nowhere")]
    pub region: String,
    /// Version that the kubelets report
    #[arg(long, default_value = "v1.36.3")]
    pub version: String,
    /// Network of the Pods; programs run in its lower half
    #[arg(long, value_name = "CIDR", default_value = "10.243.0.0/16", value_parser = wide)]
    pub pod_net: Ipv4Net,
    /// Network of the Services
    #[arg(long, value_name = "CIDR", default_value = "10.97.0.0/16", value_parser = wide)]
    pub service_net: Ipv4Net,
    /// Network of the nodes
    #[arg(long, value_name = "CIDR", default_value = "10.98.1.0/24", value_parser = wide)]
    pub node_net: Ipv4Net,
    /// Address of the cluster's DNS [default: the tenth of --service-net]
    #[arg(long, value_name = "IP")]
    pub dns: Option<Ipv4Addr>,
    /// Address at which Pods find the API server [default: the first of --service-net]
    #[arg(long, value_name = "IP")]
    pub api_host: Option<IpAddr>,
    /// Log level: error, warn, info, debug, trace, or a filter such as info,kube=debug
    #[arg(long, env = "RUST_LOG", default_value = "info,kube_client=off,kube_runtime=off", value_name = "FILTER")]
    pub log_level: String,
}

impl SeedArgs {
    /// Address of the cluster's DNS.
    pub(crate) fn dns(&self) -> Ipv4Addr {
        self.dns.unwrap_or_else(|| nth(self.service_net, 10))
    }

    /// Folder for the backups of etcds.
    pub(crate) fn backups(&self) -> PathBuf {
        self.backups.clone().unwrap_or_else(|| self.root.join("backups"))
    }

    /// Address at which Pods find the API server.
    pub(crate) fn api_host(&self) -> IpAddr {
        self.api_host.unwrap_or_else(|| nth(self.service_net, 1).into())
    }

    /// Address of a node.
    pub(crate) fn node_address(&self, number: u8) -> Ipv4Addr {
        nth(self.node_net, u32::from(number) + 1)
    }

    /// Name of a node.
    pub(crate) fn node_name(number: u8) -> String {
        format!("node-{number}")
    }

    /// Address of the node with a name. Returns `None` for a node that is not played.
    pub(crate) fn address_of_node(&self, name: &str) -> Option<Ipv4Addr> {
        let number = name.strip_prefix("node-")?.parse().ok()?;
        (number < self.nodes).then(|| self.node_address(number))
    }

    /// Writes the log to stderr from now on.
    pub(crate) fn start_log(&self) {
        let filter = EnvFilter::new(&self.log_level);
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        // Only a second call fails. Its log goes to where the first one said.
        let _ = builder.with_ansi(false).with_target(false).log_internal_errors(false).try_init();
    }
}

/// The nth address of a network. The flags admit no network that is too small.
fn nth(net: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(net.network().to_bits().saturating_add(n))
}

/// Parses a network of at least 256 addresses.
fn wide(text: &str) -> Result<Ipv4Net, String> {
    let net: Ipv4Net = text.parse().map_err(|_| "not an IPv4 network, such as 10.243.0.0/16".to_owned())?;
    if net.prefix_len() > 24 {
        return Err("use a network of at least 256 addresses, such as 10.243.0.0/16".to_owned());
    }
    Ok(net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(flags: &[&str]) -> SeedArgs {
        let given = ["mock-players", "seed", "--kubeconfig", "k", "--root", "r", "--bin", "b"];
        let cli = Cli::try_parse_from(given.iter().chain(flags)).unwrap();
        match cli.command {
            Command::Seed(args) => *args,
            Command::Pause => panic!("not the command that was given"),
        }
    }

    #[test]
    fn addresses_default_to_those_of_the_networks() {
        let args = seed(&["--service-net", "10.1.0.0/16", "--node-net", "10.2.3.0/24"]);
        assert_eq!(args.dns(), Ipv4Addr::new(10, 1, 0, 10));
        assert_eq!(args.api_host().to_string(), "10.1.0.1");
        assert_eq!(args.address_of_node("node-2"), Some(Ipv4Addr::new(10, 2, 3, 3)));
    }

    #[test]
    fn foreign_node_has_no_address() {
        let args = seed(&["--nodes", "2"]);
        assert_eq!(args.address_of_node("node-2"), None);
        assert_eq!(args.address_of_node("worker-1"), None);
    }

    #[test]
    fn network_that_is_too_small_is_refused() {
        assert!(wide("10.0.0.0/25").unwrap_err().contains("at least 256 addresses"));
        assert_eq!(wide("10.0.1.7/16").unwrap().to_string(), "10.0.0.0/16");
    }
}
