//! ContainerRuntime: a real provider would install a runtime on the machines of a pool.

use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome};
use serde::Deserialize;

/// Nothing is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ContainerRuntime {}

impl MockKind for ContainerRuntime {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::CONTAINER_RUNTIME;
    const TYPES: &'static [&'static str] = &["mock"];

    fn outcome(_: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        Ok(Outcome::default())
    }
}
