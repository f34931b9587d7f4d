//! SelfHostedShootExposure: reports the addresses of a load balancer that does not exist.

use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, Object, Outcome, ShootView};
use serde::Deserialize;
use serde_json::{Value, json};

/// Nothing is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SelfHostedShootExposure {}

/// What is read of the Shoot.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Shoot {
    spec: ShootSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ShootSpec {
    networking: Networking,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Networking {
    ip_families: Option<Vec<String>>,
}

impl ShootView for Shoot {}

impl MockKind for SelfHostedShootExposure {
    type Reported = NoReport;
    type Shoot = Shoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::SELF_HOSTED_SHOOT_EXPOSURE;
    const TYPES: &'static [&'static str] = &["mock"];

    fn outcome(_: &Object<Self>, input: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let mut outcome = Outcome::default();
        outcome.report("ingress", input.shoot.ingress()?);
        Ok(outcome)
    }
}

impl Shoot {
    /// An address for documentation for each IP family of the Shoot (RFC 5737, RFC 3849). The external DNSRecord gets
    /// those of the first family (`pkg/api/extensions/v1alpha1/helper/dnsrecord.go`).
    fn ingress(&self) -> Result<Value, Invalid> {
        let families = self.spec.networking.ip_families.as_deref().unwrap_or_default();
        let families = if families.is_empty() { &["IPv4".to_owned()] } else { families };
        let address = |family: &String| match family.as_str() {
            "IPv4" => Ok(json!({ "ip": "192.0.2.1" })),
            "IPv6" => Ok(json!({ "ip": "2001:db8::1" })),
            other => Err(Invalid {
                field: "spec.shoot.spec.networking.ipFamilies of the Cluster".to_owned(),
                problem: format!("contains {other:?}, expected IPv4 or IPv6"),
            }),
        };
        families.iter().map(address).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_address_for_each_ip_family_in_its_order() {
        let ingress = |families: Value| {
            let shoot = json!({ "spec": { "networking": { "ipFamilies": families } } });
            serde_json::from_value::<Shoot>(shoot).unwrap().ingress().map(|ingress| ingress.to_string())
        };
        let (four, six) = (r#"{"ip":"192.0.2.1"}"#, r#"{"ip":"2001:db8::1"}"#);
        for (families, expected) in [
            (Value::Null, format!("[{four}]")),
            (json!([]), format!("[{four}]")),
            (json!(["IPv6"]), format!("[{six}]")),
            (json!(["IPv6", "IPv4"]), format!("[{six},{four}]")),
        ] {
            assert_eq!(ingress(families.clone()), Ok(expected), "{families}");
        }
        assert!(ingress(json!(["IPX"])).unwrap_err().problem.contains("IPX"));
    }
}
