//! What gardenlet and gardener-apiserver do with the networks that an Infrastructure reports.

use extension_contract::json::{get, list, set, text};
use ipnet::IpNet;
use serde_json::{Value, json};

/// Networks that Gardener uses itself (`pkg/apis/core/v1beta1/constants/types_constants.go`).
const RESERVED: [&str; 6] =
    ["fd8f:6d53:b97a:1::/96", "240.0.0.0/8", "241.0.0.0/8", "242.0.0.0/8", "243.0.0.0/8", "244.0.0.0/8"];

/// Copies the networks of an Infrastructure into the Shoot (`pkg/gardenlet/operation/botanist/infrastructure.go`).
///
/// # Errors
/// The rule that the Infrastructure breaks: gardener-apiserver refuses the Shoot, or gardenlet fails or panics.
pub(crate) fn learn(shoot: &mut Value, seed: &Value, infrastructure: &Value) -> Result<(), String> {
    let reported = |field: &str| list(infrastructure, &format!("status.{field}")).iter().filter_map(Value::as_str);
    let mut nodes: Vec<&str> = text(infrastructure, "status.nodesCIDR").into_iter().collect();
    for network in reported("networking.nodes") {
        if !nodes.contains(&network) {
            nodes.push(network);
        }
    }
    let mut networking = json!({});
    for (field, networks) in [
        ("nodes", nodes.clone()),
        ("pods", reported("networking.pods").collect()),
        ("services", reported("networking.services").collect()),
        ("egressCIDRs", reported("egressCIDRs").collect()),
    ] {
        if !networks.is_empty() {
            set(&mut networking, field, networks);
        }
    }
    set(shoot, "status.networking", networking);
    if let (None, Some(first)) = (text(shoot, "spec.networking.nodes"), nodes.first()) {
        set(shoot, "spec.networking.nodes", *first);
    }
    accepted_by_apiserver(shoot, seed)?;
    accepted_by_gardenlet(shoot)
}

/// gardener-apiserver validates what gardenlet writes into the Shoot.
fn accepted_by_apiserver(shoot: &Value, seed: &Value) -> Result<(), String> {
    for field in ["nodes", "pods", "services", "egressCIDRs"] {
        for network in list(shoot, &format!("status.networking.{field}")).iter().filter_map(Value::as_str) {
            // (`pkg/api/core/validation/shoot.go`, `validateNetworkingStatus`)
            let parsed = network.parse::<IpNet>().ok().filter(|parsed| parsed.trunc() == *parsed);
            let parsed =
                parsed.ok_or_else(|| format!("each network must be a canonical CIDR, but {network:?} is not"))?;
            // When the Shoot moves to a seed with these networks
            // (`pkg/utils/validation/cidr/disjoint.go`, `ValidateMultiNetworkDisjointedness`).
            let of_seed = ["nodes", "pods", "services"].map(|field| text(seed, &format!("spec.networks.{field}")));
            let of_seed = of_seed.into_iter().flatten().filter(|_| field != "egressCIDRs" && is_ipv6(parsed));
            let reserved = RESERVED.into_iter().filter(|_| field != "egressCIDRs");
            for other in of_seed.chain(reserved) {
                if overlap(parsed, other) {
                    let rule = "the networks of a Shoot must not overlap those of its Seed and of Gardener itself";
                    return Err(format!("{rule}, but {network} overlaps {other}"));
                }
            }
        }
    }
    let families = list(shoot, "spec.networking.ipFamilies");
    let spec = |field: &str| text(shoot, &format!("spec.networking.{field}"));
    if let ([family], Some(nodes)) = (families, spec("nodes").and_then(|nodes| nodes.parse().ok()))
        && *family != name(nodes)
    {
        return Err(format!("the first network of nodes must be {family}, but is {nodes}"));
    }
    // (`pkg/utils/validation/cidr/disjoint.go`, `ValidateShootNetworkDisjointedness`)
    for (one, other) in [("pods", "services"), ("pods", "nodes"), ("services", "nodes")] {
        if let (true, Some(first), Some(second)) = (has_ipv4(shoot), spec(one), spec(other))
            && first.parse().is_ok_and(|first| overlap(first, second))
        {
            return Err(format!("the networks of {one} ({first}) and {other} ({second}) must not overlap"));
        }
    }
    Ok(())
}

/// gardenlet goes on with the networks of the Shoot.
fn accepted_by_gardenlet(shoot: &Value) -> Result<(), String> {
    for field in ["pods", "services", "nodes"] {
        // (`pkg/gardenlet/operation/shoot/shoot.go`, `ToNetworks`)
        if has_ipv4(shoot) && text(shoot, &format!("spec.networking.{field}")).is_none() {
            return Err(format!(
                "status.networking.{field} must be present, because the Shoot has no spec.networking.{field}"
            ));
        }
        if field != "nodes" && of_network(shoot, field).is_none() {
            let families = get(shoot, "spec.networking.ipFamilies").map(Value::to_string).unwrap_or_default();
            return Err(format!(
                "status.networking.{field} must have a network for each IP family of {families}, or gardenlet panics"
            ));
        }
    }
    Ok(())
}

/// The network of Pods or Services in the spec of the Network (`pkg/component/extensions/network/network.go`,
/// `getCIDRforSpec`). Returns `None` where gardenlet panics.
pub(crate) fn of_network(shoot: &Value, field: &str) -> Option<String> {
    let families = list(shoot, "spec.networking.ipFamilies");
    let index = usize::from(families.len() == 2 && families.first() == Some(&json!("IPv6")));
    all(shoot, field).get(index).map(ToString::to_string)
}

/// Networks of the Shoot, in the order of its IP families (`pkg/gardenlet/operation/shoot/shoot.go`, `ToNetworks`).
fn all(shoot: &Value, field: &str) -> Vec<IpNet> {
    let named: Option<IpNet> =
        text(shoot, &format!("spec.networking.{field}")).and_then(|network| network.parse().ok());
    let known = list(shoot, &format!("status.networking.{field}")).iter().filter_map(Value::as_str);
    // gardenlet compares text.
    let known = known.filter(|text| named.is_none_or(|named| named.trunc().to_string() != **text));
    let networks: Vec<IpNet> = named.into_iter().chain(known.filter_map(|network| network.parse().ok())).collect();
    let families = list(shoot, "spec.networking.ipFamilies");
    let of_family = |family: &Value| networks.iter().copied().filter(|network| *family == name(*network)).collect();
    let mut sorted: Vec<IpNet> = families.iter().flat_map(|family| -> Vec<IpNet> { of_family(family) }).collect();
    if families.len() < 2 {
        sorted.extend(networks.iter().filter(|network| !families.contains(&json!(name(**network)))));
    }
    sorted
}

fn has_ipv4(shoot: &Value) -> bool {
    list(shoot, "spec.networking.ipFamilies").contains(&json!("IPv4"))
}

fn is_ipv6(network: IpNet) -> bool {
    matches!(network, IpNet::V6(_))
}

fn name(network: IpNet) -> &'static str {
    if is_ipv6(network) { "IPv6" } else { "IPv4" }
}

fn overlap(one: IpNet, other: &str) -> bool {
    other.parse::<IpNet>().is_ok_and(|other| one.contains(&other) || other.contains(&one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(spec: &Value, status: &Value) -> Result<Value, String> {
        let mut shoot = json!({ "spec": { "networking": spec } });
        let seed = json!({ "spec": { "networks": { "pods": "fd00:5::/48", "services": "10.5.0.0/16" } } });
        learn(&mut shoot, &seed, &json!({ "status": status }))?;
        Ok(json!([shoot["spec"]["networking"]["nodes"], of_network(&shoot, "pods"), of_network(&shoot, "services")]))
    }

    #[test]
    fn the_networks_of_an_infrastructure_reach_the_shoot_and_its_network() {
        let four = json!({ "pods": "10.2.0.0/16", "services": "10.3.0.0/16", "ipFamilies": ["IPv4"] });
        let both = |families| json!({ "pods": "10.2.0.0/16", "services": "10.3.0.0/16", "ipFamilies": families });
        let six = json!({ "nodes": ["fd00:1::/48"], "pods": ["fd00:2::/48"], "services": ["fd00:3::/112"] });
        let dual = json!({
            "nodes": ["fd00:1::/48", "10.1.0.0/16"],
            "pods": ["fd00:2::/48", "10.2.0.0/16"],
            "services": ["fd00:3::/112", "10.3.0.0/16"],
        });
        for (spec, status, expected) in [
            (four, json!({ "nodesCIDR": "10.1.0.0/16" }), json!(["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"])),
            (
                json!({ "ipFamilies": ["IPv6"] }),
                json!({ "networking": six }),
                json!(["fd00:1::/48", "fd00:2::/48", "fd00:3::/112"]),
            ),
            (
                both(json!(["IPv6", "IPv4"])),
                json!({ "networking": dual }),
                json!(["fd00:1::/48", "10.2.0.0/16", "10.3.0.0/16"]),
            ),
            (
                both(json!(["IPv4", "IPv6"])),
                json!({ "networking": dual }),
                json!(["fd00:1::/48", "10.2.0.0/16", "10.3.0.0/16"]),
            ),
        ] {
            assert_eq!(learned(&spec, &status), Ok(expected), "{spec}");
        }
    }

    #[test]
    fn networks_that_gardener_does_not_survive_break_a_rule() {
        let four = json!({ "pods": "10.2.0.0/16", "services": "10.3.0.0/16", "ipFamilies": ["IPv4"] });
        let six = json!({ "ipFamilies": ["IPv6"] });
        let dual = json!({ "pods": "10.2.0.0/16", "services": "10.3.0.0/16", "ipFamilies": ["IPv6", "IPv4"] });
        for (spec, networking, expected) in [
            (&four, json!({}), "status.networking.nodes must be present"),
            (&six, json!({ "nodes": ["fd00:1::/48"] }), "or gardenlet panics"),
            (&six, json!({ "pods": ["fd00:1::/48"] }), "status.networking.services must have a network"),
            (&dual, json!({ "nodes": ["fd00:1::/48", "10.1.0.0/16"] }), "or gardenlet panics"),
            (&four, json!({ "nodes": ["10.1.0.7/16"] }), "must be a canonical CIDR"),
            (&four, json!({ "nodes": ["nodes"] }), "must be a canonical CIDR"),
            (&four, json!({ "nodes": ["fd00:1::/48"] }), "the first network of nodes must be"),
            (&four, json!({ "nodes": ["10.0.0.0/14"] }), "networks of pods (10.2.0.0/16) and nodes"),
            (&six, json!({ "nodes": ["fd00::/16"] }), "overlaps fd00:5::/48"),
            (&four, json!({ "nodes": ["243.1.0.0/16"] }), "overlaps 243.0.0.0/8"),
        ] {
            let rule = learned(spec, &json!({ "networking": networking })).unwrap_err();
            assert!(rule.contains(expected), "{spec} {networking}: {rule}");
        }
        let of_the_seed = json!({ "networking": { "nodes": ["10.5.0.0/16"] } });
        assert!(learned(&four, &of_the_seed).is_ok(), "IPv4 may overlap");
    }
}
