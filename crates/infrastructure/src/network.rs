//! IP networks, as gardener-apiserver validates them.

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;

/// Networks that Gardener uses itself (`pkg/apis/core/v1beta1/constants/types_constants.go`).
const RESERVED: [&str; 6] =
    ["fd8f:6d53:b97a:1::/96", "240.0.0.0/8", "241.0.0.0/8", "242.0.0.0/8", "243.0.0.0/8", "244.0.0.0/8"];

/// An IP family, in Kubernetes' spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Family {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    pub(crate) const fn of(network: &IpNet) -> Self {
        match network {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// Whether two networks have an address in common. One contains the other then.
    pub(crate) fn overlap(one: IpNet, other: IpNet) -> bool {
        one.contains(&other) || other.contains(&one)
    }
}

/// Networks that Gardener uses itself. No network of a Shoot may overlap them
/// (`pkg/utils/validation/cidr/disjoint.go`).
pub(crate) fn reserved() -> impl Iterator<Item = IpNet> {
    RESERVED.into_iter().filter_map(|network| network.parse().ok())
}

/// Reads a network that gardener-apiserver accepts (`pkg/utils/validation/cidr`). An error is what is wrong with it,
/// and what to write.
pub(crate) fn canonical(text: &str) -> Result<IpNet, String> {
    let network: IpNet = text.parse().map_err(|_| format!("{text:?} is no CIDR such as 10.250.0.0/16"))?;
    let right = as_ipv4(network).unwrap_or(network).trunc();
    if right == network { Ok(network) } else { Err(format!("{text:?} is not canonical: write {right}")) }
}

/// Go reads an IPv4 address in IPv6's form as IPv4.
fn as_ipv4(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(network) = network else { return None };
    let prefix = network.prefix_len().checked_sub(96)?;
    Some(IpNet::V4(Ipv4Net::new(network.addr().to_ipv4_mapped()?, prefix).ok()?))
}
