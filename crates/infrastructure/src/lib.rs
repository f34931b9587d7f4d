//! Infrastructure: reports the networks of a shoot, and a state that shows whether a migration carried it over.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::jiff::SignedDuration;
use kube::{CustomResource, Resource, ResourceExt};
use mock_core::contract::{MOCK_API_VERSION, Status};
use mock_core::extension::{Base, Extension, Input, Invalid, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What is read of an Infrastructure.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = "Infrastructure", schema = "disabled")]
#[kube(namespaced, status = "InfrastructureStatus")]
pub struct InfrastructureSpec {
    /// Type and class.
    #[serde(flatten)]
    pub base: Base,
}

/// What is read of the status.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct InfrastructureStatus {
    /// The part that all kinds share.
    #[serde(flatten)]
    pub common: Status,
    /// What was reported before.
    pub networking: Option<Networks>,
    /// Ours, or whatever another seed's provider left.
    pub state: Option<Value>,
}

/// Networks, first of all families the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Networks {
    /// Of machines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Of Pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// Of Services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

/// Flags of this controller.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Network of machines where the Shoot names none; once for each IP family
    #[arg(long, value_name = "CIDR", default_values = ["10.250.0.0/16", "fd00:10:250::/48"])]
    pub default_nodes: Vec<IpNet>,
}

/// What is read of the Cluster's Shoot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Shoot {
    spec: ShootSpec,
    status: ShootStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShootSpec {
    networking: Option<Networking>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Networking {
    ip_families: Option<Vec<String>>,
    nodes: Option<String>,
    pods: Option<String>,
    services: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShootStatus {
    networking: Option<Networks>,
}

impl Extension for Infrastructure {
    type Options = Options;
    type Shoot = Shoot;
    const FINALIZER: &'static str = "extensions.gardener.cloud/infrastructure";
    const TYPES: &'static [&'static str] = &["mock"];
    const READS_SHOOT: bool = true;
    const TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

    fn base(&self) -> &Base {
        &self.spec.base
    }

    fn status(&self) -> Option<&Status> {
        self.status.as_ref().map(|status| &status.common)
    }

    fn outcome(&self, input: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let networks = networks(input.shoot, self.reported(), &input.options.default_nodes)?;
        let mut outcome = Outcome::default();
        let mut report = |field: &str, value| outcome.status.insert(field.to_owned(), value);
        report("egressCIDRs", json!(networks.nodes));
        // A merge patch keeps what it does not name: a network that is gone has to be named.
        report("networking", json!({ "nodes": networks.nodes, "pods": networks.pods, "services": networks.services }));
        report("providerStatus", json!({ "apiVersion": MOCK_API_VERSION, "kind": "InfrastructureStatus" }));
        if self.status.as_ref().is_none_or(|status| status.state.is_none()) {
            let state = json!({ "apiVersion": MOCK_API_VERSION, "kind": "InfrastructureState", "id": self.id() });
            report("state", state);
        }
        Ok(outcome)
    }
}

impl Infrastructure {
    fn reported(&self) -> &[String] {
        self.status.as_ref().and_then(|status| status.networking.as_ref()).map_or(&[], |networks| &networks.nodes)
    }

    /// What a cloud would have called the network it made: new with each creation, the same after a migration.
    fn id(&self) -> String {
        let created = self.creation_timestamp().map(|time| time.0.to_string()).unwrap_or_default();
        let hash = Sha256::digest(format!("{}/{created}", self.meta().namespace.as_deref().unwrap_or_default()));
        hash.iter().take(8).fold("mock-".to_owned(), |id, byte| id + &format!("{byte:02x}"))
    }
}

/// Networks of all IP families of the Shoot, its primary one first.
fn networks(shoot: &Shoot, reported: &[String], defaults: &[IpNet]) -> Result<Networks, Invalid> {
    let none = Networking::default();
    let spec = shoot.spec.networking.as_ref().unwrap_or(&none);
    let known = shoot.status.networking.clone().unwrap_or_default();
    let ipv4 = vec!["IPv4".to_owned()];
    let families = spec.ip_families.as_ref().filter(|families| !families.is_empty()).unwrap_or(&ipv4);
    for (field, cidr) in [("nodes", &spec.nodes), ("pods", &spec.pods), ("services", &spec.services)] {
        let Some(cidr) = cidr else { continue };
        let problem = match cidr.parse::<IpNet>() {
            Err(_) => format!("{cidr:?} is no CIDR such as 10.250.0.0/16"),
            // As gardener-apiserver has it (`pkg/api/core/validation/shoot.go`).
            Ok(net) if !families.iter().any(|family| name(net.addr()) == family) => {
                let family = name(net.addr());
                format!(
                    "{cidr:?} is of {family}, expected one of {}; or add {family} to ipFamilies",
                    families.join(", ")
                )
            }
            Ok(_) => continue,
        };
        return Err(Invalid { field: format!("spec.shoot.spec.networking.{field} of the Cluster"), problem });
    }
    let mut networks = Networks::default();
    for family in families {
        let is_family = |cidr: &&String| cidr.parse::<IpNet>().is_ok_and(|net| name(net.addr()) == family);
        let one = |asked: &Option<String>, known: &[String]| asked.iter().chain(known).find(is_family).cloned();
        networks.pods.extend(one(&spec.pods, &known.pods));
        networks.services.extend(one(&spec.services, &known.services));
        let nodes = one(&spec.nodes, &known.nodes).or_else(|| reported.iter().find(is_family).cloned());
        let nodes = nodes.or_else(|| defaults.iter().find(|net| name(net.addr()) == family).map(ToString::to_string));
        networks.nodes.push(nodes.ok_or_else(|| Invalid {
            field: "spec.shoot.spec.networking.ipFamilies of the Cluster".to_owned(),
            problem: format!("{family} has no network of machines: set spec.networking.nodes or --default-nodes"),
        })?);
    }
    Ok(networks)
}

fn name(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests;
