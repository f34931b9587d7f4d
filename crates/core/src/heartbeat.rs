//! The heartbeat: a Lease that tells gardenlet's care controller that the extension is alive
//! (`extensions/pkg/controller/heartbeat`, `pkg/gardenlet/controller/shoot/care/health.go`).

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use tokio::time::sleep;

use crate::lease::bounded;
use crate::metrics::Metrics;
use crate::problem::whole;

/// Name of the Lease; each extension has a namespace of its own (`pkg/extensions/constants.go`).
pub const NAME: &str = "gardener-extension-heartbeat";

/// Pause after a renewal that failed, if the interval is not shorter.
const RETRY_PERIOD: Duration = Duration::from_secs(5);

/// The heartbeat of one extension.
#[derive(Debug)]
pub struct Heartbeat {
    api: Api<Lease>,
    extension: String,
    interval: u16,
    metrics: Metrics,
}

impl Heartbeat {
    /// The heartbeat of `extension`, in the client's default namespace, every `interval` seconds.
    #[must_use]
    pub fn new(client: Client, extension: &str, interval: u16, metrics: Metrics) -> Self {
        Self { api: Api::default_namespaced(client), extension: extension.to_owned(), interval, metrics }
    }

    /// Renews the Lease for ever. A failure is logged and tried again.
    pub async fn beat(&self) {
        let interval = Duration::from_secs(self.interval.into());
        // Applying makes the Lease where there is none, and takes it over from whoever renewed it before.
        let params = PatchParams::apply(&self.extension).force();
        loop {
            let lease = Patch::Apply(self.lease(Timestamp::now()));
            let pause = match bounded(self.api.patch(NAME, &params, &lease)).await {
                Ok(_) => interval,
                Err(error) => {
                    self.metrics.errors.with_label_values(&["lease"]).inc();
                    tracing::warn!(lease = NAME, error = whole(&error), "cannot renew the heartbeat, trying again");
                    interval.min(RETRY_PERIOD)
                }
            };
            sleep(pause).await;
        }
    }

    fn lease(&self, now: Timestamp) -> Lease {
        Lease {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.extension.clone()),
                lease_duration_seconds: Some(self.interval.into()),
                renew_time: Some(MicroTime(now)),
                ..LeaseSpec::default()
            }),
        }
    }
}
