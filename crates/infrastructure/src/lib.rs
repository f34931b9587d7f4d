//! Infrastructure: reports the networks of a Shoot, and a state that shows whether a migration carried it over.

use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, Object, Outcome};
use mock_core::script::MOCK_API_VERSION;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

mod choice;
mod network;
mod options;

pub use choice::{Networks, Shoot};
pub use options::Options;

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

impl MockKind for Infrastructure {
    type Reported = Reported;
    type Shoot = Shoot;
    type Options = Options;
    const KIND: &'static Kind = &kinds::INFRASTRUCTURE;
    const TYPES: &'static [&'static str] = &["mock"];

    fn outcome(object: &Object<Self>, input: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let none = Networks::default();
        let reported = object.reported.networking.as_ref().unwrap_or(&none);
        let networks = choice::networks(input.shoot, reported, input.options)?;
        let mut outcome = Outcome::default();
        outcome.report("egressCIDRs", json!(networks.nodes));
        outcome.report("networking", json!(networks));
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
