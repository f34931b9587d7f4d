//! Extension: a real one would deploy anything into a Shoot, a seed or the garden's runtime cluster.

use mock_core::contract::kinds;
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The type that gardenlet deploys before kube-apiserver.
const BEFORE: &str = "mock-before-kube-apiserver";
/// The type that gardenlet deploys after the Worker.
const AFTER_WORKER: &str = "mock-after-worker";

/// Nothing is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Extension {}

impl MockKind for Extension {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::EXTENSION;
    /// One for each time at which gardenlet deploys extensions of a Shoot.
    const TYPES: &'static [&'static str] = &["mock", BEFORE, AFTER_WORKER];

    fn outcome(_: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        Ok(Outcome::default())
    }

    /// Anything goes: no Shoot, seed or garden has the extension unless it asks for it. What is there before
    /// kube-apiserver goes after it.
    fn registration(provider: &str) -> Map<String, Value> {
        const FIRST: &str = "BeforeKubeAPIServer";
        const SECOND: &str = "AfterKubeAPIServer";
        let (reconcile, removal) = match provider {
            BEFORE => (FIRST, SECOND),
            AFTER_WORKER => ("AfterWorker", FIRST),
            _ => (SECOND, FIRST),
        };
        Map::from_iter([
            ("reconcileTimeout".to_owned(), json!("3m0s")),
            ("lifecycle".to_owned(), json!({ "reconcile": reconcile, "delete": removal, "migrate": removal })),
            ("workerlessSupported".to_owned(), json!(true)),
            ("clusterCompatibility".to_owned(), Self::KIND.classes.iter().map(|class| class.as_str()).collect()),
        ])
    }
}
