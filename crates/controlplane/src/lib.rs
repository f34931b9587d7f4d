//! ControlPlane: the shared behaviour alone. A real provider would deploy a cloud-controller-manager and CSI drivers.

use kube::CustomResource;
use mock_core::contract::Status;
use mock_core::extension::{Base, Extension, Input, Invalid, NoOptions, NoShoot, Outcome};
use serde::{Deserialize, Serialize};

/// What is read of a ControlPlane.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = "ControlPlane", schema = "disabled")]
#[kube(namespaced, status = "Status")]
pub struct ControlPlaneSpec {
    /// Type and class.
    #[serde(flatten)]
    pub base: Base,
}

impl Extension for ControlPlane {
    type Options = NoOptions;
    type Shoot = NoShoot;
    const FINALIZER: &'static str = "extensions.gardener.cloud/controlplane";
    const TYPES: &'static [&'static str] = &["mock"];

    fn base(&self) -> &Base {
        &self.spec.base
    }

    fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    fn outcome(&self, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        Ok(Outcome::default())
    }
}
