//! DNSRecord: reports the zone that a DNS service would have chosen.

use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome};
use serde::Deserialize;

/// What is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DNSRecord {
    /// The domain name of the record.
    pub name: String,
    /// The zone, if gardenlet knows it.
    pub zone: Option<String>,
}

impl MockKind for DNSRecord {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::DNS_RECORD;
    const TYPES: &'static [&'static str] = &["mock"];

    fn outcome(object: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let mut outcome = Outcome::default();
        outcome.report("zone", object.spec.found_zone());
        Ok(outcome)
    }
}

impl DNSRecord {
    /// The zone of the spec wins; otherwise the zone is the parent domain (`docs/extensions/resources/dnsrecord.md`).
    fn found_zone(&self) -> &str {
        let parent = self.name.split_once('.').map_or(self.name.as_str(), |(_, parent)| parent);
        self.zone.as_deref().filter(|zone| !zone.is_empty()).unwrap_or(parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_of_the_spec_wins_over_the_parent_domain() {
        for (zone, expected) in [(Some("Z123"), "Z123"), (Some(""), "shoot.example.com"), (None, "shoot.example.com")] {
            let record = DNSRecord { name: "*.shoot.example.com".to_owned(), zone: zone.map(str::to_owned) };
            assert_eq!(record.found_zone(), expected, "{zone:?}");
        }
    }
}
