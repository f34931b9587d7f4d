//! The DNSRecords of a Shoot and of its Seed (`pkg/gardenlet/operation/botanist/dnsrecord.go`).

use extension_contract::json::{annotate, get, list, set, text};
use extension_contract::kinds;
use serde_json::{Value, json};

use super::objects::planned;
use super::parts::Part;
use super::plan::{Asks, GARDEN, Planned, ShootPlan, credentials};

/// gardenlet creates no record for a domain of this type.
const UNMANAGED: &str = "unmanaged";

/// The default of gardenlet's `dnsEntryTTLSeconds`.
const TTL_SECONDS: u32 = 120;

/// Addresses from networks for documentation, IPv4 and IPv6: of the API servers, and of the ingress controllers in a
/// Shoot and in its Seed.
const API_SERVER: [&str; 2] = ["203.0.113.10", "2001:db8::10"];
const SHOOT_INGRESS: [&str; 2] = ["203.0.113.11", "2001:db8::11"];
const SEED_INGRESS: [&str; 2] = ["203.0.113.12", "2001:db8::12"];

/// A type of DNSRecord, and the zone of its domain if it is known.
struct Provider<'a> {
    spec_type: &'a str,
    zone: Option<&'a str>,
}

/// The records of the API server's internal and external domain.
pub(super) fn of_the_api_server(plan: &ShootPlan) -> impl Iterator<Item = Planned> {
    let internal = internal(plan).map(|(domain, provider)| {
        record(plan, Part::InternalDns, "internal", "internal", &format!("api.{domain}"), &provider, API_SERVER)
    });
    let external = external(plan).map(|(domain, provider)| {
        record(plan, Part::ExternalDns, "external", "external", &format!("api.{domain}"), &provider, API_SERVER)
    });
    internal.into_iter().chain(external)
}

/// The record of the ingress controller, if the Shoot has one (`pkg/gardenlet/operation/botanist/nginxingress.go`).
pub(super) fn of_the_ingress(plan: &ShootPlan) -> Option<Planned> {
    let is_enabled = get(&plan.shoot, "spec.addons.nginxIngress.enabled") == Some(&Value::Bool(true));
    let (domain, provider) = external(plan).filter(|_| is_enabled)?;
    let name = format!("*.ingress.{domain}");
    Some(record(plan, Part::IngressDns, "ingress", "external", &name, &provider, SHOOT_INGRESS))
}

/// The record of the Seed's ingress controller (`pkg/gardenlet/controller/seed/seed/nginxingress.go`).
pub(super) fn of_the_seed(seed: &Value) -> Option<Planned> {
    let spec_type = text(seed, "spec.dns.provider.type")?;
    let families = list(seed, "spec.networks.ipFamilies");
    let (record_type, value) = address(families, SEED_INGRESS);
    let spec = json!({
        "type": spec_type,
        "name": format!("*.{}", text(seed, "spec.ingress.domain")?),
        "recordType": record_type,
        "values": [value],
    });
    let name = "seed-ingress";
    let mut record = Planned::new(Part::SeedDns, &kinds::DNS_RECORD, name.to_owned(), Some(GARDEN), spec)
        .asking(Asks::OnChange)
        .with_secret(name, GARDEN, &credentials());
    annotate(&mut record.object, "dns.gardener.cloud/ip-stack", ip_stack(families));
    Some(record)
}

/// The Shoot's domain for Gardener's own components (`pkg/utils/gardener/shoot.go`, `ConstructInternalClusterDomain`).
fn internal(plan: &ShootPlan) -> Option<(String, Provider<'_>)> {
    let provider = provider(get(&plan.seed, "spec.dns.internal")?)?;
    let domain = text(&plan.seed, "spec.dns.internal.domain")?;
    let infix = if domain.contains("internal") { "" } else { "internal." };
    Some((format!("{}.{}.{infix}{domain}", plan.name(), plan.project), provider))
}

/// The Shoot's domain for its users (`pkg/utils/gardener/shoot.go`, `ConstructExternalDomain`).
fn external(plan: &ShootPlan) -> Option<(String, Provider<'_>)> {
    let domain = text(&plan.shoot, "spec.dns.domain")?;
    let is_below = |parent: &Value| {
        let parent = text(parent, "domain").unwrap_or_default();
        domain.strip_suffix(parent).is_some_and(|name| name.ends_with('.'))
    };
    let default = list(&plan.seed, "spec.dns.defaults").iter().find(|default| is_below(default));
    let is_primary = |provider: &&Value| get(provider, "primary") == Some(&Value::Bool(true));
    let primary = || list(&plan.shoot, "spec.dns.providers").iter().find(is_primary);
    let mut provider = provider(default.or_else(primary)?)?;
    if let [Value::String(zone)] = list(default.or_else(primary)?, "zones.include") {
        provider.zone = Some(zone);
    }
    Some((domain.to_owned(), provider))
}

fn provider(of: &Value) -> Option<Provider<'_>> {
    let spec_type = text(of, "type").filter(|spec_type| *spec_type != UNMANAGED)?;
    Some(Provider { spec_type, zone: text(of, "zone") })
}

fn record(
    plan: &ShootPlan,
    part: Part,
    purpose: &str,
    credentials_of: &str,
    name: &str,
    provider: &Provider<'_>,
    addresses: [&str; 2],
) -> Planned {
    let families = list(&plan.shoot, "spec.networking.ipFamilies");
    let (record_type, value) = address(families, addresses);
    let spec = json!({
        "type": provider.spec_type,
        "zone": provider.zone,
        "name": name,
        "recordType": record_type,
        "values": [value],
        "ttl": TTL_SECONDS,
    });
    let secret = format!("dnsrecord-{}-{credentials_of}", plan.name());
    let mut record = planned(plan, part, format!("{}-{purpose}", plan.name()), spec)
        .asking(Asks::OnRequestOrChange)
        .with_secret(&secret, &plan.namespace, &credentials());
    set(&mut record.object, "metadata.labels", json!({"role": purpose, "gardener.cloud/role": "controlplane"}));
    annotate(&mut record.object, "dns.gardener.cloud/ip-stack", ip_stack(families));
    record
}

/// The address of the first IP family, and the type of its record.
fn address(families: &[Value], [ipv4, ipv6]: [&str; 2]) -> (&'static str, String) {
    match families.first().and_then(Value::as_str) {
        Some("IPv6") => ("AAAA", ipv6.to_owned()),
        _ => ("A", ipv4.to_owned()),
    }
}

/// (`pkg/utils/gardener/dns.go`)
fn ip_stack(families: &[Value]) -> &'static str {
    match families {
        [Value::String(family)] if family == "IPv6" => "ipv6",
        [_, _] => "dual-stack",
        _ => "ipv4",
    }
}
