//! Network: reports the requested IP families. A real provider would deploy a CNI plug-in.

use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome};
use serde::Deserialize;
use serde_json::json;

/// What is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Network {
    /// IPv4, IPv6 or both. gardenlet reads them back when a Shoot moves to dual-stack
    /// (`pkg/gardenlet/operation/botanist/dualstackmigration.go`).
    pub ip_families: Option<Vec<String>>,
}

impl MockKind for Network {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::NETWORK;
    const TYPES: &'static [&'static str] = &["mock"];

    fn outcome(object: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let mut outcome = Outcome::default();
        outcome.report("ipFamilies", json!(object.spec.ip_families));
        Ok(outcome)
    }
}
