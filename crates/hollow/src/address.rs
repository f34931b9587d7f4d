//! Addresses of nodes and Pods, IPv4 and IPv6.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The first address that is free. Skips the first `skipped` of the network, which belong to clouds and gateways, and the
/// last one. Returns `None` if all are taken.
pub(crate) fn free(network: IpNet, skipped: u32, taken: &HashSet<IpAddr>) -> Option<IpAddr> {
    (0..=u64::from(u32::MAX))
        .map_while(|number| nth(network, u64::from(skipped).saturating_add(number)))
        .find(|address| !taken.contains(address))
}

/// An address of the network, but not its last one.
fn nth(network: IpNet, number: u64) -> Option<IpAddr> {
    let address = match network {
        IpNet::V4(network) => {
            let first = network.network().to_bits();
            IpAddr::V4(Ipv4Addr::from_bits(first.checked_add(u32::try_from(number).ok()?)?))
        }
        IpNet::V6(network) => {
            IpAddr::V6(Ipv6Addr::from_bits(network.network().to_bits().checked_add(u128::from(number))?))
        }
    };
    (network.contains(&address) && address != network.broadcast()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(addresses: &[&str]) -> HashSet<IpAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn first_free_address_is_taken_and_a_full_network_has_none() {
        for (network, skipped, used, expected) in [
            ("10.11.0.0/16", 10, &[][..], Some("10.11.0.10")),
            ("10.11.0.0/16", 10, &["10.11.0.10"], Some("10.11.0.11")),
            ("10.11.0.0/30", 1, &["10.11.0.1"], Some("10.11.0.2")),
            ("10.11.0.0/30", 1, &["10.11.0.1", "10.11.0.2"], None),
            ("10.11.0.0/30", 10, &[], None),
            ("255.255.255.252/30", 1, &["255.255.255.253", "255.255.255.254"], None),
            ("fd00:10:250::/48", 10, &["fd00:10:250::a"], Some("fd00:10:250::b")),
        ] {
            let address = free(network.parse().unwrap(), skipped, &taken(used));
            assert_eq!(address, expected.map(|address| address.parse().unwrap()), "{network} {used:?}");
        }
    }
}
