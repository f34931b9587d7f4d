//! Infrastructure: reports the networks of a Shoot, and a state that shows whether a migration carried it over.

use std::net::IpAddr;

use ipnet::IpNet;
use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, Object, Outcome, ShootView};
use mock_core::script::MOCK_API_VERSION;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What is read of the spec.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Infrastructure {}

/// What is read of the status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reported {
    /// The networks that were reported before.
    pub networking: Option<Networks>,
    /// Our state, or that of the provider on another seed.
    pub state: Option<Value>,
}

/// Networks, the primary IP family first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Networks {
    /// Networks of machines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Networks of Pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// Networks of Services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

/// Flags of this controller.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Network of machines for Shoots that name none; one per IP family
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

impl ShootView for Shoot {}

impl MockKind for Infrastructure {
    type Reported = Reported;
    type Shoot = Shoot;
    type Options = Options;
    const KIND: &'static Kind = &kinds::INFRASTRUCTURE;
    const TYPES: &'static [&'static str] = &["mock"];

    fn outcome(object: &Object<Self>, input: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let reported = object.reported.networking.as_ref().map_or(&[][..], |networks| &networks.nodes);
        let networks = networks(input.shoot, reported, &input.options.default_nodes)?;
        let mut outcome = Outcome::default();
        outcome.report("egressCIDRs", json!(networks.nodes));
        // A merge patch keeps what it does not name: removed networks have to be named.
        let networking = json!({ "nodes": networks.nodes, "pods": networks.pods, "services": networks.services });
        outcome.report("networking", networking);
        let provider_status = json!({ "apiVersion": MOCK_API_VERSION, "kind": "InfrastructureStatus" });
        outcome.report("providerStatus", provider_status);
        if object.reported.state.is_none() {
            let state = json!({ "apiVersion": MOCK_API_VERSION, "kind": "InfrastructureState", "id": id(object) });
            outcome.report("state", state);
        }
        Ok(outcome)
    }
}

/// A cloud's name for the network: a new one with each creation, the same one after a migration.
fn id(object: &Object<Infrastructure>) -> String {
    let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default();
    let hash = Sha256::digest(format!("{}/{created}", object.namespace()));
    hash.iter().take(8).fold("mock-".to_owned(), |id, byte| id + &format!("{byte:02x}"))
}

/// The networks of all IP families of the Shoot, the primary family first.
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
            // The same rule as in gardener-apiserver (`pkg/api/core/validation/shoot.go`).
            Ok(net) if !families.iter().any(|family| name(net.addr()) == family) => {
                let family = name(net.addr());
                let expected = families.join(", ");
                format!("{cidr:?} is {family}, expected one of {expected}; or add {family} to ipFamilies")
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
