//! Extension: a real one would deploy anything into a Shoot, a seed or the garden's runtime cluster.

use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome};
use serde::Deserialize;

/// Nothing is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Extension {}

impl MockKind for Extension {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::EXTENSION;
    /// One for each time at which gardenlet deploys extensions of a Shoot.
    const TYPES: &'static [&'static str] = &["mock", "mock-before-kube-apiserver", "mock-after-worker"];

    fn outcome(_: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        Ok(Outcome::default())
    }
}
