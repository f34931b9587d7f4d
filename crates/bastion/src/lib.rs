//! Bastion: reports the address of a machine that does not exist.

use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome};
use serde::Deserialize;
use serde_json::json;

/// An address that RFC 5737 reserves for documentation. No machine has it.
const ADDRESS: &str = "192.0.2.22";

/// Nothing is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Bastion {}

impl MockKind for Bastion {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::BASTION;
    const TYPES: &'static [&'static str] = &["mock"];

    fn outcome(_: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let mut outcome = Outcome::default();
        outcome.report("ingress", json!({ "ip": ADDRESS }));
        Ok(outcome)
    }
}
