//! ControlPlane: nothing but the fields that all kinds share. A real provider would deploy a cloud-controller-manager
//! and CSI drivers.

use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome};
use serde::Deserialize;

/// What is read of the spec.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct ControlPlane {}

impl MockKind for ControlPlane {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::CONTROL_PLANE;
    const TYPES: &'static [&'static str] = &["mock"];

    fn outcome(_: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        Ok(Outcome::default())
    }
}
