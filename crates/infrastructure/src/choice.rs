//! Which networks a Shoot has: those that it names or had before, and one of our choice for each that is missing.

use ipnet::IpNet;
use mock_core::kind::{Invalid, ShootView, Undecoded};
use serde::{Deserialize, Serialize};

use crate::network::{Family, canonical, reserved};
use crate::options::Options;

/// How many networks are tried beside the default.
const MOST_TRIED: usize = 4096;

/// Networks, the primary IP family first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Networks {
    /// Networks of machines.
    pub nodes: Option<Vec<String>>,
    /// Networks of Pods.
    pub pods: Option<Vec<String>>,
    /// Networks of Services.
    pub services: Option<Vec<String>>,
}

/// What is read of the Cluster's Shoot and Seed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Shoot {
    spec: ShootSpec,
    status: ShootStatus,
    #[serde(skip)]
    seed: Seed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShootSpec {
    networking: Option<Networking>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Networking {
    ip_families: Option<Vec<Family>>,
    nodes: Option<String>,
    pods: Option<String>,
    services: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShootStatus {
    networking: Option<Networks>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Seed {
    spec: SeedSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeedSpec {
    networks: SeedNetworks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeedNetworks {
    nodes: Option<String>,
    pods: Option<String>,
    services: Option<String>,
}

impl ShootView for Shoot {
    fn add_seed(&mut self, seed: Undecoded<'_>) -> Result<(), Invalid> {
        self.seed = seed.decode()?;
        Ok(())
    }
}

/// What a network is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Nodes,
    Pods,
    Services,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Nodes, Self::Pods, Self::Services];

    const fn field(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::Services => "services",
        }
    }

    fn asked(self, networking: &Networking) -> Option<&str> {
        match self {
            Self::Nodes => networking.nodes.as_deref(),
            Self::Pods => networking.pods.as_deref(),
            Self::Services => networking.services.as_deref(),
        }
    }

    fn of(self, networks: &Networks) -> &[String] {
        let networks = match self {
            Self::Nodes => &networks.nodes,
            Self::Pods => &networks.pods,
            Self::Services => &networks.services,
        };
        networks.as_deref().unwrap_or_default()
    }

    /// The network that is taken if it is free. kube-apiserver wants a small one for IPv6 Services.
    fn default(self, family: Family, options: &Options) -> Option<IpNet> {
        let usual = match (self, family) {
            (Self::Nodes, Family::V4) => "10.250.0.0/16",
            (Self::Nodes, Family::V6) => "fd00:10:250::/48",
            (Self::Pods, Family::V4) => "100.96.0.0/11",
            (Self::Pods, Family::V6) => "fd00:10:96::/48",
            (Self::Services, Family::V4) => "100.64.0.0/13",
            (Self::Services, Family::V6) => "fd00:10:64::/112",
        };
        let named = options.default_nodes(family).filter(|_| matches!(self, Self::Nodes));
        named.or_else(|| usual.parse().ok())
    }
}

/// The networks of all IP families of the Shoot, the primary family first, one of each purpose for each family.
/// Otherwise gardenlet panics (`pkg/component/extensions/network/network.go`, `getCIDRforSpec`).
///
/// Missing networks overlap neither the others nor those of the Seed: gardener-apiserver would refuse them
/// (`plugin/pkg/shoot/validator/admission.go`, `validateShootNetworks`).
pub(crate) fn networks(shoot: &Shoot, reported: &Networks, options: &Options) -> Result<Networks, Invalid> {
    let none = Networking::default();
    let spec = shoot.spec.networking.as_ref().unwrap_or(&none);
    let families = families(spec);
    let no_status = Networks::default();
    let known = shoot.status.networking.as_ref().unwrap_or(&no_status);
    let mut slots = Vec::new();
    for purpose in Purpose::ALL {
        let asked = asked(purpose, spec, &families)?;
        for family in &families {
            let asked = asked.filter(|network| Family::of(network) == *family);
            slots.push((purpose, *family, asked.or_else(|| usable(purpose.of(known), *family))));
        }
    }
    let mut taken: Vec<IpNet> = slots.iter().filter_map(|(_, _, network)| *network).chain(reserved()).collect();
    let SeedNetworks { nodes, pods, services } = &shoot.seed.spec.networks;
    taken.extend([nodes, pods, services].into_iter().flatten().filter_map(|network| network.parse::<IpNet>().ok()));
    let mut networks = Networks::default();
    for (purpose, family, network) in slots {
        let network = network.map_or_else(|| choose(purpose, family, reported, options, &taken), Ok)?;
        taken.push(network);
        let list = match purpose {
            Purpose::Nodes => &mut networks.nodes,
            Purpose::Pods => &mut networks.pods,
            Purpose::Services => &mut networks.services,
        };
        list.get_or_insert_default().push(network.to_string());
    }
    Ok(networks)
}

/// The families in their order, each once.
fn families(spec: &Networking) -> Vec<Family> {
    let named = spec.ip_families.iter().flatten();
    let mut families = named.fold(Vec::new(), |mut families, family| {
        if !families.contains(family) {
            families.push(*family);
        }
        families
    });
    if families.is_empty() {
        families.push(Family::V4);
    }
    families
}

/// The network that the Shoot names.
fn asked(purpose: Purpose, spec: &Networking, families: &[Family]) -> Result<Option<IpNet>, Invalid> {
    let Some(text) = purpose.asked(spec) else { return Ok(None) };
    let network = canonical(text).map_err(|problem| invalid(purpose, problem))?;
    // The same rule as in gardener-apiserver (`pkg/api/core/validation/shoot.go`).
    let family = Family::of(&network);
    if families.contains(&family) {
        return Ok(Some(network));
    }
    let (name, expected) = (family.name(), families.iter().map(|family| family.name()).collect::<Vec<_>>().join(", "));
    let problem = format!("{text:?} is {name}, expected one of {expected}; or add {name} to ipFamilies");
    Err(invalid(purpose, problem))
}

/// The first network of the family that gardener-apiserver accepts.
fn usable(networks: &[String], family: Family) -> Option<IpNet> {
    networks.iter().filter_map(|network| canonical(network).ok()).find(|network| Family::of(network) == family)
}

/// A free network: the one that was reported before, else the default, else the first one of the default's size in a
/// block of a private range.
fn choose(
    purpose: Purpose,
    family: Family,
    reported: &Networks,
    options: &Options,
    taken: &[IpNet],
) -> Result<IpNet, Invalid> {
    let default = purpose.default(family, options);
    // The next small network would be in the same taken large one.
    let (range, block) = match family {
        Family::V4 => ("10.0.0.0/8", 16),
        Family::V6 => ("fd00::/8", 48),
    };
    let others = range.parse::<IpNet>().ok().zip(default).and_then(|(range, default)| {
        let size = default.prefix_len();
        let blocks = range.subnets(size.min(block)).ok()?.take(MOST_TRIED);
        Some(blocks.filter_map(move |block| IpNet::new(block.addr(), size).ok()))
    });
    usable(purpose.of(reported), family)
        .into_iter()
        .chain(default)
        .chain(others.into_iter().flatten())
        .find(|network| !taken.iter().any(|taken| Family::overlap(*taken, *network)))
        .ok_or_else(|| {
            let name = family.name();
            let problem = format!("no {name} network is free beside the other networks of Shoot and Seed: name one");
            invalid(purpose, problem)
        })
}

fn invalid(purpose: Purpose, problem: String) -> Invalid {
    Invalid { field: format!("spec.shoot.spec.networking.{} of the Cluster", purpose.field()), problem }
}

#[cfg(test)]
mod tests;
