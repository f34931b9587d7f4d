//! Network: reports the IP families that it was asked for. A real provider would deploy a CNI plug-in.

use kube::CustomResource;
use mock_core::contract::Status;
use mock_core::extension::{Base, Extension, Input, Invalid, NoOptions, NoShoot, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What is read of a Network.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = "Network", schema = "disabled")]
#[kube(namespaced, status = "Status")]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// Type and class.
    #[serde(flatten)]
    pub base: Base,
    /// IPv4, IPv6 or both; gardenlet reads them back when a shoot moves to dual-stack
    /// (`pkg/gardenlet/operation/botanist/dualstackmigration.go`).
    pub ip_families: Option<Vec<String>>,
}

impl Extension for Network {
    type Options = NoOptions;
    type Shoot = NoShoot;
    const FINALIZER: &'static str = "extensions.gardener.cloud/network";
    const TYPES: &'static [&'static str] = &["mock"];

    fn base(&self) -> &Base {
        &self.spec.base
    }

    fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    fn outcome(&self, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let mut outcome = Outcome::default();
        outcome.status.insert("ipFamilies".to_owned(), json!(self.spec.ip_families));
        Ok(outcome)
    }
}
